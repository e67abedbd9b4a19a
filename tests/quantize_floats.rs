//! Models whose weights or layer inputs are small floats, or share scales in groups: graphs against the meaning of their codes,
//! layer by layer, blocks against `BlockQuantize`, files, plans, accuracy, and refused requests. `quantize` tests models of
//! integers with a scale per channel.

mod common;
#[path = "common/digits.rs"]
mod digits;
#[path = "common/models.rs"]
mod models;

use std::sync::Mutex;

use common::context;
use digits::{Digits, model};
use lowbit::evaluate::{Cost, Dataset, Device, Metrics, Options, Runner, accuracy, evaluate};
use lowbit::model::Model;
use lowbit::numeric::{BlockFormat, BlockRounding};
use lowbit::ops::{BlockDequantize, BlockQuantize, Dequantize, Quantize};
use lowbit::ptq::{
    ActivationClipping, ActivationQuantization, Activations, CodeFormat, Method, QuantizedModel, QuantizedWeights,
    Recipe, WeightClipping, WeightGranularity, WeightScheme, front, sensitivity, within_bytes,
};
use lowbit::{DType, Granularity, Quantization, Result, Tensor, TensorType, reference};
use models::{AWKWARD, random_input, random_model};

const E4M3: DType = DType::Float8E4M3Fn;
const E5M2: DType = DType::Float8E5M2;
const E2M1: DType = DType::Float4E2M1;

/// AWKWARD with a pool at the end.
const POOLED: &str = r#"{ "name": "pooled", "input": { "shape": [3, 7, 6] }, "layers": [
    { "name": "a", "op": "conv2d", "in": 3, "out": 40, "kernel": [3, 2], "pads": [1, 0, 2, 1], "activation": "relu" },
    { "name": "b", "op": "conv2d", "in": 40, "out": 40, "kernel": [3, 3], "groups": 40, "activation": "relu6" },
    { "name": "pool", "op": "global_average_pool" },
    { "name": "d", "op": "linear", "in": 40, "out": 7 } ] }"#;

fn group(codes: CodeFormat, size: usize) -> WeightScheme {
    WeightScheme::per_channel(8).with_codes(codes).with_granularity(WeightGranularity::Group(size))
}

fn asymmetric(bits: u8) -> WeightScheme {
    WeightScheme::per_channel(bits).with_symmetric(false)
}

/// Every kind of weights that a layer multiplies as floats or in groups.
fn schemes() -> Vec<WeightScheme> {
    let floats = [E4M3, DType::Float8E4M3Fnuz, E5M2, DType::Float8E5M2Fnuz, DType::Float6E2M3, DType::Float6E3M2, E2M1];
    let blocks = [E4M3, E5M2, DType::Float6E2M3, DType::Float6E3M2, E2M1];
    let mut schemes: Vec<WeightScheme> = floats.map(WeightScheme::float).to_vec();
    schemes.extend(blocks.map(WeightScheme::mx));
    schemes.extend([
        WeightScheme::mx(E2M1).with_granularity(WeightGranularity::Mx(BlockRounding::Ceil)),
        WeightScheme::nvfp4(),
        WeightScheme::float(E4M3).with_granularity(WeightGranularity::Tensor),
        group(CodeFormat::Float(E2M1), 5),
        group(CodeFormat::Int(4), 8),
        group(CodeFormat::Int(3), 16).with_symmetric(false),
    ]);
    schemes
}

/// A recipe of these weights and activations.
fn recipe(weights: WeightScheme, activations: Activations) -> Recipe {
    Recipe::new(8).with_weights(weights).with_activations(activations)
}

