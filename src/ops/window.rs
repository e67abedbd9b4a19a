//! The geometry of a sliding window: kernel, stride, dilation and padding over one to three spatial dimensions, forwards or
//! transposed. Convolution, patches and pooling share it.

use crate::error::{Result, require};
use crate::tensor::TensorType;

/// The padding around an image.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Padding {
    /// No padding (VALID).
    #[default]
    None,
    /// This number of elements before the first and after the last of each spatial dimension, as ONNX's `pads`.
    Explicit {
        /// Number of elements before the first, per spatial dimension.
        begin: Vec<usize>,
        /// Number of elements after the last, per spatial dimension.
        end: Vec<usize>,
    },
    /// The output size is the input size divided by the stride, rounded up; an odd element goes after (SAME_UPPER, TFLite's SAME).
    SameUpper,
    /// As `SameUpper`, but an odd element goes before.
    SameLower,
}

/// The options of a builder that has a `window`.
#[cfg(feature = "convolution")]
macro_rules! window_options {
    () => {
        /// Steps of the window, one per spatial dimension.
        pub fn stride(mut self, stride: impl Into<Vec<usize>>) -> Self {
            self.window.stride = stride.into();
            self
        }

        /// Distance between neighbouring taps, one per spatial dimension.
        pub fn dilation(mut self, dilation: impl Into<Vec<usize>>) -> Self {
            self.window.dilation = dilation.into();
            self
        }

        /// The padding around the image.
        pub fn padding(mut self, padding: $crate::ops::Padding) -> Self {
            self.window.padding = padding;
            self
        }
    };
}

/// The options of a builder of pools.
#[cfg(feature = "convolution")]
macro_rules! pool_options {
    () => {
        $crate::ops::window::window_options!();

        /// Counts taps in the padding as zeros of the average (ONNX's `count_include_pad`).
        pub fn count_padding(mut self) -> Self {
            self.count_padding = true;
            self
        }

        /// Rounds the output size up, not down (ONNX's `ceil_mode`). A window that would start in the padding after the image is left
        /// out.
        pub fn round_up(mut self) -> Self {
            self.window.round_up = true;
            self
        }
    };
}

#[cfg(feature = "convolution")]
pub(super) use {pool_options, window_options};

/// A validated window over depth, height and width; fewer spatial dimensions have leading ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub input: [usize; 3],
    pub output: [usize; 3],
    pub kernel: [usize; 3],
    pub stride: [usize; 3],
    pub dilation: [usize; 3],
    pub begin: [usize; 3],
    pub end: [usize; 3],
    /// True if each input pixel scatters over the window; false if each output pixel gathers from it.
    pub transposed: bool,
}

/// The largest number of phases, one per residue of an output position by the stride. No transposed window in use has as many.
const MAX_PHASES: usize = 1 << 12;

/// The largest number of taps. A sum of codes over more taps would leave i32.
const MAX_TAPS: usize = 1 << 24;

/// A window as the caller requests it: empty lists mean all ones.
#[derive(Debug, Clone, Default)]
pub(super) struct WindowRequest {
    pub kernel: Vec<usize>,
    pub stride: Vec<usize>,
    pub dilation: Vec<usize>,
    pub padding: Padding,
    pub round_up: bool,
    pub transposed: bool,
    /// For a transposed window: the extra elements of the output (`output_padding`), or its size (`output_size`).
    pub output_padding: Vec<usize>,
    pub output_size: Option<Vec<usize>>,
}

