//! GGUF's types: each element of a block by itself, from the definition, and plain versions of ggml's quantizers.

use half::f16;
use lowbit::import::gguf::{self, GgufType};

use crate::{Random, assert_weights};

fn half(block: &[u8], at: usize) -> f32 {
    f16::from_bits(u16::from(block[at]) | u16::from(block[at + 1]) << 8).to_f32()
}

/// Nibble `i`, where the low and high nibble of a byte are `run` elements apart.
fn nibble(bytes: &[u8], i: usize, run: usize) -> i32 {
    let byte = bytes[i / (2 * run) * run + i % run];
    i32::from(if i % (2 * run) < run { byte & 15 } else { byte >> 4 })
}

/// Scale and minimum of a group of Q4_K and Q5_K, extracted from words.
fn scale_and_minimum(bytes: &[u8], group: usize) -> (f32, f32) {
    let word = |i: usize| u32::from_le_bytes(bytes[4 * i..4 * i + 4].try_into().expect("4 bytes"));
    let words = if group < 4 {
        [word(0) & 0x3f3f_3f3f, word(1) & 0x3f3f_3f3f]
    } else {
        let high = [word(0) >> 6 & 0x0303_0303, word(1) >> 6 & 0x0303_0303];
        [word(2) & 0x0f0f_0f0f | high[0] << 4, word(2) >> 4 & 0x0f0f_0f0f | high[1] << 4]
    };
    let [scale, minimum] = words.map(|word| f32::from(word.to_le_bytes()[group % 4]));
    (scale, minimum)
}

const E2M1: [f32; 16] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0];
const IQ4_NL: [f32; 16] =
    [-127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0, 25.0, 38.0, 53.0, 69.0, 89.0, 113.0];

