//! Writes every program that the crate can launch to a folder, one WGSL file each with its name in the first line, so that any
//! other tool can read them: `cargo run --example shaders -- FOLDER`. `cargo run --release --example shaders -- --hashes FILE`
//! writes hashes instead. It writes a line per program, with a hash of its SPIR-V without names, and its name. It also writes a
//! line per candidate, in order, with a hash of its launches. A change that only moves or renames code keeps these hashes (compare
//! those of programs after sorting). It needs no GPU and runs nothing.

mod catalog;

use std::collections::BTreeMap;
use std::error::Error;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::process::ExitCode;

use naga::back::spv;
use naga::valid::{Capabilities, ValidationFlags, Validator};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let written = match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--hashes", file] => write_hashes(file).map(|count| (count, file.to_string())),
        [folder] => write(folder).map(|count| (count, folder.to_string())),
        _ => {
            eprintln!("usage: cargo run --example shaders -- FOLDER | --hashes FILE");
            return ExitCode::from(2);
        }
    };
    match written {
        Ok((count, place)) => {
            println!("{count} programs written to {place}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn write_hashes(file: &str) -> Result<usize, Box<dyn Error>> {
    let programs = catalog::programs()?;
    let mut hashes = BTreeMap::new();
    let mut lines = String::new();
    for (name, dispatch) in &programs {
        let hash = spirv_hash(&dispatch.program.source())?;
        lines += &format!("{hash:016x} {name}\n");
        hashes.insert(name, hash);
    }
    for ([op, device], candidate) in catalog::candidates()? {
        let mut hasher = DefaultHasher::new();
        candidate.scratch.hash(&mut hasher);
        for dispatch in &candidate.dispatches {
            let bindings = dispatch.bindings.iter().map(|b| (b.slot, b.resource, b.writes)).collect::<Vec<_>>();
            (bindings, &dispatch.parameters, dispatch.grid, dispatch.operations).hash(&mut hasher);
            hashes[&dispatch.program.name()].hash(&mut hasher);
        }
        lines += &format!("{:016x} op {op} on device {device}: {}\n", hasher.finish(), candidate.label);
    }
    std::fs::write(file, lines)?;
    Ok(programs.len())
}

/// A hash of a program's SPIR-V words, without names and line numbers.
fn spirv_hash(source: &str) -> Result<u64, Box<dyn Error>> {
    let mut module = naga::front::wgsl::parse_str(source)?;
    naga::compact::compact(&mut module, naga::compact::KeepUnused::No);
    let info = Validator::new(ValidationFlags::all(), Capabilities::all()).validate(&module)?;
    let mut options = spv::Options::default();
    options.flags.remove(spv::WriterFlags::DEBUG);
    let mut hasher = DefaultHasher::new();
    spv::write_vec(&module, &info, &options, None)?.hash(&mut hasher);
    Ok(hasher.finish())
}

fn write(folder: &str) -> Result<usize, Box<dyn Error>> {
    std::fs::create_dir_all(folder)?;
    let programs = catalog::programs()?;
    for (index, (name, dispatch)) in programs.iter().enumerate() {
        // Names are longer than file systems allow, so the file's name is the index.
        std::fs::write(format!("{folder}/{index:05}.wgsl"), format!("// {name}\n{}", dispatch.program.source()))?;
    }
    Ok(programs.len())
}
