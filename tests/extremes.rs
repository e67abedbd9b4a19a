//! Bounds of inexact ops over all of float32: random bits, zeros, subnormals, the ends, and huge numbers beside tiny ones. Every
//! candidate must satisfy `reference::tolerance`. The tolerance is infinite only where an intermediate may leave float32.

mod common;

use common::{
    ARITHMETICS, FUNCTIONS, Random, check_cases, check_op, check_op_in_turn, check_op_within_in_turn, context,
};
use half::f16;
use lowbit::numeric::QuantizationParams;
use lowbit::ops::{
    Arithmetic, ConvPass, CrossEntropyGradient, DynamicGranularity, FakeQuantize, FakeQuantizeGradient, FakeRequantize,
    FakeRequantizeOutput, FloatBinary, FloatConv, FloatMatmul, FloatPool, FloatUnary, Grid, GridGradient, LayerNorm,
    Linear, LinearConv, Op, OptimizerRule, OptimizerStep, Padding, Reduce, Reduction, Softmax, StepFromRange, Sum,
    Windows,
};
use lowbit::weights::{Codes, GroupParams, OffsetKind, PackedWeights, ScaleFormat, WeightFormat};
use lowbit::{DType, Granularity, Quantization, Result, Tensor, TensorType, reference};

/// Kinds of numbers in a tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Numbers {
    /// Around 1.
    Plain,
    /// Near this magnitude, within a small factor.
    Near(f32),
    /// Below the least normal number, and zeros of either sign.
    Subnormal,
    /// Numbers of two magnitudes.
    Mixed(f32, f32),
    /// The greatest finite numbers of either sign.
    Greatest,
    /// Any bits of a finite number.
    Any,
    /// The ends of each kind of number, and their neighbours.
    Ends,
    /// Infinities and NaN among plain numbers.
    Special,
}

/// All kinds of finite numbers.
const FINITE: [Numbers; 16] = [
    Numbers::Plain,
    Numbers::Near(1e-38),
    Numbers::Near(1e-30),
    Numbers::Near(1e-19),
    Numbers::Near(1e19),
    Numbers::Near(2e19),
    Numbers::Near(1e30),
    Numbers::Near(1e38),
    Numbers::Subnormal,
    Numbers::Mixed(1e30, 1e-30),
    Numbers::Mixed(1e38, 1e-45),
    Numbers::Mixed(1.0, 1e-38),
    Numbers::Mixed(1e19, 1.0),
    Numbers::Greatest,
    Numbers::Any,
    Numbers::Ends,
];

const ENDS: [f32; 16] = [
    0.0,
    1e-45,
    9.8e-45,
    1.1754942e-38,
    f32::MIN_POSITIVE,
    1.1754945e-38,
    1e-30,
    1e-19,
    0.99999994,
    1.0,
    16_777_216.0,
    1e19,
    1.8446744e19,
    1e30,
    1.7014118e38,
    f32::MAX,
];

impl Numbers {
    fn one(self, random: &mut Random, i: usize) -> f32 {
        let finite = |x: f32| x.clamp(f32::MIN, f32::MAX);
        match self {
            Self::Plain => random.real(),
            Self::Near(size) => finite(size * random.real()),
            Self::Subnormal => f32::from_bits(random.next() as u32 & 0x807f_ffff >> random.integer(0, 20)),
            Self::Mixed(a, b) => finite(random.pick(&[a, b]) * random.real()),
            Self::Greatest => random.pick(&[f32::MAX, f32::MIN, f32::MAX * 0.9999]),
            Self::Any => loop {
                let x = f32::from_bits(random.next() as u32);
                if x.is_finite() {
                    return x;
                }
            },
            Self::Ends => ENDS[i % 16] * [1.0, -1.0][random.next() as usize % 2],
            Self::Special if i % 5 == 2 => random.pick(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY]),
            Self::Special => random.real(),
        }
    }

    fn many(self, random: &mut Random, count: usize) -> Vec<f32> {
        (0..count).map(|i| self.one(random, i)).collect()
    }

    fn tensor(self, random: &mut Random, dims: &[usize]) -> Result<Tensor> {
        Tensor::new(dims, self.many(random, dims.iter().product()))
    }

    /// A positive normal number: a scale or a step.
    fn scale(self, random: &mut Random, i: usize) -> f32 {
        self.one(random, i).abs().max(f32::MIN_POSITIVE)
    }
}

