//! Floats of 4 to 8 bits and the powers of two of block scales, which have no Rust type. The shaders' versions
//! are `shaders/convert/decode_*.wgsl` and `shaders/convert/encode_*.wgsl`. Packing into bytes and words is in `pack`.

use super::{DType, Encoding};

/// The layout of the codes of a small float: from the top, a sign, an exponent, and a mantissa of `mantissa` bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Minifloat {
    /// Number of bits of a code; the highest is the sign.
    pub width: u32,
    /// Number of bits of the mantissa.
    pub mantissa: u32,
    /// The exponent bias: a code with exponent field e is 2^(e − bias) · 1.mantissa, or 2^(1 − bias) · 0.mantissa for e = 0.
    pub bias: u32,
    /// The code of the greatest finite number.
    pub greatest: u32,
    /// The code of infinity, if there is one.
    pub infinity: Option<u32>,
    /// The code that NaN is encoded as: the code of NaN, or of −0 if there is no NaN, as in ONNX's own tests.
    pub nan: u32,
    /// True if the code of −0 is NaN.
    pub unsigned_zero: bool,
}

/// The rounding of a number between two powers of two (the `round_mode` of ONNX Cast).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum PowerRounding {
    /// To the power above, so that nothing scaled by it overflows.
    #[default]
    Up,
    /// To the power below.
    Down,
    /// To the nearer power; halfway up.
    Nearest,
}

/// The code of NaN in E8M0.
pub(crate) const E8M0_NAN: u32 = 255;

impl Minifloat {
    /// The layout of a data type; `None` if it is not a signed float of at most 8 bits.
    pub(crate) const fn of(dtype: DType) -> Option<Self> {
        if let Encoding::Minifloat(layout) = dtype.encoding() { Some(layout) } else { None }
    }

    /// True if all codes are int8 numbers in units of the least positive one.
    pub(crate) const fn fits_int8(self) -> bool {
        let (field, fraction) = (self.greatest >> self.mantissa, self.greatest & ((1 << self.mantissa) - 1));
        let finite = self.infinity.is_none() && self.first_nan() == 1 << self.width && !self.unsigned_zero;
        finite && field <= 7 && (fraction | 1 << self.mantissa) << (field - 1) <= 127
    }

    /// The least code without sign that is NaN; beyond all codes if there is no NaN, or if NaN has the code of −0.
    pub(crate) const fn first_nan(self) -> u32 {
        match self.infinity {
            Some(infinity) => infinity + 1,
            None if self.nan < 1 << (self.width - 1) => self.nan,
            None => 1 << self.width,
        }
    }

    /// The code of numbers beyond the greatest: the greatest itself, infinity or NaN.
    pub(crate) const fn overflow(self, saturate: bool) -> u32 {
        match self.infinity {
            _ if saturate || self.width < 8 => self.greatest,
            Some(infinity) => infinity,
            None => self.nan,
        }
    }

    /// The exact number of a code.
    pub(crate) fn decode(self, code: u32) -> f32 {
        let sign_bit = 1 << (self.width - 1);
        let (negative, magnitude) = (code & sign_bit != 0, code & (sign_bit - 1));
        if magnitude >= self.first_nan() || (self.unsigned_zero && code == self.nan) {
            return f32::NAN.copysign(if negative { -1.0 } else { 1.0 });
        }
        let (field, fraction) = (magnitude >> self.mantissa, magnitude & ((1 << self.mantissa) - 1));
        let unit = |field: u32| f32::from_bits((127 + field - self.bias - self.mantissa) << 23);
        let value = match field {
            _ if self.infinity == Some(magnitude) => f32::INFINITY,
            0 => fraction as f32 * unit(1),
            _ => (fraction + (1 << self.mantissa)) as f32 * unit(field),
        };
        if negative { -value } else { value }
    }

