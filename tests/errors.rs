//! Bad requests return an error that names the numbers in conflict. They never panic, and nothing is recorded for them.
//! tests/equivalence.rs checks the results of legal requests.

mod common;

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};

use common::{Random, check_op, context};
use lowbit::numeric::{BlockFormat, BlockRounding, QuantizationParams};
use lowbit::ops::QuantizedArithmetic::{self, Integer, QOperator, Qdq};
use lowbit::ops::{
    Add, Bins, BlockDequantize, Cast, ChannelGate, Concat, Conv, ConvBuilder, CrossEntropyGradient, Dequantize,
    DynamicGranularity, DynamicQuantize, Embedding, FakeQuantize, FakeRequantize, FakeRequantizeOutput, FloatConv,
    FloatPool, FloatUnary, Function, Grid, LayerNorm, Matmul, Multiply, ObserveHistogram, ObserveRange, Op, Operand,
    OptimizerRule, OptimizerStep, Output, Padding, Pool, Quantize, QuantizeWeights, QuantizedSoftmax, RangeUpdate,
    Reduce, Reduction, RequantParams, Requantization, Requantize, Softmax, StepFromRange, Sum, Table, Windows,
};
use lowbit::weights::{Codes, Quantizer, ScaleFormat, WeightFormat};
use lowbit::{
    DType, DeviceTensor, Error, Granularity, Graph, Multiplier, Quantization, Result, Rounding, Shape, Tensor,
    TensorType, Tuner, pack, reference,
};

const HUGE: usize = usize::MAX;
const FORMATS: [DType; 12] = [
    DType::Int2,
    DType::Uint2,
    DType::Int4,
    DType::Uint4,
    DType::Int8,
    DType::Uint8,
    DType::Int16,
    DType::Uint16,
    DType::Int32,
    DType::Float16,
    DType::Float32,
    DType::Parameters,
];

/// Name of a request, its result, and the words that the message must contain.
type Case<'a, T> = (&'a str, Result<T>, &'a [&'a str]);

