//! Several extents in a graph, in any dimension: every combination of sizes equals the reference, and wrong calls name the extent.
//! One extent in the first dimension is in tests/plans.rs, random ops with two in tests/draws.rs.

mod common;

use common::{Random, context, wait};
use lowbit::ops::{
    Append, Arithmetic, Attention, Concat, Conv, FloatBinary, FloatMatmul, FloatUnary, Function, LayerNorm, Linear,
    Matmul, Op, Output, Padding, Quantize, Reduce, Reduction, Requantization, Reshape, Slice, Softmax, Transpose,
};
use lowbit::weights::{Codes, PackedWeights, ScaleFormat, WeightFormat};
use lowbit::{
    Context, DType, DeviceLimits, DeviceTensor, Graph, Plan, Quantization, Result, Tensor, TensorType, Tuner, Value,
};

fn floats(random: &mut Random, dims: &[usize]) -> Result<Tensor> {
    Tensor::new(dims, (0..dims.iter().product()).map(|_| random.real()).collect::<Vec<f32>>())
}

fn says<T>(result: Result<T>, parts: &[&str]) {
    let Err(error) = result else { panic!("no refusal that says {parts:?}") };
    let message = error.to_string();
    assert!(parts.iter().all(|part| message.contains(part)), "{message}, but {parts:?}");
}

/// Adds an op of the type of its input.
fn apply<T: Into<Op>>(graph: &mut Graph, x: Value, op: impl FnOnce(TensorType) -> Result<T>) -> Result<Value> {
    let op = op(graph.tensor_type(x)?.clone())?;
    graph.add(op, &[x])
}

/// Binds a plan to inputs and compares what it makes with the reference. Returns the number of launches.
fn check(context: &Context, plan: &Plan, inputs: &[Tensor], name: &str) -> Result<usize> {
    let uploaded = inputs.iter().map(|tensor| context.upload(tensor)).collect::<Result<Vec<_>>>()?;
    let types: Vec<&TensorType> = inputs.iter().map(Tensor::tensor_type).collect();
    let outputs = plan.output_types_for(&types)?.into_iter().map(|t| DeviceTensor::allocate(context, t));
    let outputs = outputs.collect::<Result<Vec<_>>>()?;
    let bindings = plan.bind(&uploaded.iter().collect::<Vec<_>>(), &outputs.iter().collect::<Vec<_>>())?;
    let report = wait(plan.verify(&bindings))?;
    assert!(report.first_wrong_op.is_none(), "{name}: {report}\n{bindings}");
    let bad = report.outputs.iter().find(|output| output.different > 0);
    assert!(bad.is_none(), "{name}: {report}\n{bindings}");
    Ok(bindings.launches())
}

/// uint8 images and float rows, which don't meet. Inputs: images, rows.
fn apart() -> Result<Graph> {
    let mut graph = Graph::new();
    let (images, tokens) = (graph.extent("images", 3)?, graph.extent("tokens", 9)?);
    let codes = TensorType::new(DType::Uint8, [3, 5, 6, 4])?.quantized(Quantization::tensor(0.5, 3))?;
    let rows = TensorType::float32([18, 7])?;
    let x = graph.dynamic_input(codes.clone(), [(0, images)])?;
    let y = graph.dynamic_input(rows, [(0, tokens)])?;
    graph.name(y, "rows")?;
    let filter = Tensor::new([8, 3, 3, 4], vec![2i8; 288])?.quantized(Quantization::tensor(0.25, 0))?;
    let stage = Requantization::new(DType::Uint8, 30.0, 3)?;
    let conv = Conv::new(codes, filter).padding(Padding::SameUpper).output(stage).build()?;
    let x = graph.add(conv, &[x])?;
    let y = apply(&mut graph, y, |t| FloatUnary::new(t, Function::Relu))?;
    let stage = TensorType::new(DType::Int8, [18, 7])?.quantized(Quantization::tensor(0.02, 0))?;
    let y = apply(&mut graph, y, |t| Quantize::new(t, stage).build())?;
    [x, y].into_iter().for_each(|value| graph.output(value));
    Ok(graph)
}

