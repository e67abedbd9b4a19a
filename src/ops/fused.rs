//! An op whose elements pass through a second, elementwise op before they are stored. A planner makes it from two steps; `plan`
//! decides which steps to fuse. The GPU programs are those of the first op with a post-op (`shaders/epilogue/post_op_*.wgsl`) or,
//! for ops that move elements, a conversion (`shaders/convert/`).

use super::{Add, Dequantize, Op, OpDef, Quantize, Table};
use crate::error::{Result, refuse, require};
use crate::tensor::{Granularity, TensorType};

/// `out = then(first(inputs…), residual)`, without storing the intermediate result
///
/// There are two cases. Either `first` makes 8-bit codes: [`Matmul`](super::Matmul), [`Conv`](super::Conv),
/// [`Requantize`](super::Requantize), [`Multiply`](super::Multiply), [`Pool`](super::Pool) or [`Add`]. `then` is a [`Table`] of
/// those codes, or an [`Add`] of the codes and a residual of equal shape, the last input. Or `first` is a
/// [`Transpose`](super::Transpose), and `then` is a [`Quantize`] or [`Dequantize`] with one scale for all elements. Two sums must
/// have equal [`QuantizedArithmetic`](super::QuantizedArithmetic). The result equals that of the two ops in sequence, bit for bit.
///
/// ```
/// use lowbit::ops::{Fused, Multiply, Op, Requantization, Table};
/// use lowbit::{DType, Quantization, Tensor, reference};
/// let x = Tensor::new([3], vec![-80i8, 0, 80])?.quantized(Quantization::tensor(0.05, 0))?;
/// let square = Multiply::new(x.tensor_type().clone(), x.tensor_type().clone(), Requantization::new(DType::Int8, 0.2, 0)?).build()?;
/// let negate = Table::from_function(Op::from(square.clone()).outputs()[0].clone(), &Requantization::new(DType::Int8, 0.2, 0)?, |x| -x)?;
/// let op = Fused::new(square.into(), negate.into(), 0)?;
/// assert_eq!(reference::run(&op.into(), &[&x, &x])?[0].values::<i8>()?, [-80, 0, -80]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Fused {
    first: Box<Op>,
    post_op: PostOp,
}

/// The operation on elements before they are stored.
#[derive(Debug, Clone)]
pub(crate) enum PostOp {
    /// The elements index a table.
    Table(Table),
    /// The elements are the lhs (0) or rhs (1) of a sum.
    Add(Add, usize),
    /// The elements are quantized to codes.
    Quantize(Quantize),
    /// The elements are dequantized to real numbers.
    Dequantize(Dequantize),
}

impl Fused {
    /// `then`, applied to the output of `first`. That output is input number `position` of `then`.
    ///
    /// # Errors
    /// If the ops are not among the kinds above, or their types don't fit.
    pub fn new(first: Op, then: Op, position: usize) -> Result<Self> {
        let is_conversion = matches!(then, Op::Quantize(_) | Op::Dequantize(_));
        let is_known = match &first {
            Op::Transpose(_) => is_conversion,
            Op::Matmul(_) | Op::Conv(_) | Op::Requantize(_) | Op::Multiply(_) | Op::Pool(_) | Op::Add(_) => {
                !is_conversion
            }
            _ => false,
        };
        require!(is_known, "{} can't be followed by {} before its elements are stored", first.name(), then.name());
        let (made, inputs, outputs) = (&first.outputs()[0], then.inputs(), then.outputs());
        require!(
            inputs.get(position).is_some_and(|t| t.dtype() == made.dtype() && t.shape() == made.shape()),
            "input {position} of {} is not the {made} that {} makes",
            then.name(),
            first.name()
        );
        require!(
            inputs[position].scales_agree(made),
            "{} makes elements with {}, but {} was made for {}",
            first.name(),
            made.describe_scales(),
            then.name(),
            inputs[position].describe_scales()
        );
        let one_scale = |granularity| -> Result<()> {
            let is_one = granularity == Granularity::Tensor;
            require!(
                is_one,
                "a fused conversion has one scale for all elements, but this one's granularity is {granularity:?}"
            );
            Ok(())
        };
        let post_op = match then {
            Op::Table(table) => PostOp::Table(table),
            Op::Add(add) => {
                require!(
                    inputs.iter().all(|t| t.shape() == outputs[0].shape()),
                    "a fused sum does not broadcast, but {} and {} differ",
                    inputs[0],
                    inputs[1]
                );
                let differ = matches!(&first, Op::Add(first) if first.ratios().is_some() != add.ratios().is_some());
                require!(!differ, "a sum of a sum rounds as that does: give both the same QuantizedArithmetic");
                PostOp::Add(add, position)
            }
            Op::Quantize(quantize) => {
                one_scale(quantize.granularity())?;
                PostOp::Quantize(quantize)
            }
            Op::Dequantize(dequantize) => {
                one_scale(dequantize.granularity())?;
                PostOp::Dequantize(dequantize)
            }
            then => {
                refuse!("{} can't be fused: only a table, a sum or a conversion can", then.name());
            }
        };
        Ok(Self { first: Box::new(first), post_op })
    }

    /// This op followed by another table; `None` if it doesn't end with a table.
    pub(crate) fn with_table(&self, next: &Table) -> Option<Self> {
        let PostOp::Table(table) = &self.post_op else { return None };
        Some(Self { first: self.first.clone(), post_op: PostOp::Table(table.then(next)) })
    }

    /// The op that makes the elements.
    #[must_use]
    pub fn first(&self) -> &Op {
        &self.first
    }

    /// The op that the elements pass through.
    #[must_use]
    pub fn then(&self) -> Op {
        match &self.post_op {
            PostOp::Table(table) => table.clone().into(),
            PostOp::Add(add, _) => add.clone().into(),
            PostOp::Quantize(quantize) => quantize.clone().into(),
            PostOp::Dequantize(dequantize) => dequantize.clone().into(),
        }
    }

    pub(crate) fn post_op(&self) -> &PostOp {
        &self.post_op
    }

    pub(super) fn clamped(&self, low: i32, high: i32) -> Option<Self> {
        let PostOp::Add(add, position) = &self.post_op else { return None };
        Some(Self { first: self.first.clone(), post_op: PostOp::Add(add.clamped(low, high), *position) })
    }
}

impl OpDef for Fused {
    fn name(&self) -> &'static str {
        "fused"
    }

    fn inputs(&self) -> Vec<TensorType> {
        let mut inputs = self.first.inputs();
        if let PostOp::Add(add, position) = &self.post_op {
            inputs.push(add.inputs().swap_remove(1 - position));
        }
        inputs
    }

    fn outputs(&self) -> Vec<TensorType> {
        self.then().outputs()
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        let first = self.first.with_inputs(&inputs[..self.first.inputs().len()])?;
        let made = first.outputs().swap_remove(0);
        let post_op = match &self.post_op {
            PostOp::Table(table) => PostOp::Table(table.with_inputs(&[made])?),
            PostOp::Add(add, position) => {
                let mut operands = vec![inputs[inputs.len() - 1].clone()];
                operands.insert(*position, made);
                PostOp::Add(add.with_inputs(&operands)?, *position)
            }
            PostOp::Quantize(quantize) => PostOp::Quantize(quantize.with_inputs(&[made])?),
            PostOp::Dequantize(dequantize) => PostOp::Dequantize(dequantize.with_inputs(&[made])?),
        };
        Ok(Self { first: Box::new(first), post_op })
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        let mut by_row = self.first.by_row()?;
        by_row.resize(self.inputs().len(), true);
        Some(by_row)
    }
}
