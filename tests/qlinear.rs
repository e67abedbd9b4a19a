//! Sums, products, averages, tables and softmaxes of codes against ONNX Runtime's own results, by default and without its optimizations
//! (tests/data/qlinear): the reference, and every candidate on the GPU.

mod common;

use std::str::FromStr;

use common::{check_op, context};
use lowbit::ops::{
    Add, Concat, Multiply, Op, Padding, Pool, QuantizedArithmetic, QuantizedSoftmax, Requantization, Table,
};
use lowbit::{Context, DType, Quantization, Result, Tensor, TensorType, reference};

const CASES: &str = include_str!("data/qlinear/cases.txt");

/// Words of each case of an operator.
fn cases(op: &str) -> Vec<Vec<&'static str>> {
    let cases: Vec<Vec<_>> = CASES.lines().map(|line| line.split(' ').collect()).collect();
    cases.into_iter().filter(|words: &Vec<_>| words[0] == op).collect()
}

fn format(word: &str) -> DType {
    if word == "int8" { DType::Int8 } else { DType::Uint8 }
}

/// Scale and zero point, `bits/zero_point`.
fn parameters(word: &str) -> (f32, i32) {
    let (bits, zero_point) = word.split_once('/').expect("a scale and a zero point");
    (f32::from_bits(u32::from_str_radix(bits, 16).expect("bits")), zero_point.parse().expect("an integer"))
}

fn numbers<T: FromStr>(word: &str, separator: char) -> Vec<T> {
    word.split(separator).map(|number| number.parse().unwrap_or_else(|_| panic!("{number} in {word}"))).collect()
}

fn stage(dtype: DType, word: &str) -> Result<Requantization> {
    let (scale, zero_point) = parameters(word);
    Requantization::new(dtype, scale, zero_point)
}

fn codes(dtype: DType, dims: &[usize], codes: &[i32], word: &str) -> Result<Tensor> {
    let (scale, zero_point) = parameters(word);
    let tensor = match dtype {
        DType::Int8 => Tensor::new(dims, codes.iter().map(|&code| code as i8).collect::<Vec<_>>()),
        _ => Tensor::new(dims, codes.iter().map(|&code| code as u8).collect::<Vec<_>>()),
    };
    tensor?.quantized(Quantization::tensor(scale, zero_point))
}

fn values(tensor: &Tensor) -> Result<Vec<i32>> {
    Ok(match tensor.tensor_type().dtype() {
        DType::Int8 => tensor.values::<i8>()?.iter().map(|&code| code.into()).collect(),
        _ => tensor.values::<u8>()?.iter().map(|&code| code.into()).collect(),
    })
}

/// FNV-1a of the codes as bytes.
fn fnv(codes: &[i32]) -> String {
    let step = |state: u64, &code: &i32| (state ^ u64::from(code as u8)).wrapping_mul(0x100_0000_01b3);
    format!("{:016x}", codes.iter().fold(0xcbf2_9ce4_8422_2325, step))
}

/// The reference's results; the GPU's candidates are compared with them.
fn answer(context: Option<&Context>, name: &str, op: impl Into<Op>, inputs: &[&Tensor]) -> Result<Vec<i32>> {
    let op = op.into();
    if let Some(context) = context {
        check_op(context, name, &op, inputs);
    }
    values(&reference::run(&op, inputs)?[0])
}

/// Both arithmetics of ONNX Runtime, in the order of the results in a case.
const WAYS: [QuantizedArithmetic; 2] = [QuantizedArithmetic::QOperator, QuantizedArithmetic::Qdq];

/// Checks all pairs of codes. A case has lhs, rhs, and the results by default and without optimizations.
fn binary(
    name: &str,
    op: impl Fn(TensorType, TensorType, Requantization, Option<QuantizedArithmetic>) -> Result<Op>,
) -> Result<()> {
    let context = context();
    for case in cases(name) {
        let (format, shape) = (format(case[1]), case[2]);
        let (low, high) = format.range().expect("an integer format");
        let all: Vec<i32> = (low..=high).collect();
        let first: Vec<i32> = all.iter().flat_map(|&code| [code; 256]).collect();
        let operand = |dims: &[usize], data: &[i32], word| codes(format, dims, data, word);
        let (lhs, rhs) = match shape {
            "flat" => (operand(&[65536], &first, case[3])?, operand(&[65536], &all.repeat(256), case[4])?),
            "lhs" => (operand(&[256, 1], &all, case[3])?, operand(&[1, 256], &all, case[4])?),
            _ => (operand(&[1, 256], &all, case[3])?, operand(&[256, 1], &all, case[4])?),
        };
        for (i, way) in WAYS.into_iter().enumerate() {
            let op = |way| op(lhs.tensor_type().clone(), rhs.tensor_type().clone(), stage(format, case[5])?, way);
            let label = format!("{name} {} {shape} {way:?}", case[1..6].join(" "));
            let got = answer(context.as_ref(), &label, op(Some(way))?, &[&lhs, &rhs])?;
            for sample in case[8].split(',') {
                let sample: Vec<i32> = numbers(sample, ':');
                let (a, b) = ((sample[0] - low) as usize, (sample[1] - low) as usize);
                let at = if shape == "rhs" { b * 256 + a } else { a * 256 + b };
                assert_eq!(got[at], sample[2 + i], "{label}: codes {} and {}", sample[0], sample[1]);
            }
            assert_eq!(fnv(&got), case[6 + i], "{label}: not all of 65,536 answers are ONNX Runtime's");
            if i == 0 {
                assert_eq!(got, answer(None, &label, op(None)?, &[&lhs, &rhs])?, "{label}: not the default");
            }
        }
    }
    Ok(())
}

