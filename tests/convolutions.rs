//! Convolutions of every kind over random shapes: every candidate against the reference, bit for bit. Other tests check other ops
//! and the reference itself.

mod common;

use std::collections::BTreeSet;

use common::{Random, check_op, check_op_within, context};
use half::f16;
use lowbit::numeric::QuantizationParams;
use lowbit::ops::{Conv, ConvBuilder, LinearConv, Matmul, Op, Output, Padding, Quantize, Requantization, Unfold};
use lowbit::weights::{Codes, GroupParams, PackedWeights, ScaleFormat, WeightFormat};
use lowbit::{
    Context, DType, DeviceTensor, Granularity, Graph, Quantization, Result, Rounding, Tensor, TensorType, Tuner,
    kernels, reference,
};

/// A window over random spatial dimensions, never larger than the padded image.
#[derive(Debug, Clone)]
struct Geometry {
    spatial: Vec<usize>,
    kernel: Vec<usize>,
    stride: Vec<usize>,
    dilation: Vec<usize>,
    padding: Padding,
}

impl Geometry {
    fn random(random: &mut Random, rank: usize, most: i64) -> Self {
        let mut pick = |low: i64, high: i64| (0..rank).map(|_| random.integer(low, high) as usize).collect::<Vec<_>>();
        let (kernel, stride, dilation) = (pick(1, 3), pick(1, 3), pick(1, 2));
        let (begin, end) = (pick(0, 2), pick(0, 2));
        let reach = kernel.iter().zip(&dilation).map(|(k, d)| (k - 1) * d);
        let spatial = pick(1, most).iter().zip(reach).map(|(s, reach)| s + reach).collect();
        let padding = match random.next() % 5 {
            0 => Padding::None,
            1 => Padding::SameUpper,
            2 => Padding::SameLower,
            _ => Padding::Explicit { begin, end },
        };
        Self { spatial, kernel, stride, dilation, padding }
    }
}

#[test]
fn patches() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let (mut count, mut random) = (0, Random::new(20));
    let formats = [DType::Int8, DType::Uint8, DType::Uint4, DType::Int2, DType::Int16];
    for case in 0..72 {
        let rank = random.pick(&[1usize, 2, 2, 3]);
        let geometry = Geometry::random(&mut random, rank, 5);
        let groups = random.pick(&[1usize, 1, 2, 3]);
        let channels = groups * random.pick(&[1usize, 2, 3, 4, 8, 16, 17]);
        let batch = if case % 12 == 0 { 0 } else { random.pick(&[1usize, 2]) };
        let dims = [&[batch], &geometry.spatial[..], &[channels]].concat();
        let elements = dims.iter().product::<usize>();
        let values: Vec<f32> = (0..elements).map(|_| random.real()).collect();
        let (image, parameters) = match case % 9 {
            0 => (Tensor::new(&dims[..], values)?, None),
            1 => (Tensor::new(&dims[..], values.into_iter().map(f16::from_f32).collect::<Vec<_>>())?, None),
            2 => (random.codes(DType::Uint8, &dims), Some(random.zero_point(DType::Uint8))),
            8 => (random.codes(DType::Int32, &dims), None),
            kind => (random.quantized(formats[kind - 3], &dims), None),
        };
        let unfold = Unfold::new(image.tensor_type().clone(), geometry.kernel.clone())
            .stride(geometry.stride.clone())
            .dilation(geometry.dilation.clone())
            .padding(geometry.padding.clone());
        let unfold = if groups > 1 { unfold.groups(groups) } else { unfold };
        let unfold = if case % 4 == 3 { unfold.transposed().output_padding(vec![4; rank]) } else { unfold };
        let unfold = if parameters.is_some() { unfold.dynamic_image() } else { unfold };
        let parameters =
            parameters.map(|zero| Tensor::new([1], vec![QuantizationParams::new(0.5, zero)])).transpose()?;
        let op: Op = unfold.build()?.into();
        // A single image larger than a binding can't be divided and is refused.
        if op.outputs()[0].device_bytes() > context.caps().binding_bytes {
            continue;
        }
        let inputs: Vec<&Tensor> = [Some(&image), parameters.as_ref()].into_iter().flatten().collect();
        let name = format!("patches {case} of {} in {groups} groups, {geometry:?}", image.tensor_type());
        count += check_op(&context, &name, &op, &inputs);
    }
    println!("unfold: {count} combinations on {}", context.description());
    Ok(())
}

