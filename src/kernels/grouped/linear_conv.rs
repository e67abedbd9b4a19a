//! Candidates of `ops::LinearConv`: `shaders/conv/unfold.wgsl`, then the candidates of `ops::Linear` over the patches. The meaning
//! is `reference/linear_conv.rs`.

use super::linear::{self, Finish};
use crate::kernels::conv::unfold;
use crate::kernels::convert::cast;
use crate::kernels::{Candidate, Constant, DeviceCaps, Kernels, Resource, epilogue, line_group, rebind};
use crate::numeric::DType;
use crate::ops::{Cast, LinearConv, OpDef, PostOp};
use crate::tensor::TensorType;

impl Kernels for LinearConv {
    fn candidates(&self, _: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        candidates(self, caps)
    }
}

pub(crate) fn candidates(op: &LinearConv, caps: &DeviceCaps) -> Vec<Candidate> {
    // Rows of f16 are padded, so groups are put side by side in float32 first.
    let narrowed = op.patches().groups() > 1 && op.output_type().dtype() == DType::Float16;
    let float32 = narrowed.then(|| op.linear().in_float32());
    let candidates = linear::candidates(float32.as_ref().unwrap_or(op.linear()), Finish::Stored(None), caps);
    candidates.into_iter().map(|candidate| over_patches(op, candidate, narrowed, caps)).collect()
}

/// The launches of a linear layer, after one that unfolds the image to its rows.
fn over_patches(op: &LinearConv, mut candidate: Candidate, narrowed: bool, caps: &DeviceCaps) -> Candidate {
    candidate.label = format!("patches, {}", candidate.label);
    if candidate.dispatches.is_empty() {
        return candidate;
    }
    let patches = op.patches();
    let rows = patches.output_type();
    let lhs = candidate.scratch(rows.shape().rows() * epilogue::row_words(rows) as usize);
    let indices = op.linear().indices().map(|(input, _)| {
        let (count, groups) = (op.patches().output_type().shape().rows(), op.patches().groups());
        // The rows of the groups of a position follow one another.
        let list = move || (0..count).map(|row| (row % groups) as u32).collect();
        (input, candidate.constant(Constant::new("group of each row", count, list)))
    });
    let (words, last) = (op.linear().words_input(), op.inputs().len() - 1);
    let mut image = Resource::Input(0);
    if patches.window().input_pixels() == 0 {
        image = candidate.scratch(epilogue::row_words(patches.image()).max(4) as usize);
    }
    rebind(&mut candidate.dispatches, |resource| match (resource, indices) {
        (Resource::Input(0), _) => lhs,
        (Resource::Input(input), Some((index, constant))) if input == index => constant,
        (Resource::Input(input), _) if Some(input) == words => Resource::Input(last),
        // The parameters of a dynamic image are its second input.
        (Resource::Input(_), _) => Resource::Input(1),
        (resource, _) => resource,
    });
    let group = line_group(caps);
    candidate.dispatches.insert(0, unfold::launch(patches, image, [0, rows.shape().rows()], lhs, group, caps));
    if !narrowed {
        return candidate;
    }
    candidate.followed_by(op.output_type().shape().elements(), narrow(op, caps), |resource| match resource {
        Resource::Input(_) => None,
        resource => Some(resource),
    })
}

/// The launches that write the output from its float32 numbers.
fn narrow(op: &LinearConv, caps: &DeviceCaps) -> Candidate {
    let shape = op.output_type().shape();
    let float32 = TensorType::new(DType::Float32, [shape.rows(), shape.row_length()]).expect("no larger shape");
    let cast = Cast::new(float32, DType::Float16).build().expect("floats can be cast");
    cast::candidates(&cast, caps).swap_remove(0)
}
