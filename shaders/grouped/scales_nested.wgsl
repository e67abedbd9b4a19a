// Scales of groups: an f16 per NESTING groups times an int8 per group. With offsets, scale and offset are each an f16 per NESTING
// groups times a uint8 per group. The products are exact.
//# import grouped/scale_streams
//# constants NESTING, SHIFT_OFFSET

fn group_scales(place: Place, group: u32) -> Scales {
    let scale = stream_f16(place, 0u, group / NESTING);
    if (SHIFT_OFFSET) {
        let offset = stream_f16(place, 1u, group / NESTING) * stream_u8(place, 3u, group);
        return Scales(aligned(scale * stream_u8(place, 2u, group)), offset);
    }
    return Scales(aligned(scale * stream_i8(place, 1u, group)), vec4<f32>(0.0));
}
