//! What every op means, in plain loops over single elements: exact where integers are, IEEE f32 where f32 is specified.
//! It knows nothing of `kernels`; that the two agree is the evidence. Nothing here is fast.

mod binary;
mod block;
mod bound;
mod cast;
mod concat;
mod conv;
mod dynamic;
mod embedding;
mod float_matmul;
mod fused;
mod linear;
mod linear_conv;
mod matmul;
mod output;
mod pad;
mod pool;
mod quantize;
mod rearrange;
mod requantize;
mod reshape;
mod resize;
mod slice;
mod table;
mod transpose;
mod unfold;

use crate::error::Result;
use crate::ops::{Op, check_parameters};
use crate::tensor::Tensor;

/// Runs an op on the CPU: the same bits as on any GPU.
///
/// # Errors
/// If the number, formats or shapes of the inputs are not those of [`Op::inputs`], or dynamic parameters are no scale and code.
///
/// ```
/// use lowbit::{Tensor, ops::{Matmul, Op}, reference};
/// let lhs = Tensor::new([1, 2], vec![1i8, 2])?;
/// let op: Op = Matmul::new(lhs.tensor_type().clone(), Tensor::new([2, 1], vec![3i8, 4])?).build()?.into();
/// assert_eq!(reference::run(&op, &[&lhs])?[0].values::<i32>()?, [11]);
/// # Ok::<(), lowbit::Error>(())
/// ```
pub fn run(op: &Op, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
    op.check_inputs(inputs.iter().map(|t| t.tensor_type()))?;
    // Dynamic parameters describe the first input.
    inputs.iter().try_for_each(|tensor| check_parameters(inputs[0].format(), tensor))?;
    Ok(match op {
        Op::Matmul(op) => vec![matmul::matmul(op, inputs)],
        Op::Conv(op) => vec![conv::conv(op, inputs)],
        Op::Requantize(op) => vec![requantize::requantize(op, inputs[0])],
        Op::Quantize(op) => vec![quantize::quantize(op, inputs[0])],
        Op::Dequantize(op) => vec![quantize::dequantize(op, inputs[0])],
        Op::DynamicQuantize(op) => dynamic::dynamic_quantize(op, inputs[0]),
        Op::Add(op) => vec![binary::add(op, inputs)],
        Op::Multiply(op) => vec![binary::multiply(op, inputs)],
        Op::Pool(op) => vec![pool::pool(op, inputs[0])],
        Op::Table(op) => vec![table::table(op, inputs[0])],
        Op::Cast(op) => vec![cast::cast(op, inputs[0])],
        Op::Concat(op) => vec![concat::concat(op, inputs)],
        Op::Fused(op) => fused::fused(op, inputs)?,
        Op::Linear(op) => vec![linear::linear(op, inputs)],
        Op::Embedding(op) => vec![embedding::embedding(op, inputs[0])],
        Op::Unfold(op) => vec![unfold::unfold(op, inputs)],
        Op::LinearConv(op) => vec![linear_conv::linear_conv(op, inputs)],
        Op::BlockQuantize(op) => block::block_quantize(op, inputs[0]),
        Op::BlockDequantize(op) => vec![block::block_dequantize(op, inputs)],
        Op::FloatMatmul(op) => vec![float_matmul::float_matmul(op, inputs)],
        Op::Transpose(op) => vec![transpose::transpose(op, inputs[0])],
        Op::Slice(op) => vec![slice::slice(op, inputs[0])],
        Op::Pad(op) => vec![pad::pad(op, inputs[0])],
        Op::Reshape(op) => vec![reshape::reshape(op, inputs[0])],
        Op::Resize(op) => vec![resize::resize(op, inputs[0])],
    })
}

/// For each output of an op and each of its elements, how far a device's result may be from [`run`]'s: the bound that the op's
/// documentation gives, on these inputs. `None` for ops that are exact, which is most: they differ nowhere.
///
/// # Errors
/// As [`run`].
pub fn tolerance(op: &Op, inputs: &[&Tensor]) -> Result<Option<Vec<f32>>> {
    op.check_inputs(inputs.iter().map(|t| t.tensor_type()))?;
    Ok(match op {
        Op::Linear(op) => Some(linear::tolerance(op, inputs)),
        Op::LinearConv(op) => Some(linear_conv::tolerance(op, inputs)),
        Op::FloatMatmul(op) => Some(float_matmul::tolerance(op, inputs)),
        _ => None,
    })
}
