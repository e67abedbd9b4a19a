//! A BERT encoder over sentences as a graph, with weights from a file. Linear layers are in float, with dynamic int8 activations
//! or with codes in groups. Its inputs and the comparison of its outputs are in `main.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;

use lowbit::ops::{
    Arithmetic, DynamicGranularity, DynamicQuantize, Embedding, FloatBinary, FloatMatmul, FloatUnary, Function,
    LayerNorm, Linear, Softmax, Transpose,
};
use lowbit::weights::PackedWeights;
use lowbit::{DType, Graph, Tensor, TensorType, Value};
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

pub(crate) type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// The fields of `config.json` that determine the computation.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Config {
    pub(crate) hidden_size: usize,
    pub(crate) num_attention_heads: usize,
    pub(crate) num_hidden_layers: usize,
    pub(crate) layer_norm_eps: f32,
}

/// The float encoder.
#[derive(Debug)]
pub(crate) struct Encoder {
    pub(crate) config: Config,
    tensors: BTreeMap<String, Tensor>,
}

/// Linear layers that share an input, by the ends of their names.
const INPUTS: [(&str, &[&str]); 4] = [
    ("attention", &["attention.self.query", "attention.self.key", "attention.self.value"]),
    ("context", &["attention.output.dense"]),
    ("expansion", &["intermediate.dense"]),
    ("contraction", &["output.dense"]),
];

/// Quantized weights of a precision; all other weights are float.
#[derive(Debug, Clone, Default)]
pub(crate) struct Precision {
    /// The word embeddings.
    pub(crate) words: Option<Arc<PackedWeights>>,
    /// Linear layers by name.
    pub(crate) linears: BTreeMap<String, Arc<PackedWeights>>,
    /// True if inputs of linear layers become int8 codes, with a scale per token.
    pub(crate) int8_inputs: bool,
}

/// Sentences as word numbers, padded to one length.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) sentences: Vec<Vec<u32>>,
    pub(crate) length: usize,
}

impl Encoder {
    pub(crate) fn new(config: Config, file: &[u8]) -> Result<Self> {
        let file = SafeTensors::deserialize(file)?;
        let mut tensors = BTreeMap::new();
        for (name, view) in file.tensors() {
            if view.dtype() == Dtype::F32 {
                let values = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
                let tensor = Tensor::new(view.shape(), values.collect::<Vec<f32>>())?;
                tensors.insert(name.trim_start_matches("bert.").to_string(), tensor);
            }
        }
        Ok(Self { config, tensors })
    }

    pub(crate) fn tensor(&self, name: &str) -> Result<&Tensor> {
        Ok(self.tensors.get(name).ok_or_else(|| format!("the file has no float32 tensor {name}"))?)
    }

    /// All linear layers, grouped by their input.
    pub(crate) fn linears(&self) -> Vec<(String, Vec<String>)> {
        let layer = |i: usize| {
            INPUTS.iter().map(move |(input, names)| {
                let names = names.iter().map(|name| format!("encoder.layer.{i}.{name}")).collect();
                (format!("{input} {i}"), names)
            })
        };
        (0..self.config.num_hidden_layers).flat_map(layer).collect()
    }

    /// Bytes of all weights in this precision.
    pub(crate) fn bytes(&self, precision: &Precision) -> usize {
        let float = |name: &String, tensor: &Tensor| {
            let coded = name.strip_suffix(".weight").is_some_and(|name| {
                precision.linears.contains_key(name)
                    || (name == "embeddings.word_embeddings" && precision.words.is_some())
            });
            if coded { 0 } else { 4 * tensor.tensor_type().shape().elements() }
        };
        let rest: usize = self.tensors.iter().map(|(name, tensor)| float(name, tensor)).sum();
        let codes = precision.linears.values().chain(&precision.words).map(|weights| weights.bytes());
        rest + codes.sum::<usize>()
    }

