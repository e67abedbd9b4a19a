//! Each operator of the set in terms of this crate's ops: slots and attributes become types, layouts and output stages. One
//! mapping serves both devices. `compare` compares the results.

use lowbit::evaluate::Metrics;
use lowbit::numeric::{PowerRounding, QuantizationParams};
use lowbit::ops::{
    Add, Cast, Conv, Dequantize, DynamicGranularity, DynamicQuantize, Matmul, Multiply, Output, Padding, Pool,
    Quantize, Requantization, Requantize, Table,
};
use lowbit::{DType, Granularity, Graph, Multiplier, Quantization, Rounding, Tensor, TensorType};

use crate::Result;
use crate::array::{Array, Elements, dtype as format};
use crate::blocks;
use crate::case::Case;
use crate::device::Device;
use crate::gguf;
use crate::matmul_nbits::matmul_nbits;
use crate::{observer, qat};

/// Outputs of a case, as this crate computes them.
pub(crate) fn run(case: &Case, device: &Device) -> Result<Vec<Array>> {
    let output = match case.op.as_str() {
        "MatMulInteger" => matmul_integer(case, device),
        "QLinearMatMul" => qlinear_matmul(case, device),
        "QGemm" => qgemm(case, device),
        "DynamicQuantizeMatMul" => dynamic_quantize_matmul(case, device),
        "ConvInteger" => conv_integer(case, device),
        "QLinearConv" => qlinear_conv(case, device),
        "QuantizeLinear" => quantize_linear(case, device),
        "DequantizeLinear" => dequantize_linear(case, device),
        "Cast" => cast(case, device),
        "CastLike" => cast_like(case, device),
        "DynamicQuantizeLinear" => return dynamic_quantize_linear(case, device),
        "QLinearAdd" => qlinear_add(case, device),
        "QLinearMul" => qlinear_mul(case, device),
        "QLinearAveragePool" => qlinear_average_pool(case, device),
        "QLinearGlobalAveragePool" => qlinear_global_average_pool(case, device),
        "QLinearLeakyRelu" => qlinear_leaky_relu(case, device),
        "QLinearSigmoid" => qlinear_sigmoid(case, device),
        "RequantizeFixedPoint" => requantize_fixed_point(case, device),
        "TfliteConv2D" => tflite_conv(case, device),
        "TfliteDepthwiseConv2D" => tflite_depthwise_conv(case, device),
        "TfliteFullyConnected" => tflite_fully_connected(case, device),
        "MatMulNBits" => matmul_nbits(case, device),
        "ObserveMinMax" | "ObserveMovingAverageMinMax" => return observer::range(case, device),
        "ObserveHistogramPercentile" | "ObserveHistogramEntropy" => return observer::histogram(case, device),
        "FakeQuantizeSte" | "LsqFakeQuantize" | "FakeQuantMinMax" => return qat::fake_quantize(case, device),
        "MxQuantize" => return blocks::mx_quantize(case, device),
        "Nvfp4Dequantize" => blocks::nvfp4_dequantize(case, device),
        "GgufQuantize" => return gguf::quantize(case),
        "Metrics" => return Ok(vec![metrics(case)?]),
        "GgufDequantize" => gguf::dequantize(case, device),
        other => return Err(format!("operator {other} is not implemented").into()),
    };
    Ok(vec![Array::of(&output?)?])
}

/// Codes, scales and zero points whose axis is not known yet.
struct Operand {
    codes: Tensor,
    scales: Vec<f32>,
    zero_points: Vec<i32>,
}

impl Operand {
    /// Operand from the slots of codes, scale and zero point. The default scale is 1, the default zero point 0.
    fn new(case: &Case, codes: usize, scale: Option<usize>, zero_point: Option<usize>) -> Result<Self> {
        let scales = scale.map_or(Ok(vec![1.0]), |slot| case.input(slot)?.floats())?;
        Ok(Self { codes: case.input(codes)?.tensor()?, scales, zero_points: zero_points(case, zero_point)? })
    }

