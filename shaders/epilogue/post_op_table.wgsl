// Post-op: out = table[code], with the result of elementwise/table.wgsl on the stored codes. The 256 bytes are the first 16 entries
// of the tables.
//# import epilogue/tables

fn post_op(codes: vec4<i32>, at: u32) -> vec4<i32> {
    var done = vec4<i32>(0);
    for (var lane = 0u; lane < 4u; lane += 1u) {
        let byte = bitcast<u32>(codes[lane]) & 0xffu;
        done[lane] = bitcast<i32>((tables[byte / 16u][(byte / 4u) % 4u] >> (8u * (byte % 4u))) & 0xffu);
    }
    return done;
}
