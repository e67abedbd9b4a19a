//! Many threads on one context: planning, binding, recording and reading back at once give the bits of the reference.

mod common;

use std::sync::Arc;

use common::{Random, context, first_difference};
use lowbit::ops::{Dequantize, Matmul, Quantize, Requantization, Table};
use lowbit::{
    Bindings, Context, DeviceTensor, Format, Graph, Plan, Quantization, Result, Tensor, TensorType, Tuner, Workspace,
};

const THREADS: usize = 8;
const RECORDINGS: usize = 200;

const fn is_shared<T: Send + Sync>() {}
const _: () = {
    is_shared::<Context>();
    is_shared::<Plan>();
    is_shared::<Bindings>();
    is_shared::<Workspace>();
    is_shared::<DeviceTensor>();
    is_shared::<Graph>();
};

/// f32 → codes → two layers with a table between → f32, for up to `extent` rows.
fn network(random: &mut Random, extent: usize) -> Result<Graph> {
    let mut graph = Graph::new();
    let x = graph.dynamic_input(TensorType::new(Format::Float32, [extent, 24])?)?;
    let codes = TensorType::new(Format::Uint8, [extent, 24])?.quantized(Quantization::tensor(0.02, 128))?;
    let mut x = graph.add(Quantize::new(codes)?, &[x])?;
    let mut width = 24;
    for next in [40, 17] {
        let layer = Matmul::new(graph.tensor_type(x)?.clone(), random.quantized(Format::Int8, &[width, next]))
            .output(Requantization::new(Format::Int8, 0.7, 3)?);
        x = graph.add(layer.build()?, &[x])?;
        let table = Table::leaky_relu(graph.tensor_type(x)?.clone(), 0.3, Requantization::new(Format::Int8, 0.5, 0)?)?;
        x = graph.add(table, &[x])?;
        width = next;
    }
    let y = graph.add(Dequantize::new(graph.tensor_type(x)?.clone())?, &[x])?;
    graph.output(y);
    Ok(graph)
}

fn batch(random: &mut Random, rows: usize) -> Result<Tensor> {
    Tensor::new([rows, 24], (0..rows * 24).map(|_| random.real()).collect::<Vec<_>>())
}

/// A batch on the device, what it should become, and where that goes.
struct Job {
    host: Tensor,
    expected: Tensor,
    output: DeviceTensor,
    bindings: Bindings,
}

impl Job {
    /// With a workspace of its own, or the plan's.
    fn new(context: &Context, plan: &Plan, host: Tensor, own_workspace: bool) -> Result<Self> {
        let expected = plan.graph().run_reference(&[&host])?.swap_remove(0);
        let input = context.upload(&host)?;
        let types = plan.output_types_for(&[host.tensor_type()])?;
        let output = DeviceTensor::allocate(context, types[0].clone())?;
        let bindings = if own_workspace {
            plan.bind_with(&[&input], &[&output], &Workspace::allocate(plan)?)?
        } else {
            plan.bind(&[&input], &[&output])?
        };
        Ok(Self { host, expected, output, bindings })
    }

    fn check(&self, context: &Context, name: &str) -> Result<()> {
        let difference = first_difference(&context.download_blocking(&self.output)?, &self.expected);
        assert_eq!(difference, None, "{name}, {:?}", self.host.shape());
        Ok(())
    }
}

/// Runs the same in all threads at once and passes errors on.
fn in_threads(work: impl Fn(usize) -> Result<()> + Sync) -> Result<()> {
    let work = &work;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || work(thread))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
    })
}

#[test]
fn eight_threads_record_one_plan() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let plan = context.plan(&network(&mut Random::new(51), 9)?, Tuner::FirstGuess)?;
    in_threads(|thread| {
        let mut random = Random::new(52 + thread as u64);
        let extents = [9, 1 + thread % 8];
        let jobs = extents
            .iter()
            .map(|&rows| Job::new(&context, &plan, batch(&mut random, rows)?, thread % 2 == 0))
            .collect::<Result<Vec<_>>>()?;
        for recording in 0..RECORDINGS {
            let mut encoder = context.device().create_command_encoder(&Default::default());
            plan.record(&mut encoder, &jobs[recording % 2].bindings)?;
            context.queue().submit([encoder.finish()]);
            if recording % 20 < 2 {
                jobs[recording % 2].check(&context, &format!("thread {thread}, recording {recording}"))?;
            }
        }
        jobs.iter().try_for_each(|job| job.check(&context, &format!("thread {thread}")))
    })
}

#[test]
fn threads_plan_and_warm_up_at_once() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let graph = network(&mut Random::new(60), 5)?;
    let before = context.counters().pipelines;
    in_threads(|thread| {
        let plan = context.plan(&graph, Tuner::FirstGuess)?;
        pollster::block_on(plan.warm_up())?;
        Job::new(&context, &plan, batch(&mut Random::new(61), 5)?, false).and_then(|job| {
            let mut encoder = context.device().create_command_encoder(&Default::default());
            plan.record(&mut encoder, &job.bindings)?;
            context.queue().submit([encoder.finish()]);
            job.check(&context, &format!("thread {thread}"))
        })
    })?;
    let plan = context.plan(&graph, Tuner::FirstGuess)?;
    let compiled = context.counters().pipelines - before;
    assert!(compiled <= plan.launches() as u64, "{compiled} pipelines for {} launches", plan.launches());
    Ok(())
}

/// Two plans in one pass of the caller's, one of them with several bindings that share a workspace, in one submission.
#[test]
fn plans_share_a_pass_and_a_workspace() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(70);
    let plans = [7, 4]
        .map(|extent| Ok(Arc::new(context.plan(&network(&mut random, extent)?, Tuner::FirstGuess)?)))
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    let largest = Workspace::allocate(&plans[0])?;
    let mut jobs = Vec::new();
    for round in 0..20 {
        let plan = &plans[round % 2];
        let host = batch(&mut random, 1 + round % 4)?;
        let job = Job::new(&context, plan, host, false)?;
        let input = context.upload(&job.host)?;
        let fits = plan.workspace_buffers().iter().zip(plans[0].workspace_buffers()).all(|(a, b)| a <= b);
        assert!(fits, "the smaller plan fits the larger one's workspace");
        let bindings = plan.bind_with(&[&input], &[&job.output], &largest)?;
        jobs.push((plan.clone(), Job { bindings, ..job }));
    }
    let mut encoder = context.device().create_command_encoder(&Default::default());
    {
        let mut pass = encoder.begin_compute_pass(&Default::default());
        for (plan, job) in &jobs {
            plan.record_in(&mut pass, &job.bindings)?;
        }
    }
    context.queue().submit([encoder.finish()]);
    jobs.iter().try_for_each(|(_, job)| job.check(&context, "one pass"))
}
