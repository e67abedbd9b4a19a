//! Weights of Quanto (`optimum.quanto`), as its modules save them. The quantization method doesn't matter here.

use super::float8::Float8;
use super::{
    Array, ElementType, FLOATS, Safetensors, build, integers, plain_scales, scales_with_offsets, scales_with_zeros,
};
use crate::error::{Result, refuse, require};
use crate::weights::{Codes, GroupParams, PackedWeights, WeightFormat};

/// The arrays of a weight `[n, k]`, quantized along its first axis:
///
/// ```text
/// qint2, qint4   real[j, l] = scale[g] · code[j, l] − shift[g]      g = (j · k + l) / group; shift of integers: scale · (code − shift)
/// qint8          real[j, l] = scale[j] · data[j, l]
/// qfloat8        the same
///
/// data    u8 [⌈rows / p⌉, columns]   qint2, qint4: the n · k codes in rows of a group; p = 8 / bits codes to a byte, lower bits
///                                    first: row i is in row i mod ⌈rows / p⌉, place i div ⌈rows / p⌉
///         i8, F8_E4M3 or F8_E5M2 [n, k]
/// scale   f16, bf16 or f32, a number per group or row; qint8, qfloat8: or 1 number
/// shift   the same (a product of scale and zero point), or u8 or i8 (a zero point); qint2 and qint4 only
/// ```
///
/// Quanto computes in the type of its scales, f16 or bf16 too. Here a number is an f32 product and an f32 difference.
///
/// Source: `optimum/quanto/tensor` in the repository `huggingface/optimum-quanto`.
///
/// ```
/// use lowbit::import::quanto::Quanto;
/// use lowbit::import::{Array, ElementType};
/// let data = Array::new(ElementType::Uint8, [1, 4], &[0x10, 0x32, 0x54, 0x76])?; // rows 0 2 4 6 and 1 3 5 7
/// let numbers: Vec<u8> = [1.0f32, 0.5].iter().flat_map(|x| x.to_le_bytes()).collect();
/// let number = || Array::new(ElementType::Float32, [2, 1], &numbers);
/// let weight = Quanto::new(data, number()?, [2, 4]).with_shift(number()?);
/// assert_eq!(weight.weights()?.dequantize()?.values::<f32>()?, [-1.0, 1.0, 3.0, 5.0, 0.0, 1.0, 2.0, 3.0]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Quanto<'a> {
    /// The array `_data`.
    pub data: Array<'a>,
    /// The array `_scale`.
    pub scale: Array<'a>,
    /// The array `_shift` of qint2 and qint4.
    pub shift: Option<Array<'a>>,
    /// Outputs and inputs of the layer, which the file does not have.
    pub shape: [usize; 2],
}

impl<'a> Quanto<'a> {
    /// A weight of qint8 or qfloat8.
    #[must_use]
    pub fn new(data: Array<'a>, scale: Array<'a>, shape: [usize; 2]) -> Self {
        Self { data, scale, shift: None, shape }
    }

    /// This weight with the array `_shift`: qint2 or qint4.
    #[must_use]
    pub fn with_shift(mut self, shift: impl Into<Option<Array<'a>>>) -> Self {
        self.shift = shift.into();
        self
    }

    /// The arrays of a layer of `shape` (outputs, inputs) in a file.
    ///
    /// # Errors
    /// If an array is missing.
    pub fn read(file: &Safetensors<'a>, layer: &str, shape: [usize; 2]) -> Result<Self> {
        let data = match file.optional(&format!("{layer}.weight._data._data"))? {
            Some(packed) => packed,
            None => file.array(&format!("{layer}.weight._data"))?,
        };
        Ok(Self {
            data,
            scale: file.array(&format!("{layer}.weight._scale"))?,
            shift: file.optional(&format!("{layer}.weight._shift"))?,
            shape,
        })
    }

