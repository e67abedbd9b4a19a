//! A device with what this crate keeps beside it: compiled pipelines, counters, and whether it is lost. Tensors and plans
//! are next door.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use super::constants::Constants;
use super::pipeline::{Pipeline, Pipelines};
use super::{DeviceTensor, Plan, PlanOptions, lock, pipeline_cache};
use crate::error::{Error, Result};
use crate::kernels::{DeviceCaps, Dispatch};
#[cfg(not(target_arch = "wasm32"))]
use crate::ops::Op;
use crate::plan::Graph;
use crate::tensor::Tensor;
use crate::tune::{Machine, Tuner, Tuning};

/// What a [`Context`] is made with.
///
/// ```
/// let mut options = lowbit::ContextOptions::default();
/// options.adapter_name = "llvmpipe".into();
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ContextOptions {
    /// Which of wgpu's backends may be used; the environment variable `WGPU_BACKEND` replaces it.
    pub backends: wgpu::Backends,
    /// Part of the adapter's name, in any case; empty takes wgpu's choice. `WGPU_ADAPTER_NAME` overrides it.
    pub adapter_name: String,
    /// Keeps the driver's bounds checks, loop limits and division checks in every shader. Off by default, because ops are
    /// validated before anything is recorded and the checks cost several times the work.
    pub checked_shaders: bool,
    /// The limits to ask the adapter for; none asks for all that it has. With `wgpu::Limits::default()` a program can't
    /// come to need more than every device has.
    pub limits: Option<wgpu::Limits>,
    /// Features to ask the adapter for, for the caller's own work on the device: this crate needs none, and asks by itself
    /// for `PIPELINE_CACHE` where it is offered.
    pub features: wgpu::Features,
}

impl Default for ContextOptions {
    fn default() -> Self {
        Self {
            backends: wgpu::Backends::all(),
            adapter_name: String::new(),
            checked_shaders: false,
            limits: None,
            features: wgpu::Features::empty(),
        }
    }
}

/// What a context has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Queue submissions by this crate.
    pub submissions: u64,
    /// Tensors read back to the host.
    pub readbacks: u64,
    /// Buffers created.
    pub buffers: u64,
    /// Pipelines compiled.
    pub pipelines: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counting {
    pub submissions: AtomicU64,
    pub readbacks: AtomicU64,
    pub buffers: AtomicU64,
    pub pipelines: AtomicU64,
}

impl Counting {
    pub(super) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// A GPU device, its own or the caller's, with the pipelines compiled for it. Clones are handles to
/// the same; it is `Send` and `Sync`.
///
/// ```no_run
/// use lowbit::{Context, Tensor, ops::Matmul};
/// let context = Context::new_blocking()?;
/// let lhs = Tensor::new([1, 2], vec![1i8, 2])?;
/// let op = Matmul::new(lhs.tensor_type().clone(), Tensor::new([2, 1], vec![3i8, 4])?).build()?;
/// let out = context.run(&op.into(), &[&lhs])?;
/// assert_eq!(out[0].values::<i32>()?, [11]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Context {
    device: wgpu::Device,
    queue: wgpu::Queue,
    id: u64,
    checked_shaders: bool,
    pub(super) pipelines: Arc<Pipelines>,
    cache: Option<wgpu::PipelineCache>,
    /// Why the device is lost, once it is.
    lost: Arc<OnceLock<String>>,
    /// Rows and columns of the adapter's matrices of f16 with sums of f32; 0 without.
    coop_matrix_size: u32,
    emulate_dot4: bool,
    target_invocations: u32,
    constants: Arc<Constants>,
    tuning: Arc<Mutex<Tuning>>,
    pub(super) counting: Arc<Counting>,
}

/// What kernels on matrix units need.
const MATRICES: wgpu::Features =
    wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX.union(wgpu::Features::SHADER_F16).union(wgpu::Features::SUBGROUP);

/// The permission to ask for cooperative matrices, and for nothing else that is experimental.
#[expect(unsafe_code, reason = "a token of having been warned: see SAFETY")]
fn experimental(features: wgpu::Features) -> wgpu::ExperimentalFeatures {
    if features & wgpu::Features::all_experimental_mask() != wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX {
        return wgpu::ExperimentalFeatures::disabled();
    }
    // SAFETY: wgpu may be unsound for shaders that use what is experimental. Those of this crate load and store matrices in
    // workgroup memory alone, at places that follow from constants of the program, and the equivalence tests run them all.
    unsafe { wgpu::ExperimentalFeatures::enabled() }
}

