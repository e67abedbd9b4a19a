//! A shape with elements of one of the conformance set's data types, and conversion to and from the crate's tensors. The
//! meaning of the elements is in `ops`.

use half::f16;
use lowbit::ops::Cast;
use lowbit::{DType, Tensor, TensorType, reference};
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
    /// Integers of at most 32 bits and floats of at most 8.
    Codes {
        dtype: DType,
        codes: Vec<i32>,
        numbers: Vec<f64>,
    },
    I64(Vec<i64>),
    F16(Vec<f16>),
    F32(Vec<f32>),
    F64(Vec<f64>),
}

/// The conformance set's name of a data type: `s4` of int4, `u4` of uint4, `e4m3fn` of float8e4m3fn, but `i32` of int32.
fn name(dtype: DType) -> String {
    let name = dtype.to_string();
    match (name.strip_prefix("uint"), name.strip_prefix("int"), name.strip_prefix("float")) {
        (Some(bits), ..) => format!("u{bits}"),
        (_, Some("32"), _) => "i32".to_string(),
        (_, Some(bits), _) => format!("s{bits}"),
        (.., Some(bits @ ("16" | "32"))) => format!("f{bits}"),
        (.., Some(layout)) => layout.trim_start_matches(|c: char| c.is_ascii_digit()).to_string(),
        _ => name,
    }
}

/// The data type with a name of the set.
pub(crate) fn dtype(named: &str) -> Result<DType> {
    let found = DType::ALL.iter().find(|&&dtype| name(dtype) == named);
    Ok(*found.ok_or_else(|| format!("tensors of {named} are not implemented"))?)
}

macro_rules! each {
    ($elements:expr, $v:ident => $value:expr) => {
        match $elements {
            Self::Codes { codes: $v, .. } => $value,
            Self::I64($v) => $value,
            Self::F16($v) => $value,
            Self::F32($v) => $value,
            Self::F64($v) => $value,
        }
    };
}

impl Elements {
    /// The `count` elements of a stored tensor.
    pub(crate) fn read(named: &str, packing: &str, count: usize, stored: &TensorView) -> Result<Self> {
        fn read<T, const N: usize>(bytes: &[u8], from: impl Fn([u8; N]) -> T) -> Vec<T> {
            bytes.chunks_exact(N).map(|chunk| from(chunk.try_into().expect("chunks of N bytes"))).collect()
        }
        let bytes = stored.data();
        let elements = match (packing, named, stored.dtype()) {
            ("raw", "i64", Dtype::I64) => Self::I64(read(bytes, i64::from_le_bytes)),
            ("raw", "f64", Dtype::F64) => Self::F64(read(bytes, f64::from_le_bytes)),
            ("raw", "u8", Dtype::U8)
            | ("raw", "s8", Dtype::I8)
            | ("raw", "u16", Dtype::U16)
            | ("raw", "s16", Dtype::I16)
            | ("raw", "i32", Dtype::I32)
            | ("raw", "f16", Dtype::F16)
            | ("raw", "f32", Dtype::F32)
            | ("crumb" | "nibble" | "byte", _, Dtype::U8) => {
                Self::of(&Tensor::from_packed(TensorType::new(dtype(named)?, [count])?, bytes)?)?
            }
            (_, _, stored) => return Err(format!("{packing} {named} can't be stored as {stored:?}").into()),
        };
        if elements.len() != count {
            return Err(format!("{packing} {named} needs {count} elements, not {}", elements.len()).into());
        }
        Ok(elements)
    }

    /// Bytes.
    pub(crate) fn bytes(bytes: &[u8]) -> Self {
        let codes = || bytes.iter().map(|&byte| byte.into());
        Self::Codes { dtype: DType::Uint8, codes: codes().collect(), numbers: codes().map(f64::from).collect() }
    }

    /// The elements of a tensor.
    fn of(tensor: &Tensor) -> Result<Self> {
        let dtype = tensor.dtype();
        Ok(match dtype {
            DType::Float16 => Self::F16(tensor.values()?.to_vec()),
            DType::Float32 => Self::F32(tensor.values()?.to_vec()),
            _ => {
                let codes = tensor.codes()?;
                let numbers = if dtype.range().is_some() {
                    codes.iter().copied().map(f64::from).collect()
                } else {
                    let cast = Cast::new(tensor.tensor_type().clone(), DType::Float32).build()?.into();
                    reference::run(&cast, &[tensor])?[0].values::<f32>()?.iter().copied().map(f64::from).collect()
                };
                Self::Codes { dtype, codes, numbers }
            }
        })
    }

