// The source of elementwise/top_k.wgsl: the best elements of parts of a row.
//# params n

@group(0) @binding(2) var<storage, read> partials: array<vec2<u32>>;

fn source_pair(row: u32, i: u32) -> vec2<u32> {
    return partials[row * params.n + i];
}
