//! A device with its compiled pipelines and counters, and its loss. Tensors and plans are in their own files.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use super::caps::{self, MATRICES};
use super::constants::Constants;
use super::device_tensor::Temporary;
use super::pipeline::{Pipeline, Pipelines};
use super::readback::Readable;
use super::wait::{COPIED, Copies};
use super::{DeviceTensor, Plan, PlanOptions, lock, pipeline_cache};
use crate::error::{Error, Result};
use crate::kernels::{DeviceCaps, Dispatch};
use crate::ops::Op;
use crate::plan::Graph;
use crate::tensor::Tensor;
use crate::tune::{Machine, Tuner, Tuning};

/// The options of a [`Context`].
///
/// ```
/// let options = lowbit::ContextOptions::default().with_adapter_name("llvmpipe");
/// assert_eq!(options.backends, None); // those of `WGPU_BACKEND`, or all
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ContextOptions {
    /// The wgpu backends that may be used. `None` leaves them to the environment variable `WGPU_BACKEND`; without it, all may be.
    pub backends: Option<wgpu::Backends>,
    /// Part of the adapter's name, in any case; empty for wgpu's choice. `None` leaves it to the environment variable
    /// `WGPU_ADAPTER_NAME`; without it, wgpu chooses.
    pub adapter_name: Option<String>,
    /// Keeps the driver's bounds checks, loop limits and division checks in every shader. Off by default, because ops are validated
    /// before recording, and the checks cost several times the work.
    pub checked_shaders: bool,
    /// The limits to request from the adapter; `None` requests all of the adapter's. With `wgpu::Limits::default()` a program can't
    /// depend on more than every device has.
    pub limits: Option<wgpu::Limits>,
    /// Features to request from the adapter, for the caller's own work on the device. This crate needs none; it requests
    /// `PIPELINE_CACHE` itself if the adapter offers it.
    pub features: wgpu::Features,
}

impl ContextOptions {
    /// These options with these backends, whatever the environment says.
    #[must_use]
    pub fn with_backends(mut self, backends: wgpu::Backends) -> Self {
        self.backends = Some(backends);
        self
    }

    /// These options with this part of the adapter's name, whatever the environment says.
    #[must_use]
    pub fn with_adapter_name(mut self, adapter_name: impl Into<String>) -> Self {
        self.adapter_name = Some(adapter_name.into());
        self
    }

    /// These options with or without the driver's checks in shaders.
    #[must_use]
    pub fn with_checked_shaders(mut self, checked_shaders: bool) -> Self {
        self.checked_shaders = checked_shaders;
        self
    }

    /// These options with these limits.
    #[must_use]
    pub fn with_limits(mut self, limits: wgpu::Limits) -> Self {
        self.limits = Some(limits);
        self
    }

    /// These options with these features.
    #[must_use]
    pub fn with_features(mut self, features: wgpu::Features) -> Self {
        self.features = features;
        self
    }

    /// The backends, and the lower-case part of the adapter's name: those of the program, else those of the environment.
    fn choice(&self, variable: impl Fn(&str) -> Option<String>) -> (wgpu::Backends, String) {
        let named = || variable("WGPU_BACKEND").map(|list| wgpu::Backends::from_comma_list(&list));
        let backends = self.backends.or_else(named).unwrap_or(wgpu::Backends::all());
        let name = self.adapter_name.clone().or_else(|| variable("WGPU_ADAPTER_NAME"));
        (backends, name.unwrap_or_default().to_ascii_lowercase())
    }
}

/// Counts of the actions of a context so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Counters {
    /// Queue submissions by this crate, without the empty ones between the parts of large uploads.
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

/// A GPU device, the context's own or the caller's, with its compiled pipelines. Clones share one state. It is `Send` and `Sync`.
///
/// ```no_run
/// use lowbit::{Context, Tensor, ops::Matmul};
/// let context = Context::new_blocking()?;
/// let lhs = Tensor::new([1, 2], vec![1i8, 2])?;
/// let op = Matmul::new(lhs.tensor_type().clone(), Tensor::new([2, 1], vec![3i8, 4])?).build()?;
/// let out = context.run_blocking(&op.into(), &[&lhs])?;
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
    /// The reason of the device's loss, once it is lost.
    pub(super) lost: Arc<OnceLock<String>>,
    /// Errors that a browser reports after the calls that caused them.
    #[cfg(target_arch = "wasm32")]
    pub(super) later: super::errors::Later,
    caps: DeviceCaps,
    constants: Arc<Constants>,
    tuning: Arc<Mutex<Tuning>>,
    pub(super) counting: Arc<Counting>,
    copies: Copies,
    pub(super) readable: Readable,
}

