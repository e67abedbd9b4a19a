// The constants of a launch in one binding, a vec4 each:
//
//     [entries of the post-op: STAGE_AT of them][entries of the output stage][scale and zero point of each row]
//
// A loop's parameters hold the begin of each section that it reads. Written by kernels/epilogue.rs.
//# constants STAGE_AT

@group(0) @binding(5) var<storage, read> tables: array<vec4<u32>>;

fn stage_entry(index: u32) -> vec4<i32> {
    return bitcast<vec4<i32>>(tables[STAGE_AT + index]);
}
