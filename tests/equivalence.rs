//! GPU equals reference, bit for bit: every op, every candidate kernel, awkward shapes, poisoned outputs and padding.
//! Convolutions of every shape are in tests/convolutions.rs. Other tests check the reference itself (tests/conformance.rs, doc
//! examples).

mod common;

use common::{Random, check_op, context, dtypes, gpu_context};
use half::f16;
use lowbit::numeric::QuantizationParams;
use lowbit::ops::{
    Add, Cast, ChannelGate, Concat, Conv, Dequantize, DynamicGranularity, DynamicQuantize, Fused, Matmul, Multiply, Op,
    Output, Padding, Pool, Quantize, QuantizedArithmetic, QuantizedSoftmax, Requantization, Requantize, Softmax, Table,
};
use lowbit::{
    Context, ContextOptions, DType, Granularity, Multiplier, Quantization, Result, Rounding, Tensor, TensorType,
    kernels,
};

const CODES: [DType; 2] = [DType::Int8, DType::Uint8];

/// Integers below 8 bits.
fn narrow_dtypes() -> Vec<DType> {
    dtypes(|dtype| dtype.is_narrow_integer() && dtype.bits() < 8)
}
const ROUNDINGS: [Rounding; 3] = [Rounding::Onnx, Rounding::FixedSingle, Rounding::FixedDouble];
/// ONNX Runtime's arithmetic by default, and without optimizations.
const WAYS: [QuantizedArithmetic; 2] = [QuantizedArithmetic::QOperator, QuantizedArithmetic::Qdq];

/// m, n, k by intent.
const MATMUL_SHAPES: [(&str, [usize; 3]); 15] = [
    ("EMPTY_M", [0, 5, 7]),
    ("EMPTY_N", [4, 0, 7]),
    ("EMPTY_K", [3, 6, 0]),
    ("ONE", [1, 1, 1]),
    ("UNDER_WORD", [2, 3, 3]),
    ("WORD", [4, 4, 4]),
    ("OVER_WORD", [5, 5, 5]),
    ("UNDER_VEC", [3, 15, 15]),
    ("OVER_VEC", [9, 17, 17]),
    ("UNDER_TILE", [31, 63, 33]),
    ("OVER_TILE", [33, 65, 31]),
    ("PRIME", [37, 41, 43]),
    ("TALL", [257, 3, 19]),
    ("WIDE", [2, 301, 24]),
    ("DEEP", [3, 5, 1025]),
];

fn run(context: &Context, count: &mut usize, name: &str, op: impl Into<Op>, inputs: &[&Tensor]) {
    *count += check_op(context, name, &op.into(), inputs);
}

/// An output stage that spreads sums of k products over the output codes.
fn stage(random: &mut Random, dtype: DType, spread: f64, rounding: Rounding) -> Result<Requantization> {
    let zero_point = random.zero_point(dtype);
    let stage = Requantization::new(dtype, (spread / 100.0) as f32, zero_point)?.rounding(rounding);
    Ok(match random.next() % 3 {
        0 => stage,
        1 => stage.relu(),
        _ => stage.relu6(),
    })
}

fn outputs(random: &mut Random, k: usize, scale: f64) -> Result<Vec<Output>> {
    let spread = scale * 127.0 * 64.0 * (k.max(1) as f64).sqrt();
    let float16 = Output::Float16 { low: 0.0, high: 6.0 };
    let mut outputs = vec![Output::Accumulator, Output::real(), float16];
    for rounding in ROUNDINGS {
        let format = random.pick(&CODES);
        outputs.push(stage(random, format, spread, rounding)?.into());
    }
    Ok(outputs)
}

#[test]
fn matmul() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let (mut count, mut random) = (0, Random::new(1));
    for (name, [m, n, k]) in MATMUL_SHAPES {
        for lhs_format in CODES {
            for rhs_format in CODES {
                let lhs = random.quantized(lhs_format, &[m, k]);
                let scales: Vec<f32> = (0..n).map(|_| random.scale()).collect();
                let zero_points: Vec<i32> = (0..n).map(|_| random.zero_point(rhs_format)).collect();
                let rhs = match random.next() % 3 {
                    0 => random.quantized(rhs_format, &[k, n]),
                    1 => random.codes(rhs_format, &[k, n]),
                    _ => random.codes(rhs_format, &[k, n]).quantized(Quantization::new(
                        Granularity::Axis(1),
                        scales,
                        if n == 0 { vec![0] } else { zero_points },
                    ))?,
                };
                let bias: Vec<i32> = (0..n).map(|_| random.integer(-100_000, 100_000) as i32).collect();
                let outputs = outputs(&mut random, k, 0.02 * 0.02)?;
                let chosen = [random.pick(&[0, 1, 2]), random.pick(&[3, 4, 5])];
                // Without a scale the accumulator is the only output.
                let chosen = if rhs.tensor_type().quantization().is_some() { chosen } else { [0, 0] };
                for output in chosen.map(|i| outputs[i].clone()) {
                    let matmul = Matmul::new(lhs.tensor_type().clone(), rhs.clone()).output(output);
                    let matmul =
                        if random.next() % 2 == 0 { matmul } else { matmul.bias(Tensor::new([n], bias.clone())?) };
                    run(&context, &mut count, name, matmul.build()?, &[&lhs]);
                }
            }
        }
    }
    println!("matmul: {count} combinations on {}", context.description());
    Ok(())
}

