// Sums of a depthwise convolution of more taps than f32 holds sums of: conv/depthwise_sums_f32.wgsl in i32.

alias Codes = vec4<i32>;

fn as_codes(codes: vec4<i32>) -> Codes {
    return codes;
}

fn as_integers(sums: Codes) -> vec4<i32> {
    return sums;
}
