//! `ops::Linear` and `ops::Embedding`: every candidate kernel against the reference, with every format of weights and lhs, over
//! awkward sizes. Sums that stay integers are compared bit for bit, all others within the derived bound.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Random, check_op, check_op_within, context, gpu_context};
use half::f16;
use lowbit::numeric::QuantizationParams;
use lowbit::ops::{
    Arithmetic, DynamicGranularity, DynamicQuantize, Embedding, FloatBinary, FloatUnary, Function, JointLinear, Linear,
    LinearConv, Op, Padding, QuantizeWeights,
};
use lowbit::weights::{Codes, GroupParams, OffsetKind, PackedWeights, Quantizer, ScaleFormat, WeightFormat};
use lowbit::{
    DType, DeviceLimits, Error, Granularity, Graph, Plan, Quantization, Result, Tensor, TensorType, Tuner, reference,
};

const CODES: [Codes; 8] =
    [Codes::INT2, Codes::INT3, Codes::INT4, Codes::INT5, Codes::INT6, Codes::INT8, Codes::IQ4_NL, Codes::E2M1_DOUBLED];

const SCALES: [ScaleFormat; 10] = [
    ScaleFormat::F32,
    ScaleFormat::F16,
    ScaleFormat::E8M0,
    ScaleFormat::F32Zero,
    ScaleFormat::F16Zero,
    ScaleFormat::F32RealZero,
    ScaleFormat::F32Offset,
    ScaleFormat::F16Offset,
    ScaleFormat::Nested(4),
    ScaleFormat::NestedOffset(3),
];

/// Random weights; the extremes of their codes are over-represented. Columns are in any order if `shuffled`.
fn weights(random: &mut Random, format: WeightFormat, dims: [usize; 3], shuffled: bool) -> Result<PackedWeights> {
    let [experts, n, k] = dims;
    let (low, high) = format.codes.range();
    let code = |random: &mut Random| match random.next() % 6 {
        0 => low,
        1 => high,
        _ => random.integer(low.into(), high.into()) as i8,
    };
    let rows: Vec<Vec<i8>> = (0..experts * n).map(|_| (0..k).map(|_| code(random)).collect()).collect();
    let seeds: Vec<u64> = (0..experts * n).map(|_| random.next()).collect();
    let half = |x: f32| f16::from_f32(x).to_f32();
    let most = 1i64 << (format.codes.bits() - 1);
    let row = |row: usize, codes: &mut [i8], groups: &mut [GroupParams], supers: &mut [GroupParams]| {
        codes.copy_from_slice(&rows[row]);
        let random = &mut Random::new(seeds[row]);
        for group in groups.iter_mut() {
            let (scale, shift) = (random.real() * 0.1, random.real());
            *group = match format.scales {
                ScaleFormat::F16 => GroupParams::scale(half(scale)),
                ScaleFormat::E8M0 => GroupParams::scale((random.integer(-9, 3) as f32).exp2()),
                ScaleFormat::F32Zero => GroupParams::new(scale, random.integer(-most, most - 1) as f32),
                ScaleFormat::F16Zero => GroupParams::new(half(scale), random.integer(-most, most - 1) as f32),
                ScaleFormat::F32RealZero => GroupParams::new(scale, shift * 4.0),
                ScaleFormat::F32Offset => GroupParams::new(scale, shift),
                ScaleFormat::F16Offset => GroupParams::new(half(scale), half(shift)),
                ScaleFormat::Nested(_) => GroupParams::scale(random.integer(-128, 127) as f32),
                ScaleFormat::NestedOffset(_) => {
                    GroupParams::new(random.integer(0, 255) as f32, random.integer(0, 255) as f32)
                }
                _ => GroupParams::scale(scale),
            };
        }
        for of in supers.iter_mut() {
            *of = GroupParams::new(half(random.real() * 0.001), half(random.real() * 0.01));
        }
        Ok(())
    };
    if !shuffled {
        return PackedWeights::build(format, dims, row);
    }
    let groups = k.div_ceil(format.group.min(k.max(1)));
    let mut index: Vec<u32> = (0..k).map(|l| (l % groups.max(1)) as u32).collect();
    for i in (1..k).rev() {
        index.swap(i, random.next() as usize % (i + 1));
    }
    PackedWeights::build_indexed(format, dims, &index, row)
}

/// Kind of lhs and of its inputs.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Lhs {
    Float32,
    Float16,
    /// Static codes: per tensor, per row, or in the weights' groups.
    Codes(DType, Spread),
    /// Codes and parameters from a dynamic quantization.
    Dynamic(DType, DynamicGranularity, bool),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Spread {
    Tensor,
    Row,
    Blocks(usize),
}

