//! Whole graphs: the planner fuses, reorders, overwrites and packs, and outputs still equal those of the ops run one by one on the
//! reference, bit for bit. Single ops are in `equivalence.rs`, limits of devices in `limits.rs`.

mod common;

use common::{Random, context, context_with, first_difference, tiny_limits};
use lowbit::ops::{
    Add, Arithmetic, Concat, Conv, Dequantize, DynamicGranularity, DynamicQuantize, FloatBinary, FloatMatmul,
    FloatUnary, Function, Matmul, Multiply, Output, Padding, Pool, Quantize, Requantization, Requantize, Slice,
    Softmax, Table, TopK, Transpose,
};
use lowbit::{
    Context, DType, DeviceLimits, DeviceTensor, ExportedBuffer, ExportedBytes, ExportedPlan, Graph, PlanOptions,
    Quantization, Result, Tensor, TensorType, Tuner, Value, Workspace,
};

const CODES: [DType; 2] = [DType::Int8, DType::Uint8];

/// A graph of `steps` random ops over `[extent, n]` codes, with a dynamic extent of at most `extent`.
fn random_graph(random: &mut Random, extent: usize, steps: usize) -> Result<Graph> {
    let mut graph = Graph::new();
    let rows = graph.extent("rows", extent)?;
    let mut values: Vec<Value> = Vec::new();
    for _ in 0..random.integer(1, 3) {
        let (format, n) = (random.pick(&CODES), random.pick(&[1, 5, 16, 33]));
        values.push(graph.dynamic_input(code_type(random, format, &[extent, n])?, [(0, rows)])?);
    }
    let inputs = values.len();
    for _ in 0..steps {
        // Mostly recent values, so that chains form.
        let back = random.integer(0, 3).min(values.len() as i64 - 1) as usize;
        let x = values[values.len() - 1 - back];
        let made = step(random, &mut graph, x, &values)?;
        values.push(made);
    }
    let last = values[values.len() - 1];
    graph.output(last);
    for &value in &values[inputs..values.len() - 1] {
        if random.next().is_multiple_of(8) {
            graph.output(value);
        }
    }
    Ok(graph)
}

fn code_type(random: &mut Random, dtype: DType, dims: &[usize]) -> Result<TensorType> {
    TensorType::new(dtype, dims)?.quantized(Quantization::tensor(random.scale(), random.zero_point(dtype)))
}

fn requantization(random: &mut Random) -> Result<Requantization> {
    let format = random.pick(&CODES);
    let made = Requantization::new(format, random.scale(), random.zero_point(format))?;
    Ok(if random.next().is_multiple_of(2) { made.relu() } else { made })
}

fn step(random: &mut Random, graph: &mut Graph, x: Value, values: &[Value]) -> Result<Value> {
    let input = graph.tensor_type(x)?.clone();
    let (extent, n) = (input.dims()[0], input.dims()[1]);
    let output = requantization(random)?;
    let same: Vec<Value> =
        values.iter().copied().filter(|&v| graph.tensor_type(v).is_ok_and(|t| t.shape() == input.shape())).collect();
    match random.next() % 9 {
        0 => graph.add(Table::leaky_relu(input, 0.1, output)?, &[x]),
        1 => {
            // A pure clamp.
            let (low, high) = input.dtype().range().expect("codes");
            let entries = std::array::from_fn(|byte| {
                let code = if input.dtype() == DType::Int8 { i32::from(byte as u8 as i8) } else { byte as i32 };
                code.clamp(low + 20, high - 30) as u8
            });
            graph.add(Table::from_bytes(input.clone(), input, entries)?, &[x])
        }
        2 => graph.add(Requantize::new(input, output)?, &[x]),
        3 | 4 => {
            let y = random.pick(&same);
            let other = graph.tensor_type(y)?.clone();
            if random.next().is_multiple_of(3) {
                graph.add(Multiply::new(input, other, output).build()?, &[x, y])
            } else {
                graph.add(Add::new(input, other, output).build()?, &[x, y])
            }
        }
        5 => {
            // Raw accumulators, then a requantization by column.
            let columns = random.pick(&[1, 5, 16, 33]);
            let weights = random.quantized(DType::Int8, &[n, columns]);
            let sums = graph.add(Matmul::new(input, weights).build()?, &[x])?;
            let scales: Vec<f32> = (0..columns).map(|_| random.scale() * 0.01).collect();
            let sum_type =
                TensorType::new(DType::Int32, [extent, columns])?.quantized(Quantization::symmetric_axis(1, scales))?;
            graph.add(Requantize::new(sum_type, output)?, &[sums])
        }
        6 => {
            let (format, columns) = (random.pick(&CODES), random.pick(&[5, 16, 33]));
            let weights = random.quantized(format, &[n, columns]);
            graph.add(Matmul::new(input, weights).output(output).build()?, &[x])
        }
        7 => {
            let y = random.pick(values);
            let other = graph.tensor_type(y)?.clone();
            graph.add(Concat::new([input, other], 1).output(output).build()?, &[x, y])
        }
        _ => {
            let real = graph.add(Dequantize::new(input).build()?, &[x])?;
            if random.next().is_multiple_of(2) {
                let format = random.pick(&CODES);
                return graph.add(
                    Quantize::new(graph.tensor_type(real)?.clone(), code_type(random, format, &[extent, n])?)
                        .build()?,
                    &[real],
                );
            }
            let dynamic =
                DynamicQuantize::new(TensorType::float32([extent, n])?, DType::Uint8, DynamicGranularity::Row)
                    .build()?;
            let made = graph.add_all(dynamic, &[real])?;
            let matmul = Matmul::new(graph.tensor_type(made[0])?.clone(), random.quantized(DType::Int8, &[n, 7]))
                .dynamic_lhs(DynamicGranularity::Row)
                .output(Output::real());
            let real = graph.add(matmul.build()?, &made)?;
            graph.add(
                Quantize::new(graph.tensor_type(real)?.clone(), code_type(random, DType::Int8, &[extent, 7])?)
                    .build()?,
                &[real],
            )
        }
    }
}

