// data[w] = w · factor for every word w     input of probe/read.wgsl and probe/copy.wgsl
//
// An invocation owns VECS vec4s, `stride` apart, so that neighbours write neighbouring ones. Products wrap.
//
// The launch: kernels/probe.rs.
//# import probe/params
//# import math/linear_index
//# constants GROUP_X, VECS

@group(0) @binding(6) var<storage, read_write> data: array<vec4<u32>>;

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = linear_group(group, groups) * GROUP_X + thread;
    for (var i = 0u; i < VECS; i += 1u) {
        let at = index + i * params.stride;
        data[at] = (vec4<u32>(4u * at) + vec4<u32>(0u, 1u, 2u, 3u)) * params.factor;
    }
}
