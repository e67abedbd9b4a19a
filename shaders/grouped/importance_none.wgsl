// Importance: that of all columns is the same.

fn weigh(column: u32, value: u32) -> u32 {
    return value;
}
