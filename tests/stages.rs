//! Every output stage after sums of every width, with every bias, granularity of scales and post-op, in every kernel of matmul and
//! convolution. GPU equals reference, bit for bit, and invalid combinations are refused with their reason.
//! Shapes are in tests/equivalence.rs, tests/convolutions.rs and tests/int16.rs.

mod common;

use common::{
    ARITHMETICS, FUNCTIONS, ONE_CANDIDATE, Random, check_cases, check_op_in_turn, check_op_within_in_turn, context,
};
use lowbit::ops::{
    Add, Arithmetic, Conv, DynamicGranularity, DynamicQuantize, FloatBinary, FloatMatmul, FloatUnary, Function, Fused,
    Linear, Matmul, Op, Output, Padding, Requantization, Table,
};
use lowbit::weights::{Codes, GroupParams, PackedWeights, Quantizer, ScaleFormat, WeightFormat};
use lowbit::{
    Context, DType, Error, Granularity, Graph, Quantization, Result, Rounding, Tensor, TensorType, Tuner, kernels,
    reference,
};

const ROUNDINGS: [Rounding; 4] = [Rounding::Onnx, Rounding::FixedSingle, Rounding::FixedDouble, Rounding::FixedWide];

/// Width and origin of sums.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Width {
    /// Products of bytes.
    Bytes,
    /// Products with int16 whose sums the op proves to fit i32.
    Int16,
    /// Products with int16 whose sums leave 32 bits.
    Wide,
}

const WIDTHS: [Width; 3] = [Width::Bytes, Width::Int16, Width::Wide];

impl Width {
    /// Terms of a sum: 32,768 · 127 · 517 is above 2^31.
    fn terms(self) -> usize {
        if self == Self::Wide { 600 } else { 9 }
    }

    /// Approximate largest sum, as a power of two.
    fn bits(self) -> i32 {
        match self {
            Self::Bytes => 18,
            Self::Int16 => 25,
            Self::Wide => 33,
        }
    }
}

/// Bias added to sums.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Added {
    Nothing,
    Column(DType),
    Element(DType),
    Wide,
}

const BIASES: [Added; 6] = [
    Added::Nothing,
    Added::Column(DType::Int32),
    Added::Element(DType::Int32),
    Added::Column(DType::Float32),
    Added::Element(DType::Float32),
    Added::Wide,
];

/// Granularity of scales.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Sharing {
    Tensor,
    Column,
    Row,
}

const SCALES: [Sharing; 3] = [Sharing::Tensor, Sharing::Column, Sharing::Row];

/// Post-op on the codes before they are stored.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Then {
    Table,
    Sum,
}

/// Output stages by name, for sums of a width.
fn stages(width: Width) -> Result<Vec<(String, Output)>> {
    let mut stages = vec![
        ("accumulator".to_string(), Output::Accumulator),
        ("float32".to_string(), Output::real()),
        ("float32 clamped".to_string(), Output::Real { low: -100.0, high: 3000.0 }),
        ("float16".to_string(), Output::float16()),
        ("float16 clamped".to_string(), Output::Float16 { low: -7.0, high: 65_519.0 }),
    ];
    for format in [DType::Int8, DType::Uint8, DType::Int16] {
        for rounding in ROUNDINGS {
            // The largest numbers are those of `scale`.
            let steps = if format == DType::Int16 { 20_000.0 } else { 90.0 };
            let zero_point = if format == DType::Uint8 { 128 } else { -3 };
            let stage = Requantization::new(format, 131_072.0 / steps, zero_point)?.rounding(rounding);
            let stage = if width.bits() % 2 == 0 { stage.relu() } else { stage };
            stages.push((format!("{format} {rounding:?}"), stage.into()));
        }
    }
    Ok(stages)
}

