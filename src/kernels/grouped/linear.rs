//! Candidates of `ops::Linear` and `ops::JointLinear`: `shaders/grouped/linear.wgsl` in several tile sizes, after
//! `shaders/grouped/gather_columns.wgsl` if weights are packed with padding or in another order of columns. The meaning is `reference/linear.rs`.

use std::sync::Arc;

use super::weights::{self, Panels};
use crate::kernels::elementwise::float_unary;
use crate::kernels::gemm::bytes::{Dot, int8_shift};
use crate::kernels::gemm::coop;
use crate::kernels::gemm::tiling::{Tile, Tiling, rows_first};
use crate::kernels::heuristics::{gated_tiles, linear_tiles};
use crate::kernels::launch::program::{self, Part, Program};
use crate::kernels::{
    Binding, Candidate, Constant, DeviceCaps, Dispatch, Kernels, Resource, epilogue, line_group, parameters,
};
use crate::numeric::DType;
use crate::ops::{
    Arithmetic, FloatBinary, FloatUnary, Function, Fused, JointLinear, LhsScales, Linear, OpDef, PostOp, Sizes,
};
use crate::tensor::{Tensor, TensorType};
use crate::weights::{OffsetKind, ScaleFormat};

impl Kernels for Linear {
    fn candidates(&self, post_op: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        candidates(self, Finish::Stored(post_op), caps)
    }
}

impl Kernels for JointLinear {
    fn candidates(&self, _: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        let finish = match self.gate() {
            Some(function) => Finish::Gated(function),
            None => Finish::Divided(self.layers()),
        };
        // Beside lhs and weights one buffer may hold all small inputs. A quad's columns of both layers are in one binding.
        let has_buffers = 3 + finish.outputs().count() <= caps.storage_buffers as usize;
        let has_both = !finish.is_gated() || weights::parts(self.whole().weights(), caps).len() == 1;
        if has_buffers && has_both { candidates(self.whole(), finish, caps) } else { in_sequence(self, caps) }
    }
}

/// The candidates that compute one layer after the other, then the product with the gate.
fn in_sequence(op: &JointLinear, caps: &DeviceCaps) -> Vec<Candidate> {
    let layers: Vec<Vec<Candidate>> =
        op.layers().iter().map(|layer| candidates(layer, Finish::Stored(None), caps)).collect();
    let count = layers.iter().map(Vec::len).min().unwrap_or_default();
    let product = op.gate().map(|function| {
        let made = op.layers()[0].output_type();
        let function = FloatUnary::new(made.clone(), function).expect("layers make float32");
        let product = FloatBinary::new(made.clone(), made.clone(), Arithmetic::Multiply).expect("equal shapes");
        Fused::new(function.into(), product.into(), 0).expect("a product follows a function").candidates(None, caps)
    });
    let candidate = |index: usize| {
        let mut all = Candidate::new(format!("{}, layer by layer", layers[0][index].label));
        let made: Vec<Resource> = match op.gate() {
            Some(_) => op.layers().iter().map(|layer| all.scratch(layer.output_type().shape().elements())).collect(),
            None => (0..op.layers().len()).map(Resource::Output).collect(),
        };
        for (layer, made) in layers.iter().zip(&made) {
            all.append(layer[index].clone(), |resource| if resource == Resource::Output(0) { *made } else { resource });
        }
        if let Some(product) = &product {
            let inputs = |resource| if let Resource::Input(input) = resource { made[input] } else { resource };
            all.append(product[0].clone(), inputs);
        }
        all.dispatches.iter_mut().for_each(|launch| launch.in_place.clear());
        all
    };
    (0..count).map(candidate).collect()
}

