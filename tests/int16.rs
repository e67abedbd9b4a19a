//! int16 activations with weights of at most 8 bits (TFLite's 16x8): GPU equals reference, bit for bit, over every loop that
//! multiplies bytes, extremes included. The reference equals sums computed here in i128.

mod common;

use common::{Random, check_op, context, context_with, tiny_limits};
use lowbit::ops::{Conv, Dequantize, Matmul, Op, Output, Padding, Quantize, Requantization, Requantize, Table};
use lowbit::{
    DType, Error, Granularity, Graph, Multiplier, Quantization, Result, Rounding, Tensor, TensorType, Tuner, reference,
};

const CODES: [DType; 2] = [DType::Int8, DType::Uint8];
const ROUNDINGS: [Rounding; 4] = [Rounding::Onnx, Rounding::FixedSingle, Rounding::FixedDouble, Rounding::FixedWide];

/// int16 codes with a scale. The extremes occur often; all codes are `edge` if it is given.
fn activations(random: &mut Random, dims: &[usize], edge: Option<i16>) -> Result<Tensor> {
    let codes = random.codes(DType::Int16, dims);
    let codes: Vec<i16> = codes.values::<i16>()?.iter().map(|&code| edge.unwrap_or(code)).collect();
    Tensor::new(dims, codes)?.quantized(Quantization::tensor(random.scale(), 0))
}

/// Symmetric weights with a scale per index of `axis`.
fn weights(random: &mut Random, dtype: DType, dims: &[usize], axis: usize) -> Result<Tensor> {
    let scales: Vec<f32> = (0..dims[axis]).map(|_| random.scale()).collect();
    random.codes(dtype, dims).quantized(Quantization::symmetric_axis(axis, scales))
}

/// Random biases of at most `bits` bits.
fn biases(random: &mut Random, count: usize, bits: u32) -> Vec<i64> {
    (0..count).map(|_| random.next() as i64 >> (63 - bits)).collect()
}

/// Output stages of sums that may need 48 bits; `spread` is approximately the largest real number.
fn wide_stages(random: &mut Random, spread: f32) -> Result<Vec<Output>> {
    let scale = |format| spread / if format == DType::Int16 { 32_768.0 } else { 128.0 };
    let stage = |format, rounding, zero_point| -> Result<Output> {
        Ok(Requantization::new(format, scale(format), zero_point)?.rounding(rounding).into())
    };
    let byte = random.pick(&CODES);
    Ok(vec![
        stage(DType::Int16, Rounding::FixedWide, 0)?,
        stage(DType::Int16, Rounding::Onnx, 0)?,
        Output::real(),
        stage(byte, Rounding::FixedWide, random.zero_point(byte))?,
        stage(byte, Rounding::Onnx, random.zero_point(byte))?,
        Requantization::new(DType::Int16, scale(DType::Int16), -77)?.rounding(Rounding::FixedWide).relu6().into(),
        Output::Real { low: 0.0, high: 6.0 },
    ])
}

#[test]
fn matmul() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let (mut count, mut random) = (0, Random::new(160));
    let shapes = [[0, 5, 7], [3, 6, 0], [1, 1, 1], [5, 5, 8], [3, 17, 9], [9, 8, 17], [33, 65, 31], [3, 5, 1025]];
    for (i, [m, n, k]) in shapes.into_iter().enumerate() {
        let dtype = [DType::Int8, DType::Uint8, DType::Int8, DType::Int4, DType::Int2][i % 5];
        let edge = [None, None, Some(i16::MIN), Some(i16::MAX)][i % 4];
        let lhs = activations(&mut random, &[m, k], edge)?;
        let rhs = match dtype {
            DType::Int8 => weights(&mut random, dtype, &[k, n], 1)?,
            _ => random.quantized(dtype, &[k, n]),
        };
        let spread = 0.0005 * 32_768.0 * 127.0 * (k.max(1) as f32).sqrt();
        let output = wide_stages(&mut random, spread)?.swap_remove(i % 7);
        let matmul = Matmul::new(lhs.tensor_type().clone(), rhs).output(output);
        let op = matmul.clone().wide_bias(biases(&mut random, n, 40)).build()?.into();
        count += check_op(&context, &format!("{m}x{n}x{k}, {dtype}"), &op, &[&lhs]);
        if i == 3 {
            let bias: Vec<i32> = (0..n).map(|_| random.next() as i32 >> 4).collect();
            let op = matmul.bias(Tensor::new([n], bias)?).build()?.into();
            count += check_op(&context, &format!("{m}x{n}x{k}, int32 bias"), &op, &[&lhs]);
        }
    }
    println!("16x8 matmul: {count} combinations on {}", context.description());
    Ok(())
}

