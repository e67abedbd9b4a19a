//! Measured plans compute the reference's results, measurements can be saved and loaded, and no file can do harm. No test asserts
//! speeds.

mod common;

use std::time::Duration;

use common::{Random, first_difference};
use lowbit::ops::{DynamicGranularity, DynamicQuantize, Matmul, Op, Output, Quantize, Requantization};
use lowbit::{Context, DType, Graph, Result, Tensor, TensorType, Tuner, kernels};

const PLENTY: Tuner = Tuner::Measured { budget: Duration::from_secs(60) };
const NOTHING: Tuner = Tuner::Measured { budget: Duration::ZERO };

/// float32 -> dynamic codes and parameters -> matmul -> requantized matmul: ops with one and several candidates, inputs and
/// outputs.
fn network() -> Result<(Graph, Vec<Tensor>)> {
    let mut random = Random::new(7);
    let (m, k, n) = (5, 48, 12);
    let reals: Vec<f32> = (0..m * k).map(|_| random.real()).collect();
    let mut graph = Graph::new();
    let x = graph.input(lowbit::TensorType::new(DType::Float32, [m, k])?);
    let dynamic = DynamicQuantize::new(TensorType::float32([m, k])?, DType::Uint8, DynamicGranularity::Row).build()?;
    let values = graph.add_all(dynamic, &[x])?;
    let layer = Matmul::new(graph.tensor_type(values[0])?.clone(), random.quantized(DType::Int8, &[k, n]))
        .dynamic_lhs(DynamicGranularity::Row)
        .output(Output::real())
        .build()?;
    let y = graph.add(layer, &values)?;
    let codes = random.quantized(DType::Int8, &[m, n]).tensor_type().clone();
    let y = graph.add(Quantize::new(graph.tensor_type(y)?.clone(), codes.clone()).build()?, &[y])?;
    let layer = Matmul::new(codes, random.quantized(DType::Int8, &[n, 7]))
        .output(Requantization::new(DType::Uint8, 0.5, 100)?)
        .build()?;
    let y = graph.add(layer, &[y])?;
    graph.output(y);
    Ok((graph, vec![Tensor::new([m, k], reals)?]))
}

/// An op with several candidates on every device that has 256 invocations.
fn layer() -> Result<(Op, Tensor)> {
    let mut random = Random::new(11);
    let (lhs, weights) = (random.codes(DType::Int8, &[6, 32]), random.codes(DType::Int8, &[32, 10]));
    Ok((Matmul::new(lhs.tensor_type().clone(), weights).build()?.into(), lhs))
}

/// Plans a graph, checks its result, and returns the kernels it chose.
fn kernels_of(context: &Context, graph: &Graph, inputs: &[Tensor], tuner: Tuner) -> Result<String> {
    let inputs: Vec<_> = inputs.iter().collect();
    let plan = context.plan(graph, tuner)?;
    let (got, expected) = (plan.run_blocking(&inputs)?, graph.run_reference(&inputs)?);
    assert_eq!(got.len(), expected.len());
    for (got, expected) in got.iter().zip(&expected) {
        assert_eq!(first_difference(got, expected), None, "{tuner:?} chose\n{plan}");
    }
    Ok(plan.to_string())
}

/// Submissions of a run if nothing is measured.
const ONE_RUN: u64 = 2;

#[test]
fn a_measured_plan_is_right_and_its_choices_can_be_saved() -> Result<()> {
    let Some(context) = common::context() else { return Ok(()) };
    let (graph, inputs) = network()?;
    let measured = kernels_of(&context, &graph, &inputs, PLENTY)?;
    assert!(context.counters().submissions > ONE_RUN, "measuring submits");

    // A known kernel is not measured again.
    let before = context.counters();
    assert_eq!(kernels_of(&context, &graph, &inputs, PLENTY)?, measured);
    assert_eq!(context.counters().submissions - before.submissions, ONE_RUN);
    assert_eq!(context.counters().pipelines, before.pipelines);

    // Another context that loads the file doesn't measure either.
    let json = context.save_tuning();
    let Some(other) = common::context() else { return Ok(()) };
    let entries = json.matches("\"kernel\"").count();
    assert!(entries >= 3, "{json}");
    assert_eq!(other.load_tuning(&json), entries);
    assert_eq!(kernels_of(&other, &graph, &inputs, PLENTY)?, measured);
    assert_eq!(other.counters().submissions, ONE_RUN);
    assert_eq!(other.save_tuning(), json);
    Ok(())
}

