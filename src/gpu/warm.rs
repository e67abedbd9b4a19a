//! The part of warm-up beyond compilation. Drivers that run programs on a CPU make machine code of a program at its first launch, and
//! browsers may compile it then, so each program is launched once, with no workgroups. Compilation is in `context`; `plan` determines
//! the launches.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Context;
use super::context::Counting;
use super::pipeline::Pipeline;
use super::plan::Variant;
use super::wait::idle;
use crate::error::Result;
use crate::numeric::sort_indices;

/// True if a program has been launched, so that the driver has made its machine code.
#[derive(Debug, Default)]
pub(super) struct Launched(AtomicBool);

/// The bytes of the buffers that these launches bind: no binding is declared with more.
const SCRATCH: u64 = 4096;

/// Launches each program that has not been launched, with no workgroups, and waits for the device. Nothing runs, and nothing is
/// read or written. Only on devices that need it.
pub(super) async fn launch_once(context: &Context, variant: &Variant, pipelines: &[Arc<Pipeline>]) -> Result<()> {
    let device = context.device();
    if !cfg!(target_arch = "wasm32") && device.adapter_info().device_type != wgpu::DeviceType::Cpu {
        return Ok(());
    }
    let mut new: Vec<usize> = (0..pipelines.len()).collect();
    new.retain(|&i| !pipelines[i].launched.0.load(Ordering::Relaxed));
    sort_indices(&mut new, |i| Arc::as_ptr(&pipelines[i]).addr());
    new.dedup_by_key(|&mut i| Arc::as_ptr(&pipelines[i]));
    if new.is_empty() {
        return Ok(());
    }
    let scratch = |parts, usage| context.temporary("scratch of warming", parts * SCRATCH, usage);
    let read = scratch(1, wgpu::BufferUsages::STORAGE)?;
    // Writable bindings of a launch must not overlap.
    let parts =
        |&i: &usize| variant.schedule.launches[i].dispatch.bindings.iter().filter(|binding| binding.writable).count();
    let written = scratch(new.iter().map(parts).max().unwrap_or(0) as u64, wgpu::BufferUsages::STORAGE)?;
    let no_workgroups = scratch(1, wgpu::BufferUsages::INDIRECT)?;
    // On OpenGL wgpu omits launches without workgroups, where they are an error, unless the number is in a buffer.
    let from_buffer = device.adapter_info().backend == wgpu::Backend::Gl;
    context.scoped(|| {
        let mut encoder = device.create_command_encoder(&Default::default());
        let mut pass = encoder.begin_compute_pass(&Default::default());
        for &i in &new {
            let dispatch = &variant.schedule.launches[i].dispatch;
            let mut offsets = (0..).step_by(SCRATCH as usize);
            let storage = dispatch.bindings.iter().map(|binding| {
                let (buffer, offset) =
                    if binding.writable { (&*written, offsets.next().unwrap_or(0)) } else { (&*read, 0) };
                let resource = wgpu::BufferBinding { buffer, offset, size: wgpu::BufferSize::new(SCRATCH) };
                wgpu::BindGroupEntry { binding: binding.slot, resource: wgpu::BindingResource::Buffer(resource) }
            });
            let entries: Vec<_> = std::iter::once(variant.uniform_entry(i)).chain(storage).collect();
            let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some(&dispatch.label),
                layout: &pipelines[i].layout,
                entries: &entries,
            });
            pass.set_pipeline(&pipelines[i].pipeline);
            pass.set_bind_group(0, &group, &[]);
            match from_buffer {
                true => pass.dispatch_workgroups_indirect(&no_workgroups, 0),
                false => pass.dispatch_workgroups(0, 0, 0),
            }
        }
        drop(pass);
        context.queue().submit([encoder.finish()]);
    })?;
    Counting::count(&context.counting.submissions);
    idle(context).await?;
    new.iter().for_each(|&i| pipelines[i].launched.0.store(true, Ordering::Relaxed));
    Ok(())
}
