//! Ops that together link every program of this crate: formats, stages, rounding modes, flags and tile sizes. Their data is
//! irrelevant; tests/equivalence.rs runs them.

use std::collections::BTreeMap;

use lowbit::kernels::{self, Candidate, DeviceCaps, Dispatch};
use lowbit::numeric::{BlockFormat, BlockRounding, PowerRounding};
use lowbit::ops::{
    Add, Append, AppendQuantized, ArgMax, Arithmetic, Attention, Bins, BlockDequantize, BlockQuantize, Cast,
    ChannelGate, Concat, Conv, ConvPass, CrossEntropyGradient, Dequantize, DynamicGranularity, DynamicQuantize,
    Embedding, FakeQuantize, FakeQuantizeGradient, FakeRequantize, FakeRequantizeOutput, FloatBinary, FloatConv,
    FloatMatmul, FloatPool, FloatUnary, Function, Fused, Gather, Grid, GridGradient, JointLinear, LayerNorm, Linear,
    LinearConv, Matmul, Multiply, ObserveHistogram, ObserveRange, Op, OptimizerStep, Output, Pad, PadMode, Pool,
    Quantize, QuantizeWeights, QuantizedArithmetic, QuantizedSoftmax, RangeUpdate, Reduce, Reduction, RequantParams,
    Requantization, Requantize, Reshape, Resize, Rotary, RotaryAppend, RotaryPairs, Select, Slice, Softmax,
    StepFromRange, Sum, Table, TopK, Transpose, Unfold, Windows,
};
use lowbit::weights::{
    Codes, GroupParams, GroupScaleRule, PackedWeights, Quantizer, ScaleFormat, Search, WeightFormat,
};
use lowbit::{DType, Granularity, Quantization, Result, Rounding, Shape, Tensor, TensorType, reference};

const CODES: [DType; 2] = [DType::Int8, DType::Uint8];
const FLOATS: [DType; 2] = [DType::Float16, DType::Float32];

/// The data types that fulfil a condition.
fn dtypes(condition: impl Fn(DType) -> bool) -> Vec<DType> {
    DType::ALL.iter().copied().filter(|&dtype| condition(dtype)).collect()
}

/// Integers below 8 bits.
fn narrow() -> Vec<DType> {
    dtypes(|dtype| dtype.is_narrow_integer() && dtype.bits() < 8)
}

/// Every candidate of the ops below on devices of several kinds, keyed by the index of the op, then of the device.
pub(crate) fn candidates() -> Result<Vec<([usize; 2], Candidate)>> {
    let matrices = [8, 16].map(matrix_caps);
    let devices = [
        DeviceCaps::default(),
        DeviceCaps { invocations: 32, ..DeviceCaps::default() },
        DeviceCaps { invocations: 1, ..DeviceCaps::default() },
        DeviceCaps { storage_buffers: 4, ..DeviceCaps::default() },
        DeviceCaps { uniform_subgroup_size: 8, unpack_f16: true, ..DeviceCaps::default() },
        DeviceCaps { emulate_dot4: true, target_invocations: 1, ..DeviceCaps::default() },
        matrices[0],
        matrices[1],
    ];
    let mut found = Vec::new();
    for (op_number, op) in ops()?.iter().enumerate() {
        for (device, limits) in devices.iter().enumerate() {
            found.extend(kernels::candidates(op, limits).into_iter().map(|c| ([op_number, device], c)));
        }
    }
    Ok(found)
}

fn matrix_caps(matrix: u32) -> DeviceCaps {
    DeviceCaps { max_subgroup_size: 32, coop_matrix_size: matrix, workgroup_bytes: 32 << 10, ..DeviceCaps::default() }
}

/// One launch of each distinct program, by name, including those of the device probe.
pub(crate) fn programs() -> Result<BTreeMap<String, Dispatch>> {
    let probes = [DeviceCaps::default(), matrix_caps(8), matrix_caps(16)].map(|limits| kernels::probes(&limits));
    let mut programs: BTreeMap<_, _> = probes.into_iter().flatten().map(|d| (d.program.name(), d)).collect();
    for dispatch in candidates()?.into_iter().flat_map(|(_, candidate)| candidate.dispatches) {
        let in_place = dispatch.in_place.iter().filter_map(|i| dispatch.overwriting(&i.inputs));
        programs.extend(in_place.map(|d| (d.program.name(), d)));
        programs.insert(dispatch.program.name(), dispatch);
    }
    // Each combination of parts once more, with all its inputs in the buffer that it writes.
    let parts = |d: &Dispatch| {
        let name = d.program.name();
        (name.split(' ').next().unwrap_or_default().to_string(), name.ends_with("=overwritten"))
    };
    let by_parts: BTreeMap<_, &Dispatch> = programs.values().map(|d| (parts(d), d)).collect();
    let sharing: Vec<Dispatch> = by_parts.into_values().map(|d| d.clone().sharing(&read_slots(d))).collect();
    programs.extend(sharing.into_iter().map(|d| (d.program.name(), d)));
    Ok(programs)
}

fn read_slots(dispatch: &Dispatch) -> Vec<u32> {
    dispatch.bindings.iter().filter(|binding| !binding.writes).map(|binding| binding.slot).collect()
}

fn typed(dtype: DType, dims: &[usize], zero_point: i32) -> Result<TensorType> {
    TensorType::new(dtype, dims)?.quantized(Quantization::tensor(0.5, zero_point))
}

/// The zero point that is 0 after codes are read as int8. With any other a kernel has to sum the other operand.
fn neutral(dtype: DType) -> i32 {
    if dtype == DType::Uint8 { 128 } else { 0 }
}

fn weights(dtype: DType, dims: &[usize], zero_point: i32) -> Result<Tensor> {
    let tensor_type = typed(dtype, dims, zero_point)?;
    let words = vec![0; tensor_type.device_bytes() as usize / 4];
    lowbit::pack::tensor(&tensor_type, &words)
}

