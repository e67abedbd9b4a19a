//! Candidates of `ops::QuantizeWeights`: `shaders/grouped/find_scales.wgsl`, in as many launches as a search needs, then
//! `shaders/grouped/pack_codes.wgsl`. The meaning is `weights/quantize.rs`.

use super::weights::plane_bits;
use crate::kernels::launch::program::{self, Program};
use crate::kernels::{Binding, Candidate, Constant, DeviceCaps, Dispatch, Kernels, Resource, line_group, parameters};
use crate::ops::{PostOp, QuantizeWeights};
use crate::weights::{Codes, GroupScaleRule, ScaleFormat};

parameters! {
    /// `shaders/grouped/find_scales.wgsl`.
    struct GroupsParams {
        k: u32,
        group: u32,
        groups: u32,
        total: u32,
        turns: u32,
        first: u32,
        factors: u32,
        least: u32,
        step: u32,
        unused_0: u32,
        unused_1: u32,
        unused_2: u32,
    }
}

parameters! {
    /// `shaders/grouped/pack_codes.wgsl`.
    struct WordsParams {
        words: u32,
        expert_words: u32,
        panel_words: u32,
        n: u32,
        k: u32,
        group: u32,
        padded_group: u32,
        groups: u32,
        steps: u32,
        scale_at: u32,
        shift_at: u32,
        unused_0: u32,
    }
}

/// Lanes of a sum, as `weights/quantize.rs` defines.
const LANES: u32 = 32;

/// Iterations of all loops in one invocation, at most: some drivers end a loop after 65,535.
const MOST_TURNS: usize = 30_000;

/// Invocations of a group of weights, and groups of a workgroup.
const TILES: [[u32; 2]; 2] = [[32, 2], [16, 1]];

impl Kernels for QuantizeWeights {
    fn candidates(&self, _: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        let legal = |[x, y]: &[u32; 2]| x * y <= caps.invocations && LANES * y * 16 <= caps.workgroup_bytes;
        let tiles: Vec<[u32; 2]> = TILES.into_iter().filter(legal).collect();
        // A device too small for any of them still runs single invocations.
        let tiles = if tiles.is_empty() { vec![[1, 1]] } else { tiles };
        tiles.into_iter().map(|tile| candidate(self, tile, caps)).collect()
    }
}

fn candidate(op: &QuantizeWeights, tile: [u32; 2], caps: &DeviceCaps) -> Candidate {
    let mut candidate = Candidate::new(format!("quantize weights, {}x{} groups", tile[0], tile[1]));
    if op.output().shape().elements() == 0 {
        return candidate;
    }
    let layout = op.layout();
    candidate.scratch.push(layout.experts * layout.n * layout.groups * 4);
    let importance = op.quantizer().importance_of_columns().filter(|_| op.quantizer().search_of_scale().is_some());
    candidate.constants.extend(importance.map(|of_columns| {
        let of_columns = of_columns.to_vec();
        let bits = move || of_columns.iter().map(|weight| weight.to_bits()).collect();
        Constant::new("importance of columns", layout.k, bits)
    }));
    let steps = op.quantizer().search_of_scale().map_or(0, |search| search.steps as usize);
    // A factor costs two passes over a lane's numbers (three with offsets), and the sums over lanes.
    let lanes = LANES.div_ceil(tile[0]) as usize;
    let turns = 4 * lanes * (layout.group.div_ceil(LANES as usize) + 10);
    let at_once = (MOST_TURNS / turns).max(1);
    for first in (0..steps.max(1)).step_by(at_once) {
        candidate.dispatches.push(find_groups(op, tile, first, at_once.min(steps - first.min(steps)), caps));
    }
    candidate.dispatches.push(write_words(op, caps));
    candidate
}

/// Adds the constants of both shaders.
fn describe(op: &QuantizeWeights, program: Program) -> Program {
    let dtype = op.quantizer().format();
    let (low, high) = dtype.codes.range();
    let bias = i32::from(dtype.codes.bias());
    let (scale_bytes, shift, shift_bytes) = match dtype.scales {
        ScaleFormat::F16 => (2u32, 0u32, 0u32),
        ScaleFormat::E8M0 => (1, 0, 0),
        ScaleFormat::F32Zero => (4, 1, 1),
        ScaleFormat::F16Zero => (2, 1, 1),
        ScaleFormat::F32RealZero => (4, 2, 4),
        ScaleFormat::F32Offset => (4, 3, 4),
        ScaleFormat::F16Offset => (2, 3, 2),
        _ => (4, 0, 0),
    };
    program
        .constant("LOW", i32::from(low) + bias)
        .constant("HIGH", i32::from(high) + bias)
        .constant("SCALE_BYTES", scale_bytes)
        .constant("SHIFT", shift)
        .constant("SHIFT_BYTES", shift_bytes)
}

