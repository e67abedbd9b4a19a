//! The steps of post-training quantization as data, and their execution. The arithmetic of each step is in its own file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::gram::grams;
use super::quantized::{QuantizedModel, Scales};
use super::rounding::{Method, round};
use super::scheme::{ActivationQuantization, CodeFormat, WeightClipping, WeightScheme};
use super::weights::QuantizedWeights;
use super::{awq, check_calibration, check_finite, equalize, smooth, trace};
use crate::error::{Result, require};
use crate::model::{Layer, Model};
use crate::numeric::DType;
use crate::tensor::Tensor;

/// The steps that quantize a model, in this order.
///
/// ```
/// use lowbit::ptq::{WeightClipping, Method, Recipe};
/// let mut recipe = Recipe::new(4); // 4-bit weights, 8-bit activations
/// recipe.weights.clipping = WeightClipping::Output;
/// let recipe = recipe.with_method(Method::Descent).with_bias_correction(true);
/// ```
///
/// Weights in NVFP4; activations in float32, except for one layer that reads FP8:
///
/// ```
/// use lowbit::DType;
/// use lowbit::ptq::{Activations, CodeFormat, Recipe, WeightScheme};
/// let recipe = Recipe::new(8).with_weights(WeightScheme::nvfp4());
/// let mut recipe = recipe.with_activations(Activations::float(DType::Float32));
/// recipe.inputs.insert("fc".into(), CodeFormat::Float(DType::Float8E4M3Fn));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Recipe {
    /// True if neighbouring layers are [equalized](equalize()).
    pub equalize: bool,
    /// The strength of [smoothing](smooth), or `None` for no smoothing.
    pub smooth: Option<f64>,
    /// True if [AWQ](awq()) rescales channels.
    pub awq: bool,
    /// The quantization of weights.
    pub weights: WeightScheme,
    /// The quantization of single layers' weights, by layer name.
    pub layers: BTreeMap<String, WeightScheme>,
    /// The method by which weights are rounded.
    pub method: Method,
    /// The quantization of activations.
    pub activations: Activations,
    /// The codes that single layers read, by layer name. Activations must be static.
    #[serde(default)]
    pub inputs: BTreeMap<String, CodeFormat>,
    /// True if each bias is changed so that the mean of each output on the calibration data is that of the float model:
    /// `b += E[y_float] − E[y]`, before the activation, layer after layer.
    ///
    /// Source: bias correction (Nagel et al., 2019, arXiv:1906.04721, section 4.2), on data. Methods that minimize the error of
    /// outputs then minimize the remaining part of it, the variance.
    pub bias_correction: bool,
}

/// The quantization of activations.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Activations {
    /// From ranges found beforehand on calibration data, one for each tensor.
    Static {
        /// The codes: integers of 2 to 8 bits, stored as uint8; floats of at most 8 bits; or float16 and float32, which are not
        /// quantized.
        codes: CodeFormat,
        /// The rule for ranges.
        clipping: ActivationClipping,
        /// True if the last layer returns codes instead of float32.
        outputs: bool,
    },
    /// To uint8, from the range of each tensor as the model runs: per row for the inputs of a linear layer, of the whole batch
    /// for a convolution. Results between the layers are float32.
    Dynamic,
}

/// The rule for the range of a tensor on calibration data.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ActivationClipping {
    /// The range of all values.
    MinMax,
    /// The range without a share of the values: this percentage is kept, half of the rest is left out at each end. 99.99 leaves
    /// out one in 10,000.
    Percentile(f64),
    /// The one with the least mean square error of the full range and fractions of it.
    Mse,
}

impl Recipe {
    /// Integer weights of `bits` bits per channel, rounded to nearest within min-max ranges; activations 8 bits, static,
    /// min-max; float32 outputs; no other step.
    #[must_use]
    pub fn new(bits: u8) -> Self {
        Self {
            equalize: false,
            smooth: None,
            awq: false,
            weights: WeightScheme::per_channel(bits),
            layers: BTreeMap::new(),
            method: Method::Nearest,
            activations: Activations::int(8),
            inputs: BTreeMap::new(),
            bias_correction: false,
        }
    }

    /// The recipe that usually loses least: [`Method::Descent`] on ranges with the least error of outputs, corrected biases,
    /// and zero points for weights below 8 bits.
    #[must_use]
    pub fn best(bits: u8) -> Self {
        let mut recipe = Self::new(bits);
        recipe.weights.symmetric = bits == 8;
        recipe.weights.clipping = WeightClipping::Output;
        recipe.method = Method::Descent;
        recipe.bias_correction = true;
        recipe
    }

    /// The quantization of a layer's weights.
    #[must_use]
    pub fn scheme(&self, layer: &str) -> WeightScheme {
        self.layers.get(layer).copied().unwrap_or(self.weights)
    }

