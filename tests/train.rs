//! Training ops: GPU equals reference (bit for bit or within the documented bound), gradients are slopes, the fake-quantized
//! network equals the integer network, and training improves accuracy. Observers and grids are in tests/observe.rs.

mod common;
#[path = "../examples/digits/network.rs"]
#[allow(dead_code, reason = "the int8 network is tests/digits.rs'")]
mod network;
#[path = "../examples/train/network.rs"]
mod train_network;

use common::{Random, check_op, check_op_within, context, first_difference};
use lowbit::ops::{
    ConvPass, CrossEntropyGradient, FakeRequantize, FakeRequantizeOutput, FloatConv, OptimizerRule, OptimizerStep,
    RequantParams, StepFromRange, Sum, Windows,
};
use lowbit::train::{ActivationSteps, Bits, Layer, Network, Options, Trainer};
use lowbit::{Granularity, Tensor, TensorType, Tuner, reference};
use network::{Digits, Result};
use train_network::{Split, float_network, train_index};

fn reals(random: &mut Random, dims: &[usize]) -> lowbit::Result<Tensor> {
    Tensor::new(dims, (0..dims.iter().product()).map(|_| random.real()).collect::<Vec<f32>>())
}

fn whole(random: &mut Random, dims: &[usize], most: i64) -> lowbit::Result<Tensor> {
    let count = dims.iter().product();
    Tensor::new(dims, (0..count).map(|_| random.integer(-most, most) as f32).collect::<Vec<f32>>())
}

/// Image, weights and windows by intent.
fn convolutions() -> Vec<(&'static str, [usize; 4], [usize; 4], Windows)> {
    let plain = Windows::default();
    let padded = plain.with_padding([1; 4]);
    vec![
        ("EMPTY_BATCH", [0, 4, 4, 3], [2, 3, 3, 3], padded),
        ("NO_CHANNEL", [2, 4, 4, 0], [2, 3, 3, 0], plain),
        ("NO_OUTPUT", [2, 4, 4, 3], [0, 3, 3, 3], plain),
        ("ONE", [1, 1, 1, 1], [1, 1, 1, 1], plain),
        ("CONNECTED", [7, 1, 1, 32], [10, 1, 1, 32], plain),
        ("FIRST", [3, 8, 8, 1], [16, 3, 3, 1], padded),
        ("DEPTHWISE", [3, 8, 8, 16], [16, 3, 3, 1], padded.with_groups(16)),
        ("MULTIPLIED", [2, 5, 5, 3], [12, 3, 3, 1], padded.with_groups(3)),
        ("GROUPS", [2, 5, 5, 12], [8, 3, 3, 3], padded.with_groups(4)),
        ("POINTWISE", [3, 4, 4, 16], [32, 1, 1, 16], plain),
        ("STRIDED", [2, 7, 6, 4], [4, 3, 3, 4], plain.with_stride([2, 3]).with_padding([1, 0, 2, 1])),
        ("PRIME", [5, 7, 11, 3], [5, 5, 2, 3], plain),
        ("MEAN", [3, 4, 4, 32], [32, 4, 4, 1], plain.with_groups(32)),
        ("TALL", [300, 4, 4, 1], [1, 3, 3, 1], padded),
    ]
}

