//! Builds a vision network of int8 layers, runs it in one submission, verifies every layer against the reference, and prints each
//! layer's time beside the device's ceilings. The networks are in `network/`.

mod against_float;
mod candidates;
mod clock;
#[path = "network/mod.rs"]
mod network;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use clock::{Timed, median};
use lowbit::ops::Op;
use lowbit::{Context, Probe, Result, TensorType, Tuner, kernels};
use network::{Layer, Model, Network};
use serde::Serialize;

/// Runs a vision network of int8 layers with random weights, and verifies and times each layer.
#[derive(Parser)]
struct Options {
    /// The network; all if none is named.
    #[arg(long, value_enum)]
    network: Vec<Model>,
    /// Height and width of the image in pixels.
    #[arg(long, default_value_t = 224, value_parser = clap::value_parser!(u16).range(32..=1024))]
    size: u16,
    /// Divisor of all channel counts.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    divisor: u16,
    /// Samples of each time; the median counts.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Times every candidate of each distinct layer instead, and compares the first guess with the best.
    #[arg(long)]
    candidates: bool,
    /// Times every candidate of layout changes instead.
    #[arg(long, conflicts_with = "candidates")]
    layouts: bool,
    /// With --candidates or --layouts: lists all candidates.
    #[arg(long)]
    all: bool,
    /// Times convolutions against float32 instead, best candidate against best, after comparing both results.
    #[arg(long, conflicts_with_all = ["candidates", "layouts"])]
    against_float: bool,
    /// With --candidates or --against-float: only layers whose names begin with this text.
    #[arg(long)]
    layer: Vec<String>,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// Results of a network.
#[derive(Serialize)]
struct Run {
    network: String,
    size: u16,
    device: String,
    layers: Vec<Row>,
    /// Launches and submissions of the whole network.
    launches: usize,
    submissions: u64,
    /// Milliseconds of the whole network in one submission.
    ms: f64,
    operations: u64,
    workspace_bytes: u64,
    /// Most bytes of intermediates that are live at once.
    live_bytes: u64,
    /// Bytes of all intermediates, if none shared memory.
    all_bytes: u64,
    /// Fewest different codes, of 256, in any layer's output.
    least_codes: usize,
}

/// A layer's row of the table.
#[derive(Serialize)]
struct Row {
    layer: String,
    output: String,
    kernel: String,
    /// Elements compared with the reference.
    verified: usize,
    ms: f64,
    /// 10⁹ operations per second (a product and a sum are two), and their share of the device's dot product rate. Only for layers
    /// that multiply.
    gops: Option<f64>,
    share_of_dot: Option<f64>,
    /// 2³⁰ bytes read and written per second, and their share of a copy's rate. Only for layers that don't multiply.
    gib_per_s: Option<f64>,
    share_of_copy: Option<f64>,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let context = Context::new_blocking()?;
    let models = if options.network.is_empty() { Model::ALL.to_vec() } else { options.network.clone() };
    let (size, scale) = (options.size.into(), [options.divisor.into(), 1]);
    if options.candidates || options.layouts {
        let mut shapes = Vec::new();
        if options.layouts {
            shapes = candidates::measure_layouts(&context, options.rounds.into())?;
        }
        for model in models.into_iter().filter(|_| options.candidates) {
            eprintln!("{model}: first guess / best");
            let network = model.build(None, size, scale)?;
            shapes.extend(candidates::measure(&context, &network, &options.layer, options.rounds.into())?);
        }
        if options.json {
            println!("{}", serde_json::to_string_pretty(&shapes).expect("numbers and strings are JSON"));
            return Ok(());
        }
        candidates::print(&shapes, options.all);
        println!("\n{}, {size}x{size}", context.description());
        println!(
            "first guess / best at the median of {} shapes: {:.2}",
            shapes.len(),
            candidates::median_ratio(&shapes)
        );
        return Ok(());
    }
    if options.against_float {
        let mut pairs = Vec::new();
        for model in models {
            let network = model.build(None, size, scale)?;
            pairs.extend(against_float::measure(&context, &network, &options.layer, options.rounds.into())?);
        }
        if options.json {
            println!("{}", serde_json::to_string_pretty(&pairs).expect("numbers and strings are JSON"));
            return Ok(());
        }
        against_float::print(&pairs);
        println!("\n{}, {size}x{size}", context.description());
        return Ok(());
    }
    let probe = context.probe_blocking()?;
    for model in models {
        let start = Instant::now();
        let network = model.build(Some(&context), size, scale)?;
        eprintln!("{model}: built and calibrated in {:.1} s", start.elapsed().as_secs_f64());
        let run = judge(&context, &probe, &model.to_string(), &network, options)?;
        if options.json {
            println!("{}", serde_json::to_string_pretty(&run).expect("numbers and strings are JSON"));
        } else {
            print(&run, &probe);
        }
    }
    Ok(())
}

/// Verifies and times a network.
fn judge(context: &Context, probe: &Probe, name: &str, network: &Network, options: &Options) -> Result<Run> {
    let start = Instant::now();
    let verified = network.verify(context, Tuner::FirstGuess)?;
    eprintln!("{name}: every layer verified in {:.1} s", start.elapsed().as_secs_f64());
    let whole = Timed::new(context, &network.graph, Tuner::FirstGuess)?;
    whole.warm(0.3)?;
    let layers = network.layers.iter().zip(verified.elements);
    let layers =
        layers.map(|(layer, elements)| time(context, probe, layer, elements, options)).collect::<Result<_>>()?;
    let times = (0..options.rounds).map(|_| whole.seconds(1)).collect::<Result<Vec<_>>>()?;
    let inner = network.layers.split_last().map_or(&[][..], |(_, inner)| inner);
    Ok(Run {
        network: name.into(),
        size: options.size,
        device: context.description(),
        layers,
        launches: whole.plan.launches(),
        submissions: verified.submissions,
        ms: 1e3 * median(&times),
        operations: network.layers.iter().map(|layer| operations(context, layer)).sum::<Result<u64>>()?,
        workspace_bytes: whole.plan.workspace_bytes(),
        live_bytes: whole.plan.live_bytes(),
        all_bytes: inner.iter().map(|layer| layer.output_type().device_bytes()).sum(),
        least_codes: network.layers.iter().filter_map(|layer| network.spread(layer)).min().unwrap_or(0),
    })
}

/// Operations of a layer that multiplies, products and sums; otherwise 0.
fn operations(context: &Context, layer: &Layer) -> Result<u64> {
    if !matches!(layer.ops[0], Op::Conv(_) | Op::Matmul(_)) {
        return Ok(0);
    }
    let candidates = kernels::candidates(&layer.op()?, &context.caps());
    Ok(candidates[0].dispatches.iter().map(|dispatch| dispatch.operations).sum())
}

/// A layer's row of the table.
fn time(context: &Context, probe: &Probe, layer: &Layer, verified: usize, options: &Options) -> Result<Row> {
    let timed = Timed::new(context, &layer.graph()?, Tuner::FirstGuess)?;
    let runs = timed.runs()?;
    let times = (0..options.rounds).map(|_| timed.seconds(runs)).collect::<Result<Vec<_>>>()?;
    let seconds = median(&times);
    let operations = operations(context, layer)?;
    let gops = (operations > 0).then(|| operations as f64 / seconds / 1e9);
    let bytes: u64 = layer.op()?.inputs().iter().chain([&layer.output_type()]).map(TensorType::device_bytes).sum();
    let gib_per_s = gops.is_none().then(|| bytes as f64 / seconds / (1u64 << 30) as f64);
    Ok(Row {
        layer: layer.name.clone(),
        output: layer.output_type().to_string(),
        kernel: timed.label(),
        verified,
        ms: 1e3 * seconds,
        gops,
        share_of_dot: gops.map(|gops| gops / probe.dot_gops),
        gib_per_s,
        share_of_copy: gib_per_s.map(|rate| rate / probe.copy_gib_per_s),
    })
}

fn print(run: &Run, probe: &Probe) {
    println!("| layer | output | kernel | verified | ms | GOPS or GiB/s | share |");
    println!("|---|---|---|---:|---:|---:|---:|");
    for Row { layer, output, kernel, verified, ms, gops, share_of_dot, gib_per_s, share_of_copy } in &run.layers {
        let rate = gops.map(|gops| format!("{gops:.1} GOPS"));
        let rate = rate.or(gib_per_s.map(|rate| format!("{rate:.2} GiB/s"))).unwrap_or_default();
        let share = 100.0 * share_of_dot.or(*share_of_copy).unwrap_or_default();
        println!("| {layer} | {output} | {kernel} | {verified} | {ms:.3} | {rate} | {share:.0}% |");
    }
    let Run { network, size, launches, submissions, ms, operations, .. } = run;
    let (gops, alone) = (*operations as f64 / ms / 1e6, run.layers.iter().map(|row| row.ms).sum::<f64>());
    println!("\n{network}, {size}x{size}, {}", run.device);
    println!(
        "every layer verified: its elements in the table equal the reference, bit for bit; {} codes in use at least",
        run.least_codes
    );
    println!(
        "{launches} launches in {submissions} submission: {ms:.1} ms, {gops:.1} GOPS, {:.0}% of {:.1} (layers one by one {alone:.1} ms)",
        100.0 * gops / probe.dot_gops,
        probe.dot_gops
    );
    println!(
        "shares: of int8 dot products at {:.1} GOPS, or of a copy at {:.2} GiB/s",
        probe.dot_gops, probe.copy_gib_per_s
    );
    let mib = |bytes: u64| bytes as f64 / (1u64 << 20) as f64;
    println!(
        "peak memory of intermediates {:.2} MiB (workspace_bytes); live at once {:.2} MiB; each by itself {:.2} MiB",
        mib(run.workspace_bytes),
        mib(run.live_bytes),
        mib(run.all_bytes)
    );
}
