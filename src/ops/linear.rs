//! Products with group-quantized weights. The meaning is `reference/linear.rs`, the GPU programs are `kernels/grouped/linear.rs`. The
//! storage of weights is described in `weights`.

use std::sync::Arc;

use super::OpDef;
use super::dynamic::DynamicGranularity;
use crate::error::{Result, refuse, require};
use crate::numeric::DType;
use crate::tensor::{Granularity, Tensor, TensorType};
use crate::weights::{PANEL, PackedWeights};

/// `out[…, j] = clamp( Σ_l lhs[…, l] · weights[j, l] + bias[j] )`: a linear layer with weights quantized in groups along k.
///
/// * `lhs`: `[…, k]`. Either float32 or float16, multiplied without quantization. Or int8 or uint8 codes, quantized per tensor, per
///   row, in blocks along k, or dynamically ([`DynamicQuantize`](super::DynamicQuantize)); several layers can share one
///   quantization.
/// * `weights`: [`PackedWeights`] of `n` rows and `k` columns, in any of their formats. If they are
///   [`bound`](PackedWeights::bound), their words are the last input.
/// * Output: `[…, n]` in float32 (or float16: the f32 result rounded to nearest even, infinite beyond its range).
/// * With [`experts`](LinearBuilder::experts) a second input, int32 `[…, selected]`, selects the matrices for each row of lhs; the
///   output is `[…, selected, n]`. An index outside the experts makes a row of zeros.
///
/// Products of codes are summed exactly in i32 over each group of weights (and block of lhs). All else is f32: products of floats
/// and codes, the scales, and the sum over groups. The order of summation is unspecified but fixed: equal inputs of one op give
/// equal bits on one device. With u = 2⁻²³ (a device may return either neighbour of an exact result) the error of the sum is at most
///
/// ```text
/// u · (K + R + 8) · Σ_l |x_l| · (|scale · code_l| + |shift|)        R = groups of weights + groups of lhs + k / 32,768 + 32
/// ```
///
/// K is k for float32, 5/4 k for float16 and 0 for codes. Matrix units add eight products or more to a sum at a time, and may
/// truncate all of them, the sum before and the sum after at the last bit of the largest. x_l is the real value of lhs. |shift| is
/// |scale · zero| or |offset|. |code| includes the bias of unsigned codes two more times. The bias and the rounding of the output
/// add one unit of the result each.
///
/// Intermediate numbers below 2⁻¹²⁶ may count as zero, including products of scales. There is no bound if an intermediate number
/// may leave float32: the sum above, with and without the scale of a row that has only one, the product of the scales of a row and
/// a group, or the sum over a group in units of its scale, with codes up to 256 times as large.
/// [`reference::tolerance`](crate::reference::tolerance) computes all of it. Results for NaN and infinity are device-specific,
/// because WGSL leaves them open.
///
/// Sources: com.microsoft MatMulNBits (`accuracy_level` 4 is lhs in int8), ggml's mul_mat and mul_mat_id, GPTQ, AWQ.
///
/// ```
/// use lowbit::weights::{Codes, GroupParams, ScaleFormat, WeightFormat, PackedWeights};
/// use lowbit::{DType, Tensor, ops::Linear, reference};
/// let format = WeightFormat::new(Codes::INT4, 32, ScaleFormat::F16);
/// let weights = PackedWeights::build(format, [1, 1, 64], |_, codes, groups, _| {
///     codes.fill(2);
///     groups.copy_from_slice(&[GroupParams::scale(0.5), GroupParams::scale(-1.0)]);
///     Ok(())
/// })?;
/// let x = Tensor::new([1, 64], vec![1.0f32; 64])?;
/// let op = Linear::new(x.tensor_type().clone(), weights).build()?;
/// assert_eq!(reference::run(&op.into(), &[&x])?[0].values::<f32>()?, [32.0 - 64.0]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Linear {
    lhs: TensorType,
    weights: Arc<PackedWeights>,
    dynamic: Option<(DynamicGranularity, TensorType)>,
    indices: Option<TensorType>,
    bias: Option<Arc<Tensor>>,
    bounds: (f32, f32),
    output_type: TensorType,
}

/// Describes a [`Linear`]; made by [`Linear::new`].
#[derive(Debug, Clone)]
#[must_use]
pub struct LinearBuilder {
    lhs: TensorType,
    weights: Arc<PackedWeights>,
    dynamic: Option<DynamicGranularity>,
    selected: Option<usize>,
    bias: Option<Arc<Tensor>>,
    bounds: (f32, f32),
    output: DType,
}

