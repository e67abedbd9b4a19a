//! Timing of compute passes, by the device's clock if it has one. The caller records the pass; `tune` and `gpu/probe.rs` evaluate
//! the times.
//!
//! A driver that computes on the processor shares it with all other programs. With `LOWBIT_CLOCK=processor` such a device is timed
//! by this process's processor time, divided by the number of the processor's threads. This is steady on a busy machine, if this
//! process does nothing else meanwhile.

use web_time::Instant;

use super::Context;
use super::context::Counting;
use super::device_tensor::Temporary;
use super::readback::read;
use super::wait::idle;
use crate::error::Result;

/// Times compute passes, one at a time, and waits for each.
pub(super) struct Stopwatch {
    context: Context,
    /// `None` if the device has no readable clock.
    timestamps: Option<Timestamps>,
    /// True if processor time is measured.
    processor: bool,
}

struct Timestamps {
    set: wgpu::QuerySet,
    resolved: Temporary,
    readable: Temporary,
}

/// Two timestamps: the beginning and the end of a pass.
const COUNT: u32 = 2;
const BYTES: u64 = 8 * COUNT as u64;

impl Stopwatch {
    /// A stopwatch for an idle queue: it waits for all earlier submissions.
    pub(super) async fn new(context: &Context) -> Result<Self> {
        let device = context.device();
        idle(context).await?;
        let processor = std::env::var("LOWBIT_CLOCK").is_ok_and(|clock| clock == "processor")
            && device.adapter_info().device_type == wgpu::DeviceType::Cpu
            && processor_seconds().is_some();
        let has_clock = device.features().contains(wgpu::Features::TIMESTAMP_QUERY) && !processor;
        let timestamps = has_clock.then(|| context.scoped(|| Timestamps::new(device))).transpose()?;
        Ok(Self { context: context.clone(), timestamps, processor })
    }

    /// True if the times are those of the device's clock.
    pub(super) fn reads_the_device(&self) -> bool {
        self.timestamps.is_some()
    }

    /// Submits a pass of the recorded launches, waits for it, and returns its duration in seconds.
    pub(super) async fn seconds(&self, record: impl FnOnce(&mut wgpu::ComputePass<'_>) -> Result<()>) -> Result<f64> {
        let (device, queue) = (self.context.device(), self.context.queue());
        let commands = self.context.scoped(|| {
            let mut encoder = device.create_command_encoder(&Default::default());
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                label: Some("lowbit, timed"),
                timestamp_writes: self.timestamps.as_ref().map(|timestamps| wgpu::ComputePassTimestampWrites {
                    query_set: &timestamps.set,
                    beginning_of_pass_write_index: Some(0),
                    end_of_pass_write_index: Some(1),
                }),
            });
            record(&mut pass)?;
            drop(pass);
            if let Some(timestamps) = &self.timestamps {
                timestamps.resolve(&mut encoder);
            }
            Ok(encoder.finish())
        })??;
        let (start, used) = (Instant::now(), self.processor.then(processor_seconds).flatten());
        self.context.scoped(|| queue.submit([commands]))?;
        idle(&self.context).await?;
        let host = match (used, self.processor.then(processor_seconds).flatten()) {
            (Some(before), Some(after)) => (after - before) / threads(),
            _ => start.elapsed().as_secs_f64(),
        };
        Counting::count(&self.context.counting.submissions);
        let Some(timestamps) = &self.timestamps else { return Ok(host) };
        let ticks = timestamps.read(&self.context).await?;
        // A pass can't take longer than the wait for it: a clock that says so is broken, as is one that stands still.
        let of_device = ticks as f64 * f64::from(queue.get_timestamp_period()) * 1e-9;
        Ok(if of_device > 0.0 && of_device <= host * 1.05 { of_device } else { host })
    }
}

/// The processor time of all threads of this process in seconds; `None` if the system doesn't report it.
fn processor_seconds() -> Option<f64> {
    let nanoseconds = |task: std::io::Result<std::fs::DirEntry>| -> Option<u64> {
        let times = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        times.split_whitespace().next()?.parse().ok()
    };
    Some(std::fs::read_dir("/proc/self/task").ok()?.filter_map(nanoseconds).sum::<u64>() as f64 * 1e-9)
}

/// Number of threads that the processor runs at once.
fn threads() -> f64 {
    std::thread::available_parallelism().map_or(1.0, |threads| threads.get() as f64)
}

impl Timestamps {
    fn new(device: &wgpu::Device) -> Self {
        let buffer = |usage| {
            let label = Some("timestamps");
            let descriptor = wgpu::BufferDescriptor { label, size: BYTES, usage, mapped_at_creation: false };
            Temporary(device.create_buffer(&descriptor))
        };
        Self {
            set: device.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("timestamps"),
                ty: wgpu::QueryType::Timestamp,
                count: COUNT,
            }),
            resolved: buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC),
            readable: buffer(wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST),
        }
    }

    fn resolve(&self, encoder: &mut wgpu::CommandEncoder) {
        encoder.resolve_query_set(&self.set, 0..COUNT, &self.resolved, 0);
        encoder.copy_buffer_to_buffer(&self.resolved, 0, &self.readable, 0, Some(BYTES));
    }

    /// The ticks from beginning to end; 0 if the clock went backwards.
    async fn read(&self, context: &Context) -> Result<u64> {
        let mut words = [0; BYTES as usize / 4];
        read(context, &self.readable, &mut words).await?;
        let [start, end] = [0, 2].map(|i| u64::from(words[i + 1]) << 32 | u64::from(words[i]));
        Ok(end.saturating_sub(start))
    }
}
