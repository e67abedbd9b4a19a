//! The set's operators on GGUF blocks, in terms of `lowbit::import::gguf`. Quantizing always runs on the CPU. Dequantizing is an
//! `Embedding` of all rows.

use lowbit::import::gguf::{self, GgufType};
use lowbit::ops::Embedding;
use lowbit::{DType, Tensor, TensorType};

use crate::Result;
use crate::array::{Array, Elements, packed};
use crate::case::Case;
use crate::device::Device;

fn gguf_type(case: &Case) -> Result<GgufType> {
    let name: String = case.attribute("format")?.ok_or("the case names no format")?;
    Ok(GgufType::from_name(&name).ok_or_else(|| format!("the GGUF type {name} is not implemented"))?)
}

/// Number of rows, and the length of a row.
fn matrix(array: &Array) -> Result<[usize; 2]> {
    Ok(<[usize; 2]>::try_from(&array.shape[..]).map_err(|_| format!("{:?} is no matrix", array.shape))?)
}

fn real_numbers(gguf_type: GgufType, [rows, k]: [usize; 2], blocks: &[u8]) -> Result<Array> {
    Array::of(&gguf::weights(gguf_type, [1, rows, k], blocks)?.dequantize()?)
}

/// Quantizes numbers to blocks, and dequantizes the blocks.
pub(crate) fn quantize(case: &Case) -> Result<Vec<Array>> {
    let (gguf_type, x) = (gguf_type(case)?, case.input(0)?);
    let [rows, k] = matrix(x)?;
    let blocks = gguf::quantize(gguf_type, &x.floats()?)?;
    let y = real_numbers(gguf_type, [rows, k], &blocks)?;
    let shape = vec![rows, k / gguf_type.block() * gguf_type.block_bytes()];
    Ok(vec![Array { shape, elements: Elements::bytes(&blocks) }, y])
}

/// Dequantizes blocks: all rows, gathered in order.
pub(crate) fn dequantize(case: &Case, device: &Device) -> Result<Tensor> {
    let (gguf_type, blocks) = (gguf_type(case)?, case.input(0)?);
    let [rows, bytes] = matrix(blocks)?;
    let Elements::Codes { dtype: DType::Uint8, codes, .. } = &blocks.elements else {
        return Err("blocks are u8".into());
    };
    let blocks = packed(DType::Uint8, codes);
    let k = bytes / gguf_type.block_bytes() * gguf_type.block();
    let weights = gguf::weights(gguf_type, [1, rows, k], &blocks)?;
    let all = Tensor::new([rows], (0..rows as i32).collect::<Vec<_>>())?;
    Ok(device.run(Embedding::new(TensorType::int32([rows])?, weights).build()?, &[&all])?.remove(0))
}
