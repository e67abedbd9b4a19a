//! Fusion of layers of one input, of a gate with what it multiplies, and of rotations with appends.

use std::collections::HashMap;
use std::sync::Arc;

use super::candidates::CandidateLists;
use super::fuse::{fits, launches, reads_state};
use super::graph::{Graph, Merged, Step, Value};
use crate::ops::{Arithmetic, JointLinear, Linear, Op, RotaryAppend};

/// Fuses the steps that stand beside each other, after those that follow one another. `uses` counts the reads of each stored value.
pub(super) fn fuse_layers(
    mut merged: Vec<Merged>,
    graph: &Graph,
    lists: &CandidateLists<'_>,
    uses: &HashMap<usize, usize>,
) -> Vec<Merged> {
    gate_layers(&mut merged, graph, lists, |value| uses[&graph.storage(value).index()] == 1);
    join_layers(&mut merged, graph, lists);
    join_appends(&mut merged, graph, lists);
    merged
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
        // At smaller extents all have as many tokens, too.
        && [key_rows, value_rows].iter().all(|&rows| graph.follows(rows) == graph.follows(query))
        && ![query, key_rows, value_rows, position, table].into_iter().any(is_made);
    let op = RotaryAppend::new(queries.clone(), keys.clone(), values.clone()).ok().filter(|_| fits)?;
    let inputs = vec![key_cache, value_cache, query, key_rows, value_rows, position, table];
    let outputs = vec![of_keys.outputs[0], of_values.outputs[0], of_queries.outputs[0]];
    let parts = steps.iter().flat_map(|m| m.parts.clone()).collect();
    Some(Merged { step: Step { op: Arc::new(op.into()), inputs, outputs }, parts })
}

/// An append of rotated rows, if the two steps are a rotation and an append of its rows, number `position` of the inputs.
pub(super) fn rotated_append(first: &Step, then: &Step, position: usize) -> Option<(Op, Vec<Value>)> {
    let (Op::Rotary(rotary), Op::Append(append)) = (&*first.op, &*then.op) else { return None };
    let [x, first_position, table] = first.inputs[..] else { return None };
    let [cache, _, appended_at] = then.inputs[..] else { return None };
    let op = append.clone().rotated(rotary.table_type().clone(), rotary.pairs()).ok()?;
    // The rotation makes the rows, not the cache, and of the positions where they are appended.
    let fits = position == 1 && first_position == appended_at;
    fits.then(|| (op.into(), vec![cache, x, appended_at, table]))
}
