//! The one error type. A request that can't be right, a device that can't do it, and the ways in which a device fails are
//! told apart, because the caller mends each elsewhere; panics are kept for bugs of this crate and don't appear here.

/// Why a call did nothing.
///
/// Everything is validated before anything is recorded or submitted, so an error leaves devices and buffers as they were.
/// In a browser wgpu tells of [`Error::OutOfMemory`], [`Error::Validation`] and [`Error::Device`] too late for the call that
/// caused them: there they go to the device's own error handler.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The request is wrong, whatever the device: the message names both sides of the conflict and what to change.
    #[error("{0}")]
    Request(String),
    /// This device cannot do it: a limit is exceeded.
    #[error("{what} needs {needed} {unit}, but this device allows {limit}: {advice}")]
    Limit {
        /// What was asked for.
        what: String,
        /// How much it needs.
        needed: u64,
        /// How much the device gives.
        limit: u64,
        /// Of what.
        unit: &'static str,
        /// What the caller can change.
        advice: &'static str,
    },
    /// No adapter was found that can run compute shaders.
    #[error(
        "no usable GPU adapter: {0}. Install a driver (on Debian or Ubuntu a software one is in mesa-vulkan-drivers), check that WGPU_BACKEND and WGPU_ADAPTER_NAME exclude none, or use the CPU reference"
    )]
    NoAdapter(String),
    /// The adapter refused the device that was asked for.
    #[error("the adapter gave no device: {0}")]
    NoDevice(String),
    /// The device has no room for a buffer. The context is as usable as before: drop tensors and plans that are no longer
    /// needed, or split the work, and try again.
    #[error("out of device memory: {what} needs {bytes} bytes; drop tensors or plans, or split the work")]
    OutOfMemory {
        /// What there is no room for.
        what: String,
        /// How much room it needs; 0 where wgpu does not say.
        bytes: u64,
    },
    /// The device is gone: destroyed by its owner, or given up by its driver. Every later call on the context says so too.
    /// Make a new context from a new device, upload and plan again; what was in device memory is lost.
    #[error("the device is lost: {0}")]
    Lost(String),
    /// wgpu refused what was asked of it, most often because a buffer or encoder of the caller's is of another device,
    /// destroyed or still mapped. Mend that; the context is usable. If all of it is sound, this is a bug of this crate.
    #[error("wgpu refused a call: {0}")]
    Validation(String),
    /// The driver failed in a way that wgpu has no name for, such as a shader that it does not compile. The context is
    /// usable: another kernel ([`Tuner::Nth`](crate::Tuner::Nth)) or another driver may do.
    #[error("the device failed: {0}")]
    Device(String),
}

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Leaves the function with [`Error::Request`] and a formatted message unless the condition holds.
macro_rules! require {
    ($condition:expr, $($message:tt)+) => {
        let holds: bool = $condition;
        if !holds {
            return Err($crate::error::Error::Request(format!($($message)+)));
        }
    };
}
pub(crate) use require;
