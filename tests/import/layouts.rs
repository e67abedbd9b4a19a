//! The layouts of safetensors checkpoints and of ONNX, against matrices whose codes are known.

use lowbit::import::awq::Awq;
use lowbit::import::gptq::{Gptq, ZeroPoints};
use lowbit::import::onnx::MatMulNBits;
use lowbit::import::torchao::{TensorClass, TorchAo};
use lowbit::import::{Array, ElementType, Safetensors};
use lowbit::weights::{Codes, ScaleFormat};

use crate::fixtures::{Matrix, bit_stream, dtype, floats, safetensors, transpose_if, transpose_words};
use crate::{Random, assert_weights};

const FLOATS: [ElementType; 3] = [ElementType::Float16, ElementType::Bfloat16, ElementType::Float32];

/// Blocks of all rows. The last block of a row is filled up with codes that must be ignored.
fn onnx_blocks(m: &Matrix) -> Vec<u8> {
    let block = |g: usize, row: usize| {
        let code = move |l: usize| if l < m.k { m.codes[row * m.k + l] } else { 1 };
        bit_stream((g * m.group..(g + 1) * m.group).map(code), m.bits, 1)
    };
    (0..m.n).flat_map(|row| (0..m.groups).flat_map(move |g| block(g, row))).collect()
}

#[test]
fn onnx_matmul_n_bits() {
    let mut random = Random(11);
    for (case, bits) in [2, 4, 8].into_iter().cycle().take(36).enumerate() {
        let (n, k, group) =
            [(1, 1, 16), (3, 47, 16), (70, 130, 64), (5, 256, 32), (2, 100, 256), (9, 96, 32)][case / 3 % 6];
        let mut m = Matrix::new(n, k, bits, group, &mut random);
        if case % 4 == 3 {
            m = m.shuffled(&mut random);
        }
        let half = (1 << (bits - 1)) as f32;
        let (b, float) = (onnx_blocks(&m), FLOATS[case % 3]);
        let scales = m.scale_bytes(float, false);
        let shape = [n, m.groups];
        let index = m.index_bytes();
        let rows = m.zeros.chunks(m.groups).flat_map(|row| bit_stream(row.iter().copied(), bits, 1));
        let packed: Vec<u8> = rows.collect();
        let real: Vec<f32> = m.zeros.iter().map(|&z| z as f32 + 0.3).collect();
        let real_bytes = floats(ElementType::Float32, &real);
        let node = |zero_points| {
            MatMulNBits::new([n, k], bits, group, &b, Array::new(float, shape, &scales).expect("fits"))
                .with_zero_points(zero_points)
                .with_g_idx((case % 4 == 3).then(|| Array::new(ElementType::Int32, [k], &index).expect("fits")))
        };
        let what = format!("{bits} bits [{n}, {k}] in blocks of {group}, {float:?}");
        let none = node(None).weights().expect("fits");
        let f16 = float == ElementType::Float16;
        assert_eq!(none.format().scales, if f16 { ScaleFormat::F16 } else { ScaleFormat::F32 });
        assert_weights(&what, &none, &m.real(|_| half));
        let integers = node(Some(Array::new(ElementType::Uint8, [packed.len()], &packed).expect("fits")));
        assert_weights(&what, &integers.weights().expect("fits"), &m.real(|g| m.zeros[g] as f32));
        let floats = node(Some(Array::new(ElementType::Float32, shape, &real_bytes).expect("fits")));
        assert_weights(&what, &floats.weights().expect("fits"), &m.real(|g| real[g]));
    }
}

/// Arrays `qweight` and `qzeros` of a GPTQ layer, with the zero points of this convention.
pub(crate) fn gptq_words(m: &Matrix, convention: ZeroPoints) -> [Vec<u8>; 2] {
    let columns: Vec<Vec<u8>> = m.codes.chunks(m.k).map(|row| bit_stream(row.iter().copied(), m.bits, 4)).collect();
    // Writers subtract 1 from each 3-bit zero point, because those straddle words. For other widths they subtract 1 per code from
    // words.
    let (in_codes, in_words) = match (convention, m.bits) {
        (ZeroPoints::AsIs, _) => (0, 0),
        (_, 3) => (1, 0),
        (_, bits) => (0, (0..32 / bits).map(|i| 1u32 << (i * bits)).sum()),
    };
    let mask = (1 << m.bits) - 1;
    let zeros = transpose_if(true, &m.zeros, m.n);
    let lines = zeros.chunks(m.n).flat_map(|line| {
        let stream = bit_stream(line.iter().map(|&z| z.wrapping_sub(in_codes) & mask), m.bits, 4);
        let word =
            |word: &[u8]| u32::from_le_bytes(word.try_into().expect("4 bytes")).wrapping_sub(in_words).to_le_bytes();
        stream.chunks_exact(4).flat_map(word).collect::<Vec<u8>>()
    });
    [transpose_words(&columns), lines.collect()]
}

