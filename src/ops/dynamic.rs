//! Dynamic quantization: the range is computed on the device. The meaning is `reference/dynamic.rs`, the GPU programs are
//! `kernels/convert/dynamic.rs`.

use super::{OpDef, require_float32};
use crate::error::{Error, Result, require};
use crate::numeric::DType;
use crate::tensor::{Shape, TensorType};

/// The elements that share a dynamic range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DynamicGranularity {
    /// All elements.
    Tensor,
    /// The elements of each row (a token): an index of all dimensions but the last.
    Row,
    /// Runs of this many elements of a row; the last run of a row may be shorter.
    Group(usize),
}

impl DynamicGranularity {
    /// The type of the parameters of a cache of codes `[capacity, …, d]`, as [`Attention`](super::Attention) reads it and
    /// [`AppendQuantized`](super::AppendQuantized) fills it: [`DType::Parameters`] `[capacity, …]` by row, `[capacity, …, ⌈d / size⌉]`
    /// by groups, which are a multiple of 8 codes.
    ///
    /// ```
    /// use lowbit::{DType, TensorType, ops::DynamicGranularity};
    /// let cache = TensorType::new(DType::Int4, [1024, 3, 64])?.with_dynamic_scales();
    /// assert_eq!(DynamicGranularity::Row.of_cache(&cache)?.dims(), [1024, 3]);
    /// assert_eq!(DynamicGranularity::Group(32).of_cache(&cache)?.dims(), [1024, 3, 2]);
    /// # Ok::<(), lowbit::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the cache is not int8 or int4 with dynamic scales, has less than two dimensions, or its rows are empty; by tensor, and by
    /// groups of another size.
    pub fn of_cache(self, cache: &TensorType) -> Result<TensorType> {
        require!(
            matches!(cache.dtype(), DType::Int8 | DType::Int4) && cache.has_dynamic_scales(),
            "the cache is {cache} with {}, but one of codes is int8 or int4, with scales of positions in another tensor: give the type \
             TensorType::with_dynamic_scales",
            cache.describe_scales()
        );
        let (row, rest) = cache.dims().split_last().filter(|(_, rest)| !rest.is_empty()).unzip();
        let (row, rest) = (row.copied().unwrap_or(0), rest.unwrap_or_default());
        require!(row > 0, "the cache is {cache}, but it has at least two dimensions, and the last is at least 1");
        match self {
            Self::Tensor => Err(Error::Request(
                "a cache has no scale for all of its positions: choose DynamicGranularity::Row or Group".into(),
            )),
            Self::Row => TensorType::new(DType::Parameters, rest),
            Self::Group(size) => {
                require!(
                    size > 0 && size.is_multiple_of(8),
                    "groups of {size} codes share no whole words: choose a multiple of 8, such as 32"
                );
                TensorType::new(DType::Parameters, [rest, &[row.div_ceil(size)]].concat())
            }
        }
    }

    /// The type of the parameters of codes with this shape: `[1]`, `[rows]`, or `[rows, groups]`.
    pub(super) fn parameters(self, shape: &Shape) -> Result<TensorType> {
        match self {
            Self::Tensor => TensorType::new(DType::Parameters, [1]),
            Self::Row => TensorType::new(DType::Parameters, [shape.rows()]),
            Self::Group(size) => {
                require!(size > 0, "groups of 0 elements: a group holds at least 1");
                TensorType::new(DType::Parameters, [shape.rows(), shape.row_length().div_ceil(size)])
            }
        }
    }
}

/// The ranges of a dynamic quantization: every `row` elements hold `per_row` segments of `length` elements. The last segment of a
/// row may be shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segments {
    pub count: usize,
    pub length: usize,
    pub per_row: usize,
    pub row: usize,
}

impl Segments {
    /// The elements of a segment.
    pub(crate) fn elements(self, segment: usize) -> std::ops::Range<usize> {
        let (row, start) = (segment / self.per_row * self.row, segment % self.per_row * self.length);
        row + start..row + (start + self.length).min(self.row)
    }
}

/// The codes and parameters of float32 numbers, with scales computed from their own range:
///
/// ```text
/// scale = (max(x, 0) − min(x, 0)) / (high − low)        zero_point = low + round_ties_even(−min(x, 0) / scale)
/// code  = saturate(round_ties_even(x / scale) + zero_point)
/// ```
///
/// `low` and `high` are the range of the data type; each step is one f32 operation. NaN is excluded from the range and becomes the
/// least code. Infinities count as the largest finite number. A range of zero has scale 1. Outputs: the codes (int8, uint8 or int4, the
/// input's shape) and the parameters ([`DType::Parameters`]: one, one per row, or one per row and group). The parameters stay on
/// the device. They can be the dynamic lhs of [`Linear`](super::Linear) and, except for groups, of [`Matmul`](super::Matmul) and
/// [`Conv`](super::Conv), if codes have 8 bits. [`symmetric`](DynamicQuantizeBuilder::symmetric) has no zero point; int4 is always so.
///
/// Source: ONNX DynamicQuantizeLinear (uint8 per tensor); ONNX Runtime for the scale of an all-zero tensor.
///
/// ```
/// use lowbit::{DType, Tensor, numeric::QuantizationParams, ops::{DynamicGranularity, DynamicQuantize}, reference};
/// let x = Tensor::new([3], vec![-1.0f32, 0.0, 4.1])?;
/// let op = DynamicQuantize::new(x.tensor_type().clone(), DType::Uint8, DynamicGranularity::Tensor).build()?;
/// let out = reference::run(&op.into(), &[&x])?;
/// assert_eq!(out[0].values::<u8>()?, [0, 50, 255]);
/// assert_eq!(out[1].values::<QuantizationParams>()?, [QuantizationParams::new(0.02, 50)]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct DynamicQuantize {
    input: TensorType,
    output: TensorType,
    parameters: TensorType,
    granularity: DynamicGranularity,
    symmetric: bool,
}

