// Rows of lhs: a workgroup is one subgroup, and its invocations own the same rows. Each invocation reads one row of each SHARE and
// broadcasts it to the others.
//# needs Row: conv/conv, gemm/float_matmul, gemm/matmul, grouped/lhs_float, grouped/lhs_int8
//# constants GROUP_X, TILE_M

const SHARE: u32 = min(GROUP_X, 16u);
const READS: u32 = (TILE_M + SHARE - 1u) / SHARE;

fn owned_row(i: u32) -> u32 {
    let lane = min(subgroupExclusiveAdd(1u), SHARE - 1u);
    return min(i * SHARE + lane, TILE_M - 1u);
}

// No invocation may exit early: the others read its rows.
fn may_exit(outside: bool) -> bool {
    return false;
}

// The lane must be a constant.
fn of_lane(row: Row, lane: u32) -> Row {
    switch (lane) {
        case 0u: { return subgroupBroadcast(row, 0u); }
        case 1u: { return subgroupBroadcast(row, 1u); }
        case 2u: { return subgroupBroadcast(row, 2u); }
        case 3u: { return subgroupBroadcast(row, 3u); }
        case 4u: { return subgroupBroadcast(row, 4u); }
        case 5u: { return subgroupBroadcast(row, 5u); }
        case 6u: { return subgroupBroadcast(row, 6u); }
        case 7u: { return subgroupBroadcast(row, 7u); }
        case 8u: { return subgroupBroadcast(row, 8u); }
        case 9u: { return subgroupBroadcast(row, 9u); }
        case 10u: { return subgroupBroadcast(row, 10u); }
        case 11u: { return subgroupBroadcast(row, 11u); }
        case 12u: { return subgroupBroadcast(row, 12u); }
        case 13u: { return subgroupBroadcast(row, 13u); }
        case 14u: { return subgroupBroadcast(row, 14u); }
        default: { return subgroupBroadcast(row, 15u); }
    }
}

fn tile_rows(read: ptr<function, array<Row, READS>>) -> array<Row, TILE_M> {
    var every: array<Row, TILE_M>;
    for (var i = 0u; i < TILE_M; i += 1u) {
        every[i] = of_lane((*read)[i / SHARE], i % SHARE);
    }
    return every;
}
