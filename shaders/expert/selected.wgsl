// Experts: an index per row of the output; what is no expert is beyond the last one.

fn expert_of(row: u32) -> u32 {
    return min(expert_index(row), params.experts);
}

fn lhs_row_of(row: u32) -> u32 {
    return row / params.selected;
}
