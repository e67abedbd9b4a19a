//! Output stages of accumulators, shared by matmul, convolution and requantization. The rounding is in `numeric`.

use std::fmt;
use std::sync::Arc;

use crate::error::{Error, Result, require};
use crate::numeric::{DType, Multiplier, Rounding};
use crate::tensor::{Quantization, Shape, Tensor, TensorType};

/// The output that a matmul or convolution computes from its accumulators.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub enum Output {
    /// `int32 = acc + bias`: the exact accumulator.
    #[default]
    Accumulator,
    /// `float32 = f32(acc + bias) · min(s_lhs · s_rhs, f32::MAX) + real_bias`, clamped. Every step is one correctly rounded f32
    /// operation, with equal bits on every device. Products may overflow to infinity; NaN does not occur.
    Real {
        /// The least result: 0 for ReLU, `f32::NEG_INFINITY` for none.
        low: f32,
        /// The greatest result: 6 for ReLU6, `f32::INFINITY` for none.
        high: f32,
    },
    /// `float16`: the result of [`Output::Real`] rounded to the nearest f16, ties to even; infinity from 65,520 on. Bits are equal
    /// on every device.
    Float16 {
        /// The least result before rounding.
        low: f32,
        /// The greatest result before rounding.
        high: f32,
    },
    /// 8- or 16-bit codes.
    Requantized(Requantization),
}

impl Output {
    /// [`Output::Real`] without clamp.
    #[must_use]
    pub const fn real() -> Self {
        Self::Real { low: f32::NEG_INFINITY, high: f32::INFINITY }
    }

    /// [`Output::Float16`] without clamp.
    ///
    /// ```
    /// use lowbit::{Quantization, Tensor, half::f16, ops::{Matmul, Output}, reference};
    /// let lhs = Tensor::new([1, 2], vec![3i8, 4])?.quantized(Quantization::tensor(0.5, 0))?;
    /// let rhs = Tensor::new([2, 1], vec![1i8, 2])?.quantized(Quantization::tensor(0.25, 0))?;
    /// let op = Matmul::new(lhs.tensor_type().clone(), rhs).output(Output::float16()).build()?;
    /// assert_eq!(reference::run(&op.into(), &[&lhs])?[0].values::<f16>()?, [f16::from_f32(11.0 * 0.125)]);
    /// # Ok::<(), lowbit::Error>(())
    /// ```
    #[must_use]
    pub const fn float16() -> Self {
        Self::Float16 { low: f32::NEG_INFINITY, high: f32::INFINITY }
    }
}

impl Output {
    /// The type of an output with these dimensions.
    pub(super) fn tensor_type(&self, dims: &[usize]) -> Result<TensorType> {
        match self {
            Self::Accumulator => TensorType::new(DType::Int32, dims),
            Self::Real { .. } => TensorType::new(DType::Float32, dims),
            Self::Float16 { .. } => TensorType::new(DType::Float16, dims),
            Self::Requantized(stage) => stage.tensor_type(dims),
        }
    }

    /// True if the output is computed from the scales of the operands.
    pub(super) fn needs_scales(&self) -> bool {
        match self {
            Self::Accumulator => false,
            Self::Real { .. } | Self::Float16 { .. } => true,
            Self::Requantized(stage) => !stage.has_multipliers(),
        }
    }
}

impl From<Requantization> for Output {
    fn from(requantization: Requantization) -> Self {
        Self::Requantized(requantization)
    }
}

/// The requantization of accumulators to codes of 8 or 16 bits: `code = clamp(rescale(acc, m) + zero_point, low, high)` where
/// `m = s_lhs · s_rhs / scale` and `rescale` is [`Rounding::rescale`].
///
/// ReLU costs nothing: it is a clamp at the zero point.
///
/// ```
/// use lowbit::{DType, Rounding, ops::Requantization};
/// let stage = Requantization::new(DType::Int8, 0.05, -10)?.relu6().rounding(Rounding::FixedDouble);
/// assert_eq!(stage.bounds(), (-10, 110)); // 0 and 6 / 0.05 above it
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Requantization {
    dtype: DType,
    scale: f32,
    zero_point: i32,
    rounding: Rounding,
    low: i32,
    high: i32,
    multipliers: Option<Vec<Multiplier>>,
}

