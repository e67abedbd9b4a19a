//! The patches of a sliding window, laid out as rows (im2col). The meaning is `reference/unfold.rs`, the GPU program is
//! `kernels/conv/unfold.rs`. Any kind of matmul can multiply them.

use super::window::{Window, WindowRequest, window_options};
use super::{OpDef, check_pixels};
use crate::error::{Result, require};
use crate::numeric::DType;
use crate::tensor::{Granularity, TensorType};

/// `out[b, p, g, tap · C/groups + i] = image[b, p·stride + tap·dilation − pad, g · C/groups + i]`, or zero outside the image
///
/// * `image`: `[batch, spatial…, channels]` (NHWC) of any data type, one to three spatial dimensions, with one scale or none.
/// * Output: `[batch, positions…, taps · channels]`, or with [`groups`](UnfoldBuilder::groups)
///   `[batch, positions…, groups, taps · channels / groups]`, with the image's data type and scale. A row has the order of an OHWI
///   filter, so a convolution is this times the transposed `[outputs, taps · channels]`.
/// * Padding is the code of real zero: the zero point, or 0 if there is none. No value is changed.
///
/// Sources: im2col; PyTorch's Unfold (whose rows are ordered by channel, then tap).
///
/// ```
/// use lowbit::{Tensor, ops::{Padding, Unfold}, reference};
/// let image = Tensor::new([1, 3, 1], vec![1.0f32, 2.0, 3.0])?;
/// let op = Unfold::new(image.tensor_type().clone(), [3]).padding(Padding::SameUpper).build()?;
/// let out = &reference::run(&op.into(), &[&image])?[0];
/// assert_eq!(out.dims(), [1, 3, 3]);
/// assert_eq!(out.values::<f32>()?, [0.0, 1.0, 2.0, 1.0, 2.0, 3.0, 2.0, 3.0, 0.0]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Unfold {
    image: TensorType,
    dynamic: bool,
    groups: usize,
    window: Window,
    output_type: TensorType,
}

/// Describes an [`Unfold`]; made by [`Unfold::new`].
#[derive(Debug, Clone)]
#[must_use]
pub struct UnfoldBuilder {
    image: TensorType,
    dynamic: bool,
    groups: Option<usize>,
    window: WindowRequest,
}

impl Unfold {
    /// A builder for the patches of an image with stride 1 and no padding; `kernel` has one size per spatial dimension.
    #[expect(clippy::new_ret_no_self, reason = "an op exists only once it is validated")]
    pub fn new(image: TensorType, kernel: impl Into<Vec<usize>>) -> UnfoldBuilder {
        let window = WindowRequest { kernel: kernel.into(), ..WindowRequest::default() };
        UnfoldBuilder { image, dynamic: false, groups: None, window }
    }

    /// The patches of a validated window.
    pub(crate) fn of_window(image: &TensorType, window: Window) -> Result<Self> {
        Self::with_window(image.clone(), image.has_dynamic_scales(), None, window)
    }

    fn with_window(image: TensorType, dynamic: bool, groups: Option<usize>, window: Window) -> Result<Self> {
        let rank = image.shape().rank();
        let channels = image.shape().row_length();
        let count = groups.unwrap_or(1);
        let length = window.taps().checked_mul(channels / count);
        require!(
            length.is_some_and(|length| length <= i32::MAX as usize),
            "a patch of {} taps and {channels} channels has too many elements: use a smaller kernel",
            window.taps()
        );
        let shape: Vec<usize> = [image.dims()[0]]
            .into_iter()
            .chain(window.output_spatial(rank - 2).iter().copied())
            .chain(groups)
            .chain(length)
            .collect();
        let output_type = TensorType::new(image.dtype(), shape)?;
        let output_type = match image.quantization() {
            Some(quantization) => output_type.quantized(quantization.clone())?,
            None if dynamic => output_type.with_dynamic_scales(),
            None => output_type,
        };
        let image = if dynamic { image.with_dynamic_scales() } else { image };
        Ok(Self { image, dynamic, groups: count, window, output_type })
    }

    pub(crate) fn image(&self) -> &TensorType {
        &self.image
    }

