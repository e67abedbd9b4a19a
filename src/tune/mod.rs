//! Which candidate runs. It sees labels and counts, never what an op computes; measuring is done with `gpu` by its caller.

use crate::kernels::Candidate;

/// How a kernel is chosen among the candidates of an op.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Tuner {
    /// The first: the kernels' own best guess.
    #[default]
    FirstGuess,
    /// The nth of each op, or the last where there are fewer: for tests and benchmarks that try them all.
    Nth(usize),
}

impl Tuner {
    /// The index of the chosen candidate.
    pub(crate) fn choose(self, candidates: &[Candidate]) -> usize {
        match self {
            Self::FirstGuess => 0,
            Self::Nth(n) => n.min(candidates.len() - 1),
        }
    }
}
