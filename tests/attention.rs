//! Attention over caches, rows appended to them, rotary embedding, and states of graphs: every kernel equals the reference over
//! awkward shapes, and plans change states in place.

mod common;

use common::{
    Random, check_op, check_op_within, check_op_within_in_turn, context, context_with, first_difference, gpu_context,
    tiny_limits,
};
use lowbit::numeric::QuantizationParams;
use lowbit::ops::{
    Append, AppendQuantized, Arithmetic, Attention, AttentionBuilder, Cast, DynamicGranularity, DynamicQuantize,
    Embedding, FloatBinary, Fused, Op, Rotary, RotaryAppend, RotaryPairs,
};
use lowbit::weights::{Codes, GroupParams, PackedWeights, ScaleFormat, WeightFormat};
use lowbit::{
    Context, DType, DeviceTensor, Error, Graph, Quantization, Result, Tensor, TensorType, Tuner, Value, reference,
};

fn floats(random: &mut Random, dims: &[usize]) -> Tensor {
    let count = dims.iter().product::<usize>();
    Tensor::new(dims, (0..count).map(|_| random.real()).collect::<Vec<f32>>()).expect("as many as the dimensions say")
}

fn halves(random: &mut Random, dims: &[usize]) -> Tensor {
    let reals = floats(random, dims);
    let op = Cast::new(reals.tensor_type().clone(), DType::Float16).build().expect("a cast").into();
    reference::run(&op, &[&reals]).expect("a cast").remove(0)
}

fn position(p: i32) -> Tensor {
    Tensor::new([1], vec![p]).expect("one number")
}

/// Queries, heads, heads of the cache, elements of a key and of a value, capacity.
type Shape = [usize; 6];

/// A query, keys and values, and the scales of keys and values if they are codes.
fn tensors(random: &mut Random, shape: Shape, cache: DType) -> Vec<Tensor> {
    tensors_of(random, shape, cache, DynamicGranularity::Row)
}

/// The same with scales of groups.
fn tensors_of(
    random: &mut Random,
    [n, heads, kv_heads, d, value_d, capacity]: Shape,
    cache: DType,
    granularity: DynamicGranularity,
) -> Vec<Tensor> {
    let mut tensors = vec![floats(random, &[n, heads, d])];
    for width in [d, value_d] {
        let dims = [capacity, kv_heads, width];
        tensors.push(match cache {
            DType::Float32 => floats(random, &dims),
            DType::Float16 => halves(random, &dims),
            _ => random.codes(cache, &dims),
        });
    }
    if cache.range().is_some() {
        for i in [1, 2] {
            let cache = tensors[i].tensor_type().clone().with_dynamic_scales();
            let of = granularity.of_cache(&cache).expect("codes");
            let scales = (0..of.shape().elements()).map(|_| params(random.scale(), 0)).collect::<Vec<_>>();
            tensors.push(Tensor::new(of.dims(), scales).expect("one for each position, head and group"));
        }
    }
    tensors
}

fn params(scale: f32, zero_point: i32) -> QuantizationParams {
    QuantizationParams { scale, zero_point }
}

fn builder(tensors: &[Tensor]) -> AttentionBuilder {
    let [query, keys, values] = [0, 1, 2].map(|i| match tensors[i].dtype() {
        DType::Int8 | DType::Int4 => tensors[i].tensor_type().clone().with_dynamic_scales(),
        _ => tensors[i].tensor_type().clone(),
    });
    Attention::new(query, keys, values)
}

/// The inputs at a position. Scales and masks of positions that are not valid are none.
fn inputs(tensors: &[Tensor], p: i32) -> Vec<Tensor> {
    let mut inputs = tensors[..3].to_vec();
    inputs.push(position(p));
    let (n, capacity) = (tensors[0].dims()[0] as i64, tensors[1].dims()[0] as i64);
    let length = (i64::from(p) + n).clamp(0, capacity) as usize;
    for scales in &tensors[3..] {
        if scales.dtype() == DType::Float32 {
            let mut mask = scales.values::<f32>().expect("a mask").to_vec();
            mask.chunks_mut(capacity.max(1) as usize).for_each(|row| row[length..].fill(f32::NAN));
            inputs.push(Tensor::new(scales.dims(), mask).expect("as many as before"));
            continue;
        }
        let mut pairs = scales.values::<QuantizationParams>().expect("parameters").to_vec();
        for (i, pair) in pairs.iter_mut().enumerate().skip(length * scales.dims()[1..].iter().product::<usize>()) {
            *pair = [params(f32::NAN, 0), params(0.0, 77), params(-1.0, i32::MIN), params(f32::INFINITY, 0)][i % 4];
        }
        inputs.push(Tensor::new(scales.dims(), pairs).expect("as many as before"));
    }
    inputs
}

fn check(context: &Context, name: &str, op: Attention, tensors: &[Tensor], p: i32) -> f64 {
    let name = format!("{name}, {}, position {p}", tensors[1].dtype());
    let inputs = inputs(tensors, p);
    // Programs take long to compile, so calls try the candidates in turn.
    check_op_within_in_turn(8, context, &name, &op.into(), &inputs.iter().collect::<Vec<_>>()).1
}

#[test]
fn attention_of_awkward_shapes() -> Result<()> {
    let row = DynamicGranularity::Row;
    let largest = check_shapes(21_001, |turn| (if turn % 3 == 1 { DType::Float16 } else { DType::Float32 }, row))?;
    println!("attention: largest error {largest:.3} of its bound");
    Ok(())
}

#[test]
fn attention_over_codes_of_awkward_shapes() -> Result<()> {
    let largest = check_shapes(21_010, |_| (DType::Int8, DynamicGranularity::Row))?;
    println!("attention over codes: largest error {largest:.3} of its bound");
    Ok(())
}

#[test]
fn attention_over_int4_codes_of_awkward_shapes() -> Result<()> {
    let largest = check_shapes(21_030, |_| (DType::Int4, DynamicGranularity::Row))?;
    println!("attention over int4 codes: largest error {largest:.3} of its bound");
    Ok(())
}

/// Keys of int8 and values of int4, or the reverse.
#[test]
fn attention_over_codes_of_two_widths() -> Result<()> {
    let Some(context) = gpu_context() else { return Ok(()) };
    let mut random = Random::new(21_034);
    for (turn, dtypes) in [[DType::Int8, DType::Int4], [DType::Int4, DType::Int8]].into_iter().enumerate() {
        let granularity = [DynamicGranularity::Row, DynamicGranularity::Group(16)][turn];
        let shape = [3, 6, 2, 40, 36, 150];
        let mut tensors = tensors_of(&mut random, shape, dtypes[0], granularity);
        tensors[2] = random.codes(dtypes[1], &[150, 2, 36]);
        for p in [0, 63, 200] {
            let op = builder(&tensors).scales(granularity).causal().build()?;
            check(&context, "two widths", op, &tensors, p);
        }
    }
    Ok(())
}

/// The last group of a row may be shorter, and a group may be longer than a row.
#[test]
fn attention_over_groups_of_awkward_shapes() -> Result<()> {
    let sizes = [32, 8, 64, 24, 1024];
    let largest = check_shapes(21_031, |turn| {
        ([DType::Int4, DType::Int8][turn / 2 % 2], DynamicGranularity::Group(sizes[turn % 5]))
    })?;
    println!("attention over groups of codes: largest error {largest:.3} of its bound");
    Ok(())
}

