// Padding: zero.

fn gap(index: u32) -> u32 {
    return 0u;
}
