//! Integer matrix multiplication. The meaning is `reference/matmul.rs`, the GPU programs are `kernels/gemm/matmul.rs`.

use std::sync::Arc;

use super::dynamic::DynamicGranularity;
use super::output::{Bias, Output, Stage};
use super::requantize::Requantize;
use super::sums::{self, BiasRanges, Channel, Offsets, Weights};
use super::{OpDef, check_int16};
use crate::error::{Result, require};
use crate::numeric::DType;
use crate::tensor::{Granularity, Shape, Tensor, TensorType};

/// An operand of a product: constant weights, or a tensor that is computed when the op runs.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Operand {
    /// A constant; kernels pack it once in advance.
    Constant(Arc<Tensor>),
    /// An input of the op; packed on the device in each run.
    Input(TensorType),
}

impl Operand {
    /// The type of the operand.
    #[must_use]
    pub fn tensor_type(&self) -> &TensorType {
        match self {
            Self::Constant(tensor) => tensor.tensor_type(),
            Self::Input(tensor_type) => tensor_type,
        }
    }
}

impl From<Tensor> for Operand {
    fn from(tensor: Tensor) -> Self {
        Self::Constant(Arc::new(tensor))
    }
}

impl From<Arc<Tensor>> for Operand {
    fn from(tensor: Arc<Tensor>) -> Self {
        Self::Constant(tensor)
    }
}

impl From<TensorType> for Operand {
    fn from(tensor_type: TensorType) -> Self {
        Self::Input(tensor_type)
    }
}

/// `out[…, i, j] = stage( Σ_l (lhs[…, i, l] − z_i) · (rhs[…, l, j] − v_j) )`
///
/// * `lhs`: int8 or uint8 `[…, m, k]`, quantized per tensor or per row (axis m), or dynamically; or int16, symmetric.
/// * `rhs`: integers of at most 8 bits `[…, k, n]` (`[…, n, k]` if transposed), quantized per tensor or per column (axis n).
///   Constant weights stay at their width in device memory.
/// * Leading dimensions broadcast as in NumPy; m, n and k may be 0 (the empty sum is the bias).
/// * The accumulator is i32 and exact: sums that could leave its range are refused. With int16 it has 48 bits; raw sums,
///   [`Rounding::FixedSingle`] and [`Rounding::FixedDouble`] take 32 of them.
///
/// Raw accumulators need no scales: an operand without one has zero point 0. The bias's own scale is not read.
///
/// Sources: ONNX MatMulInteger, QLinearMatMul, com.microsoft QGemm and DynamicQuantizeMatMul, TFLite FULLY_CONNECTED (8x8, 16x8).
///
/// [`Rounding::FixedSingle`]: crate::Rounding::FixedSingle
/// [`Rounding::FixedDouble`]: crate::Rounding::FixedDouble
///
/// ```
/// use lowbit::{DType, Quantization, Tensor, ops::{Matmul, Requantization}, reference};
/// let lhs = Tensor::new([1, 3], vec![10u8, 20, 30])?.quantized(Quantization::tensor(0.1, 10))?;
/// let weights = Tensor::new([3, 2], vec![1i8, -1, 2, -2, 3, -3])?.quantized(Quantization::tensor(0.5, 0))?;
/// let op = Matmul::new(lhs.tensor_type().clone(), weights)
///     .output(Requantization::new(DType::Uint8, 0.1, 0)?.relu())
///     .build()?;
/// let out = reference::run(&op.into(), &[&lhs])?;
/// assert_eq!(out[0].values::<u8>()?, [40, 0]); // 0·1 + 10·2 + 20·3 = 80 steps of 0.05
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Matmul {
    lhs: TensorType,
    rhs: Operand,
    transposed: bool,
    dynamic: Option<TensorType>,
    output: Output,
    output_type: TensorType,
    stage: Stage,
    /// True if sums need more than 32 bits.
    wide: bool,
    sizes: Sizes,
    batches: Batches,
}

