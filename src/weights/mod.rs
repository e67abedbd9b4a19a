//! Weight matrices with group-wise scales along k, packed in the order that kernels read, as model files ship them. `layout` draws
//! the order, `import` reads files, `quantize` chooses scales, and `ops::Linear` multiplies.

mod format;
mod layout;
mod quantize;
mod words;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use crate::error::{Result, require};
use crate::numeric::{BlockFormat, DType};
use crate::tensor::{Tensor, TensorType};
pub use format::{Codes, GroupParams, OffsetKind, ScaleFormat, WeightFormat};
pub(crate) use layout::{Layout, PANEL, planes};
pub use quantize::{GroupScaleRule, Quantizer, Search};
use words::Words;

/// Bytes of the words of deferred rows that are made at a time, if rows are not longer.
const PART: usize = 4 << 20;

/// Parts of deferred rows, at most: those of larger matrices than 64 GiB are larger.
const MOST_PARTS: usize = 1 << 14;

/// `experts` matrices of `n` rows (output features) by `k` columns (input features), quantized in groups along k:
///
/// ```text
/// real[e, j, l] = scale[e, j, g(l)] · code[e, j, l] + shift        g(l) = l / group, or as an index says (act-order)
/// ```
///
/// [`WeightFormat`] gives the width of codes and the format of scales. The matrix is packed once, at construction, into words that
/// kernels bind directly. It is never unpacked in memory. The words stay in memory, or are made anew whenever they are needed
/// ([`deferred`](Self::deferred)), or are an input of the op ([`bound`](Self::bound)).
///
/// ```
/// use lowbit::weights::{Codes, GroupParams, ScaleFormat, WeightFormat, PackedWeights};
/// // Four rows of 64 codes, 32 of which share an f16 scale.
/// let format = WeightFormat::new(Codes::INT4, 32, ScaleFormat::F16);
/// let weights = PackedWeights::build(format, [1, 4, 64], |row, codes, groups, _| {
///     codes.iter_mut().enumerate().for_each(|(l, code)| *code = (l % 16) as i8 - 8);
///     groups.fill(GroupParams::scale(0.5 + row as f32));
///     Ok(())
/// })?;
/// assert_eq!(weights.dequantize()?.values::<f32>()?[..3], [-4.0, -3.5, -3.0]);
/// assert_eq!(weights.bits_per_weight(), 4.5);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Clone)]
pub struct PackedWeights {
    format: WeightFormat,
    layout: Layout,
    words: Words,
}

impl fmt::Debug for PackedWeights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PackedWeights({self})")
    }
}

impl fmt::Display for PackedWeights {
    /// Format and dimensions: `int4 in groups of 32 with f16 scales [2048, 4096]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [experts, n, k] = self.dims();
        write!(f, "{} ", self.format)?;
        if experts == 1 { write!(f, "[{n}, {k}]") } else { write!(f, "[{experts}, {n}, {k}]") }
    }
}

/// One row of a matrix in storage order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    /// The code of each position, in the order of [`Layout::source`]; 0 for gaps.
    pub codes: Vec<i8>,
    /// The scale and shift of each group.
    pub groups: Vec<GroupParams>,
}

impl PackedWeights {
    /// Matrices packed from their rows. `row(index, codes, groups, supers)` fills in row `index` (of all matrices, in order): k
    /// codes, one [`GroupParams`] per group, and for [`ScaleFormat::Nested`] formats one per super group. Rows are requested in any
    /// order, several at a time. Besides the packed words, only one row per thread is in memory.
    ///
    /// # Errors
    /// If the format or the dimensions are invalid, a code leaves the format's range, a scale or shift is not finite or the format
    /// can't store it exactly, there is not enough memory, or `row` fails.
    pub fn build(
        format: WeightFormat,
        dims: [usize; 3],
        row: impl Fn(usize, &mut [i8], &mut [GroupParams], &mut [GroupParams]) -> Result<()> + Sync,
    ) -> Result<Self> {
        Self::pack(format, Layout::new(&format, dims, None)?, true, row)
    }

    /// Matrices packed from rows without checks: numbers that the format can't store become infinite.
    pub(crate) fn build_unchecked(
        format: WeightFormat,
        dims: [usize; 3],
        row: impl Fn(usize, &mut [i8], &mut [GroupParams], &mut [GroupParams]) -> Result<()> + Sync,
    ) -> Result<Self> {
        Self::pack(format, Layout::new(&format, dims, None)?, false, row)
    }

