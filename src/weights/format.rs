//! Storage formats of weights: the width of codes, the size of groups, and the formats of scales and offsets. The layout of bits is
//! in `layout`.

use std::fmt;

use super::PackedWeights;
use crate::error::{Result, refuse, require};
use crate::numeric::{BlockFormat, BlockScales, DType, Encoding, Minifloat};
use crate::tensor::{Granularity, Tensor};
use half::f16;

/// The codes of a weight matrix: integers of 2 to 8 bits, floats of at most 8 bits, or places in a table of 4, 8 or 16 numbers.
///
/// Unsigned codes are for formats whose offset or real zero point would not be exact for signed codes (`d · q + m` in f16). For all
/// other formats, subtract half the range from codes and zero points. Unsigned codes are passed to [`PackedWeights::build`] and
/// stored minus half their range.
///
/// ```
/// use lowbit::{DType, weights::Codes};
/// assert_eq!(Codes::INT3.range(), (-4, 3));
/// assert_eq!(Codes::of_float(DType::Float6E3M2).map(Codes::bits), Some(6));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Codes(CodeKind);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum CodeKind {
    Int(u8),
    Uint(u8),
    /// A [minifloat](DType::is_minifloat).
    Float(DType),
    Table(Table),
}

/// The numbers of codes that are places in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Table {
    /// Bits of a place: 2 to 4.
    bits: u8,
    /// f32 bits; 0 beyond the last place.
    numbers: [u32; 16],
}

impl Table {
    /// `values` are 4, 8 or 16 finite numbers.
    const fn new(values: &[f32]) -> Self {
        let mut numbers = [0; 16];
        let mut place = 0;
        while place < values.len() {
            numbers[place] = values[place].to_bits();
            place += 1;
        }
        Self { bits: values.len().trailing_zeros() as u8, numbers }
    }

    const fn numbers(&self) -> [f32; 16] {
        let mut numbers = [0.0; 16];
        let mut place = 0;
        while place < 16 {
            numbers[place] = f32::from_bits(self.numbers[place]);
            place += 1;
        }
        numbers
    }

    /// The numbers in units of 2^−shift as int8, for the least shift of 0 to 7 that makes integers of them.
    const fn integers(&self) -> Option<([i8; 16], u32)> {
        let numbers = self.numbers();
        let mut shift = 0;
        while shift < 8 {
            let mut integers = [0; 16];
            let mut place = 0;
            while place < 16 {
                let scaled = numbers[place] * (1u32 << shift) as f32;
                integers[place] = scaled as i8;
                if integers[place] as f32 != scaled {
                    break;
                }
                place += 1;
            }
            if place == 16 {
                return Some((integers, shift));
            }
            shift += 1;
        }
        None
    }
}

impl Codes {
    /// −2 … 1
    pub const INT2: Self = Self(CodeKind::Int(2));
    /// −4 … 3
    pub const INT3: Self = Self(CodeKind::Int(3));
    /// −8 … 7
    pub const INT4: Self = Self(CodeKind::Int(4));
    /// −16 … 15
    pub const INT5: Self = Self(CodeKind::Int(5));
    /// −32 … 31
    pub const INT6: Self = Self(CodeKind::Int(6));
    /// −128 … 127
    pub const INT8: Self = Self(CodeKind::Int(8));
    /// 0 … 3
    pub const UINT2: Self = Self(CodeKind::Uint(2));
    /// 0 … 7
    pub const UINT3: Self = Self(CodeKind::Uint(3));
    /// 0 … 15
    pub const UINT4: Self = Self(CodeKind::Uint(4));
    /// 0 … 31
    pub const UINT5: Self = Self(CodeKind::Uint(5));
    /// 0 … 63
    pub const UINT6: Self = Self(CodeKind::Uint(6));
    /// 0 … 255
    pub const UINT8: Self = Self(CodeKind::Uint(8));

    /// The 16 values of IQ4_NL.
    pub const IQ4_NL: Self = Self::of_table([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113]);

