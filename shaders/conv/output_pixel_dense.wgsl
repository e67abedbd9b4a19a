// Output pixel of a launch's pixel: they follow each other.

fn output_pixel(pixel: u32) -> u32 {
    return pixel;
}