    /// The code nearest to a number, ties to even. Numbers beyond the greatest become the greatest if `saturate`, else infinity or
    /// NaN. Types of 6 and 4 bits have neither and always saturate.
    pub(crate) fn encode(self, value: f32, saturate: bool) -> u32 {
        let bits = value.to_bits();
        let sign = (bits >> 31) << (self.width - 1);
        let magnitude = bits & 0x7fff_ffff;
        if value.is_nan() {
            return sign | self.nan;
        }
        // The number in units of the last bit of the code: the bits `kept`, of which the low `shift` bits are cut off.
        let least_normal = (128 - self.bias) << 23;
        let (kept, shift) = if magnitude >= least_normal {
            (magnitude - ((127 - self.bias) << 23), 23 - self.mantissa)
        } else {
            let below = 128 - self.bias - (magnitude >> 23);
            ((magnitude & 0x7f_ffff) | 0x80_0000, (23 - self.mantissa + below).min(25))
        };
        let (rest, tie) = (kept & ((1 << shift) - 1), 1 << (shift - 1));
        let floor = kept >> shift;
        let code = floor + u32::from(rest > tie || (rest == tie && floor & 1 == 1));
        match code {
            0 if self.unsigned_zero => 0,
            code if code > self.greatest => sign | self.overflow(saturate),
            code => sign | code,
        }
    }

    /// The code of a quotient by a scale: as [`encode`](Self::encode), but −0 becomes 0 in types below 8 bits.
    pub(crate) fn encode_quotient(self, quotient: f32, saturate: bool) -> u32 {
        // ONNX's own tests add the zero point to floats below 8 bits.
        if self.width < 8 && quotient == 0.0 { 0 } else { self.encode(quotient, saturate) }
    }
}

/// The code of the power of two that a number's magnitude is rounded to; see [`E8M0::from_f32`].
pub(crate) fn encode_power(value: f32, rounding: PowerRounding, saturate: bool) -> u32 {
    let magnitude = value.to_bits() & 0x7fff_ffff;
    if magnitude >= 0x7f80_0000 {
        return E8M0_NAN;
    }
    let (mut field, mut fraction) = (magnitude >> 23, magnitude & 0x7f_ffff);
    if field == 0 {
        // 2⁻¹²⁷ is subnormal, and smaller numbers become 2⁻¹²⁷.
        (field, fraction) = (0, if fraction < 0x40_0000 { 0 } else { (fraction << 1) & 0x7f_ffff });
    }
    let up = match rounding {
        PowerRounding::Up => fraction > 0,
        PowerRounding::Down => false,
        PowerRounding::Nearest => fraction >= 0x40_0000,
    };
    match field + u32::from(up) {
        E8M0_NAN if saturate => E8M0_NAN - 1,
        code => code,
    }
}

/// The power of two of a code.
pub(crate) fn decode_power(code: u32) -> f32 {
    match code {
        E8M0_NAN => f32::NAN,
        0 => f32::from_bits(1 << 22),
        code => f32::from_bits(code << 23),
    }
}

