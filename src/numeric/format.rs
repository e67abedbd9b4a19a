//! The data types of tensor elements, and the number of words per row, which depends on nothing else. The packing is in `pack`.

use std::fmt;

use half::f16;
use serde::{Deserialize, Serialize};

use super::{
    E2M1, E2M3, E3M2, E4M3FN, E4M3FNUZ, E5M2, E5M2FNUZ, E8M0, I2, I3, I4, Minifloat, QuantizationParams, U2, U3, U4,
};

/// Calls a macro with the table of data types, after the arguments in brackets, if there are any. A row holds the variant, the type
/// of an element in Rust, the name, the bits in memory, and the encoding.
macro_rules! each_dtype {
    ($callback:ident $([$($argument:tt)*])?) => {
        $callback! {
            $([$($argument)*])?
            /// −2 … 1
            Int2: I2, "int2", 2 bits, Signed(2);
            /// 0 … 3
            Uint2: U2, "uint2", 2 bits, Unsigned(2);
            /// −4 … 3, in 4 bits with their sign extended
            Int3: I3, "int3", 4 bits, Signed(3);
            /// 0 … 7, in the low three of 4 bits
            Uint3: U3, "uint3", 4 bits, Unsigned(3);
            /// −8 … 7
            Int4: I4, "int4", 4 bits, Signed(4);
            /// 0 … 15
            Uint4: U4, "uint4", 4 bits, Unsigned(4);
            /// −128 … 127
            Int8: i8, "int8", 8 bits, Signed(8);
            /// 0 … 255
            Uint8: u8, "uint8", 8 bits, Unsigned(8);
            /// −32,768 … 32,767
            Int16: i16, "int16", 16 bits, Signed(16);
            /// 0 … 65,535
            Uint16: u16, "uint16", 16 bits, Unsigned(16);
            /// −2³¹ … 2³¹ − 1: accumulators, biases
            Int32: i32, "int32", 32 bits, Signed(32);
            /// 4-bit floats up to 6
            Float4E2M1: E2M1, "float4e2m1", 4 bits, Minifloat(E2M1::LAYOUT);
            /// 6-bit floats up to 7.5, in the low bits of bytes
            Float6E2M3: E2M3, "float6e2m3", 8 bits, Minifloat(E2M3::LAYOUT);
            /// 6-bit floats up to 28, in the low bits of bytes
            Float6E3M2: E3M2, "float6e3m2", 8 bits, Minifloat(E3M2::LAYOUT);
            /// 8-bit floats up to 448
            Float8E4M3Fn: E4M3FN, "float8e4m3fn", 8 bits, Minifloat(E4M3FN::LAYOUT);
            /// 8-bit floats up to 240, without −0
            Float8E4M3Fnuz: E4M3FNUZ, "float8e4m3fnuz", 8 bits, Minifloat(E4M3FNUZ::LAYOUT);
            /// 8-bit floats up to 57,344 and infinity
            Float8E5M2: E5M2, "float8e5m2", 8 bits, Minifloat(E5M2::LAYOUT);
            /// 8-bit floats up to 57,344, without −0
            Float8E5M2Fnuz: E5M2FNUZ, "float8e5m2fnuz", 8 bits, Minifloat(E5M2FNUZ::LAYOUT);
            /// powers of two
            Float8E8M0: E8M0, "float8e8m0", 8 bits, PowerOfTwo;
            /// IEEE 754 binary16
            Float16: f16, "float16", 16 bits, Float16;
            /// IEEE 754 binary32
            Float32: f32, "float32", 32 bits, Float32;
            /// an f32 scale and an i32 zero point, computed on the device by dynamic quantization
            Parameters: QuantizationParams, "parameters", 64 bits, Parameters;
        }
    };
}
pub(crate) use each_dtype;

/// The representation of numbers by the bits of an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// Two's complement integers of this many bits.
    Signed(u32),
    /// Unsigned integers of this many bits.
    Unsigned(u32),
    /// Signed floats of at most 8 bits.
    Minifloat(Minifloat),
    /// E8M0.
    PowerOfTwo,
    /// IEEE 754 binary16.
    Float16,
    /// IEEE 754 binary32.
    Float32,
    /// A float32 and an int32.
    Parameters,
}

impl Encoding {
    /// The element in the low bits of a word, as its Rust type holds it: the sign of signed codes is extended, and bits that are not
    /// the code's are 0.
    pub(crate) const fn element(self, word: u32) -> u32 {
        match self {
            Self::Signed(bits) => (((word << (32 - bits)) as i32) >> (32 - bits)) as u32,
            Self::Unsigned(bits) | Self::Minifloat(Minifloat { width: bits, .. }) => word & (u32::MAX >> (32 - bits)),
            Self::PowerOfTwo => word & 0xff,
            Self::Float16 => word & 0xffff,
            Self::Float32 | Self::Parameters => word,
        }
    }
}

macro_rules! dtype {
    ($(#[doc = $doc:literal] $variant:ident: $element:ty, $name:literal, $bits:literal bits, $encoding:expr;)+) => {
        /// The data type of one element.
        ///
        /// | format | bits in memory | numbers |
        /// |---|---:|---|
        $(#[doc = concat!("| `", stringify!($variant), "` | ", $bits, " |", $doc, " |")])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum DType {
            $(
                #[doc = concat!(" `", stringify!($element), "`:", $doc, ".")]
                #[serde(rename = $name)]
                $variant,
            )+
        }

        impl DType {
            /// All data types.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The width of one element in memory in bits.
            #[must_use]
            pub const fn bits(self) -> usize {
                match self {
                    $(Self::$variant => $bits,)+
                }
            }

            /// The lower-case name.
            const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// The representation of numbers by the bits of an element.
            pub(crate) const fn encoding(self) -> Encoding {
                use Encoding::{Float16, Float32, Minifloat, Parameters, PowerOfTwo, Signed, Unsigned};
                match self {
                    $(Self::$variant => $encoding,)+
                }
            }
        }

        /// The Rust types of elements, by the names of data types.
        pub(crate) mod element {
            use super::*;
            $(pub(crate) type $variant = $element;)+
        }
    };
}
each_dtype!(dtype);

impl DType {
    /// The least and greatest code of an integer type; `None` for other types.
    #[must_use]
    pub const fn range(self) -> Option<(i32, i32)> {
        match self.encoding() {
            Encoding::Signed(bits) => Some((i32::MIN >> (32 - bits), i32::MAX >> (32 - bits))),
            Encoding::Unsigned(bits) => Some((0, (u32::MAX >> (32 - bits)) as i32)),
            Encoding::Minifloat(_)
            | Encoding::PowerOfTwo
            | Encoding::Float16
            | Encoding::Float32
            | Encoding::Parameters => None,
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
        matches!(self.encoding(), Encoding::Minifloat(_))
    }

    /// True if codes can be negative.
    #[must_use]
    pub const fn is_signed(self) -> bool {
        !matches!(self.encoding(), Encoding::Unsigned(_))
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
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_hold_the_names_that_are_displayed() {
        for &dtype in DType::ALL {
            assert_eq!(serde_json::to_value(dtype).unwrap(), dtype.to_string());
        }
    }
}
