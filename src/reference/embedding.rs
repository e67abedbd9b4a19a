//! The meaning of `ops::Embedding`. GPU twin: `shaders/grouped/embedding.wgsl`.

use super::Meaning;
use crate::error::Result;
use crate::ops::Embedding;
use crate::tensor::Tensor;

impl Meaning for Embedding {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![embedding(self, inputs)?])
    }

    fn tolerance(&self, _inputs: &[&Tensor]) -> Option<Vec<f32>> {
        None
    }
}

fn embedding(op: &Embedding, inputs: &[&Tensor]) -> Result<Tensor> {
    let [_, n, k] = op.weights().dims();
    let weights = op.weights().among(inputs)?;
    let indices = inputs[0].values::<i32>().expect("checked by run");
    let rows = weights.rows()?;
    let mut values = vec![0.0f32; indices.len() * k];
    for (&index, out) in indices.iter().zip(values.chunks_exact_mut(k.max(1))) {
        if let Some(row) = usize::try_from(index).ok().filter(|&row| row < n) {
            rows.dequantize(row, out);
        }
    }
    Ok(Tensor::from_reals(op.output_type().clone(), values.into_iter()))
}