/// Properties that select programs. Everything else may differ between convolutions without another compilation.
#[derive(Debug, Clone, Copy)]
struct Setting {
    lhs: DType,
    weights: DType,
    /// True if zero points of weights are random; otherwise each dtype has its neutral one, which kernels treat as no zero point.
    zero_points: bool,
    output: Stage,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    Accumulator,
    Float32,
    Float16,
    Codes(Rounding),
}

const IMAGES: [DType; 2] = [DType::Int8, DType::Uint8];
const WEIGHTS: [DType; 6] = [DType::Int8, DType::Uint8, DType::Int4, DType::Uint4, DType::Int2, DType::Uint2];
const STAGES: [Stage; 6] = [
    Stage::Accumulator,
    Stage::Float32,
    Stage::Float16,
    Stage::Codes(Rounding::Onnx),
    Stage::Codes(Rounding::FixedSingle),
    Stage::Codes(Rounding::FixedDouble),
];

/// Settings in which every candidate runs. A software driver takes most of a second to compile some programs, so there are only
/// six: each dtype of weights and each output stage occurs once.
const SETTINGS: [Setting; 6] = {
    use DType::{Int2, Int4, Int8, Uint2, Uint4, Uint8};
    use Stage::{Accumulator, Codes, Float16, Float32};
    const fn setting(lhs: DType, weights: DType, zero_points: bool, output: Stage) -> Setting {
        Setting { lhs, weights, zero_points, output }
    }
    [
        setting(Int8, Uint2, true, Accumulator),
        setting(Uint8, Uint8, true, Codes(Rounding::FixedSingle)),
        setting(Uint8, Int4, true, Float32),
        setting(Uint8, Int8, false, Codes(Rounding::Onnx)),
        setting(Int8, Uint4, false, Float16),
        setting(Int8, Int2, true, Codes(Rounding::FixedDouble)),
    ]
};

/// One draw in `ANY` has a random setting of all, and runs one candidate.
const ANY: usize = 16;

/// Number of drawn convolutions: `LOWBIT_CONVOLUTIONS`, or a number that takes about a minute. It is smaller with reduced limits,
/// which run the same programs.
fn draws() -> usize {
    let given = std::env::var("LOWBIT_CONVOLUTIONS").ok().and_then(|count| count.parse().ok());
    given.unwrap_or(if common::limits().is_some() { 300 } else { 2000 })
}

/// Settings that contain every pair of weight dtype and output stage. With `LOWBIT_CONVOLUTIONS_PAIRS` every candidate runs in
/// these instead, which are many programs to compile.
fn pairs() -> Option<Vec<Setting>> {
    std::env::var_os("LOWBIT_CONVOLUTIONS_PAIRS")?;
    let setting = |(w, o): (usize, usize)| Setting {
        lhs: IMAGES[(w + o) % 2],
        weights: WEIGHTS[w],
        zero_points: (w + o) / 2 % 2 == 1,
        output: STAGES[o],
    };
    Some((0..WEIGHTS.len()).flat_map(|w| (0..STAGES.len()).map(move |o| (w, o))).map(setting).collect())
}

/// A random setting of all.
fn any_setting(random: &mut Random) -> Setting {
    let (lhs, weights) = (random.pick(&IMAGES), random.pick(&WEIGHTS));
    Setting { lhs, weights, zero_points: random.next().is_multiple_of(2), output: random.pick(&STAGES) }
}