/// The last step of the results of a layer.
#[derive(Clone, Copy)]
pub(crate) enum Finish<'a> {
    /// They are stored in one tensor, after a post-op if there is one.
    Stored(Option<&'a PostOp>),
    /// The columns of each of these layers are stored in a tensor of its own.
    Divided(&'a [Linear]),
    /// The columns of one half are multiplied with the function of those of the other.
    Gated(Function),
}

impl Finish<'_> {
    /// The layers' columns, accumulated, but for the last; half of all if one is the gate.
    fn ends(self, columns: usize) -> [u32; 2] {
        match self {
            Self::Stored(_) => [0, 0],
            Self::Gated(_) => [columns as u32 / 2, 0],
            Self::Divided(layers) => {
                let n = |i: usize| layers[i].weights().dims()[1] as u32;
                [n(0), n(0) + n(1)]
            }
        }
    }

    /// The output of all columns of a gated layer is one half wide.
    fn is_gated(self) -> bool {
        matches!(self, Self::Gated(_))
    }

    /// The bindings of outputs.
    fn outputs(self) -> impl Iterator<Item = Binding> {
        let count = if let Self::Divided(layers) = self { layers.len() } else { 1 };
        (0..count).map(|i| Binding::write(6 + i as u32, Resource::Output(i)))
    }
}

parameters! {
    /// `shaders/grouped/params.wgsl`.
    struct Params {
        streams: [u32; 4],
        m: u32,
        n: u32,
        first_column: u32,
        columns: u32,
        panel_vecs: u32,
        expert_vecs: u32,
        experts: u32,
        selected: u32,
        steps: u32,
        slice_steps: u32,
        group_steps: u32,
        lhs_group_steps: u32,
        lhs_groups: u32,
        lhs_rows: u32,
        lhs_stride: u32,
        bias_stride: u32,
        output_words: u32,
        output_quads: u32,
        tiles_m: u32,
        tiles_n: u32,
        rows_first: u32,
        tiles: u32,
        low: u32,
        high: u32,
        indices_at: u32,
        parameters_at: u32,
        first_end: u32,
        second_end: u32,
    }
}

parameters! {
    /// `shaders/grouped/combine_inputs.wgsl`.
    struct JoinParams {
        first: u32,
        words: u32,
        unused_0: u32,
        unused_1: u32,
    }
}

parameters! {
    /// `shaders/grouped/gather_columns.wgsl`.
    struct ArrangeParams {
        positions: u32,
        input_words: u32,
        output_words: u32,
        words: u32,
        group: u32,
        groups: u32,
        rows: u32,
        zero: u32,
    }
}

/// Iterations of all loops over rows and steps in one invocation, at most: lavapipe ends a loop after 65,535.
const MOST_TURNS: usize = 60_000;

/// The candidates of a layer, or of several joined to one.
pub(crate) fn candidates(op: &Linear, finish: Finish<'_>, caps: &DeviceCaps) -> Vec<Candidate> {
    let shape = op.output_type().shape();
    let [_, n, k] = op.weights().dims();
    let sizes = Sizes { m: shape.rows(), n, k };
    // Rows with different matrices can't share weights.
    let own_matrix = op.indices().is_some();
    let steps = op.weights().layout().steps;
    // Sixteen floats are read in four pieces, sixteen codes in one.
    let pieces = if op.lhs().dtype().is_8_bit() { 1 } else { 4 };
    let turns = |tile: &Tile| match tile.tiling {
        // The loops within a step have constant bounds.
        Tiling::CoopMatrix => 16 * steps,
        _ => steps.div_ceil(tile.slices() as usize) * 2 * pieces * tile.rows as usize,
    };
    let suits = |tile: &Tile| (!own_matrix || tile.rows == 1) && turns(tile) <= MOST_TURNS;
    let coop = coop::tiles(caps).filter(|_| fits_matrices(op) && !finish.is_gated());
    let bits = op.weights().format().codes.bits();
    let tiles_of = if finish.is_gated() { gated_tiles } else { linear_tiles };
    let tiles = tiles_of(sizes, op.lhs().dtype(), bits, has_symmetric_lhs(op), caps);
    let tiles = tiles.into_iter().chain(coop).filter(suits);
    let constants = Constants::new(op);
    let mut tiles = Tile::legal(tiles, caps);
    if finish.is_gated() {
        tiles.iter_mut().for_each(|tile| tile.quads = 2);
    }
    tiles.into_iter().map(|tile| candidate(op, &constants, tile, finish, caps)).collect()
}

