//! Candidates of `ops::Attention`: `shaders/attention/attention.wgsl`, then `join.wgsl` if positions are divided into slices; or
//! three passes, `scores.wgsl`, `powers.wgsl` and `weighted_values.wgsl`. The meaning is `reference/attention.rs`.

use crate::kernels::convert::quantize;
use crate::kernels::launch::program::{self, Part, Program};
use crate::kernels::{
    Binding, Candidate, Constant, DeviceCaps, Dispatch, Kernels, Resource, epilogue, line_group, parameters,
};
use crate::numeric::DType;
use crate::ops::{Attention, Cache, DynamicQuantize, PostOp};

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
        slices: u32,
        row_blocks: u32,
        d: u32,
        value_d: u32,
        scale: u32,
        soft_cap: u32,
        mask_head: u32,
        mask_token: u32,
        code_words: u32,
        low: i32,
        high: i32,
        unused_0: u32,
        unused_1: u32,
    }
}

/// Rows and lanes of a workgroup that shares keys and values.
const SHARED: [[usize; 2]; 5] = [[1, 64], [2, 64], [4, 64], [8, 64], [4, 32]];

/// Rows and positions of an invocation of three passes.
const PASSES: [[usize; 2]; 3] = [[4, 2], [3, 4], [1, 4]];

/// Words of a query and head before its scores between passes: `PASS_HEADER` of `shaders/attention/pass_rows.wgsl`.
const PASS_HEADER: usize = 3;

/// Words of scores between passes, at most.
const MOST_SCORES: usize = 1 << 24;

/// The division of the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tile {
    /// A workgroup of lanes shares rows; each lane has a position. Slices take blocks of positions in turn.
    Shared { rows: usize, lanes: usize, slices: usize },
    /// Scores, powers and sums in a launch each, without workgroup memory.
    Passes { rows: usize, positions: usize },
}

impl Kernels for Attention {
    fn candidates(&self, post_op: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        if self.output().shape().elements() == 0 {
            let label = "attention of nothing".to_string();
            return vec![Candidate::new(label)];
        }
        let codes = match post_op {
            Some(PostOp::DynamicQuantize(codes)) => Some(codes),
            _ => None,
        };
        let candidate = |tile| match codes {
            Some(codes) if !makes_codes(self, tile, caps) => {
                let quantize = codes.candidates(None, caps).swap_remove(0);
                let elements = self.output().shape().elements();
                candidate(self, tile, None, caps).followed_by(elements, quantize, |resource| match resource {
                    Resource::Input(_) => None,
                    resource => Some(resource),
                })
            }
            codes => candidate(self, tile, codes, caps),
        };
        tiles(self, caps).into_iter().map(candidate).collect()
    }
}

/// True if the last launch of a tile can quantize: it has a whole row of numbers, and there is a binding for scales.
fn makes_codes(op: &Attention, tile: Tile, caps: &DeviceCaps) -> bool {
    match tile {
        Tile::Shared { lanes, slices: 1, .. } => {
            op.value_dims()[2].div_ceil(4) <= lanes && shared_bindings(op) < caps.storage_buffers as usize
        }
        Tile::Shared { .. } => true,
        Tile::Passes { .. } => false,
    }
}

