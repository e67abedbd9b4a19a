//! lowbit inside an engine that owns the device. A shader of the engine writes activations, a plan computes a layer with a
//! residual connection, and another shader of the engine reads the result. One submission runs all three. Every number is compared
//! with `Graph::run_reference` and the engine's own arithmetic. The guide, `lowbit::guide`, explains the steps.

use std::error::Error;
use std::process::ExitCode;

use lowbit::ops::{Add, Dequantize, Matmul, Quantize, Requantization, Table};
use lowbit::{Context, DType, DeviceTensor, Graph, Plan, Quantization, Tensor, TensorType, Tuner, Workspace, wgpu};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Largest number of rows of a frame, and the length of a row.
const ROWS: usize = 32;
const WIDTH: usize = 40;

/// The engine's first shader: any simulation, renderer or network. All of its results are exact in f32.
const PRODUCE: &str = "
    @group(0) @binding(0) var<storage, read_write> activations: array<f32>;
    @group(0) @binding(1) var<uniform> frame: vec4<u32>;

    @compute @workgroup_size(64)
    fn main(@builtin(global_invocation_id) id: vec3<u32>) {
        if id.x < arrayLength(&activations) {
            activations[id.x] = f32(i32((id.x + frame.x) * 7919u % 511u) - 255) * 0.015625;
        }
    }";

/// `PRODUCE` on the host.
fn produce(frame: u32, i: usize) -> f32 {
    (((i as u32 + frame) * 7919 % 511) as i32 - 255) as f32 * 0.015625
}

/// The engine's second shader: the index of the largest element of each row, the first of equals.
const CONSUME: &str = "
    const WIDTH = 40u;
    @group(0) @binding(0) var<storage, read> results: array<f32>;
    @group(0) @binding(1) var<storage, read_write> choices: array<u32>;

    @compute @workgroup_size(1)
    fn main(@builtin(workgroup_id) id: vec3<u32>) {
        var best = 0u;
        for (var i = 1u; i < WIDTH; i++) {
            if results[id.x * WIDTH + i] > results[id.x * WIDTH + best] { best = i; }
        }
        choices[id.x] = best;
    }";

/// `CONSUME` on the host.
fn consume(row: &[f32]) -> u32 {
    (1..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best }) as u32
}

/// `x + leaky_relu(x · weights)` in 8-bit codes, for at most `rows` rows of float32.
fn network(rows: usize) -> lowbit::Result<Graph> {
    let reals = TensorType::new(DType::Float32, [rows, WIDTH])?;
    let codes = TensorType::new(DType::Uint8, [rows, WIDTH])?.quantized(Quantization::tensor(0.03125, 128))?;
    let weights = (0..WIDTH * WIDTH).map(|i| (i * 89 % 255) as u8 as i8).collect::<Vec<_>>();
    let weights = Tensor::new([WIDTH, WIDTH], weights)?.quantized(Quantization::tensor(0.005, 0))?;
    let stage = Requantization::new(DType::Uint8, 0.0625, 100)?;

    let mut graph = Graph::new();
    let extent = graph.extent("rows", rows)?;
    let activations = graph.dynamic_input(reals, [(0, extent)])?;
    let x =
        graph.add(Quantize::new(graph.tensor_type(activations)?.clone(), codes.clone()).build()?, &[activations])?;
    let y = graph.add(Matmul::new(codes.clone(), weights).output(stage.clone()).build()?, &[x])?;
    let y = graph.add(Table::leaky_relu(graph.tensor_type(y)?.clone(), 0.125, stage.clone())?, &[y])?;
    let y = graph.add(Add::new(graph.tensor_type(y)?.clone(), codes, stage).build()?, &[y, x])?;
    let y = graph.add(Dequantize::new(graph.tensor_type(y)?.clone()).build()?, &[y])?;
    graph.output(y);
    Ok(graph)
}

