// out[i] = Σ_chain one element of sums + rows · columns, STEPS · rounds times     measures cooperative matrices
//
// Four chains per subgroup, two matrices of rows by two of columns as in a product, are independent. With factor and addend 1 a
// step adds SIZE to every element: at most 512 rounds · 256 steps · 4 chains · 16, exact in f32. Subgroups may be smaller than
// their maximum; then those beyond SUBGROUPS do nothing.
//
// Results and number of operations: kernels/probe.rs.
//# import probe/params
//# import math/linear_index
//# needs LhsMatrix, RhsMatrix, SIZE, SumMatrix: gemm/coop_size_*
//# constants GROUP_X, STEPS, SUBGROUPS

@group(0) @binding(6) var<storage, read_write> out: array<u32>;              // one word per invocation

var<workgroup> operands: array<f16, 4u * SIZE * SIZE>;
var<workgroup> totals: array<f32, SUBGROUPS * SIZE * SIZE>;

// A function, because naga requires control flow that is uniform for the workgroup, and checks that within each function only.
fn run_chains(subgroup: u32) {
    let rows_0 = coopLoadT<LhsMatrix>(&operands[0], SIZE);
    let rows_1 = coopLoadT<LhsMatrix>(&operands[SIZE * SIZE], SIZE);
    let columns_0 = coopLoad<RhsMatrix>(&operands[2u * SIZE * SIZE], SIZE);
    let columns_1 = coopLoad<RhsMatrix>(&operands[3u * SIZE * SIZE], SIZE);
    var a: SumMatrix;
    var b: SumMatrix;
    var c: SumMatrix;
    var d: SumMatrix;
    for (var round = 0u; round < params.rounds; round += 1u) {
        for (var step = 0u; step < STEPS; step += 1u) {
            a = coopMultiplyAdd(rows_0, columns_0, a);
            b = coopMultiplyAdd(rows_0, columns_1, b);
            c = coopMultiplyAdd(rows_1, columns_0, c);
            d = coopMultiplyAdd(rows_1, columns_1, d);
        }
    }
    coopStoreT((a + b) + (c + d), &totals[subgroup * SIZE * SIZE], SIZE);
}

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
    @builtin(subgroup_id) subgroup: u32,
) {
    for (var i = thread; i < 4u * SIZE * SIZE; i += GROUP_X) {
        operands[i] = f16(select(params.factor, params.addend, i >= 2u * SIZE * SIZE));
    }
    workgroupBarrier();
    if (subgroup < SUBGROUPS) {
        run_chains(subgroup);
    }
    workgroupBarrier();
    out[linear_group(group, groups) * GROUP_X + thread] = u32(totals[thread % (SUBGROUPS * SIZE * SIZE)]);
}