/// True if f16 holds activations and codes exactly, and each group is a whole number of steps.
fn fits_matrices(op: &Linear) -> bool {
    let (codes, layout) = (op.weights().format().codes, op.weights().layout());
    op.lhs().dtype() == DType::Float16 && codes.are_integers() && layout.padded_group != 16
}

/// The bias, unless it is empty because there are no experts.
fn bias(op: &Linear) -> Option<&Arc<Tensor>> {
    op.bias().filter(|bias| bias.tensor_type().shape().elements() > 0)
}

/// The bindings of a candidate's launches other than the weights.
struct Operands<'a> {
    lhs: Resource,
    /// u32 words of lhs from one row to the next.
    lhs_words: u32,
    /// Scales and zero points of lhs.
    parameters: Option<Resource>,
    bias: Option<Resource>,
    /// All inputs other than lhs and weights in one buffer, if the device can't bind them separately.
    joined: Option<Joined>,
    finish: Finish<'a>,
}

impl Operands<'_> {
    /// The inputs other than lhs and weights, each with its slot and part: apart, or all in one.
    fn small_inputs(&self, op: &Linear) -> Vec<(u32, Resource, &'static Part)> {
        if let Some(joined) = self.joined {
            return vec![(3, joined.resource, &program::SMALL_INPUTS_COMBINED)];
        }
        let indices = op.indices().map(|(input, _)| Resource::Input(input));
        let apart = [
            (3, self.parameters, &program::SMALL_INPUTS_PARAMETERS),
            (4, indices, &program::SMALL_INPUTS_INDICES),
            (5, self.bias, &program::SMALL_INPUTS_BIAS),
        ];
        apart.into_iter().filter_map(|(slot, resource, part)| Some((slot, resource?, part))).collect()
    }
}

/// Bias, experts and parameters of lhs in one binding, as `shaders/grouped/small_inputs_combined.wgsl` reads them.
#[derive(Clone, Copy)]
struct Joined {
    resource: Resource,
    indices_at: u32,
    parameters_at: u32,
}

/// The constants of all candidates beside the weights.
struct Constants {
    /// Scales and zero points of lhs, if they are known.
    parameters: Option<Constant>,
    bias: Option<Constant>,
    /// The column of each position, if columns are in another order.
    sources: Option<Constant>,
}

impl Constants {
    fn new(op: &Linear) -> Self {
        let parameters = op.lhs_scales().filter(|_| op.dynamic().is_none()).map(|_| {
            let of = op.clone();
            Constant::new("scales and zero points of lhs", parameter_words(op), move || lhs_parameters(&of))
        });
        let sources = op.weights().layout().sources().map(|_| {
            let weights = op.weights().clone();
            let columns = move || weights.layout().sources().unwrap_or_default();
            Constant::new("column of each position", op.weights().layout().steps * 32, columns)
        });
        Self { parameters, bias: bias(op).map(|bias| Constant::floats("bias", bias)), sources }
    }
}

