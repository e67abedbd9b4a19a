//! Compares a quantized model with its float original in one call; the result can be printed or stored. `page` draws it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::cost::Cost;
use super::metrics::{Calibration, ConfidenceInterval, Metrics, accuracy, calibration, check_labels};
use super::robustness::{Perturbation, Robustness};
use super::runner::{Device, Runner};
use crate::error::{Error, Result, require};
use crate::model::Model;
use crate::ptq::{CodeFormat, QuantizedModel};
use crate::tensor::Tensor;

/// The data on which two models are compared.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Dataset<'a> {
    /// Float32, `[rows, …]` as the model reads them.
    pub inputs: &'a Tensor,
    /// The class of each row, if it is known.
    pub labels: Option<&'a [usize]>,
}

/// Options of [`evaluate`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Options {
    /// Changes of inputs for the robustness test. The default is [`Perturbation::DEFAULT`].
    pub perturbations: Vec<Perturbation>,
    /// Seed of the random perturbations.
    pub seed: u64,
    /// True if the time of a batch is measured. It differs from run to run.
    pub time: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { perturbations: Perturbation::DEFAULT.to_vec(), seed: 1, time: false }
    }
}

impl<'a> Dataset<'a> {
    /// Inputs without labels.
    #[must_use]
    pub const fn new(inputs: &'a Tensor) -> Self {
        Self { inputs, labels: None }
    }

    /// These data with the class of each row.
    #[must_use]
    pub const fn with_labels(mut self, labels: &'a [usize]) -> Self {
        self.labels = Some(labels);
        self
    }
}

impl Options {
    /// These options with these changes of inputs.
    #[must_use]
    pub fn with_perturbations(mut self, perturbations: Vec<Perturbation>) -> Self {
        self.perturbations = perturbations;
        self
    }

    /// These options with this seed of the random perturbations.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// These options with or without the time of a batch.
    #[must_use]
    pub fn with_time(mut self, time: bool) -> Self {
        self.time = time;
        self
    }
}

/// A comparison of a quantized model with its float original. Its `Display` is a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Report {
    /// Title: the model and its quantization.
    pub title: String,
    /// The device that ran the quantized model.
    pub device: String,
    /// Number of rows or images that were compared.
    pub rows: usize,
    /// The original model.
    pub float: Side,
    /// The quantized model.
    pub quantized: Side,
    /// The quantized model's outputs against the original's.
    pub outputs: Metrics,
    /// One report for each layer, in order.
    pub layers: Vec<LayerReport>,
    /// The distribution of the errors of all outputs, quantized minus float.
    pub errors: Histogram,
    /// The results on changed inputs.
    pub robustness: Vec<Robustness>,
    /// Other ways to quantize the model, for a plot of sizes and errors; the caller fills them in.
    pub alternatives: Vec<Alternative>,
}

/// The results of one of the two models.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Side {
    /// The share of rows that are classified correctly.
    pub accuracy: Option<ConfidenceInterval>,
    /// The calibration of confidence.
    pub calibration: Option<Calibration>,
    /// The model's cost.
    pub cost: Cost,
    /// Measured seconds for the whole batch, the median of three runs. The float model runs on the CPU.
    pub seconds: Option<f64>,
}

/// The comparison of one layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LayerReport {
    /// The layer's name.
    pub name: String,
    /// The data type of its weights' codes.
    pub codes: Option<CodeFormat>,
    /// Its dequantized weights against the original's.
    pub weights: Option<Metrics>,
    /// The distribution of the original's weights.
    pub weight_values: Option<Histogram>,
    /// The distribution of the errors of weights, in units of the root mean square of the weights.
    pub weight_errors: Option<Histogram>,
    /// Its outputs, with all earlier errors, against the original's.
    pub outputs: Metrics,
}

/// The distribution of numbers in bins of equal width.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "HistogramFile")]
pub struct Histogram {
    low: f64,
    high: f64,
    counts: Vec<u64>,
}

/// The serialized form, not yet checked.
#[derive(Deserialize)]
struct HistogramFile {
    low: f64,
    high: f64,
    counts: Vec<u64>,
}

impl TryFrom<HistogramFile> for Histogram {
    type Error = Error;

    fn try_from(HistogramFile { low, high, counts }: HistogramFile) -> Result<Self> {
        require!(
            (high - low).is_finite() && low < high && !counts.is_empty(),
            "a histogram of {} bins from {low:e} to {high:e}: it has at least one, between finite ends in order",
            counts.len()
        );
        Ok(Self { low, high, counts })
    }
}

