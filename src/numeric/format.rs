//! The formats a tensor's elements can have. How many of them make a word is here too, because it is one fact per format;
//! the packing itself lives in `pack`.

use std::fmt;

/// The format of one element.
///
/// | format | bits | codes |
/// |---|---:|---|
/// | `Int8` | 8 | −128 … 127 |
/// | `Uint8` | 8 | 0 … 255 |
/// | `Int16` | 16 | −32,768 … 32,767 |
/// | `Uint16` | 16 | 0 … 65,535 |
/// | `Int32` | 32 | −2³¹ … 2³¹ − 1 (accumulators, biases) |
/// | `Float32` | 32 | IEEE 754 binary32 |
/// | `Parameters` | 64 | an f32 scale and an i32 zero point, found on the device by dynamic quantization |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
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
    /// 32-bit floats.
    Float32,
    /// Pairs of an f32 scale and an i32 zero point.
    Parameters,
}

impl Format {
    /// The width of one element in bits.
    #[must_use]
    pub const fn bits(self) -> usize {
        match self {
            Self::Int8 | Self::Uint8 => 8,
            Self::Int16 | Self::Uint16 => 16,
            Self::Int32 | Self::Float32 => 32,
            Self::Parameters => 64,
        }
    }

    /// The least and greatest code of an integer format; `None` for the others.
    #[must_use]
    pub const fn range(self) -> Option<(i32, i32)> {
        match self {
            Self::Int8 => Some((-128, 127)),
            Self::Uint8 => Some((0, 255)),
            Self::Int16 => Some((-32_768, 32_767)),
            Self::Uint16 => Some((0, 65_535)),
            Self::Int32 => Some((i32::MIN, i32::MAX)),
            Self::Float32 | Self::Parameters => None,
        }
    }

    /// Whether this is `Int8` or `Uint8`, the formats that matmul and convolution read.
    #[must_use]
    pub const fn is_8_bit(self) -> bool {
        matches!(self, Self::Int8 | Self::Uint8)
    }

    /// Whether codes can be negative.
    #[must_use]
    pub const fn is_signed(self) -> bool {
        !matches!(self, Self::Uint8 | Self::Uint16)
    }

    /// How many u32 words a row of `elements` takes in device memory: formats narrower than 32 bits are packed little
    /// end first and padded with zeros to whole `vec4<u32>`, 32-bit formats lie dense.
    ///
    /// ```
    /// use lowbit::Format;
    /// assert_eq!(Format::Int8.row_words(17), 8);
    /// assert_eq!(Format::Float32.row_words(17), 17);
    /// ```
    #[must_use]
    pub const fn row_words(self, elements: usize) -> usize {
        match self.bits() {
            bits @ (8 | 16) => elements.div_ceil(128 / bits) * 4,
            bits => elements * (bits / 32),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Int8 => "int8",
            Self::Uint8 => "uint8",
            Self::Int16 => "int16",
            Self::Uint16 => "uint16",
            Self::Int32 => "int32",
            Self::Float32 => "float32",
            Self::Parameters => "parameters",
        })
    }
}
