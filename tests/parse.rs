//! Corrupted documents: for each type that serde reads, valid documents with parts of their JSON, or single bytes, changed,
//! removed, doubled and swapped. Parsed values are used in every possible way. Nothing may panic, take long, or take much more
//! memory than the document. `LOWBIT_FUZZ_SECONDS` is the time for each kind, one second by default; `LOWBIT_FUZZ_SEED` is the
//! first seed. tests/import tests model files of other programs.

#[path = "common/allocations.rs"]
mod allocations;
mod common;
#[path = "common/models.rs"]
mod models;

use std::collections::HashMap;
use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use allocations::peak_of;
use common::{Random, context};
use lowbit::calibrate::{Calibration, Clipping, Histograms, Observation, Observer, ScaleRule, Scheme, Ties};
use lowbit::evaluate::{Alternative, Dataset, Device, Options, Perturbation, Report, evaluate};
use lowbit::model::{Architecture, Model};
use lowbit::numeric::{BlockFormat, BlockRounding};
use lowbit::ops::{Bins, ObserveHistogram, ObserveRange, RangeUpdate};
use lowbit::ptq::{
    ActivationQuantization, Activations, CodeFormat, LayerPlan, Method, QuantizedModel, QuantizedWeights, Recipe,
    Sensitivity, WeightClipping, WeightGranularity, WeightScheme, front, greedy, sensitivity, with_sqnr, within_bytes,
};
use lowbit::{DType, Granularity, Graph, Quantization, Tensor, TensorType, reference};
use models::{AWKWARD, random_input, random_model};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

type Outcome = std::result::Result<(), Box<dyn std::error::Error>>;

/// Most bytes for a document, beside twice its size.
const MOST_BYTES: usize = 64 << 20;

/// Longest time for a document: a second, times ten for a machine that is busy with other work.
const LONGEST: Duration = Duration::from_secs(10);

/// Runs one kind at a time, so that a peak is that of one document.
static TURN: Mutex<()> = Mutex::new(());

fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).expect("plain data")
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> std::result::Result<T, serde_json::Error> {
    serde_json::from_slice(bytes)
}

/// JSON pointers of all parts of a document.
fn places(value: &Value, at: &str, places: &mut Vec<String>) {
    places.push(at.to_string());
    match value {
        Value::Array(parts) => {
            parts.iter().enumerate().for_each(|(i, part)| self::places(part, &format!("{at}/{i}"), places))
        }
        Value::Object(parts) => parts.iter().for_each(|(key, part)| {
            self::places(part, &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), places);
        }),
        _ => {}
    }
}

fn number(random: &mut Random) -> Value {
    const REALS: [f64; 14] =
        [-0.0, 0.5, -1.0, 1e-45, 1e-40, 1e-300, 1e30, -1e30, 3.5e38, 1e39, -1e300, 1.7e308, 99.999, 16_777_217.0];
    const INTEGERS: [i64; 18] = [
        0,
        1,
        2,
        3,
        8,
        15,
        16,
        255,
        256,
        65_536,
        -1,
        -128,
        1 << 24,
        1 << 31,
        -(1 << 31),
        (1 << 31) - 1,
        1 << 53,
        i64::MIN,
    ];
    match random.next() % 4 {
        0 => json(&random.pick(&REALS)),
        1 => json(&u64::MAX.wrapping_sub(random.next() % 2)),
        _ => json(&random.pick(&INTEGERS).wrapping_add(random.integer(-1, 1))),
    }
}