/// The three sizes of a matmul.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub m: usize,
    pub n: usize,
    pub k: usize,
}

/// Describes a [`Matmul`]; made by [`Matmul::new`].
#[derive(Debug, Clone)]
#[must_use]
pub struct MatmulBuilder {
    lhs: TensorType,
    rhs: Operand,
    transposed: bool,
    dynamic: Option<DynamicGranularity>,
    bias: Bias,
    output: Output,
}

impl Matmul {
    /// A builder for a matmul with raw accumulators as output.
    #[expect(clippy::new_ret_no_self, reason = "an op exists only once it is validated")]
    pub fn new(lhs: TensorType, rhs: impl Into<Operand>) -> MatmulBuilder {
        MatmulBuilder {
            lhs,
            rhs: rhs.into(),
            transposed: false,
            dynamic: None,
            bias: Bias::None,
            output: Output::Accumulator,
        }
    }

    /// This matmul with its accumulators requantized to codes; `None` if the requantization's scales are neither per tensor nor per
    /// column.
    pub(crate) fn requantized(&self, next: &Requantize) -> Option<Self> {
        let stage = self.stage.then(next.stage_by_column(&self.output, &self.output_type)?)?;
        let output_type = next.output_type().clone();
        Some(Self { output: next.output().clone().into(), output_type, stage, ..self.clone() })
    }

    pub(super) fn clamped(&self, low: i32, high: i32) -> Option<Self> {
        let Output::Requantized(output) = &self.output else { return None };
        Some(Self { output: output.clone().narrowed(low, high).into(), ..self.clone() })
    }

    /// The products of the high and the low bytes of int16 codes, `x = 256 · high + low`, as raw sums; `None` for other types.
    pub(crate) fn byte_planes(&self) -> Option<[Self; 2]> {
        if self.lhs.dtype() != DType::Int16 {
            return None;
        }
        let half = |format| Self {
            lhs: self.lhs.with_dtype(format),
            output: Output::Accumulator,
            output_type: self.output_type.with_dtype(DType::Int32),
            stage: Stage::nothing(self.sizes.n),
            wide: false,
            ..self.clone()
        };
        Some([half(DType::Int8), half(DType::Uint8)])
    }

    /// True if sums need more than 32 bits.
    pub(crate) fn is_wide(&self) -> bool {
        self.wide
    }

    /// Number of input tensors.
    pub(crate) fn inputs_count(&self) -> usize {
        1 + usize::from(matches!(self.rhs, Operand::Input(_))) + usize::from(self.dynamic.is_some())
    }

    pub(crate) fn lhs(&self) -> &TensorType {
        &self.lhs
    }

    pub(crate) fn rhs(&self) -> &Operand {
        &self.rhs
    }

    pub(crate) fn is_transposed(&self) -> bool {
        self.transposed
    }

    /// The index and type of the input with the parameters of lhs, if the device computes them.
    pub(crate) fn dynamic(&self) -> Option<(usize, &TensorType)> {
        let position = 1 + usize::from(matches!(self.rhs, Operand::Input(_)));
        self.dynamic.as_ref().map(|t| (position, t))
    }

    pub(crate) fn output(&self) -> &Output {
        &self.output
    }

    pub(crate) fn output_type(&self) -> &TensorType {
        &self.output_type
    }

    pub(crate) fn stage(&self) -> &Stage {
        &self.stage
    }

    pub(crate) fn sizes(&self) -> Sizes {
        self.sizes
    }

    /// The map from the matrices of the output to those of the operands.
    pub(crate) fn batches(&self) -> &Batches {
        &self.batches
    }

    /// The scale and zero point of a row of lhs, counted within its matrix; 1 and 0 if lhs has none.
    pub(crate) fn lhs_parameters(&self, row: usize) -> (f32, i32) {
        self.lhs.parameters(row)
    }

    /// The scale and zero point of a column of rhs.
    pub(crate) fn rhs_parameters(&self, column: usize) -> (f32, i32) {
        self.rhs.tensor_type().parameters(column)
    }

