//! Tensors on the host: shape, data type, data, scales and zero points. Device tensors are in `gpu`.

mod difference;
mod memory;
pub mod pack;
mod quantization;
mod shape;
mod tensor_type;
mod values;

pub(crate) use difference::first_difference;
pub use quantization::{Granularity, Quantization};
pub use shape::Shape;
pub(crate) use shape::{reshaped, runs};
pub use tensor_type::TensorType;
pub use values::{Element, Tensor};
