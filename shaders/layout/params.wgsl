// Parameters of the loops that move elements, layout/rearrange.wgsl and layout/copy_rows.wgsl, and the input position of an output
// row. Written by kernels/layout/rearrange.rs.
//
// Each axis of the output adds to the position in the input: step · index, or the table's entry at the index. One of the axes is
// the input's last one, whose elements share words. It counts in elements, the others in words.
//# needs axis_offset, is_nowhere: layout/axis_*
//# needs opaque_zero: math/linear_index

struct Params {
    outer: array<vec4<u32>, 7>,   // all axes but the last, innermost first: extent, step, first table entry, 1 if in elements
    inner: vec4<u32>,         // the last axis
    axes: u32,                // number of axes in `outer`
    n: u32,                   // columns: the length of the last dimension
    output_words: u32,        // u32 words of an output row
    invocations: u32,
    word: u32,                // input position of the first element in words; the next field: elements beyond
    element: u32,
    fill: u32,                // the element where no input maps to
    scale: u32,               // scale of converted elements: f32 bits
    zero_point: i32,
    low: i32,                 // least and greatest code
    high: i32,
    unused: u32,
}

@group(0) @binding(0) var<uniform> params: Params;

const NO_TABLE: u32 = 0xffffffffu;
const NOWHERE: u32 = 0xffffffffu;

struct Source {
    word: u32,
    element: u32,
    inside: bool,
}

fn advance(source: Source, axis: vec4<u32>, index: u32) -> Source {
    let at = axis_offset(axis, index);
    let elements = select(0u, at, axis.w == 1u);
    return Source(source.word + (at - elements), source.element + elements, source.inside && !is_nowhere(axis, at));
}

fn row_source(row: u32, groups: vec3<u32>) -> Source {
    var source = Source(params.word, params.element, true);
    var rest = row;
    for (var i = 0u; i < params.axes + opaque_zero(groups); i += 1u) {
        let axis = params.outer[i];
        source = advance(source, axis, rest % axis.x);
        rest = rest / axis.x;
    }
    return source;
}
