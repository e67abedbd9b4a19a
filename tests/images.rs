//! Ops between the convolutions of vision networks: pools with any window, resizing, and ops that only move elements. GPU equals
//! reference bit for bit. Other ops are in `equivalence.rs`, whole networks in `vision.rs`.

mod common;

use common::{Random, check_op, context, dtypes, first_difference};
use half::f16;
use lowbit::ops::{
    Concat, Coordinates, Dequantize, Fused, Gather, Nearest, Op, Pad, PadMode, Padding, Pool, Quantize,
    QuantizedArithmetic, Requantization, Reshape, Resize, Slice, Table, Transpose,
};
use lowbit::{
    Context, DType, Granularity, Graph, Quantization, Result, Rounding, Tensor, TensorType, Tuner, pack, reference,
};

const CODES: [DType; 2] = [DType::Int8, DType::Uint8];
const ARITHMETICS: [QuantizedArithmetic; 3] =
    [QuantizedArithmetic::QOperator, QuantizedArithmetic::Qdq, QuantizedArithmetic::Integer];
const FLOATS: [DType; 2] = [DType::Float16, DType::Float32];
/// Elements of images: everything that has a zero.
fn formats() -> Vec<DType> {
    dtypes(|dtype| !matches!(dtype, DType::Float8E8M0 | DType::Parameters))
}

/// Random bits of any dtype; floats include NaNs of every kind.
fn any(random: &mut Random, dtype: DType, dims: &[usize]) -> Tensor {
    if dtype.range().is_some() {
        return random.codes(dtype, dims);
    }
    let any = TensorType::new(dtype, dims).expect("a small shape");
    let words: Vec<u32> = (0..any.device_bytes() / 4).map(|_| random.next() as u32).collect();
    pack::tensor(&any, &words).expect("the words fit")
}

fn run(context: &Context, count: &mut usize, name: &str, op: impl Into<Op>, input: &Tensor) {
    *count += check_op(context, name, &op.into(), &[input]);
}

#[test]
fn pools_of_every_window() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let (mut count, mut random) = (0, Random::new(31));
    for case in 0..30 {
        let rank = random.pick(&[1usize, 2, 2, 3]);
        let mut pick = |low: i64, high: i64| (0..rank).map(|_| random.integer(low, high) as usize).collect::<Vec<_>>();
        let (kernel, stride, dilation) = (pick(1, 4), pick(1, 3), pick(1, 3));
        // Padding may be wider than a window, so some windows contain only padding.
        let (begin, end) = (pick(0, 5), pick(0, 4));
        let spatial: Vec<usize> =
            pick(0, 6).iter().zip(&kernel).zip(&dilation).map(|((s, k), d)| s + (k - 1) * d + 1).collect();
        let channels = random.pick(&[1usize, 3, 4, 5, 16, 19]);
        let format = random.pick(&CODES);
        let image = random.quantized(format, &[&[2], &spatial[..], &[channels]].concat());
        let padding = match random.next() % 4 {
            0 => Padding::None,
            1 => Padding::SameUpper,
            _ => Padding::Explicit { begin, end },
        };
        let rounding = random.pick(&[Rounding::Onnx, Rounding::FixedSingle, Rounding::FixedDouble]);
        let output = random.pick(&CODES);
        let output = Requantization::new(output, random.scale(), random.zero_point(output))?.rounding(rounding);
        let name = format!("{}, {kernel:?}, {stride:?}, {dilation:?}, {padding:?}", image.tensor_type());
        let shared = |pool: lowbit::ops::PoolBuilder| {
            let pool = pool.stride(stride.clone()).dilation(dilation.clone()).padding(padding.clone());
            if case % 3 == 0 { pool.round_up() } else { pool }
        };
        let image_type = || image.tensor_type().clone();
        let max = shared(Pool::max(image_type(), kernel.clone()));
        run(&context, &mut count, &format!("max {name}"), max.build()?, &image);
        let average = shared(Pool::average(image_type(), kernel.clone()));
        run(&context, &mut count, &format!("average {name}"), average.clone().output(output).build()?, &image);
        for arithmetic in ARITHMETICS {
            let average = average.clone().arithmetic(arithmetic);
            run(&context, &mut count, &format!("{arithmetic:?} {name}"), average.clone().build()?, &image);
            let name = format!("{arithmetic:?} of all {name}");
            run(&context, &mut count, &name, average.count_padding().build()?, &image);
        }
    }
    println!("pools: {count} combinations on {}", context.description());
    Ok(())
}