/// Everything that the engine owns.
struct Engine {
    device: wgpu::Device,
    queue: wgpu::Queue,
    frame: wgpu::Buffer,
    activations: wgpu::Buffer,
    results: wgpu::Buffer,
    choices: wgpu::Buffer,
    producer: Shader,
    consumer: Shader,
}

/// A pipeline of the engine with its buffers.
struct Shader {
    pipeline: wgpu::ComputePipeline,
    group: wgpu::BindGroup,
}

impl Shader {
    fn new(device: &wgpu::Device, source: &str, buffers: [&wgpu::Buffer; 2]) -> Self {
        let source = wgpu::ShaderSource::Wgsl(source.into());
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor { label: None, source });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: None,
            module: &module,
            entry_point: Some("main"),
            compilation_options: Default::default(),
            cache: None,
        });
        let entry = |binding| wgpu::BindGroupEntry { binding, resource: buffers[binding as usize].as_entire_binding() };
        let layout = &pipeline.get_bind_group_layout(0);
        let entries = &[entry(0), entry(1)];
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout, entries });
        Self { pipeline, group }
    }

    fn dispatch(&self, pass: &mut wgpu::ComputePass<'_>, groups: usize) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.group, &[]);
        pass.dispatch_workgroups(groups as u32, 1, 1);
    }
}

impl Engine {
    /// On the default adapter. lowbit needs no optional feature and no raised limit.
    fn new() -> Result<Self> {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
        let adapter = pollster::block_on(instance.request_adapter(&Default::default()))?;
        let (device, queue) = pollster::block_on(adapter.request_device(&Default::default()))?;
        let buffer = |bytes: usize, usage| {
            let (size, label) = (bytes as u64, Some("the engine's"));
            device.create_buffer(&wgpu::BufferDescriptor { label, size, usage, mapped_at_creation: false })
        };
        // float32 lies dense, so its rows need no padding. Rows of 8-bit codes are padded to 16 bytes.
        let (storage, source) = (wgpu::BufferUsages::STORAGE, wgpu::BufferUsages::COPY_SRC);
        let frame = buffer(16, wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST);
        let [activations, results] = [storage, storage | source].map(|usage| buffer(ROWS * WIDTH * 4, usage));
        let choices = buffer(ROWS * 4, storage | source);
        let producer = Shader::new(&device, PRODUCE, [&activations, &frame]);
        let consumer = Shader::new(&device, CONSUME, [&results, &choices]);
        Ok(Self { frame, activations, results, choices, producer, consumer, device, queue })
    }

    /// The engine's buffers as lowbit tensors with `rows` rows. These are handles; nothing is copied.
    fn tensors(&self, rows: usize) -> lowbit::Result<[DeviceTensor; 2]> {
        let reals = TensorType::new(DType::Float32, [rows, WIDTH])?;
        let input = DeviceTensor::from_buffer(reals.clone(), self.activations.clone(), 0)?;
        Ok([input, DeviceTensor::from_buffer(reals, self.results.clone(), 0)?])
    }

    /// A workspace in the engine's own memory. All of the engine's plans could share it.
    fn workspace(&self, plan: &Plan) -> lowbit::Result<Workspace> {
        let buffer = |&size: &u64| {
            let (usage, label) = (wgpu::BufferUsages::STORAGE, Some("the engine's workspace"));
            self.device.create_buffer(&wgpu::BufferDescriptor { label, size, usage, mapped_at_creation: false })
        };
        Workspace::from_buffers(plan.workspace_buffers().iter().map(buffer).collect())
    }

    /// Submits a frame and reads its first `rows` rows: results and choices.
    fn finish(&self, mut encoder: wgpu::CommandEncoder, rows: usize) -> Result<(Vec<f32>, Vec<u32>)> {
        let (results, choices) = (rows as u64 * WIDTH as u64 * 4, rows as u64 * 4);
        let staging = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("the engine's readback"),
            size: results + choices,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        encoder.copy_buffer_to_buffer(&self.results, 0, &staging, 0, Some(results));
        encoder.copy_buffer_to_buffer(&self.choices, 0, &staging, results, Some(choices));
        self.queue.submit([encoder.finish()]);
        staging.map_async(wgpu::MapMode::Read, .., |_| ());
        self.device.poll(wgpu::PollType::wait_indefinitely())?;
        let bytes = staging.get_mapped_range(..)?;
        let words = bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect::<Vec<_>>();
        let (results, choices) = words.split_at(rows * WIDTH);
        Ok((results.iter().map(|&bits| f32::from_bits(bits)).collect(), choices.to_vec()))
    }
}