#[test]
fn float_convolutions() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let (mut count, mut worst, mut random) = (0, 0.0f64, Random::new(71));
    for (name, image, weights, windows) in convolutions() {
        let conv = FloatConv::new(TensorType::float32(image)?, TensorType::float32(weights)?, windows);
        let output = conv.clone().build()?.output().dims().to_vec();
        let step = Tensor::new([1], vec![0.37f32])?;
        for pass in [ConvPass::Forward, ConvPass::ImageGradient, ConvPass::WeightGradient] {
            let shapes = match pass {
                ConvPass::Forward => [&image[..], &weights[..]],
                ConvPass::ImageGradient => [&output[..], &weights[..]],
                _ => [&image[..], &output[..]],
            };
            let op = conv.clone().pass(pass).build()?.into();
            let (a, b) = (reals(&mut random, shapes[0])?, reals(&mut random, shapes[1])?);
            let inputs = [&a, &b, &step];
            let inputs = &inputs[..if pass == ConvPass::WeightGradient { 3 } else { 2 }];
            let (candidates, error) = check_op_within(&context, &format!("{name}, {pass:?}"), &op, inputs);
            (count, worst) = (count + candidates, worst.max(error));
            // Sums of whole numbers are exact, so both must be equal.
            let (a, b) = (whole(&mut random, shapes[0], 100)?, whole(&mut random, shapes[1], 100)?);
            let one = Tensor::new([1], vec![1.0f32])?;
            let inputs = [&a, &b, &one];
            let inputs = &inputs[..if pass == ConvPass::WeightGradient { 3 } else { 2 }];
            let (got, expected) = (context.run_blocking(&op, inputs)?, reference::run(&op, inputs)?);
            assert_eq!(first_difference(&got[0], &expected[0]), None, "{name}, {pass:?}, whole numbers");
        }
    }
    println!("float convolutions: {count} combinations on {}, at most {worst:.3} of a bound", context.description());
    Ok(())
}

/// ⟨conv(x, w), g⟩ = ⟨x, image gradient⟩ = ⟨w, weight gradient⟩: each gradient is the slope of the same sum.
#[test]
fn gradients_of_convolutions_are_adjoint() -> Result<()> {
    let mut random = Random::new(72);
    for (name, image, weights, windows) in convolutions() {
        let conv = FloatConv::new(TensorType::float32(image)?, TensorType::float32(weights)?, windows);
        let (x, w) = (whole(&mut random, &image, 9)?, whole(&mut random, &weights, 9)?);
        let g = whole(&mut random, conv.clone().build()?.output().dims(), 9)?;
        let one = Tensor::new([1], vec![1.0f32])?;
        let run = |pass, inputs: &[&Tensor]| reference::run(&conv.clone().pass(pass).build()?.into(), inputs);
        let dot = |a: &Tensor, b: &Tensor| -> lowbit::Result<f64> {
            Ok(a.values::<f32>()?.iter().zip(b.values::<f32>()?).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum())
        };
        let forward = dot(&run(ConvPass::Forward, &[&x, &w])?[0], &g)?;
        assert_eq!(dot(&x, &run(ConvPass::ImageGradient, &[&g, &w])?[0])?, forward, "{name}, image");
        assert_eq!(dot(&w, &run(ConvPass::WeightGradient, &[&x, &g, &one])?[0])?, forward, "{name}, weights");
    }
    Ok(())
}

