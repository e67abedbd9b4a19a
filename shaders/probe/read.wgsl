// out[i] = Σ of the invocation's VECS vec4s of device memory     measures reads
//
// The vec4s are `stride` apart, so that neighbours read neighbouring ones. One word is written for 64 that are read.
// All sums wrap.
//
// Results and number of bytes: kernels/probe.rs.
//# import probe/params
//# import math/linear_index
//# constants GROUP_X, VECS

@group(0) @binding(1) var<storage, read> data: array<vec4<u32>>;
@group(0) @binding(6) var<storage, read_write> out: array<u32>;              // one word per invocation

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = linear_group(group, groups) * GROUP_X + thread;
    var sums = vec4<u32>(0u);
    for (var i = 0u; i < VECS; i += 1u) {
        sums += data[index + i * params.stride];
    }
    out[index] = (sums.x + sums.y) + (sums.z + sums.w);
}