/// Checks awkward shapes over caches of a data type for each. Returns the largest error relative to its bound.
fn check_shapes(seed: u64, cache: impl Fn(usize) -> (DType, DynamicGranularity)) -> Result<f64> {
    // A GPU's kernels divide caches into slices.
    let Some(context) = gpu_context() else { return Ok(0.0) };
    let mut random = Random::new(seed);
    let mut worst = 0.0f64;
    let shapes: [Shape; 13] = [
        [1, 1, 1, 1, 1, 1],
        [1, 1, 1, 32, 32, 7],
        [1, 9, 3, 64, 64, 200],
        [3, 4, 4, 80, 80, 65],
        [33, 2, 1, 96, 96, 70],
        [2, 71, 71, 5, 3, 130],
        [1, 8, 1, 128, 128, 513],
        [1, 2, 1, 256, 256, 300],
        [7, 6, 2, 33, 34, 129],
        [17, 3, 3, 7, 64, 64],
        [1, 5, 1, 12, 300, 90],
        [5, 16, 2, 16, 16, 1],
        [4, 0, 1, 8, 8, 8],
    ];
    for (turn, shape) in shapes.into_iter().enumerate() {
        let (n, capacity) = (shape[0] as i32, shape[5] as i32);
        let (dtype, granularity) = cache(turn);
        let tensors = tensors_of(&mut random, shape, dtype, granularity);
        let builder = || match dtype.range() {
            Some(_) => builder(&tensors).scales(granularity),
            None => builder(&tensors),
        };
        // Empty, one, around blocks, full, and beyond both ends.
        let all = [-n, 1 - n, 0, 1, 63, 64, capacity - n, capacity, capacity + 5, i32::MIN, i32::MAX];
        for p in (0..2).map(|i| all[(turn * 2 + i * 5) % all.len()]) {
            let name = format!("{shape:?}");
            worst = worst.max(check(&context, &name, builder().causal().build()?, &tensors, p));
            worst = worst.max(check(&context, &name, builder().build()?, &tensors, p));
        }
    }
    Ok(worst)
}

#[test]
fn options_of_attention() -> Result<()> {
    let Some(context) = gpu_context() else { return Ok(()) };
    let mut random = Random::new(21_002);
    for (shape, cache) in [
        ([5, 6, 2, 24, 24, 300], DType::Float32),
        ([1, 4, 1, 40, 8, 270], DType::Float16),
        ([5, 6, 2, 24, 24, 300], DType::Int8),
        ([1, 4, 1, 40, 8, 270], DType::Int8),
    ] {
        let tensors = tensors(&mut random, shape, cache);
        let sinks = floats(&mut random, &[shape[1]]);
        let options = |i: usize| {
            let builder = builder(&tensors);
            match i {
                0 => builder.window(1),
                1 => builder.window(70).scaled(-0.7),
                2 => builder.soft_cap(2.5),
                3 => builder.soft_cap(0.001).scaled(1000.0).causal(),
                4 => builder.sinks(sinks.clone()),
                _ => builder.sinks(sinks.clone()).window(100).soft_cap(30.0).scaled(0.25),
            }
        };
        for i in 0..6 {
            for p in [-3, 130, 1000] {
                check(&context, &format!("{shape:?}, options {i}"), options(i).build()?, &tensors, p);
            }
        }
    }
    Ok(())
}

/// Masks of every shape, over floats and codes, with every option. Some rows are hidden whole, by any of the numbers that hide.
#[test]
fn masks_of_attention() -> Result<()> {
    let Some(context) = gpu_context() else { return Ok(()) };
    let mut random = Random::new(21_032);
    let mut worst = 0.0f64;
    let group = DynamicGranularity::Group(8);
    for (turn, (shape, dtype)) in [
        ([5, 6, 2, 24, 24, 150], DType::Float32),
        ([1, 4, 1, 40, 8, 270], DType::Float16),
        ([5, 6, 2, 24, 36, 70], DType::Int8),
        ([9, 4, 4, 40, 8, 130], DType::Int4),
        ([1, 1, 1, 1, 1, 1], DType::Float32),
    ]
    .into_iter()
    .enumerate()
    {
        let [n, heads, .., capacity] = shape;
        let sinks = floats(&mut random, &[heads]);
        for (i, dims) in [
            vec![n, capacity],
            vec![heads, n, capacity],
            vec![1, n, capacity],
            vec![heads, 1, capacity],
            vec![1, capacity],
        ]
        .into_iter()
        .enumerate()
        .filter(|(i, _)| [turn % 5, (turn + 2) % 5].contains(i))
        {
            let granularity = if i % 2 == 0 { DynamicGranularity::Row } else { group };
            let mut tensors = tensors_of(&mut random, shape, dtype, granularity);
            let mut mask = floats(&mut random, &dims).values::<f32>()?.to_vec();
            for (row, numbers) in mask.chunks_mut(capacity).enumerate() {
                let all = row % 3 == 1;
                for number in numbers {
                    let draw = random.next() % 8;
                    if all || draw < 3 {
                        *number = [f32::NEG_INFINITY, f32::MIN, -1e38, -2e38][random.next() as usize % 4];
                    } else if draw == 3 {
                        *number = random.pick(&[-1e4, -1e9, 50.0, -0.0, 1e-40]);
                    }
                }
            }
            let mask = Tensor::new(&dims[..], mask)?;
            let mut builder = builder(&tensors).mask(mask.tensor_type().clone());
            if dtype.range().is_some() {
                builder = builder.scales(granularity);
            }
            tensors.push(mask);
            let builder = match (turn + i) % 4 {
                0 => builder,
                1 => builder.causal().sinks(sinks.clone()),
                2 => builder.soft_cap(2.5).window(40),
                _ => builder.soft_cap(30.0).sinks(sinks.clone()).scaled(-0.7),
            };
            for p in [-1, 0, 60, capacity as i32] {
                let name = format!("{shape:?}, mask {dims:?}");
                worst = worst.max(check(&context, &name, builder.clone().build()?, &tensors, p));
            }
        }
    }
    println!("masked attention: largest error {worst:.3} of its bound");
    Ok(())
}

/// A causal mask as an input gives what the option gives, in plans whose number of queries is dynamic.
#[test]
fn masks_follow_the_extent() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(21_033);
    let (most, capacity) = (6, 20);
    let tensors = tensors(&mut random, [most, 4, 2, 8, 8, capacity], DType::Float32);
    let types: Vec<TensorType> = tensors.iter().map(|tensor| tensor.tensor_type().clone()).collect();
    let mut graph = Graph::new();
    let tokens = graph.extent("tokens", most)?;
    let query = graph.dynamic_input(types[0].clone(), [(0, tokens)])?;
    let mask = graph.dynamic_input(TensorType::float32([most, capacity])?, [(0, tokens)])?;
    let [keys, values] = [1, 2].map(|i| graph.input(types[i].clone()));
    let p = graph.input(TensorType::new(DType::Int32, [1])?);
    let attention = builder(&tensors).mask(TensorType::float32([most, capacity])?).build()?;
    let out = graph.add(attention, &[query, keys, values, p, mask])?;
    graph.output(out);
    let plan = context.plan(&graph, Tuner::FirstGuess)?;
    for n in [6, 1, 3, 0] {
        let query = floats(&mut random, &[n, 4, 8]);
        let at = 7;
        let hidden = |i: usize| if i % capacity > at + i / capacity { f32::NEG_INFINITY } else { 0.0 };
        let mask = Tensor::new([n, capacity], (0..n * capacity).map(hidden).collect::<Vec<_>>())?;
        let got = common::wait(plan.run(&[&query, &mask, &tensors[1], &tensors[2], &position(at as i32)]))?;
        let causal: Op =
            Attention::new(query.tensor_type().clone(), types[1].clone(), types[2].clone()).causal().build()?.into();
        let inputs = [&query, &tensors[1], &tensors[2], &position(at as i32)];
        common::check_outputs(&format!("{n} queries"), &causal, &inputs, &got)?;
    }
    // A mask of heads is for one number of queries.
    let mut graph = Graph::new();
    let tokens = graph.extent("tokens", most)?;
    let query = graph.dynamic_input(types[0].clone(), [(0, tokens)])?;
    let [keys, values] = [1, 2].map(|i| graph.input(types[i].clone()));
    let p = graph.input(TensorType::new(DType::Int32, [1])?);
    let of_heads = TensorType::float32([4, most, capacity])?;
    let mask = graph.input(of_heads.clone());
    let attention = builder(&tensors).mask(of_heads).build()?;
    says(graph.add(attention, &[query, keys, values, p, mask]), &["the mask is float32[4, 6, 20]"]);
    Ok(())
}

/// Scores far apart: the greatest may come last, and powers underflow.
#[test]
fn attention_of_far_scores() -> Result<()> {
    let Some(context) = gpu_context() else { return Ok(()) };
    let mut random = Random::new(21_003);
    let shape = [2, 2, 1, 8, 8, 260];
    let [query, _, values] = &tensors(&mut random, shape, DType::Float32)[..] else { panic!("three tensors") };
    for grows in [1.0f32, -1.0] {
        let keys = (0..260 * 8).map(|i| grows * (i / 8) as f32 * 0.2).collect::<Vec<f32>>();
        let tensors = [query.clone(), Tensor::new([260, 1, 8], keys)?, values.clone()];
        for p in [0, 100, 258] {
            check(&context, "far scores", builder(&tensors).scaled(3.0).build()?, &tensors, p);
        }
    }
    Ok(())
}

