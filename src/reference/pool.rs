//! The meaning of `ops::Pool`. GPU twins: `shaders/elementwise/pool.wgsl`, `shaders/elementwise/pool_floats.wgsl`.

use super::Meaning;
use crate::error::Result;
use crate::numeric;
use crate::ops::{Pool, PoolKind, QuantizedArithmetic};
use crate::tensor::Tensor;

impl Meaning for Pool {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![pool(self, inputs[0])])
    }

    fn tolerance(&self, _inputs: &[&Tensor]) -> Option<Vec<f32>> {
        None
    }
}

pub(super) fn pool(op: &Pool, input: &Tensor) -> Tensor {
    let window = op.window();
    let channels = op.input().shape().row_length();
    let (least, _) = op.input().dtype().range().expect("an integer format");
    let (scale, zero_point) = op.input().parameters(0);
    let mut codes = Vec::new();
    for image in 0..op.input().dims()[0] {
        for pixel in 0..window.output_pixels() {
            for channel in 0..channels {
                let (mut sum, mut real_sum, mut greatest, mut inside, mut padded) = (0, 0.0f32, least, 0usize, 0usize);
                for (_, source, in_padding) in window.taps_of(pixel) {
                    if let Some(source) = source {
                        let code = input.code((image * window.input_pixels() + source) * channels + channel);
                        sum += code - zero_point;
                        real_sum += (code - zero_point) as f32 * scale;
                        greatest = greatest.max(code);
                        inside += 1;
                    } else if in_padding {
                        padded += 1;
                    }
                }
                let count = match (op.counts_padding(), op.arithmetic()) {
                    (false, _) => inside,
                    (true, QuantizedArithmetic::QOperator) => window.taps(),
                    (true, _) => inside + padded,
                };
                codes.push(match op.kind() {
                    PoolKind::Max => greatest,
                    PoolKind::Average => average(op, sum, real_sum, count.max(1)),
                });
            }
        }
    }
    Tensor::from_codes(op.output_type().clone(), codes)
}

/// The code of a mean, from the sum of `count` codes and the sum of their real numbers.
fn average(op: &Pool, sum: i32, real_sum: f32, count: usize) -> i32 {
    let output = op.output();
    let (scale, zero_point, (low, high)) = (output.scale(), output.zero_point(), output.bounds());
    let mean = real_sum / count as f32;
    match op.arithmetic() {
        QuantizedArithmetic::QOperator => numeric::round_saturating(mean / scale + zero_point as f32, low, high),
        QuantizedArithmetic::Qdq => numeric::quantize(mean, scale, zero_point, low, high),
        QuantizedArithmetic::Codes => {
            let (codes, count) = (sum + zero_point * count as i32, count as i32);
            let half = if codes > 0 { count / 2 } else { -(count / 2) };
            ((codes + half) / count).clamp(low, high)
        }
        QuantizedArithmetic::Integer => {
            let entry = op.stage().entry(0, count - op.least_count());
            output.apply(sum, entry.multiplier.expect("an average has multipliers"))
        }
    }
}