/// Makes a few random changes to a document, as JSON.
fn mutate(document: &mut Value, random: &mut Random) {
    for _ in 0..1 + random.next() % 3 {
        let mut all = Vec::new();
        places(document, "", &mut all);
        let any = |random: &mut Random| all[random.next() as usize % all.len()].clone();
        let (place, other) = (any(random), any(random));
        let copy = document.pointer(&other).cloned().unwrap_or_default();
        let (parent, key) = place.rsplit_once('/').unwrap_or(("", ""));
        match random.next() % 12 {
            // Remove, or insert a copy.
            0 => match document.pointer_mut(parent) {
                Some(Value::Array(parts)) if !parts.is_empty() => {
                    drop(parts.remove(random.next() as usize % parts.len()))
                }
                Some(Value::Object(parts)) => drop(parts.remove(key)),
                _ => {}
            },
            1 => {
                if let Some(Value::Array(parts)) = document.pointer_mut(parent) {
                    let at = random.next() as usize % (parts.len() + 1);
                    parts.insert(at, copy);
                }
            }
            // Swap.
            2 => {
                let own = document.pointer(&place).cloned().unwrap_or_default();
                if let Some(part) = document.pointer_mut(&other) {
                    *part = own;
                }
                if let Some(part) = document.pointer_mut(&place) {
                    *part = copy;
                }
            }
            kind => {
                let Some(part) = document.pointer_mut(&place) else { continue };
                *part = match (kind, &*part) {
                    (3, _) => copy,
                    (4, part) => json(&[part]),
                    (5, _) => random.pick(&["", "int4", "float16", "Tensor", "dynamic", "\u{0}\u{202e}<&\""]).into(),
                    (6, _) => random.pick(&[Value::Null, Value::Bool(true), Value::Bool(false)].each_ref()).clone(),
                    (7, Value::Number(n)) => json(&-n.as_f64().unwrap_or(1.0)),
                    (_, Value::Number(_)) => number(random),
                    (_, part) => part.clone(),
                };
            }
        }
    }
}

/// Changes single bytes of a text.
fn spoil(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..1 + random.next() % 3 {
        let at = random.next() as usize % bytes.len().max(1);
        match random.next() % 5 {
            0 if at < bytes.len() => bytes[at] ^= 1 << (random.next() % 8),
            1 => bytes.truncate(at),
            2 => drop(bytes.drain(at..(at + random.next() as usize % 20).min(bytes.len()))),
            _ => {
                let digits: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at].is_ascii_digit()).collect();
                if !digits.is_empty() {
                    bytes[random.pick(&digits)] = b'0' + (random.next() % 10) as u8;
                }
            }
        }
    }
}

/// Runs a call and aborts the process if it takes too long: a hanging call can't be interrupted otherwise.
fn in_time<T>(what: &str, call: impl FnOnce() -> T) -> T {
    let (done, waiting) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            if waiting.recv_timeout(LONGEST) == Err(mpsc::RecvTimeoutError::Timeout) {
                eprintln!("{what} is not done after {LONGEST:?}");
                std::process::abort();
            }
        });
        let value = call();
        drop(done);
        value
    })
}

/// Tries changed documents of a kind until the time is up; `write` makes a file of a document.
fn fuzz_files(kind: &str, seeds: &[Value], write: impl Fn(&Value) -> Vec<u8>, use_all: impl Fn(&[u8]) -> Outcome) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let time = Duration::from_secs(number("LOWBIT_FUZZ_SECONDS").unwrap_or(1));
    let first = number("LOWBIT_FUZZ_SEED").unwrap_or(0);
    for (i, seed) in seeds.iter().enumerate() {
        use_all(&write(seed)).unwrap_or_else(|error| panic!("{kind} {i} is valid: {error}"));
    }
    let (begin, mut tried, mut accepted, mut worst) = (Instant::now(), 0u64, 0u64, (0usize, 0u64));
    while begin.elapsed() < time {
        let seed = first + tried;
        let mut random = Random::new(seed);
        let mut document = seeds[random.next() as usize % seeds.len()].clone();
        let mut bytes = if random.next().is_multiple_of(4) {
            let mut bytes = write(&document);
            spoil(&mut bytes, &mut random);
            bytes
        } else {
            mutate(&mut document, &mut random);
            write(&document)
        };
        bytes.shrink_to_fit();
        let what = format!("{kind} seed {seed}");
        let run = || in_time(&what, || catch_unwind(AssertUnwindSafe(|| use_all(&bytes))));
        let (outcome, peak) = peak_of(run);
        let outcome = outcome.unwrap_or_else(|_| panic!("{what} panicked: {}", String::from_utf8_lossy(&bytes)));
        assert!(peak <= 2 * bytes.len() + MOST_BYTES, "{what}: {peak} bytes for a document of {}", bytes.len());
        accepted += u64::from(outcome.is_ok());
        worst = worst.max((peak, seed));
        tried += 1;
    }
    println!("{kind}: {tried} documents, {accepted} accepted, at most {} KiB (seed {})", worst.0 >> 10, worst.1);
    assert!(accepted < tried, "{kind}: all of {tried} documents were accepted");
}

