//! A shape with elements of one of the set's data types, and its way to and from the crate's tensors. It doesn't know
//! what the elements are for.

use half::f16;
use lowbit::numeric::{I2, I4, U2, U4};
use lowbit::{Element, Format, Tensor, TensorType};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use crate::Result;

/// A shape and its elements, row-major.
#[derive(Debug, Clone)]
pub(crate) struct Array {
    pub shape: Vec<usize>,
    pub elements: Elements,
}

/// Elements of one data type.
#[derive(Debug, Clone)]
pub(crate) enum Elements {
    U2(Vec<U2>),
    S2(Vec<I2>),
    U4(Vec<U4>),
    S4(Vec<I4>),
    U8(Vec<u8>),
    S8(Vec<i8>),
    U16(Vec<u16>),
    S16(Vec<i16>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    F16(Vec<f16>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    /// Codes that no Rust type holds, as the file stores them: an element is a byte of several codes or of one.
    Packed {
        dtype: String,
        bytes: Vec<u8>,
    },
}

macro_rules! each {
    ($elements:expr, $v:ident => $value:expr) => {
        match $elements {
            Self::U8($v) | Self::Packed { bytes: $v, .. } => $value,
            Self::U2($v) => $value,
            Self::S2($v) => $value,
            Self::U4($v) => $value,
            Self::S4($v) => $value,
            Self::S8($v) => $value,
            Self::U16($v) => $value,
            Self::S16($v) => $value,
            Self::I32($v) => $value,
            Self::I64($v) => $value,
            Self::F16($v) => $value,
            Self::F32($v) => $value,
            Self::F64($v) => $value,
        }
    };
}

impl Elements {
    /// The `count` elements of a stored tensor.
    pub(crate) fn read(dtype: &str, packing: &str, count: usize, stored: &TensorView) -> Result<Self> {
        fn read<T, const N: usize>(bytes: &[u8], from: impl Fn([u8; N]) -> T) -> Vec<T> {
            bytes.chunks_exact(N).map(|chunk| from(chunk.try_into().expect("chunks of N bytes"))).collect()
        }
        let bytes = stored.data();
        let elements = match (packing, dtype, stored.dtype()) {
            ("raw", "u8", Dtype::U8) => Self::U8(bytes.to_vec()),
            ("raw", "s8", Dtype::I8) => Self::S8(read(bytes, i8::from_le_bytes)),
            ("raw", "u16", Dtype::U16) => Self::U16(read(bytes, u16::from_le_bytes)),
            ("raw", "s16", Dtype::I16) => Self::S16(read(bytes, i16::from_le_bytes)),
            ("raw", "i32", Dtype::I32) => Self::I32(read(bytes, i32::from_le_bytes)),
            ("raw", "i64", Dtype::I64) => Self::I64(read(bytes, i64::from_le_bytes)),
            ("raw", "f16", Dtype::F16) => Self::F16(read(bytes, f16::from_le_bytes)),
            ("raw", "f32", Dtype::F32) => Self::F32(read(bytes, f32::from_le_bytes)),
            ("raw", "f64", Dtype::F64) => Self::F64(read(bytes, f64::from_le_bytes)),
            ("crumb", "u2", Dtype::U8) => Self::U2(unpacked(Format::Uint2, count, bytes)?),
            ("crumb", "s2", Dtype::U8) => Self::S2(unpacked(Format::Int2, count, bytes)?),
            ("nibble", "u4", Dtype::U8) => Self::U4(unpacked(Format::Uint4, count, bytes)?),
            ("nibble", "s4", Dtype::U8) => Self::S4(unpacked(Format::Int4, count, bytes)?),
            ("byte" | "nibble", _, Dtype::U8) => Self::Packed { dtype: dtype.to_string(), bytes: bytes.to_vec() },
            (_, _, stored) => return Err(format!("{packing} {dtype} can't be stored as {stored:?}").into()),
        };
        let expected = match elements {
            Self::Packed { .. } if packing == "nibble" => count.div_ceil(2),
            _ => count,
        };
        if elements.len() != expected {
            return Err(format!("{packing} {dtype} needs {expected} stored elements, not {}", elements.len()).into());
        }
        Ok(elements)
    }

    pub(crate) fn len(&self) -> usize {
        each!(self, v => v.len())
    }

    /// The set's name of the data type.
    pub(crate) fn dtype(&self) -> &str {
        match self {
            Self::U2(_) => "u2",
            Self::S2(_) => "s2",
            Self::U4(_) => "u4",
            Self::S4(_) => "s4",
            Self::U8(_) => "u8",
            Self::S8(_) => "s8",
            Self::U16(_) => "u16",
            Self::S16(_) => "s16",
            Self::I32(_) => "i32",
            Self::I64(_) => "i64",
            Self::F16(_) => "f16",
            Self::F32(_) => "f32",
            Self::F64(_) => "f64",
            Self::Packed { dtype, .. } => dtype,
        }
    }

    /// An element as a number; exact but for large i64.
    pub(crate) fn value(&self, index: usize) -> f64 {
        match self {
            Self::U2(v) => v[index].get().into(),
            Self::S2(v) => v[index].get().into(),
            Self::U4(v) => v[index].get().into(),
            Self::S4(v) => v[index].get().into(),
            Self::U8(v) | Self::Packed { bytes: v, .. } => v[index].into(),
            Self::S8(v) => v[index].into(),
            Self::U16(v) => v[index].into(),
            Self::S16(v) => v[index].into(),
            Self::I32(v) => v[index].into(),
            Self::I64(v) => v[index] as f64,
            Self::F16(v) => v[index].into(),
            Self::F32(v) => v[index].into(),
            Self::F64(v) => v[index],
        }
    }

    /// An element as a number that is equal only for equal bits of one data type.
    pub(crate) fn bits(&self, index: usize) -> u64 {
        match self {
            Self::I64(v) => v[index] as u64,
            Self::F16(v) => v[index].to_bits().into(),
            Self::F32(v) => v[index].to_bits().into(),
            Self::F64(v) => v[index].to_bits(),
            integers => integers.value(index) as i64 as u64,
        }
    }

    /// An element for people.
    pub(crate) fn show(&self, index: usize) -> String {
        each!(self, v => format!("{:?}", v[index]))
    }
}

/// The elements of several per byte.
fn unpacked<T: Element>(format: Format, count: usize, bytes: &[u8]) -> Result<Vec<T>> {
    Ok(Tensor::from_packed(TensorType::new(format, [count])?, bytes)?.values()?.to_vec())
}

impl Array {
    /// The crate's tensor of the same elements, without scale.
    pub(crate) fn tensor(&self) -> Result<Tensor> {
        let shape = &self.shape[..];
        Ok(match &self.elements {
            Elements::U2(v) => Tensor::new(shape, &v[..])?,
            Elements::S2(v) => Tensor::new(shape, &v[..])?,
            Elements::U4(v) => Tensor::new(shape, &v[..])?,
            Elements::S4(v) => Tensor::new(shape, &v[..])?,
            Elements::F16(v) => Tensor::new(shape, &v[..])?,
            Elements::U8(v) => Tensor::new(shape, &v[..])?,
            Elements::S8(v) => Tensor::new(shape, &v[..])?,
            Elements::U16(v) => Tensor::new(shape, &v[..])?,
            Elements::S16(v) => Tensor::new(shape, &v[..])?,
            Elements::I32(v) => Tensor::new(shape, &v[..])?,
            Elements::F32(v) => Tensor::new(shape, &v[..])?,
            other => return Err(format!("tensors of {} are not implemented", other.dtype()).into()),
        })
    }

    /// The elements of a result.
    pub(crate) fn of(tensor: &Tensor) -> Result<Self> {
        let elements = match tensor.format() {
            Format::Uint2 => Elements::U2(tensor.values()?.to_vec()),
            Format::Int2 => Elements::S2(tensor.values()?.to_vec()),
            Format::Uint4 => Elements::U4(tensor.values()?.to_vec()),
            Format::Int4 => Elements::S4(tensor.values()?.to_vec()),
            Format::Float16 => Elements::F16(tensor.values()?.to_vec()),
            Format::Uint8 => Elements::U8(tensor.values()?.to_vec()),
            Format::Int8 => Elements::S8(tensor.values()?.to_vec()),
            Format::Uint16 => Elements::U16(tensor.values()?.to_vec()),
            Format::Int16 => Elements::S16(tensor.values()?.to_vec()),
            Format::Int32 => Elements::I32(tensor.values()?.to_vec()),
            Format::Float32 => Elements::F32(tensor.values()?.to_vec()),
            other => return Err(format!("the data types have none for {other}").into()),
        };
        Ok(Self { shape: tensor.shape().to_vec(), elements })
    }

    /// Floats of any width that f32 holds.
    pub(crate) fn floats(&self) -> Result<Vec<f32>> {
        match &self.elements {
            Elements::F16(v) => Ok(v.iter().map(|x| x.to_f32()).collect()),
            Elements::F32(v) => Ok(v.clone()),
            other => Err(format!("{} was given where f32 or f16 is read", other.dtype()).into()),
        }
    }

    /// Integers of any width that i32 holds.
    pub(crate) fn integers(&self) -> Result<Vec<i32>> {
        match &self.elements {
            Elements::U2(v) => Ok(v.iter().map(|&x| x.get().into()).collect()),
            Elements::S2(v) => Ok(v.iter().map(|&x| x.get().into()).collect()),
            Elements::U4(v) => Ok(v.iter().map(|&x| x.get().into()).collect()),
            Elements::S4(v) => Ok(v.iter().map(|&x| x.get().into()).collect()),
            Elements::U8(v) => Ok(v.iter().map(|&x| x.into()).collect()),
            Elements::S8(v) => Ok(v.iter().map(|&x| x.into()).collect()),
            Elements::U16(v) => Ok(v.iter().map(|&x| x.into()).collect()),
            Elements::S16(v) => Ok(v.iter().map(|&x| x.into()).collect()),
            Elements::I32(v) => Ok(v.clone()),
            other => Err(format!("zero points of {} are not implemented", other.dtype()).into()),
        }
    }
}