fn lhs(random: &mut Random, kind: Lhs, m: usize, k: usize) -> Result<(Vec<Tensor>, Option<DynamicGranularity>)> {
    let reals = |random: &mut Random| (0..m * k).map(|_| random.real()).collect::<Vec<f32>>();
    Ok(match kind {
        Lhs::Float32 => (vec![Tensor::new([m, k], reals(random))?], None),
        Lhs::Float16 => {
            // Including subnormal halves.
            let small = |(i, x): (usize, f32)| f16::from_f32(if i % 7 == 0 { x * 1e-6 } else { x });
            let values: Vec<f16> = reals(random).into_iter().enumerate().map(small).collect();
            (vec![Tensor::new([m, k], values)?], None)
        }
        Lhs::Codes(format, spread) => {
            let (granularity, count) = match spread {
                Spread::Tensor => (Granularity::Tensor, 1),
                Spread::Row => (Granularity::Axis(0), m),
                Spread::Blocks(size) => (Granularity::Blocks { axis: 1, size }, m * k.div_ceil(size)),
            };
            let scales: Vec<f32> = (0..count).map(|_| random.scale()).collect();
            let zeros: Vec<i32> = (0..count).map(|_| random.zero_point(format)).collect();
            let codes = random.codes(format, &[m, k]);
            (vec![codes.quantized(Quantization::new(granularity, scales, zeros))?], None)
        }
        Lhs::Dynamic(format, granularity, symmetric) => {
            let x = Tensor::new([m, k], reals(random))?;
            let op = DynamicQuantize::new(TensorType::float32([m, k])?, format, granularity);
            let op = if symmetric { op.symmetric() } else { op }.build()?;
            (reference::run(&op.into(), &[&x])?, Some(granularity))
        }
    })
}

/// Number of candidates and largest error as a share of its bound, by kind of lhs and weights.
#[derive(Default)]
struct Worst(BTreeMap<String, (usize, f64)>);

impl Worst {
    fn note(&mut self, what: String, (candidates, ratio): (usize, f64)) {
        let entry = self.0.entry(what).or_default();
        *entry = (entry.0 + candidates, entry.1.max(ratio));
    }

    fn print(&self) {
        for (what, (combinations, ratio)) in &self.0 {
            println!("{what}: {combinations} combinations, largest error {ratio:.3} of its bound");
        }
    }
}

/// m, n, k, group
const SIZES: [[usize; 4]; 14] = [
    [1, 1, 1, 16],
    [1, 7, 64, 32],
    [1, 130, 256, 128],
    [2, 3, 100, 32],
    [3, 65, 33, 16],
    [4, 64, 96, 48],
    [5, 13, 130, 64],
    [7, 2, 512, 256],
    [8, 31, 160, 32],
    [9, 20, 70, 7],
    [13, 5, 47, 16],
    [16, 33, 128, usize::MAX],
    [17, 129, 64, 16],
    [33, 11, 300, 100],
];

#[test]
fn formats_and_sizes() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(4_001);
    let mut worst = Worst::default();
    let lhs_kinds = |group: usize| {
        [
            Lhs::Float32,
            Lhs::Float16,
            Lhs::Codes(DType::Int8, Spread::Tensor),
            Lhs::Codes(DType::Uint8, Spread::Row),
            Lhs::Codes(DType::Int8, Spread::Blocks(group)),
            Lhs::Dynamic(DType::Int8, DynamicGranularity::Row, true),
            Lhs::Dynamic(DType::Uint8, DynamicGranularity::Row, false),
            Lhs::Dynamic(DType::Int8, DynamicGranularity::Group(group), true),
            Lhs::Dynamic(DType::Int8, DynamicGranularity::Tensor, false),
        ]
    };
    let all = std::env::var("LOWBIT_ALL_FORMATS").is_ok_and(|v| v == "1");
    let (mut turn, mut pair) = (0, 0);
    for codes in CODES {
        for scales in SCALES {
            // One in 13 pairs, or all pairs with LOWBIT_ALL_FORMATS. Sizes and kinds of lhs take turns over the pairs.
            pair += 1;
            if pair % 13 == 0 || all {
                let [m, n, k, group] = SIZES[turn % SIZES.len()];
                let kind = lhs_kinds(group.min(k))[turn % 9];
                let by_group =
                    matches!(kind, Lhs::Codes(_, Spread::Blocks(_)) | Lhs::Dynamic(_, DynamicGranularity::Group(_), _));
                let shuffled = turn % 5 == 0 && !by_group;
                turn += 1;
                let weights = weights(&mut random, WeightFormat::new(codes, group, scales), [1, n, k], shuffled)?;
                let name = format!("{kind:?} x {weights}{}", if shuffled { ", shuffled" } else { "" });
                let (inputs, dynamic) = lhs(&mut random, kind, m, k)?;
                let mut op = Linear::new(inputs[0].tensor_type().clone(), weights);
                if let Some(granularity) = dynamic {
                    op = op.dynamic_lhs(granularity);
                }
                if turn % 3 == 0 {
                    op = op.bias(Tensor::new([n], (0..n).map(|_| random.real()).collect::<Vec<_>>())?);
                }
                if turn % 4 == 0 {
                    op = op.output(DType::Float16);
                }
                if turn % 7 == 0 {
                    op = op.clamp(0.0, 3.0);
                }
                let what = match kind {
                    Lhs::Float32 | Lhs::Float16 => "floats",
                    _ => "codes",
                };
                let inputs: Vec<&Tensor> = inputs.iter().collect();
                worst.note(what.into(), check_op_within(&context, &name, &op.build()?.into(), &inputs));
            }
        }
    }
    worst.print();
    Ok(())
}