    /// True if the scale and zero point of the image are the second input.
    pub(crate) fn is_dynamic(&self) -> bool {
        self.dynamic
    }

    pub(crate) fn groups(&self) -> usize {
        self.groups
    }

    pub(crate) fn window(&self) -> Window {
        self.window
    }

    pub(crate) fn output_type(&self) -> &TensorType {
        &self.output_type
    }

    pub(crate) fn batch(&self) -> usize {
        self.image.dims()[0]
    }

    pub(crate) fn channels_per_group(&self) -> usize {
        self.image.shape().row_length() / self.groups
    }
}

impl OpDef for Unfold {
    fn name(&self) -> &'static str {
        "unfold"
    }

    fn inputs(&self) -> Vec<TensorType> {
        let parameters = self.dynamic.then(|| TensorType::new(DType::Parameters, [1]).expect("one element fits"));
        [Some(self.image.clone()), parameters].into_iter().flatten().collect()
    }

    fn outputs(&self) -> Vec<TensorType> {
        vec![self.output_type.clone()]
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        check_pixels("an unfolding", &self.image, &inputs[0])?;
        require!(
            inputs[1..].iter().all(|parameters| parameters.shape().elements() == 1),
            "the parameters of an image are one pair, which can't follow an extent"
        );
        let output_type = self.output_type.with_extent(inputs[0].dims()[0])?;
        Ok(Self { image: inputs[0].clone(), output_type, ..self.clone() })
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        Some((0..self.inputs().len()).map(|i| i == 0).collect())
    }
}

impl UnfoldBuilder {
    window_options!();

    /// Makes these the patches of a transposed convolution ([`ConvBuilder::transposed`](super::ConvBuilder::transposed)): zero if a
    /// tap falls between the pixels.
    pub fn transposed(mut self) -> Self {
        self.window.transposed = true;
        self
    }

    /// Lengthens the output of a transposed window at its end, one number per spatial dimension.
    pub fn output_padding(mut self, more: impl Into<Vec<usize>>) -> Self {
        self.window.output_padding = more.into();
        self
    }

    /// Number of positions of a transposed window, one per spatial dimension.
    pub fn output_size(mut self, size: impl Into<Vec<usize>>) -> Self {
        self.window.output_size = Some(size.into());
        self
    }

    /// Makes one row per position and group of channels.
    pub fn groups(mut self, groups: usize) -> Self {
        self.groups = Some(groups);
        self
    }

    /// Reads the scale and zero point of the image from the second input: they are computed on the device.
    pub fn dynamic_image(mut self) -> Self {
        self.dynamic = true;
        self
    }

    /// Validates the description.
    ///
    /// # Errors
    /// If the image doesn't have one to three spatial dimensions or has several scales, groups don't divide its channels, or the
    /// window leaves the padded image.
    pub fn build(self) -> Result<Unfold> {
        let Self { image, dynamic, groups, window } = self;
        let rank = image.shape().rank();
        require!(
            (3..=5).contains(&rank),
            "the image {image} has {rank} dimensions, but [batch, one to three spatial, channels] are 3 to 5"
        );
        require!(
            !matches!(image.dtype(), DType::Parameters | DType::Float8E8M0),
            "{image} is no image: its format has no zero for what lies outside"
        );
        let granularity = image.quantization().map_or(Granularity::Tensor, |q| q.granularity());
        require!(
            granularity == Granularity::Tensor,
            "the image is quantized by {granularity:?}, but a patch has one zero point: use one scale for the image"
        );
        require!(
            !dynamic || (image.quantization().is_none() && image.dtype().is_8_bit()),
            "the image {image} has {}, but it was said to be dynamic, which takes int8 or uint8 without a scale",
            image.describe_scales()
        );
        require!(
            dynamic || !image.has_dynamic_scales(),
            "the image {image} has its scale in another tensor: call dynamic_image and pass the parameters as the second input"
        );
        let channels = image.shape().row_length();
        let count = groups.unwrap_or(1);
        require!(count > 0 && channels % count == 0, "{count} groups must divide the {channels} channels of {image}");
        let window = window.resolve(&image.dims()[1..rank - 1])?;
        Unfold::with_window(image, dynamic, groups, window)
    }
}