/// Asserts that every case is an [`Error::Request`] whose message names the numbers in conflict.
fn refused<T: Debug, const N: usize>(cases: [Case<'_, T>; N]) {
    for (name, result, needles) in cases {
        match result {
            Err(Error::Request(message)) => {
                let missing = needles.iter().find(|needle| !message.contains(**needle));
                assert_eq!(missing, None, "{name}: the message is \"{message}\"");
            }
            other => panic!("{name}: expected an Error::Request, got {other:?}"),
        }
    }
}

/// A tensor type, with scale 0.1 and zero point 0 if it has codes.
fn typed(dtype: DType, dims: &[usize]) -> TensorType {
    let plain = TensorType::new(dtype, dims).expect("a legal shape");
    if dtype.range().is_some() { plain.quantized(Quantization::tensor(0.1, 0)).expect("a legal scale") } else { plain }
}

fn int8(dims: &[usize]) -> TensorType {
    typed(DType::Int8, dims)
}

/// An int8 type with parameters along an axis.
fn along(axis: usize, dims: &[usize]) -> TensorType {
    let plain = TensorType::new(DType::Int8, dims).expect("a legal shape");
    plain.quantized(Quantization::symmetric_axis(axis, vec![0.1; dims[axis]])).expect("as many scales as needed")
}

/// A tensor of zeros of any dtype.
fn zeros(dtype: DType, dims: &[usize]) -> Tensor {
    let tensor_type = typed(dtype, dims);
    pack::tensor(&tensor_type, &vec![0; tensor_type.device_bytes() as usize / 4]).expect("as many words as needed")
}

fn weights(dims: &[usize]) -> Tensor {
    zeros(DType::Int8, dims)
}

/// Output codes of scale 0.1 and zero point 0.
fn codes() -> Requantization {
    Requantization::new(DType::Int8, 0.1, 0).expect("a legal scale")
}

#[test]
fn shapes_and_tensors() -> Result<()> {
    let new = |dims: &[usize]| Shape::new(dims);
    refused([
        ("nine dimensions", new(&[1; 9]), &["9", "8"]),
        ("2³¹ elements", new(&[1 << 31]), &["2147483648", "2147483647"]),
        ("a product over usize", new(&[HUGE, HUGE]), &["2147483647"]),
        ("a product that wraps to 0", new(&[1 << 32, 1 << 32]), &["4294967296", "2147483647"]),
        ("huge beside 0", new(&[0, HUGE, HUGE]), &["2147483647"]),
        ("shapes that don't broadcast", Shape::new([2, 3])?.broadcast(&Shape::new([4, 3])?), &["[2, 3]", "[4, 3]"]),
        ("0 against 2", Shape::new([0])?.broadcast(&Shape::new([2])?), &["0 and 2"]),
        ("a broadcast too large", Shape::new([1 << 16, 1])?.broadcast(&Shape::new([1 << 16])?), &["65536"]),
    ]);
    assert_eq!(Shape::new([i32::MAX as usize])?.elements(), i32::MAX as usize);
    assert_eq!(Shape::new([0, i32::MAX as usize])?.elements(), 0);

    let tensor = Tensor::new([2, 3], vec![1i8, 2, 3, 4, 5, 6])?;
    refused([
        ("five elements", Tensor::new([2, 3], vec![0i8; 5]), &["5", "[2, 3]", "6"]),
        ("no elements", Tensor::new([1], Vec::<f32>::new()), &["0", "1"]),
        ("an element for an empty shape", Tensor::new([0, 3], vec![1u8]), &["1", "[0, 3]", "0"]),
        ("a shape that overflows", Tensor::new([HUGE, 2], vec![1u8]), &["2147483647"]),
        ("reshape to another size", tensor.reshaped([7]), &["int8[2, 3]", "int8[7]"]),
        ("reshape to an overflow", tensor.reshaped([HUGE, HUGE]), &["2147483647"]),
        ("permute too few axes", tensor.permuted(&[0]), &["[0]", "2 axes"]),
        ("permute an axis twice", tensor.permuted(&[1, 1]), &["[1, 1]", "2 axes"]),
        ("permute a missing axis", tensor.permuted(&[0, HUGE]), &["2 axes"]),
        ("too few words", pack::tensor(tensor.tensor_type(), &[0; 7]), &["8 words", "7"]),
    ]);
    let packed = |format, bytes: &[u8]| Tensor::from_packed(TensorType::new(format, [3, 3])?, bytes);
    refused([
        ("nine nibbles in 4 bytes", packed(DType::Int4, &[0; 4]), &["int4[3, 3]", "5 bytes", "4 were"]),
        ("a byte for each nibble", packed(DType::Uint4, &[0; 9]), &["uint4[3, 3]", "5 bytes", "9 were"]),
        ("nine crumbs in 4 bytes", packed(DType::Uint2, &[0; 4]), &["uint2[3, 3]", "3 bytes", "4 were"]),
        ("nine f16 in 9 bytes", packed(DType::Float16, &[0; 9]), &["float16[3, 3]", "18 bytes", "9 were"]),
        ("no bytes", packed(DType::Parameters, &[]), &["72 bytes", "0 were"]),
    ]);
    refused([
        ("u8 of int8", tensor.values::<u8>().map(|_| ()), &["int8", "uint8"]),
        ("f32 of int8", tensor.values::<f32>().map(|_| ()), &["int8", "float32"]),
        ("parameters of int8", tensor.values::<QuantizationParams>().map(|_| ()), &["int8", "parameters"]),
    ]);
    Ok(())
}

#[test]
fn quantizations() -> Result<()> {
    let tensor =
        |format, scale, zero_point| TensorType::new(format, [2, 3])?.quantized(Quantization::tensor(scale, zero_point));
    let new = |granularity, scales: &[f32], zero_points: &[i32]| {
        TensorType::new(DType::Int8, [2, 3])?.quantized(Quantization::new(granularity, scales, zero_points))
    };
    let blocks = |axis, size| Granularity::Blocks { axis, size };
    refused([
        ("NaN scale", tensor(DType::Int8, f32::NAN, 0), &["NaN", "finite and positive"]),
        ("infinite scale", tensor(DType::Int8, f32::INFINITY, 0), &["inf"]),
        ("zero scale", tensor(DType::Int8, 0.0, 0), &["scale 0 of int8 [2, 3] is 0", "x_scale", "zeros"]),
        ("negative zero scale", tensor(DType::Int8, -0.0, 0), &["scale 0 of", "is 0"]),
        ("negative scale", tensor(DType::Int8, -0.5, 0), &["-5e-1"]),
        ("int8 zero point", tensor(DType::Int8, 1.0, 128), &["128", "-128..=127"]),
        ("uint8 zero point", tensor(DType::Uint8, 1.0, -1), &["-1", "0..=255"]),
        ("int4 zero point", tensor(DType::Int4, 1.0, 8), &["8", "-8..=7"]),
        ("uint4 zero point", tensor(DType::Uint4, 1.0, 16), &["16", "0..=15"]),
        ("int2 zero point", tensor(DType::Int2, 1.0, 2), &["2", "-2..=1"]),
        ("uint2 zero point", tensor(DType::Uint2, 1.0, -1), &["-1", "0..=3"]),
        ("float16 with a scale", tensor(DType::Float16, 1.0, 0), &["float16"]),
        ("int16 zero point", tensor(DType::Int16, 1.0, 32_768), &["32768", "-32768..=32767"]),
        ("uint16 zero point", tensor(DType::Uint16, 1.0, i32::MIN), &["-2147483648", "0..=65535"]),
        ("int32 zero point", tensor(DType::Int32, 1.0, 1), &["int32", "zero point"]),
        ("float32 with a scale", tensor(DType::Float32, 1.0, 0), &["float32"]),
        ("parameters with a scale", tensor(DType::Parameters, 1.0, 0), &["parameters"]),
        ("no scale", new(Granularity::Tensor, &[], &[0]), &["0 scales", "needs 1"]),
        ("no zero point", new(Granularity::Tensor, &[1.0], &[]), &["0 zero points", "needs 1"]),
        ("two scales", new(Granularity::Tensor, &[1.0; 2], &[0]), &["2 scales", "needs 1"]),
        ("scales of another axis", new(Granularity::Axis(0), &[1.0; 3], &[0]), &["3 scales", "[2, 3]", "needs 2"]),
        ("zero points of another axis", new(Granularity::Axis(0), &[1.0; 2], &[0; 3]), &["3 zero points", "2 or 1"]),
        ("one bad scale", new(Granularity::Axis(1), &[1.0, 2.0, f32::NAN], &[0]), &["scale 2", "NaN"]),
        ("one zero scale", new(Granularity::Axis(1), &[1.0, 0.0, 2.0], &[0]), &["scale 1 of int8 [2, 3] is 0"]),
        ("one bad zero point", new(Granularity::Axis(1), &[1.0; 3], &[0, 1, 200]), &["200", "-128..=127"]),
        ("axis 2", new(Granularity::Axis(2), &[1.0], &[0]), &["axis 2", "2 dimensions"]),
        ("axis usize::MAX", new(Granularity::Axis(HUGE), &[1.0], &[0]), &["2 dimensions"]),
        ("blocks of axis 2", new(blocks(2, 1), &[1.0], &[0]), &["axis 2", "2 dimensions"]),
        ("blocks of 0", new(blocks(1, 0), &[1.0], &[0]), &["0 elements", "axis 1"]),
        ("too few blocks", new(blocks(1, 2), &[1.0; 2], &[0]), &["2 scales", "needs 4"]),
        ("a block of everything", new(blocks(1, HUGE), &[1.0; 3], &[0]), &["3 scales", "needs 2"]),
    ]);
    assert!(new(blocks(1, HUGE), &[1.0; 2], &[0]).is_ok());
    let scalar = TensorType::new(DType::Int8, [])?;
    refused([("axis 0 of a scalar", scalar.quantized(Quantization::symmetric_axis(0, [1.0])), &["axis 0", "0 dim"])]);
    Ok(())
}

#[test]
fn output_stages() -> Result<()> {
    let new = Requantization::new;
    refused([
        ("int32 codes", new(DType::Int32, 1.0, 0), &["int32"]),
        ("float32 codes", new(DType::Float32, 1.0, 0), &["float32"]),
        ("NaN scale", new(DType::Int8, f32::NAN, 0), &["NaN"]),
        ("zero scale", new(DType::Int8, 0.0, 0), &["is 0"]),
        ("negative scale", new(DType::Uint8, -1.0, 0), &["-1e0"]),
        ("infinite scale", new(DType::Uint8, f32::INFINITY, 0), &["inf"]),
        ("zero point", new(DType::Uint8, 1.0, 256), &["256", "0..=255"]),
        ("empty clamp", codes().clamp(3, 2), &["3..=2", "-128..=127"]),
        ("clamp below", codes().clamp(-129, 0), &["-129..=0", "-128..=127"]),
        ("clamp above", codes().clamp(0, i32::MAX), &["2147483647", "-128..=127"]),
    ]);
    refused([
        ("NaN multiplier", Multiplier::float(f32::NAN), &["NaN"]),
        ("zero multiplier", Multiplier::float(0.0), &["0e0"]),
        ("negative multiplier", Multiplier::float(-1.0), &["-1e0"]),
        ("infinite multiplier", Multiplier::float(f32::INFINITY), &["inf"]),
        ("negative quantized multiplier", Multiplier::fixed(-1, 0), &["-1", "2147483647"]),
        ("shift up", Multiplier::fixed(1, 31), &["31", "30"]),
        ("shift down", Multiplier::fixed(1, -32), &["-32", "-31"]),
        ("underflow", Multiplier::from_scales(Rounding::Onnx, 1e-30, 1e-30, 1.0), &["0e0"]),
        ("overflow", Multiplier::from_scales(Rounding::Onnx, 1e30, 1e30, 1.0), &["inf"]),
        ("2³⁰", Multiplier::from_scales(Rounding::FixedSingle, 32_768.0, 32_768.0, 1.0), &["1.073741824e9", "2^30"]),
        ("zero output scale", Multiplier::from_scales(Rounding::FixedDouble, 1.0, 1.0, 0.0), &["inf"]),
        ("NaN scales", Multiplier::from_scales(Rounding::FixedDouble, f32::NAN, 1.0, 1.0), &["NaN"]),
    ]);

    let (float, fixed) = (Multiplier::float(0.5)?, Multiplier::fixed(1 << 30, 0)?);
    let matmul = |output: Output| Matmul::new(int8(&[2, 3]), weights(&[3, 4])).output(output).build();
    let requantized = |stage: Requantization| matmul(stage.into());
    let tiny = || typed(DType::Int8, &[2, 3]).quantized(Quantization::tensor(1e-30, 0));
    refused([
        ("two multipliers for four columns", requantized(codes().multipliers([float; 2])), &["2 mult", "4 output"]),
        ("no multipliers", requantized(codes().multipliers([])), &["0 multipliers", "4 output"]),
        ("fixed multipliers, float rounding", requantized(codes().multipliers([fixed])), &["Onnx"]),
        (
            "float multipliers, fixed rounding",
            requantized(codes().multipliers([float]).rounding(Rounding::FixedDouble)),
            &["FixedDouble"],
        ),
        ("empty range", matmul(Output::Real { low: 1.0, high: 0.0 }), &["1..=0"]),
        ("NaN bound", matmul(Output::Real { low: f32::NAN, high: 0.0 }), &["NaN..=0"]),
        (
            "scales whose product underflows",
            Matmul::new(tiny()?, weights(&[3, 4]).quantized(Quantization::tensor(1e-30, 0))?).output(codes()).build(),
            &["0e0"],
        ),
    ]);

    // A ReLU outside the clamp leaves one code, not none.
    let multiplier = Multiplier::float(1.0)?;
    let unit = || Requantization::new(DType::Int8, 1.0, 0);
    for (stage, code) in [
        (unit()?.clamp(-128, -10)?.relu(), 0),
        (unit()?.clamp(-128, -10)?.relu6(), 0),
        (unit()?.clamp(50, 127)?.relu6(), 6),
    ] {
        for accumulator in [i32::MIN, -50, 0, 50, i32::MAX] {
            assert_eq!(stage.apply(accumulator, multiplier), code, "{stage:?}");
        }
    }
    Ok(())
}

#[test]
fn formats() -> Result<()> {
    for format in FORMATS {
        let image = typed(format, &[1, 4, 4, 2]);
        let matrix = typed(format, &[2, 3]);
        let name = format.to_string();
        let needle: &[&str] = &[&name];
        if !format.is_8_bit() {
            let output = TensorType::new(format, [2, 3])?;
            if !format.is_narrow_integer() {
                let conv = Conv::new(int8(&[1, 4, 4, 2]), zeros(format, &[1, 1, 1, 2])).build().map(Op::from);
                refused::<Op, 3>([
                    ("matmul rhs", Matmul::new(int8(&[4, 2]), matrix.clone()).build().map(Op::from), needle),
                    ("weights", Matmul::new(int8(&[4, 2]), zeros(format, &[2, 3])).build().map(Op::from), needle),
                    ("conv weights", conv, needle),
                ]);
            }
            if format != DType::Int16 {
                refused::<Op, 2>([
                    ("matmul lhs", Matmul::new(matrix.clone(), weights(&[3, 4])).build().map(Op::from), needle),
                    ("image", Conv::new(image.clone(), weights(&[1, 1, 1, 2])).build().map(Op::from), needle),
                ]);
            }
            refused::<Op, 11>([
                ("add lhs", Add::new(matrix.clone(), int8(&[3]), codes()).build().map(Op::from), needle),
                ("add rhs", Add::new(int8(&[3]), matrix.clone(), codes()).build().map(Op::from), needle),
                ("multiply lhs", Multiply::new(matrix.clone(), int8(&[3]), codes()).build().map(Op::from), needle),
                ("multiply rhs", Multiply::new(int8(&[3]), matrix.clone(), codes()).build().map(Op::from), needle),
                ("average pool", Pool::average(image.clone(), [1, 1]).build().map(Op::from), needle),
                ("max pool", Pool::max(image.clone(), [1, 1]).build().map(Op::from), needle),
                ("sigmoid", Table::sigmoid(matrix.clone(), codes()).map(Op::from), needle),
                ("softmax", QuantizedSoftmax::new(matrix.clone(), codes()).map(Op::from), needle),
                ("table from", Table::from_bytes(matrix.clone(), int8(&[2, 3]), [0; 256]).map(Op::from), needle),
                ("table to", Table::from_bytes(int8(&[2, 3]), output, [0; 256]).map(Op::from), needle),
                (
                    "concat",
                    Concat::new([int8(&[2, 3]), matrix.clone()], 1).output(codes()).build().map(Op::from),
                    needle,
                ),
            ]);
            let dynamic = DynamicQuantize::new(TensorType::float32([2, 3])?, format, DynamicGranularity::Row).build();
            refused([("dynamic quantize", dynamic, needle)]);
        }
        if format != DType::Float32 {
            refused_by_float_ops(&matrix, needle)?;
        }
        let plain = TensorType::new(format, [2, 3])?;
        refused::<Op, 3>([
            (
                "quantize without scale",
                Quantize::new(TensorType::float32(plain.dims())?, plain.clone()).build().map(Op::from),
                &[&name, "no scale"],
            ),
            ("dequantize without scale", Dequantize::new(plain.clone()).build().map(Op::from), &[&name, "no scale"]),
            ("requantize without scale", Requantize::new(plain, codes()).map(Op::from), &[&name, "no scale"]),
        ]);
        if matches!(format, DType::Int16 | DType::Uint16 | DType::Int32 | DType::Parameters) {
            let to = Cast::new(int8(&[2, 3]), format).build();
            refused([("cast from", Cast::new(matrix.clone(), DType::Int8).build(), needle), ("cast to", to, needle)]);
        }
        if !matches!(format, DType::Float16 | DType::Float32) {
            let from = Quantize::new(matrix.clone(), int8(&[2, 3])).build().map(Op::from);
            let to = Dequantize::new(int8(&[2, 3])).output(format).build().map(Op::from);
            refused([("quantize from", from, needle), ("dequantize to", to, needle)]);
        }
        if !matches!(format, DType::Int32 | DType::Float32) {
            let bias = || zeros(format, &[4]);
            let conv = Conv::new(int8(&[1, 4, 4, 2]), weights(&[4, 1, 1, 2])).bias(bias());
            refused::<Op, 2>([
                ("bias", Matmul::new(int8(&[2, 3]), weights(&[3, 4])).bias(bias()).build().map(Op::from), needle),
                ("conv bias", conv.build().map(Op::from), needle),
            ]);
        }
    }
    Ok(())
}

/// Ops that take float32 only.
fn refused_by_float_ops(given: &TensorType, needle: &[&str]) -> Result<()> {
    let ones = |dims: &[usize]| Tensor::new(dims, vec![1.0f32; dims.iter().product()]);
    let quantizer = Quantizer::new(WeightFormat::new(Codes::INT4, 32, ScaleFormat::F16))?;
    let given = || given.clone();
    let image = |t: TensorType| FloatConv::new(t, TensorType::float32([1, 1, 1, 1])?, Windows::default()).build();
    let dynamic = DynamicQuantize::new(given(), DType::Int8, DynamicGranularity::Row).build();
    let tensor = Granularity::Tensor;
    refused::<Op, 16>([
        ("softmax", Softmax::new(given()).build().map(Op::from), needle),
        ("float unary", FloatUnary::new(given(), Function::Relu).map(Op::from), needle),
        ("reduce", Reduce::new(given(), [0], Reduction::Sum).map(Op::from), needle),
        ("float pool", FloatPool::max(given(), [1]).build().map(Op::from), needle),
        ("layer norm", LayerNorm::new(given(), ones(&[3])?, 1e-5).build().map(Op::from), needle),
        ("dynamic quantize", dynamic.map(Op::from), needle),
        ("observe range", ObserveRange::new(given(), tensor, RangeUpdate::MinMax).map(Op::from), needle),
        ("observe histogram", ObserveHistogram::new(given(), tensor, Bins::new(16)?).map(Op::from), needle),
        ("sum", Sum::new(given(), tensor).map(Op::from), needle),
        ("cross-entropy", CrossEntropyGradient::new(given()).map(Op::from), needle),
        ("optimizer", OptimizerStep::new(given(), OptimizerRule::adam()).build().map(Op::from), needle),
        ("fake quantize", FakeQuantize::new(given(), Grid::Step, tensor, (0, 15)).build().map(Op::from), needle),
        (
            "fake requantize",
            FakeRequantize::new(given(), FakeRequantizeOutput::Real, (0, 15)).build().map(Op::from),
            needle,
        ),
        ("requantization", RequantParams::new(given()).map(Op::from), needle),
        ("quantize weights", QuantizeWeights::new(given(), quantizer).map(Op::from), needle),
        ("float conv", image(given()).map(Op::from), needle),
    ]);
    Ok(())
}

/// Types that an op refuses, although their data type may be right.
#[test]
fn types_of_inputs() -> Result<()> {
    let real = |dims: &[usize]| TensorType::float32(dims);
    let weights = Quantizer::new(WeightFormat::new(Codes::INT4, 32, ScaleFormat::F16))?
        .quantize(&Tensor::new([2, 32], vec![1.0f32; 64])?)?;
    let mx = BlockFormat::mx(DType::Float4E2M1, BlockRounding::Floor)?;
    let scaled = TensorType::new(DType::Int8, [2, 4])?.quantized(Quantization::tensor(1.0, 0))?;
    refused::<Op, 9>([
        ("logits", CrossEntropyGradient::new(real(&[3])?).map(Op::from), &["float32[3]", "[rows, classes]"]),
        ("steps", RequantParams::new(real(&[3, 1])?).map(Op::from), &["float32[3, 1]", "[channels]"]),
        (
            "state",
            StepFromRange::new(TensorType::int32([3, 5])?, (0, 15)).map(Op::from),
            &["int32[3, 5]", "[ranges, 6]"],
        ),
        (
            "floats",
            StepFromRange::new(real(&[3, 6])?, (0, 15)).map(Op::from),
            &["float32[3, 6]", "ObserveRange::state"],
        ),
        ("indices", Embedding::new(real(&[3])?, weights).build().map(Op::from), &["float32[3]", "int32"]),
        ("elements", BlockDequantize::new(scaled.clone(), mx).build().map(Op::from), &["int8[2, 4]", "float4"]),
        (
            "scalar",
            BlockDequantize::new(TensorType::new(DType::Float4E2M1, [])?, mx).build().map(Op::from),
            &["scalar"],
        ),
        ("shapes", Quantize::new(real(&[4, 2])?, scaled).build().map(Op::from), &["float32[4, 2]", "int8[2, 4]"]),
        (
            "symmetric",
            DynamicQuantize::new(real(&[3])?, DType::Uint8, DynamicGranularity::Tensor)
                .symmetric()
                .build()
                .map(Op::from),
            &["uint8", "int8"],
        ),
    ]);
    Ok(())
}

#[test]
fn matmuls() -> Result<()> {
    let build = |lhs: &[usize], rhs: &[usize]| Matmul::new(int8(lhs), weights(rhs)).build();
    let transposed = |lhs: &[usize], rhs: &[usize]| Matmul::new(int8(lhs), weights(rhs)).transposed().build();
    let input = |lhs: &[usize], rhs: &[usize]| Matmul::new(int8(lhs), int8(rhs)).build();
    let typed = |lhs: TensorType, rhs: TensorType| Matmul::new(lhs, rhs).build();
    let bias = |bias: Tensor| Matmul::new(int8(&[2, 3]), weights(&[3, 4])).bias(bias);
    let plain = TensorType::new(DType::Uint8, [2, 3])?;
    let dynamic = |granularity| Matmul::new(plain.clone(), weights(&[3, 4])).dynamic_lhs(granularity);
    let blocks = Quantization::new(Granularity::Blocks { axis: 1, size: 3 }, [0.1; 2], [0]);
    let blocked = TensorType::new(DType::Int8, [2, 3])?.quantized(blocks)?;
    let real_bias = || Tensor::new([4], vec![0.0f32; 4]);
    refused([
        ("k", build(&[2, 3], &[4, 5]), &["k = 3", "k = 4"]),
        ("k, transposed", transposed(&[2, 3], &[3, 5]), &["k = 3", "k = 5", "transposed"]),
        ("k, computed", input(&[2, 3], &[4, 5]), &["k = 3", "k = 4"]),
        ("lhs vector", build(&[3], &[3, 5]), &["int8[3]", "1 dim", "2"]),
        ("rhs vector", build(&[2, 3], &[3]), &["int8[3]", "1 dim", "2"]),
        ("lhs scalar", build(&[], &[3, 5]), &["0 dim"]),
        ("batches", build(&[2, 2, 3], &[4, 3, 5]), &["[2]", "[4]"]),
        ("outer batches", input(&[2, 1, 2, 3], &[3, 1, 3, 5]), &["[2, 1]", "[3, 1]"]),
        ("0 batches against 2", input(&[0, 2, 3], &[2, 3, 5]), &["0 and 2"]),
        ("an output too large", input(&[1 << 16, 1], &[1, 1 << 16]), &["65536", "2147483647"]),
        ("an output too large by batches", input(&[1 << 11, 1, 1 << 9, 1], &[1 << 12, 1, 1]), &["2147483647"]),
        ("lhs per column", typed(along(1, &[2, 3]), int8(&[3, 4])), &["Axis(1)", "per row (axis 0)"]),
        ("rhs per row", typed(int8(&[2, 3]), along(0, &[3, 4])), &["Axis(0)", "per column (axis 1)"]),
        (
            "rhs per column before transposition",
            Matmul::new(int8(&[2, 3]), along(1, &[4, 3])).transposed().build(),
            &["Axis(1)", "per column (axis 0)"],
        ),
        ("lhs per batch", typed(along(0, &[2, 2, 3]), int8(&[3, 4])), &["Axis(0)", "axis 1"]),
        ("lhs in blocks", typed(blocked.clone(), int8(&[3, 4])), &["Blocks", "axis 0"]),
        ("rhs in blocks", typed(int8(&[5, 2]), blocked), &["Blocks", "axis 1"]),
        (
            "dynamic with scales",
            Matmul::new(int8(&[2, 3]), weights(&[3, 4])).dynamic_lhs(DynamicGranularity::Tensor).build(),
            &["scales of its own"],
        ),
        ("dynamic to codes", dynamic(DynamicGranularity::Tensor).output(codes()).build(), &["real output"]),
        ("bias of 3", bias(Tensor::new([3], vec![0i32; 3])?).build(), &["[3]", "[2, 4]"]),
        ("bias of 3 rows", bias(Tensor::new([3, 4], vec![0i32; 12])?).build(), &["[3, 4]", "[2, 4]"]),
        ("bias of more dimensions", bias(Tensor::new([1, 2, 4], vec![0i32; 8])?).build(), &["[1, 2, 4]", "[2, 4]"]),
        ("empty bias", bias(Tensor::new([0], Vec::<i32>::new())?).build(), &["0"]),
        ("f32 bias, accumulators", bias(real_bias()?).build(), &["f32 bias", "real output"]),
        ("f32 bias, codes", bias(real_bias()?).output(codes()).build(), &["f32 bias", "real output"]),
    ]);
    Ok(())
}

#[test]
fn accumulators_that_fit_just_so() -> Result<()> {
    let context = context();
    let check = |name: &str, op: Op, inputs: &[&Tensor], sums: &[i32]| -> Result<()> {
        assert_eq!(reference::run(&op, inputs)?[0].values::<i32>()?, sums, "{name}");
        if let Some(context) = &context {
            check_op(context, name, &op, inputs);
        }
        Ok(())
    };
    // |−128 − 127| · (127 · 66311 + 7) = 2³¹ − 128, so the last weight is at most 7 and the bias at most 127.
    let k = 66_312;
    let lhs = Tensor::new([1, k], vec![-128i8; k])?.quantized(Quantization::tensor(0.1, 127))?;
    let matmul = |last: i8, bias: i32| {
        let mut column = vec![127i8; k];
        column[k - 1] = last;
        let rhs = Tensor::new([k, 1], column)?;
        Matmul::new(lhs.tensor_type().clone(), rhs).bias(Tensor::new([1], vec![bias])?).build()
    };
    check("matmul", matmul(-7, -127)?.into(), &[&lhs], &[-255 * (127 * (k as i32 - 1) - 7) - 127])?;
    check("matmul", matmul(7, -127)?.into(), &[&lhs], &[-i32::MAX])?;
    let conv = |last: i8, bias: i32| {
        let mut channels = vec![-127i8; k];
        channels[k - 1] = last;
        let image = lhs.reshaped([1, 1, 1, k])?.tensor_type().clone();
        Conv::new(image, Tensor::new([1, 1, 1, k], channels)?).bias(Tensor::new([1], vec![bias])?).build()
    };
    let image = lhs.reshaped([1, 1, 1, k])?;
    check("conv", conv(-7, 127)?.into(), &[&image], &[i32::MAX])?;
    // Codes are below their zero point, so a bias or weight of the other sign moves the sum away from the limit.
    check("a bias the other way", matmul(7, i32::MAX)?.into(), &[&lhs], &[127])?;
    check("a weight the other way", conv(127, 127)?.into(), &[&image], &[i32::MAX - 255 * 134])?;
    let max = "2147483647";
    refused([
        ("a weight too many", matmul(8, 0), &["66312", "2147483775", max]),
        ("a negative bias too many", matmul(7, -128), &["2147483648", max]),
        ("the least bias", matmul(0, i32::MIN), &[max]),
    ]);
    refused([
        ("a weight too many", conv(-8, 0), &["66312", "2147483775", max]),
        ("a bias too many", conv(-7, 128), &["2147483648", max]),
    ]);
    // Zero points count: |−128 − 127| = 255 on both sides, 255 · 255 · 33025 < 2³¹ ≤ 255 · 255 · 33026.
    let extreme = |k: usize| {
        let quantization = || Quantization::tensor(1.0, 127);
        let rhs = Tensor::new([k, 1], vec![-128i8; k])?.quantized(quantization())?;
        Matmul::new(TensorType::new(DType::Int8, [1, k])?.quantized(quantization())?, rhs).build()
    };
    let lhs = Tensor::new([1, 33_025], vec![-128i8; 33_025])?;
    check("zero points", extreme(33_025)?.into(), &[&lhs], &[255 * 255 * 33_025])?;
    refused([("zero points", extreme(33_026), &["33026", &(255i64 * 255 * 33_026).to_string(), max])]);
    // A computed right operand counts with its worst codes: 128 · 128 · 131071 < 2³¹.
    let computed = |k: usize, rhs: fn(TensorType) -> Operand| {
        let plain = |dimensions| TensorType::new(DType::Int8, dimensions);
        Matmul::new(plain([1, k])?, rhs(plain([k, 1])?)).build()
    };
    let (lhs, rhs) = (zeros(DType::Int8, &[1, 131_071]), zeros(DType::Int8, &[131_071, 1]));
    check("computed rhs", computed(131_071, Operand::Input)?.into(), &[&lhs, &rhs], &[0])?;
    refused([("computed rhs", computed(131_072, Operand::Input), &["131072", "2147483648", max])]);
    // A dynamic zero point counts with 255 per code: 255 · 8421504 < 2³¹.
    let dynamic = |k: usize| {
        let plain = TensorType::new(DType::Uint8, [1, k])?;
        let ones = Tensor::new([k, 1], vec![1i8; k])?;
        Matmul::new(plain, ones).dynamic_lhs(DynamicGranularity::Tensor).build()
    };
    assert!(dynamic(8_421_504).is_ok());
    refused([("dynamic lhs", dynamic(8_421_505), &["8421505", "2147483775", max])]);
    let pool = |size: usize| Pool::average(int8(&[1, size, 1]), [size]).output(codes()).build();
    refused([("pool", pool(16_777_216), &["16777216", "2147483648", max])]);
    Ok(())
}

/// The accumulator bound of a channel uses its own weights and its own bias, never another channel's. ONNX Runtime gives channels
/// without weights biases of this size.
#[test]
fn accumulators_are_judged_by_channel() -> Result<()> {
    const DEAD: i32 = 2_147_268_896;
    const TERMS: usize = 40;
    let context = context();
    let check = |name: &str, op: Op, inputs: &[&Tensor]| {
        if let Some(context) = &context {
            check_op(context, name, &op, inputs);
        } else {
            drop(reference::run(&op, inputs).unwrap_or_else(|error| panic!("{name}: {error}")));
        }
    };
    let mut random = Random::new(9);
    // Columns alternate between zeros and ±127; the sum of a nonzero column reaches 255 · 127 · 40 = 1,295,400.
    let mut columns = |rows: usize, matrices: usize| -> Result<Tensor> {
        let code = |i: usize| if i.is_multiple_of(2) { 0 } else { random.pick(&[-127i8, 127]) };
        Tensor::new([matrices, rows, 4], (0..matrices * rows * 4).map(code).collect::<Vec<_>>())
    };
    let bias = [DEAD, 5, -DEAD, -7];
    let stage = || Requantization::new(DType::Int8, 1e4, 3);
    let matrix = columns(TERMS, 1)?.reshaped([TERMS, 4])?.quantized(Quantization::tensor(1.0, 0))?;
    let lhs = Tensor::new([2, TERMS], [vec![-128i8; TERMS], vec![127; TERMS]].concat())?;
    let lhs = lhs.quantized(Quantization::tensor(1.0, 127))?;
    for output in [Output::Accumulator, Output::real(), stage()?.into()] {
        let matmul = Matmul::new(lhs.tensor_type().clone(), matrix.clone()).output(output.clone());
        check("matmul", matmul.clone().bias(Tensor::new([4], bias)?).build()?.into(), &[&lhs]);
        check("wide bias", matmul.clone().wide_bias(bias.map(i64::from)).build()?.into(), &[&lhs]);
        // Each bias per row counts for its column in any row.
        let rows = [bias, [-DEAD, -5, 0, 9]].concat();
        check("a bias per row", matmul.bias(Tensor::new([2, 4], rows)?).build()?.into(), &[&lhs]);
        let image = lhs.reshaped([1, 2, 1, TERMS])?;
        let filters = matrix.permuted(&[1, 0])?.reshaped([4, 1, 1, TERMS])?;
        let conv = Conv::new(image.tensor_type().clone(), filters).output(output);
        check("conv", conv.bias(Tensor::new([4], bias)?).build()?.into(), &[&image]);
    }
    // Each matrix of weights counts with the biases of its own batch.
    let batched = Tensor::new([2, TERMS, 1], [vec![0i8; TERMS], vec![127; TERMS]].concat())?;
    let own = Tensor::new([2, 1, 1], vec![-DEAD, 1])?;
    check("batches", Matmul::new(lhs.tensor_type().clone(), batched.clone()).bias(own).build()?.into(), &[&lhs]);
    // Nonnegative codes and weights only add up: 255 · 127 · 40 is added to the least bias.
    let codes = random.codes(DType::Uint8, &[3, TERMS]);
    let one_sided = |bias: i32| {
        let matmul = Matmul::new(codes.tensor_type().clone(), Tensor::new([TERMS, 1], vec![127i8; TERMS])?);
        matmul.bias(Tensor::new([1], vec![bias])?).build()
    };
    check("one-sided", one_sided(-i32::MAX)?.into(), &[&codes]);
    check("one-sided, just so", one_sided(i32::MAX - 255 * 127 * 40)?.into(), &[&codes]);
    // Raw int32 sums of int16.
    let halves = Tensor::new([1, TERMS], vec![-32_768i16; TERMS])?;
    let int16 = |bias: [i32; 4]| {
        let weights = Tensor::new([TERMS, 4], [0i8, 127, 0, -3].repeat(TERMS))?;
        Matmul::new(halves.tensor_type().clone(), weights).bias(Tensor::new([4], bias)?).build()
    };
    check("int16", int16(bias)?.into(), &[&halves]);
    // For weights from the device, only the sign of their differences from the zero points is known.
    let computed = |bias: [i32; 2], zero_points: [i32; 2]| {
        let rhs = Quantization::new(Granularity::Axis(1), [1.0, 1.0], zero_points);
        let rhs = TensorType::new(DType::Uint8, [TERMS, 2])?.quantized(rhs)?;
        Matmul::new(codes.tensor_type().clone(), rhs).bias(Tensor::new([2], bias)?).build()
    };
    let rhs = random.codes(DType::Uint8, &[TERMS, 2]);
    check("from the device", computed([-i32::MAX, i32::MAX], [0, 255])?.into(), &[&codes, &rhs]);

    let max = "2147483647";
    let live =
        |bias| Matmul::new(lhs.tensor_type().clone(), matrix.clone()).bias(Tensor::new([4], [0, 0, 0, bias])?).build();
    let second =
        |bias| Matmul::new(lhs.tensor_type().clone(), batched.clone()).bias(Tensor::new([2, 1, 1], [1, bias])?).build();
    refused([
        ("a live channel", live(DEAD), &["channel 3", "40 products", "bias of 2147268896", max]),
        ("of the second batch", second(-DEAD), &["channel 0", "bias of -2147268896", max]),
        ("one too many", one_sided(i32::MAX - 255 * 127 * 40 + 1), &["channel 0", "2147483648", max]),
        ("int16", int16([0, DEAD, 0, 0]), &["channel 1", "int16", "bias of 2147268896", max]),
        ("from the device", computed([0, -i32::MAX], [0, 1]), &["channel 1", "bias of -2147483647", max]),
    ]);
    let conv = |bias: [i32; 2]| {
        let weights = Tensor::new([2, 1, 3], vec![0i8, 0, 0, 1, 1, 1])?;
        Conv::new(TensorType::new(DType::Uint8, [1, 4, 3])?, weights).bias(Tensor::new([2], bias)?).build()
    };
    assert!(conv([i32::MAX, -i32::MAX]).is_ok());
    refused([(
        "conv",
        conv([0, i32::MAX - 764]),
        &["channel 1", "3 products", "bias of 2147482883", "2147483648", max],
    )]);
    Ok(())
}

#[test]
fn empty_tensors_are_legal() -> Result<()> {
    let bias = || Tensor::new([4], vec![1i32, -2, 3, -4]);
    let matmul = |m, k, n| {
        let matmul = Matmul::new(int8(&[m, k]), weights(&[k, n]));
        if n == 4 { matmul.bias(bias()?).build() } else { matmul.build() }
    };
    for (m, k, n, sums) in [(0, 3, 4, vec![]), (2, 3, 0, vec![]), (1, 0, 4, vec![1, -2, 3, -4]), (0, 0, 0, vec![])] {
        let out = reference::run(&matmul(m, k, n)?.into(), &[&zeros(DType::Int8, &[m, k])])?;
        assert_eq!(out[0].values::<i32>()?, sums, "m {m}, k {k}, n {n}");
    }
    // An empty axis has no scales and no zero points.
    let empty = |dims: [usize; 2], axis| {
        let none = Quantization::new(Granularity::Axis(axis), [], []);
        TensorType::new(DType::Int8, dims)?.quantized(none)
    };
    let outputs = [Output::Accumulator, Output::real(), codes().into(), codes().multipliers([]).into()];
    for output in outputs {
        let no_columns = Matmul::new(int8(&[2, 3]), empty([3, 0], 1)?).output(output.clone());
        assert_eq!(Op::from(no_columns.build()?).outputs()[0].dims(), [2, 0]);
        if output != Output::Requantized(codes().multipliers([])) {
            let no_rows = Matmul::new(empty([0, 3], 0)?, weights(&[3, 4])).output(output);
            assert_eq!(Op::from(no_rows.build()?).outputs()[0].dims(), [0, 4]);
        }
    }
    let scalar = Tensor::new([], vec![3i8])?.quantized(Quantization::tensor(0.1, 0))?;
    let sum = Add::new(scalar.tensor_type().clone(), scalar.tensor_type().clone(), codes()).build()?;
    assert_eq!(reference::run(&sum.into(), &[&scalar, &scalar])?[0].values::<i8>()?, [6]);
    let none = zeros(DType::Int8, &[0, 4, 4, 2]);
    let conv = Conv::new(none.tensor_type().clone(), weights(&[3, 1, 1, 2])).build()?;
    assert_eq!(reference::run(&conv.into(), &[&none])?[0].dims(), [0, 4, 4, 3]);
    for (image, kernel) in [([1, 4, 4, 0], [3, 1, 1, 0]), ([1, 4, 4, 2], [0, 1, 1, 2]), ([1, 4, 4, 0], [0, 1, 1, 0])] {
        let conv = Conv::new(int8(&image), weights(&kernel)).build()?;
        let out = reference::run(&conv.into(), &[&zeros(DType::Int8, &image)])?;
        assert_eq!(out[0].values::<i32>()?, vec![0; 16 * kernel[0]]);
    }
    Ok(())
}

#[test]
fn convs() -> Result<()> {
    let image = || int8(&[1, 5, 6, 4]);
    let conv = || Conv::new(image(), weights(&[8, 3, 3, 4]));
    let build = |image: &[usize], weights_shape: &[usize]| Conv::new(int8(image), weights(weights_shape)).build();
    let grouped = |channels, outputs, per_group, groups| {
        Conv::new(int8(&[1, 4, 4, channels]), weights(&[outputs, 1, 1, per_group])).groups(groups).build()
    };
    let explicit = |begin: &[usize], end: &[usize]| {
        conv().padding(Padding::Explicit { begin: begin.to_vec(), end: end.to_vec() }).build()
    };
    refused([
        ("image rank 2", build(&[4, 4], &[4, 4]), &["2 dim", "3 to 5"]),
        ("image rank 6", build(&[1; 6], &[1; 6]), &["6 dim", "3 to 5"]),
        ("weights rank 3", build(&[1, 4, 4, 2], &[1, 1, 2]), &["int8[1, 1, 2]", "int8[1, 4, 4, 2]"]),
        ("channels", build(&[1, 4, 4, 2], &[8, 1, 1, 3]), &["3 channels per group", "2 channels"]),
        ("groups 0", grouped(4, 8, 4, 0), &["groups is 0"]),
        ("3 groups of 4 channels", grouped(4, 9, 1, 3), &["3 groups", "4 channels", "9 outputs"]),
        ("4 groups of 6 outputs", grouped(4, 6, 1, 4), &["4 groups", "4 channels", "6 outputs"]),
        ("2 groups, channels of all", grouped(4, 8, 4, 2), &["4 channels per group", "2 groups", "2 each"]),
        ("usize::MAX groups", grouped(4, 8, 4, HUGE), &["4 channels", "8 outputs"]),
        ("usize::MAX groups of nothing", grouped(0, 0, 2, HUGE), &["2 channels per group", "0 each"]),
        ("2⁶³ groups of nothing", grouped(0, 0, 2, 1 << 63), &["2 channels per group", "0 each"]),
        ("image per channel", Conv::new(along(3, &[1, 5, 6, 4]), weights(&[8, 3, 3, 4])).build(), &["Axis(3)"]),
        (
            "weights per input",
            {
                let scales = Quantization::symmetric_axis(3, [0.1; 4]);
                let weights = Tensor::new([8, 3, 3, 4], vec![0i8; 288])?.quantized(scales)?;
                Conv::new(image(), weights).build()
            },
            &["Axis(3)", "axis 0"],
        ),
        ("dynamic with a scale", conv().dynamic_lhs().build(), &["scale of its own"]),
        (
            "dynamic to codes",
            Conv::new(TensorType::new(DType::Uint8, [1, 5, 6, 4])?, weights(&[8, 3, 3, 4]))
                .dynamic_lhs()
                .output(codes())
                .build(),
            &["real output"],
        ),
        ("kernel 0", build(&[1, 4, 4, 2], &[8, 0, 3, 2]), &["kernel", "[0, 3]"]),
        ("stride 0", conv().stride([1, 0]).build(), &["stride", "[1, 0]"]),
        ("dilation 0", conv().dilation([0, 0]).build(), &["dilation", "[0, 0]"]),
        ("one stride", conv().stride([2]).build(), &["stride has 1", "2 spatial"]),
        ("three dilations", conv().dilation([1; 3]).build(), &["dilation has 3", "2 spatial"]),
        ("one padding", explicit(&[1], &[1, 1]), &["1 and 2", "2 spatial"]),
        ("three paddings", explicit(&[1; 2], &[1; 3]), &["2 and 3", "2 spatial"]),
        ("no paddings", explicit(&[], &[]), &["0 and 0", "2 spatial"]),
        ("kernel over the image", build(&[1, 2, 4, 2], &[8, 3, 3, 2]), &["spans 3", "has 2"]),
        ("dilated kernel over the image", conv().dilation([1, 3]).build(), &["spans 7", "has 6"]),
        ("kernel over an empty image", build(&[1, 0, 4, 2], &[8, 1, 1, 2]), &["spans 1", "has 0"]),
        ("huge padding", explicit(&[HUGE; 2], &[HUGE; 2]), &[&HUGE.to_string(), "padding"]),
        ("2³⁰ of padding", explicit(&[1 << 30, 0], &[0, 0]), &["1073741824", "padding"]),
        ("paddings that make too much", explicit(&[1 << 28, 1 << 28], &[0, 0]), &[]),
        ("huge dilation", conv().dilation([HUGE, 1]).build(), &["3", &HUGE.to_string()]),
        ("2⁶³ dilation", conv().dilation([1 << 63, 1]).build(), &["3", &(1usize << 63).to_string()]),
        ("2²⁹ dilation", conv().dilation([1 << 29, 1]).build(), &["3", "536870912"]),
        ("bias of 4", conv().bias(Tensor::new([4], vec![0i32; 4])?).build(), &["[4]", "[1, 3, 4, 8]"]),
        ("bias of rows", conv().bias(Tensor::new([4, 1], vec![0i32; 4])?).build(), &["4 rows"]),
        ("bias of 6 dimensions", conv().bias(Tensor::new([1; 6], vec![0i32])?).build(), &["[1, 1, 1, 1, 1, 1]"]),
        ("f32 bias, codes", conv().bias(Tensor::new([8], vec![0.0f32; 8])?).output(codes()).build(), &["f32 bias"]),
        ("clamped to nothing", conv().output(Output::Real { low: 6.0, high: 0.0 }).build(), &["6..=0"]),
        ("multipliers", conv().output(codes().multipliers([Multiplier::float(0.5)?; 3])).build(), &["3 mult", "8"]),
    ]);
    let largest: [(&str, ConvBuilder, [usize; 4]); 3] = [
        ("huge stride", conv().stride([HUGE, HUGE]), [1, 1, 1, 8]),
        ("huge stride, same padding", conv().stride([HUGE, HUGE]).padding(Padding::SameUpper), [1, 1, 1, 8]),
        ("huge dilation of one tap", Conv::new(image(), weights(&[8, 1, 1, 4])).dilation([HUGE; 2]), [1, 5, 6, 8]),
    ];
    for (name, builder, dimensions) in largest {
        let op = Op::from(builder.build()?);
        assert_eq!(op.outputs()[0].dims(), dimensions, "{name}");
        reference::run(&op, &[&zeros(DType::Int8, &[1, 5, 6, 4])])?;
        if let Some(context) = context() {
            check_op(&context, name, &op, &[&zeros(DType::Int8, &[1, 5, 6, 4])]);
        }
    }
    Ok(())
}

#[test]
fn pools() -> Result<()> {
    let image = || int8(&[1, 5, 6, 4]);
    let average = |kernel: &[usize]| Pool::average(image(), kernel).build();
    let max = || Pool::max(image(), [2, 2]);
    let pads = |begin: &[usize], end: &[usize]| Padding::Explicit { begin: begin.to_vec(), end: end.to_vec() };
    let quarter = 1usize << 28;
    let wide = |kernel: [usize; 2]| Pool::average(int8(&[1, 300, 301, 1]), kernel);
    wide([300, 300]).arithmetic(Integer).build()?;
    wide([300, 301]).build()?;
    let bright = TensorType::new(DType::Int8, [1, 5, 6, 4])?.quantized(Quantization::tensor(3e36, 0))?;
    refused([
        ("rank 2", Pool::global_average(int8(&[4, 4])).build(), &["2 dim", "3 to 5"]),
        ("rank 0", Pool::global_average(int8(&[])).build(), &["0 dim", "3 to 5"]),
        ("rank 6", Pool::max(int8(&[1; 6]), [1; 4]).build(), &["6 dim", "3 to 5"]),
        ("no scale", Pool::average(TensorType::new(DType::Int8, [1, 4, 1])?, [1]).build(), &["no scale"]),
        ("scales per channel", Pool::average(along(3, &[1, 5, 6, 4]), [1, 1]).build(), &["Axis(3)"]),
        ("kernel of one", average(&[2]), &["1 sizes", "2 spatial"]),
        ("kernel of none", average(&[]), &["0 sizes", "2 spatial"]),
        ("kernel 0", average(&[2, 0]), &["kernel", "[2, 0]"]),
        ("kernel over the image", average(&[6, 2]), &["spans 6", "has 5"]),
        ("huge kernel", average(&[HUGE, HUGE]), &[&HUGE.to_string()]),
        (
            "a kernel whose taps overflow",
            Pool::max(int8(&[1, 1, 1, 1, 1]), [quarter; 3]).padding(pads(&[quarter / 2; 3], &[quarter / 2; 3])).build(),
            &["268435456"],
        ),
        ("empty image", Pool::global_average(int8(&[1, 0, 4, 2])).build(), &["kernel", "[0, 4]"]),
        ("stride 0", max().stride([0, 1]).build(), &["stride", "[0, 1]"]),
        ("dilation 0", max().dilation([0, 1]).build(), &["dilation", "[0, 1]"]),
        ("three strides", max().stride([1; 3]).build(), &["stride has 3", "2 spatial"]),
        ("huge dilation", max().dilation([HUGE; 2]).build(), &[&HUGE.to_string()]),
        ("huge padding", max().padding(pads(&[0, HUGE], &[HUGE, 0])).build(), &[&HUGE.to_string()]),
        ("one padding", max().padding(pads(&[1], &[1])).build(), &["1 and 1", "2 spatial"]),
        ("max with a scale", max().output(codes()).build(), &["max pool", "requantize"]),
        ("max that rounds", max().arithmetic(Qdq).build(), &["max pool", "QuantizedArithmetic"]),
        (
            "fixed point",
            Pool::average(image(), [2, 2]).output(codes().rounding(Rounding::FixedSingle)).arithmetic(Qdq).build(),
            &["Qdq", "FixedSingle", "Integer"],
        ),
        (
            "codes of another scale",
            Pool::average(image(), [2, 2])
                .output(Requantization::new(DType::Int8, 0.7, 0)?)
                .arithmetic(QuantizedArithmetic::Codes)
                .build(),
            &["mean of codes", "7e-1", "requantize"],
        ),
        (
            "multipliers of windows that differ",
            Pool::average(image(), [2, 2])
                .padding(Padding::SameUpper)
                .output(codes().rounding(Rounding::FixedDouble).multipliers([Multiplier::fixed(1 << 30, 0)?]))
                .build(),
            &["all count 4 taps"],
        ),
        ("many taps", wide([300, 300]).build(), &["90000 taps", "32768", "QuantizedArithmetic::Integer"]),
        ("sums beyond f32", Pool::average(bright, [2, 2]).build(), &["3e36", "8.3076745e34", "4 f32"]),
        (
            "multipliers",
            Pool::average(image(), [2, 2]).output(codes().multipliers([Multiplier::float(0.5)?])).build(),
            &["multipliers"],
        ),
        (
            "scales that overflow",
            Pool::average(image(), [2, 2]).output(Requantization::new(DType::Int8, f32::MAX, 0)?).build(),
            &["0e0"],
        ),
    ]);
    for round_up in [false, true] {
        let pool = max().stride([HUGE, HUGE]).padding(Padding::SameLower);
        let op = Op::from(if round_up { pool.round_up() } else { pool }.build()?);
        assert_eq!(reference::run(&op, &[&zeros(DType::Int8, &[1, 5, 6, 4])])?[0].dims(), [1, 1, 1, 4]);
    }
    Ok(())
}

#[test]
fn elementwise() -> Result<()> {
    let fixed = || codes().rounding(Rounding::FixedDouble);
    let plain = || TensorType::new(DType::Int8, [2, 3]);
    let scaled = |scale| TensorType::new(DType::Int8, [2, 3])?.quantized(Quantization::tensor(scale, 0));
    let small = || Requantization::new(DType::Int8, 1e-10, 0);
    Add::new(scaled(1e30)?, int8(&[3]), small()?).arithmetic(Qdq).build()?;
    refused([
        ("shapes", Add::new(int8(&[2, 3]), int8(&[2, 4]), codes()).build(), &["[2, 3]", "[2, 4]", "3 and 4"]),
        ("no scale", Add::new(plain()?, int8(&[3]), codes()).build(), &["lhs", "no scale"]),
        ("rhs per axis", Add::new(int8(&[3]), along(0, &[2, 3]), codes()).build(), &["rhs", "Axis(0)"]),
        ("fixed point", Add::new(int8(&[3]), int8(&[3]), fixed()).arithmetic(Qdq).build(), &["Qdq", "Integer"]),
        (
            "a mean",
            Add::new(int8(&[3]), int8(&[3]), codes()).arithmetic(QuantizedArithmetic::Codes).build(),
            &["Codes", "average pool"],
        ),
        ("a difference", Add::new(int8(&[3]), int8(&[3]), codes()).subtract().build(), &["fixed-point"]),
        ("large scales", Add::new(scaled(1e30)?, int8(&[3]), fixed()).build(), &["1e30", "2^19"]),
        (
            "multipliers",
            Add::new(int8(&[3]), int8(&[3]), codes().multipliers([Multiplier::float(1.0)?])).build(),
            &["no explicit multipliers"],
        ),
        ("huge scale", Add::new(scaled(3e38)?, int8(&[3]), codes()).build(), &["3e38", "3.32"]),
        (
            "huge ratio",
            Add::new(scaled(1e30)?, int8(&[3]), small()?).build(),
            &["lhs", "1e30", "1e-10", "QuantizedArithmetic::Qdq"],
        ),
        (
            "a sum of integers",
            Add::new(int8(&[3]), int8(&[3]), codes()).arithmetic(Integer).build(),
            &["Rounding::Onnx", "FixedDouble or FixedSingle"],
        ),
        ("a sum too large", Add::new(int8(&[1 << 16, 1]), int8(&[1 << 16]), codes()).build(), &["65536", "2147483647"]),
    ]);
    refused([
        ("shapes", Multiply::new(int8(&[2, 3]), int8(&[2, 4]), codes()).build(), &["[2, 3]", "[2, 4]", "3 and 4"]),
        ("no scale", Multiply::new(int8(&[3]), plain()?, codes()).build(), &["rhs", "no scale"]),
        ("lhs per axis", Multiply::new(along(0, &[2, 3]), int8(&[3]), codes()).build(), &["lhs", "Axis(0)"]),
        ("underflow", Multiply::new(scaled(1e-30)?, scaled(1e-30)?, codes()).build(), &["0e0"]),
        ("overflow", Multiply::new(scaled(1e30)?, scaled(1e30)?, codes()).build(), &["inf"]),
        ("fixed-point overflow", Multiply::new(scaled(1e30)?, scaled(1e30)?, fixed()).build(), &["2^30"]),
        (
            "fixed point",
            Multiply::new(int8(&[3]), int8(&[3]), fixed()).arithmetic(Qdq).build(),
            &["Qdq", "FixedDouble", "Integer"],
        ),
        (
            "fixed point",
            Multiply::new(int8(&[3]), int8(&[3]), fixed()).arithmetic(QOperator).build(),
            &["QOperator", "FixedDouble"],
        ),
        (
            "multipliers",
            Multiply::new(int8(&[3]), int8(&[3]), codes().multipliers([Multiplier::float(1.0)?]))
                .arithmetic(Qdq)
                .build(),
            &["Qdq", "multipliers", "QOperator or Integer"],
        ),
    ]);
    refused([
        ("underflow", Requantize::new(scaled(1e-30)?, Requantization::new(DType::Int8, 1e30, 0)?), &["0e0"]),
        (
            "multipliers",
            Requantize::new(along(1, &[2, 3]), codes().multipliers([Multiplier::float(1.0)?; 2])),
            &["2 mult", "3"],
        ),
    ]);
    refused([
        ("no scale", Table::sigmoid(plain()?, codes()), &["no scale"]),
        ("per axis", Table::leaky_relu(along(0, &[2, 3]), 0.1, codes()), &["Axis(0)"]),
        ("shapes", Table::from_bytes(int8(&[2, 3]), int8(&[3, 2]), [0; 256]), &["[2, 3]", "[3, 2]"]),
    ]);
    refused([
        ("no scale", QuantizedSoftmax::new(plain()?, codes()), &["no scale"]),
        ("per axis", QuantizedSoftmax::new(along(0, &[2, 3]), codes()), &["Axis(0)"]),
        ("scalar", QuantizedSoftmax::new(int8(&[]), codes()), &["scalar", "[1]"]),
        ("long", QuantizedSoftmax::new(int8(&[1, 200_000]), codes()), &["200000", "131072", "Dequantize"]),
        ("rounding", QuantizedSoftmax::new(int8(&[2, 3]), codes().rounding(Rounding::FixedDouble)), &["one rounding"]),
        (
            "reciprocal",
            QuantizedSoftmax::new(int8(&[2, 3]), Requantization::new(DType::Int8, 1e-39, 0)?),
            &["1e-39", "reciprocal", "larger"],
        ),
    ]);
    let pooled = |channels| Pool::global_average(int8(&[1, 4, 4, channels])).build();
    let layer = |image: TensorType, dims: [usize; 4], output: Requantization| {
        let weights = Tensor::new(dims, vec![1i8; dims.iter().product()])?.quantized(Quantization::tensor(1.0, 0))?;
        Conv::new(image, weights).output(output).build()
    };
    let pixel = |channels, outputs| layer(int8(&[1, 1, 1, channels]), [outputs, 1, 1, channels], codes());
    let narrow = pooled(3)?;
    refused([
        ("no layers", ChannelGate::new(narrow.clone(), vec![]), &["one or two", "0 were"]),
        ("three layers", ChannelGate::new(narrow.clone(), vec![pixel(3, 3)?; 3]), &["one or two", "3 were"]),
        (
            "maximum",
            ChannelGate::new(Pool::global_max(int8(&[1, 4, 4, 3])).build()?, vec![pixel(3, 2)?]),
            &["average", "global_average"],
        ),
        (
            "part of the image",
            ChannelGate::new(Pool::average(int8(&[1, 4, 4, 3]), [2, 2]).build()?, vec![pixel(3, 2)?]),
            &["whole image"],
        ),
        (
            "other channels",
            ChannelGate::new(narrow.clone(), vec![pixel(4, 2)?]),
            &["layer 0", "[1, 1, 1, 4]", "[1, 1, 1, 3]"],
        ),
        (
            "pixels",
            ChannelGate::new(narrow.clone(), vec![pixel(3, 2)?, layer(int8(&[1, 4, 4, 2]), [2, 1, 1, 2], codes())?]),
            &["layer 1", "[1, 4, 4, 2]"],
        ),
        (
            "roundings",
            ChannelGate::new(
                narrow.clone(),
                vec![layer(int8(&[1, 1, 1, 3]), [2, 1, 1, 3], codes().rounding(Rounding::FixedDouble))?],
            ),
            &["FixedDouble", "Onnx"],
        ),
        ("wide", ChannelGate::new(narrow, vec![pixel(3, 1025)?]), &["1024", "1025"]),
        ("a wide image", ChannelGate::new(pooled(1025)?, vec![pixel(1025, 2)?]), &["1024", "1025"]),
    ]);
    let joined = |shapes: &[&[usize]], axis| Concat::new(shapes.iter().map(|s| int8(s)).collect::<Vec<_>>(), axis);
    let concat = |shapes: &[&[usize]], axis| joined(shapes, axis).output(codes()).build();
    refused([
        ("nothing", concat(&[], 0), &["no tensors"]),
        ("axis 2", concat(&[&[2, 3]], 2), &["axis 2", "2 dim"]),
        ("axis usize::MAX", concat(&[&[2, 3]], HUGE), &["2 dim"]),
        ("scalars", concat(&[&[], &[]], 0), &["axis 0", "0 dim"]),
        ("other dimensions", concat(&[&[2, 3], &[3, 3]], 1), &["input 1", "[3, 3]", "[2, 3]", "axis 1"]),
        ("other ranks", concat(&[&[2, 3], &[2]], 1), &["input 1", "[2]", "[2, 3]"]),
        ("too much", concat(&[&[1 << 30], &[1 << 30]], 0), &["2147483648", "2147483647"]),
        ("no scale", Concat::new([plain()?], 0).output(codes()).build(), &["no scale"]),
        ("per axis", Concat::new([along(0, &[2, 3])], 0).output(codes()).build(), &["Axis(0)"]),
        ("codes and floats", Concat::new([int8(&[2]), TensorType::float32([2])?], 0).build(), &["float32[2]", "cast"]),
        ("scale and no scale", Concat::new([int8(&[2, 3]), plain()?], 0).build(), &["input 1", "no scale", "output"]),
        ("scales of the axis", Concat::new([along(0, &[2, 3])], 0).build(), &["Axis(0)", "axis 0", "dequantize"]),
        ("pairs", Concat::new([TensorType::new(DType::Parameters, [2])?], 0).build(), &["pairs"]),
    ]);
    let dynamic =
        DynamicQuantize::new(TensorType::float32([2, 3])?, DType::Int8, DynamicGranularity::Tensor).build()?;
    let found = Op::from(dynamic).outputs().remove(0);
    refused([("found scales", Concat::new([found.clone(), found], 0).build(), &["another tensor", "before"])]);
    refused([
        ("rank 9", TensorType::float32([1; 9]), &["9", "8"]),
        ("overflow", TensorType::float32([HUGE, 2]), &["2147483647"]),
    ]);
    Ok(())
}

#[test]
fn floats_that_are_no_numbers() -> Result<()> {
    let reals = [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, -0.0];
    let x = Tensor::new([7], reals)?;
    let uint8 = TensorType::new(DType::Uint8, [7])?.quantized(Quantization::tensor(0.1, 100))?;
    let out = reference::run(&Quantize::new(x.tensor_type().clone(), uint8).build()?.into(), &[&x])?;
    assert_eq!(out[0].values::<u8>()?, [0, 0, 255, 0, 255, 0, 100]);
    let int32 = TensorType::new(DType::Int32, [7])?.quantized(Quantization::tensor(0.1, 0))?;
    let out = reference::run(&Quantize::new(x.tensor_type().clone(), int32).build()?.into(), &[&x])?;
    assert_eq!(out[0].values::<i32>()?, [i32::MIN, i32::MIN, i32::MAX, i32::MIN, i32::MAX, i32::MIN, 0]);
    for format in [DType::Int8, DType::Uint8] {
        let (low, high) = format.range().expect("an integer format");
        let dynamic = |values: &[f32]| -> Result<(Vec<i32>, (f32, i32))> {
            let op = DynamicQuantize::new(TensorType::float32([values.len()])?, format, DynamicGranularity::Tensor)
                .build()?;
            let out = reference::run(&op.into(), &[&Tensor::new([values.len()], values)?])?;
            let QuantizationParams { scale, zero_point } = out[1].values()?[0];
            Ok((out[0].codes()?, (scale, zero_point)))
        };
        // NaN is left out of the range: 0 … 255 has scale 1.
        assert_eq!(dynamic(&[f32::NAN, 0.0, 255.0])?, (vec![low, low, high], (1.0, low)));
        assert_eq!(dynamic(&[f32::NAN; 2])?, (vec![low; 2], (1.0, low)));
        // Infinities count as the largest finite numbers and saturate.
        let (codes, (scale, zero_point)) = dynamic(&[f32::INFINITY, f32::MAX, 0.0])?;
        assert_eq!((codes, scale, zero_point), (vec![high, high, low], f32::MAX / 255.0, low));
        let (codes, (_, zero_point)) = dynamic(&[f32::NEG_INFINITY, 0.0])?;
        assert_eq!((codes, zero_point), (vec![low, high], high));
        let (codes, (scale, _)) = dynamic(&[f32::NEG_INFINITY, f32::INFINITY])?;
        assert!(scale.is_finite() && codes[0] == low && codes[1] > codes[0], "{codes:?} of scale {scale:e}");
    }
    Ok(())
}

#[test]
fn inputs_of_ops_and_graphs() -> Result<()> {
    let rhs = weights(&[3, 4]);
    let op = || -> Result<Op> { Ok(Matmul::new(int8(&[2, 3]), rhs.clone()).build()?.into()) };
    let (good, tall, wide) = (weights(&[2, 3]), weights(&[3, 2]), zeros(DType::Uint8, &[2, 3]));
    let run = |inputs: &[&Tensor]| reference::run(&op()?, inputs);
    refused([
        ("no input", run(&[]), &["matmul reads 1", "0 were given"]),
        ("two inputs", run(&[&good, &good]), &["matmul reads 1", "2 were given"]),
        ("another shape", run(&[&tall]), &["input 0", "int8[3, 2]", "int8[2, 3]"]),
        ("another format", run(&[&wide]), &["input 0", "uint8[2, 3]", "int8[2, 3]"]),
    ]);

    // Parameters that no dynamic quantization computes.
    let plain = TensorType::new(DType::Uint8, [2, 3])?;
    let dynamic: Op = Matmul::new(plain.clone(), rhs.clone()).dynamic_lhs(DynamicGranularity::Row).build()?.into();
    let image = TensorType::new(DType::Int8, [1, 2, 3, 4])?;
    let conv: Op = Conv::new(image.clone(), weights(&[1, 1, 1, 4])).dynamic_lhs().build()?.into();
    let codes_of = |tensor_type: &TensorType| zeros(tensor_type.dtype(), tensor_type.dims());
    for zero_point in [i32::MIN, -129, 256, i32::MAX] {
        let needle = zero_point.to_string();
        let rows = Tensor::new([2], vec![QuantizationParams::new(0.1, 0), QuantizationParams::new(0.1, zero_point)])?;
        let one = Tensor::new([1], vec![QuantizationParams::new(0.1, zero_point)])?;
        refused([
            ("matmul", reference::run(&dynamic, &[&codes_of(&plain), &rows]), &[&needle, "0..=255"]),
            ("conv", reference::run(&conv, &[&codes_of(&image), &one]), &[&needle, "-128..=127"]),
        ]);
    }

    let mut graph = Graph::new();
    let x = graph.input(int8(&[2, 3]));
    let y = graph.add(op()?, &[x])?;
    let unrelated = {
        let mut other = Graph::new();
        other.input(int8(&[2, 3]))
    };
    refused([
        ("no value", graph.add(op()?, &[]), &["matmul reads 1", "0 were given"]),
        ("two values", graph.add(op()?, &[x, x]), &["matmul reads 1", "2 were given"]),
        ("another type", graph.add(op()?, &[y]), &["int32[2, 4]", "int8[2, 3]"]),
        ("a value of another graph", graph.add(op()?, &[unrelated]), &["another graph"]),
        ("reshape of another graph's", graph.reshape(unrelated, [6]), &["another graph"]),
        ("reshape to another size", graph.reshape(y, [7]), &["int32[2, 4]", "int32[7]"]),
        ("reshape of packed rows", graph.reshape(x, [6]), &["int8[2, 3]", "int8[6]", "last dimension"]),
        ("reshape to an overflow", graph.reshape(y, [HUGE, HUGE]), &["2147483647"]),
    ]);
    refused([("a type of another graph", graph.tensor_type(unrelated), &["another graph"])]);
    assert_eq!(graph.ops().len(), 1, "a refused op is not added");

    graph.output(y);
    refused([
        ("no input", graph.run_reference(&[]), &["1 inputs", "0 were given"]),
        ("two inputs", graph.run_reference(&[&good, &good]), &["1 inputs", "2 were given"]),
        ("another shape", graph.run_reference(&[&tall]), &["input 0", "int8[3, 2]", "int8[2, 3]"]),
        ("another format", graph.run_reference(&[&wide]), &["input 0", "uint8[2, 3]", "int8[2, 3]"]),
    ]);
    graph.output(unrelated);
    refused([("an output of another graph", graph.run_reference(&[&good]), &["another graph"])]);
    if let Some(context) = context() {
        refused([("an output of another graph", context.plan(&graph, Tuner::FirstGuess), &["another graph"])]);
    }
    Ok(())
}

#[test]
fn device_tensors() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let storage = wgpu::BufferUsages::STORAGE;
    let buffer = |size, usage| {
        let descriptor = wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false };
        context.device().create_buffer(&descriptor)
    };
    let place = |size, usage, offset| DeviceTensor::from_buffer(int8(&[3, 17]), buffer(size, usage), offset);
    refused([
        ("no storage", place(96, wgpu::BufferUsages::COPY_SRC, 0), &["COPY_SRC", "STORAGE"]),
        ("too small", place(92, storage, 0), &["int8[3, 17]", "96 bytes", "has 92"]),
        ("too small from an offset", place(96 + 252, storage, 256), &["96 bytes", "offset 256", "has 348"]),
        ("misaligned", place(1024, storage, 48), &["48", "32", "256"]),
        ("offset after the end", place(96, storage, 1 << 40), &["offset 1099511627776", "has 96"]),
        ("offset that overflows", place(96, storage, u64::MAX - 255), &["18446744073709551360", "has 96"]),
    ]);
    let kept = place(96 + 256, storage, 256)?;
    assert_eq!((kept.offset(), kept.buffer().size()), (256, 352));
    refused([("no way back", context.download_blocking(&kept), &["STORAGE", "COPY_SRC"])]);

    // The finest offset that this device binds, and a finer one.
    let limits = context.device().limits();
    let alignment = u64::from(limits.min_storage_buffer_offset_alignment);
    let mut graph = Graph::new();
    let x = graph.input(int8(&[3, 17]));
    let sum = graph.add(Add::new(int8(&[3, 17]), int8(&[3, 17]), codes()).build()?, &[x, x])?;
    graph.output(sum);
    let plan = context.plan(&graph, Tuner::FirstGuess)?;
    let ways = storage | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
    let (x, y) = (place(96 + alignment, ways, alignment)?, place(96 + 3 * alignment, ways, 3 * alignment)?);
    let host = Tensor::new([3, 17], (-25..26).collect::<Vec<i8>>())?.quantized(Quantization::tensor(0.1, 0))?;
    let words: Vec<u8> = lowbit::pack::words(&host).iter().flat_map(|word| word.to_le_bytes()).collect();
    context.queue().write_buffer(x.buffer(), alignment, &words);
    let mut encoder = context.device().create_command_encoder(&Default::default());
    plan.record(&mut encoder, &plan.bind(&[&x], &[&y])?)?;
    context.queue().submit([encoder.finish()]);
    assert_eq!(context.download_blocking(&y)?, graph.run_reference(&[&host])?[0]);
    if alignment > 32 {
        let finer = place(96 + alignment, storage, alignment / 2)?;
        let texts = ["int8[3, 17]".to_string(), (alignment / 2).to_string(), alignment.to_string()];
        refused([("finer than the device's", plan.bind(&[&finer], &[&y]), &texts.each_ref().map(String::as_str))]);
    }

    let limit = limits.max_buffer_size;
    let rows = usize::try_from(limit / 16).expect("64-bit") + 1;
    let before = context.counters();
    let most = i32::MAX as usize;
    for tensor_type in [TensorType::new(DType::Int8, [rows.min(most), 1])?, TensorType::new(DType::Int8, [most, 1])?] {
        let needed = tensor_type.device_bytes();
        match DeviceTensor::allocate(&context, tensor_type.clone()) {
            Err(error @ Error::Limit { needed: n, limit: l, .. }) => {
                assert_eq!((n, l), (needed, limit));
                let message = error.to_string();
                assert!([needed, limit].iter().all(|n| message.contains(&n.to_string())), "{message}");
                assert!(message.contains(&tensor_type.to_string()), "{message}");
            }
            other => assert!(needed <= limit, "{tensor_type}: {other:?}"),
        }
    }
    // An intermediate over the limits is refused when the graph is planned.
    let mut graph = Graph::new();
    let x = graph.input(TensorType::new(DType::Float32, [1, 1])?);
    let wide = int8(&[1, 1]);
    let x = graph.add(Quantize::new(graph.tensor_type(x)?.clone(), wide.clone()).build()?, &[x])?;
    let tall = graph.add(Add::new(wide, int8(&[1, 1]), codes()).build()?, &[x, x])?;
    graph.output(tall);
    let big = graph.input(typed(DType::Int8, &[most, 1]));
    let sum = graph.add(Add::new(int8(&[most, 1]), int8(&[1, 1]), codes()).build()?, &[big, tall])?;
    let other = graph.input(typed(DType::Int8, &[most, 1]));
    let last = graph.add(Multiply::new(int8(&[most, 1]), int8(&[most, 1]), codes()).build()?, &[sum, other])?;
    graph.output(last);
    match context.plan(&graph, Tuner::FirstGuess) {
        Err(Error::Limit { needed, .. }) => assert_eq!(needed, (most as u64 * 16).next_multiple_of(256)),
        other => assert!(limit >= most as u64 * 16, "{other:?}"),
    }
    assert_eq!(context.counters().submissions, before.submissions);
    Ok(())
}

