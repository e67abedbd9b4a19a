// out[i_0, …, c] = input[s_0(i_0), …, c + begin] or fill     whole rows, a vec4 at a time
//
// Moves bits only: `begin` is a whole number of vec4s. Elements beyond the row in its last vec4 are zeroed, because the input may
// hold anything there. One invocation owns one vec4.
//
// Meaning: reference/transpose.rs, slice.rs, pad.rs, resize.rs. Candidates: kernels/layout/rearrange.rs. Parameters:
// layout/params.wgsl.
//# import layout/params
//# import math/linear_index
//# constants BITS, GROUP_X

@group(0) @binding(1) var<storage, read> input: array<vec4<u32>>;
@group(0) @binding(6) var<storage, read_write> output: array<vec4<u32>>;

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = linear_group(group, groups) * GROUP_X + thread;
    if (index >= params.invocations) {
        return;
    }
    let vecs = params.output_words / 4u;
    let place = index % vecs;
    let source = row_source(index / vecs, groups);
    var words = vec4<u32>(params.fill);
    if (source.inside) {
        words = input[source.word / 4u + place];
    }
    // Bits of the row from this vec4 on, at most those that each word can hold.
    let bits = min(params.n - place * (128u / BITS), 128u / BITS) * BITS;
    let kept = min(max(vec4<u32>(bits), vec4<u32>(0u, 32u, 64u, 96u)) - vec4<u32>(0u, 32u, 64u, 96u), vec4<u32>(32u));
    let mask = select(vec4<u32>(0xffffffffu) >> ((32u - kept) % 32u), vec4<u32>(0u), kept == vec4<u32>(0u));
    output[index] = words & mask;
}
