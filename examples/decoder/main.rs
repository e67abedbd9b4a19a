//! A language model from a GGUF file, text in, text out: `cargo run --release --example decoder -- model.gguf "Once upon a time"`.
//!
//! The whole model is one plan for any number of tokens up to a chunk. A token alone is recorded from bindings that are made once:
//! only a small buffer with the token and its position changes, and the next token comes back. The caches of keys and values are
//! states of the graph, which appends rows in place and reads as many as there are. `scripts/decoder-model` fetches a small model.
//! Read `model.rs` for the graph, `device.rs` for its use; `compare.rs` and `measure.rs` tell how right and how fast it is.

mod compare;
mod device;
mod measure;
mod model;
mod tokenizer;

use std::error::Error;
use std::fs::File;
use std::io::Write as _;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use lowbit::Context;
use lowbit::import::{self, gguf::GgufFile};

use compare::{Source, compare, shares, surprises};
use device::Decoder;
use measure::measure;
use model::{Model, Wanted};
use tokenizer::Vocabulary;

/// Tokens among which one is drawn.
const BEST: usize = 64;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Continues a text with the language model of a GGUF file.
#[derive(Debug, Parser)]
struct Arguments {
    /// The model: architectures llama, qwen2, qwen3, gemma2 and gemma3, with a vocabulary of byte pairs.
    model: PathBuf,
    /// The text.
    #[arg(default_value = "")]
    prompt: String,
    /// Takes the text from a file.
    #[arg(long, conflicts_with = "prompt")]
    file: Option<PathBuf>,
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
    /// Draws among the most likely tokens whose probabilities sum to this, at most 64: the device finds those, and their
    /// probabilities are those among them.
    #[arg(long, default_value_t = 0.95)]
    top_p: f64,
    /// Compares logits of the prompt: "device", "reference" (float64 on the CPU, with caches and activations of float32: slow), or
    /// a file of scripts/llama-cpp, whose tokens are taken. Without a file the logits are those at the end of each chunk and at the
    /// last eight tokens.
    #[arg(long, num_args = 2, value_names = ["EXPECTED", "GOT"])]
    compare: Vec<Source>,
    /// Writes the expected logits of the comparison to a file, for others.
    #[arg(long, requires = "compare")]
    save: Option<PathBuf>,
    /// Prints the perplexity of a text for all kinds of caches.
    #[arg(long, value_name = "TEXT")]
    perplexity: Option<PathBuf>,
    /// Tokens of the text that share the caches, for the perplexity.
    #[arg(long, default_value_t = 512)]
    window: usize,
    /// Prints the time of a chunk and of a token after these numbers of tokens.
    #[arg(long, value_delimiter = ',', value_name = "TOKENS")]
    measure: Vec<usize>,
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
    let vocabulary = Vocabulary::read(&GgufFile::parse(&open(&arguments)?)?)?;
    // Pages of the map don't stay: weights are read from the file.
    let reader = Arc::new(Mutex::new(File::open(&arguments.model)?));
    let read = |capacity: usize, activations: Activations, cache: Cache| -> Result<Model> {
        Model::read(&GgufFile::parse(&open(&arguments)?)?, &reader, capacity, activations, cache)
    };
    let model = read(arguments.capacity, arguments.activations, arguments.cache)?;
    let text = arguments.file.as_ref().map_or(Ok(arguments.prompt.clone()), std::fs::read_to_string)?;
    let prompt = vocabulary.encode(&text, arguments.chat)?;
    let chunk = arguments.chunk.clamp(1, arguments.capacity.max(1));
    if let [expected, got] = &arguments.compare[..] {
        let exact = read(arguments.capacity, Activations::Float32, Cache::Float32)?;
        let save = arguments.save.as_ref();
        return compare([expected, got], &prompt, [&exact, &model], chunk, &vocabulary, save);
    }
    let context = Context::new_blocking()?;
    eprintln!("{}", context.description());
    if let Some(longest) = arguments.measure.iter().max() {
        if longest.saturating_add(chunk.max(measure::SINGLES)) > arguments.capacity {
            return Err(format!(
                "{longest} tokens and a chunk exceed the capacity of {} (--capacity)",
                arguments.capacity
            )
            .into());
        }
        return measure(&context, &model, chunk, &arguments.measure);
    }
    if let Some(path) = &arguments.perplexity {
        let tokens = vocabulary.encode(&std::fs::read_to_string(path)?, false)?;
        let mut exact: Option<Vec<f64>> = None;
        for &cache in Cache::value_variants() {
            let window = arguments.window.max(2);
            let model = read(window, arguments.activations, cache)?;
            let found = surprises(&context, &model, &tokens, window, chunk.min(window))?;
            let base = exact.get_or_insert_with(|| found.clone());
            let more: Vec<f64> = found.iter().zip(base).map(|(found, base)| found - *base).collect();
            let ([mean, error], [more, more_error]) = (mean(&found), mean(&more));
            println!(
                "caches of {cache:?}: perplexity {:.4} ± {:.4} of {} tokens, {:.5} ± {more_error:.5} times the first",
                mean.exp(),
                mean.exp() * error,
                found.len(),
                more.exp()
            );
        }
        return Ok(());
    }
    if prompt.is_empty() || prompt.len() + arguments.tokens > arguments.capacity {
        let (tokens, more, most) = (prompt.len(), arguments.tokens, arguments.capacity);
        return Err(
            format!("the prompt has {tokens} tokens: with {more} more, 1 to {most} (--capacity) are possible").into()
        );
    }
    let wanted = if arguments.seed.is_some() { Wanted::Best(BEST.min(model.vocabulary())) } else { Wanted::Token };
    let mut decoder = Decoder::new(&context, &model, chunk, &wanted)?;
    eprintln!(
        "{}; {} tokens of prompt; ready after {:.2} s",
        model.summary(),
        prompt.len(),
        start.elapsed().as_secs_f64()
    );
    tell_memory();
    if arguments.plan {
        eprintln!("{}", decoder.token());
    }
    let mut draws =
        Draws { state: arguments.seed.unwrap_or(0), temperature: arguments.temperature, top_p: arguments.top_p };
    let mut next = |decoder: &Decoder<'_>| -> Result<u32> {
        Ok(match wanted {
            Wanted::Best(_) => draws.draw(decoder.output(0)?.values::<f32>()?, decoder.output(1)?.values::<i32>()?),
            _ => decoder.output(0)?.values::<i32>()?[0] as u32,
        })
    };

    let mut clock = Instant::now();
    prompt.chunks(chunk).try_for_each(|tokens| decoder.append(tokens))?;
    let mut token = next(&decoder)?;
    let prefill = clock.elapsed();
    eprintln!("first token after {:.2} s", start.elapsed().as_secs_f64());

    print!("{}", if arguments.chat { "" } else { &text });
    clock = Instant::now();
    let (mut told, mut made) = (String::new(), Vec::new());
    while made.len() < arguments.tokens && !vocabulary.is_end(token) {
        made.push(token);
        // A token may end within a character.
        let text = vocabulary.decode(&made)?;
        if let Some(new) = text.strip_prefix(&told).filter(|_| !text.ends_with(char::REPLACEMENT_CHARACTER)) {
            print!("{new}");
            std::io::stdout().flush()?;
            told = text;
        }
        if made.len() < arguments.tokens {
            decoder.append(&[token])?;
            token = next(&decoder)?;
        }
    }
    println!();
    let rate = |tokens: usize, time: Duration| tokens as f64 / time.as_secs_f64();
    eprintln!(
        "prompt {:.1} tokens/s, then {:.1} tokens/s; {} launches and {:.1} MiB of weights a token, caches of {:.1} MiB",
        rate(prompt.len(), prefill),
        rate(made.len().saturating_sub(1), clock.elapsed()),
        decoder.token().launches(),
        model.weight_bytes() as f64 / f64::from(1 << 20),
        model.cache_bytes()? as f64 / f64::from(1 << 20),
    );
    tell_memory();
    Ok(())
}

