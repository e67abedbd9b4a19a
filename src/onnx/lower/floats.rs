//! Nodes that compute with numbers.

use std::sync::Arc;

use super::codes::{is_row, transposed_weights};
use super::layout::{Operand, Placed, channels_last, last, number};
use super::windows::Windows;
use super::{Codes, Lowering, Value};
use crate::error::{Error, Result, refuse, require};
use crate::import::{Array as FileArray, ElementType, onnx::MatMulNBits};
use crate::network::axis_of;
use crate::numeric::DType;
use crate::onnx::array::{Array, Data, Element};
use crate::onnx::proto::NodeProto;
use crate::onnx::shape;
use crate::ops::{
    ArgMax, Arithmetic, Cast, Dequantize, DynamicGranularity, DynamicQuantize, Embedding, FloatBinary, FloatMatmul,
    FloatUnary, Function, Gather, LayerNorm, Linear, Op, Operand as Factor, Reduce, Reduction, Select, Softmax, Unfold,
};
use crate::tensor::{Granularity, Quantization, Tensor, TensorType};
use crate::weights::PackedWeights;

impl Lowering<'_> {
    /// The outputs of a node in float32.
    pub(super) fn floats(&mut self, node: &NodeProto) -> Result<Vec<Value>> {
        if let Some(function) = self.function(node)? {
            let of_codes = matches!(self.value(node, 0)?, Value::Dequantized(_));
            let x = self.numbers(node, 0)?;
            if let Function::HardSigmoid { alpha, beta } = function
                && of_codes
            {
                // ONNX Runtime rounds the product before the sum. Of codes the three steps are one table.
                let product = self.binary(&[Operand::Placed(x), number(alpha)], Arithmetic::Multiply)?;
                let sum = self.binary(&[Operand::Placed(product), number(beta)], Arithmetic::Add)?;
                return Ok(vec![Value::Placed(self.unary(&sum, Function::Clamp { low: 0.0, high: 1.0 })?)]);
            }
            return self.unary(&x, function).map(|y| vec![Value::Placed(y)]);
        }
        if let Some(arithmetic) = binary(&node.op_type) {
            return self.binary_node(node, arithmetic).map(|y| vec![Value::Placed(y)]);
        }
        let made = match &*node.op() {
            "Cast" => self.cast(node, Element::of(node.int("to", 0) as i32)?)?,
            "Not" => {
                let x = self.numbers(node, 0)?;
                self.binary(&[number(1.0), Operand::Placed(x)], Arithmetic::Subtract)?
            }
            "Where" => self.choose(node)?,
            "Softmax" => self.softmax(node)?,
            "LogSoftmax" => self.log_softmax(node)?,
            "LayerNormalization"
            | "RMSNormalization"
            | "SimplifiedLayerNormalization"
            | "com.microsoft.SimplifiedLayerNormalization" => self.layer_norm(node)?,
            "BatchNormalization" => self.batch_norm(node)?,
            "MatMul" => {
                let (a, b) = (self.value(node, 0)?, self.value(node, 1)?);
                self.matmul(&a, &b, None)?
            }
            "Gemm" => self.gemm(node)?,
            "Conv" | "ConvTranspose" => self.conv(node)?,
            "Concat" => {
                let mut operands = Vec::new();
                for index in 0..node.input.len() {
                    let value = self.value(node, index)?;
                    operands.push(self.operand(&value)?);
                }
                let rank = operands.first().map_or(0, Operand::rank);
                self.joined(&operands, axis_of(node.int("axis", 0), rank)?, None)?
            }
            "ArgMax" => {
                let x = self.numbers(node, 0)?;
                let rank = x.order.len();
                let axis = axis_of(node.int("axis", 0), rank)?;
                require!(node.int("select_last_index", 0) == 0, "it selects the last of equal elements");
                let rows = self.arranged(&x, &last(rank, axis))?;
                let value = self.graph.add(ArgMax::new(self.type_of(rows).clone())?, &[rows])?;
                let mut dims = self.dims(&x);
                if node.int("keepdims", 1) == 0 {
                    dims.remove(axis);
                } else {
                    dims[axis] = 1;
                }
                let value = self.reshaped(value, dims)?;
                self.plain(value)
            }
            "com.microsoft.MatMulNBits" => self.matmul_n_bits(node)?,
            "com.microsoft.GatherBlockQuantized" => self.gather_block_quantized(node)?,
            other => refuse!("there is no op for {other}"),
        };
        Ok(vec![Value::Placed(made)])
    }

    /// An input as float32.
    pub(super) fn numbers(&mut self, node: &NodeProto, index: usize) -> Result<Placed> {
        let value = self.value(node, index)?;
        self.numbers_of(&value)
    }

    pub(super) fn numbers_of(&mut self, value: &Value) -> Result<Placed> {
        let value = match value {
            Value::Known(array) => &Value::Known(Array::reals(array.dims.clone(), array.as_reals()?)),
            other => other,
        };
        let placed = self.real(value)?;
        let own = self.type_of(placed.value).clone();
        match own.dtype() {
            DType::Float32 => Ok(placed),
            DType::Float16 => {
                let value = self.graph.add(Cast::new(own, DType::Float32).build()?, &[placed.value])?;
                Ok(Placed { value, ..placed })
            }
            dtype if dtype.range().is_some() => {
                // Integers are codes with the scale 1.
                let plain = self.graph.rescaled(placed.value, Quantization::tensor(1.0, 0))?;
                let op = Dequantize::new(self.type_of(plain).clone()).build()?;
                let value = self.graph.add(op, &[plain])?;
                Ok(Placed { value, ..placed })
            }
            dtype => Err(Error::Request(format!("an input is of {dtype}, which has no numbers"))),
        }
    }

    /// An input as an operand in float32.
    pub(super) fn number_operand(&mut self, node: &NodeProto, index: usize) -> Result<Operand> {
        Ok(match self.value(node, index)? {
            Value::Known(array) => Operand::Known(Array::reals(array.dims.clone(), array.as_reals()?)),
            other => Operand::Placed(self.numbers_of(&other)?),
        })
    }

    pub(super) fn unary(&mut self, x: &Placed, function: Function) -> Result<Placed> {
        let op = FloatUnary::new(self.type_of(x.value).clone(), function)?;
        let value = self.graph.add(op, &[x.value])?;
        Ok(Placed { value, ..x.clone() })
    }

    /// The function of one number that a node is.
    fn function(&mut self, node: &NodeProto) -> Result<Option<Function>> {
        Ok(Some(match &*node.op() {
            "Relu" => Function::Relu,
            "Sigmoid" => Function::Sigmoid,
            "Tanh" => Function::Tanh,
            "Sqrt" => Function::Sqrt,
            "Exp" => Function::Exp,
            "Log" => Function::Log,
            "Abs" => Function::Abs,
            "Neg" => Function::Negate,
            "Reciprocal" => Function::Reciprocal,
            "Erf" => Function::Erf,
            "Floor" => Function::Floor,
            "Ceil" => Function::Ceil,
            "Round" => Function::Round,
            "Softplus" => Function::Softplus,
            "HardSigmoid" => Function::HardSigmoid { alpha: node.float("alpha", 0.2), beta: node.float("beta", 0.5) },
            "HardSwish" => Function::HardSwish,
            "LeakyRelu" => Function::LeakyRelu { alpha: node.float("alpha", 0.01) },
            "IsNaN" => Function::IsNan,
            "Elu" => Function::Elu { alpha: node.float("alpha", 1.0) },
            "Gelu" => match node.text("approximate", "none")? {
                "none" => Function::Gelu,
                "tanh" => Function::GeluTanh,
                other => refuse!("approximate is {other}"),
            },
            "com.microsoft.Gelu" => Function::Gelu,
            "com.microsoft.FastGelu" if node.input_name(1).is_none() => Function::GeluTanh,
            "Clip" => {
                let bound = |this: &mut Self, index: usize, name: &str, open: f32| -> Result<f32> {
                    let given = this.optional(node, index)?.map(|array| array.as_reals()).transpose()?;
                    let given = given.and_then(|values| values.first().copied());
                    Ok(given.unwrap_or(node.float(name, open)).clamp(f32::MIN, f32::MAX))
                };
                let (low, high) = (bound(self, 1, "min", f32::MIN)?, bound(self, 2, "max", f32::MAX)?);
                // The upper bound comes last.
                Function::Clamp { low: low.min(high), high }
            }
            _ => return Ok(None),
        }))
    }

    /// A function of two numbers, or of more from left to right.
    pub(super) fn binary_node(&mut self, node: &NodeProto, arithmetic: Arithmetic) -> Result<Placed> {
        let (mut operands, mut whole) = (Vec::new(), false);
        for index in 0..node.input.len() {
            let value = self.value(node, index)?;
            whole |= matches!(&value, Value::Placed(x) if self.type_of(x.value).dtype().range().is_some());
            operands.push(self.number_operand(node, index)?);
        }
        require!(arithmetic != Arithmetic::Divide || !whole, "no op divides integers when the graph runs");
        let large = |operand: &Operand| match operand {
            Operand::Known(array) => array.as_reals().is_ok_and(|values| values.iter().any(|x| x.abs() > 16_777_216.0)),
            Operand::Placed(_) => false,
        };
        require!(
            !whole || !operands.iter().any(large),
            "integers of the graph are computed as float32, which is exact to 2^24, but a constant is beyond that"
        );
        let mut operands = operands.into_iter();
        let Some(first) = operands.next() else { refuse!("it has no inputs") };
        let mut result = first;
        for next in operands {
            result = Operand::Placed(self.binary(&[result, next], arithmetic)?);
        }
        match result {
            Operand::Placed(placed) => Ok(placed),
            Operand::Known(array) => self.numbers_of(&Value::Known(array)),
        }
    }

    pub(super) fn binary(&mut self, operands: &[Operand; 2], arithmetic: Arithmetic) -> Result<Placed> {
        let (values, order) = self.aligned(operands)?;
        let [a, b] = [values[0], values[1]].map(|value| self.type_of(value).clone());
        let value = self.graph.add(FloatBinary::new(a, b, arithmetic)?, &values)?;
        Ok(Placed { value, order })
    }

    /// The value of an input in another type. Truth values are the numbers 0 and 1, and integers of 64 bits those of 32.
    pub(super) fn cast(&mut self, node: &NodeProto, to: Element) -> Result<Placed> {
        let value = self.value(node, 0)?;
        let placed = self.real(&value)?;
        let from = self.type_of(placed.value).dtype();
        match to {
            Element::Float | Element::Double if from.range().is_some() => self.numbers(node, 0),
            Element::Int32 | Element::Int64 if from == DType::Int32 => Ok(placed),
            Element::Bool => {
                let x = self.numbers(node, 0)?;
                let size = self.unary(&x, Function::Abs)?;
                self.binary(&[Operand::Placed(size), number(0.0)], Arithmetic::Greater)
            }
            Element::Float | Element::Double | Element::Float16 | Element::Code(_) if from != DType::Int32 => {
                let to = if to == Element::Double { DType::Float32 } else { to.dtype()? };
                if from == to {
                    return Ok(placed);
                }
                let cast = Cast::new(self.type_of(placed.value).clone(), to);
                let cast = if node.int("saturate", 1) == 0 { cast.non_saturating() } else { cast };
                let value = self.graph.add(cast.build()?, &[placed.value])?;
                Ok(Placed { value, ..placed })
            }
            other => Err(Error::Request(format!("no op casts {from} to {other}"))),
        }
    }

    fn choose(&mut self, node: &NodeProto) -> Result<Placed> {
        let condition = self.value(node, 0)?;
        if let Value::Known(array) = &condition {
            // The same choice for all elements.
            let values = array.truths();
            let (all, none) = (values.iter().all(|&c| c), values.iter().all(|&c| !c));
            let (chosen, other) = if all { (1, 2) } else { (2, 1) };
            if all || none {
                let (chosen, other) = (self.value(node, chosen)?, self.value(node, other)?);
                let (dims, more) = (self.dims_of_value(&chosen)?, self.dims_of_value(&other)?);
                let dims = shape::broadcast(&dims, &more)?;
                let target = shape::broadcast(&dims, &array.dims)?;
                let placed = self.numbers_of(&chosen)?;
                return self.expanded(&placed, &target);
            }
        }
        let mut operands = Vec::new();
        for index in 0..3 {
            operands.push(self.number_operand(node, index)?);
        }
        self.select(&operands)
    }

    /// The second operand where the first is not 0, else the third.
    pub(super) fn select(&mut self, operands: &[Operand]) -> Result<Placed> {
        let (values, order) = self.aligned(operands)?;
        let [condition, a, b] = [values[0], values[1], values[2]].map(|value| self.type_of(value).clone());
        let value = self.graph.add(Select::new(condition, a, b)?, &values)?;
        Ok(Placed { value, order })
    }

    fn softmax(&mut self, node: &NodeProto) -> Result<Placed> {
        let x = self.numbers(node, 0)?;
        self.along_axis(node, &x, self.opset, |rows| Ok(Softmax::new(rows).build()?.into()))
    }

    /// `x − m − log Σ e^(x − m)` with the greatest number m of each row.
    fn log_softmax(&mut self, node: &NodeProto) -> Result<Placed> {
        let x = self.numbers(node, 0)?;
        let rank = x.order.len();
        let first = axis_of(node.int("axis", if self.opset < 13 { 1 } else { -1 }), rank)?;
        let last = if self.opset < 13 { rank } else { first + 1 };
        let places: Vec<usize> = (first..last).map(|axis| x.place(axis)).collect();
        let reduced = |this: &mut Self, x: &Placed, reduction: Reduction| -> Result<Placed> {
            let op = Reduce::new(this.type_of(x.value).clone(), places.clone(), reduction)?;
            Ok(Placed { value: this.graph.add(op, &[x.value])?, ..x.clone() })
        };
        let most = reduced(self, &x, Reduction::Max)?;
        let less = self.binary(&[Operand::Placed(x.clone()), Operand::Placed(most)], Arithmetic::Subtract)?;
        let powers = self.unary(&less, Function::Exp)?;
        let sum = reduced(self, &powers, Reduction::Sum)?;
        let sum = self.unary(&sum, Function::Log)?;
        self.binary(&[Operand::Placed(less), Operand::Placed(sum)], Arithmetic::Subtract)
    }

    /// An op over the rows along an axis; before opset 13 all axes from that one on are one.
    pub(super) fn along_axis(
        &mut self,
        node: &NodeProto,
        x: &Placed,
        opset: i64,
        op: impl FnOnce(TensorType) -> Result<Op>,
    ) -> Result<Placed> {
        let rank = x.order.len();
        if opset < 13 {
            let axis = axis_of(node.int("axis", 1), rank)?;
            let dims = self.dims(x);
            let rows = self.in_rows(x)?;
            let flat = [dims[..axis].iter().product(), dims[axis..].iter().product()];
            let rows = self.reshaped(rows, flat.to_vec())?;
            let value = self.graph.add(op(self.type_of(rows).clone())?, &[rows])?;
            let value = self.reshaped(value, dims)?;
            return Ok(self.plain(value));
        }
        let axis = axis_of(node.int("axis", -1), rank)?;
        let order = last(rank, axis);
        let rows = self.arranged(x, &order)?;
        let value = self.graph.add(op(self.type_of(rows).clone())?, &[rows])?;
        Ok(Placed { value, order })
    }

    /// A normalization over the axes from one on.
    fn layer_norm(&mut self, node: &NodeProto) -> Result<Placed> {
        let x = self.numbers(node, 0)?;
        let (dims, rank) = (self.dims(&x), x.order.len());
        let axis = axis_of(node.int("axis", -1), rank)?;
        require!(node.output_names().count() == 1, "its mean and deviation are outputs, too");
        let length: usize = dims[axis..].iter().product();
        let vector = |array: Array| -> Result<Arc<Tensor>> {
            let mut values = array.as_reals()?;
            if values.len() == 1 {
                values = vec![values[0]; length];
            }
            require!(values.len() == length, "{} factors are given for rows of {length}", values.len());
            Ok(Arc::new(Tensor::new([length], values)?))
        };
        let scale = vector(self.known(node, 1, "scale")?)?;
        let rows = self.in_rows(&x)?;
        let rows = self.reshaped(rows, [&dims[..axis], &[length]].concat())?;
        let norm = LayerNorm::new(self.type_of(rows).clone(), scale, node.float("epsilon", 1e-5));
        let norm = match self.optional(node, 2)? {
            Some(shift) => norm.shift(vector(shift)?),
            None => norm,
        };
        let norm = if node.op_type == "LayerNormalization" { norm } else { norm.without_mean() };
        let value = self.graph.add(norm.build()?, &[rows])?;
        let value = self.reshaped(value, dims)?;
        Ok(self.plain(value))
    }

    /// `(x − mean) / √(variance + epsilon) · scale + shift` with constants: a product and a sum by channel.
    fn batch_norm(&mut self, node: &NodeProto) -> Result<Placed> {
        require!(node.int("training_mode", 0) == 0 && node.output_names().count() == 1, "it is in training mode");
        let x = self.numbers(node, 0)?;
        let list = |this: &mut Self, index: usize| this.known(node, index, "statistics")?.as_reals();
        let (scale, shift) = (list(self, 1)?, list(self, 2)?);
        let (mean, variance) = (list(self, 3)?, list(self, 4)?);
        let (rank, channels) = (x.order.len(), scale.len());
        require!(rank >= 2 && self.dims(&x)[1] == channels, "{channels} channels are given for {:?}", self.dims(&x));
        require!(
            [&shift, &mean, &variance].iter().all(|list| list.len() == channels),
            "its statistics differ in length"
        );
        let epsilon = node.float("epsilon", 1e-5);
        let factor: Vec<f32> = scale.iter().zip(&variance).map(|(s, v)| s / (v + epsilon).sqrt()).collect();
        let offset = (0..channels).map(|c| shift[c] - mean[c] * factor[c]).collect();
        self.scaled_by_channel(x, factor, offset)
    }

    /// `x · scale + shift`, with a number of each for every channel.
    pub(super) fn scaled_by_channel(&mut self, x: Placed, scale: Vec<f32>, shift: Vec<f32>) -> Result<Placed> {
        let mut dims = vec![1; x.order.len()];
        dims[1] = scale.len();
        let scale = Operand::Known(Array::reals(dims.clone(), scale));
        let product = self.binary(&[Operand::Placed(x), scale], Arithmetic::Multiply)?;
        self.binary(&[Operand::Placed(product), Operand::Known(Array::reals(dims, shift))], Arithmetic::Add)
    }

    /// A product of matrices of numbers. A vector is a row on the left and a column on the right.
    fn matmul(&mut self, a: &Value, b: &Value, bias: Option<Tensor>) -> Result<Placed> {
        let ranks = [self.dims_of_value(a)?.len(), self.dims_of_value(b)?.len()];
        require!(!ranks.contains(&0), "a factor is a single number");
        let lhs = self.numbers_of(a)?;
        let lhs = if ranks[0] == 1 { self.unsqueezed(&lhs, &[0])? } else { lhs };
        let lhs = self.in_rows(&lhs)?;
        let (factor, inputs) = match b {
            Value::Known(array) => {
                let dims = if ranks[1] == 1 { vec![array.dims[0], 1] } else { array.dims.clone() };
                (Factor::from(Tensor::new(dims, array.as_reals()?)?), vec![lhs])
            }
            b => {
                let b = self.numbers_of(b)?;
                let b = if ranks[1] == 1 { self.unsqueezed(&b, &[1])? } else { b };
                let rhs = self.in_rows(&b)?;
                (Factor::from(self.type_of(rhs).clone()), vec![lhs, rhs])
            }
        };
        let product = FloatMatmul::new(self.type_of(lhs).clone(), factor);
        let product = match bias {
            Some(bias) => product.bias(bias),
            None => product,
        };
        let value = self.graph.add(product.build()?, &inputs)?;
        let made = self.plain(value);
        let rank = made.order.len();
        let singles = [(ranks[0] == 1).then_some(rank - 2), (ranks[1] == 1).then_some(rank - 1)];
        self.squeezed(&made, &singles.into_iter().flatten().collect::<Vec<_>>())
    }

    fn gemm(&mut self, node: &NodeProto) -> Result<Placed> {
        let (alpha, beta) = (node.float("alpha", 1.0), node.float("beta", 1.0));
        let factor = |this: &mut Self, index: usize, name: &str, times: f32| -> Result<Value> {
            let value = this.value(node, index)?;
            let value = match value {
                Value::Known(array) => {
                    let values = array.as_reals()?.into_iter().map(|x| x * times).collect();
                    Value::Known(Array::reals(array.dims, values))
                }
                other if times == 1.0 => other,
                other => {
                    let x = this.numbers_of(&other)?;
                    Value::Placed(this.binary(&[Operand::Placed(x), number(times)], Arithmetic::Multiply)?)
                }
            };
            let turns = !name.is_empty() && node.int(name, 0) != 0;
            Ok(match (value, turns) {
                (Value::Known(array), true) => {
                    require!(array.dims.len() == 2, "a factor has the dimensions {:?}", array.dims);
                    Value::Known(array.permuted(&[1, 0])?)
                }
                (value, true) => {
                    let x = this.numbers_of(&value)?;
                    require!(x.order.len() == 2, "a factor has {} dimensions", x.order.len());
                    Value::Placed(x.transposed(&[1, 0]))
                }
                (value, false) => value,
            })
        };
        let (a, b) = (factor(self, 0, "transA", alpha)?, factor(self, 1, "transB", 1.0)?);
        if node.input_name(2).is_none() {
            return self.matmul(&a, &b, None);
        }
        let columns = self.dims_of_value(&b)?.last().copied().unwrap_or(0);
        match factor(self, 2, "", beta)? {
            Value::Known(bias) if bias.elements() == columns && is_row(&bias.dims) => {
                self.matmul(&a, &b, Some(Tensor::new([columns], bias.as_reals()?)?))
            }
            bias => {
                let product = self.matmul(&a, &b, None)?;
                let bias = self.numbers_of(&bias)?;
                self.binary(&[Operand::Placed(product), Operand::Placed(bias)], Arithmetic::Add)
            }
        }
    }

    /// A convolution of numbers: its patches times its weights.
    fn conv(&mut self, node: &NodeProto) -> Result<Placed> {
        let weights = match self.value(node, 1)? {
            Value::Known(array) => Tensor::new(array.dims.clone(), array.as_reals()?)?,
            Value::Dequantized(Codes::Known(codes)) => codes.dequantize()?,
            _ => refuse!("its weights are computed when the graph runs"),
        };
        let image = self.numbers(node, 0)?;
        let rank = weights.dims().len();
        require!(rank >= 3 && image.order.len() == rank, "its weights are {}", weights.tensor_type());
        let transposed = node.op_type == "ConvTranspose";
        let groups = usize::try_from(node.int("group", 1)).unwrap_or(0);
        require!(groups > 0, "it has no groups");
        let weights = match transposed {
            true => transposed_weights(&weights, groups)?,
            false => weights.permuted(&channels_last(rank))?,
        };
        let outputs = weights.dims()[0];
        require!(outputs.is_multiple_of(groups), "{outputs} outputs are no multiple of {groups} groups");
        let order = channels_last(rank);
        let image = self.arranged(&image, &order)?;
        let kernel = &weights.dims()[1..rank - 1];
        let windows = Windows::of(node, self.type_of(image), kernel)?;
        let mut patches = Unfold::new(self.type_of(image).clone(), kernel)
            .stride(windows.strides)
            .dilation(windows.dilations)
            .padding(windows.padding);
        if transposed {
            patches = patches.transposed().output_padding(windows.output_padding);
        }
        if groups > 1 {
            patches = patches.groups(groups);
        }
        let patches = self.graph.add(patches.build()?, &[image])?;
        let bias = self.optional(node, 2)?.map(|bias| bias.as_reals()).transpose()?;
        let length: usize = weights.dims()[1..].iter().product();
        let positions = self.type_of(patches).dims()[..rank - 1].to_vec();
        let made = if groups == 1 {
            let product = FloatMatmul::new(self.type_of(patches).clone(), weights.reshaped([outputs, length])?);
            let product = product.transposed_rhs();
            let product = match bias {
                Some(bias) => product.bias(Tensor::new([outputs], bias)?),
                None => product,
            };
            self.graph.add(product.build()?, &[patches])?
        } else {
            // One product for each group: [positions, groups, 1, length] times [groups, length, outputs].
            let rows = positions.iter().product();
            let lhs = self.reshaped(patches, vec![rows, groups, 1, length])?;
            let rhs = weights.reshaped([groups, outputs / groups, length])?;
            let product = FloatMatmul::new(self.type_of(lhs).clone(), rhs).transposed_rhs().build()?;
            let product = self.graph.add(product, &[lhs])?;
            let made = self.reshaped(product, [&positions[..], &[outputs]].concat())?;
            match bias {
                Some(bias) => {
                    let made = self.plain(made);
                    let bias = Operand::Known(Array::reals([outputs], bias));
                    self.binary(&[Operand::Placed(made), bias], Arithmetic::Add)?.value
                }
                None => made,
            }
        };
        Ok(Placed { value: made, order })
    }

    /// A product with weights in blocks.
    fn matmul_n_bits(&mut self, node: &NodeProto) -> Result<Placed> {
        let size = |name: &str| usize::try_from(node.int(name, 0)).unwrap_or(0);
        let (b, scales) = (self.known(node, 1, "weights")?, self.known(node, 2, "scales")?);
        let bytes: Vec<u8> = b.as_codes()?.codes()?.into_iter().map(|code| code as u8).collect();
        let list: Vec<u8> = scales.as_reals()?.iter().flat_map(|x| x.to_le_bytes()).collect();
        let scales = FileArray::new(ElementType::Float32, [scales.elements()], &list)?;
        let zeros = self.optional(node, 3)?;
        let zero_bytes: Vec<u8> = match zeros.as_ref().map(|array| &array.data) {
            Some(Data::Codes(tensor)) => tensor.codes()?.into_iter().map(|code| code as u8).collect(),
            Some(Data::Reals(values)) => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
            _ => Vec::new(),
        };
        let zeros = match zeros.as_ref().map(|array| &array.data) {
            Some(Data::Codes(_)) => Some(FileArray::new(ElementType::Uint8, [zero_bytes.len()], &zero_bytes)?),
            Some(Data::Reals(values)) => Some(FileArray::new(ElementType::Float32, [values.len()], &zero_bytes)?),
            _ => None,
        };
        let groups = self.optional(node, 4)?.map(|groups| groups.as_integers()).transpose()?;
        let group_bytes: Vec<u8> = groups.iter().flatten().flat_map(|&group| (group as i32).to_le_bytes()).collect();
        let groups =
            groups.map(|groups| FileArray::new(ElementType::Int32, [groups.len()], &group_bytes)).transpose()?;
        let bits = usize::try_from(node.int("bits", 4)).unwrap_or(0);
        let block_size = size("block_size");
        let weights = MatMulNBits::new([size("N"), size("K")], bits, block_size, &bytes, scales);
        let weights = weights.with_zero_points(zeros).with_g_idx(groups).weights()?;
        let x = self.numbers(node, 0)?;
        let x = self.in_rows(&x)?;
        let mut inputs = vec![x];
        // At level 4 ONNX Runtime quantizes blocks of the rows to int8, too.
        let granularity = DynamicGranularity::Group(block_size);
        let in_codes = self.is_optimized() && node.int("accuracy_level", 0) == 4;
        if in_codes {
            let quantize = DynamicQuantize::new(self.type_of(x).clone(), DType::Int8, granularity).symmetric();
            inputs = self.graph.add_all(quantize.build()?, &inputs)?;
        }
        let product = Linear::new(self.type_of(inputs[0]).clone(), weights);
        let product = if in_codes { product.dynamic_lhs(granularity) } else { product };
        let product = match self.optional(node, 5)? {
            Some(bias) => product.bias(Tensor::new([size("N")], bias.as_reals()?)?),
            None => product,
        };
        let value = self.graph.add(product.build()?, &inputs)?;
        Ok(self.plain(value))
    }

    /// Slices of codes that share scales in blocks, as numbers. Rows of a matrix stay codes in the graph.
    fn gather_block_quantized(&mut self, node: &NodeProto) -> Result<Placed> {
        let codes = self.codes_in_blocks(node)?;
        let rank = codes.dims().len();
        let axis = axis_of(node.int("gather_axis", 0), rank)?;
        let along_rows = rank == 2 && axis == 0 && axis_of(node.int("quantize_axis", 1), rank)? == 1;
        let indices = match self.value(node, 1)? {
            Value::Known(array) => {
                let places = shape::indices(&array.as_integers()?, codes.dims()[axis])?;
                Value::Known(Array::integers(array.dims, places.into_iter().map(|place| place as i64).collect()))
            }
            other => other,
        };
        let indices = self.real(&indices)?;
        let indices = self.in_rows(&indices)?;
        if along_rows && let Ok(weights) = PackedWeights::from_tensor(&codes) {
            let rows = Embedding::new(self.type_of(indices).clone(), weights).build()?;
            let value = self.graph.add(rows, &[indices])?;
            return Ok(self.plain(value));
        }
        let rows = self.graph.constant(codes.dequantize()?);
        let op = Gather::new(self.type_of(rows).clone(), axis, self.type_of(indices).clone())?;
        let value = self.graph.add(op, &[rows, indices])?;
        Ok(self.plain(value))
    }

    /// The data of `GatherBlockQuantized`. Bytes hold two codes of 4 bits, or four of 2, the lowest bits first.
    fn codes_in_blocks(&mut self, node: &NodeProto) -> Result<Tensor> {
        let size = usize::try_from(node.int("block_size", 128)).unwrap_or(0);
        require!(size > 0, "its block_size is {}", node.int("block_size", 128));
        let (data, scales) = (self.known(node, 0, "data")?, self.known(node, 2, "scales")?);
        let zeros = self.optional(node, 3)?;
        let data = data.as_codes()?.clone();
        let bits = match data.dtype() {
            DType::Uint8 => usize::try_from(node.int("bits", 4)).unwrap_or(0),
            dtype => dtype.bits(),
        };
        require!(matches!(bits, 2 | 4 | 8), "its codes have {bits} bits in place of 2, 4 or 8");
        let in_bytes = data.dtype() == DType::Uint8 && bits < 8;
        let mut dims = data.dims().to_vec();
        let Some(last) = dims.last_mut() else { refuse!("its data is a scalar") };
        let (mut dtype, mut codes) = (data.dtype(), data.codes()?);
        if in_bytes {
            *last = shape::checked_product(&[*last, 8 / bits])?;
            dtype = if bits == 4 { DType::Uint4 } else { DType::Uint2 };
            codes = unpacked(&codes, bits, *last);
        }
        let axis = axis_of(node.int("quantize_axis", 1), dims.len())?;
        let mut blocks = dims.clone();
        blocks[axis] = dims[axis].div_ceil(size);
        require!(scales.dims == blocks, "its scales are {:?}, but blocks of {size} are {blocks:?}", scales.dims);
        let zeros = match zeros {
            Some(zeros) => {
                let zeros = zeros.as_codes()?.codes()?;
                let columns = blocks[blocks.len() - 1];
                if in_bytes { unpacked(&zeros, bits, columns) } else { zeros }
            }
            None if data.dtype() == DType::Uint8 => vec![1 << (bits - 1)],
            None => vec![0],
        };
        let count = scales.elements();
        require!(zeros.len() == 1 || zeros.len() == count, "there are {} zero points for {count} scales", zeros.len());
        let quantization = Quantization::new(Granularity::Blocks { axis, size }, scales.as_reals()?, zeros);
        Tensor::from_codes(TensorType::new(dtype, dims)?, codes).quantized(quantization)
    }
}

