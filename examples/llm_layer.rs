//! The linear parts of one decoder layer (query, key, value; output; gate, up; down) at the sizes of real models. Weights are in
//! GGUF's Q4_0 and Q4_K and in GPTQ's layout, made up in memory and imported as files are. It prints tokens per second, the shares
//! of the device's read bandwidth and arithmetic, and the error of a sample of results against f64. Attention, norms and
//! activations are not included.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use half::f16;
use indicatif::{ProgressBar, ProgressStyle};
use lowbit::import::gguf::{self, GgufType};
use lowbit::import::gptq::{Gptq, ZeroPoints};
use lowbit::import::{Array, ElementType};
use lowbit::ops::{DynamicGranularity, DynamicQuantize, Linear};
use lowbit::weights::PackedWeights;
use lowbit::{Context, DType, DeviceTensor, Graph, Probe, Result, Tensor, TensorType, Tuner, Value};

/// Times the linear parts of a decoder layer.
#[derive(Debug, Parser)]
struct Arguments {
    /// Widths of the model: 2048 has the shapes of Llama 3.2 1B, 4096 those of Llama 3 8B; other widths are like the latter.
    #[arg(long, value_delimiter = ',', default_value = "2048,4096")]
    hidden: Vec<usize>,
    /// Tokens per pass.
    #[arg(long, value_delimiter = ',', default_value = "1,8,512")]
    rows: Vec<usize>,
    /// Weight formats.
    #[arg(long, value_delimiter = ',', default_value = "Q4_0,Q4_K,GPTQ", value_parser = ["Q4_0", "Q4_K", "GPTQ"])]
    formats: Vec<String>,
    /// Most seconds of a pass over the layer. A longer pass, estimated from fewer rows, is left out.
    #[arg(long, default_value_t = 3.0)]
    patience: f64,
    /// Times candidate kernels first, for this many seconds, instead of taking the first guess.
    #[arg(long, default_value_t = 0)]
    tune: u64,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let context = Context::new_blocking()?;
    // Other programs may use the device too, so the best of several measurements counts.
    let mut probe = context.probe_blocking()?;
    for _ in 0..4 {
        let again = context.probe_blocking()?;
        probe.read_gib_per_s = probe.read_gib_per_s.max(again.read_gib_per_s);
        probe.f32_gflops = probe.f32_gflops.max(again.f32_gflops);
        probe.dot_gops = probe.dot_gops.max(again.dot_gops);
    }
    println!("{}", probe.device);
    println!(
        "at best {:.1} GiB/s read, {:.1} f32 GFLOPS, {:.1} int8 GOPS\n",
        probe.read_gib_per_s, probe.f32_gflops, probe.dot_gops
    );
    println!(
        "{:>6} {:6} {:>5} {:>8} {:>5} {:>9} {:>10} {:>10} {:>8} {:>8} {:>9} {:>9}",
        "hidden",
        "weight",
        "bits",
        "lhs",
        "rows",
        "ms",
        "tokens/s",
        "MiB read",
        "GiB/s",
        "of read",
        "of arith.",
        "error"
    );
    let bar = ProgressBar::new((arguments.hidden.len() * arguments.formats.len() * 2 * arguments.rows.len()) as u64)
        .with_style(ProgressStyle::with_template("{msg} {bar:30} {pos}/{len}").expect("a sound template"));
    for &hidden in &arguments.hidden {
        for format in &arguments.formats {
            bar.set_message(format!("{format} at {hidden}"));
            let layer = Layer::new(format, hidden)?;
            for int8 in [false, true] {
                let mut seconds_per_row = 0.0;
                for &rows in &arguments.rows {
                    let expected = seconds_per_row * rows as f64;
                    let line = if expected > arguments.patience {
                        format!("{rows:>5} left out: it would take about {expected:.0} s (see --patience)")
                    } else {
                        let measured = layer.measure(&context, rows, int8, arguments)?;
                        seconds_per_row = measured.seconds / rows as f64;
                        measured.describe(&layer, rows, int8, &probe)
                    };
                    let lhs = if int8 { "int8" } else { "float32" };
                    bar.suspend(|| println!("{hidden:>6} {format:6} {:>5.2} {lhs:>8} {line}", layer.bits_per_weight()));
                    bar.inc(1);
                }
            }
        }
    }
    bar.finish_and_clear();
    Ok(())
}