    /// The 16 values of FP4 (E2M1), doubled to make them integers: halve the scale.
    pub const E2M1_DOUBLED: Self = Self::of_table([0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12]);

    /// The 16 numbers of bitsandbytes' NF4: quantiles of the normal distribution, from −1 to 1 (QLoRA, arXiv 2305.14314,
    /// appendix E). For float activations.
    pub const NF4: Self = Self::of_f32s(&[
        -1.0,
        -0.696_192_8,
        -0.525_073_05,
        -0.394_917_5,
        -0.284_441_38,
        -0.184_773_43,
        -0.091_050_036,
        0.0,
        0.079_580_3,
        0.160_930_2,
        0.246_112_3,
        0.337_915_24,
        0.440_709_83,
        0.562_617,
        0.722_956_84,
        1.0,
    ]);

    /// The 16 numbers of bitsandbytes' FP4, −1 to 1: twelfths of 0, 1/16, 2, 3, 4, 6, 8 and 12. For float activations.
    pub const FP4_BNB: Self = Self::of_f32s(&[
        0.0,
        0.005_208_333_4,
        0.666_666_7,
        1.0,
        0.333_333_34,
        0.5,
        0.166_666_67,
        0.25,
        0.0,
        -0.005_208_333_4,
        -0.666_666_7,
        -1.0,
        -0.333_333_34,
        -0.5,
        -0.166_666_67,
        -0.25,
    ]);

    /// The narrowest signed integers of at least this many bits, up to 8.
    pub(crate) const fn int(bits: u32) -> Self {
        match bits {
            ..=2 => Self::INT2,
            7.. => Self::INT8,
            bits => Self(CodeKind::Int(bits as u8)),
        }
    }

    /// The finite numbers of a float; `None` if the data type is not a [minifloat](DType::is_minifloat).
    ///
    /// E2M1 is multiplied as integers in halves, and E2M3 as integers in eighths. The others are for float activations only,
    /// because int8 doesn't hold them.
    #[must_use]
    pub const fn of_float(dtype: DType) -> Option<Self> {
        if dtype.is_minifloat() { Some(Self(CodeKind::Float(dtype))) } else { None }
    }

    /// 4-bit places in a table of 16 integers, which are the factors of products: IQ4_NL, and FP4 in halves.
    #[must_use]
    pub const fn of_table(values: [i8; 16]) -> Self {
        let mut numbers = [0.0; 16];
        let mut place = 0;
        while place < 16 {
            numbers[place] = values[place] as f32;
            place += 1;
        }
        Self::of_f32s(&numbers)
    }

    /// 2-, 3- or 4-bit places in a table of 4, 8 or 16 numbers. Each number counts exactly.
    ///
    /// If all numbers are multiples of a power of two, 1 to 2⁻⁷, that fit int8, they are multiplied as integers. Other tables are for
    /// float activations only.
    ///
    /// ```
    /// use lowbit::weights::Codes;
    /// let codes = Codes::of_numbers(&[-1.125, -0.125, 0.125, 1.125])?;      // integers in eighths
    /// assert_eq!((codes.bits(), codes.range()), (2, (0, 3)));
    /// assert_eq!(codes.table().map(|table| table[3]), Some(1.125));
    /// assert!(Codes::of_numbers(&[0.0, 0.3, 1.0]).is_err());
    /// # Ok::<(), lowbit::Error>(())
    /// ```
    ///
    /// # Errors
    /// If there are not 4, 8 or 16 numbers, or one is infinite, NaN or below 2⁻¹²⁶, which devices may take for 0.
    pub fn of_numbers(numbers: &[f32]) -> Result<Self> {
        require!(
            matches!(numbers.len(), 4 | 8 | 16),
            "a table of {} numbers was given, but codes are places in one of 4, 8 or 16: repeat a number in unused places",
            numbers.len()
        );
        let odd = numbers.iter().position(|x| !(x.is_normal() || *x == 0.0));
        require!(
            odd.is_none(),
            "number {} of the table is {:e}, but weights are finite, and 0 or at least 2^-126: leave out what is none, or multiply \
             all by a constant",
            odd.unwrap_or_default(),
            numbers[odd.unwrap_or_default()]
        );
        Ok(Self::of_f32s(numbers))
    }

