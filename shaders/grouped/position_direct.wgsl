// Positions: the columns themselves.

fn position_of(column: u32) -> u32 {
    return column;
}
