//! The graph of a decoder (Llama, Qwen 2 and 3, Gemma 2 and 3) with the weights of a GGUF file.

use std::fs::File;
use std::sync::{Arc, Mutex};

use lowbit::import::gguf::{GgufFile, GgufTensor, Value as Metadata};
use lowbit::numeric::QuantizationParams;
use lowbit::ops::{
    Append, AppendQuantized, ArgMax, Arithmetic, Attention, DynamicGranularity, DynamicQuantize, Embedding,
    FloatBinary, FloatUnary, Function, LayerNorm, Linear, Rotary, RotaryPairs, Slice, TopK,
};
use lowbit::weights::PackedWeights;
use lowbit::{DType, Graph, Tensor, TensorType, Value};

use crate::{Activations, Cache, Result};

/// Activations that share a scale, if they are int8. Single scales for whole rows cost ten times the error on trained models.
const GROUP: DynamicGranularity = DynamicGranularity::Group(32);

/// The architectures.
const KNOWN: [&str; 5] = ["llama", "qwen2", "qwen3", "gemma2", "gemma3"];

/// The sizes and the weights of a model.
pub(crate) struct Model {
    architecture: String,
    pairs: RotaryPairs,
    /// The function of a layer's gate.
    gate: Function,
    /// A factor of the embedding, in Gemma.
    embedding_scale: Option<f32>,
    attention_scale: f32,
    /// Limits of the scores of attention, and of the logits.
    soft_cap: Option<f32>,
    logit_cap: Option<f32>,
    heads: usize,
    kv_heads: usize,
    head_width: usize,
    rotary_width: usize,
    /// Frequencies of the rotations in layers without a window, and in those with one if they have their own.
    frequencies: Vec<Vec<f64>>,
    epsilon: f32,
    capacity: usize,
    activations: Activations,
    cache: Cache,
    embedding: Arc<PackedWeights>,
    layers: Vec<Layer>,
    norm: Arc<Tensor>,
    head: Arc<PackedWeights>,
}

struct Layer {
    attention_norm: Arc<Tensor>,
    query: Projection,
    key: Projection,
    value: Projection,
    /// Norms of each head of queries and keys.
    query_norm: Option<Arc<Tensor>>,
    key_norm: Option<Arc<Tensor>>,
    /// Positions that are seen, if not all.
    window: Option<usize>,
    output: Projection,
    after_attention: Option<Arc<Tensor>>,
    forward_norm: Arc<Tensor>,
    gate: Projection,
    up: Projection,
    down: Projection,
    after_forward: Option<Arc<Tensor>>,
}

struct Projection {
    weights: Arc<PackedWeights>,
    bias: Option<Arc<Tensor>>,
}

/// The outputs of a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The most likely token after the last one, then all logits there.
    Token,
    /// The largest logits after the last token and the tokens of these, then all logits there.
    Best(usize),
    /// The logits after these tokens, or after all of them. A graph for listed ones has no smaller extent.
    Logits(Option<Vec<usize>>),
}

