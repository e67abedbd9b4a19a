//! Linear layers of HQQ, as its package saves them. The quantization method doesn't matter here.

use super::{Array, ElementType, FLOATS, Safetensors, build, integers};
use crate::error::{Result, refuse, require};
use crate::weights::{GroupParams, PackedWeights, ScaleFormat, WeightFormat};

/// The arrays of a layer with `n` outputs and `k` inputs, in codes of 1, 2, 3, 4 or 8 bits. W has its n · k numbers in rows
/// of `group` (axis 1) or in `group` rows (axis 0):
///
/// ```text
/// real[i, c] = scale[i] · (code[i, c] − zero[i])          axis 1: i < n · k / group, c < group
/// real[i, c] = scale[c] · (code[i, c] − zero[c])          axis 0: i < group, c < n · k / group
///
/// W_q      u8 [rows / p, columns]     p = 8 / bits codes to a byte, upper bits first: row i is in row i mod (rows / p), place
///                                     i div (rows / p)
///          i32 [⌈rows / 10⌉, columns] 3 bits: ten codes to a word in the same order, the first at bit 27
/// scale    f16, bf16 or f32, a number per group
/// zero     the same
/// ```
///
/// HQQ computes in the type of its scales, f16 or bf16 too. Here a number is an f32 difference and an f32 product. Groups of axis 0
/// share no columns, so each code has a scale of its own: such matrices take 16 positions for each code, and large ones are
/// refused. Quantize with axis 1 for products.
///
/// Source: `hqq/core/quantize.py` and `hqq/core/bitpack.py` in the repository `dropbox/hqq`.
///
/// ```
/// use lowbit::import::hqq::Hqq;
/// use lowbit::import::{Array, ElementType};
/// let codes = Array::new(ElementType::Uint8, [1, 4], &[0x10, 0x32, 0x54, 0x76])?; // two rows
/// let scale: Vec<u8> = [1.0f32, 0.5].iter().flat_map(|x| x.to_le_bytes()).collect();
/// let zero: Vec<u8> = [0.5f32, 1.5].iter().flat_map(|x| x.to_le_bytes()).collect();
/// let number = |bytes| Array::new(ElementType::Float32, [2, 1], bytes);
/// let layer = Hqq::new(codes, number(&scale)?, number(&zero)?, 4, 4, [2, 4]);
/// assert_eq!(layer.weights()?.dequantize()?.values::<f32>()?[..5], [0.5, 2.5, 4.5, 6.5, -0.75]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Hqq<'a> {
    /// The array `W_q`.
    pub codes: Array<'a>,
    /// The array `scale`.
    pub scale: Array<'a>,
    /// The array `zero`.
    pub zero: Array<'a>,
    /// `nbits`.
    pub bits: usize,
    /// `group_size`.
    pub group: usize,
    /// `axis`: 1 (groups along k) or 0.
    pub axis: usize,
    /// `shape`: outputs and inputs.
    pub shape: [usize; 2],
}

impl<'a> Hqq<'a> {
    /// A layer of these arrays with axis 1.
    #[must_use]
    pub fn new(
        codes: Array<'a>,
        scale: Array<'a>,
        zero: Array<'a>,
        bits: usize,
        group: usize,
        shape: [usize; 2],
    ) -> Self {
        Self { codes, scale, zero, bits, group, axis: 1, shape }
    }

    /// This layer with groups along this axis.
    #[must_use]
    pub fn with_axis(mut self, axis: usize) -> Self {
        self.axis = axis;
        self
    }

