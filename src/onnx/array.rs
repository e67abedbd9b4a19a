//! Tensors of an ONNX file that are known before the graph runs: weights, and the integers that shapes are computed from.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use half::{bf16, f16};

use super::proto::TensorProto;
use crate::error::{Error, Result, refuse, require};
use crate::numeric::DType;
use crate::tensor::{Shape, Tensor, TensorType};

/// The element type of an ONNX tensor (`TensorProto.DataType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    Float,
    Double,
    Float16,
    Bfloat16,
    Bool,
    Int32,
    Int64,
    Uint32,
    Uint64,
    /// Codes that a tensor of the graph can hold: integers of up to 16 bits, and floats of at most 8 bits.
    Code(DType),
}

impl Element {
    pub(super) fn of(data_type: i32) -> Result<Self> {
        Ok(match data_type {
            1 => Self::Float,
            2 => Self::Code(DType::Uint8),
            3 => Self::Code(DType::Int8),
            4 => Self::Code(DType::Uint16),
            5 => Self::Code(DType::Int16),
            6 => Self::Int32,
            7 => Self::Int64,
            9 => Self::Bool,
            10 => Self::Float16,
            11 => Self::Double,
            12 => Self::Uint32,
            13 => Self::Uint64,
            16 => Self::Bfloat16,
            17 => Self::Code(DType::Float8E4M3Fn),
            18 => Self::Code(DType::Float8E4M3Fnuz),
            19 => Self::Code(DType::Float8E5M2),
            20 => Self::Code(DType::Float8E5M2Fnuz),
            21 => Self::Code(DType::Uint4),
            22 => Self::Code(DType::Int4),
            23 => Self::Code(DType::Float4E2M1),
            24 => Self::Code(DType::Float8E8M0),
            25 => Self::Code(DType::Uint2),
            26 => Self::Code(DType::Int2),
            8 => refuse!("tensors of strings can't be read"),
            other => refuse!("the element type {other} is none of those of ONNX 1.20"),
        })
    }

    /// The data type of a tensor of the graph with these elements.
    pub(super) fn dtype(self) -> Result<DType> {
        Ok(match self {
            Self::Float => DType::Float32,
            Self::Float16 => DType::Float16,
            Self::Bool => DType::Uint8,
            Self::Int32 | Self::Int64 => DType::Int32,
            Self::Code(dtype) => dtype,
            other => refuse!("tensors of {other} can't be in a graph"),
        })
    }

    fn bits(self) -> usize {
        match self {
            Self::Bool => 8,
            Self::Float16 | Self::Bfloat16 => 16,
            Self::Float | Self::Int32 | Self::Uint32 => 32,
            Self::Double | Self::Int64 | Self::Uint64 => 64,
            Self::Code(dtype) => dtype.bits(),
        }
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(dtype) => write!(f, "{dtype}"),
            other => write!(f, "{}", format!("{other:?}").to_lowercase()),
        }
    }
}

/// A tensor on the host, as ONNX has it.
#[derive(Debug, Clone)]
pub(super) struct Array {
    pub dims: Vec<usize>,
    pub data: Data,
}

#[derive(Debug, Clone)]
pub(super) enum Data {
    /// Floats of 16 bits and more.
    Reals(Arc<Vec<f32>>),
    /// Integers of 32 and 64 bits, and truth values.
    Integers(Arc<Vec<i64>>),
    /// Codes, with scales if they were given.
    Codes(Arc<Tensor>),
}

impl Array {
    pub(super) fn reals(dims: impl Into<Vec<usize>>, values: Vec<f32>) -> Self {
        Self { dims: dims.into(), data: Data::Reals(Arc::new(values)) }
    }

    pub(super) fn integers(dims: impl Into<Vec<usize>>, values: Vec<i64>) -> Self {
        Self { dims: dims.into(), data: Data::Integers(Arc::new(values)) }
    }

