// The words that are appended: the rows are float32, the cache is float32 or float16 (BITS). Padding may hold anything.
//# import math/float16_bits
//# needs appended_bits: layout/append_value_*
//# params n, row_words
//# constants BITS

fn appended_word(word: u32) -> u32 {
    let row = word / params.row_words;
    let column = word % params.row_words * (32u / BITS);
    let last = params.n - 1u;
    let bits = appended_bits(row, min(column, last));
    if (BITS == 32u) {
        return bits;
    }
    return f16_from_f32(bits) | (f16_from_f32(appended_bits(row, min(column + 1u, last))) << 16u);
}
