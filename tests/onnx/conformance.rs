//! The cases of the conformance set that have an ONNX node, each as a model of that node: what its operator's other implementations
//! compute, the reader's graph computes, with the tolerances of the case. `LOWBIT_CONFORMANCE` names a folder of more cases than
//! those in tests/data/conformance.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lowbit::onnx::{Arithmetic, Model, Options};
use lowbit::ops::Cast;
use lowbit::{DType, reference};
use serde_json::Value;

use crate::Result;
use crate::array::{Array, Elements, packed};
use crate::case::{Case, Named};
use crate::compare::compare;
use crate::writer::{Attribute, Dim, Message, model_of, node, tensor};

/// The cases of an operator.
#[derive(Debug, Default)]
struct Count {
    cases: usize,
    passed: usize,
    refused: BTreeMap<String, usize>,
}

#[test]
fn nodes_of_the_conformance_set() -> Result<()> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/conformance");
    let folder = std::env::var("LOWBIT_CONFORMANCE").map_or(own, PathBuf::from);
    let mut counts: BTreeMap<String, Count> = BTreeMap::new();
    let mut wrong = Vec::new();
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder)?.map(|entry| entry.map(|e| e.path())).collect::<std::io::Result<_>>()?;
    paths.sort();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "safetensors")) {
        let case = Case::parse(&std::fs::read(path)?)?;
        if !matches!(&*case.domain, "" | "com.microsoft") {
            continue;
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let kind = if name.starts_with("onnx_") { "ONNX's" } else { "further" };
        let count = counts.entry(format!("{} {kind}", case.op)).or_default();
        count.cases += 1;
        match run(&case) {
            Err(error) => {
                let text = error.to_string();
                *count.refused.entry(text.lines().next_back().unwrap_or_default().trim().into()).or_default() += 1;
            }
            Ok(got) => match compare(&case, &got, false) {
                Ok(()) => count.passed += 1,
                Err(failure) => wrong.push(format!("{name}: {failure:?}")),
            },
        }
    }
    let (mut cases, mut passed, mut refused) = (0, 0, 0);
    for (op, count) in &counts {
        println!("{op}: {} cases, {} passed", count.cases, count.passed);
        count.refused.iter().for_each(|(reason, count)| println!("    {count} refused: {reason}"));
        (cases, passed) = (cases + count.cases, passed + count.passed);
        refused += count.refused.values().sum::<usize>();
    }
    println!("{cases} cases, {passed} passed, {refused} refused, {} wrong", wrong.len());
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(passed >= 300, "only {passed} cases passed");
    Ok(())
}