/// Checks every number that a graph's layers compute for one row. It must be the rounding of a real number that is no further from
/// the exact sum over the layer's own inputs than f32 arithmetic in any order may be.
///
/// The error of a sum of K products is less than (K + R + 8) · u · Σ |x · w| on a device, where R counts groups and slices
/// (`Linear`), and K · u · Σ |x · w| here, u = 2⁻²³. The bias adds one rounding to each. Rounding to codes is monotonic.
fn check_layers(name: &str, quantized: &QuantizedModel, input: &Tensor, device: Device<'_>) -> Result<()> {
    assert_eq!(input.dims()[0], 1);
    let activations = quantized.activations();
    let model = quantized.dequantized();
    let graph = quantized.graph_of_layers(1)?;
    let made = Runner::new(device, graph)?.run(&[input])?;
    // If the input is quantized, its codes are the first output, before those of the layers.
    let skip = made.len() - model.layers().len();
    let made: Vec<Vec<f32>> = made[skip..].iter().map(reals).collect::<Result<_>>()?;
    let rounded = |index: usize, x: f32| activations[index].map_or(x, |q| q.round(x));

    // Sums of each layer over the outputs of the graph's own layers, or over their absolute values.
    let run = |model: &Model, sizes: bool| -> Result<Vec<Vec<f32>>> {
        let seen = Mutex::new(Vec::new());
        model.trace(input, |index, values| {
            seen.lock().expect("no panic").push(values.to_vec());
            match index {
                0 => values.iter_mut().for_each(|x| *x = rounded(0, *x)),
                _ => values.copy_from_slice(&made[index - 1]),
            }
            if sizes {
                values.iter_mut().for_each(|x| *x = x.abs());
            }
        })?;
        Ok(seen.into_inner().expect("no panic"))
    };
    let mut architecture = model.architecture().clone();
    architecture.layers.iter_mut().for_each(|layer| layer.activation = None);
    let mut sizes = Model::zeroed(architecture)?;
    for layer in model.layers().iter().filter(|layer| layer.is_weighted()) {
        let size = |values: &[f32]| values.iter().map(|x| x.abs()).collect::<Vec<f32>>();
        sizes = sizes.with_parameters(layer.name(), size(layer.weights()), size(layer.bias()))?;
    }
    let (sums, sizes) = (run(model, false)?, run(&sizes, true)?);
    for (i, layer) in model.layers().iter().enumerate() {
        let k = layer.row_length().max(layer.input().pixels());
        for (j, ((&got, &sum), &size)) in made[i].iter().zip(&sums[i + 1]).zip(&sizes[i + 1]).enumerate() {
            let bound = (2 * k + k + 32 + 16) as f32 * f32::EPSILON * size;
            let (low, high) = (rounded(i + 1, sum - bound), rounded(i + 1, sum + bound));
            assert!(
                (low..=high).contains(&got),
                "{name}: number {j} of layer {} is {got:e}, but may be {low:e} to {high:e}, on {device}",
                layer.name()
            );
        }
    }
    Ok(())
}

/// Dequantized codes, or floats.
fn reals(tensor: &Tensor) -> Result<Vec<f32>> {
    let tensor_type = tensor.tensor_type();
    let real = match tensor.dtype() {
        DType::Float32 => return Ok(tensor.values::<f32>()?.to_vec()),
        DType::Float16 => return Ok(tensor.values::<lowbit::half::f16>()?.iter().map(|x| x.to_f32()).collect()),
        _ => reference::run(&Dequantize::new(tensor_type.clone()).build()?.into(), &[tensor])?.remove(0),
    };
    Ok(real.values::<f32>()?.to_vec())
}

/// A file read and written again has equal bytes, and the model is equal.
fn check_file(name: &str, quantized: &QuantizedModel) -> Result<()> {
    let file = quantized.to_safetensors()?;
    let read = QuantizedModel::from_safetensors(&file)?;
    assert_eq!(&read, quantized, "{name}: written and read");
    assert!(read.to_safetensors()? == file, "{name}: written again");
    Ok(())
}

