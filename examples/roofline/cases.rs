//! The timed ops with their inputs, and the check of their results. The timing is in `main`.

use lowbit::ops::{
    Add, Cast, Concat, Conv, Dequantize, DynamicGranularity, DynamicQuantize, Embedding, FloatMatmul, Linear, Matmul,
    Multiply, Op, Pool, Quantize, Requantization, Requantize, Table,
};
use lowbit::weights::{Codes, GroupParams, PackedWeights, ScaleFormat, WeightFormat};
use lowbit::{DType, Element, Quantization, Result, Tensor, TensorType, half::f16, numeric::I4, reference};

/// An op and its inputs.
pub(crate) struct Case {
    pub name: &'static str,
    pub dtype: String,
    /// m, n and k of a product; otherwise the number of elements, 0 and 0.
    pub sizes: [usize; 3],
    pub op: Op,
    pub inputs: Vec<Tensor>,
    /// The op over a few of the rows, with their numbers. It checks ops that take long on the reference.
    few: Option<(Op, Vec<Tensor>, Vec<usize>)>,
}

/// Products: op and type of the operands.
pub(crate) const PRODUCTS: [(&str, &str); 15] = [
    ("matmul", "i8"),
    ("matmul", "i4"),
    ("matmul", "f32"),
    ("matmul", "f16"),
    ("matmul", "w4a32"),
    ("matmul", "w8a32"),
    ("matmul", "w4a16"),
    ("matmul", "w8a16"),
    ("matmul", "w4a8"),
    ("matmul", "w8a8"),
    ("matmul", "nf4a32"),
    ("matmul", "iq4a32"),
    ("matmul", "iq4a8"),
    ("matmul", "iq2a32"),
    ("matmul", "iq2a8"),
];

/// The table of GGUF's IQ2 types.
const IQ2: [f32; 8] = [1.0, 3.125, 5.375, 0.0, -1.0, -3.125, -5.375, 0.0];

/// All other ops.
pub(crate) const OTHERS: [&str; 14] = [
    "conv",
    "depthwise",
    "quantize",
    "dequantize",
    "dynamic_quantize",
    "requantize",
    "add",
    "multiply",
    "max_pool",
    "average_pool",
    "table",
    "cast",
    "concat",
    "embedding",
];

/// Pseudorandom number of a row and a column.
fn noise(row: usize, column: usize) -> u32 {
    let mut x = (row as u32).wrapping_mul(0x9e37_79b9) ^ (column as u32).wrapping_mul(0x85eb_ca6b) ^ 0x2545_f491;
    for shift in [15, 13, 16] {
        x = (x ^ (x >> shift)).wrapping_mul(0x2c1b_3c6d);
    }
    x
}

fn code(row: usize, column: usize) -> i8 {
    (noise(row, column) >> 24) as i8
}

/// Number around 0, exact in f16.
fn real(row: usize, column: usize) -> f32 {
    f32::from(code(row, column)) / 64.0
}

/// Matrix of the given rows; an element is a function of its row and column.
fn rows<T: Element>(rows: &[usize], columns: usize, element: impl Fn(usize, usize) -> T) -> Result<Tensor> {
    let elements = rows.iter().flat_map(|&row| (0..columns).map(move |column| (row, column)));
    Tensor::new([rows.len(), columns], elements.map(|(row, column)| element(row, column)).collect::<Vec<_>>())
}

fn codes(dims: &[usize]) -> Result<Tensor> {
    let count = dims.iter().product();
    Tensor::new(dims, (0..count).map(|i| code(7, i)).collect::<Vec<_>>())?.quantized(Quantization::tensor(0.5, 3))
}

/// Weights with a scale for each 32 codes along k.
fn grouped(codes: Codes, n: usize, k: usize) -> Result<PackedWeights> {
    let (shift, is_table) = (8 - codes.bits() as u32, codes.table().is_some());
    PackedWeights::build(WeightFormat::new(codes, 32, ScaleFormat::F16), [1, n, k], |row, codes, groups, _| {
        for (l, of) in codes.iter_mut().enumerate() {
            // Places of a table begin at 0.
            let code = code(row + 1, l);
            *of = if is_table { (code as u8 >> shift) as i8 } else { code >> shift };
        }
        groups
            .iter_mut()
            .enumerate()
            .for_each(|(g, of)| *of = GroupParams::scale(f32::from(1 + (row + g) as u8 % 7) / 256.0));
        Ok(())
    })
}