/// Parameters, of which some are no scales: nobody has filled them.
/// Attention whose launch quantizes its output, alone and as a planner finds it, in groups of a head.
#[test]
fn attention_is_quantized() -> Result<()> {
    let mut random = Random::new(21_033);
    let mut worst = 0.0f64;
    // Slices of long contexts, several rows, heads whose codes end within a vec4, and more quads than a workgroup has lanes.
    let cases: [(Shape, usize, i32); 7] = [
        ([1, 9, 3, 64, 64, 40], 32, 38),
        ([1, 9, 3, 64, 64, 3000], 32, 777),
        ([5, 3, 3, 8, 12, 20], 4, 3),
        ([5, 3, 3, 8, 12, 20], 12, -9),
        ([33, 2, 1, 32, 32, 64], 8, 64),
        ([2, 1, 1, 4, 264, 9], 88, 5),
        ([2, 71, 71, 1, 4, 9], 4, 0),
    ];
    let tiny = context_with(Some(tiny_limits()));
    for context in [context(), gpu_context(), tiny].into_iter().flatten() {
        for (turn, (shape, group, p)) in cases.into_iter().enumerate() {
            let [n, heads, .., width, _] = shape;
            let cache = [DType::Float32, DType::Int8, DType::Float16][turn % 3];
            let tensors = tensors(&mut random, shape, cache);
            let rows = TensorType::float32([n, heads * width])?;
            let granularity = DynamicGranularity::Group(group);
            let codes = DynamicQuantize::new(rows.clone(), DType::Int8, granularity).symmetric().build()?;
            let attention = builder(&tensors).causal().build()?;
            let op: Op = Fused::new(attention.clone().into(), codes.clone().into(), 0)?.into();
            let name = format!("{shape:?} of {cache}, groups of {group}, position {p}");
            let inputs = inputs(&tensors, p);
            let inputs: Vec<&Tensor> = inputs.iter().collect();
            worst = worst.max(check_op_within(&context, &name, &op, &inputs).1);

            let mut graph = Graph::new();
            let values: Vec<Value> = op.inputs().into_iter().map(|of| graph.input(of)).collect();
            let mixed = graph.add(attention.clone(), &values)?;
            let mixed = graph.reshape(mixed, [n, heads * width])?;
            for value in graph.add_all(codes, &[mixed])? {
                graph.output(value);
            }
            let plan = context.plan(&graph, Tuner::FirstGuess)?;
            let alone = context.plan(&Graph::of(op.clone())?, Tuner::FirstGuess)?;
            assert_eq!(plan.labels().collect::<Vec<_>>(), alone.labels().collect::<Vec<_>>(), "{name}");
            common::check_outputs(&name, &op, &inputs, &common::wait(plan.run(&inputs))?)?;
        }
    }
    println!("attention that is quantized: largest error {worst:.3} of its bound");
    // One that has a launch for positions, and no other for the codes.
    let tensors = tensors(&mut random, cases[0].0, DType::Float32);
    let attention: Op = builder(&tensors).causal().build()?.into();
    let codes = |granularity| {
        DynamicQuantize::new(TensorType::float32([1, 9 * 64])?, DType::Int8, granularity).symmetric().build()
    };
    let op = Fused::new(attention.clone(), codes(DynamicGranularity::Group(32))?.into(), 0)?.into();
    if let Some(context) = gpu_context() {
        let launches: Vec<usize> = lowbit::kernels::candidates(&op, &context.caps())
            .iter()
            .map(|candidate| candidate.dispatches.len())
            .collect();
        assert!(launches.contains(&1) && launches.contains(&2), "{launches:?}");
    }
    for other in [DynamicGranularity::Row, DynamicGranularity::Group(48), DynamicGranularity::Group(128)] {
        let error = Fused::new(attention.clone(), codes(other)?.into(), 0).expect_err("no such launch").to_string();
        assert!(error.contains("can't be followed"), "{error}");
    }
    Ok(())
}

/// A write to a cache between attention and the quantization of its output keeps them apart.
#[test]
fn a_write_keeps_attention_apart() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(21_034);
    let tensors = tensors(&mut random, [1, 2, 2, 8, 8, 6], DType::Float32);
    let attention = builder(&tensors).build()?;
    let rows = TensorType::float32([1, 2, 8])?;
    let codes = DynamicQuantize::new(TensorType::float32([1, 16])?, DType::Int8, DynamicGranularity::Group(8));
    let mut graph = Graph::new();
    let [query, at] = [graph.input(rows.clone()), graph.input(TensorType::new(DType::Int32, [1])?)];
    let keys = graph.state(tensors[1].tensor_type().clone());
    let values = graph.input(tensors[2].tensor_type().clone());
    let mixed = graph.add(attention, &[query, keys, values, at])?;
    let append = Append::new(tensors[1].tensor_type().clone(), rows)?;
    let keys = graph.add(append, &[keys, query, at])?;
    let mixed = graph.reshape(mixed, [1, 16])?;
    for value in graph.add_all(codes.symmetric().build()?, &[mixed])? {
        graph.output(value);
    }
    graph.output(keys);
    let inputs = [&tensors[0], &position(2), &tensors[1], &tensors[2]];
    let expected = graph.run_reference(&inputs)?;
    let got = context.plan(&graph, Tuner::FirstGuess)?.run_blocking(&inputs)?;
    assert_eq!(got[2], expected[2]);
    let codes = |tensor: &Tensor| tensor.values::<i8>().map(<[i8]>::to_vec);
    let (got, expected) = (codes(&got[0])?, codes(&expected[0])?);
    assert!(got.iter().zip(&expected).all(|(a, b)| a.abs_diff(*b) <= 1), "{got:?} {expected:?}");
    Ok(())
}

fn pairs(random: &mut Random, dims: &[usize]) -> Tensor {
    let mut pair = || params([random.scale(), 0.0, -1.0][random.next() as usize % 3], random.next() as i32);
    let count = dims.iter().product::<usize>();
    Tensor::new(dims, (0..count).map(|_| pair()).collect::<Vec<_>>()).expect("as many as the dimensions say")
}

#[test]
fn rows_are_appended() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(21_004);
    for (capacity, n, rest) in
        [(1, 1, vec![1]), (7, 3, vec![2, 5]), (70, 33, vec![3]), (9, 0, vec![4]), (5, 5, vec![16])]
    {
        for dtype in [DType::Float32, DType::Float16, DType::Int8, DType::Int4, DType::Parameters] {
            let dims = |first: usize| [&[first], &rest[..]].concat();
            let mut draw = |first: usize| match dtype {
                DType::Float32 => floats(&mut random, &dims(first)),
                DType::Float16 => halves(&mut random, &dims(first)),
                DType::Parameters => pairs(&mut random, &dims(first)),
                _ => random.codes(dtype, &dims(first)),
            };
            let (cache, rows) = (draw(capacity), draw(n));
            let op: Op = Append::new(cache.tensor_type().clone(), rows.tensor_type().clone())?.into();
            let (n, capacity) = (n as i32, capacity as i32);
            for p in [0, 1, capacity - n, capacity - 1, capacity, -1, -n, i32::MAX, i32::MIN] {
                check_op(&context, &format!("{} at {p}", cache.tensor_type()), &op, &[&cache, &rows, &position(p)]);
            }
        }
        if rest == [1] {
            // One dimension.
            let (cache, rows) = (pairs(&mut random, &[capacity]), pairs(&mut random, &[n]));
            let op: Op = Append::new(cache.tensor_type().clone(), rows.tensor_type().clone())?.into();
            for p in [0, capacity as i32 - 1, -1] {
                check_op(&context, &format!("pairs at {p}"), &op, &[&cache, &rows, &position(p)]);
            }
        }
        // Numbers are rounded on the way; some are beyond float16, or between two of its subnormals.
        let dims = |first: usize| [&[first], &rest[..]].concat();
        let cache = halves(&mut random, &dims(capacity));
        let rows: Vec<f32> = floats(&mut random, &dims(n)).values::<f32>()?.to_vec();
        let scaled = |(i, x): (usize, f32)| match i % 5 {
            4 => f32::from_bits(0x7fc1_2345),
            i => x * [1.0, 1e5, 3e-8, 1e-5][i],
        };
        let rows = Tensor::new(dims(n), rows.into_iter().enumerate().map(scaled).collect::<Vec<_>>())?;
        let op: Op = Append::new(cache.tensor_type().clone(), rows.tensor_type().clone())?.into();
        for p in [0, capacity as i32 - 1, -1] {
            check_op(&context, &format!("rounded at {p}"), &op, &[&cache, &rows, &position(p)]);
        }
    }
    Ok(())
}

