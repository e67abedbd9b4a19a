//! The meaning of `ops::Linear`, and the error bound of a device. GPU twin: `shaders/grouped/linear.wgsl`.

use half::f16;

use super::Meaning;
use super::bound::{FLUSHED, Sum, UNIT};
use crate::error::Result;
use crate::numeric::{DType, QuantizationParams};
use crate::ops::Linear;
use crate::tensor::Tensor;
use crate::weights::{OffsetKind, Row, Rows};

impl Meaning for Linear {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![linear(self, inputs)?])
    }

    fn tolerance(&self, inputs: &[&Tensor]) -> Option<Vec<f32>> {
        Some(tolerance(self, inputs))
    }
}

pub(super) fn linear(op: &Linear, inputs: &[&Tensor]) -> Result<Tensor> {
    let weights = op.weights().among(inputs)?;
    let matrix = weights.rows()?;
    let (low, high) = op.bounds();
    let value = |sum: Sum| (sum.value as f32).max(low).min(high);
    let values = (0..outputs(op)).flat_map(|row| sums(op, &matrix, inputs, row)).map(|sum| sum.map_or(0.0, value));
    Ok(Tensor::from_reals(op.output_type().clone(), values))
}

/// The bound of each element's difference on a device, as [`Linear`] documents.
pub(super) fn tolerance(op: &Linear, inputs: &[&Tensor]) -> Vec<f32> {
    // Words that are no weights have no bound: a device makes of them whatever it makes.
    let Ok(weights) = op.weights().among(inputs) else {
        return vec![f32::INFINITY; op.output_type().shape().elements()];
    };
    let matrix = weights.rows().expect("held by the caller");
    let tolerance = |sum: Sum| sum.tolerance(op.output_type().dtype());
    (0..outputs(op)).flat_map(|row| sums(op, &matrix, inputs, row)).map(|sum| sum.map_or(0.0, tolerance)).collect()
}

/// Number of rows of the output.
fn outputs(op: &Linear) -> usize {
    op.output_type().shape().rows()
}

/// The results of one row of the output; `None` if no expert is selected.
fn sums(op: &Linear, matrix: &Rows<'_>, inputs: &[&Tensor], row: usize) -> Vec<Option<Sum>> {
    let [experts, n, _] = op.weights().dims();
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
        let weights = matrix.get(expert * n + column);
        let runs = Runs { op, inputs, lhs_row, weights: &weights };
        let mut sum = match inputs[0].dtype() {
            DType::Float32 | DType::Float16 => runs.floats(),
            _ => runs.codes(),
        };
        let bias = bias(column);
        sum.value += bias;
        sum.error += UNIT * sum.value.abs() + 2.0 * FLUSHED;
        sum.largest += bias.abs();
        Some(sum)
    };
    (0..n).map(column).collect()
}

/// The product of one row of lhs and one row of weights.
struct Runs<'a> {
    op: &'a Linear,
    inputs: &'a [&'a Tensor],
    lhs_row: usize,
    weights: &'a Row,
}