/// Tables of 4, 8 and 16 numbers: integers, multiples of a power of two, and others, which take float activations only. Embedding is exact.
#[test]
fn tables_of_numbers() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(4_021);
    let mut worst = Worst::default();
    let eighths = Codes::of_numbers(&[-0.875, 0.125, 1.125, 0.0, -1.125, -0.125, 0.875, 0.0])?;
    let tables = [
        ("integers", Codes::of_numbers(&[-1.0, 0.0, 1.0, 2.0])?),
        ("integers", eighths),
        ("integers", Codes::of_numbers(&[-1.0, 0.5, 127.0 / 128.0, -1.0 / 128.0])?),
        ("reals", Codes::NF4),
        ("reals", Codes::FP4_BNB),
        ("reals", Codes::of_numbers(&[-1e-30, 0.1, 3e20, -0.0])?),
        ("reals", Codes::of_numbers(&[0.3, -0.7, 128.0, 1.0, -1.0, 0.0, 1.0 / 256.0, 7.7])?),
    ];
    let scales = [ScaleFormat::F32, ScaleFormat::Nested(4), ScaleFormat::F16, ScaleFormat::E8M0];
    let sizes = [[1, 130, 256, 64], [5, 7, 100, 32], [3, 65, 33, 16], [17, 12, 128, usize::MAX], [4, 9, 70, 7]];
    for (turn, (kind, codes)) in tables.into_iter().enumerate() {
        for (i, lhs_kind) in [Lhs::Float32, Lhs::Float16, Lhs::Dynamic(DType::Int8, DynamicGranularity::Row, true)]
            .into_iter()
            .enumerate()
        {
            let [m, n, k, group] = sizes[(turn + i) % sizes.len()];
            let format = WeightFormat::new(codes, group, scales[(turn + 2 * i) % scales.len()]);
            let weights = weights(&mut random, format, [1, n, k], turn % 3 == 2)?;
            let name = format!("{lhs_kind:?} x {weights}");
            if i == 0 {
                let indices = Tensor::new([3], vec![n as i32 - 1, 0, -1])?;
                let op = Embedding::new(indices.tensor_type().clone(), weights.clone()).build()?;
                check_op(&context, &name, &op.into(), &[&indices]);
            }
            let (inputs, dynamic) = lhs(&mut random, lhs_kind, m, k)?;
            let mut op = Linear::new(inputs[0].tensor_type().clone(), weights);
            if let Some(granularity) = dynamic {
                op = op.dynamic_lhs(granularity);
            }
            let op = op.build();
            if kind == "reals" && dynamic.is_some() {
                let refused = op.expect_err("int8 doesn't hold these numbers").to_string();
                assert!(refused.contains("int8 holds no") && refused.contains("float16"), "{refused}");
                continue;
            }
            let inputs: Vec<&Tensor> = inputs.iter().collect();
            worst.note(kind.into(), check_op_within(&context, &name, &op?.into(), &inputs));
        }
        let shifted = WeightFormat::new(codes, 32, ScaleFormat::F32Zero);
        let refused = PackedWeights::build(shifted, [1, 4, 64], |_, _, _, _| Ok(()));
        assert_eq!(refused.is_ok(), turn == 0, "{refused:?}");
    }
    for (numbers, part) in [
        (&[1.0; 5][..], "5 numbers"),
        (&[1.0, f32::NAN, 0.0, 0.0], "number 1 of the table is NaN"),
        (&[1.0, 0.0, 0.0, 1e-40], "number 3"),
    ] {
        let refused = Codes::of_numbers(numbers).expect_err("no table").to_string();
        assert!(refused.contains(part), "{refused}");
    }
    worst.print();
    Ok(())
}

/// Kernels that CPUs are not offered. Groups of one step, of several, and of half a one.
#[test]
fn kernels_of_gpus() -> Result<()> {
    let Some(context) = gpu_context() else { return Ok(()) };
    let mut random = Random::new(4_009);
    let mut worst = Worst::default();
    let cases = [
        ([1, 70, 1056, 32], Lhs::Dynamic(DType::Int8, DynamicGranularity::Row, false), ScaleFormat::F16),
        ([9, 33, 96, 32], Lhs::Dynamic(DType::Uint8, DynamicGranularity::Row, false), ScaleFormat::F16Zero),
        ([19, 300, 160, 32], Lhs::Codes(DType::Int8, Spread::Blocks(32)), ScaleFormat::F32Offset),
        ([11, 65, 256, 128], Lhs::Codes(DType::Uint8, Spread::Row), ScaleFormat::F16),
        ([6, 20, 64, 16], Lhs::Codes(DType::Int8, Spread::Tensor), ScaleFormat::F16),
        ([19, 70, 96, 32], Lhs::Float16, ScaleFormat::F16),
        ([5, 260, 128, 64], Lhs::Float32, ScaleFormat::F32RealZero),
    ];
    for (turn, ([m, n, k, group], kind, scales)) in cases.into_iter().enumerate() {
        let codes = [Codes::INT4, Codes::INT8, Codes::UINT4][turn % 3];
        let weights = weights(&mut random, WeightFormat::new(codes, group, scales), [1, n, k], false)?;
        let name = format!("{kind:?} x {weights}");
        let (inputs, dynamic) = lhs(&mut random, kind, m, k)?;
        let mut op = Linear::new(inputs[0].tensor_type().clone(), weights);
        if let Some(granularity) = dynamic {
            op = op.dynamic_lhs(granularity);
        }
        let inputs: Vec<&Tensor> = inputs.iter().collect();
        worst.note(name.clone(), check_op_within(&context, &name, &op.build()?.into(), &inputs));
    }
    worst.print();
    Ok(())
}

