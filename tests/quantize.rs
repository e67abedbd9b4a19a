//! Float models and post-training quantization: the digits network against published figures, integer graphs on every device,
//! files, and refused requests. Single ops are in `equivalence.rs`.

mod common;
#[path = "common/digits.rs"]
mod digits;
#[path = "common/models.rs"]
mod models;

use common::{Random, context, first_difference};
use digits::{Digits, model};
use lowbit::evaluate::{Dataset, Device, Metrics, Options, Perturbation, Report, Runner, accuracy, evaluate};
use lowbit::model::{Architecture, Model};
use lowbit::ptq::{
    ActivationClipping, Activations, CodeFormat, Method, Moments, QuantizedModel, QuantizedWeights, Recipe,
    WeightClipping, WeightGranularity, WeightScheme, equalize, front, greedy, sensitivity, smooth, within_bytes,
};
use lowbit::weights::{Codes, PackedWeights, Quantizer, ScaleFormat, WeightFormat};
use lowbit::{Result, Tensor};
use models::{AWKWARD, random_input, random_model};

/// Weights in files are (out, in, height, width), with the meaning of PyTorch's conv2d and linear.
#[test]
fn a_model_computes_what_its_file_means() -> Result<()> {
    let model = random_model(AWKWARD, 1)?;
    let input = random_input(&model, 2, 2);
    let x = input.values::<f32>()?;
    let (got, file) = (model.run(&input)?, model.to_safetensors()?);
    let reread = Model::new(model.architecture().clone(), &file)?;
    assert_eq!(reread, model, "written and read");
    let file = safetensors::SafeTensors::deserialize(&file).expect("just made");
    let read = |name: &str| -> Vec<f64> {
        let data = file.tensor(name).expect("there").data().to_vec();
        data.chunks_exact(4).map(|b| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]]))).collect()
    };
    for image in 0..2 {
        // Channels first, in f64.
        let mut a = vec![0.0; 6 * 8 * 6];
        let (w, bias) = (read("a.weight"), read("a.bias"));
        for (i, out) in a.iter_mut().enumerate() {
            let (o, y, z) = (i / 48, i / 6 % 8, i % 6);
            *out = bias[o];
            for (c, dy, dz) in (0..18).map(|j| (j / 6, j / 2 % 3, j % 2)) {
                let (y, z) = (y + dy, z + dz); // one row of padding above, none on the left
                if (1..8).contains(&y) && z < 6 {
                    let pixel = f64::from(x[((image * 7 + y - 1) * 6 + z) * 3 + c]);
                    *out += pixel * w[((o * 3 + c) * 3 + dy) * 2 + dz];
                }
            }
            *out = out.max(0.0);
        }
        let mut b = vec![0.0; 4 * 4 * 4];
        let (w, bias) = (read("b.weight"), read("b.bias"));
        for (i, out) in b.iter_mut().enumerate() {
            let (o, y, z) = (i / 16, i / 4 % 4, i % 4);
            *out = bias[o];
            for (c, dy, dz) in (0..12).map(|j| (j / 4, j / 2 % 2, j % 2)) {
                let channel = o / 2 * 3 + c;
                *out += a[(channel * 8 + 2 * y + dy) * 6 + z + 2 * dz] * w[((o * 3 + c) * 2 + dy) * 2 + dz];
            }
            *out = out.clamp(0.0, 6.0);
        }
        let linear = |x: &[f64], w: &[f64], bias: Option<&[f64]>, n: usize| -> Vec<f64> {
            let row = |o: usize| x.iter().zip(&w[o * x.len()..]).map(|(x, w)| x * w).sum::<f64>();
            (0..n).map(|o| row(o) + bias.map_or(0.0, |b| b[o])).collect()
        };
        let c: Vec<f64> = linear(&b, &read("c.weight"), Some(&read("c.bias")), 5).iter().map(|v| v.max(0.0)).collect();
        let d = linear(&c, &read("d.weight"), None, 7);
        for (o, expected) in d.iter().enumerate() {
            let got = f64::from(got.values::<f32>()?[image * 7 + o]);
            // Sums of at most 64 products of numbers below about 10, in f32.
            assert!((got - expected).abs() < 1e-4, "output {o} of image {image}: {got}, expected {expected}");
        }
    }
    Ok(())
}

