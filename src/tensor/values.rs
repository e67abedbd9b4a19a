//! A tensor with its data on the host, dense and row-major. The layout of device memory is in `pack`.

use super::memory::Memory;
use super::{Quantization, TensorType};
use crate::error::{Result, refuse, require};
use crate::numeric::{DType, Encoding, Minifloat, QuantizationParams, decode_power, each_dtype, element};
use half::f16;

mod sealed {
    pub trait Sealed: bytemuck::Pod {}
}

/// A Rust type of tensor elements: those of the table of [`DType`], such as `i8`, `f32`, [`f16`](struct@f16),
/// [`I4`](crate::numeric::I4), [`E4M3FN`](crate::numeric::E4M3FN), or [`QuantizationParams`]. Sealed.
pub trait Element: sealed::Sealed {
    /// The data type of a tensor of these elements.
    const FORMAT: DType;
}

macro_rules! elements {
    ($(#[doc = $doc:literal] $variant:ident: $element:ty, $name:literal, $bits:literal bits, $encoding:expr;)+) => {$(
        impl sealed::Sealed for element::$variant {}
        impl Element for element::$variant {
            const FORMAT: DType = DType::$variant;
        }
    )+};
}
each_dtype!(elements);

/// A tensor on the host.
///
/// ```
/// use lowbit::{Quantization, Tensor};
/// let weights = Tensor::new([2, 3], vec![1i8, -2, 3, 4, -5, 6])?.quantized(Quantization::tensor(0.5, 0))?;
/// assert_eq!(weights.values::<i8>()?[1], -2);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Tensor {
    tensor_type: TensorType,
    memory: Memory,
}

/// Equal types and equal elements. Elements of float16 and float32, and scales of parameters, are compared as numbers: NaN differs
/// from NaN, and −0 equals 0. All others, floats of at most 8 bits included, are compared by their bits.
impl PartialEq for Tensor {
    fn eq(&self, other: &Self) -> bool {
        fn equal<T: Element + PartialEq>(a: &Tensor, b: &Tensor) -> bool {
            a.memory.view::<T>() == b.memory.view::<T>()
        }
        self.tensor_type == other.tensor_type
            && match self.dtype().encoding() {
                Encoding::Signed(_) | Encoding::Unsigned(_) | Encoding::Minifloat(_) | Encoding::PowerOfTwo => {
                    self.memory == other.memory
                }
                Encoding::Float16 => equal::<f16>(self, other),
                Encoding::Float32 => equal::<f32>(self, other),
                Encoding::Parameters => equal::<QuantizationParams>(self, other),
            }
    }
}

impl Tensor {
    /// A tensor of these elements, in row-major order. A vector is not copied.
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
        Ok(Self { memory: Memory::new(elements), tensor_type })
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

    /// A tensor of elements that fit its type; the caller guarantees it.
    pub(crate) fn from_values<T: Element>(tensor_type: TensorType, values: Vec<T>) -> Self {
        debug_assert!(tensor_type.dtype() == T::FORMAT && tensor_type.shape().elements() == values.len());
        Self { memory: Memory::new(values), tensor_type }
    }

    /// A tensor of float32 or float16 from numbers, rounded to nearest.
    pub(crate) fn from_reals(tensor_type: TensorType, numbers: impl Iterator<Item = f32>) -> Self {
        match tensor_type.dtype() {
            DType::Float16 => Self::from_values(tensor_type, numbers.map(f16::from_f32).collect()),
            DType::Float32 => Self::from_values(tensor_type, numbers.collect::<Vec<f32>>()),
            other => unreachable!("{other} is neither"),
        }
    }

    /// A tensor of elements in the low bits of words; parameters take two words each. The caller guarantees the number of words.
    pub(super) fn from_words(tensor_type: TensorType, words: impl Iterator<Item = u32>) -> Self {
        let encoding = tensor_type.dtype().encoding();
        let memory = Memory::from_words(tensor_type.dtype().bits(), words.map(|word| encoding.element(word)));
        Self { tensor_type, memory }
    }

