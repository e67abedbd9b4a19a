//! Shapes: dimensions in row-major order, the last innermost. Broadcasting rules are here; memory layout is in `pack`.

use std::fmt;
use std::ops::Range;

use crate::error::{Result, require};

/// The dimensions of a tensor, outermost first. Rank 0 is a scalar. A dimension of 0 makes the tensor empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Shape(Vec<usize>);

/// The largest number of dimensions of a tensor.
pub(crate) const MAX_RANK: usize = 8;

impl Shape {
    /// A shape with these dimensions, if a device can address it.
    ///
    /// # Errors
    /// If it has more than 8 dimensions or 2³¹ − 1 elements.
    pub fn new(dims: impl Into<Vec<usize>>) -> Result<Self> {
        let shape = Self(dims.into());
        require!(
            shape.rank() <= MAX_RANK,
            "{shape} has {} dimensions, but at most {MAX_RANK} are supported",
            shape.rank()
        );
        let fits = shape.0.iter().filter(|&&d| d != 0).try_fold(1usize, |product, &d| product.checked_mul(d));
        require!(
            fits.is_some_and(|n| n <= i32::MAX as usize),
            "{shape} has more than {} elements: split the tensor",
            i32::MAX
        );
        Ok(shape)
    }

    /// The dimensions, outermost first.
    #[must_use]
    pub fn dims(&self) -> &[usize] {
        &self.0
    }

    /// The number of dimensions.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// The number of elements.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.0.iter().product()
    }

    /// The length of the innermost dimension; 1 for a scalar.
    #[must_use]
    pub fn row_length(&self) -> usize {
        self.0.last().copied().unwrap_or(1)
    }

    /// The number of rows: the product of all dimensions but the innermost.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.0.split_last().map_or(1, |(_, outer)| outer.iter().product())
    }

    /// The output shape of an elementwise op on two shapes by NumPy's rules: aligned at the end, each pair of dimensions equal or
    /// one of them 1.
    ///
    /// # Errors
    /// If a pair of dimensions differs and neither is 1.
    ///
    /// ```
    /// use lowbit::Shape;
    /// let a = Shape::new([2, 3, 17])?;
    /// let b = Shape::new([3, 1])?;
    /// assert_eq!(a.broadcast(&b)?, a);
    /// # Ok::<(), lowbit::Error>(())
    /// ```
    pub fn broadcast(&self, other: &Self) -> Result<Self> {
        let rank = self.rank().max(other.rank());
        let mut dimensions = Vec::with_capacity(rank);
        for i in 0..rank {
            let (a, b) = (self.aligned(rank, i), other.aligned(rank, i));
            require!(
                a == b || a == 1 || b == 1,
                "{self} and {other} do not broadcast: {a} and {b} differ and neither is 1"
            );
            dimensions.push(if a == 1 { b } else { a });
        }
        Self::new(dimensions)
    }

    /// The linear index of this shape's element that output element `index` reads. This shape must broadcast to `output`.
    pub(crate) fn source_index(&self, output: &Self, index: usize) -> usize {
        let (mut rest, mut stride, mut source) = (index, 1, 0);
        for i in (0..output.rank()).rev() {
            let (extent, output_extent) = (self.aligned(output.rank(), i), output.dims()[i].max(1));
            if extent > 1 {
                source += rest % output_extent * stride;
            }
            stride *= extent;
            rest /= output_extent;
        }
        source
    }

    /// Dimension `i` of this shape extended to `rank` dimensions by leading ones.
    pub(crate) fn aligned(&self, rank: usize, i: usize) -> usize {
        let missing = rank - self.rank();
        if i < missing { 1 } else { self.0[i - missing] }
    }
}

/// The shortest runs of dimensions of two shapes that have as many elements as each other, outermost first. Both shapes must have
/// equal numbers of elements. A run of ones may belong to no dimension of the other shape.
pub(crate) fn runs(from: &[usize], to: &[usize]) -> Vec<(Range<usize>, Range<usize>)> {
    let (mut i, mut j) = (0, 0);
    let mut runs = Vec::new();
    while i < from.len() || j < to.len() {
        let (first, second) = (i, j);
        let (mut a, mut b) = (1, 1);
        while (i < from.len() && (i == first || a < b)) || (j < to.len() && (j == second || b < a)) {
            if i < from.len() && (i == first || a < b) {
                (a, i) = (a * from[i], i + 1);
            } else {
                (b, j) = (b * to[j], j + 1);
            }
        }
        if a != b {
            // No elements: a zero is further inwards in one of them.
            (i, j) = (from.len(), to.len());
        }
        runs.push((first..i, second..j));
    }
    runs
}

/// The dimensions of a tensor that was reshaped from `from` to `to` and has the dimensions `now` before it. In each run whose number
/// of elements changes, the outermost dimension that can changes in proportion. `None` if none can.
pub(crate) fn reshaped(from: &[usize], to: &[usize], now: &[usize]) -> Option<Vec<usize>> {
    let mut dims = to.to_vec();
    for (before, after) in runs(from, to).into_iter().filter(|(before, _)| from[before.clone()] != now[before.clone()])
    {
        let [old, new] = [from, now].map(|dims| dims[before.clone()].iter().product::<usize>());
        let scaled = |&size: &usize| size.checked_mul(new).filter(|product| old > 0 && product.is_multiple_of(old));
        let (axis, size) = after.into_iter().find_map(|axis| Some((axis, scaled(&to[axis])? / old)))?;
        dims[axis] = size;
    }
    Some(dims)
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_reshaped_dimensions() {
        type Case<'a> = (&'a [usize], &'a [usize], &'a [(usize, usize)]);
        let cases: [Case<'_>; 7] = [
            (&[4, 6], &[4, 2, 3], &[(1, 1), (1, 2)]),
            (&[4, 6, 5], &[24, 5], &[(2, 1), (1, 1)]),
            (&[6, 4], &[4, 6], &[(2, 2)]),
            (&[1, 6], &[1, 1, 6], &[(1, 1), (1, 2)]),
            (&[6, 1], &[6], &[(1, 1), (1, 0)]),
            (&[], &[1, 1], &[(0, 1), (0, 1)]),
            (&[3, 0], &[0, 7], &[(2, 2)]),
        ];
        for (from, to, expected) in cases {
            let got: Vec<_> = runs(from, to).into_iter().map(|(a, b)| (a.len(), b.len())).collect();
            assert_eq!(got, expected, "{from:?} to {to:?}");
        }
        assert_eq!(reshaped(&[4, 6], &[4, 2, 3], &[3, 6]), Some(vec![3, 2, 3]));
        assert_eq!(reshaped(&[4, 6, 5], &[24, 5], &[2, 5, 1]), Some(vec![10, 1]));
        assert_eq!(reshaped(&[24], &[4, 6], &[18]), Some(vec![3, 6]));
        assert_eq!(reshaped(&[24], &[4, 6], &[23]), None);
        assert_eq!(reshaped(&[6, 1], &[6], &[6, 2]), None);
    }
}