    /// The linear index of the code of rhs at (matrix, k, column).
    pub(crate) fn rhs_index(&self, matrix: usize, k: usize, column: usize) -> usize {
        let Sizes { n, k: depth, .. } = self.sizes;
        matrix * n * depth + if self.transposed { column * depth + k } else { k * n + column }
    }
}

impl MatmulBuilder {
    /// Declares rhs as `[…, n, k]`, the order in which linear layers store their weights.
    pub fn transposed(mut self) -> Self {
        self.transposed = true;
        self
    }

    /// Reads the scale and zero point of lhs from the last input: one pair, or one per row of all matrices. They are computed on
    /// the device, by [`DynamicQuantize`](super::DynamicQuantize).
    ///
    /// ```
    /// use lowbit::ops::{DynamicGranularity, DynamicQuantize, Matmul, Output};
    /// use lowbit::{DType, Graph, Quantization, Tensor, TensorType};
    /// let weights = Tensor::new([3, 2], vec![1i8, 2, 3, 4, 5, 6])?.quantized(Quantization::tensor(0.5, 0))?;
    /// let mut graph = Graph::new();
    /// let x = graph.input(TensorType::new(DType::Float32, [1, 3])?);
    /// let quantize = DynamicQuantize::new(graph.tensor_type(x)?.clone(), DType::Uint8, DynamicGranularity::Row).build()?;
    /// let [codes, parameters] = graph.add_all(quantize, &[x])?[..]
    /// else { unreachable!() };
    /// let layer = Matmul::new(graph.tensor_type(codes)?.clone(), weights)
    ///     .dynamic_lhs(DynamicGranularity::Row)
    ///     .output(Output::real())
    ///     .build()?;
    /// let y = graph.add(layer, &[codes, parameters])?;
    /// graph.output(y);
    /// let x = Tensor::new([1, 3], vec![0.0f32, 255.0, 51.0])?;
    /// assert_eq!(graph.run_reference(&[&x])?[0].values::<f32>()?, [510.0, 663.0]);
    /// # Ok::<(), lowbit::Error>(())
    /// ```
    pub fn dynamic_lhs(mut self, granularity: DynamicGranularity) -> Self {
        self.dynamic = Some(granularity);
        self
    }

    /// Adds a bias that broadcasts to the output: int32 in steps of `s_lhs · s_rhs`, added to the accumulator, or
    /// float32 for a real output.
    pub fn bias(mut self, bias: impl Into<Arc<Tensor>>) -> Self {
        self.bias = Bias::Tensor(bias.into());
        self
    }

    /// Adds a bias per column in steps of `s_lhs · s_rhs` that may need more than 32 bits; models with int16 activations store it
    /// in this form.
    ///
    /// ```
    /// use lowbit::ops::{Matmul, Requantization};
    /// use lowbit::{DType, Quantization, Rounding, Tensor, reference};
    /// let x = Tensor::new([1, 2], vec![32_767i16, -32_768])?.quantized(Quantization::tensor(1.0, 0))?;
    /// let weights = Tensor::new([2, 1], vec![127i8, -127])?.quantized(Quantization::tensor(1.0, 0))?;
    /// let op = Matmul::new(x.tensor_type().clone(), weights)
    ///     .wide_bias([1 << 33])
    ///     .output(Requantization::new(DType::Int16, 1e6, 0)?.rounding(Rounding::FixedWide))
    ///     .build()?;
    /// let out = reference::run(&op.into(), &[&x])?;
    /// assert_eq!(out[0].values::<i16>()?, [8_598]); // (127 · 65,535 + 2³³) / 10⁶ is 8,598.26
    /// # Ok::<(), lowbit::Error>(())
    /// ```
    pub fn wide_bias(mut self, bias: impl Into<Arc<[i64]>>) -> Self {
        self.bias = Bias::Wide(bias.into());
        self
    }