impl Linear {
    /// A builder for a product with float32 output.
    #[expect(clippy::new_ret_no_self, reason = "an op exists only once it is validated")]
    pub fn new(lhs: TensorType, weights: impl Into<Arc<PackedWeights>>) -> LinearBuilder {
        LinearBuilder {
            lhs,
            weights: weights.into(),
            dynamic: None,
            selected: None,
            bias: None,
            bounds: (f32::NEG_INFINITY, f32::INFINITY),
            output: DType::Float32,
        }
    }

    /// The layer with the columns of all these layers, which have the same inputs and bounds.
    ///
    /// # Errors
    /// If they can't be one layer.
    pub(super) fn joined(layers: &[Self]) -> Result<Self> {
        let first = &layers[0];
        let dynamic = |layer: &Self| layer.dynamic.as_ref().map(|(granularity, _)| *granularity);
        for layer in layers {
            require!(layer.indices.is_none(), "a layer has experts, but layers are joined that have one matrix each");
            require!(
                layer.words_input().is_none(),
                "the words of a layer's weights are an input, but layers are joined whose weights are part of them: run each alone"
            );
            require!(
                layer.lhs == first.lhs && dynamic(layer) == dynamic(first),
                "a layer multiplies {} and another {}: give all one lhs, with the same scales",
                first.lhs,
                layer.lhs
            );
            require!(
                layer.bounds == first.bounds && layer.bias.is_some() == first.bias.is_some(),
                "one layer has a bias or bounds that another has not: give all the same"
            );
        }
        let weights: Vec<Arc<PackedWeights>> = layers.iter().map(|layer| layer.weights.clone()).collect();
        let Some(joined) = PackedWeights::joined(&weights) else {
            let list = weights.iter().map(|weights| weights.to_string()).collect::<Vec<_>>().join(", ");
            refuse!(
                "the weights {list} are not joined: their formats, columns and orders of columns are the same, and all but the \
                 last have a multiple of {PANEL} rows"
            );
        };
        let biases = layers.iter().filter_map(|layer| layer.bias.as_ref());
        let bias = biases.map(|bias| bias.values::<f32>()).collect::<Result<Vec<_>>>()?.concat();
        let builder = LinearBuilder {
            lhs: if first.dynamic.is_some() { first.lhs.without_scales() } else { first.lhs.clone() },
            weights: Arc::new(joined),
            dynamic: dynamic(first),
            selected: None,
            bias: first.bias.is_some().then(|| Tensor::new([bias.len()], bias)).transpose()?.map(Arc::new),
            bounds: first.bounds,
            output: DType::Float32,
        };
        builder.build()
    }

    /// The type of lhs with its columns at the positions of the weights, which include gaps between groups.
    ///
    /// # Errors
    /// If it has more elements than a tensor can hold.
    pub(crate) fn arranged(&self) -> Result<TensorType> {
        let positions = self.weights.layout().steps * 32;
        TensorType::new(self.lhs.dtype(), [self.lhs.shape().rows(), positions])
    }

    /// This product with float32 output.
    pub(crate) fn in_float32(&self) -> Self {
        let output_type = TensorType::new(DType::Float32, self.output_type.dims()).expect("the same shape");
        Self { output_type, ..self.clone() }
    }

    pub(crate) fn lhs(&self) -> &TensorType {
        &self.lhs
    }

    pub(crate) fn weights(&self) -> &Arc<PackedWeights> {
        &self.weights
    }

    pub(crate) fn bias(&self) -> Option<&Arc<Tensor>> {
        self.bias.as_ref()
    }

    /// The least and greatest result.
    pub(crate) fn bounds(&self) -> (f32, f32) {
        self.bounds
    }

    pub(crate) fn output_type(&self) -> &TensorType {
        &self.output_type
    }

    /// The index of the input that selects experts, and the number of experts per row.
    pub(crate) fn indices(&self) -> Option<(usize, usize)> {
        self.indices.as_ref().map(|t| (1, t.shape().row_length()))
    }

    /// The index of the input that holds the parameters of lhs, if the device computes them.
    pub(crate) fn dynamic(&self) -> Option<usize> {
        self.dynamic.as_ref().map(|_| 1 + usize::from(self.indices.is_some()))
    }

    /// The index of the input that has the words of the weights, if they are bound.
    pub(crate) fn words_input(&self) -> Option<usize> {
        self.weights.input_type().map(|_| self.inputs().len() - 1)
    }

    /// The granularity of the scales of lhs; `None` if it has no scales.
    pub(crate) fn lhs_scales(&self) -> Option<LhsScales> {
        let k = self.lhs.shape().row_length();
        let by_row = LhsScales { by_row: true, group: k.max(1), groups: 1 };
        let blocks = |size: usize| LhsScales { by_row: true, group: size.min(k.max(1)), groups: k.div_ceil(size) };
        if let Some((granularity, _)) = &self.dynamic {
            return Some(match granularity {
                DynamicGranularity::Tensor => LhsScales { by_row: false, ..by_row },
                DynamicGranularity::Row => by_row,
                DynamicGranularity::Group(size) => blocks(*size),
            });
        }
        Some(match self.lhs.quantization()?.granularity() {
            Granularity::Tensor => LhsScales { by_row: false, ..by_row },
            Granularity::Axis(_) => by_row,
            Granularity::Blocks { size, .. } => blocks(size),
        })
    }

