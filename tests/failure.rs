//! Behaviour of a context when its device fails. Each failure has its own error, returned by the call that met it. No call hangs,
//! panics or returns wrong data. Requests that are wrong on any device are in tests/errors.rs.

mod common;

#[cfg(target_os = "linux")]
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use common::{Random, context};
use lowbit::ops::{Add, Matmul, Op, Requantization};
use lowbit::{
    Bindings, Context, ContextOptions, DType, DeviceTensor, Error, Graph, Plan, Quantization, Result, Tensor,
    TensorType, Tuner, Workspace, reference,
};

/// Time after which a call counts as hanging.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs `work` in a thread; panics if it takes longer than `PATIENCE`.
fn within_reason<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    let thread = thread::spawn(move || sender.send(work()));
    match receiver.recv_timeout(PATIENCE) {
        Ok(value) => value,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("{name}: hangs"),
        Err(mpsc::RecvTimeoutError::Disconnected) => match thread.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(_) => unreachable!("a thread that sends nothing has panicked"),
        },
    }
}

/// Asserts that a call failed because the device is lost, with this crate's message.
fn assert_lost<T>(name: &str, result: Result<T>) {
    match result {
        Err(error @ Error::Lost(_)) => {
            let message = error.to_string();
            assert!(
                message.starts_with("the device is lost: ") && !message.contains("Validation"),
                "{name}: {message}"
            );
        }
        Err(error) => panic!("{name}: expected Error::Lost, got {error:?}"),
        Ok(_) => panic!("{name}: expected Error::Lost, got a value"),
    }
}

/// A context on another context's device, as if the device were an engine's.
fn adopted(own: &Context) -> Context {
    own.device().set_device_lost_callback(|_, _| ());
    Context::from_device(own.device().clone(), own.queue().clone())
}

/// A context on an engine's device that requests no features and no memory before it needs some.
fn frugal_context() -> Option<Context> {
    context()?;
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let adapter = pollster::block_on(instance.request_adapter(&Default::default())).expect("there is one");
    let memory_hints = wgpu::MemoryHints::MemoryUsage;
    let descriptor = wgpu::DeviceDescriptor { memory_hints, ..Default::default() };
    let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).expect("default limits");
    Some(Context::from_device(device, queue))
}

/// A small sum with all objects that running it needs.
struct Scene {
    context: Context,
    op: Op,
    graph: Graph,
    host: Tensor,
    x: DeviceTensor,
    out: DeviceTensor,
    plan: Plan,
    bindings: Bindings,
}

impl Scene {
    fn new(context: Context) -> Result<Self> {
        let host = Tensor::new([2, 3], vec![1i8, -2, 3, 100, 0, -128])?.quantized(Quantization::tensor(0.1, 0))?;
        let tensor_type = host.tensor_type().clone();
        let requantization = Requantization::new(DType::Int8, 0.1, 0)?;
        let op: Op = Add::new(tensor_type.clone(), tensor_type.clone(), requantization).build()?.into();
        let mut graph = Graph::new();
        let (a, b) = (graph.input(tensor_type.clone()), graph.input(tensor_type.clone()));
        let sum = graph.add(op.clone(), &[a, b])?;
        graph.output(sum);
        let plan = context.plan(&graph, Tuner::FirstGuess)?;
        let (x, out) = (context.upload(&host)?, DeviceTensor::allocate(&context, tensor_type)?);
        let bindings = plan.bind(&[&x, &x], &[&out])?;
        Ok(Self { context, op, graph, host, x, out, plan, bindings })
    }

    /// Checks that the context still computes the right result.
    fn check(&self, name: &str) {
        let expected = reference::run(&self.op, &[&self.host, &self.host]).expect("the op's own inputs");
        let got = self.plan.run_blocking(&[&self.host, &self.host]).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(got, expected, "{name}");
    }
}

type Call = fn(&Scene, &mut wgpu::CommandEncoder) -> Result<()>;

