//! Times every candidate of int8 convolutions with the shapes of vision networks and requantized outputs. Gelem/s are GOPS: a
//! product and a sum count as two operations, products with padding included.
//! Run one op: `cargo bench --bench conv -- depthwise`. The files beside it time other ops.

#[path = "../tests/common/mod.rs"]
mod common;
mod measure;

use common::Random;
use criterion::{Criterion, Throughput};
use lowbit::ops::{Conv, Op, Padding, Requantization};
use lowbit::{Context, DType, Quantization, Result, Tensor};

struct Case {
    name: &'static str,
    size: usize,
    channels: usize,
    outputs: usize,
    kernel: usize,
    stride: usize,
    groups: usize,
}

const CASES: [Case; 4] = [
    Case { name: "3x3 64 to 64 of 56x56", size: 56, channels: 64, outputs: 64, kernel: 3, stride: 1, groups: 1 },
    Case { name: "1x1 256 to 64 of 56x56", size: 56, channels: 256, outputs: 64, kernel: 1, stride: 1, groups: 1 },
    Case { name: "depthwise 3x3 of 112x112", size: 112, channels: 32, outputs: 32, kernel: 3, stride: 1, groups: 32 },
    Case { name: "first 7x7 3 to 64 of 224x224", size: 224, channels: 3, outputs: 64, kernel: 7, stride: 2, groups: 1 },
];

fn conv(criterion: &mut Criterion, context: &Context) -> Result<()> {
    let mut random = Random::new(2);
    for Case { name, size, channels, outputs, kernel, stride, groups } in CASES {
        let image = random.quantized(DType::Uint8, &[1, size, size, channels]);
        let terms = kernel * kernel * channels / groups;
        let weights = random
            .codes(DType::Int8, &[outputs, kernel, kernel, channels / groups])
            .quantized(Quantization::tensor(0.02, 0))?;
        let build = |weights: Tensor| -> Result<Op> {
            let codes = Requantization::new(DType::Uint8, 1.0, 128)?;
            let conv = Conv::new(image.tensor_type().clone(), weights).stride([stride; 2]).groups(groups);
            Ok(conv.padding(Padding::SameUpper).output(codes).build()?.into())
        };
        let op = build(weights.clone())?;
        // Groups are independent: the outputs of the first and the last group are compared, each in full.
        let difference = |got: &[Tensor]| {
            if groups > 1 {
                return measure::difference_from_reference(&op, &[&image], got);
            }
            let chosen = [0, outputs - 1];
            let few = chosen.iter().flat_map(|output| output * terms..(output + 1) * terms);
            let few = measure::gather(&weights, &[chosen.len(), kernel, kernel, channels], few)?;
            let [batch, height, width] = [0, 1, 2].map(|axis| got[0].dims()[axis]);
            let part = (0..batch * height * width).flat_map(|pixel| chosen.map(|output| pixel * outputs + output));
            let part = measure::gather(&got[0], &[batch, height, width, chosen.len()], part)?;
            measure::difference_from_reference(&build(few)?, &[&image], &[part])
        };
        let operations = 2 * op.outputs()[0].shape().elements() * terms;
        let (group, operations) = (format!("conv {name}"), Throughput::Elements(operations as u64));
        measure::every_candidate(criterion, context, &group, operations, (&op, &[&image]), difference);
    }
    Ok(())
}

fn main() {
    measure::run(conv);
}