/// Reason for refusing an output, in words of the message; `None` if it is legal.
fn refusal(width: Width, output: &Output, bias: Added) -> Option<&'static str> {
    let is_real = matches!(output, Output::Real { .. } | Output::Float16 { .. });
    if matches!(bias, Added::Column(DType::Float32) | Added::Element(DType::Float32)) && !is_real {
        return Some("an f32 bias needs a real output");
    }
    match output {
        Output::Accumulator if width == Width::Wide => Some("raw sums are int32"),
        Output::Requantized(stage)
            if width == Width::Wide && matches!(stage.mode(), Rounding::FixedSingle | Rounding::FixedDouble) =>
        {
            Some("this rounding takes sums of 32 bits")
        }
        _ => None,
    }
}

/// A scale for numbers up to 2^17, which exceed the range of f16.
fn scale(width: Width) -> f32 {
    ((17 - width.bits()) as f32 / 2.0).exp2()
}

/// Rows of least codes, of greatest codes, of zeros with only the bias, and of any codes.
fn activations(random: &mut Random, width: Width, dims: &[usize], row: usize) -> Result<Tensor> {
    let count: usize = dims.iter().product();
    let pick = |i: usize, codes: [i64; 3], any: i64| if i / row < 3 { codes[i / row] } else { any };
    match width {
        Width::Bytes => {
            let codes: Vec<u8> = (0..count).map(|i| pick(i, [0, 255, 128], random.integer(0, 255)) as u8).collect();
            Tensor::new(dims, codes)
        }
        Width::Int16 | Width::Wide => {
            let any = (0..count).map(|i| pick(i, [-32_768, 32_767, 0], random.integer(-32_768, 32_767)) as i16);
            Tensor::new(dims, any.collect::<Vec<_>>())
        }
    }
}

/// Columns of greatest weights, of least weights, and of any weights.
fn weights(random: &mut Random, dims: &[usize], column: usize) -> Result<Tensor> {
    let count = dims.iter().product();
    let code = |i: usize, any: i64| [127, -128].get(i / column).copied().unwrap_or(any) as i8;
    Tensor::new(dims, (0..count).map(|i| code(i, random.integer(-128, 127))).collect::<Vec<_>>())
}

/// Biases with sums that fit their width. Sums of the first few are ties or close to ties in f32 and f16.
fn wide_bias(random: &mut Random, width: Width, n: usize) -> Vec<i64> {
    let unit = 1i64 << (width.bits() - 13);
    let ties = [2049 * unit, 2049 * unit + 1, 2051 * unit - 1, -2049 * unit, (1 << 24) + 1];
    (0..n).map(|i| ties.get(i).copied().unwrap_or_else(|| random.integer(-8192, 8191) * unit)).collect()
}

fn column_scales(width: Width, n: usize) -> Vec<f32> {
    // Some scales give subnormal f16 numbers.
    (0..n).map(|i| scale(width) * [1.0, 0.37, 1e-10, 2.9, 1e-3][i % 5]).collect()
}

/// The bias as a tensor; `None` for no bias and for a wide bias.
fn bias_tensor(random: &mut Random, width: Width, bias: Added, rows: usize, n: usize) -> Result<Option<Tensor>> {
    let (format, dimensions) = match bias {
        Added::Nothing | Added::Wide => return Ok(None),
        Added::Column(format) => (format, vec![n]),
        Added::Element(format) => (format, vec![rows, n]),
    };
    let count = dimensions.iter().product();
    let most = 1 << (width.bits() - 2).min(30);
    Ok(Some(match format {
        DType::Int32 => {
            Tensor::new(dimensions, (0..count).map(|_| random.integer(-most, most) as i32).collect::<Vec<_>>())?
        }
        _ => Tensor::new(dimensions, (0..count).map(|_| 1e4 * random.real()).collect::<Vec<_>>())?,
    }))
}

/// A named combination, which may be invalid.
struct Case {
    name: String,
    op: Result<Op>,
    input: Tensor,
    refusal: Option<&'static str>,
}