/// More taps than lavapipe lets one invocation visit, and windows that kernels divide.
#[test]
fn pools_of_many_taps() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let (mut count, mut random) = (0, Random::new(32));
    for dimensions in [&[1, 70_003, 5][..], &[1, 300, 257, 3], &[2, 32, 33, 6], &[1, 9, 10, 11, 17]] {
        let format = random.pick(&CODES);
        let image = random.quantized(format, dimensions);
        if image.tensor_type().device_bytes() > context.caps().binding_bytes {
            continue;
        }
        let image_type = || image.tensor_type().clone();
        run(&context, &mut count, "global average", Pool::global_average(image_type()).build()?, &image);
        if dimensions.iter().product::<usize>() < 1 << 14 {
            let average = Pool::global_average(image_type()).arithmetic(QuantizedArithmetic::Qdq);
            run(&context, &mut count, "Qdq", average.build()?, &image);
        }
        run(&context, &mut count, "global max", Pool::global_max(image_type()).build()?, &image);
    }
    for format in CODES {
        let line = random.quantized(format, &[2, 900, 7]);
        let padding = Padding::Explicit { begin: vec![250], end: vec![90] };
        let pool = || Pool::average(line.tensor_type().clone(), [600]).stride([37]).padding(padding.clone());
        for arithmetic in ARITHMETICS {
            let pool = pool().arithmetic(arithmetic);
            run(&context, &mut count, &format!("{arithmetic:?} of 600"), pool.clone().build()?, &line);
            let name = format!("{arithmetic:?} of 600, padded");
            run(&context, &mut count, &name, pool.count_padding().round_up().build()?, &line);
        }
        let image = random.quantized(format, &[1, 40, 31, 4]);
        let pool = Pool::max(image.tensor_type().clone(), [33, 17]).dilation([1, 2]).padding(Padding::SameLower);
        run(&context, &mut count, "max of 33 x 17", pool.build()?, &image);
    }
    println!("pools of many taps: {count} combinations on {}", context.description());
    Ok(())
}

#[test]
fn transpose() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let (mut count, mut random) = (0, Random::new(33));
    let cases: [(&[usize], &[usize]); 14] = [
        (&[2, 3, 37, 70], &[0, 2, 3, 1]),
        (&[1, 5, 66, 45], &[0, 3, 1, 2]),
        (&[], &[]),
        (&[7], &[0]),
        (&[3, 5], &[1, 0]),
        (&[2, 0, 3], &[2, 0, 1]),
        (&[2, 5, 3, 19], &[0, 3, 1, 2]),
        (&[2, 19, 5, 3], &[0, 2, 3, 1]),
        (&[3, 4, 35], &[1, 0, 2]),
        (&[2, 3, 4, 5], &[3, 2, 1, 0]),
        (&[2, 3, 1, 2, 17], &[2, 1, 0, 3, 4]),
        (&[2, 3, 2, 3, 2, 5], &[4, 0, 5, 2, 1, 3]),
        (&[1, 2, 3, 1, 2, 2, 3, 2], &[7, 5, 3, 1, 6, 4, 2, 0]),
        (&[1, 5, 2], &[0, 1, 2]),
    ];
    for (i, (dimensions, order)) in cases.into_iter().enumerate() {
        for j in 0..3 {
            let x = any(&mut random, formats()[(i + 3 * j) % formats().len()], dimensions);
            let op = Transpose::new(x.tensor_type().clone(), order)?;
            run(&context, &mut count, &format!("{} by {order:?}", x.tensor_type()), op.clone(), &x);
            let made = reference::run(&op.into(), &[&x])?.remove(0);
            assert_eq!(first_difference(&made, &x.permuted(order)?), None, "the host's own");
        }
    }
    println!("transpose: {count} combinations on {}", context.description());
    Ok(())
}

