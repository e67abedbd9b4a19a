//! Runs the int8 digits network in one submission, compares every logit with the golden logits, and prints accuracy, size and
//! speed. The network itself is in `network.rs`.

mod network;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use lowbit::{Context, Counters, Error, Graph, Tensor, Tuner};
use network::{Digits, Result, classes, network, read};
use safetensors::{Dtype, SafeTensors};

/// Runs a quantized network on handwritten digits, on the GPU and on the CPU reference.
#[derive(Parser)]
struct Options {
    /// Timed runs of each path, after one untimed run; the median counts.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// True if every logit of every path has the golden bits.
fn run(options: &Options) -> Result<bool> {
    let digits = Digits::load()?;
    let graph = network(digits.labels.len())?;
    let mut timings = Vec::new();
    let on_gpu = match Context::new_blocking() {
        Ok(context) => run_on_gpu(&context, &graph, &digits, options, &mut timings)?,
        Err(error @ Error::NoAdapter(_)) => {
            println!("NOT RUN on a GPU: {error}\n");
            true
        }
        Err(error) => return Err(error.into()),
    };

    let reference = || Ok(graph.run_reference(&[&digits.images])?.remove(0));
    let logits = reference()?;
    let on_cpu = agrees("CPU reference", &logits, &digits.golden_logits)?;
    timings.push(("CPU reference", median(options, reference)?));

    print_accuracy(&digits, &logits)?;
    print_speed(&timings, digits.labels.len());
    Ok(on_gpu && on_cpu)
}

fn run_on_gpu(
    context: &Context,
    graph: &Graph,
    digits: &Digits,
    options: &Options,
    timings: &mut Vec<(&str, Duration)>,
) -> Result<bool> {
    let info = context.device().adapter_info();
    println!("adapter: {}", context.description());
    if info.device_type == wgpu::DeviceType::Cpu {
        println!("         a software adapter: what is called GPU below is this machine's CPU");
    }
    let plan = context.plan(graph, Tuner::FirstGuess)?;
    println!("\nplan for {} images\n{plan}", digits.labels.len());

    let images = context.upload(&digits.images)?;
    let before = context.counters();
    let logits = plan.run_on_device(&[&images])?;
    let Counters { submissions, readbacks, .. } = context.counters();
    println!(
        "GPU: {} submission and {} readbacks before the logits are downloaded",
        submissions - before.submissions,
        readbacks - before.readbacks
    );
    let golden = agrees("GPU", &context.download_blocking(&logits[0])?, &digits.golden_logits)?;

    let on_device = || {
        let logits = plan.run_on_device(&[&images])?;
        context.device().poll(wgpu::PollType::wait_indefinitely())?;
        Ok(logits)
    };
    timings.push(("GPU, tensors stay on the device", median(options, on_device)?));
    timings.push(("GPU, with upload and download", median(options, || Ok(plan.run_blocking(&[&digits.images])?))?));
    Ok(golden)
}

/// Prints the number of logits with the golden bits; true if all have them.
fn agrees(path: &str, logits: &Tensor, golden: &Tensor) -> Result<bool> {
    let (logits, golden) = (logits.values::<f32>()?, golden.values::<f32>()?);
    let identical = logits.iter().zip(golden).filter(|(a, b)| a.to_bits() == b.to_bits()).count();
    println!("{path}: {identical} of {} logits bit-identical to the golden int8 logits", golden.len());
    Ok(identical == golden.len() && logits.len() == golden.len())
}

/// Median time of the runs.
fn median<T>(options: &Options, run: impl Fn() -> Result<T>) -> Result<Duration> {
    let mut times = Vec::new();
    for _ in 0..options.runs {
        let start = Instant::now();
        run()?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

fn print_accuracy(digits: &Digits, logits: &Tensor) -> Result<()> {
    let tests = digits.test_index.len();
    let accuracy = |logits: &Tensor| -> Result<String> {
        let correct = digits.correct(logits)?;
        Ok(format!("{correct} ({:.2} %)", 100.0 * correct as f64 / tests as f64))
    };
    let (float_bytes, int8_bytes) = (float_bytes()?, int8_bytes()?);
    let row = |name: &str, left: String, right: String| println!("{name:<34} {left:>18} {right:>18}");

    println!();
    row("", "float32".into(), "int8".into());
    row(&format!("right of {tests} test images"), accuracy(&digits.float_logits)?, accuracy(logits)?);
    row("bytes of weights, biases, scales", float_bytes.to_string(), int8_bytes.to_string());

    let all: Vec<usize> = (0..digits.labels.len()).collect();
    let test = Difference::new(&digits.float_logits, logits, &digits.test_index)?;
    let all = Difference::new(&digits.float_logits, logits, &all)?;
    println!();
    row("int8 logits against float32", "test images".into(), "all images".into());
    let same = |d: &Difference| format!("{} of {}", d.same_class, d.images);
    row("same class", same(&test), same(&all));
    row("SQNR", format!("{:.2} dB", test.sqnr), format!("{:.2} dB", all.sqnr));
    row("largest error", format!("{:.4}", test.largest), format!("{:.4}", all.largest));
    Ok(())
}

/// Difference between logits and the float logits on some of the images.
struct Difference {
    images: usize,
    /// Images with the same class.
    same_class: usize,
    /// `10 · log10(Σ float² / Σ (float − int8)²)`, in dB.
    sqnr: f64,
    /// The largest |float − int8|.
    largest: f64,
}

impl Difference {
    fn new(float: &Tensor, int8: &Tensor, images: &[usize]) -> Result<Self> {
        let (float_classes, int8_classes) = (classes(float)?, classes(int8)?);
        let per_image = float.dims()[1];
        let (float, int8) = (float.values::<f32>()?, int8.values::<f32>()?);
        let (mut signal, mut noise, mut largest) = (0.0f64, 0.0f64, 0.0f64);
        for i in images.iter().flat_map(|&image| image * per_image..(image + 1) * per_image) {
            let (x, y) = (f64::from(float[i]), f64::from(int8[i]));
            signal += x * x;
            noise += (x - y) * (x - y);
            largest = largest.max((x - y).abs());
        }
        Ok(Self {
            images: images.len(),
            same_class: images.iter().filter(|&&i| float_classes[i] == int8_classes[i]).count(),
            sqnr: 10.0 * (signal / noise).log10(),
            largest,
        })
    }
}

/// Bytes of the float network's weights and biases.
fn float_bytes() -> Result<usize> {
    let file = read("digits_model.safetensors")?;
    Ok(SafeTensors::deserialize(&file)?.iter().map(|(_, tensor)| tensor.data().len()).sum())
}

/// Bytes of the int8 network's weights, of its int32 biases, and of an f32 scale per bias.
fn int8_bytes() -> Result<usize> {
    let file = read("ort_int8.safetensors")?;
    let bytes = |tensor: safetensors::tensor::TensorView| match tensor.dtype() {
        Dtype::I8 => tensor.data().len(),
        Dtype::I32 => 2 * tensor.data().len(),
        _ => 0, // the golden logits
    };
    Ok(SafeTensors::deserialize(&file)?.iter().map(|(_, tensor)| bytes(tensor)).sum())
}

fn print_speed(timings: &[(&str, Duration)], images: usize) {
    println!("\n{:<34} {:>18} {:>18}", "int8 network, all images at once", "milliseconds", "images per second");
    for (path, time) in timings {
        let seconds = time.as_secs_f64();
        println!("{path:<34} {:>18.1} {:>18.0}", 1000.0 * seconds, images as f64 / seconds);
    }
    println!("The CPU reference is plain loops, written to be read: its time is no measure of what a CPU can do.");
}