/// The permission to request cooperative matrices, and no other experimental feature.
#[expect(unsafe_code, reason = "a token of having been warned: see SAFETY")]
fn experimental(features: wgpu::Features) -> wgpu::ExperimentalFeatures {
    if features & wgpu::Features::all_experimental_mask() != wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX {
        return wgpu::ExperimentalFeatures::disabled();
    }
    // SAFETY: wgpu may be unsound for shaders that use experimental features. This crate's shaders load and store matrices only in
    // workgroup memory, at addresses that follow from constants of the program, and the equivalence tests run all of them.
    unsafe { wgpu::ExperimentalFeatures::enabled() }
}

impl Context {
    /// A context on its own device, from the adapter that wgpu prefers (`WGPU_BACKEND` and `WGPU_ADAPTER_NAME` select another). It
    /// requests the adapter's own limits. If the adapter has them, it also requests a pipeline cache, timestamps, 16-bit floats,
    /// subgroups and (experimental) cooperative matrices, which [`Tuner::Measured`], [`Context::probe_blocking`] and some kernels
    /// use.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] or [`Error::NoDevice`].
    pub async fn new() -> Result<Self> {
        Self::with_options(&ContextOptions::default()).await
    }

    /// As [`Context::new`], but blocking. Not available in browsers, whose event loop must turn.
    ///
    /// # Errors
    /// As [`Context::new`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn new_blocking() -> Result<Self> {
        pollster::block_on(Self::new())
    }

    /// A context on its own device, chosen by these options.
    ///
    /// # Errors
    /// As [`Context::new`]. Also [`Error::Limit`] if the adapter has less than the options' limits.
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
        let mut context = Self::from_device(device, queue).with_coop_matrices(&adapter.cooperative_matrix_properties());
        context.checked_shaders = options.checked_shaders;
        #[cfg(target_arch = "wasm32")]
        context.name_adapter(super::web::adapter_name().await);
        context.watch();
        context.tested().await
    }

    async fn adapter(options: &ContextOptions) -> Result<wgpu::Adapter> {
        let (backends, name) = options.choice(|variable| std::env::var(variable).ok());
        // OpenGL is the last resort: it is slower, and its devices share a lock with a time limit.
        let (others, gl) = (backends.difference(wgpu::Backends::GL), backends.intersection(wgpu::Backends::GL));
        #[cfg(target_arch = "wasm32")]
        if let Some(reason) = super::web::why_no_adapter() {
            return Err(Error::NoAdapter(reason.into()));
        }
        let mut first = None;
        for backends in [others, gl].into_iter().filter(|backends| !backends.is_empty()) {
            match Self::adapter_of(backends, &name).await {
                Ok(adapter) => return Ok(adapter),
                Err(error) => first = first.or(Some(error)),
            }
        }
        let none = || Error::NoAdapter("the options or WGPU_BACKEND name none of vulkan, metal, dx12 and gl".into());
        Err(first.unwrap_or_else(none))
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
        let found = adapters.into_iter().zip(&names).find(|(_, n)| n.to_ascii_lowercase().contains(name));
        found
            .map(|(adapter, _)| adapter)
            .ok_or_else(|| Error::NoAdapter(format!("none of {names:?} is named like \"{name}\"")))
    }

    /// A context on the caller's device. It needs no optional feature and only the default limits (`wgpu::Limits::default()`).
    /// Encoders and buffers used with it must be of this device. Shaders run without the driver's checks unless
    /// [`Context::with_checked_shaders`] requests them.
    ///
    /// A device has one callback for its loss, which stays the caller's. The context detects the loss by itself;
    /// [`Context::report_lost`] reports it earlier, and with the reason.
    #[must_use]
    pub fn from_device(device: wgpu::Device, queue: wgpu::Queue) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let info = device.adapter_info();
        let caps = caps::of_device(&device.limits(), device.features(), &info);
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
            #[cfg(target_arch = "wasm32")]
            later: super::errors::Later::default(),
            caps,
            tuning: Arc::new(Mutex::new(Tuning::new(machine))),
            counting: Arc::default(),
            copies: Copies::default(),
            readable: Readable::default(),
        };
        // In a browser the loss is a promise, and any number of callers may wait for it.
        if context.device.adapter_info().backend == wgpu::Backend::BrowserWebGpu {
            context.watch();
        }
        context.cache = context.empty_cache();
        context
    }

    /// Names the adapter of a browser, which wgpu doesn't, in the description and in tuning files.
    #[cfg(target_arch = "wasm32")]
    fn name_adapter(&mut self, adapter: String) {
        self.caps.emulate_dot4 |= caps::emulates_dot4(&adapter);
        let mut tuning = self.tuning();
        let machine = Machine { adapter, ..tuning.machine().clone() };
        *tuning = Tuning::new(machine);
    }

    /// Sets the device's callback to learn of its loss.
    fn watch(&self) {
        let lost = self.lost.clone();
        self.device.set_device_lost_callback(move |_, reason| {
            let _ = lost.set(if reason.is_empty() { "it was destroyed".into() } else { reason });
        });
    }

    /// Tells the context that the device is lost. For the callback of a device given to [`Context::from_device`]. From now on every
    /// call on the context and its clones fails with [`Error::Lost`]; the first reason is kept.
    ///
    /// ```no_run
    /// # fn engine(device: wgpu::Device, queue: wgpu::Queue) {
    /// let context = lowbit::Context::from_device(device.clone(), queue);
    /// // The clone keeps the device until it is lost, or until another callback replaces this one.
    /// let told = context.clone();
    /// device.set_device_lost_callback(move |_, reason| told.report_lost(reason));
    /// # }
    /// ```
    pub fn report_lost(&self, reason: impl Into<String>) {
        let _ = self.lost.set(reason.into());
    }

    /// This context with the driver's checks in shaders compiled from now on (see [`ContextOptions::checked_shaders`]).
    #[must_use]
    pub fn with_checked_shaders(mut self) -> Self {
        self.checked_shaders = true;
        self.pipelines = Arc::default();
        self
    }

    /// This context with the given implementation of 4-byte dot products, in plans made from now on: as multiplications, or as
    /// `dot4I8Packed`. It affects the loops of integer products that read directly from storage. By default multiplications are
    /// used only on Mesa's llvmpipe, whose compiler makes better code of them. The results are equal.
    #[must_use]
    pub fn with_emulated_dot4(mut self, written: bool) -> Self {
        self.caps.emulate_dot4 = written;
        self
    }

    /// This context with the number of invocations that the device needs for full speed, in plans made from now on. The
    /// first guesses of kernels follow it: products of few rows, for example, are split along k until there are as many. The default
    /// is 1 on a CPU, and elsewhere 32,768, which is enough for large GPUs. The results of integer ops are equal.
    ///
    /// ```no_run
    /// let context = lowbit::Context::new_blocking()?.with_target_invocations(2_048); // a small GPU
    /// # Ok::<(), lowbit::Error>(())
    /// ```
    #[must_use]
    pub fn with_target_invocations(mut self, invocations: u32) -> Self {
        self.caps.target_invocations = invocations.max(1);
        self
    }

    /// This context after a test of its device: a small launch converts every f16. If all results are exact, kernels use that
    /// conversion in place of integer operations, and products of f16 get several times as fast on GPUs. [`Context::new`] and
    /// [`Context::with_options`] do this by themselves. Its counters begin at 0.
    ///
    /// ```no_run
    /// # async fn engine(device: wgpu::Device, queue: wgpu::Queue) -> lowbit::Result<()> {
    /// let context = lowbit::Context::from_device(device, queue).tested().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// If the device fails.
    pub async fn tested(mut self) -> Result<Self> {
        self.caps.unpack_f16 = caps::unpacks_f16(&self).await?;
        self.counting = Arc::default();
        Ok(self)
    }

    /// This context with the adapter's [`wgpu::Adapter::cooperative_matrix_properties`], which a device doesn't tell. Some kernels
    /// then multiply on matrix units. This needs a device with the features `EXPERIMENTAL_COOPERATIVE_MATRIX`, `SHADER_F16` and
    /// `SUBGROUP`, and an adapter with square matrices of f16 whose products are summed in f32. [`Context::new`] and
    /// [`Context::with_options`] read the properties by themselves.
    ///
    /// ```no_run
    /// # fn engine(adapter: wgpu::Adapter, device: wgpu::Device, queue: wgpu::Queue) {
    /// let context = lowbit::Context::from_device(device, queue);
    /// let context = context.with_coop_matrices(&adapter.cooperative_matrix_properties());
    /// # }
    /// ```
    #[must_use]
    pub fn with_coop_matrices(mut self, properties: &[wgpu::CooperativeMatrixProperties]) -> Self {
        self.caps.coop_matrix_size = caps::coop_matrix_size(self.features(), properties);
        self
    }

    /// The id that this context and its clones share.
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

    /// The features of the device.
    #[must_use]
    pub fn features(&self) -> wgpu::Features {
        self.device.features()
    }

    /// The name, backend and driver of the adapter, for humans. In a browser the words of its `GPUAdapterInfo`, if
    /// [`Context::new`] or [`Context::with_options`] made the context, and the browser says any.
    #[must_use]
    pub fn description(&self) -> String {
        self.tuning().machine().to_string()
    }

    /// The capabilities that determine which kernels are legal on this device.
    #[cfg(feature = "unstable-kernels")]
    #[must_use]
    pub fn caps(&self) -> DeviceCaps {
        self.caps
    }

    /// The capabilities of a device with these limits and features on an adapter, before there is a device.
    #[cfg(feature = "unstable-kernels")]
    #[must_use]
    pub fn caps_of(adapter: &wgpu::Adapter, limits: &wgpu::Limits, features: wgpu::Features) -> DeviceCaps {
        let coop_matrix_size = caps::coop_matrix_size(features, &adapter.cooperative_matrix_properties());
        DeviceCaps { coop_matrix_size, ..caps::of_device(limits, features, &adapter.get_info()) }
    }

    pub(crate) fn device_caps(&self) -> DeviceCaps {
        self.caps
    }

    /// Counts of this context's actions so far.
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

    /// Runs one op on host tensors: upload, one submission, download. Engines use [`Context::plan`].
    ///
    /// # Errors
    /// If the inputs don't fit the op, a limit of the device is exceeded, or the device fails.
    pub async fn run(&self, op: &Op, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        let graph = Graph::of(op.clone())?;
        op.check_inputs(inputs.iter().map(|t| t.tensor_type()))?;
        let plan = self.plan(&graph, Tuner::FirstGuess)?;
        let outputs = plan.run(inputs).await;
        plan.destroy();
        outputs
    }

    /// As [`Context::run`], but blocking. Not available in browsers.
    ///
    /// # Errors
    /// As [`Context::run`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run_blocking(&self, op: &Op, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        pollster::block_on(self.run(op, inputs))
    }

    /// A plan of a graph: kernels are chosen, memory is laid out, and constants are uploaded. Plans of one context share equal
    /// constants. [`Plan::warm_up`], or the first [`Plan::bind`], compiles it.
    ///
    /// # Errors
    /// If a tensor or the number of bindings exceeds a limit of the device, or the device fails.
    pub fn plan(&self, graph: &Graph, tuner: Tuner) -> Result<Plan> {
        Plan::new(self, graph, tuner.into())
    }

    /// A plan of a graph, as by [`Context::plan`], with more options.
    ///
    /// # Errors
    /// As [`Context::plan`].
    pub fn plan_with(&self, graph: &Graph, options: PlanOptions) -> Result<Plan> {
        Plan::new(self, graph, options)
    }

    /// The constants that the context's plans share.
    pub(super) fn constants(&self) -> &Constants {
        &self.constants
    }

    /// Loads the kernel choices saved by [`Context::save_tuning`], for [`Tuner::Measured`], and returns their number.
    ///
    /// A file is valid for the adapter, the driver and the version of this crate that saved it. Anything else is ignored with a
    /// warning of the [log](https://docs.rs/log) crate. A file is never trusted: it can only select among the kernels that are
    /// correct for an op.
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

    /// The kernel choices known so far, as JSON: one entry per class of ops, with the adapter and its driver.
    #[must_use]
    pub fn save_tuning(&self) -> String {
        self.tuning().save()
    }

    /// The fastest kernels known for this device.
    pub(super) fn tuning(&self) -> MutexGuard<'_, Tuning> {
        lock(&self.tuning)
    }

    /// Copies a tensor to the device. wgpu copies it first, and the copy goes with the next submission. After each 4 MiB, of one tensor or
    /// of several, there is a submission without commands, which also takes along what the caller has written to buffers, and a wait for
    /// the one before it. So no more than 8 MiB of copies are in memory.
    ///
    /// # Errors
    /// If it exceeds a limit of the device, or the device fails.
    pub fn upload(&self, tensor: &Tensor) -> Result<DeviceTensor> {
        DeviceTensor::upload(self, tensor)
    }

    /// As [`Context::download`], but blocking. Not available in browsers.
    ///
    /// # Errors
    /// As [`Context::download`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn download_blocking(&self, tensor: &DeviceTensor) -> Result<Tensor> {
        pollster::block_on(self.download(tensor))
    }

    /// Copies a tensor back to the host.
    ///
    /// # Errors
    /// If the device fails. In a browser also the first error of earlier calls, as [`Context::check`] returns it.
    pub async fn download(&self, tensor: &DeviceTensor) -> Result<Tensor> {
        tensor.download(self).await
    }

    /// The compiled programs of this context as bytes to store, the input of [`Context::with_pipeline_cache`] in a later run.
    /// `None` if the backend has no pipeline cache (all but Vulkan), the device has no feature `PIPELINE_CACHE`, or it is lost.
    #[must_use]
    pub fn pipeline_cache(&self) -> Option<Vec<u8>> {
        let data = self.cache.as_ref()?.get_data()?;
        Some(pipeline_cache::wrap(&self.device.adapter_info(), &data))
    }

    /// This context with the pipeline cache that [`Context::pipeline_cache`] returned, perhaps in another process. Bytes that are
    /// damaged, or from another adapter, driver or version of this crate, are ignored with a warning in the log. So try the stored
    /// bytes, and store new ones after compiling.
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
    /// The driver executes the contents of the bytes. They must come from [`Context::pipeline_cache`], and no attacker may be able
    /// to write to their storage. A checksum detects accidents, not forgeries.
    #[must_use]
    #[expect(unsafe_code, reason = "the driver believes the data: see Safety")]
    pub unsafe fn with_pipeline_cache(mut self, bytes: &[u8]) -> Self {
        if self.cache.is_none() {
            log::warn!("a stored pipeline cache is ignored: this device has none");
            return self;
        }
        match pipeline_cache::unwrap(&self.device.adapter_info(), bytes) {
            // SAFETY: the caller guarantees the origin of the bytes, and `unwrap` has found them intact.
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
        // SAFETY: there is no data to trust.
        self.scoped(|| unsafe { pipeline_cache::create(&self.device, None) }).ok().flatten()
    }

    /// The pipeline of a dispatch; compiles it if necessary.
    pub(super) fn pipeline(&self, dispatch: &Dispatch) -> Result<Arc<Pipeline>> {
        self.pipelines.get(dispatch.program.name(), || {
            let compile = || Pipeline::new(&self.device, dispatch, self.checked_shaders, self.cache.as_ref());
            let pipeline = self.scoped(compile)?;
            Counting::count(&self.counting.pipelines);
            Ok(pipeline)
        })
    }

    /// Compiles the missing programs of these dispatches, on as many threads as there are cores.
    pub(super) fn compile(&self, dispatches: &[&Dispatch]) -> Result<()> {
        self.check_alive()?;
        self.compile_all(&self.pipelines.missing(dispatches))
    }

    /// Compiles these programs on the only thread.
    #[cfg(target_arch = "wasm32")]
    fn compile_all(&self, missing: &[&Dispatch]) -> Result<()> {
        missing.iter().try_for_each(|dispatch| self.pipeline(dispatch).map(drop))
    }

    /// Compiles these programs on all cores.
    #[cfg(not(target_arch = "wasm32"))]
    fn compile_all(&self, missing: &[&Dispatch]) -> Result<()> {
        let next = std::sync::atomic::AtomicUsize::new(0);
        let work = || {
            while let Some(dispatch) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                self.pipeline(dispatch)?;
            }
            Ok(())
        };
        // One thread if the number of cores is unknown. This thread is one of them; the others help if they can be started.
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

    /// A buffer of at least 16 bytes for this crate alone, whose memory comes back when it is dropped, also in a browser.
    pub(super) fn temporary(&self, label: &str, bytes: u64, usage: wgpu::BufferUsages) -> Result<Temporary> {
        self.buffer(label, bytes, usage, &[]).map(Temporary)
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
        let written = if words.is_empty() { wgpu::BufferUsages::empty() } else { wgpu::BufferUsages::COPY_DST };
        let buffer = self.create(label, size, usage | written)?;
        self.write(label, &buffer, 0, words)?;
        Counting::count(&self.counting.buffers);
        Ok(buffer)
    }

    fn create(&self, label: &str, size: u64, usage: wgpu::BufferUsages) -> Result<wgpu::Buffer> {
        let descriptor = wgpu::BufferDescriptor { label: Some(label), size, usage, mapped_at_creation: false };
        self.scoped_for(label, size, || self.device.create_buffer(&descriptor))
    }

    /// Writes words to a buffer from byte `offset` on, in parts, so that wgpu's copies of them are never in memory as a whole.
    pub(super) fn write(&self, label: &str, buffer: &wgpu::Buffer, offset: u64, words: &[u32]) -> Result<()> {
        let bytes: &[u8] = bytemuck::cast_slice(words);
        for (part, bytes) in bytes.chunks(COPIED).enumerate() {
            let size = bytes.len() as u64;
            // Natively wgpu loses the whole device if there is no memory for its copy. So a buffer of equal size is created and
            // dropped before.
            #[cfg(not(target_arch = "wasm32"))]
            self.create(label, size, wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC)?;
            self.scoped_for(label, size, || {
                self.copies.make_room(self, size);
                self.queue.write_buffer(buffer, offset + (part * COPIED) as u64, bytes);
            })?;
        }
        Ok(())
    }
}