impl Requantization {
    /// A requantization to int8, uint8 or int16 codes with one scale and zero point, ONNX's rounding, and no clamp but the data
    /// type's range. Matmul, convolution and requantization can make int16; the other ops make 8-bit codes only.
    ///
    /// # Errors
    /// If the data type is another one, the scale is not finite and positive, or the zero point is not a code.
    pub fn new(dtype: DType, scale: f32, zero_point: i32) -> Result<Self> {
        require!(
            dtype.is_8_bit() || dtype == DType::Int16,
            "requantization makes int8, uint8 or int16 codes, but {dtype} was asked for"
        );
        TensorType::new(dtype, [])?.quantized(Quantization::tensor(scale, zero_point))?;
        let (low, high) = dtype.range().expect("an integer format");
        Ok(Self { dtype, scale, zero_point, rounding: Rounding::default(), low, high, multipliers: None })
    }

    /// This requantization with another rounding mode.
    #[must_use]
    pub fn rounding(mut self, rounding: Rounding) -> Self {
        self.rounding = rounding;
        self
    }

    /// This requantization with ReLU: no code is below real 0.
    #[must_use]
    pub fn relu(mut self) -> Self {
        (self.low, self.high) = (self.low.max(self.zero_point), self.high.max(self.zero_point));
        self
    }

    /// This requantization with ReLU6: no code is below real 0 or above real 6 (the code nearest to 6).
    #[must_use]
    pub fn relu6(self) -> Self {
        let (least, greatest) = self.dtype.range().expect("an integer format");
        let six = crate::numeric::quantize(6.0, self.scale, self.zero_point, least, greatest);
        let mut clamped = self.relu();
        (clamped.low, clamped.high) = (clamped.low.min(six), clamped.high.min(six));
        clamped
    }

    /// This requantization with codes clamped to a range (TFLite's activation range).
    ///
    /// # Errors
    /// If the range is empty or not inside the data type's.
    pub fn clamp(mut self, low: i32, high: i32) -> Result<Self> {
        let (least, greatest) = self.dtype.range().expect("an integer format");
        require!(
            least <= low && low <= high && high <= greatest,
            "the clamp {low}..={high} is empty or leaves the {} codes {least}..={greatest}",
            self.dtype
        );
        (self.low, self.high) = (low, high);
        Ok(self)
    }

    /// This requantization with explicit multipliers, one or one per output channel, instead of those computed from the scales. For
    /// models that store multipliers (TFLite), or that have an extra factor (the alpha of QGemm).
    #[must_use]
    pub fn multipliers(mut self, multipliers: impl Into<Vec<Multiplier>>) -> Self {
        self.multipliers = Some(multipliers.into());
        self
    }

    /// This requantization with a narrower clamp; bounds that don't overlap collapse to the nearer end.
    pub(super) fn narrowed(mut self, low: i32, high: i32) -> Self {
        (self.low, self.high) = (self.low.clamp(low, high), self.high.clamp(low, high));
        self
    }

    /// The rounding mode.
    #[must_use]
    pub fn mode(&self) -> Rounding {
        self.rounding
    }

    /// The least and greatest code.
    #[must_use]
    pub fn bounds(&self) -> (i32, i32) {
        (self.low, self.high)
    }

    /// The zero point of the codes.
    #[must_use]
    pub fn zero_point(&self) -> i32 {
        self.zero_point
    }

    /// The data type of the codes.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The scale of the codes.
    #[must_use]
    pub fn scale(&self) -> f32 {
        self.scale
    }

    /// The code of an accumulator.
    #[must_use]
    pub fn apply(&self, accumulator: impl Into<i64>, multiplier: Multiplier) -> i32 {
        let steps = i64::from(self.rounding.rescale(accumulator, multiplier));
        (steps + i64::from(self.zero_point)).clamp(self.low.into(), self.high.into()) as i32
    }

    /// The type of a tensor of these codes.
    pub(crate) fn tensor_type(&self, dims: &[usize]) -> Result<TensorType> {
        TensorType::new(self.dtype, dims)?.quantized(Quantization::tensor(self.scale, self.zero_point))
    }