impl Context {
    /// A context on a device of its own, from the adapter that wgpu prefers (`WGPU_BACKEND` and `WGPU_ADAPTER_NAME`
    /// select another). It asks for the adapter's own limits and, where the adapter has them, for a pipeline cache, and for
    /// timestamps, 16-bit floats, subgroups and (experimental) cooperative matrices, which [`Tuner::Measured`],
    /// [`Context::probe_blocking`] and some kernels use.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] or [`Error::NoDevice`].
    pub async fn new() -> Result<Self> {
        Self::with_options(&ContextOptions::default()).await
    }

    /// As [`Context::new`], waiting for it. Not available in browsers, where nothing may wait.
    ///
    /// # Errors
    /// As [`Context::new`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn new_blocking() -> Result<Self> {
        pollster::block_on(Self::new())
    }

    /// A context on a device of its own, chosen by these options.
    ///
    /// # Errors
    /// As [`Context::new`], or [`Error::Limit`] if the adapter has less than the options' limits.
    pub async fn with_options(options: &ContextOptions) -> Result<Self> {
        let adapter = Self::adapter(options).await?;
        let (offered, limits) = (adapter.features(), options.limits.clone().unwrap_or_else(|| adapter.limits()));
        let missing = options.features - offered;
        if !missing.is_empty() {
            return Err(Error::NoDevice(format!("it lacks {missing}, which the options ask for")));
        }
        let mut excess = None;
        limits.check_limits_with_fail_fn(&adapter.limits(), true, |name, needed, limit| {
            excess = Some(Error::Limit {
                what: "what the options ask for".into(),
                needed,
                limit,
                unit: name,
                advice: "ask for no more than the adapter has, or for no limits",
            });
        });
        if let Some(excess) = excess {
            return Err(excess);
        }
        let useful = wgpu::Features::PIPELINE_CACHE | wgpu::Features::TIMESTAMP_QUERY | MATRICES;
        let features = options.features | (offered & useful);
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("lowbit"),
            required_limits: limits,
            required_features: features,
            experimental_features: experimental(features),
            ..Default::default()
        };
        let (device, queue) =
            adapter.request_device(&descriptor).await.map_err(|error| Error::NoDevice(error.to_string()))?;
        let context = Self::from_device(device, queue).with_coop_matrices(&adapter.cooperative_matrix_properties());
        let context = Self { checked_shaders: options.checked_shaders, ..context };
        context.watch();
        Ok(context)
    }

    async fn adapter(options: &ContextOptions) -> Result<wgpu::Adapter> {
        let backends = options.backends.with_env();
        let name = std::env::var("WGPU_ADAPTER_NAME").unwrap_or_else(|_| options.adapter_name.clone()).to_lowercase();
        // OpenGL only where nothing else is: it is slower, and its devices share a lock with a time limit.
        let (others, gl) = (backends.difference(wgpu::Backends::GL), backends.intersection(wgpu::Backends::GL));
        let mut found = Err(Error::NoAdapter("WGPU_BACKEND names none of vulkan, metal, dx12 and gl".into()));
        for backends in [others, gl] {
            if found.is_err() && !backends.is_empty() {
                found = Self::adapter_of(backends, &name).await;
            }
        }
        found
    }

    async fn adapter_of(backends: wgpu::Backends, name: &str) -> Result<wgpu::Adapter> {
        let instance = instance(backends);
        if name.is_empty() {
            let request = wgpu::RequestAdapterOptions {
                power_preference: wgpu::PowerPreference::HighPerformance,
                ..Default::default()
            };
            return instance.request_adapter(&request).await.map_err(|error| Error::NoAdapter(error.to_string()));
        }
        let adapters = instance.enumerate_adapters(backends).await;
        let names: Vec<String> = adapters.iter().map(|a| a.get_info().name).collect();
        let found = adapters.into_iter().zip(&names).find(|(_, n)| n.to_lowercase().contains(name));
        found
            .map(|(adapter, _)| adapter)
            .ok_or_else(|| Error::NoAdapter(format!("none of {names:?} is named like \"{name}\"")))
    }

    /// A context on the caller's device. It works with no optional feature and the default limits
    /// (`wgpu::Limits::default()`); encoders and buffers that meet it must be of this device. Shaders run without the
    /// driver's checks unless [`Context::with_checked_shaders`] asks for them.
    ///
    /// A device has one callback for its loss, and that stays the caller's. The context finds out by itself that the device
    /// is lost; [`Context::report_lost`] tells it earlier, and why.
    #[must_use]
    pub fn from_device(device: wgpu::Device, queue: wgpu::Queue) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let info = device.adapter_info();
        // Its compiler multiplies the four bytes of `dot4I8Packed` as numbers of 32 bits; SwiftShader has an instruction for them.
        let emulate_dot4 = info.name.starts_with("llvmpipe");
        let target_invocations =
            if info.device_type == wgpu::DeviceType::Cpu { 1 } else { DeviceCaps::default().target_invocations };
        let machine = Machine {
            adapter: info.name,
            driver: format!("{} {}", info.driver, info.driver_info),
            backend: info.backend.to_string(),
        };
        let mut context = Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            device,
            queue,
            checked_shaders: false,
            pipelines: Arc::default(),
            constants: Arc::default(),
            cache: None,
            lost: Arc::default(),
            coop_matrix_size: 0,
            emulate_dot4,
            target_invocations,
            tuning: Arc::new(Mutex::new(Tuning::new(machine))),
            counting: Arc::default(),
        };
        // In a browser the loss is a promise, which any number may wait for.
        if context.device.adapter_info().backend == wgpu::Backend::BrowserWebGpu {
            context.watch();
        }
        context.cache = context.empty_cache();
        context
    }

    /// Takes the device's callback to learn of its loss.
    fn watch(&self) {
        let lost = self.lost.clone();
        self.device.set_device_lost_callback(move |_, reason| {
            let _ = lost.set(if reason.is_empty() { "it was destroyed".into() } else { reason });
        });
    }

    /// Tells the context that the device is lost, for the callback of a device that [`Context::from_device`] was given.
    /// From now on every call on the context and its clones fails with [`Error::Lost`]; the first reason is kept.
    ///
    /// ```no_run
    /// # fn engine(device: wgpu::Device, queue: wgpu::Queue) {
    /// let context = lowbit::Context::from_device(device.clone(), queue);
    /// // The clone keeps the device until it is lost, or until another callback takes this one's place.
    /// let told = context.clone();
    /// device.set_device_lost_callback(move |_, reason| told.report_lost(reason));
    /// # }
    /// ```
    pub fn report_lost(&self, reason: impl Into<String>) {
        let _ = self.lost.set(reason.into());
    }

    /// [`Error::Lost`] if the device is.
    pub(super) fn check_alive(&self) -> Result<()> {
        if self.lost.get().is_none() && !self.answers() {
            self.report_lost("it was destroyed, or its driver has given it up");
        }
        self.lost.get().map_or(Ok(()), |reason| Err(Error::Lost(reason.clone())))
    }

    /// Whether the device complains about a buffer without a use. wgpu drops all complaints of a lost device, says nowhere
    /// that it is lost, and calls back only when it is polled; but it looks for that before anything else.
    #[cfg(not(target_arch = "wasm32"))]
    fn answers(&self) -> bool {
        let descriptor = wgpu::BufferDescriptor {
            label: Some("is the device alive?"),
            size: 4,
            usage: wgpu::BufferUsages::empty(),
            mapped_at_creation: false,
        };
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        drop(self.device.create_buffer(&descriptor));
        pollster::block_on(scope.pop()).is_some()
    }

    /// In a browser the callback tells.
    #[cfg(target_arch = "wasm32")]
    fn answers(&self) -> bool {
        true
    }

    /// The same context, but shaders compiled from now on keep the driver's checks (see
    /// [`ContextOptions::checked_shaders`]).
    #[must_use]
    pub fn with_checked_shaders(mut self) -> Self {
        self.checked_shaders = true;
        self.pipelines = Arc::default();
        self
    }

    /// The same context, but whether loops of integer products that read straight from storage write dot products of four bytes out
    /// as multiplications, or use `dot4I8Packed`, is as given: for plans made from now on. Otherwise they write them out on Mesa's
    /// llvmpipe, whose compiler makes better code of that. The results are the same.
    #[must_use]
    pub fn with_emulated_dot4(mut self, written: bool) -> Self {
        self.emulate_dot4 = written;
        self
    }

    /// The same context, but how many invocations the device has to have at work to be as fast as it can is as given: for plans
    /// made from now on. Products of few rows are cut along k until there are as many. Otherwise it is 1 on a CPU, and 32,768
    /// elsewhere, which is enough for large GPUs. The results of integer ops are the same.
    ///
    /// ```no_run
    /// let context = lowbit::Context::new_blocking()?.with_target_invocations(2_048); // a small GPU
    /// assert_eq!(context.limits().target_invocations, 2_048);
    /// # Ok::<(), lowbit::Error>(())
    /// ```
    #[must_use]
    pub fn with_target_invocations(mut self, invocations: u32) -> Self {
        self.target_invocations = invocations.max(1);
        self
    }

    /// The same context with what [`wgpu::Adapter::cooperative_matrix_properties`] says of the adapter, which a device
    /// doesn't tell: some kernels multiply on matrix units then, if the device was made with the features
    /// `EXPERIMENTAL_COOPERATIVE_MATRIX`, `SHADER_F16` and `SUBGROUP`, and the adapter has square matrices of f16 whose
    /// products are summed in f32. [`Context::new`] and [`Context::with_options`] find out by themselves.
    ///
    /// ```no_run
    /// # fn engine(adapter: wgpu::Adapter, device: wgpu::Device, queue: wgpu::Queue) {
    /// let context = lowbit::Context::from_device(device, queue);
    /// let context = context.with_coop_matrices(&adapter.cooperative_matrix_properties());
    /// # }
    /// ```
    #[must_use]
    pub fn with_coop_matrices(mut self, properties: &[wgpu::CooperativeMatrixProperties]) -> Self {
        let fits = |p: &&wgpu::CooperativeMatrixProperties| {
            p.ab_type == wgpu::CooperativeScalarType::F16
                && p.cr_type == wgpu::CooperativeScalarType::F32
                && [p.n_size, p.k_size] == [p.m_size; 2]
                && [8, 16].contains(&p.m_size)
        };
        self.coop_matrix_size = properties.iter().filter(fits).map(|p| p.m_size).max().unwrap_or(0);
        self
    }

    /// What tells this context and its clones from others.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &wgpu::Device {
        &self.device
    }

    /// The queue.
    #[must_use]
    pub fn queue(&self) -> &wgpu::Queue {
        &self.queue
    }

    /// The features that the device was made with.
    #[must_use]
    pub fn features(&self) -> wgpu::Features {
        self.device.features()
    }

    /// Name, backend and driver of the adapter, for people.
    #[must_use]
    pub fn description(&self) -> String {
        let info = self.device.adapter_info();
        format!("{} ({}, {} {})", info.name, info.backend, info.driver, info.driver_info)
    }

    /// The limits that decide which kernels are legal here.
    #[must_use]
    pub fn limits(&self) -> DeviceCaps {
        let (limits, info) = (self.device.limits(), self.device.adapter_info());
        DeviceCaps {
            invocations: limits
                .max_compute_invocations_per_workgroup
                .min(limits.max_compute_workgroup_size_x)
                .min(limits.max_compute_workgroup_size_y),
            workgroup_bytes: limits.max_compute_workgroup_storage_size,
            groups_per_dimension: limits.max_compute_workgroups_per_dimension,
            storage_buffers: limits.max_storage_buffers_per_shader_stage,
            // Shaders count words in u32.
            binding_bytes: limits
                .max_storage_buffer_binding_size
                .min(limits.max_buffer_size)
                .min(u64::from(u32::MAX) / 256 * 256),
            uniform_subgroup_size: self.common_subgroup_size(),
            max_subgroup_size: if self.features().contains(wgpu::Features::SUBGROUP) {
                info.subgroup_max_size
            } else {
                0
            },
            coop_matrix_size: if self.features().contains(MATRICES) { self.coop_matrix_size } else { 0 },
            emulate_dot4: self.emulate_dot4,
            target_invocations: self.target_invocations,
        }
    }

    /// The invocations of every subgroup; 0 where the device was not made with subgroups, or they differ in size.
    fn common_subgroup_size(&self) -> u32 {
        let info = self.device.adapter_info();
        let uses = self.device.features().contains(wgpu::Features::SUBGROUP);
        if uses && info.subgroup_min_size == info.subgroup_max_size { info.subgroup_max_size } else { 0 }
    }

    /// What this context has done so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            submissions: read(&self.counting.submissions),
            readbacks: read(&self.counting.readbacks),
            buffers: read(&self.counting.buffers),
            pipelines: read(&self.counting.pipelines),
        }
    }

    /// Runs one op on host tensors and waits: upload, one submission, download. For engines there is [`Context::plan`].
    ///
    /// # Errors
    /// If the inputs don't fit the op, a limit of the device is exceeded, or the device fails.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run(&self, op: &Op, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        let graph = Graph::of(op.clone())?;
        op.check_inputs(inputs.iter().map(|t| t.tensor_type()))?;
        self.plan(&graph, Tuner::FirstGuess)?.run(inputs)
    }

    /// Chooses kernels for a graph, lays out its memory and uploads its constants; those that another plan of this context
    /// uploaded already are shared. Compiling is [`Plan::warm_up`]'s, or the first [`Plan::bind`]'s.
    ///
    /// # Errors
    /// If a tensor or the number of bindings exceeds a limit of the device, or the device fails.
    pub fn plan(&self, graph: &Graph, tuner: Tuner) -> Result<Plan> {
        Plan::new(self, graph, tuner.into())
    }

    /// The same with more options.
    ///
    /// # Errors
    /// As [`Context::plan`].
    pub fn plan_with(&self, graph: &Graph, options: PlanOptions) -> Result<Plan> {
        Plan::new(self, graph, options)
    }

    /// The constants that its plans share.
    pub(super) fn constants(&self) -> &Constants {
        &self.constants
    }

    /// Takes the choices of kernels that [`Context::save_tuning`] saved, for [`Tuner::Measured`] to use, and returns how
    /// many it took.
    ///
    /// A file is good for the adapter, driver and version of this crate that it was saved with. Anything else, broken or
    /// foreign, is ignored with a warning of the [log](https://docs.rs/log) crate. A file is never trusted: it can only pick
    /// among the kernels that are right for an op.
    ///
    /// ```
    /// # if let Ok(context) = lowbit::Context::new_blocking() {
    /// assert_eq!(context.load_tuning("not a tuning file"), 0);
    /// assert_eq!(context.load_tuning(&context.save_tuning()), 0); // nothing has been measured yet
    /// # }
    /// ```
    pub fn load_tuning(&self, json: &str) -> usize {
        self.tuning().load(json)
    }

    /// The choices of kernels that are known so far, as JSON: one entry per class of ops, with the adapter and its driver.
    #[must_use]
    pub fn save_tuning(&self) -> String {
        self.tuning().save()
    }

    /// What is known of the fastest kernels here.
    pub(super) fn tuning(&self) -> MutexGuard<'_, Tuning> {
        lock(&self.tuning)
    }

    /// Copies a tensor to the device.
    ///
    /// # Errors
    /// If it exceeds a limit of the device, or the device fails.
    pub fn upload(&self, tensor: &Tensor) -> Result<DeviceTensor> {
        DeviceTensor::upload(self, tensor)
    }

    /// Copies a tensor back to the host and waits for it.
    ///
    /// # Errors
    /// If the device fails.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn download_blocking(&self, tensor: &DeviceTensor) -> Result<Tensor> {
        pollster::block_on(self.download(tensor))
    }

    /// Copies a tensor back to the host.
    ///
    /// # Errors
    /// If the device fails.
    pub async fn download(&self, tensor: &DeviceTensor) -> Result<Tensor> {
        tensor.download(self).await
    }

    /// The compiled programs of this context as bytes to store, for [`Context::with_pipeline_cache`] to start from next time.
    /// None where the backend has no such thing (all but Vulkan), the device was made without the feature
    /// `PIPELINE_CACHE`, or it is lost.
    #[must_use]
    pub fn pipeline_cache(&self) -> Option<Vec<u8>> {
        let data = self.cache.as_ref()?.get_data()?;
        Some(pipeline_cache::wrap(&self.device.adapter_info(), &data))
    }

    /// The same context, but it compiles with the help of what [`Context::pipeline_cache`] returned, perhaps in another
    /// process. Bytes that are damaged, or from another adapter, driver or version of this crate, are ignored with a
    /// warning in the log; so the way to use them is to try, and to store them anew when all is compiled.
    ///
    /// ```no_run
    /// # #[allow(unsafe_code)]
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut context = lowbit::Context::new_blocking()?;
    /// if let Ok(bytes) = std::fs::read("cache/pipelines") {
    ///     // SAFETY: only this program writes to its cache folder.
    ///     context = unsafe { context.with_pipeline_cache(&bytes) };
    /// }
    /// // … make plans and warm them up …
    /// if let Some(bytes) = context.pipeline_cache() {
    ///     std::fs::write("cache/new", bytes)?;
    ///     std::fs::rename("cache/new", "cache/pipelines")?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Safety
    /// The driver runs what is in the bytes. They must have come from [`Context::pipeline_cache`] and been stored where
    /// nobody hostile can write. A checksum finds accidents, not forgeries.
    #[must_use]
    #[expect(unsafe_code, reason = "the driver believes the data: see Safety")]
    pub unsafe fn with_pipeline_cache(mut self, bytes: &[u8]) -> Self {
        if self.cache.is_none() {
            log::warn!("a stored pipeline cache is ignored: this device has none");
            return self;
        }
        match pipeline_cache::unwrap(&self.device.adapter_info(), bytes) {
            // SAFETY: the caller vouches for the bytes, and `unwrap` has found them whole.
            Ok(data) => match self.scoped(|| unsafe { pipeline_cache::create(&self.device, Some(data)) }) {
                Ok(cache) => self.cache = cache,
                Err(error) => log::warn!("a stored pipeline cache is ignored: {error}"),
            },
            Err(reason) => log::warn!("a stored pipeline cache is ignored: {reason}"),
        }
        self
    }

    #[expect(unsafe_code, reason = "making a cache is unsafe, also without data")]
    fn empty_cache(&self) -> Option<wgpu::PipelineCache> {
        // SAFETY: there is no data to believe.
        self.scoped(|| unsafe { pipeline_cache::create(&self.device, None) }).ok().flatten()
    }

    /// The pipeline of a dispatch, compiled unless it has been.
    pub(super) fn pipeline(&self, dispatch: &Dispatch) -> Result<Arc<Pipeline>> {
        self.pipelines.get(dispatch.program.name(), || {
            let compile = || Pipeline::new(&self.device, dispatch, self.checked_shaders, self.cache.as_ref());
            let pipeline = self.scoped(compile)?;
            Counting::count(&self.counting.pipelines);
            Ok(pipeline)
        })
    }

    /// Compiles the programs of these dispatches that are not compiled yet, on as many threads as there are cores.
    pub(super) fn compile(&self, dispatches: &[&Dispatch]) -> Result<()> {
        self.check_alive()?;
        self.compile_all(&self.pipelines.missing(dispatches))
    }

    /// Compiles these, on one thread where there is no other.
    #[cfg(target_arch = "wasm32")]
    fn compile_all(&self, missing: &[&Dispatch]) -> Result<()> {
        missing.iter().try_for_each(|dispatch| self.pipeline(dispatch).map(drop))
    }

    /// Compiles these on all cores.
    #[cfg(not(target_arch = "wasm32"))]
    fn compile_all(&self, missing: &[&Dispatch]) -> Result<()> {
        let next = std::sync::atomic::AtomicUsize::new(0);
        let work = || {
            while let Some(dispatch) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                self.pipeline(dispatch)?;
            }
            Ok(())
        };
        // One where nobody knows. This thread is one of them; the others help if they can be started.
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(missing.len());
        std::thread::scope(|scope| {
            let start = |_| std::thread::Builder::new().spawn_scoped(scope, work).ok();
            let helpers: Vec<_> = (1..threads).filter_map(start).collect();
            let mine = work();
            let join = |helper: std::thread::ScopedJoinHandle<'_, Result<()>>| {
                helper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            helpers.into_iter().map(join).fold(mine, Result::and)
        })
    }

    /// Runs something that may make the device complain, and turns its complaint into an error of this call.
    pub(super) fn scoped<T>(&self, work: impl FnOnce() -> T) -> Result<T> {
        self.scoped_for("what wgpu keeps beside a call", 0, work)
    }

    /// As [`Context::scoped`], for something that takes so much memory.
    #[cfg(not(target_arch = "wasm32"))]
    fn scoped_for<T>(&self, what: &str, bytes: u64, work: impl FnOnce() -> T) -> Result<T> {
        let memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let internal = self.device.push_error_scope(wgpu::ErrorFilter::Internal);
        let validation = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let value = caught(work);
        // Natively the answers are ready. A lack of memory comes first: the rest may follow from it.
        let [validation, internal, memory] =
            [validation, internal, memory].map(|scope| pollster::block_on(scope.pop()));
        let Some(error) = memory.or(internal).or(validation) else { return value };
        // So may all of them from the loss of the device.
        self.check_alive()?;
        Err(match error {
            wgpu::Error::OutOfMemory { .. } => Error::OutOfMemory { what: what.into(), bytes },
            wgpu::Error::Validation { description, .. } => Error::Validation(description),
            wgpu::Error::Internal { description, .. } => Error::Device(description),
        })
    }

    /// In a browser complaints come later, to its console: nothing may wait for them here.
    #[cfg(target_arch = "wasm32")]
    fn scoped_for<T>(&self, _: &str, _: u64, work: impl FnOnce() -> T) -> Result<T> {
        Ok(work())
    }

    /// The error of a call that failed without a complaint: the device's loss, or else this.
    pub(super) fn failure(&self, message: String) -> Error {
        self.check_alive().err().unwrap_or(Error::Device(message))
    }

    /// A buffer of at least 16 bytes, filled with words.
    pub(super) fn buffer(
        &self,
        label: &str,
        bytes: u64,
        usage: wgpu::BufferUsages,
        words: &[u32],
    ) -> Result<wgpu::Buffer> {
        self.check_alive()?;
        let size = bytes.next_multiple_of(4).max(16);
        let limits = self.device.limits();
        let limit = limits.max_buffer_size;
        if size > limit {
            return Err(Error::Limit {
                what: format!("a buffer ({label})"),
                needed: size,
                limit,
                unit: "bytes",
                advice: "split the tensor, or ask the adapter for a device with higher limits",
            });
        }
        let create = |usage| {
            let descriptor = wgpu::BufferDescriptor { label: Some(label), size, usage, mapped_at_creation: false };
            self.device.create_buffer(&descriptor)
        };
        let written = if words.is_empty() { wgpu::BufferUsages::empty() } else { wgpu::BufferUsages::COPY_DST };
        let buffer = self.scoped_for(label, size, || create(usage | written))?;
        if !words.is_empty() {
            // wgpu copies the words to memory of its own first, and gives up the whole device when there is none. So a
            // buffer like that one is made and dropped before.
            self.scoped_for(label, size, || create(wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC))?;
            self.scoped_for(label, size, || self.queue.write_buffer(&buffer, 0, bytemuck::cast_slice(words)))?;
        }
        Counting::count(&self.counting.buffers);
        Ok(buffer)
    }
}

