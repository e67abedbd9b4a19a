//! Codes as the loops of products read them: as int8, but those of lhs as uint8 where dot products are written out
//! (`Limits::written_dot`). What moves the codes moves their zero points, so that no sum changes.

use super::program::{self, Program};
use crate::numeric::Format;

/// What is subtracted from codes of a format to make them int8: uint8 loses its upper half, narrow codes are made 0 and more,
/// so that they need no sign where they are unpacked.
pub(super) fn int8_shift(format: Format) -> i32 {
    match format {
        Format::Uint8 => 128,
        Format::Int4 => -8,
        Format::Int2 => -2,
        _ => 0,
    }
}

/// What a packed word of a format is XORed with for the same.
pub(super) fn int8_flip(format: Format) -> u32 {
    match format {
        Format::Uint8 => 0x8080_8080,
        Format::Int4 => 0x8888_8888,
        Format::Int2 => 0xaaaa_aaaa,
        _ => 0,
    }
}

/// The part that multiplies four bytes of lhs by four of weights.
pub(super) fn dot_part(written_dot: bool) -> &'static program::Part {
    if written_dot { &program::DOT_UINT8 } else { &program::DOT_INT8 }
}

/// A program with how it reads lhs of a format, int8 or uint8, and multiplies it by int8. With barriers, or with groups of scales,
/// what is written out takes drivers minutes to compile (benches/NOTES.md): such loops don't.
pub(super) fn link_lhs(program: Program, lhs: Format, written_dot: bool) -> Program {
    // Codes of uint8 are those of int8 plus 128.
    let (flip, more) = if written_dot { (0x8080_8080, 128) } else { (0, 0) };
    program
        .with(dot_part(written_dot))
        .constant("LHS_FLIP", int8_flip(lhs) ^ flip)
        .constant("LHS_SHIFT", int8_shift(lhs) - more)
}
