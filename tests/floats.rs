//! Ops of float networks other than products: functions, sums, softmax and normalization. Every candidate kernel against the
//! reference, within the bound that each op documents; the reference against known values.

mod common;

use common::{ARITHMETICS, FUNCTIONS, Random, check_op, check_op_within, context, first_difference, gpu_context};
use half::f16;
use lowbit::ops::{
    ArgMax, Arithmetic, Concat, DynamicGranularity, DynamicQuantize, FloatBinary, FloatPool, FloatUnary, Function,
    Fused, Gather, LayerNorm, Op, Padding, Reduce, Reduction, Select, Softmax, TopK,
};
use lowbit::{DType, Error, Graph, Quantization, Result, Tensor, TensorType, Tuner, reference};

/// Functions without jumps or poles.
const ACTIVATIONS: [Function; 6] =
    [Function::Relu, Function::Sigmoid, Function::Tanh, Function::Silu, Function::Gelu, Function::GeluTanh];

/// Numbers of every magnitude: around 0 and 1, and very large.
fn numbers(random: &mut Random, dims: &[usize]) -> Result<Tensor> {
    let count = dims.iter().product();
    let number = |i: usize, x: f32| match i % 11 {
        0 => x * 1e-6,
        1 => x * 10.0,
        2 => x * 100.0,
        3 if i % 33 == 3 => x * 1e20,
        4 if i % 44 == 4 => 0.0,
        _ => x,
    };
    Tensor::new(dims, (0..count).map(|i| number(i, random.real())).collect::<Vec<f32>>())
}

#[test]
fn functions_of_an_element() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(9_101);
    for function in FUNCTIONS {
        let mut worst = 0.0f64;
        for shape in [&[0][..], &[1], &[63], &[5, 7], &[3, 1, 130]] {
            let x = numbers(&mut random, shape)?;
            let op: Op = FloatUnary::new(TensorType::float32(shape)?, function)?.into();
            worst = worst.max(check_op_within(&context, &format!("{function:?}"), &op, &[&x]).1);
        }
        println!("{function:?}: largest error {worst:.3} of its bound");
    }
    Ok(())
}

/// Values from tables of the normal distribution and of tanh; other values in f64, by other formulas.
#[test]
fn functions_have_their_known_values() -> Result<()> {
    let x = Tensor::new([6], vec![-3.0f32, -1.0, 0.0, 0.5, 1.0, 3.0])?;
    for (function, expected) in [
        (Function::Relu, [0.0, 0.0, 0.0, 0.5, 1.0, 3.0]),
        (
            Function::Sigmoid,
            [0.04742587317756678, 0.2689414213699951, 0.5, 0.6224593312018546, 0.7310585786300049, 0.9525741268224334],
        ),
        (
            Function::Tanh,
            [
                -0.9950547536867305,
                -0.7615941559557649,
                0.0,
                0.46211715726000976,
                0.7615941559557649,
                0.9950547536867305,
            ],
        ),
        (
            Function::Silu,
            [-0.14227761953270035, -0.2689414213699951, 0.0, 0.3112296656009273, 0.7310585786300049, 2.8577223804673],
        ),
        (
            Function::Gelu,
            [-0.0040496940948, -0.1586552539314571, 0.0, 0.3457312306370, 0.8413447460685429, 2.9959503059052],
        ),
        (
            Function::GeluTanh,
            [-0.0036373920817, -0.1588080093917, 0.0, 0.3457140189894, 0.8411919906083, 2.9963626079183],
        ),
        (
            Function::Exp,
            [
                0.049787068367863944,
                0.36787944117144233,
                1.0,
                1.6487212707001282,
                std::f64::consts::E,
                20.085536923187668,
            ],
        ),
        (Function::Abs, [3.0, 1.0, 0.0, 0.5, 1.0, 3.0]),
        (Function::Negate, [3.0, 1.0, 0.0, -0.5, -1.0, -3.0]),
        (
            Function::Erf,
            [-0.9999779095030014, -0.8427007929497149, 0.0, 0.5204998778130465, 0.8427007929497149, 0.9999779095030014],
        ),
        (Function::Floor, [-3.0, -1.0, 0.0, 0.0, 1.0, 3.0]),
        (Function::Ceil, [-3.0, -1.0, 0.0, 1.0, 1.0, 3.0]),
        (Function::Round, [-3.0, -1.0, 0.0, 0.0, 1.0, 3.0]),
        (
            Function::Softplus,
            [
                0.04858735157374206,
                0.31326168751822286,
                std::f64::consts::LN_2,
                0.9740769841801067,
                1.3132616875182228,
                3.048587351573742,
            ],
        ),
        (Function::HardSigmoid { alpha: 0.5, beta: 0.25 }, [0.0, 0.0, 0.25, 0.5, 0.75, 1.0]),
        (Function::HardSwish, [0.0, -1.0 / 3.0, 0.0, 7.0 / 24.0, 2.0 / 3.0, 3.0]),
        (Function::Clamp { low: -1.5, high: 0.75 }, [-1.5, -1.0, 0.0, 0.5, 0.75, 0.75]),
        (Function::LeakyRelu { alpha: 0.25 }, [-0.75, -0.25, 0.0, 0.5, 1.0, 3.0]),
        (Function::Elu { alpha: 2.0 }, [-1.900425863264272, -1.2642411176571153, 0.0, 0.5, 1.0, 3.0]),
    ] {
        let got = reference::run(&FloatUnary::new(TensorType::float32([6])?, function)?.into(), &[&x])?.remove(0);
        for (got, expected) in got.values::<f32>()?.iter().zip(expected) {
            let error: f64 = f64::from(*got) - expected;
            // Half a unit of f32, and the given digits.
            assert!(error.abs() <= 6e-8 * expected.abs() + 1e-12, "{function:?}: {got}, expected {expected}");
        }
    }
    let x = Tensor::new([4], vec![0.25f32, 0.5, 1.0, 4.0])?;
    for (function, expected) in [
        (Function::Sqrt, [0.5, std::f32::consts::FRAC_1_SQRT_2, 1.0, 2.0]),
        (Function::Log, [-2.0 * std::f32::consts::LN_2, -std::f32::consts::LN_2, 0.0, 2.0 * std::f32::consts::LN_2]),
        (Function::Reciprocal, [4.0, 2.0, 1.0, 0.25]),
    ] {
        let op = FloatUnary::new(TensorType::float32([4])?, function)?.into();
        assert_eq!(reference::run(&op, &[&x])?[0].values::<f32>()?, expected, "{function:?}");
    }
    Ok(())
}