/// All pairs of finite kinds, and plain numbers paired with infinities and NaN.
fn pairs() -> Vec<(Numbers, Numbers)> {
    let finite = FINITE.iter().flat_map(|&a| FINITE.map(|b| (a, b)));
    finite.chain([(Numbers::Special, Numbers::Plain), (Numbers::Plain, Numbers::Special)]).collect()
}

type Case = (String, Op, Vec<Tensor>);

/// Checks every candidate against the bound of each case. At least a `share` of the bounds must be finite: an infinite bound checks
/// nothing.
fn check(name: &str, cases: Vec<Case>, share: f64) {
    let Some(context) = context() else { return };
    let (mut elements, mut bounded) = (0, 0);
    for (name, op, inputs) in &cases {
        let bounds = reference::tolerance(op, &inputs.iter().collect::<Vec<_>>());
        let bounds = bounds.expect("sound inputs").expect("an op with a bound");
        assert!(bounds.iter().all(|&bound| bound >= 0.0), "{name}: a bound is no number of that kind");
        elements += bounds.len();
        bounded += bounds.iter().filter(|bound| bound.is_finite()).count();
    }
    let said = bounded as f64 / elements as f64;
    let all = cases.len();
    let count = check_cases(cases, |(name, op, inputs)| {
        check_op_within_in_turn(4, &context, name, op, &inputs.iter().collect::<Vec<_>>()).0
    });
    println!("{name}: {all} cases, {count} combinations, {said:.3} of all bounds are finite");
    assert!(said >= share, "{name}: {said:.3} of all bounds are finite, expected at least {share}");
}

#[test]
fn functions() -> Result<()> {
    let mut random = Random::new(1_001);
    let mut cases = Vec::new();
    for function in FUNCTIONS {
        for numbers in [&FINITE[..], &[Numbers::Special]].concat() {
            let x = numbers.tensor(&mut random, &[200])?;
            cases.push((
                format!("{function:?} of {numbers:?}"),
                FloatUnary::new(TensorType::float32([200])?, function)?.into(),
                vec![x],
            ));
        }
    }
    check("functions", cases, 0.9);
    Ok(())
}

#[test]
fn sums_and_products() -> Result<()> {
    let mut random = Random::new(1_002);
    let mut cases = Vec::new();
    for arithmetic in [Arithmetic::Add, Arithmetic::Multiply, Arithmetic::Subtract, Arithmetic::Divide] {
        for (a, b) in pairs() {
            let (x, y) = (a.tensor(&mut random, &[64])?, b.tensor(&mut random, &[64])?);
            let op = FloatBinary::new(x.tensor_type().clone(), y.tensor_type().clone(), arithmetic)?;
            cases.push((format!("{arithmetic:?} of {a:?} and {b:?}"), op.into(), vec![x, y]));
        }
    }
    check("sums and products", cases, 0.6);
    Ok(())
}

#[test]
fn reductions() -> Result<()> {
    let mut random = Random::new(1_010);
    let mut cases = Vec::new();
    for numbers in [&FINITE[..], &[Numbers::Special]].concat() {
        for (turn, reduction) in
            [Reduction::Sum, Reduction::Mean, Reduction::Max, Reduction::Min, Reduction::L1, Reduction::L2]
                .into_iter()
                .enumerate()
        {
            let dims = [[3, 9, 4], [2, 70, 3], [5, 2, 130]][turn % 3];
            let x = numbers.tensor(&mut random, &dims)?;
            for axes in [&[2][..], &[1], &[0, 2]] {
                let op = Reduce::new(x.tensor_type().clone(), axes, reduction)?;
                cases.push((format!("{reduction:?} of {axes:?} of {numbers:?}"), op.into(), vec![x.clone()]));
            }
            let image = numbers.tensor(&mut random, &[1, 5, 6, 3])?;
            let pool = match turn % 2 {
                0 => FloatPool::average(image.tensor_type().clone(), [2, 3]).padding(Padding::SameUpper),
                _ => FloatPool::max(image.tensor_type().clone(), [3, 2]).padding(Padding::SameLower),
            };
            cases.push((format!("pool of {numbers:?}"), pool.build()?.into(), vec![image]));
        }
    }
    check("reductions", cases, 0.6);
    Ok(())
}

