//! Elements of a tensor at indices that the device computes. The meaning is `reference/gather.rs`, the GPU program is
//! `kernels/layout/gather.rs`. Constant indices are `slice`'s.

use super::{OpDef, check_moved};
use crate::error::{Result, require};
use crate::numeric::DType;
use crate::tensor::{Granularity, TensorType};

/// `out[…, j…, …] = data[…, indices[j…], …]`: slices of an axis, chosen by an int32 tensor
///
/// * `data`: any data type but [`DType::Parameters`](crate::DType::Parameters). Codes have one scale, or none. Bits are copied
///   unchanged.
/// * `indices`: int32, any shape. Negative ones count from the end. An index outside the axis gives zeros: the zero point of codes.
/// * Output: `data`'s dimensions with the axis replaced by the dimensions of `indices`, up to 8.
///
/// [`Slice::take`](super::Slice::take) does it with constant indices, [`Embedding`](super::Embedding) with rows of quantized
/// weights. Source: ONNX Gather.
///
/// ```
/// use lowbit::{Tensor, ops::Gather, reference};
/// let data = Tensor::new([2, 3], vec![1u8, 2, 3, 4, 5, 6])?;
/// let indices = Tensor::new([2], vec![-1, 0])?;
/// let op = Gather::new(data.tensor_type().clone(), 1, indices.tensor_type().clone())?;
/// assert_eq!(reference::run(&op.into(), &[&data, &indices])?[0].values::<u8>()?, [3, 1, 6, 4]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Gather {
    pub(crate) data: TensorType,
    pub(crate) axis: usize,
    pub(crate) indices: TensorType,
    pub(crate) output: TensorType,
}

impl Gather {
    /// The gather from `axis` of tensors of type `data`.
    ///
    /// # Errors
    /// If the axis doesn't exist, the indices are not int32, the data is of a type that isn't moved, or its codes have more than
    /// one scale.
    pub fn new(data: TensorType, axis: usize, indices: TensorType) -> Result<Self> {
        check_moved(&data)?;
        let rank = data.shape().rank();
        require!(axis < rank, "axis {axis} of {data} is to be gathered from, which has {rank} axes");
        require!(
            indices.dtype() == DType::Int32,
            "the indices are {indices}, but gather takes int32: Slice::take takes constant ones"
        );
        let granularity = data.quantization().map(|quantization| quantization.granularity());
        require!(
            matches!(granularity, None | Some(Granularity::Tensor)) && !data.has_dynamic_scales(),
            "{data} has {}, which don't follow indices: dequantize it, or give it one scale",
            data.describe_scales()
        );
        let dims = data.dims();
        let output = TensorType::new(data.dtype(), [&dims[..axis], indices.dims(), &dims[axis + 1..]].concat())?;
        let output = match data.quantization() {
            Some(quantization) => output.quantized(quantization.clone())?,
            None => output,
        };
        Ok(Self { data, axis, indices, output })
    }

    /// The code of an index outside the axis.
    pub(crate) fn fill(&self) -> i32 {
        self.data.quantization().map_or(0, |quantization| quantization.zero_point(0))
    }
}

impl OpDef for Gather {
    fn name(&self) -> &'static str {
        "gather"
    }

    fn inputs(&self) -> Vec<TensorType> {
        vec![self.data.clone(), self.indices.clone()]
    }

    fn outputs(&self) -> Vec<TensorType> {
        vec![self.output.clone()]
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        Self::new(inputs[0].clone(), self.axis, inputs[1].clone())
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        let by_index = self.axis == 0;
        (!by_index || self.indices.shape().rank() > 0).then(|| vec![!by_index, by_index])
    }
}