    /// Operand from three consecutive slots.
    fn triple(case: &Case, first: usize) -> Result<Self> {
        Self::new(case, first, Some(first + 1), Some(first + 2))
    }

    /// The tensor, quantized along `axis` if there is more than one scale or zero point.
    fn along(self, axis: usize) -> Result<Tensor> {
        let quantization = quantization(self.codes.dims(), axis, self.scales, self.zero_points)?;
        Ok(self.codes.quantized(quantization)?)
    }

    /// The tensor, quantized per tensor.
    fn whole(self) -> Result<Tensor> {
        let (scale, zero_point) = (only("scale", &self.scales)?, only("zero point", &self.zero_points)?);
        Ok(self.codes.quantized(Quantization::tensor(scale, zero_point))?)
    }
}

/// Zero points of a slot; 0 if the slot is empty.
fn zero_points(case: &Case, slot: Option<usize>) -> Result<Vec<i32>> {
    slot.and_then(|slot| case.optional(slot)).map_or(Ok(vec![0]), Array::integers)
}

fn only<T: Copy>(what: &str, values: &[T]) -> Result<T> {
    match values {
        [value] => Ok(*value),
        _ => Err(format!("there are {} {what}s where one is needed", values.len()).into()),
    }
}

/// Per-tensor quantization if there is one scale and one zero point; otherwise per index along `axis`.
fn quantization(shape: &[usize], axis: usize, scales: Vec<f32>, zero_points: Vec<i32>) -> Result<Quantization> {
    if let ([scale], [zero_point]) = (&scales[..], &zero_points[..]) {
        return Ok(Quantization::tensor(*scale, *zero_point));
    }
    let extent =
        *shape.get(axis).ok_or_else(|| format!("{shape:?} is quantized along an axis that it doesn't have"))?;
    let scales = if let [scale] = scales[..] { vec![scale; extent] } else { scales };
    Ok(Quantization::new(Granularity::Axis(axis), scales, zero_points))
}

/// Requantization from the slots of scale and zero point. The zero point's data type is the output's.
fn requantization(case: &Case, scale: usize, zero_point: usize, default: DType) -> Result<Requantization> {
    let dtype = case.optional(zero_point).map_or(Ok(default), |array| format(&array.elements.dtype()))?;
    let scale = only("scale", &case.input(scale)?.floats()?)?;
    let zero_point = only("zero point", &zero_points(case, Some(zero_point))?)?;
    Ok(Requantization::new(dtype, scale, zero_point)?)
}

/// True if an integer attribute is set and not 0.
fn flag(case: &Case, name: &str) -> Result<bool> {
    Ok(case.attribute::<i64>(name)?.unwrap_or(0) != 0)
}

/// Metrics, computed on the CPU for either device: they are sums in f64, which no GPU has.
fn metrics(case: &Case) -> Result<Array> {
    let (reference, test) = (case.input(0)?, case.input(1)?);
    let classes = *reference.shape.last().ok_or("metrics compare rows, but there is a scalar")?;
    let m = Metrics::new(&reference.floats()?, &test.floats()?, classes)?;
    let order: Vec<String> = case.attribute("order")?.ok_or("the order of the metrics is not said")?;
    let value = |name: &String| match name.as_str() {
        "sqnr_db" => Ok(m.sqnr_db),
        "mse" => Ok(m.mse),
        "nmse" => Ok(m.nmse),
        "cosine" => Ok(m.cosine),
        "max_abs" => Ok(m.max_error),
        "mean_kl_nats_softmax_rows" => Ok(m.kl),
        "top1_agreement" => Ok(m.agreement),
        other => Err(format!("the metric {other} is not implemented").into()),
    };
    let values: Vec<f64> = order.iter().map(value).collect::<Result<_>>()?;
    Ok(Array { shape: vec![values.len()], elements: Elements::F64(values) })
}

fn matmul_integer(case: &Case, device: &Device) -> Result<Tensor> {
    let (lhs, rhs) = (Operand::new(case, 0, None, Some(2))?, Operand::new(case, 1, None, Some(3))?);
    matmul(device, lhs, rhs, Output::Accumulator)
}

