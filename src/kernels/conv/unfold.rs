//! Candidates of `ops::Unfold`: `shaders/conv/unfold.wgsl`, by words if a group's channels fill words. The meaning is
//! `reference/unfold.rs`.

use crate::kernels::launch::program::{self, Program};
use crate::kernels::{
    Binding, Candidate, DeviceCaps, Dispatch, Kernels, Resource, epilogue, line_candidates, parameters,
};
use crate::ops::{PostOp, Unfold};

parameters! {
    /// `shaders/conv/unfold.wgsl`.
    struct Params {
        in_size: [u32; 4],
        out_size: [u32; 4],
        kernel: [u32; 4],
        stride: [u32; 4],
        dilation: [u32; 4],
        pad: [u32; 4],
        spread: [u32; 4],
        pixel_words: u32,
        channels: u32,
        groups: u32,
        row_units: u32,
        output_words: u32,
        first_row: u32,
        words: u32,
        zero: u32,
    }
}

impl Kernels for Unfold {
    fn candidates(&self, _: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        let rows = self.output_type().shape().rows();
        let words = rows * epilogue::row_words(self.output_type()) as usize;
        let borrowed = self.window().input_pixels() == 0;
        let image = if borrowed { Resource::Scratch(0) } else { Resource::Input(0) };
        let mut candidates = line_candidates("unfold", words, &[], caps, |group, _| {
            launch(self, image, [0, rows], Resource::Output(0), group, caps)
        });
        // An image without pixels gets a scratch pixel, which no invocation reads.
        let pixel = epilogue::row_words(self.image()).max(4) as usize;
        candidates.iter_mut().for_each(|candidate| candidate.scratch.extend(borrowed.then_some(pixel)));
        candidates
    }
}

/// The launch that writes `count` rows from row `first` on.
pub(crate) fn launch(
    op: &Unfold,
    image: Resource,
    [first, count]: [usize; 2],
    output: Resource,
    group: u32,
    caps: &DeviceCaps,
) -> Dispatch {
    let window = op.window();
    let bits = op.image().dtype().bits();
    let channels = op.channels_per_group();
    let zero = op.image().parameters(0).1 as u32 & (u32::MAX >> (32 - bits));
    // Whole words are copied if groups begin at a word.
    let lanes = 32 / bits;
    let by_word = channels.is_multiple_of(lanes);
    let units = |elements: usize| if by_word { elements / lanes } else { elements } as u32;
    let zero = if by_word { (0..lanes).fold(0, |word, lane| word | zero << (lane * bits)) } else { zero };
    let output_words = epilogue::row_words(op.output_type());
    let words = count * output_words as usize;
    let axes = |sizes: [usize; 3]| [sizes[0] as u32, sizes[1] as u32, sizes[2] as u32, 0];
    let params = Params {
        in_size: axes(window.input),
        out_size: axes(window.output),
        kernel: axes(window.kernel),
        stride: axes(if window.transposed { [1; 3] } else { window.stride }),
        dilation: axes(window.dilation),
        pad: axes(if window.transposed { window.begin.map(usize::wrapping_neg) } else { window.begin }),
        spread: axes(window.stride),
        pixel_words: epilogue::row_words(op.image()),
        channels: units(channels),
        groups: op.groups() as u32,
        row_units: units(op.output_type().shape().row_length()),
        output_words,
        first_row: first as u32,
        words: words as u32,
        zero,
    };
    let program = Program::new(&program::UNFOLD)
        .with(if op.is_dynamic() { &program::PAD_VALUE_ZERO_POINT } else { &program::PAD_VALUE_PARAMETER })
        .constant("GROUP_X", group)
        .constant("UNIT_BITS", if by_word { 32 } else { bits as u32 })
        .constant("TRANSPOSED", window.transposed);
    let bindings = [
        Some(Binding::read(1, image)),
        op.is_dynamic().then_some(Binding::read(3, Resource::Input(1))),
        Some(Binding::write(6, output)),
    ];
    let groups = words.div_ceil(group as usize);
    Dispatch::new(program, &params, Params::FIELDS, bindings.into_iter().flatten(), groups, caps)
}
