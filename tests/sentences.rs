//! The encoder of the example `sentences`, with random weights and a tiny size, on a GPU and in the reference. It is compared with
//! a plain computation in f64, in float and with quantized weights.

mod common;
#[path = "../examples/sentences/encoder.rs"]
mod encoder;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::{Random, context};
use encoder::{Batch, Config, Encoder, Precision, Result};
use lowbit::ptq::Moments;
use lowbit::weights::{Codes, GroupScaleRule, Quantizer, ScaleFormat, Search, WeightFormat};
use lowbit::{Tensor, Tuner};
use safetensors::tensor::{Dtype, TensorView};

const HIDDEN: usize = 24;
const HEADS: usize = 3;
const WIDE: usize = 40;
const LAYERS: usize = 2;
const WORDS: usize = 30;

/// Names, shapes and values as in a file.
fn file(random: &mut Random) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    let mut tensors = BTreeMap::new();
    let mut add = |name: &str, shape: &[usize], middle: f32, size: f32| {
        let values = (0..shape.iter().product()).map(|_| middle + size * random.real()).collect();
        tensors.insert(name.to_string(), (shape.to_vec(), values));
    };
    add("embeddings.word_embeddings.weight", &[WORDS, HIDDEN], 0.0, 1.0);
    add("embeddings.position_embeddings.weight", &[12, HIDDEN], 0.0, 0.3);
    add("embeddings.token_type_embeddings.weight", &[2, HIDDEN], 0.0, 0.3);
    let mut norms = vec!["embeddings".to_string()];
    for i in 0..LAYERS {
        for (name, n, k) in [
            ("attention.self.query", HIDDEN, HIDDEN),
            ("attention.self.key", HIDDEN, HIDDEN),
            ("attention.self.value", HIDDEN, HIDDEN),
            ("attention.output.dense", HIDDEN, HIDDEN),
            ("intermediate.dense", WIDE, HIDDEN),
            ("output.dense", HIDDEN, WIDE),
        ] {
            add(&format!("encoder.layer.{i}.{name}.weight"), &[n, k], 0.0, 0.3);
            add(&format!("encoder.layer.{i}.{name}.bias"), &[n], 0.0, 0.1);
        }
        norms.extend(["attention.output", "output"].map(|name| format!("encoder.layer.{i}.{name}")));
    }
    for norm in norms {
        add(&format!("{norm}.LayerNorm.weight"), &[HIDDEN], 1.0, 0.1);
        add(&format!("{norm}.LayerNorm.bias"), &[HIDDEN], 0.0, 0.1);
    }
    tensors
}

/// BERT word by word, in f64.
struct Plain(BTreeMap<String, (Vec<usize>, Vec<f32>)>);

impl Plain {
    fn get(&self, name: &str) -> Vec<f64> {
        self.0[name].1.iter().map(|&x| x.into()).collect()
    }

    fn linear(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let (weights, bias) = (self.get(&format!("{name}.weight")), self.get(&format!("{name}.bias")));
        let dot = |row: &[f64]| row.iter().zip(x).map(|(w, x)| w * x).sum::<f64>();
        weights.chunks_exact(x.len()).zip(bias).map(|(row, bias)| dot(row) + bias).collect()
    }

    fn norm(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64;
        let [scale, shift] = ["weight", "bias"].map(|part| self.get(&format!("{name}.LayerNorm.{part}")));
        let each = |(i, x): (usize, &f64)| (x - mean) / (variance + 1e-12).sqrt() * scale[i] + shift[i];
        x.iter().enumerate().map(each).collect()
    }

