//! The meaning of `ops::Embedding`. GPU twin: `shaders/grouped/embedding.wgsl`.

use super::Meaning;
use crate::error::Result;
use half::f16;

use crate::numeric::DType;
use crate::ops::Embedding;
use crate::tensor::{Tensor, Values};

impl Meaning for Embedding {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![embedding(self, inputs[0])])
    }

    fn tolerance(&self, _inputs: &[&Tensor]) -> Option<Vec<f32>> {
        None
    }
}

pub(super) fn embedding(op: &Embedding, indices: &Tensor) -> Tensor {
    let [_, n, k] = op.weights().dims();
    let indices = indices.values::<i32>().expect("checked by run");
    let mut values = vec![0.0f32; indices.len() * k];
    for (&index, out) in indices.iter().zip(values.chunks_exact_mut(k.max(1))) {
        if let Some(row) = usize::try_from(index).ok().filter(|&row| row < n) {
            op.weights().dequantize_row(row, out);
        }
    }
    let values = match op.output_type().dtype() {
        DType::Float16 => Values::Float16(values.into_iter().map(f16::from_f32).collect()),
        _ => Values::Float32(values),
    };
    Tensor::from_values(op.output_type().clone(), values)
}
