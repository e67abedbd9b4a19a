//! Requests with huge shapes and little data. Building an op, listing its kernels and planning it takes memory for its description,
//! never for its elements. An op larger than any device is refused. A counting allocator fails allocations far beyond the bound, so
//! that a request of gigabytes ends the test and not the machine.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeSet;
use std::hint::black_box;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::context;
use lowbit::kernels::{self, DeviceCaps};
use lowbit::numeric::{BlockFormat, BlockRounding};
use lowbit::ops::{
    Add, Append, AppendQuantized, ArgMax, Arithmetic, Attention, Bins, BlockDequantize, BlockQuantize, Cast,
    ChannelGate, Concat, Conv, ConvPass, CrossEntropyGradient, Dequantize, DynamicGranularity, DynamicQuantize,
    Embedding, FakeQuantize, FakeQuantizeGradient, FakeRequantize, FakeRequantizeOutput, FloatBinary, FloatConv,
    FloatMatmul, FloatPool, FloatUnary, Function, Fused, Gather, Grid, GridGradient, JointLinear, LayerNorm, Linear,
    LinearConv, Matmul, Multiply, ObserveHistogram, ObserveRange, Op, OptimizerRule, OptimizerStep, Output, Pad,
    PadMode, Padding, Pool, Quantize, QuantizeWeights, QuantizedSoftmax, RangeUpdate, Reduce, Reduction, RequantParams,
    Requantization, Requantize, Reshape, Resize, Rotary, RotaryAppend, RotaryPairs, Select, Slice, Softmax,
    StepFromRange, Sum, Table, TopK, Transpose, Unfold, Windows,
};
use lowbit::weights::{Codes, PackedWeights, Quantizer, ScaleFormat, WeightFormat};
use lowbit::{Context, DType, Error, Granularity, Graph, Quantization, Result, Tensor, TensorType, Tuner};

/// Most bytes of host memory that a request may take while it is built, listed and planned. The launches of all its kernels take
/// most of it: a transposed convolution has 4,096, and a convolution by patches as many.
const BOUND: usize = 96 << 20;

/// Allocations beyond this total fail, which ends the process.
const END: usize = 2 << 30;

/// The system's allocator, with a count of the bytes in use.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// Counts `size` more bytes; false if there is no room for them.
fn count(size: usize) -> bool {
    let used = IN_USE.fetch_add(size, Ordering::Relaxed).wrapping_add(size);
    if used > END {
        IN_USE.fetch_sub(size, Ordering::Relaxed);
        return false;
    }
    PEAK.fetch_max(used, Ordering::Relaxed);
    true
}

// SAFETY: every call is passed on to the system's allocator, or fails.
#[allow(unsafe_code, reason = "an allocator is unsafe by nature")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        if count(layout.size()) { unsafe { System.alloc(layout) } } else { null_mut() }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        if count(layout.size()) { unsafe { System.alloc_zeroed(layout) } } else { null_mut() }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Largest number of elements of a shape.
const MOST: usize = i32::MAX as usize;

/// Side of the largest square shape.
const SIDE: usize = 46_340;

fn plain(dtype: DType, dims: &[usize]) -> Result<TensorType> {
    TensorType::new(dtype, dims)
}

fn codes(dims: &[usize]) -> Result<TensorType> {
    plain(DType::Int8, dims)?.quantized(Quantization::tensor(0.5, 0))
}

fn real(dims: &[usize]) -> Result<TensorType> {
    plain(DType::Float32, dims)
}

/// Constant codes, for shapes with few or no elements.
fn few(dims: &[usize]) -> Result<Tensor> {
    Tensor::new(dims, vec![1i8; dims.iter().product()])?.quantized(Quantization::tensor(0.5, 0))
}

fn stage() -> Result<Requantization> {
    Requantization::new(DType::Int8, 0.5, 0)
}

fn grouped(matrices: usize, n: usize, k: usize) -> Result<PackedWeights> {
    PackedWeights::build(WeightFormat::new(Codes::INT4, 32, ScaleFormat::F16), [matrices, n, k], |_, _, _, _| Ok(()))
}

