// Sums of a depthwise convolution in f32, which holds them exactly: a product is at most 2^14 in size, so 1,024 of them are at most
// 2^24. GPUs multiply floats as fast as they add them, and 32-bit integers at a half or a quarter of that.

alias Codes = vec4<f32>;

fn as_codes(codes: vec4<i32>) -> Codes {
    return vec4<f32>(codes);
}

fn as_integers(sums: Codes) -> vec4<i32> {
    return vec4<i32>(sums);
}