/// Results that are exact in f32, or infinite.
#[test]
fn arithmetic_has_its_known_values() -> Result<()> {
    let a = Tensor::new([6], vec![-2.0f32, -0.0, 0.0, 3.0, 4.0, f32::NAN])?;
    let b = Tensor::new([6], vec![3.0f32, 0.0, 1.0, -1.0, 0.5, 1.0])?;
    for (arithmetic, expected) in [
        (Arithmetic::Subtract, [-5.0, -0.0, -1.0, 4.0, 3.5, f32::NAN]),
        (Arithmetic::Divide, [-2.0 / 3.0, f32::NAN, 0.0, -3.0, 8.0, f32::NAN]),
        (Arithmetic::Power, [-8.0, 1.0, 0.0, 1.0 / 3.0, 2.0, f32::NAN]),
        (Arithmetic::Minimum, [-2.0, -0.0, 0.0, -1.0, 0.5, f32::NAN]),
        (Arithmetic::Maximum, [3.0, 0.0, 1.0, 3.0, 4.0, f32::NAN]),
        (Arithmetic::Equal, [0.0, 1.0, 0.0, 0.0, 0.0, 0.0]),
        (Arithmetic::Less, [1.0, 0.0, 1.0, 0.0, 0.0, 0.0]),
        (Arithmetic::LessOrEqual, [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]),
        (Arithmetic::Greater, [0.0, 0.0, 0.0, 1.0, 1.0, 0.0]),
        (Arithmetic::GreaterOrEqual, [0.0, 1.0, 0.0, 1.0, 1.0, 0.0]),
    ] {
        let op = FloatBinary::new(a.tensor_type().clone(), b.tensor_type().clone(), arithmetic)?.into();
        let got = reference::run(&op, &[&a, &b])?.remove(0);
        let same =
            |(got, expected): (&f32, &f32)| got.to_bits() == expected.to_bits() || got.is_nan() && expected.is_nan();
        let got = got.values::<f32>()?;
        assert!(got.iter().zip(&expected).all(same), "{arithmetic:?}: {got:?}, expected {expected:?}");
    }
    Ok(())
}

/// Conditions of each format, of which any operand may repeat.
#[test]
fn a_condition_selects() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(9_107);
    let shapes: [[&[usize]; 3]; 8] = [
        [&[], &[], &[]],
        [&[0], &[1], &[1]],
        [&[65], &[65], &[65]],
        [&[3, 1], &[3, 5], &[5]],
        [&[5], &[1, 5], &[2, 3, 1, 1]],
        [&[2, 1, 3, 1, 2], &[1, 2, 1, 2, 1], &[1]],
        [&[1], &[2, 3, 4, 5], &[2, 1, 1, 5]],
        [&[70, 130], &[70, 1], &[70, 130]],
    ];
    for [condition, a, b] in shapes {
        for dtype in [DType::Float32, DType::Int8, DType::Uint8] {
            let few = |random: &mut Random, dims: &[usize]| -> Vec<f32> {
                (0..dims.iter().product()).map(|_| random.pick(&[0.0, -0.0, 1.0, -3.0, f32::NAN, 1e-45, 4.0])).collect()
            };
            let of = few(&mut random, condition);
            let is = match dtype {
                DType::Int8 => Tensor::new(condition, of.iter().map(|&x| x as i8).collect::<Vec<_>>())?,
                DType::Uint8 => Tensor::new(condition, of.iter().map(|&x| x as u8).collect::<Vec<_>>())?,
                _ => Tensor::new(condition, of)?,
            };
            let (x, y) = (Tensor::new(a, few(&mut random, a))?, Tensor::new(b, few(&mut random, b))?);
            let op = Select::new(is.tensor_type().clone(), x.tensor_type().clone(), y.tensor_type().clone())?;
            check_op(&context, &format!("{dtype} of {condition:?}, {a:?}, {b:?}"), &op.into(), &[&is, &x, &y]);
            let bits = |t: &Tensor| -> Result<Tensor> {
                Tensor::new(t.dims(), t.values::<f32>()?.iter().map(|x| x.to_bits() as i32).collect::<Vec<_>>())
            };
            let (x, y) = (bits(&x)?, bits(&y)?);
            let op = Select::new(is.tensor_type().clone(), x.tensor_type().clone(), y.tensor_type().clone())?;
            check_op(&context, &format!("{dtype} of integers, {condition:?}"), &op.into(), &[&is, &x, &y]);
        }
    }
    Ok(())
}