    /// The type of a tensor of these codes, for an op that makes only 8-bit codes.
    pub(super) fn byte_type(&self, dims: &[usize]) -> Result<TensorType> {
        require!(
            self.dtype.is_8_bit(),
            "this op makes int8 or uint8 codes, but {} were asked for: only matmul, conv and requantize make those",
            self.dtype
        );
        self.tensor_type(dims)
    }

    /// The multiplier of each pair of scales: the explicit ones, or `lhs · rhs / scale`.
    pub(super) fn channel_multipliers(&self, scales: &[(f32, f32)]) -> Result<Vec<Multiplier>> {
        match self.given_multipliers(scales.len())? {
            Some(given) => Ok((0..scales.len()).map(|channel| of_all(given, channel)).collect()),
            None => scales.iter().map(|&(lhs, rhs)| self.multiplier(lhs, rhs)).collect(),
        }
    }

    /// The explicit multipliers, if there are any: one, or one per channel.
    fn given_multipliers(&self, channels: usize) -> Result<Option<&[Multiplier]>> {
        let Some(given) = &self.multipliers else { return Ok(None) };
        require!(
            given.len() == 1 || given.len() == channels,
            "{} multipliers were given, but there are {channels} output channels: give 1 or as many",
            given.len()
        );
        require!(
            given.iter().all(|multiplier| multiplier.suits(self.rounding)),
            "the multipliers are not in the form that Rounding::{:?} wants: it takes Multiplier::{}",
            self.rounding,
            match self.rounding {
                Rounding::Onnx => "float",
                Rounding::FixedSingle | Rounding::FixedDouble => "fixed",
                Rounding::FixedWide => "fixed with a shift of at most 7",
            }
        );
        Ok(Some(given))
    }

    /// The multiplier computed from scales.
    fn multiplier(&self, lhs: f32, rhs: f32) -> Result<Multiplier> {
        let multiplier = Multiplier::from_scales(self.rounding, lhs, rhs, self.scale)?;
        require!(
            multiplier.suits(self.rounding),
            "the requantization multiplier {lhs:e} · {rhs:e} / {:e} is 128 or more, but Rounding::FixedWide needs less: give the \
             output a larger scale",
            self.scale
        );
        Ok(multiplier)
    }

    /// True if multipliers are explicit, not computed from scales.
    pub(super) fn has_multipliers(&self) -> bool {
        self.multipliers.is_some()
    }
}

/// One entry of an output stage: the bias and the multiplier of a column or an element.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct StageEntry {
    /// Added to the accumulator. It fits i32 if the sums do.
    pub bias: i64,
    /// For requantized outputs.
    pub multiplier: Option<Multiplier>,
    /// For real outputs: the scale of the column (the lhs scale is not in it).
    pub scale: f32,
    /// For real outputs: added at the end. Either all entries of a stage have one, or none.
    pub real_bias: Option<f32>,
}

/// The entries of an output stage: one per column, or one per element if a bias or a scale differs between rows. Entries are
/// computed on demand. Only kernels make a list of them, and only of a size that a device can bind.
#[derive(Clone)]
pub(crate) struct Stage {
    /// Number of rows with their own entries: 1, or all.
    rows: usize,
    columns: usize,
    has_real_bias: bool,
    /// The entry at a row and column.
    entry: Arc<dyn Fn(usize, usize) -> StageEntry + Send + Sync>,
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stage {{ {} x {} entries }}", self.rows, self.columns)
    }
}

impl Stage {
    /// A stage with one entry per column, or per other unit that shares one.
    pub(crate) fn per_column(columns: usize, entry: impl Fn(usize) -> StageEntry + Send + Sync + 'static) -> Self {
        Self { rows: 1, columns, has_real_bias: false, entry: Arc::new(move |_, column| entry(column)) }
    }

    /// A stage that leaves the sums of this number of columns unchanged.
    pub(super) fn nothing(columns: usize) -> Self {
        Self::per_column(columns, |_| StageEntry { bias: 0, multiplier: None, scale: 1.0, real_bias: None })
    }

    /// This stage of raw sums followed by `second`, a stage without biases that rescales them. The sums are unchanged, so they
    /// still fit their accumulator. `None` if `second` has neither one entry nor one per column.
    pub(super) fn then(&self, second: &Self) -> Option<Self> {
        if second.rows != 1 || (second.columns != 1 && second.columns != self.columns) {
            return None;
        }
        let (first, second) = (self.clone(), second.clone());
        let entry = {
            let (first, second) = (first.clone(), second.clone());
            move |row, column| StageEntry {
                bias: first.entry(row, column).bias,
                ..second.entry(0, if second.columns == 1 { 0 } else { column })
            }
        };
        Some(Self { has_real_bias: second.has_real_bias, entry: Arc::new(entry), ..first })
    }

