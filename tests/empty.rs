//! Ops with empty inputs and nonempty outputs: sums of no terms, empty pools, states after an empty batch. Candidates of each op
//! take turns, and each must write the whole of its output with the reference's values. The tests of each op cover empty outputs.

mod common;

use common::{ONE_CANDIDATE, Random, check_cases, check_op_in_turn, check_op_within_in_turn, context};
use half::f16;
use lowbit::numeric::BlockFormat;
use lowbit::ops::{
    Add, Bins, BlockQuantize, Concat, Conv, ConvPass, CrossEntropyGradient, DynamicGranularity, DynamicQuantize,
    Embedding, FakeQuantize, FakeRequantize, FakeRequantizeOutput, FloatConv, FloatMatmul, Fused, Grid, GridGradient,
    JointLinear, Linear, LinearConv, Matmul, ObserveHistogram, ObserveRange, Op, OptimizerRule, OptimizerStep, Output,
    Pad, PadMode, Padding, Pool, QuantizeWeights, RangeUpdate, RequantParams, Requantization, Reshape, Resize, Slice,
    Sum, Table, Unfold, Windows,
};
use lowbit::weights::{Codes, GroupParams, PackedWeights, Quantizer, ScaleFormat, WeightFormat};
use lowbit::{DType, Error, Granularity, Quantization, Result, Rounding, Tensor, TensorType, reference};

/// Name of a case by intent, its op, and its inputs.
type Case = (String, Op, Vec<Tensor>);

fn case(name: impl Into<String>, op: impl Into<Op>, inputs: impl Into<Vec<Tensor>>) -> Case {
    (name.into(), op.into(), inputs.into())
}

fn codes(dtype: DType, dims: &[usize]) -> Result<Tensor> {
    Random::new(1).codes(dtype, dims).quantized(Quantization::tensor(0.5, 0))
}

fn reals(dims: &[usize]) -> Result<Tensor> {
    let mut random = Random::new(2);
    Tensor::new(dims, (0..dims.iter().product()).map(|_| random.real()).collect::<Vec<f32>>())
}

fn weights(scales: ScaleFormat, dims: [usize; 3]) -> Result<PackedWeights> {
    PackedWeights::build(WeightFormat::new(Codes::INT4, 32, scales), dims, |_, codes, groups, _| {
        codes.fill(3);
        groups.fill(GroupParams::new(0.5, if scales == ScaleFormat::F32 { 0.0 } else { 1.0 }));
        Ok(())
    })
}

/// Codes and parameters of an empty batch, as a device would compute them.
fn dynamic(dims: &[usize], granularity: DynamicGranularity) -> Result<Vec<Tensor>> {
    let op = DynamicQuantize::new(TensorType::float32(dims)?, DType::Uint8, granularity).build()?;
    reference::run(&op.into(), &[&reals(dims)?])
}

