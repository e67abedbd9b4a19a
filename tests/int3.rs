//! int3 and uint3 tensors on the GPU equal the reference, bit for bit: their memory, every code quantized and dequantized, casts
//! from and to every other dtype, and as weights of matmul, convolution and linear layers. Tables of tests with other dtypes hold
//! them too.

mod common;

use common::{Random, check_op, check_op_in_turn, check_op_within, context, dtypes, first_difference, tensor_of_codes};
use lowbit::numeric::{I3, U3};
use lowbit::ops::{Cast, Conv, Dequantize, Linear, Matmul, Op, Output, Padding, Quantize, Requantization};
use lowbit::weights::{Codes, PackedWeights};
use lowbit::{DType, Granularity, Quantization, Result, Tensor, TensorType, pack, reference};

const INT3: [DType; 2] = [DType::Int3, DType::Uint3];

/// The dtype of 4 bits with equal signs.
fn wider(dtype: DType) -> DType {
    if dtype.is_signed() { DType::Int4 } else { DType::Uint4 }
}

#[test]
fn codes_take_four_bits_in_memory() -> Result<()> {
    let signed = [-4, -1, 0, 3, 2].map(|code| I3::new(code).expect("a code"));
    let tensor = Tensor::new([5], signed)?;
    assert_eq!(pack::words(&tensor), [0x2_30fc, 0, 0, 0]);
    assert_eq!(Tensor::from_packed(tensor.tensor_type().clone(), &[0xfc, 0x30, 0x02])?, tensor);
    // The fourth bit is ignored.
    assert_eq!(Tensor::from_packed(tensor.tensor_type().clone(), &[0x74, 0xb8, 0x0a])?, tensor);
    assert_eq!(tensor.codes()?, [-4, -1, 0, 3, 2]);

    let tensor = Tensor::new([3], [7, 0, 4].map(|code| U3::new(code).expect("a code")))?;
    assert_eq!(pack::words(&tensor), [0x407, 0, 0, 0]);
    assert_eq!(Tensor::from_packed(tensor.tensor_type().clone(), &[0x8f, 0x0c])?, tensor);
    assert_eq!((I3::new(4), U3::new(8)), (None, None));
    Ok(())
}

#[test]
fn every_code_with_every_zero_point() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    for dtype in INT3 {
        let (low, high) = dtype.range().expect("integers");
        for zero_point in low..=high {
            let scale = Quantization::tensor(0.25, zero_point);
            let codes: Vec<i32> = (low..=high).collect();
            let codes = tensor_of_codes(dtype, &[8], &codes).quantized(scale.clone())?;
            let reals: Vec<f32> = (low..=high).map(|code| (code - zero_point) as f32 * 0.25).collect();
            let op: Op = Dequantize::new(codes.tensor_type().clone()).build()?.into();
            assert_eq!(reference::run(&op, &[&codes])?[0].values::<f32>()?, reals);
            check_op(&context, &format!("{dtype}, zero point {zero_point}"), &op, &[&codes]);

            let reals = Tensor::new([8], reals)?;
            let op: Op = Quantize::new(reals.tensor_type().clone(), codes.tensor_type().clone()).build()?.into();
            assert_eq!(reference::run(&op, &[&reals])?[0], codes);
            check_op(&context, &format!("to {dtype}, zero point {zero_point}"), &op, &[&reals]);
            // Numbers beyond the codes become the least and the greatest.
            let beyond = Tensor::new([8], [-9.0f32, 9.0, -1e9, 1e9, f32::NEG_INFINITY, f32::INFINITY, f32::NAN, 2.1])?;
            let ends = reference::run(&op, &[&beyond])?[0].codes()?;
            assert_eq!(ends[..7], [low, high, low, high, low, high, low]);
            check_op(&context, &format!("beyond {dtype}, zero point {zero_point}"), &op, &[&beyond]);
        }
    }
    Ok(())
}

#[test]
fn casts_keep_the_low_three_bits() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let castable = dtypes(|to| Cast::new(TensorType::new(DType::Int3, [1]).expect("a shape"), to).build().is_ok());
    assert!(castable.len() >= 18, "{castable:?}");
    for dtype in INT3 {
        let (low, _) = dtype.range().expect("integers");
        // Rows that end within a word.
        let codes = tensor_of_codes(dtype, &[3, 8], &(0..24).map(|i| low + i % 8).collect::<Vec<_>>());
        for &to in &castable {
            let there: Op = Cast::new(codes.tensor_type().clone(), to).build()?.into();
            let made = reference::run(&there, &[&codes])?.remove(0);
            let back: Op = Cast::new(made.tensor_type().clone(), dtype).build()?.into();
            // E8M0 has neither 0 nor signs, integers of two bits lose the third, and E2M1 has no 5.
            let loses = to == DType::Float8E8M0 || to.bits() == 2 || (to == DType::Float4E2M1 && !dtype.is_signed());
            if !loses {
                assert_eq!(first_difference(&reference::run(&back, &[&made])?[0], &codes), None, "{dtype} by {to}");
            }
            check_op(&context, &format!("{dtype} to {to}"), &there, &[&codes]);
            check_op(&context, &format!("{to} to {dtype}"), &back, &[&made]);
        }
        let numbers: Vec<i32> = (-40..41).collect();
        let reals = Tensor::new([81], numbers.iter().map(|&x| x as f32).collect::<Vec<_>>())?;
        let op: Op = Cast::new(reals.tensor_type().clone(), dtype).build()?.into();
        let low_bits: Vec<i32> = numbers.iter().map(|&x| (x - low).rem_euclid(8) + low).collect();
        assert_eq!(reference::run(&op, &[&reals])?[0].codes()?, low_bits);
        check_op(&context, &format!("integers to {dtype}"), &op, &[&reals]);
        let rounded = Tensor::new([8], [0.5f32, 1.5, -0.5, -2.5, 3.4999998, f32::NAN, 1e30, -1e30])?;
        let op: Op = Cast::new(rounded.tensor_type().clone(), dtype).build()?.into();
        check_op(&context, &format!("reals to {dtype}"), &op, &[&rounded]);
    }
    Ok(())
}

