// Grid: least and greatest number, nudged so that zero lies on the grid (TensorFlow's fake_quant_with_min_max_vars).
//     scale = (max - min) / (high - low)      z = clamp(floor(low - min / scale + 0.5))      nudged(code) = (code - z) · scale
//     y = floor((clamp(x) - nudged(low)) · (1 / scale) + 0.5) · scale + nudged(low)
// A gradient passes from nudged(low) to nudged(high). Each step is one f32 operation on bits. Bounds and results count as the
// nearest finite number, the scale as the nearest positive normal number.
//# import math/float_bits
//# params high, low

@group(0) @binding(3) var<storage, read> parameters: array<vec2<u32>>;       // least, greatest number (f32 bits)

const HALF: u32 = 0x3f000000u;
const ONE: u32 = 0x3f800000u;

struct Bounds {
    scale: u32,
    least: u32,
    most: u32,
}

// The greatest whole number that is not above x.
fn f32_floor(x: u32) -> u32 {
    let exponent = i32((x >> 23u) & 0xffu) - 127;
    if (exponent >= 23) {
        return x;
    }
    let negative = (x & F32_SIGN) != 0u;
    if (exponent < 0) {
        return select(x & F32_SIGN, F32_SIGN | ONE, negative && (x & ~F32_SIGN) != 0u);
    }
    let below = (1u << u32(23 - exponent)) - 1u;            // a carry into the exponent gives the right exponent
    return select(x, x + below, negative) & ~below;
}

fn bounds_at(index: u32) -> Bounds {
    let min = f32_finite(parameters[index].x);
    let max = f32_finite(parameters[index].y);
    let low = f32_from_i32(params.low);
    let high = f32_from_i32(params.high);
    let span = f32_finite(f32_add(max, min ^ F32_SIGN));
    let scale = f32_positive(f32_divide(span, f32_add(high, low ^ F32_SIGN)));
    let steps = f32_floor(f32_add(f32_add(low, f32_divide(min, scale) ^ F32_SIGN), HALF));
    let zero_point = f32_from_order(clamp(f32_order(steps), f32_order(low), f32_order(high))) ^ F32_SIGN;
    let least = f32_finite(f32_multiply(f32_add(low, zero_point), scale));
    return Bounds(scale, least, f32_finite(f32_multiply(f32_add(high, zero_point), scale)));
}

// An ordered key that is equal for both zeros.
fn key(x: u32) -> u32 {
    return f32_order(select(x, 0u, (x & ~F32_SIGN) == 0u));
}

fn fake_quantized(x: u32, index: u32) -> u32 {
    let bounds = bounds_at(index);
    var clamped = bounds.least;
    if (!f32_is_nan(x) && key(x) > key(bounds.least)) {
        clamped = select(x, bounds.most, key(x) > key(bounds.most));
    }
    let shifted = f32_finite(f32_add(clamped, bounds.least ^ F32_SIGN));
    let level = f32_finite(f32_floor(f32_add(f32_multiply(shifted, f32_divide(ONE, bounds.scale)), HALF)));
    return f32_finite(f32_add(f32_multiply(level, bounds.scale), bounds.least));
}

fn passes(x: u32, index: u32) -> bool {
    let bounds = bounds_at(index);
    return !f32_is_nan(x) && key(x) >= key(bounds.least) && key(x) <= key(bounds.most);
}

fn parameter_gradients(x: u32, index: u32) -> vec2<f32> {
    let bounds = bounds_at(index);
    let number = !f32_is_nan(x);
    return select(vec2<f32>(), vec2<f32>(1.0), vec2<bool>(number && key(x) < key(bounds.least), number && key(x) > key(bounds.most)));
}
