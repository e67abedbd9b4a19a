//! Rescales neighbouring layers so that both are easier to quantize. In float the model computes the same. Each function
//! returns a model, so calls can be chained.

use super::gram::grams;
use super::rounding::{Method, round};
use super::scheme::WeightScheme;
use super::{check_calibration, trace};
use crate::error::{Result, require};
use crate::model::{Activation, Layer, Model};
use crate::tensor::Tensor;

/// Pairs of neighbouring weighted layers where the second reads the channels of the first unmixed, so a channel can be scaled
/// in both. Between them lie only averages, and the only activation is ReLU.
fn pairs(model: &Model) -> Vec<(usize, usize)> {
    let weighted = model.layers().iter().enumerate().filter(|(_, layer)| layer.is_weighted()).map(|(i, _)| i);
    let weighted: Vec<usize> = weighted.collect();
    let homogeneous = |layer: &Layer| matches!(layer.activation(), None | Some(Activation::Relu));
    let all = |pair: &[usize]| model.layers()[pair[0]..pair[1]].iter().all(homogeneous);
    weighted.windows(2).filter(|pair| all(pair)).map(|pair| (pair[0], pair[1])).collect()
}

/// The input channel that weight `index` of a layer multiplies.
fn channel(layer: &Layer, index: usize) -> usize {
    let (k, channels) = (layer.row_length(), layer.channels_per_group());
    index / k / layer.outputs_per_group() * channels + index % k % channels
}

/// The greatest magnitude among the weights of each output.
fn row_ranges(layer: &Layer) -> Vec<f64> {
    let greatest = |row: &[f32]| row.iter().fold(0.0f32, |a, b| a.max(b.abs()));
    layer.weights().chunks_exact(layer.row_length()).map(|row| greatest(row).into()).collect()
}

/// The least range of an input channel, relative to the greatest range of the layer.
const LEAST_READ: f64 = 1e-20;

/// The greatest magnitude among the weights that read each input channel, and at least [`LEAST_READ`] of the greatest of all.
/// With the lower bound, a channel that nothing reads is scaled down most.
fn channel_ranges(layer: &Layer) -> Vec<f64> {
    let mut ranges = vec![0.0f64; layer.input().channels];
    for (i, w) in layer.weights().iter().enumerate() {
        let range = &mut ranges[channel(layer, i)];
        *range = range.max(f64::from(w.abs()));
    }
    let greatest = ranges.iter().copied().fold(0.0, f64::max);
    ranges.into_iter().map(|range| range.max(LEAST_READ * greatest)).collect()
}

/// The model with each channel between the two layers divided by its scale.
fn rescaled(model: Model, (producer, consumer): (usize, usize), scales: &[f64]) -> Result<Model> {
    let (first, second) = (&model.layers()[producer], &model.layers()[consumer]);
    let k = first.row_length();
    let divided = first.weights().iter().enumerate().map(|(i, &w)| (f64::from(w) / scales[i / k]) as f32).collect();
    let bias = first.bias().iter().zip(scales).map(|(&b, s)| (f64::from(b) / s) as f32).collect();
    let scaled = |(i, &w): (usize, &f32)| (f64::from(w) * scales[channel(second, i)]) as f32;
    let multiplied = second.weights().iter().enumerate().map(scaled).collect();
    let (first, second_name) = (first.name().to_string(), second.name().to_string());
    let second_bias = second.bias().to_vec();
    model.with_parameters(&first, divided, bias)?.with_parameters(&second_name, multiplied, second_bias)
}

/// Greatest factor between a scale and the geometric mean of all scales, so that f32 holds the scaled values.
const FARTHEST: f64 = 1e20;

/// Factors that are safe to divide by. A factor too far from the geometric mean moves to the bound. A factor of 0 becomes the
/// mean: it comes from a channel that is always 0, which gives no information.
fn bounded(factors: &[f64]) -> Vec<f64> {
    let known = || factors.iter().filter(|s| s.is_finite() && **s > 0.0);
    let mean = (known().map(|s| s.ln()).sum::<f64>() / known().count().max(1) as f64).exp();
    let bounded = |&s: &f64| if s.is_finite() && s > 0.0 { s.clamp(mean / FARTHEST, mean * FARTHEST) } else { mean };
    factors.iter().map(bounded).collect()
}

/// The model with channels rescaled between neighbours until the weights' ranges are equal on both sides:
/// `s_i = (1 / r2_i) · √(r1_i · r2_i)`. Here r1 is the greatest magnitude of the weights that produce channel i, and r2 that of
/// the weights that read it, at least 10⁻²⁰ of the greatest r2. Where r1 is 0, s is the geometric mean of the others.
///
/// Source: cross-layer equalization (Nagel et al., 2019, arXiv:1906.04721, eq. 11). It needs no data.
///
/// # Errors
/// If a weight leaves the range of f32.
pub fn equalize(model: &Model) -> Result<Model> {
    let mut model = model.clone();
    for _ in 0..20 {
        let mut change = 0.0f64;
        for pair in pairs(&model) {
            let made = row_ranges(&model.layers()[pair.0]);
            let read = channel_ranges(&model.layers()[pair.1]);
            let scales: Vec<f64> = made.iter().zip(&read).map(|(r1, r2)| (r1 * r2).sqrt() / r2).collect();
            let scales = bounded(&scales);
            change = scales.iter().fold(change, |a, s| a.max(s.ln().abs()));
            model = rescaled(model, pair, &scales)?;
        }
        if change < 1e-3 {
            break;
        }
    }
    Ok(model)
}

