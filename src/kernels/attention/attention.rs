//! Candidates of `ops::Attention`: `shaders/attention/attention.wgsl`, and `join.wgsl` if the cache is divided into slices. The
//! meaning is `reference/attention.rs`.

use crate::kernels::launch::program::{self, Part, Program};
use crate::kernels::{Binding, Candidate, Constant, DeviceCaps, Dispatch, Kernels, Resource, line_group, parameters};
use crate::numeric::DType;
use crate::ops::{Attention, PostOp};

parameters! {
    /// `shaders/attention/params.wgsl`.
    struct Params {
        tokens: i32,
        heads: u32,
        cache_heads: u32,
        group: u32,
        capacity: i32,
        window: i32,
        causal: u32,
        slice: i32,
        slices: u32,
        row_blocks: u32,
        d: u32,
        value_d: u32,
        scale: u32,
        soft_cap: u32,
        unused_0: u32,
        unused_1: u32,
    }
}

/// Rows of a workgroup, and lanes.
const SHAPES: [[usize; 2]; 7] = [[1, 32], [1, 64], [2, 64], [4, 64], [8, 64], [4, 32], [8, 32]];

/// Blocks of positions in a slice, at least.
const LEAST_BLOCKS: usize = 2;

/// Rows and lanes of a workgroup, and the slices of a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    rows: usize,
    lanes: usize,
    slices: usize,
}

impl Kernels for Attention {
    fn candidates(&self, _: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        if self.output().shape().elements() == 0 {
            let label = "attention of nothing".to_string();
            return vec![Candidate { label, dispatches: vec![], constants: vec![], scratch: vec![] }];
        }
        let mut candidates: Vec<Candidate> = Vec::new();
        for shape in shapes(self, caps) {
            let candidate = candidate(self, shape, caps);
            if !candidates.iter().any(|other| other.label == candidate.label) {
                candidates.push(candidate);
            }
        }
        candidates
    }
}

/// The shapes that a device allows, best guess first.
fn shapes(op: &Attention, caps: &DeviceCaps) -> Vec<Shape> {
    let ([tokens, heads, _], [capacity, kv_heads, _]) = (op.query_dims(), op.value_dims());
    let rows_of_head = tokens * heads / kv_heads;
    // Rows that would be empty cost as much as others.
    let wanted = rows_of_head.next_power_of_two().min(8);
    let allowed = |&[rows, lanes]: &[usize; 2]| {
        lanes <= caps.invocations as usize && workgroup_bytes(op, rows, lanes) <= caps.workgroup_bytes as usize
    };
    let mut shapes: Vec<[usize; 2]> = SHAPES.into_iter().filter(allowed).collect();
    if shapes.is_empty() {
        shapes.push([1, 1 << caps.invocations.clamp(1, 32).ilog2()]);
    }
    shapes.sort_by_key(|&[rows, lanes]| (rows.abs_diff(wanted), lanes.abs_diff(caps.lanes as usize)));
    let divided = |&[rows, lanes]: &[usize; 2]| {
        let groups = rows_of_head.div_ceil(rows) * kv_heads;
        let most = capacity.div_ceil(lanes * LEAST_BLOCKS).max(1);
        let slices = (caps.target_invocations as usize).div_ceil(lanes * groups).clamp(1, most);
        // The other choice is for the tuner: the context may be short, or the device small.
        let other = if slices == 1 { most.min(4) } else { 1 };
        [slices, other].map(|slices| Shape { rows, lanes, slices })
    };
    let all: Vec<[Shape; 2]> = shapes.iter().map(divided).collect();
    all.iter().map(|both| both[0]).chain(all.iter().take(2).map(|both| both[1])).collect()
}

/// The workgroup memory of `shaders/attention/attention.wgsl`.
fn workgroup_bytes(op: &Attention, rows: usize, lanes: usize) -> usize {
    let quads = op.query_dims()[2].div_ceil(4);
    16 * rows * quads + 8 * rows * lanes + 4 * rows * (lanes / rows).max(1) + 16 * lanes + 16
}