    /// The model quantized by this recipe. Calibration data are float32 `[rows, …]` of [`Model::input_shape`]. Layers are
    /// rounded in order, each with the inputs that the quantized layers before it produce.
    ///
    /// # Errors
    /// If a choice is not possible or names a layer that doesn't exist, if the calibration data are empty or don't fit, or if
    /// they, or a layer's inputs or results on them, are not finite.
    pub fn quantize(&self, model: &Model, calibration: &Tensor) -> Result<QuantizedModel> {
        let mut model = self.rescaled(model, calibration)?;
        let float = trace(&model, calibration)?;
        let scales = self.scales(&model, &float)?;
        let mut of_layers = model.layers().iter().filter(|layer| layer.is_weighted());
        of_layers.try_for_each(|layer| scales.check_weights(layer.name(), &self.scheme(layer.name())))?;
        let mut weights = Vec::new();
        let mut current = calibration.values::<f32>()?.to_vec();
        for (i, layer) in model.clone().layers().iter().enumerate() {
            scales.round(i, layer, &mut current);
            check_finite(&format!("what layer {} reads of the calibration data", layer.name()), &current)?;
            if !layer.is_weighted() {
                current = layer.forward(&current, &[], &[], true);
                weights.push(None);
                continue;
            }
            let inputs = float[i].values::<f32>()?;
            let scheme = self.scheme(layer.name());
            let (rounded, bias) = self.round_layer(layer, &scheme, inputs, &current, &scales.floors(i, layer, &scheme));
            let values = rounded.dequantized();
            current = layer.forward(&current, &values, &bias, true);
            model = model.with_parameters(layer.name(), values, bias)?;
            weights.push(Some(rounded));
        }
        QuantizedModel::new(model, weights, scales)
    }

    /// Codes and bias of a layer that reads `inputs`, and reads `float` in the float model.
    pub(super) fn round_layer(
        &self,
        layer: &Layer,
        scheme: &WeightScheme,
        float: &[f32],
        inputs: &[f32],
        floors: &[f64],
    ) -> (QuantizedWeights, Vec<f32>) {
        let needed = self.method != Method::Nearest || scheme.clipping == WeightClipping::Output;
        let moments = if needed { grams(layer, float, inputs, self.bias_correction) } else { Vec::new() };
        let rounded = round(layer.weights(), layer.output().channels, scheme, self.method, &moments, floors);
        let mut bias = layer.bias().to_vec();
        if self.bias_correction {
            correct(layer, float, inputs, &rounded.dequantized(), &mut bias);
        }
        (rounded, bias)
    }

    /// The float model before rounding: after [`equalize`], [`smooth`](smooth()) and [`awq`](awq()), as far as the recipe asks
    /// for them.
    ///
    /// # Errors
    /// As [`Recipe::quantize`].
    pub fn rescaled(&self, model: &Model, calibration: &Tensor) -> Result<Model> {
        self.check(model)?;
        check_calibration(model, calibration)?;
        let mut model = model.clone();
        if self.equalize {
            model = equalize(&model)?;
        }
        if let Some(alpha) = self.smooth {
            model = smooth(&model, calibration, alpha)?;
        }
        if self.awq {
            model = awq(&model, calibration, &self.weights)?;
        }
        Ok(model)
    }

    fn check(&self, model: &Model) -> Result<()> {
        self.weights.check()?;
        for (name, scheme) in &self.layers {
            scheme.check()?;
            require!(
                model.layers()[model.position(name)?].is_weighted(),
                "layer {name} was given a scheme, but it has no weights"
            );
        }
        for name in self.inputs.keys() {
            model.position(name)?;
        }
        require!(
            self.inputs.is_empty() || self.activations != Activations::Dynamic,
            "layer {} was given codes to read, but activations are dynamic: take static ones",
            self.inputs.keys().next().map_or("", String::as_str)
        );
        if let Activations::Static { codes, clipping, .. } = self.activations {
            self.inputs.values().chain([&codes]).try_for_each(|codes| codes.check_activations())?;
            if let ActivationClipping::Percentile(percent) = clipping {
                require!(
                    percent > 50.0 && percent <= 100.0,
                    "a percentile of {percent} was asked for: it may be above 50, to 100"
                );
            }
        }
        Ok(())
    }
}

/// Moves a bias by the mean error of the outputs.
fn correct(layer: &Layer, float: &[f32], inputs: &[f32], weights: &[f32], bias: &mut [f32]) {
    let mean = |outputs: Vec<f32>| -> Vec<f64> {
        let mut sums = vec![0.0f64; bias.len()];
        for pixel in outputs.chunks_exact(bias.len()) {
            sums.iter_mut().zip(pixel).for_each(|(sum, &y)| *sum += f64::from(y));
        }
        let count = (outputs.len() / bias.len()).max(1) as f64;
        sums.iter().map(|sum| sum / count).collect()
    };
    let expected = mean(layer.forward(float, layer.weights(), layer.bias(), false));
    let got = mean(layer.forward(inputs, weights, layer.bias(), false));
    for (bias, (expected, got)) in bias.iter_mut().zip(expected.iter().zip(&got)) {
        *bias = (f64::from(*bias) + expected - got) as f32;
    }
}