#[test]
fn a_budget_of_zero_never_measures() -> Result<()> {
    let Some(context) = common::context() else { return Ok(()) };
    let (graph, inputs) = network()?;
    let guessed = kernels_of(&context, &graph, &inputs, Tuner::FirstGuess)?;
    let before = context.counters();
    assert_eq!(kernels_of(&context, &graph, &inputs, NOTHING)?, guessed);
    assert_eq!(context.counters().submissions - before.submissions, ONE_RUN);
    assert!(!context.save_tuning().contains("kernel"), "nothing is known");
    Ok(())
}

#[test]
fn a_budget_too_small_to_finish_is_no_error() -> Result<()> {
    let Some(context) = common::context() else { return Ok(()) };
    let (graph, inputs) = network()?;
    for budget in [1, 1_000, 100_000, 10_000_000].map(Duration::from_nanos) {
        kernels_of(&context, &graph, &inputs, Tuner::Measured { budget })?;
    }
    kernels_of(&context, &graph, &inputs, Tuner::Measured { budget: Duration::MAX })?;
    Ok(())
}

#[test]
fn ops_that_measuring_can_not_do_take_their_first_guess() -> Result<()> {
    let Some(context) = common::context() else { return Ok(()) };
    let empty = Tensor::new([0, 8], Vec::<i8>::new())?;
    let op: Op = Matmul::new(empty.tensor_type().clone(), Tensor::new([8, 3], vec![1i8; 24])?).build()?.into();
    kernels_of(&context, &Graph::of(op.clone())?, &[empty], PLENTY)?;
    assert_eq!(context.counters().submissions, ONE_RUN);

    // One range over 4 GiB exceeds the limit of a binding; every tuner returns an error and doesn't panic.
    let huge =
        DynamicQuantize::new(TensorType::float32([i32::MAX as usize / 2])?, DType::Int8, DynamicGranularity::Tensor)
            .build()?;
    let graph = Graph::of(huge)?;
    let guessed = context.plan(&graph, Tuner::FirstGuess).map(|plan| plan.to_string());
    let measured = context.plan(&graph, PLENTY).map(|plan| plan.to_string());
    assert_eq!(measured.map_err(|e| e.to_string()), guessed.map_err(|e| e.to_string()));
    Ok(())
}

#[test]
fn a_file_picks_among_legal_candidates_only() -> Result<()> {
    let Some(context) = common::context() else { return Ok(()) };
    let (op, lhs) = layer()?;
    let graph = Graph::of(op.clone())?;
    kernels_of(&context, &graph, std::slice::from_ref(&lhs), PLENTY)?;
    let json = context.save_tuning();
    let chosen = json.lines().find(|line| line.contains("\"kernel\"")).expect("one entry").trim().to_string();
    let field = |label: &str| format!("\"kernel\": {}", serde_json::Value::from(label));
    let entry = |label: &str| json.replace(&chosen, &field(label));

    // Every legal label selects its candidate.
    for (i, candidate) in kernels::candidates(&op, &context.caps()).iter().enumerate() {
        let Some(other) = common::context() else { return Ok(()) };
        assert_eq!(other.load_tuning(&entry(&candidate.label)), 1, "{}", candidate.label);
        let named = context.plan(&graph, Tuner::Nth(i))?.to_string();
        assert_eq!(kernels_of(&other, &graph, std::slice::from_ref(&lhs), NOTHING)?, named);
    }

    // An unknown label is ignored, and measuring replaces it.
    let guessed = context.plan(&graph, Tuner::FirstGuess)?.to_string();
    for label in ["a kernel of another time", "0", "../../matmul", "\u{202e}lumtam"] {
        let Some(other) = common::context() else { return Ok(()) };
        assert_eq!(other.load_tuning(&entry(label)), 1, "{label}");
        assert_eq!(kernels_of(&other, &graph, std::slice::from_ref(&lhs), NOTHING)?, guessed);
        kernels_of(&other, &graph, std::slice::from_ref(&lhs), PLENTY)?;
        assert!(!other.save_tuning().contains(&field(label)), "{label}");
    }
    Ok(())
}

