//! Codes as the loops of products read them: as int8. If dot products are written out (`DeviceCaps::emulate_dot4`), the codes of
//! one factor are uint8. A shift of codes also shifts their zero points, so that no sum changes.

use crate::kernels::launch::program::Program;
use crate::numeric::{DType, Encoding};

/// The number that is subtracted from codes of a format to make them int8. uint8 loses 128. Narrow codes become non-negative, so
/// that unpacking needs no sign extension.
pub(crate) fn int8_shift(dtype: DType) -> i32 {
    match dtype.encoding() {
        Encoding::Signed(..8) => -(1 << (dtype.bits() - 1)),
        Encoding::Unsigned(8) => 128,
        Encoding::Signed(_) | Encoding::Unsigned(_) => 0,
        Encoding::Minifloat(_)
        | Encoding::PowerOfTwo
        | Encoding::Float16
        | Encoding::Float32
        | Encoding::Parameters => 0,
    }
}

/// The mask of that subtraction: a packed word is XORed with it.
pub(crate) fn int8_flip(dtype: DType) -> u32 {
    match int8_shift(dtype) {
        0 => 0,
        // The top bit of each code.
        _ => (u32::MAX / ((1 << dtype.bits()) - 1)) << (dtype.bits() - 1),
    }
}

/// The conversion of int8 codes to uint8: the XOR mask of a word of four, and the number that is added to each code.
const INT8_TO_UINT8: (u32, i32) = (0x8080_8080, 128);

/// The way to multiply and add four bytes: the built-in function for int8, or written out with one factor read as uint8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dot {
    Int8,
    Uint8Lhs,
    Uint8Weights,
}

impl Dot {
    /// The device's preferred way, unless `Uint8Weights` is cheaper.
    pub(crate) fn of(emulate_dot4: bool) -> Self {
        if emulate_dot4 { Self::Uint8Lhs } else { Self::Int8 }
    }

    /// Adds the constants of the dot product (`shaders/gemm/dot.wgsl`).
    pub(crate) fn link(self, program: Program) -> Program {
        program
            .constant("UNSIGNED_LHS", self == Self::Uint8Lhs)
            .constant("UNSIGNED_WEIGHTS", self == Self::Uint8Weights)
    }

    /// Adds the constants of the dot product, and of the conversion of lhs of a format. Loops with barriers don't use written-out
    /// products: drivers take minutes to compile them (benches/NOTES.md).
    pub(crate) fn link_lhs(self, program: Program, lhs: DType) -> Program {
        let (flip, more) = if self == Self::Uint8Lhs { INT8_TO_UINT8 } else { (0, 0) };
        self.link(program).constant("LHS_FLIP", int8_flip(lhs) ^ flip).constant("LHS_SHIFT", int8_shift(lhs) - more)
    }

    /// The conversion of four weights that are read as int8: the XOR mask of their word, and the number that is added to each.
    pub(crate) fn weights_moved(self) -> (u32, i32) {
        if self == Self::Uint8Weights { INT8_TO_UINT8 } else { (0, 0) }
    }
}
