// out[i] = Σ_round Σ_chain last element of x -> dot4(x, factor) + x     measures the throughput of dot products (gemm/dot.wgsl)
//
// Sixteen chains per invocation, four vec4s, are independent, so that one hides the latency of another. Each word depends on all
// bytes of the last one, so there is no shortcut. All sums wrap.
//
// Results and number of operations: kernels/probe.rs.
//# import probe/params
//# import math/linear_index
//# import gemm/dot
//# constants GROUP_X, STEPS

@group(0) @binding(6) var<storage, read_write> out: array<u32>;              // one word per invocation

fn next(chains: vec4<u32>, factor: u32) -> vec4<u32> {
    let products = vec4<i32>(
        dot4(chains.x, factor), dot4(chains.y, factor),
        dot4(chains.z, factor), dot4(chains.w, factor),
    );
    return bitcast<vec4<u32>>(products) + chains;
}

fn four_steps(chains: vec4<u32>, factor: u32) -> vec4<u32> {
    return next(next(next(next(chains, factor), factor), factor), factor);
}

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = linear_group(group, groups) * GROUP_X + thread;
    var total = 0u;
    for (var round = 0u; round < params.rounds + opaque_zero(groups); round += 1u) {
        let start = vec4<u32>(((index + round) & 63u)) + vec4<u32>(0u, 1u, 2u, 3u);
        var a = start;
        var b = start + 4u;
        var c = start + 8u;
        var d = start + 12u;
        for (var step = 0u; step < STEPS; step += 4u) {
            a = four_steps(a, params.factor);
            b = four_steps(b, params.factor);
            c = four_steps(c, params.factor);
            d = four_steps(d, params.factor);
        }
        let sums = (a + b) + (c + d);
        total += (sums.x + sums.y) + (sums.z + sums.w);
    }
    out[index] = total;
}
