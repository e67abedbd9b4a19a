// A term of a mean: four channels of a pixel, less the zero point.
//# params squeeze, squeezed
//# constants INPUT_SIGNED

@group(0) @binding(1) var<storage, read> input: array<u32>;

fn squeeze_term(image: u32, pixel: u32, quad: u32) -> vec4<i32> {
    let word = input[(image * params.squeeze.x + pixel) * params.squeeze.w + quad];
    return select(vec4<i32>(unpack4xU8(word)), unpack4xI8(word), INPUT_SIGNED) - params.squeezed.w;
}
