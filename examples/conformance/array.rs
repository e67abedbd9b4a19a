//! A shape with elements of one of the conformance set's data types, and conversion to and from the crate's tensors. The
//! meaning of the elements is in `ops`.

use half::f16;
use lowbit::numeric::{E2M1, E2M3, E3M2, E4M3FN, E4M3FNUZ, E5M2, E5M2FNUZ, E8M0, I2, I4, U2, U4};
use lowbit::{DType, Element, Tensor, TensorType};
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
    /// Codes of floats of at most 8 bits.
    Small {
        dtype: DType,
        codes: Vec<u8>,
    },
}

/// The conformance set's names of floats of at most 8 bits.
const SMALL: [(&str, DType); 8] = [
    ("e2m1", DType::Float4E2M1),
    ("e2m3", DType::Float6E2M3),
    ("e3m2", DType::Float6E3M2),
    ("e4m3fn", DType::Float8E4M3Fn),
    ("e4m3fnuz", DType::Float8E4M3Fnuz),
    ("e5m2", DType::Float8E5M2),
    ("e5m2fnuz", DType::Float8E5M2Fnuz),
    ("e8m0", DType::Float8E8M0),
];

/// The small float with the set's name `dtype`.
pub(crate) fn small_format(dtype: &str) -> Option<DType> {
    SMALL.iter().find(|(name, _)| *name == dtype).map(|(_, format)| *format)
}

/// The value of a code.
fn small_value(dtype: DType, code: u8) -> f64 {
    f64::from(match dtype {
        DType::Float4E2M1 => E2M1::from_bits(code).to_f32(),
        DType::Float6E2M3 => E2M3::from_bits(code).to_f32(),
        DType::Float6E3M2 => E3M2::from_bits(code).to_f32(),
        DType::Float8E4M3Fn => E4M3FN::from_bits(code).to_f32(),
        DType::Float8E4M3Fnuz => E4M3FNUZ::from_bits(code).to_f32(),
        DType::Float8E5M2 => E5M2::from_bits(code).to_f32(),
        DType::Float8E5M2Fnuz => E5M2FNUZ::from_bits(code).to_f32(),
        _ => E8M0::from_bits(code).to_f32(),
    })
}

/// Codes of a tensor of small floats.
fn small_codes(tensor: &Tensor) -> Result<Vec<u8>> {
    macro_rules! codes {
        ($($format:ident: $kind:ty),+) => {
            match tensor.dtype() {
                $(DType::$format => tensor.values::<$kind>()?.iter().map(|x| x.to_bits()).collect(),)+
                other => return Err(format!("the data types have none for {other}").into()),
            }
        };
    }
    Ok(codes!(
        Float4E2M1: E2M1, Float6E2M3: E2M3, Float6E3M2: E3M2, Float8E4M3Fn: E4M3FN, Float8E4M3Fnuz: E4M3FNUZ,
        Float8E5M2: E5M2, Float8E5M2Fnuz: E5M2FNUZ, Float8E8M0: E8M0
    ))
}