/// Results with int3 weights, which are also those of equal codes in four bits. Kernels don't tell them apart, so a few
/// candidates are enough.
#[test]
fn weights_of_matmul_and_convolution() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let (mut count, mut random) = (0, Random::new(40));
    for dtype in INT3 {
        for (i, [m, n, k]) in [[1, 5, 9], [3, 17, 64], [33, 8, 31], [70, 66, 40]].into_iter().enumerate() {
            let lhs = random.quantized(if i % 2 == 0 { DType::Int8 } else { DType::Uint8 }, &[m, k]);
            let scales: Vec<f32> = (0..n).map(|_| random.scale()).collect();
            let zero_points: Vec<i32> = (0..n).map(|_| if i == 0 { 0 } else { random.zero_point(dtype) }).collect();
            let quantization = Quantization::new(Granularity::Axis(0), scales, zero_points);
            let weights = random.codes(dtype, &[n, k]).quantized(quantization.clone())?;
            let same = tensor_of_codes(wider(dtype), &[n, k], &weights.codes()?).quantized(quantization)?;
            let outputs = [Output::Accumulator, Requantization::new(DType::Int8, 0.5, 3)?.into(), Output::real()];
            for output in outputs {
                let op = |weights: &Tensor| -> Result<Op> {
                    let matmul = Matmul::new(lhs.tensor_type().clone(), weights.clone()).transposed();
                    Ok(matmul.output(output.clone()).build()?.into())
                };
                let [made, expected] = [&weights, &same].map(|w| reference::run(&op(w)?, &[&lhs]));
                assert_eq!(first_difference(&made?[0], &expected?[0]), None);
                count += check_op_in_turn(12, &context, &format!("{dtype} {m} x {n} x {k}"), &op(&weights)?, &[&lhs]);
            }
        }
        for (channels, outputs, groups, kernel) in [(3, 5, 1, 3), (32, 16, 2, 3), (6, 6, 6, 3), (17, 9, 1, 1)] {
            let image = random.quantized(DType::Uint8, &[2, 5, 4, channels]);
            let dims = [outputs, kernel, kernel, channels / groups];
            let weights = random.quantized(dtype, &dims);
            let same = tensor_of_codes(wider(dtype), &dims, &weights.codes()?);
            let same = same.quantized(weights.tensor_type().quantization().expect("a scale").clone())?;
            let op = |weights: &Tensor| -> Result<Op> {
                let conv = Conv::new(image.tensor_type().clone(), weights.clone()).groups(groups);
                Ok(conv.padding(Padding::SameUpper).build()?.into())
            };
            let [made, expected] = [&weights, &same].map(|w| reference::run(&op(w)?, &[&image]));
            assert_eq!(first_difference(&made?[0], &expected?[0]), None);
            count +=
                check_op_in_turn(12, &context, &format!("{dtype}, {channels} channels"), &op(&weights)?, &[&image]);
        }
    }
    println!("int3 weights: {count} combinations on {}", context.description());
    Ok(())
}

/// An operand whose codes come from a cast on the device: numbers beyond the codes leave no bits that the matmul would read.
#[test]
fn codes_made_on_the_device() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(41);
    for dtype in INT3 {
        let lhs = random.quantized(DType::Int8, &[4, 24]);
        let reals = Tensor::new([24, 10], (0..240).map(|_| random.integer(-9, 9) as f32).collect::<Vec<_>>())?;
        let cast = Cast::new(reals.tensor_type().clone(), dtype).build()?;
        let rhs = TensorType::new(dtype, [24, 10])?;
        let mut graph = lowbit::Graph::new();
        let (x, w) = (graph.input(lhs.tensor_type().clone()), graph.input(reals.tensor_type().clone()));
        let codes = graph.add(cast, &[w])?;
        let matmul = Matmul::new(lhs.tensor_type().clone(), rhs).build()?;
        let product = graph.add(matmul, &[x, codes])?;
        graph.output(product);
        let expected = graph.run_reference(&[&lhs, &reals])?;
        let plan = context.plan(&graph, lowbit::Tuner::FirstGuess)?;
        let got = plan.run_blocking(&[&lhs, &reals])?;
        assert_eq!(first_difference(&got[0], &expected[0]), None, "{dtype}");
    }
    Ok(())
}

#[test]
fn packed_weights_take_three_bits() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(42);
    for dtype in INT3 {
        let quantization = Quantization::new(Granularity::Axis(0), vec![0.5; 9], vec![1; 9]);
        let tensor = random.codes(dtype, &[9, 64]).quantized(quantization)?;
        let weights = PackedWeights::from_tensor(&tensor)?;
        assert_eq!(weights.format().codes, Codes::INT3);
        let reals: Vec<f32> = tensor.codes()?.into_iter().map(|code| (code - 1) as f32 * 0.5).collect();
        assert_eq!(weights.dequantize()?.values::<f32>()?, reals);
        let lhs = random.quantized(DType::Int8, &[3, 64]);
        let op: Op = Linear::new(lhs.tensor_type().clone(), weights).build()?.into();
        check_op_within(&context, &format!("linear of {dtype}"), &op, &[&lhs]);
    }
    Ok(())
}