    /// The packed matrix `[n, k]`, with the codes and scales of the arrays. f16 stays f16, bf16 becomes f32. The number of bits
    /// follows from the sizes of the arrays.
    ///
    /// # Errors
    /// If the shapes or types of the arrays don't fit each other or `shape`, a number is not finite, or there is not enough memory.
    pub fn weights(&self) -> Result<PackedWeights> {
        let &Self { ref data, ref scale, ref shift, shape: [n, k] } = self;
        scale.expect_type("_scale", &FLOATS)?;
        if let Some(shift) = shift {
            return self.packed(shift);
        }
        data.expect_shape("_data", &[n, k])?;
        match data.element_type() {
            ElementType::Float8E4M3 | ElementType::Float8E5M2 => Float8::new(data.clone(), scale.clone()).weights(),
            ElementType::Int8 => {
                let count = scale.len();
                require!(
                    count == 1 || count == n,
                    "_scale has {count} numbers, but 1 or {n}, one per row, were expected"
                );
                let format = WeightFormat::new(Codes::INT8, usize::MAX, plain_scales(scale.element_type()));
                build(data.bytes().len() + scale.bytes().len(), format, [1, n, k], |row, codes, groups, _| {
                    codes.iter_mut().zip(&data.bytes()[row * k..]).for_each(|(code, &byte)| *code = byte as i8);
                    groups.fill(GroupParams::scale(scale.float(if count == 1 { 0 } else { row })));
                    Ok(())
                })
            }
            other => refuse!("_data holds {other:?} without a shift, but must hold Int8, Float8E4M3 or Float8E5M2"),
        }
    }

    fn packed(&self, shift: &Array<'a>) -> Result<PackedWeights> {
        let &Self { ref data, ref scale, shape: [n, k], .. } = self;
        data.expect_type("_data", &[ElementType::Uint8])?;
        let [packed_rows, columns] = data.matrix("_data")?;
        let rows = scale.len();
        require!(
            rows > 0 && columns > 0 && rows.checked_mul(columns) == n.checked_mul(k) && k % columns == 0,
            "there are {rows} scales for rows of {columns} codes, but the layer is [{n}, {k}]: give its outputs and inputs"
        );
        let bits = [4, 2].into_iter().find(|bits| rows.div_ceil(8 / bits) == packed_rows);
        let Some(bits) = bits else {
            refuse!("_data has {packed_rows} rows, but {rows} rows of codes take half or a quarter as many");
        };
        let numbers = [FLOATS.as_slice(), &[ElementType::Int8, ElementType::Uint8]].concat();
        shift.expect_type("_shift", &numbers)?;
        require!(
            shift.len() == rows,
            "_shift has {} numbers and _scale {rows}: give the arrays of one layer",
            shift.len()
        );
        let (half, mask) = (1i32 << (bits - 1), (1u8 << bits) - 1);
        let offsets = shift.element_type().is_float();
        let zero = |at: usize| shift.integer(at) - i64::from(half);
        let (codes, kind) = if offsets {
            (integers(bits, true)?, scales_with_offsets([scale.element_type(), shift.element_type()]))
        } else {
            (integers(bits, false)?, scales_with_zeros(scale.element_type(), (0..rows).map(zero)))
        };
        let input = data.bytes().len() + scale.bytes().len() + shift.bytes().len();
        build(input, WeightFormat::new(codes, columns, kind), [1, n, k], |row, codes, groups, _| {
            for (l, code) in codes.iter_mut().enumerate() {
                let (line, column) = ((row * k + l) / columns, l % columns);
                let byte = data.bytes()[line % packed_rows * columns + column];
                *code = (i32::from(byte >> (line / packed_rows * bits) & mask) - half) as i8;
            }
            for (g, group) in groups.iter_mut().enumerate() {
                let at = row * (k / columns) + g;
                let shift = if offsets { -shift.float(at) } else { zero(at) as f32 };
                *group = GroupParams::new(scale.float(at), shift);
            }
            Ok(())
        })
    }
}
