//! Devices with small limits: weights and tensors larger than a binding, grids larger than a dimension. The whole equivalence suite
//! also runs on such devices, with `LOWBIT_LIMITS=tiny` or `webgpu`. The reference defines the right results.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Random, check_op, context_with, tiny_limits};
use lowbit::ops::{
    Add, Cast, Conv, Dequantize, DynamicGranularity, DynamicQuantize, Linear, Matmul, Op, Output, Padding, Pool,
    Quantize, Requantization, Table,
};
use lowbit::weights::{Codes, GroupParams, PackedWeights, ScaleFormat, WeightFormat};
use lowbit::{
    Context, DType, DeviceTensor, Error, Graph, Quantization, Result, Tensor, TensorType, Tuner, kernels, reference,
};

/// Weights that are all 1.
fn ones(format: WeightFormat, dims: [usize; 3]) -> Result<PackedWeights> {
    PackedWeights::build(format, dims, |_, codes, groups, _| {
        codes.fill(1);
        groups.fill(GroupParams::scale(1.0));
        Ok(())
    })
}

/// The same, deferred, with a count of the times that they were made.
fn deferred_ones(format: WeightFormat, dims: [usize; 3], made: &Arc<AtomicUsize>) -> Result<PackedWeights> {
    let made = made.clone();
    PackedWeights::deferred(format, dims, move || {
        made.fetch_add(1, Ordering::Relaxed);
        ones(format, dims)
    })
}

/// A device with bindings of at most 64 KiB.
fn small_bindings() -> Option<Context> {
    context_with(Some(wgpu::Limits { max_storage_buffer_binding_size: 64 << 10, ..tiny_limits() }))
}

#[test]
fn weights_above_a_binding_are_split() -> Result<()> {
    let Some(context) = small_bindings() else { return Ok(()) };
    let mut random = Random::new(41);
    // 400 columns of 300 codes take two bindings, 3 such matrices take six.
    for (m, n, k, matrices) in [(1, 400, 300, 1), (9, 403, 300, 1), (5, 131, 301, 3)] {
        let lhs = random.quantized(DType::Uint8, &[matrices, m, k]);
        let weights = random.quantized(DType::Int8, &[matrices, k, n]);
        let bias = Tensor::new([n], (0..n as i32).collect::<Vec<_>>())?;
        for output in [Output::Accumulator, Output::real(), Requantization::new(DType::Int8, 3.0, -4)?.into()] {
            let op: Op = Matmul::new(lhs.tensor_type().clone(), weights.clone())
                .bias(bias.clone())
                .output(output)
                .build()?
                .into();
            let launches = kernels::candidates(&op, &context.caps())[0].dispatches.len();
            assert!(launches > 1, "{launches} launches");
            check_op(&context, &format!("{matrices} x {m} x {n} x {k}"), &op, &[&lhs]);
        }
    }
    // Narrow weights take as many launches as their bytes need.
    for (format, parts) in [(DType::Int8, 4), (DType::Int4, 2), (DType::Uint2, 1)] {
        let lhs = random.quantized(DType::Uint8, &[3, 512]);
        let weights = random.quantized(format, &[512, 400]);
        let op: Op = Matmul::new(lhs.tensor_type().clone(), weights).build()?.into();
        assert_eq!(kernels::candidates(&op, &context.caps())[0].dispatches.len(), parts, "{format}");
        check_op(&context, &format!("{format} weights"), &op, &[&lhs]);
    }
    let image = random.quantized(DType::Int8, &[1, 4, 3, 40]);
    let weights = random.quantized(DType::Int4, &[307, 3, 3, 40]);
    let conv: Op = Conv::new(image.tensor_type().clone(), weights).build()?.into();
    assert!(kernels::candidates(&conv, &context.caps())[0].dispatches.len() > 1, "int4 split along the channels");
    check_op(&context, "conv of int4", &conv, &[&image]);
    let image = random.quantized(DType::Uint8, &[1, 4, 5, 40]);
    let weights = random.quantized(DType::Int8, &[203, 3, 3, 40]);
    let codes = Requantization::new(DType::Uint8, 3.0, 9)?;
    let conv = Conv::new(image.tensor_type().clone(), weights).padding(Padding::SameUpper).output(codes);
    let candidates = kernels::candidates(&conv.clone().build()?.into(), &context.caps());
    assert!(candidates[0].dispatches.len() > 1, "split along the channels");
    // The kernel for groups of any size can't be split, so it is no candidate here.
    let op: Op = conv.build()?.into();
    assert!(candidates.len() >= 2 && candidates.iter().all(|c| !c.label.starts_with("grouped")), "{candidates:?}");
    check_op(&context, "conv", &op, &[&image]);

    // Weights that only fit without the padding of their columns, and slightly fewer columns.
    let most = (context.caps().binding_bytes / 24) as usize;
    for n in [most / 4 * 4, most] {
        let lhs = random.quantized(DType::Int8, &[1, 16]);
        let op = Matmul::new(lhs.tensor_type().clone(), random.quantized(DType::Int8, &[16, n])).build()?.into();
        check_op(&context, &format!("{n} columns"), &op, &[&lhs]);
    }
    Ok(())
}

