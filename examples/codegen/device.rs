//! A Vulkan device that is asked for statistics and machine code of pipelines, and runs nothing. It has the features that wgpu
//! enables, so its compiler makes the code that an engine gets.
#![allow(unsafe_code, reason = "Vulkan: see SAFETY")]

use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::CStr;

use ash::vk;
use lowbit::Context;
use lowbit::kernels::{DeviceCaps, Dispatch};
use naga::back::spv;
use naga::valid::{Capabilities, ValidationFlags, Validator};

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

pub(crate) struct Device {
    pub name: String,
    pub driver: String,
    pub caps: DeviceCaps,
    raw: ash::Device,
    reports: ash::khr::pipeline_executable_properties::Device,
    spirv: spv::Options<'static>,
    varying_subgroups: bool,
}

/// The compiler's report of a program.
#[derive(Debug, Clone, Default)]
pub(crate) struct Code {
    /// Lanes of a subgroup.
    pub lanes: u32,
    /// Names and values, as the driver spells them.
    pub statistics: BTreeMap<String, f64>,
    /// Assembly, empty where the driver shows none.
    pub assembly: String,
}

impl Code {
    /// The first of these statistics that the driver reports, 0 without one.
    pub(crate) fn statistic(&self, names: &[&str]) -> f64 {
        names.iter().find_map(|&name| self.statistics.get(name)).copied().unwrap_or(0.0)
    }
}

