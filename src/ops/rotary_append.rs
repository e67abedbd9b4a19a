//! The rows that an attention layer makes of new tokens: rotated queries, and keys and values in their caches. The meaning is
//! `reference/rotary_append.rs`, the GPU programs are `kernels/layout/rotary_append.rs`.

use super::{Append, OpDef, Rotary, position_type};
use crate::error::{Result, require};
use crate::numeric::DType;
use crate::tensor::TensorType;

/// Rotated queries, and two caches after rotated keys and values of the same tokens were appended: [`Rotary`] and two [`Append`]s in
/// one launch. [`Context::plan`](crate::Context::plan) makes it of separate ops whose caches are states.
///
/// * Inputs: the caches of keys and of values, float32 or float16 `[capacity, …]`; queries, key rows and value rows, float32 `[n, …]`;
///   `position`, int32 `[1]`; `table`, as [`Rotary`] takes it.
/// * Outputs: the caches, then the rotated queries. If both caches are states of a graph ([`Graph::state`](crate::Graph::state)), a plan
///   writes the n rows into their own buffers. Otherwise the outputs are copies. Either both are states, or none.
///
/// The errors are those of the three ops.
///
/// ```
/// use lowbit::{Tensor, ops::{Append, Rotary, RotaryAppend, RotaryPairs}, reference};
/// let cache = Tensor::new([3, 1, 2], vec![0.0f32; 6])?;
/// let row = Tensor::new([1, 1, 2], vec![1.0f32, 0.0])?;
/// let table = Rotary::table(3, &[1.0])?;
/// let [cache_type, row_type, table_type] = [&cache, &row, &table].map(|t| t.tensor_type().clone());
/// let rotary = Rotary::new(row_type.clone(), table_type.clone(), RotaryPairs::Halves)?;
/// let values = Append::new(cache_type, row_type)?;
/// let keys = values.clone().rotated(table_type, RotaryPairs::Halves)?;
/// let op = RotaryAppend::new(rotary, keys, values)?;
/// let position = Tensor::new([1], vec![2i32])?;
/// let out = reference::run(&op.into(), &[&cache, &cache, &row, &row, &row, &position, &table])?;
/// assert_eq!(out[0].values::<f32>()?, [0.0, 0.0, 0.0, 0.0, 2f32.cos(), 2f32.sin()]);
/// assert_eq!(out[1].values::<f32>()?, [0.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
/// assert_eq!(out[2].values::<f32>()?, [2f32.cos(), 2f32.sin()]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct RotaryAppend {
    queries: Rotary,
    keys: Append,
    values: Append,
}

impl RotaryAppend {
    /// The op that does what these three do.
    ///
    /// # Errors
    /// If keys are not rotated as queries are or their rows have another length, values are rotated, rows are not float32, caches not
    /// both float32 or both float16, or the numbers of tokens differ.
    pub fn new(queries: Rotary, keys: Append, values: Append) -> Result<Self> {
        let alike = |rotary: &Rotary| rotary.pairs() == queries.pairs() && rotary.table_type() == queries.table_type();
        require!(
            keys.rotary().is_some_and(alike),
            "the keys are not rotated by the queries' table and pairs: call Append::rotated with both"
        );
        let widths = [queries.input(), keys.rows()].map(|rows| rows.shape().row_length());
        require!(
            widths[0] == widths[1],
            "a row of queries has {} elements and one of keys {}: make them equal, or use Rotary and Append",
            widths[0],
            widths[1]
        );
        require!(
            values.rotary().is_none(),
            "the values are rotated, but only queries and keys are: leave out Append::rotated"
        );
        let dtype = keys.cache().dtype();
        require!(
            matches!(dtype, DType::Float32 | DType::Float16)
                && values.cache().dtype() == dtype
                && values.rows().dtype() == DType::Float32,
            "the caches are {} and {}, and the value rows {}: caches are float32 or float16, both alike, and rows float32",
            keys.cache(),
            values.cache(),
            values.rows()
        );
        let tokens = [queries.input(), keys.rows(), values.rows()].map(|rows| rows.dims()[0]);
        require!(
            tokens[0] == tokens[1] && tokens[1] == tokens[2] && keys.cache().dims()[0] == values.cache().dims()[0],
            "there are queries, keys and values of {tokens:?} tokens, and caches {} and {}: give each all tokens, and the caches one \
             capacity",
            keys.cache(),
            values.cache()
        );
        require!(
            values.cache().shape().rank() > 1,
            "the cache of values is {}: its positions have rows, so give it a second dimension",
            values.cache()
        );
        Ok(Self { queries, keys, values })
    }

    pub(crate) fn queries(&self) -> &Rotary {
        &self.queries
    }

    pub(crate) fn keys(&self) -> &Append {
        &self.keys
    }

    pub(crate) fn values(&self) -> &Append {
        &self.values
    }
}

impl OpDef for RotaryAppend {
    fn name(&self) -> &'static str {
        "rotary_append"
    }

    fn inputs(&self) -> Vec<TensorType> {
        let (keys, values) = (&self.keys, &self.values);
        let types = [keys.cache(), values.cache(), self.queries.input(), keys.rows(), values.rows()];
        types.into_iter().cloned().chain([position_type(), self.queries.table_type().clone()]).collect()
    }

    fn outputs(&self) -> Vec<TensorType> {
        [self.keys.cache(), self.values.cache(), self.queries.input()].map(Clone::clone).to_vec()
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        let [keys, values, queries, key_rows, value_rows, _, table] = [0, 1, 2, 3, 4, 5, 6].map(|i| inputs[i].clone());
        let pairs = self.queries.pairs();
        let keys = Append::new(keys, key_rows)?.rotated(table.clone(), pairs)?;
        Self::new(Rotary::new(queries, table, pairs)?, keys, Append::new(values, value_rows)?)
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        None
    }
}
