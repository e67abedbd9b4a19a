//! Errors, memory and numbers of 32 bits: cases that only a browser has, or has otherwise than a native program.

use std::cell::Cell;

use lowbit::import::gguf::{self, GgufType};
use lowbit::ops::{Linear, Matmul, Op, Requantization};
use lowbit::weights::PackedWeights;
use lowbit::{Context, DType, DeviceTensor, Error, Graph, Quantization, Tensor, TensorType, Tuner, reference};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::wait;

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// Lists tests by name.
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        pub(crate) const TESTS: &[(&str, fn() -> Option<String>)] =
            &[$((concat!("faults::", stringify!($name)), || crate::error($name()))),*];
    };
}

tests! {
    a_refused_call_is_an_error,
    an_error_is_told_once,
    every_wait_under_way_is_told,
    a_lost_device_is_lost,
    a_download_under_way_is_lost,
    memory_comes_back,
    a_layer_has_more_operations_than_a_word_counts,
    warming_up_ends_with_machine_code,
    a_chain_warms_up,
    a_page_tunes_and_probes,
    the_adapter_has_a_name,
    weights_come_from_a_worker,
}

/// A product whose sums are all 96.
fn product() -> Result<(Op, Tensor)> {
    let lhs = Tensor::new([5, 16], vec![2i8; 80])?;
    Ok((Matmul::new(lhs.tensor_type().clone(), Tensor::new([16, 7], vec![3i8; 112])?).build()?.into(), lhs))
}

fn expect(condition: bool, message: impl FnOnce() -> String) -> Result<()> {
    if condition { Ok(()) } else { Err(message().into()) }
}

/// A destroyed input, and a buffer of another device: the first wait returns the error, and the context stays usable.
fn a_refused_call_is_an_error() -> Result<()> {
    let (context, other) = (wait(Context::new())?, wait(Context::new())?);
    let (op, lhs) = product()?;
    let plan = context.plan(&Graph::of(op)?, Tuner::FirstGuess)?;
    let destroyed = context.upload(&lhs)?;
    destroyed.buffer().destroy();
    let foreign = other.upload(&lhs)?;
    let foreign = DeviceTensor::from_buffer(lhs.tensor_type().clone(), foreign.buffer().clone(), 0)?;
    for (name, input) in [("destroyed", destroyed), ("foreign", foreign)] {
        let output = plan.run_on_device(&[&input])?.remove(0);
        let got = wait(context.download(&output));
        expect(matches!(got, Err(Error::Validation(_))), || format!("{name}: {got:?}"))?;
        let sound = context.upload(&lhs)?;
        let output = plan.run_on_device(&[&sound])?.remove(0);
        let got = wait(context.download(&output))?;
        expect(got.values::<i32>()? == [96; 35], || format!("after {name}: {got:?}"))?;
    }
    Ok(())
}

fn refuse_something(context: &Context) -> Result<()> {
    let (op, lhs) = product()?;
    let plan = context.plan(&Graph::of(op)?, Tuner::FirstGuess)?;
    let input = context.upload(&lhs)?;
    input.buffer().destroy();
    plan.run_on_device(&[&input])?;
    Ok(())
}

fn an_error_is_told_once() -> Result<()> {
    let context = wait(Context::new())?;
    wait(context.check())?;
    refuse_something(&context)?;
    let told = wait(context.check());
    expect(matches!(told, Err(Error::Validation(_))), || format!("{told:?}"))?;
    Ok(wait(context.check())?)
}

/// Two waits at the same time both return the error, whichever ends first.
fn every_wait_under_way_is_told() -> Result<()> {
    let context = wait(Context::new())?;
    refuse_something(&context)?;
    let (mut first, mut second) = (Box::pin(context.check()), Box::pin(context.check()));
    let told = wait(std::future::poll_fn(|task| {
        use std::task::Poll::{Pending, Ready};
        // The second is polled first once, so that both are under way.
        match (second.as_mut().poll(task), first.as_mut().poll(task)) {
            (Ready(second), Ready(first)) => Ready([first, second]),
            (Pending, Pending) => Pending,
            _ => Ready([Ok(()), Ok(())]),
        }
    }));
    expect(told.iter().all(|told| matches!(told, Err(Error::Validation(_)))), || format!("{told:?}"))
}

