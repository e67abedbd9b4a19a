//! Mixed precision: the sensitivity of each layer, and plans under a budget of bytes or an error target. `recipe` makes the
//! planned model.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::recipe::Recipe;
use super::scheme::WeightScheme;
use super::{check_calibration, trace};
use crate::error::{Result, require};
use crate::model::Model;
use crate::model::noise::noise_to_signal;
use crate::tensor::Tensor;

/// The cost of a layer in each of several schemes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Sensitivity {
    /// The layer's name.
    pub layer: String,
    /// One for each scheme, in the order of the schemes.
    pub choices: Vec<Choice>,
}

impl Sensitivity {
    /// A layer with its choices.
    #[must_use]
    pub fn new(layer: impl Into<String>, choices: Vec<Choice>) -> Self {
        Self { layer: layer.into(), choices }
    }
}

impl Choice {
    /// A scheme with its bytes and its noise, measured in any way.
    #[must_use]
    pub const fn new(scheme: WeightScheme, bytes: u64, noise: f64) -> Self {
        Self { scheme, bytes, noise }
    }
}

/// The cost of a layer in one scheme.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Choice {
    /// The quantization of the layer's weights.
    pub scheme: WeightScheme,
    /// The [bytes](super::QuantizedWeights::weight_bytes) of its weights.
    pub bytes: u64,
    /// Σ (y − y_float)² / Σ y_float² of the model's outputs when only this layer's weights are quantized.
    pub noise: f64,
}

/// A scheme for every layer with weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LayerPlan {
    /// By layer name.
    pub layers: BTreeMap<String, WeightScheme>,
    /// The [bytes](super::QuantizedWeights::weight_bytes) of all weights.
    pub bytes: u64,
    /// The sum of the layers' own noises. It is the noise of the whole model if the noises are small and independent.
    pub noise: f64,
}

impl LayerPlan {
    /// The noise as a signal-to-noise ratio in dB.
    #[must_use]
    pub fn sqnr_db(&self) -> f64 {
        -10.0 * self.noise.log10()
    }

    /// The recipe with the plan's schemes.
    #[must_use]
    pub fn recipe(&self, recipe: &Recipe) -> Recipe {
        Recipe { layers: self.layers.clone(), ..recipe.clone() }
    }
}

/// For each weighted layer and each scheme, the bytes and the noise of the model's outputs on calibration data when the recipe
/// quantizes only that layer's weights. `run` returns a float model's outputs, on any device: `|m| m.run(calibration)`.
///
/// # Errors
/// If there are no schemes, one is not possible, the calibration data are empty or don't fit, or `run` fails.
pub fn sensitivity(
    model: &Model,
    calibration: &Tensor,
    recipe: &Recipe,
    schemes: &[WeightScheme],
    mut run: impl FnMut(&Model) -> Result<Tensor>,
) -> Result<Vec<Sensitivity>> {
    require!(!schemes.is_empty(), "no schemes were given to choose from");
    schemes.iter().try_for_each(WeightScheme::check)?;
    check_calibration(model, calibration)?;
    let float = trace(model, calibration)?;
    let expected = run(model)?;
    let mut all = Vec::new();
    for (i, layer) in model.layers().iter().enumerate().filter(|(_, layer)| layer.is_weighted()) {
        let inputs = float[i].values::<f32>()?;
        let mut choices = Vec::new();
        for scheme in schemes {
            let floors = vec![0.0; layer.output().channels];
            let (weights, bias) = recipe.round_layer(layer, scheme, inputs, inputs, &floors);
            let changed = model.clone().with_parameters(layer.name(), weights.dequantized(), bias)?;
            let noise = noise_to_signal(expected.values()?, run(&changed)?.values()?);
            choices.push(Choice { scheme: *scheme, bytes: weights.weight_bytes(), noise });
        }
        all.push(Sensitivity { layer: layer.name().to_string(), choices });
    }
    Ok(all)
}

fn plan(layers: &[Sensitivity], chosen: &[usize]) -> LayerPlan {
    let choices = || layers.iter().zip(chosen).map(|(layer, &i)| (layer, layer.choices[i]));
    LayerPlan {
        layers: choices().map(|(layer, choice)| (layer.layer.clone(), choice.scheme)).collect(),
        bytes: choices().fold(0, |sum, (_, choice)| sum.saturating_add(choice.bytes)),
        noise: choices().map(|(_, choice)| choice.noise).sum(),
    }
}

/// The plans that no other plan beats in both bytes and noise, smallest first. The front is exact, as far as noises add up.
///
/// The search goes layer by layer and keeps the partial sums that no other beats in both. If a layer has no choice, there is no
/// plan.
#[must_use]
pub fn front(layers: &[Sensitivity]) -> Vec<LayerPlan> {
    let mut partial: Vec<(u64, f64, Vec<usize>)> = vec![(0, 0.0, Vec::new())];
    for layer in layers {
        let mut extended = Vec::new();
        for (bytes, noise, chosen) in &partial {
            for (i, choice) in layer.choices.iter().enumerate() {
                let chosen = chosen.iter().copied().chain([i]).collect();
                extended.push((bytes.saturating_add(choice.bytes), noise + choice.noise, chosen));
            }
        }
        extended.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        partial.clear();
        for candidate in extended {
            if partial.last().is_none_or(|last| candidate.1 < last.1) {
                partial.push(candidate);
            }
        }
    }
    partial.iter().map(|(_, _, chosen)| plan(layers, chosen)).collect()
}