#[test]
fn plans() -> Result<()> {
    let Some(context) = context() else { return Ok(()) };
    let mut graph = Graph::new();
    let (a, b) = (graph.input(int8(&[2, 3])), graph.input(int8(&[2, 3])));
    let sum = graph.add(Add::new(int8(&[2, 3]), int8(&[2, 3]), codes()).build()?, &[a, b])?;
    graph.output(sum);
    let plan = context.plan(&graph, Tuner::FirstGuess)?;

    let host = Tensor::new([2, 3], vec![1i8, 2, 3, 4, 5, 6])?.quantized(Quantization::tensor(0.1, 0))?;
    let tall = weights(&[3, 2]);
    let unsigned = zeros(DType::Uint8, &[2, 3]);
    let before = context.counters();
    refused([
        ("no inputs", plan.run_blocking(&[]), &["2 inputs", "0 were given"]),
        ("one input", plan.run_blocking(&[&host]), &["2 inputs", "1 were given"]),
        ("three inputs", plan.run_blocking(&[&host; 3]), &["2 inputs", "3 were given"]),
        ("another shape", plan.run_blocking(&[&host, &tall]), &["input 1", "int8[3, 2]", "int8[2, 3]"]),
        ("another format", plan.run_blocking(&[&unsigned, &host]), &["input 0", "uint8[2, 3]", "int8[2, 3]"]),
    ]);
    assert_eq!(context.counters(), before, "a refused run does nothing");

    let (x, y) = (context.upload(&host)?, context.upload(&host)?);
    let (out, wrong) = (context.upload(&host)?, context.upload(&tall)?);
    let shared = DeviceTensor::from_buffer(x.tensor_type().clone(), x.buffer().clone(), 0)?;
    let before = context.counters();
    let mut encoder = context.device().create_command_encoder(&Default::default());
    let mut record = |inputs: &[&DeviceTensor], outputs: &[&DeviceTensor]| {
        plan.bind(inputs, outputs).and_then(|b| plan.record(&mut encoder, &b))
    };
    refused([
        ("one input", record(&[&x], &[&out]), &["2 inputs", "1 were given"]),
        ("no outputs", record(&[&x, &y], &[]), &["1 outputs", "0 were given"]),
        ("two outputs", record(&[&x, &y], &[&out, &wrong]), &["1 outputs", "2 were given"]),
        ("another output shape", record(&[&x, &y], &[&wrong]), &["output 0", "int8[3, 2]", "int8[2, 3]"]),
        ("another input shape", record(&[&wrong, &y], &[&out]), &["input 0", "int8[3, 2]", "int8[2, 3]"]),
        ("output in an input's buffer", record(&[&x, &y], &[&shared]), &["output 0", "overlaps"]),
        ("output as the input", record(&[&x, &x], &[&x]), &["output 0", "overlaps"]),
    ]);
    context.queue().submit([encoder.finish()]);
    assert_eq!(context.counters(), before, "a refused recording does nothing");
    assert_eq!(context.download_blocking(&out)?, host, "a refused recording does nothing");
    assert_eq!(plan.run_blocking(&[&host, &host])?[0].values::<i8>()?, [2, 4, 6, 8, 10, 12]);

    // Blocks longer than u32 contain everything.
    for size in [1 << 32, (1 << 32) + 1, HUGE] {
        let whole = Quantization::new(Granularity::Blocks { axis: 0, size }, vec![0.1, 0.2, 0.3], [0]);
        let blocked = host.clone().quantized(whole)?;
        check_op(&context, "huge blocks", &Dequantize::new(blocked.tensor_type().clone()).build()?.into(), &[&blocked]);
    }
    Ok(())
}

