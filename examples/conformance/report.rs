//! Outcomes of the cases, as tables for people or one JSON document for programs. `compare` decides which outputs are right.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::compare::Failure;

/// Outcome of one case.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    pub name: String,
    pub operator: String,
    /// `None` if the case passed.
    #[serde(flatten)]
    pub failure: Option<Failure>,
}

/// Outcomes of all cases.
#[derive(Debug)]
pub(crate) struct Report {
    device: String,
    strict: bool,
    operators: BTreeMap<String, Counts>,
    failures: Vec<Outcome>,
}

#[derive(Debug, Default, Clone, Copy, Serialize)]
struct Counts {
    passed: usize,
    failed: usize,
}

impl Report {
    pub(crate) fn new(device: String, strict: bool) -> Self {
        Self { device, strict, operators: BTreeMap::new(), failures: Vec::new() }
    }

    pub(crate) fn add(&mut self, outcome: Outcome) {
        let counts = self.operators.entry(outcome.operator.clone()).or_default();
        if outcome.failure.is_some() {
            counts.failed += 1;
            self.failures.push(outcome);
        } else {
            counts.passed += 1;
        }
    }

    pub(crate) fn failed(&self) -> usize {
        self.failures.len()
    }

    fn passed(&self) -> usize {
        self.operators.values().map(|counts| counts.passed).sum()
    }

    /// All outcomes as one JSON document.
    pub(crate) fn json(&self) -> String {
        let document = serde_json::json!({
            "device": self.device,
            "strict": self.strict,
            "passed": self.passed(),
            "failed": self.failed(),
            "operators": self.operators,
            "failures": self.failures,
        });
        format!("{document:#}")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}{}\n", self.device, if self.strict { ", strict" } else { "" })?;
        let width = self.operators.keys().map(|name| name.len()).max().unwrap_or(0).max("operator".len());
        writeln!(f, "{:<width$}  passed  failed", "operator")?;
        for (name, counts) in &self.operators {
            writeln!(f, "{name:<width$}  {:>6}  {:>6}", counts.passed, counts.failed)?;
        }
        writeln!(f)?;
        for Outcome { name, operator, failure } in &self.failures {
            if let Some(failure) = failure {
                writeln!(f, "FAILED {name} ({operator}): {failure}")?;
            }
        }
        if !self.failures.is_empty() {
            writeln!(f)?;
        }
        writeln!(f, "{} passed, {} failed", self.passed(), self.failed())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error { error } => f.write_str(error),
            Self::Mismatch { output, index, expected, got, wrong, elements } => write!(
                f,
                "{output}{index:?} is {got}, but {expected} is expected ({wrong} of {elements} elements are wrong)"
            ),
        }
    }
}
