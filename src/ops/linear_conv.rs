//! Convolutions with real results: of floats, or with group-quantized weights. The meaning is `reference/linear_conv.rs`, the GPU
//! programs are `kernels/grouped/linear_conv.rs`. Exact integer convolutions are in `conv`.

use std::sync::Arc;

use super::linear::Linear;
use super::unfold::{Unfold, UnfoldBuilder};
use super::{DynamicGranularity, OpDef, Padding};
use crate::error::{Result, require};
use crate::numeric::DType;
use crate::tensor::{Tensor, TensorType};
use crate::weights::PackedWeights;

/// `out[b, p, o] = clamp( Σ_tap Σ_i image[b, p·stride + tap·dilation − pad, g·C/groups + i] · weights[g, o, tap · C/groups + i] + bias[o] )`
///
/// [`Linear`] applied to the patches of [`Unfold`]. All patches are stored: they must fit a buffer and a binding of the device.
///
/// * `image`: `[batch, spatial…, channels]` (NHWC) in float32 or float16, or int8 or uint8 codes with one scale (static or
///   dynamic); one to three spatial dimensions.
/// * `weights`: [`PackedWeights`] `[groups, outputs / groups, taps · channels / groups]` in any of their formats; a row has the
///   order of an OHWI filter. There is one matrix per group of channels. If they are [`bound`](PackedWeights::bound), their words are
///   the last input.
/// * Output: `[batch, positions…, outputs]` in float32 or float16.
/// * The image is padded with zeros. [`transposed`](LinearConvBuilder::transposed) makes it scatter instead of gathering, as in
///   [`Conv`](super::ConvBuilder::transposed); taps between pixels are multiplied as zeros.
///
/// The error of a device's result is at most the bound of [`Linear`], with k = taps · channels / groups.
///
/// ```
/// use lowbit::weights::{Codes, GroupParams, ScaleFormat, WeightFormat, PackedWeights};
/// use lowbit::{Tensor, ops::{LinearConv, Padding}, reference};
/// // One filter of three taps, all 2 · 0.5.
/// let format = WeightFormat::new(Codes::INT4, 32, ScaleFormat::F16);
/// let weights = PackedWeights::build(format, [1, 1, 3], |_, codes, groups, _| {
///     codes.fill(2);
///     groups.fill(GroupParams::scale(0.5));
///     Ok(())
/// })?;
/// let x = Tensor::new([1, 4, 1], vec![1.0f32, 2.0, 3.0, 4.0])?;
/// let op = LinearConv::new(x.tensor_type().clone(), weights, [3]).padding(Padding::SameUpper).build()?;
/// assert_eq!(reference::run(&op.into(), &[&x])?[0].values::<f32>()?, [3.0, 6.0, 9.0, 7.0]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct LinearConv {
    patches: Unfold,
    linear: Linear,
    output_type: TensorType,
}

/// Describes a [`LinearConv`]; made by [`LinearConv::new`].
#[derive(Debug, Clone)]
#[must_use]
pub struct LinearConvBuilder {
    patches: UnfoldBuilder,
    weights: Arc<PackedWeights>,
    dynamic: bool,
    bias: Option<Arc<Tensor>>,
    bounds: (f32, f32),
    output: DType,
}

impl LinearConv {
    /// A builder for a convolution with stride 1, no padding and float32 output; `kernel` has one size per spatial dimension.
    #[expect(clippy::new_ret_no_self, reason = "an op exists only once it is validated")]
    pub fn new(
        image: TensorType,
        weights: impl Into<Arc<PackedWeights>>,
        kernel: impl Into<Vec<usize>>,
    ) -> LinearConvBuilder {
        let weights = weights.into();
        let [groups, ..] = weights.dims();
        let patches = Unfold::new(image, kernel);
        LinearConvBuilder {
            patches: if groups == 1 { patches } else { patches.groups(groups) },
            weights,
            dynamic: false,
            bias: None,
            bounds: (f32::NEG_INFINITY, f32::INFINITY),
            output: DType::Float32,
        }
    }

    /// The op that lays out the patches.
    pub(crate) fn patches(&self) -> &Unfold {
        &self.patches
    }

    /// The op that multiplies the patches. With groups, each group's patch is a row of its own, and each group's matrix is an
    /// expert.
    pub(crate) fn linear(&self) -> &Linear {
        &self.linear
    }

    pub(crate) fn output_type(&self) -> &TensorType {
        &self.output_type
    }
}

