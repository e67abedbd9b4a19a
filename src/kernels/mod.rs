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
mod halves;
mod layer_norm;
mod linear;
mod linear_conv;
mod matmul;
mod matrix;
mod members;
mod moved;
mod observe;
mod optimize;
mod phase;
mod pool;
pub(crate) mod probe;
mod program;
mod quantize;
mod quantize_weights;
mod range_step;
mod rearrange;
mod requantize;
mod reshape;
mod resize;
mod row_lanes;
mod softmax;
mod stage;
mod sum;
mod table;
mod tile;
mod transpose;
mod unfold;
mod weights;

pub(crate) use class::class;
pub use dispatch::{Binding, Candidate, Constant, Dispatch, Field, Limits, Resource};
pub use program::Program;

use std::borrow::Cow;

use crate::ops::{Finish, Op};
use rearrange::Moves;

/// The ways to run an op on a device with these limits: never empty, best guess first.
///
/// ```
/// use lowbit::{Format, Tensor, TensorType, kernels, ops::Matmul};
/// let lhs = TensorType::new(Format::Int8, [64, 32])?;
/// let op = Matmul::new(lhs, Tensor::new([32, 16], vec![1i8; 512])?).build()?.into();
/// for candidate in kernels::candidates(&op, &kernels::Limits::default()) {
///     println!("{}: {:?}", candidate.label, candidate.dispatches[0].grid);
/// }
/// # Ok::<(), lowbit::Error>(())
/// ```
#[must_use]
pub fn candidates(op: &Op, limits: &Limits) -> Vec<Candidate> {
    let candidates = match op {
        Op::Fused(op) => {
            let mut candidates = finished_candidates(op.first(), Some(op.finish()), limits);
            for candidate in &mut candidates {
                candidate.label = format!("{} + {}", candidate.label, op.then().name());
            }
            candidates
        }
        op => finished_candidates(op, None, limits),
    };
    debug_assert!(!candidates.is_empty());
    candidates
}

/// The ways to run an op whose elements pass through a finish before they are stored. Only ops that [`Fused`] takes have one.
///
/// [`Fused`]: crate::ops::Fused
fn finished_candidates(op: &Op, finish: Option<&Finish>, limits: &Limits) -> Vec<Candidate> {
    match op {
        Op::Matmul(op) => matmul::candidates(op, finish, limits),
        Op::Conv(op) => conv::candidates(op, finish, limits),
        Op::Requantize(op) => requantize::candidates(op, finish, limits),
        Op::Quantize(op) => quantize::quantize_candidates(op, limits),
        Op::Dequantize(op) => quantize::dequantize_candidates(op, limits),
        Op::DynamicQuantize(op) => dynamic::candidates(op, limits),
        Op::Add(op) => binary::add_candidates(op, finish, limits),
        Op::Multiply(op) => binary::multiply_candidates(op, finish, limits),
        Op::Pool(op) => pool::candidates(op, finish, limits),
        Op::Table(op) => table::candidates(op, limits),
        Op::Cast(op) => cast::candidates(op, limits),
        Op::Concat(op) => concat::candidates(op, limits),
        Op::ObserveRange(op) => observe::range_candidates(op, limits),
        Op::ObserveHistogram(op) => observe::histogram_candidates(op, limits),
        Op::RangeStep(op) => range_step::candidates(op, limits),
        Op::FakeQuantize(op) => fake_quantize::candidates(op, limits),
        Op::FakeQuantizeGradient(op) => fake_quantize::gradient_candidates(op, limits),
        Op::GridGradient(op) => fake_quantize::grid_gradient_candidates(op, limits),
        Op::FloatConv(op) => float_conv::candidates(op, limits),
        Op::StageTable(op) => fake_requantize::table_candidates(op, limits),
        Op::FakeRequantize(op) => fake_requantize::candidates(op, limits),
        Op::Sum(op) => sum::candidates(op, limits),
        Op::CrossEntropyGradient(op) => cross_entropy::candidates(op, limits),
        Op::Optimize(op) => optimize::candidates(op, limits),
        Op::Linear(op) => linear::candidates(op, limits),
        Op::Embedding(op) => embedding::candidates(op, limits),
        Op::QuantizeWeights(op) => quantize_weights::candidates(op, limits),
        Op::Unfold(op) => unfold::candidates(op, limits),
        Op::LinearConv(op) => linear_conv::candidates(op, limits),
        Op::BlockQuantize(op) => block::quantize_candidates(op, limits),
        Op::BlockDequantize(op) => block::dequantize_candidates(op, limits),
        Op::FloatMatmul(op) => float_matmul::candidates(op, limits),
        Op::FloatUnary(op) => float_unary::candidates(op, limits),
        Op::FloatBinary(op) => float_binary::candidates(op, limits),
        Op::Softmax(op) => softmax::candidates(op, limits),
        Op::LayerNorm(op) => layer_norm::candidates(op, limits),
        Op::Transpose(op) => transpose::candidates(op, finish, limits),
        Op::Slice(op) => rearrange::candidates(&Moves::slice(op), limits),
        Op::Pad(op) => rearrange::candidates(&Moves::pad(op), limits),
        Op::Reshape(op) => reshape::candidates(op, limits),
        Op::Resize(op) => resize::candidates(op, limits),
        Op::Fused(op) => candidates(&Op::Fused(op.clone()), limits),
    }
}