/// Transpositions fused with a conversion, as a plan fuses them.
#[test]
fn transpositions_that_convert() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let (mut count, mut random) = (0, Random::new(40));
    let cases: [(&[usize], &[usize]); 15] = [
        (&[2, 3, 9, 21], &[0, 2, 3, 1]),
        (&[1, 1, 5, 7], &[0, 2, 3, 1]),
        (&[2, 17, 3, 6], &[0, 2, 3, 1]),
        (&[1, 66, 5, 37], &[0, 2, 3, 1]),
        (&[0, 3, 4, 5], &[0, 2, 3, 1]),
        (&[2, 9, 21, 3], &[0, 3, 1, 2]),
        (&[3, 5, 7, 1], &[0, 3, 1, 2]),
        (&[1, 3, 6, 17], &[0, 3, 1, 2]),
        (&[2, 0, 5, 3], &[0, 3, 1, 2]),
        (&[], &[]),
        (&[7], &[0]),
        (&[5, 3], &[1, 0]),
        (&[3, 4, 35], &[1, 0, 2]),
        (&[2, 3, 4, 5], &[3, 2, 1, 0]),
        (&[1, 2, 3, 1, 2, 2, 3, 2], &[7, 5, 3, 1, 6, 4, 2, 0]),
    ];
    let others = dtypes(|dtype| formats().contains(&dtype) && !CODES.contains(&dtype) && !FLOATS.contains(&dtype));
    for (i, (dimensions, order)) in cases.into_iter().enumerate() {
        // Both dtypes of activations, and two of the others.
        let two = [i, i + cases.len()].map(|j| others[j % others.len()]);
        for format in [&CODES[..], &two].concat() {
            let has_zero_point = format.range().is_some() && format != DType::Int32;
            let zero_point = if has_zero_point { random.zero_point(format) } else { 0 };
            let quantization = Quantization::tensor(random.scale(), zero_point);
            let codes = any(&mut random, format, dimensions).quantized(quantization.clone())?;
            let float = random.pick(&FLOATS);
            let transpose = Transpose::new(codes.tensor_type().clone(), order)?;
            let moved = Op::from(transpose.clone()).outputs().swap_remove(0);
            let dequantize = Dequantize::new(moved.clone()).output(float).build()?;
            let name = format!("{} by {order:?}, {float}", codes.tensor_type());
            run(&context, &mut count, &name, Fused::new(transpose.into(), dequantize.into(), 0)?, &codes);

            let reals = reals(&mut random, float, dimensions);
            let transpose = Transpose::new(reals.tensor_type().clone(), order)?;
            let quantize =
                Quantize::new(TensorType::new(float, moved.dims())?, moved).precision(random.pick(&FLOATS)).build()?;
            let name = format!("{} by {order:?}, {format}", reals.tensor_type());
            run(&context, &mut count, &name, Fused::new(transpose.into(), quantize.into(), 0)?, &reals);
        }
    }
    let image = TensorType::new(DType::Float32, [2, 3, 4])?;
    let transpose = || Op::from(Transpose::new(image.clone(), [0, 2, 1]).expect("a permutation"));
    let by_channel = Quantization::new(Granularity::Axis(2), [0.5, 0.25, 0.125], [0]);
    let codes = |quantization| TensorType::new(DType::Uint8, [2, 4, 3])?.quantized(quantization);
    let message = |op: Op| Fused::new(transpose(), op, 0).expect_err("there are no programs").to_string();
    assert!(
        message(
            Quantize::new(TensorType::float32(codes(by_channel.clone())?.dims())?, codes(by_channel)?).build()?.into()
        )
        .contains("one scale for all elements")
    );
    let table = Table::sigmoid(codes(Quantization::tensor(0.5, 0))?, Requantization::new(DType::Int8, 1.0, 0)?)?;
    assert!(message(table.into()).contains("transpose can't be followed by table"));
    println!("transpositions that convert: {count} combinations on {}", context.description());
    Ok(())
}

/// Real numbers whose quotients are codes, including ties, and any bits.
fn reals(random: &mut Random, dtype: DType, dims: &[usize]) -> Tensor {
    let count: usize = dims.iter().product();
    let number = |random: &mut Random| match random.next() % 4 {
        0 => f32::from_bits(random.next() as u32),
        1 => random.integer(-40, 40) as f32 * 0.0625,
        _ => random.real(),
    };
    let numbers: Vec<f32> = (0..count).map(|_| number(random)).collect();
    match dtype {
        DType::Float16 => Tensor::new(dims, numbers.into_iter().map(f16::from_f32).collect::<Vec<_>>()),
        _ => Tensor::new(dims, numbers),
    }
    .expect("the count fits")
}

