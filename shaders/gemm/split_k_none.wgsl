// Slices of k: one. A function that ignores its argument tells compilers that the loop is the same for a whole workgroup.

const SLICED: bool = false;

fn slice_of(lane: u32) -> u32 {
    return 0u;
}

// Whether an invocation that owns nothing of the output is of no use.
fn useless(outside: bool) -> bool {
    return outside;
}
