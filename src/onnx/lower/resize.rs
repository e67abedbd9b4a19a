//! The positions and weights of `Resize`.

use crate::error::{Result, refuse, require};
use crate::network::axis_of;
use crate::onnx::proto::NodeProto;
use crate::onnx::shape;

pub(super) struct Grid<'a> {
    /// The extents of the output.
    pub sizes: Vec<usize>,
    /// Elements of the output to one of the input.
    pub scales: Vec<f64>,
    pub coordinates: &'a str,
}

impl<'a> Grid<'a> {
    pub(super) fn of(
        node: &'a NodeProto,
        dims: &[usize],
        scales: Option<Vec<f32>>,
        sizes: Option<Vec<usize>>,
    ) -> Result<Self> {
        let rank = dims.len();
        let axes = match node.ints("axes").filter(|axes| !axes.is_empty()) {
            Some(axes) => axes.iter().map(|&axis| axis_of(axis, rank)).collect::<Result<Vec<_>>>()?,
            None => (0..rank).collect(),
        };
        let old = node.op_type == "Upsample" || node.input.len() == 2;
        let coordinates = node.text("coordinate_transformation_mode", if old { "asymmetric" } else { "half_pixel" })?;
        require!(node.int("antialias", 0) == 0, "it smoothes what it makes smaller (antialias)");
        let mut grid = Self { sizes: dims.to_vec(), scales: vec![1.0; rank], coordinates };
        let given = sizes.as_ref().map(Vec::len).or(scales.as_ref().map(Vec::len)).unwrap_or(0);
        require!(given == axes.len(), "{given} sizes or scales are given for {} axes", axes.len());
        require!(dims.iter().all(|&d| d > 0), "its input {dims:?} is empty");
        for (i, &axis) in axes.iter().enumerate() {
            let extent = dims[axis];
            match (&sizes, &scales) {
                (Some(sizes), _) => {
                    grid.sizes[axis] = sizes[i];
                    grid.scales[axis] = sizes[i] as f64 / extent as f64;
                }
                (None, Some(scales)) => {
                    let scale = f64::from(scales[i]);
                    require!(scale.is_finite() && scale > 0.0, "a scale is {scale}");
                    grid.scales[axis] = scale;
                    grid.sizes[axis] = (extent as f64 * scale).floor() as usize;
                }
                (None, None) => refuse!("neither scales nor sizes are given"),
            }
        }
        if sizes.is_some() {
            let all = axes.iter().map(|&axis| grid.scales[axis]);
            let scale = match node.text("keep_aspect_ratio_policy", "stretch")? {
                "stretch" => None,
                "not_larger" => Some(all.fold(f64::INFINITY, f64::min)),
                "not_smaller" => Some(all.fold(0.0, f64::max)),
                other => refuse!("keep_aspect_ratio_policy is {other}"),
            };
            for &axis in axes.iter().filter(|_| scale.is_some()) {
                grid.scales[axis] = scale.unwrap_or(1.0);
                grid.sizes[axis] = (grid.scales[axis] * dims[axis] as f64 + 0.5).floor() as usize;
            }
        }
        shape::checked_product(&grid.sizes)?;
        Ok(grid)
    }

    /// Refuses scales that are no quotients of extents.
    pub(super) fn require_whole(&self, dims: &[usize]) -> Result<()> {
        for ((&from, &to), &scale) in dims.iter().zip(&self.sizes).zip(&self.scales) {
            require!(
                (scale * from as f64 - to as f64).abs() < 1e-3,
                "a scale of {scale} makes {to} of {from}, whose quotient is another: give sizes in its place"
            );
        }
        Ok(())
    }

    /// The weight of each element of an axis in each element of the output, in rows.
    pub(super) fn weights(&self, node: &NodeProto, axis: usize, extent: usize) -> Result<Vec<f32>> {
        let size = self.sizes[axis];
        require!(
            size.checked_mul(extent).is_some_and(|weights| weights <= 1 << 24),
            "from {extent} to {size} elements it has too many weights"
        );
        let cubic = match node.text("mode", "nearest")? {
            "linear" => None,
            "cubic" => Some(f64::from(node.float("cubic_coeff_a", -0.75))),
            other => refuse!("the mode is {other}"),
        };
        let excludes = node.int("exclude_outside", 0) != 0;
        let mut weights = vec![0f32; size * extent];
        for (i, row) in weights.chunks_mut(extent).enumerate() {
            let at = self.position(i, axis, extent)?;
            let below = at.floor();
            let part = at - below;
            let taps: Vec<(f64, f64)> = match cubic {
                None => vec![(below, 1.0 - part), (below + 1.0, part)],
                Some(a) => {
                    // Keys' cubic kernel.
                    let near = |d: f64| ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0;
                    let far = |d: f64| ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a;
                    vec![
                        (below - 1.0, far(part + 1.0)),
                        (below, near(part)),
                        (below + 1.0, near(1.0 - part)),
                        (below + 2.0, far(2.0 - part)),
                    ]
                }
            };
            let inside = |place: f64| place >= 0.0 && place < extent as f64;
            let whole: f64 = taps.iter().filter(|(place, _)| inside(*place)).map(|(_, weight)| weight).sum();
            for (place, weight) in taps {
                if excludes && cubic.is_some() {
                    if inside(place) {
                        row[place as usize] += (weight / whole) as f32;
                    }
                } else {
                    row[place.clamp(0.0, extent as f64 - 1.0) as usize] += weight as f32;
                }
            }
        }
        Ok(weights)
    }

    /// The position in the input of an element of the output.
    fn position(&self, i: usize, axis: usize, extent: usize) -> Result<f64> {
        let (size, scale, i) = (self.sizes[axis] as f64, self.scales[axis], i as f64);
        Ok(match self.coordinates {
            "asymmetric" => i / scale,
            "half_pixel" => (i + 0.5) / scale - 0.5,
            "half_pixel_symmetric" => {
                let adjustment = size / (scale * extent as f64);
                let centre = extent as f64 / 2.0;
                centre * (1.0 - adjustment) + (i + 0.5) / scale - 0.5
            }
            "pytorch_half_pixel" if size > 1.0 => (i + 0.5) / scale - 0.5,
            "align_corners" if size > 1.0 => i * (extent as f64 - 1.0) / (scale * extent as f64 - 1.0),
            "pytorch_half_pixel" | "align_corners" => 0.0,
            other => refuse!("coordinate_transformation_mode is {other}"),
        })
    }
}