/// A product with m rows.
pub(crate) fn product(dtype: &str, [m, n, k]: [usize; 3]) -> Result<Option<Case>> {
    let all: Vec<usize> = (0..m).collect();
    let mut few = vec![0, m / 2, m.saturating_sub(1)];
    few.dedup();
    let float = |halves: bool, of: &[usize]| -> Result<Tensor> {
        if halves { rows(of, k, |r, l| f16::from_f32(real(r, l))) } else { rows(of, k, real) }
    };
    type Build<'a> = Box<dyn Fn(&[usize]) -> Result<(Op, Vec<Tensor>)> + 'a>;
    let linear = |bits: Codes, activations: &'static str| -> Result<Build<'_>> {
        let weights = std::sync::Arc::new(grouped(bits, n, k)?);
        Ok(Box::new(move |of| {
            let lhs = match activations {
                "a8" => rows(of, k, code)?.quantized(Quantization::tensor(0.01, 0))?,
                activations => float(activations == "a16", of)?,
            };
            Ok((Linear::new(lhs.tensor_type().clone(), weights.clone()).build()?.into(), vec![lhs]))
        }))
    };
    let build: Build<'_> = match dtype {
        "i8" | "i4" => {
            let all: Vec<usize> = (0..n).collect();
            let weights = match dtype {
                "i8" => rows(&all, k, |r, l| code(r + 1, l))?,
                _ => rows(&all, k, |r, l| I4::new(code(r + 1, l) >> 4).expect("four bits"))?,
            };
            let weights = std::sync::Arc::new(weights);
            Box::new(move |of| {
                let lhs = rows(of, k, code)?;
                let op = Matmul::new(lhs.tensor_type().clone(), weights.clone()).transposed().build()?;
                Ok((op.into(), vec![lhs]))
            })
        }
        "f32" | "f16" => {
            let weights = std::sync::Arc::new(rows(&(0..n).collect::<Vec<_>>(), k, |r, l| real(r + 1, l))?);
            Box::new(move |of| {
                let lhs = float(dtype == "f16", of)?;
                let op = FloatMatmul::new(lhs.tensor_type().clone(), weights.clone()).transposed_rhs().build()?;
                Ok((op.into(), vec![lhs]))
            })
        }
        "w4a32" => linear(Codes::INT4, "a32")?,
        "w8a32" => linear(Codes::INT8, "a32")?,
        "w4a16" => linear(Codes::INT4, "a16")?,
        "w8a16" => linear(Codes::INT8, "a16")?,
        "w4a8" => linear(Codes::INT4, "a8")?,
        "w8a8" => linear(Codes::INT8, "a8")?,
        "nf4a32" => linear(Codes::NF4, "a32")?,
        "iq4a32" => linear(Codes::IQ4_NL, "a32")?,
        "iq4a8" => linear(Codes::IQ4_NL, "a8")?,
        "iq2a32" => linear(Codes::of_numbers(&IQ2)?, "a32")?,
        "iq2a8" => linear(Codes::of_numbers(&IQ2)?, "a8")?,
        _ => return Ok(None),
    };
    let (op, inputs) = build(&all)?;
    let (few_op, few_inputs) = build(&few)?;
    let few = Some((few_op, few_inputs, few));
    Ok(Some(Case { name: "matmul", dtype: dtype.into(), sizes: [m, n, k], op, inputs, few }))
}