/// The codes in bytes, in rows of so many.
fn unpacked(bytes: &[i32], bits: usize, columns: usize) -> Vec<i32> {
    let each = 8 / bits;
    let code = |byte: i32, place: usize| (byte >> (bits * place)) & ((1 << bits) - 1);
    let rows = bytes.chunks(columns.div_ceil(each).max(1));
    rows.flat_map(|row| row.iter().flat_map(|&byte| (0..each).map(move |i| code(byte, i))).take(columns)).collect()
}

/// The function of two numbers that an op is.
fn binary(op: &str) -> Option<Arithmetic> {
    Some(match op {
        "Add" | "Sum" => Arithmetic::Add,
        "Sub" => Arithmetic::Subtract,
        "Mul" => Arithmetic::Multiply,
        "Div" => Arithmetic::Divide,
        "Pow" => Arithmetic::Power,
        "Min" => Arithmetic::Minimum,
        "Max" => Arithmetic::Maximum,
        "Equal" => Arithmetic::Equal,
        "Less" => Arithmetic::Less,
        "LessOrEqual" => Arithmetic::LessOrEqual,
        "Greater" => Arithmetic::Greater,
        "GreaterOrEqual" => Arithmetic::GreaterOrEqual,
        // Truth values are the numbers 0 and 1.
        "And" => Arithmetic::Multiply,
        "Or" => Arithmetic::Maximum,
        _ => return None,
    })
}
