//! The type of a tensor, without its data: data type, shape, scales and zero points. Ops are validated by types alone.

use std::fmt;
use std::sync::Arc;

use super::{Granularity, Quantization, Shape};
use crate::error::{Result, require};
use crate::numeric::{DType, sort_indices};

/// The data type, the shape and, for quantized tensors, the scales and zero points of a tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorType {
    dtype: DType,
    shape: Shape,
    quantization: Option<Arc<Quantization>>,
    dynamic: bool,
}

impl TensorType {
    /// A type without scales: plain integers or floats.
    ///
    /// # Errors
    /// If [`Shape::new`] refuses the shape.
    pub fn new(dtype: DType, dims: impl Into<Vec<usize>>) -> Result<Self> {
        Ok(Self { dtype, shape: Shape::new(dims)?, quantization: None, dynamic: false })
    }

    /// The type of float32 numbers with these dimensions.
    ///
    /// # Errors
    /// If [`Shape::new`] refuses the shape.
    pub fn float32(dims: impl Into<Vec<usize>>) -> Result<Self> {
        Self::new(DType::Float32, dims)
    }

    /// The type of int32 numbers with these dimensions: indices, labels, accumulators.
    ///
    /// # Errors
    /// If [`Shape::new`] refuses the shape.
    pub fn int32(dims: impl Into<Vec<usize>>) -> Result<Self> {
        Self::new(DType::Int32, dims)
    }

    /// This type with scales and zero points.
    ///
    /// # Errors
    /// If their number doesn't fit the shape, a scale is not finite and positive, or a zero point is not a code.
    ///
    /// ```
    /// use lowbit::{DType, Quantization, TensorType};
    /// let images = TensorType::new(DType::Uint8, [1, 8, 8, 3])?;
    /// assert!(images.clone().quantized(Quantization::tensor(1.0 / 255.0, 0)).is_ok());
    /// let error = images.quantized(Quantization::tensor(-1.0, 0)).unwrap_err();
    /// assert_eq!(error.to_string(), "scale 0 of uint8 [1, 8, 8, 3] is -1e0, but scales must be finite and positive");
    /// # Ok::<(), lowbit::Error>(())
    /// ```
    pub fn quantized(mut self, quantization: Quantization) -> Result<Self> {
        quantization.validate(self.dtype, &self.shape)?;
        self.quantization = Some(Arc::new(quantization));
        Ok(self)
    }

    /// This type with another first dimension.
    ///
    /// # Errors
    /// If there is no dimension, the shape is too large, or there are scales along the first dimension.
    pub(crate) fn with_extent(&self, extent: usize) -> Result<Self> {
        let mut dims = self.dims().to_vec();
        require!(!dims.is_empty(), "{self} has no dimension whose extent could change");
        dims[0] = extent;
        self.with_dims(&dims)
    }

    /// This type with other dimensions, as many as it has. Elements come and go with them; scales stay.
    ///
    /// # Errors
    /// If the number of dimensions differs, the shape is too large, or there are scales along a dimension that changes.
    pub(crate) fn with_dims(&self, dims: &[usize]) -> Result<Self> {
        require!(dims.len() == self.dims().len(), "{self} can't have the dimensions {dims:?}: their number differs");
        for (axis, (&old, &new)) in self.dims().iter().zip(dims).enumerate().filter(|(_, (old, new))| old != new) {
            let same_scales = match self.quantization().map(Quantization::granularity) {
                None | Some(Granularity::Tensor) => true,
                Some(Granularity::Axis(along)) => along != axis,
                Some(Granularity::Blocks { .. }) => false,
            };
            require!(
                same_scales,
                "{self} has {}, which belong to its {old} indices along dimension {axis}, so that there can't be {new}",
                self.describe_scales()
            );
        }
        Ok(Self { shape: Shape::new(dims)?, ..self.clone() })
    }

    /// The type of the tensor whose axis `i` is axis `order[i]` of this one. Scales along an axis move with it.
    ///
    /// # Errors
    /// If `order` is not a permutation of the axes, or the scales are in blocks.
    pub(crate) fn permuted(&self, order: &[usize]) -> Result<Self> {
        let dims = self.dims();
        let mut sorted = order.to_vec();
        sort_indices(&mut sorted, |axis| axis);
        require!(
            sorted.iter().copied().eq(0..dims.len()),
            "{order:?} is not an order of the {} axes of {self}",
            dims.len()
        );
        let permuted = Self::new(self.dtype, order.iter().map(|&axis| dims[axis]).collect::<Vec<_>>())?;
        let quantization = match self.quantization() {
            None => None,
            Some(q) => Some(match q.granularity() {
                Granularity::Tensor => q.clone(),
                Granularity::Axis(axis) => {
                    q.clone().along(order.iter().position(|&a| a == axis).expect("order is a permutation"))
                }
                granularity => {
                    require!(
                        false,
                        "{self} is quantized by {granularity:?}, which don't move with axes: dequantize it"
                    );
                    unreachable!()
                }
            }),
        };
        Ok(Self { quantization: quantization.map(Arc::new), dynamic: self.dynamic, ..permuted })
    }

