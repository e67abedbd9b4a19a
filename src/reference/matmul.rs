//! The meaning of `ops::Matmul`. GPU twins: `shaders/gemm/matmul.wgsl`, `shaders/gemm/matmul_workgroup.wgsl`.

use super::Meaning;
use super::output::Collector;
use crate::error::Result;
use crate::numeric::QuantizationParams;
use crate::ops::{Matmul, Operand, Sizes};
use crate::tensor::Tensor;

impl Meaning for Matmul {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![matmul(self, inputs)])
    }

    fn tolerance(&self, _inputs: &[&Tensor]) -> Option<Vec<f32>> {
        None
    }
}

pub(super) fn matmul(op: &Matmul, inputs: &[&Tensor]) -> Tensor {
    let Sizes { m, n, k } = op.sizes();
    let lhs = inputs[0];
    let rhs = match op.rhs() {
        Operand::Constant(weights) => weights,
        Operand::Input(_) => inputs[1],
    };
    let dynamic =
        op.dynamic().map(|(position, _)| inputs[position].values::<QuantizationParams>().expect("checked by run"));

    let mut out = Collector::new(op.output());
    for batch in 0..op.batches().count() {
        let (lhs_matrix, rhs_matrix) = op.batches().pair(batch);
        for i in 0..m {
            let lhs_row = lhs_matrix * m + i;
            let (scale, zero_point) = match dynamic {
                Some(parameters) => {
                    let params = parameters[if parameters.len() == 1 { 0 } else { lhs_row }];
                    (params.scale, params.zero_point)
                }
                None => op.lhs_parameters(i),
            };
            for j in 0..n {
                let rhs_zero_point = op.rhs_parameters(j).1;
                let sum = (0..k)
                    .map(|l| {
                        let x = i64::from(lhs.code(lhs_row * k + l) - zero_point);
                        let w = i64::from(rhs.code(op.rhs_index(rhs_matrix, l, j)) - rhs_zero_point);
                        x * w
                    })
                    .sum();
                out.push(sum, scale, op.stage().entry(batch * m + i, j));
            }
        }
    }
    out.finish(op.output_type())
}
