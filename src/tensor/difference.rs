//! The bitwise difference of two tensors. The caller judges if a difference matters.

use std::fmt;

use super::Tensor;
use crate::numeric::{DType, E2M1, E2M3, E3M2, E4M3FN, E4M3FNUZ, E5M2, E5M2FNUZ, E8M0, I2, I4, U2, U4};
use half::f16;

/// The first element that differs, and the number of differing elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    pub count: usize,
    place: Vec<usize>,
    shape: Vec<usize>,
    got: String,
    expected: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {:?} of {:?} got {}, expected {}", self.place, self.shape, self.got, self.expected)
    }
}

/// The difference of `got` and `expected`, which have equal data type and shape; `None` if they are equal. Floats are compared by
/// their bits.
pub(crate) fn first_difference(got: &Tensor, expected: &Tensor) -> Option<Difference> {
    debug_assert!(got.dtype() == expected.dtype() && got.dims() == expected.dims());
    fn find<T: fmt::Debug>(
        got: &[T],
        expected: &[T],
        same: impl Fn(&T, &T) -> bool,
    ) -> Option<(usize, usize, [String; 2])> {
        let mut differ = got.iter().zip(expected).enumerate().filter(|(_, (a, b))| !same(a, b));
        let (first, (a, b)) = differ.next()?;
        Some((first, 1 + differ.count(), [format!("{a:?}"), format!("{b:?}")]))
    }
    macro_rules! compare {
        ($kind:ty, $same:expr) => {
            find(got.values::<$kind>().ok()?, expected.values::<$kind>().ok()?, $same)
        };
    }
    let (mut index, count, [got, expected_value]) = match expected.dtype() {
        DType::Int2 => compare!(I2, |a, b| a == b),
        DType::Uint2 => compare!(U2, |a, b| a == b),
        DType::Int4 => compare!(I4, |a, b| a == b),
        DType::Uint4 => compare!(U4, |a, b| a == b),
        DType::Int8 => compare!(i8, |a, b| a == b),
        DType::Uint8 => compare!(u8, |a, b| a == b),
        DType::Int16 => compare!(i16, |a, b| a == b),
        DType::Uint16 => compare!(u16, |a, b| a == b),
        DType::Int32 => compare!(i32, |a, b| a == b),
        DType::Float4E2M1 => compare!(E2M1, |a, b| a == b),
        DType::Float6E2M3 => compare!(E2M3, |a, b| a == b),
        DType::Float6E3M2 => compare!(E3M2, |a, b| a == b),
        DType::Float8E4M3Fn => compare!(E4M3FN, |a, b| a == b),
        DType::Float8E4M3Fnuz => compare!(E4M3FNUZ, |a, b| a == b),
        DType::Float8E5M2 => compare!(E5M2, |a, b| a == b),
        DType::Float8E5M2Fnuz => compare!(E5M2FNUZ, |a, b| a == b),
        DType::Float8E8M0 => compare!(E8M0, |a, b| a == b),
        DType::Float16 => compare!(f16, |a, b| a.to_bits() == b.to_bits()),
        DType::Float32 => compare!(f32, |a, b| a.to_bits() == b.to_bits()),
        DType::Parameters => compare!((f32, i32), |a, b| a.0.to_bits() == b.0.to_bits() && a.1 == b.1),
    }?;
    let shape = expected.dims().to_vec();
    let mut place = vec![0; shape.len()];
    for (place, &extent) in place.iter_mut().zip(&shape).rev() {
        *place = index % extent;
        index /= extent;
    }
    Some(Difference { count, place, shape, got, expected: expected_value })
}
