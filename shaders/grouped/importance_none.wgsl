// Importance: equal for all columns.

fn weighted(column: u32, value: u32) -> u32 {
    return value;
}
