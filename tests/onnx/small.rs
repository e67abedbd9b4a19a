//! Models of a few nodes: meanings that are easily missed, and models that are wrong.

use lowbit::Tensor;
use lowbit::onnx::{Model, Options};

use crate::Result;
use crate::npy::Array;
use crate::writer::{Attribute, FLOAT, INT8, INT32, INT64, Message, UINT8, floats, longs, model, node, tensor};
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
