//! Observers and fake quantizers: GPU equals reference, bit for bit except for sums of gradients. Observations don't depend on how
//! the data was divided. tests/conformance.rs tests the values of bounds and gradients.

mod common;

use common::{Random, check_op, check_op_within, context};
use lowbit::calibrate::{Calibration, Clipping, Histograms, Observation, Observer, Ranges, ScaleRule, Scheme};
use lowbit::numeric::QuantizationParams;
use lowbit::ops::{
    Bins, FakeQuantize, FakeQuantizeGradient, Grid, GridGradient, ObserveHistogram, ObserveRange, RangeUpdate,
};
use lowbit::{DType, Granularity, Graph, Result, Tensor, TensorType, reference};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// Shapes by intent, with every granularity that they support.
fn shapes() -> Vec<(&'static str, Vec<usize>, Granularity)> {
    use Granularity::{Axis, Blocks, Tensor};
    let mut shapes = vec![
        ("SCALAR", vec![], Tensor),
        ("EMPTY", vec![0], Tensor),
        ("EMPTY_CHANNELS", vec![0, 3], Axis(1)),
        ("NO_CHANNEL", vec![3, 0], Axis(1)),
        ("ONE", vec![1], Tensor),
        ("OVER_CHUNK", vec![3, 8195], Tensor),
        ("LONG_CHANNELS", vec![2, 8195], Axis(0)),
        ("CHANNELS_LAST", vec![41, 5, 7], Axis(2)),
        ("CHANNELS_FIRST", vec![3, 5, 7], Axis(0)),
        ("CHANNELS_BETWEEN", vec![6, 5, 7], Axis(1)),
    ];
    for size in [1, 4, 7, 100] {
        shapes.push(("GROUPS_LAST", vec![3, 19], Blocks { axis: 1, size }));
        shapes.push(("GROUPS_FIRST", vec![19, 3], Blocks { axis: 0, size }));
        shapes.push(("GROUPS_BETWEEN", vec![2, 10, 3], Blocks { axis: 1, size }));
    }
    shapes
}

/// Numbers of all magnitudes, zeros of either sign, subnormals, and, unless `finite`, NaN and infinities.
fn wild(random: &mut Random, dims: &[usize], finite: bool) -> Tensor {
    let count = dims.iter().product();
    let mut number = || match random.next() % 16 {
        0 => f32::from_bits(random.next() as u32 & 0x807f_ffff),
        1 => random.pick(&[0.0, -0.0, f32::MAX, f32::MIN, 1.0, -1.0]),
        2 if !finite => random.pick(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY]),
        3 => f32::from_bits(random.next() as u32 & 0xbfff_ffff),
        _ => random.real(),
    };
    Tensor::new(dims, (0..count).map(|_| number()).collect::<Vec<f32>>()).expect("as many as the shape has")
}

fn tame(random: &mut Random, dims: &[usize]) -> Tensor {
    let count = dims.iter().product();
    Tensor::new(dims, (0..count).map(|_| random.real()).collect::<Vec<f32>>()).expect("as many as the shape has")
}

fn zeros(of: &TensorType) -> Tensor {
    Tensor::new(of.dims(), vec![0i32; of.shape().elements()]).expect("as many as the shape has")
}

#[test]
fn ranges() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let (mut count, mut random) = (0, Random::new(61));
    for (name, shape, granularity) in shapes() {
        for rule in [RangeUpdate::MinMax, RangeUpdate::MovingAverage { constant: 0.01 }] {
            let op = ObserveRange::new(TensorType::float32(&shape[..])?, granularity, rule)?;
            let mut state = zeros(op.state());
            // The second batch updates an existing state, the third has no finite numbers.
            for batch in 0..3 {
                let x = match batch {
                    2 => Tensor::new(&shape[..], vec![f32::NAN; shape.iter().product()])?,
                    _ => wild(&mut random, &shape, false),
                };
                count += check_op(&context, name, &op.clone().into(), &[&x, &state]);
                state = reference::run(&op.clone().into(), &[&x, &state])?.remove(0);
            }
        }
    }
    println!("ranges: {count} combinations on {}", context.description());
    Ok(())
}