/// float32 logits `[1797, 10]` of the float network, computed by another program.
fn float_logits() -> Vec<f32> {
    let file = digits::read("digits_data.safetensors");
    let file = safetensors::SafeTensors::deserialize(&file).expect("a sound file");
    let bytes = file.tensor("float_logits").expect("in the file").data().to_vec();
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

#[test]
fn the_float_digits_are_those_of_another_program() -> Result<()> {
    let (model, digits) = (model(), Digits::load());
    let all: Vec<usize> = (0..1797).collect();
    let (images, labels) = digits.take(&all);
    let logits = model.run(&images)?;
    let metrics = Metrics::new(&float_logits(), logits.values()?, 10)?;
    assert!(metrics.sqnr_db > 120.0, "{metrics:?}");
    let test: Vec<f32> =
        digits.test.iter().flat_map(|&i| logits.values::<f32>().unwrap()[i * 10..][..10].to_vec()).collect();
    let labels: Vec<usize> = digits.test.iter().map(|&i| labels[i]).collect();
    assert_eq!(accuracy(&test, &labels, 10)?.share, 356.0 / 360.0);
    Ok(())
}

/// The float graph, on the reference and on the GPU, against the model on the CPU.
#[test]
fn float_graphs_are_near_the_model() -> Result<()> {
    let context = context();
    for (model, input) in [
        (random_model(AWKWARD, 10)?, random_input(&random_model(AWKWARD, 10)?, 3, 11)),
        (model(), Digits::load().take(&[0, 1, 2, 3, 4]).0),
    ] {
        let expected = model.run(&input)?;
        // A larger extent than the input's.
        let graph = model.graph(input.dims()[0] + 2)?;
        let mut got = vec![graph.run_reference(&[&input])?.remove(0)];
        if let Some(context) = &context {
            got.push(Runner::new(Device::Gpu(context), graph)?.run(&[&input])?.remove(0));
        }
        for got in got {
            assert_eq!(got.dims(), expected.dims());
            let metrics = Metrics::new(expected.values()?, got.values()?, expected.dims()[1])?;
            // The error of each of at most 6 layers is about 2⁻²³ · √k, k ≤ 288: −117 dB for one, −109 dB for six.
            assert!(metrics.sqnr_db > 105.0, "{metrics:?}");
        }
    }
    Ok(())
}

fn check_graph(name: &str, quantized: &QuantizedModel, input: &Tensor) -> Result<()> {
    let graph = quantized.graph(input.dims()[0])?;
    let expected = graph.run_reference(&[input])?;
    let simulated = quantized.simulate(input)?;
    let metrics = Metrics::new(expected[0].values()?, simulated.values()?, simulated.dims()[1])?;
    // Sums near the middle between two codes may become either code: a step of 8 bits here and there.
    assert!(metrics.sqnr_db > 30.0, "{name}: the simulation is off: {metrics:?}");
    let read = QuantizedModel::from_safetensors(&quantized.to_safetensors()?)?;
    assert_eq!(&read, quantized, "{name}: written and read");
    if let Some(context) = context() {
        let got = Runner::new(Device::Gpu(&context), graph)?.run(&[input])?;
        if let Some(difference) = first_difference(&got[0], &expected[0]) {
            panic!("{name}: {difference} on {}", context.description());
        }
    }
    Ok(())
}

/// Integer graphs for every option, on the AWKWARD model, are equal on every device.
#[test]
fn integer_graphs_are_the_same_everywhere() -> Result<()> {
    let model = random_model(AWKWARD, 3)?;
    let (calibration, input) = (random_input(&model, 40, 4), random_input(&model, 3, 5));
    let mut recipes = vec![("8 bits", Recipe::new(8)), ("4 bits", Recipe::best(4)), ("2 bits", Recipe::best(2))];
    let mut small = Recipe::best(3);
    small.activations = Activations::Static {
        codes: CodeFormat::Int(4),
        clipping: ActivationClipping::Percentile(99.9),
        outputs: true,
    };
    recipes.push(("3 bits, 4-bit activations, codes out", small));
    let mut tensor = Recipe::new(6);
    tensor.weights.granularity = WeightGranularity::Tensor;
    tensor.weights.symmetric = false;
    tensor.weights.clipping = WeightClipping::Mse;
    tensor.equalize = true;
    tensor.activations =
        Activations::Static { codes: CodeFormat::Int(8), clipping: ActivationClipping::Mse, outputs: false };
    recipes.push(("6 bits per tensor", tensor));
    let mut dynamic = Recipe::new(8);
    dynamic.activations = Activations::Dynamic;
    dynamic.smooth = Some(0.5);
    recipes.push(("dynamic", dynamic));
    for (name, recipe) in recipes {
        check_graph(name, &recipe.quantize(&model, &calibration)?, &input)?;
    }
    Ok(())
}

/// Rescaling changes the model's results only by f32 rounding.
#[test]
fn rescaled_models_compute_the_same() -> Result<()> {
    let (model, digits) = (model(), Digits::load());
    let (images, _) = digits.take(&digits.train[..32]);
    let expected = model.run(&images)?;
    let mut recipe = Recipe::new(4);
    recipe.awq = true;
    for (name, rescaled) in [
        ("cle", equalize(&model)?),
        ("smooth", smooth(&model, &images, 0.5)?),
        ("awq", recipe.rescaled(&model, &images)?),
    ] {
        assert_ne!(rescaled, model, "{name} does something");
        let metrics = Metrics::new(expected.values()?, rescaled.run(&images)?.values()?, 10)?;
        assert!(metrics.sqnr_db > 110.0, "{name}: {metrics:?}");
    }
    Ok(())
}

/// Two linear layers with ReLU between them. Channel i of 32 has a magnitude of about `makes(i)`, and the weights that read it of
/// about `reads(i)` / 20.
fn chain(makes: impl Fn(usize) -> f32, reads: impl Fn(usize) -> f32) -> Result<Model> {
    const CHAIN: &str = r#"{"input": {"shape": [32]}, "layers": [
        {"name": "a", "op": "linear", "in": 32, "out": 32, "activation": "relu"},
        {"name": "b", "op": "linear", "in": 32, "out": 16}]}"#;
    let mut random = Random::new(53);
    let a = (0..32 * 32).map(|i| random.real() * makes(i / 32)).collect();
    let b = (0..16 * 32).map(|i| 0.05 * random.real() * reads(i % 32)).collect();
    let model = Model::zeroed(serde_json::from_str(CHAIN).expect("sound JSON"))?;
    model.with_parameters("a", a, vec![0.0; 32])?.with_parameters("b", b, vec![0.0; 16])
}

