//! Resizing of images. The meaning is `reference/resize.rs`, the GPU programs are `kernels/layout/resize.rs` (linear) and
//! `kernels/layout/rearrange.rs` (nearest).

use super::{OpDef, check_moved, check_pixels};
use crate::error::{Result, require};
use crate::tensor::{Granularity, TensorType};

/// The position in the input of output element i, along an axis of `m` input and `n` output elements. ONNX's
/// `coordinate_transformation_mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Coordinates {
    /// `i · m / n`
    Asymmetric,
    /// `(i + 1/2) · m / n − 1/2`: positions of pixel centres.
    #[default]
    HalfPixel,
    /// As `HalfPixel`, but 0 if n is 1.
    PytorchHalfPixel,
    /// `i · (m − 1) / (n − 1)`: the first and the last elements coincide; 0 if n is 1.
    AlignCorners,
}

/// The choice of an element for a position between two. ONNX's `nearest_mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Nearest {
    /// The nearer one; the lower one of two equally near.
    #[default]
    PreferFloor,
    /// The nearer one; the upper one of two equally near.
    PreferCeil,
    /// The one below.
    Floor,
    /// The one above.
    Ceil,
}

impl Nearest {
    /// The integer nearest to the fraction `place / unit`.
    fn of(self, place: i128, unit: i128) -> i128 {
        let ceil = |numerator: i128, denominator: i128| -(-numerator).div_euclid(denominator);
        match self {
            Self::Floor => place.div_euclid(unit),
            Self::Ceil => ceil(place, unit),
            Self::PreferFloor => ceil(2 * place - unit, 2 * unit),
            Self::PreferCeil => (2 * place + unit).div_euclid(2 * unit),
        }
    }
}

/// The interpolation between the elements around a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Interpolation {
    Nearest(Nearest),
    Linear,
    /// Linear, by positions of 10 bits.
    TenBits,
}

/// An image `[batch, spatial…, channels]` resized to other spatial sizes
///
/// * One to three spatial dimensions. Positions are exact rational numbers ([`Coordinates`]), clamped to the image.
/// * Nearest: any data type but [`DType::Parameters`](crate::DType::Parameters). Bits are copied unchanged.
/// * Linear: int8 or uint8. With `f` the fractional part of the position, the element below has the weight `2^b − w` and the next
///   one `w = ⌊f · 2^b + 1/2⌋`. A code is the sum, over the 2, 4 or 8 surrounding elements, of their codes times the product of
///   their weights, divided by the sum of the products and rounded, ties away from zero. `b` is 11 for one or two spatial
///   dimensions and 7 for three: all sums are exact in i32, on every device. The error of a result is at most 0.625 of a code (1/2
///   of rounding, 1/16 of the weights along each dimension), or 3.5 for three dimensions.
/// * [`ten_bits`](ResizeBuilder::ten_bits): as linear, with positions and weights of 10 bits, for two spatial dimensions. With
///   `r = ⌊(1024 · m + ⌊n / 2⌋) / n⌋` the position of element i is `i · r / 1024` (asymmetric), `(i · r + ⌊r / 2⌋ − 512) / 1024`
///   (half pixel), or `i · r / 1024` with m − 1 and n − 1 in r (align corners, if n is not 1).
/// * Scales stay.
///
/// Sources: ONNX Resize with `sizes`, modes `nearest` and `linear` without `antialias`, where weights are real numbers; TFLite
/// RESIZE_BILINEAR on 8-bit codes (`ten_bits`).
///
/// ```
/// use lowbit::{Tensor, ops::{Coordinates, Resize}, reference};
/// let line = Tensor::new([1, 3, 1], vec![0u8, 100, 200])?;
/// let resize = Resize::linear(line.tensor_type().clone(), [6]).build()?;
/// assert_eq!(reference::run(&resize.into(), &[&line])?[0].values::<u8>()?, [0, 25, 75, 125, 175, 200]);
/// let twice = Resize::nearest(line.tensor_type().clone(), [6]).coordinates(Coordinates::Asymmetric);
/// let twice = twice.rounding(lowbit::ops::Nearest::Floor).build()?;
/// assert_eq!(reference::run(&twice.into(), &[&line])?[0].values::<u8>()?, [0, 0, 100, 100, 200, 200]);
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Resize {
    input: TensorType,
    interpolation: Interpolation,
    coordinates: Coordinates,
    output: TensorType,
}

