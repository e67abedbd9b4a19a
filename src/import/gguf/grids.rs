//! The types whose codes are points of a grid: IQ2, IQ3 and IQ1. A point stands for 8 numbers (4 in IQ3) of few sizes, which are places in
//! a table here: the size, and above it the sign. `mod` has the layouts.

use half::f16;

use super::half;
use crate::weights::{Codes, GroupParams};

/// Three sizes with both signs. The fourth is not used.
pub(super) const IQ2: Codes = Codes::of_f32s(&[1.0, 3.125, 5.375, 0.0, -1.0, -3.125, -5.375, 0.0]);

/// Eight sizes with both signs.
pub(super) const IQ3_XXS: Codes =
    Codes::of_f32s(&[1.0, 3.0, 5.0, 7.0, 9.0, 11.0, 13.0, 15.5, -1.0, -3.0, -5.0, -7.0, -9.0, -11.0, -13.0, -15.5]);

pub(super) const IQ3_S: Codes =
    Codes::of_f32s(&[1.0, 3.0, 5.0, 7.0, 9.0, 11.0, 13.0, 15.0, -1.0, -3.0, -5.0, -7.0, -9.0, -11.0, -13.0, -15.0]);

/// −1, 0 and 1, plus or minus an eighth.
pub(super) const IQ1: Codes = Codes::of_f32s(&[-0.875, 0.125, 1.125, 0.0, -1.125, -0.125, 0.875, 0.0]);

/// The points of all grids, as `scripts/gguf-cases` writes them from the Python package `gguf`: a u16 each, little-endian. Value i of a point
/// is in the bits from 2 i up (3 i in IQ3).
const POINTS: &[u8; 2 * 4608] = include_bytes!("grids.bin");

/// The first point of each grid among all.
const IQ2_XXS_GRID: usize = 0;
const IQ2_XS_GRID: usize = 256;
const IQ2_S_GRID: usize = 768;
const IQ3_XXS_GRID: usize = 1792;
const IQ3_S_GRID: usize = 2048;
const IQ1_GRID: usize = 2560;

fn point(grid: usize, index: usize) -> u16 {
    let at = 2 * (grid + index);
    u16::from_le_bytes([POINTS[at], POINTS[at + 1]])
}

/// Writes the places of 8 numbers of 2 bits with their signs.
fn put_eight(grid: usize, index: usize, signs: u8, codes: &mut [u8]) {
    let point = point(grid, index);
    for (i, code) in codes.iter_mut().enumerate() {
        *code = (point >> (2 * i)) as u8 & 3 | (signs >> i & 1) << 2;
    }
}

/// Writes the places of 4 numbers of 3 bits with their signs.
fn put_four(grid: usize, index: usize, signs: u8, codes: &mut [u8]) {
    let point = point(grid, index);
    for (i, code) in codes.iter_mut().enumerate() {
        *code = (point >> (3 * i)) as u8 & 7 | (signs >> i & 1) << 3;
    }
}

/// Eight signs from seven: the number of negative ones is even.
fn even_signs(seven: u32) -> u8 {
    let seven = (seven & 127) as u8;
    seven | (seven.count_ones() as u8 & 1) << 7
}

fn word16(block: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([block[at], block[at + 1]])
}

fn word32(block: &[u8], at: usize) -> u32 {
    u32::from(word16(block, at)) | u32::from(word16(block, at + 2)) << 16
}

/// Sets the scales of groups to odd numbers, and that of the block to `d`.
fn put_scales(d: f32, halves: impl Iterator<Item = u32>, groups: &mut [GroupParams], supers: &mut [GroupParams]) {
    groups.iter_mut().zip(halves).for_each(|(group, half)| *group = GroupParams::scale((2 * half + 1) as f32));
    supers[0] = GroupParams::scale(d);
}

/// The halves of bytes, low ones first.
fn nibbles(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.iter().flat_map(|byte| [u32::from(byte & 15), u32::from(byte >> 4)])
}

/// Each group has 4 points in bytes, then a word: 4 times 7 signs, and the scale above them.
pub(super) fn iq2_xxs_codes(block: &[u8], codes: &mut [u8]) {
    for (i, codes) in codes.chunks_exact_mut(8).enumerate() {
        let group = 2 + 8 * (i / 4);
        put_eight(
            IQ2_XXS_GRID,
            block[group + i % 4].into(),
            even_signs(word32(block, group + 4) >> (7 * (i % 4))),
            codes,
        );
    }
}

pub(super) fn iq2_xxs_scales(block: &[u8], groups: &mut [GroupParams], supers: &mut [GroupParams]) {
    put_scales(half(block, 0), (0..8).map(|g| word32(block, 6 + 8 * g) >> 28), groups, supers);
}

