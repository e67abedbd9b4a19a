//! The node cases of ONNX's backend test suite: folders with `model.onnx` and `test_data_set_0/{input,output}_*.pb`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use lowbit::onnx::{Arithmetic, Model, OPS, Options, read_tensor};
use lowbit::ops::Cast;
use lowbit::{DType, Network, Tensor, reference};

use crate::Result;
use crate::npy::Array;

/// The outcome of the cases of an op.
#[derive(Debug, Default)]
struct Outcome {
    equal: usize,
    close: usize,
    wrong: Vec<String>,
    refused: BTreeMap<String, usize>,
}

/// ONNX's own tolerance of its backends.
const RELATIVE: f64 = 1e-3;
const ABSOLUTE: f64 = 1e-7;

/// Runs the cases of a folder on the reference, and prints a line for each op.
pub(crate) fn run(folder: &Path) -> Result<()> {
    let mut outcomes: BTreeMap<String, Outcome> = BTreeMap::new();
    let mut cases: Vec<_> = fs::read_dir(folder)?.collect::<std::io::Result<Vec<_>>>()?;
    cases.sort_by_key(fs::DirEntry::path);
    for case in cases {
        let path = case.path();
        let Ok(model) = Model::open(path.join("model.onnx")) else { continue };
        let text = model.to_string();
        let ops = text.lines().find(|line| line.contains("nodes: ")).and_then(|line| line.split(": ").nth(1));
        let ops = ops.unwrap_or_default().split(", ").map(|op| op.split(' ').next_back().unwrap_or_default());
        let outcome = outcomes.entry(ops.collect::<Vec<_>>().join("+")).or_default();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match check(&model, &path.join("test_data_set_0")) {
            Ok(Some(0.0)) => outcome.equal += 1,
            Ok(Some(_)) => outcome.close += 1,
            Ok(None) => outcome.wrong.push(name),
            Err(error) => *outcome.refused.entry(error.to_string()).or_default() += 1,
        }
    }
    let (mut equal, mut close, mut wrong, mut refused, mut claimed) = (0, 0, 0, 0, 0);
    for (op, outcome) in &outcomes {
        let count: usize = outcome.refused.values().sum();
        (equal, close) = (equal + outcome.equal, close + outcome.close);
        (wrong, refused) = (wrong + outcome.wrong.len(), refused + count);
        if op.split('+').all(|op| OPS.contains(&op)) {
            claimed += outcome.equal + outcome.close + outcome.wrong.len() + count;
        }
        if outcome.equal + outcome.close + outcome.wrong.len() > 0 {
            println!(
                "{op}: {} equal, {} close, {} refused, wrong: {:?}",
                outcome.equal, outcome.close, count, outcome.wrong
            );
        }
        for (reason, count) in &outcome.refused {
            println!("    {op}: refused {count}: {}", reason.lines().next_back().unwrap_or_default().trim());
        }
    }
    println!(
        "{equal} cases equal, {close} within {RELATIVE} of each number and {ABSOLUTE}, {wrong} wrong, {refused} refused"
    );
    println!("{claimed} cases are of ops that are taken");
    Ok(())
}

/// The largest difference of the outputs; `None` if it is beyond the tolerance.
fn check(model: &Model, folder: &Path) -> Result<Option<f64>> {
    let (inputs, expected) = (tensors(folder, "input")?, tensors(folder, "output")?);
    // Shapes and scales must be known: first integers after the first input are, then all of them.
    let is_known = |attempt: usize, i: usize, tensor: &Tensor| match attempt {
        0 => false,
        1 => i > 0 && tensor.dtype() == DType::Int32,
        _ => i > 0,
    };
    let names = model.input_names();
    let mut refusal = None;
    for attempt in 0..3 {
        let mut options = Options::default().with_arithmetic(Arithmetic::NodeByNode);
        for (i, (name, tensor)) in names.iter().zip(&inputs).enumerate() {
            if is_known(attempt, i, tensor) {
                options = options.with_value(*name, tensor.clone());
            }
        }
        match model.graph(&options) {
            Ok(network) => return compare(&network, &names, &inputs, &expected),
            Err(error) => refusal = Some(error),
        }
    }
    Err(refusal.expect("three attempts").into())
}

fn compare(network: &Network, names: &[&str], inputs: &[Tensor], expected: &[Tensor]) -> Result<Option<f64>> {
    let mut given = Vec::new();
    for port in &network.inputs {
        let place = names.iter().position(|name| *name == port.name).ok_or("an input has another name")?;
        let input = &inputs[place];
        let same = input.dtype() == port.tensor_type.dtype();
        given.push(if same { input.clone() } else { Array::of(input)?.tensor(&port.tensor_type)? });
    }
    let outputs = network.graph.run_reference(&given.iter().collect::<Vec<_>>())?;
    let mut largest = 0.0f64;
    for (got, expected) in outputs.iter().zip(expected) {
        let (got, expected) = (numbers(got)?, numbers(expected)?);
        if got.dims != expected.dims {
            return Ok(None);
        }
        for (a, b) in got.values.iter().zip(&expected.values) {
            let difference = if a == b || (a.is_nan() && b.is_nan()) { 0.0 } else { (a - b).abs() };
            if difference.is_nan() || difference > ABSOLUTE + RELATIVE * b.abs() {
                return Ok(None);
            }
            largest = largest.max(difference);
        }
    }
    Ok(Some(largest))
}

/// The numbers of a tensor. Small floats have several codes for what is no number.
fn numbers(tensor: &Tensor) -> Result<Array> {
    let small = tensor.dtype().bits() <= 8 && tensor.dtype().range().is_none();
    if !small {
        return Array::of(tensor);
    }
    let cast = Cast::new(tensor.tensor_type().clone(), DType::Float32).build()?;
    Array::of(&reference::run(&cast.into(), &[tensor])?[0])
}

fn tensors(folder: &Path, kind: &str) -> Result<Vec<Tensor>> {
    let path = |i: usize| folder.join(format!("{kind}_{i}.pb"));
    (0..).map(path).take_while(|path| path.exists()).map(|path| Ok(read_tensor(&fs::read(path)?)?)).collect()
}