/// Describes a [`Resize`].
#[derive(Debug, Clone)]
#[must_use]
pub struct ResizeBuilder {
    input: TensorType,
    sizes: Vec<usize>,
    interpolation: Interpolation,
    coordinates: Coordinates,
}

/// The two elements around a position, and the weight of the upper one in steps of `2^-bits`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Between {
    pub lower: usize,
    pub upper: usize,
    pub weight: i32,
}

impl Resize {
    /// A builder for an image of these spatial sizes, by nearest elements.
    pub fn nearest(input: TensorType, sizes: impl Into<Vec<usize>>) -> ResizeBuilder {
        let interpolation = Interpolation::Nearest(Nearest::default());
        ResizeBuilder { input, sizes: sizes.into(), interpolation, coordinates: Coordinates::default() }
    }

    /// A builder for an image of these spatial sizes, by linear interpolation along each dimension.
    pub fn linear(input: TensorType, sizes: impl Into<Vec<usize>>) -> ResizeBuilder {
        let interpolation = Interpolation::Linear;
        ResizeBuilder { input, sizes: sizes.into(), interpolation, coordinates: Coordinates::default() }
    }

    pub(crate) fn input(&self) -> &TensorType {
        &self.input
    }

    pub(crate) fn output(&self) -> &TensorType {
        &self.output
    }

    pub(crate) fn interpolation(&self) -> Interpolation {
        self.interpolation
    }

    /// The number of spatial dimensions.
    pub(crate) fn spatial(&self) -> usize {
        self.input.shape().rank() - 2
    }

    /// Number of bits of a weight.
    pub(crate) fn weight_bits(&self) -> u32 {
        match self.spatial() {
            _ if self.interpolation == Interpolation::TenBits => 10,
            ..3 => 11,
            _ => 7,
        }
    }

    /// The position of an element along an axis, as a fraction with a positive denominator. Both extents may be near 2³¹.
    fn place(&self, axis: usize, index: usize) -> (i128, i128) {
        let extent = |t: &TensorType| t.dims()[axis] as i128;
        let (input, output, index) = (extent(&self.input), extent(&self.output), index as i128);
        match self.coordinates {
            Coordinates::PytorchHalfPixel | Coordinates::AlignCorners if output == 1 => (0, 1),
            Coordinates::Asymmetric => (index * input, output),
            Coordinates::HalfPixel | Coordinates::PytorchHalfPixel => ((2 * index + 1) * input - output, 2 * output),
            Coordinates::AlignCorners => (index * (input - 1), output - 1),
        }
    }

    /// The position of an element along an axis, in steps of 2^-10.
    fn place_in_ten_bits(&self, axis: usize, index: usize) -> i128 {
        let extent = |t: &TensorType| t.dims()[axis] as i128;
        let (input, output, index) = (extent(&self.input), extent(&self.output), index as i128);
        let step = |input: i128, output: i128| ((input << 10) + output / 2) / output;
        match self.coordinates {
            Coordinates::AlignCorners if output > 1 => index * step(input - 1, output - 1),
            Coordinates::HalfPixel => index * step(input, output) + step(input, output) / 2 - (1 << 9),
            _ => index * step(input, output),
        }
    }

    /// The input element nearest to an element of the output, along an axis.
    pub(crate) fn nearest_index(&self, rounding: Nearest, axis: usize, index: usize) -> usize {
        let (place, unit) = self.place(axis, index);
        rounding.of(place, unit).clamp(0, self.input.dims()[axis] as i128 - 1) as usize
    }