fn qlinear_matmul(case: &Case, device: &Device) -> Result<Tensor> {
    let (lhs, rhs) = (Operand::triple(case, 0)?, Operand::triple(case, 3)?);
    let output = requantization(case, 6, 7, lhs.codes.dtype())?;
    matmul(device, lhs, rhs, output.into())
}

/// Matmul under NumPy's rules: a vector is a row on the left or a column on the right, and its dimension of 1 is removed.
fn matmul(device: &Device, mut lhs: Operand, mut rhs: Operand, output: Output) -> Result<Tensor> {
    let (row, column) = (lhs.codes.dims().len() == 1, rhs.codes.dims().len() == 1);
    if row {
        lhs.codes = lhs.codes.reshaped([&[1], lhs.codes.dims()].concat())?;
    }
    if column {
        rhs.codes = rhs.codes.reshaped([rhs.codes.dims(), &[1]].concat())?;
    }
    let (Some(row_axis), Some(column_axis)) =
        (lhs.codes.dims().len().checked_sub(2), rhs.codes.dims().len().checked_sub(1))
    else {
        return Err("a scalar can't be multiplied as a matrix".into());
    };
    let (lhs, rhs) = (lhs.along(row_axis)?, rhs.along(column_axis)?);
    let op = Matmul::new(lhs.tensor_type().clone(), rhs).output(output).build()?;
    let out = first(device.run(op, &[&lhs])?)?;
    let mut shape = out.dims().to_vec();
    if column {
        shape.remove(shape.len() - 1);
    }
    if row {
        shape.remove(shape.len() - if column { 1 } else { 2 });
    }
    Ok(out.reshaped(shape)?)
}

fn qgemm(case: &Case, device: &Device) -> Result<Tensor> {
    let (mut lhs, rhs) = (Operand::triple(case, 0)?, Operand::triple(case, 3)?);
    // A matmul's own multiplier is alpha · s_a · s_b / s_y from left to right, if alpha is part of s_a.
    let alpha = case.attribute::<f32>("alpha")?.unwrap_or(1.0);
    lhs.scales.iter_mut().for_each(|scale| *scale *= alpha);
    let output = match case.optional(7) {
        Some(_) => requantization(case, 7, 8, lhs.codes.dtype())?.into(),
        None => Output::real(),
    };
    if flag(case, "transA")? {
        lhs.codes = lhs.codes.permuted(&[1, 0])?;
    }
    let transposed = flag(case, "transB")?;
    let (lhs, rhs) = (lhs.along(0)?, rhs.along(if transposed { 0 } else { 1 })?);
    let mut op = Matmul::new(lhs.tensor_type().clone(), rhs).output(output);
    if transposed {
        op = op.transposed();
    }
    if let Some(bias) = case.optional(6) {
        op = op.bias(bias.tensor()?);
    }
    first(device.run(op.build()?, &[&lhs])?)
}

fn dynamic_quantize_matmul(case: &Case, device: &Device) -> Result<Tensor> {
    let (lhs, rhs) = (case.input(0)?.tensor()?, Operand::new(case, 1, Some(2), Some(3))?);
    let columns = rhs.codes.dims().len().saturating_sub(1);
    let codes = TensorType::new(DType::Uint8, lhs.dims())?;
    let quantize = DynamicQuantize::new(lhs.tensor_type().clone(), DType::Uint8, DynamicGranularity::Tensor).build()?;
    let mut op = Matmul::new(codes, rhs.along(columns)?).dynamic_lhs(DynamicGranularity::Tensor).output(Output::real());
    if let Some(bias) = case.optional(4) {
        op = op.bias(bias.tensor()?);
    }
    let mut graph = Graph::new();
    let x = graph.input(lhs.tensor_type().clone());
    let quantized = graph.add_all(quantize, &[x])?;
    let y = graph.add(op.build()?, &quantized)?;
    graph.output(y);
    first(device.run_graph(&graph, &[&lhs])?)
}

