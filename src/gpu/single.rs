//! A launch outside of plans, bound to buffers: for the probe, and for the test of a new device.

use std::sync::Arc;

use super::Context;
use super::device_tensor::Temporary;
use super::pipeline::Pipeline;
use crate::error::Result;
use crate::kernels::Dispatch;

/// A launch that is compiled and bound.
pub(super) struct Single {
    pipeline: Arc<Pipeline>,
    bindings: wgpu::BindGroup,
    _uniform: Temporary,
    grid: [u32; 3],
}

impl Single {
    /// Compiles a launch and binds it to `buffers`, in the order of its bindings.
    pub(super) fn new(context: &Context, dispatch: &Dispatch, buffers: &[&wgpu::Buffer]) -> Result<Self> {
        let words: Vec<u32> = bytemuck::pod_collect_to_vec(&dispatch.parameters);
        let bytes = words.len() as u64 * 4;
        let uniform = Temporary(context.buffer(&dispatch.label, bytes, wgpu::BufferUsages::UNIFORM, &words)?);
        let pipeline = context.pipeline(dispatch)?;
        let storage = dispatch.bindings.iter().map(|binding| binding.slot).zip(buffers.iter().copied());
        let entries: Vec<_> = std::iter::once((0, &*uniform))
            .chain(storage)
            .map(|(binding, buffer)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() })
            .collect();
        let bindings = context.scoped(|| {
            context.device().create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some(&dispatch.label),
                layout: &pipeline.layout,
                entries: &entries,
            })
        })?;
        Ok(Self { pipeline, bindings, _uniform: uniform, grid: dispatch.grid })
    }

    /// Records the launch some times.
    pub(super) fn record(&self, pass: &mut wgpu::ComputePass<'_>, repeats: u32) {
        pass.set_pipeline(&self.pipeline.pipeline);
        pass.set_bind_group(0, &self.bindings, &[]);
        let [x, y, z] = self.grid;
        (0..repeats).for_each(|_| pass.dispatch_workgroups(x, y, z));
    }
}
