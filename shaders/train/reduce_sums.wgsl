// The sums of two numbers per invocation over a workgroup of GROUP_X (a power of two) invocations, as a tree.
//# constants GROUP_X

var<workgroup> tree: array<vec2<f32>, GROUP_X>;

fn reduce_sums(mine: vec2<f32>, thread: u32) -> vec2<f32> {
    tree[thread] = mine;
    for (var half = GROUP_X / 2u; half > 0u; half = half / 2u) {
        workgroupBarrier();
        if (thread < half) {
            tree[thread] = tree[thread] + tree[thread + half];
        }
    }
    workgroupBarrier();
    return tree[0];
}