#[test]
fn rows_are_rotated() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(21_005);
    let mut worst = 0.0f64;
    for (dims, width) in
        [(vec![1, 1, 2], 2), (vec![3, 9, 64], 64), (vec![33, 2, 7], 4), (vec![2, 3, 5, 96], 32), (vec![4, 5], 0)]
    {
        let x = floats(&mut random, &dims);
        let frequencies: Vec<f64> = (0..width / 2).map(|i| 10_000f64.powf(-2.0 * i as f64 / width as f64)).collect();
        let table = Rotary::table(50, &frequencies)?;
        for pairs in [RotaryPairs::Halves, RotaryPairs::Interleaved] {
            let op: Op = Rotary::new(x.tensor_type().clone(), table.tensor_type().clone(), pairs)?.into();
            for p in [0, 17, 48, 60, -2, i32::MAX, i32::MIN] {
                let name = format!("{dims:?}, {pairs:?} at {p}");
                worst = worst.max(check_op_within(&context, &name, &op, &[&x, &position(p), &table]).1);
            }
        }
    }
    println!("rotary: largest error {worst:.3} of its bound");
    Ok(())
}

#[test]
fn rotated_rows_are_appended() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(21_009);
    let mut worst = 0.0f64;
    for (capacity, dims, width) in
        [(1, vec![1, 2], 2), (12, vec![3, 9, 64], 64), (40, vec![33, 2, 7], 4), (5, vec![2, 3, 5, 96], 32)]
    {
        let x = floats(&mut random, &dims);
        let frequencies: Vec<f64> = (0..width / 2).map(|i| 10_000f64.powf(-2.0 * i as f64 / width as f64)).collect();
        let table = Rotary::table(50, &frequencies)?;
        let held = [&[capacity], &dims[1..]].concat();
        for (pairs, cache) in [
            (RotaryPairs::Halves, floats(&mut random, &held)),
            (RotaryPairs::Interleaved, halves(&mut random, &held)),
            (RotaryPairs::Halves, halves(&mut random, &held)),
        ] {
            let [cached, rows, angles] = [&cache, &x, &table].map(|tensor| tensor.tensor_type().clone());
            let append = Append::new(cached.clone(), rows.clone())?;
            let op: Op = append.clone().rotated(angles.clone(), pairs)?.into();
            // A planner finds it in a rotation that nobody else reads.
            let mut graph = Graph::new();
            let [new, p, angles, state] = [
                graph.input(rows.clone()),
                graph.input(TensorType::new(DType::Int32, [1])?),
                graph.input(angles.clone()),
                graph.state(cached.clone()),
            ];
            let rotary = Rotary::new(rows, graph.tensor_type(angles)?.clone(), pairs)?;
            let turned = graph.add(rotary, &[new, p, angles])?;
            graph.add(append, &[state, turned, p])?;
            let plan = context.plan(&graph, Tuner::FirstGuess)?;
            // The copy of a cache binds five buffers.
            let launches = if context.caps().storage_buffers < 5 { 2 } else { 1 };
            assert_eq!(plan.launches(), launches, "{plan}");
            for at in [0, capacity as i32 - 1, 17, -1, i32::MAX, i32::MIN] {
                let name = format!("{dims:?}, {pairs:?} into {cached} at {at}");
                let inputs = [&cache, &x, &position(at), &table];
                worst = worst.max(check_op_within(&context, &name, &op, &inputs).1);
                let got = common::wait(plan.run(&[&x, &position(at), &table, &cache]))?;
                common::check_outputs(&name, &op, &inputs, &got)?;
            }
        }
    }
    println!("rotated rows: largest error {worst:.3} of its bound");
    Ok(())
}

/// Queries, keys and values of new tokens in one launch, alone and as a planner finds it.
#[test]
fn queries_are_rotated_as_rows_are_appended() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(21_021);
    let mut worst = 0.0f64;
    for (capacity, n, [heads, kv_heads, d, value_d], width) in
        [(1, 1, [2, 1, 2, 3], 2), (12, 3, [9, 3, 64, 64], 64), (40, 33, [4, 2, 7, 5], 4), (9, 9, [2, 2, 33, 1], 32)]
    {
        let frequencies: Vec<f64> = (0..width / 2).map(|i| 10_000f64.powf(-2.0 * i as f64 / width as f64)).collect();
        let table = Rotary::table(50, &frequencies)?;
        let [query, key] = [heads, kv_heads].map(|heads| floats(&mut random, &[n, heads, d]));
        let value = floats(&mut random, &[n, kv_heads, value_d]);
        for (pairs, is_half) in
            [(RotaryPairs::Halves, false), (RotaryPairs::Interleaved, true), (RotaryPairs::Halves, true)]
        {
            let caches = [d, value_d].map(|d| {
                let dims = [capacity, kv_heads, d];
                if is_half { halves(&mut random, &dims) } else { floats(&mut random, &dims) }
            });
            let types = [&caches[0], &caches[1], &query, &key, &value, &table].map(|t| t.tensor_type().clone());
            let [key_cache, value_cache, query_type, key_type, value_type, table_type] = types;
            let rotary = |of: &TensorType| Rotary::new(of.clone(), table_type.clone(), pairs);
            let values = Append::new(value_cache.clone(), value_type.clone())?;
            let keys = Append::new(key_cache.clone(), key_type.clone())?;
            let joined = keys.clone().rotated(table_type.clone(), pairs)?;
            let op: Op = RotaryAppend::new(rotary(&query_type)?, joined, values.clone())?.into();

            let mut graph = Graph::new();
            let inputs = [&query_type, &key_type, &value_type, &table_type].map(|t| graph.input(t.clone()));
            let [q, k, v, angles] = inputs;
            let p = graph.input(TensorType::new(DType::Int32, [1])?);
            let states = [graph.state(key_cache), graph.state(value_cache)];
            let turned = graph.add(rotary(&query_type)?, &[q, p, angles])?;
            let turned_key = graph.add(rotary(&key_type)?, &[k, p, angles])?;
            graph.add(keys, &[states[0], turned_key, p])?;
            graph.add(values, &[states[1], v, p])?;
            graph.output(turned);
            let plan = context.plan(&graph, Tuner::FirstGuess)?;
            if context.caps().storage_buffers >= 8 {
                assert_eq!(plan.launches(), 1, "{plan}");
            }
            for at in [0, capacity as i32 - 1, 17, -1, i32::MAX, i32::MIN] {
                let name = format!("{capacity}, {n} of {heads}, {pairs:?}, float16 {is_half}, at {at}");
                let inputs = [&caches[0], &caches[1], &query, &key, &value, &position(at), &table];
                worst = worst.max(check_op_within(&context, &name, &op, &inputs).1);
                let host = [&query, &key, &value, &table, &position(at), &caches[0], &caches[1]];
                let mut got = common::wait(plan.run(&host))?;
                // The graph's output comes before its states.
                got.rotate_left(1);
                common::check_outputs(&name, &op, &inputs, &got)?;
            }
        }
    }
    println!("queries, keys and values: largest error {worst:.3} of its bound");
    let (table, rows) = (TensorType::float32([9, 6])?, TensorType::float32([3, 2, 8])?);
    let rotary = Rotary::new(rows.clone(), table.clone(), RotaryPairs::Halves)?;
    let values = Append::new(TensorType::float32([20, 2, 8])?, rows)?;
    let keys = values.clone().rotated(table.clone(), RotaryPairs::Halves)?;
    let refused = |keys: Append, values: Append, reason: &str| {
        let error = RotaryAppend::new(rotary.clone(), keys, values).expect_err(reason).to_string();
        assert!(error.contains(reason), "{error}");
    };
    refused(values.clone(), values.clone(), "are not rotated by the queries' table");
    refused(
        values.clone().rotated(table, RotaryPairs::Interleaved)?,
        values.clone(),
        "are not rotated by the queries' table",
    );
    refused(keys.clone(), keys.clone(), "the values are rotated");
    let other = Append::new(TensorType::float32([20, 2, 8])?, TensorType::float32([2, 2, 8])?)?;
    refused(keys.clone(), other, "of [3, 3, 2] tokens");
    let half = Append::new(TensorType::new(DType::Float16, [20, 2, 8])?, TensorType::float32([3, 2, 8])?)?;
    refused(keys, half, "both alike");
    let wide = Append::new(TensorType::float32([20, 2, 9])?, TensorType::float32([3, 2, 9])?)?;
    refused(wide.rotated(TensorType::float32([9, 6])?, RotaryPairs::Halves)?, values, "8 elements and one of keys 9");
    Ok(())
}

