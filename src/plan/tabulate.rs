//! Chains of elementwise steps that are a function of the codes of one tensor, as one table: a hard swish of codes, a sum with a
//! constant, the dequantization, function and quantization of one activation. `fuse` puts tables into the steps around them. Tables that
//! change no code are left out.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::graph::{Graph, Merged, Step, Value};
use crate::numeric::{DType, sort_indices};
use crate::ops::{Dequantize, FloatBinary, FloatUnary, Op, OpDef, Quantize, Requantize, Table, code_of};
use crate::reference;
use crate::tensor::{Granularity, Tensor, TensorType};

/// The number of codes of 8 bits.
const CODES: usize = 256;

/// The most steps of a chain. A longer one is a table only from codes on that lie within so many steps of its end.
const LONGEST: usize = 64;

/// These steps, in order, with a table in place of the last step of each chain, and without the other steps that nothing else reads.
pub(super) fn tabulate(graph: &Graph, steps: &[&Step], uses: &HashMap<usize, usize>) -> Vec<Merged> {
    let makers: HashMap<usize, usize> =
        steps.iter().enumerate().flat_map(|(i, step)| step.outputs.iter().map(move |v| (v.index(), i))).collect();
    let single = |(value, tensor): &(Value, Arc<Tensor>)| {
        (tensor.tensor_type().shape().elements() == 1).then(|| (value.index(), tensor.clone()))
    };
    let scalars: HashMap<usize, Arc<Tensor>> = graph.constants().iter().filter_map(single).collect();
    let mut tables: Vec<Option<Merged>> = vec![None; steps.len()];
    let mut folded: HashSet<usize> = HashSet::new();
    // The last step of a chain comes first, so that chains are as long as they can be.
    for last in (0..steps.len()).rev().filter(|&last| is_pointwise(&steps[last].op)) {
        if folded.contains(&last) {
            continue;
        }
        let chain = Chain { graph, steps, uses, makers: &makers, scalars: &scalars };
        if let Some((table, members)) = chain.ending_with(last) {
            folded.extend(chain.read_within(members, last));
            tables[last] = Some(table);
        }
    }
    let merged = steps.iter().zip(tables).enumerate().filter(|(i, _)| !folded.contains(i));
    let merged = merged.map(|(_, (step, table))| table.unwrap_or_else(|| Merged::of(step))).collect();
    without_unread(merged, graph)
}

/// These steps without those that neither an output, nor a state, nor another of them needs.
fn without_unread(mut steps: Vec<Merged>, graph: &Graph) -> Vec<Merged> {
    let kept = graph.outputs().iter().copied().chain(graph.states().iter().map(|&(state, _)| state));
    let mut wanted: HashSet<usize> = kept.map(|value| graph.storage(value).index()).collect();
    let is_needed: Vec<bool> = steps
        .iter()
        .rev()
        .map(|Merged { step, .. }| {
            let is_needed = step.outputs.iter().any(|&value| wanted.contains(&graph.storage(value).index()));
            if is_needed {
                wanted.extend(step.inputs.iter().map(|&value| graph.storage(value).index()));
            }
            is_needed
        })
        .collect();
    let mut is_needed = is_needed.into_iter().rev();
    steps.retain(|_| is_needed.next() == Some(true));
    steps
}

/// These steps without tables that change no code: the steps after them read the codes before them.
pub(super) fn without_identities(steps: Vec<Merged>, graph: &Graph) -> Vec<Merged> {
    let is_kept = |value: Value| {
        let storage = graph.storage(value);
        let states = graph.states().iter().map(|&(state, _)| state);
        graph.outputs().iter().copied().chain(states).any(|kept| graph.storage(kept) == storage)
    };
    let is_identity = |step: &Step| match &*step.op {
        Op::Table(table) => {
            let (from, to) = (step.op.inputs()[0].dtype(), table.output_type().dtype());
            from == to && table.entries().iter().enumerate().all(|(code, &entry)| code == usize::from(entry))
        }
        _ => false,
    };
    // A reader may see the codes in another shape, which the codes before the table don't have.
    let shape = |value: Value| graph.types()[value.index()].shape();
    let reads: Vec<Value> = steps.iter().flat_map(|merged| merged.step.inputs.clone()).collect();
    let is_reshaped = |output: Value| {
        let storage = graph.storage(output);
        reads.iter().any(|&read| graph.storage(read) == storage && shape(read) != shape(output))
    };
    let mut same: HashMap<Value, Value> = HashMap::new();
    let mut kept = Vec::new();
    for mut merged in steps {
        for value in &mut merged.step.inputs {
            *value = same.get(&graph.storage(*value)).copied().unwrap_or(*value);
        }
        if !is_identity(&merged.step) {
            kept.push(merged);
            continue;
        }
        let (input, output) = (merged.step.inputs[0], merged.step.outputs[0]);
        if is_kept(output) || is_reshaped(output) || graph.is_state(input) || shape(input) != shape(output) {
            kept.push(merged);
        } else {
            same.insert(graph.storage(output), input);
        }
    }
    kept
}

