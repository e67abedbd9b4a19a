// Scales of values that are codes: one for each group of a position and head. Their zero points are 0 and not read.

@group(0) @binding(9) var<storage, read> value_scales: array<vec2<u32>>;

fn value_scale(index: u32) -> f32 {
    return bitcast<f32>(value_scales[index].x);
}