    /// As [`of_numbers`](Self::of_numbers), of numbers that it takes.
    pub(crate) const fn of_f32s(numbers: &[f32]) -> Self {
        Self(CodeKind::Table(Table::new(numbers)))
    }

    /// Bits of one code.
    #[must_use]
    pub const fn bits(self) -> usize {
        match (self.0, self.layout()) {
            (_, Some(layout)) => layout.width as usize,
            (CodeKind::Int(bits) | CodeKind::Uint(bits), _) => bits as usize,
            (CodeKind::Float(dtype), _) => dtype.bits(),
            (CodeKind::Table(table), _) => table.bits as usize,
        }
    }

    /// The number added to a stored code to get the code: half the range for unsigned codes, else 0.
    #[must_use]
    pub const fn bias(self) -> i16 {
        match self.0 {
            CodeKind::Uint(bits) => 1 << (bits - 1),
            CodeKind::Int(_) | CodeKind::Float(_) | CodeKind::Table(_) => 0,
        }
    }

    /// The data type of floats; `None` for all other codes.
    #[must_use]
    pub const fn float(self) -> Option<DType> {
        if let CodeKind::Float(dtype) = self.0 { Some(dtype) } else { None }
    }

    /// The numbers of a table, and 0 beyond its 4, 8 or 16 places; `None` for all other codes.
    #[must_use]
    pub const fn table(self) -> Option<[f32; 16]> {
        if let CodeKind::Table(table) = self.0 { Some(table.numbers()) } else { None }
    }

    /// The numbers of a table as int8 in units of 2^−shift, and the shift; `None` if int8 doesn't hold them, and for all other codes.
    pub(crate) const fn table_integers(self) -> Option<([i8; 16], u32)> {
        if let CodeKind::Table(table) = self.0 { table.integers() } else { None }
    }

    /// The layout of floats; `None` for all other codes.
    pub(crate) const fn layout(self) -> Option<Minifloat> {
        if let CodeKind::Float(dtype) = self.0 { Minifloat::of(dtype) } else { None }
    }

    /// True if kernels multiply 8-bit integers.
    pub(crate) const fn are_integers(self) -> bool {
        match (self.0, self.layout()) {
            (CodeKind::Table(table), _) => table.integers().is_some(),
            (_, Some(layout)) => layout.fits_int8(),
            (_, None) => true,
        }
    }

    /// True if codes are integers that are their own values, so that they may have zero points and offsets.
    pub(crate) const fn are_plain(self) -> bool {
        match self.0 {
            CodeKind::Int(_) | CodeKind::Uint(_) => true,
            CodeKind::Float(_) => false,
            CodeKind::Table(table) => matches!(table.integers(), Some((_, 0))),
        }
    }

    /// The least and greatest stored code: indices of a table from 0, integers minus the [bias](Self::bias), the bits of floats as
    /// signed integers.
    #[must_use]
    pub const fn range(self) -> (i8, i8) {
        match self.0 {
            CodeKind::Table(table) => (0, (1 << table.bits) - 1),
            CodeKind::Int(_) | CodeKind::Uint(_) | CodeKind::Float(_) => {
                (i8::MIN >> (8 - self.bits()), i8::MAX >> (8 - self.bits()))
            }
        }
    }

    /// The stored code: the bits of a float as a signed integer.
    pub(crate) const fn stored(self, code: i32) -> i8 {
        let unused = if self.float().is_some() { 8 - self.bits() } else { 0 };
        ((code as u8) << unused) as i8 >> unused
    }

    /// The number that a stored code represents.
    pub(crate) fn value(self, code: i8) -> f32 {
        match (self.0, self.layout()) {
            (CodeKind::Table(table), _) => f32::from_bits(table.numbers[(code & 15) as usize]),
            (_, Some(layout)) => layout.decode(u32::from(code as u8) & ((1 << layout.width) - 1)),
            (_, None) => f32::from(i16::from(code) + self.bias()),
        }
    }
}