impl WindowRequest {
    /// The window over these spatial dimensions.
    pub(super) fn resolve(&self, spatial: &[usize]) -> Result<Window> {
        let rank = spatial.len();
        let axes = |name: &str, values: &[usize]| -> Result<Vec<usize>> {
            require!(
                values.is_empty() || values.len() == rank,
                "{name} has {} values, but there are {rank} spatial dimensions",
                values.len()
            );
            require!(!values.contains(&0), "{name} is {values:?}, but every value must be at least 1");
            Ok(if values.is_empty() { vec![1; rank] } else { values.to_vec() })
        };
        let (kernel, stride, dilation) =
            (axes("kernel", &self.kernel)?, axes("stride", &self.stride)?, axes("dilation", &self.dilation)?);
        let mut window = Window {
            input: [1; 3],
            output: [1; 3],
            kernel: [1; 3],
            stride: [1; 3],
            dilation: [1; 3],
            begin: [0; 3],
            end: [0; 3],
            transposed: self.transposed,
        };
        self.check_transposed(rank, &stride)?;
        let taps = kernel.iter().try_fold(1usize, |taps, &k| taps.checked_mul(k)).filter(|&t| t <= MAX_TAPS);
        require!(taps.is_some(), "a kernel of {kernel:?} has more than {MAX_TAPS} taps: use a smaller one");
        for i in 0..rank {
            let reach = (kernel[i] - 1)
                .checked_mul(dilation[i])
                .and_then(|r| r.checked_add(1))
                .filter(|&r| r <= i32::MAX as usize / 4);
            require!(reach.is_some(), "a kernel of {} dilated by {} is too large", kernel[i], dilation[i]);
            let reach = reach.unwrap_or(1);
            if self.transposed {
                let (begin, end, output) = self.spread(i, rank, spatial[i], reach, stride[i])?;
                let at = 3 - rank + i;
                (window.input[at], window.output[at], window.kernel[at]) = (spatial[i], output, kernel[i]);
                (window.stride[at], window.dilation[at]) = (stride[i], dilation[i]);
                (window.begin[at], window.end[at]) = (begin, end);
                continue;
            }
            let (begin, end) = self.pads(i, rank, spatial[i], reach, stride[i])?;
            let same = matches!(self.padding, Padding::SameUpper | Padding::SameLower);
            require!(
                !same || spatial[i] > 0,
                "spatial dimension {i} is empty, and SAME padding keeps it so: pad explicitly to get an output"
            );
            let padded = spatial[i] + begin + end;
            require!(
                padded >= reach,
                "along spatial dimension {i} the kernel spans {reach}, but the padded input has {padded}: pad more or \
                 use a smaller kernel or dilation"
            );
            require!(
                padded <= i32::MAX as usize / 4,
                "the padded input has {padded} elements along dimension {i}: too many"
            );
            let mut output = (padded - reach) / stride[i] + 1;
            if self.round_up && !(padded - reach).is_multiple_of(stride[i]) && output * stride[i] < spatial[i] + begin {
                output += 1;
            }
            let at = 3 - rank + i;
            window.input[at] = spatial[i];
            window.output[at] = output;
            window.kernel[at] = kernel[i];
            window.stride[at] = stride[i];
            window.dilation[at] = dilation[i];
            window.begin[at] = begin;
            window.end[at] = end;
        }
        Ok(window)
    }

    fn check_transposed(&self, rank: usize, stride: &[usize]) -> Result<()> {
        let sizes =
            [("output padding", &self.output_padding), ("output size", self.output_size.as_ref().unwrap_or(&vec![]))]
                .map(|(name, values)| (name, values.len()));
        for (name, given) in sizes {
            require!(
                given == 0 || self.transposed,
                "{name} says how far a transposed window spreads, but this one gathers: call transposed()"
            );
            require!(given == 0 || given == rank, "{name} has {given} values, but there are {rank} spatial dimensions");
        }
        require!(
            self.output_padding.is_empty() || self.output_size.is_none(),
            "both the size of the output and its padding were given: give one"
        );
        let phases = stride.iter().try_fold(1usize, |phases, &s| phases.checked_mul(s)).filter(|&p| p <= MAX_PHASES);
        require!(
            !self.transposed || phases.is_some(),
            "a transposed stride of {stride:?} has more than {MAX_PHASES} phases: use a smaller one"
        );
        Ok(())
    }

    /// The elements that a transposed window crops at both ends of a dimension, and the size of the output.
    fn spread(
        &self,
        i: usize,
        rank: usize,
        input: usize,
        reach: usize,
        stride: usize,
    ) -> Result<(usize, usize, usize)> {
        let full = input.saturating_sub(1).checked_mul(stride).and_then(|s| s.checked_add(reach));
        let full = full.filter(|&full| full <= i32::MAX as usize / 8);
        require!(full.is_some(), "{input} elements along dimension {i} spread by {stride} are too many");
        let full = if input == 0 { 0 } else { full.unwrap_or(0) };
        let more = self.output_padding.get(i).copied().unwrap_or(0);
        let wanted = self.output_size.as_ref().map(|sizes| sizes[i]);
        require!(
            more.max(wanted.unwrap_or(0)) <= i32::MAX as usize / 8,
            "an output of {} elements along dimension {i} is too large",
            more.max(wanted.unwrap_or(0))
        );
        let (begin, end) = match self.padding {
            Padding::SameUpper | Padding::SameLower => {
                let total = full.saturating_sub(wanted.unwrap_or(input * stride));
                let (less, more) = (total / 2, total - total / 2);
                if self.padding == Padding::SameUpper { (less, more) } else { (more, less) }
            }
            _ => self.pads(i, rank, input, reach, stride)?,
        };
        let same = matches!(self.padding, Padding::SameUpper | Padding::SameLower);
        let output = match wanted {
            Some(size) => size,
            None if same => input * stride + more,
            None => {
                require!(
                    full + more > begin + end,
                    "along spatial dimension {i} the output would have {full} elements, but the padding crops {begin} and \
                     {end} of them: pad less"
                );
                full + more - begin - end
            }
        };
        require!(output > 0, "the output would be empty along spatial dimension {i}: give a size or output padding");
        Ok((begin, end, output))
    }