/// Sums that fit i32: raw, and requantized in every rounding mode.
#[test]
fn sums_of_32_bits() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let (mut count, mut random) = (0, Random::new(161));
    for (m, n, k) in [(1, 4, 1), (7, 9, 33), (5, 3, 511)] {
        let lhs = activations(&mut random, &[m, k], (k == 511).then_some(i16::MIN))?;
        let rhs = weights(&mut random, DType::Int8, &[n, k], 0)?;
        let mut outputs = vec![Output::Accumulator, Output::real()];
        for rounding in ROUNDINGS {
            outputs.push(Requantization::new(DType::Int16, 0.003 * k as f32, 5)?.rounding(rounding).into());
        }
        for output in outputs {
            let bias: Vec<i32> = (0..n).map(|_| random.next() as i32 >> 12).collect();
            let op = Matmul::new(lhs.tensor_type().clone(), rhs.clone())
                .transposed()
                .bias(Tensor::new([n], bias)?)
                .output(output);
            count += check_op(&context, &format!("{m}x{n}x{k}"), &op.build()?.into(), &[&lhs]);
        }
    }
    println!("16x8 sums of 32 bits: {count} combinations on {}", context.description());
    Ok(())
}

#[test]
fn batches_rows_and_operands_of_the_device() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let (mut count, mut random) = (0, Random::new(162));
    let cases: [(&[usize], &[usize]); 4] = [(&[2], &[2]), (&[3], &[1]), (&[2, 1], &[3]), (&[], &[4])];
    for (i, (lhs_batch, rhs_batch)) in cases.into_iter().enumerate() {
        let lhs = activations(&mut random, &[lhs_batch, &[5, 19]].concat(), None)?;
        let rhs = random.quantized([DType::Int8, DType::Uint8][i % 2], &[rhs_batch, &[19, 7]].concat());
        let output = wide_stages(&mut random, 3000.0)?.swap_remove(i % 3);
        let name = format!("{lhs_batch:?} x {rhs_batch:?}");
        let op = Matmul::new(lhs.tensor_type().clone(), rhs.clone()).output(output.clone()).build()?.into();
        count += check_op(&context, &name, &op, &[&lhs]);
        let op = Matmul::new(lhs.tensor_type().clone(), rhs.tensor_type().clone()).output(output).build()?.into();
        count += check_op(&context, &format!("{name} on the device"), &op, &[&lhs, &rhs]);
    }
    // Scales per row, and biases that differ between rows.
    let rows = Quantization::symmetric_axis(1, (0..5).map(|_| random.scale()).collect::<Vec<_>>());
    let lhs = random.codes(DType::Int16, &[3, 5, 40]).quantized(rows)?;
    let rhs = weights(&mut random, DType::Int8, &[40, 6], 1)?;
    for output in wide_stages(&mut random, 3000.0)?.into_iter().take(3) {
        let op = Matmul::new(lhs.tensor_type().clone(), rhs.clone()).output(output).build()?.into();
        count += check_op(&context, "scales of rows", &op, &[&lhs]);
    }
    let bias = Tensor::new([5, 6], (0..30).map(|i| i as f32 * 1e6).collect::<Vec<_>>())?;
    let op = Matmul::new(lhs.tensor_type().clone(), rhs).bias(bias).output(Output::real()).build()?.into();
    count += check_op(&context, "a real bias of elements", &op, &[&lhs]);
    println!("16x8 batches: {count} combinations on {}", context.description());
    Ok(())
}

