// output[b] = layer_2( layer_1( mean_p input[b, p] ) )    the gate of squeeze and excitation, each stage to 8-bit codes
//
//     invocation t:   quad t % width of a stage's channels, slice t / width of its sum       width: quads, GROUP_X at most
//
// A workgroup owns an image. An average, and each of LAYERS products of its one pixel, is a sum over slices, which workgroup memory
// adds up. Codes between stages stay there, less their zero point: those of the mean first, those of the first product from WIDTH on.
//
// Meaning: reference/channel_gate.rs. Candidates: kernels/elementwise/channel_gate.rs.
//# import math/linear_index
//# import epilogue/tables
//# import epilogue/store_codes
//# needs mean_codes: elementwise/channel_gate_mean, elementwise/channel_gate_mean_floats
//# needs squeeze_term: elementwise/channel_gate_pixels, elementwise/channel_gate_slices
//# needs rescale: epilogue/rounding_fixed_*, epilogue/rounding_onnx
//# constants GROUP_X, LAYERS, WIDTH

struct Params {
    squeeze: vec4<u32>,       // terms of a mean, quads of channels, place of its entry, words of a pixel
    first: vec4<u32>,         // channels read, quads of outputs, place of the entries, place of the weights
    second: vec4<u32>,
    squeezed: vec4<i32>,      // zero point, least code, greatest code, zero point of the input
    first_codes: vec4<i32>,   // zero point, least code, greatest code, -
    second_codes: vec4<i32>,
    mean: vec4<u32>,          // of a mean in floats: pixels, f32 bits of the scales of the input and of the mean, -
    n: u32,                   // outputs of the last layer
    output_words: u32,        // u32 words of an image's outputs
    images: u32,
    unused_0: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> weights: array<u32>;      // of a layer: [channel][quad of outputs], int8

var<workgroup> partials: array<vec4<i32>, GROUP_X>;
var<workgroup> values: array<i32, 2u * WIDTH>;

// The sum of a quad's slices. Every invocation of the workgroup calls it.
fn join_slices(thread: u32, width: u32, sum: vec4<i32>) -> vec4<i32> {
    workgroupBarrier();
    partials[thread] = sum;
    workgroupBarrier();
    var total = vec4<i32>(0);
    for (var at = thread % width; at < GROUP_X / width * width; at += width) {
        total += partials[at];
    }
    return total;
}

// The codes of four sums, less their zero point. `places` are those of their entries.
fn to_codes(totals: vec4<i32>, places: vec4<u32>, codes: vec4<i32>) -> vec4<i32> {
    var steps = vec4<i32>(0);
    for (var lane = 0u; lane < 4u; lane += 1u) {
        let entry = stage_entry(places[lane]);
        steps[lane] = rescale(totals[lane] + entry.x, bitcast<u32>(entry.y), entry.z);
    }
    return clamp(steps, vec4<i32>(codes.y - codes.x), vec4<i32>(codes.z - codes.x));
}

fn entries_of(layer: vec4<u32>, quad: u32) -> vec4<u32> {
    return layer.z + 4u * quad + vec4<u32>(0u, 1u, 2u, 3u);
}

fn keep(first: u32, codes: vec4<i32>) {
    for (var lane = 0u; lane < 4u; lane += 1u) {
        values[first + lane] = codes[lane];
    }
}

// Part of four sums of a product: the channels of a slice, from place `source` of the values on.
fn layer_terms(layer: vec4<u32>, quad: u32, slice: u32, slices: u32, source: u32) -> vec4<i32> {
    let places = entries_of(layer, quad);
    // The fourth word of an entry is the zero point of the output's weights.
    let zero_points = vec4<i32>(
        stage_entry(places.x).w, stage_entry(places.y).w, stage_entry(places.z).w, stage_entry(places.w).w,
    );
    var sum = vec4<i32>(0);
    for (var channel = slice; channel < layer.x; channel += slices) {
        let four = unpack4xI8(weights[layer.w + channel * layer.y + quad]);
        sum += values[source + channel] * (four - zero_points);
    }
    return sum;
}

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let image = min(linear_group(group, groups), params.images - 1u);
    let more = opaque_zero(groups);

    var width = min(params.squeeze.y, GROUP_X);
    for (var begin = 0u; begin < params.squeeze.y + more; begin += width) {
        let quad = begin + thread % width;
        let slices = GROUP_X / width;
        var sum = vec4<i32>(0);
        if (thread < slices * width && quad < params.squeeze.y) {
            for (var term = thread / width; term < params.squeeze.x; term += slices) {
                sum += squeeze_term(image, term, quad);
            }
        }
        let total = join_slices(thread, width, sum);
        if (thread < width && quad < params.squeeze.y) {
            keep(4u * quad, mean_codes(image, quad, total, more));
        }
    }
    workgroupBarrier();

    var last = params.first;
    var last_codes = params.first_codes;
    if (LAYERS == 2u) {
        width = min(params.first.y, GROUP_X);
        for (var begin = 0u; begin < params.first.y + more; begin += width) {
            let quad = begin + thread % width;
            let slices = GROUP_X / width;
            var sum = vec4<i32>(0);
            if (thread < slices * width && quad < params.first.y) {
                sum = layer_terms(params.first, quad, thread / width, slices, 0u);
            }
            let total = join_slices(thread, width, sum);
            if (thread < width && quad < params.first.y) {
                keep(WIDTH + 4u * quad, to_codes(total, entries_of(params.first, quad), params.first_codes));
            }
        }
        last = params.second;
        last_codes = params.second_codes;
        workgroupBarrier();
    }

    width = min(last.y, GROUP_X);
    for (var begin = 0u; begin < last.y + more; begin += width) {
        let quad = begin + thread % width;
        let slices = GROUP_X / width;
        var sum = vec4<i32>(0);
        if (thread < slices * width && quad < last.y) {
            sum = layer_terms(last, quad, thread / width, slices, (LAYERS - 1u) * WIDTH);
        }
        let total = join_slices(thread, width, sum);
        if (thread < width && quad < last.y) {
            store_codes(image, quad, to_codes(total, entries_of(last, quad), last_codes) + last_codes.x);
        }
    }
}
