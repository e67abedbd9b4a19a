//! Convolutions of int8 codes against the same convolutions in float32, timed in one process and in turn. It prints how many times
//! as fast the codes are. The float32 side is this crate's own: `FloatMatmul`, with the tiles of the int8 kernels, runs over pixels
//! or over patches from `Unfold`; `FloatConv` reads the image itself.

use lowbit::ops::{Conv, FloatConv, FloatMatmul, Op, Unfold, Windows};
use lowbit::ops::{Output, Padding};
use lowbit::{Context, DType, Error, Graph, Result, Tensor, TensorType, Tuner, kernels};
use serde::Serialize;

use crate::clock::{Timed, median};
use crate::network::{ConvLayer, Layer, Network};

/// A candidate that takes this many times as long as the fastest of its side gets no further samples.
const HOPELESS: f64 = 1.5;

/// The layers that are compared by default: some of each kind, large and small.
const SOME: [&str; 12] = [
    "stem",
    "2 expand",
    "3 depthwise",
    "5 project",
    "8 expand",
    "8 depthwise",
    "15 project",
    "1.1 3x3",
    "2.1 expand",
    "2.2 3x3",
    "3.2 reduce",
    "4.2 3x3",
];

/// Milliseconds of a side's first guess and of its best candidate.
#[derive(Serialize)]
struct Side {
    first_ms: f64,
    best: String,
    best_ms: f64,
}

/// A convolution in int8 and in float32.
#[derive(Serialize)]
pub(crate) struct Pair {
    layer: String,
    op: String,
    int8: Side,
    float32: Side,
}

/// A graph that computes a convolution, and the weights if they are its second input.
struct Way {
    graph: Graph,
    weights: Option<Tensor>,
}

/// Compares the named layers, or the default layers.
pub(crate) fn measure(context: &Context, network: &Network, names: &[String], rounds: usize) -> Result<Vec<Pair>> {
    let mut pairs: Vec<Pair> = Vec::new();
    for layer in &network.layers {
        let named = match names {
            [] => SOME.contains(&layer.name.as_str()),
            names => names.iter().any(|name| layer.name.starts_with(name)),
        };
        let Some(conv) = layer.conv.as_ref().filter(|conv| named && conv.spread.is_none()) else { continue };
        let pair = compare(context, layer, conv, rounds)?;
        if pairs.iter().all(|known| known.op != pair.op) {
            eprintln!("{:<20} {:.2}", pair.layer, pair.float32.best_ms / pair.int8.best_ms);
            pairs.push(pair);
        }
    }
    Ok(pairs)
}

fn compare(context: &Context, layer: &Layer, conv: &ConvLayer, rounds: usize) -> Result<Pair> {
    let op: Op = conv.op()?.into();
    let [outputs, height, width, channels] = *conv.weights.dims() else { unreachable!("made by Builder") };
    let description = format!("{}, {outputs}x{height}x{width}x{channels} by {}", conv.lhs, conv.stride);
    let ways = float_ways(conv)?;
    check(context, conv, &ways)?;
    let graphs = [vec![Graph::of(op)?], ways.into_iter().map(|way| way.graph).collect()];
    let mut sides = Vec::new();
    for graphs in &graphs {
        let mut side = Vec::new();
        for graph in graphs {
            for nth in 0..most_candidates(context, graph) {
                let timed = Timed::new(context, graph, Tuner::Nth(nth))?;
                let runs = timed.runs()?;
                side.push((timed, runs, Vec::new()));
            }
        }
        sides.push(side);
    }
    for _ in 0..rounds {
        for side in &mut sides {
            let fastest = side.iter().map(|(_, _, times)| median(times)).fold(f64::INFINITY, f64::min);
            for (i, (timed, runs, times)) in side.iter_mut().enumerate() {
                if i == 0 || times.is_empty() || median(times) < HOPELESS * fastest {
                    times.push(timed.seconds(*runs)?);
                }
            }
        }
    }
    let mut sides = sides.into_iter().map(|side| {
        let times: Vec<(String, f64)> =
            side.iter().map(|(timed, _, times)| (timed.label(), 1e3 * median(times))).collect();
        let best = times.iter().min_by(|a, b| a.1.total_cmp(&b.1)).expect("there is a first guess").clone();
        Side { first_ms: times[0].1, best: best.0, best_ms: best.1 }
    });
    let mut next = || sides.next().expect("two sides");
    Ok(Pair { layer: layer.name.clone(), op: description, int8: next(), float32: next() })
}

