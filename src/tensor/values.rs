//! A tensor with its data on the host, dense and row-major. The layout of device memory is in `pack`.

use super::{Quantization, TensorType};
use crate::error::{Error, Result, require};
use crate::numeric::{
    DType, E2M1, E2M3, E3M2, E4M3FN, E4M3FNUZ, E5M2, E5M2FNUZ, E8M0, I2, I4, Minifloat, U2, U4, decode_power,
    each_dtype, element,
};
use half::f16;

mod sealed {
    pub trait Sealed {}
}

/// A Rust type of tensor elements: `i8`, `u8`, `i16`, `u16`, `i32`, `f32`, [`f16`](half::f16), [`I4`], [`U4`], [`I2`], [`U2`], the
/// small floats [`E4M3FN`], [`E4M3FNUZ`], [`E5M2`], [`E5M2FNUZ`], [`E2M3`], [`E3M2`], [`E2M1`], [`E8M0`], or `(f32, i32)` for
/// parameters of dynamic quantization. Sealed.
pub trait Element: sealed::Sealed + Copy + Sized {
    /// The data type of a tensor of these elements.
    const FORMAT: DType;
    #[doc(hidden)]
    fn wrap(values: Vec<Self>) -> Values;
    #[doc(hidden)]
    fn unwrap(values: &Values) -> Option<&[Self]>;
}

macro_rules! values {
    ($(#[doc = $doc:literal] $variant:ident: $element:ty, $name:literal, $bits:literal bits, $encoding:expr;)+) => {
        /// The elements of a [`Tensor`]; use [`Tensor::values`].
        #[doc(hidden)]
        #[derive(Debug, Clone, PartialEq)]
        #[allow(missing_docs)]
        pub enum Values {
            $($variant(Vec<element::$variant>),)+
        }

        $(
            impl sealed::Sealed for element::$variant {}
            impl Element for element::$variant {
                const FORMAT: DType = DType::$variant;
                fn wrap(values: Vec<Self>) -> Values {
                    Values::$variant(values)
                }
                fn unwrap(values: &Values) -> Option<&[Self]> {
                    if let Values::$variant(values) = values { Some(values) } else { None }
                }
            }
        )+
    };
}
each_dtype!(values);

/// A tensor on the host.
///
/// ```
/// use lowbit::{Quantization, Tensor};
/// let weights = Tensor::new([2, 3], vec![1i8, -2, 3, 4, -5, 6])?.quantized(Quantization::tensor(0.5, 0))?;
/// assert_eq!(weights.values::<i8>()?[1], -2);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    tensor_type: TensorType,
    values: Values,
}

impl Tensor {
    /// A tensor of these elements, in row-major order.
    ///
    /// # Errors
    /// If the number of elements is not the product of the dimensions.
    pub fn new<T: Element>(dims: impl Into<Vec<usize>>, elements: impl Into<Vec<T>>) -> Result<Self> {
        let tensor_type = TensorType::new(T::FORMAT, dims)?;
        let (elements, shape) = (elements.into(), tensor_type.shape());
        require!(
            elements.len() == shape.elements(),
            "{} elements were given, but {shape} has {}",
            elements.len(),
            shape.elements()
        );
        Ok(Self { values: T::wrap(elements), tensor_type })
    }

    /// A tensor from bytes in the format of ONNX and safetensors: elements in row-major order, little-endian, the first of several
    /// in a byte in its low bits, rows not padded.
    ///
    /// ```
    /// use lowbit::{DType, Tensor, TensorType, numeric::I4};
    /// let tensor = Tensor::from_packed(TensorType::new(DType::Int4, [3])?, &[0xf1, 0x07])?;
    /// assert_eq!(tensor.values::<I4>()?.iter().map(|code| code.get()).collect::<Vec<_>>(), [1, -1, 7]);
    /// # Ok::<(), lowbit::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the number of bytes is not that of the elements, rounded up to a whole byte.
    pub fn from_packed(tensor_type: TensorType, bytes: &[u8]) -> Result<Self> {
        super::pack::from_bytes(tensor_type, bytes)
    }

    /// This tensor with scales and zero points.
    ///
    /// # Errors
    /// As [`TensorType::quantized`].
    pub fn quantized(mut self, quantization: Quantization) -> Result<Self> {
        self.tensor_type = self.tensor_type.quantized(quantization)?;
        Ok(self)
    }

