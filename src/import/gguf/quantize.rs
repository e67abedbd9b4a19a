//! Quantizes real numbers to GGUF's blocks with the same bytes as ggml's reference quantizers. For types whose scales ggml
//! searches, it takes the search of `search`.

use half::f16;

use super::{GgufQuantizer, GgufType, half_of_e8m0};
use crate::error::{Result, require};

/// The blocks of real numbers. In `Q4_0`, `Q4_1`, `Q5_0`, `Q5_1`, `Q8_0` and `MXFP4` they are byte for byte the result of ggml's
/// `quantize_row_*_ref`:
///
/// ```text
/// Q4_0, Q5_0    d = x / −8 (−16) of the x of greatest |x|           q = ⌊x · (1 / d) + 8.5⌋ (16.5)
/// Q4_1, Q5_1    m = min x, d = (max x − m) / 15 (31)                q = ⌊(x − m) · (1 / d) + 0.5⌋
/// Q8_0          d = max |x| / 127                                   q = x · (1 / d), rounded half away from 0
/// MXFP4         e = ⌊log₂ max |x|⌋ + 125                            q = the nearest, the first of two
/// ```
///
/// Each operation is rounded to f32. Codes are computed with d before it is rounded to f16.
///
/// In the other types, for which ggml searches scales, they are those of [`GgufQuantizer`], which searches in its own way.
/// It takes the importance of columns, and makes blocks of less error in the six types above.
///
/// Source: `ggml-quants.c` in the repository `ggml-org/ggml`.
///
/// # Errors
/// If the numbers don't fill whole blocks or aren't all finite, or a scale or offset would be beyond what the type stores.
pub fn quantize(gguf_type: GgufType, values: &[f32]) -> Result<Vec<u8>> {
    let block: fn(&[f32], &mut [u8]) = match gguf_type {
        GgufType::Q4_0 => |x, out| signed(x, out, 4),
        GgufType::Q4_1 => |x, out| with_minimum(x, out, 4),
        GgufType::Q5_0 => |x, out| signed(x, out, 5),
        GgufType::Q5_1 => |x, out| with_minimum(x, out, 5),
        GgufType::Q8_0 => q8_0,
        GgufType::MXFP4 => mxfp4,
        _ => return GgufQuantizer::new(gguf_type).quantize(values),
    };
    let size = gguf_type.block();
    check(values, size)?;
    let mut out = vec![0; values.len() / size * gguf_type.block_bytes()];
    for (i, (x, out)) in values.chunks_exact(size).zip(out.chunks_exact_mut(gguf_type.block_bytes())).enumerate() {
        block(x, out);
        let halves = match gguf_type {
            GgufType::MXFP4 => 0,
            GgufType::Q4_1 | GgufType::Q5_1 => 2,
            _ => 1,
        };
        let fits = (0..halves).all(|h| super::half(out, 2 * h).is_finite());
        require!(fits, "the numbers of block {i} are too large for an f16 scale: divide them by a constant first");
    }
    Ok(out)
}

/// An error unless the numbers are finite and fill whole blocks.
pub(super) fn check(values: &[f32], block: usize) -> Result<()> {
    require!(
        values.len().is_multiple_of(block),
        "{} numbers are no whole blocks of {block}: fill up with zeros",
        values.len()
    );
    let odd = values.iter().position(|value| !value.is_finite());
    require!(odd.is_none(), "number {} is not finite, and can't be quantized", odd.unwrap_or_default());
    Ok(())
}

fn put_half(out: &mut [u8], value: f32) {
    out[..2].copy_from_slice(&f16::from_f32(value).to_le_bytes());
}

/// 1 / d, or 0 for d = 0.
fn reciprocal(d: f32) -> f32 {
    if d == 0.0 { 0.0 } else { 1.0 / d }
}

/// Writes codes of 4 or 5 bits. With 5 bits, the fifth bits of all codes come first.
fn put_codes(out: &mut [u8], bits: usize, codes: impl Fn(usize) -> u8) {
    let (high, low) = out.split_at_mut(if bits == 5 { 4 } else { 0 });
    for (j, byte) in low.iter_mut().enumerate() {
        *byte = codes(j) & 15 | codes(j + 16) << 4;
    }
    for (b, byte) in high.iter_mut().enumerate() {
        *byte = (0..8).fold(0, |byte, i| byte | (codes(8 * b + i) >> 4) << i);
    }
}

/// Q4_0 and Q5_0.
fn signed(x: &[f32], out: &mut [u8], bits: usize) {
    let (half, top) = ((1 << (bits - 1)) as f32, (1i8 << bits) - 1);
    // The first of equal magnitudes wins.
    let extreme = x.iter().fold(0.0f32, |extreme, &x| if x.abs() > extreme.abs() { x } else { extreme });
    let d = extreme / -half;
    let reciprocal = reciprocal(d);
    put_half(out, d);
    put_codes(&mut out[2..], bits, |j| ((x[j] * reciprocal + (half + 0.5)) as i8).min(top) as u8);
}

/// Q4_1 and Q5_1.
fn with_minimum(x: &[f32], out: &mut [u8], bits: usize) {
    let top = (1i8 << bits) - 1;
    let least = x.iter().fold(f32::MAX, |least, &x| if x < least { x } else { least });
    let greatest = x.iter().fold(f32::MIN, |greatest, &x| if x > greatest { x } else { greatest });
    let d = (greatest - least) / f32::from(top);
    let reciprocal = reciprocal(d);
    put_half(out, d);
    put_half(&mut out[2..], least);
    put_codes(&mut out[4..], bits, |j| (((x[j] - least) * reciprocal + 0.5) as i8).min(top) as u8);
}

fn q8_0(x: &[f32], out: &mut [u8]) {
    let d = x.iter().fold(0.0f32, |greatest, x| greatest.max(x.abs())) / 127.0;
    let reciprocal = reciprocal(d);
    put_half(out, d);
    for (byte, x) in out[2..].iter_mut().zip(x) {
        *byte = (x * reciprocal).round() as i8 as u8;
    }
}

fn mxfp4(x: &[f32], out: &mut [u8]) {
    let greatest = x.iter().fold(0.0f32, |greatest, x| greatest.max(x.abs()));
    // The logarithm is rounded to f32, which may give the next integer. It is computed in f64, so it is equal on every
    // platform.
    let logarithm = f64::from(greatest).log2() as f32;
    let e = if greatest > 0.0 { (logarithm.floor() - 2.0 + 127.0) as u8 } else { 0 };
    let d = half_of_e8m0(e);
    out[0] = e;
    put_codes(&mut out[1..], 4, |j| {
        let error = |code: u8| (doubled_e2m1(code) * d - x[j]).abs();
        (1..16).fold(0, |best, code| if error(code) < error(best) { code } else { best })
    });
}

fn doubled_e2m1(code: u8) -> f32 {
    const VALUES: [u8; 8] = [0, 1, 2, 3, 4, 6, 8, 12];
    let value = f32::from(VALUES[usize::from(code & 7)]);
    if code & 8 == 0 { value } else { -value }
}
