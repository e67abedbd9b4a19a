//! Concatenation of tensors along an axis. The meaning is `reference/concat.rs`, the GPU program is `kernels/layout/concat.rs`.

use super::output::Requantization;
use super::table::Table;
use super::{OpDef, check_moved};
use crate::error::{Result, require};
use crate::tensor::{Granularity, TensorType};

/// The tensors concatenated along an axis
///
/// * Tensors of one data type and one set of scales are moved: bits are copied unchanged, and the scales stay. The type is any but
///   [`DType::Parameters`](crate::DType::Parameters). Scales along another axis than the joined one also stay.
/// * With [`output`](ConcatBuilder::output) each int8 or uint8 input is requantized to one scale and zero point. An input that has
///   these already is copied. Any other is mapped by `quantize(dequantize(code))` in f32, and has one scale.
///
/// Sources: ONNX Concat, com.microsoft QLinearConcat.
///
/// ```
/// use lowbit::{DType, Quantization, Tensor, ops::{Concat, Requantization}, reference};
/// let a = Tensor::new([2, 1], vec![1.0f32, 2.0])?;
/// let b = Tensor::new([2, 2], vec![3.0f32, 4.0, 5.0, 6.0])?;
/// let op = Concat::new([a.tensor_type().clone(), b.tensor_type().clone()], 1).build()?;
/// assert_eq!(reference::run(&op.into(), &[&a, &b])?[0].values::<f32>()?, [1.0, 3.0, 4.0, 2.0, 5.0, 6.0]);
///
/// let a = Tensor::new([1, 2], vec![1u8, 2])?.quantized(Quantization::tensor(0.5, 0))?;
/// let b = Tensor::new([1, 1], vec![10u8])?.quantized(Quantization::tensor(1.0, 4))?;
/// let types = [a.tensor_type().clone(), b.tensor_type().clone()];
/// let op = Concat::new(types, 1).output(Requantization::new(DType::Uint8, 0.5, 0)?).build()?;
/// assert_eq!(reference::run(&op.into(), &[&a, &b])?[0].values::<u8>()?, [1, 2, 12]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Concat {
    axis: usize,
    inputs: Vec<Joined>,
    output_type: TensorType,
}

/// An input of a concatenation.
#[derive(Debug, Clone)]
pub(crate) struct Joined {
    pub tensor_type: TensorType,
    /// The table that maps its codes to output codes; `None` if its elements are moved unchanged.
    pub table: Option<Table>,
}

/// Describes a [`Concat`]; made by [`Concat::new`].
#[derive(Debug, Clone)]
#[must_use]
pub struct ConcatBuilder {
    inputs: Vec<TensorType>,
    axis: usize,
    output: Option<Requantization>,
}

impl ConcatBuilder {
    /// The data type, scale and zero point to which inputs of int8 and uint8 are requantized.
    pub fn output(mut self, output: Requantization) -> Self {
        self.output = Some(output);
        self
    }

    /// Validates the description.
    ///
    /// # Errors
    /// If there is no input, the axis doesn't exist or other dimensions differ. Without [`output`](Self::output) if data types or
    /// scales differ, or scales lie along the axis or are only found on the device; with it if an input is not 8-bit with one
    /// scale.
    pub fn build(self) -> Result<Concat> {
        let Self { inputs, axis, output } = self;
        require!(!inputs.is_empty(), "a concatenation of no tensors: give at least one");
        let mut shape = inputs[0].dims().to_vec();
        require!(axis < shape.len(), "axis {axis} of {}, which has {} dimensions", inputs[0], shape.len());
        for (i, input) in inputs.iter().enumerate().skip(1) {
            let same = input.shape().rank() == shape.len()
                && input.dims().iter().zip(&shape).enumerate().all(|(d, (a, b))| d == axis || a == b);
            require!(same, "input {i} is {input} and input 0 is {}: they may differ along axis {axis} only", inputs[0]);
            shape[axis] += input.dims()[axis];
        }
        let Some(output) = output else { return Concat::moved(inputs, axis, shape) };
        let output_type = output.byte_type(&shape)?;
        let joined = |input: TensorType| -> Result<Joined> {
            let same = input.dtype() == output_type.dtype()
                && input.quantization() == output_type.quantization()
                && Some(output.bounds()) == input.dtype().range();
            let table = if same { None } else { Some(Table::from_function(input.clone(), &output, |x| x)?) };
            Ok(Joined { tensor_type: input, table })
        };
        let inputs = inputs.into_iter().map(joined).collect::<Result<_>>()?;
        Ok(Concat { axis, inputs, output_type })
    }
}