/// The instance of these backends, one for the whole process: only within one instance does wgpu tell the devices of two contexts
/// apart. OpenGL is excluded, because all devices of its instance wait for one lock, with a time limit.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The environment chooses only where the program says nothing.
    #[test]
    fn the_program_goes_before_the_environment() {
        let (gl, vulkan) = (wgpu::Backends::GL, wgpu::Backends::VULKAN);
        let plain = ContextOptions::default;
        let all = wgpu::Backends::all();
        type Row<'a> = (&'a str, ContextOptions, &'a [(&'a str, &'a str)], (wgpu::Backends, &'a str));
        let table: [Row<'_>; 8] = [
            ("nothing", plain(), &[], (all, "")),
            ("environment", plain(), &[("WGPU_BACKEND", "gl"), ("WGPU_ADAPTER_NAME", "LLVM")], (gl, "llvm")),
            ("program", plain().with_backends(vulkan).with_adapter_name("Swift"), &[], (vulkan, "swift")),
            ("both name backends", plain().with_backends(vulkan), &[("WGPU_BACKEND", "gl")], (vulkan, "")),
            ("both name an adapter", plain().with_adapter_name("a"), &[("WGPU_ADAPTER_NAME", "b")], (all, "a")),
            ("any adapter", plain().with_adapter_name(""), &[("WGPU_ADAPTER_NAME", "b")], (all, "")),
            ("all backends", plain().with_backends(all), &[("WGPU_BACKEND", "gl")], (all, "")),
            ("one each", plain().with_adapter_name("a"), &[("WGPU_BACKEND", "gl")], (gl, "a")),
        ];
        for (name, options, variables, (backends, adapter)) in table {
            let variable =
                |of: &str| variables.iter().find(|(key, _)| *key == of).map(|(_, value)| (*value).to_string());
            assert_eq!(options.choice(variable), (backends, adapter.to_string()), "{name}");
        }
    }
}