#[test]
fn histograms() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let (mut count, mut random) = (0, Random::new(62));
    for (name, shape, granularity) in shapes() {
        for bins in [Bins::new(16)?, Bins::new(258)?, Bins::of_width(64, 0.3)?, Bins::of_width(512, 1.5e-38)?] {
            let op = ObserveHistogram::new(TensorType::float32(&shape[..])?, granularity, bins)?;
            let mut state = zeros(op.state());
            // Levels rise from batch to batch: a little, then to the end of the range.
            for batch in 0..3 {
                let x = match batch {
                    0 => tame(&mut random, &shape),
                    1 => {
                        let x = tame(&mut random, &shape);
                        Tensor::new(&shape[..], x.values::<f32>()?.iter().map(|x| 5.0 * x).collect::<Vec<_>>())?
                    }
                    _ => wild(&mut random, &shape, false),
                };
                count += check_op(&context, name, &op.clone().into(), &[&x, &state]);
                state = reference::run(&op.clone().into(), &[&x, &state])?.remove(0);
            }
        }
    }
    let op = ObserveHistogram::new(TensorType::float32([2, 40_000])?, Granularity::Axis(0), Bins::new(32_768)?)?;
    let x = tame(&mut random, &[2, 40_000]);
    count += check_op(&context, "MOST_BINS", &op.clone().into(), &[&x, &zeros(op.state())]);
    println!("histograms: {count} combinations on {}", context.description());
    Ok(())
}

/// The low word of a two-word count carries into the high word.
#[test]
fn counts_are_wide() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let op = ObserveHistogram::new(TensorType::float32([4])?, Granularity::Tensor, Bins::new(16)?)?;
    let x = Tensor::new([4], vec![1.0f32, 1.0, 1.0, f32::NAN])?;
    let state = reference::run(&op.clone().into(), &[&x, &zeros(op.state())])?.remove(0);
    let near = state.values::<i32>()?.iter().enumerate().map(|(i, &word)| match i {
        2.. if i % 2 == 0 && i != 6 && word != 0 => -1,
        _ => word,
    });
    let state = Tensor::new(op.state().dims(), near.collect::<Vec<_>>())?;
    check_op(&context, "WIDE", &op.clone().into(), &[&x, &state]);
    let seen = Histograms::from_state(&op, &reference::run(&op.clone().into(), &[&x, &state])?[0])?;
    assert_eq!((seen.counts(0).iter().sum::<u64>(), seen.skipped()), ((1 << 32) + 2, 1 << 32));
    Ok(())
}

