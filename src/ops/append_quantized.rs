//! Rows that are quantized and written into a larger tensor of codes, and their scales into another, at a position that the device
//! knows. The meaning is `reference/append_quantized.rs`, the GPU programs are `kernels/layout/append_quantized.rs`.

use super::{
    DynamicGranularity, DynamicQuantize, OpDef, Rotary, RotaryPairs, check_rows, position_type, require_float32,
};
use crate::error::Result;
use crate::tensor::TensorType;

/// A cache of codes and that of their scales after n rows of float32 were quantized and appended.
///
/// ```text
/// codes, pairs  = DynamicQuantize(rows), symmetric: scale = max |x| / high, code = saturate(round_ties_even(x / scale))
/// out[i, …]     = codes[i − p, …] if p ≤ i < p + n, else cache[i, …]
/// scales[i, …]  = pairs[i − p, …] if p ≤ i < p + n, else parameters[i, …]
/// ```
///
/// * `cache`: int8 or int4 `[capacity, …, d]` with [dynamic scales](TensorType::with_dynamic_scales).
/// * `parameters`: [`DType::Parameters`](crate::DType::Parameters), of the type that [`DynamicGranularity::of_cache`] tells: a scale
///   for each row of d codes, or for each group of a row.
/// * `rows`: float32 `[n, …, d]`, of the cache's other dimensions.
/// * `position`: int32 `[1]`, p. Rows that would fall outside of the cache, before 0 or from `capacity` on, are not written.
/// * `table`: with [`rotated`](AppendQuantized::rotated) only, as [`Rotary`] takes it. Rows are rotated by their positions p, p + 1, …
///   before they are quantized.
/// * Outputs: the types of `cache` and `parameters`.
///
/// Bits are those of a [`DynamicQuantize`] that is [`symmetric`](super::DynamicQuantizeBuilder::symmetric), and of two
/// [`Append`](super::Append)s. They are what an [`Attention`](super::Attention) over codes reads.
///
/// If cache and parameters are states of a graph ([`Graph::state`](crate::Graph::state)), a plan writes into their own buffers and
/// moves nothing else. Otherwise the outputs are copies. Either both are states, or none.
///
/// ```
/// use lowbit::{DType, Tensor, TensorType, numeric::QuantizationParams, ops::{AppendQuantized, DynamicGranularity}, reference};
/// let cache = TensorType::new(DType::Int8, [3, 2])?.with_dynamic_scales();
/// let rows = Tensor::new([1, 2], vec![12.7f32, -0.1])?;
/// let op = AppendQuantized::new(cache, rows.tensor_type().clone(), DynamicGranularity::Row)?;
/// let empty = [Tensor::new([3, 2], vec![0i8; 6])?, Tensor::new([3], vec![QuantizationParams::default(); 3])?];
/// let out = reference::run(&op.into(), &[&empty[0], &empty[1], &rows, &Tensor::new([1], vec![1i32])?])?;
/// assert_eq!(out[0].values::<i8>()?, [0, 0, 127, -1, 0, 0]);
/// assert_eq!(out[1].values::<QuantizationParams>()?[1].scale, 12.7 / 127.0);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct AppendQuantized {
    cache: TensorType,
    parameters: TensorType,
    quantize: DynamicQuantize,
    rotary: Option<Rotary>,
}

impl AppendQuantized {
    /// The op that writes rows of type `rows` into caches of type `cache`, with scales of this granularity.
    ///
    /// # Errors
    /// If the rows are not float32, the cache is not int8 or int4 with dynamic scales, dimensions other than the first differ, the
    /// rows are empty or more than the cache holds, or as for [`DynamicGranularity::of_cache`].
    pub fn new(cache: TensorType, rows: TensorType, granularity: DynamicGranularity) -> Result<Self> {
        require_float32("append_quantized", "the rows' type", &rows)?;
        let parameters = granularity.of_cache(&cache)?;
        check_rows(&cache, &rows)?;
        let quantize = DynamicQuantize::new(rows, cache.dtype(), granularity).symmetric().build()?;
        Ok(Self { cache, parameters, quantize, rotary: None })
    }

    /// This op with rows that are rotated by their positions, with a fifth input: the table, of type `table`.
    ///
    /// An element is `a · cos − b · sin` or `b · cos + a · sin` for its pair (a, b), in three operations of f32, each rounded to
    /// nearest, ties to even. Factors and products that are not finite count as the nearest finite number, and NaN as 0. So the
    /// codes are exact, while a [`Rotary`] before the op has an error, which may move a code.
    ///
    /// ```
    /// use lowbit::{DType, Tensor, TensorType, numeric::QuantizationParams, reference};
    /// use lowbit::ops::{AppendQuantized, DynamicGranularity, Rotary, RotaryPairs};
    /// let cache = TensorType::new(DType::Int8, [3, 2])?.with_dynamic_scales();
    /// let (rows, table) = (Tensor::new([1, 2], vec![1.0f32, 0.0])?, Rotary::table(3, &[1.0])?);
    /// let op = AppendQuantized::new(cache, rows.tensor_type().clone(), DynamicGranularity::Row)?;
    /// let op = op.rotated(table.tensor_type().clone(), RotaryPairs::Halves)?;
    /// let empty = [Tensor::new([3, 2], vec![0i8; 6])?, Tensor::new([3], vec![QuantizationParams::default(); 3])?];
    /// let out = reference::run(&op.into(), &[&empty[0], &empty[1], &rows, &Tensor::new([1], vec![1i32])?, &table])?;
    /// assert_eq!(out[0].values::<i8>()?, [0, 0, 82, 127, 0, 0]); // cos 1 and sin 1
    /// # Ok::<(), lowbit::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Rotary::new`].
    pub fn rotated(mut self, table: TensorType, pairs: RotaryPairs) -> Result<Self> {
        self.rotary = Some(Rotary::new(self.rows().clone(), table, pairs)?);
        Ok(self)
    }

    /// The rotation of the rows.
    pub(crate) fn rotary(&self) -> Option<&Rotary> {
        self.rotary.as_ref()
    }

    /// The quantization of the rows.
    pub(crate) fn quantize(&self) -> &DynamicQuantize {
        &self.quantize
    }

    pub(crate) fn cache(&self) -> &TensorType {
        &self.cache
    }

    pub(crate) fn parameters(&self) -> &TensorType {
        &self.parameters
    }

    pub(crate) fn rows(&self) -> &TensorType {
        self.quantize.input()
    }
}

impl OpDef for AppendQuantized {
    fn name(&self) -> &'static str {
        "append_quantized"
    }

    fn inputs(&self) -> Vec<TensorType> {
        let table = self.rotary.iter().map(|rotary| rotary.table_type().clone());
        [self.cache.clone(), self.parameters.clone(), self.rows().clone(), position_type()]
            .into_iter()
            .chain(table)
            .collect()
    }

    fn outputs(&self) -> Vec<TensorType> {
        vec![self.cache.clone(), self.parameters.clone()]
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        let op = Self::new(inputs[0].clone(), inputs[2].clone(), self.quantize.granularity())?;
        match &self.rotary {
            Some(rotary) => op.rotated(inputs[4].clone(), rotary.pairs()),
            None => Ok(op),
        }
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        None
    }
}
