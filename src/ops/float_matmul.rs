//! Matrix multiplication of floats. The meaning is `reference/float_matmul.rs`, the GPU programs are `kernels/gemm/float_matmul.rs`.

use super::OpDef;
use super::matmul::{Batches, Operand, Sizes};
use crate::error::{Result, require};
use crate::numeric::DType;
use crate::tensor::{Tensor, TensorType};
use std::borrow::Cow;

/// `out[…, i, j] = clamp( Σ_l lhs[…, i, l] · rhs[…, l, j] + bias[j] )`, in f32. It is the baseline for quantized products, and the
/// product of training: backward passes transpose either operand.
///
/// * `lhs`: float32 or float16 `[…, m, k]`, or `[…, k, m]` if [transposed](FloatMatmulBuilder::transposed_lhs).
/// * `rhs`: float32 or float16 `[…, k, n]`, or `[…, n, k]` if [transposed](FloatMatmulBuilder::transposed_rhs): constant weights,
///   or an input.
/// * Leading dimensions broadcast as in NumPy; m, n and k may be 0 (the empty sum is the bias).
/// * Output: `[…, m, n]` in float32 (or float16: the f32 result rounded to nearest even, infinite beyond its range).
///
/// The order of summation is unspecified but fixed: equal inputs give equal bits on one device. With u = 2⁻²³ (a device may return
/// either neighbour of an exact result) the error of the sum is at most
///
/// ```text
/// u · (k + 8) · Σ_l |lhs_l · rhs_l|
/// ```
///
/// if the sum of magnitudes, with the bias, stays in float32. Any partial sum may occur, so there is no bound if one may overflow.
/// The bias and the rounding of the output add one unit of the result each. Numbers below 2⁻¹²⁶ may count as zero. Results for NaN
/// and infinity are device-specific, because WGSL leaves them open.
///
/// ```
/// use lowbit::{Tensor, ops::FloatMatmul, reference};
/// let x = Tensor::new([1, 2], vec![1.0f32, 2.0])?;
/// let weights = Tensor::new([3, 2], vec![1.0f32, 0.0, 0.0, 1.0, 1.0, 1.0])?;
/// let op = FloatMatmul::new(x.tensor_type().clone(), weights).transposed_rhs().clamp(0.0, 2.5).build()?;
/// assert_eq!(reference::run(&op.into(), &[&x])?[0].values::<f32>()?, [1.0, 2.0, 2.5]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct FloatMatmul {
    lhs: TensorType,
    rhs: Operand,
    lhs_transposed: bool,
    rhs_transposed: bool,
    bias: Option<Operand>,
    bounds: (f32, f32),
    output_type: TensorType,
    sizes: Sizes,
    batches: Batches,
}

/// Describes a [`FloatMatmul`]; made by [`FloatMatmul::new`].
#[derive(Debug, Clone)]
#[must_use]
pub struct FloatMatmulBuilder {
    lhs: TensorType,
    rhs: Operand,
    lhs_transposed: bool,
    rhs_transposed: bool,
    bias: Option<Operand>,
    bounds: (f32, f32),
    output: DType,
}

impl FloatMatmul {
    /// A builder for a product with float32 output.
    #[expect(clippy::new_ret_no_self, reason = "an op exists only once it is validated")]
    pub fn new(lhs: TensorType, rhs: impl Into<Operand>) -> FloatMatmulBuilder {
        FloatMatmulBuilder {
            lhs,
            rhs: rhs.into(),
            lhs_transposed: false,
            rhs_transposed: false,
            bias: None,
            bounds: (f32::NEG_INFINITY, f32::INFINITY),
            output: DType::Float32,
        }
    }

    pub(crate) fn lhs(&self) -> &TensorType {
        &self.lhs
    }

    pub(crate) fn rhs(&self) -> &Operand {
        &self.rhs
    }

    pub(crate) fn is_lhs_transposed(&self) -> bool {
        self.lhs_transposed
    }

    pub(crate) fn is_rhs_transposed(&self) -> bool {
        self.rhs_transposed
    }

    pub(crate) fn bias(&self) -> Option<&Operand> {
        self.bias.as_ref()
    }

    /// The index of the bias among the inputs, if the bias is an input.
    pub(crate) fn inputs_before_bias(&self) -> usize {
        1 + usize::from(matches!(self.rhs, Operand::Input(_)))
    }

    /// The least and greatest result.
    pub(crate) fn bounds(&self) -> (f32, f32) {
        self.bounds
    }

    pub(crate) fn output_type(&self) -> &TensorType {
        &self.output_type
    }

    pub(crate) fn sizes(&self) -> Sizes {
        self.sizes
    }

    /// The map from the matrices of the output to those of the operands.
    pub(crate) fn batches(&self) -> &Batches {
        &self.batches
    }

    /// The linear index of the element of lhs at (matrix, row, l).
    pub(crate) fn lhs_index(&self, matrix: usize, row: usize, l: usize) -> usize {
        let Sizes { m, k, .. } = self.sizes;
        matrix * m * k + if self.lhs_transposed { l * m + row } else { row * k + l }
    }

    /// The linear index of the element of rhs at (matrix, l, column).
    pub(crate) fn rhs_index(&self, matrix: usize, l: usize, column: usize) -> usize {
        let Sizes { n, k, .. } = self.sizes;
        matrix * n * k + if self.rhs_transposed { column * k + l } else { l * n + column }
    }