impl Device {
    /// The first Vulkan device. `VK_DRIVER_FILES` chooses the driver.
    pub(crate) fn open() -> Result<Self> {
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        descriptor.backends = wgpu::Backends::VULKAN;
        descriptor.flags = wgpu::InstanceFlags::ALLOW_UNDERLYING_NONCOMPLIANT_ADAPTER;
        let instance = wgpu::Instance::new(descriptor);
        let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::VULKAN));
        let adapter = adapters.into_iter().next().ok_or("there is no Vulkan device")?;
        let useful = wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX
            | wgpu::Features::SHADER_F16
            | wgpu::Features::SUBGROUP
            | wgpu::Features::TIMESTAMP_QUERY;
        let (features, limits) = (adapter.features() & useful, adapter.limits());
        // Nothing runs here, so nothing tells what the test of a real device would.
        let caps = DeviceCaps { unpack_f16: true, ..Context::caps_of(&adapter, &limits, features) };

        let mut statistics =
            vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR::default().pipeline_executable_info(true);
        // SAFETY: The adapter outlives the guard.
        let hal = unsafe { adapter.as_hal::<wgpu::hal::api::Vulkan>() }.ok_or("the device is not of Vulkan")?;
        let instance = hal.shared_instance().raw_instance();
        // SAFETY: The physical device is of this instance.
        let offered = unsafe { instance.enumerate_device_extension_properties(hal.raw_physical_device()) }?;
        let reports = ash::khr::pipeline_executable_properties::NAME;
        if !offered.iter().any(|extension| extension.extension_name_as_c_str() == Ok(reports)) {
            return Err(
                format!("{} reports nothing of its programs: it lacks {reports:?}", adapter.get_info().name).into()
            );
        }
        let chain = &mut statistics;
        // SAFETY: The callback adds an extension with its own feature struct, which lives until the device is made.
        let open = unsafe {
            hal.open_with_callback(
                features,
                &limits,
                &wgpu::MemoryHints::Performance,
                Some(Box::new(move |args| {
                    args.extensions.push(ash::khr::pipeline_executable_properties::NAME);
                    *args.create_info = args.create_info.push_next(chain);
                })),
            )
        }?;
        let (raw, instance) = (open.device.raw_device().clone(), open.device.shared_instance().raw_instance().clone());
        let physical = open.device.raw_physical_device();
        let (mut vulkan13, mut vulkan12) =
            (vk::PhysicalDeviceVulkan13Features::default(), vk::PhysicalDeviceVulkan12Features::default());
        let mut all = vk::PhysicalDeviceFeatures2::default().push_next(&mut vulkan13).push_next(&mut vulkan12);
        // SAFETY: The physical device is of this instance, and the structs are chained.
        let version = unsafe {
            instance.get_physical_device_features2(physical, &mut all);
            instance.get_physical_device_properties(physical).api_version
        };
        let dot = vulkan13.shader_integer_dot_product == 1;
        let spirv = spirv_options(features, dot, vulkan12.shader_int8 == 1, version >= vk::API_VERSION_1_3);
        let reports = ash::khr::pipeline_executable_properties::Device::new(&instance, &raw);
        let varying_subgroups = features.contains(wgpu::Features::SUBGROUP);
        // Drivers of pretended devices don't survive the end of one; the process ends soon.
        std::mem::forget(open);
        let info = adapter.get_info();
        Ok(Self { name: info.name, driver: info.driver_info, caps, raw, reports, spirv, varying_subgroups })
    }

    fn spirv(&self, dispatch: &Dispatch) -> Result<Vec<u32>> {
        let source = dispatch.program.source();
        let module = naga::front::wgsl::parse_str(&source).map_err(|error| error.emit_to_string(&source))?;
        let info = Validator::new(ValidationFlags::all(), Capabilities::all()).validate(&module)?;
        let options =
            spv::PipelineOptions { shader_stage: naga::ShaderStage::Compute, entry_point: "main".to_string() };
        Ok(spv::write_vec(&module, &info, &self.spirv, Some(&options))?)
    }

    /// Compiles the program of a launch.
    pub(crate) fn compile(&self, dispatch: &Dispatch) -> Result<Code> {
        let words = self.spirv(dispatch)?;
        let uniform = (0, vk::DescriptorType::UNIFORM_BUFFER);
        let slots = dispatch.bindings.iter().map(|binding| (binding.slot, vk::DescriptorType::STORAGE_BUFFER));
        let bindings: Vec<_> = std::iter::once(uniform)
            .chain(slots)
            .map(|(slot, kind)| {
                vk::DescriptorSetLayoutBinding::default()
                    .binding(slot)
                    .descriptor_count(1)
                    .descriptor_type(kind)
                    .stage_flags(vk::ShaderStageFlags::COMPUTE)
            })
            .collect();
        let flags = vk::PipelineCreateFlags::CAPTURE_STATISTICS_KHR
            | vk::PipelineCreateFlags::CAPTURE_INTERNAL_REPRESENTATIONS_KHR;
        // SAFETY: All objects are of this device, naga validated the module, and the structs live until the pipeline is made.
        unsafe {
            let module = self.raw.create_shader_module(&vk::ShaderModuleCreateInfo::default().code(&words), None)?;
            let set = vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings);
            let sets = [self.raw.create_descriptor_set_layout(&set, None)?];
            let layout = vk::PipelineLayoutCreateInfo::default().set_layouts(&sets);
            let layout = self.raw.create_pipeline_layout(&layout, None)?;
            let mut stage = vk::PipelineShaderStageCreateInfo::default()
                .stage(vk::ShaderStageFlags::COMPUTE)
                .module(module)
                .name(c"main");
            if self.varying_subgroups {
                stage = stage.flags(vk::PipelineShaderStageCreateFlags::ALLOW_VARYING_SUBGROUP_SIZE);
            }
            let info = vk::ComputePipelineCreateInfo::default().stage(stage).layout(layout).flags(flags);
            let pipelines = self.raw.create_compute_pipelines(vk::PipelineCache::null(), &[info], None);
            let pipeline = pipelines.map_err(|(_, error)| error)?[0];
            let code = self.report(pipeline);
            self.raw.destroy_pipeline(pipeline, None);
            self.raw.destroy_pipeline_layout(layout, None);
            self.raw.destroy_descriptor_set_layout(sets[0], None);
            self.raw.destroy_shader_module(module, None);
            code
        }
    }

    /// The report of the last variant of a pipeline: a driver lists the widest subgroup last.
    fn report(&self, pipeline: vk::Pipeline) -> Result<Code> {
        // SAFETY: The pipeline was made with the flags that capture both reports.
        unsafe {
            let info = vk::PipelineInfoKHR::default().pipeline(pipeline);
            let variants = self.reports.get_pipeline_executable_properties(&info)?;
            let last = variants.len().checked_sub(1).ok_or("the driver reports no program")?;
            let info = vk::PipelineExecutableInfoKHR::default().pipeline(pipeline).executable_index(last as u32);
            let statistics = self.reports.get_pipeline_executable_statistics(&info)?;
            let statistics = statistics.iter().map(|statistic| {
                use vk::PipelineExecutableStatisticFormatKHR as Format;
                let name = CStr::from_ptr(statistic.name.as_ptr()).to_string_lossy().into_owned();
                let value = match statistic.format {
                    Format::UINT64 => statistic.value.u64 as f64,
                    Format::INT64 => statistic.value.i64 as f64,
                    Format::FLOAT64 => statistic.value.f64,
                    _ => f64::from(statistic.value.b32),
                };
                (name, value)
            });
            let lanes = variants[last].subgroup_size;
            Ok(Code { lanes, statistics: statistics.collect(), assembly: self.assembly(&info)? })
        }
    }

    /// # Safety
    /// The pipeline must have been made with `CAPTURE_INTERNAL_REPRESENTATIONS`.
    unsafe fn assembly(&self, info: &vk::PipelineExecutableInfoKHR<'_>) -> Result<String> {
        let get = self.reports.fp().get_pipeline_executable_internal_representations_khr;
        let (device, mut count) = (self.raw.handle(), 0);
        // SAFETY: Without memory for them the call counts the texts, then it tells their sizes, then it fills them.
        unsafe {
            get(device, info, &raw mut count, std::ptr::null_mut()).result()?;
            let mut texts = vec![vk::PipelineExecutableInternalRepresentationKHR::default(); count as usize];
            get(device, info, &raw mut count, texts.as_mut_ptr()).result()?;
            let mut memory: Vec<Vec<u8>> = texts.iter().map(|text| vec![0; text.data_size]).collect();
            for (text, memory) in texts.iter_mut().zip(&mut memory) {
                text.p_data = memory.as_mut_ptr().cast();
            }
            get(device, info, &raw mut count, texts.as_mut_ptr()).result()?;
            let assembly = texts.iter().zip(&memory).find(|(text, _)| {
                CStr::from_ptr(text.name.as_ptr()).to_string_lossy().to_lowercase().contains("assembly")
            });
            Ok(assembly.map_or_else(String::new, |(_, memory)| {
                String::from_utf8_lossy(memory).trim_end_matches('\0').to_string()
            }))
        }
    }
}

