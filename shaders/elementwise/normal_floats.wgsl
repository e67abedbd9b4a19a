// The end of a row that is normalized: its numbers.
//# needs Normal, normalized: elementwise/layer_norm
//# constants LANES

@group(0) @binding(6) var<storage, read_write> output: array<u32>;

fn finish_row(normal: Normal, row: u32, end: u32, lane: u32, row_lane: u32) {
    for (var i = lane; i < end; i += LANES) {
        output[normal.first + i] = bitcast<u32>(normalized(normal, i));
    }
}
