//! Fusion of steps into one launch: requantization, clamps, tables, sums, and functions and products of floats move into the op before
//! them, conversions into the transposition beside them, quantization of rows into their norm or attention, and layers of one input into one. Codes
//! stay equal, and floats within their bounds. The fused ops are defined in `ops`; `schedule` orders and places them.

use std::collections::HashMap;
use std::sync::Arc;

use super::candidates::CandidateLists;
use super::graph::{Graph, Merged, Step, Value};
use super::tabulate::tabulate;
use crate::kernels::Dispatch;
use crate::ops::{Arithmetic, Fused, JointLinear, Linear, Op, RotaryAppend, Table, Transpose};
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
                // Of two elementwise operands one may follow the extent, and the other may not: at a smaller one they broadcast.
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
    let mut merged: Vec<Merged> = done.into_iter().flatten().collect();
    let is_read_once = |value: Value| uses[&graph.storage(value).index()] == 1;
    gate_layers(&mut merged, graph, lists, is_read_once);
    join_layers(&mut merged, graph, lists);
    join_appends(&mut merged, graph, lists);
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

/// Makes one step of a layer whose results are multiplied with a function of another's, if nothing else reads that.
fn gate_layers(
    merged: &mut Vec<Merged>,
    graph: &Graph,
    lists: &CandidateLists<'_>,
    is_read_once: impl Fn(Value) -> bool,
) {
    let mut done = vec![false; merged.len()];
    let mut makers: HashMap<Value, usize> = HashMap::new();
    for position in 0..merged.len() {
        makers.extend(merged[position].step.outputs.iter().map(|&value| (value, position)));
        let factor = &merged[position];
        let Some((residual, inputs)) = factor.step.inputs.split_last() else { continue };
        let maker = makers.get(residual).copied().filter(|&maker| {
            let gate = &merged[maker].step;
            gate.inputs == inputs && is_read_once(*residual) && !reads_state(gate, graph)
        });
        let joint = maker.and_then(|maker| Some((maker, gated(&merged[maker].step.op, &factor.step.op)?)));
        let saves = |(maker, op): &(usize, Arc<Op>)| {
            fits(op, lists)
                && launches(op, lists) < launches(&merged[*maker].step.op, lists) + launches(&factor.step.op, lists)
        };
        let Some((maker, op)) = joint.filter(saves) else { continue };
        let step = Step { op, inputs: inputs.to_vec(), outputs: factor.step.outputs.clone() };
        merged[position] = Merged { step, parts: [&merged[maker].parts[..], &factor.parts].concat() };
        done[maker] = true;
    }
    remove(merged, &done);
}

/// Removes the steps that are part of others now.
fn remove(merged: &mut Vec<Merged>, done: &[bool]) {
    let mut done = done.iter();
    merged.retain(|_| done.next() != Some(&true));
}

/// The product of a layer and a function of another, if these ops are that.
fn gated(gate: &Op, factor: &Op) -> Option<Arc<Op>> {
    let (Op::Fused(gate), Op::Fused(factor)) = (gate, factor) else { return None };
    let (Op::Linear(first), Op::FloatUnary(function)) = (gate.first(), gate.then()) else { return None };
    let (Op::Linear(second), Op::FloatBinary(binary)) = (factor.first(), factor.then()) else { return None };
    if binary.arithmetic != Arithmetic::Multiply {
        return None;
    }
    let joint = JointLinear::new(vec![first.clone(), second.clone()]).ok()?;
    Some(Arc::new(joint.gated(function.function).ok()?.into()))
}

/// Makes one step of layers of the same inputs, in place of the first of them.
fn join_layers(merged: &mut Vec<Merged>, graph: &Graph, lists: &CandidateLists<'_>) {
    let mut siblings: HashMap<&[Value], Vec<(usize, &Linear)>> = HashMap::new();
    for (i, m) in merged.iter().enumerate() {
        if let Op::Linear(layer) = &*m.step.op
            && !reads_state(&m.step, graph)
        {
            siblings.entry(&m.step.inputs).or_default().push((i, layer));
        }
    }
    let mut joints: Vec<(Vec<usize>, Arc<Op>)> = Vec::new();
    for of_inputs in siblings.into_values() {
        let mut rest = &of_inputs[..];
        while !rest.is_empty() {
            let joint = |count: usize| {
                let op = JointLinear::new(rest[..count].iter().map(|&(_, layer)| layer.clone()).collect()).ok()?;
                let apart: usize = rest[..count].iter().map(|(i, _)| launches(&merged[*i].step.op, lists)).sum();
                Some((count, Arc::new(Op::from(op)))).filter(|(_, op)| fits(op, lists) && launches(op, lists) < apart)
            };
            let found = (2..=rest.len().min(JointLinear::MOST_LAYERS)).rev().find_map(joint);
            let count = found.as_ref().map_or(1, |(count, _)| *count);
            joints.extend(found.map(|(count, op)| (rest[..count].iter().map(|&(i, _)| i).collect(), op)));
            rest = &rest[count..];
        }
    }
    let mut done = vec![false; merged.len()];
    for (members, op) in joints {
        let outputs = members.iter().flat_map(|&i| merged[i].step.outputs.clone()).collect();
        let parts = members.iter().flat_map(|&i| merged[i].parts.clone()).collect();
        let inputs = merged[members[0]].step.inputs.clone();
        merged[members[0]] = Merged { step: Step { op, inputs, outputs }, parts };
        members[1..].iter().for_each(|&i| done[i] = true);
    }
    remove(merged, &done);
}

