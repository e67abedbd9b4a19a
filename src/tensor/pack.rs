//! Host tensors to device words and back. Rows are packed little end first, and padded with zeros to whole `vec4<u32>` if the
//! format is narrower than 32 bits. Kernels define their own orders of weights.

use crate::error::{Result, require};
use crate::numeric::{DType, E2M1, E2M3, E3M2, E4M3FN, E4M3FNUZ, E5M2, E5M2FNUZ, E8M0, I2, I4, U2, U4};
use crate::tensor::{Element, Tensor, TensorType, Values};
use half::f16;

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
        Values::Int2(v) => pack_rows(v, row, 2, |&x| x.to_bits()),
        Values::Uint2(v) => pack_rows(v, row, 2, |&x| x.to_bits()),
        Values::Int4(v) => pack_rows(v, row, 4, |&x| x.to_bits()),
        Values::Uint4(v) => pack_rows(v, row, 4, |&x| x.to_bits()),
        Values::Int8(v) => pack_rows(v, row, 8, |&x| u32::from(x as u8)),
        Values::Uint8(v) => pack_rows(v, row, 8, |&x| u32::from(x)),
        Values::Int16(v) => pack_rows(v, row, 16, |&x| u32::from(x as u16)),
        Values::Uint16(v) => pack_rows(v, row, 16, |&x| u32::from(x)),
        Values::Int32(v) => v.iter().map(|&x| x as u32).collect(),
        Values::Float4E2M1(v) => pack_rows(v, row, 4, |&x| x.to_bits().into()),
        Values::Float6E2M3(v) => pack_rows(v, row, 8, |&x| x.to_bits().into()),
        Values::Float6E3M2(v) => pack_rows(v, row, 8, |&x| x.to_bits().into()),
        Values::Float8E4M3Fn(v) => pack_rows(v, row, 8, |&x| x.to_bits().into()),
        Values::Float8E4M3Fnuz(v) => pack_rows(v, row, 8, |&x| x.to_bits().into()),
        Values::Float8E5M2(v) => pack_rows(v, row, 8, |&x| x.to_bits().into()),
        Values::Float8E5M2Fnuz(v) => pack_rows(v, row, 8, |&x| x.to_bits().into()),
        Values::Float8E8M0(v) => pack_rows(v, row, 8, |&x| x.to_bits().into()),
        Values::Float16(v) => pack_rows(v, row, 16, |&x| u32::from(x.to_bits())),
        Values::Float32(v) => v.iter().map(|x| x.to_bits()).collect(),
        Values::Parameters(v) => v.iter().flat_map(|&(scale, zero)| [scale.to_bits(), zero as u32]).collect(),
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
        return from_elements(tensor_type, words[..needed].iter().copied());
    }
    let lanes = 32 / bits;
    let element = |i| words[i / row * pitch + i % row / lanes] >> (bits * (i % row % lanes));
    from_elements(tensor_type, (0..rows * row).map(element))
}

/// The tensor whose elements are these bytes, one after another, little end first, without padding between rows.
pub(crate) fn from_bytes(tensor_type: TensorType, bytes: &[u8]) -> Result<Tensor> {
    let (bits, elements) = (tensor_type.dtype().bits(), tensor_type.shape().elements());
    let needed = (elements * bits).div_ceil(8);
    require!(bytes.len() == needed, "{tensor_type} takes {needed} bytes, but {} were given", bytes.len());
    if bits < 8 {
        let lanes = 8 / bits;
        let element = |i| u32::from(bytes[i / lanes]) >> (bits * (i % lanes));
        return from_elements(&tensor_type, (0..elements).map(element));
    }
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |word, &byte| word << 8 | u32::from(byte));
    from_elements(&tensor_type, bytes.chunks_exact(bits.min(32) / 8).map(word))
}

/// The tensor of elements in the low bits of these words; parameters take two words each.
fn from_elements(tensor_type: &TensorType, words: impl Iterator<Item = u32>) -> Result<Tensor> {
    fn plain<T: Element>(tensor_type: &TensorType, values: Vec<T>) -> Result<Tensor> {
        Tensor::new(tensor_type.dims(), values)
    }
    let plain = match tensor_type.dtype() {
        DType::Int2 => plain(tensor_type, words.map(I2::from_bits).collect()),
        DType::Uint2 => plain(tensor_type, words.map(U2::from_bits).collect()),
        DType::Int4 => plain(tensor_type, words.map(I4::from_bits).collect()),
        DType::Uint4 => plain(tensor_type, words.map(U4::from_bits).collect()),
        DType::Int8 => plain(tensor_type, words.map(|w| w as i8).collect()),
        DType::Uint8 => plain(tensor_type, words.map(|w| w as u8).collect()),
        DType::Int16 => plain(tensor_type, words.map(|w| w as i16).collect()),
        DType::Uint16 => plain(tensor_type, words.map(|w| w as u16).collect()),
        DType::Int32 => plain(tensor_type, words.map(|w| w as i32).collect()),
        DType::Float4E2M1 => plain(tensor_type, words.map(|w| E2M1::from_bits(w as u8)).collect()),
        DType::Float6E2M3 => plain(tensor_type, words.map(|w| E2M3::from_bits(w as u8)).collect()),
        DType::Float6E3M2 => plain(tensor_type, words.map(|w| E3M2::from_bits(w as u8)).collect()),
        DType::Float8E4M3Fn => plain(tensor_type, words.map(|w| E4M3FN::from_bits(w as u8)).collect()),
        DType::Float8E4M3Fnuz => plain(tensor_type, words.map(|w| E4M3FNUZ::from_bits(w as u8)).collect()),
        DType::Float8E5M2 => plain(tensor_type, words.map(|w| E5M2::from_bits(w as u8)).collect()),
        DType::Float8E5M2Fnuz => plain(tensor_type, words.map(|w| E5M2FNUZ::from_bits(w as u8)).collect()),
        DType::Float8E8M0 => plain(tensor_type, words.map(|w| E8M0::from_bits(w as u8)).collect()),
        DType::Float16 => plain(tensor_type, words.map(|w| f16::from_bits(w as u16)).collect()),
        DType::Float32 => plain(tensor_type, words.map(f32::from_bits).collect()),
        DType::Parameters => {
            let words: Vec<u32> = words.collect();
            plain(tensor_type, words.chunks_exact(2).map(|w| (f32::from_bits(w[0]), w[1] as i32)).collect())
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

#[cfg(test)]
mod tests {
    use super::*;

    const NARROW: [DType; 17] = [
        DType::Int2,
        DType::Uint2,
        DType::Int4,
        DType::Uint4,
        DType::Int8,
        DType::Uint8,
        DType::Int16,
        DType::Uint16,
        DType::Float4E2M1,
        DType::Float6E2M3,
        DType::Float6E3M2,
        DType::Float8E4M3Fn,
        DType::Float8E4M3Fnuz,
        DType::Float8E5M2,
        DType::Float8E5M2Fnuz,
        DType::Float8E8M0,
        DType::Float16,
    ];

    /// Row lengths around a word and a vec4 of each width.
    const LENGTHS: [usize; 14] = [0, 1, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65];

    #[test]
    fn rows_of_any_length_come_back_from_the_device_layout() {
        for format in NARROW {
            for length in LENGTHS {
                let tensor_type = TensorType::new(format, [3, length]).unwrap();
                // Every bit pattern except the NaNs of float16, which are not equal to themselves.
                let bits = (0..3 * length as u32).map(|i| (i * 0x9e5 + 1) & 0x7bff);
                let tensor = from_elements(&tensor_type, bits).unwrap();
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
