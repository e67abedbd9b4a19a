// Scales of groups: an E4M3 per group times an f32 per row.
//# import grouped/scale_streams
//# import math/float_bits
//# constants EXACT_SCALES

fn group_scales(place: Place, group: u32) -> Scales {
    let row = stream_f32(place, 0u, 0u);
    let scale = stream_e4m3(place, 1u, group);
    if (EXACT_SCALES) {
        let a = bitcast<vec4<u32>>(row);
        let b = bitcast<vec4<u32>>(scale);
        let product = vec4<u32>(f32_multiply(a.x, b.x), f32_multiply(a.y, b.y), f32_multiply(a.z, b.z), f32_multiply(a.w, b.w));
        return Scales(aligned(bitcast<vec4<f32>>(product)), vec4<f32>(0.0));
    }
    return Scales(aligned(row * scale), vec4<f32>(0.0));
}