/// Random descriptors, most of them nonsense.
struct Garbage(Random);

impl Garbage {
    fn one_in(&mut self, cases: u64) -> bool {
        self.0.next().is_multiple_of(cases)
    }

    fn size(&mut self) -> usize {
        match self.0.next() % 64 {
            0 => self.0.pick(&[300, 5_000, i32::MAX as usize + 1, 1 << 32, HUGE / 2 + 1, HUGE]),
            1..5 => 0,
            _ => self.0.integer(1, 5) as usize,
        }
    }

    fn sizes(&mut self, rank: i64) -> Vec<usize> {
        let rank = if self.one_in(8) { self.0.integer(0, 9) } else { rank };
        (0..rank).map(|_| self.size()).collect()
    }

    fn scale(&mut self) -> f32 {
        match self.0.next() % 32 {
            0 => f32::from_bits(self.0.next() as u32),
            1 => self.0.pick(&[0.0, -1.0, f32::NAN, f32::INFINITY, f32::MAX, 1e-45]),
            _ => self.0.scale(),
        }
    }

    fn zero_point(&mut self) -> i32 {
        match self.0.next() % 16 {
            0 => self.0.next() as i32,
            1..4 => self.0.integer(-300, 300) as i32,
            _ => self.0.integer(0, 127) as i32,
        }
    }

