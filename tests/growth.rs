//! A launch leaves no memory behind in the process, however often it is repeated. A driver that recompiles programs for the
//! uniforms of a launch keeps each copy. That costs tens to hundreds of KiB and milliseconds of processor time per launch.
//! `shaders.rs` checks the program sources for the cause.

#[path = "../examples/shaders/catalog.rs"]
#[allow(dead_code, reason = "only the ops are of interest here")]
mod catalog;
mod common;

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::task::{Poll, Waker};

use lowbit::numeric::{BlockFormat, BlockRounding, QuantizationParams};
use lowbit::ops::{
    Add, Append, AppendQuantized, ArgMax, Arithmetic, Attention, Bins, BlockDequantize, BlockQuantize, Cast,
    ChannelGate, Concat, Conv, ConvPass, CrossEntropyGradient, Dequantize, DynamicGranularity, DynamicQuantize,
    Embedding, FakeQuantize, FakeQuantizeGradient, FakeRequantize, FakeRequantizeOutput, FloatBinary, FloatConv,
    FloatMatmul, FloatPool, FloatUnary, Function, Fused, Gather, Grid, GridGradient, JointLinear, LayerNorm, Linear,
    LinearConv, Matmul, Multiply, ObserveHistogram, ObserveRange, Op, OptimizerStep, Output, Pad, PadMode, Pool,
    Quantize, QuantizeWeights, QuantizedSoftmax, RangeUpdate, Reduce, Reduction, RequantParams, Requantization,
    Requantize, Reshape, Resize, Rotary, RotaryAppend, RotaryPairs, Select, Slice, Softmax, StepFromRange, Sum, Table,
    TopK, Transpose, Unfold, Windows,
};
use lowbit::weights::{Codes, GroupParams, PackedWeights, Quantizer, ScaleFormat, Search, WeightFormat};
use lowbit::{
    Context, DType, DeviceTensor, Granularity, Graph, Quantization, Result, Tensor, TensorType, Tuner, kernels,
};

use DType::{Float32, Int8, Int16, Int32, Uint8};

fn real(dims: &[usize]) -> Result<TensorType> {
    TensorType::new(Float32, dims)
}

fn codes(dtype: DType, dims: &[usize]) -> Result<TensorType> {
    TensorType::new(dtype, dims)?.quantized(Quantization::tensor(0.1, 3))
}

/// Weights with a zero point.
fn filter(dims: &[usize]) -> Result<Tensor> {
    let values = (0..dims.iter().product()).map(|i: usize| (i * 37 % 255) as u8 as i8).collect::<Vec<_>>();
    Tensor::new(dims, values)?.quantized(Quantization::tensor(0.1, 3))
}