fn a_lost_device_is_lost() -> Result<()> {
    let context = wait(Context::new())?;
    let (_, lhs) = product()?;
    let tensor = context.upload(&lhs)?;
    context.device().destroy();
    let got = wait(context.download(&tensor));
    expect(matches!(got, Err(Error::Lost(_))), || format!("{got:?}"))?;
    let again = context.upload(&lhs);
    expect(matches!(again, Err(Error::Lost(_))), || format!("{again:?}"))?;
    wait(Context::new())?.upload(&lhs)?;
    Ok(())
}

fn a_download_under_way_is_lost() -> Result<()> {
    let context = wait(Context::new())?;
    let (_, lhs) = product()?;
    let tensor = context.upload(&lhs)?;
    let mut download = Box::pin(context.download(&tensor));
    let mut task = std::task::Context::from_waker(std::task::Waker::noop());
    expect(download.as_mut().poll(&mut task).is_pending(), || "it ended at once".into())?;
    context.device().destroy();
    let got = wait(download);
    expect(matches!(got, Err(Error::Lost(_))), || format!("{got:?}"))
}

/// Buffers that were made and not destroyed, counted by the page.
fn alive() -> Result<f64> {
    let count = js_sys::Reflect::get(&js_sys::global(), &"buffersAlive".into()).ok().and_then(|count| count.as_f64());
    Ok(count.ok_or("the page doesn't count buffers")?)
}

/// What this crate makes for itself is destroyed, and so is what a program gives back. 100 uploads and downloads of 64 MiB.
fn memory_comes_back() -> Result<()> {
    let context = wait(Context::new())?;
    let (op, lhs) = product()?;
    // The context keeps the buffer of its first readback.
    wait(context.download(&context.upload(&lhs)?))?;
    let before = alive()?;
    expect(wait(context.run(&op, &[&lhs]))?[0].values::<i32>()? == [96; 35], || "a wrong product".into())?;
    expect(alive()? == before, || format!("a run leaves {} buffers", alive().unwrap_or(0.0) - before))?;

    let plan = context.plan(&Graph::of(op)?, Tuner::FirstGuess)?;
    let input = context.upload(&lhs)?;
    let output = plan.run_on_device(&[&input])?.remove(0);
    wait(context.download(&output))?;
    wait(plan.warm_up())?;
    input.destroy();
    output.destroy();
    plan.destroy();
    expect(alive()? == before, || format!("a plan leaves {} buffers", alive().unwrap_or(0.0) - before))?;

    let large = Tensor::new([16 << 20], vec![7i32; 16 << 20])?;
    for _ in 0..100 {
        let tensor = context.upload(&large)?;
        let got = wait(context.download(&tensor))?;
        tensor.destroy();
        expect(got == large, || "64 MiB came back otherwise".into())?;
    }
    expect(alive()? == before, || "uploads leave buffers".into())
}

/// 2^32 multiplications and additions.
fn a_layer_has_more_operations_than_a_word_counts() -> Result<()> {
    let context = wait(Context::new())?;
    let weights = Tensor::new([4096, 4096], vec![1i8; 1 << 24])?;
    let op = Matmul::new(TensorType::new(DType::Int8, [128, 4096])?, weights).build()?;
    let plan = context.plan(&Graph::of(op)?, Tuner::FirstGuess)?;
    let text = plan.to_string();
    plan.destroy();
    expect(text.contains("4.3 Gop"), || text)
}

/// Intermediates in one buffer are read and written by the same launch.
fn a_chain_warms_up() -> Result<()> {
    let context = wait(Context::new())?;
    let codes = TensorType::new(DType::Int8, [4, 16])?.quantized(Quantization::tensor(0.5, 0))?;
    let mut graph = Graph::new();
    let mut x = graph.input(codes.clone());
    for step in 0..4 {
        let weights = Tensor::new([16, 16], vec![step as i8 + 1; 256])?.quantized(Quantization::tensor(0.1, 0))?;
        let stage = Requantization::new(DType::Int8, 0.5, 0)?;
        x = graph.add(Matmul::new(codes.clone(), weights).output(stage).build()?, &[x])?;
    }
    graph.output(x);
    let input = Tensor::new([4, 16], vec![1i8; 64])?.quantized(Quantization::tensor(0.5, 0))?;
    let plan = context.plan(&graph, Tuner::FirstGuess)?;
    wait(plan.warm_up())?;
    let got = wait(plan.run(&[&input]))?;
    expect(got == graph.run_reference(&[&input])?, || format!("{got:?}"))
}

