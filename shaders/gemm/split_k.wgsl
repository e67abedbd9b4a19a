// Slices of k: one for each row of a workgroup.

const SLICED: bool = true;

fn slice_of(lane: u32) -> u32 {
    return lane;
}

// Its neighbours wait for it before they add.
fn useless(outside: bool) -> bool {
    return false;
}
