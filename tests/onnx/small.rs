//! Models of a few nodes: meanings that are easily missed, and models that are wrong.

use lowbit::Tensor;
use lowbit::onnx::{Model, Options};

use crate::Result;
use crate::npy::Array;
use crate::writer::{
    Attribute, Dim, FLOAT, INT4, INT8, INT32, INT64, Message, UINT4, UINT8, floats, longs, model, model_of, node,
    tensor,
};
use Attribute::{Float, Int, Ints, Text};

/// The output for a float input, on the reference.
fn output(bytes: Vec<u8>, x: &[f32]) -> Result<Vec<f64>> {
    let network = Model::from_bytes(bytes)?.graph(&Options::default())?;
    let x = Tensor::new(network.inputs[0].tensor_type.dims(), x.to_vec())?;
    Ok(Array::of(&network.graph.run_reference(&[&x])?[0])?.values)
}

fn scale(value: f32) -> Message {
    floats("s", &[], &[value])
}

fn zero_point(value: u8) -> Message {
    tensor("z", UINT8, &[], &[value])
}

fn near(got: &[f64], expected: &[f64]) {
    assert_eq!(got.len(), expected.len());
    assert!(got.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{got:?}, expected {expected:?}");
}

#[test]
fn padding_of_raw_codes_is_a_code() -> Result<()> {
    let pad = |value: Option<u8>| {
        let nodes = [
            node("QuantizeLinear", "x s z", "q", &[]),
            node("Pad", if value.is_some() { "q pads value" } else { "q pads" }, "p", &[]),
            node("DequantizeLinear", "p s z", "y", &[]),
        ];
        let value = tensor("value", UINT8, &[], &[value.unwrap_or(0)]);
        let initializers = [scale(0.5), zero_point(128), longs("pads", &[2], &[1, 0]), value];
        output(model(13, (FLOAT, &[2]), &nodes, &initializers, "y"), &[1.0, 2.0])
    };
    near(&pad(None)?, &[-64.0, 1.0, 2.0]);
    near(&pad(Some(130))?, &[1.0, 1.0, 2.0]);
    Ok(())
}

#[test]
fn resized_numbers_of_codes_are_not_rounded_to_codes() -> Result<()> {
    let resize = node(
        "Resize",
        "d - - sizes",
        "y",
        &[("mode", Text("linear")), ("coordinate_transformation_mode", Text("align_corners"))],
    );
    let nodes = [node("QuantizeLinear", "x s z", "q", &[]), node("DequantizeLinear", "q s z", "d", &[]), resize];
    let initializers = [scale(1.0), zero_point(0), longs("sizes", &[4], &[1, 1, 1, 3])];
    near(&output(model(13, (FLOAT, &[1, 1, 1, 2]), &nodes, &initializers, "y"), &[1.0, 4.0])?, &[1.0, 2.5, 4.0]);
    Ok(())
}

#[test]
fn clamps_between_a_product_and_its_scale_are_in_order() -> Result<()> {
    // The weights are 1. −0.9 to −0.3, then at least 0, is 0.
    let nodes = [
        node("QuantizeLinear", "x s z", "q", &[]),
        node("DequantizeLinear", "q s z", "d", &[]),
        node("DequantizeLinear", "w one", "dw", &[]),
        node("MatMul", "d dw", "m", &[]),
        node("Clip", "m low high", "c", &[]),
        node("Relu", "c", "r", &[]),
        node("QuantizeLinear", "r s z", "k", &[]),
        node("DequantizeLinear", "k s z", "y", &[]),
    ];
    let initializers = [
        scale(0.1),
        zero_point(100),
        floats("one", &[], &[1.0]),
        tensor("w", INT8, &[1, 1], &[1]),
        floats("low", &[], &[-0.9]),
        floats("high", &[], &[-0.3]),
    ];
    near(&output(model(13, (FLOAT, &[1, 1]), &nodes, &initializers, "y"), &[-2.0])?, &[0.0]);
    Ok(())
}

#[test]
fn constants_may_follow_their_readers() -> Result<()> {
    let constant = |name: &str, value: Message| node("Constant", "-", name, &[("value", Attribute::Tensor(value))]);
    let nodes = [
        node("QuantizeLinear", "x s z", "q", &[]),
        node("DequantizeLinear", "q s z", "d", &[]),
        node("DequantizeLinear", "w one", "dw", &[]),
        node("MatMul", "d dw", "m", &[]),
        node("Relu", "m", "r", &[]),
        constant("t", floats("", &[], &[0.25])),
        constant("tz", tensor("", UINT8, &[], &[3])),
        node("QuantizeLinear", "r t tz", "k", &[]),
        node("DequantizeLinear", "k t tz", "y", &[]),
    ];
    let initializers = [scale(0.5), zero_point(10), floats("one", &[], &[1.0]), tensor("w", INT8, &[1, 1], &[2])];
    near(&output(model(13, (FLOAT, &[2, 1]), &nodes, &initializers, "y"), &[-1.0, 1.5])?, &[0.0, 3.0]);
    Ok(())
}

#[test]
fn logarithms_of_shares_stay_finite() -> Result<()> {
    let nodes = [node("LogSoftmax", "x", "y", &[])];
    let got = output(model(13, (FLOAT, &[1, 3]), &nodes, &[], "y"), &[0.0, -200.0, 1.0])?;
    assert!((got[1] + 201.31326).abs() < 1e-3, "{got:?}");
    Ok(())
}

#[test]
fn transposed_blocks_keep_their_scales() -> Result<()> {
    let scales = floats("bs", &[2, 1], &[1.0, 0.5]);
    let nodes = [
        node("Transpose", "x", "t", &[("perm", Ints(&[1, 0]))]),
        node("QuantizeLinear", "t bs", "q", &[("axis", Int(1)), ("block_size", Int(2))]),
        node("DequantizeLinear", "q bs", "y", &[("axis", Int(1)), ("block_size", Int(2))]),
    ];
    let got = output(model(21, (FLOAT, &[2, 2]), &nodes, &[scales], "y"), &[1.5, 2.5, 3.0, 3.5])?;
    near(&got, &[2.0, 3.0, 2.5, 3.5]);
    Ok(())
}

/// Each of these models is refused, or is a graph; none panics, hangs or takes much memory.
#[test]
fn wrong_models_are_refused() -> Result<()> {
    let gemm = node("Gemm", "d dw b", "y", &[("alpha", Float(0.5))]);
    let cases: Vec<(&str, Vec<Message>, Vec<Message>, &str)> = vec![
        (
            "training",
            vec![node("BatchNormalization", "x a a a a", "y", &[("training_mode", Int(1))])],
            vec![floats("a", &[4], &[1.0; 4])],
            "training mode",
        ),
        ("twice", vec![node("Relu", "x", "y", &[]), node("Relu", "y", "y", &[])], vec![], "made twice"),
        ("rank", vec![node("GlobalAveragePool", "x", "y", &[])], vec![], ""),
        ("squeeze", vec![node("Squeeze", "x axes", "y", &[])], vec![longs("axes", &[2], &[0, 0])], ""),
        (
            "expand",
            vec![node("Expand", "x dims", "y", &[])],
            vec![longs("dims", &[3], &[1 << 40, 4, 4])],
            "too many elements",
        ),
        ("tile", vec![node("Tile", "x dims", "y", &[])], vec![longs("dims", &[2], &[1 << 40, 1])], "too many elements"),
        (
            "resize",
            vec![node("Resize", "x - - sizes", "y", &[("mode", Text("linear"))])],
            vec![longs("sizes", &[2], &[1 << 30, 4])],
            "too many",
        ),
        ("shape", vec![node("ConstantOfShape", "dims", "y", &[])], vec![longs("dims", &[20], &[1; 20])], ""),
        (
            "zeros",
            vec![node("QuantizeLinear", "x s z", "y", &[])],
            vec![scale(1.0), tensor("z", UINT8, &[0], &[])],
            "empty",
        ),
        (
            "concat",
            vec![node("Concat", "x a", "y", &[("axis", Int(1))])],
            vec![floats("a", &[4], &[1.0; 4])],
            "dimensions",
        ),
        ("split", vec![node("Split", "x sizes", "y z", &[])], vec![longs("sizes", &[2], &[i64::MAX, i64::MAX])], ""),
        (
            "range",
            vec![node("Range", "a b c", "r", &[]), node("Gather", "x r", "y", &[])],
            ["a", "b", "c"].map(|name| longs(name, &[], &[if name == "b" { i64::MAX } else { 1 }])).to_vec(),
            "too many",
        ),
        (
            "bias",
            vec![
                node("QuantizeLinear", "x s", "q", &[]),
                node("DequantizeLinear", "q s", "d", &[]),
                node("DequantizeLinear", "w s", "dw", &[]),
                gemm,
            ],
            vec![scale(1.0), tensor("w", INT8, &[4, 2], &[1; 8]), tensor("b", INT32, &[3], &[0; 12])],
            "",
        ),
        ("cast", vec![node("Cast", "x", "y", &[("to", Int(INT64))])], vec![], "no op casts"),
    ];
    for (name, nodes, initializers, text) in cases {
        let bytes = model(18, (FLOAT, &[4, 4]), &nodes, &initializers, "y");
        match Model::from_bytes(bytes)?.graph(&Options::default()) {
            Ok(_) => assert_eq!(text, "", "{name} is a graph"),
            Err(error) => assert!(error.to_string().contains(text), "{name}: {error}"),
        }
    }
    Ok(())
}

/// ONNX Runtime's answers on a CPU, the first elements of each row.
#[test]
fn rows_of_codes_in_blocks() -> Result<()> {
    let gather =
        |attributes: &[(&str, i64)], initializers: &[Message], zeros: bool, indices: &[i64]| -> Result<Array> {
            let attributes: Vec<_> = attributes.iter().map(|&(name, value)| (name, Int(value))).collect();
            let inputs = if zeros { "data x scales zeros" } else { "data x scales" };
            let made = node("com.microsoft.GatherBlockQuantized", inputs, "y", &attributes);
            let bytes = model(21, (INT64, &[indices.len() as i64]), &[made], initializers, "y");
            let indices: Vec<i32> = indices.iter().map(|&i| i as i32).collect();
            let indices = Tensor::new([indices.len()], indices)?;
            let computed = {
                let network = Model::from_bytes(bytes.clone())?.graph(&Options::default())?;
                Array::of(&network.graph.run_reference(&[&indices])?[0])?
            };
            let network = Model::from_bytes(bytes)?.graph(&Options::default().with_value("x", indices))?;
            let known = Array::of(&network.graph.run_reference(&[])?[0])?;
            assert_eq!(computed.values, known.values);
            Ok(known)
        };
    let bytes: Vec<u8> = (0..48).map(|i| i * 5).collect();
    let data = tensor("data", UINT8, &[3, 16], &bytes);
    let scales = floats("scales", &[3, 2], &[0.5, 0.25, 1.0, 2.0, 0.125, 4.0]);
    let zeros = tensor("zeros", UINT8, &[3, 1], &[0x3a, 0x51, 0x0f]);
    let attributes = [("bits", 4), ("block_size", 16), ("gather_axis", 0), ("quantize_axis", 1)];
    let got = gather(&attributes, &[data.clone(), scales.clone()], false, &[2, 0])?;
    assert_eq!(got.dims, [2, 32]);
    assert_eq!(got.values[..6], [-1.0, 0.25, -0.375, 0.25, 0.25, 0.25]);
    assert_eq!(got.values[16..20], [0.0, 16.0, 20.0, 16.0]);
    assert_eq!(got.values[32..36], [-4.0, -4.0, -1.5, -4.0]);
    let got = gather(&attributes, &[data, scales, zeros], true, &[2, 0])?;
    assert_eq!(got.values[..4], [-1.875, -0.625, -1.25, -0.625]);
    assert_eq!(got.values[48..52], [1.25, -0.25, 2.5, -0.25]);
    let of_bytes = [tensor("data", UINT8, &[3, 16], &bytes), floats("scales", &[3, 1], &[0.5, 1.0, 0.125])];
    let attributes = [("bits", 8), ("block_size", 16), ("gather_axis", 0), ("quantize_axis", 1)];
    assert_eq!(gather(&attributes, &of_bytes, false, &[1])?.values[..3], [-48.0, -43.0, -38.0]);
    // Along another axis than the first, and blocks along the first.
    let bytes: Vec<u8> = (0..48u8).map(|i| i.wrapping_mul(7)).collect();
    let scales: Vec<f32> = (1..7).map(|i| i as f32 / 8.0).collect();
    let data = [tensor("data", INT4, &[2, 3, 16], &bytes), floats("scales", &[2, 3, 1], &scales)];
    let got = gather(&[("block_size", 16), ("gather_axis", 1), ("quantize_axis", 2)], &data, false, &[2, 0])?;
    assert_eq!(got.dims, [2, 2, 16]);
    assert_eq!(got.values[..4], [0.0, 2.625, 2.625, 2.625]);
    assert_eq!(got.values[48..52], [-4.0, -3.0, -0.5, -3.0]);
    let bytes: Vec<u8> = (0..24u8).map(|i| i.wrapping_mul(11)).collect();
    let data = [tensor("data", UINT4, &[16, 3], &bytes), floats("scales", &[1, 3], &[0.5, 1.0, 2.0])];
    let got = gather(&[("block_size", 16), ("gather_axis", 1), ("quantize_axis", 0)], &data, false, &[1, 2])?;
    assert_eq!(got.values[..6], [0.0, 22.0, 6.0, 2.0, 2.0, 24.0]);
    Ok(())
}

/// A dimension with a name is an extent of the graph. What can't follow it is refused, with its name.
#[test]
fn extents_have_names() -> Result<()> {
    let made = |dims: &[Dim<'_>], nodes: &[Message], options: &Options| {
        let initializers = [longs("flat", &[2], &[-1, 2]), longs("zero", &[], &[0])];
        Model::from_bytes(model_of(17, &[("x", FLOAT, dims)], nodes, &initializers, &["y"]))?.graph(options)
    };
    let batch = [Dim::Named("batch"), Dim::Fixed(4)];
    let extent = Options::default().with_extent("batch", 6);
    let flat = [node("Relu", "x", "r", &[]), node("Reshape", "r flat", "y", &[])];
    let network = made(&batch, &flat, &extent)?;
    assert_eq!(network.outputs[0].tensor_type.dims(), [12, 2]);
    for rows in [1, 5, 6] {
        let x = Tensor::new([rows, 4], (0..4 * rows).map(|i| i as f32 - 3.0).collect::<Vec<_>>())?;
        let y = network.graph.run_reference(&[&x])?;
        assert_eq!(y[0].dims(), [2 * rows, 2]);
        assert_eq!(y[0].values::<f32>()?[..5.min(4 * rows)], [0.0, 0.0, 0.0, 0.0, 1.0][..5.min(4 * rows)]);
    }
    // A shape that is computed from the extent.
    let by_shape =
        [node("Shape", "x", "shape", &[]), node("Relu", "x", "r", &[]), node("Reshape", "r shape", "y", &[])];
    let x = Tensor::new([2, 4], vec![1.0f32; 8])?;
    assert_eq!(made(&batch, &by_shape, &extent)?.graph.run_reference(&[&x])?[0].dims(), [2, 4]);
    let refused = |dims: &[Dim<'_>], nodes: &[Message], options: &Options, parts: &[&str]| {
        let error = made(dims, nodes, options).expect_err("no graph").to_string();
        parts.iter().for_each(|part| assert!(error.contains(part), "{error}: {part}"));
    };
    refused(&batch, &flat, &Options::default(), &["dimension 0 is batch", "with_dimension", "with_extent"]);
    // Two of them, one of which is no first dimension.
    let both = [Dim::Named("batch"), Dim::Named("tokens"), Dim::Fixed(2)];
    let options = extent.clone().with_extent("tokens", 3);
    let network = made(&both, &[node("Relu", "x", "r", &[]), node("Reshape", "r flat", "y", &[])], &options)?;
    assert_eq!(network.outputs[0].tensor_type.dims(), [18, 2]);
    for (rows, tokens) in [(1, 1), (2, 3), (5, 2)] {
        let values: Vec<f32> = (0..rows * tokens * 2).map(|i| i as f32).collect();
        let y = network.graph.run_reference(&[&Tensor::new([rows, tokens, 2], values.clone())?])?;
        assert_eq!((y[0].dims(), y[0].values::<f32>()?), (&[rows * tokens, 2][..], &values[..]));
    }
    // A number that is another at other extents.
    let number = [
        node("Shape", "x", "shape", &[]),
        node("Gather", "shape zero", "count", &[]),
        node("Cast", "count", "n", &[("to", Int(FLOAT))]),
        node("Div", "x n", "y", &[]),
    ];
    refused(&batch, &number, &extent, &["its input n differs at other extents", "with_dimension"]);
    assert!(made(&batch, &number, &Options::default().with_dimension("batch", 2)).is_ok());
    let turned = [node("Transpose", "x", "t", &[("perm", Ints(&[1, 0]))]), node("Softmax", "t", "y", &[])];
    let x = Tensor::new([2, 4], vec![0.0f32, 1.0, 2.0, 3.0, 0.0, 1.0, 2.0, 3.0])?;
    let y = made(&batch, &turned, &extent)?.graph.run_reference(&[&x])?;
    assert_eq!((y[0].dims(), y[0].values::<f32>()?), (&[4, 2][..], &[0.5; 8][..]));
    Ok(())
}

#[test]
fn the_greatest_of_infinite_numbers_is_infinite() -> Result<()> {
    let nodes = [node("ReduceMax", "x axes", "m", &[]), node("Equal", "m least", "y", &[])];
    let initializers = [longs("axes", &[1], &[1]), floats("least", &[], &[f32::NEG_INFINITY])];
    let bytes = model(18, (FLOAT, &[2, 2]), &nodes, &initializers, "y");
    assert_eq!(output(bytes, &[f32::NEG_INFINITY, f32::NEG_INFINITY, f32::NEG_INFINITY, -1.0])?, [1.0, 0.0]);
    Ok(())
}
