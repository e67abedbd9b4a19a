//! Calibration end to end. Ranges observed in a float graph become the scales of a static plan. A plan with dynamic scales per row
//! runs without a readback. `observe.rs` tests the observers, the examples a whole network.

mod common;

use common::{Random, context};
use lowbit::calibrate::{Calibration, Clipping, Observer, Scheme};
use lowbit::ops::{
    Bins, Dequantize, DynamicGranularity, DynamicQuantize, FloatMatmul, Matmul, Op, Output, Quantize, Requantization,
};
use lowbit::{DType, Granularity, Graph, Result, Tensor, TensorType, Tuner, Value, reference};

const ROWS: usize = 40;
const K: usize = 64;
const N: usize = 10;

/// The graph of a layer with float weights `[K, N]`, its input and its output.
fn layer(weights: &Tensor) -> Result<(Graph, [Value; 2])> {
    let mut graph = Graph::new();
    let rows = graph.extent("rows", ROWS)?;
    let x = graph.dynamic_input(TensorType::new(DType::Float32, [ROWS, K])?, [(0, rows)])?;
    let product = FloatMatmul::new(TensorType::new(DType::Float32, [ROWS, K])?, weights.clone()).build()?;
    let y = graph.add(product, &[x])?;
    graph.output(y);
    Ok((graph, [x, y]))
}

fn numbers(random: &mut Random, dims: [usize; 2]) -> Result<Tensor> {
    Tensor::new(dims, (0..dims[0] * dims[1]).map(|_| random.real()).collect::<Vec<_>>())
}

/// int8 weights with a scale per column, from their own extremes.
fn quantized_weights(weights: &Tensor) -> Result<Tensor> {
    let mut graph = Graph::new();
    let w = graph.input(weights.tensor_type().clone());
    let calibration = Calibration::new(&graph, &[(w, Observer::range(Granularity::Axis(1)))])?;
    let mut seen = calibration.empty();
    calibration.observe_reference(&mut seen, &[weights])?;
    let quantization = seen[0].quantization(Clipping::MinMax, &Scheme::symmetric(DType::Int8)?)?;
    let codes: Op = Quantize::new(
        weights.tensor_type().clone(),
        TensorType::new(DType::Int8, weights.dims())?.quantized(quantization)?,
    )
    .build()?
    .into();
    Ok(reference::run(&codes, &[weights])?.remove(0))
}

/// Largest possible error of the codes: half a step of each factor in every product, and half a step of the result.
fn bound(x_step: f32, x_most: f32, weights: &Tensor, codes: &Tensor, y_step: f32) -> Result<f64> {
    let scales = codes.tensor_type().quantization().map_or(&[][..], |q| q.scales());
    let w = weights.values::<f32>()?;
    let column = |j: usize| -> f64 {
        let term = |l: usize| {
            let half_w = f64::from(scales[j]) / 2.0;
            f64::from(x_step) / 2.0 * (f64::from(w[l * N + j]).abs() + half_w) + f64::from(x_most) * half_w
        };
        (0..K).map(term).sum()
    };
    // A thousandth for the f32 arithmetic around the codes.
    Ok(1.001 * ((0..N).map(column).fold(0.0, f64::max) + f64::from(y_step) / 2.0))
}

fn largest_difference(a: &Tensor, b: &Tensor) -> Result<f64> {
    let pairs = a.values::<f32>()?.iter().zip(b.values::<f32>()?);
    Ok(pairs.map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs()).fold(0.0, f64::max))
}