    /// The output stage of the accumulators.
    pub fn output(mut self, output: impl Into<Output>) -> Self {
        self.output = output.into();
        self
    }

    /// Validates the description.
    ///
    /// # Errors
    /// If lhs is neither 8-bit nor symmetric int16, rhs is wider than 8 bits, the inner sizes differ, the leading dimensions don't
    /// broadcast, a granularity is not among those above, the accumulator could overflow, or the bias, multipliers or scales don't
    /// fit.
    pub fn build(self) -> Result<Matmul> {
        let (lhs, rhs) = (&self.lhs, self.rhs.tensor_type());
        require!(
            lhs.dtype().is_8_bit() || lhs.dtype() == DType::Int16,
            "lhs is {lhs}, but matmul multiplies int8, uint8 or int16: quantize it with Quantize or DynamicQuantize"
        );
        check_int16("lhs", lhs, self.dynamic.is_some())?;
        require!(
            rhs.dtype().is_narrow_integer(),
            "rhs is {rhs}, but matmul multiplies by integers of at most 8 bits: quantize it with Quantize"
        );
        for (name, operand) in [("lhs", lhs), ("rhs", rhs)] {
            let rank = operand.shape().rank();
            require!(rank >= 2, "{name} is {operand} with {rank} dimensions, but a matrix has at least 2: reshape it");
        }
        let lhs_matrix = &lhs.dims()[lhs.shape().rank() - 2..];
        let rhs_matrix = &rhs.dims()[rhs.shape().rank() - 2..];
        let (m, k) = (lhs_matrix[0], lhs_matrix[1]);
        let (rhs_k, n) = if self.transposed { (rhs_matrix[1], rhs_matrix[0]) } else { (rhs_matrix[0], rhs_matrix[1]) };
        require!(
            k == rhs_k,
            "lhs {lhs} has k = {k}, but rhs {rhs}{} has k = {rhs_k}: make the inner sizes equal{}",
            if self.transposed { " (transposed)" } else { "" },
            match (k == n, self.transposed) {
                (false, _) => "",
                (true, false) => ", or call transposed() if rhs is [n, k]",
                (true, true) => ", or leave out transposed() if rhs is [k, n]",
            }
        );

        let row_axis = lhs.shape().rank() - 2;
        let column_axis = rhs.shape().rank() - if self.transposed { 2 } else { 1 };
        check_granularity("lhs", lhs, row_axis, "rows")?;
        check_granularity("rhs", rhs, column_axis, "columns")?;
        let dynamic = match self.dynamic {
            None => {
                require!(
                    !lhs.has_dynamic_scales(),
                    "lhs {lhs} has its scale in another tensor: call dynamic_lhs and pass the parameters as the last input"
                );
                None
            }
            Some(granularity) => {
                require!(lhs.quantization().is_none(), "lhs has scales of its own, but they were said to be dynamic");
                let count = if granularity == DynamicGranularity::Tensor { 1 } else { lhs.shape().rows() };
                Some(TensorType::new(DType::Parameters, [count])?)
            }
        };

        let batches = Batches::new(lhs, rhs)?;
        let shape = batches.output(m, n);
        let output_type = self.output.tensor_type(&shape)?;
        let scaled =
            [(lhs, dynamic.is_some()), (rhs, false)].into_iter().all(|(t, known)| known || t.quantization().is_some());
        require!(
            scaled || !self.output.needs_scales(),
            "lhs has {}, rhs has {}: this output is made of both scales, so give them with TensorType::quantized",
            lhs.describe_scales(),
            rhs.describe_scales()
        );
        let stage = Stage::new(&self.output, &shape, dynamic.is_none().then_some(lhs), rhs, &self.bias)?;

        let mut matmul = Matmul {
            dynamic,
            transposed: self.transposed,
            sizes: Sizes { m, n, k },
            output: self.output,
            lhs: if self.dynamic.is_some() { self.lhs.with_dynamic_scales() } else { self.lhs },
            rhs: self.rhs,
            output_type,
            stage,
            wide: false,
            batches,
        };
        matmul.wide = matmul.check_sums(&self.bias)?;
        Ok(matmul)
    }
}