/// All calls that use the device.
const CALLS: [(&str, Call); 13] = [
    ("upload", |s, _| s.context.upload(&s.host).map(drop)),
    ("allocate", |s, _| DeviceTensor::allocate(&s.context, s.host.tensor_type().clone()).map(drop)),
    ("download_blocking", |s, _| s.context.download_blocking(&s.x).map(drop)),
    ("download", |s, _| pollster::block_on(s.context.download(&s.x)).map(drop)),
    ("plan", |s, _| s.context.plan(&s.graph, Tuner::FirstGuess).map(drop)),
    ("plan of nothing", |s, _| s.context.plan(&Graph::new(), Tuner::FirstGuess).map(drop)),
    ("Context::run", |s, _| s.context.run_blocking(&s.op, &[&s.host, &s.host]).map(drop)),
    ("Plan::run", |s, _| s.plan.run_blocking(&[&s.host, &s.host]).map(drop)),
    ("run_on_device", |s, _| s.plan.run_on_device(&[&s.x, &s.x]).map(drop)),
    ("bind", |s, _| s.plan.bind(&[&s.x, &s.x], &[&s.out]).map(drop)),
    ("record", |s, encoder| s.plan.record(encoder, &s.bindings)),
    ("record_in", |s, encoder| s.plan.record_in(&mut encoder.begin_compute_pass(&Default::default()), &s.bindings)),
    ("warm_up", |s, _| pollster::block_on(s.plan.warm_up())),
];

type Loss = fn(&Context);

/// Ways to lose a device.
const LOSSES: [(&str, Loss); 4] = [
    ("destroyed", |c| c.device().destroy()),
    ("destroyed and polled, so that its buffers are freed", |c| {
        c.device().destroy();
        let _ = c.device().poll(wgpu::PollType::wait_indefinitely());
    }),
    ("destroyed while it works", |c| {
        c.queue().submit([]);
        c.device().destroy();
    }),
    ("reported by an engine", |c| c.report_lost("the engine's callback was called")),
];

#[test]
fn every_call_says_that_the_device_is_lost() -> Result<()> {
    for (loss, lose) in LOSSES {
        for engine in [false, true] {
            for (name, call) in CALLS {
                // A new context for each call, because a context remembers a loss.
                let Some(own) = context() else { return Ok(()) };
                let scene = Scene::new(if engine { adopted(&own) } else { own })?;
                let device = if engine { "an engine's device" } else { "its own device" };
                let name = format!("{name} on {device}, {loss}");
                within_reason(&name.clone(), move || {
                    let mut before = scene.context.device().create_command_encoder(&Default::default());
                    call(&scene, &mut before).unwrap_or_else(|error| panic!("{name}, before: {error}"));
                    lose(&scene.context);
                    assert_lost(&name, call(&scene, &mut before));
                    let mut after = scene.context.device().create_command_encoder(&Default::default());
                    assert_lost(&format!("{name}, again"), call(&scene, &mut after));
                    assert_lost(&format!("{name}, a clone"), scene.context.clone().upload(&scene.host));
                    if !loss.starts_with("reported") {
                        assert_eq!(scene.context.pipeline_cache(), None, "{name}");
                    }
                });
            }
        }
    }
    Ok(())
}

