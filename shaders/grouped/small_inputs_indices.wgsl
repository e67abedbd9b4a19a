// Small inputs: the expert indices of rows in a binding of their own.

@group(0) @binding(4) var<storage, read> indices: array<u32>;

fn expert_index(row: u32) -> u32 {
    return indices[row];
}