impl Matmul {
    /// True if sums need more than 32 bits.
    ///
    /// # Errors
    /// If sums could leave their accumulator.
    fn check_sums(&self, bias: &Bias) -> Result<bool> {
        let Sizes { n, k, .. } = self.sizes;
        let rhs = self.rhs.tensor_type();
        let leading = match &self.rhs {
            Operand::Constant(_) => &rhs.dims()[..rhs.shape().rank() - 2],
            // The matrices of an input are not known, so all have equal bounds.
            Operand::Input(_) => &[],
        };
        let bias = BiasRanges::new(bias, leading, n)?;
        let channels: Box<dyn Iterator<Item = Channel>> = match &self.rhs {
            Operand::Constant(rhs) if k > 0 => {
                let weights = move |matrix, column| {
                    let zero_point = self.rhs_parameters(column).1;
                    Weights::known((0..k).map(move |l| rhs.code(self.rhs_index(matrix, l, column)) - zero_point))
                };
                let channel = move |(matrix, column)| Channel {
                    index: Some(column),
                    weights: weights(matrix, column),
                    bias: bias.of(matrix, column),
                };
                let matrices: usize = leading.iter().product();
                let columns = (0..matrices).flat_map(move |matrix| (0..n).map(move |column| (matrix, column)));
                Box::new(columns.map(channel))
            }
            _ => {
                let alike = bias.is_uniform() && rhs.quantization().is_none_or(|q| q.zero_points().len() == 1);
                Box::new((0..if alike { n.min(1) } else { n }).map(move |column| Channel {
                    index: (!alike).then_some(column),
                    weights: Weights::unknown(k, rhs.dtype(), rhs.parameters(column).1),
                    bias: bias.of(0, column),
                }))
            }
        };
        if self.lhs.dtype() == DType::Int16 {
            return sums::check_wide(channels, k, &self.output);
        }
        let codes = if self.dynamic.is_some() { Offsets::dynamic() } else { Offsets::of(&self.lhs) };
        sums::check(channels, codes, k)?;
        Ok(false)
    }
}

impl OpDef for Matmul {
    fn name(&self) -> &'static str {
        "matmul"
    }

    fn inputs(&self) -> Vec<TensorType> {
        let rhs = match &self.rhs {
            Operand::Constant(_) => None,
            Operand::Input(tensor_type) => Some(tensor_type.clone()),
        };
        [Some(self.lhs.clone()), rhs, self.dynamic.clone()].into_iter().flatten().collect()
    }

    fn outputs(&self) -> Vec<TensorType> {
        vec![self.output_type.clone()]
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        let (lhs, rank) = (&inputs[0], inputs[0].shape().rank());
        require!(
            lhs.shape().row_length() == self.sizes.k,
            "lhs would become {lhs}, but k = {} can't change: rhs has as many",
            self.sizes.k
        );
        require!(
            self.stage.row_stride() == 0
                && (rank == 2 || self.lhs.quantization().is_none_or(|q| q.scales().len() == 1)),
            "the bias or the scales of lhs {} differ between rows, so that their number can't change",
            self.lhs
        );
        let mut rhs = self.rhs.clone();
        if let Operand::Input(rhs) = &mut rhs {
            *rhs = inputs[1].clone();
        }
        let rhs_type = rhs.tensor_type();
        let matrix = |t: &TensorType| t.dims()[t.shape().rank() - 2..].to_vec();
        require!(
            matrix(rhs_type) == matrix(self.rhs.tensor_type()),
            "rhs would become {rhs_type}, but the extent of k and n can't change: only lhs and leading dimensions can follow it"
        );
        let batches = Batches::new(lhs, rhs_type)?;
        let m = lhs.dims()[rank - 2];
        let sizes = Sizes { m, ..self.sizes };
        let output_type = self.output.tensor_type(&batches.output(m, sizes.n))?;
        let dynamic = self.dynamic.as_ref().map(|given| (given, inputs[inputs.len() - 1].clone()));
        if let Some((given, parameters)) = &dynamic {
            let (count, rows) = (parameters.shape().elements(), lhs.shape().rows());
            require!(
                count == rows || (count == 1 && given.shape().elements() == 1),
                "lhs {lhs} has {rows} rows, but there would be parameters for {count}: let both follow the extent"
            );
        }
        let dynamic = dynamic.map(|(_, parameters)| parameters);
        let transposed = self.transposed;
        let (output, stage) = (self.output.clone(), self.stage.clone());
        let wide = self.wide;
        Ok(Self { lhs: lhs.clone(), rhs, transposed, dynamic, output, output_type, stage, wide, sizes, batches })
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        let rhs = self.rhs.tensor_type();
        let one_matrix = rhs.dims()[..rhs.shape().rank() - 2].iter().product::<usize>() == 1;
        // The first dimension of the output must be that of lhs, and the parameters must have one entry per row of it.
        let (rank, outer) = (self.lhs.shape().rank(), self.output_type.shape().rank());
        if !one_matrix || rank != outer || (rank != 2 && self.dynamic.is_some()) {
            return None;
        }
        let rhs = matches!(self.rhs, Operand::Input(_)).then_some(false);
        let parameters = self.dynamic.as_ref().map(|t| t.shape().elements() > 1);
        Some([Some(true), rhs, parameters].into_iter().flatten().collect())
    }
}