/// The model with part of the range of activations moved into the weights that read them:
/// `s_j = max|x_j|^α / max|w_j|^(1 − α)`. Activations are divided by s, weights are multiplied by it. α is 0 to 1, 0.5 by
/// default. `max|w_j|` is at least 10⁻²⁰ of the greatest, so a channel that nothing reads is scaled down most. Where s would be
/// 0, it is the geometric mean of the others.
///
/// Source: SmoothQuant (Xiao et al., 2022, arXiv:2211.10438, eq. 4).
///
/// # Errors
/// If α is not 0 to 1, or the calibration data are empty or don't fit.
pub fn smooth(model: &Model, calibration: &Tensor, alpha: f64) -> Result<Model> {
    require!((0.0..=1.0).contains(&alpha), "the migration strength α is {alpha}, but it must be 0 to 1");
    check_calibration(model, calibration)?;
    let mut model = model.clone();
    for pair in pairs(&model) {
        let activations = trace(&model, calibration)?;
        let channels = model.layers()[pair.1].input().channels;
        let mut greatest = vec![0.0f64; channels];
        for (i, x) in activations[pair.1].values::<f32>()?.iter().enumerate() {
            greatest[i % channels] = greatest[i % channels].max(f64::from(x.abs()));
        }
        let weights = channel_ranges(&model.layers()[pair.1]);
        let scale = |(x, w): (&f64, &f64)| x.powf(alpha) / w.powf(1.0 - alpha);
        let scales: Vec<f64> = greatest.iter().zip(&weights).map(scale).collect();
        model = rescaled(model, pair, &bounded(&scales))?;
    }
    Ok(model)
}

/// The model with input channels rescaled so that weights of large activations are rounded more finely: `s_j = mean|x_j|^r`,
/// divided by the geometric mean of the least and the greatest of them. The exponent r is the one of 0, 0.05, … 0.95 with the
/// least error of the layer's outputs when its weights are rounded by the scheme.
///
/// Source: AWQ (Lin et al., 2023, arXiv:2306.00978, eq. 4 and 5).
///
/// # Errors
/// If the calibration data are empty or don't fit, or the scheme is not possible.
pub fn awq(model: &Model, calibration: &Tensor, scheme: &WeightScheme) -> Result<Model> {
    scheme.check()?;
    check_calibration(model, calibration)?;
    let activations = trace(model, calibration)?;
    let mut rescaled_model = model.clone();
    for pair in pairs(model) {
        // The layer's inputs are those of the original model, even after earlier layers have been rescaled.
        let inputs = activations[pair.1].values::<f32>()?;
        let layer = &rescaled_model.layers()[pair.1];
        let channels = layer.input().channels;
        let mut mean = vec![0.0f64; channels];
        inputs.iter().enumerate().for_each(|(i, x)| mean[i % channels] += f64::from(x.abs()));
        let count = (inputs.len() / channels) as f64;
        let mean: Vec<f64> = mean.iter().map(|sum| (sum / count).max(1e-4)).collect();
        let grams = grams(layer, inputs, inputs, false);
        let (k, rows) = (layer.row_length(), layer.output().channels);
        let scales = |exponent: f64| -> Vec<f64> {
            let raw: Vec<f64> = mean.iter().map(|m| m.powf(exponent)).collect();
            let (low, high) = raw.iter().fold((f64::INFINITY, 0.0f64), |(l, h), &s| (l.min(s), h.max(s)));
            bounded(&raw.iter().map(|s| s / (low * high).sqrt()).collect::<Vec<f64>>())
        };
        let error = |scales: &[f64]| -> f64 {
            let scaled = |(i, &w): (usize, &f32)| (f64::from(w) * scales[channel(layer, i)]) as f32;
            let weights: Vec<f32> = layer.weights().iter().enumerate().map(scaled).collect();
            let rounded = round(&weights, rows, scheme, Method::Nearest, &grams, &vec![0.0; rows]).dequantized();
            let unscaled =
                |(i, (&w, &q)): (usize, (&f32, &f32))| f64::from(w) - f64::from(q) / scales[channel(layer, i)];
            let difference: Vec<f64> = layer.weights().iter().zip(&rounded).enumerate().map(unscaled).collect();
            let row = |(i, row): (usize, &[f64])| grams[i * grams.len() / rows].error(row);
            difference.chunks_exact(k).enumerate().map(row).sum()
        };
        let tried = (0..20).map(|i| scales(f64::from(i) / 20.0)).map(|scales| (error(&scales), scales));
        let best = tried.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, scales)| scales);
        if let Some(scales) = best {
            rescaled_model = rescaled(rescaled_model, pair, &scales)?;
        }
    }
    Ok(rescaled_model)
}
