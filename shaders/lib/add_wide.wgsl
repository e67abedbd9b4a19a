// A count of two words and one of one word.
fn add_wide(low: u32, high: u32, more: u32) -> vec2<u32> {
    let sum = low + more;
    return vec2<u32>(sum, high + select(0u, 1u, sum < more));
}