fn fuzz(kind: &str, seeds: &[Value], use_all: impl Fn(&[u8]) -> Outcome) {
    fuzz_files(kind, seeds, |document| document.to_string().into_bytes(), use_all);
}

fn batch() -> Tensor {
    Tensor::new([4, 2], vec![0.25f32, 1e30, -3.0, f32::NAN, 0.0, 2.5, f32::INFINITY, -1e-40]).expect("as many")
}

fn schemes() -> [Scheme; 3] {
    let [a, b, c] =
        [Scheme::asymmetric(DType::Uint8), Scheme::symmetric(DType::Int4), Scheme::no_clipping(DType::Int8)];
    [a, b, c].map(|scheme| scheme.expect("known formats"))
}

const CLIPS: [Clipping; 5] = [
    Clipping::MinMax,
    Clipping::Percentile { percent: 99.0 },
    Clipping::SymmetricPercentile { percent: 50.0 },
    Clipping::Entropy { levels: 8 },
    Clipping::Mse,
];

/// Observers and their observations of the batch.
fn calibration() -> (Calibration, Vec<Observation>) {
    let mut graph = Graph::new();
    let x = graph.input(batch().tensor_type().clone());
    let bins = [Bins::new(16), Bins::of_width(32, 0.7)].map(|bins| bins.expect("sound bins"));
    let observers = [
        Observer::range(Granularity::Tensor),
        Observer::moving_average(Granularity::Axis(1), 0.1),
        Observer::histogram(Granularity::Tensor, bins[0]),
        Observer::histogram(Granularity::Axis(1), bins[1]),
    ];
    let calibration = Calibration::new(&graph, &observers.map(|observer| (x, observer))).expect("float32");
    let mut seen = calibration.empty();
    calibration.observe_reference(&mut seen, &[&batch()]).expect("the graph's own batch");
    (calibration, seen)
}

/// Uses the bounds of an observation in every way.
fn use_observation(seen: &Observation, clips: &[Clipping], schemes: &[Scheme]) -> Outcome {
    for (clip, scheme) in clips.iter().flat_map(|clip| schemes.iter().map(move |scheme| (*clip, scheme))) {
        let Ok(bounds) = seen.bounds(clip, scheme) else { continue };
        assert!(bounds.iter().all(|(low, high)| low.is_finite() && low <= high && high.is_finite()), "{bounds:?}");
        let quantization = seen.quantization(clip, scheme)?;
        assert!(quantization.scales().iter().all(|scale| scale.is_normal() && *scale > 0.0), "{quantization:?}");
    }
    Ok(())
}

#[test]
fn observations() {
    let (calibration, sound) = calibration();
    let seeds: Vec<Value> = sound.iter().map(json).collect();
    fuzz("observation", &seeds, |bytes| {
        let seen: Observation = parse(bytes)?;
        black_box(seen.skipped());
        use_observation(&seen, &CLIPS, &schemes())?;
        let mut twice = seen.clone();
        if twice.merge(&seen).is_ok() {
            use_observation(&twice, &CLIPS, &schemes())?;
        }
        for i in 0..sound.len() {
            let mut resumed = sound.clone();
            resumed[i] = seen.clone();
            if calibration.observe_reference(&mut resumed, &[&batch()]).is_ok() {
                use_observation(&resumed[i], &CLIPS, &schemes())?;
                assert!(resumed[i].merge(&seen).is_ok() || matches!(seen, Observation::Ranges(_)));
            }
        }
        assert_eq!(parse::<Observation>(json(&seen).to_string().as_bytes())?, seen, "written and read");
        Ok(())
    });
}