/// A file may contain the greatest 64-bit count. One more number leaves that count unchanged on the device, in the reference and
/// when files are merged.
#[test]
fn counts_end_at_the_greatest() -> Result<()> {
    let mut graph = Graph::new();
    let x = graph.input(TensorType::new(DType::Float32, [1])?);
    let bins = Bins::of_width(16, 1.0)?;
    let observers = [Observer::histogram(Granularity::Tensor, bins), Observer::range(Granularity::Tensor)];
    let calibration = Calibration::new(&graph, &observers.map(|observer| (x, observer)))?;
    let mut counts = [0; 16];
    counts[8] = u64::MAX;
    let seen = serde_json::json!({ "min": 0.0, "max": 0.5, "count": u64::MAX, "skipped": u64::MAX });
    let files = [
        serde_json::json!({ "Histograms": { "granularity": "Tensor", "bins": bins,
            "histograms": [{ "seen": seen, "level": 0, "counts": counts }] } }),
        serde_json::json!({ "Ranges": { "granularity": "Tensor", "rule": "MinMax", "ranges": [seen] } }),
    ];
    let full: Vec<Observation> =
        files.into_iter().map(|file| serde_json::from_value(file).expect("counts that are possible")).collect();
    for number in [1e30f32, f32::NAN] {
        let batch = Tensor::new([1], vec![number])?;
        let mut expected = full.clone();
        calibration.observe_reference(&mut expected, &[&batch])?;
        let [Observation::Histograms(histogram), Observation::Ranges(range)] = &expected[..] else { unreachable!() };
        assert_eq!((histogram.counts(0)[8], histogram.skipped()), (u64::MAX, u64::MAX));
        assert_eq!((range.count(), range.skipped()), (u64::MAX, u64::MAX));
        let mut alone = calibration.empty();
        calibration.observe_reference(&mut alone, &[&batch])?;
        for (alone, (full, expected)) in alone.iter_mut().zip(full.iter().zip(&expected)) {
            alone.merge(full)?;
            assert_eq!(alone, expected);
        }
        for clip in [
            Clipping::MinMax,
            Clipping::Percentile { percent: 99.0 },
            Clipping::SymmetricPercentile { percent: 99.0 },
            Clipping::Entropy { levels: 4 },
            Clipping::Mse,
        ] {
            expected[0].quantization(clip, &Scheme::symmetric(DType::Int8)?)?;
        }
        let Some(context) = context() else { continue };
        let mut calibrator = calibration.resume_on(&context, &full)?;
        calibrator.observe(&[&context.upload(&batch)?])?;
        assert_eq!(calibrator.read_blocking()?, expected);
    }
    Ok(())
}

/// Parameters of a grid for each range.
fn parameters(random: &mut Random, grid: Grid, ranges: usize, (low, high): (i32, i32)) -> Result<Tensor> {
    match grid {
        Grid::Affine => {
            let pair =
                |_| QuantizationParams::new(random.scale() * 10.0, random.integer(low.into(), high.into()) as i32);
            Tensor::new([ranges], (0..ranges).map(pair).collect::<Vec<_>>())
        }
        Grid::Step => Tensor::new([ranges], (0..ranges).map(|_| random.scale() * 10.0).collect::<Vec<_>>()),
        _ => {
            let pair = |_| [-random.real().abs() - 0.01, random.real().abs() + 0.01];
            Tensor::new([ranges, 2], (0..ranges).flat_map(pair).collect::<Vec<_>>())
        }
    }
}

#[test]
fn fake_quantizers() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let (mut count, mut worst, mut random) = (0, 0.0f64, Random::new(63));
    for (name, shape, granularity) in shapes() {
        for grid in [Grid::Affine, Grid::Step, Grid::Range] {
            let codes = random.pick(&[(-8, 7), (0, 255), (-127, 127), (-1, 1), (-32_768, 32_767)]);
            let builder = FakeQuantize::new(TensorType::float32(&shape[..])?, grid, granularity, codes);
            let forward = builder.clone().build()?;
            let ranges = granularity.parameters(TensorType::new(DType::Float32, &shape[..])?.shape())?;
            let parameters = parameters(&mut random, grid, ranges, codes)?;
            for finite in [true, false] {
                let x = if finite { tame(&mut random, &shape) } else { wild(&mut random, &shape, false) };
                let dy = tame(&mut random, &shape);
                count += check_op(&context, name, &forward.clone().into(), &[&x, &parameters]);
                let gradient = FakeQuantizeGradient::new(forward.clone())?;
                count += check_op(&context, name, &gradient.into(), &[&x, &parameters, &dy]);
                if let Ok(levels) = builder.clone().levels().build() {
                    count += check_op(&context, name, &levels.into(), &[&x, &parameters]);
                }
                if let Ok(op) = GridGradient::new(forward.clone(), GridGradient::lsq_scale(&forward)) {
                    let (candidates, error) = check_op_within(&context, name, &op.into(), &[&x, &parameters, &dy]);
                    (count, worst) = (count + candidates, worst.max(error));
                }
            }
        }
    }
    println!("fake quantizers: {count} combinations on {}, at most {worst:.3} of a bound", context.description());
    Ok(())
}

