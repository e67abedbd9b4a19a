//! The limits of a device that launches are made for, by WebGPU's names.

use crate::kernels::DeviceCaps;

/// What a device allows, and the little that is known of its speed: the device that [`Graph::export`](crate::Graph::export) makes
/// launches for. The default is the least that WebGPU guarantees, on a GPU without optional features.
///
/// ```
/// use lowbit::DeviceLimits;
/// // As an adapter in JavaScript tells them.
/// let limits = DeviceLimits { max_storage_buffer_binding_size: 1 << 30, ..DeviceLimits::default() };
/// assert_eq!(limits.max_compute_invocations_per_workgroup, 256);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceLimits {
    /// `maxComputeInvocationsPerWorkgroup`, or `maxComputeWorkgroupSizeX` or `Y` if one of them is less.
    pub max_compute_invocations_per_workgroup: u32,
    /// `maxComputeWorkgroupStorageSize`, in bytes.
    pub max_compute_workgroup_storage_size: u32,
    /// `maxComputeWorkgroupsPerDimension`.
    pub max_compute_workgroups_per_dimension: u32,
    /// `maxStorageBuffersPerShaderStage`.
    pub max_storage_buffers_per_shader_stage: u32,
    /// `maxStorageBufferBindingSize`, in bytes.
    pub max_storage_buffer_binding_size: u64,
    /// `maxBufferSize`, in bytes.
    pub max_buffer_size: u64,
    /// `subgroupMinSize` and `subgroupMaxSize` of the adapter; `None` if it doesn't tell them.
    pub subgroup_sizes: Option<[u32; 2]>,
    /// True if the feature `subgroups` is on: programs may use subgroups.
    pub subgroups: bool,
    /// Invocations that must be in flight for full speed: for a GPU [`DeviceLimits::GPU`], for a CPU 1.
    pub target_invocations: u32,
}

impl DeviceLimits {
    /// The usual [`DeviceLimits::target_invocations`] of a GPU whose size isn't known.
    pub const GPU: u32 = 1 << 15;

    /// The capabilities that kernels choose by.
    pub(crate) fn caps(&self) -> DeviceCaps {
        let default = DeviceCaps::default();
        let [least, most] = self.subgroup_sizes.unwrap_or([0; 2]);
        DeviceCaps {
            invocations: self.max_compute_invocations_per_workgroup,
            workgroup_bytes: self.max_compute_workgroup_storage_size,
            groups_per_dimension: self.max_compute_workgroups_per_dimension,
            storage_buffers: self.max_storage_buffers_per_shader_stage,
            // Shaders count words in u32.
            binding_bytes: self
                .max_storage_buffer_binding_size
                .min(self.max_buffer_size)
                .min(u64::from(u32::MAX) / 256 * 256),
            uniform_subgroup_size: if self.subgroups && least == most { most } else { 0 },
            max_subgroup_size: if self.subgroups { most } else { 0 },
            lanes: if 0 < least && least <= most { default.lanes.clamp(least, most) } else { default.lanes },
            target_invocations: self.target_invocations,
            ..default
        }
    }
}

impl Default for DeviceLimits {
    fn default() -> Self {
        let caps = DeviceCaps::default();
        Self {
            max_compute_invocations_per_workgroup: caps.invocations,
            max_compute_workgroup_storage_size: caps.workgroup_bytes,
            max_compute_workgroups_per_dimension: caps.groups_per_dimension,
            max_storage_buffers_per_shader_stage: caps.storage_buffers,
            max_storage_buffer_binding_size: caps.binding_bytes,
            max_buffer_size: 256 << 20,
            subgroup_sizes: None,
            subgroups: false,
            target_invocations: Self::GPU,
        }
    }
}