fn candidate(op: &Linear, constants: &Constants, tile: Tile, finish: Finish<'_>, caps: &DeviceCaps) -> Candidate {
    let mut candidate = Candidate::new(tile.label("linear"));
    if op.output_type().shape().elements() == 0 {
        return candidate;
    }
    let parameters = op.dynamic().map(Resource::Input);
    let parameters = parameters.or_else(|| Some(candidate.constant(constants.parameters.clone()?)));
    let bias = constants.bias.clone().map(|bias| candidate.constant(bias));
    let lhs_words = epilogue::row_words(op.lhs());
    let mut operands = Operands { lhs: Resource::Input(0), lhs_words, parameters, bias, joined: None, finish };
    if let Some(sources) = constants.sources.clone() {
        let sources = candidate.constant(sources);
        let arranged = op.arranged().expect("checked by build");
        let words = epilogue::row_words(&arranged);
        candidate.dispatches.push(arrange(op, &arranged, sources, parameters, caps));
        candidate.scratch.push(arranged.shape().rows() * words as usize);
        operands = Operands { lhs: Resource::Scratch(0), lhs_words: words, ..operands };
    }
    operands.joined = join(op, &operands, &mut candidate, caps);
    for (panels, weights) in weights::bound_parts(op.weights(), op.words_input(), &mut candidate, caps) {
        candidate.dispatches.push(launch(op, tile, &operands, panels, weights, caps));
    }
    candidate
}

/// Copies the inputs other than lhs and weights into one scratch buffer, if a launch would bind more than the device can.
fn join(op: &Linear, operands: &Operands<'_>, candidate: &mut Candidate, caps: &DeviceCaps) -> Option<Joined> {
    let indices = op.indices().map(|(input, _)| Resource::Input(input));
    let sides = [operands.bias, indices, operands.parameters];
    // Plus lhs, weights and outputs.
    if sides.iter().flatten().count() + 2 + operands.finish.outputs().count() <= caps.storage_buffers as usize {
        return None;
    }
    let index_words = if indices.is_some() { op.output_type().shape().rows() } else { 0 };
    let words = [bias(op).map_or(0, |bias| bias.dims().iter().product()), index_words, parameter_words(op)];
    let threads = line_group(caps);
    let target = Resource::Scratch(candidate.scratch.len());
    let mut firsts = [0; 3];
    let mut first = 0;
    for ((source, words), at) in sides.into_iter().zip(words).zip(&mut firsts) {
        *at = first as u32;
        let Some(source) = source else { continue };
        let params = JoinParams { first: first as u32, words: words as u32, ..JoinParams::default() };
        let program = Program::new(&program::COMBINE_INPUTS).constant("GROUP_X", threads);
        let bindings = [Binding::read(1, source), Binding::write(6, target)];
        let groups = words.div_ceil(threads as usize);
        candidate.dispatches.push(Dispatch::new(program, &params, JoinParams::FIELDS, bindings, groups, caps));
        first += words;
    }
    candidate.scratch.push(first);
    let [_, indices_at, parameters_at] = firsts;
    Some(Joined { resource: target, indices_at, parameters_at })
}

fn arrange(
    op: &Linear,
    arranged: &TensorType,
    sources: Resource,
    parameters: Option<Resource>,
    caps: &DeviceCaps,
) -> Dispatch {
    let output_words = epilogue::row_words(arranged);
    let words = arranged.shape().rows() * output_words as usize;
    let scales = op.lhs_scales();
    let group = lhs_positions(op);
    let params = ArrangeParams {
        positions: arranged.shape().row_length() as u32,
        input_words: epilogue::row_words(op.lhs()),
        output_words,
        words: words as u32,
        group: group as u32,
        groups: scales.map_or(0, |scales| scales.groups as u32),
        rows: scales.map_or(0, |scales| u32::from(scales.by_row)),
        zero: 0,
    };
    let threads = line_group(caps);
    let program = Program::new(&program::GATHER_COLUMNS)
        .with(if parameters.is_some() { &program::PAD_VALUE_ZERO_POINT } else { &program::PAD_VALUE_PARAMETER })
        .constant("GROUP_X", threads)
        .constant("BITS", op.lhs().dtype().bits() as u32);
    let bindings = [
        Some(Binding::read(1, Resource::Input(0))),
        Some(Binding::read(2, sources)),
        parameters.map(|parameters| Binding::read(3, parameters)),
        Some(Binding::write(6, Resource::Scratch(0))),
    ];
    let groups = words.div_ceil(threads as usize);
    Dispatch::new(program, &params, ArrangeParams::FIELDS, bindings.into_iter().flatten(), groups, caps)
}

