// Scales and shifts of groups. A scale has SCALE_BYTES bytes: f32 (4), f16 (2) or a power of two (1). A zero point is an int8 if
// SHIFT_INTEGER. Other zero points and offsets have the format of scales.
//# import grouped/scale_streams
//# constants SCALE_BYTES, SHIFT_INTEGER, SHIFT_OFFSET, SHIFT_ZERO

fn stream_reals(place: Place, stream: u32, index: u32) -> vec4<f32> {
    if (SCALE_BYTES == 4u) {
        return stream_f32(place, stream, index);
    }
    if (SCALE_BYTES == 2u) {
        return stream_f16(place, stream, index);
    }
    return stream_e8m0(place, stream, index);
}

fn group_scales(place: Place, group: u32) -> Scales {
    var scales = Scales(aligned(stream_reals(place, 0u, group)), vec4<f32>(0.0));
    if (SHIFT_INTEGER) {
        scales.shift = aligned_zero(stream_i8(place, 1u, group));
    } else if (SHIFT_ZERO) {
        scales.shift = aligned_zero(stream_reals(place, 1u, group));
    } else if (SHIFT_OFFSET) {
        scales.shift = stream_reals(place, 1u, group);
    }
    return scales;
}
