// out[r, c] = clamp( Σ_g scale[c, g] · Σ_{l ∈ g} x[r, l] · code[c, l]  +  shifts  +  bias[c] )     from registers
//
//            columns ->  | quad 0 | quad 1 |     One invocation owns TILE_M rows and TILE_Q quads (four columns each). It
//     rows               +--------+--------+     walks along k in steps of 32 positions. It reads packed codes once for all
//       |   TILE_M = 4   | 16 sums| 16 sums|     its rows and expands them in registers. At the end of a group the sums
//       v                +--------+--------+     (exact in i32 if lhs is codes) are scaled and added to totals. LHS_ONE: a row of
//                                              codes has one scale, by which its totals are multiplied at the end.
//
// GROUP_X neighbours own neighbouring quads. The GROUP_Y invocations along y own further rows or, if SLICED (gemm/split_k.wgsl),
// slices of k, whose totals are added in order. If GATED (grouped/quads_gated.wgsl) an invocation's two quads
// are of two layers. Loops are unrolled by hand, and sums are module variables, as in gemm/register_tile.wgsl and gemm/tile_sums.wgsl. A run is a range of steps that share all scales. It has at most RUN steps, so
// that i32 holds its sums.
//
// If ONE_STEP a group is one step. Then, if a row has one scale, STEPS may be 2: a turn of the loop takes two steps of a single quad, and
// reads the weights and scales of both first, so that more bytes are on their way at once.
//
// Meaning: reference/linear.rs. Candidates: kernels/grouped/linear.rs. Parameters: grouped/params.wgsl. Layout: weights/layout.rs.
//# import gemm/tile_order
//# import grouped/params
//# import math/linear_index
//# import gemm/fetch_rows
//# import gemm/reduce_split_k_floats
//# needs SLICED, slice_of: gemm/split_k, gemm/split_k_none
//# needs PANEL, Place, Scales, codes_at, weight: grouped/scale_streams
//# needs PIECES, Row, Sum, Sums, add_products, code_total, expand, lhs_scale, lhs_total, row_scale, scaled: grouped/lhs_float, grouped/lhs_int8
//# needs READS: gemm/row_source_*
//# needs expert_of, lhs_row_of: grouped/expert_*
//# needs group_scales: grouped/scales*
//# needs load_bias: grouped/bias_*
//# needs GATED, gated, quad_of: grouped/quads_*
//# needs store_reals: epilogue/store_f16, epilogue/store_f32, epilogue/store_three, epilogue/store_two
//# constants BITS, CODE_SUMS, GROUP_X, GROUP_Y, HALVES, LHS_HALVES, LHS_ONE, LHS_SUMS, ONE_STEP, PACKED, STEPS, TILE_M, TILE_Q, WEIGHT_HALVES

const RUN: u32 = 1024u;

var<private> totals: array<vec4<f32>, TILE_M * TILE_Q>;
var<private> sums: array<Sums, TILE_M * TILE_Q>;
var<private> lhs_sums: array<Sum, TILE_M>;
var<private> code_sums: array<Sums, TILE_Q>;
var<private> places: array<Place, TILE_Q>;
var<private> at: array<u32, TILE_Q>;      // address of a quad's next step
var<private> lhs_rows: array<u32, TILE_M>;
var<private> lhs_scales: array<vec2<u32>, TILE_M>;

// Tiles that overlap the edge read the last row or quad again and do not store its results.
fn row_place(row: u32) -> u32 {
    return lhs_row_of(min(row, params.m - 1u)) * params.lhs_stride;
}

fn read_lhs_scales(group: u32) {
    for (var i = 0u; i < TILE_M; i += 1u) {
        lhs_scales[i] = lhs_scale(lhs_rows[i], group);
    }
}

// Scales the sums of a run, adds them to the totals and clears them.
fn end_quad(q: u32, group: u32, positions: u32) {
    let scales = group_scales(places[q], group);
    for (var i = 0u; i < TILE_M; i += 1u) {
        totals[i * TILE_Q + q] += scaled(sums[i * TILE_Q + q], lhs_sums[i], code_sums[q], lhs_scales[i], positions, scales);
        sums[i * TILE_Q + q] = Sums();
    }
    if (CODE_SUMS) {
        code_sums[q] = Sums();
    }
}

fn end_run(group: u32, positions: u32) {
    end_quad(0u, group, positions);
    if (TILE_Q > 1u) {
        end_quad(1u, group, positions);
    }
    if (LHS_SUMS) {
        for (var i = 0u; i < TILE_M; i += 1u) {
            lhs_sums[i] = Sum();
        }
    }
}

// end_run at the end of half a step, if groups have 16 positions.
fn end_half(group: u32, place: u32) {
    if (LHS_HALVES) {
        read_lhs_scales(place);
    }
    end_run(select(group, place, WEIGHT_HALVES), 16u);
}

