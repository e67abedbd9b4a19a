//! Host tensors to device words and back. Rows are packed little end first, and padded with zeros to whole `vec4<u32>` if the
//! format is narrower than 32 bits. Kernels define their own orders of weights.

use std::borrow::Cow;

use super::memory::Memory;
use super::{Tensor, TensorType};
use crate::error::{Result, require};

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
    borrowed_words(tensor).into_owned()
}

/// As [`words`], not copied where the tensor holds them as they are.
pub(crate) fn borrowed_words(tensor: &Tensor) -> Cow<'_, [u32]> {
    let (row, bits) = (tensor.tensor_type().shape().row_length(), tensor.dtype().bits());
    match tensor.memory() {
        Memory::Bits8(elements) => pack_rows(elements, row, bits).into(),
        Memory::Bits16(elements) => pack_rows(elements, row, bits).into(),
        Memory::Bits32(elements) => elements.into(),
        Memory::Bits64(elements) => elements.as_flattened().into(),
    }
}

/// The tensor of this type with these device words; padding is ignored.
///
/// # Errors
/// If there are fewer words than the type needs.
pub fn tensor(tensor_type: &TensorType, words: &[u32]) -> Result<Tensor> {
    let shape = tensor_type.shape();
    let (rows, row) = (shape.rows(), shape.row_length());
    let needed = rows * tensor_type.dtype().row_words(row);
    require!(
        words.len() >= needed,
        "{tensor_type} takes {needed} words in device memory, but {} were given",
        words.len()
    );
    let (bits, pitch) = (tensor_type.dtype().bits(), tensor_type.dtype().row_words(row));
    if bits >= 32 {
        return Ok(Tensor::from_words(tensor_type.clone(), words[..needed].iter().copied()));
    }
    let lanes = 32 / bits;
    let element = |i| words[i / row * pitch + i % row / lanes] >> (bits * (i % row % lanes));
    Ok(Tensor::from_words(tensor_type.clone(), (0..rows * row).map(element)))
}

/// As [`tensor`], not copied where the tensor holds the words as they are.
pub(crate) fn owned_tensor(tensor_type: &TensorType, words: Vec<u32>) -> Result<Tensor> {
    match tensor_type.dtype().bits() {
        32 if words.len() == tensor_type.shape().elements() => Ok(Tensor::from_elements(tensor_type.clone(), words)),
        _ => tensor(tensor_type, &words),
    }
}

/// The tensor whose elements are these bytes, one after another, little end first, without padding between rows.
pub(crate) fn from_bytes(tensor_type: TensorType, bytes: &[u8]) -> Result<Tensor> {
    let (bits, elements) = (tensor_type.dtype().bits(), tensor_type.shape().elements());
    let needed = (elements * bits).div_ceil(8);
    require!(bytes.len() == needed, "{tensor_type} takes {needed} bytes, but {} were given", bytes.len());
    if bits < 8 {
        let lanes = 8 / bits;
        let element = |i| u32::from(bytes[i / lanes]) >> (bits * (i % lanes));
        return Ok(Tensor::from_words(tensor_type, (0..elements).map(element)));
    }
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |word, &byte| word << 8 | u32::from(byte));
    Ok(Tensor::from_words(tensor_type, bytes.chunks_exact(bits.min(32) / 8).map(word)))
}

/// Rows of the low `bits` bits of each element.
fn pack_rows<T: Copy + Into<u32>>(elements: &[T], row: usize, bits: usize) -> Vec<u32> {
    if row == 0 {
        return Vec::new();
    }
    let (lanes, mask) = (32 / bits, u32::MAX >> (32 - bits));
    let pitch = row.div_ceil(128 / bits) * 4;
    let mut words = vec![0; elements.len() / row * pitch];
    for (elements, words) in elements.chunks_exact(row).zip(words.chunks_exact_mut(pitch)) {
        for (i, &element) in elements.iter().enumerate() {
            words[i / lanes] |= (element.into() & mask) << (bits * (i % lanes));
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numeric::DType;

    /// Row lengths around a word and a vec4 of each width.
    const LENGTHS: [usize; 14] = [0, 1, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65];

    #[test]
    fn rows_of_any_length_come_back_from_the_device_layout() {
        for &format in DType::ALL {
            for length in LENGTHS {
                let tensor_type = TensorType::new(format, [3, length]).unwrap();
                // Every bit pattern except the NaNs of float16, which are not equal to themselves.
                let count = 3 * length as u32 * if format == DType::Parameters { 2 } else { 1 };
                let tensor = Tensor::from_words(tensor_type.clone(), (0..count).map(|i| (i * 0x9e5 + 1) & 0x7bff));
                let packed = words(&tensor);
                assert_eq!(packed.len(), 3 * format.row_words(length), "{tensor_type}");
                assert_eq!(super::tensor(&tensor_type, &packed).unwrap(), tensor, "{tensor_type}");
            }
        }
    }

    #[test]
    fn elements_lie_little_end_first_in_words_and_bytes() {
        let tensor_type = TensorType::new(DType::Int4, [2, 3]).unwrap();
        let tensor = Tensor::from_packed(tensor_type, &[0x21, 0xf3, 0x8e]).unwrap();
        assert_eq!((0..6).map(|i| tensor.code(i)).collect::<Vec<_>>(), [1, 2, 3, -1, -2, -8]);
        assert_eq!(words(&tensor), [0x321, 0, 0, 0, 0x8ef, 0, 0, 0]);
        let tensor_type = TensorType::new(DType::Uint2, [5]).unwrap();
        let tensor = Tensor::from_packed(tensor_type, &[0b11_10_01_00, 0b10]).unwrap();
        assert_eq!((0..5).map(|i| tensor.code(i)).collect::<Vec<_>>(), [0, 1, 2, 3, 2]);
        assert_eq!(words(&tensor), [0b10_11_10_01_00, 0, 0, 0]);
    }
}
