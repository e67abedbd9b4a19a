// output[i] = rows[i − p] if p ≤ i < p + count, else cache[i]     words of a cache and of the rows that it gets
//
// One invocation owns one word of the output.
//
// Meaning: reference/append.rs. Candidates: kernels/layout/append.rs.
//# import layout/append_params
//# import math/linear_index
//# needs appended_word: layout/append_rows_*
//# constants GROUP_X

@group(0) @binding(1) var<storage, read> cache: array<u32>;

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = i32(linear_group(group, groups) * GROUP_X + thread);
    if (index >= params.capacity * params.index_words) {
        return;
    }
    let row_word = index - first_index() * params.index_words;
    var word = cache[index];
    if (0 <= row_word && row_word < params.count * params.index_words) {
        word = appended_word(u32(row_word));
    }
    output[index] = without_padding(word, index);
}
