//! Candidates of `ops::ChannelGate`: `shaders/elementwise/channel_gate.wgsl`, for large images after
//! `shaders/elementwise/pool_partial.wgsl`. The meaning is `reference/channel_gate.rs`.

use super::pool;
use crate::kernels::epilogue::{self, entry_words};
use crate::kernels::launch::program::{self, Program};
use crate::kernels::{
    Binding, Candidate, Constant, DeviceCaps, Dispatch, Kernels, Resource, line_group, line_groups, parameters,
};
use crate::numeric::DType;
use crate::ops::{ChannelGate, Conv, PostOp, Requantization, layer_output};

parameters! {
    /// `shaders/elementwise/channel_gate.wgsl`.
    struct Params {
        squeeze: [u32; 4],
        first: [u32; 4],
        second: [u32; 4],
        squeezed: [i32; 4],
        first_codes: [i32; 4],
        second_codes: [i32; 4],
        mean: [u32; 4],
        n: u32,
        output_words: u32,
        images: u32,
        unused_0: u32,
    }
}

/// The least width of the workgroup's memory for the codes of a stage. Wider stages take the next power of two.
const WIDTH: usize = 256;

impl Kernels for ChannelGate {
    fn candidates(&self, post_op: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        // Larger groups come first: they have the more invocations for an image.
        let groups: Vec<u32> = line_groups(caps).collect();
        let whole = |&group: &u32| launches(self, post_op, None, group, caps);
        // Sums of floats have an order.
        let slice = pool::slice(self.pool(), caps).filter(|_| !pool::sums_floats(self.pool()));
        let sliced = slice
            .into_iter()
            .flat_map(|slice| groups.iter().rev().map(move |&group| launches(self, post_op, Some(slice), group, caps)));
        let mut candidates: Vec<Candidate> = sliced.collect();
        if slice.is_none() || pool::fits_one_invocation(self.pool()) {
            candidates.extend(groups.iter().rev().map(whole));
        }
        candidates
    }
}

fn launches(
    op: &ChannelGate,
    post_op: Option<&PostOp>,
    slice: Option<usize>,
    group: u32,
    caps: &DeviceCaps,
) -> Candidate {
    let name = slice.map_or("channel gate".into(), |slice| format!("channel gate, slices of {slice}"));
    let mut candidate = Candidate::new(format!("{name}, groups of {group}"));
    let images = op.output_type().shape().rows();
    if images == 0 {
        return candidate;
    }
    let layers = Layers::of(op);
    let (pool, pixels) = (op.pool(), op.pool().window().taps());
    let mut params = params(op, post_op, &layers);
    let program = Program::new(&program::CHANNEL_GATE);
    let (program, source) = match slice {
        None => {
            params.squeeze[0] = pixels as u32;
            params.squeeze[3] = epilogue::row_words(pool.input());
            let signed = pool.input().dtype().is_signed();
            let program = program.with(&program::CHANNEL_GATE_PIXELS).constant("INPUT_SIGNED", signed);
            (program, Resource::Input(0))
        }
        Some(slice) => {
            let quads = epilogue::quads(pool.output_type());
            params.squeeze[0] = pixels.div_ceil(slice) as u32;
            params.squeeze[3] = quads;
            let sums = candidate.scratch(4 * images * quads as usize * pixels.div_ceil(slice));
            candidate.dispatches.push(pool::partial_sums(pool, slice, line_group(caps), sums, caps));
            (program.with(&program::CHANNEL_GATE_SLICES), sums)
        }
    };
    let program = program
        .with(if pool::sums_floats(pool) { &program::CHANNEL_GATE_MEAN_FLOATS } else { &program::CHANNEL_GATE_MEAN })
        .with(epilogue::rounding(pool.output().mode()))
        .with(&program::STORE_CODES)
        .constant("GROUP_X", group)
        .constant("LAYERS", op.layers().len() as u32)
        .constant("WIDTH", layers.width);
    let program = epilogue::link_post_op(program, post_op);
    let tables = {
        let entries = epilogue::post_op_entries(post_op) + layers.entries;
        let (op, post_op) = (op.clone(), post_op.cloned());
        candidate.constant(Constant::new("tables", 4 * entries, move || tables(&op, post_op.as_ref())))
    };
    let weights = {
        let op = op.clone();
        candidate.constant(Constant::new("gate weights", layers.words, move || weights(&op)))
    };
    let bindings = [
        Binding::read(1, source),
        Binding::read(2, weights),
        Binding::read(5, tables),
        Binding::write(6, Resource::Output(0)),
    ];
    let products: usize = op.layers().iter().map(|layer| layer.weights().tensor_type().shape().elements()).sum();
    let summed = if slice.is_none() { pool.input().shape().elements() / images } else { 0 };
    let launch = Dispatch::new(program, &params, Params::FIELDS, bindings, images, caps);
    candidate.dispatches.push(launch.operations([images, 2 * products + summed]));
    candidate
}