impl Model {
    /// Reads the model of a file. The weights stay there until plans upload them from `reader`.
    pub(crate) fn read(
        file: &GgufFile<'_>,
        reader: &Arc<Mutex<File>>,
        capacity: usize,
        activations: Activations,
        cache: Cache,
    ) -> Result<Self> {
        let find = |key: &str| file.metadata().find(|(name, _)| *name == key).map(|(_, value)| value);
        let Some(Metadata::Text(architecture)) = find("general.architecture") else {
            return Err("the file names no architecture: it is no model".into());
        };
        if !KNOWN.contains(&architecture) {
            return Err(format!("the architecture is {architecture}, but known are {}", KNOWN.join(", ")).into());
        }
        let gemma = architecture.starts_with("gemma");
        let own = |key: &str| find(&format!("{architecture}.{key}"));
        let count = |key: &str| match own(key) {
            Some(Metadata::Unsigned(number)) => Ok(usize::try_from(number)?),
            other => {
                Err(Box::<dyn std::error::Error>::from(format!("{architecture}.{key} is {other:?}, and not a count")))
            }
        };
        let real = |key: &str, otherwise: f64| match own(key) {
            Some(Metadata::Float(number)) => number,
            _ => otherwise,
        };
        let (hidden, heads) = (count("embedding_length")?, count("attention.head_count")?);
        let kv_heads = count("attention.head_count_kv").unwrap_or(heads);
        let head_width = count("attention.key_length").unwrap_or(hidden / heads.max(1));
        let values = count("attention.value_length").unwrap_or(head_width);
        if values != head_width {
            return Err(format!("keys have {head_width} columns and values {values}: equal ones are known").into());
        }
        if let Some(scaling @ Metadata::Text(kind)) = own("rope.scaling.type")
            && !["none", "linear"].contains(&kind)
        {
            return Err(format!("rotations are scaled by {scaling:?}, but none and linear are known").into());
        }
        let weights = |name: &str| -> Result<Arc<PackedWeights>> {
            Ok(Arc::new(file.tensor(name)?.deferred_weights_from(reader)?))
        };
        let floats = |name: &str| -> Result<Arc<Tensor>> { Ok(Arc::new(single(&file.tensor(name)?)?)) };
        let layers = count("block_count")?;
        // The last of so many layers sees all positions, the others a window.
        let pattern = match (architecture, own("attention.sliding_window_pattern")) {
            (_, Some(Metadata::Unsigned(pattern))) => pattern as usize,
            ("gemma2", _) => 2,
            ("gemma3", _) => 6,
            _ => 1,
        };
        let window = count("attention.sliding_window").ok().filter(|&window| window > 0);
        let layer = |i: usize| -> Result<Layer> {
            let name = |part: &str| format!("blk.{i}.{part}");
            let projection = |part: &str| -> Result<Projection> {
                let bias = file.tensor(&name(&format!("{part}.bias"))).ok();
                let bias = bias.map(|bias| single(&bias)).transpose()?.map(Arc::new);
                Ok(Projection { weights: weights(&name(&format!("{part}.weight")))?, bias })
            };
            let norm = |part: &str| match file.tensor(&name(part)) {
                Ok(tensor) => single(&tensor).map(Arc::new).map(Some),
                Err(_) => Ok(None),
            };
            Ok(Layer {
                query_norm: norm("attn_q_norm.weight")?,
                key_norm: norm("attn_k_norm.weight")?,
                window: window.filter(|_| !(i + 1).is_multiple_of(pattern.max(1))),
                after_attention: norm("post_attention_norm.weight")?,
                after_forward: norm("post_ffw_norm.weight")?,
                attention_norm: floats(&name("attn_norm.weight"))?,
                query: projection("attn_q")?,
                key: projection("attn_k")?,
                value: projection("attn_v")?,
                output: projection("attn_output")?,
                forward_norm: floats(&name("ffn_norm.weight"))?,
                gate: projection("ffn_gate")?,
                up: projection("ffn_up")?,
                down: projection("ffn_down")?,
            })
        };
        let embedding = weights("token_embd.weight")?;
        // Divisors of the frequencies, in models that are scaled to long contexts.
        let factors = file.tensor("rope_freqs.weight").ok().map(|tensor| single(&tensor)).transpose()?;
        let factors = factors.map(|tensor| tensor.values::<f32>().map(<[f32]>::to_vec)).transpose()?;
        let rotary_width = count("rope.dimension_count").unwrap_or(head_width);
        let base = real("rope.freq_base", 10_000.0);
        let frequencies = |base: f64, divisor: f64| -> Vec<f64> {
            let factor = |i: usize| divisor * factors.as_ref().map_or(1.0, |factors| f64::from(factors[i]));
            (0..rotary_width / 2).map(|i| base.powf(-2.0 * i as f64 / rotary_width as f64) / factor(i)).collect()
        };
        let mut rotations = vec![frequencies(base, real("rope.scaling.factor", 1.0))];
        if architecture == "gemma3" && window.is_some() {
            rotations.push(frequencies(real("rope.freq_base_swa", 10_000.0), 1.0));
        }
        let positive = |key: &str| Some(real(key, 0.0) as f32).filter(|&number| number > 0.0);
        let logit_cap = positive("final_logit_softcapping");
        // Logits are divided by their limit here.
        let norm = floats("output_norm.weight")?;
        let divided: Vec<f32> = norm.values::<f32>()?.iter().map(|scale| scale / logit_cap.unwrap_or(1.0)).collect();
        // The largest models of both generations.
        let scaled_by_hidden = matches!((architecture, layers), ("gemma2", 46) | ("gemma3", 62));
        let scaled_by = if scaled_by_hidden { hidden / heads.max(1) } else { head_width };
        Ok(Self {
            architecture: architecture.to_string(),
            // Files of Llama have the halves of each head interleaved.
            pairs: if architecture == "llama" { RotaryPairs::Interleaved } else { RotaryPairs::Halves },
            gate: if gemma { Function::GeluTanh } else { Function::Silu },
            embedding_scale: gemma.then(|| (hidden as f32).sqrt()),
            attention_scale: 1.0 / (scaled_by as f32).sqrt(),
            soft_cap: positive("attn_logit_softcapping"),
            logit_cap,
            heads,
            kv_heads,
            head_width,
            rotary_width,
            frequencies: rotations,
            epsilon: real("attention.layer_norm_rms_epsilon", 1e-5) as f32,
            capacity,
            activations,
            cache,
            layers: (0..layers).map(layer).collect::<Result<_>>()?,
            norm: Arc::new(Tensor::new(norm.dims(), divided)?),
            // Models without a matrix of their own for the logits use the embedding's.
            head: weights("output.weight").unwrap_or_else(|_| embedding.clone()),
            embedding,
        })
    }

