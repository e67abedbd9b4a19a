//! A graph prepared for one device: kernels chosen, constants uploaded, memory laid out. `plan` determines the launches, `kernels`
//! the programs; `bindings` binds them to buffers.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::bindings::{Bindings, Workspace};
use super::choose::{Choices, Chooser, measured};
use super::context::Counting;
use super::errors::caught;
use super::pipeline::Pipeline;
use super::warm::launch_once;
use super::{Context, DeviceTensor, lock};
use crate::error::{Error, Result, require};
use crate::kernels::DeviceCaps;
use crate::numeric::DType;
use crate::ops::check_parameters;
use crate::plan::{CandidateLists, ExportedPlan, Frame, Graph, Launch, MemoryRules, Schedule, check_tensors};
use crate::tensor::{Tensor, TensorType};
use crate::tune::Tuner;

/// The options of a [`Plan`].
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct PlanOptions {
    /// The choice of kernels.
    pub tuner: Tuner,
    /// Puts the workspace into one buffer. By default it is several buffers if that costs no memory, because launches that share no
    /// buffer can run in parallel. A tensor that one op reads twice, such as x in x · x, is in a buffer of its own either way: WebGPU
    /// forbids two bindings of the same bytes beside an output in their buffer.
    pub single_workspace_buffer: bool,
}

impl PlanOptions {
    /// These options with this choice of kernels.
    #[must_use]
    pub fn with_tuner(mut self, tuner: Tuner) -> Self {
        self.tuner = tuner;
        self
    }

    /// These options with or without one buffer for the whole workspace.
    #[must_use]
    pub fn with_single_workspace_buffer(mut self, single: bool) -> Self {
        self.single_workspace_buffer = single;
        self
    }
}

impl From<Tuner> for PlanOptions {
    fn from(tuner: Tuner) -> Self {
        Self { tuner, ..Self::default() }
    }
}

/// A graph prepared for a device; made by [`Context::plan`].
///
/// [`Plan::bind`] binds it to tensors once. [`Plan::record`] then puts all its launches into a compute pass of the caller's
/// encoder, any number of times, without allocating on the device. It is immutable, `Send` and `Sync`; two threads may bind and
/// record at once.
///
/// Its `Display` shows one line per launch: the kernel, its ops (several if they are fused), its grid, the bytes that it reads and
/// writes, and its number of operations.
pub struct Plan {
    context: Context,
    /// Unique; bindings refer to their plan by it.
    id: u64,
    graph: Graph,
    options: PlanOptions,
    limits: DeviceCaps,
    frame: Frame,
    /// The launches at the largest extents.
    whole: Arc<Variant>,
    /// The launches at other sizes of the extents that tensors were bound with.
    variants: Mutex<HashMap<Vec<usize>, Arc<Variant>>>,
    /// The plan's own workspace, for bindings without a caller's workspace.
    workspace: OnceLock<Workspace>,
    /// The inputs that are dynamic parameters, with the data type of their codes.
    parameters: Vec<(usize, DType)>,
}

/// The launches at some sizes of the extents, with their constants and uniforms.
#[derive(Debug)]
pub(super) struct Variant {
    input_types: Vec<TensorType>,
    output_types: Vec<TensorType>,
    /// The inputs that launches write.
    pub(super) states: Vec<usize>,
    pub(super) schedule: Schedule,
    /// The schedule's constants on the device.
    pub(super) constants: Vec<Arc<wgpu::Buffer>>,
    uniforms: wgpu::Buffer,
    /// The offset of each launch's parameters in the uniform buffer.
    uniform_offsets: Vec<u64>,
    pipelines: OnceLock<Arc<[Arc<Pipeline>]>>,
}

/// wgpu's alignment of the offset of a uniform binding, valid on any device.
const UNIFORM_ALIGNMENT: usize = 256;

/// The number of combinations of sizes that a plan caches besides the largest.
const MOST_VARIANTS: usize = 64;