/// At least one op of each kind, in shapes that run its loops over several axes, taps, slices and groups.
fn ops() -> Result<Vec<(&'static str, Op)>> {
    let stage = || Requantization::new(Int8, 0.1, 0);
    let mut ops: Vec<(&str, Op)> = Vec::new();
    // Products.
    let product = |m: usize| -> Result<_> { Ok(Matmul::new(codes(Uint8, &[m, 200])?, filter(&[200, 24])?)) };
    ops.push(("matmul of one row", product(1)?.build()?.into()));
    ops.push(("matmul", product(48)?.output(stage()?).build()?.into()));
    ops.push((
        "matmul of int16",
        Matmul::new(TensorType::new(Int16, [9, 50])?.quantized(Quantization::tensor(0.1, 0))?, filter(&[50, 12])?)
            .output(Output::real())
            .build()?
            .into(),
    ));
    ops.push((
        "matmul, batched",
        Matmul::new(codes(Uint8, &[2, 3, 9, 40])?, codes(Int8, &[3, 40, 12])?).build()?.into(),
    ));
    ops.push((
        "matmul, rows with scales",
        Matmul::new(TensorType::new(Uint8, [9, 40])?, filter(&[40, 12])?)
            .dynamic_lhs(DynamicGranularity::Row)
            .output(Output::real())
            .build()?
            .into(),
    ));
    for (name, channels, count, groups, kernel) in [
        ("conv", 32, 24, 1, 3),
        ("conv of few channels", 3, 16, 1, 3),
        ("conv in groups", 12, 12, 2, 3),
        ("conv by channel", 24, 24, 24, 3),
        ("conv by channel, two each", 8, 16, 8, 3),
        ("conv by pixel", 32, 24, 1, 1),
    ] {
        let conv =
            Conv::new(codes(Uint8, &[1, 12, 12, channels])?, filter(&[count, kernel, kernel, channels / groups])?);
        ops.push((name, conv.groups(groups).output(stage()?).build()?.into()));
    }
    let conv = Conv::new(codes(Uint8, &[1, 12, 12, 16])?, filter(&[12, 3, 3, 16])?).stride([2, 2]);
    ops.push(("conv, transposed", conv.transposed().build()?.into()));
    let product = FloatMatmul::new(real(&[17, 33])?, real(&[33, 9])?);
    ops.push(("float_matmul", product.build()?.into()));
    let product = FloatMatmul::new(real(&[2, 3, 17, 32])?, real(&[3, 32, 12])?);
    ops.push(("float_matmul, batched", product.build()?.into()));
    let product = FloatMatmul::new(real(&[2, 1, 32, 17])?, real(&[3, 32, 12])?).transposed_lhs();
    ops.push(("float_matmul, batched, transposed", product.build()?.into()));
    let matrix = |codes, scales, experts, n, k: usize| -> Result<PackedWeights> {
        PackedWeights::build(WeightFormat::new(codes, 32, scales), [experts, n, k], |_, _, groups, _| {
            groups.fill(lowbit::weights::GroupParams::scale(1.0));
            Ok(())
        })
    };
    for (name, m, codes) in
        [("linear of one row", 1, Codes::INT4), ("linear", 24, Codes::INT4), ("linear of 3 bits", 9, Codes::INT3)]
    {
        ops.push((name, Linear::new(real(&[m, 192])?, matrix(codes, ScaleFormat::F16, 1, 24, 192)?).build()?.into()));
    }
    let lhs = TensorType::new(Int8, [9, 192])?.quantized(Quantization::tensor(0.1, 0))?;
    ops.push((
        "linear of codes",
        Linear::new(lhs, matrix(Codes::INT4, ScaleFormat::F16Zero, 1, 24, 192)?).build()?.into(),
    ));
    let experts = Linear::new(real(&[6, 64])?, matrix(Codes::INT4, ScaleFormat::F16, 3, 12, 64)?).experts(2);
    ops.push(("linear, experts", experts.build()?.into()));
    let gaps = Linear::new(real(&[6, 100])?, matrix(Codes::INT4, ScaleFormat::F16, 1, 12, 100)?);
    ops.push(("linear with gaps", gaps.build()?.into()));
    let layer = Linear::new(real(&[2, 64])?, matrix(Codes::INT4, ScaleFormat::F16, 1, 64, 64)?).build()?;
    let joint = JointLinear::new(vec![layer.clone(), layer])?;
    ops.push(("layers of one input", joint.clone().into()));
    ops.push(("a gate", joint.gated(Function::Silu)?.into()));
    let image = real(&[1, 8, 8, 6])?;
    ops.push((
        "linear_conv",
        LinearConv::new(image, matrix(Codes::INT4, ScaleFormat::F16, 2, 4, 27)?, [3, 3]).build()?.into(),
    ));
    ops.push((
        "embedding",
        Embedding::new(TensorType::int32([5])?, matrix(Codes::INT4, ScaleFormat::NestedOffset(2), 1, 24, 96)?)
            .build()?
            .into(),
    ));
    for pass in [ConvPass::Forward, ConvPass::ImageGradient, ConvPass::WeightGradient] {
        let [image, filter] = [[3, 8, 8, 6], [4, 3, 3, 6]].map(TensorType::float32);
        let conv = FloatConv::new(image?, filter?, Windows::default()).pass(pass);
        ops.push(("float_conv", conv.build()?.into()));
    }
    // Conversions between products.
    let wide = TensorType::new(Int32, [6, 40])?.quantized(Quantization::symmetric_axis(1, vec![0.1; 40]))?;
    ops.push(("requantize", Requantize::new(wide, stage()?)?.into()));
    let blocks = Quantization::new(Granularity::Blocks { axis: 1, size: 8 }, vec![0.5; 30], vec![3]);
    let blocked = TensorType::new(Uint8, [6, 40])?.quantized(blocks)?;
    ops.push((
        "quantize in blocks",
        Quantize::new(TensorType::float32(blocked.dims())?, blocked.clone()).build()?.into(),
    ));
    ops.push(("dequantize in blocks", Dequantize::new(blocked).build()?.into()));
    ops.push(("quantize", Quantize::new(TensorType::float32([6, 40])?, codes(Uint8, &[6, 40])?).build()?.into()));
    ops.push(("dequantize", Dequantize::new(codes(DType::Uint4, &[6, 40])?).build()?.into()));
    for (name, granularity) in [
        ("dynamic_quantize", DynamicGranularity::Tensor),
        ("dynamic_quantize by row", DynamicGranularity::Row),
        ("dynamic_quantize in groups", DynamicGranularity::Group(32)),
    ] {
        ops.push((name, DynamicQuantize::new(TensorType::float32([60, 300])?, Uint8, granularity).build()?.into()));
    }
    for (name, a, b) in [
        ("add", &[4, 5, 6, 24][..], &[4, 5, 6, 24][..]),
        ("add, broadcast", &[4, 5, 6, 24], &[4, 1, 6, 1]),
        ("add, broadcast the other way", &[5, 1, 24], &[4, 1, 6, 24]),
    ] {
        let (a, b) = (codes(Uint8, a)?, codes(Int8, b)?);
        ops.push((name, Add::new(a.clone(), b.clone(), stage()?).build()?.into()));
        ops.push(("multiply", Multiply::new(a.clone(), b.clone(), stage()?).build()?.into()));
        ops.push(("float_binary", FloatBinary::new(real(a.dims())?, real(b.dims())?, Arithmetic::Add)?.into()));
    }
    ops.push(("pool", Pool::max(codes(Uint8, &[1, 12, 12, 24])?, [3, 2]).build()?.into()));
    ops.push((
        "pool, whole image",
        Pool::global_average(codes(Uint8, &[1, 32, 32, 24])?).output(stage()?).build()?.into(),
    ));
    for (name, image) in [("gate", &[1, 12, 12, 24][..]), ("gate of a large image", &[1, 32, 32, 24])] {
        let pool = Pool::global_average(codes(Uint8, image)?).output(stage()?).build()?;
        let pixel = Op::from(pool.clone()).outputs()[0].clone();
        let layer = |filter| Conv::new(pixel.clone(), filter).output(stage()?).build();
        let layers = vec![layer(filter(&[24, 1, 1, 24])?)?, layer(filter(&[24, 1, 1, 24])?)?];
        ops.push((name, ChannelGate::new(pool, layers)?.into()));
    }
    ops.push(("table", Table::sigmoid(codes(Uint8, &[6, 40])?, stage()?)?.into()));
    ops.push(("quantized softmax", QuantizedSoftmax::new(codes(Uint8, &[6, 40])?, stage()?)?.into()));
    ops.push(("quantized softmax of long rows", QuantizedSoftmax::new(codes(Uint8, &[2, 2000])?, stage()?)?.into()));
    ops.push(("cast", Cast::new(real(&[6, 40])?, DType::Float8E4M3Fn).build()?.into()));
    let parts = || -> Result<_> { Ok(vec![codes(Uint8, &[6, 5, 10])?, codes(Uint8, &[6, 5, 10])?]) };
    ops.push(("concat of columns", Concat::new(parts()?, 2).output(stage()?).build()?.into()));
    ops.push(("concat of rows", Concat::new(parts()?, 1).output(stage()?).build()?.into()));
    ops.push(("moving concat", Concat::new([real(&[6, 40])?, real(&[6, 30])?], 1).build()?.into()));
    let first = Matmul::new(codes(Uint8, &[48, 200])?, filter(&[200, 24])?).output(stage()?).build()?;
    let made = Op::from(first.clone()).outputs()[0].clone();
    ops.push(("fused", Fused::new(first.into(), Add::new(made.clone(), made, stage()?).build()?.into(), 0)?.into()));
    let condition = TensorType::new(Uint8, [5, 1, 24])?;
    ops.push(("select", Select::new(condition, real(&[4, 1, 6, 1])?, real(&[4, 5, 6, 24])?)?.into()));
    ops.push(("reduce", Reduce::new(real(&[4, 5, 6, 24])?, [1, 3], Reduction::Mean)?.into()));
    ops.push(("reduce of slices", Reduce::new(real(&[3, 9_000])?, [1], Reduction::L2)?.into()));
    ops.push(("float_pool", FloatPool::max(real(&[1, 12, 12, 24])?, [3, 2]).build()?.into()));
    ops.push(("gather", Gather::new(codes(Uint8, &[6, 40])?, 0, TensorType::int32([9])?)?.into()));
    ops.push(("float_unary", FloatUnary::new(TensorType::float32([6, 40])?, Function::Gelu)?.into()));
    ops.push(("append", Append::new(codes(Uint8, &[6, 40])?, codes(Uint8, &[2, 40])?)?.into()));
    let rotary = Rotary::new(TensorType::float32([3, 4, 8])?, TensorType::float32([9, 8])?, RotaryPairs::Halves)?;
    let values = Append::new(TensorType::float32([300, 2, 8])?, TensorType::float32([3, 2, 8])?)?;
    let keys = values.clone().rotated(TensorType::float32([9, 8])?, RotaryPairs::Halves)?;
    ops.push(("rotary_append", RotaryAppend::new(rotary.clone(), keys, values)?.into()));
    ops.push(("rotary", rotary.into()));
    let cache = || TensorType::float32([300, 2, 8]);
    ops.push(("attention", Attention::new(TensorType::float32([3, 4, 8])?, cache()?, cache()?).build()?.into()));
    let cache = || Ok::<_, lowbit::Error>(TensorType::new(Int8, [300, 2, 8])?.with_dynamic_scales());
    let over_codes = Attention::new(TensorType::float32([3, 4, 8])?, cache()?, cache()?).build()?;
    ops.push(("attention over codes", over_codes.into()));
    let group = DynamicGranularity::Group(8);
    let cache = || Ok::<_, lowbit::Error>(TensorType::new(DType::Int4, [300, 2, 16])?.with_dynamic_scales());
    let over_groups = Attention::new(TensorType::float32([3, 4, 16])?, cache()?, cache()?).scales(group);
    let masked = over_groups.mask(TensorType::float32([3, 300])?).build()?;
    ops.push(("masked attention over groups of codes", masked.into()));
    let append = AppendQuantized::new(cache()?, TensorType::float32([3, 2, 16])?, group)?;
    ops.push(("append_quantized", append.clone().into()));
    let rotated = append.rotated(TensorType::float32([9, 8])?, RotaryPairs::Halves)?;
    ops.push(("append_quantized of rotated rows", rotated.into()));
    let parameters = |n| TensorType::new(DType::Parameters, [n, 2]);
    ops.push(("append of parameters", Append::new(parameters(300)?, parameters(3)?)?.into()));
    ops.push(("arg_max", ArgMax::new(codes(Uint8, &[6, 40])?)?.into()));
    ops.push(("top_k", TopK::new(codes(Uint8, &[6, 40])?, 5).build()?.into()));
    ops.push(("top_k of long rows", TopK::new(real(&[2, 3000])?, 5).build()?.into()));
    ops.push(("softmax", Softmax::new(TensorType::float32([6, 40])?).build()?.into()));
    ops.push(("softmax of long rows", Softmax::new(TensorType::float32([2, 2000])?).build()?.into()));
    ops.push((
        "layer_norm",
        LayerNorm::new(TensorType::float32([6, 40])?, Tensor::new([40], vec![1.0f32; 40])?, 1e-5).build()?.into(),
    ));
    // Ops that move elements.
    for format in [Int8, Int16, Float32] {
        ops.push(("transpose of rows", Transpose::new(TensorType::new(format, [4, 6, 5, 24])?, [2, 0, 1, 3])?.into()));
        ops.push(("transpose", Transpose::new(TensorType::new(format, [4, 6, 5, 24])?, [2, 3, 1, 0])?.into()));
        ops.push((
            "transpose in blocks",
            Transpose::new(TensorType::new(format, [2, 3, 32, 48])?, [1, 0, 3, 2])?.into(),
        ));
    }
    let nhwc = codes(Uint8, &[2, 32, 24])?;
    let transpose = Transpose::new(real(&[2, 24, 32])?, [0, 2, 1])?;
    ops.push((
        "transpose, quantized",
        Fused::new(transpose.into(), Quantize::new(TensorType::float32(nhwc.dims())?, nhwc).build()?.into(), 0)?.into(),
    ));
    for format in [Int8, Float32] {
        let whole = || TensorType::new(format, [4, 6, 5, 40]);
        ops.push(("slice", Slice::take(whole()?, 1, [0, 2, 1])?.into()));
        ops.push(("slice of columns", Slice::take(whole()?, 3, [0, 2, 1])?.into()));
        ops.push(("pad", Pad::new(whole()?, [0, 1, 0, 2], [0, 1, 2, 0], PadMode::Zero)?.into()));
        ops.push(("pad by its edge", Pad::new(whole()?, [0, 1, 0, 2], [0, 1, 2, 0], PadMode::Edge)?.into()));
        ops.push(("reshape", Reshape::new(whole()?, [24, 200])?.into()));
        ops.push(("resize to the nearest", Resize::nearest(whole()?, [7, 9]).build()?.into()));
    }
    ops.push(("resize", Resize::linear(codes(Uint8, &[1, 6, 5, 24])?, [9, 9]).build()?.into()));
    ops.push(("unfold", Unfold::new(TensorType::new(Int8, [1, 8, 8, 3])?, [3, 3]).build()?.into()));
    // Blocks, weights, calibration and training.
    let mx = BlockFormat::mx(DType::Float8E4M3Fn, BlockRounding::Ceil)?;
    ops.push(("block_quantize", BlockQuantize::new(real(&[6, 64])?, mx)?.into()));
    ops.push(("block_dequantize", BlockDequantize::new(TensorType::new(mx.element(), [6, 64])?, mx).build()?.into()));
    let quantizer = Quantizer::new(WeightFormat::new(Codes::INT4, 32, ScaleFormat::F16))?;
    ops.push(("quantize_weights", QuantizeWeights::new(TensorType::float32([6, 100])?, quantizer.clone())?.into()));
    ops.push((
        "quantize_weights, searched",
        QuantizeWeights::new(TensorType::float32([6, 96])?, quantizer.search(Search::default())?)?.into(),
    ));
    for granularity in [Granularity::Tensor, Granularity::Axis(1)] {
        let dims = [60, 7, 9];
        ops.push((
            "observe_range",
            ObserveRange::new(TensorType::float32(dims)?, granularity, RangeUpdate::MinMax)?.into(),
        ));
        ops.push((
            "observe_histogram",
            ObserveHistogram::new(TensorType::float32(dims)?, granularity, Bins::new(64)?)?.into(),
        ));
        for grid in [Grid::Affine, Grid::Step, Grid::Range] {
            let forward = FakeQuantize::new(TensorType::float32(dims)?, grid, granularity, (0, 15)).build()?;
            ops.push(("fake_quantize_gradient", FakeQuantizeGradient::new(forward.clone())?.into()));
            ops.extend(GridGradient::new(forward.clone(), 1.0).map(|op| ("grid_gradient", op.into())));
            ops.push(("fake_quantize", forward.into()));
        }
        ops.push(("sum", Sum::new(TensorType::float32(dims)?, granularity)?.into()));
    }
    ops.push(("step_from_range", StepFromRange::new(TensorType::int32([4, 6])?, (0, 15))?.into()));
    ops.push(("requant_params", RequantParams::new(TensorType::float32([4])?)?.into()));
    for makes in [FakeRequantizeOutput::Levels, FakeRequantizeOutput::StepGradient] {
        ops.push((
            "fake_requantize",
            FakeRequantize::new(TensorType::float32([60, 40])?, makes, (0, 15)).build()?.into(),
        ));
    }
    ops.push(("cross_entropy_gradient", CrossEntropyGradient::new(TensorType::float32([6, 10])?)?.into()));
    for rule in [lowbit::ops::OptimizerRule::adam(), lowbit::ops::OptimizerRule::Sgd { momentum: 0.9 }] {
        ops.push(("optimizer_step", OptimizerStep::new(TensorType::float32([40])?, rule).build()?.into()));
    }
    Ok(ops)
}

