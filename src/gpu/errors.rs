//! Errors of a device, and its loss. Natively wgpu reports an error at once, to the call that caused it. A browser reports it later:
//! there a call ends before its errors are known, and [`Context::check`] and every wait for the device return them.

use super::Context;
use crate::error::{Error, Result};

impl Context {
    /// Waits for the errors of all calls so far, and returns the first. Errors that an earlier check has returned don't come again.
    ///
    /// Natively every call returns its own errors, so this finds only the loss of the device. In a browser a call that wgpu refuses
    /// returns `Ok`. There await this after calls that wait for nothing, such as [`Plan::record`](super::Plan::record).
    /// [`Context::download`], [`Context::run`], [`Plan::run`](super::Plan::run) and [`Plan::warm_up`](super::Plan::warm_up) do it by
    /// themselves.
    ///
    /// ```
    /// # if let Ok(context) = lowbit::Context::new_blocking() {
    /// # pollster::block_on(async {
    /// let tensor = context.upload(&lowbit::Tensor::new([2], vec![1i8, 2])?)?;
    /// context.check().await?; // the tensor is on the device
    /// # Ok::<(), lowbit::Error>(()) })?;
    /// # }
    /// # Ok::<(), lowbit::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Lost`], [`Error::OutOfMemory`], [`Error::Validation`] or [`Error::Device`].
    pub async fn check(&self) -> Result<()> {
        #[cfg(target_arch = "wasm32")]
        if let Some(error) = self.later.first().await {
            return Err(self.unless_lost(error).await);
        }
        self.check_alive()
    }

    /// Returns [`Error::Lost`] if the device is lost.
    pub(super) fn check_alive(&self) -> Result<()> {
        if self.lost.get().is_none() && !self.answers() {
            self.report_lost("it was destroyed, or its driver has given it up");
        }
        self.lost.get().map_or(Ok(()), |reason| Err(Error::Lost(reason.clone())))
    }

    /// True if the device reports an error for a buffer without a usage. wgpu drops all errors of a lost device, doesn't report the
    /// loss, and calls back only when polled; but it checks for the loss before anything else.
    #[cfg(not(target_arch = "wasm32"))]
    fn answers(&self) -> bool {
        let descriptor = wgpu::BufferDescriptor {
            label: Some("is the device alive?"),
            size: 4,
            usage: wgpu::BufferUsages::empty(),
            mapped_at_creation: false,
        };
        let scope = self.device().push_error_scope(wgpu::ErrorFilter::Validation);
        drop(self.device().create_buffer(&descriptor));
        pollster::block_on(scope.pop()).is_some()
    }

    /// True: in a browser the callback reports the loss.
    #[cfg(target_arch = "wasm32")]
    fn answers(&self) -> bool {
        true
    }

    /// The loss of the device if it is lost, else this error, which may follow from the loss.
    pub(super) async fn unless_lost(&self, error: Error) -> Error {
        // A browser tells the loss after the calls that fail by it.
        #[cfg(target_arch = "wasm32")]
        super::web::turns(self).await;
        self.check_alive().err().unwrap_or(error)
    }

    /// Runs `work` and returns the device's error, if it raises one. In a browser [`Context::check`] returns it later.
    pub(super) fn scoped<T>(&self, work: impl FnOnce() -> T) -> Result<T> {
        self.scoped_for("what wgpu keeps beside a call", 0, work)
    }

    /// As [`Context::scoped`], for work that allocates `bytes` bytes.
    pub(super) fn scoped_for<T>(&self, what: &str, bytes: u64, work: impl FnOnce() -> T) -> Result<T> {
        use wgpu::ErrorFilter::{Internal, OutOfMemory, Validation};
        let [memory, internal, validation] =
            [OutOfMemory, Internal, Validation].map(|filter| self.device().push_error_scope(filter));
        let value = caught(work);
        let [validation, internal, memory] = [validation, internal, memory].map(wgpu::ErrorScopeGuard::pop);
        let error = async move {
            let (validation, internal, memory) = (validation.await, internal.await, memory.await);
            // A lack of memory comes first: the other errors may follow from it.
            memory.or(internal).or(validation)
        };
        #[cfg(target_arch = "wasm32")]
        {
            let what = what.to_string();
            self.later.add(async move { error.await.map(|error| of_wgpu(error, &what, bytes)) });
        }
        #[cfg(not(target_arch = "wasm32"))]
        if let Some(error) = pollster::block_on(error) {
            // All of the errors may follow from the loss of the device.
            self.check_alive()?;
            return Err(of_wgpu(error, what, bytes));
        }
        value
    }
}

