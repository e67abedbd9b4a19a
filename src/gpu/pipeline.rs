//! Compiling a linked program. The one `unsafe` of the crate is here: shaders whose launches the host has validated run
//! without the driver's own checks.

use crate::kernels::Dispatch;

/// A compiled program with the layout of its bindings.
#[derive(Debug)]
pub(super) struct Pipeline {
    pub pipeline: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
}

impl Pipeline {
    pub(super) fn new(device: &wgpu::Device, dispatch: &Dispatch, checked: bool) -> Self {
        let source = dispatch.program.source();
        let descriptor = wgpu::ShaderModuleDescriptor {
            label: Some(&dispatch.label),
            source: wgpu::ShaderSource::Wgsl(source.into()),
        };
        let module = if checked { device.create_shader_module(descriptor) } else { trusted(device, descriptor) };
        let entry = |binding, ty| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
            count: None,
        };
        let storage = dispatch
            .bindings
            .iter()
            .map(|binding| entry(binding.slot, wgpu::BufferBindingType::Storage { read_only: !binding.writes }));
        let entries: Vec<_> = std::iter::once(entry(0, wgpu::BufferBindingType::Uniform)).chain(storage).collect();
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some(&dispatch.label),
            entries: &entries,
        });
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(&dispatch.label),
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(&dispatch.label),
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                // Every kernel writes workgroup memory before it reads it.
                zero_initialize_workgroup_memory: checked,
                ..Default::default()
            },
            cache: None,
        });
        Self { pipeline, layout }
    }
}

#[expect(unsafe_code, reason = "the trusted-shader constructor: see SAFETY")]
fn trusted(device: &wgpu::Device, descriptor: wgpu::ShaderModuleDescriptor<'_>) -> wgpu::ShaderModule {
    // SAFETY: the source is one of this crate's own programs. Ops validate every shape, and buffers are checked against
    // their tensor types before a launch is recorded, so that all indices stay inside the bindings; loops are bounded by
    // those same sizes and divisors are sizes of at least 1. tests/equivalence.rs runs a part with all checks on.
    unsafe { device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
}
