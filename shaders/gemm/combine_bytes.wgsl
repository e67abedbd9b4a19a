// out[r, c] = stage(256 · high[r, c] + low[r, c])     sums with int16 codes, from the sums with their high and low bytes
//
// One invocation owns one quad of one row. `store_sums` is in gemm/sums_i32.wgsl if sums fit i32, otherwise in an output stage for
// 64 bits (epilogue/wide_*.wgsl).
//
// Candidates: kernels/gemm/int16_planes.rs. Sums come from the loops of matmul and convolution, the bytes from gemm/split_bytes.wgsl.
//# import epilogue/tables
//# import math/linear_index
//# needs store_sums: epilogue/wide_real_f16, epilogue/wide_real_f32, epilogue/wide_requantize, gemm/sums_i32
//# constants GROUP_X

struct Params {
    n: u32,                    // columns
    output_words: u32,         // u32 words from one row to the next
    output_quads: u32,         // quads written per row, padding included
    quads: u32,                // quads in all
    zero_point: i32,           // of the output codes
    low: u32,                  // least and greatest output code (or ordered f32 key)
    high: u32,
    rows: u32,                 // rows after which the scales of lhs begin anew
    rows_at: u32,              // begin of these scales in the tables
    column_stride: u32,        // entries of the stage from one row to the next; 0 if rows share them
    unused_0: u32,
    unused_1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> high_sums: array<i32>;
@group(0) @binding(2) var<storage, read> low_sums: array<i32>;

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = linear_group(group, groups) * GROUP_X + thread;
    if (index >= params.quads) {
        return;
    }
    let row = index / params.output_quads;
    let quad = index % params.output_quads;
    var entries = vec4<u32>(0u);
    var high = vec4<i32>(0);
    var low = vec4<i32>(0);
    for (var lane = 0u; lane < 4u; lane += 1u) {
        let column = quad * 4u + lane;
        if (column < params.n) {
            entries[lane] = row * params.column_stride + column;
            high[lane] = high_sums[row * params.n + column];
            low[lane] = low_sums[row * params.n + column];
        }
    }
    let scale = tables[params.rows_at + row % params.rows].x;
    store_sums(row, quad, entries, scale, high, low);
}