#[test]
fn images_beside_tokens() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(21_401);
    let graph = apart()?;
    assert_eq!(graph.extents().collect::<Vec<_>>(), [("images", 3), ("tokens", 9)]);
    let plan = context.plan(&graph, Tuner::FirstGuess)?;
    for (images, tokens) in (0..=3).flat_map(|images| [0, 1, 2, 8, 9].map(|tokens| (images, tokens))) {
        let codes = random.codes(DType::Uint8, &[images, 5, 6, 4]).quantized(Quantization::tensor(0.5, 3))?;
        let inputs = [codes, floats(&mut random, &[2 * tokens, 7])?];
        let launches = check(&context, &plan, &inputs, &format!("{images} images, {tokens} tokens"))?;
        let at = plan.at(&[("tokens", tokens), ("images", images)])?;
        assert_eq!((at.launches(), at.labels().len()), (launches, launches));
        assert_eq!(at.output_types()[1].dims(), [2 * tokens, 7]);
        assert_eq!(at.input_types()[0].dims(), [images, 5, 6, 4]);
        assert_eq!(at.to_string().lines().count(), launches);
        let exported = at.export()?;
        assert_eq!((exported.inputs[1].dims[0], exported.launches.len()), (2 * tokens, launches));
        let alone = graph.fixed(&[("tokens", tokens), ("images", images)])?.export(&DeviceLimits::default())?;
        assert_eq!(alone.inputs[1].dims, [2 * tokens, 7]);
    }
    // What isn't named is at its largest.
    assert_eq!(plan.at(&[("images", 1)])?.output_types()[1].dims(), [18, 7]);
    assert_eq!(plan.at(&[])?.to_string(), plan.to_string().rsplit_once("workspace").expect("its last line").0);
    Ok(())
}

/// Sequences of tokens, `[sequences, tokens, 8]`: both extents in one tensor, in inner dimensions of others, multiplied and moved.
fn sequences() -> Result<Graph> {
    let mut graph = Graph::new();
    let (s, t) = (graph.extent("sequences", 3)?, graph.extent("tokens", 5)?);
    let x = graph.dynamic_input(TensorType::float32([3, 5, 8])?, [(0, s), (1, t)])?;
    let mask = graph.dynamic_input(TensorType::float32([5])?, [(0, t)])?;
    let small = apply(&mut graph, x, |x| FloatUnary::new(x, Function::Relu))?;
    // Rows of all sequences as one matrix, and back.
    let flat = graph.reshape(small, [15, 8])?;
    let back = graph.reshape(flat, [3, 5, 8])?;
    let turned = apply(&mut graph, back, |x| Transpose::new(x, [0, 2, 1]))?; // [sequences, 8, tokens]
    let [a, b] = [turned, mask].map(|value| graph.tensor_type(value).cloned());
    let masked = graph.add(FloatBinary::new(a?, b?, Arithmetic::Add)?, &[turned, mask])?;
    let most = apply(&mut graph, masked, |x| Reduce::new(x, [2], Reduction::Max))?; // [sequences, 8, 1]
    let swapped = apply(&mut graph, masked, |x| Transpose::new(x, [2, 0, 1]))?; // [tokens, sequences, 8]
    let moved = apply(&mut graph, swapped, |x| Reshape::new(x, [5, 24]))?; // [tokens, 8 sequences]
    let a = graph.tensor_type(masked)?.clone();
    let joined = graph.add(Concat::new([a.clone(), a], 2).build()?, &[masked, masked])?; // [sequences, 8, 2 tokens]
    let part = apply(&mut graph, joined, |x| Slice::new(x, [0, 2, 0], [3, 4, 10]).build())?;
    [flat, most, moved, part].into_iter().for_each(|value| graph.output(value));
    Ok(graph)
}

#[test]
fn sequences_of_tokens() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(21_402);
    let graph = sequences()?;
    let plan = context.plan(&graph, Tuner::FirstGuess)?;
    for (s, t) in (0..=3).flat_map(|s| (1..=5).map(move |t| (s, t))) {
        let inputs = [floats(&mut random, &[s, t, 8])?, floats(&mut random, &[t])?];
        check(&context, &plan, &inputs, &format!("{s} sequences of {t}"))?;
        let dims: Vec<Vec<usize>> =
            plan.at(&[("sequences", s), ("tokens", t)])?.output_types().iter().map(|t| t.dims().to_vec()).collect();
        assert_eq!(dims, [vec![s * t, 8], vec![s, 8, 1], vec![t, 8 * s], vec![s, 4, 2 * t]]);
    }
    // The maximum of no tokens is refused by its op, at any number of sequences.
    says(plan.at(&[("tokens", 0)]), &["no elements to be reduced"]);
    says(graph.run_reference(&[&floats(&mut random, &[2, 0, 8])?, &floats(&mut random, &[0])?]), &["no elements"]);
    Ok(())
}