#[test]
fn stages_sums_and_steps() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let (mut count, mut worst, mut random) = (0, 0.0f64, Random::new(73));
    for shape in [vec![0, 3], vec![1, 1], vec![5, 3], vec![2, 3, 7], vec![3, 8195], vec![4099, 5]] {
        let channels = *shape.last().expect("a dimension");
        let step = |random: &mut Random| Tensor::new([1], vec![random.scale()]);
        let steps: Vec<f32> = (0..channels).map(|_| random.scale()).collect();
        let (x, w, y) = (step(&mut random)?, Tensor::new([channels], steps)?, step(&mut random)?);
        let bias = reals(&mut random, &[channels])?;
        let table: lowbit::ops::Op = RequantParams::new(TensorType::float32([channels])?)?.into();
        count += check_op(&context, "table", &table, &[&x, &w, &bias, &y]);
        let table = reference::run(&table, &[&x, &w, &bias, &y])?.remove(0);
        let (sums, dy) = (whole(&mut random, &shape, 20_000)?, reals(&mut random, &shape)?);
        for codes in [(0, 15), (0, 255), (-8, 7)] {
            for makes in [FakeRequantizeOutput::Levels, FakeRequantizeOutput::Real] {
                let op = FakeRequantize::new(TensorType::float32(&shape[..])?, makes, codes).build()?;
                count += check_op(&context, "requantized", &op.into(), &[&sums, &table]);
            }
            let gradient =
                FakeRequantize::new(TensorType::float32(&shape[..])?, FakeRequantizeOutput::Gradient, codes).build()?;
            count += check_op(&context, "gradient", &gradient.into(), &[&sums, &table, &dy]);
            let step = FakeRequantize::new(TensorType::float32(&shape[..])?, FakeRequantizeOutput::StepGradient, codes)
                .gradient_scale(0.1)
                .build()?;
            let (candidates, error) = check_op_within(&context, "step", &step.into(), &[&sums, &table, &dy]);
            (count, worst) = (count + candidates, worst.max(error));
        }
        for granularity in [Granularity::Tensor, Granularity::Axis(shape.len() - 1), Granularity::Axis(0)] {
            let op = Sum::new(TensorType::float32(&shape[..])?, granularity)?;
            let (candidates, error) = check_op_within(&context, "sum", &op.into(), &[&dy]);
            (count, worst) = (count + candidates, worst.max(error));
        }
    }
    for (rows, classes) in [(0, 3), (1, 1), (7, 10), (300, 3), (3, 1000)] {
        let logits: Vec<f32> = (0..rows * classes).map(|_| 20.0 * random.real()).collect();
        let labels: Vec<i32> = (0..rows).map(|_| random.integer(-1, classes as i64) as i32).collect();
        let op = CrossEntropyGradient::new(TensorType::float32([rows, classes])?)?;
        let inputs = [&Tensor::new([rows, classes], logits)?, &Tensor::new([rows], labels)?];
        let (candidates, error) = check_op_within(&context, "cross-entropy", &op.into(), &inputs);
        (count, worst) = (count + candidates, worst.max(error));
    }
    for rule in [OptimizerRule::adam(), OptimizerRule::Sgd { momentum: 0.9 }] {
        for n in [0, 1, 5, 1000] {
            let op = OptimizerStep::new(TensorType::float32([n])?, rule).at_least(-0.5).build()?;
            let moments = if rule == OptimizerRule::adam() { 2 } else { 1 };
            let wild = |i: usize, x: f32| match i % 7 {
                0 => x * 1e-30,
                1 if i.is_multiple_of(2) => f32::NAN,
                1 => f32::NEG_INFINITY,
                2 => 1e25 * x,
                _ => x,
            };
            let gradient = reals(&mut random, &[n])?;
            let gradient: Vec<f32> = gradient.values::<f32>()?.iter().enumerate().map(|(i, &x)| wild(i, x)).collect();
            let memory: Vec<f32> =
                reals(&mut random, &[moments, n])?.values::<f32>()?.iter().map(|x| x.abs()).collect();
            let inputs = [
                &reals(&mut random, &[n])?,
                &Tensor::new([n], gradient)?,
                &Tensor::new([moments, n], memory)?,
                &Tensor::new([1], vec![0.01f32])?,
            ];
            count += check_op(&context, &format!("{rule:?}"), &op.into(), &inputs);
        }
    }
    println!("training: {count} combinations on {}, at most {worst:.3} of a bound", context.description());
    Ok(())
}

fn cross_entropy(logits: &[f32], labels: &[i32]) -> f64 {
    let classes = logits.len() / labels.len();
    let row = |(row, &label): (&[f32], &i32)| {
        let most = row.iter().copied().fold(f32::MIN, f32::max);
        let total: f64 = row.iter().map(|&x| f64::from(x - most).exp()).sum();
        total.ln() - f64::from(row[label as usize] - most)
    };
    logits.chunks_exact(classes).zip(labels).map(row).sum::<f64>() / labels.len() as f64
}

