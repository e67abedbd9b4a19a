//! The meaning of `ops::Fused`: two ops in sequence. GPU twins: `shaders/epilogue/post_op_*.wgsl` and `float_post_op_*.wgsl`.

use super::bound::{FLUSHED, UNIT, bound};
use super::dynamic::dynamic_quantize;
use super::{Meaning, run, tolerance};
use crate::error::Result;
use crate::numeric::QuantizationParams;
use crate::ops::{Arithmetic, DynamicQuantize, Function, Fused, PostOp};
use crate::tensor::Tensor;

impl Meaning for Fused {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        let (first, then) = divided(self, inputs);
        let made = run(self.first(), first)?.remove(0).retyped(self.made());
        run(&self.then(), &operands(self, &made, then))
    }

    /// A device's intermediate number x' is within e of the reference's x. Its result is then off by the error of the second op at
    /// x', and by the difference of the exact results of both.
    fn tolerance(&self, inputs: &[&Tensor]) -> Option<Vec<f32>> {
        let (first, then) = divided(self, inputs);
        let made = run(self.first(), first).expect("checked by the caller").remove(0);
        let made = made.retyped(self.made());
        if let PostOp::DynamicQuantize(quantize) = self.post_op() {
            let errors = tolerance(self.first(), first).expect("checked by the caller")?;
            return Some(quantized_tolerance(quantize, &made, &errors));
        }
        let operands = operands(self, &made, then);
        // Integers have no bound, and an exact second op passes that of the first on.
        let errors = tolerance(self.first(), first).expect("checked by the caller")?;
        let own = tolerance(&self.then(), &operands).expect("checked by the caller");
        let own = own.unwrap_or_else(|| vec![0.0; errors.len()]);
        let passed = |element: usize| match self.post_op() {
            PostOp::FloatUnary(op) => {
                let slope = slope(op.function);
                [slope, 2.0 * slope * FLUSHED]
            }
            PostOp::FloatBinary(op, position) => match op.arithmetic {
                // Where x' is subnormal, the whole product may be lost.
                Arithmetic::Multiply => {
                    let factor = f64::from(operands[1 - position].values::<f32>().expect("a float")[element].abs());
                    [factor * (1.0 + 2.0 * UNIT), 2.0 * factor * FLUSHED]
                }
                _ => [1.0 + 2.0 * UNIT, 0.0],
            },
            PostOp::Table(_)
            | PostOp::Add(..)
            | PostOp::Quantize(_)
            | PostOp::Dequantize(_)
            | PostOp::DynamicQuantize(_) => [0.0, 0.0],
        };
        let results = run(&self.then(), &operands).expect("checked by the caller").remove(0);
        let results = results.values::<f32>().expect("floats");
        let total = |(element, (&own, &error)): (usize, (&f32, &f32))| {
            let [slope, lost] = passed(element);
            let error = f64::from(own) + slope * f64::from(error) + lost;
            bound(error, f64::from(results[element].abs()) + error)
        };
        Some(own.iter().zip(&errors).enumerate().map(total).collect())
    }
}

/// How far codes may be off, then how far scales, if the numbers that they are made of are off by some errors: symmetric int8.
fn quantized_tolerance(op: &DynamicQuantize, made: &Tensor, errors: &[f32]) -> Vec<f32> {
    let values = made.values::<f32>().expect("float32");
    let out = dynamic_quantize(op, made);
    let codes = out[0].values::<i8>().expect("int8");
    let scales = out[1].values::<QuantizationParams>().expect("parameters");
    let (mut of_codes, mut of_scales) = (vec![f32::INFINITY; values.len()], vec![f32::INFINITY; scales.len()]);
    for (segment, of_scale) in of_scales.iter_mut().enumerate() {
        let elements = op.segments().elements(segment);
        let largest = errors[elements.clone()].iter().fold(0.0f32, |most, error| most.max(*error));
        let (scale, error) = (f64::from(scales[segment].scale), f64::from(largest));
        // The range, whose end is 127 scales, divided by 127 and rounded twice.
        let range = values[elements.clone()].iter().fold(0.0f32, |most, x| most.max(x.abs()));
        let off = (error + UNIT * (f64::from(range) + error)) / 127.0 + FLUSHED;
        let least = scale - off;
        // A range that may vanish has a scale of 1, or nearly none.
        if !(f64::from(range) > 2.0 * error && least > FLUSHED) {
            continue;
        }
        *of_scale = bound(off, scale + off);
        for element in elements {
            let (x, e) = (f64::from(values[element].abs()), f64::from(errors[element]));
            let moved = (e + x * off / scale) / least;
            let moved = moved + UNIT * (x / scale + moved);
            let steps = f64::from(values[element]) / scale;
            let code = f64::from(codes[element]);
            let end = |steps: f64| steps.round_ties_even().clamp(-128.0, 127.0);
            let farthest = (end(steps - moved) - code).abs().max((end(steps + moved) - code).abs());
            of_codes[element] = farthest as f32;
        }
    }
    [of_codes, of_scales].concat()
}

/// The greatest slope of a function of one number; and of its error bound, relative to that slope 2⁻¹⁷ for GELU, less for the
/// others: twice that.
pub(super) fn slope(function: Function) -> f64 {
    function.slope().expect("checked when it was fused") * (1.0 + 128.0 * UNIT)
}

/// The inputs of the first op, and those of the second that the first doesn't make.
fn divided<'a, 'b>(op: &Fused, inputs: &'a [&'b Tensor]) -> (&'a [&'b Tensor], &'a [&'b Tensor]) {
    inputs.split_at(op.first().inputs().len())
}

/// The inputs of the second op.
fn operands<'a>(op: &Fused, made: &'a Tensor, others: &[&'a Tensor]) -> Vec<&'a Tensor> {
    let mut operands = others.to_vec();
    operands.insert(op.post_op().position(), made);
    operands
}
