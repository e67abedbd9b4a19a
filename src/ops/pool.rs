//! Average, maximum and global average pooling of quantized images. The meaning is `reference/pool.rs`, the GPU programs
//! are `kernels/elementwise/pool.rs`.

use super::output::{Requantization, Stage, StageEntry};
use super::quantized_arithmetic::QuantizedArithmetic;
use super::requantize::require_per_tensor;
use super::sums::{self, Channel, Offsets, Weights};
use super::window::{Window, WindowRequest, pool_options, pooled_dims};
use super::{OpDef, check_pixels};
use crate::error::{Result, require};
use crate::numeric::Multiplier;
use crate::tensor::TensorType;

/// The reduction of a window of codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PoolKind {
    /// The mean, requantized.
    Average,
    /// The maximum.
    Max,
}

/// `out[b, p, c] ≈ Σ_tap s (x[b, p·stride + tap·dilation − pad, c] − z) / (s_out · count) + z_out` or `max_tap x[…]`
///
/// * Input: int8 or uint8 `[batch, spatial…, channels]` (NHWC), one to three spatial dimensions, one scale.
/// * `count` is the number of taps inside the image. If padding counts, it is the number inside the padded image, or for
///   `QOperator` the size of the kernel. The two differ if output sizes are rounded up.
/// * Max pooling keeps scale and zero point, and ignores taps in the padding. A window that is all padding gives the data type's
///   least code (for an average, the zero point).
///
/// [`QuantizedArithmetic`] selects the rounding of an average, by default `QOperator`, or `Integer` if the output has a fixed-point
/// rounding mode:
///
/// ```text
/// QOperator   clamp(round_ties_even(Σ s (x − z) / count / s_out + z_out))       every step one f32 operation, taps row by row
///             or as Integer where the window is the whole image, without padding
/// Qdq         clamp(round_ties_even(Σ s (x − z) / count / s_out) + z_out)       every step one f32 operation, taps row by row
/// Integer     clamp(rescale(Σ (x − z), s / (s_out · count)) + z_out)            an exact integer sum
/// Codes       clamp(Σ x / count), rounded half away from zero                   integers, z for taps in the padding that count
/// ```
///
/// f32 sums are sequential. They cost a device more than an integer sum if the mean is near the middle between two codes, and are
/// limited to windows of 32,768 taps. Sources: com.microsoft QLinearAveragePool and QLinearGlobalAveragePool; ONNX AveragePool and
/// MaxPool; TFLite AVERAGE_POOL_2D (`Codes`), MEAN (`Integer`) and MAX_POOL_2D.
///
/// ```
/// use lowbit::{Quantization, Tensor, ops::Pool, reference};
/// let image = Tensor::new([1, 2, 2, 1], vec![1u8, 2, 3, 6])?.quantized(Quantization::tensor(0.1, 0))?;
/// let op = Pool::global_average(image.tensor_type().clone()).build()?;
/// assert_eq!(reference::run(&op.into(), &[&image])?[0].values::<u8>()?, [3]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Pool {
    input: TensorType,
    kind: PoolKind,
    arithmetic: QuantizedArithmetic,
    window: Window,
    count_padding: bool,
    output: Requantization,
    output_type: TensorType,
    least_count: usize,
    stage: Stage,
}

/// The largest number of taps in a sequential f32 sum: lavapipe ends its loops after about 65,535 iterations.
pub(super) const MOST_TAPS: usize = 32_768;

/// Describes a [`Pool`].
#[derive(Debug, Clone)]
#[must_use]
pub struct PoolBuilder {
    input: TensorType,
    kind: PoolKind,
    arithmetic: Option<QuantizedArithmetic>,
    window: WindowRequest,
    count_padding: bool,
    output: Option<Requantization>,
}

impl Pool {
    fn builder(input: TensorType, kind: PoolKind, kernel: Vec<usize>) -> PoolBuilder {
        let window = WindowRequest { kernel, ..WindowRequest::default() };
        PoolBuilder { input, kind, arithmetic: None, window, count_padding: false, output: None }
    }