    pub(crate) fn summary(&self) -> String {
        format!(
            "{}: {} layers, {} heads of {} over {} of the cache, {} tokens",
            self.architecture,
            self.layers.len(),
            self.heads,
            self.head_width,
            self.kv_heads,
            self.vocabulary()
        )
    }

    /// The number of tokens that it knows.
    pub(crate) fn vocabulary(&self) -> usize {
        self.head.dims()[1]
    }

    /// Positions of the caches.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// The bytes of weights that a token multiplies with.
    pub(crate) fn weight_bytes(&self) -> usize {
        let of = |l: &Layer| {
            [&l.query, &l.key, &l.value, &l.output, &l.gate, &l.up, &l.down]
                .map(|p| p.weights.bytes())
                .iter()
                .sum::<usize>()
        };
        self.layers.iter().map(of).sum::<usize>() + self.head.bytes()
    }

    /// The tensors of a cache of keys, or else of values: numbers, or codes and their scales.
    fn cache_types(&self, keys: bool) -> Result<Vec<TensorType>> {
        let dims = [self.capacity, self.kv_heads, self.head_width];
        Ok(match self.cache {
            Cache::Float32 => vec![TensorType::float32(dims)?],
            Cache::Float16 => vec![TensorType::new(DType::Float16, dims)?],
            Cache::Int8 | Cache::Int4 | Cache::Int8Int4 => {
                let is_int8 = self.cache == Cache::Int8 || (self.cache == Cache::Int8Int4 && keys);
                let dtype = if is_int8 { DType::Int8 } else { DType::Int4 };
                let codes = TensorType::new(dtype, dims)?.with_dynamic_scales();
                let scales = self.cache_scales().of_cache(&codes)?;
                vec![codes, scales]
            }
        })
    }

