//! Networks of ONNX files against ONNX Runtime's answers, bit for bit where integers decide them: outputs, and every tensor of codes
//! inside. `tests/data/onnx/README.md` tells where the files are from; `scripts/onnx-networks` makes them and many more.

#[allow(dead_code, reason = "the example uses the rest")]
#[path = "../../examples/conformance/array.rs"]
mod array;
#[allow(dead_code, reason = "the example uses the rest")]
#[path = "../../examples/conformance/case.rs"]
mod case;
#[path = "../common/mod.rs"]
mod common;
#[path = "../../examples/conformance/compare.rs"]
mod compare;
mod conformance;
#[allow(dead_code, reason = "the example uses the rest")]
#[path = "../../examples/onnx/npy.rs"]
mod npy;
mod small;
mod writer;

use std::path::{Path, PathBuf};

use common::{Random, context};
use lowbit::onnx::{Arithmetic, Model, Options, read_tensor};
use lowbit::{DType, Network, Tensor, Tuner};
use npy::Array;

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// Mutated files that are read; more with `LOWBIT_MUTATIONS`, and others with `LOWBIT_SEED`.
const MUTATIONS: usize = 4_000;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/onnx")
}

fn open(name: &str) -> Result<Model> {
    Ok(Model::open(folder().join(format!("{name}.onnx")))?)
}

fn options(mode: &str) -> Options {
    Options::default().with_arithmetic(if mode == "fused" { Arithmetic::OnnxRuntime } else { Arithmetic::NodeByNode })
}

/// The inputs of a network; pictures are codes of 8 bits.
fn inputs(name: &str, network: &Network) -> Result<Vec<Tensor>> {
    let family = name.split('-').next().unwrap_or_default();
    let read = |port: &lowbit::Port| {
        let mut array = Array::read(&folder().join(format!("{family}.{}.npy", port.name)))?;
        if port.tensor_type.dtype() == DType::Float32 {
            array.values.iter_mut().for_each(|x| *x = f64::from(*x as f32 / 127.5 - 1.0));
        }
        array.tensor(&port.tensor_type)
    };
    network.inputs.iter().map(read).collect()
}

/// The largest difference of each output from the answers.
fn differences(name: &str, mode: &str, outputs: &[Tensor]) -> Result<Vec<f64>> {
    let of = |(i, got): (usize, &Tensor)| {
        let expected = Array::read(&folder().join(format!("{name}.{mode}.{i}.npy")))?;
        let got = Array::of(got)?;
        assert_eq!(got.dims, expected.dims, "{name} {mode} {i}");
        let pairs = got.values.iter().zip(&expected.values);
        Ok(pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max))
    };
    outputs.iter().enumerate().map(of).collect()
}

/// Outputs on the reference and on a device. Where no float op that ONNX leaves inexact stands between codes, they are ONNX Runtime's.
#[test]
fn outputs_are_those_of_onnx_runtime() -> Result<()> {
    // An output of softmax in codes has steps of 1/255. Floats differ in their last bits.
    let cases = [
        ("classifier-u8s8-qdq", "fused", 0.0),
        ("convnet-u8s8-qdq", "fused", 0.0),
        ("convnet-u8s8-qdq", "unfused", 0.0),
        ("convnet-s8s8-qoperator", "fused", 0.0),
        ("convnet-s8s8-qoperator", "unfused", 0.0),
        ("encoder-dynamic", "fused", 4e-6),
        ("encoder-dynamic", "unfused", 4e-6),
    ];
    let context = context();
    for (name, mode, most) in cases {
        let network = open(name)?.graph(&options(mode))?;
        let inputs = inputs(name, &network)?;
        let inputs: Vec<&Tensor> = inputs.iter().collect();
        let expected = network.graph.run_reference(&inputs)?;
        let found = differences(name, mode, &expected)?;
        println!("{name} {mode}: {found:?}");
        assert!(found.iter().all(|&difference| difference <= most), "{name} {mode}: {found:?}");
        let Some(context) = &context else { continue };
        let plan = context.plan(&network.graph, Tuner::FirstGuess)?;
        let got = plan.run_blocking(&inputs)?;
        println!("    {} ops in {} launches", network.graph.ops().len(), plan.launches());
        if most == 0.0 {
            assert_eq!(got, expected, "{name} {mode}");
        }
        let found = differences(name, mode, &got)?;
        assert!(found.iter().all(|&difference| difference <= most), "{name} {mode}: {found:?}");
    }
    Ok(())
}