fn requantizations() -> Result<Vec<Requantization>> {
    let roundings = [Rounding::Onnx, Rounding::FixedSingle, Rounding::FixedDouble, Rounding::FixedWide];
    roundings.into_iter().map(|rounding| Ok(Requantization::new(DType::Int8, 1.0, 0)?.rounding(rounding))).collect()
}

/// int16 activations: sums of 32 and of more bits, the loops that split and combine them, and int16 codes of other sums. The loops
/// between are those of bytes with raw sums.
fn int16() -> Result<Vec<Op>> {
    let mut ops: Vec<Op> = Vec::new();
    for format in [DType::Int8, DType::Int16] {
        for rounding in [Rounding::Onnx, Rounding::FixedSingle, Rounding::FixedDouble, Rounding::FixedWide] {
            let stage = Requantization::new(format, 1.0, 0)?.rounding(rounding);
            for (lhs, bias) in [(DType::Int8, 0), (DType::Int16, 0), (DType::Int16, 1 << 40)] {
                let product = Matmul::new(typed(lhs, &[8, 16], 0)?, weights(DType::Int8, &[16, 4], 0)?);
                // Two of the modes support 32 bits only.
                let product = product.wide_bias([bias; 4]).output(stage.clone());
                ops.extend(product.build().map(Op::from));
            }
        }
    }
    for output in [Output::Accumulator, Output::real(), Output::float16()] {
        for bias in [0, 1 << 40] {
            let product = Matmul::new(typed(DType::Int16, &[8, 16], 0)?, weights(DType::Int8, &[16, 4], 0)?);
            // Raw sums have 32 bits.
            ops.extend(product.wide_bias([bias; 4]).output(output.clone()).build().map(Op::from));
        }
    }
    // 65,536 products with 1 need more than 32 bits.
    for k in [16, 65_536] {
        let ones = Tensor::new([k, 4], vec![1i8; 4 * k])?.quantized(Quantization::tensor(1.0, 0))?;
        let product = Matmul::new(typed(DType::Int16, &[8, k], 0)?, ones).bias(Tensor::new([4], vec![1.0f32; 4])?);
        for output in [Output::real(), Output::float16()] {
            ops.push(product.clone().output(output).build()?.into());
        }
    }
    Ok(ops)
}

