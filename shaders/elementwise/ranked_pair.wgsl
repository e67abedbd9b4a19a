// Pairs of an element's key (elementwise/order_key.wgsl) and its index. Of elements with equal keys the first is better, so that no
// two elements of a row are equally good.

// Worse than every element.
const NOTHING = vec2<u32>(0u, 0xffffffffu);

fn is_better(a: vec2<u32>, b: vec2<u32>) -> bool {
    return a.x > b.x || (a.x == b.x && a.y < b.y);
}
