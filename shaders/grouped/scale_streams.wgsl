// Packed weights with their streams of numbers. The layout is drawn in weights/layout.rs.
//# import math/float16
//# needs params: calibrate/observe_*, calibrate/step_from_range, conv/params, conv/unfold, convert/block_scales, convert/convert, convert/range, convert/range_parameters, convert/range_rows, convert/rescale, elementwise/float_*, elementwise/layer_norm, elementwise/params, elementwise/pool_params, elementwise/softmax, elementwise/table, gemm/combine_*, gemm/float_params, gemm/pack_*, gemm/params, gemm/split_bytes, grouped/combine_inputs, grouped/embedding, grouped/find_scales, grouped/gather_columns, grouped/pack_codes, grouped/params, layout/concat, layout/params, layout/reshape, layout/resize, layout/transpose_blocks, probe/params, train/cross_entropy, train/fake_*, train/float_conv_params, train/float_conv_total, train/moments, train/optimizer_step, train/requant_params, train/scale_channels, train/sum, train/sum_partials
//# needs CODE_SHIFT: grouped/codes_*

@group(0) @binding(2) var<storage, read> weight: array<vec4<u32>>;

const PANEL: u32 = 64u;

// Where the numbers of a quad of weight rows are.
struct Place {
    panel: u32,       // first vec4 of the panel
    width: u32,       // rows of the panel
    slot: u32,        // first row of the quad in it
}

// Of four neighbouring rows.
struct Scales {
    scale: vec4<f32>,
    shift: vec4<f32>,
}

// The numbers of a quad of rows in a stream, `bits` wide each: where they begin, in words.
fn stream_word(place: Place, stream: u32, index: u32, bits: u32) -> u32 {
    return place.panel * 4u + place.width / 4u * params.streams[stream] + (index * place.width + place.slot) * bits / 32u;
}

fn stream_f32(place: Place, stream: u32, index: u32) -> vec4<f32> {
    return bitcast<vec4<f32>>(weight[stream_word(place, stream, index, 32u) / 4u]);
}

fn stream_f16(place: Place, stream: u32, index: u32) -> vec4<f32> {
    let word = stream_word(place, stream, index, 16u);
    let words = weight[word / 4u];
    return f16x4_to_f32(select(words.xy, words.zw, (word & 2u) == 2u));
}

fn stream_byte_word(place: Place, stream: u32, index: u32) -> u32 {
    let word = stream_word(place, stream, index, 8u);
    return weight[word / 4u][word % 4u];
}

fn stream_i8(place: Place, stream: u32, index: u32) -> vec4<f32> {
    return vec4<f32>(unpack4xI8(stream_byte_word(place, stream, index)));
}

fn stream_u8(place: Place, stream: u32, index: u32) -> vec4<f32> {
    return vec4<f32>(unpack4xU8(stream_byte_word(place, stream, index)));
}

// E4M3, which is a float16 but for its bias once it is moved up.
fn stream_e4m3(place: Place, stream: u32, index: u32) -> vec4<f32> {
    let bytes = unpack4xU8(stream_byte_word(place, stream, index));
    let halves = ((bytes & vec4<u32>(0x80u)) << vec4<u32>(8u)) | ((bytes & vec4<u32>(0x7fu)) << vec4<u32>(7u));
    return f16x4_to_f32(vec2<u32>(halves.x | (halves.y << 16u), halves.z | (halves.w << 16u))) * 256.0;
}

// Powers of two; 2^-127 is subnormal.
fn stream_e8m0(place: Place, stream: u32, index: u32) -> vec4<f32> {
    let codes = unpack4xU8(stream_byte_word(place, stream, index));
    return bitcast<vec4<f32>>(select(codes << vec4<u32>(23u), vec4<u32>(1u << 22u), codes == vec4<u32>(0u)));
}

// Codes are expanded to the upper end of a byte: what they are too large by is taken from the scale, and a zero point is as
// much larger.
fn aligned(scale: vec4<f32>) -> vec4<f32> {
    if (CODE_SHIFT == 0u) {
        return scale;
    }
    return scale * (1.0 / f32(1u << CODE_SHIFT));
}

fn aligned_zero(zero: vec4<f32>) -> vec4<f32> {
    return zero * f32(1u << CODE_SHIFT);
}
