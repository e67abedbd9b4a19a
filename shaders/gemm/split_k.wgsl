// Split-k: each row of a workgroup owns one of SLICES slices of k.
//# constants SLICES

const SLICED: bool = SLICES > 1u;

// Constant without split-k, so that compilers see that the loop is uniform for a whole workgroup.
fn slice_of(lane: u32) -> u32 {
    if (SLICED) {
        return lane;
    }
    return 0u;
}

// True if an invocation owns nothing of the output and is not needed otherwise. With split-k the invocations of other slices wait
// for it before they add.
fn is_idle(outside: bool) -> bool {
    if (SLICED) {
        return false;
    }
    return outside;
}
