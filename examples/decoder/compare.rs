//! Logits of two sources for the same tokens, and the perplexity of a text. `scripts/llama-cpp` makes files of another program's
//! logits.

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
    /// Reads words of 32 bits, little endian: the numbers of tokens, positions and logits in a row; then the tokens, the positions
    /// in ascending order, and the rows in float32.
    fn read(path: &PathBuf) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let words: Vec<u32> = bytes.as_chunks().0.iter().map(|&word| u32::from_le_bytes(word)).collect();
        let parts = words.split_at_checked(3).and_then(|(header, rest)| {
            let [tokens, positions, width] = [0, 1, 2].map(|i| header[i] as usize);
            let (tokens, rest) = rest.split_at_checked(tokens)?;
            let (positions, rows) = rest.split_at_checked(positions)?;
            let ascending = positions.is_sorted_by(|a, b| a < b) && (*positions.last()? as usize) < tokens.len();
            (ascending && positions.len().checked_mul(width)? == rows.len()).then_some((tokens, positions, rows))
        });
        let Some((tokens, positions, rows)) = parts else {
            return Err(format!("{} is no file of logits", path.display()).into());
        };
        let positions = positions.iter().map(|&position| position as usize).collect();
        Ok(Self { tokens: tokens.to_vec(), positions, rows: rows.iter().map(|&word| f32::from_bits(word)).collect() })
    }

    fn write(&self, path: &PathBuf) -> Result<()> {
        let counts = [self.tokens.len(), self.positions.len(), self.rows.len() / self.positions.len()];
        let counts = counts.iter().chain(&self.positions).map(|&count| count as u32).collect::<Vec<_>>();
        let (header, positions) = counts.split_at(3);
        let rows = self.rows.iter().map(|logit| logit.to_bits());
        let words = header.iter().chain(&self.tokens).chain(positions).copied().chain(rows);
        Ok(std::fs::write(path, words.flat_map(u32::to_le_bytes).collect::<Vec<_>>())?)
    }
}

/// Compares the logits of two sources. Tokens and positions are those of a file; without one they are the prompt's, at the end of
/// each chunk and at the last eight tokens. The expected logits are also written to a file, if one is given.
pub(crate) fn compare(
    [expected, got]: [&Source; 2],
    prompt: &[u32],
    [exact, model]: [&Model; 2],
    chunk: usize,
    vocabulary: &Vocabulary,
    save: Option<&PathBuf>,
) -> Result<()> {
    let read = |source: &Source| if let Source::File(path) = source { Some(Logits::read(path)) } else { None };
    let files = [read(expected).transpose()?, read(got).transpose()?];
    let file = files.iter().flatten().next();
    let tokens = file.map_or(prompt, |file| &file.tokens);
    if !tokens.starts_with(prompt) {
        return Err(format!("the prompt is {prompt:?}, but the file's tokens are {tokens:?}").into());
    }
    if tokens.is_empty() || tokens.len() > model.capacity() {
        let (tokens, most) = (tokens.len(), model.capacity());
        return Err(format!("there are {tokens} tokens, but 1 to {most} (--capacity) are possible").into());
    }
    let singles = tokens.len().saturating_sub(SINGLES);
    let ends = || (chunk..=singles).step_by(chunk).map(|end| end - 1).filter(|&end| end < singles);
    let positions = file.map_or_else(|| ends().chain(singles..tokens.len()).collect(), |file| file.positions.clone());
    if files.iter().flatten().any(|other| other.tokens != tokens || other.positions != positions) {
        return Err("the files are of different tokens or positions".into());
    }
    let logits = |source: &Source, file: &Option<Logits>| match (source, file) {
        (_, Some(file)) => Ok(file.rows.clone()),
        (Source::Device, _) => on_device(model, tokens, &positions, chunk),
        _ => by_reference(exact, tokens, &positions),
    };
    let expected = logits(expected, &files[0])?;
    if let Some(path) = save {
        let logits = Logits { tokens: tokens.to_vec(), positions: positions.clone(), rows: expected.clone() };
        logits.write(path)?;
    }
    let got = logits(got, &files[1])?;
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
                "token {}: {other:?} instead of {one:?}, whose expected logits are {gap:.2e} apart; logits differ by up to \
                 {difference:.2e}",
                position + 1
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

/// Logits as the device makes them while it appends tokens, up to a chunk at once.
fn on_device(model: &Model, tokens: &[u32], positions: &[usize], chunk: usize) -> Result<Vec<f32>> {
    let context = Context::new_blocking()?;
    let mut decoder = Decoder::new(&context, model, chunk, &Wanted::Token)?;
    let mut rows = Vec::new();
    for &position in positions {
        tokens[decoder.length..=position].chunks(chunk).try_for_each(|tokens| decoder.append(tokens))?;
        rows.extend(decoder.logits()?);
    }
    Ok(rows)
}

fn by_reference(model: &Model, tokens: &[u32], positions: &[usize]) -> Result<Vec<f32>> {
    let ids = Tensor::new([tokens.len()], tokens.iter().map(|&token| token as i32).collect::<Vec<_>>())?;
    let position = Tensor::new([1], vec![0])?;
    let kept = model.kept()?.collect::<Result<Vec<_>>>()?;
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

/// Negative logarithms of the probabilities of tokens, for those in the second half of each window: those have context. A window
/// begins with empty caches.
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
