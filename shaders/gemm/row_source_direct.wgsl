// Rows of lhs: an invocation reads all that it needs by itself.
//# needs Row: conv/conv, gemm/float_matmul, gemm/matmul, grouped/lhs_float, grouped/lhs_int8
//# constants TILE_M

const READS: u32 = TILE_M;

// Which row of the tile this invocation reads as its i-th.
fn owned_row(i: u32) -> u32 {
    return i;
}

// Whether an invocation without anything of its own to store may leave.
fn leaves(outside: bool) -> bool {
    return outside;
}

fn share(read: ptr<function, array<Row, READS>>) -> array<Row, TILE_M> {
    return *read;
}
