//! A model of Burn whose linear layers are lowbit's: weights of 4 bits in groups, and products of int8.
//!
//! Burn and lowbit share a device, a queue and buffers; nothing is copied between them. Every result is compared with lowbit's CPU
//! reference before anything is timed. Then the layers are timed beside Burn's own, in float32 and quantized, on the same device.

mod bridge;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use bridge::{Bridge, Layer, Result};
use burn::module::{Module, Param, ParamGroup, Quantizer as BurnQuantizer};
use burn::nn::{LayerNorm, LayerNormConfig, Linear as BurnLinear, LinearConfig};
use burn::tensor::activation::gelu;
use burn::tensor::quantization::{Calibration, QuantScheme, QuantStore, QuantValue, ScaleDtype};
use burn::tensor::wgpu::{MemoryConfiguration, WgpuSetup};
use burn::tensor::{Device, Tensor, TensorData};
use lowbit::ops::{DynamicGranularity, DynamicQuantize, Linear, Matmul, Op, Output, Quantize};
use lowbit::weights::{Codes, PackedWeights, Quantizer, ScaleFormat, WeightFormat};
use lowbit::{DType, Graph, Quantization, TensorType, reference, wgpu};

/// Width of the model, of its hidden layer, and the most rows of a batch.
const WIDTH: usize = 512;
const HIDDEN: usize = 2048;
const ROWS: usize = 64;

/// Weights that share a scale, in lowbit's 4 bits and in Burn's quantized layers.
const GROUP: usize = 32;

/// Calls of which the median counts.
const ROUNDS: usize = 11;

/// A relative error from which on an answer is wrong.
const MOST_ERROR: f64 = 0.15;

/// What maps rows to rows: a layer of Burn, or one of lowbit.
trait Project {
    fn project(&self, x: Tensor<2>) -> Result<Tensor<2>>;
}

impl Project for BurnLinear {
    fn project(&self, x: Tensor<2>) -> Result<Tensor<2>> {
        Ok(self.forward(x))
    }
}

impl Project for &Layer {
    fn project(&self, x: Tensor<2>) -> Result<Tensor<2>> {
        self.forward(x)
    }
}

impl Project for Layer {
    fn project(&self, x: Tensor<2>) -> Result<Tensor<2>> {
        self.forward(x)
    }
}

/// The feed-forward part of a transformer: `x + down(gelu(up(norm(x))))`. All but the products is Burn's.
struct Block<L> {
    norm: LayerNorm,
    up: L,
    down: L,
}

impl<L: Project> Block<L> {
    fn forward(&self, x: Tensor<2>) -> Result<Tensor<2>> {
        let hidden = gelu(self.up.project(self.norm.forward(x.clone()))?);
        Ok(x + self.down.project(hidden)?)
    }
}

/// A matrix `[k, n]` and a bias, as Burn stores them.
struct Weights {
    k: usize,
    n: usize,
    matrix: Vec<f32>,
    bias: Vec<f32>,
}

impl Weights {
    fn new(k: usize, n: usize, random: &mut Random) -> Self {
        let scale = (k as f32).sqrt().recip();
        let matrix = (0..k * n).map(|_| random.real() * scale).collect();
        Self { k, n, matrix, bias: (0..n).map(|_| random.real() * 0.1).collect() }
    }

    /// Burn's layer.
    fn burn(&self, device: &Device) -> BurnLinear {
        let mut layer = LinearConfig::new(self.k, self.n).init(device);
        let matrix = TensorData::new(self.matrix.clone(), [self.k, self.n]);
        layer.weight = Param::from_tensor(Tensor::from_data(matrix, device));
        layer.bias = Some(Param::from_tensor(Tensor::from_data(TensorData::new(self.bias.clone(), [self.n]), device)));
        layer
    }

    fn bias(&self) -> lowbit::Result<lowbit::Tensor> {
        lowbit::Tensor::new([self.n], self.bias.clone())
    }

    /// The weights in 4 bits with a scale for each group along k. lowbit's rows of weights are Burn's columns.
    fn packed(&self) -> lowbit::Result<PackedWeights> {
        let format = WeightFormat::new(Codes::INT4, GROUP, ScaleFormat::F16);
        Quantizer::new(format)?.rows([1, self.n, self.k], |column, numbers| {
            let column = self.matrix[column..].iter().step_by(self.n);
            numbers.iter_mut().zip(column).for_each(|(number, &weight)| *number = weight);
            Ok(())
        })
    }

