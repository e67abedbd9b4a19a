//! The meaning of `ops::ArgMax`. GPU twin: `shaders/elementwise/arg_max.wgsl`.

use half::f16;

use super::Meaning;
use crate::error::Result;
use crate::numeric::DType;
use crate::ops::ArgMax;
use crate::tensor::Tensor;

impl Meaning for ArgMax {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        let x = inputs[0];
        let n = self.input().shape().row_length();
        let places = match x.dtype() {
            DType::Float32 => first_greatest(x.values::<f32>()?, n, |a, b| a > b || (a.is_nan() && !b.is_nan())),
            DType::Float16 => first_greatest(x.values::<f16>()?, n, |a, b| a > b || (a.is_nan() && !b.is_nan())),
            DType::Int32 => first_greatest(x.values::<i32>()?, n, |a, b| a > b),
            DType::Int8 => first_greatest(x.values::<i8>()?, n, |a, b| a > b),
            _ => first_greatest(x.values::<u8>()?, n, |a, b| a > b),
        };
        Ok(vec![Tensor::from_values(self.output().clone(), places)])
    }

    fn tolerance(&self, _: &[&Tensor]) -> Option<Vec<f32>> {
        None
    }
}

fn first_greatest<T: Copy>(values: &[T], n: usize, is_greater: impl Fn(T, T) -> bool) -> Vec<i32> {
    let place = |row: &[T]| (1..n).fold(0, |best, i| if is_greater(row[i], row[best]) { i } else { best }) as i32;
    values.chunks_exact(n).map(place).collect()
}
