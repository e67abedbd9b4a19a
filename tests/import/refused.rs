//! Refused files and parameters, and the changes that the messages ask the caller to make.

use lowbit::import::awq::Awq;
use lowbit::import::bitsandbytes::{FourBit, Int8};
use lowbit::import::checkpoint::Model;
use lowbit::import::compressed_tensors::{CompressedTensors, Scheme};
use lowbit::import::float4::{Float4, Global};
use lowbit::import::float8::Float8;
use lowbit::import::gguf::{self, GgufFile, GgufType};
use lowbit::import::gptq::{Gptq, ZeroPoints};
use lowbit::import::onnx::MatMulNBits;
use lowbit::import::torchao::{TensorClass, TorchAo};
use lowbit::import::{Array, ElementType, Safetensors};
use lowbit::{Error, Result};

use crate::Random;
use crate::fixtures::{Matrix, floats, safetensors};
use crate::layouts::{awq_file, gptq_file, torchao_file};

/// Asserts that the request is refused and that the message contains all `parts`.
pub(crate) fn refused<T>(result: Result<T>, parts: &[&str]) {
    match result {
        Err(Error::Request(message)) => {
            let missing: Vec<_> = parts.iter().filter(|part| !message.contains(**part)).collect();
            assert!(missing.is_empty(), "{message:?} doesn't say {missing:?}");
        }
        Err(other) => panic!("not a request: {other}"),
        Ok(_) => panic!("accepted, but {parts:?} was expected"),
    }
}

#[test]
fn gguf_blocks() {
    let weights = |t, dimensions, bytes: usize| gguf::weights(t, dimensions, &vec![0; bytes]);
    refused(weights(GgufType::Q4_0, [1, 2, 33], 36), &["rows of 33", "Q4_0", "hold 32"]);
    refused(weights(GgufType::Q4_0, [1, 2, 64], 71), &["72 bytes", "71 were given", "truncated"]);
    refused(weights(GgufType::Q4_0, [1, 2, 64], 73), &["72 bytes", "73 were given"]);
    refused(weights(GgufType::Q6_K, [usize::MAX, 2, 256], 210), &["more than can be addressed"]);
    let infinite = [&[0, 0x7c][..], &[0; 16]].concat();
    refused(gguf::weights(GgufType::Q4_0, [1, 1, 32], &infinite), &["row 0", "inf", "damaged"]);
    refused(gguf::quantize(GgufType::Q4_0, &[0.0; 31]), &["31 numbers", "32", "zeros"]);
    refused(gguf::quantize(GgufType::Q8_0, &[f32::NAN; 32]), &["number 0 is not finite"]);
    refused(gguf::quantize(GgufType::Q4_1, &[-1e6; 32]), &["block 0", "too large", "f16"]);
}

#[test]
fn gguf_files() {
    let whole = crate::ggml::file(GgufType::Q8_0, [1, 3, 64], &mut Random(1));
    let changed = |at: usize, bytes: &[u8]| {
        let mut changed = whole.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        GgufFile::parse(&changed).map(|_| ())
    };
    let find = |text: &str| whole.windows(text.len()).position(|w| w == text.as_bytes()).expect("there") + text.len();
    refused(GgufFile::parse(b"GGML"), &["no GGUF file"]);
    refused(GgufFile::parse(&whole[..40]), &["ends at byte 40", "truncated"]);
    refused(GgufFile::parse(&whole[..whole.len() - 1]), &["\"norm\" [3] in F32", "11 bytes left", "needs 12"]);
    refused(changed(4, &[1, 0, 0, 0]), &["version 1", "2 and 3"]);
    refused(changed(4, &[0, 0, 0, 3]), &["big end"]);
    refused(changed(8, &[255; 8]), &["ends at byte"]);
    refused(changed(16, &[255; 8]), &["damaged"]);
    let alignment = find("general.alignment");
    refused(changed(alignment + 4, &[0; 4]), &["general.alignment is 0", "1 to 65536"]);
    refused(changed(alignment, &[5]), &["general.alignment has the type i32 (64)", "the format makes it a u32"]);
    refused(changed(alignment, &[6]), &["general.alignment has the type f32", "u32"]);
    refused(changed(find("general.architecture"), &[77]), &["type 77"]);
    refused(changed(find("general.architecture") + 12, &[255]), &["not UTF-8"]);
    let tensor = find("\u{1}\0\0\0\0\0\0\0w");
    refused(changed(tensor, &[5]), &["\"w\"", "5 dimensions", "at most 4"]);
    refused(changed(tensor + 4, &[65]), &["rows of 65", "hold 32"]);
    refused(changed(tensor + 4, &[0, 0, 0, 0, 0, 0, 0, 0x80]), &["\"w\"", "dimension of 9223372036854775808"]);
    refused(changed(tensor + 12, &[255; 7]), &["[1, 72057594037927935, 64]", "damaged"]);
    refused(changed(tensor + 32, &[255; 8]), &["\"w\"", "18446744073709551615 bytes into the data"]);
    refused(changed(tensor + 28, &[0]), &["\"w\" [1, 3, 64] in F32", "needs 768"]);
    let file = GgufFile::parse(&whole).expect("whole");
    refused(file.tensor("v"), &["no tensor \"v\""]);
    refused(file.tensor("norm").and_then(|tensor| tensor.weights()), &["\"norm\" is in F32", "GgufType"]);
}