/// Scores of `[tokens, positions]` with a mask of both, and attention over caches beside a batch of rows.
#[test]
fn masks_of_tokens_and_positions() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(21_403);
    let mut graph = Graph::new();
    let (tokens, positions) = (graph.extent("tokens", 6)?, graph.extent("positions", 20)?);
    let query = graph.dynamic_input(TensorType::float32([6, 4, 8])?, [(0, tokens)])?;
    let cache = TensorType::float32([20, 2, 8])?;
    let keys = graph.dynamic_input(cache.clone(), [(0, positions)])?;
    let values = graph.dynamic_input(cache.clone(), [(0, positions)])?;
    let start = graph.input(TensorType::int32([1])?);
    let mask = graph.dynamic_input(TensorType::float32([6, 20])?, [(0, tokens), (1, positions)])?;
    let attention = Attention::new(TensorType::float32([6, 4, 8])?, cache.clone(), cache);
    let attention = attention.mask(TensorType::float32([6, 20])?).build()?;
    let mixed = graph.add(attention, &[query, keys, values, start, mask])?;
    graph.output(mixed);
    let plan = context.plan(&graph, Tuner::FirstGuess)?;
    for (tokens, positions) in [0, 1, 5, 6].into_iter().flat_map(|t| [1, 7, 19, 20].map(|p| (t, p))) {
        let hidden = (0..tokens * positions).map(|i| if i % 3 == 1 { f32::NEG_INFINITY } else { 0.5 });
        let inputs = [
            floats(&mut random, &[tokens, 4, 8])?,
            floats(&mut random, &[positions, 2, 8])?,
            floats(&mut random, &[positions, 2, 8])?,
            Tensor::new([1], vec![positions.saturating_sub(tokens) as i32])?,
            Tensor::new([tokens, positions], hidden.collect::<Vec<f32>>())?,
        ];
        let inputs: Vec<&Tensor> = inputs.iter().collect();
        let fixed = graph.fixed(&[("tokens", tokens), ("positions", positions)])?;
        let op = fixed.ops().next().expect("one").clone();
        common::check_outputs(&format!("{tokens} of {positions}"), &op, &inputs, &wait(plan.run(&inputs))?)?;
    }
    Ok(())
}

/// Products of which an extent is m, n and k, and weights whose rows are few or many.
#[test]
fn products_over_extents() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(21_404);
    let mut graph = Graph::new();
    let extents = [("m", 9), ("n", 40), ("k", 33)].map(|(name, most)| graph.extent(name, most));
    let [m, n, k] = extents;
    let (m, n, k) = (m?, n?, k?);
    let [a, b] = [TensorType::float32([9, 33])?, TensorType::float32([33, 40])?];
    let x = graph.dynamic_input(a.clone(), [(0, m), (1, k)])?;
    let y = graph.dynamic_input(b.clone(), [(0, k), (1, n)])?;
    let product = graph.add(FloatMatmul::new(a, b).build()?, &[x, y])?;
    graph.output(product);
    let plan = context.plan(&graph, Tuner::FirstGuess)?;
    for [m, n, k] in [[9, 40, 33], [1, 40, 1], [9, 1, 16], [2, 17, 0], [0, 3, 5], [8, 39, 32], [1, 1, 33]] {
        // Small integers have exact sums in any order.
        let mut whole = |dims: &[usize]| {
            let numbers = (0..dims.iter().product()).map(|_| random.integer(-9, 9) as f32);
            Tensor::new(dims, numbers.collect::<Vec<f32>>())
        };
        let (x, y) = (whole(&[m, k])?, whole(&[k, n])?);
        assert_eq!(wait(plan.run(&[&x, &y]))?, graph.run_reference(&[&x, &y])?, "m = {m}, n = {n}, k = {k}");
    }
    Ok(())
}

