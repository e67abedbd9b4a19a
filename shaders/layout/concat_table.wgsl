// The codes of an input of layout/concat.wgsl, by a table of 256 bytes.

@group(0) @binding(5) var<storage, read> table: array<u32, 64>;

fn mapped(code: u32) -> u32 {
    return (table[code / 4u] >> (8u * (code % 4u))) & 0xffu;
}