#[test]
fn tensors_above_a_binding_are_taken_in_parts() -> Result<()> {
    let Some(context) = small_bindings() else { return Ok(()) };
    let mut random = Random::new(42);
    let rows = 5000;
    let codes = random.quantized(DType::Int8, &[rows, 20]);
    let codes_type = codes.tensor_type().clone();
    let other = random.quantized(DType::Uint8, &[rows, 20]);
    let line = random.quantized(DType::Uint8, &[1, 20]);
    let reals = Tensor::new([rows, 20], (0..rows * 20).map(|_| random.real()).collect::<Vec<_>>())?;
    let stage = || Requantization::new(DType::Uint8, 0.07, 13);
    let image = random.quantized(DType::Int8, &[70, 9, 8, 20]);
    let flat = random.quantized(DType::Int8, &[150_000]);
    let weights = random.quantized(DType::Int8, &[20, 30]);
    let nibbles = random.quantized(DType::Int4, &[150_000]);
    let crumbs = random.codes(DType::Uint2, &[70_000]);
    let cases: Vec<(&str, Op, Vec<&Tensor>)> = vec![
        ("dequantize a line of int4", Dequantize::new(nibbles.tensor_type().clone()).build()?.into(), vec![&nibbles]),
        (
            "cast a line of uint2",
            Cast::new(crumbs.tensor_type().clone(), DType::Float16).build()?.into(),
            vec![&crumbs],
        ),
        (
            "quantize",
            Quantize::new(TensorType::float32(codes_type.dims())?, codes_type.clone()).build()?.into(),
            vec![&reals],
        ),
        ("dequantize", Dequantize::new(codes_type.clone()).build()?.into(), vec![&codes]),
        ("table", Table::sigmoid(codes_type.clone(), stage()?)?.into(), vec![&codes]),
        ("table of a line", Table::sigmoid(flat.tensor_type().clone(), stage()?)?.into(), vec![&flat]),
        (
            "add",
            Add::new(codes_type.clone(), other.tensor_type().clone(), stage()?).build()?.into(),
            vec![&codes, &other],
        ),
        (
            "add a line",
            Add::new(codes_type.clone(), line.tensor_type().clone(), stage()?).build()?.into(),
            vec![&codes, &line],
        ),
        ("matmul", Matmul::new(codes_type.clone(), weights.clone()).output(stage()?).build()?.into(), vec![&codes]),
        ("matmul to int32", Matmul::new(codes_type.clone(), weights.clone()).build()?.into(), vec![&codes]),
        (
            "dynamic quantize",
            DynamicQuantize::new(TensorType::float32([rows, 20])?, DType::Int8, DynamicGranularity::Row)
                .build()?
                .into(),
            vec![&reals],
        ),
        ("pool", Pool::max(image.tensor_type().clone(), [2, 2]).build()?.into(), vec![&image]),
        (
            "conv",
            Conv::new(image.tensor_type().clone(), random.quantized(DType::Int8, &[8, 3, 3, 20])).build()?.into(),
            vec![&image],
        ),
    ];
    for (name, op, inputs) in cases {
        check_op(&context, name, &op, &inputs);
        let plan = context.plan(&Graph::of(op.clone())?, Tuner::FirstGuess)?;
        assert!(plan.launches() > 1, "{name} in one launch:\n{plan}");
    }

    // Not divisible: a product whose first dimension differs from its lhs's, and rows with a scale per row.
    let lhs = random.quantized(DType::Int8, &[64, 16]);
    let op: Op = Matmul::new(lhs.tensor_type().clone(), random.quantized(DType::Int8, &[64, 16, 16])).build()?.into();
    let error = context.plan(&Graph::of(op.clone())?, Tuner::FirstGuess).expect_err("262,144 bytes of sums");
    assert!(matches!(error, Error::Limit { needed: 262_144, .. }), "{error}");
    let by_row =
        TensorType::new(DType::Int8, [512, 256])?.quantized(Quantization::symmetric_axis(0, vec![0.5; 512]))?;
    let error =
        context.plan(&Graph::of(Dequantize::new(by_row).build()?)?, Tuner::FirstGuess).expect_err("half a megabyte");
    assert!(matches!(error, Error::Limit { needed: 524_288, .. }), "{error}");

    // A range over all elements can't be computed in parts.
    let whole: Op =
        DynamicQuantize::new(TensorType::float32([rows, 20])?, DType::Int8, DynamicGranularity::Tensor).build()?.into();
    let error = context.plan(&Graph::of(whole)?, Tuner::FirstGuess).expect_err("400,000 bytes in a binding of 65,536");
    assert!(matches!(error, Error::Limit { needed: 400_000, limit: 65_536, .. }), "{error}");
    Ok(())
}