// Reads the codes of a quad at a step, and advances to the next step.
fn read_quad(packed: ptr<function, array<vec4<u32>, PACKED>>, q: u32) {
    let quads = places[q].width / 4u;
    for (var b = 0u; b < BITS; b += 1u) {
        (*packed)[q * BITS + b] = weight[at[q] + b * quads];
    }
    at[q] += quads * BITS;
}

// Adds the products of each row with four columns.
fn add_quad(
    x: ptr<function, array<Row, TILE_M>>, packed: ptr<function, array<vec4<u32>, PACKED>>, q: u32, half: u32, piece: u32,
) {
    let c0 = expand(packed, q * BITS, 0u, half, piece);
    let c1 = expand(packed, q * BITS, 1u, half, piece);
    let c2 = expand(packed, q * BITS, 2u, half, piece);
    let c3 = expand(packed, q * BITS, 3u, half, piece);
    if (CODE_SUMS) {
        code_sums[q] += Sums(code_total(c0), code_total(c1), code_total(c2), code_total(c3));
    }
    for (var i = 0u; i < TILE_M; i += 1u) {
        let row = (*x)[i];
        let s = sums[i * TILE_Q + q];
        sums[i * TILE_Q + q] = Sums(
            add_products(s.x, row, c0), add_products(s.y, row, c1), add_products(s.z, row, c2), add_products(s.w, row, c3),
        );
    }
}

fn add_piece(
    lhs_places: ptr<function, array<u32, READS>>, packed: ptr<function, array<vec4<u32>, PACKED>>, step: u32, half: u32, piece: u32,
) {
    var x = fetch_rows(lhs_places, (step * 2u + half) * PIECES + piece);
    if (LHS_SUMS) {
        for (var i = 0u; i < TILE_M; i += 1u) {
            lhs_sums[i] += lhs_total(x[i]);
        }
    }
    add_quad(&x, packed, 0u, half, piece);
    if (TILE_Q > 1u) {
        add_quad(&x, packed, 1u, half, piece);
    }
}

// The products of each row with four columns along a whole step, scaled and added to the totals: no sums live between steps.
fn add_scaled_quad(
    lower: ptr<function, array<Row, TILE_M>>, upper: ptr<function, array<Row, TILE_M>>,
    packed: ptr<function, array<vec4<u32>, PACKED>>, q: u32, scales: Scales,
) {
    let l0 = expand(packed, q * BITS, 0u, 0u, 0u);
    let l1 = expand(packed, q * BITS, 1u, 0u, 0u);
    let l2 = expand(packed, q * BITS, 2u, 0u, 0u);
    let l3 = expand(packed, q * BITS, 3u, 0u, 0u);
    let u0 = expand(packed, q * BITS, 0u, 1u, 0u);
    let u1 = expand(packed, q * BITS, 1u, 1u, 0u);
    let u2 = expand(packed, q * BITS, 2u, 1u, 0u);
    let u3 = expand(packed, q * BITS, 3u, 1u, 0u);
    var codes = Sums();
    if (CODE_SUMS) {
        codes = Sums(
            code_total(l0) + code_total(u0), code_total(l1) + code_total(u1),
            code_total(l2) + code_total(u2), code_total(l3) + code_total(u3),
        );
    }
    for (var i = 0u; i < TILE_M; i += 1u) {
        let x = (*lower)[i];
        let y = (*upper)[i];
        let products = Sums(
            add_products(add_products(Sum(), x, l0), y, u0), add_products(add_products(Sum(), x, l1), y, u1),
            add_products(add_products(Sum(), x, l2), y, u2), add_products(add_products(Sum(), x, l3), y, u3),
        );
        var total = Sum();
        if (LHS_SUMS) {
            total = lhs_total(x) + lhs_total(y);
        }
        totals[i * TILE_Q + q] += scaled(products, total, codes, lhs_scales[i], 32u, scales);
    }
}

// The same for the first quad, with rows that it reads itself.
fn add_whole_step(lhs_places: ptr<function, array<u32, READS>>, packed: ptr<function, array<vec4<u32>, PACKED>>, step: u32, scales: Scales) {
    var lower = fetch_rows(lhs_places, step * 2u);
    var upper = fetch_rows(lhs_places, step * 2u + 1u);
    add_scaled_quad(&lower, &upper, packed, 0u, scales);
}

// The result of four columns of a row; zeros if no expert is selected.
fn finished(total: vec4<f32>, expert: u32, column: u32) -> vec4<f32> {
    let low = vec4<f32>(bitcast<f32>(params.low));
    let high = vec4<f32>(bitcast<f32>(params.high));
    let clamped = min(max(total + load_bias(expert, column), low), high);
    return select(vec4<f32>(0.0), clamped, expert < params.experts);
}

