//! Layers that the packages of the formats quantized and dequantized (`scripts/quantized-layers`), which lie in `tests/data/import`.

use lowbit::import::compressed_tensors::{CompressedTensors, Scheme};
use lowbit::import::float4::Float4;
use lowbit::import::float8::Float8;
use lowbit::import::gptq::{self, Gptq, ZeroPoints};
use lowbit::import::hqq::Hqq;
use lowbit::import::mlx::{Mlx, Mode};
use lowbit::import::quanto::Quanto;
use lowbit::import::{Activations, Safetensors};
use lowbit::weights::PackedWeights;
use lowbit::{DType, Result};
use serde_json::Value;

use crate::assert_weights;

/// The bytes of a file in `tests/data/import`.
pub(crate) fn file(package: &str) -> Vec<u8> {
    std::fs::read(format!("tests/data/import/{package}.safetensors")).expect("test data")
}

/// The names of a file's layers, and the configuration of each.
pub(crate) fn layers(file: &Safetensors<'_>) -> Vec<(String, Value)> {
    let text = file.metadata("layers").expect("the script writes it");
    let layers: serde_json::Map<String, Value> = serde_json::from_str(&text).expect("JSON");
    layers.into_iter().collect()
}

fn number(about: &Value, name: &str) -> usize {
    about[name].as_u64().expect("a number") as usize
}

pub(crate) fn shape(about: &Value) -> [usize; 2] {
    [0, 1].map(|i| about["shape"][i].as_u64().expect("a size") as usize)
}

pub(crate) fn mode(about: &Value) -> Mode {
    match about["mode"].as_str() {
        Some("affine") => Mode::Affine { bits: number(about, "bits"), group: number(about, "group_size") },
        Some("mxfp4") => Mode::Mxfp4,
        Some("mxfp8") => Mode::Mxfp8,
        _ => Mode::Nvfp4,
    }
}

/// A layer of GPTQModel or AutoRound.
pub(crate) fn gptq<'a>(file: &Safetensors<'a>, name: &str, about: &Value) -> Result<Gptq<'a>> {
    let form = about["checkpoint_format"].as_str().or(about["packing_format"].as_str()).expect("a format");
    let (zeros, packing) = match form {
        "gptq" | "auto_round:auto_gptq" => (ZeroPoints::LessOne, gptq::Packing::Stream),
        "gptq_p" => (ZeroPoints::AsIs, gptq::Packing::Planes),
        _ => (ZeroPoints::AsIs, gptq::Packing::Stream),
    };
    let layer = Gptq::read(file, name, number(about, "bits"), number(about, "group_size"), zeros)?;
    Ok(layer.with_packing(packing))
}

/// Reads a layer as its package's importer does.
pub(crate) fn read(package: &str, file: &Safetensors<'_>, name: &str, about: &Value) -> Result<PackedWeights> {
    match package {
        "mlx" => Mlx::read(file, name, mode(about))?.weights(),
        "hqq" => Hqq::read(file, name)?.weights(),
        "optimum-quanto" => Quanto::read(file, name, shape(about))?.weights(),
        "nvidia-modelopt" if about["quant_algo"] == "FP8" => Float8::read(file, name, None)?.weights(),
        "nvidia-modelopt" => Float4::read(file, name)?.weights(),
        "gptqmodel" | "auto-round" => gptq(file, name, about)?.weights(),
        _ => CompressedTensors::read(file, name, Scheme::parse(&about.to_string())?)?.weights(),
    }
}

/// Compares all layers of a package. `close` tells those that may differ, with the difference in units in the last place that they
/// reach: 0 if only the sign of zero differs.
fn compare(package: &str, count: usize, close: impl Fn(&str) -> Option<u32>) {
    let bytes = file(package);
    let file = Safetensors::parse(&bytes).expect("a whole file");
    let layers = layers(&file);
    assert_eq!(layers.len(), count);
    for (name, about) in layers {
        let what = format!("{package} {name}");
        let weights = read(package, &file, &name, &about).unwrap_or_else(|error| panic!("{what}: {error}"));
        let expected = file.array(&format!("{name}.expected")).expect("there");
        let expected: Vec<f32> =
            expected.bytes().chunks_exact(4).map(|x| f32::from_le_bytes(x.try_into().expect("4 bytes"))).collect();
        let Some(most) = close(&name) else {
            assert_weights(&what, &weights, &expected);
            continue;
        };
        let real = weights.dequantize().expect("small");
        let real = real.values::<f32>().expect("float32");
        assert_eq!(real.len(), expected.len(), "{what}");
        let worst = real.iter().zip(&expected).map(|(&a, &b)| ulps(a, b)).max().unwrap_or(0);
        assert_eq!(worst, most, "{what}: units in the last place");
    }
}

/// The distance of two numbers of one sign in units in the last place. Zeros are equal.
fn ulps(a: f32, b: f32) -> u32 {
    if a == b {
        0
    } else if a.signum() == b.signum() {
        a.to_bits().abs_diff(b.to_bits())
    } else {
        u32::MAX
    }
}

#[test]
fn compressed_tensors_layers() {
    // Scales are divided by the global number there, and multiplied by its reciprocal here.
    compare("compressed-tensors", 34, |name| (name == "nvfp4-odd").then_some(1));
    compare("compressed-tensors-0.9", 8, |_| None);
}

#[test]
fn modelopt_layers() {
    // Its table has a zero without sign in the place of -0.
    compare("nvidia-modelopt", 4, |name| name.starts_with("nvfp4").then_some(0));
}

#[test]
fn mlx_layers() {
    compare("mlx", 21, |_| None);
}

#[test]
fn hqq_layers() {
    compare("hqq", 10, |_| None);
}

#[test]
fn quanto_layers() {
    compare("optimum-quanto", 11, |_| None);
}

/// Zero points from 0 up, in v1 files less one as whole words; bits in a stream and in planes.
#[test]
fn gptqmodel_layers() {
    compare("gptqmodel", 15, |_| None);
}

#[test]
fn auto_round_layers() {
    compare("auto-round", 14, |_| None);
}

/// The activations that the files ask for.
#[test]
fn compressed_tensors_activations() {
    let bytes = file("compressed-tensors");
    let file = Safetensors::parse(&bytes).expect("a whole file");
    let layers = layers(&file);
    let activations = |name: &str| {
        let (_, about) = layers.iter().find(|(layer, _)| layer == name).expect("there");
        let scheme = Scheme::parse(&about.to_string()).expect("a scheme");
        CompressedTensors::read(&file, name, scheme).expect("whole").activations().expect("known")
    };
    assert_eq!(activations("group4"), Activations::Float);
    let row = usize::MAX;
    assert_eq!(activations("w8a8"), Activations::Dynamic { dtype: DType::Int8, group: row, symmetric: true });
    assert_eq!(activations("w8a8-static"), Activations::Static { dtype: DType::Int8, scale: 0.037, zero_point: -7 });
    let e4m3 = DType::Float8E4M3Fn;
    assert_eq!(activations("fp8-tensor"), Activations::Static { dtype: e4m3, scale: 0.25, zero_point: 0 });
    assert_eq!(activations("fp8-block"), Activations::Dynamic { dtype: e4m3, group: 128, symmetric: true });
    assert_eq!(activations("nvfp4"), Activations::Dynamic { dtype: DType::Float4E2M1, group: 16, symmetric: true });
}
