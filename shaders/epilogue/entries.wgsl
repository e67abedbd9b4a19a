// The output stage's entries of four columns. A loop that owns several rows of a quad loads them once.
//# import epilogue/tables

alias Entries = array<vec4<i32>, 4>;

fn load_entries(column: vec4<u32>) -> Entries {
    return Entries(stage_entry(column.x), stage_entry(column.y), stage_entry(column.z), stage_entry(column.w));
}
