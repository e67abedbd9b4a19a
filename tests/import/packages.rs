//! Layers that the packages of the formats quantized and dequantized (`scripts/quantized-layers`), which lie in `tests/data/import`.

use lowbit::import::checkpoint::Model;
use lowbit::import::compressed_tensors::{CompressedTensors, Scheme};
use lowbit::import::float4::Float4;
use lowbit::import::float8::Float8;
use lowbit::import::gptq::{self, Gptq, ZeroPoints};
use lowbit::import::hqq::Hqq;
use lowbit::import::marlin::Marlin;
use lowbit::import::mlx::{Mlx, Mode};
use lowbit::import::quanto::Quanto;
use lowbit::import::{Activations, ElementType, Safetensors};
use lowbit::weights::PackedWeights;
use lowbit::{DType, Result};
use serde_json::Value;

use crate::assert_weights;

/// The files.
pub(crate) const PACKAGES: [&str; 9] = [
    "compressed-tensors",
    "compressed-tensors-0.9",
    "nvidia-modelopt",
    "mlx",
    "hqq",
    "optimum-quanto",
    "gptqmodel",
    "auto-round",
    "marlin",
];

/// The name of a type in safetensors files.
pub(crate) fn dtype(of: ElementType) -> &'static str {
    match of {
        ElementType::Uint8 => "U8",
        ElementType::Int8 => "I8",
        ElementType::Int32 => "I32",
        ElementType::Int64 => "I64",
        ElementType::Float16 => "F16",
        ElementType::Bfloat16 => "BF16",
        ElementType::Float4E2M1 => "F4",
        ElementType::Float8E4M3 => "F8_E4M3",
        ElementType::Float8E5M2 => "F8_E5M2",
        ElementType::Float8E8M0 => "F8_E8M0",
        _ => "F32",
    }
}

/// A model's configuration with a layer's: that itself, or a group of compressed-tensors.
pub(crate) fn config(about: &Value) -> Value {
    match about.get("weights") {
        Some(_) => serde_json::json!({"quantization_config": {
            "quant_method": "compressed-tensors",
            "config_groups": {"group_0": about},
        }}),
        None => serde_json::json!({"model_type": "tests", "quantization_config": about}),
    }
}

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
        "marlin" => Marlin::read(file, name)?.weights(),
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

/// The package needs CUDA; its order is written in numpy.
#[test]
fn marlin_layers() {
    compare("marlin", 2, |_| None);
}

/// A model finds the same layers, and says of what they are.
#[test]
fn layers_are_recognized() {
    for package in PACKAGES {
        let bytes = file(package);
        let file = Safetensors::parse(&bytes).expect("a whole file");
        for (name, about) in layers(&file) {
            let model = Model::parse(&[&bytes], &config(&about).to_string()).expect("a model");
            let layer = model.layer(&name).expect("there");
            let what = format!("{package} {name}, {}", layer.format);
            if package == "optimum-quanto" && name.starts_with("qint") && !name.ends_with('8') {
                assert!(layer.weights().is_err_and(|error| error.to_string().contains("Quanto::read")), "{what}");
                continue;
            }
            let weights = layer.weights().unwrap_or_else(|error| panic!("{what}: {error}"));
            let [_, n, k] = weights.dims();
            assert_eq!(layer.shape, [n, k], "{what}");
            let direct = read(package, &file, &name, &about).expect("as above");
            assert_eq!((weights.format(), weights.words().ok()), (direct.format(), direct.words().ok()), "{what}");
            assert!(
                layer.group.is_none_or(|group| group == weights.format().group || name.contains("axis0")),
                "{what}"
            );
            assert!(layer.bits_per_weight() > 1.0 && layer.is_quantized(), "{what}");
            assert!(model.layers().any(|other| other.name == name && other.format == layer.format), "{what}");
        }
    }
}

/// A folder with two files, one of which has a layer's scales, an index and a configuration.
#[cfg(not(target_arch = "wasm32"))]
#[test]
#[allow(unsafe_code, reason = "nobody else knows the folder")]
fn folders_are_opened() {
    let folder = std::env::temp_dir().join(format!("lowbit-open-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let bytes = file("gptqmodel");
    let all = Safetensors::parse(&bytes).expect("a whole file");
    let array = |name: &str| all.array(name).expect("there");
    let (codes, zeros, scales) = (array("gptq-4.qweight"), array("gptq-4.qzeros"), array("gptq-4.scales"));
    let norm = [0; 8];
    let first: [(&str, &str, &[usize], &[u8]); 2] =
        [("l.qweight", "I32", codes.shape(), codes.bytes()), ("norm.weight", "F32", &[2], &norm)];
    let second: [(&str, &str, &[usize], &[u8]); 2] =
        [("l.qzeros", "I32", zeros.shape(), zeros.bytes()), ("l.scales", "F16", scales.shape(), scales.bytes())];
    for (name, arrays) in [("model-1.safetensors", first), ("model-2.safetensors", second)] {
        std::fs::write(folder.join(name), crate::fixtures::safetensors(&arrays, &[])).expect("written");
    }
    let index = r#"{"weight_map":{"l.qweight":"model-1.safetensors","l.scales":"model-2.safetensors"}}"#;
    std::fs::write(folder.join("model.safetensors.index.json"), index).expect("written");
    let config =
        r#"{"quantization_config":{"quant_method":"gptq","bits":4,"group_size":32,"checkpoint_format":"gptq"}}"#;
    std::fs::write(folder.join("config.json"), config).expect("written");
    // SAFETY: nobody changes the files meanwhile.
    let files = unsafe { lowbit::import::open(&folder) }.expect("a folder");
    let model = files.model().expect("a model");
    assert_eq!(model.method(), "gptq");
    let found: Vec<_> = model.layers().map(|layer| (layer.name.clone(), layer.is_quantized())).collect();
    assert_eq!(found, [("l".to_string(), true), ("norm.weight".to_string(), false)]);
    let weights = model.layer("l").and_then(|layer| layer.weights()).expect("whole");
    let expected = gptq(&all, "gptq-4", &serde_json::json!({"bits": 4, "group_size": 32, "checkpoint_format": "gptq"}));
    assert_eq!(weights.words().ok(), expected.and_then(|layer| layer.weights()).expect("whole").words().ok());
    assert!(model.layer("m").is_err() && model.layer("norm").is_ok_and(|norm| norm.weights().is_err()));
    drop(files);
    std::fs::remove_dir_all(&folder).expect("removed");
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