impl Runs<'_> {
    /// For each position: its column of lhs, the group of its weight, and the weight's code as a number.
    fn columns(&self) -> impl Iterator<Item = (usize, usize, f32)> {
        let layout = self.op.weights().layout();
        let codes = self.op.weights().format().codes;
        self.weights.codes.iter().enumerate().filter_map(move |(position, &code)| {
            let column = layout.source(position)?;
            Some((column, position / layout.padded_group, codes.value(code)))
        })
    }

    fn floats(&self) -> Sum {
        let first = self.lhs_row * self.op.weights().dims()[2];
        let lhs = self.inputs[0];
        let (singles, halves) = (lhs.values::<f32>(), lhs.values::<f16>());
        let x = |column: usize| match (&singles, &halves) {
            (Ok(values), _) => f64::from(values[first + column]),
            (_, Ok(values)) => values[first + column].to_f64(),
            _ => unreachable!("lhs is float"),
        };
        let terms = self.columns().map(|(column, group, code)| self.term(x(column), 1.0, group, code));
        let k = self.op.weights().dims()[2];
        // On matrix units eight products cost ten operations: the sum before and the sum after are truncated too.
        self.sum(terms, if self.inputs[0].dtype() == DType::Float16 { k + k.div_ceil(4) } else { k })
    }

    fn codes(&self) -> Sum {
        let scales = self.op.lhs_scales().expect("lhs has scales");
        let first = self.lhs_row * self.op.weights().dims()[2];
        let parameters = |group: usize| match self.op.dynamic() {
            Some(input) => {
                let all = self.inputs[input].values::<QuantizationParams>().expect("checked by run");
                let params = all[if scales.by_row { self.lhs_row * scales.groups + group } else { 0 }];
                (params.scale, params.zero_point)
            }
            None => self.op.lhs_parameters(self.lhs_row, group * scales.group).expect("lhs has scales"),
        };
        let terms = self.columns().map(|(column, group, code)| {
            let (scale, zero_point) = parameters(column / scales.group);
            let x = f64::from(self.inputs[0].code(first + column) - zero_point);
            self.term(x, scale.into(), group, code)
        });
        // Sums of codes are exact on a device and add nothing to the error.
        self.sum(terms, 0)
    }

    /// The product of a weight and a number, which is `x` in units of `unit`.
    fn term(&self, x: f64, unit: f64, group: usize, code: f32) -> Term {
        let (scale, shift) = (f64::from(self.weights.groups[group].scale), f64::from(self.weights.groups[group].shift));
        let code = f64::from(code);
        // The bias of unsigned codes is added separately, so the stored code and the bias may both be large.
        let largest = code.abs() + 2.0 * f64::from(self.op.weights().format().codes.bias());
        let (weight, codes, offset) = match self.op.weights().format().scales.shift() {
            OffsetKind::None => (scale * code, largest, 0.0),
            OffsetKind::ZeroPoint => (scale * (code - shift), largest + shift.abs(), 0.0),
            OffsetKind::Offset => (scale * code + shift, largest, shift.abs()),
        };
        let size = scale.abs() * codes + offset;
        Term { group, x: x.abs(), unit, scale: scale.abs(), codes, offset, product: unit * x * weight, size }
    }

    /// The sum of terms. Its error grows with the number of operations in sequence: the sums of floats within a run, the scaling of
    /// a run, and the sum over runs. Kernels end a run at the end of a group, after 32,768 codes, and at the end of one of up to 32
    /// slices of k.
    ///
    /// Sums of a run are in units of the scales, and up to [`ALIGNED`] times as large. A flushed number there costs, per operation,
    /// [`FLUSHED`] times the scale or offset that follows. If the scales or their product may be subnormal, all of a term may be
    /// lost. A device may apply the only scale of a row to the whole sum. If a sum in those units, that sum, or the product of the
    /// scales may leave f32, there is no bound.
    fn sum(&self, terms: impl Iterator<Item = Term>, within: usize) -> Sum {
        let layout = self.op.weights().layout();
        let lhs_groups = self.op.lhs_scales().map_or(1, |scales| scales.groups);
        let runs = layout.groups + lhs_groups + layout.steps / 1024 + 32;
        let operations = (within + runs + 8) as f64;
        let (mut value, mut size, mut lost, mut largest) = (0.0, 0.0, 0.0, 0.0f64);
        let (mut unscaled, mut most_unit) = (0.0, 0.0f64);
        let mut sums = vec![0.0; self.weights.groups.len()];
        for Term { group, x, unit, scale, codes, offset, product, size: weight } in terms {
            value += product;
            size += unit * x * weight;
            unscaled += x * weight;
            most_unit = most_unit.max(unit);
            let small = x < FLUSHED || unit < FLUSHED || scale.min(unit * scale) < LEAST_SCALE;
            lost += if small || (offset > 0.0 && offset < FLUSHED) { unit * x * weight } else { 0.0 };
            lost += 4.0 * FLUSHED * (scale + weight);
            sums[group] += (ALIGNED * x * codes.max(1.0)).max(if offset > 0.0 { unit * x } else { 0.0 });
            largest = worse(largest, worse(unit * scale, worse(unit * x, ALIGNED * codes)));
        }
        let largest = worse(sums.into_iter().fold(largest, worse), unscaled);
        let error = operations * (UNIT * size + FLUSHED * most_unit.max(1.0)) + lost;
        Sum { value, error, largest: worse(largest, size + error) }
    }
}

/// A product of a number of lhs and a weight.
struct Term {
    group: usize,
    /// The magnitude of the number of lhs; for a code, in units of its scale.
    x: f64,
    unit: f64,
    /// The magnitudes of the weight's scale, of its code with all numbers added to it, and of its offset.
    scale: f64,
    codes: f64,
    offset: f64,
    product: f64,
    /// The sum of the magnitudes of the weight's parts.
    size: f64,
}

/// The largest factor of codes, their zero points and their sums on a device: codes lie at the upper end of a byte.
const ALIGNED: f64 = 256.0;

/// Scales below this may become subnormal when a factor is applied, such as [`ALIGNED`] or the scale of a row.
const LEAST_SCALE: f64 = FLUSHED * (1 << 17) as f64;

/// The larger of two magnitudes; NaN if one is NaN.
fn worse(a: f64, b: f64) -> f64 {
    if a > b || a.is_nan() { a } else { b }
}
