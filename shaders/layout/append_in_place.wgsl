// output[p + j] = rows[j]     the same in the cache's own buffer: only the words of rows are moved
//
// One invocation owns one word of the rows.
//
// Meaning: reference/append.rs. Candidates: kernels/layout/append.rs.
//# import layout/append_params
//# import math/linear_index
//# needs appended_word: layout/append_rows_*
//# constants GROUP_X

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let row_word = i32(linear_group(group, groups) * GROUP_X + thread);
    if (row_word >= params.count * params.index_words) {
        return;
    }
    let index = first_index() * params.index_words + row_word;
    if (0 <= index && index < params.capacity * params.index_words) {
        output[index] = without_padding(appended_word(u32(row_word)), index);
    }
}
