// The source of elementwise/top_k.wgsl: elements of the input.
//# import convert/load_element
//# import elementwise/order_key
//# params flip

fn source_pair(row: u32, i: u32) -> vec2<u32> {
    return vec2<u32>(order_key(load_element(row, i)) ^ params.flip, i);
}