/// Describes a [`DynamicQuantize`]; made by [`DynamicQuantize::new`].
#[derive(Debug, Clone)]
#[must_use]
pub struct DynamicQuantizeBuilder {
    input: TensorType,
    dtype: DType,
    granularity: DynamicGranularity,
    symmetric: bool,
}

impl DynamicQuantizeBuilder {
    /// Makes int8 codes without zero points: `scale = max|x| / 127`, `code = saturate(round_ties_even(x / scale))`. Codes are
    /// −127 … 127 for finite numbers; NaN and −∞ become −128. A range of zeros has scale 1.
    ///
    /// ```
    /// use lowbit::{DType, Tensor, numeric::QuantizationParams, ops::{DynamicGranularity, DynamicQuantize}, reference};
    /// let x = Tensor::new([1, 4], vec![-2.54f32, 1.0, 0.0, 0.0])?;
    /// let op = DynamicQuantize::new(x.tensor_type().clone(), DType::Int8, DynamicGranularity::Group(2)).symmetric().build()?;
    /// let out = reference::run(&op.into(), &[&x])?;
    /// assert_eq!(out[0].values::<i8>()?, [-127, 50, 0, 0]);
    /// let params = out[1].values::<QuantizationParams>()?;
    /// assert_eq!(params, [QuantizationParams::new(0.02, 0), QuantizationParams::new(1.0, 0)]);
    /// # Ok::<(), lowbit::Error>(())
    /// ```
    pub fn symmetric(mut self) -> Self {
        self.symmetric = true;
        self
    }

    /// Validates the description.
    ///
    /// # Errors
    /// If the input is not float32, the data type is not int8, uint8 or int4, uint8 is to be symmetric or int4 is not, or groups are
    /// empty.
    pub fn build(self) -> Result<DynamicQuantize> {
        let Self { input, dtype, granularity, symmetric } = self;
        require_float32("dynamic_quantize", "the input", &input)?;
        require!(
            dtype.is_8_bit() || dtype == DType::Int4,
            "dynamic quantization makes int8, uint8 or int4 codes, but {dtype} was asked for"
        );
        require!(!symmetric || dtype.is_signed(), "{dtype} codes have no symmetric range: use int8");
        require!(symmetric || dtype != DType::Int4, "{dtype} codes are symmetric: call symmetric()");
        Ok(DynamicQuantize {
            output: TensorType::new(dtype, input.dims())?.with_dynamic_scales(),
            parameters: granularity.parameters(input.shape())?,
            input,
            granularity,
            symmetric,
        })
    }
}

impl DynamicQuantize {
    /// A builder for a dynamic quantization of tensors of type `input`, float32, to int8, uint8 or int4.
    #[expect(clippy::new_ret_no_self, reason = "an op exists only once it is validated")]
    pub fn new(input: TensorType, dtype: DType, granularity: DynamicGranularity) -> DynamicQuantizeBuilder {
        DynamicQuantizeBuilder { input, dtype, granularity, symmetric: false }
    }

    pub(crate) fn input(&self) -> &TensorType {
        &self.input
    }

    pub(crate) fn output(&self) -> &TensorType {
        &self.output
    }

    /// The type of scales and zero points.
    pub(crate) fn parameters(&self) -> &TensorType {
        &self.parameters
    }

    /// The least code, the greatest code, and true if the range is symmetric.
    pub(crate) fn range(&self) -> (i32, i32, bool) {
        let (low, high) = self.output.dtype().range().expect("an integer format");
        (low, high, self.symmetric)
    }

    /// The segments of elements that share a range.
    pub(crate) fn segments(&self) -> Segments {
        let shape = self.input.shape();
        let (rows, row) = (shape.rows(), shape.row_length());
        match self.granularity {
            DynamicGranularity::Tensor => {
                Segments { count: 1, length: shape.elements(), per_row: 1, row: shape.elements() }
            }
            DynamicGranularity::Row => Segments { count: rows, length: row, per_row: 1, row },
            DynamicGranularity::Group(size) => {
                let per_row = row.div_ceil(size);
                Segments { count: rows * per_row, length: size.min(row), per_row, row }
            }
        }
    }

    pub(crate) fn granularity(&self) -> DynamicGranularity {
        self.granularity
    }
}

impl OpDef for DynamicQuantize {
    fn name(&self) -> &'static str {
        "dynamic_quantize"
    }

    fn inputs(&self) -> Vec<TensorType> {
        vec![self.input.clone()]
    }

    fn outputs(&self) -> Vec<TensorType> {
        vec![self.output.clone(), self.parameters.clone()]
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        let builder = Self::new(inputs[0].clone(), self.output.dtype(), self.granularity);
        DynamicQuantizeBuilder { symmetric: self.symmetric, ..builder }.build()
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        (self.granularity() != DynamicGranularity::Tensor && self.inputs()[0].shape().rank() == 2).then(|| vec![true])
    }
}
