//! `cargo run --release --example codegen -- [FILTER] [--check] [--json] [--all]`: what the compiler of a real GPU makes of the
//! kernels. It compiles all candidates of some products and convolutions with the first Vulkan driver, which may pretend its device
//! (`scripts/codegen` chooses one). For the first guess of each case it prints lanes used, registers, spills, waves, instructions of
//! the hot loop, and a modelled time beside that of the best candidate. `--all` prints every candidate, `--json` a line of JSON for
//! each. `--check` fails if a first guess spills, leaves lanes idle, exceeds an instruction cache, lacks a dot instruction, or is
//! slower than the best by the model.

use std::process::ExitCode;

#[cfg(target_os = "linux")]
mod aco;
#[cfg(target_os = "linux")]
mod cases;
#[cfg(target_os = "linux")]
mod device;
#[cfg(target_os = "linux")]
mod model;
#[cfg(target_os = "linux")]
mod report;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    report::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("the drivers that compile for absent GPUs are those of Linux");
    ExitCode::FAILURE
}
