//! Integer convolution over one to three spatial dimensions, including transposed, grouped and depthwise ones. The meaning is
//! `reference/conv.rs`, the GPU programs are `kernels/conv/conv.rs`.

use std::sync::Arc;

use super::output::{Bias, Output, Stage};
use super::requantize::Requantize;
use super::sums::{self, BiasRanges, Channel, Offsets, Weights};
use super::window::{Window, WindowRequest, window_options};
use super::{OpDef, check_int16, check_pixels};
use crate::error::{Result, require};
use crate::numeric::DType;
use crate::tensor::{Granularity, Tensor, TensorType};

/// `out[b, p, o] = stage( Σ_tap Σ_i (lhs[b, p·stride + tap·dilation − pad, g·C/groups + i] − z) · (weights[o, tap, i] − v_o) )`
/// where `g` is the group of output channel `o`
///
/// * `lhs`: int8, uint8 or symmetric int16 `[batch, spatial…, channels]` (NHWC), one to three spatial dimensions, quantized per
///   tensor. [`Matmul`](super::Matmul) documents the accumulator of int16.
/// * `weights`: integers of at most 8 bits `[outputs, kernel…, channels / groups]` (OHWI), quantized per tensor or per output (axis
///   0).
/// * Output: `[batch, spatial…, outputs]`. Padding is the code of real zero, the zero point.
/// * Raw accumulators need no scales: an operand without one has zero point 0. The bias's own scale is not read.
/// * A depthwise convolution has as many groups as channels; `outputs / groups` is its multiplier.
///
/// [`transposed`](ConvBuilder::transposed) makes it the adjoint, which scatters instead of gathering:
///
/// `out[b, p, o] = stage( Σ_{tap, q: q·stride + tap·dilation − pad = p} Σ_i (lhs[b, q, g·C/groups + i] − z) · (weights[o, tap, i] − v_o) )`
///
/// Sources: ONNX ConvInteger, QLinearConv and ConvTranspose, TFLite CONV_2D, DEPTHWISE_CONV_2D and TRANSPOSE_CONV.
///
/// ```
/// use lowbit::{Quantization, Tensor, ops::{Conv, Padding}, reference};
/// let image = Tensor::new([1, 2, 2, 1], vec![6u8, 7, 8, 9])?.quantized(Quantization::tensor(1.0, 5))?;
/// let weights = Tensor::new([1, 3, 3, 1], vec![1i8; 9])?;
/// let op = Conv::new(image.tensor_type().clone(), weights).padding(Padding::SameUpper).build()?;
/// assert_eq!(reference::run(&op.into(), &[&image])?[0].values::<i32>()?, [10; 4]); // 1 + 2 + 3 + 4
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Conv {
    lhs: TensorType,
    weights: Arc<Tensor>,
    groups: usize,
    dynamic: bool,
    window: Window,
    output: Output,
    output_type: TensorType,
    stage: Stage,
    /// True if sums need more than 32 bits.
    wide: bool,
}

/// Describes a [`Conv`]; made by [`Conv::new`].
#[derive(Debug, Clone)]
#[must_use]
pub struct ConvBuilder {
    lhs: TensorType,
    weights: Arc<Tensor>,
    groups: usize,
    dynamic: bool,
    window: WindowRequest,
    bias: Bias,
    output: Output,
}

impl Conv {
    /// A builder for a convolution with stride 1, no padding, one group, and raw accumulators as output.
    #[expect(clippy::new_ret_no_self, reason = "an op exists only once it is validated")]
    pub fn new(lhs: TensorType, weights: impl Into<Arc<Tensor>>) -> ConvBuilder {
        ConvBuilder {
            lhs,
            weights: weights.into(),
            groups: 1,
            dynamic: false,
            window: WindowRequest::default(),
            bias: Bias::None,
            output: Output::Accumulator,
        }
    }

    /// This convolution with its accumulators requantized to codes; `None` if the requantization's scales are neither per tensor
    /// nor per channel.
    pub(crate) fn requantized(&self, next: &Requantize) -> Option<Self> {
        let stage = self.stage.then(next.stage_by_column(&self.output, &self.output_type)?)?;
        let output_type = next.output_type().clone();
        Some(Self { output: next.output().clone().into(), output_type, stage, ..self.clone() })
    }

