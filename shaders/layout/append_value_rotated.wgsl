// The f32 bits of an element that is appended: rotated.
//# import elementwise/rotate

fn appended_bits(row: u32, column: u32) -> u32 {
    return bitcast<u32>(rotated(row, column));
}