/// Random inputs for a graph at an extent.
fn inputs(random: &mut Random, graph: &Graph, extent: usize) -> Result<Vec<Tensor>> {
    graph
        .input_types()
        .map(|t| {
            let mut dimensions = t.dims().to_vec();
            dimensions[0] = extent;
            let codes = random.codes(t.dtype(), &dimensions);
            match t.quantization() {
                Some(quantization) => codes.quantized(quantization.clone()),
                None => Ok(codes),
            }
        })
        .collect()
}

/// A workspace filled with poison.
fn poisoned_workspace(context: &Context, sizes: &[u64]) -> Result<Workspace> {
    let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST;
    let buffer = |&size: &u64| {
        let descriptor = wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false };
        let buffer = context.device().create_buffer(&descriptor);
        context.queue().write_buffer(&buffer, 0, &vec![0xab; size as usize]);
        buffer
    };
    Workspace::from_buffers(sizes.iter().map(buffer).collect())
}

/// Binds and records a graph's plan at an extent, and compares every output with the reference.
fn check(context: &Context, plan: &lowbit::Plan, reference: &Graph, host: &[Tensor], name: &str) -> Result<()> {
    let host: Vec<&Tensor> = host.iter().collect();
    let expected = reference.run_reference(&host)?;
    let inputs = host.iter().map(|t| context.upload(t)).collect::<Result<Vec<_>>>()?;
    let inputs: Vec<&DeviceTensor> = inputs.iter().collect();
    let types: Vec<&TensorType> = inputs.iter().map(|t| t.tensor_type()).collect();
    let allocate = |t: TensorType| DeviceTensor::allocate(context, t);
    let outputs = plan.output_types_for(&types)?.into_iter().map(allocate).collect::<Result<Vec<_>>>()?;
    let workspace = poisoned_workspace(context, plan.workspace_buffers())?;
    let bindings = plan.bind_with(&inputs, &outputs.iter().collect::<Vec<_>>(), &workspace)?;
    let before = context.counters();
    let mut encoder = context.device().create_command_encoder(&Default::default());
    plan.record(&mut encoder, &bindings)?;
    plan.record(&mut encoder, &bindings)?;
    assert_eq!(context.counters(), before, "{name}: recording makes nothing");
    context.queue().submit([encoder.finish()]);
    let report = plan.verify_blocking(&bindings)?;
    assert!(report.is_exact(), "{name}: {report}");
    for (i, (output, expected)) in outputs.iter().zip(&expected).enumerate() {
        if let Some(difference) = first_difference(&context.download_blocking(output)?, expected) {
            panic!("{name}, output {i}: {difference}\n{plan}");
        }
    }
    Ok(())
}

#[test]
fn random_graphs_equal_the_reference() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(31);
    let (mut ops, mut launches, mut in_place, mut single) = (0, 0, 0, 0);
    // Browsers compile slowly.
    for case in 0..if cfg!(target_arch = "wasm32") { 12 } else { 150 } {
        let (extent, steps) = (random.pick(&[1, 2, 7]), random.integer(1, 14) as usize);
        let graph = random_graph(&mut random, extent, steps)?;
        let mut options = PlanOptions::from(if case % 3 == 0 { Tuner::Nth(1) } else { Tuner::FirstGuess });
        options.single_workspace_buffer = case % 4 == 1;
        let plan = context.plan_with(&graph, options)?;
        assert!(plan.workspace_bytes() >= plan.live_bytes());
        // Tensors that are bound twice have storage of their own, which may take more memory in small graphs.
        assert!(plan.workspace_bytes() <= 2 * plan.live_bytes(), "graph {case}:\n{plan}");
        // Tensors that an op reads twice are in buffers of their own.
        if options.single_workspace_buffer {
            single += usize::from(plan.workspace_buffers().len() == 1);
            options.single_workspace_buffer = false;
            let several = context.plan_with(&graph, options)?.workspace_buffers().len();
            assert!(plan.workspace_buffers().len() <= several.max(1), "graph {case}:\n{plan}");
        }
        for at in [extent, 1, 0] {
            let host = inputs(&mut random, &graph, at)?;
            check(&context, &plan, &graph, &host, &format!("graph {case} at extent {at}"))?;
        }
        ops += graph.ops().len();
        launches += plan.launches();
        in_place += plan.to_string().matches("in place").count();
    }
    println!("{ops} ops in {launches} launches, {in_place} in place, on {}", context.description());
    assert!(launches < ops && in_place > 0 && single > 0, "something is fused, overwritten, and in a single buffer");
    Ok(())
}

/// An engine's arena: inputs and outputs lie in one buffer, which launches read and write at once.
#[test]
fn tensors_share_a_buffer() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(39);
    let mut bound = 0;
    for case in 0..if cfg!(target_arch = "wasm32") { 6 } else { 20 } {
        let steps = random.integer(1, 9) as usize;
        let graph = random_graph(&mut random, 3, steps)?;
        let plan = context.plan(&graph, Tuner::Nth(case % 3))?;
        let host = inputs(&mut random, &graph, 3)?;
        let types: Vec<TensorType> = plan.input_types().iter().chain(plan.output_types()).cloned().collect();
        let mut offsets = vec![0];
        for tensor_type in &types {
            offsets.push(offsets[offsets.len() - 1] + tensor_type.device_bytes().next_multiple_of(256) + 256);
        }
        let end = offsets[types.len()];
        let mut words = vec![0xbad_c0de_u32; end as usize / 4];
        let at = |i: usize| offsets[i] as usize / 4;
        for (i, tensor) in host.iter().enumerate() {
            let tensor = lowbit::pack::words(tensor);
            words[at(i)..at(i) + tensor.len()].copy_from_slice(&tensor);
        }
        let arena =
            context.upload(&Tensor::new([words.len()], words.iter().map(|&w| w as i32).collect::<Vec<_>>())?)?;
        let place =
            |(t, &offset): (&TensorType, &u64)| DeviceTensor::from_buffer(t.clone(), arena.buffer().clone(), offset);
        let tensors = types.iter().zip(&offsets).map(place).collect::<Result<Vec<_>>>()?;
        let (inputs, outputs) = tensors.split_at(host.len());
        let bindings = match plan.bind(&inputs.iter().collect::<Vec<_>>(), &outputs.iter().collect::<Vec<_>>()) {
            Ok(bindings) => bindings,
            Err(error) => {
                assert!(error.to_string().contains("reads the same bytes twice"), "{error}\n{plan}");
                continue;
            }
        };
        bound += 1;
        let mut encoder = context.device().create_command_encoder(&Default::default());
        plan.record(&mut encoder, &bindings)?;
        context.queue().submit([encoder.finish()]);
        let expected = graph.run_reference(&host.iter().collect::<Vec<_>>())?;
        for (i, tensor) in expected.iter().enumerate() {
            let tensor = lowbit::pack::words(tensor);
            words[at(host.len() + i)..][..tensor.len()].copy_from_slice(&tensor);
        }
        let got = context.download_blocking(&arena)?;
        let got = got.values::<i32>()?.iter().map(|&word| word as u32);
        let different = got.zip(&words).position(|(got, &expected)| got != expected);
        assert_eq!(different, None, "graph {case}: {offsets:?}\n{plan}");
    }
    assert!(bound > 0, "some are bound");
    Ok(())
}

