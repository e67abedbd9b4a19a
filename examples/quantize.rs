//! `cargo run --release --example quantize -- --table`: quantizes a float model (safetensors and a JSON architecture) by the
//! chosen method, prints the cost, and writes the quantized model and a report. With `--table` it prints the results of every
//! method on handwritten digits instead, beside published figures.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use lowbit::evaluate::{Alternative, Dataset, Device, Metrics, Options, Report, Runner, accuracy, evaluate};
use lowbit::model::Model;
use lowbit::ptq::{
    ActivationClipping, ActivationQuantization, Activations, CodeFormat, LayerPlan, Method, QuantizedModel,
    QuantizedWeights, Recipe, Sensitivity, WeightClipping, WeightGranularity, WeightScheme, front, greedy, sensitivity,
    within_bytes,
};
use lowbit::{Context, DType, Tensor};
use safetensors::{Dtype, SafeTensors};

#[path = "train/learn.rs"]
#[allow(dead_code, reason = "the example train uses the rest")]
mod learn;
#[path = "digits/network.rs"]
#[allow(dead_code, reason = "the int8 network is the digits example's")]
mod network;
#[path = "train/network.rs"]
mod train_network;

use learn::Training;

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

const DIGITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/digits");

/// Quantizes a float model after training, and prints the cost.
#[derive(Parser)]
struct Arguments {
    /// The architecture, JSON.
    #[arg(long, value_name = "FILE", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/digits/arch.json"))]
    architecture: PathBuf,
    /// Its float32 weights, safetensors.
    #[arg(long, value_name = "FILE", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/digits/digits_model.safetensors"))]
    weights: PathBuf,
    /// Data, safetensors: `images` (u8 or f32, [n, height, width], [n, channels, height, width] or [n, features]), `labels` (u8),
    /// and the rows for each purpose: `train_index`, `test_index` (i32).
    #[arg(long, value_name = "FILE", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/digits/digits_data.safetensors"))]
    data: PathBuf,
    /// Divisor of image values.
    #[arg(long, default_value_t = 16.0)]
    divisor: f32,
    /// Number of training rows for calibration.
    #[arg(long, default_value_t = 256)]
    calibration: usize,
    /// The device that runs the quantized model.
    #[arg(long, value_enum, default_value_t = Where::Auto)]
    device: Where,

    /// Prints the results of every method, instead of quantizing by one.
    #[arg(long)]
    table: bool,
    /// With `--table`: also trains the digits network, with this number of seeds for each row. Takes a while.
    #[arg(long, value_name = "SEEDS", default_value_t = 0, requires = "table")]
    train: u64,
    /// Weights: 2 to 8 for integers of that many bits; floats e4m3, e5m2 or e2m1; blocks mxfp8, mxfp4 or nvfp4.
    #[arg(long, value_name = "FORMAT", default_value = "8", value_parser = weights)]
    bits: WeightScheme,
    /// Weight format of a single layer: NAME=FORMAT.
    #[arg(long = "layer", value_name = "NAME=FORMAT", value_parser = layer_weights)]
    layers: Vec<(String, WeightScheme)>,
    /// Chooses integers of 2, 3, 4 or 8 bits for each layer, so that all weights take at most this many bytes.
    #[arg(long, value_name = "BYTES", conflicts_with = "layers")]
    budget: Option<u64>,
    /// With `--budget`: chooses from floats and blocks too.
    #[arg(long, requires = "budget")]
    floats: bool,
    /// Rounding method of weights.
    #[arg(long, value_enum, default_value_t = Rounding::Descent)]
    method: Rounding,
    /// Method that finds the range of weights.
    #[arg(long, value_enum, default_value_t = Clip::Output)]
    clipping: Clip,
    /// The weights that share a scale: `tensor`, `channel` or a number of weights (linear layers only).
    #[arg(long, default_value = "channel", value_parser = granularity)]
    granularity: WeightGranularity,
    /// Weights have zero points.
    #[arg(long)]
    asymmetric: bool,
    /// Rescales neighbouring layers until their ranges are equal.
    #[arg(long)]
    equalize: bool,
    /// SmoothQuant with this strength, 0 to 1.
    #[arg(long, value_name = "ALPHA")]
    smooth: Option<f64>,
    /// AWQ's rescaling.
    #[arg(long)]
    awq: bool,
    /// Leaves biases uncorrected.
    #[arg(long)]
    keep_biases: bool,
    /// Activations: 2 to 8 for integers of that many bits; floats e4m3, e5m2 or e2m1; f16 or f32, which are not quantized.
    #[arg(long, value_name = "FORMAT", default_value = "8", value_parser = codes)]
    activation_bits: CodeFormat,
    /// Finds the ranges of activations at run time.
    #[arg(long)]
    dynamic: bool,

