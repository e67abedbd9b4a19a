//! Random graphs over images: convolutions, pools, broadcasts, reshapes, clamps, values that are read twice, right operands
//! from the device, constants, functions of floats between codes, other scales, outputs that are inputs. They run on devices with large and small limits, at several extents; every output equals the reference's, bit
//! for bit. Hand-written plans are in `plans.rs`.

mod common;

use common::{Random, context_with, first_difference, limits, tiny_limits};
use lowbit::ops::{
    Add, Arithmetic, Concat, Conv, Dequantize, FloatBinary, Matmul, Multiply, Output, Padding, Pool, Quantize,
    Requantization, Requantize, Table,
};
use lowbit::{DType, Error, Graph, PlanOptions, Quantization, Result, Rounding, Tensor, TensorType, Tuner, Value};

const CODES: [DType; 2] = [DType::Int8, DType::Uint8];

/// Graphs per device.
const GRAPHS: usize = 60;

/// Elements beyond which a value is not used as an input.
const LARGEST: usize = 30_000;

fn stage(random: &mut Random) -> Result<Requantization> {
    let format = random.pick(&CODES);
    let stage = Requantization::new(format, random.scale(), random.zero_point(format))?;
    let (low, high) = format.range().expect("codes");
    Ok(match random.integer(0, 5) {
        0 => stage.relu(),
        1 => stage.relu6(),
        2 => {
            let least = random.integer(low.into(), high.into());
            stage.clamp(least as i32, random.integer(least, high.into()) as i32)?
        }
        _ => stage,
    })
}

/// Adds a random op on some of the values; an error if their shapes don't suit the op.
fn step(random: &mut Random, graph: &mut Graph, values: &[Value]) -> Result<Value> {
    let recent = random.integer(0, 3.min(values.len() as i64 - 1)) as usize;
    let (x, y) = (values[values.len() - 1 - recent], random.pick(values));
    let (input, other) = (graph.tensor_type(x)?.clone(), graph.tensor_type(y)?.clone());
    let output = stage(random)?;
    match random.integer(0, 14) {
        0 => {
            let [extent, height, width, channels] = input.dims()[..] else { return Ok(x) };
            graph.reshape(x, [extent, width, height, channels])
        }
        1 => graph.add(Table::sigmoid(input, output)?, &[x]),
        2 => {
            let (low, high) = input.dtype().range().expect("codes");
            let least = random.integer(low.into(), high.into());
            let greatest = random.integer(least, high.into());
            let entries = std::array::from_fn(|byte| {
                let code = if input.dtype() == DType::Int8 { i64::from(byte as u8 as i8) } else { byte as i64 };
                code.clamp(least, greatest) as u8
            });
            graph.add(Table::from_bytes(input.clone(), input, entries)?, &[x])
        }
        3 => {
            let rounding = random.pick(&[Rounding::Onnx, Rounding::FixedDouble]);
            graph.add(Requantize::new(input, output.rounding(rounding))?, &[x])
        }
        4 | 5 => graph.add(Add::new(input, other, output).build()?, &[x, y]),
        6 => graph.add(Multiply::new(other, input, output).build()?, &[y, x]),
        7 => match random.integer(0, 1) {
            0 => graph.add(Pool::max(input, [2, 3]).padding(Padding::SameLower).build()?, &[x]),
            _ => graph.add(Pool::average(input, [2, 2]).padding(Padding::SameUpper).output(output).build()?, &[x]),
        },
        8 => conv(random, graph, x, input, output),
        9 => {
            let axis = random.integer(1, 3) as usize;
            graph.add(Concat::new([input.clone(), other, input], axis).output(output).build()?, &[x, y, x])
        }
        10 => graph.add(Matmul::new(input, other).transposed().output(output).build()?, &[x, y]),
        11 => {
            let format = random.pick(&CODES);
            let length = random.pick(&[1, 1, input.shape().row_length()]);
            let quantization = Quantization::tensor(random.scale(), random.zero_point(format));
            let constant = graph.constant(random.codes(format, &[length]).quantized(quantization)?);
            let constant_type = graph.tensor_type(constant)?.clone();
            match random.integer(0, 2) {
                0 => graph.add(Add::new(input, constant_type, output).build()?, &[x, constant]),
                1 => graph.add(Add::new(constant_type, input, output).build()?, &[constant, x]),
                _ => graph.add(Multiply::new(input, constant_type, output).build()?, &[x, constant]),
            }
        }
        12 => {
            // A product with a function of the same codes.
            let sigmoid = graph.add(Table::sigmoid(input.clone(), output.clone())?, &[x])?;
            let factor = graph.tensor_type(sigmoid)?.clone();
            graph.add(Multiply::new(input, factor, output).build()?, &[x, sigmoid])
        }
        13 => {
            // A product of real numbers with a constant, where each step is exact: between codes it is a table.
            let reals = graph.add(Dequantize::new(input.clone()).build()?, &[x])?;
            let factor = graph.constant(Tensor::new([1], vec![random.pick(&[-0.5f32, 2.0])])?);
            let factor_type = graph.tensor_type(factor)?.clone();
            let real_type = graph.tensor_type(reals)?.clone();
            let product = FloatBinary::new(real_type.clone(), factor_type, Arithmetic::Multiply)?;
            let product = graph.add(product, &[reals, factor])?;
            let codes = TensorType::new(input.dtype(), input.dims())?;
            let codes = codes.quantized(input.quantization().expect("codes").clone())?;
            graph.add(Quantize::new(real_type, codes).build()?, &[product])
        }
        _ => {
            let quantization = Quantization::tensor(random.scale(), random.zero_point(input.dtype()));
            graph.rescaled(x, quantization)
        }
    }
}

