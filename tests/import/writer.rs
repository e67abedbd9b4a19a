//! GGUF files written, and models in several files. The files in `tests/data/gguf` were made by the Python package gguf 0.19.0: each
//! kind of value, each quantized type with random blocks, and beside it the numbers that its dequantizer gives (`NAME.f32`).

use std::io::{self, Write};
use std::sync::Arc;

use lowbit::import::ElementType;
use lowbit::import::gguf::{self, GgufFile, GgufModel, GgufTensorType, GgufType, GgufValue, GgufWriter, Value};
use lowbit::{Error, Result};

use crate::refused::refused;
use crate::{Random, assert_weights};

const KINDS: &[u8] = include_bytes!("../data/gguf/kinds.gguf");
/// Made by `scripts/gguf-cases`: types that are read, but not made.
const GRIDS: &[u8] = include_bytes!("../data/gguf/grids.gguf");
const PARTS: [&[u8]; 3] = [
    include_bytes!("../data/gguf/split-00001-of-00003.gguf"),
    include_bytes!("../data/gguf/split-00002-of-00003.gguf"),
    include_bytes!("../data/gguf/split-00003-of-00003.gguf"),
];

/// Copies a file with the writer.
pub(crate) fn copy(file: &GgufFile<'_>) -> Result<Vec<u8>> {
    let mut writer = GgufWriter::new();
    writer.metadata(file)?;
    for tensor in file.tensors() {
        let Some(tensor_type) = tensor.tensor_type() else {
            return Err(Error::Request(format!("{} can't be written", tensor.type_name())));
        };
        writer.tensor(tensor.name(), tensor_type, tensor.shape())?;
    }
    let mut data = writer.begin(Vec::new())?;
    file.tensors().try_for_each(|tensor| data.tensor(tensor.name(), tensor.bytes()?))?;
    data.finish()
}

#[test]
fn numbers_are_those_of_the_python_package() {
    let [file, grids] = [KINDS, GRIDS].map(|bytes| GgufFile::parse(bytes).expect("a file of gguf-py"));
    for gguf_type in GgufType::ALL {
        let file = if gguf_type.has_quantizer() { &file } else { &grids };
        let expected = file.tensor(&format!("{gguf_type}.f32")).expect("there").floats().expect("F32");
        let expected = expected.values::<f32>().expect("float32");
        if gguf_type.has_quantizer() {
            let weights = file.tensor(gguf_type.name()).expect("there").weights().expect("whole blocks");
            assert_weights(gguf_type.name(), &weights, expected);
        } else {
            let (block, bytes) = (gguf_type.block(), gguf_type.block_bytes());
            let blocks = &file.tensor(gguf_type.name()).expect("there").bytes().expect("whole")
                [..expected.len() / block * bytes];
            let weights = gguf::weights(gguf_type, [1, 1, expected.len()], blocks).expect("whole blocks");
            assert_eq!(weights.format(), &gguf_type.format());
            assert_weights(gguf_type.name(), &weights, expected);
        }
    }
    let [bf16, expected] = ["BF16", "BF16.f32"].map(|name| file.tensor(name).expect("there").floats().expect("floats"));
    assert_eq!(bf16, expected);
    assert_eq!(bf16.dims(), [1, 4, 2, 3]);
}

