// The entries of the output stage that four columns have. Loops which own several rows of a quad load them once.
//# import epilogue/tables

alias Entries = array<vec4<i32>, 4>;

fn load_entries(column: vec4<u32>) -> Entries {
    return Entries(stage_entry(column.x), stage_entry(column.y), stage_entry(column.z), stage_entry(column.w));
}