fn conv_integer(case: &Case, device: &Device) -> Result<Tensor> {
    let (x, weights) = (Operand::new(case, 0, None, Some(2))?, Operand::new(case, 1, None, Some(3))?);
    conv(case, device, x, weights, None, Output::Accumulator)
}

fn qlinear_conv(case: &Case, device: &Device) -> Result<Tensor> {
    let (x, weights) = (Operand::triple(case, 0)?, Operand::triple(case, 3)?);
    let output = requantization(case, 6, 7, x.codes.dtype())?;
    let bias = case.optional(8).map(Array::tensor).transpose()?;
    conv(case, device, x, weights, bias, output.into())
}

/// Convolution of NCHW images with OIHW weights.
fn conv(
    case: &Case,
    device: &Device,
    x: Operand,
    weights: Operand,
    bias: Option<Tensor>,
    output: Output,
) -> Result<Tensor> {
    let x = channels_last(&x.whole()?)?;
    let weights = weights.along(0)?;
    if let Some(kernel) = case.attribute::<Vec<usize>>("kernel_shape")?
        && Some(&kernel[..]) != weights.dims().get(2..)
    {
        return Err(format!("kernel_shape is {kernel:?}, but the weights are {}", weights.tensor_type()).into());
    }
    let window = Window::of(case)?;
    let mut op = Conv::new(x.tensor_type().clone(), channels_last(&weights)?)
        .stride(window.strides)
        .dilation(window.dilations)
        .padding(window.padding)
        .groups(case.attribute("group")?.unwrap_or(1))
        .output(output);
    if let Some(bias) = bias {
        op = op.bias(bias);
    }
    channels_first(&first(device.run(op.build()?, &[&x])?)?)
}

/// Attributes that convolutions and pools share.
struct Window {
    strides: Vec<usize>,
    dilations: Vec<usize>,
    padding: Padding,
}

impl Window {
    fn of(case: &Case) -> Result<Self> {
        let list = |name: &str| -> Result<Vec<usize>> { Ok(case.attribute(name)?.unwrap_or_default()) };
        let padding = match case.attribute::<String>("auto_pad")?.as_deref().unwrap_or("NOTSET") {
            "NOTSET" => match &list("pads")?[..] {
                [] => Padding::None,
                pads => {
                    let (begin, end) = pads.split_at(pads.len() / 2);
                    Padding::Explicit { begin: begin.to_vec(), end: end.to_vec() }
                }
            },
            "VALID" => Padding::None,
            "SAME_UPPER" => Padding::SameUpper,
            "SAME_LOWER" => Padding::SameLower,
            other => return Err(format!("auto_pad \"{other}\" is not implemented").into()),
        };
        Ok(Self { strides: list("strides")?, dilations: list("dilations")?, padding })
    }
}

/// Permutes NCHW to NHWC, for any number of spatial dimensions.
fn channels_last(tensor: &Tensor) -> Result<Tensor> {
    let order: Vec<usize> = [0].into_iter().chain(2..tensor.dims().len()).chain([1]).collect();
    Ok(tensor.permuted(&order)?)
}

/// Permutes NHWC to NCHW, for any number of spatial dimensions.
fn channels_first(tensor: &Tensor) -> Result<Tensor> {
    let channels = tensor.dims().len().saturating_sub(1);
    let order: Vec<usize> = [0, channels].into_iter().chain(1..channels).collect();
    Ok(tensor.permuted(&order)?)
}

fn first(tensors: Vec<Tensor>) -> Result<Tensor> {
    Ok(tensors.into_iter().next().ok_or("the op made no output")?)
}

fn quantize_linear(case: &Case, device: &Device) -> Result<Tensor> {
    let x = case.input(0)?;
    let dtype = match case.optional(2) {
        Some(zero_point) => zero_point.elements.dtype(),
        None => case.attribute("output_dtype")?.unwrap_or_else(|| "u8".to_string()),
    };
    let codes = TensorType::new(format(&dtype)?, &x.shape[..])?.quantized(linear_quantization(case)?)?;
    let x = x.tensor()?;
    let mut op = Quantize::new(x.tensor_type().clone(), codes);
    if let Some(precision) = case.attribute::<String>("precision")? {
        op = op.precision(format(&precision)?);
    }
    if !saturates(case)? {
        op = op.non_saturating();
    }
    first(device.run(op.build()?, &[&x])?)
}

