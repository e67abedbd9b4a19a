//! Runs the network of an ONNX file: `cargo run --release --example onnx -- model.onnx --input image=image.png`.
//!
//! Inputs are .npy files, pictures (.png, .jpg), or random numbers with `--random`. `--times` prints the time of each launch. `--compare answers.npz` tells how far outputs are from those of another
//! runtime, under the same names; inputs are taken from there too. `scripts/onnx-networks` makes such files with ONNX Runtime.

mod nodes;
mod npy;
mod picture;

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Parser;
use lowbit::onnx::{Arithmetic, Model, Options};
use lowbit::{Bindings, Context, DType, DeviceTensor, Network, Plan, Tensor, TensorType, Tuner};
use npy::Array;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Runs the network of an ONNX file.
#[derive(Debug, Parser)]
struct Arguments {
    /// The file; with `--nodes` a folder of node cases of ONNX's backend test suite.
    model: PathBuf,
    /// Runs node cases on the reference, and prints a line for each op.
    #[arg(long)]
    nodes: bool,
    /// An input and its file: name=file.npy, or a picture that is scaled to the input, name=file.png.
    #[arg(long, value_name = "NAME=FILE")]
    input: Vec<String>,
    /// The numbers of the darkest and the brightest value of a picture.
    #[arg(long, value_name = "LOW,HIGH", default_value = "-1,1", allow_hyphen_values = true)]
    range: String,
    /// Random numbers for inputs without a file.
    #[arg(long)]
    random: bool,
    /// The extent of a dimension: name=extent.
    #[arg(long, value_name = "NAME=EXTENT")]
    dimension: Vec<String>,
    /// The shape of an input: name=1,3,48,192.
    #[arg(long, value_name = "NAME=DIMS")]
    shape: Vec<String>,
    /// Computes node by node, as the standard says, in place of as ONNX Runtime does by default.
    #[arg(long)]
    node_by_node: bool,
    /// Compares outputs with the arrays of a .npz file, which may have the inputs, too.
    #[arg(long)]
    compare: Option<PathBuf>,
    /// Compares inner values with those of a .npz file, in the order of the nodes.
    #[arg(long)]
    values: Option<PathBuf>,
    /// Writes outputs as .npy files into this folder.
    #[arg(long)]
    output: Option<PathBuf>,
    /// Runs on the reference, without a device.
    #[arg(long)]
    cpu: bool,
    /// Compares the plan with the reference.
    #[arg(long)]
    verify: bool,
    /// Prints the plan.
    #[arg(long)]
    plan: bool,
    /// Prints the time of each launch: of as many repetitions of it alone, the least of five.
    #[arg(long, value_name = "REPETITIONS", default_value_t = 0)]
    times: usize,
    /// Runs whose least time is told.
    #[arg(long, default_value_t = 0)]
    runs: usize,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if arguments.nodes {
        return nodes::run(&arguments.model);
    }
    let start = Instant::now();
    let model = Model::open(&arguments.model)?;
    println!("{model}");
    let network = model.graph(&options(&arguments)?)?;
    println!("{} ops, {:.0} ms from the file to the graph", network.graph.ops().len(), ms(start));
    let answers = match &arguments.compare {
        Some(path) => npy::read_npz(path)?,
        None => BTreeMap::new(),
    };
    let inputs = inputs(&arguments, &network, &answers)?;
    let outputs = match arguments.cpu {
        true => network.graph.run_reference(&inputs.iter().collect::<Vec<_>>())?,
        false => run(&arguments, &network, &inputs, start)?,
    };
    let expected = match &arguments.values {
        Some(path) => npy::read_npz(path)?,
        None => answers,
    };
    for (port, output) in network.outputs.iter().zip(&outputs) {
        match expected.get(&port.name) {
            Some(answer) => println!("{port}: {}", difference(output, answer)?),
            None if arguments.values.is_none() => println!("{port}: {}", summary(output)?),
            None => {}
        }
        if let Some(folder) = &arguments.output {
            std::fs::create_dir_all(folder)?;
            let name: String = port.name.chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect();
            Array::of(output)?.write(&folder.join(name + ".npy"))?;
        }
    }
    Ok(())
}

fn options(arguments: &Arguments) -> Result<Options> {
    let arithmetic = if arguments.node_by_node { Arithmetic::NodeByNode } else { Arithmetic::OnnxRuntime };
    let mut options = Options::default().with_arithmetic(arithmetic).with_inner_values(arguments.values.is_some());
    for given in &arguments.dimension {
        let (name, extent) = pair(given)?;
        options = options.with_dimension(name, extent.parse::<usize>()?);
    }
    for given in &arguments.shape {
        let (name, dims) = pair(given)?;
        let dims = dims.split(',').map(str::parse).collect::<std::result::Result<Vec<usize>, _>>()?;
        options = options.with_shape(name, dims);
    }
    Ok(options)
}

fn pair(given: &str) -> Result<(&str, &str)> {
    given.split_once('=').ok_or_else(|| format!("{given:?} is no name=value").into())
}

