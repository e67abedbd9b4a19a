// Where a launch's pixels lie in the output: one after the other.

fn output_pixel(pixel: u32) -> u32 {
    return pixel;
}