    fn format(&mut self) -> DType {
        match self.0.next() % 8 {
            0 => self.0.pick(&FORMATS),
            _ => self.0.pick(&[DType::Int8, DType::Uint8]),
        }
    }

    fn granularity(&mut self) -> Granularity {
        let axis = if self.one_in(16) { HUGE } else { self.0.integer(0, 4) as usize };
        match self.0.next() % 4 {
            0 => Granularity::Axis(axis),
            1 => Granularity::Blocks { axis, size: self.size() },
            _ => Granularity::Tensor,
        }
    }

    fn quantization(&mut self, dims: &[usize]) -> Quantization {
        let granularity = self.granularity();
        let fitting = Shape::new(dims).and_then(|shape| granularity.parameters(&shape)).unwrap_or(1);
        let fitting = if fitting > 100_000 || self.one_in(16) { self.0.next() as usize % 5 } else { fitting };
        let zero_points = self.0.pick(&[fitting, 1, 0]);
        let scales: Vec<f32> = (0..fitting).map(|_| self.scale()).collect();
        Quantization::new(granularity, scales, (0..zero_points).map(|_| self.zero_point()).collect::<Vec<_>>())
    }

    fn tensor_type(&mut self, dims: &[usize]) -> Result<TensorType> {
        let plain = TensorType::new(self.format(), dims)?;
        if self.one_in(4) { Ok(plain) } else { plain.quantized(self.quantization(dims)) }
    }

