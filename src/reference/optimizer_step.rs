//! The meaning of `ops::OptimizerStep`. GPU twins: `shaders/train/moments.wgsl`, `shaders/train/optimizer_step.wgsl`.

use super::Meaning;
use crate::error::Result;
use crate::numeric::finite;
use crate::ops::{OptimizerRule, OptimizerStep};
use crate::tensor::Tensor;

impl Meaning for OptimizerStep {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        Ok(optimize(self, inputs))
    }

    fn tolerance(&self, _inputs: &[&Tensor]) -> Option<Vec<f32>> {
        None
    }
}

pub(super) fn optimize(op: &OptimizerStep, inputs: &[&Tensor]) -> Vec<Tensor> {
    let [parameters, gradients, memory, rate] =
        [0, 1, 2, 3].map(|i| inputs[i].values::<f32>().expect("checked by run"));
    let (n, rate) = (parameters.len(), finite(rate[0]));
    let mut next = Vec::with_capacity(n);
    let mut kept: Vec<f32> = memory.iter().map(|&x| finite(x)).collect();
    for (i, (&p, &g)) in parameters.iter().zip(gradients).enumerate() {
        let most = 2f32.powi(60);
        let g = finite(g).clamp(-most, most);
        let change = match op.rule {
            OptimizerRule::Sgd { momentum } => {
                kept[i] = momentum * kept[i] + g;
                kept[i]
            }
            OptimizerRule::Adam { beta1, beta2, epsilon } => {
                kept[i] = beta1 * kept[i] + (1.0 - beta1) * g;
                kept[n + i] = beta2 * kept[n + i].max(0.0) + (1.0 - beta2) * (g * g);
                kept[i] / (kept[n + i].sqrt() + epsilon)
            }
        };
        let moved = finite(p) - rate * finite(change);
        next.push(if moved.total_cmp(&op.least).is_lt() { op.least } else { moved });
    }
    vec![Tensor::from_values(op.parameters.clone(), next), Tensor::from_values(op.memory.clone(), kept)]
}