#[test]
fn a_hostile_file_is_ignored() -> Result<()> {
    let Some(context) = common::context() else { return Ok(()) };
    let (op, lhs) = layer()?;
    let graph = Graph::of(op.clone())?;
    kernels_of(&context, &graph, std::slice::from_ref(&lhs), PLENTY)?;
    let json = context.save_tuning();
    let field = |name: &str| {
        let line = json.lines().find(|line| line.contains(&format!("\"{name}\""))).expect("a saved field");
        line.trim().trim_end_matches(',').to_string()
    };
    let (version, adapter, driver, op_name, kernel) =
        (field("lowbit"), field("adapter"), field("driver"), field("op"), field("kernel"));
    let many = |count: usize, entry: &str| format!("{{{version}, \"entries\": [{}]}}", vec![entry; count].join(","));
    let table = [
        ("nothing", String::new()),
        ("no JSON", "\u{0}\u{1}\u{ff}not JSON".into()),
        ("another kind of JSON", "[1, 2, {\"a\": null}]".into()),
        ("a number", "1e999".into()),
        ("no entries", format!("{{{version}}}")),
        ("entries of the wrong type", format!("{{{version}, \"entries\": {{}}}}")),
        ("an entry of the wrong type", many(1, "17")),
        ("a label of the wrong type", json.replace(&kernel, "\"kernel\": 17")),
        ("no label", json.replace(&format!("{op_name},"), &op_name).replace(&kernel, "")),
        ("a label twice", json.replace(&kernel, &format!("{kernel}, {kernel}"))),
        ("a control character in the label", json.replace(&kernel, "\"kernel\": \"a\\u0007\\nb\"")),
        ("a raw control character", json.replace(&kernel, "\"kernel\": \"a\u{7}b\"")),
        ("an empty label", json.replace(&kernel, "\"kernel\": \"\"")),
        ("a long label", json.replace(&kernel, &format!("\"kernel\": \"{}\"", "x".repeat(1 << 20)))),
        ("half a surrogate", json.replace(&kernel, "\"kernel\": \"\\ud800\"")),
        ("another version", json.replace(&version, "\"lowbit\": \"0.0.0-other\"")),
        ("another adapter", json.replace(&adapter, "\"adapter\": \"another\"")),
        ("another driver", json.replace(&driver, "\"driver\": \"another\"")),
        ("a mere beginning", json[..json.len() / 2].into()),
        ("more than the end", format!("{json}{json}")),
        ("deep nesting", "[".repeat(1 << 20)),
        ("deep nesting in a field", format!("{{{version}, \"entries\": [], \"x\": {}", "{\"x\":".repeat(100_000))),
        ("100 MB", "x".repeat(100 << 20)),
        ("100 MB of spaces around it", format!("{}{json}", " ".repeat(100 << 20))),
        ("a million entries", many(1_000_000, "{}")),
        ("a million numbers", many(1_000_000, "0")),
    ];
    let Some(other) = common::context() else { return Ok(()) };
    for (name, file) in &table {
        assert_eq!(other.load_tuning(file), 0, "{name}");
    }
    for end in (0..json.len()).filter(|&end| json.is_char_boundary(end)) {
        assert_eq!(other.load_tuning(&json[..end]), 0, "cut off at byte {end}");
    }
    assert!(!other.save_tuning().contains("kernel"), "nothing was taken");
    // A file with unknown fields is accepted, and a good file is accepted after all the bad ones.
    assert_eq!(other.load_tuning(&json.replace(&kernel, &format!("{kernel}, \"note\": [1, 2, 3]"))), 1);
    assert_eq!(other.save_tuning(), json);
    Ok(())
}

#[test]
fn a_probe_finds_numbers() -> Result<()> {
    let Some(context) = common::context() else { return Ok(()) };
    let probe = context.probe_blocking()?;
    println!("{probe}");
    let numbers = [
        probe.f32_gflops,
        probe.f16_gflops.unwrap_or(1.0),
        probe.dot_gops,
        probe.matrix_gflops.unwrap_or(1.0),
        probe.workgroup_gib_per_s,
        probe.read_gib_per_s,
        probe.copy_gib_per_s,
        probe.launch_us,
    ];
    assert!(numbers.iter().all(|n| n.is_finite() && *n > 0.0), "{probe:?}");
    assert_eq!(probe.f16_gflops.is_some(), context.device().features().contains(wgpu::Features::SHADER_F16));
    assert_eq!(probe.matrix_gflops.is_some(), context.caps().coop_matrix_size > 0);
    let json = serde_json::to_value(&probe).expect("numbers and strings are JSON");
    assert_eq!(json["f32_gflops"], probe.f32_gflops);
    Ok(())
}

/// A caller's device without optional features: the host's clock, and no 16-bit floats.
#[test]
fn without_features_the_clock_is_the_hosts() -> Result<()> {
    let Some(context) = common::context() else { return Ok(()) };
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all().with_env()));
    let same = |adapter: &wgpu::Adapter| adapter.get_info().name == context.device().adapter_info().name;
    let adapter = adapters.into_iter().find(same).expect("the context's adapter");
    let (device, queue) = pollster::block_on(adapter.request_device(&Default::default())).expect("a plain device");
    let plain = Context::from_device(device, queue);
    let (graph, inputs) = network()?;
    kernels_of(&plain, &graph, &inputs, PLENTY)?;
    let probe = plain.probe_blocking()?;
    assert_eq!((probe.device_clock, probe.f16_gflops, probe.matrix_gflops), (false, None, None));
    Ok(())
}