impl Concat {
    /// A builder for the concatenation of tensors of these types along `axis`.
    #[expect(clippy::new_ret_no_self, reason = "an op exists only once it is validated")]
    pub fn new(inputs: impl Into<Vec<TensorType>>, axis: usize) -> ConcatBuilder {
        ConcatBuilder { inputs: inputs.into(), axis, output: None }
    }

    /// Tensors of one type, moved into a tensor of these dimensions.
    fn moved(inputs: Vec<TensorType>, axis: usize, dims: Vec<usize>) -> Result<Self> {
        let first = &inputs[0];
        check_moved(first)?;
        for (i, input) in inputs.iter().enumerate() {
            let (is, first_is) = (input.describe_scales(), first.describe_scales());
            require!(
                input.dtype() == first.dtype() && input.quantization() == first.quantization(),
                "input {i} is {input} with {is} and input 0 is {first} with {first_is}: requantize them, for int8 and uint8 by \
                 ConcatBuilder::output, or cast them to one type"
            );
            require!(
                !input.has_dynamic_scales(),
                "input {i} is {input} with {is}, which may differ from those of others: concatenate before it is quantized"
            );
        }
        let mut output_type = TensorType::new(first.dtype(), dims)?;
        if let Some(quantization) = first.quantization() {
            let stays = match quantization.granularity() {
                Granularity::Tensor => true,
                Granularity::Axis(along) => along != axis,
                Granularity::Blocks { .. } => false,
            };
            require!(
                stays,
                "input 0 is {first} with {}, which don't stay along axis {axis}: dequantize it, or give it one scale",
                first.describe_scales()
            );
            output_type = output_type.quantized(quantization.clone())?;
        }
        let inputs = inputs.into_iter().map(|tensor_type| Joined { tensor_type, table: None }).collect();
        Ok(Self { axis, inputs, output_type })
    }

    /// This concatenation with `first` applied to one input: it reads the input of `first` instead of its output.
    pub(crate) fn after(&self, position: usize, first: &Table) -> Self {
        let mut concat = self.clone();
        let input = &mut concat.inputs[position];
        let table = input.table.as_ref().map_or_else(|| first.clone(), |next| first.then(next));
        *input = Joined { tensor_type: first.inputs().remove(0), table: Some(table) };
        concat
    }

    pub(crate) fn axis(&self) -> usize {
        self.axis
    }

    pub(crate) fn joined(&self) -> &[Joined] {
        &self.inputs
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
        self.inputs.iter().map(|input| input.tensor_type.clone()).collect()
    }

    fn outputs(&self) -> Vec<TensorType> {
        vec![self.output_type.clone()]
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        let joined = |(own, given): (&Joined, &TensorType)| -> Result<Joined> {
            let table = own.table.as_ref().map(|table| table.with_inputs(std::slice::from_ref(given))).transpose()?;
            Ok(Joined { tensor_type: given.clone(), table })
        };
        let own = self.inputs.iter().zip(inputs).map(joined).collect::<Result<_>>()?;
        let mut dims = inputs[0].dims().to_vec();
        for axis in (0..dims.len()).filter(|&axis| axis != self.axis) {
            require!(
                inputs.iter().all(|t| t.dims()[axis] == dims[axis]),
                "the inputs of a concatenation along axis {} would differ in dimension {axis}",
                self.axis
            );
        }
        dims[self.axis] = inputs.iter().map(|t| t.dims()[self.axis]).sum();
        Ok(Self { axis: self.axis, inputs: own, output_type: self.output_type.with_dims(&dims)? })
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        (self.axis() > 0).then(|| vec![true; self.inputs.len()])
    }
}