#[test]
fn sums_are_those_of_onnx_runtime() -> Result<()> {
    binary("Add", |lhs, rhs, output, way| {
        Ok(match way {
            Some(way) => Add::new(lhs, rhs, output).arithmetic(way).build()?.into(),
            None => Add::new(lhs, rhs, output).build()?.into(),
        })
    })
}

#[test]
fn products_are_those_of_onnx_runtime() -> Result<()> {
    binary("Mul", |lhs, rhs, output, way| {
        Ok(match way {
            Some(way) => Multiply::new(lhs, rhs, output).arithmetic(way).build()?.into(),
            None => Multiply::new(lhs, rhs, output).build()?.into(),
        })
    })
}

#[test]
fn averages_are_those_of_onnx_runtime() -> Result<()> {
    let context = context();
    for case in cases("AveragePool") {
        let format = format(case[1]);
        let n: Vec<i64> = numbers(case[2], ',');
        let sizes: Vec<usize> = n[3..14].iter().map(|&size| size as usize).collect();
        let (seed, bits, base) = (n[0] as u64, n[1] as u32, n[2] as i32);
        let code = |i: u64| (((i + seed) * 2_654_435_761 % (1 << 32)) >> (32 - bits)) as i32 + base;
        let data: Vec<i32> = (0..sizes[..3].iter().product::<usize>() as u64).map(code).collect();
        let image = codes(format, &[1, sizes[0], sizes[1], sizes[2]], &data, case[3])?;
        for (i, way) in [None, Some(WAYS[0]), Some(WAYS[1])].into_iter().enumerate() {
            let padding = Padding::Explicit { begin: sizes[7..9].to_vec(), end: sizes[9..11].to_vec() };
            let mut op = Pool::average(image.tensor_type().clone(), &sizes[3..5]).stride(&sizes[5..7]).padding(padding);
            op = op.output(stage(format, case[4])?);
            if n[14] == 1 {
                op = op.count_padding();
            }
            if n[15] == 1 {
                op = op.round_up();
            }
            if let Some(way) = way {
                op = op.arithmetic(way);
            }
            let label = format!("AveragePool {} {way:?}", case[1..5].join(" "));
            let got = answer(context.as_ref(), &label, op.build()?, &[&image])?;
            assert_eq!(got, numbers::<i32>(case[5 + i / 2], ','), "{label}");
        }
    }
    Ok(())
}

#[test]
fn tables_are_those_of_onnx_runtime() -> Result<()> {
    let context = context();
    for name in ["LeakyRelu", "Sigmoid", "Concat"] {
        for case in cases(name) {
            let format = format(case[1]);
            let (low, high) = format.range().expect("an integer format");
            let x = codes(format, &[256], &(low..=high).collect::<Vec<_>>(), case[2])?;
            let (input, output) = (x.tensor_type().clone(), stage(format, case[3])?);
            let op: Op = match name {
                "LeakyRelu" => Table::leaky_relu(input, 0.1, output)?.into(),
                "Sigmoid" => Table::sigmoid(input, output)?.into(),
                _ => Concat::new([input], 0).output(output).build()?.into(),
            };
            let label = case[..4].join(" ");
            let got = answer(context.as_ref(), &label, op, &[&x])?;
            assert_eq!(got, numbers::<i32>(case[4], ','), "{label}");
        }
    }
    Ok(())
}

/// Rows of ties, of the greatest code in one place, of neighbouring codes, and of any.
#[test]
fn softmaxes_are_those_of_onnx_runtime() -> Result<()> {
    let context = context();
    for case in cases("Softmax") {
        let format = format(case[1]);
        let n: Vec<u64> = numbers(case[2], ',');
        let (seed, rows, length, kind) = (n[0], n[1] as usize, n[2] as usize, n[3]);
        let (least, _) = format.range().expect("an integer format");
        let code = |i: usize| {
            let (row, hash) = ((i / length) as u64, ((i as u64 + seed) * 2_654_435_761 % (1 << 32)) >> 24);
            match kind {
                0 => hash,
                1 => (seed + 40 * row) % 256,
                2 => 100 + hash / 16 + 100 * u64::from(i % length == length / 2),
                _ => 240 + (hash & 1) * 5,
            }
        };
        let data: Vec<i32> = (0..rows * length).map(|i| code(i) as i32 + least).collect();
        let x = codes(format, &[rows, length], &data, case[3])?;
        let op = QuantizedSoftmax::new(x.tensor_type().clone(), stage(format, case[4])?)?;
        let label = format!("Softmax {}", case[1..5].join(" "));
        let got = answer(context.as_ref(), &label, op, &[&x])?;
        if case[6] != "-" {
            assert_eq!(got, numbers::<i32>(case[6], ','), "{label}");
        }
        assert_eq!(fnv(&got), case[5], "{label}: not all answers are ONNX Runtime's");
    }
    Ok(())
}