/// True for an op of which each element depends on the elements of the inputs at its place only.
fn is_pointwise(op: &Op) -> bool {
    let one_scale = |granularity| granularity == Granularity::Tensor;
    match op {
        Op::Table(_) | Op::Add(_) | Op::Multiply(_) | Op::FloatUnary(_) | Op::FloatBinary(_) => true,
        Op::Requantize(op) => op.as_table().is_some(),
        Op::Quantize(op) => one_scale(op.granularity()),
        Op::Dequantize(op) => one_scale(op.granularity()),
        _ => false,
    }
}

/// The op of such a kind over inputs of another shape.
fn over(op: &Op, inputs: &[Tensor]) -> Option<Op> {
    let types: Vec<TensorType> = inputs.iter().map(|tensor| tensor.tensor_type().clone()).collect();
    let first = types[0].clone();
    Some(match op {
        Op::Table(op) => Table::from_bytes(first, of_codes(op.output_type())?, *op.entries()).ok()?.into(),
        Op::Requantize(op) => Requantize::new(first, op.output().clone()).ok()?.into(),
        Op::FloatUnary(op) => FloatUnary::new(first, op.function).ok()?.into(),
        Op::FloatBinary(op) => FloatBinary::new(first, types[1].clone(), op.arithmetic).ok()?.into(),
        Op::Quantize(op) => {
            let quantize = Quantize::new(first, of_codes(op.output())?);
            let quantize = if op.halves_quotients() { quantize.precision(DType::Float16) } else { quantize };
            let quantize = if op.saturates() { quantize } else { quantize.non_saturating() };
            let quantize = if op.rounds_away() { quantize.ties_away() } else { quantize };
            quantize.build().ok()?.into()
        }
        Op::Dequantize(op) => Dequantize::new(first).output(op.output().dtype()).build().ok()?.into(),
        Op::Add(op) => op.with_inputs(&types).ok()?.into(),
        Op::Multiply(op) => op.with_inputs(&types).ok()?.into(),
        _ => return None,
    })
}

/// This type, for one element of each code.
fn of_codes(tensor_type: &TensorType) -> Option<TensorType> {
    let all = TensorType::new(tensor_type.dtype(), [CODES]).ok()?;
    match tensor_type.quantization() {
        Some(quantization) => all.quantized(quantization.clone()).ok(),
        None => Some(all),
    }
}

/// The steps of a graph, among which a chain is sought.
struct Chain<'a> {
    graph: &'a Graph,
    steps: &'a [&'a Step],
    /// The number of reads of each stored value.
    uses: &'a HashMap<usize, usize>,
    /// The step that makes each value.
    makers: &'a HashMap<usize, usize>,
    /// The constants of one element.
    scalars: &'a HashMap<usize, Arc<Tensor>>,
}

