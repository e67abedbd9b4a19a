// next[i] = max(parameters[i] − rate · change, least)     second half of a step of training
//
// SGD: the change is v. ADAM: it is m / (√v + ε). Each step is one f32 operation on bits. Parameters, rate and change are clamped
// to finite numbers; NaN counts as 0. One invocation owns one parameter.
//
// Meaning: reference/optimizer_step.rs. Candidates: kernels/train/optimizer_step.rs. First half: train/moments.wgsl.
//# import math/float_sqrt
//# import math/linear_index
//# constants ADAM, GROUP_X

struct Params {
    elements: u32,
    epsilon: u32,         // f32 bits
    least: u32,           // f32 bits
    unused_0: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> parameters: array<u32>;             // f32 bits
@group(0) @binding(2) var<storage, read> memory: array<u32>;
@group(0) @binding(3) var<storage, read> rate: array<u32>;                   // one f32
@group(0) @binding(6) var<storage, read_write> next: array<u32>;

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let i = linear_group(group, groups) * GROUP_X + thread;
    if (i >= params.elements) {
        return;
    }
    var change = memory[i];
    if (ADAM) {
        change = f32_divide(change, f32_add(f32_sqrt(memory[params.elements + i]), params.epsilon));
    }
    let step = f32_multiply(f32_finite(rate[0]), f32_finite(change));
    let moved = f32_add(f32_finite(parameters[i]), step ^ F32_SIGN);
    next[i] = select(moved, params.least, f32_order(moved) < f32_order(params.least));
}
