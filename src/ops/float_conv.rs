//! Two-dimensional convolution of float32 images with float32 weights, both on the device, and its gradients, for training. The
//! meaning is `reference/float_conv.rs`, the GPU programs are `kernels/train/float_conv.rs`.

use super::{OpDef, check_pixels, require_float32};
use crate::error::{Result, require};
use crate::numeric::DType;
use crate::tensor::TensorType;

/// The tensor of a convolution that is computed from the two others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConvPass {
    /// The output from image and weights.
    Forward,
    /// The gradient of the image, from the gradient of the output and the weights.
    ImageGradient,
    /// The gradient of the weights, from the image, the gradient of the output, and a factor (float32 `[1]`).
    WeightGradient,
}

/// The stride, padding and groups of a [`FloatConv`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Windows {
    /// Pixels from one window to the next: down, then across.
    pub stride: [usize; 2],
    /// Number of zeros around the image: top, left, bottom, right.
    pub padding: [usize; 4],
    /// Number of groups; an output reads only the channels of its own group.
    pub groups: usize,
}

impl Windows {
    /// These windows with this stride.
    #[must_use]
    pub const fn with_stride(mut self, stride: [usize; 2]) -> Self {
        self.stride = stride;
        self
    }

    /// These windows with this padding.
    #[must_use]
    pub const fn with_padding(mut self, padding: [usize; 4]) -> Self {
        self.padding = padding;
        self
    }

    /// These windows with this number of groups.
    #[must_use]
    pub const fn with_groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }
}

impl Default for Windows {
    /// Stride 1, no padding, one group.
    fn default() -> Self {
        Self { stride: [1, 1], padding: [0; 4], groups: 1 }
    }
}

/// `out[b, y, x, o] = Σ image[b, y · s + i − top, x · s + j − left, c] · weights[o, i, j, c]`, or one of its gradients.
///
/// Images are `[batch, height, width, channels]`, weights `[outputs, height, width, channels / groups]`; padding is zero.
/// Products and sums are f32, in a device-specific order. A result of n terms lies within `(n + 4) · 2^-22 · Σ |terms|` of the true
/// one, plus the loss from numbers below 2^-126 that count as zero. There is no bound if `Σ |terms|`, or its product with the
/// factor of the weight gradient, leaves float32, or if an input holds NaN or infinity. If all numbers are whole and no sum of
/// magnitudes reaches 2^24, the result is exact, with equal bits on every device.
///
/// ```
/// use lowbit::{Tensor, ops::{FloatConv, Windows}, reference};
/// let image = Tensor::new([1, 2, 2, 1], vec![1.0f32, 2.0, 3.0, 4.0])?;
/// let weights = Tensor::new([1, 2, 2, 1], vec![1.0f32, 10.0, 100.0, 1000.0])?;
/// let windows = Windows::default().with_padding([0, 0, 0, 1]);
/// let op = FloatConv::new(image.tensor_type().clone(), weights.tensor_type().clone(), windows).build()?;
/// assert_eq!(reference::run(&op.into(), &[&image, &weights])?[0].values::<f32>()?, [4321.0, 402.0]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct FloatConv {
    pub(crate) image: TensorType,
    pub(crate) weights: TensorType,
    pub(crate) output: TensorType,
    pub(crate) windows: Windows,
    pub(crate) pass: ConvPass,
}

/// Describes a [`FloatConv`]; made by [`FloatConv::new`].
#[derive(Debug, Clone)]
#[must_use]
pub struct FloatConvBuilder {
    image: TensorType,
    weights: TensorType,
    windows: Windows,
    pass: ConvPass,
}

impl FloatConvBuilder {
    /// The tensor to be computed; the output by default.
    pub fn pass(mut self, pass: ConvPass) -> Self {
        self.pass = pass;
        self
    }