@compute @workgroup_size(GROUP_X, GROUP_Y)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let tile = linear_group(group, groups);
    if (tile >= params.tiles) {
        return;
    }
    let slice = slice_of(local.y);
    let row_lane = select(local.y, 0u, SLICED);
    let own = tile_place(tile);
    let first_row = (own.x * select(GROUP_Y, 1u, SLICED) + row_lane) * TILE_M;
    let first_quad = own.y * GROUP_X * select(TILE_Q, 1u, GATED) + local.x;

    let expert = expert_of(min(first_row, params.m - 1u));
    for (var i = 0u; i < TILE_M; i += 1u) {
        lhs_rows[i] = lhs_row_of(min(first_row + i, params.m - 1u));
    }
    var lhs_places = row_places(first_row);
    let begin = min(slice * params.slice_steps, params.steps);
    let end = min(begin + params.slice_steps, params.steps) + opaque_zero(groups);
    for (var q = 0u; q < TILE_Q; q += 1u) {
        let column = min(quad_of(first_quad, q) * 4u, params.columns - 4u);
        let panel = column / PANEL;
        let width = min(params.columns - panel * PANEL, PANEL);
        let place = Place(min(expert, params.experts - 1u) * params.expert_vecs + panel * params.panel_vecs, width, column % PANEL);
        at[q] = codes_at(place, begin, BITS);
        places[q] = place;
    }

    var step = begin;
    var weight_group = begin / params.group_steps;
    var lhs_group = begin / params.lhs_group_steps;
    // A slice without steps may lie beyond the last scale.
    if (step < end) {
        read_lhs_scales(lhs_group);
    }
    if (STEPS == 2u) {
        for (; step + 1u < end; step += 2u) {
            var first: array<vec4<u32>, PACKED>;
            var second: array<vec4<u32>, PACKED>;
            read_quad(&first, 0u);
            read_quad(&second, 0u);
            let first_scales = group_scales(places[0], step);
            let second_scales = group_scales(places[0], step + 1u);
            add_whole_step(&lhs_places, &first, step, first_scales);
            add_whole_step(&lhs_places, &second, step + 1u, second_scales);
        }
        weight_group = step;
    }
    while (step < end) {
        let group_end = (weight_group + 1u) * params.group_steps;
        let lhs_group_end = (lhs_group + 1u) * params.lhs_group_steps;
        let stop = min(min(end, step + RUN), min(group_end, lhs_group_end));
        let length = stop - step;
        for (; step < stop; step += 1u) {
            var packed: array<vec4<u32>, PACKED>;
            read_quad(&packed, 0u);
            if (TILE_Q > 1u) {
                read_quad(&packed, 1u);
            }
            if (ONE_STEP) {
                var lower = fetch_rows(&lhs_places, step * 2u);
                var upper = fetch_rows(&lhs_places, step * 2u + 1u);
                add_scaled_quad(&lower, &upper, &packed, 0u, group_scales(places[0], weight_group));
                if (TILE_Q > 1u) {
                    add_scaled_quad(&lower, &upper, &packed, 1u, group_scales(places[TILE_Q - 1u], weight_group));
                }
                continue;
            }
            // Not unrolled: the unrolled program would not fit the instruction cache.
            for (var part = 0u; part < 2u * PIECES; part += 1u) {
                let half = part / PIECES;
                add_piece(&lhs_places, &packed, step, half, part % PIECES);
                if (HALVES && part % PIECES == PIECES - 1u) {
                    end_half(weight_group, step * 2u + half);
                }
            }
        }
        if (!HALVES && !ONE_STEP) {
            end_run(weight_group, length * 32u);
        }
        weight_group += select(0u, 1u, step == group_end);
        if (step == lhs_group_end && step < end) {
            lhs_group += 1u;
            read_lhs_scales(lhs_group);
        }
    }

    if (SLICED) {
        reduce_slices(&totals, slice, local.x);
    }
    for (var i = 0u; i < TILE_M; i += 1u) {
        let row = first_row + i;
        if (LHS_ONE) {
            for (var q = 0u; q < TILE_Q; q += 1u) {
                totals[i * TILE_Q + q] *= row_scale(lhs_rows[i]);
            }
        }
        for (var q = 0u; q < select(TILE_Q, 1u, GATED); q += 1u) {
            let quad = quad_of(first_quad, q);
            if (slice == 0u && row < params.m && quad < params.output_quads) {
                let column = params.first_column + quad * 4u;
                var values = finished(totals[i * TILE_Q + q], expert, column);
                if (GATED) {
                    values = gated(values, finished(totals[i * TILE_Q + TILE_Q - 1u], expert, column + params.first_end));
                }
                store_reals(row, column, values);
            }
        }
    }
}