    /// The first nearest element and the step between them; `None` if the steps along the axis are not equal.
    pub(crate) fn nearest_line(&self, rounding: Nearest, axis: usize) -> Option<(i64, i64)> {
        let [input, output] = [&self.input, &self.output].map(|t| t.dims()[axis]);
        if output <= 1 || input == 1 {
            return Some((
                if output == 0 { 0 } else { self.nearest_index(rounding, axis, 0) as i64 },
                i64::from(input > 1),
            ));
        }
        // Positions lie on a line. The nearest elements do too, if the steps are whole and no position is clamped.
        let ((first, unit), (second, _)) = (self.place(axis, 0), self.place(axis, 1));
        let step = (second - first) / unit;
        let begin = rounding.of(first, unit);
        let whole = (second - first) % unit == 0;
        let inside = begin >= 0 && begin + step * (output as i128 - 1) < input as i128;
        (whole && inside).then_some((begin as i64, step as i64))
    }

    /// The input elements around an element of the output, along an axis.
    pub(crate) fn between(&self, axis: usize, index: usize) -> Between {
        let (place, unit) = match self.interpolation {
            Interpolation::TenBits => (self.place_in_ten_bits(axis, index), 1 << 10),
            Interpolation::Linear | Interpolation::Nearest(_) => self.place(axis, index),
        };
        let last = self.input.dims()[axis] as i128 - 1;
        let place = place.clamp(0, last * unit);
        let (lower, rest) = (place / unit, place % unit);
        let steps = 1i128 << self.weight_bits();
        let weight = (2 * rest * steps + unit) / (2 * unit);
        Between { lower: lower as usize, upper: (lower + 1).min(last) as usize, weight: weight as i32 }
    }
}

impl OpDef for Resize {
    fn name(&self) -> &'static str {
        "resize"
    }

    fn inputs(&self) -> Vec<TensorType> {
        vec![self.input.clone()]
    }

    fn outputs(&self) -> Vec<TensorType> {
        vec![self.output.clone()]
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        check_pixels("a resize", &self.input, &inputs[0])?;
        let output = self.output.with_extent(inputs[0].dims()[0])?;
        Ok(Self { input: inputs[0].clone(), output, ..self.clone() })
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        Some(vec![true])
    }
}

impl ResizeBuilder {
    /// The positions of output elements in the input.
    pub fn coordinates(mut self, coordinates: Coordinates) -> Self {
        self.coordinates = coordinates;
        self
    }

    /// The choice of the nearest element; linear interpolation ignores it.
    pub fn rounding(mut self, rounding: Nearest) -> Self {
        if let Interpolation::Nearest(nearest) = &mut self.interpolation {
            *nearest = rounding;
        }
        self
    }

    /// Positions and weights of linear interpolation in 10 bits, as TFLite's kernels have them.
    ///
    /// ```
    /// use lowbit::{Tensor, ops::Resize, reference};
    /// let image = Tensor::new([1, 1, 3, 1], vec![0u8, 100, 200])?;
    /// let resize = Resize::linear(image.tensor_type().clone(), [1, 6]).ten_bits().build()?;
    /// assert_eq!(reference::run(&resize.into(), &[&image])?[0].values::<u8>()?, [0, 25, 75, 125, 175, 200]);
    /// # Ok::<(), lowbit::Error>(())
    /// ```
    pub fn ten_bits(mut self) -> Self {
        if self.interpolation == Interpolation::Linear {
            self.interpolation = Interpolation::TenBits;
        }
        self
    }

