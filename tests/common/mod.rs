//! Shared parts of GPU tests: a context or a printed reason for its absence, random tensors from named seeds, and a comparison that
//! prints the first mismatch. No test lives here.

#![allow(dead_code, reason = "every test file uses its own part")]

#[cfg(target_arch = "wasm32")]
mod blocking;
#[cfg(not(target_arch = "wasm32"))]
mod bounds;
pub(crate) mod draw;

use std::cell::{Cell, RefCell};
use std::collections::HashSet;

#[cfg(target_arch = "wasm32")]
pub(crate) use blocking::{BlockingContext, BlockingPlan, run_checked};
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use bounds::run_checked;
use lowbit::kernels::{Candidate, DeviceCaps};
use lowbit::numeric::QuantizationParams;
use lowbit::ops::{Arithmetic, Function};
use lowbit::{
    Context, ContextOptions, DType, DeviceTensor, Graph, Quantization, Tensor, TensorType, Tuner, kernels, ops::Op,
    reference,
};

/// Every function of one number.
pub(crate) const FUNCTIONS: [Function; 23] = Function::EACH;

/// Every operation on two numbers: seven of arithmetic, then comparisons.
pub(crate) const ARITHMETICS: [Arithmetic; 12] = Arithmetic::EACH;

/// Limits named by `LOWBIT_LIMITS`: `webgpu` for WebGPU's guaranteed minimum, `tiny` for much less. `None`, the adapter's own
/// limits, without the variable.
pub(crate) fn limits() -> Option<wgpu::Limits> {
    match variable("LOWBIT_LIMITS").unwrap_or_default().as_str() {
        "" => None,
        "webgpu" => Some(wgpu::Limits::default()),
        "tiny" => Some(tiny_limits()),
        other => panic!("LOWBIT_LIMITS is {other}, but it may be webgpu or tiny"),
    }
}

/// Half the storage buffers, a quarter of the invocations and a fraction of the workgroups that WebGPU guarantees.
pub(crate) fn tiny_limits() -> wgpu::Limits {
    wgpu::Limits {
        max_storage_buffers_per_shader_stage: 4,
        max_compute_workgroup_storage_size: 16 << 10,
        max_compute_invocations_per_workgroup: 64,
        max_compute_workgroup_size_x: 64,
        max_compute_workgroup_size_y: 64,
        max_compute_workgroup_size_z: 1,
        max_compute_workgroups_per_dimension: 255,
        max_storage_buffer_binding_size: 1 << 20,
        max_buffer_size: 16 << 20,
        ..wgpu::Limits::default()
    }
}

/// A variable of the environment; in a browser of the page's address.
pub(crate) fn variable(name: &str) -> Option<String> {
    #[cfg(target_arch = "wasm32")]
    return crate::variable(name);
    #[cfg(not(target_arch = "wasm32"))]
    std::env::var(name).ok()
}

/// The value of a future.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    #[cfg(target_arch = "wasm32")]
    return crate::wait(future);
    #[cfg(not(target_arch = "wasm32"))]
    pollster::block_on(future)
}

/// A context that pretends to need many invocations, so that kernels which CPUs are not offered are candidates.
pub(crate) fn gpu_context() -> Option<Context> {
    context().map(|context| context.with_target_invocations(DeviceCaps::default().target_invocations))
}

/// A context with these limits on the default adapter; without an adapter it behaves as [`context`]. With limits it emulates no
/// dot products of bytes, so any adapter runs the kernels of a GPU.
pub(crate) fn context_with(limits: Option<wgpu::Limits>) -> Option<Context> {
    let gpu = limits.is_some();
    let mut options = ContextOptions::default();
    options.limits = limits;
    match wait(Context::with_options(&options)) {
        Ok(context) if gpu => Some(context.with_emulated_dot4(false)),
        Ok(context) => Some(context),
        Err(error) if variable("LOWBIT_REQUIRE_ADAPTER").is_some_and(|v| v == "1") => {
            panic!("LOWBIT_REQUIRE_ADAPTER=1, but {error}")
        }
        Err(error) => {
            eprintln!("\n*** NOT RUN: this test needs a GPU adapter, and {error} ***\n");
            None
        }
    }
}

/// A context on the default adapter, with the limits of `LOWBIT_LIMITS`. Without an adapter the test prints that it is skipped;
/// with `LOWBIT_REQUIRE_ADAPTER=1` it fails.
pub(crate) fn context() -> Option<Context> {
    context_with(limits())
}