impl Variant {
    fn new(
        context: &Context,
        graph: &Graph,
        frame: &Frame,
        lists: &CandidateLists<'_>,
        chooser: &Chooser<'_>,
    ) -> Result<Self> {
        let schedule = frame.schedule(graph, lists, |op, candidates| chooser.choose(op, candidates))?;
        let mut parameters: Vec<u8> = Vec::new();
        let mut uniform_offsets = Vec::new();
        for launch in &schedule.launches {
            parameters.resize(parameters.len().next_multiple_of(UNIFORM_ALIGNMENT), 0);
            uniform_offsets.push(parameters.len() as u64);
            parameters.extend(&launch.dispatch.parameters);
        }
        let words: Vec<u32> = bytemuck::pod_collect_to_vec(&parameters);
        Ok(Self {
            input_types: graph.types_of(graph.inputs()),
            output_types: graph.types_of(graph.outputs()),
            states: graph.state_inputs(),
            constants: context.constants().of(context, &schedule.constants)?,
            uniforms: context.buffer("parameters", words.len() as u64 * 4, wgpu::BufferUsages::UNIFORM, &words)?,
            schedule,
            uniform_offsets,
            pipelines: OnceLock::new(),
        })
    }

    /// The binding of a launch's parameters.
    pub(super) fn uniform_entry(&self, launch: usize) -> wgpu::BindGroupEntry<'_> {
        let resource = wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer: &self.uniforms,
            offset: self.uniform_offsets[launch],
            size: wgpu::BufferSize::new(self.schedule.launches[launch].dispatch.parameters.len() as u64),
        });
        wgpu::BindGroupEntry { binding: 0, resource }
    }

    /// Compiles the missing programs, down to machine code.
    async fn warm_up(&self, context: &Context) -> Result<()> {
        context.check_alive()?;
        launch_once(context, self, &self.pipelines(context)?).await?;
        context.check().await
    }

    /// Gives back the memory that no other plan holds.
    fn destroy(self) {
        self.uniforms.destroy();
        self.constants.into_iter().filter_map(Arc::into_inner).for_each(|constant| constant.destroy());
    }

    /// The pipelines of all launches; compiles the missing ones.
    pub(super) fn pipelines(&self, context: &Context) -> Result<Arc<[Arc<Pipeline>]>> {
        if let Some(pipelines) = self.pipelines.get() {
            return Ok(pipelines.clone());
        }
        context.compile(&self.schedule.launches.iter().map(|launch| &launch.dispatch).collect::<Vec<_>>())?;
        let pipelines =
            self.schedule.launches.iter().map(|launch| context.pipeline(&launch.dispatch)).collect::<Result<_>>()?;
        Ok(self.pipelines.get_or_init(|| pipelines).clone())
    }
}

/// The capabilities of a device that can run kernels at all.
pub(super) fn supported(context: &Context) -> Result<DeviceCaps> {
    let caps = context.device_caps();
    if caps.invocations == 0 || caps.groups_per_dimension == 0 {
        return Err(Error::Limit {
            what: "every kernel".into(),
            needed: 1,
            limit: 0,
            unit: "compute invocations",
            advice: "request the device with at least wgpu::Limits::default()",
        });
    }
    Ok(caps)
}

/// The steps of a graph in order, with the places of its tensors.
pub(super) fn frame(
    context: &Context,
    graph: &Graph,
    lists: &CandidateLists<'_>,
    options: PlanOptions,
) -> Result<Frame> {
    let rules = MemoryRules {
        largest_buffer: context.device().limits().max_buffer_size,
        single_buffer: options.single_workspace_buffer,
    };
    Frame::new(graph, lists, &rules)
}