/// Any other op at its default shape.
pub(crate) fn other(name: &str) -> Result<Option<Case>> {
    let Some(name) = OTHERS.into_iter().find(|other| *other == name) else { return Ok(None) };
    let shape = [1, 32, 32, 64];
    let image = || codes(&shape);
    let stage = || Requantization::new(DType::Int8, 1.5, -2);
    let image_type = || -> Result<TensorType> { Ok(image()?.tensor_type().clone()) };
    let floats = || -> Result<Tensor> {
        Tensor::new(shape, (0..shape.iter().product()).map(|i| real(3, i)).collect::<Vec<f32>>())
    };
    let filter = |dims: [usize; 4]| -> Result<Tensor> {
        let count = dims.iter().product();
        Tensor::new(dims, (0..count).map(|i| code(5, i)).collect::<Vec<_>>())?.quantized(Quantization::tensor(0.01, 0))
    };
    let (op, inputs): (Op, Vec<Tensor>) = match name {
        "conv" => (Conv::new(image_type()?, filter([64, 3, 3, 64])?).output(stage()?).build()?.into(), vec![image()?]),
        "depthwise" => {
            let conv = Conv::new(image_type()?, filter([64, 3, 3, 1])?).groups(64).output(stage()?);
            (conv.build()?.into(), vec![image()?])
        }
        "quantize" => {
            (Quantize::new(TensorType::float32(image_type()?.dims())?, image_type()?).build()?.into(), vec![floats()?])
        }
        "dequantize" => (Dequantize::new(image_type()?).build()?.into(), vec![image()?]),
        "dynamic_quantize" => (
            DynamicQuantize::new(TensorType::float32(shape)?, DType::Int8, DynamicGranularity::Tensor).build()?.into(),
            vec![floats()?],
        ),
        "requantize" => (Requantize::new(image_type()?, stage()?)?.into(), vec![image()?]),
        "add" => (Add::new(image_type()?, image_type()?, stage()?).build()?.into(), vec![image()?, image()?]),
        "multiply" => (Multiply::new(image_type()?, image_type()?, stage()?).build()?.into(), vec![image()?, image()?]),
        "max_pool" => (Pool::max(image_type()?, [2, 2]).build()?.into(), vec![image()?]),
        "average_pool" => (Pool::average(image_type()?, [3, 3]).output(stage()?).build()?.into(), vec![image()?]),
        "table" => (Table::sigmoid(image_type()?, stage()?)?.into(), vec![image()?]),
        "cast" => (Cast::new(floats()?.tensor_type().clone(), DType::Float16).build()?.into(), vec![floats()?]),
        "concat" => {
            (Concat::new([image_type()?, image_type()?], 3).output(stage()?).build()?.into(), vec![image()?, image()?])
        }
        _ => {
            let indices = Tensor::new([64], (0..64).map(|i| i * 37 % 512).collect::<Vec<i32>>())?;
            (Embedding::new(TensorType::int32([64])?, grouped(Codes::INT4, 512, 1024)?).build()?.into(), vec![indices])
        }
    };
    let elements = op.outputs()[0].shape().elements();
    Ok(Some(Case { name, dtype: "i8".into(), sizes: [elements, 0, 0], op, inputs, few: None }))
}

impl Case {
    /// Bytes that the op must at least read and write.
    pub(crate) fn bytes(&self) -> f64 {
        let tensors = self.op.inputs().iter().chain(&self.op.outputs()).map(TensorType::device_bytes).sum::<u64>();
        let [_, n, k] = self.sizes;
        let bits = match self.dtype.as_str() {
            "i8" => 8.0,
            "i4" => 4.0,
            "f32" | "f16" => 32.0,
            // 3, 4 or 8 bits per code, and a 16-bit scale per 32 codes.
            dtype if dtype.starts_with("iq2") => 3.5,
            dtype if dtype.starts_with("w4") || dtype.starts_with("nf4") || dtype.starts_with("iq4") => 4.5,
            _ => 8.5,
        };
        tensors as f64 + (n * k) as f64 * bits / 8.0
    }

    /// The reference's results, of the few rows if there are any.
    pub(crate) fn expected(&self) -> Result<Expected> {
        let whole = (self.op.clone(), self.inputs.clone(), Vec::new());
        let (op, inputs, rows) = self.few.as_ref().unwrap_or(&whole);
        let inputs: Vec<&Tensor> = inputs.iter().collect();
        let values = reals(&reference::run(op, &inputs)?[0])?;
        let bounds = reference::tolerance(op, &inputs)?
            .map_or(vec![0.0; values.len()], |bounds| bounds.into_iter().map(f64::from).collect());
        Ok(Expected { rows: rows.clone(), values, bounds })
    }
}

/// The right values of some rows, or of all if none are named, and how far from them results may be.
pub(crate) struct Expected {
    rows: Vec<usize>,
    values: Vec<f64>,
    bounds: Vec<f64>,
}

impl Expected {
    /// Description of the first wrong element, if any.
    pub(crate) fn error(&self, outputs: &[Tensor]) -> Result<Option<String>> {
        let width = outputs[0].tensor_type().shape().row_length();
        let got = reals(&outputs[0])?;
        let place = |i: usize| if self.rows.is_empty() { i } else { self.rows[i / width] * width + i % width };
        let wrong = self.values.iter().zip(&self.bounds).enumerate().find(|&(i, (value, bound))| {
            let got = got[place(i)];
            (got - value).abs() > *bound || got.is_nan()
        });
        Ok(wrong.map(|(i, (value, _))| format!("element {} is {}, but {value} is right", place(i), got[place(i)])))
    }
}

/// Elements of a tensor of any dtype in the cases.
fn reals(tensor: &Tensor) -> Result<Vec<f64>> {
    match tensor.dtype() {
        DType::Float32 => Ok(tensor.values::<f32>()?.iter().map(|&x| f64::from(x)).collect()),
        DType::Float16 => Ok(tensor.values::<f16>()?.iter().map(|x| x.to_f64()).collect()),
        DType::Int32 => Ok(tensor.values::<i32>()?.iter().map(|&x| f64::from(x)).collect()),
        _ => Ok(tensor.values::<i8>()?.iter().map(|&x| f64::from(x)).collect()),
    }
}
