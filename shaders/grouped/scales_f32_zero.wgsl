// Scales: an f32 and an int8 zero point per group.
//# import grouped/scale_streams

const SHIFT_ZERO: bool = true;
const SHIFT_OFFSET: bool = false;
const SHIFT_INTEGER: bool = true;

fn group_scales(place: Place, group: u32) -> Scales {
    return Scales(aligned(stream_f32(place, 0u, group)), aligned_zero(stream_i8(place, 1u, group)));
}