/// All ops.
pub(crate) fn ops() -> Result<Vec<Op>> {
    let mut ops: Vec<Op> = Vec::new();
    let stages = requantizations()?;
    let mut outputs = vec![Output::Accumulator, Output::real(), Output::float16()];
    outputs.extend(stages.iter().cloned().map(Output::from));
    for lhs in CODES {
        for zero_point in [neutral(lhs), neutral(lhs) + 1] {
            let weight_zero_point = zero_point - neutral(lhs);
            for output in &outputs {
                let matmul = |m| -> Result<_> {
                    Ok(Matmul::new(
                        typed(lhs, &[m, 16], zero_point)?,
                        weights(DType::Int8, &[16, 4], weight_zero_point)?,
                    )
                    .output(output.clone()))
                };
                ops.extend([matmul(1)?.build()?.into(), matmul(64)?.build()?.into()]);
                // Convolutions by shape: direct, in groups of whole vec4, of any size, depthwise without and with
                // multiplier, and pointwise.
                for (channels, count, groups, kernel) in [
                    (3, 4, 1, 3),
                    (32, 16, 2, 3),
                    (32, 8, 2, 3),
                    (6, 6, 2, 3),
                    (4, 4, 4, 3),
                    (4, 8, 4, 3),
                    (16, 4, 1, 1),
                ] {
                    let filter = weights(DType::Int8, &[count, kernel, kernel, channels / groups], weight_zero_point)?;
                    let image = typed(lhs, &[1, 8, 8, channels], zero_point)?;
                    ops.push(Conv::new(image, filter).groups(groups).output(output.clone()).build()?.into());
                }
            }
            // Depthwise, of more taps than are summed in f32.
            let filter = weights(DType::Int8, &[4, 33, 33, 1], weight_zero_point)?;
            ops.push(Conv::new(typed(lhs, &[1, 34, 34, 4], zero_point)?, filter).groups(4).build()?.into());
            let biased = Tensor::new([4], vec![1.0f32; 4])?;
            let matmul =
                Matmul::new(typed(lhs, &[8, 16], zero_point)?, weights(DType::Int8, &[16, 4], weight_zero_point)?);
            ops.push(matmul.bias(biased.clone()).output(Output::real()).build()?.into());
            for (channels, groups) in [(16, 1), (64, 1), (4, 4), (2, 2), (6, 2)] {
                let filter = weights(DType::Int8, &[4, 3, 3, channels / groups], weight_zero_point)?;
                let conv = Conv::new(typed(lhs, &[1, 8, 8, channels], zero_point)?, filter).groups(groups);
                ops.push(conv.bias(biased.clone()).output(Output::real()).build()?.into());
            }
        }
        for rhs in [&CODES[..], &narrow()].concat() {
            for transposed in [false, true] {
                let matmul = Matmul::new(typed(lhs, &[16, 16], 0)?, typed(rhs, &[16, 16], 0)?);
                ops.push(if transposed { matmul.transposed() } else { matmul }.build()?.into());
            }
        }
        // Loops treat all narrow codes alike, except for a zero point other than that of the least code.
        for (rhs, zero_point) in [(DType::Uint4, 0), (DType::Uint4, 1), (DType::Uint2, 0), (DType::Uint2, 1)] {
            for output in &outputs {
                for m in [1, 64] {
                    let matmul = Matmul::new(typed(lhs, &[m, 16], 0)?, weights(rhs, &[16, 4], zero_point)?);
                    ops.push(matmul.output(output.clone()).build()?.into());
                }
                for (channels, count, groups, kernel) in [(3, 4, 1, 3), (32, 16, 2, 3), (32, 8, 2, 3), (16, 4, 1, 1)] {
                    let filter = weights(rhs, &[count, kernel, kernel, channels / groups], zero_point)?;
                    let conv = Conv::new(typed(lhs, &[1, 8, 8, channels], 0)?, filter).groups(groups);
                    ops.push(conv.output(output.clone()).build()?.into());
                }
            }
        }
        for rhs in CODES {
            let types = || -> Result<_> { Ok((typed(lhs, &[8], 0)?, typed(rhs, &[8], 0)?)) };
            let (a, b) = types()?;
            let (stage, alone) = (stages[0].clone(), [QuantizedArithmetic::QOperator, QuantizedArithmetic::Qdq]);
            for arithmetic in alone {
                ops.push(Add::new(a.clone(), b.clone(), stage.clone()).arithmetic(arithmetic).build()?.into());
                ops.push(Multiply::new(a.clone(), b.clone(), stage.clone()).arithmetic(arithmetic).build()?.into());
            }
            for stage in &stages {
                let (a, b) = types()?;
                ops.push(Multiply::new(a, b, stage.clone()).arithmetic(QuantizedArithmetic::Integer).build()?.into());
            }
            for rounding in [Rounding::FixedSingle, Rounding::FixedDouble] {
                let (a, b) = types()?;
                ops.push(Add::new(a, b, stages[0].clone().rounding(rounding)).build()?.into());
            }
        }
        let image = || typed(lhs, &[1, 8, 8, 4], 0);
        ops.push(Pool::max(image()?, [2, 2]).build()?.into());
        for stage in &stages {
            let average = Pool::average(image()?, [2, 2]).output(stage.clone());
            ops.push(average.arithmetic(QuantizedArithmetic::Integer).build()?.into());
        }
        let codes = |image: TensorType, kernel: [usize; 2]| {
            Pool::average(image, kernel).arithmetic(QuantizedArithmetic::Codes).build().map(Op::from)
        };
        ops.extend([codes(image()?, [2, 2])?, codes(typed(lhs, &[1, 32, 32, 4], 0)?, [32, 32])?]);
        for arithmetic in [QuantizedArithmetic::QOperator, QuantizedArithmetic::Qdq] {
            let average = Pool::average(image()?, [2, 2]).output(stages[0].clone());
            ops.push(average.arithmetic(arithmetic).build()?.into());
        }
        // Windows that are divided.
        let large = || typed(lhs, &[1, 32, 32, 4], 0);
        ops.push(Pool::global_max(large()?).build()?.into());
        for stage in &stages {
            ops.push(Pool::global_average(large()?).output(stage.clone()).build()?.into());
        }
        for stage in &stages {
            ops.extend([gate(image()?, stage, &[4])?, gate(large()?, stage, &[4, 300])?]);
        }
        ops.push(gate_of(image()?, &stages[0], &[4], QuantizedArithmetic::Qdq)?);
        for size in [&[1, 8, 4][..], &[1, 8, 8, 4], &[1, 8, 8, 8, 4]] {
            let image = typed(lhs, size, 0)?;
            if size.len() == 4 {
                ops.push(Resize::linear(image.clone(), [9, 9]).ten_bits().build()?.into());
            }
            ops.push(Resize::linear(image, vec![9; size.len() - 2]).build()?.into());
        }
        ops.push(Table::sigmoid(image()?, stages[0].clone())?.into());
        ops.push(QuantizedSoftmax::new(image()?, stages[0].clone())?.into());
        ops.push(
            Concat::new([image()?, typed(CODES[0], &[1, 8, 8, 4], 9)?], 3).output(stages[0].clone()).build()?.into(),
        );
        ops.push(DynamicQuantize::new(TensorType::float32([4, 4])?, lhs, DynamicGranularity::Tensor).build()?.into());
    }
    ops.extend(fused(&ops)?);
    ops.extend(fused_floats()?);
    ops.extend(unfolds()?);
    ops.extend(int16()?);
    ops.extend(transposed()?);
    ops.extend(linear_convs()?);
    for lhs in CODES {
        // Parameters that the device computes.
        for granularity in [DynamicGranularity::Tensor, DynamicGranularity::Row] {
            let matmul = Matmul::new(TensorType::new(lhs, [4, 16])?, weights(DType::Int8, &[16, 4], 0)?);
            ops.push(matmul.dynamic_lhs(granularity).output(Output::real()).build()?.into());
        }
        let filter = weights(DType::Int8, &[4, 3, 3, 3], 0)?;
        let conv = Conv::new(TensorType::new(lhs, [1, 8, 8, 3])?, filter).dynamic_lhs().output(Output::real());
        ops.push(conv.build()?.into());
    }
    let wide = [DType::Int16, DType::Uint16, DType::Int32];
    for format in dtypes(DType::is_minifloat) {
        let tensor_type = typed(format, &[4, 4], 0)?;
        for float in FLOATS {
            ops.push(Quantize::new(TensorType::new(float, tensor_type.dims())?, tensor_type.clone()).build()?.into());
            ops.push(Dequantize::new(tensor_type.clone()).output(float).build()?.into());
        }
    }
    for granularity in [Granularity::Axis(0), Granularity::Axis(1), Granularity::Blocks { axis: 1, size: 2 }] {
        let quantization =
            Quantization::new(granularity, vec![0.5; granularity.parameters(&Shape::new([4, 4])?)?], [0]);
        for format in [DType::Int8, DType::Float8E4M3Fn] {
            let tensor_type = TensorType::new(format, [4, 4])?.quantized(quantization.clone())?;
            ops.push(
                Quantize::new(TensorType::float32(tensor_type.dims())?, tensor_type.clone())
                    .precision(DType::Float16)
                    .build()?
                    .into(),
            );
            ops.push(Dequantize::new(tensor_type.clone()).build()?.into());
        }
    }
    for format in [&narrow()[..], &CODES, &wide].concat() {
        let tensor_type = typed(format, &[4, 4], 0)?;
        for float in FLOATS {
            let away = Quantize::new(TensorType::new(float, tensor_type.dims())?, tensor_type.clone()).ties_away();
            ops.push(away.build()?.into());
            ops.push(Quantize::new(TensorType::new(float, tensor_type.dims())?, tensor_type.clone()).build()?.into());
            ops.push(Dequantize::new(tensor_type.clone()).output(float).build()?.into());
        }
        for stage in &stages {
            ops.push(Requantize::new(tensor_type.clone(), stage.clone())?.into());
        }
    }
    ops.extend(observers_and_grids()?);
    ops.extend(floats()?);
    ops.extend(training()?);
    for lhs in FLOATS {
        for output in FLOATS {
            for m in [1, 8, 64] {
                let product = |transposed: bool| -> Result<_> {
                    let lhs_shape = if transposed { [16, m] } else { [m, 16] };
                    let rhs = TensorType::new(lhs, [16, 4])?;
                    let op = FloatMatmul::new(TensorType::new(lhs, lhs_shape)?, rhs).output(output);
                    Ok(if transposed { op.transposed_lhs() } else { op })
                };
                let biased = product(false)?.bias(Tensor::new([4], vec![1.0f32; 4])?);
                ops.extend([biased.build()?.into(), product(true)?.build()?.into()]);
            }
        }
    }
    // Elements that move: one by one and in whole rows, by steps and by tables.
    for format in [DType::Int4, DType::Int8, DType::Int32] {
        let tensor_type = TensorType::new(format, [2, 4, 4])?;
        ops.push(Transpose::new(tensor_type.clone(), [0, 2, 1])?.into());
        ops.push(Transpose::new(tensor_type.clone(), [1, 0, 2])?.into());
        ops.push(Slice::take(tensor_type.clone(), 2, [0, 2, 1])?.into());
        ops.push(Pad::new(tensor_type.clone(), [0, 1, 0], [0, 1, 0], PadMode::Zero)?.into());
        ops.push(Resize::nearest(tensor_type.clone(), [7]).build()?.into());
        ops.push(Reshape::new(tensor_type, [2, 2, 8])?.into());
    }
    // Moves that convert elements.
    for format in [DType::Int4, DType::Int8, DType::Uint8, DType::Int16, DType::Float8E4M3Fn] {
        for float in FLOATS {
            let nhwc = typed(format, &[2, 4, 3], 0)?;
            let quantize = Quantize::new(TensorType::new(float, nhwc.dims())?, nhwc.clone()).build()?;
            let transpose = Transpose::new(TensorType::new(float, [2, 3, 4])?, [0, 2, 1])?;
            ops.push(Fused::new(transpose.into(), quantize.into(), 0)?.into());
            let transpose = Transpose::new(nhwc, [0, 2, 1])?;
            let dequantize = Dequantize::new(typed(format, &[2, 3, 4], 0)?).output(float).build()?;
            ops.push(Fused::new(transpose.into(), dequantize.into(), 0)?.into());
        }
    }
    let castable = [&narrow()[..], &CODES, &FLOATS].concat();
    for &from in &castable {
        for &to in &castable {
            ops.push(Cast::new(TensorType::new(from, [4, 4])?, to).build()?.into());
        }
    }
    let mx = [DType::Float8E4M3Fn, DType::Float4E2M1, DType::Int8].map(|e| BlockFormat::mx(e, BlockRounding::Ceil));
    for format in mx.into_iter().chain([BlockFormat::nvfp4(0.5)]) {
        for float in FLOATS {
            ops.push(BlockQuantize::new(TensorType::new(float, [4, 64])?, format.clone()?)?.into());
            ops.push(
                BlockDequantize::new(TensorType::new(format.clone()?.element(), [4, 64])?, format.clone()?)
                    .output(float)
                    .build()?
                    .into(),
            );
        }
    }
    // Weights of small floats, in blocks.
    let real = Tensor::new([4, 64], vec![0.5f32; 256])?;
    let formats = [DType::Float8E4M3Fn, DType::Float6E3M2, DType::Float6E2M3, DType::Float4E2M1];
    let mx = formats.map(|element| BlockFormat::mx(element, BlockRounding::Floor));
    for format in mx.into_iter().chain([BlockFormat::nvfp4(0.5)]) {
        let format = format?;
        let blocks = reference::run(&BlockQuantize::new(real.tensor_type().clone(), format)?.into(), &[&real])?;
        let weights = PackedWeights::from_blocks(format, &blocks[0], &blocks[1])?;
        ops.push(Embedding::new(TensorType::int32([4])?, weights.clone()).build()?.into());
        // Each part once: every loop with every format would be too many.
        let lhs = match format.element() {
            DType::Float8E4M3Fn => TensorType::new(DType::Float32, [4, 64])?,
            DType::Float6E2M3 => typed(DType::Int8, &[4, 64], 0)?,
            DType::Float4E2M1 if format.size() == 16 => TensorType::new(DType::Float16, [4, 64])?,
            _ => continue,
        };
        ops.push(Linear::new(lhs, weights).build()?.into());
    }
    let small = Tensor::from_packed(typed(DType::Float8E5M2Fnuz, &[4, 64], 0)?, &[0x40; 256])?;
    let lhs = TensorType::new(DType::Float32, [4, 64])?;
    ops.push(Linear::new(lhs, PackedWeights::from_tensor(&small)?).build()?.into());
    // Every small float with every other format would be too many. Decoding and encoding are independent.
    for small in dtypes(|dtype| dtype.is_minifloat() || dtype == DType::Float8E8M0) {
        for other in [DType::Float32, DType::Float16, DType::Int8, DType::Uint4, DType::Float4E2M1] {
            ops.push(Cast::new(TensorType::new(small, [4, 4])?, other).build()?.into());
            let cast = Cast::new(TensorType::new(other, [4, 4])?, small);
            ops.push(cast.clone().build()?.into());
            ops.push(cast.non_saturating().rounding(PowerRounding::Nearest).build()?.into());
        }
    }
    ops.extend(grouped()?);
    // Segments that are longer than a chunk.
    let long = DynamicQuantize::new(TensorType::float32([2, 9000])?, DType::Int8, DynamicGranularity::Row);
    ops.extend([long.clone().build()?.into(), long.symmetric().build()?.into()]);
    // Segments that are quantized by the launch that finds their range.
    for dtype in [DType::Int8, DType::Uint8] {
        ops.push(
            DynamicQuantize::new(TensorType::float32([2, 40])?, dtype, DynamicGranularity::Group(16)).build()?.into(),
        );
    }
    // Caches of codes, with the rows that they get.
    for (dtype, granularity) in [(DType::Int8, DynamicGranularity::Row), (DType::Int4, DynamicGranularity::Group(16))] {
        let cache = TensorType::new(dtype, [8, 2, 40])?.with_dynamic_scales();
        let append = AppendQuantized::new(cache.clone(), TensorType::float32([3, 2, 40])?, granularity)?;
        ops.push(append.clone().into());
        for pairs in [RotaryPairs::Halves, RotaryPairs::Interleaved] {
            ops.push(append.clone().rotated(TensorType::float32([9, 16])?, pairs)?.into());
        }
        let mask = TensorType::float32([3, 8])?;
        let attention = Attention::new(TensorType::float32([3, 4, 40])?, cache.clone(), cache).scales(granularity);
        ops.push(attention.clone().build()?.into());
        ops.push(attention.mask(mask).build()?.into());
    }
    let cache = TensorType::float32([8, 2, 40])?;
    let masked =
        Attention::new(TensorType::float32([3, 4, 40])?, cache.clone(), cache).mask(TensorType::float32([3, 8])?);
    ops.push(masked.build()?.into());
    let row = DynamicQuantize::new(TensorType::float32([2, 40])?, DType::Int8, DynamicGranularity::Row);
    ops.push(row.symmetric().build()?.into());
    ops.push(Append::new(TensorType::new(DType::Int8, [8, 5])?, TensorType::new(DType::Int8, [2, 5])?)?.into());
    let rounded = Append::new(TensorType::new(DType::Float16, [8, 6])?, TensorType::float32([2, 6])?)?;
    ops.push(rounded.clone().into());
    for pairs in [RotaryPairs::Halves, RotaryPairs::Interleaved] {
        ops.push(rounded.clone().rotated(TensorType::float32([9, 4])?, pairs)?.into());
        let same = Append::new(TensorType::float32([8, 6])?, TensorType::float32([2, 6])?)?;
        ops.push(same.rotated(TensorType::float32([9, 4])?, pairs)?.into());
    }
    for pairs in [RotaryPairs::Halves, RotaryPairs::Interleaved] {
        ops.push(Rotary::new(TensorType::float32([3, 4, 8])?, TensorType::float32([9, 6])?, pairs)?.into());
        for dtype in FLOATS {
            ops.push(rotary_append(TensorType::new(dtype, [8, 2, 8])?, pairs)?.into());
        }
    }
    for (dtype, d) in [(DType::Float32, 8), (DType::Float32, 7), (DType::Float16, 8), (DType::Int8, 8)] {
        let cache = TensorType::new(dtype, [300, 2, d])?;
        let cache = if dtype == DType::Int8 { cache.with_dynamic_scales() } else { cache };
        let attention = Attention::new(TensorType::float32([1, 4, d])?, cache.clone(), cache);
        ops.push(attention.clone().build()?.into());
        ops.push(attention.sinks(Tensor::new([4], vec![0.0f32; 4])?).build()?.into());
    }
    for capacity in [8, 3000] {
        let cache = TensorType::float32([capacity, 2, 8])?;
        let attention = Attention::new(TensorType::float32([1, 4, 8])?, cache.clone(), cache).build()?;
        let rows = TensorType::float32([1, 32])?;
        let codes = DynamicQuantize::new(rows, DType::Int8, DynamicGranularity::Group(4)).symmetric().build()?;
        ops.push(Fused::new(attention.into(), codes.into(), 0)?.into());
    }
    for dtype in [DType::Float32, DType::Float16, DType::Int32, DType::Int8, DType::Uint8] {
        for dims in [[4, 4], [4, 1024]] {
            ops.push(ArgMax::new(TensorType::new(dtype, dims)?)?.into());
        }
        for dims in [[4, 4], [1, 40_000]] {
            ops.push(TopK::new(TensorType::new(dtype, dims)?, 2).build()?.into());
        }
    }
    for dtype in [DType::Int4, DType::Int8, DType::Float16, DType::Float32] {
        let part = || TensorType::new(dtype, [4, 5]);
        ops.push(Concat::new([part()?, part()?], 1).build()?.into());
    }
    Ok(ops)
}

