//! Writes every program that the crate can launch to a folder, one WGSL file each with its name in the first line, so that any
//! other tool can read them:
//! `cargo run --example shaders -- FOLDER`. It needs no GPU and runs nothing.

mod catalog;

use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(folder) = std::env::args().nth(1) else {
        eprintln!("usage: cargo run --example shaders -- FOLDER");
        return ExitCode::from(2);
    };
    match write(&folder) {
        Ok(count) => {
            println!("{count} programs written to {folder}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn write(folder: &str) -> Result<usize, Box<dyn std::error::Error>> {
    std::fs::create_dir_all(folder)?;
    let programs = catalog::programs()?;
    for (index, (name, dispatch)) in programs.iter().enumerate() {
        // Names are longer than file systems allow.
        std::fs::write(format!("{folder}/{index:05}.wgsl"), format!("// {name}\n{}", dispatch.program.source()))?;
    }
    Ok(programs.len())
}
