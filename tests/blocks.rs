//! MX and NVFP4 on the GPU equal the reference, bit for bit, in blocks of every length and of every kind of number. Conformance
//! cases and the error bounds here check the reference itself.

mod common;

use common::{Random, check_op, check_op_within_in_turn, context};
use half::f16;
use lowbit::numeric::{BlockFormat, BlockRounding, E8M0};
use lowbit::ops::{BlockDequantize, BlockQuantize, Cast, Dequantize, Embedding, Linear};
use lowbit::weights::PackedWeights;
use lowbit::{DType, Granularity, Quantization, Result, Shape, Tensor, TensorType, reference};

const ELEMENTS: [DType; 6] =
    [DType::Float8E4M3Fn, DType::Float8E5M2, DType::Float6E2M3, DType::Float6E3M2, DType::Float4E2M1, DType::Int8];

fn formats() -> Result<Vec<BlockFormat>> {
    let mx = ELEMENTS.iter().flat_map(|&e| [BlockRounding::Floor, BlockRounding::Ceil].map(|r| BlockFormat::mx(e, r)));
    mx.chain([BlockFormat::nvfp4_for(3.0), BlockFormat::nvfp4(0.1)]).collect()
}

fn numbers(random: &mut Random, elements: usize) -> Vec<f32> {
    let mut unit = 1.0f32;
    let number = |i: usize| {
        if i.is_multiple_of(32) {
            unit = (random.integer(-140, 127) as f32).exp2();
        }
        match random.next() % 24 {
            0 => f32::from_bits(random.next() as u32),
            1 => random.pick(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0]),
            2..8 => random.real() * unit,
            // Quarters of a power of two: ties, and the largest magnitudes of a scale.
            8..12 => random.integer(-8, 8) as f32 * 0.25 * unit,
            _ => random.real(),
        }
    };
    (0..elements).map(number).collect()
}

#[test]
fn blocks_equal_the_reference() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let (mut count, mut random) = (0, Random::new(31));
    let shapes: [&[usize]; 6] = [&[0], &[1], &[3, 33], &[2, 2, 64], &[2, 141], &[5, 0]];
    for (i, format) in formats()?.into_iter().enumerate() {
        for dimensions in [shapes[i % 6], shapes[2 + i % 3]] {
            let elements = dimensions.iter().product();
            let x = numbers(&mut random, elements);
            let halves = Tensor::new(dimensions, x.iter().map(|&x| f16::from_f32(x)).collect::<Vec<_>>())?;
            let x = Tensor::new(dimensions, x)?;
            let name = format!("{format:?} of {dimensions:?}");
            let x = if i.is_multiple_of(2) { x } else { halves };
            let op = BlockQuantize::new(x.tensor_type().clone(), format)?.into();
            count += check_op(&context, &name, &op, &[&x]);
            let blocks = reference::run(&op, &[&x])?;
            let output = [DType::Float32, DType::Float16][i % 2];
            let op =
                BlockDequantize::new(TensorType::new(format.element(), dimensions)?, format).output(output).build()?;
            count += check_op(&context, &name, &op.into(), &[&blocks[0], &blocks[1]]);
        }
    }
    // Every code and every scale, including NaN.
    for format in [BlockFormat::mx(DType::Float8E5M2, BlockRounding::Floor)?, BlockFormat::nvfp4(0.3)?] {
        let dims = [8, 512];
        let bytes = |bits: usize, count: usize| (0..count * bits / 8).map(|i| (i * 37) as u8).collect::<Vec<_>>();
        let element = TensorType::new(format.element(), dims)?;
        let elements = Tensor::from_packed(element, &bytes(format.element().bits(), 8 * 512))?;
        let scale = TensorType::new(format.scale(), [8, 512 / format.size()])?;
        let scales = Tensor::from_packed(scale, &bytes(8, 8 * 512 / format.size()))?;
        let op = BlockDequantize::new(TensorType::new(format.element(), dims)?, format).build()?;
        count += check_op(&context, &format!("all codes of {format:?}"), &op.into(), &[&elements, &scales]);
    }
    println!("blocks: {count} combinations on {}", context.description());
    Ok(())
}

