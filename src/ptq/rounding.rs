//! Rounding a matrix of weights to codes: to nearest, by GPTQ, or by coordinate descent on the error of the outputs. Scales are
//! chosen here, too. Layers of a model are rounded in `recipe`; nothing here knows of layers.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::gram::Gram;
use super::linalg::Square;
use super::scheme::{Grid, WeightClipping, WeightGranularity, WeightScheme};
use super::weights::QuantizedWeights;
use crate::numeric::BlockFormat;

/// Rounding method for weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Method {
    /// Each weight to the nearest code, ties to even.
    Nearest,
    /// One weight after the other; the weights still to be rounded compensate each error. With `act_order`, weights with the
    /// largest inputs are rounded first.
    ///
    /// Source: GPTQ (Frantar et al., 2022, arXiv:2210.17323). The Hessian's diagonal is damped by 1 % of its mean.
    Gptq {
        /// Largest inputs first.
        act_order: bool,
    },
    /// Coordinate descent from the better result of nearest and GPTQ: one weight after the other moves to the code with the
    /// least error of the outputs, until none moves. Scales per channel are refitted in between.
    ///
    /// The objective is AdaRound's (Nagel et al., 2020, arXiv:2004.10568, eq. 2), over all codes instead of the two nearest.
    /// The coordinate descent is QuantEase's (Behdin et al., 2023, arXiv:2309.01885).
    Descent,
}

/// Share of the mean diagonal that is added to the Hessian's diagonal.
const DAMPING: f64 = 0.01;

/// Number of fractions of the range that clipping tries.
const SHRINKS: usize = 40;

/// Number of ranges from which the descent starts.
const DESCENTS: usize = 4;

/// Greatest number of refits of a scale.
const REFITS: usize = 8;

/// Greatest number of sweeps of a descent over a row.
const SWEEPS: usize = 20;

/// Input statistics of a group of rows, prepared for rounding.
struct Hessian<'a> {
    gram: &'a Gram,
    damped: Square,
    lower: Square,
    /// The order in which GPTQ rounds. In this order Uᵀ·U is the inverse of the damped moments, for U = `upper`.
    order: Vec<usize>,
    upper: Square,
}

impl<'a> Hessian<'a> {
    fn new(gram: &'a Gram, method: Method) -> Self {
        let mut share = DAMPING;
        // Damping makes the matrix positive definite. More of it is needed only where rounding errors undo that.
        let (damped, lower) = loop {
            let damped = gram.gram.damped(share);
            match damped.cholesky() {
                Some(lower) => break (damped, lower),
                None => share *= 10.0,
            }
        };
        let mut order: Vec<usize> = (0..damped.n).collect();
        if !matches!(method, Method::Gptq { act_order: false }) {
            order.sort_by(|&a, &b| damped.at(b, b).total_cmp(&damped.at(a, a)));
        }
        let upper = match method {
            Method::Nearest => Square::zeros(0),
            // The matrix has a Cholesky factor in its own order, so it has one in any order, except for rounding errors.
            _ => damped.permuted(&order).upper_of_inverse().unwrap_or_else(|| identity(damped.n)),
        };
        Self { gram, damped, lower, order, upper }
    }
}

fn identity(n: usize) -> Square {
    let mut identity = Square::zeros(n);
    (0..n).for_each(|i| identity.values[i * n + i] = 1.0);
    identity
}

/// Rounds `rows` rows of weights. Each element of `grams` belongs to an equal share of the rows. Without moments, methods and
/// clippings that need none replace those that do. No scale of a row is below its floor.
pub(super) fn round(
    weights: &[f32],
    rows: usize,
    scheme: &WeightScheme,
    method: Method,
    grams: &[Gram],
    floors: &[f64],
) -> QuantizedWeights {
    let k = weights.len() / rows;
    let group = scheme.group(k);
    let hessians: Vec<Hessian> = grams.par_iter().map(|gram| Hessian::new(gram, method)).collect();
    let hessian = |row: usize| (!hessians.is_empty()).then(|| &hessians[row * hessians.len() / rows]);
    let target = |row: usize| -> Vec<f64> {
        let own: Vec<f64> = weights[row * k..(row + 1) * k].iter().map(|&w| w.into()).collect();
        match hessian(row) {
            Some(h) if method != Method::Nearest => h.gram.target(&h.lower, &own),
            _ => own,
        }
    };
    let targets: Vec<Vec<f64>> = (0..rows).into_par_iter().map(target).collect();
    let greatest = targets.iter().flatten().fold(0.0f64, |a, w| a.max(w.abs()));
    let block = scheme.block(greatest as f32).expect("checked, and finite weights have a scale");
    let shared = match scheme.granularity {
        WeightGranularity::Tensor => Some(shared_grid(&targets, scheme, &hessian, floors)),
        _ => None,
    };
    let row = |row: usize| Row {
        target: &targets[row],
        scheme,
        block: block.as_ref(),
        method,
        hessian: hessian(row),
        group,
        floor: floors[row],
    };
    let rounded: Vec<(Vec<i32>, Vec<Grid>)> = (0..rows).into_par_iter().map(|i| row(i).round(shared)).collect();
    let grids = || rounded.iter().flat_map(|(_, grids)| grids);
    QuantizedWeights {
        scheme: *scheme,
        rows,
        scales: grids().map(|grid| grid.stored).collect(),
        global_scale: block.map_or(1.0, |block| block.unit()),
        zero_points: grids().map(|grid| grid.zero_point).collect(),
        codes: rounded.iter().flat_map(|(codes, _)| codes.iter().map(|&code| code as i16)).collect(),
    }
}