#[test]
fn matmul_batched_broadcast_and_dynamic_rhs() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let (mut count, mut random) = (0, Random::new(2));
    let cases: [(&[usize], &[usize]); 7] =
        [(&[2], &[2]), (&[3], &[1]), (&[1], &[3]), (&[2, 1], &[3]), (&[2, 3], &[]), (&[], &[4]), (&[0], &[1])];
    for (lhs_batch, rhs_batch) in cases {
        let formats = [
            (DType::Uint8, DType::Int8),
            (DType::Int8, DType::Uint8),
            (DType::Uint8, DType::Int4),
            (DType::Int8, DType::Uint2),
        ];
        for (lhs_format, rhs_format) in formats {
            for transposed in [false, true] {
                for constant in [true, false] {
                    let (m, n, k) = (5, 7, 19);
                    let lhs = random.quantized(lhs_format, &[lhs_batch, &[m, k]].concat());
                    let matrix = if transposed { [n, k] } else { [k, n] };
                    let rhs = random.quantized(rhs_format, &[rhs_batch, &matrix].concat());
                    let output = random.pick(&[0, 1]);
                    let output = outputs(&mut random, k, 0.0004)?.swap_remove(output * 3);
                    let mut matmul = if constant {
                        Matmul::new(lhs.tensor_type().clone(), rhs.clone())
                    } else {
                        Matmul::new(lhs.tensor_type().clone(), rhs.tensor_type().clone())
                    };
                    if transposed {
                        matmul = matmul.transposed();
                    }
                    let inputs: &[&Tensor] = if constant { &[&lhs] } else { &[&lhs, &rhs] };
                    let name = format!("{lhs_batch:?} x {rhs_batch:?}, transposed {transposed}, constant {constant}");
                    run(&context, &mut count, &name, matmul.output(output).build()?, inputs);
                }
            }
        }
    }
    println!("batched matmul: {count} combinations on {}", context.description());
    Ok(())
}

#[test]
fn matmul_rows_and_matrix_bias() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let (mut count, mut random) = (0, Random::new(3));
    for (m, n, k) in [(1, 1, 1), (5, 7, 13), (9, 33, 40)] {
        for format in CODES {
            let scales: Vec<f32> = (0..m).map(|_| random.scale()).collect();
            let zero_points: Vec<i32> = (0..m).map(|_| random.zero_point(format)).collect();
            let per_row = Quantization::new(Granularity::Axis(0), scales, zero_points);
            let lhs = random.codes(format, &[m, k]).quantized(per_row)?;
            let rhs = random.quantized(DType::Int8, &[k, n]);
            for output in outputs(&mut random, k, 0.0004)? {
                let matmul = Matmul::new(lhs.tensor_type().clone(), rhs.clone()).output(output);
                run(&context, &mut count, "per row", matmul.build()?, &[&lhs]);
            }
            let plain = random.quantized(format, &[m, k]);
            for dimensions in [vec![m, n], vec![m, 1], vec![1, n], vec![1], vec![]] {
                let bias: Vec<i32> =
                    (0..dimensions.iter().product()).map(|_| random.integer(-9999, 9999) as i32).collect();
                let real: Vec<f32> = bias.iter().map(|&b| b as f32 * 0.37).collect();
                let output = outputs(&mut random, k, 0.0004)?.swap_remove(3);
                let matmul = Matmul::new(plain.tensor_type().clone(), rhs.clone());
                let quantized = matmul.clone().bias(Tensor::new(&dimensions[..], bias)?).output(output);
                run(&context, &mut count, "matrix bias", quantized.build()?, &[&plain]);
                let real = matmul.bias(Tensor::new(&dimensions[..], real)?).output(Output::real());
                run(&context, &mut count, "real bias", real.build()?, &[&plain]);
            }
        }
    }
    println!("matmul rows and biases: {count} combinations on {}", context.description());
    Ok(())
}

#[test]
fn dynamic_quantization_feeds_matmul_and_conv() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let (mut count, mut random) = (0, Random::new(4));
    // Rows shorter and longer than the lanes of a row, rows that fill no workgroup, and rows of one chunk and more.
    let shapes: [&[usize]; 15] = [
        &[],
        &[0],
        &[1],
        &[7, 3],
        &[3, 0],
        &[2, 3, 65],
        &[2, 20_000],
        &[1003, 3],
        &[63, 1],
        &[65, 32],
        &[33, 33],
        &[9, 512],
        &[5, 513],
        &[2, 8192],
        &[2, 8193],
    ];
    for dimensions in shapes {
        for format in CODES {
            for granularity in [DynamicGranularity::Tensor, DynamicGranularity::Row, DynamicGranularity::Group(7)] {
                for kind in 0..4 {
                    let elements: usize = dimensions.iter().product();
                    let value = |random: &mut Random| match kind {
                        0 => random.real(),
                        1 => 0.0,
                        2 => f32::from_bits(random.next() as u32 & 0x7fff),
                        _ => f32::from_bits(random.next() as u32),
                    };
                    let x = Tensor::new(dimensions, (0..elements).map(|_| value(&mut random)).collect::<Vec<f32>>())?;
                    let op = DynamicQuantize::new(TensorType::float32(dimensions)?, format, granularity).build()?;
                    run(&context, &mut count, &format!("{dimensions:?} kind {kind}"), op, &[&x]);
                }
            }
        }
    }
    for rows in [1, 5] {
        let parameters: Vec<_> =
            (0..rows).map(|_| QuantizationParams::new(random.scale(), random.zero_point(DType::Uint8))).collect();
        let parameters = Tensor::new([rows], parameters)?;
        let lhs = random.codes(DType::Uint8, &[5, 23]);
        let rhs = random.quantized(DType::Uint8, &[23, 9]);
        let granularity = if rows == 1 { DynamicGranularity::Tensor } else { DynamicGranularity::Row };
        let matmul = Matmul::new(lhs.tensor_type().clone(), rhs).dynamic_lhs(granularity).output(Output::real());
        run(&context, &mut count, "dynamic matmul", matmul.build()?, &[&lhs, &parameters]);
    }
    let parameters = Tensor::new([1], vec![QuantizationParams::new(0.03, 77)])?;
    let image = random.codes(DType::Uint8, &[1, 5, 6, 3]);
    let weights = random.quantized(DType::Int8, &[4, 3, 3, 3]);
    let conv = Conv::new(image.tensor_type().clone(), weights)
        .padding(Padding::SameUpper)
        .dynamic_lhs()
        .output(Output::real());
    run(&context, &mut count, "dynamic conv", conv.build()?, &[&image, &parameters]);
    println!("dynamic: {count} combinations on {}", context.description());
    Ok(())
}