/// Runs something that hands wgpu what the caller may have from another instance of it. wgpu can't tell, looks it up among its own
/// and panics when it isn't there; nothing of ours is half done then, and its locks are free again.
///
/// Where panics abort there is nothing to be caught. Browsers have one instance, and complain of other devices to the console.
pub(super) fn caught<T>(work: impl FnOnce() -> T) -> Result<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).map_err(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Error::Validation(format!(
            "it panicked, as it does over a buffer, encoder or pass of another instance of wgpu: {}",
            said.unwrap_or("without a message")
        ))
    })
}

/// The instance of these backends, one for the whole process: only within an instance does wgpu tell the devices of two
/// contexts apart. OpenGL is left out of this, because all devices of its instance wait for one lock, with a time limit.
#[cfg(not(target_arch = "wasm32"))]
fn instance(backends: wgpu::Backends) -> wgpu::Instance {
    if backends.contains(wgpu::Backends::GL) {
        return new_instance(backends);
    }
    static INSTANCES: Mutex<Vec<(wgpu::Backends, wgpu::Instance)>> = Mutex::new(Vec::new());
    let mut instances = lock(&INSTANCES);
    if let Some((_, instance)) = instances.iter().find(|(of, _)| *of == backends) {
        return instance.clone();
    }
    let instance = new_instance(backends);
    instances.push((backends, instance.clone()));
    instance
}

#[cfg(target_arch = "wasm32")]
fn instance(backends: wgpu::Backends) -> wgpu::Instance {
    new_instance(backends)
}

fn new_instance(backends: wgpu::Backends) -> wgpu::Instance {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = backends;
    wgpu::Instance::new(descriptor)
}
