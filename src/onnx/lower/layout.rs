//! Values of an ONNX graph in the orders of axes that ops want. A transposition of ONNX only gives axes another order here; elements
//! move when an op needs them elsewhere, such as the channels of an image last.

use super::Lowering;
use crate::error::{Result, require};
use crate::onnx::array::Array;
use crate::ops::{Reshape, Transpose};
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

pub(super) fn row_major(rank: usize) -> Vec<usize> {
    (0..rank).collect()
}

impl Placed {
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
        if self.type_of(value).dims() == dims {
            return Ok(value);
        }
        match self.graph.reshape(value, dims.clone()) {
            Ok(value) => Ok(value),
            Err(_) => self.graph.add(Reshape::new(self.type_of(value).clone(), dims)?, &[value]),
        }
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
        let rank_of = |operand: &Operand| match operand {
            Operand::Known(array) => array.dims.len(),
            Operand::Placed(placed) => placed.order.len(),
        };
        let rank = operands.iter().map(rank_of).max().unwrap_or(0);
        let placed = operands.iter().filter_map(|operand| match operand {
            Operand::Placed(placed) => Some(placed),
            Operand::Known(_) => None,
        });
        let size = |placed: &&Placed| self.type_of(placed.value).shape().elements();
        let order = placed.rev().max_by_key(size).map_or_else(|| row_major(rank), |placed| placed.of_rank(rank));
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