/// Shares of codes, in order summed: rows of one code, whose shares are ties; of two codes; of any; and one great code among lesser.
#[test]
fn softmax_of_codes() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let (mut count, mut random) = (0, Random::new(31));
    let shapes: [&[usize]; 14] = [
        &[1],
        &[5, 1],
        &[0, 5],
        &[5, 0],
        &[3, 2],
        &[70, 3],
        &[2, 3, 7],
        &[9, 16],
        &[65, 33],
        &[3, 50],
        &[3, 513],
        &[2, 2049],
        &[2, 6625],
        &[1, 40_001],
    ];
    for (turn, (format, shape)) in CODES.into_iter().flat_map(|format| shapes.map(|shape| (format, shape))).enumerate()
    {
        let length = shape[shape.len() - 1].max(1);
        let (least, _) = format.range().expect("an integer format");
        for kind in 0..4 {
            let elements = shape.iter().product();
            let code = |i: usize| match kind {
                0 => (random.next() & 255) as i32 + least,
                1 => (17 * (i / length) as i32) % 256 + least,
                2 => 200 + least + 9 * (random.next() & 1) as i32,
                _ => least + (random.next() & 63) as i32 + if i % length == length / 3 { 190 } else { 0 },
            };
            let data: Vec<i32> = (0..elements).map(code).collect();
            let x = match format {
                DType::Int8 => Tensor::new(shape, data.iter().map(|&code| code as i8).collect::<Vec<_>>())?,
                _ => Tensor::new(shape, data.iter().map(|&code| code as u8).collect::<Vec<_>>())?,
            };
            let scale = [1e-3, 0.02, 0.3, 3e-37, 1e37][(turn + kind) % 5];
            let x = x.quantized(Quantization::tensor(scale, random.zero_point(format)))?;
            // Half a step past a whole one for each share of a row of one code.
            let steps = match kind {
                1 => (length * (turn % 3) + length.div_ceil(2)) as f32,
                _ => [1.0, 100.0, 256.0, 4e3, 1e30][(turn + 2 * kind) % 5],
            };
            let output = CODES[turn / 3 % 2];
            let output = Requantization::new(output, steps.recip().next_down(), random.zero_point(output))?;
            let op = QuantizedSoftmax::new(x.tensor_type().clone(), output)?;
            run(&context, &mut count, &format!("softmax of codes {shape:?}, kind {kind}"), op, &[&x]);
        }
    }
    println!("softmax of codes: {count} combinations on {}", context.description());
    Ok(())
}

/// Short rows share a workgroup: hundreds of thousands of rows need no more workgroups than their number of elements does.
#[test]
fn short_rows_share_workgroups() -> Result<()> {
    let limits = kernels::DeviceCaps::default();
    for (rows, length, most) in [(200_003, 3, 200_003usize.div_ceil(64)), (1_000, 300, 125), (3, 5_000, 3)] {
        let quantize =
            DynamicQuantize::new(TensorType::float32([rows, length])?, DType::Uint8, DynamicGranularity::Row)
                .build()?;
        let softmax = Softmax::new(TensorType::float32([rows, length])?).build()?;
        for op in [Op::from(quantize), softmax.into()] {
            let first = &kernels::candidates(&op, &limits)[0];
            let groups: u32 = first.dispatches[0].grid.iter().product();
            assert!(groups as usize <= most + most / 64, "{groups} workgroups for {rows} rows: {}", first.label);
            assert!(first.dispatches.len() <= 2, "{} launches: {}", first.dispatches.len(), first.label);
        }
    }
    Ok(())
}

/// Random weights, scaled per tensor or per output, symmetric or not.
fn narrow(random: &mut Random, dtype: DType, dims: &[usize]) -> Result<Tensor> {
    let codes = random.codes(dtype, dims);
    let (outputs, symmetric) = (dims[0], random.next().is_multiple_of(2));
    let zero_point = |random: &mut Random| if symmetric { 0 } else { random.zero_point(dtype) };
    codes.quantized(if random.next().is_multiple_of(2) {
        Quantization::tensor(random.scale(), zero_point(random))
    } else {
        let scales: Vec<f32> = (0..outputs).map(|_| random.scale()).collect();
        let zero_points: Vec<i32> = (0..outputs.max(1)).map(|_| zero_point(random)).collect();
        Quantization::new(Granularity::Axis(0), scales, if outputs == 0 { vec![0] } else { zero_points })
    })
}

