//! Products on matrix units at the ends of their range, where sums in float32 are only just exact. They are compared beside every
//! other candidate, over ragged sizes and more products than a run has. A device without matrix units skips only those candidates.

mod common;

use common::{Random, check_op_in_turn, check_op_within_in_turn, context};
use half::f16;
use lowbit::ops::{Conv, Linear, Matmul, Op, Output, Padding, Requantization};
use lowbit::weights::{Codes, GroupParams, PackedWeights, ScaleFormat, WeightFormat};
use lowbit::{Context, DType, Quantization, Result, Tensor, kernels};

/// A context on the default adapter. With `LOWBIT_REQUIRE_MATRICES=1` an adapter without matrix units is a failure.
fn device() -> Option<Context> {
    let context = context()?;
    let required = std::env::var("LOWBIT_REQUIRE_MATRICES").is_ok_and(|v| v == "1");
    assert!(!required || context.caps().coop_matrix_size > 0, "{} has no matrix units", context.description());
    Some(context)
}

/// Every candidate runs where some are on matrix units. Elsewhere one in eight does, in turn: other tests run them all.
fn step(context: &Context) -> usize {
    if context.caps().coop_matrix_size > 0 { 1 } else { 8 }
}

/// True if matrix units are among the candidates of an op.
fn runs_on_units(context: &Context, op: &Op) -> bool {
    kernels::candidates(op, &context.caps()).iter().any(|c| c.label.contains("cooperative matrix"))
}

/// Checks an op, and that its candidates include matrix units if the device has them.
fn check(context: &Context, name: &str, op: impl Into<Op>, input: &Tensor) -> usize {
    let op = op.into();
    assert_eq!(runs_on_units(context, &op), context.caps().coop_matrix_size > 0, "{name}");
    check_op_in_turn(step(context), context, name, &op, &[input])
}

/// 1,024 products of -128 · -128 are 2^24, the greatest exact sum; one more product begins another run.
#[test]
fn sums_at_the_end_of_float32() -> Result<()> {
    let Some(context) = device() else { return Ok(()) };
    let mut random = Random::new(60);
    let mut count = 0;
    for k in [1024, 1025, 2079] {
        let (m, n) = (19, 37);
        for (name, [x, w]) in [("least", [-128, -128]), ("opposite", [-128, 127]), ("greatest", [127, 127])] {
            // One code in 997 differs, so that the order of elements matters.
            let filled = |code: i8, other: usize| (0..other * k).map(|i| if i % 997 == 5 { 1 } else { code }).collect();
            let filled = |code, other| -> Vec<i8> { filled(code, other) };
            let lhs = Tensor::new([m, k], filled(x, m))?;
            let rhs = Tensor::new([n, k], filled(w, n))?;
            let op = Matmul::new(lhs.tensor_type().clone(), rhs).transposed().build()?;
            count += check(&context, &format!("{name}, k = {k}"), op, &lhs);
        }
        // Kernels store codes of 0 and 255 as -128 and 127; the zero points turn them into ±255.
        for [x, zero_point] in [[0u8, 255], [255, 0]] {
            let lhs = Tensor::new([m, k], vec![x; m * k])?.quantized(Quantization::tensor(1.0, zero_point.into()))?;
            let rhs = Tensor::new([k, n], vec![x; n * k])?.quantized(Quantization::tensor(1.0, zero_point.into()))?;
            let op = Matmul::new(lhs.tensor_type().clone(), rhs).build()?;
            count += check(&context, &format!("{x} less {zero_point}, k = {k}"), op, &lhs);
        }
        let lhs = random.quantized(DType::Uint8, &[m, k]);
        for format in [DType::Int8, DType::Uint8, DType::Int4, DType::Int2] {
            let rhs = random.quantized(format, &[k, n]);
            let stage = Requantization::new(DType::Int8, 1e-4, 3)?;
            let op = Matmul::new(lhs.tensor_type().clone(), rhs).output(Output::from(stage)).build()?;
            count += check(&context, &format!("{format} weights, k = {k}"), op, &lhs);
        }
    }
    println!("sums: {count} combinations on {}", context.description());
    Ok(())
}

/// Blocks that extend beyond the rows and columns, and k that fills no step.
#[test]
fn ragged_blocks() -> Result<()> {
    let Some(context) = device() else { return Ok(()) };
    let (mut random, mut count) = (Random::new(61), 0);
    for [m, n, k] in [[3, 6, 0], [1, 1, 1], [33, 65, 31], [65, 129, 48], [70, 30, 100]] {
        for zero_point in [0, 3] {
            let lhs = random.codes(DType::Int8, &[m, k]).quantized(Quantization::tensor(0.5, -7))?;
            let rhs = random.codes(DType::Int8, &[k, n]).quantized(Quantization::tensor(0.5, zero_point))?;
            let op = Matmul::new(lhs.tensor_type().clone(), rhs).output(Output::real()).build()?;
            count += check(&context, &format!("{m} x {n} x {k}, zero point {zero_point}"), op, &lhs);
        }
    }
    println!("ragged: {count} combinations on {}", context.description());
    Ok(())
}