/// Weights whose words are an input: alone, with codes and their parameters, of experts, and of an embedding.
#[test]
fn bound_weights() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(4_016);
    let mut worst = Worst::default();
    let format = WeightFormat::new(Codes::INT4, 32, ScaleFormat::F16Offset);
    let kinds =
        [Lhs::Float32, Lhs::Dynamic(DType::Int8, DynamicGranularity::Row, true), Lhs::Codes(DType::Uint8, Spread::Row)];
    for (kind, [m, n, k]) in kinds.into_iter().zip([[1, 70, 96], [5, 64, 64], [17, 3, 100]]) {
        let (mut inputs, dynamic) = lhs(&mut random, kind, m, k)?;
        let mut op = Linear::new(inputs[0].tensor_type().clone(), PackedWeights::bound(format, [1, n, k])?);
        if let Some(granularity) = dynamic {
            op = op.dynamic_lhs(granularity);
        }
        let own = weights(&mut random, format, [1, n, k], false)?;
        inputs.push(own.to_tensor()?);
        let inputs: Vec<&Tensor> = inputs.iter().collect();
        let op: Op = op.build()?.into();
        worst.note("linear".into(), check_op_within(&context, &format!("{kind:?}"), &op, &inputs));
        // The results are those of weights that are part of the op.
        let mut held = Linear::new(inputs[0].tensor_type().clone(), own);
        if let Some(granularity) = dynamic {
            held = held.dynamic_lhs(granularity);
        }
        let held = reference::run(&held.build()?.into(), &inputs[..inputs.len() - 1])?;
        assert_eq!(reference::run(&op, &inputs)?[0].values::<f32>()?, held[0].values::<f32>()?);
    }
    let (inputs, _) = lhs(&mut random, Lhs::Float16, 3, 64)?;
    let experts = weights(&mut random, format, [3, 5, 64], false)?.to_tensor()?;
    let indices = Tensor::new([3, 2], vec![0, 2, 1, 3, -1, 1])?;
    let op =
        Linear::new(inputs[0].tensor_type().clone(), PackedWeights::bound(format, [3, 5, 64])?).experts(2).build()?;
    worst.note("experts".into(), check_op_within(&context, "experts", &op.into(), &[&inputs[0], &indices, &experts]));
    let tokens = Tensor::new([4], vec![0, 9, 5, -1])?;
    let op = Embedding::new(tokens.tensor_type().clone(), PackedWeights::bound(format, [1, 9, 64])?).build()?;
    let table = weights(&mut random, format, [1, 9, 64], false)?.to_tensor()?;
    check_op(&context, "embedding", &op.into(), &[&tokens, &table]);
    // Convolutions: with and without groups, of floats and of codes with dynamic scales.
    for (groups, dynamic) in [(1, false), (2, false), (1, true), (2, true)] {
        let codes = random.codes(DType::Uint8, &[2, 5, 6, 8]);
        let real = Tensor::new([2, 5, 6, 8], (0..480).map(|_| random.real()).collect::<Vec<_>>())?;
        let parameters = Tensor::new([1], vec![QuantizationParams { scale: 0.03, zero_point: 117 }])?;
        let own = weights(&mut random, format, [groups, 6, 9 * 8 / groups], false)?;
        let words = own.to_tensor()?;
        let image = if dynamic { &codes } else { &real };
        let conv = |weights: PackedWeights| {
            let conv = LinearConv::new(image.tensor_type().clone(), weights, [3, 3]).padding(Padding::SameUpper);
            if dynamic { conv.dynamic_image() } else { conv }.build()
        };
        let mut inputs = vec![image];
        inputs.extend(dynamic.then_some(&parameters));
        let held = reference::run(&conv(own)?.into(), &inputs)?;
        inputs.push(&words);
        let op: Op = conv(PackedWeights::bound(format, [groups, 6, 9 * 8 / groups])?)?.into();
        worst.note("convolution".into(), check_op_within(&context, &format!("{groups} groups"), &op, &inputs));
        assert_eq!(reference::run(&op, &inputs)?[0].values::<f32>()?, held[0].values::<f32>()?);
    }
    worst.print();
    Ok(())
}

