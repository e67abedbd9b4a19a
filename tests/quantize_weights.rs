//! `ops::QuantizeWeights`: a device's packed words in every format against `weights::Quantizer`, bit for bit; and a product with
//! weights that a device quantized.

mod common;

use common::{Random, check_op, context};
use lowbit::ops::{Linear, Op, QuantizeWeights};
use lowbit::ptq::Moments;
use lowbit::weights::{Codes, GroupScaleRule, PackedWeights, Quantizer, ScaleFormat, Search, WeightFormat};
use lowbit::{Result, Tensor, TensorType, reference};

const SIGNED: [Codes; 6] = [Codes::INT4, Codes::INT8, Codes::INT2, Codes::INT3, Codes::INT5, Codes::INT6];
const UNSIGNED: [Codes; 4] = [Codes::UINT4, Codes::UINT8, Codes::UINT2, Codes::UINT6];

const SCALES: [ScaleFormat; 8] = [
    ScaleFormat::F16,
    ScaleFormat::F16Zero,
    ScaleFormat::F16Offset,
    ScaleFormat::F32,
    ScaleFormat::F32Offset,
    ScaleFormat::F32Zero,
    ScaleFormat::E8M0,
    ScaleFormat::F32RealZero,
];

/// experts, n, k, group
const SIZES: [[usize; 4]; 8] = [
    [1, 1, 1, 16],
    [1, 5, 64, 32],
    [2, 3, 100, 32],
    [1, 66, 33, 16],
    [1, 7, 48, 48],
    [3, 2, 47, 7],
    [1, 13, 130, usize::MAX],
    [1, 64, 32, 32],
];

/// Numbers around 1. If `odd`, with a group of zeros, subnormal and large numbers, NaN and infinities.
fn numbers(random: &mut Random, count: usize, odd: bool) -> Vec<f32> {
    let mut values: Vec<f32> = (0..count).map(|_| random.real()).collect();
    if odd {
        let end = count.min(32);
        values[..end].fill(0.0);
        for (i, value) in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, -0.0, 1e-42, -3e-40, 7e4, 2e-7]
            .into_iter()
            .enumerate()
        {
            if let Some(place) = values.get_mut(40 + 11 * i) {
                *place = value;
            }
        }
    }
    values
}

fn quantizer(format: WeightFormat, turn: usize) -> Result<Option<Quantizer>> {
    let Ok(quantizer) = Quantizer::new(format) else { return Ok(None) };
    let rules = [
        GroupScaleRule::SignedMax,
        GroupScaleRule::Narrow,
        GroupScaleRule::NoClipping,
        GroupScaleRule::Middle,
        GroupScaleRule::MinMax,
        GroupScaleRule::Tight,
    ];
    // The default rule in every second turn, otherwise the next rule that fits.
    let other = (0..rules.len()).find_map(|i| quantizer.clone().rule(rules[(turn / 2 + i) % rules.len()]).ok());
    Ok(if turn & 1 == 0 { Some(quantizer) } else { other.or(Some(quantizer)) })
}

#[test]
fn rounding_to_nearest() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(4_101);
    let (mut turn, mut combinations) = (0, 0);
    for codes in SIGNED.into_iter().chain(UNSIGNED) {
        for scales in SCALES {
            let [experts, n, k, group] = SIZES[turn % SIZES.len()];
            let Some(quantizer) = quantizer(WeightFormat::new(codes, group, scales), turn)? else { continue };
            turn += 1;
            // Some of the pairs, including all kinds of scales.
            if turn % 5 != 0 {
                continue;
            }
            let x = Tensor::new([experts, n, k], numbers(&mut random, experts * n * k, turn % 2 == 0))?;
            let name = format!("{} [{experts}, {n}, {k}]", quantizer.format());
            let op: Op = QuantizeWeights::new(TensorType::float32([experts, n, k])?, quantizer)?.into();
            combinations += check_op(&context, &name, &op, &[&x]);
        }
    }
    println!("{combinations} combinations");
    Ok(())
}

#[test]
fn searching() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(4_102);
    for (turn, (codes, scales)) in [
        (Codes::INT4, ScaleFormat::F16),
        (Codes::UINT4, ScaleFormat::F16Offset),
        (Codes::INT3, ScaleFormat::F16Zero),
        (Codes::INT2, ScaleFormat::F32),
        (Codes::UINT4, ScaleFormat::F32RealZero),
        (Codes::INT4, ScaleFormat::E8M0),
        (Codes::INT4, ScaleFormat::F32Offset),
    ]
    .into_iter()
    .enumerate()
    {
        let [experts, n, k, group] =
            [[1, 5, 64, 32], [2, 3, 100, 32], [1, 3, 130, usize::MAX], [1, 2, 47, 16]][turn % 4];
        let search = Search::default().with_steps(5);
        let mut quantizer = Quantizer::new(WeightFormat::new(codes, group, scales))?.search(search)?;
        if turn % 2 == 0 {
            let importance: Vec<f32> = (0..k).map(|_| random.real().abs()).collect();
            quantizer = quantizer.importance(&importance)?;
        }
        let x = Tensor::new([experts, n, k], numbers(&mut random, experts * n * k, turn % 3 == 1))?;
        let name = format!("a search for {} [{experts}, {n}, {k}]", quantizer.format());
        let op: Op = QuantizeWeights::new(TensorType::float32([experts, n, k])?, quantizer.clone())?.into();
        check_op(&context, &name, &op, &[&x]);
    }
    Ok(())
}