#[test]
fn convolutions() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let (mut count, mut random) = (0, Random::new(163));
    // Channels, outputs, groups, kernel: direct, by words, in groups of whole vec4, in groups of any size, depthwise without and
    // with multiplier, and pointwise.
    let convs = [(20, 5, 1, 3), (3, 5, 1, 3), (32, 16, 2, 3), (6, 6, 2, 3), (5, 5, 5, 3), (4, 8, 4, 2), (17, 9, 1, 1)];
    for (i, (channels, outputs, groups, kernel)) in convs.into_iter().enumerate() {
        let edge = [None, Some(i16::MIN), Some(i16::MAX)][i % 3];
        let image = activations(&mut random, &[2, 5, 4, channels], edge)?;
        let dtype = [DType::Int8, DType::Int8, DType::Uint8, DType::Int4][i % 4];
        let filter = if dtype == DType::Uint8 {
            random.quantized(dtype, &[outputs, kernel, kernel, channels / groups])
        } else {
            weights(&mut random, dtype, &[outputs, kernel, kernel, channels / groups], 0)?
        };
        let output = wide_stages(&mut random, 30_000.0)?.swap_remove(i);
        let conv = Conv::new(image.tensor_type().clone(), filter).groups(groups).padding(Padding::SameUpper);
        let op = conv.wide_bias(biases(&mut random, outputs, 38)).output(output).build()?.into();
        count += check_op(&context, &format!("{channels} channels in {groups} groups, {dtype}"), &op, &[&image]);
    }
    // Raw sums, strides and dilation, one dimension, an image without pixels, and transposed convolutions by phases.
    let image = activations(&mut random, &[1, 9, 2], None)?;
    let filter = weights(&mut random, DType::Int8, &[3, 3, 2], 0)?;
    for transposed in [false, true] {
        let conv = Conv::new(image.tensor_type().clone(), filter.clone()).stride([2]).dilation([2]);
        let conv = if transposed { conv.transposed() } else { conv };
        count += check_op(&context, "raw", &conv.clone().build()?.into(), &[&image]);
        let output = wide_stages(&mut random, 3000.0)?.swap_remove(0);
        let op = conv.wide_bias([1 << 44, -(1 << 44), 0]).output(output).build()?.into();
        count += check_op(&context, "strided", &op, &[&image]);
    }
    let nothing = activations(&mut random, &[1, 0, 2], None)?;
    let padding = Padding::Explicit { begin: vec![2], end: vec![2] };
    let op = Conv::new(nothing.tensor_type().clone(), filter).padding(padding).build()?.into();
    count += check_op(&context, "no pixels", &op, &[&nothing]);
    println!("16x8 convolutions: {count} combinations on {}", context.description());
    Ok(())
}

/// Sums up to the end of 48 bits and multipliers up to the ends of their shifts, against the definitions written out.
#[test]
fn wide_sums_are_rescaled_as_defined() -> Result<()> {
    let mut random = Random::new(164);
    let limit = (1i64 << 47) - 1;
    let sums: Vec<i64> = [0, 1, -1, 1 << 31, -(1 << 31) - 1, limit, -limit, limit - 1, (1 << 32) - 1, (1 << 24) + 1]
        .into_iter()
        .chain((0..300).map(|_| (random.next() as i64 >> 17) >> random.integer(0, 46)))
        .collect();
    let n = sums.len();
    // TFLite's MultiplyByQuantizedMultiplier for int64: x · reduced + round, shifted right.
    let tflite = |x: i64, quantized: i32, shift: i32| -> i64 {
        let reduced = if quantized < 0x7fff_0000 { (quantized + (1 << 15)) >> 16 } else { 0x7fff };
        (x * i64::from(reduced) + (1 << (14 - shift))) >> (15 - shift)
    };
    let fixed: Vec<(i32, i32)> = (0..n)
        .map(|i| match i % 8 {
            0 => (i32::MAX, 7),
            1 => (0x7ffe_ffff, -31),
            2 => (1 << 30, 0),
            3 => (0, 0),
            4 => (0x7fff_0000, -20),
            _ => ((random.next() as i32 >> 2) & 0x1fff_ffff | 1 << 30, random.integer(-31, 7) as i32),
        })
        .collect();
    let floats: Vec<f32> = (0..n).map(|_| random.scale() * (random.integer(-24, 4) as f32).exp2()).collect();
    let x = Tensor::new([1, 1], vec![0i16])?.quantized(Quantization::tensor(1.0, 0))?;
    let rhs = Tensor::new([1, n], vec![1i8; n])?.quantized(Quantization::tensor(1.0, 0))?;
    // The bias may reach the limit only if nothing else is added.
    let most = limit - 32_768;
    let sums: Vec<i64> = sums.into_iter().map(|sum: i64| sum.clamp(-most, most)).collect();
    let op = |rounding, multipliers: Vec<Multiplier>| -> Result<Op> {
        let stage = Requantization::new(DType::Int16, 1.0, 0)?.rounding(rounding).multipliers(multipliers);
        let matmul = Matmul::new(x.tensor_type().clone(), rhs.clone()).wide_bias(&sums[..]).output(stage);
        Ok(matmul.build()?.into())
    };
    let multipliers = fixed.iter().map(|&(q, shift)| Multiplier::fixed(q, shift)).collect::<Result<_>>()?;
    let fixed_op = op(Rounding::FixedWide, multipliers)?;
    let expected: Vec<i16> = sums
        .iter()
        .zip(&fixed)
        .map(|(&sum, &(q, shift))| tflite(sum, q, shift).clamp(i16::MIN.into(), i16::MAX.into()) as i16)
        .collect();
    assert_eq!(reference::run(&fixed_op, &[&x])?[0].values::<i16>()?, expected);
    let float_op = op(Rounding::Onnx, floats.iter().map(|&m| Multiplier::float(m)).collect::<Result<_>>()?)?;
    let expected: Vec<i16> =
        sums.iter().zip(&floats).map(|(&sum, &m)| (sum as f32 * m).round_ties_even() as i16).collect();
    assert_eq!(reference::run(&float_op, &[&x])?[0].values::<i16>()?, expected);
    let real = Matmul::new(x.tensor_type().clone(), rhs.clone()).wide_bias(&sums[..]).output(Output::real());
    let real: Op = real.build()?.into();
    let expected: Vec<f32> = sums.iter().map(|&sum| sum as f32).collect();
    assert_eq!(reference::run(&real, &[&x])?[0].values::<f32>()?, expected);
    if let Some(context) = context() {
        for (name, op) in [("fixed", fixed_op), ("float", float_op), ("real", real)] {
            check_op(&context, name, &op, &[&x]);
        }
    }
    Ok(())
}