/// The gradient of a learned step equals the slope of a loss along the step with fixed rounding errors.
#[test]
fn learned_steps_have_the_slope_of_the_loss() -> Result<()> {
    let mut random = Random::new(64);
    let x = tame(&mut random, &[300]);
    let dy = tame(&mut random, &[300]);
    let forward = FakeQuantize::new(TensorType::float32([300])?, Grid::Step, Granularity::Tensor, (-4, 3)).build()?;
    let step = 0.3f32;
    let gradient =
        reference::run(&GridGradient::new(forward, 1.0)?.into(), &[&x, &Tensor::new([1], vec![step])?, &dy])?;
    // Straight-through: y(s) = s · (v + the rounding error at `step`), v = x / s clamped to the codes.
    let loss = |s: f64| -> Result<f64> {
        let terms = x.values::<f32>()?.iter().zip(dy.values::<f32>()?).map(|(&x, &dy)| {
            let v = f64::from(x / step);
            let y = if v <= -4.0 {
                -4.0 * s
            } else if v >= 3.0 {
                3.0 * s
            } else {
                s * (f64::from(x) / s + (v.round_ties_even() - v))
            };
            f64::from(dy) * y
        });
        Ok(terms.sum())
    };
    let slope = (loss(f64::from(step) + 1e-4)? - loss(f64::from(step) - 1e-4)?) / 2e-4;
    let got = f64::from(gradient[0].values::<f32>()?[0]);
    assert!((got - slope).abs() < 1e-4 * slope.abs().max(1.0), "{got} should be {slope}");
    Ok(())
}

/// Batches of a calibration: any numbers, any sizes, zeros and repeats, in any order and divided in any way.
#[test]
fn merging_is_one_pass() {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[6; 32]);
    let mut runner =
        TestRunner::new_with_rng(Config { cases: 1000, failure_persistence: None, ..Config::default() }, rng);
    let number = prop_oneof![
        4 => -10.0f32..10.0,
        1 => proptest::num::f32::ANY,
        1 => Just(0.0f32),
        1 => proptest::num::f32::SUBNORMAL,
    ];
    let rows = proptest::collection::vec((number.clone(), number, 0usize..4), 0..40);
    let kinds = prop_oneof![Just(None), Just(Some(Bins::new(16))), Just(Some(Bins::of_width(32, 0.7)))];
    let axis = prop_oneof![Just(Granularity::Tensor), Just(Granularity::Axis(1))];
    type Drawn = (Vec<(f32, f32, usize)>, Option<Result<Bins>>, Granularity);
    let property = |(rows, bins, axis): Drawn| {
        let observer = match bins {
            None => Observer::range(axis),
            Some(bins) => Observer::histogram(axis, bins.expect("a sound number of bins")),
        };
        let mut graph = Graph::new();
        let batch = graph.extent("batch", 40).expect("a name");
        let x =
            TensorType::float32([40, 2]).and_then(|rows| graph.dynamic_input(rows, [(0, batch)])).expect("an extent");
        let calibration = Calibration::new(&graph, &[(x, observer)]).expect("a float32 value");
        let observe = |seen: &mut [Observation], rows: &[(f32, f32, usize)]| {
            let values: Vec<f32> = rows.iter().flat_map(|row| [row.0, row.1]).collect();
            let batch = Tensor::new([rows.len(), 2], values).expect("two to a row");
            calibration.observe_reference(seen, &[&batch]).expect("a batch of the graph's type");
        };
        let mut whole = calibration.empty();
        observe(&mut whole, &rows);
        // Four processes: each observes its rows one at a time, and sends its observations as JSON.
        let mut merged = calibration.empty();
        for process in 0..4 {
            let mut part = calibration.empty();
            for row in rows.iter().filter(|row| row.2 == process) {
                observe(&mut part, std::slice::from_ref(row));
            }
            let sent = serde_json::to_string(&part[0]).expect("JSON");
            merged[0].merge(&serde_json::from_str(&sent).expect("what was written")).expect("the same observer");
        }
        prop_assert_eq!(&merged, &whole);
        Ok(())
    };
    runner.run(&(rows, kinds, axis), property).unwrap_or_else(|error| panic!("{error}"));
}

