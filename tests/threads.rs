//! One context, one plan, many threads: threads share contexts and plans, and plan, warm up, bind, record and submit at once. Every
//! result has the reference's bits. `failure.rs` tests the loss of a device during such work.

mod common;

use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use common::{Random, context, first_difference};
use lowbit::ops::{Matmul, Requantization, Table};
use lowbit::weights::{Codes, GroupParams, PackedWeights, ScaleFormat, WeightFormat};
use lowbit::{Bindings, Context, DType, DeviceTensor, Graph, Plan, Result, Tensor, Tuner, Workspace};
use rayon::prelude::*;

const THREADS: usize = 8;
const RECORDINGS: usize = 200;
/// Recordings per submission of a thread.
const BATCH: usize = 20;

/// The last candidate of each op, mostly a small program: a software device prepares programs again for every launch.
const SMALL: Tuner = Tuner::Nth(usize::MAX);

/// This compiles only if all these types are Send and Sync.
#[test]
fn contexts_plans_and_bindings_are_send_and_sync() {
    fn check<T: Send + Sync>() {}
    check::<Context>();
    check::<Plan>();
    check::<Bindings>();
    check::<Workspace>();
    check::<DeviceTensor>();
    check::<Graph>();
}

/// uint8 codes -> table -> codes -> matmul -> int32, for up to 9 rows: two launches with a workspace between them. The seed sets
/// the weights and the width.
fn network(seed: u64) -> Result<Graph> {
    let mut random = Random::new(seed);
    let (rows, width) = (9, random.pick(&[5, 16, 17, 30]));
    let codes = random.quantized(DType::Uint8, &[rows, width]).tensor_type().clone();
    let mut graph = Graph::new();
    let extent = graph.extent("rows", rows)?;
    let x = graph.dynamic_input(codes.clone(), [(0, extent)])?;
    let table = Table::leaky_relu(codes, 0.25, Requantization::new(DType::Uint8, 0.5, 100)?)?;
    let x = graph.add(table, &[x])?;
    let weights = random.quantized(DType::Int8, &[width, width]);
    let y = graph.add(Matmul::new(graph.tensor_type(x)?.clone(), weights).build()?, &[x])?;
    graph.output(y);
    Ok(graph)
}

/// Random codes for a network, with `rows` rows.
fn input(graph: &Graph, rows: usize, random: &mut Random) -> Result<Tensor> {
    let most = graph.input_types().next().expect("one input");
    let codes = random.codes(DType::Uint8, &[rows, most.dims()[1]]);
    codes.quantized(most.quantization().expect("codes").clone())
}

/// The reference's result for an input that may have fewer rows than the graph. Rows are independent, so the input is padded with
/// zeros, and their results are dropped.
fn expected(graph: &Graph, input: &Tensor) -> Result<Tensor> {
    let most = graph.input_types().next().expect("one input");
    let mut padded = input.values::<u8>()?.to_vec();
    let elements = padded.len();
    padded.resize(most.shape().elements(), 0);
    let padded = Tensor::new(most.dims(), padded)?.quantized(most.quantization().expect("codes").clone())?;
    let out = graph.run_reference(&[&padded])?.remove(0);
    Tensor::new(input.dims(), &out.values::<i32>()?[..elements])
}

/// A plan bound to an input and an output of its own, and the expected output.
struct Job<'a> {
    plan: &'a Plan,
    bindings: Bindings,
    input: DeviceTensor,
    output: DeviceTensor,
    expected: Tensor,
}

impl<'a> Job<'a> {
    /// A job with the given workspace, or else the plan's own.
    fn new(plan: &'a Plan, rows: usize, workspace: Option<&Workspace>, random: &mut Random) -> Result<Self> {
        let input = input(plan.graph(), rows, random)?;
        let expected = expected(plan.graph(), &input)?;
        let input = plan.context().upload(&input)?;
        // The initial output differs from the expected output everywhere.
        let wrong: Vec<i32> = expected.values::<i32>()?.iter().map(|value| !value).collect();
        let output = plan.context().upload(&Tensor::new(expected.dims(), wrong)?)?;
        let bindings = match workspace {
            Some(workspace) => plan.bind_with(&[&input], &[&output], workspace)?,
            None => plan.bind(&[&input], &[&output])?,
        };
        Ok(Self { plan, bindings, input, output, expected })
    }

