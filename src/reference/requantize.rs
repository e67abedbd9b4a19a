//! The meaning of `ops::Requantize`. GPU twin: `shaders/rescale.wgsl` with the stage `shaders/output/requantize.wgsl`.

use crate::ops::Requantize;
use crate::tensor::Tensor;

pub(super) fn requantize(op: &Requantize, input: &Tensor) -> Tensor {
    let shape = op.input().shape();
    let codes = (0..shape.elements())
        .map(|i| {
            let entry = op.stage().entry(0, op.granularity().index(shape, i));
            let multiplier = entry.multiplier.expect("a requantized stage has multipliers");
            op.output().apply(input.code(i).wrapping_add(entry.bias as i32), multiplier)
        })
        .collect();
    Tensor::from_codes(op.output_type().clone(), codes)
}
