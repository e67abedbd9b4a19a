//! Times every candidate of a network's layers against the first guess. A plan takes the first guess unless it measures. Layers
//! with the same computation are one shape.

use lowbit::ops::{Op, Transpose};
use lowbit::{Context, DType, Graph, Result, TensorType, Tuner, kernels};
use serde::Serialize;

use crate::clock::{Timed, median};
use crate::network::{Layer, Network};

/// A candidate that takes this many times as long as the fastest gets no further samples.
const HOPELESS: f64 = 2.0;

/// Candidates of one shape.
#[derive(Serialize)]
pub(crate) struct Shape {
    /// First layer with this shape.
    layer: String,
    /// Number of layers with this shape.
    layers: usize,
    op: String,
    operations: u64,
    /// Label and milliseconds per run of each candidate, in order: the first is the first guess.
    candidates: Vec<(String, f64)>,
}

impl Shape {
    fn best(&self) -> &(String, f64) {
        self.candidates.iter().min_by(|a, b| a.1.total_cmp(&b.1)).expect("there is a first guess")
    }

    /// Time of the first guess divided by the time of the best.
    fn ratio(&self) -> f64 {
        self.candidates[0].1 / self.best().1
    }
}

/// Times the candidates of every shape that has more than one. The candidates of a shape are sampled in turn. `names` selects the
/// layers whose names begin with one of them; if it is empty, all layers are timed.
pub(crate) fn measure(context: &Context, network: &Network, names: &[String], rounds: usize) -> Result<Vec<Shape>> {
    let mut shapes: Vec<Shape> = Vec::new();
    let is_named = |layer: &&Layer| names.is_empty() || names.iter().any(|name| layer.name.starts_with(name));
    for layer in network.layers.iter().filter(is_named) {
        let op = layer.op()?;
        let types =
            |types: Vec<lowbit::TensorType>| types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let mut description = format!("{}({}) -> {}", layer.kind(), types(op.inputs()), types(op.outputs()));
        if let Some(conv) = &layer.conv {
            let [outputs, height, width, channels] = *conv.weights.dims() else { unreachable!("made by Builder") };
            description += &format!(", {outputs}x{height}x{width}x{channels} by {}", conv.stride);
        }
        if let Some(known) = shapes.iter_mut().find(|shape| shape.op == description) {
            known.layers += 1;
            continue;
        }
        if kernels::candidates(&op, &context.caps()).len() > 1 {
            shapes.push(measure_op(context, &layer.name, description, (&op, &layer.graph()?), rounds)?);
        }
    }
    Ok(shapes)
}

/// Times transposes between NHWC and NCHW, at the sizes of network inputs and of inner layers.
pub(crate) fn measure_layouts(context: &Context, rounds: usize) -> Result<Vec<Shape>> {
    let mut shapes = Vec::new();
    for format in [DType::Uint8, DType::Float16, DType::Float32] {
        for [channels, height, width] in [[3, 224, 224], [64, 56, 56], [256, 14, 14]] {
            let nchw = ("NCHW to NHWC", [1, channels, height, width], [0, 2, 3, 1]);
            let nhwc = ("NHWC to NCHW", [1, height, width, channels], [0, 3, 1, 2]);
            for (name, dimensions, order) in [nchw, nhwc] {
                let op: Op = Transpose::new(TensorType::new(format, dimensions)?, order)?.into();
                let description = op.inputs()[0].to_string();
                shapes.push(measure_op(context, name, description, (&op, &Graph::of(op.clone())?), rounds)?);
            }
        }
    }
    Ok(shapes)
}

/// Times the candidates of an op in turn; the op is the whole graph.
fn measure_op(
    context: &Context,
    name: &str,
    description: String,
    (op, graph): (&Op, &Graph),
    rounds: usize,
) -> Result<Shape> {
    let candidates = kernels::candidates(op, &context.caps());
    let operations = candidates[0].dispatches.iter().map(|d| d.operations).sum();
    let timed = |i| Timed::new(context, graph, Tuner::Nth(i));
    let timed = (0..candidates.len()).map(timed).collect::<Result<Vec<_>>>()?;
    let mut samples = Vec::new();
    timed[0].warm(0.05)?;
    let runs = timed.iter().map(Timed::runs).collect::<Result<Vec<_>>>()?;
    for (timed, &runs) in timed.iter().zip(&runs) {
        samples.push(vec![timed.seconds(runs)?]);
    }
    for _ in 1..rounds {
        let fastest = samples.iter().map(|times| median(times)).fold(f64::INFINITY, f64::min);
        for (i, (timed, &runs)) in timed.iter().zip(&runs).enumerate() {
            if i == 0 || median(&samples[i]) < HOPELESS * fastest {
                samples[i].push(timed.seconds(runs)?);
            }
        }
    }
    let candidates = candidates.into_iter().zip(&samples).map(|(c, times)| (c.label, 1e3 * median(times))).collect();
    let shape = Shape { layer: name.into(), layers: 1, op: description, operations, candidates };
    eprintln!("{:<20} {:.2}", shape.layer, shape.ratio());
    Ok(shape)
}

/// Median ratio of the first guess's time to the best time over the shapes.
pub(crate) fn median_ratio(shapes: &[Shape]) -> f64 {
    median(&shapes.iter().map(Shape::ratio).collect::<Vec<_>>())
}

/// Prints a table of shapes, and with `all` a table of their candidates below each.
pub(crate) fn print(shapes: &[Shape], all: bool) {
    println!("| layer | op | layers | first guess | ms | best | ms | first / best |");
    println!("|---|---|---:|---|---:|---|---:|---:|");
    for shape in shapes {
        let ((first, first_ms), (best, best_ms)) = (&shape.candidates[0], shape.best());
        println!(
            "| {} | {} | {} | {first} | {first_ms:.3} | {best} | {best_ms:.3} | {:.2} |",
            shape.layer,
            shape.op,
            shape.layers,
            shape.ratio()
        );
        for (label, ms) in shape.candidates.iter().filter(|_| all) {
            println!("| | | | {label} | {ms:.3} | | | {:.2} |", ms / best_ms);
        }
    }
}