/// An error of wgpu in a call that allocates `bytes` bytes.
fn of_wgpu(error: wgpu::Error, what: &str, bytes: u64) -> Error {
    match error {
        wgpu::Error::OutOfMemory { .. } => Error::OutOfMemory { what: what.into(), bytes },
        wgpu::Error::Validation { description, .. } => Error::Validation(description),
        wgpu::Error::Internal { description, .. } => Error::Device(description),
    }
}

/// Runs a call that passes wgpu objects which may belong to another instance. wgpu can't detect that: it looks them up in its own
/// instance and panics if they aren't there. None of this crate's state is half changed then, and wgpu's locks are free again.
///
/// With `panic = "abort"` nothing is caught. A browser has one instance, and refuses the objects of other devices.
pub(super) fn caught<T>(work: impl FnOnce() -> T) -> Result<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).map_err(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Error::Validation(format!(
            "it panicked, as it does over a buffer, encoder or pass of another instance of wgpu: {}",
            said.unwrap_or("without a message")
        ))
    })
}

/// Errors of calls that have ended, in a browser.
#[cfg(target_arch = "wasm32")]
mod later {
    use std::sync::{Arc, Mutex};
    use std::task::{Poll, Waker};

    use crate::error::Error;
    use crate::gpu::lock;

    /// The calls whose errors are not known yet, and the errors that are.
    #[derive(Debug, Clone, Default)]
    pub(in crate::gpu) struct Later(Arc<Mutex<State>>);

    /// Calls are numbered in order.
    #[derive(Debug, Default)]
    struct State {
        next: u64,
        open: Vec<u64>,
        errors: Vec<(u64, Error)>,
        /// The errors of calls before this one have been returned.
        told: u64,
        waiting: Vec<Waker>,
    }

    /// The number of errors that are kept.
    const MOST_ERRORS: usize = 64;

    impl Later {
        /// Adds a call that ends with this error, or without one.
        pub(in crate::gpu) fn add(&self, error: impl Future<Output = Option<Error>> + 'static) {
            let shared = self.0.clone();
            let mut state = lock(&shared);
            let call = state.next;
            state.next += 1;
            state.open.push(call);
            drop(state);
            wasm_bindgen_futures::spawn_local(async move {
                let error = error.await;
                let mut state = lock(&shared);
                state.open.retain(|&open| open != call);
                if let Some(error) = error {
                    log::warn!("{error}");
                    if state.errors.len() == MOST_ERRORS {
                        state.errors.remove(0);
                    }
                    state.errors.push((call, error));
                }
                let waiting = std::mem::take(&mut state.waiting);
                drop(state);
                waiting.into_iter().for_each(Waker::wake);
            });
        }

        /// Waits for the calls so far. The first error that was not returned when the wait began: of waits at the same time, each
        /// returns it.
        pub(in crate::gpu) async fn first(&self) -> Option<Error> {
            let state = lock(&self.0);
            let (from, to) = (state.told, state.next);
            drop(state);
            std::future::poll_fn(|task| {
                let mut state = lock(&self.0);
                if state.open.first().is_none_or(|&call| call >= to) {
                    return Poll::Ready(());
                }
                state.waiting.push(task.waker().clone());
                Poll::Pending
            })
            .await;
            let mut state = lock(&self.0);
            state.told = state.told.max(to);
            let errors = state.errors.iter().filter(|(call, _)| (from..to).contains(call));
            errors.min_by_key(|(call, _)| *call).map(|(_, error)| error.clone())
        }
    }
}

#[cfg(target_arch = "wasm32")]
pub(super) use later::Later;
