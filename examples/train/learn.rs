//! Settings for training the digits network (bits, initial weights, epochs), and the results of the integer network for each
//! seed. Crates that include this file include `network.rs` as `train_network` beside it.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use lowbit::train::{Bits, Network, Options, Quantized, Trainer};
use lowbit::{Context, Tensor, Tuner};

use crate::network::{Digits, Result};
use crate::train_network::{Split, float_network, train_index};

/// Settings of a training.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Training {
    pub(crate) bits: Bits,
    pub(crate) from_scratch: bool,
    pub(crate) options: Options,
}

impl Training {
    /// Rows of the published table, each with the accuracy to reach and the published accuracy.
    #[allow(dead_code, reason = "not every user prints the table")]
    pub(crate) fn published() -> [(&'static str, Self, f64, &'static str); 3] {
        let row = |weights, activations, from_scratch, epochs, rate| Self {
            bits: Bits::new(weights, activations),
            from_scratch,
            options: Options::default().with_epochs(epochs).with_rate(rate),
        };
        [
            ("W4A4 after training: at least", row(4, 4, false, 20, 2e-3), 0.983, "98.33 %"),
            ("W2A4 after training: at least", row(2, 4, false, 40, 2e-3), 0.90, "85.00 %"),
            ("W4A8 trained from scratch: at least", row(4, 8, true, 60, 1e-2), 0.97, ""),
        ]
    }
}

impl std::fmt::Display for Training {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { bits, from_scratch, options } = self;
        let start = if *from_scratch { "from scratch" } else { "from float weights" };
        write!(f, "W{}A{} {start}, {} epochs", bits.weights, bits.activations, options.epochs)
    }
}

/// The network and its images.
pub(crate) struct Task {
    pub(crate) float: Network,
    pub(crate) train: Split,
    pub(crate) test: Split,
    calibration: Split,
}

/// Results of training with one seed.
pub(crate) struct Trained {
    pub(crate) network: Quantized,
    pub(crate) before: Judged,
    pub(crate) after: Judged,
    pub(crate) time: Duration,
}

/// Results of the integer network on images, and the number of logits with the bits of the fake-quantized network.
pub(crate) struct Judged {
    pub(crate) logits: Tensor,
    pub(crate) accuracy: f64,
    pub(crate) same: usize,
}

impl Task {
    pub(crate) fn load() -> Result<Self> {
        let digits = Digits::load()?;
        let index = train_index()?;
        Ok(Self {
            float: float_network()?,
            train: Split::of(&digits, &index)?,
            test: Split::of(&digits, &digits.test_index)?,
            calibration: Split::of(&digits, &index[..256])?,
        })
    }

    pub(crate) fn run(&self, context: &Context, training: &Training, seed: u64) -> Result<Trained> {
        let random = training.from_scratch.then(|| self.float.randomized(seed)).transpose()?;
        let begin = random.as_ref().unwrap_or(&self.float).quantized(&[training.bits], &self.calibration.images)?;
        let before = judge(context, &begin, &self.test)?;
        let options = training.options.with_seed(seed);
        let clock = Instant::now();
        let mut trainer = Trainer::new(context, begin, &self.train.images, &self.train.labels, options)?;
        let bar = ProgressBar::new(options.epochs as u64);
        bar.set_style(ProgressStyle::with_template("{bar:40} {pos}/{len} epochs, {eta} left")?);
        for _ in 0..options.epochs {
            trainer.epoch()?;
            context.device().poll(wgpu::PollType::wait_indefinitely())?;
            bar.inc(1);
        }
        bar.finish_and_clear();
        let network = trainer.read_blocking()?;
        let time = clock.elapsed();
        let after = judge(context, &network, &self.test)?;
        Ok(Trained { network, before, after, time })
    }
}

pub(crate) fn judge(context: &Context, quantized: &Quantized, split: &Split) -> Result<Judged> {
    let count = split.labels.len();
    let logits = context.plan(&quantized.integer(count)?, Tuner::FirstGuess)?.run_blocking(&[&split.images])?.remove(0);
    let inputs = quantized.inputs(&split.images)?;
    let fake = context.plan(&quantized.fake(count)?, Tuner::FirstGuess)?;
    let fake = fake.run_blocking(&inputs.iter().collect::<Vec<_>>())?.remove(0);
    let pairs = logits.values::<f32>()?.iter().zip(fake.values::<f32>()?);
    let same = pairs.filter(|(a, b)| a.to_bits() == b.to_bits()).count();
    Ok(Judged { accuracy: split.accuracy(&logits)?, same, logits })
}
