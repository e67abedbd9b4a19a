// Scales: scale and offset, each an f16 per NESTING groups times a uint8 per group. The products are exact.
//# import grouped/scale_streams
//# constants NESTING

const SHIFT_ZERO: bool = false;
const SHIFT_OFFSET: bool = true;
const SHIFT_INTEGER: bool = false;

fn group_scales(place: Place, group: u32) -> Scales {
    let scale = stream_f16(place, 0u, group / NESTING) * stream_u8(place, 2u, group);
    let offset = stream_f16(place, 1u, group / NESTING) * stream_u8(place, 3u, group);
    return Scales(aligned(scale), offset);
}