    /// Matrices packed from rows whose columns are not in the order of their groups (GPTQ's act-order): column `l` belongs to group
    /// `index[l]`. `codes` are still filled in the original order of the columns.
    ///
    /// # Errors
    /// As [`PackedWeights::build`]. Also if there is not one index per column, or an index is not a group.
    pub fn build_indexed(
        format: WeightFormat,
        dims: [usize; 3],
        index: &[u32],
        row: impl Fn(usize, &mut [i8], &mut [GroupParams], &mut [GroupParams]) -> Result<()> + Sync,
    ) -> Result<Self> {
        Self::pack(format, Layout::new(&format, dims, Some(index))?, true, row)
    }

    fn pack(
        format: WeightFormat,
        layout: Layout,
        checked: bool,
        row: impl Fn(usize, &mut [i8], &mut [GroupParams], &mut [GroupParams]) -> Result<()> + Sync,
    ) -> Result<Self> {
        let size = layout.words();
        let mut words = Vec::new();
        words::reserve(&mut words, size)?;
        words.resize(size, 0u32);
        let sources: Option<Vec<u32>> = layout.sources();
        let pack_panel = |(panel, words): (usize, &mut [u32])| -> Result<()> {
            let mut codes = vec![0i8; layout.k];
            let mut arranged = vec![0i8; layout.steps * 32];
            let mut groups = vec![GroupParams::default(); layout.groups];
            let mut supers = vec![GroupParams::default(); format.supers(layout.groups)];
            for (slot, index) in layout.panel_rows(panel).enumerate() {
                row(index, &mut codes, &mut groups, &mut supers)?;
                if checked {
                    format.check_row(index, &codes, &groups, &supers)?;
                }
                let codes = match &sources {
                    None => &codes[..],
                    Some(sources) => {
                        for (code, &source) in arranged.iter_mut().zip(sources) {
                            *code = codes.get(source as usize).copied().unwrap_or(0);
                        }
                        &arranged[..]
                    }
                };
                layout.write_row(&format, words, panel, slot, codes, &groups, &supers);
            }
            Ok(())
        };
        layout.panels_mut(&mut words).into_par_iter().enumerate().try_for_each(pack_panel)?;
        Ok(Self { format, layout, words: Words::Held(Arc::new(words)) })
    }

    /// Weights of a known format and known dimensions that are made when their words are needed, and dropped after that: when a plan
    /// uploads them, and when a reference reads them. So the words of a whole model are never in host memory at a time. The closure
    /// reads them from where they are, often a mapped file, and returns the same weights each time. Each call costs the time of
    /// their import.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use lowbit::import::gguf::{self, GgufType};
    /// use lowbit::weights::PackedWeights;
    /// let file: Arc<Vec<u8>> = Arc::new(gguf::quantize(GgufType::Q8_0, &[0.5f32; 64])?);   // or a mapped file
    /// let dims = [1, 2, 32];
    /// let read = move || gguf::weights(GgufType::Q8_0, dims, &file);
    /// let weights = PackedWeights::deferred(GgufType::Q8_0.format(), dims, read)?;
    /// assert_eq!(weights.bytes(), weights.words()?.len() * 4);
    /// # Ok::<(), lowbit::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the format or the dimensions are invalid. Later calls fail with the closure's error, or if it returns weights of another
    /// format, other dimensions or another order of columns.
    pub fn deferred(
        format: WeightFormat,
        dims: [usize; 3],
        make: impl Fn() -> Result<Self> + Send + Sync + 'static,
    ) -> Result<Self> {
        Ok(Self { format, layout: Layout::new(&format, dims, None)?, words: Words::deferred(make) })
    }

    /// As [`deferred`](Self::deferred), for a matrix of which the closure makes some rows at a time, as a matrix of their own. Parts of
    /// about 4 MiB are in host memory at a time while a plan uploads them, however large the matrix is.
    ///
    /// ```
    /// use lowbit::import::gguf::{self, GgufType};
    /// use lowbit::weights::PackedWeights;
    /// let blocks = gguf::quantize(GgufType::Q8_0, &[127.0f32; 96])?; // three rows, of 34 bytes
    /// let make = move |rows: std::ops::Range<usize>| {
    ///     gguf::weights(GgufType::Q8_0, [1, rows.len(), 32], &blocks[rows.start * 34..rows.end * 34])
    /// };
    /// let weights = PackedWeights::deferred_rows(GgufType::Q8_0.format(), [3, 32], make)?;
    /// assert_eq!(weights.dequantize()?.values::<f32>()?, [127.0; 96]);
    /// # Ok::<(), lowbit::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`deferred`](Self::deferred).
    pub fn deferred_rows(
        format: WeightFormat,
        [n, k]: [usize; 2],
        make: impl Fn(Range<usize>) -> Result<Self> + Send + Sync + 'static,
    ) -> Result<Self> {
        // Not so many rows that their bytes can't be counted.
        Layout::new(&format, [1, n, k], None)?;
        let make = Arc::new(make);
        let panel = Self::packed_bytes(format, [1, PANEL, k])?;
        let most = (PANEL * (PART / panel.max(1)).max(1)).max(n.div_ceil(MOST_PARTS).next_multiple_of(PANEL));
        let part = |first: usize| {
            let (make, rows) = (make.clone(), first..n.min(first + most));
            Self::deferred(format, [1, rows.len(), k], move || make(rows.clone()))
        };
        if n <= most {
            return part(0);
        }
        let parts = (0..n).step_by(most).map(|first| part(first).map(Arc::new)).collect::<Result<Vec<_>>>()?;
        Ok(Self::joined(&parts).expect("parts of one format, of whole panels"))
    }

