// The bits of an element of a row of f32 after its pair is rotated: a cos − b sin or a sin + b cos, each step rounded to f32.
//
// Factors and products that are not finite count as the nearest finite number, and NaN as 0.
//
// Meaning: reference/rotary.rs.
//# import elementwise/rotated_pair
//# import math/float_bits
//# params half, n, token_rows

@group(0) @binding(2) var<storage, read> rows: array<u32>;
@group(0) @binding(4) var<storage, read> table: array<u32>;

fn rotated_bits(row: u32, column: u32) -> u32 {
    let index = row * params.n + column;
    let mine = rows[index];
    if (column >= 2u * params.half) {
        return mine;
    }
    let element = rotated_element(index, column, row / params.token_rows);
    let other = f32_finite(rows[element.partner]) ^ select(F32_SIGN, 0u, element.is_second);
    let first = f32_multiply(f32_finite(mine), f32_finite(table[element.cosine]));
    let second = f32_multiply(other, f32_finite(table[element.cosine + params.half]));
    return f32_add(f32_finite(first), f32_finite(second));
}