/// The error of a round trip is at most half a step of the block's scale, and with `Ceil` nothing saturates.
#[test]
fn numbers_come_back_within_a_step() -> Result<()> {
    let mut random = Random::new(32);
    let x: Vec<f32> = (0..64 * 32).map(|i| random.real() * ((i / 32) as f32 - 32.0).exp2()).collect();
    let x = Tensor::new([64, 32], x)?;
    for (element, greatest, step) in [
        (DType::Float8E4M3Fn, 448.0, 1.0 / 16.0),
        (DType::Float8E5M2, 57_344.0, 1.0 / 8.0),
        (DType::Float6E2M3, 7.5, 1.0 / 16.0),
        (DType::Float6E3M2, 28.0, 1.0 / 8.0),
        (DType::Float4E2M1, 6.0, 1.0 / 4.0),
        (DType::Int8, 127.0 / 64.0, 1.0 / 128.0),
    ] {
        let format = BlockFormat::mx(element, BlockRounding::Ceil)?;
        let blocks = reference::run(&BlockQuantize::new(x.tensor_type().clone(), format)?.into(), &[&x])?;
        let back = reference::run(
            &BlockDequantize::new(TensorType::new(format.element(), [64, 32])?, format).build()?.into(),
            &[&blocks[0], &blocks[1]],
        )?;
        let (x, back) = (x.values::<f32>()?, back[0].values::<f32>()?);
        for (row, (x, back)) in x.chunks(32).zip(back.chunks(32)).enumerate() {
            let scale = blocks[1].values::<E8M0>()?[row].to_f32();
            let largest = x.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
            assert!(largest <= greatest * scale && largest > greatest * scale / 2.0, "{element}: {largest} by {scale}");
            for (x, back) in x.iter().zip(back) {
                assert!((x - back).abs() <= step * x.abs().max(scale), "{element}: {x} became {back} by {scale}");
            }
        }
    }
    Ok(())
}

#[test]
fn what_has_no_blocks_is_refused() -> Result<()> {
    assert!(BlockFormat::mx(DType::Uint8, BlockRounding::Floor).is_err());
    for scale in [0.0, -1.0, f32::NAN, f32::INFINITY, 1e-40] {
        assert!(BlockFormat::nvfp4(scale).is_err());
    }
    assert!(BlockFormat::nvfp4_for(f32::NAN).is_err());
    let format = BlockFormat::nvfp4_for(0.0)?;
    assert!(BlockQuantize::new(TensorType::new(DType::Int8, [32])?, format).is_err());
    assert!(BlockQuantize::new(TensorType::new(DType::Float32, [])?, format).is_err());
    assert!(
        BlockDequantize::new(TensorType::new(format.element(), [4, 4])?, format).output(DType::Int32).build().is_err()
    );
    Ok(())
}

/// Weights in every block format, and codes with scales per row and in groups.
fn weights(random: &mut Random, n: usize, k: usize) -> Result<Vec<PackedWeights>> {
    let real = Tensor::new([n, k], (0..n * k).map(|_| random.real()).collect::<Vec<_>>())?;
    let blocks = |format: BlockFormat| {
        let blocks = reference::run(&BlockQuantize::new(real.tensor_type().clone(), format)?.into(), &[&real])?;
        PackedWeights::from_blocks(format, &blocks[0], &blocks[1])
    };
    let mut weights: Vec<PackedWeights> = formats()?.into_iter().step_by(2).map(blocks).collect::<Result<_>>()?;
    weights.push(blocks(BlockFormat::nvfp4_for(2.0)?)?);
    let floats = [DType::Float8E4M3Fnuz, DType::Float8E4M3Fn, DType::Float4E2M1, DType::Float8E5M2Fnuz];
    for (i, format) in floats.into_iter().enumerate() {
        let axis = Granularity::Axis(0);
        let granularity =
            [axis, Granularity::Blocks { axis: 1, size: 16 }, Granularity::Blocks { axis: 1, size: 64 }][i % 3];
        let scales = (0..granularity.parameters(&Shape::new([n, k])?)?).map(|_| random.scale()).collect::<Vec<_>>();
        let codes = TensorType::new(format, [n, k])?.quantized(Quantization::new(granularity, scales, [0]))?;
        let quantize = lowbit::ops::Quantize::new(real.tensor_type().clone(), codes).build()?;
        let codes = reference::run(&quantize.into(), &[&real])?.remove(0);
        weights.push(PackedWeights::from_tensor(&codes)?);
    }
    Ok(weights)
}

#[test]
fn small_float_weights() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let (mut count, mut worst, mut random) = (0, 0.0f64, Random::new(33));
    for (i, (m, n, k)) in [(1, 5, 96), (3, 70, 160), (19, 9, 70)].into_iter().enumerate() {
        for (j, weights) in weights(&mut random, n, k)?.into_iter().enumerate().filter(|(j, _)| j % 3 == i) {
            let name = format!("{m} rows by {weights}");
            let real = Tensor::new([m, k], (0..m * k).map(|_| random.real()).collect::<Vec<_>>())?;
            let halves = real.values::<f32>()?.iter().map(|&x| f16::from_f32(x)).collect::<Vec<_>>();
            let lhs = if j.is_multiple_of(2) { real } else { Tensor::new([m, k], halves)? };
            let codes = random.quantized([DType::Int8, DType::Uint8][j % 2], &[m, k]);
            // Int8 activations in half of the cases if int8 holds the weights' codes, otherwise floats.
            let (op, lhs) = match Linear::new(codes.tensor_type().clone(), weights.clone()).build() {
                Ok(op) if j % 4 < 2 => (op, codes),
                Ok(_) => (Linear::new(lhs.tensor_type().clone(), weights.clone()).build()?, lhs),
                Err(error) => {
                    assert!(error.to_string().contains("int8 holds no"), "{name}: {error}");
                    (Linear::new(lhs.tensor_type().clone(), weights.clone()).build()?, lhs)
                }
            };
            // tests/linear.rs runs every kernel of other codes.
            let (candidates, error) = check_op_within_in_turn(3, &context, &name, &op.into(), &[&lhs]);
            (count, worst) = (count + candidates, worst.max(error));
            let rows: Vec<i32> = (0..n as i32).rev().chain([-1]).collect();
            let rows = Tensor::new([n + 1], rows)?;
            count += check_op(
                &context,
                &name,
                &Embedding::new(TensorType::int32([n + 1])?, weights).build()?.into(),
                &[&rows],
            );
        }
    }
    println!("weights: {count} combinations, errors up to {worst:.3} of the bound, on {}", context.description());
    Ok(())
}

