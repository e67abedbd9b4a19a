//! `ops::Linear` at the ends of number ranges: sums beyond i32, outputs at the end of f16, zeros and least codes everywhere. It
//! also checks that repeated runs have equal bits. Formats and sizes are in tests/linear.rs.

mod common;

use common::{Random, context};
use half::f16;
use lowbit::ops::{DynamicGranularity, DynamicQuantize, Linear, Op};
use lowbit::weights::{Codes, GroupParams, PackedWeights, Quantizer, ScaleFormat, WeightFormat};
use lowbit::{DType, Graph, Quantization, Result, Tensor, TensorType, Tuner, kernels, reference};

fn filled(
    format: WeightFormat,
    [n, k]: [usize; 2],
    code: impl Fn(usize, usize) -> i8 + Sync,
    scale: f32,
) -> Result<PackedWeights> {
    PackedWeights::build(format, [1, n, k], |row, codes, groups, _| {
        codes.iter_mut().enumerate().for_each(|(l, place)| *place = code(row, l));
        groups.fill(GroupParams::scale(scale));
        Ok(())
    })
}

/// 200,000 products of ±128 · 128 exceed i32, and of 255 · 128 already 65,794 products do.
#[test]
fn sums_beyond_i32() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let k = 200_000;
    let mut worst = 0.0f32;
    let mut check = |name: &str, lhs: &Tensor, weights: PackedWeights| -> Result<()> {
        let op: Op = Linear::new(lhs.tensor_type().clone(), weights).build()?.into();
        let (expected, bounds) = (reference::run(&op, &[lhs])?, reference::tolerance(&op, &[lhs])?);
        let (expected, bounds) = (expected[0].values::<f32>()?, bounds.expect("linear has a bound"));
        for (index, candidate) in kernels::candidates(&op, &context.caps()).iter().enumerate() {
            let got = context.plan(&Graph::of(op.clone())?, Tuner::Nth(index))?.run_blocking(&[lhs])?;
            for ((&got, &expected), &bound) in got[0].values::<f32>()?.iter().zip(expected).zip(&bounds) {
                let error = (got - expected).abs();
                assert!(error <= bound, "{name}, \"{}\": {got:e}, expected {expected:e}", candidate.label);
                worst = worst.max(error / bound);
            }
        }
        Ok(())
    };
    let low = |_: usize, _: usize| -128i8;
    // Rows of the least code, and a row that changes its sign in the middle.
    let mixed = |row: usize, l: usize| if row == 1 && l >= k / 2 { 127 } else { -128 };
    let int8 = WeightFormat::new(Codes::INT8, usize::MAX, ScaleFormat::F32);
    let least = Tensor::new([1, k], vec![-128i8; k])?.quantized(Quantization::tensor(1.0, 0))?;
    check("-128 times -128", &least, filled(int8, [3, k], mixed, 1.0)?)?;
    // With zero points, codes represent −255 and 255.
    let far = Tensor::new([1, k], vec![0u8; k])?.quantized(Quantization::tensor(0.5, 255))?;
    check("-255 times -128", &far, filled(int8, [2, k], low, 1.0)?)?;
    let zeros = WeightFormat::new(Codes::INT8, usize::MAX, ScaleFormat::F32Zero);
    let weights = PackedWeights::build(zeros, [1, 2, k], |_, codes, groups, _| {
        codes.fill(-128);
        groups.fill(GroupParams::new(1.0, 127.0));
        Ok(())
    })?;
    check("-255 times -255", &far, weights)?;
    let int4 = WeightFormat::new(Codes::INT4, usize::MAX, ScaleFormat::F32);
    check("-128 times -8", &least, filled(int4, [3, k], |_, _| -8, 1.0)?)?;
    let grouped = WeightFormat::new(Codes::INT4, 128, ScaleFormat::F16);
    check("-128 times -8 in groups", &least, filled(grouped, [3, k], |_, _| -8, 1.0)?)?;
    let floats = Tensor::new([1, k], (0..k).map(|l| if l % 3 == 0 { -1e30f32 } else { 1e30 }).collect::<Vec<_>>())?;
    check("floats of 1e30", &floats, filled(grouped, [3, k], |_, _| -8, 1.0)?)?;
    println!("largest error {worst:.3} of its bound");
    Ok(())
}