#[test]
fn arithmetic_broadcasts() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(9_102);
    let shapes: [(&[usize], &[usize]); 10] = [
        (&[], &[]),
        (&[0], &[1]),
        (&[65], &[65]),
        (&[3, 5], &[5]),
        (&[3, 5], &[3, 1]),
        (&[1, 7], &[3, 1]),
        (&[2, 3, 4, 5], &[2, 1, 1, 5]),
        (&[1, 5], &[2, 3, 1, 1]),
        (&[2, 1, 3, 1, 2], &[1, 2, 1, 2, 1]),
        (&[70, 130], &[70, 130]),
    ];
    for (lhs, rhs) in shapes {
        let (a, b) = (numbers(&mut random, lhs)?, numbers(&mut random, rhs)?);
        for (turn, arithmetic) in ARITHMETICS.into_iter().enumerate() {
            // The largest products leave f32.
            let tame = |x: &Tensor| -> Result<Tensor> {
                Tensor::new(x.dims(), x.values::<f32>()?.iter().map(|x| x.clamp(-1e15, 1e15)).collect::<Vec<_>>())
            };
            let (a, b) = (tame(&a)?, tame(&b)?);
            let op = FloatBinary::new(a.tensor_type().clone(), b.tensor_type().clone(), arithmetic)?;
            let name = format!("{arithmetic:?} of {lhs:?} and {rhs:?}");
            match turn {
                ..5 => drop(check_op_within(&context, &name, &op.into(), &[&a, &b])),
                _ => drop(check_op(&context, &name, &op.into(), &[&a, &b])),
            }
        }
    }
    Ok(())
}

const ROWS: [[usize; 2]; 9] = [[0, 3], [3, 0], [1, 1], [5, 7], [9, 8], [17, 65], [2, 513], [1, 3000], [130, 3]];

const REDUCTIONS: [Reduction; 6] =
    [Reduction::Sum, Reduction::Mean, Reduction::Max, Reduction::Min, Reduction::L1, Reduction::L2];

/// Any axes: rows, columns, both with an axis between them, long ones that are cut into slices, and axes of one element.
#[test]
fn reductions_of_axes() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let contexts = [context, gpu_context().expect("there is an adapter")];
    let mut random = Random::new(9_108);
    let cases: [(&[usize], &[usize]); 19] = [
        (&[1], &[0]),
        (&[7], &[0]),
        (&[3, 0], &[0]),
        (&[3, 5], &[1]),
        (&[3, 5], &[0]),
        (&[3, 5], &[1, 0]),
        (&[5, 1, 3], &[1]),
        (&[17, 65], &[1]),
        (&[65, 17], &[0]),
        (&[2, 513, 3], &[1]),
        (&[2, 7, 7, 19], &[1, 2]),
        (&[2, 3, 4, 5], &[0, 2]),
        (&[2, 3, 4, 5], &[1, 3]),
        (&[2, 3, 2, 3, 2, 3, 2, 3], &[0, 2, 4, 6]),
        (&[2, 3, 2, 3, 2, 3, 2, 3], &[7, 5, 3, 1]),
        (&[1, 70_003], &[1]),
        (&[9_001, 3], &[0]),
        (&[130, 3, 67], &[0, 2]),
        (&[40, 3, 300], &[0]),
    ];
    for reduction in REDUCTIONS {
        let mut worst = 0.0f64;
        for (dims, axes) in cases {
            let count: usize = dims.iter().product();
            let x = Tensor::new(dims, (0..count).map(|_| 2.0 * random.real()).collect::<Vec<f32>>())?;
            let op: Op = Reduce::new(x.tensor_type().clone(), axes, reduction)?.into();
            for context in &contexts {
                let name = format!("{reduction:?} of {axes:?} of {dims:?}");
                worst = worst.max(check_op_within(context, &name, &op, &[&x]).1);
            }
        }
        println!("{reduction:?}: largest error {worst:.3} of its bound");
    }
    Ok(())
}