/// A random convolution in a setting, its image, and its name.
fn convolution(random: &mut Random, setting: Setting, case: usize) -> Result<(Op, Tensor, String)> {
    let rank = random.pick(&[1usize, 1, 2, 2, 2, 3]);
    let mut geometry = Geometry::random(random, rank, if rank == 3 { 3 } else { 6 });
    // Two settings can have pointwise convolutions, which are matmuls; three can have transposed convolutions.
    let kind = case % SETTINGS.len();
    if kind > 1 && geometry.kernel.iter().all(|&size| size == 1) {
        geometry.stride[0] = 2;
    }
    let (groups, per_group) = match case % 5 {
        0 => (random.pick(&[2usize, 3, 4, 5, 8, 17, 19]), 1),
        1 => (random.pick(&[2usize, 3, 5]), random.pick(&[2usize, 3, 4, 7, 16, 17])),
        2 => (2, random.pick(&[16usize, 32])),
        3 => (1, random.pick(&[1usize, 2, 3, 4])),
        _ => (1, random.pick(&[1usize, 5, 7, 8, 15, 16, 17, 20, 33, 48])),
    };
    let outputs =
        groups * random.pick(if groups > 3 { &[1usize, 1, 2, 3][..] } else { &[1, 2, 3, 4, 5, 8, 13, 16, 17] });
    let batch = if case.is_multiple_of(97) { 0 } else { random.pick(&[1usize, 1, 2, 3]) };
    let image = random.quantized(setting.lhs, &[&[batch], &geometry.spatial[..], &[groups * per_group]].concat());
    let dims = [&[outputs], &geometry.kernel[..], &[per_group]].concat();
    let neutral = match setting.weights {
        DType::Uint8 => 128,
        DType::Int4 => -8,
        DType::Int2 => -2,
        _ => 0,
    };
    let zero_point =
        |random: &mut Random| if setting.zero_points { random.zero_point(setting.weights) } else { neutral };
    let weights = random.codes(setting.weights, &dims).quantized(if random.next().is_multiple_of(2) {
        Quantization::tensor(random.scale(), zero_point(random))
    } else {
        let scales: Vec<f32> = (0..outputs).map(|_| random.scale()).collect();
        let zero_points: Vec<i32> = (0..outputs).map(|_| zero_point(random)).collect();
        Quantization::new(Granularity::Axis(0), scales, zero_points)
    })?;
    let terms = geometry.kernel.iter().product::<usize>() * per_group;
    let output = match setting.output {
        Stage::Accumulator => Output::Accumulator,
        Stage::Float32 => Output::real(),
        Stage::Float16 => Output::Float16 { low: -2.0, high: f32::INFINITY },
        Stage::Codes(rounding) => {
            let dtype = random.pick(&[DType::Int8, DType::Uint8]);
            let zero_point = random.zero_point(dtype);
            Requantization::new(dtype, 0.03 * (terms as f32).sqrt(), zero_point)?.rounding(rounding).into()
        }
    };
    let mut conv = Conv::new(image.tensor_type().clone(), weights)
        .stride(geometry.stride.clone())
        .dilation(geometry.dilation.clone())
        .padding(geometry.padding.clone())
        .groups(groups)
        .output(output);
    if random.next().is_multiple_of(2) {
        let bias: Vec<i32> = (0..outputs).map(|_| random.integer(-5000, 5000) as i32).collect();
        conv = conv.bias(Tensor::new([outputs], bias)?);
    }
    let transposed = kind < 3 && random.next().is_multiple_of(2);
    let mut more = String::new();
    if transposed {
        conv = conv.transposed();
        let explicit = matches!(geometry.padding, Padding::Explicit { .. });
        match random.next() % 3 {
            0 if !explicit => {}
            // Larger than the padding, so that something is left.
            0 | 1 => {
                let padding: Vec<usize> = (0..rank).map(|_| random.integer(4, 6) as usize).collect();
                more = format!(", output padding {padding:?}");
                conv = conv.output_padding(padding);
            }
            _ => {
                let size: Vec<usize> = (0..rank).map(|_| random.integer(1, 9) as usize).collect();
                more = format!(", output size {size:?}");
                conv = conv.output_size(size);
            }
        }
    }
    let name = format!(
        "{}convolution {case} of {} by {dims:?} in {groups} groups, {geometry:?}{more}, {setting:?}",
        if transposed { "transposed " } else { "" },
        image.tensor_type()
    );
    Ok((conv.build()?.into(), image, name))
}

