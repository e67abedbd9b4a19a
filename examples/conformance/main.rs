//! `cargo run --release --example conformance -- DIR…`: runs conformance cases on a GPU or on the CPU reference and prints
//! which pass. This file has the command line and the loop. Cases, operators, comparison and printing have files of their own.

mod array;
mod blocks;
mod case;
mod compare;
mod device;
mod gguf;
mod matmul_nbits;
mod observer;
mod ops;
mod qat;
mod report;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};

use case::Case;
use compare::Failure;
use device::Device;
use report::{Outcome, Report};

/// Result with a readable message as its error.
type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// Runs quantization conformance cases (*.safetensors) and reports the passes, operator by operator.
///
/// Exit status: 0 if every case passed, 1 if one failed or the device can't be used, 2 for wrong usage.
#[derive(Debug, Parser)]
struct Arguments {
    /// Folders of case files.
    #[arg(required = true, value_name = "DIR")]
    folders: Vec<PathBuf>,
    /// The device that computes.
    #[arg(long, value_enum, default_value_t = DeviceKind::Gpu)]
    device: DeviceKind,
    /// Runs only cases whose name or operator contains this text.
    #[arg(long, value_name = "TEXT", default_value = "")]
    filter: String,
    /// Allows no difference near ties, and asks for equal bits if a case says that they are possible.
    #[arg(long)]
    strict: bool,
    /// Prints one JSON document instead of tables.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum DeviceKind {
    /// The adapter that wgpu prefers (WGPU_BACKEND and WGPU_ADAPTER_NAME select another).
    Gpu,
    /// The CPU reference.
    Cpu,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let files = match arguments.folders.iter().map(|folder| case_files(folder)).collect::<Result<Vec<_>>>() {
        Ok(files) => files.concat(),
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    let device = match arguments.device {
        DeviceKind::Cpu => Device::Cpu,
        DeviceKind::Gpu => match lowbit::Context::new_blocking() {
            Ok(context) => Device::Gpu(context),
            Err(error) => {
                eprintln!("error: {error}");
                return ExitCode::FAILURE;
            }
        },
    };
    let mut report = Report::new(device.description(), arguments.strict);
    // Drawn on stderr, and only if stderr is a terminal.
    let progress = ProgressBar::new(files.len() as u64).with_style(
        ProgressStyle::with_template("{bar:40} {pos}/{len} {wide_msg}").expect("the template is well-formed"),
    );
    for file in &files {
        let outcome = attempt(file, &device, &arguments);
        if let Some(outcome) = outcome {
            progress.set_message(outcome.operator.clone());
            report.add(outcome);
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    if arguments.json {
        println!("{}", report.json());
    } else {
        print!("{report}");
    }
    if report.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Case files of a folder, sorted by name.
fn case_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let unreadable = |error: std::io::Error| format!("the folder {} can't be read: {error}", folder.display());
    let entries = std::fs::read_dir(folder).map_err(unreadable)?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "safetensors") {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(format!("the folder {} has no case files (*.safetensors)", folder.display()).into());
    }
    files.sort();
    Ok(files)
}

/// Outcome of a file's case; `None` if the filter leaves it out.
fn attempt(file: &Path, device: &Device, arguments: &Arguments) -> Option<Outcome> {
    let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let bytes = std::fs::read(file);
    let operator = bytes.as_ref().ok().and_then(|b| case::operator(b)).unwrap_or_else(|| "(unreadable)".to_string());
    if !name.contains(&arguments.filter) && !operator.contains(&arguments.filter) {
        return None;
    }
    // A panic is a bug of the crate; the other cases must still run.
    let result = catch_unwind(AssertUnwindSafe(|| -> Result<(), Failure> {
        let case = Case::parse(&bytes.map_err(Failure::error)?).map_err(Failure::error)?;
        let got = ops::run(&case, device).map_err(Failure::error)?;
        compare::compare(&case, &got, arguments.strict)
    }));
    let failure = result.unwrap_or_else(|_| Err(Failure::error("the crate panicked"))).err();
    Some(Outcome { name, operator, failure })
}