#[test]
fn the_gradient_of_cross_entropy_is_its_slope() -> Result<()> {
    let mut random = Random::new(74);
    let (rows, classes) = (5, 7);
    let logits = reals(&mut random, &[rows, classes])?;
    let labels: Vec<i32> = (0..rows).map(|_| random.integer(0, classes as i64 - 1) as i32).collect();
    let op = CrossEntropyGradient::new(TensorType::float32([rows, classes])?)?.into();
    let gradient = reference::run(&op, &[&logits, &Tensor::new([rows], labels.clone())?])?.remove(0);
    for (i, &got) in gradient.values::<f32>()?.iter().enumerate() {
        let loss = |change: f32| -> lowbit::Result<f64> {
            let mut moved = logits.values::<f32>()?.to_vec();
            moved[i] += change;
            Ok(cross_entropy(&moved, &labels))
        };
        let slope = (loss(1e-2)? - loss(-1e-2)?) / 2e-2;
        assert!((f64::from(got) - slope).abs() < 1e-5, "logit {i}: {got} should be {slope}");
    }
    Ok(())
}

/// The whole backward pass against finite differences of the float network's loss. With 8 bits they agree to some percent.
#[test]
fn gradients_of_a_network_are_the_slopes_of_its_loss() -> Result<()> {
    const IMAGES: usize = 32;
    let digits = Digits::load()?;
    let index = train_index()?;
    let batch = Split::of(&digits, &index[..IMAGES])?;
    // Random weights, so that the loss is not near 0.
    let network = float_network()?.randomized(5)?;
    let quantized = network.quantized(&[Bits::new(8, 8)], &batch.images)?;
    let labels: Vec<i32> = batch.labels.iter().map(|&label| label as i32).collect();
    let (graph, names) = quantized.gradients(IMAGES)?;
    let mut inputs = quantized.inputs(&batch.images)?;
    inputs.insert(1, Tensor::new([IMAGES], labels.clone())?);
    let gradients = graph.run_reference(&inputs.iter().collect::<Vec<_>>())?;
    let mut checked = 0;
    // All weights or all biases of a layer move together along their gradient.
    for (name, gradient) in names.iter().zip(&gradients).filter(|(name, _)| !name.starts_with("step")) {
        let place: usize = name.rsplit(' ').next().ok_or("a name")?.parse()?;
        let direction = gradient.values::<f32>()?;
        let squares: f64 = direction.iter().map(|&g| f64::from(g) * f64::from(g)).sum();
        let size = (0.01 / squares.sqrt()) as f32;
        let loss = |sign: f32| -> Result<f64> {
            let moved = |of: &Tensor| -> lowbit::Result<Tensor> {
                let values = of.values::<f32>()?.iter().zip(direction).map(|(&p, &g)| p + sign * size * g);
                Tensor::new(of.dims(), values.collect::<Vec<f32>>())
            };
            let mut layers = network.layers().to_vec();
            let Layer::Conv { weights, bias, .. } = &mut layers[place] else {
                return Err("a mean learns nothing".into());
            };
            if name.starts_with("weights") {
                *weights = moved(weights)?;
            } else {
                *bias = moved(bias)?;
            }
            let logits = Network::new([8, 8, 1], layers)?.activations(&batch.images)?.pop().ok_or("logits")?;
            Ok(cross_entropy(logits.values::<f32>()?, &labels))
        };
        let slope = (loss(1.0)? - loss(-1.0)?) / (2.0 * f64::from(size));
        assert!(
            (slope / squares - 1.0).abs() < 0.15,
            "{name}: the slope is {slope:e}, the gradient's square {squares:e}"
        );
        checked += 1;
    }
    assert_eq!(checked, 10);
    Ok(())
}