    /// The arrays of a layer in a file, which has its bits, group size, axis and shape, too.
    ///
    /// # Errors
    /// If an array is missing, or codes are viewed as floats (`view_as_float`), or scales are quantized.
    pub fn read(file: &Safetensors<'a>, layer: &str) -> Result<Self> {
        let number = |name: &str, at: usize| {
            let array = file.array(&format!("{layer}.{name}"))?;
            let types = [ElementType::Uint8, ElementType::Int8, ElementType::Int32, ElementType::Int64];
            array.expect_type(name, &types)?;
            require!(at < array.len(), "{name} has {} numbers, but {} belong there", array.len(), at + 1);
            let number = usize::try_from(array.integer(at));
            require!(number.is_ok(), "{name} is {}, but it counts something: the file is damaged", array.integer(at));
            Ok(number.unwrap_or_default())
        };
        let flag = |name: &str| match file.optional(&format!("{layer}.{name}"))? {
            Some(_) => Ok(number(name, 0)? != 0),
            None => Ok(false),
        };
        for (name, change) in [
            ("view_as_float", "view_as_float=False"),
            ("quant_scale", "quant_scale=False"),
            ("quant_zero", "quant_zero=False"),
        ] {
            require!(!flag(name)?, "\"{layer}\" is saved with {name}, which is not read: quantize it with {change}");
        }
        Ok(Self {
            codes: file.array(&format!("{layer}.W_q"))?,
            scale: file.array(&format!("{layer}.scale"))?,
            zero: file.array(&format!("{layer}.zero"))?,
            bits: number("nbits", 0)?,
            group: number("group_size", 0)?,
            axis: number("axis", 0)?,
            shape: [number("shape", 0)?, number("shape", 1)?],
        })
    }

    /// The packed matrix `[n, k]`, with the codes, scales and zero points of the layer. Scales and zero points become f32.
    ///
    /// # Errors
    /// If the shapes or types of the arrays don't fit each other or the description, k is no multiple of the group (axis 1), n no
    /// multiple of it (axis 0), a number is not finite, or there is not enough memory.
    pub fn weights(&self) -> Result<PackedWeights> {
        let &Self { ref codes, ref scale, ref zero, bits, group, axis, shape: [n, k] } = self;
        let (per_word, of) = match bits {
            1 | 2 | 4 | 8 => (8 / bits, ElementType::Uint8),
            3 => (10, ElementType::Int32),
            _ => refuse!("{bits} bits: HQQ has 1, 2, 3, 4 or 8"),
        };
        require!(axis < 2, "axis {axis}: HQQ has 0 and 1");
        let along = if axis == 1 { k } else { n };
        require!(
            group > 0 && along % group == 0,
            "groups of {group} along axis {axis} of [{n}, {k}]: {along} must be a multiple of the group"
        );
        let count = n.checked_mul(k);
        require!(count.is_some(), "[{n}, {k}] has more numbers than can be addressed");
        let groups = count.unwrap_or_default() / group;
        let [rows, columns] = if axis == 1 { [groups, group] } else { [group, groups] };
        let packed_rows = rows.div_ceil(per_word);
        require!(
            bits == 3 || rows % per_word == 0,
            "{rows} rows of codes don't fill bytes of {per_word}: the description is of another layer"
        );
        codes.expect_type("W_q", &[of])?;
        codes.expect_shape("W_q", &[packed_rows, columns])?;
        for (name, array) in [("scale", scale), ("zero", zero)] {
            array.expect_type(name, &FLOATS)?;
            require!(
                array.len() == groups,
                "{name} has {} numbers, but groups of {group} of [{n}, {k}] make it {groups}: give the arrays of one layer",
                array.len()
            );
        }
        let (half, mask) = (1i32 << (bits - 1), (1u32 << bits) - 1);
        let code = |flat: usize| {
            let (row, column) = (flat / columns, flat % columns);
            let at = row % packed_rows * columns + column;
            let word = if bits == 3 { codes.word(at) } else { codes.bytes()[at].into() };
            let place = per_word - 1 - row / packed_rows;
            ((word >> (place * bits) & mask) as i32 - half) as i8
        };
        // One bit is in codes of two, whose bias is 2: the zero point is shifted by the difference.
        let shifted = if bits == 1 { 1 } else { 0 };
        let size = if axis == 1 { group } else { 1 };
        let format = WeightFormat::new(integers(bits, true)?, size, ScaleFormat::F32RealZero);
        let input = codes.bytes().len() + scale.bytes().len() + zero.bytes().len();
        build(input, format, [1, n, k], |row, out, params, _| {
            for (l, at) in out.iter_mut().enumerate() {
                *at = code(row * k + l) - shifted;
            }
            for (g, group) in params.iter_mut().enumerate() {
                let at = if axis == 1 { row * (k / size) + g } else { (row * k + g) % groups };
                *group = GroupParams::new(scale.float(at), zero.float(at));
            }
            Ok(())
        })
    }
}