/// Products with group-quantized weights, lookups of their rows, and their quantization.
fn grouped() -> Result<Vec<Op>> {
    let mut ops: Vec<Op> = Vec::new();
    let all_codes =
        [Codes::INT4, Codes::INT2, Codes::INT3, Codes::INT5, Codes::INT6, Codes::INT8, Codes::IQ4_NL, Codes::UINT4];
    let all_scales = [
        ScaleFormat::F16,
        ScaleFormat::F32,
        ScaleFormat::E8M0,
        ScaleFormat::F32Zero,
        ScaleFormat::F16Zero,
        ScaleFormat::F32RealZero,
        ScaleFormat::F32Offset,
        ScaleFormat::F16Offset,
        ScaleFormat::Nested(2),
        ScaleFormat::NestedOffset(2),
    ];
    let matrix = |codes, scales, group, experts| {
        PackedWeights::build(WeightFormat::new(codes, group, scales), [experts, 4, 64], |_, _, groups, _| {
            groups.fill(GroupParams::scale(1.0));
            Ok(())
        })
    };
    let float = |format, m| TensorType::new(format, [m, 64]);
    let formats =
        all_codes.map(|codes| (codes, ScaleFormat::F16)).into_iter().chain(all_scales.map(|s| (Codes::INT4, s)));
    for (i, (codes, scales)) in formats.enumerate() {
        // Lhs takes turns: codes with a constant scale, or with one that the device computes.
        let weights = matrix(codes, scales, [32, 16, 64][i % 3], 1)?;
        let m = [1, 4, 64][i % 3];
        let op = match i % 4 {
            0 => Linear::new(float(DType::Float32, m)?, weights.clone()),
            1 => Linear::new(typed(DType::Int8, &[m, 64], 0)?, weights.clone()),
            2 => Linear::new(float(DType::Uint8, m)?, weights.clone()).dynamic_lhs(DynamicGranularity::Row),
            _ => Linear::new(float(DType::Float16, m)?, weights.clone()).output(DType::Float16),
        };
        ops.push(op.build()?.into());
        let output = FLOATS[i % 2];
        ops.push(Embedding::new(TensorType::int32([4])?, weights).output(output).build()?.into());
    }
    // Tables of fewer numbers, and of numbers that int8 doesn't hold.
    let eighths = Codes::of_numbers(&[-0.875, 0.125, 1.125, 0.0, -1.125, -0.125, 0.875, 0.0])?;
    for (i, codes) in [Codes::of_numbers(&[-1.0, 0.0, 1.0, 2.0])?, eighths, Codes::NF4].into_iter().enumerate() {
        let weights = matrix(codes, ScaleFormat::F16, 32, 1)?;
        ops.push(Linear::new(float(FLOATS[i % 2], 4)?, weights.clone()).build()?.into());
        if let Ok(op) = Linear::new(typed(DType::Int8, &[4, 64], 0)?, weights.clone()).build() {
            ops.push(op.into());
        }
        ops.push(Embedding::new(TensorType::int32([4])?, weights).build()?.into());
    }
    // Small inputs beside lhs and weights, bound separately or combined, and columns in another order.
    let bias = Tensor::new([4], vec![0.0f32; 4])?;
    for experts in [1, 2] {
        let weights = matrix(Codes::INT4, ScaleFormat::F16, 32, experts)?;
        for lhs in [DType::Float32, DType::Int8] {
            let mut op = Linear::new(float(lhs, 4)?, weights.clone()).bias(bias.clone());
            if lhs == DType::Int8 {
                op = op.dynamic_lhs(DynamicGranularity::Row);
            }
            if experts > 1 {
                op = op.experts(1);
            }
            ops.push(op.build()?.into());
        }
    }
    ops.extend(joint_layers()?);
    let shuffled = WeightFormat::new(Codes::INT4, 32, ScaleFormat::F16);
    let index: Vec<u32> = (0..64).map(|l| l % 2).collect();
    let weights = PackedWeights::build_indexed(shuffled, [1, 4, 64], &index, |_, _, _, _| Ok(()))?;
    ops.push(Linear::new(float(DType::Float32, 4)?, weights.clone()).build()?.into());
    ops.push(Linear::new(typed(DType::Int8, &[4, 64], 1)?, weights.clone()).build()?.into());
    ops.push(Embedding::new(TensorType::int32([4])?, weights).build()?.into());
    for codes in all_codes {
        for scales in all_scales {
            // Tables and nested scales are quantized on the CPU only.
            let Ok(quantizer) = Quantizer::new(WeightFormat::new(codes, 32, scales)) else { continue };
            let Ok(op) = QuantizeWeights::new(TensorType::float32([4, 64])?, quantizer.clone()) else { continue };
            ops.push(op.into());
            if matches!(codes, Codes::INT4 | Codes::UINT4) {
                let search = quantizer.search(Search::default())?;
                ops.push(QuantizeWeights::new(TensorType::float32([4, 64])?, search.clone())?.into());
                ops.push(QuantizeWeights::new(TensorType::float32([4, 64])?, search.importance(&[1.0; 64])?)?.into());
            }
        }
    }
    for rule in [GroupScaleRule::Narrow, GroupScaleRule::Middle, GroupScaleRule::NoClipping] {
        let quantizer = Quantizer::new(WeightFormat::new(Codes::INT8, 32, ScaleFormat::F32))?.rule(rule)?;
        ops.push(QuantizeWeights::new(TensorType::float32([4, 64])?, quantizer)?.into());
    }
    Ok(ops)
}