/// Integer products of no terms: the bias, in every output stage.
fn matmuls(cases: &mut Vec<Case>) -> Result<()> {
    let bias = Tensor::new([5], vec![-70_000, -1, 0, 3, 1 << 20])?;
    let requantized = Requantization::new(DType::Int8, 0.75, 0)?;
    let wide = Requantization::new(DType::Int16, 0.75, 0)?.rounding(Rounding::FixedWide);
    let stages = [
        (DType::Int8, vec![Output::Accumulator, Output::float16()]),
        (DType::Uint8, vec![Output::real(), requantized.into()]),
        (DType::Int16, vec![Output::float16(), wide.into()]),
    ];
    for (format, outputs) in stages {
        let (lhs, rhs) = (codes(format, &[3, 0])?, codes(DType::Int8, &[0, 5])?);
        let image = codes(format, &[1, 3, 3, 0])?;
        let filter = codes(DType::Int8, &[5, 2, 2, 0])?;
        let no_pixel = codes(format, &[2, 0, 0, 6])?;
        let around = Padding::Explicit { begin: vec![2, 2], end: vec![1, 1] };
        for output in outputs {
            let name = |what: &str| format!("{what} of {format}, {output:?}");
            let matmul = Matmul::new(lhs.tensor_type().clone(), rhs.clone()).bias(bias.clone()).output(output.clone());
            cases.push(case(name("a matmul without k"), matmul.build()?, [lhs.clone()]));
            let matmul = Matmul::new(lhs.tensor_type().clone(), rhs.tensor_type().clone()).output(output.clone());
            cases.push(case(name("a matmul on the device without k"), matmul.build()?, [lhs.clone(), rhs.clone()]));
            for transposed in [false, true] {
                let conv = Conv::new(image.tensor_type().clone(), filter.clone()).bias(bias.clone());
                let conv = if transposed { conv.transposed() } else { conv };
                cases.push(case(
                    name("a conv without channels"),
                    conv.output(output.clone()).build()?,
                    [image.clone()],
                ));
            }
            for groups in [1, 2, 6] {
                let filter = codes(DType::Int8, &[6, 3, 3, 6 / groups])?;
                let conv = Conv::new(no_pixel.tensor_type().clone(), filter).groups(groups).padding(around.clone());
                cases.push(case(
                    name("a conv without pixels"),
                    conv.output(output.clone()).build()?,
                    [no_pixel.clone()],
                ));
            }
        }
        let tensor = Requantization::new(DType::Int8, 0.75, 3)?;
        let first: Op = Matmul::new(lhs.tensor_type().clone(), rhs).bias(bias.clone()).output(tensor).build()?.into();
        let made = first.outputs()[0].clone();
        let table = Table::sigmoid(made.clone(), Requantization::new(DType::Uint8, 0.004, 0)?)?;
        cases.push(case("a matmul without k and a table", Fused::new(first.clone(), table.into(), 0)?, [lhs.clone()]));
        let residual = codes(DType::Int8, &[3, 5])?;
        let add = Add::new(made, residual.tensor_type().clone(), Requantization::new(DType::Int8, 1.0, 0)?).build()?;
        cases.push(case("a matmul without k and a sum", Fused::new(first, add.into(), 0)?, [lhs, residual]));
    }
    for granularity in [DynamicGranularity::Tensor, DynamicGranularity::Row] {
        let [lhs, parameters] = dynamic(&[3, 0], granularity)?.try_into().expect("two tensors");
        let matmul = Matmul::new(lhs.tensor_type().clone(), codes(DType::Int8, &[0, 5])?);
        let op = matmul.dynamic_lhs(granularity).output(Output::real()).build()?;
        cases.push(case(format!("a dynamic matmul without k, {granularity:?}"), op, [lhs, parameters]));
    }
    Ok(())
}

/// Sums of floats without terms.
fn float_products(cases: &mut Vec<Case>) -> Result<()> {
    let bias = reals(&[5])?;
    for (transposed_lhs, transposed_rhs) in [(false, false), (true, false), (false, true)] {
        let lhs = reals(if transposed_lhs { &[0, 3] } else { &[3, 0] })?;
        let rhs = reals(if transposed_rhs { &[5, 0] } else { &[0, 5] })?;
        for on_device in [false, true] {
            let matmul = match on_device {
                false => FloatMatmul::new(lhs.tensor_type().clone(), rhs.clone()),
                true => FloatMatmul::new(lhs.tensor_type().clone(), rhs.tensor_type().clone()),
            };
            let matmul = if transposed_lhs { matmul.transposed_lhs() } else { matmul };
            let matmul = if transposed_rhs { matmul.transposed_rhs() } else { matmul };
            let mut inputs = vec![lhs.clone()];
            inputs.extend(on_device.then(|| rhs.clone()));
            cases.push(case("a float matmul without k", matmul.bias(bias.clone()).build()?, inputs));
        }
    }
    let halves = Tensor::new([3, 0], Vec::<f16>::new())?;
    let op = FloatMatmul::new(halves.tensor_type().clone(), reals(&[0, 5])?).output(DType::Float16).build()?;
    cases.push(case("a float matmul of halves without k", op, [halves]));

    let one = || Tensor::new([1], vec![0.5f32]);
    let conv = |image: [usize; 4], weights: [usize; 4], pass| -> Result<FloatConv> {
        let windows = Windows::default().with_padding([1; 4]);
        FloatConv::new(TensorType::float32(image)?, TensorType::float32(weights)?, windows).pass(pass).build()
    };
    let op = conv([2, 4, 4, 0], [5, 3, 3, 0], ConvPass::Forward)?;
    cases.push(case("a float conv without channels", op, [reals(&[2, 4, 4, 0])?, reals(&[5, 3, 3, 0])?]));
    let op = conv([2, 4, 4, 3], [0, 3, 3, 3], ConvPass::ImageGradient)?;
    cases.push(case("an image gradient without outputs", op, [reals(&[2, 4, 4, 0])?, reals(&[0, 3, 3, 3])?]));
    let op = conv([0, 4, 4, 3], [5, 3, 3, 3], ConvPass::WeightGradient)?;
    cases.push(case("a weight gradient of no image", op, [reals(&[0, 4, 4, 3])?, reals(&[0, 4, 4, 5])?, one()?]));
    Ok(())
}

