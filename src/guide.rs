//! # lowbit in your engine
//!
//! From a device that you own to launches in your command encoder, step by step. What each call means in full is said where
//! it is declared; a complete program is `examples/engine.rs`.
//!
//! The steps at a glance: [`Context::from_device`], [`Context::plan`], [`Plan::warm_up`], [`Plan::bind`] while loading; then
//! [`Plan::record`] in each frame.
//!
//! # 1. A context on your device
//!
//! ```
//! use lowbit::{Context, wgpu};
//! # let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
//! # let adapter = pollster::block_on(instance.request_adapter(&Default::default()));
//! # let Ok(adapter) = adapter else { return Ok(()) };
//! // Yours: the default limits are enough, no feature is needed. `pollster` stands for any executor.
//! let (device, queue) = pollster::block_on(adapter.request_device(&Default::default()))?;
//!
//! let context = Context::from_device(device.clone(), queue.clone());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Handles are cloned, nothing is copied. Make one context per device and clone it: clones share compiled programs, weights in
//! device memory and tuning, two contexts share none of them. The `wgpu` of your engine has to be this crate's, which is
//! re-exported as [`wgpu`].
//!
//! Two things make kernels faster, and you choose them. [`Context::tested`] runs a small launch and, if the device converts f16
//! exactly, uses that conversion. On Vulkan, a device without robust access to buffers saves some drivers a check of every load;
//! `examples/trusted_device/` makes one, and `docs/safety.md` says when that is safe.
//!
//! # 2. A graph, and a plan of it
//!
//! A [`Graph`] is described without a device and can be run on the CPU. [`Context::plan`] chooses kernels, fuses ops, lays out
//! memory and uploads weights; [`Plan::warm_up`] compiles. Print the plan to see what became of the ops.
//!
//! ```
//! use lowbit::ops::{Dequantize, Matmul, Quantize, Requantization, Table};
//! use lowbit::{DType, Graph, Quantization, Tensor, TensorType, Tuner};
//!
//! /// float32 `[rows, 24]` -> float32 `[rows, 10]`
//! fn network(rows: usize) -> lowbit::Result<Graph> {
//!     let reals = TensorType::float32([rows, 24])?;
//!     let codes = TensorType::new(DType::Uint8, [rows, 24])?.quantized(Quantization::tensor(0.05, 128))?;
//!     let weights = Tensor::new([24, 10], vec![3i8; 240])?.quantized(Quantization::tensor(0.01, 0))?;
//!     let stage = Requantization::new(DType::Uint8, 0.05, 100)?;
//!
//!     let mut graph = Graph::new();
//!     let extent = graph.extent("rows", rows)?;
//!     let x = graph.dynamic_input(reals, [(0, extent)])?; // up to so many rows: see step 4
//!     let x = graph.add(Quantize::new(graph.tensor_type(x)?.clone(), codes.clone()).build()?, &[x])?;
//!     let y = graph.add(Matmul::new(codes, weights).output(stage.clone()).build()?, &[x])?;
//!     let y = graph.add(Table::sigmoid(graph.tensor_type(y)?.clone(), stage)?, &[y])?;
//!     let y = graph.add(Dequantize::new(graph.tensor_type(y)?.clone()).build()?, &[y])?;
//!     graph.output(y);
//!     Ok(graph)
//! }
//! # let Ok(context) = lowbit::Context::new_blocking() else { return Ok(()) };
//!
//! let plan = context.plan(&network(8)?, Tuner::FirstGuess)?;
//! pollster::block_on(plan.warm_up())?;
//! println!("{plan}");
//! assert!(plan.to_string().contains("matmul + table")); // one launch
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # 3. Your buffers, your encoder
//!
//! A [`DeviceTensor`] says that a tensor lies in a buffer of yours from some byte on; it copies nothing. [`Plan::bind`] checks
//! tensors and makes the bind groups: do it once per set of buffers. [`Plan::record`] opens a compute pass, records into it and
//! closes it; the order of your passes is the order of execution, and wgpu inserts the barriers.
//!
//! ```
//! use lowbit::{DeviceTensor, wgpu};
//! # use lowbit::{DType, Graph, Quantization, Tensor, TensorType, Tuner};
//! # use lowbit::ops::{Dequantize, Quantize};
//! # fn network(rows: usize) -> lowbit::Result<Graph> {
//! #     let codes = TensorType::new(DType::Uint8, [rows, 24])?.quantized(Quantization::tensor(0.05, 128))?;
//! #     let mut graph = Graph::new();
//! #     let extent = graph.extent("rows", rows)?;
//! #     let x = graph.dynamic_input(TensorType::float32([rows, 24])?, [(0, extent)])?;
//! #     let x = graph.add(Quantize::new(graph.tensor_type(x)?.clone(), codes.clone()).build()?, &[x])?;
//! #     let y = graph.add(Dequantize::new(codes).build()?, &[x])?;
//! #     graph.output(y);
//! #     Ok(graph)
//! # }
//! # let Ok(context) = lowbit::Context::new_blocking() else { return Ok(()) };
//! # let (device, queue) = (context.device().clone(), context.queue().clone());
//! # let plan = context.plan(&network(8)?, Tuner::FirstGuess)?;
//! let buffer = |tensor_type: &TensorType| {
//!     let (size, usage) = (tensor_type.device_bytes(), wgpu::BufferUsages::STORAGE);
//! #     let usage = usage | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
//!     device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false })
//! };
//! let (input, output) = (plan.input_types()[0].clone(), plan.output_types()[0].clone());
//! let (activations, results) = (buffer(&input), buffer(&output));
//! # let values: Vec<f32> = (0..8 * 24).map(|i| i as f32 / 32.0).collect();
//! # let host = Tensor::new([8, 24], values.clone())?;
//! # let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
//! # queue.write_buffer(&activations, 0, &bytes);
//! let x = DeviceTensor::from_buffer(input, activations, 0)?;
//! let y = DeviceTensor::from_buffer(output, results, 0)?;
//! let bindings = plan.bind(&[&x], &[&y])?;
//!
//! // In each frame:
//! let mut encoder = device.create_command_encoder(&Default::default());
//! // … your pass that writes `activations` …
//! plan.record(&mut encoder, &bindings)?;
//! // … your pass that reads `results` …
//! queue.submit([encoder.finish()]);
//! # let right = network(8)?.run_reference(&[&host])?;
//! # assert_eq!(context.download_blocking(&y)?, right[0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! In a buffer, elements are in row-major order, and a row is the last dimension:
//!
//! | format | a row of k elements | element i of row r, in bytes from the tensor's start |
//! |---|---|---|
//! | int8, uint8 | ⌈k / 16⌉ · 16 bytes | r · ⌈k / 16⌉ · 16 + i |
//! | int4, uint4, int3, uint3 | ⌈k / 32⌉ · 16 bytes | r · ⌈k / 32⌉ · 16 + ⌊i / 2⌋, even i in the low bits |
//! | int2, uint2 | ⌈k / 64⌉ · 16 bytes | r · ⌈k / 64⌉ · 16 + ⌊i / 4⌋, the first in the low bits |
//! | int16, uint16, float16 | ⌈k / 8⌉ · 16 bytes | r · ⌈k / 8⌉ · 16 + 2 · i, little end first |
//! | int32, float32 | 4 · k bytes, dense | (r · k + i) · 4 |
//! | dynamic parameters | 8 · k bytes, dense | (r · k + i) · 8: the scale as f32, then the zero point as i32 |
//!
//! Padding at the end of rows is ignored where it is read and zero where it was written. A tensor takes
//! [`TensorType::device_bytes`], at least 16. Its buffer needs the usage STORAGE. Its offset is a multiple of the device's
//! `min_storage_buffer_offset_alignment`; 256 suits every device. Tensors may share a buffer, but an output overlaps none: where a
//! launch reads and writes one buffer, it takes a program of its own, compiled at the first such bind. Images are
//! `[batch, height, width, channels]`. On the host, [`pack`](crate::pack) has these bytes.
//!
//! # 4. Batches of any size
//!
//! An [`Extent`] is a size that is known at run time. It has a name and a largest size, which is the one in the types of a graph, and
//! dimensions of a [`Graph::dynamic_input`] follow it. Bind tensors with fewer rows, in the same buffers if you like; nothing is
//! computed for rows that are not there. The launches for some sizes are made when they are first bound, and those for up to 64
//! combinations beside the largest are remembered; [`Plan::at`] makes them earlier, compiles and prints them.
//!
//! ```
//! # use lowbit::{DeviceTensor, DType, Graph, Quantization, Tensor, TensorType, Tuner};
//! # use lowbit::ops::Quantize;
//! # let Ok(context) = lowbit::Context::new_blocking() else { return Ok(()) };
//! # let codes = |rows: usize| TensorType::new(DType::Uint8, [rows, 24])?.quantized(Quantization::tensor(0.05, 128));
//! let mut graph = Graph::new();
//! let rows = graph.extent("rows", 512)?;
//! let x = graph.dynamic_input(TensorType::float32([512, 24])?, [(0, rows)])?;
//! # let y = graph.add(Quantize::new(graph.tensor_type(x)?.clone(), codes(512)?).build()?, &[x])?;
//! # graph.output(y);
//! // … its ops …
//! let plan = context.plan(&graph, Tuner::FirstGuess)?;
//! pollster::block_on(plan.at(&[("rows", 3)])?.warm_up())?;
//! # let most = DeviceTensor::allocate(&context, plan.input_types()[0].clone())?;
//! # let host = Tensor::new([3, 24], (0..72).map(|i| i as f32 / 16.0).collect::<Vec<f32>>())?;
//! # let bytes: Vec<u8> = host.values::<f32>()?.iter().flat_map(|v| v.to_le_bytes()).collect();
//! # context.queue().write_buffer(most.buffer(), 0, &bytes);
//! # let activations = most.buffer().clone();
//!
//! let x = DeviceTensor::from_buffer(TensorType::float32([3, 24])?, activations, 0)?;
//! let [output] = &plan.output_types_for(&[x.tensor_type()])?[..] else { unreachable!() };
//! assert_eq!(output.dims(), [3, 24]);
//! let y = DeviceTensor::allocate(&context, output.clone())?;
//! let three_rows = plan.bind(&[&x], &[&y])?;
//! # let mut encoder = context.device().create_command_encoder(&Default::default());
//! # plan.record(&mut encoder, &three_rows)?;
//! # context.queue().submit([encoder.finish()]);
//! # let right = lowbit::reference::run(&Quantize::new(host.tensor_type().clone(), codes(3)?).build()?.into(), &[&host])?;
//! # assert_eq!(context.download_blocking(&y)?, right[0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # 5. One workspace, several plans in one pass
//!
//! Intermediate tensors lie in a [`Workspace`]. [`Plan::bind`] takes one that the plan allocates at the first call;
//! [`Plan::bind_with`] takes yours. Each recording writes what it reads there, so one workspace serves any number of plans,
//! bindings, encoders and threads whose commands go to one queue, submitted in any order. The price is that recordings which
//! share one wait for each other on the device; give them workspaces of their own where they should overlap.
//! [`PlanOptions::single_workspace_buffer`] makes it one buffer, for engines that hand out memory by the piece.
//!
//! ```
//! use lowbit::{Workspace, wgpu};
//! # use lowbit::{DeviceTensor, DType, Graph, Quantization, Tensor, TensorType, Tuner};
//! # use lowbit::ops::{Dequantize, Quantize};
//! # let Ok(context) = lowbit::Context::new_blocking() else { return Ok(()) };
//! # let (device, queue) = (context.device(), context.queue());
//! # let graph = |scale: f32| -> lowbit::Result<Graph> {
//! #     let codes = TensorType::new(DType::Int8, [7, 9])?.quantized(Quantization::tensor(scale, 1))?;
//! #     let mut graph = Graph::new();
//! #     let x = graph.input(TensorType::float32([7, 9])?);
//! #     let x = graph.add(Quantize::new(graph.tensor_type(x)?.clone(), codes.clone()).build()?, &[x])?;
//! #     let x = graph.add(Dequantize::new(codes).build()?, &[x])?;
//! #     graph.output(x);
//! #     Ok(graph)
//! # };
//! # let (one, other) = (graph(0.5)?, graph(1.5)?);
//! # let first = context.plan(&one, Tuner::FirstGuess)?;
//! # let second = context.plan(&other, Tuner::FirstGuess)?;
//! # let host = Tensor::new([7, 9], (0..63).map(|i| i as f32 / 8.0).collect::<Vec<f32>>())?;
//! # let x = context.upload(&host)?;
//! # let [y, z] = [(); 2].map(|()| DeviceTensor::allocate(&context, host.tensor_type().clone()));
//! # let (y, z) = (y?, z?);
//! // As many buffers as either plan needs, each as large as either needs it.
//! let sizes = [&first, &second].map(|plan| plan.workspace_buffers());
//! let most = sizes.map(<[u64]>::len).into_iter().max().unwrap_or(0);
//! let size = |i: usize| sizes.iter().filter_map(|sizes| sizes.get(i)).copied().max().unwrap_or(0);
//! let usage = wgpu::BufferUsages::STORAGE;
//! let buffer = |size| {
//!     device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false })
//! };
//! let workspace = Workspace::from_buffers((0..most).map(size).map(buffer).collect())?;
//!
//! // The second plan reads what the first one writes.
//! let (to_y, to_z) = (first.bind_with(&[&x], &[&y], &workspace)?, second.bind_with(&[&y], &[&z], &workspace)?);
//! let mut encoder = device.create_command_encoder(&Default::default());
//! {
//!     let mut pass = encoder.begin_compute_pass(&Default::default());
//!     // … launches of yours …
//!     first.record_in(&mut pass, &to_y)?;
//!     second.record_in(&mut pass, &to_z)?;
//!     // … launches of yours: set pipeline and bind group 0 again …
//! }
//! queue.submit([encoder.finish()]);
//! # let between = one.run_reference(&[&host])?;
//! # assert_eq!(context.download_blocking(&z)?, other.run_reference(&[&between[0]])?[0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # 6. Tuning, shipped as JSON
//!
//! Every kernel computes the same bits, so which one runs is a matter of time only. [`Tuner::Measured`] times those that the
//! context knows nothing of, on your queue and waiting for it: do so in a tool or while loading, not between frames. What it
//! found is saved as JSON that is good for the same adapter, driver and version of this crate; of a file from elsewhere
//! nothing is taken, and no file can make a result wrong. With a budget of zero nothing is ever measured: what the file
//! does not know takes the first guess.
//!
//! ```
//! use std::time::Duration;
//! use lowbit::{Context, Tuner};
//! # use lowbit::{DType, Graph, Tensor, TensorType, ops::Matmul};
//! # let Ok(context) = Context::new_blocking() else { return Ok(()) };
//! # let mut graph = Graph::new();
//! # let x = graph.input(TensorType::new(DType::Int8, [1, 16])?);
//! # let op = Matmul::new(TensorType::new(DType::Int8, [1, 16])?, Tensor::new([16, 4], vec![1i8; 64])?).build()?;
//! # let y = graph.add(op, &[x])?;
//! # graph.output(y);
//! // Once on each kind of device that you ship for:
//! # let budget = Duration::from_millis(20);
//! # /*
//! let budget = Duration::from_secs(20);
//! # */
//! context.plan(&graph, Tuner::Measured { budget })?;
//! let json = context.save_tuning();
//!
//! // At your user's:
//! let entries = context.load_tuning(&json);
//! println!("{entries} choices of kernels are known here");
//! let plan = context.plan(&graph, Tuner::Measured { budget: Duration::ZERO })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Only planning measures. A smaller extent of a dynamic input takes what the context knows by then, or the first guess.
//!
//! # 7. No compilation in a frame
//!
//! [`Plan::warm_up`] compiles what a plan needs and no other plan has compiled, on all cores, and returns when it is done:
//! call it on a thread that may be busy for a while. Where it was not called, the first [`Plan::bind`] compiles.
//! [`Plan::record`] never does. Drivers that run programs on a CPU make machine code of a program when it is launched first: on such
//! a device [`Plan::warm_up`] also launches each program once, with no workgroups, and waits, so that the first submission
//! finds all of it made. Most of the time that compiling takes there is spent in this launch, on one thread.
//!
//! On Vulkan the compiled programs can be kept for the next start, if your device was made with `Features::PIPELINE_CACHE`:
//! [`Context::pipeline_cache`] returns them as bytes, and [`Context::with_pipeline_cache`], which has an example, takes them back
//! before anything is planned. What is in the bytes is the driver's to decide. Those of Mesa's llvmpipe hold nothing: it keeps
//! machine code in Mesa's own cache on disk, by itself (`MESA_SHADER_CACHE_DIR` says where), and a second start takes a fifteenth
//! of the time of the first. SwiftShader keeps nothing.
//!
//! # 8. When something fails
//!
//! | [`Error`] | comes from | what to do |
//! |---|---|---|
//! | [`Request`](crate::Error::Request) | making ops and graphs, wrapping buffers, planning, binding, recording with another plan's bindings | it is wrong on every device: mend the call, the message says how |
//! | [`Limit`](crate::Error::Limit) | planning, allocating, making a context | smaller batches, or a device with higher limits |
//! | [`NoAdapter`](crate::Error::NoAdapter), [`NoDevice`](crate::Error::NoDevice) | [`Context::new`], not [`Context::from_device`] | the CPU reference, or another library |
//! | [`OutOfMemory`](crate::Error::OutOfMemory) | planning, the first bind of a plan or extent, allocating, uploading, reading back | drop tensors or plans, try again: the context is sound |
//! | [`Lost`](crate::Error::Lost) | any call that meets the device | a new device and context; upload and plan again |
//! | [`Validation`](crate::Error::Validation) | binding or reading a buffer that is destroyed, mapped or another device's | mend the call: the context is sound |
//! | [`Device`](crate::Error::Device) | compiling, reading back | another kernel ([`Tuner::Nth`]), another driver |
//!
//! A call that fails has recorded nothing. An encoder of another device, and a buffer that is destroyed between binding and
//! submitting, are found by wgpu when you finish or submit, and told to your error scope or error handler. Error scopes of
//! wgpu belong to a thread: those that this crate opens catch nobody else's errors. In a browser a call ends before its errors are
//! known: [`Context::check`] and every download return them (step 10).
//!
//! A device has one callback for its loss, and on your device it is yours. The context finds out without it, but you can
//! tell it why:
//!
//! ```
//! # use lowbit::{DType, Graph, Tensor, TensorType, Tuner, ops::Quantize, Quantization};
//! use lowbit::{Context, Error};
//! # let Ok(owner) = Context::new_blocking() else { return Ok(()) };
//! # let (device, queue) = (owner.device().clone(), owner.queue().clone());
//! let context = Context::from_device(device.clone(), queue);
//! let told = context.clone();
//! device.set_device_lost_callback(move |_, reason| told.report_lost(reason));
//! # let graph = Graph::new();
//!
//! # context.report_lost("the driver was updated");
//! match context.plan(&graph, Tuner::FirstGuess) {
//!     Ok(plan) => println!("{plan}"),
//!     Err(Error::Lost(reason)) => eprintln!("starting anew, because {reason}"),
//!     Err(Error::OutOfMemory { bytes, .. }) => eprintln!("making room for {bytes} bytes"),
//!     Err(error) => return Err(error.into()),
//! }
//! # assert!(matches!(context.plan(&graph, Tuner::FirstGuess), Err(Error::Lost(_))));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # 9. Is this device right?
//!
//! [`Plan::verify`](crate::Plan::verify) runs a plan on the tensors that it is bound to, runs the same graph on the CPU reference
//! with the same inputs, and compares every output bit by bit: a good last line of a test on a new device or driver. Its report
//! prints.
//!
//! # 10. In a browser
//!
//! The crate compiles for `wasm32-unknown-unknown` with `default-features = false, features = ["webgpu"]`. `scripts/test-browser` runs
//! conformance cases and tests in Chromium and in Firefox; `examples/browser/` is a page.
//!
//! ```no_run
//! # use lowbit::{Context, Graph, Tensor, Tuner};
//! # async fn page(graph: Graph, image: Tensor) -> lowbit::Result<()> {
//! let context = Context::new().await?;
//! let plan = context.plan(&graph, Tuner::FirstGuess)?;
//! plan.warm_up().await?; // compiled
//! let input = context.upload(&image)?;
//! let output = plan.run_on_device(&[&input])?.remove(0);
//! let logits = context.download(&output).await?; // or the first error of the calls before
//! input.destroy();
//! output.destroy();
//! # Ok(()) }
//! ```
//!
//! * **Nothing blocks.** Each call whose name ends with `_blocking` has an async form without that ending, natively too; only the
//!   async forms exist in a browser. Natively a future may do its work, and block, in its first poll.
//! * **A secure context.** Browsers show WebGPU only to pages from https or localhost; [`Error::NoAdapter`](crate::Error::NoAdapter)
//!   says so. A Worker has it too. Work of the processor holds the thread that does it: the [reference](crate::reference), packing
//!   of weights while planning (0.5 s for 16 M codes), quantization and import. Do it in a Worker, where a page must not stand still:
//!   load the module there too, import or quantize, and post [`PackedWeights::words`](crate::weights::PackedWeights::words) as a
//!   transferred array. The page makes them weights with [`PackedWeights::from_words`](crate::weights::PackedWeights::from_words),
//!   which packs nothing. `examples/browser/www/packing.js` is such a Worker.
//! * **Errors come later.** A call that the browser refuses returns `Ok`. [`Context::check`], [`Context::download`], [`Context::run`],
//!   [`Plan::run`](crate::Plan::run) and [`Plan::warm_up`] wait for the errors so far and return the first.
//! * **Memory comes back when it is destroyed.** A browser collects a dropped buffer by the size of its handle, not of its contents.
//!   Call [`DeviceTensor::destroy`], [`Plan::destroy`](crate::Plan::destroy) and [`Workspace::destroy`]; what calls make for
//!   themselves they destroy. Weights shared by plans stay while one of them lives.
//! * **Tuning.** [`Context::plan`] doesn't measure. Await [`Context::tune`](crate::Context::tune) before, with [`Tuner::Measured`]; keep
//!   [`Context::save_tuning`](crate::Context::save_tuning) in the page's storage.
//! * **Sizes.** A `usize` has 32 bits, so a tensor on the host stays below 2 GiB. Browsers grant limits of their own
//!   ([`Context::device`]'s limits), and raise limits below WebGPU's least.
//! * **Absent.** Subgroups and matrix units, which wgpu doesn't offer there, so the kernels that use them; the pipeline cache; pages of
//!   `evaluate`. Dot products of bytes and f16 are there if the browser has them.
//! * **Panics.** WebAssembly has no unwinding by default: a panic ends the module. No public call panics.
//! * **Size.** The README's product in a module of its own takes 284 KB, compressed, with `opt-level = "z"`, `lto = true`,
//!   `codegen-units = 1` and `panic = "abort"`. The feature `convolution` adds 33 KB, `float` another 28, and `transformer` 76 more. It is some 15 KB less with a standard library that is built for size, which takes nightly's
//!   `-Z build-std=std,panic_abort -Z build-std-features=optimize_for_size`.
//!
//! # 11. In Burn
//!
//! Burn computes on wgpu, through CubeCL. A layer of lowbit can stand between two layers of a Burn model. It uses Burn's
//! device, queue and buffers, and copies nothing. `examples/burn/` is a complete program.
//!
//! * **Device.** `Device::wgpu_options().init_with_setup()` makes Burn's device and returns its wgpu handles.
//!   [`Context::from_device`] takes the device and the queue. If the program makes the device, Burn takes it by
//!   `Device::wgpu_options().setup(…)`.
//! * **Buffers.** `try_into_primitive` returns the tensor behind a tensor of Burn. With the feature `fusion`,
//!   `resolve_tensor_float` launches what Burn has fused, and returns a `CubeTensor`.
//!   `client.get_resource::<WgpuServer<AutoCompiler>>(handle)` returns its wgpu buffer and its offset.
//!   [`DeviceTensor::from_buffer`] takes both. `Tensor::empty` makes the output; lowbit writes into its buffer.
//! * **Layout.** float32 and int32 are dense in both libraries, so a contiguous tensor of Burn is a tensor of lowbit. Rows of
//!   8-bit codes are not: lowbit pads them to 16 bytes. Keep codes inside of a [`Graph`], and give Burn float32.
//! * **Memory.** By default CubeCL puts many tensors into one buffer, and lowbit binds them there. CubeCL aligns its offsets to
//!   what the device requires, and lowbit requires no more. `.memory_config(MemoryConfiguration::ExclusivePages)` gives each
//!   tensor a buffer of its own.
//! * **Order.** Commands run in the order of submissions. `client.flush()` submits what Burn has recorded. Then record the plan
//!   into an encoder, and submit it to the same queue. What Burn records later, it submits later.
//! * **Bind groups.** CubeCL uses its memory again, so the same buffers return. Keep the [`Bindings`] of some sets of buffers,
//!   and drop the oldest: bindings keep their buffers alive.
//! * **Weights.** Burn stores `[in, out]`. [`Matmul`](crate::ops::Matmul) takes that order. The rows of
//!   [`PackedWeights`](crate::weights::PackedWeights) are Burn's columns; `Quantizer::rows` asks for one at a time.
//!
//! # 12. In Bevy
//!
//! `examples/bevy/` runs an int8 network on a texture each frame.
//!
//! * **Device.** Bevy's `RenderDevice` and `RenderQueue` hold wgpu's: [`Context::from_device`] takes clones. A system of
//!   `RenderStartup` plans, warms up and binds, and does so again when Bevy replaces a lost device. [`Context`], [`Plan`] and
//!   [`Bindings`] are resources.
//! * **Frames.** A system of the schedule `RenderGraph` records into Bevy's encoder: a shader from texels to codes,
//!   [`Plan::record_in`], a shader from codes to texels. `bevy_core_pipeline` submits what systems recorded; without it nothing is.
//! * **Textures.** A pixel of three 8-bit channels is a row of 16 bytes in lowbit, so the shader writes one `vec4<u32>` a pixel.
//!
//! # 13. A model that remembers
//!
//! [`Graph::state`] declares an input that ops change in place: a cache of keys and values. [`Append`](crate::ops::Append) writes
//! rows at a position that a buffer holds, and [`Attention`](crate::ops::Attention) reads as many as there are. So one recording
//! serves every token. Only the buffers of the token and its position change.
//!
//! ```
//! use lowbit::ops::{Append, Attention};
//! use lowbit::{DType, Graph, Tensor, TensorType};
//! # fn main() -> lowbit::Result<()> {
//! let (rows, cache) = (TensorType::float32([1, 2, 4])?, TensorType::float32([64, 2, 4])?);
//! let mut graph = Graph::new();
//! let position = graph.input(TensorType::new(DType::Int32, [1])?);
//! let [query, key, value] = [0; 3].map(|_| graph.input(rows.clone()));
//! let states = [graph.state(cache.clone()), graph.state(cache.clone())];
//! let keys = graph.add(Append::new(cache.clone(), rows.clone())?, &[states[0], key, position])?;
//! let values = graph.add(Append::new(cache.clone(), rows.clone())?, &[states[1], value, position])?;
//! let attention = Attention::new(rows, cache.clone(), cache).causal().build()?;
//! let mixed = graph.add(attention, &[query, keys, values, position])?;
//! graph.output(mixed);
//!
//! // Plan, upload the states once, bind once; then write position and rows, record and submit for each token.
//! # if let Ok(context) = lowbit::Context::new_blocking() {
//! let plan = context.plan(&graph, lowbit::Tuner::FirstGuess)?;
//! let (zeros, row) = (Tensor::new([64, 2, 4], vec![0.0f32; 512])?, Tensor::new([1, 2, 4], vec![1.0f32; 8])?);
//! let states = [context.upload(&zeros)?, context.upload(&zeros)?];
//! let rows = [context.upload(&row)?, context.upload(&row)?, context.upload(&row)?];
//! let position = context.upload(&Tensor::new([1], vec![5i32])?)?;
//! let inputs = [&position, &rows[0], &rows[1], &rows[2], &states[0], &states[1]];
//! plan.run_on_device(&inputs)?;
//! assert_eq!(context.download_blocking(&states[0])?.values::<f32>()?[5 * 8..6 * 8], [1.0; 8]);
//! # }
//! # Ok(()) }
//! ```
//!
//! A cache of int8 takes half the memory of float16, plus 8 bytes for each position and head; one of int4 a quarter, plus as many, or
//! 8 bytes for each group of codes. It is two states, codes and their parameters, which may hold anything at first.
//! [`AppendQuantized`](crate::ops::AppendQuantized) quantizes rows into both in one launch, and rotates them before if asked.
//!
//! ```
//! use lowbit::ops::{AppendQuantized, Attention, DynamicGranularity};
//! use lowbit::{DType, Graph, TensorType, Value};
//! # fn main() -> lowbit::Result<()> {
//! let (rows, codes) = (TensorType::float32([1, 2, 64])?, TensorType::new(DType::Int4, [512, 2, 64])?.with_dynamic_scales());
//! let scales = DynamicGranularity::Group(32); // or Row: a scale for each position and head
//! let mut graph = Graph::new();
//! let position = graph.input(TensorType::new(DType::Int32, [1])?);
//! let [query, key, value] = [0; 3].map(|_| graph.input(rows.clone()));
//! let mut cached = |row: Value| -> lowbit::Result<Vec<Value>> {
//!     let states = [graph.state(codes.clone()), graph.state(scales.of_cache(&codes)?)];
//!     let append = AppendQuantized::new(codes.clone(), rows.clone(), scales)?;
//!     graph.add_all(append, &[states[0], states[1], row, position])
//! };
//! let (keys, values) = (cached(key)?, cached(value)?);
//! let attention = Attention::new(rows, codes.clone(), codes).scales(scales).causal().build()?;
//! let mixed = graph.add(attention, &[query, keys[0], values[0], position, keys[1], values[1]])?;
//! graph.output(mixed);
//! # Ok(()) }
//! ```
//!
//! * **Launches.** A plan moves a rotation of keys ([`Rotary`](crate::ops::Rotary)) into the `Append` that stores them, and joins that with
//!   the rotation of queries and the `Append` of values, if the three ops follow one another
//!   ([`RotaryAppend`](crate::ops::RotaryAppend)). It moves a symmetric quantization of rows into the norm before it, or in
//!   groups of a head into the attention before it, and functions,
//!   sums and products of floats into the layers before them. Query, key and value become one launch, and so do a gate, its function
//!   and its factor, if the weights have one format ([`JointLinear`](crate::ops::JointLinear)). Rows of float32 may go to a cache of
//!   float16.
//! * **Weights.** [`GgufTensor::deferred_weights`](crate::import::gguf::GgufTensor::deferred_weights), or
//!   [`PackedWeights::deferred`](crate::weights::PackedWeights::deferred) for other files, leaves a model's weights in its mapped file
//!   until a plan uploads them.
//!   [`GgufTensor::deferred_weights_from`](crate::import::gguf::GgufTensor::deferred_weights_from) reads them instead, so that no pages
//!   of a map stay in memory, and [`PackedWeights::deferred_rows`](crate::weights::PackedWeights::deferred_rows) makes a large matrix in
//!   parts. Plans of the same weights share them on the device. Or weights are an input
//!   ([`PackedWeights::bound`](crate::weights::PackedWeights::bound)): one plan of a layer serves all layers, each with its own words,
//!   which may come and go while a larger model than the device holds runs.
//! * **The next token.** [`ArgMax`](crate::ops::ArgMax) and [`TopK`](crate::ops::TopK) find it, or the best few, so that the logits
//!   need not be read back.
//!
//! `examples/decoder/` is a language model of such layers.
//!
//! # What each call does
//!
//! [`Context`], [`Plan`], [`Bindings`], [`Workspace`], [`DeviceTensor`] and [`Graph`] are `Send` and `Sync` (in a browser
//! as far as wgpu's own types are). None of these calls takes `&mut self`: any number of threads may make them at once.
//!
//! | call | validates | allocates on the device | blocks |
//! |---|---|---|---|
//! | [`Context::plan`] | the graph's outputs, and each launch against the device's limits | parameters, constants that no living plan has; with [`Tuner::Measured`] also what an op needs, for a while | while it plans, and as `upload` for constants; with [`Tuner::Measured`] also for compilers and the queue |
//! | [`Plan::warm_up`] | | programs; where the device is a CPU, scratch for a while | while it compiles, all of it at the first poll; where the device is a CPU it submits once, and waits for that |
//! | [`Plan::bind`] | number, types, buffers and context of the tensors | the plan's workspace, once; else as `bind_with` | as `bind_with` |
//! | [`Plan::bind_with`] | the same, and the workspace | bind groups; at a new extent, what planning it takes | to compile what is not warm; at a new extent, to plan it |
//! | [`Plan::record`], [`Plan::record_in`] | whose bindings they are | nothing | no |
//! | [`Plan::run_on_device`] | as `bind` | outputs, then as `bind` | as `bind`, not for the queue; submits once |
//! | [`Plan::verify`](crate::Plan::verify) | whose bindings they are | copies for reading back | until the results are there and the reference is done |
//! | [`Plan::run`] | the tensors | inputs, outputs, copies for reading back | until the results are there |
//! | [`Context::upload`], [`DeviceTensor::allocate`] | the device's limits | a buffer, and for an upload a copy on the way | what is uploaded goes with the next submission; after each 4 MiB an upload submits by itself, and waits for the 4 MiB before |
//! | [`Context::download`] | context and usage of the buffer | a copy | no: it submits when it is first polled, and is ready when the copy is |
//! | [`DeviceTensor::from_buffer`], [`Workspace::from_buffers`] | usages, and a tensor's offset and size | nothing | no |
//! | [`Context::load_tuning`], [`Context::save_tuning`] | every entry of a file | nothing | no |
//!
//! On the host all of them allocate a little, `record` only what wgpu keeps for an encoder. All calls that meet the device
//! ask first whether it is alive, which is a call of wgpu and no wait. The only lock that is held for long is that of a
//! program while it is compiled: of two threads that need the same one, the second waits for it.
//!
//! Constants stay in device memory while a plan or its bindings live, buffers while a tensor, workspace or bindings hold
//! them, compiled programs as long as the context.
//!
//! [`Bindings`]: crate::Bindings
//! [`Context`]: crate::Context
//! [`Context::download`]: crate::Context::download
//! [`Context::from_device`]: crate::Context::from_device
//! [`Context::tested`]: crate::Context::tested
//! [`Context::load_tuning`]: crate::Context::load_tuning
//! [`Context::new`]: crate::Context::new
//! [`Context::pipeline_cache`]: crate::Context::pipeline_cache
//! [`Context::plan`]: crate::Context::plan
//! [`Context::save_tuning`]: crate::Context::save_tuning
//! [`Context::upload`]: crate::Context::upload
//! [`Context::with_pipeline_cache`]: crate::Context::with_pipeline_cache
//! [`DeviceTensor`]: crate::DeviceTensor
//! [`DeviceTensor::allocate`]: crate::DeviceTensor::allocate
//! [`DeviceTensor::from_buffer`]: crate::DeviceTensor::from_buffer
//! [`Error`]: crate::Error
//! [`Graph`]: crate::Graph
//! [`Extent`]: crate::Extent
//! [`Graph::dynamic_input`]: crate::Graph::dynamic_input
//! [`Graph::state`]: crate::Graph::state
//! [`Plan`]: crate::Plan
//! [`Plan::bind`]: crate::Plan::bind
//! [`Plan::bind_with`]: crate::Plan::bind_with
//! [`Plan::record`]: crate::Plan::record
//! [`Plan::record_in`]: crate::Plan::record_in
//! [`Plan::run`]: crate::Plan::run
//! [`Plan::run_on_device`]: crate::Plan::run_on_device
//! [`Plan::warm_up`]: crate::Plan::warm_up
//! [`Plan::at`]: crate::Plan::at
//! [`PlanOptions::single_workspace_buffer`]: crate::PlanOptions::single_workspace_buffer
//! [`TensorType::device_bytes`]: crate::TensorType::device_bytes
//! [`Tuner::Measured`]: crate::Tuner::Measured
//! [`Tuner::Nth`]: crate::Tuner::Nth
//! [`Workspace`]: crate::Workspace
//! [`Workspace::from_buffers`]: crate::Workspace::from_buffers
//! [`Context::check`]: crate::Context::check
//! [`Context::run`]: crate::Context::run
//! [`DeviceTensor::destroy`]: crate::DeviceTensor::destroy
//! [`Workspace::destroy`]: crate::Workspace::destroy
//! [`Context::device`]: crate::Context::device