/// A state beside two extents: each token of two streams changes the caches in place, and bindings are used again.
#[test]
fn states_beside_extents() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(21_405);
    let mut graph = Graph::new();
    let (a, b) = (graph.extent("first", 4)?, graph.extent("second", 4)?);
    let rows = TensorType::float32([4, 3])?;
    let inputs = [graph.dynamic_input(rows.clone(), [(0, a)])?, graph.dynamic_input(rows.clone(), [(0, b)])?];
    let position = graph.input(TensorType::int32([1])?);
    let cache = TensorType::float32([16, 3])?;
    for x in inputs {
        let state = graph.state(cache.clone());
        let written = graph.add(Append::new(cache.clone(), rows.clone())?, &[state, x, position])?;
        let sum = apply(&mut graph, written, |t| Reduce::new(t, [0], Reduction::Max))?;
        graph.output(sum);
    }
    let plan = context.plan(&graph, Tuner::FirstGuess)?;
    let zeros = Tensor::new([16, 3], vec![0.0f32; 48])?;
    let states = [context.upload(&zeros)?, context.upload(&zeros)?];
    let mut expected = [zeros.clone(), zeros];
    for (step, sizes) in [[4, 1], [1, 4], [4, 1], [0, 2], [1, 4]].into_iter().enumerate() {
        let x = sizes.map(|n| floats(&mut random, &[n, 3]));
        let [x, y] = [&x[0], &x[1]].map(|x| x.as_ref().expect("rows"));
        let at = Tensor::new([1], vec![3 * step as i32])?;
        let wanted = graph.run_reference(&[x, y, &at, &expected[0], &expected[1]])?;
        let uploaded = [context.upload(x)?, context.upload(y)?, context.upload(&at)?];
        let given = [&uploaded[0], &uploaded[1], &uploaded[2], &states[0], &states[1]];
        let outputs = plan.run_on_device(&given)?;
        for (output, wanted) in outputs.iter().chain(&states).zip(&wanted) {
            assert_eq!(context.download_blocking(output)?, *wanted, "step {step}");
        }
        expected = [wanted[2].clone(), wanted[3].clone()];
    }
    Ok(())
}

/// Bindings of several sizes live side by side, and recording them again compiles and allocates nothing.
#[test]
fn bindings_of_other_sizes_stay() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(21_406);
    let graph = sequences()?;
    let plan = context.plan(&graph, Tuner::FirstGuess)?;
    let mut bound = Vec::new();
    for (s, t) in [(3, 5), (1, 2), (2, 5), (1, 5)] {
        let at = plan.at(&[("sequences", s), ("tokens", t)])?;
        wait(at.warm_up())?;
        let inputs = [floats(&mut random, &[s, t, 8])?, floats(&mut random, &[t])?];
        let outputs = at.output_types().iter().map(|t| DeviceTensor::allocate(&context, t.clone()));
        let outputs = outputs.collect::<Result<Vec<_>>>()?;
        let uploaded = [context.upload(&inputs[0])?, context.upload(&inputs[1])?];
        let compiled = context.counters().pipelines;
        let bindings = at.bind(&[&uploaded[0], &uploaded[1]], &outputs.iter().collect::<Vec<_>>())?;
        assert_eq!(context.counters().pipelines, compiled, "what is warm");
        bound.push((inputs, outputs, bindings));
    }
    let before = context.counters();
    for _ in 0..3 {
        let mut encoder = context.device().create_command_encoder(&Default::default());
        for (.., bindings) in &bound {
            plan.record(&mut encoder, bindings)?;
        }
        context.queue().submit([encoder.finish()]);
    }
    let after = context.counters();
    assert_eq!((before.buffers, before.pipelines), (after.buffers, after.pipelines));
    for (inputs, outputs, _) in &bound {
        let expected = graph.run_reference(&[&inputs[0], &inputs[1]])?;
        for (output, expected) in outputs.iter().zip(&expected) {
            assert_eq!(context.download_blocking(output)?, *expected);
        }
    }
    Ok(())
}

