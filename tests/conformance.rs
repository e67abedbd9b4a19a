//! The conformance cases in tests/data/conformance, strictly, on the CPU reference and on the GPU. Their expected outputs come from
//! other implementations. Reading, running and comparing cases is in examples/conformance.

#[path = "../examples/conformance/array.rs"]
mod array;
#[path = "../examples/conformance/blocks.rs"]
mod blocks;
#[path = "../examples/conformance/case.rs"]
#[allow(dead_code, reason = "only the example names the operators of broken files")]
mod case;
mod common;
#[path = "../examples/conformance/compare.rs"]
mod compare;
#[path = "../examples/conformance/device.rs"]
mod device;
#[path = "../examples/conformance/gguf.rs"]
mod gguf;
#[path = "../examples/conformance/matmul_nbits.rs"]
mod matmul_nbits;
#[path = "../examples/conformance/observer.rs"]
mod observer;
#[path = "../examples/conformance/ops.rs"]
mod ops;
#[path = "../examples/conformance/qat.rs"]
mod qat;

use case::Case;
use device::Device;

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

fn check(device: &Device) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/conformance");
    let mut passed = 0;
    for entry in std::fs::read_dir(folder).expect("the folder is part of the repository") {
        let path = entry.expect("a readable folder").path();
        if path.extension().is_none_or(|extension| extension != "safetensors") {
            continue;
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let bytes = std::fs::read(&path).expect("a readable file");
        let case = Case::parse(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        let got = ops::run(&case, device).unwrap_or_else(|error| panic!("{name}: {error}"));
        if let Err(failure) = compare::compare(&case, &got, true) {
            panic!("{name} on {}: {failure:?}", device.description());
        }
        passed += 1;
    }
    println!("{passed} cases on {}", device.description());
    assert!(passed >= 300, "only {passed} cases were found");
}

#[test]
fn reference_conforms() {
    check(&Device::Cpu);
}

#[test]
fn gpu_conforms() {
    if let Some(context) = common::context() {
        check(&Device::Gpu(context));
    }
}
