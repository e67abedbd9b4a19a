// Counting: every number is an atomic addition in memory.
//# needs counts: calibrate/observe_count, calibrate/observe_level, calibrate/observe_rebin
//# constants BINS

fn count_begin(thread: u32) {}

fn count_one(segment: u32, bin: u32) {
    atomicAdd(&counts[segment * BINS + bin], 1u);
}

fn count_end(segment: u32, thread: u32) {}