/// SQNR in dB of a quantized model's outputs. Also asserts that the rescaled float model has over 110.
fn sqnr(model: &Model, recipe: &Recipe) -> Result<f64> {
    let mut random = Random::new(54);
    let x = Tensor::new([256, 32], (0..256 * 32).map(|_| 10.0 * random.real()).collect::<Vec<f32>>())?;
    let expected = model.run(&x)?;
    let of = |got: Tensor| -> Result<f64> { Ok(Metrics::new(expected.values()?, got.values()?, 16)?.sqnr_db) };
    let rescaled = of(recipe.rescaled(model, &x)?.run(&x)?)?;
    assert!(rescaled > 110.0, "rescaled, the float model is off: {rescaled} dB");
    of(recipe.quantize(model, &x)?.simulate(&x)?)
}

/// SmoothQuant at each strength, equalization, and both.
fn rescaling_recipes(bits: u8) -> impl Iterator<Item = (String, Recipe)> {
    let choices = [(Some(0.5), false), (Some(0.75), false), (Some(1.0), false), (None, true), (Some(0.5), true)];
    choices.into_iter().map(move |(smooth, equalize)| {
        let recipe =
            Recipe::new(8).with_smooth(smooth).with_equalize(equalize).with_activations(Activations::int(bits));
        (format!("{bits} bits, smooth {smooth:?}, equalize {equalize}"), recipe)
    })
}