fn candidate(op: &Attention, shape: Shape, caps: &DeviceCaps) -> Candidate {
    let ([tokens, heads, d], [capacity, kv_heads, value_d]) = (op.query_dims(), op.value_dims());
    let Shape { rows, lanes, .. } = shape;
    // Slices are whole blocks of positions.
    let slice = capacity.div_ceil(shape.slices).next_multiple_of(lanes).max(lanes);
    let slices = capacity.div_ceil(slice).max(1);
    let (group, quads, value_quads) = (heads / kv_heads, d.div_ceil(4), value_d.div_ceil(4));
    let row_blocks = (tokens * group).div_ceil(rows);
    let options = op.options();
    let params = Params {
        tokens: tokens as i32,
        heads: heads as u32,
        cache_heads: kv_heads as u32,
        group: group as u32,
        capacity: capacity as i32,
        window: options.window.map_or(0, |window| window as i32),
        causal: options.causal.into(),
        slice: slice as i32,
        slices: slices as u32,
        row_blocks: row_blocks as u32,
        d: d as u32,
        value_d: value_d as u32,
        scale: op.scale().to_bits(),
        soft_cap: options.soft_cap.map_or(0, f32::to_bits),
        unused_0: 0,
        unused_1: 0,
    };
    let mut candidate = Candidate {
        label: match slices {
            1 => format!("attention of {rows} rows, {lanes} positions at a time"),
            _ => format!("attention of {rows} rows, {lanes} positions at a time, {slices} slices"),
        },
        dispatches: vec![],
        constants: vec![],
        scratch: vec![],
    };
    let sinks = options.sinks.as_ref().map(|sinks| candidate.constant(Constant::floats("sinks", sinks)));
    let sinks_part = if sinks.is_some() { &program::SINKS } else { &program::SINKS_NONE };
    let finish = sinks.map(|sinks| Binding::read(5, sinks));
    let result = match slices {
        1 => Resource::Output(0),
        _ => candidate.scratch(slices * tokens * heads * (4 * value_quads + 2)),
    };
    let subsets = (lanes / value_quads).max(1);
    let program = Program::new(&program::ATTENTION)
        .with(cache_part(op))
        .with(sinks_part)
        .constant("LANES", lanes as u32)
        .constant("ROWS", rows as u32)
        .constant("QUADS", quads as u32)
        .constant("VALUE_QUADS", value_quads as u32)
        .constant("LANE_QUADS", value_quads.div_ceil(lanes) as u32)
        .constant("SUBSETS", subsets as u32)
        .constant("SPLIT", slices > 1);
    let program = with_float16(program, op, caps);
    let bindings = [
        Binding::read(1, Resource::Input(0)),
        Binding::read(2, Resource::Input(1)),
        Binding::read(3, Resource::Input(3)),
        Binding::read(4, Resource::Input(2)),
        Binding::write(6, result),
    ];
    let bindings = bindings.into_iter().chain(finish);
    let groups = row_blocks * kv_heads * slices;
    let dispatch = Dispatch::new(program, &params, Params::FIELDS, bindings, groups, caps).operations([
        2,
        tokens,
        heads,
        capacity,
        d + value_d,
    ]);
    candidate.dispatches.push(dispatch);
    if slices > 1 {
        let group = line_group(caps);
        let program = Program::new(&program::ATTENTION_JOIN)
            .with(sinks_part)
            .constant("GROUP_X", group)
            .constant("VALUE_QUADS", value_quads as u32);
        let bindings =
            [Binding::read(1, result), Binding::read(3, Resource::Input(3)), Binding::write(6, Resource::Output(0))];
        let elements = op.output().shape().elements();
        let dispatch = Dispatch::new(
            program,
            &params,
            Params::FIELDS,
            bindings.into_iter().chain(finish),
            elements.div_ceil(group as usize),
            caps,
        );
        candidate.dispatches.push(dispatch.operations([2, slices, elements]));
    }
    candidate
}

/// The part that reads caches of these types.
fn cache_part(op: &Attention) -> &'static Part {
    match op.keys().dtype() {
        DType::Float16 => &program::CACHE_FLOAT16,
        _ if op.query_dims()[2].is_multiple_of(4) && op.value_dims()[2].is_multiple_of(4) => &program::CACHE_VEC4,
        _ => &program::CACHE_FLOAT32,
    }
}

fn with_float16(program: Program, op: &Attention, caps: &DeviceCaps) -> Program {
    match op.values().dtype() {
        DType::Float16 if caps.unpack_f16 => program.with(&program::FLOAT16_UNPACK),
        DType::Float16 => program.with(&program::FLOAT16_INTEGERS),
        _ => program,
    }
}