    /// The maximum number of different entries.
    pub(crate) fn len(&self) -> usize {
        self.rows * self.columns
    }

    /// The number of columns if there is an entry per element, else 0.
    pub(crate) fn row_stride(&self) -> usize {
        if self.rows > 1 { self.columns } else { 0 }
    }

    /// True if real outputs add a bias at the end.
    pub(crate) fn has_real_bias(&self) -> bool {
        self.has_real_bias
    }

    /// The entry of an element, or of its column.
    pub(crate) fn entry(&self, row: usize, column: usize) -> StageEntry {
        (self.entry)(row, column)
    }

    /// All entries, in row-major order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = StageEntry> {
        (0..self.rows).flat_map(move |row| (0..self.columns).map(move |column| self.entry(row, column)))
    }

    /// The stage of an accumulator with this shape. The operands' scales are per tensor, per row of a matrix of lhs, or per column
    /// of rhs. `lhs` is `None` if its scales are only known on the device.
    pub(super) fn new(
        output: &Output,
        shape: &[usize],
        lhs: Option<&TensorType>,
        rhs: &TensorType,
        bias: &Bias,
    ) -> Result<Self> {
        let shape = Shape::new(shape)?;
        let (rows, columns) = (shape.rows(), shape.row_length());
        if let Bias::Wide(values) = bias {
            require!(
                values.len() == columns,
                "{} biases were given, but there are {columns} output channels: give one for each",
                values.len()
            );
        }
        let broadcast = bias.tensor().map(|b| Broadcast::new(b, &shape)).transpose()?;
        if broadcast.as_ref().is_some_and(|b| b.tensor.dtype() == DType::Float32) {
            let real = matches!(output, Output::Real { .. } | Output::Float16 { .. });
            require!(real, "an f32 bias needs a real output: give an int32 bias");
            let values = broadcast.as_ref().map_or(&[][..], |b| b.tensor.values::<f32>().unwrap_or(&[]));
            let odd = values.iter().find(|value| !value.is_finite());
            require!(odd.is_none(), "the bias holds {}, but it must be finite", odd.unwrap_or(&0.0));
        }
        if let Output::Real { low, high } | Output::Float16 { low, high } = output {
            require!(low <= high, "the real output is clamped to {low}..={high}, which is empty");
        }
        // An empty output has no element to add a bias to.
        let broadcast = broadcast.filter(|_| rows > 0 && columns > 0);
        let scales = |t: &TensorType| -> Arc<[f32]> { t.quantization().map_or([1.0].into(), |q| q.scales().into()) };
        let (lhs_scales, rhs_scales) = (lhs.map(scales), scales(rhs));
        let rescaling = match output {
            Output::Requantized(stage) => Some(Rescaling::new(stage, columns, lhs_scales, rhs_scales.clone())?),
            Output::Accumulator | Output::Real { .. } | Output::Float16 { .. } => None,
        };
        let by_row =
            rescaling.as_ref().is_some_and(Rescaling::is_by_row) || broadcast.as_ref().is_some_and(|b| b.rows > 1);
        let has_real_bias = broadcast.as_ref().is_some_and(|b| b.real(0).is_some());
        let wide = if let Bias::Wide(values) = bias { Some(values.clone()) } else { None };
        let entry = move |row: usize, column: usize| {
            let bias = broadcast.as_ref().map(|b| (b, b.index(row, column)));
            StageEntry {
                bias: match &wide {
                    Some(wide) => wide[column],
                    None => bias.map_or(0, |(b, index)| b.integer(index).into()),
                },
                multiplier: rescaling.as_ref().map(|rescaling| rescaling.multiplier(row, column)),
                scale: of_all(&rhs_scales, column),
                real_bias: bias.and_then(|(b, index)| b.real(index)),
            }
        };
        Ok(Self { rows: if by_row { rows } else { rows.min(1) }, columns, has_real_bias, entry: Arc::new(entry) })
    }
}