#[test]
fn declarations_are_checked() -> Result<()> {
    let mut graph = Graph::new();
    let tokens = graph.extent("tokens", 6)?;
    says(graph.extent("tokens", 3), &["an extent tokens already"]);
    says(graph.extent("", 3), &["no name"]);
    says(graph.extent("none", 0), &["none is at most 0"]);
    let rows = TensorType::float32([6, 4])?;
    let foreign = Graph::new().extent("rows", 6)?;
    says(graph.dynamic_input(rows.clone(), [(0, foreign)]), &["another graph"]);
    says(graph.dynamic_input(rows.clone(), []), &["no dimension", "Graph::input"]);
    says(graph.dynamic_input(rows.clone(), [(2, tokens)]), &["dimension 2", "tokens", "2 dimensions"]);
    says(graph.dynamic_input(rows.clone(), [(1, tokens)]), &["dimension 1", "is 4", "tokens is at most 6"]);
    says(graph.dynamic_input(rows.clone(), [(0, tokens), (0, tokens)]), &["dimension 0", "two extents"]);
    let scaled = TensorType::new(DType::Int8, [6, 6])?.quantized(Quantization::symmetric_axis(1, vec![0.5; 6]))?;
    says(graph.dynamic_input(scaled, [(1, tokens)]), &["along dimension 1"]);
    says(graph.fixed(&[("token", 3)]), &["no extent token", "tokens"]);
    says(graph.fixed(&[("tokens", 7)]), &["tokens is to be 7", "at most 6"]);
    says(graph.fixed(&[("tokens", 1), ("tokens", 2)]), &["tokens is asked for twice"]);
    Ok(())
}

/// What an op can't bear is refused when it is added, with the op, the extent and the dimension.
#[test]
fn ops_that_cannot_follow_say_so() -> Result<()> {
    let mut random = Random::new(21_407);
    let mut graph = Graph::new();
    let (tokens, images) = (graph.extent("tokens", 6)?, graph.extent("images", 6)?);
    let square = TensorType::float32([6, 6])?;
    let rows = graph.dynamic_input(square.clone(), [(0, tokens)])?;
    let other = graph.dynamic_input(square.clone(), [(0, images)])?;
    let inner = graph.dynamic_input(square.clone(), [(1, tokens)])?;
    // Equal at the largest only.
    let sum = FloatBinary::new(square.clone(), square.clone(), Arithmetic::Add)?;
    says(graph.add(sum, &[rows, other]), &["float_binary can't follow tokens", "do not broadcast"]);
    let product = FloatMatmul::new(square.clone(), square.clone()).build()?;
    says(graph.add(product, &[inner, other]), &["can't follow tokens"]);
    let ones = Tensor::new([6], vec![1.0f32; 6])?;
    says(apply(&mut graph, inner, |t| LayerNorm::new(t, ones, 1e-5).build()), &["can't follow tokens", "row"]);
    let format = WeightFormat::new(Codes::INT4, 32, ScaleFormat::F16);
    let weights = PackedWeights::bound(format, [1, 8, 32])?;
    let words = graph.input(weights.word_type()?);
    let deep = graph.extent("deep", 32)?;
    let x = graph.dynamic_input(TensorType::float32([2, 32])?, [(1, deep)])?;
    let linear = Linear::new(TensorType::float32([2, 32])?, weights).build()?;
    says(graph.add(linear, &[x, words]), &["linear can't follow deep", "k = "]);
    // A part of an axis, at any place of it.
    says(apply(&mut graph, inner, |t| Slice::new(t, [0, 0], [6, 5]).build()), &["slice can't follow tokens", "axis 1"]);
    // Rows of all sizes, but not in proportion.
    let fixed = graph.input(square.clone());
    let longer = Concat::new([square.clone(), square.clone()], 0).build()?;
    says(graph.add(longer, &[rows, fixed]), &["concat makes", "dimension 0", "in proportion to tokens"]);
    // The height of an image.
    let image = TensorType::float32([6, 6, 6, 1])?;
    let codes = TensorType::new(DType::Int8, [6, 6, 6, 1])?.quantized(Quantization::tensor(0.5, 0))?;
    let high = graph.dynamic_input(codes.clone(), [(1, tokens)])?;
    let conv = Conv::new(codes, random.quantized(DType::Int8, &[2, 3, 3, 1])).build()?;
    says(graph.add(conv, &[high]), &["conv can't follow tokens", "number of images"]);
    // Rows of codes are padded: only rows of dense length can be seen otherwise.
    let bytes = TensorType::new(DType::Int8, [6, 16, 6])?.quantized(Quantization::tensor(0.5, 0))?;
    let bytes = graph.dynamic_input(bytes, [(2, tokens)])?;
    says(graph.reshape(bytes, [96, 6]).and_then(|x| graph.reshape(x, [6, 96])), &["in place"]);
    let pixels = graph.dynamic_input(image, [(0, tokens)])?;
    says(graph.reshape(pixels, [27, 8]), &["[tokens, 6, 6, 1]", "no dimension is a multiple of tokens"]);
    // k of a product of codes.
    let codes = TensorType::new(DType::Int8, [6, 6])?.quantized(Quantization::tensor(0.5, 0))?;
    let x = graph.dynamic_input(codes.clone(), [(1, tokens)])?;
    let product = Matmul::new(codes, random.quantized(DType::Int8, &[6, 3])).output(Output::real()).build()?;
    says(graph.add(product, &[x]), &["matmul can't follow tokens", "k = 6"]);
    // Every row of a softmax may be as long as it likes.
    apply(&mut graph, inner, |t| Softmax::new(t).build()).map(drop)
}