/// Lines that a plan prints, one per launch.
fn launch_lines(plan: &lowbit::Plan) -> Vec<String> {
    let text = plan.to_string();
    text.lines().filter(|line| !line.starts_with("workspace")).map(str::to_string).collect()
}

#[test]
fn a_plan_is_verified_by_one_call() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let codes = Tensor::new([2, 2], vec![1i8, 2, 3, 4])?.quantized(Quantization::tensor(0.5, 0))?;
    let mut graph = Graph::new();
    let x = graph.input(codes.tensor_type().clone());
    let y = graph.add(Dequantize::new(codes.tensor_type().clone()).build()?, &[x])?;
    graph.output(y);
    graph.name(y, "reals")?;
    let plan = context.plan(&graph, Tuner::FirstGuess)?;
    let input = context.upload(&codes)?;
    let output = DeviceTensor::allocate(&context, plan.output_types()[0].clone())?;
    let report = plan.verify_blocking(&plan.bind(&[&input], &[&output])?)?;
    assert_eq!(report.to_string(), "output 0 (reals): all 4 elements equal the reference\n");
    assert_eq!((report.outputs[0].elements, report.outputs[0].different), (4, 0));
    Ok(())
}

#[test]
fn a_residual_block_is_two_fused_ops() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(32);
    let mut graph = Graph::new();
    let image_type = code_type(&mut random, DType::Uint8, &[1, 6, 6, 8])?;
    let image = graph.input(image_type.clone());
    let conv = |random: &mut Random, input: TensorType, output: Output| {
        let weights = random.quantized(DType::Int8, &[8, 3, 3, 8]);
        Conv::new(input, weights).padding(Padding::SameUpper).output(output).build()
    };
    let sums = graph.add(conv(&mut random, image_type.clone(), Output::Accumulator)?, &[image])?;
    let sum_type = TensorType::new(DType::Int32, [1, 6, 6, 8])?.quantized(Quantization::tensor(0.001, 0))?;
    let codes = graph.add(Requantize::new(sum_type, Requantization::new(DType::Uint8, 0.05, 128)?)?, &[sums])?;
    let codes_type = graph.tensor_type(codes)?.clone();
    let relu = std::array::from_fn(|byte| (byte as u8).max(128));
    let codes = graph.add(Table::from_bytes(codes_type.clone(), codes_type.clone(), relu)?, &[codes])?;
    let second = conv(&mut random, codes_type, Requantization::new(DType::Int8, 0.05, 3)?.into())?;
    let second = graph.add(second, &[codes])?;
    let sum =
        Add::new(graph.tensor_type(second)?.clone(), image_type, Requantization::new(DType::Uint8, 0.05, 100)?.relu())
            .build()?;
    let sum = graph.add(sum, &[second, image])?;
    graph.output(sum);

    let plan = context.plan(&graph, Tuner::FirstGuess)?;
    let lines = launch_lines(&plan);
    // Each op once, even if its candidate takes several launches.
    let mut ops: Vec<_> = lines.iter().filter_map(|line| line.rsplit("op  ").next()).collect();
    ops.dedup();
    // The residual needs one more binding than the second convolution.
    if context.caps().storage_buffers >= 5 {
        assert_eq!(ops, ["conv + requantize + table", "conv + add"], "{plan}");
    } else {
        assert_eq!(ops, ["conv + requantize + table", "conv", "add"], "{plan}");
    }
    assert!(lines.iter().all(|line| line.contains("reads") && line.contains("writes")), "{plan}");
    let image = random
        .codes(DType::Uint8, &[1, 6, 6, 8])
        .quantized(graph.input_types().next().and_then(|t| t.quantization()).expect("one input").clone())?;
    check(&context, &plan, &graph, &[image], "residual block")
}

#[test]
fn tables_compose() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(38);
    let mut graph = Graph::new();
    let input = code_type(&mut random, DType::Uint8, &[4, 16])?;
    let mut x = graph.input(input.clone());
    let matmul = Matmul::new(input.clone(), random.quantized(DType::Int8, &[16, 9]));
    x = graph.add(matmul.output(Requantization::new(DType::Int8, 2.0, 0)?).build()?, &[x])?;
    for _ in 0..3 {
        let table = Table::leaky_relu(graph.tensor_type(x)?.clone(), 0.3, Requantization::new(DType::Int8, 1.5, 1)?)?;
        x = graph.add(table, &[x])?;
    }
    graph.output(x);
    let plan = context.plan(&graph, Tuner::FirstGuess)?;
    assert!(launch_lines(&plan)[0].ends_with("matmul + table + table + table"), "{plan}");
    let host = random.codes(DType::Uint8, &[4, 16]).quantized(input.quantization().expect("codes").clone())?;
    check(&context, &plan, &graph, &[host], "tables")
}