/// The options of wgpu's Vulkan backend for trusted shaders.
fn spirv_options(features: wgpu::Features, dot: bool, int8: bool, vulkan13: bool) -> spv::Options<'static> {
    use spv::Capability;
    let mut capabilities = vec![Capability::Shader, Capability::Matrix];
    if features.contains(wgpu::Features::SUBGROUP) {
        capabilities.extend([
            Capability::GroupNonUniform,
            Capability::GroupNonUniformVote,
            Capability::GroupNonUniformArithmetic,
            Capability::GroupNonUniformBallot,
            Capability::GroupNonUniformShuffle,
            Capability::GroupNonUniformShuffleRelative,
            Capability::GroupNonUniformQuad,
        ]);
    }
    if features.contains(wgpu::Features::SHADER_F16) {
        capabilities.push(Capability::Float16);
    }
    if features.contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX) {
        capabilities.extend([Capability::CooperativeMatrixKHR, Capability::VulkanMemoryModel]);
    }
    if dot {
        capabilities.extend([
            Capability::DotProductKHR,
            Capability::DotProductInputAllKHR,
            Capability::DotProductInput4x8BitKHR,
            Capability::DotProductInput4x8BitPackedKHR,
        ]);
    }
    if int8 {
        capabilities.push(Capability::Int8);
    }
    let unchecked = naga::proc::BoundsCheckPolicy::Unchecked;
    spv::Options {
        lang_version: if vulkan13 { (1, 6) } else { (1, 5) },
        flags: spv::WriterFlags::empty(),
        capabilities: Some(capabilities.into_iter().collect()),
        bounds_check_policies: naga::proc::BoundsCheckPolicies {
            index: unchecked,
            buffer: unchecked,
            image_load: unchecked,
            binding_array: unchecked,
        },
        zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
        force_loop_bounding: false,
        emit_int_div_checks: false,
        ..spv::Options::default()
    }
}