/// A tensor to read: zeros, or parameters that are legal for codes of any dtype.
fn input(context: &Context, tensor_type: &TensorType) -> Result<DeviceTensor> {
    match tensor_type.dtype() {
        DType::Parameters => {
            let parameters = vec![QuantizationParams::new(1.0, 0); tensor_type.shape().elements()];
            context.upload(&Tensor::new(tensor_type.dims(), parameters)?)
        }
        _ => DeviceTensor::allocate(context, tensor_type.clone()),
    }
}

/// Resources that this process has used so far.
#[derive(Clone, Copy)]
struct Used {
    /// Resident memory in KiB.
    resident: f64,
    /// Machine code in KiB that is in no file: code generated by drivers.
    code: f64,
    /// Processor time of its threads in seconds.
    seconds: f64,
}

/// Resources that this process has used so far; `None` if the system doesn't report them.
fn used() -> Option<Used> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let resident =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix(" kB")?.parse().ok()?;
    let nanoseconds = |task: std::io::Result<std::fs::DirEntry>| -> Option<u64> {
        let times = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        times.split(' ').next()?.parse().ok()
    };
    let time: u64 = std::fs::read_dir("/proc/self/task").ok()?.filter_map(nanoseconds).sum();
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let code = |line: &str| -> Option<u64> {
        let [range, permissions, _, _, _] = line.split_whitespace().collect::<Vec<_>>()[..] else { return None };
        let (begin, end) = range.split_once('-')?;
        let bytes = u64::from_str_radix(end, 16).ok()? - u64::from_str_radix(begin, 16).ok()?;
        permissions.contains('x').then_some(bytes)
    };
    let code = maps.lines().filter_map(code).sum::<u64>() as f64 / 1024.0;
    Some(Used { resident, code, seconds: time as f64 * 1e-9 })
}