    /// A tensor of elements of 32 bits. The caller guarantees their number.
    pub(super) fn from_elements(tensor_type: TensorType, elements: Vec<u32>) -> Self {
        Self { tensor_type, memory: Memory::new(elements) }
    }

    /// A tensor of integers, or of floats of at most 8 bits, from its codes. Codes outside the data type are a bug of the caller.
    pub(crate) fn from_codes(tensor_type: TensorType, codes: Vec<i32>) -> Self {
        match tensor_type.dtype().encoding() {
            Encoding::Signed(32) => Self::from_values(tensor_type, codes),
            Encoding::Signed(_) | Encoding::Unsigned(_) | Encoding::Minifloat(_) | Encoding::PowerOfTwo => {
                Self::from_words(tensor_type, codes.into_iter().map(|code| code as u32))
            }
            Encoding::Float16 | Encoding::Float32 | Encoding::Parameters => {
                unreachable!("{} has no codes", tensor_type.dtype())
            }
        }
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
        if self.dtype() != T::FORMAT {
            refuse!("the tensor holds {}, but {} was asked for", self.dtype(), T::FORMAT);
        }
        Ok(self.memory.view())
    }

    /// The codes of integers, or the bits of floats of at most 8 bits, in row-major order.
    ///
    /// ```
    /// use lowbit::{Tensor, numeric::E2M1};
    /// assert_eq!(Tensor::new([2], vec![-7i8, 8])?.codes()?, [-7, 8]);
    /// assert_eq!(Tensor::new([2], [0.5, -6.0].map(E2M1::from_f32))?.codes()?, [0b0001, 0b1111]);
    /// # Ok::<(), lowbit::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the tensor holds float16, float32 or parameters.
    pub fn codes(&self) -> Result<Vec<i32>> {
        let codes = self.dtype().range().is_some() || self.dtype().bits() <= 8;
        require!(codes, "{} holds {}, which has no codes", self.tensor_type, self.dtype());
        Ok((0..self.tensor_type.shape().elements()).map(|i| self.code(i)).collect())
    }

    /// The numbers that codes stand for, `scale · (code − zero point)` in f32; numbers themselves are unchanged.
    ///
    /// ```
    /// use lowbit::{Quantization, Tensor};
    /// let codes = Tensor::new([2], vec![10u8, 20])?.quantized(Quantization::tensor(0.5, 12))?;
    /// assert_eq!(codes.dequantize()?.values::<f32>()?, [-1.0, 4.0]);
    /// # Ok::<(), lowbit::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the tensor holds parameters, or its scales are in another tensor.
    pub fn dequantize(&self) -> Result<Self> {
        require!(
            self.dtype() != DType::Parameters && !self.tensor_type.has_dynamic_scales(),
            "{} has {}, which are not known here",
            self.tensor_type,
            self.tensor_type.describe_scales()
        );
        let numbers = self.tensor_type.quantization().map_or_else(|| self.reals(), |q| self.dequantized(q));
        Self::new(self.dims(), numbers)
    }

    /// The numbers that integers or small floats stand for under these scales.
    pub(crate) fn dequantized(&self, quantization: &Quantization) -> Vec<f32> {
        let (granularity, shape) = (quantization.granularity(), self.tensor_type.shape());
        let layout = Minifloat::of(self.dtype());
        let number = |i: usize| {
            let index = granularity.index(shape, i);
            let number = match layout {
                Some(layout) => match layout.decode(self.code(i) as u32) {
                    special if !special.is_finite() => return special,
                    number => number,
                },
                None => (self.code(i) - quantization.zero_point(index)) as f32,
            };
            number * quantization.scale(index)
        };
        (0..shape.elements()).map(number).collect()
    }

    pub(super) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// The code at a linear index; the bits of small floats. A data type without codes is a bug of the caller.
    pub(crate) fn code(&self, index: usize) -> i32 {
        match self.dtype().encoding() {
            Encoding::Signed(_) => self.memory.signed(index),
            Encoding::Unsigned(_) | Encoding::Minifloat(_) | Encoding::PowerOfTwo => self.memory.word(index) as i32,
            Encoding::Float16 | Encoding::Float32 | Encoding::Parameters => {
                unreachable!("{} has no codes", self.dtype())
            }
        }
    }