/// A search that is divided into several launches continues its state.
#[test]
fn long_rows() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(4_103);
    let k = 40_000;
    let format = WeightFormat::new(Codes::INT4, usize::MAX, ScaleFormat::F16);
    let quantizer = Quantizer::new(format)?.search(Search::default().with_steps(7))?;
    let op: Op = QuantizeWeights::new(TensorType::float32([1, k])?, quantizer)?.into();
    let candidates = lowbit::kernels::candidates(&op, &context.caps());
    assert!(candidates.iter().any(|candidate| candidate.dispatches.len() > 2), "no search is cut");
    check_op(&context, "long rows", &op, &[&Tensor::new([1, k], numbers(&mut random, k, false))?]);
    Ok(())
}

#[test]
fn weights_from_a_device_multiply() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(4_104);
    let x = Tensor::new([70, 64], numbers(&mut random, 70 * 64, false))?;
    let quantizer = Quantizer::new(WeightFormat::new(Codes::INT4, 32, ScaleFormat::F16Zero))?;
    let words = context
        .run_blocking(&QuantizeWeights::new(TensorType::float32([70, 64])?, quantizer.clone())?.into(), &[&x])?;
    let words = words[0].values::<i32>()?.iter().map(|&word| word as u32).collect();
    let made = PackedWeights::from_words(*quantizer.format(), [1, 70, 64], words)?;
    let expected = quantizer.quantize(&x)?;
    assert_eq!(made.words()?, expected.words()?);
    let lhs = Tensor::new([3, 64], numbers(&mut random, 3 * 64, false))?;
    let product = |weights: PackedWeights| {
        context.run_blocking(&Linear::new(lhs.tensor_type().clone(), weights).build()?.into(), &[&lhs])
    };
    assert_eq!(product(made)?, product(expected)?);
    Ok(())
}

/// A rule would clip weights if a scale or an offset exceeds the format's range. They are refused with and without a search, by
/// GPTQ, and when a device's words are read. Accepted weights have a small error.
#[test]
fn clipped_weights_are_refused_by_all() -> Result<()> {
    let rules = [
        GroupScaleRule::SignedMax,
        GroupScaleRule::Narrow,
        GroupScaleRule::NoClipping,
        GroupScaleRule::Middle,
        GroupScaleRule::MinMax,
        GroupScaleRule::Tight,
    ];
    let mut inputs = Moments::new(32)?;
    let identity = (0..32 * 32).map(|i| if i % 33 == 0 { 1.0f32 } else { 0.0 }).collect::<Vec<_>>();
    inputs.add(&Tensor::new([32, 32], identity)?)?;
    let [mut refused, mut accepted] = [0; 2];
    for codes in SIGNED.into_iter().chain(UNSIGNED).chain([Codes::IQ4_NL]) {
        for scales in SCALES.into_iter().chain([ScaleFormat::Nested(2), ScaleFormat::NestedOffset(2)]) {
            let Ok(quantizer) = Quantizer::new(WeightFormat::new(codes, 16, scales)) else { continue };
            for quantizer in rules.iter().filter_map(|&rule| quantizer.clone().rule(rule).ok()) {
                let searching = quantizer.clone().search(Search::default().with_steps(5))?;
                for top in [1.0f32, 6e4, 7e4, 3e5, 1e6, 9e6, 3e7, 1e8, 3e9, 1e30, 1e38, 3e38] {
                    for (from, to) in [(-1.0f32, 0.0f32), (0.0, 1.0), (-1.0, 1.0), (0.9, 1.0)] {
                        let x = |i: usize| top * (from + (to - from) * i as f32 / 31.0);
                        let x = Tensor::new([1, 32], (0..32).map(x).collect::<Vec<f32>>())?;
                        let name = format!("{quantizer:?} of {:e} to {:e}", top * from, top * to);
                        let made = quantizer.quantize(&x);
                        [refused, accepted] =
                            [refused + usize::from(made.is_err()), accepted + usize::from(made.is_ok())];
                        let say = |result: &Result<PackedWeights>| result.as_ref().err().map(ToString::to_string);
                        let searched = searching.quantize(&x);
                        assert_eq!(say(&searched), say(&made), "{name}: with a search");
                        let nested = matches!(scales, ScaleFormat::Nested(_) | ScaleFormat::NestedOffset(_));
                        if !nested {
                            let gptq = inputs.gptq(&x, &quantizer);
                            assert_eq!(say(&gptq), say(&made), "{name}: GPTQ");
                        }
                        if !nested && codes != Codes::IQ4_NL {
                            for quantizer in [&quantizer, &searching] {
                                let words = reference::run(
                                    &QuantizeWeights::new(TensorType::float32([1, 32])?, quantizer.clone())?.into(),
                                    &[&x],
                                )?;
                                let words = words[0].values::<i32>()?.iter().map(|&word| word as u32).collect();
                                let read = PackedWeights::from_words(*quantizer.format(), [1, 1, 32], words);
                                assert_eq!(read.is_ok(), made.is_ok(), "{name}: words of a device: {read:?}");
                            }
                        }
                        let (Ok(made), Ok(searched)) = (made, searched) else { continue };
                        let error = |made: &PackedWeights| -> Result<(f64, f64)> {
                            let real = made.dequantize()?;
                            let pairs = real.values::<f32>()?.iter().zip(x.values::<f32>()?);
                            let errors = pairs.map(|(&a, &b)| (f64::from(a) - f64::from(b)).abs());
                            Ok(errors.fold((0.0, 0.0), |(worst, sum), e| (e.max(worst), sum + e * e)))
                        };
                        let ((worst, sum), (_, least)) = (error(&made)?, error(&searched)?);
                        // One step of a symmetric range, two for power-of-two scales, and as much for nested scales.
                        let step = f64::from(top) * 2.0 / f64::from((1 << codes.bits()) - 1);
                        assert!(worst <= 2.0 * step, "{name}: off by {worst:e}, a step is {step:e}");
                        assert!(nested || least <= sum * 1.001, "{name}: {sum:e}, with a search {least:e}");
                    }
                }
            }
        }
    }
    assert!(refused > 1_000 && accepted > 5_000, "{refused} refused, {accepted} accepted");
    Ok(())
}