/// Tests of this file measure the whole process, so they take turns.
static ALONE: Mutex<()> = Mutex::new(());

/// Runs per measurement: enough to tell copies of the smallest programs from an allocator's retained memory.
const RUNS: u32 = 100;

/// Most KiB that a run may leave besides machine code, of which it may leave none. The smallest observed copy of a program takes
/// 119 KiB. A tenth of that is more than allocators and the driver's lists take: some hundred KiB in all, divided by RUNS.
const MOST: f64 = 12.0;

#[test]
fn launches_leave_nothing_behind() -> Result<()> {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(context) = common::context() else { return Ok(()) };
    if used().is_none() {
        eprintln!("\n*** NOT RUN: this test reads /proc/self ***\n");
        return Ok(());
    }
    let (mut loops, mut kinds, mut grown) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    let mut runs = 0;
    println!("{:<36} {:<60} KiB a run, of code   ms a run: first, second {RUNS}", "op", "kernel");
    for (name, op) in ops()? {
        kinds.insert(op.variant());
        for (index, candidate) in kernels::candidates(&op, &context.caps()).iter().enumerate() {
            // The first guess, and candidates with a loop that has not run yet.
            let begins =
                |dispatch: &kernels::Dispatch| dispatch.program.name().split([' ', '+']).next().map(String::from);
            let new = candidate.dispatches.iter().filter_map(begins).filter(|l| loops.insert(l.clone())).count();
            if index > 0 && new == 0 {
                continue;
            }
            let plan = context.plan(&Graph::of(op.clone())?, Tuner::Nth(index))?;
            let inputs = plan.input_types().iter().map(|t| input(&context, t)).collect::<Result<Vec<_>>>()?;
            let outputs = plan.output_types().iter().map(|t| input(&context, t)).collect::<Result<Vec<_>>>()?;
            let bindings = plan.bind(&inputs.iter().collect::<Vec<_>>(), &outputs.iter().collect::<Vec<_>>())?;
            let run = |times: u32| -> Result<Used> {
                for _ in 0..times {
                    let mut encoder = context.device().create_command_encoder(&Default::default());
                    plan.record(&mut encoder, &bindings)?;
                    context.queue().submit([encoder.finish()]);
                    context.device().poll(wgpu::PollType::wait_indefinitely()).expect("a device that finishes");
                }
                Ok(used().expect("it was there before"))
            };
            let [start, middle, end] = [run(10)?, run(RUNS)?, run(RUNS)?];
            let each = |from: f64, to: f64| (to - from) / f64::from(RUNS);
            let (left, code) = (each(middle.resident, end.resident), each(middle.code, end.code));
            let [first, second] =
                [(start, middle), (middle, end)].map(|(from, to)| 1e3 * each(from.seconds, to.seconds));
            println!("{name:<36} {:<60} {left:>7.1} {code:>7.1}   {first:.2} {second:.2}", candidate.label);
            if left > MOST || code > 0.0 {
                grown.push(format!("{name} ({}): {left:.1} KiB a run, {code:.1} of code", candidate.label));
            }
            runs += 1;
        }
    }
    println!("{runs} plans of {} kinds of ops, {} loops, on {}", kinds.len(), loops.len(), context.description());
    let missing: Vec<_> = Op::VARIANTS.iter().filter(|&op| !kinds.contains(op)).collect();
    assert!(missing.is_empty(), "ops that are not tried: {missing:?}");
    assert!(grown.is_empty(), "more than {MOST} KiB a run, or code:\n{}", grown.join("\n"));
    Ok(())
}

