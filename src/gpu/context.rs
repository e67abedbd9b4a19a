//! A device with what this crate keeps beside it: compiled pipelines and counters. Tensors and plans are next door.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::pipeline::Pipeline;
use super::{DeviceTensor, Plan};
use crate::error::{Error, Result};
use crate::kernels::{Dispatch, Limits};
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
}

impl Default for ContextOptions {
    fn default() -> Self {
        Self { backends: wgpu::Backends::all(), adapter_name: String::new(), checked_shaders: false }
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
    pipelines: Arc<Mutex<HashMap<String, Arc<Pipeline>>>>,
    tuning: Arc<Mutex<Tuning>>,
    pub(super) counting: Arc<Counting>,
}

impl Context {
    /// A context on a device of its own, from the adapter that wgpu prefers (`WGPU_BACKEND` and `WGPU_ADAPTER_NAME`
    /// select another). It asks for the adapter's own limits and, where the adapter has them, for timestamps and 16-bit
    /// floats, which [`Tuner::Measured`] and [`Context::probe_blocking`] use.
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
    /// As [`Context::new`].
    pub async fn with_options(options: &ContextOptions) -> Result<Self> {
        let adapter = Self::adapter(options).await?;
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("lowbit"),
            required_features: adapter.features() & (wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::SHADER_F16),
            required_limits: adapter.limits(),
            ..Default::default()
        };
        let (device, queue) =
            adapter.request_device(&descriptor).await.map_err(|error| Error::NoDevice(error.to_string()))?;
        Ok(Self { checked_shaders: options.checked_shaders, ..Self::from_device(device, queue) })
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
    #[must_use]
    pub fn from_device(device: wgpu::Device, queue: wgpu::Queue) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let info = device.adapter_info();
        let machine = Machine {
            adapter: info.name,
            driver: format!("{} {}", info.driver, info.driver_info),
            backend: info.backend.to_string(),
        };
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            device,
            queue,
            checked_shaders: false,
            pipelines: Arc::default(),
            tuning: Arc::new(Mutex::new(Tuning::new(machine))),
            counting: Arc::default(),
        }
    }

    /// The same context, but shaders compiled from now on keep the driver's checks (see
    /// [`ContextOptions::checked_shaders`]).
    #[must_use]
    pub fn with_checked_shaders(mut self) -> Self {
        self.checked_shaders = true;
        self.pipelines = Arc::default();
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

    /// Name, backend and driver of the adapter, for people.
    #[must_use]
    pub fn description(&self) -> String {
        let info = self.device.adapter_info();
        format!("{} ({}, {} {})", info.name, info.backend, info.driver, info.driver_info)
    }

    /// The limits that decide which kernels are legal here.
    #[must_use]
    pub fn limits(&self) -> Limits {
        let limits = self.device.limits();
        Limits {
            invocations: limits
                .max_compute_invocations_per_workgroup
                .min(limits.max_compute_workgroup_size_x)
                .min(limits.max_compute_workgroup_size_y),
            workgroup_bytes: limits.max_compute_workgroup_storage_size,
            groups_per_dimension: limits.max_compute_workgroups_per_dimension,
        }
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
        let mut graph = Graph::new();
        let values: Vec<_> = op.inputs().into_iter().map(|t| graph.input(t)).collect();
        for output in graph.add_all(op.clone(), &values)? {
            graph.output(output);
        }
        op.check_inputs(inputs.iter().map(|t| t.tensor_type()))?;
        self.plan(&graph, Tuner::FirstGuess)?.run(inputs)
    }

    /// Chooses kernels for a graph, compiles them and uploads its constants, once per plan: weights that two plans share
    /// are on the device twice.
    ///
    /// # Errors
    /// If a tensor or the number of bindings exceeds a limit of the device, or the device fails.
    pub fn plan(&self, graph: &Graph, tuner: Tuner) -> Result<Plan> {
        Plan::new(self, graph, tuner)
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
        // A poisoned lock only says that another thread panicked while holding it; the map is whole.
        self.tuning.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
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

    /// The compiled pipeline of a dispatch.
    pub(super) fn pipeline(&self, dispatch: &Dispatch) -> Result<Arc<Pipeline>> {
        let key = dispatch.program.name();
        // A poisoned lock only says that another thread panicked while holding it; the map is whole.
        let lock = || self.pipelines.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(pipeline) = lock().get(&key) {
            return Ok(pipeline.clone());
        }
        let pipeline = self.scoped(|| Pipeline::new(&self.device, dispatch, self.checked_shaders))?;
        Counting::count(&self.counting.pipelines);
        Ok(lock().entry(key).or_insert_with(|| Arc::new(pipeline)).clone())
    }

    /// Runs something that may make the device complain, and turns its complaint into an error of this call.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn scoped<T>(&self, work: impl FnOnce() -> T) -> Result<T> {
        let memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let internal = self.device.push_error_scope(wgpu::ErrorFilter::Internal);
        let validation = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let value = work();
        // Natively the answers are ready.
        let answers = [validation, internal, memory].map(|scope| pollster::block_on(scope.pop()));
        match answers.into_iter().flatten().next() {
            Some(error) => Err(Error::Device(error.to_string())),
            None => Ok(value),
        }
    }

    /// In a browser complaints come later, to its console: nothing may wait for them here.
    #[cfg(target_arch = "wasm32")]
    pub(super) fn scoped<T>(&self, work: impl FnOnce() -> T) -> Result<T> {
        Ok(work())
    }

    /// A buffer of at least 16 bytes, filled with words.
    pub(super) fn buffer(
        &self,
        label: &str,
        bytes: u64,
        usage: wgpu::BufferUsages,
        words: &[u32],
    ) -> Result<wgpu::Buffer> {
        let size = bytes.next_multiple_of(4).max(16);
        let limits = self.device.limits();
        let binding = if usage.contains(wgpu::BufferUsages::STORAGE) {
            limits.max_storage_buffer_binding_size
        } else {
            limits.max_buffer_size
        };
        // Shaders count words in u32.
        let limit = limits.max_buffer_size.min(binding).min(u64::from(u32::MAX));
        if size > limit {
            return Err(Error::Limit {
                what: format!("a buffer ({label})"),
                needed: size,
                limit,
                unit: "bytes",
                advice: "split the tensor, or ask the adapter for a device with higher limits",
            });
        }
        Counting::count(&self.counting.buffers);
        self.scoped(|| {
            let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size,
                usage,
                mapped_at_creation: !words.is_empty(),
            });
            if !words.is_empty() {
                if let Ok(mut view) = buffer.get_mapped_range_mut(..(words.len() * 4) as u64) {
                    view.copy_from_slice(bytemuck::cast_slice(words));
                }
                buffer.unmap();
            }
            buffer
        })
    }
}

/// The instance of these backends, one for the whole process: only within an instance does wgpu tell the devices of two
/// contexts apart. OpenGL is left out of this, because all devices of its instance wait for one lock, with a time limit.
#[cfg(not(target_arch = "wasm32"))]
fn instance(backends: wgpu::Backends) -> wgpu::Instance {
    if backends.contains(wgpu::Backends::GL) {
        return new_instance(backends);
    }
    static INSTANCES: Mutex<Vec<(wgpu::Backends, wgpu::Instance)>> = Mutex::new(Vec::new());
    let mut instances = INSTANCES.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
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
