//! Small floats on the GPU equal the reference, bit for bit: every float16 and every boundary to every dtype, every code to every
//! other dtype; and quantization to integers at every rounding boundary. Tables beside `numeric`'s source test the reference
//! itself.

mod common;

use common::{Random, check_op, context, dtypes};
use half::f16;
use lowbit::numeric::PowerRounding;
use lowbit::ops::{Cast, Dequantize, Quantize};
use lowbit::{DType, Granularity, Quantization, Result, Shape, Tensor, TensorType};

/// Floats of at most 8 bits.
fn small() -> Vec<DType> {
    dtypes(DType::is_minifloat)
}

/// All codes of a dtype, row by row.
fn all_codes(dtype: DType, dims: &[usize]) -> Result<Tensor> {
    let elements: usize = dims.iter().product();
    let bytes: Vec<u8> = (0..elements * dtype.bits() / 8).map(|i| (i * 37) as u8).collect();
    Tensor::from_packed(TensorType::new(dtype, dims)?, &bytes)
}

/// float32 around every number of every dtype and every middle between two numbers.
fn boundaries() -> Vec<f32> {
    let mut bits = Vec::new();
    // Mantissas of at most four bits have middles of five.
    for exponent in (100..146).chain([0, 1, 2, 253, 254, 255]) {
        for mantissa in 0..32u32 {
            for by in -1..=1i32 {
                bits.push((exponent << 23 | mantissa << 18).wrapping_add_signed(by) & 0x7fff_ffff);
            }
        }
    }
    bits.into_iter().flat_map(|b| [f32::from_bits(b), -f32::from_bits(b)]).collect()
}

#[test]
fn every_half_and_every_boundary_to_every_format() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let halves = Tensor::new([2048, 32], (0..=u16::MAX).map(f16::from_bits).collect::<Vec<_>>())?;
    let reals = boundaries();
    let reals = Tensor::new([reals.len()], reals)?;
    let mut count = 0;
    for x in [&halves, &reals] {
        for to in small() {
            let op = Cast::new(x.tensor_type().clone(), to);
            for op in [op.clone(), op.non_saturating()] {
                count += check_op(&context, &format!("{} to {to}", x.tensor_type()), &op.build()?.into(), &[x]);
            }
        }
        for rounding in [PowerRounding::Up, PowerRounding::Down, PowerRounding::Nearest] {
            let op = Cast::new(x.tensor_type().clone(), DType::Float8E8M0).rounding(rounding);
            for op in [op.clone(), op.non_saturating()] {
                count += check_op(&context, &format!("{} to a power", x.tensor_type()), &op.build()?.into(), &[x]);
            }
        }
    }
    println!("to small floats: {count} combinations on {}", context.description());
    Ok(())
}

#[test]
fn every_code_to_other_formats() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut count = 0;
    let all = [&small()[..], &[DType::Float8E8M0]].concat();
    for &from in &all {
        let x = all_codes(from, &[16, 32])?;
        let integer = [DType::Int8, DType::Uint8, DType::Int4, DType::Uint2][from as usize % 4];
        for to in [DType::Float32, DType::Float16, integer, small()[from as usize % small().len()]] {
            let op = Cast::new(x.tensor_type().clone(), to).build()?;
            count += check_op(&context, &format!("{from} to {to}"), &op.into(), &[&x]);
        }
    }
    // Rows of any length, and integers as scaleless codes.
    let mut random = Random::new(21);
    for dimensions in [vec![], vec![0, 3], vec![5, 1], vec![3, 7], vec![2, 3, 33], vec![4, 129]] {
        for small in [random.pick(&all), random.pick(&all)] {
            let from = random.pick(&[DType::Int8, DType::Uint8, DType::Int4, DType::Uint2]);
            let x = random.codes(from, &dimensions);
            let op = Cast::new(x.tensor_type().clone(), small).build()?;
            count += check_op(&context, &format!("{dimensions:?} {from} to {small}"), &op.into(), &[&x]);
            let x = all_codes(small, &[&dimensions[..], &[2]].concat())?;
            let op = Cast::new(x.tensor_type().clone(), DType::Float32).build()?;
            count += check_op(&context, &format!("{dimensions:?} {small}"), &op.into(), &[&x]);
        }
    }
    println!("from small floats: {count} combinations on {}", context.description());
    Ok(())
}