/// The outputs of a case: of the arithmetic that its operator has in ONNX Runtime.
fn run(case: &Case) -> Result<Vec<Array>> {
    let inputs: Vec<(String, &Named)> = case
        .inputs
        .iter()
        .enumerate()
        .filter_map(|(slot, input)| input.as_ref().map(|named| (format!("i{slot}"), named)))
        .collect();
    let (first, others) = inputs.split_first().ok_or("a case without inputs")?;
    let initializers =
        others.iter().map(|(name, named)| initializer(name, &named.array)).collect::<Result<Vec<_>>>()?;
    let slots: Vec<String> = case
        .inputs
        .iter()
        .enumerate()
        .map(|(i, input)| if input.is_some() { format!("i{i}") } else { "-".into() })
        .collect();
    let outputs: Vec<String> = (0..case.outputs.len()).map(|i| format!("o{i}")).collect();
    let op = if case.domain.is_empty() { case.op.clone() } else { format!("{}.{}", case.domain, case.op) };
    let texts: Vec<(&String, Setting)> =
        case.attributes.iter().map(|(name, value)| Ok((name, Setting::of(value)?))).collect::<Result<_>>()?;
    let attributes: Vec<(&str, Attribute<'_>)> =
        texts.iter().map(|(name, text)| (&name[..], text.attribute())).collect();
    let made = node(&op, &slots.join(" "), &outputs.join(" "), &attributes);
    let dims: Vec<Dim<'_>> = first.1.array.shape.iter().map(|&d| Dim::Fixed(d as i64)).collect();
    let input = (&first.0[..], element(&first.1.array.elements)?, &dims[..]);
    let opset = if case.domain.is_empty() { case.opset } else { 21 };
    let names: Vec<&str> = outputs.iter().map(String::as_str).collect();
    let model = Model::from_bytes(model_of(opset, &[input], &[made], &initializers, &names))?;
    let network = model.graph(&Options::default().with_arithmetic(Arithmetic::OnnxRuntime))?;
    let x = first.1.array.tensor()?;
    let inputs: Vec<_> = network.inputs.iter().map(|_| &x).collect();
    let made = network.graph.run_reference(&inputs)?;
    made.iter().zip(&case.outputs).map(|(got, expected)| of_kind(Array::of(got)?, &expected.array)).collect()
}

/// What a graph holds as float32 in place of float16, as float16.
fn of_kind(got: Array, expected: &Array) -> Result<Array> {
    let halves = matches!((&got.elements, &expected.elements), (Elements::F32(_), Elements::F16(_)));
    if !halves {
        return Ok(got);
    }
    let x = got.tensor()?;
    let cast = Cast::new(x.tensor_type().clone(), DType::Float16).build()?;
    Array::of(&reference::run(&cast.into(), &[&x])?[0])
}

/// An attribute's value.
enum Setting {
    Int(i64),
    Float(f32),
    Ints(Vec<i64>),
    Text(String),
}

impl Setting {
    fn of(value: &Value) -> Result<Self> {
        Ok(match value {
            Value::Number(number) => match number.as_i64() {
                Some(int) => Self::Int(int),
                None => Self::Float(number.as_f64().unwrap_or(f64::NAN) as f32),
            },
            Value::Bool(flag) => Self::Int((*flag).into()),
            Value::Array(list) => Self::Ints(list.iter().filter_map(Value::as_i64).collect()),
            Value::String(text) => elements_named(text).map_or_else(|| Self::Text(text.clone()), Self::Int),
            other => return Err(format!("the attribute {other}").into()),
        })
    }

    fn attribute(&self) -> Attribute<'_> {
        match self {
            Self::Int(int) => Attribute::Int(*int),
            Self::Float(float) => Attribute::Float(*float),
            Self::Ints(list) => Attribute::Ints(list),
            Self::Text(text) => Attribute::Text(text),
        }
    }
}

/// The number of an element type in ONNX.
fn elements_named(name: &str) -> Option<i64> {
    Some(match name {
        "f32" => 1,
        "u8" => 2,
        "s8" => 3,
        "u16" => 4,
        "s16" => 5,
        "i32" => 6,
        "i64" => 7,
        "f16" => 10,
        "f64" => 11,
        "e4m3fn" => 17,
        "e4m3fnuz" => 18,
        "e5m2" => 19,
        "e5m2fnuz" => 20,
        "u4" => 21,
        "s4" => 22,
        "e2m1" => 23,
        "e8m0" => 24,
        "u2" => 25,
        "s2" => 26,
        _ => return None,
    })
}

fn element(elements: &Elements) -> Result<i64> {
    let name = elements.dtype();
    Ok(elements_named(&name).ok_or_else(|| format!("ONNX has no elements of {name}"))?)
}

fn initializer(name: &str, array: &Array) -> Result<Message> {
    let bytes: Vec<u8> = match &array.elements {
        Elements::Codes { dtype, codes, .. } => packed(*dtype, codes),
        Elements::I64(list) => list.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Elements::F16(list) => list.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Elements::F32(list) => list.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Elements::F64(list) => list.iter().flat_map(|x| x.to_le_bytes()).collect(),
    };
    let dims: Vec<i64> = array.shape.iter().map(|&d| d as i64).collect();
    Ok(tensor(name, element(&array.elements)?, &dims, &bytes))
}
