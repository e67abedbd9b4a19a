//! Makes a Vulkan device without robust access to buffers.

use std::error::Error;

use lowbit::Context;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A device of the adapter without robust access to buffers, and its queue.
///
/// # Safety
/// All shaders on this device must stay within their buffers. wgpu believes that the device is robust, and leaves out its own
/// checks too: a shader that is not lowbit's may read and write anything that the process has on the device.
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "Vulkan: see SAFETY")]
unsafe fn trusted_device(
    adapter: &wgpu::Adapter,
    descriptor: &wgpu::DeviceDescriptor<'_>,
) -> Result<(wgpu::Device, wgpu::Queue)> {
    use ash::vk;

    let (features, limits) = (descriptor.required_features, &descriptor.required_limits);
    // SAFETY: The guard doesn't outlive the adapter.
    let hal = unsafe { adapter.as_hal::<wgpu::hal::api::Vulkan>() }.ok_or("the adapter is not of Vulkan")?;
    let mut extensions = hal.required_device_extensions(features);
    extensions.retain(|&name| name != ash::ext::robustness2::NAME);
    let names: Vec<_> = extensions.iter().map(|name| name.as_ptr()).collect();
    // wgpu uses one queue of the first family, too.
    let queues = [vk::DeviceQueueCreateInfo::default().queue_family_index(0).queue_priorities(&[1.0])];
    let mut enabled = hal.physical_device_features(&extensions, features);
    let info = vk::DeviceCreateInfo::default().queue_create_infos(&queues).enabled_extension_names(&names);
    let info = enabled.add_to_device_create(info);
    // SAFETY: `add_to_device_create` sets the pointer to features that `enabled` holds.
    let core = unsafe { *info.p_enabled_features }.robust_buffer_access(false);
    let info = info.enabled_features(&core);
    let instance = hal.shared_instance().raw_instance();
    // SAFETY: The physical device is of this instance, all extensions and features are its own, and `info` points to locals.
    let device = unsafe { instance.create_device(hal.raw_physical_device(), &info, None) }?;
    // SAFETY: The device has the extensions and features that wgpu expects but for robust access, which the caller does without.
    // Without a callback wgpu destroys the device.
    let open =
        unsafe { hal.device_from_raw(device, None, &extensions, features, limits, &descriptor.memory_hints, 0, 0) }?;
    // SAFETY: The device was made from this adapter, with the descriptor's features.
    Ok(unsafe { adapter.create_device_from_hal(open, descriptor) }?)
}

/// A context on the first Vulkan adapter's device, made without robust access to buffers.
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "see SAFETY")]
pub(crate) async fn context() -> Result<Context> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wgpu::Backends::VULKAN;
    let instance = wgpu::Instance::new(descriptor);
    let adapter = instance.request_adapter(&wgpu::RequestAdapterOptions::default()).await?;
    let descriptor = wgpu::DeviceDescriptor {
        required_features: adapter.features() & (wgpu::Features::SUBGROUP | wgpu::Features::TIMESTAMP_QUERY),
        required_limits: adapter.limits(),
        ..Default::default()
    };
    // SAFETY: This program runs no shaders but lowbit's.
    let (device, queue) = unsafe { trusted_device(&adapter, &descriptor) }?;
    Ok(Context::from_device(device, queue).tested().await?)
}

#[cfg(not(target_os = "linux"))]
pub(crate) async fn context() -> Result<Context> {
    Err("the example is written for Vulkan on Linux".into())
}