/// A pool over an image whose input and output are NCHW reals. `transpose_first` sets the order of its conversion steps. With
/// `apart` the values between the steps are outputs too.
fn nchw_graph(float: DType, quantization: &Quantization, transpose_first: bool, apart: bool) -> Result<Graph> {
    let mut graph = Graph::new();
    let nchw = TensorType::new(float, [2, 3, 5, 7])?;
    let images = graph.extent("images", 2)?;
    let x = graph.dynamic_input(nchw, [(0, images)])?;
    let add = |graph: &mut Graph, x: Value, step: &dyn Fn(TensorType) -> Result<lowbit::ops::Op>| -> Result<Value> {
        graph.add(step(graph.tensor_type(x)?.clone())?, &[x])
    };
    let quantize = |t: TensorType| -> Result<_> {
        let codes = TensorType::new(DType::Uint8, t.dims())?.quantized(quantization.clone())?;
        Ok(Quantize::new(TensorType::new(float, codes.dims())?, codes).build()?.into())
    };
    let dequantize = |t: TensorType| Ok(Dequantize::new(t).output(float).build()?.into());
    let to_nhwc = |t: TensorType| Ok(Transpose::new(t, [0, 2, 3, 1])?.into());
    let to_nchw = |t: TensorType| Ok(Transpose::new(t, [0, 3, 1, 2])?.into());
    let between = add(&mut graph, x, if transpose_first { &to_nhwc } else { &quantize })?;
    let image = add(&mut graph, between, if transpose_first { &quantize } else { &to_nhwc })?;
    let pooled = add(&mut graph, image, &|t| Ok(Pool::max(t, [2, 2]).build()?.into()))?;
    let second = add(&mut graph, pooled, if transpose_first { &to_nchw } else { &dequantize })?;
    let y = add(&mut graph, second, if transpose_first { &dequantize } else { &to_nchw })?;
    graph.output(y);
    if apart {
        graph.output(between);
        graph.output(second);
    }
    Ok(graph)
}

#[test]
fn layout_changes_convert_on_the_way() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(39);
    for (float, transpose_first) in [DType::Float32, DType::Float16].into_iter().flat_map(|f| [(f, true), (f, false)]) {
        let quantization = Quantization::tensor(random.scale(), random.zero_point(DType::Uint8));
        let graphs = [false, true].map(|apart| nchw_graph(float, &quantization, transpose_first, apart));
        let [graph, apart] = graphs;
        let (graph, apart) = (graph?, apart?);
        let plans = [context.plan(&graph, Tuner::FirstGuess)?, context.plan(&apart, Tuner::FirstGuess)?];
        assert_eq!(plans[0].launches(), 3, "{}", plans[0]);
        assert_eq!(plans[1].launches(), 5, "{}", plans[1]);
        for extent in [2, 1, 0] {
            let numbers: Vec<f32> = (0..extent * 3 * 5 * 7).map(|_| random.real()).collect();
            let image = match float {
                DType::Float16 => {
                    Tensor::new([extent, 3, 5, 7], numbers.into_iter().map(half::f16::from_f32).collect::<Vec<_>>())?
                }
                _ => Tensor::new([extent, 3, 5, 7], numbers)?,
            };
            let name = format!("{float}, transposed first: {transpose_first}, extent {extent}");
            assert_eq!(plans[0].run_blocking(&[&image])?[0], plans[1].run_blocking(&[&image])?[0], "{name}");
            check(&context, &plans[0], &graph, &[image], &name)?;
        }
    }
    Ok(())
}

/// The codes fit a binding, and the reals that they are quantized from don't. The transposition of the codes isn't divided.
#[test]
fn what_has_to_be_divided_is_not_fused() -> Result<()> {
    let Some(context) = context_with(Some(tiny_limits())) else { return Ok(()) };
    let mut random = Random::new(40);
    let mut graph = Graph::new();
    let codes = code_type(&mut random, DType::Int8, &[8, 200, 200])?;
    let x = graph.input(TensorType::new(DType::Float32, [8, 200, 200])?);
    let y = graph.add(Quantize::new(graph.tensor_type(x)?.clone(), codes.clone()).build()?, &[x])?;
    let y = graph.add(Transpose::new(codes, [1, 2, 0])?, &[y])?;
    graph.output(y);
    let plan = context.plan(&graph, Tuner::FirstGuess)?;
    let reals = Tensor::new([8, 200, 200], (0..320_000).map(|_| random.real()).collect::<Vec<f32>>())?;
    check(&context, &plan, &graph, &[reals], "reals beyond a binding")
}

#[test]
fn reshaping_keeps_scales_or_refuses() -> Result<()> {
    let by_column = Quantization::symmetric_axis(1, vec![0.5; 16]);
    let codes = TensorType::new(DType::Int8, [4, 16])?.quantized(by_column)?;
    let mut graph = Graph::new();
    let x = graph.input(codes);
    let y = graph.reshape(x, [2, 2, 16])?;
    let wrong = TensorType::new(DType::Int8, [2, 2, 16])?.quantized(Quantization::tensor(100.0, 7))?;
    assert!(graph.add(Dequantize::new(wrong).build()?, &[y]).is_err(), "other scales");
    graph.add(Dequantize::new(graph.tensor_type(y)?.clone()).build()?, &[y])?;
    assert!(graph.reshape(x, [64]).is_err(), "columns would get lost");
    Ok(())
}

