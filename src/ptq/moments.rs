//! GPTQ for a single matrix: moments of its inputs, and weights in groups for `ops::Linear` rounded with them. Rounding the
//! layers of a `Model` is in `rounding`.

use rayon::prelude::*;

use super::linalg::Square;
use crate::error::{Result, require};
use crate::tensor::Tensor;
use crate::weights::{PackedWeights, Quantizer};

/// Second moments `Σ x·xᵀ` of the rows x that a linear layer reads, from calibration data.
///
/// ```
/// use lowbit::ptq::Moments;
/// use lowbit::weights::{Codes, Quantizer, ScaleFormat, WeightFormat};
/// use lowbit::Tensor;
/// let inputs = Tensor::new([2, 4], vec![1.0f32, 1.0, 0.0, 0.1, -1.0, -1.0, 0.5, 0.0])?;
/// let weights = Tensor::new([1, 4], vec![0.7f32, 0.26, -0.33, 0.1])?;
/// let mut moments = Moments::new(4)?;
/// moments.add(&inputs)?;
/// let quantizer = Quantizer::new(WeightFormat::new(Codes::INT4, 32, ScaleFormat::F32))?;
/// let product = |weights: &Tensor| -> lowbit::Result<f32> {
///     Ok(weights.values::<f32>()?.iter().zip(&inputs.values::<f32>()?[..4]).map(|(w, x)| w * x).sum())
/// };
/// let exact = product(&weights)?;
/// let rounded = product(&quantizer.quantize(&weights)?.dequantize()?)?;
/// let better = product(&moments.gptq(&weights, &quantizer)?.dequantize()?)?;
/// assert!((better - exact).abs() <= (rounded - exact).abs());
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Moments {
    /// The lower triangle.
    gram: Square,
    rows: usize,
}

/// The share of the mean diagonal that is added to the Hessian.
const DAMPING: f64 = 0.01;

impl Moments {
    /// The moments of no rows yet; a row has k numbers.
    ///
    /// # Errors
    /// If rows are empty, or the moments don't fit into memory.
    pub fn new(k: usize) -> Result<Self> {
        require!((1..=32_768).contains(&k), "moments of rows of {k} numbers: take 1 to 32768, which are 8 GiB already");
        Ok(Self { gram: Square::zeros(k), rows: 0 })
    }

    /// Adds the rows (the last dimension) of a float32 tensor.
    ///
    /// # Errors
    /// If rows have another length, or a number is not finite.
    pub fn add(&mut self, inputs: &Tensor) -> Result<()> {
        let (k, values) = (self.gram.n, inputs.values::<f32>()?);
        require!(
            inputs.tensor_type().shape().row_length() == k,
            "{} has rows of {} numbers, but the moments are of {k}",
            inputs.tensor_type(),
            inputs.tensor_type().shape().row_length()
        );
        let odd = values.iter().position(|x| !x.is_finite());
        require!(
            odd.is_none(),
            "number {} of the inputs is {}, but all must be finite",
            odd.unwrap_or(0),
            odd.map_or(0.0, |i| values[i])
        );
        self.rows += values.len() / k;
        // One thread computes a row of the matrix, so sums don't depend on the number of threads.
        self.gram.values.par_chunks_mut(k).enumerate().for_each(|(i, sums)| {
            for x in values.chunks_exact(k).filter(|x| x[i] != 0.0) {
                let value = f64::from(x[i]);
                sums[..=i].iter_mut().zip(x).for_each(|(sum, &x)| *sum += value * f64::from(x));
            }
        });
        Ok(())
    }

    /// Number of rows that were added.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The mean square of each column, for [`Quantizer::importance`].
    #[must_use]
    pub fn importance(&self) -> Vec<f32> {
        (0..self.gram.n).map(|i| (self.gram.at(i, i) / self.rows.max(1) as f64) as f32).collect()
    }

    /// The weights `[n, k]` in the quantizer's format, rounded so that outputs stay near the float ones on inputs like those
    /// added. Columns are rounded in order, and the columns still to be rounded compensate each error. The quantizer finds the
    /// scale of a group when its first column is reached, from the compensated columns, with errors weighted by the columns'
    /// mean squares.
    ///
    /// Source: GPTQ (Frantar et al., 2022, arXiv:2210.17323), the Hessian's diagonal damped by 1 % of its mean.
    ///
    /// # Errors
    /// If no rows were added, the weights are not float32 `[n, k]` or not finite, the format's scales are nested, or a group
    /// needs a scale that the format can't store.
    pub fn gptq(&self, weights: &Tensor, quantizer: &Quantizer) -> Result<PackedWeights> {
        let (k, values, format) = (self.gram.n, weights.values::<f32>()?, *quantizer.format());
        require!(
            self.rows > 0,
            "no inputs were added: give the layer's inputs for a few dozen rows of calibration data"
        );
        require!(
            weights.dims().len() == 2 && weights.dims()[1] == k,
            "the weights are {}, but the moments are of rows of {k}: give float32 [n, {k}]",
            weights.tensor_type()
        );
        require!(
            format.scales.nesting().is_none(),
            "{format}: a group's scale is stored with those of others, which are not known when it is reached"
        );
        let odd = values.iter().position(|x| !x.is_finite());
        require!(
            odd.is_none(),
            "weight {} is {}, and can't be quantized",
            odd.unwrap_or(0),
            odd.map_or(0.0, |i| values[i])
        );
        let upper = self.upper();
        let importance = self.importance();
        // Inputs that are all zero give no importance.
        let importance = importance.iter().any(|&x| x > 0.0).then_some(&importance[..]);
        let size = format.group.min(k);
        PackedWeights::build(format, [1, weights.dims()[0], k], |row, codes, groups, _| {
            let mut rest: Vec<f64> = values[row * k..][..k].iter().map(|&w| w.into()).collect();
            for (g, group) in groups.iter_mut().enumerate() {
                let columns = g * size..(g * size + size).min(k);
                let now: Vec<f32> = rest[columns.clone()].iter().map(|&w| w as f32).collect();
                let found = quantizer.held_group(&now, importance.map(|all| &all[columns.clone()]));
                *group = found.ok_or_else(|| quantizer.refusal(row))?;
                for i in columns {
                    codes[i] = quantizer.code(rest[i] as f32, *group);
                    let row = upper.row(i);
                    let error = (rest[i] - f64::from(format.real(codes[i], *group))) / row[i];
                    rest[i..].iter_mut().zip(&row[i..]).for_each(|(w, u)| *w -= error * u);
                }
            }
            Ok(())
        })
    }

    /// U with Uᵀ·U = H⁻¹ for the damped moments H.
    fn upper(&self) -> Square {
        let n = self.gram.n;
        let whole = |i: usize| (0..n).map(move |j| self.gram.at(i.max(j), i.min(j)));
        let gram = Square { n, values: (0..n).flat_map(whole).collect() };
        let mut share = DAMPING;
        // Damping makes the matrix positive definite. More of it is needed only where rounding errors undo that.
        loop {
            match gram.damped(share).upper_of_inverse() {
                Some(upper) => return upper,
                None => share *= 10.0,
            }
        }
    }
}