/// A graph whose first dimension may be smaller at run time, with programs of several loops.
fn layers() -> Result<Graph> {
    let mut graph = Graph::new();
    let rows = graph.extent("rows", 40)?;
    let reals = graph.dynamic_input(real(&[40, 96])?, [(0, rows)])?;
    let stage = Requantization::new(Uint8, 0.1, 3)?;
    let quantized =
        graph.add(Quantize::new(TensorType::float32([40, 96])?, codes(Uint8, &[40, 96])?).build()?, &[reals])?;
    let product = Matmul::new(codes(Uint8, &[40, 96])?, filter(&[96, 96])?).output(stage.clone()).build()?;
    let product = graph.add(product, &[quantized])?;
    let sum = Add::new(graph.tensor_type(product)?.clone(), graph.tensor_type(quantized)?.clone(), stage).build()?;
    let sum = graph.add(sum, &[product, quantized])?;
    let output = graph.add(Dequantize::new(graph.tensor_type(sum)?.clone()).build()?, &[sum])?;
    graph.output(output);
    Ok(graph)
}

/// Warming up also triggers compilation in drivers that compile at the first launch, and it writes to no tensor.
#[test]
fn the_first_submission_after_warming_compiles_nothing() -> Result<()> {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(context) = common::context() else { return Ok(()) };
    let graph = layers()?;
    let code = || used().map_or(0.0, |used| used.code);
    for extent in [40, 1] {
        let mut random = common::Random::new(extent as u64);
        let plan = context.plan(&graph, Tuner::FirstGuess)?;
        let input = Tensor::new([extent, 96], (0..extent * 96).map(|_| random.real()).collect::<Vec<f32>>())?;
        let poison = Tensor::new([extent, 96], vec![-77.0f32; extent * 96])?;
        let (x, y) = (context.upload(&input)?, context.upload(&poison)?);
        context.download_blocking(&x)?;
        let before = (code(), context.counters());
        match extent {
            40 => pollster::block_on(plan.warm_up())?,
            _ => pollster::block_on(plan.at(&[("rows", extent)])?.warm_up())?,
        }
        let warm = (code(), context.counters());
        assert!(warm.1.pipelines > before.1.pipelines, "there is something to compile");
        let bindings = plan.bind(&[&x], &[&y])?;
        assert_eq!(context.counters().pipelines, warm.1.pipelines, "binding compiles nothing");
        assert_eq!(context.download_blocking(&y)?, poison, "warming writes to no tensor");
        assert_eq!(context.download_blocking(&x)?, input, "warming writes to no tensor");
        let mut encoder = context.device().create_command_encoder(&Default::default());
        plan.record(&mut encoder, &bindings)?;
        context.queue().submit([encoder.finish()]);
        assert_eq!(context.download_blocking(&y)?, graph.run_reference(&[&input])?[0]);
        let (after, info) = (code(), context.device().adapter_info());
        println!("extent {extent}: code {} KiB, warm {} KiB, launched {after} KiB on {}", before.0, warm.0, info.name);
        assert_eq!(after, warm.0, "KiB of machine code, which the driver has made of a program at its first launch");
        // A second warm-up does nothing.
        let before = context.counters();
        pollster::block_on(plan.at(&[("rows", extent)])?.warm_up())?;
        assert_eq!(context.counters(), before);
    }
    Ok(())
}