impl Plan {
    pub(super) fn new(context: &Context, graph: &Graph, options: PlanOptions) -> Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        context.check_alive()?;
        let limits = supported(context)?;
        let lists = CandidateLists::new(&limits);
        let frame = frame(context, graph, &lists, options)?;
        let measured = measured(context, graph, &frame, &lists, options.tuner)?;
        let chooser = Chooser::new(context, options.tuner, measured);
        let whole = Arc::new(Variant::new(context, graph, &frame, &lists, &chooser)?);
        Ok(Self {
            context: context.clone(),
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            graph: graph.clone(),
            options,
            limits,
            frame,
            whole,
            variants: Mutex::default(),
            workspace: OnceLock::new(),
            parameters: graph.parameter_inputs(),
        })
    }

    /// The sizes of the extents in inputs of these types.
    fn sizes<'a>(&'a self, inputs: impl ExactSizeIterator<Item = &'a TensorType> + Clone) -> Result<Vec<usize>> {
        let sizes = self.graph.sizes_of(inputs.clone())?;
        check_tensors("input", self.graph.types_at(self.graph.inputs(), &sizes)?.iter(), inputs)?;
        Ok(sizes)
    }

    /// The launches for inputs of these types.
    fn variant<'a>(&'a self, inputs: impl ExactSizeIterator<Item = &'a TensorType> + Clone) -> Result<Arc<Variant>> {
        self.variant_at(&self.sizes(inputs)?)
    }

    /// The launches at some sizes of the extents, made at their first use.
    fn variant_at(&self, sizes: &[usize]) -> Result<Arc<Variant>> {
        if sizes == self.graph.largest() {
            return Ok(self.whole.clone());
        }
        if let Some(variant) = lock(&self.variants).get(sizes) {
            return Ok(variant.clone());
        }
        let graph = self.graph.at(sizes)?;
        // Binding must not measure; it uses known choices only.
        let chooser = Chooser::new(&self.context, self.options.tuner, Choices::default());
        let lists = CandidateLists::new(&self.limits);
        let variant = Variant::new(&self.context, &graph, &self.frame, &lists, &chooser)?;
        let mut variants = lock(&self.variants);
        if variants.len() >= MOST_VARIANTS {
            variants.clear();
        }
        Ok(variants.entry(sizes.to_vec()).or_insert_with(|| Arc::new(variant)).clone())
    }

    /// The plan where its extents have these sizes, and others their largest: its launches, the types of its tensors, its programs to
    /// be compiled. The launches are made at the first use of the sizes, and up to 64 combinations of sizes are kept beside the
    /// largest.
    ///
    /// ```
    /// use lowbit::{Context, DeviceTensor, Graph, Tensor, TensorType, Tuner, ops::{FloatUnary, Function}};
    /// # let Ok(context) = Context::new_blocking() else { return Ok(()) };
    /// let mut graph = Graph::new();
    /// let tokens = graph.extent("tokens", 512)?;
    /// let x = graph.dynamic_input(TensorType::float32([512, 64])?, [(0, tokens)])?;
    /// let y = graph.add(FloatUnary::new(graph.tensor_type(x)?.clone(), Function::Relu)?, &[x])?;
    /// graph.output(y);
    /// let plan = context.plan(&graph, Tuner::FirstGuess)?;
    /// let three = plan.at(&[("tokens", 3)])?;
    /// println!("{three}"); // a line for each launch
    /// pollster::block_on(three.warm_up())?;
    /// let y = DeviceTensor::allocate(&context, three.output_types()[0].clone())?;
    /// let x = context.upload(&Tensor::new([3, 64], vec![1.0f32; 192])?)?;
    /// let bindings = plan.bind(&[&x], &[&y])?; // the shapes say that there are three tokens
    /// assert_eq!(bindings.launches(), three.launches());
    /// # Ok::<(), lowbit::Error>(())
    /// ```
    ///
    /// # Errors
    /// If there is no such extent, a size is beyond its largest, or an op or the workspace can't have it.
    pub fn at(&self, sizes: &[(&str, usize)]) -> Result<PlanAt<'_>> {
        self.context.check_alive()?;
        let sizes = self.graph.named_sizes(sizes)?;
        Ok(PlanAt { plan: self, variant: self.variant_at(&sizes)?, sizes })
    }

    /// The plan at its largest extents as data, with its constants: to run it without this crate. [`Graph::export`] makes the same
    /// without a device, by first guesses; this has the kernels that the plan's tuner chose on this device.
    ///
    /// A context on a device with WebGPU's default limits and without optional features, as `wgpu::DeviceDescriptor::default()`
    /// requests it for [`Context::from_device`], makes plans that every device of WebGPU runs.
    ///
    /// # Errors
    /// If weights are [deferred](crate::weights::PackedWeights::deferred) and can't be made again.
    pub fn export(&self) -> Result<ExportedPlan> {
        ExportedPlan::new(&self.graph, self.workspace_buffers(), &self.whole.schedule, &self.limits)
    }

    /// The context that made the plan.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The types of the inputs, in order, at the largest extents.
    #[must_use]
    pub fn input_types(&self) -> &[TensorType] {
        &self.whole.input_types
    }

    /// The types of the outputs, in order, at the largest extents.
    #[must_use]
    pub fn output_types(&self) -> &[TensorType] {
        &self.whole.output_types
    }

    /// The types of the outputs for inputs of these types, which may have smaller extents.
    ///
    /// # Errors
    /// If the inputs are not the graph's.
    pub fn output_types_for(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>> {
        self.graph.types_at(self.graph.outputs(), &self.sizes(inputs.iter().copied())?)
    }

    /// Number of bytes of the workspace: intermediates and scratch, which share memory if they are not live at once.
    #[must_use]
    pub fn workspace_bytes(&self) -> u64 {
        self.frame.workspace.iter().sum()
    }

    /// The sizes of the workspace's buffers in bytes, for [`Workspace::from_buffers`].
    #[must_use]
    pub fn workspace_buffers(&self) -> &[u64] {
        &self.frame.workspace
    }

    /// The peak sum of bytes of live intermediates: the lower bound of [`Plan::workspace_bytes`].
    #[must_use]
    pub fn live_bytes(&self) -> u64 {
        self.frame.live_peak
    }

    /// The number of launches of one recording at the largest extents. [`Plan::at`] and [`Bindings`] tell that of others.
    #[must_use]
    pub fn launches(&self) -> usize {
        self.whole.schedule.launches.len()
    }

    /// The labels of the kernels launched at the largest extents, in order. They are for people: any release may change them.
    pub fn labels(&self) -> impl ExactSizeIterator<Item = &str> {
        self.whole.labels()
    }

    /// Compiles the missing programs, on as many threads as there are cores, so that no later call or submission compiles. Without
    /// it, the first [`Plan::bind`] compiles. Natively the first poll does all of the work, and the caller's thread takes part:
    /// await it where that may take a while.
    ///
    /// If the device is a CPU, the driver (Mesa's llvmpipe) makes a program's machine code at its first launch; a browser may also
    /// put that off. There each new program is also launched, with no workgroups: one submission, which touches no tensor, and a
    /// wait for it.
    ///
    /// # Errors
    /// If the device fails, or a program doesn't compile. In a browser also the first error of earlier calls.
    pub async fn warm_up(&self) -> Result<()> {
        self.whole.warm_up(&self.context).await
    }

    /// Binds the plan to tensors, in the order of the graph's inputs and outputs, and to the plan's own workspace, which the first
    /// call allocates. Bind once per set of buffers. The shapes of dynamic inputs tell the sizes of the graph's extents.
    ///
    /// # Errors
    /// If the number or types of the tensors are not those that the graph declares, an output overlaps another tensor,
    /// or the device fails or has no memory.
    pub fn bind(&self, inputs: &[&DeviceTensor], outputs: &[&DeviceTensor]) -> Result<Bindings> {
        let variant = self.check(inputs, outputs)?;
        let workspace = match self.workspace.get() {
            Some(workspace) => workspace,
            None => {
                let workspace = Workspace::allocate(self)?;
                self.workspace.get_or_init(|| workspace)
            }
        };
        Bindings::new(&self.context, self.id, variant, inputs, outputs, workspace)
    }

    /// Binds the plan to tensors and the caller's workspace.
    ///
    /// # Errors
    /// As [`Plan::bind`]. Also if the workspace is too small or shares a buffer with a tensor.
    pub fn bind_with(
        &self,
        inputs: &[&DeviceTensor],
        outputs: &[&DeviceTensor],
        workspace: &Workspace,
    ) -> Result<Bindings> {
        let variant = self.check(inputs, outputs)?;
        workspace.check(self.workspace_buffers())?;
        let used = &workspace.buffers[..self.workspace_buffers().len()];
        require!(
            inputs.iter().chain(outputs).all(|tensor| !used.contains(tensor.buffer())),
            "a tensor shares its buffer with the workspace: WebGPU tracks whole buffers, so offsets don't help; give the workspace \
             buffers of its own"
        );
        Bindings::new(&self.context, self.id, variant, inputs, outputs, workspace)
    }

    /// The launches for tensors that are to be bound, after checking the tensors.
    fn check(&self, inputs: &[&DeviceTensor], outputs: &[&DeviceTensor]) -> Result<Arc<Variant>> {
        self.context.check_alive()?;
        let variant = self.variant(inputs.iter().map(|t| t.tensor_type()))?;
        check_tensors("output", variant.output_types.iter(), outputs.iter().map(|t| t.tensor_type()))?;
        inputs.iter().chain(outputs).try_for_each(|tensor| tensor.check_context(&self.context))?;
        for (i, output) in outputs.iter().enumerate() {
            let others = inputs.iter().chain(&outputs[..i]);
            require!(
                others.clone().all(|other| !other.overlaps(output)),
                "output {i} overlaps another input or output in their buffer: give it bytes of its own"
            );
        }
        for &i in &variant.states {
            let mut others = inputs.iter().enumerate().filter(|&(other, _)| other != i);
            require!(
                others.all(|(_, other)| !other.overlaps(inputs[i])),
                "input {i} is a state, which the plan changes, but it overlaps another input: give it bytes of its own"
            );
        }
        Ok(variant)
    }

    /// Records all launches into a new compute pass of the caller's encoder. Nothing is allocated on the device, and nothing is
    /// submitted.
    ///
    /// # Errors
    /// If the bindings are another plan's, or the device is lost. The encoder must be of the context's device. wgpu refuses to
    /// finish an encoder of another device. With one of another instance, the call fails with [`Error::Validation`] and leaves the
    /// encoder unusable (see [`DeviceTensor::from_buffer`]).
    ///
    /// ```no_run
    /// use lowbit::{Context, DeviceTensor, DType, Graph, Quantization, TensorType, Tuner, ops::Dequantize};
    /// # fn engine(device: wgpu::Device, queue: wgpu::Queue, codes: wgpu::Buffer, reals: wgpu::Buffer) -> lowbit::Result<()> {
    /// let context = Context::from_device(device.clone(), queue.clone());
    /// let codes_type = TensorType::new(DType::Uint8, [8, 100])?.quantized(Quantization::tensor(0.1, 3))?;
    /// let mut graph = Graph::new();
    /// let x = graph.input(codes_type.clone());
    /// let y = graph.add(Dequantize::new(codes_type.clone()).build()?, &[x])?;
    /// graph.output(y);
    /// let plan = context.plan(&graph, Tuner::FirstGuess)?;
    ///
    /// // Your buffers: 8 rows of 100 codes, each in 112 bytes, and 800 dense f32.
    /// let codes = DeviceTensor::from_buffer(codes_type, codes, 0)?;
    /// let reals = DeviceTensor::from_buffer(TensorType::new(DType::Float32, [8, 100])?, reals, 0)?;
    /// let bindings = plan.bind(&[&codes], &[&reals])?;
    ///
    /// let mut encoder = device.create_command_encoder(&Default::default());
    /// plan.record(&mut encoder, &bindings)?;
    /// queue.submit([encoder.finish()]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn record(&self, encoder: &mut wgpu::CommandEncoder, bindings: &Bindings) -> Result<()> {
        self.check_bindings(bindings)?;
        let descriptor = wgpu::ComputePassDescriptor { label: Some("lowbit"), timestamp_writes: None };
        caught(|| bindings.record(&mut encoder.begin_compute_pass(&descriptor)))
    }

    /// Records all launches into the caller's compute pass, which may hold other plans and the caller's own launches. It changes
    /// the pass's pipeline and bind group 0.
    ///
    /// # Errors
    /// As [`Plan::record`].
    pub fn record_in(&self, pass: &mut wgpu::ComputePass<'_>, bindings: &Bindings) -> Result<()> {
        self.check_bindings(bindings)?;
        caught(|| bindings.record(pass))
    }

    /// Records one launch.
    pub(super) fn record_launch(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        bindings: &Bindings,
        index: usize,
    ) -> Result<()> {
        self.check_bindings(bindings)?;
        caught(|| bindings.record_some(pass, index..index + 1))
    }

    fn check_bindings(&self, bindings: &Bindings) -> Result<()> {
        require!(
            bindings.plan == self.id,
            "the bindings were made by another plan: record them with the plan whose bind returned them"
        );
        self.context.check_alive()
    }

    /// Runs on device tensors: allocates the outputs, records, and submits once. States among the inputs are changed in place.
    /// Dynamic parameters among the inputs are not checked.
    ///
    /// # Errors
    /// As [`Plan::bind`].
    pub fn run_on_device(&self, inputs: &[&DeviceTensor]) -> Result<Vec<DeviceTensor>> {
        self.context.check_alive()?;
        let types: Vec<&TensorType> = inputs.iter().map(|t| t.tensor_type()).collect();
        let allocate = |t: TensorType| DeviceTensor::allocate(&self.context, t);
        let outputs: Vec<_> = self.output_types_for(&types)?.into_iter().map(allocate).collect::<Result<_>>()?;
        let bindings = self.bind(inputs, &outputs.iter().collect::<Vec<_>>())?;
        self.submit(&bindings)?;
        Ok(outputs)
    }

    /// Records the plan and submits it once.
    pub(crate) fn submit(&self, bindings: &Bindings) -> Result<()> {
        let mut encoder = self.context.device().create_command_encoder(&Default::default());
        self.record(&mut encoder, bindings)?;
        self.context.scoped(|| self.context.queue().submit([encoder.finish()]))?;
        Counting::count(&self.context.counting.submissions);
        Ok(())
    }

    /// Runs on host tensors: uploads, one submission, downloads. Its tensors on the device are destroyed at the end. Returns the
    /// outputs, then the new contents of the states ([`Graph::state`]).
    ///
    /// # Errors
    /// As [`Plan::run_on_device`]; also if dynamic parameters among the inputs are not a valid scale and code. Those in caches of
    /// [`Attention`](crate::ops::Attention) are not checked, since positions beyond its length may hold anything.
    pub async fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        self.context.check_alive()?;
        self.variant(inputs.iter().map(|t| t.tensor_type()))?;
        self.parameters.iter().try_for_each(|&(input, codes)| check_parameters(codes, inputs[input]))?;
        let uploaded: Vec<_> = inputs.iter().map(|t| self.context.upload(t)).collect::<Result<_>>()?;
        let outputs = self.run_on_device(&uploaded.iter().collect::<Vec<_>>())?;
        let mut downloaded = Vec::new();
        let states = self.whole.states.iter().map(|&input| &uploaded[input]);
        for tensor in outputs.iter().chain(states) {
            downloaded.push(self.context.download(tensor).await);
        }
        uploaded.into_iter().chain(outputs).for_each(DeviceTensor::destroy);
        downloaded.into_iter().collect()
    }

    /// As [`Plan::run`], but blocking. Not available in browsers.
    ///
    /// # Errors
    /// As [`Plan::run`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run_blocking(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        pollster::block_on(self.run(inputs))
    }

    /// Gives memory back at once: the parameters of launches, the plan's own workspace, and constants that no other plan holds.
    /// Memory that bindings still use is left to them. Recordings that were not submitted fail. Otherwise memory comes back when the
    /// plan and its bindings are dropped; in a browser only when its collector runs, which doesn't know how much a buffer holds.
    pub fn destroy(self) {
        let variants = self.variants.into_inner().unwrap_or_else(PoisonError::into_inner);
        let all = variants.into_values().chain([self.whole]);
        let free: Vec<_> = all.map(Arc::into_inner).collect();
        if free.iter().all(Option::is_some)
            && let Some(workspace) = self.workspace.into_inner()
        {
            workspace.destroy();
        }
        free.into_iter().flatten().for_each(Variant::destroy);
    }

    /// The options of the plan.
    #[must_use]
    pub fn options(&self) -> PlanOptions {
        self.options
    }

    /// The graph.
    #[must_use]
    pub fn graph(&self) -> &Graph {
        &self.graph
    }
}

