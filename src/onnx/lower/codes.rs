//! Nodes that compute with codes: the QLinear ops, and ops between dequantizations and a quantization, which are the same (QDQ).

use std::sync::Arc;

use super::layout::{Operand, Placed, channels_last};
use super::windows::Windows;
use super::{Codes, Lowering, Value, quantization};
use crate::error::{Error, Result, refuse, require};
use crate::network::axis_of;
use crate::numeric::DType;
use crate::onnx::array::{Array, Data};
use crate::onnx::proto::NodeProto;
use crate::ops::{
    Add, Conv, DynamicGranularity, Matmul, Multiply, Operand as Factor, Output, Pool, QuantizedArithmetic,
    QuantizedSoftmax, Requantization, Table, lhs_is_repeated,
};
use crate::plan::Value as GraphValue;
use crate::tensor::{Granularity, Quantization, Shape, Tensor, TensorType};

/// A quantization that is part of an op.
pub(super) struct Included {
    /// The places of the `QuantizeLinear` and of activations before it among the nodes.
    pub nodes: Vec<usize>,
    pub output: String,
}

/// The outputs of a node, and the quantization that it includes.
type Made = Option<(Vec<Value>, Option<Included>)>;

impl Lowering<'_> {
    pub(super) fn codes(&mut self, node: &NodeProto) -> Result<Made> {
        let whole = |placed: Placed| Ok(Some((vec![Value::Placed(placed)], None)));
        match &*node.op() {
            "QLinearConv" => {
                let (x, weights) = (self.scaled(node, 0, 1, 0)?, self.scaled(node, 3, 4, 0)?);
                let output = self.requantization(node, 6)?;
                let bias = self.optional(node, 8)?;
                whole(self.conv_of(node, (x, None), weights, bias.as_ref(), output.into())?)
            }
            "ConvInteger" => {
                let x = self.shifted(node, 0, 2, 0)?;
                let weights = self.shifted(node, 1, 3, 0)?;
                whole(self.conv_of(node, (x, None), weights, None, Output::Accumulator)?)
            }
            "QLinearMatMul" => {
                let rank = |this: &mut Self, index| -> Result<usize> {
                    let value = this.value(node, index)?;
                    Ok(this.dims_of_value(&value)?.len())
                };
                let (rows, columns) = (rank(self, 0)?.saturating_sub(2), rank(self, 3)?.saturating_sub(1));
                let (a, b) = (self.scaled(node, 0, 1, rows)?, self.scaled(node, 3, 4, columns)?);
                let output = self.requantization(node, 6)?;
                whole(self.product_of((a, None), b, None, output.into())?)
            }
            "MatMulInteger" => {
                let value = self.value(node, 1)?;
                let columns = self.dims_of_value(&value)?.len().saturating_sub(1);
                let (a, b) = (self.shifted(node, 0, 2, 0)?, self.shifted(node, 1, 3, columns)?);
                whole(self.product_of((a, None), b, None, Output::Accumulator)?)
            }
            "com.microsoft.QGemm" => {
                let (value, scales) = (self.value(node, 0)?, self.known(node, 1, "scale")?);
                // The product's scale is alpha times that of A, times that of B.
                let alpha = node.float("alpha", 1.0);
                let scales = Array::reals(scales.dims.clone(), scales.as_reals()?.iter().map(|x| alpha * x).collect());
                let zero_points = self.optional(node, 2)?;
                let a = self.with_scales(value, &scales, zero_points.as_ref(), 0)?;
                let b = self.scaled(node, 3, 4, if is_transposed(node) { 0 } else { 1 })?;
                let bias = self.optional(node, 6)?;
                let output = match node.input_name(7) {
                    Some(_) => self.requantization(node, 7)?.into(),
                    None => Output::real(),
                };
                whole(self.gemm_of(node, a, b, bias.as_ref(), output)?)
            }
            "com.microsoft.QLinearAdd" | "com.microsoft.QLinearMul" => {
                let (a, b) = (self.scaled(node, 0, 1, 0)?, self.scaled(node, 3, 4, 0)?);
                let output = self.requantization(node, 6)?;
                let is_sum = node.op_type == "QLinearAdd";
                whole(self.elementwise_of(is_sum, a, b, output, QuantizedArithmetic::QOperator)?)
            }
            "com.microsoft.QLinearAveragePool" | "com.microsoft.QLinearGlobalAveragePool" => {
                require!(node.int("channels_last", 0) == 0, "its channels are last already");
                let x = self.scaled(node, 0, 1, 0)?;
                let output = self.requantization(node, 3)?;
                whole(self.average_of(node, x, output, QuantizedArithmetic::QOperator)?)
            }
            "com.microsoft.QLinearSigmoid" | "com.microsoft.QLinearLeakyRelu" => {
                let x = self.scaled(node, 0, 1, 0)?;
                let output = self.requantization(node, 3)?;
                whole(self.table_of(node, x, output)?)
            }
            "com.microsoft.QLinearSoftmax" => {
                let x = self.scaled(node, 0, 1, 0)?;
                let output = self.requantization(node, 3)?;
                whole(self.softmax_of(node, x, node.int("opset", 13), output)?)
            }
            "com.microsoft.QLinearConcat" => {
                let output = self.requantization(node, 0)?;
                let count = node.input.len().saturating_sub(2) / 3;
                let parts =
                    (0..count).map(|i| self.scaled(node, 2 + 3 * i, 3 + 3 * i, 0)).collect::<Result<Vec<_>>>()?;
                whole(self.concat_of(node, parts, output)?)
            }
            _ => self.between_scales(node),
        }
    }

    /// An op between dequantizations and a quantization of its only reader, in codes.
    fn between_scales(&mut self, node: &NodeProto) -> Result<Made> {
        let operands = match &*node.op_type {
            "Add" | "Mul" | "MatMul" => 2,
            "Conv" | "ConvTranspose" | "Gemm" => 2,
            "AveragePool" | "GlobalAveragePool" | "Sigmoid" | "LeakyRelu" | "Softmax" => 1,
            "Concat" => node.input.len(),
            _ => return Ok(None),
        };
        if !matches!(&*node.domain, "" | "ai.onnx") {
            return Ok(None);
        }
        let mut inputs = Vec::new();
        for index in 0..operands {
            match self.value(node, index)? {
                Value::Dequantized(codes) => inputs.push(codes),
                Value::Known(weights) if index == 1 && takes_weights(node) && self.is_optimized() => {
                    inputs.push(Codes::Known(Arc::new(quantized_weights(&weights)?)));
                }
                _ => return Ok(None),
            }
        }
        if inputs.iter().all(|codes| matches!(codes, Codes::Known(_))) {
            return Ok(None);
        }
        let Some((quantized, output)) = self.quantization_after(node)? else { return Ok(None) };
        if !self.is_codes(node, &inputs) {
            return Ok(None);
        }
        // ONNX Runtime's optimizer makes its QLinear ops of uint8 codes, but QLinearSoftmax of int8, too.
        let dtypes: Vec<DType> = inputs.iter().map(|codes| self.code_type(codes).dtype()).collect();
        let unsigned = output.dtype() == DType::Uint8 && dtypes.iter().all(|&dtype| dtype == DType::Uint8);
        // An activation that narrows the codes keeps it from that.
        let narrowed = output.dtype().range() != Some(output.bounds());
        let joined = self.is_optimized() && unsigned && !narrowed;
        let arithmetic = if joined { QuantizedArithmetic::QOperator } else { QuantizedArithmetic::Qdq };
        let mut inputs = inputs.into_iter();
        let mut next = || inputs.next().expect("counted");
        let made = match &*node.op_type {
            "Add" | "Mul" => {
                let (a, b) = (next(), next());
                self.elementwise_of(node.op_type == "Add", a, b, output, arithmetic)?
            }
            "MatMul" => {
                let (a, b) = (next(), next());
                self.product_of((a, None), b, None, output.into())?
            }
            "Conv" | "ConvTranspose" => {
                let (x, weights) = (next(), next());
                let Some(bias) = self.bias_codes(node, &x, &weights)? else { return Ok(None) };
                self.conv_of(node, (x, None), weights, bias.as_ref(), output.into())?
            }
            "Gemm" => {
                let (a, b) = (next(), next());
                let Some(bias) = self.bias_codes(node, &a, &b)? else { return Ok(None) };
                self.gemm_of(node, a, b, bias.as_ref(), output.into())?
            }
            "AveragePool" | "GlobalAveragePool" => {
                let x = next();
                self.average_of(node, x, output, arithmetic)?
            }
            "Sigmoid" | "LeakyRelu" => {
                let x = next();
                self.table_of(node, x, output)?
            }
            "Softmax" if self.is_optimized() && dtypes == [output.dtype()] => {
                let x = next();
                self.softmax_of(node, x, self.opset, output)?
            }
            "Concat" => {
                let parts = inputs.collect();
                self.concat_of(node, parts, output)?
            }
            _ => return Ok(None),
        };
        Ok(Some((vec![Value::Placed(made)], Some(quantized))))
    }

    /// True if an op of codes takes codes of these types.
    fn is_codes(&self, node: &NodeProto, inputs: &[Codes]) -> bool {
        let types: Vec<&TensorType> = inputs.iter().map(|codes| self.code_type(codes)).collect();
        let one_scale = |t: &TensorType| t.quantization().is_some_and(|q| q.granularity() == Granularity::Tensor);
        let is_8_bit = |t: &TensorType| t.dtype().is_8_bit();
        match &*node.op_type {
            "Conv" | "ConvTranspose" => {
                let weights_known = matches!(inputs[1], Codes::Known(_));
                (is_8_bit(types[0]) || types[0].dtype() == DType::Int16) && one_scale(types[0]) && weights_known
            }
            "MatMul" | "Gemm" => {
                let [a, b] = [types[0], types[1]];
                let (rows, columns) = match node.op_type == "Gemm" {
                    true => (node.int("transA", 0) == 0, node.int("transB", 0) == 0),
                    false => (true, true),
                };
                let along = |t: &TensorType, last: bool| {
                    let axis = t.dims().len().saturating_sub(if last { 1 } else { 2 });
                    t.quantization().is_some_and(|q| {
                        matches!(q.granularity(), Granularity::Tensor) || q.granularity() == Granularity::Axis(axis)
                    })
                };
                let small = b.dtype().range().is_some() && b.dtype().bits() <= 8;
                let known = matches!(inputs[1], Codes::Known(_)) || is_8_bit(b);
                let factors = node.float("alpha", 1.0) == 1.0 && node.float("beta", 1.0) == 1.0;
                (is_8_bit(a) || a.dtype() == DType::Int16)
                    && small
                    && known
                    && factors
                    && a.dims().len() >= 2
                    && b.dims().len() >= 2
                    && along(a, !rows)
                    && along(b, columns)
            }
            _ => types.iter().all(|t| is_8_bit(t) && one_scale(t)),
        }
    }

    fn code_type<'b>(&'b self, codes: &'b Codes) -> &'b TensorType {
        match codes {
            Codes::Known(tensor) => tensor.tensor_type(),
            Codes::Placed(placed) => self.type_of(placed.value),
        }
    }

    /// The bias of a convolution or product between scales as codes, if it has one; `None` if that is of numbers.
    fn bias_codes(&mut self, node: &NodeProto, x: &Codes, weights: &Codes) -> Result<Option<Option<Array>>> {
        if node.input_name(2).is_none() {
            return Ok(Some(None));
        }
        let value = self.value(node, 2)?;
        if !is_row(&self.dims_of_value(&value)?) {
            return Ok(None);
        }
        let scales =
            |codes: &Codes| self.code_type(codes).quantization().map(|q| q.scales().to_vec()).unwrap_or_default();
        let (x, weights) = (scales(x), scales(weights));
        match value {
            Value::Dequantized(Codes::Known(bias)) if bias.dtype() == DType::Int32 => {
                let own = bias.tensor_type().quantization().map(|q| q.scales().to_vec()).unwrap_or_default();
                // Each step of the bias must be one of the sums.
                let fits = (0..own.len().max(weights.len())).all(|i| {
                    let at = |list: &[f32]| list.get(i).or(list.first()).copied().unwrap_or(1.0);
                    let step = f64::from(x[0]) * f64::from(at(&weights));
                    x.len() == 1 && (f64::from(at(&own)) - step).abs() <= 1e-5 * step
                });
                Ok(fits.then(|| Some(Array::codes((*bias).clone()))))
            }
            Value::Known(bias) if self.is_optimized() && x.len() == 1 && weights.len() == 1 => {
                let step = x[0] * weights[0];
                let codes: Vec<i64> =
                    bias.as_reals()?.into_iter().map(|b| (b / step).round_ties_even() as i64).collect();
                let fits = codes.iter().all(|&code| i32::try_from(code).is_ok());
                Ok(fits.then(|| Some(Array::integers(bias.dims.clone(), codes))))
            }
            _ => Ok(None),
        }
    }

    /// The quantization that is the only reader of a node's output, perhaps after an activation that clamps.
    pub(super) fn quantization_after(&mut self, node: &NodeProto) -> Result<Option<(Included, Requantization)>> {
        let [name] = &node.output[..] else { return Ok(None) };
        let (mut name, mut clamps, mut passed) = (name, Vec::new(), Vec::<usize>::new());
        loop {
            let readers = self.readers.get(&**name).map_or(&[][..], |readers| readers);
            let &[reader] = readers else { return Ok(None) };
            // Nodes are in order, so that this ends.
            if self.outputs.contains(&**name) || passed.last().is_some_and(|&last| last >= reader) {
                return Ok(None);
            }
            let next = &self.nodes[reader];
            match &*next.op_type {
                "QuantizeLinear" if next.input.first() == Some(name) => {
                    // A scale that a later node makes is not known yet.
                    let Ok(scales) = self.known(next, 1, "scale") else { return Ok(None) };
                    let Ok(zero_points) = self.optional(next, 2) else { return Ok(None) };
                    if scales.elements() != 1 || next.has("output_dtype") {
                        return Ok(None);
                    }
                    let (quantization, dtype) = quantization(next, &scales, zero_points.as_ref(), &[])?;
                    let dtype = dtype.unwrap_or(DType::Uint8);
                    if !dtype.is_8_bit() {
                        return Ok(None);
                    }
                    let (scale, zero_point) = (quantization.scales()[0], quantization.zero_points()[0]);
                    let mut output = Requantization::new(dtype, scale, zero_point)?;
                    for (low, high) in clamps {
                        let code = |x: f32| {
                            let (least, greatest) = dtype.range().expect("8 bits");
                            crate::numeric::quantize(x, scale, zero_point, least, greatest)
                        };
                        let (low, high) = (code(low), code(high));
                        if low > high {
                            return Ok(None);
                        }
                        let (least, greatest) = output.bounds();
                        output = output.clamp(least.clamp(low, high), greatest.clamp(low, high))?;
                    }
                    passed.push(reader);
                    let output_name = next.output.first().cloned().unwrap_or_default();
                    return Ok(Some((Included { nodes: passed, output: output_name }, output)));
                }
                "Relu" => clamps.push((0.0, f32::INFINITY)),
                "Clip" if next.input.len() <= 3 => {
                    let bound = |this: &mut Self, index: usize, name: &str, default: f32| -> Result<Option<f32>> {
                        match next.input_name(index) {
                            None => Ok(Some(next.float(name, default))),
                            Some(_) => match this.value(next, index).unwrap_or(Value::Missing) {
                                Value::Known(array) if array.elements() == 1 => Ok(array.as_reals()?.first().copied()),
                                _ => Ok(None),
                            },
                        }
                    };
                    let low = bound(self, 1, "min", f32::NEG_INFINITY)?;
                    let high = bound(self, 2, "max", f32::INFINITY)?;
                    let (Some(low), Some(high)) = (low, high) else { return Ok(None) };
                    clamps.push((low, high));
                }
                _ => return Ok(None),
            }
            let [after] = &next.output[..] else { return Ok(None) };
            passed.push(reader);
            name = after;
        }
    }

    /// The codes of an input, with the scale and zero point of others.
    fn scaled(&mut self, node: &NodeProto, index: usize, scale: usize, axis: usize) -> Result<Codes> {
        let value = self.value(node, index)?;
        let scales = self.known(node, scale, "scale")?;
        let zero_points = self.optional(node, scale + 1)?;
        self.with_scales(value, &scales, zero_points.as_ref(), axis)
    }

    /// The codes of an input with a zero point, and the scale 1.
    fn shifted(&mut self, node: &NodeProto, index: usize, zero_point: usize, axis: usize) -> Result<Codes> {
        let value = self.value(node, index)?;
        let zero_points = self.optional(node, zero_point)?;
        let dims = zero_points.as_ref().map_or_else(Vec::new, |array| array.dims.clone());
        let scales = Array::reals(dims.clone(), vec![1.0; dims.iter().product()]);
        self.with_scales(value, &scales, zero_points.as_ref(), axis)
    }

    pub(super) fn with_scales(
        &mut self,
        value: Value,
        scales: &Array,
        zeros: Option<&Array>,
        axis: usize,
    ) -> Result<Codes> {
        let granularity = if scales.elements() == 1 { Granularity::Tensor } else { Granularity::Axis(axis) };
        let zeros = match zeros {
            Some(array) => array.as_integers()?.into_iter().map(|z| z as i32).collect(),
            None => vec![0],
        };
        let quantization = Quantization::new(granularity, scales.as_reals()?, zeros);
        match value {
            Value::Known(array) => {
                let tensor = (**array.as_codes()?).clone();
                Ok(Codes::Known(Arc::new(tensor.quantized(quantization)?)))
            }
            Value::Placed(placed) => Ok(Codes::Placed(self.rescaled(&placed, quantization)?)),
            _ => Err(Error::Request("its input holds numbers, not codes".into())),
        }
    }

    /// A convolution of codes; the weights are `[outputs, channels / groups, kernel…]`, or `[channels, outputs / groups, kernel…]`
    /// of a transposed one. The scale of the image is its own, or in `parameters`.
    pub(super) fn conv_of(
        &mut self,
        node: &NodeProto,
        (x, parameters): (Codes, Option<GraphValue>),
        weights: Codes,
        bias: Option<&Array>,
        output: Output,
    ) -> Result<Placed> {
        let Codes::Known(weights) = weights else { refuse!("its weights are computed when the graph runs") };
        let rank = weights.dims().len();
        require!(rank >= 3, "its weights are {}", weights.tensor_type());
        let transposed = node.op_type == "ConvTranspose";
        let groups = usize::try_from(node.int("group", 1)).unwrap_or(0);
        let image = self.place(&x);
        let order = channels_last(rank);
        require!(image.order.len() == rank, "its image has {} dimensions, its weights {rank}", image.order.len());
        let image = self.arranged(&image, &order)?;
        let weights = match transposed {
            true => Arc::new(transposed_weights(&weights, groups)?),
            false => Arc::new(weights.permuted(&order)?),
        };
        let windows = Windows::of(node, self.type_of(image), &weights.dims()[1..rank - 1])?;
        let conv = Conv::new(self.type_of(image).clone(), weights).groups(groups).output(output);
        let conv = conv.stride(windows.strides).dilation(windows.dilations).padding(windows.padding);
        let mut conv = if transposed { conv.transposed().output_padding(windows.output_padding) } else { conv };
        if let Some(bias) = bias {
            conv = conv.bias(bias_vector(bias)?);
        }
        let conv = if parameters.is_some() { conv.dynamic_lhs() } else { conv };
        let inputs: Vec<GraphValue> = std::iter::once(image).chain(parameters).collect();
        let value = self.graph.add(conv.build()?, &inputs)?;
        Ok(Placed { value, order })
    }

    /// A product of codes. The scale of the first factor is its own, or in `parameters`.
    pub(super) fn product_of(
        &mut self,
        (a, parameters): (Codes, Option<GraphValue>),
        b: Codes,
        bias: Option<&Array>,
        output: Output,
    ) -> Result<Placed> {
        let a = self.place(&a);
        require!(a.order.len() >= 2, "its first factor has {} dimensions", a.order.len());
        let lhs = self.in_rows(&a)?;
        let (factor, mut inputs) = match b {
            Codes::Known(tensor) => (Factor::from(tensor), vec![lhs]),
            Codes::Placed(b) => {
                require!(b.order.len() >= 2, "its second factor has {} dimensions", b.order.len());
                let rhs = self.in_rows(&b)?;
                (Factor::from(self.type_of(rhs).clone()), vec![lhs, rhs])
            }
        };
        let mut product = Matmul::new(self.type_of(lhs).clone(), factor).output(output);
        if let Some(bias) = bias {
            let is_matrix = bias.dims.len() == 2 && bias.dims[0] > 1;
            product = product.bias(if is_matrix { (*bias.tensor()?).clone() } else { bias_vector(bias)? });
        }
        if let Some(parameters) = parameters {
            product = product.dynamic_lhs(DynamicGranularity::Tensor);
            inputs.push(parameters);
        }
        let value = self.graph.add(product.build()?, &inputs)?;
        Ok(self.plain(value))
    }

    fn gemm_of(
        &mut self,
        node: &NodeProto,
        a: Codes,
        b: Codes,
        bias: Option<&Array>,
        output: Output,
    ) -> Result<Placed> {
        let (alpha, beta) = (node.float("alpha", 1.0), node.float("beta", 1.0));
        let in_scale = node.op_type == "QGemm";
        require!(
            (alpha == 1.0 || in_scale) && beta == 1.0,
            "alpha is {alpha} and beta {beta}, which codes can't be multiplied with"
        );
        let turned = |codes: Codes, turns: bool| -> Result<Codes> {
            Ok(match (codes, turns) {
                (Codes::Known(tensor), true) => {
                    require!(tensor.dims().len() == 2, "a factor is {}", tensor.tensor_type());
                    Codes::Known(Arc::new(tensor.permuted(&[1, 0])?))
                }
                (Codes::Placed(placed), true) => {
                    require!(placed.order.len() == 2, "a factor has {} dimensions", placed.order.len());
                    Codes::Placed(placed.transposed(&[1, 0]))
                }
                (codes, false) => codes,
            })
        };
        let (a, b) = (turned(a, node.int("transA", 0) != 0)?, turned(b, is_transposed(node))?);
        self.product_of((a, None), b, bias, output)
    }

    /// A sum or product of codes, elementwise.
    fn elementwise_of(
        &mut self,
        is_sum: bool,
        a: Codes,
        b: Codes,
        output: Requantization,
        arithmetic: QuantizedArithmetic,
    ) -> Result<Placed> {
        let shape = |codes: &Codes| Shape::new(self.dims_of_value(&Value::Dequantized(codes.clone()))?);
        let first_is_repeated = lhs_is_repeated(&shape(&a)?, &shape(&b)?);
        let (values, order) = self.aligned(&[a.operand(), b.operand()])?;
        let [lhs, rhs] = values[..] else { unreachable!("two operands") };
        let (lhs_type, rhs_type) = (self.type_of(lhs).clone(), self.type_of(rhs).clone());
        let value = if is_sum {
            // The order of the two additions follows from ONNX's axes, not from those here.
            let as_here = lhs_is_repeated(lhs_type.shape(), rhs_type.shape()) == first_is_repeated;
            let (operands, types) = match as_here {
                true => ([lhs, rhs], (lhs_type, rhs_type)),
                false => ([rhs, lhs], (rhs_type, lhs_type)),
            };
            let sum = Add::new(types.0, types.1, output).arithmetic(arithmetic).build()?;
            self.graph.add(sum, &operands)?
        } else {
            let product = Multiply::new(lhs_type, rhs_type, output).arithmetic(arithmetic).build()?;
            self.graph.add(product, &[lhs, rhs])?
        };
        Ok(Placed { value, order })
    }

    fn average_of(
        &mut self,
        node: &NodeProto,
        x: Codes,
        output: Requantization,
        arithmetic: QuantizedArithmetic,
    ) -> Result<Placed> {
        let image = self.place(&x);
        let order = channels_last(image.order.len());
        let image = self.arranged(&image, &order)?;
        let input = self.type_of(image).clone();
        let pool = if node.op_type.contains("Global") {
            Pool::global_average(input)
        } else {
            let kernel = node.sizes("kernel_shape", &vec![0; order.len().saturating_sub(2)])?;
            let windows = Windows::of(node, &input, &kernel)?;
            let pool = Pool::average(input, kernel)
                .stride(windows.strides)
                .dilation(windows.dilations)
                .padding(windows.padding);
            let pool = if node.int("count_include_pad", 0) != 0 { pool.count_padding() } else { pool };
            if node.int("ceil_mode", 0) != 0 { pool.round_up() } else { pool }
        };
        let value = self.graph.add(pool.output(output).arithmetic(arithmetic).build()?, &[image])?;
        Ok(Placed { value, order })
    }

    fn table_of(&mut self, node: &NodeProto, x: Codes, output: Requantization) -> Result<Placed> {
        let x = self.place(&x);
        let input = self.type_of(x.value).clone();
        let table = match &*node.op_type {
            "QLinearSigmoid" | "Sigmoid" => Table::sigmoid(input, output)?,
            _ => Table::leaky_relu(input, node.float("alpha", 0.01), output)?,
        };
        let value = self.graph.add(table, &[x.value])?;
        Ok(Placed { value, ..x })
    }

    /// The softmax of codes.
    fn softmax_of(&mut self, node: &NodeProto, x: Codes, opset: i64, output: Requantization) -> Result<Placed> {
        let x = self.place(&x);
        self.along_axis(node, &x, opset, |rows| Ok(QuantizedSoftmax::new(rows, output)?.into()))
    }

    fn concat_of(&mut self, node: &NodeProto, parts: Vec<Codes>, output: Requantization) -> Result<Placed> {
        let Some(first) = parts.first() else { refuse!("it has no inputs") };
        let rank = self.dims_of_value(&Value::Dequantized(first.clone()))?.len();
        let axis = axis_of(node.int("axis", 0), rank)?;
        let operands: Vec<Operand> = parts.into_iter().map(Codes::operand).collect();
        self.joined(&operands, axis, Some(output))
    }
}