/// All tensors of codes inside are ONNX Runtime's, of which the files hold shapes and hashes (FNV-1a).
#[test]
fn codes_inside_are_those_of_onnx_runtime() -> Result<()> {
    let cases = [
        ("classifier-u8s8-qdq", "fused"),
        ("convnet-u8s8-qdq", "fused"),
        ("convnet-u8s8-qdq", "unfused"),
        ("convnet-s8s8-qoperator", "fused"),
        ("convnet-s8s8-qoperator", "unfused"),
    ];
    for (name, mode) in cases {
        let network = open(name)?.graph(&options(mode).with_inner_values(true))?;
        let inputs = inputs(name, &network)?;
        let outputs = network.graph.run_reference(&inputs.iter().collect::<Vec<_>>())?;
        let text = std::fs::read_to_string(folder().join(format!("{name}.{mode}.codes.txt")))?;
        let (mut equal, mut absent) = (0, Vec::new());
        for line in text.lines() {
            let parts: Vec<&str> = line.split_whitespace().collect();
            let [value, dtype, shape, hash] = parts[..] else { return Err(format!("the line {line:?}").into()) };
            let Some(place) = network.outputs.iter().position(|port| port.name == value) else {
                absent.push(value);
                continue;
            };
            let output = &outputs[place];
            let dims: Vec<String> = output.dims().iter().map(ToString::to_string).collect();
            assert_eq!(
                (output.dtype().to_string(), dims.join("x")),
                (dtype.into(), shape.into()),
                "{name} {mode} {value}"
            );
            let bytes = output.codes()?.into_iter().map(|code| code as u8);
            let found = bytes
                .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
            assert_eq!(format!("{found:016x}"), hash, "{name} {mode} {value}");
            equal += 1;
        }
        println!("{name} {mode}: {equal} tensors of codes are equal, not there: {absent:?}");
        assert!(absent.len() * 10 <= equal, "{name} {mode}: {absent:?}");
    }
    Ok(())
}

/// Nodes that can't be ops are told all at once.
#[test]
fn all_problems_are_told() -> Result<()> {
    let bytes = std::fs::read(folder().join("classifier-u8s8-qdq.onnx"))?;
    let text = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let (from, to) = (from.as_bytes(), to.as_bytes());
        let mut changed = bytes.clone();
        let places: Vec<usize> = (0..bytes.len() - from.len()).filter(|&i| &bytes[i..i + from.len()] == from).collect();
        places.iter().for_each(|&i| changed[i..i + to.len()].copy_from_slice(to));
        (changed, places.len())
    };
    // The op's name follows its tag and its length.
    let (changed, _) = text("\"\u{b}HardSigmoid", "\"\u{b}HardZigmoid");
    let error = Model::from_bytes(changed)?.graph(&Options::default()).expect_err("no such op").to_string();
    assert!(error.starts_with("9 nodes of the ONNX graph can't be ops of a graph:"), "{error}");
    assert!(error.contains("HardZigmoid(numbers of uint8[1, 8, 1, 1]): there is no op for HardZigmoid"), "{error}");
    let error = Model::from_bytes(vec![8, 9]).expect_err("no graph").to_string();
    assert!(error.contains("no ONNX model"), "{error}");
    assert!(read_tensor(&[0xff]).is_err());
    Ok(())
}

/// Damaged files are refused, or are other networks; nothing panics.
#[test]
fn damaged_files_are_refused() -> Result<()> {
    let count = std::env::var("LOWBIT_MUTATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(MUTATIONS);
    let files = ["convnet-u8s8-qdq", "convnet-s8s8-qoperator", "encoder-dynamic"];
    let files: Vec<Vec<u8>> = files
        .iter()
        .map(|name| std::fs::read(folder().join(format!("{name}.onnx"))))
        .collect::<std::io::Result<_>>()?;
    let seed = std::env::var("LOWBIT_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(22);
    let mut random = Random::new(seed);
    let (mut unread, mut refused, mut made) = (0, 0, 0);
    for _ in 0..count {
        let mut bytes = random.pick(&files.iter().collect::<Vec<_>>()).clone();
        for _ in 0..random.integer(1, 6) {
            let place = random.integer(0, bytes.len() as i64 - 1) as usize;
            match random.integer(0, 5) {
                0 => bytes.truncate(place.max(1)),
                1 => drop(bytes.splice(place..place, [0xff; 3])),
                2 => bytes[place] = random.integer(0, 255) as u8,
                3 => bytes[place] = bytes[place].wrapping_add(1),
                _ => bytes[place] ^= 1 << random.integer(0, 7),
            }
        }
        match Model::from_bytes(bytes).map(|model| (model.to_string(), model.graph(&Options::default()))) {
            Err(_) => unread += 1,
            Ok((_, Err(_))) => refused += 1,
            Ok((_, Ok(_))) => made += 1,
        }
    }
    println!("{count} damaged files: {unread} not read, {refused} refused, {made} are networks");
    Ok(())
}
