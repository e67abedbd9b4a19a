//! How a GPU would compute an op: candidates as plain data, best guess first, and the words they need beside their inputs.
//! Nothing here chooses, times or runs anything, and nothing here knows `reference`.

mod binary;
mod block;
mod broadcast;
mod bytes;
mod cast;
mod class;
mod concat;
mod conv;
mod convert;
mod cost;
mod cross_entropy;
mod dispatch;
mod dynamic;
mod embedding;
mod fake_quantize;
mod fake_requantize;
mod float_binary;
mod float_conv;
mod float_matmul;
mod float_unary;
mod granularity;
mod int16_planes;
mod layer_norm;
mod linear;
mod linear_conv;
mod matmul;
mod matrix;
mod members;
mod moved;
mod observe;
mod optimizer_step;
mod phase;
mod pool;
pub(crate) mod probe;
mod program;
mod quantize;
mod quantize_weights;
mod rearrange;
mod requantize;
mod reshape;
mod resize;
mod row_lanes;
mod softmax;
mod stage;
mod step_from_range;
mod sum;
mod table;
mod tile;
mod transpose;
mod unfold;
mod weights;

pub(crate) use class::class;
pub use dispatch::{Binding, Candidate, Constant, DeviceCaps, Dispatch, Field, Resource};
pub use program::Program;

use std::borrow::Cow;

use crate::ops::{Fused, Op, PostOp, for_each_op};
use rearrange::Moves;

/// How a GPU would compute an op.
trait Kernels {
    /// The ways to run it: never empty, best guess first. Elements pass through `post_op` before they are stored; only ops that
    /// [`Fused`] takes are given one.
    fn candidates(&self, post_op: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate>;
}

impl Kernels for Fused {
    fn candidates(&self, _: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        let mut candidates = candidates_with(self.first(), Some(self.post_op()), caps);
        for candidate in &mut candidates {
            candidate.label = format!("{} + {}", candidate.label, self.then().name());
        }
        candidates
    }
}

/// The ways to run an op on a device with these caps: never empty, best guess first.
///
/// ```
/// use lowbit::{DType, Tensor, TensorType, kernels, ops::Matmul};
/// let lhs = TensorType::new(DType::Int8, [64, 32])?;
/// let op = Matmul::new(lhs, Tensor::new([32, 16], vec![1i8; 512])?).build()?.into();
/// for candidate in kernels::candidates(&op, &kernels::DeviceCaps::default()) {
///     println!("{}: {:?}", candidate.label, candidate.dispatches[0].grid);
/// }
/// # Ok::<(), lowbit::Error>(())
/// ```
#[must_use]
pub fn candidates(op: &Op, caps: &DeviceCaps) -> Vec<Candidate> {
    let candidates = candidates_with(op, None, caps);
    debug_assert!(!candidates.is_empty());
    candidates
}

macro_rules! declare_dispatch {
    ($($module:ident: $($op:ident),+;)+) => {
        /// The ways to run an op whose elements pass through a post-op before they are stored. Only ops that
        /// [`Fused`](crate::ops::Fused) takes have one.
        fn candidates_with(op: &Op, post_op: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
            match op {
                $($(Op::$op(op) => op.candidates(post_op, caps),)+)+
            }
        }
    };
}
for_each_op!(declare_dispatch);

/// The launches of the device probe at their smallest, for tools and tests that read every program. One of them asks for
/// 16-bit floats, which not every device has, and one for matrices, if the caps have them.
#[must_use]
pub fn probes(caps: &DeviceCaps) -> Vec<Dispatch> {
    probe::Exercise::all(caps).map(|exercise| exercise.dispatch(exercise.sizes(caps).0, caps)).collect()
}

/// The words of a constant that a candidate of this op asks for; `None` if none of them would.
#[must_use]
pub fn constant(op: &Op, constant: Constant) -> Option<Cow<'_, [u32]>> {
    let (op, post_op) = match op {
        Op::Fused(fused) => (fused.first(), Some(fused.post_op())),
        op => (op, None),
    };
    let words = match (op, constant) {
        (Op::Linear(op), Constant::Panels { first, count }) => return weights::panels(op.weights(), first, count),
        (Op::Embedding(op), Constant::Panels { first, count }) => return weights::panels(op.weights(), first, count),
        (Op::LinearConv(op), Constant::Panels { first, count }) => {
            return weights::panels(op.linear().weights(), first, count);
        }
        (Op::LinearConv(op), Constant::Groups) => Some(linear_conv::groups(op)),
        (Op::LinearConv(op), constant) => linear::constant(op.linear(), constant),
        (Op::Linear(op), constant) => linear::constant(op, constant),
        (Op::QuantizeWeights(op), Constant::Tables) => quantize_weights::importance(op),
        (Op::FloatMatmul(op), constant) => float_matmul::constant(op, constant),
        (Op::Embedding(op), Constant::Positions) => embedding::positions(op),
        (Op::Matmul(op), Constant::PlaneTables) => matmul::constant(&op.byte_planes()?[0], None, Constant::Tables),
        (Op::Conv(op), Constant::PlaneTables) => conv::constant(&op.byte_planes()?[0], None, Constant::Tables),
        (Op::Matmul(op), constant) => matmul::constant(op, post_op, constant),
        (Op::Conv(op), constant) => conv::constant(op, post_op, constant),
        (Op::Requantize(op), Constant::Tables) => Some(requantize::epilogue(op, post_op, |epilogue| epilogue.tables())),
        (Op::Add(_), Constant::Tables) => Some(stage::post_op_words(post_op)),
        (Op::Multiply(op), Constant::Tables) => Some(binary::multiply_tables(op, post_op)),
        (Op::Pool(op), Constant::Tables) => Some(pool::epilogue(op, post_op, |epilogue| epilogue.tables())),
        (Op::Dequantize(op), constant) => quantize::dequantize_constant(op, constant),
        (Op::Quantize(op), Constant::Parameters) => Some(granularity::words(op.quantization())),
        (Op::Slice(op), Constant::Tables) => Some(rearrange::tables(&Moves::slice(op))),
        (Op::Pad(op), Constant::Tables) => Some(rearrange::tables(&Moves::pad(op))),
        (Op::LayerNorm(op), Constant::Tables) => Some(layer_norm::tables(op)),
        (Op::Resize(op), Constant::Tables) => Some(resize::tables(op)),
        (Op::Table(op), Constant::Table(0)) => Some(table::words(op)),
        (Op::Concat(op), Constant::Table(input)) => op.tables().get(input).map(table::words),
        _ => None,
    };
    words.map(Cow::Owned)
}