/// Queries of a dynamic extent beside keys and values of a fixed one stay launches of their own: at a smaller extent they have other
/// numbers of tokens.
#[test]
fn queries_of_another_extent_are_rotated_alone() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(21_022);
    let table = Rotary::table(50, &[1.0, 0.5])?;
    let (query, rows, cache) =
        (floats(&mut random, &[3, 2, 4]), floats(&mut random, &[3, 1, 4]), floats(&mut random, &[9, 1, 4]));
    let [query_type, row_type, cache_type, table_type] =
        [&query, &rows, &cache, &table].map(|t| t.tensor_type().clone());
    let mut graph = Graph::new();
    let tokens = graph.extent("tokens", 3)?;
    let q = graph.dynamic_input(query_type.clone(), [(0, tokens)])?;
    let [k, angles, p] =
        [&row_type, &table_type, &TensorType::new(DType::Int32, [1])?].map(|t| graph.input((*t).clone()));
    let states = [graph.state(cache_type.clone()), graph.state(cache_type.clone())];
    let turned = graph.add(Rotary::new(query_type, table_type.clone(), RotaryPairs::Halves)?, &[q, p, angles])?;
    let append = Append::new(cache_type, row_type)?;
    graph.add(append.clone().rotated(table_type, RotaryPairs::Halves)?, &[states[0], k, p, angles])?;
    graph.add(append, &[states[1], k, p])?;
    graph.output(turned);
    let plan = context.plan(&graph, Tuner::FirstGuess)?;
    for tokens in 0..=3 {
        let query = floats(&mut random, &[tokens, 2, 4]);
        let inputs = [&query, &rows, &table, &position(1), &cache, &cache];
        let (expected, got) = (graph.run_reference(&inputs)?, common::wait(plan.run(&inputs))?);
        for (expected, got) in expected.iter().zip(&got) {
            // Each is two products of numbers of at most 6, each with an error of 2u of it (`ops::Rotary`).
            let pairs = expected.values::<f32>()?.iter().zip(got.values::<f32>()?);
            assert!(pairs.clone().all(|(a, b)| (a - b).abs() <= 24.0 * f32::EPSILON), "{tokens} tokens");
        }
    }
    Ok(())
}

/// Rows of which some hold no numbers, infinities, zeros alone, or subnormals.
fn odd_rows(random: &mut Random, dims: &[usize]) -> Result<Tensor> {
    let width = dims.last().copied().unwrap_or(1);
    let mut values = floats(random, dims).values::<f32>()?.to_vec();
    for (i, row) in values.chunks_exact_mut(width).enumerate() {
        let at = random.next() as usize % width;
        match i % 7 {
            1 => row[at] = f32::NAN,
            2 => row[at] = f32::NEG_INFINITY,
            3 => row.fill(-0.0),
            4 => row.iter_mut().for_each(|x| *x *= 1e-41),
            5 => row.iter_mut().for_each(|x| *x *= 1e38),
            _ => {}
        }
    }
    Tensor::new(dims, values)
}

/// Codes and parameters of an empty cache, or of any contents.
fn cache_of_codes(
    random: &mut Random,
    dtype: DType,
    dims: &[usize],
    granularity: DynamicGranularity,
) -> Result<[Tensor; 2]> {
    let parameters = granularity.of_cache(&TensorType::new(dtype, dims)?.with_dynamic_scales())?;
    Ok([random.codes(dtype, dims), pairs(random, parameters.dims())])
}

#[test]
fn quantized_rows_are_appended() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(21_020);
    let mut turn = 0;
    for (capacity, n, rest) in [
        (1, 1, vec![1]),
        (7, 3, vec![2, 5]),
        (70, 33, vec![3]),
        (9, 0, vec![4]),
        (5, 5, vec![16]),
        (12, 4, vec![3, 64]),
        (6, 2, vec![2, 300]),
        (3, 1, vec![9000]),
    ] {
        use DynamicGranularity::{Group, Row};
        for (dtype, granularity) in [
            (DType::Int8, Row),
            (DType::Int4, Row),
            (DType::Int8, Group(8)),
            (DType::Int4, Group(32)),
            (DType::Int4, Group(512)),
        ] {
            let dims = |first: usize| [&[first], &rest[..]].concat();
            let [cache, parameters] = cache_of_codes(&mut random, dtype, &dims(capacity), granularity)?;
            let rows = odd_rows(&mut random, &dims(n))?;
            let cached = cache.tensor_type().clone().with_dynamic_scales();
            let op = AppendQuantized::new(cached, rows.tensor_type().clone(), granularity)?;
            let (n, capacity) = (n as i32, capacity as i32);
            for p in [0, 1, capacity - n, capacity, -1, -n, i32::MAX, i32::MIN] {
                turn += 1;
                if turn % 3 > 0 && rest[0] > 4 {
                    continue;
                }
                let name = format!("{} at {p}, {granularity:?}", cache.tensor_type());
                let inputs = [&cache, &parameters, &rows, &position(p)];
                check_op(&context, &name, &op.clone().into(), &inputs);
                // A quantization and two appends have these bits.
                let quantize =
                    DynamicQuantize::new(rows.tensor_type().clone(), dtype, granularity).symmetric().build()?;
                let made = reference::run(&quantize.into(), &[&rows])?;
                let got = reference::run(&op.clone().into(), &inputs)?;
                for (i, cache) in [&cache, &parameters].into_iter().enumerate() {
                    let new = made[i].reshaped([&[n as usize], &cache.dims()[1..]].concat())?;
                    let append = match i {
                        0 => Append::new(op_input(&op, 0), new.tensor_type().clone().with_dynamic_scales())?,
                        _ => Append::new(op_input(&op, 1), new.tensor_type().clone())?,
                    };
                    let expected = reference::run(&append.into(), &[cache, &new, &position(p)])?;
                    assert!(first_difference(&got[i], &expected[0]).is_none(), "{name}");
                }
            }
        }
    }
    Ok(())
}

fn op_input(op: &AppendQuantized, input: usize) -> TensorType {
    Op::from(op.clone()).inputs().swap_remove(input)
}