#[test]
fn what_others_read_is_not_fused_away() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(33);
    let mut graph = Graph::new();
    let input_type = code_type(&mut random, DType::Int8, &[4, 12])?;
    let x = graph.input(input_type.clone());
    let doubled =
        graph.add(Table::leaky_relu(input_type.clone(), 2.0, Requantization::new(DType::Int8, 0.1, 0)?)?, &[x])?;
    let middle = graph.tensor_type(doubled)?.clone();
    let a = graph.add(Table::sigmoid(middle.clone(), Requantization::new(DType::Uint8, 0.004, 0)?)?, &[doubled])?;
    let b = graph.add(Table::leaky_relu(middle, 0.3, Requantization::new(DType::Int8, 0.2, 5)?)?, &[doubled])?;
    graph.output(a);
    graph.output(doubled);
    let unused =
        graph.add(Table::sigmoid(graph.tensor_type(b)?.clone(), Requantization::new(DType::Int8, 0.2, 5)?)?, &[b])?;
    graph.name(unused, "unused")?;
    let plan = context.plan(&graph, Tuner::FirstGuess)?;
    assert_eq!(plan.launches(), 2, "the tables that nothing needs are left out: {plan}");
    let host = random.codes(DType::Int8, &[4, 12]).quantized(input_type.quantization().expect("codes").clone())?;
    check(&context, &plan, &graph, &[host], "shared value")
}

#[test]
fn chains_take_what_two_neighbours_need() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(34);
    for case in 0..20 {
        let mut graph = Graph::new();
        let mut width = 16;
        let input = code_type(&mut random, DType::Int8, &[32, width])?;
        let mut x = graph.input(input);
        let mut sizes = Vec::new();
        for _ in 0..random.integer(2, 9) {
            let next = random.integer(1, 20) as usize * 16;
            let matmul = Matmul::new(graph.tensor_type(x)?.clone(), random.quantized(DType::Int8, &[width, next]));
            x = graph.add(matmul.output(Requantization::new(DType::Int8, 0.1, 0)?).build()?, &[x])?;
            sizes.push(32 * next as u64);
            width = next;
        }
        graph.output(x);
        sizes.pop();
        let least = sizes.windows(2).map(|pair| pair[0] + pair[1]).max().or(sizes.first().copied()).unwrap_or(0);
        let plan = context.plan(&graph, Tuner::FirstGuess)?;
        assert_eq!(plan.workspace_bytes(), least, "chain {case} of {sizes:?}\n{plan}");
    }
    Ok(())
}

/// Each square reads a tensor twice, so its output must not be in the tensor's buffer.
#[test]
fn squares_alternate_between_two_buffers() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let tensor_type = TensorType::float32([2, 64])?;
    let mut graph = Graph::new();
    let mut x = graph.input(tensor_type.clone());
    for _ in 0..16 {
        x = graph.add(FloatBinary::new(tensor_type.clone(), tensor_type.clone(), Arithmetic::Multiply)?, &[x, x])?;
    }
    graph.output(x);
    let plan = context.plan(&graph, Tuner::FirstGuess)?;
    assert_eq!((plan.workspace_bytes(), plan.live_bytes()), (1024, 1024), "{plan}");
    // All squares are exact.
    let host = Tensor::new([2, 64], vec![-1.0f32; 128])?;
    check(&context, &plan, &graph, &[host], "squares")
}

/// The gradient of weights, x^T · g over a batch: the packing of sums over the batch depends on the extent.
#[test]
fn sums_over_any_extent_have_their_scratch() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let real = |rows: usize, columns: usize| TensorType::new(DType::Float32, [rows, columns]);
    let mut graph = Graph::new();
    let rows = graph.extent("rows", 72)?;
    let (x, g) = (graph.dynamic_input(real(72, 9)?, [(0, rows)])?, graph.dynamic_input(real(72, 36)?, [(0, rows)])?);
    let product = FloatMatmul::new(real(72, 9)?, real(72, 36)?).transposed_lhs().build()?;
    let y = graph.add(product, &[x, g])?;
    graph.output(y);
    let plan = context.plan(&graph, Tuner::FirstGuess)?;
    for extent in [72, 71, 70, 69, 68, 33, 3, 1, 0] {
        let ones = |columns: usize| Tensor::new([extent, columns], vec![1.0f32; extent * columns]);
        let out = plan.run_blocking(&[&ones(9)?, &ones(36)?])?;
        assert_eq!(out[0].values::<f32>()?, vec![extent as f32; 9 * 36], "{extent} rows");
    }
    Ok(())
}

#[test]
fn asking_for_types_makes_no_launches() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut graph = Graph::new();
    let rows = graph.extent("rows", 500)?;
    let x = graph.dynamic_input(TensorType::new(DType::Float32, [500, 3])?, [(0, rows)])?;
    let x = graph.add(FloatUnary::new(TensorType::float32([500, 3])?, Function::Relu)?, &[x])?;
    graph.output(x);
    let plan = context.plan(&graph, Tuner::FirstGuess)?;
    let before = context.counters().buffers;
    for extent in 0..=500 {
        let rows = TensorType::new(DType::Float32, [extent, 3])?;
        assert_eq!(plan.output_types_for(&[&rows])?, [rows], "{extent} rows");
    }
    assert!(plan.output_types_for(&[&TensorType::new(DType::Float32, [501, 3])?]).is_err());
    assert_eq!(context.counters().buffers, before, "parameters of launches that nobody asked for");
    Ok(())
}

#[test]
fn plans_of_one_context_share_their_weights() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(35);
    let weights = std::sync::Arc::new(random.quantized(DType::Int8, &[64, 32]));
    let graph = |m: usize| -> Result<Graph> {
        let mut graph = Graph::new();
        let input = TensorType::new(DType::Int8, [m, 64])?.quantized(Quantization::tensor(0.1, 0))?;
        let x = graph.input(input.clone());
        let y = graph.add(Matmul::new(input, weights.clone()).build()?, &[x])?;
        graph.output(y);
        Ok(graph)
    };
    let first = context.plan(&graph(1)?, Tuner::FirstGuess)?;
    let before = context.counters().buffers;
    let second = context.plan(&graph(64)?, Tuner::FirstGuess)?;
    assert_eq!(context.counters().buffers - before, 1, "only the parameters are new");
    drop((first, second));
    let before = context.counters().buffers;
    let _third = context.plan(&graph(2)?, Tuner::FirstGuess)?;
    assert_eq!(context.counters().buffers - before, 3, "dropped weights are uploaded again");
    Ok(())
}