fn matmul(width: Width, output: &Output, bias: Added, scales: Sharing) -> Result<(Result<Op>, Tensor)> {
    let mut random = Random::new(170);
    let (m, n, k) = (5, 6, width.terms());
    let lhs_zero = if width == Width::Bytes { 128 } else { 0 };
    let rows: Vec<f32> = (0..m).map(|i| scale(width) * [1.0, 0.7, 1.0, 1e-3, 1.4][i]).collect();
    let lhs = activations(&mut random, width, &[m, k], k)?.quantized(match scales {
        Sharing::Row => Quantization::new(Granularity::Axis(0), rows, [lhs_zero]),
        _ => Quantization::tensor(scale(width), lhs_zero),
    })?;
    let rhs = weights(&mut random, &[n, k], k)?.quantized(match scales {
        Sharing::Column => Quantization::new(Granularity::Axis(0), column_scales(width, n), [0, 0, 0, 7, 0, -5]),
        _ => Quantization::tensor(scale(width), 0),
    })?;
    let mut matmul = Matmul::new(lhs.tensor_type().clone(), rhs).transposed().output(output.clone());
    if let Some(bias) = bias_tensor(&mut random, width, bias, m, n)? {
        matmul = matmul.bias(bias);
    }
    if bias == Added::Wide {
        matmul = matmul.wide_bias(wide_bias(&mut random, width, n));
    }
    Ok((matmul.build().map(Op::from), lhs))
}

/// A convolution whose windows have as many terms as the matmul's sums.
fn conv(width: Width, output: &Output, bias: Added, scales: Sharing, groups: usize) -> Result<(Result<Op>, Tensor)> {
    let mut random = Random::new(171);
    let (pixels, n, taps) = (6, 6, 3);
    let channels = width.terms() / taps * groups;
    let lhs_zero = if width == Width::Bytes { 128 } else { 0 };
    let lhs = activations(&mut random, width, &[1, pixels, channels], channels)?
        .quantized(Quantization::tensor(scale(width), lhs_zero))?;
    let filter = weights(&mut random, &[n, taps, channels / groups], taps * channels / groups)?;
    let filter = filter.quantized(match scales {
        Sharing::Tensor => Quantization::tensor(scale(width), 0),
        _ => Quantization::new(Granularity::Axis(0), column_scales(width, n), [0, 0, 0, 7, 0, -5]),
    })?;
    let conv = Conv::new(lhs.tensor_type().clone(), filter).groups(groups).padding(Padding::SameUpper);
    let mut conv = conv.output(output.clone());
    if let Some(bias) = bias_tensor(&mut random, width, bias, pixels, n)? {
        conv = conv.bias(bias);
    }
    if bias == Added::Wide {
        conv = conv.wide_bias(wide_bias(&mut random, width, n));
    }
    Ok((conv.build().map(Op::from), lhs))
}

fn check(context: &Context, case: &Case) -> usize {
    let Case { name, op, input, refusal } = case;
    match (op, refusal) {
        (Ok(op), None) => check_op_in_turn(ONE_CANDIDATE, context, name, op, &[input]),
        (Err(Error::Request(message)), Some(words)) => {
            assert!(message.contains(words), "{name}: {words:?} is not in {message:?}");
            0
        }
        (op, refusal) => panic!("{name}: got {op:?}, expected a refusal for {refusal:?}"),
    }
}

#[test]
fn of_matmuls() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut cases = Vec::new();
    for width in WIDTHS {
        for (name, output) in stages(width)? {
            for bias in BIASES {
                for scales in SCALES {
                    let (op, input) = matmul(width, &output, bias, scales)?;
                    let name = format!("matmul, {width:?}, {name}, bias {bias:?}, scales of {scales:?}");
                    cases.push(Case { name, op, input, refusal: refusal(width, &output, bias) });
                }
            }
        }
    }
    let (all, refused) = (cases.len(), cases.iter().filter(|case| case.refusal.is_some()).count());
    let count = check_cases(cases, |case| check(&context, case));
    println!("stages of matmuls: {all} cases, {refused} refused, {count} combinations on {}", context.description());
    Ok(())
}

