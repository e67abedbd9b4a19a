//! Corrupted files: valid files of each kind with bytes changed, removed, doubled and cut off. Reading a file and using its weights
//! must not panic, and reading may allocate at most twice the file's size plus 64 MiB at a time.
//! `LOWBIT_FUZZ_SECONDS` is the time for each kind, one second by default; `LOWBIT_FUZZ_SEED` is the first seed.

use std::alloc::{GlobalAlloc, Layout, System};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lowbit::import::awq::Awq;
use lowbit::import::bitsandbytes::{FourBit, Int8};
use lowbit::import::checkpoint::Model;
use lowbit::import::gguf::{GgufFile, GgufModel, GgufType, Value};
use lowbit::import::gptq::{Gptq, ZeroPoints};
use lowbit::import::onnx::MatMulNBits;
use lowbit::import::torchao::{TensorClass, TorchAo};
use lowbit::import::{Array, ElementType, Safetensors};
use lowbit::ops::Linear;
use lowbit::weights::PackedWeights;
use lowbit::{Error, Result, Tensor, reference};

use crate::Random;
use crate::fixtures::{Matrix, floats};
use crate::layouts::{awq_file, gptq_file, torchao_file};

/// The system's allocator, with a count of the bytes in use.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn count(size: usize) {
    PEAK.fetch_max(IN_USE.fetch_add(size, Ordering::Relaxed) + size, Ordering::Relaxed);
}

// SAFETY: every call is passed on to the system's allocator.
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

/// Runs one test at a time, so that a peak is that of one import.
static TURN: Mutex<()> = Mutex::new(());

/// Makes a few random changes to a file.
fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    const NUMBERS: [u64; 12] =
        [0, 1, 2, 3, 16, 255, 0x7fff_ffff, 0xffff_ffff, 1 << 32, 1 << 48, i64::MAX as u64, u64::MAX];
    const WORDS: [&str; 19] = [
        "F4",
        "F8_E4M3",
        "F8_E5M2",
        "F8_E8M0",
        "weight_scale",
        "U8",
        "I8",
        "I32",
        "U32",
        "I64",
        "F16",
        "BF16",
        "F32",
        "F64",
        "shape",
        "Int8Tensor",
        "m._weight_scale",
        "l.g_idx",
        "\\u0000",
    ];
    for _ in 0..1 + random.below(4) {
        if bytes.is_empty() {
            return;
        }
        // Mostly near the start, where the sizes are.
        let end = if random.below(3) > 0 { bytes.len().min(400) } else { bytes.len() };
        let at = random.below(end);
        match random.below(9) {
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
            // JSON headers stay valid JSON if words are replaced by words and digits by digits.
            6 => {
                let quotes: Vec<usize> = (0..bytes.len().min(2_000)).filter(|&at| bytes[at] == b'"').collect();
                if let Some(&[from, to]) = quotes.windows(2).nth(random.below(quotes.len())) {
                    bytes.splice(from + 1..to, WORDS[random.below(WORDS.len())].bytes());
                }
            }
            _ => {
                let digits: Vec<usize> = (0..end.min(bytes.len())).filter(|&at| bytes[at].is_ascii_digit()).collect();
                if !digits.is_empty() {
                    bytes[digits[random.below(digits.len())]] = b'0' + random.below(10) as u8;
                }
            }
        }
    }
}

/// The caller's parameters for a file: right without random numbers, otherwise mostly right.
struct Settings(Option<Random>);

impl Settings {
    fn choose<const N: usize>(&mut self, right: usize, odd: [usize; N]) -> usize {
        match self.0.as_mut().map(|random| (random.below(3), random.below(N))) {
            Some((0, which)) => odd[which],
            _ => right,
        }
    }
}

