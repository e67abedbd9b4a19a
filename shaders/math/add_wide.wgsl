// The sum of two counts of two words each, low word first, saturated to the greatest count.

fn add_wide(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let low = a.x + b.x;
    let high = a.y + b.y;
    let carried = high + select(0u, 1u, low < b.x);
    return select(vec2<u32>(low, carried), vec2<u32>(0xffffffffu), high < b.y || carried < high);
}
