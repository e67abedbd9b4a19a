//! The crate's tests in a browser. Their bodies block, as natively: [`wait`] suspends the page's call into WebAssembly until the event
//! loop has turned (JavaScript Promise Integration). `www/main.js` runs them one by one and reports.
#![allow(dead_code, unused_imports, clippy::pedantic, reason = "parts of other crates")]

#[path = "../../common/mod.rs"]
mod common;
mod faults;

use std::cell::RefCell;
use std::collections::HashMap;
use std::task::{Poll, Waker};

use case::Case;
use compare::Failure;
use device::Device;
use wasm_bindgen::prelude::wasm_bindgen;

include!(concat!(env!("OUT_DIR"), "/modules.rs"));

/// Result with a readable message as its error.
type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

// A file of the page: it lets the event loop turn once.
#[link(wasm_import_module = "../suspend.js")]
unsafe extern "C" {
    safe fn turn();
}

/// The value of a future. Callable only below an export that the page calls by `WebAssembly.promising`.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut std::task::Context::from_waker(Waker::noop())) {
            return value;
        }
        turn();
    }
}

#[wasm_bindgen(module = "/www/report.js")]
extern "C" {
    fn report(kind: &str, text: &str);
    /// A parameter of the page's address.
    fn parameter(name: &str) -> Option<String>;
}

/// A test's variable, which natively the environment holds.
pub(crate) fn variable(name: &str) -> Option<String> {
    parameter(name)
}

/// The outcomes of tests.
trait Outcome {
    fn error(self) -> Option<String>;
}

impl Outcome for () {
    fn error(self) -> Option<String> {
        None
    }
}

impl<E: std::fmt::Display> Outcome for std::result::Result<(), E> {
    fn error(self) -> Option<String> {
        self.err().map(|error| error.to_string())
    }
}

fn error(outcome: impl Outcome) -> Option<String> {
    outcome.error()
}

thread_local!(static FILES: RefCell<Vec<(String, Vec<u8>)>> = RefCell::default());

#[wasm_bindgen(start)]
fn start() {
    std::panic::set_hook(Box::new(|info| report("panic", &info.to_string())));
    // The console is the browser's own; its messages are warnings of the crate.
    let _ = console_log::init_with_level(log::Level::Warn);
}

/// Names of the tests, in lines.
#[wasm_bindgen]
pub fn names() -> String {
    let all = TESTS.iter().chain(faults::TESTS);
    all.map(|(name, _)| *name).collect::<Vec<_>>().join("\n")
}

/// Holds the file of a conformance case until `run_cases`.
#[wasm_bindgen]
pub fn provide(name: String, bytes: Vec<u8>) {
    FILES.with_borrow_mut(|files| files.push((name, bytes)));
}

/// Runs a test by its number in `names`: 1 if it passed.
#[unsafe(no_mangle)]
pub extern "C" fn run_test(number: u32) -> u32 {
    let Some((name, test)) = TESTS.iter().chain(faults::TESTS).nth(number as usize) else { return 0 };
    match test() {
        None => 1,
        Some(error) => {
            report("failure", &format!("{name}: {error}"));
            0
        }
    }
}

/// Runs the conformance cases that were provided, on the GPU and by the reference, strictly. Returns the number of failures.
#[unsafe(no_mangle)]
pub extern "C" fn run_cases() -> u32 {
    let context = match wait(lowbit::Context::new()) {
        Ok(context) => context,
        Err(error) => {
            report("failure", &error.to_string());
            return 1;
        }
    };
    let devices = [("GPU", Device::Gpu(context)), ("CPU", Device::Cpu)];
    let mut failures = 0;
    for (name, bytes) in FILES.take() {
        for (kind, device) in &devices {
            if let Err(error) = attempt(&bytes, device) {
                report("failure", &format!("{name} on the {kind}: {error}"));
                failures += 1;
            }
        }
    }
    failures
}

fn attempt(bytes: &[u8], device: &Device) -> Result<()> {
    let case = Case::parse(bytes)?;
    let output = ops::run(&case, device)?;
    compare::compare(&case, &output, true).map_err(|failure| format!("{failure:?}").into())
}