    /// The codes of a cache that share a scale.
    fn cache_scales(&self) -> DynamicGranularity {
        if self.cache == Cache::Int8 { DynamicGranularity::Row } else { GROUP }
    }

    /// The bytes of the caches.
    pub(crate) fn cache_bytes(&self) -> Result<u64> {
        let types = [self.cache_types(true)?, self.cache_types(false)?].concat();
        Ok(types.iter().map(TensorType::device_bytes).sum::<u64>() * self.layers.len() as u64)
    }

    /// Numbers that tensors are multiplied with: those for the embedding and for the logits.
    fn numbers(&self) -> [Option<f32>; 2] {
        [self.embedding_scale, self.logit_cap]
    }

    /// The inputs of the graph after the tokens and the position: tables of cosines and sines, numbers, and empty caches, of which one
    /// is in host memory at a time.
    pub(crate) fn kept(&self) -> Result<impl Iterator<Item = Result<Tensor>>> {
        let table = |frequencies: &Vec<f64>| Ok(Rotary::table(self.capacity, frequencies)?);
        let tables = self.frequencies.iter().map(table).collect::<Result<Vec<_>>>()?;
        let numbers = self.numbers().into_iter().flatten().map(|number| Ok(Tensor::new([1], vec![number])?));
        let numbers = numbers.collect::<Result<Vec<_>>>()?;
        let empty = |cache: &TensorType| -> Result<Tensor> {
            let (dims, count) = (cache.dims(), cache.shape().elements());
            Ok(match cache.dtype() {
                DType::Float16 => Tensor::new(dims, vec![half::f16::ZERO; count])?,
                DType::Int8 => Tensor::new(dims, vec![0i8; count])?,
                DType::Int4 => Tensor::from_packed(cache.clone(), &vec![0; count.div_ceil(2)])?,
                DType::Parameters => Tensor::new(dims, vec![QuantizationParams::default(); count])?,
                _ => Tensor::new(dims, vec![0.0f32; count])?,
            })
        };
        let types = [self.cache_types(true)?, self.cache_types(false)?].concat();
        let caches = std::iter::repeat_n(types, self.layers.len()).flatten().map(move |cache| empty(&cache));
        Ok(tables.into_iter().chain(numbers).map(Ok).chain(caches))
    }

    /// The graph for up to `tokens` tokens. Inputs: tokens, position, then those of [`kept`](Self::kept).
    pub(crate) fn graph(&self, tokens: usize, wanted: &Wanted) -> Result<Graph> {
        let mut graph = Graph::new();
        let ids = TensorType::new(DType::Int32, [tokens])?;
        let ids = match wanted {
            Wanted::Logits(Some(_)) => graph.input(ids),
            _ => {
                let extent = graph.extent("tokens", tokens)?;
                graph.dynamic_input(ids, [(0, extent)])?
            }
        };
        let position = graph.input(TensorType::new(DType::Int32, [1])?);
        let table = TensorType::float32([self.capacity, self.rotary_width])?;
        let tables = self.frequencies.iter().map(|_| graph.input(table.clone())).collect();
        let number = TensorType::float32([1])?;
        let [embedding_scale, logit_cap] = self.numbers().map(|known| known.map(|_| graph.input(number.clone())));
        let mut build = Build { graph, model: self, tokens, position, tables };
        let mut x = build
            .add(Embedding::new(TensorType::new(DType::Int32, [tokens])?, self.embedding.clone()).build()?, &[ids])?;
        if let Some(scale) = embedding_scale {
            x = build.combine(x, scale, Arithmetic::Multiply)?;
        }
        for layer in &self.layers {
            x = build.layer(layer, x)?;
        }
        let rows = build.type_of(x)?;
        let x = match wanted {
            Wanted::Token | Wanted::Best(_) => build.add(Slice::last(rows, 1)?, &[x])?,
            Wanted::Logits(Some(positions)) => build.add(Slice::take(rows, 0, &positions[..])?, &[x])?,
            Wanted::Logits(None) => x,
        };
        let normal = build.norm(x, &self.norm)?;
        let head = Projection { weights: self.head.clone(), bias: None };
        let inputs = build.activations(normal)?;
        let mut logits = build.project(&inputs, &head)?;
        if let Some(cap) = logit_cap {
            logits = build.apply(logits, Function::Tanh)?;
            logits = build.combine(logits, cap, Arithmetic::Multiply)?;
        }
        let row = build.type_of(logits)?;
        let chosen = match wanted {
            Wanted::Token => vec![build.add(ArgMax::new(row)?, &[logits])?],
            Wanted::Best(count) => build.graph.add_all(TopK::new(row, *count).build()?, &[logits])?,
            Wanted::Logits(_) => vec![],
        };
        chosen.into_iter().chain([logits]).for_each(|output| build.graph.output(output));
        Ok(build.graph)
    }
}

