// Positions: columns as they are.

fn position_of(column: u32) -> u32 {
    return column;
}
