// next[i], next[n + i] = moments of parameter i, updated by a gradient     first half of a step of training
//
// SGD: v ← momentum · v + g. ADAM: m ← β1 · m + (1 − β1) · g, v ← β2 · v + (1 − β2) · g · g. Each step is one f32 operation on
// bits. NaN counts as 0. Gradients are clamped to ±2^60, moments to finite numbers, and v of ADAM to at least 0. One
// invocation owns one parameter.
//
// Meaning: reference/optimizer_step.rs. Candidates: kernels/train/optimizer_step.rs. Second half: train/optimizer_step.wgsl.
//# import math/float_bits
//# import math/linear_index
//# constants ADAM, GROUP_X

struct Params {
    constants: vec4<u32>, // f32 bits: momentum or β1, 1 − β1, β2, 1 − β2
    elements: u32,
    unused_0: u32,
    unused_1: u32,
    unused_2: u32,
}

const MOST: u32 = 0x5d800000u;                              // 2^60

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> gradient: array<u32>;               // f32 bits
@group(0) @binding(2) var<storage, read> memory: array<u32>;
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
    let given = gradient[i];
    let clamped = min(given & ~F32_SIGN, MOST) | (given & F32_SIGN);
    let g = select(clamped, 0u, f32_is_nan(given));
    let kept = f32_multiply(params.constants.x, f32_finite(memory[i]));
    if (!ADAM) {
        next[i] = f32_add(kept, g);
        return;
    }
    next[i] = f32_add(kept, f32_multiply(params.constants.y, g));
    let at = params.elements + i;
    let square = f32_multiply(params.constants.w, f32_multiply(g, g));
    let second = f32_finite(memory[at]);
    next[at] = f32_add(f32_multiply(params.constants.z, select(second, 0u, (second & F32_SIGN) != 0u)), square);
}
