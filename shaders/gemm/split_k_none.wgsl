// Split-k: one slice. slice_of ignores its argument: a loop over rows that a subgroup broadcasts must be uniform, and WGSL's rules
// for that evaluate no constant.

const SLICED: bool = false;

fn slice_of(lane: u32) -> u32 {
    return 0u;
}

// True if an invocation owns nothing of the output and is not needed otherwise.
fn is_idle(outside: bool) -> bool {
    return outside;
}
