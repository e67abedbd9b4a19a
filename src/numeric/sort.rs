//! Sorting of indices. Each type of element and each key would be a sort of its own, of 4 KB in WebAssembly.

use std::cmp::Ordering;

/// Sorts indices by a key. Equal ones keep their order.
pub(crate) fn sort_indices<K: Ord>(indices: &mut [usize], key: impl Fn(usize) -> K) {
    sort_indices_by(indices, &|a, b| key(a).cmp(&key(b)));
}

/// Sorts indices by a comparison. Equal ones keep their order.
pub(crate) fn sort_indices_by(indices: &mut [usize], compare: &dyn Fn(usize, usize) -> Ordering) {
    indices.sort_by(|&a, &b| compare(a, b));
}