/// Uses weights as a caller would: dequantizes all of them, and multiplies. Its memory doesn't count for the importer.
fn make_use_of(weights: &PackedWeights) {
    let ([experts, n, k], peak) = (weights.dims(), PEAK.load(Ordering::Relaxed));
    // A matrix without elements may still have more rows than a tensor can.
    if [experts, n, k].iter().fold(1usize, |product, &d| product.saturating_mul(d.max(1))) <= 1 << 16 {
        let real = weights.dequantize().expect("small");
        assert_eq!(real.values::<f32>().expect("floats").len(), experts * n * k);
        let again = PackedWeights::from_words(
            *weights.format(),
            [experts, n, k],
            weights.words().expect("held words").to_vec(),
        );
        // A column index is not in the words.
        if let Ok(again) = again {
            assert_eq!(again.words().ok(), weights.words().ok());
        }
        let lhs = Tensor::new([1, k], vec![1.0f32; k]).expect("small");
        if let Ok(op) = Linear::new(lhs.tensor_type().clone(), weights.clone()).build() {
            let product = reference::run(&op.into(), &[&lhs]).expect("sound inputs");
            assert_eq!(product[0].values::<f32>().expect("floats").len(), n);
        }
    }
    PEAK.store(peak, Ordering::Relaxed);
}

/// Reads all arrays and metadata of a file.
fn look_through(file: &Safetensors<'_>) {
    let names: Vec<String> = file.names().map(str::to_string).collect();
    for name in &names {
        if let Ok(array) = file.array(name) {
            assert_eq!(array.shape().iter().product::<usize>() * array.element_type().bits(), array.bytes().len() * 8);
        }
        let _ = file.metadata(name);
    }
    assert!(file.optional("no such array").is_ok_and(|array| array.is_none()));
    assert!(file.metadata("m.weight").is_none_or(|text| text.len() < 1_000_000));
}

/// Imports changed files of a kind until the time is up.
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
            Ok(Err(Error::Request(message))) => {
                assert!((20..2_000).contains(&message.len()), "{kind} seed {seed}: {message:?}");
            }
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
        for (key, value) in file.metadata() {
            assert!(format!("{key} {value:?}").len() > 6);
        }
        for tensor in file.tensors() {
            let (name, shape, bytes) = (tensor.name(), tensor.shape(), tensor.bytes()?);
            assert!(file.tensor(name)?.shape() == shape && bytes.as_ptr() == file.tensor(name)?.bytes()?.as_ptr());
            if tensor.gguf_type().is_some() {
                make_use_of(&tensor.weights()?);
            }
        }
        // A file that can be read can be written, unless its alignment or names are beyond the writer's.
        if let Ok(copied) = crate::writer::copy(&file) {
            let copied = GgufFile::parse(&copied)?;
            let text = |file: &GgufFile<'_>| format!("{:?}", file.metadata().collect::<Vec<_>>());
            assert!(text(&copied) == text(&file));
            for tensor in file.tensors() {
                assert!(copied.tensor(tensor.name())?.bytes()? == tensor.bytes()?);
            }
        }
        Ok(())
    });
}

#[test]
fn gguf_parts() {
    let part =
        |number: usize| std::fs::read(format!("tests/data/gguf/split-{number:05}-of-00003.gguf")).expect("test data");
    let parts = [1, 2, 3].map(part);
    fuzz("gguf parts", &parts, |bytes, _| {
        // The other parts are whole.
        let mut all: Vec<&[u8]> = parts.iter().map(|part| &part[..]).collect();
        let place = GgufFile::parse(bytes)?.metadata().find(|(key, _)| *key == "split.no");
        all[if let Some((_, Value::Unsigned(place))) = place { place as usize % 3 } else { 1 }] = bytes;
        let model = GgufModel::parse(&all)?;
        for tensor in model.tensors() {
            assert_eq!(model.tensor(tensor.name())?.bytes()?, tensor.bytes()?);
        }
        Ok(())
    });
}