    /// Rows of float32 by such weights.
    fn int4(&self, packed: &Arc<PackedWeights>, rows: usize) -> lowbit::Result<Op> {
        Ok(Linear::new(TensorType::float32([rows, self.k])?, packed.clone()).bias(self.bias()?).build()?.into())
    }

    /// Activations quantized to int8 row by row on the device, by int8 weights with a scale for each column.
    fn int8(&self) -> lowbit::Result<Graph> {
        let largest = |column: usize| {
            self.matrix[column..].iter().step_by(self.n).fold(f32::MIN_POSITIVE, |most, weight| weight.abs().max(most))
        };
        let scales: Vec<f32> = (0..self.n).map(|column| largest(column) / 127.0).collect();
        let real = lowbit::Tensor::new([self.k, self.n], self.matrix.clone())?;
        let codes =
            TensorType::new(DType::Int8, [self.k, self.n])?.quantized(Quantization::symmetric_axis(1, scales))?;
        let quantize = Quantize::new(real.tensor_type().clone(), codes).build()?.into();
        let weights = reference::run(&quantize, &[&real])?.remove(0);

        let mut graph = Graph::new();
        let rows = graph.extent("rows", ROWS)?;
        let x = graph.dynamic_input(TensorType::float32([ROWS, self.k])?, [(0, rows)])?;
        let rows = DynamicQuantize::new(graph.tensor_type(x)?.clone(), DType::Int8, DynamicGranularity::Row);
        let quantized = graph.add_all(rows.symmetric().build()?, &[x])?;
        let product = Matmul::new(graph.tensor_type(quantized[0])?.clone(), weights)
            .dynamic_lhs(DynamicGranularity::Row)
            .bias(self.bias()?)
            .output(Output::real());
        let y = graph.add(product.build()?, &quantized)?;
        graph.output(y);
        Ok(graph)
    }
}

/// A graph of one op, whose rows may be fewer.
fn graph(op: &Op) -> lowbit::Result<Graph> {
    let mut graph = Graph::new();
    let rows = graph.extent("rows", op.inputs()[0].dims()[0])?;
    let x = graph.dynamic_input(op.inputs()[0].clone(), [(0, rows)])?;
    let y = graph.add(op.clone(), &[x])?;
    graph.output(y);
    Ok(graph)
}

/// Numbers that follow from a seed.
struct Random(u64);

impl Random {
    /// −1 … 1
    fn real(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    fn rows(&mut self, rows: usize, width: usize) -> Vec<f32> {
        (0..rows * width).map(|_| self.real() + self.real()).collect()
    }
}

fn on_device(values: &[f32], width: usize, device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len() / width, width]), device)
}

fn on_host(tensor: Tensor<2>) -> Result<Vec<f32>> {
    let data = tensor.try_into_data().map_err(|error| format!("Burn can't read a tensor back: {error:?}"))?;
    data.try_to_vec().map_err(|error| format!("Burn gave something else than float32: {error:?}").into())
}

/// Root mean square of the difference, divided by that of what it should be.
fn error(got: &[f32], right: &[f32]) -> f64 {
    let square = |x: f64| x * x;
    let noise: f64 = got.iter().zip(right).map(|(&a, &b)| square(f64::from(a) - f64::from(b))).sum();
    (noise / right.iter().map(|&b| square(f64::from(b))).sum::<f64>()).sqrt()
}

/// True if an answer is no approximation of another.
fn is_wrong(error: f64) -> bool {
    error.is_nan() || error > MOST_ERROR
}

/// lowbit's layers of some weights.
struct Layers {
    weights: Weights,
    packed: Arc<PackedWeights>,
    int8_graph: Graph,
    int4: Layer,
    int8: Layer,
}

impl Layers {
    fn new(bridge: &Bridge, weights: Weights) -> Result<Self> {
        let (packed, int8_graph) = (Arc::new(weights.packed()?), weights.int8()?);
        let int4 = Layer::new(bridge, &graph(&weights.int4(&packed, ROWS)?)?)?;
        let int8 = Layer::new(bridge, &int8_graph)?;
        Ok(Self { weights, packed, int8_graph, int4, int8 })
    }