/// Ops that observe real numbers, and ops that put them on a grid.
fn observers_and_grids() -> Result<Vec<Op>> {
    let mut ops: Vec<Op> = Vec::new();
    ops.push(StepFromRange::new(TensorType::int32([4, 6])?, (0, 15))?.into());
    for granularity in [Granularity::Tensor, Granularity::Axis(1)] {
        for rule in [RangeUpdate::MinMax, RangeUpdate::MovingAverage { constant: 0.5 }] {
            ops.push(ObserveRange::new(TensorType::float32([4, 4])?, granularity, rule)?.into());
        }
        for bins in [Bins::new(64)?, Bins::of_width(64, 0.3)?, Bins::new(32_768)?] {
            ops.push(ObserveHistogram::new(TensorType::float32([4, 4])?, granularity, bins)?.into());
        }
        for grid in [Grid::Affine, Grid::Step, Grid::Range] {
            let real = FakeQuantize::new(TensorType::float32([4, 4])?, grid, granularity, (0, 15));
            let mut forwards = vec![real.clone().build()?];
            forwards.extend(real.levels().build());
            for forward in forwards {
                ops.push(FakeQuantizeGradient::new(forward.clone())?.into());
                ops.extend(GridGradient::new(forward.clone(), 1.0).map(Op::from));
                ops.push(forward.into());
            }
        }
    }
    Ok(ops)
}

