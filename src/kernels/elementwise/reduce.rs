//! Candidates of `ops::Reduce`: `shaders/elementwise/reduce.wgsl`, once or over slices and then over their results. The meaning is
//! `reference/reduce.rs`.

use super::row_lanes;
use crate::kernels::launch::program::{self, Program};
use crate::kernels::{Binding, Candidate, DeviceCaps, Dispatch, Kernels, Resource, parameters};
use crate::ops::{PostOp, Reduce, Reduction};

parameters! {
    /// `shaders/elementwise/reduce.wgsl`.
    struct Params {
        kept: [[u32; 4]; 4],
        reduced: [[u32; 4]; 4],
        kept_axes: u32,
        reduced_axes: u32,
        outputs: u32,
        n: u32,
        slices: u32,
        slice: u32,
        count: u32,
        unused_0: u32,
    }
}

/// Numbers of a slice, at least, and slices that occupy a device.
const SLICE: usize = 2048;
const MANY_SLICES: usize = 1024;

/// Iterations of a lane, at most: drivers end longer loops.
const TURNS: usize = 32_768;

impl Kernels for Reduce {
    fn candidates(&self, _: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        let (outputs, n) = (self.output.shape().elements(), self.count());
        let launch = Launch::new(self);
        let most_lanes = 256.min(1 << caps.invocations.max(1).ilog2());
        let needed = n.div_ceil(most_lanes * TURNS);
        let wanted = (MANY_SLICES / outputs.max(1)).min(n / SLICE).max(1);
        let mut counts = vec![wanted.max(needed), needed];
        counts.dedup();
        let mut candidates = Vec::new();
        for slices in counts {
            let slice = n.div_ceil(slices);
            let slices = n.div_ceil(slice);
            let mut shapes = row_lanes::shapes(slice, caps);
            if !launch.along_rows() && outputs * slices >= MANY_SLICES * 16 && slice <= TURNS {
                // Neighbouring outputs occupy the device.
                let one = shapes.iter().position(|shape| shape[0] == 1);
                shapes.rotate_left(one.unwrap_or(0));
            }
            candidates.extend(shapes.into_iter().map(|shape| candidate(self, &launch, [slices, slice], shape, caps)));
        }
        candidates
    }
}

fn candidate(
    op: &Reduce,
    launch: &Launch,
    [slices, slice]: [usize; 2],
    [lanes, rows]: [u32; 2],
    caps: &DeviceCaps,
) -> Candidate {
    let mut candidate = Candidate {
        label: format!("{}, {slices} slices, {lanes} lanes for a row, {rows} rows", name(op.reduction)),
        dispatches: Vec::new(),
        constants: Vec::new(),
        scratch: Vec::new(),
    };
    let outputs = op.output.shape().elements();
    if outputs == 0 {
        return candidate;
    }
    let (input, output) = (Resource::Input(0), Resource::Output(0));
    if slices == 1 {
        let own = launch.dispatch(op, [1, slice], [lanes, rows], [input, output], [true, true], caps);
        candidate.dispatches.push(own);
        return candidate;
    }
    let partial = candidate.scratch(outputs * slices);
    let first = launch.dispatch(op, [slices, slice], [lanes, rows], [input, partial], [true, false], caps);
    let shape = row_lanes::shapes(slices, caps)[0];
    let of_slices = Launch::rows(outputs, slices);
    let second = of_slices.dispatch(op, [1, slices], shape, [partial, output], [false, true], caps);
    candidate.dispatches = vec![first, second];
    candidate
}

fn name(reduction: Reduction) -> &'static str {
    match reduction {
        Reduction::Sum => "reduce to sums",
        Reduction::Mean => "reduce to means",
        Reduction::Max => "reduce to maxima",
        Reduction::Min => "reduce to minima",
        Reduction::L1 => "reduce to sums of magnitudes",
        Reduction::L2 => "reduce to roots of sums of squares",
    }
}

/// The axes of a launch, those of extent 1 left out and neighbours of a kind merged: extents and strides, innermost first.
struct Launch {
    kept: Vec<[usize; 2]>,
    reduced: Vec<[usize; 2]>,
    outputs: usize,
    n: usize,
}

impl Launch {
    fn new(op: &Reduce) -> Self {
        let (mut kept, mut reduced) = (Vec::<[usize; 2]>::new(), Vec::<[usize; 2]>::new());
        let mut stride = 1;
        for (&extent, &is_reduced) in op.input.dims().iter().zip(&op.reduced).rev() {
            let axes = if is_reduced { &mut reduced } else { &mut kept };
            match axes.last_mut() {
                _ if extent == 1 => {}
                Some([before, step]) if *before * *step == stride => *before *= extent,
                _ => axes.push([extent, stride]),
            }
            stride *= extent;
        }
        Self { kept, reduced, outputs: op.output.shape().elements(), n: op.count() }
    }

    /// The reduction of whole rows.
    fn rows(outputs: usize, n: usize) -> Self {
        Self { kept: vec![[outputs, n]], reduced: vec![[n, 1]], outputs, n }
    }

    /// True if neighbouring numbers are reduced to one.
    fn along_rows(&self) -> bool {
        self.reduced.first().is_none_or(|&[_, stride]| stride == 1)
    }

    /// `is` tells if the launch reads the op's own numbers, and if it writes its outputs.
    fn dispatch(
        &self,
        op: &Reduce,
        [slices, slice]: [usize; 2],
        [lanes, rows]: [u32; 2],
        [input, output]: [Resource; 2],
        is: [bool; 2],
        caps: &DeviceCaps,
    ) -> Dispatch {
        let axes = |axes: &[[usize; 2]]| {
            let mut words = [[0; 4]; 4];
            words.iter_mut().zip(axes).for_each(|(to, from)| *to = [from[0] as u32, from[1] as u32, 0, 0]);
            words
        };
        let params = Params {
            kept: axes(&self.kept),
            reduced: axes(&self.reduced),
            kept_axes: self.kept.len() as u32,
            reduced_axes: self.reduced.len() as u32,
            outputs: self.outputs as u32,
            n: self.n as u32,
            slices: slices as u32,
            slice: slice as u32,
            count: (op.count() as f32).to_bits(),
            unused_0: 0,
        };
        let (each, finish) = match op.reduction {
            Reduction::Mean => (0u32, 1u32),
            Reduction::L1 => (1, 0),
            Reduction::L2 => (2, 2),
            Reduction::Sum | Reduction::Max | Reduction::Min => (0, 0),
        };
        let [is_first, is_last] = is;
        let program = Program::new(&program::REDUCE)
            .with(&program::ROW_LANES)
            .constant("LANES", lanes)
            .constant("ROWS", rows)
            .constant("ALONG_ROWS", self.along_rows())
            .constant("ONE_AXIS", self.reduced.len() <= 1)
            .constant("EACH", if is_first { each } else { 0 })
            .constant("FINISH", if is_last { finish } else { 0 })
            .constant("EXTREME", matches!(op.reduction, Reduction::Max | Reduction::Min))
            // Each launch negates what it reads and what it writes.
            .constant("NEGATED", op.reduction == Reduction::Min);
        let groups = (self.outputs * slices).div_ceil(rows as usize);
        let bindings = [Binding::read(1, input), Binding::write(6, output)];
        Dispatch::new(program, &params, Params::FIELDS, bindings, groups, caps).operations([self.outputs, self.n])
    }
}
