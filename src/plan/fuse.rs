//! Fusion of steps into one launch: requantization, clamps, tables, sums, and functions and products of floats move into the op before
//! them, an average and products of its pixel into one, conversions into the transposition beside them, quantization of rows into their norm or attention, and (`fuse_layers`) layers of
//! one input into one. Codes stay equal, and floats within their bounds. The fused ops are defined in `ops`; `schedule` orders and places
//! them.

use std::collections::HashMap;
use std::sync::Arc;

use super::candidates::CandidateLists;
#[cfg(feature = "transformer")]
use super::fuse_layers::{fuse_layers, rotated_append};
use super::graph::{Graph, Merged, Step, Value};
use super::tabulate::{tabulate, without_identities};
use crate::kernels::Dispatch;
#[cfg(feature = "convolution")]
use crate::ops::ChannelGate;
use crate::ops::{Fused, Op, Table, Transpose};
use crate::tensor::TensorType;

/// The steps that the outputs need, fused if a device with these caps can launch the result.
///
/// A step is fused with the one that computes one of its inputs, if no other step reads that input. The tensor between them is then
/// never stored. The fused op is exact in integers. In floats it runs the same operations, though perhaps in another order,
/// within the ops' bounds.
pub(super) fn fuse(graph: &Graph, lists: &CandidateLists<'_>) -> Vec<Merged> {
    let needed = needed(graph);
    let uses = uses(graph, needed.iter().copied());
    let steps = tabulate(graph, &needed, &uses);
    let uses = self::uses(graph, steps.iter().map(|merged| &merged.step));
    let mut done: Vec<Option<Merged>> = Vec::new();
    let mut makers: HashMap<usize, usize> = HashMap::new();
    for mut merged in steps {
        let mut position = 0;
        while position < merged.step.inputs.len() {
            let value = merged.step.inputs[position];
            // Attention makes heads, which are quantized as one row.
            let made = if matches!(&*merged.step.op, Op::DynamicQuantize(_)) { graph.source(value) } else { value };
            let maker = makers.get(&made.index()).copied().filter(|_| uses[&graph.storage(value).index()] == 1);
            let joined = maker.and_then(|maker| {
                let first = done[maker].as_ref().filter(|m| {
                    let mut later = done[maker + 1..].iter().flatten().chain([&merged]);
                    !reads_state(&m.step, graph) || !later.any(|m| writes_state(&m.step, graph))
                })?;
                // Of two elementwise operands one may follow an extent, and the other may not: at a smaller one they broadcast.
                let is_elementwise = matches!(&*merged.step.op, Op::Add(_) | Op::FloatBinary(_));
                if is_elementwise && merged.step.inputs.iter().any(|&v| graph.follows(v) != graph.follows(value)) {
                    return None;
                }
                let (op, inputs) = join(&first.step, &merged.step, position)?;
                let parts = [&first.parts[..], &merged.parts].concat();
                let step = Step { op: Arc::new(op), inputs, outputs: merged.step.outputs.clone() };
                fits(&step.op, lists).then_some((maker, Merged { step, parts }))
            });
            match joined {
                Some((maker, joined)) => {
                    done[maker] = None;
                    merged = joined;
                    position = 0;
                }
                None => position += 1,
            }
        }
        makers.extend(merged.step.outputs.iter().map(|value| (value.index(), done.len())));
        done.push(Some(merged));
    }
    let merged = without_identities(done.into_iter().flatten().collect(), graph);
    #[cfg(feature = "transformer")]
    let merged = fuse_layers(merged, graph, lists, &uses);
    merged
}

/// The number of times that each stored value is read, by steps and as an output.
fn uses<'a>(graph: &Graph, steps: impl Iterator<Item = &'a Step>) -> HashMap<usize, usize> {
    let mut uses: HashMap<usize, usize> = HashMap::new();
    for &value in steps.flat_map(|step| &step.inputs).chain(graph.outputs()) {
        *uses.entry(graph.storage(value).index()).or_default() += 1;
    }
    uses
}

/// True if a step reads a state: it stays where it is, because a write may come between.
pub(super) fn reads_state(step: &Step, graph: &Graph) -> bool {
    step.inputs.iter().any(|&value| graph.is_state(value))
}

/// True if a step changes a state.
fn writes_state(step: &Step, graph: &Graph) -> bool {
    step.outputs.iter().any(|&value| graph.is_state(value))
}

/// The steps that an output or a state depends on, in the caller's order.
fn needed(graph: &Graph) -> Vec<&Step> {
    let mut wanted: Vec<bool> = vec![false; graph.types().len()];
    let kept = graph.outputs().iter().copied().chain(graph.states().iter().map(|&(state, _)| state));
    kept.for_each(|value| wanted[graph.storage(value).index()] = true);
    let mut steps: Vec<&Step> = Vec::new();
    for step in graph.steps().iter().rev() {
        if step.outputs.iter().any(|&value| wanted[graph.storage(value).index()]) {
            step.inputs.iter().for_each(|&value| wanted[graph.storage(value).index()] = true);
            steps.push(step);
        }
    }
    steps.reverse();
    steps
}

