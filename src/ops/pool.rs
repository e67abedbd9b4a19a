//! Average, maximum and global average pooling of quantized images. The meaning is `reference/pool.rs`, the GPU programs
//! are `kernels/pool.rs`.

use super::OpDef;
use super::output::{Requantization, Stage, StageEntry};
use super::quantized_arithmetic::QuantizedArithmetic;
use super::requantize::require_per_tensor;
use super::sums::{self, Channel, Offsets, Weights};
use super::window::{Padding, Window, WindowRequest};
use crate::error::{Result, require};
use crate::numeric::Multiplier;
use crate::tensor::TensorType;

/// What a window of codes becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PoolKind {
    /// Their mean, requantized.
    Average,
    /// Their maximum.
    Max,
}

/// `out[b, p, c] ≈ Σ_tap s (x[b, p·stride + tap·dilation − pad, c] − z) / (s_out · count) + z_out` or `max_tap x[…]`
///
/// * Input: int8 or uint8 `[batch, spatial…, channels]` (NHWC), one to three spatial dimensions, one scale.
/// * `count` is the number of taps inside the image. If padding counts, it is the number inside the padded image, but the size of
///   the kernel for `QOperator`; they differ where sizes are rounded up.
/// * Max pooling keeps scale and zero point, and taps in the padding don't count; a window that is all padding gives the
///   format's least code (the zero point for an average).
///
/// How an average is rounded is its [`QuantizedArithmetic`], by default the first, or `Integer` where the output has a fixed-point
/// rounding mode:
///
/// ```text
/// QOperator   clamp(round_ties_even(Σ s (x − z) / count / s_out + z_out))       every step one f32 operation, taps row by row
///             or as Integer where the window is the whole image, without padding
/// Qdq         clamp(round_ties_even(Σ s (x − z) / count / s_out) + z_out)       every step one f32 operation, taps row by row
/// Integer     clamp(rescale(Σ (x − z), s / (s_out · count)) + z_out)            an exact integer sum
/// ```
///
/// Sums of f32 are made one after the other, which costs a device more than an integer sum where the mean is near the middle between two
/// codes, and is for windows of up to 32,768 taps. Sources: com.microsoft QLinearAveragePool and QLinearGlobalAveragePool;
/// ONNX AveragePool and MaxPool.
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

/// The most taps whose f32 are summed one after the other: lavapipe ends its loops after about 65,535 turns.
const MOST_TAPS: usize = 32_768;

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

    /// Starts the description of an average pool with stride 1 and no padding; `kernel` has one size per spatial
    /// dimension.
    pub fn average(input: TensorType, kernel: impl Into<Vec<usize>>) -> PoolBuilder {
        Self::builder(input, PoolKind::Average, kernel.into())
    }

    /// Starts the description of a max pool with stride 1 and no padding.
    pub fn max(input: TensorType, kernel: impl Into<Vec<usize>>) -> PoolBuilder {
        Self::builder(input, PoolKind::Max, kernel.into())
    }

    /// Starts the description of an average over all spatial positions; the output has one pixel.
    pub fn global_average(input: TensorType) -> PoolBuilder {
        let dims = input.dims();
        let kernel = dims.get(1..dims.len().saturating_sub(1)).unwrap_or(&[]).to_vec();
        Self::builder(input, PoolKind::Average, kernel)
    }

    /// Starts the description of a maximum over all spatial positions; the output has one pixel.
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

    /// How an average is rounded.
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

    /// One entry per count of taps, from the least.
    pub(crate) fn stage(&self) -> &Stage {
        &self.stage
    }

    /// The fewest taps of a window that count, at least 1.
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
        let output_type = self.output_type.with_extent(inputs[0].dims()[0])?;
        Ok(Self { input: inputs[0].clone(), output_type, ..self.clone() })
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        Some(vec![true])
    }
}