#[test]
fn gptq() {
    let mut random = Random(2);
    let mut seeds: Vec<Vec<u8>> = [2, 3, 4, 8]
        .map(|bits| {
            let m = Matrix::new(32, 96, bits, 32, &mut random).shuffled(&mut random);
            gptq_file(&m, ZeroPoints::AsIs, ElementType::Float16, true)
        })
        .into();
    let mut m = Matrix::new(32, 96, 4, 32, &mut random);
    seeds.push(gptq_file(&m, ZeroPoints::LessOne, ElementType::Float32, false));
    m.index.fill(0);
    seeds.push(gptq_file(&m, ZeroPoints::LessOne, ElementType::Bfloat16, true));
    fuzz("gptq", &seeds, |bytes, mut settings| {
        let file = Safetensors::parse(bytes)?;
        look_through(&file);
        // Mostly the right configuration.
        let k = file.array("l.scales")?.shape().first().map_or(96, |groups| groups * 32);
        let right = file.array("l.qweight")?.shape().first().map_or(4, |words| words * 32 / k.max(1));
        let bits = settings.choose(right, [0, 1, 2, 3, 4, 8, 64]);
        let group = settings.choose(32, [0, 1, 16, 33, 96, usize::MAX]);
        let convention = [ZeroPoints::AsIs, ZeroPoints::LessOne][settings.choose(0, [1])];
        make_use_of(&Gptq::read(&file, "l", bits, group, convention)?.weights()?);
        Ok(())
    });
}

#[test]
fn awq() {
    let mut random = Random(3);
    let mut seed = |n, k| awq_file(&Matrix::new(n, k, 4, 32, &mut random), ElementType::Float16);
    fuzz("awq", &[seed(8, 64), seed(64, 128)], |bytes, mut settings| {
        let file = Safetensors::parse(bytes)?;
        look_through(&file);
        make_use_of(&Awq::read(&file, "l", settings.choose(32, [0, 1, 16, 64, usize::MAX]))?.weights()?);
        Ok(())
    });
}

