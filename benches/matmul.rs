//! Times every candidate of a matmul of m int8 rows with 1024 × 1024 weights of 8, 4 and 2 bits. Gelem/s are GOPS: a product
//! and a sum count as two operations. Run one size: `cargo bench --bench matmul -- m=128`. The files beside it time other ops.

#[path = "../tests/common/mod.rs"]
mod common;
mod measure;

use common::Random;
use criterion::{Criterion, Throughput};
use lowbit::ops::{Matmul, Op, Output, Requantization};
use lowbit::{Context, DType, Quantization, Result, Tensor};

const N: usize = 1024;
const K: usize = 1024;

fn matmul(criterion: &mut Criterion, context: &Context) -> Result<()> {
    let mut random = Random::new(1);
    let scales: Vec<f32> = (0..N).map(|_| random.scale()).collect();
    let codes = Requantization::new(DType::Int8, 2.0, -3)?.relu();
    let cases: [(&str, DType, Output); 4] = [
        ("accumulators", DType::Int8, Output::Accumulator),
        ("codes", DType::Int8, codes.into()),
        ("accumulators, int4 weights", DType::Int4, Output::Accumulator),
        ("accumulators, int2 weights", DType::Int2, Output::Accumulator),
    ];
    for (name, format, output) in cases {
        let weights = random.codes(format, &[K, N]).quantized(Quantization::symmetric_axis(1, scales.clone()))?;
        for m in [1, 16, 128, 512] {
            let lhs = random.quantized(DType::Int8, &[m, K]);
            let build = |lhs: &Tensor| -> Result<Op> {
                let matmul = Matmul::new(lhs.tensor_type().clone(), weights.clone());
                Ok(matmul.output(output.clone()).build()?.into())
            };
            // Rows are independent: the first, a middle and the last row are compared.
            let rows = if m == 1 { vec![0] } else { vec![0, m / 2, m - 1] };
            let part = |tensor: &Tensor, width: usize| {
                let indices = rows.iter().flat_map(|row| row * width..(row + 1) * width);
                measure::gather(tensor, &[rows.len(), width], indices)
            };
            let difference = |outputs: &[Tensor]| {
                let few = part(&lhs, K)?;
                measure::difference_from_reference(&build(&few)?, &[&few], &[part(&outputs[0], N)?])
            };
            let (group, operations) = (format!("matmul m={m} to {name}"), Throughput::Elements(2 * (m * N * K) as u64));
            measure::every_candidate(criterion, context, &group, operations, (&build(&lhs)?, &[&lhs]), difference);
        }
    }
    Ok(())
}

fn main() {
    measure::run(matmul);
}