#[test]
fn the_integer_network_has_the_bits_of_the_fake_one() -> Result<()> {
    let digits = Digits::load()?;
    let index = train_index()?;
    let (calibration, test) = (Split::of(&digits, &index[..64])?, Split::of(&digits, &digits.test_index[..40])?);
    let float = float_network()?;
    let context = context();
    for (weights, activations) in [(2, 4), (3, 3), (4, 4), (4, 8), (8, 8)] {
        let quantized = float.quantized(&[Bits::new(weights, activations)], &calibration.images)?;
        let inputs = quantized.inputs(&test.images)?;
        let inputs: Vec<&Tensor> = inputs.iter().collect();
        let (fake, integer) = (quantized.fake(40)?, quantized.integer(40)?);
        let expected = integer.run_reference(&[&test.images])?.remove(0);
        let name = format!("W{weights}A{activations}");
        assert_eq!(first_difference(&fake.run_reference(&inputs)?[0], &expected), None, "{name}: reference");
        if weights == 8 {
            assert!(test.accuracy(&expected)? > 0.95, "{name}");
        }
        let Some(context) = &context else { continue };
        let fake = context.plan(&fake, Tuner::FirstGuess)?.run_blocking(&inputs)?;
        assert_eq!(first_difference(&fake[0], &expected), None, "{name}: fake, GPU");
        let integer = context.plan(&integer, Tuner::FirstGuess)?.run_blocking(&[&test.images])?;
        assert_eq!(first_difference(&integer[0], &expected), None, "{name}: integer, GPU");
    }
    Ok(())
}

/// The gradient of a step is the slope of a loss. Outside the range of codes that is the slope of `code · step`. Inside, LSQ keeps
/// each number's rounding distance fixed: `(x / step + distance) · step`.
#[test]
fn the_gradient_of_an_activation_step_is_a_slope() -> Result<()> {
    let mut random = Random::new(75);
    let (rows, channels, codes) = (40, 3, (0, 15));
    let shape = [rows, 1, 1, channels];
    let whole = |x: f32| (20.0 * x).round();
    let sums: Vec<f32> = reals(&mut random, &shape)?.values::<f32>()?.iter().map(|&x| whole(x)).collect();
    let (sums, dy) = (Tensor::new(shape, sums)?, reals(&mut random, &shape)?);
    let [x, weights, bias] = [vec![0.25f32], vec![0.5, 0.3, 0.4], vec![0.7, -0.2, 1.1]];
    let [x, weights, bias] = [Tensor::new([1], x)?, Tensor::new([3], weights)?, Tensor::new([3], bias)?];
    let table = |step: f32| -> Result<Tensor> {
        let inputs = [&x, &weights, &bias, &Tensor::new([1], vec![step])?];
        Ok(reference::run(&RequantParams::new(TensorType::float32([channels])?)?.into(), &inputs)?.remove(0))
    };
    let at = 0.21f32;
    let gradient =
        FakeRequantize::new(TensorType::float32(shape)?, FakeRequantizeOutput::StepGradient, codes).build()?;
    let got = reference::run(&gradient.into(), &[&sums, &table(at)?, &dy])?[0].values::<f32>()?[0];
    let real = FakeRequantize::new(TensorType::float32(shape)?, FakeRequantizeOutput::Real, (0, 1)).build()?;
    let real = reference::run(&real.into(), &[&sums, &table(at)?])?.remove(0);
    let loss = |step: f64| -> Result<f64> {
        let term = |(&v, &dy): (&f32, &f32)| {
            let (steps, dy) = (f64::from(v) / f64::from(at), f64::from(dy));
            let code = match steps {
                ..=0.0 => 0.0,
                15.0.. => 15.0,
                steps => f64::from(v) / step + (steps.round_ties_even() - steps),
            };
            code * step * dy
        };
        Ok(real.values::<f32>()?.iter().zip(dy.values::<f32>()?).map(term).sum())
    };
    let (step, change) = (f64::from(at), 1e-7);
    let slope = (loss(step + change)? - loss(step - change)?) / (2.0 * change);
    assert!((f64::from(got) - slope).abs() < 1e-4 * (1.0 + slope.abs()), "{got} should be {slope}");
    Ok(())
}

