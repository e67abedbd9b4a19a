// Positions: from a table.

@group(0) @binding(3) var<storage, read> positions: array<u32>;

fn position_of(column: u32) -> u32 {
    return positions[column];
}