/// The reference's sums equal the definition's.
#[test]
fn sums_are_exact() -> Result<()> {
    let mut random = Random::new(165);
    for k in [1, 7, 516, 3000] {
        let lhs = activations(&mut random, &[2, k], (k == 3000).then_some(i16::MIN))?;
        let rhs = random.quantized(DType::Int8, &[k, 3]);
        let zero_point = rhs.tensor_type().quantization().map_or(0, |q| q.zero_points()[0]);
        let bias = biases(&mut random, 3, 45);
        let op = Matmul::new(lhs.tensor_type().clone(), rhs.clone()).wide_bias(&bias[..]).output(Output::real());
        let out = reference::run(&op.build()?.into(), &[&lhs])?;
        let (x, w) = (lhs.values::<i16>()?, rhs.values::<i8>()?);
        let scale = |t: &Tensor| t.tensor_type().quantization().map_or(1.0, |q| q.scales()[0]);
        for (i, &got) in out[0].values::<f32>()?.iter().enumerate() {
            let (row, column) = (i / 3, i % 3);
            let product = |l: usize| i128::from(x[row * k + l]) * i128::from(i32::from(w[l * 3 + column]) - zero_point);
            let sum = i128::from(bias[column]) + (0..k).map(product).sum::<i128>();
            assert_eq!(got, sum as f32 * (scale(&lhs) * scale(&rhs)), "k = {k}, output {i}");
        }
    }
    Ok(())
}

