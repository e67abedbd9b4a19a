//! Files that lie: valid ones of each kind, with bytes changed, removed, doubled and cut off. Nothing may panic, and no more
//! than twice the file and 64 MiB be allocated at a time. `LOWBIT_FUZZ_SECONDS` says how long each kind is tried, one second
//! without it; `LOWBIT_FUZZ_SEED` where to begin.

use std::alloc::{GlobalAlloc, Layout, System};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lowbit::import::awq::Awq;
use lowbit::import::gguf::{GgufFile, GgufType};
use lowbit::import::gptq::{Gptq, ZeroPoints};
use lowbit::import::onnx::MatMulNBits;
use lowbit::import::torchao::{TensorClass, TorchAo};
use lowbit::import::{Array, ElementType, Safetensors};
use lowbit::{Error, Result};

use crate::Random;
use crate::fixtures::{Matrix, floats};
use crate::layouts::{awq_file, gptq_file, torchao_file};

/// The system's allocator, and how much of it is in use.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn count(size: usize) {
    PEAK.fetch_max(IN_USE.fetch_add(size, Ordering::Relaxed) + size, Ordering::Relaxed);
}

// SAFETY: everything is handed on to the system's allocator.
#[allow(unsafe_code, reason = "an allocator is unsafe by nature")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// One at a time, so that peaks are those of one import.
static TURN: Mutex<()> = Mutex::new(());

/// Changes a file here and there.
fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    const NUMBERS: [u64; 12] =
        [0, 1, 2, 3, 16, 255, 0x7fff_ffff, 0xffff_ffff, 1 << 32, 1 << 48, i64::MAX as u64, u64::MAX];
    for _ in 0..1 + random.below(4) {
        if bytes.is_empty() {
            return;
        }
        // Mostly where the sizes are.
        let end = if random.below(3) > 0 { bytes.len().min(400) } else { bytes.len() };
        let at = random.below(end);
        match random.below(8) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next() as u8,
            2 => {
                let number = NUMBERS[random.below(NUMBERS.len())].wrapping_add(random.below(3) as u64).to_le_bytes();
                let width = (4 * (1 + random.below(2))).min(bytes.len() - at);
                bytes[at..at + width].copy_from_slice(&number[..width]);
            }
            3 => bytes.truncate(random.below(bytes.len() + 1)),
            4 => drop(bytes.drain(at..(at + 1 + random.below(40)).min(bytes.len()))),
            5 => {
                let copied = bytes[at..(at + 1 + random.below(40)).min(bytes.len())].to_vec();
                let to = random.below(bytes.len());
                bytes.splice(to..to, copied);
            }
            // Headers in JSON stay JSON if only digits change.
            _ => {
                let digits: Vec<usize> = (0..end.min(bytes.len())).filter(|&at| bytes[at].is_ascii_digit()).collect();
                if !digits.is_empty() {
                    bytes[digits[random.below(digits.len())]] = b'0' + random.below(10) as u8;
                }
            }
        }
    }
}

/// What a caller says about a file besides: right without random numbers, else mostly.
struct Settings(Option<Random>);

impl Settings {
    fn choose<const N: usize>(&mut self, right: usize, odd: [usize; N]) -> usize {
        match self.0.as_mut().map(|random| (random.below(3), random.below(N))) {
            Some((0, which)) => odd[which],
            _ => right,
        }
    }
}

/// Tries files of a kind for as long as there is time.
fn fuzz(kind: &str, seeds: &[Vec<u8>], import: impl Fn(&[u8], Settings) -> Result<()>) {
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let time = Duration::from_secs(number("LOWBIT_FUZZ_SECONDS").unwrap_or(1));
    let first = number("LOWBIT_FUZZ_SEED").unwrap_or(0);
    for (i, seed) in seeds.iter().enumerate() {
        import(seed, Settings(None)).unwrap_or_else(|error| panic!("{kind} file {i} is valid: {error}"));
    }
    let (begin, mut tried, mut accepted, mut worst) = (Instant::now(), 0u64, 0u64, (0usize, 0u64));
    while begin.elapsed() < time {
        let mut random = Random(first + tried);
        let mut bytes = seeds[random.below(seeds.len())].clone();
        mutate(&mut bytes, &mut random);
        let before = IN_USE.load(Ordering::Relaxed);
        PEAK.store(before, Ordering::Relaxed);
        let outcome = catch_unwind(AssertUnwindSafe(|| import(&bytes, Settings(Some(random)))));
        let peak = PEAK.load(Ordering::Relaxed).saturating_sub(before);
        let seed = first + tried;
        assert!(peak <= 2 * bytes.len() + (64 << 20), "{kind} seed {seed}: {peak} bytes for a file of {}", bytes.len());
        match outcome {
            Ok(Ok(())) => accepted += 1,
            Ok(Err(Error::Request(message))) => assert!(message.len() > 20, "{kind} seed {seed}: {message:?}"),
            Ok(Err(other)) => panic!("{kind} seed {seed}: not a request: {other}"),
            Err(_) => panic!("{kind} seed {seed}: the importer panicked"),
        }
        worst = worst.max((peak, seed));
        tried += 1;
    }
    println!("{kind}: {tried} files, {accepted} accepted, at most {} KiB allocated (seed {})", worst.0 >> 10, worst.1);
    assert!(accepted > 0 && accepted < tried, "{kind}: {accepted} of {tried} files were accepted");
}

