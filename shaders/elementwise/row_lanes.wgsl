// Sums and maxima over the LANES invocations of a row, as trees. A workgroup holds ROWS rows. All of its invocations must call
// them.
//# constants LANES, ROWS

var<workgroup> tree: array<f32, LANES * ROWS>;

fn row_reduce(mine: f32, lane: u32, row: u32, maximum: bool) -> f32 {
    if (LANES == 1u) {
        return mine;
    }
    let at = row * LANES + lane;
    tree[at] = mine;
    for (var half = LANES / 2u; half > 0u; half = half / 2u) {
        workgroupBarrier();
        if (lane < half) {
            let other = tree[at + half];
            tree[at] = select(tree[at] + other, max(tree[at], other), maximum);
        }
    }
    workgroupBarrier();
    let result = tree[row * LANES];
    workgroupBarrier();
    return result;
}

fn row_sum(mine: f32, lane: u32, row: u32) -> f32 {
    return row_reduce(mine, lane, row, false);
}

fn row_max(mine: f32, lane: u32, row: u32) -> f32 {
    return row_reduce(mine, lane, row, true);
}
