// √x on bit patterns, for finite x ≥ 0: round to nearest, ties to even.
//# import math/float_bits

fn f32_sqrt(x: u32) -> u32 {
    let magnitude = f32_magnitude(x);
    if (magnitude.bits == 0u) {
        return x;
    }
    // x = operand · 4^half, where the operand has 24 or 25 bits.
    let exponent = magnitude.exponent - 23;
    let odd = exponent & 1;
    let half = (exponent - odd) / 2;
    let operand = (magnitude.bits >> 8u) << u32(odd);
    // ⌊√(operand · 2^26)⌋, two bits of the operand at a time.
    var root = 0u;
    var remainder = 0u;
    for (var i = 0u; i < 26u; i += 1u) {
        let next = select(0u, (operand >> (24u - 2u * min(i, 12u))) & 3u, i < 13u);
        remainder = (remainder << 2u) | next;
        let trial = (root << 2u) | 1u;
        root = root << 1u;
        if (remainder >= trial) {
            remainder -= trial;
            root |= 1u;
        }
    }
    let shift = countLeadingZeros(root);
    return f32_pack(0u, 18 - i32(shift) + half, (root << shift) | select(0u, 1u, remainder != 0u));
}