#[test]
fn of_convolutions() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut cases = Vec::new();
    for width in WIDTHS {
        for (name, output) in stages(width)? {
            for bias in BIASES {
                // The bias of a convolution is per channel, and its image has one scale.
                if matches!(bias, Added::Element(_)) {
                    continue;
                }
                for scales in [Sharing::Tensor, Sharing::Column] {
                    // Kernels for groups and others take turns over scales, biases and stages.
                    let turn = cases.len();
                    let groups = [1, 3][(turn + turn / 2 + turn / 8) % 2];
                    let (op, input) = conv(width, &output, bias, scales, groups)?;
                    let name = format!("conv, {width:?}, {name}, bias {bias:?}, scales of {scales:?}, {groups} groups");
                    cases.push(Case { name, op, input, refusal: refusal(width, &output, bias) });
                }
            }
        }
    }
    let (all, refused) = (cases.len(), cases.iter().filter(|case| case.refusal.is_some()).count());
    let count = check_cases(cases, |case| check(&context, case));
    println!(
        "stages of convolutions: {all} cases, {refused} refused, {count} combinations on {}",
        context.description()
    );
    Ok(())
}

/// 8-bit codes of every stage pass through a table or a residual sum before they are stored.
#[test]
fn with_a_post_op() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut cases: Vec<(String, Op, Vec<Tensor>)> = Vec::new();
    for width in WIDTHS {
        for (name, output) in stages(width)? {
            for scales in SCALES {
                for then in [Then::Table, Then::Sum] {
                    let mut firsts = vec![("matmul", matmul(width, &output, Added::Wide, scales)?)];
                    if scales != Sharing::Row {
                        firsts.push(("conv", conv(width, &output, Added::Wide, scales, 1)?));
                    }
                    for (kind, (first, input)) in firsts {
                        let Ok(first) = first else { continue };
                        let made = first.outputs()[0].clone();
                        let name = format!("{kind}, {width:?}, {name}, scales of {scales:?}, {then:?}");
                        let codes = Random::new(172).quantized(DType::Int8, made.dims());
                        let second = Requantization::new(DType::Uint8, 900.0, 128)?;
                        let second = match then {
                            Then::Table => Table::leaky_relu(made.clone(), 0.2, second).map(Op::from),
                            _ => Add::new(made.clone(), codes.tensor_type().clone(), second).build().map(Op::from),
                        };
                        if !made.dtype().is_8_bit() {
                            let Err(Error::Request(message)) = second else { panic!("{name}: not refused") };
                            assert!(message.contains("must be int8 or uint8"), "{name}: {message}");
                            continue;
                        }
                        let op: Op = Fused::new(first, second?, 0)?.into();
                        // A residual needs another binding, and planners don't fuse on a device with too few.
                        let limits = context.caps();
                        let launches = kernels::candidates(&op, &limits).into_iter().flat_map(|c| c.dispatches);
                        if launches.map(|launch| launch.bindings.len()).max() <= Some(limits.storage_buffers as usize) {
                            let residual = (then == Then::Sum).then_some(codes);
                            cases.push((name, op, [Some(input), residual].into_iter().flatten().collect()));
                        }
                    }
                }
            }
        }
    }
    let all = cases.len();
    let count = check_cases(cases, |(name, op, inputs)| {
        check_op_in_turn(ONE_CANDIDATE, &context, name, op, &inputs.iter().collect::<Vec<_>>())
    });
    println!("stages with a post-op: {all} cases, {count} combinations on {}", context.description());
    Ok(())
}

/// Random float32 numbers around 0.
fn floats(random: &mut Random, dims: &[usize]) -> Result<Tensor> {
    Tensor::new(dims, (0..dims.iter().product()).map(|_| 4.0 * random.real()).collect::<Vec<f32>>())
}

/// Functions of bounded slope.
const FUSABLE_FUNCTIONS: [Function; 15] = [
    Function::Relu,
    Function::Sigmoid,
    Function::Tanh,
    Function::Silu,
    Function::Gelu,
    Function::GeluTanh,
    Function::Abs,
    Function::Negate,
    Function::Erf,
    Function::Softplus,
    Function::HardSigmoid { alpha: 0.2, beta: 0.5 },
    Function::HardSwish,
    Function::Clamp { low: -1.0, high: 6.0 },
    Function::LeakyRelu { alpha: 0.01 },
    Function::Elu { alpha: 1.5 },
];

