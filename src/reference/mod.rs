//! The meaning of every op, in plain loops over single elements: exact where integers are, IEEE f32 where f32 is specified.
//! It knows nothing of `kernels`; that the two agree is the evidence. Nothing here is fast.

#[cfg(feature = "transformer")]
mod append;
#[cfg(feature = "transformer")]
mod append_quantized;
#[cfg(feature = "float")]
mod arg_max;
#[cfg(feature = "transformer")]
mod attention;
mod binary;
mod block;
mod bound;
mod cast;
#[cfg(feature = "convolution")]
mod channel_gate;
mod concat;
#[cfg(feature = "convolution")]
mod conv;
#[cfg(feature = "train")]
mod cross_entropy;
mod dynamic;
#[cfg(feature = "transformer")]
mod embedding;
#[cfg(feature = "train")]
mod fake_quantize;
#[cfg(feature = "train")]
mod fake_requantize;
mod float_binary;
#[cfg(feature = "train")]
mod float_conv;
#[cfg(feature = "float")]
mod float_matmul;
#[cfg(feature = "float")]
mod float_pool;
mod float_unary;
mod fused;
#[cfg(feature = "float")]
mod gather;
#[cfg(feature = "transformer")]
mod joint_linear;
#[cfg(feature = "float")]
mod layer_norm;
#[cfg(feature = "transformer")]
mod linear;
#[cfg(feature = "transformer")]
mod linear_conv;
mod matmul;
#[cfg(feature = "calibrate")]
mod observe;
#[cfg(feature = "train")]
mod optimizer_step;
mod output;
mod pad;
#[cfg(feature = "convolution")]
mod pool;
mod quantize;
#[cfg(feature = "transformer")]
mod quantize_weights;
#[cfg(feature = "float")]
mod quantized_softmax;
mod rearrange;
#[cfg(feature = "float")]
mod reduce;
mod requantize;
mod reshape;
mod resize;
#[cfg(feature = "transformer")]
mod rotary;
#[cfg(feature = "transformer")]
mod rotary_append;
#[cfg(feature = "float")]
mod select;
mod slice;
#[cfg(feature = "float")]
mod softmax;
#[cfg(feature = "calibrate")]
mod step_from_range;
#[cfg(feature = "train")]
mod sum;
mod table;
#[cfg(feature = "float")]
mod top_k;
mod transpose;
#[cfg(feature = "convolution")]
mod unfold;

use crate::error::Result;
use crate::ops::{Op, each};
use crate::tensor::Tensor;

/// The meaning of an op. Neither method has a default, so that the compiler names what a new op leaves out.
trait Meaning {
    /// The op's outputs, element by element as its documentation defines them.
    ///
    /// # Errors
    /// If numbers in the inputs make the outputs impossible to store.
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>>;

    /// For each output element, how far a device may be off; `None` if the op is exact.
    fn tolerance(&self, inputs: &[&Tensor]) -> Option<Vec<f32>>;
}

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
    op.check_parameters(inputs)?;
    each!(op, op => op.run(inputs))
}

/// Runs an op of which each element depends on those at its place only, made for these inputs; `None` for other ops. A program that
/// plans and asks for nothing else of the reference links no more than these.
pub(crate) fn run_pointwise(op: &Op, inputs: &[&Tensor]) -> Option<Tensor> {
    let outputs = match op {
        Op::Table(op) => op.run(inputs),
        Op::Add(op) => op.run(inputs),
        Op::Multiply(op) => op.run(inputs),
        Op::Requantize(op) => op.run(inputs),
        Op::Quantize(op) => op.run(inputs),
        Op::Dequantize(op) => op.run(inputs),
        Op::FloatUnary(op) => op.run(inputs),
        Op::FloatBinary(op) => op.run(inputs),
        _ => return None,
    };
    outputs.ok()?.into_iter().next()
}

/// For each output of an op and each of its elements, one output after the other, how far a device's result may be from [`run`]'s: the
/// bound that the op's documentation gives, on these inputs. `None` for ops that are exact, which is most: they differ nowhere.
///
/// It is true for all of float32. It is infinite where a number on the way may leave float32, even if the result does not, and where
/// infinities or NaN come in: then WGSL leaves the result to the device, NaN included.
///
/// # Errors
/// As [`run`].
pub fn tolerance(op: &Op, inputs: &[&Tensor]) -> Result<Option<Vec<f32>>> {
    op.check_inputs(inputs.iter().map(|t| t.tensor_type()))?;
    // Deferred words stay in memory meanwhile.
    let _words = op.packed_weights().into_iter().map(|weights| weights.words()).collect::<Result<Vec<_>>>()?;
    Ok(each!(op, op => op.tolerance(inputs)))
}