fn dequantize_linear(case: &Case, device: &Device) -> Result<Tensor> {
    let codes = case.input(0)?.tensor()?.quantized(linear_quantization(case)?)?;
    let dtype = match case.attribute::<String>("output_dtype")? {
        Some(dtype) => dtype,
        None => case.input(1)?.elements.dtype(),
    };
    let op = Dequantize::new(codes.tensor_type().clone()).output(format(&dtype)?).build()?;
    first(device.run(op, &[&codes])?)
}

fn cast(case: &Case, device: &Device) -> Result<Tensor> {
    let to: String = case.attribute("to")?.ok_or("the attribute to is missing")?;
    cast_to(case, device, &to)
}

fn cast_like(case: &Case, device: &Device) -> Result<Tensor> {
    cast_to(case, device, &case.input(1)?.elements.dtype())
}

fn cast_to(case: &Case, device: &Device, dtype: &str) -> Result<Tensor> {
    let x = case.input(0)?.tensor()?;
    let mut op = Cast::new(x.tensor_type().clone(), format(dtype)?);
    if !saturates(case)? {
        op = op.non_saturating();
    }
    op = op.rounding(match case.attribute::<String>("round_mode")?.as_deref().unwrap_or("up") {
        "up" => PowerRounding::Up,
        "down" => PowerRounding::Down,
        "nearest" => PowerRounding::Nearest,
        other => return Err(format!("round_mode \"{other}\" is not implemented").into()),
    });
    first(device.run(op.build()?, &[&x])?)
}

/// True if numbers beyond the range of an 8-bit float become its greatest.
fn saturates(case: &Case) -> Result<bool> {
    Ok(case.attribute::<i64>("saturate")?.unwrap_or(1) != 0)
}

/// Quantization of QuantizeLinear and DequantizeLinear: per tensor, along an axis, or in blocks.
fn linear_quantization(case: &Case) -> Result<Quantization> {
    let (shape, scales) = (&case.input(0)?.shape, case.input(1)?);
    let zero_points = zero_points(case, Some(2))?;
    let axis = case.attribute::<isize>("axis")?.unwrap_or(1);
    // An axis out of range is harmless for per-tensor quantization.
    let axis = if axis < 0 { shape.len().wrapping_add_signed(axis) } else { axis.unsigned_abs() };
    let size = case.attribute::<usize>("block_size")?.unwrap_or(0);
    if size == 0 {
        return quantization(shape, axis, scales.floats()?, zero_points);
    }
    let divided = |(i, &extent): (usize, &usize)| if i == axis { extent.div_ceil(size) } else { extent };
    let blocks: Vec<usize> = shape.iter().enumerate().map(divided).collect();
    if scales.shape != blocks {
        let message = format!("blocks of {size} along axis {axis} of {shape:?} need scales of {blocks:?}");
        return Err(format!("{message}, not {:?}", scales.shape).into());
    }
    Ok(Quantization::new(Granularity::Blocks { axis, size }, scales.floats()?, zero_points))
}

fn dynamic_quantize_linear(case: &Case, device: &Device) -> Result<Vec<Array>> {
    let x = case.input(0)?.tensor()?;
    let op = DynamicQuantize::new(x.tensor_type().clone(), DType::Uint8, DynamicGranularity::Tensor).build()?;
    let outputs = device.run(op, &[&x])?;
    let [codes, parameters] = &outputs[..] else {
        return Err(format!("{} outputs were made where two are needed", outputs.len()).into());
    };
    let QuantizationParams { scale, zero_point } = only("pair of parameters", parameters.values()?)?;
    let scalar = |elements| Array { shape: Vec::new(), elements };
    let (scale, zero_point) = (Elements::F32(vec![scale]), Elements::bytes(&[u8::try_from(zero_point)?]));
    Ok(vec![Array::of(codes)?, scalar(scale), scalar(zero_point)])
}