/// Bases of every kind, and exponents of the kinds that the op tells apart.
#[test]
fn powers() -> Result<()> {
    let mut random = Random::new(1_008);
    let mut cases = Vec::new();
    for numbers in [&FINITE[..], &[Numbers::Special]].concat() {
        let x = numbers.tensor(&mut random, &[64])?;
        let positive = Tensor::new([64], x.values::<f32>()?.iter().map(|x| x.abs()).collect::<Vec<_>>())?;
        for (kind, exponents) in [
            ("small integers", (0..64).map(|_| random.integer(-5, 5) as f32).collect()),
            ("integers", (0..64).map(|_| random.integer(-40, 40) as f32).collect()),
            ("huge integers", (0..64).map(|_| 1e9 * random.real().round()).collect()),
            ("roots", (0..64).map(|_| random.pick(&[0.5, -0.5])).collect()),
            ("plain", (0..64).map(|_| 3.0 * random.real()).collect()),
            ("any", Numbers::Any.many(&mut random, 64)),
            ("ends", Numbers::Ends.many(&mut random, 64)),
        ] {
            let base = if kind.contains("integers") { &x } else { &positive };
            let exponents: Vec<f32> = exponents;
            let y = Tensor::new([64], exponents)?;
            let op = FloatBinary::new(base.tensor_type().clone(), y.tensor_type().clone(), Arithmetic::Power)?;
            cases.push((format!("{numbers:?} to the {kind}"), op.into(), vec![base.clone(), y]));
        }
    }
    check("powers", cases, 0.4);
    Ok(())
}

/// Comparisons and the lesser and greater of two numbers are exact for all of them.
#[test]
fn comparisons() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(1_009);
    for (a, b) in pairs() {
        let (x, y) = (a.many(&mut random, 64), b.many(&mut random, 64));
        // Some are equal, up to the sign of a zero.
        let y = x.iter().zip(y).enumerate().map(|(i, (&x, y))| if i % 3 == 0 { x } else { y }).collect::<Vec<_>>();
        let (x, y) = (Tensor::new([64], x)?, Tensor::new([64], y)?);
        for &arithmetic in &ARITHMETICS[5..] {
            let op = FloatBinary::new(x.tensor_type().clone(), y.tensor_type().clone(), arithmetic)?;
            check_op_in_turn(4, &context, &format!("{arithmetic:?} of {a:?} and {b:?}"), &op.into(), &[&x, &y]);
        }
    }
    Ok(())
}

#[test]
fn softmax() -> Result<()> {
    let mut random = Random::new(1_003);
    let mut cases = Vec::new();
    for numbers in [&FINITE[..], &[Numbers::Special]].concat() {
        for scale in [1.0, 0.125, 1.2e-38, 1.9e38] {
            for n in [1, 9, 130] {
                let x = numbers.tensor(&mut random, &[3, n])?;
                let op = Softmax::new(TensorType::float32([3, n])?).scaled(scale).build()?;
                cases.push((format!("softmax of {n} {numbers:?} by {scale:e}"), op.into(), vec![x]));
            }
        }
    }
    check("softmax", cases, 0.8);
    Ok(())
}

#[test]
fn layer_norm() -> Result<()> {
    let mut random = Random::new(1_004);
    let mut cases = Vec::new();
    for numbers in [&FINITE[..], &[Numbers::Special]].concat() {
        for (i, epsilon) in [1e-5, 1e-12, 1.2e-38, 1.0, 3e38].into_iter().enumerate() {
            for n in [1, 4, 70] {
                let of = [Numbers::Plain, Numbers::Near(1e-38), Numbers::Near(1e30), Numbers::Subnormal][(i + n) % 4];
                let x = numbers.tensor(&mut random, &[3, n])?;
                let op = LayerNorm::new(x.tensor_type().clone(), of.tensor(&mut random, &[n])?, epsilon);
                let shifted = op.clone().shift(Numbers::Plain.tensor(&mut random, &[n])?);
                for (kind, op) in [("layer norm", shifted.build()?), ("rms norm", op.without_mean().build()?)] {
                    cases.push((
                        format!("{kind} of {n} {numbers:?}, {epsilon:e}, by {of:?}"),
                        op.into(),
                        vec![x.clone()],
                    ));
                }
            }
        }
    }
    check("layer norm", cases, 0.9);
    Ok(())
}

