// out[pixel, c] = stage( Σ_tap Σ_i (lhs[pixel · stride + tap · dilation - pad, i] - z) · (weight[c, tap, i] - v[c]) )
//
// A convolution of one group as an implicit matrix product through workgroup memory: rows are pixels, and k runs over the
// vec4s of channels of all taps. A workgroup owns BLOCK_M pixels by BLOCK_N channels (gemm/workgroup_tile.wgsl). Patches are
// gathered when they are staged; no patch matrix is stored.
//
//     k  | tap 0: vec 0 .. vec V-1 | tap 1: ...     an invocation stages one pixel at one k of each step, and walks on
//
// Weights, meaning: gemm/weights_*.wgsl, reference/conv.rs. Candidates: kernels/conv/conv.rs. Parameters: conv/params.wgsl.
//# import gemm/tile_order
//# import gemm/workgroup_tile
//# import conv/params
//# import conv/window
//# import math/linear_index
//# constants BUFFERS, GROUP_X, GROUP_Y, LHS_FLIP, STEP, TILE_M

const LHS_SLOTS: u32 = (LHS_VECS + THREADS - 1u) / THREADS;

@compute @workgroup_size(GROUP_X, GROUP_Y)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let tile = linear_group(group, groups);
    if (tile >= params.tiles) {
        return;
    }
    let own = tile_place(tile);
    let block_pixel = own.x * BLOCK_M;
    let block_quad = own.y * BLOCK_Q;
    let vecs = params.pixel_words / 4u;
    let k_vecs = params.kernel.x * params.kernel.y * params.kernel.z * vecs + opaque_zero(groups);
    let padding = vec4<u32>(zero_word());

    // Positions of this invocation's slots in the image: pixel, then tap and vec4 of the next step.
    var origin: array<vec4<i32>, LHS_SLOTS>;
    var tap: array<vec3<u32>, LHS_SLOTS>;
    var vec: array<u32, LHS_SLOTS>;
    for (var s = 0u; s < LHS_SLOTS; s += 1u) {
        let slot = thread + s * THREADS;
        origin[s] = window_origin(min(block_pixel + slot % BLOCK_M, params.pixels - 1u));
        tap[s] = vec3<u32>(0u);
        vec[s] = slot / BLOCK_M;
    }

    for (var start = 0u; start < k_vecs; start += STEP) {
        for (var s = 0u; s < LHS_SLOTS; s += 1u) {
            let slot = thread + s * THREADS;
            // Advance to the tap that contains the vec4. Beyond the last tap both lhs and weight are staged as zero.
            while (vec[s] >= vecs) {
                vec[s] -= vecs;
                tap[s].z += 1u;
                if (tap[s].z == params.kernel.z) {
                    tap[s] = vec3<u32>(tap[s].x, tap[s].y + 1u, 0u);
                    if (tap[s].y == params.kernel.y) {
                        tap[s] = vec3<u32>(tap[s].x + 1u, 0u, 0u);
                    }
                }
            }
            let inside = tap_inside(origin[s], tap[s]) && tap[s].x < params.kernel.x;
            let at = select(0u, tap_pixel(origin[s], tap[s]) * vecs + vec[s], inside);
            let word = select(padding, lhs[at] ^ vec4<u32>(LHS_FLIP), inside);
            if (slot < LHS_VECS) {
                let codes = staged_codes(word, vec[s] + 1u == vecs, tap[s].x >= params.kernel.x);
                staged_lhs[buffer_of(start) * LHS_VECS + slot] = codes;
            }
            vec[s] += STEP;
        }
        stage_weights(thread, start, block_quad, 0u, k_vecs);
        workgroupBarrier();
        add_staged(local.xy, start);
        // With two buffers the next step is staged while other invocations still read the last one.
        if (BUFFERS == 1u) {
            workgroupBarrier();
        }
    }

    store_tile(block_pixel + local.y * TILE_M, owned_quad(own.y, local.x), 0u, groups);
}
