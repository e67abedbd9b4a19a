// Counting: one atomic addition in storage memory per number.
//# needs counts: calibrate/observe_count
//# constants BINS

fn count_begin(thread: u32) {}

fn count_one(segment: u32, bin: u32) {
    atomicAdd(&counts[segment * BINS + bin], 1u);
}

fn count_end(segment: u32, thread: u32) {}