/// Sums of integers below 2²⁴ are exact in f32, so their rounding to f16 is known: 65,504 is the greatest f16, and from 65,520 on a
/// sum becomes infinity.
#[test]
fn outputs_at_the_end_of_f16() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let sums = [65_504.0, 65_503.0, 65_519.0, 65_520.0, 70_000.0, 65_487.0, 65_488.0];
    let format = WeightFormat::new(Codes::INT4, 32, ScaleFormat::F16);
    // A column of ones, and one of minus ones.
    let weights = filled(format, [2, 40], |row, _| if row == 0 { 1 } else { -1 }, 1.0)?;
    let mut x = vec![0.0f32; sums.len() * 40];
    for (row, sum) in x.chunks_mut(40).zip(sums) {
        (row[0], row[39]) = (sum - 3.0, 3.0);
    }
    let x = Tensor::new([sums.len(), 40], x)?;
    let op: Op = Linear::new(x.tensor_type().clone(), weights).output(DType::Float16).build()?.into();
    let expected: Vec<f16> = sums.iter().flat_map(|&sum| [f16::from_f32(sum), f16::from_f32(-sum)]).collect();
    assert_eq!(reference::run(&op, &[&x])?[0].values::<f16>()?, expected);
    for index in 0..kernels::candidates(&op, &context.caps()).len() {
        let plan = context.plan(&Graph::of(op.clone())?, Tuner::Nth(index))?;
        assert_eq!(plan.run_blocking(&[&x])?[0].values::<f16>()?, expected, "candidate {index}");
    }
    Ok(())
}

/// Rows of zeros stay zero with every quantization and all weights.
#[test]
fn zeros_stay_zeros() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(4_201);
    let (m, n, k) = (3, 5, 100);
    let mut x: Vec<f32> = (0..m * k).map(|_| random.real()).collect();
    x[k..2 * k].fill(0.0);
    let x = Tensor::new([m, k], x)?;
    let mut w: Vec<f32> = (0..n * k).map(|_| random.real()).collect();
    w[2 * k..3 * k].fill(0.0);
    let w = Tensor::new([n, k], w)?;
    for scales in [ScaleFormat::F16, ScaleFormat::F16Zero, ScaleFormat::F32Offset, ScaleFormat::E8M0] {
        let weights = Quantizer::new(WeightFormat::new(Codes::INT4, 32, scales))?.quantize(&w)?;
        for granularity in [DynamicGranularity::Row, DynamicGranularity::Group(32)] {
            for format in [DType::Int8, DType::Uint8] {
                let quantize = DynamicQuantize::new(TensorType::float32([m, k])?, format, granularity).build()?;
                let mut graph = Graph::new();
                let input = graph.input(x.tensor_type().clone());
                let codes = graph.add_all(quantize, &[input])?;
                let op = Linear::new(graph.tensor_type(codes[0])?.clone(), weights.clone()).dynamic_lhs(granularity);
                let output = graph.add(op.build()?, &codes)?;
                graph.output(output);
                let out = context.plan(&graph, Tuner::FirstGuess)?.run_blocking(&[&x])?;
                let out = out[0].values::<f32>()?;
                assert_eq!(out[n..2 * n], [0.0; 5], "{scales:?}, {granularity:?}, {format}: a row of zeros");
                let of_zeros: Vec<f32> = out.chunks(n).map(|row| row[2]).collect();
                assert_eq!(of_zeros, [0.0; 3], "{scales:?}, {granularity:?}, {format}: a column of zeros");
            }
        }
    }
    Ok(())
}

/// Every candidate computes equal bits in each run, with split-k too.
#[test]
fn the_same_bits_each_time() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(4_202);
    let mut combinations = 0;
    for (m, n, k) in [(1, 70, 1_500), (5, 33, 700)] {
        let w = Tensor::new([n, k], (0..n * k).map(|_| random.real()).collect::<Vec<_>>())?;
        let weights = Quantizer::new(WeightFormat::new(Codes::INT4, 32, ScaleFormat::F16))?.quantize(&w)?;
        let floats = Tensor::new([m, k], (0..m * k).map(|_| random.real()).collect::<Vec<_>>())?;
        let codes = random.quantized(DType::Int8, &[m, k]);
        for lhs in [floats, codes] {
            let op: Op = Linear::new(lhs.tensor_type().clone(), weights.clone()).build()?.into();
            for (index, candidate) in kernels::candidates(&op, &context.caps()).iter().enumerate() {
                let run = || -> Result<Vec<u32>> {
                    // A new plan with new buffers in each run.
                    let plan = context.plan(&Graph::of(op.clone())?, Tuner::Nth(index))?;
                    Ok(plan.run_blocking(&[&lhs])?[0].values::<f32>()?.iter().map(|x| x.to_bits()).collect())
                };
                let first = run()?;
                for _ in 0..3 {
                    assert_eq!(run()?, first, "candidate \"{}\"", candidate.label);
                }
                combinations += 1;
            }
        }
    }
    println!("{combinations} combinations");
    Ok(())
}