    /// File for the quantized model.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// File for the report: an HTML page if the name ends in .html, else JSON. With `--train` it is the report of the network
    /// trained to 4 bits.
    #[arg(long, value_name = "FILE")]
    report: Vec<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Where {
    /// A GPU if there is one.
    Auto,
    Gpu,
    Cpu,
}

#[derive(Clone, Copy, ValueEnum)]
enum Rounding {
    Nearest,
    Gptq,
    GptqActOrder,
    Descent,
}

#[derive(Clone, Copy, ValueEnum)]
enum Clip {
    MinMax,
    Mse,
    Output,
}

fn codes(text: &str) -> Result<CodeFormat, String> {
    Ok(CodeFormat::Float(match text {
        "e4m3" => DType::Float8E4M3Fn,
        "e5m2" => DType::Float8E5M2,
        "e2m1" => DType::Float4E2M1,
        "f16" => DType::Float16,
        "f32" => DType::Float32,
        bits => return bits.parse().map(CodeFormat::Int).map_err(|_| "write 2 to 8, e4m3, e5m2, e2m1, …".into()),
    }))
}

fn weights(text: &str) -> Result<WeightScheme, String> {
    Ok(match text {
        "mxfp8" => WeightScheme::mx(DType::Float8E4M3Fn),
        "mxfp4" => WeightScheme::mx(DType::Float4E2M1),
        "nvfp4" => WeightScheme::nvfp4(),
        text => WeightScheme::per_channel(8).with_codes(codes(text)?),
    })
}

fn layer_weights(text: &str) -> Result<(String, WeightScheme), String> {
    let (name, format) = text.split_once('=').ok_or("write NAME=FORMAT")?;
    Ok((name.to_string(), weights(format)?))
}

fn granularity(text: &str) -> Result<WeightGranularity, String> {
    match text {
        "tensor" => Ok(WeightGranularity::Tensor),
        "channel" => Ok(WeightGranularity::Channel),
        size => size.parse().map(WeightGranularity::Group).map_err(|_| "write tensor, channel or a number".into()),
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = if arguments.table { table(&arguments) } else { quantize(&arguments) };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A model, and the data that it is calibrated and tested with.
struct Task {
    model: Model,
    calibration: Tensor,
    images: Tensor,
    labels: Vec<usize>,
    /// Logits of the float model on the test images.
    logits: Tensor,
    context: Option<Context>,
}

impl Task {
    fn load(arguments: &Arguments) -> Result<Self> {
        let read = |path: &Path| std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
        let architecture = serde_json::from_slice(&read(&arguments.architecture)?)
            .map_err(|error| format!("{}: {error}", arguments.architecture.display()))?;
        let model = Model::new(architecture, &read(&arguments.weights)?)?;
        let file = read(&arguments.data)?;
        let file = SafeTensors::deserialize(&file)?;
        let view = file.tensor("images")?;
        let values: Vec<f32> = match view.dtype() {
            Dtype::U8 => view.data().iter().map(|&pixel| pixel.into()).collect(),
            Dtype::F32 => view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
            other => return Err(format!("images are {other:?}, but u8 or f32 is read").into()),
        };
        let values: Vec<f32> = values.iter().map(|value| value / arguments.divisor).collect();
        let count = view.shape().first().copied().unwrap_or(0);
        let images = match *view.shape() {
            [n, c, h, w] => Tensor::new([n, c, h, w], values)?.permuted(&[0, 2, 3, 1])?,
            _ => Tensor::new(model.input_shape(count), values)?,
        };
        let index = |name: &str| -> Result<Vec<usize>> {
            let view = file.tensor(name)?;
            let words = view.data().chunks_exact(4).map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            let index: Vec<usize> = words.map(usize::try_from).collect::<Result<_, _>>()?;
            let beyond = index.iter().find(|&&i| i >= count);
            beyond.map_or(Ok(index.clone()), |i| Err(format!("{name} names row {i} of {count}").into()))
        };
        let length = model.input().elements();
        let take = |index: &[usize]| -> Result<Tensor> {
            let values = images.values::<f32>()?;
            let rows: Vec<f32> = index.iter().flat_map(|&i| &values[i * length..(i + 1) * length]).copied().collect();
            Ok(Tensor::new(model.input_shape(index.len()), rows)?)
        };
        let (train, test) = (index("train_index")?, index("test_index")?);
        let labels = file.tensor("labels")?.data();
        let images = take(&test)?;
        let context = match arguments.device {
            Where::Cpu => None,
            Where::Gpu => Some(Context::new_blocking()?),
            Where::Auto => Context::new_blocking().ok(),
        };
        Ok(Self {
            calibration: take(&train[..arguments.calibration.min(train.len())])?,
            labels: test.iter().map(|&i| labels[i].into()).collect(),
            logits: model.run(&images)?,
            images,
            model,
            context,
        })
    }

    fn device(&self) -> Device<'_> {
        self.context.as_ref().map_or(Device::Cpu, Device::Gpu)
    }

    fn judge(&self, name: impl Into<String>, logits: &Tensor, bytes: u64, time: Duration) -> Result<Line> {
        let classes = self.model.outputs();
        Ok(Line {
            name: name.into(),
            metrics: Metrics::new(self.logits.values()?, logits.values()?, classes)?,
            accuracy: accuracy(logits.values()?, &self.labels, classes)?.share,
            bytes,
            time,
        })
    }

    /// The metrics on the device of the model quantized by a recipe, and the quantized model.
    fn measure(&self, name: impl Into<String>, recipe: &Recipe) -> Result<(Line, QuantizedModel)> {
        let start = Instant::now();
        let quantized = recipe.quantize(&self.model, &self.calibration)?;
        let time = start.elapsed();
        let graph = quantized.graph(self.labels.len())?;
        let logits = Runner::new(self.device(), graph)?.run(&[&self.images])?.remove(0);
        Ok((self.judge(name, &logits, quantized.weight_bytes(), time)?, quantized))
    }
}

/// Results of a quantized model on the test images.
struct Line {
    name: String,
    metrics: Metrics,
    accuracy: f64,
    bytes: u64,
    time: Duration,
}

impl Line {
    fn head(title: &str) {
        println!(
            "\n{title:<58} {:>9} {:>10} {:>9} {:>7} {:>9}",
            "accuracy", "agreement", "SQNR, dB", "bytes", "seconds"
        );
    }

    fn print(&self) {
        let Self { name, metrics, accuracy, bytes, time } = self;
        println!(
            "{name:<58} {:>7.2} % {:>8.2} % {:>9.2} {bytes:>7} {:>9.2}",
            100.0 * accuracy,
            100.0 * metrics.agreement,
            metrics.sqnr_db,
            time.as_secs_f64()
        );
    }

    fn alternative(&self) -> Alternative {
        Alternative::new(self.name.clone(), self.bytes, self.metrics.sqnr_db).with_accuracy(self.accuracy)
    }
}

impl Arguments {
    fn recipe(&self) -> Recipe {
        let weights = |scheme: WeightScheme| {
            scheme
                .with_symmetric(scheme.symmetric && !(self.asymmetric && matches!(scheme.codes, CodeFormat::Int(_))))
                .with_granularity(match scheme.granularity {
                    WeightGranularity::Channel => self.granularity,
                    blocks => blocks,
                })
                .with_clipping(match self.clipping {
                    Clip::MinMax => WeightClipping::MinMax,
                    Clip::Mse => WeightClipping::Mse,
                    Clip::Output => WeightClipping::Output,
                })
        };
        let layers = self.layers.iter().map(|(name, scheme)| (name.clone(), weights(*scheme)));
        Recipe::new(8)
            .with_equalize(self.equalize)
            .with_smooth(self.smooth)
            .with_awq(self.awq)
            .with_weights(weights(self.bits))
            .with_layers(layers.collect())
            .with_method(match self.method {
                Rounding::Nearest => Method::Nearest,
                Rounding::Gptq => Method::Gptq { act_order: false },
                Rounding::GptqActOrder => Method::Gptq { act_order: true },
                Rounding::Descent => Method::Descent,
            })
            .with_activations(match self.dynamic {
                true => Activations::Dynamic,
                false => Activations::Static {
                    codes: self.activation_bits,
                    clipping: ActivationClipping::MinMax,
                    outputs: false,
                },
            })
            .with_bias_correction(!self.keep_biases)
    }
}

fn progress(steps: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {wide_msg}").expect("the template is well-formed");
    ProgressBar::new(steps).with_style(style)
}

/// Integers of 2, 3, 4 and 8 bits.
fn integers(recipe: &Recipe) -> Vec<WeightScheme> {
    let scheme = |bits| recipe.weights.with_codes(CodeFormat::Int(bits)).with_symmetric(bits == 8);
    [8, 4, 3, 2].map(scheme).to_vec()
}

/// Floats per channel, and blocks of floats.
fn floats(recipe: &Recipe) -> Vec<WeightScheme> {
    let schemes = [
        WeightScheme::float(DType::Float8E4M3Fn),
        WeightScheme::float(DType::Float4E2M1),
        WeightScheme::mx(DType::Float4E2M1),
        WeightScheme::nvfp4(),
    ];
    schemes.map(|scheme| scheme.with_clipping(recipe.weights.clipping)).to_vec()
}

/// Sensitivity of each single layer to each scheme, measured on the device.
fn sensitivities(task: &Task, recipe: &Recipe, schemes: &[WeightScheme]) -> Result<Vec<Sensitivity>> {
    let weighted = task.model.layers().iter().filter(|layer| layer.is_weighted()).count();
    let bar = progress((weighted * schemes.len()) as u64 + 1);
    let layers = sensitivity(&task.model, &task.calibration, recipe, schemes, |model| {
        bar.inc(1);
        let runner = Runner::new(task.device(), model.graph(task.calibration.dims()[0])?)?;
        Ok(runner.run(&[&task.calibration])?.remove(0))
    })?;
    bar.finish_and_clear();
    Ok(layers)
}

/// Quantizes by one recipe.
fn quantize(arguments: &Arguments) -> Result<bool> {
    let task = Task::load(arguments)?;
    let mut recipe = arguments.recipe();
    let mut alternatives = Vec::new();
    if let Some(budget) = arguments.budget {
        let schemes = [integers(&recipe), if arguments.floats { floats(&recipe) } else { Vec::new() }].concat();
        let plans = front(&sensitivities(&task, &recipe, &schemes)?);
        let chosen = within_bytes(&plans, budget)?;
        let bar = progress(plans.len() as u64);
        for plan in &plans {
            bar.set_message(bits_of(plan));
            alternatives.push(task.measure(bits_of(plan), &plan.recipe(&recipe))?.0.alternative());
            bar.inc(1);
        }
        bar.finish_and_clear();
        recipe = chosen.recipe(&recipe);
    }
    let original = recipe.rescaled(&task.model, &task.calibration)?;
    let quantized = recipe.quantize(&task.model, &task.calibration)?;
    let data = Dataset::new(&task.images).with_labels(&task.labels);
    let title = format!("{}: {}", task.model.architecture().name, describe(&recipe));
    let options = Options::default().with_time(true);
    let mut report = evaluate(title, &original, &quantized, data, task.device(), &options)?;
    report.alternatives = alternatives;
    print!("{report}");
    if let Some(path) = &arguments.output {
        let bytes = quantized.to_safetensors()?;
        write(path, &bytes)?;
        let read = QuantizedModel::from_safetensors(&std::fs::read(path)?)?;
        let logits = Runner::new(task.device(), read.graph(task.labels.len())?)?.run(&[&task.images])?.remove(0);
        let again = Metrics::new(task.logits.values()?, logits.values()?, task.model.outputs())?;
        println!("\n{}: {} bytes; read back it gives {:.2} dB", path.display(), bytes.len(), again.sqnr_db);
        if again != report.outputs {
            return Err("the model that was read back computes something else".into());
        }
    }
    arguments.report.iter().try_for_each(|path| write_report(path, &report))?;
    Ok(true)
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).map_err(|error| format!("{}: {error}", path.display()).into())
}

fn write_report(path: &Path, report: &Report) -> Result<()> {
    let page = path.extension().is_some_and(|extension| extension == "html");
    let text = if page { report.to_html()? } else { serde_json::to_string_pretty(report)? };
    write(path, text.as_bytes())?;
    println!("{}: the report", path.display());
    Ok(())
}

fn describe(recipe: &Recipe) -> String {
    let mut words = vec![recipe.weights.to_string()];
    if !recipe.layers.is_empty() {
        let layers = recipe.layers.iter().map(|(name, scheme)| format!("{name} {}", short(scheme)));
        words = vec![format!("bits {}", layers.collect::<Vec<_>>().join(", "))];
    }
    words.push(format!("{:?}", recipe.method));
    words.push(format!("{:?} clipping", recipe.weights.clipping));
    words.push(if recipe.weights.symmetric { "symmetric".into() } else { "with zero points".into() });
    for (wanted, name) in
        [(recipe.equalize, "equalized"), (recipe.awq, "AWQ"), (recipe.bias_correction, "biases corrected")]
    {
        if wanted {
            words.push(name.into());
        }
    }
    words.extend(recipe.smooth.map(|alpha| format!("SmoothQuant {alpha}")));
    words.join(", ")
}

fn bits_of(plan: &LayerPlan) -> String {
    plan.layers.iter().map(|(name, scheme)| format!("{name} {}", short(scheme))).collect::<Vec<_>>().join(", ")
}

/// Short name of a scheme: a number of bits for integers, or `fp8`, `mxfp4`, `nvfp4`.
fn short(scheme: &WeightScheme) -> String {
    let bits = scheme.codes.bits();
    match (scheme.codes, scheme.granularity) {
        (CodeFormat::Int(bits), _) => bits.to_string(),
        (_, WeightGranularity::Mx(_)) => format!("mxfp{bits}"),
        (_, WeightGranularity::Nvfp4) => "nvfp4".into(),
        _ => format!("fp{bits}"),
    }
}

/// Prints the results of every method on the digits; true if they are as good as the published figures.
fn table(arguments: &Arguments) -> Result<bool> {
    let task = Task::load(arguments)?;
    let digits = arguments.data.starts_with(DIGITS);
    println!("{} calibration and {} test images, {}", task.calibration.dims()[0], task.labels.len(), task.device());
    let float = task.judge(
        "float32",
        &task.logits,
        4 * task.model.layers().iter().map(|l| l.weights().len() as u64).sum::<u64>(),
        Duration::ZERO,
    )?;
    Line::head("");
    float.print();

    let int8 = |change: &dyn Fn(&mut Recipe)| {
        let mut recipe = Recipe::new(8);
        change(&mut recipe);
        recipe
    };
    let outputs = |clipping| Activations::Static { codes: CodeFormat::Int(8), clipping, outputs: true };
    Line::head("W8A8");
    let (static8, _) = task.measure("static, per channel, nearest, min-max", &Recipe::new(8))?;
    static8.print();
    for (name, recipe) in [
        (
            "  the same, logits quantized too (as ONNX Runtime does)",
            int8(&|r| r.activations = outputs(ActivationClipping::MinMax)),
        ),
        (
            "  the same, 99.99 % of the activations",
            int8(&|r| r.activations = outputs(ActivationClipping::Percentile(99.99))),
        ),
        ("  per tensor", int8(&|r| r.weights.granularity = WeightGranularity::Tensor)),
        ("  dynamic", int8(&|r| r.activations = Activations::Dynamic)),
        ("  best", Recipe::best(8)),
    ] {
        task.measure(name, &recipe)?.0.print();
    }

    Line::head("W4A8, per channel: ablation");
    let mut best4: Option<Line> = None;
    for (name, recipe) in ablation() {
        let (line, _) = task.measure(name, &recipe)?;
        line.print();
        if best4
            .as_ref()
            .is_none_or(|best| (line.accuracy, line.metrics.sqnr_db) > (best.accuracy, best.metrics.sqnr_db))
        {
            best4 = Some(line);
        }
    }
    Line::head("W4A4, W3A8, W2A8: after training only");
    for (name, bits, activation_bits) in [("W4A4", 4, 4), ("W3A8", 3, 8), ("W2A8", 2, 8)] {
        let activations =
            |clipping| Activations::Static { codes: CodeFormat::Int(activation_bits), clipping, outputs: false };
        let nearest = Recipe::new(bits).with_activations(activations(ActivationClipping::MinMax));
        let best = Recipe::best(bits).with_activations(activations(ActivationClipping::Mse));
        task.measure(format!("{name} nearest"), &nearest)?.0.print();
        task.measure(format!("{name} best"), &best)?.0.print();
    }

    Line::head("floating-point weights and activations");
    for (name, recipe) in floating_point() {
        task.measure(name, &recipe)?.0.print();
    }

    let recipe = Recipe::best(8).with_weights(Recipe::best(8).weights.with_symmetric(false));
    let schemes = [integers(&recipe), floats(&recipe)].concat();
    let all = sensitivities(&task, &recipe, &schemes)?;
    let names = schemes.iter().map(|scheme| format!("{:>9}", short(scheme)));
    println!("\n{:<16}{}", "SQNR alone, dB", names.collect::<String>());
    for layer in &all {
        let db = layer.choices.iter().map(|choice| format!("{:>9.2}", -10.0 * choice.noise.log10()));
        println!("{:<16}{}", layer.layer, db.collect::<String>());
    }
    // The published plans use integers only.
    let of_integers = |layer: &Sensitivity| Sensitivity::new(&layer.layer, layer.choices[..4].to_vec());
    let layers: Vec<Sensitivity> = all.iter().map(of_integers).collect();
    let (exact, greedy) = (front(&layers), greedy(&layers));
    let mut plans: BTreeMap<u64, &LayerPlan> = exact.iter().map(|plan| (plan.bytes, plan)).collect();
    plans.retain(|&bytes, _| bytes < 6000);
    Line::head("hybrid: plans of the exact front below 6,000 bytes");
    let bar = progress(plans.len() as u64);
    let mut hybrids = Vec::new();
    for plan in plans.values() {
        hybrids.push(task.measure(bits_of(plan), &plan.recipe(&recipe))?.0);
        bar.inc(1);
    }
    bar.finish_and_clear();
    hybrids.iter().for_each(Line::print);
    let chosen = |plans: &[LayerPlan], name: &str| -> Result<Line> {
        let plan = within_bytes(plans, 4304)?;
        Ok(task.measure(format!("{name}: {}", bits_of(plan)), &plan.recipe(&recipe))?.0)
    };
    Line::head("chosen by calibration data, at most 4,304 bytes");
    let planned = chosen(&exact, "exact")?;
    planned.print();
    chosen(&greedy, "greedy")?.print();
    chosen(&front(&all), "exact, floats too")?.print();

    if !digits {
        return Ok(true);
    }
    let trained = trained_rows(&task, arguments.train)?;
    if let Some(row) = trained.first().filter(|_| !arguments.report.is_empty()) {
        let quantized = trained_model(&task.model, &row.network)?;
        let data = Dataset::new(&task.images).with_labels(&task.labels);
        let title = format!("{}: W4A4, trained", task.model.architecture().name);
        let report = evaluate(title, &task.model, &quantized, data, task.device(), &Options::default())?;
        arguments.report.iter().try_for_each(|path| write_report(path, &report))?;
    }
    println!("\n{:<62} {:>10} {:>22}  ", "target", "published", "here");
    let mut all = true;
    let mut target = |name: &str, published: &str, here: String, reached: bool| {
        println!("{name:<62} {published:>10} {here:>22}  {}", if reached { "reached" } else { "MISSED" });
        all &= reached;
    };
    let percent = |share: f64| format!("{:.2} %", 100.0 * share);
    let sqnr = static8.metrics.sqnr_db;
    target("static int8 per channel: SQNR", "34.04 dB", format!("{sqnr:.2} dB"), sqnr >= 34.0);
    target("static int8 per channel: accuracy", "98.89 %", percent(static8.accuracy), static8.accuracy >= 0.9888);
    if let Some(line) = best4 {
        target("W4A8 by the best method: at least 98 %", "95.28 %", percent(line.accuracy), line.accuracy >= 0.98);
    }
    let good: Vec<&Line> = hybrids.iter().filter(|line| line.accuracy >= 0.991).collect();
    let small = good.iter().filter(|line| line.bytes <= 4304).max_by(|a, b| a.accuracy.total_cmp(&b.accuracy));
    let here = small.map_or("none".into(), |line| format!("{} at {}", percent(line.accuracy), line.bytes));
    target("hybrid within 4,304 bytes: at least 99.1 %", "99.17 %", here, small.is_some());
    let least = good.iter().map(|line| line.bytes).min();
    let here = least.map_or("none".into(), |bytes| bytes.to_string());
    target("hybrid with 99.1 %: fewer bytes than", "4304", here, least.is_some_and(|bytes| bytes < 4304));
    let beats = hybrids.iter().filter(|line| line.bytes < 3876).max_by(|a, b| a.accuracy.total_cmp(&b.accuracy));
    let here = beats.map_or("none".into(), |line| format!("{} at {}", percent(line.accuracy), line.bytes));
    target(
        "hybrid below all published sizes: above",
        "69.17 %",
        here,
        beats.is_some_and(|line| line.accuracy > 0.6917),
    );
    for row in &trained {
        let here = format!("{} to {}, mean {}", percent(row.least()), percent(row.most()), percent(row.mean()));
        target(&format!("{} {}", row.name, percent(row.wanted)), row.published, here, row.mean() >= row.wanted);
    }
    println!(
        "\nThe hybrid rows are the best of the front by accuracy on the test images, as the published ones are; what calibration data \
         choose is above. One image is 0.28 %."
    );
    if trained.is_empty() {
        println!("Rows that need training (W4A4, W2A4, from scratch) are printed with --train 3.");
    }
    Ok(all)
}

/// Results of training for all seeds.
struct TrainedRow {
    name: &'static str,
    wanted: f64,
    published: &'static str,
    accuracies: Vec<f64>,
    /// The network of the last seed.
    network: lowbit::train::Quantized,
}

impl TrainedRow {
    fn least(&self) -> f64 {
        self.accuracies.iter().copied().fold(1.0, f64::min)
    }