/// One plan serves two layers; a graph multiplies with weights that it has quantized itself; and words that are no weights.
#[test]
fn plans_of_bound_weights() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(4_017);
    let format = WeightFormat::new(Codes::INT4, 32, ScaleFormat::F16);
    let x = Tensor::new([2, 64], (0..128).map(|_| random.real()).collect::<Vec<_>>())?;
    let op = Linear::new(x.tensor_type().clone(), PackedWeights::bound(format, [1, 8, 64])?).build()?;
    let plan = context.plan(&Graph::of(op.clone())?, Tuner::FirstGuess)?;
    let near = |got: &Tensor, words: &Tensor| -> Result<()> {
        let op = op.clone().into();
        let bounds = reference::tolerance(&op, &[&x, words])?.expect("sums of floats");
        let expected = reference::run(&op, &[&x, words])?.remove(0);
        let pairs = got.values::<f32>()?.iter().zip(expected.values::<f32>()?).zip(&bounds);
        pairs.for_each(|((got, expected), bound)| assert!((got - expected).abs() <= *bound, "{got} is not {expected}"));
        Ok(())
    };
    for _ in 0..2 {
        let words = weights(&mut random, format, [1, 8, 64], false)?.to_tensor()?;
        near(&plan.run_blocking(&[&x, &words])?[0], &words)?;
    }

    let real = Tensor::new([8, 64], (0..512).map(|_| random.real()).collect::<Vec<_>>())?;
    let quantizer = Quantizer::new(format)?;
    let mut graph = Graph::new();
    let (input, matrix) = (graph.input(x.tensor_type().clone()), graph.input(real.tensor_type().clone()));
    let packed = graph.add(QuantizeWeights::new(real.tensor_type().clone(), quantizer.clone())?, &[matrix])?;
    let out = graph.add(op.clone(), &[input, packed])?;
    graph.output(out);
    let got = context.plan(&graph, Tuner::FirstGuess)?.run_blocking(&[&x, &real])?;
    near(&got[0], &quantizer.quantize(&real)?.to_tensor()?)?;

    // A scale of infinity.
    let broken = Tensor::new(op_words(&op), vec![0x7c00_7c00; op_words(&op)[0]])?;
    let error = reference::run(&op.clone().into(), &[&x, &broken]).expect_err("no weights").to_string();
    assert!(error.contains("no finite scale"), "{error}");
    assert_eq!(plan.run_blocking(&[&x, &broken])?.len(), 1, "a device computes something");
    // Codes of infinity.
    let small = WeightFormat::new(Codes::of_float(DType::Float8E5M2).expect("8 bits"), 32, ScaleFormat::F32);
    let words = vec![0x3f80_0000; PackedWeights::packed_bytes(small, [1, 4, 32])? / 4];
    assert!(PackedWeights::from_words(small, [1, 4, 32], words.clone()).is_ok());
    let infinite = words.iter().enumerate().map(|(i, &word)| if i < 4 { 0x7c7c_7c7c } else { word }).collect();
    let error = PackedWeights::from_words(small, [1, 4, 32], infinite).expect_err("no weights").to_string();
    assert!(error.contains("which is inf"), "{error}");
    let kept = PackedWeights::bound(format, [1, 8, 64])?.words().expect_err("no words").to_string();
    assert!(kept.contains("are an input"), "{kept}");
    let shuffled = weights(&mut random, format, [1, 8, 64], true)?.to_tensor().expect_err("another order").to_string();
    assert!(shuffled.contains("in another order"), "{shuffled}");
    Ok(())
}

/// The dimensions of the words that are the last input of an op.
fn op_words(op: &Linear) -> Vec<usize> {
    Op::from(op.clone()).inputs().last().expect("the words").dims().to_vec()
}

/// Two or three layers in one launch, and a layer that is the gate of another; kernels of CPUs and GPUs.
#[test]
fn joint_layers() -> Result<()> {
    let mut random = Random::new(4_013);
    let mut worst = Worst::default();
    let cases = [
        ([1, 128], vec![64, 64, 7], Lhs::Float32, Codes::INT4, ScaleFormat::F16Offset, 32),
        (
            [5, 96],
            vec![128, 64],
            Lhs::Dynamic(DType::Int8, DynamicGranularity::Group(32), true),
            Codes::INT8,
            ScaleFormat::F16,
            32,
        ),
        (
            [19, 70],
            vec![64, 192, 65],
            Lhs::Dynamic(DType::Uint8, DynamicGranularity::Row, false),
            Codes::INT3,
            ScaleFormat::F32Zero,
            16,
        ),
        ([3, 64], vec![64, 130], Lhs::Codes(DType::Uint8, Spread::Tensor), Codes::INT4, ScaleFormat::F16Zero, 64),
        ([2, 100], vec![64, 1], Lhs::Float16, Codes::INT5, ScaleFormat::F16, 20),
        ([33, 256], vec![64, 64], Lhs::Float16, Codes::INT4, ScaleFormat::F16, 128),
        ([1, 64], vec![192, 192], Lhs::Codes(DType::Int8, Spread::Row), Codes::INT2, ScaleFormat::F16, 32),
    ];
    for context in [context(), gpu_context()].into_iter().flatten() {
        for (turn, ([m, k], widths, kind, codes, scales, group)) in cases.iter().cloned().enumerate() {
            let (inputs, dynamic) = lhs(&mut random, kind, m, k)?;
            let inputs: Vec<&Tensor> = inputs.iter().collect();
            let layer = |random: &mut Random, n: usize| -> Result<Linear> {
                let weights = weights(random, WeightFormat::new(codes, group, scales), [1, n, k], false)?;
                let mut op = Linear::new(inputs[0].tensor_type().clone(), weights);
                if let Some(granularity) = dynamic {
                    op = op.dynamic_lhs(granularity);
                }
                if turn % 3 == 1 {
                    op = op.bias(Tensor::new([n], (0..n).map(|_| random.real()).collect::<Vec<_>>())?);
                }
                if turn % 4 == 3 { op.clamp(-1.0, 3.0) } else { op }.build()
            };
            let layers = widths.iter().map(|&n| layer(&mut random, n)).collect::<Result<Vec<_>>>()?;
            let name = format!("{kind:?} x {codes:?} {widths:?}");
            worst.note(
                "layers".into(),
                check_op_within(&context, &name, &JointLinear::new(layers.clone())?.into(), &inputs),
            );
            let function = [Function::Silu, Function::Gelu, Function::Relu][turn % 3];
            // Of wide gates the rows that a workgroup lacks belong to the factor's columns.
            let pair = vec![layers[0].clone(), layer(&mut random, widths[0])?];
            let gated = JointLinear::new(pair)?.gated(function)?;
            worst.note(format!("gate {function:?}"), check_op_within(&context, &name, &gated.into(), &inputs));
        }
    }
    worst.print();
    Ok(())
}

