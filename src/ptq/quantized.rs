//! A model whose weights, and optionally activations, are codes, and its simulation in float arithmetic that rounds as the
//! codes do. The graph is in `graph`, the file in `file`.

use super::scheme::{ActivationQuantization, CodeFormat, WeightScheme};
use super::weights::QuantizedWeights;
use crate::error::{Error, Result, require};
use crate::model::{Layer, Model};
use crate::numeric::DType;
use crate::tensor::Tensor;

/// A model whose weights are codes, made by [`Recipe::quantize`](super::Recipe::quantize) or [`QuantizedModel::from_parts`]. It
/// runs as the [`Graph`](crate::Graph) of [`QuantizedModel::graph`].
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizedModel {
    /// The float model, with the weights that the codes stand for.
    model: Model,
    weights: Vec<Option<QuantizedWeights>>,
    scales: Scales,
}

/// The quantization of activations.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Scales {
    /// For the input and each layer's result; `None` stays float32.
    Static(Vec<Option<ActivationQuantization>>),
    /// From the range of each tensor as the model runs.
    Dynamic,
}

impl Scales {
    /// Rounds the inputs of a layer to their codes' values.
    pub(super) fn round(&self, index: usize, layer: &Layer, values: &mut [f32]) {
        match self {
            Self::Static(scales) => {
                if let Some(quantization) = scales[index] {
                    values.iter_mut().for_each(|value| *value = quantization.round(*value));
                }
            }
            Self::Dynamic => {
                let rows = if layer.is_matmul() { layer.input().channels } else { values.len().max(1) };
                for row in values.chunks_mut(rows) {
                    let (low, high) = row.iter().fold((0.0f32, 0.0f32), |(l, h), &v| (l.min(v), h.max(v)));
                    if let Ok(quantization) = ActivationQuantization::from_range(CodeFormat::Int(8), low, high) {
                        row.iter_mut().for_each(|value| *value = quantization.round(*value));
                    }
                }
            }
        }
    }

    /// The scale of a layer's inputs, if they are integers and the scale is static.
    fn input(&self, index: usize) -> Option<f32> {
        match self {
            Self::Static(scales) => scales[index].filter(ActivationQuantization::is_integer).map(|q| q.scale()),
            Self::Dynamic => None,
        }
    }

    /// The least scale of each row of weights for which the row's bias fits into 30 bits. A step of the bias is the scale of
    /// the row times that of the input. 0 where biases are float.
    pub(super) fn floors(&self, index: usize, layer: &Layer, scheme: &WeightScheme) -> Vec<f64> {
        let input = self.input(index).filter(|_| scheme.has_integer_rows(layer.row_length()));
        let step = input.map_or(f64::INFINITY, f64::from) * f64::from(1 << 29);
        layer.bias().iter().map(|&bias| f64::from(bias.abs()) / step).collect()
    }

    /// True if the codes of the input (0) or of a layer's result are integers.
    fn are_integers(&self, index: usize) -> bool {
        match self {
            Self::Static(scales) => scales[index].is_some_and(|q| q.is_integer()),
            Self::Dynamic => true,
        }
    }

    /// An error if these activations can't be multiplied by such weights.
    pub(super) fn check_weights(&self, layer: &str, scheme: &WeightScheme) -> Result<()> {
        require!(
            *self != Self::Dynamic || scheme.packed_codes().are_integers(),
            "layer {layer} has weights in {}, which don't meet the integers that dynamic activations are: take static activations, \
             or float ones",
            scheme.codes
        );
        Ok(())
    }
}

impl QuantizedModel {
    /// The model of parts that fit each other, with biases rounded to their codes.
    pub(super) fn new(model: Model, weights: Vec<Option<QuantizedWeights>>, scales: Scales) -> Result<Self> {
        for (layer, weights) in model.layers().iter().zip(&weights) {
            weights.as_ref().map_or(Ok(()), |w| scales.check_weights(layer.name(), &w.scheme))?;
        }
        let mut quantized = Self { model, weights, scales };
        for i in 0..quantized.weights.len() {
            if let Some(bias) = quantized.bias_codes(i)? {
                let values = bias.iter().zip(quantized.bias_scales(i)).map(|(&code, s)| (f64::from(code) * s) as f32);
                let (name, weights) = (quantized.layer(i).name().to_string(), quantized.layer(i).weights().to_vec());
                quantized.model = quantized.model.clone().with_parameters(&name, weights, values.collect())?;
            }
        }
        Ok(quantized)
    }

    /// A model from weights that are already rounded (by training, say) and ranges that are already known. `weights` holds the
    /// codes for each layer. `activations` holds scale and zero point for the input and each layer's result, `None` where it
    /// stays float32.
    ///
    /// # Errors
    /// If the numbers of parts or weights don't match the model, or a bias doesn't fit into int32.
    pub fn from_parts(
        model: Model,
        weights: Vec<Option<QuantizedWeights>>,
        activations: Vec<Option<ActivationQuantization>>,
    ) -> Result<Self> {
        let layers = model.layers().len();
        require!(
            weights.len() == layers && activations.len() == layers + 1,
            "{} layers of weights and {} activations were given, but the model has {layers} layers: it needs {layers} and {}",
            weights.len(),
            activations.len(),
            layers + 1
        );
        let mut rounded = model;
        for (i, weights) in weights.iter().enumerate() {
            let layer = &rounded.layers()[i];
            let shape = weights.as_ref().map(|w| (w.rows(), w.codes().len()));
            let expected = layer.is_weighted().then(|| (layer.output().channels, layer.weights().len()));
            require!(
                shape == expected,
                "layer {} was given {shape:?} (rows, codes), but it has {expected:?}",
                layer.name()
            );
            if let Some(weights) = weights {
                let (name, bias) = (layer.name().to_string(), layer.bias().to_vec());
                rounded = rounded.with_parameters(&name, weights.dequantized(), bias)?;
            }
        }
        Self::new(rounded, weights, Scales::Static(activations))
    }

