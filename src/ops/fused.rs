//! An op whose elements pass through a second, elementwise op before they are stored. A planner makes it from two steps; `plan`
//! decides which steps to fuse. The GPU programs are those of the first op with a post-op (`shaders/epilogue/post_op_*.wgsl` of codes,
//! `float_post_op_*.wgsl` of floats) or, for ops that move elements, a conversion (`shaders/convert/`).

use super::{
    Add, Addition, Dequantize, DynamicGranularity, DynamicQuantize, FloatBinary, FloatUnary, Op, OpDef, Quantize, Table,
};
use crate::error::{Result, refuse, require};
use crate::numeric::DType;
use crate::tensor::{Granularity, TensorType};

/// `out = then(first(inputs…), residual)`, without storing the intermediate result
///
/// The residual is the last input, of the output's shape. The cases are:
///
/// | `first` | `then` |
/// |---|---|
/// | 8-bit codes of [`Matmul`](super::Matmul), [`Conv`](super::Conv), [`Requantize`](super::Requantize), [`Multiply`](super::Multiply), [`Pool`](super::Pool) or [`Add`] | a [`Table`], or an [`Add`] of a residual |
/// | [`ChannelGate`](super::ChannelGate) | a [`Table`] |
/// | float32 numbers of [`Linear`](super::Linear) or [`FloatMatmul`](super::FloatMatmul) | a [`FloatUnary`] with a steepest slope, or a sum, difference, product, minimum or maximum ([`FloatBinary`]) with a residual |
/// | [`FloatUnary`] | such a [`FloatBinary`] |
/// | [`LayerNorm`](super::LayerNorm) of rows `[m, n]` | a symmetric [`DynamicQuantize`] to int8 by row, or in groups of a multiple of four: both of its outputs |
/// | [`Attention`](super::Attention), as rows `[n, heads · d]` | such a [`DynamicQuantize`] of these rows, in groups that divide d |
/// | [`Transpose`](super::Transpose) | a [`Quantize`] or [`Dequantize`] with one scale for all elements |
///
/// Two sums of codes must have equal [`QuantizedArithmetic`](super::QuantizedArithmetic), and the second none of `Integer`. The result of codes equals that of the
/// two ops in sequence, bit for bit. The result of floats has the error of the second op, plus that of the first as it passes through
/// the second: times |residual| for a product, times the steepest slope for a function. That is 1.5 for `HardSwish`, |alpha| (or 1,
/// if that is more) for those with an alpha, and at most 1.13 for the others; roots, exponentials, logarithms, reciprocals and
/// integer parts have none. Of codes that are quantized by their range, with errors e of a number x and E the largest in its
/// segment: a scale s is off by t = E / 127 + 2⁻²³ · (127 · s + E) / 127, and a quotient x / s by (e + |x| · t / s) / (s − t) and
/// its rounding, before it is rounded to a code.
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
    /// The elements are quantized by the ranges of their segments.
    DynamicQuantize(DynamicQuantize),
    /// The function of each element.
    FloatUnary(FloatUnary),
    /// The elements are the lhs (0) or rhs (1) of a sum or product of floats.
    FloatBinary(FloatBinary, usize),
}

impl PostOp {
    fn new(op: Op, position: usize) -> Option<Self> {
        Some(match op {
            Op::Table(op) => Self::Table(op),
            Op::Add(op) => Self::Add(op, position),
            Op::Quantize(op) => Self::Quantize(op),
            Op::Dequantize(op) => Self::Dequantize(op),
            Op::DynamicQuantize(op) => Self::DynamicQuantize(op),
            Op::FloatUnary(op) => Self::FloatUnary(op),
            Op::FloatBinary(op) => Self::FloatBinary(op, position),
            _ => return None,
        })
    }

    fn op(&self) -> Op {
        match self.clone() {
            Self::Table(op) => op.into(),
            Self::Add(op, _) => op.into(),
            Self::Quantize(op) => op.into(),
            Self::Dequantize(op) => op.into(),
            Self::DynamicQuantize(op) => op.into(),
            Self::FloatUnary(op) => op.into(),
            Self::FloatBinary(op, _) => op.into(),
        }
    }

    /// The input of the second op that the first one makes.
    pub(crate) fn position(&self) -> usize {
        match self {
            Self::Add(_, position) | Self::FloatBinary(_, position) => *position,
            _ => 0,
        }
    }

    /// The type of the second operand, if there is one.
    pub(crate) fn residual(&self) -> Option<TensorType> {
        let (mut operands, position) = match self {
            Self::Add(op, position) => (op.inputs(), position),
            Self::FloatBinary(op, position) => (op.inputs(), position),
            _ => return None,
        };
        Some(operands.swap_remove(1 - position))
    }

    /// True if a launch that has a row of numbers can quantize them.
    fn is_by_row(op: &DynamicQuantize) -> bool {
        let (_, _, symmetric) = op.range();
        let fits = match op.granularity() {
            DynamicGranularity::Row => true,
            DynamicGranularity::Group(size) => size.is_multiple_of(4),
            DynamicGranularity::Tensor => false,
        };
        let shape = op.output().shape();
        // An empty row has a scale, but no number that a launch would begin with.
        fits && symmetric && op.output().dtype() == DType::Int8 && shape.rank() == 2 && shape.row_length() > 0
    }

