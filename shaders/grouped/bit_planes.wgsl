// Codes of four columns at a step, as `BITS` vec4s. The planes are drawn in weights/layout.rs.
//# constants LOWER, PACKED, UPPER

// Word `index` of the quad.
fn packed_word(packed: ptr<function, array<vec4<u32>, PACKED>>, first: u32, index: u32) -> u32 {
    return (*packed)[first + index / 4u][index % 4u];
}

// Four words from word `index` on.
fn packed_words(packed: ptr<function, array<vec4<u32>, PACKED>>, first: u32, index: u32) -> vec4<u32> {
    return vec4<u32>(
        packed_word(packed, first, index), packed_word(packed, first, index + 1u),
        packed_word(packed, first, index + 2u), packed_word(packed, first, index + 3u),
    );
}

// A plane's bits of four positions, piece 0 to 3 of half a step, in the low bits of their bytes.
fn plane4(words: vec4<u32>, half: u32, piece: u32) -> u32 {
    return (words[piece] >> (4u * half)) & 0x0f0f0f0fu;
}

fn plane2(words: vec2<u32>, half: u32, piece: u32) -> u32 {
    return (words[piece % 2u] >> (4u * half + piece / 2u * 2u)) & 0x03030303u;
}

fn plane1(word: u32, half: u32, piece: u32) -> u32 {
    return (word >> (4u * half + piece)) & 0x01010101u;
}

// The codes of four positions in planes of UPPER (2 or 4) and LOWER (0 to 2) bits, in the low bits of their bytes.
fn plane_codes(packed: ptr<function, array<vec4<u32>, PACKED>>, first: u32, lane: u32, half: u32, piece: u32) -> u32 {
    let at = (UPPER + LOWER) * lane;
    var codes = 0u;
    if (UPPER == 4u) {
        codes = plane4(packed_words(packed, first, at), half, piece);
    } else {
        codes = plane2(vec2<u32>(packed_word(packed, first, at), packed_word(packed, first, at + 1u)), half, piece);
    }
    if (LOWER == 1u) {
        codes = (codes << 1u) | plane1(packed_word(packed, first, at + UPPER), half, piece);
    }
    if (LOWER == 2u) {
        let words = vec2<u32>(packed_word(packed, first, at + UPPER), packed_word(packed, first, at + UPPER + 1u));
        codes = (codes << 2u) | plane2(words, half, piece);
    }
    return codes;
}