/// Rows whose squares leave float32, against numbers computed by hand.
#[test]
fn rows_of_huge_numbers_are_normalized() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let ones = Tensor::new([4], vec![1.0f32; 4])?;
    // Mean 1e19, squares of the differences 0, 4e38, 1e38, 1e38.
    let row = |unit: f32| [1.0, 3.0, 0.0, 0.0].map(|x: f32| x * unit);
    let x = Tensor::new([5, 4], [row(1e19), row(1e30), row(1e38), row(1.0), row(1e-10)].concat())?;
    let op: Op = LayerNorm::new(TensorType::float32([5, 4])?, ones, 1e-30).build()?.into();
    let bounds = reference::tolerance(&op, &[&x])?.expect("it has a bound");
    assert!(bounds.iter().all(|&bound| bound < 2e-5), "{bounds:?}");
    let got = context.run_blocking(&op, &[&x])?.remove(0);
    let third = 1.0 / 1.5f32.sqrt();
    for row in got.values::<f32>()?.chunks(4) {
        let expected = [0.0, 2.0 * third, -third, -third];
        assert!(row.iter().zip(expected).all(|(got, expected)| (got - expected).abs() < 2e-5), "{row:?}");
    }
    Ok(())
}

#[test]
fn float_matmul() -> Result<()> {
    let mut random = Random::new(1_005);
    let mut cases = Vec::new();
    for (turn, (a, b)) in pairs().into_iter().enumerate() {
        let [m, n, k] = [[3, 5, 9], [1, 4, 64], [9, 8, 4], [2, 3, 1]][turn % 4];
        let (x, w) = (a.tensor(&mut random, &[m, k])?, b.tensor(&mut random, &[k, n])?);
        let bias = random.pick(&[Numbers::Plain, Numbers::Subnormal, Numbers::Near(1e30)]).tensor(&mut random, &[n])?;
        let matmul = match turn % 2 {
            0 => FloatMatmul::new(x.tensor_type().clone(), w.tensor_type().clone()),
            _ => FloatMatmul::new(x.tensor_type().clone(), w.clone()),
        };
        let matmul = match turn % 3 {
            0 => matmul.bias(bias),
            1 => matmul.clamp(-1.0, 1e20),
            _ => matmul.output(DType::Float16),
        };
        let mut inputs = vec![x];
        inputs.extend((turn % 2 == 0).then_some(w));
        cases.push((format!("{m}x{n}x{k} of {a:?} by {b:?}"), matmul.build()?.into(), inputs));
    }
    check("float matmul", cases, 0.5);
    Ok(())
}

#[test]
fn float_conv() -> Result<()> {
    let mut random = Random::new(1_006);
    let mut cases = Vec::new();
    for (turn, (a, b)) in pairs().into_iter().enumerate() {
        let windows = Windows::default().with_padding([1, 0, 0, 1]);
        let [image, filter] = [[2, 3, 3, 4], [4, 2, 2, 4]].map(TensorType::float32);
        let conv = FloatConv::new(image?, filter?, windows);
        let output = conv.clone().build()?.output().dims().to_vec();
        let pass = [ConvPass::Forward, ConvPass::ImageGradient, ConvPass::WeightGradient][turn % 3];
        let op: Op = conv.pass(pass).build()?.into();
        let shapes = match pass {
            ConvPass::Forward => [vec![2, 3, 3, 4], vec![4, 2, 2, 4]],
            ConvPass::ImageGradient => [output, vec![4, 2, 2, 4]],
            _ => [vec![2, 3, 3, 4], output],
        };
        let mut inputs = vec![a.tensor(&mut random, &shapes[0])?, b.tensor(&mut random, &shapes[1])?];
        if pass == ConvPass::WeightGradient {
            inputs.push(Tensor::new([1], vec![random.pick(&[1.0, 1e-30, 1e30, 1e-44, -0.5f32])])?);
        }
        cases.push((format!("{pass:?} of {a:?} and {b:?}"), op, inputs));
    }
    check("float conv", cases, 0.4);
    Ok(())
}

