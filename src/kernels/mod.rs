//! Ways to compute each op on a GPU: candidates as plain data, best guess first, with the constants that they bind.
//! Nothing here chooses, times or runs anything, and nothing here knows `reference`.
//!
//! It is public with the feature `unstable-kernels`, for tools that read, test or time programs. Any release may change it: semantic
//! versioning doesn't hold here.

#[cfg(feature = "transformer")]
mod attention;
#[cfg(feature = "calibrate")]
mod calibrate;
mod class;
#[cfg(feature = "convolution")]
mod conv;
mod convert;
mod elementwise;
mod epilogue;
mod gemm;
#[cfg(feature = "transformer")]
mod grouped;
mod heuristics;
mod launch;
mod layout;
pub(crate) mod probe;
#[cfg(feature = "train")]
mod train;

pub(crate) use class::class;
pub(crate) use launch::dispatch::WordsInTurn;
pub use launch::dispatch::{Binding, Candidate, Constant, DeviceCaps, Dispatch, Field, Resource, Words};
pub use launch::program::Program;

use launch::dispatch::parameters;

use crate::ops::{Fused, Op, OpDef, PostOp, each};

/// The ways to compute an op on a GPU.
trait Kernels {
    /// The ways to run it: never empty, best guess first. Elements pass through `post_op` before they are stored; only ops that
    /// [`Fused`] takes are given one.
    fn candidates(&self, post_op: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate>;
}

impl Kernels for Fused {
    fn candidates(&self, _: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        let mut candidates = candidates_with(self.first(), Some(self.post_op()), caps);
        let bound = |candidate: &Candidate| candidate.dispatches.iter().map(|launch| launch.bindings.len()).max();
        let has_floats = matches!(self.post_op(), PostOp::FloatBinary(..));
        if has_floats && candidates.iter().filter_map(bound).any(|bound| bound > caps.storage_buffers as usize) {
            candidates = in_sequence(self, caps);
        }
        for candidate in &mut candidates {
            candidate.label = format!("{} + {}", candidate.label, self.then().name());
        }
        candidates
    }
}

/// The ways to run an op that makes float32 and a sum or product one after the other, for devices that bind too few buffers for a
/// residual beside the rest.
fn in_sequence(op: &Fused, caps: &DeviceCaps) -> Vec<Candidate> {
    let (first, position) = (op.first(), op.post_op().position());
    let second = candidates_with(&op.then(), None, caps).swap_remove(0);
    let residual = Resource::Input(first.inputs().len());
    let elements = op.outputs()[0].shape().elements();
    let both = |candidate: Candidate| {
        let mut candidate = candidate.followed_by(elements, second.clone(), |resource| match resource {
            Resource::Input(input) => (input != position).then_some(residual),
            resource => Some(resource),
        });
        candidate.dispatches.iter_mut().for_each(|launch| launch.in_place.clear());
        candidate
    };
    candidates_with(first, None, caps).into_iter().map(both).collect()
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

/// The ways to run an op whose elements pass through a post-op before they are stored. Only ops that [`Fused`] takes have one.
fn candidates_with(op: &Op, post_op: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
    each!(op, op => op.candidates(post_op, caps))
}

/// The launches of the device probe at their smallest, for tools and tests that read every program. One of them asks for
/// 16-bit floats, which not every device has, and one for matrices, if the caps have them.
#[must_use]
pub fn probes(caps: &DeviceCaps) -> Vec<Dispatch> {
    let exercises = probe::Exercise::all(caps).map(|exercise| exercise.dispatch(exercise.sizes(caps).0, caps));
    exercises.chain([probe::unpack_f16(caps)]).collect()
}

/// Binds other resources to launches of an op that are a part of another's.
fn rebind(dispatches: &mut [Dispatch], by: impl Fn(Resource) -> Resource) {
    let bindings = dispatches.iter_mut().flat_map(|dispatch| &mut dispatch.bindings);
    bindings.for_each(|binding| binding.resource = by(binding.resource));
}

/// Workgroup sizes of kernels that map one invocation to one word: the best guess, and another so that tests and the
/// tuner have something to compare.
const LINE_GROUPS: [u32; 2] = [64, 256];

/// The workgroup sizes above that a device allows.
fn line_groups(caps: &DeviceCaps) -> impl Iterator<Item = u32> {
    let most = caps.invocations.max(1);
    LINE_GROUPS.into_iter().map(move |size| size.min(1 << most.ilog2())).take(if most < 256 { 1 } else { 2 })
}

/// The best guess of these sizes.
fn line_group(caps: &DeviceCaps) -> u32 {
    LINE_GROUPS[0].min(1 << caps.invocations.max(1).ilog2())
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

/// Adds the WGSL file that makes float32 of float16.
fn link_float16(program: Program, caps: &DeviceCaps) -> Program {
    program.with(if caps.unpack_f16 { &launch::program::FLOAT16_UNPACK } else { &launch::program::FLOAT16_INTEGERS })
}

/// Four words with 0x01 for each of the first `count` (at most 16) bytes.
fn byte_mask(count: usize) -> [u32; 4] {
    std::array::from_fn(|word| (0..4).filter(|byte| word * 4 + byte < count).map(|byte| 1u32 << (8 * byte)).sum())
}
