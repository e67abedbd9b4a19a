//! The meaning of `ops::Linear`, and how far from it a device may be. GPU twin: `shaders/linear.wgsl`.

use super::bound::{self, FLUSHED, Sum, UNIT};
use crate::numeric::Format;
use crate::ops::Linear;
use crate::tensor::{Tensor, Values};
use crate::weights::{Row, Shift};

pub(super) fn linear(op: &Linear, inputs: &[&Tensor]) -> Tensor {
    let (low, high) = op.bounds();
    let value = |sum: Sum| (sum.value as f32).max(low).min(high);
    let values = (0..outputs(op)).flat_map(|row| sums(op, inputs, row)).map(|sum| sum.map_or(0.0, value)).collect();
    bound::reals(op.output_type(), values)
}

/// For each element the most that a device's result may differ, by the bounds that [`Linear`] documents.
pub(super) fn tolerance(op: &Linear, inputs: &[&Tensor]) -> Vec<f32> {
    let tolerance = |sum: Sum| sum.tolerance(op.output_type().format());
    (0..outputs(op)).flat_map(|row| sums(op, inputs, row)).map(|sum| sum.map_or(0.0, tolerance)).collect()
}

/// Rows of the output.
fn outputs(op: &Linear) -> usize {
    op.output_type().shape().rows()
}

/// The results of one row of the output; `None` where no expert is selected.
fn sums(op: &Linear, inputs: &[&Tensor], row: usize) -> Vec<Option<Sum>> {
    let [experts, n, _] = op.weights().dimensions();
    let (lhs_row, expert) = match op.indices() {
        None => (row, Some(0)),
        Some((input, selected)) => {
            let index = inputs[input].values::<i32>().expect("checked by run")[row];
            (row / selected, usize::try_from(index).ok().filter(|&expert| expert < experts))
        }
    };
    let Some(expert) = expert else { return (0..n).map(|_| None).collect() };
    let bias = |column: usize| {
        let bias = op.bias().map(|bias| bias.values::<f32>().expect("checked when made"));
        f64::from(bias.map_or(0.0, |b| b[if b.len() > n { expert * n + column } else { column }]))
    };
    let column = |column: usize| {
        let weights = op.weights().row(expert * n + column);
        let runs = Runs { op, inputs, lhs_row, weights: &weights };
        let mut sum = match inputs[0].format() {
            Format::Float32 | Format::Float16 => runs.floats(),
            _ => runs.codes(),
        };
        sum.value += bias(column);
        sum.error += UNIT * sum.value.abs() + FLUSHED;
        Some(sum)
    };
    (0..n).map(column).collect()
}

/// One row of lhs meets one row of weights.
struct Runs<'a> {
    op: &'a Linear,
    inputs: &'a [&'a Tensor],
    lhs_row: usize,
    weights: &'a Row,
}

impl Runs<'_> {
    /// The column of lhs that each position holds, and the group of its weight.
    fn columns(&self) -> impl Iterator<Item = (usize, usize, f32)> {
        let layout = self.op.weights().layout();
        let codes = self.op.weights().format().codes;
        self.weights.codes.iter().enumerate().filter_map(move |(position, &code)| {
            let column = layout.source(position)?;
            Some((column, position / layout.padded_group, codes.value(code)))
        })
    }

    fn floats(&self) -> Sum {
        let first = self.lhs_row * self.op.weights().dimensions()[2];
        let x = |column: usize| match self.inputs[0].raw() {
            Values::Float32(v) => f64::from(v[first + column]),
            Values::Float16(v) => v[first + column].to_f64(),
            _ => unreachable!("lhs is float"),
        };
        let terms = self.columns().map(|(column, group, code)| self.term(x(column), group, code));
        let k = self.op.weights().dimensions()[2];
        // On matrix units eight products cost ten operations: the sum before and the sum after are cut off too.
        self.sum(terms, if self.inputs[0].format() == Format::Float16 { k + k.div_ceil(4) } else { k })
    }

    fn codes(&self) -> Sum {
        let scales = self.op.lhs_scales().expect("lhs has scales");
        let first = self.lhs_row * self.op.weights().dimensions()[2];
        let parameters = |group: usize| match self.op.dynamic() {
            Some(input) => {
                let all = self.inputs[input].values::<(f32, i32)>().expect("checked by run");
                all[if scales.by_row { self.lhs_row * scales.groups + group } else { 0 }]
            }
            None => self.op.lhs_parameters(self.lhs_row, group * scales.group).expect("lhs has scales"),
        };
        let terms = self.columns().map(|(column, group, code)| {
            let (scale, zero_point) = parameters(column / scales.group);
            let x = f64::from(self.inputs[0].code(first + column) - zero_point);
            self.term(f64::from(scale) * x, group, code)
        });
        // What is exact on a device adds nothing to its error.
        self.sum(terms, 0)
    }

    /// A product, and the sum of the sizes of what it is made of.
    fn term(&self, x: f64, group: usize, code: f32) -> (f64, f64) {
        let (scale, shift) = (f64::from(self.weights.groups[group].scale), f64::from(self.weights.groups[group].shift));
        let code = f64::from(code);
        // The bias of unsigned codes is added apart, so that what is stored and the bias may both be large.
        let largest = scale.abs() * (code.abs() + 2.0 * f64::from(self.op.weights().format().codes.bias()));
        let (weight, size) = match self.op.weights().format().scales.shift() {
            Shift::None => (scale * code, largest),
            Shift::Zero => (scale * (code - shift), largest + (scale * shift).abs()),
            Shift::Offset => (scale * code + shift, largest + shift.abs()),
        };
        (x * weight, x.abs() * size)
    }

    /// The sum of terms, whose error grows with the operations that follow one another: those of floats within a run, the
    /// scaling of a run, and the sum over runs. Kernels end a run with a group, after 32,768 codes, and where one of up to 32
    /// slices of k ends.
    fn sum(&self, terms: impl Iterator<Item = (f64, f64)>, within: usize) -> Sum {
        let layout = self.op.weights().layout();
        let lhs_groups = self.op.lhs_scales().map_or(1, |scales| scales.groups);
        let runs = layout.groups + lhs_groups + layout.steps / 1024 + 32;
        let operations = (within + runs + 8) as f64;
        let (value, size) = terms.fold((0.0, 0.0), |sum, term| (sum.0 + term.0, sum.1 + term.1));
        Sum { value, error: operations * (UNIT * size + FLUSHED) }
    }
}
