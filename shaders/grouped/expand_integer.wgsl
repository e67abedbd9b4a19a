// Codes as float32: four integers.

fn code_values(word: u32) -> vec4<f32> {
    return vec4<f32>(unpack4xI8(word));
}