    /// True if float32 sums of products can pass through it before they are stored.
    fn follows_product(&self) -> bool {
        match self {
            Self::FloatUnary(op) => op.function.slope().is_some(),
            Self::FloatBinary(op, _) => op.arithmetic.passes_errors(),
            _ => false,
        }
    }

    /// True if elements that `first` makes can pass through it before they are stored.
    fn follows(&self, first: &Op) -> bool {
        match first {
            Op::Transpose(_) => matches!(self, Self::Quantize(_) | Self::Dequantize(_)),
            Op::Matmul(_) | Op::Requantize(_) | Op::Multiply(_) | Op::Add(_) => {
                matches!(self, Self::Table(_) | Self::Add(..))
            }
            #[cfg(feature = "convolution")]
            Op::Conv(_) | Op::Pool(_) => {
                matches!(self, Self::Table(_) | Self::Add(..))
            }
            #[cfg(feature = "convolution")]
            Op::ChannelGate(_) => matches!(self, Self::Table(_)),
            #[cfg(feature = "float")]
            Op::FloatMatmul(_) => self.follows_product(),
            #[cfg(feature = "transformer")]
            Op::Linear(_) => self.follows_product(),
            Op::FloatUnary(_) => matches!(self, Self::FloatBinary(op, _) if op.arithmetic.passes_errors()),
            #[cfg(feature = "transformer")]
            Op::Attention(first) => match self {
                Self::DynamicQuantize(op) => {
                    let width = first.value_dims()[2];
                    let fits = |size: usize| size <= width && width.is_multiple_of(size);
                    Self::is_by_row(op) && matches!(op.granularity(), DynamicGranularity::Group(size) if fits(size))
                }
                _ => false,
            },
            #[cfg(feature = "float")]
            Op::LayerNorm(_) => matches!(self, Self::DynamicQuantize(op) if Self::is_by_row(op)),
            _ => false,
        }
    }
}

/// The type of what an op makes, as the second op reads it: the heads of a query lie one after the other.
fn made(first: &Op) -> TensorType {
    let made = first.outputs().swap_remove(0);
    match (first, made.dims()) {
        #[cfg(feature = "transformer")]
        (Op::Attention(_), &[queries, heads, width]) => {
            TensorType::new(made.dtype(), [queries, heads * width]).expect("as many elements")
        }
        _ => made,
    }
}

impl Fused {
    /// `then`, applied to the output of `first`. That output is input number `position` of `then`.
    ///
    /// # Errors
    /// If the ops are not among the kinds above, or their types don't fit.
    pub fn new(first: Op, then: Op, position: usize) -> Result<Self> {
        let post_op = PostOp::new(then.clone(), position).filter(|post_op| post_op.follows(&first));
        let Some(post_op) = post_op else {
            refuse!("{} can't be followed by {} before its elements are stored", first.name(), then.name());
        };
        let (made, inputs) = (&made(&first), then.inputs());
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
        match &post_op {
            PostOp::Add(add, _) => {
                let way = |add: &Add| std::mem::discriminant(&add.addition());
                let differ = matches!(&first, Op::Add(first) if way(first) != way(add));
                require!(!differ, "a sum of a sum rounds as that does: give both the same QuantizedArithmetic");
                // The stage of the first op and the sum would each bring a rounding.
                let integer = matches!(add.addition(), Addition::Integer(_));
                require!(!integer, "a sum in QuantizedArithmetic::Integer is an op of its own: use QOperator or Qdq");
            }
            PostOp::Quantize(quantize) => one_scale(quantize.granularity())?,
            PostOp::Dequantize(dequantize) => one_scale(dequantize.granularity())?,
            PostOp::Table(_) | PostOp::DynamicQuantize(_) | PostOp::FloatUnary(_) | PostOp::FloatBinary(..) => {}
        }
        require!(
            post_op.residual().is_none_or(|residual| residual.shape() == made.shape()),
            "a fused {} does not broadcast, but {} and {} differ",
            then.name(),
            inputs[0],
            inputs[inputs.len() - 1]
        );
        Ok(Self { first: Box::new(first), post_op })
    }

    /// This op followed by another table; `None` if it doesn't end with a table.
    pub(crate) fn with_table(&self, next: &Table) -> Option<Self> {
        let PostOp::Table(table) = &self.post_op else { return None };
        Some(Self { first: self.first.clone(), post_op: PostOp::Table(table.then(next)) })
    }

    /// The type of what the first op makes, as the second reads it.
    pub(crate) fn made(&self) -> TensorType {
        made(&self.first)
    }

    /// The op that makes the elements.
    #[must_use]
    pub fn first(&self) -> &Op {
        &self.first
    }

    /// The op that the elements pass through.
    #[must_use]
    pub fn then(&self) -> Op {
        self.post_op.op()
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
        self.first.inputs().into_iter().chain(self.post_op.residual()).collect()
    }

    fn outputs(&self) -> Vec<TensorType> {
        self.then().outputs()
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        let first = self.first.with_inputs(&inputs[..self.first.inputs().len()])?;
        let mut operands = inputs[self.first.inputs().len()..].to_vec();
        operands.insert(self.post_op.position(), made(&first));
        let then = self.then().with_inputs(&operands)?;
        Self::new(first, then, self.post_op.position())
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        let mut by_row = self.first.by_row()?;
        by_row.resize(self.inputs().len(), true);
        Some(by_row)
    }
}
