//! Calibration statistics of a layer: second moments of its filters' inputs. Rounding with them is in `rounding`.

use rayon::prelude::*;

use super::linalg::Square;
use crate::model::Layer;

/// Second moments of the inputs x of a group of filters.
#[derive(Debug, Clone)]
pub(super) struct Gram {
    /// Σ x·xᵀ, where the preceding layers are quantized.
    pub gram: Square,
    /// Σ (x_float − x)·xᵀ: the error of the preceding layers.
    pub drift: Square,
}

/// Least number of patches that are unfolded together, as far as there are inputs.
const BLOCK: usize = 4096;

/// The moments of each group of a layer, from rows of its inputs in the float model and in the quantized one. Centred moments
/// are those of the inputs minus their means: the part of the error that a corrected bias leaves.
pub(super) fn grams(layer: &Layer, float: &[f32], inputs: &[f32], centred: bool) -> Vec<Gram> {
    let groups = layer.window().map_or(0, |w| w.groups);
    (0..groups).map(|group| gram(layer, group, float, inputs, centred)).collect()
}

fn gram(layer: &Layer, group: usize, float: &[f32], inputs: &[f32], centred: bool) -> Gram {
    let (k, read) = (layer.row_length(), layer.input().elements());
    let (mut gram, mut drift) = (Square::zeros(k), Square::zeros(k));
    let (mut sum, mut drift_sum, mut count) = (vec![0.0f64; k], vec![0.0f64; k], 0.0);
    let same = float == inputs;
    let images = read * BLOCK.div_ceil(layer.output().pixels());
    for (float, inputs) in float.chunks(images).zip(inputs.chunks(images)) {
        let (x, y) = (patches(layer, group, inputs), patches(layer, group, float));
        for (x, y) in x.chunks_exact(k).zip(y.chunks_exact(k)) {
            count += 1.0;
            for i in 0..k {
                sum[i] += f64::from(x[i]);
                drift_sum[i] += f64::from(y[i]) - f64::from(x[i]);
            }
        }
        // One thread computes a row of each matrix, so sums don't depend on the number of threads.
        let add = |(i, (gram, drift)): (usize, (&mut [f64], &mut [f64]))| {
            for (x, y) in x.chunks_exact(k).zip(y.chunks_exact(k)) {
                let (value, error) = (f64::from(x[i]), f64::from(y[i]) - f64::from(x[i]));
                if value != 0.0 {
                    gram.iter_mut().zip(x).for_each(|(sum, &x)| *sum += value * f64::from(x));
                }
                if !same && error != 0.0 {
                    drift.iter_mut().zip(x).for_each(|(sum, &x)| *sum += error * f64::from(x));
                }
            }
        };
        gram.values.par_chunks_mut(k).zip(drift.values.par_chunks_mut(k)).enumerate().for_each(add);
    }
    if centred && count > 0.0 {
        for i in 0..k {
            for j in 0..k {
                gram.values[i * k + j] -= sum[i] * sum[j] / count;
                drift.values[i * k + j] -= drift_sum[i] * sum[j] / count;
            }
        }
    }
    Gram { gram, drift }
}

fn patches(layer: &Layer, group: usize, rows: &[f32]) -> Vec<f32> {
    let unfold = |image: &[f32]| {
        let mut patches = Vec::new();
        layer.unfold(image, group, &mut patches);
        patches
    };
    rows.par_chunks(layer.input().elements()).flat_map_iter(unfold).collect()
}

impl Gram {
    /// The row of weights that comes nearest to `row` of the float layer on the inputs of the quantized model:
    /// `w + w·(Σ drift·xᵀ)·(Σ x·xᵀ)⁻¹`.
    ///
    /// Source: the asymmetric calibration of GPTAQ (Li et al., 2025, arXiv:2504.02692).
    pub(super) fn target(&self, lower: &Square, row: &[f64]) -> Vec<f64> {
        if self.drift.values.iter().all(|&v| v == 0.0) {
            return row.to_vec();
        }
        let k = self.gram.n;
        let pull = (0..k).map(|j| (0..k).map(|i| row[i] * self.drift.at(i, j)).sum()).collect();
        row.iter().zip(lower.solve(pull)).map(|(w, change)| w + change).collect()
    }

    /// The squared error of an output that `difference` in its weights causes, summed over the calibration data: eᵀ·(Σ x·xᵀ)·e.
    pub(super) fn error(&self, difference: &[f64]) -> f64 {
        self.gram.form(difference)
    }
}