/// A small generator (SplitMix64), so that a seed names the same data everywhere.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// An integer in `low..=high`.
    pub(crate) fn integer(&mut self, low: i64, high: i64) -> i64 {
        low + (self.next() % (high - low + 1) as u64) as i64
    }

    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.next() as usize % choices.len()]
    }

    /// A real number, mostly around 1.
    pub(crate) fn real(&mut self) -> f32 {
        let sum: f64 = (0..4).map(|_| self.next() as f64 / u64::MAX as f64 - 0.5).sum();
        (sum * 3.0) as f32
    }

    /// A scale with a random mantissa.
    pub(crate) fn scale(&mut self) -> f32 {
        0.001 + 0.05 * (self.next() as f64 / u64::MAX as f64) as f32
    }

    /// A zero point of the dtype: an end of its range, zero, or any code.
    pub(crate) fn zero_point(&mut self, dtype: DType) -> i32 {
        let (low, high) = dtype.range().expect("an integer format");
        match self.next() % 4 {
            0 => low,
            1 => high,
            2 => 0.clamp(low, high),
            _ => self.integer(low.into(), high.into()) as i32,
        }
    }

    /// Random codes; the extremes are over-represented.
    pub(crate) fn codes(&mut self, dtype: DType, dims: &[usize]) -> Tensor {
        let (low, high) = dtype.range().expect("an integer format");
        let mut code = || match self.next() % 8 {
            0 => low,
            1 => high,
            _ => self.integer(low.into(), high.into()) as i32,
        };
        let count: usize = dims.iter().product();
        let codes: Vec<i32> = (0..count).map(|_| code()).collect();
        tensor_of_codes(dtype, dims, &codes)
    }

    /// Random codes with a scale and zero point.
    pub(crate) fn quantized(&mut self, dtype: DType, dims: &[usize]) -> Tensor {
        let quantization = Quantization::tensor(self.scale(), self.zero_point(dtype));
        self.codes(dtype, dims).quantized(quantization).expect("a legal zero point")
    }
}

/// A tensor of these codes.
pub(crate) fn tensor_of_codes(dtype: DType, dims: &[usize], codes: &[i32]) -> Tensor {
    let bits = dtype.bits();
    let mask = |code: i32| code as u8 & (u8::MAX >> (8 - bits));
    let bytes: Vec<u8> = match bits {
        ..8 => codes.chunks(8 / bits).map(|c| c.iter().rev().fold(0, |byte, &c| byte << bits | mask(c))).collect(),
        _ => codes.iter().flat_map(|code| code.to_le_bytes().into_iter().take(bits / 8)).collect(),
    };
    TensorType::new(dtype, dims).and_then(|t| Tensor::from_packed(t, &bytes)).expect("the count fits")
}

/// The data types that fulfil a condition.
pub(crate) fn dtypes(condition: impl Fn(DType) -> bool) -> Vec<DType> {
    DType::ALL.iter().copied().filter(|&dtype| condition(dtype)).collect()
}

/// A word that no kernel would write by accident; outputs hold it before a launch.
const POISON: u32 = 0xdead_beef;

/// A tensor in device memory, in a buffer of its own. It is filled with poison, or with `words`.
fn place(context: &Context, tensor_type: &TensorType, words: Option<&[u32]>) -> DeviceTensor {
    let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
    let size = tensor_type.device_bytes();
    let buffer =
        context.device().create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false });
    let mut contents = vec![POISON; size as usize / 4];
    if let Some(words) = words {
        contents[..words.len()].copy_from_slice(words);
    }
    context.queue().write_buffer(&buffer, 0, bytemuck::cast_slice(&contents));
    DeviceTensor::from_buffer(tensor_type.clone(), buffer, 0).expect("a sound buffer")
}

/// Device words of a tensor with poison as padding, which kernels must ignore.
fn poisoned_words(tensor: &Tensor) -> Vec<u32> {
    let tensor_type = tensor.tensor_type();
    let mut words = lowbit::pack::words(tensor);
    let row = tensor_type.shape().row_length();
    let (pitch, lanes) = (tensor_type.dtype().row_words(row), 32 / tensor_type.dtype().bits().min(32));
    if lanes > 1 {
        for row_words in words.chunks_exact_mut(pitch.max(1)) {
            for lane in row..pitch * lanes {
                let bits = 32 / lanes;
                let mask = u32::MAX >> (32 - bits) << (bits * (lane % lanes));
                row_words[lane / lanes] |= POISON & mask;
            }
        }
    }
    words
}