    /// Graph for `batch` sentences of `length` words. Its inputs are those of [`inputs`](Self::inputs). Its first output is an
    /// embedding of length 1 per sentence. With `taps` the inputs of the linear layers follow, in the order of
    /// [`linears`](Self::linears).
    pub(crate) fn graph(&self, [batch, length]: [usize; 2], precision: &Precision, taps: bool) -> Result<Graph> {
        let Config { hidden_size: hidden, num_attention_heads: heads, layer_norm_eps, .. } = self.config;
        let tokens = batch * length;
        let real = |dims: &[usize]| TensorType::new(DType::Float32, dims);
        let mut graph = Graph::new();
        let words = match &precision.words {
            None => graph.input(real(&[batch, length, hidden])?),
            Some(table) => {
                let numbers = TensorType::int32([batch, length])?;
                let words = Embedding::new(numbers.clone(), table.clone()).build()?;
                let numbers = graph.input(numbers);
                graph.add(words, &[numbers])?
            }
        };
        let places = graph.input(real(&[length, hidden])?);
        let mask = graph.input(real(&[batch, 1, 1, length])?);
        let shares = graph.input(real(&[batch, 1, length])?);
        let mut tapped = Vec::new();

        let norm = |graph: &mut Graph, name: &str, x: Value| -> Result<Value> {
            let [scale, shift] =
                ["weight", "bias"].map(|part| self.tensor(&format!("{name}.LayerNorm.{part}")).cloned());
            let norm = LayerNorm::new(graph.tensor_type(x)?.clone(), scale?, layer_norm_eps).shift(shift?).build()?;
            Ok(graph.add(norm, &[x])?)
        };
        let x = add(&mut graph, words, places)?;
        let x = norm(&mut graph, "embeddings", x)?;
        let mut x = graph.reshape(x, [tokens, hidden])?;
        for layer in 0..self.config.num_hidden_layers {
            let name = |end: &str| format!("encoder.layer.{layer}.{end}");
            let [query, key, value] = ["query", "key", "value"].map(|part| name(&format!("attention.self.{part}")));
            tapped.push(x);
            let mut made = self.linear(&mut graph, precision, x, &[&query, &key, &value])?;
            for value in &mut made {
                let split = graph.reshape(*value, [batch, length, heads, hidden / heads])?;
                let by_head = Transpose::new(graph.tensor_type(split)?.clone(), [0, 2, 1, 3])?;
                *value = graph.add(by_head, &[split])?;
            }
            let by_head = graph.tensor_type(made[0])?.clone();
            let products = FloatMatmul::new(by_head.clone(), by_head.clone()).transposed_rhs().build()?;
            let scores = graph.add(products, &[made[0], made[1]])?;
            let scores = add(&mut graph, scores, mask)?;
            let scores_type = graph.tensor_type(scores)?.clone();
            let softmax = Softmax::new(scores_type.clone()).scaled(((hidden / heads) as f32).sqrt().recip()).build()?;
            let attention = graph.add(softmax, &[scores])?;
            let context = graph.add(FloatMatmul::new(scores_type, by_head).build()?, &[attention, made[2]])?;
            let by_token = Transpose::new(graph.tensor_type(context)?.clone(), [0, 2, 1, 3])?;
            let context = graph.add(by_token, &[context])?;
            let context = graph.reshape(context, [tokens, hidden])?;
            tapped.push(context);
            let context = self.linear(&mut graph, precision, context, &[&name("attention.output.dense")])?[0];
            let sum = add(&mut graph, x, context)?;
            x = norm(&mut graph, &name("attention.output"), sum)?;
            tapped.push(x);
            let wide = self.linear(&mut graph, precision, x, &[&name("intermediate.dense")])?[0];
            let gelu = FloatUnary::new(graph.tensor_type(wide)?.clone(), Function::Gelu)?;
            let wide = graph.add(gelu, &[wide])?;
            tapped.push(wide);
            let narrow = self.linear(&mut graph, precision, wide, &[&name("output.dense")])?[0];
            let sum = add(&mut graph, x, narrow)?;
            x = norm(&mut graph, &name("output"), sum)?;
        }
        // The mean over the words of each sentence, scaled to length 1: normalized to root mean square 1, then divided by the root
        // of the width.
        let x = graph.reshape(x, [batch, length, hidden])?;
        let mean = FloatMatmul::new(real(&[batch, 1, length])?, graph.tensor_type(x)?.clone()).build()?;
        let mean = graph.add(mean, &[shares, x])?;
        let mean = graph.reshape(mean, [batch, hidden])?;
        let size = Tensor::new([hidden], vec![(hidden as f32).sqrt().recip(); hidden])?;
        let to_length_1 = LayerNorm::new(graph.tensor_type(mean)?.clone(), size, 1e-12).without_mean().build()?;
        let embeddings = graph.add(to_length_1, &[mean])?;
        graph.output(embeddings);
        if taps {
            tapped.into_iter().for_each(|value| graph.output(value));
        }
        Ok(graph)
    }