/// Patches in units of every width, and of an image whose zero point the device computes.
fn unfolds() -> Result<Vec<Op>> {
    let mut ops: Vec<Op> = Vec::new();
    for (format, channels) in
        [(DType::Int2, 3), (DType::Int4, 3), (DType::Int8, 3), (DType::Float16, 3), (DType::Int8, 4)]
    {
        ops.push(Unfold::new(TensorType::new(format, [1, 8, 8, channels])?, [3, 3]).build()?.into());
    }
    for channels in [3, 4] {
        let image = TensorType::new(DType::Uint8, [1, 8, 8, channels])?;
        ops.push(Unfold::new(image.clone(), [3, 3]).dynamic_image().build()?.into());
        ops.push(Unfold::new(image, [3, 3]).transposed().build()?.into());
    }
    Ok(ops)
}

/// Ops of float networks other than products.
fn floats() -> Result<Vec<Op>> {
    let mut ops: Vec<Op> = Vec::new();
    for function in Function::EACH {
        ops.push(FloatUnary::new(TensorType::float32([4, 4])?, function)?.into());
    }
    let real = TensorType::new(DType::Float32, [4, 4])?;
    for arithmetic in Arithmetic::EACH {
        ops.push(FloatBinary::new(real.clone(), real.clone(), arithmetic)?.into());
    }
    for reduction in [Reduction::Sum, Reduction::Mean, Reduction::Max, Reduction::Min, Reduction::L1, Reduction::L2] {
        for axes in [&[2][..], &[1], &[0, 2]] {
            ops.push(Reduce::new(TensorType::float32([4, 4, 4])?, axes, reduction)?.into());
        }
        ops.push(Reduce::new(TensorType::float32([4, 9_000])?, [1], reduction)?.into());
    }
    let image = TensorType::float32([1, 4, 4, 4])?;
    ops.push(FloatPool::max(image.clone(), [2, 2]).build()?.into());
    ops.push(FloatPool::average(image, [2, 2]).build()?.into());
    for dtype in [DType::Int4, DType::Uint8, DType::Float16, DType::Float32] {
        ops.push(Gather::new(TensorType::new(dtype, [4, 4])?, 0, TensorType::int32([4])?)?.into());
    }
    for condition in [DType::Float32, DType::Uint8] {
        ops.push(Select::new(TensorType::new(condition, [4, 4])?, real.clone(), real.clone())?.into());
    }
    let norm = LayerNorm::new(TensorType::float32([4, 4])?, Tensor::new([4], vec![1.0f32; 4])?, 1e-5);
    for granularity in [DynamicGranularity::Row, DynamicGranularity::Group(4)] {
        let codes = DynamicQuantize::new(TensorType::float32([4, 4])?, DType::Int8, granularity).symmetric().build()?;
        ops.push(Fused::new(norm.clone().build()?.into(), codes.into(), 0)?.into());
    }
    ops.extend([
        Softmax::new(TensorType::float32([4, 4])?).build()?.into(),
        Softmax::new(TensorType::float32([4, 1024])?).build()?.into(),
        norm.clone().without_mean().build()?.into(),
    ]);
    ops.push(norm.build()?.into());
    Ok(ops)
}