/// wgpu panics on objects of another instance. A program's own instance differs from the instance behind `Context::new`, so its
/// objects must be refused.
#[test]
fn what_another_instance_made_is_refused() -> Result<()> {
    type Call = fn(&Scene, &wgpu::Device, &DeviceTensor) -> Result<()>;
    const CALLS: [(&str, Call); 7] = [
        ("bind an input", |s, _, foreign| s.plan.bind(&[&s.x, foreign], &[&s.out]).map(drop)),
        ("bind an output", |s, _, foreign| s.plan.bind(&[&s.x, &s.x], &[foreign]).map(drop)),
        ("bind a workspace", |s, _, foreign| {
            let mut graph = Graph::new();
            let [x, y] = [(); 2].map(|()| graph.input(s.host.tensor_type().clone()));
            let sum = graph.add(s.op.clone(), &[x, y])?;
            for other in [x, y] {
                let output = graph.add(s.op.clone(), &[sum, other])?;
                graph.output(output);
            }
            let plan = s.context.plan(&graph, Tuner::FirstGuess)?;
            assert_eq!(plan.workspace_buffers().len(), 1, "{plan}");
            let out = DeviceTensor::allocate(&s.context, s.host.tensor_type().clone())?;
            let workspace = Workspace::from_buffers(vec![foreign.buffer().clone()])?;
            plan.bind_with(&[&s.x, &s.x], &[&s.out, &out], &workspace).map(drop)
        }),
        ("run_on_device", |s, _, foreign| s.plan.run_on_device(&[&s.x, foreign]).map(drop)),
        ("download", |s, _, foreign| s.context.download_blocking(foreign).map(drop)),
        ("record", |s, device, _| s.plan.record(&mut device.create_command_encoder(&Default::default()), &s.bindings)),
        ("record_in", |s, device, _| {
            let mut encoder = device.create_command_encoder(&Default::default());
            s.plan.record_in(&mut encoder.begin_compute_pass(&Default::default()), &s.bindings)
        }),
    ];
    let Some(own) = context() else { return Ok(()) };
    let scene = Scene::new(own)?;
    let engine = frugal_context().expect("there is an adapter");
    let device = engine.device();
    let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
    let descriptor = wgpu::BufferDescriptor { label: None, size: 4096, usage, mapped_at_creation: false };
    // Ids that wgpu assigned to another object of this instance, and ids that it assigned to none.
    let buffers: Vec<wgpu::Buffer> = (0..2000).map(|_| device.create_buffer(&descriptor)).collect();
    for (number, buffer) in [("first", &buffers[0]), ("last", &buffers[1999])] {
        let foreign = DeviceTensor::from_buffer(scene.host.tensor_type().clone(), buffer.clone(), 0)?;
        for (name, call) in CALLS {
            match call(&scene, device, &foreign) {
                Err(Error::Validation(message)) => assert!(message.contains("another instance"), "{name}: {message}"),
                other => panic!("{name}, the {number} buffer: expected Error::Validation, got {other:?}"),
            }
            scene.check(&format!("after {name}"));
        }
    }
    // The queue of another instance's device.
    let mixed = Context::from_device(scene.context.device().clone(), engine.queue().clone());
    match mixed.upload(&scene.host) {
        Err(Error::Validation(_)) => {}
        other => panic!("another's queue: expected Error::Validation, got {other:?}"),
    }
    scene.check("after another's queue");
    Ok(())
}

#[test]
fn the_reason_of_a_loss_is_kept() -> Result<()> {
    let Some(own) = context() else { return Ok(()) };
    let engine = adopted(&own);
    engine.report_lost("a first reason");
    engine.clone().report_lost("a second reason");
    let host = Tensor::new([1], vec![1i8])?;
    let message = |context: &Context| context.upload(&host).expect_err("the device is lost").to_string();
    assert_eq!(message(&engine), "the device is lost: a first reason");
    // The report only affects the contexts that received it: the device still works.
    own.upload(&host)?;
    // The lost callback of an own device gives a better message than the device's errors.
    let Some(own) = context() else { return Ok(()) };
    own.device().destroy();
    let _ = own.device().poll(wgpu::PollType::wait_indefinitely());
    assert_eq!(message(&own), "the device is lost: it was destroyed");
    Ok(())
}

#[test]
fn an_engine_keeps_its_callback() -> Result<()> {
    let Some(own) = context() else { return Ok(()) };
    let called = Arc::new(AtomicBool::new(false));
    let told = called.clone();
    own.device().set_device_lost_callback(move |_, _| told.store(true, Ordering::SeqCst));
    let engine = Scene::new(Context::from_device(own.device().clone(), own.queue().clone()))?;
    engine.check("before");
    engine.context.device().destroy();
    assert_lost("after", engine.context.download_blocking(&engine.x));
    let _ = own.device().poll(wgpu::PollType::wait_indefinitely());
    assert!(called.load(Ordering::SeqCst), "the engine's callback was not called");
    Ok(())
}

/// A matrix product that takes a software device a good part of a second, and its result.
fn long_work() -> Result<(Graph, Tensor, Tensor)> {
    let mut random = Random::new(0x10_57);
    let lhs = random.codes(DType::Int8, &[64, 512]);
    let op: Op = Matmul::new(lhs.tensor_type().clone(), random.codes(DType::Int8, &[512, 512])).build()?.into();
    let expected = reference::run(&op, &[&lhs])?.remove(0);
    let mut graph = Graph::new();
    let x = graph.input(lhs.tensor_type().clone());
    let mut outputs = Vec::new();
    for _ in 0..8 {
        outputs.push(graph.add(op.clone(), &[x])?);
    }
    outputs.into_iter().for_each(|output| graph.output(output));
    Ok((graph, lhs, expected))
}

