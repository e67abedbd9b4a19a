// Counting: in workgroup memory, then one atomic addition in storage memory per bin that is not empty.
//# needs counts: calibrate/observe_count
//# constants BINS, GROUP_X

var<workgroup> local_counts: array<atomic<u32>, BINS>;

fn count_begin(thread: u32) {
    for (var bin = thread; bin < BINS; bin += GROUP_X) {
        atomicStore(&local_counts[bin], 0u);
    }
    workgroupBarrier();
}

fn count_one(segment: u32, bin: u32) {
    atomicAdd(&local_counts[bin], 1u);
}

fn count_end(segment: u32, thread: u32) {
    workgroupBarrier();
    for (var bin = thread; bin < BINS; bin += GROUP_X) {
        let count = atomicLoad(&local_counts[bin]);
        if (count > 0u) {
            atomicAdd(&counts[segment * BINS + bin], count);
        }
    }
}
