//! The choice of an op's candidate in a plan: by the tuner, the context's tuning, or a measurement. The measurement is in
//! `measure.rs`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use web_time::Instant;

use super::measure::{Measurement, measure};
use super::plan::{frame, supported};
use super::{Context, PlanOptions};
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
struct Unknown {
    class: String,
    op: Arc<Op>,
    labels: Vec<String>,
}

/// The ops of a graph whose fastest candidates the context doesn't know, one of each class.
fn unknown(context: &Context, graph: &Graph, frame: &Frame, lists: &CandidateLists<'_>) -> Result<Vec<Unknown>> {
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
async fn measure_all(context: &Context, ops: &[Unknown], budget: Duration) -> Choices {
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

/// The kernels that measurements choose, for ops that the context doesn't know.
#[cfg(not(target_arch = "wasm32"))]
pub(super) fn measured(
    context: &Context,
    graph: &Graph,
    frame: &Frame,
    lists: &CandidateLists<'_>,
    tuner: Tuner,
) -> Result<Choices> {
    match tuner {
        Tuner::Measured { budget } if !budget.is_zero() => {
            let unknown = unknown(context, graph, frame, lists)?;
            Ok(pollster::block_on(measure_all(context, &unknown, budget)))
        }
        _ => Ok(Choices::default()),
    }
}

/// None: planning doesn't wait. `Context::tune` measures.
#[cfg(target_arch = "wasm32")]
pub(super) fn measured(_: &Context, _: &Graph, _: &Frame, _: &CandidateLists<'_>, _: Tuner) -> Result<Choices> {
    Ok(Choices::default())
}

impl Context {
    /// Measures the kernels of the ops of a graph whose fastest the context doesn't know, until the budget is spent, and remembers
    /// the fastest. Plans with [`Tuner::Measured`] use them, and [`Context::save_tuning`] saves them. Returns the number of kinds
    /// of ops that are still unknown. The sample or compilation in progress is completed after the budget.
    ///
    /// Natively [`Context::plan`] measures by itself. In a browser, where planning doesn't wait, await this before it.
    ///
    /// ```no_run
    /// # async fn tuned(context: lowbit::Context, graph: lowbit::Graph) -> lowbit::Result<()> {
    /// use std::time::Duration;
    /// context.tune(&graph, Duration::from_secs(2)).await?;
    /// let plan = context.plan(&graph, lowbit::Tuner::Measured { budget: Duration::ZERO })?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Context::plan`].
    pub async fn tune(&self, graph: &Graph, budget: Duration) -> Result<usize> {
        self.check_alive()?;
        let caps = supported(self)?;
        let ops = {
            let lists = CandidateLists::new(&caps);
            unknown(self, graph, &frame(self, graph, &lists, PlanOptions::default())?, &lists)?
        };
        measure_all(self, &ops, budget).await;
        self.check().await?;
        let tuning = self.tuning();
        Ok(ops.iter().filter(|op| tuning.get(&op.class).is_none()).count())
    }
}