    pub(super) fn codes(tensor: Tensor) -> Self {
        Self { dims: tensor.dims().to_vec(), data: Data::Codes(Arc::new(tensor)) }
    }

    /// The tensor of a message. Data in another file lie in `folder`.
    pub(super) fn read(proto: &TensorProto, folder: Option<&Path>) -> Result<Self> {
        let element = Element::of(proto.data_type)?;
        let dims = dims_of(&proto.dims)?;
        let count = Shape::new(dims.clone())?.elements();
        let bytes = (count * element.bits()).div_ceil(8);
        let external;
        let raw = match proto.data_location {
            0 => &proto.raw_data[..],
            1 => {
                external = read_external(proto, folder, bytes)?;
                &external[..]
            }
            other => refuse!("the data location {other} is neither in the file (0) nor in another (1)"),
        };
        if raw.is_empty() && bytes > 0 {
            return Self::of_fields(proto, element, dims, count);
        }
        require!(raw.len() == bytes, "{count} elements of {element} take {bytes} bytes, but {} are given", raw.len());
        let data = match element {
            Element::Float => Data::Reals(Arc::new(words(raw).map(f32::from_le_bytes).collect())),
            Element::Double => Data::Reals(Arc::new(words(raw).map(|b| f64::from_le_bytes(b) as f32).collect())),
            Element::Float16 => Data::Reals(Arc::new(words(raw).map(|b| f16::from_le_bytes(b).to_f32()).collect())),
            Element::Bfloat16 => Data::Reals(Arc::new(words(raw).map(|b| bf16::from_le_bytes(b).to_f32()).collect())),
            Element::Bool => Data::Integers(Arc::new(raw.iter().map(|&byte| i64::from(byte != 0)).collect())),
            Element::Int32 => Data::Integers(Arc::new(words(raw).map(|b| i32::from_le_bytes(b).into()).collect())),
            Element::Uint32 => Data::Integers(Arc::new(words(raw).map(|b| u32::from_le_bytes(b).into()).collect())),
            Element::Int64 => Data::Integers(Arc::new(words(raw).map(i64::from_le_bytes).collect())),
            Element::Uint64 => Data::Integers(Arc::new(words(raw).map(|b| u64::from_le_bytes(b) as i64).collect())),
            Element::Code(dtype) => {
                let tensor = Tensor::from_packed(TensorType::new(dtype, dims.clone())?, raw)?;
                Data::Codes(Arc::new(tensor))
            }
        };
        Ok(Self { dims, data })
    }

    /// The tensor of a message that has its elements in fields by type.
    fn of_fields(proto: &TensorProto, element: Element, dims: Vec<usize>, count: usize) -> Result<Self> {
        let check = |given: usize| -> Result<()> {
            require!(given == count, "{count} elements of {element} are declared, but {given} are given");
            Ok(())
        };
        let reals = |values: Vec<f32>| -> Result<Data> {
            check(values.len())?;
            Ok(Data::Reals(Arc::new(values)))
        };
        let integers = |values: Vec<i64>| -> Result<Data> {
            check(values.len())?;
            Ok(Data::Integers(Arc::new(values)))
        };
        let ints = &proto.int32_data;
        let data = match element {
            Element::Float => reals(proto.float_data.clone())?,
            Element::Double => reals(proto.double_data.iter().map(|&x| x as f32).collect())?,
            Element::Float16 => reals(ints.iter().map(|&bits| f16::from_bits(bits as u16).to_f32()).collect())?,
            Element::Bfloat16 => reals(ints.iter().map(|&bits| bf16::from_bits(bits as u16).to_f32()).collect())?,
            Element::Bool => integers(ints.iter().map(|&bit| i64::from(bit != 0)).collect())?,
            Element::Int32 => integers(ints.iter().map(|&x| x.into()).collect())?,
            Element::Int64 => integers(proto.int64_data.clone())?,
            Element::Uint32 | Element::Uint64 => integers(proto.uint64_data.iter().map(|&x| x as i64).collect())?,
            Element::Code(dtype) => {
                // One number holds a code of 8 or 16 bits, or a byte of smaller ones.
                let bytes: Vec<u8> = match dtype.bits() {
                    16 => ints.iter().flat_map(|&x| (x as u16).to_le_bytes()).collect(),
                    _ => ints.iter().map(|&x| x as u8).collect(),
                };
                let tensor = Tensor::from_packed(TensorType::new(dtype, dims.clone())?, &bytes)?;
                Data::Codes(Arc::new(tensor))
            }
        };
        Ok(Self { dims, data })
    }

