//! Nodes that are a few ops.

use super::layout::{Operand, Placed, last, number};
use super::{Lowering, Value};
use crate::error::{Result, refuse, require};
use crate::network::axis_of;
use crate::numeric::DType;
use crate::onnx::array::{Array, Data, Element};
use crate::onnx::proto::NodeProto;
use crate::onnx::shape;
use crate::ops::{Arithmetic, Function, LayerNorm, Reduce, Reduction, Slice, TopK};
use crate::tensor::Tensor;

impl Lowering<'_> {
    /// The outputs of such a node; `None` if it is another.
    pub(super) fn composed(&mut self, node: &NodeProto) -> Result<Option<Vec<Value>>> {
        let made = match &*node.op() {
            "CastLike" => {
                let of = |dtype: DType| match dtype {
                    DType::Float32 => Element::Float,
                    DType::Float16 => Element::Float16,
                    DType::Int32 => Element::Int32,
                    other => Element::Code(other),
                };
                let initializer = node.input_name(1).and_then(|name| self.initializers.get(name));
                let initializer = initializer.map(|tensor| tensor.data_type);
                let to = match (initializer, self.value(node, 1)?) {
                    (Some(data_type), _) => Element::of(data_type)?,
                    (None, Value::Placed(like)) => of(self.type_of(like.value).dtype()),
                    (None, Value::Known(Array { data: Data::Codes(tensor), .. })) => of(tensor.dtype()),
                    (None, Value::Known(Array { data: Data::Reals(_), .. }) | Value::Dequantized(_)) => Element::Float,
                    _ => refuse!("the type that it casts to is not known"),
                };
                self.cast(node, to)?
            }
            "LpNormalization" => {
                let x = self.numbers(node, 0)?;
                let place = x.place(axis_of(node.int("axis", -1), x.order.len())?);
                let norm = if node.int("p", 2) == 1 { Reduction::L1 } else { Reduction::L2 };
                let length = self.graph.add(Reduce::new(self.type_of(x.value).clone(), [place], norm)?, &[x.value])?;
                let length = Placed { value: length, ..x.clone() };
                // A row of zeros stays one.
                let length = self.binary(&[Operand::Placed(length), number(f32::MIN_POSITIVE)], Arithmetic::Maximum)?;
                self.binary(&[Operand::Placed(x), Operand::Placed(length)], Arithmetic::Divide)?
            }
            "Trilu" => {
                let value = self.value(node, 0)?;
                let x = self.real(&value)?;
                let dims = self.dims(&x);
                let &[.., rows, columns] = &dims[..] else { refuse!("its input has {} dimensions", dims.len()) };
                let shift = self.optional(node, 1)?.map(|k| k.as_integers()).transpose()?;
                let shift = shift.and_then(|k| k.first().copied()).unwrap_or(0);
                let upper = node.int("upper", 1) != 0;
                let kept = |i: usize, j: usize| {
                    let distance = (j as i64 - i as i64).saturating_sub(shift);
                    f32::from(u8::from(if upper { distance >= 0 } else { distance <= 0 }))
                };
                let mask = (0..rows).flat_map(|i| (0..columns).map(move |j| kept(i, j))).collect();
                let is_integer = self.type_of(x.value).dtype() == DType::Int32;
                let zero = if is_integer { Array::integers([1], vec![0]) } else { Array::reals([1], vec![0.0]) };
                let mask = Operand::Known(Array::reals([rows, columns], mask));
                self.select(&[mask, Operand::Placed(x), Operand::Known(zero)])?
            }
            "TopK" => {
                let x = self.numbers(node, 0)?;
                let k = self.known(node, 1, "number")?.as_integers()?;
                let k = k.first().and_then(|&k| usize::try_from(k).ok()).unwrap_or(0);
                let rank = x.order.len();
                let axis = axis_of(node.int("axis", -1), rank)?;
                let order = last(rank, axis);
                let rows = self.arranged(&x, &order)?;
                let best = TopK::new(self.type_of(rows).clone(), k);
                let best = if node.int("largest", 1) == 0 { best.least() } else { best };
                let made = self.graph.add_all(best.build()?, &[rows])?;
                let placed = |value| Value::Placed(Placed { value, order: order.clone() });
                return Ok(Some(made.into_iter().map(placed).collect()));
            }
            "Xor" => {
                let (a, b) = (self.numbers(node, 0)?, self.numbers(node, 1)?);
                let equal = self.binary(&[Operand::Placed(a), Operand::Placed(b)], Arithmetic::Equal)?;
                self.binary(&[number(1.0), Operand::Placed(equal)], Arithmetic::Subtract)?
            }
            "Mean" => {
                let sum = self.binary_node(node, Arithmetic::Add)?;
                self.binary(&[Operand::Placed(sum), number(node.input.len() as f32)], Arithmetic::Divide)?
            }
            "Swish" => {
                let x = self.numbers(node, 0)?;
                let scaled =
                    self.binary(&[Operand::Placed(x.clone()), number(node.float("alpha", 1.0))], Arithmetic::Multiply)?;
                let share = self.unary(&scaled, Function::Sigmoid)?;
                self.binary(&[Operand::Placed(x), Operand::Placed(share)], Arithmetic::Multiply)?
            }
            "Softsign" => {
                let x = self.numbers(node, 0)?;
                let size = self.unary(&x, Function::Abs)?;
                let more = self.binary(&[Operand::Placed(size), number(1.0)], Arithmetic::Add)?;
                self.binary(&[Operand::Placed(x), Operand::Placed(more)], Arithmetic::Divide)?
            }
            "ThresholdedRelu" => {
                let x = self.numbers(node, 0)?;
                let kept =
                    self.binary(&[Operand::Placed(x.clone()), number(node.float("alpha", 1.0))], Arithmetic::Greater)?;
                self.binary(&[Operand::Placed(x), Operand::Placed(kept)], Arithmetic::Multiply)?
            }
            "Selu" => {
                let x = self.numbers(node, 0)?;
                let y = self.unary(&x, Function::Elu { alpha: node.float("alpha", 1.673_263_2) })?;
                self.binary(&[Operand::Placed(y), number(node.float("gamma", 1.050_701))], Arithmetic::Multiply)?
            }
            "PRelu" => {
                let x = self.numbers(node, 0)?;
                let slope = self.number_operand(node, 1)?;
                let high = self.unary(&x, Function::Relu)?;
                let low = self.binary(&[Operand::Placed(x), number(0.0)], Arithmetic::Minimum)?;
                let low = self.binary(&[Operand::Placed(low), slope], Arithmetic::Multiply)?;
                self.binary(&[Operand::Placed(high), Operand::Placed(low)], Arithmetic::Add)?
            }
            "InstanceNormalization" => {
                let x = self.numbers(node, 0)?;
                let channels = self.dims(&x).get(1).copied().unwrap_or(0);
                self.group_norm(node, x, channels)?
            }
            "GroupNormalization" if self.opset >= 21 => {
                let x = self.numbers(node, 0)?;
                let groups = usize::try_from(node.int("num_groups", 0)).unwrap_or(0);
                self.group_norm(node, x, groups)?
            }
            "Tile" => {
                let mut x = self.numbers(node, 0)?;
                let repeats = super::dims_of(&self.known(node, 1, "repeats")?.as_integers()?)?;
                require!(
                    repeats.len() == x.order.len(),
                    "{} repeats are given for {} axes",
                    repeats.len(),
                    x.order.len()
                );
                for (axis, &count) in repeats.iter().enumerate() {
                    let place = x.place(axis);
                    let extent = self.type_of(x.value).dims()[place];
                    let others: usize = self.type_of(x.value).shape().elements().checked_div(extent).unwrap_or(0);
                    shape::checked_product(&[extent, count, others])?;
                    let places: Vec<usize> = (0..count).flat_map(|_| 0..extent).collect();
                    let op = Slice::take(self.type_of(x.value).clone(), place, places)?;
                    x.value = self.graph.add(op, &[x.value])?;
                }
                x
            }
            _ => return Ok(None),
        };
        Ok(Some(vec![Value::Placed(made)]))
    }

    /// A normalization of each group of channels, and a scale and shift of each channel.
    fn group_norm(&mut self, node: &NodeProto, x: Placed, groups: usize) -> Result<Placed> {
        let dims = self.dims(&x);
        require!(
            dims.len() >= 2 && groups > 0 && dims[1].is_multiple_of(groups),
            "{groups} groups are asked of the channels of {dims:?}"
        );
        let (scale, shift) = (self.known(node, 1, "scale")?.as_reals()?, self.known(node, 2, "shift")?.as_reals()?);
        require!(scale.len() == dims[1] && shift.len() == dims[1], "its scale and shift are not one for each channel");
        let length = dims[1..].iter().product::<usize>() / groups;
        let rows = self.in_rows(&x)?;
        let rows = self.reshaped(rows, vec![dims[0] * groups, length])?;
        let ones = Tensor::new([length], vec![1.0f32; length])?;
        let norm = LayerNorm::new(self.type_of(rows).clone(), ones, node.float("epsilon", 1e-5)).build()?;
        let value = self.graph.add(norm, &[rows])?;
        let value = self.reshaped(value, dims.clone())?;
        let normal = self.plain(value);
        self.scaled_by_channel(normal, scale, shift)
    }
}