/// Packed weights dequantize to the values of their source tensors.
#[test]
fn weights_are_what_blocks_stand_for() -> Result<()> {
    let mut random = Random::new(34);
    let real = Tensor::new([7, 96], (0..7 * 96).map(|_| random.real()).collect::<Vec<_>>())?;
    for format in formats()? {
        let blocks = reference::run(&BlockQuantize::new(real.tensor_type().clone(), format)?.into(), &[&real])?;
        let back = reference::run(
            &BlockDequantize::new(TensorType::new(format.element(), [7, 96])?, format).build()?.into(),
            &[&blocks[0], &blocks[1]],
        )?;
        let weights = PackedWeights::from_blocks(format, &blocks[0], &blocks[1])?;
        assert_eq!(weights.dequantize()?.values::<f32>()?, back[0].values::<f32>()?, "{weights}");
    }
    Ok(())
}

/// Every finite code of an 8-bit float dequantizes to its value, in embeddings and multiplied by one.
#[test]
fn all_codes_as_weights() -> Result<()> {
    let context = context();
    for element in [DType::Float8E4M3Fn, DType::Float8E5M2, DType::Float8E5M2Fnuz] {
        let all = Tensor::from_packed(TensorType::new(element, [256])?, &(0..=255).collect::<Vec<u8>>())?;
        let real =
            reference::run(&Cast::new(all.tensor_type().clone(), DType::Float32).build()?.into(), &[&all])?.remove(0);
        let finite = |code: &u8| real.values::<f32>().is_ok_and(|real| real[usize::from(*code)].is_finite());
        let codes: Vec<u8> = (0..=255).filter(finite).collect();
        let tensor = Tensor::from_packed(TensorType::new(element, [1, codes.len()])?, &codes)?;
        let tensor = tensor.quantized(Quantization::tensor(0.5, 0))?;
        let numbers =
            reference::run(&Dequantize::new(tensor.tensor_type().clone()).build()?.into(), &[&tensor])?.remove(0);
        let weights = PackedWeights::from_tensor(&tensor)?;
        assert_eq!(weights.dequantize()?.values::<f32>()?, numbers.values::<f32>()?, "{weights}");
        let Some(context) = &context else { continue };
        let row = Tensor::new([1], vec![0i32])?;
        let out = context
            .run_blocking(&Embedding::new(TensorType::int32([1])?, weights.clone()).build()?.into(), &[&row])?
            .remove(0);
        assert_eq!(out.values::<f32>()?, numbers.values::<f32>()?, "{element}");
        // Each sum has one product with one and otherwise zeros, so no sum is rounded.
        let k = codes.len();
        let identity = (0..k * k).map(|i| f32::from(u8::from(i % (k + 1) == 0))).collect::<Vec<_>>();
        let identity = Tensor::new([k, k], identity)?;
        let op = Linear::new(identity.tensor_type().clone(), weights).build()?;
        let out = context.run_blocking(&op.into(), &[&identity])?.remove(0);
        assert_eq!(out.values::<f32>()?, numbers.values::<f32>()?, "{element}");
    }
    Ok(())
}

#[test]
fn weights_that_are_no_numbers_are_refused() -> Result<()> {
    let scale = Tensor::from_packed(TensorType::new(DType::Float8E8M0, [1, 1])?, &[127])?;
    for (element, code) in [(DType::Float8E4M3Fn, 0x7f), (DType::Float8E5M2, 0x7c), (DType::Float8E5M2, 0xff)] {
        let elements = Tensor::from_packed(TensorType::new(element, [1, 1])?, &[code])?;
        let format = BlockFormat::mx(element, BlockRounding::Floor)?;
        let error = PackedWeights::from_blocks(format, &elements, &scale).map(drop).expect_err("no number");
        assert!(error.to_string().contains("weights are finite"), "{error}");
        let nan = Tensor::from_packed(TensorType::new(DType::Float8E8M0, [1, 1])?, &[255])?;
        let one = Tensor::from_packed(TensorType::new(element, [1, 1])?, &[0x38])?;
        assert!(PackedWeights::from_blocks(format, &one, &nan).is_err());
        let other = BlockFormat::mx(DType::Int8, BlockRounding::Floor)?;
        assert!(PackedWeights::from_blocks(other, &one, &scale).is_err());
    }
    Ok(())
}