fn qlinear_add(case: &Case, device: &Device) -> Result<Tensor> {
    let (lhs, rhs) = (Operand::triple(case, 0)?.whole()?, Operand::triple(case, 3)?.whole()?);
    let output = requantization(case, 6, 7, lhs.dtype())?;
    first(device.run(Add::new(lhs.tensor_type().clone(), rhs.tensor_type().clone(), output).build()?, &[&lhs, &rhs])?)
}

fn qlinear_mul(case: &Case, device: &Device) -> Result<Tensor> {
    let (lhs, rhs) = (Operand::triple(case, 0)?.whole()?, Operand::triple(case, 3)?.whole()?);
    let output = requantization(case, 6, 7, lhs.dtype())?;
    first(
        device
            .run(Multiply::new(lhs.tensor_type().clone(), rhs.tensor_type().clone(), output).build()?, &[&lhs, &rhs])?,
    )
}

fn qlinear_average_pool(case: &Case, device: &Device) -> Result<Tensor> {
    let x = Operand::triple(case, 0)?.whole()?;
    let output = requantization(case, 3, 4, x.dtype())?;
    let kernel: Vec<usize> = case.attribute("kernel_shape")?.ok_or("the attribute kernel_shape is missing")?;
    let window = Window::of(case)?;
    let (count_padding, round_up) = (flag(case, "count_include_pad")?, flag(case, "ceil_mode")?);
    in_channels_last(case, &x, |x| {
        let mut op = Pool::average(x.tensor_type().clone(), kernel)
            .stride(window.strides)
            .dilation(window.dilations)
            .padding(window.padding)
            .output(output);
        if count_padding {
            op = op.count_padding();
        }
        if round_up {
            op = op.round_up();
        }
        first(device.run(op.build()?, &[x])?)
    })
}

fn qlinear_global_average_pool(case: &Case, device: &Device) -> Result<Tensor> {
    let x = Operand::triple(case, 0)?.whole()?;
    let output = requantization(case, 3, 4, x.dtype())?;
    in_channels_last(case, &x, |x| {
        let op = Pool::global_average(x.tensor_type().clone()).output(output).build()?;
        first(device.run(op, &[x])?)
    })
}

/// Runs `run` on NHWC images, and permutes NCHW cases before and after.
fn in_channels_last(case: &Case, x: &Tensor, run: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    if flag(case, "channels_last")? {
        return run(x);
    }
    channels_first(&run(&channels_last(x)?)?)
}

fn qlinear_leaky_relu(case: &Case, device: &Device) -> Result<Tensor> {
    let x = Operand::triple(case, 0)?.whole()?;
    let alpha = case.attribute("alpha")?.unwrap_or(0.01);
    let op = Table::leaky_relu(x.tensor_type().clone(), alpha, requantization(case, 3, 4, x.dtype())?)?;
    first(device.run(op, &[&x])?)
}

fn qlinear_sigmoid(case: &Case, device: &Device) -> Result<Tensor> {
    let x = Operand::triple(case, 0)?.whole()?;
    let op = Table::sigmoid(x.tensor_type().clone(), requantization(case, 3, 4, x.dtype())?)?;
    first(device.run(op, &[&x])?)
}

fn requantize_fixed_point(case: &Case, device: &Device) -> Result<Tensor> {
    let (acc, shape) = (case.input(0)?.tensor()?, &case.input(0)?.shape);
    let (words, shifts) = (case.input(1)?.integers()?, case.input(2)?.integers()?);
    if words.len() != shifts.len() {
        return Err(format!("there are {} multipliers but {} shifts", words.len(), shifts.len()).into());
    }
    let pairs = words.into_iter().zip(shifts);
    let multipliers = pairs.map(|(word, shift)| Multiplier::fixed(word, shift)).collect::<lowbit::Result<Vec<_>>>()?;
    // The multipliers replace the scales. Only the number of scales matters here.
    let columns = shape.last().copied().unwrap_or(1);
    let acc = acc.quantized(quantization(shape, shape.len().wrapping_sub(1), vec![1.0; columns], vec![0])?)?;
    let target = case.outputs.first().ok_or("the case has no output")?;
    let zero_point = only("zero point", &zero_points(case, Some(3))?)?;
    let output = Requantization::new(format(&target.array.elements.dtype())?, 1.0, zero_point)?;
    let output = fixed_point(case, output)?.multipliers(multipliers);
    first(device.run(Requantize::new(acc.tensor_type().clone(), output)?, &[&acc])?)
}

