// out[i] = the number of f16, of those with the bits 1,024 i to 1,024 i + 1,023, that unpack2x16float converts exactly
//
// Any NaN is the f32 of a NaN. A launch that did not run leaves zeros, which are no proof.
//
// The launch: kernels/probe.rs.
//# import probe/params
//# import math/linear_index
//# import math/float16_bits
//# constants GROUP_X

@group(0) @binding(6) var<storage, read_write> out: array<u32>;

fn is_nan(bits: u32) -> bool {
    return (bits & 0x7fffffffu) > 0x7f800000u;
}

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = linear_group(group, groups) * GROUP_X + thread;
    if (index >= params.stride) {
        return;
    }
    var exact = 0u;
    for (var b = 0u; b < params.rounds + opaque_zero(groups); b += 1u) {
        let half = params.rounds * index + b;
        let expected = f32_from_f16(half);
        let got = bitcast<vec2<u32>>(unpack2x16float(half * params.factor));
        let nan = is_nan(expected);
        let right = (got == vec2<u32>(expected)) | (vec2<bool>(nan) & vec2<bool>(is_nan(got.x), is_nan(got.y)));
        exact += select(0u, 1u, all(right));
    }
    out[index] = exact;
}