fn find_groups(op: &QuantizeWeights, tile: [u32; 2], first: usize, factors: usize, caps: &DeviceCaps) -> Dispatch {
    let (layout, quantizer) = (op.layout(), op.quantizer());
    let total = layout.experts * layout.n * layout.groups;
    let (least, step) = quantizer.search_of_scale().map_or((1.0, 0.0), |search| search.grid());
    let params = GroupsParams {
        k: layout.k as u32,
        group: layout.group as u32,
        groups: layout.groups as u32,
        total: total as u32,
        turns: layout.group.div_ceil(LANES as usize) as u32,
        first: first as u32,
        factors: factors as u32,
        least: f32::to_bits(least),
        step: f32::to_bits(step),
        ..GroupsParams::default()
    };
    let codes = quantizer.format().codes;
    let (low, high) = codes.range();
    let span = i32::from(high) - i32::from(low);
    let greatest = i32::from(high) + i32::from(codes.bias());
    let (rule, divisor) = match quantizer.rule_of_scale() {
        GroupScaleRule::Narrow => (0u32, greatest as f32),
        GroupScaleRule::Middle => (0, span as f32 * 0.5),
        GroupScaleRule::SignedMax => (1, 1.0),
        GroupScaleRule::NoClipping => (2, 1.0),
        GroupScaleRule::MinMax | GroupScaleRule::Tight => (3, span as f32),
    };
    let fixed = matches!(quantizer.format().scales, ScaleFormat::E8M0 | ScaleFormat::F32Zero | ScaleFormat::F16Zero);
    let searches = quantizer.search_of_scale().is_some();
    let importance = quantizer.importance_of_columns().is_some() && searches;
    let program = Program::new(&program::FIND_SCALES)
        .with(if importance { &program::IMPORTANCE_COLUMNS } else { &program::IMPORTANCE_NONE })
        .constant("GROUP_X", tile[0])
        .constant("GROUP_Y", tile[1])
        .constant("RULE", rule)
        .constant("DIVISOR", divisor.to_bits())
        .constant("TIGHT", quantizer.rule_of_scale() == GroupScaleRule::Tight)
        .constant("SEARCH", searches)
        .constant("REFIT", !fixed);
    let bindings = [
        Some(Binding::read(1, Resource::Input(0))),
        importance.then(|| Binding::read(3, Resource::Constant(0))),
        Some(Binding::write(6, Resource::Scratch(0))),
    ];
    let groups = total.div_ceil(tile[1] as usize);
    Dispatch::new(describe(op, program), &params, GroupsParams::FIELDS, bindings.into_iter().flatten(), groups, caps)
        .operations([total, layout.group])
}

fn write_words(op: &QuantizeWeights, caps: &DeviceCaps) -> Dispatch {
    let layout = op.layout();
    let starts = layout.stream_starts();
    let codes: Codes = op.quantizer().format().codes;
    let params = WordsParams {
        words: op.output().shape().elements() as u32,
        expert_words: layout.expert_words() as u32,
        panel_words: layout.panel_words() as u32,
        n: layout.n as u32,
        k: layout.k as u32,
        group: layout.group as u32,
        padded_group: layout.padded_group as u32,
        groups: layout.groups as u32,
        steps: layout.steps as u32,
        scale_at: starts.first().map_or(0, |&start| start as u32),
        shift_at: starts.get(1).map_or(0, |&start| start as u32),
        unused_0: 0,
    };
    let [upper, lower] = plane_bits(codes);
    let threads = line_group(caps);
    let program = Program::new(&program::PACK_CODES)
        .constant("GROUP_X", threads)
        .constant("CODE_BIAS", i32::from(codes.bias()))
        .constant("UPPER", upper)
        .constant("LOWER", lower);
    let bindings = [
        Binding::read(1, Resource::Input(0)),
        Binding::read(3, Resource::Scratch(0)),
        Binding::write(6, Resource::Output(0)),
    ];
    let words = op.output().shape().elements();
    Dispatch::new(describe(op, program), &params, WordsParams::FIELDS, bindings, words.div_ceil(threads as usize), caps)
        .operations([words])
}