    /// The scale and zero point of the codes of a row at this column, if they are known when the op is constructed. A row without
    /// columns also has them.
    pub(crate) fn lhs_parameters(&self, row: usize, column: usize) -> Option<(f32, i32)> {
        let quantization = self.lhs.quantization()?;
        let dims = self.lhs.dims();
        let last = dims.len() - 1;
        // `check_lhs_scales` permits only these axes and blocks.
        let index = match quantization.granularity() {
            Granularity::Tensor => 0,
            Granularity::Axis(axis) => row / dims[axis + 1..last].iter().product::<usize>() % dims[axis],
            Granularity::Blocks { size, .. } => row * dims[last].div_ceil(size) + column / size,
        };
        Some((quantization.scale(index), quantization.zero_point(index)))
    }
}

/// The granularity of the scales of lhs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LhsScales {
    /// True if each row has its own scales.
    pub by_row: bool,
    /// Number of codes along k that share a scale.
    pub group: usize,
    /// Number of scales per row.
    pub groups: usize,
}

impl LinearBuilder {
    /// Reads the scales and zero points of lhs from the last input, or the last but one if weights are bound: they are computed
    /// on the device, by [`DynamicQuantize`](super::DynamicQuantize) with this granularity.
    pub fn dynamic_lhs(mut self, granularity: DynamicGranularity) -> Self {
        self.dynamic = Some(granularity);
        self
    }