    fn check(&self, name: &str) -> Result<()> {
        let got = self.plan.context().download_blocking(&self.output)?;
        if let Some(difference) = first_difference(&got, &self.expected) {
            panic!("{name}: {difference}, with\n{}", self.plan);
        }
        Ok(())
    }
}

/// In each thread: binds the job for each thread and recording, records it, and submits every few recordings. All threads start
/// together, and all results are checked at the end.
fn hammer<'a>(name: &str, job: impl Fn(usize, usize, &mut Random) -> Result<Job<'a>> + Sync) -> Result<()> {
    let (barrier, done) = (Barrier::new(THREADS), Mutex::new(Vec::new()));
    let work = |thread: usize| -> Result<()> {
        let mut random = Random::new(thread as u64);
        barrier.wait();
        for batch in 0..RECORDINGS / BATCH {
            let numbers = batch * BATCH..(batch + 1) * BATCH;
            let jobs = numbers.map(|n| job(thread, n, &mut random)).collect::<Result<Vec<_>>>()?;
            let context = jobs[0].plan.context();
            let mut encoder = context.device().create_command_encoder(&Default::default());
            jobs.iter().try_for_each(|job| job.plan.record(&mut encoder, &job.bindings))?;
            context.queue().submit([encoder.finish()]);
            // One job of each submission is checked while other threads work, the rest at the end.
            jobs[batch].check(&format!("{name}, thread {thread}, submission {batch}"))?;
            done.lock().expect("no thread has panicked").extend(jobs);
        }
        Ok(())
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || work(thread))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|p| std::panic::resume_unwind(p)))
    })?;
    let done = done.into_inner().expect("no thread has panicked");
    assert_eq!(done.len(), THREADS * RECORDINGS);
    done.iter().try_for_each(|job| job.check(name))
}

#[test]
fn one_plan_recorded_by_many_threads() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let plan = context.plan(&network(1)?, SMALL)?;
    assert!(plan.workspace_bytes() > 0, "a workspace to share:\n{plan}");
    let shared = Workspace::allocate(&plan)?;
    let own = (0..THREADS).map(|_| Workspace::allocate(&plan)).collect::<Result<Vec<_>>>()?;
    hammer("in turn a workspace of its own, the plan's and a shared one", |thread, n, random| {
        let workspace = [Some(&own[thread]), None, Some(&shared)][n % 3];
        Job::new(&plan, 1 + random.next() as usize % 9, workspace, random)
    })
}

#[test]
fn many_plans_of_one_context_recorded_by_many_threads() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let plan = |seed| context.plan(&network(seed)?, Tuner::Nth(seed as usize % 3));
    let plans = (0..THREADS as u64).map(plan).collect::<Result<Vec<_>>>()?;
    let sizes = plans.iter().map(Plan::workspace_buffers);
    let most = sizes.max_by_key(|sizes| sizes.iter().sum::<u64>()).expect("eight plans");
    assert!(plans.iter().all(|plan| plan.workspace_buffers().iter().zip(most).all(|(needed, size)| needed <= size)));
    let of_the_largest = |plan: &&Plan| plan.workspace_buffers() == most;
    let shared = Workspace::allocate(plans.iter().find(of_the_largest).expect("the largest is one of them"))?;
    hammer("a plan per thread, then everybody's", |thread, n, random| {
        let plan = &plans[if n < RECORDINGS / 2 { thread } else { (thread + n) % THREADS }];
        Job::new(plan, 9 - n % 9, (n % 2 == 0).then_some(&shared), random)
    })
}