/// The first launch after warming up isn't longer than a few later ones together: no compilation is left.
fn warming_up_ends_with_machine_code() -> Result<()> {
    let context = wait(Context::new())?;
    let lhs = Tensor::new([64, 256], vec![2i8; 64 * 256])?;
    let weights = Tensor::new([256, 64], vec![3i8; 64 * 256])?;
    let plan =
        context.plan(&Graph::of(Matmul::new(lhs.tensor_type().clone(), weights).build()?)?, Tuner::FirstGuess)?;
    let made = now();
    wait(plan.warm_up())?;
    let compiled = now() - made;
    let started = now();
    let got = wait(plan.run(&[&lhs]))?;
    let ran = now() - started;
    expect(got[0].values::<i32>()?.iter().all(|&sum| sum == 1536), || "a wrong product".into())?;
    expect(ran < compiled.max(50.0), || format!("compiled in {compiled} ms, then ran in {ran} ms"))
}

fn now() -> f64 {
    js_sys::Date::now()
}

/// Both give back what they make.
fn a_page_tunes_and_probes() -> Result<()> {
    let context = wait(Context::new())?;
    let (op, lhs) = product()?;
    let graph = Graph::of(op)?;
    let before = alive()?;
    let unknown = wait(context.tune(&graph, std::time::Duration::from_secs(600)))?;
    expect(unknown == 0, || format!("{unknown} kinds of ops are unknown"))?;
    expect(alive()? == before, || format!("tuning leaves {} buffers", alive().unwrap_or(0.0) - before))?;
    let saved = context.save_tuning();
    let fresh = wait(Context::new())?;
    expect(fresh.load_tuning(&saved) == 1, || format!("the tuning isn't loaded: {saved}"))?;
    let budget = std::time::Duration::ZERO;
    let got = wait(fresh.plan(&graph, Tuner::Measured { budget })?.run(&[&lhs]))?;
    expect(got[0].values::<i32>()? == [96; 35], || format!("{got:?}"))?;
    let before = alive()?;
    let probe = wait(context.probe())?;
    expect(alive()? == before, || format!("the probe leaves {} buffers", alive().unwrap_or(0.0) - before))?;
    expect(probe.dot_gops > 0.0 && probe.read_gib_per_s > 0.0, || probe.to_string())
}

/// A matrix of a file, imported and packed: a Worker calls this.
#[wasm_bindgen]
pub fn import_words() -> Vec<u32> {
    imported().and_then(|weights| Ok(weights.words()?.to_vec())).unwrap_or_default()
}

fn imported() -> lowbit::Result<PackedWeights> {
    let numbers: Vec<f32> = (0..96 * 64).map(|i| (i * 37 % 101) as f32 - 50.0).collect();
    gguf::weights(GgufType::Q4_0, [1, 96, 64], &gguf::quantize(GgufType::Q4_0, &numbers)?)
}

thread_local!(static WORDS: Cell<Vec<u32>> = Cell::default());

/// Holds words that a Worker made.
#[wasm_bindgen]
pub fn provide_words(words: Vec<u32>) {
    WORDS.set(words);
}

/// The page multiplies by weights that it has not packed.
fn weights_come_from_a_worker() -> Result<()> {
    let words = WORDS.take();
    expect(words == *imported()?.words()?, || format!("{} words differ from the page's", words.len()))?;
    let weights = PackedWeights::from_words(GgufType::Q4_0.format(), [1, 96, 64], words)?;
    let row = Tensor::new([1, 64], (0..64).map(|i| i as f32 / 8.0).collect::<Vec<_>>())?;
    let op: Op = Linear::new(row.tensor_type().clone(), weights).build()?.into();
    let got = wait(wait(Context::new())?.run(&op, &[&row]))?.remove(0);
    let expected = reference::run(&op, &[&row])?.remove(0);
    let bounds = reference::tolerance(&op, &[&row])?.unwrap_or_default();
    let mut pairs = got.values::<f32>()?.iter().zip(expected.values::<f32>()?).zip(&bounds);
    expect(pairs.all(|((got, expected), bound)| (got - expected).abs() <= *bound), || format!("{got:?}"))
}

fn the_adapter_has_a_name() -> Result<()> {
    let description = wait(Context::new())?.description();
    expect(description.contains("webgpu") && !description.starts_with(" ("), || description)
}