impl Recipe {
    /// This recipe with or without [equalization](equalize()).
    #[must_use]
    pub fn with_equalize(mut self, equalize: bool) -> Self {
        self.equalize = equalize;
        self
    }

    /// This recipe with this strength of [smoothing](smooth), or without.
    #[must_use]
    pub fn with_smooth(mut self, smooth: Option<f64>) -> Self {
        self.smooth = smooth;
        self
    }

    /// This recipe with or without [AWQ](awq()).
    #[must_use]
    pub fn with_awq(mut self, awq: bool) -> Self {
        self.awq = awq;
        self
    }

    /// This recipe with this quantization of weights.
    #[must_use]
    pub fn with_weights(mut self, weights: WeightScheme) -> Self {
        self.weights = weights;
        self
    }

    /// This recipe with these quantizations of single layers' weights, by layer name.
    #[must_use]
    pub fn with_layers(mut self, layers: BTreeMap<String, WeightScheme>) -> Self {
        self.layers = layers;
        self
    }

    /// This recipe with these codes that single layers read, by layer name.
    #[must_use]
    pub fn with_inputs(mut self, inputs: BTreeMap<String, CodeFormat>) -> Self {
        self.inputs = inputs;
        self
    }

    /// This recipe with this method of rounding.
    #[must_use]
    pub fn with_method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// This recipe with this quantization of activations.
    #[must_use]
    pub fn with_activations(mut self, activations: Activations) -> Self {
        self.activations = activations;
        self
    }

    /// This recipe with or without corrected biases.
    #[must_use]
    pub fn with_bias_correction(mut self, bias_correction: bool) -> Self {
        self.bias_correction = bias_correction;
        self
    }
}

impl Recipe {
    /// Quantization of the input and of each layer's result.
    fn scales(&self, model: &Model, trace: &[Tensor]) -> Result<Scales> {
        let Activations::Static { codes, clipping, outputs } = self.activations else { return Ok(Scales::Dynamic) };
        let quantization = |(i, tensor): (usize, &Tensor)| -> Result<Option<ActivationQuantization>> {
            let reader = model.layers().get(i);
            if reader.is_none() && !outputs {
                return Ok(None);
            }
            match reader.and_then(|layer| self.inputs.get(layer.name())).copied().unwrap_or(codes) {
                CodeFormat::Float(DType::Float32) => Ok(None),
                CodeFormat::Float(DType::Float16) => Ok(Some(ActivationQuantization::FLOAT16)),
                codes => clipping.quantization(codes, tensor.values()?).map(Some),
            }
        };
        Ok(Scales::Static(trace.iter().enumerate().map(quantization).collect::<Result<_>>()?))
    }
}

impl Activations {
    /// Integers of `bits` bits, static, min-max; float32 outputs.
    #[must_use]
    pub const fn int(bits: u8) -> Self {
        Self::Static { codes: CodeFormat::Int(bits), clipping: ActivationClipping::MinMax, outputs: false }
    }

    /// Floats of a data type, static, min-max; float32 outputs. With `Float16` and `Float32` only weights are quantized.
    #[must_use]
    pub const fn float(dtype: DType) -> Self {
        Self::Static { codes: CodeFormat::Float(dtype), clipping: ActivationClipping::MinMax, outputs: false }
    }
}

impl ActivationClipping {
    /// Scale and zero point for numbers like these.
    pub(crate) fn quantization(self, codes: CodeFormat, values: &[f32]) -> Result<ActivationQuantization> {
        let range = |values: &[f32]| {
            values.iter().fold((0.0f32, 0.0f32), |(low, high), &value| (low.min(value), high.max(value)))
        };
        let (low, high) = match self {
            Self::MinMax | Self::Mse => range(values),
            Self::Percentile(percent) => {
                let mut sorted = values.to_vec();
                sorted.sort_unstable_by(f32::total_cmp);
                let left_out = ((100.0 - percent) / 200.0 * sorted.len() as f64) as usize;
                range(&sorted[left_out..sorted.len() - left_out])
            }
        };
        if self != Self::Mse {
            return ActivationQuantization::from_range(codes, low, high);
        }
        // A sample of the values is enough for the comparison.
        let step = (values.len() / 65_536).max(1);
        let error = |quantization: &ActivationQuantization| -> f64 {
            let error = |&value: &f32| f64::from(value - quantization.round(value)).powi(2);
            values.iter().step_by(step).map(error).sum()
        };
        let mut best: Option<(f64, ActivationQuantization)> = None;
        for i in 0..40 {
            let shrink = 1.0 - 0.02 * i as f32;
            let candidate = ActivationQuantization::from_range(codes, low * shrink, high * shrink)?;
            let error = error(&candidate);
            if best.is_none_or(|(least, _)| error < least) {
                best = Some((error, candidate));
            }
        }
        Ok(best.expect("forty were tried").1)
    }
}
