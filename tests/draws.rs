//! Random ops of every kind, with awkward, empty and impossible shapes. Each is refused with a reason, or planned at every extent
//! that is tried and computed on the CPU. A device computes the same without an access outside of its buffers. `LOWBIT_DRAWS` is
//! the number of draws, `LOWBIT_SEED` the first seed.

mod common;

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use common::draw::Draw;
use common::{check_outputs, context, context_with, first_difference, run_checked, tiny_limits};
use lowbit::ops::Op;
use lowbit::{Context, Error, Graph, PlanOptions, Result, Tensor, TensorType, Tuner, Value, kernels, reference};

/// A number from the environment.
fn number(variable: &str, otherwise: u64) -> u64 {
    match std::env::var(variable) {
        Ok(value) => value.parse().unwrap_or_else(|_| panic!("{variable} is {value}, which is no number")),
        Err(_) => otherwise,
    }
}

/// Largest number of elements of an op that is computed on the CPU.
const LARGEST: usize = 2_000;

#[derive(Debug, Default)]
struct Count {
    planned: u64,
    dynamic: u64,
    extents: u64,
    computed: u64,
}

/// The op alone in a graph, in which some dimensions of inputs follow one of two extents: those of a size follow the extent of that
/// size.
fn dynamic_graph(draw: &mut Draw, op: &Op) -> Result<Option<(Graph, [usize; 2])>> {
    let sizes: Vec<usize> = op.inputs().iter().flat_map(|t| t.dims().to_vec()).filter(|&size| size > 0).collect();
    let Some(&first) = op.inputs()[0].dims().first().filter(|&&size| size > 0) else { return Ok(None) };
    let other = draw.random.pick(&sizes);
    let mut graph = Graph::new();
    let extents = [graph.extent("first", first)?, graph.extent("other", other)?];
    let everywhere = draw.random.integer(0, 1) == 0;
    let inputs = op.inputs().into_iter().map(|input| {
        let follows = |(axis, &size): (usize, &usize)| match size {
            size if size == first && (axis == 0 || everywhere) => Some((axis, extents[0])),
            size if size == other && axis > 0 => Some((axis, extents[1])),
            _ => None,
        };
        let following: Vec<_> = input.dims().iter().enumerate().filter_map(follows).collect();
        if following.is_empty() { Ok(graph.input(input)) } else { graph.dynamic_input(input, following) }
    });
    let inputs = inputs.collect::<Result<Vec<Value>>>()?;
    for output in graph.add_all(op.clone(), &inputs)? {
        graph.output(output);
    }
    Ok(Some((graph, [first, other])))
}