/// The highest mark of resident memory in KiB since the mark was reset; `None` if the system can't tell.
fn highest() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().strip_suffix(" kB")?.parse().ok()
}

/// Resets the mark of [`highest`].
fn reset_highest() -> Option<()> {
    std::fs::write("/proc/self/clear_refs", "5").ok()
}

/// An upload is copied in parts: beside the tensor on the host and that on the device, only two of them are in memory. 64 MiB is
/// twice their size, to leave room for the driver's own memory.
#[test]
fn an_upload_holds_few_copies() -> Result<()> {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(context) = common::context() else { return Ok(()) };
    if reset_highest().is_none() {
        eprintln!("\n*** NOT RUN: this test resets the mark of /proc/self ***\n");
        return Ok(());
    }
    let words = (256 << 20) / 4;
    let tensor = Tensor::new([words], (0..words as i32).collect::<Vec<_>>())?;
    let before = highest().expect("the system reports it");
    let uploaded = context.upload(&tensor)?;
    context.queue().submit([]);
    context.device().poll(wgpu::PollType::wait_indefinitely()).expect("a device that finishes");
    let most = (highest().expect("it was there before") - before) >> 10;
    println!("{most} MiB at most beside the tensor of 256 MiB");
    assert!(most < 256 + 64, "an upload of 256 MiB held {most} MiB beside its tensor");
    assert_eq!(context.download_blocking(&uploaded)?, tensor);
    Ok(())
}