/// Owner of the compute pass that has lowbit's launches.
#[derive(Debug, Clone, Copy)]
enum Pass {
    Lowbits,
    Engines,
}

fn run() -> Result<()> {
    let engine = Engine::new()?;
    let context = Context::from_device(engine.device.clone(), engine.queue.clone());
    println!("{}", context.description());

    // Once, while loading: choose kernels, compile them, and bind them to buffers.
    let plan = context.plan(&network(ROWS)?, Tuner::FirstGuess)?;
    pollster::block_on(plan.warm_up())?;
    // On a CPU warming up takes a submission.
    let warmed = context.counters().submissions;
    println!("\n{plan}");
    let workspace = engine.workspace(&plan)?;
    let bind = |rows: usize| {
        let [activations, results] = engine.tensors(rows)?;
        plan.bind_with(&[&activations], &[&results], &workspace)
    };
    let (all, few) = (bind(ROWS)?, bind(5)?);

    let frames = [
        (ROWS, &all, Pass::Lowbits),
        (ROWS, &all, Pass::Engines),
        (5, &few, Pass::Engines),
        (5, &few, Pass::Lowbits),
        (ROWS, &all, Pass::Lowbits),
    ];
    for (frame, (rows, bindings, whose)) in (1u32..).zip(frames) {
        engine.queue.write_buffer(&engine.frame, 0, bytemuck::cast_slice(&[frame, 0, 0, 0]));
        let mut encoder = engine.device.create_command_encoder(&Default::default());
        let groups = (ROWS * WIDTH).div_ceil(64);
        match whose {
            Pass::Lowbits => {
                engine.producer.dispatch(&mut encoder.begin_compute_pass(&Default::default()), groups);
                plan.record(&mut encoder, bindings)?;
                engine.consumer.dispatch(&mut encoder.begin_compute_pass(&Default::default()), rows);
            }
            Pass::Engines => {
                let mut pass = encoder.begin_compute_pass(&Default::default());
                engine.producer.dispatch(&mut pass, groups);
                plan.record_in(&mut pass, bindings)?;
                engine.consumer.dispatch(&mut pass, rows);
            }
        }
        let (results, choices) = engine.finish(encoder, rows)?;

        let activations = Tensor::new([rows, WIDTH], (0..rows * WIDTH).map(|i| produce(frame, i)).collect::<Vec<_>>())?;
        let expected = network(rows)?.run_reference(&[&activations])?.remove(0);
        let expected = expected.values::<f32>()?;
        if let Some(i) = (0..expected.len()).find(|&i| results[i].to_bits() != expected[i].to_bits()) {
            let (row, column, got, expected) = (i / WIDTH, i % WIDTH, results[i], expected[i]);
            return Err(format!("frame {frame}, row {row}, column {column}: got {got}, expected {expected}").into());
        }
        let expected: Vec<u32> = expected.chunks_exact(WIDTH).map(consume).collect();
        if choices != expected {
            return Err(format!("frame {frame}: the choices are {choices:?}, expected {expected:?}").into());
        }
        let whose = if matches!(whose, Pass::Lowbits) { "a pass of lowbit's own" } else { "the engine's pass" };
        println!("frame {frame}: {rows:>2} rows in {whose}: {} results and {rows} choices, all exact", results.len());
    }
    match context.counters().submissions - warmed {
        0 => println!("OK: one submission a frame, all of them the engine's"),
        n => return Err(format!("lowbit submitted {n} times behind the engine's back").into()),
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