/// States stay on the device over batches of any size, and nothing is read back before `read_blocking`.
#[test]
fn calibration_on_a_device_is_that_of_the_reference() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(65);
    let mut graph = Graph::new();
    let rows = graph.extent("rows", 50)?;
    let x = graph.dynamic_input(TensorType::new(DType::Float32, [50, 3])?, [(0, rows)])?;
    let observers = [
        Observer::range(Granularity::Tensor),
        Observer::range(Granularity::Axis(1)),
        Observer::moving_average(Granularity::Tensor, 0.1),
        Observer::histogram(Granularity::Axis(1), Bins::new(128)?),
    ];
    let calibration = Calibration::new(&graph, &observers.map(|observer| (x, observer)))?;
    let mut expected = calibration.empty();
    let mut calibrator = calibration.on(&context)?;
    let before = context.counters();
    for rows in [50, 1, 17, 0, 50] {
        let batch = wild(&mut random, &[rows, 3], false);
        calibration.observe_reference(&mut expected, &[&batch])?;
        calibrator.observe(&[&context.upload(&batch)?])?;
    }
    let after = context.counters();
    assert_eq!((after.submissions - before.submissions, after.readbacks - before.readbacks), (5, 0));
    let half_way = calibrator.read_blocking()?;
    assert_eq!(half_way, expected);
    // Another calibrator continues from those observations.
    let mut calibrator = calibration.resume_on(&context, &half_way)?;
    let batch = tame(&mut random, &[4, 3]);
    calibration.observe_reference(&mut expected, &[&batch])?;
    calibrator.observe(&[&context.upload(&batch)?])?;
    assert_eq!(calibrator.read_blocking()?, expected);
    Ok(())
}

#[test]
fn bounds_of_a_known_distribution() -> Result<()> {
    let scheme = Scheme::symmetric(DType::Int4)?;
    // 1 … 1,000 and one outlier.
    let values: Vec<f32> = (1..=1000).map(|i| i as f32).chain([100_000.0]).collect();
    let op =
        ObserveHistogram::new(TensorType::float32([values.len()])?, Granularity::Tensor, Bins::of_width(4096, 100.0)?)?;
    let state = reference::run(&op.clone().into(), &[&Tensor::new([values.len()], values)?, &zeros(op.state())])?;
    let seen = Observation::Histograms(Histograms::from_state(&op, &state[0])?);
    let bounds = |clip| seen.bounds(clip, &scheme).map(|bounds| bounds[0]);
    assert_eq!(bounds(Clipping::MinMax)?, (1.0, 100_000.0));
    assert_eq!(bounds(Clipping::Percentile { percent: 99.0 })?, (1.0, 900.0));
    assert_eq!(bounds(Clipping::SymmetricPercentile { percent: 99.0 })?, (1.0, 900.0));
    // Clipping the outlier costs 99,000² once; keeping it costs the error of a step of 14,286 a thousand times.
    assert!(bounds(Clipping::Mse)?.1 > 50_000.0);
    Ok(())
}