/// The tiles that a device allows, best guess first.
fn tiles(op: &Attention, caps: &DeviceCaps) -> Vec<Tile> {
    let ([tokens, heads, _], [capacity, kv_heads, _]) = (op.query_dims(), op.value_dims());
    let rows_of_head = tokens * heads / kv_heads;
    let fits = |&[rows, lanes]: &[usize; 2]| {
        lanes <= caps.invocations as usize && workgroup_bytes(op, rows, lanes) <= caps.workgroup_bytes as usize
    };
    // Rows that would be empty cost as much as others.
    let mut shared: Vec<[usize; 2]> = SHARED.into_iter().filter(fits).collect();
    shared.sort_by_key(|&[rows, lanes]| {
        (rows.abs_diff(rows_of_head.next_power_of_two().min(8)), lanes.abs_diff(caps.lanes as usize))
    });
    let shared = shared.into_iter().map(|[rows, lanes]| {
        let invocations = rows_of_head.div_ceil(rows) * kv_heads * lanes;
        let slices = (caps.target_invocations as usize).div_ceil(invocations);
        Tile::Shared { rows, lanes, slices: slices.clamp(1, capacity.div_ceil(2 * lanes).max(1)) }
    });
    let mut passes = PASSES;
    passes.sort_by_key(|&[rows, _]| (rows_of_head.div_ceil(rows) * rows, usize::MAX - rows));
    let few = pass_words(op).is_some_and(|words| words <= MOST_SCORES);
    let passes: Vec<Tile> = passes.into_iter().map(|[rows, positions]| Tile::Passes { rows, positions }).collect();
    let mut tiles: Vec<Tile> = shared.filter(|_| shared_bindings(op) <= caps.storage_buffers as usize).collect();
    // The other choice of the best tile is for the tuner: the context may be short, or the device small.
    if let Some(&Tile::Shared { rows, lanes, slices }) = tiles.first() {
        tiles.push(Tile::Shared { rows, lanes, slices: if slices == 1 { 4 } else { 1 } });
    }
    if few || tiles.is_empty() {
        let at = if caps.is_gpu() { tiles.len() } else { 0 };
        tiles.splice(at..at, passes);
    }
    tiles
}

/// The storage buffers of `shaders/attention/attention.wgsl`: query, keys, values, position and output, and those of options.
fn shared_bindings(op: &Attention) -> usize {
    let scales = if op.scales(Cache::Keys).is_some() { 2 } else { 0 };
    5 + scales + usize::from(op.options().sinks.is_some()) + usize::from(op.mask().is_some())
}

/// The words between passes; `None` if they can't be counted.
fn pass_words(op: &Attention) -> Option<usize> {
    let ([tokens, heads, _], [capacity, ..]) = (op.query_dims(), op.value_dims());
    let of_row = capacity.checked_mul(op.groups(Cache::Keys))?.checked_add(PASS_HEADER)?;
    tokens.checked_mul(heads)?.checked_mul(of_row)
}

/// The workgroup memory of `shaders/attention/attention.wgsl`.
fn workgroup_bytes(op: &Attention, rows: usize, lanes: usize) -> usize {
    let quads = op.query_dims()[2].div_ceil(4);
    16 * rows * quads + 8 * rows * lanes + 4 * rows * (lanes / rows).max(1) + 16 * lanes + 16
}

fn candidate(op: &Attention, tile: Tile, codes: Option<&DynamicQuantize>, caps: &DeviceCaps) -> Candidate {
    let (label, rows, slices) = match tile {
        Tile::Shared { rows, lanes, slices: 1 } => {
            (format!("attention of {rows} rows, {lanes} positions at a time"), rows, 1)
        }
        Tile::Shared { rows, lanes, slices } => {
            (format!("attention of {rows} rows, {lanes} positions at a time, {slices} slices"), rows, slices)
        }
        Tile::Passes { rows, positions } => {
            (format!("attention in passes, {rows} rows, {positions} positions"), rows, 1)
        }
    };
    let mut candidate = Candidate::new(label);
    let sinks = op.options().sinks.as_ref().map(|sinks| candidate.constant(Constant::floats("sinks", sinks)));
    let launches = Launches {
        op,
        caps,
        rows,
        params: params(op, rows, slices, codes),
        codes,
        sinks: sinks.map(|sinks| Binding::read(5, sinks)),
        mask: op.mask().map(|(input, _)| Binding::read(10, Resource::Input(input))),
    };
    match tile {
        Tile::Shared { lanes, .. } => launches.shared(&mut candidate, lanes),
        Tile::Passes { positions, .. } => launches.passes(&mut candidate, positions),
    }
    candidate
}

