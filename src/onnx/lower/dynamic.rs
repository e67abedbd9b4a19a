//! Dynamic quantization: `DynamicQuantizeLinear`, and the products of its codes. Their sums, scale and bias are one op.

use super::codes::is_row;
use super::layout::Placed;
use super::{Codes, Lowering, Value};
use crate::error::{Error, Result, refuse, require};
use crate::numeric::DType;
use crate::onnx::array::{Array, Data};
use crate::onnx::proto::NodeProto;
use crate::ops::{DynamicGranularity, DynamicQuantize, Output};
use crate::plan::Value as GraphValue;

/// A part of a dynamic quantization.
#[derive(Debug, Clone)]
pub(super) enum Dynamic {
    /// The codes of a tensor, with their scale and zero point in another value.
    Codes(Quantized),
    /// The scale.
    Scale(Quantized),
    /// The zero point.
    ZeroPoint(Quantized),
    /// The scale times that of weights.
    Product(Quantized, Array),
    /// The sums of products of the codes and weights: a `MatMulInteger` or `ConvInteger`.
    Sums(Quantized, Box<Weights>),
}

/// A tensor that was quantized by its range.
#[derive(Debug, Clone)]
pub(super) struct Quantized {
    codes: Placed,
    parameters: GraphValue,
}

/// The second factor of sums.
#[derive(Debug, Clone)]
pub(super) struct Weights {
    node: NodeProto,
    codes: Array,
    zero_points: Option<Array>,
}

impl Lowering<'_> {
    /// The outputs of a node of a dynamic quantization; `None` if it is another.
    pub(super) fn dynamic(&mut self, node: &NodeProto) -> Result<Option<Vec<Value>>> {
        let one = |dynamic: Dynamic| Ok(Some(vec![Value::Dynamic(dynamic)]));
        if node.op_type == "DynamicQuantizeLinear" {
            let value = self.value(node, 0)?;
            let x = self.real(&value)?;
            let op = DynamicQuantize::new(self.type_of(x.value).clone(), DType::Uint8, DynamicGranularity::Tensor);
            let made = self.graph.add_all(op.build()?, &[x.value])?;
            let quantized = Quantized { codes: Placed { value: made[0], ..x }, parameters: made[1] };
            let parts =
                [Dynamic::Codes(quantized.clone()), Dynamic::Scale(quantized.clone()), Dynamic::ZeroPoint(quantized)];
            return Ok(Some(parts.into_iter().map(Value::Dynamic).collect()));
        }
        let mut inputs = Vec::new();
        for index in 0..node.input.len() {
            inputs.push(if node.input_name(index).is_some() { Some(self.value(node, index)?) } else { None });
        }
        let dynamic = |value: &Option<Value>| match value {
            Some(Value::Dynamic(dynamic)) => Some(dynamic.clone()),
            _ => None,
        };
        let known = |value: Option<&Option<Value>>| match value {
            Some(Some(Value::Known(array))) => Some(array.clone()),
            _ => None,
        };
        let [first, second] = [inputs.first(), inputs.get(1)].map(|value| value.and_then(dynamic));
        match (&*node.op_type, first, second) {
            ("MatMulInteger" | "ConvInteger", Some(Dynamic::Codes(quantized)), _) => {
                let same_zero_point = match inputs.get(2).and_then(dynamic) {
                    Some(Dynamic::ZeroPoint(zero)) => zero.parameters == quantized.parameters,
                    _ => false,
                };
                if !same_zero_point {
                    refuse!("its zero point is not that of its codes");
                }
                let Some(codes) = known(inputs.get(1)) else { refuse!("its weights are computed when the graph runs") };
                let weights = Weights { node: node.clone(), codes, zero_points: known(inputs.get(3)) };
                one(Dynamic::Sums(quantized, Box::new(weights)))
            }
            ("Cast", Some(sums @ Dynamic::Sums(..)), _) if node.int("to", 0) == 1 => one(sums),
            ("Mul", Some(Dynamic::Scale(scale)), None) => match known(inputs.get(1)) {
                Some(factor) => one(Dynamic::Product(scale, factor)),
                None => Ok(None),
            },
            ("Mul", None, Some(Dynamic::Scale(scale))) => match known(inputs.first()) {
                Some(factor) => one(Dynamic::Product(scale, factor)),
                None => Ok(None),
            },
            ("Mul", Some(Dynamic::Sums(sums, weights)), Some(Dynamic::Product(scale, factor)))
            | ("Mul", Some(Dynamic::Product(scale, factor)), Some(Dynamic::Sums(sums, weights))) => {
                if scale.parameters != sums.parameters {
                    refuse!("the scale is not that of the sums' codes");
                }
                Ok(Some(vec![Value::Placed(self.product(&sums, &weights, &factor)?)]))
            }
            _ => Ok(None),
        }
    }

    /// Sums times their scale, as float32.
    fn product(&mut self, x: &Quantized, weights: &Weights, scale: &Array) -> Result<Placed> {
        let Data::Codes(codes) = &weights.codes.data else { refuse!("its weights are no codes") };
        let is_conv = weights.node.op_type == "ConvInteger";
        require!(codes.dims().len() >= if is_conv { 3 } else { 2 }, "its weights are {}", codes.tensor_type());
        let axis = if is_conv { 0 } else { codes.dims().len() - 1 };
        // One factor, or one for each column or channel.
        let by_output = match is_conv {
            true => {
                scale.dims.len() == codes.dims().len() && (0..scale.dims.len()).all(|i| i == 1 || scale.dims[i] == 1)
            }
            false => is_row(&scale.dims),
        };
        require!(scale.elements() == 1 || by_output, "its factor {:?} is not one for each output", scale.dims);
        let scale = Array { dims: vec![scale.elements()], ..scale.clone() };
        let value = Value::Known(weights.codes.clone());
        let codes = self.with_scales(value, &scale, weights.zero_points.as_ref(), axis)?;
        let x = (Codes::Placed(x.codes.clone()), Some(x.parameters));
        match is_conv {
            true => self.conv_of(&weights.node, x, codes, None, Output::real()),
            false => self.product_of(x, codes, None, Output::real()),
        }
    }

    /// A part of a dynamic quantization that something else reads.
    pub(super) fn dynamic_real(&mut self, dynamic: &Dynamic) -> Result<Placed> {
        match dynamic {
            Dynamic::Codes(quantized) => Ok(quantized.codes.clone()),
            _ => Err(Error::Request(
                "an input is the scale, the zero point or the sums of a dynamic quantization, which only products with it read".into(),
            )),
        }
    }
}
