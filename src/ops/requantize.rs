//! Requantization of accumulators or codes to codes of 8 or 16 bits. The meaning is `reference/requantize.rs`, the GPU programs are
//! `kernels/convert/requantize.rs`.

use super::OpDef;
use super::output::{Output, Requantization, Stage, StageEntry};
use super::table::{Table, code_of};
use crate::error::{Error, Result, refuse, require};
use crate::tensor::{Granularity, Quantization, TensorType};

/// `out = clamp(rescale(x − z, s / s_out) + z_out)` for int32 accumulators or codes of 2 to 16 bits
///
/// The input's scales and zero points may have any granularity; the output has one scale and zero point. With explicit multipliers
/// ([`Requantization::multipliers`]) the input's scales only determine which elements share a multiplier.
///
/// Sources: the output stage of ONNX Runtime's QLinear products, TFLite `MultiplyByQuantizedMultiplier`. DequantizeLinear followed
/// by QuantizeLinear rounds once more; for 8-bit codes, [`Table::from_function`] of the identity computes that.
///
/// ```
/// use lowbit::{DType, Granularity, Quantization, Tensor, ops::{Requantization, Requantize}, reference};
/// let acc = Tensor::new([2, 2], vec![100i32, 100, -7, 3])?
///     .quantized(Quantization::symmetric_axis(1, [0.1, 0.2]))?;
/// let op = Requantize::new(acc.tensor_type().clone(), Requantization::new(DType::Int8, 0.5, 0)?)?;
/// assert_eq!(reference::run(&op.into(), &[&acc])?[0].values::<i8>()?, [20, 40, -1, 1]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Requantize {
    input: TensorType,
    output: Requantization,
    output_type: TensorType,
    stage: Stage,
}

impl Requantize {
    /// A requantization of tensors of type `input`.
    ///
    /// # Errors
    /// If the input is not an integer tensor with scales, or a multiplier is not finite and positive.
    pub fn new(input: TensorType, output: Requantization) -> Result<Self> {
        let Some(quantization) = input.quantization().cloned() else {
            refuse!("{input} has no scale: give it one with TensorType::quantized");
        };
        require!(
            input.dtype().range().is_some(),
            "{input} holds floats, but requantize takes integers: dequantize it and quantize that"
        );
        let scales: Vec<_> = quantization.scales().iter().map(|&s| (s, 1.0)).collect();
        let multipliers = output.channel_multipliers(&scales)?;
        let entry = move |i: usize| StageEntry {
            bias: -i64::from(quantization.zero_point(i)),
            multiplier: Some(multipliers[i]),
            scale: quantization.scale(i),
            real_bias: None,
        };
        let output_type = output.tensor_type(input.dims())?;
        Ok(Self { input, output, output_type, stage: Stage::per_column(scales.len(), entry) })
    }

    pub(super) fn clamped(&self, low: i32, high: i32) -> Self {
        Self { output: self.output.clone().narrowed(low, high), ..self.clone() }
    }

    /// The stage, if it can follow the columns of raw accumulators of this type.
    pub(super) fn stage_by_column(&self, output: &Output, accumulators: &TensorType) -> Option<&Stage> {
        let last = accumulators.shape().rank().checked_sub(1)?;
        let by_column = match self.granularity() {
            Granularity::Tensor => true,
            Granularity::Axis(axis) => axis == last,
            Granularity::Blocks { .. } => false,
        };
        let same = self.input.dtype() == accumulators.dtype() && self.input.shape() == accumulators.shape();
        // Accumulators have no zero points, so nothing more is added to the sums, and they still fit their accumulator.
        let adds_nothing = self.input.quantization().is_none_or(Quantization::is_symmetric);
        (by_column && same && adds_nothing && *output == Output::Accumulator).then_some(&self.stage)
    }

    /// This requantization as a table, for 8-bit codes that share one scale.
    pub(crate) fn as_table(&self) -> Option<Table> {
        let both_8_bit = self.input.dtype().is_8_bit() && self.output_type.dtype().is_8_bit();
        if !both_8_bit || self.stage.len() != 1 {
            return None;
        }
        let entry = self.stage.entry(0, 0);
        let multiplier = entry.multiplier?;
        let entries = std::array::from_fn(|byte| {
            let code = code_of(self.input.dtype(), byte as u8);
            self.output.apply(i64::from(code) + entry.bias, multiplier) as u8
        });
        Table::from_bytes(self.input.clone(), self.output_type.clone(), entries).ok()
    }

    pub(crate) fn input(&self) -> &TensorType {
        &self.input
    }

    pub(crate) fn output(&self) -> &Requantization {
        &self.output
    }

    pub(crate) fn output_type(&self) -> &TensorType {
        &self.output_type
    }

    /// One entry per scale of the input.
    pub(crate) fn stage(&self) -> &Stage {
        &self.stage
    }

    pub(crate) fn granularity(&self) -> Granularity {
        self.input.quantization().map_or(Granularity::Tensor, |q| q.granularity())
    }
}

impl OpDef for Requantize {
    fn name(&self) -> &'static str {
        "requantize"
    }

    fn inputs(&self) -> Vec<TensorType> {
        vec![self.input.clone()]
    }

    fn outputs(&self) -> Vec<TensorType> {
        vec![self.output_type.clone()]
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        let output_type = self.output.tensor_type(inputs[0].dims())?;
        Ok(Self { input: inputs[0].clone(), output_type, ..self.clone() })
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        Some(vec![true])
    }
}

/// Refuses a tensor that is not int8 or uint8 with one scale and zero point, which the elementwise ops read.
pub(super) fn require_per_tensor(name: &str, tensor_type: &TensorType) -> Result<(f32, i32)> {
    require!(tensor_type.dtype().is_8_bit(), "{name} is {tensor_type}, but it must be int8 or uint8");
    match tensor_type.quantization() {
        Some(q) if q.granularity() == Granularity::Tensor => Ok((q.scale(0), q.zero_point(0))),
        Some(q) => Err(Error::Request(format!(
            "{name} {tensor_type} is quantized by {:?}, but it must have one scale per tensor: requantize it first",
            q.granularity()
        ))),
        None => {
            Err(Error::Request(format!("{name} {tensor_type} has no scale: give it one with TensorType::quantized")))
        }
    }
}