/// Of deferred weights one layer at a time is in host memory while a plan uploads them. 64 MiB are the copies of an upload, programs, the
/// driver's own memory, and memory that the allocator keeps.
/// More than the 16 MiB that are mapped at a time: the words are those of the download's first poll, however much is written later.
#[test]
fn a_large_readback_is_of_one_time() -> Result<()> {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(context) = common::context() else { return Ok(()) };
    let words: Vec<i32> = (0..(9 << 20) + 3).collect();
    let tensor = context.upload(&Tensor::new([words.len()], words.clone())?)?;
    let buffers = context.counters().buffers;
    let mut download = Box::pin(context.download(&tensor));
    let first = download.as_mut().poll(&mut std::task::Context::from_waker(Waker::noop()));
    context.queue().write_buffer(tensor.buffer(), 0, &vec![0xff; 4 * words.len()]);
    context.queue().submit([]);
    let got = match first {
        Poll::Ready(got) => got?,
        Poll::Pending => pollster::block_on(download)?,
    };
    assert!(got.values::<i32>()? == words, "later words came back");
    assert_eq!(context.counters().buffers, buffers + 2, "a copy of the tensor, and the buffer that is mapped");
    // The mapped buffer is kept.
    let small = context.upload(&Tensor::new([3], vec![1i32, 2, 3])?)?;
    let buffers = context.counters().buffers;
    assert_eq!(context.download_blocking(&small)?.values::<i32>()?, [1, 2, 3]);
    assert_eq!(context.counters().buffers, buffers);
    Ok(())
}

#[test]
fn deferred_weights_leave_host_memory() -> Result<()> {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(context) = common::context() else { return Ok(()) };
    if reset_highest().is_none() {
        eprintln!("\n*** NOT RUN: this test resets the mark of /proc/self ***\n");
        return Ok(());
    }
    let (layers, n) = (16, 4096);
    let format = WeightFormat::new(Codes::INT8, 32, ScaleFormat::F16);
    let x = real(&[1, n])?;
    let mut graph = Graph::new();
    let mut value = graph.input(x.clone());
    let mut bytes = 0;
    for layer in 0..layers {
        let make = move || {
            PackedWeights::build(format, [1, n, n], |row, codes, groups, _| {
                codes.iter_mut().enumerate().for_each(|(l, code)| *code = ((row + l * layer) % 3) as i8 - 1);
                groups.fill(GroupParams::scale(1.0));
                Ok(())
            })
        };
        let weights = PackedWeights::deferred(format, [1, n, n], make)?;
        bytes += weights.bytes();
        value = graph.add(Linear::new(x.clone(), weights).build()?, &[value])?;
    }
    graph.output(value);
    let before = used().map_or(0.0, |used| used.resident);
    let plan = context.plan(&graph, Tuner::FirstGuess)?;
    context.queue().submit([]);
    context.device().poll(wgpu::PollType::wait_indefinitely()).expect("a device that finishes");
    let most = (highest().map_or(0.0, |most| most as f64) - before) / 1024.0;
    let on_device = (bytes >> 20) as f64;
    println!("weights of {on_device} MiB: at most {most:.0} MiB, with the device's own memory");
    assert!(most < on_device * (1.0 + 1.0 / layers as f64) + 64.0, "at most {most:.0} MiB");
    drop(plan);
    Ok(())
}

