// Rows of a tile: the pixels of a convolution. lhs has one scale.
//# params pixels
//# needs output_pixel: conv/output_*

fn has_row(row: u32) -> bool {
    return row < params.pixels;
}

fn lhs_row(row: u32) -> u32 {
    return 0u;
}

fn output_row(row: u32) -> u32 {
    return output_pixel(row);
}
