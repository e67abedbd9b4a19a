//! The peak rates of a device: a few numbers that bound every kernel's speed, measured by the small launches of `kernels/probe.rs`.
//! They do not influence the choice of kernels.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use web_time::Instant;

use super::device_tensor::{Temporary, USAGE};
use super::single::Single;
use super::stopwatch::Stopwatch;
use super::{Context, DeviceTensor};
use crate::error::{Error, Result};
use crate::kernels::DeviceCaps;
use crate::kernels::probe::{Exercise, Size, bytes, subgroups};
use crate::numeric::DType;
use crate::tensor::TensorType;
use crate::tune::median;

/// The peak rates of a device, measured by [`Context::probe`].
///
/// No kernel is faster than these numbers permit, so a kernel's speed can be expressed as a fraction of them. They are medians of a
/// few samples and vary by some percent between measurements. G is 10⁹, Gi is 2³⁰.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Probe {
    /// Name, backend and driver of the adapter.
    pub device: String,
    /// True if the device's own clock was read; otherwise it was the host's, which adds a little for each submission.
    pub device_clock: bool,
    /// f32 fused multiply-adds, in 10⁹ operations per second; each is two operations.
    pub f32_gflops: f64,
    /// f16 fused multiply-adds, in 10⁹ operations per second; `None` if the device was not made with 16-bit floats.
    pub f16_gflops: Option<f64>,
    /// Dot products of four bytes with a sum (`dot4I8Packed`, or multiplications: [`Context::with_emulated_dot4`]), in 10⁹
    /// operations per second; each is four multiplications and four additions.
    pub dot_gops: f64,
    /// Products of f16 cooperative matrices with sums in f32, in 10⁹ operations per second; a product and a sum are two operations.
    /// `None` if kernels can't use these matrices.
    pub matrix_gflops: Option<f64>,
    /// Reads from workgroup memory, summed over all workgroups, in 2³⁰ bytes per second.
    pub workgroup_gib_per_s: f64,
    /// Reads from device memory, in 2³⁰ bytes per second. On a device as slow as a CPU the data fit its caches.
    pub read_gib_per_s: f64,
    /// Reads and writes of device memory while copying, both counted, in 2³⁰ bytes per second.
    pub copy_gib_per_s: f64,
    /// The cost of a launch within a pass, if it waits for the previous one and does almost nothing, in microseconds.
    pub launch_us: f64,
}

/// The length of a sample in seconds: work is doubled until it takes this long, or until its largest size.
const SAMPLE: f64 = 5e-3;

/// The number of samples for a median; fewer if they take longer than `PATIENCE`, but at least one.
const SAMPLES: usize = 7;
const PATIENCE: Duration = Duration::from_millis(60);

/// The largest number of launches in a pass.
const MOST_REPEATS: u32 = 4096;

impl Context {
    /// Measures the peak rates of this device, in a second or less, and checks the computed results.
    ///
    /// # Errors
    /// If the device fails, computes a wrong result, or lacks the memory: a buffer that it reads in 5 ms (at most 256 MiB), and its
    /// copy.
    ///
    /// ```no_run
    /// let context = lowbit::Context::new_blocking()?;
    /// let probe = context.probe_blocking()?;
    /// println!("{probe}");
    /// println!("an int8 product of 1024 x 1024 x 1024 takes {:.1} ms at least", 2.0 * 1.074 / probe.dot_gops * 1e3);
    /// # Ok::<(), lowbit::Error>(())
    /// ```
    pub async fn probe(&self) -> Result<Probe> {
        let bench = Bench { context: self, limits: self.device_caps(), stopwatch: Stopwatch::new(self).await? };
        let has_f16 = self.device().features().contains(wgpu::Features::SHADER_F16);
        let has_matrices = subgroups(&bench.limits) > 0;
        let (read, copy) = bench.memory().await?;
        let f16 = if has_f16 { Some(bench.rate(Exercise::Fma16).await? / 1e9) } else { None };
        let matrices = if has_matrices { Some(bench.rate(Exercise::Matrix).await? / 1e9) } else { None };
        Ok(Probe {
            device: self.description(),
            device_clock: bench.stopwatch.reads_the_device(),
            f32_gflops: bench.rate(Exercise::Fma32).await? / 1e9,
            f16_gflops: f16,
            dot_gops: bench.rate(Exercise::Dot).await? / 1e9,
            matrix_gflops: matrices,
            workgroup_gib_per_s: bench.rate(Exercise::Workgroup).await? / GIB,
            read_gib_per_s: read / GIB,
            copy_gib_per_s: copy / GIB,
            launch_us: 1e6 / bench.launches().await?,
        })
    }

