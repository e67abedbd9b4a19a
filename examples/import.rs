//! `cargo run --release --example import -- PATH [TENSOR]`: lists the layers of a model, a GGUF or safetensors file or a folder, as a table
//! (format, bits per weight, shape, group, what lowbit makes of it, or why not), or imports one and prints the time and the memory that
//! the import takes. `--synthesize SIZE` first writes a GGUF file of that size.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use indicatif::{HumanBytes, ProgressBar};
use lowbit::import;
use lowbit::import::checkpoint::Model;
use lowbit::import::gguf::{GgufType, GgufWriter};
use lowbit::weights::PackedWeights;

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// Lists the layers of a model, or imports one of them.
#[derive(Debug, Parser)]
struct Arguments {
    /// A GGUF or safetensors file, or the folder of a model.
    file: PathBuf,
    /// The layer to import, by its name in the list. Without it, the list is printed.
    tensor: Option<String>,
    /// First writes a GGUF file with one tensor `w` of about this many MiB.
    #[arg(long, value_name = "MIB")]
    synthesize: Option<usize>,
    /// The type of the written tensor.
    #[arg(long, value_name = "TYPE", default_value = "Q4_K")]
    gguf_type: String,
    /// Also lists layers without codes, and imports none.
    #[arg(long)]
    all: bool,
}

/// Bytes allocated now, and their maximum so far.
static ALLOCATED: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator with a counter of bytes.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(bytes: usize) {
    PEAK.fetch_max(ALLOCATED.fetch_add(bytes, Ordering::Relaxed) + bytes, Ordering::Relaxed);
}

#[allow(unsafe_code, reason = "an allocator")]
// SAFETY: every call is passed unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // The old and the new allocation may exist at the same time.
        count(size);
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

#[allow(unsafe_code, reason = "mapping a file")]
fn run(arguments: &Arguments) -> Result<()> {
    if let Some(mib) = arguments.synthesize {
        synthesize(&arguments.file, mib << 20, &arguments.gguf_type)?;
    }
    // SAFETY: this program doesn't write the files any more, and its user is asked not to.
    let files = unsafe { import::open(&arguments.file)? };
    let before = memory();
    let allocated = ALLOCATED.load(Ordering::Relaxed);
    PEAK.store(allocated, Ordering::Relaxed);
    let begin = Instant::now();
    let model = files.model()?;
    let Some(name) = &arguments.tensor else { return list(&model, arguments.all) };
    let layer = model.layer(name)?;
    let (weights, in_file) = (patiently(|| layer.weights())?, layer.bytes);
    println!("{weights}");
    println!("{} in memory, {:.3} bits per weight", HumanBytes(weights.bytes() as u64), weights.bits_per_weight());
    if in_file > 0 {
        println!("{} in the file", HumanBytes(in_file as u64));
    }
    println!("{:.2} s", begin.elapsed().as_secs_f64());
    let extra = (PEAK.load(Ordering::Relaxed) - allocated).saturating_sub(weights.bytes());
    println!("allocated at most {} beside the file and the weights", HumanBytes(extra as u64));
    if let (Some(before), Some(after)) = (before, memory()) {
        println!(
            "peak memory {}, of which {} are pages of the file; {} before",
            HumanBytes(after.peak),
            HumanBytes(after.mapped),
            HumanBytes(before.peak)
        );
        let own = after.anonymous.saturating_sub(weights.bytes() as u64);
        println!("memory of its own {}: the weights and {}", HumanBytes(after.anonymous), HumanBytes(own));
    }
    Ok(())
}

/// Runs `work` with a spinner.
fn patiently(work: impl FnOnce() -> lowbit::Result<PackedWeights>) -> lowbit::Result<PackedWeights> {
    let spinner = ProgressBar::new_spinner().with_message("importing");
    spinner.enable_steady_tick(Duration::from_millis(100));
    let done = work();
    spinner.finish_and_clear();
    done
}

/// Prints a table of layers. Those with codes are imported, and dropped.
fn list(model: &Model<'_>, all: bool) -> Result<()> {
    println!("quantized by {}", model.method());
    println!("{:48} {:24} {:>6} {:20} {:>6}  lowbit", "layer", "format", "bits", "shape", "group");
    for layer in model.layers() {
        if !layer.is_quantized() && !all {
            continue;
        }
        let made = match (all || !layer.is_quantized(), layer.activations()) {
            (true, _) => String::new(),
            (_, Err(error)) => error.to_string(),
            (_, Ok(activations)) => match layer.weights() {
                Ok(weights) => format!("{weights}, inputs {activations:?}"),
                Err(error) => error.to_string(),
            },
        };
        println!(
            "{:48} {:24} {:6.3} {:20} {:>6}  {made}",
            layer.name,
            layer.format,
            layer.bits_per_weight(),
            format!("{:?}", layer.shape),
            layer.group.map_or(String::new(), |group| group.to_string()),
        );
    }
    Ok(())
}

/// Writes a GGUF file with one tensor of random codes, 4096 columns wide.
fn synthesize(path: &Path, size: usize, gguf_type: &str) -> Result<()> {
    let known = GgufType::from_name(gguf_type).ok_or_else(|| {
        let names = GgufType::ALL.map(GgufType::name).join(", ");
        format!("{gguf_type} is no type of GGUF: take one of {names}")
    })?;
    let k = 4096;
    let row_bytes = known.bytes([1, 1, k])?;
    let n = (size / row_bytes).max(1);
    let mut writer = GgufWriter::new();
    writer.tensor("w", known, [n, k])?;
    let mut out = writer.begin(BufWriter::with_capacity(1 << 20, File::create(path)?))?;
    let progress = ProgressBar::new(n as u64).with_message("writing");
    let mut state = 1u32;
    let mut row = vec![0u8; row_bytes];
    for index in 0..n {
        for byte in &mut row {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Without the bit that could make an f16 infinite.
            *byte = (state >> 24) as u8 & 0xbf;
        }
        out.part("w", &row)?;
        if index % 1024 == 0 {
            progress.set_position(index as u64);
        }
    }
    progress.finish_and_clear();
    out.finish()?;
    println!("wrote {}: {known} [{n}, {k}], {}", path.display(), HumanBytes((n * row_bytes) as u64));
    Ok(())
}

/// The system's figures for this process, in bytes.
struct Memory {
    peak: u64,
    mapped: u64,
    anonymous: u64,
}

/// The process's memory on Linux; `None` elsewhere.
fn memory() -> Option<Memory> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? << 10)
    };
    Some(Memory { peak: field("VmHWM:")?, mapped: field("RssFile:")?, anonymous: field("RssAnon:")? })
}