#[test]
fn a_device_that_goes_while_it_works() -> Result<()> {
    let (graph, lhs, expected) = long_work()?;
    let losses: [(&str, Loss); 2] = [("destroyed", |c| c.device().destroy()), ("reported", |c| c.report_lost("reset"))];
    for (loss, lose) in losses {
        for engine in [false, true] {
            for delay in [0, 1, 3, 10, 30, 100] {
                let Some(own) = context() else { return Ok(()) };
                let context = if engine { adopted(&own) } else { own };
                let name = format!("{loss} after {delay} ms, an engine's: {engine}");
                let plan = Arc::new(context.plan(&graph, Tuner::FirstGuess)?);
                let out = Arc::new(plan.run_on_device(&[&context.upload(&lhs)?])?);
                // Three threads wait for submitted work, one keeps submitting. All results before the first error must be right.
                let readers = (0..3).map(|i| {
                    let (context, out, expected, name) = (context.clone(), out.clone(), expected.clone(), name.clone());
                    thread::spawn(move || {
                        within_reason(&name.clone(), move || match context.download_blocking(&out[i]) {
                            Ok(got) => assert!(got == expected, "{name}: a wrong result"),
                            lost => assert_lost(&name, lost),
                        });
                    })
                });
                let readers: Vec<_> = readers.collect();
                let (running, right, host, message) = (plan.clone(), expected.clone(), lhs.clone(), name.clone());
                let runner = thread::spawn(move || {
                    within_reason(&message.clone(), move || {
                        loop {
                            match running.run_blocking(&[&host]) {
                                Ok(got) => assert!(got.iter().all(|got| *got == right), "{message}: a wrong result"),
                                lost => return assert_lost(&message, lost),
                            }
                        }
                    });
                });
                thread::sleep(Duration::from_millis(delay));
                lose(&context);
                for thread in readers.into_iter().chain([runner]) {
                    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                }
            }
        }
    }
    Ok(())
}

/// Tensors that can't be copied or mapped: an error of the download, and the context still works.
#[test]
fn downloads_that_fail() -> Result<()> {
    let (Some(here), Some(there)) = (context(), context()) else { return Ok(()) };
    let scene = Scene::new(here)?;
    let tensor_type = scene.host.tensor_type().clone();
    let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
    let tensor = |context: &Context, mapped_at_creation| {
        let descriptor = wgpu::BufferDescriptor { label: Some("the caller's"), size: 64, usage, mapped_at_creation };
        DeviceTensor::from_buffer(tensor_type.clone(), context.device().create_buffer(&descriptor), 0)
    };
    let destroyed = tensor(&scene.context, false)?;
    destroyed.buffer().destroy();
    let cases = [
        ("destroyed", destroyed),
        ("still mapped", tensor(&scene.context, true)?),
        ("another device's", tensor(&there, false)?),
    ];
    for (name, tensor) in cases {
        match scene.context.download_blocking(&tensor) {
            Err(Error::Validation(message)) => assert!(message.contains("the caller's"), "{name}: {message}"),
            other => panic!("{name}: expected Error::Validation, got {other:?}"),
        }
        scene.check(name);
    }
    Ok(())
}