macro_rules! each {
    ($elements:expr, $v:ident => $value:expr) => {
        match $elements {
            Self::U8($v) | Self::Small { codes: $v, .. } => $value,
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
            ("crumb", "u2", Dtype::U8) => Self::U2(unpacked(DType::Uint2, count, bytes)?),
            ("crumb", "s2", Dtype::U8) => Self::S2(unpacked(DType::Int2, count, bytes)?),
            ("nibble", "u4", Dtype::U8) => Self::U4(unpacked(DType::Uint4, count, bytes)?),
            ("nibble", "s4", Dtype::U8) => Self::S4(unpacked(DType::Int4, count, bytes)?),
            ("byte" | "nibble", _, Dtype::U8) => {
                let format = small_format(dtype).ok_or_else(|| format!("the data type {dtype} is not known"))?;
                let codes = Tensor::from_packed(TensorType::new(format, [count])?, bytes)?;
                Self::Small { dtype: format, codes: small_codes(&codes)? }
            }
            (_, _, stored) => return Err(format!("{packing} {dtype} can't be stored as {stored:?}").into()),
        };
        if elements.len() != count {
            return Err(format!("{packing} {dtype} needs {count} elements, not {}", elements.len()).into());
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
            Self::Small { dtype, .. } => SMALL.iter().find(|(_, f)| f == dtype).map_or("", |(name, _)| name),
        }
    }

    /// Element as a number; exact except for large i64.
    pub(crate) fn value(&self, index: usize) -> f64 {
        match self {
            Self::U2(v) => v[index].get().into(),
            Self::S2(v) => v[index].get().into(),
            Self::U4(v) => v[index].get().into(),
            Self::S4(v) => v[index].get().into(),
            Self::U8(v) => v[index].into(),
            Self::Small { dtype, codes } => small_value(*dtype, codes[index]),
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

    /// Element as a bit pattern. Patterns are equal only for equal bits of one data type.
    pub(crate) fn bits(&self, index: usize) -> u64 {
        match self {
            Self::I64(v) => v[index] as u64,
            Self::F16(v) => v[index].to_bits().into(),
            Self::F32(v) => v[index].to_bits().into(),
            Self::F64(v) => v[index].to_bits(),
            Self::Small { codes, .. } => codes[index].into(),
            integers => integers.value(index) as i64 as u64,
        }
    }

    /// Element as text.
    pub(crate) fn show(&self, index: usize) -> String {
        each!(self, v => format!("{:?}", v[index]))
    }
}

/// The `count` elements of a dtype that packs several elements in a byte.
fn unpacked<T: Element>(dtype: DType, count: usize, bytes: &[u8]) -> Result<Vec<T>> {
    Ok(Tensor::from_packed(TensorType::new(dtype, [count])?, bytes)?.values()?.to_vec())
}

/// Tensor of small floats with the given codes.
fn small_tensor(dtype: DType, codes: &Tensor) -> Result<Tensor> {
    let bytes = codes.values::<u8>()?;
    let packed: Vec<u8> = match dtype.bits() {
        4 => bytes.chunks(2).map(|pair| pair.iter().rev().fold(0, |byte, code| byte << 4 | code)).collect(),
        _ => bytes.to_vec(),
    };
    Ok(Tensor::from_packed(TensorType::new(dtype, codes.dims())?, &packed)?)
}

impl Array {
    /// The crate's tensor of these elements, without a scale.
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
            Elements::Small { dtype, codes } => {
                let wide = Tensor::new(shape, &codes[..])?;
                small_tensor(*dtype, &wide)?
            }
            other => return Err(format!("tensors of {} are not implemented", other.dtype()).into()),
        })
    }

    /// The elements of a result tensor.
    pub(crate) fn of(tensor: &Tensor) -> Result<Self> {
        let elements = match tensor.dtype() {
            DType::Uint2 => Elements::U2(tensor.values()?.to_vec()),
            DType::Int2 => Elements::S2(tensor.values()?.to_vec()),
            DType::Uint4 => Elements::U4(tensor.values()?.to_vec()),
            DType::Int4 => Elements::S4(tensor.values()?.to_vec()),
            DType::Float16 => Elements::F16(tensor.values()?.to_vec()),
            DType::Uint8 => Elements::U8(tensor.values()?.to_vec()),
            DType::Int8 => Elements::S8(tensor.values()?.to_vec()),
            DType::Uint16 => Elements::U16(tensor.values()?.to_vec()),
            DType::Int16 => Elements::S16(tensor.values()?.to_vec()),
            DType::Int32 => Elements::I32(tensor.values()?.to_vec()),
            DType::Float32 => Elements::F32(tensor.values()?.to_vec()),
            format => Elements::Small { dtype: format, codes: small_codes(tensor)? },
        };
        Ok(Self { shape: tensor.dims().to_vec(), elements })
    }

    /// Elements as f32, for floats that f32 holds exactly.
    pub(crate) fn floats(&self) -> Result<Vec<f32>> {
        match &self.elements {
            Elements::F16(v) => Ok(v.iter().map(|x| x.to_f32()).collect()),
            Elements::F32(v) => Ok(v.clone()),
            Elements::Small { .. } => Ok((0..self.elements.len()).map(|i| self.elements.value(i) as f32).collect()),
            other => Err(format!("{} was given where f32 or f16 is read", other.dtype()).into()),
        }
    }

    /// Elements as i32, for integers that i32 holds exactly.
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
            Elements::Small { .. } => Ok((0..self.elements.len()).map(|i| self.elements.value(i) as i32).collect()),
            other => Err(format!("zero points of {} are not implemented", other.dtype()).into()),
        }
    }
}
