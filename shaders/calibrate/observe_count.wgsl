// counts[segment, bin] += the numbers of a chunk of a segment in that bin     third step of an observed histogram
//
// `count_*` of calibrate/count_*.wgsl count in workgroup memory first, or directly in storage memory. A workgroup owns one chunk.
// NaN and infinity are left out.
//
// Meaning: reference/observe.rs. Candidates: kernels/calibrate/observe.rs. Last step: calibrate/observe_rebin.wgsl.
//# import calibrate/members
//# import calibrate/bins
//# import math/linear_index
//# needs count_begin, count_end, count_one: calibrate/count_*
//# constants BINS, GROUP_X

const HEADER: u32 = 8u;

@group(0) @binding(1) var<storage, read> input: array<u32>;                  // f32 bits, dense
@group(0) @binding(2) var<storage, read> header: array<u32>;                 // written by calibrate/observe_level.wgsl
@group(0) @binding(6) var<storage, read_write> counts: array<atomic<u32>>;

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = linear_group(group, groups);
    if (index >= params.partials) {
        return;
    }
    let chunk = chunk_members(index);
    let level = bitcast<i32>(header[chunk.segment * HEADER + 6u]);
    count_begin(thread);
    for (var member = chunk.begin + thread; member < chunk.end; member += GROUP_X) {
        let value = input[chunk.base + member_offset(member)];
        if ((value & ~F32_SIGN) < F32_INFINITY) {
            // The level gives every number a bin; the clamp keeps the index in bounds for any level.
            count_one(chunk.segment, u32(clamp(bin_place(value, level) + i32(BINS / 2u), 0, i32(BINS) - 1)));
        }
    }
    count_end(chunk.segment, thread);
}