/// The launches of the device probe at their smallest, for tools and tests that read every program. One of them asks for
/// 16-bit floats, which not every device has, and one for matrices, if the limits have them.
#[must_use]
pub fn probes(limits: &Limits) -> Vec<Dispatch> {
    probe::Exercise::all(limits).map(|exercise| exercise.dispatch(exercise.sizes(limits).0, limits)).collect()
}

/// The words of a constant that a candidate of this op asks for; `None` if none of them would.
#[must_use]
pub fn constant(op: &Op, constant: Constant) -> Option<Cow<'_, [u32]>> {
    let (op, finish) = match op {
        Op::Fused(fused) => (fused.first(), Some(fused.finish())),
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
        (Op::Matmul(op), Constant::HalfTables) => matmul::constant(&op.halves()?[0], None, Constant::Tables),
        (Op::Conv(op), Constant::HalfTables) => conv::constant(&op.halves()?[0], None, Constant::Tables),
        (Op::Matmul(op), constant) => matmul::constant(op, finish, constant),
        (Op::Conv(op), constant) => conv::constant(op, finish, constant),
        (Op::Requantize(op), Constant::Tables) => Some(requantize::epilogue(op, finish, |epilogue| epilogue.tables())),
        (Op::Add(_), Constant::Tables) => Some(stage::finish_words(finish)),
        (Op::Multiply(op), Constant::Tables) => Some(binary::multiply_tables(op, finish)),
        (Op::Pool(op), Constant::Tables) => Some(pool::epilogue(op, finish, |epilogue| epilogue.tables())),
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
    let (op, finish) = match op {
        Op::Fused(fused) => (fused.first(), Some(fused.finish())),
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
        (Op::Matmul(op), Constant::HalfTables) => matmul::constant_words(&op.halves()?[0], None, Constant::Tables)?,
        (Op::Conv(op), Constant::HalfTables) => conv::constant_words(&op.halves()?[0], None, Constant::Tables)?,
        (Op::Matmul(op), constant) => matmul::constant_words(op, finish, constant)?,
        (Op::Conv(op), constant) => conv::constant_words(op, finish, constant)?,
        (Op::Requantize(op), Constant::Tables) => requantize::epilogue(op, finish, |epilogue| epilogue.tables_words()),
        (Op::Add(_), Constant::Tables) => 4 * stage::finish_entries(finish) as u64,
        (Op::Multiply(op), Constant::Tables) => binary::multiply_tables_words(op, finish),
        (Op::Pool(op), Constant::Tables) => pool::epilogue(op, finish, |epilogue| epilogue.tables_words()),
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
fn line_groups(limits: &Limits) -> impl Iterator<Item = u32> {
    let most = limits.invocations.max(1);
    LINE_GROUPS.into_iter().map(move |size| size.min(1 << most.ilog2())).take(if most < 256 { 1 } else { 2 })
}

/// The candidates of a kernel that maps one invocation to one word: one per workgroup size. `launch` makes the dispatch from
/// the size and number of workgroups; without invocations there is none.
fn line_candidates(
    name: &str,
    invocations: usize,
    constants: &[Constant],
    limits: &Limits,
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
    line_groups(limits).map(candidate).collect()
}

/// Four words with 0x01 for each of the first `count` (at most 16) bytes.
fn byte_mask(count: usize) -> [u32; 4] {
    std::array::from_fn(|word| (0..4).filter(|byte| word * 4 + byte < count).map(|byte| 1u32 << (8 * byte)).sum())
}