#[test]
fn graphs_compute_what_codes_mean() -> Result<()> {
    let context = context();
    let activations = [
        Activations::float(DType::Float32),
        Activations::float(DType::Float16),
        Activations::float(E4M3),
        Activations::Static { codes: CodeFormat::Float(E5M2), clipping: ActivationClipping::Mse, outputs: true },
        Activations::int(8),
        Activations::Static { codes: CodeFormat::Int(5), clipping: ActivationClipping::MinMax, outputs: true },
    ];
    for json in [AWKWARD, POOLED] {
        let model = random_model(json, 20)?;
        let (calibration, input) = (random_input(&model, 12, 21), random_input(&model, 1, 22));
        let mut cases: Vec<(WeightScheme, Activations)> =
            schemes().iter().enumerate().map(|(i, &scheme)| (scheme, activations[i % activations.len()])).collect();
        // Every kind of activation with floats, blocks, groups, and integers with a scale per channel.
        let every = [WeightScheme::float(E4M3), WeightScheme::nvfp4(), group(CodeFormat::Int(4), 8), asymmetric(4)];
        for &scheme in every.iter().filter(|_| json == AWKWARD) {
            cases.extend(activations.map(|activations| (scheme, activations)));
        }
        for (scheme, activations) in cases {
            let name = format!("{scheme}, {activations:?}, {}", model.architecture().name);
            let quantized = recipe(scheme, activations).quantize(&model, &calibration)?;
            check_file(&name, &quantized)?;
            check_layers(&name, &quantized, &input, Device::Cpu)?;
            if let Some(context) = &context {
                check_layers(&name, &quantized, &input, Device::Gpu(context))?;
            }
        }
    }
    Ok(())
}

/// Layers of a model with different weights and inputs; several rows, fewer than the graph allows.
#[test]
fn layers_choose_for_themselves() -> Result<()> {
    let model = random_model(AWKWARD, 23)?;
    let (calibration, input) = (random_input(&model, 12, 24), random_input(&model, 3, 25));
    let mut recipe = Recipe::best(8);
    recipe.layers.insert("b".into(), WeightScheme::mx(E4M3));
    recipe.layers.insert("c".into(), WeightScheme::nvfp4().with_clipping(WeightClipping::Mse));
    recipe.inputs.insert("c".into(), CodeFormat::Float(E5M2));
    recipe.inputs.insert("d".into(), CodeFormat::Float(DType::Float32));
    let quantized = recipe.quantize(&model, &calibration)?;
    let read: Vec<Option<DType>> = quantized.activations().iter().map(|a| a.map(|a| a.format())).collect();
    assert_eq!(read, [Some(DType::Uint8), Some(DType::Uint8), Some(E5M2), None, None]);
    check_file("mixed", &quantized)?;
    let first = Tensor::new(model.input_shape(1), &input.values::<f32>()?[..model.input().elements()])?;
    check_layers("mixed", &quantized, &first, Device::Cpu)?;
    let graph = quantized.graph(5)?;
    let expected = graph.run_reference(&[&input])?.remove(0);
    let simulated = quantized.simulate(&input)?;
    assert_eq!(expected.dims(), simulated.dims());
    // A number near the middle between two codes may become the other code, in one of some hundred cases.
    assert!(Metrics::new(expected.values()?, simulated.values()?, 7)?.sqnr_db > 30.0);
    let data = Dataset::new(&input);
    let report = evaluate("mixed", &model, &quantized, data, Device::Cpu, &Options::default())?;
    let codes: Vec<String> =
        report.layers.iter().map(|layer| layer.codes.map_or_else(String::new, |c| c.to_string())).collect();
    assert_eq!(codes, ["int8", "float8e4m3fn", "float4e2m1", "int8"]);
    assert_eq!(report.outputs, Metrics::new(model.run(&input)?.values()?, expected.values()?, 7)?);
    Ok(())
}

/// Dynamically quantized integers with every kind of weights that kernels hold as integers.
#[test]
fn dynamic_activations_meet_groups_and_small_floats() -> Result<()> {
    let context = context();
    let model = random_model(AWKWARD, 26)?;
    let (calibration, input) = (random_input(&model, 12, 27), random_input(&model, 3, 28));
    for scheme in [WeightScheme::mx(E2M1), WeightScheme::nvfp4(), group(CodeFormat::Int(4), 8), asymmetric(6)] {
        let quantized = recipe(scheme, Activations::Dynamic).quantize(&model, &calibration)?;
        check_file("dynamic", &quantized)?;
        let (graph, simulated) = (quantized.graph(3)?, quantized.simulate(&input)?);
        let mut got = vec![graph.run_reference(&[&input])?.remove(0)];
        if let Some(context) = &context {
            got.push(Runner::new(Device::Gpu(context), graph)?.run(&[&input])?.remove(0));
        }
        for got in got {
            // Ranges of f32 sums differ in the last bits, and some codes by one of 255 steps: 20 · log10(255) is 48.
            let metrics = Metrics::new(simulated.values()?, got.values()?, 7)?;
            assert!(metrics.sqnr_db > 40.0, "{scheme}: {metrics:?}");
        }
    }
    Ok(())
}

