//! bitsandbytes' weights: cases that its own package made and dequantized (`scripts/bitsandbytes-cases`), refused ones, and products.

use lowbit::import::bitsandbytes::{FourBit, Int8};
use lowbit::import::checkpoint::Model;
use lowbit::import::{Array, ElementType, Safetensors};
use lowbit::ops::{Embedding, Linear};
use lowbit::weights::{Codes, GroupScaleRule, PackedWeights, Quantizer, ScaleFormat, WeightFormat};
use lowbit::{Tensor, TensorType, reference};

use crate::refused::refused;
use crate::{Random, assert_weights};

pub(crate) const CASES: &[u8] = include_bytes!("../data/bitsandbytes/cases.safetensors");

/// Name of the case, and columns of a group.
pub(crate) const FOUR_BIT: [(&str, usize); 8] = [
    ("plain", 64),
    ("nested", 64),
    ("within", 32),
    ("short", 16),
    ("odd", 1),
    ("one_row", 64),
    ("wide", 128),
    ("experts", 64),
];

fn floats(array: &Array<'_>) -> Vec<f32> {
    array.bytes().as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

#[test]
fn four_bits_are_those_of_the_package() {
    let file = Safetensors::parse(CASES).expect("a whole file");
    for (name, group) in FOUR_BIT {
        let weight = FourBit::read(&file, &format!("{name}.weight")).expect("whole");
        let weights = weight.weights().expect("sound");
        assert_eq!(weights.format().group, group, "{name}");
        let real = file.array(&format!("{name}.real")).expect("there");
        let [experts, n, k] = weights.dims();
        let dims = if experts == 1 { vec![n, k] } else { vec![experts, n, k] };
        assert_eq!(real.shape(), dims, "{name}");
        assert_weights(name, &weights, &floats(&real));
    }
}

#[test]
fn layers_are_recognized() {
    let model = Model::parse(&[CASES], "").expect("a whole file");
    for (name, _) in FOUR_BIT {
        let layer = model.layer(name).expect("there");
        assert_eq!((&layer.name[..], &layer.format[..]), (name, "bitsandbytes, 4 bits"));
        let file = Safetensors::parse(CASES).expect("a whole file");
        let weights = FourBit::read(&file, &format!("{name}.weight")).and_then(|weight| weight.weights());
        let real =
            |weights: lowbit::Result<PackedWeights>| weights.and_then(|weights| weights.dequantize()).expect("sound");
        assert_eq!(real(layer.weights()), real(weights));
    }
    let layer = model.layer("int8").expect("there");
    assert_eq!(&layer.format[..], "bitsandbytes, 8 bits");
    assert!(layer.weights().is_ok());
    let beside = ["absmax", "quant_map", "bitsandbytes__", "SCB", "weight_format"];
    for layer in model.layers() {
        assert!(!beside.iter().any(|part| layer.name.contains(part)), "{} is no layer", layer.name);
    }
}

#[test]
fn tables_are_those_of_the_package() {
    let file = Safetensors::parse(CASES).expect("a whole file");
    for (name, codes) in [("plain", Codes::NF4), ("short", Codes::FP4_BNB)] {
        let map = file.array(&format!("{name}.weight.quant_map")).expect("there");
        assert_eq!(codes.table().map(|table| table.to_vec()), Some(floats(&map)), "{name}");
    }
}

/// The crate's quantizer makes bitsandbytes' numbers of these.
#[test]
fn quantizer_makes_the_numbers_of_the_package() {
    let file = Safetensors::parse(CASES).expect("a whole file");
    for (name, codes) in [("nf4", Codes::NF4), ("fp4", Codes::FP4_BNB)] {
        let [numbers, expected] =
            ["numbers", "quantized"].map(|part| floats(&file.array(&format!("{name}.{part}")).expect("there")));
        let format = WeightFormat::new(codes, 64, ScaleFormat::F32);
        let quantizer = Quantizer::new(format).and_then(|q| q.rule(GroupScaleRule::Narrow)).expect("a rule of scales");
        let weights = quantizer.quantize(&Tensor::new([4, 128], numbers).expect("a matrix")).expect("finite");
        assert_weights(name, &weights, &expected);
    }
}

#[test]
fn int8_is_that_of_the_package() {
    let file = Safetensors::parse(CASES).expect("a whole file");
    let weights = Int8::read(&file, "int8").expect("whole").weights().expect("sound");
    assert_weights("int8", &weights, &floats(&file.array("int8.real").expect("there")));
    // The other definition differs by the rounding of two products.
    let other = floats(&file.array("int8.vectorwise").expect("there"));
    let real = weights.dequantize().expect("small");
    for (&a, b) in real.values::<f32>().expect("float32").iter().zip(other) {
        assert!((a - b).abs() <= 2.0 * f32::EPSILON * a.abs(), "{a:e} and {b:e}");
    }
}

#[test]
fn refused_weights() {
    let file = Safetensors::parse(CASES).expect("a whole file");
    refused(FourBit::read(&file, "int8.weight"), &["int8.weight", "quant_state.bitsandbytes__nf4"]);
    refused(Int8::read(&file, "plain"), &["plain.SCB"]);
    let of = |name: &str| FourBit::read(&file, &format!("{name}.weight")).expect("whole");
    let changed = |name: &str, change: &dyn Fn(&mut FourBit<'_>)| {
        let mut weight = of(name);
        change(&mut weight);
        weight.weights()
    };
    refused(changed("plain", &|w| w.block = 0), &["blocks of 0"]);
    refused(changed("plain", &|w| w.block = 32), &["absmax has 12 numbers", "24"]);
    refused(changed("plain", &|w| w.shape = vec![6, 127]), &["[6, 127]", "384 bytes"]);
    refused(changed("plain", &|w| w.shape = vec![usize::MAX, 3]), &["384 bytes"]);
    refused(changed("plain", &|w| w.shape = vec![768]), &["[768]", "two or three dimensions"]);
    refused(changed("plain", &|w| w.quant_map = w.absmax.clone()), &["quant_map is [12]"]);
    refused(changed("nested", &|w| w.nested = None), &["absmax holds Uint8", "Float32"]);
    refused(
        changed("nested", &|w| w.nested.as_mut().expect("nested").block = 128),
        &["nested_absmax has 2 numbers", "3"],
    );
    refused(changed("nested", &|w| w.nested.as_mut().expect("nested").offset = f32::INFINITY), &["inf", "damaged"]);
    // Neighbours that share a scale in all rows are one: 4 bits and 32 for each.
    let bytes = vec![0; 4097 * 4097 / 2 + 1];
    let weight = Array::new(ElementType::Uint8, [bytes.len(), 1], &bytes).expect("right size");
    let scales = vec![0; (4097usize * 4097).div_ceil(64) * 4];
    let absmax = Array::new(ElementType::Float32, [scales.len() / 4], &scales).expect("right size");
    let map = file.array("plain.weight.quant_map").expect("there");
    let crossing = FourBit::new(weight, absmax, map, 64, [4097, 4097]);
    refused(crossing.weights(), &["blocks of 64", "next row of 4097", "only 1 neighbours", "several times"]);

    let scb = 1f32.to_le_bytes();
    let int8 =
        |shape: [usize; 2], bytes: &'static [u8]| Array::new(ElementType::Int8, shape, bytes).expect("right size");
    let scales = Array::new(ElementType::Float32, [1], &scb).expect("right size");
    refused(Int8::new(int8([2, 1], &[1, 2]), scales.clone()).weights(), &["SCB has 1 numbers", "2 rows"]);
    refused(Int8::new(scales.clone(), scales).weights(), &["weight holds Float32", "Int8"]);
}

/// Products by the reference are those of the package's numbers; int8 activations are refused.
#[test]
fn products_are_of_floats() {
    let file = Safetensors::parse(CASES).expect("a whole file");
    let mut random = Random(8);
    for (name, k) in [("nested", 256), ("within", 96), ("wide", 256)] {
        let weights = FourBit::read(&file, &format!("{name}.weight")).and_then(|w| w.weights()).expect("sound");
        let real = floats(&file.array(&format!("{name}.real")).expect("there"));
        let x: Vec<f32> = (0..2 * k).map(|_| random.real()).collect();
        let lhs = Tensor::new([2, k], x.clone()).expect("a matrix");
        let op = Linear::new(lhs.tensor_type().clone(), weights.clone()).build().expect("fits");
        let product = reference::run(&op.into(), &[&lhs]).expect("sound");
        let n = real.len() / k;
        for (i, &got) in product[0].values::<f32>().expect("float32").iter().enumerate() {
            let (row, column) = (i / n, i % n);
            let terms = (0..k).map(|l| f64::from(x[row * k + l]) * f64::from(real[column * k + l]));
            let (sum, size) = terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()));
            // The reference multiplies exact codes by scales, the package's numbers are rounded once.
            assert!((f64::from(got) - sum).abs() <= 2f64.powi(-23) * size, "{name} {row} {column}: {got} of {sum}");
        }
        let codes = TensorType::new(lowbit::DType::Int8, [2, k]).expect("small");
        refused(
            Linear::new(codes.quantized(lowbit::Quantization::tensor(1.0, 0)).expect("a scale"), weights).build(),
            &["int8 holds no 4-bit table"],
        );
    }
    let weights = FourBit::read(&file, "odd.weight").and_then(|w| w.weights()).expect("sound");
    let indices = Tensor::new([2], vec![2, 0]).expect("small");
    let op = Embedding::new(indices.tensor_type().clone(), weights).build().expect("fits");
    let rows = reference::run(&op.into(), &[&indices]).expect("sound");
    let real = floats(&file.array("odd.real").expect("there"));
    assert_eq!(rows[0].values::<f32>().expect("float32"), [&real[66..], &real[..33]].concat());
}