/// Channels that are always or nearly 0, or are not or hardly read, cost the other channels at most 1.5 dB.
#[test]
fn dead_channels_cost_nothing() -> Result<()> {
    for (name, recipe) in rescaling_recipes(8).chain(rescaling_recipes(4)) {
        let alive = sqnr(&chain(|_| 1.0, |_| 1.0)?, &recipe)?;
        for dead in [1, 3, 16] {
            for (what, makes, reads) in [
                ("not read", 1.0, 0.0),
                ("hardly read", 1.0, 1e-9),
                ("read by subnormal weights", 1.0, 1e-41),
                ("not made", 0.0, 1.0),
                ("hardly made", 1e-9, 1.0),
                ("neither made nor read", 0.0, 0.0),
            ] {
                let some = |of: f32| move |i: usize| if i % 32 < dead { of } else { 1.0 };
                let got = sqnr(&chain(some(makes), some(reads))?, &recipe)?;
                assert!(got > alive - 1.5, "{name}, {dead} {what}: {got} dB, all alive {alive}");
            }
        }
    }
    Ok(())
}

/// Integer graphs represent channels that are scaled down that far.
#[test]
fn dead_channels_in_integer_graphs() -> Result<()> {
    let some = |i: usize| if i < 3 { 0.0 } else { 1.0 };
    let mut random = Random::new(55);
    let x = Tensor::new([64, 32], (0..64 * 32).map(|_| 10.0 * random.real()).collect::<Vec<f32>>())?;
    for (name, recipe) in rescaling_recipes(8) {
        check_graph(&name, &recipe.quantize(&chain(|_| 1.0, some)?, &x)?, &x)?;
        check_graph(&name, &recipe.quantize(&chain(some, |_| 1.0)?, &x)?, &x)?;
    }
    Ok(())
}

/// Channels whose magnitudes differ by up to 15 orders.
#[test]
fn channels_far_apart_are_smoothed() -> Result<()> {
    let power = |i: usize| 10f32.powf(-8.0 + 15.0 * i as f32 / 31.0);
    let one = |_: usize| 1.0;
    let inverse = move |i: usize| 1.0 / power(i);
    for (name, recipe) in rescaling_recipes(8) {
        for (what, model) in [
            ("made far apart", chain(power, one)?),
            ("read far apart", chain(one, power)?),
            ("made and read far apart", chain(power, inverse)?),
        ] {
            let got = sqnr(&model, &recipe)?;
            assert!(got > 25.0, "{name}, {what}: {got} dB");
        }
    }
    Ok(())
}

/// Each method minimizes an error that the previous one ignores.
#[test]
fn better_methods_are_better() -> Result<()> {
    let (model, digits) = (model(), Digits::load());
    let (calibration, _) = digits.take(&digits.train[..256]);
    let (images, labels) = digits.take(&digits.test);
    let expected = model.run(&images)?;
    let measure = |recipe: &Recipe| -> Result<(f64, f64)> {
        let logits = recipe.quantize(&model, &calibration)?.simulate(&images)?;
        let metrics = Metrics::new(expected.values()?, logits.values()?, 10)?;
        Ok((metrics.sqnr_db, accuracy(logits.values()?, &labels, 10)?.share))
    };
    let int8 = measure(&Recipe::new(8))?;
    assert!(int8.0 > 34.0 && int8.1 > 0.988, "int8: {int8:?}");
    let nearest = measure(&Recipe::new(4))?;
    assert!(nearest.0 < 9.0 && nearest.1 < 0.96, "nearest, 4 bits: {nearest:?}");
    let mut recipe = Recipe::new(4);
    recipe.method = Method::Gptq { act_order: true };
    let gptq = measure(&recipe)?;
    recipe.method = Method::Descent;
    recipe.weights.clipping = WeightClipping::Output;
    let descent = measure(&recipe)?;
    let best = measure(&Recipe::best(4))?;
    assert!(
        gptq.0 > nearest.0 && descent.0 > gptq.0 && best.0 > descent.0,
        "{nearest:?} {gptq:?} {descent:?} {best:?}"
    );
    assert!(best.1 >= 0.98, "best: {best:?}");
    Ok(())
}

