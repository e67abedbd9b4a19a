//! Candidates of products with int16 codes: the candidates of their high and low bytes as raw sums, between
//! `shaders/gemm/split_bytes.wgsl` and `shaders/gemm/combine_bytes.wgsl`. The products themselves are `matmul`'s and `conv`'s.

use crate::kernels::epilogue::{self, Epilogue};
use crate::kernels::launch::program::{self, Program};
use crate::kernels::{Binding, Candidate, Constant, DeviceCaps, Dispatch, Resource, line_group, parameters};
use crate::numeric::DType;
use crate::tensor::TensorType;

parameters! {
    /// `shaders/gemm/split_bytes.wgsl`.
    struct SplitParams {
        input_words: u32,
        plane_words: u32,
        words: u32,
        unused_0: u32,
    }
}

parameters! {
    /// `shaders/gemm/combine_bytes.wgsl`.
    struct JoinParams {
        n: u32,
        output_words: u32,
        output_quads: u32,
        quads: u32,
        zero_point: i32,
        low: u32,
        high: u32,
        rows: u32,
        rows_at: u32,
        column_stride: u32,
        unused_0: u32,
        unused_1: u32,
    }
}

/// A product with int16 codes, as far as splitting it into bytes and combining the sums needs it.
pub(crate) struct Int16Product<'a> {
    pub lhs: &'a TensorType,
    pub epilogue: Epilogue<'a>,
    /// The tables of the epilogue and the rows' scales.
    pub tables: Constant,
    /// True if sums need more than 32 bits.
    pub wide: bool,
    /// Rows of the output after which the scales of lhs begin anew.
    pub rows: usize,
    /// Number of the op's inputs, which is the index of a residual.
    pub inputs: usize,
}

/// The candidates of a product, from the candidates of its high and its low bytes.
pub(crate) fn candidates(halves: [Vec<Candidate>; 2], whole: &Int16Product<'_>, caps: &DeviceCaps) -> Vec<Candidate> {
    let [high, low] = halves;
    high.into_iter().zip(low).map(|(high, low)| candidate([high, low], whole, caps)).collect()
}

fn candidate([high, low]: [Candidate; 2], whole: &Int16Product<'_>, caps: &DeviceCaps) -> Candidate {
    debug_assert!(high.label == low.label && high.scratch == low.scratch);
    let label = format!("{} of bytes", high.label);
    if high.dispatches.is_empty() {
        return Candidate::new(label);
    }
    // Both products read the same constants and use the same scratch, one after the other.
    let mut constants = high.constants;
    constants.push(whole.tables.clone());
    let mut scratch = high.scratch;
    let planes = [0, 1].map(|half| Resource::Scratch(scratch.len() + half));
    let sums = [2, 3].map(|half| Resource::Scratch(scratch.len() + half));
    let plane_words = whole.lhs.shape().rows() * DType::Int8.row_words(whole.lhs.shape().row_length());
    let sum_words = whole.epilogue.output_type.shape().elements();
    scratch.extend([plane_words, plane_words, sum_words, sum_words]);

    let mut dispatches: Vec<Dispatch> = split(whole.lhs, planes, caps).into_iter().collect();
    for (half, launches) in [high.dispatches, low.dispatches].into_iter().enumerate() {
        for mut launch in launches {
            let mut own = false;
            for binding in &mut launch.bindings {
                let place = match binding.resource {
                    Resource::Input(0) => planes[half],
                    Resource::Output(0) => sums[half],
                    shared => shared,
                };
                own |= place != binding.resource;
                binding.resource = place;
            }
            // Operands other than lhs are packed once.
            if half == 0 || own || launch.bindings.iter().any(|b| b.resource == sums[half]) {
                dispatches.push(Dispatch { in_place: Vec::new(), ..launch });
            }
        }
    }
    dispatches.push(join(whole, sums, Resource::Constant(constants.len() - 1), caps));
    Candidate { label, dispatches, constants, scratch }
}

/// The launch that writes the planes of bytes; `None` if lhs is empty.
fn split(lhs: &TensorType, [high, low]: [Resource; 2], caps: &DeviceCaps) -> Option<Dispatch> {
    let plane_words = DType::Int8.row_words(lhs.shape().row_length());
    let words = lhs.shape().rows() * plane_words;
    if words == 0 {
        return None;
    }
    let group = line_group(caps);
    let params = SplitParams {
        input_words: epilogue::row_words(lhs),
        plane_words: plane_words as u32,
        words: words as u32,
        ..SplitParams::default()
    };
    let program = Program::new(&program::SPLIT_BYTES).constant("GROUP_X", group);
    let bindings = [Binding::read(1, Resource::Input(0)), Binding::write(6, high), Binding::write(7, low)];
    let groups = words.div_ceil(group as usize);
    Some(Dispatch::new(program, &params, SplitParams::FIELDS, bindings, groups, caps))
}

/// The launch that combines both sums into outputs.
fn join(whole: &Int16Product<'_>, [high, low]: [Resource; 2], tables: Resource, caps: &DeviceCaps) -> Dispatch {
    let epilogue = &whole.epilogue;
    let shape = epilogue.output_type.shape();
    let stage = epilogue.parameters();
    let quads = shape.rows() * stage.output_quads as usize;
    let params = JoinParams {
        n: shape.row_length() as u32,
        output_words: stage.output_words,
        output_quads: stage.output_quads,
        quads: quads as u32,
        zero_point: stage.zero_point,
        low: stage.low,
        high: stage.high,
        rows: whole.rows.max(1) as u32,
        rows_at: epilogue.rows_at() as u32,
        column_stride: epilogue.stage.row_stride() as u32,
        ..JoinParams::default()
    };
    let group = line_group(caps);
    let program = epilogue.link_halves(Program::new(&program::COMBINE_BYTES), whole.wide).constant("GROUP_X", group);
    let bindings = [
        Binding::read(1, high),
        Binding::read(2, low),
        Binding::read(5, tables),
        Binding::write(6, Resource::Output(0)),
    ];
    let groups = quads.div_ceil(group as usize);
    let launch =
        Dispatch::new(program, &params, JoinParams::FIELDS, bindings, groups, caps).operations([shape.elements()]);
    epilogue::bind_post_op(launch, epilogue.post_op, whole.inputs)
}