/// True if ONNX Runtime's optimizer quantizes float weights of such a node, if it stands between scales.
fn takes_weights(node: &NodeProto) -> bool {
    matches!(&*node.op_type, "Conv" | "ConvTranspose" | "Gemm")
}

/// Float weights as that optimizer quantizes them: int8 from the least to the greatest, one scale and zero point.
fn quantized_weights(weights: &Array) -> Result<Tensor> {
    let values = weights.as_reals()?;
    let (low, high) = values.iter().fold((0.0f32, 0.0f32), |(low, high), &x| (low.min(x), high.max(x)));
    let scale = if high > low { (high - low) / 255.0 } else { 1.0 };
    let zero_point = (-128.0 - low / scale).round_ties_even().clamp(-128.0, 127.0);
    let code = |&x: &f32| ((x / scale).round_ties_even() + zero_point).clamp(-128.0, 127.0) as i8;
    let codes = Tensor::new(weights.dims.clone(), values.iter().map(code).collect::<Vec<_>>())?;
    codes.quantized(Quantization::tensor(scale, zero_point as i32))
}

fn is_transposed(node: &NodeProto) -> bool {
    node.int("transB", 0) != 0
}

/// The weights of a transposed convolution as `[outputs, kernel…, channels / groups]`.
pub(super) fn transposed_weights(weights: &Tensor, groups: usize) -> Result<Tensor> {
    let (dims, rank) = (weights.dims(), weights.dims().len());
    let order: Vec<usize> = std::iter::once(1).chain(2..rank).chain([0]).collect();
    if groups <= 1 {
        return weights.permuted(&order);
    }
    require!(dims[0].is_multiple_of(groups), "{} channels are no multiple of {groups} groups", dims[0]);
    let one_scale = weights.tensor_type().quantization().is_none_or(|q| q.granularity() == Granularity::Tensor);
    require!(one_scale, "its weights have a scale for each output of each group");
    // [groups, channels, outputs, kernel…] to [groups, outputs, kernel…, channels].
    let parts = [&[groups, dims[0] / groups], &dims[1..]].concat();
    let order: Vec<usize> = [0, 2].into_iter().chain(3..rank + 1).chain([1]).collect();
    let turned = weights.reshaped(parts)?.permuted(&order)?;
    turned.reshaped([&[groups * dims[1]], &dims[2..], &[dims[0] / groups]].concat())
}

/// True for dimensions that are all 1 but the last.
pub(super) fn is_row(dims: &[usize]) -> bool {
    dims.iter().rev().skip(1).all(|&d| d == 1)
}

/// A bias as a vector of int32.
fn bias_vector(bias: &Array) -> Result<Tensor> {
    require!(is_row(&bias.dims), "its bias has the dimensions {:?}, but it is one number for each output", bias.dims);
    let values: Vec<i32> = match &bias.data {
        Data::Codes(tensor) => tensor.codes()?,
        _ => {
            let code = |x| i32::try_from(x).map_err(|_| Error::Request(format!("its bias has {x}, which is no int32")));
            bias.as_integers()?.into_iter().map(code).collect::<Result<_>>()?
        }
    };
    Tensor::new([values.len()], values)
}