/// FNV-1a of 64 bits.
fn hash(values: &[f32]) -> u64 {
    let bytes = values.iter().flat_map(|x| x.to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// Every point of every grid, and scales that are zero, subnormal and greatest: by the hash of a row's bits. Weights that are made when
/// they are needed are the same.
#[test]
fn every_point_is_that_of_the_python_package() {
    let bytes = Arc::new(GRIDS.to_vec());
    let file = GgufFile::parse(&bytes).expect("a file of gguf-py");
    let mut types = 0;
    for gguf_type in GgufType::ALL.into_iter().filter(|of| !of.has_quantizer()) {
        let name = format!("{gguf_type}.hash");
        let hashes = file.metadata().find(|(key, _)| *key == name).map(|(_, value)| value);
        let Some(Value::Array(hashes)) = hashes else { panic!("no {name}") };
        let expected: Vec<u64> = hashes
            .values()
            .map(|value| if let Value::Unsigned(hash) = value { hash } else { panic!("{value:?}") })
            .collect();
        let tensor = file.tensor(gguf_type.name()).expect("there");
        for weights in [tensor.weights(), tensor.deferred_weights(&bytes)] {
            let weights = weights.expect("whole blocks");
            let [_, n, k] = weights.dims();
            assert_eq!(expected.len(), n);
            let real = weights.dequantize().expect("small");
            for (row, values) in real.values::<f32>().expect("float32").chunks(k).enumerate() {
                assert_eq!(hash(values), expected[row], "{gguf_type} row {row}: {weights}");
            }
        }
        types += 1;
    }
    assert_eq!(types, 10);
}

/// The same content written again gives the same bytes, by copying and by values of Rust types.
#[test]
fn files_are_those_of_the_python_package() {
    let file = GgufFile::parse(KINDS).expect("a file of gguf-py");
    assert!(copy(&file).expect("known types") == KINDS);

    let mut writer = GgufWriter::new();
    let mut build = || -> Result<()> {
        writer
            .value("general.architecture", "test")?
            .value("u8", 255u8)?
            .value("i8", -128i8)?
            .value("u16", u16::MAX)?;
        writer.value("i16", i16::MIN)?.value("u32", u32::MAX)?.value("i32", i32::MIN)?.value("f32", 0.1f32)?;
        writer.value("yes", true)?.value("no", false)?.value("text", "größer als ∅".to_string())?;
        writer.value("u64", u64::MAX)?.value("i64", i64::MIN)?.value("f64", 0.1f64)?;
        writer.value("texts", ["a", "", "<s>"])?.value("ints", vec![1i32, -2, 3])?;
        writer.value("floats", [0.5f32, -1.25])?.value("bools", &[true, false, true][..])?;
        writer.value("u64s", [1, 1u64 << 63])?.value("bytes", [7u8, 0, 255])?.alignment(64)?;
        Ok(())
    };
    build().expect("sound values");
    for tensor in file.tensors() {
        writer.tensor(tensor.name(), tensor.tensor_type().expect("known"), tensor.shape()).expect("sound");
    }
    let mut data = writer.begin(Vec::new()).expect("memory");
    for (i, tensor) in file.tensors().enumerate() {
        let bytes = tensor.bytes().expect("there");
        let (name, parts) = (tensor.name(), bytes.chunks(1 + 100 * i));
        parts.into_iter().try_for_each(|part| data.part(name, part)).expect("in order");
    }
    assert!(data.finish().expect("complete") == KINDS);
}

/// The values of an array.
fn flat<'a>(value: &Value<'a>) -> Vec<Value<'a>> {
    match value {
        Value::Array(array) => array.values().collect(),
        other => panic!("{other:?} is no array"),
    }
}

#[test]
fn metadata_come_back() {
    let inner =
        GgufValue::array([GgufValue::from(vec![1u16, 2]), GgufValue::from(Vec::<u16>::new())]).expect("one type");
    let mut writer = GgufWriter::new();
    writer.value("nested", GgufValue::array([inner.clone(), inner]).expect("one type")).expect("new");
    writer.value("empty", Vec::<String>::new()).expect("new");
    let bytes = writer.begin(Vec::new()).and_then(|data| data.finish()).expect("no tensors");
    let file = GgufFile::parse(&bytes).expect("whole");
    let metadata: Vec<_> = file.metadata().collect();
    let outer = flat(&metadata[0].1);
    assert_eq!(outer.len(), 2);
    for middle in outer {
        let inner: Vec<_> = flat(&middle).iter().map(flat).collect();
        assert_eq!(inner, [vec![Value::Unsigned(1), Value::Unsigned(2)], vec![]]);
    }
    assert_eq!((metadata[1].0, flat(&metadata[1].1)), ("empty", vec![]));
    assert_eq!(file.tensors().count(), 0);
}

