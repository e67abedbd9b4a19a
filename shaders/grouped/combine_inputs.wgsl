// combined[first + i] = source[i]     one buffer of several small inputs, for devices with few bindings; one launch per source
//
// Moves words only. One invocation owns one word. Candidates: kernels/grouped/linear.rs.
//# import math/linear_index
//# constants GROUP_X

struct Params {
    first: u32,               // begin of the source in `combined`
    words: u32,
    unused_0: u32,
    unused_1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<u32>;
@group(0) @binding(6) var<storage, read_write> combined: array<u32>;

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = linear_group(group, groups) * GROUP_X + thread;
    if (index < params.words) {
        combined[params.first + index] = source[index];
    }
}