#[test]
fn limits_and_features_by_request() -> Result<()> {
    let Some(default) = context() else { return Ok(()) };
    let with = |limits: wgpu::Limits, features| {
        let mut options = ContextOptions::default();
        (options.limits, options.features) = (Some(limits), features);
        pollster::block_on(Context::with_options(&options))
    };
    let own = default.device().limits();

    let small = with(wgpu::Limits { max_buffer_size: 1 << 20, ..Default::default() }, wgpu::Features::empty())?;
    assert_eq!(small.device().limits().max_buffer_size, 1 << 20);
    let too_large = TensorType::new(DType::Int32, [1 << 19])?;
    match DeviceTensor::allocate(&small, too_large.clone()) {
        Err(Error::Limit { needed, limit, .. }) => assert_eq!((needed, limit), (1 << 21, 1 << 20)),
        other => panic!("{other:?}"),
    }
    DeviceTensor::allocate(&default, too_large)?;
    Scene::new(small)?.check("small limits");

    let excess = with(wgpu::Limits { max_buffer_size: own.max_buffer_size + 1, ..own.clone() }, default.features());
    match excess {
        Err(error @ Error::Limit { needed, limit, unit: "max_buffer_size", .. }) => {
            assert_eq!((needed, limit), (own.max_buffer_size + 1, own.max_buffer_size));
            let numbers = [needed.to_string(), limit.to_string(), "max_buffer_size".into()];
            assert!(numbers.iter().all(|needle| error.to_string().contains(needle)), "{error}");
        }
        other => panic!("{other:?}"),
    }
    // No adapter has all features: some belong to one backend only.
    let all = wgpu::Features::all();
    match with(own.clone(), all) {
        Err(Error::NoDevice(message)) => assert!(message.contains("lacks"), "{message}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(with(own, default.features())?.features(), default.features());
    Ok(())
}

/// Threads that plan at the same time compile each program once, and a warm-up finds nothing left to do.
#[test]
fn programs_are_compiled_once() -> Result<()> {
    let Some(alone) = context() else { return Ok(()) };
    let scene = Scene::new(alone)?;
    let expected = scene.context.counters().pipelines;
    assert!(expected > 0);
    let Some(context) = context() else { return Ok(()) };
    let barrier = Barrier::new(4);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                barrier.wait();
                let plan = context.plan(&scene.graph, Tuner::FirstGuess).expect("a sound graph");
                pollster::block_on(plan.warm_up()).expect("a sound plan");
            });
        }
    });
    assert_eq!(context.counters().pipelines, expected);
    Ok(())
}

/// Warnings of this process. Tests that read them are one test function.
struct Warnings(Mutex<Vec<String>>);

impl log::Log for Warnings {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &log::Record<'_>) {
        if record.target().starts_with("lowbit") {
            self.0.lock().expect("no panic in here").push(record.args().to_string());
        }
    }

    fn flush(&self) {}
}

static WARNINGS: Warnings = Warnings(Mutex::new(Vec::new()));

/// Checks that a context with a stored cache works; returns its warnings.
#[expect(unsafe_code, reason = "tries pipeline caches, good and bad")]
fn warnings_of(name: &str, context: Context, bytes: &[u8]) -> Result<Vec<String>> {
    WARNINGS.0.lock().expect("no panic in there").clear();
    // SAFETY: the bytes come from this process, and damaged bytes don't reach the driver.
    let context = unsafe { context.with_pipeline_cache(bytes) };
    let scene = Scene::new(context)?;
    scene.check(name);
    assert!(scene.context.pipeline_cache().is_some(), "{name}: there is no cache any more");
    Ok(WARNINGS.0.lock().expect("no panic in there").clone())
}

#[test]
fn damaged_pipeline_caches_are_ignored() -> Result<()> {
    log::set_logger(&WARNINGS).expect("the only logger");
    log::set_max_level(log::LevelFilter::Warn);
    let Some(context) = context() else { return Ok(()) };
    let device = context.device().clone();
    let fresh = || Context::from_device(device.clone(), context.queue().clone());
    let scene = Scene::new(fresh())?;
    let Some(good) = scene.context.pipeline_cache() else {
        assert!(!device.features().contains(wgpu::Features::PIPELINE_CACHE));
        eprintln!("\n*** NOT RUN: {} has no pipeline cache ***\n", context.description());
        return Ok(());
    };
    assert_eq!(warnings_of("good", fresh(), &good)?, [""; 0]);

    let mut random = Random::new(0xcac4e);
    let header = good.windows(1).enumerate().filter(|(_, b)| b[0] == b'\n').nth(2).expect("three lines").0 + 1;
    let flipped = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 0x10;
        bytes
    };
    let text = String::from_utf8_lossy(&good[..header]).into_owned();
    let with_header = |text: String| [text.as_bytes(), &good[header..]].concat();
    let mut cases = vec![
        ("empty", Vec::new()),
        ("one byte", vec![0]),
        ("random bytes", (0..1000).map(|_| random.next() as u8).collect()),
        ("zeros", vec![0; good.len()]),
        ("a header only", good[..header].to_vec()),
        ("no data", good[..header + 12].to_vec()),
        ("cut short by one", good[..good.len() - 1].to_vec()),
        ("cut in half", good[..good.len() / 2].to_vec()),
        ("one byte more", [&good[..], &[0]].concat()),
        ("twice", [&good[..], &good[..]].concat()),
        ("another driver", with_header(text.replace("pipeline cache", "pipeline hoard"))),
        ("another version", with_header(text.replace(env!("CARGO_PKG_VERSION"), "0.0.0"))),
        ("the data without its envelope", good[header + 12..].to_vec()),
    ];
    let places =
        [0, header / 2, header - 1, header, header + 8, header + 12, (header + good.len()) / 2, good.len() - 1];
    cases.extend(places.map(|at| ("a flipped bit", flipped(at))));
    for (name, bytes) in cases {
        let warnings = warnings_of(name, fresh(), &bytes)?;
        assert!(warnings.len() == 1 && warnings[0].contains("is ignored: it"), "{name}: {warnings:?}");
    }
    // An engine's device may lack the feature.
    let scene = Scene::new(frugal_context().expect("as above"))?;
    assert_eq!(scene.context.pipeline_cache(), None);
    scene.check("no feature");
    Ok(())
}