    /// Outputs of the linear layers over one input, which is quantized once.
    fn linear(&self, graph: &mut Graph, precision: &Precision, x: Value, names: &[&str]) -> Result<Vec<Value>> {
        let own = graph.tensor_type(x)?.clone();
        let coded = names.iter().any(|&name| precision.linears.contains_key(name));
        let codes = match coded && precision.int8_inputs {
            false => None,
            true => {
                let rows = DynamicQuantize::new(own.clone(), DType::Int8, DynamicGranularity::Row).build()?;
                Some(graph.add_all(rows, &[x])?)
            }
        };
        let mut made = Vec::new();
        for &name in names {
            let bias = self.tensor(&format!("{name}.bias"))?.clone();
            made.push(match (precision.linears.get(name), &codes) {
                (None, _) => {
                    let weights = self.tensor(&format!("{name}.weight"))?.clone();
                    let product = FloatMatmul::new(own.clone(), weights).transposed_rhs().bias(bias).build()?;
                    graph.add(product, &[x])?
                }
                (Some(weights), None) => {
                    graph.add(Linear::new(own.clone(), weights.clone()).bias(bias).build()?, &[x])?
                }
                (Some(weights), Some(codes)) => {
                    let lhs = graph.tensor_type(codes[0])?.clone();
                    let linear = Linear::new(lhs, weights.clone()).dynamic_lhs(DynamicGranularity::Row).bias(bias);
                    graph.add(linear.build()?, &codes[..])?
                }
            });
        }
        Ok(made)
    }

    /// Inputs of the graph for this batch: the words (float embeddings, or word numbers for quantized embeddings), the sum of the
    /// position and token type embeddings, a mask over the padding, and the weight of each word in the mean.
    pub(crate) fn inputs(&self, batch: &Batch, precision: &Precision) -> Result<Vec<Tensor>> {
        let (hidden, count, length) = (self.config.hidden_size, batch.sentences.len(), batch.length);
        let numbers: Vec<u32> = batch.padded().collect();
        let words = match &precision.words {
            Some(_) => Tensor::new([count, length], numbers.iter().map(|&n| n as i32).collect::<Vec<_>>())?,
            None => {
                let table = self.tensor("embeddings.word_embeddings.weight")?;
                let rows = table.values::<f32>()?;
                let row = |&n: &u32| rows.get(n as usize * hidden..(n as usize + 1) * hidden);
                let words: Option<Vec<&[f32]>> = numbers.iter().map(row).collect();
                let words =
                    words.ok_or("a word is beyond the table of embeddings: the tokenizer is another model's")?;
                Tensor::new([count, length, hidden], words.concat())?
            }
        };
        let places = self.tensor("embeddings.position_embeddings.weight")?.values::<f32>()?;
        let kind = &self.tensor("embeddings.token_type_embeddings.weight")?.values::<f32>()?[..hidden];
        let places = places.get(..length * hidden).ok_or("the sentences are longer than the model's places")?;
        let places: Vec<f32> = places.iter().zip(kind.iter().cycle()).map(|(a, b)| a + b).collect();
        let (mut mask, mut shares) = (Vec::new(), Vec::new());
        for sentence in &batch.sentences {
            let own = sentence.len();
            mask.extend((0..length).map(|i| if i < own { 0.0f32 } else { -10_000.0 }));
            shares.extend((0..length).map(|i| if i < own { 1.0 / own as f32 } else { 0.0 }));
        }
        Ok(vec![
            words,
            Tensor::new([length, hidden], places)?,
            Tensor::new([count, 1, 1, length], mask)?,
            Tensor::new([count, 1, length], shares)?,
        ])
    }
}

impl Batch {
    pub(crate) fn new(sentences: Vec<Vec<u32>>) -> Self {
        let length = sentences.iter().map(Vec::len).max().unwrap_or(0);
        Self { sentences, length }
    }

    pub(crate) fn shape(&self) -> [usize; 2] {
        [self.sentences.len(), self.length]
    }

    /// The words of all sentences; padding is 0.
    fn padded(&self) -> impl Iterator<Item = u32> {
        self.sentences.iter().flat_map(|s| (0..self.length).map(|i| s.get(i).copied().unwrap_or(0)))
    }

    /// True for each padded word that is no padding.
    #[allow(dead_code, reason = "not every user calibrates")]
    pub(crate) fn words(&self) -> impl Iterator<Item = bool> {
        self.sentences.iter().flat_map(|s| (0..self.length).map(|i| i < s.len()))
    }
}

fn add(graph: &mut Graph, a: Value, b: Value) -> Result<Value> {
    let [lhs, rhs] = [a, b].map(|value| graph.tensor_type(value).cloned());
    Ok(graph.add(FloatBinary::new(lhs?, rhs?, Arithmetic::Add)?, &[a, b])?)
}
