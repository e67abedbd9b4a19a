// Logits and times of llama.cpp, for comparison with `examples/decoder`. `scripts/llama-cpp` builds and runs it.
//
//   llama-cpp MODEL logits FILE COUNT TEXT   Continues a text by COUNT most likely tokens, and writes the file that `decoder --compare`
//                                            reads. With a count of 0: the logits after all tokens of the text.
//   llama-cpp MODEL floats FILE              Writes the model with all weights in float32: products of quantized weights are with
//                                            quantized activations there, those of float32 are not.
//   llama-cpp MODEL times CHUNK LENGTH...    Prints the time of a chunk and of single tokens after each number of tokens.
//
// Variables of the environment: CACHE=f32|f16|q8_0, the numbers in the caches (f16); DEVICE=cpu|vulkan, where everything is computed
// (cpu); FLASH=0|1, attention in one pass or in three (llama.cpp's choice); THREADS (1: more wait for each other in loops).

#include "ggml-backend.h"
#include "llama.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

static std::string variable(const char *name, const char *otherwise) {
    const char *value = getenv(name);
    return value ? value : otherwise;
}

[[noreturn]] static void fail(const std::string &message) {
    fprintf(stderr, "error: %s\n", message.c_str());
    exit(1);
}

static double processor_seconds() {
    rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    auto seconds = [](timeval time) { return time.tv_sec + 1e-6 * time.tv_usec; };
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

static double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Appends tokens; logits of the last, or of all of them.
static void append(llama_context *context, const llama_token *tokens, int count, int position, bool all) {
    llama_batch batch = llama_batch_init(count, 0, 1);
    batch.n_tokens = count;
    for (int i = 0; i < count; i++) {
        batch.token[i] = tokens[i];
        batch.pos[i] = position + i;
        batch.n_seq_id[i] = 1;
        batch.seq_id[i][0] = 0;
        batch.logits[i] = all || i == count - 1;
    }
    if (llama_decode(context, batch) != 0) fail("llama_decode refused the tokens");
    llama_batch_free(batch);
}

static void write_logits(llama_context *context, const llama_vocab *vocab, const char *path, int count, const std::string &text) {
    std::vector<llama_token> tokens(text.size() + 2);
    int length = llama_tokenize(vocab, text.data(), text.size(), tokens.data(), tokens.size(), true, true);
    if (length <= 0) fail("the text has no tokens");
    tokens.resize(length);
    const uint32_t width = llama_vocab_n_tokens(vocab);
    const uint32_t first = count > 0 ? length - 1 : 0;
    std::vector<float> rows;
    auto keep = [&](int index) {
        const float *row = llama_get_logits_ith(context, index);
        rows.insert(rows.end(), row, row + width);
    };
    append(context, tokens.data(), length, 0, count == 0);
    if (count == 0)
        for (int i = 0; i < length; i++) keep(i);
    else
        keep(-1);
    for (int i = 0; i < count; i++) {
        auto row = rows.end() - width;
        tokens.push_back(std::max_element(row, rows.end()) - row);
        append(context, &tokens.back(), 1, tokens.size() - 1, false);
        keep(-1);
    }
    FILE *file = fopen(path, "wb");
    if (!file) fail(std::string("can't write ") + path);
    std::vector<uint32_t> positions;
    for (uint32_t i = first; i < tokens.size(); i++) positions.push_back(i);
    const uint32_t header[3] = {(uint32_t)tokens.size(), (uint32_t)positions.size(), width};
    fwrite(header, 4, 3, file);
    fwrite(tokens.data(), 4, tokens.size(), file);
    fwrite(positions.data(), 4, positions.size(), file);
    fwrite(rows.data(), 4, rows.size(), file);
    if (fclose(file) != 0) fail(std::string("can't write ") + path);
}

// The caches are filled on the CPU by another context, once for all lengths: a software GPU takes minutes.
static void print_times(llama_context *context, llama_context *filler, int chunk, std::vector<int> lengths) {
    const int singles = 8;
    llama_memory_t memory = llama_get_memory(context);
    std::vector<llama_token> ones(std::max(chunk, 512), 1);
    int filled = 0;
    for (int length : lengths) {
        for (; filled < length;) {
            int count = std::min(512, length - filled);
            append(filler, ones.data(), count, filled, false);
            filled += count;
        }
        std::vector<uint8_t> state(llama_state_seq_get_size(filler, 0));
        llama_state_seq_get_data(filler, state.data(), state.size(), 0);
        llama_memory_clear(memory, true);
        if (length > 0 && llama_state_seq_set_data(context, state.data(), state.size(), 0) == 0) fail("the state doesn't fit");
        auto timed = [&](int count, int steps) {
            auto run = [&](int steps) {
                llama_memory_seq_rm(memory, 0, length, -1);
                for (int i = 0; i < steps; i++) {
                    append(context, ones.data(), count, length + i * count, false);
                    llama_get_logits_ith(context, -1);
                }
            };
            run(1);
            double wall = now(), processors = processor_seconds();
            run(steps);
            wall = now() - wall, processors = processor_seconds() - processors;
            char text[100];
            snprintf(text, sizeof text, "%.1f ms of processors, %.1f ms", 1e3 * processors / (count * steps), 1e3 * wall / (count * steps));
            return std::string(text);
        };
        std::string prefill = timed(chunk, 1), token = timed(1, singles);
        printf("after %d tokens: of %d tokens each %s; a token alone %s\n", length, chunk, prefill.c_str(), token.c_str());
        fflush(stdout);
    }
}

int main(int argc, char **argv) {
    if (argc < 4) fail("usage: llama-cpp MODEL logits FILE COUNT TEXT | floats FILE | times CHUNK LENGTH...");
    const std::string device = variable("DEVICE", "cpu"), cache = variable("CACHE", "f16"), flash = variable("FLASH", "");
    const int threads = atoi(variable("THREADS", "1").c_str());
    if (!getenv("VERBOSE"))
        llama_log_set([](ggml_log_level level, const char *text, void *) { if (level >= GGML_LOG_LEVEL_WARN) fputs(text, stderr); }, nullptr);
    ggml_backend_load_all();
    llama_backend_init();
    const std::string task = argv[2];
    if (task == "floats") {
        llama_model_quantize_params params = llama_model_quantize_default_params();
        params.ftype = LLAMA_FTYPE_ALL_F32;
        params.allow_requantize = true;
        if (llama_model_quantize(argv[1], argv[3], &params) != 0) fail("the model can't be written");
        return 0;
    }
    auto load = [&](bool gpu) {
        llama_model_params params = llama_model_default_params();
        params.n_gpu_layers = gpu ? 999 : 0;
        params.progress_callback = [](float, void *) { return true; };
        static ggml_backend_dev_t none[] = {nullptr};
        if (!gpu) params.devices = none;
        llama_model *model = llama_model_load_from_file(argv[1], params);
        if (!model) fail("the model can't be loaded");
        return model;
    };
    std::vector<int> lengths;
    if (task == "times")
        for (int i = 4; i < argc; i++) lengths.push_back(atoi(argv[i]));
    const int chunk = task == "times" ? atoi(argv[3]) : 512;
    auto make = [&](llama_model *model) {
        llama_context_params params = llama_context_default_params();
        params.n_ctx = task == "times" ? (lengths.empty() ? 0 : *std::max_element(lengths.begin(), lengths.end())) + 2 * chunk : 2048;
        params.n_batch = params.n_ubatch = std::max(chunk, 512);
        params.n_threads = params.n_threads_batch = threads;
        params.type_k = params.type_v = cache == "f32" ? GGML_TYPE_F32 : cache == "q8_0" ? GGML_TYPE_Q8_0 : GGML_TYPE_F16;
        if (!flash.empty()) params.flash_attn_type = flash == "1" ? LLAMA_FLASH_ATTN_TYPE_ENABLED : LLAMA_FLASH_ATTN_TYPE_DISABLED;
        llama_context *context = llama_init_from_model(model, params);
        if (!context) fail("no context");
        return context;
    };
    if (device == "vulkan") {
        ggml_backend_dev_t first = ggml_backend_dev_count() > 1 ? ggml_backend_dev_get(0) : nullptr;
        if (!first) fail("there is no Vulkan device; software ones must be named: GGML_VK_VISIBLE_DEVICES=0");
        fprintf(stderr, "%s\n", ggml_backend_dev_description(first));
    }
    llama_model *model = load(device == "vulkan");
    llama_context *context = make(model);
    if (task == "logits" && argc == 6)
        write_logits(context, llama_model_get_vocab(model), argv[3], atoi(argv[4]), argv[5]);
    else if (task == "times" && !lengths.empty())
        print_times(context, device == "vulkan" ? make(load(false)) : make(model), chunk, lengths);
    else
        fail("logits or times?");
}
