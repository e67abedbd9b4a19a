// out[i] = Σ_round Σ_chain last element of a chain of fused multiply-adds     measures floating-point throughput
//
// Sixteen chains per invocation, four vec4s, are independent, so that one hides the latency of another. With factor and addend 1 a
// chain counts its steps from `start`: at most 63 + 15 + 256, exact in f16 too. Each round starts with other numbers, so that none
// can be skipped. `real` is in probe/f32.wgsl or probe/f16.wgsl.
//
// Results and number of operations: kernels/probe.rs.
//# import probe/params
//# import math/linear_index
//# needs real: probe/f16, probe/f32
//# constants GROUP_X, STEPS

@group(0) @binding(6) var<storage, read_write> out: array<u32>;              // one word per invocation

fn four_steps(chains: vec4<real>, factor: vec4<real>, addend: vec4<real>) -> vec4<real> {
    let two = fma(fma(chains, factor, addend), factor, addend);
    return fma(fma(two, factor, addend), factor, addend);
}

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = linear_group(group, groups) * GROUP_X + thread;
    let factor = vec4<real>(real(params.factor));
    let addend = vec4<real>(real(params.addend));
    var total = 0u;
    for (var round = 0u; round < params.rounds + opaque_zero(groups); round += 1u) {
        let start = vec4<u32>(((index + round) & 63u)) + vec4<u32>(0u, 1u, 2u, 3u);
        var a = vec4<real>(start);
        var b = vec4<real>(start + 4u);
        var c = vec4<real>(start + 8u);
        var d = vec4<real>(start + 12u);
        for (var step = 0u; step < STEPS; step += 4u) {
            a = four_steps(a, factor, addend);
            b = four_steps(b, factor, addend);
            c = four_steps(c, factor, addend);
            d = four_steps(d, factor, addend);
        }
        let sums = vec4<u32>((a + b) + (c + d));             // at most 4 · 334, exact in f16
        total += (sums.x + sums.y) + (sums.z + sums.w);
    }
    out[index] = total;
}