/// A matrix quantized to nearest by ops, and dequantized.
fn by_ops(scheme: &WeightScheme, weights: &Tensor) -> Result<Tensor> {
    let (rows, k) = (weights.dims()[0], weights.dims()[1]);
    let greatest = |values: &[f32]| values.iter().fold(0.0f32, |a, b| a.max(b.abs()));
    let block = match scheme.granularity {
        WeightGranularity::Mx(rounding) => BlockFormat::mx(scheme.format(), rounding)?,
        WeightGranularity::Nvfp4 => BlockFormat::nvfp4_for(greatest(weights.values()?))?,
        _ => {
            let largest = match scheme.format() {
                E4M3 => 448.0,
                DType::Float8E4M3Fnuz => 240.0,
                E5M2 | DType::Float8E5M2Fnuz => 57_344.0,
                DType::Float6E2M3 => 7.5,
                DType::Float6E3M2 => 28.0,
                _ => 6.0,
            };
            let scales = weights.values::<f32>()?.chunks(k).map(|row| (f64::from(greatest(row)) / largest) as f32);
            let scales = Quantization::new(Granularity::Axis(0), scales.collect::<Vec<_>>(), vec![0; rows]);
            let codes = TensorType::new(scheme.format(), [rows, k])?.quantized(scales)?;
            let coded = reference::run(
                &Quantize::new(TensorType::float32(codes.dims())?, codes.clone()).build()?.into(),
                &[weights],
            )?;
            return Ok(reference::run(&Dequantize::new(codes).build()?.into(), &[&coded[0]])?.remove(0));
        }
    };
    let quantize = BlockQuantize::new(weights.tensor_type().clone(), block)?;
    let blocks = reference::run(&quantize.into(), &[weights])?;
    let dequantize = BlockDequantize::new(TensorType::new(block.element(), [rows, k])?, block).build()?;
    Ok(reference::run(&dequantize.into(), &[&blocks[0], &blocks[1]])?.remove(0))
}

/// Weights rounded to nearest equal those of the quantizing ops, bit for bit.
#[test]
fn nearest_weights_are_those_of_ops() -> Result<()> {
    let model = random_model(AWKWARD, 29)?;
    let calibration = random_input(&model, 2, 30);
    let per_channel = |scheme: &WeightScheme| scheme.granularity == WeightGranularity::Channel;
    let blocks =
        |scheme: &WeightScheme| matches!(scheme.granularity, WeightGranularity::Mx(_) | WeightGranularity::Nvfp4);
    for scheme in schemes().iter().filter(|scheme| per_channel(scheme) || blocks(scheme)) {
        let quantized = recipe(*scheme, Activations::float(DType::Float32)).quantize(&model, &calibration)?;
        for (layer, own) in model.layers().iter().zip(quantized.dequantized().layers()) {
            let weights = Tensor::new([layer.output().channels, layer.row_length()], layer.weights())?;
            let expected = by_ops(scheme, &weights)?;
            assert_eq!(own.weights(), expected.values::<f32>()?, "{scheme}, layer {}", layer.name());
        }
    }
    Ok(())
}

/// Methods that minimize the error of outputs work on floats as well as on integers.
#[test]
fn better_methods_are_better() -> Result<()> {
    let (model, digits) = (model(), Digits::load());
    let (calibration, _) = digits.take(&digits.train[..128]);
    let (images, _) = digits.take(&digits.test);
    let expected = model.run(&images)?;
    for scheme in [WeightScheme::float(E2M1), WeightScheme::mx(E2M1), WeightScheme::nvfp4()] {
        let sqnr = |method, clipping, bias_correction| -> Result<f64> {
            let mut recipe = recipe(scheme.with_clipping(clipping), Activations::float(DType::Float32));
            (recipe.method, recipe.bias_correction) = (method, bias_correction);
            let logits = recipe.quantize(&model, &calibration)?.simulate(&images)?;
            Ok(Metrics::new(expected.values()?, logits.values()?, 10)?.sqnr_db)
        };
        let nearest = sqnr(Method::Nearest, WeightClipping::MinMax, false)?;
        let gptq = sqnr(Method::Gptq { act_order: true }, WeightClipping::MinMax, false)?;
        let descent = sqnr(Method::Descent, WeightClipping::Output, true)?;
        assert!(gptq > nearest + 1.0 && descent > gptq + 0.5, "{scheme}: {nearest:.2}, {gptq:.2}, {descent:.2} dB");
    }
    Ok(())
}

