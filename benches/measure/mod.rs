//! Shared parts of the benchmarks: criterion's settings, the check of results before timing, and the timed loop on a device.
//! The benchmarks themselves are in the files that include this one; expected results come from `reference`.

#![allow(dead_code, reason = "every benchmark uses its own part")]

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use lowbit::{
    Bindings, Context, DType, DeviceTensor, Element, Graph, Plan, Result, Tensor, Tuner, kernels, ops::Op, reference,
};

use crate::common;

/// Runs benchmarks on the default adapter, with few samples because the adapter may be a CPU; the command line can ask for more.
/// Without an adapter it prints a message and measures nothing.
pub(crate) fn run(benchmarks: impl FnOnce(&mut Criterion, &Context) -> Result<()>) {
    let Some(context) = common::context() else { return };
    println!("{}", context.description());
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    benchmarks(&mut criterion, &context).expect("legal requests on a working device");
    criterion.final_summary();
}

/// Times every candidate of an op under its label in one group. `difference` first compares its outputs with the expected
/// ones; a difference is an error.
pub(crate) fn every_candidate(
    criterion: &mut Criterion,
    context: &Context,
    group: &str,
    throughput: Throughput,
    (op, inputs): (&Op, &[&Tensor]),
    difference: impl Fn(&[Tensor]) -> Result<Option<String>>,
) {
    let mut group = criterion.benchmark_group(group);
    group.throughput(throughput);
    for (index, candidate) in kernels::candidates(op, &context.caps()).iter().enumerate() {
        // Built at the first sample, so that a candidate filtered out by the command line costs nothing.
        let mut ready = None;
        group.bench_function(&candidate.label, |bencher| {
            let launch = ready.get_or_insert_with(|| {
                let launch = Launch::new(context, op, inputs, index).expect("a plan for the device");
                launch.time(1);
                let difference = launch.outputs().and_then(|outputs| difference(&outputs)).expect("legal requests");
                assert_eq!(difference, None, "candidate \"{}\" is wrong", candidate.label);
                launch
            });
            bencher.iter_custom(|iterations| launch.time(iterations));
        });
    }
    group.finish();
}

/// First difference between the outputs and the reference's.
pub(crate) fn difference_from_reference(op: &Op, inputs: &[&Tensor], outputs: &[Tensor]) -> Result<Option<String>> {
    let expected = reference::run(op, inputs)?;
    Ok(outputs.iter().zip(&expected).find_map(|(got, expected)| common::first_difference(got, expected)))
}

/// Tensor of the elements at the given linear indices, with the given dimensions. A per-tensor scale is kept.
pub(crate) fn gather(tensor: &Tensor, dims: &[usize], indices: impl IntoIterator<Item = usize>) -> Result<Tensor> {
    fn elements<T: Element>(
        tensor: &Tensor,
        dims: &[usize],
        indices: impl IntoIterator<Item = usize>,
    ) -> Result<Tensor> {
        let values = tensor.values::<T>()?;
        Tensor::new(dims, indices.into_iter().map(|i| values[i]).collect::<Vec<T>>())
    }
    let gathered = match tensor.dtype() {
        DType::Int8 => elements::<i8>(tensor, dims, indices),
        DType::Uint8 => elements::<u8>(tensor, dims, indices),
        _ => elements::<i32>(tensor, dims, indices),
    }?;
    match tensor.tensor_type().quantization() {
        Some(quantization) => gathered.quantized(quantization.clone()),
        None => Ok(gathered),
    }
}

/// A plan of one op, and its tensors on the device.
struct Launch<'a> {
    context: &'a Context,
    plan: Plan,
    bindings: Bindings,
    outputs: Vec<DeviceTensor>,
}

impl<'a> Launch<'a> {
    fn new(context: &'a Context, op: &Op, inputs: &[&Tensor], candidate: usize) -> Result<Self> {
        let plan = context.plan(&Graph::of(op.clone())?, Tuner::Nth(candidate))?;
        let inputs: Vec<_> = inputs.iter().map(|t| context.upload(t)).collect::<Result<_>>()?;
        let outputs: Vec<_> =
            plan.output_types().iter().map(|t| DeviceTensor::allocate(context, t.clone())).collect::<Result<_>>()?;
        let bindings = plan.bind(&inputs.iter().collect::<Vec<_>>(), &outputs.iter().collect::<Vec<_>>())?;
        Ok(Self { context, plan, bindings, outputs })
    }

    fn outputs(&self) -> Result<Vec<Tensor>> {
        self.outputs.iter().map(|t| self.context.download_blocking(t)).collect()
    }

    /// Time to record and submit `iterations` runs and to wait for the last.
    fn time(&self, iterations: u64) -> Duration {
        let (device, queue) = (self.context.device(), self.context.queue());
        let start = Instant::now();
        for _ in 0..iterations {
            let mut encoder = device.create_command_encoder(&Default::default());
            self.plan.record(&mut encoder, &self.bindings).expect("the plan's own bindings");
            queue.submit([encoder.finish()]);
        }
        device.poll(wgpu::PollType::wait_indefinitely()).expect("a device that finishes");
        start.elapsed()
    }
}