/// Products with weights in groups: without k, without experts, and with rows that aren't there.
fn grouped_products(cases: &mut Vec<Case>) -> Result<()> {
    // Four biases fill the smallest buffer.
    for (n, scales) in [(4, ScaleFormat::F16Offset), (5, ScaleFormat::F32), (70, ScaleFormat::F32Zero)] {
        let (w, bias) = (weights(scales, [1, n, 0])?, reals(&[n])?);
        let linear = |lhs: &TensorType| Linear::new(lhs.clone(), w.clone()).bias(bias.clone());
        let x = reals(&[3, 0])?;
        cases.push(case(format!("linear without k, {n} columns"), linear(x.tensor_type()).build()?, [x.clone()]));
        let columns = weights(scales, [1, 64, 0])?;
        let first = Linear::new(x.tensor_type().clone(), columns).bias(reals(&[64])?).build()?;
        let joint = JointLinear::new(vec![first, linear(x.tensor_type()).build()?])?;
        cases.push(case(format!("layers without k, 64 and {n} columns"), joint, [x]));
        let x = Tensor::new([3, 0], Vec::<f16>::new())?;
        let op = linear(x.tensor_type()).output(DType::Float16).build()?;
        cases.push(case(format!("linear of halves without k, {n} columns"), op, [x]));
        for (spread, granularity, count) in [
            ("one scale", Granularity::Tensor, 1),
            ("a scale per row", Granularity::Axis(0), 3),
            ("a scale per block", Granularity::Blocks { axis: 1, size: 32 }, 0),
        ] {
            let quantization = Quantization::new(granularity, vec![0.25; count], [1]);
            let x = Tensor::new([3, 0], Vec::<i8>::new())?.quantized(quantization)?;
            let name = format!("linear of codes without k, {spread}, {n} columns");
            cases.push(case(name, linear(x.tensor_type()).build()?, [x]));
        }
        for granularity in [DynamicGranularity::Tensor, DynamicGranularity::Row, DynamicGranularity::Group(32)] {
            let [x, parameters] = dynamic(&[3, 0], granularity)?.try_into().expect("two tensors");
            let op = linear(&TensorType::new(DType::Uint8, [3, 0])?).dynamic_lhs(granularity).build()?;
            let name = format!("linear of dynamic codes without k, {granularity:?}, {n} columns");
            cases.push(case(name, op, [x, parameters]));
        }
    }
    let rows = Quantization::symmetric_axis(1, [0.25, 0.5, 0.75]);
    let x = Tensor::new([2, 3, 0], Vec::<i8>::new())?.quantized(rows)?;
    let op = Linear::new(x.tensor_type().clone(), weights(ScaleFormat::F32, [1, 5, 0])?).build()?;
    cases.push(case("linear of codes without k, rows of matrices", op, [x]));
    for k in [0, 64] {
        let chosen = Tensor::new([3, 2], vec![0, 1, -1, i32::MAX, i32::MIN, 2])?;
        for experts in [0, 2] {
            let w = weights(ScaleFormat::F32, [experts, 5, k])?;
            let x = reals(&[3, k])?;
            let op = Linear::new(x.tensor_type().clone(), w.clone()).experts(2).build()?;
            cases.push(case(format!("linear with {experts} experts, k = {k}"), op, [x, chosen.clone()]));
            let x = codes(DType::Int8, &[3, k])?;
            let op = Linear::new(x.tensor_type().clone(), w).experts(2).bias(reals(&[5])?).build()?;
            cases.push(case(format!("linear of codes with {experts} experts, k = {k}"), op, [x, chosen.clone()]));
        }
    }
    for format in [DType::Float32, DType::Float16] {
        for k in [64, 33] {
            let indices = Tensor::new([3], vec![0, 1, -1])?;
            let op = Embedding::new(TensorType::int32([3])?, weights(ScaleFormat::F16, [1, 0, k])?)
                .output(format)
                .build()?;
            cases.push(case(format!("rows of {k} of an empty table, {format}"), op, [indices]));
        }
    }
    let around = Padding::Explicit { begin: vec![1, 1], end: vec![1, 1] };
    for (image, k) in [([2, 3, 3, 0], 0), ([2, 0, 0, 4], 16)] {
        let (x, w) = (reals(&image)?, weights(ScaleFormat::F32, [1, 5, k])?);
        let conv = LinearConv::new(x.tensor_type().clone(), w, [2, 2]).padding(around.clone()).bias(reals(&[5])?);
        cases.push(case(format!("a linear conv of {image:?}"), conv.build()?, [x]));
        let x = codes(DType::Uint8, &image)?;
        let w = weights(ScaleFormat::F32, [1, 5, k])?;
        let conv = LinearConv::new(x.tensor_type().clone(), w, [2, 2]).padding(around.clone()).bias(reals(&[5])?);
        cases.push(case(format!("a linear conv of codes, {image:?}"), conv.build()?, [x]));
    }
    Ok(())
}

