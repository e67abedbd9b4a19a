//! Measures the default adapter's ceilings, and the share of them that each op reaches. It prints a table, or with `--json` an
//! object per line. Results are checked before they are timed. `--candidates` times every candidate of an op in turn.
//!
//! `share` is the time that the device's ceilings would allow, divided by the measured time. On a driver that computes on the
//! processor, `LOWBIT_CLOCK=processor` counts processor time, which other programs don't disturb.

mod cases;
#[path = "../trusted_device/device.rs"]
mod trusted;

use std::process::ExitCode;
use std::time::Instant;

use cases::{Case, OTHERS, PRODUCTS};
use clap::Parser;
use lowbit::{Bindings, Context, DeviceTensor, Graph, Plan, Probe, Result, Tuner, kernels};

#[derive(Parser)]
#[command(about = "What this device can do, and how near the kernels come to it")]
struct Arguments {
    /// matmul, or another op's name; all if omitted
    #[arg(long)]
    op: Option<String>,
    /// Data types of a matmul: i8, i4, f32, f16, or weights and activations as w4a32, nf4a32, w8a8 …; all if omitted
    #[arg(long, value_delimiter = ',')]
    dtype: Vec<String>,
    /// Rows of a matmul
    #[arg(long, value_delimiter = ',', default_value = "1,8,128")]
    m: Vec<usize>,
    /// Columns of a matmul
    #[arg(long, value_delimiter = ',', default_value = "1024")]
    n: Vec<usize>,
    /// Products per sum of a matmul; as many as columns if omitted
    #[arg(long)]
    k: Option<usize>,
    /// Every candidate instead of the first guess
    #[arg(long)]
    candidates: bool,
    /// Samples; the median counts
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds per sample
    #[arg(long, default_value_t = 20e-3)]
    sample: f64,
    /// Seconds of work before the samples of a case, after which a GPU's clock is at its height
    #[arg(long, default_value_t = 0.3)]
    warm: f64,
    /// On a Vulkan device without robust access to buffers, as in the example `trusted_device`
    #[arg(long)]
    trusted: bool,
    /// An object per line
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// True if every result is right.
fn run(arguments: &Arguments) -> Result<bool> {
    let context = if arguments.trusted {
        pollster::block_on(trusted::context()).map_err(|error| lowbit::Error::Device(error.to_string()))?
    } else {
        Context::new_blocking()?
    };
    let probe = context.probe_blocking()?;
    if !arguments.json {
        println!("{probe}\n");
        println!(
            "{:<17} {:<6} {:>16} {:>10} {:>9} {:>8} {:>6}  kernel",
            "op", "type", "m x n x k", "µs", "GOPS", "GB/s", "share"
        );
    }
    let mut right = true;
    let wanted = |name: &str| arguments.op.as_deref().is_none_or(|op| op == name);
    for (name, dtype) in PRODUCTS {
        if !wanted(name) || !(arguments.dtype.is_empty() || arguments.dtype.iter().any(|given| given == dtype)) {
            continue;
        }
        for &n in &arguments.n {
            for &m in &arguments.m {
                if let Some(case) = cases::product(dtype, [m, n, arguments.k.unwrap_or(n)])? {
                    right &= time(&context, &probe, &case, arguments)?;
                }
            }
        }
    }
    for name in OTHERS {
        if !wanted(name) || !arguments.dtype.is_empty() {
            continue;
        }
        if let Some(case) = cases::other(name)? {
            right &= time(&context, &probe, &case, arguments)?;
        }
    }
    Ok(right)
}

/// A candidate that is ready to run.
struct Ready {
    label: String,
    operations: f64,
    plan: Plan,
    bindings: Bindings,
    runs: usize,
    samples: Vec<f64>,
}

fn time(context: &Context, probe: &Probe, case: &Case, arguments: &Arguments) -> Result<bool> {
    let graph = Graph::of(case.op.clone())?;
    let candidates = kernels::candidates(&case.op, &context.caps());
    let count = if arguments.candidates { candidates.len() } else { 1 };
    let inputs: Vec<_> = case.inputs.iter().map(|t| context.upload(t)).collect::<Result<_>>()?;
    let outputs: Vec<_> =
        case.op.outputs().into_iter().map(|t| DeviceTensor::allocate(context, t)).collect::<Result<_>>()?;
    let (inputs, outputs): (Vec<_>, Vec<_>) = (inputs.iter().collect(), outputs.iter().collect());
    let expected = case.expected()?;
    let mut ready = Vec::new();
    let mut right = true;
    for (index, candidate) in candidates.iter().enumerate().take(count) {
        let plan = context.plan(&graph, Tuner::Nth(index))?;
        let bindings = plan.bind(&inputs, &outputs)?;
        plan.seconds_blocking(&bindings, 1)?;
        let results = outputs.iter().map(|t| context.download_blocking(t)).collect::<Result<Vec<_>>>()?;
        if let Some(error) = expected.error(&results)? {
            eprintln!("{} {} {:?}, {}: {error}", case.name, case.dtype, case.sizes, candidate.label);
            right = false;
            continue;
        }
        let seconds = plan.seconds_blocking(&bindings, 1)?;
        let runs = ((arguments.sample / seconds.max(1e-6)) as usize).clamp(1, 1000);
        let operations = candidate.dispatches.iter().map(|d| d.operations).sum::<u64>() as f64;
        ready.push(Ready { label: candidate.label.clone(), operations, plan, bindings, runs, samples: Vec::new() });
    }
    let start = Instant::now();
    if let Some(first) = ready.first() {
        while start.elapsed().as_secs_f64() < arguments.warm {
            first.plan.seconds_blocking(&first.bindings, first.runs)?;
        }
    }
    for _ in 0..arguments.rounds.max(1) {
        for ready in &mut ready {
            ready.samples.push(ready.plan.seconds_blocking(&ready.bindings, ready.runs)?);
        }
    }
    for ready in &mut ready {
        print(probe, case, ready, arguments.json);
    }
    Ok(right)
}

fn print(probe: &Probe, case: &Case, ready: &mut Ready, json: bool) {
    ready.samples.sort_by(f64::total_cmp);
    let seconds = ready.samples[ready.samples.len() / 2];
    let [m, n, k] = case.sizes;
    // Products of codes by codes are int8 dot products. All others use f32 or matrix units.
    let integer = matches!(case.dtype.as_str(), "i8" | "i4" | "w4a8" | "w8a8");
    let on_units = matches!(case.dtype.as_str(), "i8" | "i4" | "w4a16" | "w8a16");
    let matrices = probe.matrix_gflops.filter(|_| on_units).unwrap_or(0.0);
    let ceiling = if integer { probe.dot_gops } else { probe.f32_gflops }.max(matrices) * 1e9;
    let bandwidth = probe.read_gib_per_s * f64::from(1 << 30);
    let (gops, gbps) = (ready.operations / seconds / 1e9, case.bytes() / seconds / 1e9);
    let share = (ready.operations / ceiling).max(case.bytes() / bandwidth) / seconds;
    if json {
        let line = serde_json::json!({
            "peer": "lowbit", "op": case.name, "dtype": case.dtype, "m": m, "n": n, "k": k, "device": probe.device,
            "ms": seconds * 1e3, "gops": gops, "gbps": gbps, "share": share, "label": ready.label,
        });
        println!("{line}");
        return;
    }
    let sizes = if n == 0 { format!("{m} elements") } else { format!("{m} x {n} x {k}") };
    println!(
        "{:<17} {:<6} {sizes:>16} {:>10.1} {gops:>9.2} {gbps:>8.2} {:>5.0}%  {}",
        case.name,
        case.dtype,
        seconds * 1e6,
        share * 100.0,
        ready.label
    );
}
