//! Candidates of the ops that move elements: `ops::{Transpose, Slice, Pad}` and the nearest-neighbour `ops::Resize`. They run
//! `shaders/layout/rearrange.wgsl`, or `shaders/layout/copy_rows.wgsl` for rows that stay whole. Their meaning is
//! `reference/transpose.rs`, `slice.rs`, `pad.rs` and `resize.rs`.

use super::moved::{Entry, Moved};
use crate::kernels::launch::program::{self, Program};
use crate::kernels::{
    Binding, Candidate, Constant, DeviceCaps, Dispatch, Kernels, Resource, epilogue, line_candidates, parameters,
};
use crate::ops::{Indices, Interpolation, Pad, PadMode, PostOp, Resize, Slice, Transpose};

impl Kernels for Slice {
    fn candidates(&self, _: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        let op = self.clone();
        candidates(&Moves::slice(self), move || tables(&Moves::slice(&op)), caps)
    }
}

impl Kernels for Pad {
    fn candidates(&self, _: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        let op = self.clone();
        candidates(&Moves::pad(self), move || tables(&Moves::pad(&op)), caps)
    }
}

parameters! {
    /// `shaders/layout/params.wgsl`.
    struct Params {
        outer: [[u32; 4]; 7],
        inner: [u32; 4],
        axes: u32,
        n: u32,
        output_words: u32,
        invocations: u32,
        word: u32,
        element: u32,
        fill: u32,
        scale: u32,
        zero_point: i32,
        low: i32,
        high: i32,
        unused: u32,
    }
}

const NO_TABLE: u32 = u32::MAX;
const NOWHERE: u32 = u32::MAX;

/// An op that moves elements: for each axis of the output, the axis of the input that it follows, and the map of indices.
pub(crate) struct Moves<'a> {
    name: &'static str,
    moved: Moved<'a>,
    axes: Vec<(usize, AxisMap<'a>)>,
    /// The bits of an element that no input maps to.
    fill: u32,
}

/// The map from indices of an output axis to indices of the input.
enum AxisMap<'a> {
    /// `begin + step · i`
    Line { begin: i64, step: i64 },
    /// The input's index for each output index, or none. They are listed only when a device needs them.
    Table(Box<dyn Fn(usize) -> Option<usize> + 'a>),
}

impl<'a> AxisMap<'a> {
    const ALL: Self = Self::Line { begin: 0, step: 1 };

    /// The map of a list: a line if its indices are equally spaced.
    fn of(list: &'a [usize]) -> Self {
        let step = match list {
            [a, b, ..] => *b as i64 - *a as i64,
            _ => 1,
        };
        let begin = list.first().map_or(0, |&first| first as i64);
        let on_line = |(i, &at): (usize, &usize)| at as i64 == begin + step * i as i64;
        if list.iter().enumerate().all(on_line) {
            Self::Line { begin, step }
        } else {
            Self::Table(Box::new(|i| Some(list[i])))
        }
    }
}

impl<'a> Moves<'a> {
    pub(crate) fn transpose(op: &'a Transpose, post_op: Option<&'a PostOp>) -> Self {
        let axes = op.order().iter().map(|&axis| (axis, AxisMap::ALL)).collect();
        Self { name: "transpose", moved: Moved::new(op.input(), op.output(), post_op), axes, fill: 0 }
    }

    pub(crate) fn slice(op: &'a Slice) -> Self {
        let along = |(axis, indices): (usize, &'a Indices)| match indices {
            Indices::Line { begin, step } => (axis, AxisMap::Line { begin: *begin as i64, step: *step as i64 }),
            Indices::List(list) => (axis, AxisMap::of(list)),
        };
        let axes = op.indices().iter().enumerate().map(along).collect();
        Self { name: "slice", moved: Moved::new(op.input(), op.output(), None), axes, fill: 0 }
    }

