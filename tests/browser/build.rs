//! Makes modules of the native test files and of the conformance example: the same bodies, without the test harness.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// Test files of the crate.
const TESTS: [&str; 5] = ["equivalence", "images", "plans", "linear", "convolutions"];

/// Tests of other machines: a host with a `usize` of 64 bits, limits below those that browsers guarantee.
const NOT_HERE: [&str; 1] = ["images::bad_requests_say_what_is_wrong"];

/// Modules of the conformance example.
const CONFORMANCE: [&str; 10] =
    ["array", "blocks", "case", "compare", "device", "gguf", "matmul_nbits", "observer", "ops", "qat"];

/// The blocking calls, which a browser's build of the crate doesn't have.
const BLOCKING: &str = "#[allow(unused_imports)]\nuse crate::common::{BlockingContext as _, BlockingPlan as _};\n";

fn main() {
    let root = PathBuf::from("../..").canonicalize().expect("the crate's folder");
    let mut modules = String::new();
    let mut list = String::from("/// The tests, by file and name.\npub(crate) const TESTS: &[(&str, fn() -> Option<String>)] = &[\n");
    for file in TESTS {
        let source = read(&root.join("tests").join(file).with_extension("rs"));
        let source = source.replace("mod common;\n", "use crate::common;\n").replace("pollster::block_on(", "crate::wait(");
        let mut is_test = false;
        let mut body = String::new();
        for line in source.lines() {
            if line == "#[test]" {
                is_test = true;
                continue;
            }
            match line.strip_prefix("fn ") {
                Some(rest) if is_test => {
                    let name = format!("{file}::{}", rest.split('(').next().unwrap_or_default());
                    if !NOT_HERE.contains(&name.as_str()) {
                        writeln!(list, "    (\"{name}\", || crate::error({name}())),").expect("a string");
                    }
                    writeln!(body, "pub(crate) {line}").expect("a string");
                    is_test = false;
                }
                _ => writeln!(body, "{line}").expect("a string"),
            }
        }
        writeln!(modules, "mod {file} {{\n{body}{BLOCKING}}}").expect("a string");
    }
    list.push_str("];\n");
    for file in CONFORMANCE {
        let source = read(&root.join("examples/conformance").join(file).with_extension("rs"));
        writeln!(modules, "mod {file} {{\n{source}{BLOCKING}}}").expect("a string");
    }
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("modules.rs"), modules + &list).expect("cargo's folder");
}

fn read(path: &Path) -> String {
    println!("cargo::rerun-if-changed={}", path.display());
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