#[test]
fn slice_and_pad() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let (mut count, mut random) = (0, Random::new(34));
    for case in 0..22 {
        let format = formats()[case % formats().len()];
        let rank = random.pick(&[1usize, 2, 3, 4]);
        let dims: Vec<usize> = (0..rank).map(|_| random.pick(&[2, 3, 5, 8, 21])).collect();
        let x = any(&mut random, format, &dims);
        let x = match format.range() {
            Some(_) if format != DType::Int32 => {
                x.quantized(Quantization::tensor(random.scale(), random.zero_point(format)))?
            }
            _ => x,
        };
        let x_type = || x.tensor_type().clone();
        // Every third slice keeps whole rows, so that its start may be vec4-aligned or not.
        let (mut begin, mut sizes, mut steps) = (vec![], vec![], vec![]);
        for (axis, &extent) in dims.iter().enumerate() {
            let size = random.integer(0, extent as i64) as usize;
            let most = if size > 1 { (extent - 1) / (size - 1) } else { 1 } as i64;
            let step = random.integer(1, most);
            let reach = step as usize * size.saturating_sub(1);
            let first = random.integer(0, (extent - 1 - reach.min(extent - 1)) as i64) as usize;
            let whole = case % 3 == 0 && axis + 1 == rank;
            let backwards = !whole && random.next().is_multiple_of(3) && size > 0;
            begin.push(if whole { 0 } else { first + if backwards { reach } else { 0 } });
            sizes.push(if whole { extent } else { size });
            steps.push(if whole {
                1
            } else if backwards {
                -step as isize
            } else {
                step as isize
            });
        }
        let name = format!("{} from {begin:?}, {sizes:?}, by {steps:?}", x.tensor_type());
        run(&context, &mut count, &name, Slice::new(x_type(), begin, sizes).steps(steps).build()?, &x);
        let axis = random.next() as usize % rank;
        let chosen: Vec<usize> = (0..random.integer(0, 9)).map(|_| random.next() as usize % dims[axis]).collect();
        run(&context, &mut count, &format!("{chosen:?} of {axis}"), Slice::take(x_type(), axis, chosen.clone())?, &x);

        let (low, high) = format.range().unwrap_or((0, 0));
        let code = random.integer(low.into(), high.into()) as i32;
        let code = if format.range().is_some() { PadMode::Code(code) } else { PadMode::Zero };
        for mode in [[PadMode::Zero, PadMode::Reflect], [code, PadMode::Edge]][case / 2 % 2] {
            let amount = |random: &mut Random, extent: usize| random.integer(0, extent as i64 - 1) as usize;
            let mut begin: Vec<usize> = dims.iter().map(|&extent| amount(&mut random, extent)).collect();
            let mut end: Vec<usize> = dims.iter().map(|&extent| amount(&mut random, extent)).collect();
            if case % 2 == 0 {
                (begin[rank - 1], end[rank - 1]) = (0, 0);
            }
            let name = format!("{} and {begin:?}, {end:?} of {mode:?}", x.tensor_type());
            let pad = Pad::new(x_type(), begin.clone(), end, mode)?;
            run(&context, &mut count, &name, pad.clone(), &x);
            // A slice of the padded tensor restores the original.
            let padded = reference::run(&pad.into(), &[&x])?.remove(0);
            let back = Slice::new(padded.tensor_type().clone(), begin, dims.clone()).build()?;
            assert_eq!(first_difference(&reference::run(&back.into(), &[&padded])?[0], &x), None, "{name}");
        }
    }
    // Padding of an empty tensor.
    let nothing = random.quantized(DType::Uint8, &[2, 0, 3]);
    let pad = Pad::new(nothing.tensor_type().clone(), [0, 1, 2], [0, 1, 0], PadMode::Zero)?;
    run(&context, &mut count, "nothing", pad, &nothing);
    println!("slice and pad: {count} combinations on {}", context.description());
    Ok(())
}

#[test]
fn scales_follow_their_axis() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let (mut count, mut random) = (0, Random::new(35));
    let scales = Quantization::new(Granularity::Axis(1), [0.5, 0.25, 0.125], [1, 2, 3]);
    let x = random.codes(DType::Int8, &[4, 3, 18]).quantized(scales)?;
    let x_type = || x.tensor_type().clone();
    let expect = |op: Op, axis: usize, scales: &[f32], zero_points: &[i32]| {
        let made = op.outputs()[0].quantization().cloned();
        assert_eq!(made, Some(Quantization::new(Granularity::Axis(axis), scales, zero_points)), "{}", op.name());
        op
    };
    let op = expect(Transpose::new(x_type(), [2, 0, 1])?.into(), 2, &[0.5, 0.25, 0.125], &[1, 2, 3]);
    run(&context, &mut count, "transpose", op, &x);
    let op = expect(Slice::take(x_type(), 1, [2, 0])?.into(), 1, &[0.125, 0.5], &[3, 1]);
    run(&context, &mut count, "slice", op, &x);
    let op = Pad::new(x_type(), [1, 0, 0], [0, 0, 2], PadMode::Code(7))?;
    run(&context, &mut count, "pad", expect(op.into(), 1, &[0.5, 0.25, 0.125], &[1, 2, 3]), &x);
    let message = |error: Result<Pad>| error.expect_err("there is no answer").to_string();
    assert!(message(Pad::new(x_type(), [0, 1, 0], [0; 3], PadMode::Edge)).contains("says nothing of what is added"));
    assert!(message(Pad::new(x_type(), [1, 0, 0], [0; 3], PadMode::Zero)).contains("several zero points"));
    println!("scales: {count} combinations on {}", context.description());
    Ok(())
}

