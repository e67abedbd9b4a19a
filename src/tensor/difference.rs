//! The bitwise difference of two tensors. The caller judges if a difference matters.

use std::fmt;

use super::{Element, Tensor};
use crate::numeric::{DType, each_dtype, element};

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
    fn find<T: Element + fmt::Debug>(got: &Tensor, expected: &Tensor) -> Option<(usize, usize, [String; 2])> {
        let (got, expected) = (got.values::<T>().ok()?, expected.values::<T>().ok()?);
        let differs = |(a, b)| bytemuck::bytes_of::<T>(a) != bytemuck::bytes_of::<T>(b);
        let mut differ = got.iter().zip(expected).enumerate().filter(|(_, pair)| differs(*pair));
        let (first, (a, b)) = differ.next()?;
        Some((first, 1 + differ.count(), [format!("{a:?}"), format!("{b:?}")]))
    }
    macro_rules! find {
        ($(#[doc = $doc:literal] $variant:ident: $element:ty, $name:literal, $bits:literal bits, $encoding:expr;)+) => {
            match expected.dtype() {
                $(DType::$variant => find::<element::$variant>(got, expected),)+
            }
        };
    }
    let (mut index, count, [got, expected_value]) = each_dtype!(find)?;
    let shape = expected.dims().to_vec();
    let mut place = vec![0; shape.len()];
    for (place, &extent) in place.iter_mut().zip(&shape).rev() {
        *place = index % extent;
        index /= extent;
    }
    Some(Difference { count, place, shape, got, expected: expected_value })
}
