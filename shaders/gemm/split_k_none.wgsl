// Split-k: one slice. slice_of ignores its argument, so compilers see that the loop is uniform for a whole workgroup.

const SLICED: bool = false;

fn slice_of(lane: u32) -> u32 {
    return 0u;
}

// True if an invocation owns nothing of the output and is not needed otherwise.
fn useless(outside: bool) -> bool {
    return outside;
}
