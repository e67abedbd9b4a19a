// Split-k: one slice of k per row of a workgroup.

const SLICED: bool = true;

fn slice_of(lane: u32) -> u32 {
    return lane;
}

// False: the invocations of other slices wait for it before they add.
fn is_idle(outside: bool) -> bool {
    return false;
}
