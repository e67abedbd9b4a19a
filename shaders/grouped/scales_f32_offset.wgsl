// Scales: an f32 and an f32 offset per group.
//# import grouped/scale_streams

const SHIFT_ZERO: bool = false;
const SHIFT_OFFSET: bool = true;
const SHIFT_INTEGER: bool = false;

fn group_scales(place: Place, group: u32) -> Scales {
    return Scales(aligned(stream_f32(place, 0u, group)), stream_f32(place, 1u, group));
}
