//! `cargo run --release --example import -- FILE [TENSOR]`: lists the weights of a GGUF or safetensors file, or imports one and
//! prints the time and the memory that the import takes. `--synthesize SIZE` first writes a GGUF file of that size.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use indicatif::{HumanBytes, ProgressBar};
use lowbit::import::awq::Awq;
use lowbit::import::gguf::{GgufFile, GgufType, GgufWriter};
use lowbit::import::gptq::{Gptq, ZeroPoints};
use lowbit::import::torchao::TorchAo;
use lowbit::import::{self, Safetensors};
use lowbit::weights::PackedWeights;

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// Lists the tensors of a model file, or imports one of them.
#[derive(Debug, Parser)]
struct Arguments {
    /// A GGUF or safetensors file.
    file: PathBuf,
    /// The tensor to import, by its name in the list. Without it, the list is printed.
    tensor: Option<String>,
    /// First writes a GGUF file with one tensor `w` of about this many MiB.
    #[arg(long, value_name = "MIB")]
    synthesize: Option<usize>,
    /// The type of the written tensor.
    #[arg(long, value_name = "TYPE", default_value = "Q4_K")]
    gguf_type: String,
    /// The quantization method of a safetensors file; torchao's files name theirs.
    #[arg(long, value_parser = ["gptq", "gptq_v2", "awq", "torchao"], default_value = "gptq")]
    method: String,
    /// Bits of a code (GPTQ).
    #[arg(long, default_value_t = 4)]
    bits: usize,
    /// Codes per group (GPTQ, AWQ); 0 for the whole row.
    #[arg(long, default_value_t = 128)]
    group: usize,
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
    // SAFETY: this program doesn't write the file any more, and its user is asked not to.
    let bytes = unsafe { import::map(&arguments.file)? };
    let before = memory();
    let allocated = ALLOCATED.load(Ordering::Relaxed);
    PEAK.store(allocated, Ordering::Relaxed);
    let begin = Instant::now();
    let imported = if bytes.starts_with(b"GGUF") {
        let file = GgufFile::parse(&bytes)?;
        match &arguments.tensor {
            None => list_gguf(&file)?,
            Some(name) => {
                let tensor = file.tensor(name)?;
                let weights = patiently(|| tensor.weights())?;
                Some((weights, tensor.bytes()?.len()))
            }
        }
    } else {
        let file = Safetensors::parse(&bytes)?;
        match &arguments.tensor {
            None => list_safetensors(&file)?,
            Some(name) => Some((patiently(|| import_layer(&file, name, arguments))?, 0)),
        }
    };
    let Some((weights, in_file)) = imported else { return Ok(()) };
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

fn list_gguf(file: &GgufFile<'_>) -> Result<Option<(PackedWeights, usize)>> {
    for (key, value) in file.metadata() {
        println!("{key} = {value:?}");
    }
    for tensor in file.tensors() {
        let bits =
            tensor.gguf_type().map_or(String::new(), |of| format!("{:.3} bits per weight", of.bits_per_weight()));
        println!("{:40} {:24} {:8} {bits}", tensor.name(), format!("{:?}", tensor.shape()), tensor.type_name());
    }
    Ok(None)
}

fn list_safetensors(file: &Safetensors<'_>) -> Result<Option<(PackedWeights, usize)>> {
    let mut names: Vec<&str> = file.names().collect();
    names.sort_unstable();
    for name in names {
        match file.array(name) {
            Ok(array) => println!("{name:60} {:24} {:?}", format!("{:?}", array.shape()), array.element_type()),
            Err(error) => println!("{name:60} {error}"),
        }
    }
    Ok(None)
}

/// Imports the layer `name`; the method determines the names of its arrays.
fn import_layer(file: &Safetensors<'_>, name: &str, arguments: &Arguments) -> lowbit::Result<PackedWeights> {
    let group = if arguments.group == 0 { usize::MAX } else { arguments.group };
    match &arguments.method[..] {
        "awq" => Awq::read(file, name, group)?.weights(),
        "torchao" => TorchAo::read(file, name)?.weights(),
        "gptq_v2" => Gptq::read(file, name, arguments.bits, group, ZeroPoints::AsIs)?.weights(),
        _ => Gptq::read(file, name, arguments.bits, group, ZeroPoints::LessOne)?.weights(),
    }
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