#[test]
fn observers() {
    let seeds = [
        (Granularity::Tensor, RangeUpdate::MinMax, Bins::new(16)),
        (Granularity::Axis(1), RangeUpdate::MovingAverage { constant: 0.5 }, Bins::of_width(64, 0.3)),
        (Granularity::Blocks { axis: 0, size: 3 }, RangeUpdate::MinMax, Bins::of_width(18, 1e-30)),
    ];
    let seeds = seeds.map(|(granularity, rule, bins)| json(&(granularity, rule, bins.expect("sound bins"))));
    fuzz("observer", &seeds, |bytes| {
        let (granularity, rule, bins): (Granularity, RangeUpdate, Bins) = parse(bytes)?;
        let state = |of: &TensorType| Tensor::new(of.dims(), vec![0i32; of.shape().elements()]);
        let range = ObserveRange::new(TensorType::float32([4, 2])?, granularity, rule)?;
        reference::run(&range.clone().into(), &[&batch(), &state(range.state())?])?;
        let op = ObserveHistogram::new(TensorType::float32([4, 2])?, granularity, bins)?;
        let next = reference::run(&op.clone().into(), &[&batch(), &state(op.state())?])?;
        let seen = Histograms::from_state(&op, &next[0])?;
        assert_eq!(seen.width(0).is_some(), seen.bounds(0).is_some());
        use_observation(&Observation::Histograms(seen), &CLIPS[..3], &schemes())?;
        let scales = vec![0.5; granularity.parameters(batch().tensor_type().shape())?];
        TensorType::new(DType::Int8, [4, 2])?.quantized(Quantization::new(granularity, scales, [0]))?;
        Ok(())
    });
}

#[test]
fn calibration_schemes() {
    let (_, seen) = calibration();
    let all = schemes().into_iter().zip(CLIPS.into_iter().cycle());
    let more = (schemes()[0], CLIPS[3]);
    let rules = json(&[ScaleRule::Span, ScaleRule::Magnitude, ScaleRule::NoClipping]);
    let seeds: Vec<Value> =
        all.chain([more]).map(|(scheme, clip)| json(&(scheme, clip, &rules, [Ties::Even, Ties::Away]))).collect();
    fuzz("scheme", &seeds, |bytes| {
        let (scheme, clip, ..): (Scheme, Clipping, Vec<ScaleRule>, Vec<Ties>) = parse(bytes)?;
        let document = json(&scheme);
        let [low, high] = ["low", "high"].map(|end| document[end].as_i64().expect("an integer"));
        const ENDS: [f32; 9] = [0.0, -0.0, 1.0, -2.5, 1e-42, f32::MAX, f32::MIN, f32::INFINITY, f32::NAN];
        for (min, max) in ENDS.into_iter().flat_map(|min| ENDS.map(|max| (min, max))) {
            let (scale, zero_point) = scheme.parameters(min, max);
            assert!(scale.is_normal() && scale > 0.0, "{scheme:?} of {min} to {max}: {scale:e}");
            assert!((low..=high).contains(&zero_point.into()), "{scheme:?} of {min} to {max}: {zero_point}");
        }
        seen.iter().try_for_each(|seen| use_observation(seen, &[clip], &[scheme]))
    });
}

#[test]
fn formats() {
    let seeds = [(DType::Float4E2M1, BlockRounding::Floor), (DType::Int8, BlockRounding::Ceil)];
    fuzz("format", &seeds.map(|seed| json(&seed)), |bytes| {
        let (format, rounding): (DType, BlockRounding) = parse(bytes)?;
        black_box(TensorType::new(format, [3, 5])?.device_bytes());
        BlockFormat::mx(format, rounding)?;
        Ok(())
    });
}

/// True if a model is small enough for a test's time and memory; the caller is responsible for an architecture's size.
fn small(model: &Model) -> bool {
    let layers = model.layers();
    layers.iter().all(|layer| layer.multiplications() < 1 << 16 && layer.output().elements() < 1 << 14)
        && model.input().elements() < 1 << 14
}

