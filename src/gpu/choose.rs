//! The choice of an op's candidate in a plan: by the tuner, the context's tuning, or a measurement. The measurement is in
//! `measure.rs`.

use std::time::Duration;

use super::Context;
use crate::kernels::{self, Candidate};
use crate::ops::Op;
use crate::tune::{Tuner, short};

/// Chooses the candidates of one plan.
pub(super) struct Chooser<'a> {
    context: &'a Context,
    tuner: Tuner,
    /// The time that is left for measurements.
    left: Duration,
}

impl<'a> Chooser<'a> {
    pub(super) fn new(context: &'a Context, tuner: Tuner) -> Self {
        let left = match tuner {
            Tuner::Measured { budget } => budget,
            _ => Duration::ZERO,
        };
        Self { context, tuner, left }
    }

    /// The index of the candidate to run.
    pub(super) fn choose(&mut self, op: &Op, candidates: &[Candidate]) -> usize {
        let guess = self.tuner.choose(candidates);
        let nothing_to_choose = candidates.len() < 2 || candidates.iter().any(|c| c.dispatches.is_empty());
        if !matches!(self.tuner, Tuner::Measured { .. }) || nothing_to_choose {
            return guess;
        }
        let class = kernels::class(op);
        if let Some(known) = self.known(&class, candidates) {
            return known;
        }
        if self.left.is_zero() { guess } else { self.measured(op, class, candidates).unwrap_or(guess) }
    }

    /// The candidate in the context's tuning, if it is legal.
    fn known(&self, class: &str, candidates: &[Candidate]) -> Option<usize> {
        let tuning = self.context.tuning();
        let label = tuning.get(class)?;
        let known = candidates.iter().position(|candidate| candidate.label == label);
        if known.is_none() {
            log::warn!("the tuning of {class} ignored: no candidate is called {}", short(label));
        }
        known
    }

    /// The candidate that a measurement chooses. The context remembers it if the measurement was complete.
    #[cfg(not(target_arch = "wasm32"))]
    fn measured(&mut self, op: &Op, class: String, candidates: &[Candidate]) -> Option<usize> {
        use super::measure::{Measurement, measure};
        let start = std::time::Instant::now();
        let measurement = measure(self.context, op, candidates.len(), self.left);
        self.left = self.left.saturating_sub(start.elapsed());
        match measurement {
            Ok(Measurement { fastest, complete }) => {
                if complete {
                    self.context.tuning().insert(class, candidates[fastest].label.clone());
                }
                Some(fastest)
            }
            Err(error) => {
                log::warn!("{class} takes its first guess, because measuring it failed: {error}");
                None
            }
        }
    }

    /// No measurement: browsers must not block.
    #[cfg(target_arch = "wasm32")]
    fn measured(&mut self, _: &Op, _: String, _: &[Candidate]) -> Option<usize> {
        None
    }
}