#[test]
fn gguf() {
    let mut random = Random(1);
    let mut seed = |of: GgufType| crate::ggml::file(of, [2, 3, 2 * of.block()], &mut random);
    fuzz("gguf", &GgufType::ALL.map(&mut seed), |bytes, _| {
        let file = GgufFile::parse(bytes)?;
        file.metadata().count();
        for tensor in file.tensors().filter(|tensor| tensor.gguf_type().is_some()) {
            tensor.weights()?;
        }
        Ok(())
    });
}

#[test]
fn gptq() {
    let mut random = Random(2);
    let seeds: Vec<Vec<u8>> = [2, 3, 4, 8]
        .map(|bits| {
            let m = Matrix::new(32, 96, bits, 32, &mut random).shuffled(&mut random);
            gptq_file(&m, 0, ElementType::Float16, true)
        })
        .into();
    fuzz("gptq", &seeds, |bytes, mut settings| {
        let file = Safetensors::parse(bytes)?;
        // What the configuration says is right, mostly.
        let k = file.array("l.scales")?.shape().first().map_or(96, |groups| groups * 32);
        let right = file.array("l.qweight")?.shape().first().map_or(4, |words| words * 32 / k.max(1));
        let bits = settings.choose(right, [0, 1, 2, 3, 4, 8, 64]);
        let group = settings.choose(32, [0, 1, 16, 33, 96, usize::MAX]);
        let convention = [ZeroPoints::AsIs, ZeroPoints::LessOne][settings.choose(0, [1])];
        Gptq::read(&file, "l", bits, group, convention)?.weights().map(drop)
    });
}

#[test]
fn awq() {
    let mut random = Random(3);
    let mut seed = |n, k| awq_file(&Matrix::new(n, k, 4, 32, &mut random), ElementType::Float16);
    fuzz("awq", &[seed(8, 64), seed(64, 128)], |bytes, mut settings| {
        let file = Safetensors::parse(bytes)?;
        Awq::read(&file, "l", settings.choose(32, [0, 1, 16, 64, usize::MAX]))?.weights().map(drop)
    });
}

/// ONNX's containers are not this crate's: a node is eight numbers and the arrays.
#[test]
fn onnx() {
    let mut random = Random(4);
    let mut seed = |n: usize, k: usize, bits: usize, block: usize, zeros: u64| {
        let m = Matrix::new(n, k, bits, block, &mut random);
        let b = random.bytes(n * m.groups * block * bits / 8);
        let scales = m.scale_bytes(ElementType::Float32, false);
        let zero_points = match zeros {
            0 => Vec::new(),
            1 => random.bytes(n * (m.groups * bits).div_ceil(8)),
            _ => floats(ElementType::Float32, &m.scales),
        };
        let parts = [b, scales, zero_points, if zeros == 1 { m.index_bytes() } else { Vec::new() }];
        let numbers = [n, k, bits, block, parts[0].len(), parts[1].len(), parts[2].len(), zeros as usize];
        let mut file: Vec<u8> = numbers.iter().flat_map(|&x| (x as u64).to_le_bytes()).collect();
        parts.iter().for_each(|part| file.extend(part));
        file
    };
    let seeds = [seed(5, 100, 4, 32, 0), seed(3, 64, 4, 16, 1), seed(7, 70, 2, 32, 2), seed(2, 33, 8, 16, 1)];
    fuzz("onnx", &seeds, |bytes, _| {
        let short = || Error::Request("the test's own container is too short".to_string());
        let numbers = bytes.get(..64).ok_or_else(short)?.chunks_exact(8);
        let numbers: Vec<usize> =
            numbers.map(|x| u64::from_le_bytes(x.try_into().expect("8 bytes")) as usize).collect();
        let mut rest = &bytes[64..];
        let mut part = |size: usize| {
            let (part, others) = rest.split_at_checked(size).ok_or_else(short)?;
            rest = others;
            Ok::<_, Error>(part)
        };
        let (b, scales, zeros) = (part(numbers[4])?, part(numbers[5])?, part(numbers[6])?);
        let array = |of: ElementType, bytes| Array::new(of, [<[u8]>::len(bytes) / of.bytes()], bytes);
        let kind = if numbers[7] == 2 { ElementType::Float32 } else { ElementType::Uint8 };
        let node = MatMulNBits {
            n: numbers[0],
            k: numbers[1],
            bits: numbers[2],
            block_size: numbers[3],
            b,
            scales: array(ElementType::Float32, scales)?,
            zero_points: if numbers[7] == 0 { None } else { Some(array(kind, zeros)?) },
            g_idx: if numbers[7] == 1 { Some(array(ElementType::Int32, rest)?) } else { None },
        };
        node.weights().map(drop)
    });
}

#[test]
fn torchao() {
    let mut random = Random(5);
    let mut seed = |n, experts, bits, class, zero: Option<(&str, usize)>| {
        let m = Matrix::new(n, 64, bits, 32, &mut random);
        let zeros = zero.map(|(dtype, bytes)| (dtype, vec![0; m.scales.len() * bytes]));
        let zeros = zeros.as_ref().map(|(dtype, bytes)| (*dtype, &bytes[..]));
        torchao_file(&m, experts, class, ElementType::Float16, zeros)
    };
    let seeds = [
        seed(6, 1, 4, TensorClass::Int4, Some(("F16", 2))),
        seed(6, 3, 4, TensorClass::Int4, Some(("F32", 4))),
        seed(5, 1, 3, TensorClass::Intx(3), Some(("I8", 1))),
        seed(8, 1, 8, TensorClass::Int8, None),
    ];
    fuzz("torchao", &seeds, |bytes, _| TorchAo::read(&Safetensors::parse(bytes)?, "m.weight")?.weights().map(drop));
}