#[test]
fn sizes_that_differ_are_named() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let plan = context.plan(&apart()?, Tuner::FirstGuess)?;
    let codes = |dims: [usize; 4]| TensorType::new(DType::Uint8, dims)?.quantized(Quantization::tensor(0.5, 3));
    let rows = |dims: &[usize]| TensorType::float32(dims);
    let types = |a: &TensorType, b: &TensorType| plan.output_types_for(&[a, b]).map(drop);
    says(types(&codes([4, 5, 6, 4])?, &rows(&[18, 7])?), &["input 0", "dimension 0 is images, which is at most 3"]);
    says(types(&codes([3, 5, 6, 4])?, &rows(&[17, 7])?), &["input 1 (rows)", "2 times tokens, which is at most 9"]);
    says(types(&codes([3, 5, 6, 4])?, &rows(&[20, 7])?), &["input 1 (rows)", "at most 9"]);
    says(types(&codes([3, 4, 6, 4])?, &rows(&[18, 7])?), &["uint8[3, 4, 6, 4]", "uint8[3, 5, 6, 4]"]);
    says(types(&codes([3, 5, 6, 4])?, &rows(&[18, 7, 1])?), &["float32[18, 7, 1]", "float32[18, 7]"]);
    says(plan.output_types_for(&[&codes([3, 5, 6, 4])?]), &["2 inputs, but 1"]);

    let mut graph = Graph::new();
    let tokens = graph.extent("tokens", 9)?;
    let x = graph.dynamic_input(rows(&[9, 2])?, [(0, tokens)])?;
    let fixed = graph.input(rows(&[2])?);
    let y = graph.dynamic_input(rows(&[2, 9])?, [(1, tokens)])?;
    for value in [x, fixed, y] {
        let value = apply(&mut graph, value, |t| FloatUnary::new(t, Function::Relu))?;
        graph.output(value);
    }
    let (x, fixed, y) = (rows(&[5, 2])?, rows(&[2])?, rows(&[2, 7])?);
    let plan = context.plan(&graph, Tuner::FirstGuess)?;
    says(plan.output_types_for(&[&x, &fixed, &y]), &["tokens is 5 in input 0 but 7 in input 2"]);
    let tensors = [x, fixed, rows(&[2, 5])?].map(|t| DeviceTensor::allocate(&context, t));
    let [x, fixed, y] = &tensors;
    let (x, fixed, y) = (x.as_ref().expect("x"), fixed.as_ref().expect("fixed"), y.as_ref().expect("y"));
    let at = plan.at(&[("tokens", 4)])?;
    says(at.bind(&[x, fixed, y], &[x, fixed, y]), &["for tokens 4", "input 0 is float32[5, 2]", "float32[4, 2]"]);
    says(plan.at(&[("images", 1)]), &["no extent images"]);
    says(plan.at(&[("tokens", 10)]), &["tokens is to be 10", "at most 9"]);
    Ok(())
}