/// Pointwise convolutions, and convolutions by patches.
#[test]
fn convolutions() -> Result<()> {
    let Some(context) = device() else { return Ok(()) };
    let (mut random, mut count) = (Random::new(62), 0);
    for kernel in [1, 3] {
        let image = random.quantized(DType::Uint8, &[2, 7, 9, 24]);
        let filters = random.quantized(DType::Int8, &[21, kernel, kernel, 24]);
        let op = Conv::new(image.tensor_type().clone(), filters).padding(Padding::SameUpper).build()?;
        count += check(&context, &format!("{kernel} x {kernel}"), op, &image);
    }
    println!("convolutions: {count} combinations on {}", context.description());
    Ok(())
}

/// Half floats, including subnormals, by weights in groups with every kind of scale; float32 has no such kernel.
#[test]
fn weights_in_groups() -> Result<()> {
    let Some(context) = device() else { return Ok(()) };
    let (mut random, mut count, mut worst) = (Random::new(63), 0, 0.0f64);
    let formats = [
        WeightFormat::new(Codes::INT4, 32, ScaleFormat::F16),
        WeightFormat::new(Codes::UINT4, 64, ScaleFormat::F16Zero),
        WeightFormat::new(Codes::INT8, 32, ScaleFormat::F32Offset),
        WeightFormat::new(Codes::UINT8, usize::MAX, ScaleFormat::F32RealZero),
        WeightFormat::new(Codes::IQ4_NL, 32, ScaleFormat::Nested(4)),
        WeightFormat::new(Codes::INT3, 40, ScaleFormat::E8M0),
    ];
    for format in formats {
        for [m, n, k] in [[1, 3, 0], [5, 70, 100], [37, 133, 256]] {
            let (low, high) = format.codes.range();
            let weights: Vec<i8> = (0..n * k).map(|_| random.integer(low.into(), high.into()) as i8).collect();
            let weights = PackedWeights::build(format, [1, n, k], |row, codes, groups, supers| {
                codes.copy_from_slice(&weights[row * k..][..k]);
                let number = |i: usize| 0.25 + (row + i) as f32 % 8.0;
                groups.iter_mut().enumerate().for_each(|(i, group)| {
                    *group = match format.scales {
                        ScaleFormat::F16 => GroupParams::scale(number(i)),
                        ScaleFormat::E8M0 => GroupParams::scale(0.5),
                        ScaleFormat::Nested(_) => GroupParams::scale(number(i).floor() - 3.0),
                        _ => GroupParams::new(number(i), number(i + 1).floor()),
                    };
                });
                supers.fill(GroupParams::scale(0.375));
                Ok(())
            })?;
            let small = |i: usize| if i.is_multiple_of(7) { 1e-6 } else { 1.0 };
            let x: Vec<f16> = (0..m * k).map(|i| f16::from_f32(random.real() * small(i))).collect();
            let x = Tensor::new([m, k], x)?;
            let bias = Tensor::new([n], (0..n).map(|_| random.real()).collect::<Vec<f32>>())?;
            let op: Op = Linear::new(x.tensor_type().clone(), weights).bias(bias).build()?.into();
            let name = format!("{format}, {m} x {n} x {k}");
            assert_eq!(runs_on_units(&context, &op), context.caps().coop_matrix_size > 0, "{name}");
            let (candidates, share) = check_op_within_in_turn(step(&context), &context, &name, &op, &[&x]);
            (count, worst) = (count + candidates, worst.max(share));
        }
    }
    println!("groups: {count} combinations, largest error {worst:.3} of its bound, on {}", context.description());
    Ok(())
}

/// A caller's device uses matrices once the context is told of them, if their kind fits and the device has the features.
#[test]
fn devices_of_the_caller() -> Result<()> {
    let Some(context) = device() else { return Ok(()) };
    let adopted = || Context::from_device(context.device().clone(), context.queue().clone());
    assert_eq!(adopted().caps().coop_matrix_size, 0);
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all().with_env()));
    let same = |adapter: &wgpu::Adapter| adapter.get_info().name == context.device().adapter_info().name;
    let adapter = adapters.into_iter().find(same).expect("the context's adapter");
    let told = adopted().with_coop_matrices(&adapter.cooperative_matrix_properties());
    let told = pollster::block_on(told.tested())?;
    assert_eq!(told.caps(), context.caps());
    let has = context.caps().coop_matrix_size > 0;
    let properties = |m_size, cr_type| wgpu::CooperativeMatrixProperties {
        m_size,
        n_size: 8,
        k_size: 8,
        ab_type: wgpu::CooperativeScalarType::F16,
        cr_type,
        saturating_accumulation: false,
    };
    let (f16, f32) = (wgpu::CooperativeScalarType::F16, wgpu::CooperativeScalarType::F32);
    for (name, told, matrix) in [
        ("square", vec![properties(16, f32), properties(8, f16), properties(8, f32)], if has { 8 } else { 0 }),
        ("other sums, other shapes", vec![properties(8, f16), properties(16, f32)], 0),
        ("none", vec![], 0),
    ] {
        assert_eq!(adopted().with_coop_matrices(&told).caps().coop_matrix_size, matrix, "{name}");
    }
    Ok(())
}