fn check_granularity(name: &str, operand: &TensorType, axis: usize, what: &str) -> Result<()> {
    let granularity =
        operand.quantization().map_or(Granularity::Tensor, super::super::tensor::Quantization::granularity);
    require!(
        granularity == Granularity::Tensor || granularity == Granularity::Axis(axis),
        "{name} {operand} is quantized by {granularity:?}, but matmul takes one scale per tensor or per {} (axis {axis})",
        what.trim_end_matches('s')
    );
    Ok(())
}

/// The map from the matrices of an output to those of lhs and rhs, by NumPy broadcasting of the leading dimensions.
#[derive(Debug, Clone)]
pub(crate) struct Batches {
    lhs: Shape,
    rhs: Shape,
    output: Shape,
}

impl Batches {
    /// The sizes with all batches as rows of one product, if every batch multiplies the same matrix.
    pub(crate) fn folded(&self, sizes: Sizes) -> Sizes {
        Sizes { m: if self.share_rhs() { sizes.m * self.count() } else { sizes.m }, ..sizes }
    }

    /// The map for operands whose last two dimensions are a matrix.
    pub(super) fn new(lhs: &TensorType, rhs: &TensorType) -> Result<Self> {
        let leading = |t: &TensorType| Shape::new(&t.dims()[..t.shape().rank() - 2]);
        let (lhs, rhs) = (leading(lhs)?, leading(rhs)?);
        Ok(Self { output: lhs.broadcast(&rhs)?, lhs, rhs })
    }

    /// The dimensions of an output with m rows and n columns per matrix.
    pub(super) fn output(&self, m: usize, n: usize) -> Vec<usize> {
        [self.output.dims(), &[m, n]].concat()
    }

    /// Number of matrices of the output.
    pub(crate) fn count(&self) -> usize {
        self.output.elements()
    }

    /// The indices of the lhs and rhs matrices whose product is this matrix of the output.
    pub(crate) fn pair(&self, matrix: usize) -> (usize, usize) {
        (self.lhs.source_index(&self.output, matrix), self.rhs.source_index(&self.output, matrix))
    }

    /// True if output matrix i is lhs matrix i times the only rhs matrix, for every i.
    pub(crate) fn share_rhs(&self) -> bool {
        self.count() == 0 || (self.rhs.elements() == 1 && self.lhs.elements() == self.count())
    }
}