#[test]
fn architectures() {
    let weights = random_model(AWKWARD, 1).and_then(|model| model.to_safetensors()).expect("a sound model");
    let tiny = r#"{ "input": { "shape": [2, 3, 3] }, "layers": [ { "name": "p", "op": "global_average_pool" } ] }"#;
    let seeds = [AWKWARD, tiny].map(|json| serde_json::from_str(json).expect("JSON"));
    fuzz("architecture", &seeds, |bytes| {
        let architecture: Architecture = parse(bytes)?;
        assert_eq!(
            parse::<Architecture>(json(&architecture).to_string().as_bytes())?,
            architecture,
            "written and read"
        );
        let model = Model::new(architecture, &weights)?;
        if small(&model) {
            model.run(&random_input(&model, 1, 2))?;
            model.graph(1)?;
            assert_eq!(Model::new(model.architecture().clone(), &model.to_safetensors()?)?, model);
        }
        Ok(())
    });
}

fn recipes() -> Vec<Recipe> {
    let mut best = Recipe::best(4);
    best.layers.insert("c".into(), WeightScheme::per_channel(2).with_granularity(WeightGranularity::Group(16)));
    let mut floats = Recipe::new(8);
    floats.weights = WeightScheme::nvfp4();
    floats.activations = Activations::float(DType::Float16);
    floats.inputs.insert("d".into(), CodeFormat::Float(DType::Float8E4M3Fn));
    let mut dynamic = Recipe::new(8);
    dynamic.activations = Activations::Dynamic;
    dynamic.smooth = Some(0.5);
    dynamic.awq = true;
    dynamic.method = Method::Gptq { act_order: true };
    let mut blocks = Recipe::new(8);
    blocks.weights = WeightScheme::mx(DType::Float8E5M2).with_clipping(WeightClipping::Mse);
    blocks.activations = Activations::float(DType::Float32);
    let mut percentile = Recipe::new(3);
    percentile.activations = Activations::Static {
        codes: CodeFormat::Int(5),
        clipping: lowbit::ptq::ActivationClipping::Percentile(99.0),
        outputs: true,
    };
    vec![Recipe::new(8), best, floats, dynamic, blocks, percentile]
}

fn use_model(model: &QuantizedModel) -> Outcome {
    if !small(model.dequantized()) {
        return Ok(());
    }
    let input = random_input(model.dequantized(), 1, 3);
    model.simulate(&input)?;
    model.graph(1)?;
    model.graph_of_layers(1)?;
    black_box(lowbit::evaluate::Cost::of_quantized(model));
    assert!(model.bytes() >= model.weight_bytes());
    for of in model.activations().iter().flatten() {
        black_box((of.format(), of.greatest(), of.round(f32::MAX), of.round(f32::NAN)));
    }
    Ok(())
}

#[test]
fn recipes_make_models() {
    let model = random_model(AWKWARD, 4).expect("a sound model");
    let data = random_input(&model, 3, 5);
    let seeds: Vec<Value> = recipes().iter().map(json).collect();
    fuzz("recipe", &seeds, |bytes| {
        let recipe: Recipe = parse(bytes)?;
        for name in ["a", "nobody"] {
            let scheme = recipe.scheme(name);
            black_box((scheme.to_string(), scheme.format(), scheme.codes.bits()));
        }
        let quantized = recipe.quantize(&model, &data)?;
        use_model(&quantized)?;
        quantized.to_safetensors()?;
        Ok(())
    });
}

#[test]
fn weights_and_activations() {
    let schemes = [WeightScheme::per_channel(4), WeightScheme::nvfp4(), WeightScheme::mx(DType::Float4E2M1)];
    let codes = [CodeFormat::Int(8), CodeFormat::Float(DType::Float8E4M3Fn), CodeFormat::Float(DType::Float4E2M1)];
    let quantize = |codes| ActivationQuantization::from_range(codes, -1.0, 3.0).expect("a sound range");
    let float16 = (WeightScheme::float(DType::Float8E5M2), ActivationQuantization::FLOAT16);
    let seeds: Vec<Value> =
        schemes.into_iter().zip(codes.map(quantize)).chain([float16]).map(|seed| json(&seed)).collect();
    fuzz("scheme of weights", &seeds, |bytes| {
        let (scheme, activation): (WeightScheme, ActivationQuantization) = parse(bytes)?;
        for value in [0.0, -1.0, 2.5, f32::MAX, f32::INFINITY, f32::NAN] {
            let code = activation.code(value);
            black_box((activation.value(code), activation.round(value)));
        }
        black_box((
            activation.greatest(),
            activation.format(),
            activation.value(i32::MIN),
            scheme.to_string(),
            scheme.format(),
        ));
        let weights = QuantizedWeights::new(scheme, 1, vec![1.0], vec![0], vec![1, 0, 1])?;
        black_box(weights.dequantized());
        assert!(weights.code_bytes() > 0 && weights.scale_bytes() > 0 && weights.weight_bytes() > 0);
        Ok(())
    });
}

