//! Ranges of float tensors, observed batch by batch, and scales from these ranges. The observing ops are in `ops`, the
//! arithmetic of quantization is in `numeric`.
//!
//! | step | with |
//! |---|---|
//! | decide what is observed, and how | [`Observer`], [`Calibration::new`] |
//! | run batches on a device without reading back | [`Calibration::on`], [`Calibrator::observe`] |
//! | run batches on the CPU reference | [`Calibration::observe_reference`] |
//! | move observations to another process and merge them | [`Observation`] (serde), [`Observation::merge`] |
//! | choose the bounds: extremes, percentile, entropy, least error | [`Clipping`] |
//! | compute scales and zero points | [`Scheme`], [`Observation::quantization`] |
//!
//! ```
//! use lowbit::calibrate::{Calibration, Clipping, Observer, Scheme};
//! use lowbit::{DType, Granularity, Graph, Tensor, TensorType};
//!
//! // Any float32 value of a graph can be observed; here it is an input.
//! let mut graph = Graph::new();
//! let rows = graph.extent("rows", 8)?;
//! let x = graph.dynamic_input(TensorType::new(DType::Float32, [8, 2])?, [(0, rows)])?;
//! let calibration = Calibration::new(&graph, &[(x, Observer::range(Granularity::Tensor))])?;
//!
//! let mut seen = calibration.empty();
//! for batch in [vec![0.0f32, 1.0, 2.0, 12.75], vec![-0.5, 0.0]] {
//!     let batch = Tensor::new([batch.len() / 2, 2], batch)?;
//!     calibration.observe_reference(&mut seen, &[&batch])?;
//! }
//! let quantization = seen[0].quantization(Clipping::MinMax, &Scheme::asymmetric(DType::Uint8)?)?;
//! assert_eq!((quantization.scales(), quantization.zero_points()), (&[13.25f32 / 255.0][..], &[10][..]));
//! # Ok::<(), lowbit::Error>(())
//! ```

mod clip;
#[cfg(feature = "wgpu")]
mod device;
mod histograms;
mod ranges;
mod scheme;
mod session;

pub use clip::Clipping;
#[cfg(feature = "wgpu")]
pub use device::Calibrator;
pub use histograms::Histograms;
pub use ranges::Ranges;
pub use scheme::{ScaleRule, Scheme, Ties};
pub use session::{Calibration, Observer};

use serde::{Deserialize, Serialize};

use crate::error::{Result, refuse, require};
use crate::tensor::{Granularity, Quantization};

/// The result of an observer: ranges or histograms. Serializes with serde.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Observation {
    /// From [`ops::ObserveRange`](crate::ops::ObserveRange).
    Ranges(Ranges),
    /// From [`ops::ObserveHistogram`](crate::ops::ObserveHistogram).
    Histograms(Histograms),
}

impl Observation {
    /// Adds another observer's observation of the same kind. The result is exactly that of one observer over all batches, in
    /// any order.
    ///
    /// # Errors
    /// If the other has another kind, granularity or bins, or is a moving average, which depends on the order of batches.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        match (self, other) {
            (Self::Ranges(this), Self::Ranges(other)) => this.merge(other),
            (Self::Histograms(this), Self::Histograms(other)) => this.merge(other),
            _ => {
                refuse!("ranges and histograms don't merge: observe with the same observer everywhere");
            }
        }
    }

    /// The elements that share a range.
    #[must_use]
    pub fn granularity(&self) -> Granularity {
        match self {
            Self::Ranges(ranges) => ranges.granularity(),
            Self::Histograms(histograms) => histograms.granularity(),
        }
    }

    /// Number of NaN and infinities that were skipped.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        match self {
            Self::Ranges(ranges) => ranges.skipped(),
            Self::Histograms(histograms) => histograms.skipped(),
        }
    }

    /// The bounds of each range.
    ///
    /// # Errors
    /// If a range has seen no finite number, or `clip` needs a histogram where there is none.
    pub fn bounds(&self, clip: Clipping, scheme: &Scheme) -> Result<Vec<(f32, f32)>> {
        match self {
            Self::Ranges(ranges) => {
                require!(
                    matches!(clip, Clipping::MinMax),
                    "{clip:?} needs a histogram, but only ranges were observed: use Observer::histogram"
                );
                let bounds = ranges.bounds();
                bounds.into_iter().enumerate().map(|(i, bounds)| seen(i, bounds)).collect()
            }
            Self::Histograms(histograms) => (0..histograms.len()).map(|i| clip.bounds(histograms, i, scheme)).collect(),
        }
    }

    /// Scales and zero points for codes of a scheme.
    ///
    /// # Errors
    /// As [`Observation::bounds`].
    pub fn quantization(&self, clip: Clipping, scheme: &Scheme) -> Result<Quantization> {
        let parameters: Vec<(f32, i32)> =
            self.bounds(clip, scheme)?.into_iter().map(|(low, high)| scheme.parameters(low, high)).collect();
        let (scales, zero_points): (Vec<f32>, Vec<i32>) = parameters.into_iter().unzip();
        Ok(Quantization::new(self.granularity(), scales, zero_points))
    }
}

/// The bounds, or an error if range `index` has seen no finite number.
fn seen(index: usize, bounds: Option<(f32, f32)>) -> Result<(f32, f32)> {
    require!(
        bounds.is_some(),
        "range {index} has seen no finite number: observe at least one batch in which it has one"
    );
    Ok(bounds.unwrap_or_default())
}