/// Number of positions that share a scale of lhs: their columns, with the padding among them.
fn lhs_positions(op: &Linear) -> usize {
    let layout = op.weights().layout();
    match op.lhs_scales() {
        None | Some(LhsScales { groups: 0 | 1, .. }) => layout.steps * 32,
        Some(scales) if scales.group == layout.group => layout.padded_group,
        Some(scales) => scales.group,
    }
}

fn launch(
    op: &Linear,
    tile: Tile,
    operands: &Operands<'_>,
    panels: Panels,
    weights: Resource,
    caps: &DeviceCaps,
) -> Dispatch {
    let small_inputs = operands.small_inputs(op);
    let program = program(op, tile, operands, &small_inputs, caps);
    let params = params(op, tile, operands, panels);
    let bindings =
        [Binding::read(1, operands.lhs), Binding::read(2, weights)].into_iter().chain(operands.finish.outputs());
    let bindings = bindings.chain(small_inputs.iter().map(|&(slot, resource, _)| Binding::read(slot, resource)));
    let [_, _, k] = op.weights().dims();
    let operations = [2, op.output_type().shape().rows(), panels.rows(op.weights()), k];
    let launch = Dispatch::new(program, &params, Params::FIELDS, bindings, params.tiles as usize, caps);
    let launch = launch.operations(operations);
    match operands.finish {
        Finish::Stored(post_op) => epilogue::bind_post_op(launch, post_op, op.inputs().len()),
        Finish::Divided(_) | Finish::Gated(_) => launch,
    }
}

fn params(op: &Linear, tile: Tile, operands: &Operands<'_>, panels: Panels) -> Params {
    let (matrix, output) = (op.weights(), op.output_type());
    let layout = matrix.layout();
    let [experts, n, _] = matrix.dims();
    let m = output.shape().rows();
    let (first_column, columns) = (panels.first_row(), panels.rows(matrix));
    let half = output.dtype() == DType::Float16;
    let [first_end, second_end] = operands.finish.ends(n);
    let output_words = if operands.finish.is_gated() { first_end } else { epilogue::row_words(output) };
    // The last launch also writes the padding of the row.
    let row_quads = if half { output_words / 2 } else { n.div_ceil(4) as u32 };
    let end = first_column + columns;
    let [block_rows, block_columns] = tile.block();
    // Half of a gated layer's columns are those of the gate, in all blocks as well.
    let (output_quads, block_columns) = match operands.finish.is_gated() {
        true => (first_end / 4, block_columns / 2),
        false => (if end == n { row_quads } else { end as u32 / 4 } - first_column as u32 / 4, block_columns),
    };
    let tiles_m = m.div_ceil(block_rows);
    let tiles_n = (output_quads as usize * 4).div_ceil(block_columns);
    let scales = op.lhs_scales();
    // Groups of 16 end within a step.
    let lhs_positions = lhs_positions(op);
    let steps = layout.steps.max(1);
    let group_steps = |positions: usize| if positions == 16 { steps } else { positions.div_ceil(32).max(1) };
    let (low, high) = op.bounds();
    Params {
        streams: weights::streams(matrix),
        m: m as u32,
        n: n as u32,
        first_column: first_column as u32,
        columns: columns.next_multiple_of(4) as u32,
        panel_vecs: (layout.panel_words() / 4) as u32,
        expert_vecs: panels.expert_vecs(matrix),
        experts: experts as u32,
        selected: op.indices().map_or(1, |(_, selected)| selected as u32),
        steps: if experts > 0 { layout.steps as u32 } else { 0 },
        slice_steps: layout.steps.div_ceil(tile.slices() as usize) as u32,
        group_steps: group_steps(layout.padded_group) as u32,
        lhs_group_steps: group_steps(lhs_positions) as u32,
        lhs_groups: scales.map_or(0, |scales| scales.groups as u32),
        lhs_rows: scales.map_or(0, |scales| u32::from(scales.by_row)),
        lhs_stride: operands.lhs_words / words_per_load(op.lhs().dtype()),
        bias_stride: bias(op).map_or(0, |bias| if bias.dims().len() > 1 { n as u32 } else { 0 }),
        output_words,
        output_quads,
        tiles_m: tiles_m as u32,
        tiles_n: tiles_n as u32,
        rows_first: rows_first(panels.count * layout.panel_words() * 4),
        tiles: (tiles_m * tiles_n) as u32,
        low: low.to_bits(),
        high: high.to_bits(),
        indices_at: operands.joined.map_or(0, |joined| joined.indices_at),
        parameters_at: operands.joined.map_or(0, |joined| joined.parameters_at),
        first_end,
        second_end,
    }
}