    /// Weights whose words are an input of the op that takes them, its last: int32 `[words]`, of [`word_type`](Self::word_type). One plan
    /// then serves all layers of the same shapes, each with its own words in device memory: those of [`to_tensor`](Self::to_tensor), or
    /// the output of [`QuantizeWeights`](crate::ops::QuantizeWeights). [`Linear`](crate::ops::Linear),
    /// [`LinearConv`](crate::ops::LinearConv) and [`Embedding`](crate::ops::Embedding) take such weights. Their columns are in order, and
    /// they fit one binding of the device.
    ///
    /// ```
    /// use lowbit::weights::{Codes, PackedWeights, Quantizer, ScaleFormat, WeightFormat};
    /// use lowbit::{Graph, Tensor, ops::Linear};
    /// let format = WeightFormat::new(Codes::INT4, 32, ScaleFormat::F16);
    /// let x = Tensor::new([1, 32], vec![1.0f32; 32])?;
    /// let op = Linear::new(x.tensor_type().clone(), PackedWeights::bound(format, [1, 2, 32])?).build()?;
    /// let graph = Graph::of(op)?;
    /// for layer in [0.5f32, 0.25] {
    ///     let weights = Quantizer::new(format)?.quantize(&Tensor::new([2, 32], vec![layer; 64])?)?;
    ///     let out = graph.run_reference(&[&x, &weights.to_tensor()?])?;
    ///     assert_eq!(out[0].values::<f32>()?, [32.0 * layer; 2]);
    /// }
    /// # Ok::<(), lowbit::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the format or the dimensions are invalid, or there are more words than a tensor holds.
    pub fn bound(format: WeightFormat, dims: [usize; 3]) -> Result<Self> {
        let weights = Self { format, layout: Layout::new(&format, dims, None)?, words: Words::Bound };
        TensorType::new(DType::Int32, [weights.layout.words()])?;
        Ok(weights)
    }

    /// The type of the tensor of the words.
    ///
    /// # Errors
    /// If there are more words than a tensor holds.
    pub fn word_type(&self) -> Result<TensorType> {
        TensorType::new(DType::Int32, [self.layout.words()])
    }

    /// The words as a tensor, for ops whose weights are [`bound`](Self::bound).
    ///
    /// # Errors
    /// If there are more words than a tensor holds, the columns are in another order, or as [`words`](Self::words).
    pub fn to_tensor(&self) -> Result<Tensor> {
        let is_ordered = self.layout.sources() == Layout::new(&self.format, self.dims(), None)?.sources();
        require!(is_ordered, "the columns of {self} are in another order, but an op's input has words of ordered ones");
        self.word_type()?;
        Tensor::new([self.layout.words()], self.words()?.iter().map(|&word| word as i32).collect::<Vec<_>>())
    }

    /// The type of the op's input that has the words, if they are bound.
    pub(crate) fn input_type(&self) -> Option<TensorType> {
        matches!(self.words, Words::Bound).then(|| self.word_type().expect("checked when made"))
    }

    /// These weights, with the words that the last of an op's inputs has, if they are bound.
    ///
    /// # Errors
    /// As [`from_words`](Self::from_words).
    pub(crate) fn among(self: &Arc<Self>, inputs: &[&Tensor]) -> Result<Arc<Self>> {
        let (Words::Bound, Some(words)) = (&self.words, inputs.last()) else { return Ok(self.clone()) };
        let words = words.values::<i32>()?.iter().map(|&word| word as u32).collect();
        Ok(Arc::new(Self::from_words(self.format, self.dims(), words)?))
    }