#[test]
fn bad_bindings_are_refused() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(36);
    let mut graph = Graph::new();
    let input = code_type(&mut random, DType::Int8, &[8, 5])?;
    let tokens = graph.extent("tokens", 8)?;
    let x = graph.dynamic_input(input.clone(), [(0, tokens)])?;
    graph.name(x, "tokens")?;
    let y = graph.add(Dequantize::new(input.clone()).build()?, &[x])?;
    let y = graph.add(Softmax::new(graph.tensor_type(y)?.clone()).build()?, &[y])?;
    let y = graph.add(Quantize::new(graph.tensor_type(y)?.clone(), input.clone()).build()?, &[y])?;
    graph.output(y);
    let plan = context.plan(&graph, Tuner::FirstGuess)?;
    let tensor = |rows: usize| {
        let t = TensorType::new(DType::Int8, [rows, 5])?.quantized(input.quantization().expect("codes").clone())?;
        DeviceTensor::allocate(&context, t)
    };
    let (three, eight, nine) = (tensor(3)?, tensor(8)?, tensor(9)?);
    let message = |result: Result<lowbit::Bindings>| result.expect_err("a refusal").to_string();
    assert!(message(plan.bind(&[&nine], &[&nine])).contains("input 0 (tokens) is int8[9, 5]"), "too long");
    assert!(message(plan.bind(&[&three], &[&eight])).contains("int8[3, 5]"), "extents differ");
    let small = Workspace::from_buffers(vec![])?;
    assert!(message(plan.bind_with(&[&three], &[&tensor(3)?], &small)).contains("0 buffers"), "no workspace");
    let too_small = poisoned_workspace(&context, &[16])?;
    assert!(message(plan.bind_with(&[&three], &[&tensor(3)?], &too_small)).contains("16 bytes"), "too small");
    let shared = Workspace::from_buffers(vec![three.buffer().clone()])?;
    assert!(plan.bind_with(&[&three], &[&tensor(3)?], &shared).is_err(), "the workspace is an input's buffer");
    let other = context.plan(&graph, Tuner::FirstGuess)?;
    let bindings = plan.bind(&[&three], &[&tensor(3)?])?;
    let mut encoder = context.device().create_command_encoder(&Default::default());
    assert!(other.record(&mut encoder, &bindings).expect_err("a refusal").to_string().contains("another plan"));
    plan.record(&mut encoder, &bindings)?;
    Ok(())
}

#[test]
fn what_cannot_follow_an_extent_is_refused() -> Result<()> {
    let mut random = Random::new(37);
    let mut graph = Graph::new();
    let input = code_type(&mut random, DType::Int8, &[8, 5])?;
    let tokens = graph.extent("tokens", 8)?;
    let x = graph.dynamic_input(input.clone(), [(0, tokens)])?;
    let fixed = graph.input(input.clone());
    let add = Add::new(input.clone(), input.clone(), Requantization::new(DType::Int8, 0.1, 0)?).build()?;
    assert!(graph.add(add, &[x, fixed]).is_err(), "the other operand keeps its rows");
    let bias = Tensor::new([8, 3], vec![1i32; 24])?;
    let matmul = Matmul::new(input.clone(), random.quantized(DType::Int8, &[5, 3])).bias(bias).build()?;
    assert!(graph.add(matmul, &[x]).is_err(), "a bias per row");
    assert!(graph.reshape(x, [5, 8]).is_err(), "rows of another length");
    let by_row = Quantization::symmetric_axis(0, vec![0.1; 8]);
    assert!(
        graph.dynamic_input(TensorType::new(DType::Int8, [8, 5])?.quantized(by_row)?, [(0, tokens)]).is_err(),
        "scales per row"
    );
    assert!(
        graph.dynamic_input(TensorType::new(DType::Int8, [12, 5])?, [(0, tokens)]).is_err(),
        "no multiple of the extent"
    );
    assert!(graph.dynamic_input(TensorType::new(DType::Int8, [])?, [(0, tokens)]).is_err(), "no dimension");
    assert!(graph.dynamic_input(TensorType::new(DType::Int8, [0, 5])?, [(0, tokens)]).is_err(), "no rows at all");
    let weights = graph.dynamic_input(input.clone(), [(0, tokens)])?;
    let lhs = graph.input(code_type(&mut random, DType::Int8, &[3, 8])?);
    let matmul = Matmul::new(graph.tensor_type(lhs)?.clone(), input.clone()).build()?;
    assert!(graph.add(matmul, &[lhs, weights]).is_err(), "k would change");
    let parameters = graph.dynamic_input(TensorType::new(DType::Parameters, [8])?, [(0, tokens)])?;
    let codes = graph.input(TensorType::new(DType::Int8, [8, 5])?);
    let matmul = Matmul::new(graph.tensor_type(codes)?.clone(), random.quantized(DType::Int8, &[5, 3]))
        .dynamic_lhs(DynamicGranularity::Row)
        .output(Output::real())
        .build()?;
    assert!(graph.add(matmul, &[codes, parameters]).is_err(), "fewer parameters than rows");
    let twice = graph.dynamic_input(TensorType::new(DType::Int8, [16, 5])?, [(0, tokens)])?;
    let pool = Pool::max(code_type(&mut random, DType::Int8, &[16, 1, 5])?, [1]).build()?;
    let image = graph.reshape(twice, [16, 1, 5])?;
    graph.add(pool, &[image])?;
    Ok(())
}

/// Every range that an exported launch binds lies in its buffer, at an offset that any device binds.
#[test]
fn an_exported_plan_is_whole() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(35);
    for _ in 0..20 {
        let graph = random_graph(&mut random, 3, 8)?;
        let plan = context.plan(&graph, Tuner::FirstGuess)?;
        assert_eq!(plan.export()?.launches.len(), plan.launches());
        let tensors = (plan.input_types().len(), plan.output_types().len());
        for exported in [plan.export()?, graph.export(&DeviceLimits::default())?] {
            assert_eq!((exported.inputs.len(), exported.outputs.len()), tensors);
            check_exported(exported);
        }
    }
    Ok(())
}