/// Plans an op at its extents and at smaller ones, without compiling anything.
fn plan(context: &Context, draw: &mut Draw, op: &Op, count: &mut Count) -> Result<()> {
    let tuner = Tuner::Nth(draw.random.integer(0, 8) as usize);
    let mut options = PlanOptions::from(tuner);
    options.single_workspace_buffer = draw.random.integer(0, 7) == 0;
    context.plan_with(&Graph::of(op.clone())?, options)?;
    count.planned += 1;
    // An op whose constants belong to single indices supports no other extent.
    let Ok(Some((graph, most))) = dynamic_graph(draw, op) else { return Ok(()) };
    count.dynamic += 1;
    let Ok(plan) = context.plan_with(&graph, options) else { return Ok(()) };
    let sizes = |most: usize| [0, 1, most / 2, most.saturating_sub(3), most - 1, most];
    for (first, other) in sizes(most[0]).into_iter().flat_map(|first| sizes(most[1]).map(|other| (first, other))) {
        match plan.at(&[("first", first), ("other", other)]) {
            Ok(at) => {
                let expected = graph.fixed(&[("first", first), ("other", other)])?;
                assert!(expected.input_types().eq(at.input_types()), "{op:?}");
                count.extents += 1;
            }
            Err(Error::Request(_) | Error::Limit { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Inputs for an op that is small enough to be computed: ordinary values, or any words.
fn inputs(draw: &mut Draw, op: &Op) -> Result<Option<Vec<Tensor>>> {
    let elements = |types: Vec<TensorType>| types.iter().map(|t| t.shape().elements()).sum::<usize>();
    if elements(op.inputs()) + elements(op.outputs()) > LARGEST {
        return Ok(None);
    }
    let garbage = draw.random.integer(0, 1) == 0;
    let inputs = op.inputs();
    let inputs = inputs.iter().map(|t| if garbage { draw.tensor(t) } else { draw.input(t) });
    inputs.collect::<Result<Vec<Tensor>>>().map(Some)
}

/// Computes an op on the CPU, whole and with its rows divided among threads.
fn compute(draw: &mut Draw, op: &Op, count: &mut Count) -> Result<()> {
    let Some(inputs) = inputs(draw, op)? else { return Ok(()) };
    let inputs: Vec<&Tensor> = inputs.iter().collect();
    let outputs = reference::run(op, &inputs)?;
    assert!(outputs.iter().map(Tensor::tensor_type).eq(&op.outputs()), "{op:?} makes what it doesn't declare");
    reference::tolerance(op, &inputs)?;
    for (got, expected) in Graph::of(op.clone())?.run_reference(&inputs)?.iter().zip(&outputs) {
        assert_eq!(first_difference(got, expected), None, "{op:?}, divided among threads");
    }
    count.computed += 1;
    Ok(())
}

/// Runs a kernel of an op on a device with every access checked, and compares it with the CPU.
fn run(context: &Context, draw: &mut Draw, name: &str) -> Result<bool> {
    let op = draw.op()?;
    let Some(inputs) = inputs(draw, &op)? else { return Ok(false) };
    let inputs: Vec<&Tensor> = inputs.iter().collect();
    let candidates = kernels::candidates(&op, &context.caps());
    // Mostly the first guess, so that few programs have to be compiled.
    let index = if draw.random.integer(0, 3) == 0 { draw.random.next() as usize % candidates.len() } else { 0 };
    let name = format!("{name}, {}, {}", op.name(), candidates[index].label);
    let Some(got) = run_checked(context, &name, &op, &inputs, &candidates[index]) else { return Ok(false) };
    // Device memory may contain parameters that the CPU refuses.
    check_outputs(&name, &op, &inputs, &got).map(|()| true)
}

#[test]
fn every_op_is_refused_or_planned_and_computed() {
    let limits = wgpu::Limits { max_storage_buffer_binding_size: 4 << 10, ..tiny_limits() };
    let Some(contexts) =
        [None, Some(tiny_limits()), Some(limits)].map(context_with).into_iter().collect::<Option<Vec<_>>>()
    else {
        return;
    };
    let (first, draws) = (number("LOWBIT_SEED", 0), number("LOWBIT_DRAWS", 20_000));
    let (mut count, mut drawn) = (Count::default(), BTreeSet::new());
    let faults = attempts(first..first + draws, |draw, seed| {
        let op = draw.op()?;
        drawn.insert(op.variant());
        // The CPU computes an op even if the device can't.
        let planned = plan(&contexts[seed as usize % contexts.len()], draw, &op, &mut count);
        compute(draw, &op, &mut count)?;
        planned
    });
    println!("of {draws} draws from {first}: {count:?}");
    assert!(faults.is_empty(), "faults, and the seeds that show them: {faults:#?}");
    assert!(count.planned > draws / 3, "nearly all draws are refused: {count:?}");
    let missing: Vec<_> = Op::VARIANTS.iter().filter(|&op| !drawn.contains(op)).collect();
    assert!(draws < 10_000 || missing.is_empty(), "ops that were not drawn: {missing:?}");
}

#[test]
fn every_op_does_on_a_device_as_on_the_cpu() {
    let Some(context) = context() else { return };
    let (first, draws) = (number("LOWBIT_SEED", 0), number("LOWBIT_DEVICE_DRAWS", 300));
    let mut ran = 0;
    let faults = attempts(first..first + draws, |draw, seed| {
        ran += u64::from(run(&context, draw, &format!("seed {seed}"))?);
        Ok(())
    });
    println!("of {draws} draws from {first}, {ran} ran on {}", context.description());
    assert!(faults.is_empty(), "faults, and the seeds that show them: {faults:#?}");
    assert!(ran > draws / 4, "only {ran} of {draws} ran");
}

/// Runs `attempt` for each seed. Returns the seeds of each fault: the message of a panic, or of an error other than `Request` and
/// `Limit`.
fn attempts(seeds: Range<u64>, mut attempt: impl FnMut(&mut Draw, u64) -> Result<()>) -> BTreeMap<String, Vec<u64>> {
    let mut faults: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for seed in seeds {
        let mut draw = Draw::new(seed, seed % 2 == 0);
        let fault = match catch_unwind(AssertUnwindSafe(|| attempt(&mut draw, seed))) {
            Ok(Ok(()) | Err(Error::Request(_) | Error::Limit { .. })) => continue,
            Ok(Err(error)) => error.to_string(),
            Err(panic) => describe(&*panic),
        };
        faults.entry(fault).or_default().push(seed);
    }
    faults
}

/// Message of a panic without its digits, so that seeds with the same fault are listed together.
fn describe(panic: &(dyn Any + Send)) -> String {
    let message = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    message.unwrap_or("a panic without a message").replace(|c: char| c.is_ascii_digit(), "")
}