/// The term added to the product of code and scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OffsetKind {
    /// Nothing: `scale · code`.
    None,
    /// A zero point: `scale · (code − zero)`.
    ZeroPoint,
    /// A real offset (often called minimum): `scale · code + offset`.
    Offset,
}

/// The storage formats of scales and offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ScaleFormat {
    /// An f32 scale per group.
    F32,
    /// An f16 scale per group.
    F16,
    /// A power of two per group, 2⁻¹²⁷ … 2¹²⁷, in 8 bits (OCP MX).
    E8M0,
    /// f32 scale, and a zero point −128 … 127.
    F32Zero,
    /// f16 scale, and a zero point −128 … 127.
    F16Zero,
    /// f32 scale, and a real zero point in f32 (HQQ).
    F32RealZero,
    /// f32 scale and offset.
    F32Offset,
    /// f16 scale and offset.
    F16Offset,
    /// `super · group`: an f16 scale per this number of groups, times an integer −128 … 127 per group (Q6_K).
    Nested(usize),
    /// `super · group` twice: an f16 scale and an f16 offset per this number of groups, each times an integer 0 … 255 per group
    /// (Q4_K).
    NestedOffset(usize),
    /// `row · group`: an f32 scale per row of the matrix (the super group), times an E4M3 per group (NVFP4).
    NestedE4M3,
}

/// An array in memory of numbers of one kind, one per group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stream {
    pub kind: Kind,
    /// True if there is one number per super group instead.
    pub of_supers: bool,
    /// True if the numbers are shifts, not scales.
    pub of_shifts: bool,
}

/// The storage format of a number of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    F32,
    F16,
    E8M0,
    E4M3,
    Int8,
    Uint8,
}

/// The layout of NVFP4's scales.
const E4M3: Minifloat = Minifloat::of(DType::Float8E4M3Fn).expect("a small float");

impl Kind {
    pub(crate) const fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
            Self::E8M0 | Self::E4M3 | Self::Int8 | Self::Uint8 => 1,
        }
    }

    /// The bits of a number; `None` if it can't be stored exactly.
    pub(crate) fn encode(self, value: f32) -> Option<u32> {
        let integer = |low: i32, high: i32| {
            let rounded = value as i32;
            (rounded as f32 == value && (low..=high).contains(&rounded)).then_some(rounded)
        };
        match self {
            Self::F32 => value.is_finite().then(|| value.to_bits()),
            Self::F16 => {
                let half = f16::from_f32(value);
                (half.is_finite() && half.to_f32().to_bits() == value.to_bits()).then(|| half.to_bits().into())
            }
            Self::E8M0 => {
                let code = value.to_bits() >> 23;
                (code < 255 && self.decode(code) == value).then_some(code)
            }
            Self::E4M3 => {
                let code = E4M3.encode(value, false);
                (E4M3.decode(code).to_bits() == value.to_bits()).then_some(code)
            }
            Self::Int8 => integer(-128, 127).map(|i| i as u8 as u32),
            Self::Uint8 => integer(0, 255).map(|i| i as u32),
        }
    }

    /// Bits that represent no storable number; 0 if all bits represent one.
    pub(crate) const fn infinite(self) -> u32 {
        match self {
            Self::F32 => 0x7f80_0000,
            Self::F16 => 0x7c00,
            Self::E8M0 => 0xff,
            Self::E4M3 => 0x7f,
            Self::Int8 | Self::Uint8 => 0,
        }
    }

    pub(crate) fn decode(self, bits: u32) -> f32 {
        match self {
            Self::F32 => f32::from_bits(bits),
            Self::F16 => f16::from_bits(bits as u16).to_f32(),
            // 2⁻¹²⁷ is subnormal.
            Self::E8M0 => f32::from_bits(if bits == 0 { 1 << 22 } else { bits << 23 }),
            Self::E4M3 => E4M3.decode(bits),
            Self::Int8 => f32::from(bits as u8 as i8),
            Self::Uint8 => f32::from(bits as u8),
        }
    }
}

