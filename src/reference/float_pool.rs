//! The meaning of `ops::FloatPool`, in f64. GPU twins: `shaders/elementwise/float_pool.wgsl`, `shaders/elementwise/reduce.wgsl`.

use super::Meaning;
use super::reduce::Reduced;
use crate::error::Result;
use crate::ops::FloatPool;
use crate::tensor::Tensor;

impl Meaning for FloatPool {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        let values = pooled(self, inputs[0]).iter().map(|one| one.value() as f32).collect();
        Ok(vec![Tensor::from_values(self.output().clone(), values)])
    }

    fn tolerance(&self, inputs: &[&Tensor]) -> Option<Vec<f32>> {
        Some(pooled(self, inputs[0]).iter().map(Reduced::tolerance).collect())
    }
}

/// The taps of each output.
fn pooled(op: &FloatPool, input: &Tensor) -> Vec<Reduced> {
    let (window, channels) = (op.window(), op.input().shape().row_length());
    let x = input.values::<f32>().expect("checked by run");
    let mut all = Vec::with_capacity(op.output().shape().elements());
    for image in 0..op.input().dims()[0] {
        for pixel in 0..window.output_pixels() {
            for channel in 0..channels {
                let mut one = Reduced::new(op.reduction(), 0);
                for (_, source, in_padding) in window.taps_of(pixel) {
                    if let Some(source) = source {
                        one.add(x[(image * window.input_pixels() + source) * channels + channel]);
                    }
                    one.count += usize::from(source.is_some() || in_padding && op.counts_padding());
                }
                one.count = one.count.max(1);
                all.push(one);
            }
        }
    }
    all
}
