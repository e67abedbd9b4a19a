// next[r] = max(min / low, max / high) of a range, or step[r] if that is no positive normal number
//
// One invocation owns one range. A state begins with the bits of min and max; calibrate/extremes.wgsl defines their values.
//
// Meaning: reference/step_from_range.rs. Candidates: kernels/calibrate/step_from_range.rs.
//# import math/float_bits
//# import math/linear_index
//# constants GROUP_X

struct Params {
    ranges: u32,
    state_words: u32,         // u32 words of a range's state
    low: i32,                 // least and greatest code
    high: i32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> state: array<u32>;
@group(0) @binding(2) var<storage, read> step: array<u32>;          // f32 bits
@group(0) @binding(6) var<storage, read_write> next: array<u32>;    // f32 bits

// bound / code; 0 if that is negative or the code is 0.
fn step_for(bound: u32, code: i32) -> u32 {
    let quotient = f32_divide(bound, f32_from_i32(select(code, 1, code == 0)));
    return select(quotient, 0u, (code == 0) | (quotient >= 0x80000000u));
}

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = linear_group(group, groups) * GROUP_X + thread;
    if (index >= params.ranges) {
        return;
    }
    let at = index * params.state_words;
    // Neither number is negative, so their bits have the order of the numbers.
    let wanted = max(step_for(f32_finite(state[at]), params.low), step_for(f32_finite(state[at + 1u]), params.high));
    let normal = wanted >= 0x00800000u && wanted < 0x7f800000u;
    next[index] = select(step[index], wanted, normal);
}
