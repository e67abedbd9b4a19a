// Rows of lhs: an invocation reads all of its rows itself.
//# needs Row: conv/conv, gemm/float_matmul, gemm/matmul, grouped/lhs_float, grouped/lhs_int8
//# constants TILE_M

const READS: u32 = TILE_M;

// Index in the tile of the i-th row that this invocation reads.
fn owned_row(i: u32) -> u32 {
    return i;
}

// True if an invocation that stores nothing may exit early.
fn may_exit(outside: bool) -> bool {
    return outside;
}

fn tile_rows(read: ptr<function, array<Row, READS>>) -> array<Row, TILE_M> {
    return *read;
}