/// Runs every candidate, or the candidate chosen by `only`, in one submission, each with a poisoned output. Compares the words with
/// the reference's, padding included. Returns the labels of the candidates that ran.
fn check_words(context: &Context, name: &str, op: &Op, input: &Tensor, only: Option<u64>) -> Result<Vec<String>> {
    let expected = lowbit::pack::words(&reference::run(op, &[input])?[0]);
    let output_type = op.outputs().swap_remove(0);
    let graph = Graph::of(op.clone())?;
    let all = kernels::candidates(op, &context.caps());
    let mut candidates: Vec<_> = all.into_iter().map(|candidate| candidate.label).enumerate().collect();
    if let Some(only) = only {
        candidates = vec![candidates.swap_remove(only as usize % candidates.len())];
    }
    let (device, queue) = (context.device(), context.queue());
    let stride = output_type.device_bytes().next_multiple_of(256);
    let words = stride as usize / 4;
    let outputs = device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: stride * candidates.len() as u64,
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    queue.write_buffer(&outputs, 0, bytemuck::cast_slice(&vec![0xdead_beefu32; words * candidates.len()]));
    let image = context.upload(input)?;
    let mut encoder = device.create_command_encoder(&Default::default());
    for (place, &(index, _)) in candidates.iter().enumerate() {
        let plan = context.plan(&graph, Tuner::Nth(index))?;
        let output = DeviceTensor::from_buffer(output_type.clone(), outputs.clone(), stride * place as u64)?;
        plan.record(&mut encoder, &plan.bind(&[&image], &[&output])?)?;
    }
    queue.submit([encoder.finish()]);
    let all = TensorType::new(DType::Int32, [words * candidates.len()])?;
    let all = context.download_blocking(&DeviceTensor::from_buffer(all, outputs, 0)?)?;
    for ((_, label), got) in candidates.iter().zip(all.values::<i32>()?.chunks_exact(words)) {
        let differ = expected.iter().zip(got).position(|(&expected, &got)| expected != got as u32);
        if let Some(word) = differ {
            panic!("{name}, candidate \"{label}\": word {word} is {:#x}, expected {:#x}", got[word], expected[word]);
        }
    }
    Ok(candidates.into_iter().map(|(_, label)| label).collect())
}

/// Random convolutions over all parameters: every candidate, bit for bit. Compiling takes the time, so a call covers every second
/// setting; one draw in [`ANY`] has any setting.
fn convolutions(half: usize) -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let (mut drawn, mut count, mut transposed, mut labels) = (0, 0, 0, BTreeSet::new());
    let pairs = pairs();
    for case in (half..draws()).step_by(2) {
        let mut random = Random::new(1000 + case as u64);
        let any = pairs.is_none() && (case / 2).is_multiple_of(ANY);
        let setting = match &pairs {
            Some(pairs) => pairs[case / SETTINGS.len() % pairs.len()],
            None if any => any_setting(&mut random),
            None => SETTINGS[case % SETTINGS.len()],
        };
        let (op, image, name) = convolution(&mut random, setting, case)?;
        let ran = check_words(&context, &name, &op, &image, any.then(|| random.next()))?;
        (drawn, count) = (drawn + 1, count + ran.len());
        labels.extend(ran);
        transposed += usize::from(op.name() == "conv_transpose");
        // Bounds of every access for some of them; this compiles each program again.
        if case < 10 * SETTINGS.len() && case % SETTINGS.len() < 2 && !any {
            count += check_op(&context, &name, &op, &[&image]);
        }
    }
    println!(
        "{drawn} convolutions, {transposed} of them transposed: {count} combinations of {} kernels on {}",
        labels.len(),
        context.description()
    );
    Ok(())
}

#[test]
fn convolutions_of_even_settings() -> Result<()> {
    convolutions(0)
}

#[test]
fn convolutions_of_odd_settings() -> Result<()> {
    convolutions(1)
}

/// A convolution with a kernel of one pixel equals a matrix product, for every kernel that computes it.
#[test]
fn one_tap_is_a_matmul() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(30);
    for [batch, height, width, channels, outputs] in [[2, 3, 5, 7, 9], [1, 4, 4, 33, 16], [3, 1, 2, 16, 5]] {
        let image = random.quantized(DType::Uint8, &[batch, height, width, channels]);
        let weights = random.quantized(DType::Int8, &[outputs, channels]);
        let rows = image.reshaped([batch * height * width, channels])?;
        let product = Matmul::new(rows.tensor_type().clone(), weights.clone()).transposed().build()?.into();
        let product = context.run_blocking(&product, &[&rows])?.swap_remove(0);
        let filters = weights.reshaped([outputs, 1, 1, channels])?;
        let conv: Op = Conv::new(image.tensor_type().clone(), filters).build()?.into();
        let graph = Graph::of(conv.clone())?;
        for (index, candidate) in kernels::candidates(&conv, &context.caps()).iter().enumerate() {
            let plan = context.plan(&graph, Tuner::Nth(index))?;
            let pixels = plan.run_blocking(&[&image])?.swap_remove(0);
            assert_eq!(pixels.values::<i32>()?, product.values::<i32>()?, "{}", candidate.label);
        }
    }
    Ok(())
}

