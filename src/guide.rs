//! # lowbit in your engine
//!
//! From a device that you own to a recorded plan. `examples/engine.rs` is the same as a whole program.
//!
//! ## 1. A context on your device
//!
//! [`Context::from_device`] takes handles to your device and queue. It needs no optional feature and no raised limit; what the
//! device allows beyond that is used. The crate's [`crate::wgpu`] is the one to make the device with.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use lowbit::{Context, wgpu};
//!
//! let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
//! # if pollster::block_on(instance.request_adapter(&Default::default())).is_err() { return Ok(()); }
//! let adapter = pollster::block_on(instance.request_adapter(&Default::default()))?;
//! let (device, queue) = pollster::block_on(adapter.request_device(&Default::default()))?;
//!
//! let context = Context::from_device(device.clone(), queue.clone());
//! // A device tells only one callback that it is lost, and that one is yours: pass it on.
//! let told = context.clone();
//! device.set_device_lost_callback(move |_, reason| told.report_lost(reason));
//! # Ok(())
//! # }
//! ```
//!
//! ## 2. A graph
//!
//! Ops are validated when they are made, a graph when ops are added to it; no device is involved. An input that is declared
//! with [`Graph::dynamic_input`] may have fewer rows at run time: batches, or tokens.
//!
//! ```
//! use lowbit::ops::{Dequantize, Matmul, Quantize, Requantization, Table};
//! use lowbit::{Format, Graph, Quantization, Tensor, TensorType};
//!
//! fn layer(rows: usize) -> lowbit::Result<Graph> {
//!     let codes = TensorType::new(Format::Uint8, [rows, 64])?.quantized(Quantization::tensor(0.05, 128))?;
//!     let weights = Tensor::new([64, 32], vec![3i8; 64 * 32])?.quantized(Quantization::tensor(0.01, 0))?;
//!     let stage = Requantization::new(Format::Uint8, 0.1, 100)?;
//!
//!     let mut graph = Graph::new();
//!     let x = graph.dynamic_input(TensorType::new(Format::Float32, [rows, 64])?)?;
//!     graph.name(x, "tokens")?; // for messages
//!     let x = graph.add(Quantize::new(codes.clone())?, &[x])?;
//!     let y = graph.add(Matmul::new(codes, weights).output(stage.clone()).build()?, &[x])?;
//!     let y = graph.add(Table::leaky_relu(graph.tensor_type(y)?.clone(), 0.1, stage)?, &[y])?;
//!     let y = graph.add(Dequantize::new(graph.tensor_type(y)?.clone())?, &[y])?;
//!     graph.output(y);
//!     Ok(graph)
//! }
//! # layer(8)?;
//! # Ok::<(), lowbit::Error>(())
//! ```
//!
//! ## 3. A plan, once
//!
//! [`Context::plan`] fuses, orders, packs memory, chooses kernels and uploads weights, which all plans of the context share.
//! Print it to see what became of your ops. [`Plan::warm_up`](crate::Plan::warm_up) compiles on all cores; without it the first
//! bind does.
//!
//! ```
//! # use lowbit::ops::{Quantize, Dequantize};
//! # use lowbit::{Context, Format, Graph, Quantization, TensorType, Tuner};
//! # fn layer(rows: usize) -> lowbit::Result<Graph> {
//! #     let codes = TensorType::new(Format::Uint8, [rows, 64])?.quantized(Quantization::tensor(0.05, 128))?;
//! #     let mut graph = Graph::new();
//! #     let x = graph.dynamic_input(TensorType::new(Format::Float32, [rows, 64])?)?;
//! #     let x = graph.add(Quantize::new(codes.clone())?, &[x])?;
//! #     let y = graph.add(Dequantize::new(codes)?, &[x])?;
//! #     graph.output(y);
//! #     Ok(graph)
//! # }
//! # fn main() -> lowbit::Result<()> {
//! # let Ok(context) = Context::new_blocking() else { return Ok(()) };
//! let plan = context.plan(&layer(512)?, Tuner::FirstGuess)?;
//! pollster::block_on(plan.warm_up())?;
//! println!("{plan}"); // one line per launch: kernel, grid, bytes read and written, operations, the ops it is made of
//! println!("{} bytes of workspace", plan.workspace_bytes());
//! # Ok(())
//! # }
//! ```
//!
//! ## 4. Buffers
//!
//! [`DeviceTensor::from_buffer`] makes a tensor of your buffer; nothing is copied. In memory a row (the last dimension) of
//! 8- or 16-bit codes is padded to whole 16 bytes, anything else lies dense ([`TensorType::device_bytes`]); readers ignore the
//! padding and writers fill it with zeros. Offsets are multiples of 256. Inputs may share a buffer; an output needs one
//! that no other tensor of the plan lies in, because WebGPU tracks whole buffers.
//!
//! The workspace holds what lies between the ops. By default the plan allocates one at its first bind; or give it yours, at
//! least as many buffers as [`Plan::workspace_buffers`](crate::Plan::workspace_buffers) and each at least as large. One
//! workspace can serve every plan whose commands go to the same queue, since they run one after the other.
//!
//! ## 5. Bind once, record every frame
//!
//! ```
//! # use lowbit::ops::{Quantize, Dequantize};
//! # use lowbit::{Context, Format, Graph, Quantization, Tuner};
//! # fn layer(rows: usize) -> lowbit::Result<Graph> {
//! #     let codes = TensorType::new(Format::Uint8, [rows, 64])?.quantized(Quantization::tensor(0.05, 128))?;
//! #     let mut graph = Graph::new();
//! #     let x = graph.dynamic_input(TensorType::new(Format::Float32, [rows, 64])?)?;
//! #     let x = graph.add(Quantize::new(codes.clone())?, &[x])?;
//! #     let y = graph.add(Dequantize::new(codes)?, &[x])?;
//! #     graph.output(y);
//! #     Ok(graph)
//! # }
//! use lowbit::{DeviceTensor, TensorType, Workspace, wgpu};
//! # fn main() -> lowbit::Result<()> {
//! # let Ok(context) = Context::new_blocking() else { return Ok(()) };
//! # let (device, queue) = (context.device().clone(), context.queue().clone());
//! # let plan = context.plan(&layer(512)?, Tuner::FirstGuess)?;
//! let buffer = |size| device.create_buffer(&wgpu::BufferDescriptor {
//!     label: Some("the engine's"),
//!     size,
//!     usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
//!     mapped_at_creation: false,
//! });
//! let (tokens, results) = (buffer(512 * 64 * 4), buffer(512 * 64 * 4));
//! let workspace = Workspace::from_buffers(plan.workspace_buffers().iter().map(|&size| buffer(size)).collect())?;
//!
//! // The same buffers with 7 rows in them, and with all 512.
//! let bind = |rows: usize| {
//!     let reals = TensorType::new(Format::Float32, [rows, 64])?;
//!     let input = DeviceTensor::from_buffer(reals.clone(), tokens.clone(), 0)?;
//!     let output = DeviceTensor::from_buffer(reals, results.clone(), 0)?;
//!     plan.bind_with(&[&input], &[&output], &workspace)
//! };
//! let (few, all) = (bind(7)?, bind(512)?);
//!
//! // Every frame: nothing is allocated, nothing is submitted but by you.
//! let mut encoder = device.create_command_encoder(&Default::default());
//! plan.record(&mut encoder, &all)?;
//! {
//!     // Or into a pass of yours, with other plans and launches of your own before and after.
//!     let mut pass = encoder.begin_compute_pass(&Default::default());
//!     plan.record_in(&mut pass, &few)?;
//! }
//! queue.submit([encoder.finish()]);
//!
//! // In a test: does this device compute what it should?
//! let report = plan.verify(&all)?;
//! assert!(report.is_exact(), "{report}");
//! # Ok(())
//! # }
//! ```
//!
//! ## 6. Shipping choices and pipelines
//!
//! [`Tuner::Measured`](crate::Tuner::Measured) times the candidates of each op within a budget, and the context remembers;
//! [`Context::save_tuning`] and [`Context::load_tuning`] carry that over. A file can only choose among kernels that are right, so a
//! stale or hostile one costs time and no more. With a budget of zero nothing is measured: ship the file, plan with zero.
//!
//! Where the backend keeps a pipeline cache, [`Context::pipeline_cache`] returns its bytes and
//! [`Context::with_pipeline_cache`] takes them back. Drivers trust those bytes, so that call is `unsafe`: keep them where
//! nobody else can write. Damage is noticed and ignored.
//!
//! ## 7. When something goes wrong
//!
//! | error | what it says | what to do |
//! |---|---|---|
//! | [`Error::Request`] | the request is wrong on any device | mend what the message names |
//! | [`Error::Limit`] | this device allows less | as it advises: smaller tensors, or a device with higher limits |
//! | [`Error::OutOfMemory`] | no room for a buffer | drop plans or tensors; the context works on |
//! | [`Error::Lost`] | the device is gone, and every later call says so | a new device, a new context, plan again |
//! | [`Error::Validation`] | wgpu refused a call | mostly an encoder or buffer of another device |
//! | [`Error::Device`] | the driver failed otherwise | another kernel ([`Tuner::Nth`](crate::Tuner::Nth)) or driver |
//!
//! Natively they come from the call that caused them. In a browser, where nothing may wait, the last four reach the device's
//! own error handlers instead.
//!
//! ## 8. Who allocates, blocks, validates
//!
//! Everything is `Send` and `Sync`: contexts, plans, bindings, workspaces and device tensors may be used by any number of
//! threads at once, and the bits stay the same.
//!
//! | call | on the device it makes | it blocks for | it checks |
//! |---|---|---|---|
//! | `Op::build`, [`Graph::add`] | nothing | nothing | all that can be known without a device |
//! | [`Context::plan`] | constants, one small uniform buffer | packing weights; with `Measured`, up to the budget | limits |
//! | `warm_up` | pipelines | compiling | nothing |
//! | [`Plan::bind`](crate::Plan::bind) | bind groups; the first time a workspace and missing pipelines; per new extent a small uniform buffer | compiling, if it must | tensors against the graph |
//! | [`Plan::record`](crate::Plan::record) | nothing | nothing | that the bindings are its own and the device is there |
//! | `run`, `run_on_device` | outputs, as bind | `run` until results are back | as bind |
//! | [`Plan::verify`](crate::Plan::verify), `download_blocking` | staging buffers | until results are back | |
//!
//! [`Error::Request`]: crate::Error::Request
//! [`Error::Limit`]: crate::Error::Limit
//! [`Error::OutOfMemory`]: crate::Error::OutOfMemory
//! [`Error::Lost`]: crate::Error::Lost
//! [`Error::Validation`]: crate::Error::Validation
//! [`Error::Device`]: crate::Error::Device

#[cfg(doc)]
use crate::{Context, DeviceTensor, Graph, TensorType};