/// The digits network: FP8 loses almost nothing, four bits lose little, and with the best method less.
#[test]
fn digits_stay_readable() -> Result<()> {
    let (model, digits) = (model(), Digits::load());
    let (calibration, _) = digits.take(&digits.train[..256]);
    let (images, labels) = digits.take(&digits.test);
    let expected = model.run(&images)?;
    let context = context();
    let device = context.as_ref().map_or(Device::Cpu, Device::Gpu);
    let float32 = Activations::float(DType::Float32);
    let best = |scheme: WeightScheme, activations| {
        let weights = scheme.with_clipping(WeightClipping::Output);
        Recipe::best(8).with_weights(weights).with_activations(activations)
    };
    for (name, recipe, least_db, least_accuracy) in [
        ("W8A8 E4M3", recipe(WeightScheme::float(E4M3), Activations::float(E4M3)), 20.0, 0.98),
        ("MXFP8, f16", recipe(WeightScheme::mx(E4M3), Activations::float(DType::Float16)), 15.0, 0.98),
        ("W4 E2M1, best", best(WeightScheme::float(E2M1), float32), 10.0, 0.95),
        ("MXFP4, best", best(WeightScheme::mx(E2M1), float32), 10.0, 0.95),
        ("NVFP4, best", best(WeightScheme::nvfp4(), float32), 10.0, 0.95),
        ("NVFP4 by int8, best", best(WeightScheme::nvfp4(), Activations::int(8)), 10.0, 0.95),
    ] {
        let quantized = recipe.quantize(&model, &calibration)?;
        let logits = Runner::new(device, quantized.graph(360)?)?.run(&[&images])?.remove(0);
        let metrics = Metrics::new(expected.values()?, logits.values()?, 10)?;
        let accuracy = accuracy(logits.values()?, &labels, 10)?.share;
        assert!(
            metrics.sqnr_db >= least_db && accuracy >= least_accuracy,
            "{name}: {:.2} dB, {:.2} %",
            metrics.sqnr_db,
            100.0 * accuracy
        );
        eprintln!("{name}: {:.2} dB, {:.2} %, {} bytes", metrics.sqnr_db, 100.0 * accuracy, quantized.weight_bytes());
    }
    Ok(())
}

/// Plans choose among integers and floats by the bytes of both, scales of blocks included.
#[test]
fn plans_choose_among_integers_and_floats() -> Result<()> {
    let (model, digits) = (model(), Digits::load());
    let (calibration, _) = digits.take(&digits.train[..64]);
    let recipe = Recipe::best(8).with_activations(Activations::float(E4M3));
    let schemes = [
        WeightScheme::per_channel(8),
        WeightScheme::float(E4M3),
        asymmetric(4),
        WeightScheme::float(E2M1),
        WeightScheme::mx(E2M1),
        WeightScheme::nvfp4(),
    ];
    let layers = sensitivity(&model, &calibration, &recipe, &schemes, |model| model.run(&calibration))?;
    for layer in &layers {
        let [int8, fp8, int4, fp4, mx, nv] = [0, 1, 2, 3, 4, 5].map(|i| layer.choices[i].bytes);
        assert!(int8 == fp8 && int4 == fp4 && int8 == 2 * int4, "{layer:?}");
        assert!(int4 <= mx && mx <= nv, "{layer:?}");
    }
    let plans = front(&layers);
    let held = |plan: &lowbit::ptq::LayerPlan, float: bool| {
        plan.layers.values().any(|scheme| matches!(scheme.codes, CodeFormat::Float(_)) == float)
    };
    assert!(plans.iter().any(|plan| held(plan, true) && held(plan, false)), "{plans:?}");
    let plan = within_bytes(&plans, 6000)?;
    let quantized = plan.recipe(&recipe).quantize(&model, &calibration)?;
    assert_eq!(quantized.weight_bytes(), plan.bytes);
    check_file("a plan", &quantized)
}