/// 1,024 taps are the most that are summed in f32: products of the least codes reach 2^24.
#[test]
fn depthwise_sums_at_the_end_of_float32() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    for side in [32usize, 33] {
        for odd in [-128i8, 127] {
            let codes = |count: usize| (0..count).map(|i| if i % 7 == 3 { odd } else { -128 }).collect::<Vec<_>>();
            let image = Tensor::new([1, side + 1, side, 4], codes((side + 1) * side * 4))?;
            let filter = Tensor::new([4, side, side, 1], codes(4 * side * side))?;
            let image = image.quantized(Quantization::tensor(0.5, 0))?;
            let filter = filter.quantized(Quantization::tensor(0.5, 0))?;
            let op: Op = Conv::new(image.tensor_type().clone(), filter).groups(4).build()?.into();
            check_op(&context, &format!("{side} x {side} taps, {odd}"), &op, &[&image]);
        }
    }
    Ok(())
}

/// A filter with a single one shifts the image; the transposed filter shifts it back.
#[test]
fn shifted_deltas_shift() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let (height, width, channels) = (5, 6, 3);
    let image = Random::new(31).codes(DType::Int8, &[1, height, width, channels]);
    let pixels = image.values::<i8>()?;
    let at = |y: i64, x: i64, channel: usize| -> i32 {
        let inside = (0..height as i64).contains(&y) && (0..width as i64).contains(&x);
        if inside { pixels[(y as usize * width + x as usize) * channels + channel].into() } else { 0 }
    };
    for groups in [1, channels] {
        for (tap_y, tap_x) in [(0, 0), (1, 1), (2, 0), (0, 2)] {
            let per_group = channels / groups;
            let delta = |i: usize| {
                let [output, y, x, input] =
                    [i / (9 * per_group), i / (3 * per_group) % 3, i / per_group % 3, i % per_group];
                i8::from(y == tap_y && x == tap_x && (groups > 1 || input == output))
            };
            let weights: Vec<i8> = (0..channels * 9 * per_group).map(delta).collect();
            let weights = Tensor::new([channels, 3, 3, per_group], weights)?;
            let conv = Conv::new(image.tensor_type().clone(), weights).padding(Padding::SameUpper).groups(groups);
            for (conv, sign) in [(conv.clone(), 1), (conv.transposed(), -1)] {
                let got = context.run_blocking(&conv.build()?.into(), &[&image])?.swap_remove(0);
                let (dy, dx) = (sign * (tap_y as i64 - 1), sign * (tap_x as i64 - 1));
                let shifted = (0..height * width * channels).map(|i| {
                    let (pixel, channel) = (i / channels, i % channels);
                    at((pixel / width) as i64 + dy, (pixel % width) as i64 + dx, channel)
                });
                assert_eq!(got.values::<i32>()?, shifted.collect::<Vec<_>>(), "tap {tap_y} {tap_x}, sign {sign}");
            }
        }
    }
    Ok(())
}

