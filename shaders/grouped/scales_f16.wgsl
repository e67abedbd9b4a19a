// Scales: an f16 per group.
//# import grouped/scale_streams

const SHIFT_ZERO: bool = false;
const SHIFT_OFFSET: bool = false;
const SHIFT_INTEGER: bool = false;

fn group_scales(place: Place, group: u32) -> Scales {
    return Scales(aligned(stream_f16(place, 0u, group)), vec4<f32>(0.0));
}
