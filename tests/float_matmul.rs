//! `ops::FloatMatmul`: every candidate kernel against the reference, over awkward sizes, dtypes and either operand transposed,
//! within the documented bound; exactly for small integers.

mod common;

use common::{Random, check_op_within, context, gpu_context};
use half::f16;
use lowbit::ops::{FloatMatmul, Op, Operand};
use lowbit::{DType, Error, Graph, Result, Tensor, TensorType, Tuner, kernels, reference};

/// Floats around 1; halves include subnormals.
fn floats(random: &mut Random, dtype: DType, dims: &[usize]) -> Result<Tensor> {
    let count = dims.iter().product();
    let values: Vec<f32> = (0..count).map(|_| random.real()).collect();
    if dtype == DType::Float32 {
        return Tensor::new(dims, values);
    }
    let small = |(i, x): (usize, f32)| f16::from_f32(if i % 7 == 0 { x * 1e-6 } else { x });
    Tensor::new(dims, values.into_iter().enumerate().map(small).collect::<Vec<_>>())
}

/// Dimensions; the last two are swapped if `transposed`.
fn laid(batch: &[usize], rows: usize, columns: usize, transposed: bool) -> Vec<usize> {
    let matrix = if transposed { [columns, rows] } else { [rows, columns] };
    [batch, &matrix].concat()
}

/// m, n, k
const SIZES: [[usize; 3]; 17] = [
    [0, 3, 5],
    [2, 0, 5],
    [3, 4, 0],
    [1, 1, 1],
    [1, 4, 4],
    [1, 130, 63],
    [1, 257, 260],
    [2, 3, 5],
    [3, 64, 33],
    [4, 12, 16],
    [5, 13, 130],
    [8, 31, 64],
    [16, 8, 100],
    [17, 129, 7],
    [33, 66, 36],
    [65, 70, 20],
    [67, 131, 9],
];

/// Kernels that CPUs are not offered.
#[test]
fn kernels_of_gpus() -> Result<()> {
    let Some(context) = gpu_context() else { return Ok(()) };
    let mut random = Random::new(8_009);
    for ([m, n, k], dtype) in
        [([1, 130, 383], DType::Float32), ([9, 31, 64], DType::Float16), ([35, 300, 37], DType::Float32)]
    {
        let (lhs, rhs) = (floats(&mut random, DType::Float32, &[m, k])?, floats(&mut random, dtype, &[k, n])?);
        let op: Op = FloatMatmul::new(lhs.tensor_type().clone(), rhs).build()?.into();
        let (candidates, worst) = check_op_within(&context, "kernels of GPUs", &op, &[&lhs]);
        println!("{m} x {n} x {k}: {candidates} combinations, largest error {worst:.3} of its bound");
    }
    Ok(())
}

#[test]
fn sizes_and_formats() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(8_001);
    let (mut combinations, mut worst) = (0, 0.0f64);
    let formats = [DType::Float32, DType::Float16];
    for (turn, [m, n, k]) in SIZES.into_iter().enumerate() {
        // Layouts of the operands, dtypes, constants, biases and outputs take turns.
        for way in [turn % 4, (turn + 1 + turn / 4 % 3) % 4] {
            let (lhs_transposed, rhs_transposed) = (way & 1 == 1, way & 2 == 2);
            let turn = turn + way;
            let lhs = floats(&mut random, formats[(turn / 2) % 2], &laid(&[], m, k, lhs_transposed))?;
            let rhs = floats(&mut random, formats[turn % 5 / 4], &laid(&[], k, n, rhs_transposed))?;
            let bias = floats(&mut random, DType::Float32, &[n])?;
            let constant = [turn % 2 == 0, turn % 3 == 0];
            let operand = |tensor: &Tensor, constant: bool| -> Operand {
                if constant { tensor.clone().into() } else { tensor.tensor_type().clone().into() }
            };
            let mut inputs = vec![&lhs];
            let mut op = FloatMatmul::new(lhs.tensor_type().clone(), operand(&rhs, constant[0]));
            inputs.extend((!constant[0]).then_some(&rhs));
            if turn % 4 != 0 {
                op = op.bias(operand(&bias, constant[1]));
                inputs.extend((!constant[1]).then_some(&bias));
            }
            if lhs_transposed {
                op = op.transposed_lhs();
            }
            if rhs_transposed {
                op = op.transposed_rhs();
            }
            if turn % 5 == 0 {
                op = op.clamp(-0.5, 2.0);
            }
            let op: Op = op.output(formats[turn % 3 / 2]).build()?.into();
            let name = format!("{m}x{n}x{k}, turn {turn}");
            let (count, share) = check_op_within(&context, &name, &op, &inputs);
            (combinations, worst) = (combinations + count, worst.max(share));
        }
    }
    println!("{combinations} combinations, largest error {worst:.3} of its bound");
    Ok(())
}

#[test]
fn batches_broadcast() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(8_002);
    let batches: [(&[usize], &[usize]); 7] = [
        (&[3], &[]),
        (&[], &[3]),
        (&[2, 3], &[3]),
        (&[2, 1, 3], &[2, 2, 1]),
        (&[1, 2], &[4, 1]),
        (&[0], &[1]),
        (&[2], &[2]),
    ];
    for (turn, (lhs, rhs)) in batches.into_iter().enumerate() {
        let (lhs_transposed, rhs_transposed) = (turn % 2 == 1, turn % 3 == 1);
        let lhs = floats(&mut random, DType::Float32, &laid(lhs, 5, 6, lhs_transposed))?;
        let rhs = floats(&mut random, DType::Float32, &laid(rhs, 6, 7, rhs_transposed))?;
        for constant in [false, true] {
            let operand: Operand = if constant { rhs.clone().into() } else { rhs.tensor_type().clone().into() };
            let mut op = FloatMatmul::new(lhs.tensor_type().clone(), operand);
            if lhs_transposed {
                op = op.transposed_lhs();
            }
            if rhs_transposed {
                op = op.transposed_rhs();
            }
            let inputs = if constant { vec![&lhs] } else { vec![&lhs, &rhs] };
            check_op_within(&context, &format!("batches, turn {turn}"), &op.build()?.into(), &inputs);
        }
    }
    Ok(())
}

