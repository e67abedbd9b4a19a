//! Ops that read states, parameters, indices or tables from tensors, with random words in these tensors, on every kernel, with
//! every access instrumented. No kernel reaches beyond a buffer, and exact ops are exact on such words too. Valid states are in
//! tests/observe.rs, tests/train.rs and the file of each op.

mod common;

use common::{Random, bounds_of_all, check_op, context};
use lowbit::numeric::{BlockFormat, BlockRounding, QuantizationParams};
use lowbit::ops::{
    Bins, BlockDequantize, Conv, ConvPass, CrossEntropyGradient, DynamicGranularity, Embedding, FakeQuantize,
    FakeQuantizeGradient, FakeRequantize, FakeRequantizeOutput, FloatConv, Grid, GridGradient, Linear, LinearConv,
    Matmul, ObserveHistogram, ObserveRange, Op, OptimizerRule, OptimizerStep, Output, Padding, RangeUpdate,
    RequantParams, StepFromRange, Unfold, Windows,
};
use lowbit::weights::{Codes, PackedWeights, Quantizer, ScaleFormat, WeightFormat};
use lowbit::{DType, Granularity, Result, Tensor, TensorType, reference};

/// An edge-case word that a check might miss, or any word.
fn word(random: &mut Random) -> u32 {
    const FLOATS: [f32; 10] =
        [0.0, 1.0, f32::MAX, f32::INFINITY, f32::NAN, f32::MIN_POSITIVE, 1e-40, 1e30, 16_777_216.0, 0.3];
    match random.next() % 6 {
        0 => random.pick(&[0, 1, 2, 3, 7, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff, 0x7f80_0001]),
        1 => random.pick(&FLOATS).to_bits(),
        2 => (-random.pick(&FLOATS)).to_bits(),
        3 => random.real().to_bits(),
        4 => random.integer(-20, 20) as u32,
        _ => random.next() as u32,
    }
}

/// A tensor of random words.
fn garbage(random: &mut Random, of: &TensorType) -> Result<Tensor> {
    let (dimensions, count) = (of.dims(), of.shape().elements());
    // Two-word counts saturate with all bits set, so some tensors have all bits set.
    let words: Vec<u32> = match random.next() % 4 {
        0 => vec![word(random) | random.pick(&[0, u32::MAX]); count],
        _ => (0..count).map(|_| word(random)).collect(),
    };
    let tensor = match of.dtype() {
        DType::Parameters => {
            let pairs = words.into_iter().map(|w| QuantizationParams::new(f32::from_bits(w), word(random) as i32));
            Tensor::new(dimensions, pairs.collect::<Vec<_>>())
        }
        format => {
            let bytes: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
            Tensor::from_packed(TensorType::new(format, dimensions)?, &bytes[..(count * format.bits()).div_ceil(8)])
        }
    }?;
    match of.quantization() {
        Some(quantization) => tensor.quantized(quantization.clone()),
        None => Ok(tensor),
    }
}

/// A tensor of ordinary floats.
fn reals(random: &mut Random, dims: &[usize]) -> Result<Tensor> {
    Tensor::new(dims, (0..dims.iter().product()).map(|_| random.real()).collect::<Vec<f32>>())
}

fn type_of(dtype: DType, dims: &[usize]) -> Result<TensorType> {
    TensorType::new(dtype, dims)
}

/// Observers, which read states.
fn observers() -> Result<Vec<Op>> {
    let mut ops: Vec<Op> = Vec::new();
    for (shape, granularity) in
        [(vec![7, 3], Granularity::Tensor), (vec![7, 3], Granularity::Axis(1)), (vec![1], Granularity::Tensor)]
    {
        for rule in [RangeUpdate::MinMax, RangeUpdate::MovingAverage { constant: 0.25 }] {
            ops.push(ObserveRange::new(TensorType::float32(&shape[..])?, granularity, rule)?.into());
        }
        for bins in [Bins::new(16)?, Bins::of_width(16, 1.0)?, Bins::of_width(64, 0.3)?] {
            ops.push(ObserveHistogram::new(TensorType::float32(&shape[..])?, granularity, bins)?.into());
        }
    }
    for codes in [(0, 15), (-8, 7), (0, 1 << 24)] {
        ops.push(StepFromRange::new(TensorType::int32([33, 6])?, codes)?.into());
    }
    Ok(ops)
}

/// Training ops, which read grids, tables and moments.
fn trained() -> Result<Vec<Op>> {
    let mut ops: Vec<Op> = vec![
        RequantParams::new(TensorType::float32([65])?)?.into(),
        CrossEntropyGradient::new(TensorType::float32([5, 3])?)?.into(),
    ];
    for (grid, codes) in
        [(Grid::Affine, (0, 255)), (Grid::Step, (-8, 7)), (Grid::Range, (-128, 127)), (Grid::Range, (0, 65_535))]
    {
        let builder = FakeQuantize::new(TensorType::float32([5, 13])?, grid, Granularity::Axis(1), codes);
        let forward = builder.clone().build()?;
        ops.push(FakeQuantizeGradient::new(forward.clone())?.into());
        ops.extend(GridGradient::new(forward.clone(), 0.5).ok().map(Op::from));
        ops.extend(builder.levels().build().ok().map(Op::from));
        ops.push(forward.into());
    }
    for makes in [
        FakeRequantizeOutput::Levels,
        FakeRequantizeOutput::Real,
        FakeRequantizeOutput::Gradient,
        FakeRequantizeOutput::StepGradient,
    ] {
        ops.push(FakeRequantize::new(TensorType::float32([3, 29])?, makes, (-8, 7)).build()?.into());
    }
    for rule in [
        OptimizerRule::adam(),
        OptimizerRule::Sgd { momentum: 0.9 },
        OptimizerRule::Sgd { momentum: 1.0 - f32::EPSILON / 2.0 },
    ] {
        ops.push(OptimizerStep::new(TensorType::float32([67])?, rule).build()?.into());
        ops.push(OptimizerStep::new(TensorType::float32([67])?, rule).at_least(0.25).build()?.into());
    }
    let [image, filter] = [[2, 4, 4, 3], [2, 3, 3, 3]].map(TensorType::float32);
    let conv = FloatConv::new(image?, filter?, Windows::default()).pass(ConvPass::WeightGradient);
    ops.push(conv.build()?.into());
    Ok(ops)
}

