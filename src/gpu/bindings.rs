//! A plan bound to buffers, which can be recorded any number of times. `plan` determines the launches.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::pipeline::Pipeline;
use super::plan::Variant;
use super::{Context, DeviceTensor, Plan};
use crate::error::{Result, require};
use crate::kernels::{Binding, Dispatch};
use crate::plan::{Launch, Storage};

/// Device memory for the intermediates of plans.
///
/// Recordings that share a workspace run in sequence on the device, as in any queue. One workspace serves any number of bindings,
/// plans, encoders and threads whose commands go to one queue.
#[derive(Debug, Clone)]
pub struct Workspace {
    pub(super) buffers: Vec<wgpu::Buffer>,
}

impl Workspace {
    /// A workspace for this plan.
    ///
    /// # Errors
    /// If the device has no memory for it or is lost.
    pub fn allocate(plan: &Plan) -> Result<Self> {
        let context = plan.context();
        let buffer = |&bytes: &u64| context.buffer("workspace", bytes, wgpu::BufferUsages::STORAGE, &[]);
        Ok(Self { buffers: plan.workspace_buffers().iter().map(buffer).collect::<Result<_>>()? })
    }

    /// A workspace in the caller's buffers, with usage STORAGE: at least as many as [`Plan::workspace_buffers`], each at least as
    /// large as listed there. It can serve all plans that fit it.
    ///
    /// # Errors
    /// If a buffer lacks the usage, or is given twice.
    pub fn from_buffers(buffers: Vec<wgpu::Buffer>) -> Result<Self> {
        for (i, buffer) in buffers.iter().enumerate() {
            require!(
                buffer.usage().contains(wgpu::BufferUsages::STORAGE),
                "workspace buffer {i} has usage {:?}, but it needs STORAGE",
                buffer.usage()
            );
            require!(!buffers[..i].contains(buffer), "workspace buffer {i} is given twice: give separate buffers");
        }
        Ok(Self { buffers })
    }

    /// Gives the memory back at once: the buffers are destroyed, and recordings that use them fail. Otherwise it comes back when the
    /// last clone and its bindings are dropped; in a browser only when its collector runs.
    pub fn destroy(self) {
        self.buffers.iter().for_each(wgpu::Buffer::destroy);
    }

    /// The buffers.
    #[must_use]
    pub fn buffers(&self) -> &[wgpu::Buffer] {
        &self.buffers
    }

    /// Refuses a workspace that is too small for a plan.
    pub(super) fn check(&self, needed: &[u64]) -> Result<()> {
        require!(
            self.buffers.len() >= needed.len(),
            "the workspace has {} buffers, but the plan needs {}: see Plan::workspace_buffers",
            self.buffers.len(),
            needed.len()
        );
        for (i, (buffer, &needed)) in self.buffers.iter().zip(needed).enumerate() {
            require!(
                buffer.size() >= needed,
                "workspace buffer {i} has {} bytes, but the plan needs {needed}: see Plan::workspace_buffers",
                buffer.size()
            );
        }
        Ok(())
    }
}

/// A plan bound to inputs, outputs and a workspace; made by [`Plan::bind`]. [`Plan::record`] puts it into an encoder any number of
/// times.
///
/// It keeps its buffers alive and is `Send` and `Sync`. Its `Display` shows one line per launch, as that of [`Plan`] does.
#[derive(Debug)]
pub struct Bindings {
    /// The id of the plan that made it.
    pub(super) plan: u64,
    variant: Arc<Variant>,
    pipelines: Arc<[Arc<Pipeline>]>,
    groups: Vec<wgpu::BindGroup>,
    pub(super) inputs: Vec<DeviceTensor>,
    pub(super) outputs: Vec<DeviceTensor>,
}

impl Bindings {
    /// Binds launches to tensors that have been checked.
    pub(super) fn new(
        context: &Context,
        plan: u64,
        variant: Arc<Variant>,
        inputs: &[&DeviceTensor],
        outputs: &[&DeviceTensor],
        workspace: &Workspace,
    ) -> Result<Self> {
        inputs.iter().chain(outputs).try_for_each(|tensor| tensor.check_offset(context))?;
        let pipelines = shared(context, &variant, inputs, outputs, workspace)?;
        let bind = |index: usize| bind_group(context, &variant, index, &pipelines[index], inputs, outputs, workspace);
        let groups = context.scoped(|| (0..pipelines.len()).map(bind).collect())?;
        let tensors = |tensors: &[&DeviceTensor]| tensors.iter().map(|&t| t.clone()).collect();
        Ok(Self { plan, variant, pipelines, groups, inputs: tensors(inputs), outputs: tensors(outputs) })
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

    /// Records all launches.
    pub(super) fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        self.record_some(pass, 0..self.launches());
    }

