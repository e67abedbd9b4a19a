// Split-k of floats: the sums of slices of k are added through workgroup memory, as the tree that gemm/reduce_split_k.wgsl draws.
//# constants GROUP_X, SLICES, TILE_M, TILE_Q

// [sum][slice but the first][column], and one more: no memory has no size.
var<workgroup> partial: array<vec4<f32>, TILE_M * TILE_Q * (SLICES - 1u) * GROUP_X + 1u>;

fn partial_at(sum: u32, slice: u32, x: u32) -> u32 {
    return (sum * (SLICES - 1u) + slice - 1u) * GROUP_X + x;
}

// Leaves the sums of all slices in the first one. All invocations of the workgroup must call it.
fn reduce_slices(own: ptr<private, array<vec4<f32>, TILE_M * TILE_Q>>, slice: u32, x: u32) {
    for (var half = SLICES / 2u; half > 0u; half /= 2u) {
        if (slice >= half && slice < 2u * half) {
            for (var i = 0u; i < TILE_M * TILE_Q; i += 1u) {
                partial[partial_at(i, slice, x)] = (*own)[i];
            }
        }
        workgroupBarrier();
        if (slice < half) {
            for (var i = 0u; i < TILE_M * TILE_Q; i += 1u) {
                (*own)[i] += partial[partial_at(i, slice + half, x)];
            }
        }
    }
}