/// Sums of small integers are exact in f32, so every candidate must equal them in any order of summation.
#[test]
fn small_integers_are_exact() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(8_003);
    for [m, n, k] in [[1, 300, 1000], [7, 70, 515], [130, 66, 40]] {
        let mut integers = |dims: [usize; 2]| {
            let count = dims.iter().product();
            Tensor::new(dims, (0..count).map(|_| random.integer(-100, 100) as f32).collect::<Vec<_>>())
        };
        let (lhs, rhs) = (integers([m, k])?, integers([k, n])?);
        let op: Op = FloatMatmul::new(lhs.tensor_type().clone(), rhs).build()?.into();
        let expected = reference::run(&op, &[&lhs])?;
        for index in 0..kernels::candidates(&op, &context.caps()).len() {
            let got = context.plan(&Graph::of(op.clone())?, Tuner::Nth(index))?.run_blocking(&[&lhs])?;
            assert_eq!(got[0].values::<f32>()?, expected[0].values::<f32>()?, "{m}x{n}x{k}, candidate {index}");
        }
    }
    Ok(())
}

/// The three products of a layer in training, over a batch whose extent is known at run time only.
#[test]
fn a_layer_and_its_gradients_at_any_batch() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(8_004);
    let (most, inputs, outputs) = (9, 6, 5);
    let floats_type = |dims: &[usize]| TensorType::new(DType::Float32, dims);
    let mut graph = Graph::new();
    let rows = graph.extent("rows", most)?;
    let x = graph.dynamic_input(floats_type(&[most, inputs])?, [(0, rows)])?;
    let dy = graph.dynamic_input(floats_type(&[most, outputs])?, [(0, rows)])?;
    let weights = graph.input(floats_type(&[outputs, inputs])?);
    let bias = graph.input(floats_type(&[outputs])?);
    let types = |values: &[lowbit::Value]| -> Result<Vec<TensorType>> {
        values.iter().map(|&value| Ok(graph.tensor_type(value)?.clone())).collect()
    };
    let [x_type, dy_type, weights_type, bias_type] = &types(&[x, dy, weights, bias])?[..] else { unreachable!() };
    let forward = FloatMatmul::new(x_type.clone(), weights_type.clone()).transposed_rhs().bias(bias_type.clone());
    let of_inputs = FloatMatmul::new(dy_type.clone(), weights_type.clone()).build()?;
    let forward = forward.build()?;
    for value in [graph.add(forward, &[x, weights, bias])?, graph.add(of_inputs, &[dy, weights])?] {
        graph.output(value);
    }
    let plan = context.plan(&graph, Tuner::FirstGuess)?;
    for batch in [most, 4, 1] {
        let mut make = |dims: &[usize]| floats(&mut random, DType::Float32, dims);
        let tensors = [make(&[batch, inputs])?, make(&[batch, outputs])?, make(&[outputs, inputs])?, make(&[outputs])?];
        let tensors: Vec<&Tensor> = tensors.iter().collect();
        let (got, expected) = (plan.run_blocking(&tensors)?, graph.run_reference(&tensors)?);
        for (got, expected) in got.iter().zip(&expected) {
            let pairs = got.values::<f32>()?.iter().zip(expected.values::<f32>()?);
            // Sums of 6 products of numbers below 6.
            assert!(pairs.clone().all(|(a, b)| (a - b).abs() < 1e-3), "batch {batch}");
        }
        let (x, dy) = (tensors[0], tensors[1]);
        let of_weights =
            FloatMatmul::new(dy.tensor_type().clone(), x.tensor_type().clone()).transposed_lhs().build()?;
        check_op_within(&context, "the gradient of the weights", &of_weights.into(), &[dy, x]);
    }
    Ok(())
}

#[test]
fn refusals_name_both_numbers() -> Result<()> {
    let float = |dims: &[usize]| TensorType::new(DType::Float32, dims);
    let message = |op: Result<FloatMatmul>| match op {
        Err(Error::Request(message)) => message,
        other => panic!("{other:?}"),
    };
    let says = |op: Result<FloatMatmul>, words: &[&str]| {
        let message = message(op);
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    };
    says(FloatMatmul::new(float(&[2, 3])?, float(&[4, 5])?).build(), &["k = 3", "k = 4", "transposed_rhs"]);
    says(FloatMatmul::new(float(&[3])?, float(&[3, 5])?).build(), &["1 dimensions", "at least 2"]);
    says(FloatMatmul::new(float(&[2, 2, 3])?, float(&[3, 3, 5])?).build(), &["2", "3", "broadcast"]);
    says(FloatMatmul::new(TensorType::new(DType::Int8, [2, 3])?, float(&[3, 5])?).build(), &["int8", "Matmul"]);
    says(FloatMatmul::new(float(&[2, 3])?, float(&[3, 5])?).bias(float(&[4])?).build(), &["[4]", "[5]"]);
    says(FloatMatmul::new(float(&[2, 3])?, float(&[3, 5])?).clamp(1.0, 0.0).build(), &["1..=0"]);
    says(FloatMatmul::new(float(&[2, 3])?, float(&[3, 5])?).output(DType::Int8).build(), &["int8", "Quantize"]);
    Ok(())
}
