//! Host tensors to device words and back: rows packed little end first, padded with zeros to whole `vec4<u32>` where the
//! format is narrower than 32 bits. The orders that kernels want for weights live with the kernels.

use crate::error::{Result, require};
use crate::numeric::Format;
use crate::tensor::Values;
use crate::tensor::{Element, Tensor, TensorType};

/// The words of a tensor in device memory.
///
/// ```
/// use lowbit::{Tensor, pack};
/// let tensor = Tensor::new([2, 5], vec![1i8, 2, 3, 4, -1, 6, 7, 8, 9, 10])?;
/// assert_eq!(pack::words(&tensor), [0x0403_0201, 0xff, 0, 0, 0x0908_0706, 0x0a, 0, 0]);
/// assert_eq!(pack::tensor(tensor.tensor_type(), &pack::words(&tensor))?, tensor);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[must_use]
pub fn words(tensor: &Tensor) -> Vec<u32> {
    let row = tensor.tensor_type().shape().row_length();
    match tensor.raw() {
        Values::Int8(v) => pack_rows(v, row, 8, |&x| u32::from(x as u8)),
        Values::Uint8(v) => pack_rows(v, row, 8, |&x| u32::from(x)),
        Values::Int16(v) => pack_rows(v, row, 16, |&x| u32::from(x as u16)),
        Values::Uint16(v) => pack_rows(v, row, 16, |&x| u32::from(x)),
        Values::Int32(v) => v.iter().map(|&x| x as u32).collect(),
        Values::Float32(v) => v.iter().map(|x| x.to_bits()).collect(),
        Values::Parameters(v) => v.iter().flat_map(|&(scale, zero)| [scale.to_bits(), zero as u32]).collect(),
    }
}

/// The tensor of this type whose device words these are; padding is ignored.
///
/// # Errors
/// If there are fewer words than the type needs.
pub fn tensor(tensor_type: &TensorType, words: &[u32]) -> Result<Tensor> {
    let shape = tensor_type.shape();
    let (rows, row) = (shape.rows(), shape.row_length());
    let needed = rows * tensor_type.format().row_words(row);
    require!(
        words.len() >= needed,
        "{tensor_type} takes {needed} words in device memory, but {} were given",
        words.len()
    );
    let words = &words[..needed];
    let narrow = |bits: usize| {
        let lanes = 32 / bits;
        let pitch = tensor_type.format().row_words(row);
        (0..rows * row).map(move |i| {
            let (r, c) = (i / row, i % row);
            words[r * pitch + c / lanes] >> (bits * (c % lanes))
        })
    };
    let dimensions = tensor_type.dimensions();
    fn plain<T: Element>(dimensions: &[usize], values: Vec<T>) -> Result<Tensor> {
        Tensor::new(dimensions, values)
    }
    let plain = match tensor_type.format() {
        Format::Int8 => plain(dimensions, narrow(8).map(|w| w as i8).collect()),
        Format::Uint8 => plain(dimensions, narrow(8).map(|w| w as u8).collect()),
        Format::Int16 => plain(dimensions, narrow(16).map(|w| w as i16).collect()),
        Format::Uint16 => plain(dimensions, narrow(16).map(|w| w as u16).collect()),
        Format::Int32 => plain(dimensions, words.iter().map(|&w| w as i32).collect()),
        Format::Float32 => plain(dimensions, words.iter().map(|&w| f32::from_bits(w)).collect()),
        Format::Parameters => {
            plain(dimensions, words.chunks_exact(2).map(|w| (f32::from_bits(w[0]), w[1] as i32)).collect())
        }
    }?;
    Ok(plain.with_type(tensor_type.clone()))
}

fn pack_rows<T>(values: &[T], row: usize, bits: usize, bits_of: impl Fn(&T) -> u32) -> Vec<u32> {
    if row == 0 {
        return Vec::new();
    }
    let lanes = 32 / bits;
    let pitch = row.div_ceil(128 / bits) * 4;
    let mut words = vec![0; values.len() / row * pitch];
    for (values, words) in values.chunks_exact(row).zip(words.chunks_exact_mut(pitch)) {
        for (i, value) in values.iter().enumerate() {
            words[i / lanes] |= bits_of(value) << (bits * (i % lanes));
        }
    }
    words
}
