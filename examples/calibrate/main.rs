//! Calibrates the digits network. Observers see every activation on the GPU over batches, and nothing is read back before the
//! end. Each calibration method then gives an int8 network. Its scales are compared with ONNX Runtime's and its logits with the
//! float logits. The observers are those of `lowbit::calibrate`.

#[path = "../digits/network.rs"]
#[allow(dead_code, reason = "the int8 network is the digits example's")]
mod network;
#[path = "../train/network.rs"]
mod train_network;

use std::collections::HashMap;
use std::process::ExitCode;

use lowbit::calibrate::{Calibration, Clipping, Observation, Observer, Scheme};
use lowbit::ops::{Bins, Conv, Dequantize, Op, Padding, Pool, Quantize, Requantization, Windows};
use lowbit::{Context, DType, Granularity, Graph, Quantization, Tensor, TensorType, Tuner, reference};
use network::{Digits, Result, classes, read};
use safetensors::SafeTensors;
use train_network::{Split, float_network, train_index};

/// Names of the network's activations in ONNX Runtime's file.
const NAMES: [&str; 7] = ["x", "r1", "r2", "r3", "r4", "g", "logits"];

/// Images per batch; the calibration set has 256.
const BATCH: usize = 48;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let context = Context::new_blocking()?;
    println!("adapter: {}", context.description());
    let digits = Digits::load()?;
    let calibration = Split::of(&digits, &train_index()?[..256])?;
    let seen = observe(&context, &calibration)?;
    let test = Split::of(&digits, &digits.test_index)?;
    let float: Vec<f32> = digits
        .test_index
        .iter()
        .flat_map(|&i| &digits.float_logits.values::<f32>().unwrap_or(&[])[i * 10..][..10])
        .copied()
        .collect();
    let float = Tensor::new([test.labels.len(), 10], float)?;
    let ort = ort_quantizations()?;

    let asymmetric = Scheme::asymmetric(DType::Uint8)?;
    let rows: [(&str, &str, Clipping); 11] = [
        ("extremes", "ranges", Clipping::MinMax),
        ("moving average of extremes", "averages", Clipping::MinMax),
        ("percentile 99.999", "histograms", Clipping::Percentile { percent: 99.999 }),
        ("the same of 2,048 bins", "fine", Clipping::Percentile { percent: 99.999 }),
        ("percentile 99.99", "histograms", Clipping::Percentile { percent: 99.99 }),
        ("percentile 99.9", "histograms", Clipping::Percentile { percent: 99.9 }),
        // ONNX Runtime's defaults: 128 levels of 128 bins leave only one pair of bounds to choose.
        ("entropy, 128 of 128 bins", "coarse", Clipping::Entropy { levels: 128 }),
        ("entropy, 128 of 2,048 bins", "fine", Clipping::Entropy { levels: 128 }),
        ("entropy, 512 of 2,048 bins", "fine", Clipping::Entropy { levels: 512 }),
        ("entropy, 512 of 8,192 bins", "histograms", Clipping::Entropy { levels: 512 }),
        ("least squared error", "histograms", Clipping::Mse),
    ];
    println!("\nscales by method, and how far they are from ONNX Runtime's extremes at most");
    print!("{:<28}", "");
    NAMES.iter().for_each(|name| print!("{name:>10}"));
    println!("{:>10}", "at most");
    let mut chosen: Vec<(&str, Vec<Quantization>)> = vec![("ONNX Runtime's file", ort.clone())];
    for (name, kind, clip) in rows {
        let quantizations =
            seen[kind].iter().map(|seen| Ok(seen.quantization(clip, &asymmetric)?)).collect::<Result<Vec<_>>>()?;
        chosen.push((name, quantizations));
    }
    for (name, quantizations) in &chosen {
        print!("{name:<28}");
        quantizations.iter().for_each(|q| print!("{:>10.6}", q.scales()[0]));
        let apart = |(q, ort): (&Quantization, &Quantization)| f64::from(q.scales()[0] / ort.scales()[0] - 1.0).abs();
        println!("{:>8.3} %", 100.0 * quantizations.iter().zip(&ort).map(apart).fold(0.0, f64::max));
    }

    println!("\n{:<28}{:>12}{:>12}{:>12}", "int8 network, test images", "right", "same class", "SQNR");
    for (name, quantizations) in &chosen {
        let graph = int8_network(test.labels.len(), quantizations)?;
        let plan = context.plan(&graph, Tuner::FirstGuess)?;
        let logits = plan.run_blocking(&[&test.images])?.remove(0);
        let exact = graph.run_reference(&[&test.images])? == [logits.clone()];
        let same = classes(&logits)?.iter().zip(classes(&float)?).filter(|(a, b)| **a == *b).count();
        let (mut signal, mut noise) = (0.0, 0.0);
        for (&x, &y) in float.values::<f32>()?.iter().zip(logits.values::<f32>()?) {
            signal += f64::from(x).powi(2);
            noise += f64::from(x - y).powi(2);
        }
        println!(
            "{name:<28}{:>10.2} %{:>10.2} %{:>9.2} dB{}",
            100.0 * test.accuracy(&logits)?,
            100.0 * same as f64 / test.labels.len() as f64,
            10.0 * (signal / noise).log10(),
            if exact { "" } else { "  NOT the reference's bits" }
        );
    }
    Ok(())
}