/// Runs every candidate of an op with poisoned outputs and padding, compares it with the reference bit for bit, checks
/// its padding and the bounds of every access. Returns the number of candidates.
pub(crate) fn check_op(context: &Context, name: &str, op: &Op, inputs: &[&Tensor]) -> usize {
    check_op_in_turn(1, context, name, op, inputs)
}

/// Step of [`check_op_in_turn`] that runs one candidate per case.
pub(crate) const ONE_CANDIDATE: usize = usize::MAX;

/// [`check_op`] for one in `step` candidates and at least one, and for those with a label that is new to the test. The first candidate changes from call to call. It serves tables of
/// many cases that differ in numbers and output stages only: compiling shaders takes the time, and other tests run every kernel.
/// `LOWBIT_CANDIDATES=n` runs one in n at most, and 1 all. A kernel whose label is new to the test always runs.
pub(crate) fn check_op_in_turn(step: usize, context: &Context, name: &str, op: &Op, inputs: &[&Tensor]) -> usize {
    assert!(reference::tolerance(op, inputs).expect("sound inputs").is_none(), "{name} is not exact");
    check_candidates(step, context, name, op, inputs, exact)
}

fn exact(name: &str, got: &Tensor, expected: &Tensor) {
    if let Some(difference) = first_difference(got, expected) {
        panic!("{name}: {difference}");
    }
}

/// [`check_op`] for an op that is exact only within a bound. Returns the number of candidates and the largest error as a share
/// of its bound.
pub(crate) fn check_op_within(context: &Context, name: &str, op: &Op, inputs: &[&Tensor]) -> (usize, f64) {
    check_op_within_in_turn(1, context, name, op, inputs)
}

/// [`check_op_in_turn`] for an op that is exact only within a bound.
pub(crate) fn check_op_within_in_turn(
    step: usize,
    context: &Context,
    name: &str,
    op: &Op,
    inputs: &[&Tensor],
) -> (usize, f64) {
    let tolerance = reference::tolerance(op, inputs).expect("sound inputs").expect("an op with a bound");
    let mut worst = 0.0f64;
    // The bounds of the outputs follow one another, and so do the outputs, of one candidate after the other.
    let mut bounds = tolerance.iter().cycle();
    let candidates = check_candidates(step, context, name, op, inputs, |name, got, expected| {
        let own: Vec<f32> = bounds.by_ref().take(expected.tensor_type().shape().elements()).copied().collect();
        worst = worst.max(within(name, got, expected, &own));
    });
    (candidates, worst)
}

/// Largest error as a share of its bound. Panics if an error exceeds its bound.
fn within(name: &str, got: &Tensor, expected: &Tensor, tolerance: &[f32]) -> f64 {
    let (got, expected) = (reals(got), reals(expected));
    let mut worst = 0.0f64;
    for (i, ((&got, &expected), &bound)) in got.iter().zip(&expected).zip(tolerance).enumerate() {
        if bound == f32::INFINITY || got == expected || (got.is_nan() && expected.is_nan()) {
            continue;
        }
        let error = (got - expected).abs();
        assert!(
            error <= f64::from(bound),
            "{name}: element {i} is {got:e}, expected {expected:e} with an error of at most {bound:e}"
        );
        worst = worst.max(error / f64::from(bound));
    }
    worst
}

/// Checks each case of a table. A failing case prints its message, and the others still run; then it panics with the number of
/// failures. Returns the sum of the checks' results.
pub(crate) fn check_cases<T>(cases: impl IntoIterator<Item = T>, check: impl Fn(&T) -> usize) -> usize {
    let checked = |case: T| std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&case)));
    let results: Vec<_> = cases.into_iter().map(checked).collect();
    let failed = results.iter().filter(|result| result.is_err()).count();
    assert_eq!(failed, 0, "{failed} of {} cases failed", results.len());
    results.into_iter().flatten().sum()
}

/// Elements of a tensor that is exact within a bound only: floats, int8 codes, or scales that have no zero points.
pub(crate) fn reals(tensor: &Tensor) -> Vec<f64> {
    match tensor.tensor_type().dtype() {
        DType::Float16 => tensor.values::<half::f16>().expect("float16").iter().map(|x| x.to_f64()).collect(),
        DType::Int8 => tensor.values::<i8>().expect("int8").iter().map(|&code| code.into()).collect(),
        DType::Parameters => {
            let pairs = tensor.values::<QuantizationParams>().expect("parameters");
            assert!(pairs.iter().all(|pair| pair.zero_point == 0), "zero points of symmetric codes");
            pairs.iter().map(|pair| pair.scale.into()).collect()
        }
        _ => tensor.values::<f32>().expect("float32").iter().map(|&x| x.into()).collect(),
    }
}