    /// A tensor of this type with any bits; of another type if it would be large.
    fn tensor(&mut self, tensor_type: &TensorType) -> Result<Tensor> {
        let elements = tensor_type.shape().elements();
        if elements > 200_000 {
            return Tensor::new([1], vec![0i8]);
        }
        let words = tensor_type.device_bytes() as usize / 4;
        pack::tensor(tensor_type, &(0..words).map(|_| self.0.next() as u32).collect::<Vec<_>>())
    }

    fn stage(&mut self) -> Result<Requantization> {
        let mut stage = Requantization::new(self.format(), self.scale(), self.zero_point())?;
        stage = stage.rounding(self.0.pick(&[Rounding::Onnx, Rounding::FixedSingle, Rounding::FixedDouble]));
        if self.one_in(4) {
            stage = stage.clamp(self.zero_point(), self.zero_point())?;
        }
        if self.one_in(8) {
            let multiplier = match self.0.next() % 2 {
                0 => Multiplier::float(self.scale())?,
                _ => Multiplier::fixed(self.0.next() as i32 & i32::MAX, self.0.integer(-33, 32) as i32)?,
            };
            stage = stage.multipliers(vec![multiplier; self.0.integer(0, 5) as usize]);
        }
        Ok(match self.0.next() % 3 {
            0 => stage,
            1 => stage.relu(),
            _ => stage.relu6(),
        })
    }