impl PoolBuilder {
    /// Steps of the window, one per spatial dimension.
    pub fn stride(mut self, stride: impl Into<Vec<usize>>) -> Self {
        self.window.stride = stride.into();
        self
    }

    /// Distance of the taps, one per spatial dimension.
    pub fn dilation(mut self, dilation: impl Into<Vec<usize>>) -> Self {
        self.window.dilation = dilation.into();
        self
    }

    /// What lies around the image.
    pub fn padding(mut self, padding: Padding) -> Self {
        self.window.padding = padding;
        self
    }

    /// Taps in the padding count as zeros of the average (ONNX's `count_include_pad`).
    pub fn count_padding(mut self) -> Self {
        self.count_padding = true;
        self
    }

    /// The output size is rounded up, not down (ONNX's `ceil_mode`); a window that would start in the padding after the
    /// image is left out.
    pub fn round_up(mut self) -> Self {
        self.window.round_up = true;
        self
    }

    /// Scale, zero point and rounding of an average; without it they are the input's.
    pub fn output(mut self, output: Requantization) -> Self {
        self.output = Some(output);
        self
    }

    /// Which of its definitions an average has.
    pub fn arithmetic(mut self, arithmetic: QuantizedArithmetic) -> Self {
        self.arithmetic = Some(arithmetic);
        self
    }

    /// Validates the description.
    ///
    /// # Errors
    /// If the input is not an 8-bit image with one scale, the window leaves the padded image or is empty, a max pool was given an
    /// output scale or an arithmetic, or an average's output has a fixed-point rounding mode and its arithmetic isn't `Integer`; or
    /// if it sums f32 of more than 32,768 taps or with a scale so large that a sum could leave f32.
    pub fn build(self) -> Result<Pool> {
        let input = self.input;
        let (scale, zero_point) = require_per_tensor("the image", &input)?;
        let rank = input.shape().rank();
        require!(
            (3..=5).contains(&rank),
            "the image {input} has {rank} dimensions, but [batch, one to three spatial, channels] are 3 to 5"
        );
        let spatial = &input.dims()[1..rank - 1];
        require!(
            self.window.kernel.len() == spatial.len(),
            "the kernel has {} sizes, but {input} has {} spatial dimensions",
            self.window.kernel.len(),
            spatial.len()
        );
        let window = self.window.resolve(spatial)?;
        require!(
            self.kind == PoolKind::Average || self.output.is_none(),
            "a max pool keeps the input's scale: requantize afterwards instead of giving it an output"
        );
        require!(
            self.kind == PoolKind::Average || self.arithmetic.is_none(),
            "a max pool rounds nothing: give it no QuantizedArithmetic"
        );
        let output = self.output.map_or_else(|| Requantization::new(input.dtype(), scale, zero_point), Ok)?;
        require!(!output.has_multipliers(), "a pool computes its own multipliers, one per count: give it only a scale");
        let whole = window.kernel == window.input && window.begin == [0; 3] && window.end == [0; 3];
        let arithmetic = match QuantizedArithmetic::resolve(self.arithmetic, output.mode(), false)? {
            QuantizedArithmetic::QOperator if whole => QuantizedArithmetic::Integer,
            arithmetic => arithmetic,
        };
        let counts = match self.kind {
            PoolKind::Max => 0..=0,
            PoolKind::Average => {
                let taps = window.taps();
                if arithmetic != QuantizedArithmetic::Integer {
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
            move |count: usize| Multiplier::from_scales(rounding, scale, 1.0, out_scale * count as f32)
        };
        // Multipliers shrink as counts grow: if the first and the last are legal, so are all.
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
        let channels = input.shape().row_length();
        let shape: Vec<usize> = [input.dims()[0]]
            .into_iter()
            .chain(window.output_spatial(rank - 2).iter().copied())
            .chain([channels])
            .collect();
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

/// Refuses sums of f32 that would take too long or could leave f32.
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