/// A GPTQ layer in a file.
pub(crate) fn gptq_file(m: &Matrix, convention: ZeroPoints, float: ElementType, act_order: bool) -> Vec<u8> {
    let [qweight, qzeros] = gptq_words(m, convention);
    let (scales, index) = (m.scale_bytes(float, true), m.index_bytes());
    let (words, zero_words) = (m.k * m.bits / 32, (m.n * m.bits).div_ceil(32));
    let shapes = [[words, m.n], [m.groups, zero_words], [m.groups, m.n]];
    let k = [m.k];
    let mut arrays: Vec<(&str, &str, &[usize], &[u8])> = vec![
        ("l.qweight", "I32", &shapes[0], &qweight),
        ("l.qzeros", "I32", &shapes[1], &qzeros),
        ("l.scales", dtype(float), &shapes[2], &scales),
    ];
    if act_order {
        arrays.push(("l.g_idx", "I32", &k, &index));
    }
    safetensors(&arrays, &[("format", "pt")])
}

#[test]
fn gptq_checkpoints() {
    let mut random = Random(13);
    for (case, bits) in [2, 3, 4, 8].into_iter().cycle().take(32).enumerate() {
        let (n, k, group) =
            [(32, 32, 32), (64, 160, 32), (96, 128, 64), (32, 64, usize::MAX), (160, 96, 48)][case / 4 % 5];
        let mut m = Matrix::new(n, k, bits, group.min(k), &mut random);
        // The convention alternates for each number of bits.
        let convention = [ZeroPoints::LessOne, ZeroPoints::AsIs][(case + case / 4) % 2];
        let act_order = case % 3 > 0;
        if case % 3 == 2 {
            m = m.shuffled(&mut random);
        }
        let bytes = gptq_file(&m, convention, FLOATS[case % 3], act_order);
        let file = Safetensors::parse(&bytes).expect("a whole file");
        let layer = Gptq::read(&file, "l", bits, group, convention).expect("all arrays");
        let what = format!("{bits} bits [{n}, {k}] in groups of {group}, {convention:?}");
        assert_weights(&what, &layer.weights().expect("fits"), &m.real(|g| m.zeros[g] as f32));
    }
}

/// Symmetric checkpoints need no zero points; others have any zero point from the least code to the greatest.
#[test]
fn gptq_zero_points_at_the_edges() {
    let mut random = Random(17);
    for (bits, codes) in [(2, Codes::INT2), (3, Codes::INT3), (4, Codes::INT4), (8, Codes::INT8)] {
        let mut m = Matrix::new(32, 64, bits, 32, &mut random);
        let (middle, most) = (1u32 << (bits - 1), (1u32 << bits) - 1);
        for (name, zeros, scales) in [
            ("the middle", [middle; 3], ScaleFormat::F16),
            ("least", [0; 3], ScaleFormat::F16Zero),
            ("greatest", [most; 3], ScaleFormat::F16Zero),
            ("mixed", [0, most, middle], ScaleFormat::F16Zero),
        ] {
            m.zeros.iter_mut().enumerate().for_each(|(i, zero)| *zero = zeros[i % 3]);
            for convention in [ZeroPoints::LessOne, ZeroPoints::AsIs] {
                let bytes = gptq_file(&m, convention, ElementType::Float16, false);
                let file = Safetensors::parse(&bytes).expect("a whole file");
                let layer = Gptq::read(&file, "l", bits, 32, convention).expect("all arrays");
                let weights = layer.weights().expect("fits");
                assert_eq!((weights.format().codes, weights.format().scales), (codes, scales), "{name}");
                assert_weights(
                    &format!("{name}, {bits} bits, {convention:?}"),
                    &weights,
                    &m.real(|g| m.zeros[g] as f32),
                );
            }
        }
    }
}

/// Zero points 0, 7, 8 … 8 as GPTQModel writes them: 0x88888870 less 0x11111111.
#[test]
fn gptq_zero_points_borrow_from_each_other() {
    let scales = floats(ElementType::Float32, &[1.0; 8]);
    for (word, zero_points) in [(0x8888_8870u32, ZeroPoints::AsIs), (0x7777_775f, ZeroPoints::LessOne)] {
        let zeros = word.to_le_bytes();
        let layer = Gptq::new(
            Array::new(ElementType::Int32, [4, 8], &[0x33; 128]).expect("fits"),
            Array::new(ElementType::Int32, [1, 1], &zeros).expect("fits"),
            Array::new(ElementType::Float32, [1, 8], &scales).expect("fits"),
            4,
            zero_points,
        )
        .with_group(32);
        let real = layer.weights().expect("fits").dequantize().expect("small");
        let products = real.values::<f32>().expect("floats").chunks(32).map(|row| row.iter().sum::<f32>());
        let expected = [96.0, -128.0, -160.0, -160.0, -160.0, -160.0, -160.0, -160.0];
        assert_eq!(products.collect::<Vec<_>>(), expected, "{word:#x}");
    }
}

