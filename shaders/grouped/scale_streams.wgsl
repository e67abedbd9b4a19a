// Packed weights with their streams of scales and shifts. The layout is drawn in weights/layout.rs.
//# needs f16x4_to_f32: math/float16_integers, math/float16_unpack
//# params streams
//# constants CODE_SHIFT

@group(0) @binding(2) var<storage, read> weight: array<vec4<u32>>;

const PANEL: u32 = 64u;

// Address of a quad of weight rows.
struct Place {
    panel: u32,       // first vec4 of the panel
    width: u32,       // rows of the panel
    slot: u32,        // first row of the quad in the panel
}

// Address of the first of `bits` vec4s of the quad's codes at a step. They lie width / 4 apart: one of each quad of the panel.
fn codes_at(place: Place, step: u32, bits: u32) -> u32 {
    return place.panel + step * bits * (place.width / 4u) + place.slot / 4u;
}

// Scales and shifts of four neighbouring rows.
struct Scales {
    scale: vec4<f32>,
    shift: vec4<f32>,
}

// First word of a quad's numbers in a stream, each `bits` wide.
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

// E4M3: shifted up, it is a float16 except for the exponent bias.
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

// Codes are expanded to the upper end of a byte, so they are too large by 2^CODE_SHIFT. `aligned` divides the scale by that factor;
// `aligned_zero` multiplies the zero point by it.
fn aligned(scale: vec4<f32>) -> vec4<f32> {
    if (CODE_SHIFT == 0u) {
        return scale;
    }
    return scale * (1.0 / f32(1u << CODE_SHIFT));
}

fn aligned_zero(zero: vec4<f32>) -> vec4<f32> {
    return zero * f32(1u << CODE_SHIFT);
}
