//! The choice among candidates. It uses labels, counts and times, and never depends on the op's meaning. `gpu` measures the times.

mod tuning;

pub(crate) use tuning::{Machine, Tuning, short};

use std::time::Duration;

use crate::kernels::Candidate;

/// The choice of a kernel among the candidates of an op.
///
/// Every candidate computes equal bits, so the choice affects only the time.
///
/// ```no_run
/// use std::time::Duration;
/// use lowbit::{Context, Graph, Tuner};
/// # fn tuned(graph: &Graph) -> Result<(), Box<dyn std::error::Error>> {
/// let context = Context::new_blocking()?;
/// if let Ok(json) = std::fs::read_to_string("tuning.json") {
///     context.load_tuning(&json);
/// }
/// let plan = context.plan(graph, Tuner::Measured { budget: Duration::from_secs(2) })?;
/// std::fs::write("tuning.json", context.save_tuning())?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Tuner {
    /// The first candidate: the kernels' own best guess.
    #[default]
    FirstGuess,
    /// The nth candidate of each op, or the last if there are fewer. For tests and benchmarks that try all of them.
    Nth(usize),
    /// The fastest candidate on this device. Choices that the context knows, from earlier plans or
    /// [`Context::load_tuning`](crate::Context::load_tuning), are used without measurement. The rest are measured op by op, and the
    /// context remembers them. Ops share an entry if their names, data types and shapes are equal, with the number of rows rounded
    /// up to a power of two.
    ///
    /// Measurements run on the context's own queue and wait for it, so leave the device idle meanwhile. In a browser, where
    /// planning must not wait, only known choices are used: [`Context::tune`](crate::Context::tune) measures them.
    Measured {
        /// The time that a call of [`Context::plan`](crate::Context::plan) may measure. The sample or compilation in progress is
        /// completed after it. Ops that it does not reach take their first guess. Zero never measures.
        budget: Duration,
    },
}

impl Tuner {
    /// The index of the chosen candidate, if no times are known.
    pub(crate) fn choose(self, candidates: &[Candidate]) -> usize {
        match self {
            Self::FirstGuess | Self::Measured { .. } => 0,
            Self::Nth(n) => n.min(candidates.len() - 1),
        }
    }
}

/// A candidate replaces the first guess if its time is less than this fraction of the guess's: smaller gains are noise.
const CLEARLY_FASTER: f64 = 0.95;

/// The index of the fastest candidate, by the median of its samples. The first stays unless another is clearly faster. A median of
/// zero means that the clock is too coarse. A candidate without samples can't win.
pub(crate) fn pick(samples: &[Vec<f64>]) -> usize {
    let known = |times: &Vec<f64>| median(times).filter(|&time| time.is_finite() && time > 0.0);
    let Some(first) = samples.first().and_then(known) else { return 0 };
    let (mut best, mut least) = (0, first * CLEARLY_FASTER);
    for (i, times) in samples.iter().enumerate().skip(1) {
        if let Some(time) = known(times)
            && time < least
        {
            (best, least) = (i, time);
        }
    }
    best
}

/// The median of some times, the lower of two; `None` if there are none.
pub(crate) fn median(times: &[f64]) -> Option<f64> {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pick_takes_the_lowest_median_if_it_is_clearly_lower() {
        let table: [(&str, &[&[f64]], usize); 13] = [
            ("nothing", &[], 0),
            ("one", &[&[1.0]], 0),
            ("clearly faster", &[&[1.0, 1.0], &[0.5, 0.5]], 1),
            ("the fastest of several", &[&[4.0], &[2.0], &[1.0], &[3.0]], 2),
            ("slower", &[&[1.0], &[2.0]], 0),
            ("faster within noise", &[&[1.0], &[0.97]], 0),
            ("all equal", &[&[1.0, 1.0], &[1.0, 1.0], &[1.0, 1.0]], 0),
            ("an outlier", &[&[1.0, 1.1, 1.2], &[0.1, 2.0, 2.1]], 0),
            ("a coarse clock: all zero", &[&[0.0, 0.0], &[0.0, 0.0]], 0),
            ("a coarse clock: first zero", &[&[0.0], &[1.0]], 0),
            ("a coarse clock: other zero", &[&[1.0], &[0.0]], 0),
            ("no samples within the budget", &[&[1.0], &[]], 0),
            ("no clock at all", &[&[f64::NAN], &[f64::INFINITY], &[1.0]], 0),
        ];
        for (name, samples, expected) in table {
            let samples: Vec<_> = samples.iter().map(|times| times.to_vec()).collect();
            assert_eq!(pick(&samples), expected, "{name}");
        }
    }
}