/// Writers without act-order store an index of zeros.
#[test]
fn a_gptq_index_of_zeros_is_no_order() {
    let mut random = Random(31);
    for (k, group) in [(256, 128), (64, 32), (64, usize::MAX), (32, 32)] {
        let m = Matrix::new(32, k, 4, group.min(k), &mut random);
        let bytes = gptq_file(&m, ZeroPoints::LessOne, ElementType::Float16, false);
        let file = Safetensors::parse(&bytes).expect("a whole file");
        let layer = Gptq::read(&file, "l", 4, group, ZeroPoints::LessOne).expect("all arrays");
        for (element_type, bytes) in [(ElementType::Int32, 4), (ElementType::Int64, 8)] {
            let zeros = vec![0; k * bytes];
            let g_idx = Array::new(element_type, [k], &zeros).ok();
            let weights = layer.clone().with_g_idx(g_idx).weights().expect("fits");
            assert_weights("an index of zeros", &weights, &m.real(|g| m.zeros[g] as f32));
        }
    }
}

/// A file with an AWQ layer: nibble i of a word holds column `ORDER[i]` of 8.
pub(crate) fn awq_file(m: &Matrix, float: ElementType) -> Vec<u8> {
    const ORDER: [usize; 8] = [0, 2, 4, 6, 1, 3, 5, 7];
    let pack = |lines: Vec<u32>| -> Vec<u8> {
        let nibbles = (0..lines.len()).map(|at| lines[at / 8 * 8 + ORDER[at % 8]]);
        bit_stream(nibbles, 4, 4)
    };
    let qweight = pack(transpose_if(true, &m.codes, m.n));
    let qzeros = pack(transpose_if(true, &m.zeros, m.n));
    let scales = m.scale_bytes(float, true);
    let shapes = [[m.k, m.n / 8], [m.groups, m.n / 8], [m.groups, m.n]];
    let arrays: [(&str, &str, &[usize], &[u8]); 3] = [
        ("l.qweight", "I32", &shapes[0], &qweight),
        ("l.qzeros", "I32", &shapes[1], &qzeros),
        ("l.scales", dtype(float), &shapes[2], &scales),
    ];
    safetensors(&arrays, &[])
}

#[test]
fn awq_checkpoints() {
    let mut random = Random(19);
    for (case, (n, k, group)) in
        [(8, 32, 32), (72, 160, 64), (128, 96, usize::MAX), (16, 128, 16)].into_iter().enumerate()
    {
        let m = Matrix::new(n, k, 4, group.min(k), &mut random);
        let bytes = awq_file(&m, FLOATS[case % 3]);
        let file = Safetensors::parse(&bytes).expect("a whole file");
        let weights = Awq::read(&file, "l", group).expect("all arrays").weights().expect("fits");
        assert_weights("awq", &weights, &m.real(|g| m.zeros[g] as f32));
    }
}