/// Ranges, sums and states of no numbers.
fn reductions(cases: &mut Vec<Case>) -> Result<()> {
    let mut random = Random::new(3);
    for granularity in [DynamicGranularity::Tensor, DynamicGranularity::Row] {
        for dimensions in [[0, 7], [3, 0]] {
            let op = DynamicQuantize::new(TensorType::float32(dimensions)?, DType::Int8, granularity).build()?;
            cases.push(case(format!("ranges of {dimensions:?}, {granularity:?}"), op, [reals(&dimensions)?]));
        }
    }
    let granularities = [
        (Granularity::Tensor, [0, 3]),
        (Granularity::Tensor, [3, 0]),
        (Granularity::Axis(0), [3, 0]),
        (Granularity::Axis(1), [0, 3]),
        (Granularity::Blocks { axis: 0, size: 2 }, [0, 3]),
        (Granularity::Blocks { axis: 1, size: 2 }, [3, 0]),
    ];
    for (granularity, dimensions) in granularities {
        let name = |what: &str| format!("{what} of {dimensions:?}, {granularity:?}");
        let x = reals(&dimensions)?;
        cases.push(case(name("sums"), Sum::new(TensorType::float32(dimensions)?, granularity)?, [x.clone()]));
        for rule in [RangeUpdate::MinMax, RangeUpdate::MovingAverage { constant: 0.5 }] {
            let op = ObserveRange::new(TensorType::float32(dimensions)?, granularity, rule)?;
            let ranges = op.state().dims()[0];
            for seen in [[0; 6], [(-2.0f32).to_bits() as i32, 3.0f32.to_bits() as i32, 5, 0, 1, 0]] {
                let state = Tensor::new([ranges, 6], seen.repeat(ranges))?;
                cases.push(case(name("a range"), op.clone(), [x.clone(), state]));
            }
        }
        let op = ObserveHistogram::new(TensorType::float32(dimensions)?, granularity, Bins::new(16)?)?;
        let state = Tensor::new(op.state().dims(), vec![0i32; op.state().shape().elements()])?;
        cases.push(case(name("a histogram"), op.clone(), [x.clone(), state.clone()]));
        let [ranges, words] = op.state().dims().try_into().expect("ranges of words");
        if ranges > 0 {
            let batch = Tensor::new([1, ranges], (0..ranges).map(|_| random.real()).collect::<Vec<f32>>())?;
            let seen = ObserveHistogram::new(TensorType::float32([1, ranges])?, Granularity::Axis(1), Bins::new(16)?)?;
            let seen = reference::run(&seen.into(), &[&batch, &state])?.remove(0);
            assert_eq!(seen.dims(), [ranges, words]);
            cases.push(case(name("a histogram after a batch"), op, [x.clone(), seen]));
        }
        for grid in [Grid::Step, Grid::Range] {
            let forward = FakeQuantize::new(TensorType::float32(dimensions)?, grid, granularity, (-8, 7)).build()?;
            let op: Op = GridGradient::new(forward, 0.5)?.into();
            let parameters = &op.inputs()[1];
            let count = parameters.shape().elements();
            // Steps, or pairs of a least and a greatest number.
            let value = |i: usize| if grid == Grid::Step || i % 2 == 1 { 0.5f32 } else { -0.5 };
            let values: Vec<f32> = (0..count).map(value).collect();
            let parameters = Tensor::new(parameters.dims(), values)?;
            cases.push(case(name("gradients of a grid"), op, [x.clone(), parameters, x.clone()]));
        }
    }
    for dimensions in [[0, 3], [3, 0]] {
        let op = FakeRequantize::new(TensorType::float32(dimensions)?, FakeRequantizeOutput::StepGradient, (0, 15))
            .gradient_scale(0.5)
            .build()?;
        let table = Tensor::new([dimensions[1], 4], vec![0i32; dimensions[1] * 4])?;
        let x = reals(&dimensions)?;
        cases.push(case(format!("the gradient of a step, {dimensions:?}"), op, [x.clone(), table, x]));
    }
    Ok(())
}

