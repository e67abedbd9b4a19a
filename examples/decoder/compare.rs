//! Logits of two sources for the same tokens, and the perplexity of a text. `scripts/llama-cpp` makes files of another program's logits.

use std::ops::Range;
use std::path::PathBuf;
use std::str::FromStr;

use lowbit::{Context, Tensor};

use crate::device::Decoder;
use crate::model::{Model, Wanted};
use crate::tokenizer::Vocabulary;
use crate::{Result, greatest};

/// A source of logits.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    Device,
    /// float64 on the CPU, with caches and activations of float32.
    Reference,
    File(PathBuf),
}

impl FromStr for Source {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        Ok(match text {
            "device" => Self::Device,
            "reference" => Self::Reference,
            file => Self::File(file.into()),
        })
    }
}

/// Tokens appended one by one at the end of a prompt, after its chunks.
const SINGLES: usize = 8;

/// Tokens, and a row of logits for each of some positions.
pub(crate) struct Logits {
    tokens: Vec<u32>,
    positions: Vec<usize>,
    rows: Vec<f32>,
}

impl Logits {
    /// Reads words of 32 bits, little endian: the numbers of tokens and of logits in a row, and the first position; the tokens;
    /// and rows for all positions from the first on, in float32.
    fn read(path: &PathBuf) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let words: Vec<u32> = bytes.as_chunks().0.iter().map(|&word| u32::from_le_bytes(word)).collect();
        let parts = words.split_at_checked(3).and_then(|(header, rest)| {
            let [tokens, width, first] = [0, 1, 2].map(|i| header[i] as usize);
            let (tokens, rows) = rest.split_at_checked(tokens)?;
            let rows_expected = tokens.len().checked_sub(first)?;
            (rows_expected.checked_mul(width) == Some(rows.len())).then_some((tokens, first, rows))
        });
        let Some((tokens, first, rows)) = parts else {
            return Err(format!("{} is no file of logits", path.display()).into());
        };
        let rows = rows.iter().map(|&word| f32::from_bits(word)).collect();
        Ok(Self { tokens: tokens.to_vec(), positions: (first..tokens.len()).collect(), rows })
    }
}

/// Compares the logits of two sources. Tokens and positions are those of a file; without one they are the prompt's, at the end of each
/// chunk and at the last eight tokens.
pub(crate) fn compare(
    [expected, got]: [&Source; 2],
    prompt: &[u32],
    [exact, model]: [&Model; 2],
    chunk: usize,
    vocabulary: &Vocabulary,
) -> Result<()> {
    let read = |source: &Source| if let Source::File(path) = source { Some(Logits::read(path)) } else { None };
    let files = [read(expected).transpose()?, read(got).transpose()?];
    let file = files.iter().flatten().next();
    let tokens = file.map_or(prompt, |file| &file.tokens);
    if !tokens.starts_with(prompt) {
        return Err(format!("the prompt is {prompt:?}, but the file's tokens are {tokens:?}").into());
    }
    let first = file.map_or(tokens.len().saturating_sub(SINGLES), |file| file.positions[0]);
    let chunks = (0..first).step_by(chunk).map(|begin| begin..(begin + chunk).min(first));
    let pieces: Vec<Range<usize>> = chunks.chain((first..tokens.len()).map(|i| i..i + 1)).collect();
    let positions = match file {
        Some(file) => file.positions.clone(),
        None => pieces.iter().map(|piece| piece.end - 1).collect(),
    };
    if files.iter().flatten().any(|other| other.tokens != tokens || other.positions != positions) {
        return Err("the files are of different tokens or positions".into());
    }
    let logits = |source: &Source, file: &Option<Logits>| match (source, file) {
        (_, Some(file)) => Ok(file.rows.clone()),
        (Source::Device, _) => on_device(model, tokens, &pieces, &positions, chunk),
        _ => by_reference(exact, tokens, &positions),
    };
    let [expected, got] = [logits(expected, &files[0])?, logits(got, &files[1])?];
    let width = model.vocabulary();
    if expected.len() != positions.len() * width || got.len() != expected.len() {
        return Err(format!("rows of logits are not of {width}: the file is another model's").into());
    }
    let (mut worst, mut same, mut divergence, mut largest) = (0.0f32, 0, 0.0, 0.0f64);
    for ((&position, expected), got) in positions.iter().zip(expected.chunks(width)).zip(got.chunks(width)) {
        let difference = expected.iter().zip(got).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let here = kullback_leibler(expected, got);
        (worst, largest, divergence) = (worst.max(difference), largest.max(here), divergence + here);
        let best = [greatest(expected), greatest(got)];
        same += usize::from(best[0] == best[1]);
        if best[0] != best[1] {
            let gap = expected[best[0] as usize] - expected[best[1] as usize];
            let [one, other] = [vocabulary.decode(&best[..1])?, vocabulary.decode(&best[1..])?];
            println!(
                "token {position}: {other:?} instead of {one:?}, {gap:.2e} apart there; logits differ by up to {difference:.2e}"
            );
        }
    }
    let count = positions.len();
    println!(
        "{count} positions of {} tokens: logits differ by at most {worst:.2e}, KL divergence {:.2e} (at most {largest:.2e}), {same} most \
         likely tokens equal",
        tokens.len(),
        divergence / count as f64
    );
    Ok(())
}

