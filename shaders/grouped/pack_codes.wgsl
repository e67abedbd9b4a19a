// words = weights in the packed layout of weights/layout.rs     second half of quantizing weights
//
// One invocation owns one word: the bits of up to 32 codes in one plane, or as many scales or shifts of rows as fit the word.
//
// Meaning: weights/quantize.rs, weights/layout.rs. Candidates: kernels/grouped/quantize_weights.rs. First half: grouped/find_scales.wgsl.
//# import math/linear_index
//# import math/float_bits
//# import math/float16_bits
//# import grouped/weight_code
//# constants CODE_BIAS, GROUP_X, LOWER, SCALE_BYTES, SHIFT_BYTES, UPPER

struct Params {
    words: u32,           // in all
    expert_words: u32,
    panel_words: u32,     // of a whole panel of 64 rows
    n: u32,               // rows of an expert
    k: u32,
    group: u32,           // numbers of a group
    padded_group: u32,    // positions of a group
    groups: u32,          // groups of a row
    steps: u32,           // steps of 32 positions
    scale_at: u32,        // bytes of a row before its scales; the next field: before its shifts
    shift_at: u32,
    unused_0: u32,
}

const PANEL: u32 = 64u;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<u32>;                  // f32 bits, dense
@group(0) @binding(3) var<storage, read> found: array<vec4<u32>>;            // scale, shift
@group(0) @binding(6) var<storage, read_write> output: array<u32>;

// The bits of the code at a position of a row. Rows are counted over all experts.
fn code_at(row: u32, position: u32) -> u32 {
    let group = position / params.padded_group;
    let within = position % params.padded_group;
    let column = group * params.group + within;
    if (within >= params.group || column >= params.k) {
        return 0u;
    }
    let numbers = found[row * params.groups + group];
    let integer = weight_integer(f32_finite(input[row * params.k + column]), numbers.x, numbers.y);
    return bitcast<u32>(integer - CODE_BIAS);
}

// A scale or shift in its stored format.
fn stored(value: u32, bytes: u32, of_shifts: bool) -> u32 {
    if (bytes == 4u) {
        return value;
    }
    if (bytes == 2u) {
        return f16_from_f32(value);
    }
    return select(value >> 23u, value & 0xffu, of_shifts);
}

// A word of a stream of scales or shifts; `index` counts words from its begin.
fn stream_word(first_row: u32, rows: u32, width: u32, index: u32, bytes: u32, of_shifts: bool) -> u32 {
    let each = 4u / bytes;
    var word = 0u;
    for (var i = 0u; i < each; i += 1u) {
        let element = index * each + i;
        let group = element / width;
        let slot = element % width;
        if (group < params.groups && slot < rows) {
            let numbers = found[(first_row + slot) * params.groups + group];
            word |= stored(select(numbers.x, numbers.y, of_shifts), bytes, of_shifts) << ((8u * bytes * i) & 31u);
        }
    }
    return word;
}

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = linear_group(group, groups) * GROUP_X + thread;
    if (index >= params.words) {
        return;
    }
    let expert = index / params.expert_words;
    let in_expert = index % params.expert_words;
    let padded_n = (params.n + 3u) / 4u * 4u;
    let panel = min(in_expert / params.panel_words, (params.n - 1u) / PANEL);
    let at = in_expert - panel * params.panel_words;
    let width = min(padded_n - panel * PANEL, PANEL);
    let rows = min(params.n - panel * PANEL, PANEL);
    let first_row = expert * params.n + panel * PANEL;
    let bits = UPPER + LOWER;
    var word = 0u;
    if (at < params.steps * width * bits) {
        let step = at / (width * bits);
        let in_quad = at / width % bits * 4u + at % 4u;
        let slot = at % width / 4u * 4u + in_quad / bits;
        let plane_word = in_quad % bits;
        let lower = plane_word >= UPPER;
        let plane = select(UPPER, LOWER, lower);
        let first_quad = select(plane_word, plane_word - UPPER, lower);
        let dropped = select(LOWER, 0u, lower);
        if (slot < rows) {
            var shift = 0u;
            for (var quad = first_quad; quad < 8u; quad += plane) {
                for (var byte = 0u; byte < 4u; byte += 1u) {
                    let code = code_at(first_row + slot, step * 32u + quad * 4u + byte) >> dropped;
                    word |= (code & ((1u << plane) - 1u)) << (8u * byte + shift);
                }
                shift += plane;
            }
        }
    } else if (SHIFT_BYTES == 0u || at < params.shift_at * (width / 4u)) {
        word = stream_word(first_row, rows, width, at - params.scale_at * (width / 4u), SCALE_BYTES, false);
    } else {
        word = stream_word(first_row, rows, width, at - params.shift_at * (width / 4u), max(SHIFT_BYTES, 1u), true);
    }
    output[index] = word;
}