/// The entry of a list at an index; a list of one entry serves all indices.
fn of_all<T: Copy>(list: &[T], index: usize) -> T {
    list[if list.len() == 1 { 0 } else { index }]
}

/// The multipliers of a requantization.
enum Rescaling {
    /// One for all columns, or one per column.
    Columns(Arc<[Multiplier]>),
    /// Computed from the scales of the rows of a matrix of lhs and of the columns of rhs.
    Rows { stage: Requantization, lhs: Arc<[f32]>, rhs: Arc<[f32]> },
}

impl Rescaling {
    /// `lhs` is `None` if its scales are only known on the device.
    fn new(stage: &Requantization, columns: usize, lhs: Option<Arc<[f32]>>, rhs: Arc<[f32]>) -> Result<Self> {
        if let Some(given) = stage.given_multipliers(columns)? {
            return Ok(Self::Columns(given.into()));
        }
        let Some(lhs) = lhs else {
            return Err(Error::Request(
                "the scale of lhs is found on the device, but requantization needs it beforehand: ask for a real output and \
                 quantize that"
                    .into(),
            ));
        };
        if let [lhs] = lhs[..] {
            // Without columns there is nothing to rescale.
            let rhs = if columns == 0 { &[] } else { &rhs[..] };
            return Ok(Self::Columns(rhs.iter().map(|&rhs| stage.multiplier(lhs, rhs)).collect::<Result<_>>()?));
        }
        // Multipliers grow with scales: if the least and the greatest are valid, all are.
        let extremes = |scales: &[f32]| {
            let (least, greatest) = (f32::min, f32::max);
            [least, greatest].map(|pick| scales.iter().copied().reduce(pick))
        };
        for (lhs, rhs) in extremes(&lhs).into_iter().zip(extremes(&rhs)) {
            lhs.zip(rhs).map(|(lhs, rhs)| stage.multiplier(lhs, rhs)).transpose()?;
        }
        Ok(Self::Rows { stage: stage.clone(), lhs, rhs })
    }

    fn is_by_row(&self) -> bool {
        matches!(self, Self::Rows { .. })
    }

    fn multiplier(&self, row: usize, column: usize) -> Multiplier {
        match self {
            Self::Columns(list) => of_all(list, column),
            Self::Rows { stage, lhs, rhs } => {
                let (lhs, rhs) = (lhs[row % lhs.len()], of_all(rhs, column));
                stage.multiplier(lhs, rhs).expect("between the least and the greatest")
            }
        }
    }
}

/// The bias of accumulators, as given by the caller.
#[derive(Debug, Clone)]
pub(super) enum Bias {
    None,
    /// int32 or float32, broadcast to the output.
    Tensor(Arc<Tensor>),
    /// One number per output column or channel.
    Wide(Arc<[i64]>),
}

impl Bias {
    pub(super) fn tensor(&self) -> Option<&Arc<Tensor>> {
        match self {
            Self::Tensor(tensor) => Some(tensor),
            Self::None | Self::Wide(_) => None,
        }
    }
}

/// A bias broadcast to one value per element of the output.
struct Broadcast {
    tensor: Arc<Tensor>,
    output: Shape,
    /// Number of different rows: 1, or all.
    rows: usize,
}

impl Broadcast {
    fn new(tensor: &Arc<Tensor>, output: &Shape) -> Result<Self> {
        require!(
            matches!(tensor.dtype(), DType::Int32 | DType::Float32),
            "the bias is {}, but it must be int32 (or float32 for a real output)",
            tensor.dtype()
        );
        let shape = tensor.tensor_type().shape();
        require!(
            &output.broadcast(shape)? == output,
            "a bias of shape {shape} does not broadcast to the output's {output}"
        );
        let rows = if shape.rows() == 1 { 1 } else { output.rows() };
        Ok(Self { tensor: tensor.clone(), output: output.clone(), rows })
    }

    fn index(&self, row: usize, column: usize) -> usize {
        self.tensor.tensor_type().shape().source_index(&self.output, row * self.output.row_length() + column)
    }

    fn integer(&self, index: usize) -> i32 {
        self.tensor.values::<i32>().map_or(0, |v| v[index])
    }

    fn real(&self, index: usize) -> Option<f32> {
        self.tensor.values::<f32>().ok().map(|v| v[index])
    }
}
