//! The class of an op: one candidate is expected to be the fastest for all ops of a class. `tune` keeps one choice per class, and
//! does not know what an op computes. Legality is not checked here: labels are checked when they are used.

use crate::ops::Op;
use crate::tensor::TensorType;

/// Name, types of inputs and outputs, and shape of the weights: `matmul(uint8[64, 512]) -> int32[64, 10], int8[512, 10]`.
///
/// The number of rows of inputs and outputs is rounded up to a power of two, so that nearby batch sizes share a class.
pub(crate) fn class(op: &Op) -> String {
    let list = |types: Vec<TensorType>| types.iter().map(rounded).collect::<Vec<_>>().join(", ");
    let name = match op {
        Op::Fused(op) => format!("{} + {}", op.first().name(), op.then().name()),
        op => op.name().to_string(),
    };
    let mut class = format!("{name}({}) -> {}", list(op.inputs()), list(op.outputs()));
    // The constant operand determines the amount of work. Biases and tables are left out: they are small or of one size.
    if let Some(weights) = op.weights_description() {
        class += &format!(", {weights}");
    }
    class
}

/// The type with its leading dimensions as one, rounded up. All dimensions of a vector are rows.
fn rounded(tensor_type: &TensorType) -> String {
    let shape = tensor_type.shape();
    let (rows, length) = match shape.dims() {
        [elements] => (*elements, 1),
        _ => (shape.rows(), shape.row_length()),
    };
    format!("{}[{}, {length}]", tensor_type.dtype(), rows.next_power_of_two())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numeric::DType;
    use crate::ops::{Dequantize, Matmul};
    use crate::tensor::{Quantization, Tensor};

    fn matmul(lhs: DType, m: usize, n: usize) -> String {
        let lhs = TensorType::new(lhs, [m, 16]).expect("a small shape");
        let rhs = Tensor::new([16, n], vec![1i8; 16 * n]).expect("as many elements");
        class(&Matmul::new(lhs, rhs).build().expect("a sound op").into())
    }

    #[test]
    fn nearby_batches_share_a_class() {
        assert_eq!(matmul(DType::Uint8, 5, 10), "matmul(uint8[8, 16]) -> int32[8, 10], int8[16, 10]");
        assert_eq!(matmul(DType::Uint8, 5, 10), matmul(DType::Uint8, 8, 10));
        assert_ne!(matmul(DType::Uint8, 8, 10), matmul(DType::Uint8, 9, 10));
        assert_ne!(matmul(DType::Uint8, 5, 10), matmul(DType::Int8, 5, 10));
        assert_ne!(matmul(DType::Uint8, 5, 10), matmul(DType::Uint8, 5, 11));
    }

    #[test]
    fn every_rank_has_a_class() {
        for (dimensions, expected) in [
            (vec![], "dequantize(uint8[1, 1]) -> float32[1, 1]"),
            (vec![0], "dequantize(uint8[1, 1]) -> float32[1, 1]"),
            (vec![97], "dequantize(uint8[128, 1]) -> float32[128, 1]"),
            (vec![2, 3, 5], "dequantize(uint8[8, 5]) -> float32[8, 5]"),
        ] {
            let codes = TensorType::new(DType::Uint8, dimensions).expect("a small shape");
            let codes = codes.quantized(Quantization::tensor(0.5, 0)).expect("a legal zero point");
            assert_eq!(class(&Dequantize::new(codes).build().expect("a sound op").into()), expected);
        }
    }
}
