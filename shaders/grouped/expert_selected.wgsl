// Experts: an index per row of the output. An index that is out of range becomes `experts`.
//# params experts, selected
//# needs expert_index: grouped/small_inputs_combined, grouped/small_inputs_indices

fn expert_of(row: u32) -> u32 {
    return min(expert_index(row), params.experts);
}

fn lhs_row_of(row: u32) -> u32 {
    return row / params.selected;
}
