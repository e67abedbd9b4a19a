// output[p + j, s], parameters[p + j, s] = codes and scale of segment s of rows[j]     rows that are quantized into a cache
//
// LANES invocations share a segment, each taking every LANES-th element, and ROWS segments share a workgroup. Segments are those of
// the rows, in the cache's own buffers (IN_PLACE); else those of the cache, and segments that get no row are copied.
//
// Meaning: reference/append_quantized.rs. Candidates: kernels/layout/append_quantized.rs.
//# import convert/reduce_range
//# import convert/range_scale
//# import elementwise/token_position
//# import layout/append_quantized_params
//# import math/linear_index
//# needs appended_bits: layout/append_value_direct, layout/append_value_rotated_bits
//# needs convert: convert/step_quantize
//# needs kept_word, kept_parameters: layout/append_kept_copied, layout/append_kept_in_place
//# constants BITS, IN_PLACE, LANES, ROWS

@group(0) @binding(6) var<storage, read_write> output: array<u32>;           // codes
@group(0) @binding(7) var<storage, read_write> parameters: array<vec2<u32>>; // scale (f32 bits), zero point

@compute @workgroup_size(LANES, ROWS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let segment = linear_group(group, groups) * ROWS + local.y;
    let row = segment / params.per_row;
    let own = i32(row / params.token_rows);
    // All positions that leave no row in the cache count as one, so that nothing overflows.
    let first_index = clamp(position[0], -params.count, params.capacity);
    let token = select(own - first_index, own, IN_PLACE);
    let index = select(own, own + first_index, IN_PLACE);
    let known = 0 <= index && index < params.capacity;
    let is_row = known && 0 <= token && token < params.count;
    let source = u32(token) * params.token_rows + row % params.token_rows;
    let target_row = u32(index) * params.token_rows + row % params.token_rows;
    let place = target_row * params.per_row + segment % params.per_row;

    let first = (segment % params.per_row) * params.length;
    let last = min(first + params.length, params.n);
    // Lanes of other segments read nothing, but reduce with the rest.
    let end = select(0u, last, is_row);
    var keys = range_of_none();
    for (var i = first + local.x; i < end; i += LANES) {
        keys = range_with(keys, appended_bits(source, i));
    }
    keys = reduce_range(keys, local.x, local.y);
    if (!is_row && (IN_PLACE || !known)) {
        return;
    }
    var entry = vec2<u32>();
    if (is_row) {
        entry = range_scale(keys, params.low, params.high);
    } else {
        entry = kept_parameters(place);
    }
    if (local.x == 0u) {
        parameters[place] = entry;
    }
    let of_word = 32u / BITS;
    // The last segment of a row also writes the zeros beyond it.
    let words = select(last / of_word, params.row_words, last == params.n);
    for (var word = first / of_word + local.x; word < words; word += LANES) {
        var packed = 0u;
        for (var i = 0u; i < of_word; i += 1u) {
            let column = word * of_word + i;
            var code = 0u;
            if (is_row) {
                code = convert(appended_bits(source, min(column, last - 1u)), entry);
            } else {
                code = kept_word(target_row * params.row_words + word) >> (BITS * i);
            }
            packed |= select(0u, code & ((1u << BITS) - 1u), column < last) << (BITS * i);
        }
        output[target_row * params.row_words + word] = packed;
    }
}