impl Histogram {
    /// The lower end of the first bin and the upper end of the last.
    #[must_use]
    pub fn ends(&self) -> (f64, f64) {
        (self.low, self.high)
    }

    /// The count of each bin. Bins are equally wide.
    #[must_use]
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// The histogram of numbers between their extremes. If the extremes are equal, it lies around them.
    #[must_use]
    pub fn new(values: impl Iterator<Item = f64> + Clone, bins: usize) -> Self {
        let (low, high) = values.clone().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        let (low, high) = match high - low {
            width if width.is_finite() && width > 0.0 => (low, high),
            _ if low.is_finite() => (low - 0.5f64.max(low.abs() * 1e-9), low + 0.5f64.max(low.abs() * 1e-9)),
            _ => (-0.5, 0.5),
        };
        let mut counts = vec![0; bins.max(1)];
        for value in values {
            let bin = ((value - low) / (high - low) * counts.len() as f64) as usize;
            let last = counts.len() - 1;
            counts[bin.min(last)] += 1;
        }
        Self { low, high, counts }
    }
}

/// A way to quantize a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Alternative {
    /// The name of the alternative.
    pub name: String,
    /// Bytes of the codes of weights.
    pub weight_bytes: u64,
    /// SQNR of the outputs against the float ones, in dB.
    pub sqnr_db: f64,
    /// The accuracy, if there are labels.
    pub accuracy: Option<f64>,
}

impl Alternative {
    /// An alternative without an accuracy.
    #[must_use]
    pub fn new(name: impl Into<String>, weight_bytes: u64, sqnr_db: f64) -> Self {
        Self { name: name.into(), weight_bytes, sqnr_db, accuracy: None }
    }

    /// This alternative with an accuracy.
    #[must_use]
    pub fn with_accuracy(mut self, accuracy: f64) -> Self {
        self.accuracy = Some(accuracy);
        self
    }
}

/// Compares a quantized model with its float original on some data.
///
/// The original may be any float model that computes the same function. If the recipe rescales layers, pass the model of
/// [`Recipe::rescaled`](crate::ptq::Recipe::rescaled), or the comparison by layers says little. The quantized model runs as its
/// graph on the device.
///
/// # Errors
/// If the architectures differ, there are no data, they don't fit or aren't finite, or the labels aren't one class for each
/// row; and errors of running the graph.
pub fn evaluate(
    title: impl Into<String>,
    original: &Model,
    quantized: &QuantizedModel,
    data: Dataset<'_>,
    device: Device<'_>,
    options: &Options,
) -> Result<Report> {
    let (layers, own) = (original.layers(), quantized.dequantized().layers());
    require!(
        original.architecture() == quantized.dequantized().architecture(),
        "the models are of different architectures, of {} and {} layers: compare a model with what was made of it",
        layers.len(),
        own.len()
    );
    let (values, rows) = original.check_input("the data", data.inputs)?;
    require!(rows > 0, "there are no data to compare the models on");
    let odd = values.iter().find(|value| !value.is_finite());
    require!(odd.is_none(), "the data hold {}, but all must be finite", odd.unwrap_or(&0.0));
    let classes = original.outputs();

    let trace = original.trace(data.inputs, |_, _| {})?;
    let expected = trace[layers.len()].values::<f32>()?;
    if let Some(labels) = data.labels {
        check_labels(expected, labels, classes)?;
    }
    let inner = Runner::new(device, quantized.graph_of_layers(rows)?)?.run(&[data.inputs])?;
    let outputs = inner.last().expect("a graph has an output").values::<f32>()?;
    // The input's codes, if it is quantized, come before the layers.
    let skip = inner.len() - layers.len();
    let mut reports = Vec::new();
    for (i, layer) in layers.iter().enumerate() {
        let made = real(&inner[skip + i]);
        let weights = quantized.weights()[i].as_ref();
        let channels = layer.output().channels;
        let compared = weights.map(|_| Metrics::new(layer.weights(), own[i].weights(), layer.row_length()));
        let scale = 1.0 / root_mean_square(layer.weights());
        let errors = || layer.weights().iter().zip(own[i].weights()).map(|(&w, &q)| f64::from(q - w) * scale);
        reports.push(LayerReport {
            name: layer.name().to_string(),
            codes: weights.map(|w| w.scheme().codes),
            weights: compared.transpose()?,
            weight_values: weights.map(|_| Histogram::new(layer.weights().iter().map(|&w| w.into()), 40)),
            weight_errors: weights.map(|_| Histogram::new(errors(), 40)),
            outputs: Metrics::new(trace[i + 1].values()?, &made, channels)?,
        });
    }

    let runner = Runner::new(device, quantized.graph(rows)?)?;
    let run = |input: &Tensor| -> Result<Tensor> { Ok(runner.run(&[input])?.remove(0)) };
    let mut robustness = Vec::new();
    for &perturbation in &options.perturbations {
        let changed = perturbation.apply(data.inputs, options.seed)?;
        let (float, integer) = (original.run(&changed)?, run(&changed)?);
        let (float, integer) = (float.values::<f32>()?, integer.values::<f32>()?);
        let right = |outputs: &[f32]| data.labels.map(|labels| accuracy(outputs, labels, classes)).transpose();
        robustness.push(Robustness {
            perturbation,
            float: right(float)?,
            quantized: right(integer)?,
            agreement: Metrics::new(float, integer, classes)?.agreement,
            clipped: clipped(quantized, changed.values()?),
        });
    }
    let side = |outputs: &[f32], cost, seconds| -> Result<Side> {
        Ok(Side {
            accuracy: data.labels.map(|labels| accuracy(outputs, labels, classes)).transpose()?,
            calibration: data.labels.map(|labels| calibration(outputs, labels, classes)).transpose()?,
            cost,
            seconds,
        })
    };
    let float_seconds = options.time.then(|| median(|| original.run(data.inputs))).transpose()?;
    let seconds = options.time.then(|| median(|| run(data.inputs))).transpose()?;
    Ok(Report {
        title: title.into(),
        device: device.to_string(),
        rows,
        float: side(expected, Cost::of_float(original), float_seconds)?,
        quantized: side(outputs, Cost::of_quantized(quantized), seconds)?,
        outputs: Metrics::new(expected, outputs, classes)?,
        layers: reports,
        errors: Histogram::new(expected.iter().zip(outputs).map(|(&x, &y)| f64::from(y) - f64::from(x)), 40),
        robustness,
        alternatives: Vec::new(),
    })
}

