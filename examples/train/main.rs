//! Trains the digits network with quantized weights and activations on the GPU, from its float weights or from scratch, and
//! prints what became of it: the accuracy of the integer network, for each seed. The network itself is in `network.rs`.

#[path = "../digits/network.rs"]
#[allow(dead_code, reason = "the int8 network is the digits example's")]
mod network;
#[path = "network.rs"]
mod train_network;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use lowbit::train::{Bits, Network, Options, Quantized, Trainer};
use lowbit::{Context, Tuner};
use network::{Digits, Result};
use train_network::{Split, float_network, train_index};

/// Trains the digits network with quantized weights and activations, on the GPU.
#[derive(Parser)]
struct Arguments {
    /// Bits of weights, 2 to 8.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(2..=8))]
    weights_bits: u32,
    /// Bits of activations, 2 to 8.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(2..=8))]
    activation_bits: u32,
    /// How often all training images are seen.
    #[arg(long, default_value_t = 20)]
    epochs: usize,
    /// Begin with random weights instead of the float network's.
    #[arg(long)]
    from_scratch: bool,
    /// How many seeds are tried: 1, 2, ….
    #[arg(long, default_value_t = 3)]
    seeds: u64,
    /// The rate of weights at the beginning.
    #[arg(long, default_value_t = 2e-3)]
    rate: f64,
    /// The rate of steps as a share of that of weights.
    #[arg(long, default_value_t = 0.05)]
    step_rate: f64,
    /// Images of a step.
    #[arg(long, default_value_t = 120)]
    batch: usize,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let context = Context::new_blocking()?;
    println!("adapter: {}", context.description());
    let digits = Digits::load()?;
    let index = train_index()?;
    let (train, test) = (Split::of(&digits, &index)?, Split::of(&digits, &digits.test_index)?);
    let calibration = Split::of(&digits, &index[..256])?;
    let float = float_network()?;
    let bits = Bits { weights: arguments.weights_bits, activations: arguments.activation_bits };
    let start = if arguments.from_scratch { "from scratch" } else { "from float weights" };
    println!(
        "W{}A{} {start}, {} epochs of {} images in batches of {}\n",
        bits.weights,
        bits.activations,
        arguments.epochs,
        train.labels.len(),
        arguments.batch
    );
    println!("{:>4} {:>9} {:>9} {:>9} {:>8} {:>8}  same bits", "seed", "before", "test", "train", "bytes", "seconds");
    let mut accuracies = Vec::new();
    for seed in 1..=arguments.seeds {
        let network = if arguments.from_scratch { float.randomized(seed)? } else { float.clone() };
        let begin = network.quantized(&[bits], &calibration.images)?;
        let before = judge(&context, &begin, &test)?;
        let options = Options {
            batch: arguments.batch,
            epochs: arguments.epochs,
            rate: arguments.rate,
            step_rate: arguments.step_rate,
            seed,
            ..Options::default()
        };
        let clock = Instant::now();
        let trained = train_network(&context, begin, &train, options)?;
        let seconds = clock.elapsed().as_secs_f64();
        let after = judge(&context, &trained, &test)?;
        let on_train = judge(&context, &trained, &train)?;
        let percent = |judged: &Judged| format!("{:.2} %", 100.0 * judged.accuracy);
        println!(
            "{seed:>4} {:>9} {:>9} {:>9} {:>8} {seconds:>8.1}  {} of {}",
            percent(&before),
            percent(&after),
            percent(&on_train),
            trained.weight_bytes(),
            after.same,
            after.logits
        );
        accuracies.push(100.0 * after.accuracy);
    }
    let mean = accuracies.iter().sum::<f64>() / accuracies.len().max(1) as f64;
    let (least, most) = accuracies.iter().fold((f64::MAX, f64::MIN), |(a, b), &x| (a.min(x), b.max(x)));
    println!("\nmean {mean:.2} %, from {least:.2} % to {most:.2} % over {} seeds", accuracies.len());
    print_float(&float, &test)
}

fn print_float(float: &Network, test: &Split) -> Result<()> {
    let logits = float.activations(&test.images)?.pop().ok_or("the network has layers")?;
    let logits = logits.reshaped([test.labels.len(), 10])?;
    println!("the float network: {:.2} %", 100.0 * test.accuracy(&logits)?);
    Ok(())
}

fn train_network(context: &Context, quantized: Quantized, train: &Split, options: Options) -> Result<Quantized> {
    let mut trainer = Trainer::new(context, quantized, &train.images, &train.labels, options)?;
    let bar = ProgressBar::new(options.epochs as u64);
    bar.set_style(ProgressStyle::with_template("{bar:40} {pos}/{len} epochs, {eta} left")?);
    for _ in 0..options.epochs {
        trainer.epoch()?;
        context.device().poll(wgpu::PollType::wait_indefinitely())?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(trainer.read_blocking()?)
}

/// What the integer network makes of images, and how many of its logits have the bits of the fake-quantized one.
struct Judged {
    accuracy: f64,
    same: usize,
    logits: usize,
}

fn judge(context: &Context, quantized: &Quantized, split: &Split) -> Result<Judged> {
    let count = split.labels.len();
    let integer = context.plan(&quantized.integer(count)?, Tuner::FirstGuess)?.run(&[&split.images])?.remove(0);
    let inputs = quantized.inputs(&split.images)?;
    let fake = context.plan(&quantized.fake(count)?, Tuner::FirstGuess)?;
    let fake = fake.run(&inputs.iter().collect::<Vec<_>>())?.remove(0);
    let pairs = || integer.values::<f32>().into_iter().flatten().zip(fake.values::<f32>().into_iter().flatten());
    let same = pairs().filter(|(a, b)| a.to_bits() == b.to_bits()).count();
    Ok(Judged { accuracy: split.accuracy(&integer)?, same, logits: pairs().count() })
}