    pub(super) fn clamped(&self, low: i32, high: i32) -> Option<Self> {
        let Output::Requantized(output) = &self.output else { return None };
        Some(Self { output: output.clone().narrowed(low, high).into(), ..self.clone() })
    }

    /// The convolutions of the high and the low bytes of int16 codes, `x = 256 · high + low`, as raw sums; `None` for other types.
    pub(crate) fn byte_planes(&self) -> Option<[Self; 2]> {
        if self.lhs.dtype() != DType::Int16 {
            return None;
        }
        let half = |format| Self {
            lhs: self.lhs.with_dtype(format),
            output: Output::Accumulator,
            output_type: self.output_type.with_dtype(DType::Int32),
            stage: Stage::nothing(self.output_type.shape().row_length()),
            wide: false,
            ..self.clone()
        };
        Some([half(DType::Int8), half(DType::Uint8)])
    }

    /// True if sums need more than 32 bits.
    pub(crate) fn is_wide(&self) -> bool {
        self.wide
    }

    pub(crate) fn lhs(&self) -> &TensorType {
        &self.lhs
    }

    pub(crate) fn weights(&self) -> &Arc<Tensor> {
        &self.weights
    }

    pub(crate) fn groups(&self) -> usize {
        self.groups
    }

    /// True if the scale and zero point of lhs are the second input.
    pub(crate) fn is_dynamic(&self) -> bool {
        self.dynamic
    }

    pub(crate) fn window(&self) -> Window {
        self.window
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

    pub(crate) fn batch(&self) -> usize {
        self.lhs.dims()[0]
    }

    pub(crate) fn outputs_per_group(&self) -> usize {
        self.weights.dims()[0] / self.groups
    }

    pub(crate) fn channels_per_group(&self) -> usize {
        self.weights.tensor_type().shape().row_length()
    }

    /// The scale and zero point of lhs; 1 and 0 if it has none.
    pub(crate) fn lhs_parameters(&self) -> (f32, i32) {
        self.lhs.parameters(0)
    }

    /// The zero point of an output channel's weights.
    pub(crate) fn weight_zero_point(&self, output: usize) -> i32 {
        self.weights.tensor_type().parameters(output).1
    }

    /// The linear index of a weight.
    pub(crate) fn weight_index(&self, output: usize, tap: usize, channel: usize) -> usize {
        (output * self.window.taps() + tap) * self.channels_per_group() + channel
    }
}

impl OpDef for Conv {
    fn name(&self) -> &'static str {
        if self.window().transposed { "conv_transpose" } else { "conv" }
    }

    fn inputs(&self) -> Vec<TensorType> {
        let parameters = self.dynamic.then(|| TensorType::new(DType::Parameters, [1]).expect("one element fits"));
        [Some(self.lhs.clone()), parameters].into_iter().flatten().collect()
    }

    fn outputs(&self) -> Vec<TensorType> {
        vec![self.output_type.clone()]
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        check_pixels("a convolution", &self.lhs, &inputs[0])?;
        require!(
            inputs[1..].iter().all(|parameters| parameters.shape().elements() == 1),
            "the parameters of an image are one pair, which can't follow an extent"
        );
        let output_type = self.output_type.with_extent(inputs[0].dims()[0])?;
        Ok(Self { lhs: inputs[0].clone(), output_type, ..self.clone() })
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        Some((0..self.inputs().len()).map(|i| i == 0).collect())
    }
}

impl ConvBuilder {
    window_options!();

