//! Trains the digits network with quantized weights and activations on the GPU, from its float weights or from scratch, and prints
//! the accuracy of the integer network for each seed. The network itself is in `network.rs`, its training in `learn.rs`.

mod learn;
#[path = "../digits/network.rs"]
#[allow(dead_code, reason = "the int8 network is the digits example's")]
mod network;
#[path = "network.rs"]
mod train_network;

use std::process::ExitCode;

use clap::Parser;
use learn::{Judged, Task, Training, judge};
use lowbit::Context;
use lowbit::train::{ActivationSteps, Bits, Network, Options};
use network::Result;
use train_network::Split;

/// Trains the digits network with quantized weights and activations, on the GPU.
#[derive(Parser)]
struct Arguments {
    /// Bits of weights, 2 to 8.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(2..=8))]
    weights_bits: u32,
    /// Bits of activations, 2 to 8.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(2..=8))]
    activation_bits: u32,
    /// Passes over all training images.
    #[arg(long, default_value_t = 20)]
    epochs: usize,
    /// Begins with random weights instead of the float network's.
    #[arg(long)]
    from_scratch: bool,
    /// Number of seeds: 1, 2, ….
    #[arg(long, default_value_t = 3)]
    seeds: u64,
    /// Initial learning rate of weights.
    #[arg(long, default_value_t = 2e-3)]
    rate: f64,
    /// Learning rate of steps as a share of the rate of weights.
    #[arg(long, default_value_t = 0.05)]
    step_rate: f64,
    /// Takes moving averages as the ranges of activations, with this weight of a batch, instead of learned ranges.
    #[arg(long, value_name = "CONSTANT")]
    moving_average: Option<f32>,
    /// Images per training step.
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
    let task = Task::load()?;
    let training = Training {
        bits: Bits::new(arguments.weights_bits, arguments.activation_bits),
        from_scratch: arguments.from_scratch,
        options: Options::default()
            .with_batch(arguments.batch)
            .with_epochs(arguments.epochs)
            .with_rate(arguments.rate)
            .with_step_rate(arguments.step_rate)
            .with_activations(match arguments.moving_average {
                Some(constant) => ActivationSteps::MovingAverage { constant },
                None => ActivationSteps::Learned,
            }),
    };
    println!("{training} of {} images in batches of {}\n", task.train.labels.len(), arguments.batch);
    println!("{:>4} {:>9} {:>9} {:>9} {:>8} {:>8}  same bits", "seed", "before", "test", "train", "bytes", "seconds");
    let mut accuracies = Vec::new();
    for seed in 1..=arguments.seeds {
        let trained = task.run(&context, &training, seed)?;
        let on_train = judge(&context, &trained.network, &task.train)?;
        let percent = |judged: &Judged| format!("{:.2} %", 100.0 * judged.accuracy);
        println!(
            "{seed:>4} {:>9} {:>9} {:>9} {:>8} {:>8.1}  {} of {}",
            percent(&trained.before),
            percent(&trained.after),
            percent(&on_train),
            trained.network.weight_bytes(),
            trained.time.as_secs_f64(),
            trained.after.same,
            trained.after.logits.tensor_type().shape().elements()
        );
        accuracies.push(100.0 * trained.after.accuracy);
    }
    let mean = accuracies.iter().sum::<f64>() / accuracies.len().max(1) as f64;
    let (least, most) = accuracies.iter().fold((f64::MAX, f64::MIN), |(a, b), &x| (a.min(x), b.max(x)));
    println!("\nmean {mean:.2} %, from {least:.2} % to {most:.2} % over {} seeds", accuracies.len());
    print_float(&task.float, &task.test)
}

fn print_float(float: &Network, test: &Split) -> Result<()> {
    let logits = float.activations(&test.images)?.pop().ok_or("the network has layers")?;
    let logits = logits.reshaped([test.labels.len(), 10])?;
    println!("the float network: {:.2} %", 100.0 * test.accuracy(&logits)?);
    Ok(())
}