    fn most(&self) -> f64 {
        self.accuracies.iter().copied().fold(0.0, f64::max)
    }

    fn mean(&self) -> f64 {
        self.accuracies.iter().sum::<f64>() / self.accuracies.len() as f64
    }
}

/// Trains the digits network with quantization, seeds 1, 2, ….
fn trained_rows(task: &Task, seeds: u64) -> Result<Vec<TrainedRow>> {
    let mut rows = Vec::new();
    if seeds == 0 {
        return Ok(rows);
    }
    let context = task.context.as_ref().ok_or("training needs a GPU: use --device gpu")?;
    let learning = learn::Task::load()?;
    Line::head("trained with quantization (LSQ), on the device");
    for (name, training, wanted, published) in Training::published() {
        let (mut accuracies, mut network) = (Vec::new(), None);
        for seed in 1..=seeds {
            let trained = learning.run(context, &training, seed)?;
            let logits = &trained.after.logits;
            if trained.after.same != logits.tensor_type().shape().elements() {
                return Err("the integer network has other bits than the trained one".into());
            }
            let bytes = trained.network.weight_bytes() as u64;
            let line = task.judge(format!("{training}, seed {seed}"), logits, bytes, trained.time)?;
            line.print();
            accuracies.push(line.accuracy);
            network = Some(trained.network);
        }
        rows.extend(network.map(|network| TrainedRow { name, wanted, published, accuracies, network }));
    }
    Ok(rows)
}

/// A trained network as a quantized model, so that it can be evaluated like any other. Its mean over pixels rounds like a pool;
/// everything else is unchanged.
fn trained_model(model: &Model, trained: &lowbit::train::Quantized) -> Result<QuantizedModel> {
    let (mut model, mut weights, mut activations) = (model.clone(), Vec::new(), Vec::new());
    for (i, layer) in model.clone().layers().iter().enumerate() {
        let bits = trained.bits()[i];
        let codes = CodeFormat::Int(bits.activations as u8);
        activations.push(Some(ActivationQuantization::new(codes, trained.steps()[i], 0)?));
        let lowbit::train::Layer::Conv { weights: real, bias, .. } = &trained.network().layers()[i] else {
            weights.push(None);
            continue;
        };
        let (real, bias) = (real.values::<f32>()?.to_vec(), bias.values::<f32>()?.to_vec());
        let (steps, half) = (trained.weight_steps()[i].clone(), 1 << (bits.weights - 1));
        let k = real.len() / steps.len();
        // Codes start at 0, so that the least code −half is representable.
        let scheme = WeightScheme::per_channel(bits.weights as u8).with_symmetric(false);
        let code = |(j, w): (usize, &f32)| {
            ((w / steps[j / k]).round_ties_even() as i32).clamp(-half, half - 1) as i16 + half as i16
        };
        let codes = real.iter().enumerate().map(code).collect();
        let zero_points = vec![half; steps.len()];
        weights.push(Some(QuantizedWeights::new(scheme, steps.len(), steps.clone(), zero_points, codes)?));
        model = model.with_parameters(layer.name(), real, bias)?;
    }
    activations.push(None);
    Ok(QuantizedModel::from_parts(model, weights, activations)?)
}

/// Recipes with floats instead of integers: for weights and activations, for weights alone, in blocks.
fn floating_point() -> Vec<(&'static str, Recipe)> {
    let (e4m3, e5m2, e2m1) = (DType::Float8E4M3Fn, DType::Float8E5M2, DType::Float4E2M1);
    let float32 = Activations::float(DType::Float32);
    let nearest = |weights, activations| Recipe::new(8).with_weights(weights).with_activations(activations);
    let best = |weights: WeightScheme, activations| {
        let weights = weights.with_clipping(WeightClipping::Output);
        Recipe::best(8).with_weights(weights).with_activations(activations)
    };
    vec![
        ("W8A8 FP8 E4M3, nearest", nearest(WeightScheme::float(e4m3), Activations::float(e4m3))),
        ("  best", best(WeightScheme::float(e4m3), Activations::float(e4m3))),
        ("W8A8 FP8 E5M2, nearest", nearest(WeightScheme::float(e5m2), Activations::float(e5m2))),
        ("W8 FP8 E4M3, float32 activations, nearest", nearest(WeightScheme::float(e4m3), float32)),
        ("W8 MXFP8 E4M3, float16 activations, nearest", {
            nearest(WeightScheme::mx(e4m3), Activations::float(DType::Float16))
        }),
        ("W4 FP4 E2M1 per channel, float32 activations, nearest", nearest(WeightScheme::float(e2m1), float32)),
        ("  best", best(WeightScheme::float(e2m1), float32)),
        ("W4 MXFP4, float32 activations, nearest", nearest(WeightScheme::mx(e2m1), float32)),
        ("  best", best(WeightScheme::mx(e2m1), float32)),
        ("W4 NVFP4, float32 activations, nearest", nearest(WeightScheme::nvfp4(), float32)),
        ("  best", best(WeightScheme::nvfp4(), float32)),
        ("  best, FP8 E4M3 activations", best(WeightScheme::nvfp4(), Activations::float(e4m3))),
        ("  best, int8 activations", best(WeightScheme::nvfp4(), Activations::int(8))),
    ]
}

/// Recipes with one change each, then with several changes together.
fn ablation() -> Vec<(&'static str, Recipe)> {
    let with = |change: &dyn Fn(&mut Recipe)| {
        let mut recipe = Recipe::new(4);
        change(&mut recipe);
        recipe
    };
    let gptq = |act_order| with(&|r| r.method = Method::Gptq { act_order });
    let descent = with(&|r| {
        r.method = Method::Descent;
        r.weights.clipping = WeightClipping::Output;
    });
    let corrected = descent.clone().with_bias_correction(true);
    vec![
        ("nearest, min-max", Recipe::new(4)),
        ("  per tensor", with(&|r| r.weights.granularity = WeightGranularity::Tensor)),
        ("  with zero points", with(&|r| r.weights.symmetric = false)),
        ("  MSE clipping", with(&|r| r.weights.clipping = WeightClipping::Mse)),
        ("  output clipping (SeqMSE)", with(&|r| r.weights.clipping = WeightClipping::Output)),
        ("  bias correction (Nagel 2019)", with(&|r| r.bias_correction = true)),
        ("  equalization (CLE, Nagel 2019)", with(&|r| r.equalize = true)),
        ("  SmoothQuant 0.5 (Xiao 2022)", with(&|r| r.smooth = Some(0.5))),
        ("  AWQ (Lin 2023)", with(&|r| r.awq = true)),
        ("  GPTQ (Frantar 2022)", gptq(false)),
        ("  GPTQ, act-order", gptq(true)),
        ("  descent (AdaRound, QuantEase), output clipping", descent),
        ("    and bias correction", corrected.clone()),
        ("    and equalization", corrected.clone().with_equalize(true)),
        ("    and SmoothQuant 0.5", corrected.clone().with_smooth(Some(0.5))),
        ("    and AWQ", corrected.with_awq(true)),
        ("    and zero points (Recipe::best)", Recipe::best(4)),
    ]
}