/// Weights whose scales and offsets are of this kind of number.
fn weights(random: &mut Random, format: WeightFormat, n: usize, k: usize, numbers: Numbers) -> Result<PackedWeights> {
    let (low, high) = format.codes.range();
    let seeds: Vec<u64> = (0..n).map(|_| random.next()).collect();
    PackedWeights::build(format, [1, n, k], |row, codes, groups, _| {
        let random = &mut Random::new(seeds[row]);
        codes.fill_with(|| random.integer(low.into(), high.into()) as i8);
        for (g, group) in groups.iter_mut().enumerate() {
            let scale = numbers.one(random, g);
            let shift = match format.scales {
                ScaleFormat::F32Zero => random.integer(low.into(), high.into()) as f32,
                ScaleFormat::F32RealZero => 3.0 * random.real(),
                _ => numbers.one(random, g + 1),
            };
            *group = match format.scales.shift() {
                _ if format.scales == ScaleFormat::E8M0 => {
                    GroupParams::scale((random.integer(-127, 127) as f32).exp2())
                }
                OffsetKind::None => GroupParams::scale(scale),
                _ => GroupParams::new(scale, shift),
            };
        }
        Ok(())
    })
}

#[test]
fn linear() -> Result<()> {
    let mut random = Random::new(1_007);
    let mut cases = Vec::new();
    let formats = [
        (Codes::INT4, ScaleFormat::F32),
        (Codes::INT8, ScaleFormat::F32Zero),
        (Codes::UINT4, ScaleFormat::F32Offset),
        (Codes::INT2, ScaleFormat::F32RealZero),
        (Codes::INT4, ScaleFormat::E8M0),
    ];
    // One pair in seven contains each kind of number on either side.
    let pairs = pairs().into_iter().filter(|(_, b)| *b != Numbers::Special).step_by(7);
    for (turn, (a, b)) in pairs.chain([(Numbers::Special, Numbers::Plain)]).enumerate() {
        let [m, n, k] = [[2, 5, 64], [1, 4, 40], [9, 8, 96]][turn % 3];
        let (codes, scales) = formats[turn % 5];
        let w = weights(&mut random, WeightFormat::new(codes, 32, scales), n, k, b)?;
        let of = |what: &str| format!("linear, {m}x{n}x{k}, {what} of {a:?} by {w} of {b:?}");
        let x = a.tensor(&mut random, &[m, k])?;
        let linear = |lhs: &TensorType| {
            let linear = Linear::new(lhs.clone(), w.clone());
            if turn % 2 == 0 { linear.clamp(-1.0, 1e30) } else { linear }
        };
        let output = [DType::Float32, DType::Float16][turn % 2];
        let op = linear(x.tensor_type()).output(output).build()?;
        cases.push((of("floats"), op.into(), vec![x.clone()]));
        let halves: Vec<f16> = x.values::<f32>()?.iter().map(|&x| f16::from_f32(x)).collect();
        let halves = Tensor::new([m, k], halves)?;
        cases.push((of("halves"), linear(halves.tensor_type()).build()?.into(), vec![halves]));
        if a == Numbers::Special {
            continue;
        }
        let rows: Vec<f32> = (0..m).map(|i| a.scale(&mut random, i)).collect();
        let zeros: Vec<i32> = (0..m).map(|_| random.integer(-128, 127) as i32).collect();
        let x = random.codes(DType::Int8, &[m, k]);
        let lhs = x.clone().quantized(Quantization::new(Granularity::Axis(0), &rows[..], &zeros[..]))?;
        cases.push((of("codes"), linear(lhs.tensor_type()).build()?.into(), vec![lhs]));
        let op = linear(x.tensor_type()).dynamic_lhs(DynamicGranularity::Row).build()?;
        let params = rows.into_iter().zip(zeros).map(|(scale, zero)| QuantizationParams::new(scale, zero));
        let parameters = Tensor::new([m], params.collect::<Vec<_>>())?;
        cases.push((of("dynamic codes"), op.into(), vec![x, parameters]));
    }
    check("linear", cases, 0.4);
    Ok(())
}

