// The input codes of four output channels of a depthwise convolution: a word, or the codes repeated `multiplier` times each.
//# import gemm/dot
//# params group_outputs, pixel_words
//# needs lhs: conv/depthwise, conv/depthwise_row
//# constants LHS_FLIP, MULTIPLIER_ONE

fn load_codes(first: u32, quad: u32) -> vec4<i32> {
    if (MULTIPLIER_ONE) {
        return lhs_codes(lhs[first + quad] ^ LHS_FLIP);
    }
    var word = 0u;
    for (var lane = 0u; lane < 4u; lane += 1u) {
        let channel = min((quad * 4u + lane) / params.group_outputs, params.pixel_words * 4u - 1u);
        word |= ((lhs[first + channel / 4u] >> (8u * (channel % 4u))) & 0xffu) << (8u * lane);
    }
    return lhs_codes(word ^ LHS_FLIP);
}
