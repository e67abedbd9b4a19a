//! Average, maximum and global pooling of images of real numbers. The meaning is `reference/float_pool.rs`, the GPU programs are
//! `kernels/elementwise/float_pool.rs`. Codes are pooled in `pool`.

use super::pool::{MOST_TAPS, PoolKind};
use super::window::{Window, WindowRequest, pool_options, pooled_dims};
use super::{OpDef, Reduction, check_pixels, require_float32};
use crate::error::{Result, require};
use crate::tensor::TensorType;

/// `out[b, p, c] = Σ_tap x[b, p·stride + tap·dilation − pad, c] / count` or `max_tap x[…]`, of a float32 image
///
/// * Input: `[batch, spatial…, channels]` (NHWC), one to three spatial dimensions.
/// * `count` is the number of taps inside the image. If padding counts, it is the number inside the padded image.
/// * Max pooling ignores taps in the padding. A window that is all padding gives `f32::MIN`, for an average 0.
///
/// The error of an average is that of [`Reduce`](super::Reduce)'s mean of the taps inside the image, with this count. A maximum is
/// exact, but numbers below 2⁻¹²⁶ may count as zero. Source: ONNX AveragePool, MaxPool, GlobalAveragePool and GlobalMaxPool.
///
/// ```
/// use lowbit::{Tensor, ops::FloatPool, reference};
/// let image = Tensor::new([1, 2, 2, 1], vec![1.0f32, 2.0, 3.0, 6.0])?;
/// let op = FloatPool::average(image.tensor_type().clone(), [1, 2]).build()?;
/// assert_eq!(reference::run(&op.into(), &[&image])?[0].values::<f32>()?, [1.5, 4.5]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct FloatPool {
    input: TensorType,
    kind: PoolKind,
    window: Window,
    count_padding: bool,
    output: TensorType,
}

/// Describes a [`FloatPool`].
#[derive(Debug, Clone)]
#[must_use]
pub struct FloatPoolBuilder {
    input: TensorType,
    kind: PoolKind,
    window: WindowRequest,
    count_padding: bool,
}

impl FloatPool {
    fn builder(input: TensorType, kind: PoolKind, kernel: Vec<usize>) -> FloatPoolBuilder {
        let window = WindowRequest { kernel, ..WindowRequest::default() };
        FloatPoolBuilder { input, kind, window, count_padding: false }
    }

    /// A builder for an average pool with stride 1 and no padding; `kernel` has one size per spatial dimension.
    pub fn average(input: TensorType, kernel: impl Into<Vec<usize>>) -> FloatPoolBuilder {
        Self::builder(input, PoolKind::Average, kernel.into())
    }

    /// A builder for a max pool with stride 1 and no padding.
    pub fn max(input: TensorType, kernel: impl Into<Vec<usize>>) -> FloatPoolBuilder {
        Self::builder(input, PoolKind::Max, kernel.into())
    }

    /// A builder for an average over all spatial positions; the output has one pixel.
    pub fn global_average(input: TensorType) -> FloatPoolBuilder {
        let dims = input.dims();
        let kernel = dims.get(1..dims.len().saturating_sub(1)).unwrap_or(&[]).to_vec();
        Self::builder(input, PoolKind::Average, kernel)
    }

    /// A builder for a maximum over all spatial positions; the output has one pixel.
    pub fn global_max(input: TensorType) -> FloatPoolBuilder {
        let kernel = Self::global_average(input.clone()).window.kernel;
        Self::builder(input, PoolKind::Max, kernel)
    }

    pub(crate) fn input(&self) -> &TensorType {
        &self.input
    }

    pub(crate) fn output(&self) -> &TensorType {
        &self.output
    }

    pub(crate) fn window(&self) -> Window {
        self.window
    }

    pub(crate) fn counts_padding(&self) -> bool {
        self.count_padding
    }

    /// The reduction of a window.
    pub(crate) fn reduction(&self) -> Reduction {
        if self.kind == PoolKind::Max { Reduction::Max } else { Reduction::Mean }
    }
}

impl OpDef for FloatPool {
    fn name(&self) -> &'static str {
        "float_pool"
    }

    fn inputs(&self) -> Vec<TensorType> {
        vec![self.input.clone()]
    }

    fn outputs(&self) -> Vec<TensorType> {
        vec![self.output.clone()]
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        check_pixels("a pool", &self.input, &inputs[0])?;
        let output = self.output.with_extent(inputs[0].dims()[0])?;
        Ok(Self { input: inputs[0].clone(), output, ..self.clone() })
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        Some(vec![true])
    }
}

impl FloatPoolBuilder {
    pool_options!();

    /// Validates the description.
    ///
    /// # Errors
    /// If the input is not a float32 image, or the window leaves the padded image, is empty, or has more than 32,768 taps and is
    /// not the whole image.
    pub fn build(self) -> Result<FloatPool> {
        let Self { input, kind, window, count_padding } = self;
        require_float32("float_pool", "the image", &input)?;
        let (window, dims) = pooled_dims(&input, &window)?;
        let output = TensorType::float32(dims)?;
        require!(
            window.taps() <= MOST_TAPS || window.is_whole(),
            "the window has {} taps, but at most {MOST_TAPS} are visited one after the other: reduce axes, or use smaller windows",
            window.taps()
        );
        Ok(FloatPool { input, kind, window, count_padding, output })
    }
}