/// The bytes of the model's file.
fn open(arguments: &Arguments) -> Result<impl Deref<Target = [u8]>> {
    // SAFETY: nobody changes the file meanwhile.
    #[allow(unsafe_code, reason = "the model stays in the file")]
    Ok(unsafe { import::map(&arguments.model)? })
}

/// The mean of numbers, and its standard error.
fn mean(numbers: &[f64]) -> [f64; 2] {
    let count = numbers.len() as f64;
    let mean = numbers.iter().sum::<f64>() / count;
    let squares = numbers.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
    [mean, (squares / (count - 1.0) / count).sqrt()]
}

/// Prints [`resident`].
fn tell_memory() {
    if let Some(memory) = resident() {
        eprintln!("{memory}");
    }
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

/// The most likely token.
pub(crate) fn greatest(logits: &[f32]) -> u32 {
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
    /// A token, of some in descending order of logits.
    fn draw(&mut self, logits: &[f32], tokens: &[i32]) -> u32 {
        let scaled: Vec<f32> = logits.iter().map(|logit| logit / self.temperature.max(1e-3)).collect();
        let shares: Vec<(i32, f64)> = tokens.iter().copied().zip(shares(&scaled)).collect();
        let before = |sum: &mut f64, share: f64| Some(std::mem::replace(sum, *sum + share));
        let sums = shares.iter().scan(0.0, |sum, (_, share)| before(sum, *share));
        let count = sums.take_while(|&sum| sum < self.top_p).count().max(1);
        let total: f64 = shares[..count].iter().map(|(_, share)| share).sum();
        let mut left = self.uniform() * total;
        let drawn = shares[..count].iter().find(|(_, share)| {
            left -= share;
            left <= 0.0
        });
        drawn.unwrap_or(&shares[0]).0 as u32
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
