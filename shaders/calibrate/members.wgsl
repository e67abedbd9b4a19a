// Which elements of a dense tensor belong to a segment (the whole tensor, an index of an axis, a block of an axis), the
// other way round than convert/parameter_index.wgsl. Written by kernels/members.rs.
//
//     element of member m = base(segment) + (m / run) · outer + (m % run) · inner
//     base(segment)       = (segment / (extent · within)) · a + (segment / within % extent) · b + (segment % within) · c
//
// member_counts = (members, members of the last block, run, -), member_strides = (outer, inner, -, -),
// segment_counts = (extent, within, -, -), segment_strides = (a, b, c, -). Where CONTIGUOUS, the members follow each other.
//# needs params: calibrate/observe_*, calibrate/step_from_range, conv/params, conv/unfold, convert/block_scales, convert/convert, convert/range, convert/range_parameters, convert/range_rows, convert/rescale, elementwise/float_*, elementwise/layer_norm, elementwise/params, elementwise/pool_params, elementwise/softmax, elementwise/table, gemm/combine_*, gemm/float_params, gemm/pack_*, gemm/params, gemm/split_bytes, grouped/combine_inputs, grouped/embedding, grouped/find_scales, grouped/gather_columns, grouped/pack_codes, grouped/params, layout/concat, layout/params, layout/reshape, layout/resize, layout/transpose_blocks, probe/params, train/cross_entropy, train/fake_*, train/float_conv_params, train/float_conv_total, train/moments, train/optimizer_step, train/requant_params, train/scale_channels, train/sum, train/sum_partials
//# constants CONTIGUOUS

fn segment_along(segment: u32) -> u32 {
    return (segment / params.segment_counts.y) % params.segment_counts.x;
}

fn member_base(segment: u32) -> u32 {
    let within = params.segment_counts.y;
    return segment / (params.segment_counts.x * within) * params.segment_strides.x
        + segment_along(segment) * params.segment_strides.y + segment % within * params.segment_strides.z;
}

fn member_count(segment: u32) -> u32 {
    let last = segment_along(segment) + 1u == params.segment_counts.x;
    return select(params.member_counts.x, params.member_counts.y, last);
}

fn member_offset(member: u32) -> u32 {
    if (CONTIGUOUS) {
        return member;
    }
    let run = params.member_counts.z;
    return member / run * params.member_strides.x + member % run * params.member_strides.y;
}
