//! Reductions and pools of numbers, and rows that indices of the graph select.

use super::layout::{Operand, Placed, channels_last};
use super::windows::Windows;
use super::{Codes, Lowering, Value};
use crate::error::{Result, refuse, require};
use crate::network::axis_of;
use crate::numeric::DType;
use crate::onnx::array::{Array, Data};
use crate::onnx::proto::NodeProto;
use crate::ops::{Arithmetic, FloatPool, Function, Gather, Reduce, Reduction};

impl Lowering<'_> {
    /// The outputs of such a node; `None` if it is another.
    pub(super) fn reductions(&mut self, node: &NodeProto) -> Result<Option<Vec<Value>>> {
        let made = match &*node.op() {
            "ReduceSum" => self.reduced(node, Reduction::Sum)?,
            "ReduceMean" => self.reduced(node, Reduction::Mean)?,
            "ReduceMax" => self.reduced(node, Reduction::Max)?,
            "ReduceMin" => self.reduced(node, Reduction::Min)?,
            "ReduceL1" => self.reduced(node, Reduction::L1)?,
            "ReduceL2" => self.reduced(node, Reduction::L2)?,
            "ReduceLogSum" => {
                let sum = self.reduced(node, Reduction::Sum)?;
                self.unary(&sum, Function::Log)?
            }
            "ReduceSumSquare" => {
                let x = self.numbers(node, 0)?;
                let squares = self.binary(&[Operand::Placed(x.clone()), Operand::Placed(x)], Arithmetic::Multiply)?;
                self.reduced_of(node, squares, Reduction::Sum)?
            }
            "MaxPool" | "AveragePool" | "GlobalMaxPool" | "GlobalAveragePool" => self.float_pool(node)?,
            "Gather" => return self.gather(node).map(|value| Some(vec![value])),
            _ => return Ok(None),
        };
        Ok(Some(vec![Value::Placed(made)]))
    }

    fn reduced(&mut self, node: &NodeProto, reduction: Reduction) -> Result<Placed> {
        let x = self.numbers(node, 0)?;
        self.reduced_of(node, x, reduction)
    }

    fn reduced_of(&mut self, node: &NodeProto, x: Placed, reduction: Reduction) -> Result<Placed> {
        let rank = x.order.len();
        let axes: Vec<usize> = match self.list(node, 1, "axes")?.filter(|axes| !axes.is_empty()) {
            Some(axes) => axes.into_iter().map(|axis| axis_of(axis, rank)).collect::<Result<_>>()?,
            None if node.int("noop_with_empty_axes", 0) != 0 => return Ok(x),
            None => (0..rank).collect(),
        };
        if axes.is_empty() {
            return Ok(x);
        }
        let places: Vec<usize> = axes.iter().map(|&axis| x.place(axis)).collect();
        let value = self.graph.add(Reduce::new(self.type_of(x.value).clone(), places, reduction)?, &[x.value])?;
        let kept = Placed { value, ..x };
        if node.int("keepdims", 1) != 0 { Ok(kept) } else { self.squeezed(&kept, &axes) }
    }

    fn float_pool(&mut self, node: &NodeProto) -> Result<Placed> {
        let x = self.numbers(node, 0)?;
        require!(node.output_names().count() == 1, "the places of its greatest elements are an output, too");
        let order = channels_last(x.order.len());
        let image = self.arranged(&x, &order)?;
        let input = self.type_of(image).clone();
        let pool = match &*node.op_type {
            "GlobalMaxPool" => FloatPool::global_max(input),
            "GlobalAveragePool" => FloatPool::global_average(input),
            kind => {
                let kernel = node.sizes("kernel_shape", &vec![0; order.len().saturating_sub(2)])?;
                let windows = Windows::of(node, &input, &kernel)?;
                let pool =
                    if kind == "MaxPool" { FloatPool::max(input, kernel) } else { FloatPool::average(input, kernel) };
                let pool = pool.stride(windows.strides).dilation(windows.dilations).padding(windows.padding);
                let counts = kind == "AveragePool" && node.int("count_include_pad", 0) != 0;
                let pool = if counts { pool.count_padding() } else { pool };
                if node.int("ceil_mode", 0) != 0 { pool.round_up() } else { pool }
            }
        };
        let value = self.graph.add(pool.build()?, &[image])?;
        Ok(Placed { value, order })
    }

    /// The rows that indices of the graph select: of numbers, or of codes, which stay codes.
    fn gather(&mut self, node: &NodeProto) -> Result<Value> {
        let Value::Placed(indices) = self.value(node, 1)? else { refuse!("its indices are no integers of the graph") };
        require!(self.type_of(indices.value).dtype() == DType::Int32, "its indices are no integers of 32 or 64 bits");
        let data = self.value(node, 0)?;
        let is_codes = matches!(&data, Value::Dequantized(_));
        let data = match &data {
            Value::Dequantized(codes) => self.place(codes),
            Value::Known(Array { data: Data::Codes(tensor), .. }) => self.place(&Codes::Known(tensor.clone())),
            other => self.real(other)?,
        };
        let rank = data.order.len();
        let axis = axis_of(node.int("axis", 0), rank)?;
        let (rows, indices) = (self.in_rows(&data)?, self.in_rows(&indices)?);
        let op = Gather::new(self.type_of(rows).clone(), axis, self.type_of(indices).clone())?;
        let value = self.graph.add(op, &[rows, indices])?;
        let made = self.plain(value);
        Ok(if is_codes { Value::Dequantized(Codes::Placed(made)) } else { Value::Placed(made) })
    }
}