/// The step of a range, exactly.
#[test]
fn steps_follow_ranges() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(76);
    for ranges in [0, 1, 5, 300] {
        let bound = |i: usize, x: f32| match i % 7 {
            0 => 0.0,
            1 => x * 1e-38,
            2 => x * 1e37,
            _ => x,
        };
        let mut states = Vec::new();
        for i in 0..ranges {
            let (a, b) = (bound(i, random.real()), bound(i + i / 7, random.real()));
            states.extend([a.min(b).to_bits() as i32, a.max(b).to_bits() as i32, 4, 0, 0, 0]);
        }
        let inputs = [&Tensor::new([ranges, 6], states)?, &reals(&mut random, &[ranges])?];
        for codes in [(0, 15), (-8, 7), (-1, 0), (0, 1 << 24)] {
            check_op(
                &context,
                &format!("{ranges} ranges, {codes:?}"),
                &StepFromRange::new(TensorType::int32([ranges, 6])?, codes)?.into(),
                &inputs,
            );
        }
    }
    assert!(
        StepFromRange::new(TensorType::int32([1, 6])?, (1, 3)).is_err()
            && StepFromRange::new(TensorType::int32([1, 6])?, (0, 0)).is_err()
    );
    Ok(())
}

/// Activation steps from moving averages of ranges: the network learns, and its integer network still has equal bits.
#[test]
fn ranges_may_be_moving_averages() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let digits = Digits::load()?;
    let index = train_index()?;
    let (train, test) = (Split::of(&digits, &index[..240])?, Split::of(&digits, &digits.test_index[..60])?);
    let begin = float_network()?.quantized(&[Bits::new(4, 8)], &train.images)?;
    let activations = ActivationSteps::MovingAverage { constant: 0.1 };
    let options = Options::default().with_epochs(1).with_activations(activations);
    let mut trainer = Trainer::new(&context, begin.clone(), &train.images, &train.labels, options)?;
    trainer.epoch()?;
    let trained = trainer.read_blocking()?;
    assert_eq!(trained.steps()[0], begin.steps()[0], "the images' own step stays");
    // The float network's activations reach about the range that the average follows.
    let floats = trained.network().activations(&train.images)?;
    for (layer, (step, of)) in trained.steps().iter().zip(&floats).enumerate().skip(1) {
        let reach = of.values::<f32>()?.iter().copied().fold(0.0f32, f32::max) / 255.0;
        assert!((0.6..1.5).contains(&(step / reach)), "layer {layer}: the step is {step}, the range asks for {reach}");
    }
    let inputs = trained.inputs(&test.images)?;
    let inputs: Vec<&Tensor> = inputs.iter().collect();
    let integer = context.plan(&trained.integer(60)?, Tuner::FirstGuess)?.run_blocking(&[&test.images])?.remove(0);
    let fake = context.plan(&trained.fake(60)?, Tuner::FirstGuess)?.run_blocking(&inputs)?.remove(0);
    assert_eq!(first_difference(&fake, &integer), None);
    assert!(test.accuracy(&integer)? > 0.9);
    let odd = ActivationSteps::MovingAverage { constant: 0.0 };
    let refused = Trainer::new(&context, begin, &train.images, &train.labels, options.with_activations(odd));
    assert!(refused.expect_err("it is wrong").to_string().contains("the averaging constant is 0"));
    Ok(())
}

/// A short training recovers accuracy lost by rounding to 4 bits.
#[test]
fn training_learns() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let digits = Digits::load()?;
    let index = train_index()?;
    let (train, test) = (Split::of(&digits, &index[..480])?, Split::of(&digits, &digits.test_index)?);
    let begin = float_network()?.quantized(&[Bits::new(4, 4)], &train.images)?;
    let options = Options::default().with_epochs(2);
    let mut trainer = Trainer::new(&context, begin.clone(), &train.images, &train.labels, options)?;
    let before = context.counters();
    trainer.epoch()?;
    trainer.epoch()?;
    assert_eq!(context.counters().readbacks, before.readbacks, "training reads nothing back");
    let trained = trainer.read_blocking()?;
    let accuracy = |quantized: &lowbit::train::Quantized| -> Result<f64> {
        let logits = context.plan(&quantized.integer(360)?, Tuner::FirstGuess)?.run_blocking(&[&test.images])?;
        test.accuracy(&logits[0])
    };
    let (begin, trained) = (accuracy(&begin)?, accuracy(&trained)?);
    println!("W4A4: {:.2} % before, {:.2} % after 2 epochs of 480 images", 100.0 * begin, 100.0 * trained);
    assert!(trained > 0.96 && trained > begin, "{begin} became {trained}");
    Ok(())
}

