//! Networks of tests/data/tflite: the reference and the device against the interpreter of LiteRT with its reference kernels, and
//! damaged files.

#[path = "common/allocations.rs"]
mod allocations;
mod common;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;

use common::context;
use lowbit::{DType, Result, Tensor, TensorType, Tuner, tflite};

/// The networks, in order of their names.
fn names() -> Vec<String> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/tflite");
    let files =
        std::fs::read_dir(folder).expect("a folder").filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = files.filter_map(|file| Some(file.strip_suffix(".tflite")?.to_string())).collect();
    names.sort_unstable();
    names
}

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/tflite").join(name)
}

/// Takes the tensors of these types off the bytes.
fn taken(bytes: &mut &[u8], types: impl Iterator<Item = TensorType>) -> Result<Vec<Tensor>> {
    let mut tensor = |tensor_type: TensorType| {
        let size = (tensor_type.shape().elements() * tensor_type.dtype().bits()).div_ceil(8);
        let (now, later) = bytes.split_at(size);
        *bytes = later;
        Tensor::from_packed(tensor_type, now)
    };
    types.map(&mut tensor).collect()
}

/// The number of elements that differ, and of all.
fn differing(found: &Tensor, expected: &Tensor) -> Result<[usize; 2]> {
    let numbers = |tensor: &Tensor| -> Result<Vec<i64>> {
        Ok(match tensor.dtype() {
            DType::Float32 => tensor.values::<f32>()?.iter().map(|number| number.to_bits().into()).collect(),
            _ => tensor.codes()?.into_iter().map(i64::from).collect(),
        })
    };
    let (found, expected) = (numbers(found)?, numbers(expected)?);
    assert_eq!(found.len(), expected.len());
    Ok([found.iter().zip(&expected).filter(|(a, b)| a != b).count(), found.len()])
}

/// The number of damaged files; another with `LOWBIT_MUTATIONS`, and other files with `LOWBIT_SEED`.
const MUTATIONS: usize = 20_000;

/// Bytes that the graph of a damaged file may take: these, and a multiple of the file's.
const FIXED: usize = 1 << 20;
const MULTIPLE: usize = 64;

/// Held by a test while it runs: memory is counted for all threads.
static ALONE: Mutex<()> = Mutex::new(());

/// Networks whose codes may differ from those of the interpreter, each with the most that were found to.
const INEXACT: [(&str, usize); 0] = [];

/// A pseudo-random number below `below`, at least 1 (xorshift).
fn random(state: &mut u64, below: usize) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state % below as u64) as usize
}

/// Damaged files give an error or a graph, never a panic, with memory in proportion to the file.
#[test]
fn damaged_files() {
    let _alone = ALONE.lock();
    let networks: Vec<Vec<u8>> =
        names().iter().map(|name| std::fs::read(file(&format!("{name}.tflite"))).expect("a file")).collect();
    let number = |name: &str, other| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(other);
    let (mut state, mut read, mut made, mut most) = (0x0123_4567_89ab_cdef_u64, 0, 0, 0);
    state ^= (number("LOWBIT_SEED", 0) as u64) << 32;
    let rounds = number("LOWBIT_MUTATIONS", MUTATIONS).div_ceil(networks.len());
    for (number, network) in networks.iter().enumerate() {
        for round in 0..rounds {
            let mut bytes = network.clone();
            // A large network is mostly weights: most changes are in its tables, which are at its ends.
            for _ in 0..1 + random(&mut state, 2) {
                let whole = bytes.len();
                let at = match random(&mut state, 4) {
                    0 => random(&mut state, whole),
                    1 => whole - 1 - random(&mut state, whole.min(2000)),
                    _ => random(&mut state, whole.min(2000)),
                };
                match random(&mut state, 16) {
                    0..4 => bytes[at] = random(&mut state, 256) as u8,
                    4..8 => bytes[at] ^= 1 << random(&mut state, 8),
                    8 => bytes.truncate(at.max(8)),
                    9..12 => {
                        let odd = [0, 1, -1, i32::MIN, i32::MAX, 1 << 16, 1 << 30, -100][random(&mut state, 8)];
                        let word = at / 4 * 4;
                        if let Some(bytes) = bytes.get_mut(word..word + 4) {
                            bytes.copy_from_slice(&i32::to_le_bytes(odd));
                        }
                    }
                    _ => {
                        // Another place of the file, such as an offset or a dimension of it.
                        let (from, to) = (random(&mut state, whole) / 4 * 4, at / 4 * 4);
                        if from + 4 <= whole && to + 4 <= whole {
                            bytes.copy_within(from..from + 4, to);
                        }
                    }
                }
            }
            let size = bytes.len();
            let (result, peak) = allocations::peak_of(|| {
                let model = tflite::Model::from_bytes(bytes)?;
                let text = model.to_string();
                Ok::<_, lowbit::Error>((text.len(), model.graph()))
            });
            read += usize::from(result.is_ok());
            made += usize::from(result.is_ok_and(|(_, graph)| graph.is_ok()));
            most = most.max(peak);
            assert!(
                peak <= FIXED + MULTIPLE * size,
                "network {number}, round {round}: {peak} bytes for a file of {size}"
            );
        }
    }
    println!("{} files: {read} were read, {made} became graphs; {most} bytes at most", rounds * networks.len());
}