/// The product of row scale and group scale leaves float32 though no sum does: zero codes still give zero.
#[test]
fn linear_with_scales_that_overflow() -> Result<()> {
    let mut cases = Vec::new();
    for (row, group) in [(1e30f32, 1e30f32), (1e-30, 1e-30), (1e-38, 1.0), (3e38, 1e-38), (1e-20, 1e-25)] {
        for code in [0i8, 1, 127] {
            let format = WeightFormat::new(Codes::INT8, 32, ScaleFormat::F32);
            let w = PackedWeights::build(format, [1, 4, 64], |_, codes, groups, _| {
                codes.fill(code);
                groups.fill(GroupParams::scale(group));
                Ok(())
            })?;
            let x = Tensor::new([1, 64], vec![100i8; 64])?.quantized(Quantization::tensor(row, 0))?;
            let op = Linear::new(x.tensor_type().clone(), w).clamp(-1.0, 1.0).build()?;
            cases.push((format!("{row:e} · {group:e}, codes of {code}"), op.into(), vec![x]));
        }
    }
    check("linear, products of scales", cases, 0.5);
    Ok(())
}

#[test]
fn linear_conv() -> Result<()> {
    let mut random = Random::new(1_008);
    let mut cases = Vec::new();
    for (a, b) in pairs().into_iter().filter(|(_, b)| *b != Numbers::Special).step_by(3) {
        let w = weights(&mut random, WeightFormat::new(Codes::INT4, 32, ScaleFormat::F32), 5, 16, b)?;
        let x = a.tensor(&mut random, &[1, 3, 3, 4])?;
        let conv = LinearConv::new(x.tensor_type().clone(), w, [2, 2]).padding(Padding::SameUpper);
        cases.push((format!("linear conv of {a:?} by {b:?}"), conv.build()?.into(), vec![x]));
    }
    check("linear conv", cases, 0.4);
    Ok(())
}

#[test]
fn sums() -> Result<()> {
    let mut random = Random::new(1_009);
    let mut cases = Vec::new();
    for numbers in [&FINITE[..], &[Numbers::Special]].concat() {
        for dimensions in [[3, 5], [1, 700], [40, 2]] {
            for granularity in [Granularity::Tensor, Granularity::Axis(1), Granularity::Blocks { axis: 0, size: 3 }] {
                let x = numbers.tensor(&mut random, &dimensions)?;
                let op = Sum::new(TensorType::float32(dimensions)?, granularity)?;
                cases.push((format!("{granularity:?} of {dimensions:?}, {numbers:?}"), op.into(), vec![x]));
            }
        }
    }
    check("sums", cases, 0.6);
    Ok(())
}

#[test]
fn gradients_of_steps() -> Result<()> {
    let mut random = Random::new(1_010);
    let mut cases = Vec::new();
    for (turn, (a, b)) in pairs().into_iter().enumerate() {
        let (x, dy) = (a.tensor(&mut random, &[3, 40])?, b.tensor(&mut random, &[3, 40])?);
        let scale = random.pick(&[1.0, 0.05, 1e-30, 1e-44, 1e30]);
        let grid = [Grid::Step, Grid::Range][turn % 2];
        let forward =
            FakeQuantize::new(TensorType::float32([3, 40])?, grid, Granularity::Axis(0), (-128, 127)).build()?;
        let parameters = match grid {
            Grid::Step => Tensor::new([3], vec![0.01, 1e-30, 1e30f32])?,
            _ => Tensor::new([3, 2], vec![-1.0, 1.0, -1e-30, 2e-30, -3e30, 1e30f32])?,
        };
        let name = format!("{grid:?} for {a:?}, gradient of {b:?}, {scale:e}");
        cases.push((name, GridGradient::new(forward, scale)?.into(), vec![x, parameters, dy]));
        let sums: Vec<f32> = (0..120).map(|_| random.integer(-1 << 20, 1 << 20) as f32).collect();
        let entry = |multiplier: f32| [7, multiplier.to_bits() as i32, 1.0f32.to_bits() as i32, 0];
        let table: Vec<i32> = (0..40).flat_map(|i| entry([1e-4, 1e-30, 0.5, 1e30][i % 4])).collect();
        let op = FakeRequantize::new(TensorType::float32([3, 40])?, FakeRequantizeOutput::StepGradient, (-128, 127))
            .gradient_scale(scale)
            .build()?;
        let inputs = vec![Tensor::new([3, 40], sums)?, Tensor::new([40, 4], table)?, b.tensor(&mut random, &[3, 40])?];
        cases.push((format!("a step, gradient of {b:?}, {scale:e}"), op.into(), inputs));
    }
    check("gradients of steps", cases, 0.5);
    Ok(())
}