/// A layer that appends to caches and attends to them, for one token: its inputs are x, the position and the table, then the caches of
/// keys and values. All weights are small integers, so that the values are exact.
fn decoding_layer(capacity: usize) -> Result<(Graph, Linear)> {
    let (heads, kv_heads, d, hidden) = (4, 2, 8, 32);
    let format = WeightFormat::new(Codes::INT4, 32, ScaleFormat::F16);
    let layer = |n: usize, k: usize, seed: usize| -> Result<Linear> {
        let weights = PackedWeights::build(format, [1, n, k], |row, codes, groups, _| {
            codes.iter_mut().enumerate().for_each(|(l, code)| *code = ((row * 7 + l * 5 + seed) % 5) as i8 - 2);
            groups.fill(GroupParams::scale(1.0));
            Ok(())
        })?;
        Linear::new(real(&[1, k])?, weights).build()
    };
    let mut graph = Graph::new();
    let x = graph.input(real(&[1, hidden])?);
    let position = graph.input(TensorType::new(Int32, [1])?);
    let table = graph.input(real(&[capacity, d])?);
    let cache = real(&[capacity, kv_heads, d])?;
    let states = [graph.state(cache.clone()), graph.state(cache.clone())];
    let values = layer(kv_heads * d, hidden, 3)?;
    let query = graph.add(layer(heads * d, hidden, 1)?, &[x])?;
    let key = graph.add(layer(kv_heads * d, hidden, 2)?, &[x])?;
    let value = graph.add(values.clone(), &[x])?;
    let query = graph.reshape(query, [1, heads, d])?;
    let (key, value) = (graph.reshape(key, [1, kv_heads, d])?, graph.reshape(value, [1, kv_heads, d])?);
    let rotary =
        |dims: &[usize]| -> Result<Rotary> { Rotary::new(real(dims)?, real(&[capacity, d])?, RotaryPairs::Halves) };
    let query = graph.add(rotary(&[1, heads, d])?, &[query, position, table])?;
    let key = graph.add(rotary(&[1, kv_heads, d])?, &[key, position, table])?;
    let append = Append::new(cache.clone(), real(&[1, kv_heads, d])?)?;
    let keys = graph.add(append.clone(), &[states[0], key, position])?;
    let values_so_far = graph.add(append, &[states[1], value, position])?;
    let attention = Attention::new(real(&[1, heads, d])?, cache.clone(), cache).causal().build()?;
    let mixed = graph.add(attention, &[query, keys, values_so_far, position])?;
    let mixed = graph.reshape(mixed, [1, heads * d])?;
    let mixed = graph.add(layer(hidden, heads * d, 4)?, &[mixed])?;
    let sum = FloatBinary::new(real(&[1, hidden])?, real(&[1, hidden])?, Arithmetic::Add)?;
    let y = graph.add(sum, &[x, mixed])?;
    graph.output(y);
    Ok((graph, values))
}

/// 2,000 tokens by one plan and one set of bindings: only x and the position change. Nothing is allocated, memory stays flat, and the
/// cache of values has the reference's bits.
#[test]
fn thousands_of_tokens_allocate_nothing() -> Result<()> {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(context) = common::context() else { return Ok(()) };
    let (tokens, warm) = (2_000, 200);
    let (graph, values) = decoding_layer(tokens)?;
    let plan = context.plan(&graph, Tuner::FirstGuess)?;
    let frequencies = [1.0, 0.1, 0.01, 0.001];
    let inputs: Vec<DeviceTensor> = [
        Tensor::new([1, 32], vec![0.0f32; 32])?,
        Tensor::new([1], vec![0i32])?,
        Rotary::table(tokens, &frequencies)?,
        Tensor::new([tokens, 2, 8], vec![0.0f32; tokens * 16])?,
        Tensor::new([tokens, 2, 8], vec![0.0f32; tokens * 16])?,
    ]
    .iter()
    .map(|tensor| context.upload(tensor))
    .collect::<Result<_>>()?;
    let output = DeviceTensor::allocate(&context, plan.output_types()[0].clone())?;
    let bindings = plan.bind(&inputs.iter().collect::<Vec<_>>(), &[&output])?;
    let x = |token: usize| (0..32).map(|i| ((token * 11 + i * i) % 7) as f32 - 3.0).collect::<Vec<f32>>();
    let mut start = None;
    for token in 0..tokens {
        if token == warm {
            start = Some((used(), context.counters()));
        }
        context.queue().write_buffer(inputs[0].buffer(), 0, bytemuck::cast_slice(&x(token)));
        context.queue().write_buffer(inputs[1].buffer(), 0, bytemuck::bytes_of(&(token as i32)));
        let mut encoder = context.device().create_command_encoder(&Default::default());
        plan.record(&mut encoder, &bindings)?;
        context.queue().submit([encoder.finish()]);
        context.device().poll(wgpu::PollType::wait_indefinitely()).expect("a device that finishes");
    }
    let (before, counted) = start.expect("there are more tokens");
    let now = context.counters();
    assert_eq!((now.buffers, now.pipelines), (counted.buffers, counted.pipelines), "nothing is allocated or compiled");
    if let Some((before, after)) = before.zip(used()) {
        let each = (after.resident - before.resident) / (tokens - warm) as f64;
        println!(
            "{each:.2} KiB a token, {:.2} ms of processor time",
            1e3 * (after.seconds - before.seconds) / (tokens - warm) as f64
        );
        assert!(each < 1.0, "{each:.2} KiB a token");
        assert_eq!(after.code, before.code, "machine code");
    }
    let kept = context.download_blocking(&inputs[4])?;
    for (token, row) in kept.values::<f32>()?.chunks_exact(16).enumerate() {
        let x = Tensor::new([1, 32], x(token))?;
        let expected = lowbit::reference::run(&values.clone().into(), &[&x])?;
        assert_eq!(row, expected[0].values::<f32>()?, "values of token {token}");
    }
    // The last token again: every op is right by itself.
    let report = plan.verify_blocking(&bindings)?;
    assert_eq!(report.first_wrong_op, None, "{report}");
    Ok(())
}
