//! A window as launches see it: one gathering window. A transposed window becomes one gathering window per residue of the output
//! position modulo the stride, so that no tap falls between pixels. Windows are defined in `ops::window`.

use crate::ops::Window;

/// Some of the output pixels, and the taps that reach them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Phase {
    /// Its index among all phases of the window, for any sizes of image and output.
    pub index: usize,
    /// Sizes of its output. Each pixel reads the image as in a convolution that is not transposed.
    pub output: [usize; 3],
    pub kernel: [usize; 3],
    pub stride: [usize; 3],
    pub dilation: [usize; 3],
    /// Before the first element of each axis; negative if the first elements are not read.
    pub pad: [i64; 3],
    pub taps: Taps,
    /// The first output pixel, and the distance of the next ones in the whole output.
    pub first: [usize; 3],
    pub step: [usize; 3],
}

impl Phase {
    pub(crate) fn pixels(&self) -> usize {
        self.output.iter().product()
    }
}

/// The taps of a phase in order, by their indices in the op's kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taps {
    axes: [Spaced; 3],
    kernel: [usize; 3],
}

/// Equally spaced taps along an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Spaced {
    first: usize,
    step: isize,
    count: usize,
}

impl Taps {
    pub(crate) fn len(&self) -> usize {
        self.axes.iter().map(|axis| axis.count).product()
    }

    /// The tap at a position in this order.
    pub(crate) fn at(&self, place: usize) -> usize {
        let [z, y, x] = self.axes;
        let along = |axis: Spaced, index: usize| axis.first.wrapping_add_signed(axis.step * index as isize);
        let row = along(z, place / (y.count * x.count)) * self.kernel[1] + along(y, place / x.count % y.count);
        row * self.kernel[2] + along(x, place % x.count)
    }
}

/// One axis of a phase.
struct Axis {
    output: usize,
    taps: Spaced,
    dilation: usize,
    pad: i64,
}

/// The phases of a window that have pixels.
pub(crate) fn phases(window: Window) -> Vec<Phase> {
    if !window.transposed {
        return vec![Phase {
            index: 0,
            output: window.output,
            kernel: window.kernel,
            stride: window.stride,
            dilation: window.dilation,
            pad: window.begin.map(|begin| begin as i64),
            taps: Taps { axes: window.kernel.map(|count| Spaced { first: 0, step: 1, count }), kernel: window.kernel },
            first: [0; 3],
            step: [1; 3],
        }];
    }
    let count = window.stride.iter().product();
    (0..count).map(|index| phase(window, index)).filter(|phase| phase.pixels() > 0).collect()
}

/// A phase of a transposed window.
pub(crate) fn phase(window: Window, index: usize) -> Phase {
    if !window.transposed {
        return phases(window).swap_remove(0);
    }
    let [_, y, x] = window.stride;
    let first = [index / (y * x), index / x % y, index % x];
    let axes: [Axis; 3] = std::array::from_fn(|i| axis(window, i, first[i]));
    Phase {
        index,
        output: std::array::from_fn(|i| axes[i].output),
        kernel: std::array::from_fn(|i| axes[i].taps.count),
        stride: [1; 3],
        dilation: std::array::from_fn(|i| axes[i].dilation),
        pad: std::array::from_fn(|i| axes[i].pad),
        taps: Taps { axes: std::array::from_fn(|i| axes[i].taps), kernel: window.kernel },
        first,
        step: window.stride,
    }
}

/// Output position `first + u · stride` reads source `q` under tap `t` if `q · stride + t · dilation = first + u · stride + begin`.
/// Taps are `stride / gcd` apart, sources `dilation / gcd`, in the opposite order.
fn axis(window: Window, i: usize, first: usize) -> Axis {
    let (stride, dilation) = (window.stride[i], window.dilation[i]);
    let at = first + window.begin[i];
    let meets = |&tap: &usize| (at as i64 - (tap * dilation) as i64).rem_euclid(stride as i64) == 0;
    let apart = stride / gcd(stride, dilation);
    // Taps are `apart` apart, so the last one is among the last `apart` of the kernel.
    let last = (0..window.kernel[i]).rev().take(apart).find(meets);
    let source = |tap: usize| (at as i64 - (tap * dilation) as i64) / stride as i64;
    Axis {
        output: window.output[i].saturating_sub(first).div_ceil(stride),
        pad: last.map_or(0, |tap| -source(tap)),
        dilation: dilation / gcd(stride, dilation),
        taps: Spaced {
            first: last.unwrap_or(0),
            step: -(apart as isize),
            count: last.map_or(0, |last| last / apart + 1),
        },
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The taps and sources of every output position, phase by phase, are those of the definition.
    #[test]
    fn phases_see_what_the_window_sees() {
        let mut windows = 0;
        for (kernel, stride, dilation, begin) in [
            (3, 2, 1, 1),
            (4, 2, 1, 0),
            (5, 3, 2, 4),
            (2, 4, 1, 0),
            (3, 2, 2, 1),
            (3, 6, 4, 2),
            (1, 1, 1, 0),
            (3, 1, 1, 2),
        ] {
            for output in [1, 2, 7, 12] {
                let window = Window {
                    input: [1, 1, 4],
                    output: [1, 1, output],
                    kernel: [1, 1, kernel],
                    stride: [1, 1, stride],
                    dilation: [1, 1, dilation],
                    begin: [0, 0, begin],
                    end: [0; 3],
                    transposed: true,
                };
                let mut seen = vec![Vec::new(); output];
                for phase in phases(window) {
                    for u in 0..phase.output[2] {
                        let place = phase.first[2] + u * phase.step[2];
                        for (j, tap) in (0..phase.taps.len()).map(|j| (j, phase.taps.at(j))) {
                            let source = (u + j * phase.dilation[2]) as i64 - phase.pad[2];
                            if (0..4).contains(&source) {
                                seen[place].push((tap, source as usize));
                            }
                        }
                        seen[place].sort_unstable();
                    }
                }
                for (place, seen) in seen.iter().enumerate() {
                    let taps = window.taps_of(place).filter_map(|(tap, source, _)| Some((tap, source?)));
                    assert_eq!(seen, &taps.collect::<Vec<_>>(), "{window:?} at {place}");
                }
                windows += 1;
            }
        }
        assert_eq!(windows, 32);
    }
}