    pub(crate) fn len(&self) -> usize {
        each!(self, v => v.len())
    }

    /// The set's name of the data type.
    pub(crate) fn dtype(&self) -> String {
        match self {
            Self::Codes { dtype, .. } => name(*dtype),
            Self::I64(_) => "i64".to_string(),
            Self::F16(_) => name(DType::Float16),
            Self::F32(_) => name(DType::Float32),
            Self::F64(_) => "f64".to_string(),
        }
    }

    /// Element as a number; exact except for large i64.
    pub(crate) fn value(&self, index: usize) -> f64 {
        match self {
            Self::Codes { numbers, .. } => numbers[index],
            Self::I64(v) => v[index] as f64,
            Self::F16(v) => v[index].into(),
            Self::F32(v) => v[index].into(),
            Self::F64(v) => v[index],
        }
    }

    /// Element as a bit pattern. Patterns are equal only for equal bits of one data type.
    pub(crate) fn bits(&self, index: usize) -> u64 {
        match self {
            Self::Codes { codes, .. } => codes[index] as u64,
            Self::I64(v) => v[index] as u64,
            Self::F16(v) => v[index].to_bits().into(),
            Self::F32(v) => v[index].to_bits().into(),
            Self::F64(v) => v[index].to_bits(),
        }
    }

    /// Element as text.
    pub(crate) fn show(&self, index: usize) -> String {
        each!(self, v => format!("{:?}", v[index]))
    }
}

/// The bytes of codes as `Tensor::from_packed` takes them.
pub(crate) fn packed(dtype: DType, codes: &[i32]) -> Vec<u8> {
    match dtype.bits() {
        bits @ ..8 => {
            let code = |code: i32| code as u8 & (u8::MAX >> (8 - bits));
            codes.chunks(8 / bits).map(|codes| codes.iter().rev().fold(0, |byte, &c| byte << bits | code(c))).collect()
        }
        bits => codes.iter().flat_map(|code| code.to_le_bytes().into_iter().take(bits / 8)).collect(),
    }
}

impl Array {
    /// The crate's tensor of these elements, without a scale.
    pub(crate) fn tensor(&self) -> Result<Tensor> {
        let shape = &self.shape[..];
        Ok(match &self.elements {
            Elements::F16(v) => Tensor::new(shape, &v[..])?,
            Elements::F32(v) => Tensor::new(shape, &v[..])?,
            Elements::Codes { dtype, codes, .. } => {
                Tensor::from_packed(TensorType::new(*dtype, shape)?, &packed(*dtype, codes))?
            }
            other => return Err(format!("tensors of {} are not implemented", other.dtype()).into()),
        })
    }

    /// The elements of a result tensor.
    pub(crate) fn of(tensor: &Tensor) -> Result<Self> {
        Ok(Self { shape: tensor.dims().to_vec(), elements: Elements::of(tensor)? })
    }

    /// Elements as f32, for floats that f32 holds exactly.
    pub(crate) fn floats(&self) -> Result<Vec<f32>> {
        match &self.elements {
            Elements::F16(v) => Ok(v.iter().map(|x| x.to_f32()).collect()),
            Elements::F32(v) => Ok(v.clone()),
            Elements::Codes { dtype, numbers, .. } if dtype.range().is_none() => {
                Ok(numbers.iter().map(|&x| x as f32).collect())
            }
            other => Err(format!("{} was given where f32 or f16 is read", other.dtype()).into()),
        }
    }

    /// Elements as i32, for integers that i32 holds exactly.
    pub(crate) fn integers(&self) -> Result<Vec<i32>> {
        match &self.elements {
            Elements::Codes { numbers, .. } => Ok(numbers.iter().map(|&x| x as i32).collect()),
            other => Err(format!("zero points of {} are not implemented", other.dtype()).into()),
        }
    }
}
