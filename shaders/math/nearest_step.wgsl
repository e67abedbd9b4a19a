// round_ties_even(f32(x)) of a product or a quotient x, without computing f32(x). It is the same integer on every device up to 2^17
// in size; beyond, the result is at least 2^17 in size, with the same sign. Twin: f32 in Rust; tests/arithmetic.rs.
//
//        k                  middle                 k + 1      A guess in floats tells the integers k and k + 1 around x. Unless it
//        +------------------[=====]------------------+        is near their middle, k + 1/2, it also tells the nearer one.
//                            near
//
// Near the middle integers decide. They tell the side of the middle on which x lies before it is rounded, or that x is at most half
// a unit of the middle's last place away, and so a tie. A guess may be off by 2^-20 of its size, 8 ULP. A near x is so few units
// from the middle that wrapping words hold the distance.
//# import math/float_bits

const STEPS_END: f32 = 131072.0;                            // 2^17

struct Guess {
    k: u32,
    side: f32,       // guess - middle, exact
    near: bool,
    exponent: i32,   // of the middle: 2^exponent <= k + 1/2
}

fn guess_step(x: f32) -> Guess {
    let guess = min(x, STEPS_END);
    let whole = floor(guess);
    let side = (guess - whole) - 0.5;
    let exponent = i32(bitcast<u32>(whole + 0.5) >> 23u) - 127;
    // k is the mantissa of the number plus 2^23: some compilers turn a conversion, which saturates, into branches.
    let k = bitcast<u32>(whole + 0x1p23) & 0x7fffffu;
    return Guess(k, side, abs(side) <= guess * 0x1p-20, exponent);
}

// The rounded integer. `distance` of the exact number from the middle and `half_unit`, half a unit of the middle's last place, have
// one scale. The result is k + 1 if the distance is greater, or if it is a tie and k is odd.
fn decided_step(guess: Guess, distance: i32, half_unit: i32, negative: bool) -> i32 {
    let odd = (guess.k & 1u) == 1u;
    let beyond = distance > select(half_unit, -half_unit - 1, odd);
    let size = i32(guess.k) + select(0, 1, select(guess.side > 0.0, beyond, guess.near));
    return select(size, -size, negative);
}

// round_ties_even(f32(integer) · multiplier), each step rounded to f32; the multiplier is positive.
fn product_step(integer: i32, multiplier: u32) -> i32 {
    let size = u32(abs(integer));
    let guess = guess_step(f32(size) * bitcast<f32>(multiplier));
    // f32(integer) = kept · 2^cut, f32(integer) · multiplier = kept · fraction · 2^(-1 - shift)
    let cut = 8u - min(countLeadingZeros(size), 8u);
    let ties = ((1u << cut) >> 1u) - 1u + ((size >> cut) & 1u);
    let kept = (size + select(0u, ties, cut > 0u)) >> cut;
    let field = i32(multiplier >> 23u);
    let fraction = (multiplier & 0x7fffffu) | 0x800000u;    // subnormal multipliers give 0
    let shift = 149 - field - i32(cut);                     // at least 0 if x is below 2^23
    let middle = select(0u, (2u * guess.k + 1u) << (u32(shift) & 31u), shift < 32);
    let distance = bitcast<i32>(kept * fraction - middle);
    let unit = guess.exponent - 23 + shift;
    let half_unit = select(0, 1 << (u32(unit) & 31u), unit >= 0);
    return decided_step(guess, distance, half_unit, integer < 0);
}

// round_ties_even(a / b), the quotient rounded to f32; both finite, b not 0.
fn quotient_step(a: u32, b: u32) -> i32 {
    let x = f32_magnitude(a);
    let y = f32_magnitude(b);
    let dividend = x.bits >> 8u;
    let divisor = y.bits >> 8u;
    let exponent = x.exponent - y.exponent;                 // |a / b| = dividend / divisor · 2^exponent, at least -2 near a middle
    let power = bitcast<f32>(u32(clamp(exponent, -30, 30) + 127) << 23u);
    let guess = guess_step(f32(dividend) / f32(divisor) * power);
    // In quarters of 1 / divisor, then scaled so that half a unit of the middle's last place is the divisor.
    let quarters = (dividend << (u32(exponent + 2) & 31u)) - 2u * (2u * guess.k + 1u) * divisor;
    let distance = bitcast<i32>(quarters << u32(22 - guess.exponent));
    return decided_step(guess, distance, i32(divisor), ((a ^ b) & F32_SIGN) != 0u);
}