/// Ops of training other than grids.
fn training() -> Result<Vec<Op>> {
    let mut ops: Vec<Op> = vec![
        RequantParams::new(TensorType::float32([4])?)?.into(),
        CrossEntropyGradient::new(TensorType::float32([4, 4])?)?.into(),
    ];
    for makes in [
        FakeRequantizeOutput::Levels,
        FakeRequantizeOutput::Real,
        FakeRequantizeOutput::Gradient,
        FakeRequantizeOutput::StepGradient,
    ] {
        ops.push(FakeRequantize::new(TensorType::float32([4, 4])?, makes, (0, 15)).build()?.into());
    }
    for granularity in [Granularity::Tensor, Granularity::Axis(1)] {
        ops.push(Sum::new(TensorType::float32([4, 4])?, granularity)?.into());
    }
    for rule in [lowbit::ops::OptimizerRule::adam(), lowbit::ops::OptimizerRule::Sgd { momentum: 0.9 }] {
        ops.push(OptimizerStep::new(TensorType::float32([4])?, rule).build()?.into());
    }
    for pass in [ConvPass::Forward, ConvPass::ImageGradient, ConvPass::WeightGradient] {
        for channels in [3, 4] {
            let [image, filter] = [[1, 8, 8, channels], [channels, 3, 3, channels]].map(TensorType::float32);
            let conv = FloatConv::new(image?, filter?, Windows::default()).pass(pass);
            ops.push(conv.build()?.into());
        }
    }
    Ok(ops)
}

/// Convolutions with real results. Their parts are those of other ops.
fn linear_convs() -> Result<Vec<Op>> {
    let mut ops: Vec<Op> = Vec::new();
    for groups in [1, 2] {
        let format = WeightFormat::new(Codes::INT4, 32, ScaleFormat::F16);
        let weights = PackedWeights::build(format, [groups, 4, 27], |_, _, groups, _| {
            groups.fill(GroupParams::scale(1.0));
            Ok(())
        })?;
        let image = TensorType::new(DType::Float32, [1, 8, 8, 3 * groups])?;
        ops.push(LinearConv::new(image, weights, [3, 3]).output(DType::Float16).build()?.into());
    }
    Ok(ops)
}

