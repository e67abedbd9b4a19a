//! Measures the default adapter's ceilings and prints them as a table, or with `--json` as JSON. `WGPU_BACKEND` and
//! `WGPU_ADAPTER_NAME` select another adapter. The benchmarks time the crate's kernels, not this example.

use std::process::ExitCode;

fn main() -> ExitCode {
    let json = match std::env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => false,
        [flag] if flag == "--json" => true,
        _ => {
            eprintln!("usage: cargo run --release --example probe -- [--json]");
            return ExitCode::from(2);
        }
    };
    match lowbit::Context::new_blocking().and_then(|context| context.probe_blocking()) {
        Ok(probe) if json => {
            println!("{}", serde_json::to_string_pretty(&probe).expect("numbers and strings are JSON"))
        }
        Ok(probe) => println!("{probe}"),
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