/// Random tensors of every type come back, whatever the alignment; every tensor begins at a multiple of it.
#[test]
fn tensors_come_back() {
    let mut random = Random(11);
    for alignment in [8, 16, 32, 256, 65536] {
        let mut writer = GgufWriter::new();
        writer.alignment(alignment).expect("a power of two");
        let mut expected: Vec<(String, GgufTensorType, Vec<usize>, Vec<u8>)> = Vec::new();
        for gguf_type in GgufType::ALL {
            let shape = [1 + random.below(3), 1 + random.below(4), gguf_type.block() * random.below(3)];
            let blocks =
                crate::ggml::random_blocks(gguf_type, shape.iter().product::<usize>() / gguf_type.block(), &mut random);
            expected.push((gguf_type.name().to_string(), gguf_type.into(), shape.to_vec(), blocks));
        }
        for element in [ElementType::Float32, ElementType::Float16, ElementType::Bfloat16] {
            for rank in 0..5 {
                let shape: Vec<usize> = (0..rank).map(|_| 1 + random.below(4)).collect();
                let bytes = random.bytes(shape.iter().product::<usize>() * element.bytes());
                expected.push((format!("{element:?} {rank}"), element.into(), shape, bytes));
            }
        }
        for (name, tensor_type, shape, _) in &expected {
            writer.tensor(name, *tensor_type, shape).expect("sound");
        }
        let mut data = writer.begin(Vec::new()).expect("memory");
        expected.iter().for_each(|(name, .., bytes)| data.tensor(name, bytes).expect("in order"));
        let bytes = data.finish().expect("complete");
        assert!(bytes.len().is_multiple_of(alignment as usize));
        let file = GgufFile::parse(&bytes).expect("whole");
        let got: Vec<_> = file
            .tensors()
            .map(|t| {
                (t.name().to_string(), t.tensor_type().expect("known"), t.shape(), t.bytes().expect("there").to_vec())
            })
            .collect();
        assert!(got == expected, "alignment {alignment}");
        for tensor in file.tensors() {
            let place = tensor.bytes().expect("there").as_ptr() as usize - bytes.as_ptr() as usize;
            assert!(place.is_multiple_of(alignment as usize), "{} at {place}", tensor.name());
        }
    }
}