    fn output(&mut self) -> Result<Output> {
        Ok(match self.0.next() % 5 {
            0 => Output::Accumulator,
            1 => Output::real(),
            2 => Output::Real { low: self.scale(), high: self.scale() },
            3 => Output::Float16 { low: self.scale(), high: self.scale() },
            _ => self.stage()?.into(),
        })
    }

    fn bias(&mut self) -> Result<Tensor> {
        let rank = self.0.integer(0, 2);
        let dtype = self.0.pick(&[DType::Int32, DType::Int32, DType::Float32, DType::Int8]);
        let bias = TensorType::new(dtype, self.sizes(rank))?;
        self.tensor(&bias)
    }

    fn padding(&mut self, rank: i64) -> Padding {
        match self.0.next() % 4 {
            0 => Padding::Explicit { begin: self.sizes(rank), end: self.sizes(rank) },
            1 => Padding::SameUpper,
            2 => Padding::SameLower,
            _ => Padding::None,
        }
    }

    fn matmul(&mut self) -> Result<Op> {
        let rank = self.0.integer(2, 4);
        let lhs = self.sizes(rank);
        let mut rhs = self.sizes(2);
        if let (Some(k), Some(rhs_k)) = (lhs.last(), rhs.first_mut()) {
            *rhs_k = if self.one_in(8) { self.0.integer(0, 9) as usize } else { *k };
        }
        let transposed = self.one_in(4);
        if transposed {
            rhs.reverse();
        }
        let (lhs, rhs) = (self.tensor_type(&lhs)?, self.tensor_type(&rhs)?);
        let rhs: Operand = if self.one_in(2) { rhs.into() } else { self.tensor(&rhs)?.into() };
        let mut matmul = Matmul::new(lhs, rhs).output(self.output()?);
        if transposed {
            matmul = matmul.transposed();
        }
        if self.one_in(4) {
            matmul = matmul.dynamic_lhs(self.0.pick(&[DynamicGranularity::Tensor, DynamicGranularity::Row]));
        }
        if self.one_in(4) {
            matmul = matmul.bias(self.bias()?);
        }
        Ok(matmul.build()?.into())
    }