#[test]
fn bad_input_is_refused() -> Result<()> {
    let message = |result: Result<()>| result.expect_err("it is wrong").to_string();
    let range = |rule| ObserveRange::new(TensorType::float32([4])?, Granularity::Tensor, rule);
    for (expected, result) in [
        ("averaging constant is 0,", range(RangeUpdate::MovingAverage { constant: 0.0 }).map(drop)),
        ("averaging constant is NaN,", range(RangeUpdate::MovingAverage { constant: f32::NAN }).map(drop)),
        ("15 bins", Bins::new(15).map(drop)),
        ("65536 bins", Bins::new(65_536).map(drop)),
        ("NaN wide", Bins::of_width(64, f32::NAN).map(drop)),
        ("axis 1", ObserveHistogram::new(TensorType::float32([4])?, Granularity::Axis(1), Bins::new(16)?).map(drop)),
        (
            "codes from 3 to 3",
            FakeQuantize::new(TensorType::float32([4])?, Grid::Step, Granularity::Tensor, (3, 3)).build().map(drop),
        ),
        (
            "has no levels",
            FakeQuantize::new(TensorType::float32([4])?, Grid::Range, Granularity::Tensor, (0, 3))
                .levels()
                .build()
                .map(drop),
        ),
        ("float32 has no quantization scheme", Scheme::symmetric(DType::Float32).map(drop)),
        ("uint8 codes have no negative side", Scheme::no_clipping(DType::Uint8).map(drop)),
    ] {
        let message = message(result);
        assert!(message.contains(expected), "\"{message}\" should say \"{expected}\"");
    }
    let op = range(RangeUpdate::MinMax)?;
    let empty = Observation::Ranges(Ranges::empty(&op));
    let scheme = Scheme::asymmetric(DType::Uint8)?;
    assert!(message(empty.quantization(Clipping::MinMax, &scheme).map(drop)).contains("has seen no finite number"));
    assert!(message(empty.quantization(Clipping::Mse, &scheme).map(drop)).contains("needs a histogram"));
    let moving = range(RangeUpdate::MovingAverage { constant: 0.5 })?;
    let mut seen = Ranges::empty(&moving);
    assert!(message(seen.merge(&Ranges::empty(&moving))).contains("order of batches"));
    assert!(message(Ranges::empty(&op).merge(&seen)).contains("don't go with"));
    // Inconsistent files.
    let op = ObserveHistogram::new(TensorType::float32([1])?, Granularity::Tensor, Bins::new(16)?)?;
    let state = reference::run(&op.clone().into(), &[&Tensor::new([1], vec![1.0f32])?, &zeros(op.state())])?;
    let file = serde_json::to_string(&Histograms::from_state(&op, &state[0])?).expect("JSON");
    assert!(serde_json::from_str::<Histograms>(&file).is_ok());
    for (good, bad, expected) in [
        ("\"count\":1", "\"count\":2", "hold 2"),
        ("\"bins\":16", "\"bins\":18", "should have 18"),
        ("\"bins\":16", "\"bins\":1", "a histogram of 1 bins"),
        ("\"bins\":16", "\"bins\":18446744073709551615", "a histogram of 18446744073709551615 bins"),
        ("\"width\":1.0", "\"width\":-1.0", "bins -1e0 wide"),
        ("\"least_level\":-126", "\"least_level\":-2147483648", "from level -2147483648 on"),
        ("\"level\":-2", "\"level\":1", "at level 1"),
        ("\"min\":1.0", "\"min\":9.0", "from 9 to 1"),
        ("\"max\":1.0", "\"max\":-9.0", "from 1 to -9"),
        ("\"histograms\":[", "\"histograms\":[],\"other\":[", "0 ranges"),
    ] {
        let broken = file.replacen(good, bad, 1);
        assert_ne!(broken, file, "{file} has no {good}");
        let error = serde_json::from_str::<Histograms>(&broken).expect_err(bad).to_string();
        assert!(error.contains(expected), "\"{error}\" should say \"{expected}\"");
    }
    for words in [vec![0, 0, 1, 0, 0, 0], vec![1, 0, 1, 0, 0, 0], vec![0, 0x7f80_0000, 1, 0, 0, 0]] {
        let state = Tensor::new([1, 6], words.clone())?;
        let got = Ranges::from_state(&range(RangeUpdate::MinMax)?, &state);
        assert_eq!(got.is_ok(), words[..2] == [0, 0], "{words:?}");
    }
    for (low, high, scale) in [(5, 3, ScaleRule::Span), (3, 3, ScaleRule::Span), (0, 255, ScaleRule::NoClipping)] {
        let message = message(Scheme::new(scale, (low, high)).map(drop));
        assert!(message.contains(&format!("codes from {low} to {high}")), "{message}");
    }
    Ok(())
}