/// A [`Plan`] where the graph's extents have some sizes; made by [`Plan::at`].
///
/// Its `Display` shows one line per launch, as that of the plan does.
#[derive(Clone)]
pub struct PlanAt<'a> {
    plan: &'a Plan,
    variant: Arc<Variant>,
    sizes: Vec<usize>,
}

impl PlanAt<'_> {
    /// The types of the inputs, in order.
    #[must_use]
    pub fn input_types(&self) -> &[TensorType] {
        &self.variant.input_types
    }

    /// The types of the outputs, in order.
    #[must_use]
    pub fn output_types(&self) -> &[TensorType] {
        &self.variant.output_types
    }

    /// The number of launches of one recording.
    #[must_use]
    pub fn launches(&self) -> usize {
        self.variant.schedule.launches.len()
    }

    /// The labels of the launched kernels, in order. They are for people: any release may change them.
    pub fn labels(&self) -> impl ExactSizeIterator<Item = &str> {
        self.variant.labels()
    }

    /// Compiles the missing programs of these launches, as [`Plan::warm_up`] does.
    ///
    /// # Errors
    /// As for [`Plan::warm_up`].
    pub async fn warm_up(&self) -> Result<()> {
        self.variant.warm_up(&self.plan.context).await
    }

    /// Binds the plan to tensors of exactly these sizes, as [`Plan::bind`] does.
    ///
    /// # Errors
    /// As for [`Plan::bind`], and if tensors have other sizes.
    pub fn bind(&self, inputs: &[&DeviceTensor], outputs: &[&DeviceTensor]) -> Result<Bindings> {
        check_tensors("input", self.variant.input_types.iter(), inputs.iter().map(|t| t.tensor_type())).map_err(
            |error| match self.sizes.is_empty() {
                true => error,
                false => Error::Request(format!("for {}: {error}", self.plan.graph.describe_sizes(&self.sizes))),
            },
        )?;
        self.plan.bind(inputs, outputs)
    }

    /// These launches as data, as [`Plan::export`] makes it.
    ///
    /// # Errors
    /// As for [`Plan::export`].
    pub fn export(&self) -> Result<ExportedPlan> {
        let Plan { graph, limits, .. } = self.plan;
        ExportedPlan::new(&graph.at(&self.sizes)?, self.plan.workspace_buffers(), &self.variant.schedule, limits)
    }
}