    /// The rows of several matrices as those of one; `None` if their formats, columns or orders of columns differ, or a panel would
    /// have rows of two. The words are put together when they are needed, and dropped after that.
    pub(crate) fn joined(parts: &[Arc<Self>]) -> Option<Self> {
        let (last, whole) = parts.split_last()?;
        let (format, [_, _, k], sources) = (last.format, last.dims(), last.layout.sources());
        let alike = |part: &Arc<Self>| {
            let [experts, _, columns] = part.dims();
            !matches!(part.words, Words::Bound)
                && experts == 1
                && columns == k
                && part.format == format
                && part.layout.sources() == sources
        };
        let is_whole = |part: &Arc<Self>| part.layout.n.is_multiple_of(PANEL);
        if !parts.iter().all(alike) || !whole.iter().all(is_whole) {
            return None;
        }
        let n = parts.iter().map(|part| part.layout.n).sum();
        let layout = last.layout.with_rows(n).ok()?;
        Some(Self { format, layout, words: Words::joined(parts) })
    }

    /// The weights whose words these are, one after the other; of most, they themselves.
    pub(crate) fn parts(self: &Arc<Self>) -> Vec<Arc<Self>> {
        match &self.words {
            Words::Joined(joined) => joined.parts().iter().flat_map(Self::parts).collect(),
            _ => vec![self.clone()],
        }
    }

    /// Quantized matrices `[n, k]` or `[experts, n, k]`, from a tensor with codes of at most 8 bits and scales per tensor, per row,
    /// or in blocks along k.
    ///
    /// # Errors
    /// If the tensor has another rank, no scales, or another granularity.
    pub fn from_tensor(tensor: &Tensor) -> Result<Self> {
        format::from_tensor(tensor)
    }

    /// Quantized matrices `[n, k]` or `[experts, n, k]`, from blocks along k as [`BlockQuantize`](crate::ops::BlockQuantize) makes
    /// them and model files store them.
    ///
    /// ```
    /// use lowbit::numeric::{BlockFormat, BlockRounding};
    /// use lowbit::ops::{BlockQuantize, Linear};
    /// use lowbit::{DType, Tensor, reference, weights::PackedWeights};
    /// let real = Tensor::new([1, 32], (0..32).map(|i| (i % 8) as f32).collect::<Vec<_>>())?;
    /// let format = BlockFormat::mx(DType::Float8E4M3Fn, BlockRounding::Floor)?;
    /// let blocks = reference::run(&BlockQuantize::new(real.tensor_type().clone(), format)?.into(), &[&real])?;
    /// let weights = PackedWeights::from_blocks(format, &blocks[0], &blocks[1])?;
    /// let x = Tensor::new([1, 32], vec![1.0f32; 32])?;
    /// let op = Linear::new(x.tensor_type().clone(), weights).build()?;
    /// assert_eq!(reference::run(&op.into(), &[&x])?[0].values::<f32>()?, [112.0]);
    /// # Ok::<(), lowbit::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the tensors don't match the format, hold NaN or infinity, or (MXINT8) have scales below 2⁻¹²¹.
    pub fn from_blocks(format: BlockFormat, elements: &Tensor, scales: &Tensor) -> Result<Self> {
        format::from_blocks(format, elements, scales)
    }

    /// Number of bytes of the packed matrices of a format, including padding. The order of columns doesn't change it, if no group
    /// has more columns than the format's group size.
    ///
    /// # Errors
    /// If the format or the dimensions are invalid.
    pub fn packed_bytes(format: WeightFormat, dims: [usize; 3]) -> Result<usize> {
        Ok(Layout::new(&format, dims, None)?.words() * 4)
    }

    /// The format of codes and scales.
    #[must_use]
    pub fn format(&self) -> &WeightFormat {
        &self.format
    }

    /// The number of matrices, and the numbers of rows and columns of each.
    #[must_use]
    pub fn dims(&self) -> [usize; 3] {
        [self.layout.experts, self.layout.n, self.layout.k]
    }