impl ScaleFormat {
    /// The term added to the product of code and scale.
    #[must_use]
    pub const fn shift(self) -> OffsetKind {
        match self {
            Self::F32 | Self::F16 | Self::E8M0 | Self::Nested(_) | Self::NestedE4M3 => OffsetKind::None,
            Self::F32Zero | Self::F16Zero | Self::F32RealZero => OffsetKind::ZeroPoint,
            Self::F32Offset | Self::F16Offset | Self::NestedOffset(_) => OffsetKind::Offset,
        }
    }

    /// Number of groups in a super group.
    pub(crate) const fn nesting(self) -> Option<usize> {
        match self {
            Self::Nested(groups) | Self::NestedOffset(groups) => Some(groups),
            Self::NestedE4M3 => Some(usize::MAX),
            _ => None,
        }
    }

    /// The stored streams, in order.
    pub(crate) fn streams(self) -> Vec<Stream> {
        let scale = |kind| Stream { kind, of_supers: false, of_shifts: false };
        let shift = |kind| Stream { kind, of_supers: false, of_shifts: true };
        let of_super = |stream: Stream| Stream { of_supers: true, ..stream };
        match self {
            Self::F32 => vec![scale(Kind::F32)],
            Self::F16 => vec![scale(Kind::F16)],
            Self::E8M0 => vec![scale(Kind::E8M0)],
            Self::F32Zero => vec![scale(Kind::F32), shift(Kind::Int8)],
            Self::F16Zero => vec![scale(Kind::F16), shift(Kind::Int8)],
            Self::F32RealZero => vec![scale(Kind::F32), shift(Kind::F32)],
            Self::F32Offset => vec![scale(Kind::F32), shift(Kind::F32)],
            Self::F16Offset => vec![scale(Kind::F16), shift(Kind::F16)],
            Self::Nested(_) => vec![of_super(scale(Kind::F16)), scale(Kind::Int8)],
            Self::NestedE4M3 => vec![of_super(scale(Kind::F32)), scale(Kind::E4M3)],
            Self::NestedOffset(_) => {
                vec![of_super(scale(Kind::F16)), of_super(shift(Kind::F16)), scale(Kind::Uint8), shift(Kind::Uint8)]
            }
        }
    }
}

/// The scale and shift of a group or a super group.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct GroupParams {
    /// The factor of the codes. Negative scales and zero are valid.
    pub scale: f32,
    /// The zero point or the offset, by the format; 0 if the format has neither.
    pub shift: f32,
}

impl GroupParams {
    /// A scale without a shift.
    #[must_use]
    pub const fn scale(scale: f32) -> Self {
        Self { scale, shift: 0.0 }
    }

    /// A scale with a zero point or an offset.
    #[must_use]
    pub const fn new(scale: f32, shift: f32) -> Self {
        Self { scale, shift }
    }
}

/// The storage format of a weight matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct WeightFormat {
    /// The codes.
    pub codes: Codes,
    /// Number of codes along k that share a scale; `usize::MAX` for the whole row. The last group of a row may be shorter.
    pub group: usize,
    /// The scales.
    pub scales: ScaleFormat,
}

impl fmt::Display for WeightFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.codes.0 {
            CodeKind::Table(table) => write!(f, "{}-bit table", table.bits)?,
            CodeKind::Float(dtype) => write!(f, "{dtype}")?,
            CodeKind::Uint(bits) => write!(f, "uint{bits}")?,
            CodeKind::Int(bits) => write!(f, "int{bits}")?,
        }
        match self.group {
            usize::MAX => f.write_str(" by row")?,
            group => write!(f, " in groups of {group}")?,
        }
        f.write_str(match self.scales {
            ScaleFormat::F32 => " with f32 scales",
            ScaleFormat::F16 => " with f16 scales",
            ScaleFormat::E8M0 => " with powers of two",
            ScaleFormat::F32Zero => " with f32 scales and zero points",
            ScaleFormat::F16Zero => " with f16 scales and zero points",
            ScaleFormat::F32RealZero => " with f32 scales and real zero points",
            ScaleFormat::F32Offset => " with f32 scales and offsets",
            ScaleFormat::F16Offset => " with f16 scales and offsets",
            ScaleFormat::Nested(_) => " with nested scales",
            ScaleFormat::NestedOffset(_) => " with nested scales and offsets",
            ScaleFormat::NestedE4M3 => " with E4M3 scales",
        })
    }
}