fn median(run: impl Fn() -> Result<Tensor>) -> Result<f64> {
    let mut times = Vec::new();
    for _ in 0..3 {
        let start = std::time::Instant::now();
        run()?;
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_unstable_by(f64::total_cmp);
    Ok(times[1])
}

fn root_mean_square(values: &[f32]) -> f64 {
    let mean = values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / values.len().max(1) as f64;
    if mean > 0.0 { mean.sqrt() } else { 1.0 }
}

/// The real numbers of a tensor of codes or floats.
fn real(tensor: &Tensor) -> Vec<f32> {
    let (scale, zero_point) = tensor.tensor_type().parameters(0);
    tensor.reals().into_iter().map(|code| scale * (code - zero_point as f32)).collect()
}

/// The share of numbers outside the range of the input's codes by more than half a step.
fn clipped(model: &QuantizedModel, values: &[f32]) -> Option<f64> {
    let input = (*model.activations().first()?)?;
    let (low, high) = input.covered();
    let outside = values.iter().filter(|&&value| value < low || value > high).count();
    Some(outside as f64 / values.len().max(1) as f64)
}

impl Report {
    /// The quantized model's mean confidence minus that of the float model; `None` without labels.
    #[must_use]
    pub fn confidence_shift(&self) -> Option<f64> {
        let (float, quantized) = (self.float.calibration?, self.quantized.calibration?);
        Some(quantized.confidence - float.confidence)
    }

    /// The rows of the first table: name, value of the float model, value of the quantized model.
    pub(super) fn summary(&self) -> Vec<(String, String, String)> {
        let mut rows = Vec::new();
        let mut row = |name: &str, value: &dyn Fn(&Side) -> Option<String>| {
            if let Some(float) = value(&self.float) {
                let quantized = value(&self.quantized).unwrap_or_default();
                rows.push((name.to_string(), float, quantized));
            }
        };
        row("accuracy (95 % interval)", &|side| {
            let ConfidenceInterval { share, low, high } = side.accuracy?;
            Some(format!("{:.2} % ({:.1} to {:.1})", 100.0 * share, 100.0 * low, 100.0 * high))
        });
        row("expected calibration error", &|side| Some(format!("{:.2} %", 100.0 * side.calibration?.expected_error)));
        row("mean confidence", &|side| Some(format!("{:.2} %", 100.0 * side.calibration?.confidence)));
        row("log loss (nats)", &|side| Some(format!("{:.4}", side.calibration?.log_loss)));
        row("bytes of weights", &|side| Some(side.cost.weight_bytes.to_string()));
        row("bytes of all parameters", &|side| Some(side.cost.parameter_bytes.to_string()));
        row("multiplications", &|side| Some(side.cost.multiplications.to_string()));
        row("bytes moved", &|side| Some(side.cost.bytes_moved.to_string()));
        row("energy, an estimate (Horowitz 2014)", &|side| Some(format!("{:.2} µJ", side.cost.estimated_microjoules)));
        row("milliseconds for all rows", &|side| Some(format!("{:.1}", 1000.0 * side.seconds?)));
        rows
    }

    /// The rows of the second table, the outputs' errors: name and value.
    pub(super) fn output_errors(&self) -> Vec<(&'static str, String)> {
        let m = &self.outputs;
        let mut rows = vec![
            ("top-1 agreement", format!("{:.2} %", 100.0 * m.agreement)),
            ("SQNR", format!("{:.2} dB", m.sqnr_db)),
            ("mean square error", format!("{:.3e}", m.mse)),
            ("NMSE", format!("{:.3e}", m.nmse)),
            ("cosine", format!("{:.6}", m.cosine)),
            ("greatest error", format!("{:.4}", m.max_error)),
            ("KL divergence (nats)", format!("{:.3e}", m.kl)),
        ];
        if let Some(shift) = self.confidence_shift() {
            rows.push(("confidence shift", format!("{:+.2} %", 100.0 * shift)));
        }
        rows
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{} rows, quantized on {}\n", self.title, self.rows, self.device)?;
        writeln!(f, "{:<38} {:>24} {:>24}", "", "float", "quantized")?;
        for (name, float, quantized) in self.summary() {
            writeln!(f, "{name:<38} {float:>24} {quantized:>24}")?;
        }
        writeln!(f)?;
        for (name, value) in self.output_errors() {
            writeln!(f, "{name:<38} {value:>24}")?;
        }
        let head = ["layer", "codes", "weights, dB", "outputs, dB", "cosine", "greatest error"];
        writeln!(
            f,
            "\n{:<16} {:>12} {:>12} {:>12} {:>10} {:>15}",
            head[0], head[1], head[2], head[3], head[4], head[5]
        )?;
        for layer in &self.layers {
            let codes = layer.codes.map_or_else(String::new, |codes| codes.to_string());
            let weights = layer.weights.map_or_else(String::new, |m| format!("{:.2}", m.sqnr_db));
            let Metrics { sqnr_db, cosine, max_error, .. } = layer.outputs;
            writeln!(
                f,
                "{:<16} {codes:>12} {weights:>12} {sqnr_db:>12.2} {cosine:>10.6} {max_error:>15.4}",
                layer.name
            )?;
        }
        if !self.robustness.is_empty() {
            let head = ["changed inputs", "float", "quantized", "agreement", "clipped"];
            writeln!(f, "\n{:<16} {:>10} {:>10} {:>10} {:>10}", head[0], head[1], head[2], head[3], head[4])?;
        }
        let percent = |share: Option<f64>| share.map_or_else(String::new, |share| format!("{:.2} %", 100.0 * share));
        for line in &self.robustness {
            let (kind, strength) = line.perturbation.describe();
            let name = format!("{kind} {strength:.2}");
            let (float, quantized) = (line.float.map(|i| i.share), line.quantized.map(|i| i.share));
            let (float, quantized, clipped) = (percent(float), percent(quantized), percent(line.clipped));
            writeln!(f, "{name:<16} {float:>10} {quantized:>10} {:>10} {clipped:>10}", percent(Some(line.agreement)))?;
        }
        if !self.alternatives.is_empty() {
            writeln!(f, "\n{:<44} {:>8} {:>10} {:>10}", "alternatives", "bytes", "SQNR, dB", "accuracy")?;
        }
        for Alternative { name, weight_bytes, sqnr_db, accuracy } in &self.alternatives {
            writeln!(f, "{name:<44} {weight_bytes:>8} {sqnr_db:>10.2} {:>10}", percent(*accuracy))?;
        }
        Ok(())
    }
}