#[test]
fn reductions_have_their_known_values() -> Result<()> {
    let x = Tensor::new([2, 2, 2], vec![3.0f32, -4.0, 0.0, 1.0, -5.0, 12.0, 2.0, 2.0])?;
    for (reduction, along_rows, of_planes) in [
        (Reduction::Sum, [-1.0, 1.0, 7.0, 4.0], [0.0, 11.0]),
        (Reduction::Mean, [-0.5, 0.5, 3.5, 2.0], [0.0, 2.75]),
        (Reduction::Max, [3.0, 1.0, 12.0, 2.0], [3.0, 12.0]),
        (Reduction::Min, [-4.0, 0.0, -5.0, 2.0], [-4.0, -5.0]),
        (Reduction::L1, [7.0, 1.0, 17.0, 4.0], [8.0, 21.0]),
        (Reduction::L2, [5.0, 1.0, 13.0, 8f32.sqrt()], [26f32.sqrt(), 177f32.sqrt()]),
    ] {
        let of = |axes: &[usize]| -> Result<Tensor> {
            let op = Reduce::new(x.tensor_type().clone(), axes, reduction)?;
            Ok(reference::run(&op.into(), &[&x])?.remove(0))
        };
        assert_eq!(of(&[2])?, Tensor::new([2, 2, 1], along_rows.to_vec())?, "{reduction:?}");
        assert_eq!(of(&[1, 2])?, Tensor::new([2, 1, 1], of_planes.to_vec())?, "{reduction:?}");
    }
    Ok(())
}

/// Windows of every kind, some of them only padding.
#[test]
fn pools_of_floats() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(9_109);
    let mut worst = 0.0f64;
    let mut run = |name: &str, pool: FloatPool, x: &Tensor| {
        worst = worst.max(check_op_within(&context, name, &pool.into(), &[x]).1);
    };
    for case in 0..20 {
        let rank = random.pick(&[1usize, 2, 2, 3]);
        let mut pick = |low: i64, high: i64| (0..rank).map(|_| random.integer(low, high) as usize).collect::<Vec<_>>();
        let (kernel, stride, dilation) = (pick(1, 4), pick(1, 3), pick(1, 3));
        let (begin, end) = (pick(0, 5), pick(0, 4));
        let spatial: Vec<usize> =
            pick(0, 6).iter().zip(&kernel).zip(&dilation).map(|((s, k), d)| s + (k - 1) * d + 1).collect();
        let dims = [&[2], &spatial[..], &[random.pick(&[1usize, 3, 4, 19])]].concat();
        let x = numbers(&mut random, &dims)?;
        let padding = match random.next() % 4 {
            0 => Padding::None,
            1 => Padding::SameUpper,
            _ => Padding::Explicit { begin, end },
        };
        let name = format!("{dims:?}, {kernel:?}, {stride:?}, {dilation:?}, {padding:?}");
        let shared = |pool: lowbit::ops::FloatPoolBuilder| {
            let pool = pool.stride(stride.clone()).dilation(dilation.clone()).padding(padding.clone());
            if case % 3 == 0 { pool.round_up() } else { pool }
        };
        run(&format!("max {name}"), shared(FloatPool::max(x.tensor_type().clone(), kernel.clone())).build()?, &x);
        let average = shared(FloatPool::average(x.tensor_type().clone(), kernel.clone()));
        run(&format!("average {name}"), average.clone().build()?, &x);
        run(&format!("average of all {name}"), average.count_padding().build()?, &x);
    }
    for dims in [&[1, 70_003, 5][..], &[2, 7, 7, 33], &[0, 3, 3, 2], &[1, 9, 10, 11, 17]] {
        let x = numbers(&mut random, dims)?;
        run("global average", FloatPool::global_average(x.tensor_type().clone()).build()?, &x);
        run("global max", FloatPool::global_max(x.tensor_type().clone()).build()?, &x);
    }
    println!("pools: largest error {worst:.3} of its bound");
    // Corners of a padded image have four taps inside it.
    let x = Tensor::new([1, 3, 3, 1], (1..=9).map(|i| i as f32).collect::<Vec<_>>())?;
    let padding = Padding::Explicit { begin: vec![1, 1], end: vec![1, 1] };
    let pool = FloatPool::average(x.tensor_type().clone(), [3, 3]).stride([2, 2]).padding(padding);
    let inside = reference::run(&pool.clone().build()?.into(), &[&x])?.remove(0);
    assert_eq!(inside.values::<f32>()?, [3.0, 4.0, 6.0, 7.0]);
    let all = reference::run(&pool.count_padding().build()?.into(), &[&x])?.remove(0);
    assert_eq!(all.values::<f32>()?, [12.0f32 / 9.0, 16.0 / 9.0, 24.0 / 9.0, 28.0 / 9.0]);
    Ok(())
}

