//! Candidates of `ops::Embedding`: `shaders/grouped/embedding.wgsl`. The meaning is `reference/embedding.rs`.

use super::weights::{self, Panels};
use crate::kernels::convert::convert::link_minifloat;
use crate::kernels::launch::program::{self, Program};
use crate::kernels::{
    Binding, Candidate, Constant, DeviceCaps, Dispatch, Kernels, Resource, epilogue, line_groups, parameters,
};
use crate::numeric::DType;
use crate::ops::{Embedding, PostOp};
use crate::weights::PackedWeights;

parameters! {
    /// `shaders/grouped/embedding.wgsl`.
    struct Params {
        streams: [u32; 4],
        n: u32,
        rows: u32,
        first_row: u32,
        end_row: u32,
        padded_rows: u32,
        panel_vecs: u32,
        padded_group: u32,
        output_words: u32,
        output_quads: u32,
        quads: u32,
        unused_0: u32,
        unused_1: u32,
    }
}

impl Kernels for Embedding {
    fn candidates(&self, _: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        line_groups(caps).map(|group| candidate(self, group, caps)).collect()
    }
}

fn candidate(op: &Embedding, group: u32, caps: &DeviceCaps) -> Candidate {
    let mut candidate = Candidate::new(format!("embedding, groups of {group}"));
    if op.output_type().shape().elements() == 0 {
        return candidate;
    }
    let has_positions = op.weights().layout().sources().is_some();
    if has_positions {
        let weights = op.weights().clone();
        let list = move || positions(&weights);
        candidate.constants.push(Constant::new("position of each column", op.weights().layout().k, list));
    }
    for (panels, weights) in weights::bound_parts(op.weights(), op.words_input(), &mut candidate, caps) {
        candidate.dispatches.push(launch(op, panels, weights, has_positions, group, caps));
    }
    candidate
}

fn launch(
    op: &Embedding,
    panels: Panels,
    weights: Resource,
    positions: bool,
    group: u32,
    caps: &DeviceCaps,
) -> Dispatch {
    let (matrix, output) = (op.weights(), op.output_type());
    let layout = matrix.layout();
    let half = output.dtype() == DType::Float16;
    let output_words = epilogue::row_words(output);
    let output_quads = if half { output_words / 2 } else { (layout.k.div_ceil(4)) as u32 };
    let quads = output.shape().rows() * output_quads as usize;
    let first_row = panels.first_row();
    let params = Params {
        streams: weights::streams(matrix),
        n: layout.k as u32,
        rows: layout.n as u32,
        first_row: first_row as u32,
        end_row: (first_row + panels.rows(matrix)) as u32,
        padded_rows: panels.rows(matrix).next_multiple_of(4) as u32,
        panel_vecs: (layout.panel_words() / 4) as u32,
        padded_group: layout.padded_group as u32,
        output_words,
        output_quads,
        quads: quads as u32,
        ..Params::default()
    };
    let [upper, lower] = weights::plane_bits(matrix.format().codes);
    let codes = matrix.format().codes;
    let program = match (codes.table(), codes.layout()) {
        (Some(_), _) => weights::link_table(Program::new(&program::EMBEDDING).with(&program::VALUE_TABLE), codes),
        (_, Some(layout)) => link_minifloat(Program::new(&program::EMBEDDING).with(&program::VALUE_MINIFLOAT), layout),
        (None, None) => Program::new(&program::EMBEDDING).with(&program::VALUE_INTEGER),
    };
    let program = program.with(if positions { &program::POSITION_TABLE } else { &program::POSITION_DIRECT });
    let program = epilogue::link_store_reals(program, output.dtype(), None);
    let program = weights::link_scales(program, matrix, true, caps)
        .constant("GROUP_X", group)
        .constant("CODE_SHIFT", 0u32)
        .constant("CODE_BIAS", i32::from(matrix.format().codes.bias()))
        .constant("UPPER", upper)
        .constant("LOWER", lower);
    let read = output.shape().rows() * (matrix.bytes() / layout.n.max(1));
    let bindings = [
        Some(Binding::read(1, Resource::Input(0))),
        Some(Binding::read(2, weights).touching(read as u64)),
        positions.then(|| Binding::read(3, Resource::Constant(0))),
        Some(Binding::write(6, Resource::Output(0))),
    ];
    let groups = quads.div_ceil(group as usize);
    Dispatch::new(program, &params, Params::FIELDS, bindings.into_iter().flatten(), groups, caps)
        .operations([output.shape().elements()])
}

/// The position of every column in the packed weights.
fn positions(weights: &PackedWeights) -> Vec<u32> {
    let layout = weights.layout();
    let mut positions = vec![0; layout.k];
    for (position, column) in layout.sources().unwrap_or_default().into_iter().enumerate() {
        if let Some(entry) = positions.get_mut(column as usize) {
            *entry = position as u32;
        }
    }
    positions
}
