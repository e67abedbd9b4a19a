//! Concatenation of quantized tensors along an axis. The meaning is `reference/concat.rs`, the GPU program is
//! `kernels/layout/concat.rs`.

use super::OpDef;
use super::output::Requantization;
use super::table::Table;
use crate::error::{Result, require};
use crate::tensor::TensorType;

/// The tensors concatenated along an axis, each requantized to the output's scale and zero point
///
/// An input with the output's scale, zero point and data type is copied. Any other is mapped by `quantize(dequantize(code))` in
/// f32. Inputs are int8 or uint8 with one scale each. Source: com.microsoft QLinearConcat.
///
/// ```
/// use lowbit::{DType, Quantization, Tensor, ops::{Concat, Requantization}, reference};
/// let a = Tensor::new([1, 2], vec![1u8, 2])?.quantized(Quantization::tensor(0.5, 0))?;
/// let b = Tensor::new([1, 1], vec![10u8])?.quantized(Quantization::tensor(1.0, 4))?;
/// let types = vec![a.tensor_type().clone(), b.tensor_type().clone()];
/// let op = Concat::new(types, 1, Requantization::new(DType::Uint8, 0.5, 0)?)?;
/// assert_eq!(reference::run(&op.into(), &[&a, &b])?[0].values::<u8>()?, [1, 2, 12]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Concat {
    axis: usize,
    tables: Vec<Table>,
    output_type: TensorType,
}

impl Concat {
    /// A concatenation of tensors of these types along `axis`.
    ///
    /// # Errors
    /// If there is no input, the axis doesn't exist, other dimensions differ, or an input is not 8-bit with one scale.
    pub fn new(inputs: Vec<TensorType>, axis: usize, output: Requantization) -> Result<Self> {
        require!(!inputs.is_empty(), "a concatenation of no tensors: give at least one");
        let mut shape = inputs[0].dims().to_vec();
        require!(axis < shape.len(), "axis {axis} of {}, which has {} dimensions", inputs[0], shape.len());
        for (i, input) in inputs.iter().enumerate().skip(1) {
            let same = input.shape().rank() == shape.len()
                && input.dims().iter().zip(&shape).enumerate().all(|(d, (a, b))| d == axis || a == b);
            require!(same, "input {i} is {input} and input 0 is {}: they may differ along axis {axis} only", inputs[0]);
            shape[axis] += input.dims()[axis];
        }
        let output_type = output.byte_type(&shape)?;
        let tables = inputs
            .into_iter()
            .map(|input| {
                let same = input.dtype() == output_type.dtype()
                    && input.quantization() == output_type.quantization()
                    && Some(output.bounds()) == input.dtype().range();
                if same {
                    let out = input.clone();
                    Table::from_bytes(input, out, std::array::from_fn(|byte| byte as u8))
                } else {
                    Table::from_function(input, &output, |x| x)
                }
            })
            .collect::<Result<_>>()?;
        Ok(Self { axis, tables, output_type })
    }

    /// This concatenation with `first` applied to one input: it reads the input of `first` instead of its output.
    pub(crate) fn after(&self, position: usize, first: &Table) -> Self {
        let mut concat = self.clone();
        concat.tables[position] = first.then(&self.tables[position]);
        concat
    }

    pub(crate) fn axis(&self) -> usize {
        self.axis
    }

    /// For each input, the table that maps its codes to output codes.
    pub(crate) fn tables(&self) -> &[Table] {
        &self.tables
    }

    pub(crate) fn output_type(&self) -> &TensorType {
        &self.output_type
    }
}

impl OpDef for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }

    fn inputs(&self) -> Vec<TensorType> {
        self.tables.iter().flat_map(Table::inputs).collect()
    }

    fn outputs(&self) -> Vec<TensorType> {
        vec![self.output_type.clone()]
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        let tables: Vec<Table> = self
            .tables
            .iter()
            .zip(inputs)
            .map(|(t, input)| t.with_inputs(std::slice::from_ref(input)))
            .collect::<Result<_>>()?;
        let extent = match self.axis {
            0 => inputs.iter().map(|t| t.dims()[0]).sum(),
            _ => inputs[0].dims()[0],
        };
        let same = self.axis == 0 || inputs.iter().all(|t| t.dims()[0] == extent);
        require!(same, "the inputs of a concatenation along axis {} have different first dimensions", self.axis);
        Ok(Self { axis: self.axis, tables, output_type: self.output_type.with_extent(extent)? })
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        (self.axis() > 0).then(|| vec![true; self.inputs().len()])
    }
}