    /// This type with other dimensions and equal elements. Scales per tensor stay. Scales along the last axis also stay, if its
    /// extent stays.
    ///
    /// # Errors
    /// If the number of elements differs, or the scales don't fit the new dimensions.
    pub(crate) fn reshaped(&self, dims: impl Into<Vec<usize>>) -> Result<Self> {
        let new = Self::new(self.dtype, dims)?;
        require!(
            self.shape.elements() == new.shape.elements(),
            "{self} can't become {new}: the number of elements differs"
        );
        let (rank, new_rank) = (self.shape.rank(), new.shape.rank());
        let keeps_last = rank > 0 && new_rank > 0 && new.shape.row_length() == self.shape.row_length();
        let quantization = match self.quantization() {
            None => None,
            Some(q) if q.granularity() == Granularity::Tensor => Some(q.clone()),
            Some(q) if keeps_last && q.granularity() == Granularity::Axis(rank - 1) => {
                Some(q.clone().along(new_rank - 1))
            }
            Some(q) => {
                require!(
                    false,
                    "{self} is quantized by {:?}, which has no place in {new}: reshape before it is quantized, or use one scale",
                    q.granularity()
                );
                unreachable!()
            }
        };
        Ok(Self { quantization: quantization.map(Arc::new), dynamic: self.dynamic, ..new })
    }

    /// The data type of the elements.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The shape.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The dimensions, outermost first.
    #[must_use]
    pub fn dims(&self) -> &[usize] {
        self.shape.dims()
    }

    /// The scales and zero points, if the tensor has any.
    #[must_use]
    pub fn quantization(&self) -> Option<&Quantization> {
        self.quantization.as_deref()
    }

    /// This type with scales that are in another tensor, of [`DType::Parameters`]: the type of the codes that
    /// [`DynamicQuantize`](crate::ops::DynamicQuantize) makes, for a cache that holds them. Scales that it has are dropped.
    ///
    /// ```
    /// use lowbit::{DType, TensorType, ops::{DynamicGranularity, DynamicQuantize}};
    /// let codes = TensorType::new(DType::Int8, [4, 8])?.with_dynamic_scales();
    /// let quantize = DynamicQuantize::new(TensorType::float32([4, 8])?, DType::Int8, DynamicGranularity::Row).symmetric().build()?;
    /// assert_eq!(lowbit::ops::Op::from(quantize).outputs()[0], codes);
    /// # Ok::<(), lowbit::Error>(())
    /// ```
    #[must_use]
    pub fn with_dynamic_scales(mut self) -> Self {
        self.quantization = None;
        self.dynamic = true;
        self
    }

    /// This type without scales, static or dynamic.
    pub(crate) fn without_scales(&self) -> Self {
        Self { quantization: None, dynamic: false, ..self.clone() }
    }

    /// This shape with another data type, without scales.
    pub(crate) fn with_dtype(&self, dtype: DType) -> Self {
        Self { dtype, quantization: None, dynamic: false, ..self.clone() }
    }

    /// This type without static scales.
    pub(super) fn without_quantization(&self) -> Self {
        Self { quantization: None, ..self.clone() }
    }

    /// True if the scales are computed on the device and are in another tensor ([`DynamicQuantize`](crate::ops::DynamicQuantize)).
    #[must_use]
    pub fn has_dynamic_scales(&self) -> bool {
        self.dynamic
    }

    /// True if scales and zero points are equal, or if one of the types has none.
    pub(crate) fn scales_agree(&self, other: &Self) -> bool {
        let both = self.quantization().zip(other.quantization());
        both.is_none_or(|(a, b)| a == b)
    }

    /// A description of the scales, for messages.
    pub(crate) fn describe_scales(&self) -> String {
        match self.quantization() {
            _ if self.dynamic => "scales in another tensor".into(),
            None => "no scale".into(),
            Some(q) if q.granularity() == Granularity::Tensor => {
                format!("scale {}, zero point {}", q.scales()[0], q.zero_points()[0])
            }
            Some(q) => format!("{} scales by {:?}", q.scales().len(), q.granularity()),
        }
    }

    /// The scale and zero point at an index along the quantized axis, or of the whole tensor; 1 and 0 if there are none.
    pub(crate) fn parameters(&self, index: usize) -> (f32, i32) {
        self.quantization().map_or((1.0, 0), |q| {
            let index = if q.granularity() == Granularity::Tensor { 0 } else { index };
            (q.scale(index), q.zero_point(index))
        })
    }

    /// Number of bytes of this tensor in device memory: rows packed as [`DType::row_words`] documents, at least 16 bytes.
    #[must_use]
    pub fn device_bytes(&self) -> u64 {
        let words = self.shape.rows() as u64 * self.dtype.row_words(self.shape.row_length()) as u64;
        (words * 4).max(16)
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.dtype, self.shape)
    }
}