/// `⟨conv(x), y⟩ = ⟨x, transposed conv(y)⟩`, in exact integers, on the device and on the CPU.
#[test]
fn transposed_is_the_adjoint() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    for case in 0..60 {
        let mut random = Random::new(5000 + case);
        let rank = random.pick(&[1usize, 2, 2, 3]);
        let geometry = Geometry::random(&mut random, rank, 5);
        // SAME padding depends on the size of the input, which differs between the two directions.
        let padding = match &geometry.padding {
            Padding::SameUpper | Padding::SameLower => Padding::None,
            padding => padding.clone(),
        };
        let groups = random.pick(&[1usize, 2, 3]);
        let (inputs, outputs) = (random.pick(&[1usize, 2, 5, 16]), random.pick(&[1usize, 3, 4, 16]));
        let taps = geometry.kernel.iter().product::<usize>();
        let x = random.codes(DType::Int8, &[&[2], &geometry.spatial[..], &[groups * inputs]].concat());
        let weights = random.codes(DType::Int8, &[&[groups * outputs], &geometry.kernel[..], &[inputs]].concat());
        let codes = weights.values::<i8>()?;
        let swapped = |i: usize| {
            let (channel, tap, output) = (i / (taps * outputs), i / outputs % taps, i % outputs);
            let (group, input) = (channel / inputs, channel % inputs);
            codes[((group * outputs + output) * taps + tap) * inputs + input]
        };
        let swapped: Vec<i8> = (0..codes.len()).map(swapped).collect();
        let swapped = Tensor::new([&[groups * inputs], &geometry.kernel[..], &[outputs]].concat(), swapped)?;
        let build = |image: &Tensor, weights: Tensor| {
            Conv::new(image.tensor_type().clone(), weights)
                .stride(geometry.stride.clone())
                .dilation(geometry.dilation.clone())
                .padding(padding.clone())
                .groups(groups)
        };
        let forward: Op = build(&x, weights.clone()).build()?.into();
        let y = random.codes(DType::Int8, forward.outputs()[0].dims());
        let backward: Op = build(&y, swapped).transposed().output_size(geometry.spatial.clone()).build()?.into();
        let product = |sums: &Tensor, codes: &Tensor| -> Result<i64> {
            let pairs = sums.values::<i32>()?.iter().zip(codes.values::<i8>()?);
            Ok(pairs.map(|(&a, &b)| i64::from(a) * i64::from(b)).sum())
        };
        for device in [true, false] {
            let run = |op: &Op, input: &Tensor| {
                if device { context.run_blocking(op, &[input]) } else { reference::run(op, &[input]) }
            };
            let (there, back) = (&run(&forward, &x)?[0], &run(&backward, &y)?[0]);
            assert_eq!(back.dims(), x.dims(), "case {case}: {geometry:?}");
            assert_eq!(product(there, &y)?, product(back, &x)?, "case {case}: {geometry:?}, on the device: {device}");
        }
    }
    Ok(())
}

/// Invalid transposed windows are refused with the numbers and the change to make.
#[test]
fn refused() -> Result<()> {
    let build = |change: fn(ConvBuilder) -> ConvBuilder| -> Result<String> {
        let image = TensorType::new(DType::Int8, [1, 4, 4, 2])?;
        let weights = Tensor::new([3, 3, 3, 2], vec![1i8; 54])?;
        Ok(change(Conv::new(image, weights)).build().map_or_else(|error| error.to_string(), |_| "built".to_string()))
    };
    for (change, expected) in [
        (
            (|conv| conv.output_padding([1, 1])) as fn(ConvBuilder) -> ConvBuilder,
            "output padding says how far a transposed window spreads, but this one gathers: call transposed()",
        ),
        (|conv| conv.transposed().output_size([9]), "output size has 1 values, but there are 2 spatial dimensions"),
        (
            |conv| conv.transposed().output_size([9, 9]).output_padding([1, 1]),
            "both the size of the output and its padding were given: give one",
        ),
        (
            |conv| conv.transposed().stride([64, 65]),
            "a transposed stride of [64, 65] has more than 4096 phases: use a smaller one",
        ),
        (
            |conv| conv.transposed().padding(Padding::Explicit { begin: vec![3, 0], end: vec![3, 0] }),
            "along spatial dimension 0 the output would have 6 elements, but the padding crops 3 and 3 of them: pad less",
        ),
        (
            |conv| conv.transposed().output_size([0, 1]),
            "the output would be empty along spatial dimension 0: give a size or output padding",
        ),
        (|conv| conv.transposed().stride([64, 64]), "built"),
    ] {
        assert_eq!(build(change)?, expected);
    }
    Ok(())
}

/// Random weights in codes with groups that have scales only.
fn grouped_weights(random: &mut Random, codes: Codes, group: usize, dims: [usize; 3]) -> Result<PackedWeights> {
    let (low, high) = codes.range();
    let format = WeightFormat::new(codes, group, ScaleFormat::F16);
    let seed = random.next();
    PackedWeights::build(format, dims, |row, codes, groups, _| {
        let mut random = Random::new(seed.wrapping_add(row as u64));
        codes.fill_with(|| random.integer(low.into(), high.into()) as i8);
        groups.fill_with(|| GroupParams::scale(f16::from_f32(random.real() * 0.1).to_f32()));
        Ok(())
    })
}

