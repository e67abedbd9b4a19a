//! Quantization whose range is found on the way. The meaning is `reference/dynamic.rs`, the GPU programs are
//! `kernels/dynamic.rs`.

use crate::error::{Result, require};
use crate::numeric::Format;
use crate::tensor::TensorType;

/// Which elements share a dynamic range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DynamicGranularity {
    /// All elements.
    Tensor,
    /// The elements of each row (a token): all dimensions but the last.
    Row,
}

/// Codes and parameters of float32, from its own range:
///
/// ```text
/// scale = (max(x, 0) − min(x, 0)) / (high − low)        zero_point = low + round_ties_even(−min(x, 0) / scale)
/// code  = saturate(round_ties_even(x / scale) + zero_point)
/// ```
///
/// `low` and `high` are the format's codes; each step is one f32 operation. NaN is left out of the range and becomes the
/// least code; infinities count as the largest finite number. A range of zero has scale 1. Outputs: the codes (int8 or
/// uint8, the input's shape) and the parameters ([`Format::Parameters`], one or one per row), which stay on the device
/// and can be the dynamic lhs of [`Matmul`](super::Matmul) and [`Conv`](super::Conv).
///
/// Source: ONNX DynamicQuantizeLinear (uint8 per tensor); ONNX Runtime for the scale of an all-zero tensor.
///
/// ```
/// use lowbit::{Format, Tensor, ops::{DynamicGranularity, DynamicQuantize}, reference};
/// let x = Tensor::new([3], vec![-1.0f32, 0.0, 4.1])?;
/// let op = DynamicQuantize::new([3], Format::Uint8, DynamicGranularity::Tensor)?;
/// let out = reference::run(&op.into(), &[&x])?;
/// assert_eq!(out[0].values::<u8>()?, [0, 50, 255]);
/// assert_eq!(out[1].values::<(f32, i32)>()?, [(0.02, 50)]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct DynamicQuantize {
    input: TensorType,
    output: TensorType,
    parameters: TensorType,
    granularity: DynamicGranularity,
}

impl DynamicQuantize {
    /// A dynamic quantization of float32 tensors with these dimensions.
    ///
    /// # Errors
    /// If the format is not int8 or uint8.
    pub fn new(dimensions: impl Into<Vec<usize>>, format: Format, granularity: DynamicGranularity) -> Result<Self> {
        require!(format.is_8_bit(), "dynamic quantization makes int8 or uint8 codes, but {format} was asked for");
        let input = TensorType::new(Format::Float32, dimensions)?;
        let segments = match granularity {
            DynamicGranularity::Tensor => 1,
            DynamicGranularity::Row => input.shape().rows(),
        };
        Ok(Self {
            output: TensorType::new(format, input.dimensions())?.with_dynamic_scales(),
            parameters: TensorType::new(Format::Parameters, [segments])?,
            input,
            granularity,
        })
    }

    pub(super) fn resized(&self, inputs: &[TensorType]) -> Result<Self> {
        Self::new(inputs[0].dimensions(), self.output.format(), self.granularity)
    }

    pub(super) fn inputs(&self) -> Vec<TensorType> {
        vec![self.input.clone()]
    }

    pub(super) fn outputs(&self) -> Vec<TensorType> {
        vec![self.output.clone(), self.parameters.clone()]
    }

    pub(crate) fn output(&self) -> &TensorType {
        &self.output
    }

    /// How many ranges there are, and how many elements each has.
    pub(crate) fn segments(&self) -> (usize, usize) {
        let shape = self.input.shape();
        match self.granularity {
            DynamicGranularity::Tensor => (1, shape.elements()),
            DynamicGranularity::Row => (shape.rows(), shape.row_length()),
        }
    }

    pub(crate) fn granularity(&self) -> DynamicGranularity {
        self.granularity
    }
}