    /// Adds a float32 bias `[n]`, or `[experts, n]`.
    pub fn bias(mut self, bias: impl Into<Arc<Tensor>>) -> Self {
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

    /// Multiplies each row of lhs by `selected` of the matrices; the second input selects them (a mixture of experts).
    ///
    /// ```
    /// use lowbit::weights::{Codes, GroupParams, ScaleFormat, WeightFormat, PackedWeights};
    /// use lowbit::{Tensor, ops::Linear, reference};
    /// // Expert e multiplies by e + 1.
    /// let format = WeightFormat::new(Codes::INT4, usize::MAX, ScaleFormat::F32);
    /// let weights = PackedWeights::build(format, [3, 1, 1], |row, codes, groups, _| {
    ///     codes.fill(1);
    ///     groups.fill(GroupParams::scale(row as f32 + 1.0));
    ///     Ok(())
    /// })?;
    /// let x = Tensor::new([2, 1], vec![10.0f32, 20.0])?;
    /// let chosen = Tensor::new([2, 2], vec![0, 2, 1, -1])?;
    /// let op = Linear::new(x.tensor_type().clone(), weights).experts(2).build()?;
    /// assert_eq!(reference::run(&op.into(), &[&x, &chosen])?[0].values::<f32>()?, [10.0, 30.0, 40.0, 0.0]);
    /// # Ok::<(), lowbit::Error>(())
    /// ```
    pub fn experts(mut self, selected: usize) -> Self {
        self.selected = Some(selected);
        self
    }

    /// Validates the description.
    ///
    /// # Errors
    /// If k differs, lhs has another data type or scales that don't fit the groups of the weights, there are several matrices
    /// without a selection, or the bias or bounds don't fit.
    pub fn build(self) -> Result<Linear> {
        let Self { lhs, weights, dynamic, selected, bias, bounds, output } = self;
        let [experts, n, k] = weights.dims();
        require!(lhs.shape().rank() >= 1, "lhs is a scalar, but linear multiplies rows: reshape it to [1]");
        require!(
            lhs.shape().row_length() == k,
            "lhs {lhs} has k = {}, but the weights {weights} have k = {k}: make the inner sizes equal",
            lhs.shape().row_length()
        );
        require!(
            matches!(lhs.dtype(), DType::Float32 | DType::Float16) || lhs.dtype().is_8_bit(),
            "lhs is {lhs}, but linear multiplies float32, float16, int8 and uint8"
        );
        require!(
            weights.format().codes.are_integers() || !lhs.dtype().is_8_bit(),
            "lhs is {lhs}, but int8 holds no {}: multiply float32 or float16 by these weights",
            weights.format()
        );
        require!(
            matches!(output, DType::Float32 | DType::Float16),
            "linear makes float32 or float16, but {output} was asked for: quantize its output with Quantize"
        );
        require!(bounds.0 <= bounds.1, "the output is clamped to {}..={}, which is empty", bounds.0, bounds.1);
        let leading = &lhs.dims()[..lhs.shape().rank() - 1];
        let indices = match selected {
            None => {
                require!(
                    experts == 1,
                    "the weights are {experts} matrices, but nothing selects among them: call experts, and pass the indices \
                     as the second input"
                );
                None
            }
            Some(selected) => {
                Some(TensorType::new(DType::Int32, leading.iter().copied().chain([selected]).collect::<Vec<_>>())?)
            }
        };
        let shape: Vec<usize> = leading.iter().copied().chain(selected).chain([n]).collect();
        let output_type = TensorType::new(output, shape)?;
        if let Some(bias) = &bias {
            let values = bias.values::<f32>()?;
            require!(
                bias.dims() == [n] || bias.dims() == [experts, n],
                "the bias is {}, but it must be [{n}] or [{experts}, {n}]",
                bias.tensor_type()
            );
            let odd = values.iter().find(|value| !value.is_finite());
            require!(odd.is_none(), "the bias holds {}, but it must be finite", odd.unwrap_or(&0.0));
        }
        let dynamic = match dynamic {
            None => {
                require!(
                    !lhs.has_dynamic_scales(),
                    "lhs {lhs} has its scale in another tensor: call dynamic_lhs and pass the parameters as the last input"
                );
                None
            }
            Some(granularity) => {
                require!(
                    lhs.dtype().is_8_bit(),
                    "lhs {lhs} has no scales that could be dynamic: leave out dynamic_lhs"
                );
                require!(lhs.quantization().is_none(), "lhs has scales of its own, but they were said to be dynamic");
                Some((granularity, granularity.parameters(lhs.shape())?))
            }
        };
        require!(
            !lhs.dtype().is_8_bit() || dynamic.is_some() || lhs.quantization().is_some(),
            "lhs {lhs} has no scale: give it one with TensorType::quantized, or call dynamic_lhs"
        );
        let lhs = if dynamic.is_some() { lhs.with_dynamic_scales() } else { lhs };
        let linear = Linear { lhs, weights, dynamic, indices, bias, bounds, output_type };
        linear.check_lhs_scales()?;
        linear.arranged()?;
        Ok(linear)
    }
}

impl Linear {
    /// Refuses scales of lhs that change within a step of the kernels or that belong to single columns.
    fn check_lhs_scales(&self) -> Result<()> {
        let Some(scales) = self.lhs_scales() else { return Ok(()) };
        let layout = self.weights.layout();
        let last = self.lhs.shape().rank() - 1;
        let granularity = self.lhs.quantization().map(crate::tensor::Quantization::granularity);
        let along_k = match granularity {
            Some(Granularity::Axis(axis)) => axis != last,
            Some(Granularity::Blocks { axis, .. }) => axis == last,
            _ => true,
        };
        require!(
            along_k,
            "lhs {} is quantized by {:?}, but linear takes one scale per tensor, per row, or per block along axis {last}",
            self.lhs,
            granularity.unwrap_or(Granularity::Tensor)
        );
        let LhsScales { group, groups, .. } = scales;
        let regular = layout.sources().is_none() || layout.padded_group == layout.group;
        let fits = groups <= 1
            || (group == layout.group && !layout.is_reordered())
            || (regular && !layout.is_reordered() && (group % 32 == 0 || group == 16));
        require!(
            fits,
            "lhs is quantized in groups of {group} and the weights are in groups of {}{}: quantize lhs per row{}",
            layout.group,
            if layout.is_reordered() { " whose columns are in another order" } else { "" },
            if layout.is_reordered() { "" } else { ", in the weights' groups, or in groups of a multiple of 32" }
        );
        Ok(())
    }
}

impl OpDef for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn inputs(&self) -> Vec<TensorType> {
        let parameters = self.dynamic.as_ref().map(|(_, parameters)| parameters.clone());
        let words = self.weights.input_type();
        [Some(self.lhs.clone()), self.indices.clone(), parameters, words].into_iter().flatten().collect()
    }

    fn outputs(&self) -> Vec<TensorType> {
        vec![self.output_type.clone()]
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        let builder = LinearBuilder {
            lhs: if self.dynamic.is_some() { inputs[0].without_scales() } else { inputs[0].clone() },
            weights: self.weights.clone(),
            dynamic: self.dynamic.as_ref().map(|(granularity, _)| *granularity),
            selected: self.indices.as_ref().map(|t| t.shape().row_length()),
            bias: self.bias.clone(),
            bounds: self.bounds,
            output: self.output_type.dtype(),
        };
        builder.build()
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        // Parameters and indices have one entry per row of lhs.
        let rows = self.lhs.shape().rank() == 2 || (self.dynamic.is_none() && self.lhs.shape().rank() > 2);
        let words = self.words_input();
        let by_row = |(i, t): (usize, &TensorType)| i == 0 || (t.shape().elements() > 1 && words != Some(i));
        rows.then(|| self.inputs().iter().enumerate().map(by_row).collect())
    }
}
