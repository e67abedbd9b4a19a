//! The set's observers, in terms of `lowbit::calibrate`: the observing op runs on each batch of a case in turn, then the bounds
//! are read.

use lowbit::calibrate::{Clipping, Histograms, Observation, Ranges, Scheme};
use lowbit::ops::{Bins, ObserveHistogram, ObserveRange, Op, RangeUpdate};
use lowbit::{DType, Granularity, Tensor, TensorType};

use crate::Result;
use crate::array::{Array, Elements};
use crate::case::Case;
use crate::device::Device;

/// Least and greatest number of all batches, or their moving averages.
pub(crate) fn range(case: &Case, device: &Device) -> Result<Vec<Array>> {
    let rule = match case.attribute::<f32>("averaging_constant")? {
        Some(constant) => RangeUpdate::MovingAverage { constant },
        None => RangeUpdate::MinMax,
    };
    let batches = batches(case)?;
    let op = ObserveRange::new(batches[0].tensor_type().clone(), Granularity::Tensor, rule)?;
    let state = observe(&op.clone().into(), op.state(), &batches, device)?;
    bounds(&Observation::Ranges(Ranges::from_state(&op, &state)?), Clipping::MinMax)
}

/// Bounds from a percentile or the entropy of a histogram. The bin width is ONNX Runtime's; the first batch's largest magnitude
/// determines it.
pub(crate) fn histogram(case: &Case, device: &Device) -> Result<Vec<Array>> {
    let number = |name: &str| -> Result<f64> { Ok(case.attribute(name)?.ok_or_else(|| format!("{name} is missing"))?) };
    let batches = batches(case)?;
    let largest = batches[0].values::<f32>()?.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    let bins = Bins::of_width(8192, (2.0 * f64::from(largest) / number("num_bins")?) as f32)?;
    let op = ObserveHistogram::new(batches[0].tensor_type().clone(), Granularity::Tensor, bins)?;
    let state = observe(&op.clone().into(), op.state(), &batches, device)?;
    let clip = match (case.op.as_str(), case.attribute::<bool>("symmetric")?) {
        ("ObserveHistogramEntropy", _) => Clipping::Entropy { levels: number("num_quantized_bins")? as usize },
        (_, Some(true)) => Clipping::SymmetricPercentile { percent: number("percentile")? },
        _ => Clipping::Percentile { percent: number("percentile")? },
    };
    bounds(&Observation::Histograms(Histograms::from_state(&op, &state)?), clip)
}

/// One tensor per batch.
fn batches(case: &Case) -> Result<Vec<Tensor>> {
    let all = case.input(0)?;
    let [count, length] = <[usize; 2]>::try_from(&all.shape[..]).map_err(|_| "batches are rows of a matrix")?;
    let values = all.floats()?;
    (0..count).map(|i| Ok(Tensor::new([length], &values[i * length..][..length])?)).collect()
}

/// Observer state after all batches.
fn observe(op: &Op, state: &TensorType, batches: &[Tensor], device: &Device) -> Result<Tensor> {
    let mut state = Tensor::new(state.dims(), vec![0i32; state.shape().elements()])?;
    for batch in batches {
        state = device.run(op.clone(), &[batch, &state])?.remove(0);
    }
    Ok(state)
}

fn bounds(observation: &Observation, clip: Clipping) -> Result<Vec<Array>> {
    let (low, high) = observation.bounds(clip, &Scheme::asymmetric(DType::Uint8)?)?[0];
    let scalar = |x: f32| Array { shape: vec![], elements: Elements::F32(vec![x]) };
    Ok(vec![scalar(low), scalar(high)])
}