/// Indices from the beginning and the end, and outside, along any axis of data of every width, by indices of any rank.
#[test]
fn gather() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let (mut count, mut random) = (0, Random::new(39));
    let cases: [(&[usize], usize, &[usize]); 11] = [
        (&[5], 0, &[]),
        (&[5], 0, &[7]),
        (&[5, 3], 0, &[4]),
        (&[5, 3], 1, &[9]),
        (&[5, 19], 0, &[2, 3]),
        (&[3, 5, 19], 1, &[2, 1]),
        (&[3, 19, 5], 1, &[]),
        (&[2, 3, 4, 70], 3, &[3, 5]),
        (&[0, 3], 0, &[2]),
        (&[4, 3], 0, &[0]),
        (&[9, 300], 0, &[40]),
    ];
    for format in formats() {
        for (dims, axis, of) in cases {
            let data = any(&mut random, format, dims);
            let data = match format {
                DType::Int8 | DType::Uint8 => data.quantized(Quantization::tensor(0.5, random.zero_point(format)))?,
                _ => data,
            };
            let extent = dims[axis] as i64;
            let mut index = |i: usize| match i % 5 {
                4 => random.pick(&[extent, -extent - 1, i64::from(i32::MAX), i64::from(i32::MIN)]) as i32,
                _ => random.integer(-extent, extent.max(1) - 1) as i32,
            };
            let indices = Tensor::new(of, (0..of.iter().product()).map(&mut index).collect::<Vec<i32>>())?;
            let op = Gather::new(data.tensor_type().clone(), axis, indices.tensor_type().clone())?;
            let name = format!("{} along {axis} by {of:?}", data.tensor_type());
            count += check_op(&context, &name, &op.into(), &[&data, &indices]);
        }
    }
    println!("gather: {count} combinations on {}", context.description());
    Ok(())
}

#[test]
fn reshape() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let (mut count, mut random) = (0, Random::new(36));
    let cases: [(&[usize], &[usize]); 7] = [
        (&[2, 3, 20], &[2, 60]),
        (&[12, 35], &[4, 3, 5, 7]),
        (&[1, 7], &[7, 1]),
        (&[30], &[5, 6]),
        (&[], &[1, 1]),
        (&[0, 3], &[5, 0]),
        (&[2, 2, 48], &[2, 6, 16]),
    ];
    for (dimensions, to) in cases {
        for format in formats() {
            let x = any(&mut random, format, dimensions);
            let op = Reshape::new(x.tensor_type().clone(), to)?;
            run(&context, &mut count, &format!("{} to {to:?}", x.tensor_type()), op, &x);
        }
    }
    println!("reshape: {count} combinations on {}", context.description());
    Ok(())
}

/// ShuffleNet's channel shuffle in three steps and in one.
/// Joined tensors of every data type. Slices of the result are the tensors again.
#[test]
fn concatenations_that_move() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let (mut count, mut random) = (0, Random::new(41));
    const ONE_OF_NINE: &[usize] = &[9, 1];
    let all = dtypes(|dtype| dtype.bits() <= 32);
    let cases: [(usize, &[&[usize]]); 12] = [
        (0, &[&[3], &[1], &[6]]),
        (0, &[&[5]]),
        (0, &[&[0, 3], &[2, 3], &[0, 3]]),
        (1, &[&[5, 3], &[5, 2], &[5, 0], &[5, 14], &[5, 1]]),
        (1, &[&[3, 0], &[3, 0]]),
        (1, &[&[0, 2], &[0, 5]]),
        (1, &[&[5, 32], &[5, 32]]),
        (0, &[&[2, 7], &[3, 7]]),
        (1, &[&[2, 3, 5], &[2, 1, 5], &[2, 4, 5]]),
        (2, &[&[2, 2, 3, 5], &[2, 2, 1, 5]]),
        (3, &[&[2, 2, 3, 5], &[2, 2, 3, 66], &[2, 2, 3, 7]]),
        (1, &[ONE_OF_NINE; 11]),
    ];
    for (axis, shapes) in cases {
        for &dtype in &all {
            let inputs: Vec<Tensor> = shapes.iter().map(|shape| any(&mut random, dtype, shape)).collect();
            let (types, inputs): (Vec<_>, Vec<_>) = inputs.iter().map(|x| (x.tensor_type().clone(), x)).unzip();
            let op: Op = Concat::new(types, axis).build()?.into();
            count += check_op(&context, &format!("{dtype} {shapes:?} along {axis}"), &op, &inputs);
            let made = reference::run(&op, &inputs)?.remove(0);
            let mut begin = vec![0; shapes[0].len()];
            for input in inputs {
                let slice = Slice::new(made.tensor_type().clone(), &begin[..], input.dims()).build()?;
                let part = reference::run(&slice.into(), &[&made])?.remove(0);
                assert_eq!(first_difference(&part, input), None, "{dtype} {shapes:?} along {axis}");
                begin[axis] += input.dims()[axis];
            }
        }
    }
    println!("concatenations that move: {count} combinations on {}", context.description());
    Ok(())
}

