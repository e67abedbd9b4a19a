//! Measures what the default adapter can do and prints it as a table, or with `--json` as JSON. `WGPU_BACKEND` and
//! `WGPU_ADAPTER_NAME` select another adapter; no kernel of the crate is timed here, that is what the benchmarks do.

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