/// Words of 9 bits of a point and 7 signs.
pub(super) fn iq2_xs_codes(block: &[u8], codes: &mut [u8]) {
    for (i, codes) in codes.chunks_exact_mut(8).enumerate() {
        let word = word16(block, 2 + 2 * i);
        put_eight(IQ2_XS_GRID, usize::from(word & 511), even_signs(u32::from(word >> 9)), codes);
    }
}

pub(super) fn iq2_xs_scales(block: &[u8], groups: &mut [GroupParams], supers: &mut [GroupParams]) {
    put_scales(half(block, 0), nibbles(&block[66..74]), groups, supers);
}

/// Bytes of the lower 8 bits of points, bytes of signs, and bytes of the upper 2 bits of four points.
pub(super) fn iq2_s_codes(block: &[u8], codes: &mut [u8]) {
    for (i, codes) in codes.chunks_exact_mut(8).enumerate() {
        let upper = usize::from(block[66 + i / 4] >> (2 * (i % 4)) & 3);
        put_eight(IQ2_S_GRID, upper << 8 | usize::from(block[2 + i]), block[34 + i], codes);
    }
}

pub(super) fn iq2_s_scales(block: &[u8], groups: &mut [GroupParams], supers: &mut [GroupParams]) {
    put_scales(half(block, 0), nibbles(&block[74..82]), groups, supers);
}

/// Bytes of points, then a word per group: 4 times 7 signs, and the scale above them.
pub(super) fn iq3_xxs_codes(block: &[u8], codes: &mut [u8]) {
    for (i, codes) in codes.chunks_exact_mut(4).enumerate() {
        let signs = even_signs(word32(block, 66 + 4 * (i / 8)) >> (7 * (i / 2 % 4)));
        put_four(IQ3_XXS_GRID, block[2 + i].into(), signs >> (4 * (i % 2)), codes);
    }
}

pub(super) fn iq3_xxs_scales(block: &[u8], groups: &mut [GroupParams], supers: &mut [GroupParams]) {
    put_scales(half(block, 0), (0..8).map(|g| word32(block, 66 + 4 * g) >> 28), groups, supers);
}

/// Bytes of the lower 8 bits of points, bits of their upper bit, and bits of signs.
pub(super) fn iq3_s_codes(block: &[u8], codes: &mut [u8]) {
    for (i, codes) in codes.chunks_exact_mut(4).enumerate() {
        let upper = usize::from(block[66 + i / 8] >> (i % 8) & 1);
        put_four(IQ3_S_GRID, upper << 8 | usize::from(block[2 + i]), block[74 + i / 2] >> (4 * (i % 2)), codes);
    }
}

pub(super) fn iq3_s_scales(block: &[u8], groups: &mut [GroupParams], supers: &mut [GroupParams]) {
    put_scales(half(block, 0), nibbles(&block[106..110]), groups, supers);
}

/// Writes the places of 8 numbers of which an eighth is subtracted, or to which it is added.
fn put_shifted(index: usize, less: bool, codes: &mut [u8]) {
    put_eight(IQ1_GRID, index, if less { 255 } else { 0 }, codes);
}

/// Bytes of the lower 8 bits of points, then a word per group: the upper 3 bits of 4 points, 3 bits of the scale, the sign of the eighth.
pub(super) fn iq1_s_codes(block: &[u8], codes: &mut [u8]) {
    for (i, codes) in codes.chunks_exact_mut(8).enumerate() {
        let word = word16(block, 34 + 2 * (i / 4));
        put_shifted(usize::from(word >> (3 * (i % 4)) & 7) << 8 | usize::from(block[2 + i]), word >> 15 == 1, codes);
    }
}

pub(super) fn iq1_s_scales(block: &[u8], groups: &mut [GroupParams], supers: &mut [GroupParams]) {
    let scale = |g: usize| u32::from(word16(block, 34 + 2 * g) >> 12 & 7);
    put_scales(half(block, 0), (0..8).map(scale), groups, supers);
}

/// Bytes of the lower 8 bits of points, then half a byte each: the upper 3 bits and the sign of the eighth.
pub(super) fn iq1_m_codes(block: &[u8], codes: &mut [u8]) {
    for (i, codes) in codes.chunks_exact_mut(8).enumerate() {
        let upper = block[32 + i / 2] >> (4 * (i % 2)) & 15;
        put_shifted(usize::from(upper & 7) << 8 | usize::from(block[i]), upper >> 3 == 1, codes);
    }
}

/// Four words, each of 4 scales of 3 bits, and a quarter of the f16 of the block above them.
pub(super) fn iq1_m_scales(block: &[u8], groups: &mut [GroupParams], supers: &mut [GroupParams]) {
    let word = |i: usize| word16(block, 48 + 2 * i);
    let d = word(0) >> 12 | word(1) >> 12 << 4 | word(2) >> 12 << 8 | word(3) >> 12 << 12;
    let scale = |g: usize| u32::from(word(g / 4) >> (3 * (g % 4)) & 7);
    put_scales(f16::from_bits(d).to_f32(), (0..16).map(scale), groups, supers);
}