/// Asserts that a request is refused or planned within the bound, and prints its peak memory. With a device it is planned there.
struct Judge {
    context: Option<Context>,
    limits: Vec<DeviceCaps>,
    kinds: BTreeSet<&'static str>,
}

impl Judge {
    fn check<T: Into<Op>>(&mut self, name: &str, build: impl FnOnce() -> Result<T>) {
        let before = IN_USE.load(Ordering::Relaxed);
        PEAK.store(before, Ordering::Relaxed);
        let outcome = self.try_all(build);
        let peak = PEAK.load(Ordering::Relaxed).saturating_sub(before);
        println!("{name}: {} KiB, {outcome}", peak >> 10);
        assert!(peak <= BOUND, "{name}: {peak} bytes");
    }

    fn try_all<T: Into<Op>>(&mut self, build: impl FnOnce() -> Result<T>) -> String {
        let op: Op = match build() {
            Ok(op) => op.into(),
            Err(Error::Request(message)) => return format!("refused: {message}"),
            Err(other) => panic!("not a request: {other}"),
        };
        self.kinds.insert(op.variant());
        for limits in &self.limits {
            for candidate in kernels::candidates(&op, limits) {
                for constant in candidate.constants {
                    black_box(constant.count());
                }
            }
        }
        let graph = Graph::of(op).expect("the op's own inputs");
        match self.context.as_ref().map(|context| context.plan(&graph, Tuner::FirstGuess)) {
            None => "built".into(),
            Some(Ok(plan)) => format!("planned in {} launches", plan.launches()),
            Some(Err(error @ Error::Limit { .. })) => format!("beyond this device: {error}"),
            Some(Err(other)) => panic!("not a limit: {other}"),
        }
    }
}

