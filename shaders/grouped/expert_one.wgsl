// Experts: one matrix for all rows.

fn expert_of(row: u32) -> u32 {
    return 0u;
}

fn lhs_row_of(row: u32) -> u32 {
    return row;
}