    fn conv(&mut self) -> Result<Op> {
        let rank = self.0.integer(1, 3);
        let (groups, per_group) = (self.0.integer(1, 3) as usize, self.0.integer(0, 3) as usize);
        let outputs = groups * self.0.integer(0, 3) as usize;
        let image = [&self.sizes(1)[..], &self.sizes(rank), &[groups * per_group]].concat();
        let kernel = [&[outputs][..], &self.sizes(rank), &[per_group]].concat();
        let (image, kernel) = (self.tensor_type(&image)?, self.tensor_type(&kernel)?);
        let mut conv = Conv::new(image, self.tensor(&kernel)?).groups(groups).output(self.output()?);
        conv = conv.padding(self.padding(rank));
        if self.one_in(4) {
            conv = conv.stride(self.sizes(rank));
        }
        if self.one_in(4) {
            conv = conv.dilation(self.sizes(rank));
        }
        if self.one_in(8) {
            conv = conv.groups(self.size());
        }
        if self.one_in(4) {
            conv = conv.dynamic_lhs();
        }
        if self.one_in(4) {
            conv = conv.bias(self.bias()?);
        }
        Ok(conv.build()?.into())
    }

    fn pool(&mut self) -> Result<Op> {
        let rank = self.0.integer(1, 3);
        let sizes = self.sizes(rank + 2);
        let (image, kernel) = (self.tensor_type(&sizes)?, self.sizes(rank));
        let mut pool = match self.0.next() % 3 {
            0 => Pool::global_average(image),
            1 => Pool::max(image, kernel),
            _ => Pool::average(image, kernel),
        };
        pool = pool.padding(self.padding(rank));
        if self.one_in(4) {
            pool = pool.stride(self.sizes(rank)).dilation(self.sizes(rank)).round_up();
        }
        if self.one_in(4) {
            pool = pool.count_padding().output(self.stage()?);
        }
        Ok(pool.build()?.into())
    }

    fn op(&mut self) -> Result<Op> {
        let dims = self.sizes(3);
        Ok(match self.0.next() % 11 {
            0 => self.matmul()?,
            1 => self.conv()?,
            2 => self.pool()?,
            3 => Requantize::new(self.tensor_type(&dims)?, self.stage()?)?.into(),
            4 => Quantize::new(TensorType::float32(dims.clone())?, self.tensor_type(&dims)?).build()?.into(),
            5 => Dequantize::new(self.tensor_type(&dims)?).build()?.into(),
            6 => {
                let granularity = self.0.pick(&[DynamicGranularity::Tensor, DynamicGranularity::Row]);
                DynamicQuantize::new(TensorType::float32(dims)?, self.format(), granularity).build()?.into()
            }
            7 | 8 => {
                let other = if self.one_in(2) { dims.clone() } else { self.sizes(2) };
                let (lhs, rhs) = (self.tensor_type(&dims)?, self.tensor_type(&other)?);
                match self.0.next() % 2 {
                    0 => Add::new(lhs, rhs, self.stage()?).build()?.into(),
                    _ => Multiply::new(lhs, rhs, self.stage()?).build()?.into(),
                }
            }
            9 => match self.0.next() % 2 {
                0 => Table::leaky_relu(self.tensor_type(&dims)?, self.scale(), self.stage()?)?.into(),
                _ => Table::from_bytes(self.tensor_type(&dims)?, self.tensor_type(&dims)?, [7; 256])?.into(),
            },
            _ => {
                let axis = self.0.integer(0, 3) as usize;
                let mut inputs = Vec::new();
                for _ in 0..self.0.integer(0, 3) {
                    let mut input = dims.clone();
                    if let Some(extent) = input.get_mut(axis) {
                        *extent = self.size();
                    }
                    inputs.push(self.tensor_type(&input)?);
                }
                let concat = Concat::new(inputs, axis);
                if self.0.next().is_multiple_of(2) { concat.output(self.stage()?) } else { concat }.build()?.into()
            }
        })
    }
}

#[test]
fn garbage_is_refused_without_panic() {
    let (mut built, mut ran) = (0, 0);
    for seed in 0..100_000 {
        let mut garbage = Garbage(Random::new(seed));
        let mut attempt = || -> Result<()> {
            let op = garbage.op()?;
            built += 1;
            let types = || op.inputs().into_iter().chain(op.outputs());
            let work: usize = types().map(|t| t.shape().elements()).sum();
            if work < 2_000 {
                let inputs: Vec<Tensor> = op.inputs().iter().map(|t| garbage.tensor(t)).collect::<Result<_>>()?;
                let outputs = reference::run(&op, &inputs.iter().collect::<Vec<_>>())?;
                assert!(outputs.iter().map(Tensor::tensor_type).eq(&op.outputs()), "{op:?}");
                ran += 1;
            }
            Ok(())
        };
        match catch_unwind(AssertUnwindSafe(&mut attempt)) {
            Ok(Ok(()) | Err(Error::Request(_))) => {}
            Ok(Err(error)) => panic!("seed {seed}: expected an Error::Request, got {error:?}"),
            Err(_) => panic!("seed {seed} panicked: see above"),
        }
    }
    println!("{built} of 100000 random descriptors were legal, {ran} ran");
    assert!(built > 1_000 && ran > 1_000, "{built} built, {ran} ran: nearly all descriptors are refused");
}
