//! A language model from a GGUF file, text in, text out: `cargo run --release --example decoder -- model.gguf "Once upon a time"`.
//!
//! A token of the whole model is one plan, recorded from bindings that are made once: only a small buffer with the token and its
//! position changes. The caches of keys and values are states of the graph, which appends rows in place and reads as many as there
//! are. `scripts/decoder-model` fetches a small model to try it with. Read `model.rs` for the graph.

mod model;
mod tokenizer;

use std::error::Error;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use lowbit::import::{self, gguf::GgufFile};
use lowbit::{Bindings, Context, DeviceTensor, Plan, Tensor, Tuner};

use model::{Model, Part};
use tokenizer::Vocabulary;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Continues a text with the language model of a GGUF file.
#[derive(Debug, Parser)]
struct Arguments {
    /// The model: architectures llama and qwen2, with a vocabulary of byte pairs.
    model: PathBuf,
    /// The text.
    prompt: String,
    /// Puts the text into the form of a conversation (ChatML), and ends at its end.
    #[arg(long)]
    chat: bool,
    /// Tokens to add.
    #[arg(long, default_value_t = 64)]
    tokens: usize,
    /// Positions of the caches.
    #[arg(long, default_value_t = 1024)]
    capacity: usize,
    /// Tokens of the prompt in one submission.
    #[arg(long, default_value_t = 32)]
    chunk: usize,
    /// The activations that weights are multiplied with.
    #[arg(long, value_enum, default_value_t = Activations::Float32)]
    activations: Activations,
    /// The numbers in the caches.
    #[arg(long, value_enum, default_value_t = Cache::Float16)]
    cache: Cache,
    /// Draws tokens instead of taking the most likely one: the seed of the draws.
    #[arg(long)]
    seed: Option<u64>,
    /// Divides logits by this before a draw.
    #[arg(long, default_value_t = 0.8)]
    temperature: f32,
    /// Draws among the most likely tokens whose probabilities sum to this.
    #[arg(long, default_value_t = 0.95)]
    top_p: f64,
    /// Compares the logits of the prompt with the f64 reference on the CPU, with caches of float32, which takes a while.
    #[arg(long)]
    check: bool,
    /// Prints the launches of a token.
    #[arg(long)]
    plan: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum, PartialEq, Eq)]
pub(crate) enum Activations {
    Float32,
    /// int8 in groups of 32, quantized on the device.
    Int8,
}

#[derive(Debug, Clone, Copy, ValueEnum, PartialEq, Eq)]
pub(crate) enum Cache {
    Float32,
    Float16,
    /// Codes, and a scale for each position and head, quantized on the device.
    Int8,
    /// The same with a scale for each 32 codes.
    Int4,
    /// Keys of int8 and values of int4, with a scale for each 32 codes.
    Int8Int4,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let start = Instant::now();
    // SAFETY: nobody changes the file meanwhile.
    #[allow(unsafe_code, reason = "the model stays in the file")]
    let bytes = Arc::new(unsafe { import::map(&arguments.model)? });
    let file = GgufFile::parse(&bytes)?;
    let vocabulary = Vocabulary::read(&file)?;
    let model = Model::read(&file, &bytes, arguments.capacity, arguments.activations, arguments.cache)?;
    let prompt = vocabulary.encode(&arguments.prompt, arguments.chat)?;
    if prompt.is_empty() || prompt.len() + arguments.tokens > arguments.capacity {
        let (tokens, more, most) = (prompt.len(), arguments.tokens, arguments.capacity);
        return Err(
            format!("the prompt has {tokens} tokens: with {more} more, 1 to {most} (--capacity) are possible").into()
        );
    }

    let context = Context::new_blocking()?;
    let mut decoder = Decoder::new(&context, &model, arguments.chunk)?;
    eprintln!("{}", context.description());
    eprintln!(
        "{}; {} tokens of prompt; ready after {:.2} s",
        model.summary(),
        prompt.len(),
        start.elapsed().as_secs_f64()
    );
    if arguments.plan {
        eprintln!("{}", decoder.token);
    }
    if arguments.check {
        let exact = Model::read(&file, &bytes, arguments.capacity, arguments.activations, Cache::Float32)?;
        check(&exact, &prompt, &mut decoder)?;
        return Ok(());
    }

