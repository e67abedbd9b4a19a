//! Rotary position embedding. The meaning is `reference/rotary.rs`, the GPU program is `kernels/elementwise/rotary.rs`.

use super::{OpDef, position_type, require_float32};
use crate::error::{Result, require};
use crate::tensor::{Tensor, TensorType};

/// The elements of a row that are rotated together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RotaryPairs {
    /// Element i and element i + w / 2: GPT-NeoX, and Llama as Hugging Face stores it.
    Halves,
    /// Elements 2i and 2i + 1: Llama as its authors and GGUF files store it.
    Interleaved,
}

/// Rotates pairs of elements of each row by the angle of its token's position.
///
/// ```text
/// out[t, …, a] = x[t, …, a] · cos_i − x[t, …, b] · sin_i
/// out[t, …, b] = x[t, …, a] · sin_i + x[t, …, b] · cos_i        (a, b) = (i, i + w/2) or (2i, 2i + 1),  i < w / 2
/// cos_i = table[p + t, i]      sin_i = table[p + t, w/2 + i]
/// ```
///
/// * `x`: float32 `[tokens, …, n]`; elements from w on are copied.
/// * `position`: int32 `[1]`, p, the position of the first token. Positions outside of the table count as its first or last.
/// * `table`: float32 `[positions, w]`, w even and at most n: cosines, then sines. [`Rotary::table`] makes it, from frequencies of
///   any scaling rule. It is an input so that all layers share one.
/// * Output: the type of `x`.
///
/// Let u = 2⁻²³. The error of an element is at most 2 · u · (|x_a · cos_i| + |x_b · sin_i|) + 2⁻¹²⁴ (with the factors exchanged for b). Source: Su
/// and others, RoFormer, 2021; ONNX RotaryEmbedding.
///
/// ```
/// use lowbit::{Tensor, ops::{Rotary, RotaryPairs}, reference};
/// let x = Tensor::new([1, 1, 2], vec![1.0f32, 0.0])?;
/// let table = Rotary::table(8, &[1.0])?;
/// let op = Rotary::new(x.tensor_type().clone(), table.tensor_type().clone(), RotaryPairs::Halves)?;
/// let position = Tensor::new([1], vec![3i32])?;
/// let out = reference::run(&op.into(), &[&x, &position, &table])?.remove(0);
/// assert_eq!(out.values::<f32>()?, [3f32.cos(), 3f32.sin()]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Rotary {
    input: TensorType,
    table: TensorType,
    pairs: RotaryPairs,
}

impl Rotary {
    /// The rotation of tensors of type `input` by tables of type `table`.
    ///
    /// # Errors
    /// If one of them is not float32, the input has fewer than two dimensions, or the table is empty, odd, or wider than a row.
    pub fn new(input: TensorType, table: TensorType, pairs: RotaryPairs) -> Result<Self> {
        require_float32("rotary", "the input", &input)?;
        require_float32("rotary", "the table", &table)?;
        require!(input.shape().rank() > 1, "the input is {input}, but rotary takes [tokens, …, n]: reshape it");
        require!(table.shape().rank() == 2, "the table is {table}, but rotary takes [positions, w]: see Rotary::table");
        let (n, width) = (input.shape().row_length(), table.dims()[1]);
        require!(
            table.dims()[0] > 0 && width.is_multiple_of(2) && width <= n,
            "the table is {table}, but it has at least one position, and an even number of at most {n} columns, the length of a row"
        );
        Ok(Self { input, table, pairs })
    }

    /// The table of cosines and sines for positions 0 to `positions`: row p is cos(p · f_i), then sin(p · f_i), computed in f64.
    /// Plain frequencies are f_i = base^(−2i / w) with base 10,000.
    ///
    /// # Errors
    /// If the table is larger than a tensor can be.
    pub fn table(positions: usize, frequencies: &[f64]) -> Result<Tensor> {
        let tensor_type = TensorType::float32([positions, 2 * frequencies.len()])?;
        let row = |position: usize| {
            let angles = frequencies.iter().map(move |frequency| position as f64 * frequency);
            angles.clone().map(f64::cos).chain(angles.map(f64::sin))
        };
        let values: Vec<f32> = (0..positions).flat_map(row).map(|x| x as f32).collect();
        Tensor::new(tensor_type.dims(), values)
    }

    pub(crate) fn input(&self) -> &TensorType {
        &self.input
    }

    pub(crate) fn table_type(&self) -> &TensorType {
        &self.table
    }

    /// The number of positions of the table, and its columns.
    pub(crate) fn table_dims(&self) -> [usize; 2] {
        [self.table.dims()[0], self.table.dims()[1]]
    }

    pub(crate) fn pairs(&self) -> RotaryPairs {
        self.pairs
    }
}

impl OpDef for Rotary {
    fn name(&self) -> &'static str {
        "rotary"
    }

    fn inputs(&self) -> Vec<TensorType> {
        vec![self.input.clone(), position_type(), self.table.clone()]
    }

    fn outputs(&self) -> Vec<TensorType> {
        vec![self.input.clone()]
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        Self::new(inputs[0].clone(), inputs[2].clone(), self.pairs)
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        // The position of a token follows from its index.
        None
    }
}