/// Operations whose result is as far off as an operand, or as a multiple of it.
const FUSABLE_ARITHMETICS: [Arithmetic; 5] =
    [Arithmetic::Add, Arithmetic::Multiply, Arithmetic::Subtract, Arithmetic::Minimum, Arithmetic::Maximum];

/// The others are refused: a small error of a device would become a large one.
#[test]
fn steep_functions_are_not_fused() -> Result<()> {
    let made = TensorType::float32([3, 4])?;
    let weights = Tensor::new([4, 4], vec![0.5f32; 16])?;
    let first: Op = FloatMatmul::new(made.clone(), weights).build()?.into();
    let is_fused = |then: Op| Fused::new(first.clone(), then, 0).is_ok();
    for function in FUNCTIONS {
        let then = FloatUnary::new(made.clone(), function)?;
        assert_eq!(is_fused(then.into()), FUSABLE_FUNCTIONS.contains(&function), "{function:?}");
    }
    for arithmetic in ARITHMETICS {
        let then = FloatBinary::new(made.clone(), made.clone(), arithmetic)?;
        assert_eq!(is_fused(then.into()), FUSABLE_ARITHMETICS.contains(&arithmetic), "{arithmetic:?}");
    }
    Ok(())
}

/// The ops that a tensor of floats can pass through before it is stored, each with the position of that tensor.
fn float_post_ops(made: &TensorType) -> Result<Vec<(Op, usize)>> {
    let mut ops: Vec<(Op, usize)> = Vec::new();
    for function in FUSABLE_FUNCTIONS {
        ops.push((FloatUnary::new(made.clone(), function)?.into(), 0));
    }
    for arithmetic in FUSABLE_ARITHMETICS {
        let op = FloatBinary::new(made.clone(), made.clone(), arithmetic)?;
        ops.extend([(op.clone().into(), 0), (op.into(), 1)]);
    }
    Ok(ops)
}

/// Layers and products of m rows, 130 inputs and n columns, and a function of m x n numbers, each with its inputs.
fn float_producers(random: &mut Random, m: usize, n: usize) -> Result<Vec<(&'static str, Op, Vec<Tensor>)>> {
    let k = 130;
    let x = floats(random, &[m, k])?;
    let matrix = floats(random, &[n, k])?;
    let packed = Quantizer::new(WeightFormat::new(Codes::INT4, 32, ScaleFormat::F16))?.quantize(&matrix)?;
    let bias = floats(random, &[n])?;
    let layer = Linear::new(x.tensor_type().clone(), packed.clone()).bias(bias).build()?;
    let group = DynamicGranularity::Group(32);
    let quantize = DynamicQuantize::new(x.tensor_type().clone(), DType::Int8, group).symmetric().build()?;
    let codes = reference::run(&quantize.into(), &[&x])?;
    let of_codes = Linear::new(codes[0].tensor_type().clone(), packed).dynamic_lhs(group).build()?;
    let product = FloatMatmul::new(x.tensor_type().clone(), matrix).transposed_rhs().build()?;
    let y = floats(random, &[m, n])?;
    let function = FloatUnary::new(y.tensor_type().clone(), Function::Silu)?;
    Ok(vec![
        ("linear", layer.into(), vec![x.clone()]),
        ("linear of codes", of_codes.into(), codes),
        ("product", product.into(), vec![x]),
        ("function", function.into(), vec![y]),
    ])
}