#[test]
fn softmax_of_rows() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(9_103);
    let mut worst = 0.0f64;
    for (turn, shape) in ROWS.into_iter().enumerate() {
        let size = [1.0, 10.0, 60.0][turn % 3];
        let mask = |i: usize| if i % 5 == 3 { -10_000.0 } else { 0.0 };
        let x: Vec<f32> = (0..shape[0] * shape[1]).map(|i| size * random.real() + mask(i)).collect();
        let op = Softmax::new(TensorType::float32(shape)?).scaled([1.0, 0.17][turn % 2]).build()?;
        worst = worst.max(check_op_within(&context, &format!("{shape:?}"), &op.into(), &[&Tensor::new(shape, x)?]).1);
    }
    println!("softmax: largest error {worst:.3} of its bound");
    Ok(())
}

/// Floats of every kind. As float16, 10⁻⁷ is subnormal.
const AWKWARD: [f32; 12] =
    [0.0, -0.0, f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MIN, f32::MAX, 1e-45, -1e-45, 1e-7, -1e-7];

/// Rows of few different numbers, so that the greatest occurs several times, at any place; and floats of every kind.
#[test]
fn first_greatest_of_rows() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(9_106);
    for shape in ROWS.into_iter().filter(|shape| shape[1] > 0) {
        let count = shape[0] * shape[1];
        let check = |x: Tensor| -> Result<()> {
            let op = ArgMax::new(x.tensor_type().clone())?;
            check_op(&context, &format!("{}", x.tensor_type()), &op.into(), &[&x]);
            Ok(())
        };
        for kinds in [3, 200] {
            let mut draw = || random.integer(0, kinds) as i32;
            check(Tensor::new(shape, (0..count).map(|_| (draw() - 100) as i8).collect::<Vec<i8>>())?)?;
            check(Tensor::new(shape, (0..count).map(|_| (draw() + 55) as u8).collect::<Vec<u8>>())?)?;
            check(Tensor::new(
                shape,
                (0..count).map(|_| (draw() - 100).wrapping_mul(0x0151_5151)).collect::<Vec<i32>>(),
            )?)?;
            check(Tensor::new(shape, (0..count).map(|_| draw() as f32 - 100.5).collect::<Vec<f32>>())?)?;
        }
        for kinds in [&AWKWARD[..], &AWKWARD[..2]] {
            let floats: Vec<f32> = (0..count).map(|_| random.pick(kinds)).collect();
            check(Tensor::new(shape, floats.iter().map(|&x| f16::from_f32(x)).collect::<Vec<f16>>())?)?;
            check(Tensor::new(shape, floats)?)?;
        }
        check(Tensor::new(shape, vec![i32::MIN; count])?)?;
        check(Tensor::new(shape, vec![-f32::MAX; count])?)?;
    }
    Ok(())
}

/// Rows whose elements are, in turn, of every kind, few numbers, in order, and any numbers, in formats that also take turns.
fn ordered_rows(random: &mut Random, turn: usize, shape: [usize; 2]) -> Result<Tensor> {
    let count = shape[0] * shape[1];
    let floats: Vec<f32> = match turn % 4 {
        0 => (0..count).map(|_| random.pick(&AWKWARD)).collect(),
        1 => (0..count).map(|_| random.integer(-20, 20) as f32).collect(),
        2 => (0..count).map(|i| i as f32).collect(),
        _ => (0..count).map(|_| random.real()).collect(),
    };
    let integer = |x: f32| (x * 37.0) as i32;
    match turn % 5 {
        0 => Tensor::new(shape, floats.iter().map(|&x| f16::from_f32(x)).collect::<Vec<f16>>()),
        1 => Tensor::new(shape, floats.iter().map(|&x| integer(x) as i8).collect::<Vec<i8>>()),
        2 => Tensor::new(shape, floats.iter().map(|&x| integer(x) as u8).collect::<Vec<u8>>()),
        3 => Tensor::new(shape, floats.iter().map(|&x| integer(x)).collect::<Vec<i32>>()),
        _ => Tensor::new(shape, floats),
    }
}

/// Short rows, rows around the size of a workgroup's memory, and long ones, on devices that divide rows and that don't.
#[test]
fn greatest_of_rows() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let contexts = [context, gpu_context().expect("there is an adapter")];
    let mut random = Random::new(9_107);
    let mut turn = 0;
    let mut check = |shape: [usize; 2], k: usize| -> Result<()> {
        turn += 1;
        let x = ordered_rows(&mut random, turn, shape)?;
        for op in [TopK::new(x.tensor_type().clone(), k), TopK::new(x.tensor_type().clone(), k).least()] {
            let op = op.build()?.into();
            for context in &contexts {
                check_op(context, &format!("{k} of {}", x.tensor_type()), &op, &[&x]);
            }
        }
        Ok(())
    };
    let lengths = [1, 2, 31, 32, 33, 255, 256, 257, 1024, 1025, 5000];
    for (rows, n) in lengths.into_iter().flat_map(|n| [(1, n), (if n < 100 { 33 } else { 3 }, n)]) {
        for k in [1, 2, 7, 40, 512, 513].into_iter().filter(|&k| k < n).chain([n]) {
            check([rows, n], k)?;
        }
    }
    check([0, 7], 2)?;
    // Vocabularies of language models.
    for (n, k) in [(49_152, 1), (49_152, 40), (49_152, 600), (49_152, 49_152), (262_144, 1), (262_144, 100)] {
        check([1, n], k)?;
    }
    Ok(())
}

