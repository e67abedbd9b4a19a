// rotated[i] = query i, turned      keys[p + j] = key row j, turned      values[p + j] = value row j
//
// One invocation owns one word: of the rows of keys, then of those of values, then of the queries. Rows of a cache may be float16, two
// in a word (BITS). The caches' other rows stay as they are.
//
// Meaning: reference/rotary_append.rs. Candidates: kernels/layout/rotary_append.rs.
//# import elementwise/rotated_pair
//# import math/float16_bits
//# import math/linear_index
//# constants BITS, GROUP_X

struct Params {
    capacity: i32,            // positions of the caches
    count: i32,               // tokens
    half: u32,                // pairs of a row that are rotated
    positions: i32,           // rows of the table of angles
    n: u32,                   // elements of a row of queries and of keys
    value_n: u32,             // elements of a row of values
    query_rows: u32,          // rows of a token
    key_rows: u32,
    value_rows: u32,
    key_row_words: u32,       // words of a row of the cache
    value_row_words: u32,
    unused_0: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> queries: array<f32>;
@group(0) @binding(2) var<storage, read> new_keys: array<f32>;
@group(0) @binding(4) var<storage, read> table: array<f32>;
@group(0) @binding(5) var<storage, read> new_values: array<f32>;
@group(0) @binding(6) var<storage, read_write> keys: array<u32>;
@group(0) @binding(7) var<storage, read_write> values: array<u32>;
@group(0) @binding(8) var<storage, read_write> rotated: array<f32>;

// A number of a pair after its rotation.
fn turned(mine: f32, other: f32, element: RotatedElement) -> f32 {
    return mine * table[element.cosine] + select(-other, other, element.is_second) * table[element.cosine + params.half];
}

fn query(index: u32) -> f32 {
    let column = index % params.n;
    if (column >= 2u * params.half) {
        return queries[index];
    }
    let element = rotated_element(index, column, index / params.n / params.query_rows);
    return turned(queries[index], queries[element.partner], element);
}

fn key(index: u32) -> f32 {
    let column = index % params.n;
    if (column >= 2u * params.half) {
        return new_keys[index];
    }
    let element = rotated_element(index, column, index / params.n / params.key_rows);
    return turned(new_keys[index], new_keys[element.partner], element);
}

// The word of one number, or of two of float16; beyond a row's end there is 0.
fn packed(first: f32, second: f32, has_second: bool) -> u32 {
    let bits = bitcast<u32>(first);
    if (BITS == 32u) {
        return bits;
    }
    return f16_from_f32(bits) | (select(0u, f16_from_f32(bitcast<u32>(second)), has_second) << 16u);
}

// The place of a word of new rows in the cache; beyond its end for rows that fall outside.
fn place(word: u32, token_words: u32) -> i32 {
    // All positions that leave no row in the cache count as one, so that nothing overflows.
    let index = clamp(position[0], -params.count, params.capacity) + i32(word / token_words);
    if (index < 0 || index >= params.capacity) {
        return -1;
    }
    return index * i32(token_words) + i32(word % token_words);
}

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let word = linear_group(group, groups) * GROUP_X + thread;
    let tokens = u32(params.count);
    let of_word = 32u / BITS;
    let key_words = params.key_rows * params.key_row_words;
    let value_words = params.value_rows * params.value_row_words;
    if (word < tokens * key_words) {
        let at = place(word, key_words);
        let column = word % params.key_row_words * of_word;
        let index = word / params.key_row_words * params.n + column;
        if (at >= 0) {
            var result = 0u;
            if (column < params.n) {
                let has_second = column + 1u < params.n;
                result = packed(key(index), key(select(index, index + 1u, has_second)), has_second);
            }
            keys[at] = result;
        }
        return;
    }
    let value_word = word - tokens * key_words;
    if (value_word < tokens * value_words) {
        let at = place(value_word, value_words);
        let column = value_word % params.value_row_words * of_word;
        let index = value_word / params.value_row_words * params.value_n + column;
        if (at >= 0) {
            var result = 0u;
            if (column < params.value_n) {
                let has_second = column + 1u < params.value_n;
                result = packed(new_values[index], new_values[select(index, index + 1u, has_second)], has_second);
            }
            values[at] = result;
        }
        return;
    }
    let element = value_word - tokens * value_words;
    if (element < tokens * params.query_rows * params.n) {
        rotated[element] = query(element);
    }
}