macro_rules! minifloat {
    ($($(#[$doc:meta])* $name:ident: $layout:expr;)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, bytemuck::Pod, bytemuck::Zeroable)]
        #[repr(transparent)]
        pub struct $name(u8);

        impl $name {
            /// The layout of the codes.
            pub(crate) const LAYOUT: Minifloat = $layout;

            /// The number of the code in the low bits of a byte; the other bits are ignored.
            #[must_use]
            pub const fn from_bits(bits: u8) -> Self {
                Self(bits & (u8::MAX >> (8 - Self::LAYOUT.width)))
            }

            /// The code.
            #[must_use]
            pub const fn to_bits(self) -> u8 {
                self.0
            }

            /// The nearest number, ties to even; numbers beyond the greatest become the greatest.
            #[must_use]
            pub fn from_f32(value: f32) -> Self {
                Self(Self::LAYOUT.encode(value, true) as u8)
            }

            /// The exact value in f32.
            #[must_use]
            pub fn to_f32(self) -> f32 {
                Self::LAYOUT.decode(self.0.into())
            }
        }
    )+};
}
minifloat! {
    /// An 8-bit float with 4 bits of exponent and 3 of mantissa, up to 448; it has NaN but no infinity (OCP FP8 E4M3, ONNX
    /// FLOAT8E4M3FN).
    ///
    /// ```
    /// use lowbit::numeric::E4M3FN;
    /// assert_eq!(E4M3FN::from_f32(1.0).to_bits(), 0x38);
    /// assert_eq!(E4M3FN::from_f32(17.0).to_f32(), 16.0); // between 16 and 18: ties to even
    /// assert_eq!(E4M3FN::from_f32(1e9).to_f32(), 448.0);
    /// ```
    E4M3FN: Minifloat { width: 8, mantissa: 3, bias: 7, greatest: 0x7e, infinity: None, nan: 0x7f, unsigned_zero: false };
    /// An 8-bit float like [`E4M3FN`] with a bias of 8, up to 240; its only NaN is the code of −0 (ONNX FLOAT8E4M3FNUZ).
    E4M3FNUZ: Minifloat { width: 8, mantissa: 3, bias: 8, greatest: 0x7f, infinity: None, nan: 0x80, unsigned_zero: true };
    /// An 8-bit float with 5 bits of exponent and 2 of mantissa, up to 57,344, with infinities and NaN: the upper half of a
    /// float16 (OCP FP8 E5M2, ONNX FLOAT8E5M2).
    E5M2: Minifloat { width: 8, mantissa: 2, bias: 15, greatest: 0x7b, infinity: Some(0x7c), nan: 0x7f, unsigned_zero: false };
    /// An 8-bit float like [`E5M2`] with a bias of 16 and no infinities; its only NaN is the code of −0 (ONNX FLOAT8E5M2FNUZ).
    E5M2FNUZ: Minifloat { width: 8, mantissa: 2, bias: 16, greatest: 0x7f, infinity: None, nan: 0x80, unsigned_zero: true };
    /// A 6-bit float with 2 bits of exponent and 3 of mantissa, up to 7.5; all codes are numbers (OCP FP6 E2M3).
    E2M3: Minifloat { width: 6, mantissa: 3, bias: 1, greatest: 0x1f, infinity: None, nan: 0x20, unsigned_zero: false };
    /// A 6-bit float with 3 bits of exponent and 2 of mantissa, up to 28; all codes are numbers (OCP FP6 E3M2).
    E3M2: Minifloat { width: 6, mantissa: 2, bias: 3, greatest: 0x1f, infinity: None, nan: 0x20, unsigned_zero: false };
    /// A 4-bit float with 2 bits of exponent and 1 of mantissa: 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives (OCP FP4, ONNX
    /// FLOAT4E2M1).
    E2M1: Minifloat { width: 4, mantissa: 1, bias: 1, greatest: 0x7, infinity: None, nan: 0x8, unsigned_zero: false };
}

/// A power of two, 2⁻¹²⁷ … 2¹²⁷, or NaN: the scale of a block (OCP MX, ONNX FLOAT8E8M0).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(transparent)]
pub struct E8M0(u8);

impl E8M0 {
    /// The power of two of a code: 2^(code − 127); 255 is NaN.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// The code.
    #[must_use]
    pub const fn to_bits(self) -> u8 {
        self.0
    }

    /// The power of two that a number's magnitude is rounded to. Zero and magnitudes below 2⁻¹²⁷ become 2⁻¹²⁷, magnitudes above
    /// 2¹²⁷ become 2¹²⁷, NaN and infinity become NaN; the sign is ignored.
    ///
    /// ```
    /// use lowbit::numeric::{E8M0, PowerRounding};
    /// assert_eq!(E8M0::from_f32(1.1, PowerRounding::Up).to_f32(), 2.0);
    /// assert_eq!(E8M0::from_f32(1.1, PowerRounding::Nearest).to_f32(), 1.0);
    /// ```
    #[must_use]
    pub fn from_f32(value: f32, rounding: PowerRounding) -> Self {
        Self(encode_power(value, rounding, true) as u8)
    }

    /// The exact value in f32.
    #[must_use]
    pub fn to_f32(self) -> f32 {
        decode_power(self.0.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::f16;

    fn formats() -> impl Iterator<Item = DType> {
        DType::ALL.iter().copied().filter(|dtype| dtype.is_minifloat())
    }

    /// The table of a data type without its layout: 2^e · 1.m from the definitions in OCP's and ONNX's documents.
    fn numbers(dtype: DType) -> Vec<f64> {
        // Mantissa steps, the exponent of the least normal number, and the greatest number.
        let (steps, least, greatest) = match dtype {
            DType::Float8E4M3Fn => (8, -6, 448.0),
            DType::Float8E4M3Fnuz => (8, -7, 240.0),
            DType::Float8E5M2 => (4, -14, 57_344.0),
            DType::Float8E5M2Fnuz => (4, -15, 57_344.0),
            DType::Float6E2M3 => (8, 0, 7.5),
            DType::Float6E3M2 => (4, -2, 28.0),
            DType::Float4E2M1 => (2, 0, 6.0),
            other => panic!("write the definition of {other}"),
        };
        let subnormal = (0..steps).map(|m| f64::from(m) / f64::from(steps) * f64::from(least).exp2());
        let normal = (least..=16)
            .flat_map(|e| (0..steps).map(move |m| (1.0 + f64::from(m) / f64::from(steps)) * f64::from(e).exp2()));
        subnormal.chain(normal).filter(|&x| x <= greatest).collect()
    }

    /// The index of the nearest table entry by exact comparison (f64 holds sums of neighbours); `None` beyond the table. At its
    /// end, the tie is with a virtual next entry, as far from the last as the one before.
    fn nearest(table: &[f64], size: f64) -> Option<u32> {
        let last = table.len() - 1;
        if size > table[last] {
            let beyond = 2.0 * table[last] - table[last - 1];
            let middle = (table[last] + beyond) / 2.0;
            return (size < middle || (size == middle && last.is_multiple_of(2))).then_some(last as u32);
        }
        let above = table.partition_point(|&x| x < size);
        if table[above] == size {
            return Some(above as u32);
        }
        let middle = (table[above - 1] + table[above]) / 2.0;
        let up = size > middle || (size == middle && above.is_multiple_of(2));
        Some(if up { above } else { above - 1 } as u32)
    }

    fn slow_encode(dtype: DType, table: &[f64], value: f32, saturate: bool) -> u32 {
        let layout = Minifloat::of(dtype).unwrap();
        let sign = if value.is_sign_negative() { 1 << (layout.width - 1) } else { 0 };
        let name = dtype.to_string();
        let nan = match &name[..] {
            "float8e4m3fn" => sign | 0x7f,
            "float8e5m2" => sign | 0x7f,
            "float8e4m3fnuz" | "float8e5m2fnuz" => 0x80,
            "float6e2m3" | "float6e3m2" | "float4e2m1" => 1 << (layout.width - 1),
            other => panic!("write the NaN of {other}"),
        };
        if value.is_nan() {
            return nan;
        }
        match nearest(table, f64::from(value.abs())) {
            Some(0) if name.ends_with("uz") => 0,
            Some(place) => sign | place,
            None if saturate || layout.width < 8 => sign | (table.len() as u32 - 1),
            None if name == "float8e5m2" => sign | 0x7c,
            None => nan,
        }
    }

    #[test]
    fn codes_are_the_numbers_of_the_table() {
        for format in formats() {
            let (layout, table) = (Minifloat::of(format).unwrap(), numbers(format));
            for code in 0..1 << layout.width {
                let (place, negative) = (code & ((1 << (layout.width - 1)) - 1), code >> (layout.width - 1) == 1);
                let got = layout.decode(code);
                match table.get(place as usize) {
                    Some(_) if layout.unsigned_zero && negative && place == 0 => assert!(got.is_nan()),
                    Some(&size) => {
                        assert_eq!(f64::from(got), if negative { -size } else { size }, "{format} {code:#x}")
                    }
                    None if format == DType::Float8E5M2 && place == 0x7c => assert!(got.is_infinite()),
                    None => assert!(got.is_nan(), "{format} {code:#x}"),
                }
                // The number of a code is encoded to that code again.
                if !got.is_nan() {
                    assert_eq!(layout.encode(got, false), code, "{format} {code:#x}");
                }
            }
        }
    }

    #[test]
    fn floats_that_fit_int8_are_integers_times_their_least_number() {
        for format in formats() {
            let layout = Minifloat::of(format).unwrap();
            let steps = (0..1 << layout.width).map(|code| layout.decode(code) / layout.decode(1));
            let fits = steps.into_iter().all(|steps| steps.fract() == 0.0 && (-128.0..=127.0).contains(&steps));
            assert_eq!(layout.fits_int8(), fits, "{format}");
        }
    }

    #[test]
    fn numbers_become_the_nearest_of_the_table() {
        for format in formats() {
            let (layout, table) = (Minifloat::of(format).unwrap(), numbers(format));
            let halves = (0..=u16::MAX).map(|bits| f16::from_bits(bits).to_f32());
            // Every number, every midpoint between two, and their neighbours in f32.
            let middles = table.windows(2).flat_map(|pair| [pair[0], (pair[0] + pair[1]) / 2.0]);
            let last = table[table.len() - 1];
            let ends = [last, 1.5 * last - 0.5 * table[table.len() - 2], f64::from(f32::MAX)];
            let near = middles.chain(ends).flat_map(|x| (-2i32..=2).map(move |by| (x as f32, by)));
            let near = near.map(|(x, by)| f32::from_bits(x.to_bits().wrapping_add_signed(by) & 0x7fff_ffff));
            let tiny = [1u32, 0x7f_ffff, 0x80_0000].map(f32::from_bits);
            for value in halves.chain(near.chain(tiny).flat_map(|x| [x, -x])) {
                for saturate in [true, false] {
                    let (got, expected) =
                        (layout.encode(value, saturate), slow_encode(format, &table, value, saturate));
                    assert_eq!(got, expected, "{value:e} ({:#x}) as {format}", value.to_bits());
                }
            }
        }
    }

    #[test]
    fn powers_of_two_are_the_next_or_nearest() {
        let powers: Vec<f64> = (-127..=127).map(|e| f64::from(e).exp2()).collect();
        let slow = |size: f64, rounding| {
            let above = powers.partition_point(|&x| x < size);
            if above == 0 {
                return Some(0);
            }
            if above < powers.len() && powers[above] == size {
                return Some(above);
            }
            let up = match rounding {
                PowerRounding::Up => true,
                PowerRounding::Down => false,
                PowerRounding::Nearest => size >= 1.5 * powers[above - 1],
            };
            Some(if up { above } else { above - 1 }).filter(|&place| place < powers.len())
        };
        let near = powers.iter().flat_map(|&x| [x, 1.5 * x]).flat_map(|x| (-2i32..=2).map(move |by| (x as f32, by)));
        let near = near.map(|(x, by)| f32::from_bits(x.to_bits().wrapping_add_signed(by)));
        let halves = (0..=u16::MAX).map(|bits| f16::from_bits(bits).to_f32());
        for value in near.chain(halves).chain([f32::MAX, f32::from_bits(1), 0.0]) {
            for rounding in [PowerRounding::Up, PowerRounding::Down, PowerRounding::Nearest] {
                for saturate in [true, false] {
                    let expected = match slow(f64::from(value.abs()), rounding) {
                        _ if !value.is_finite() => E8M0_NAN,
                        Some(place) => place as u32,
                        None if saturate => 254,
                        None => E8M0_NAN,
                    };
                    assert_eq!(encode_power(value, rounding, saturate), expected, "{value:e} {rounding:?}");
                }
            }
        }
        for code in 0..255u8 {
            assert_eq!(E8M0::from_f32(E8M0::from_bits(code).to_f32(), PowerRounding::Up).to_bits(), code);
        }
        assert!(E8M0::from_bits(255).to_f32().is_nan());
    }
}