/// Weights of 4 and 2 bits: every loop that unpacks them, symmetric and not, per tensor and per column.
#[test]
fn narrow_weights() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let (mut count, mut random, formats) = (0, Random::new(10), narrow_dtypes());
    for (i, (name, [m, n, k])) in MATMUL_SHAPES.into_iter().enumerate() {
        for j in 0..2 {
            let lhs = random.quantized(CODES[j], &[m, k]);
            let weights = narrow(&mut random, formats[(i + 2 * j) % formats.len()], &[n, k])?;
            let output = outputs(&mut random, k, 0.0004)?.swap_remove((i + j) % 6);
            let matmul = Matmul::new(lhs.tensor_type().clone(), weights).transposed().output(output);
            run(&context, &mut count, name, matmul.build()?, &[&lhs]);
        }
    }
    println!("narrow weights: {count} combinations on {}", context.description());
    Ok(())
}

/// Kernels that CPUs are not offered. Rows of one tile and more, columns of more than
/// 64 invocations, zero points on both sides, k within one slice, and slices without any k.
#[test]
fn kernels_of_gpus() -> Result<()> {
    let Some(context) = gpu_context() else { return Ok(()) };
    let (mut count, mut random) = (0, Random::new(12));
    let shapes = [
        ([1, 70, 1025], DType::Int8, 0),
        ([2, 70, 3067], DType::Uint4, 0),
        ([6, 9, 40], DType::Uint4, 3),
        ([19, 300, 70], DType::Int8, 1),
        ([70, 13, 33], DType::Int2, 2),
    ];
    for ([m, n, k], format, output) in shapes {
        let lhs = random.quantized(DType::Uint8, &[m, k]);
        let weights = random.codes(format, &[n, k]).quantized(Quantization::tensor(0.5, if m == 6 { 3 } else { 1 }))?;
        let output = outputs(&mut random, k, 0.0004)?.swap_remove(output);
        let op: Op = Matmul::new(lhs.tensor_type().clone(), weights).transposed().output(output).build()?.into();
        let labels: Vec<_> = kernels::candidates(&op, &context.caps()).into_iter().map(|c| c.label).collect();
        let fits = |&(_, invocations): &(&str, u32)| context.caps().invocations >= invocations;
        for (part, _) in [("split-k", 64), ("64x1 groups", 64), ("32x4 groups", 128)].into_iter().filter(fits) {
            assert!(labels.iter().any(|label| label.contains(part)), "{part}: {labels:?}");
        }
        run(&context, &mut count, "kernels of GPUs", op, &[&lhs]);
    }
    for (kernel, channels) in [(3, 20), (1, 40), (3, 1)] {
        let image = random.quantized(DType::Uint8, &[2, 9, 7, channels]);
        let groups = if channels == 1 { 1 } else { channels / 20 };
        let weights = random.codes(DType::Int8, &[24, kernel, kernel, channels / groups]);
        let weights = weights.quantized(Quantization::tensor(0.5, 3))?;
        let output = outputs(&mut random, 9 * channels, 0.0004)?.swap_remove(3);
        let conv = Conv::new(image.tensor_type().clone(), weights).groups(groups).padding(Padding::SameUpper);
        run(&context, &mut count, "convolutions of GPUs", conv.output(output).build()?, &[&image]);
    }
    println!("kernels of GPUs: {count} combinations on {}", context.description());
    Ok(())
}

/// Narrow weights in convolutions, with two of the dtypes for each shape.
#[test]
fn narrow_weights_of_convolutions() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let (mut count, mut random) = (0, Random::new(11));
    // By shape: direct, in groups of whole vec4, in groups of any size, depthwise without and with multiplier, and pointwise.
    let convs = [(3, 5, 1, 3), (32, 16, 2, 3), (48, 12, 3, 2), (6, 6, 2, 3), (5, 5, 5, 3), (4, 8, 4, 3), (17, 9, 1, 1)];
    for (i, (channels, count_out, groups, kernel)) in convs.into_iter().enumerate() {
        for (j, format) in narrow_dtypes().into_iter().enumerate().filter(|(j, _)| j % 2 == i % 2) {
            let image = random.quantized(CODES[j % 2], &[2, 5, 4, channels]);
            let weights = narrow(&mut random, format, &[count_out, kernel, kernel, channels / groups])?;
            let output = outputs(&mut random, 9 * channels / groups, 0.0004)?.swap_remove((j + 1) % 6);
            let conv = Conv::new(image.tensor_type().clone(), weights).groups(groups).padding(Padding::SameUpper);
            let name = format!("{format} weights, {channels} channels in {groups} groups");
            run(&context, &mut count, &name, conv.output(output).build()?, &[&image]);
        }
    }
    println!("narrow weights of convolutions: {count} combinations on {}", context.description());
    Ok(())
}