/// A plan for any number of rows: the best of each, beside the whole row.
#[test]
fn greatest_of_any_batch() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(9_108);
    let mut graph = Graph::new();
    let rows = graph.extent("rows", 6)?;
    let x = graph.dynamic_input(TensorType::float32([6, 3000])?, [(0, rows)])?;
    let best = graph.add_all(TopK::new(TensorType::float32([6, 3000])?, 5).build()?, &[x])?;
    let both = [TensorType::float32([6, 5])?, TensorType::float32([6, 3000])?];
    let both = graph.add(Concat::new(both, 1).build()?, &[best[0], x])?;
    graph.output(both);
    graph.output(best[1]);
    let plan = context.plan(&graph, Tuner::FirstGuess)?;
    for batch in [6, 1, 5] {
        let x = Tensor::new([batch, 3000], (0..batch * 3000).map(|_| random.real()).collect::<Vec<f32>>())?;
        for (got, expected) in plan.run_blocking(&[&x])?.iter().zip(graph.run_reference(&[&x])?) {
            assert_eq!(first_difference(got, &expected), None, "batch {batch}");
        }
    }
    Ok(())
}

/// The order of the ONNX definition, and of NaN and zeros in the op's own, as numbers and as bits.
#[test]
fn known_greatest() -> Result<()> {
    let (nan, infinity) = (f32::NAN, f32::INFINITY);
    let x = Tensor::new([8], vec![0.0, nan, -0.0, infinity, -nan, 1.0, -infinity, 1.0])?;
    let run = |least: bool| -> Result<(Vec<u32>, Vec<i32>)> {
        let op = TopK::new(x.tensor_type().clone(), 8);
        let outputs = reference::run(&if least { op.least() } else { op }.build()?.into(), &[&x])?;
        let bits = outputs[0].values::<f32>()?.iter().map(|x| x.to_bits()).collect();
        Ok((bits, outputs[1].values::<i32>()?.to_vec()))
    };
    let bits = |values: [f32; 8]| values.map(f32::to_bits).to_vec();
    let greatest = bits([nan, -nan, infinity, 1.0, 1.0, 0.0, -0.0, -infinity]);
    assert_eq!(run(false)?, (greatest, vec![1, 4, 3, 5, 7, 0, 2, 6]));
    let least = bits([-infinity, 0.0, -0.0, 1.0, 1.0, infinity, nan, -nan]);
    assert_eq!(run(true)?, (least, vec![6, 0, 2, 5, 7, 3, 1, 4]));
    Ok(())
}

#[test]
fn rows_are_normalized() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(9_104);
    let mut worst = 0.0f64;
    for (turn, shape) in ROWS.into_iter().enumerate() {
        let n = shape[1];
        // Rows around 0, around a number much larger than their differences, and of one number.
        let (middle, size) = [(0.0, 1.0), (100.0, 0.1), (3.0, 0.0), (-1.0, 1e-3)][turn % 4];
        let x: Vec<f32> = (0..shape[0] * n).map(|_| middle + size * random.real()).collect();
        let mut floats = || Tensor::new([n], (0..n).map(|_| random.real()).collect::<Vec<f32>>());
        let (scale, shift) = (floats()?, floats()?);
        let x = Tensor::new(shape, x)?;
        let op = LayerNorm::new(TensorType::float32(shape)?, scale, [1e-12, 1e-5][turn % 2]);
        for op in [op.clone(), op.clone().shift(shift), op.without_mean()] {
            let op = op.build()?;
            worst = worst.max(check_op_within(&context, &format!("{shape:?}"), &op.into(), &[&x]).1);
        }
    }
    println!("layer norm: largest error {worst:.3} of its bound");
    Ok(())
}