/// A place that takes some bytes and then fails.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(io::Error::other("the disk is full"));
        }
        let taken = bytes.len().min(self.0);
        self.0 -= taken;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn refused_requests() {
    let mut writer = GgufWriter::new();
    for alignment in [0, 1, 4, 48, 1 << 17] {
        refused(writer.alignment(alignment), &["power of two", &alignment.to_string()]);
    }
    writer.value("a", 1u8).expect("new");
    refused(writer.value("a", 2u8), &["a value for \"a\"", "once"]);
    refused(writer.value("", 2u8), &["0 bytes", "1 to 65535"]);
    refused(writer.value(&"k".repeat(70_000), 2u8), &["70000 bytes"]);
    refused(writer.value("general.alignment", 64u32), &["GgufWriter::alignment"]);
    writer.tensor("w", GgufType::Q4_0, [2, 64]).expect("sound");
    refused(writer.tensor("w", GgufType::Q4_0, [2, 64]), &["a tensor \"w\"", "once"]);
    refused(writer.alignment(64), &["after the tensor \"w\""]);
    refused(writer.tensor("v", GgufType::Q4_K, [2, 64]), &["rows of 64", "Q4_K", "256"]);
    refused(writer.tensor("v", GgufType::Q4_0, []), &["rows of 1 "]);
    refused(writer.tensor("v", ElementType::Int32, [2, 64]), &["Int32", "Float32"]);
    refused(writer.tensor("v", ElementType::Float32, [1; 5]), &["5 dimensions", "at most 4"]);
    refused(writer.tensor("v", ElementType::Float32, [usize::MAX, 2, 2]), &["larger than a file"]);
    refused(writer.tensor("v", ElementType::Float32, [1 << 31, 1 << 31]), &["larger than a file"]);
    refused(writer.tensor("v", ElementType::Float32, [usize::MAX, 0]), &["larger than a file"]);
    refused(writer.tensor("v", ElementType::Float32, [usize::MAX / 2, 0, 2]), &["larger than a file"]);
    refused(writer.tensor(&"n".repeat(64), ElementType::Float32, [1]), &["64 bytes", "1 to 63"]);
    refused(writer.tensor("", ElementType::Float32, [1]), &["0 bytes"]);
    refused(GgufValue::array([]), &["no type"]);
    refused(GgufValue::array([1u8.into(), 1i8.into()]), &["u8 and i8"]);
    let mut deep = GgufValue::from([1u8]);
    for _ in 0..3 {
        deep = GgufValue::array([deep]).expect("four deep");
    }
    refused(GgufValue::array([deep]), &["5 deep"]);

    writer.tensor("v", ElementType::Float16, [3]).expect("sound");
    let mut data = writer.clone().begin(Vec::new()).expect("memory");
    refused(data.tensor("v", &[0; 6]), &["next tensor is \"w\"", "\"v\""]);
    refused(data.tensor("w", &[0; 71]), &["72 bytes", "71 were given"]);
    data.part("w", &[0; 70]).expect("some");
    refused(data.part("w", &[0; 3]), &["2 bytes left", "3 were given"]);
    refused(data.tensor("w", &[0; 72]), &["needs 2 bytes"]);
    data.part("w", &[0; 2]).expect("the rest");
    data.tensor("v", &[0; 6]).expect("in order");
    refused(data.tensor("v", &[0; 6]), &["after the last tensor"]);
    let bytes = data.finish().expect("complete");
    assert_eq!(GgufFile::parse(&bytes).expect("whole").tensors().count(), 2);
    let unfinished = writer.clone().begin(Vec::new()).expect("memory");
    refused(unfinished.finish().map(drop), &["2 tensors are missing", "\"w\"", "0 of 72"]);

    // A write may fail at any byte. Nothing after it is written.
    for room in 0..bytes.len() {
        let mut place = Full(room);
        let Ok(mut data) = writer.clone().begin(&mut place) else { continue };
        let first = data.tensor("w", &[0; 72]);
        match first {
            Ok(()) => refused(data.tensor("v", &[0; 6]), &["can't be written", "disk is full"]),
            Err(_) => refused(first, &["can't be written", "disk is full"]),
        }
        for name in ["w", "v"] {
            assert!(data.tensor(name, &[0; 6]).is_err());
        }
        assert!(data.finish().is_err());
    }
    refused(writer.begin(Full(3)).map(drop), &["can't be written", "disk is full"]);
}

#[test]
fn parts_are_one_model() {
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    for order in orders {
        let model = GgufModel::parse(&order.map(|i| PARTS[i])).expect("parts of gguf-py");
        let keys: Vec<_> = model.metadata().map(|(key, _)| key).collect();
        assert!(keys.contains(&"test.block_count") && keys.contains(&"split.count"));
        assert_eq!(model.parts().len(), 3);
        for (i, tensor) in model.tensors().enumerate() {
            assert_eq!((tensor.name(), tensor.shape()), (&format!("blk.{i}.w")[..], vec![2, 2]));
            let numbers = [0.0, 1.0, 2.0, 3.0].map(|x| x + i as f32);
            assert_eq!(tensor.floats().expect("F32").values::<f32>().expect("float32"), numbers);
            assert_eq!(
                model.tensor(tensor.name()).expect("there").bytes().expect("there"),
                tensor.bytes().expect("there")
            );
        }
        assert_eq!(model.tensors().count(), 5);
        refused(model.tensor("blk.9.w"), &["no tensor \"blk.9.w\""]);
    }
    let whole = GgufModel::parse(&[KINDS]).expect("a model in one file");
    assert_eq!(whole.tensors().count(), 31);
    // In one file again: the keys of parts are gone.
    let first = GgufFile::parse(PARTS[0]).expect("whole");
    let copied = copy(&first).expect("F32");
    let keys: Vec<_> = GgufFile::parse(&copied).expect("whole").metadata().map(|(key, _)| key.to_string()).collect();
    assert_eq!(keys, ["general.architecture", "test.block_count", "tokenizer.ggml.tokens"]);
    // Values that are set before replace those of the file.
    let mut writer = GgufWriter::new();
    writer.alignment(128).expect("first").value("test.block_count", 9u64).expect("new");
    writer.metadata(&first).expect("sound").metadata(&GgufFile::parse(KINDS).expect("whole")).expect("sound");
    let bytes = writer.begin(Vec::new()).and_then(|data| data.finish()).expect("no tensors");
    let metadata: Vec<_> = GgufFile::parse(&bytes).expect("whole").metadata().collect();
    assert_eq!(metadata[..2], [("general.alignment", Value::Unsigned(128)), ("test.block_count", Value::Unsigned(9))]);
    assert_eq!(metadata.len(), 4 + 19);
}