/// Scales of another axis stay, and a table joins a concatenation of codes that it precedes.
#[test]
fn concatenations_of_codes() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(42);
    let scales = Quantization::symmetric_axis(0, vec![0.5, 0.25, 2.0]);
    let rows = [random.codes(DType::Int8, &[3, 5]), random.codes(DType::Int8, &[3, 2])]
        .map(|x| x.quantized(scales.clone()).expect("three rows"));
    let op = Concat::new(rows.each_ref().map(|x| x.tensor_type().clone()), 1).build()?;
    assert_eq!(Op::from(op.clone()).outputs()[0].quantization(), Some(&scales));
    check_op(&context, "scales by row", &op.into(), &[&rows[0], &rows[1]]);

    let x = random.quantized(DType::Uint8, &[3, 6]);
    let mut graph = Graph::new();
    let input = graph.input(x.tensor_type().clone());
    let codes = Requantization::new(DType::Int8, 0.01, -3)?;
    let curve = graph.add(Table::sigmoid(x.tensor_type().clone(), codes)?, &[input])?;
    let turned = graph.add(
        Table::from_bytes(
            graph.tensor_type(curve)?.clone(),
            graph.tensor_type(curve)?.clone(),
            std::array::from_fn(|i| !i as u8),
        )?,
        &[curve],
    )?;
    let of = graph.tensor_type(curve)?.clone();
    let both = graph.add(Concat::new([of.clone(), of], 1).build()?, &[curve, turned])?;
    graph.output(both);
    let plan = context.plan(&graph, Tuner::FirstGuess)?;
    let (got, expected) = (plan.run_blocking(&[&x])?.remove(0), graph.run_reference(&[&x])?.remove(0));
    assert_eq!(first_difference(&got, &expected), None);
    Ok(())
}

#[test]
fn channel_shuffle() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(37);
    let image = random.quantized(DType::Uint8, &[1, 5, 4, 24]);
    let mut graph = Graph::new();
    let x = graph.input(image.tensor_type().clone());
    let apart = graph.add(Reshape::new(image.tensor_type().clone(), [1, 5, 4, 3, 8])?, &[x])?;
    let turned = Transpose::new(graph.tensor_type(apart)?.clone(), [0, 1, 2, 4, 3])?;
    let turned = graph.add(turned, &[apart])?;
    let shuffled = graph.add(Reshape::new(graph.tensor_type(turned)?.clone(), [1, 5, 4, 24])?, &[turned])?;
    graph.output(shuffled);
    let channels: Vec<usize> = (0..24).map(|channel| channel % 3 * 8 + channel / 3).collect();
    let at_once = graph.add(Slice::take(image.tensor_type().clone(), 3, channels)?, &[x])?;
    graph.output(at_once);
    let made = context.plan(&graph, Tuner::FirstGuess)?.run_blocking(&[&image])?;
    assert_eq!(made[0], made[1]);
    assert_eq!(made, graph.run_reference(&[&image])?);
    assert_eq!(made[0].values::<u8>()?[1], image.values::<u8>()?[8]);
    Ok(())
}