impl fmt::Display for PlanAt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.variant)
    }
}

impl fmt::Debug for PlanAt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PlanAt {{ {}\n{self}}}", self.plan.graph.describe_sizes(&self.sizes))
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Plan {{\n{self}}}")
    }
}

impl fmt::Display for Plan {
    /// Writes one line per launch at the largest extents, and one for the workspace.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.whole)?;
        writeln!(
            f,
            "workspace {} in {} buffers, live at once {}",
            Amount(self.workspace_bytes() as f64, "B", 1024.0),
            self.workspace_buffers().len(),
            Amount(self.live_bytes() as f64, "B", 1024.0),
        )
    }
}

impl fmt::Display for Variant {
    /// Writes one line per launch.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for launch in &self.schedule.launches {
            let [x, y, z] = launch.dispatch.grid;
            let [read, written] = [false, true].map(|writes| self.bytes(launch, writes));
            let read = read + launch.overwritten.unwrap_or(0);
            let ops =
                format!("{}{}", launch.parts.join(" + "), if launch.overwritten.is_some() { ", in place" } else { "" });
            writeln!(
                f,
                "{:<44} {:>14}  reads {:>10}  writes {:>10}  {:>8}  {ops}",
                launch.dispatch.label,
                format!("{x} x {y} x {z}"),
                Amount(read as f64, "B", 1024.0),
                Amount(written as f64, "B", 1024.0),
                Amount(launch.dispatch.operations as f64, "op", 1000.0),
            )?;
        }
        Ok(())
    }
}