    pub(crate) fn pad(op: &'a Pad) -> Self {
        let along = |axis: usize| {
            let (begin, extent) = (op.begin()[axis], op.input().dims()[axis]);
            if op.output().dims()[axis] == extent {
                return (axis, AxisMap::ALL);
            }
            let source = move |i: usize| {
                let is_inside = (begin..begin + extent).contains(&i);
                match op.mode() {
                    _ if is_inside => Some(i - begin),
                    PadMode::Zero | PadMode::Code(_) => None,
                    PadMode::Edge => Some(if i < begin { 0 } else { extent - 1 }),
                    PadMode::Reflect => Some(if i < begin { begin - i } else { 2 * extent + begin - 2 - i }),
                }
            };
            (axis, AxisMap::Table(Box::new(source)))
        };
        let axes = (0..op.input().shape().rank()).map(along).collect();
        Self { name: "pad", moved: Moved::new(op.input(), op.output(), None), axes, fill: op.fill() as u32 }
    }

    /// The moves of a nearest-neighbour resize; `None` for other interpolations.
    pub(crate) fn resize(op: &'a Resize) -> Option<Self> {
        let Interpolation::Nearest(rounding) = op.interpolation() else { return None };
        let along = |axis: usize| match axis {
            axis if (1..=op.spatial()).contains(&axis) => match op.nearest_line(rounding, axis) {
                Some((begin, step)) => (axis, AxisMap::Line { begin, step }),
                None => (axis, AxisMap::Table(Box::new(move |i| Some(op.nearest_index(rounding, axis, i))))),
            },
            axis => (axis, AxisMap::ALL),
        };
        let axes = (0..op.input().shape().rank()).map(along).collect();
        Some(Self { name: "nearest", moved: Moved::new(op.input(), op.output(), None), axes, fill: 0 })
    }
}

/// An axis of the output in the numbers of the loop.
struct Axis<'a> {
    extent: usize,
    /// Distance in the input per index, in words, or in elements along the input's last axis. With a table it is the distance per
    /// input index.
    step: i64,
    table: Option<&'a dyn Fn(usize) -> Option<usize>>,
    in_elements: bool,
}

/// All axes in these numbers, outermost first, merged as far as possible, and the input position of the first element: words, and
/// elements beyond.
struct Path<'a> {
    outer: Vec<Axis<'a>>,
    inner: Axis<'a>,
    word: i64,
    element: i64,
}

impl<'a> Path<'a> {
    fn new(moves: &'a Moves<'_>) -> Self {
        let input = moves.moved.input.dims();
        let last = input.len().saturating_sub(1);
        let stride = |axis: usize| -> i64 {
            let between: usize = input[(axis + 1).min(last)..last].iter().product();
            if axis == last { 1 } else { between as i64 * i64::from(epilogue::row_words(moves.moved.input)) }
        };
        let (mut word, mut element) = (0, 0);
        let mut axes: Vec<Axis<'_>> = Vec::new();
        for (&extent, (axis, along)) in moves.moved.output.dims().iter().zip(&moves.axes) {
            let (stride, in_elements) = (stride(*axis), *axis == last);
            let (step, table) = match along {
                AxisMap::Line { begin, step } => {
                    *(if in_elements { &mut element } else { &mut word }) += begin * stride;
                    (step * stride, None)
                }
                AxisMap::Table(table) => (stride, Some(&**table)),
            };
            axes.push(Axis { extent, step, table, in_elements });
        }
        let scalar = Axis { extent: 1, step: 0, table: None, in_elements: true };
        let inner = axes.pop().unwrap_or(scalar);
        let mut outer: Vec<Axis<'_>> = Vec::new();
        for axis in axes {
            // Merges two neighbours whose elements are equally spaced.
            if let Some(before) = outer.last_mut()
                && [&*before, &axis].iter().all(|axis| axis.table.is_none() && !axis.in_elements)
                && before.step == axis.step * axis.extent as i64
            {
                (before.extent, before.step) = (before.extent * axis.extent, axis.step);
            } else {
                outer.push(axis);
            }
        }
        Self { outer, inner, word, element }
    }

    /// All tables, the innermost axis first.
    fn tables(&self) -> Vec<u32> {
        let mut entries = Vec::new();
        for axis in self.axes() {
            let entry = |at: usize| (at as i64 * axis.step) as u32;
            let table = axis.table.iter().flat_map(|table| (0..axis.extent).map(|i| table(i).map_or(NOWHERE, entry)));
            entries.extend(table);
        }
        entries
    }

