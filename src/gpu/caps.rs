//! The capabilities of a device, from the reports of wgpu.

use super::device_tensor::USAGE;
use super::single::Single;
use super::{Context, DeviceTensor};
use crate::error::Result;
use crate::kernels::{DeviceCaps, probe};
use crate::numeric::DType;
use crate::plan::DeviceLimits;
use crate::tensor::TensorType;

/// The features that kernels on matrix units need.
pub(super) const MATRICES: wgpu::Features =
    wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX.union(wgpu::Features::SHADER_F16).union(wgpu::Features::SUBGROUP);

/// The capabilities of a device with these limits and features, without cooperative matrices: a device doesn't tell their sizes.
pub(super) fn of_device(limits: &wgpu::Limits, features: wgpu::Features, info: &wgpu::AdapterInfo) -> DeviceCaps {
    let sizes = [info.subgroup_min_size, info.subgroup_max_size];
    let allowed = DeviceLimits {
        max_compute_invocations_per_workgroup: limits
            .max_compute_invocations_per_workgroup
            .min(limits.max_compute_workgroup_size_x)
            .min(limits.max_compute_workgroup_size_y),
        max_compute_workgroup_storage_size: limits.max_compute_workgroup_storage_size,
        max_compute_workgroups_per_dimension: limits.max_compute_workgroups_per_dimension,
        max_storage_buffers_per_shader_stage: limits.max_storage_buffers_per_shader_stage,
        max_storage_buffer_binding_size: limits.max_storage_buffer_binding_size,
        max_buffer_size: limits.max_buffer_size,
        subgroup_sizes: Some(sizes),
        subgroups: features.contains(wgpu::Features::SUBGROUP),
        target_invocations: if info.device_type == wgpu::DeviceType::Cpu { 1 } else { DeviceLimits::GPU },
    };
    DeviceCaps { emulate_dot4: emulates_dot4(&info.name), ..allowed.caps() }
}

/// True if a device of this name multiplies faster than it makes dot products: llvmpipe's compiler multiplies the four bytes of
/// `dot4I8Packed` as 32-bit numbers. SwiftShader has an instruction for them.
pub(super) fn emulates_dot4(name: &str) -> bool {
    name.starts_with("llvmpipe")
}

/// The number of rows and columns of cooperative matrices of f16 whose products are summed in f32; 0 without such matrices or
/// without the features that they need.
pub(super) fn coop_matrix_size(features: wgpu::Features, properties: &[wgpu::CooperativeMatrixProperties]) -> u32 {
    let fits = |p: &&wgpu::CooperativeMatrixProperties| {
        p.ab_type == wgpu::CooperativeScalarType::F16
            && p.cr_type == wgpu::CooperativeScalarType::F32
            && [p.n_size, p.k_size] == [p.m_size; 2]
            && [8, 16].contains(&p.m_size)
    };
    let size = properties.iter().filter(fits).map(|p| p.m_size).max().unwrap_or(0);
    if features.contains(MATRICES) { size } else { 0 }
}

/// True if the device has `unpack2x16float`, and it gives the number of every f16: all of them are tried.
///
/// # Errors
/// If the device is lost.
pub(super) async fn unpacks_f16(context: &Context) -> Result<bool> {
    match converts_all(context).await {
        Ok(converts) => Ok(converts),
        // A device without the conversion refuses the program.
        Err(_) => context.check_alive().map(|()| false),
    }
}

async fn converts_all(context: &Context) -> Result<bool> {
    let out = context.temporary("test of f16", 4 * probe::F16_WORDS as u64, USAGE)?;
    let launch = Single::new(context, &probe::unpack_f16(&context.device_caps()), &[&out])?;
    context.scoped(|| {
        let mut encoder = context.device().create_command_encoder(&Default::default());
        launch.record(&mut encoder.begin_compute_pass(&Default::default()), 1);
        context.queue().submit([encoder.finish()]);
    })?;
    let words = TensorType::new(DType::Int32, [probe::F16_WORDS])?;
    let exact = DeviceTensor::from_buffer(words, out.clone(), 0)?.download(context).await?;
    Ok(exact.values::<i32>()?.iter().all(|&exact| exact == probe::F16_PER_WORD as i32))
}
