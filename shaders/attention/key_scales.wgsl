// Scales of keys that are codes: one for each group of a position and head. Their zero points are 0 and not read.

@group(0) @binding(8) var<storage, read> key_scales: array<vec2<u32>>;

fn key_scale(index: u32) -> f32 {
    return bitcast<f32>(key_scales[index].x);
}