impl WeightFormat {
    /// A format with `group` codes along k per scale; `usize::MAX` makes one group of a whole row.
    #[must_use]
    pub const fn new(codes: Codes, group: usize, scales: ScaleFormat) -> Self {
        Self { codes, group, scales }
    }

    /// The real number that a code represents; each operation is rounded to f32.
    pub(crate) fn real(&self, code: i8, group: GroupParams) -> f32 {
        let value = self.codes.value(code);
        match self.scales.shift() {
            OffsetKind::None => value * group.scale,
            OffsetKind::ZeroPoint => (value - group.shift) * group.scale,
            OffsetKind::Offset => value * group.scale + group.shift,
        }
    }

    /// Number of super groups for this number of groups.
    pub(crate) fn supers(&self, groups: usize) -> usize {
        self.scales.nesting().map_or(0, |nesting| groups.div_ceil(nesting))
    }

    /// Refuses a row that this format can't hold.
    pub(crate) fn check_row(
        &self,
        row: usize,
        codes: &[i8],
        groups: &[GroupParams],
        supers: &[GroupParams],
    ) -> Result<()> {
        let (low, high) = self.codes.range();
        if let Some(code) = codes.iter().find(|code| !(low..=high).contains(code)) {
            refuse!("row {row} holds the code {code}, but {self} stores {low}..={high}");
        }
        if let Some(&odd) = codes.iter().find(|&&code| !self.codes.value(code).is_finite()) {
            let value = self.codes.value(odd);
            refuse!("row {row} holds the code {:#x}, which is {value}, but weights are finite", odd as u8);
        }
        // Sums of kernels fit i32 only if zero points are at most slightly beyond the codes.
        let most = f32::from(1i16 << (self.codes.bits() - 1));
        let integer_zeros = matches!(self.scales, ScaleFormat::F32Zero | ScaleFormat::F16Zero);
        if let Some(odd) = groups.iter().find(|group| integer_zeros && group.shift.abs() > most) {
            refuse!("row {row} has a zero point of {}, but {self} takes -{most} to {most}", odd.shift);
        }
        for stream in self.scales.streams() {
            let of = if stream.of_supers { supers } else { groups };
            let number = |group: &GroupParams| if stream.of_shifts { group.shift } else { group.scale };
            if let Some(odd) = of.iter().map(number).find(|&x| stream.kind.encode(x).is_none()) {
                require!(
                    false,
                    "row {row} has a {} of {odd:e}, but {self} stores {:?} and can't hold that exactly: take a wider format",
                    if stream.of_shifts { "shift" } else { "scale" },
                    stream.kind
                );
            }
        }
        Ok(())
    }
}

