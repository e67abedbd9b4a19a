// Scales: an f16 per NESTING groups times an int8 per group. The product is exact.
//# import grouped/scale_streams
//# constants NESTING

const SHIFT_ZERO: bool = false;
const SHIFT_OFFSET: bool = false;
const SHIFT_INTEGER: bool = false;

fn group_scales(place: Place, group: u32) -> Scales {
    let scale = stream_f16(place, 0u, group / NESTING) * stream_i8(place, 1u, group);
    return Scales(aligned(scale), vec4<f32>(0.0));
}
