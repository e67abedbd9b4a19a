//! The one error type. It separates wrong requests, limits of a device and failures of a device, because the caller mends each in
//! another place. Panics are kept for bugs of this crate and don't appear here.

/// The reason why a call did nothing.
///
/// Everything is validated before anything is recorded or submitted, so an error leaves devices and buffers as they were.
/// In a browser [`Error::OutOfMemory`], [`Error::Validation`] and [`Error::Device`] are known only after the call that caused them:
/// there [`Context::check`](crate::Context::check) and every download return them.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The request is wrong on any device. The message names both sides of the conflict and what to change.
    #[error("{0}")]
    Request(String),
    /// This device cannot do it: a limit is exceeded.
    #[error("{what} needs {needed} {unit}, but this device allows {limit}: {advice}")]
    Limit {
        /// The requested object or operation.
        what: String,
        /// The amount that it needs.
        needed: u64,
        /// The amount that the device allows.
        limit: u64,
        /// The unit of both amounts.
        unit: &'static str,
        /// Advice: the change that helps.
        advice: &'static str,
    },
    /// No adapter was found that can run compute shaders.
    #[error("no usable GPU adapter: {0}. {NO_ADAPTER}, or use the CPU reference")]
    NoAdapter(String),
    /// The adapter refused the requested device.
    #[error("the adapter gave no device: {0}")]
    NoDevice(String),
    /// The device has no memory for a buffer. The context stays usable: drop tensors and plans that are no longer needed, or split
    /// the work, and try again.
    #[error("out of device memory: {what} needs {bytes} bytes; drop tensors or plans, or split the work")]
    OutOfMemory {
        /// The buffer that does not fit.
        what: String,
        /// Its bytes; 0 if wgpu does not report them.
        bytes: u64,
    },
    /// The device is gone: destroyed by its owner, or given up by its driver. Every later call on the context returns this error
    /// too. Make a new context from a new device, upload and plan again; the contents of device memory are lost.
    #[error("the device is lost: {0}")]
    Lost(String),
    /// wgpu refused a call, most often because a buffer or encoder of the caller belongs to another device, is destroyed or still
    /// mapped. Mend that; the context stays usable. If the caller's objects are sound, this is a bug of this crate.
    #[error("wgpu refused a call: {0}")]
    Validation(String),
    /// The driver failed in a way that wgpu does not classify, such as a shader that it does not compile. The context stays usable:
    /// another kernel ([`Tuner::Nth`](crate::Tuner::Nth)) or another driver may work.
    #[error("the device failed: {0}")]
    Device(String),
}

/// Advice where there is no adapter.
#[cfg(not(target_arch = "wasm32"))]
const NO_ADAPTER: &str = "Install a driver (on Debian or Ubuntu a software one is in mesa-vulkan-drivers), check that WGPU_BACKEND \
                          and WGPU_ADAPTER_NAME exclude none";
#[cfg(target_arch = "wasm32")]
const NO_ADAPTER: &str = "Serve the page from https or localhost to a browser that has WebGPU and a GPU that it trusts";

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Returns [`Error::Request`] with a formatted message from the function unless the condition holds.
macro_rules! require {
    ($condition:expr, $($message:tt)+) => {
        let holds: bool = $condition;
        if !holds {
            return Err($crate::error::Error::Request(format!($($message)+)));
        }
    };
}
pub(crate) use require;

/// Returns an [`Error::Request`].
macro_rules! refuse {
    ($($message:tt)+) => {
        return Err($crate::error::Error::Request(format!($($message)+)))
    };
}
pub(crate) use refuse;