#[test]
fn layers_that_are_not_joined() -> Result<()> {
    let mut random = Random::new(4_014);
    let format = WeightFormat::new(Codes::INT4, 32, ScaleFormat::F16);
    let x = TensorType::float32([2, 64])?;
    let matrix = |random: &mut Random, n: usize| weights(random, format, [1, n, 64], false);
    let layer = |random: &mut Random, n: usize| Linear::new(x.clone(), matrix(random, n)?).build();
    let refused = |layers: Vec<Linear>, reason: &str| {
        let error = JointLinear::new(layers).expect_err(reason).to_string();
        assert!(error.contains(reason), "{error}");
    };
    let narrow = layer(&mut random, 60)?;
    let wide = layer(&mut random, 64)?;
    refused(vec![wide.clone()], "1 layers were given");
    refused(vec![wide.clone(); 4], "4 layers were given");
    refused(vec![narrow.clone(), wide.clone()], "a multiple of 64 rows");
    let halves = Linear::new(x.clone(), matrix(&mut random, 64)?).output(DType::Float16).build()?;
    refused(vec![wide.clone(), halves], "makes float16");
    let clamped = Linear::new(x.clone(), matrix(&mut random, 64)?).clamp(0.0, 1.0).build()?;
    refused(vec![wide.clone(), clamped], "a bias or bounds");
    let other = Linear::new(TensorType::float32([3, 64])?, matrix(&mut random, 64)?).build()?;
    refused(vec![wide.clone(), other], "give all one lhs");
    let int8 = weights(&mut random, WeightFormat::new(Codes::INT8, 32, ScaleFormat::F16), [1, 64, 64], false)?;
    refused(vec![wide.clone(), Linear::new(x.clone(), int8).build()?], "are not joined");
    let error = JointLinear::new(vec![wide, narrow])?.gated(Function::Silu).expect_err("other widths").to_string();
    assert!(error.contains("[64, 60] columns"), "{error}");
    Ok(())
}

/// A graph's layers of one input become one launch, as do a layer and its gate, with the results of a reference of separate ops. Two
/// plans share the weights of joined layers.
#[test]
fn graphs_join_layers() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(4_015);
    let format = WeightFormat::new(Codes::INT4, 32, ScaleFormat::F16Offset);
    let matrices = [128, 64, 64, 192, 192, 3].map(|n| weights(&mut random, format, [1, n, 64], false).map(Arc::new));
    let [query, key, value, gate, up, odd] = matrices;
    let layers = [query?, key?, value?, odd?];
    let (gate, up) = (gate?, up?);
    let graph = |tokens: usize| -> Result<Graph> {
        let mut graph = Graph::new();
        let x_type = TensorType::float32([tokens, 64])?;
        let rows = graph.extent("tokens", tokens)?;
        let x = graph.dynamic_input(x_type.clone(), [(0, rows)])?;
        for weights in &layers {
            let out = graph.add(Linear::new(x_type.clone(), weights.clone()).build()?, &[x])?;
            graph.output(out);
        }
        let gate = graph.add(Linear::new(x_type.clone(), gate.clone()).build()?, &[x])?;
        let up = graph.add(Linear::new(x_type, up.clone()).build()?, &[x])?;
        let wide = graph.tensor_type(gate)?.clone();
        let open = graph.add(FloatUnary::new(wide.clone(), Function::Silu)?, &[gate])?;
        let out = graph.add(FloatBinary::new(wide.clone(), wide, Arithmetic::Multiply)?, &[up, open])?;
        graph.output(out);
        Ok(graph)
    };
    let buffers = || context.counters().buffers;
    let before = buffers();
    let one = context.plan(&graph(1)?, Tuner::FirstGuess)?;
    let made = buffers() - before;
    let many = context.plan(&graph(9)?, Tuner::FirstGuess)?;
    let made_again = buffers() - before - made;
    if context.caps().storage_buffers >= 8 {
        assert_eq!(one.launches(), 3, "{one}");
        assert_eq!(made - made_again, 3, "the weights of three launches are made once");
    }
    for (plan, tokens) in [(&one, 1), (&many, 9), (&many, 2)] {
        let x = Tensor::new([tokens, 64], (0..tokens * 64).map(|_| random.real()).collect::<Vec<_>>())?;
        let layer = |weights: &Arc<PackedWeights>| Linear::new(x.tensor_type().clone(), weights.clone()).build();
        let gated = JointLinear::new(vec![layer(&gate)?, layer(&up)?])?.gated(Function::Silu)?;
        let mut ops = layers.iter().map(|weights| Ok(layer(weights)?.into())).collect::<Result<Vec<Op>>>()?;
        ops.push(gated.into());
        for ((op, got), expected) in ops.iter().zip(plan.run_blocking(&[&x])?).zip(graph(tokens)?.run_reference(&[&x])?)
        {
            let bounds = reference::tolerance(op, &[&x])?.expect("sums of floats");
            let pairs = got.values::<f32>()?.iter().zip(expected.values::<f32>()?);
            let is_near = pairs.zip(&bounds).all(|((got, expected), bound)| (got - expected).abs() <= *bound);
            assert!(is_near, "{} of {tokens} rows", op.name());
        }
    }
    Ok(())
}