/// Products and conversions whose scales, zero points and indices are on the device.
fn indexed(random: &mut Random) -> Result<Vec<Op>> {
    let mut ops: Vec<Op> = Vec::new();
    let mut weights = |dims: [usize; 3], codes, scales| -> Result<PackedWeights> {
        let [experts, n, k] = dims;
        let matrix = reals(random, &[experts, n, k])?;
        Quantizer::new(WeightFormat::new(codes, 32, scales))?.quantize(&matrix)
    };
    for format in [DType::Float32, DType::Float16] {
        ops.push(
            Embedding::new(TensorType::int32([19])?, weights([1, 70, 40], Codes::INT4, ScaleFormat::F16)?)
                .output(format)
                .build()?
                .into(),
        );
    }
    ops.push(
        Embedding::new(TensorType::int32([19])?, weights([1, 5, 3], Codes::INT8, ScaleFormat::F32Zero)?)
            .build()?
            .into(),
    );
    for lhs in [DType::Float32, DType::Float16] {
        let experts = weights([3, 9, 40], Codes::INT4, ScaleFormat::F32)?;
        ops.push(Linear::new(type_of(lhs, &[5, 40])?, experts).experts(2).build()?.into());
    }
    let experts = weights([3, 9, 40], Codes::INT8, ScaleFormat::F16)?;
    let bias = reals(&mut Random::new(1), &[3, 9])?;
    let linear = Linear::new(type_of(DType::Int8, &[5, 40])?, experts).dynamic_lhs(DynamicGranularity::Row);
    ops.push(linear.experts(2).bias(bias).build()?.into());
    let kernels = weights([1, 6, 27], Codes::INT4, ScaleFormat::F32)?;
    ops.push(LinearConv::new(type_of(DType::Uint8, &[2, 5, 5, 3])?, kernels, [3, 3]).dynamic_image().build()?.into());
    let unfold = Unfold::new(type_of(DType::Uint8, &[2, 5, 5, 3])?, [3, 3]).padding(Padding::SameUpper);
    ops.push(unfold.dynamic_image().build()?.into());
    let codes = |random: &mut Random, dims: &[usize]| random.codes(DType::Int8, dims);
    for granularity in [DynamicGranularity::Row, DynamicGranularity::Tensor] {
        let rhs = codes(&mut Random::new(2), &[20, 9]).quantized(lowbit::Quantization::tensor(0.1, 0))?;
        let matmul = Matmul::new(type_of(DType::Uint8, &[5, 20])?, rhs).dynamic_lhs(granularity);
        ops.push(matmul.output(Output::real()).build()?.into());
    }
    let filters = codes(&mut Random::new(3), &[4, 3, 3, 3]).quantized(lowbit::Quantization::tensor(0.1, 0))?;
    let conv = Conv::new(type_of(DType::Uint8, &[2, 5, 5, 3])?, filters).dynamic_lhs();
    ops.push(conv.output(Output::real()).build()?.into());
    for format in [BlockFormat::mx(DType::Float4E2M1, BlockRounding::Floor)?, BlockFormat::nvfp4(0.5)?] {
        ops.push(BlockDequantize::new(TensorType::new(format.element(), [3, 70])?, format).build()?.into());
    }
    Ok(ops)
}

/// Runs each op on random words several times: alternately in its states only and in all of its inputs.
fn check(ops: Vec<Op>, seed: u64) -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let (mut bounded, mut compared, mut random) = (0, 0, Random::new(seed));
    for (i, op) in ops.iter().enumerate() {
        for turn in 0..6 {
            let name = format!("{} {i}, turn {turn}", op.name());
            let input = |(at, of): (usize, &TensorType)| match (at, of.dtype(), turn % 2) {
                (0, DType::Float32, 0) => reals(&mut random, of.dims()),
                _ => garbage(&mut random, of),
            };
            let inputs = op.inputs().iter().enumerate().map(input).collect::<Result<Vec<_>>>()?;
            let inputs: Vec<&Tensor> = inputs.iter().collect();
            bounded += bounds_of_all(&context, &name, op, &inputs);
            // The reference refuses invalid scales and codes as parameters of dynamic quantization.
            if let Ok(None) = reference::run(op, &inputs).and_then(|_| reference::tolerance(op, &inputs)) {
                compared += check_op(&context, &name, op, &inputs);
            }
        }
    }
    println!("{bounded} launches of kernels in bounds, {compared} compared, on {}", context.description());
    Ok(())
}

#[test]
fn observers_take_any_state() -> Result<()> {
    check(observers()?, 181)
}

#[test]
fn training_takes_any_state() -> Result<()> {
    check(trained()?, 182)
}

#[test]
fn indices_and_parameters_may_be_anything() -> Result<()> {
    check(indexed(&mut Random::new(183))?, 184)
}