#[test]
fn resize() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let (mut count, mut random) = (0, Random::new(38));
    let coordinates =
        [Coordinates::Asymmetric, Coordinates::HalfPixel, Coordinates::PytorchHalfPixel, Coordinates::AlignCorners];
    let roundings = [Nearest::PreferFloor, Nearest::PreferCeil, Nearest::Floor, Nearest::Ceil];
    let cases: [(&[usize], &[usize]); 10] = [
        (&[2, 7, 5], &[13]),
        (&[1, 9, 3], &[4]),
        (&[1, 4, 6, 3], &[8, 12]),
        (&[2, 7, 5, 17], &[3, 11]),
        (&[1, 1, 1, 4], &[5, 3]),
        (&[1, 6, 5, 2], &[1, 1]),
        (&[1, 5, 5, 16], &[5, 5]),
        (&[1, 0, 3, 2], &[0, 6]),
        (&[2, 3, 4, 5, 6], &[5, 2, 9]),
        (&[1, 2, 300, 1], &[1, 1000]),
    ];
    for (i, (dimensions, sizes)) in cases.into_iter().enumerate() {
        for j in 0..2 {
            let coordinates = coordinates[(i + 2 * j) % 4];
            let image = random.quantized(CODES[(i / 2 + j) % 2], dimensions);
            let op = Resize::linear(image.tensor_type().clone(), sizes).coordinates(coordinates).build()?;
            let name = format!("linear {} to {sizes:?}, {coordinates:?}", image.tensor_type());
            run(&context, &mut count, &name, op, &image);
            if sizes.len() == 2 && coordinates != Coordinates::PytorchHalfPixel {
                let op =
                    Resize::linear(image.tensor_type().clone(), sizes).coordinates(coordinates).ten_bits().build()?;
                run(&context, &mut count, &format!("{name}, ten bits"), op, &image);
            }
            for k in 0..2 {
                let (format, rounding) = (formats()[(4 * i + j + 5 * k) % formats().len()], roundings[(i + j + k) % 4]);
                let image = any(&mut random, format, dimensions);
                let op =
                    Resize::nearest(image.tensor_type().clone(), sizes).coordinates(coordinates).rounding(rounding);
                let name = format!("nearest {} to {sizes:?}, {coordinates:?}, {rounding:?}", image.tensor_type());
                run(&context, &mut count, &name, op.build()?, &image);
            }
        }
    }
    println!("resize: {count} combinations on {}", context.description());
    Ok(())
}

/// The error of linear interpolation in codes is within the op's documented bound.
#[test]
fn linear_resize_is_near_the_real_one() -> Result<()> {
    let mut random = Random::new(39);
    for (from, to) in [(7usize, 13usize), (13, 7), (5, 64), (2, 333), (3, 4096)] {
        let image = random.codes(DType::Uint8, &[1, from, 6, 1]);
        let op = Resize::linear(image.tensor_type().clone(), [to, 11]).build()?;
        let got = reference::run(&op.into(), &[&image])?.remove(0);
        let place = |i: usize, from: usize, to: usize| {
            ((i as f64 + 0.5) * from as f64 / to as f64 - 0.5).clamp(0.0, (from - 1) as f64)
        };
        let codes = image.values::<u8>()?;
        for (i, &got) in got.values::<u8>()?.iter().enumerate() {
            let (y, x) = (place(i / 11, from, to), place(i % 11, 6, 11));
            let at = |y: f64, x: f64| f64::from(codes[(y as usize).min(from - 1) * 6 + (x as usize).min(5)]);
            let row = |y: f64| at(y, x) * (1.0 - x.fract()) + at(y, x + 1.0) * x.fract();
            let real = row(y) * (1.0 - y.fract()) + row(y + 1.0) * y.fract();
            // Half a code for rounding, and weights within 2^-12 along either axis for codes up to 255 apart.
            let bound = 0.5 + 2.0 * 255.0 / 4096.0;
            assert!((f64::from(got) - real).abs() <= bound, "{from} to {to}, {i}: {got} for {real}");
        }
    }
    Ok(())
}