/// How many words [`constant`] would make, found without making them: what exceeds a binding is refused before it is made.
#[must_use]
pub fn constant_words(op: &Op, constant: Constant) -> Option<u64> {
    let (op, post_op) = match op {
        Op::Fused(fused) => (fused.first(), Some(fused.post_op())),
        op => (op, None),
    };
    Some(match (op, constant) {
        (Op::Linear(op), Constant::Panels { first, count }) => weights::panels_words(op.weights(), first, count),
        (Op::Embedding(op), Constant::Panels { first, count }) => weights::panels_words(op.weights(), first, count),
        (Op::LinearConv(op), Constant::Panels { first, count }) => {
            weights::panels_words(op.linear().weights(), first, count)
        }
        (Op::LinearConv(op), Constant::Groups) => op.patches().output_type().shape().rows() as u64,
        (Op::LinearConv(op), constant) => linear::constant_words(op.linear(), constant)?,
        (Op::Linear(op), constant) => linear::constant_words(op, constant)?,
        (Op::QuantizeWeights(op), Constant::Tables) => op.quantizer().importance_of_columns()?.len() as u64,
        (Op::FloatMatmul(op), constant) => float_matmul::constant_words(op, constant)?,
        (Op::Embedding(op), Constant::Positions) => op.weights().layout().k as u64,
        (Op::Matmul(op), Constant::PlaneTables) => {
            matmul::constant_words(&op.byte_planes()?[0], None, Constant::Tables)?
        }
        (Op::Conv(op), Constant::PlaneTables) => conv::constant_words(&op.byte_planes()?[0], None, Constant::Tables)?,
        (Op::Matmul(op), constant) => matmul::constant_words(op, post_op, constant)?,
        (Op::Conv(op), constant) => conv::constant_words(op, post_op, constant)?,
        (Op::Requantize(op), Constant::Tables) => requantize::epilogue(op, post_op, |epilogue| epilogue.tables_words()),
        (Op::Add(_), Constant::Tables) => 4 * stage::post_op_entries(post_op) as u64,
        (Op::Multiply(op), Constant::Tables) => binary::multiply_tables_words(op, post_op),
        (Op::Pool(op), Constant::Tables) => pool::epilogue(op, post_op, |epilogue| epilogue.tables_words()),
        (Op::Dequantize(op), constant) => quantize::dequantize_constant_words(op, constant)?,
        (Op::Quantize(op), Constant::Parameters) => 2 * op.quantization().scales().len() as u64,
        (Op::Slice(op), Constant::Tables) => rearrange::tables_words(&Moves::slice(op)),
        (Op::Pad(op), Constant::Tables) => rearrange::tables_words(&Moves::pad(op)),
        (Op::LayerNorm(op), Constant::Tables) => 2 * op.tensor_type.shape().row_length() as u64,
        (Op::Resize(op), Constant::Tables) => resize::tables_words(op),
        (Op::Table(_), Constant::Table(0)) | (Op::Concat(_), Constant::Table(_)) => 64,
        _ => return None,
    })
}

/// Workgroup sizes of kernels that map one invocation to one word: the best guess, and another so that tests and the
/// tuner have something to compare.
const LINE_GROUPS: [u32; 2] = [64, 256];

/// The workgroup sizes above that a device allows.
fn line_groups(caps: &DeviceCaps) -> impl Iterator<Item = u32> {
    let most = caps.invocations.max(1);
    LINE_GROUPS.into_iter().map(move |size| size.min(1 << most.ilog2())).take(if most < 256 { 1 } else { 2 })
}

/// The candidates of a kernel that maps one invocation to one word: one per workgroup size. `launch` makes the dispatch from
/// the size and number of workgroups; without invocations there is none.
fn line_candidates(
    name: &str,
    invocations: usize,
    constants: &[Constant],
    caps: &DeviceCaps,
    launch: impl Fn(u32, usize) -> Dispatch,
) -> Vec<Candidate> {
    let candidate = |group: u32| Candidate {
        label: format!("{name}, groups of {group}"),
        dispatches: (invocations > 0)
            .then(|| launch(group, invocations.div_ceil(group as usize)))
            .into_iter()
            .collect(),
        constants: constants.to_vec(),
        scratch: Vec::new(),
    };
    line_groups(caps).map(candidate).collect()
}

/// Four words with 0x01 for each of the first `count` (at most 16) bytes.
fn byte_mask(count: usize) -> [u32; 4] {
    std::array::from_fn(|word| (0..4).filter(|byte| word * 4 + byte < count).map(|byte| 1u32 << (8 * byte)).sum())
}