impl OpDef for LinearConv {
    fn name(&self) -> &'static str {
        "linear_conv"
    }

    fn inputs(&self) -> Vec<TensorType> {
        let mut inputs = self.patches.inputs();
        inputs.extend(self.linear.weights().input_type());
        inputs
    }

    fn outputs(&self) -> Vec<TensorType> {
        vec![self.output_type.clone()]
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        let patches = self.patches.with_inputs(&inputs[..self.patches.inputs().len().min(inputs.len())])?;
        let mut rows = vec![patches.output_type().clone()];
        rows.extend(self.linear.indices().map(|_| indices_type(&patches)).transpose()?);
        rows.extend(inputs[1..].iter().cloned());
        let output_type = self.output_type.with_extent(inputs[0].dims()[0])?;
        Ok(Self { linear: self.linear.with_inputs(&rows)?, patches, output_type })
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        Some((0..self.inputs().len()).map(|i| i == 0).collect())
    }
}

/// The type of the indices that select the group of each row of patches.
fn indices_type(patches: &Unfold) -> Result<TensorType> {
    let dims = patches.output_type().dims();
    TensorType::new(DType::Int32, [&dims[..dims.len() - 1], &[1]].concat())
}

impl LinearConvBuilder {
    /// Steps of the window, one per spatial dimension.
    pub fn stride(mut self, stride: impl Into<Vec<usize>>) -> Self {
        self.patches = self.patches.stride(stride);
        self
    }

    /// Distance between neighbouring taps, one per spatial dimension.
    pub fn dilation(mut self, dilation: impl Into<Vec<usize>>) -> Self {
        self.patches = self.patches.dilation(dilation);
        self
    }

    /// The padding around the image.
    pub fn padding(mut self, padding: Padding) -> Self {
        self.patches = self.patches.padding(padding);
        self
    }

    /// Makes the convolution transposed: each input pixel is scattered over the window.
    pub fn transposed(mut self) -> Self {
        self.patches = self.patches.transposed();
        self
    }

    /// Lengthens the output of a transposed convolution at its end, one number per spatial dimension.
    pub fn output_padding(mut self, more: impl Into<Vec<usize>>) -> Self {
        self.patches = self.patches.output_padding(more);
        self
    }

    /// The output size of a transposed convolution, one number per spatial dimension.
    pub fn output_size(mut self, size: impl Into<Vec<usize>>) -> Self {
        self.patches = self.patches.output_size(size);
        self
    }

    /// Reads the scale and zero point of the image from the second input: they are computed on the device.
    pub fn dynamic_image(mut self) -> Self {
        self.patches = self.patches.dynamic_image();
        self.dynamic = true;
        self
    }

    /// Adds a float32 bias per output channel.
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

    /// Validates the description.
    ///
    /// # Errors
    /// If the image is not among those above, a row of the weights doesn't have the length of a patch, the window leaves the padded
    /// image, or the bias or bounds don't fit.
    pub fn build(self) -> Result<LinearConv> {
        let patches = self.patches.build()?;
        let rows = patches.output_type();
        let [groups, outputs, k] = self.weights.dims();
        require!(groups > 0 && outputs > 0, "the weights {} have no output channel", self.weights);
        require!(
            rows.shape().row_length() == k,
            "a patch of {} has {} elements{}, but the weights {} have rows of {k}: taps · channels / groups",
            patches.image(),
            rows.shape().row_length(),
            if groups > 1 { format!(" in each of {groups} groups") } else { String::new() },
            self.weights
        );
        let lhs = if self.dynamic { rows.without_scales() } else { rows.clone() };
        let mut linear = Linear::new(lhs, self.weights).clamp(self.bounds.0, self.bounds.1).output(self.output);
        if groups > 1 {
            linear = linear.experts(1);
        }
        if self.dynamic {
            linear = linear.dynamic_lhs(DynamicGranularity::Tensor);
        }
        if let Some(bias) = &self.bias {
            require!(
                bias.dims() == [groups * outputs],
                "the bias is {}, but there are {} output channels: give one value for each",
                bias.tensor_type(),
                groups * outputs
            );
            let grouped = if groups > 1 { Arc::new(bias.reshaped([groups, outputs])?) } else { bias.clone() };
            linear = linear.bias(grouped);
        }
        let linear = linear.build()?;
        let leading = &rows.dims()[..rows.shape().rank() - if groups > 1 { 2 } else { 1 }];
        let output_type = TensorType::new(self.output, [leading, &[groups * outputs]].concat())?;
        Ok(LinearConv { patches, linear, output_type })
    }
}
