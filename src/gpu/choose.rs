//! The choice of an op's candidate in a plan: by the tuner, the context's tuning, or a measurement. The measurement is in
//! `measure.rs`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use web_time::Instant;

use super::Context;
use super::measure::{Measurement, measure};
use crate::error::Result;
use crate::kernels::{self, Candidate};
use crate::ops::Op;
use crate::plan::{CandidateLists, Frame, Graph};
use crate::tune::{Tuner, short};

/// The candidates that measurements chose, by the class of the op.
pub(super) type Choices = HashMap<String, usize>;

/// Chooses the candidates of one plan.
pub(super) struct Chooser<'a> {
    context: &'a Context,
    tuner: Tuner,
    measured: Choices,
}

impl<'a> Chooser<'a> {
    pub(super) fn new(context: &'a Context, tuner: Tuner, measured: Choices) -> Self {
        Self { context, tuner, measured }
    }

    /// The index of the candidate to run.
    pub(super) fn choose(&self, op: &Op, candidates: &[Candidate]) -> usize {
        let guess = self.tuner.choose(candidates);
        if !matches!(self.tuner, Tuner::Measured { .. }) || !is_choice(candidates) {
            return guess;
        }
        let class = kernels::class(op);
        let known = known(self.context, &class, candidates);
        known.or_else(|| self.measured.get(&class).copied()).unwrap_or(guess)
    }
}

/// True if there is something to choose.
fn is_choice(candidates: &[Candidate]) -> bool {
    candidates.len() > 1 && candidates.iter().all(|candidate| !candidate.dispatches.is_empty())
}

/// The candidate in the context's tuning, if it is legal.
fn known(context: &Context, class: &str, candidates: &[Candidate]) -> Option<usize> {
    let tuning = context.tuning();
    let label = tuning.get(class)?;
    let known = candidates.iter().position(|candidate| candidate.label == label);
    if known.is_none() {
        log::warn!("the tuning of {class} ignored: no candidate is called {}", short(label));
    }
    known
}

/// An op to measure.
pub(super) struct Unknown {
    pub class: String,
    op: Arc<Op>,
    labels: Vec<String>,
}

/// The ops of a graph whose fastest candidates the context doesn't know, one of each class.
pub(super) fn unknown(
    context: &Context,
    graph: &Graph,
    frame: &Frame,
    lists: &CandidateLists<'_>,
) -> Result<Vec<Unknown>> {
    let (mut seen, mut unknown) = (HashSet::new(), Vec::new());
    frame.schedule(graph, lists, |op, candidates| {
        let class = kernels::class(op);
        if is_choice(candidates) && seen.insert(class.clone()) && known(context, &class, candidates).is_none() {
            let labels = candidates.iter().map(|candidate| candidate.label.to_string()).collect();
            unknown.push(Unknown { class, op: Arc::new(op.clone()), labels });
        }
        0
    })?;
    Ok(unknown)
}

/// The candidates that measurements choose until the budget is spent. The context remembers those whose measurement was complete.
pub(super) async fn measure_all(context: &Context, ops: &[Unknown], budget: Duration) -> Choices {
    let start = Instant::now();
    let mut choices = Choices::new();
    for Unknown { class, op, labels } in ops {
        let left = budget.saturating_sub(start.elapsed());
        if left.is_zero() {
            break;
        }
        match measure(context, op, labels.len(), left).await {
            Ok(Measurement { fastest, complete }) => {
                if complete {
                    context.tuning().insert(class.clone(), labels[fastest].clone());
                }
                choices.insert(class.clone(), fastest);
            }
            Err(error) => log::warn!("{class} takes its first guess, because measuring it failed: {error}"),
        }
    }
    choices
}
