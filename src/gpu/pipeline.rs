//! Compilation of linked programs, once each. It contains an `unsafe` of the crate: shaders whose launches the host has validated
//! run without the driver's own checks. `context` determines which programs are compiled, when, and on which thread.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use super::lock;
use super::warm::Launched;
use crate::error::Result;
use crate::kernels::Dispatch;

/// A compiled program with the layout of its bindings.
#[derive(Debug)]
pub(super) struct Pipeline {
    pub pipeline: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
    pub launched: Launched,
}

impl Pipeline {
    pub(super) fn new(
        device: &wgpu::Device,
        dispatch: &Dispatch,
        checked: bool,
        cache: Option<&wgpu::PipelineCache>,
    ) -> Self {
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
            .map(|binding| entry(binding.slot, wgpu::BufferBindingType::Storage { read_only: !binding.writable }));
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
            cache,
        });
        Self { pipeline, layout, launched: Launched::default() }
    }
}

#[expect(unsafe_code, reason = "the trusted-shader constructor: see SAFETY")]
fn trusted(device: &wgpu::Device, descriptor: wgpu::ShaderModuleDescriptor<'_>) -> wgpu::ShaderModule {
    // SAFETY: the source is one of this crate's own programs. Ops validate every shape, and buffers are checked against their
    // tensor types before a launch is recorded, so all indices stay inside the bindings. Loops are bounded by these sizes, and
    // divisors are sizes of at least 1. tests/equivalence.rs runs a part with all checks on.
    unsafe { device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
}

/// The compiled programs by name, each behind its own lock: a thread that needs a program which another thread compiles waits for
/// that program only.
#[derive(Debug, Default)]
pub(super) struct Pipelines(Mutex<HashMap<String, Slot>>);

type Slot = Arc<Mutex<Option<Arc<Pipeline>>>>;

impl Pipelines {
    /// The pipeline with this name; compiles it if necessary. A failed compilation is repeated at the next request.
    pub(super) fn get(&self, name: String, compile: impl FnOnce() -> Result<Pipeline>) -> Result<Arc<Pipeline>> {
        let slot = lock(&self.0).entry(name).or_default().clone();
        let mut pipeline = lock(&slot);
        if let Some(pipeline) = &*pipeline {
            return Ok(pipeline.clone());
        }
        Ok(pipeline.insert(Arc::new(compile()?)).clone())
    }

    /// One dispatch for each missing program, including programs that another thread is compiling.
    pub(super) fn missing<'a>(&self, dispatches: &[&'a Dispatch]) -> Vec<&'a Dispatch> {
        let slots = lock(&self.0);
        let is_there = |slot: &Slot| slot.try_lock().is_ok_and(|pipeline| pipeline.is_some());
        let mut seen = HashSet::new();
        let mut is_missing = |name: String| !slots.get(&name).is_some_and(is_there) && seen.insert(name);
        dispatches.iter().copied().filter(|dispatch| is_missing(dispatch.program.name())).collect()
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::gpu::Context;
    use crate::kernels;
    use crate::ops::Matmul;
    use crate::tensor::Tensor;

    #[test]
    fn threads_compile_each_program_once() {
        let Ok(context) = Context::new_blocking() else {
            let required = std::env::var("LOWBIT_REQUIRE_ADAPTER").is_ok_and(|v| v == "1");
            assert!(!required, "LOWBIT_REQUIRE_ADAPTER=1, but there is no adapter");
            eprintln!("\n*** NOT RUN: this test needs a GPU adapter ***\n");
            return;
        };
        let lhs = Tensor::new([64, 64], vec![1i8; 4096]).expect("a legal shape");
        let op = Matmul::new(lhs.tensor_type().clone(), lhs).build().expect("a legal product").into();
        let candidates = kernels::candidates(&op, &context.device_caps());
        let mut dispatches: Vec<_> = candidates.iter().flat_map(|candidate| &candidate.dispatches).collect();
        let names: HashSet<_> = dispatches.iter().map(|dispatch| dispatch.program.name()).collect();
        assert!(names.len() > 2, "{names:?}");
        dispatches.extend_from_within(..);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    context.compile(&dispatches).expect("programs that compile");
                    // Programs that another thread began are also compiled when the call returns.
                    assert!(context.pipelines.missing(&dispatches).is_empty());
                });
            }
        });
        assert_eq!(context.counters().pipelines, names.len() as u64);
        context.report_lost("a test");
        assert!(context.compile(&dispatches).is_err());
    }
}