    /// This tensor with another type of equal data type and shape.
    pub(crate) fn with_type(mut self, tensor_type: TensorType) -> Self {
        debug_assert!(self.tensor_type.dtype() == tensor_type.dtype() && self.dims() == tensor_type.dims());
        self.tensor_type = tensor_type;
        self
    }

    /// A tensor from values that fit its type; the caller guarantees it.
    pub(crate) fn from_values(tensor_type: TensorType, values: Values) -> Self {
        Self { tensor_type, values }
    }

    /// A tensor of integers, or of floats of at most 8 bits, from its codes. Codes outside the data type are a bug of the caller.
    pub(crate) fn from_codes(tensor_type: TensorType, codes: Vec<i32>) -> Self {
        let values = match tensor_type.dtype() {
            DType::Int2 => Values::Int2(codes.into_iter().map(|c| I2::from_bits(c as u32)).collect()),
            DType::Uint2 => Values::Uint2(codes.into_iter().map(|c| U2::from_bits(c as u32)).collect()),
            DType::Int4 => Values::Int4(codes.into_iter().map(|c| I4::from_bits(c as u32)).collect()),
            DType::Uint4 => Values::Uint4(codes.into_iter().map(|c| U4::from_bits(c as u32)).collect()),
            DType::Int8 => Values::Int8(codes.into_iter().map(|c| c as i8).collect()),
            DType::Uint8 => Values::Uint8(codes.into_iter().map(|c| c as u8).collect()),
            DType::Int16 => Values::Int16(codes.into_iter().map(|c| c as i16).collect()),
            DType::Uint16 => Values::Uint16(codes.into_iter().map(|c| c as u16).collect()),
            DType::Int32 => Values::Int32(codes),
            DType::Float4E2M1 => Values::Float4E2M1(codes.into_iter().map(|c| E2M1::from_bits(c as u8)).collect()),
            DType::Float6E2M3 => Values::Float6E2M3(codes.into_iter().map(|c| E2M3::from_bits(c as u8)).collect()),
            DType::Float6E3M2 => Values::Float6E3M2(codes.into_iter().map(|c| E3M2::from_bits(c as u8)).collect()),
            DType::Float8E4M3Fn => {
                Values::Float8E4M3Fn(codes.into_iter().map(|c| E4M3FN::from_bits(c as u8)).collect())
            }
            DType::Float8E4M3Fnuz => {
                Values::Float8E4M3Fnuz(codes.into_iter().map(|c| E4M3FNUZ::from_bits(c as u8)).collect())
            }
            DType::Float8E5M2 => Values::Float8E5M2(codes.into_iter().map(|c| E5M2::from_bits(c as u8)).collect()),
            DType::Float8E5M2Fnuz => {
                Values::Float8E5M2Fnuz(codes.into_iter().map(|c| E5M2FNUZ::from_bits(c as u8)).collect())
            }
            DType::Float8E8M0 => Values::Float8E8M0(codes.into_iter().map(|c| E8M0::from_bits(c as u8)).collect()),
            DType::Float16 | DType::Float32 | DType::Parameters => {
                unreachable!("{} has no codes", tensor_type.dtype())
            }
        };
        Self { tensor_type, values }
    }

    /// The type of the tensor.
    #[must_use]
    pub fn tensor_type(&self) -> &TensorType {
        &self.tensor_type
    }

