//! Rows that are written into a larger tensor at a position that the device knows. The meaning is `reference/append.rs`, the GPU
//! programs are `kernels/layout/append.rs`.

use super::{OpDef, Rotary, RotaryPairs, check_rows, position_type};
use crate::error::{Result, require};
use crate::numeric::DType;
use crate::tensor::TensorType;

/// `out[i, …] = rows[i − p, …] if p ≤ i < p + n, else cache[i, …]`: a cache of keys or values after n tokens were appended.
///
/// * `cache`: `[capacity, …]` of any data type, with scales that all indices of the first dimension share. Codes with
///   [dynamic scales](TensorType::with_dynamic_scales) are appended by one op, their parameters, [`DType::Parameters`], by another.
/// * `rows`: `[n, …]`, of the cache's data type and other dimensions. They may be float32 if the cache is float16: numbers are rounded
///   to nearest, ties to even, and infinite from 65,520 on.
/// * `position`: int32 `[1]`, p. Rows that would fall outside of the cache, before 0 or from `capacity` on, are not written.
/// * `table`: with [`rotated`](Append::rotated) only, as [`Rotary`] takes it. Rows are rotated by their positions p, p + 1, … before
///   they are stored, with that op's error.
/// * Output: the cache's type. Otherwise bits are copied unchanged.
///
/// If the cache is a state of a graph ([`Graph::state`](crate::Graph::state)), a plan writes the n rows into the state's own buffer
/// and moves nothing else. Otherwise the output is a copy.
///
/// ```
/// use lowbit::{Tensor, TensorType, ops::Append, reference};
/// let cache = Tensor::new([4, 2], vec![0i32, 0, 1, 1, 2, 2, 3, 3])?;
/// let rows = Tensor::new([1, 2], vec![8i32, 9])?;
/// let op = Append::new(cache.tensor_type().clone(), rows.tensor_type().clone())?;
/// let out = reference::run(&op.into(), &[&cache, &rows, &Tensor::new([1], vec![2i32])?])?;
/// assert_eq!(out[0].values::<i32>()?, [0, 0, 1, 1, 8, 9, 3, 3]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Append {
    cache: TensorType,
    rows: TensorType,
    rotary: Option<Rotary>,
}

impl Append {
    /// The op that writes rows of type `rows` into caches of type `cache`.
    ///
    /// # Errors
    /// If the data types, scales or other dimensions differ, an index of the first dimension is no whole number of words, or the
    /// rows are more than the cache holds.
    pub fn new(cache: TensorType, rows: TensorType) -> Result<Self> {
        let is_rounded = cache.dtype() == DType::Float16 && rows.dtype() == DType::Float32;
        require!(
            cache.dtype() == rows.dtype() || is_rounded,
            "the rows are {rows}, but the cache is {cache}: cast or quantize the rows to {} first",
            cache.dtype()
        );
        check_rows(&cache, &rows)?;
        require!(
            cache.shape().rank() > 1 || cache.dtype().bits() >= 32,
            "{cache} packs several indices into a word: give it a second dimension"
        );
        cache.with_extent(0)?;
        require!(
            rows.scales_agree(&cache) && rows.has_dynamic_scales() == cache.has_dynamic_scales(),
            "the rows have {}, but the cache has {}",
            rows.describe_scales(),
            cache.describe_scales()
        );
        Ok(Self { cache, rows, rotary: None })
    }

    /// This op with rows that are rotated by their positions, with a fourth input: the table, of type `table`.
    ///
    /// ```
    /// use lowbit::{Tensor, ops::{Append, Rotary, RotaryPairs}, reference};
    /// let (cache, rows) = (Tensor::new([3, 2], vec![0.0f32; 6])?, Tensor::new([1, 2], vec![1.0f32, 0.0])?);
    /// let table = Rotary::table(3, &[1.0])?;
    /// let op = Append::new(cache.tensor_type().clone(), rows.tensor_type().clone())?;
    /// let op = op.rotated(table.tensor_type().clone(), RotaryPairs::Halves)?;
    /// let out = reference::run(&op.into(), &[&cache, &rows, &Tensor::new([1], vec![2i32])?, &table])?;
    /// assert_eq!(out[0].values::<f32>()?[4..], [2f32.cos(), 2f32.sin()]);
    /// # Ok::<(), lowbit::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the rows are not float32, or as for [`Rotary::new`].
    pub fn rotated(mut self, table: TensorType, pairs: RotaryPairs) -> Result<Self> {
        self.rotary = Some(Rotary::new(self.rows.clone(), table, pairs)?);
        Ok(self)
    }

    /// This op without a rotation.
    pub(crate) fn unrotated(&self) -> Self {
        Self { rotary: None, ..self.clone() }
    }

    /// The rotation of the rows.
    pub(crate) fn rotary(&self) -> Option<&Rotary> {
        self.rotary.as_ref()
    }

    pub(crate) fn cache(&self) -> &TensorType {
        &self.cache
    }

    pub(crate) fn rows(&self) -> &TensorType {
        &self.rows
    }
}

impl OpDef for Append {
    fn name(&self) -> &'static str {
        "append"
    }

    fn inputs(&self) -> Vec<TensorType> {
        let table = self.rotary.iter().map(|rotary| rotary.table_type().clone());
        [self.cache.clone(), self.rows.clone(), position_type()].into_iter().chain(table).collect()
    }

    fn outputs(&self) -> Vec<TensorType> {
        vec![self.cache.clone()]
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        let op = Self::new(inputs[0].clone(), inputs[1].clone())?;
        match &self.rotary {
            Some(rotary) => op.rotated(inputs[3].clone(), rotary.pairs()),
            None => Ok(op),
        }
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        None
    }
}