/// A file with a torchao weight of signed codes.
pub(crate) fn torchao_file(
    m: &Matrix,
    experts: usize,
    class: TensorClass,
    float: ElementType,
    zeros: Option<(&str, &[u8])>,
) -> Vec<u8> {
    let half = 1 << (m.bits - 1);
    let signed = m.codes.iter().map(|&code| code as i32 - half);
    let (name, target, qdata) = match class {
        TensorClass::Int4 => ("Int4Tensor", String::new(), bit_stream(signed.map(|code| code as u32 & 15), 4, 1)),
        TensorClass::Intx(bits) => {
            let target = format!(r#","target_dtype":{{"_type":"torch.dtype","_data":"int{bits}"}}"#);
            ("IntxUnpackedToInt8Tensor", target, signed.map(|code| code as u8).collect())
        }
        _ => ("Int8Tensor", String::new(), signed.map(|code| code as u8).collect()),
    };
    let n = m.n / experts;
    let columns = qdata.len() / m.n;
    let (mut shape, mut scale_shape, mut block) = (vec![n, columns], vec![n, m.groups], vec![1, m.group]);
    let mut scales = m.scale_bytes(float, false);
    if class == TensorClass::Int4 {
        scale_shape.reverse();
        let each = m.scales.chunks(n * m.groups);
        scales = each.flat_map(|scales| floats(float, &transpose_if(true, scales, n))).collect();
    }
    if experts > 1 {
        shape.insert(0, experts);
        scale_shape.insert(0, experts);
        block.insert(0, 1);
    }
    let about = format!(r#"{{"_type":"{name}","_data":{{"block_size":{block:?}{target}}},"_tensor_data_names":[]}}"#);
    let mut arrays: Vec<(&str, &str, &[usize], &[u8])> =
        vec![("m._weight_qdata", "I8", &shape, &qdata), ("m._weight_scale", dtype(float), &scale_shape, &scales)];
    if let Some((dtype, bytes)) = zeros {
        arrays.push(("m._weight_zero_point", dtype, &scale_shape, bytes));
    }
    safetensors(&arrays, &[("m.weight", &about), ("tensor_names", "[\"m.weight\"]")])
}

fn read_torchao(bytes: &[u8]) -> lowbit::weights::PackedWeights {
    let file = Safetensors::parse(bytes).expect("a whole file");
    TorchAo::read(&file, "m.weight").expect("all arrays").weights().expect("fits")
}

#[test]
fn torchao_int4() {
    let mut random = Random(23);
    for (case, experts) in [1, 3, 1, 2].into_iter().enumerate() {
        let m = Matrix::new(6 * experts, 128, 4, 32, &mut random);
        let float = FLOATS[case % 3];
        let offsets: Vec<f32> = m.zeros.iter().map(|&z| (z as f32 - 7.0) / 64.0).collect();
        let each = offsets.chunks(6 * m.groups);
        let zeros: Vec<u8> = each.flat_map(|of| floats(float, &transpose_if(true, of, 6))).collect();
        let bytes = torchao_file(&m, experts, TensorClass::Int4, float, Some((dtype(float), &zeros)));
        // tinygemm: (q − 8) · scale + zero
        let element = |at: usize| {
            let g = at / m.k * m.groups + at % m.k / m.group;
            (m.codes[at] as f32 - 8.0) * m.scales[g] + offsets[g]
        };
        let expected: Vec<f32> = (0..m.n * m.k).map(element).collect();
        let weights = read_torchao(&bytes);
        assert_eq!(weights.dims(), [experts, 6, 128]);
        assert_weights("int4", &weights, &expected);
    }
}

#[test]
fn torchao_intx_and_int8() {
    let mut random = Random(29);
    for bits in 1..=8 {
        let m = Matrix::new(7, 96, bits, 32, &mut random);
        let half = 1 << (bits - 1);
        let zeros: Vec<u8> = m.zeros.iter().map(|&z| (z as i32 - half) as u8).collect();
        let bytes = torchao_file(&m, 1, TensorClass::Intx(bits), ElementType::Bfloat16, Some(("I8", &zeros)));
        assert_weights("intx", &read_torchao(&bytes), &m.real(|g| m.zeros[g] as f32));

        let real: Vec<f32> = m.zeros.iter().map(|&z| z as f32 - half as f32 + 0.25).collect();
        let zeros = floats(ElementType::Float32, &real);
        let bytes = torchao_file(&m, 1, TensorClass::Intx(bits), ElementType::Float32, Some(("F32", &zeros)));
        let element = |at: usize| {
            let g = at / m.k * m.groups + at % m.k / m.group;
            (m.codes[at] as f32 - half as f32 - real[g]) * m.scales[g]
        };
        let expected: Vec<f32> = (0..m.n * m.k).map(element).collect();
        assert_weights("intx, real zero points", &read_torchao(&bytes), &expected);
    }
    let m = Matrix::new(70, 33, 8, 33, &mut random);
    let bytes = torchao_file(&m, 1, TensorClass::Int8, ElementType::Float16, None);
    let weights = read_torchao(&bytes);
    assert_eq!(weights.format().scales, ScaleFormat::F16);
    assert_weights("int8", &weights, &m.real(|_| 128.0));
}

/// One scale for a whole tensor, and one for two rows.
#[test]
fn torchao_blocks_of_rows() {
    let qdata: Vec<u8> = (0..4 * 8).collect();
    for (block, scales) in [([4, 8], vec![0.5f32]), ([2, 4], vec![0.5, 2.0, 3.0, 4.0])] {
        let bytes = floats(ElementType::Float32, &scales);
        let weight = TorchAo::new(
            TensorClass::Int8,
            Array::new(ElementType::Int8, [4, 8], &qdata).expect("fits"),
            Array::new(ElementType::Float32, [4 / block[0], 8 / block[1]], &bytes).expect("fits"),
            block.to_vec(),
        );
        let columns = 8 / block[1];
        let scale = |at: usize| scales[at / 8 / block[0] * columns + at % 8 / block[1]];
        let expected: Vec<f32> = (0..32).map(|at| at as f32 * scale(at)).collect();
        assert_weights("blocks", &weight.weights().expect("fits"), &expected);
    }
}