/// The metadata are changed as JSON, and all bytes of the file as bytes.
#[test]
fn quantized_models() {
    let model = random_model(AWKWARD, 6).expect("a sound model");
    let data = random_input(&model, 2, 7);
    for (i, recipe) in recipes().into_iter().enumerate() {
        let quantized = recipe.quantize(&model, &data).expect("a sound recipe");
        let file = quantized.to_safetensors().expect("a sound model");
        let (_, header) = safetensors::SafeTensors::read_metadata(&file).expect("a sound file");
        let metadata = header.metadata().clone().expect("metadata");
        let document = serde_json::from_str(&metadata["model"]).expect("JSON");
        let tensors = safetensors::SafeTensors::deserialize(&file).expect("a sound file");
        let write = |document: &Value| {
            let metadata = HashMap::from([("model".to_string(), document.to_string())]);
            safetensors::serialize(tensors.iter(), Some(metadata)).expect("what was read")
        };
        fuzz_files(&format!("quantized model {i}"), &[document], write, |bytes| {
            let model = QuantizedModel::from_safetensors(bytes)?;
            use_model(&model)?;
            assert_eq!(QuantizedModel::from_safetensors(&model.to_safetensors()?)?, model, "written and read");
            Ok(())
        });
    }
}

#[test]
fn plans_of_bits() {
    let model = random_model(AWKWARD, 8).expect("a sound model");
    let data = random_input(&model, 2, 9);
    let schemes = [WeightScheme::per_channel(8), WeightScheme::per_channel(4), WeightScheme::per_channel(2)];
    let layers =
        sensitivity(&model, &data, &Recipe::new(8), &schemes, |model| model.run(&data)).expect("sound schemes");
    let plan = front(&layers).remove(0);
    fuzz("plan of bits", &[json(&(layers, plan))], |bytes| {
        let (layers, plan): (Vec<Sensitivity>, LayerPlan) = parse(bytes)?;
        drop(black_box((plan.sqnr_db(), plan.recipe(&Recipe::new(8)).rescaled(&model, &data))));
        let plans = front(&layers);
        for plans in [plans, greedy(&layers)] {
            drop(black_box((within_bytes(&plans, 1000), within_bytes(&plans, u64::MAX), with_sqnr(&plans, 20.0))));
            black_box(plans.iter().map(LayerPlan::sqnr_db).sum::<f64>());
        }
        Ok(())
    });
}

#[test]
fn reports() {
    let model = random_model(AWKWARD, 10).expect("a sound model");
    let data = random_input(&model, 6, 11);
    let quantized = Recipe::new(4).quantize(&model, &data).expect("a sound recipe");
    let options = |perturbations: Vec<Perturbation>| Options::default().with_perturbations(perturbations);
    let labels = [0, 1, 2, 3, 4, 5];
    let report = |labels, perturbations| {
        let mut data = Dataset::new(&data);
        data.labels = labels;
        evaluate("int4", &model, &quantized, data, Device::Cpu, &options(perturbations)).expect("sound data")
    };
    let kinds =
        vec![Perturbation::Noise(0.1), Perturbation::Gain(0.5), Perturbation::Blur(1), Perturbation::Spikes(0.1)];
    let mut full = report(Some(&labels[..]), kinds);
    full.alternatives = vec![Alternative::new("int8", 1000, 40.0).with_accuracy(0.5)];
    full.quantized.seconds = Some(0.5);
    let plain = report(None, vec![Perturbation::Offset(0.5)]);
    fuzz("report", &[json(&full), json(&plain)], |bytes| {
        let report: Report = parse(bytes)?;
        black_box((report.to_string(), report.confidence_shift()));
        #[cfg(feature = "page")]
        report.to_html()?;
        for line in &report.robustness {
            // An input of one pixel, so that a large number of blurs stays cheap.
            let input = Tensor::new([1, 1, 1, 1], vec![1.0f32])?;
            drop(black_box((
                line.perturbation.apply(&input, 1),
                line.perturbation.describe(),
                line.perturbation.neutral(),
            )));
        }
        Ok(())
    });
}