    pub(super) fn elements(&self) -> usize {
        self.dims.iter().product()
    }

    /// The elements as integers.
    pub(super) fn as_integers(&self) -> Result<Vec<i64>> {
        match &self.data {
            Data::Integers(values) => Ok(values.to_vec()),
            Data::Codes(tensor) => Ok(tensor.codes()?.into_iter().map(i64::from).collect()),
            Data::Reals(_) => Err(Error::Request("floats are given where integers are needed".into())),
        }
    }

    /// The elements as truth values.
    pub(super) fn truths(&self) -> Vec<bool> {
        match &self.data {
            Data::Reals(values) => values.iter().map(|&x| x != 0.0).collect(),
            Data::Integers(values) => values.iter().map(|&x| x != 0).collect(),
            Data::Codes(tensor) => (0..self.elements()).map(|i| tensor.code(i) != 0).collect(),
        }
    }

    /// The elements as numbers of float32.
    pub(super) fn as_reals(&self) -> Result<Vec<f32>> {
        match &self.data {
            Data::Reals(values) => Ok(values.to_vec()),
            Data::Integers(values) => Ok(values.iter().map(|&x| x as f32).collect()),
            Data::Codes(_) => Err(Error::Request("codes are given where floats are needed".into())),
        }
    }

    /// The codes as they are, which are integers of at most 16 bits or small floats.
    pub(super) fn as_codes(&self) -> Result<&Arc<Tensor>> {
        match &self.data {
            Data::Codes(tensor) => Ok(tensor),
            Data::Reals(_) | Data::Integers(_) => {
                Err(Error::Request("numbers of 32 bits are given where codes are needed".into()))
            }
        }
    }

    /// The tensor of a graph with these elements: float32, int32 or codes.
    pub(super) fn tensor(&self) -> Result<Arc<Tensor>> {
        Ok(match &self.data {
            Data::Reals(values) => Arc::new(Tensor::new(self.dims.clone(), values.to_vec())?),
            Data::Integers(values) => {
                // Ends of ranges beyond 32 bits mean "all".
                let clamp = |&x: &i64| x.clamp(i32::MIN.into(), i32::MAX.into()) as i32;
                Arc::new(Tensor::new(self.dims.clone(), values.iter().map(clamp).collect::<Vec<_>>())?)
            }
            Data::Codes(tensor) => tensor.clone(),
        })
    }

    /// The array of a tensor that a graph computed.
    pub(super) fn of_tensor(tensor: Tensor) -> Result<Self> {
        let dims = tensor.dims().to_vec();
        Ok(match tensor.dtype() {
            DType::Float32 => Self::reals(dims, tensor.values::<f32>()?.to_vec()),
            DType::Float16 => Self::reals(dims, tensor.values::<f16>()?.iter().map(|x| x.to_f32()).collect()),
            DType::Int32 => Self::integers(dims, tensor.values::<i32>()?.iter().map(|&x| x.into()).collect()),
            _ => Self::codes(tensor),
        })
    }

    pub(super) fn reshaped(&self, dims: Vec<usize>) -> Result<Self> {
        let (given, wanted) = (self.elements(), Shape::new(dims.clone())?.elements());
        require!(given == wanted, "{given} elements can't become {dims:?}");
        let data = match &self.data {
            Data::Codes(tensor) => Data::Codes(Arc::new(tensor.reshaped(dims.clone())?)),
            other => other.clone(),
        };
        Ok(Self { dims, data })
    }