#[test]
fn quantize_dequantize_requantize() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let (mut count, mut random) = (0, Random::new(6));
    let formats =
        [&narrow_dtypes()[..], &[DType::Int8, DType::Uint8, DType::Int16, DType::Uint16, DType::Int32]].concat();
    let cases: [(&[usize], Granularity); 11] = [
        (&[], Granularity::Tensor),
        (&[97], Granularity::Tensor),
        (&[0, 4], Granularity::Tensor),
        (&[3, 0], Granularity::Axis(0)),
        (&[4, 9, 5], Granularity::Axis(1)),
        (&[4, 9, 5], Granularity::Axis(0)),
        (&[2, 3, 4, 17], Granularity::Axis(3)),
        (&[5, 50], Granularity::Blocks { axis: 1, size: 16 }),
        (&[33, 7], Granularity::Blocks { axis: 0, size: 8 }),
        (&[2, 12, 6], Granularity::Blocks { axis: 1, size: 5 }),
        (&[2, 12, 3, 6], Granularity::Blocks { axis: 1, size: 5 }),
    ];
    for (dimensions, granularity) in cases {
        for &format in &formats {
            let plain = TensorType::new(format, dimensions)?;
            let parameters = granularity.parameters(plain.shape())?;
            let power_of_two = random.next() % 2 == 0;
            let scales: Vec<f32> = (0..parameters).map(|_| if power_of_two { 0.25 } else { random.scale() }).collect();
            let zero_points: Vec<i32> =
                (0..parameters).map(|_| if format == DType::Int32 { 0 } else { random.zero_point(format) }).collect();
            let quantization = Quantization::new(granularity, scales, zero_points);
            let codes_type = plain.clone().quantized(quantization.clone())?;
            let elements = plain.shape().elements();
            let value = |random: &mut Random| match random.next() % 8 {
                0 => f32::from_bits(random.next() as u32),
                1 => random.integer(-300, 300) as f32 * 0.125,
                2 => random.pick(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, 3e38, 1e-40]),
                _ => random.real(),
            };
            let x = Tensor::new(dimensions, (0..elements).map(|_| value(&mut random)).collect::<Vec<f32>>())?;
            let name = format!("{plain} {granularity:?}");
            run(
                &context,
                &mut count,
                &name,
                Quantize::new(TensorType::float32(codes_type.dims())?, codes_type.clone()).build()?,
                &[&x],
            );
            if codes_type.dtype().range().is_some() {
                let away = Quantize::new(TensorType::float32(codes_type.dims())?, codes_type.clone()).ties_away();
                run(&context, &mut count, &format!("{name}, ties away"), away.build()?, &[&x]);
            }
            let halves: Vec<f16> = x.values::<f32>()?.iter().map(|&x| f16::from_f32(x)).collect();
            let op = Quantize::new(TensorType::new(DType::Float16, codes_type.dims())?, codes_type.clone()).build()?;
            run(&context, &mut count, &name, op, &[&Tensor::new(dimensions, halves)?]);
            let codes = random.codes(format, dimensions).quantized(quantization)?;
            let op = Dequantize::new(codes_type.clone());
            run(&context, &mut count, &name, op.clone().build()?, &[&codes]);
            run(&context, &mut count, &name, op.output(DType::Float16).build()?, &[&codes]);
            for rounding in ROUNDINGS {
                let spread = if format == DType::Int32 { 1e7 } else { 50.0 };
                let output_format = random.pick(&CODES);
                let stage = stage(&mut random, output_format, spread * 0.01, rounding)?;
                run(&context, &mut count, &name, Requantize::new(codes_type.clone(), stage)?, &[&codes]);
            }
        }
    }
    // Subnormal and overflowing products.
    let codes: Vec<i16> = (0..4000).map(|_| random.next() as i16).collect();
    for scale in [1e-45f32, 1.3e-41, 1e-38, 3e38, 1e35, 0.1] {
        let codes = Tensor::new([4000], codes.clone())?.quantized(Quantization::tensor(scale, 5))?;
        let op = Dequantize::new(codes.tensor_type().clone());
        run(&context, &mut count, "extreme scale", op.clone().build()?, &[&codes]);
        run(&context, &mut count, "extreme scale", op.output(DType::Float16).build()?, &[&codes]);
        let x: Vec<f32> = (0..4000).map(|_| f32::from_bits(random.next() as u32)).collect();
        let x = Tensor::new([4000], x)?;
        run(
            &context,
            &mut count,
            "extreme scale",
            Quantize::new(TensorType::float32(codes.tensor_type().dims())?, codes.tensor_type().clone()).build()?,
            &[&x],
        );
    }
    println!("quantize, dequantize, requantize: {count} combinations on {}", context.description());
    Ok(())
}

#[test]
fn cast() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let (mut count, mut random) = (0, Random::new(8));
    let integers = [&narrow_dtypes()[..], &CODES].concat();
    let formats = [&integers[..], &[DType::Float16, DType::Float32]].concat();
    // All float16 values in rows that end within a word, and as many float32 around every rounding of a cast.
    let halves: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).collect();
    let reals = halves.iter().enumerate().map(|(i, x)| match i % 4 {
        0 => f32::from_bits(random.next() as u32),
        1 => random.integer(-600, 600) as f32 * 0.5,
        2 => x.to_f32(),
        // Half a step of float16 away, and one step of float32 from there.
        _ => f32::from_bits((x.to_f32().to_bits() + 0x1000).wrapping_add_signed(random.integer(-1, 1) as i32)),
    });
    let reals: Vec<f32> = reals.collect();
    let halves = Tensor::new([2048, 32], halves)?;
    let reals = Tensor::new([2048, 32], reals)?;
    for &to in &formats {
        for dimensions in [vec![], vec![0, 3], vec![5, 1], vec![3, 7], vec![2, 3, 33], vec![4, 129]] {
            for &from in &integers {
                let x = random.codes(from, &dimensions);
                run(
                    &context,
                    &mut count,
                    &format!("{from} to {to}"),
                    Cast::new(x.tensor_type().clone(), to).build()?,
                    &[&x],
                );
            }
        }
        for x in [&halves, &reals] {
            for dimensions in [vec![2048, 32], vec![64, 1024]] {
                let x = x.reshaped(dimensions)?;
                let name = format!("{} to {to}", x.tensor_type());
                run(&context, &mut count, &name, Cast::new(x.tensor_type().clone(), to).build()?, &[&x]);
            }
        }
    }
    println!("cast: {count} combinations on {}", context.description());
    Ok(())
}