    /// The elements as numbers: codes are not multiplied by scales. Parameters are a bug of the caller.
    pub(crate) fn reals(&self) -> Vec<f32> {
        let codes = (0..self.tensor_type.shape().elements()).map(|i| self.code(i));
        match self.dtype().encoding() {
            Encoding::Signed(_) | Encoding::Unsigned(_) => codes.map(|code| code as f32).collect(),
            Encoding::Minifloat(layout) => codes.map(|code| layout.decode(code as u32)).collect(),
            Encoding::PowerOfTwo => codes.map(|code| decode_power(code as u32)).collect(),
            Encoding::Float16 => self.memory.view::<f16>().iter().map(|x| x.to_f32()).collect(),
            Encoding::Float32 => self.memory.view().to_vec(),
            Encoding::Parameters => unreachable!("{} are no numbers", self.dtype()),
        }
    }

    /// The elements as another type of equal data type and number of elements.
    pub(crate) fn retyped(&self, tensor_type: TensorType) -> Self {
        debug_assert!(self.dtype() == tensor_type.dtype());
        debug_assert!(self.tensor_type.shape().elements() == tensor_type.shape().elements());
        Self { tensor_type, memory: self.memory.clone() }
    }

    /// The part of the first dimension from index `start` on, with the extent of `tensor_type`.
    pub(crate) fn part(&self, tensor_type: TensorType, start: usize) -> Self {
        let (first, count) = (tensor_type.dims()[0], tensor_type.shape().elements());
        let begin = count.checked_div(first).unwrap_or(0) * start;
        Self { tensor_type, memory: self.memory.part(begin..begin + count) }
    }

    /// The concatenation of parts along the first dimension.
    pub(crate) fn joined<'a>(tensor_type: TensorType, parts: impl Iterator<Item = &'a Self>) -> Self {
        let memory = Memory::joined(tensor_type.dtype().bits(), parts.map(|part| &part.memory));
        Self { tensor_type, memory }
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
        Ok(self.retyped(tensor_type))
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
        let fill = match self.dtype().encoding() {
            encoding
            @ (Encoding::Signed(_) | Encoding::Unsigned(_) | Encoding::Minifloat(_) | Encoding::PowerOfTwo) => {
                encoding.element(fill as u32)
            }
            Encoding::Float16 | Encoding::Float32 | Encoding::Parameters => 0,
        };
        Self { tensor_type, memory: self.memory.gathered(sources, fill) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numeric::{E4M3FN, I4};

    #[test]
    fn vectors_become_tensors_without_a_copy() {
        fn check<T: Element + PartialEq>(elements: Vec<T>) {
            let address = elements.as_ptr();
            let tensor = Tensor::new([elements.len()], elements).unwrap();
            assert_eq!(tensor.values::<T>().unwrap().as_ptr(), address, "{}", T::FORMAT);
        }
        check(vec![I4::MIN; 3]);
        check(vec![E4M3FN::from_f32(1.0); 3]);
        check(vec![-1i16; 3]);
        check(vec![f16::ONE; 3]);
        check(vec![1.0f32; 3]);
        check(vec![QuantizationParams::new(0.5, -1); 3]);
    }

    #[test]
    fn floats_of_16_and_32_bits_are_equal_as_numbers() {
        let tensor = |x: f32| Tensor::new([1], vec![x]).unwrap();
        let half = |x: f32| Tensor::new([1], vec![f16::from_f32(x)]).unwrap();
        let params = |scale| Tensor::new([1], vec![QuantizationParams::new(scale, 3)]).unwrap();
        assert_eq!((tensor(0.0), half(0.0), params(0.0)), (tensor(-0.0), half(-0.0), params(-0.0)));
        assert_ne!(tensor(f32::NAN), tensor(f32::NAN));
        assert_ne!(half(f32::NAN), half(f32::NAN));
        let small = |x: f32| Tensor::new([1], vec![E4M3FN::from_f32(x)]).unwrap();
        assert_ne!(small(0.0), small(-0.0));
        assert_eq!(small(f32::NAN), small(f32::NAN));
    }
}