/// A plan within the size of the smallest published plan with an accuracy of 99.1 %.
#[test]
fn plans_keep_their_budget() -> Result<()> {
    let (model, digits) = (model(), Digits::load());
    let (calibration, _) = digits.take(&digits.train[..64]);
    let recipe = Recipe::best(8);
    let schemes = [2, 4, 8].map(|bits| Recipe::best(bits).weights);
    let layers = sensitivity(&model, &calibration, &recipe, &schemes, |model| model.run(&calibration))?;
    assert_eq!(layers.len(), 5);
    for layer in &layers {
        let noise: Vec<f64> = layer.choices.iter().map(|choice| choice.noise).collect();
        assert!(noise[0] > noise[1] && noise[1] > noise[2], "{}: {noise:?}", layer.layer);
    }
    let plans = front(&layers);
    let plan = within_bytes(&plans, 4304)?;
    assert!(plan.bytes <= 4304);
    assert_eq!(plan.recipe(&recipe).quantize(&model, &calibration)?.weight_bytes(), plan.bytes);
    for greedy in greedy(&layers) {
        let exact = within_bytes(&plans, greedy.bytes)?;
        assert!(exact.noise <= greedy.noise + 1e-12, "{greedy:?} is better than {exact:?}");
    }
    Ok(())
}

#[test]
fn a_report_says_what_it_found() -> Result<()> {
    let (model, digits) = (model(), Digits::load());
    let (calibration, _) = digits.take(&digits.train[..32]);
    let (images, labels) = digits.take(&digits.test[..24]);
    let quantized = Recipe::best(4).quantize(&model, &calibration)?;
    let options = Options::default().with_perturbations(vec![
        Perturbation::Noise(0.1),
        Perturbation::Blur(1),
        Perturbation::Spikes(0.05),
    ]);
    let data = Dataset::new(&images).with_labels(&labels);
    let report = evaluate("4 bits", &model, &quantized, data, Device::Cpu, &options)?;
    let logits = quantized.graph(24)?.run_reference(&[&images])?;
    let expected = Metrics::new(model.run(&images)?.values()?, logits[0].values()?, 10)?;
    assert_eq!(report.outputs, expected);
    assert_eq!(report.layers.len(), 6);
    assert_eq!(report.layers[5].outputs, expected, "the last layer's are the outputs");
    assert_eq!(report.quantized.cost.weight_bytes, 10_336 / 2);
    assert_eq!(report.float.cost.multiplications, 9216 + 9216 + 32_768 + 147_456 + 320);
    assert!(report.robustness[2].clipped.is_some_and(|share| share > 0.02), "{:?}", report.robustness[2]);
    let json = serde_json::to_string(&report).expect("it serializes");
    assert_eq!(serde_json::from_str::<Report>(&json).expect("and back"), report);
    assert!(report.to_string().contains("conv4"));
    #[cfg(feature = "page")]
    {
        let page = report.to_html()?;
        assert_eq!(page, report.to_html()?, "the same report makes the same page");
        assert!(
            page.matches("<svg").count() >= 9 && !page.contains("NaN"),
            "{} pictures",
            page.matches("<svg").count()
        );
    }
    Ok(())
}