/// ONNX's containers are not read by this crate: here a node is twelve numbers and the arrays.
#[test]
fn onnx() {
    const NONE: usize = 7;
    const TYPES: [ElementType; NONE] = [
        ElementType::Uint8,
        ElementType::Float32,
        ElementType::Float16,
        ElementType::Bfloat16,
        ElementType::Int32,
        ElementType::Int64,
        ElementType::Int8,
    ];
    let mut random = Random(4);
    let mut seed = |[n, k, bits, block]: [usize; 4], zeros: usize, index: usize| {
        let m = Matrix::new(n, k, bits, block, &mut random);
        let b = random.bytes(n * m.groups * block * bits / 8);
        let scales = m.scale_bytes(ElementType::Float32, false);
        let zero_points = match zeros {
            0 => random.bytes(n * (m.groups * bits).div_ceil(8)),
            NONE => Vec::new(),
            float => floats(TYPES[float], &m.scales),
        };
        let g_idx = match index {
            4 => m.index_bytes(),
            5 => m.index.iter().flat_map(|&g| (g as i64).to_le_bytes()).collect(),
            _ => Vec::new(),
        };
        let parts = [b, scales, zero_points, g_idx];
        let lengths = [parts[0].len(), parts[1].len(), parts[2].len(), parts[3].len()];
        let numbers = [[n, k, bits, block], lengths, [1, zeros, index, 0]].concat();
        let mut file: Vec<u8> = numbers.iter().flat_map(|&x| (x as u64).to_le_bytes()).collect();
        parts.iter().for_each(|part| file.extend(part));
        file
    };
    let seeds = [
        seed([5, 100, 4, 32], NONE, NONE),
        seed([3, 64, 4, 16], 0, 4),
        seed([7, 70, 2, 32], 1, NONE),
        seed([2, 33, 8, 16], 0, 5),
        seed([4, 96, 8, 32], 2, 4),
    ];
    fuzz("onnx", &seeds, |bytes, _| {
        let short = || Error::Request("the test's own container is too short".to_string());
        let numbers = bytes.get(..96).ok_or_else(short)?.chunks_exact(8);
        let numbers: Vec<usize> =
            numbers.map(|x| u64::from_le_bytes(x.try_into().expect("8 bytes")) as usize).collect();
        let mut rest = &bytes[96..];
        let mut part = |size: usize| {
            let (part, others) = rest.split_at_checked(size).ok_or_else(short)?;
            rest = others;
            Ok::<_, Error>(part)
        };
        let [b, scales, zeros, index] = [part(numbers[4])?, part(numbers[5])?, part(numbers[6])?, part(numbers[7])?];
        let array = |of: usize, bytes| {
            let of = TYPES[of % NONE];
            Array::new(of, [<[u8]>::len(bytes) / of.bytes()], bytes)
        };
        let given = |of: usize, bytes| if of == NONE { Ok(None) } else { array(of, bytes).map(Some) };
        let node = MatMulNBits::new([numbers[0], numbers[1]], numbers[2], numbers[3], b, array(numbers[8], scales)?)
            .with_zero_points(given(numbers[9], zeros)?)
            .with_g_idx(given(numbers[10], index)?);
        make_use_of(&node.weights()?);
        Ok(())
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
    fuzz("torchao", &seeds, |bytes, mut settings| {
        let file = Safetensors::parse(bytes)?;
        look_through(&file);
        let mut weight = TorchAo::read(&file, "m.weight")?;
        for size in &mut weight.block_size {
            *size = settings.choose(*size, [0, 1, 2, 33, 1 << 40, usize::MAX]);
        }
        make_use_of(&weight.weights()?);
        Ok(())
    });
}

/// Files of one weight each.
#[test]
fn bitsandbytes() {
    let file = Safetensors::parse(crate::bitsandbytes::CASES).expect("a whole file");
    let of_case = |case: &str| {
        let names = file.names().filter(|name| name.split('.').next() == Some(case));
        let names: Vec<String> = names.filter(|name| !name.ends_with(".real")).map(str::to_string).collect();
        let arrays: Vec<_> = names.iter().map(|name| file.array(name).expect("there")).collect();
        let named: Vec<String> = names.iter().map(|name| format!("w{}", &name[case.len()..])).collect();
        let dtype = |of| match of {
            ElementType::Uint8 => "U8",
            ElementType::Int8 => "I8",
            _ => "F32",
        };
        let parts: Vec<_> = named
            .iter()
            .zip(&arrays)
            .map(|(name, array)| (&name[..], dtype(array.element_type()), array.shape(), array.bytes()))
            .collect();
        crate::fixtures::safetensors(&parts, &[])
    };
    let seeds: Vec<_> =
        crate::bitsandbytes::FOUR_BIT.iter().map(|(case, _)| *case).chain(["int8"]).map(of_case).collect();
    fuzz("bitsandbytes", &seeds, |bytes, mut settings| {
        let file = Safetensors::parse(bytes)?;
        look_through(&file);
        if file.optional("w.SCB")?.is_some() {
            make_use_of(&Int8::read(&file, "w")?.weights()?);
            return Ok(());
        }
        let mut weight = FourBit::read(&file, "w.weight")?;
        weight.block = settings.choose(weight.block, [0, 1, 63, 1 << 40, usize::MAX]);
        for size in &mut weight.shape {
            *size = settings.choose(*size, [0, 1, 3, 1 << 40, usize::MAX]);
        }
        make_use_of(&weight.weights()?);
        Ok(())
    });
}

/// Arrays of every type, metadata with and without escapes, and files without either.
#[test]
fn safetensors() {
    let arrays: [(&str, &str, &[usize], &[u8]); 5] = [
        ("a", "U8", &[2, 3], &[1; 6]),
        ("b \"quoted\"", "I64", &[1], &[2; 8]),
        ("c", "BF16", &[], &[3; 2]),
        ("d", "F64", &[0, 7], &[]),
        ("m.weight", "F32", &[2], &[4; 8]),
    ];
    let about = [("m.weight", "{\"_type\":\"Int8Tensor\"}"), ("format", "pt"), ("", "ü")];
    let seeds = [
        crate::fixtures::safetensors(&arrays, &about),
        crate::fixtures::safetensors(&arrays[..2], &[]),
        crate::fixtures::safetensors(&[], &about),
    ];
    fuzz("safetensors", &seeds, |bytes, _| {
        look_through(&Safetensors::parse(bytes)?);
        Ok(())
    });
}

/// Layers of each package, read by their importer and as a model whose layout is recognized.
#[test]
fn packages() {
    for package in crate::packages::PACKAGES {
        let whole = crate::packages::file(package);
        let file = Safetensors::parse(&whole).expect("whole");
        let layers = crate::packages::layers(&file);
        // One layer in a file, so that changes meet its header.
        let seed = |(name, _): &(String, serde_json::Value)| {
            let prefix = format!("{name}.");
            let arrays: Vec<_> =
                file.names().filter(|array| array.starts_with(&prefix) && !array.ends_with("expected")).collect();
            let stored = |array: &&str| (array.to_string(), file.array(array).expect("there"));
            let arrays: Vec<_> = arrays.iter().map(stored).collect();
            let parts: Vec<_> = arrays
                .iter()
                .map(|(name, array)| {
                    (&name[..], crate::packages::dtype(array.element_type()), array.shape(), array.bytes())
                })
                .collect();
            crate::fixtures::safetensors(&parts, &[("layer", name)])
        };
        let seeds: Vec<Vec<u8>> = layers.iter().map(seed).collect();
        fuzz(package, &seeds, |bytes, mut settings| {
            let file = Safetensors::parse(bytes)?;
            look_through(&file);
            let named = file.metadata("layer").unwrap_or_default();
            let place = layers.iter().position(|(name, _)| *name == named);
            let place = settings.choose(place.unwrap_or(0), [0, 1, 2, 3]) % layers.len();
            let (name, about) = &layers[place];
            let name = if named.is_empty() { &name[..] } else { &named[..] };
            let config = crate::packages::config(about).to_string();
            let model = Model::parse(&[bytes], &config)?;
            for layer in model.layers() {
                assert!(layer.bits_per_weight() >= 0.0 && !layer.format.is_empty());
                assert!(model.layer(&layer.name).is_ok(), "{}", layer.name);
                let _ = layer.activations();
                let _ = layer.weights().map(|weights| make_use_of(&weights));
            }
            make_use_of(&crate::packages::read(package, &file, name, about)?);
            Ok(())
        });
    }
}

/// Configurations of models, changed.
#[test]
fn configurations() {
    let whole = crate::packages::file("compressed-tensors");
    let file = Safetensors::parse(&whole).expect("whole");
    let layers = crate::packages::layers(&file);
    let (_, about) = layers.iter().find(|(name, _)| name == "group4").expect("there");
    let (_, other) = layers.iter().find(|(name, _)| name == "w8a8").expect("there");
    let two = |target: &str| {
        let (mut first, mut second) = (other.clone(), about.clone());
        first["targets"] = serde_json::json!(["Linear"]);
        second["targets"] = serde_json::json!([target]);
        serde_json::json!({"quantization_config": {"config_groups": {"group_0": first, "group_1": second}}})
    };
    let configs = [crate::packages::config(about), two("group4"), two("re:group.*"), two("re:.*4$")];
    let seeds = configs.map(|config| config.to_string().into_bytes());
    fuzz("configurations", &seeds, |bytes, _| {
        let text = String::from_utf8_lossy(bytes);
        let model = Model::parse(&[&whole], &text)?;
        let layer = model.layer("group4")?;
        let weights = layer.weights().map(|weights| make_use_of(&weights));
        layer.activations().and(weights)
    });
}

/// Files with many small parts, which take the most memory in a reader.
#[test]
fn many_parts() {
    const PARTS: usize = 500_000;
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let join = |part: &dyn Fn(usize) -> String| (0..PARTS).map(part).collect::<Vec<_>>().join(",");
    let empty = r#"{"dtype":"U8","shape":[],"data_offsets":[0,0]}"#;
    let dims = vec!["0"; 20 * PARTS].join(",");
    for (name, header) in [
        ("arrays", join(&|i| format!(r#""{i:x}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#))),
        ("arrays with escapes", join(&|i| format!(r#""\n{i:x}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#))),
        ("arrays of one name", join(&|_| format!(r#""a":{empty}"#))),
        ("metadata", format!(r#""__metadata__":{{{}}}"#, join(&|i| format!(r#""{i:x}":"""#)))),
        ("metadata with escapes", format!(r#""__metadata__":{{{}}}"#, join(&|i| format!(r#""\t{i:x}":"\n""#)))),
        ("dimensions", format!(r#""a":{{"dtype":"U8","shape":[{dims}],"data_offsets":[0,0]}}"#)),
        ("offsets", format!(r#""a":{{"dtype":"U8","shape":[0],"data_offsets":[{dims}]}}"#)),
        ("fields", format!(r#""a":{{{}}}"#, join(&|i| format!(r#""{i:x}":[{i}]"#)))),
        ("brackets", format!(r#""a":{}"#, "[".repeat(40 * PARTS))),
        ("a name", format!(r#""{}":{{"dtype":"F64","shape":[0],"data_offsets":[0,0]}}"#, "\\n".repeat(20 * PARTS))),
        ("a name of no array", format!(r#""{}":{empty}"#, "\x7f".repeat(40 * PARTS))),
        ("a text for a number", format!(r#""a":{{"shape":"{}"}}"#, "\x7f".repeat(40 * PARTS))),
        ("a text", format!(r#""__metadata__":{{"m.weight":"{}"}}"#, "\\n".repeat(20 * PARTS))),
        (
            "sizes of blocks",
            format!(
                r#""__metadata__":{{"m.weight":"{{\"_type\":\"Int8Tensor\",\"_data\":{{\"block_size\":[{dims}]}}}}"}}"#
            ),
        ),
        ("a type", format!(r#""a":{{"dtype":"{}","shape":[0],"data_offsets":[0,0]}}"#, "\\n".repeat(20 * PARTS))),
    ] {
        let header = format!("{{{header}}}");
        let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat();
        drop(header);
        check_peak(name, &bytes, || {
            let file = Safetensors::parse(&bytes)?;
            let first = file.names().next().unwrap_or_default().to_string();
            TorchAo::read(&file, "m.weight").map(drop).and(file.array(&first).map(drop))
        });
    }
    let gguf = |keys: usize, tensors: usize, name: &dyn Fn(usize) -> Vec<u8>| {
        let mut bytes =
            [&b"GGUF\x03\0\0\0"[..], &(tensors as u64).to_le_bytes(), &(keys as u64).to_le_bytes()].concat();
        let mut named = |i: usize, rest: &[u8]| {
            let name = name(i);
            bytes.extend((name.len() as u64).to_le_bytes());
            bytes.extend(name);
            bytes.extend(rest);
        };
        (0..keys).for_each(|i| named(i, &[0; 5]));
        (0..tensors).for_each(|i| named(i, &[0; 16]));
        bytes.resize(bytes.len().next_multiple_of(32) + 32, 0);
        bytes
    };
    let short = |i: usize| format!("{i:x}").into_bytes();
    let long = |_: usize| vec![0x7f; 40 * PARTS];
    for (name, bytes) in [
        ("keys", gguf(PARTS, 0, &short)),
        ("tensors", gguf(0, PARTS, &short)),
        ("two long keys", gguf(2, 0, &long)),
        ("two long tensors", gguf(0, 2, &long)),
    ] {
        check_peak(name, &bytes, || GgufFile::parse(&bytes).map(drop));
        check_peak(name, &bytes, || GgufModel::parse(&[&bytes]).map(drop));
    }
}

/// Reads a file and checks that reading and its error message stay within the memory bound.
fn check_peak(name: &str, bytes: &[u8], read: impl Fn() -> Result<()>) {
    let before = IN_USE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let outcome = read();
    let peak = PEAK.load(Ordering::Relaxed).saturating_sub(before);
    println!(
        "{name}: {} MiB of a file of {}: {}",
        peak >> 20,
        bytes.len() >> 20,
        outcome.map_or_else(|e| e.to_string(), |()| "read".to_string())
    );
    assert!(peak <= 2 * bytes.len() + (64 << 20), "{name}: {peak} bytes for a file of {}", bytes.len());
}