/// Fewer bits move fewer bytes between layers. Products count as integers if both sides are integers.
#[test]
fn costs_are_those_of_the_codes() -> Result<()> {
    let model = random_model(POOLED, 31)?;
    let calibration = random_input(&model, 2, 32);
    let cost = |scheme, activations| -> Result<Cost> {
        Ok(Cost::of_quantized(&recipe(scheme, activations).quantize(&model, &calibration)?))
    };
    let float32 = cost(WeightScheme::float(E4M3), Activations::float(DType::Float32))?;
    let float16 = cost(WeightScheme::float(E4M3), Activations::float(DType::Float16))?;
    let float8 = cost(WeightScheme::float(E4M3), Activations::float(E4M3))?;
    // Numbers of all layer inputs, and of all outputs except the last layer's.
    let between: u64 =
        model.layers().iter().map(|layer| (layer.input().elements() + layer.output().elements()) as u64).sum();
    let (between, input) = (between - 7, model.input().elements() as u64);
    assert_eq!(float32.bytes_moved - float16.bytes_moved, 2 * between - 4 * input);
    assert_eq!(float16.bytes_moved - float8.bytes_moved, between);
    let integers = cost(WeightScheme::mx(E2M1), Activations::int(8))?;
    let floats = cost(WeightScheme::mx(E2M1), Activations::float(E4M3))?;
    assert_eq!(integers.bytes_moved, floats.bytes_moved);
    let energy = (4.6 - 0.3) * 1e-6 * integers.multiplications as f64;
    assert!((floats.estimated_microjoules - integers.estimated_microjoules - energy).abs() < 1e-9);
    Ok(())
}

#[test]
fn what_cannot_be_right_is_refused() -> Result<()> {
    let model = random_model(AWKWARD, 33)?;
    let data = random_input(&model, 4, 34);
    let refused = |words: &[&str], recipe: &Recipe| {
        let message = recipe.quantize(&model, &data).expect_err("it is wrong").to_string();
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    };
    let float32 = Activations::float(DType::Float32);
    refused(&["layer a", "float8e4m3fn", "dynamic"], &recipe(WeightScheme::float(E4M3), Activations::Dynamic));
    refused(&["float16", "at most 8 bits"], &recipe(WeightScheme::float(DType::Float16), float32));
    refused(&["float8e8m0"], &recipe(WeightScheme::float(DType::Float8E8M0), float32));
    let zero_points = WeightScheme::float(E2M1).with_symmetric(false);
    refused(&["float4e2m1", "zero points"], &recipe(zero_points, float32));
    let blocks = WeightScheme::nvfp4().with_codes(CodeFormat::Float(E4M3));
    refused(&["float8e4m3fn", "NVFP4"], &recipe(blocks, float32));
    let blocks = WeightScheme::mx(E2M1).with_codes(CodeFormat::Int(4));
    refused(&["int4", "MX"], &recipe(blocks, float32));
    refused(&["int16"], &recipe(WeightScheme::per_channel(8), Activations::float(DType::Int16)));
    let with_input = |name: &str, codes, activations| {
        recipe(WeightScheme::per_channel(8), activations).with_inputs([(name.to_string(), codes)].into())
    };
    refused(&["no layer z"], &with_input("z", CodeFormat::Int(8), float32));
    refused(&["9 bits"], &with_input("b", CodeFormat::Int(9), float32));
    refused(&["layer b", "dynamic"], &with_input("b", CodeFormat::Int(8), Activations::Dynamic));

    let parts = |scheme, scales: &[f32], codes: &[i16]| {
        QuantizedWeights::new(scheme, 1, scales.to_vec(), vec![0; scales.len()], codes.to_vec())
    };
    let says = |message: String, words: &[&str]| assert!(words.iter().all(|word| message.contains(word)), "{message}");
    let error = |made: Result<QuantizedWeights>| made.expect_err("it is wrong").to_string();
    says(error(parts(WeightScheme::mx(E2M1), &[3.0], &[1; 8])), &["3e0", "float8e8m0"]);
    says(error(parts(WeightScheme::nvfp4(), &[0.3], &[1; 8])), &["3e-1", "float8e4m3fn"]);
    says(error(parts(WeightScheme::float(E4M3), &[1.0], &[0x7f])), &["127", "finite floats of 8 bits"]);
    says(error(parts(WeightScheme::float(E2M1), &[1.0], &[16])), &["16", "finite floats of 4 bits"]);
    says(
        error(parts(WeightScheme::mx(E2M1), &[2.0], &[1; 8])?.with_global_scale(1.0)),
        &["MX float4e2m1", "all blocks"],
    );
    says(error(parts(WeightScheme::nvfp4(), &[2.0], &[1; 8])?.with_global_scale(0.0)), &["0e0"]);

    let quantized = recipe(WeightScheme::nvfp4(), Activations::float(E4M3)).quantize(&model, &data)?;
    for (codes, scale, zero_point) in [(E4M3, 0.5, 1), (E4M3, f32::NAN, 0), (DType::Float16, 0.5, 0)] {
        let made = ActivationQuantization::new(CodeFormat::Float(codes), scale, zero_point);
        says(made.expect_err("it is wrong").to_string(), &["not possible"]);
    }
    // A changed byte in a file, every fifth in turn: an error or another model, never a panic.
    let file = quantized.to_safetensors()?;
    for i in (0..file.len()).step_by(5) {
        let mut broken = file.clone();
        broken[i] ^= 0x55;
        if let Ok(model) = QuantizedModel::from_safetensors(&broken) {
            model.graph(1)?;
        }
    }
    Ok(())
}