fn params(op: &Attention, rows: usize, slices: usize, codes: Option<&DynamicQuantize>) -> Params {
    let ([tokens, heads, d], [capacity, kv_heads, value_d]) = (op.query_dims(), op.value_dims());
    let group = heads / kv_heads;
    let [mask_head, mask_token] = op.mask_strides();
    let (low, high, code_words) = codes.map_or((0, 0, 0), |codes| {
        let (low, high, _) = codes.range();
        (low, high, epilogue::row_words(codes.output()))
    });
    Params {
        tokens: tokens as i32,
        heads: heads as u32,
        cache_heads: kv_heads as u32,
        group: group as u32,
        capacity: capacity as i32,
        window: op.options().window.map_or(0, |window| window as i32),
        causal: op.options().causal.into(),
        slices: slices as u32,
        row_blocks: (tokens * group).div_ceil(rows) as u32,
        d: d as u32,
        value_d: value_d as u32,
        scale: op.scale().to_bits(),
        soft_cap: op.options().soft_cap.map_or(0, f32::to_bits),
        mask_head: mask_head as u32,
        mask_token: mask_token as u32,
        code_words,
        low,
        high,
        ..Params::default()
    }
}

/// The launches of a candidate.
struct Launches<'a> {
    op: &'a Attention,
    caps: &'a DeviceCaps,
    rows: usize,
    params: Params,
    /// What the output is quantized by.
    codes: Option<&'a DynamicQuantize>,
    sinks: Option<Binding>,
    mask: Option<Binding>,
}