#[test]
fn grids_fold_over_three_dimensions() -> Result<()> {
    let limits = wgpu::Limits { max_compute_workgroups_per_dimension: 5, ..tiny_limits() };
    let Some(context) = context_with(Some(limits)) else { return Ok(()) };
    let mut random = Random::new(43);
    let x = random.quantized(DType::Int8, &[100, 97]);
    let op: Op = Table::leaky_relu(x.tensor_type().clone(), 0.5, Requantization::new(DType::Int8, 0.1, 0)?)?.into();
    let candidates = kernels::candidates(&op, &context.caps());
    assert!(candidates[0].dispatches[0].grid.iter().all(|&size| (2..=5).contains(&size)), "{candidates:?}");
    check_op(&context, "table", &op, &[&x]);
    // If three dimensions don't suffice, planning returns an error.
    let x = random.quantized(DType::Int8, &[2000, 97]);
    let op: Op = Table::leaky_relu(x.tensor_type().clone(), 0.5, Requantization::new(DType::Int8, 0.1, 0)?)?.into();
    let error = context.plan(&Graph::of(op.clone())?, Tuner::FirstGuess).expect_err("more than 125 workgroups");
    assert!(matches!(error, Error::Limit { limit: 5, unit: "workgroups along a dimension", .. }), "{error}");
    Ok(())
}