    /// Number of bytes of the packed words, including padding.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.layout.words() * 4
    }

    /// Number of bits per weight, including scales and padding; 0 if there are no weights.
    #[must_use]
    pub fn bits_per_weight(&self) -> f64 {
        let weights = self.dims().iter().product::<usize>();
        if weights == 0 { 0.0 } else { self.bytes() as f64 * 8.0 / weights as f64 }
    }

    /// The matrix with these packed words: [`words`](Self::words), or the output of
    /// [`QuantizeWeights`](crate::ops::QuantizeWeights) on a device.
    ///
    /// # Errors
    /// If the number of words is not that of the matrix, or the words hold a code, scale or shift that is not finite or not valid in
    /// the format.
    ///
    /// ```
    /// use lowbit::weights::{Codes, Quantizer, ScaleFormat, WeightFormat, PackedWeights};
    /// let format = WeightFormat::new(Codes::INT4, 32, ScaleFormat::F16);
    /// let weights = Quantizer::new(format)?.quantize(&lowbit::Tensor::new([2, 32], vec![0.5f32; 64])?)?;
    /// let again = PackedWeights::from_words(format, [1, 2, 32], weights.words()?.to_vec())?;
    /// assert_eq!(again.dequantize()?.values::<f32>()?, [0.5; 64]);
    /// # Ok::<(), lowbit::Error>(())
    /// ```
    pub fn from_words(format: WeightFormat, dims: [usize; 3], words: Vec<u32>) -> Result<Self> {
        let layout = Layout::new(&format, dims, None)?;
        require!(
            words.len() == layout.words(),
            "{} words were given, but {format} [{}, {}, {}] takes {}",
            words.len(),
            dims[0],
            dims[1],
            dims[2],
            layout.words()
        );
        let weights = Self { format, layout, words: Words::Held(Arc::new(words)) };
        let rows = weights.rows()?;
        (0..dims[0] * dims[1]).into_par_iter().try_for_each(|index| {
            let mut row = rows.get(index);
            row.groups.truncate(weights.layout.groups);
            let infinite = row.groups.iter().position(|group| !group.scale.is_finite());
            require!(
                infinite.is_none(),
                "row {index} has no finite scale for group {}: it was made of weights that {format} can't hold (divide them by a \
                 constant), or the words are of another matrix",
                infinite.unwrap_or_default()
            );
            match format.scales.nesting() {
                // `row.groups` are the products of the nested numbers.
                Some(_) => WeightFormat { scales: ScaleFormat::F32Offset, ..format }
                    .check_row(index, &row.codes, &row.groups, &[]),
                None => format.check_row(index, &row.codes, &row.groups, &[]),
            }
        })?;
        Ok(weights)
    }

    /// The packed words, as kernels bind them. Their order may change between versions of this crate.
    ///
    /// # Errors
    /// If they are [`deferred`](Self::deferred) and can't be made, or [`bound`](Self::bound).
    pub fn words(&self) -> Result<Arc<Vec<u32>>> {
        self.words.get(|made| {
            require!(
                made.format == self.format
                    && made.dims() == self.dims()
                    && made.layout.sources() == self.layout.sources(),
                "weights were deferred as {self}, but {made}{} were made: make the same weights each time",
                if made.layout.sources().is_some() { " with columns in another order" } else { "" }
            );
            Ok(())
        })
    }

    /// The rows of all matrices, while this lives.
    ///
    /// # Errors
    /// As [`words`](Self::words).
    pub(crate) fn rows(&self) -> Result<Rows<'_>> {
        Ok(Rows { weights: self, words: self.words()? })
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The real numbers, `[n, k]` or `[experts, n, k]`: `scale · (code − zero)` or `scale · code + offset`, each operation
    /// rounded to f32.
    ///
    /// # Errors
    /// If there are more elements than a tensor can hold, or as [`words`](Self::words).
    pub fn dequantize(&self) -> Result<Tensor> {
        let [experts, n, k] = self.dims();
        let shape = if experts == 1 { vec![n, k] } else { vec![experts, n, k] };
        crate::tensor::Shape::new(shape.clone())?;
        let mut values = vec![0.0f32; experts * n * k];
        if k > 0 {
            let rows = self.rows()?;
            values.par_chunks_mut(k).enumerate().for_each(|(row, out)| rows.dequantize(row, out));
        }
        Tensor::new(shape, values)
    }
}

/// The rows of all matrices of weights, whose words stay in memory meanwhile.
pub(crate) struct Rows<'a> {
    weights: &'a PackedWeights,
    words: Arc<Vec<u32>>,
}

impl Rows<'_> {
    /// The row with this index among the rows of all matrices.
    pub(crate) fn get(&self, index: usize) -> Row {
        self.weights.layout.read_row(&self.weights.format, &self.words, index)
    }

    /// Writes the real numbers of row `index` of all matrices: code times scale plus shift, each a rounded f32 operation.
    ///
    /// # Panics
    /// Never for an index below `experts · n`.
    pub(crate) fn dequantize(&self, index: usize, out: &mut [f32]) {
        let (row, layout) = (self.get(index), &self.weights.layout);
        for (position, &code) in row.codes.iter().enumerate() {
            if let Some(column) = layout.source(position) {
                let group = row.groups[position / layout.padded_group];
                out[column] = self.weights.format.real(code, group);
            }
        }
    }
}
