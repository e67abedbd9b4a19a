//! Quantization in blocks whose scales are small floats: OCP's MX formats and NVFP4. The meaning is `reference/block.rs`, the
//! GPU programs are `kernels/convert/block.rs`. Products with block-quantized weights are in `linear`.

use super::OpDef;
use crate::error::{Result, refuse, require};
use crate::numeric::{BlockFormat, DType};
use crate::tensor::TensorType;

/// The elements and scales of float32 or float16 numbers, in blocks along the last dimension:
///
/// ```text
/// MX     scale = 2^e by BlockRounding, −127 ≤ e ≤ 127       element = cast(x / scale)
/// NVFP4  scale = E4M3(clamp(max|x| / 6 / global, 2⁻⁶, 448))  element = cast(x / (scale · global))
/// ```
///
/// Every operation is one correctly rounded f32 operation. Casts saturate as [`Cast`](super::Cast) does, except that quotients of
/// −0 become 0 in elements of 6 and 4 bits, as in [`Quantize`](super::Quantize). Elements of MXINT8 are
/// `round_ties_even(64 · x / scale)` between −127 and 127, and the least code for NaN. A block of zeros has e = −127. The largest
/// magnitude of a block ignores NaN and counts infinity as the greatest finite number. Outputs: the elements (the input's shape)
/// and the scales (`[…, ⌈k / size⌉]`).
///
/// Sources: OCP Microscaling Formats 1.0, section 6.3; NVFP4 as torchao computes it, with quotients instead of reciprocals.
///
/// ```
/// use lowbit::numeric::{BlockFormat, BlockRounding, E8M0};
/// use lowbit::{DType, Tensor, ops::{BlockDequantize, BlockQuantize}, reference};
/// let x = Tensor::new([1, 3], vec![0.5f32, -6.1, 20.0])?;
/// let format = BlockFormat::mx(DType::Float4E2M1, BlockRounding::Floor)?;
/// let blocks = reference::run(&BlockQuantize::new(x.tensor_type().clone(), format)?.into(), &[&x])?;
/// assert_eq!(blocks[1].values::<E8M0>()?[0].to_f32(), 4.0); // 16 / 4, so that 20 lies midway between 16 and 24
/// let op = BlockDequantize::new(blocks[0].tensor_type().clone(), format).build()?;
/// assert_eq!(reference::run(&op.into(), &[&blocks[0], &blocks[1]])?[0].values::<f32>()?, [0.0, -6.0, 16.0]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct BlockQuantize {
    input: TensorType,
    elements: TensorType,
    scales: TensorType,
    format: BlockFormat,
}

/// `out = element · (scale · unit)` for blocks along the last dimension, in float32 or float16. `unit` is 1 for MX, 2⁻⁶ for MXINT8
/// and the f32 `global` for NVFP4
///
/// Each product is one correctly rounded f32 operation; float16 output is rounded once more. Inputs are the elements and scales
/// that [`BlockQuantize`] makes. A NaN scale makes every element of its block NaN.
///
/// Sources: OCP Microscaling Formats 1.0; NVFP4.
#[derive(Debug, Clone)]
pub struct BlockDequantize {
    elements: TensorType,
    scales: TensorType,
    output: TensorType,
    format: BlockFormat,
}

/// Describes a [`BlockDequantize`]; made by [`BlockDequantize::new`].
#[derive(Debug, Clone)]
#[must_use]
pub struct BlockDequantizeBuilder {
    elements: TensorType,
    format: BlockFormat,
    output: DType,
}

/// The types of the elements and scales of a tensor with these dimensions.
fn types(format: BlockFormat, dims: &[usize]) -> Result<(TensorType, TensorType)> {
    let Some((&length, rows)) = dims.split_last() else {
        refuse!("a scalar has no blocks: reshape it to [1]");
    };
    let scales: Vec<usize> = rows.iter().copied().chain([length.div_ceil(format.size())]).collect();
    let elements = TensorType::new(format.element(), dims)?.with_dynamic_scales();
    Ok((elements, TensorType::new(format.scale(), scales)?))
}