#[test]
fn what_cannot_be_right_is_refused() -> Result<()> {
    let good = random_model(AWKWARD, 6)?;
    let file = good.to_safetensors()?;
    let architecture = |from: &str, to: &str| -> Architecture {
        assert!(AWKWARD.contains(from));
        serde_json::from_str(&AWKWARD.replace(from, to)).expect("sound JSON")
    };
    let refused = |what: &str, result: Result<Model>| match result {
        Ok(_) => panic!("not refused: {what}"),
        Err(error) => assert!(error.to_string().contains(what), "{what} is not in: {error}"),
    };
    refused("no sound safetensors", Model::new(good.architecture().clone(), b"nonsense"));
    refused("c.weight is F32 [5, 64]", Model::new(architecture("64, \"out\": 5", "64, \"out\": 4"), &file));
    refused("have no e.weight", Model::new(architecture("\"d\"", "\"e\""), &file));
    refused("two layers are called c", Model::new(architecture("\"d\"", "\"c\""), &file));
    refused("F32 [6, 3, 2, 2]", Model::new(architecture("[3, 2], \"pads\": [1", "[2, 2], \"pads\": [0"), &file));
    refused("4 groups", Model::new(architecture("\"groups\": 2", "\"groups\": 4"), &file));
    refused("reach over", Model::new(architecture("\"dilation\": [1, 2]", "\"dilation\": [9, 2]"), &file));
    refused("empty or too large", Model::zeroed(architecture("[3, 7, 6]", "[3, 0, 6]")));
    refused("stride 0", Model::zeroed(architecture("\"stride\": [2, 1]", "\"stride\": [0, 1]")));
    let mut weights = good.layers()[1].weights().to_vec();
    weights[3] = f32::NAN;
    refused("weight 3 of layer b is NaN", good.clone().with_parameters("b", weights, good.layers()[1].bias().to_vec()));
    let unknown = serde_json::from_str::<Architecture>(&AWKWARD.replace("\"linear\"", "\"lstm\""));
    assert!(unknown.unwrap_err().to_string().contains("lstm"));

    let data = random_input(&good, 4, 7);
    let refused = |what: &str, result: Result<QuantizedModel>| match result {
        Ok(_) => panic!("not refused: {what}"),
        Err(error) => assert!(error.to_string().contains(what), "{what} is not in: {error}"),
    };
    let recipe = Recipe::new(8);
    refused("no calibration data", recipe.quantize(&good, &random_input(&good, 0, 1)));
    refused("reads [4, 7, 6, 3]", recipe.quantize(&good, &Tensor::new([4, 6, 7, 3], vec![0.0f32; 504])?));
    refused("NaN", recipe.quantize(&good, &Tensor::new([1, 7, 6, 3], vec![f32::NAN; 126])?));
    refused("9 bits", recipe.clone().with_weights(WeightScheme::per_channel(9)).quantize(&good, &data));
    refused("strength", recipe.clone().with_smooth(Some(1.5)).quantize(&good, &data));
    let layers = [("z".to_string(), recipe.weights)].into();
    refused("no layer z", recipe.clone().with_layers(layers).quantize(&good, &data));
    refused("no quantized model", QuantizedModel::from_safetensors(&file[..100]));
    refused("lack \"model\"", QuantizedModel::from_safetensors(&file));
    let mut other = recipe.quantize(&good, &data)?.to_safetensors()?;
    let place = other.windows(7).position(|bytes| bytes == b"ized/1\\").expect("it says its format");
    other[place + 5] = b'0';
    refused("format is \"lowbit-quantized/0\"", QuantizedModel::from_safetensors(&other));

    // A changed byte in a file, every seventh in turn: an error or another model, never a panic.
    let quantized = Recipe::best(4).quantize(&good, &data)?.to_safetensors()?;
    for i in (0..quantized.len()).step_by(7) {
        let mut broken = quantized.clone();
        broken[i] ^= 0x55;
        let _ = QuantizedModel::from_safetensors(&broken);
    }

    let quantized = recipe.quantize(&good, &data)?;
    let mut labels = vec![0, 1, 2, 7];
    let refused = |what: &str, labels: &[usize]| {
        let data = Dataset::new(&data).with_labels(labels);
        let error = evaluate("", &good, &quantized, data, Device::Cpu, &Options::default()).unwrap_err().to_string();
        assert!(error.contains(what), "{what} is not in: {error}");
    };
    refused("label 3 is 7, but there are 7 classes", &labels);
    labels.pop();
    refused("3 labels were given for 4 rows", &labels);
    Ok(())
}