/// Weights with NaN or infinity are refused by the quantizer and when a device's words are read.
#[test]
fn words_of_what_is_no_number_are_refused() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    for (odd, scales) in
        [f32::NAN, f32::INFINITY, f32::NEG_INFINITY].into_iter().zip(SCALES).chain([(f32::NAN, ScaleFormat::E8M0)])
    {
        let quantizer = Quantizer::new(WeightFormat::new(Codes::INT4, 16, scales))?;
        let mut x = vec![0.5f32; 3 * 40];
        x[77] = odd;
        let x = Tensor::new([3, 40], x)?;
        assert!(quantizer.quantize(&x).is_err());
        let op: Op = QuantizeWeights::new(TensorType::float32([3, 40])?, quantizer.clone())?.into();
        check_op(&context, &format!("{odd} in {}", quantizer.format()), &op, &[&x]);
        let words = context.run_blocking(&op, &[&x])?[0].values::<i32>()?.iter().map(|&word| word as u32).collect();
        let read = PackedWeights::from_words(*quantizer.format(), [1, 3, 40], words).map(|_| ());
        let message = read.expect_err("not a number").to_string();
        assert!(message.contains("row 1") && message.contains("scale"), "{message}");
    }
    Ok(())
}

#[test]
fn requests_that_make_no_sense() -> Result<()> {
    let int4 = |scales| WeightFormat::new(Codes::INT4, 32, scales);
    let message = |result: Result<()>| result.expect_err("it makes no sense").to_string();
    let made =
        |dims: &[usize], quantizer: Quantizer| QuantizeWeights::new(TensorType::float32(dims)?, quantizer).map(|_| ());
    assert!(message(made(&[4], Quantizer::new(int4(ScaleFormat::F16))?)).contains("1 dimensions"));
    assert!(message(made(&[4, 4], Quantizer::new(int4(ScaleFormat::Nested(8)))?)).contains("Quantizer::quantize"));
    let important = Quantizer::new(int4(ScaleFormat::F16))?.importance(&[1.0; 3])?;
    assert!(message(made(&[4, 4], important)).contains("3 columns"));
    let quantizer = |scales, codes| Quantizer::new(WeightFormat::new(codes, 32, scales)).map(|_| ());
    assert!(message(quantizer(ScaleFormat::F16, Codes::UINT4)).contains("signed"));
    assert!(message(quantizer(ScaleFormat::NestedOffset(8), Codes::INT4)).contains("unsigned"));
    let steps = |steps| Quantizer::new(int4(ScaleFormat::F16))?.search(Search::default().with_steps(steps)).map(|_| ());
    assert!(message(steps(0)).contains("0 steps"));
    let short = PackedWeights::from_words(int4(ScaleFormat::F16), [1, 4, 32], vec![0; 3]).map(|_| ());
    assert!(message(short).contains("3 words were given"));
    let infinite = PackedWeights::from_words(int4(ScaleFormat::F32), [1, 4, 32], vec![0x7f80_0000; 20]).map(|_| ());
    assert!(message(infinite).contains("scale"));
    Ok(())
}