/// With scales of one and small sums every f32 operation is exact, so results must be exact too.
#[test]
fn integer_sums_are_exact() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(4_002);
    let mut combinations = 0;
    for (turn, m) in (1..=17).chain([40]).enumerate() {
        for codes in [[Codes::INT2, Codes::INT8], [Codes::INT4, Codes::INT6]][turn % 2] {
            let [_, n, k, group] = SIZES[turn % SIZES.len()];
            let scales = [ScaleFormat::F32, ScaleFormat::F16Zero][turn % 2];
            let most = 1i64 << (codes.bits() - 1);
            let (low, high) = codes.range();
            let row_seeds: Vec<u64> = (0..n).map(|_| random.next()).collect();
            let weights =
                PackedWeights::build(WeightFormat::new(codes, group, scales), [1, n, k], |row, codes, groups, _| {
                    let random = &mut Random::new(row_seeds[row]);
                    codes.fill_with(|| random.integer(low.into(), high.into()) as i8);
                    let shift = |random: &mut Random| {
                        if scales.shift() == OffsetKind::ZeroPoint { random.integer(-most, most) as f32 } else { 0.0 }
                    };
                    groups.fill_with(|| GroupParams::new(1.0, shift(random)));
                    Ok(())
                })?;
            let dtype = [DType::Int8, DType::Uint8][turn / 2 % 2];
            let x = random.codes(dtype, &[m, k]);
            let zero_point = random.zero_point(dtype);
            let x = x.quantized(Quantization::tensor(1.0, zero_point))?;
            let real = |row: usize, column: usize| -> f32 {
                let w = weights.dequantize().expect("small");
                let w = w.values::<f32>().expect("floats");
                let code = |l: usize| match dtype {
                    DType::Int8 => i32::from(x.values::<i8>().expect("int8")[row * k + l]),
                    _ => i32::from(x.values::<u8>().expect("uint8")[row * k + l]),
                };
                (0..k).map(|l| i64::from(code(l) - zero_point) * w[column * k + l] as i64).sum::<i64>() as f32
            };
            let expected: Vec<f32> =
                (0..m).flat_map(|i| (0..n).map(move |j| (i, j))).map(|(i, j)| real(i, j)).collect();
            let op: Op = Linear::new(x.tensor_type().clone(), weights.clone()).build()?.into();
            assert!(expected.iter().all(|sum| sum.abs() < 16_777_216.0), "the test's sums are too large");
            assert_eq!(reference::run(&op, &[&x])?[0].values::<f32>()?, expected, "the reference itself");
            for index in 0..lowbit::kernels::candidates(&op, &context.caps()).len() {
                let plan = context.plan(&lowbit::Graph::of(op.clone())?, lowbit::Tuner::Nth(index))?;
                assert_eq!(
                    plan.run_blocking(&[&x])?[0].values::<f32>()?,
                    expected,
                    "m {m}, {weights}, candidate {index}"
                );
                combinations += 1;
            }
        }
    }
    println!("{combinations} combinations are exact");
    Ok(())
}

#[test]
fn experts() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(4_003);
    for (m, n, k, experts, selected) in [(1, 70, 64, 4, 2), (5, 9, 100, 3, 1), (3, 4, 33, 8, 4)] {
        let format = WeightFormat::new(Codes::INT4, 32, ScaleFormat::F16Zero);
        let weights = weights(&mut random, format, [experts, n, k], false)?;
        let indices: Vec<i32> = (0..m * selected).map(|_| random.integer(-1, experts as i64) as i32).collect();
        let indices = Tensor::new([m, selected], indices)?;
        let bias = Tensor::new([experts, n], (0..experts * n).map(|_| random.real()).collect::<Vec<_>>())?;
        let (inputs, _) = lhs(&mut random, Lhs::Float32, m, k)?;
        let op = Linear::new(inputs[0].tensor_type().clone(), weights.clone()).experts(selected).bias(bias).build()?;
        check_op_within(&context, "experts", &op.into(), &[&inputs[0], &indices]);
        let granularity = DynamicGranularity::Row;
        let (inputs, _) = lhs(&mut random, Lhs::Dynamic(DType::Int8, granularity, true), m, k)?;
        let bias = Tensor::new([n], (0..n).map(|_| random.real()).collect::<Vec<_>>())?;
        let op =
            Linear::new(inputs[0].tensor_type().clone(), weights).experts(selected).dynamic_lhs(granularity).bias(bias);
        check_op_within(&context, "experts of codes", &op.build()?.into(), &[&inputs[0], &indices, &inputs[1]]);
    }
    Ok(())
}

#[test]
fn embeddings() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(4_004);
    let mut combinations = 0;
    for (turn, (codes, scales)) in CODES.iter().flat_map(|&c| SCALES.map(|s| (c, s))).enumerate() {
        let [_, n, k, group] = SIZES[turn % SIZES.len()];
        let weights = weights(&mut random, WeightFormat::new(codes, group, scales), [1, n, k], turn % 3 == 0)?;
        let name = format!("rows of {weights}");
        let indices: Vec<i32> = (0..9).map(|_| random.integer(-1, n as i64) as i32).collect();
        let indices = Tensor::new([3, 3], indices)?;
        let dtype = [DType::Float32, DType::Float16][turn % 2];
        let op: Op = Embedding::new(TensorType::int32([3, 3])?, weights).output(dtype).build()?.into();
        combinations += check_op(&context, &name, &op, &[&indices]);
    }
    println!("{combinations} combinations");
    Ok(())
}

