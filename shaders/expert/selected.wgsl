// Experts: an index per row of the output; what is no expert is beyond the last one.

@group(0) @binding(4) var<storage, read> indices: array<u32>;

fn expert_of(row: u32) -> u32 {
    return min(indices[row], params.experts);
}

fn lhs_row_of(row: u32) -> u32 {
    return row / params.selected;
}