    /// The elements of a float tensor in f32.
    pub(crate) fn floats(tensor: &Tensor) -> Cow<'_, [f32]> {
        match tensor.values::<half::f16>() {
            Ok(halves) => halves.iter().map(|half| half.to_f32()).collect(),
            Err(_) => Cow::Borrowed(tensor.values::<f32>().expect("checked when made")),
        }
    }
}

impl OpDef for FloatMatmul {
    fn name(&self) -> &'static str {
        "float_matmul"
    }

    fn inputs(&self) -> Vec<TensorType> {
        let input = |operand: &Operand| match operand {
            Operand::Constant(_) => None,
            Operand::Input(tensor_type) => Some(tensor_type.clone()),
        };
        [Some(self.lhs.clone()), input(&self.rhs), self.bias.as_ref().and_then(input)].into_iter().flatten().collect()
    }

    fn outputs(&self) -> Vec<TensorType> {
        vec![self.output_type.clone()]
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        let mut given = inputs.iter().cloned();
        let mut next = || given.next().expect("as many inputs as the op has");
        let lhs = next();
        let rhs = match &self.rhs {
            Operand::Input(_) => Operand::Input(next()),
            constant => constant.clone(),
        };
        let bias = self.bias.as_ref().map(|bias| match bias {
            Operand::Input(_) => Operand::Input(next()),
            constant => constant.clone(),
        });
        let (lhs_transposed, rhs_transposed) = (self.lhs_transposed, self.rhs_transposed);
        let (bounds, output) = (self.bounds, self.output_type.dtype());
        FloatMatmulBuilder { lhs, rhs, lhs_transposed, rhs_transposed, bias, bounds, output }.build()
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        // The first dimension of the output must be that of lhs, and all of the output must share one rhs.
        let rhs = self.rhs.tensor_type();
        let one_matrix = rhs.dims()[..rhs.shape().rank() - 2].iter().product::<usize>() == 1;
        let (rank, outer) = (self.lhs.shape().rank(), self.output_type.shape().rank());
        if !one_matrix || rank != outer || (rank == 2 && self.lhs_transposed) {
            return None;
        }
        Some((0..self.inputs().len()).map(|input| input == 0).collect())
    }
}

impl FloatMatmulBuilder {
    /// Declares lhs as `[…, k, m]`: a weight gradient multiplies the transposed activations by the gradient of the output.
    pub fn transposed_lhs(mut self) -> Self {
        self.lhs_transposed = true;
        self
    }

    /// Declares rhs as `[…, n, k]`, the order in which linear layers store their weights.
    pub fn transposed_rhs(mut self) -> Self {
        self.rhs_transposed = true;
        self
    }

    /// Adds a float32 bias `[n]`: a constant, or the last input.
    pub fn bias(mut self, bias: impl Into<Operand>) -> Self {
        self.bias = Some(bias.into());
        self
    }

    /// Clamps results to a range; 0 and infinity give ReLU.
    pub fn clamp(mut self, low: f32, high: f32) -> Self {
        self.bounds = (low, high);
        self
    }

    /// The data type of the output: float32 or float16.
    pub fn output(mut self, dtype: DType) -> Self {
        self.output = dtype;
        self
    }

    /// Validates the description.
    ///
    /// # Errors
    /// If an operand is not float32 or float16 or is not a matrix, the inner sizes differ, the leading dimensions don't broadcast,
    /// or the bias or bounds don't fit.
    pub fn build(self) -> Result<FloatMatmul> {
        let Self { lhs, rhs, lhs_transposed, rhs_transposed, bias, bounds, output } = self;
        for (name, operand) in [("lhs", &lhs), ("rhs", rhs.tensor_type())] {
            require!(
                matches!(operand.dtype(), DType::Float32 | DType::Float16),
                "{name} is {operand}, but float_matmul multiplies float32 and float16: use Matmul or Linear for codes"
            );
            let rank = operand.shape().rank();
            require!(rank >= 2, "{name} is {operand} with {rank} dimensions, but a matrix has at least 2: reshape it");
        }
        require!(
            matches!(output, DType::Float32 | DType::Float16),
            "float_matmul makes float32 or float16, but {output} was asked for: quantize its output with Quantize"
        );
        require!(bounds.0 <= bounds.1, "the output is clamped to {}..={}, which is empty", bounds.0, bounds.1);
        let matrix = |t: &TensorType, transposed: bool| {
            let [.., rows, columns] = t.dims()[..] else { unreachable!("a matrix has two dimensions") };
            if transposed { [columns, rows] } else { [rows, columns] }
        };
        let [m, k] = matrix(&lhs, lhs_transposed);
        let [rhs_k, n] = matrix(rhs.tensor_type(), rhs_transposed);
        let note = |transposed: bool| if transposed { " (transposed)" } else { "" };
        require!(
            k == rhs_k,
            "lhs {lhs}{} has k = {k}, but rhs {}{} has k = {rhs_k}: make the inner sizes equal, or say with transposed_lhs and \
             transposed_rhs which operand lies the other way",
            note(lhs_transposed),
            rhs.tensor_type(),
            note(rhs_transposed)
        );
        if let Some(bias) = &bias {
            let given = bias.tensor_type();
            require!(
                given.dtype() == DType::Float32 && given.dims() == [n],
                "the bias is {given}, but it must be float32[{n}]"
            );
        }
        let batches = Batches::new(&lhs, rhs.tensor_type())?;
        let output_type = TensorType::new(output, batches.output(m, n))?;
        let sizes = Sizes { m, n, k };
        Ok(FloatMatmul { lhs, rhs, lhs_transposed, rhs_transposed, bias, bounds, output_type, sizes, batches })
    }
}