/// Rotated rows have the bits of three operations of f32, on every kernel, and in the buffers of states.
#[test]
fn rotated_rows_are_quantized() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(21_021);
    for (turn, (capacity, dims, width)) in [
        (1, vec![1, 2], 2),
        (12, vec![3, 9, 64], 64),
        (40, vec![33, 2, 7], 4),
        (5, vec![2, 3, 5, 96], 32),
        (4, vec![1, 1, 8], 0),
    ]
    .into_iter()
    .enumerate()
    {
        let rows = odd_rows(&mut random, &dims)?;
        let frequencies: Vec<f64> = (0..width / 2).map(|i| 10_000f64.powf(-2.0 * i as f64 / width as f64)).collect();
        let table = Rotary::table(50, &frequencies)?;
        for (pairs, dtype, granularity) in [
            (RotaryPairs::Halves, DType::Int8, DynamicGranularity::Row),
            (RotaryPairs::Interleaved, DType::Int4, DynamicGranularity::Group(16)),
        ] {
            let held = [&[capacity], &dims[1..]].concat();
            let [cache, parameters] = cache_of_codes(&mut random, dtype, &held, granularity)?;
            let cached = cache.tensor_type().clone().with_dynamic_scales();
            let op = AppendQuantized::new(cached.clone(), rows.tensor_type().clone(), granularity)?;
            let op: Op = op.rotated(table.tensor_type().clone(), pairs)?.into();
            let mut graph = Graph::new();
            let [new, p, angles] = [2, 3, 4].map(|i| graph.input(op.inputs()[i].clone()));
            let states = [0, 1].map(|i| graph.state(op.inputs()[i].clone()));
            graph.add(op.clone(), &[states[0], states[1], new, p, angles])?;
            let plan = context.plan(&graph, Tuner::FirstGuess)?;
            assert_eq!(plan.launches(), if context.caps().storage_buffers < 7 { 4 } else { 1 }, "{plan}");
            assert!(plan.to_string().contains("in place"), "{plan}");
            for at in [0, capacity as i32 - 1, 17, -1, i32::MAX, i32::MIN] {
                let name = format!("{dims:?}, {pairs:?} into {cached} at {at}, {turn}");
                let inputs = [&cache, &parameters, &rows, &position(at), &table];
                check_op(&context, &name, &op, &inputs);
                let got = common::wait(plan.run(&[&rows, &position(at), &table, &cache, &parameters]))?;
                common::check_outputs(&name, &op, &inputs, &got)?;
            }
        }
    }
    Ok(())
}

/// A rotation that makes the cache, or one of other positions, is no rotation of the rows.
#[test]
fn other_rotations_stay_apart() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(21_010);
    let (cache, rows) = (floats(&mut random, &[5, 2, 8]), floats(&mut random, &[2, 2, 8]));
    let table = Rotary::table(9, &[1.0, 0.5, 0.25, 0.125])?;
    let [cached, new, angles] = [&cache, &rows, &table].map(|tensor| tensor.tensor_type().clone());
    for of_cache in [true, false] {
        let mut graph = Graph::new();
        let c = graph.input(cached.clone());
        let r = graph.input(new.clone());
        let t = graph.input(angles.clone());
        let [p, q] = [0; 2].map(|_| graph.input(TensorType::new(DType::Int32, [1]).expect("a type")));
        let rotary = |x: &TensorType| Rotary::new(x.clone(), angles.clone(), RotaryPairs::Halves);
        let append = Append::new(cached.clone(), new.clone())?;
        let out = match of_cache {
            true => {
                let turned = graph.add(rotary(&cached)?, &[c, p, t])?;
                graph.add(append, &[turned, r, p])?
            }
            false => {
                let turned = graph.add(rotary(&new)?, &[r, p, t])?;
                graph.add(append, &[c, turned, q])?
            }
        };
        graph.output(out);
        let inputs = [&cache, &rows, &table, &position(1), &position(3)];
        let got = common::wait(context.plan(&graph, Tuner::FirstGuess)?.run(&inputs))?.remove(0);
        let expected = graph.run_reference(&inputs)?.remove(0);
        for (got, expected) in got.values::<f32>()?.iter().zip(expected.values::<f32>()?) {
            // Two products and a sum of numbers below 8.
            assert!((got - expected).abs() <= 8.0 * f32::EPSILON, "{got} and {expected}, of the cache: {of_cache}");
        }
    }
    Ok(())
}

/// A layer of attention over two states. Inputs: position, query, key, value, then the states.
fn layer(n: usize, capacity: usize) -> Result<(Graph, [Value; 2])> {
    let mut graph = Graph::new();
    let p = graph.input(TensorType::new(DType::Int32, [1])?);
    let tokens = graph.extent("tokens", n)?;
    let query = graph.dynamic_input(TensorType::float32([n, 4, 8])?, [(0, tokens)])?;
    let key = graph.dynamic_input(TensorType::float32([n, 2, 8])?, [(0, tokens)])?;
    let value = graph.dynamic_input(TensorType::float32([n, 2, 8])?, [(0, tokens)])?;
    let cache = TensorType::float32([capacity, 2, 8])?;
    let states = [graph.state(cache.clone()), graph.state(cache.clone())];
    // An op whose result the outputs need only in the state.
    let doubled = FloatBinary::new(TensorType::float32([n, 2, 8])?, TensorType::float32([n, 2, 8])?, Arithmetic::Add)?;
    let doubled = graph.add(doubled, &[value, value])?;
    let append = || Append::new(cache.clone(), TensorType::float32([n, 2, 8])?);
    let keys = graph.add(append()?, &[states[0], key, p])?;
    let values = graph.add(append()?, &[states[1], doubled, p])?;
    let attention = Attention::new(TensorType::float32([n, 4, 8])?, cache.clone(), cache.clone()).causal().build()?;
    let out = graph.add(attention, &[query, keys, values, p])?;
    graph.output(out);
    Ok((graph, [keys, values]))
}

/// Tokens in chunks of any size give what one chunk gives; states have the reference's bits after each.
#[test]
fn states_are_changed_in_place() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(21_006);
    let (graph, _) = layer(6, 40)?;
    let plan = context.plan(&graph, Tuner::FirstGuess)?;
    assert!(plan.to_string().matches("in place").count() == 2, "{plan}");
    let zeros = Tensor::new([40, 2, 8], vec![0.0f32; 640])?;
    let states = [context.upload(&zeros)?, context.upload(&zeros)?];
    let mut expected = [zeros.clone(), zeros];
    let mut p = 0;
    for n in [6, 1, 1, 3, 6, 1] {
        let draw = |random: &mut Random, heads: usize| floats(random, &[n, heads, 8]);
        let host = [position(p), draw(&mut random, 4), draw(&mut random, 2), draw(&mut random, 2)];
        let uploaded = host.iter().map(|t| context.upload(t)).collect::<Result<Vec<_>>>()?;
        let inputs: Vec<&DeviceTensor> = uploaded.iter().chain(&states).collect();
        let outputs = plan.run_on_device(&inputs)?;
        let mut all: Vec<&Tensor> = host.iter().collect();
        let before = expected.clone();
        all.extend(&before);
        let mut want = graph.run_reference(&all)?;
        assert_eq!(want.len(), 3, "an output and two states");
        let next = [want.remove(1), want.remove(1)];
        expected = next;
        for (state, expected) in states.iter().zip(&expected) {
            assert_eq!(&context.download_blocking(state)?, expected, "after {n} tokens at {p}");
        }
        let got = context.download_blocking(&outputs[0])?;
        let near = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-5;
        assert!(got.values::<f32>()?.iter().zip(want[0].values::<f32>()?).all(near), "{n} tokens at {p}");
        // Once more through the host: the states come back as outputs, and the inputs stay.
        let again = plan.run_blocking(&all)?;
        assert_eq!(again.len(), 3);
        assert_eq!(again[1..], expected);
        p += n as i32;
    }
    Ok(())
}

/// A layer of attention over states of codes and of their scales. Inputs: position, query, key, value, then codes and scales of keys
/// and of values.
fn quantized_layer(n: usize, capacity: usize) -> Result<Graph> {
    let mut graph = Graph::new();
    let p = graph.input(TensorType::new(DType::Int32, [1])?);
    let tokens = graph.extent("tokens", n)?;
    let query = graph.dynamic_input(TensorType::float32([n, 4, 24])?, [(0, tokens)])?;
    let rows = [24, 20].map(|d| graph.dynamic_input(TensorType::float32([n, 2, d])?, [(0, tokens)]));
    let mut inputs = vec![query];
    let mut parameters = vec![];
    for rows in rows {
        let rows = rows?;
        let row_type = graph.tensor_type(rows)?.clone();
        let codes = TensorType::new(DType::Int8, [capacity, 2, row_type.dims()[2]])?.with_dynamic_scales();
        let scales = TensorType::new(DType::Parameters, [capacity, 2])?;
        let states = [graph.state(codes), graph.state(scales)];
        let quantize = DynamicQuantize::new(row_type, DType::Int8, DynamicGranularity::Row).symmetric().build()?;
        let made = graph.add_all(quantize, &[rows])?;
        let made = [made[0], graph.reshape(made[1], [n, 2])?];
        let mut appended = vec![];
        for (state, rows) in states.into_iter().zip(made) {
            let append = Append::new(graph.tensor_type(state)?.clone(), graph.tensor_type(rows)?.clone())?;
            appended.push(graph.add(append, &[state, rows, p])?);
        }
        inputs.push(appended[0]);
        parameters.push(appended[1]);
    }
    let types = [0, 1, 2].map(|i| graph.tensor_type(inputs[i]).cloned());
    let [query, keys, values] = types;
    let attention = Attention::new(query?, keys?, values?).causal().build()?;
    inputs.push(p);
    inputs.extend(parameters);
    let out = graph.add(attention, &inputs)?;
    graph.output(out);
    Ok(graph)
}

