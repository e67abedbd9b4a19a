// The codes of four means from their sums, less the zero point: an integer sum is rescaled.
//# params squeeze, squeezed
//# needs to_codes: elementwise/channel_gate

fn mean_codes(image: u32, quad: u32, total: vec4<i32>, zero: u32) -> vec4<i32> {
    return to_codes(total, vec4<u32>(params.squeeze.z), params.squeezed);
}
