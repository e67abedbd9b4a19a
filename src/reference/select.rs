//! The meaning of `ops::Select`. GPU twin: `shaders/elementwise/select.wgsl`.

use super::Meaning;
use crate::error::Result;
use crate::numeric::DType;
use crate::ops::Select;
use crate::tensor::{Element, Tensor};

impl Meaning for Select {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![match self.output.dtype() {
            DType::Int32 => selected::<i32>(self, inputs)?,
            _ => selected::<f32>(self, inputs)?,
        }])
    }

    fn tolerance(&self, _: &[&Tensor]) -> Option<Vec<f32>> {
        None
    }
}

fn selected<T: Element>(op: &Select, inputs: &[&Tensor]) -> Result<Tensor> {
    let is_true: Vec<bool> = match op.condition.dtype() {
        DType::Int8 => inputs[0].values::<i8>()?.iter().map(|&code| code != 0).collect(),
        DType::Uint8 => inputs[0].values::<u8>()?.iter().map(|&code| code != 0).collect(),
        _ => inputs[0].values::<f32>()?.iter().map(|&x| x != 0.0).collect(),
    };
    let (a, b) = (inputs[1].values::<T>()?, inputs[2].values::<T>()?);
    let shape = op.output.shape();
    let element = |i: usize| match is_true[op.condition.shape().source_index(shape, i)] {
        true => a[op.a.shape().source_index(shape, i)],
        false => b[op.b.shape().source_index(shape, i)],
    };
    Ok(Tensor::from_values(op.output.clone(), (0..shape.elements()).map(element).collect()))
}
