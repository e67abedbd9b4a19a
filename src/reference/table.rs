//! The meaning of `ops::Table`. GPU twin: `shaders/elementwise/table.wgsl`.

use super::Meaning;
use crate::error::Result;
use crate::ops::Table;
use crate::tensor::Tensor;

impl Meaning for Table {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![table(self, inputs[0])])
    }

    fn tolerance(&self, _inputs: &[&Tensor]) -> Option<Vec<f32>> {
        None
    }
}

pub(super) fn table(op: &Table, input: &Tensor) -> Tensor {
    let elements = input.tensor_type().shape().elements();
    let codes = (0..elements).map(|i| lookup(op, input.code(i))).collect();
    Tensor::from_codes(op.output_type().clone(), codes)
}

/// The output code of an input code.
fn lookup(op: &Table, code: i32) -> i32 {
    let byte = op.entries()[usize::from(code as u8)];
    if op.output_type().dtype().is_signed() { i32::from(byte as i8) } else { i32::from(byte) }
}