/// Rows that are normalized and quantized by one launch, alone and as a planner finds it.
#[test]
fn rows_are_normalized_and_quantized() -> Result<()> {
    let mut random = Random::new(9_106);
    let mut worst = 0.0f64;
    for context in [context(), gpu_context()].into_iter().flatten() {
        for (turn, shape) in ROWS.into_iter().enumerate().filter(|(_, shape)| shape[1] > 0) {
            let n = shape[1];
            let x = Tensor::new(shape, (0..shape[0] * n).map(|_| 3.0 * random.real()).collect::<Vec<f32>>())?;
            let scale = Tensor::new([n], (0..n).map(|_| random.real()).collect::<Vec<f32>>())?;
            let norm = LayerNorm::new(TensorType::float32(shape)?, scale, 1e-5);
            let norm = if turn % 2 == 0 { norm.without_mean() } else { norm }.build()?;
            for granularity in [DynamicGranularity::Row, DynamicGranularity::Group(32), DynamicGranularity::Group(4)] {
                let codes = DynamicQuantize::new(TensorType::float32(shape)?, DType::Int8, granularity).symmetric();
                let codes = codes.build()?;
                let op: Op = Fused::new(norm.clone().into(), codes.clone().into(), 0)?.into();
                let name = format!("{shape:?}, {granularity:?}");
                worst = worst.max(check_op_within(&context, &name, &op, &[&x]).1);
                let mut graph = Graph::new();
                let input = graph.input(TensorType::float32(shape)?);
                let normal = graph.add(norm.clone(), &[input])?;
                for value in graph.add_all(codes, &[normal])? {
                    graph.output(value);
                }
                let plan = context.plan(&graph, Tuner::FirstGuess)?;
                assert_eq!(plan.launches(), usize::from(shape[0] > 0), "{plan}");
                common::check_outputs(&name, &op, &[&x], &common::wait(plan.run(&[&x]))?)?;
            }
        }
    }
    println!("norms that quantize: largest error {worst:.3} of its bound");
    // Most codes are those of the reference: a bound of a code is 0 but where its number is close to the middle of two.
    let x = Tensor::new([4, 256], (0..1024).map(|_| random.real()).collect::<Vec<f32>>())?;
    let norm = LayerNorm::new(x.tensor_type().clone(), Tensor::new([256], vec![1.0f32; 256])?, 1e-5).build()?;
    let codes = |dtype, granularity| DynamicQuantize::new(x.tensor_type().clone(), dtype, granularity);
    let group = DynamicGranularity::Group(32);
    let op = Fused::new(norm.clone().into(), codes(DType::Int8, group).symmetric().build()?.into(), 0)?;
    let bounds = reference::tolerance(&op.into(), &[&x])?.expect("a bound");
    let certain = bounds[..1024].iter().filter(|&&bound| bound == 0.0).count();
    assert!(certain > 900 && bounds[..1024].iter().all(|&bound| bound <= 1.0), "{certain} of 1024 codes are certain");
    for other in [codes(DType::Uint8, group), codes(DType::Int8, group), codes(DType::Int8, DynamicGranularity::Tensor)]
    {
        let error = Fused::new(norm.clone().into(), other.build()?.into(), 0).expect_err("no such launch").to_string();
        assert!(error.contains("can't be followed"), "{error}");
    }
    Ok(())
}

/// ReLU selects one of two numbers, so it is exact.
#[test]
fn relu_is_exact() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(9_105);
    let x = Tensor::new([67], (0..67).map(|_| random.real()).collect::<Vec<f32>>())?;
    let op: Op = FloatUnary::new(TensorType::float32([67])?, Function::Relu)?.into();
    let got = context.run_blocking(&op, &[&x])?;
    assert_eq!(got[0].values::<f32>()?, reference::run(&op, &[&x])?[0].values::<f32>()?);
    Ok(())
}

/// A plan of these ops in sequence, where outputs reuse the storage of inputs, at any batch.
#[test]
fn a_plan_of_them_at_any_batch() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(9_106);
    let (most, n) = (6, 40);
    let real = TensorType::new(DType::Float32, [most, n])?;
    let mut graph = Graph::new();
    let rows = graph.extent("rows", real.dims()[0])?;
    let x = graph.dynamic_input(real.clone(), [(0, rows)])?;
    let mut y = graph.add(Softmax::new(TensorType::float32([most, n])?).build()?, &[x])?;
    for function in ACTIVATIONS {
        y = graph.add(FloatUnary::new(TensorType::float32([most, n])?, function)?, &[y])?;
        y = graph.add(FloatBinary::new(real.clone(), real.clone(), Arithmetic::Add)?, &[x, y])?;
        y = graph.add(
            LayerNorm::new(TensorType::float32([most, n])?, Tensor::new([n], vec![0.5f32; n])?, 1e-5).build()?,
            &[y],
        )?;
    }
    graph.output(y);
    let plan = context.plan(&graph, Tuner::FirstGuess)?;
    for batch in [most, 1, 5] {
        let x = Tensor::new([batch, n], (0..batch * n).map(|_| random.real()).collect::<Vec<f32>>())?;
        let (got, expected) = (plan.run_blocking(&[&x])?.remove(0), graph.run_reference(&[&x])?.remove(0));
        for (got, expected) in got.values::<f32>()?.iter().zip(expected.values::<f32>()?) {
            // Twenty ops within 1e-6 each of numbers below 2.
            assert!((got - expected).abs() < 1e-4, "batch {batch}: {got}, expected {expected}");
        }
    }
    Ok(())
}

