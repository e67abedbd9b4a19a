//! Rounding a matrix of weights to codes: to the nearest, by GPTQ, or by descent on the error of the outputs. Which scales and
//! what of a model is rounded is decided here and in `mod`; nothing here knows of layers.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::gram::Gram;
use super::linalg::Square;
use super::scheme::{Grid, WeightClipping, WeightGranularity, WeightScheme};
use super::weights::QuantizedWeights;
use crate::numeric::BlockFormat;

/// How weights are rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Method {
    /// Each to the nearest code, ties to even.
    Nearest,
    /// One after the other, each error being made good by the weights that are still to be rounded. With `act_order` those come
    /// first whose inputs are largest.
    ///
    /// Source: GPTQ (Frantar et al., 2022, arXiv:2210.17323); the Hessian's diagonal is damped by 1 % of its mean.
    Gptq {
        /// Largest inputs first.
        act_order: bool,
    },
    /// From the better of the two above, one weight after the other moves to the code that makes the error of the outputs
    /// least, until none does; scales per channel are fitted anew in between.
    ///
    /// It minimizes the objective of AdaRound (Nagel et al., 2020, arXiv:2004.10568, eq. 2), over all codes rather than the two
    /// nearest, by the coordinate descent of QuantEase (Behdin et al., 2023, arXiv:2309.01885).
    Descent,
}

/// The share of the mean diagonal that is added to the Hessian.
const DAMPING: f64 = 0.01;

/// Fractions of the range that clipping tries.
const SHRINKS: usize = 40;

/// Ranges from which the descent starts.
const DESCENTS: usize = 4;

/// Times that a scale is fitted anew.
const REFITS: usize = 8;

/// Sweeps of a descent over a row.
const SWEEPS: usize = 20;

/// What rounding needs to know about the inputs of a group of rows.
struct Hessian<'a> {
    gram: &'a Gram,
    damped: Square,
    lower: Square,
    /// The order in which GPTQ rounds, and U with Uᵀ·U the inverse in it.
    order: Vec<usize>,
    upper: Square,
}

impl<'a> Hessian<'a> {
    fn new(gram: &'a Gram, method: Method) -> Self {
        let mut share = DAMPING;
        // Damping makes it positive definite; more is needed only where that is lost in rounding.
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
            // Its Cholesky factor exists in one order, so in any but for rounding.
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

/// Rounds `rows` rows of weights. Without moments of the inputs (one for every group of as many rows) only methods and
/// clippings that need none are possible, and stand in for those that do. No scale of a row is below its floor.
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

/// The grids of a range and of fractions of it.
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

/// The best by an error; the first of equals.
fn best<T>(candidates: impl Iterator<Item = T>, error: impl Fn(&T) -> f64) -> Option<T> {
    let measured = candidates.map(|candidate| (error(&candidate), candidate));
    measured.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, candidate)| candidate)
}

/// The one grid of a whole tensor.
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

/// A row that is to be rounded.
struct Row<'a> {
    target: &'a [f64],
    scheme: &'a WeightScheme,
    /// The format of the blocks that it is cut into, if it is.
    block: Option<&'a BlockFormat>,
    method: Method,
    hessian: Option<&'a Hessian<'a>>,
    group: usize,
    floor: f64,
}

impl Row<'_> {
    /// Codes, and the grid of each group.
    fn round(&self, shared: Option<Grid>) -> (Vec<i32>, Vec<Grid>) {
        let by_output = self.scheme.clipping == WeightClipping::Output && self.hessian.is_some();
        if let Some(grid) = shared {
            return self.rounded(vec![grid]);
        }
        if self.group == self.target.len() && by_output {
            // What GPTQ or the nearest codes make of a range says which are worth a descent.
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

    /// Codes before any descent.
    fn start(&self, grids: &[Grid]) -> Vec<i32> {
        match self.hessian {
            Some(hessian) if self.method != Method::Nearest => self.gptq(hessian, grids),
            _ => self.nearest(grids),
        }
    }

    fn nearest(&self, grids: &[Grid]) -> Vec<i32> {
        self.target.iter().enumerate().map(|(j, &w)| grids[j / self.group].nearest(w)).collect()
    }

    /// Rounded to these grids, or to better ones near by.
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

    /// The error that is minimized.
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
                // A tie between two codes must not turn for ever.
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

    /// Codes for the scale that suits the present ones best, if that makes the error less: `s = qᵀ·H·w / qᵀ·H·q`.
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