#[test]
fn tuning_files() {
    let Some(context) = context() else { return };
    let description = serde_json::from_str::<Value>(&context.save_tuning()).expect("JSON");
    let mut seed = description;
    let entry = ["adapter", "driver", "backend", "op", "kernel"].map(|key| (key.to_string(), Value::from("x")));
    seed["entries"] = json(&[Value::Object(entry.into_iter().collect())]);
    fuzz("tuning", &[seed], |bytes| {
        let text = std::str::from_utf8(bytes)?;
        context.load_tuning(text);
        // Whatever it has read, it loads its own saved file.
        context.load_tuning(&context.save_tuning());
        serde_json::from_str::<Value>(text)?;
        Ok(())
    });
}

/// Values that fuzzing has found, and finds again only by chance.
#[test]
fn what_no_constructor_makes_is_refused() {
    let activation = |codes: Value, scale: f64, zero_point: i64| {
        parse::<ActivationQuantization>(
            json(&serde_json::json!({ "codes": codes, "scale": scale, "zero_point": zero_point }))
                .to_string()
                .as_bytes(),
        )
    };
    let int = |bits: u32| serde_json::json!({ "int": bits });
    assert!(activation(int(8), 0.5, 255).is_ok());
    for (codes, scale, zero_point) in [
        (int(40), 0.5, 0),
        (int(8), 0.5, 256),
        (int(8), 0.5, -1),
        (int(8), 0.0, 0),
        (int(8), -0.5, 0),
        (serde_json::json!({ "float": "int8" }), 0.5, 0),
        (serde_json::json!({ "float": "float32" }), 1.0, 0),
        (serde_json::json!({ "float": "float8e4m3fn" }), 0.5, 1),
    ] {
        assert!(activation(codes.clone(), scale, zero_point).is_err(), "{codes}, {scale}, {zero_point}");
    }
    for (low, high, counts) in [(1.0, 0.0, vec![1]), (1.0, 1.0, vec![1]), (-1e308, 1e308, vec![1]), (0.0, 1.0, vec![])]
    {
        let document = serde_json::json!({ "low": low, "high": high, "counts": counts });
        assert!(
            serde_json::from_value::<lowbit::evaluate::Histogram>(document).is_err(),
            "{low} to {high}, {counts:?}"
        );
    }
    let layers = [Sensitivity::new("a", Vec::new())];
    assert!(front(&layers).is_empty() && greedy(&layers).is_empty());
    let pixel = Tensor::new([1, 1, 1, 1], vec![1.0f32]).expect("one number");
    in_time("blurring", || assert!(Perturbation::Blur(u32::MAX).apply(&pixel, 1).is_err()));
}

/// A file of a few thousand bytes whose metadata claim 84 million weights.
#[test]
fn a_small_file_takes_little_memory() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let model = random_model(AWKWARD, 12).expect("a sound model");
    let quantized = Recipe::new(8).quantize(&model, &random_input(&model, 2, 13)).expect("a sound recipe");
    let file = quantized.to_safetensors().expect("a sound model");
    let (_, header) = safetensors::SafeTensors::read_metadata(&file).expect("a sound file");
    let mut document: Value =
        serde_json::from_str(&header.metadata().as_ref().expect("metadata")["model"]).expect("JSON");
    document["architecture"]["layers"][3]["out"] = (1 << 24).into();
    let tensors = safetensors::SafeTensors::deserialize(&file).expect("a sound file");
    let metadata = HashMap::from([("model".to_string(), document.to_string())]);
    let file = safetensors::serialize(tensors.iter(), Some(metadata)).expect("what was read");
    let (read, peak) = peak_of(|| QuantizedModel::from_safetensors(&file));
    assert!(peak < MOST_BYTES, "{peak} bytes for a file of {}", file.len());
    let message = read.expect_err("it has other weights").to_string();
    assert!(message.contains("d.weight") && message.contains("83886080"), "{message}");
}
