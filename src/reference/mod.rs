//! What every op means, in plain loops over single elements: exact where integers are, IEEE f32 where f32 is specified.
//! It knows nothing of `kernels`; that the two agree is the evidence. Nothing here is fast.

mod binary;
mod block;
mod bound;
mod cast;
mod concat;
mod conv;
mod cross_entropy;
mod dynamic;
mod embedding;
mod fake_quantize;
mod fake_requantize;
mod float_binary;
mod float_conv;
mod float_matmul;
mod float_unary;
mod fused;
mod layer_norm;
mod linear;
mod linear_conv;
mod matmul;
mod observe;
mod optimizer_step;
mod output;
mod pad;
mod pool;
mod quantize;
mod quantize_weights;
mod rearrange;
mod requantize;
mod reshape;
mod resize;
mod slice;
mod softmax;
mod step_from_range;
mod sum;
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
    inputs.iter().try_for_each(|tensor| check_parameters(inputs[0].dtype(), tensor))?;
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
        Op::QuantizeWeights(op) => vec![quantize_weights::quantize_weights(op, inputs[0])?],
        Op::ObserveRange(op) => vec![observe::observe_range(op, inputs)],
        Op::ObserveHistogram(op) => vec![observe::observe_histogram(op, inputs)],
        Op::StepFromRange(op) => vec![step_from_range::step_from_range(op, inputs)],
        Op::FakeQuantize(op) => vec![fake_quantize::fake_quantize(op, inputs)],
        Op::FakeQuantizeGradient(op) => vec![fake_quantize::fake_quantize_gradient(op, inputs)],
        Op::GridGradient(op) => vec![fake_quantize::grid_gradient(op, inputs)],
        Op::FloatConv(op) => vec![float_conv::float_conv(op, inputs)],
        Op::RequantParams(op) => vec![fake_requantize::requant_params(op, inputs)],
        Op::FakeRequantize(op) => vec![fake_requantize::fake_requantize(op, inputs)],
        Op::Sum(op) => vec![sum::sum(op, inputs[0])],
        Op::CrossEntropyGradient(op) => vec![cross_entropy::cross_entropy_gradient(op, inputs)],
        Op::OptimizerStep(op) => optimizer_step::optimize(op, inputs),
        Op::Unfold(op) => vec![unfold::unfold(op, inputs)],
        Op::LinearConv(op) => vec![linear_conv::linear_conv(op, inputs)],
        Op::BlockQuantize(op) => block::block_quantize(op, inputs[0]),
        Op::BlockDequantize(op) => vec![block::block_dequantize(op, inputs)],
        Op::FloatMatmul(op) => vec![float_matmul::float_matmul(op, inputs)],
        Op::FloatUnary(op) => vec![float_unary::float_unary(op, inputs[0])],
        Op::FloatBinary(op) => vec![float_binary::float_binary(op, inputs)],
        Op::Softmax(op) => vec![softmax::softmax(op, inputs[0])],
        Op::LayerNorm(op) => vec![layer_norm::layer_norm(op, inputs[0])],
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
/// It is true for all of float32. It is infinite where a number on the way may leave float32, even if the result does not, and where
/// infinities or NaN come in: then WGSL leaves the result to the device, NaN included.
///
/// # Errors
/// As [`run`].
pub fn tolerance(op: &Op, inputs: &[&Tensor]) -> Result<Option<Vec<f32>>> {
    op.check_inputs(inputs.iter().map(|t| t.tensor_type()))?;
    Ok(match op {
        Op::Linear(op) => Some(linear::tolerance(op, inputs)),
        Op::GridGradient(op) => Some(fake_quantize::tolerance(op, inputs)),
        Op::FloatConv(op) => Some(float_conv::tolerance(op, inputs)),
        Op::FakeRequantize(op) => fake_requantize::tolerance(op, inputs),
        Op::Sum(op) => Some(sum::tolerance(op, inputs[0])),
        Op::CrossEntropyGradient(op) => Some(cross_entropy::tolerance(op, inputs)),
        Op::LinearConv(op) => Some(linear_conv::tolerance(op, inputs)),
        Op::FloatMatmul(op) => Some(float_matmul::tolerance(op, inputs)),
        Op::FloatUnary(op) => Some(float_unary::tolerance(op, inputs[0])),
        Op::FloatBinary(op) => Some(float_binary::tolerance(op, inputs)),
        Op::Softmax(op) => Some(softmax::tolerance(op, inputs[0])),
        Op::LayerNorm(op) => Some(layer_norm::tolerance(op, inputs[0])),
        _ => None,
    })
}