/// The matrices of a layer, in order, with their inputs, names and weights.
struct Layer {
    hidden: usize,
    intermediate: usize,
    matrices: Vec<Matrix>,
}

struct Matrix {
    source: Source,
    weights: std::sync::Arc<PackedWeights>,
    file: Stored,
}

/// Activations that a product reads.
#[derive(Clone, Copy, PartialEq)]
enum Source {
    Normed,
    Attended,
    NormedAgain,
    Activated,
}

const SOURCES: [Source; 4] = [Source::Normed, Source::Attended, Source::NormedAgain, Source::Activated];

/// Made-up weights as a file holds them.
enum Stored {
    Gguf(GgufType, Vec<u8>),
    Gptq { qweight: Vec<u8>, qzeros: Vec<u8>, scales: Vec<u8> },
}

/// Random number generator; its seed names the data.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.chunks_mut(8).for_each(|chunk| chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]));
    }

    /// −1 … 1
    fn real(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

const GPTQ_GROUP: usize = 128;

impl Stored {
    fn new(format: &str, n: usize, k: usize, random: &mut Random) -> Result<Self> {
        let gguf_type = match format {
            "Q4_0" => GgufType::Q4_0,
            "Q4_K" => GgufType::Q4_K,
            _ => {
                let groups = k / GPTQ_GROUP;
                let mut qweight = vec![0; k / 8 * n * 4];
                random.fill(&mut qweight);
                let mut qzeros = vec![0; groups * n / 8 * 4];
                // Zero points of 8 ± 1, stored less one.
                for byte in &mut qzeros {
                    *byte = 0x66 + (random.next() & 0x11) as u8;
                }
                let scale = |random: &mut Random| f16::from_f32(0.002 + 0.001 * random.real()).to_le_bytes();
                let scales = (0..groups * n).flat_map(|_| scale(random)).collect();
                return Ok(Self::Gptq { qweight, qzeros, scales });
            }
        };
        let mut blocks = vec![0; gguf_type.bytes([1, n, k])?];
        random.fill(&mut blocks);
        for block in blocks.chunks_mut(gguf_type.block_bytes()) {
            // The super-block scale of Q4_K multiplies 6-bit integers. Its offset scale has a factor of 7.5, the mean of the codes.
            let scale = if gguf_type == GgufType::Q4_0 { 0.002 } else { 0.00006 } * (1.5 + 0.5 * random.real());
            block[..2].copy_from_slice(&f16::from_f32(scale).to_le_bytes());
            if gguf_type == GgufType::Q4_K {
                block[2..4].copy_from_slice(&f16::from_f32(scale * 7.5).to_le_bytes());
            }
        }
        Ok(Self::Gguf(gguf_type, blocks))
    }

    fn import(&self, n: usize, k: usize) -> Result<PackedWeights> {
        match self {
            Self::Gguf(gguf_type, blocks) => gguf::weights(*gguf_type, [1, n, k], blocks),
            Self::Gptq { qweight, qzeros, scales } => Gptq::new(
                Array::new(ElementType::Int32, [k / 8, n], qweight)?,
                Array::new(ElementType::Int32, [k / GPTQ_GROUP, n / 8], qzeros)?,
                Array::new(ElementType::Float16, [k / GPTQ_GROUP, n], scales)?,
                4,
                ZeroPoints::LessOne,
            )
            .with_group(GPTQ_GROUP)
            .weights(),
        }
    }

    /// Real number at column `l` of row `j` of an `n` × `k` matrix, by the format's definition.
    fn real(&self, [n, k]: [usize; 2], j: usize, l: usize) -> f64 {
        let half = |bytes: &[u8]| f16::from_le_bytes([bytes[0], bytes[1]]).to_f64();
        let nibble = |byte: u8, high: bool| f64::from(if high { byte >> 4 } else { byte & 15 });
        match self {
            Self::Gguf(GgufType::Q4_0, blocks) => {
                let (block, i) = (&blocks[(j * k + l) / 32 * 18..][..18], l % 32);
                half(block) * (nibble(block[2 + i % 16], i >= 16) - 8.0)
            }
            Self::Gguf(_, blocks) => {
                let (block, i) = (&blocks[(j * k + l) / 256 * 144..][..144], l % 256);
                let (sub, packed) = (i / 32, &block[4..16]);
                let (scale, minimum) = if sub < 4 {
                    (packed[sub] & 63, packed[sub + 4] & 63)
                } else {
                    let low = packed[sub + 4];
                    (low & 15 | packed[sub - 4] >> 6 << 4, low >> 4 | packed[sub] >> 6 << 4)
                };
                let code = nibble(block[16 + i / 64 * 32 + i % 32], i % 64 >= 32);
                half(block) * f64::from(scale) * code - half(&block[2..]) * f64::from(minimum)
            }
            Self::Gptq { qweight, qzeros, scales } => {
                let g = l / GPTQ_GROUP;
                let code = nibble(qweight[(l / 8 * n + j) * 4 + l % 8 / 2], l % 2 == 1);
                let zero = nibble(qzeros[(g * n + j) / 2], j % 2 == 1) + 1.0;
                half(&scales[(g * n + j) * 2..]) * (code - zero)
            }
        }
    }
}

impl Layer {
    fn new(format: &str, hidden: usize) -> Result<Self> {
        let (keys, intermediate) = match hidden {
            2048 => (512, 8192),
            _ => (hidden / 4, hidden * 7 / 2),
        };
        let shapes = [
            (Source::Normed, hidden, hidden),
            (Source::Normed, keys, hidden),
            (Source::Normed, keys, hidden),
            (Source::Attended, hidden, hidden),
            (Source::NormedAgain, intermediate, hidden),
            (Source::NormedAgain, intermediate, hidden),
            (Source::Activated, hidden, intermediate),
        ];
        let random = &mut Random(0x5eed + hidden as u64);
        let mut matrix = |(source, n, k)| -> Result<Matrix> {
            let file = Stored::new(format, n, k, random)?;
            Ok(Matrix { source, weights: file.import(n, k)?.into(), file })
        };
        let matrices = shapes.into_iter().map(&mut matrix).collect::<Result<_>>()?;
        Ok(Self { hidden, intermediate, matrices })
    }

    fn width(&self, source: Source) -> usize {
        if source == Source::Activated { self.intermediate } else { self.hidden }
    }

    fn parameters(&self) -> usize {
        self.matrices.iter().map(|m| m.weights.dims().iter().product::<usize>()).sum()
    }

    fn weight_bytes(&self) -> usize {
        self.matrices.iter().map(|m| m.weights.bytes()).sum()
    }

    fn bits_per_weight(&self) -> f64 {
        self.weight_bytes() as f64 * 8.0 / self.parameters() as f64
    }

    /// All products in one plan. Products of the same activations share their quantization.
    fn graph(&self, rows: usize, int8: bool) -> Result<Graph> {
        let mut graph = Graph::new();
        let mut sources: Vec<Vec<Value>> = Vec::new();
        let inputs: Vec<Value> = SOURCES
            .iter()
            .map(|&source| Ok(graph.input(TensorType::float32([rows, self.width(source)])?)))
            .collect::<Result<_>>()?;
        for &input in &inputs {
            sources.push(if int8 {
                let activations = graph.tensor_type(input)?.clone();
                let op = DynamicQuantize::new(activations, DType::Int8, DynamicGranularity::Row).symmetric();
                graph.add_all(op.build()?, &[input])?
            } else {
                vec![input]
            });
        }
        for matrix in &self.matrices {
            let inputs = &sources[matrix.source as usize];
            let mut op = Linear::new(graph.tensor_type(inputs[0])?.clone(), matrix.weights.clone());
            if int8 {
                op = op.dynamic_lhs(DynamicGranularity::Row);
            }
            let output = graph.add(op.build()?, inputs)?;
            graph.output(output);
        }
        Ok(graph)
    }

    fn measure(&self, context: &Context, rows: usize, int8: bool, arguments: &Arguments) -> Result<Measured> {
        let graph = self.graph(rows, int8)?;
        let random = &mut Random(0xac71 + rows as u64);
        let inputs: Vec<Tensor> = SOURCES
            .iter()
            .map(|&source| {
                let values = (0..rows * self.width(source)).map(|_| random.real() + random.real()).collect::<Vec<_>>();
                Tensor::new([rows, self.width(source)], values)
            })
            .collect::<Result<_>>()?;
        let tuner = match arguments.tune {
            0 => Tuner::FirstGuess,
            seconds => Tuner::Measured { budget: Duration::from_secs(seconds) },
        };
        let plan = context.plan(&graph, tuner)?;
        let placed: Vec<DeviceTensor> = inputs.iter().map(|t| context.upload(t)).collect::<Result<_>>()?;
        let outputs: Vec<DeviceTensor> =
            plan.output_types().iter().map(|t| DeviceTensor::allocate(context, t.clone())).collect::<Result<_>>()?;
        let bindings = plan.bind(&placed.iter().collect::<Vec<_>>(), &outputs.iter().collect::<Vec<_>>())?;
        let pass = || -> Result<f64> {
            let start = Instant::now();
            let mut encoder = context.device().create_command_encoder(&Default::default());
            plan.record(&mut encoder, &bindings)?;
            context.queue().submit([encoder.finish()]);
            context
                .device()
                .poll(wgpu::PollType::wait_indefinitely())
                .map_err(|e| lowbit::Error::Device(e.to_string()))?;
            Ok(start.elapsed().as_secs_f64())
        };
        // The first pass compiles and clears. The result is the median of up to 25 further passes, within about a second.
        let first = pass()?;
        let count = ((1.0 / first.max(1e-6)) as usize).clamp(1, 25);
        let mut seconds = (0..count).map(|_| pass()).collect::<Result<Vec<f64>>>()?;
        seconds.sort_by(f64::total_cmp);
        let outputs: Vec<Tensor> = outputs.iter().map(|t| context.download_blocking(t)).collect::<Result<_>>()?;
        Ok(Measured { seconds: seconds[count / 2], error: self.error(&inputs, &outputs, rows)? })
    }

    /// Relative root mean square error of a sample of results. They are compared with f64 products of the file's weights and the
    /// activations before any quantization, and the error is divided by the root mean square of those products.
    fn error(&self, inputs: &[Tensor], outputs: &[Tensor], rows: usize) -> Result<f64> {
        let (mut noise, mut signal) = (0.0, 0.0);
        for (index, (matrix, output)) in self.matrices.iter().zip(outputs).enumerate() {
            let [_, n, k] = matrix.weights.dims();
            let x = inputs[matrix.source as usize].values::<f32>()?;
            let out = output.values::<f32>()?;
            for sample in 0..24 {
                let (i, j) = ((sample * 7 + index) % rows, (sample * 997 + index * 31) % n);
                let exact: f64 = (0..k).map(|l| f64::from(x[i * k + l]) * matrix.file.real([n, k], j, l)).sum();
                noise += (f64::from(out[i * n + j]) - exact).powi(2);
                signal += exact * exact;
            }
        }
        Ok((noise / signal).sqrt())
    }
}

/// Median time of a pass, and the relative error of its results.
struct Measured {
    seconds: f64,
    error: f64,
}

impl Measured {
    fn describe(&self, layer: &Layer, rows: usize, int8: bool, probe: &Probe) -> String {
        // Every kernel must read the weights once and the activations once.
        let widths: usize = SOURCES.iter().map(|&source| layer.width(source)).sum();
        let bytes = layer.weight_bytes() + rows * widths * 4;
        let gib_per_s = bytes as f64 / self.seconds / f64::from(1 << 30);
        let operations = 2.0 * (layer.parameters() * rows) as f64 / self.seconds / 1e9;
        let ceiling = if int8 { probe.dot_gops } else { probe.f32_gflops };
        format!(
            "{rows:>5} {:>9.2} {:>10.1} {:>10.1} {gib_per_s:>8.2} {:>7.1}% {:>8.1}% {:>9.2e}",
            self.seconds * 1e3,
            rows as f64 / self.seconds,
            bytes as f64 / f64::from(1 << 20),
            gib_per_s / probe.read_gib_per_s * 100.0,
            operations / ceiling * 100.0,
            self.error
        )
    }
}