impl Chain<'_> {
    /// The table that equals the longest chain that ends with a step, and the steps of the chain; `None` if that would save nothing.
    fn ending_with(&self, last: usize) -> Option<(Merged, Vec<usize>)> {
        let step = self.steps[last];
        let &[output] = &step.outputs[..] else { return None };
        let output_type = &self.graph.types()[output.index()];
        if !output_type.dtype().is_8_bit() {
            return None;
        }
        let mut members = vec![last];
        let mut leaves = self.leaves(&members);
        while !self.is_table(&leaves, output_type) {
            if members.len() == LONGEST {
                return None;
            }
            let maker = leaves.iter().filter_map(|&leaf| self.expandable(leaf, output_type)).max()?;
            members.push(maker);
            leaves = self.leaves(&members);
        }
        let input = leaves[0];
        sort_indices(&mut members, |member| member);
        let is_one_table = members.len() == 1 && matches!(&*step.op, Op::Table(_) | Op::Requantize(_));
        // A step that reads a state stays where it is, because a write may come between.
        if is_one_table || self.graph.is_state(input) {
            return None;
        }
        let table = self.table(input, output, &members)?;
        let parts = members.iter().map(|&member| self.steps[member].op.name()).collect();
        let step = Step { op: Arc::new(table.into()), inputs: vec![input], outputs: vec![output] };
        Some((Merged { step, parts }, members))
    }

    /// The values that these steps read and don't make, without constants of one element.
    fn leaves(&self, members: &[usize]) -> Vec<Value> {
        let mut leaves: Vec<Value> = members.iter().flat_map(|&member| self.steps[member].inputs.clone()).collect();
        leaves.sort_unstable_by_key(|value| value.index());
        leaves.dedup();
        let is_made = |value: &Value| self.makers.get(&value.index()).is_some_and(|maker| members.contains(maker));
        let is_scalar = |value: Value| self.scalars.contains_key(&self.graph.storage(value).index());
        leaves.retain(|&value| !is_made(&value) && !is_scalar(value));
        leaves
    }

    /// The constant of one element that a value is, under its own scale.
    fn scalar(&self, value: Value) -> Option<Tensor> {
        let constant = self.scalars.get(&self.graph.storage(value).index())?;
        Some(constant.retyped(self.graph.types()[value.index()].clone()))
    }

    /// True if a table of one of these values can be the output.
    fn is_table(&self, leaves: &[Value], output: &TensorType) -> bool {
        let &[leaf] = leaves else { return false };
        let input = &self.graph.types()[leaf.index()];
        let one_scale = input.quantization().is_none_or(|q| q.granularity() == Granularity::Tensor);
        input.dtype().is_8_bit() && one_scale && !input.has_dynamic_scales() && input.shape() == output.shape()
    }

    /// The step that makes a value, if it may be part of the chain.
    fn expandable(&self, leaf: Value, output: &TensorType) -> Option<usize> {
        let &maker = self.makers.get(&leaf.index())?;
        let same_shape = self.graph.types()[leaf.index()].shape() == output.shape();
        (same_shape && is_pointwise(&self.steps[maker].op)).then_some(maker)
    }

    /// The members of a chain, which are in order, whose results only it reads.
    fn read_within(&self, members: Vec<usize>, last: usize) -> Vec<usize> {
        let mut within: Vec<usize> = vec![last];
        for member in members.into_iter().rev().filter(|&member| member != last) {
            let output = self.steps[member].outputs[0];
            let inputs = within.iter().flat_map(|&reader| &self.steps[reader].inputs);
            let reads = inputs.filter(|value| value.index() == output.index()).count();
            if self.uses.get(&output.index()) == Some(&reads) {
                within.push(member);
            }
        }
        within.split_off(1)
    }

    /// The table of the function from one value to another.
    fn table(&self, input: Value, output: Value, members: &[usize]) -> Option<Table> {
        let (from, to) = (&self.graph.types()[input.index()], &self.graph.types()[output.index()]);
        let codes = (0..CODES).map(|byte| code_of(from.dtype(), byte as u8)).collect();
        let codes = Tensor::from_codes(of_codes(from)?, codes);
        let mut known = HashMap::from([(input, codes)]);
        members.iter().try_for_each(|&member| self.evaluate(member, &mut known))?;
        let entries = known[&output].codes().ok()?;
        let entries = std::array::from_fn(|i| entries[i] as u8);
        Table::from_bytes(from.clone(), to.clone(), entries).ok()
    }

    /// Adds the outputs of a step to the values that are known for each code.
    fn evaluate(&self, step: usize, known: &mut HashMap<Value, Tensor>) -> Option<()> {
        let step = self.steps[step];
        let mut inputs = Vec::new();
        for &value in &step.inputs {
            inputs.push(match self.scalar(value) {
                Some(scalar) => scalar.reshaped([1]).ok()?,
                None => known.get(&value)?.clone(),
            });
        }
        let op = over(&step.op, &inputs)?;
        let output = reference::run_pointwise(&op, &inputs.iter().collect::<Vec<_>>())?;
        known.insert(step.outputs[0], output);
        Some(())
    }
}
