// copied[i] = data[i]     measures reads and writes of device memory together
//
// An invocation owns VECS vec4s, `stride` apart, so that neighbours copy neighbouring ones. probe/read.wgsl checks the copy.
//
// Number of bytes: kernels/probe.rs.
//# import probe/params
//# import math/linear_index
//# constants GROUP_X, VECS

@group(0) @binding(1) var<storage, read> data: array<vec4<u32>>;
@group(0) @binding(6) var<storage, read_write> copied: array<vec4<u32>>;

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = linear_group(group, groups) * GROUP_X + thread;
    for (var i = 0u; i < VECS; i += 1u) {
        let at = index + i * params.stride;
        copied[at] = data[at];
    }
}