#[test]
fn elementwise_pool_table_concat() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let (mut count, mut random) = (0, Random::new(7));
    let broadcasts: [(&[usize], &[usize]); 10] = [
        (&[], &[]),
        (&[501], &[501]),
        (&[0, 3], &[1, 3]),
        (&[7, 13], &[7, 13]),
        (&[2, 3, 17], &[1, 3, 1]),
        (&[1, 3, 1], &[2, 1, 18]),
        (&[5], &[4, 1]),
        (&[2, 1, 3, 1, 5], &[1, 4, 1, 2, 5]),
        (&[1], &[33]),
        (&[2, 1, 2, 1, 2, 1, 2, 3], &[1, 2, 1, 2, 1, 2, 1, 3]),
    ];
    for (a, b) in broadcasts {
        for (lhs_format, rhs_format) in
            [(DType::Int8, DType::Uint8), (DType::Uint8, DType::Uint8), (DType::Int8, DType::Int8)]
        {
            let (lhs, rhs) = (random.quantized(lhs_format, a), random.quantized(rhs_format, b));
            let types = || (lhs.tensor_type().clone(), rhs.tensor_type().clone());
            let format = random.pick(&CODES);
            let sum = stage(&mut random, format, 5.0, Rounding::Onnx)?;
            for arithmetic in WAYS {
                let op = Add::new(types().0, types().1, sum.clone()).arithmetic(arithmetic).build()?;
                run(&context, &mut count, &format!("add {arithmetic:?}"), op, &[&lhs, &rhs]);
            }
            for rounding in [Rounding::FixedSingle, Rounding::FixedDouble] {
                let sum = stage(&mut random, format, 5.0, rounding)?;
                let add = || Add::new(types().0, types().1, sum.clone());
                run(&context, &mut count, "integer add", add().build()?, &[&lhs, &rhs]);
                run(&context, &mut count, "subtract", add().subtract().build()?, &[&lhs, &rhs]);
            }
            for rounding in ROUNDINGS {
                let product = stage(&mut random, format, 5.0, rounding)?;
                let op =
                    Multiply::new(types().0, types().1, product).arithmetic(QuantizedArithmetic::Integer).build()?;
                run(&context, &mut count, "multiply", op, &[&lhs, &rhs]);
            }
            for arithmetic in WAYS {
                let product = stage(&mut random, format, 5.0, Rounding::Onnx)?;
                let op = Multiply::new(types().0, types().1, product).arithmetic(arithmetic).build()?;
                run(&context, &mut count, &format!("multiply {arithmetic:?}"), op, &[&lhs, &rhs]);
            }
        }
    }
    for format in CODES {
        for dimensions in [vec![1, 7, 5], vec![2, 7, 9, 4], vec![1, 5, 5, 33], vec![1, 3, 4, 5, 3], vec![0, 4, 4, 2]] {
            let rank = dimensions.len() - 2;
            let image = random.quantized(format, &dimensions);
            let input = || image.tensor_type().clone();
            run(&context, &mut count, "global pool", Pool::global_average(input()).build()?, &[&image]);
            for rounding in ROUNDINGS {
                let output = stage(&mut random, format, 2.0, rounding)?;
                let pads = Padding::Explicit { begin: vec![1; rank], end: vec![2; rank] };
                let pool =
                    Pool::average(input(), vec![3; rank]).stride(vec![2; rank]).padding(pads.clone()).output(output);
                run(&context, &mut count, "average pool", pool.clone().build()?, &[&image]);
                run(&context, &mut count, "average pool", pool.clone().count_padding().build()?, &[&image]);
                run(&context, &mut count, "average pool", pool.clone().count_padding().round_up().build()?, &[&image]);
                if rounding == Rounding::Onnx {
                    for arithmetic in [QuantizedArithmetic::Qdq, QuantizedArithmetic::Integer] {
                        let pool = pool.clone().arithmetic(arithmetic).build()?;
                        run(&context, &mut count, &format!("average pool {arithmetic:?}"), pool, &[&image]);
                    }
                }
            }
            let pool = Pool::max(input(), vec![2; rank]).dilation(vec![2; rank]).padding(Padding::SameUpper);
            run(&context, &mut count, "max pool", pool.build()?, &[&image]);
            let codes = Pool::average(input(), vec![3; rank]).padding(Padding::SameUpper).stride(vec![2; rank]);
            let codes = codes.arithmetic(QuantizedArithmetic::Codes);
            run(&context, &mut count, "mean of codes", codes.build()?, &[&image]);
            let explicit = Multiplier::fixed(1 << 30, -2)?;
            let output = stage(&mut random, format, 2.0, Rounding::FixedDouble)?.multipliers([explicit]);
            run(
                &context,
                &mut count,
                "explicit",
                Pool::average(input(), vec![2; rank]).output(output).build()?,
                &[&image],
            );
        }
        let x = random.quantized(format, &[3, 85]);
        let output = stage(&mut random, format, 3.0, Rounding::Onnx)?;
        run(
            &context,
            &mut count,
            "leaky relu",
            Table::leaky_relu(x.tensor_type().clone(), 0.1, output.clone())?,
            &[&x],
        );
        run(&context, &mut count, "sigmoid", Table::sigmoid(x.tensor_type().clone(), output)?, &[&x]);
    }
    let concats: [(usize, &[&[usize]]); 7] = [
        (0, &[&[3], &[1], &[6]]),
        (1, &[&[5, 3], &[5, 2], &[5, 0], &[5, 14], &[5, 1]]),
        (1, &[&[5, 16], &[5, 16]]),
        (0, &[&[2, 7], &[3, 7]]),
        (1, &[&[2, 3, 5], &[2, 1, 5], &[2, 4, 5]]),
        (2, &[&[2, 2, 3, 5], &[2, 2, 1, 5]]),
        (3, &[&[2, 2, 3, 5], &[2, 2, 3, 6], &[2, 2, 3, 7]]),
    ];
    for (axis, shapes) in concats {
        for _ in 0..3 {
            let inputs: Vec<Tensor> = shapes
                .iter()
                .map(|s| {
                    let f = random.pick(&CODES);
                    random.quantized(f, s)
                })
                .collect();
            let format = random.pick(&CODES);
            let output = Requantization::new(format, random.scale(), random.zero_point(format))?;
            let types: Vec<_> = inputs.iter().map(|t| t.tensor_type().clone()).collect();
            let inputs: Vec<&Tensor> = inputs.iter().collect();
            run(
                &context,
                &mut count,
                &format!("concat {shapes:?} along {axis}"),
                Concat::new(types, axis).output(output).build()?,
                &inputs,
            );
        }
    }
    println!("elementwise, pool, table, concat: {count} combinations on {}", context.description());
    Ok(())
}

