//! Quantization of real weights to the packed words of `weights`, on the device. The meaning is `weights::Quantizer`, the GPU
//! programs are `kernels/grouped/quantize_weights.rs`. Codes of activations are made by `quantize` and `dynamic`.

use std::sync::Arc;

use super::{OpDef, require_float32};
use crate::error::{Result, require};
use crate::numeric::DType;
use crate::tensor::TensorType;
use crate::weights::{Layout, PackedWeights, Quantizer};

/// `words = pack(quantize(x))`: float32 weights, `[n, k]` or `[experts, n, k]`, packed exactly as a [`Quantizer`] packs them into
/// [`PackedWeights`].
///
/// * Output: int32 `[words]`, the input of [`PackedWeights::from_words`]. Kernels of [`Linear`](super::Linear) bind these words.
/// * A quantizer refuses a group if a number is not finite, or if a scale or offset is beyond the format. The group then has an
///   infinite scale (E8M0: NaN) and codes of 0, so that [`PackedWeights::from_words`] refuses it.
///
/// Nested scales and table codes are quantized on the CPU only.
///
/// ```
/// use lowbit::ops::QuantizeWeights;
/// use lowbit::weights::{Codes, Quantizer, ScaleFormat, WeightFormat, PackedWeights};
/// use lowbit::{Tensor, reference};
/// let x = Tensor::new([2, 40], (0..80).map(|i| i as f32 * 0.1 - 3.0).collect::<Vec<_>>())?;
/// let quantizer = Quantizer::new(WeightFormat::new(Codes::INT4, 32, ScaleFormat::F16Zero))?;
/// let op = QuantizeWeights::new(x.tensor_type().clone(), quantizer.clone())?;
/// let words = reference::run(&op.into(), &[&x])?[0].values::<i32>()?.iter().map(|&word| word as u32).collect();
/// let weights = PackedWeights::from_words(*quantizer.format(), [1, 2, 40], words)?;
/// assert_eq!(weights.dequantize()?.values::<f32>()?, quantizer.quantize(&x)?.dequantize()?.values::<f32>()?);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct QuantizeWeights {
    input: TensorType,
    output: TensorType,
    quantizer: Arc<Quantizer>,
    layout: Arc<Layout>,
}

impl QuantizeWeights {
    /// The quantization of weights of type `input`.
    ///
    /// # Errors
    /// If the weights are not float32, there are not two or three dimensions, the quantizer's importance is for another number of
    /// columns, or no device supports its format.
    pub fn new(input: TensorType, quantizer: Quantizer) -> Result<Self> {
        require_float32("quantize_weights", "the input", &input)?;
        let (rank, format) = (input.shape().rank(), *quantizer.format());
        require!(rank == 2 || rank == 3, "{input} has {rank} dimensions, but weights are [n, k] or [experts, n, k]");
        require!(
            format.scales.nesting().is_none() && format.codes.table().is_none(),
            "{format} can't be made on a device: call Quantizer::quantize"
        );
        let k = input.shape().row_length();
        quantizer.check_importance(k)?;
        let n = input.dims()[rank - 2];
        let experts = if rank == 3 { input.dims()[0] } else { 1 };
        let layout = Layout::new(&format, [experts, n, k], None)?;
        let output = TensorType::new(DType::Int32, [layout.words()])?;
        Ok(Self { input, output, quantizer: quantizer.into(), layout: layout.into() })
    }

    pub(crate) fn quantizer(&self) -> &Quantizer {
        &self.quantizer
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(crate) fn output(&self) -> &TensorType {
        &self.output
    }

    /// The packed weights, without checks: rows may hold anything that a quantizer refuses.
    pub(crate) fn weights(&self, values: &[f32]) -> Result<PackedWeights> {
        let Layout { experts, n, k, .. } = *self.layout;
        PackedWeights::build_unchecked(*self.quantizer.format(), [experts, n, k], |row, codes, groups, supers| {
            self.quantizer.fill_row(&values[row * k..(row + 1) * k], codes, groups, supers);
            Ok(())
        })
    }
}

impl OpDef for QuantizeWeights {
    fn name(&self) -> &'static str {
        "quantize_weights"
    }

    fn inputs(&self) -> Vec<TensorType> {
        vec![self.input.clone()]
    }

    fn outputs(&self) -> Vec<TensorType> {
        vec![self.output.clone()]
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        require!(
            false,
            "weights of {} are to be quantized, but the op was made for {}: make one for each size",
            inputs[0],
            self.input
        );
        Ok(self.clone())
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        None
    }
}