/// Floats of layers, products and functions pass through a function, a sum or a product before they are stored.
#[test]
fn floats_with_a_post_op() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(4_711);
    let (mut cases, mut count, mut worst) = (0, 0, 0.0f64);
    for (turn, [m, n]) in [[1, 67], [3, 130], [17, 5], [33, 64]].into_iter().enumerate() {
        for (kind, first, inputs) in float_producers(&mut random, m, n)? {
            let made = first.outputs()[0].clone();
            for (index, (then, position)) in float_post_ops(&made)?.into_iter().enumerate() {
                // Functions take turns among sizes.
                if index < FUSABLE_FUNCTIONS.len() && (kind == "function" || index % 3 != turn % 3) {
                    continue;
                }
                let name = format!("{kind} {m} x {n}, then {then:?} at {position}");
                let op: Op = Fused::new(first.clone(), then, position)?.into();
                let residual = floats(&mut random, made.dims())?;
                let residual = (op.inputs().len() > inputs.len()).then_some(&residual);
                let inputs: Vec<&Tensor> = inputs.iter().chain(residual).collect();
                let (candidates, error) = check_op_within_in_turn(ONE_CANDIDATE, &context, &name, &op, &inputs);
                (cases, count, worst) = (cases + 1, count + candidates, worst.max(error));
            }
        }
    }
    println!("{cases} cases, {count} combinations, largest error {worst:.3} of its bound");
    Ok(())
}

/// A gated layer with a residual is two launches: the gate with its function and its factor, and the layer after it with the sum. All
/// numbers are integers below 2^24, so every sum is exact in any order.
#[test]
fn planners_fuse_floats() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(4_712);
    let (m, n) = (3, 128);
    let mut small = |count: usize| (0..count).map(|_| random.integer(-1, 1) as i8).collect::<Vec<_>>();
    let x = Tensor::new([m, n], small(m * n).into_iter().map(f32::from).collect::<Vec<_>>())?;
    let real = x.tensor_type();
    let mut graph = Graph::new();
    let rows = graph.extent("rows", real.dims()[0])?;
    let input = graph.dynamic_input(real.clone(), [(0, rows)])?;
    let mut layer = |graph: &mut Graph, value| {
        let all = small(n * n);
        let format = WeightFormat::new(Codes::INT4, 32, ScaleFormat::F16);
        let weights = PackedWeights::build(format, [1, n, n], |row, codes, groups, _| {
            codes.copy_from_slice(&all[row * n..][..n]);
            groups.fill(GroupParams::scale(1.0));
            Ok(())
        })?;
        graph.add(Linear::new(real.clone(), weights).build()?, &[value])
    };
    let (gate, up) = (layer(&mut graph, input)?, layer(&mut graph, input)?);
    let gate = graph.add(FloatUnary::new(real.clone(), Function::Relu)?, &[gate])?;
    let gated = graph.add(FloatBinary::new(real.clone(), real.clone(), Arithmetic::Multiply)?, &[gate, up])?;
    let down = layer(&mut graph, gated)?;
    let sum = graph.add(FloatBinary::new(real.clone(), real.clone(), Arithmetic::Add)?, &[input, down])?;
    graph.output(sum);
    let plan = context.plan(&graph, Tuner::FirstGuess)?;
    assert_eq!(plan.launches(), 2, "{plan}");
    for rows in [m, 1] {
        let x = Tensor::new([rows, n], x.values::<f32>()?[..rows * n].to_vec())?;
        assert_eq!(common::wait(plan.run(&[&x]))?, graph.run_reference(&[&x])?, "{rows} rows");
    }
    Ok(())
}

#[test]
fn residuals_of_floats_do_not_broadcast() -> Result<()> {
    let made = TensorType::float32([3, 4])?;
    let first: Op = FloatUnary::new(made.clone(), Function::Tanh)?.into();
    let then = FloatBinary::new(made, TensorType::float32([4])?, Arithmetic::Add)?;
    let message = Fused::new(first.clone(), then.into(), 0).expect_err("the residual is a row").to_string();
    assert!(message.contains("does not broadcast"), "{message}");
    let codes = TensorType::new(DType::Int8, [3, 4])?.quantized(Quantization::tensor(0.1, 0))?;
    let table = Table::sigmoid(codes, Requantization::new(DType::Int8, 0.1, 0)?)?;
    let message = Fused::new(first, table.into(), 0).expect_err("floats are no codes").to_string();
    assert!(message.contains("can't be followed by"), "{message}");
    Ok(())
}
