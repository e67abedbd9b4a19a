//! An op whose codes pass through a second, elementwise op before they are stored: what a planner makes of two steps. Which
//! steps become one is decided in `plan`; the GPU programs are those of the first op with a finish (`shaders/finish/`).

use super::{Add, Op, Table};
use crate::error::{Result, require};
use crate::tensor::TensorType;

/// `out = then(first(inputs…), residual)`, without the codes between them ever being stored
///
/// `first` makes 8-bit codes: [`Matmul`](super::Matmul), [`Conv`](super::Conv), [`Requantize`](super::Requantize),
/// [`Multiply`](super::Multiply), [`Pool`](super::Pool) or [`Add`]. `then` is a [`Table`] of those codes, or an [`Add`] of
/// them and a residual of the same shape, which is the last input. The result is that of the two ops one after the other,
/// bit for bit.
///
/// ```
/// use lowbit::ops::{Fused, Multiply, Op, Requantization, Table};
/// use lowbit::{Format, Quantization, Tensor, reference};
/// let x = Tensor::new([3], vec![-80i8, 0, 80])?.quantized(Quantization::tensor(0.05, 0))?;
/// let square = Multiply::new(x.tensor_type().clone(), x.tensor_type().clone(), Requantization::new(Format::Int8, 0.2, 0)?)?;
/// let negate = Table::from_function(Op::from(square.clone()).outputs()[0].clone(), &Requantization::new(Format::Int8, 0.2, 0)?, |x| -x)?;
/// let op = Fused::new(square.into(), negate.into(), 0)?;
/// assert_eq!(reference::run(&op.into(), &[&x, &x])?[0].values::<i8>()?, [-80, 0, -80]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Fused {
    first: Box<Op>,
    finish: Finish,
}

/// What happens to codes before they are stored.
#[derive(Debug, Clone)]
pub(crate) enum Finish {
    /// They index a table.
    Table(Table),
    /// They are the lhs (0) or rhs (1) of a sum.
    Add(Add, usize),
}

impl Fused {
    /// `then`, applied to the output of `first`, which is its input number `position`.
    ///
    /// # Errors
    /// If the ops are not of the kinds above, or their types don't fit.
    pub fn new(first: Op, then: Op, position: usize) -> Result<Self> {
        let known = matches!(
            &first,
            Op::Matmul(_) | Op::Conv(_) | Op::Requantize(_) | Op::Multiply(_) | Op::Pool(_) | Op::Add(_)
        );
        require!(known, "{} can't be followed by another op before its codes are stored", first.name());
        let (codes, inputs, outputs) = (&first.outputs()[0], then.inputs(), then.outputs());
        require!(
            codes.format().is_8_bit(),
            "{} makes {codes}, but a fused op passes int8 or uint8 codes on",
            first.name()
        );
        require!(
            inputs.get(position).is_some_and(|t| t.format() == codes.format() && t.shape() == codes.shape()),
            "input {position} of {} is not the {codes} that {} makes",
            then.name(),
            first.name()
        );
        require!(
            inputs[position].scales_agree(codes),
            "{} makes codes with {}, but {} was made for {}",
            first.name(),
            codes.describe_scales(),
            then.name(),
            inputs[position].describe_scales()
        );
        let finish = match then {
            Op::Table(table) => Finish::Table(table),
            Op::Add(add) => {
                require!(
                    inputs.iter().all(|t| t.shape() == outputs[0].shape()),
                    "a fused sum does not broadcast, but {} and {} differ",
                    inputs[0],
                    inputs[1]
                );
                Finish::Add(add, position)
            }
            then => {
                require!(false, "{} can't be fused: only a table or a sum can", then.name());
                unreachable!()
            }
        };
        Ok(Self { first: Box::new(first), finish })
    }

    /// The same followed by another table, if it ends with one.
    pub(crate) fn with_table(&self, next: &Table) -> Option<Self> {
        let Finish::Table(table) = &self.finish else { return None };
        Some(Self { first: self.first.clone(), finish: Finish::Table(table.then(next)) })
    }

    /// The op that makes the codes.
    #[must_use]
    pub fn first(&self) -> &Op {
        &self.first
    }

    /// The op that they pass through.
    #[must_use]
    pub fn then(&self) -> Op {
        match &self.finish {
            Finish::Table(table) => table.clone().into(),
            Finish::Add(add, _) => add.clone().into(),
        }
    }

    pub(crate) fn finish(&self) -> &Finish {
        &self.finish
    }

    pub(super) fn resized(&self, inputs: &[TensorType]) -> Result<Self> {
        let first = self.first.resized(&inputs[..self.first.inputs().len()])?;
        let codes = first.outputs().swap_remove(0);
        let finish = match &self.finish {
            Finish::Table(table) => Finish::Table(table.resized(&[codes])?),
            Finish::Add(add, position) => {
                let mut operands = vec![inputs[inputs.len() - 1].clone()];
                operands.insert(*position, codes);
                Finish::Add(add.resized(&operands)?, *position)
            }
        };
        Ok(Self { first: Box::new(first), finish })
    }

    pub(super) fn clamped(&self, low: i32, high: i32) -> Option<Self> {
        let Finish::Add(add, position) = &self.finish else { return None };
        Some(Self { first: self.first.clone(), finish: Finish::Add(add.clamped(low, high), *position) })
    }

    pub(super) fn inputs(&self) -> Vec<TensorType> {
        let mut inputs = self.first.inputs();
        if let Finish::Add(add, position) = &self.finish {
            inputs.push(add.inputs().swap_remove(1 - position));
        }
        inputs
    }

    pub(super) fn outputs(&self) -> Vec<TensorType> {
        match &self.finish {
            Finish::Table(table) => table.outputs(),
            Finish::Add(add, _) => add.outputs(),
        }
    }
}