/// Weights of small floats.
fn float_weights(random: &mut Random, which: usize, dims: [usize; 3]) -> Result<PackedWeights> {
    let dtype = [DType::Float8E4M3Fn, DType::Float4E2M1, DType::Float8E5M2Fnuz][which % 3];
    let real = Tensor::new(dims, (0..dims.iter().product()).map(|_| random.real()).collect::<Vec<_>>())?;
    let granularity = Granularity::Blocks { axis: 2, size: 32 };
    let scales = (0..granularity.parameters(real.tensor_type().shape())?).map(|_| random.scale()).collect::<Vec<_>>();
    let codes = TensorType::new(dtype, dims)?.quantized(Quantization::new(granularity, scales, [0]))?;
    PackedWeights::from_tensor(
        &reference::run(&Quantize::new(real.tensor_type().clone(), codes).build()?.into(), &[&real])?[0],
    )
}

/// Convolutions of floats, and of codes with weights in groups: every candidate within the derived bound.
#[test]
fn linear_convolutions() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let (mut count, mut worst) = (0, 0.0f64);
    for case in 0..20usize {
        let mut random = Random::new(7000 + case as u64);
        let rank = random.pick(&[1usize, 2, 2, 3]);
        let geometry = Geometry::random(&mut random, rank, 4);
        let groups = [1, 1, 3][case / 4 % 3];
        let (channels, outputs) = (random.pick(&[1usize, 3, 8, 20]), random.pick(&[1usize, 4, 5, 9]));
        let k = geometry.kernel.iter().product::<usize>() * channels;
        // Each code width meets each kind of image.
        let (codes, group) = if (case % 4 == 0) == (case < 12) { (Codes::INT8, 32) } else { (Codes::INT4, 64) };
        let weights = match case % 4 {
            1 => float_weights(&mut random, case / 4, [groups, outputs, k])?,
            _ => grouped_weights(&mut random, codes, group, [groups, outputs, k])?,
        };
        let batch = if case == 8 { 0 } else { random.pick(&[1usize, 2]) };
        let dims = [&[batch], &geometry.spatial[..], &[groups * channels]].concat();
        let values: Vec<f32> = (0..dims.iter().product()).map(|_| random.real()).collect();
        let (image, parameters) = match case % 4 {
            0 => (Tensor::new(&dims[..], values)?, None),
            1 => (Tensor::new(&dims[..], values.into_iter().map(f16::from_f32).collect::<Vec<_>>())?, None),
            2 => (random.quantized(DType::Uint8, &dims), None),
            _ => (random.codes(DType::Int8, &dims), Some(Tensor::new([1], vec![QuantizationParams::new(0.02, 3)])?)),
        };
        let mut conv = LinearConv::new(image.tensor_type().clone(), weights, geometry.kernel.clone())
            .stride(geometry.stride.clone())
            .dilation(geometry.dilation.clone())
            .padding(geometry.padding.clone());
        if case % 5 == 0 {
            conv = conv.transposed().output_padding(vec![4; rank]);
        }
        if parameters.is_some() {
            conv = conv.dynamic_image();
        }
        if case % 4 != 2 {
            let bias: Vec<f32> = (0..groups * outputs).map(|_| random.real()).collect();
            conv = conv.bias(Tensor::new([groups * outputs], bias)?).clamp(-1.0, 6.0);
        }
        if case % 4 == 1 {
            conv = conv.output(DType::Float16);
        }
        let op: Op = conv.build()?.into();
        let limits = context.caps();
        let candidates = kernels::candidates(&op, &limits);
        let scratch =
            candidates.iter().flat_map(|candidate| &candidate.scratch).max().map_or(0, |&words| words as u64 * 4);
        let launches = candidates.iter().flat_map(|candidate| &candidate.dispatches);
        let bindings = launches.map(|launch| launch.bindings.len()).max().unwrap_or(0);
        // Refused: patches larger than a binding, and launches that need more bindings than the device has.
        if bindings > limits.storage_buffers as usize || scratch > limits.binding_bytes {
            continue;
        }
        let name = format!("linear conv {case} of {} in {groups} groups, {geometry:?}", image.tensor_type());
        let inputs: Vec<&Tensor> = [Some(&image), parameters.as_ref()].into_iter().flatten().collect();
        let (candidates, ratio) = check_op_within(&context, &name, &op, &inputs);
        (count, worst) = (count + candidates, worst.max(ratio));
    }
    println!("linear conv: {count} combinations, largest error {worst:.3} of its bound, on {}", context.description());
    Ok(())
}