/// Codes and scales are appended in place over several steps, on devices of any limits. At the start scales are 0.
#[test]
fn states_of_codes_are_changed_in_place() -> Result<()> {
    let mut random = Random::new(21_011);
    let (n, capacity) = (5, 30);
    let graph = quantized_layer(n, capacity)?;
    for context in [context(), context_with(Some(tiny_limits()))].into_iter().flatten() {
        let plan = context.plan(&graph, Tuner::FirstGuess)?;
        assert_eq!(plan.to_string().matches("in place").count(), 4, "{plan}");
        let codes = |d: usize| Tensor::new([capacity, 2, d], vec![0i8; capacity * 2 * d]);
        let scales = || Tensor::new([capacity, 2], vec![params(0.0, 0); capacity * 2]);
        let mut expected = vec![codes(24)?, scales()?, codes(20)?, scales()?];
        let states = expected.iter().map(|state| context.upload(state)).collect::<Result<Vec<_>>>()?;
        let mut p = 0;
        for n in [5, 1, 1, 4, 5] {
            let host = [
                position(p),
                floats(&mut random, &[n, 4, 24]),
                floats(&mut random, &[n, 2, 24]),
                floats(&mut random, &[n, 2, 20]),
            ];
            let uploaded = host.iter().map(|t| context.upload(t)).collect::<Result<Vec<_>>>()?;
            let inputs: Vec<&DeviceTensor> = uploaded.iter().chain(&states).collect();
            let outputs = plan.run_on_device(&inputs)?;
            let before = expected;
            let all: Vec<&Tensor> = host.iter().chain(&before).collect();
            let mut want = graph.run_reference(&all)?;
            expected = want.split_off(1);
            let same = |got: &Tensor, want: &Tensor| {
                assert_eq!(first_difference(got, want), None, "after {n} tokens at {p}");
            };
            for (state, expected) in states.iter().zip(&expected) {
                same(&context.download_blocking(state)?, expected);
            }
            // Codes and scales are exact, so that the error is that of attention alone.
            let [keys, key_scales, values, value_scales] = &expected[..] else { panic!("four states") };
            let op = builder(&[host[1].clone(), keys.clone(), values.clone()]).causal().build()?.into();
            let inputs = [&host[1], keys, values, &host[0], key_scales, value_scales];
            common::check_outputs("attention", &op, &inputs, &[context.download_blocking(&outputs[0])?])?;
            // Once more through the host.
            plan.run_blocking(&all)?[1..].iter().zip(&expected).for_each(|(got, want)| same(got, want));
            p += n as i32;
        }
    }
    Ok(())
}

/// Rows that are appended to a view are in the state, which keeps its own shape.
#[test]
fn a_view_of_a_state_is_changed() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(21_008);
    let mut graph = Graph::new();
    let state = graph.state(TensorType::float32([9, 2, 8])?);
    let view = graph.reshape(state, [18, 8])?;
    let (row, p) = (graph.input(TensorType::float32([1, 8])?), graph.input(TensorType::new(DType::Int32, [1])?));
    let append = Append::new(TensorType::float32([18, 8])?, TensorType::float32([1, 8])?)?;
    graph.add(append, &[view, row, p])?;
    let host = [floats(&mut random, &[9, 2, 8]), floats(&mut random, &[1, 8]), position(5)];
    let host: Vec<&Tensor> = host.iter().collect();
    let expected = graph.run_reference(&host)?;
    assert_eq!(expected[0].dims(), [9, 2, 8]);
    assert_eq!(expected[0].values::<f32>()?[5 * 8..6 * 8], *host[1].values::<f32>()?);
    let plan = context.plan(&graph, Tuner::FirstGuess)?;
    assert_eq!(plan.run_blocking(&host)?, expected);
    let inputs = host.iter().map(|t| context.upload(t)).collect::<Result<Vec<_>>>()?;
    let report = plan.verify_blocking(&plan.bind(&inputs.iter().collect::<Vec<_>>(), &[])?)?;
    assert!(report.is_exact() && report.outputs.len() == 1, "{report}");
    Ok(())
}

#[test]
fn states_are_verified_and_exported() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut random = Random::new(21_007);
    let (graph, _) = layer(2, 9)?;
    let plan = context.plan(&graph, Tuner::FirstGuess)?;
    let draw = |random: &mut Random, heads: usize| floats(random, &[2, heads, 8]);
    let mut host = vec![position(4), draw(&mut random, 4), draw(&mut random, 2), draw(&mut random, 2)];
    host.extend((0..2).map(|_| floats(&mut random, &[9, 2, 8])));
    let inputs = host.iter().map(|t| context.upload(t)).collect::<Result<Vec<_>>>()?;
    let inputs: Vec<&DeviceTensor> = inputs.iter().collect();
    let output = DeviceTensor::allocate(&context, plan.output_types()[0].clone())?;
    let report = plan.verify_blocking(&plan.bind(&inputs, &[&output])?)?;
    assert_eq!(report.first_wrong_op, None, "{report}");
    let states: Vec<_> = report.outputs[1..].iter().map(|c| (c.name.as_str(), c.different)).collect();
    assert_eq!(states, [("state 0", 0), ("state 1", 0)]);

    let exported = plan.export()?;
    let written: Vec<bool> = exported.inputs.iter().map(|input| input.written).collect();
    assert_eq!(written, [false, false, false, false, true, true]);

    let twice: Vec<&DeviceTensor> = inputs.iter().copied().take(4).chain([inputs[4]; 2]).collect();
    let error = plan.bind(&twice, &[&output]).expect_err("one buffer for two states").to_string();
    assert!(error.contains("input 4 is a state"), "{error}");
    Ok(())
}

fn says(result: Result<impl Sized>, parts: &[&str]) {
    let Err(Error::Request(message)) = result.map(|_| ()) else { panic!("it passed, or is another error") };
    assert!(parts.iter().all(|part| message.contains(part)), "{message}");
}

#[test]
fn wrong_states_are_refused() -> Result<()> {
    let (mut graph, _) = layer(1, 9)?;
    let old = graph.state(TensorType::float32([9, 2, 8])?);
    let key = graph.input(TensorType::float32([1, 2, 8])?);
    let p = graph.input(TensorType::new(DType::Int32, [1])?);
    let append = || Append::new(TensorType::float32([9, 2, 8])?, TensorType::float32([1, 2, 8])?);
    let view = graph.reshape(old, [18, 8])?;
    let new = graph.add(append()?, &[old, key, p])?;
    says(graph.add(append()?, &[old, key, p]), &["state", "changed by an op before"]);
    let unary = || lowbit::ops::FloatUnary::new(TensorType::float32([18, 8])?, lowbit::ops::Function::Relu);
    says(graph.add(unary()?, &[view]), &["changed by an op before"]);
    let view = graph.reshape(new, [18, 8])?;
    graph.add(unary()?, &[view])?;
    let whole = Append::new(TensorType::float32([9, 2, 8])?, TensorType::float32([9, 2, 8])?)?;
    says(graph.add(whole, &[new, new, p]), &["reads the state", "copy"]);
    // A cache and its scales are states, or both are not.
    let codes = TensorType::new(DType::Int8, [9, 2, 8])?.with_dynamic_scales();
    let append = AppendQuantized::new(codes.clone(), TensorType::float32([1, 2, 8])?, DynamicGranularity::Row)?;
    let [codes, pairs] = [graph.state(codes), graph.input(TensorType::new(DType::Parameters, [9, 2])?)];
    says(graph.add(append, &[codes, pairs, key, p]), &["append_quantized changes the state", "Graph::state"]);
    Ok(())
}

