// Scales: an f32 and a real zero point per group.
//# import grouped/scale_streams

const SHIFT_ZERO: bool = true;
const SHIFT_OFFSET: bool = false;
const SHIFT_INTEGER: bool = false;

fn group_scales(place: Place, group: u32) -> Scales {
    return Scales(aligned(stream_f32(place, 0u, group)), aligned_zero(stream_f32(place, 1u, group)));
}
