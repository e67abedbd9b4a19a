//! The meaning of `ops::Resize`. GPU twins: `shaders/layout/resize.wgsl`, `shaders/layout/rearrange.wgsl`,
//! `shaders/layout/copy_rows.wgsl`.

use super::Meaning;
use super::rearrange::gathered;
use crate::error::Result;
use crate::ops::{Interpolation, Resize};
use crate::tensor::Tensor;

impl Meaning for Resize {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![resize(self, inputs[0])])
    }

    fn tolerance(&self, _inputs: &[&Tensor]) -> Option<Vec<f32>> {
        None
    }
}

pub(super) fn resize(op: &Resize, input: &Tensor) -> Tensor {
    let axes = 1..=op.spatial();
    match op.interpolation() {
        Interpolation::Nearest(rounding) => gathered(input, op.output(), 0, |place| {
            let mut source = place.to_vec();
            axes.clone().for_each(|axis| source[axis] = op.nearest_index(rounding, axis, place[axis]));
            Some(source)
        }),
        Interpolation::Linear | Interpolation::TenBits => linear(op, input),
    }
}

fn linear(op: &Resize, input: &Tensor) -> Tensor {
    let (spatial, shape) = (op.spatial(), op.output().dims());
    let (channels, steps) = (shape[spatial + 1], 1i64 << op.weight_bits());
    let mut codes = Vec::with_capacity(op.output().shape().elements());
    for index in 0..op.output().shape().elements() {
        let (channel, mut rest) = (index % channels, index / channels);
        let mut place = [0; 3];
        for axis in (1..=spatial).rev() {
            (place[axis - 1], rest) = (rest % shape[axis], rest / shape[axis]);
        }
        // Each corner of the cell around the position uses the lower or the upper element of every axis.
        let mut sum = 0i64;
        for corner in 0..1 << spatial {
            let (mut pixel, mut weight) = (rest, 1i64);
            for axis in 1..=spatial {
                let between = op.between(axis, place[axis - 1]);
                let is_upper = corner >> (axis - 1) & 1 == 1;
                pixel = pixel * input.dims()[axis] + if is_upper { between.upper } else { between.lower };
                let upper = i64::from(between.weight);
                weight *= if is_upper { upper } else { steps - upper };
            }
            sum += weight * i64::from(input.code(pixel * channels + channel));
        }
        let unit = steps.pow(spatial as u32);
        codes.push((sum.signum() * ((2 * sum.abs() + unit) / (2 * unit))) as i32);
    }
    Tensor::from_codes(op.output().clone(), codes)
}