/// True if every candidate of an op stays within the device's number of bindings, and each tensor within the size of one binding,
/// unless the op can be divided.
pub(super) fn fits(op: &Arc<Op>, lists: &CandidateLists<'_>) -> bool {
    let caps = lists.caps;
    let fits = |tensor: TensorType| tensor.device_bytes() <= caps.binding_bytes;
    if op.inputs_by_row().is_none() && !op.inputs().into_iter().chain(op.outputs()).all(fits) {
        return false;
    }
    let list = lists.of(op);
    let launches = list.iter().flat_map(|candidate| &candidate.dispatches);
    launches.map(|launch| launch.bindings.len()).max().unwrap_or(0) <= caps.storage_buffers as usize
}

/// The number of launches of an op's first guess, in place if it overwrites states.
pub(super) fn launches(op: &Arc<Op>, lists: &CandidateLists<'_>) -> usize {
    let is_there = |launch: &&Dispatch| {
        let in_place = launch.overwriting(op.overwrites());
        in_place.is_none_or(|launch| !launch.grid.contains(&0))
    };
    lists.of(op)[0].dispatches.iter().filter(is_there).count()
}

/// The op that equals `first` followed by `then`, with its inputs. `first` computes input `position` of `then`.
fn join(first: &Step, then: &Step, position: usize) -> Option<(Op, Vec<Value>)> {
    let requantized = match (&*first.op, &*then.op) {
        (Op::Matmul(first), Op::Requantize(then)) => first.requantized(then).map(Op::from),
        #[cfg(feature = "convolution")]
        (Op::Conv(first), Op::Requantize(then)) => first.requantized(then).map(Op::from),
        _ => None,
    };
    if let Some(op) = requantized {
        return Some((op, first.inputs.clone()));
    }
    if let Some(op) = converted(&first.op, &then.op) {
        return Some((op, first.inputs.clone()));
    }
    #[cfg(feature = "convolution")]
    if let Some(op) = gate(&first.op, &then.op) {
        return Some((op, first.inputs.clone()));
    }
    #[cfg(feature = "transformer")]
    if let Some(joined) = rotated_append(first, then, position) {
        return Some(joined);
    }
    match (table(&first.op), &*then.op) {
        (_, Op::Add(_) | Op::FloatUnary(_) | Op::FloatBinary(_) | Op::DynamicQuantize(_)) => {
            let op = Fused::new((*first.op).clone(), (*then.op).clone(), position).ok()?;
            let mut others = then.inputs.clone();
            others.remove(position);
            Some((op.into(), [&first.inputs[..], &others].concat()))
        }
        (Some(first_table), Op::Concat(concat)) => {
            let mut inputs = then.inputs.clone();
            inputs[position] = first.inputs[0];
            Some((concat.after(position, &first_table).into(), inputs))
        }
        (first_table, _) => {
            let next = table(&then.op)?;
            let op = first_table.map(|first| Op::from(first.then(&next)));
            let op = op.or_else(|| match &*first.op {
                Op::Fused(fused) => fused.with_table(&next).map(Op::from),
                _ => None,
            });
            let op = op.or_else(|| clamped(&first.op, &next));
            let op = op.or_else(|| Some(Fused::new((*first.op).clone(), next.into(), 0).ok()?.into()))?;
            Some((op, first.inputs.clone()))
        }
    }
}

/// The most products of a layer for an image that one workgroup computes faster than a launch of its own would.
#[cfg(feature = "convolution")]
const GATE_PRODUCTS: usize = 1 << 16;

/// The gate of channels that an average of an image and a convolution of its pixel are, or a gate and another convolution.
#[cfg(feature = "convolution")]
fn gate(first: &Op, then: &Op) -> Option<Op> {
    let Op::Conv(layer) = then else { return None };
    if layer.weights().tensor_type().shape().elements() > GATE_PRODUCTS {
        return None;
    }
    let gate = match first {
        Op::Pool(pool) => ChannelGate::new(pool.clone(), vec![layer.clone()]),
        Op::ChannelGate(gate) => gate.then(layer.clone()),
        _ => return None,
    };
    gate.ok().map(Op::from)
}

/// A transposition that also converts, if the two ops are a transposition and a conversion in either order. With one scale for all
/// elements the order makes no difference.
fn converted(first: &Op, then: &Op) -> Option<Op> {
    let turned = |input: &TensorType, order: &[usize]| Some(Op::from(Transpose::new(input.clone(), order).ok()?));
    let (transpose, conversion) = match (first, then) {
        (Op::Transpose(_), Op::Quantize(_) | Op::Dequantize(_)) => (first.clone(), then.clone()),
        (Op::Quantize(first), Op::Transpose(then)) => {
            (turned(first.input(), then.order())?, first.permuted(then.order()).ok()?.into())
        }
        (Op::Dequantize(first), Op::Transpose(then)) => {
            (turned(first.input(), then.order())?, first.permuted(then.order()).ok()?.into())
        }
        _ => return None,
    };
    Fused::new(transpose, conversion, 0).ok().map(Op::from)
}

/// The op as a table of 8-bit codes, if it is one.
fn table(op: &Op) -> Option<Table> {
    match op {
        Op::Table(table) => Some(table.clone()),
        Op::Requantize(requantize) => requantize.as_table(),
        _ => None,
    }
}

/// The op with narrower bounds, if the table only clamps its codes.
fn clamped(op: &Op, table: &Table) -> Option<Op> {
    let (least, greatest) = op.outputs()[0].dtype().range()?;
    let (low, high) = table.as_clamp(least, greatest)?;
    op.clamped(low, high)
}