/// Largest number of candidates of any op of a graph.
fn most_candidates(context: &Context, graph: &Graph) -> usize {
    let candidates = |op: &Op| kernels::candidates(op, &context.caps()).len();
    graph.ops().map(candidates).max().unwrap_or(0)
}

/// Graphs of the convolution in float32, without bias and clamp: as a matrix product for one group, and as a direct convolution.
fn float_ways(conv: &ConvLayer) -> Result<Vec<Way>> {
    let [outputs, height, width, channels] = *conv.weights.dims() else { unreachable!("made by Builder") };
    let weights: Vec<f32> = small_weights(conv)?.into_iter().map(f32::from).collect();
    let image = TensorType::new(DType::Float32, conv.lhs.dims())?;
    let mut ways = Vec::new();
    if conv.groups == 1 {
        let mut graph = Graph::new();
        let mut rows = graph.input(image.clone());
        if [height, width, conv.stride] != [1; 3] {
            let unfold = Unfold::new(image.clone(), [height, width]).stride([conv.stride; 2]).padding(padding(conv));
            rows = graph.add(unfold.build()?, &[rows])?;
        }
        let matrix = Tensor::new([outputs, height * width * channels], weights.clone())?;
        let product = FloatMatmul::new(graph.tensor_type(rows)?.clone(), matrix).transposed_rhs().build()?;
        let output = graph.add(product, &[rows])?;
        graph.output(output);
        ways.push(Way { graph, weights: None });
    }
    let [[top, left], [bottom, right]] = [conv.begin, conv.end];
    let padding = [top, left, bottom, right];
    let windows = Windows::default().with_stride([conv.stride; 2]).with_padding(padding).with_groups(conv.groups);
    let op = FloatConv::new(image.clone(), conv.weights.tensor_type().clone(), windows).build()?;
    ways.push(Way { graph: Graph::of(op)?, weights: Some(Tensor::new(conv.weights.dims(), weights)?) });
    Ok(ways)
}

fn padding(conv: &ConvLayer) -> Padding {
    Padding::Explicit { begin: conv.begin.to_vec(), end: conv.end.to_vec() }
}

/// Weights small enough that no sum reaches 2^24, so that float32 is exact.
fn small_weights(conv: &ConvLayer) -> Result<Vec<i8>> {
    Ok(conv.weights.values::<i8>()?.iter().map(|code| code / 16).collect())
}

/// Fails if a graph's results on small integers differ from the integer convolution's.
fn check(context: &Context, conv: &ConvLayer, ways: &[Way]) -> Result<()> {
    let codes: Vec<u8> = (0..conv.lhs.shape().elements()).map(|i| (i * 5 % 8) as u8).collect();
    let reals: Vec<f32> = codes.iter().map(|&code| code.into()).collect();
    let image = Tensor::new(conv.lhs.dims(), codes)?;
    let weights = Tensor::new(conv.weights.dims(), small_weights(conv)?)?;
    let op = Conv::new(image.tensor_type().clone(), weights)
        .stride([conv.stride; 2])
        .padding(padding(conv))
        .groups(conv.groups)
        .output(Output::Accumulator);
    let sums = context.run_blocking(&op.build()?.into(), &[&image])?.swap_remove(0);
    let image = Tensor::new(conv.lhs.dims(), reals)?;
    for way in ways {
        let inputs: Vec<&Tensor> = [Some(&image), way.weights.as_ref()].into_iter().flatten().collect();
        let floats = context.plan(&way.graph, Tuner::FirstGuess)?.run_blocking(&inputs)?.swap_remove(0);
        if !floats.values::<f32>()?.iter().zip(sums.values::<i32>()?).all(|(&float, &sum)| float == sum as f32) {
            return Err(Error::Device(format!("float32 and int8 differ on {}", conv.lhs)));
        }
    }
    Ok(())
}

/// Prints a table of the pairs.
pub(crate) fn print(pairs: &[Pair]) {
    println!("| layer | image, weights by stride | int8 | ms | float32 | ms | float32 / int8 | of first guesses |");
    println!("|---|---|---|---:|---|---:|---:|---:|");
    for Pair { layer, op, int8, float32 } in pairs {
        println!(
            "| {layer} | {op} | {} | {:.3} | {} | {:.3} | {:.2} | {:.2} |",
            int8.best,
            int8.best_ms,
            float32.best,
            float32.best_ms,
            float32.best_ms / int8.best_ms,
            float32.first_ms / int8.first_ms
        );
    }
    let ratios: Vec<f64> = pairs.iter().map(|pair| pair.float32.best_ms / pair.int8.best_ms).collect();
    println!("\nfloat32 / int8 at the median of {} shapes: {:.2}", pairs.len(), median(&ratios));
}
