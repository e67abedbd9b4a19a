// The constants of a launch in one binding, a vec4 each:
//
//     [what the finish reads: STAGE_AT][entries of the output stage][scale and zero point of each row]
//
// Where a section that a loop reads begins is in its parameters. Written by kernels/stage.rs.
//# constants STAGE_AT

@group(0) @binding(5) var<storage, read> tables: array<vec4<u32>>;

fn stage_entry(index: u32) -> vec4<i32> {
    return bitcast<vec4<i32>>(tables[STAGE_AT + index]);
}