/// Constant outputs, channels without weights, biases much larger than the weights, constant inputs.
#[test]
fn degenerate_channels_are_quantized() -> Result<()> {
    let model = random_model(AWKWARD, 8)?;
    let layer = &model.layers()[0];
    let (mut weights, mut bias) = (layer.weights().to_vec(), layer.bias().to_vec());
    weights[..18].fill(0.0);
    weights[18..36].fill(1e-30);
    bias[..2].copy_from_slice(&[3.0, -50.0]);
    let model = model.clone().with_parameters("a", weights, bias)?;
    let input = random_input(&model, 3, 9);
    for recipe in [Recipe::new(8), Recipe::best(4), Recipe::best(2).with_equalize(true)] {
        check_graph("degenerate channels", &recipe.quantize(&model, &input)?, &input)?;
        let zeros = Tensor::new([2, 7, 6, 3], vec![0.0f32; 252])?;
        recipe.quantize(&model, &zeros)?.graph(2)?.run_reference(&[&zeros])?;
    }
    Ok(())
}

/// A model built from another model's parts equals it, and parts that don't fit are refused with both numbers.
#[test]
fn a_model_of_parts() -> Result<()> {
    let (model, digits) = (model(), Digits::load());
    let (calibration, _) = digits.take(&digits.train[..64]);
    let quantized = Recipe::new(4).quantize(&model, &calibration)?;
    let parts = quantized.weights().iter().map(|weights| {
        let Some(w) = weights else { return Ok(None) };
        let (scales, zero_points, codes) = (w.scales().to_vec(), w.zero_points().to_vec(), w.codes().to_vec());
        QuantizedWeights::new(w.scheme(), w.rows(), scales, zero_points, codes).map(Some)
    });
    let parts = parts.collect::<Result<Vec<_>>>()?;
    let again = QuantizedModel::from_parts(quantized.dequantized().clone(), parts, quantized.activations().to_vec())?;
    assert_eq!(again, quantized);

    let scheme = WeightScheme::per_channel(4);
    let refused = |scheme, rows, scales: &[f32], zero_points: &[i32], codes: &[i16], words: &[&str]| {
        let made = QuantizedWeights::new(scheme, rows, scales.to_vec(), zero_points.to_vec(), codes.to_vec());
        let message = made.expect_err("it is wrong").to_string();
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    };
    refused(scheme, 2, &[1.0; 2], &[0; 2], &[1, 2, 3], &["3 codes", "2 rows"]);
    refused(scheme, 2, &[1.0; 3], &[0; 2], &[1, 2], &["3 scales", "have 2"]);
    refused(scheme, 1, &[-1.0], &[0], &[1, 2], &["-1e0", "positive"]);
    refused(scheme, 1, &[1.0], &[1], &[1, 2], &["zero point is 1", "may be 0"]);
    refused(scheme, 1, &[1.0], &[0], &[1, -8], &["a code is -8", "-7 to 7"]);
    Ok(())
}

