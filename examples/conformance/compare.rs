//! Comparison of outputs with a case's tolerances; it finds the first element out of tolerance. `case` reads tolerances, `report`
//! prints failures.

use serde::Serialize;

use crate::array::{Array, Elements};
use crate::case::{Case, Named, Tolerance};

/// Reason why a case failed.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Failure {
    /// No outputs could be compared.
    Error { error: String },
    /// Elements differ.
    Mismatch {
        /// Name of the output.
        output: String,
        /// Coordinates of the first wrong element.
        index: Vec<usize>,
        expected: String,
        got: String,
        /// Number of wrong elements, and of all.
        wrong: usize,
        elements: usize,
    },
}

impl Failure {
    /// A failure without a wrong element.
    pub(crate) fn error(error: impl ToString) -> Self {
        Self::Error { error: error.to_string() }
    }
}

/// Compares all outputs of a case. `strict` allows no difference near ties, and asks for equal bits if the case says that they are
/// possible.
pub(crate) fn compare(case: &Case, got: &[Array], strict: bool) -> Result<(), Failure> {
    if got.len() != case.outputs.len() {
        return Err(Failure::error(format!("{} outputs were made, but {} expected", got.len(), case.outputs.len())));
    }
    for ((expected, tolerance), got) in case.outputs.iter().zip(&case.tolerances).zip(got) {
        compare_output(case, expected, tolerance, got, strict)?;
    }
    Ok(())
}

fn compare_output(
    case: &Case,
    expected: &Named,
    tolerance: &Tolerance,
    got: &Array,
    strict: bool,
) -> Result<(), Failure> {
    let (name, expected) = (&expected.name, &expected.array);
    let (is, should) = (got.elements.dtype(), expected.elements.dtype());
    if is != should || got.shape != expected.shape {
        let message = format!("{name} is {is} {:?}, but {should} {:?} is expected", got.shape, expected.shape);
        return Err(Failure::error(message));
    }
    let reference = match tolerance {
        Tolerance::Float { reference: Some(name), .. } => {
            let found = case.aux.iter().find(|aux| aux.name == *name).map(|aux| &aux.array);
            let found = found.filter(|array| array.elements.len() == got.elements.len());
            found.ok_or_else(|| Failure::error(format!("there is no fitting aux tensor \"{name}\" to compare with")))?
        }
        _ => expected,
    };
    let (e, r, g) = (&expected.elements, &reference.elements, &got.elements);
    let elements = g.len();
    let right = |i: usize| match tolerance {
        Tolerance::Exact { near_tie_indices, near_tie_max_lsb, nan_any_payload } => {
            g.bits(i) == e.bits(i)
                || (*nan_any_payload && g.value(i).is_nan() && e.value(i).is_nan())
                || (!strict
                    && (g.value(i) - e.value(i)).abs() <= f64::from(*near_tie_max_lsb)
                    && near_tie_indices.contains(&i))
        }
        Tolerance::Float { strict: Some(kind), .. } if strict && kind == "exact" => g.bits(i) == e.bits(i),
        Tolerance::Float { atol, rtol, .. } => near(g.value(i), r.value(i), *atol, *rtol),
        Tolerance::AnyOf { values } => values.contains(&g.value(i)),
        Tolerance::BytesFraction { .. } => g.bits(i) == e.bits(i),
    };
    let mut wrong_ones = (0..elements).filter(|&i| !right(i));
    let Some(first) = wrong_ones.next() else { return Ok(()) };
    let wrong = 1 + wrong_ones.count();
    if let Tolerance::BytesFraction { min_equal } = tolerance
        && (elements - wrong) as f64 >= min_equal * elements as f64
    {
        return Ok(());
    }
    Err(Failure::Mismatch {
        output: name.clone(),
        index: coordinates(first, &got.shape),
        expected: describe(tolerance, e, r, first),
        got: g.show(first),
        wrong,
        elements,
    })
}

fn near(got: f64, reference: f64, atol: f64, rtol: f64) -> bool {
    if got == reference || (got.is_nan() && reference.is_nan()) {
        return true;
    }
    // An infinite reference has an infinite bound, which would accept any number.
    reference.is_finite() && (got - reference).abs() <= atol + rtol * reference.abs()
}

/// Text of the expected value of an element.
fn describe(tolerance: &Tolerance, expected: &Elements, reference: &Elements, index: usize) -> String {
    match tolerance {
        Tolerance::AnyOf { values } => format!("one of {values:?}"),
        Tolerance::Float { .. } => reference.show(index),
        Tolerance::Exact { .. } | Tolerance::BytesFraction { .. } => expected.show(index),
    }
}

fn coordinates(mut index: usize, shape: &[usize]) -> Vec<usize> {
    let mut coordinates: Vec<usize> = shape
        .iter()
        .rev()
        .map(|&extent| {
            let at = index % extent;
            index /= extent;
            at
        })
        .collect();
    coordinates.reverse();
    coordinates
}
