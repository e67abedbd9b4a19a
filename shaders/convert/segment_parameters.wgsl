// The end of a segment whose range is known: its parameters only.
//# import convert/segments

fn store_segment(segment: u32, row: u32, first: u32, end: u32, lane: u32, entry: vec2<u32>) {
    if (lane == 0u) {
        parameters[segment] = entry;
    }
}
