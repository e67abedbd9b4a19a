//! Times the host's work: building a plan, binding it, and recording it. An engine repeats only the recording. Times are CPU
//! times; divide a recording by its launches. The files beside it time kernels.

#[path = "../tests/common/mod.rs"]
mod common;
mod measure;
#[path = "../examples/digits/network.rs"]
#[allow(dead_code, reason = "only the graph is of interest here")]
mod network;

use criterion::{Criterion, Throughput};
use lowbit::ops::{Add, Requantization, Table};
use lowbit::{Context, DType, DeviceTensor, Graph, Quantization, Result, TensorType, Tuner};

/// A chain of sums. Each is read twice, so that none is fused away.
fn chain(length: usize) -> Result<Graph> {
    let mut graph = Graph::new();
    let tensor_type = TensorType::new(DType::Int8, [4, 64])?.quantized(Quantization::tensor(0.1, 0))?;
    let mut x = graph.input(tensor_type.clone());
    let mut previous = x;
    for _ in 0..length {
        let sum =
            Add::new(tensor_type.clone(), tensor_type.clone(), Requantization::new(DType::Int8, 0.1, 0)?).build()?;
        (previous, x) = (x, graph.add(sum, &[x, previous])?);
    }
    let table = Table::leaky_relu(tensor_type, 0.5, Requantization::new(DType::Int8, 0.1, 0)?)?;
    let y = graph.add(table, &[x])?;
    graph.output(y);
    Ok(graph)
}

fn plans(criterion: &mut Criterion, context: &Context) -> Result<()> {
    let digits = network::network(64).expect("the network's files");
    for (name, graph) in [("digits", digits), ("200 sums", chain(200)?)] {
        let plan = context.plan(&graph, Tuner::FirstGuess)?;
        let launches = plan.launches() as u64;
        let allocate = |t: &TensorType| DeviceTensor::allocate(context, t.clone());
        let inputs = plan.input_types().iter().map(allocate).collect::<Result<Vec<_>>>()?;
        let outputs = plan.output_types().iter().map(allocate).collect::<Result<Vec<_>>>()?;
        let (inputs, outputs): (Vec<_>, Vec<_>) = (inputs.iter().collect(), outputs.iter().collect());
        let bindings = plan.bind(&inputs, &outputs)?;
        let report = plan.verify_blocking(&bindings)?;
        assert!(report.is_exact(), "{report}");
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(launches));
        group.bench_function("build", |bencher| {
            bencher.iter(|| context.plan(&graph, Tuner::FirstGuess).expect("a plan"))
        });
        group.bench_function("bind", |bencher| bencher.iter(|| plan.bind(&inputs, &outputs).expect("its own tensors")));
        // wgpu does most of its work when the encoder is finished.
        group.bench_function("record", |bencher| {
            bencher.iter(|| {
                let mut encoder = context.device().create_command_encoder(&Default::default());
                plan.record(&mut encoder, &bindings).expect("its own bindings");
                encoder.finish()
            });
        });
        group.finish();
    }
    Ok(())
}

fn main() {
    measure::run(plans);
}