/// 150,000 outputs of 2,048 inputs: 307 MB of weights. WebGPU guarantees bindings of 134 MB and buffers of 268 MB.
#[test]
fn weights_of_300_megabytes() -> Result<()> {
    let limits = wgpu::Limits::default();
    assert_eq!((limits.max_storage_buffer_binding_size, limits.max_buffer_size), (128 << 20, 256 << 20));
    let Some(context) = context_with(Some(limits)) else { return Ok(()) };
    let (m, n, k) = (3, 150_000, 2048);
    let mut random = Random::new(44);
    let words: Vec<u64> = (0..n * k / 8).map(|_| random.next()).collect();
    let codes: Vec<i8> = bytemuck::cast_slice(&words).to_vec();
    drop(words);
    let scales: Vec<f32> = (0..n).map(|_| random.scale()).collect();
    let lhs = random.quantized(DType::Uint8, &[m, k]);
    let layer = |codes: Vec<i8>, scales: &[f32]| -> Result<Op> {
        let weights = Tensor::new([scales.len(), k], codes)?.quantized(Quantization::symmetric_axis(0, scales))?;
        let stage = Requantization::new(DType::Int8, 60.0, 3)?;
        Ok(Matmul::new(lhs.tensor_type().clone(), weights).transposed().output(stage).build()?.into())
    };
    // The first and the last columns, the columns beside each end of a part, and some between.
    let mut sampled: Vec<usize> = (0..n).step_by(1999).collect();
    let bytes_per_column = k as u64 + 8;
    let part = (128 << 20) / bytes_per_column as usize / 16 * 16;
    sampled.extend([1, part - 1, part, part + 1, 2 * part - 1, 2 * part, n - 2, n - 1]);
    let sample_codes = sampled.iter().flat_map(|&row| codes[row * k..(row + 1) * k].to_vec()).collect();
    let sample_scales: Vec<f32> = sampled.iter().map(|&row| scales[row]).collect();
    let expected = reference::run(&layer(sample_codes, &sample_scales)?, &[&lhs])?;
    let expected = expected[0].values::<i8>()?;

    let op = layer(codes, &scales)?;
    let plan = context.plan(&Graph::of(op.clone())?, Tuner::FirstGuess)?;
    assert_eq!(plan.launches(), n.div_ceil(part), "{plan}");
    let input = context.upload(&lhs)?;
    let output: Vec<DeviceTensor> = plan.run_on_device(&[&input])?;
    let out = context.download_blocking(&output[0])?;
    let out = out.values::<i8>()?;
    for row in 0..m {
        for (i, &column) in sampled.iter().enumerate() {
            assert_eq!(out[row * n + column], expected[row * sampled.len() + i], "row {row}, column {column}");
        }
    }
    println!("{} sampled of {} outputs agree\n{plan}", m * sampled.len(), m * n);
    Ok(())
}

/// Weights that take several bindings are made once by a plan, and once by its export.
#[test]
fn deferred_weights_in_parts() -> Result<()> {
    let Some(context) = small_bindings() else { return Ok(()) };
    let format = WeightFormat::new(Codes::INT8, 32, ScaleFormat::F16);
    let made = Arc::new(AtomicUsize::new(0));
    let weights = deferred_ones(format, [1, 1024, 256], &made)?;
    let x = TensorType::float32([1, 256])?;
    let plan = context.plan(&Graph::of(Linear::new(x, weights).build()?)?, Tuner::FirstGuess)?;
    assert!(plan.launches() > 1, "{plan}");
    assert_eq!(made.load(Ordering::Relaxed), 1);
    plan.export()?;
    assert_eq!(made.load(Ordering::Relaxed), 2);
    Ok(())
}

