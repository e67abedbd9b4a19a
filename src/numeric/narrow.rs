//! Integers narrower than a byte, which have no Rust type. Packing into bytes and words is in `pack`.

macro_rules! narrow {
    ($($(#[$doc:meta])* $name:ident: $inner:ty, $bits:literal bits;)+) => {$(
        $(#[$doc])*
        ///
        /// Tensors hold it as a byte ([`bytemuck::Pod`]): cast only bytes that are codes.
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, bytemuck::Pod, bytemuck::Zeroable,
        )]
        #[repr(transparent)]
        pub struct $name($inner);

        impl $name {
            /// The least code.
            pub const MIN: Self = Self(<$inner>::MIN >> (8 - $bits));
            /// The greatest code.
            pub const MAX: Self = Self(<$inner>::MAX >> (8 - $bits));

            /// This code; `None` if it is out of range.
            #[must_use]
            pub const fn new(code: $inner) -> Option<Self> {
                if Self::MIN.0 <= code && code <= Self::MAX.0 { Some(Self(code)) } else { None }
            }

            /// The code as a number.
            #[must_use]
            pub const fn get(self) -> $inner {
                self.0
            }
        }
    )+};
}
narrow! {
    /// A 2-bit integer, −2 … 1.
    I2: i8, 2 bits;
    /// A 2-bit integer, 0 … 3.
    U2: u8, 2 bits;
    /// A 3-bit integer, −4 … 3.
    I3: i8, 3 bits;
    /// A 3-bit integer, 0 … 7.
    U3: u8, 3 bits;
    /// A 4-bit integer, −8 … 7.
    ///
    /// ```
    /// use lowbit::numeric::I4;
    /// assert_eq!(I4::new(-8).map(I4::get), Some(-8));
    /// assert_eq!(I4::new(8), None);
    /// ```
    I4: i8, 4 bits;
    /// A 4-bit integer, 0 … 15.
    U4: u8, 4 bits;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_a_byte_are_those_in_range() {
        for byte in 0..=u8::MAX {
            let signed = byte as i8;
            assert_eq!(I2::new(signed).is_some(), (-2..=1).contains(&signed));
            assert_eq!(U2::new(byte).is_some(), byte <= 3);
            assert_eq!(I3::new(signed).is_some(), (-4..=3).contains(&signed));
            assert_eq!(U3::new(byte).is_some(), byte <= 7);
            assert_eq!(I4::new(signed).is_some(), (-8..=7).contains(&signed));
            assert_eq!(U4::new(byte).is_some(), byte <= 15);
        }
    }
}
