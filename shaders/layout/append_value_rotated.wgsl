// An element that is appended: rotated.
//# import elementwise/rotate

fn appended_value(row: u32, column: u32) -> f32 {
    return rotated(row, column);
}