/// GPTQ of a single matrix: its outputs are nearer to those of the float weights than rounding's, for every kind of scale. For
/// uncorrelated inputs it equals rounding.
#[test]
fn gptq_of_a_matrix() -> Result<()> {
    let mut random = Random::new(52);
    let (n, k, rows) = (24, 70, 200);
    let weights = Tensor::new([n, k], (0..n * k).map(|_| random.real()).collect::<Vec<f32>>())?;
    // Correlated inputs: each is a mix of eight causes, so that columns can compensate for each other.
    let causes: Vec<f32> = (0..8 * k).map(|_| random.real()).collect();
    let inputs = (0..rows).flat_map(|_| {
        let shares: Vec<f32> = (0..8).map(|_| random.real()).collect();
        let noise: Vec<f32> = (0..k).map(|_| 0.3 * random.real()).collect();
        let causes = &causes;
        (0..k).map(move |l| noise[l] + (0..8).map(|c| shares[c] * causes[c * k + l]).sum::<f32>()).collect::<Vec<_>>()
    });
    let inputs = Tensor::new([rows, k], inputs.collect::<Vec<f32>>())?;
    let mut moments = Moments::new(k)?;
    moments.add(&inputs)?;
    assert_eq!(moments.rows(), rows);
    let error = |made: &PackedWeights| -> Result<f64> {
        let real = made.dequantize()?;
        let differences: Vec<f64> =
            real.values::<f32>()?.iter().zip(weights.values::<f32>()?).map(|(a, b)| f64::from(a - b)).collect();
        let of_row = |x: &[f32]| {
            let dot = |row: &[f64]| row.iter().zip(x).map(|(d, &x)| d * f64::from(x)).sum::<f64>();
            differences.chunks_exact(k).map(|row| dot(row).powi(2)).sum::<f64>()
        };
        Ok(inputs.values::<f32>()?.chunks_exact(k).map(of_row).sum())
    };
    for format in [
        WeightFormat::new(Codes::INT4, 32, ScaleFormat::F16),
        WeightFormat::new(Codes::UINT4, 32, ScaleFormat::F16Offset),
        WeightFormat::new(Codes::INT4, 16, ScaleFormat::F32Zero),
        WeightFormat::new(Codes::INT3, usize::MAX, ScaleFormat::F32),
    ] {
        let quantizer = Quantizer::new(format)?;
        let (nearest, better) = (error(&quantizer.quantize(&weights)?)?, error(&moments.gptq(&weights, &quantizer)?)?);
        assert!(better < 0.5 * nearest, "{format}: the error is {better:e}, by rounding {nearest:e}");
    }
    let mut apart = Moments::new(k)?;
    let identity = (0..k * k).map(|i| if i % (k + 1) == 0 { 2.0f32 } else { 0.0 }).collect::<Vec<_>>();
    apart.add(&Tensor::new([k, k], identity)?)?;
    let quantizer = Quantizer::new(WeightFormat::new(Codes::INT4, 32, ScaleFormat::F32))?;
    let (nearest, same) = (quantizer.quantize(&weights)?, apart.gptq(&weights, &quantizer)?);
    assert_eq!(nearest.words()?, same.words()?);

    let says = |message: String, words: &[&str]| assert!(words.iter().all(|word| message.contains(word)), "{message}");
    let none = Moments::new(k)?.gptq(&weights, &quantizer).expect_err("no data");
    says(none.to_string(), &["no inputs"]);
    says(apart.gptq(&Tensor::new([2, 3], vec![0.0f32; 6])?, &quantizer).expect_err("k").to_string(), &["[2, 3]", "70"]);
    says(apart.add(&Tensor::new([1, 3], vec![0.0f32; 3])?).expect_err("k").to_string(), &["3", "70"]);
    let nan = Tensor::new([1, k], vec![f32::NAN; k])?;
    says(apart.add(&nan).expect_err("NaN").to_string(), &["NaN", "finite"]);
    says(apart.gptq(&nan, &quantizer).expect_err("NaN").to_string(), &["NaN"]);
    let nested = Quantizer::new(WeightFormat::new(Codes::INT4, 32, ScaleFormat::Nested(8)))?;
    says(apart.gptq(&weights, &nested).expect_err("nested").to_string(), &["stored with those of others"]);
    Ok(())
}