    /// A builder for an average pool with stride 1 and no padding; `kernel` has one size per spatial dimension.
    pub fn average(input: TensorType, kernel: impl Into<Vec<usize>>) -> PoolBuilder {
        Self::builder(input, PoolKind::Average, kernel.into())
    }

    /// A builder for a max pool with stride 1 and no padding.
    pub fn max(input: TensorType, kernel: impl Into<Vec<usize>>) -> PoolBuilder {
        Self::builder(input, PoolKind::Max, kernel.into())
    }

    /// A builder for an average over all spatial positions; the output has one pixel.
    pub fn global_average(input: TensorType) -> PoolBuilder {
        let dims = input.dims();
        let kernel = dims.get(1..dims.len().saturating_sub(1)).unwrap_or(&[]).to_vec();
        Self::builder(input, PoolKind::Average, kernel)
    }

    /// A builder for a maximum over all spatial positions; the output has one pixel.
    pub fn global_max(input: TensorType) -> PoolBuilder {
        let kernel = Self::global_average(input.clone()).window.kernel;
        Self::builder(input, PoolKind::Max, kernel)
    }

    pub(super) fn clamped(&self, low: i32, high: i32) -> Option<Self> {
        let average = self.kind == PoolKind::Average;
        average.then(|| Self { output: self.output.clone().narrowed(low, high), ..self.clone() })
    }

    pub(crate) fn input(&self) -> &TensorType {
        &self.input
    }

    pub(crate) fn kind(&self) -> PoolKind {
        self.kind
    }

    /// The rounding of an average.
    pub(crate) fn arithmetic(&self) -> QuantizedArithmetic {
        self.arithmetic
    }

    pub(crate) fn window(&self) -> Window {
        self.window
    }

    pub(crate) fn counts_padding(&self) -> bool {
        self.count_padding
    }

    pub(crate) fn output(&self) -> &Requantization {
        &self.output
    }

    pub(crate) fn output_type(&self) -> &TensorType {
        &self.output_type
    }

    /// One entry per possible count of taps, from the least. Of means of codes the multiplier is the count itself.
    pub(crate) fn stage(&self) -> &Stage {
        &self.stage
    }

    /// The smallest count of taps of a window, at least 1.
    pub(crate) fn least_count(&self) -> usize {
        self.least_count
    }
}

impl OpDef for Pool {
    fn name(&self) -> &'static str {
        "pool"
    }

    fn inputs(&self) -> Vec<TensorType> {
        vec![self.input.clone()]
    }

    fn outputs(&self) -> Vec<TensorType> {
        vec![self.output_type.clone()]
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        check_pixels("a pool", &self.input, &inputs[0])?;
        let output_type = self.output_type.with_extent(inputs[0].dims()[0])?;
        Ok(Self { input: inputs[0].clone(), output_type, ..self.clone() })
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        Some(vec![true])
    }
}

impl PoolBuilder {
    pool_options!();

    /// The scale, zero point and rounding of an average; by default they are the input's. An explicit multiplier replaces
    /// `s / (s_out · count)` if all windows count as many taps.
    pub fn output(mut self, output: Requantization) -> Self {
        self.output = Some(output);
        self
    }

    /// The rounding of an average.
    pub fn arithmetic(mut self, arithmetic: QuantizedArithmetic) -> Self {
        self.arithmetic = Some(arithmetic);
        self
    }

