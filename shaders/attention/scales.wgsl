// Scales of caches that hold codes: one for a position and head. Their zero points are 0 and not read.

@group(0) @binding(8) var<storage, read> key_scales: array<vec2<u32>>;
@group(0) @binding(9) var<storage, read> value_scales: array<vec2<u32>>;

fn key_scale(row: u32) -> f32 {
    return bitcast<f32>(key_scales[row].x);
}

fn value_scale(row: u32) -> f32 {
    return bitcast<f32>(value_scales[row].x);
}
