// a · b + c with one rounding, on bit patterns: Rust's mul_add for a small integer a. tests/arithmetic.rs compares.
//# import math/float_bits

// For |a| < 256, b and c finite. A sum of zero is +0.
fn f32_multiple_add(a: i32, b: u32, c: u32) -> u32 {
    let x = f32_magnitude(b);
    let y = f32_magnitude(c);
    let product = u32(abs(a)) * (x.bits >> 8u);             // exact
    let sign = (bitcast<u32>(a) ^ b) & F32_SIGN;
    let lead = countLeadingZeros(product) & 31u;
    let bits = product << lead;
    let exponent = x.exponent + 8 - i32(lead);
    if (product == 0u || y.bits == 0u) {
        return select(f32_pack(sign, exponent, bits), c, product == 0u);
    }
    // The larger term, and the smaller one aligned to it, in 64 bits with one bit of headroom. Bits below these are sticky.
    let swap = exponent < y.exponent || (exponent == y.exponent && bits < y.bits);
    let large = select(bits, y.bits, swap);
    let small = select(y.bits, bits, swap);
    let distance = u32(min(abs(exponent - y.exponent), 62));
    let down = distance & 31u;
    let top = small >> 1u;
    let rest = small << 31u;
    let carried = select(0u, top << (32u - down), down > 0u);
    let sticky = select(0u, 1u, (rest | carried) != 0u);
    let far = vec2<u32>(0u, (top >> down) | sticky);
    let addend = select(vec2<u32>(top >> down, (rest >> down) | carried), far, distance > 31u);
    let base = vec2<u32>(large >> 1u, large << 31u);
    let differ = ((sign ^ c) & F32_SIGN) != 0u;
    var sum = vec2<u32>(base.x + addend.x, base.y + addend.y);
    sum.x += select(0u, 1u, sum.y < base.y);
    if (differ) {
        sum = vec2<u32>(base.x - addend.x - select(0u, 1u, base.y < addend.y), base.y - addend.y);
    }
    if (sum.x == 0u && sum.y == 0u) {
        return 0u;
    }
    let zeros = select(countLeadingZeros(sum.x), 32u + countLeadingZeros(sum.y), sum.x == 0u);
    let left = zeros & 31u;
    let word = select(sum.x, sum.y, zeros > 31u);
    let next = select(sum.y, 0u, zeros > 31u);
    let normal = (word << left) | select(0u, next >> (32u - left), left > 0u);
    let cut = select(0u, 1u, (next << left) != 0u);
    let result_sign = select(sign, c & F32_SIGN, swap);
    return f32_pack(result_sign, max(exponent, y.exponent) + 1 - i32(zeros), normal | cut);
}
