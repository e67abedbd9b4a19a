// out[r, l] = scale · (code[j, l] - zero)  or  scale · code[j, l] + offset,  j = index[r]     rows of quantized weights
//
// Each operation is one correctly rounded f32 operation, done in integers, with equal bits on every device. An index that is not
// below `rows` makes zeros. One invocation owns four neighbouring columns.
//
// Meaning: reference/embedding.rs. Candidates: kernels/grouped/embedding.rs. Layout: weights/layout.rs.
//# import math/linear_index
//# import math/float_bits
//# needs PANEL, Place, codes_at, weight: grouped/scale_streams
//# needs group_scales: grouped/scales*
//# needs code_value: grouped/value_*
//# needs position_of: grouped/position_*
//# needs store_reals: epilogue/store_f16, epilogue/store_f32
//# constants GROUP_X, LOWER, SHIFT_OFFSET, SHIFT_ZERO, UPPER

struct Params {
    streams: vec4<u32>,       // bytes of a weight row before each stream of numbers
    n: u32,                   // columns: k of the weights
    rows: u32,                // rows of weights
    first_row: u32,           // of this launch
    end_row: u32,
    padded_rows: u32,         // of this launch, padded to 4
    panel_vecs: u32,          // vec4<u32> of a whole panel of 64 rows
    padded_group: u32,        // positions that share a scale
    output_words: u32,        // u32 words from one output row to the next
    output_quads: u32,        // quads written per row, padding included
    quads: u32,               // quads in all
    unused_0: u32,
    unused_1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> indices: array<u32>;

// Words of a row's codes at a step.
struct RowWords {
    at: u32,          // the first vec4 of the quad
    quads: u32,       // of the panel: the distance of the quad's vec4s
    first: u32,       // word of the quad
}

fn weight_word(row: RowWords, word: u32) -> u32 {
    let in_quad = row.first + word;
    return weight[row.at + in_quad / 4u * row.quads][in_quad % 4u];
}

// The bits of a position in a plane of `width` bits per position, which begins at word `begin`.
fn plane(row: RowWords, begin: u32, width: u32, position: u32) -> u32 {
    let quad = position / 4u;
    let word = weight_word(row, begin + quad % width);
    return (word >> (8u * (position % 4u) + width * (quad / width))) & ((1u << width) - 1u);
}

// The stored number at a position (0 to 31), as f32 bits.
fn code(row: RowWords, position: u32) -> u32 {
    var bits = plane(row, 0u, UPPER, position);
    if (LOWER > 0u) {
        bits = (bits << LOWER) | plane(row, UPPER, LOWER, position);
    }
    let unused = 32u - UPPER - LOWER;
    return code_value(bitcast<i32>(bits << unused) >> unused);
}

@compute @workgroup_size(GROUP_X)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = linear_group(group, groups) * GROUP_X + thread;
    if (index >= params.quads) {
        return;
    }
    let out_row = index / params.output_quads;
    let first_column = index % params.output_quads * 4u;
    let row = indices[out_row];
    let known = row < params.rows;
    // Other launches write the rows of their weights. The first launch writes rows whose index is out of range.
    if (select(params.first_row > 0u, row < params.first_row || row >= params.end_row, known)) {
        return;
    }
    let local_row = select(0u, row - params.first_row, known);
    let panel = local_row / PANEL;
    let lane = local_row % 4u;
    let width = min(params.padded_rows - panel * PANEL, PANEL);
    let place = Place(panel * params.panel_vecs, width, local_row % PANEL / 4u * 4u);
    var values = vec4<f32>(0.0);
    for (var i = 0u; i < 4u; i += 1u) {
        let column = first_column + i;
        if (known && column < params.n) {
            let position = position_of(column);
            let at = codes_at(place, position / 32u, UPPER + LOWER);
            let number = code(RowWords(at, width / 4u, lane * (UPPER + LOWER)), position % 32u);
            let scales = group_scales(place, position / params.padded_group);
            let scale = bitcast<u32>(scales.scale[lane]);
            let shift = bitcast<u32>(scales.shift[lane]);
            var value = 0u;
            if (SHIFT_ZERO) {
                value = f32_multiply(f32_add(number, shift ^ F32_SIGN), scale);
            } else {
                value = f32_multiply(number, scale);
                if (SHIFT_OFFSET) {
                    value = f32_add(value, shift);
                }
            }
            values[i] = bitcast<f32>(value);
        }
    }
    store_reals(out_row, first_column, values);
}
