// epilogue/real_value.wgsl for a 64-bit sum, 256 · high + low + bias. The sum is rounded to f32 once.
//# import epilogue/real_value
//# import math/float_wide

fn wide_real_value(high: i32, low: i32, scale: u32, entry: vec4<i32>) -> u32 {
    let sum = wide_add(wide_from_halves(high, low), bitcast<vec2<u32>>(entry.zx));
    return real_of_sum(f32_from_wide(sum), scale, entry);
}