/// Observations of each activation by each observer (ranges, moving averages, histograms), computed on the device.
fn observe(context: &Context, split: &Split) -> Result<HashMap<&'static str, Vec<Observation>>> {
    let activations = float_network()?.activations(&split.images)?;
    let mut graph = Graph::new();
    let batch_of = |x: &Tensor| [&[BATCH], &x.dims()[1..]].concat();
    let images = graph.extent("images", BATCH)?;
    let mut values = Vec::new();
    for x in &activations {
        values.push(graph.dynamic_input(TensorType::new(DType::Float32, batch_of(x))?, [(0, images)])?);
    }
    let tensor = Granularity::Tensor;
    let observers = [
        ("ranges", Observer::range(tensor)),
        ("averages", Observer::moving_average(tensor, 0.01)),
        ("histograms", Observer::histogram(tensor, Bins::new(8192)?)),
        ("fine", Observer::histogram(tensor, Bins::new(2048)?)),
        ("coarse", Observer::histogram(tensor, Bins::new(128)?)),
    ];
    let observed: Vec<_> = observers.iter().flat_map(|(_, o)| values.iter().map(|&value| (value, *o))).collect();
    let calibration = Calibration::new(&graph, &observed)?;
    let mut calibrator = calibration.on(context)?;
    let before = context.counters();
    let images = split.labels.len();
    for start in (0..images).step_by(BATCH) {
        let count = BATCH.min(images - start);
        let part = |x: &Tensor| -> Result<Tensor> {
            let size = x.dims()[1..].iter().product::<usize>();
            let values = &x.values::<f32>()?[start * size..][..count * size];
            Ok(Tensor::new([&[count], &x.dims()[1..]].concat(), values)?)
        };
        let parts = activations.iter().map(part).collect::<Result<Vec<_>>>()?;
        let parts = parts.iter().map(|part| Ok(context.upload(part)?)).collect::<Result<Vec<_>>>()?;
        calibrator.observe(&parts.iter().collect::<Vec<_>>())?;
    }
    let after = context.counters();
    println!(
        "observed {} activations with {} observers each over {images} images: {} submissions, {} readbacks",
        values.len(),
        observers.len(),
        after.submissions - before.submissions,
        after.readbacks - before.readbacks
    );
    let seen = calibrator.read_blocking()?;
    Ok(observers.iter().zip(seen.chunks(values.len())).map(|((name, _), seen)| (*name, seen.to_vec())).collect())
}

/// Scales and zero points of the activations in ONNX Runtime's file.
fn ort_quantizations() -> Result<Vec<Quantization>> {
    let file: serde_json::Value = serde_json::from_slice(&read("ort_qdq_params.json")?)?;
    let tensor = |name: &&str| -> Result<Quantization> {
        let tensor = &file["tensors"][*name];
        let scale = tensor["scale"][0].as_f64().ok_or_else(|| format!("{name} has no scale"))?;
        let zero_point = tensor["zero_point"][0].as_i64().ok_or_else(|| format!("{name} has no zero point"))?;
        Ok(Quantization::tensor(scale as f32, i32::try_from(zero_point)?))
    };
    NAMES.iter().map(tensor).collect()
}