    fn pads(&self, i: usize, rank: usize, input: usize, reach: usize, stride: usize) -> Result<(usize, usize)> {
        match &self.padding {
            Padding::None => Ok((0, 0)),
            Padding::Explicit { begin, end } => {
                require!(
                    begin.len() == rank && end.len() == rank,
                    "padding has {} and {} values, but there are {rank} spatial dimensions",
                    begin.len(),
                    end.len()
                );
                require!(
                    begin[i] <= i32::MAX as usize / 8 && end[i] <= i32::MAX as usize / 8,
                    "padding of {} and {} along dimension {i} is too large",
                    begin[i],
                    end[i]
                );
                Ok((begin[i], end[i]))
            }
            Padding::SameUpper | Padding::SameLower => {
                let output = input.div_ceil(stride);
                let total = (output.saturating_sub(1) * stride + reach).saturating_sub(input);
                let (less, more) = (total / 2, total - total / 2);
                Ok(if self.padding == Padding::SameUpper { (less, more) } else { (more, less) })
            }
        }
    }
}

/// The window of a pool over an image, and the dimensions of its output.
pub(super) fn pooled_dims(image: &TensorType, request: &WindowRequest) -> Result<(Window, Vec<usize>)> {
    let (dims, rank) = (image.dims(), image.shape().rank());
    require!(
        (3..=5).contains(&rank),
        "the image {image} has {rank} dimensions, but [batch, one to three spatial, channels] are 3 to 5"
    );
    let spatial = &dims[1..rank - 1];
    require!(
        request.kernel.len() == spatial.len(),
        "the kernel has {} sizes, but {image} has {} spatial dimensions",
        request.kernel.len(),
        spatial.len()
    );
    let window = request.resolve(spatial)?;
    Ok((window, [&dims[..1], window.output_spatial(rank - 2), &dims[rank - 1..]].concat()))
}

impl Window {
    /// True if there is one window, the image without padding.
    pub(crate) fn is_whole(&self) -> bool {
        self.kernel == self.input && self.begin == [0; 3] && self.end == [0; 3]
    }

    pub(crate) fn taps(&self) -> usize {
        self.kernel.iter().product()
    }

    pub(crate) fn output_pixels(&self) -> usize {
        self.output.iter().product()
    }

    pub(crate) fn input_pixels(&self) -> usize {
        self.input.iter().product()
    }

    /// True if every output pixel reads only the input pixel at its own position.
    pub(crate) fn is_pointwise(&self) -> bool {
        self.taps() == 1 && self.stride == [1; 3] && self.begin == [0; 3] && self.input == self.output
    }

    /// A lower bound of the taps that any output pixel counts: those inside the image, or inside the padded image.
    pub(super) fn least_count(&self, padding: bool) -> usize {
        let along = |i: usize| {
            let (stride, dilation, kernel) = (self.stride[i], self.dilation[i], self.kernel[i]);
            let (begin, end) = if padding {
                (0, self.begin[i] + self.input[i] + self.end[i])
            } else {
                (self.begin[i], self.begin[i] + self.input[i])
            };
            let before = |place: usize, at: usize| place.saturating_sub(at * stride).div_ceil(dilation).min(kernel);
            let counted = |at: usize| before(end, at) - before(begin, at);
            // In the interior a window either has all its taps inside the image or extends beyond both of its ends.
            let over = if (kernel - 1) * dilation < end - begin { kernel } else { (end - begin) / dilation };
            over.min(counted(0)).min(counted(self.output[i].saturating_sub(1)))
        };
        (0..3).map(along).product()
    }

    /// The last `rank` output sizes.
    pub(super) fn output_spatial(&self, rank: usize) -> &[usize] {
        &self.output[3 - rank..]
    }

    /// For an output pixel (linear within the image), each tap and the input pixel under it: `None` in the padding. The flag is
    /// true if the tap lies in the padded image.
    pub(crate) fn taps_of(self, pixel: usize) -> impl Iterator<Item = (usize, Option<usize>, bool)> {
        let at = unravel(pixel, self.output);
        (0..self.taps()).map(move |tap| {
            let offset = unravel(tap, self.kernel);
            let mut index = 0;
            let (mut inside, mut in_padding) = (true, true);
            for i in 0..3 {
                if self.transposed {
                    // place = source · stride, for taps that fall on a pixel.
                    let place = (at[i] + self.begin[i]).checked_sub(offset[i] * self.dilation[i]);
                    let source = place.filter(|place| place.is_multiple_of(self.stride[i]));
                    let source = source.map(|place| place / self.stride[i]).filter(|&source| source < self.input[i]);
                    inside &= source.is_some();
                    index = index * self.input[i] + source.unwrap_or(0);
                    continue;
                }
                let place = at[i] * self.stride[i] + offset[i] * self.dilation[i];
                let in_image = (self.begin[i]..self.begin[i] + self.input[i]).contains(&place);
                inside &= in_image;
                in_padding &= place < self.begin[i] + self.input[i] + self.end[i];
                index = index * self.input[i] + if in_image { place - self.begin[i] } else { 0 };
            }
            (tap, inside.then_some(index), in_padding)
        })
    }
}

fn unravel(index: usize, sizes: [usize; 3]) -> [usize; 3] {
    [index / (sizes[1] * sizes[2]), index / sizes[2] % sizes[1], index % sizes[2]]
}
