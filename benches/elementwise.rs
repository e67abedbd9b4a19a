//! Times every candidate of every memory-bound op on 1 Mi elements. The throughput counts each byte read or written once.
//! Run one op: `cargo bench --bench elementwise -- requantize`. Matmul and conv have files of their own.

#[path = "../tests/common/mod.rs"]
mod common;
mod measure;

use common::Random;
use criterion::{Criterion, Throughput};
use lowbit::numeric::{BlockFormat, BlockRounding};
use lowbit::ops::QuantizedArithmetic::{Integer, Qdq};
use lowbit::ops::{
    Add, Bins, BlockDequantize, BlockQuantize, Cast, Concat, Dequantize, DynamicGranularity, DynamicQuantize, Multiply,
    ObserveHistogram, ObserveRange, Op, Pool, Quantize, RangeUpdate, Requantization, Requantize, Table, TopK,
};
use lowbit::{Context, DType, Granularity, Quantization, Result, Tensor, TensorType, reference};

fn elementwise(criterion: &mut Criterion, context: &Context) -> Result<()> {
    let mut random = Random::new(3);
    let matrix = [1024, 1024];
    let reals = Tensor::new(matrix, (0..1 << 20).map(|_| random.real()).collect::<Vec<_>>())?;
    let (a, b) = (random.quantized(DType::Int8, &matrix), random.quantized(DType::Uint8, &matrix));
    let halves = [512, 512].map(|columns| random.quantized(DType::Int8, &[1024, columns]));
    let image = random.quantized(DType::Uint8, &[1, 64, 64, 256]);
    let scales: Vec<f32> = (0..1024).map(|_| random.scale()).collect();
    let sums = (0..1 << 20).map(|_| random.integer(-100_000, 100_000) as i32).collect::<Vec<_>>();
    let sums = Tensor::new(matrix, sums)?.quantized(Quantization::symmetric_axis(1, scales))?;

    let codes = TensorType::new(DType::Int8, matrix)?.quantized(Quantization::tensor(0.02, 3))?;
    let stage = |scale| Requantization::new(DType::Int8, scale, 3);
    let dynamic = |granularity| DynamicQuantize::new(TensorType::float32(matrix)?, DType::Uint8, granularity).build();
    let of = |tensor: &Tensor| tensor.tensor_type().clone();
    let (add, multiply) =
        (Add::new(of(&a), of(&b), stage(0.1)?).build()?, Multiply::new(of(&a), of(&b), stage(0.5)?).build()?);
    let average = || Pool::average(of(&image), [3, 3]);
    let range = |granularity| ObserveRange::new(TensorType::float32(matrix)?, granularity, RangeUpdate::MinMax);
    let histogram = ObserveHistogram::new(TensorType::float32(matrix)?, Granularity::Tensor, Bins::new(2048)?)?;
    let empty = |of: &TensorType| Tensor::new(of.dims(), vec![0i32; of.shape().elements()]);
    let states = [
        empty(range(Granularity::Tensor)?.state())?,
        empty(range(Granularity::Axis(1))?.state())?,
        empty(histogram.state())?,
    ];
    let plain = reals.tensor_type().clone();
    let small = TensorType::new(DType::Float8E4M3Fn, matrix)?.quantized(Quantization::tensor(0.02, 0))?;
    let e4m3 = reference::run(&Quantize::new(reals.tensor_type().clone(), small.clone()).build()?.into(), &[&reals])?
        .remove(0);
    let mx = BlockFormat::mx(DType::Float4E2M1, BlockRounding::Floor)?;
    let blocks = reference::run(&BlockQuantize::new(plain.clone(), mx)?.into(), &[&reals])?;
    // The vocabulary of a large language model.
    let logits = Tensor::new([1, 151_936], (0..151_936).map(|_| random.real()).collect::<Vec<_>>())?;
    let top = |k| TopK::new(of(&logits), k).build();
    let cases: [(&str, Op, &[&Tensor]); 29] = [
        ("quantize", Quantize::new(reals.tensor_type().clone(), codes.clone()).build()?.into(), &[&reals]),
        ("dequantize", Dequantize::new(of(&a)).build()?.into(), &[&a]),
        ("quantize to e4m3", Quantize::new(reals.tensor_type().clone(), small).build()?.into(), &[&reals]),
        ("dequantize e4m3", Dequantize::new(of(&e4m3)).build()?.into(), &[&e4m3]),
        ("cast to e4m3", Cast::new(plain.clone(), DType::Float8E4M3Fn).build()?.into(), &[&reals]),
        (
            "cast from e4m3",
            Cast::new(TensorType::new(DType::Float8E4M3Fn, matrix)?, DType::Float32).build()?.into(),
            &[&e4m3],
        ),
        ("quantize to mxfp4", BlockQuantize::new(plain, mx)?.into(), &[&reals]),
        (
            "dequantize mxfp4",
            BlockDequantize::new(TensorType::new(mx.element(), matrix)?, mx).build()?.into(),
            &[&blocks[0], &blocks[1]],
        ),
        ("requantize accumulators", Requantize::new(of(&sums), stage(20.0)?)?.into(), &[&sums]),
        ("requantize codes", Requantize::new(of(&a), stage(0.1)?)?.into(), &[&a]),
        ("dynamic quantize per tensor", dynamic(DynamicGranularity::Tensor)?.into(), &[&reals]),
        ("dynamic quantize per row", dynamic(DynamicGranularity::Row)?.into(), &[&reals]),
        ("observe range per tensor", range(Granularity::Tensor)?.into(), &[&reals, &states[0]]),
        ("observe range per column", range(Granularity::Axis(1))?.into(), &[&reals, &states[1]]),
        ("observe histogram", histogram.into(), &[&reals, &states[2]]),
        ("add", add.into(), &[&a, &b]),
        ("add, Qdq", Add::new(of(&a), of(&b), stage(0.1)?).arithmetic(Qdq).build()?.into(), &[&a, &b]),
        ("multiply", multiply.into(), &[&a, &b]),
        (
            "multiply, Integer",
            Multiply::new(of(&a), of(&b), stage(0.5)?).arithmetic(Integer).build()?.into(),
            &[&a, &b],
        ),
        ("average pool 3x3", average().build()?.into(), &[&image]),
        ("average pool 3x3, Integer", average().arithmetic(Integer).build()?.into(), &[&image]),
        ("max pool 2x2", Pool::max(of(&image), [2, 2]).stride([2, 2]).build()?.into(), &[&image]),
        ("global average pool", Pool::global_average(of(&image)).build()?.into(), &[&image]),
        ("table", Table::sigmoid(of(&a), Requantization::new(DType::Uint8, 1.0 / 256.0, 0)?)?.into(), &[&a]),
        (
            "concat",
            Concat::new(halves.iter().map(of).collect::<Vec<_>>(), 1).output(stage(0.1)?).build()?.into(),
            &[&halves[0], &halves[1]],
        ),
        ("concat of floats", Concat::new([of(&reals), of(&reals)], 1).build()?.into(), &[&reals, &reals]),
        ("top 1 of 151,936", top(1)?.into(), &[&logits]),
        ("top 40 of 151,936", top(40)?.into(), &[&logits]),
        ("top 20,000 of 151,936", top(20_000)?.into(), &[&logits]),
    ];
    for (name, op, inputs) in cases {
        let bytes: u64 = op.inputs().iter().chain(&op.outputs()).map(TensorType::device_bytes).sum();
        let difference = |outputs: &[Tensor]| measure::difference_from_reference(&op, inputs, outputs);
        measure::every_candidate(criterion, context, name, Throughput::Bytes(bytes), (&op, inputs), difference);
    }
    Ok(())
}

fn main() {
    measure::run(elementwise);
}
