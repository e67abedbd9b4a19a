//! Observes values of a graph over many batches on the reference. `device.rs` does on a device; the meaning of the observing ops is
//! in `ops`.

use super::{Histograms, Observation, Ranges};
use crate::error::{Result, refuse, require};
use crate::ops::{Bins, ObserveHistogram, ObserveRange, Op, RangeUpdate};
use crate::plan::{Graph, Value};
use crate::tensor::{Granularity, Tensor, TensorType};

/// The kind of observation of a value.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Observer {
    /// Ranges, as [`ObserveRange`].
    Range {
        /// The elements that share a range.
        granularity: Granularity,
        /// The rule for adding a batch.
        rule: RangeUpdate,
    },
    /// Histograms, as [`ObserveHistogram`].
    Histogram {
        /// The elements that share a histogram.
        granularity: Granularity,
        /// The bins of each histogram.
        bins: Bins,
    },
}

impl Observer {
    /// Observes the extremes of all batches.
    #[must_use]
    pub fn range(granularity: Granularity) -> Self {
        Self::Range { granularity, rule: RangeUpdate::MinMax }
    }

    /// Observes moving averages of the extremes of each batch.
    #[must_use]
    pub fn moving_average(granularity: Granularity, constant: f32) -> Self {
        Self::Range { granularity, rule: RangeUpdate::MovingAverage { constant } }
    }

    /// Observes histograms.
    #[must_use]
    pub fn histogram(granularity: Granularity, bins: Bins) -> Self {
        Self::Histogram { granularity, bins }
    }

    /// The op for a value of type `of`.
    fn op(self, of: &TensorType) -> Result<Kind> {
        require!(
            of.dtype() == crate::DType::Float32,
            "{of} was to be observed, but only float32 values are: observe before they are quantized"
        );
        Ok(match self {
            Self::Range { granularity, rule } => Kind::Range(ObserveRange::new(of.clone(), granularity, rule)?),
            Self::Histogram { granularity, bins } => {
                Kind::Histogram(ObserveHistogram::new(of.clone(), granularity, bins)?)
            }
        })
    }
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    Range(ObserveRange),
    Histogram(ObserveHistogram),
}

impl Kind {
    fn op(&self) -> Op {
        match self {
            Self::Range(op) => op.clone().into(),
            Self::Histogram(op) => op.clone().into(),
        }
    }

    fn state(&self) -> &TensorType {
        match self {
            Self::Range(op) => op.state(),
            Self::Histogram(op) => op.state(),
        }
    }

    fn empty(&self) -> Observation {
        match self {
            Self::Range(op) => Observation::Ranges(Ranges::empty(op)),
            Self::Histogram(op) => Observation::Histograms(Histograms::empty(op)),
        }
    }

    pub(super) fn read(&self, state: &Tensor) -> Result<Observation> {
        Ok(match self {
            Self::Range(op) => Observation::Ranges(Ranges::from_state(op, state)?),
            Self::Histogram(op) => Observation::Histograms(Histograms::from_state(op, state)?),
        })
    }

    fn write(&self, observation: &Observation) -> Result<Tensor> {
        match (self, observation) {
            (Self::Range(op), Observation::Ranges(ranges)) => ranges.to_state(op),
            (Self::Histogram(op), Observation::Histograms(histograms)) => histograms.to_state(op),
            (kind, _) => {
                refuse!("{} can't go on from an observation of another kind", kind.op().name());
            }
        }
    }
}

/// A graph whose values are observed. It has the graph's inputs and outputs, then an input and an output state for each
/// observer.
#[derive(Debug, Clone)]
pub struct Calibration {
    pub(super) graph: Graph,
    pub(super) inputs: usize,
    pub(super) kinds: Vec<Kind>,
}

impl Calibration {
    /// A calibration that observes these values of a graph.
    ///
    /// # Errors
    /// If a value is of another graph or not float32, or a granularity doesn't fit it.
    pub fn new(graph: &Graph, observed: &[(Value, Observer)]) -> Result<Self> {
        let mut graph = graph.clone();
        let (inputs, mut kinds) = (graph.input_types().len(), Vec::new());
        for &(value, observer) in observed {
            let kind = observer.op(graph.tensor_type(value)?)?;
            let state = graph.input(kind.state().clone());
            let next = graph.add(kind.op(), &[value, state])?;
            graph.output(next);
            kinds.push(kind);
        }
        Ok(Self { graph, inputs, kinds })
    }

    /// Observations of no batch, one per observer.
    #[must_use]
    pub fn empty(&self) -> Vec<Observation> {
        self.kinds.iter().map(Kind::empty).collect()
    }

    /// Runs a batch on the CPU reference, adds it to the observations, and returns the graph's own outputs.
    ///
    /// # Errors
    /// If the inputs don't fit the graph, or the observations don't fit this calibration.
    pub fn observe_reference(&self, observations: &mut [Observation], inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        let states = self.states(observations)?;
        let inputs: Vec<&Tensor> = inputs.iter().copied().chain(&states).collect();
        let mut outputs = self.graph.run_reference(&inputs)?;
        let next = outputs.split_off(outputs.len() - self.kinds.len());
        for ((observation, kind), state) in observations.iter_mut().zip(&self.kinds).zip(&next) {
            *observation = kind.read(state)?;
        }
        Ok(outputs)
    }

    pub(super) fn states(&self, observations: &[Observation]) -> Result<Vec<Tensor>> {
        let (given, expected) = (observations.len(), self.kinds.len());
        require!(given == expected, "{given} observations were given to {expected} observers");
        self.kinds.iter().zip(observations).map(|(kind, observation)| kind.write(observation)).collect()
    }
}