    /// As [`Context::probe`], but blocking. Not available in browsers.
    ///
    /// # Errors
    /// As [`Context::probe`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn probe_blocking(&self) -> Result<Probe> {
        pollster::block_on(self.probe())
    }
}

const GIB: f64 = (1u64 << 30) as f64;

struct Bench<'a> {
    context: &'a Context,
    limits: DeviceCaps,
    stopwatch: Stopwatch,
}

impl Bench<'_> {
    /// The work per second of an exercise in arithmetic or workgroup memory.
    async fn rate(&self, exercise: Exercise) -> Result<f64> {
        let (mut size, largest) = exercise.sizes(&self.limits);
        loop {
            let out = self.out(exercise, size)?;
            let ready = self.ready(exercise, size, &[&out]).await?;
            let seconds = self.seconds(&ready, 1).await?;
            if let Some(grown) = grown(size, largest).filter(|_| seconds < SAMPLE) {
                size = grown;
                continue;
            }
            let seconds = self.median(&ready, 1).await?;
            self.check(exercise, &out, &exercise.expected(size, &self.limits)).await?;
            return Ok(exercise.work(size, &self.limits) / seconds);
        }
    }

    /// Bytes per second of reading, and of copying.
    async fn memory(&self) -> Result<(f64, f64)> {
        let (mut size, largest) = Exercise::Read.sizes(&self.limits);
        let fits = |size| bytes(size, &self.limits) <= self.context.device().limits().max_storage_buffer_binding_size;
        let (data, out, read) = loop {
            let data = self.context.temporary("probe: data", bytes(size, &self.limits), USAGE)?;
            let out = self.out(Exercise::Read, size)?;
            self.ready(Exercise::Fill, size, &[&data]).await?;
            let read = self.ready(Exercise::Read, size, &[&data, &out]).await?;
            let seconds = self.seconds(&read, 1).await?;
            match grown(size, largest).filter(|&grown| seconds < SAMPLE && fits(grown)) {
                Some(grown) => size = grown,
                None => break (data, out, read),
            }
        };
        let sums = Exercise::Read.expected(size, &self.limits);
        let reading = self.repeated(Exercise::Read, size, &read).await?;
        self.check(Exercise::Read, &out, &sums).await?;

        let copied = self.context.temporary("probe: copied", bytes(size, &self.limits), USAGE)?;
        let copy = self.ready(Exercise::Copy, size, &[&data, &copied]).await?;
        let copying = self.repeated(Exercise::Copy, size, &copy).await?;
        // The copy is read like the original, and has equal sums.
        let out = self.out(Exercise::Read, size)?;
        self.ready(Exercise::Read, size, &[&copied, &out]).await?;
        self.check(Exercise::Copy, &out, &sums).await?;
        Ok((reading, copying))
    }

    /// Number of launches per second.
    async fn launches(&self) -> Result<f64> {
        let (size, _) = Exercise::Launch.sizes(&self.limits);
        let out = self.out(Exercise::Launch, size)?;
        let ready = self.ready(Exercise::Launch, size, &[&out]).await?;
        let rate = self.repeated(Exercise::Launch, size, &ready).await?;
        let counter = self.out(Exercise::Launch, size)?;
        let ready = self.ready(Exercise::Launch, size, &[&counter]).await?;
        self.seconds(&ready, 1000).await?;
        self.check(Exercise::Launch, &counter, &[1 + 1000]).await?;
        Ok(rate)
    }

    /// The work per second of an exercise that is launched repeatedly in a pass until it fills a sample.
    async fn repeated(&self, exercise: Exercise, size: Size, ready: &Single) -> Result<f64> {
        let mut repeats = 1;
        while repeats < MOST_REPEATS && self.seconds(ready, repeats).await? < SAMPLE {
            repeats *= 2;
        }
        Ok(exercise.work(size, &self.limits) * f64::from(repeats) / self.median(ready, repeats).await?)
    }

    /// The median of some samples.
    async fn median(&self, ready: &Single, repeats: u32) -> Result<f64> {
        let start = Instant::now();
        let mut samples = vec![self.seconds(ready, repeats).await?];
        while samples.len() < SAMPLES && start.elapsed() < PATIENCE {
            samples.push(self.seconds(ready, repeats).await?);
        }
        Ok(median(&samples).expect("there is one at least"))
    }

    /// The seconds of a pass of `repeats` launches.
    async fn seconds(&self, ready: &Single, repeats: u32) -> Result<f64> {
        let record = |pass: &mut wgpu::ComputePass<'_>| {
            ready.record(pass, repeats);
            Ok(())
        };
        self.stopwatch.seconds(record).await
    }

    /// The output buffer of an exercise: a word per invocation.
    fn out(&self, exercise: Exercise, size: Size) -> Result<Temporary> {
        self.context.temporary("probe: out", exercise.words(size, &self.limits) as u64 * 4, USAGE)
    }

    /// A launch that is compiled, bound to `buffers` in the order of its bindings, and run once.
    async fn ready(&self, exercise: Exercise, size: Size, buffers: &[&wgpu::Buffer]) -> Result<Single> {
        let ready = Single::new(self.context, &exercise.dispatch(size, &self.limits), buffers)?;
        self.seconds(&ready, 1).await?;
        Ok(ready)
    }

    /// Refuses the numbers of a device that computed a wrong result.
    async fn check(&self, exercise: Exercise, out: &wgpu::Buffer, expected: &[u32]) -> Result<()> {
        let words = TensorType::new(DType::Int32, [expected.len()])?;
        let words = self.context.download(&DeviceTensor::from_buffer(words, out.clone(), 0)?).await?;
        let wrong = words.values::<i32>()?.iter().zip(expected).position(|(&got, &expected)| got as u32 != expected);
        match wrong {
            None => Ok(()),
            Some(i) => Err(Error::Device(format!(
                "the probe {exercise:?} got {:#x} in place {i}, but {:#x} is right",
                words.values::<i32>()?[i],
                expected[i]
            ))),
        }
    }
}

