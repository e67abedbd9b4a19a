// tables = [constants][rows, a vec4 each]     for devices that cannot bind both separately
//
// Moves words only. One invocation owns one vec4. Candidates: kernels/gemm/matmul.rs, kernels/conv/conv.rs.
//# import math/linear_index
//# constants GROUP_X

struct Params {
    constants: u32,           // vec4s before the rows
    entries: u32,             // vec4s in all
    unused_0: u32,
    unused_1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(3) var<storage, read> rows: array<vec2<u32>>;             // scale (f32 bits), zero point
@group(0) @binding(5) var<storage, read> constants: array<vec4<u32>>;
@group(0) @binding(6) var<storage, read_write> combined: array<vec4<u32>>;

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = linear_group(group, groups) * GROUP_X + thread;
    if (index >= params.entries) {
        return;
    }
    if (index < params.constants) {
        combined[index] = constants[index];
    } else {
        combined[index] = vec4<u32>(rows[index - params.constants], 0u, 0u);
    }
}