#[test]
fn shapes_alone_cost_nothing() {
    let limits = vec![
        DeviceCaps::default(),
        DeviceCaps { storage_buffers: 4, invocations: 64, binding_bytes: 1 << 20, ..DeviceCaps::default() },
        DeviceCaps {
            binding_bytes: u64::from(u32::MAX) / 256 * 256,
            uniform_subgroup_size: 32,
            max_subgroup_size: 32,
            ..DeviceCaps::default()
        },
    ];
    let mut judge = Judge { context: context(), limits, kinds: BTreeSet::new() };
    let judge = &mut judge;
    // The driver and wgpu allocate some memory once, at the first op.
    judge.check("a small op", || FloatUnary::new(TensorType::float32([1])?, Function::Relu));

    // Products: batches, rows, columns and depths without elements.
    judge.check("batches of nothing", || Matmul::new(codes(&[MOST, 0, 1])?, codes(&[1, 1, 1])?).build());
    judge.check("batches of empty sums", || Matmul::new(codes(&[1 << 24, 1, 0])?, codes(&[1 << 24, 0, 1])?).build());
    judge.check("batches that broadcast", || Matmul::new(codes(&[SIDE, 1, 1, 0])?, codes(&[SIDE, 0, 1])?).build());
    judge.check("rows", || Matmul::new(codes(&[MOST, 1])?, few(&[1, 1])?).output(stage()?).build());
    judge.check("columns", || Matmul::new(codes(&[1, 1])?, codes(&[1, MOST])?).output(stage()?).build());
    judge.check("constant columns of empty sums", || {
        Matmul::new(codes(&[1, 0])?, few(&[0, MOST])?).output(stage()?).build()
    });
    judge.check("no rows by many columns", || Matmul::new(codes(&[0, 0])?, few(&[0, MOST])?).build());
    judge.check("depth", || Matmul::new(codes(&[1, 1 << 17])?, codes(&[1 << 17, 1 << 13])?).build());
    judge.check("a bias per row", || {
        let bias = Tensor::new([1 << 16, 1], vec![1i32; 1 << 16])?;
        Matmul::new(codes(&[1 << 16, 1])?, codes(&[1, 1 << 14])?).bias(bias).build()
    });
    judge.check("a scale per row", || {
        let scales = Quantization::symmetric_axis(0, vec![0.5; 1 << 16]);
        let lhs = plain(DType::Int8, &[1 << 16, 1])?.quantized(scales)?;
        Matmul::new(lhs, codes(&[1, 1 << 14])?).output(stage()?).build()
    });
    judge.check("two scales of many batches", || {
        let lhs = plain(DType::Int8, &[1 << 28, 2, 1])?.quantized(Quantization::symmetric_axis(1, [0.5, 0.25]))?;
        Matmul::new(lhs, few(&[1, 1])?).output(Output::real()).build()
    });
    judge.check("int16", || Matmul::new(plain(DType::Int16, &[MOST, 1])?, few(&[1, 1])?).build());
    judge.check("float batches of nothing", || FloatMatmul::new(real(&[MOST, 0, 1])?, real(&[1, 1, 1])?).build());
    judge.check("float columns", || FloatMatmul::new(real(&[1, 0])?, real(&[0, MOST])?).build());
    judge.check("float depth", || FloatMatmul::new(real(&[MOST, 1])?, real(&[MOST, 1])?).transposed_lhs().build());
    for lhs in [real(&[MOST, 1]), codes(&[MOST, 1]), plain(DType::Float16, &[1 << 26, 1])] {
        judge.check("linear rows", || Linear::new(lhs?, grouped(1, 1, 1)?).build());
    }
    judge.check("linear rows of a group and a half", || Linear::new(real(&[1 << 25, 48])?, grouped(1, 1, 48)?).build());
    judge.check("experts of many rows", || Linear::new(real(&[MOST, 1])?, grouped(2, 1, 1)?).experts(1).build());
    judge.check("embedding", || Embedding::new(TensorType::int32([MOST])?, grouped(1, 1, 1)?).build());
    judge
        .check("an embedding of no rows", || Embedding::new(TensorType::int32([1 << 20])?, grouped(1, 0, 64)?).build());
    let quantizer = || Quantizer::new(WeightFormat::new(Codes::INT4, 32, ScaleFormat::F16));
    judge.check("quantize weights", || QuantizeWeights::new(TensorType::float32([1 << 20, 64])?, quantizer()?));

    // Windows.
    let image = || codes(&[1, SIDE, SIDE, 1]);
    judge.check("pixels", || Conv::new(image()?, few(&[1, 5, 5, 1])?).padding(Padding::SameUpper).build());
    judge.check("pixels by large patches", || Conv::new(image()?, few(&[1, 100, 100, 1])?).output(stage()?).build());
    judge.check("one of the pixels", || Conv::new(image()?, few(&[1, 1, 1, 1])?).build());
    judge
        .check("images without channels", || Conv::new(codes(&[1, 4096, 4096, 0])?, few(&[1, 4096, 4096, 0])?).build());
    judge.check("outputs of no channels", || {
        Conv::new(codes(&[1, 1, 0])?, few(&[MOST, 1, 0])?).output(stage()?).build()
    });
    judge.check("taps without outputs", || Conv::new(codes(&[1, 1 << 24, 1])?, few(&[0, 1 << 24, 1])?).build());
    judge.check("as many phases as can be", || {
        Conv::new(codes(&[1, 64, 64, 1])?, few(&[1, 64, 64, 1])?).transposed().stride([64, 64]).build()
    });
    judge
        .check("a window of everything", || Pool::global_average(codes(&[1, 4096, 4096, 1])?).output(stage()?).build());
    judge.check("a window of most", || {
        let all = Padding::Explicit { begin: vec![1000; 2], end: vec![1000; 2] };
        Pool::average(codes(&[1, 2500, 2500, 1])?, [2500, 2500]).padding(all).output(stage()?).build()
    });
    for (name, image) in [("a gate of everything", [1, 4096, 4096, 1]), ("gates of images", [1 << 20, 8, 8, 1])] {
        judge.check(name, || {
            let pool = Pool::global_average(codes(&image)?).output(stage()?).build()?;
            let pixel = Op::from(pool.clone()).outputs()[0].clone();
            ChannelGate::new(pool, vec![Conv::new(pixel, few(&[1, 1, 1, 1])?).output(stage()?).build()?])
        });
    }
    judge.check("pooled pixels", || Pool::max(image()?, [2, 2]).build());
    judge.check("patches", || Unfold::new(codes(&[1, SIDE, SIDE / 9, 1])?, [3, 3]).build());
    judge.check("patches of reals", || {
        LinearConv::new(real(&[1, 10_000, 10_000, 2])?, grouped(2, 1, 9)?, [3, 3]).build()
    });
    for pass in [ConvPass::Forward, ConvPass::ImageGradient, ConvPass::WeightGradient] {
        judge.check("float conv", || {
            FloatConv::new(real(&[1, SIDE, SIDE, 1])?, real(&[1, 3, 3, 1])?, Windows::default()).pass(pass).build()
        });
    }

    // Ops that move elements.
    for mode in [PadMode::Zero, PadMode::Edge] {
        judge.check("padding", || Pad::new(codes(&[1])?, [MOST / 2], [MOST / 2], mode));
    }
    judge.check("padding that reflects", || Pad::new(codes(&[1 << 30])?, [(1 << 29) - 1], [1 << 29], PadMode::Reflect));
    judge.check("nothing around", || Pad::new(codes(&[MOST])?, [0], [0], PadMode::Edge));
    judge.check("nearest", || Resize::nearest(codes(&[1, 1, 1])?, [MOST]).build());
    judge.check("nearest of two", || Resize::nearest(codes(&[1, 2, 1])?, [MOST]).build());
    judge.check("nearest of as many", || Resize::nearest(codes(&[1, MOST, 1])?, [MOST]).build());
    judge.check("nearest of one more", || Resize::nearest(codes(&[1, MOST - 1, 1])?, [MOST]).build());
    judge.check("linear", || Resize::linear(codes(&[1, 2, 1])?, [MOST]).build());
    judge.check("linear squares", || Resize::linear(codes(&[1, 2, 2, 1])?, [SIDE, SIDE]).build());
    judge.check("one element again and again", || Slice::new(codes(&[1, 1])?, [0, 0], [1, MOST]).steps([1, 0]).build());
    judge.check("one scale again and again", || {
        let one = plain(DType::Int8, &[1, 1])?.quantized(Quantization::symmetric_axis(1, [0.5]))?;
        Slice::new(one, [0, 0], [1, MOST]).steps([1, 0]).build()
    });
    judge.check("all in reverse", || Slice::new(codes(&[MOST])?, [MOST - 1], [MOST]).steps([-1]).build());
    judge.check("transpose", || Transpose::new(codes(&[SIDE, SIDE])?, [1, 0]));
    judge.check("transpose and convert", || {
        let transpose = Transpose::new(codes(&[SIDE, SIDE])?, [1, 0])?;
        Fused::new(transpose.into(), Dequantize::new(codes(&[SIDE, SIDE])?).build()?.into(), 0)
    });
    judge.check("reshape", || Reshape::new(codes(&[MOST])?, [MOST, 1]));
    judge.check("concat", || Concat::new([codes(&[1 << 30])?, codes(&[(1 << 30) - 1])?], 0).output(stage()?).build());
    judge.check("moving concat", || Concat::new([real(&[1 << 30])?, real(&[(1 << 30) - 1])?], 0).build());

    // Elementwise ops, and ops over all elements.
    judge.check("requantize", || Requantize::new(codes(&[MOST])?, stage()?));
    judge.check("quantize", || Quantize::new(real(&[MOST, 1])?, codes(&[MOST, 1])?).build());
    judge.check("dequantize", || Dequantize::new(codes(&[1, MOST])?).build());
    judge.check("add", || Add::new(codes(&[SIDE, 1])?, codes(&[1, SIDE])?, stage()?).build());
    judge.check("multiply", || Multiply::new(codes(&[MOST])?, codes(&[1])?, stage()?).build());
    judge.check("table", || Table::sigmoid(codes(&[MOST])?, stage()?));
    judge.check("quantized softmax", || QuantizedSoftmax::new(codes(&[MOST, 1])?, stage()?));
    judge.check("quantized softmax of long rows", || QuantizedSoftmax::new(codes(&[1, MOST])?, stage()?));
    judge.check("cast", || Cast::new(codes(&[MOST])?, DType::Float16).build());
    for granularity in [DynamicGranularity::Tensor, DynamicGranularity::Row, DynamicGranularity::Group(1)] {
        judge.check("dynamic quantize", || {
            DynamicQuantize::new(TensorType::float32([1 << 26, 16])?, DType::Int8, granularity).build()
        });
    }
    let mx = || BlockFormat::mx(DType::Int8, BlockRounding::Floor);
    judge.check("blocks", || BlockQuantize::new(real(&[SIDE, SIDE])?, mx()?));
    judge.check("of blocks", || BlockDequantize::new(TensorType::new(mx()?.element(), [SIDE, SIDE])?, mx()?).build());
    judge.check("float unary", || FloatUnary::new(TensorType::float32([MOST])?, Function::Gelu));
    judge.check("float binary", || FloatBinary::new(real(&[SIDE, 1])?, real(&[SIDE])?, Arithmetic::Add));
    judge.check("select", || Select::new(codes(&[1, SIDE])?, real(&[SIDE, 1])?, real(&[1])?));
    judge.check("reduce", || Reduce::new(real(&[SIDE, SIDE])?, [0, 1], Reduction::Sum));
    judge.check("reduce to many", || Reduce::new(real(&[1, MOST])?, [0], Reduction::L2));
    judge.check("reduce rows", || Reduce::new(real(&[MOST])?, [0], Reduction::Max));
    judge.check("float pool", || FloatPool::average(real(&[1, SIDE, SIDE, 1])?, [100, 100]).build());
    judge.check("global float pool", || FloatPool::global_max(real(&[1, SIDE, SIDE, 1])?).build());
    judge.check("gather", || Gather::new(codes(&[MOST, 1])?, 0, TensorType::int32([SIDE])?));
    judge.check("gather too many", || Gather::new(codes(&[MOST, 1])?, 1, TensorType::int32([SIDE])?));
    judge.check("arg_max", || ArgMax::new(TensorType::new(DType::Float32, [1, MOST])?));
    for k in [1, 100, MOST] {
        judge.check("top_k", || TopK::new(TensorType::new(DType::Float32, [1, MOST])?, k).build());
    }
    judge.check("top_k of short rows", || TopK::new(codes(&[MOST, 1])?, 1).build());
    judge.check("append", || Append::new(real(&[SIDE, SIDE])?, real(&[SIDE, SIDE])?));
    judge.check("rotary", || Rotary::new(TensorType::float32([MOST, 1])?, real(&[SIDE, 0])?, RotaryPairs::Halves));
    judge.check("attention", || {
        let cache = || TensorType::float32([1 << 26, 1, 16]);
        Attention::new(TensorType::float32([1 << 20, 64, 16])?, cache()?, cache()?).build()
    });
    judge.check("attention over codes", || {
        let cache = || Ok::<_, Error>(TensorType::new(DType::Int8, [1 << 26, 1, 16])?.with_dynamic_scales());
        Attention::new(TensorType::float32([1 << 20, 64, 16])?, cache()?, cache()?).build()
    });
    judge.check("attention over groups of codes", || {
        let cache = || Ok::<_, Error>(TensorType::new(DType::Int4, [1 << 26, 1, 16])?.with_dynamic_scales());
        let attention = Attention::new(TensorType::float32([1 << 20, 64, 16])?, cache()?, cache()?);
        attention.scales(DynamicGranularity::Group(8)).mask(TensorType::float32([1, 1 << 26])?).build()
    });
    judge.check("append_quantized", || {
        let cache = TensorType::new(DType::Int8, [SIDE, SIDE])?.with_dynamic_scales();
        AppendQuantized::new(cache, real(&[SIDE, SIDE])?, DynamicGranularity::Row)
    });
    judge.check("append_quantized of groups", || {
        let cache = TensorType::new(DType::Int4, [SIDE, SIDE])?.with_dynamic_scales();
        AppendQuantized::new(cache, real(&[1, SIDE])?, DynamicGranularity::Group(8))
    });
    judge.check("rotary_append", || {
        let table = real(&[9, 2])?;
        let values = Append::new(real(&[1 << 20, 2, 16])?, real(&[1 << 20, 2, 16])?)?;
        let keys = values.clone().rotated(table.clone(), RotaryPairs::Halves)?;
        RotaryAppend::new(Rotary::new(real(&[1 << 20, 8, 16])?, table, RotaryPairs::Halves)?, keys, values)
    });
    judge.check("append of parameters", || {
        let parameters = || TensorType::new(DType::Parameters, [SIDE, SIDE]);
        Append::new(parameters()?, parameters()?)
    });
    judge.check("softmax", || Softmax::new(TensorType::float32([1, MOST])?).build());
    judge.check("layer norm", || {
        LayerNorm::new(TensorType::float32([MOST, 1])?, Tensor::new([1], vec![1.0f32])?, 1e-5).build()
    });
    for granularity in [Granularity::Tensor, Granularity::Axis(0), Granularity::Axis(1)] {
        judge.check("observe range", || {
            ObserveRange::new(TensorType::float32([SIDE, SIDE])?, granularity, RangeUpdate::MinMax)
        });
        judge.check("observe histogram", || {
            ObserveHistogram::new(TensorType::float32([SIDE, SIDE])?, granularity, Bins::new(16)?)
        });
        judge.check("sum", || Sum::new(TensorType::float32([SIDE, SIDE])?, granularity));
        let grid = || FakeQuantize::new(TensorType::float32([SIDE, SIDE])?, Grid::Step, granularity, (0, 15)).build();
        judge.check("fake quantize", grid);
        judge.check("its gradient", || FakeQuantizeGradient::new(grid()?));
        judge.check("its step's", || GridGradient::new(grid()?, 1.0));
    }
    judge.check("step_from_range", || StepFromRange::new(TensorType::int32([MOST / 2, 6])?, (0, 15)));
    judge.check("requant_params", || RequantParams::new(TensorType::float32([1 << 28])?));
    for makes in [FakeRequantizeOutput::Levels, FakeRequantizeOutput::StepGradient] {
        judge.check("fake requantize", || {
            FakeRequantize::new(TensorType::float32([SIDE, SIDE])?, makes, (0, 15)).build()
        });
    }
    judge.check("cross-entropy", || CrossEntropyGradient::new(TensorType::float32([MOST, 1])?));
    judge.check("optimizer_step", || OptimizerStep::new(TensorType::float32([MOST])?, OptimizerRule::adam()).build());

    judge.check("steps of the optimizer", || {
        OptimizerStep::new(TensorType::float32([1 << 26])?, OptimizerRule::adam()).build()
    });
    judge.check("rows of whole groups", || Linear::new(real(&[1 << 24, 32])?, grouped(1, 4, 32)?).build());
    judge.check("layers of one input", || {
        let layer = || Linear::new(real(&[1 << 20, 32])?, grouped(1, 64, 32)?).build();
        JointLinear::new(vec![layer()?, layer()?, layer()?])
    });
    judge.check("images of whole groups", || {
        LinearConv::new(real(&[1, 512, 512, 32])?, grouped(1, 4, 32)?, [1, 1]).build()
    });
    judge.check("steps of ranges", || StepFromRange::new(TensorType::int32([1 << 20, 6])?, (0, 255)));

    let missing: Vec<_> = Op::VARIANTS.iter().filter(|&op| !judge.kinds.contains(op)).collect();
    assert!(missing.is_empty(), "ops that are not tried: {missing:?}");
}