/// Bytes of a large buffer: nearly the most that every device allows, and more than the memory block that frugal devices share
/// between buffers. So each buffer is an allocation of its own.
const PIECE: usize = 120 << 20;

/// Message of the child process on success.
const RAN_OUT: &str = "ran out of memory and went on";

/// Runs the test in a process with little address space, where memory runs out early and harmlessly.
#[test]
#[cfg(target_os = "linux")]
fn out_of_memory() {
    if context().is_none() {
        return;
    }
    let child = |kilobytes: &str| {
        let script = "ulimit -v \"$1\" && exec \"$0\" --exact --ignored --nocapture out_of_memory_in_a_small_process";
        let mut command = Command::new("sh");
        command.args(["-c", script]).arg(std::env::current_exe().expect("this test")).arg(kilobytes);
        command.env_remove("LOWBIT_REQUIRE_ADAPTER").output().expect("a shell")
    };
    let output = child("3500000");
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    if said.contains("NOT RUN") {
        // Some drivers can't start with so little memory.
        eprintln!("\n*** NOT RUN: {said} ***\n");
        return;
    }
    assert!(output.status.success() && said.contains(RAN_OUT), "{said}");
}

#[test]
#[ignore = "out_of_memory starts it, in a process of little memory"]
fn out_of_memory_in_a_small_process() -> Result<()> {
    let Some(context) = frugal_context() else { return Ok(()) };
    let scene = Scene::new(context)?;
    let context = &scene.context;
    let piece = TensorType::new(DType::Int8, [PIECE])?;
    let is_memory = |result: Result<DeviceTensor>| match result {
        Err(Error::OutOfMemory { what, bytes }) => assert_eq!((what, bytes), (piece.to_string(), PIECE as u64)),
        other => panic!("expected Error::OutOfMemory, got {other:?}"),
    };
    // Buffers that nobody writes, until there is no room for more.
    let mut kept = Vec::new();
    let error = loop {
        match DeviceTensor::allocate(context, piece.clone()) {
            Ok(tensor) if kept.len() < 1000 => kept.push(tensor),
            Ok(_) => {
                println!("NOT RUN: a thousand large buffers are not enough to run out of memory");
                return Ok(());
            }
            error => break error,
        }
    };
    is_memory(error);
    assert!(kept.len() >= 2, "there is room for {} buffers: give the process more", kept.len());
    kept.truncate(kept.len() - 2);
    scene.check("after an allocation without room");

    // An upload needs room twice, for the tensor and for a staging copy. Each upload keeps the room of one tensor, so one upload
    // finds room for its tensor and none for the copy. The reserve is for the words on the host.
    kept.clear();
    let host = Tensor::new([PIECE], vec![0i8; PIECE])?;
    let error = loop {
        let mut reserve = Vec::<u8>::new();
        reserve.try_reserve_exact(PIECE).expect("room for the words of an upload");
        drop(reserve);
        match context.upload(&host) {
            Ok(tensor) if kept.len() < 1000 => kept.push(tensor),
            Ok(_) => panic!("room for a thousand tensors that there was no room for"),
            error => break error,
        }
        context.queue().submit([]);
        context.device().poll(wgpu::PollType::wait_indefinitely()).expect("a device that works");
    };
    is_memory(error);
    drop(host);
    scene.check("after an upload without room");
    kept.clear();
    DeviceTensor::allocate(context, piece.clone())?;
    println!("{RAN_OUT}");
    Ok(())
}