impl Variant {
    /// The labels of the launched kernels, in order.
    pub(super) fn labels(&self) -> impl ExactSizeIterator<Item = &str> {
        self.schedule.launches.iter().map(|launch| launch.dispatch.label.as_str())
    }

    /// Number of bytes that a launch reads, or writes: of whole bindings, or of the parts that it says.
    fn bytes(&self, launch: &Launch, writes: bool) -> u64 {
        let bound = launch.dispatch.bindings.iter().zip(&launch.spans);
        bound
            .filter(|(binding, _)| binding.writes == writes)
            .map(|(binding, span)| {
                let whole = match span.storage {
                    crate::plan::Storage::Constant(i) => self.constants[i].size(),
                    _ => span.bytes.unwrap_or(0),
                };
                binding.touched.map_or(whole, |part| part.min(whole))
            })
            .sum::<u64>()
    }
}

/// A number with its unit in steps of 1000 or 1024.
struct Amount(f64, &'static str, f64);

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(mut value, unit, step) = *self;
        let mut prefixes = ["", "k", "M", "G", "T"].iter();
        let mut prefix = prefixes.next().unwrap_or(&"");
        while value >= step {
            let Some(next) = prefixes.next() else { break };
            (value, prefix) = (value / step, next);
        }
        let binary = if step == 1024.0 && !prefix.is_empty() { "i" } else { "" };
        let digits = if prefix.is_empty() || value >= 100.0 { 0 } else { 1 };
        f.pad(&format!(
            "{value:.digits$} {}{binary}{unit}",
            if binary.is_empty() { prefix.to_string() } else { prefix.to_uppercase() }
        ))
    }
}