/// Deferred rows are made part by part, each once by a plan whose launches divide them otherwise, and are the weights as a whole.
#[test]
fn deferred_rows() -> Result<()> {
    let format = WeightFormat::new(Codes::INT8, 32, ScaleFormat::F16);
    // Panels of 64 rows take 2 KiB and more for a column of groups: two parts, the second of one row, and then one of no rows.
    for [n, k] in [[4033, 1024], [70, 64], [0, 64]] {
        let build = move |rows: std::ops::Range<usize>| {
            let first = rows.start;
            PackedWeights::build(format, [1, rows.len(), k], |row, codes, groups, _| {
                codes.iter_mut().enumerate().for_each(|(l, code)| *code = (((first + row) * 7 + l * 5) % 5) as i8 - 2);
                groups.fill(GroupParams::scale(1.0));
                Ok(())
            })
        };
        let made = Arc::new(AtomicUsize::new(0));
        let count = made.clone();
        let deferred = PackedWeights::deferred_rows(format, [n, k], move |rows| {
            count.fetch_add(1, Ordering::Relaxed);
            build(rows)
        })?;
        let whole = Arc::new(build(0..n)?);
        assert_eq!((deferred.bytes(), deferred.to_string()), (whole.bytes(), whole.to_string()));
        assert_eq!(deferred.words()?, whole.words()?);
        let parts = made.swap(0, Ordering::Relaxed);
        assert_eq!(parts > 1, n > 4000, "{parts} parts of {n} rows");
        let Some(context) = context_with(None) else { continue };
        let x = Tensor::new([1, k], (0..k).map(|i| (i % 3) as f32).collect::<Vec<_>>())?;
        let graph = |weights: Arc<PackedWeights>| Graph::of(Linear::new(x.tensor_type().clone(), weights).build()?);
        let expected = graph(whole)?.run_reference(&[&x])?;
        let plan = context.plan(&graph(Arc::new(deferred))?, Tuner::FirstGuess)?;
        if n > 0 {
            assert_eq!(made.load(Ordering::Relaxed), parts, "each part is made once");
        }
        assert_eq!(plan.run_blocking(&[&x])?, expected, "{n} rows");
    }
    Ok(())
}

/// The last part of a product with narrow rows is larger than the least that a binding has.
#[test]
fn narrow_rows_are_divided() -> Result<()> {
    let limits = wgpu::Limits { max_storage_buffer_binding_size: 64 << 10, ..wgpu::Limits::default() };
    let Some(context) = context_with(Some(limits)) else { return Ok(()) };
    let mut random = Random::new(47);
    let format = WeightFormat::new(Codes::INT4, 32, ScaleFormat::F16);
    let weights = Arc::new(ones(format, [1, 3, 32])?);
    for rows in [511, 512, 513, 514, 1025, 1537] {
        let x = Tensor::new([rows, 32], (0..rows * 32).map(|_| random.integer(-9, 9) as f32).collect::<Vec<_>>())?;
        let op: Op = Linear::new(x.tensor_type().clone(), weights.clone()).build()?.into();
        let expected = reference::run(&op, &[&x])?;
        assert_eq!(context.run_blocking(&op, &[&x])?, expected, "{rows} rows of integers");
    }
    Ok(())
}

/// The deferred weights of layers that are joined, and then divided again, are each made once.
#[test]
fn joined_weights_in_parts() -> Result<()> {
    let limits = wgpu::Limits { max_storage_buffer_binding_size: 64 << 10, ..wgpu::Limits::default() };
    let Some(context) = context_with(Some(limits)) else { return Ok(()) };
    let format = WeightFormat::new(Codes::INT4, 32, ScaleFormat::F16);
    let made = Arc::new(AtomicUsize::new(0));
    let x = TensorType::float32([1, 512])?;
    let mut graph = Graph::new();
    let input = graph.input(x.clone());
    for _ in 0..3 {
        let weights = deferred_ones(format, [1, 256, 512], &made)?;
        let out = graph.add(Linear::new(x.clone(), weights).build()?, &[input])?;
        graph.output(out);
    }
    let plan = context.plan(&graph, Tuner::FirstGuess)?;
    assert_eq!(plan.launches(), 4, "{plan}");
    assert_eq!(made.load(Ordering::Relaxed), 3, "each is made once");
    let out = plan.run_blocking(&[&Tensor::new([1, 512], vec![1.0f32; 512])?])?;
    assert!(out.iter().all(|out| out.values::<f32>().is_ok_and(|values| values == [512.0; 256])));
    Ok(())
}
