// out[p, c] = round( Σ_corner (Π_axis weight) · input[corner, c] / 2^SHIFT )     linear interpolation of 8-bit codes
//
// A pixel lies in a cell of 2^AXES input pixels, its corners. A table holds, for each index of each spatial axis, the lower and the
// upper input element and their weights in steps of 2^-b. b · AXES = SHIFT, so that a sum of codes times products of weights is
// exact in i32. It is rounded with ties away from zero. One invocation owns one quad of one pixel.
//
//     samples: [depth][height][width]  vec4 of lower, upper (in input pixels), weight of lower, weight of upper
//
// Meaning: reference/resize.rs. Candidates: kernels/layout/resize.rs.
//# import math/linear_index
//# import convert/integer_input
//# import epilogue/store_codes
//# import epilogue/post_op_none
//# constants AXES, GROUP_X, SHIFT

struct Params {
    size: vec4<u32>,          // depth, height, width of the output; pixels of an image of the input
    n: u32,                   // channels
    input_words: u32,         // u32 words of one pixel
    output_words: u32,
    quads: u32,               // quads in all
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(5) var<storage, read> samples: array<vec4<u32>>;

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = linear_group(group, groups) * GROUP_X + thread;
    if (index >= params.quads) {
        return;
    }
    let pixel = index / params.output_words;
    let quad = index % params.output_words;
    let x = pixel % params.size.z;
    let xy = pixel / params.size.z;
    let y = xy % params.size.y;
    let xyz = xy / params.size.y;
    let z = xyz % params.size.x;
    let image = (xyz / params.size.x) * params.size.w;
    let source_quad = min(quad, (params.n - 1u) / 4u);

    // Innermost axis first; the first AXES are used.
    var sample: array<vec4<u32>, 3>;
    sample[0] = samples[params.size.x + params.size.y + x];
    sample[1] = samples[params.size.x + y];
    sample[2] = samples[z];
    var sum = vec4<i32>(0);
    for (var corner = 0u; corner < (1u << AXES); corner += 1u) {
        var at = image;
        var weight = 1u;
        for (var axis = 0u; axis < AXES; axis += 1u) {
            let upper = (corner & (1u << axis)) != 0u;
            at += select(sample[axis].x, sample[axis].y, upper);
            weight *= select(sample[axis].z, sample[axis].w, upper);
        }
        sum += i32(weight) * load_input(at, source_quad);
    }
    let rounded = (abs(sum) + vec4<i32>(1 << (SHIFT - 1u))) >> vec4<u32>(SHIFT);
    store_codes(pixel, quad, sign(sum) * rounded);
}