#[test]
fn dynamic_quantization_in_groups() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(4_005);
    for (m, k, group) in [(1, 64, 32), (3, 100, 32), (5, 7, 16), (2, 33, 1), (4, 9000, 8999), (1, 1, 5)] {
        for (symmetric, format) in [(true, DType::Int8), (false, DType::Int8), (false, DType::Uint8)] {
            let mut values: Vec<f32> = (0..m * k).map(|_| random.real()).collect();
            // A group of zeros, NaN and infinity.
            values[..group.min(k)].fill(0.0);
            if k > 50 {
                values[40] = f32::NAN;
                values[41] = f32::NEG_INFINITY;
                values[k - 1] = 1e-42;
            }
            let x = Tensor::new([m, k], values)?;
            for granularity in [DynamicGranularity::Group(group), DynamicGranularity::Row, DynamicGranularity::Tensor] {
                let op = DynamicQuantize::new(TensorType::float32([m, k])?, format, granularity);
                let op = if symmetric { op.symmetric() } else { op }.build()?;
                check_op(&context, &format!("{granularity:?} of [{m}, {k}]"), &op.into(), &[&x]);
            }
        }
    }
    Ok(())
}

/// Deferred weights are made when a plan uploads them and when a reference reads them, and shared by plans in between.
#[test]
fn deferred_weights() -> Result<()> {
    let mut random = Random::new(6_110);
    let format = WeightFormat::new(Codes::INT4, 32, ScaleFormat::F16);
    let held = Arc::new(weights(&mut random, format, [1, 70, 64], false)?);
    let made = Arc::new(AtomicUsize::new(0));
    let deferred = {
        let (held, made) = (held.clone(), made.clone());
        Arc::new(PackedWeights::deferred(format, [1, 70, 64], move || {
            made.fetch_add(1, Ordering::Relaxed);
            PackedWeights::from_words(format, [1, 70, 64], held.words()?.to_vec())
        })?)
    };
    let counted = || made.load(Ordering::Relaxed);
    assert_eq!((deferred.bytes(), deferred.to_string()), (held.bytes(), held.to_string()));
    let x = Tensor::new([2, 64], (0..128).map(|_| random.real()).collect::<Vec<f32>>())?;
    let graph = |weights: &Arc<PackedWeights>| -> Result<Graph> {
        Graph::of(Linear::new(x.tensor_type().clone(), weights.clone()).build()?)
    };
    assert_eq!(counted(), 0, "nobody needs them yet");
    let expected = graph(&held)?.run_reference(&[&x])?;
    assert_eq!(graph(&deferred)?.run_reference(&[&x])?, expected);
    assert_eq!(counted(), 1);
    let op = Linear::new(x.tensor_type().clone(), deferred.clone()).build()?.into();
    assert_eq!(reference::tolerance(&op, &[&x])?.map(|bounds| bounds.len()), Some(140));
    assert_eq!(counted(), 2);
    if let Some(context) = context() {
        let first = context.plan(&graph(&deferred)?, Tuner::FirstGuess)?;
        assert_eq!(counted(), 3);
        let second = context.plan(&graph(&deferred)?, Tuner::FirstGuess)?;
        assert_eq!(counted(), 3, "plans share them");
        let of_held = context.plan(&graph(&held)?, Tuner::FirstGuess)?;
        let run = |plan: &Plan| common::wait(plan.run(&[&x]));
        assert_eq!(run(&first)?, run(&of_held)?);
        assert_eq!(run(&second)?, run(&of_held)?);
        assert_eq!(counted(), 3);
    }
    Ok(())
}

#[test]
fn deferred_weights_that_fail() -> Result<()> {
    let format = WeightFormat::new(Codes::INT4, 32, ScaleFormat::F16);
    let x = Tensor::new([1, 64], vec![1.0f32; 64])?;
    let other = Arc::new(weights(&mut Random::new(6_111), format, [1, 4, 64], false)?);
    let wrong = PackedWeights::deferred(format, [1, 5, 64], move || Ok((*other).clone()))?;
    let gone = PackedWeights::deferred(format, [1, 5, 64], || Err(Error::Request("the file is gone".into())))?;
    for (weights, words) in [(wrong, "make the same weights each time"), (gone, "the file is gone")] {
        let graph = Graph::of(Linear::new(x.tensor_type().clone(), weights.clone()).build()?)?;
        let says = |result: Result<()>| {
            let message = result.expect_err("the weights can't be made").to_string();
            assert!(message.contains(words), "{message}");
        };
        says(graph.run_reference(&[&x]).map(drop));
        says(weights.dequantize().map(drop));
        says(graph.export(&DeviceLimits::default()).map(drop));
        if let Some(context) = context() {
            says(context.plan(&graph, Tuner::FirstGuess).map(drop));
        }
    }
    Ok(())
}

/// The words of weights are all of them, at every extent.
#[test]
fn bound_words_have_a_static_size() -> Result<()> {
    let format = WeightFormat::new(Codes::INT4, 32, ScaleFormat::F16);
    let bound = PackedWeights::bound(format, [1, 8, 32])?;
    let mut graph = Graph::new();
    let indices = graph.input(TensorType::int32([2])?);
    let x = graph.input(TensorType::float32([2, 32])?);
    let some = graph.extent("words", bound.word_type()?.dims()[0])?;
    let words = graph.dynamic_input(bound.word_type()?, [(0, some)])?;
    let embedding = Embedding::new(TensorType::int32([2])?, bound.clone()).build()?;
    let error = graph.add(embedding, &[indices, words]).expect_err("some of the words").to_string();
    assert!(error.contains("no longer fit each other"), "{error}");
    let linear = Linear::new(TensorType::float32([2, 32])?, bound).build()?;
    assert!(graph.add(linear, &[x, words]).is_err());
    Ok(())
}
