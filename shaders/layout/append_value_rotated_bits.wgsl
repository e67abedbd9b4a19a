// The f32 bits of an element that is appended: rotated, exactly.
//# import elementwise/rotate_bits

fn appended_bits(row: u32, column: u32) -> u32 {
    return rotated_bits(row, column);
}