#[test]
fn networks() -> Result<()> {
    let _alone = ALONE.lock();
    let context = context();
    let mut table: BTreeMap<String, [usize; 2]> = BTreeMap::new();
    let mut failed = Vec::new();
    for name in names() {
        let model = tflite::Model::open(file(&format!("{name}.tflite")))?;
        let network = match model.graph() {
            Ok(network) => network,
            Err(error) => {
                failed.push(format!("{name}: {error}"));
                continue;
            }
        };
        let bytes = std::fs::read(file(&format!("{name}.io"))).expect("inputs and outputs");
        let mut rest = &bytes[..];
        let inputs = taken(&mut rest, network.inputs.iter().map(|port| port.tensor_type.clone()))?;
        let expected = taken(&mut rest, network.outputs.iter().map(|port| port.tensor_type.clone()))?;
        assert_eq!(rest.len(), 0, "{name}");
        let inputs: Vec<&Tensor> = inputs.iter().collect();
        let outputs = network.graph.run_reference(&inputs)?;
        for (output, expected) in outputs.iter().zip(&expected) {
            let [different, of] = differing(output, expected)?;
            let sum = table.entry(name.clone()).or_default();
            (sum[0], sum[1]) = (sum[0] + different, sum[1] + of);
        }
        let allowed = INEXACT.iter().find(|(inexact, _)| *inexact == name).map_or(0, |(_, most)| *most);
        if table[&name][0] > allowed {
            let [a, b] = [&outputs[0], &expected[0]];
            let first = a.codes().ok().zip(b.codes().ok()).and_then(|(a, b)| {
                let at = a.iter().zip(&b).position(|(a, b)| a != b)?;
                Some(format!(", first at {at}: {} instead of {}", a[at], b[at]))
            });
            failed.push(format!(
                "{name}: {} of {} elements differ{}",
                table[&name][0],
                table[&name][1],
                first.unwrap_or_default()
            ));
        }
        if let Some(context) = &context {
            let plan = context.plan(&network.graph, Tuner::FirstGuess)?;
            let found = plan.run_blocking(&inputs)?;
            for (output, reference) in found.iter().zip(&outputs) {
                let [different, of] = differing(output, reference)?;
                if different > allowed {
                    failed
                        .push(format!("{name}: {different} of {of} elements of the device differ from the reference"));
                }
            }
        }
    }
    println!("{:32} {:>9} {:>9}", "network", "elements", "different");
    table.iter().for_each(|(name, [different, of])| println!("{name:32} {of:9} {different:9}"));
    assert!(failed.is_empty(), "\n{}", failed.join("\n"));
    Ok(())
}
