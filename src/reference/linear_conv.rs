//! The meaning of `ops::LinearConv`: a linear layer over patches. GPU twins: `shaders/conv/unfold.wgsl`,
//! `shaders/grouped/linear.wgsl`.

use super::{Meaning, linear, unfold};
use crate::error::Result;
use crate::ops::{LinearConv, OpDef};
use crate::tensor::Tensor;

impl Meaning for LinearConv {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![linear_conv(self, inputs)?])
    }

    fn tolerance(&self, inputs: &[&Tensor]) -> Option<Vec<f32>> {
        Some(tolerance(self, inputs))
    }
}

pub(super) fn linear_conv(op: &LinearConv, inputs: &[&Tensor]) -> Result<Tensor> {
    over_patches(op, inputs, |inputs| {
        let rows = linear::linear(op.linear(), inputs)?;
        Ok(rows.retyped(op.output_type().clone()))
    })
}

/// The bound of each element's difference on a device: that of the linear layer.
pub(super) fn tolerance(op: &LinearConv, inputs: &[&Tensor]) -> Vec<f32> {
    over_patches(op, inputs, |inputs| linear::tolerance(op.linear(), inputs))
}

fn over_patches<T>(op: &LinearConv, inputs: &[&Tensor], run: impl Fn(&[&Tensor]) -> T) -> T {
    let rows = unfold::unfold(op.patches(), &inputs[..op.patches().inputs().len()]);
    // The groups of a position are consecutive rows, and each row multiplies its own matrix.
    let groups = op.patches().groups();
    let indices = op.linear().indices().map(|_| {
        let count = rows.tensor_type().shape().rows();
        let indices = (0..count).map(|row| (row % groups) as i32).collect::<Vec<_>>();
        Tensor::new([count, 1], indices).expect("as many elements")
    });
    let all: Vec<&Tensor> =
        [Some(&rows), indices.as_ref()].into_iter().flatten().chain(inputs[1..].iter().copied()).collect();
    run(&all)
}
