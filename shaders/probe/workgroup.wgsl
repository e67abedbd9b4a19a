// out[i] = Σ_round Σ of four vec4s of workgroup memory     measures reads from workgroup memory
//
//     tile    |  row 0  |  row 1  |  row 2  |  row 3  |     128 vec4s a row, 8 KiB in all. In each round an invocation
//             +--^------+--^------+--^------+--^------+     reads one column; neighbours read neighbouring columns, so
//                column    column    column    column       that banks don't conflict.
//
// The factor is odd, so that 128 rounds visit every column once: the sum is known. All sums wrap.
//
// Results and number of bytes: kernels/probe.rs.
//# import probe/params
//# import math/linear_index
//# constants GROUP_X

const COLUMNS: u32 = 128u;

@group(0) @binding(6) var<storage, read_write> out: array<u32>;              // one word per invocation

var<workgroup> tile: array<vec4<u32>, 512>;

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = linear_group(group, groups) * GROUP_X + thread;
    for (var i = thread; i < 4u * COLUMNS; i += GROUP_X) {
        tile[i] = (vec4<u32>(4u * i) + vec4<u32>(0u, 1u, 2u, 3u)) * params.addend;
    }
    workgroupBarrier();
    var sums = vec4<u32>(0u);
    var place = thread;
    for (var round = 0u; round < params.rounds + opaque_zero(groups); round += 1u) {
        let column = place & (COLUMNS - 1u);
        sums += (tile[column] + tile[column + COLUMNS]) + (tile[column + 2u * COLUMNS] + tile[column + 3u * COLUMNS]);
        place += params.factor;
    }
    out[index] = (sums.x + sums.y) + (sums.z + sums.w);
}
