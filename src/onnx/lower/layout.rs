//! Values of an ONNX graph in the orders of axes that ops want. A transposition of ONNX only gives axes another order here; elements
//! move when an op needs them elsewhere, such as the channels of an image last.

use super::Lowering;
use crate::error::{Result, refuse, require};
use crate::onnx::array::Array;
use crate::ops::Transpose;
use crate::plan::Value;
use crate::tensor::TensorType;

/// A value of the graph. Its axis `i` is axis `order[i]` of the ONNX value.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    pub value: Value,
    pub order: Vec<usize>,
}

/// An operand of an elementwise op.
#[derive(Debug, Clone)]
pub(super) enum Operand {
    Known(Array),
    Placed(Placed),
}

/// The order of the axes of an image with its channels last.
pub(super) fn channels_last(rank: usize) -> Vec<usize> {
    std::iter::once(0).chain(2..rank).chain(std::iter::once(1)).collect()
}

/// The order of the axes with one of them last.
pub(super) fn last(rank: usize, axis: usize) -> Vec<usize> {
    (0..rank).filter(|&other| other != axis).chain([axis]).collect()
}

/// A number as an operand.
pub(super) fn number(x: f32) -> Operand {
    Operand::Known(Array::reals([1], vec![x]))
}

pub(super) fn row_major(rank: usize) -> Vec<usize> {
    (0..rank).collect()
}

impl Operand {
    pub(super) fn rank(&self) -> usize {
        match self {
            Self::Known(array) => array.dims.len(),
            Self::Placed(placed) => placed.order.len(),
        }
    }

    fn placed(&self) -> Option<&Placed> {
        match self {
            Self::Placed(placed) => Some(placed),
            Self::Known(_) => None,
        }
    }
}

impl Placed {
    /// The value whose axis i is axis `order[i]` of this one; no element moves.
    pub(super) fn transposed(&self, order: &[usize]) -> Self {
        let mut places = vec![0; order.len()];
        order.iter().enumerate().for_each(|(i, &axis)| places[axis] = i);
        Self { value: self.value, order: self.order.iter().map(|&axis| places[axis]).collect() }
    }

    /// The place among the graph value's axes of an axis of the ONNX value.
    pub(super) fn place(&self, axis: usize) -> usize {
        self.order.iter().position(|&a| a == axis).expect("the order is a permutation")
    }

    /// This order of values, with axes of extent 1 before it.
    fn of_rank(&self, rank: usize) -> Vec<usize> {
        let more = rank - self.order.len();
        (0..more).chain(self.order.iter().map(|axis| axis + more)).collect()
    }
}

impl Lowering<'_> {
    pub(super) fn type_of(&self, value: Value) -> &TensorType {
        self.graph.tensor_type(value).expect("values are of this graph")
    }

    /// A value in row-major order of its ONNX axes.
    pub(super) fn plain(&self, value: Value) -> Placed {
        Placed { value, order: row_major(self.type_of(value).dims().len()) }
    }

    /// The ONNX dimensions of a value.
    pub(super) fn dims(&self, placed: &Placed) -> Vec<usize> {
        let own = self.type_of(placed.value).dims();
        (0..own.len()).map(|axis| own[placed.place(axis)]).collect()
    }

    fn elements(&self, placed: &Placed) -> usize {
        self.type_of(placed.value).shape().elements()
    }

    /// The order of axes of the largest operand that the graph computes, the last of equal ones.
    pub(super) fn order_of_largest(&self, operands: &[Operand]) -> Result<Vec<usize>> {
        let largest = operands.iter().filter_map(Operand::placed).max_by_key(|placed| self.elements(placed));
        match largest {
            Some(placed) => Ok(placed.order.clone()),
            None => refuse!("all of its inputs are constants"),
        }
    }

    /// The value with its axes in this order.
    pub(super) fn arranged(&mut self, placed: &Placed, order: &[usize]) -> Result<Value> {
        if placed.order == order {
            return Ok(placed.value);
        }
        let rank = placed.order.len();
        require!(rank == order.len(), "an input has {rank} dimensions in place of {}", order.len());
        let key = (placed.value, placed.order.clone(), order.to_vec());
        if let Some(&value) = self.arranged.get(&key) {
            return Ok(value);
        }
        let dims = self.dims(placed);
        let moved = |order: &[usize]| order.iter().copied().filter(|&axis| dims[axis] != 1).collect::<Vec<_>>();
        let value = if moved(&placed.order) == moved(order) {
            self.reshaped(placed.value, order.iter().map(|&axis| dims[axis]).collect())?
        } else {
            let permutation: Vec<usize> = order.iter().map(|&axis| placed.place(axis)).collect();
            let op = Transpose::new(self.type_of(placed.value).clone(), permutation)?;
            self.graph.add(op, &[placed.value])?
        };
        self.arranged.insert(key, value);
        Ok(value)
    }

    /// An operand with its axes in this order.
    pub(super) fn arranged_operand(&mut self, operand: &Operand, order: &[usize]) -> Result<Value> {
        match operand {
            Operand::Known(array) => {
                let rank = array.dims.len();
                require!(rank == order.len(), "an input has {rank} dimensions in place of {}", order.len());
                let tensor = array.permuted(order)?.tensor()?;
                Ok(self.graph.constant(tensor))
            }
            Operand::Placed(placed) => self.arranged(placed, order),
        }
    }

    pub(super) fn in_rows(&mut self, placed: &Placed) -> Result<Value> {
        self.arranged(placed, &row_major(placed.order.len()))
    }

    /// The elements of a value, in their order in memory, under other dimensions.
    pub(super) fn reshaped(&mut self, value: Value, dims: Vec<usize>) -> Result<Value> {
        self.graph.reshape_or_move(value, &dims)
    }

    /// The ONNX value under other dimensions.
    pub(super) fn reshape(&mut self, placed: &Placed, dims: Vec<usize>) -> Result<Placed> {
        let old = self.dims(placed);
        let moved: Vec<usize> = placed.order.iter().copied().filter(|&axis| old[axis] != 1).collect();
        let value = if moved.is_sorted() { placed.value } else { self.in_rows(placed)? };
        let value = self.reshaped(value, dims)?;
        Ok(self.plain(value))
    }

    /// Operands that broadcast as in NumPy, in one order of axes: that of the largest of them.
    pub(super) fn aligned(&mut self, operands: &[Operand]) -> Result<(Vec<Value>, Vec<usize>)> {
        let rank = operands.iter().map(Operand::rank).max().unwrap_or(0);
        let placed = operands.iter().filter_map(Operand::placed).rev().max_by_key(|placed| self.elements(placed));
        let order = placed.map_or_else(|| row_major(rank), |placed| placed.of_rank(rank));
        let mut values = Vec::new();
        for operand in operands {
            values.push(match operand {
                Operand::Known(array) => {
                    let dims = [vec![1; rank - array.dims.len()], array.dims.clone()].concat();
                    let tensor = array.reshaped(dims)?.permuted(&order)?.tensor()?;
                    self.graph.constant(tensor)
                }
                Operand::Placed(placed) => {
                    let more = rank - placed.order.len();
                    let own = self.type_of(placed.value).dims();
                    let dims = [vec![1; more], own.to_vec()].concat();
                    let value = self.reshaped(placed.value, dims)?;
                    self.arranged(&Placed { value, order: placed.of_rank(rank) }, &order)?
                }
            });
        }
        Ok((values, order))
    }
}