    fn tables_words(&self) -> usize {
        self.axes().filter(|axis| axis.table.is_some()).map(|axis| axis.extent).sum()
    }

    fn axes(&self) -> impl Iterator<Item = &Axis<'a>> {
        std::iter::once(&self.inner).chain(self.outer.iter().rev())
    }

    /// True if each row is a row of the input, from a whole vec4 on.
    fn copies_rows(&self, bits: usize) -> bool {
        let is_row = self.inner.in_elements && self.inner.table.is_none() && self.inner.step == 1;
        bits < 32 && is_row && (self.element as usize * bits).is_multiple_of(128)
    }
}

/// The candidates of moves. `tables` lists the [`tables`] of equal moves.
pub(crate) fn candidates(
    moves: &Moves<'_>,
    tables: impl Fn() -> Vec<u32> + Send + Sync + 'static,
    caps: &DeviceCaps,
) -> Vec<Candidate> {
    let path = Path::new(moves);
    let count = path.tables_words();
    let tables = (count > 0).then(|| Constant::new("axis tables", count, tables));
    let tables = tables.as_slice();
    let mut candidates = Vec::new();
    if moves.moved.post_op.is_none() && path.copies_rows(moves.moved.input.dtype().bits()) {
        candidates.extend(launches(moves, &path, true, tables, caps));
    }
    candidates.extend(launches(moves, &path, false, tables, caps));
    candidates
}

/// The tables of all axes that have one, the innermost axis first.
pub(crate) fn tables(moves: &Moves<'_>) -> Vec<u32> {
    Path::new(moves).tables()
}

fn launches(
    moves: &Moves<'_>,
    path: &Path<'_>,
    by_vecs: bool,
    tables: &[Constant],
    caps: &DeviceCaps,
) -> Vec<Candidate> {
    let (output, [_, bits]) = (moves.moved.output, moves.moved.bits());
    let words = output.shape().rows() * epilogue::row_words(output) as usize;
    let invocations = if by_vecs { words / 4 } else { words };
    let mut first_entry = 0;
    let mut axis = |axis: &Axis<'_>| {
        let extent = axis.extent as u32;
        let [step, table] = match axis.table {
            None => [axis.step as u32, NO_TABLE],
            Some(_) => {
                first_entry += extent;
                [0, first_entry - extent]
            }
        };
        [extent, step, table, axis.in_elements.into()]
    };
    let inner = axis(&path.inner);
    let mut outer = [[0; 4]; 7];
    path.outer.iter().rev().zip(&mut outer).for_each(|(from, to)| *to = axis(from));
    // Whole rows begin at a whole word.
    let (word, element) =
        if by_vecs { (path.word + path.element * i64::from(bits) / 32, 0) } else { (path.word, path.element) };
    let mask = u32::MAX >> (32 - bits);
    let fill = moves.fill & mask;
    let Entry { scale, zero_point, low, high } = moves.moved.entry();
    let params = Params {
        outer,
        inner,
        axes: path.outer.len() as u32,
        n: output.shape().row_length() as u32,
        output_words: epilogue::row_words(output),
        invocations: invocations as u32,
        word: word as u32,
        element: element as u32,
        fill: if by_vecs { fill * (u32::MAX / mask) } else { fill },
        scale,
        zero_point,
        low,
        high,
        unused: 0,
    };
    let has_tables = !tables.is_empty();
    let name = if by_vecs { format!("{} of rows", moves.name) } else { moves.name.to_string() };
    line_candidates(&name, invocations, tables, caps, |group, groups| {
        let along = if has_tables { &program::AXIS_MAP_TABLE } else { &program::AXIS_MAP_LINE };
        let program = match by_vecs {
            true => Program::new(&program::COPY_ROWS).constant("BITS", bits),
            false => moves.moved.link(Program::new(&program::REARRANGE)),
        };
        let program = program.with(along).constant("GROUP_X", group);
        let bindings = [Binding::read(1, Resource::Input(0)), Binding::write(6, Resource::Output(0))];
        let tables = has_tables.then_some(Binding::read(5, Resource::Constant(0)));
        let bindings = bindings.into_iter().chain(tables);
        Dispatch::new(program, &params, Params::FIELDS, bindings, groups, caps).operations([output.shape().elements()])
    })
}