#[test]
fn cross_entropy_gradient() -> Result<()> {
    let mut random = Random::new(1_011);
    let mut cases = Vec::new();
    for numbers in [&FINITE[..], &[Numbers::Special]].concat() {
        for (rows, classes) in [(1, 1), (3, 10), (1000, 3), (2, 130)] {
            let logits = numbers.tensor(&mut random, &[rows, classes])?;
            let labels = (0..rows).map(|_| random.integer(-1, classes as i64) as i32).collect::<Vec<_>>();
            let op = CrossEntropyGradient::new(TensorType::float32([rows, classes])?)?;
            let inputs = vec![logits, Tensor::new([rows], labels)?];
            cases.push((format!("{rows} rows of {classes} {numbers:?}"), op.into(), inputs));
        }
    }
    check("cross-entropy", cases, 0.8);
    Ok(())
}

/// Ops on bits are exact for extreme numbers too.
#[test]
fn exact_ops() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(1_012);
    let mut cases: Vec<Case> = Vec::new();
    for (a, b) in pairs() {
        if [a, b].contains(&Numbers::Special) {
            continue;
        }
        let n = 48;
        let states = (0..n).flat_map(|i| {
            let (x, y) = (a.one(&mut random, i), b.one(&mut random, i));
            [x.min(y).to_bits() as i32, x.max(y).to_bits() as i32, 5, 0, 0, 0]
        });
        let states = Tensor::new([n, 6], states.collect::<Vec<_>>())?;
        let steps = Tensor::new([n], (0..n).map(|i| a.scale(&mut random, i)).collect::<Vec<_>>())?;
        for codes in [(-128, 127), (0, 15), (-8, 0)] {
            cases.push((
                format!("steps of {a:?} and {b:?}"),
                StepFromRange::new(TensorType::int32([n, 6])?, codes)?.into(),
                vec![states.clone(), steps.clone()],
            ));
        }
        let x = a.tensor(&mut random, &[n])?;
        let grid = FakeQuantize::new(x.tensor_type().clone(), Grid::Step, Granularity::Axis(0), (-128, 127));
        let forward = grid.clone().build()?;
        let steps = Tensor::new([n], (0..n).map(|i| b.scale(&mut random, i)).collect::<Vec<_>>())?;
        cases.push((
            format!("levels of {a:?} by {b:?}"),
            grid.levels().build()?.into(),
            vec![x.clone(), steps.clone()],
        ));
        cases.push((format!("{a:?} on a grid of {b:?}"), forward.clone().into(), vec![x.clone(), steps.clone()]));
        let dy = b.tensor(&mut random, &[n])?;
        cases.push((
            format!("what passes of {b:?}"),
            FakeQuantizeGradient::new(forward)?.into(),
            vec![x.clone(), steps, dy.clone()],
        ));
        for rule in [OptimizerRule::adam(), OptimizerRule::Sgd { momentum: 0.9 }] {
            let moments = if rule == OptimizerRule::adam() { 2 } else { 1 };
            let memory: Vec<f32> = a.many(&mut random, moments * n).iter().map(|x| x.abs().min(1e18)).collect();
            let inputs =
                vec![x.clone(), dy.clone(), Tensor::new([moments, n], memory)?, Tensor::new([1], vec![0.01f32])?];
            cases.push((
                format!("{rule:?} of {a:?} by {b:?}"),
                OptimizerStep::new(TensorType::float32([n])?, rule).build()?.into(),
                inputs,
            ));
        }
    }
    let count =
        check_cases(cases, |(name, op, inputs)| check_op(&context, name, op, &inputs.iter().collect::<Vec<_>>()));
    println!("exact: {count} combinations on {}", context.description());
    Ok(())
}