    /// Compares both layers with the CPU reference: int8 bit for bit, int4 within the bound of its sums. Returns the largest
    /// difference of int4 as a share of its bound.
    fn check(&self, x: &[f32], device: &Device) -> Result<f32> {
        let Weights { k, n, .. } = self.weights;
        let rows = x.len() / k;
        let host = lowbit::Tensor::new([rows, k], x.to_vec())?;
        let wrong = |what: &str, i: usize, got: &[f32], right: &[f32]| -> Result<f32> {
            Err(format!("{what}, row {}, column {}: got {}, expected {}", i / n, i % n, got[i], right[i]).into())
        };

        let got = on_host(self.int8.forward(on_device(x, k, device))?)?;
        let right = self.int8_graph.run_reference(&[&host])?.remove(0);
        let right = right.values::<f32>()?;
        if let Some(i) = (0..rows * n).find(|&i| got[i].to_bits() != right[i].to_bits()) {
            return wrong("int8", i, &got, right);
        }

        let got = on_host(self.int4.forward(on_device(x, k, device))?)?;
        let op = self.weights.int4(&self.packed, rows)?;
        let right = reference::run(&op, &[&host])?.remove(0);
        let right = right.values::<f32>()?;
        let bounds = reference::tolerance(&op, &[&host])?.ok_or("lowbit gives no bound of the sums")?;
        let difference = |i: usize| (got[i] - right[i]).abs();
        if let Some(i) = (0..rows * n).find(|&i| difference(i).is_nan() || difference(i) > bounds[i]) {
            return wrong("int4", i, &got, right);
        }
        Ok((0..rows * n).map(|i| difference(i) / bounds[i]).fold(0.0, f32::max))
    }
}

/// Burn, and lowbit on its device.
struct Shared {
    device: Device,
    bridge: Bridge,
    memory: &'static str,
}

impl Shared {
    /// Burn makes the device, and gives every tensor a buffer of its own.
    fn of_burn() -> Result<Self> {
        let options = Device::wgpu_options().memory_config(MemoryConfiguration::ExclusivePages);
        let (device, setup) = options.init_with_setup()?;
        Ok(Self { device, bridge: Bridge::new(&setup)?, memory: "a buffer for each tensor, Burn's device" })
    }

    /// The program makes the device, and Burn puts many tensors into one buffer, as it does by default.
    fn of_program() -> Result<Self> {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
        let adapter = pollster::block_on(instance.request_adapter(&Default::default()))?;
        let descriptor = wgpu::DeviceDescriptor {
            required_features: adapter.features() - wgpu::Features::all_experimental_mask(),
            required_limits: adapter.limits(),
            ..Default::default()
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor))?;
        let setup = WgpuSetup { backend: adapter.get_info().backend, instance, adapter, device, queue };
        let bridge = Bridge::new(&setup)?;
        let device = Device::wgpu_options().setup(setup).init()?;
        Ok(Self { device, bridge, memory: "buffers shared by tensors, the program's device" })
    }

    /// Checks the layers and the model on this device.
    fn check(&self, random: &mut Random) -> Result<[Layers; 2]> {
        let Self { device, bridge, memory } = self;
        println!("Memory: {memory}.");
        let sizes = [[WIDTH, HIDDEN], [HIDDEN, WIDTH]];
        let [up, down] = sizes.map(|[k, n]| Layers::new(bridge, Weights::new(k, n, random)));
        let layers = [up?, down?];
        for layers in &layers {
            let Weights { k, n, .. } = layers.weights;
            for rows in [1, 7, ROWS] {
                let share = layers.check(&random.rows(rows, k), device)?;
                println!(
                    "  {k} -> {n}, {rows:>2} rows: int8 equal bit for bit, int4 off by {share:.0e} of the bound at most"
                );
            }
        }

        let norm = || LayerNormConfig::new(WIDTH).init(device);
        let [up, down] = &layers;
        let float = Block { norm: norm(), up: up.weights.burn(device), down: down.weights.burn(device) };
        let x = random.rows(ROWS, WIDTH);
        let right = on_host(float.forward(on_device(&x, WIDTH, device))?)?;
        let models = [("int4", &up.int4, &down.int4), ("int8", &up.int8, &down.int8)];
        for (name, up, down) in models {
            let got = on_host(Block { norm: norm(), up, down }.forward(on_device(&x, WIDTH, device))?)?;
            let error = error(&got, &right);
            println!("  the model with {name} layers: relative error {error:.4} to Burn's float32");
            if is_wrong(error) {
                return Err(format!("the model with {name} layers is {error} from Burn's float32").into());
            }
        }
        println!("  tensors copied: {}\n", bridge.copies());
        Ok(layers)
    }
}