/// The places of layers in the tables and the weights.
struct Layers {
    /// Channels read, quads of outputs, place of the entries, place of the weights.
    parts: Vec<[u32; 4]>,
    /// Entries of the stages.
    entries: usize,
    /// Words of the weights.
    words: usize,
    /// Channels of the widest stage, rounded up.
    width: u32,
}

impl Layers {
    fn of(op: &ChannelGate) -> Self {
        let mut layers = Self { parts: Vec::new(), entries: 1, words: 0, width: 0 };
        let mut widest = op.pool().input().shape().row_length();
        for (layer, quads) in with_quads(op) {
            let channels = layer.channels_per_group();
            layers.parts.push([channels as u32, quads as u32, layers.entries as u32, layers.words as u32]);
            layers.entries += 4 * quads;
            layers.words += channels * quads;
            widest = widest.max(layer.weights().dims()[0]);
        }
        layers.width = widest.next_power_of_two().max(WIDTH) as u32;
        layers
    }
}

/// The layers with the quads of their outputs: with padding, if they are stored.
fn with_quads(op: &ChannelGate) -> impl Iterator<Item = (&Conv, usize)> {
    let last = op.layers().len() - 1;
    op.layers().iter().enumerate().map(move |(index, layer)| {
        let stored = index == last;
        let outputs = layer.weights().dims()[0];
        (layer, if stored { epilogue::quads(layer.output_type()) as usize } else { outputs.div_ceil(4) })
    })
}

fn params(op: &ChannelGate, post_op: Option<&PostOp>, layers: &Layers) -> Params {
    let codes = |output: &Requantization, input: i32| {
        let (low, high) = output.bounds();
        [output.zero_point(), low, high, input]
    };
    let layer = |index: usize| layers.parts.get(index).copied().unwrap_or_default();
    let layer_codes = |index: usize| op.layers().get(index).map_or([0; 4], |layer| codes(layer_output(layer), 0));
    debug_assert!(post_op.is_none_or(|post_op| post_op.residual().is_none()), "a gate is followed by tables only");
    Params {
        squeeze: [0, op.pool().input().shape().row_length().div_ceil(4) as u32, 0, 0],
        first: layer(0),
        second: layer(1),
        squeezed: codes(op.pool().output(), op.pool().input().parameters(0).1),
        first_codes: layer_codes(0),
        second_codes: layer_codes(1),
        mean: [
            op.pool().window().taps() as u32,
            op.pool().input().parameters(0).0.to_bits(),
            op.pool().output().scale().to_bits(),
            0,
        ],
        n: op.output_type().shape().row_length() as u32,
        output_words: epilogue::row_words(op.output_type()),
        images: op.output_type().shape().rows() as u32,
        unused_0: 0,
    }
}

/// The entries of the post-op, of the mean, and of the outputs of each layer with the zero points of their weights. Padding is zero.
fn tables(op: &ChannelGate, post_op: Option<&PostOp>) -> Vec<u32> {
    let mut words = epilogue::post_op_words(post_op);
    words.extend(entry_words(op.pool().stage().entry(0, 0)));
    for (layer, quads) in with_quads(op) {
        for output in 0..4 * quads {
            let is_padding = output >= layer.weights().dims()[0];
            words.extend(if is_padding { [0; 4] } else { layer_entry(layer, output) });
        }
    }
    words
}

fn layer_entry(layer: &Conv, output: usize) -> [u32; 4] {
    let [bias, multiplier, shift, _] = entry_words(layer.stage().entry(0, output));
    [bias, multiplier, shift, (layer.weight_zero_point(output) - weight_shift(layer)) as u32]
}

/// The number that makes int8 of a layer's weights.
fn weight_shift(layer: &Conv) -> i32 {
    if layer.weights().dtype() == DType::Uint8 { 128 } else { 0 }
}

/// Of each layer `[channel][quad of outputs]`.
fn weights(op: &ChannelGate) -> Vec<u32> {
    let mut words = Vec::new();
    for (layer, quads) in with_quads(op) {
        let (outputs, shift) = (layer.weights().dims()[0], weight_shift(layer));
        for channel in 0..layer.channels_per_group() {
            let byte = |output: usize| match output < outputs {
                true => (layer.weights().code(layer.weight_index(output, 0, channel)) - shift) as u8,
                false => 0,
            };
            words.extend((0..quads).map(|quad| u32::from_le_bytes(std::array::from_fn(|lane| byte(4 * quad + lane)))));
        }
    }
    words
}
