//! The one error type. A request that can't be right, a device that can't do it, and a device that failed are told
//! apart, because the caller mends each elsewhere; panics are kept for bugs of this crate and don't appear here.

/// Why a call did nothing.
///
/// Everything is validated before anything is recorded or submitted, so an error leaves devices and buffers as they were.
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
    /// The device failed: out of memory, lost, or an internal error of the driver.
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