/// A plan from float32 to float32 through int16, verified on the device; and bytes to int16 and back.
#[test]
fn a_network_of_int16() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(166);
    let int16 = |scale, dims: &[usize]| -> Result<TensorType> {
        TensorType::new(DType::Int16, dims)?.quantized(Quantization::tensor(scale, 0))
    };
    let to_int16 = |scale| -> Result<Requantization> {
        Ok(Requantization::new(DType::Int16, scale, 0)?.rounding(Rounding::FixedWide))
    };
    let mut graph = Graph::new();
    let images = graph.extent("images", 6)?;
    let x = graph.dynamic_input(TensorType::new(DType::Float32, [6, 6, 5, 3])?, [(0, images)])?;
    let codes =
        graph.add(Quantize::new(TensorType::float32([6, 6, 5, 3])?, int16(1e-4, &[6, 6, 5, 3])?).build()?, &[x])?;
    let filter = weights(&mut random, DType::Int8, &[8, 3, 3, 3], 0)?;
    let conv = Conv::new(graph.tensor_type(codes)?.clone(), filter).padding(Padding::SameUpper);
    let hidden =
        graph.add(conv.wide_bias(biases(&mut random, 8, 24)).output(to_int16(3e-3)?.relu()).build()?, &[codes])?;
    let depthwise = weights(&mut random, DType::Int8, &[8, 3, 3, 1], 0)?;
    let conv = Conv::new(graph.tensor_type(hidden)?.clone(), depthwise).groups(8).output(to_int16(1e-2)?);
    let hidden = graph.add(conv.build()?, &[hidden])?;
    let real = graph.add(Dequantize::new(graph.tensor_type(hidden)?.clone()).build()?, &[hidden])?;
    // A `Requantize` is fused with the op that has the raw sums; a table is applied to its codes before they are stored.
    let filter = weights(&mut random, DType::Int8, &[4, 1, 1, 8], 0)?;
    let scale = 1e-2 * filter.tensor_type().quantization().map_or(1.0, |q| q.scales()[0]);
    let sums = graph.add(Conv::new(graph.tensor_type(hidden)?.clone(), filter).build()?, &[hidden])?;
    let sums_type = TensorType::new(DType::Int32, [6, 4, 3, 4])?.quantized(Quantization::tensor(scale, 0))?;
    let bytes = Requantize::new(sums_type, Requantization::new(DType::Int8, 1.0, 3)?)?;
    let bytes = graph.add(bytes, &[sums])?;
    let table = Table::sigmoid(graph.tensor_type(bytes)?.clone(), Requantization::new(DType::Uint8, 0.004, 0)?)?;
    let bytes = graph.add(table, &[bytes])?;
    graph.output(real);
    graph.output(bytes);
    for images in [6, 1] {
        let data = (0..images * 90).map(|_| random.real()).collect::<Vec<f32>>();
        let data = Tensor::new([images, 6, 5, 3], data)?;
        let plan = context.plan(&graph, Tuner::FirstGuess)?;
        assert_eq!(plan.run_blocking(&[&data])?, graph.run_reference(&[&data])?, "{images} images\n{plan}");
    }
    let plan = context.plan(&graph, Tuner::FirstGuess)?;
    assert!(plan.to_string().contains("requantize"), "{plan}");

    // int16 outputs of products of bytes, and of requantized sums.
    let lhs = random.quantized(DType::Uint8, &[5, 37]);
    for rounding in ROUNDINGS {
        let stage = Requantization::new(DType::Int16, 0.001, -300)?.rounding(rounding);
        if rounding == Rounding::FixedWide {
            let rhs = weights(&mut random, DType::Int8, &[37, 11], 1)?;
            let op = Matmul::new(lhs.tensor_type().clone(), rhs).output(stage.clone()).build()?.into();
            check_op(&context, "bytes to int16", &op, &[&lhs]);
        }
        let sums = random.codes(DType::Int32, &[3, 13]).quantized(Quantization::tensor(1e-4, 0))?;
        check_op(&context, "sums to int16", &Requantize::new(sums.tensor_type().clone(), stage)?.into(), &[&sums]);
    }
    let image = random.quantized(DType::Int8, &[1, 4, 5, 6]);
    let stage = Requantization::new(DType::Int16, 0.01, 0)?.relu();
    let conv = Conv::new(image.tensor_type().clone(), weights(&mut random, DType::Int8, &[6, 3, 3, 1], 0)?).groups(6);
    check_op(&context, "depthwise to int16", &conv.output(stage).build()?.into(), &[&image]);
    Ok(())
}

#[test]
fn sums_above_a_binding_are_taken_in_parts() -> Result<()> {
    let limits = wgpu::Limits { max_storage_buffer_binding_size: 64 << 10, ..tiny_limits() };
    let Some(context) = context_with(Some(limits)) else { return Ok(()) };
    let mut random = Random::new(167);
    // 32,000 bytes of codes go in and out, but the sums are 64,000 and 76,800 bytes.
    for rows in [2000, 2400] {
        let lhs = activations(&mut random, &[rows, 8], None)?;
        let rhs = weights(&mut random, DType::Int8, &[8, 8], 1)?;
        let stage = Requantization::new(DType::Int16, 0.5, 0)?.rounding(Rounding::FixedWide);
        let op: Op = Matmul::new(lhs.tensor_type().clone(), rhs).output(stage).build()?.into();
        check_op(&context, &format!("{rows} rows"), &op, &[&lhs]);
        let plan = context.plan(&Graph::of(op)?, Tuner::FirstGuess)?;
        assert_eq!(plan.launches() > 4, rows == 2400, "{plan}");
    }
    Ok(())
}

