// The sum or, if MAXIMUM, the greatest of taps of a window, for the pooling loops that read the image.
//# import elementwise/pool_params
//# import conv/window
//# import convert/integer_input
//# constants INPUT_SIGNED, MAXIMUM

fn no_taps() -> vec4<i32> {
    return vec4<i32>(select(0, select(0, -128, INPUT_SIGNED), MAXIMUM));
}

fn with_tap(total: vec4<i32>, codes: vec4<i32>) -> vec4<i32> {
    return select(total + codes - params.input_zero_point, max(total, codes), MAXIMUM);
}

// The result of all taps inside the image.
fn all_taps(origin: vec4<i32>, taps: Taps, quad: u32) -> vec4<i32> {
    var total = no_taps();
    for (var z = taps.begin.x; z < taps.end.x; z += 1u) {
        for (var y = taps.begin.y; y < taps.end.y; y += 1u) {
            for (var x = taps.begin.z; x < taps.end.z; x += 1u) {
                total = with_tap(total, load_input(tap_pixel(origin, vec3<u32>(z, y, x)), quad));
            }
        }
    }
    return total;
}