/// Runs the candidates with poisoned outputs and padding, and passes their outputs and the reference's to `compare`. It checks that
/// padding is zero and, for some candidates in turn, that every access is in bounds. Returns the number of candidates run
/// ([`turn`]).
fn check_candidates(
    step: usize,
    context: &Context,
    name: &str,
    op: &Op,
    inputs: &[&Tensor],
    mut compare: impl FnMut(&str, &Tensor, &Tensor),
) -> usize {
    let expected = reference::run(op, inputs).unwrap_or_else(|error| panic!("{name}: {error}"));
    let graph = Graph::of(op.clone()).expect("the op's own inputs");
    check_graph_reference(name, &graph, inputs, &expected);
    let candidates = kernels::candidates(op, &context.caps());
    let call = CALLS.replace(CALLS.get() + 1);
    // 1 runs all, also where a test asks for some.
    let step = match step_of("LOWBIT_CANDIDATES", 0) {
        0 => step,
        1 => 1,
        of_all => step.max(of_all),
    };
    let in_turn = turn(call, candidates.len(), step);
    let chosen = (0..candidates.len()).filter(|index| is_first(&candidates[*index].label) || in_turn.contains(index));
    let chosen: Vec<usize> = chosen.collect();
    // A round is the number of calls in which each candidate is run once.
    let round = call / candidates.len().min(step).max(1);
    let bounded = turn(round, candidates.len(), step_of("LOWBIT_BOUNDS", 4));
    for &index in &chosen {
        let candidate = &candidates[index];
        run_candidate(context, name, &graph, inputs, (index, candidate), &expected, &mut compare);
        if bounded.contains(&index) {
            run_checked(context, name, op, inputs, candidate);
        }
    }
    chosen.len()
}

/// Runs one candidate of the graph's only op, passes its outputs and the expected outputs to `compare`, and checks that padding is
/// zero.
fn run_candidate(
    context: &Context,
    name: &str,
    graph: &Graph,
    inputs: &[&Tensor],
    (index, candidate): (usize, &Candidate),
    expected: &[Tensor],
    mut compare: impl FnMut(&str, &Tensor, &Tensor),
) {
    let run = || -> lowbit::Result<Vec<(Tensor, Tensor)>> {
        let plan = context.plan(graph, Tuner::Nth(index))?;
        let inputs: Vec<_> = inputs.iter().map(|t| place(context, t.tensor_type(), Some(&poisoned_words(t)))).collect();
        let outputs: Vec<_> = plan.output_types().iter().map(|t| place(context, t, None)).collect();
        let bindings = plan.bind(&inputs.iter().collect::<Vec<_>>(), &outputs.iter().collect::<Vec<_>>())?;
        let mut encoder = context.device().create_command_encoder(&Default::default());
        plan.record(&mut encoder, &bindings)?;
        context.queue().submit([encoder.finish()]);
        let read = |t: &DeviceTensor| {
            let shape = t.tensor_type().shape();
            let words = shape.rows() * t.tensor_type().dtype().row_words(shape.row_length());
            let words = TensorType::new(DType::Int32, [words])?;
            let words = DeviceTensor::from_buffer(words, t.buffer().clone(), 0)?;
            Ok((context.download_blocking(t)?, context.download_blocking(&words)?))
        };
        outputs.iter().map(read).collect()
    };
    let got = run().unwrap_or_else(|error| panic!("{name}, {}: {error}", candidate.label));
    for (output, ((got, words), expected)) in got.iter().zip(expected).enumerate() {
        let name = format!("{name}, candidate \"{}\", output {output}", candidate.label);
        compare(&name, got, expected);
        // Packing the tensor again gives zero padding.
        let right = lowbit::pack::words(got);
        let differ = words.values::<i32>().expect("int32").iter().zip(&right).position(|(&a, &b)| a as u32 != b);
        assert_eq!(differ, None, "{name}: padding");
    }
}