/// Element `i` of a block.
fn element(gguf_type: GgufType, b: &[u8], i: usize) -> f32 {
    let bit = |bytes: &[u8], at: usize| i32::from(bytes[at / 8] >> (at % 8) & 1);
    match gguf_type {
        GgufType::Q4_0 => (nibble(&b[2..], i, 16) - 8) as f32 * half(b, 0),
        GgufType::Q4_1 => nibble(&b[4..], i, 16) as f32 * half(b, 0) + half(b, 2),
        GgufType::Q5_0 => (nibble(&b[6..], i, 16) + 16 * bit(&b[2..], i) - 16) as f32 * half(b, 0),
        GgufType::Q5_1 => (nibble(&b[8..], i, 16) + 16 * bit(&b[4..], i)) as f32 * half(b, 0) + half(b, 2),
        GgufType::Q8_0 => f32::from(b[2 + i] as i8) * half(b, 0),
        GgufType::Q2_K => {
            let q = b[16 + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
            let s = b[i / 16];
            half(b, 80) * f32::from(s & 15) * f32::from(q) - half(b, 82) * f32::from(s >> 4)
        }
        GgufType::Q3_K => {
            let q = i32::from(b[32 + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3);
            let high = i32::from(b[i % 32] >> (i / 32) & 1);
            let g = i / 16;
            let low = if g < 8 { b[96 + g] & 15 } else { b[96 + g - 8] >> 4 };
            let s = i32::from(low) + 16 * i32::from(b[104 + g % 4] >> (2 * (g / 4)) & 3) - 32;
            half(b, 108) * s as f32 * (q + 4 * high - 4) as f32
        }
        GgufType::Q4_K => {
            let (s, m) = scale_and_minimum(&b[4..], i / 32);
            half(b, 0) * s * nibble(&b[16..], i, 32) as f32 - half(b, 2) * m
        }
        GgufType::Q5_K => {
            let (s, m) = scale_and_minimum(&b[4..], i / 32);
            let q = nibble(&b[48..], i, 32) + 16 * i32::from(b[16 + i % 32] >> (i / 32) & 1);
            half(b, 0) * s * q as f32 - half(b, 2) * m
        }
        GgufType::Q6_K => {
            let high = i32::from(b[128 + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3);
            let s = f32::from(b[192 + i / 16] as i8);
            half(b, 208) * s * (nibble(b, i, 64) + 16 * high - 32) as f32
        }
        GgufType::IQ4_NL => half(b, 0) * IQ4_NL[nibble(&b[2..], i, 16) as usize],
        GgufType::IQ4_XS => {
            let g = i / 32;
            let s = nibble_of(b[4 + g / 2], g % 2) + 16 * (i32::from(b[2 + g / 4]) >> (g % 4 * 2) & 3) - 32;
            half(b, 0) * s as f32 * IQ4_NL[nibble(&b[8..], i, 16) as usize]
        }
        GgufType::MXFP4 => {
            // In f64, so that nothing is rounded.
            (f64::from(E2M1[nibble(&b[1..], i, 16) as usize]) * (f64::from(b[0]) - 127.0).exp2()) as f32
        }
        GgufType::NVFP4 => {
            let s = b[i / 16] & 0x7f;
            let scale = match (s >> 3, s & 7) {
                _ if b[i / 16] == 0x7f => 0.0,
                (0, m) => f32::from(m) / 512.0,
                (e, m) => (1.0 + f32::from(m) / 8.0) * 2f32.powi(i32::from(e) - 7),
            };
            scale * E2M1[nibble(&b[4..], i, 8) as usize]
        }
        GgufType::TQ1_0 => {
            let (byte, digit) = match i {
                0..160 => (b[i % 32], i / 32),
                160..240 => (b[32 + i % 16], (i - 160) / 16),
                _ => (b[48 + i % 4], (i - 240) / 4),
            };
            // The byte is a fraction of 256 in base 3.
            let above = u32::from(byte) * 3u32.pow(digit as u32) % 256 * 3 / 256;
            (above as f32 - 1.0) * half(b, 52)
        }
        GgufType::TQ2_0 => (f32::from(b[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3) - 1.0) * half(b, 64),
        GgufType::Q1_0 => half(b, 0) * if bit(&b[2..], i) == 1 { 1.0 } else { -1.0 },
        other => panic!("{other} has no definition here"),
    }
}

fn nibble_of(byte: u8, which: usize) -> i32 {
    i32::from(byte >> (4 * which) & 15)
}

/// Byte offsets of the f16 numbers in a block.
fn halves(gguf_type: GgufType) -> &'static [usize] {
    match gguf_type {
        GgufType::Q2_K => &[80, 82],
        GgufType::Q3_K => &[108],
        GgufType::Q6_K => &[208],
        GgufType::TQ1_0 => &[52],
        GgufType::TQ2_0 => &[64],
        GgufType::Q4_1 | GgufType::Q5_1 | GgufType::Q4_K | GgufType::Q5_K => &[0, 2],
        GgufType::MXFP4 | GgufType::NVFP4 | GgufType::IQ1_M => &[],
        _ => &[0],
    }
}

/// Blocks of random bits whose scales are finite.
pub(crate) fn random_blocks(gguf_type: GgufType, count: usize, random: &mut Random) -> Vec<u8> {
    let mut blocks = random.bytes(count * gguf_type.block_bytes());
    for block in blocks.chunks_exact_mut(gguf_type.block_bytes()) {
        for &at in halves(gguf_type) {
            while !half(block, at).is_finite() {
                block[at + 1] = random.next() as u8;
            }
        }
        if gguf_type == GgufType::MXFP4 {
            block[0] = block[0].clamp(1, 250);
        }
        // An exponent of 31 has this bit.
        if gguf_type == GgufType::IQ1_M {
            block[55] &= 0xbf;
        }
        // 3 is a code that ggml's quantizers don't make.
        if gguf_type == GgufType::TQ2_0 {
            block[..64].iter_mut().for_each(|byte| *byte &= !((*byte & 0x55) << 1));
        }
    }
    blocks
}

#[test]
fn every_type_means_what_ggml_says() {
    // Points of grids are compared with the Python package's numbers.
    let is_grid = |of: &GgufType| !of.has_quantizer() && of.name().starts_with("IQ");
    for (seed, gguf_type) in GgufType::ALL.into_iter().filter(|of| !is_grid(of)).enumerate() {
        let mut random = Random(seed as u64);
        let block = gguf_type.block();
        for dimensions in
            [[1, 1, block], [1, 5, 3 * block], [1, 70, block], [3, 9, 2 * block], [2, 0, block], [1, 3, 0]]
        {
            let [experts, n, k] = dimensions;
            let blocks = random_blocks(gguf_type, experts * n * k / block, &mut random);
            let weights = gguf::weights(gguf_type, dimensions, &blocks).expect("whole blocks");
            assert_eq!(weights.dims(), dimensions);
            assert_eq!(weights.format(), &gguf_type.format());
            let each = blocks.chunks_exact(gguf_type.block_bytes());
            let expected: Vec<f32> = each.flat_map(|b| (0..block).map(|i| element(gguf_type, b, i))).collect();
            assert_weights(gguf_type.name(), &weights, &expected);
        }
    }
}

/// With the doubled values, an E8M0 scale of 0 is below the range of `ScaleFormat::E8M0`.
#[test]
fn the_smallest_numbers_of_mxfp4_survive() {
    let mut random = Random(1);
    let mut blocks = random_blocks(GgufType::MXFP4, 4, &mut random);
    for e in [[0, 1], [255, 0]] {
        (blocks[0], blocks[17]) = (e[0], e[1]);
        let weights = gguf::weights(GgufType::MXFP4, [1, 2, 64], &blocks).expect("whole blocks");
        let expected: Vec<f32> =
            blocks.chunks_exact(17).flat_map(|b| (0..32).map(|i| element(GgufType::MXFP4, b, i))).collect();
        assert_weights("MXFP4", &weights, &expected);
    }
    // Every file has blocks of zeros with that scale; they need no wider scale format.
    blocks[17..34].fill(0);
    blocks[0] = 1;
    let weights = gguf::weights(GgufType::MXFP4, [1, 2, 64], &blocks).expect("whole blocks");
    assert_eq!(weights.format(), &GgufType::MXFP4.format());
}

#[test]
fn types_are_found_by_name_and_number() {
    for gguf_type in GgufType::ALL {
        assert_eq!(GgufType::from_name(gguf_type.name()), Some(gguf_type));
        assert_eq!(GgufType::from_id(gguf_type.id()), Some(gguf_type));
        assert_eq!(format!("{gguf_type:?}"), gguf_type.name());
    }
    let ids: Vec<u32> = GgufType::ALL.into_iter().map(GgufType::id).collect();
    assert_eq!(ids, [2, 3, 6, 7, 8, 10, 11, 12, 13, 14, 20, 23, 39, 40, 34, 35, 41, 16, 17, 22, 18, 21, 19, 29]);
    assert_eq!(GgufType::from_name("Q9_9"), None);
}

/// ggml's definition in C, operation for operation: scale, minimum, codes.
fn expected_block(gguf_type: GgufType, x: &[f32]) -> (f32, f32, Vec<u8>) {
    let mut amax = 0.0f32;
    let mut max = 0.0f32;
    let (mut low, mut high) = (f32::MAX, -f32::MAX);
    for &v in x {
        if amax < v.abs() {
            amax = v.abs();
            max = v;
        }
        if v < low {
            low = v;
        }
        if v > high {
            high = v;
        }
    }
    let inverse = |d: f32| if d != 0.0 { 1.0 / d } else { 0.0 };
    match gguf_type {
        GgufType::Q4_0 | GgufType::Q5_0 => {
            let half = if gguf_type == GgufType::Q4_0 { 8.0 } else { 16.0 };
            let d = max / -half;
            let code = |&v: &f32| ((v * inverse(d) + (half + 0.5)).trunc().min(2.0 * half - 1.0)) as u8;
            (d, 0.0, x.iter().map(code).collect())
        }
        GgufType::Q4_1 | GgufType::Q5_1 => {
            let top = if gguf_type == GgufType::Q4_1 { 15.0 } else { 31.0 };
            let d = (high - low) / top;
            let code = |&v: &f32| (((v - low) * inverse(d) + 0.5).trunc().min(top)) as u8;
            (d, low, x.iter().map(code).collect())
        }
        GgufType::Q8_0 => {
            let d = amax / 127.0;
            let code = |&v: &f32| {
                let scaled = v * inverse(d);
                (scaled.signum() * (scaled.abs() + 0.5).floor()) as i8 as u8
            };
            (d, 0.0, x.iter().map(code).collect())
        }
        _ => {
            let e = if amax > 0.0 { amax.log2().floor() as i32 + 125 } else { 0 };
            let d = 2f32.powi(e - 127);
            let error = |q: usize, v: f32| (E2M1[q] * d - v).abs();
            let code = |&v: &f32| (1..16).fold(0, |best, q| if error(q, v) < error(best, v) { q } else { best }) as u8;
            (d, 0.0, x.iter().map(code).collect())
        }
    }
}

#[test]
fn quantizers_make_the_bytes_of_ggml() {
    let types = [GgufType::Q4_0, GgufType::Q4_1, GgufType::Q5_0, GgufType::Q5_1, GgufType::Q8_0, GgufType::MXFP4];
    let mut random = Random(7);
    for gguf_type in types {
        for scale in [1e-6f32, 0.02, 1.0, 300.0] {
            let mut x: Vec<f32> = (0..32 * 40).map(|_| random.real() * random.real() * scale).collect();
            x[..32].fill(0.0);
            x[32..64].fill(scale);
            x[64..96].fill(-scale);
            x[97] = -x[96];
            let blocks = gguf::quantize(gguf_type, &x).expect("finite");
            let bytes = gguf_type.block_bytes();
            for (x, block) in x.chunks_exact(32).zip(blocks.chunks_exact(bytes)) {
                let (d, m, codes) = expected_block(gguf_type, x);
                match gguf_type {
                    GgufType::MXFP4 if x.iter().any(|&x| x != 0.0) => {
                        assert_eq!((f64::from(block[0]) - 127.0).exp2() as f32, d);
                    }
                    GgufType::MXFP4 => assert_eq!(block[0], 0),
                    _ => assert_eq!(half(block, 0).to_bits(), f16::from_f32(d).to_f32().to_bits()),
                }
                if matches!(gguf_type, GgufType::Q4_1 | GgufType::Q5_1) {
                    assert_eq!(half(block, 2), f16::from_f32(m).to_f32());
                }
                // The codes as the decoder places them: with a scale of 1 the decoded elements are the codes.
                let mut plain = block.to_vec();
                let place = match gguf_type {
                    GgufType::Q8_0 => 0.0,
                    GgufType::Q4_0 => 8.0,
                    GgufType::Q5_0 => 16.0,
                    _ => 0.0,
                };
                match gguf_type {
                    GgufType::MXFP4 => plain[0] = 127,
                    _ => plain[..2].copy_from_slice(&f16::ONE.to_le_bytes()),
                }
                if matches!(gguf_type, GgufType::Q4_1 | GgufType::Q5_1) {
                    plain[2..4].fill(0);
                }
                for (i, &code) in codes.iter().enumerate() {
                    let got = element(gguf_type, &plain, i) + place;
                    let expected = match gguf_type {
                        GgufType::MXFP4 => E2M1[usize::from(code)],
                        GgufType::Q8_0 => f32::from(code as i8),
                        _ => f32::from(code),
                    };
                    assert_eq!(got, expected, "{gguf_type} {x:?} element {i}");
                }
            }
        }
    }
}

/// The error of quantizing and dequantizing is within the bound of each type.
#[test]
fn quantized_numbers_stay_what_they_are() {
    let mut random = Random(3);
    let x: Vec<f32> = (0..64 * 32).map(|_| random.real()).collect();
    for (gguf_type, bound) in
        [(GgufType::Q4_0, 0.13), (GgufType::Q8_0, 0.005), (GgufType::Q5_1, 0.04), (GgufType::MXFP4, 0.26)]
    {
        let blocks = gguf::quantize(gguf_type, &x).expect("finite");
        let weights =
            gguf::weights(gguf_type, [1, 64, 32], &blocks).expect("whole blocks").dequantize().expect("small");
        let y = weights.values::<f32>().expect("float32");
        let worst = x.iter().zip(y).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
        assert!(worst <= bound, "{gguf_type}: {worst}");
    }
}

/// A file of three tensors, one of them in f32.
pub(crate) fn file(gguf_type: GgufType, [experts, n, k]: [usize; 3], random: &mut Random) -> Vec<u8> {
    let blocks = random_blocks(gguf_type, experts * n * k / gguf_type.block(), random);
    let text = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
    let mut out = b"GGUF".to_vec();
    out.extend([3, 0, 0, 0]);
    out.extend(2u64.to_le_bytes());
    out.extend(5u64.to_le_bytes());
    out.extend([text("general.architecture"), 8u32.to_le_bytes().to_vec(), text("test")].concat());
    out.extend([text("general.alignment"), 4u32.to_le_bytes().to_vec(), 64u32.to_le_bytes().to_vec()].concat());
    out.extend([text("block_count"), 10u32.to_le_bytes().to_vec(), 7u64.to_le_bytes().to_vec()].concat());
    let words = [8u32.to_le_bytes().to_vec(), 2u64.to_le_bytes().to_vec(), text("a"), text("be")].concat();
    out.extend([text("tokens"), 9u32.to_le_bytes().to_vec(), words].concat());
    let scores = [6u32.to_le_bytes().to_vec(), 3u64.to_le_bytes().to_vec(), vec![0; 12]].concat();
    out.extend([text("scores"), 9u32.to_le_bytes().to_vec(), scores].concat());
    let dims: Vec<u8> = [k, n, experts].iter().flat_map(|&d| (d as u64).to_le_bytes()).collect();
    out.extend([text("w"), 3u32.to_le_bytes().to_vec(), dims].concat());
    out.extend([gguf_type.id().to_le_bytes().to_vec(), 0u64.to_le_bytes().to_vec()].concat());
    let offset = blocks.len().next_multiple_of(64) as u64;
    out.extend([text("norm"), 1u32.to_le_bytes().to_vec(), 3u64.to_le_bytes().to_vec()].concat());
    out.extend([0u32.to_le_bytes().to_vec(), offset.to_le_bytes().to_vec()].concat());
    out.resize(out.len().next_multiple_of(64), 0);
    out.extend(&blocks);
    out.resize(out.len().next_multiple_of(64), 0);
    out.extend([1.0f32, 2.0, 3.0].iter().flat_map(|x| x.to_le_bytes()));
    out
}

#[test]
fn a_file_says_what_is_in_it() {
    let bytes = file(GgufType::Q4_K, [2, 5, 512], &mut Random(5));
    let file = gguf::GgufFile::parse(&bytes).expect("a whole file");
    let metadata: Vec<_> = file.metadata().collect();
    let expected = [
        ("general.architecture", gguf::Value::Text("test")),
        ("general.alignment", gguf::Value::Unsigned(64)),
        ("block_count", gguf::Value::Unsigned(7)),
    ];
    assert_eq!(metadata[..3], expected);
    let arrays: Vec<_> = metadata[3..]
        .iter()
        .map(|(name, value)| match value {
            gguf::Value::Array(array) => (*name, array.len(), array.values().collect::<Vec<_>>()),
            other => panic!("{name} is {other:?}"),
        })
        .collect();
    println!("{arrays:?}");
    assert_eq!([(arrays[0].0, arrays[0].1), (arrays[1].0, arrays[1].1)], [("tokens", 2), ("scores", 3)]);
    assert!(arrays.iter().all(|(_, count, values)| values.len() as u64 == *count));
    let names: Vec<_> = file.tensors().map(|t| (t.name(), t.shape(), t.type_name())).collect();
    assert_eq!(names, [("w", vec![2, 5, 512], "Q4_K".to_string()), ("norm", vec![3], "F32".to_string())]);
    let tensor = file.tensor("w").expect("there");
    let weights = tensor.weights().expect("whole blocks");
    let blocks = tensor.bytes().expect("there").chunks_exact(144);
    let expected: Vec<f32> = blocks.flat_map(|b| (0..256).map(|i| element(GgufType::Q4_K, b, i))).collect();
    assert_weights("a file", &weights, &expected);
    let norm = file.tensor("norm").expect("there");
    assert_eq!(norm.bytes().expect("there"), [0, 0, 128, 63, 0, 0, 0, 64, 0, 0, 64, 64]);
    assert_eq!(norm.floats().expect("F32").values::<f32>().expect("float32"), [1.0, 2.0, 3.0]);
    assert!(tensor.floats().expect_err("quantized").to_string().contains("Q4_K, which is not F32"));
}
