//! Codes as the loops of products read them: as int8, but those of one factor as uint8 where dot products are written out
//! (`DeviceCaps::emulate_dot4`). What moves the codes moves their zero points, so that no sum changes.

use super::program::{self, Program};
use crate::numeric::DType;

/// What is subtracted from codes of a format to make them int8: uint8 loses its upper half, narrow codes are made 0 and more,
/// so that they need no sign where they are unpacked.
pub(super) fn int8_shift(dtype: DType) -> i32 {
    match dtype {
        DType::Uint8 => 128,
        DType::Int4 => -8,
        DType::Int2 => -2,
        _ => 0,
    }
}

/// What a packed word of a format is XORed with for the same.
pub(super) fn int8_flip(dtype: DType) -> u32 {
    match dtype {
        DType::Uint8 => 0x8080_8080,
        DType::Int4 => 0x8888_8888,
        DType::Int2 => 0xaaaa_aaaa,
        _ => 0,
    }
}

/// What makes uint8 of four codes of int8: what their word is XORed with, and what that adds to each.
const INT8_TO_UINT8: (u32, i32) = (0x8080_8080, 128);

/// How four products of bytes are made: by what the device has for two of int8, or written out with one of them read as uint8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dot {
    Int8,
    Uint8Lhs,
    Uint8Weights,
}

impl Dot {
    /// What a device prefers where either is as good.
    pub(super) fn of(emulate_dot4: bool) -> Self {
        if emulate_dot4 { Self::Uint8Lhs } else { Self::Int8 }
    }

    pub(super) fn part(self) -> &'static program::Part {
        match self {
            Self::Int8 => &program::DOT_INT8,
            Self::Uint8Lhs => &program::DOT_UINT8_LHS,
            Self::Uint8Weights => &program::DOT_UINT8_WEIGHTS,
        }
    }

    /// A program with how it reads lhs of a format, and multiplies it by weights. With barriers in it what is written out takes
    /// drivers minutes to compile (benches/NOTES.md): such loops don't.
    pub(super) fn link_lhs(self, program: Program, lhs: DType) -> Program {
        let (flip, more) = if self == Self::Uint8Lhs { INT8_TO_UINT8 } else { (0, 0) };
        program
            .with(self.part())
            .constant("LHS_FLIP", int8_flip(lhs) ^ flip)
            .constant("LHS_SHIFT", int8_shift(lhs) - more)
    }

    /// What a word of four weights, read as int8 before, is XORed with, and what that adds to each.
    pub(super) fn weights_moved(self) -> (u32, i32) {
        if self == Self::Uint8Weights { INT8_TO_UINT8 } else { (0, 0) }
    }
}
