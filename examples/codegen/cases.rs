//! The ops whose kernels are compiled: products of n = k = 4,096, and convolutions.

use std::sync::Arc;

use lowbit::ops::{
    Conv, DynamicGranularity, FloatMatmul, Linear, Matmul, Op, Output, Padding, Quantize, Requantization, Requantize,
};
use lowbit::weights::{Codes, GroupParams, PackedWeights, ScaleFormat, WeightFormat};
use lowbit::{DType, Quantization, Tensor, TensorType};

use crate::device::Result;

/// Rows and columns of weights.
const SIDE: usize = 4096;

/// The work of a case, for the model of its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Work {
    pub rows: usize,
    pub columns: usize,
    pub k: usize,
    /// Bits of a weight, and of an element of lhs.
    pub bits: [usize; 2],
    /// Codes along k of one turn of the loop.
    pub step: usize,
    /// Turns after which scales are applied, in a loop around that one; 0 if there is none.
    pub turns: u32,
}

pub(crate) struct Case {
    pub name: String,
    pub op: Op,
    /// `None` without products: the case is not modelled.
    pub work: Option<Work>,
}

/// Weights in groups. Scales and codes change nothing of the machine code.
fn grouped(codes: Codes, group: usize) -> Result<Arc<PackedWeights>> {
    let format = WeightFormat::new(codes, group, ScaleFormat::F16);
    Ok(Arc::new(PackedWeights::build(format, [1, SIDE, SIDE], |row, codes, groups, _| {
        codes.iter_mut().enumerate().for_each(|(l, code)| *code = ((l + row) % 13) as i8 - 6);
        groups.fill(GroupParams::scale(0.5));
        Ok(())
    })?))
}

fn matmuls(cases: &mut Vec<Case>) -> Result<()> {
    for (name, dtype) in [("int8", DType::Int8), ("int4", DType::Int4)] {
        let weights =
            Tensor::from_packed(TensorType::new(dtype, [SIDE, SIDE])?, &vec![0x33; SIDE * SIDE * dtype.bits() / 8])?;
        let weights = weights.quantized(Quantization::symmetric_axis(1, vec![0.01; SIDE]))?;
        for m in [1, 2, 4, 8, 16, 32, 128, 512] {
            let lhs = TensorType::new(DType::Int8, [m, SIDE])?.quantized(Quantization::tensor(0.02, 0))?;
            let work = Work { rows: m, columns: SIDE, k: SIDE, bits: [dtype.bits(), 8], step: 16, turns: 0 };
            let op = Matmul::new(lhs.clone(), weights.clone()).build()?.into();
            cases.push(Case { name: format!("{name} matmul m={m}"), op, work: Some(work) });
            if m == 128 {
                let codes: Output = Requantization::new(DType::Int8, 2.0, -3)?.into();
                let op = Matmul::new(lhs, weights.clone()).output(codes).build()?.into();
                cases.push(Case { name: format!("{name} matmul m={m} to codes"), op, work: Some(work) });
            }
        }
    }
    let weights = Tensor::new([SIDE, SIDE], vec![0.5f32; SIDE * SIDE])?;
    for m in [1, 8, 128, 512] {
        let op = FloatMatmul::new(TensorType::float32([m, SIDE])?, weights.clone()).build()?.into();
        let work = Work { rows: m, columns: SIDE, k: SIDE, bits: [32, 32], step: 4, turns: 0 };
        cases.push(Case { name: format!("f32 matmul m={m}"), op, work: Some(work) });
    }
    Ok(())
}

fn linears(cases: &mut Vec<Case>) -> Result<()> {
    for (group, weights, codes) in [(32, "w4", Codes::INT4), (32, "w8", Codes::INT8), (128, "w4", Codes::INT4)] {
        let packed = grouped(codes, group)?;
        // `a8s` has no zero point, as most libraries' codes of activations.
        for (lhs, dtype) in
            [("a8", DType::Int8), ("a8s", DType::Int8), ("a16", DType::Float16), ("a32", DType::Float32)]
        {
            let rows: &[usize] = if group == 32 { &[1, 2, 4, 8, 16, 128, 512] } else { &[1, 128] };
            for &m in rows {
                let lhs_type = TensorType::new(dtype, [m, SIDE])?;
                let lhs_type = if lhs == "a8s" { lhs_type.quantized(Quantization::tensor(0.02, 0))? } else { lhs_type };
                let linear = Linear::new(lhs_type, packed.clone());
                let op = match dtype {
                    DType::Int8 if lhs == "a8s" => linear.build()?,
                    DType::Int8 => linear.dynamic_lhs(DynamicGranularity::Row).build()?,
                    DType::Float16 => linear.output(DType::Float16).build()?,
                    _ => linear.build()?,
                };
                let bits = [codes.bits(), dtype.bits()];
                let work = Work { rows: m, columns: SIDE, k: SIDE, bits, step: 32, turns: group as u32 / 32 };
                cases.push(Case { name: format!("{weights}{lhs} g{group} m={m}"), op: op.into(), work: Some(work) });
            }
        }
    }
    Ok(())
}

/// A convolution of a square image with its number of channels, outputs, taps of a side and groups.
fn conv(name: &str, [side, channels, outputs, taps, groups]: [usize; 5], step: usize) -> Result<Case> {
    let image = TensorType::new(DType::Int8, [1, side, side, channels])?.quantized(Quantization::tensor(0.03, 5))?;
    let dims = [outputs, taps, taps, channels / groups];
    let weights = Tensor::new(dims, vec![3i8; dims.iter().product()])?.quantized(Quantization::tensor(0.02, 0))?;
    let codes = Requantization::new(DType::Int8, 1.0, -3)?;
    let op = Conv::new(image, weights).stride([1; 2]).groups(groups).padding(Padding::SameUpper).output(codes);
    let k = taps * taps * channels / groups;
    let work = Work { rows: side * side, columns: outputs, k, bits: [8, 8], step, turns: 0 };
    Ok(Case { name: name.to_string(), op: op.build()?.into(), work: (groups == 1).then_some(work) })
}

pub(crate) fn cases() -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    matmuls(&mut cases)?;
    linears(&mut cases)?;
    cases.push(conv("conv 3x3 64-64 56", [56, 64, 64, 3, 1], 16)?);
    cases.push(conv("conv 1x1 256-64 56", [56, 256, 64, 1, 1], 16)?);
    cases.push(conv("conv 3x3 256-256 14", [14, 256, 256, 3, 1], 16)?);
    cases.push(conv("conv 1x1 512-2048 7", [7, 512, 2048, 1, 1], 16)?);
    cases.push(conv("conv dw3x3 32 112", [112, 32, 32, 3, 32], 16)?);
    let codes = TensorType::new(DType::Int8, [SIDE, SIDE])?.quantized(Quantization::tensor(0.02, 3))?;
    let quantize = Quantize::new(TensorType::float32([SIDE, SIDE])?, codes).build()?;
    cases.push(Case { name: "quantize f32 to int8".to_string(), op: quantize.into(), work: None });
    let sums = TensorType::new(DType::Int32, [SIDE, SIDE])?.quantized(Quantization::tensor(0.0004, 0))?;
    let requantize = Requantize::new(sums, Requantization::new(DType::Int8, 0.05, 3)?)?;
    cases.push(Case { name: "requantize i32 to int8".to_string(), op: requantize.into(), work: None });
    Ok(cases)
}