/// Requantization with the rounding mode and the clamp of TFLite's attributes.
fn fixed_point(case: &Case, output: Requantization) -> Result<Requantization> {
    let rounding = match case.attribute::<String>("rounding")?.as_deref().unwrap_or("double") {
        "double" => Rounding::FixedDouble,
        "single" => Rounding::FixedSingle,
        other => return Err(format!("rounding \"{other}\" is not implemented").into()),
    };
    let (low, high) = output.bounds();
    let low = case.attribute("act_min")?.unwrap_or(low);
    let high = case.attribute("act_max")?.unwrap_or(high);
    Ok(output.rounding(rounding).clamp(low, high)?)
}

/// Operands of TFLite's ops: x, symmetric weights, the bias and the requantization.
struct Tflite {
    x: Tensor,
    weights: Operand,
    bias: Option<Tensor>,
    output: Requantization,
}

impl Tflite {
    fn of(case: &Case) -> Result<Self> {
        let x = Operand::triple(case, 0)?.whole()?;
        let scale = only("scale", &case.input(6)?.floats()?)?;
        let zero_point = only("zero point", &zero_points(case, Some(7))?)?;
        let output = fixed_point(case, Requantization::new(x.dtype(), scale, zero_point)?)?;
        let bias = case.optional(5).map(Array::tensor).transpose()?;
        Ok(Self { x, weights: Operand::new(case, 3, Some(4), None)?, bias, output })
    }
}

fn tflite_conv(case: &Case, device: &Device) -> Result<Tensor> {
    let Tflite { x, weights, bias, output } = Tflite::of(case)?;
    tflite_window(case, device, x, weights.along(0)?, 1, bias, output)
}

fn tflite_depthwise_conv(case: &Case, device: &Device) -> Result<Tensor> {
    let Tflite { x, weights, bias, output } = Tflite::of(case)?;
    // 1HWC becomes CHW1: one input channel per output. C is the number of input channels times the channel multiplier.
    let weights = weights.along(3)?.permuted(&[3, 1, 2, 0])?;
    let groups = x.tensor_type().shape().row_length();
    tflite_window(case, device, x, weights, groups, bias, output)
}

/// Convolution of NHWC images with OHWI weights.
fn tflite_window(
    case: &Case,
    device: &Device,
    x: Tensor,
    weights: Tensor,
    groups: usize,
    bias: Option<Tensor>,
    output: Requantization,
) -> Result<Tensor> {
    let padding = match case.attribute::<String>("padding")?.as_deref() {
        Some("SAME") => Padding::SameUpper,
        Some("VALID") => Padding::None,
        other => return Err(format!("padding {other:?} is neither SAME nor VALID").into()),
    };
    let stride = case.attribute("stride")?.unwrap_or(1);
    let mut op =
        Conv::new(x.tensor_type().clone(), weights).stride([stride; 2]).padding(padding).groups(groups).output(output);
    if let Some(bias) = bias {
        op = op.bias(bias);
    }
    first(device.run(op.build()?, &[&x])?)
}

fn tflite_fully_connected(case: &Case, device: &Device) -> Result<Tensor> {
    let Tflite { x, weights, bias, output } = Tflite::of(case)?;
    let mut op = Matmul::new(x.tensor_type().clone(), weights.along(0)?).transposed().output(output);
    if let Some(bias) = bias {
        op = op.bias(bias);
    }
    first(device.run(op.build()?, &[&x])?)
}