/// Implements `PackedWeights::from_tensor`.
pub(super) fn from_tensor(tensor: &Tensor) -> Result<PackedWeights> {
    let (tensor_type, shape) = (tensor.tensor_type(), tensor.dims());
    let dims = match *shape {
        [n, k] => [1, n, k],
        [experts, n, k] => [experts, n, k],
        _ => {
            refuse!("{tensor_type} has {} dimensions, but weights are [n, k] or [experts, n, k]", shape.len());
        }
    };
    let Some(quantization) = tensor_type.quantization() else {
        refuse!("{tensor_type} has no scale: give it one with Tensor::quantized");
    };
    let rank = shape.len();
    let group = match quantization.granularity() {
        Granularity::Blocks { axis, size } if axis == rank - 1 => size,
        Granularity::Tensor => usize::MAX,
        Granularity::Axis(axis) if axis == rank - 2 => usize::MAX,
        other => {
            require!(
                false,
                "{tensor_type} is quantized by {other:?}, but the scales of weights belong to the tensor, to rows (axis {}), \
                 or to blocks along axis {}",
                rank - 2,
                rank - 1
            );
            0
        }
    };
    // Unsigned codes and their zero points are stored minus half their range.
    let (codes, half) = match tensor_type.dtype().encoding() {
        Encoding::Signed(bits @ ..=8) => (Some(Codes::int(bits)), 0),
        Encoding::Unsigned(bits @ ..=8) => (Some(Codes::int(bits)), 1 << (bits - 1)),
        Encoding::Minifloat(_) => (Codes::of_float(tensor_type.dtype()), 0),
        Encoding::Signed(_)
        | Encoding::Unsigned(_)
        | Encoding::PowerOfTwo
        | Encoding::Float16
        | Encoding::Float32
        | Encoding::Parameters => (None, 0),
    };
    let Some(codes) = codes else {
        let dtype = tensor_type.dtype();
        refuse!("{tensor_type} holds {dtype}, but weights are integers or floats of at most 8 bits");
    };
    let scales = if half == 0 && quantization.is_symmetric() { ScaleFormat::F32 } else { ScaleFormat::F32Zero };
    let k = dims[2];
    let codes_format = codes;
    PackedWeights::build(WeightFormat::new(codes, group, scales), dims, |row, codes, groups, _| {
        for (l, code) in codes.iter_mut().enumerate() {
            *code = codes_format.stored(tensor.code(row * k + l) - half);
        }
        for (g, entry) in groups.iter_mut().enumerate() {
            let first = row * k + g * group.min(k);
            let index = quantization.granularity().index(tensor_type.shape(), first);
            *entry = GroupParams::new(quantization.scale(index), (quantization.zero_point(index) - half) as f32);
        }
        Ok(())
    })
}

/// Implements `PackedWeights::from_blocks`.
pub(super) fn from_blocks(format: BlockFormat, elements: &Tensor, scales: &Tensor) -> Result<PackedWeights> {
    let dims = match *elements.dims() {
        [n, k] => [1, n, k],
        [experts, n, k] => [experts, n, k],
        _ => {
            let rank = elements.dims().len();
            refuse!("the elements have {rank} dimensions, but weights are [n, k] or [experts, n, k]");
        }
    };
    let [_, _, k] = dims;
    let blocks = k.div_ceil(format.size());
    let (leading, _) = elements.dims().split_at(elements.dims().len() - 1);
    require!(
        elements.dtype() == format.element()
            && scales.dtype() == format.scale()
            && *scales.dims() == *[leading, &[blocks]].concat(),
        "the blocks are {} and {}, but their format has elements of {} and scales of {} for {} each",
        elements.tensor_type(),
        scales.tensor_type(),
        format.element(),
        format.scale(),
        format.size()
    );
    let codes = Codes::of_float(format.element()).unwrap_or(Codes::INT8);
    let (kind, global) = match format.scales() {
        BlockScales::Powers(_) => (ScaleFormat::E8M0, 1.0),
        BlockScales::Nested(global) => (ScaleFormat::NestedE4M3, global),
    };
    // The power of two absorbs the step of MXINT8.
    let unit = if kind == ScaleFormat::E8M0 { format.unit() } else { 1.0 };
    let numbers = scales.reals();
    PackedWeights::build(WeightFormat::new(codes, format.size(), kind), dims, |row, out, groups, supers| {
        for (l, code) in out.iter_mut().enumerate() {
            *code = codes.stored(elements.code(row * k + l));
        }
        for (g, group) in groups.iter_mut().enumerate() {
            *group = GroupParams::scale(numbers[row * blocks + g] * unit);
        }
        supers.fill(GroupParams::scale(global));
        Ok(())
    })
}