/// Makes one step of a rotation of queries and the appends of keys and values, if they follow one another.
fn join_appends(merged: &mut Vec<Merged>, graph: &Graph, lists: &CandidateLists<'_>) {
    let mut first = 0;
    while first + 3 <= merged.len() {
        let three = &merged[first..first + 3];
        let joined = rotary_append([&three[0], &three[1], &three[2]], graph);
        let apart: usize = three.iter().map(|m| launches(&m.step.op, lists)).sum();
        if let Some(joined) = joined.filter(|m| fits(&m.step.op, lists) && launches(&m.step.op, lists) < apart) {
            merged.splice(first..first + 3, [joined]);
        }
        first += 1;
    }
}

/// A rotation and two appends at one position as one step, in whatever order they are.
fn rotary_append(steps: [&Merged; 3], graph: &Graph) -> Option<Merged> {
    let (mut queries, mut keys, mut values) = (None, None, None);
    for &Merged { step, .. } in &steps {
        match &*step.op {
            Op::Rotary(op) => queries = Some((op, step)),
            Op::Append(op) if op.rotary().is_some() => keys = Some((op, step)),
            Op::Append(op) => values = Some((op, step)),
            _ => return None,
        }
    }
    let ((queries, of_queries), (keys, of_keys), (values, of_values)) = (queries?, keys?, values?);
    let [query, position, table] = of_queries.inputs[..] else { return None };
    let [key_cache, key_rows, at, by] = of_keys.inputs[..] else { return None };
    let [value_cache, value_rows, and_at] = of_values.inputs[..] else { return None };
    let caches = [key_cache, value_cache];
    let made: Vec<Value> =
        steps.iter().flat_map(|m| m.step.outputs.iter().map(|&value| graph.storage(value))).collect();
    let is_made = |value: Value| made.contains(&graph.storage(value));
    let fits = position == at
        && position == and_at
        && table == by
        && caches.iter().all(|&cache| graph.is_state(cache))
        && graph.storage(key_cache) != graph.storage(value_cache)
        // At a smaller extent all have as many tokens, too.
        && [key_rows, value_rows].iter().all(|&rows| graph.follows(rows) == graph.follows(query))
        && ![query, key_rows, value_rows, position, table].into_iter().any(is_made);
    let op = RotaryAppend::new(queries.clone(), keys.clone(), values.clone()).ok().filter(|_| fits)?;
    let inputs = vec![key_cache, value_cache, query, key_rows, value_rows, position, table];
    let outputs = vec![of_keys.outputs[0], of_values.outputs[0], of_queries.outputs[0]];
    let parts = steps.iter().flat_map(|m| m.parts.clone()).collect();
    Some(Merged { step: Step { op: Arc::new(op.into()), inputs, outputs }, parts })
}

/// True if a step reads a state: it stays where it is, because a write may come between.
fn reads_state(step: &Step, graph: &Graph) -> bool {
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
fn fits(op: &Arc<Op>, lists: &CandidateLists<'_>) -> bool {
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
fn launches(op: &Arc<Op>, lists: &CandidateLists<'_>) -> usize {
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
        (Op::Conv(first), Op::Requantize(then)) => first.requantized(then).map(Op::from),
        _ => None,
    };
    if let Some(op) = requantized {
        return Some((op, first.inputs.clone()));
    }
    if let Some(op) = converted(&first.op, &then.op) {
        return Some((op, first.inputs.clone()));
    }
    if let (Op::Rotary(rotary), Op::Append(append)) = (&*first.op, &*then.op) {
        let [x, first_position, table] = first.inputs[..] else { return None };
        let [cache, _, appended_at] = then.inputs[..] else { return None };
        let op = append.clone().rotated(rotary.table_type().clone(), rotary.pairs()).ok()?;
        // The rotation makes the rows, not the cache, and of the positions where they are appended.
        let fits = position == 1 && first_position == appended_at;
        return fits.then(|| (op.into(), vec![cache, x, appended_at, table]));
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