#[test]
fn observed_ranges_make_a_static_plan() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(170);
    let weights = numbers(&mut random, [K, N])?;
    let codes = quantized_weights(&weights)?;
    let (graph, [x, y]) = layer(&weights)?;
    let observers =
        [(x, Observer::range(Granularity::Tensor)), (y, Observer::histogram(Granularity::Tensor, Bins::new(1024)?))];
    let mut calibrator = Calibration::new(&graph, &observers)?.on(&context)?;
    let batches = [ROWS, 7, ROWS].map(|rows| numbers(&mut random, [rows, K]));
    for batch in &batches {
        calibrator.observe(&[&context.upload(batch.as_ref().map_err(Clone::clone)?)?])?;
    }
    let seen = calibrator.read_blocking()?;
    let scheme = Scheme::asymmetric(DType::Uint8)?;
    let [input, output] = [0, 1].map(|i| seen[i].quantization(Clipping::MinMax, &scheme));
    let (input, output) = (input?, output?);

    let mut quantized = Graph::new();
    let rows = quantized.extent("rows", ROWS)?;
    let x = quantized.dynamic_input(TensorType::new(DType::Float32, [ROWS, K])?, [(0, rows)])?;
    let of_x = TensorType::new(DType::Uint8, [ROWS, K])?.quantized(input.clone())?;
    let x = quantized.add(Quantize::new(quantized.tensor_type(x)?.clone(), of_x.clone()).build()?, &[x])?;
    let stage = Requantization::new(DType::Uint8, output.scales()[0], output.zero_points()[0])?;
    let y = quantized.add(Matmul::new(of_x, codes.clone()).output(stage).build()?, &[x])?;
    let y = quantized.add(Dequantize::new(quantized.tensor_type(y)?.clone()).build()?, &[y])?;
    quantized.output(y);
    let plan = context.plan(&quantized, Tuner::FirstGuess)?;
    for batch in batches {
        let batch = batch?;
        let on_device = context.upload(&batch)?;
        let before = context.counters();
        let out = plan.run_on_device(&[&on_device])?;
        assert_eq!(context.counters().readbacks, before.readbacks);
        let out = context.download_blocking(&out[0])?;
        assert_eq!(quantized.run_reference(&[&batch])?, std::slice::from_ref(&out));
        // Values from the calibration data are not clipped.
        let most = batch.values::<f32>()?.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        let bound = bound(input.scales()[0], most, &weights, &codes, output.scales()[0])?;
        let error = largest_difference(&out, &graph.run_reference(&[&batch])?[0])?;
        assert!(error <= bound && error > bound / 1000.0, "an error of {error} with a bound of {bound}");
    }
    Ok(())
}

#[test]
fn rows_find_their_scales_in_the_plan() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(171);
    let weights = numbers(&mut random, [K, N])?;
    let codes = quantized_weights(&weights)?;
    let (float, _) = layer(&weights)?;
    let mut graph = Graph::new();
    let rows = graph.extent("rows", ROWS)?;
    let x = graph.dynamic_input(TensorType::new(DType::Float32, [ROWS, K])?, [(0, rows)])?;
    let quantize =
        DynamicQuantize::new(TensorType::float32([ROWS, K])?, DType::Uint8, DynamicGranularity::Row).build()?;
    let of_x = graph.add_all(quantize, &[x])?;
    let product = Matmul::new(graph.tensor_type(of_x[0])?.clone(), codes.clone());
    let product = product.dynamic_lhs(DynamicGranularity::Row).output(Output::real()).build()?;
    let y = graph.add(product, &of_x)?;
    graph.output(y);
    let plan = context.plan(&graph, Tuner::FirstGuess)?;
    // Rows have very different magnitudes: one scale for all would lose the small rows.
    for rows in [ROWS, 3] {
        let values = numbers(&mut random, [rows, K])?;
        let values: Vec<f32> = values
            .values::<f32>()?
            .iter()
            .enumerate()
            .map(|(i, x)| x * ((i / K % 9) as f32 * 4.0 - 16.0).exp2())
            .collect();
        let batch = Tensor::new([rows, K], values)?;
        let on_device = context.upload(&batch)?;
        let before = context.counters();
        let out = plan.run_on_device(&[&on_device])?;
        let after = context.counters();
        assert_eq!((after.submissions - before.submissions, after.readbacks - before.readbacks), (1, 0));
        let out = context.download_blocking(&out[0])?;
        assert_eq!(graph.run_reference(&[&batch])?, std::slice::from_ref(&out));
        let expected = float.run_reference(&[&batch])?.remove(0);
        for row in 0..rows {
            let part = |t: &Tensor, n: usize| Tensor::new([n], &t.values::<f32>()?[row * n..][..n]);
            let x = part(&batch, K)?;
            let most = x.values::<f32>()?.iter().fold(0.0f32, |most, x| most.max(x.abs()));
            // A row's range contains 0, so it is at most twice the row's largest magnitude.
            let bound = bound(2.0 * most / 255.0, most, &weights, &codes, 0.0)?;
            let error = largest_difference(&part(&out, N)?, &part(&expected, N)?)?;
            assert!(error <= bound, "row {row}: an error of {error} with a bound of {bound}");
        }
    }
    Ok(())
}