    fn embed(&self, sentence: &[u32]) -> Vec<f64> {
        let [words, places, kinds] =
            ["word", "position", "token_type"].map(|n| self.get(&format!("embeddings.{n}_embeddings.weight")));
        let first = |(place, &word): (usize, &u32)| {
            let sum: Vec<f64> = (0..HIDDEN)
                .map(|c| words[word as usize * HIDDEN + c] + places[place * HIDDEN + c] + kinds[c])
                .collect();
            self.norm("embeddings", &sum)
        };
        let mut x: Vec<Vec<f64>> = sentence.iter().enumerate().map(first).collect();
        for i in 0..LAYERS {
            let name = |end: &str| format!("encoder.layer.{i}.{end}");
            let [q, k, v] = ["query", "key", "value"].map(|part| {
                x.iter().map(|x| self.linear(&name(&format!("attention.self.{part}")), x)).collect::<Vec<_>>()
            });
            let width = HIDDEN / HEADS;
            let mut next = Vec::new();
            for (word, x) in x.iter().enumerate() {
                let mut context = vec![0.0; HIDDEN];
                for head in 0..HEADS {
                    let own = head * width..(head + 1) * width;
                    let score = |k: &Vec<f64>| {
                        let products = q[word][own.clone()].iter().zip(&k[own.clone()]).map(|(a, b)| a * b);
                        (products.sum::<f64>() / (width as f64).sqrt()).exp()
                    };
                    let scores: Vec<f64> = k.iter().map(score).collect();
                    let total: f64 = scores.iter().sum();
                    for (score, v) in scores.iter().zip(&v) {
                        own.clone().for_each(|c| context[c] += score / total * v[c]);
                    }
                }
                let sum = |a: &[f64], b: &[f64]| -> Vec<f64> { a.iter().zip(b).map(|(a, b)| a + b).collect() };
                let attended = self.linear(&name("attention.output.dense"), &context);
                let x = self.norm(&name("attention.output"), &sum(x, &attended));
                let gelu = |x: f64| x / 2.0 * (1.0 + erf(x / 2f64.sqrt()));
                let wide: Vec<f64> = self.linear(&name("intermediate.dense"), &x).into_iter().map(gelu).collect();
                let narrow = self.linear(&name("output.dense"), &wide);
                next.push(self.norm(&name("output"), &sum(&x, &narrow)));
            }
            x = next;
        }
        let mean: Vec<f64> = (0..HIDDEN).map(|c| x.iter().map(|x| x[c]).sum::<f64>() / x.len() as f64).collect();
        let length = mean.iter().map(|x| x * x).sum::<f64>().sqrt();
        mean.into_iter().map(|x| x / length).collect()
    }
}

/// `2 / √π · Σ (−1)^n x^(2n + 1) / (n! (2n + 1))`, accurate to ten digits up to 4.
fn erf(x: f64) -> f64 {
    let (mut power, mut sum) = (x, x);
    for n in 1..120 {
        power *= -x * x / f64::from(n);
        sum += power / f64::from(2 * n + 1);
    }
    if x.abs() > 4.0 { x.signum() } else { sum * 2.0 / std::f64::consts::PI.sqrt() }
}

fn encoder(tensors: &BTreeMap<String, (Vec<usize>, Vec<f32>)>) -> Result<Encoder> {
    let bytes: BTreeMap<&String, Vec<u8>> = tensors
        .iter()
        .map(|(name, (_, values))| (name, values.iter().flat_map(|x| x.to_le_bytes()).collect()))
        .collect();
    let view = |(name, (shape, _)): (&String, &(Vec<usize>, Vec<f32>))| {
        Ok((name.clone(), TensorView::new(Dtype::F32, shape.clone(), &bytes[name])?))
    };
    let views: Vec<_> = tensors.iter().map(view).collect::<Result<_>>()?;
    let config =
        Config { hidden_size: HIDDEN, num_attention_heads: HEADS, num_hidden_layers: LAYERS, layer_norm_eps: 1e-12 };
    Encoder::new(config, &safetensors::serialize(views, None)?)
}

/// Least cosine of embeddings of length 1.
fn least_cosine(embeddings: &Tensor, expected: &[Vec<f64>]) -> Result<f64> {
    let rows = embeddings.values::<f32>()?.chunks_exact(HIDDEN).zip(expected);
    let cosine = |(a, b): (&[f32], &Vec<f64>)| a.iter().zip(b).map(|(&a, b)| f64::from(a) * b).sum::<f64>();
    Ok(rows.map(cosine).fold(1.0, f64::min))
}