/// Empty tensors come back, if a tensor can have their dimensions.
#[test]
fn empty_tensors_are_read() {
    let mut writer = GgufWriter::new();
    for (name, shape) in [("few", [7, 0]), ("none", [0, 7]), ("most", [i32::MAX as usize, 0]), ("many", [1 << 62, 0])] {
        writer.tensor(name, ElementType::Float32, shape).expect("sound");
    }
    let mut data = writer.begin(Vec::new()).expect("a vector");
    ["few", "none", "most", "many"].into_iter().for_each(|name| data.tensor(name, &[]).expect("empty"));
    let bytes = data.finish().expect("all tensors");
    let file = GgufFile::parse(&bytes).expect("whole");
    let floats = |name: &str| file.tensor(name).and_then(|tensor| tensor.floats());
    for (name, dims) in [("few", [7, 0]), ("none", [0, 7]), ("most", [i32::MAX as usize, 0])] {
        assert_eq!(floats(name).expect(name).dims(), dims);
    }
    refused(floats("many"), &["split the tensor"]);
    // Dimensions whose product can't be counted are refused by readers as by writers.
    let mut damaged = bytes.clone();
    let many = damaged.windows(4).position(|w| w == b"many").expect("its name") + 4;
    damaged[many + 4..many + 12].copy_from_slice(&3u64.to_le_bytes());
    refused(GgufFile::parse(&damaged), &["\"many\"", "more than a file can hold"]);
}

/// A file keeps its alignment when it is copied, also one that no writer would choose.
#[test]
fn odd_alignments_are_copied() {
    let mut writer = GgufWriter::new();
    writer.alignment(64).expect("sound");
    let at = writer.begin(Vec::new()).and_then(|data| data.finish()).expect("no tensors");
    let place = at.windows(4).position(|w| w == 64u32.to_le_bytes()).expect("the alignment");
    for alignment in [1u32, 3, 48, 65_535] {
        let mut bytes = at.clone();
        bytes[place..place + 4].copy_from_slice(&alignment.to_le_bytes());
        let file = GgufFile::parse(&bytes).expect("readers know it");
        let mut writer = GgufWriter::new();
        writer.metadata(&file).expect("a file's alignment");
        for name in ["a", "b"] {
            writer.tensor(name, ElementType::Float16, [3]).expect("sound");
        }
        let mut data = writer.begin(Vec::new()).expect("a vector");
        data.tensor("a", &[1; 6]).expect("six bytes");
        data.tensor("b", &[2; 6]).expect("six bytes");
        let copied = data.finish().expect("all tensors");
        let file = GgufFile::parse(&copied).expect("whole");
        let second = file.tensor("b").and_then(|tensor| tensor.bytes()).expect("whole");
        assert_eq!(second, [2; 6]);
        assert!(
            (second.as_ptr() as usize - copied.as_ptr() as usize).is_multiple_of(alignment as usize),
            "{alignment}"
        );
    }
}

/// A part with these values of its keys, and one tensor.
fn part(keys: &[(&str, GgufValue)], tensor: &str) -> Vec<u8> {
    let mut writer = GgufWriter::new();
    for (key, value) in keys {
        writer.value(key, value.clone()).expect("new");
    }
    writer.tensor(tensor, ElementType::Float32, [1]).expect("sound");
    let mut data = writer.begin(Vec::new()).expect("memory");
    data.tensor(tensor, &[0; 4]).expect("in order");
    data.finish().expect("complete")
}

