//! The steps of post-training quantization as data, and following them. Each step's own arithmetic is in its file.

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

/// What to do to a model, in this order.
///
/// ```
/// use lowbit::ptq::{WeightClipping, Method, Recipe};
/// let mut recipe = Recipe::new(4); // 4-bit weights, 8-bit activations
/// recipe.method = Method::Descent;
/// recipe.weights.clipping = WeightClipping::Output;
/// recipe.bias_correction = true;
/// ```
///
/// Weights in NVFP4, float32 activations but for one layer, which reads FP8:
///
/// ```
/// use lowbit::DType;
/// use lowbit::ptq::{Activations, CodeFormat, Recipe, WeightScheme};
/// let mut recipe = Recipe::new(8);
/// recipe.weights = WeightScheme::nvfp4();
/// recipe.activations = Activations::float(DType::Float32);
/// recipe.inputs.insert("fc".into(), CodeFormat::Float(DType::Float8E4M3Fn));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// Whether neighbouring layers are [equalized](equalize()).
    pub equalize: bool,
    /// The strength of [smoothing](smooth), if that is wanted.
    pub smooth: Option<f64>,
    /// Whether channels are rescaled by [AWQ](awq()).
    pub awq: bool,
    /// How weights become codes.
    pub weights: WeightScheme,
    /// The same for single layers, by name.
    pub layers: BTreeMap<String, WeightScheme>,
    /// How weights are rounded.
    pub method: Method,
    /// How activations become codes.
    pub activations: Activations,
    /// What codes single layers read, by name, where activations are static.
    #[serde(default)]
    pub inputs: BTreeMap<String, CodeFormat>,
    /// Whether each bias is changed so that the mean of each output on the calibration data is that of the float model:
    /// `b += E[y_float] − E[y]`, before the activation, layer after layer.
    ///
    /// Source: bias correction (Nagel et al., 2019, arXiv:1906.04721, section 4.2), on data. Methods that look at the error of
    /// outputs then look at what is left of it, its variance.
    pub bias_correction: bool,
}

/// How activations become codes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activations {
    /// By ranges found beforehand on calibration data, one for each tensor.
    Static {
        /// What codes are: integers of 2 to 8 bits, stored as uint8; floats of at most 8 bits; or float16 and float32, which are
        /// not quantized.
        codes: CodeFormat,
        /// How ranges are found.
        clipping: ActivationClipping,
        /// Whether the last layer makes codes too, rather than float32.
        outputs: bool,
    },
    /// To uint8, by the range of each tensor as it comes: per row for what a linear layer reads, of the whole batch for a
    /// convolution. Results are float32 between the layers.
    Dynamic,
}

/// How the range of a tensor is found on calibration data.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ActivationClipping {
    /// It holds everything seen.
    MinMax,
    /// It leaves out so many percent of the numbers, half at each end: 99.99 leaves out one in 10,000.
    Percentile(f64),
    /// Of the range of everything seen and fractions of it that with the least mean square error.
    Mse,
}

impl Recipe {
    /// Integer weights of so many bits per channel, to the nearest within min-max ranges; activations 8 bits, static, min-max;
    /// float32 outputs; nothing else.
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

    /// What usually loses least: equalized, rounded by [`Method::Descent`] on ranges with the least error of outputs, biases
    /// corrected, weights below 8 bits with zero points.
    #[must_use]
    pub fn best(bits: u8) -> Self {
        let mut recipe = Self::new(bits);
        recipe.weights.symmetric = bits == 8;
        recipe.weights.clipping = WeightClipping::Output;
        recipe.method = Method::Descent;
        recipe.bias_correction = true;
        recipe
    }

    /// How the weights of a layer become codes.
    #[must_use]
    pub fn scheme(&self, layer: &str) -> WeightScheme {
        self.layers.get(layer).copied().unwrap_or(self.weights)
    }

    /// The model quantized by this recipe. Calibration data are float32 `[rows, …]` of [`Model::input_shape`]; layers are
    /// rounded in order, each on what the quantized ones before it make of them.
    ///
    /// # Errors
    /// If a choice makes no sense, names a layer that isn't there, or the calibration data are empty or don't fit, or they, or what
    /// layers make or read of them, are not finite.
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

    /// Codes and bias of a layer that reads these inputs, and in the float model read those.
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

    /// The float model that is quantized: that of [`equalize`], [`smooth`](smooth()) and [`awq`](awq()), where they are asked for.
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
    /// Scales of the input and of what each layer makes of it.
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
    /// Integers of so many bits, static, min-max; float32 outputs.
    #[must_use]
    pub const fn int(bits: u8) -> Self {
        Self::Static { codes: CodeFormat::Int(bits), clipping: ActivationClipping::MinMax, outputs: false }
    }

    /// Floats of a format, static, min-max; float32 outputs. With `Float16` and `Float32` weights alone are quantized.
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
        // A sample is enough to compare.
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
