//! Candidates of `ops::Pool`: `shaders/elementwise/pool.wgsl`, for large windows `shaders/elementwise/pool_partial.wgsl` with
//! `shaders/elementwise/pool_total.wgsl`, and for averages in floats `shaders/elementwise/pool_floats.wgsl`. The meaning is
//! `reference/pool.rs`.

use crate::kernels::epilogue::{self, Epilogue};
use crate::kernels::launch::program::{self, Program};
use crate::kernels::{
    Binding, Candidate, Constant, DeviceCaps, Dispatch, Kernels, Resource, line_candidates, line_groups, parameters,
};
use crate::ops::{Output, Pool, PoolKind, PostOp, QuantizedArithmetic, Window};

parameters! {
    /// `shaders/elementwise/pool_params.wgsl`.
    pub(super) struct Params {
        in_size: [u32; 4],
        out_size: [u32; 4],
        kernel: [u32; 4],
        stride: [u32; 4],
        dilation: [u32; 4],
        pad: [u32; 4],
        pad_end: [u32; 4],
        n: u32,
        input_words: u32,
        output_words: u32,
        output_quads: u32,
        quads: u32,
        input_zero_point: i32,
        zero_point: i32,
        low: u32,
        high: u32,
        count_padding: u32,
        slice: u32,
        slices: u32,
        input_scale: u32,
        output_scale: u32,
        least_count: u32,
        unused_0: u32,
    }
}

impl Kernels for Pool {
    fn candidates(&self, post_op: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        let tables = epilogue(self, post_op, |epilogue| {
            has_tables(self, epilogue).then(|| {
                let (op, post_op) = (self.clone(), post_op.cloned());
                let words = move || self::epilogue(&op, post_op.as_ref(), |epilogue| epilogue.tables());
                Constant::new("tables", epilogue.tables_words(), words)
            })
        });
        epilogue(self, post_op, |epilogue| launches(self, epilogue, tables.as_slice(), caps))
    }
}

fn epilogue<T>(op: &Pool, post_op: Option<&PostOp>, work: impl FnOnce(Epilogue<'_>) -> T) -> T {
    let output = Output::Requantized(op.output().clone());
    work(Epilogue { output: &output, output_type: op.output_type(), stage: op.stage(), post_op })
}

/// A window with more taps is divided among invocations.
const MANY_TAPS: usize = 512;

/// Taps of a slice, if the partial results of all slices fit a binding.
const SLICE: usize = 256;

/// The most taps that one invocation visits: lavapipe ends a loop after about 65,535 iterations.
const MOST_TAPS: usize = 32_768;

/// Number of quads of results that occupy a device without division.
const MANY_QUADS: usize = 4096;

fn launches(op: &Pool, epilogue: Epilogue<'_>, constants: &[Constant], caps: &DeviceCaps) -> Vec<Candidate> {
    let quads = quads(op);
    if sums_floats(op) {
        return floats(op, epilogue, constants, caps);
    }
    let whole = || pooled(op, epilogue, constants, caps);
    let Some(slice) = slice(op, caps) else { return whole() };
    let mut candidates = sliced(op, epilogue, slice, constants, caps);
    if fits_one_invocation(op) {
        let at = if quads < MANY_QUADS { candidates.len() } else { 0 };
        candidates.splice(at..at, whole());
    }
    candidates
}

/// Quads of results, with padding.
fn quads(op: &Pool) -> usize {
    op.output_type().shape().rows() * epilogue::quads(op.output_type()) as usize
}

/// The taps of a slice, if windows are so large that they are divided. Slices are longer if the partial results of all slices would
/// not fit a binding.
pub(super) fn slice(op: &Pool, caps: &DeviceCaps) -> Option<usize> {
    let (quads, taps) = (quads(op), op.window().taps());
    let fitting = (caps.binding_bytes / 16) as usize / quads.max(1);
    let slice = taps.div_ceil(fitting.clamp(1, taps.div_ceil(SLICE).max(1)));
    (taps > MANY_TAPS && quads > 0 && slice <= MOST_TAPS).then_some(slice)
}

/// True if an invocation may visit all taps of a window.
pub(super) fn fits_one_invocation(op: &Pool) -> bool {
    op.window().taps() <= MOST_TAPS
}

/// The launch that sums slices of windows: `[slice][pixel][quad]`, a vec4 each.
pub(super) fn partial_sums(op: &Pool, slice: usize, group: u32, sums: Resource, caps: &DeviceCaps) -> Dispatch {
    let (quads, slices) = (quads(op), op.window().taps().div_ceil(slice));
    let params =
        epilogue(op, None, |epilogue| Params { slice: slice as u32, slices: slices as u32, ..params(op, epilogue) });
    let program = link(Program::new(&program::POOL_PARTIAL), op, group);
    let bindings = [Binding::read(1, Resource::Input(0)), Binding::write(6, sums)];
    let groups = (quads * slices).div_ceil(group as usize);
    Dispatch::new(program, &params, Params::FIELDS, bindings, groups, caps)
        .operations([op.output_type().shape().elements(), op.window().taps()])
}

/// The parameters of a window.
pub(super) fn of_window(window: Window) -> Params {
    let axes = |sizes: [usize; 3]| [sizes[0] as u32, sizes[1] as u32, sizes[2] as u32, 0];
    Params {
        in_size: axes(window.input),
        out_size: axes(window.output),
        kernel: axes(window.kernel),
        stride: axes(window.stride),
        dilation: axes(window.dilation),
        pad: axes(window.begin),
        pad_end: axes(window.end),
        ..Params::default()
    }
}

fn params(op: &Pool, epilogue: Epilogue<'_>) -> Params {
    let stage = epilogue.parameters();
    Params {
        n: op.input().shape().row_length() as u32,
        input_words: epilogue::row_words(op.input()),
        output_words: stage.output_words,
        output_quads: stage.output_quads,
        quads: (op.output_type().shape().rows() * stage.output_quads as usize) as u32,
        input_zero_point: op.input().parameters(0).1,
        zero_point: stage.zero_point,
        low: stage.low,
        high: stage.high,
        count_padding: match op.arithmetic() {
            QuantizedArithmetic::QOperator if op.counts_padding() => 2,
            _ => op.counts_padding().into(),
        },
        input_scale: op.input().parameters(0).0.to_bits(),
        output_scale: op.output().scale().to_bits(),
        least_count: op.least_count() as u32,
        ..of_window(op.window())
    }
}

fn name(op: &Pool) -> &'static str {
    if op.kind() == PoolKind::Average { "average pool" } else { "max pool" }
}

