//! Networks of tests/data/tflite: the reference and the device against the interpreter of LiteRT with its reference kernels, and damaged
//! files.

mod common;

use std::collections::BTreeMap;
use std::path::PathBuf;

use common::context;
use lowbit::{DType, Result, Tensor, TensorType, Tuner, tflite};

/// The networks, in order of their names.
fn names() -> Vec<String> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/tflite");
    let files = std::fs::read_dir(folder).expect("a folder").filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = files.filter_map(|file| Some(file.strip_suffix(".tflite")?.to_string())).collect();
    names.sort_unstable();
    names
}

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/tflite").join(name)
}

/// Takes the tensors of these types off the bytes.
fn taken(bytes: &mut &[u8], types: impl Iterator<Item = TensorType>) -> Result<Vec<Tensor>> {
    let mut tensor = |tensor_type: TensorType| {
        let size = (tensor_type.shape().elements() * tensor_type.dtype().bits()).div_ceil(8);
        let (now, later) = bytes.split_at(size);
        *bytes = later;
        Tensor::from_packed(tensor_type, now)
    };
    types.map(&mut tensor).collect()
}

/// The number of elements that differ, and of all.
fn differing(found: &Tensor, expected: &Tensor) -> Result<[usize; 2]> {
    let numbers = |tensor: &Tensor| -> Result<Vec<i64>> {
        Ok(match tensor.dtype() {
            DType::Float32 => tensor.values::<f32>()?.iter().map(|number| number.to_bits().into()).collect(),
            _ => tensor.codes()?.into_iter().map(i64::from).collect(),
        })
    };
    let (found, expected) = (numbers(found)?, numbers(expected)?);
    assert_eq!(found.len(), expected.len());
    Ok([found.iter().zip(&expected).filter(|(a, b)| a != b).count(), found.len()])
}

/// Networks whose codes may differ from those of the interpreter, each with the most that were found to.
const INEXACT: [(&str, usize); 0] = [];

#[test]
fn networks() -> Result<()> {
    let context = context();
    let mut table: BTreeMap<String, [usize; 2]> = BTreeMap::new();
    let mut failed = Vec::new();
    for name in names() {
        let model = tflite::Model::open(file(&format!("{name}.tflite")))?;
        let network = match model.graph() {
            Ok(network) => network,
            Err(error) => {
                failed.push(format!("{name}: {error}"));
                continue;
            }
        };
        let bytes = std::fs::read(file(&format!("{name}.io"))).expect("inputs and outputs");
        let mut rest = &bytes[..];
        let inputs = taken(&mut rest, network.inputs.iter().map(|port| port.tensor_type.clone()))?;
        let expected = taken(&mut rest, network.outputs.iter().map(|port| port.tensor_type.clone()))?;
        assert_eq!(rest.len(), 0, "{name}");
        let inputs: Vec<&Tensor> = inputs.iter().collect();
        let outputs = network.graph.run_reference(&inputs)?;
        for (output, expected) in outputs.iter().zip(&expected) {
            let [different, of] = differing(output, expected)?;
            let sum = table.entry(name.clone()).or_default();
            (sum[0], sum[1]) = (sum[0] + different, sum[1] + of);
        }
        let allowed = INEXACT.iter().find(|(inexact, _)| *inexact == name).map_or(0, |(_, most)| *most);
        if table[&name][0] > allowed {
            let [a, b] = [&outputs[0], &expected[0]];
            let first = a.codes().ok().zip(b.codes().ok()).and_then(|(a, b)| {
                let at = a.iter().zip(&b).position(|(a, b)| a != b)?;
                Some(format!(", first at {at}: {} instead of {}", a[at], b[at]))
            });
            failed.push(format!("{name}: {} of {} elements differ{}", table[&name][0], table[&name][1], first.unwrap_or_default()));
        }
        if let Some(context) = &context {
            let plan = context.plan(&network.graph, Tuner::FirstGuess)?;
            let found = plan.run_blocking(&inputs)?;
            for (output, reference) in found.iter().zip(&outputs) {
                let [different, of] = differing(output, reference)?;
                if different > allowed {
                    failed.push(format!("{name}: {different} of {of} elements of the device differ from the reference"));
                }
            }
        }
    }
    println!("{:32} {:>9} {:>9}", "network", "elements", "different");
    table.iter().for_each(|(name, [different, of])| println!("{name:32} {of:9} {different:9}"));
    assert!(failed.is_empty(), "\n{}", failed.join("\n"));
    Ok(())
}
