//! The larger parts of the page: a network on a drawn digit, conformance cases, all kernels of a product.

use lowbit::ops::{Matmul, Op};
use lowbit::{Context, DType, Graph, Plan, Tensor, TensorType, Tuner, kernels, reference};
use serde_json::json;
use wasm_bindgen::prelude::{JsError, wasm_bindgen};

use crate::case::{self, Case};
use crate::compare;
use crate::device::{on_cpu, on_gpu};
use crate::{Page, Result, layer, network, told};

/// The int8 network of handwritten digits, for one image.
#[wasm_bindgen]
pub struct Digits {
    plan: Plan,
    graph: Graph,
}

#[wasm_bindgen]
impl Page {
    /// The codes of the README's product, by the reference.
    pub fn product_by_reference(&self) -> std::result::Result<Vec<u8>, JsError> {
        told(product_by_reference())
    }

    /// The digits network, compiled.
    pub async fn digits(&self) -> std::result::Result<Digits, JsError> {
        told(digits(&self.context()).await)
    }

    /// Runs a conformance case on the GPU and by the reference, strictly.
    pub async fn conformance(&self, file: &[u8]) -> String {
        let operator = case::operator(file).unwrap_or_else(|| "(unreadable)".into());
        let [gpu, cpu] = match Case::parse(file) {
            Ok(case) => [verdict(&case, on_gpu(&case, &self.context()).await), verdict(&case, on_cpu(&case))],
            Err(error) => [Some(error.to_string()), None],
        };
        json!({ "operator": operator, "gpu": gpu, "cpu": cpu }).to_string()
    }

    /// The names of all kernels of an int8 product `[m, k] · [k, n]`, as JSON.
    pub fn kernels(&self, m: usize, k: usize, n: usize) -> std::result::Result<String, JsError> {
        told(product(m, k, n).map(|(op, _)| {
            let candidates = kernels::candidates(&op, &self.context().caps());
            json!(candidates.iter().map(|candidate| candidate.label.as_str()).collect::<Vec<_>>()).to_string()
        }))
    }

    /// Compares a kernel of that product with the reference, and times it: milliseconds, or -1 if a bit differs.
    pub async fn time_kernel(&self, m: usize, k: usize, n: usize, index: usize) -> std::result::Result<f64, JsError> {
        told(time_kernel(&self.context(), [m, k, n], index).await)
    }
}

fn product_by_reference() -> Result<Vec<u8>> {
    let (layer, activations) = layer()?;
    Ok(reference::run(&layer, &[&activations])?[0].values::<u8>()?.to_vec())
}

fn verdict(case: &Case, got: Result<Vec<crate::array::Array>>) -> Option<String> {
    match got {
        Ok(got) => compare::compare(case, &got, true).err().map(|failure| format!("{failure:?}")),
        Err(error) => Some(error.to_string()),
    }
}

async fn digits(context: &Context) -> Result<Digits> {
    let graph = network::network(1)?;
    let plan = context.plan(&graph, Tuner::FirstGuess)?;
    plan.warm_up().await?;
    Ok(Digits { plan, graph })
}

#[wasm_bindgen]
impl Digits {
    /// The launches, as a table of text.
    pub fn plan(&self) -> String {
        self.plan.to_string()
    }

    /// The plan as data, to run it without this module: JSON.
    pub fn exported(&self) -> std::result::Result<String, JsError> {
        told(self.plan.export().map_err(Into::into).and_then(|plan| Ok(serde_json::to_string(&plan)?)))
    }

    /// The bytes of constants and parameters of the plan as data.
    pub fn exported_data(&self) -> std::result::Result<Vec<u8>, JsError> {
        told(self.plan.export().map(|plan| plan.data).map_err(Into::into))
    }

    /// The logits of an image of 8 × 8 numbers from 0 to 1, and whether the reference has equal bits.
    pub async fn classify(&self, pixels: &[f32]) -> std::result::Result<String, JsError> {
        told(self.logits(pixels).await)
    }
}

impl Digits {
    async fn logits(&self, pixels: &[f32]) -> Result<String> {
        let image = Tensor::new([1, 8, 8, 1], pixels.to_vec())?;
        let logits = self.plan.run(&[&image]).await?.remove(0);
        let equal = self.graph.run_reference(&[&image])?[0] == logits;
        Ok(json!({ "logits": logits.values::<f32>()?, "equal": equal }).to_string())
    }
}

/// A product of codes that differ.
fn product(m: usize, k: usize, n: usize) -> Result<(Op, Tensor)> {
    let codes = |rows: usize, columns: usize, factor: usize| {
        let codes = (0..rows * columns).map(|i| (i * factor % 251) as u8 as i8);
        Tensor::new([rows, columns], codes.collect::<Vec<_>>())
    };
    let lhs = codes(m, k, 7)?;
    let op = Matmul::new(TensorType::new(DType::Int8, [m, k])?, codes(k, n, 11)?).build()?;
    Ok((op.into(), lhs))
}

/// Launches in a sample, and samples. A browser's clock is coarse.
const RUNS: usize = 4;
const SAMPLES: usize = 3;

async fn time_kernel(context: &Context, [m, k, n]: [usize; 3], index: usize) -> Result<f64> {
    let (op, lhs) = product(m, k, n)?;
    let plan = context.plan(&Graph::of(op.clone())?, Tuner::Nth(index))?;
    let input = context.upload(&lhs)?;
    let output = plan.run_on_device(&[&input])?.remove(0);
    let equal = vec![context.download(&output).await?] == reference::run(&op, &[&lhs])?;
    let bindings = plan.bind(&[&input], &[&output])?;
    let mut best = f64::INFINITY;
    for _ in 0..SAMPLES {
        best = best.min(plan.seconds(&bindings, RUNS).await? * 1e3);
    }
    drop(bindings);
    input.destroy();
    output.destroy();
    plan.destroy();
    Ok(if equal { best } else { -1.0 })
}