    /// Makes the convolution transposed: each input pixel is scattered over the window instead of each output pixel gathering from
    /// it. This is the adjoint of the convolution with the same stride, dilation and padding. The padding now crops the output, to
    /// `(input − 1) · stride + (kernel − 1) · dilation + 1 − begin − end` elements along an axis. `SAME` padding crops it to
    /// `input · stride`.
    ///
    /// Weights stay `[outputs, kernel…, channels / groups]`. [`Tensor::permuted`] converts ONNX's
    /// `[channels, outputs / groups, kernel…]`. Strides whose product exceeds 4,096 are refused.
    ///
    /// ```
    /// use lowbit::{Tensor, ops::Conv, reference};
    /// let image = Tensor::new([1, 2, 1], vec![1i8, 10])?;
    /// let weights = Tensor::new([1, 3, 1], vec![1i8, 2, 3])?;
    /// let op = Conv::new(image.tensor_type().clone(), weights).transposed().stride([2]).build()?;
    /// assert_eq!(reference::run(&op.into(), &[&image])?[0].values::<i32>()?, [1, 2, 3 + 10, 20, 30]);
    /// # Ok::<(), lowbit::Error>(())
    /// ```
    pub fn transposed(mut self) -> Self {
        self.window.transposed = true;
        self
    }

    /// Lengthens the output of a transposed convolution at its end, one number per spatial dimension.
    pub fn output_padding(mut self, more: impl Into<Vec<usize>>) -> Self {
        self.window.output_padding = more.into();
        self
    }

    /// The output size of a transposed convolution, one number per spatial dimension. With `SAME` padding it determines the crop;
    /// otherwise it replaces the padding at the end.
    pub fn output_size(mut self, size: impl Into<Vec<usize>>) -> Self {
        self.window.output_size = Some(size.into());
        self
    }

    /// Splits channels and outputs into this many independent groups.
    pub fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    /// Reads the scale and zero point of lhs from the second input: they are computed on the device.
    pub fn dynamic_lhs(mut self) -> Self {
        self.dynamic = true;
        self
    }

    /// Adds a bias per output channel: int32 in steps of `s_lhs · s_weights`, or float32 for a real output.
    pub fn bias(mut self, bias: impl Into<Arc<Tensor>>) -> Self {
        self.bias = Bias::Tensor(bias.into());
        self
    }

    /// Adds a bias per output channel that may need more than 32 bits, as
    /// [`MatmulBuilder::wide_bias`](super::MatmulBuilder::wide_bias) does.
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
    /// If the image is neither 8-bit nor symmetric int16, the weights are wider than 8 bits, ranks or channels don't fit, groups
    /// don't divide, the window leaves the padded image or crops all of the output, the accumulator could overflow, or the bias,
    /// multipliers or scales don't fit.
    pub fn build(mut self) -> Result<Conv> {
        self.check_operands()?;
        self.check_groups()?;
        self.check_scales()?;
        let (lhs, weights) = (&self.lhs, self.weights.tensor_type());
        let rank = lhs.shape().rank();
        self.window.kernel = weights.dims()[1..rank - 1].to_vec();
        let window = self.window.resolve(&lhs.dims()[1..rank - 1])?;
        let shape: Vec<usize> = [lhs.dims()[0]]
            .into_iter()
            .chain(window.output_spatial(rank - 2).iter().copied())
            .chain([weights.dims()[0]])
            .collect();
        if let Some(bias) = self.bias.tensor() {
            let rows = bias.tensor_type().shape().rows();
            require!(rows == 1, "the bias has {rows} rows, but conv takes one value per output channel");
        }
        let output_type = self.output.tensor_type(&shape)?;
        let stage = Stage::new(&self.output, &shape, (!self.dynamic).then_some(lhs), weights, &self.bias)?;
        let wide = self.check_sums(window.taps())?;
        Ok(Conv {
            lhs: if self.dynamic { self.lhs.with_dynamic_scales() } else { self.lhs },
            weights: self.weights,
            groups: self.groups,
            dynamic: self.dynamic,
            window,
            output: self.output,
            output_type,
            stage,
            wide,
        })
    }
    /// Refuses data types and numbers of dimensions that convolutions don't have.
    fn check_operands(&self) -> Result<()> {
        let (lhs, weights) = (&self.lhs, self.weights.tensor_type());
        require!(
            lhs.dtype().is_8_bit() || lhs.dtype() == DType::Int16,
            "the image: conv multiplies int8, uint8 or int16, but this is {lhs}"
        );
        check_int16("the image", lhs, self.dynamic)?;
        require!(
            weights.dtype().is_narrow_integer(),
            "the weights: conv multiplies by integers of at most 8 bits, but this is {weights}"
        );
        let rank = lhs.shape().rank();
        require!(
            (3..=5).contains(&rank),
            "the image {lhs} has {rank} dimensions, but [batch, one to three spatial, channels] are 3 to 5"
        );
        require!(
            weights.shape().rank() == rank,
            "the weights {weights} must have as many dimensions as the image {lhs}: [outputs, kernel, channels per group]"
        );
        Ok(())
    }