/// Compares outputs of an op with the reference: bit for bit, or within the op's bound.
pub(crate) fn check_outputs(name: &str, op: &Op, inputs: &[&Tensor], got: &[Tensor]) -> lowbit::Result<()> {
    let tolerance = reference::tolerance(op, inputs)?;
    let mut bounds = tolerance.as_deref();
    for (output, (got, expected)) in got.iter().zip(&reference::run(op, inputs)?).enumerate() {
        let name = format!("{name}, output {output}");
        match &mut bounds {
            None => exact(&name, got, expected),
            Some(bounds) => {
                let own =
                    bounds.split_off(..expected.tensor_type().shape().elements()).expect("a bound of each element");
                within(&name, got, expected, own);
            }
        }
    }
    Ok(())
}

/// Checks every access of every candidate, with any outputs, and returns the number of candidates. `LOWBIT_BOUNDS` can reduce the
/// candidates to some of them ([`turn`]).
pub(crate) fn bounds_of_all(context: &Context, name: &str, op: &Op, inputs: &[&Tensor]) -> usize {
    let candidates = kernels::candidates(op, &context.caps());
    let chosen = turn(CALLS.replace(CALLS.get() + 1), candidates.len(), step_of("LOWBIT_BOUNDS", 1));
    chosen.iter().for_each(|&index| drop(run_checked(context, name, op, inputs, &candidates[index])));
    chosen.len()
}

thread_local!(static CALLS: Cell<usize> = const { Cell::new(0) });

/// The variable's value n, for one candidate in n, or 0 for none; `otherwise` if it is not set.
fn step_of(variable: &str, otherwise: usize) -> usize {
    match self::variable(variable) {
        Some(step) => step.parse().unwrap_or_else(|_| panic!("{variable} is {step}, which is no number")),
        None => otherwise,
    }
}

/// Indices of the candidates to check: one in `step`, none for 0. The first index changes from call to call.
fn turn(call: usize, candidates: usize, step: usize) -> Vec<usize> {
    if step == 0 { Vec::new() } else { (call % candidates.min(step).max(1)..candidates).step_by(step).collect() }
}

/// True if no kernel with this label has run in this test so far.
fn is_first(label: &str) -> bool {
    thread_local!(static LABELS: RefCell<HashSet<String>> = RefCell::default());
    LABELS.with_borrow_mut(|labels| labels.insert(label.to_string()))
}

/// Checks that the reference of a graph, which divides rows among threads, equals the op's reference.
fn check_graph_reference(name: &str, graph: &Graph, inputs: &[&Tensor], expected: &[Tensor]) {
    let got = graph.run_reference(inputs).unwrap_or_else(|error| panic!("{name}: {error}"));
    for (got, expected) in got.iter().zip(expected) {
        assert_eq!(first_difference(got, expected), None, "{name}: the reference, divided among threads");
    }
}

/// First difference of two tensors, by bits.
pub(crate) fn first_difference(got: &Tensor, expected: &Tensor) -> Option<String> {
    if got.tensor_type().dtype() != expected.tensor_type().dtype() || got.dims() != expected.dims() {
        return Some(format!("got a {}, expected a {}", got.tensor_type(), expected.tensor_type()));
    }
    let (got_words, words) = (lowbit::pack::words(got), lowbit::pack::words(expected));
    if got_words == words {
        return None;
    }
    let (dtype, shape, row) = (expected.dtype(), expected.dims(), expected.tensor_type().shape().row_length());
    let (bits, pitch) = (dtype.bits(), dtype.row_words(row));
    let element = |words: &[u32], i: usize| match (i / row * pitch, i % row * bits) {
        (first, bit) if bits == 64 => [words[first + bit / 32], words[first + bit / 32 + 1]],
        (first, bit) => [words[first + bit / 32] << (32 - bits - bit % 32), 0],
    };
    let show = |[word, next]: [u32; 2]| match dtype {
        DType::Float32 => format!("{:e}", f32::from_bits(word)),
        DType::Parameters => format!("({:e}, {})", f32::from_bits(word), next as i32),
        _ if dtype.range().is_some_and(|(low, _)| low < 0) => format!("{}", word as i32 >> (32 - bits)),
        _ if dtype.range().is_some() => format!("{}", word >> (32 - bits)),
        _ => format!("{:#x}", word >> (32 - bits)),
    };
    let mut index = (0..expected.tensor_type().shape().elements())
        .find(|&i| element(&got_words, i) != element(&words, i))
        .expect("padding is zero");
    let (got, expected) = (show(element(&got_words, index)), show(element(&words, index)));
    let mut place = vec![0; shape.len()];
    for (place, &extent) in place.iter_mut().zip(shape).rev() {
        *place = index % extent;
        index /= extent;
    }
    Some(format!("at {place:?} of {shape:?} got {got}, expected {expected}"))
}