    /// The float model with the values of the codes and with rounded biases: it shows the weights' own share of the error.
    #[must_use]
    pub fn dequantized(&self) -> &Model {
        &self.model
    }

    /// The codes of each layer; `None` for a layer without weights.
    #[must_use]
    pub fn weights(&self) -> &[Option<QuantizedWeights>] {
        &self.weights
    }

    /// Quantization of the input and of each layer's result, `None` where it is float32; empty if activations are dynamic.
    #[must_use]
    pub fn activations(&self) -> &[Option<ActivationQuantization>] {
        match &self.scales {
            Scales::Static(scales) => scales,
            Scales::Dynamic => &[],
        }
    }

    pub(super) fn scales(&self) -> &Scales {
        &self.scales
    }

    pub(super) fn layer(&self, index: usize) -> &Layer {
        &self.model.layers()[index]
    }

    /// The [bytes](QuantizedWeights::weight_bytes) of all weights.
    #[must_use]
    pub fn weight_bytes(&self) -> u64 {
        self.weights.iter().flatten().map(QuantizedWeights::weight_bytes).sum()
    }

    /// The bytes of all codes of weights, their scales and zero points, and 4 for each bias.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let weights: u64 = self.weights.iter().flatten().map(|w| w.code_bytes() + w.scale_bytes()).sum();
        let biases: u64 = self.model.layers().iter().filter(|l| l.has_bias()).map(|l| l.bias().len() as u64 * 4).sum();
        weights + biases
    }

    /// True if a layer computes in integers except for its scales: it reads integers, and its rows of weights are integers with
    /// one scale each. An average has no weights; its result must be integers.
    pub(super) fn is_integer(&self, index: usize) -> bool {
        let made = || self.scales.are_integers(index + 1);
        self.scales.are_integers(index) && self.weights[index].as_ref().map_or_else(made, |w| w.has_integer_rows())
    }

    /// True if a layer multiplies integers: its inputs are integers, and so are its weights as kernels store them.
    pub(crate) fn multiplies_integers(&self, index: usize) -> bool {
        let weights = self.weights[index].as_ref();
        self.scales.are_integers(index) && weights.is_none_or(|w| w.scheme.packed_codes().are_integers())
    }

    /// Bits per number of the input (0) or of a layer's result between layers.
    pub(crate) fn activation_bits(&self, index: usize) -> usize {
        match &self.scales {
            Scales::Static(scales) => scales[index].map_or(DType::Float32, |q| q.format()).bits(),
            Scales::Dynamic => 8,
        }
    }

    /// The step of each bias of a layer that makes codes: the scale of its row of weights times the input's scale.
    pub(super) fn bias_scales(&self, index: usize) -> Vec<f64> {
        let Some((weights, input)) = self.weights[index].as_ref().zip(self.scales.input(index)) else {
            return Vec::new();
        };
        // The graph computes this product in f32, too.
        weights.whole_scales().iter().map(|&scale| f64::from(input * scale)).collect()
    }

    /// The bias of a layer that makes codes, in int32.
    pub(super) fn bias_codes(&self, index: usize) -> Result<Option<Vec<i32>>> {
        let makes_codes = *self.scales() != Scales::Dynamic && self.scales.are_integers(index + 1);
        if !makes_codes || !self.is_integer(index) || !self.layer(index).is_weighted() {
            return Ok(None);
        }
        let layer = self.layer(index);
        let code = |(&bias, step): (&f32, f64)| {
            let code = (f64::from(bias) / step).round_ties_even();
            if code.abs() < f64::from(1 << 30) {
                return Ok(code as i32);
            }
            Err(Error::Request(format!(
                "a bias of layer {} is {bias:e}, too large for int32 in steps of {step:e}: give its weights a larger scale",
                layer.name()
            )))
        };
        layer.bias().iter().zip(self.bias_scales(index)).map(code).collect::<Result<_>>().map(Some)
    }

    /// The outputs for a batch, as [`QuantizedModel::trace`] computes them.
    ///
    /// # Errors
    /// If the input is not float32 of [`Model::input_shape`].
    pub fn simulate(&self, input: &Tensor) -> Result<Tensor> {
        Ok(self.trace(input)?.pop().expect("a trace begins with the input"))
    }

    /// The input and each layer's result, in float32 rounded where the codes are. This is fast, and close to the result of
    /// [`QuantizedModel::graph`]. A sum near the middle between two codes may round to the other code.
    ///
    /// # Errors
    /// As [`QuantizedModel::simulate`].
    pub fn trace(&self, input: &Tensor) -> Result<Vec<Tensor>> {
        let (values, rows) = self.model.check_input("the input", input)?;
        let mut current = values.to_vec();
        let mut trace = Vec::new();
        let mut shape = input.dims().to_vec();
        for (i, layer) in self.model.layers().iter().enumerate() {
            self.scales.round(i, layer, &mut current);
            trace.push(Tensor::new(shape, current.clone())?);
            current = layer.forward(&current, layer.weights(), layer.bias(), true);
            shape = layer.output_shape(rows);
        }
        if let Scales::Static(scales) = &self.scales
            && let Some(Some(last)) = scales.last()
        {
            current.iter_mut().for_each(|value| *value = last.round(*value));
        }
        trace.push(Tensor::new(shape, current)?);
        Ok(trace)
    }
}