/// The grids of the whole range and of fractions of it.
fn candidates<'a>(
    scheme: &'a WeightScheme,
    values: &[f64],
    floor: f64,
    block: Option<&'a BlockFormat>,
) -> impl Iterator<Item = Grid> + use<'a> {
    let (low, high) = values.iter().fold((0.0f64, 0.0f64), |(low, high), &v| (low.min(v), high.max(v)));
    let count = if scheme.clipping == WeightClipping::MinMax { 1 } else { SHRINKS };
    (0..count).map(move |i| {
        let shrink = 1.0 - 0.75 * i as f64 / SHRINKS as f64;
        scheme.grid(low * shrink, high * shrink, floor, block)
    })
}

/// The candidate with the least error; the first of equals.
fn best<T>(candidates: impl Iterator<Item = T>, error: impl Fn(&T) -> f64) -> Option<T> {
    let measured = candidates.map(|candidate| (error(&candidate), candidate));
    measured.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, candidate)| candidate)
}

/// The grid that all rows of a tensor share.
fn shared_grid<'a>(
    targets: &[Vec<f64>],
    scheme: &WeightScheme,
    hessian: &impl Fn(usize) -> Option<&'a Hessian<'a>>,
    floors: &[f64],
) -> Grid {
    let all: Vec<f64> = targets.concat();
    let floor = floors.iter().fold(0.0f64, |a, &b| a.max(b));
    let error = |grid: &Grid| -> f64 {
        let row = |(i, target): (usize, &Vec<f64>)| {
            let difference: Vec<f64> = target.iter().map(|&w| w - grid.value(grid.nearest(w))).collect();
            match hessian(i) {
                Some(h) if scheme.clipping == WeightClipping::Output => h.gram.error(&difference),
                _ => difference.iter().map(|d| d * d).sum(),
            }
        };
        targets.iter().enumerate().map(row).sum()
    };
    best(candidates(scheme, &all, floor, None), error).expect("there is always the whole range")
}

/// A row of weights to be rounded.
struct Row<'a> {
    target: &'a [f64],
    scheme: &'a WeightScheme,
    /// The block format, if rows are divided into blocks.
    block: Option<&'a BlockFormat>,
    method: Method,
    hessian: Option<&'a Hessian<'a>>,
    group: usize,
    floor: f64,
}