    let mut clock = Instant::now();
    let (last, before) = prompt.split_last().expect("it is not empty");
    for chunk in before.chunks(arguments.chunk) {
        decoder.prefill(chunk)?;
    }
    let mut logits = decoder.logits(*last)?;
    let prefill = clock.elapsed();
    eprintln!("first token after {:.2} s", start.elapsed().as_secs_f64());

    print!("{}", if arguments.chat { "" } else { &arguments.prompt });
    clock = Instant::now();
    let mut draws =
        Draws { state: arguments.seed.unwrap_or(0), temperature: arguments.temperature, top_p: arguments.top_p };
    let (mut told, mut made) = (String::new(), Vec::new());
    while made.len() < arguments.tokens {
        let token = if arguments.seed.is_some() { draws.draw(&logits) } else { greatest(&logits) };
        if vocabulary.is_end(token) {
            break;
        }
        made.push(token);
        // A token may end within a character.
        let text = vocabulary.decode(&made)?;
        if let Some(new) = text.strip_prefix(&told).filter(|_| !text.ends_with(char::REPLACEMENT_CHARACTER)) {
            print!("{new}");
            std::io::stdout().flush()?;
            told = text;
        }
        if made.len() < arguments.tokens {
            logits = decoder.logits(token)?;
        }
    }
    println!();
    let rate = |tokens: usize, time: Duration| tokens as f64 / time.as_secs_f64();
    eprintln!(
        "prompt {:.1} tokens/s, then {:.1} tokens/s; {} launches and {:.1} MiB of weights a token, caches of {:.1} MiB",
        rate(prompt.len(), prefill),
        rate(made.len().saturating_sub(1), clock.elapsed()),
        decoder.token.launches(),
        model.weight_bytes() as f64 / f64::from(1 << 20),
        model.cache_bytes()? as f64 / f64::from(1 << 20),
    );
    if let Some(memory) = resident() {
        eprintln!("{memory}");
    }
    Ok(())
}

/// Memory of this process, where the system tells. Pages of files can be dropped again; a software device's memory is among the rest.
fn resident() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let mib = |key: &str| -> Option<u64> {
        let number = status.lines().find_map(|line| line.strip_prefix(key))?.trim().strip_suffix(" kB")?;
        Some(number.trim().parse::<u64>().ok()? >> 10)
    };
    Some(format!("{} MiB of memory, {} of them files; {} at most", mib("VmRSS:")?, mib("RssFile:")?, mib("VmHWM:")?))
}

/// The plans of a model, with its state on the device.
struct Decoder<'a> {
    context: &'a Context,
    /// Appends the tokens of a chunk to the caches, and computes nothing else.
    prefill: Plan,
    /// Appends a token, and gives its logits.
    token: Plan,
    /// The buffers of a single token: its id, its position, and the logits.
    id: DeviceTensor,
    position: DeviceTensor,
    logits: DeviceTensor,
    bound: Bindings,
    /// The table of cosines and sines, then the caches.
    kept: Vec<DeviceTensor>,
    /// Tokens in the caches.
    length: usize,
}

impl<'a> Decoder<'a> {
    fn new(context: &'a Context, model: &Model, chunk: usize) -> Result<Self> {
        let prefill = context.plan(&model.graph(chunk.max(1), Part::Caches)?, Tuner::FirstGuess)?;
        let token = context.plan(&model.graph(1, Part::Logits)?, Tuner::FirstGuess)?;
        let kept = model.kept()?.iter().map(|tensor| context.upload(tensor)).collect::<lowbit::Result<Vec<_>>>()?;
        let [id, position] = [0, 1].map(|i| DeviceTensor::allocate(context, token.input_types()[i].clone()));
        let (id, position) = (id?, position?);
        let logits = DeviceTensor::allocate(context, token.output_types()[0].clone())?;
        let inputs: Vec<&DeviceTensor> = [&id, &position].into_iter().chain(&kept).collect();
        let bound = token.bind(&inputs, &[&logits])?;
        Ok(Self { context, prefill, bound, token, id, position, logits, kept, length: 0 })
    }

    /// Appends tokens.
    fn prefill(&mut self, tokens: &[u32]) -> Result<()> {
        let (ids, position) = inputs(tokens, self.length)?;
        let [ids, position] = [self.context.upload(&ids)?, self.context.upload(&position)?];
        let inputs: Vec<&DeviceTensor> = [&ids, &position].into_iter().chain(&self.kept).collect();
        self.prefill.run_on_device(&inputs)?;
        self.length += tokens.len();
        Ok(())
    }