/// Adds a convolution, direct or depthwise, whose raw sums a `Requantize` may requantize.
fn conv(random: &mut Random, graph: &mut Graph, x: Value, input: TensorType, output: Requantization) -> Result<Value> {
    let (channels, kernel) = (input.shape().row_length(), random.pick(&[1, 3]));
    let (outputs, groups) = random.pick(&[(channels, channels), (1, 1), (5, 1), (33, 1)]);
    let format = random.pick(&CODES);
    let weights = random.quantized(format, &[outputs, kernel, kernel, channels / groups]);
    let bias: Vec<i32> = (0..outputs).map(|_| random.integer(-500, 500) as i32).collect();
    let conv = Conv::new(input, weights).groups(groups).padding(Padding::SameUpper).bias(Tensor::new([outputs], bias)?);
    if random.integer(0, 1) == 0 {
        return graph.add(conv.output(output).build()?, &[x]);
    }
    let sums = graph.add(conv.output(Output::Accumulator).build()?, &[x])?;
    let scales = match random.integer(0, 1) {
        0 => Quantization::tensor(random.scale() * 0.01, 0),
        _ => Quantization::symmetric_axis(3, (0..outputs).map(|_| random.scale() * 0.01).collect::<Vec<_>>()),
    };
    let sum_type = graph.tensor_type(sums)?.clone().quantized(scales)?;
    let rounding = random.pick(&[Rounding::Onnx, Rounding::FixedSingle]);
    graph.add(Requantize::new(sum_type, output.rounding(rounding))?, &[sums])
}

fn random_graph(random: &mut Random, extent: usize) -> Result<Graph> {
    let mut graph = Graph::new();
    let images = graph.extent("images", extent)?;
    let mut values = Vec::new();
    let channels = random.pick(&[1, 5, 16, 33]);
    for _ in 0..2 {
        let format = random.pick(&CODES);
        let dims = [extent, random.pick(&[1, 3]), random.pick(&[1, 4]), random.pick(&[1, channels])];
        let quantization = Quantization::tensor(random.scale(), random.zero_point(format));
        values.push(graph.dynamic_input(TensorType::new(format, dims)?.quantized(quantization)?, [(0, images)])?);
    }
    let inputs = values.len();
    let wanted = inputs + random.integer(1, 10) as usize;
    for _ in 0..40 {
        if values.len() == wanted {
            break;
        }
        // Ops that don't fit are left out.
        if let Ok(value) = step(random, &mut graph, &values)
            && graph.tensor_type(value)?.shape().elements() <= LARGEST
        {
            values.push(value);
        }
    }
    for (i, &value) in values.iter().enumerate() {
        if i + 1 == values.len() || random.integer(0, 9) == 0 {
            graph.output(value);
        }
    }
    Ok(graph)
}

/// Runs random graphs on a device with these limits.
fn check(seed: u64, limits: Option<wgpu::Limits>) -> Result<()> {
    let Some(context) = context_with(limits) else { return Ok(()) };
    let mut random = Random::new(seed);
    let (mut refused, mut ops, mut launches) = (0, 0, 0);
    for case in 0..GRAPHS {
        let extent = random.pick(&[1, 3, 40]);
        let graph = random_graph(&mut random, extent)?;
        let mut options = PlanOptions::from(Tuner::Nth(random.integer(0, 4) as usize));
        options.single_workspace_buffer = random.integer(0, 4) == 0;
        let plan = match context.plan_with(&graph, options) {
            Ok(plan) => plan,
            // Small devices can't run everything.
            Err(Error::Request(_) | Error::Limit { .. }) => {
                refused += 1;
                continue;
            }
            Err(error) => return Err(error),
        };
        for at in [extent, 1, extent / 2, 0] {
            let host = graph.input_types().map(|t| {
                let dims = [&[at], &t.dims()[1..]].concat();
                random.codes(t.dtype(), &dims).quantized(t.quantization().expect("codes").clone())
            });
            let host = host.collect::<Result<Vec<_>>>()?;
            let host: Vec<&Tensor> = host.iter().collect();
            let expected = graph.run_reference(&host)?;
            for (output, (got, expected)) in plan.run_blocking(&host)?.iter().zip(&expected).enumerate() {
                if let Some(difference) = first_difference(got, expected) {
                    panic!("seed {seed}, graph {case} at {at} of {extent}, output {output}: {difference}\n{plan}");
                }
            }
        }
        ops += graph.ops().len();
        launches += plan.launches();
    }
    println!("{ops} ops in {launches} launches, {refused} graphs refused, on {}", context.description());
    assert!(refused < GRAPHS / 3, "{refused} graphs refused");
    Ok(())
}

#[test]
fn on_the_default_device() -> Result<()> {
    check(81, limits())
}

#[test]
fn on_a_device_with_tiny_limits() -> Result<()> {
    check(82, Some(tiny_limits()))
}

#[test]
fn on_devices_with_small_bindings() -> Result<()> {
    check(83, Some(wgpu::Limits { max_storage_buffer_binding_size: 8 << 10, ..tiny_limits() }))?;
    check(84, Some(wgpu::Limits { max_storage_buffer_binding_size: 8 << 10, ..wgpu::Limits::default() }))
}