/// A tensor of floats as float32.
fn single(tensor: &GgufTensor<'_>) -> Result<Tensor> {
    let floats = tensor.floats()?;
    let widened = floats.values::<half::f16>().map(|halves| halves.iter().map(|x| x.to_f32()).collect::<Vec<_>>());
    match widened {
        Ok(values) => Ok(Tensor::new(floats.dims(), values)?),
        Err(_) => Ok(floats),
    }
}

/// A graph in the making.
struct Build<'a> {
    graph: Graph,
    model: &'a Model,
    tokens: usize,
    position: Value,
    tables: Vec<Value>,
}

impl Build<'_> {
    fn add(&mut self, op: impl Into<lowbit::ops::Op>, inputs: &[Value]) -> Result<Value> {
        Ok(self.graph.add(op, inputs)?)
    }

    fn type_of(&self, value: Value) -> Result<TensorType> {
        Ok(self.graph.tensor_type(value)?.clone())
    }

    /// One layer: attention and a gated network of two projections, each added to its input.
    fn layer(&mut self, layer: &Layer, x: Value) -> Result<Value> {
        let Model { heads, kv_heads, head_width, .. } = *self.model;
        let normal = self.norm(x, &layer.attention_norm)?;
        let inputs = self.activations(normal)?;
        let [query, key, value] = [(&layer.query, heads), (&layer.key, kv_heads), (&layer.value, kv_heads)].map(
            |(projection, heads)| -> Result<Value> {
                let projected = self.project(&inputs, projection)?;
                Ok(self.graph.reshape(projected, [self.tokens, heads, head_width])?)
            },
        );
        let table = if layer.window.is_some() { self.tables.last() } else { self.tables.first() };
        let table = *table.expect("there is at least one");
        let query = self.norm_if_any(query?, &layer.query_norm)?;
        let key = self.norm_if_any(key?, &layer.key_norm)?;
        let query = self.rotate(query, table)?;
        let (keys, values) = (self.cache(key, Some(table))?, self.cache(value?, None)?);
        let [query_type, key_type, value_type] = [query, keys[0], values[0]].map(|value| self.type_of(value));
        let mut attention = Attention::new(query_type?, key_type?, value_type?).causal();
        attention = attention.scaled(self.model.attention_scale);
        if keys.len() > 1 {
            attention = attention.scales(self.model.cache_scales());
        }
        if let Some(cap) = self.model.soft_cap {
            attention = attention.soft_cap(cap);
        }
        if let Some(window) = layer.window {
            attention = attention.window(window);
        }
        let attention = attention.build()?;
        let mut inputs = vec![query, keys[0], values[0], self.position];
        // Scales, if there are any.
        inputs.extend(keys[1..].iter().chain(&values[1..]));
        let mixed = self.add(attention, &inputs)?;
        let mixed = self.graph.reshape(mixed, [self.tokens, heads * head_width])?;
        let mixed = self.activations(mixed)?;
        let mixed = self.project(&mixed, &layer.output)?;
        let mixed = self.norm_if_any(mixed, &layer.after_attention)?;
        let x = self.combine(x, mixed, Arithmetic::Add)?;

        let normal = self.norm(x, &layer.forward_norm)?;
        let inputs = self.activations(normal)?;
        let (gate, up) = (self.project(&inputs, &layer.gate)?, self.project(&inputs, &layer.up)?);
        let gate = self.apply(gate, self.model.gate)?;
        let gated = self.combine(gate, up, Arithmetic::Multiply)?;
        let gated = self.activations(gated)?;
        let down = self.project(&gated, &layer.down)?;
        let down = self.norm_if_any(down, &layer.after_forward)?;
        self.combine(x, down, Arithmetic::Add)
    }

    fn norm(&mut self, x: Value, scale: &Arc<Tensor>) -> Result<Value> {
        let norm = LayerNorm::new(self.type_of(x)?, scale.clone(), self.model.epsilon).without_mean().build()?;
        self.add(norm, &[x])
    }

    fn norm_if_any(&mut self, x: Value, scale: &Option<Arc<Tensor>>) -> Result<Value> {
        scale.as_ref().map_or(Ok(x), |scale| self.norm(x, scale))
    }

    fn apply(&mut self, x: Value, function: Function) -> Result<Value> {
        let op = FloatUnary::new(self.type_of(x)?, function)?;
        self.add(op, &[x])
    }

    fn combine(&mut self, a: Value, b: Value, arithmetic: Arithmetic) -> Result<Value> {
        let op = FloatBinary::new(self.type_of(a)?, self.type_of(b)?, arithmetic)?;
        self.add(op, &[a, b])
    }

    /// Values as the inputs of projections: themselves, or codes and their scales.
    fn activations(&mut self, x: Value) -> Result<Vec<Value>> {
        match self.model.activations {
            Activations::Float32 => Ok(vec![x]),
            Activations::Int8 => {
                let quantize = DynamicQuantize::new(self.type_of(x)?, DType::Int8, GROUP).symmetric().build()?;
                Ok(self.graph.add_all(quantize, &[x])?)
            }
        }
    }

    fn project(&mut self, inputs: &[Value], projection: &Projection) -> Result<Value> {
        let mut linear = Linear::new(self.type_of(inputs[0])?, projection.weights.clone());
        if inputs.len() > 1 {
            linear = linear.dynamic_lhs(GROUP);
        }
        if let Some(bias) = &projection.bias {
            linear = linear.bias(bias.clone());
        }
        self.add(linear.build()?, inputs)
    }

    fn rotate(&mut self, x: Value, table: Value) -> Result<Value> {
        let rotary = Rotary::new(self.type_of(x)?, self.type_of(table)?, self.model.pairs)?;
        self.add(rotary, &[x, self.position, table])
    }

    /// The tensors of a cache after rows were appended: rotated by a table if they are keys.
    fn cache(&mut self, rows: Value, table: Option<Value>) -> Result<Vec<Value>> {
        let types = self.model.cache_types(table.is_some())?;
        let states: Vec<Value> = types.into_iter().map(|of| self.graph.state(of)).collect();
        match states[..] {
            [cache, scales] => {
                let rows_type = self.type_of(rows)?;
                let mut append = AppendQuantized::new(self.type_of(cache)?, rows_type, self.model.cache_scales())?;
                let mut inputs = vec![cache, scales, rows, self.position];
                if let Some(table) = table {
                    append = append.rotated(self.type_of(table)?, self.model.pairs)?;
                    inputs.push(table);
                }
                Ok(self.graph.add_all(append, &inputs)?)
            }
            _ => {
                let rows = table.map_or(Ok(rows), |table| self.rotate(rows, table))?;
                let append = Append::new(self.type_of(states[0])?, self.type_of(rows)?)?;
                Ok(vec![self.add(append, &[states[0], rows, self.position])?])
            }
        }
    }
}