/// A chain of these ops over a batch whose size is known at run time only.
#[test]
fn any_batch() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(40);
    let image = random.quantized(DType::Int8, &[4, 6, 5, 10]);
    let mut graph = Graph::new();
    let images = graph.extent("images", 4)?;
    let mut x = graph.dynamic_input(image.tensor_type().clone(), [(0, images)])?;
    let mut step = |graph: &mut Graph, op: Op| -> Result<()> {
        x = graph.add(op, &[x])?;
        Ok(())
    };
    let image_type = || image.tensor_type().clone();
    step(&mut graph, Pad::new(image_type(), [0, 1, 2, 3], [0, 1, 0, 4], PadMode::Reflect)?.into())?;
    let padded = graph.ops().last().expect("just added").outputs().remove(0);
    step(&mut graph, Resize::linear(padded.clone(), [5, 9]).build()?.into())?;
    let resized = graph.ops().last().expect("just added").outputs().remove(0);
    step(&mut graph, Transpose::new(resized.clone(), [0, 3, 1, 2])?.into())?;
    let planes = graph.ops().last().expect("just added").outputs().remove(0);
    step(&mut graph, Slice::new(planes.clone(), [0, 1, 1, 2], [4, 15, 3, 7]).build()?.into())?;
    let part = graph.ops().last().expect("just added").outputs().remove(0);
    step(&mut graph, Reshape::new(part, [4, 315])?.into())?;
    graph.output(x);
    let plan = context.plan(&graph, Tuner::FirstGuess)?;
    for batch in [4, 1, 3] {
        let codes = image.values::<i8>()?[..batch * 300].to_vec();
        let quantization = image.tensor_type().quantization().cloned().expect("it has a scale");
        let images = Tensor::new([batch, 6, 5, 10], codes)?.quantized(quantization)?;
        assert_eq!(plan.run_blocking(&[&images])?, graph.run_reference(&[&images])?, "a batch of {batch}");
    }
    Ok(())
}

#[test]
fn bad_requests_say_what_is_wrong() -> Result<()> {
    let mut random = Random::new(41);
    let x = random.codes(DType::Uint8, &[2, 3, 4]).tensor_type().clone();
    let scalars = random.codes(DType::Uint8, &[]).tensor_type().clone();
    let reals = lowbit::TensorType::new(DType::Float32, [1, 3, 4])?;
    let parameters = lowbit::TensorType::new(DType::Parameters, [3])?;
    let table: Vec<(&str, Result<Op>)> = vec![
        ("[0, 1] is not an order of the 3 axes", Transpose::new(x.clone(), [0, 1]).map(Op::from)),
        ("[0, 1, 1] is not an order of the 3 axes", Transpose::new(x.clone(), [0, 1, 1]).map(Op::from)),
        ("pairs of a scale and a zero point", Transpose::new(parameters, [0]).map(Op::from)),
        ("2 begins, 3 sizes and 3 steps", Slice::new(x.clone(), [0, 0], [1, 1, 1]).build().map(Op::from)),
        (
            "3 indices of axis 1 from 1 on, 1 apart, leave",
            Slice::new(x.clone(), [0, 1, 0], [1, 3, 1]).build().map(Op::from),
        ),
        (
            "2 indices of axis 2 from 0 on, -1 apart, leave",
            Slice::new(x.clone(), [0; 3], [1, 1, 2]).steps([1, 1, -1]).build().map(Op::from),
        ),
        (
            "2 indices of axis 2 from 3 on, 9223372036854775807 apart, leave",
            Slice::new(x.clone(), [0, 0, 3], [1, 1, 2]).steps([1, 1, isize::MAX]).build().map(Op::from),
        ),
        ("axis 3 of uint8[2, 3, 4]", Slice::take(x.clone(), 3, [0]).map(Op::from)),
        ("axis 0 of uint8[]", Slice::take(scalars, 0, [0]).map(Op::from)),
        ("index 3 of axis 1", Slice::take(x.clone(), 1, [0, 3]).map(Op::from)),
        ("padding has 2 and 3 values", Pad::new(x.clone(), [0; 2], [0; 3], PadMode::Zero).map(Op::from)),
        ("which takes 4 elements", Pad::new(x.clone(), [0, 3, 0], [0; 3], PadMode::Reflect).map(Op::from)),
        ("padded with code 256", Pad::new(x.clone(), [1; 3], [0; 3], PadMode::Code(256)).map(Op::from)),
        ("no range: use PadMode::Zero", Pad::new(reals.clone(), [1; 3], [0; 3], PadMode::Code(0)).map(Op::from)),
        ("elements: split the tensor", Pad::new(x.clone(), [usize::MAX, 0, 0], [0; 3], PadMode::Zero).map(Op::from)),
        ("the number of elements differs", Reshape::new(x.clone(), [5, 5]).map(Op::from)),
        ("2 sizes were given", Resize::nearest(x.clone(), [1, 2]).build().map(Op::from)),
        ("linear interpolation takes int8 or uint8", Resize::linear(reals, [5]).build().map(Op::from)),
        ("positions of 10 bits", Resize::linear(x.clone(), [5]).ten_bits().build().map(Op::from)),
        ("elements: split the tensor", Resize::nearest(x.clone(), [usize::MAX]).build().map(Op::from)),
    ];
    for (expected, request) in table {
        let message = request.map(|op| op.name()).expect_err(expected).to_string();
        assert!(message.contains(expected), "{message:?} does not say {expected:?}");
    }
    Ok(())
}