fn program(
    op: &Linear,
    tile: Tile,
    operands: &Operands<'_>,
    small_inputs: &[(u32, Resource, &'static Part)],
    caps: &DeviceCaps,
) -> Program {
    let matrix = op.weights();
    let weight_halves = matrix.layout().padded_group == 16;
    let lhs_halves = lhs_positions(op) == 16;
    let codes = matrix.format().codes;
    // A whole step of codes at a time fits the registers of a GPU; on a CPU it is a tenth slower (benches/NOTES.md).
    let one_step = caps.is_gpu() && op.lhs().dtype().is_8_bit() && matrix.layout().padded_group == 32 && !lhs_halves;
    let has_row_scale = op.lhs_scales().is_some_and(|scales| scales.groups == 1);
    let shifted = matrix.format().scales.shift() != OffsetKind::None;
    // The quads whose packed codes are read at once.
    let quads = if tile.tiling == Tiling::CoopMatrix { 1 } else { tile.quads };
    let dot = dot(op, tile, caps);
    let lhs_zeros = op.lhs_scales().is_some() && (dot == Dot::Uint8Lhs || !has_symmetric_lhs(op));
    let (code_flip, more) = dot.weights_moved();
    // Expanded codes are at the upper end of a byte, so their bias is shifted too.
    let code_bias = (i32::from(codes.bias()) << (8 - codes.bits())) - more;
    let program = match tile.tiling {
        Tiling::CoopMatrix => coop::link_tile(&program::LINEAR_COOP, caps).with(&program::LHS_FLOAT),
        _ => link_lhs(Program::new(&program::LINEAR), op.lhs().dtype(), dot),
    };
    let program = weights::link_codes(program, codes)
        .with(if op.indices().is_some() { &program::EXPERT_SELECTED } else { &program::EXPERT_ONE })
        .with(if operands.bias.is_some() { &program::BIAS_TABLE } else { &program::BIAS_NONE });
    let program = match operands.finish {
        Finish::Stored(post_op) => epilogue::link_store_reals(program, op.output_type().dtype(), post_op),
        Finish::Divided([_, _]) => program.with(&program::STORE_TWO),
        Finish::Divided(_) => program.with(&program::STORE_THREE),
        Finish::Gated(_) => epilogue::link_store_reals(program, DType::Float32, None),
    };
    let program = small_inputs.iter().fold(program, |program, (_, _, part)| program.with(part));
    let program = match op.lhs().dtype() {
        DType::Float32 | DType::Float16 => weights::link_code_values(program, codes),
        _ => program,
    };
    let program = weights::link_scales(program, matrix, false, caps)
        .constant("GROUP_X", tile.group[0])
        .constant("GROUP_Y", tile.group[1])
        .constant("TILE_M", tile.rows)
        .constant("PACKED", quads * codes.bits() as u32)
        .constant("CODE_BIAS", code_bias)
        .constant("LHS_SUMS", shifted || code_bias != 0);
    match tile.tiling {
        Tiling::CoopMatrix => program.constant("STEP", coop::STEP),
        _ => link_quads(tile.link_rows(program), operands.finish)
            .constant("TILE_Q", tile.quads)
            .constant("CODE_SUMS", lhs_zeros)
            .constant("CODE_FLIP", code_flip)
            .constant("LHS_ONE", has_row_scale)
            .constant("ONE_STEP", one_step)
            .constant("STEPS", if one_step && has_row_scale { tile.steps(codes.bits() as u32).min(2) } else { 1 })
            .constant("FLOAT_SUMS", fits_f32(op, code_bias))
            .constant("HALVES", weight_halves || lhs_halves)
            .constant("WEIGHT_HALVES", weight_halves)
            .constant("LHS_HALVES", lhs_halves),
    }
}

/// Adds the places of an invocation's quads.
fn link_quads(program: Program, finish: Finish<'_>) -> Program {
    match finish {
        Finish::Gated(function) => float_unary::link(program.with(&program::QUADS_GATED), function),
        Finish::Stored(_) | Finish::Divided(_) => program.with(&program::QUADS_NEIGHBOURING),
    }
}

/// True if f32 holds the sums of codes of a run exactly. Expanded codes take a byte.
fn fits_f32(op: &Linear, code_bias: i32) -> bool {
    let matrix = op.weights();
    let run = matrix.layout().padded_group.min(lhs_positions(op));
    let largest = 255 * (128 + code_bias.unsigned_abs() as usize);
    !matches!(matrix.format().scales, ScaleFormat::F32Zero | ScaleFormat::F16Zero)
        && run.checked_mul(largest).is_some_and(|sum| sum < 1 << 24)
}

/// True if no code of lhs has a zero point after it is read as int8.
fn has_symmetric_lhs(op: &Linear) -> bool {
    let shift = int8_shift(op.lhs().dtype());
    op.lhs().quantization().is_some_and(|q| q.zero_points().iter().all(|&zero_point| zero_point == shift))
}

/// The dot product for codes. If lhs is read as uint8, the codes of columns have to be summed. If weights are read as uint8, the
/// rows of lhs have to be summed. The cheaper one is chosen. If codes are small floats or table indices, written-out products take
/// drivers minutes to compile.
fn dot(op: &Linear, tile: Tile, caps: &DeviceCaps) -> Dot {
    let codes = op.weights().format().codes;
    let plain = codes.float().is_none() && codes.table().is_none();
    match caps.emulate_dot4 && plain && op.lhs().dtype().is_8_bit() {
        false => Dot::Int8,
        true if tile.rows < 4 * tile.quads => Dot::Uint8Weights,
        true => Dot::Uint8Lhs,
    }
}

/// Words of an element of the lhs binding.
fn words_per_load(dtype: DType) -> u32 {
    if dtype == DType::Float16 { 2 } else { 4 }
}

fn link_lhs(program: Program, dtype: DType, dot: Dot) -> Program {
    match dtype {
        DType::Float32 => program.with(&program::LHS_FLOAT).with(&program::LHS_FLOAT32),
        DType::Float16 => program.with(&program::LHS_FLOAT).with(&program::LHS_FLOAT16),
        format => dot.link_lhs(program.with(&program::LHS_INT8), format),
    }
}

/// Number of words in [`lhs_parameters`].
fn parameter_words(op: &Linear) -> usize {
    op.lhs_scales().map_or(0, |scales| 2 * scales.groups * if scales.by_row { op.lhs().shape().rows() } else { 1 })
}

fn lhs_parameters(op: &Linear) -> Vec<u32> {
    let Some(scales) = op.lhs_scales() else { return Vec::new() };
    let rows = if scales.by_row { op.lhs().shape().rows() } else { 1 };
    let pair = |row: usize, group: usize| {
        let (scale, zero_point) = op.lhs_parameters(row, group * scales.group)?;
        Some([scale.to_bits(), zero_point as u32])
    };
    let groups = scales.groups;
    (0..rows).flat_map(|row| (0..groups).filter_map(move |group| pair(row, group))).flatten().collect()
}
