// Importance: equal for all columns.

fn weigh(column: u32, value: u32) -> u32 {
    return value;
}