/// Transposed convolutions: direct, by words, in groups and depthwise.
fn transposed() -> Result<Vec<Op>> {
    let mut ops: Vec<Op> = Vec::new();
    for (format, channels, count, groups) in [
        (DType::Int8, 3, 4, 1),
        (DType::Uint4, 3, 4, 1),
        (DType::Int8, 32, 16, 2),
        (DType::Int8, 6, 6, 2),
        (DType::Int8, 4, 4, 4),
    ] {
        let filter = weights(format, &[count, 3, 3, channels / groups], 0)?;
        let conv = Conv::new(typed(DType::Int8, &[1, 8, 8, channels], 0)?, filter).groups(groups);
        ops.push(conv.transposed().stride([2, 2]).build()?.into());
    }
    Ok(ops)
}

/// A rotation of queries and appends to two caches, in one op.
fn rotary_append(cache: TensorType, pairs: RotaryPairs) -> Result<RotaryAppend> {
    let (table, rows) = (TensorType::float32([9, 6])?, TensorType::float32([3, 2, 8])?);
    let values = Append::new(cache, rows)?;
    let keys = values.clone().rotated(table.clone(), pairs)?;
    RotaryAppend::new(Rotary::new(TensorType::float32([3, 4, 8])?, table, pairs)?, keys, values)
}

/// Two and three layers in one launch, and a gate.
fn joint_layers() -> Result<Vec<Op>> {
    let format = WeightFormat::new(Codes::INT4, 32, ScaleFormat::F16);
    let weights = PackedWeights::build(format, [1, 64, 64], |_, _, groups, _| {
        groups.fill(GroupParams::scale(1.0));
        Ok(())
    })?;
    let mut ops = Vec::new();
    for dtype in FLOATS {
        let layer = Linear::new(TensorType::new(dtype, [4, 64])?, weights.clone()).build()?;
        let pair = JointLinear::new(vec![layer.clone(); 2])?;
        ops.extend([pair.clone().into(), JointLinear::new(vec![layer; 3])?.into()]);
        ops.push(pair.gated(Function::Silu)?.into());
    }
    Ok(ops)
}

/// Ops that make floats, fused with a function, a sum and a product.
fn fused_floats() -> Result<Vec<Op>> {
    let real = TensorType::float32([4, 64])?;
    let weights = Tensor::new([64, 64], vec![0.5f32; 4096])?;
    let packed = Quantizer::new(WeightFormat::new(Codes::INT4, 32, ScaleFormat::F16))?.quantize(&weights)?;
    let firsts: [Op; 4] = [
        Linear::new(real.clone(), packed.clone()).build()?.into(),
        Linear::new(typed(DType::Int8, &[4, 64], 0)?, packed).build()?.into(),
        FloatMatmul::new(real.clone(), weights).build()?.into(),
        FloatUnary::new(real.clone(), Function::Silu)?.into(),
    ];
    let mut fused = Vec::new();
    for first in firsts {
        let function = FloatUnary::new(real.clone(), Function::GeluTanh)?;
        // A function of a function can't be fused.
        fused.extend(Fused::new(first.clone(), function.into(), 0).ok().map(Op::from));
        for (arithmetic, position) in
            [(Arithmetic::Add, 0), (Arithmetic::Multiply, 0), (Arithmetic::Subtract, 0), (Arithmetic::Subtract, 1)]
        {
            let then = FloatBinary::new(real.clone(), real.clone(), arithmetic)?;
            fused.push(Fused::new(first.clone(), then.into(), position)?.into());
        }
    }
    Ok(fused)
}

/// A gate of an image of four channels, with layers of so many outputs.
fn gate(image: TensorType, stage: &Requantization, outputs: &[usize]) -> Result<Op> {
    gate_of(image, stage, outputs, QuantizedArithmetic::Integer)
}

fn gate_of(
    image: TensorType,
    stage: &Requantization,
    outputs: &[usize],
    arithmetic: QuantizedArithmetic,
) -> Result<Op> {
    let pool = Pool::global_average(image).output(stage.clone()).arithmetic(arithmetic).build()?;
    let (mut made, mut layers) = (Op::from(pool.clone()).outputs()[0].clone(), Vec::new());
    for &outputs in outputs {
        let channels = made.shape().row_length();
        let weights = Tensor::new([outputs, 1, 1, channels], vec![1i8; outputs * channels])?;
        let weights = weights.quantized(Quantization::tensor(0.5, 0))?;
        let layer = Conv::new(made, weights).output(stage.clone()).build()?;
        made = Op::from(layer.clone()).outputs()[0].clone();
        layers.push(layer);
    }
    Ok(ChannelGate::new(pool, layers)?.into())
}

/// Each of these ops that outputs codes, fused with a table and with a sum.
fn fused(ops: &[Op]) -> Result<Vec<Op>> {
    let mut fused = Vec::new();
    for first in ops {
        let codes = first.outputs()[0].clone();
        if codes.quantization().is_none()
            || matches!(first, Op::Table(_) | Op::QuantizedSoftmax(_) | Op::Concat(_) | Op::Resize(_))
        {
            continue;
        }
        let stage = Requantization::new(DType::Int8, 1.0, 0)?;
        fused.push(Fused::new(first.clone(), Table::sigmoid(codes.clone(), stage.clone())?.into(), 0)?.into());
        for format in CODES {
            let residual = typed(format, codes.dims(), 0)?;
            for arithmetic in [QuantizedArithmetic::QOperator, QuantizedArithmetic::Qdq] {
                let sum = Add::new(codes.clone(), residual.clone(), stage.clone()).arithmetic(arithmetic).build()?;
                // Two sums with different arithmetic can't be fused.
                fused.extend(Fused::new(first.clone(), sum.into(), 0).ok().map(Op::from));
            }
        }
    }
    Ok(fused)
}