/// Ops with a fused table or residual sum before their codes are stored.
/// Gates of channels: sizes by intent, each format of each stage, each rounding, one and two layers, with and without a table.
#[test]
fn gates_of_channels() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let (mut random, mut count) = (Random::new(15), 0);
    for (name, image, channels) in [
        ("gate, EMPTY", &[0, 4, 4, 3][..], &[2, 3][..]),
        ("gate, ONE", &[1, 1, 1], &[1]),
        ("gate, UNDER_WORD", &[2, 7, 3], &[3, 2]),
        ("gate, OVER_VEC", &[2, 3, 5, 17], &[5, 17]),
        ("gate, PRIME", &[1, 2, 3, 5, 37], &[11, 41]),
        ("gate, SLICED", &[3, 30, 29, 23], &[7, 23]),
        ("gate, WIDE", &[1, 3, 3, 1024], &[260, 1023]),
    ] {
        for rounding in ROUNDINGS {
            let [of_image, of_mean, first, second] = std::array::from_fn(|_| random.pick(&CODES));
            let image = random.quantized(of_image, image);
            let mean = stage(&mut random, of_mean, 2.0, rounding)?;
            let pool = Pool::global_average(image.tensor_type().clone()).output(mean);
            let arithmetic = match rounding {
                Rounding::Onnx => random.pick(&[QuantizedArithmetic::Integer, QuantizedArithmetic::Qdq]),
                _ => QuantizedArithmetic::Integer,
            };
            let pool = pool.arithmetic(arithmetic).build()?;
            let mut made = Op::from(pool.clone()).outputs()[0].clone();
            let mut layers = Vec::new();
            for (&outputs, dtype) in channels.iter().zip([first, second]) {
                let inputs = made.shape().row_length();
                let dims = [&[outputs], &made.dims()[1..made.dims().len() - 1], &[inputs]].concat();
                let weights = random.quantized(dtype, &dims);
                let bias: Vec<i32> = (0..outputs).map(|_| random.integer(-3000, 3000) as i32).collect();
                let bias = Tensor::new([outputs], bias)?;
                let spread = 4.0 * (inputs as f64).sqrt();
                let format = random.pick(&CODES);
                let layer = Conv::new(made, weights).bias(bias).output(stage(&mut random, format, spread, rounding)?);
                let layer = layer.build()?;
                made = Op::from(layer.clone()).outputs()[0].clone();
                layers.push(layer);
            }
            let gate = ChannelGate::new(pool, layers)?;
            run(&context, &mut count, name, gate.clone(), &[&image]);
            let table = Table::sigmoid(made, Requantization::new(DType::Uint8, 1.0 / 256.0, 0)?)?;
            run(
                &context,
                &mut count,
                &format!("{name} and a table"),
                Fused::new(gate.into(), table.into(), 0)?,
                &[&image],
            );
        }
    }
    println!("{count} kernels equal the reference");
    Ok(())
}