/// Ops that move or select elements, on empty inputs.
fn surroundings(cases: &mut Vec<Case>) -> Result<()> {
    for format in [DType::Int8, DType::Uint8] {
        let image = Random::new(4).codes(format, &[2, 0, 0, 5]).quantized(Quantization::tensor(0.5, 3))?;
        let around = Padding::Explicit { begin: vec![1, 1], end: vec![1, 2] };
        let max = Pool::max(image.tensor_type().clone(), [2, 2]).padding(around.clone()).build()?;
        cases.push(case(format!("the greatest of none, {format}"), max, [image.clone()]));
        for counted in [false, true] {
            let pool = Pool::average(image.tensor_type().clone(), [2, 2]).padding(around.clone());
            let pool = if counted { pool.count_padding() } else { pool };
            cases.push(case(format!("the mean of none, {format}"), pool.build()?, [image.clone()]));
        }
        let patches = Unfold::new(image.tensor_type().clone(), [2, 2]).padding(around).build()?;
        cases.push(case(format!("patches of no pixel, {format}"), patches, [image.clone()]));
        let output = Requantization::new(DType::Int8, 0.25, 1)?;
        let some = Random::new(5).codes(format, &[2, 3]).quantized(Quantization::tensor(0.5, 3))?;
        let none = Random::new(5).codes(format, &[2, 0]).quantized(Quantization::tensor(0.5, 3))?;
        for order in [[&none, &some, &none], [&none, &none, &some], [&some, &none, &none]] {
            let types: Vec<_> = order.iter().map(|t| t.tensor_type().clone()).collect();
            cases.push(case(
                "something and nothing",
                Concat::new(types, 1).output(output.clone()).build()?,
                order.map(Tensor::clone),
            ));
        }
    }
    for format in [DType::Int2, DType::Uint4, DType::Int8, DType::Int16, DType::Int32] {
        let nothing = Random::new(6).codes(format, &[2, 0, 3]);
        let op = Pad::new(nothing.tensor_type().clone(), [0, 2, 1], [0, 3, 0], PadMode::Code(1))?;
        cases.push(case(format!("nothing among {format} codes"), op, [nothing.clone()]));
        let nothing = Random::new(6).codes(format, &[2, 3, 0]);
        let op = Pad::new(nothing.tensor_type().clone(), [0, 0, 5], [0, 0, 4], PadMode::Zero)?;
        cases.push(case(format!("nothing among {format} zeros"), op, [nothing]));
    }
    for dimensions in [[0, 3], [3, 0]] {
        let op = Pad::new(reals(&dimensions)?.tensor_type().clone(), [1, 1], [2, 2], PadMode::Zero)?;
        cases.push(case(format!("{dimensions:?} among zeros"), op, [reals(&dimensions)?]));
    }
    Ok(())
}