/// Channels without weights, equal or tiny weights, inputs of zeros only.
#[test]
fn degenerate_channels_are_quantized() -> Result<()> {
    let model = random_model(AWKWARD, 35)?;
    let (mut weights, bias) = (model.layers()[0].weights().to_vec(), model.layers()[0].bias().to_vec());
    weights[..18].fill(0.0);
    weights[18..36].fill(1e-30);
    let model = model.with_parameters("a", weights, bias)?;
    let input = random_input(&model, 1, 36);
    let zeros = Tensor::new([2, 7, 6, 3], vec![0.0f32; 252])?;
    for scheme in schemes() {
        for method in [Method::Nearest, Method::Descent] {
            let recipe = recipe(scheme, Activations::float(E4M3)).with_method(method);
            check_layers(&format!("degenerate, {scheme}"), &recipe.quantize(&model, &input)?, &input, Device::Cpu)?;
            recipe.quantize(&model, &zeros)?.graph(2)?.run_reference(&[&zeros])?;
        }
    }
    Ok(())
}

/// Intermediate numbers beyond the range of the activations' dtype, or of float32.
#[test]
fn what_is_not_finite_on_the_way_is_refused() -> Result<()> {
    let model = random_model(AWKWARD, 37)?;
    let (weights, bias) = (model.layers()[0].weights().to_vec(), model.layers()[0].bias().to_vec());
    let input = random_input(&model, 2, 38);
    // Terms of one sign: with both signs, sums would be infinite or NaN depending on the order of addition.
    let times = |factor: f32, values: &[f32]| values.iter().map(|x| factor * x.abs()).collect::<Vec<f32>>();
    for (of_inputs, of_weights, activations, expected) in [
        (1e6, 1.0, Activations::float(DType::Float16), "what layer a reads"),
        (10.0, 1e38, Activations::float(DType::Float32), "what layer a makes"),
    ] {
        let model = model.clone().with_parameters("a", times(of_weights, &weights), bias.clone())?;
        let input = Tensor::new(input.dims(), times(of_inputs, input.values()?))?;
        for method in [Method::Nearest, Method::Gptq { act_order: true }, Method::Descent] {
            let recipe = recipe(WeightScheme::per_channel(4), activations).with_method(method);
            let message = recipe.quantize(&model, &input).expect_err("it is not finite").to_string();
            assert!(message.contains(expected) && message.contains("inf"), "{method:?}: {message}");
        }
    }
    Ok(())
}