    /// Appends a token. Returns the logits of the one after.
    fn logits(&mut self, token: u32) -> Result<Vec<f32>> {
        let queue = self.context.queue();
        queue.write_buffer(self.id.buffer(), 0, &token.to_le_bytes());
        queue.write_buffer(self.position.buffer(), 0, &(self.length as u32).to_le_bytes());
        let mut encoder = self.context.device().create_command_encoder(&Default::default());
        self.token.record(&mut encoder, &self.bound)?;
        queue.submit([encoder.finish()]);
        self.length += 1;
        Ok(self.context.download_blocking(&self.logits)?.values::<f32>()?.to_vec())
    }
}

/// The ids of tokens, and the position of the first.
fn inputs(tokens: &[u32], position: usize) -> Result<(Tensor, Tensor)> {
    let ids = Tensor::new([tokens.len()], tokens.iter().map(|&token| token as i32).collect::<Vec<_>>())?;
    Ok((ids, Tensor::new([1], vec![position as i32])?))
}

/// Compares logits of the device, token by token, with those of the reference for all tokens at once, with caches of float32.
fn check(model: &Model, prompt: &[u32], decoder: &mut Decoder<'_>) -> Result<()> {
    let (ids, position) = inputs(prompt, 0)?;
    let kept = model.kept()?;
    let host: Vec<&Tensor> = [&ids, &position].into_iter().chain(&kept).collect();
    let graph = model.graph(prompt.len(), Part::Logits)?;
    let expected = graph.run_reference(&host)?.remove(0);
    let expected = expected.values::<f32>()?;
    let (mut worst, mut same, mut divergence) = (0.0f32, 0, 0.0);
    for (&token, expected) in prompt.iter().zip(expected.chunks_exact(model.vocabulary())) {
        let got = decoder.logits(token)?;
        worst = got.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(worst, f32::max);
        same += usize::from(greatest(&got) == greatest(expected));
        divergence += kullback_leibler(expected, &got) / prompt.len() as f64;
    }
    println!(
        "{} tokens: logits differ from the reference by at most {worst:.2e}, KL divergence {divergence:.2e}, {same} most likely tokens equal",
        prompt.len()
    );
    Ok(())
}

fn shares(logits: &[f32]) -> Vec<f64> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f64> = logits.iter().map(|&logit| f64::from(logit - most).exp()).collect();
    let total: f64 = powers.iter().sum();
    powers.iter().map(|power| power / total).collect()
}

fn kullback_leibler(expected: &[f32], got: &[f32]) -> f64 {
    let (p, q) = (shares(expected), shares(got));
    p.iter().zip(&q).filter(|(p, _)| **p > 0.0).map(|(p, q)| p * (p / q.max(f64::MIN_POSITIVE)).ln()).sum()
}

/// The most likely token.
fn greatest(logits: &[f32]) -> u32 {
    let better = |best: usize, i: usize| if logits[i] > logits[best] { i } else { best };
    (0..logits.len()).fold(0, better) as u32
}

/// Random draws of tokens.
struct Draws {
    state: u64,
    temperature: f32,
    top_p: f64,
}

impl Draws {
    fn draw(&mut self, logits: &[f32]) -> u32 {
        let scaled: Vec<f32> = logits.iter().map(|logit| logit / self.temperature.max(1e-3)).collect();
        let mut shares: Vec<(u32, f64)> = (0..).zip(shares(&scaled)).collect();
        shares.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        let before = |sum: &mut f64, share: f64| Some(std::mem::replace(sum, *sum + share));
        let sums = shares.iter().scan(0.0, |sum, (_, share)| before(sum, *share));
        let count = sums.take_while(|&sum| sum < self.top_p).count().max(1);
        let total: f64 = shares[..count].iter().map(|(_, share)| share).sum();
        let mut left = self.uniform() * total;
        let drawn = shares[..count].iter().find(|(_, share)| {
            left -= share;
            left <= 0.0
        });
        drawn.unwrap_or(&shares[0]).0
    }

    /// A number from 0 to 1 (SplitMix64).
    fn uniform(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as f64 / u64::MAX as f64
    }
}
