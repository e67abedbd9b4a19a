// IEEE 754 binary16 from and to binary32 on bit patterns, in integers: round to nearest, ties to even. Subnormals are kept, and NaN
// is made quiet with the payload that fits. WGSL lets its own f16 and pack2x16float round either way and flush. Twin: half::f16.

// The f32 of the f16 in the low half of a word.
fn f32_from_f16(half_bits: u32) -> u32 {
    let sign = (half_bits & 0x8000u) << 16u;
    let field = (half_bits >> 10u) & 0x1fu;
    let fraction = half_bits & 0x3ffu;
    if (field == 31u) {
        return sign | 0x7f800000u | (fraction << 13u) | select(0u, 0x400000u, fraction != 0u);
    }
    if (field == 0u) {
        if (fraction == 0u) {
            return sign;
        }
        let lead = countLeadingZeros(fraction) - 21u;       // 1 to 10: distance of the leading one from bit 10
        return sign | ((113u - lead) << 23u) | ((fraction << (lead + 13u)) & 0x7fffffu);
    }
    return sign | ((field + 112u) << 23u) | (fraction << 13u);
}

// The nearest f16, in the low half of the word.
fn f16_from_f32(word: u32) -> u32 {
    let sign = (word >> 16u) & 0x8000u;
    let magnitude = word & 0x7fffffffu;
    if (magnitude > 0x7f800000u) {
        return sign | 0x7e00u | ((magnitude >> 13u) & 0x3ffu);
    }
    if (magnitude >= 0x477ff000u) {                         // 65,520: halfway to the first number of the next exponent
        return sign | 0x7c00u;
    }
    var bits = magnitude - 0x38000000u;                     // the exponent in binary16's bias
    var shift = 13u;
    if (magnitude < 0x38800000u) {                          // below 2^-14: steps of 2^-24
        bits = (magnitude & 0x7fffffu) | 0x800000u;
        shift = 126u - min(magnitude >> 23u, 112u);
        if (shift > 24u) {
            return sign;
        }
    }
    let rest = bits & ((1u << shift) - 1u);
    let tie = 1u << (shift - 1u);
    let kept = bits >> shift;
    return sign | (kept + select(0u, 1u, rest > tie || (rest == tie && (kept & 1u) == 1u)));
}