#[test]
fn what_is_refused() -> Result<()> {
    let refused = |op: Result<Op>, words: &[&str]| {
        let Err(Error::Request(message)) = op else { panic!("not refused: {op:?}") };
        words.iter().for_each(|word| assert!(message.contains(word), "{word:?} is not in {message:?}"));
    };
    let ones = |k: usize| Tensor::new([k, 1], vec![127i8; k])?.quantized(Quantization::tensor(1.0, 0));
    let lhs = |k: usize| TensorType::new(DType::Int16, [1, k])?.quantized(Quantization::tensor(1.0, 0));
    let matmul = |k: usize, output: Output, bias: i64| -> Result<Op> {
        Ok(Matmul::new(lhs(k)?, ones(k)?).wide_bias([bias]).output(output).build()?.into())
    };
    let wide =
        |rounding| -> Result<Output> { Ok(Requantization::new(DType::Int16, 9e9, 0)?.rounding(rounding).into()) };
    // 32,768 · 127 · 516 is just below 2^31.
    matmul(516, Output::Accumulator, 0)?;
    refused(matmul(517, Output::Accumulator, 0), &["2151514112", "2147483647", "int32"]);
    refused(matmul(516, Output::Accumulator, i64::from(i32::MAX)), &["2147483647"]);
    for rounding in [Rounding::FixedSingle, Rounding::FixedDouble] {
        matmul(516, wide(rounding)?, 0)?;
        refused(matmul(517, wide(rounding)?, 0), &["2151514112", "FixedWide"]);
    }
    matmul(66_311, wide(Rounding::FixedWide)?, 0)?;
    refused(matmul(66_312, wide(Rounding::FixedWide)?, 0), &["2147514120", "2147483647", "bytes"]);
    refused(matmul(1, wide(Rounding::FixedWide)?, 1 << 47), &["140737488355327"]);
    refused(matmul(1, wide(Rounding::FixedWide)?, i64::MIN), &["140737488355327"]);
    let stage = Requantization::new(DType::Int16, 1.0, 0)?.rounding(Rounding::FixedWide);
    let far = stage.clone().multipliers([Multiplier::fixed(1 << 30, 8)?]);
    refused(matmul(1, far.into(), 0), &["FixedWide", "7"]);
    let huge = TensorType::new(DType::Int16, [1, 1])?.quantized(Quantization::tensor(128.0, 0))?;
    refused(Matmul::new(huge, ones(1)?).output(stage.clone()).build().map(Op::from), &["128", "FixedWide"]);
    refused(Matmul::new(lhs(4)?, ones(4)?).wide_bias([1, 2]).build().map(Op::from), &["2 biases", "1 output"]);
    let odd = TensorType::new(DType::Int16, [1, 4])?.quantized(Quantization::tensor(1.0, 3))?;
    refused(Matmul::new(odd, ones(4)?).build().map(Op::from), &["zero point 3", "symmetric"]);
    let unsigned = TensorType::new(DType::Uint16, [1, 4])?;
    refused(Matmul::new(unsigned, ones(4)?).build().map(Op::from), &["uint16", "int16"]);
    let image = TensorType::new(DType::Int16, [1, 4, 4])?;
    let filter = Tensor::new([1, 2, 4], vec![1i8; 8])?;
    refused(Conv::new(image.clone(), filter.clone()).dynamic_lhs().build().map(Op::from), &["dynamic", "int16"]);
    let odd = image.quantized(Quantization::new(Granularity::Tensor, [1.0], [-1]))?;
    refused(Conv::new(odd, filter).build().map(Op::from), &["zero point -1"]);
    // Ops with 8-bit outputs refuse int16.
    let byte = TensorType::new(DType::Int8, [4])?.quantized(Quantization::tensor(1.0, 0))?;
    refused(Table::sigmoid(byte, stage).map(Op::from), &["int16", "matmul"]);
    assert!(Requantization::new(DType::Uint16, 1.0, 0).is_err());
    Ok(())
}