#[test]
fn bad_input_is_refused() -> Result<()> {
    let message = |result: std::result::Result<(), lowbit::Error>| result.expect_err("it is wrong").to_string();
    let plain = Windows::default();
    let layer = |weights: Vec<f32>| -> lowbit::Result<Layer> {
        Ok(Layer::Conv {
            weights: Tensor::new([2, 1, 1, 2], weights)?,
            bias: Tensor::new([2], vec![0.0f32; 2])?,
            windows: plain,
        })
    };
    let network = Network::new([1, 1, 2], vec![layer(vec![1.0; 4])?])?;
    let images = Tensor::new([1, 1, 1, 2], vec![1.0f32, 0.5])?;
    let bits = |weights, activations| [Bits::new(weights, activations)];
    for (expected, result) in [
        (
            "as large as the kernel",
            FloatConv::new(
                TensorType::float32([1, 4, 4, 1])?,
                TensorType::float32([1, 3, 3, 1])?,
                plain.with_padding([3, 0, 0, 0]),
            )
            .build()
            .map(drop),
        ),
        (
            "3 channels and 2 outputs in 2 groups",
            FloatConv::new(
                TensorType::float32([1, 4, 4, 3])?,
                TensorType::float32([2, 3, 3, 1])?,
                plain.with_groups(2),
            )
            .build()
            .map(drop),
        ),
        (
            "with stride 0",
            FloatConv::new(
                TensorType::float32([1, 4, 4, 1])?,
                TensorType::float32([1, 3, 3, 1])?,
                plain.with_stride([0, 1]),
            )
            .build()
            .map(drop),
        ),
        (
            "momentum is 1,",
            OptimizerStep::new(TensorType::float32([1])?, OptimizerRule::Sgd { momentum: 1.0 }).build().map(drop),
        ),
        ("a weight of layer 0 is NaN", Network::new([1, 1, 2], vec![layer(vec![f32::NAN; 4])?]).map(drop)),
        ("must end with a convolution", Network::new([2, 1, 2], vec![layer(vec![1.0; 4])?]).map(drop)),
        ("or is the last", Network::new([1, 1, 2], vec![Layer::GlobalAverage]).map(drop)),
        ("both may be 2 to 8", network.quantized(&bits(1, 8), &images).map(drop)),
        ("given for 2 layers", network.quantized(&[bits(4, 4), bits(4, 4)].concat(), &images).map(drop)),
        (
            "has seen no finite number",
            network.quantized(&bits(4, 4), &Tensor::new([0, 1, 1, 2], Vec::<f32>::new())?).map(drop),
        ),
        ("not negative", network.quantized(&bits(4, 4), &Tensor::new([1, 1, 1, 2], vec![-1.0f32, 0.0])?).map(drop)),
    ] {
        let message = message(result);
        assert!(message.contains(expected), "\"{message}\" should say \"{expected}\"");
    }
    let Some(context) = context() else { return Ok(()) };
    let quantized = network.quantized(&bits(4, 4), &images)?;
    let train =
        |labels: &[usize], options| Trainer::new(&context, quantized.clone(), &images, labels, options).map(drop);
    assert!(message(train(&[2], Options::default())).contains("a label is 2, but the network has 2 classes"));
    assert!(message(train(&[], Options::default())).contains("1 images and 0 labels"));
    assert!(message(train(&[0], Options::default().with_batch(0))).contains("a batch of 0 images"));
    Ok(())
}
