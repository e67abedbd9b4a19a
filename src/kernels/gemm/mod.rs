//! Matrix products of integer codes and of floats: their tiles and loops.

pub(super) mod bytes;
pub(super) mod coop;
#[cfg(feature = "float")]
pub(super) mod float_matmul;
pub(super) mod int16_planes;
pub(super) mod matmul;
pub(super) mod product;
pub(super) mod tiling;
