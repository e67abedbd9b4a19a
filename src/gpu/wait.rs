//! Waiting for the device: until a buffer is mapped, until the queue is idle. Natively a future of this crate may block in its first
//! poll; in a browser it yields to the event loop.

use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, Waker};

use super::{Context, lock};
use crate::error::{Error, Result};

/// The end of some work of the device, once it is there, and the waker of the waiting task.
#[derive(Debug, Default)]
struct Outcome {
    result: Option<Result<(), String>>,
    waker: Option<Waker>,
}

/// An outcome shared by its callback, a polling thread and the waiting future. A poisoned lock is still consistent: it guards plain
/// assignments.
#[derive(Debug, Clone, Default)]
struct Shared(Arc<Mutex<Outcome>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Outcome> {
        lock(&self.0)
    }

    /// Stores the result, unless there is one already, and wakes the waiting task.
    fn finish(&self, result: Result<(), String>) {
        let waker = {
            let mut outcome = self.lock();
            outcome.result.get_or_insert(result);
            outcome.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    async fn result(self) -> Result<(), String> {
        std::future::poll_fn(move |task| {
            let mut outcome = self.lock();
            outcome.waker = Some(task.waker().clone());
            // The result stays in place, because it ends the polling.
            outcome.result.clone().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

/// Waits until the first `bytes` bytes of a buffer are mapped for reading. Natively a thread polls the device meanwhile; a browser polls by itself.
pub(super) async fn map(context: &Context, buffer: &wgpu::Buffer, bytes: u64) -> Result<()> {
    let mapping = Shared::default();
    let callback = mapping.clone();
    context.scoped(|| {
        buffer.map_async(wgpu::MapMode::Read, ..bytes, move |result| {
            callback.finish(result.map_err(|error| error.to_string()));
        });
    })?;
    #[cfg(not(target_arch = "wasm32"))]
    let _polling = Polling::start(context, &mapping);
    match mapping.clone().result().await {
        Ok(()) => Ok(()),
        Err(error) => Err(context.unless_lost(Error::Device(format!("reading from the device: {error}"))).await),
    }
}

/// A thread that polls the device until some work has a result. It holds the context, so its end is waited for: a thread that outlives
/// the program's last context would free a device of OpenGL while the driver is being unloaded.
#[cfg(not(target_arch = "wasm32"))]
struct Polling {
    work: Shared,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[cfg(not(target_arch = "wasm32"))]
impl Polling {
    /// `None` where no thread can be started: the work has ended then.
    fn start(context: &Context, work: &Shared) -> Option<Self> {
        let (held, shared) = (context.clone(), work.clone());
        match std::thread::Builder::new().name("lowbit poll".into()).spawn(move || poll(&held, &shared)) {
            Ok(thread) => Some(Self { work: work.clone(), thread: Some(thread) }),
            Err(_) => {
                poll(context, work);
                None
            }
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl Drop for Polling {
    /// Ends the thread, also where nobody waits for the work any more.
    fn drop(&mut self) {
        self.work.lock().result.get_or_insert_with(|| Err("nobody waits for it".into()));
        let Some(thread) = self.thread.take() else { return };
        thread.thread().unpark();
        // A waker may run the task, and so this, on that very thread.
        if thread.thread().id() != std::thread::current().id() {
            let _ = thread.join();
        }
    }
}

/// Polls the device until some work of it has a result. It polls and parks instead of waiting. So the report of a lost device ends it,
/// whatever the driver does; and a wait of wgpu that times out can panic.
#[cfg(not(target_arch = "wasm32"))]
fn poll(context: &Context, work: &Shared) {
    let mut pause = std::time::Duration::from_micros(20);
    while work.lock().result.is_none() {
        // wgpu panics here when the driver reports the loss of the device. None of this crate's state is half changed then.
        let look = std::panic::AssertUnwindSafe(|| context.device().poll(wgpu::PollType::Poll));
        if std::panic::catch_unwind(look).is_err() {
            context.report_lost("its driver has given it up");
        }
        if let Err(error) = context.check_alive() {
            work.finish(Err(error.to_string()));
        }
        std::thread::park_timeout(pause);
        pause = (pause * 2).min(std::time::Duration::from_millis(1));
    }
}

/// wgpu's copies of words on their way to the device, which stay in memory until a submission after them has ended.
#[derive(Debug, Clone, Default)]
pub(super) struct Copies(Arc<Mutex<Copied>>);

#[derive(Debug, Default)]
struct Copied {
    /// Bytes since the last submission that is waited for.
    bytes: u64,
    #[cfg(not(target_arch = "wasm32"))]
    before: Option<Shared>,
}

/// Bytes that are written at a time, and copied before a submission, at most. With those of the submission before, twice as many are in
/// memory.
pub(super) const COPIED: usize = 4 << 20;

impl Copies {
    /// Makes room for the copy of `bytes` bytes: if many came before, it submits them, and waits for those before them. A browser
    /// doesn't wait: it limits its copies by itself.
    pub(super) fn make_room(&self, context: &Context, bytes: u64) {
        let is_full = {
            let mut copied = lock(&self.0);
            let is_full = copied.bytes > 0 && copied.bytes + bytes > COPIED as u64;
            copied.bytes = if is_full { bytes } else { copied.bytes + bytes };
            is_full
        };
        if !is_full {
            return;
        }
        // Without the lock: a caller's callback that runs meanwhile may upload, too.
        context.queue().submit([]);
        #[cfg(not(target_arch = "wasm32"))]
        {
            let before = lock(&self.0).before.replace(submitted(context));
            before.inspect(|before| poll(context, before));
        }
    }
}

/// The end of all work that has been submitted.
fn submitted(context: &Context) -> Shared {
    let done = Shared::default();
    let callback = done.clone();
    context.queue().on_submitted_work_done(move || callback.finish(Ok(())));
    done
}

/// Waits until the queue is idle. Natively this blocks.
#[cfg(not(target_arch = "wasm32"))]
pub(super) async fn idle(context: &Context) -> Result<()> {
    let wait = wgpu::PollType::wait_indefinitely();
    context.device().poll(wait).map_err(|error| Error::Device(error.to_string()))?;
    Ok(())
}

/// Waits until the queue is idle.
#[cfg(target_arch = "wasm32")]
pub(super) async fn idle(context: &Context) -> Result<()> {
    submitted(context).result().await.map_err(Error::Device)
}