/// The int8 network for these activations. Weights are symmetric int8, per output, with scales from their own extremes.
fn int8_network(batch: usize, activations: &[Quantization]) -> Result<Graph> {
    let file = read("digits_model.safetensors")?;
    let file = SafeTensors::deserialize(&file)?;
    let floats = |name: &str| -> Result<Tensor> {
        let view = file.tensor(name)?;
        let values = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        Ok(Tensor::new(view.shape(), values.collect::<Vec<f32>>())?)
    };
    let mut graph = Graph::new();
    let extent = graph.extent("images", batch)?;
    let images = graph.dynamic_input(TensorType::new(DType::Float32, [batch, 8, 8, 1])?, [(0, extent)])?;
    let codes = TensorType::new(DType::Uint8, [batch, 8, 8, 1])?.quantized(activations[0].clone())?;
    let mut x = graph.add(Quantize::new(graph.tensor_type(images)?.clone(), codes).build()?, &[images])?;
    let padded = Windows::default().with_padding([1; 4]);
    let layers = [
        ("conv1", padded),
        ("dw2", padded.with_groups(16)),
        ("pw3", Windows::default()),
        ("conv4", padded.with_stride([2, 2])),
        ("fc", Windows::default()),
    ];
    for (i, (name, windows)) in layers.into_iter().enumerate() {
        let stage = |q: &Quantization| Requantization::new(DType::Uint8, q.scales()[0], q.zero_points()[0]);
        if name == "fc" {
            let pool = Pool::global_average(graph.tensor_type(x)?.clone()).output(stage(&activations[5])?).build()?;
            x = graph.add(pool, &[x])?;
        }
        let weights = floats(&format!("{name}.weight"))?;
        let weights = match weights.dims() {
            &[outputs, inputs] => weights.reshaped([outputs, 1, 1, inputs])?,
            _ => weights.permuted(&[0, 2, 3, 1])?,
        };
        let weights = quantized_weights(&weights)?;
        let scales = weights.tensor_type().quantization().ok_or("weights have scales")?.scales().to_vec();
        let bias = floats(&format!("{name}.bias"))?;
        let input = graph.tensor_type(x)?.quantization().ok_or("activations have a scale")?.scales()[0];
        let whole =
            |(b, s): (&f32, &f32)| (f64::from(*b) / (f64::from(input) * f64::from(*s))).round_ties_even() as i32;
        let bias: Vec<i32> = bias.values::<f32>()?.iter().zip(&scales).map(whole).collect();
        let output = stage(&activations[if name == "fc" { 6 } else { i + 1 }])?;
        let [top, left, bottom, right] = windows.padding;
        let conv = Conv::new(graph.tensor_type(x)?.clone(), weights)
            .stride(windows.stride)
            .padding(Padding::Explicit { begin: vec![top, left], end: vec![bottom, right] })
            .groups(windows.groups)
            .bias(Tensor::new([bias.len()], bias)?)
            .output(if name == "fc" { output } else { output.relu() });
        x = graph.add(conv.build()?, &[x])?;
    }
    let x = graph.reshape(x, [batch, 10])?;
    let logits = graph.add(Dequantize::new(graph.tensor_type(x)?.clone()).build()?, &[x])?;
    graph.output(logits);
    Ok(graph)
}

/// int8 codes of weights, −127 … 127, with a scale per output.
fn quantized_weights(weights: &Tensor) -> Result<Tensor> {
    let mut graph = Graph::new();
    let w = graph.input(weights.tensor_type().clone());
    let calibration = Calibration::new(&graph, &[(w, Observer::range(Granularity::Axis(0)))])?;
    let mut seen = calibration.empty();
    calibration.observe_reference(&mut seen, &[weights])?;
    let quantization = seen[0].quantization(Clipping::MinMax, &Scheme::symmetric(DType::Int8)?)?;
    let quantize: Op = Quantize::new(
        weights.tensor_type().clone(),
        TensorType::new(DType::Int8, weights.dims())?.quantized(quantization.clone())?,
    )
    .build()?
    .into();
    let codes = reference::run(&quantize, &[weights])?.remove(0);
    Ok(codes)
}