/// Scales of valid positions are scales, and have no zero point.
#[test]
fn wrong_scales_are_refused() -> Result<()> {
    let mut random = Random::new(21_012);
    let tensors = tensors(&mut random, [2, 2, 1, 8, 8, 9], DType::Int8);
    let op: Op = builder(&tensors).build()?.into();
    for which in [4, 5] {
        for (pair, parts) in [
            (params(0.0, 0), ["scale is 0e0", "positive"]),
            (params(f32::NAN, 0), ["scale is NaN", "finite"]),
            (params(0.1, 3), ["zero point 3", "symmetric"]),
        ] {
            let mut inputs = inputs(&tensors, 4);
            let mut pairs = inputs[which].values::<QuantizationParams>()?.to_vec();
            pairs[5] = pair;
            inputs[which] = Tensor::new([9, 1], pairs)?;
            let run = |inputs: &[Tensor]| reference::run(&op, &inputs.iter().collect::<Vec<_>>());
            says(run(&inputs), &parts);
            // One position less is valid.
            inputs[3] = position(3);
            run(&inputs)?;
        }
    }
    Ok(())
}

#[test]
fn wrong_shapes_are_refused() -> Result<()> {
    let real = |dims: &[usize]| TensorType::float32(dims);
    says(Append::new(real(&[4, 2])?, TensorType::new(DType::Float16, [1, 2])?), &["float16[1, 2]", "float32[4, 2]"]);
    says(Append::new(real(&[4, 2])?, real(&[1, 3])?), &["[1, 3]", "[4, 2]"]);
    says(Append::new(real(&[4, 2])?, real(&[5, 2])?), &["5 rows", "4"]);
    says(Append::new(TensorType::new(DType::Int8, [4])?, TensorType::new(DType::Int8, [1])?), &["second dimension"]);
    says(Rotary::new(real(&[4])?, real(&[4, 2])?, RotaryPairs::Halves), &["[tokens, …, n]"]);
    says(Rotary::new(real(&[1, 4])?, real(&[4, 6])?, RotaryPairs::Halves), &["float32[4, 6]", "at most 4"]);
    says(Rotary::new(real(&[1, 4])?, real(&[4, 3])?, RotaryPairs::Halves), &["float32[4, 3]", "even"]);
    let attention = |q: &[usize], k: &[usize], v: &[usize]| -> Result<AttentionBuilder> {
        Ok(Attention::new(real(q)?, real(k)?, real(v)?))
    };
    says(attention(&[1, 2, 8], &[9, 2, 7], &[9, 2, 8])?.build(), &["8 elements", "7"]);
    says(attention(&[1, 3, 8], &[9, 2, 8], &[9, 2, 8])?.build(), &["3 heads", "2"]);
    says(attention(&[1, 2, 8], &[9, 2, 8], &[8, 2, 8])?.build(), &["capacity"]);
    says(attention(&[2, 8], &[9, 8], &[9, 8])?.build(), &["3 dimensions"]);
    says(attention(&[1, 2, 8], &[9, 2, 8], &[9, 2, 8])?.window(0).build(), &["window"]);
    says(attention(&[1, 2, 8], &[9, 2, 8], &[9, 2, 8])?.soft_cap(-1.0).build(), &["soft cap is -1"]);
    says(attention(&[1, 2, 8], &[9, 2, 8], &[9, 2, 8])?.scaled(f32::NAN).build(), &["scale is NaN"]);
    let codes = || TensorType::new(DType::Int8, [9, 2, 8]);
    let over = |keys: TensorType, values: TensorType| -> Result<_> {
        Attention::new(TensorType::float32([1, 2, 8])?, keys, values).build()
    };
    let dynamic = codes()?.with_dynamic_scales();
    says(over(codes()?, codes()?), &["the keys are int8[9, 2, 8] with no scale", "with_dynamic_scales"]);
    let fixed = codes()?.quantized(Quantization::tensor(0.5, 0))?;
    says(over(dynamic.clone(), fixed), &["the values are int8[9, 2, 8] with scale 0.5", "with_dynamic_scales"]);
    says(over(dynamic.clone(), real(&[9, 2, 8])?), &["int8[9, 2, 8]", "float32[9, 2, 8]", "one data type"]);
    says(over(TensorType::new(DType::Uint8, [9, 2, 8])?.with_dynamic_scales(), dynamic.clone()), &["uint8[9, 2, 8]"]);
    says(Append::new(dynamic, TensorType::new(DType::Int8, [1, 2, 8])?), &["no scale", "scales in another tensor"]);
    for dims in [&[2, 9][..], &[3, 1, 9], &[2, 2, 9], &[1, 8], &[9], &[1, 1, 1, 9]] {
        let masked = attention(&[1, 2, 8], &[9, 2, 8], &[9, 2, 8])?.mask(real(dims)?);
        says(masked.build(), &["the mask is", "[2, 1, 9]"]);
    }
    let scaled = attention(&[1, 2, 8], &[9, 2, 8], &[9, 2, 8])?.scales(DynamicGranularity::Group(8));
    says(scaled.build(), &["no scales", "Group(8)"]);
    let cache = |dtype: DType, dims: &[usize]| -> Result<_> { Ok(TensorType::new(dtype, dims)?.with_dynamic_scales()) };
    let quantized = |cache, rows: &[usize], granularity| AppendQuantized::new(cache, real(rows)?, granularity);
    let (row, int8) = (DynamicGranularity::Row, DType::Int8);
    says(quantized(cache(int8, &[9, 2, 8])?, &[1, 2, 9], row), &["float32[1, 2, 9]", "int8[9, 2, 8]", "equal"]);
    says(quantized(cache(int8, &[9, 2, 8])?, &[10, 2, 8], row), &["10 rows", "9"]);
    says(quantized(cache(DType::Uint8, &[9, 8])?, &[1, 8], row), &["uint8[9, 8]", "int8 or int4"]);
    says(quantized(TensorType::new(int8, [9, 8])?, &[1, 8], row), &["with no scale", "with_dynamic_scales"]);
    says(quantized(cache(int8, &[9])?, &[1], row), &["two dimensions"]);
    says(quantized(cache(int8, &[9, 0])?, &[1, 0], row), &["at least 1"]);
    says(quantized(cache(int8, &[9, 8])?, &[1, 8], DynamicGranularity::Group(4)), &["groups of 4", "multiple of 8"]);
    says(quantized(cache(int8, &[9, 8])?, &[1, 8], DynamicGranularity::Tensor), &["DynamicGranularity::Row"]);
    let int4 = DynamicQuantize::new(real(&[1, 8])?, DType::Int4, row);
    says(int4.build(), &["int4 codes are symmetric"]);
    let sinks = Tensor::new([3], vec![0.0f32; 3])?;
    says(attention(&[1, 2, 8], &[9, 2, 8], &[9, 2, 8])?.sinks(sinks).build(), &["float32[3]", "float32[2]"]);
    Ok(())
}

/// A printed plan counts what a launch touches: a row of a cache that is changed in place, of a table of angles, and of an embedding.
#[test]
fn printed_plans_count_touched_bytes() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let cache = TensorType::float32([4096, 2, 8])?;
    let row = TensorType::float32([1, 2, 8])?;
    let mut graph = Graph::new();
    let ids = graph.input(TensorType::new(DType::Int32, [1])?);
    let p = graph.input(TensorType::new(DType::Int32, [1])?);
    let table = graph.input(TensorType::float32([4096, 8])?);
    let state = graph.state(cache.clone());
    let format = WeightFormat::new(Codes::INT8, 16, ScaleFormat::F16);
    let weights = PackedWeights::build(format, [1, 4096, 16], |_, codes, groups, _| {
        codes.fill(1);
        groups.fill(GroupParams::scale(1.0));
        Ok(())
    })?;
    let x = graph.add(Embedding::new(TensorType::new(DType::Int32, [1])?, weights).build()?, &[ids])?;
    let x = graph.reshape(x, [1, 2, 8])?;
    let turned =
        graph.add(Rotary::new(row.clone(), TensorType::float32([4096, 8])?, RotaryPairs::Halves)?, &[x, p, table])?;
    graph.add(Append::new(cache, row)?, &[state, turned, p])?;
    let plan = context.plan(&graph, Tuner::FirstGuess)?;
    let text = plan.to_string();
    assert!(text.contains("in place") && !text.contains("KiB"), "{text}");
    Ok(())
}