    /// Validates the description.
    ///
    /// # Errors
    /// If the input is not an image, the number of sizes is not the number of its spatial dimensions, an empty dimension would
    /// grow, or linear interpolation is requested for other than 8-bit codes with scales per tensor or channel.
    pub fn build(self) -> Result<Resize> {
        let Self { input, sizes, interpolation, coordinates } = self;
        check_moved(&input)?;
        let rank = input.shape().rank();
        require!(
            (3..=5).contains(&rank),
            "the image {input} has {rank} dimensions, but [batch, one to three spatial, channels] are 3 to 5"
        );
        require!(
            sizes.len() == rank - 2,
            "{} sizes were given, but {input} has {} spatial dimensions",
            sizes.len(),
            rank - 2
        );
        for (i, (&from, &to)) in input.dims()[1..].iter().zip(&sizes).enumerate() {
            require!(
                from > 0 || to == 0,
                "spatial dimension {i} of {input} is empty, so that it can't have {to} elements"
            );
        }
        require!(
            matches!(interpolation, Interpolation::Nearest(_)) || input.dtype().is_8_bit(),
            "linear interpolation takes int8 or uint8, but this is {input}: resize to the nearest, or quantize first"
        );
        if interpolation == Interpolation::TenBits {
            let three = coordinates != Coordinates::PytorchHalfPixel && rank == 4;
            require!(
                three,
                "positions of 10 bits have two spatial dimensions and other coordinates than PytorchHalfPixel, but this is {input}"
            );
        }
        let mut dimensions = input.dims().to_vec();
        dimensions[1..rank - 1].copy_from_slice(&sizes);
        let mut output = TensorType::new(input.dtype(), dimensions)?;
        if let Some(quantization) = input.quantization() {
            let granularity = quantization.granularity();
            let kept = match granularity {
                Granularity::Tensor => true,
                Granularity::Axis(axis) => axis == 0 || axis == rank - 1,
                Granularity::Blocks { .. } => false,
            };
            require!(
                kept,
                "{input} is quantized by {granularity:?}, which a resized image does not keep: use one scale"
            );
            output = output.quantized(quantization.clone())?;
        }
        if input.has_dynamic_scales() {
            output = output.with_dynamic_scales();
        }
        Ok(Resize { input, interpolation, coordinates, output })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numeric::DType;

    fn resize(from: usize, to: usize, coordinates: Coordinates) -> Resize {
        let image = TensorType::new(DType::Int8, [1, from, 1]).expect("a small shape");
        Resize::nearest(image, [to]).coordinates(coordinates).build().expect("a sound op")
    }

    /// The expected positions are worked out by hand.
    #[test]
    fn nearest_elements_of_every_mode() {
        use Coordinates::{AlignCorners, Asymmetric, HalfPixel, PytorchHalfPixel};
        use Nearest::{Ceil, Floor, PreferCeil, PreferFloor};
        let table: [(Coordinates, Nearest, usize, &[usize]); 12] = [
            (Asymmetric, Floor, 2, &[0, 0, 1, 1]), // 0, 1/2, 1, 3/2
            (Asymmetric, Ceil, 2, &[0, 1, 1, 1]),  // and clamped
            (Asymmetric, PreferFloor, 2, &[0, 0, 1, 1]),
            (Asymmetric, PreferCeil, 2, &[0, 1, 1, 1]),
            (HalfPixel, PreferFloor, 4, &[0, 2]), // 1/2, 5/2
            (HalfPixel, PreferCeil, 4, &[1, 3]),
            (HalfPixel, Floor, 3, &[0, 0, 0, 1, 1, 2]), // -1/4, 1/4, 3/4, 5/4, 7/4, 9/4
            (HalfPixel, PreferFloor, 3, &[0, 0, 1, 1, 2, 2]),
            (HalfPixel, PreferFloor, 5, &[2]), // 2
            (PytorchHalfPixel, PreferFloor, 5, &[0]),
            (AlignCorners, PreferFloor, 3, &[0, 0, 1, 1, 2]), // 0, 1/2, 1, 3/2, 2
            (AlignCorners, PreferCeil, 3, &[0, 1, 1, 2, 2]),
        ];
        for (coordinates, rounding, from, expected) in table {
            let op = resize(from, expected.len(), coordinates);
            let got: Vec<usize> = (0..expected.len()).map(|i| op.nearest_index(rounding, 1, i)).collect();
            assert_eq!(got, expected, "{coordinates:?}, {rounding:?}, {from}");
        }
    }

    #[test]
    fn weights_are_the_nearest_steps() {
        let op = resize(3, 6, Coordinates::HalfPixel);
        let got: Vec<_> = (0..6).map(|i| op.between(1, i)).map(|b| (b.lower, b.upper, b.weight)).collect();
        assert_eq!(got, [(0, 1, 0), (0, 1, 512), (0, 1, 1536), (1, 2, 512), (1, 2, 1536), (2, 2, 0)]);
        let thirds = resize(2, 4, Coordinates::AlignCorners);
        assert_eq!([1, 2].map(|i| thirds.between(1, i).weight), [683, 1365]);
    }
}