/// A GGUF file with u8 values for `keys`, and f32 tensors of one number.
fn gguf_of(keys: &[&str], tensors: &[&str]) -> Vec<u8> {
    let text = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
    let mut file =
        [&b"GGUF\x03\0\0\0"[..], &(tensors.len() as u64).to_le_bytes(), &(keys.len() as u64).to_le_bytes()].concat();
    keys.iter().for_each(|key| file.extend([text(key), vec![0; 4], vec![7]].concat()));
    for (i, name) in tensors.iter().enumerate() {
        file.extend([text(name), 1u32.to_le_bytes().to_vec(), 1u64.to_le_bytes().to_vec(), vec![0; 4]].concat());
        file.extend((32 * i as u64).to_le_bytes());
    }
    file.resize(file.len().next_multiple_of(32) + 32 * tensors.len(), 0);
    file
}

#[test]
fn names_that_stand_for_two() {
    assert!(GgufFile::parse(&gguf_of(&["a", "b", ""], &["a", "b", "", "c"])).is_ok());
    let gguf = |keys: &[&str], tensors: &[&str]| GgufFile::parse(&gguf_of(keys, tensors)).map(|_| ());
    refused(gguf(&["a"], &["w", "b", "w"]), &["two tensors \"w\"", "GGUF"]);
    refused(gguf(&["a", "b", "a"], &["w"]), &["two values for \"a\"", "GGUF"]);
    let tensor = |name: &str| format!(r#""{name}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#);
    let parse = |entries: &[String]| {
        let header = format!("{{{}}}", entries.join(","));
        Safetensors::parse(&[&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat()).map(|_| ())
    };
    assert!(parse(&[tensor("a"), tensor("b")]).is_ok());
    refused(parse(&[tensor("a"), tensor("b"), tensor("a")]), &["two arrays \"a\"", "safetensors"]);
    refused(parse(&[tensor("ab"), tensor("\\u0061b")]), &["two arrays \"ab\""]);
    let about = |pairs: &str| format!(r#""__metadata__":{{{pairs}}}"#);
    assert!(parse(&[about(r#""k":"1","l":"1""#), tensor("a")]).is_ok());
    refused(parse(&[about(r#""k":"1","l":"2","k":"3""#), tensor("a")]), &["two values for \"k\"", "safetensors"]);
    refused(parse(&[about(""), tensor("a"), about("")]), &["__metadata__"]);
}

#[test]
fn arrays_and_safetensors() {
    refused(Array::new(ElementType::Float32, [2, 3], &[0; 20]), &["[2, 3]", "20 bytes"]);
    refused(Array::new(ElementType::Float32, [usize::MAX, 3], &[0; 20]), &["20 bytes"]);
    refused(Safetensors::parse(b"short"), &["no safetensors file", "5 bytes"]);
    refused(Safetensors::parse(&[255; 100]), &["100 MB", "100 bytes"]);
    let long = |header: u64| Safetensors::parse(&[&header.to_le_bytes()[..], &[b' '; 100]].concat()).map(|_| ());
    refused(long(100_000_001), &["100 MB"]);
    refused(long(101), &["header of 101 bytes", "damaged", "again"]);
    let whole = safetensors(&[("a", "F64", &[1], &[0; 8])], &[]);
    refused(Safetensors::parse(&whole[..whole.len() - 1]), &["damaged", "again"]);
    let file = Safetensors::parse(&whole).expect("whole");
    refused(file.array("b"), &["no \"b\""]);
    refused(file.array("a"), &["\"a\" holds \"F64\""]);
    for (entry, said) in [
        (r#"{"dtype":"U8","shape":[1],"data_offsets":[0,1]}"#, "arrays end at byte 1 of the data, but there are 2"),
        (r#"{"dtype":"U8","shape":[3],"data_offsets":[0,3]}"#, "bytes 0 to 3 of the data, but there are 2"),
        (r#"{"dtype":"U8","shape":[2],"data_offsets":[2,0]}"#, "bytes 2 to 0 of the data"),
        (r#"{"dtype":"U8","shape":[3],"data_offsets":[0,2]}"#, "Uint8 [3] doesn't take the 2 bytes"),
        (r#"{"dtype":"U8","shape":[-1],"data_offsets":[0,2]}"#, "damaged"),
        (r#"{"dtype":"U8","shape":[2]}"#, "damaged"),
        (r#"{"dtype":"U8","shape":[2],"data_offsets":[0,2]"#, "damaged"),
        ("7", "damaged"),
    ] {
        let header = format!(r#"{{"a":{entry}}}"#);
        let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &[0; 2]].concat();
        refused(Safetensors::parse(&bytes).and_then(|file| file.array("a").map(|_| ())), &[said]);
    }
}

/// 80,000 tensors with long names.
#[test]
fn long_headers_are_read() {
    let name = |i: usize| format!("model.layers.{i}.block_sparse_moe.experts.{i}.a_projection_of_a_long_name.weight");
    let entries: Vec<_> = (0..80_000)
        .map(|i| format!(r#""{}":{{"dtype":"U8","shape":[1],"data_offsets":[{i},{}]}}"#, name(i), i + 1))
        .collect();
    let header = format!("{{{}}}", entries.join(","));
    assert!(header.len() > 8 << 20, "{} bytes", header.len());
    let mut bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat();
    bytes.extend((0..80_000).map(|i| i as u8));
    let file = Safetensors::parse(&bytes).expect("a whole file");
    assert_eq!(file.names().count(), 80_000);
    for i in [0, 1, 777, 79_999] {
        assert_eq!(file.array(&name(i)).expect("there").bytes(), [i as u8]);
    }
}

/// This with a change.
fn with<T>(mut of: T, change: impl FnOnce(&mut T)) -> T {
    change(&mut of);
    of
}

#[test]
fn onnx_nodes() {
    let scales = floats(ElementType::Float32, &[1.0; 6]);
    let scales = || Array::new(ElementType::Float32, [3, 2], &scales).expect("fits");
    let node = |bits, block_size, b| MatMulNBits::new([3, 40], bits, block_size, b, scales());
    let b = [0u8; 96];
    assert!(node(4, 32, &b).weights().is_ok());
    refused(node(3, 32, &b).weights(), &["3 bits", "2, 4 or 8"]);
    refused(node(4, 0, &b).weights(), &["blocks of 0"]);
    refused(node(4, 33, &b).weights(), &["blocks of 33", "whole bytes"]);
    refused(node(4, usize::MAX / 2, &b).weights(), &["whole bytes"]);
    refused(node(4, 32, &b[1..]).weights(), &["B has 95", "make it 96"]);
    refused(node(4, 64, &b).weights(), &["scales has 6", "make it 3"]);
    refused(with(node(4, 32, &b), |x| x.n = usize::MAX).weights(), &["more than can be addressed"]);
    let zeros = |bytes: &'static [u8]| Some(Array::new(ElementType::Uint8, [bytes.len()], bytes).expect("fits"));
    refused(node(4, 32, &b).with_zero_points(zeros(&[0; 4])).weights(), &["zero_points has 4", "make it 3"]);
    let integers = Array::new(ElementType::Int32, [1], &[0; 4]).expect("fits");
    refused(
        node(4, 32, &b).with_zero_points(Some(integers.clone())).weights(),
        &["zero_points holds Int32", "Float16, Bfloat16, Float32 or Uint8"],
    );
    refused(with(node(4, 32, &b), |x| x.scales = integers.clone()).weights(), &["scales holds Int32"]);
    refused(node(4, 32, &b).with_g_idx(Some(integers)).weights(), &["g_idx is [1]", "[40]"]);
    let index = |g: i32| -> Vec<u8> { (0..40).flat_map(|_| g.to_le_bytes()).collect() };
    for (g, said) in [
        (2, "into group 2, but there are 2"),
        (-1, "into group -1"),
        (1, "more than 32 columns into group 1"),
        // For ONNX an index of zeros is a real index: ONNX Runtime takes all scales from block 0.
        (0, "more than 32 columns into group 0: give the group size that it was made with, or no g_idx if"),
    ] {
        let bytes = index(g);
        let g_idx = Array::new(ElementType::Int32, [40], &bytes).ok();
        refused(node(4, 32, &b).with_g_idx(g_idx).weights(), &[said]);
    }
    let nan = floats(ElementType::Float32, &[f32::NAN; 6]);
    let scales = Array::new(ElementType::Float32, [3, 2], &nan).expect("fits");
    refused(with(node(4, 32, &b), |x| x.scales = scales).weights(), &["NaN"]);
    // A single column is padded to 32: legal for a small matrix, refused for a large file.
    let thin = vec![0u8; 8_000_000];
    let ones = floats(ElementType::Float16, &vec![1.0; 1_000_000 * 8]);
    let node = MatMulNBits::new(
        [1_000_000, 8],
        8,
        1,
        &thin,
        Array::new(ElementType::Float16, [8_000_000], &ones).expect("fits"),
    );
    refused(node.weights(), &["would take", "padded"]);
}

#[test]
fn gptq_layers() {
    let m = Matrix::new(32, 64, 4, 32, &mut Random(3));
    let bytes = gptq_file(&m, ZeroPoints::AsIs, ElementType::Float16, true);
    let file = Safetensors::parse(&bytes).expect("whole");
    let layer = |bits, group| Gptq::read(&file, "l", bits, group, ZeroPoints::AsIs).expect("all arrays");
    assert!(layer(4, 32).weights().is_ok());
    refused(Gptq::read(&file, "m", 4, 32, ZeroPoints::AsIs), &["no \"m.qweight\""]);
    refused(layer(9, 32).weights(), &["9 bits", "2 to 8"]);
    refused(layer(5, 32).weights(), &["8 words", "no whole codes of 5"]);
    refused(layer(3, 32).weights(), &["8 words", "no whole codes of 3"]);
    refused(layer(4, 0).weights(), &["groups of 0", "usize::MAX for -1"]);
    refused(layer(4, 64).weights(), &["scales is [2, 32]", "[1, 32]", "group size"]);
    refused(layer(8, 16).weights(), &["qzeros is [2, 4]", "[2, 8]"]);
    refused(with(layer(4, 32), |x| x.qweight = layer(4, 32).scales).weights(), &["qweight holds Float16", "Int32"]);
    refused(with(layer(4, 32), |x| x.scales = layer(4, 32).qweight).weights(), &["scales holds Int32"]);
    refused(
        with(layer(4, 32), |x| x.qweight = layer(4, 32).g_idx.expect("there")).weights(),
        &["qweight is [64]", "two dim"],
    );
}

#[test]
fn awq_layers() {
    let m = Matrix::new(16, 64, 4, 32, &mut Random(3));
    let bytes = awq_file(&m, ElementType::Float16);
    let file = Safetensors::parse(&bytes).expect("whole");
    let layer = |group| Awq::read(&file, "l", group).expect("all arrays");
    assert!(layer(32).weights().is_ok());
    refused(layer(0).weights(), &["groups of 0"]);
    refused(layer(128).weights(), &["scales is [2, 16]", "[1, 16]"]);
    refused(with(layer(32), |x| x.qzeros = layer(32).qweight).weights(), &["qzeros is [64, 2]", "[2, 2]"]);
    refused(with(layer(32), |x| x.qweight = layer(32).scales).weights(), &["qweight holds Float16"]);
}

#[test]
fn torchao_weights() {
    let m = Matrix::new(8, 64, 4, 32, &mut Random(3));
    let bytes = torchao_file(&m, 1, TensorClass::Intx(4), ElementType::Float32, None);
    let file = Safetensors::parse(&bytes).expect("whole");
    let weight = || TorchAo::read(&file, "m.weight").expect("all arrays");
    assert!(weight().weights().is_ok());
    refused(TorchAo::read(&file, "n.weight"), &["nothing about \"n.weight\""]);
    refused(with(weight(), |x| x.class = TensorClass::Intx(3)).weights(), &["int3 in groups of 32", "-4..=3"]);
    refused(with(weight(), |x| x.class = TensorClass::Intx(9)).weights(), &["9 bits", "1 to 8"]);
    refused(with(weight(), |x| x.block_size = vec![1, 24]).weights(), &["[1, 24] don't divide [1, 8, 64]"]);
    refused(with(weight(), |x| x.block_size = vec![64]).weights(), &["block_size"]);
    refused(with(weight(), |x| x.block_size = vec![1, 0]).weights(), &["block_size"]);
    refused(with(weight(), |x| x.block_size = vec![1, 64]).weights(), &["scale has 16", "make it 8"]);
    refused(with(weight(), |x| x.qdata = weight().scale).weights(), &["qdata holds Float32", "Int8"]);
    for (about, said) in [
        (r#"{"_type":"Int4Tensor"}"#, "no \"m._weight_qdata\""),
        (r#"{"_type":"Int4TilePackedTo4dTensor"}"#, "of the class \"Int4TilePackedTo4dTensor\""),
        (r#"{"_type":"IntxUnpackedToInt8Tensor"}"#, "target_dtype"),
        ("{", "damaged"),
    ] {
        let bytes = safetensors(&[], &[("m.weight", about)]);
        refused(TorchAo::read(&Safetensors::parse(&bytes).expect("whole"), "m.weight"), &[said]);
    }
    let scaled =
        safetensors(&[("m._weight_act_pre_scale", "F32", &[1], &[0; 4])], &[("m.weight", r#"{"_type":"Int4Tensor"}"#)]);
    refused(TorchAo::read(&Safetensors::parse(&scaled).expect("whole"), "m.weight"), &["act_pre_scale"]);
}

#[cfg(not(target_arch = "wasm32"))]
#[test]
#[allow(unsafe_code, reason = "there is no such file to be changed")]
fn a_file_that_is_not_there() {
    // SAFETY: see above.
    refused(unsafe { lowbit::import::map("no/such/file.gguf") }.map(|_| ()), &["no/such/file.gguf can't be mapped"]);
}

#[test]
fn small_floats() {
    let codes = [0x38u8; 12];
    let weight = || Array::new(ElementType::Float8E4M3, [3, 4], &codes).expect("fits");
    let ones = floats(ElementType::Float32, &[1.0; 4]);
    let scale = |count: usize| Array::new(ElementType::Float32, [count], &ones[..4 * count]).expect("fits");
    assert!(Float8::new(weight(), scale(3)).weights().is_ok());
    refused(Float8::new(weight(), scale(2)).weights(), &["2 scales for [1, 3, 4]", "one for each row"]);
    refused(Float8::new(weight(), scale(2)).with_block([2, 2]).weights(), &["2 scales", "[2, 2]", "make it 4"]);
    refused(Float8::new(weight(), scale(4)).with_block([2, 0]).weights(), &["blocks of [2, 0]"]);
    refused(Float8::new(scale(4), scale(4)).weights(), &["weight holds Float32", "Float8E4M3"]);
    let nan = Array::new(ElementType::Float8E4M3, [1, 2], &[0x7f, 0]).expect("fits");
    refused(Float8::new(nan, scale(1)).weights(), &["NaN", "finite"]);
    let bytes = [0u8; 16];
    let packed = || Array::new(ElementType::Uint8, [1, 16], &bytes).expect("fits");
    let powers = |bits: &'static [u8]| Array::new(ElementType::Uint8, [1, bits.len()], bits).expect("fits");
    refused(Float4::new(packed(), powers(&[127, 127]), Global::None).weights(), &["the scale is [1, 2]", "[1, 1]"]);
    refused(Float4::new(packed(), powers(&[127]), Global::Factor(scale(1))).weights(), &["no global scale"]);
    refused(Float4::new(packed(), powers(&[255]), Global::None).weights(), &["NaN"]);
    let e4m3 = Array::new(ElementType::Float8E4M3, [1, 2], &[0x38; 2]).expect("fits");
    let zero = Array::new(ElementType::Float32, [1], &[0; 4]).expect("fits");
    refused(Float4::new(packed(), e4m3, Global::Divisor(zero)).weights(), &["inf"]);
    refused(Array::new(ElementType::Float4E2M1, [3], &[0; 2]), &["[3]", "2 bytes"]);
}

#[test]
fn models() {
    let bytes = safetensors(&[("l.qweight", "I32", &[4, 8], &[0; 128]), ("n.weight", "F32", &[1], &[0; 4])], &[]);
    let model = |config: &str| Model::parse(&[&bytes], config).map(|_| ());
    refused(Model::parse(&[], "").map(|_| ()), &["no files"]);
    refused(model("{"), &["no JSON"]);
    refused(model(&" ".repeat(1_000_001)), &["1000001 bytes", "1 MB"]);
    let layer = |config: &str, name: &str| Model::parse(&[&bytes], config)?.layer(name)?.weights();
    refused(layer("", "l"), &["doesn't say bits of \"l\"", "config.json"]);
    refused(layer(r#"{"bits": 4, "group_size": 32}"#, "l"), &["no \"l.qzeros\""]);
    refused(layer(r#"{"bits": 4, "group_size": 32, "checkpoint_format": "x"}"#, "l"), &["\"x\"", "gptq_v2"]);
    refused(layer("", "n"), &["Float32", "not codes"]);
    refused(layer("", "m"), &["no layer \"m\""]);
    let other = safetensors(&[("n.weight", "F32", &[1], &[0; 4])], &[]);
    refused(Model::parse(&[&bytes, &other], "").map(|_| ()), &["two safetensors files", "\"n.weight\""]);
    for (json, said) in
        [("[]", "damaged"), ("{}", "nothing about weights"), (r#"{"weights": {"block_structure": "7"}}"#, "\"7\"")]
    {
        refused(Scheme::parse(json), &[said]);
    }
    // A weight of torchao by its own name.
    let m = Matrix::new(8, 64, 4, 32, &mut Random(3));
    let bytes = torchao_file(&m, 1, TensorClass::Intx(4), ElementType::Float32, None);
    let model = Model::parse(&[&bytes], "").expect("whole");
    let names: Vec<String> = model.layers().map(|layer| layer.name).collect();
    assert_eq!(names, ["m.weight"]);
    assert!(model.layer("m.weight").and_then(|layer| layer.weights()).is_ok());
}

/// Without columns no number of rows takes bytes, and without rows none of columns. Such a matrix is refused or made at once: each format's
/// loops end where its bytes do.
#[test]
fn empty_matrices_of_many_rows() {
    const MANY: usize = 1 << 50;
    let start = std::time::Instant::now();
    let empty = |element_type, shape: &[usize]| Array::new(element_type, shape, &[]).expect("no bytes");
    let int32 = |shape: &[usize]| empty(ElementType::Int32, shape);
    let real = |shape: &[usize]| empty(ElementType::Float32, shape);
    let one = 1f32.to_le_bytes();
    for [n, k] in [[MANY, 0], [0, MANY]] {
        let groups = k / 32;
        let shape = [n as i64, k as i64].map(i64::to_le_bytes).concat();
        for (scales, zeros, group) in [(vec![n, groups], [n / 8, groups], Some(32)), (vec![1], [n / 8, 1], None)] {
            if scales.iter().chain(&zeros).all(|&size| size > 0) && scales != [1] {
                continue;
            }
            let scale = if scales == [1] { &one[..] } else { &[] };
            let mut arrays = vec![
                ("l.weight_packed", "I32", vec![n, k / 8], &[][..]),
                ("l.weight_scale", "F32", scales, scale),
                ("l.weight_shape", "I64", vec![2], &shape),
            ];
            if zeros.contains(&0) {
                arrays.push(("l.weight_zero_point", "I32", zeros.to_vec(), &[]));
            }
            let arrays: Vec<_> =
                arrays.iter().map(|(name, of, shape, bytes)| (*name, *of, &shape[..], *bytes)).collect();
            let file = safetensors(&arrays, &[]);
            let file = Safetensors::parse(&file).expect("whole");
            let scheme = Scheme::new(4).with_group(group);
            let _ = CompressedTensors::read(&file, "l", scheme).expect("there").weights();
        }
        let _ = Awq::new(int32(&[k, n / 8]), int32(&[groups, n / 8]), real(&[groups, n]), 32).weights();
        let arrays = [int32(&[k / 8, n]), int32(&[groups, n / 8]), real(&[groups, n])];
        let [codes, zeros, scales] = arrays;
        let _ = Gptq::new(codes, zeros, scales, 4, ZeroPoints::AsIs).with_group(32).weights();
        let scale = || Array::new(ElementType::Float32, [1], &one).expect("fits");
        let weight = || empty(ElementType::Float8E4M3, &[n, k]);
        let _ = Float8::new(weight(), scale()).weights();
        let _ = Float8::new(weight(), scale()).with_block([128, 128]).weights();
        let _ =
            Float4::new(empty(ElementType::Uint8, &[n, k / 2]), empty(ElementType::Uint8, &[n, groups]), Global::None)
                .weights();
        let _ = FourBit::new(empty(ElementType::Uint8, &[0]), real(&[0]), real(&[16, 0]), 64, [n, k]).weights();
        let _ = Int8::new(empty(ElementType::Int8, &[n, k]), real(&[0])).weights();
    }
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}