/// Burn's quantized layer, with a float32 scale for each block.
fn quantized(layer: BurnLinear, value: QuantValue) -> BurnLinear {
    let scheme = QuantScheme::default().with_value(value).with_store(QuantStore::PackedU32(0));
    let scheme = scheme.per_block([GROUP as u8], ScaleDtype::F32);
    layer.quantize_weights_group(&mut BurnQuantizer::new(Calibration::MinMax, scheme), ParamGroup::from_path("weight"))
}

/// Times the first layer as a program meets it: from a tensor of Burn to a tensor of Burn, until the device is done.
fn time(shared: &Shared, layers: &Layers, random: &mut Random) -> Result<()> {
    let device = &shared.device;
    println!("Median milliseconds of {ROUNDS} calls, in turn; relative error to Burn's float32.");
    println!("{:>12} {:>5} {:16} {:>9} {:>8}", "layer", "rows", "weights", "ms", "error");
    let Weights { k, n, .. } = layers.weights;
    let float = layers.weights.burn(device);
    let (q8, q4) = (quantized(float.clone(), QuantValue::Q8S), quantized(float.clone(), QuantValue::Q4S));
    let candidates: [(&str, &dyn Project); 5] = [
        ("Burn, float32", &float),
        ("Burn, 8 bits", &q8),
        ("Burn, 4 bits", &q4),
        ("lowbit, int8", &layers.int8),
        ("lowbit, int4", &layers.int4),
    ];
    for rows in [1, ROWS] {
        let x = random.rows(rows, k);
        let input = on_device(&x, k, device);
        let right = on_host(float.forward(input.clone()))?;
        // The first calls compile, and Burn chooses its kernels. lowbit's layers were checked, so a wrong one is an error here;
        // a wrong layer of Burn is told.
        let mut errors = Vec::new();
        for (name, layer) in candidates {
            let error = error(&on_host(layer.project(input.clone())?)?, &right);
            if name.starts_with("lowbit") && is_wrong(error) {
                return Err(format!("{name}: the error is {error}").into());
            }
            errors.push(error);
        }
        let mut milliseconds = [(); 5].map(|()| Vec::with_capacity(ROUNDS));
        for _ in 0..ROUNDS {
            for ((_, layer), times) in candidates.iter().zip(&mut milliseconds) {
                device.sync().map_err(|error| format!("Burn's device: {error:?}"))?;
                let start = Instant::now();
                let y = layer.project(input.clone())?;
                device.sync().map_err(|error| format!("Burn's device: {error:?}"))?;
                times.push(start.elapsed().as_secs_f64() * 1e3);
                drop(y);
            }
        }
        for (((name, _), times), error) in candidates.iter().zip(&mut milliseconds).zip(errors) {
            times.sort_by(f64::total_cmp);
            let time = if is_wrong(error) { "wrong".into() } else { format!("{:.2}", times[ROUNDS / 2]) };
            println!("{:>12} {rows:>5} {name:16} {time:>9} {error:>8.4}", format!("{k} -> {n}"));
        }
    }
    Ok(())
}

fn run() -> Result<()> {
    let shared = Shared::of_burn()?;
    println!("{}\n", shared.bridge.context().description());
    let layers = shared.check(&mut Random(1))?;
    let other = Shared::of_program()?;
    other.check(&mut Random(1))?;
    let copies = shared.bridge.copies() + other.bridge.copies();
    if copies > 0 {
        return Err(format!("{copies} tensors were copied, but none had to be").into());
    }
    time(&shared, &layers[0], &mut Random(2))?;
    if shared.bridge.context().device().adapter_info().device_type == wgpu::DeviceType::Cpu {
        println!("This device is software on the processor: the times say nothing of a GPU.");
    }
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