#[test]
fn fused() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let (mut count, mut random) = (0, Random::new(9));
    for (round, lhs_format) in CODES.into_iter().enumerate() {
        let x = random.quantized(lhs_format, &[9, 23]);
        let line = random.quantized(lhs_format, &[1, 1, 23]);
        let image = random.quantized(lhs_format, &[2, 5, 4, 6]);
        let x_type = || x.tensor_type().clone();
        let codes = |random: &mut Random, spread| {
            let format = random.pick(&CODES);
            let rounding = random.pick(&ROUNDINGS);
            stage(random, format, spread, rounding)
        };
        let output = codes(&mut random, 3000.0 * 0.0004)?;
        let matmul = Matmul::new(x_type(), random.quantized(DType::Int8, &[23, 37])).output(output);
        let output = codes(&mut random, 3000.0 * 0.0004)?;
        let batched = Matmul::new(
            random.quantized(lhs_format, &[2, 3, 23]).tensor_type().clone(),
            random.quantized(DType::Uint8, &[2, 23, 18]),
        );
        let batched = (batched.output(output), random.codes(lhs_format, &[2, 3, 23]));
        let output = codes(&mut random, 3.0)?;
        let requantize = Requantize::new(x_type(), output)?;
        let output = codes(&mut random, 5.0)?;
        let multiply = Multiply::new(x_type(), line.tensor_type().clone(), output).build()?;
        let product = stage(&mut random, DType::Uint8, 5.0, Rounding::Onnx)?;
        let [default, unfused] = WAYS.map(|arithmetic| {
            Multiply::new(x_type(), line.tensor_type().clone(), product.clone()).arithmetic(arithmetic).build()
        });
        let sum = stage(&mut random, DType::Int8, 5.0, Rounding::Onnx)?;
        let [add, unfused_add] = WAYS.map(|arithmetic| {
            Add::new(x_type(), line.tensor_type().clone(), sum.clone()).arithmetic(arithmetic).build()
        });
        let image_type = || image.tensor_type().clone();
        let mut firsts: Vec<(Op, Vec<&Tensor>)> = vec![
            (matmul.build()?.into(), vec![&x]),
            (batched.0.build()?.into(), vec![&batched.1]),
            (requantize.into(), vec![&x]),
            (multiply.into(), vec![&x, &line]),
            (default?.into(), vec![&x, &line]),
            (unfused?.into(), vec![&x, &line]),
            (add?.into(), vec![&x, &line]),
            (unfused_add?.into(), vec![&x, &line]),
            (Pool::max(image_type(), [2, 2]).build()?.into(), vec![&image]),
            (Pool::average(image_type(), [3, 2]).build()?.into(), vec![&image]),
        ];
        for (outputs, groups, kernel) in [(5, 1, 3), (6, 6, 3), (12, 6, 2), (4, 2, 3), (7, 1, 1)] {
            let output = codes(&mut random, 1000.0 * 0.0004)?;
            let weights = random.quantized(DType::Int8, &[outputs, kernel, kernel, 6 / groups]);
            let conv = Conv::new(image_type(), weights).groups(groups).padding(Padding::SameLower).output(output);
            firsts.push((conv.build()?.into(), vec![&image]));
        }
        for (turn, (first, inputs)) in firsts.into_iter().enumerate() {
            let made = first.outputs()[0].clone();
            let output = codes(&mut random, 3.0)?;
            let table = Table::leaky_relu(made.clone(), 0.2, output)?;
            let op = Fused::new(first.clone(), table.into(), 0)?;
            run(&context, &mut count, &format!("{} + table", first.name()), op, &inputs);
            for position in [0, 1] {
                let arithmetic = WAYS[(round + turn + position) % 2];
                let format = random.pick(&CODES);
                let residual = random.quantized(format, made.dims());
                let sum = stage(&mut random, DType::Uint8, 5.0, Rounding::Onnx)?;
                let mut operands = [made.clone(), residual.tensor_type().clone()];
                operands.rotate_left(position);
                let [a, b] = operands;
                let sum = Add::new(a, b, sum).arithmetic(arithmetic).build()?;
                // A sum and its residual sum share a program part, so they must have the same arithmetic.
                let op: Op = match Fused::new(first.clone(), sum.into(), position) {
                    Err(error) if first.name() == "add" && error.to_string().contains("QuantizedArithmetic") => {
                        continue;
                    }
                    op => op?.into(),
                };
                // A residual needs another binding, and planners don't fuse on a device with too few.
                let limits = context.caps();
                let launches = kernels::candidates(&op, &limits).into_iter().flat_map(|c| c.dispatches);
                if launches.map(|launch| launch.bindings.len()).max().unwrap_or(0) > limits.storage_buffers as usize {
                    continue;
                }
                let inputs = [&inputs[..], &[&residual]].concat();
                run(&context, &mut count, &format!("{} + add", first.name()), op, &inputs);
            }
        }
    }
    println!("fused: {count} combinations on {}", context.description());
    Ok(())
}

/// Runs ops with the driver's own bounds checks in every shader: a difference would mean an index out of bounds.
#[test]
fn checked_shaders() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut options = ContextOptions::default();
    options.checked_shaders = true;
    options.limits = common::limits();
    let context = pollster::block_on(Context::with_options(&options)).unwrap_or(context);
    let (mut count, mut random) = (0, Random::new(8));
    for (name, [m, n, k]) in [("ONE", [1, 1, 1]), ("OVER_VEC", [9, 17, 17]), ("OVER_TILE", [33, 65, 31])] {
        let (lhs, rhs) = (random.quantized(DType::Uint8, &[m, k]), random.quantized(DType::Int8, &[k, n]));
        let output = outputs(&mut random, k, 0.0004)?.swap_remove(3);
        let matmul = Matmul::new(lhs.tensor_type().clone(), rhs).output(output);
        run(&context, &mut count, name, matmul.build()?, &[&lhs]);
    }
    for (channels, outputs, groups) in [(3, 5, 1), (32, 8, 2), (6, 9, 3), (5, 5, 5), (5, 10, 5)] {
        let image = random.quantized(DType::Uint8, &[2, 7, 6, channels]);
        let weights = random.quantized(DType::Uint8, &[outputs, 3, 3, channels / groups]);
        let conv = Conv::new(image.tensor_type().clone(), weights).groups(groups).padding(Padding::SameUpper);
        run(&context, &mut count, "conv", conv.build()?, &[&image]);
    }
    println!("checked: {count} combinations on {}", context.description());
    Ok(())
}
