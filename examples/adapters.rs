//! Prints one line per GPU adapter that wgpu finds. The exit status is 1 if there is none. It opens no device and runs nothing
//! on any of them.

use std::process::ExitCode;

fn main() -> ExitCode {
    // `with_env` narrows the backends to those of WGPU_BACKEND, as lowbit's Context does.
    let backends = wgpu::Backends::all().with_env();
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = backends;
    let instance = wgpu::Instance::new(descriptor);
    let adapters = pollster::block_on(instance.enumerate_adapters(backends));
    for adapter in &adapters {
        let info = adapter.get_info();
        let kind = match info.device_type {
            wgpu::DeviceType::DiscreteGpu => "discrete GPU",
            wgpu::DeviceType::IntegratedGpu => "integrated GPU",
            wgpu::DeviceType::VirtualGpu => "virtual GPU",
            wgpu::DeviceType::Cpu => "software on the CPU",
            wgpu::DeviceType::Other => "unknown device type",
        };
        let driver = format!("{} {}", info.driver, info.driver_info);
        println!("{} | {} | {} | {kind}", info.name, info.backend, driver.trim());
    }
    if adapters.is_empty() {
        eprintln!("no GPU adapter was found for the backends {backends:?}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
