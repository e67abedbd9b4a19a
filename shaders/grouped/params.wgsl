// Parameters of the loops over group-quantized weights: grouped/linear.wgsl. Written by kernels/grouped/linear.rs.

struct Params {
    streams: vec4<u32>,       // bytes of a weight row before each stream of numbers
    m: u32,                   // rows of the output
    n: u32,                   // columns of the output
    first_column: u32,        // of this launch
    columns: u32,             // of this launch, padded to 4
    panel_vecs: u32,          // vec4<u32> of a whole panel of 64 weight rows
    expert_vecs: u32,         // vec4<u32> of an expert
    experts: u32,
    selected: u32,            // experts that a row of lhs meets
    steps: u32,               // steps of 32 positions along k
    slice_steps: u32,         // steps of one slice of k
    group_steps: u32,         // steps that share a weight scale
    lhs_group_steps: u32,     // steps that share a scale of lhs
    lhs_groups: u32,          // scales of a row of lhs
    lhs_rows: u32,            // 1: each row of lhs has its own, 0: all share the first
    lhs_stride: u32,          // elements of the lhs binding from one row to the next
    bias_stride: u32,         // from one expert's bias to the next
    output_words: u32,        // u32 words from one output row to the next
    output_quads: u32,        // quads written per row by this launch, padding included
    tiles_m: u32,
    tiles_n: u32,
    rows_first: u32,          // see gemm/tile_order.wgsl
    tiles: u32,
    low: u32,                 // bits of the least and greatest result
    high: u32,
    indices_at: u32,          // begin of the indices in a binding that they share with the bias
    parameters_at: u32,
    first_end: u32,           // columns of the first layer, and of the first two, if there are several
    second_end: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