/// The plans of a greedy search. It starts with each layer in its least noisy scheme. Each step changes one layer to the scheme
/// that adds the least noise for each byte it saves. If a layer has no choice, there is no plan.
#[must_use]
pub fn greedy(layers: &[Sensitivity]) -> Vec<LayerPlan> {
    if layers.iter().any(|layer| layer.choices.is_empty()) {
        return Vec::new();
    }
    let least = |layer: &Sensitivity| {
        (0..layer.choices.len()).min_by(|&a, &b| layer.choices[a].noise.total_cmp(&layer.choices[b].noise)).unwrap_or(0)
    };
    let mut chosen: Vec<usize> = layers.iter().map(least).collect();
    let mut plans = vec![plan(layers, &chosen)];
    loop {
        let mut steps = Vec::new();
        for (i, layer) in layers.iter().enumerate() {
            let now = layer.choices[chosen[i]];
            for (j, choice) in layer.choices.iter().enumerate().filter(|(_, choice)| choice.bytes < now.bytes) {
                steps.push(((choice.noise - now.noise) / (now.bytes - choice.bytes) as f64, i, j));
            }
        }
        let Some((_, i, j)) = steps.into_iter().min_by(|a, b| a.0.total_cmp(&b.0)) else { return plans };
        chosen[i] = j;
        plans.push(plan(layers, &chosen));
    }
}

/// The plan with the least noise that takes at most `budget` bytes.
///
/// # Errors
/// If no plan is that small.
pub fn within_bytes(plans: &[LayerPlan], budget: u64) -> Result<&LayerPlan> {
    let small = plans.iter().filter(|plan| plan.bytes <= budget);
    let best = small.min_by(|a, b| a.noise.total_cmp(&b.noise));
    let least = plans.iter().map(|plan| plan.bytes).min().unwrap_or(0);
    require!(best.is_some(), "no plan takes at most {budget} bytes: the smallest takes {least}");
    Ok(best.expect("just checked"))
}

/// The smallest plan whose signal-to-noise ratio is at least `target` dB.
///
/// # Errors
/// If no plan is that good.
pub fn with_sqnr(plans: &[LayerPlan], target: f64) -> Result<&LayerPlan> {
    let good = plans.iter().filter(|plan| plan.sqnr_db() >= target);
    let smallest = good.min_by_key(|plan| plan.bytes);
    let best = plans.iter().map(LayerPlan::sqnr_db).fold(f64::NEG_INFINITY, f64::max);
    require!(smallest.is_some(), "no plan reaches {target} dB: the best has {best:.1} dB");
    Ok(smallest.expect("just checked"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(noises: &[&[(u64, f64)]]) -> Vec<Sensitivity> {
        let choice = |&(bytes, noise): &(u64, f64)| Choice { scheme: WeightScheme::per_channel(8), bytes, noise };
        let layer = |(i, choices): (usize, &&[(u64, f64)])| Sensitivity {
            layer: format!("l{i}"),
            choices: choices.iter().map(choice).collect(),
        };
        noises.iter().enumerate().map(layer).collect()
    }

    /// Compares with every combination.
    #[test]
    fn the_front_is_exact() {
        let layers = layers(&[
            &[(8, 0.01), (4, 0.2), (2, 0.9)],
            &[(80, 0.001), (40, 0.05), (30, 0.04), (20, 2.0)],
            &[(16, 0.1), (8, 0.3)],
        ]);
        let mut all = Vec::new();
        for a in 0..3 {
            for b in 0..4 {
                for c in 0..2 {
                    all.push(plan(&layers, &[a, b, c]));
                }
            }
        }
        let beaten = |p: &LayerPlan| {
            all.iter().any(|q| (q.bytes < p.bytes && q.noise <= p.noise) || (q.bytes <= p.bytes && q.noise < p.noise))
        };
        let mut expected: Vec<u64> = all.iter().filter(|p| !beaten(p)).map(|p| p.bytes).collect();
        expected.sort_unstable();
        let front = front(&layers);
        assert_eq!(front.iter().map(|p| p.bytes).collect::<Vec<_>>(), expected);
        let budget = within_bytes(&front, 60).expect("the smallest takes 30");
        let best = all.iter().filter(|p| p.bytes <= 60).map(|p| p.noise).fold(f64::INFINITY, f64::min);
        assert_eq!(budget.noise, best);
        assert!(within_bytes(&front, 29).is_err());
        assert!(with_sqnr(&front, 30.0).is_err());
    }

    #[test]
    fn greedy_goes_from_the_best_to_the_smallest() {
        let layers = layers(&[&[(8, 0.01), (4, 0.2)], &[(80, 0.001), (40, 0.05)]]);
        let bytes: Vec<u64> = greedy(&layers).iter().map(|p| p.bytes).collect();
        assert_eq!(bytes, [88, 48, 44]);
    }
}