/// Logits as the device makes them while it appends tokens in pieces.
fn on_device(
    model: &Model,
    tokens: &[u32],
    pieces: &[Range<usize>],
    positions: &[usize],
    chunk: usize,
) -> Result<Vec<f32>> {
    let context = Context::new_blocking()?;
    let mut decoder = Decoder::new(&context, model, chunk, &Wanted::Token)?;
    let mut rows = Vec::new();
    for piece in pieces {
        decoder.append(&tokens[piece.clone()])?;
        if positions.contains(&(piece.end - 1)) {
            rows.extend(decoder.logits()?);
        }
    }
    Ok(rows)
}

fn by_reference(model: &Model, tokens: &[u32], positions: &[usize]) -> Result<Vec<f32>> {
    let ids = Tensor::new([tokens.len()], tokens.iter().map(|&token| token as i32).collect::<Vec<_>>())?;
    let position = Tensor::new([1], vec![0])?;
    let kept = model.kept()?;
    let inputs: Vec<&Tensor> = [&ids, &position].into_iter().chain(&kept).collect();
    let graph = model.graph(tokens.len(), &Wanted::Logits(Some(positions.to_vec())))?;
    Ok(graph.run_reference(&inputs)?.remove(0).values::<f32>()?.to_vec())
}

/// Probabilities of the elements of a row.
pub(crate) fn shares(logits: &[f32]) -> Vec<f64> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f64> = logits.iter().map(|&logit| f64::from(logit - most).exp()).collect();
    let total: f64 = powers.iter().sum();
    powers.iter().map(|power| power / total).collect()
}

fn kullback_leibler(expected: &[f32], got: &[f32]) -> f64 {
    let (p, q) = (shares(expected), shares(got));
    p.iter().zip(&q).filter(|(p, _)| **p > 0.0).map(|(p, q)| p * (p / q.max(f64::MIN_POSITIVE)).ln()).sum()
}

/// Negative logarithms of the probabilities of tokens, for those in the second half of each window: those have context. A window begins
/// with empty caches.
pub(crate) fn surprises(
    context: &Context,
    model: &Model,
    tokens: &[u32],
    window: usize,
    chunk: usize,
) -> Result<Vec<f64>> {
    let mut decoder = Decoder::new(context, model, chunk, &Wanted::Logits(None))?;
    let mut found = Vec::new();
    for window_tokens in tokens.chunks(window).filter(|tokens| tokens.len() > window / 2) {
        decoder.length = 0;
        for begin in (0..window_tokens.len()).step_by(chunk) {
            let piece = begin..(begin + chunk).min(window_tokens.len());
            decoder.append(&window_tokens[piece.clone()])?;
            let wanted = |position: &usize| *position + 1 >= window / 2 && *position + 1 < window_tokens.len();
            if !piece.clone().any(|position| wanted(&position)) {
                continue;
            }
            let logits = decoder.logits()?;
            for (position, row) in piece.zip(logits.chunks(model.vocabulary())).filter(|(position, _)| wanted(position))
            {
                let share = shares(row)[window_tokens[position + 1] as usize];
                found.push(-share.max(f64::MIN_POSITIVE).ln());
            }
        }
    }
    if found.is_empty() {
        return Err(format!("the text has {} tokens: give it more than {}", tokens.len(), window / 2).into());
    }
    Ok(found)
}