fn check_exported(mut exported: ExportedPlan) {
    for launch in &exported.launches {
        let ExportedBytes { offset, bytes, .. } = launch.parameters;
        assert!(offset.is_multiple_of(256) && offset + bytes <= exported.data.len(), "{launch:?}");
        assert!(exported.programs[launch.program].contains("fn main("));
        for binding in &launch.bindings {
            let size = match binding.buffer {
                ExportedBuffer::Input(i) => exported.inputs[i].bytes,
                ExportedBuffer::Output(i) => exported.outputs[i].bytes,
                ExportedBuffer::Workspace(i) => exported.workspace[i],
                ExportedBuffer::Constant(i) => exported.constants[i].bytes as u64,
                other => panic!("{other:?}"),
            };
            assert!(binding.offset.is_multiple_of(256) && binding.bytes > 0, "{binding:?}");
            assert!(binding.offset + binding.bytes <= size, "{binding:?} of {size} bytes");
        }
    }
    let json = serde_json::to_string(&exported).expect("plain data");
    exported.data.clear();
    assert_eq!(serde_json::from_str::<ExportedPlan>(&json).expect("the same"), exported);
}

/// The end of a dynamic first axis: as many rows at every extent.
#[test]
fn last_rows_of_any_extent() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(2_107);
    for (most, count) in [(1, 1), (9, 1), (40, 3)] {
        let mut graph = Graph::new();
        let rows = graph.extent("rows", most)?;
        let x = graph.dynamic_input(TensorType::float32([most, 5])?, [(0, rows)])?;
        let twice = graph.add(FloatUnary::new(TensorType::float32([most, 5])?, Function::Relu)?, &[x])?;
        let last = graph.add(Slice::last(TensorType::float32([most, 5])?, count)?, &[twice])?;
        let after = graph.add(FloatUnary::new(TensorType::float32([count, 5])?, Function::Relu)?, &[last])?;
        graph.output(twice);
        graph.output(after);
        let plan = context.plan(&graph, Tuner::FirstGuess)?;
        for extent in [most, most / 2, count].into_iter().filter(|&extent| extent >= count) {
            let x = Tensor::new([extent, 5], (0..extent * 5).map(|_| random.real()).collect::<Vec<f32>>())?;
            let got = common::wait(plan.run(&[&x]))?;
            assert_eq!(got, graph.run_reference(&[&x])?, "{extent} of {most}");
            let all = x.values::<f32>()?;
            let expected: Vec<f32> = all[(extent - count) * 5..].iter().map(|x| x.max(0.0)).collect();
            assert_eq!(got[1].values::<f32>()?, expected);
        }
        let none = Tensor::new([count - 1, 5], vec![0.0f32; (count - 1) * 5])?;
        for refused in [common::wait(plan.run(&[&none])).map(drop), graph.run_reference(&[&none]).map(drop)] {
            let message = refused.expect_err("too few rows").to_string();
            assert!(message.contains("the last") && message.contains("at least as many"), "{message}");
        }
    }
    let message = Slice::last(TensorType::float32([2, 5])?, 3).expect_err("two rows").to_string();
    assert!(message.contains("the last 3 indices"), "{message}");
    assert!(Slice::last(TensorType::float32([])?, 0).is_err());
    Ok(())
}

/// Bindings tell the launches of their own extent, and print them.
#[test]
fn bindings_tell_their_launches() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut graph = Graph::new();
    let rows = graph.extent("rows", 600)?;
    let x = graph.dynamic_input(TensorType::float32([600, 64])?, [(0, rows)])?;
    let y = graph.add(FloatUnary::new(TensorType::float32([600, 64])?, Function::Tanh)?, &[x])?;
    graph.output(y);
    let plan = context.plan(&graph, Tuner::FirstGuess)?;
    for rows in [600, 1] {
        let [x, y] = [0; 2].map(|_| DeviceTensor::allocate(&context, TensorType::float32([rows, 64]).expect("a type")));
        let bindings = plan.bind(&[&x?], &[&y?])?;
        assert_eq!((bindings.launches(), bindings.labels().len()), (1, 1));
        let text = bindings.to_string();
        let [label] = bindings.labels().collect::<Vec<_>>()[..] else { panic!("one launch") };
        let bytes = if rows == 1 { "256 B" } else { "150 KiB" };
        assert!(text.lines().count() == 1 && text.starts_with(label) && text.contains(bytes), "{text}");
        assert_eq!(plan.to_string().starts_with(&text), rows == 600);
    }
    Ok(())
}

/// An operand that doesn't follow the extent would broadcast at extent 1, and not fit at others: it is refused, at once.
#[test]
fn operands_of_other_extents_are_refused() -> Result<()> {
    let mut graph = Graph::new();
    let rows = graph.extent("rows", 1 << 20)?;
    let x = graph.dynamic_input(TensorType::float32([1 << 20, 2])?, [(0, rows)])?;
    let fixed = graph.input(TensorType::float32([1 << 20, 2])?);
    let sum =
        FloatBinary::new(TensorType::float32([1 << 20, 2])?, TensorType::float32([1 << 20, 2])?, Arithmetic::Add)?;
    assert!(graph.add(sum, &[x, fixed]).is_err());
    let part = Slice::new(TensorType::float32([1 << 20, 2])?, [1, 0], [5, 2]).build()?;
    let message = graph.add(part, &[x]).expect_err("a part of a dynamic axis").to_string();
    assert!(message.contains("Slice::last"), "{message}");
    // The best of a dynamic row, which has at least as many elements.
    let row = graph.dynamic_input(TensorType::float32([1 << 20])?, [(0, rows)])?;
    let best = graph.add_all(TopK::new(TensorType::float32([1 << 20])?, 3).build()?, &[row])?;
    assert_eq!(graph.tensor_type(best[0])?.dims(), [3]);
    Ok(())
}

