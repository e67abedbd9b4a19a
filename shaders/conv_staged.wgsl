// out[pixel, c] = stage( Σ_tap Σ_i (lhs[pixel · stride + tap · dilation - pad, i] - z) · (weight[c, tap, i] - v[c]) )
//
// A convolution of one group as an implicit matrix product through workgroup memory: rows are pixels, and k runs over the
// taps' vec4s of channels. A workgroup owns BLOCK_M pixels by BLOCK_N channels, as in matmul_staged.wgsl; its patches are
// gathered while they are staged, so that none is ever stored.
//
//     k  | tap 0: vec 0 .. vec V-1 | tap 1: ...     an invocation stages one pixel at one k of each step, and walks on
//
// Weights, meaning: weight/*.wgsl, reference/conv.rs. Candidates: kernels/conv.rs. Parameters: params/conv.wgsl.

const THREADS: u32 = GROUP_X * GROUP_Y;
const BLOCK_M: u32 = GROUP_Y * TILE_M;
const BLOCK_N: u32 = GROUP_X * 4u * TILE_Q;
const LHS_VECS: u32 = BLOCK_M * STEP;
const WEIGHT_VECS: u32 = BLOCK_N * STEP;
const LHS_SLOTS: u32 = (LHS_VECS + THREADS - 1u) / THREADS;

@group(0) @binding(1) var<storage, read> lhs: array<vec4<u32>>;

var<workgroup> staged_lhs: array<vec4<u32>, BUFFERS * LHS_VECS>;
var<workgroup> staged_weight: array<vec4<u32>, BUFFERS * WEIGHT_VECS>;

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
    let block_column = own.y * BLOCK_N;
    let vecs = params.pixel_words / 4u;
    let k_vecs = params.kernel.x * params.kernel.y * params.kernel.z * vecs;
    let padding = vec4<u32>(zero_word());

    // Where the slots of this invocation are in the image: pixel, then tap and vec of the next step.
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
        let lhs_buffer = start / STEP % BUFFERS * LHS_VECS;
        let weight_buffer = start / STEP % BUFFERS * WEIGHT_VECS;
        for (var s = 0u; s < LHS_SLOTS; s += 1u) {
            let slot = thread + s * THREADS;
            // On to the tap that the vec belongs to; beyond the last both lhs and weight are staged as zero.
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
            var word = select(padding, lhs[at] ^ vec4<u32>(LHS_FLIP), inside);
            if (WEIGHT_ZERO_POINT) {
                // What is no channel must not be summed.
                let mask = select(vec4<u32>(0xffffffffu), params.tail * 255u, vec[s] + 1u == vecs);
                word &= select(vec4<u32>(0u), mask, tap[s].x < params.kernel.x);
            }
            if (slot < LHS_VECS) {
                staged_lhs[lhs_buffer + slot] = word;
            }
            vec[s] += STEP;
        }
        for (var slot = thread; slot < WEIGHT_VECS; slot += THREADS) {
            let place = weight_place(min(block_column + slot % BLOCK_N, params.weight_stride - 1u));
            let k = start + slot / BLOCK_N;
            let word = load_weight(place.x + min(k, k_vecs - 1u) * place.y);
            staged_weight[weight_buffer + slot] = select(vec4<u32>(0u), word, k < k_vecs);
        }
        workgroupBarrier();
        for (var step = 0u; step < STEP; step += 1u) {
            var codes: array<vec4<u32>, TILE_M>;
            for (var i = 0u; i < TILE_M; i += 1u) {
                codes[i] = staged_lhs[lhs_buffer + step * BLOCK_M + local.y * TILE_M + i];
            }
            if (WEIGHT_ZERO_POINT) {
                for (var i = 0u; i < TILE_M; i += 1u) {
                    lhs_sums[i] += dot16(codes[i], ALL_ONES);
                }
            }
            for (var q = 0u; q < TILE_Q; q += 1u) {
                let column = weight_buffer + step * BLOCK_N + (local.x * TILE_Q + q) * 4u;
                let w0 = staged_weight[column];
                let w1 = staged_weight[column + 1u];
                let w2 = staged_weight[column + 2u];
                let w3 = staged_weight[column + 3u];
                for (var i = 0u; i < TILE_M; i += 1u) {
                    sums[q * TILE_M + i] += vec4<i32>(
                        dot16(codes[i], w0), dot16(codes[i], w1), dot16(codes[i], w2), dot16(codes[i], w3),
                    );
                }
            }
        }
        // With two buffers the next step is staged beside what others still read.
        if (BUFFERS == 1u) {
            workgroupBarrier();
        }
    }

    store_tile(block_pixel + local.y * TILE_M, block_column / 4u + local.x * TILE_Q, 0u, groups);
}