    /// Validates the description.
    ///
    /// # Errors
    /// If the input is not an 8-bit image with one scale, the window leaves the padded image or is empty, a max pool has an output
    /// scale or an arithmetic, or an average's output has a fixed-point rounding mode and its arithmetic isn't `Integer`. Also if
    /// an f32 sum has more than 32,768 taps, or a scale so large that the sum could leave f32; if the arithmetic is `Codes` and the
    /// output has another scale or zero point; or if multipliers are explicit, but windows count different numbers of taps.
    pub fn build(self) -> Result<Pool> {
        let input = self.input;
        let (scale, zero_point) = require_per_tensor("the image", &input)?;
        let (window, shape) = pooled_dims(&input, &self.window)?;
        require!(
            self.kind == PoolKind::Average || self.output.is_none(),
            "a max pool keeps the input's scale: requantize afterwards instead of giving it an output"
        );
        require!(
            self.kind == PoolKind::Average || self.arithmetic.is_none(),
            "a max pool rounds nothing: give it no QuantizedArithmetic"
        );
        let output = self.output.map_or_else(|| Requantization::new(input.dtype(), scale, zero_point), Ok)?;
        let explicit = output.has_multipliers();
        let arithmetic = match self.arithmetic {
            Some(QuantizedArithmetic::Codes) => QuantizedArithmetic::Codes,
            given => match QuantizedArithmetic::resolve(given, output.mode(), explicit)? {
                QuantizedArithmetic::QOperator if window.is_whole() => QuantizedArithmetic::Integer,
                arithmetic => arithmetic,
            },
        };
        let codes = arithmetic == QuantizedArithmetic::Codes;
        require!(
            !codes || (output.scale(), output.zero_point(), explicit) == (scale, zero_point, false),
            "a mean of codes keeps scale {scale:e} and zero point {zero_point}, but the output has {:e} and {}: requantize it afterwards",
            output.scale(),
            output.zero_point()
        );
        let one_count = window.least_count(self.count_padding).max(1) == window.taps();
        require!(
            !explicit || (one_count && arithmetic == QuantizedArithmetic::Integer),
            "a pool has a multiplier per count of taps: give explicit multipliers only to QuantizedArithmetic::Integer and windows that all \
             count {} taps, or give it only a scale",
            window.taps()
        );
        let counts = match self.kind {
            PoolKind::Max => 0..=0,
            PoolKind::Average => {
                let taps = window.taps();
                if matches!(arithmetic, QuantizedArithmetic::QOperator | QuantizedArithmetic::Qdq) {
                    check_sums_of_floats(taps, scale)?;
                }
                let weights = Weights::Known { above: taps as i64, below: 0 };
                let sum = Channel { index: None, weights, bias: (0, 0) };
                sums::check(std::iter::once(sum), Offsets::of(&input), taps)?;
                window.least_count(self.count_padding).max(1)..=taps
            }
        };
        let multiplier = {
            let (rounding, out_scale) = (output.mode(), output.scale());
            let given = if explicit { Some(output.channel_multipliers(&[(scale, 1.0)])?[0]) } else { None };
            move |count: usize| match given {
                Some(given) => Ok(given),
                None if codes => Multiplier::fixed(count as i32, 0),
                None => Multiplier::from_scales(rounding, scale, 1.0, out_scale * count as f32),
            }
        };
        // Multipliers shrink as counts grow: if the first and the last are valid, all are.
        if self.kind == PoolKind::Average {
            multiplier(1)?;
            multiplier(window.taps())?;
        }
        let (least, entries) = (*counts.start(), if self.kind == PoolKind::Average { counts.count() } else { 0 });
        let stage = Stage::per_column(entries, move |index| StageEntry {
            bias: 0,
            multiplier: Some(multiplier(least + index).expect("between the first and the last")),
            scale: 1.0,
            real_bias: None,
        });
        let output_type = match self.kind {
            PoolKind::Average => output.byte_type(&shape)?,
            PoolKind::Max => Requantization::new(input.dtype(), scale, zero_point)?.tensor_type(&shape)?,
        };
        Ok(Pool {
            input,
            kind: self.kind,
            arithmetic,
            window,
            count_padding: self.count_padding,
            output,
            output_type,
            least_count: least,
            stage,
        })
    }
}

/// Refuses f32 sums that take too long or could leave f32.
fn check_sums_of_floats(taps: usize, scale: f32) -> Result<()> {
    require!(
        taps <= MOST_TAPS,
        "the window has {taps} taps, but f32 of more than {MOST_TAPS} are not summed one after the other: use QuantizedArithmetic::Integer"
    );
    let limit = f32::MAX / (1024.0 * taps.max(1) as f32);
    require!(
        scale < limit,
        "the scale of the image is {scale:e}, but it must be below {limit:e} for sums of {taps} f32"
    );
    Ok(())
}