impl Row<'_> {
    /// The codes, and the grid of each group.
    fn round(&self, shared: Option<Grid>) -> (Vec<i32>, Vec<Grid>) {
        let by_output = self.scheme.clipping == WeightClipping::Output && self.hessian.is_some();
        if let Some(grid) = shared {
            return self.rounded(vec![grid]);
        }
        if self.group == self.target.len() && by_output {
            // The error after GPTQ or nearest rounding decides which ranges are worth a descent.
            let tried = self.candidates(self.target).map(|grid| {
                let grids = vec![grid];
                (self.error(&self.start(&grids), &grids), grids)
            });
            let mut tried: Vec<(f64, Vec<Grid>)> = tried.collect();
            tried.sort_by(|a, b| a.0.total_cmp(&b.0));
            tried.truncate(if self.method == Method::Descent { DESCENTS } else { 1 });
            let rounded = tried.into_iter().map(|(_, grids)| self.rounded(grids));
            return best(rounded, |(codes, grids)| self.error(codes, grids)).expect("there is always the whole range");
        }
        let grids = self.target.chunks(self.group).enumerate().map(|(i, values)| {
            let error = |grid: &Grid| {
                let difference = values.iter().map(|&w| w - grid.value(grid.nearest(w)));
                match self.hessian.filter(|_| by_output) {
                    None => difference.map(|d| d * d).sum(),
                    Some(h) => {
                        let mut whole = vec![0.0; self.target.len()];
                        whole[i * self.group..].iter_mut().zip(difference).for_each(|(to, d)| *to = d);
                        h.gram.error(&whole)
                    }
                }
            };
            best(self.candidates(values), error).expect("there is always the whole range")
        });
        self.rounded(grids.collect())
    }

    fn candidates(&self, values: &[f64]) -> impl Iterator<Item = Grid> + use<'_> {
        candidates(self.scheme, values, self.floor, self.block)
    }

    /// The codes before any descent.
    fn start(&self, grids: &[Grid]) -> Vec<i32> {
        match self.hessian {
            Some(hessian) if self.method != Method::Nearest => self.gptq(hessian, grids),
            _ => self.nearest(grids),
        }
    }

    fn nearest(&self, grids: &[Grid]) -> Vec<i32> {
        self.target.iter().enumerate().map(|(j, &w)| grids[j / self.group].nearest(w)).collect()
    }

    /// The codes on these grids, or on better ones that a refit finds.
    fn rounded(&self, mut grids: Vec<Grid>) -> (Vec<i32>, Vec<Grid>) {
        let Some(hessian) = self.hessian.filter(|_| self.method == Method::Descent) else {
            return (self.start(&grids), grids);
        };
        let starts = [self.nearest(&grids), self.gptq(hessian, &grids)];
        let descended = starts.into_iter().map(|start| self.descend(hessian, &grids, start));
        let mut codes = best(descended, |codes| self.error(codes, &grids)).expect("two starts");
        for _ in 0..REFITS {
            let Some((better, grid)) = self.refit(hessian, &codes, &grids) else { break };
            (codes, grids) = (better, vec![grid]);
        }
        (codes, grids)
    }

    fn difference(&self, codes: &[i32], grids: &[Grid]) -> Vec<f64> {
        let difference = |(j, (w, &code)): (usize, (&f64, &i32))| w - grids[j / self.group].value(code);
        self.target.iter().zip(codes).enumerate().map(difference).collect()
    }

    /// The error that rounding minimizes.
    fn error(&self, codes: &[i32], grids: &[Grid]) -> f64 {
        let difference = self.difference(codes, grids);
        match self.hessian {
            Some(h) => h.damped.form(&difference),
            None => difference.iter().map(|d| d * d).sum(),
        }
    }

    fn gptq(&self, hessian: &Hessian, grids: &[Grid]) -> Vec<i32> {
        let order = &hessian.order;
        let mut rest: Vec<f64> = order.iter().map(|&j| self.target[j]).collect();
        let mut codes = vec![0; order.len()];
        for i in 0..order.len() {
            let grid = grids[order[i] / self.group];
            let code = grid.nearest(rest[i]);
            codes[order[i]] = code;
            let row = hessian.upper.row(i);
            let error = (rest[i] - grid.value(code)) / row[i];
            rest[i..].iter_mut().zip(&row[i..]).for_each(|(w, u)| *w -= error * u);
        }
        codes
    }

    fn descend(&self, hessian: &Hessian, grids: &[Grid], mut codes: Vec<i32>) -> Vec<i32> {
        let h = &hessian.damped;
        let difference = self.difference(&codes, grids);
        // Half the gradient: h · (target − value).
        let mut slope: Vec<f64> = (0..h.n).map(|i| super::linalg::dot(h.row(i), &difference)).collect();
        for _ in 0..SWEEPS {
            let mut changed = false;
            for j in 0..h.n {
                let (grid, curvature) = (grids[j / self.group], h.at(j, j));
                let now = grid.value(codes[j]);
                let code = grid.nearest(now + slope[j] / curvature);
                let step = grid.value(code) - now;
                // Requires an improvement, so that a tie between two codes can't alternate forever.
                if code == codes[j] || step * (step * curvature - 2.0 * slope[j]) >= -1e-12 * step * step * curvature {
                    continue;
                }
                codes[j] = code;
                changed = true;
                slope.iter_mut().zip(h.row(j)).for_each(|(s, h)| *s -= step * h);
            }
            if !changed {
                break;
            }
        }
        codes
    }

    /// The scale that fits the present codes best, `s = qᵀ·H·w / qᵀ·H·q`, and codes for it, if they reduce the error.
    fn refit(&self, hessian: &Hessian, codes: &[i32], grids: &[Grid]) -> Option<(Vec<i32>, Grid)> {
        let [grid] = grids else { return None };
        if self.scheme.granularity != WeightGranularity::Channel {
            return None;
        }
        let steps: Vec<f64> = codes.iter().map(|&code| grid.step(code)).collect();
        let product: Vec<f64> = (0..steps.len()).map(|i| super::linalg::dot(hessian.damped.row(i), &steps)).collect();
        let scale = super::linalg::dot(&product, self.target) / super::linalg::dot(&product, &steps);
        let scale = scale.max(self.floor) as f32;
        if !scale.is_normal() || scale <= 0.0 {
            return None;
        }
        let refitted = Grid { stored: scale, scale, ..*grid };
        let better = self.descend(hessian, &[refitted], codes.to_vec());
        let improves = self.error(&better, &[refitted]) < 0.9999 * self.error(codes, grids);
        improves.then_some((better, refitted))
    }
}