/// The inputs: from files, from the answers, or random.
fn inputs(arguments: &Arguments, network: &Network, answers: &BTreeMap<String, Array>) -> Result<Vec<Tensor>> {
    let files: BTreeMap<&str, &str> = arguments.input.iter().map(|given| pair(given)).collect::<Result<_>>()?;
    let (low, high) = arguments.range.split_once(',').ok_or("--range is LOW,HIGH")?;
    let range = [low.parse()?, high.parse()?];
    let mut tensors = Vec::new();
    for port in &network.inputs {
        tensors.push(match (files.get(&*port.name), answers.get(&port.name)) {
            (Some(file), _) if picture::is_picture(Path::new(file)) => {
                picture::read(Path::new(file), &port.tensor_type, range)?.tensor(&port.tensor_type)?
            }
            (Some(file), _) => Array::read(file.as_ref())?.tensor(&port.tensor_type)?,
            (None, Some(array)) => array.tensor(&port.tensor_type)?,
            (None, None) if arguments.random => random(&port.tensor_type)?,
            (None, None) => return Err(format!("no file is given for the input {port}: --input, or --random").into()),
        });
    }
    Ok(tensors)
}

/// Numbers from −1 to 1, or small integers, of a fixed sequence.
fn random(tensor_type: &TensorType) -> Result<Tensor> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / (1 << 24) as f64
    };
    let values = (0..tensor_type.shape().elements()).map(|_| next() * 2.0 - 1.0).collect();
    let values: Vec<f64> = values;
    let scaled =
        if tensor_type.dtype() == DType::Float32 { values } else { values.iter().map(|x| (x * 50.0).abs()).collect() };
    Array { dims: tensor_type.dims().to_vec(), values: scaled }.tensor(tensor_type)
}

/// The outputs of a device.
fn run(arguments: &Arguments, network: &Network, inputs: &[Tensor], start: Instant) -> Result<Vec<Tensor>> {
    let context = Context::new_blocking()?;
    println!("on {}", context.description());
    let planning = Instant::now();
    let plan = context.plan(&network.graph, Tuner::FirstGuess)?;
    println!("{} launches, planned in {:.0} ms", plan.launches(), ms(planning));
    if arguments.plan {
        println!("{plan}");
    }
    let uploaded = inputs.iter().map(|tensor| context.upload(tensor)).collect::<lowbit::Result<Vec<_>>>()?;
    let made = plan.output_types().iter().map(|t| DeviceTensor::allocate(&context, t.clone()));
    let made = made.collect::<lowbit::Result<Vec<_>>>()?;
    let bindings = plan.bind(&uploaded.iter().collect::<Vec<_>>(), &made.iter().collect::<Vec<_>>())?;
    submit(&context, &plan, &bindings)?;
    let outputs = made.iter().map(|tensor| context.download_blocking(tensor)).collect::<lowbit::Result<Vec<_>>>()?;
    println!("{:.0} ms from the start to the first outputs, {} pipelines", ms(start), context.counters().pipelines);
    if arguments.runs > 0 {
        let mut times = Vec::new();
        for _ in 0..arguments.runs {
            let begin = Instant::now();
            submit(&context, &plan, &bindings)?;
            context.download_blocking(&made[0])?;
            times.push(ms(begin));
        }
        println!("{:.2} ms a run, the least of {}", times.into_iter().fold(f64::INFINITY, f64::min), arguments.runs);
    }
    if arguments.times > 0 {
        print_times(&plan, &bindings, arguments.times)?;
    }
    if arguments.verify {
        print!("{}", plan.verify_blocking(&bindings)?);
    }
    Ok(outputs)
}

/// The time of each launch, its share of their sum, and the launch: kernel, size, and the ops in it.
fn print_times(plan: &Plan, bindings: &Bindings, repetitions: usize) -> Result<()> {
    let mut least = vec![f64::INFINITY; bindings.launches()];
    for _ in 0..5 {
        let seconds = plan.launch_seconds_blocking(bindings, repetitions)?;
        least.iter_mut().zip(seconds).for_each(|(least, seconds)| *least = least.min(seconds));
    }
    let sum: f64 = least.iter().sum();
    for (seconds, line) in least.iter().zip(bindings.to_string().lines()) {
        println!("{:9.4} ms {:5.1} %  {line}", 1e3 * seconds, 100.0 * seconds / sum);
    }
    println!("{:9.4} ms in {} launches", 1e3 * sum, least.len());
    Ok(())
}

/// Records a plan into an encoder of its own, and submits that.
fn submit(context: &Context, plan: &Plan, bindings: &Bindings) -> Result<()> {
    let mut encoder = context.device().create_command_encoder(&Default::default());
    plan.record(&mut encoder, bindings)?;
    context.queue().submit([encoder.finish()]);
    Ok(())
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

/// The number of elements that differ, and the largest difference.
fn difference(got: &Tensor, expected: &Array) -> Result<String> {
    let got = Array::of(got)?;
    if got.values.len() != expected.values.len() {
        return Ok(format!("has {} elements, but {} are expected", got.values.len(), expected.values.len()));
    }
    let different =
        got.values.iter().zip(&expected.values).filter(|(a, b)| a != b && !(a.is_nan() && b.is_nan())).count();
    let largest = got.values.iter().zip(&expected.values).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    let size = expected.values.iter().fold(0.0f64, |most, x| most.max(x.abs()));
    Ok(match different {
        0 => format!("all {} elements are equal", got.values.len()),
        _ => format!("{different} of {} elements differ, by up to {largest:.3e} of up to {size:.3e}", got.values.len()),
    })
}

/// The greatest elements of each row.
fn summary(output: &Tensor) -> Result<String> {
    let array = Array::of(output)?;
    let row = array.dims.last().copied().unwrap_or(1).max(1);
    let mut best: Vec<(usize, f64)> = array.values.iter().take(row).copied().enumerate().collect();
    best.sort_by(|a, b| b.1.total_cmp(&a.1));
    let best: Vec<String> = best.iter().take(5).map(|(i, x)| format!("{i}: {x:.4}")).collect();
    Ok(format!("the greatest of the first row are {}", best.join(", ")))
}