/// A residual that doesn't follow the extent is not fused, as it broadcasts where the extent is 1.
#[test]
fn fixed_residuals_broadcast() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut graph = Graph::new();
    let rows = graph.extent("rows", 1)?;
    let x = graph.dynamic_input(TensorType::float32([1, 8])?, [(0, rows)])?;
    let fixed = graph.input(TensorType::float32([1, 8])?);
    let x = graph.add(FloatUnary::new(TensorType::float32([1, 8])?, Function::Relu)?, &[x])?;
    let sum = FloatBinary::new(TensorType::float32([1, 8])?, TensorType::float32([1, 8])?, Arithmetic::Add)?;
    let sum = graph.add(sum, &[x, fixed])?;
    graph.output(sum);
    let plan = context.plan(&graph, Tuner::FirstGuess)?;
    let fixed = Tensor::new([1, 8], vec![2.0f32; 8])?;
    for rows in [1, 0] {
        let x = Tensor::new([rows, 8], vec![1.0f32; rows * 8])?;
        assert_eq!(common::wait(plan.run(&[&x, &fixed]))?, graph.run_reference(&[&x, &fixed])?, "{rows} rows");
    }
    Ok(())
}

fn made_of(dtype: DType, scale: f32) -> Result<TensorType> {
    TensorType::new(dtype, [4])?.quantized(Quantization::tensor(scale, 0))
}

/// Functions of the codes of one tensor become tables, which the convolution before them applies.
#[test]
fn functions_of_codes_are_tables() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(26);
    let codes = TensorType::new(DType::Uint8, [1, 5, 5, 3])?.quantized(Quantization::tensor(0.1, 120))?;
    let mut graph = Graph::new();
    let image = graph.input(codes.clone());
    let weights = random.quantized(DType::Int8, &[7, 3, 3, 3]);
    let output = || Requantization::new(DType::Uint8, 0.3, 110);
    let x = graph.add(Conv::new(codes, weights).output(output()?).build()?, &[image])?;
    let made = graph.tensor_type(x)?.clone();
    // x + 3, clipped to 0 and 6, times x.
    let three = graph.constant(Tensor::new([1], vec![30u8])?.quantized(Quantization::tensor(0.1, 0))?);
    let sum = Add::new(made.clone(), graph.tensor_type(three)?.clone(), output()?).build()?;
    let sum = graph.add(sum, &[x, three])?;
    let clipped = Table::from_function(graph.tensor_type(sum)?.clone(), &output()?, |x| x.clamp(0.0, 6.0))?;
    let clipped = graph.add(clipped, &[sum])?;
    let product = Multiply::new(made, graph.tensor_type(clipped)?.clone(), output()?).build()?;
    let product = graph.add(product, &[x, clipped])?;
    // Through real numbers.
    let reals = graph.add(Dequantize::new(graph.tensor_type(product)?.clone()).build()?, &[product])?;
    let real_type = graph.tensor_type(reals)?.clone();
    let tanh = graph.add(FloatUnary::new(real_type.clone(), Function::Tanh)?, &[reals])?;
    let codes = TensorType::new(DType::Int8, real_type.dims())?.quantized(Quantization::tensor(0.01, -3))?;
    let y = graph.add(Quantize::new(real_type, codes).build()?, &[tanh])?;
    graph.output(y);
    graph.output(image);
    graph.output(y);
    let plan = context.plan(&graph, Tuner::FirstGuess)?;
    assert_eq!(plan.launches(), 3, "a convolution and two copies\n{plan}");
    let host = random.codes(DType::Uint8, &[1, 5, 5, 3]).quantized(Quantization::tensor(0.1, 120))?;
    let (got, expected) = (plan.run_blocking(&[&host])?, graph.run_reference(&[&host])?);
    assert_eq!(got, expected);
    assert_eq!((&got[0], &got[1]), (&got[2], &host));

    // A constant counts under the scale that it is given there.
    let mut other = Graph::new();
    let x = other.input(made_of(DType::Int8, 0.1)?);
    let half = other.constant(Tensor::new([1], vec![40i8])?.quantized(Quantization::tensor(0.1, 0))?);
    let half = other.rescaled(half, Quantization::tensor(0.0125, 0))?;
    let types = (other.tensor_type(x)?.clone(), other.tensor_type(half)?.clone());
    let y =
        other.add(Multiply::new(types.0, types.1, Requantization::new(DType::Int8, 0.1, 0)?).build()?, &[x, half])?;
    other.output(y);
    let codes = Tensor::new([4], vec![-100i8, -2, 4, 100])?.quantized(Quantization::tensor(0.1, 0))?;
    let expected = other.run_reference(&[&codes])?;
    assert_eq!(expected[0].codes()?, [-50, -1, 2, 50]);
    assert_eq!(context.plan(&other, Tuner::FirstGuess)?.run_blocking(&[&codes])?, expected);

    // What another op reads is kept.
    graph.output(clipped);
    let plan = context.plan(&graph, Tuner::FirstGuess)?;
    assert_eq!(plan.launches(), 5, "a convolution, two tables, and two copies\n{plan}");
    assert_eq!(plan.run_blocking(&[&host])?, graph.run_reference(&[&host])?);
    Ok(())
}

/// A chain of any length is planned: of a long one the end is a table, or none of it.
#[test]
fn long_chains_are_planned() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let codes = made_of(DType::Int8, 0.5)?;
    let reals = TensorType::float32([4])?;
    let mut graph = Graph::new();
    let x = graph.input(codes.clone());
    let mut y = graph.add(Dequantize::new(codes.clone()).build()?, &[x])?;
    for _ in 0..300 {
        y = graph.add(FloatUnary::new(reals.clone(), Function::Negate)?, &[y])?;
    }
    let y = graph.add(Quantize::new(reals, codes).build()?, &[y])?;
    graph.output(y);
    let plan = context.plan(&graph, Tuner::FirstGuess)?;
    let host = Tensor::new([4], vec![-128i8, -1, 0, 127])?.quantized(Quantization::tensor(0.5, 0))?;
    assert_eq!(plan.run_blocking(&[&host])?[0].codes()?, [-128, -1, 0, 127]);
    Ok(())
}