#[test]
fn parts_that_are_no_model() {
    let [a, b, c] = PARTS;
    refused(GgufModel::parse(&[]), &["no files"]);
    refused(GgufModel::parse(&[a, c]), &["part 2 of 3 is missing", "2 parts were given", "-of-00003.gguf"]);
    refused(GgufModel::parse(&[a, b]), &["part 3 of 3 is missing"]);
    refused(GgufModel::parse(&[b, c]), &["part 1 of 3 is missing"]);
    refused(GgufModel::parse(&[a]), &["part 2 of 3 is missing", "1 parts were given"]);
    refused(GgufModel::parse(&[a, b, c, b]), &["part 2 of 3 was given twice"]);
    refused(GgufModel::parse(&[a, b, KINDS]), &["file 3 is no part", "split.count"]);
    refused(GgufModel::parse(&[KINDS, a]), &["file 1 is no part"]);
    refused(GgufModel::parse(&[a, &b[..100], c]), &["file 2 of 3", "truncated"]);
    let split = |number: u16, count: u16, tensors: i32, architecture: &str| {
        vec![
            ("split.no", GgufValue::from(number)),
            ("split.count", count.into()),
            ("split.tensors.count", tensors.into()),
            ("general.architecture", architecture.into()),
        ]
    };
    let of = |keys: Vec<(&str, GgufValue)>, tensor: &str| part(&keys, tensor);
    let parse = |parts: &[Vec<u8>]| GgufModel::parse(&parts.iter().map(|part| &part[..]).collect::<Vec<_>>()).map(drop);
    let first = of(split(0, 2, 2, "x"), "a");
    assert!(parse(&[first.clone(), of(split(1, 2, 2, "x"), "b")]).is_ok());
    refused(parse(&[first.clone(), of(split(1, 3, 2, "x"), "b")]), &["one of 3 parts", "one of 2", "different models"]);
    refused(parse(&[first.clone(), of(split(1, 2, 7, "x"), "b")]), &["7 tensors", "different models"]);
    refused(
        parse(&[first.clone(), of(split(1, 2, 2, "y"), "b")]),
        &["part 2", "\"general.architecture\"", "different"],
    );
    refused(parse(&[first.clone(), of(split(1, 2, 2, "x"), "a")]), &["both have a tensor \"a\""]);
    refused(parse(&[of(split(2, 2, 2, "x"), "a")]), &["split.no is 2", "2 parts"]);
    let three = |number: u16, name: &str| of(split(number, 2, 3, "x"), name);
    refused(parse(&[three(0, "a"), three(1, "b")]), &["2 tensors", "has 3", "damaged"]);
    let odd = |key, value: GgufValue| {
        let mut keys = split(0, 2, 2, "x");
        keys.iter_mut().filter(|(of, _)| *of == key).for_each(|(_, of)| *of = value.clone());
        parse(&[of(keys, "a")])
    };
    refused(odd("split.no", "one".into()), &["split.no is a text"]);
    refused(odd("split.count", (-2i32).into()), &["split.count is -2"]);
    refused(odd("split.count", u64::MAX.into()), &["part 2 of 18446744073709551615 is missing"]);
    let unnumbered: Vec<_> = split(0, 2, 2, "x").into_iter().skip(1).collect();
    refused(parse(&[of(unnumbered, "a")]), &["no split.no"]);
    // A whole model with a count.
    assert!(parse(&[of(split(0, 1, 1, "x"), "a")]).is_ok());
}

#[test]
fn names_of_parts() {
    let names = gguf::part_names("a/b-of-c-00002-of-00011.gguf");
    assert_eq!(
        (names.len(), &names[0][..], &names[10][..]),
        (11, "a/b-of-c-00001-of-00011.gguf", "a/b-of-c-00011-of-00011.gguf")
    );
    for whole in [
        "m.gguf",
        "",
        "m-00001-of-00002",
        "m-1-of-2.gguf",
        "m-00003-of-00002.gguf",
        "m-00000-of-00002.gguf",
        "é-0000é-of-00002.gguf",
    ] {
        assert_eq!(gguf::part_names(whole), [whole]);
    }
}