impl Launches<'_> {
    /// Quads of a value.
    fn value_quads(&self) -> usize {
        self.op.value_dims()[2].div_ceil(4)
    }

    /// Blocks of rows for all heads of the cache.
    fn blocks(&self) -> usize {
        self.params.row_blocks as usize * self.params.cache_heads as usize
    }

    /// A program with its part of sinks.
    fn finishing(&self, part: &'static Part) -> Program {
        Program::new(part).with(if self.sinks.is_some() { &program::SINKS } else { &program::SINKS_NONE })
    }

    /// A program with the part that reads keys, or values.
    fn reading(&self, program: Program, cache: Cache) -> Program {
        let ([_, _, d], [_, _, value_d]) = (self.op.query_dims(), self.op.value_dims());
        let (of, names, [vec4, float32, float16, int8, int4]) = match cache {
            Cache::Keys => {
                use program::{KEYS_FLOAT16, KEYS_FLOAT32, KEYS_INT4, KEYS_INT8, KEYS_VEC4};
                let names = ["QUADS", "KEY_GROUPS", "KEY_GROUP_QUADS"];
                (d, names, [&KEYS_VEC4, &KEYS_FLOAT32, &KEYS_FLOAT16, &KEYS_INT8, &KEYS_INT4])
            }
            Cache::Values => {
                use program::{VALUES_FLOAT16, VALUES_FLOAT32, VALUES_INT4, VALUES_INT8, VALUES_VEC4};
                let names = ["VALUE_QUADS", "VALUE_GROUPS", "VALUE_GROUP_QUADS"];
                (value_d, names, [&VALUES_VEC4, &VALUES_FLOAT32, &VALUES_FLOAT16, &VALUES_INT8, &VALUES_INT4])
            }
        };
        let part = match self.op.cache(cache).dtype() {
            DType::Float16 => float16,
            DType::Int8 => int8,
            DType::Int4 => int4,
            _ if of.is_multiple_of(4) => vec4,
            _ => float32,
        };
        let quads = of.div_ceil(4);
        let groups = self.op.groups(cache);
        // Groups but the last are whole quads.
        let group_quads = self.op.group_size(cache).div_ceil(4);
        names
            .into_iter()
            .zip([quads, groups, group_quads])
            .fold(program.with(part), |program, (name, value)| program.constant(name, value as u32))
    }

    /// A program with the conversion from float16, if caches need it.
    fn converting(&self, program: Program) -> Program {
        match self.op.cache(Cache::Keys).dtype() {
            DType::Float16 if self.caps.unpack_f16 => program.with(&program::FLOAT16_UNPACK),
            DType::Float16 => program.with(&program::FLOAT16_INTEGERS),
            _ => program,
        }
    }

    /// True if caches hold codes with scales.
    fn is_scaled(&self) -> bool {
        self.op.scales(Cache::Keys).is_some()
    }

    /// A program with the part that reads the scales of keys, or of values, if the program multiplies with any; and their binding.
    fn scaling(&self, program: Program, cache: Cache, here: bool) -> (Program, Option<Binding>) {
        use program::{KEY_SCALES, KEY_SCALES_NONE, VALUE_SCALES, VALUE_SCALES_NONE};
        let (slot, part, none) = match cache {
            Cache::Keys => (8, &KEY_SCALES, &KEY_SCALES_NONE),
            Cache::Values => (9, &VALUE_SCALES, &VALUE_SCALES_NONE),
        };
        match self.op.scales(cache).filter(|_| here) {
            Some(input) => (program.with(part), Some(Binding::read(slot, Resource::Input(input)))),
            None => (program.with(none), None),
        }
    }

    /// A program with the part that adds the mask.
    fn masking(&self, program: Program) -> Program {
        program.with(if self.mask.is_some() { &program::MASK } else { &program::MASK_NONE })
    }

    /// A program whose numbers are quantized.
    fn quantizing(&self, program: Program, codes: &DynamicQuantize, lanes: u32) -> Program {
        let quads = codes.segments().length / 4;
        quantize::link_codes(program, codes.output().dtype())
            .constant("CODE_QUADS", quads as u32)
            .constant("SYMMETRIC", true)
            .constant("LANES", lanes)
    }

    /// The bindings of the output: numbers, or codes and their scales.
    fn outputs(&self) -> impl Iterator<Item = Binding> {
        (0..1 + usize::from(self.codes.is_some())).map(|i| Binding::write(6 + i as u32, Resource::Output(i)))
    }

    fn launch(&self, program: Program, bindings: &[Binding], invocations: usize, group: usize) -> Dispatch {
        Dispatch::new(
            program,
            &self.params,
            Params::FIELDS,
            bindings.iter().copied(),
            invocations.div_ceil(group),
            self.caps,
        )
    }

    /// One launch, and another that joins slices.
    fn shared(&self, candidate: &mut Candidate, lanes: usize) {
        let ([tokens, heads, d], [capacity, _, value_d]) = (self.op.query_dims(), self.op.value_dims());
        let (value_quads, slices) = (self.value_quads(), self.params.slices as usize);
        let partials = (slices > 1).then(|| candidate.scratch(slices * tokens * heads * (4 * value_quads + 2)));
        let program = self.masking(self.converting(self.finishing(&program::ATTENTION)));
        let (program, key_scales) = self.scaling(program, Cache::Keys, true);
        let (program, value_scales) = self.scaling(program, Cache::Values, true);
        let program = self.reading(program, Cache::Keys);
        let program = self
            .reading(program, Cache::Values)
            .constant("ROWS", self.rows as u32)
            .constant("SOFT_CAP", self.op.options().soft_cap.is_some())
            .constant("LANE_QUADS", value_quads.div_ceil(lanes) as u32)
            .constant("SUBSETS", (lanes / value_quads).max(1) as u32)
            .constant("SPLIT", slices > 1);
        let mut bindings = vec![
            Binding::read(1, Resource::Input(0)),
            Binding::read(2, Resource::Input(1)),
            Binding::read(3, Resource::Input(3)),
            Binding::read(4, Resource::Input(2)),
        ];
        let program = match (partials, self.codes) {
            (None, Some(codes)) => self.quantizing(program.with(&program::FINISH_CODES), codes, lanes as u32),
            _ => program.with(&program::FINISH_FLOATS).constant("LANES", lanes as u32),
        };
        match partials {
            Some(partials) => bindings.push(Binding::write(6, partials)),
            None => bindings.extend(self.outputs()),
        }
        bindings.extend([self.sinks, self.mask, key_scales, value_scales].into_iter().flatten());
        let launch = self.launch(program, &bindings, self.blocks() * slices, 1);
        candidate.dispatches.push(launch.operations([2, tokens, heads, capacity, d + value_d]));
        if let Some(partials) = partials {
            let group = line_group(self.caps);
            let (program, elements) = match self.codes {
                None => (self.finishing(&program::ATTENTION_JOIN), value_d),
                Some(codes) => {
                    let program = self.finishing(&program::ATTENTION_JOIN_CODES);
                    (self.quantizing(program, codes, 1).constant("ROWS", 1u32), value_d / codes.segments().length)
                }
            };
            let program = program.constant("GROUP_X", group).constant("VALUE_QUADS", value_quads as u32);
            let mut bindings = vec![Binding::read(1, partials)];
            bindings.extend(self.outputs());
            bindings.extend(self.sinks);
            let launch = self.launch(program, &bindings, tokens * heads * elements, group as usize);
            candidate.dispatches.push(launch.operations([2, slices, tokens, heads, value_d]));
        }
    }

    /// Three launches with scores between them.
    fn passes(&self, candidate: &mut Candidate, positions: usize) {
        let ([tokens, heads, d], [capacity, _, value_d]) = (self.op.query_dims(), self.op.value_dims());
        let (value_quads, group) = (self.value_quads(), line_group(self.caps));
        let scores = candidate.scratch(pass_words(self.op).unwrap_or(usize::MAX / 8));
        let soft_cap = self.op.options().soft_cap.is_some();
        let linked = |program: Program| program.constant("GROUP_X", group);

        let program = self.converting(linked(Program::new(&program::ATTENTION_SCORES)));
        let program = self
            .reading(program, Cache::Keys)
            .constant("ROWS", self.rows as u32)
            .constant("POSITIONS", positions as u32)
            .constant("SOFT_CAP", soft_cap && !self.is_scaled());
        let bindings = [
            Binding::read(1, Resource::Input(0)),
            Binding::read(2, Resource::Input(1)),
            Binding::read(3, Resource::Input(3)),
            Binding::write(6, scores),
        ];
        let blocks = self.blocks() * capacity.div_ceil(positions).max(1);
        let launch = self.launch(program, &bindings, blocks, group as usize);
        candidate.dispatches.push(launch.operations([2, tokens, heads, capacity, d]));

        // Scales of keys meet their sums here, and single ones of values the powers, which are fewer than values. With a mask they meet
        // the values, so that no launch has more than four bindings.
        let early = self.op.groups(Cache::Values) == 1 && self.mask.is_none();
        let key_groups = self.op.groups(Cache::Keys) as u32;
        let program = self.masking(linked(self.finishing(&program::ATTENTION_POWERS)));
        let (program, key_scales) = self.scaling(program, Cache::Keys, true);
        let (program, value_scales) = self.scaling(program, Cache::Values, early);
        let program = program.constant("SCALED", self.is_scaled()).constant("SOFT_CAP", soft_cap);
        let program = program.constant("KEY_GROUPS", key_groups);
        let bindings = [Some(Binding::write(6, scores)), key_scales, value_scales, self.sinks, self.mask];
        let bindings: Vec<Binding> = bindings.into_iter().flatten().collect();
        let launch = self.launch(program, &bindings, tokens * heads, group as usize);
        candidate.dispatches.push(launch.operations([3, tokens, heads, capacity]));

        let program = self.converting(linked(Program::new(&program::ATTENTION_VALUES)));
        let (program, value_scales) = self.scaling(program, Cache::Values, !early);
        let program = self.reading(program, Cache::Values).constant("ROWS", self.rows as u32);
        let program = program.constant("KEY_GROUPS", key_groups);
        let bindings = [
            Some(Binding::read(1, scores)),
            Some(Binding::read(4, Resource::Input(2))),
            Some(Binding::write(6, Resource::Output(0))),
            value_scales,
        ];
        let bindings: Vec<Binding> = bindings.into_iter().flatten().collect();
        let launch = self.launch(program, &bindings, self.blocks() * value_quads, group as usize);
        candidate.dispatches.push(launch.operations([2, tokens, heads, capacity, value_d]));
    }
}
