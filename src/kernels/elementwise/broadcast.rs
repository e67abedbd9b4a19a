//! Two or three operands under NumPy broadcasting, as `shaders/elementwise/operand_rows.wgsl` reads them, and the operands that an
//! elementwise op may overwrite. The rules of broadcasting are in `tensor`.

use crate::kernels::Dispatch;
use crate::tensor::{Shape, TensorType};

/// The dimensions of the output except the last `inner`, innermost first, and their number. Each is the extent and the strides of
/// the operands, in rows or matrices; a stride is 0 along a dimension that the operand repeats.
pub(crate) fn dimensions<const N: usize>(
    operands: &[&TensorType],
    output: &Shape,
    inner: usize,
) -> ([[u32; 4]; N], u32) {
    let rank = output.rank();
    let count = rank.saturating_sub(inner);
    let mut dimensions = [[0; 4]; N];
    let mut strides = [1; 3];
    for (dimension, axis) in dimensions.iter_mut().zip((0..count).rev()) {
        dimension[0] = output.dims()[axis] as u32;
        for (i, operand) in operands.iter().enumerate() {
            let extent = operand.shape().aligned(rank, axis);
            dimension[1 + i] = if extent == 1 { 0 } else { strides[i] as u32 };
            strides[i] *= extent;
        }
    }
    (dimensions, count as u32)
}

/// The launch of an elementwise program whose output may overwrite either operand of its shape.
pub(crate) fn in_place(mut launch: Dispatch, operands: [&TensorType; 2], output: &Shape) -> Dispatch {
    for (input, operand) in operands.into_iter().enumerate() {
        if operand.shape() == output {
            launch = launch.in_place(input);
        }
    }
    launch
}
