//! Matrix products of integer codes and of floats: their tiles, the order in which they are tried, and the loops.

pub(super) mod bytes;
pub(super) mod coop;
pub(super) mod float_matmul;
pub(super) mod heuristics;
pub(super) mod int16_planes;
pub(super) mod matmul;
pub(super) mod tiling;
