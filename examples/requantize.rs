//! `cargo run --release --example requantize -- MODEL.gguf OUT.gguf --gguf-type Q4_K`: writes a GGUF model again, with its matrices in
//! another type. A model in several files is found by the name of one of them, and becomes one file. Metadata are copied, and so is
//! `general.file_type`, which names the type that most tensors had.

use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use indicatif::{HumanBytes, ProgressBar};
use lowbit::half::{bf16, f16};
use lowbit::import::gguf::{self, GgufModel, GgufQuantizer, GgufTensor, GgufTensorType, GgufType, GgufWriter};
use lowbit::import::{self, ElementType};

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// About as many numbers are in memory at once, in whole rows.
const AT_ONCE: usize = 1 << 22;

/// Writes a GGUF model with its matrices in another type.
#[derive(Debug, Parser)]
struct Arguments {
    /// A GGUF file, or one of the files of a model.
    model: PathBuf,
    /// The file that is written.
    out: PathBuf,
    /// The type of matrices whose rows are whole blocks. Other tensors are copied.
    #[arg(long, value_name = "TYPE", default_value = "Q4_K")]
    gguf_type: String,
    /// Quantizes tensors that are quantized already, too, from their rounded numbers.
    #[arg(long)]
    again: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

#[allow(unsafe_code, reason = "mapping files")]
fn run(arguments: &Arguments) -> Result<()> {
    let made = GgufType::from_name(&arguments.gguf_type).filter(|of| of.has_quantizer());
    let gguf_type = made.ok_or_else(|| {
        let made: Vec<_> = GgufType::ALL.into_iter().filter(|of| of.has_quantizer()).map(GgufType::name).collect();
        format!("{} is no type of GGUF that is made: take one of {}", arguments.gguf_type, made.join(", "))
    })?;
    let names = gguf::part_names(arguments.model.to_str().ok_or("the name of the model is not UTF-8")?);
    // SAFETY: this program doesn't write these files, and its user is asked not to.
    let maps = names.iter().map(|name| unsafe { import::map(name) }).collect::<lowbit::Result<Vec<_>>>()?;
    let model = GgufModel::parse(&maps.iter().map(|map| &map[..]).collect::<Vec<_>>())?;

    let quantized = |tensor: &GgufTensor<'_>| {
        let shape = tensor.shape();
        let source = arguments.again || tensor.gguf_type().is_none();
        let whole = shape.last().is_some_and(|k| k % gguf_type.block() == 0);
        (2..=3).contains(&shape.len()) && source && whole
    };
    let mut writer = GgufWriter::new();
    // The version of the blocks' formats, which programs ask of quantized models.
    writer.value("general.quantization_version", 2u32)?.metadata(&model.parts()[0])?;
    for tensor in model.tensors() {
        let copied = tensor.tensor_type().ok_or_else(|| format!("{} is in {}", tensor.name(), tensor.type_name()))?;
        let tensor_type = if quantized(&tensor) { gguf_type.into() } else { copied };
        writer.tensor(tensor.name(), tensor_type, tensor.shape())?;
    }
    let progress = ProgressBar::new(model.tensors().count() as u64);
    let mut out = writer.begin(BufWriter::with_capacity(1 << 20, File::create(&arguments.out)?))?;
    let quantizer = GgufQuantizer::new(gguf_type);
    for tensor in model.tensors() {
        let (name, bytes) = (tensor.name(), tensor.bytes()?);
        progress.inc(1);
        if !quantized(&tensor) || bytes.is_empty() {
            out.tensor(name, bytes)?;
            continue;
        }
        let k = tensor.shape().last().copied().unwrap_or_default();
        let rows = tensor.shape().iter().product::<usize>() / k;
        let row_bytes = bytes.len() / rows;
        for rows in bytes.chunks((AT_ONCE / k).max(1) * row_bytes) {
            let numbers = numbers(&tensor, k, rows)?;
            out.part(name, &quantizer.quantize(&numbers).map_err(|error| format!("{name}: {error}"))?)?;
        }
    }
    out.finish()?;
    progress.finish_and_clear();
    let size = |path: &PathBuf| Ok::<_, std::io::Error>(HumanBytes(std::fs::metadata(path)?.len()));
    let before: usize = maps.iter().map(|map| map.len()).sum();
    println!("{} of {} became {}", HumanBytes(before as u64), arguments.model.display(), size(&arguments.out)?);
    Ok(())
}

/// The numbers of some rows.
fn numbers(tensor: &GgufTensor<'_>, k: usize, bytes: &[u8]) -> Result<Vec<f32>> {
    let pairs = || bytes.as_chunks::<2>().0.iter().copied();
    Ok(match tensor.tensor_type() {
        Some(GgufTensorType::Plain(ElementType::Float16)) => pairs().map(|b| f16::from_le_bytes(b).to_f32()).collect(),
        Some(GgufTensorType::Plain(ElementType::Bfloat16)) => {
            pairs().map(|b| bf16::from_le_bytes(b).to_f32()).collect()
        }
        Some(GgufTensorType::Quantized(of)) => {
            let rows = bytes.len() / of.bytes([1, 1, k])?;
            gguf::weights(of, [1, rows, k], bytes)?.dequantize()?.values::<f32>()?.to_vec()
        }
        _ => bytes.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
    })
}