    /// Validates the description.
    ///
    /// # Errors
    /// If a type is not float32 with four dimensions, channels and groups don't fit, or the kernel doesn't fit the image.
    pub fn build(self) -> Result<FloatConv> {
        let Self { image, weights, windows, pass } = self;
        for (name, of) in [("image", &image), ("weights", &weights)] {
            require_float32("float_conv", name, of)?;
            require!(
                of.shape().rank() == 4,
                "the {name} of a float convolution is {of}, but must have four dimensions: [batch, height, width, channels] \
                 and [outputs, height, width, channels]"
            );
        }
        let ([batch, height, width, channels], [outputs, down, across, per_group]) = (four(&image), four(&weights));
        let Windows { stride, padding: [top, left, bottom, right], groups } = windows;
        require!(
            groups > 0 && outputs.is_multiple_of(groups) && per_group.checked_mul(groups) == Some(channels),
            "{channels} channels and {outputs} outputs in {groups} groups don't go with the weights {weights}: they have \
             channels / groups in the last place"
        );
        require!(
            top < down && bottom < down && left < across && right < across,
            "the padding {:?} is as large as the kernel, {down} by {across}",
            windows.padding
        );
        let extent = |size: usize, kernel: usize, stride: usize| -> Result<usize> {
            require!(
                stride > 0 && size >= kernel,
                "a kernel of {kernel} with stride {stride} doesn't fit {size} padded pixels: the stride must be at least 1, \
                 and the kernel at most as large as the image"
            );
            Ok((size - kernel) / stride + 1)
        };
        let height = extent(height + top + bottom, down, stride[0])?;
        let width = extent(width + left + right, across, stride[1])?;
        let output = TensorType::new(DType::Float32, [batch, height, width, outputs])?;
        Ok(FloatConv { image, weights, output, windows, pass })
    }
}

impl FloatConv {
    /// A builder for a convolution of images of this type with weights of this type. Its inputs follow from the pass.
    #[expect(clippy::new_ret_no_self, reason = "an op exists only once it is validated")]
    pub fn new(image: TensorType, weights: TensorType, windows: Windows) -> FloatConvBuilder {
        FloatConvBuilder { image, weights, windows, pass: ConvPass::Forward }
    }

    /// The type of the output of the forward pass.
    #[must_use]
    pub fn output(&self) -> &TensorType {
        &self.output
    }

    /// The largest number of terms of one result.
    pub(crate) fn terms(&self) -> usize {
        let [outputs, down, across, per_group] = four(&self.weights);
        let [batch, height, width, _] = four(&self.output);
        match self.pass {
            ConvPass::Forward => down * across * per_group,
            ConvPass::ImageGradient => down * across * (outputs / self.windows.groups),
            ConvPass::WeightGradient => batch * height * width,
        }
    }
}

impl OpDef for FloatConv {
    fn name(&self) -> &'static str {
        "float_conv"
    }

    fn inputs(&self) -> Vec<TensorType> {
        match self.pass {
            ConvPass::Forward => vec![self.image.clone(), self.weights.clone()],
            ConvPass::ImageGradient => vec![self.output.clone(), self.weights.clone()],
            ConvPass::WeightGradient => vec![self.image.clone(), self.output.clone(), one()],
        }
    }

    fn outputs(&self) -> Vec<TensorType> {
        match self.pass {
            ConvPass::Forward => vec![self.output.clone()],
            ConvPass::ImageGradient => vec![self.image.clone()],
            ConvPass::WeightGradient => vec![self.weights.clone()],
        }
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        let own = self.inputs();
        check_pixels("a convolution", &own[0], &inputs[0])?;
        let image = self.image.with_extent(inputs[0].dims()[0])?;
        require!(
            inputs[1].dims() == own[1].dims() || self.pass == ConvPass::WeightGradient,
            "the weights of a float convolution are {}, but they don't follow the batch",
            inputs[1]
        );
        Self::new(image, self.weights.clone(), self.windows).pass(self.pass).build()
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        (self.pass != ConvPass::WeightGradient).then(|| vec![true, false])
    }
}

/// The dimensions of a four-dimensional type.
pub(crate) fn four(of: &TensorType) -> [usize; 4] {
    std::array::from_fn(|i| of.dims()[i])
}

/// The type of a single float32 number on the device.
pub(super) fn one() -> TensorType {
    TensorType::new(DType::Float32, [1]).expect("one element is few enough")
}