#[test]
fn refusals_name_both_numbers() -> Result<()> {
    let says = |result: std::result::Result<(), Error>, words: &[&str]| {
        let message = result.expect_err("it is wrong").to_string();
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    };
    let real = |dims: &[usize]| TensorType::new(DType::Float32, dims);
    let ones = |n: usize| Tensor::new([n], vec![1.0f32; n]);
    let codes = TensorType::new(DType::Int8, [3])?;
    says(FloatBinary::new(real(&[3])?, codes, Arithmetic::Add).map(drop), &["int8[3]", "Add or Multiply"]);
    says(FloatBinary::new(real(&[3])?, real(&[4])?, Arithmetic::Add).map(drop), &["3", "4"]);
    let function = |function| FloatUnary::new(TensorType::float32([3])?, function).map(drop);
    says(function(Function::Clamp { low: 2.0, high: 1.0 }), &["2e0", "1e0"]);
    says(function(Function::LeakyRelu { alpha: f32::NAN }), &["NaN", "not finite"]);
    says(function(Function::Clamp { low: 0.0, high: f32::INFINITY }), &["inf", "f32::MAX"]);
    says(Select::new(TensorType::int32([3])?, real(&[3])?, real(&[3])?).map(drop), &["int32[3]", "Cast"]);
    says(Select::new(real(&[3])?, real(&[3])?, TensorType::new(DType::Int8, [3])?).map(drop), &["int8[3]", "Cast"]);
    says(Select::new(real(&[3])?, real(&[3])?, TensorType::int32([3])?).map(drop), &["float32[3]", "int32[3]"]);
    says(Select::new(real(&[3])?, real(&[4])?, real(&[1])?).map(drop), &["3", "4"]);
    let sum = |dims: &[usize], axes: &[usize]| Reduce::new(real(dims)?, axes, Reduction::Sum).map(drop);
    says(sum(&[3, 4], &[]), &["no axis", "[3, 4]"]);
    says(sum(&[3, 4], &[2]), &["axis 2", "2 axes"]);
    says(sum(&[3, 4], &[1, 1]), &["axis 1", "twice"]);
    says(sum(&[3, 0], &[1]), &["axis 1", "no elements"]);
    says(FloatPool::max(real(&[3, 4])?, [1, 1]).build().map(drop), &["2 dimensions", "3 to 5"]);
    says(FloatPool::max(real(&[1, 4, 4, 1])?, [2]).build().map(drop), &["1 sizes", "2 spatial"]);
    says(FloatPool::max(real(&[1, 300, 300, 1])?, [200, 200]).build().map(drop), &["40000", "32768"]);
    let gather = |data: TensorType, axis, indices: TensorType| Gather::new(data, axis, indices).map(drop);
    says(gather(real(&[3, 4])?, 2, TensorType::int32([1])?), &["axis 2", "2 axes"]);
    says(gather(real(&[3, 4])?, 0, real(&[1])?), &["float32[1]", "int32"]);
    let scaled = TensorType::new(DType::Int8, [3, 2])?.quantized(Quantization::symmetric_axis(1, vec![0.5, 0.25]))?;
    says(gather(scaled, 0, TensorType::int32([1])?), &["int8[3, 2]", "dequantize"]);
    says(Softmax::new(TensorType::float32([])?).build().map(drop), &["scalar", "[1]"]);
    says(ArgMax::new(real(&[])?).map(drop), &["scalar", "[1]"]);
    says(ArgMax::new(real(&[3, 0])?).map(drop), &["[3, 0]", "without elements"]);
    says(ArgMax::new(TensorType::new(DType::Int16, [3])?).map(drop), &["int16[3]", "cast"]);
    let by_column =
        TensorType::new(DType::Int8, [3, 2])?.quantized(Quantization::symmetric_axis(1, vec![0.5, 0.25]))?;
    says(ArgMax::new(by_column.clone()).map(drop), &["int8[3, 2]", "dequantize"]);
    says(TopK::new(real(&[])?, 1).build().map(drop), &["scalar", "[1]"]);
    says(TopK::new(real(&[3, 0])?, 0).build().map(drop), &["[3, 0]", "without elements"]);
    says(TopK::new(real(&[3, 5])?, 0).build().map(drop), &["k is 0", "1 to 5"]);
    says(TopK::new(real(&[3, 5])?, 6).build().map(drop), &["k is 6", "1 to 5"]);
    says(TopK::new(TensorType::new(DType::Float8E4M3Fn, [3])?, 1).build().map(drop), &["float8e4m3fn[3]", "cast"]);
    says(TopK::new(by_column, 1).build().map(drop), &["int8[3, 2]", "dequantize"]);
    says(Softmax::new(TensorType::float32([3])?).scaled(-1.0).build().map(drop), &["-1e0", "positive"]);
    says(LayerNorm::new(TensorType::float32([2, 3])?, ones(4)?, 1e-5).build().map(drop), &["[4]", "3 elements"]);
    says(LayerNorm::new(TensorType::float32([2, 3])?, ones(3)?, 0.0).build().map(drop), &["0e0", "positive"]);
    says(
        LayerNorm::new(TensorType::float32([2, 3])?, ones(3)?, 1e-5).shift(ones(2)?).build().map(drop),
        &["[2]", "[3]"],
    );
    let nan = Tensor::new([1], vec![f32::NAN])?;
    says(LayerNorm::new(TensorType::float32([2, 1])?, nan, 1e-5).build().map(drop), &["NaN", "finite"]);
    Ok(())
}
