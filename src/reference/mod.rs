//! The meaning of every op, in plain loops over single elements: exact where integers are, IEEE f32 where f32 is specified.
//! It knows nothing of `kernels`; that the two agree is the evidence. Nothing here is fast.

mod append;
mod append_quantized;
mod arg_max;
mod attention;
mod binary;
mod block;
mod bound;
mod cast;
mod concat;
mod conv;
#[cfg(feature = "train")]
mod cross_entropy;
mod dynamic;
mod embedding;
#[cfg(feature = "train")]
mod fake_quantize;
#[cfg(feature = "train")]
mod fake_requantize;
mod float_binary;
#[cfg(feature = "train")]
mod float_conv;
mod float_matmul;
mod float_pool;
mod float_unary;
mod fused;
mod gather;
mod joint_linear;
mod layer_norm;
mod linear;
mod linear_conv;
mod matmul;
#[cfg(feature = "calibrate")]
mod observe;
#[cfg(feature = "train")]
mod optimizer_step;
mod output;
mod pad;
mod pool;
mod quantize;
mod quantize_weights;
mod quantized_softmax;
mod rearrange;
mod reduce;
mod requantize;
mod reshape;
mod resize;
mod rotary;
mod rotary_append;
mod select;
mod slice;
mod softmax;
#[cfg(feature = "calibrate")]
mod step_from_range;
#[cfg(feature = "train")]
mod sum;
mod table;
mod top_k;
mod transpose;
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
