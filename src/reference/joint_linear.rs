//! The meaning of `ops::JointLinear`: its layers one after the other, then the gate. GPU twins: `shaders/grouped/linear.wgsl` with
//! `epilogue/store_two.wgsl`, `store_three.wgsl` or `grouped/quads_gated.wgsl`.

use super::bound::{FLUSHED, UNIT, bound};
use super::{Meaning, float_unary, linear};
use crate::error::Result;
use crate::ops::{FloatUnary, Function, JointLinear};
use crate::reference::fused::slope;
use crate::tensor::Tensor;

impl Meaning for JointLinear {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        let layers = self.layers().iter().map(|layer| linear::linear(layer, inputs)).collect::<Result<Vec<_>>>()?;
        let Some(function) = self.gate() else { return Ok(layers) };
        let gates = of(function, &layers[0]).run(&[&layers[0]])?;
        let pairs = gates[0].values::<f32>()?.iter().zip(layers[1].values::<f32>()?);
        Ok(vec![Tensor::new(layers[0].dims(), pairs.map(|(gate, x)| gate * x).collect::<Vec<_>>())?])
    }

    fn tolerance(&self, inputs: &[&Tensor]) -> Option<Vec<f32>> {
        let errors = self.layers().iter().map(|layer| linear::tolerance(layer, inputs));
        let Some(function) = self.gate() else { return Some(errors.flatten().collect()) };
        let errors: Vec<Vec<f32>> = errors.collect();
        let layers: Vec<Tensor> =
            self.layers().iter().map(|layer| linear::linear(layer, inputs).expect("checked by the caller")).collect();
        let function = of(function, &layers[0]);
        let gates = function.run(&[&layers[0]]).expect("checked by the caller").remove(0);
        let own = float_unary::tolerance(&function, &layers[0]);
        let [gates, factors] = [&gates, &layers[1]].map(|tensor| tensor.values::<f32>().expect("float32"));
        let total = |i: usize| {
            let [gate, factor] = [gates[i], factors[i]].map(|x| f64::from(x.abs()));
            let e = f64::from(own[i]) + slope(function.function) * f64::from(errors[0][i]);
            let g = f64::from(errors[1][i]);
            // A factor that is subnormal may count as zero, and so may the product.
            let lost = 2.0 * FLUSHED * (1.0 + gate + e + factor + g);
            let error = gate * g + e * factor + e * g + 2.0 * UNIT * (gate + e) * (factor + g) + lost;
            bound(error, gate * factor + error)
        };
        Some((0..gates.len()).map(total).collect())
    }
}

/// The function of the numbers of a tensor.
fn of(function: Function, tensor: &Tensor) -> FloatUnary {
    FloatUnary { tensor_type: tensor.tensor_type().clone(), function }
}