/// The next size: twice the workgroups, or at their maximum twice the rounds.
fn grown(size: Size, largest: Size) -> Option<Size> {
    if size.groups < largest.groups {
        return Some(Size { groups: (2 * size.groups).min(largest.groups), ..size });
    }
    (size.rounds < largest.rounds).then_some(Size { rounds: 2 * size.rounds, ..size })
}

impl fmt::Display for Probe {
    /// Writes one line per number, then one for the device.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |what: &str, value: Option<f64>, unit: &str| match value {
            Some(value) => writeln!(f, "{what:<36} {value:>12.1} {unit}"),
            None => writeln!(f, "{what:<36} {:>12}", "none"),
        };
        line("f32 fused multiply-add", Some(self.f32_gflops), "GFLOPS")?;
        line("f16 fused multiply-add", self.f16_gflops, "GFLOPS")?;
        line("int8 dot product", Some(self.dot_gops), "GOPS")?;
        line("f16 matrices, sums in f32", self.matrix_gflops, "GFLOPS")?;
        line("workgroup memory, read", Some(self.workgroup_gib_per_s), "GiB/s")?;
        line("device memory, read", Some(self.read_gib_per_s), "GiB/s")?;
        line("device memory, copied (read + write)", Some(self.copy_gib_per_s), "GiB/s")?;
        line("launch within a pass", Some(self.launch_us), "µs")?;
        write!(f, "{}, timed by the {}'s clock", self.device, if self.device_clock { "device" } else { "host" })
    }
}