#[test]
fn quantize_and_dequantize_small_floats() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let (mut count, mut random) = (0, Random::new(22));
    let granularities = [
        Granularity::Tensor,
        Granularity::Axis(0),
        Granularity::Axis(1),
        Granularity::Axis(2),
        Granularity::Blocks { axis: 1, size: 2 },
        Granularity::Blocks { axis: 2, size: 16 },
        Granularity::Blocks { axis: 2, size: 5 },
    ];
    for (i, granularity) in granularities.into_iter().enumerate() {
        for format in [small()[i % small().len()], random.pick(&small())] {
            let dims = [2, 3, [34, 32, 1][i % 3]];
            let elements: usize = dims.iter().product();
            let scales = granularity.parameters(&Shape::new(dims)?)?;
            let scales: Vec<f32> = (0..scales).map(|_| f16::from_f32(random.scale()).to_f32()).collect();
            let codes_type = TensorType::new(format, dims)?.quantized(Quantization::new(granularity, scales, [0]))?;
            let value = |random: &mut Random| match random.next() % 8 {
                0 => f32::from_bits(random.next() as u32),
                1 => random.pick(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0]),
                _ => random.real() * 0.1,
            };
            let x = Tensor::new(dims, (0..elements).map(|_| value(&mut random)).collect::<Vec<_>>())?;
            let halves = x.values::<f32>()?.iter().map(|&x| f16::from_f32(x)).collect::<Vec<_>>();
            let halves = Tensor::new(dims, halves)?;
            let name = format!("{format} by {granularity:?}");
            let op = Quantize::new(TensorType::float32(codes_type.dims())?, codes_type.clone()).build()?;
            count += check_op(&context, &name, &op.into(), &[&x]);
            let op = Quantize::new(halves.tensor_type().clone(), codes_type.clone());
            let op = op.non_saturating().precision(DType::Float16).build()?;
            count += check_op(&context, &name, &op.into(), &[&halves]);
            let codes = all_codes(format, &dims)?.quantized(codes_type.quantization().expect("scales").clone())?;
            let op = Dequantize::new(codes_type);
            count += check_op(&context, &name, &op.clone().build()?.into(), &[&codes]);
            count += check_op(&context, &name, &op.output(DType::Float16).build()?.into(), &[&codes]);
        }
    }
    println!("quantized small floats: {count} combinations on {}", context.description());
    Ok(())
}

/// The nearest float16, ties to even: the nearest of `f16::from_f64` and its two neighbours.
fn nearest_half(number: f64) -> f64 {
    let size = f16::from_f64(number.abs()).to_bits();
    let beside = [size.saturating_sub(1), size, (size + 1).min(0x7c00)].map(|bits| {
        let half = f16::from_bits(bits);
        // Infinity counts as the next number after the largest.
        (if half.is_finite() { half.to_f64() } else { 65_536.0 }, bits)
    });
    let distance = |(half, bits): &(f64, u16)| ((half - number.abs()).abs(), bits & 1);
    let nearest = beside.into_iter().min_by(|a, b| distance(a).partial_cmp(&distance(b)).expect("no NaN"));
    nearest.expect("three").0.copysign(number)
}

/// A float16 quotient is one correctly rounded float16 division of float16 operands, as computed in f64.
#[test]
fn half_precision_is_one_division() -> Result<()> {
    let mut random = Random::new(23);
    for _ in 0..200 {
        let scale = f16::from_bits((random.next() % 0x7bff) as u16 + 1);
        let x: Vec<f16> = (0..512).map(|_| f16::from_bits(random.next() as u16)).filter(|x| x.is_finite()).collect();
        let codes = TensorType::new(DType::Int16, [x.len()])?.quantized(Quantization::tensor(scale.to_f32(), 0))?;
        let op =
            Quantize::new(TensorType::new(DType::Float16, codes.dims())?, codes).precision(DType::Float16).build()?;
        let x = Tensor::new([x.len()], x)?;
        let got = lowbit::reference::run(&op.into(), &[&x])?.remove(0);
        for (&x, &got) in x.values::<f16>()?.iter().zip(got.values::<i16>()?) {
            let quotient = nearest_half(x.to_f64() / scale.to_f64());
            let expected = quotient.round_ties_even().clamp(-32_768.0, 32_767.0);
            assert_eq!(f64::from(got), expected, "{x} / {scale}");
        }
    }
    Ok(())
}

/// Every float32 within two steps of each boundary between codes, for 100 scales.
#[test]
fn quantization_is_exact_at_every_boundary() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(24);
    let mut elements = 0;
    for (format, low, high) in [(DType::Int8, -128, 127), (DType::Int4, -8, 7)] {
        let scales: Vec<f32> = (0..100)
            .map(|i| match i {
                // Any exponent, including subnormals; every other mantissa is random.
                0..10 => f32::from_bits(random.next() as u32 % 0x7f00_0000 + 1),
                10..20 => (random.integer(-20, 20) as f32).exp2(),
                _ => random.scale(),
            })
            .collect();
        let zero_points: Vec<i32> = (0..100).map(|_| random.zero_point(format)).collect();
        let mut x = Vec::new();
        for &scale in &scales {
            // With any zero point: the boundaries of codes on both sides of 0.
            for step in 2 * low - 1..=2 * high {
                let boundary = (f64::from(step) + 0.5) * f64::from(scale);
                let nearest = (boundary as f32).clamp(f32::MIN, f32::MAX);
                x.extend((-2..=2).map(|by| f32::from_bits(nearest.to_bits().wrapping_add_signed(by))));
            }
        }
        let columns = x.len() / 100;
        elements += x.len();
        let x = Tensor::new([100, columns], x)?;
        let codes = TensorType::new(format, [100, columns])?;
        let codes = codes.quantized(Quantization::new(Granularity::Axis(0), scales, zero_points))?;
        check_op(
            &context,
            &format!("boundaries of {format}"),
            &Quantize::new(TensorType::float32(codes.dims())?, codes).build()?.into(),
            &[&x],
        );
    }
    println!("{elements} numbers near boundaries on {}", context.description());
    Ok(())
}