    /// Records some of the launches.
    pub(super) fn record_some(&self, pass: &mut wgpu::ComputePass<'_>, range: Range<usize>) {
        let mut set: Option<&Arc<Pipeline>> = None;
        let launches = self.variant.schedule.launches.iter().zip(&*self.pipelines).zip(&self.groups);
        for ((launch, pipeline), group) in launches.take(range.end).skip(range.start) {
            if set.is_none_or(|set| !Arc::ptr_eq(set, pipeline)) {
                pass.set_pipeline(&pipeline.pipeline);
                set = Some(pipeline);
            }
            pass.set_bind_group(0, group, &[]);
            let [x, y, z] = launch.dispatch.grid;
            pass.dispatch_workgroups(x, y, z);
        }
    }
}

impl fmt::Display for Bindings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.variant)
    }
}

/// The buffer of a binding, and the start of the tensor in it.
fn place<'a>(
    storage: Storage,
    variant: &'a Variant,
    inputs: &[&'a DeviceTensor],
    outputs: &[&'a DeviceTensor],
    workspace: &'a Workspace,
) -> (&'a wgpu::Buffer, u64) {
    match storage {
        Storage::Input(i) => (inputs[i].buffer(), inputs[i].offset()),
        Storage::Output(i) => (outputs[i].buffer(), outputs[i].offset()),
        Storage::Workspace(i) => (&workspace.buffers[i], 0),
        Storage::Constant(i) => (&*variant.constants[i], 0),
    }
}

/// The pipelines of all launches. If a launch reads a tensor in a buffer that it also writes, WebGPU wants all of these bindings
/// `read_write`: the launch takes another program, which is compiled here if it is missing.
fn shared(
    context: &Context,
    variant: &Variant,
    inputs: &[&DeviceTensor],
    outputs: &[&DeviceTensor],
    workspace: &Workspace,
) -> Result<Arc<[Arc<Pipeline>]>> {
    let pipelines = variant.pipelines(context)?;
    let tensors = || inputs.iter().chain(outputs);
    let mut written = outputs.iter().chain(variant.states.iter().map(|&state| &inputs[state]));
    if written.all(|written| tensors().filter(|tensor| tensor.buffer() == written.buffer()).count() == 1) {
        return Ok(pipelines);
    }
    let sharing = |launch: &Launch| -> Result<Option<Dispatch>> {
        let bound: Vec<(&Binding, &wgpu::Buffer, u64, u64)> = launch
            .dispatch
            .bindings
            .iter()
            .zip(&launch.spans)
            .map(|(binding, span)| {
                let (buffer, start) = place(span.storage, variant, inputs, outputs, workspace);
                let start = start + span.offset;
                (binding, buffer, start, start + span.bytes.unwrap_or_else(|| buffer.size() - start))
            })
            .collect();
        let is_written = |buffer| bound.iter().any(|(binding, written, ..)| binding.writes && *written == buffer);
        let shared: Vec<_> =
            bound.iter().filter(|(binding, buffer, ..)| !binding.writes && is_written(*buffer)).collect();
        for (i, (_, buffer, start, end)) in shared.iter().enumerate() {
            require!(
                shared[..i].iter().all(|(_, other, from, to)| other != buffer || to <= start || end <= from),
                "{} reads the same bytes twice and writes elsewhere in their buffer, which WebGPU forbids: give the output a buffer \
                 of its own",
                launch.dispatch.label
            );
        }
        let slots: Vec<u32> = shared.iter().map(|(binding, ..)| binding.slot).collect();
        Ok((!slots.is_empty()).then(|| launch.dispatch.clone().sharing(&slots)))
    };
    let dispatches: Vec<Option<Dispatch>> = variant.schedule.launches.iter().map(sharing).collect::<Result<_>>()?;
    context.compile(&dispatches.iter().flatten().collect::<Vec<_>>())?;
    let pipeline = |(dispatch, own): (&Option<Dispatch>, &Arc<Pipeline>)| match dispatch {
        Some(dispatch) => context.pipeline(dispatch),
        None => Ok(own.clone()),
    };
    dispatches.iter().zip(&*pipelines).map(pipeline).collect()
}

fn bind_group(
    context: &Context,
    variant: &Variant,
    index: usize,
    pipeline: &Pipeline,
    inputs: &[&DeviceTensor],
    outputs: &[&DeviceTensor],
    workspace: &Workspace,
) -> wgpu::BindGroup {
    let launch = &variant.schedule.launches[index];
    let storage = launch.dispatch.bindings.iter().zip(&launch.spans).map(|(binding, span)| {
        let (buffer, start) = place(span.storage, variant, inputs, outputs, workspace);
        let size = span.bytes.and_then(wgpu::BufferSize::new);
        let resource = wgpu::BufferBinding { buffer, offset: start + span.offset, size };
        wgpu::BindGroupEntry { binding: binding.slot, resource: wgpu::BindingResource::Buffer(resource) }
    });
    let entries: Vec<_> = std::iter::once(variant.uniform_entry(index)).chain(storage).collect();
    context.device().create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some(&launch.dispatch.label),
        layout: &pipeline.layout,
        entries: &entries,
    })
}