    /// Refuses channels that the groups don't divide.
    fn check_groups(&self) -> Result<()> {
        let (lhs, weights) = (&self.lhs, self.weights.tensor_type());
        let rank = lhs.shape().rank();
        let (channels, outputs, groups) = (lhs.dims()[rank - 1], weights.dims()[0], self.groups);
        require!(groups > 0, "groups is 0, but it must be at least 1");
        require!(
            channels % groups == 0 && outputs % groups == 0,
            "{groups} groups must divide both the {channels} channels of {lhs} and the {outputs} outputs of {weights} (a \
             depthwise filter [1, h, w, c] becomes [c, h, w, 1] with Tensor::permuted)"
        );
        let per_group = weights.dims()[rank - 1];
        require!(
            per_group == channels / groups,
            "the weights {weights} have {per_group} channels per group, but {lhs} has {channels} channels in {groups} \
             groups, {} each: {}",
            channels / groups,
            if per_group == 1 {
                format!("for a depthwise convolution call groups({channels})")
            } else {
                "images are [batch, spatial, channels] and weights [outputs, kernel, channels / groups], so NCHW and OIHW \
                 need Tensor::permuted"
                    .to_string()
            }
        );
        Ok(())
    }

    /// Refuses scales that are of another granularity, missing or given twice.
    fn check_scales(&self) -> Result<()> {
        let (lhs, weights) = (&self.lhs, self.weights.tensor_type());
        let granularity = lhs.quantization().map_or(Granularity::Tensor, |q| q.granularity());
        require!(
            granularity == Granularity::Tensor,
            "the image is quantized by {granularity:?}, but conv takes one scale for it"
        );
        let granularity = weights.quantization().map_or(Granularity::Tensor, |q| q.granularity());
        require!(
            matches!(granularity, Granularity::Tensor | Granularity::Axis(0)),
            "the weights are quantized by {granularity:?}, but conv takes one scale per tensor or per output (axis 0)"
        );
        require!(
            !self.dynamic || lhs.quantization().is_none(),
            "the image has a scale of its own, but it was said to be dynamic"
        );
        let scaled = (self.dynamic || lhs.quantization().is_some()) && weights.quantization().is_some();
        require!(
            scaled || !self.output.needs_scales(),
            "the image has {}, the weights have {}: this output is made of both scales, so give them with \
             TensorType::quantized",
            lhs.describe_scales(),
            weights.describe_scales()
        );
        require!(
            self.dynamic || !lhs.has_dynamic_scales(),
            "the image {lhs} has its scale in another tensor: call dynamic_lhs and pass the parameters as the second input"
        );
        Ok(())
    }

    /// Refuses sums that can be too large. Returns true if they need 64 bits.
    fn check_sums(&self, taps: usize) -> Result<bool> {
        let (lhs, weights) = (&self.lhs, self.weights.tensor_type());
        let outputs = weights.dims()[0];
        let terms = taps * weights.dims()[weights.dims().len() - 1];
        let bias = BiasRanges::new(&self.bias, &[], outputs)?;
        // Without weights, channels differ only by their biases.
        let alike = terms == 0 && bias.is_uniform();
        let channels = (0..if alike { outputs.min(1) } else { outputs }).map(|output| {
            let zero_point = weights.parameters(output).1;
            let codes = output * terms..(output + 1) * terms;
            Channel {
                index: Some(output),
                weights: Weights::known(codes.map(|i| self.weights.code(i) - zero_point)),
                bias: bias.of(0, output),
            }
        });
        if lhs.dtype() == DType::Int16 {
            sums::check_wide(channels, terms, &self.output)
        } else {
            let codes = if self.dynamic { Offsets::dynamic() } else { Offsets::of(lhs) };
            sums::check(channels, codes, terms)?;
            Ok(false)
        }
    }
}