    /// The array with its axes in another order.
    pub(super) fn permuted(&self, order: &[usize]) -> Result<Self> {
        if order.iter().enumerate().all(|(i, &axis)| i == axis) {
            return Ok(self.clone());
        }
        if let Data::Codes(tensor) = &self.data {
            return Ok(Self::codes(tensor.permuted(order)?));
        }
        let places =
            Tensor::new(self.dims.clone(), (0..self.elements() as i32).collect::<Vec<i32>>())?.permuted(order)?;
        let places = places.values::<i32>()?;
        self.gathered(places.iter().map(|&place| place as usize), places_dims(&self.dims, order))
    }

    /// The elements at these places, which are reals or integers.
    pub(super) fn gathered(&self, places: impl Iterator<Item = usize>, dims: Vec<usize>) -> Result<Self> {
        let data = match &self.data {
            Data::Reals(values) => Data::Reals(Arc::new(places.map(|place| values[place]).collect())),
            Data::Integers(values) => Data::Integers(Arc::new(places.map(|place| values[place]).collect())),
            Data::Codes(tensor) => {
                let sources: Vec<Option<usize>> = places.map(Some).collect();
                let tensor_type = TensorType::new(tensor.dtype(), dims.clone())?;
                Data::Codes(Arc::new(tensor.gathered(tensor_type, &sources, 0)))
            }
        };
        Ok(Self { dims, data })
    }
}

fn places_dims(dims: &[usize], order: &[usize]) -> Vec<usize> {
    order.iter().map(|&axis| dims[axis]).collect()
}

/// Dimensions of a message, none of which is negative.
pub(super) fn dims_of(dims: &[i64]) -> Result<Vec<usize>> {
    let dim = |&d: &i64| usize::try_from(d).map_err(|_| Error::Request(format!("a dimension is {d}")));
    dims.iter().map(dim).collect()
}

/// Runs of N bytes.
fn words<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> {
    bytes.as_chunks().0.iter().copied()
}

/// The bytes of a tensor in another file of the model's folder.
fn read_external(proto: &TensorProto, folder: Option<&Path>, bytes: usize) -> Result<Vec<u8>> {
    use std::io::{Read, Seek, SeekFrom};
    let Some(folder) = folder else {
        refuse!("its data are in another file: open the model by its path");
    };
    let entry = |key: &str| proto.external_data.iter().find(|entry| entry.key == key).map(|entry| &*entry.value);
    let number = |key: &str| -> Result<Option<u64>> {
        let parse = |text: &str| text.parse().map_err(|_| Error::Request(format!("its external {key} is {text:?}")));
        entry(key).map(parse).transpose()
    };
    let Some(location) = entry("location") else { refuse!("its data are in another file, which has no location") };
    let is_plain = Path::new(location).components().all(|part| matches!(part, std::path::Component::Normal(_)));
    require!(is_plain, "its data are in {location:?}, which is not in the folder of the model");
    if let Some(length) = number("length")? {
        require!(length == bytes as u64, "its data have {length} bytes, but its elements take {bytes}");
    }
    let path = folder.join(location);
    let failed = |error: std::io::Error| Error::Request(format!("{} can't be read: {error}", path.display()));
    let mut file = std::fs::File::open(&path).map_err(failed)?;
    let (offset, size) = (number("offset")?.unwrap_or(0), file.metadata().map_err(failed)?.len());
    require!(
        offset.checked_add(bytes as u64).is_some_and(|end| end <= size),
        "its data are {bytes} bytes from {offset} on, but {} has {size}",
        path.display()
    );
    let mut data = vec![0; bytes];
    file.seek(SeekFrom::Start(offset)).map_err(failed)?;
    file.read_exact(&mut data).map_err(failed)?;
    Ok(data)
}