    /// The data type of the elements.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.tensor_type.dtype()
    }

    /// The dimensions, outermost first.
    #[must_use]
    pub fn dims(&self) -> &[usize] {
        self.tensor_type.dims()
    }

    /// The elements, in row-major order.
    ///
    /// # Errors
    /// If `T` is not the tensor's element type.
    pub fn values<T: Element>(&self) -> Result<&[T]> {
        T::unwrap(&self.values).ok_or_else(|| {
            Error::Request(format!("the tensor holds {}, but {} was asked for", self.dtype(), T::FORMAT))
        })
    }

    pub(crate) fn raw(&self) -> &Values {
        &self.values
    }

    /// The code at a linear index; the bits of small floats. A data type without codes is a bug of the caller.
    pub(crate) fn code(&self, index: usize) -> i32 {
        match &self.values {
            Values::Int2(v) => v[index].get().into(),
            Values::Uint2(v) => v[index].get().into(),
            Values::Int4(v) => v[index].get().into(),
            Values::Uint4(v) => v[index].get().into(),
            Values::Int8(v) => v[index].into(),
            Values::Uint8(v) => v[index].into(),
            Values::Int16(v) => v[index].into(),
            Values::Uint16(v) => v[index].into(),
            Values::Int32(v) => v[index],
            Values::Float4E2M1(v) => v[index].to_bits().into(),
            Values::Float6E2M3(v) => v[index].to_bits().into(),
            Values::Float6E3M2(v) => v[index].to_bits().into(),
            Values::Float8E4M3Fn(v) => v[index].to_bits().into(),
            Values::Float8E4M3Fnuz(v) => v[index].to_bits().into(),
            Values::Float8E5M2(v) => v[index].to_bits().into(),
            Values::Float8E5M2Fnuz(v) => v[index].to_bits().into(),
            Values::Float8E8M0(v) => v[index].to_bits().into(),
            Values::Float16(_) | Values::Float32(_) | Values::Parameters(_) => {
                unreachable!("{} has no codes", self.dtype())
            }
        }
    }

    /// The elements as numbers: codes are not multiplied by scales. Parameters are a bug of the caller.
    pub(crate) fn reals(&self) -> Vec<f32> {
        let elements = 0..self.tensor_type.shape().elements();
        match (&self.values, Minifloat::of(self.dtype())) {
            (Values::Float32(v), _) => v.clone(),
            (Values::Float16(v), _) => v.iter().map(|x| x.to_f32()).collect(),
            (Values::Float8E8M0(v), _) => v.iter().map(|x| decode_power(x.to_bits().into())).collect(),
            (_, Some(layout)) => elements.map(|i| layout.decode(self.code(i) as u32)).collect(),
            _ => elements.map(|i| self.code(i) as f32).collect(),
        }
    }

    /// The part of the first dimension from index `start` on, with the extent of `tensor_type`.
    pub(crate) fn part(&self, tensor_type: TensorType, start: usize) -> Self {
        let (first, count) = (tensor_type.dims()[0], tensor_type.shape().elements());
        let begin = count.checked_div(first).unwrap_or(0) * start;
        macro_rules! part {
            ($($variant:ident),+) => {
                match &self.values { $(Values::$variant(v) => Values::$variant(v[begin..begin + count].to_vec())),+ }
            };
        }
        let values = part!(
            Int2,
            Uint2,
            Int4,
            Uint4,
            Int8,
            Uint8,
            Int16,
            Uint16,
            Int32,
            Float4E2M1,
            Float6E2M3,
            Float6E3M2,
            Float8E4M3Fn,
            Float8E4M3Fnuz,
            Float8E5M2,
            Float8E5M2Fnuz,
            Float8E8M0,
            Float16,
            Float32,
            Parameters
        );
        Self { tensor_type, values }
    }

    /// The concatenation of parts along the first dimension.
    pub(crate) fn joined<'a>(tensor_type: TensorType, parts: impl Iterator<Item = &'a Self> + Clone) -> Self {
        macro_rules! joined {
            ($($variant:ident),+) => {
                match tensor_type.dtype() { $(DType::$variant => {
                    let part = |part: &'a Self| if let Values::$variant(v) = &part.values { &v[..] } else { &[] };
                    Values::$variant(parts.flat_map(part).copied().collect())
                }),+ }
            };
        }
        let values = joined!(
            Int2,
            Uint2,
            Int4,
            Uint4,
            Int8,
            Uint8,
            Int16,
            Uint16,
            Int32,
            Float4E2M1,
            Float6E2M3,
            Float6E3M2,
            Float8E4M3Fn,
            Float8E4M3Fnuz,
            Float8E5M2,
            Float8E5M2Fnuz,
            Float8E8M0,
            Float16,
            Float32,
            Parameters
        );
        Self { tensor_type, values }
    }

    /// This tensor with other dimensions. Quantization per tensor stays; any other is dropped.
    ///
    /// # Errors
    /// If the number of elements differs.
    pub fn reshaped(&self, dims: impl Into<Vec<usize>>) -> Result<Self> {
        let mut tensor_type = TensorType::new(self.dtype(), dims)?;
        require!(
            tensor_type.shape().elements() == self.tensor_type.shape().elements(),
            "{} can't become {}: the number of elements differs",
            self.tensor_type,
            tensor_type
        );
        if let Some(q) = self.tensor_type.quantization()
            && q.granularity() == super::Granularity::Tensor
        {
            tensor_type = tensor_type.quantized(q.clone())?;
        }
        if self.tensor_type.has_dynamic_scales() {
            tensor_type = tensor_type.with_dynamic_scales();
        }
        Ok(Self { tensor_type, values: self.values.clone() })
    }

    /// The tensor with its axes in another order: axis `i` of the result is axis `order[i]` of this one. Quantization along an axis
    /// moves with it; quantization in blocks is dropped.
    ///
    /// ```
    /// use lowbit::Tensor;
    /// let nchw = Tensor::new([1, 2, 1, 3], vec![1u8, 2, 3, 4, 5, 6])?;
    /// let nhwc = nchw.permuted(&[0, 2, 3, 1])?;
    /// assert_eq!(nhwc.dims(), [1, 1, 3, 2]);
    /// assert_eq!(nhwc.values::<u8>()?, [1, 4, 2, 5, 3, 6]);
    /// # Ok::<(), lowbit::Error>(())
    /// ```
    ///
    /// # Errors
    /// If `order` is not a permutation of the axes.
    pub fn permuted(&self, order: &[usize]) -> Result<Self> {
        let tensor_type = match self.tensor_type.quantization().map(|q| q.granularity()) {
            Some(super::Granularity::Blocks { .. }) => self.tensor_type.without_quantization().permuted(order)?,
            _ => self.tensor_type.permuted(order)?,
        };
        let dims = self.dims();
        let mut strides = vec![1usize; dims.len()];
        for i in (1..dims.len()).rev() {
            strides[i - 1] = strides[i] * dims[i];
        }
        let new = tensor_type.dims();
        let sources: Vec<Option<usize>> = (0..self.tensor_type.shape().elements())
            .map(|mut rest| {
                let source = new
                    .iter()
                    .zip(order)
                    .rev()
                    .map(|(&d, &axis)| {
                        let i = rest % d;
                        rest /= d;
                        i * strides[axis]
                    })
                    .sum();
                Some(source)
            })
            .collect();
        Ok(self.gathered(tensor_type, &sources, 0))
    }

    /// A tensor of this type and of equal data type, with the elements at these linear indices. `None` gives the code `fill` (0 in
    /// data types without codes).
    pub(crate) fn gathered(&self, tensor_type: TensorType, sources: &[Option<usize>], fill: i32) -> Self {
        fn gather<T: Copy>(values: &[T], sources: &[Option<usize>], fill: T) -> Vec<T> {
            sources.iter().map(|source| source.map_or(fill, |i| values[i])).collect()
        }
        let bits = fill as u32;
        macro_rules! gathered {
            ($($variant:ident: $fill:expr),+) => {
                match &self.values { $(Values::$variant(v) => Values::$variant(gather(v, sources, $fill))),+ }
            };
        }
        let values = gathered!(
            Int2: I2::from_bits(bits), Uint2: U2::from_bits(bits), Int4: I4::from_bits(bits), Uint4: U4::from_bits(bits),
            Int8: fill as i8, Uint8: fill as u8, Int16: fill as i16, Uint16: fill as u16, Int32: fill,
            Float4E2M1: E2M1::from_bits(fill as u8), Float6E2M3: E2M3::from_bits(fill as u8),
            Float6E3M2: E3M2::from_bits(fill as u8), Float8E4M3Fn: E4M3FN::from_bits(fill as u8),
            Float8E4M3Fnuz: E4M3FNUZ::from_bits(fill as u8), Float8E5M2: E5M2::from_bits(fill as u8),
            Float8E5M2Fnuz: E5M2FNUZ::from_bits(fill as u8), Float8E8M0: E8M0::from_bits(fill as u8),
            Float16: f16::ZERO, Float32: 0.0, Parameters: (0.0, 0)
        );
        Self { tensor_type, values }
    }
}
