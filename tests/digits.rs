//! A whole quantized network: every logit has the bits that ONNX Runtime computed, on the CPU reference and on the GPU with every
//! choice of kernels. The network is the example's; single ops and awkward shapes are in `equivalence.rs`.

mod common;
#[path = "../examples/digits/network.rs"]
mod network;

use common::{context, first_difference};
use lowbit::{Tensor, Tuner, kernels};
use network::{Digits, Result, network};

/// Correctly classified images of the 360 test images, before and after quantization.
const CORRECT: usize = 356;

fn check(path: &str, logits: &Tensor, digits: &Digits) -> Result<()> {
    if let Some(difference) = first_difference(logits, &digits.golden_logits) {
        panic!("the logits differ {difference}: {path}");
    }
    assert_eq!(digits.correct(logits)?, CORRECT, "right classes: {path}");
    Ok(())
}

#[test]
fn the_reference_has_the_golden_logits() -> Result<()> {
    let digits = Digits::load()?;
    assert_eq!(digits.golden_logits.dims(), [1797, 10]);
    assert_eq!(digits.test_index.len(), 360);
    assert_eq!(digits.correct(&digits.float_logits)?, CORRECT);
    let logits = network(digits.labels.len())?.run_reference(&[&digits.images])?;
    check("CPU reference", &logits[0], &digits)
}

#[test]
fn the_gpu_has_the_golden_logits_in_one_submission() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let digits = Digits::load()?;
    let graph = network(digits.labels.len())?;
    let images = context.upload(&digits.images)?;
    let candidates = graph.ops().map(|op| kernels::candidates(op, &context.caps()).len()).max().unwrap_or(0);
    let choices = std::iter::once(Tuner::FirstGuess).chain((1..candidates.max(4)).map(Tuner::Nth));
    for tuner in choices {
        let plan = context.plan(&graph, tuner)?;
        let path = format!("{tuner:?} on {}\n{plan}", context.description());
        pollster::block_on(plan.warm_up())?;
        let before = context.counters();
        let logits = plan.run_on_device(&[&images])?;
        let after = context.counters();
        assert_eq!(after.submissions - before.submissions, 1, "submissions: {path}");
        assert_eq!(after.readbacks - before.readbacks, 0, "readbacks: {path}");
        assert_eq!(after.pipelines, before.pipelines, "a warm plan compiles nothing: {path}");
        check(&path, &context.download_blocking(&logits[0])?, &digits)?;

        if tuner != Tuner::FirstGuess {
            continue;
        }
        // The plan recorded into an encoder of our own, which creates nothing on the device.
        let bindings = plan.bind(&[&images], &[&logits[0]])?;
        let before = context.counters();
        let mut encoder = context.device().create_command_encoder(&Default::default());
        plan.record(&mut encoder, &bindings)?;
        assert_eq!(context.counters(), before, "recording: {path}");
        context.queue().submit([encoder.finish()]);
        check(&path, &context.download_blocking(&logits[0])?, &digits)?;
    }
    Ok(())
}

/// The images in batches of other sizes, with a smaller last batch and a plan per batch size.
#[test]
fn the_batch_size_changes_no_logit() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let digits = Digits::load()?;
    let pixels = digits.images.values::<f32>()?;
    let mut logits = Vec::new();
    for batch in pixels.chunks(600 * 64) {
        let images = batch.len() / 64;
        let graph = network(images)?;
        let plan = context.plan(&graph, Tuner::FirstGuess)?;
        let out = plan.run_blocking(&[&Tensor::new([images, 8, 8, 1], batch)?])?;
        logits.extend_from_slice(out[0].values::<f32>()?);
    }
    check("batches of 600", &Tensor::new([logits.len() / 10, 10], logits)?, &digits)
}

/// One plan for at most 600 images runs batches of 600 and fewer.
#[test]
fn one_plan_takes_batches_of_any_size() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let digits = Digits::load()?;
    let plan = context.plan(&network(600)?, Tuner::FirstGuess)?;
    let mut logits = Vec::new();
    for batch in digits.images.values::<f32>()?.chunks(600 * 64) {
        let out = plan.run_blocking(&[&Tensor::new([batch.len() / 64, 8, 8, 1], batch)?])?;
        logits.extend_from_slice(out[0].values::<f32>()?);
    }
    check("one plan", &Tensor::new([logits.len() / 10, 10], logits)?, &digits)
}
