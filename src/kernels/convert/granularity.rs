//! The index of an element's parameters, as the strides that `shaders/convert/parameter_index.wgsl` multiplies. Granularities are
//! defined in `tensor`.

use crate::kernels::Constant;
use crate::tensor::{Granularity, Quantization, Shape};

/// The two vec4s of the shader: (rows, extent, block, column block) and (outer, axis, inner, column step).
pub(crate) fn strides(granularity: Granularity, shape: &Shape) -> ([u32; 4], [u32; 4]) {
    let dims = shape.dims();
    let (axis, block) = match granularity {
        Granularity::Tensor => return ([1; 4], [0; 4]),
        Granularity::Axis(axis) => (axis, None),
        Granularity::Blocks { axis, size } => (axis, Some(size)),
    };
    let last = dims.len() - 1;
    let extent = dims[axis].max(1);
    // The scales of a blocked tensor have its shape with the axis divided by the block size. Scales of an axis are one line.
    let (blocks, size) = block.map_or((0, 1), |size| (extent.div_ceil(size), size.min(extent)));
    let words = |sizes: [usize; 4]| sizes.map(|size| size as u32);
    if axis == last {
        return (words([1, 1, 1, size]), words([blocks, 0, 0, 1]));
    }
    let rows = dims[axis + 1..last].iter().product::<usize>().max(1);
    let columns = dims[last];
    match block {
        None => (words([rows, extent, 1, 1]), words([0, 1, 0, 0])),
        Some(_) => (words([rows, extent, size, 1]), words([blocks * rows * columns, rows * columns, columns, 1])),
    }
}

/// The scales and zero points of a quantization.
pub(crate) fn constant(quantization: &Quantization) -> Constant {
    let of = quantization.clone();
    Constant::new("scales and zero points", 2 * quantization.scales().len(), move || words(&of))
}

/// Pairs of scale bits and zero point, as the shaders read them.
fn words(quantization: &Quantization) -> Vec<u32> {
    let pair = |i: usize| [quantization.scale(i).to_bits(), quantization.zero_point(i) as u32];
    (0..quantization.scales().len()).flat_map(pair).collect()
}
