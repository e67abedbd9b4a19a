//! The data types of tensor elements, and the number of words per row, which depends on nothing else. The packing is in `pack`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The data type of one element.
///
/// | format | bits | codes |
/// |---|---:|---|
/// | `Int2` | 2 | −2 … 1 |
/// | `Uint2` | 2 | 0 … 3 |
/// | `Int4` | 4 | −8 … 7 |
/// | `Uint4` | 4 | 0 … 15 |
/// | `Int8` | 8 | −128 … 127 |
/// | `Uint8` | 8 | 0 … 255 |
/// | `Int16` | 16 | −32,768 … 32,767 |
/// | `Uint16` | 16 | 0 … 65,535 |
/// | `Int32` | 32 | −2³¹ … 2³¹ − 1 (accumulators, biases) |
/// | `Float4E2M1` | 4 | [`E2M1`](super::E2M1) |
/// | `Float6E2M3`, `Float6E3M2` | 8 | [`E2M3`](super::E2M3), [`E3M2`](super::E3M2), in the low six bits of a byte |
/// | `Float8E4M3Fn`, `Float8E4M3Fnuz` | 8 | [`E4M3FN`](super::E4M3FN), [`E4M3FNUZ`](super::E4M3FNUZ) |
/// | `Float8E5M2`, `Float8E5M2Fnuz` | 8 | [`E5M2`](super::E5M2), [`E5M2FNUZ`](super::E5M2FNUZ) |
/// | `Float8E8M0` | 8 | [`E8M0`](super::E8M0), powers of two |
/// | `Float16` | 16 | IEEE 754 binary16 |
/// | `Float32` | 32 | IEEE 754 binary32 |
/// | `Parameters` | 64 | an f32 scale and an i32 zero point, computed on the device by dynamic quantization |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum DType {
    /// Signed 2-bit codes.
    Int2,
    /// Unsigned 2-bit codes.
    Uint2,
    /// Signed 4-bit codes.
    Int4,
    /// Unsigned 4-bit codes.
    Uint4,
    /// Signed 8-bit codes.
    Int8,
    /// Unsigned 8-bit codes.
    Uint8,
    /// Signed 16-bit codes.
    Int16,
    /// Unsigned 16-bit codes.
    Uint16,
    /// Signed 32-bit integers.
    Int32,
    /// 4-bit floats up to 6.
    Float4E2M1,
    /// 6-bit floats up to 7.5, in bytes.
    Float6E2M3,
    /// 6-bit floats up to 28, in bytes.
    Float6E3M2,
    /// 8-bit floats up to 448.
    Float8E4M3Fn,
    /// 8-bit floats up to 240, without −0.
    Float8E4M3Fnuz,
    /// 8-bit floats up to 57,344 and infinity.
    Float8E5M2,
    /// 8-bit floats up to 57,344, without −0.
    Float8E5M2Fnuz,
    /// Powers of two.
    Float8E8M0,
    /// 16-bit floats.
    Float16,
    /// 32-bit floats.
    Float32,
    /// Pairs of an f32 scale and an i32 zero point.
    Parameters,
}

impl DType {
    /// The width of one element in memory in bits.
    #[must_use]
    pub const fn bits(self) -> usize {
        match self {
            Self::Int2 | Self::Uint2 => 2,
            Self::Int4 | Self::Uint4 | Self::Float4E2M1 => 4,
            Self::Int8
            | Self::Uint8
            | Self::Float6E2M3
            | Self::Float6E3M2
            | Self::Float8E4M3Fn
            | Self::Float8E4M3Fnuz
            | Self::Float8E5M2
            | Self::Float8E5M2Fnuz
            | Self::Float8E8M0 => 8,
            Self::Int16 | Self::Uint16 | Self::Float16 => 16,
            Self::Int32 | Self::Float32 => 32,
            Self::Parameters => 64,
        }
    }

    /// The least and greatest code of an integer type; `None` for other types.
    #[must_use]
    pub const fn range(self) -> Option<(i32, i32)> {
        match self {
            Self::Int2 => Some((-2, 1)),
            Self::Uint2 => Some((0, 3)),
            Self::Int4 => Some((-8, 7)),
            Self::Uint4 => Some((0, 15)),
            Self::Int8 => Some((-128, 127)),
            Self::Uint8 => Some((0, 255)),
            Self::Int16 => Some((-32_768, 32_767)),
            Self::Uint16 => Some((0, 65_535)),
            Self::Int32 => Some((i32::MIN, i32::MAX)),
            _ => None,
        }
    }

    /// True for `Int8` and `Uint8`, the types of activations that matmul and convolution read.
    #[must_use]
    pub const fn is_8_bit(self) -> bool {
        matches!(self, Self::Int8 | Self::Uint8)
    }

    /// True for integer types of at most 8 bits, the types of weights.
    #[must_use]
    pub const fn is_narrow_integer(self) -> bool {
        self.bits() <= 8 && self.range().is_some()
    }

    /// True for signed floats of at most 8 bits, whose codes can have a scale: every `Float4`, `Float6` and `Float8` except E8M0,
    /// the powers of two.
    #[must_use]
    pub const fn is_minifloat(self) -> bool {
        super::Minifloat::of(self).is_some()
    }

    /// True if codes can be negative.
    #[must_use]
    pub const fn is_signed(self) -> bool {
        !matches!(self, Self::Uint2 | Self::Uint4 | Self::Uint8 | Self::Uint16)
    }

    /// Number of u32 words of a row of `elements` in device memory. Types narrower than 32 bits are packed little-endian and padded
    /// with zeros to whole `vec4<u32>`; rows of wider types are dense.
    ///
    /// ```
    /// use lowbit::DType;
    /// assert_eq!(DType::Int8.row_words(17), 8);
    /// assert_eq!(DType::Int4.row_words(17), 4);
    /// assert_eq!(DType::Float32.row_words(17), 17);
    /// ```
    #[must_use]
    pub const fn row_words(self, elements: usize) -> usize {
        match self.bits() {
            bits @ ..32 => elements.div_ceil(128 / bits) * 4,
            bits => elements * (bits / 32),
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Int2 => "int2",
            Self::Uint2 => "uint2",
            Self::Int4 => "int4",
            Self::Uint4 => "uint4",
            Self::Int8 => "int8",
            Self::Uint8 => "uint8",
            Self::Int16 => "int16",
            Self::Uint16 => "uint16",
            Self::Int32 => "int32",
            Self::Float4E2M1 => "float4e2m1",
            Self::Float6E2M3 => "float6e2m3",
            Self::Float6E3M2 => "float6e3m2",
            Self::Float8E4M3Fn => "float8e4m3fn",
            Self::Float8E4M3Fnuz => "float8e4m3fnuz",
            Self::Float8E5M2 => "float8e5m2",
            Self::Float8E5M2Fnuz => "float8e5m2fnuz",
            Self::Float8E8M0 => "float8e8m0",
            Self::Float16 => "float16",
            Self::Float32 => "float32",
            Self::Parameters => "parameters",
        })
    }
}