#[test]
fn embeddings_are_those_of_a_plain_computation() -> Result<()> {
    let mut random = Random::new(9_201);
    let tensors = file(&mut random);
    let encoder = encoder(&tensors)?;
    let mut sentence =
        |length: usize| -> Vec<u32> { (0..length).map(|_| random.integer(0, WORDS as i64 - 1) as u32).collect() };
    let batch = Batch::new([7, 1, 4, 12].map(&mut sentence).to_vec());
    let plain = Plain(tensors);
    let expected: Vec<Vec<f64>> = batch.sentences.iter().map(|sentence| plain.embed(sentence)).collect();

    let float = Precision::default();
    let graph = encoder.graph(batch.shape(), &float, true)?;
    let inputs = encoder.inputs(&batch, &float)?;
    let inputs: Vec<&Tensor> = inputs.iter().collect();
    let made = graph.run_reference(&inputs)?;
    let near = |embeddings: &Tensor| -> Result<()> {
        let expected: Vec<f64> = expected.concat();
        for (i, (&got, expected)) in embeddings.values::<f32>()?.iter().zip(&expected).enumerate() {
            // Some hundred consecutive f32 operations on numbers around 1.
            assert!((f64::from(got) - expected).abs() < 2e-5, "element {i} is {got}, expected {expected}");
        }
        Ok(())
    };
    near(&made[0])?;

    // Quantized weights; GPTQ uses the moments of the taps.
    let row = WeightFormat::new(Codes::INT8, usize::MAX, ScaleFormat::F32);
    let table = Quantizer::new(row)?.quantize(encoder.tensor("embeddings.word_embeddings.weight")?)?;
    let int8 = Quantizer::new(row)?.rule(GroupScaleRule::Narrow)?;
    let int4 = Quantizer::new(WeightFormat::new(Codes::UINT4, 32, ScaleFormat::F16Offset))?.search(Search::default())?;
    let mut precisions = [
        Precision { words: Some(Arc::new(table)), int8_inputs: true, ..Precision::default() },
        Precision::default(),
        Precision::default(),
    ];
    for ((_, names), tapped) in encoder.linears().into_iter().zip(&made[1..]) {
        let k = tapped.tensor_type().shape().row_length();
        let mut moments = Moments::new(k)?;
        moments.add(tapped)?;
        for name in names {
            let weights = encoder.tensor(&format!("{name}.weight"))?;
            assert_eq!(weights.dims()[1], k, "{name} reads another input");
            let made = [int8.quantize(weights)?, int4.quantize(weights)?, moments.gptq(weights, &int4)?];
            for (precision, weights) in precisions.iter_mut().zip(made) {
                precision.linears.insert(name.clone(), Arc::new(weights));
            }
        }
    }
    let mut cosines = Vec::new();
    let context = context();
    if let Some(context) = &context {
        near(
            &context.plan(&encoder.graph(batch.shape(), &float, false)?, Tuner::FirstGuess)?.run_blocking(&inputs)?[0],
        )?;
    }
    for (number, precision) in precisions.iter().enumerate() {
        assert!(encoder.bytes(precision) < encoder.bytes(&float));
        let graph = encoder.graph(batch.shape(), precision, false)?;
        let inputs = encoder.inputs(&batch, precision)?;
        let inputs: Vec<&Tensor> = inputs.iter().collect();
        let reference = graph.run_reference(&inputs)?.remove(0);
        cosines.push(least_cosine(&reference, &expected)?);
        let Some(context) = &context else { continue };
        let got = context.plan(&graph, Tuner::FirstGuess)?.run_blocking(&inputs)?.remove(0);
        // An activation near the middle between two codes may become either.
        let own: Vec<Vec<f64>> = reference
            .values::<f32>()?
            .chunks_exact(HIDDEN)
            .map(|row| row.iter().map(|&x| x.into()).collect())
            .collect();
        assert!(least_cosine(&got, &own)? > 1.0 - 1e-4, "precision {number}");
    }
    println!("least cosines: W8A8 {:.5}, W4 searched {:.5}, W4 GPTQ {:.5}", cosines[0], cosines[1], cosines[2]);
    assert!(cosines[0] > 0.999 && cosines[1] > 0.95 && cosines[2] > 0.95, "{cosines:?}");
    Ok(())
}