/// Both threads plan the same network, so they compile and upload equal objects at the same time.
#[test]
fn threads_plan_and_warm_up_at_once() -> Result<()> {
    for round in 0..10 {
        let Some(context) = context() else { return Ok(()) };
        let barrier = Barrier::new(2);
        let work = |thread: u64| -> Result<()> {
            let graph = network(round)?;
            barrier.wait();
            let plan = context.plan(&graph, Tuner::Nth(round as usize % 4))?;
            pollster::block_on(plan.warm_up())?;
            pollster::block_on(plan.at(&[("rows", 3)])?.warm_up())?;
            let compiled = context.counters().pipelines;
            let mut random = Random::new(thread);
            for rows in [9, 3] {
                let input = input(&graph, rows, &mut random)?;
                let got = plan.run_blocking(&[&input])?;
                let difference = first_difference(&got[0], &expected(&graph, &input)?);
                assert_eq!(difference, None, "round {round}, thread {thread}, {rows} rows, with\n{plan}");
            }
            assert_eq!(context.counters().pipelines, compiled, "what is warm compiles nothing");
            Ok(())
        };
        thread::scope(|scope| {
            let threads = [0, 1].map(|thread| scope.spawn(move || work(thread)));
            threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|p| std::panic::resume_unwind(p)))
        })?;
    }
    Ok(())
}

/// Each plan has one workspace for all its recordings.
#[test]
fn many_recordings_in_one_submission() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(5);
    let plan = |seed| context.plan(&network(seed)?, Tuner::FirstGuess);
    let plans = (1..4).map(plan).collect::<Result<Vec<_>>>()?;
    for (name, used, passes) in [
        ("one plan, a pass for each recording", 1, 100),
        ("one plan, one pass", 1, 1),
        ("three plans, a pass for each recording", 3, 100),
        ("three plans, one pass", 3, 1),
    ] {
        let job = |i: usize| Job::new(&plans[i % used], 1 + i % 9, None, &mut random);
        let jobs = (0..100).map(job).collect::<Result<Vec<_>>>()?;
        let before = context.counters();
        let mut encoder = context.device().create_command_encoder(&Default::default());
        if passes == 1 {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            jobs.iter().try_for_each(|job| job.plan.record_in(&mut pass, &job.bindings))?;
        } else {
            jobs.iter().try_for_each(|job| job.plan.record(&mut encoder, &job.bindings))?;
        }
        assert_eq!(context.counters(), before, "{name}: recording submits, allocates or compiles");
        context.queue().submit([encoder.finish()]);
        jobs.iter().try_for_each(|job| job.check(name))?;
    }
    Ok(())
}

/// A plan reads another plan's output in the order of submission, whatever the order of recording.
#[test]
fn plans_one_after_the_other() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(6);
    let later = context.plan(&network(1)?, Tuner::FirstGuess)?;
    let mut second = Job::new(&later, 9, None, &mut random)?;

    let codes = later.input_types()[0].clone();
    let (scale, zero_point) = codes.quantization().map(|q| (q.scales()[0], q.zero_points()[0])).expect("codes");
    let mut graph = Graph::new();
    let x = graph.input(codes.clone());
    let y = graph.add(Table::sigmoid(codes, Requantization::new(DType::Uint8, scale, zero_point)?)?, &[x])?;
    graph.output(y);
    let earlier = context.plan(&graph, Tuner::FirstGuess)?;
    let x = input(&graph, 9, &mut random)?;
    let first = earlier.bind(&[&context.upload(&x)?], &[&second.input])?;
    second.expected = expected(later.graph(), &graph.run_reference(&[&x])?[0])?;

    let encoder = || context.device().create_command_encoder(&Default::default());
    let (mut before, mut after) = (encoder(), encoder());
    later.record(&mut after, &second.bindings)?;
    earlier.record(&mut before, &first)?;
    context.queue().submit([before.finish(), after.finish()]);
    second.check("the second plan")
}

/// Weights that are made in parallel, by threads that need them at the same time.
#[test]
fn deferred_weights_of_many_threads() -> Result<()> {
    let format = WeightFormat::new(Codes::INT4, 32, ScaleFormat::F16);
    let make = move || {
        PackedWeights::build(format, [1, 512, 64], |row, codes, groups, _| {
            if row % 64 == 0 {
                thread::sleep(std::time::Duration::from_millis(1));
            }
            codes.fill((row % 7) as i8);
            groups.fill(GroupParams::scale(1.0));
            Ok(())
        })
    };
    let weights = Arc::new(PackedWeights::deferred(format, [1, 512, 64], make)?);
    let expected = make()?.dequantize()?;
    for _ in 0..4 {
        let all: Vec<Tensor> = (0..12).into_par_iter().map(|_| weights.dequantize()).collect::<Result<_>>()?;
        assert!(all.iter().all(|numbers| *numbers == expected));
    }
    Ok(())
}
