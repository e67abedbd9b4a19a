//! Arrays of NumPy: .npy files, and .npz files of them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::Path;

use lowbit::{DType, Tensor, TensorType};
use npyz::npz::NpzArchive;
use npyz::{DType as NpyType, NpyFile, TypeChar, WriterBuilder as _};

use crate::Result;

/// An array of numbers.
#[derive(Debug, Clone)]
pub(crate) struct Array {
    pub dims: Vec<usize>,
    pub values: Vec<f64>,
}

/// The arrays of a .npz file by name.
pub(crate) fn read_npz(path: &Path) -> Result<BTreeMap<String, Array>> {
    let mut archive = NpzArchive::open(path)?;
    let names: Vec<String> = archive.array_names().map(str::to_string).collect();
    let mut arrays = BTreeMap::new();
    for name in names {
        if let Some(file) = archive.by_name(&name)? {
            arrays.insert(name, Array::of_file(file)?);
        }
    }
    Ok(arrays)
}

impl Array {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        Self::of_file(NpyFile::new(BufReader::new(File::open(path)?))?)
    }

    fn of_file<R: std::io::Read>(file: NpyFile<R>) -> Result<Self> {
        let dims = file.shape().iter().map(|&d| d as usize).collect();
        let NpyType::Plain(kind) = file.dtype() else { return Err("the array has records".into()) };
        fn numbers<T: npyz::Deserialize + Into<f64>, R: std::io::Read>(file: NpyFile<R>) -> Result<Vec<f64>> {
            Ok(file.into_vec::<T>()?.into_iter().map(Into::into).collect())
        }
        let values = match (kind.type_char(), kind.size_field()) {
            (TypeChar::Float, 4) => numbers::<f32, R>(file)?,
            (TypeChar::Float, 8) => numbers::<f64, R>(file)?,
            (TypeChar::Int, 1) => numbers::<i8, R>(file)?,
            (TypeChar::Uint, 1) => numbers::<u8, R>(file)?,
            (TypeChar::Int, 2) => numbers::<i16, R>(file)?,
            (TypeChar::Uint, 2) => numbers::<u16, R>(file)?,
            (TypeChar::Int, 4) => numbers::<i32, R>(file)?,
            (TypeChar::Int, 8) => file.into_vec::<i64>()?.into_iter().map(|x| x as f64).collect(),
            (TypeChar::Bool, _) => file.into_vec::<bool>()?.into_iter().map(|x| f64::from(u8::from(x))).collect(),
            (kind, size) => return Err(format!("arrays of {kind:?} with {size} bytes can't be read").into()),
        };
        Ok(Self { dims, values })
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let shape: Vec<u64> = self.dims.iter().map(|&d| d as u64).collect();
        let mut writer = npyz::WriteOptions::<f32>::new()
            .default_dtype()
            .shape(&shape)
            .writer(BufWriter::new(File::create(path)?))
            .begin_nd()?;
        writer.extend(self.values.iter().map(|&x| x as f32))?;
        Ok(writer.finish()?)
    }

    /// The numbers of a tensor; codes as they are.
    pub(crate) fn of(tensor: &Tensor) -> Result<Self> {
        let values = match tensor.dtype() {
            DType::Float32 => tensor.values::<f32>()?.iter().map(|&x| x.into()).collect(),
            DType::Float16 => tensor.values::<lowbit::half::f16>()?.iter().map(|x| x.to_f64()).collect(),
            _ => tensor.codes()?.into_iter().map(f64::from).collect(),
        };
        Ok(Self { dims: tensor.dims().to_vec(), values })
    }

    /// The tensor of this type with these numbers.
    pub(crate) fn tensor(&self, tensor_type: &TensorType) -> Result<Tensor> {
        let (dims, values) = (tensor_type.dims(), &self.values);
        if tensor_type.shape().elements() != values.len() {
            return Err(format!("{:?} is given, but the input is {tensor_type}", self.dims).into());
        }
        Ok(match tensor_type.dtype() {
            DType::Float32 => Tensor::new(dims, values.iter().map(|&x| x as f32).collect::<Vec<_>>())?,
            DType::Int32 => Tensor::new(dims, values.iter().map(|&x| x as i32).collect::<Vec<_>>())?,
            DType::Uint8 => Tensor::new(dims, values.iter().map(|&x| x as u8).collect::<Vec<_>>())?,
            DType::Int8 => Tensor::new(dims, values.iter().map(|&x| x as i8).collect::<Vec<_>>())?,
            other => return Err(format!("inputs of {other} can't be read").into()),
        })
    }
}