/// The constants of all pooling loops.
fn link(program: Program, op: &Pool, group: u32) -> Program {
    program
        .constant("GROUP_X", group)
        .constant("INPUT_BITS", 8u32)
        .constant("INPUT_SIGNED", op.input().dtype().is_signed())
        .constant("MAXIMUM", op.kind() == PoolKind::Max)
}

/// A launch that writes codes, from `source`.
fn storing(
    program: Program,
    op: &Pool,
    params: &Params,
    epilogue: Epilogue<'_>,
    source: Resource,
    groups: usize,
    caps: &DeviceCaps,
) -> Dispatch {
    let program = match op.kind() {
        PoolKind::Average if sums_floats(op) => epilogue::link_post_op(program, epilogue.post_op),
        PoolKind::Average if op.arithmetic() == QuantizedArithmetic::Codes => {
            epilogue::link_post_op(program.with(&program::MEAN).with(&program::STORE_CODES), epilogue.post_op)
        }
        PoolKind::Average => epilogue.link(program),
        PoolKind::Max => epilogue::link_post_op(program.with(&program::CODE), epilogue.post_op),
    };
    let bindings = [Binding::read(1, source), Binding::write(6, Resource::Output(0))];
    let tables = has_tables(op, epilogue).then_some(Binding::read(5, Resource::Constant(0)));
    let bindings = bindings.into_iter().chain(tables);
    epilogue::bind_post_op(Dispatch::new(program, params, Params::FIELDS, bindings, groups, caps), epilogue.post_op, 1)
}

fn has_tables(op: &Pool, epilogue: Epilogue<'_>) -> bool {
    op.kind() == PoolKind::Average || epilogue.post_op.is_some()
}

/// One invocation visits a whole window.
fn pooled(op: &Pool, epilogue: Epilogue<'_>, constants: &[Constant], caps: &DeviceCaps) -> Vec<Candidate> {
    let params = params(op, epilogue);
    line_candidates(name(op), params.quads as usize, constants, caps, |group, groups| {
        let program = link(Program::new(&program::POOL), op, group);
        storing(program, op, &params, epilogue, Resource::Input(0), groups, caps)
            .operations([op.output_type().shape().elements(), op.window().taps()])
    })
}

/// True for an average that is summed in floats, in an order.
pub(super) fn sums_floats(op: &Pool) -> bool {
    let floats = matches!(op.arithmetic(), QuantizedArithmetic::QOperator | QuantizedArithmetic::Qdq);
    op.kind() == PoolKind::Average && floats
}

/// One invocation visits a whole window, for averages that are summed in floats.
fn floats(op: &Pool, epilogue: Epilogue<'_>, constants: &[Constant], caps: &DeviceCaps) -> Vec<Candidate> {
    let params = params(op, epilogue);
    line_candidates(name(op), params.quads as usize, constants, caps, |group, groups| {
        let offset_first = op.arithmetic() == QuantizedArithmetic::QOperator;
        let program = link(Program::new(&program::POOL_FLOATS), op, group).constant("OFFSET_FIRST", offset_first);
        storing(program, op, &params, epilogue, Resource::Input(0), groups, caps)
            .operations([op.output_type().shape().elements(), op.window().taps()])
    })
}

/// Invocations visit slices of a window; others combine their results.
fn sliced(
    op: &Pool,
    epilogue: Epilogue<'_>,
    slice: usize,
    constants: &[Constant],
    caps: &DeviceCaps,
) -> Vec<Candidate> {
    let slices = op.window().taps().div_ceil(slice);
    let params = Params { slice: slice as u32, slices: slices as u32, ..params(op, epilogue) };
    let quads = params.quads as usize;
    let name = format!("{}, slices of {slice}", name(op));
    let mut candidates = line_candidates(&name, quads, constants, caps, |group, groups| {
        let program = link(Program::new(&program::POOL_TOTAL), op, group);
        storing(program, op, &params, epilogue, Resource::Scratch(0), groups, caps)
    });
    for (candidate, group) in candidates.iter_mut().zip(line_groups(caps)) {
        candidate.dispatches.insert(0, partial_sums(op, slice, group, Resource::Scratch(0), caps));
        candidate.scratch.push(4 * quads * slices);
    }
    candidates
}
