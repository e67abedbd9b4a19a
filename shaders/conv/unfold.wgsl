// out[row, tap · channels + i] = image[row's position · stride + tap · dilation - pad, i]     patches as rows (im2col)
//
//     row      | tap 0: c0 c1 c2 | tap 1: c0 c1 c2 | ... | padding |     a row is a position, or a group of its channels
//
// One invocation owns one output word of LANES units. A unit is an element, or a whole word if a group's channels fill words.
// Taps outside the image read the zero point. It moves bits only.
//
// Meaning: reference/unfold.rs. Candidates: kernels/conv/unfold.rs.
//# import conv/window
//# import math/linear_index
//# needs pad_value: layout/pad_value_*
//# constants GROUP_X, TRANSPOSED, UNIT_BITS

struct Params {
    in_size: vec4<u32>,       // depth, height, width, -
    out_size: vec4<u32>,
    kernel: vec4<u32>,
    stride: vec4<u32>,
    dilation: vec4<u32>,
    pad: vec4<u32>,           // before the first element of each axis; negative if elements are cropped
    spread: vec4<u32>,        // stride of a transposed window, whose positions are one apart
    pixel_words: u32,         // u32 words of one input pixel
    channels: u32,            // units of a group
    groups: u32,              // rows of a position
    row_units: u32,           // units of a row, without padding
    output_words: u32,        // u32 words of a row, with padding
    first_row: u32,           // of this launch
    words: u32,               // output words of this launch
    zero: u32,                // value of every unit outside the image
}

const LANES: u32 = 32u / UNIT_BITS;
const NOWHERE: u32 = 0xffffffffu;
const UNIT_MASK: u32 = 0xffffffffu >> (32u - UNIT_BITS);

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> image: array<u32>;
@group(0) @binding(6) var<storage, read_write> output: array<u32>;

// The input pixel under a tap.
fn source_pixel(origin: vec4<i32>, tap: vec3<u32>) -> u32 {
    if (TRANSPOSED) {
        // The position is source · stride + tap · dilation - pad.
        let reach = vec3<u32>(origin.xyz - vec3<i32>(tap * params.dilation.xyz));     // negative turns huge
        let at = reach / params.spread.xyz;
        let meets = all(at * params.spread.xyz == reach) && all(at < params.in_size.xyz);
        return select(NOWHERE, ((u32(origin.w) * params.in_size.x + at.x) * params.in_size.y + at.y) * params.in_size.z + at.z, meets);
    }
    return select(NOWHERE, tap_pixel(origin, tap), tap_inside(origin, tap));
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
    let row = params.first_row + index / params.output_words;
    let first = (index % params.output_words) * LANES;
    let origin = window_origin(row / params.groups);
    let first_channel = (row % params.groups) * params.channels;
    let tap_index = first / params.channels;
    let zero = pad_value(0u);

    // Taps and channels advance from lane to lane.
    var channel = first % params.channels;
    let tap_yz = tap_index / params.kernel.z;
    var tap = vec3<u32>(tap_yz / params.kernel.y, tap_yz % params.kernel.y, tap_index % params.kernel.z);
    var word = 0u;
    for (var lane = 0u; lane < LANES; lane += 1u) {
        if (first + lane >= params.row_units) {
            break;
        }
        var unit = zero;
        let source = source_pixel(origin, tap);
        if (source != NOWHERE) {
            let at = first_channel + channel;
            unit = image[source * params.pixel_words + at / LANES] >> (((at % LANES) * UNIT_BITS) & 31u);
        }
        word |= (unit & UNIT_MASK) << ((lane * UNIT_BITS) & 31u);
        channel += 1u;
        if (channel == params.channels) {
            channel = 0u;
            tap.z += 1u;
            if (tap.z == params.kernel.z) {
                tap = vec3<u32>(tap.x, tap.y + 1u, 0u);
                if (tap.y == params.kernel.y) {
                    tap = vec3<u32>(tap.x + 1u, 0u, 0u);
                }
            }
        }
    }
    output[index] = word;
}
