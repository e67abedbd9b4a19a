// Integer keys with the order of elements: greater elements have greater keys. Both zeros have one key; every NaN has the greatest
// key.
//
// Twins: reference/arg_max.rs, reference/top_k.rs.
//# import math/float_bits
//# constants INPUT_BITS, REAL, SIGNED

fn order_key(element: u32) -> u32 {
    let word = element << (32u - INPUT_BITS);               // the sign is bit 31
    if (REAL) {
        let infinity = select(F32_INFINITY, 0x7c000000u, INPUT_BITS == 16u);
        let size = word & ~F32_SIGN;
        let number = select(f32_order(word), F32_SIGN, size == 0u);
        return select(number, 0xffffffffu, size > infinity);
    }
    return select(word, word ^ F32_SIGN, SIGNED);
}