/// Ops with empty inputs and outputs are planned and run too.
fn nothing(cases: &mut Vec<Case>) -> Result<()> {
    let empty = reals(&[3, 0])?;
    cases.push(case(
        "no rows of classes",
        CrossEntropyGradient::new(TensorType::float32([0, 3])?)?,
        [reals(&[0, 3])?, Tensor::new([0], Vec::<i32>::new())?],
    ));
    cases.push(case(
        "blocks of nothing",
        BlockQuantize::new(empty.tensor_type().clone(), BlockFormat::nvfp4(0.1)?)?,
        [empty.clone()],
    ));
    cases.push(case("a slice of nothing", Slice::take(empty.tensor_type().clone(), 0, [2, 0])?, [empty.clone()]));
    cases.push(case("nothing reshaped", Reshape::new(empty.tensor_type().clone(), [0, 7])?, [empty.clone()]));
    let quantizer = Quantizer::new(WeightFormat::new(Codes::INT4, 32, ScaleFormat::F16))?;
    for dimensions in [[0, 64], [5, 0]] {
        let op = QuantizeWeights::new(TensorType::float32(dimensions)?, quantizer.clone())?;
        cases.push(case(format!("weights of {dimensions:?}"), op, [reals(&dimensions)?]));
    }
    let one = Tensor::new([1], vec![0.5f32])?;
    cases.push(case(
        "no channel",
        RequantParams::new(TensorType::float32([0])?)?,
        [one.clone(), reals(&[0])?, reals(&[0])?, one.clone()],
    ));
    let op = OptimizerStep::new(TensorType::float32([0])?, OptimizerRule::Sgd { momentum: 0.5 }).build()?;
    cases.push(case("no parameter", op, [reals(&[0])?, reals(&[0])?, reals(&[1, 0])?, one]));
    let image = codes(DType::Int8, &[1, 0, 4, 3])?;
    cases.push(case(
        "no row of pixels",
        Resize::nearest(image.tensor_type().clone(), [0, 8]).build()?,
        [image.clone()],
    ));
    cases.push(case("no row of pixels, linear", Resize::linear(image.tensor_type().clone(), [0, 8]).build()?, [image]));
    Ok(())
}

#[test]
fn what_is_made_of_nothing_is_written() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut cases = Vec::new();
    for family in [matmuls, float_products, grouped_products, reductions, surroundings, nothing] {
        family(&mut cases)?;
    }
    let count = cases.len();
    let combinations = check_cases(cases, |(name, op, inputs)| {
        let inputs: Vec<&Tensor> = inputs.iter().collect();
        match reference::tolerance(op, &inputs).expect("sound inputs") {
            None => check_op_in_turn(ONE_CANDIDATE, &context, name, op, &inputs),
            Some(_) => check_op_within_in_turn(ONE_CANDIDATE, &context, name, op, &inputs).0,
        }
    });
    println!("nothing: {count} cases, {combinations} combinations on {}", context.description());
    Ok(())
}

/// Ops that have no result on empty inputs are refused.
#[test]
fn what_is_refused() -> Result<()> {
    let refused = |op: Result<Op>, words: &str| {
        let Err(Error::Request(message)) = op else { panic!("not refused: {op:?}") };
        assert!(message.contains(words), "{words:?} is not in {message:?}");
    };
    let empty = TensorType::new(DType::Float32, [3, 0])?;
    let pad = |mode| Pad::new(empty.clone(), [0, 1], [0, 1], mode).map(Op::from);
    refused(pad(PadMode::Edge), "takes 1 elements, but it has 0");
    refused(pad(PadMode::Reflect), "takes 2 elements, but it has 0");
    refused(Slice::take(empty, 1, [0]).map(Op::from), "0");
    let image = codes(DType::Int8, &[1, 0, 3])?.tensor_type().clone();
    refused(Resize::nearest(image.clone(), [4]).build().map(Op::from), "empty, so that it can't have 4 elements");
    refused(Resize::linear(image.clone(), [4]).build().map(Op::from), "empty, so that it can't have 4 elements");
    refused(Pool::global_average(image.clone()).build().map(Op::from), "0");
    refused(Pool::max(image, [2]).build().map(Op::from), "0");
    refused(CrossEntropyGradient::new(TensorType::float32([3, 0])?).map(Op::from), "0 classes");
    Ok(())
}