fn require_float(name: &str, dtype: DType) -> Result<()> {
    require!(
        matches!(dtype, DType::Float16 | DType::Float32),
        "{name} is {dtype}, but blocks are made of and become float16 or float32"
    );
    Ok(())
}

impl BlockQuantize {
    /// A quantization of tensors of type `input`.
    ///
    /// # Errors
    /// If the input is not float32 or float16, or is a scalar.
    pub fn new(input: TensorType, format: BlockFormat) -> Result<Self> {
        require_float("the input", input.dtype())?;
        let (elements, scales) = types(format, input.dims())?;
        Ok(Self { input, elements, scales, format })
    }

    pub(crate) fn input(&self) -> &TensorType {
        &self.input
    }

    pub(crate) fn elements(&self) -> &TensorType {
        &self.elements
    }

    pub(crate) fn scales(&self) -> &TensorType {
        &self.scales
    }

    pub(crate) fn format(&self) -> BlockFormat {
        self.format
    }
}

impl OpDef for BlockQuantize {
    fn name(&self) -> &'static str {
        "block_quantize"
    }

    fn inputs(&self) -> Vec<TensorType> {
        vec![self.input.clone()]
    }

    fn outputs(&self) -> Vec<TensorType> {
        vec![self.elements.clone(), self.scales.clone()]
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        Self::new(inputs[0].clone(), self.format)
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        // Blocks lie along the last dimension.
        (self.inputs()[0].shape().rank() > 1).then(|| vec![true; self.inputs().len()])
    }
}

impl BlockDequantize {
    /// A builder for a dequantization of elements of this type to float32. The type of the scales follows from it.
    #[expect(clippy::new_ret_no_self, reason = "an op exists only once it is validated")]
    pub fn new(elements: TensorType, format: BlockFormat) -> BlockDequantizeBuilder {
        BlockDequantizeBuilder { elements, format, output: DType::Float32 }
    }

    pub(crate) fn elements(&self) -> &TensorType {
        &self.elements
    }

    pub(crate) fn output(&self) -> &TensorType {
        &self.output
    }

    pub(crate) fn format(&self) -> BlockFormat {
        self.format
    }
}

impl OpDef for BlockDequantize {
    fn name(&self) -> &'static str {
        "block_dequantize"
    }

    fn inputs(&self) -> Vec<TensorType> {
        vec![self.elements.clone(), self.scales.clone()]
    }

    fn outputs(&self) -> Vec<TensorType> {
        vec![self.output.clone()]
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        let resized = Self::new(inputs[0].clone(), self.format).output(self.output.dtype()).build()?;
        require!(
            resized.scales.shape() == inputs[1].shape(),
            "the elements {} of blocks no longer fit the scales {}",
            inputs[0],
            inputs[1]
        );
        Ok(resized)
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        // Blocks lie along the last dimension.
        (self.inputs()[0].shape().rank() > 1).then(|| vec![true; self.inputs().len()])
    }
}

impl BlockDequantizeBuilder {
    /// The data type of the output: float32 or float16.
    pub fn output(mut self, dtype: DType) -> Self {
        self.output = dtype;
        self
    }

    /// Validates the description.
    ///
    /// # Errors
    /// If the elements are not of the format or are a scalar, or the output is not float32 or float16.
    pub fn build(self) -> Result<BlockDequantize> {
        let Self { elements, format, output } = self;
        require_float("the output", output)?;
        require!(
            elements.dtype() == format.element(),
            "the elements are {elements}, but those of the blocks are {}: give the type that BlockQuantize makes",
            format.element()
        );
        let output = TensorType::new(output, elements.dims())?;
        let (elements, scales) = types(format, output.dims())?;
        Ok(BlockDequantize { elements, scales, output, format })
    }
}
