//! The elements of each scale or range, as the strides that `shaders/calibrate/members.wgsl` multiplies: the inverse of
//! `granularity`. Granularities are defined in `tensor`.

use crate::kernels::parameters;
use crate::tensor::{Granularity, Shape};

parameters! {
    /// `shaders/calibrate/members.wgsl`.
    pub(crate) struct MemberParams {
        member_counts: [u32; 4],
        member_strides: [u32; 4],
        segment_counts: [u32; 4],
        segment_strides: [u32; 4],
        chunk: u32,
        chunks: u32,
        partials: u32,
        width: u32,
        low: i32,
        high: i32,
        unused_0: u32,
        unused_1: u32,
    }
}

/// The segments of a tensor.
pub(crate) struct Members {
    /// Number of segments.
    pub segments: usize,
    /// Members of the longest segment.
    pub longest: usize,
    /// The four vec4s of the shader.
    member_counts: [u32; 4],
    member_strides: [u32; 4],
    segment_counts: [u32; 4],
    segment_strides: [u32; 4],
    /// True if the members of a segment follow each other.
    pub contiguous: bool,
}

impl Members {
    /// The parameters of a launch that owns `chunks` chunks of `chunk` members in each segment.
    pub(crate) fn parameters(&self, chunk: usize, chunks: usize) -> MemberParams {
        MemberParams {
            member_counts: self.member_counts,
            member_strides: self.member_strides,
            segment_counts: self.segment_counts,
            segment_strides: self.segment_strides,
            chunk: chunk as u32,
            chunks: chunks as u32,
            partials: (self.segments * chunks) as u32,
            ..MemberParams::default()
        }
    }

    pub(crate) fn new(granularity: Granularity, shape: &Shape) -> Self {
        let dims = shape.dims();
        let product = |part: &[usize]| part.iter().product::<usize>();
        let around = |axis: usize| (product(&dims[..axis]), dims[axis], product(&dims[axis + 1..]));
        // (segments, members, members of the last, run), (outer, inner), (extent, within), (a, b, c)
        let (counts, members, segments, strides) = match granularity {
            Granularity::Tensor => {
                let n = shape.elements();
                ([1, n, n, n], [0, 1], [1, 1], [0, 0, 0])
            }
            Granularity::Axis(axis) => {
                let (outer, extent, inner) = around(axis);
                let n = outer * inner;
                ([extent, n, n, inner], [extent * inner, 1], [extent, 1], [0, inner, 0])
            }
            Granularity::Blocks { axis, size } => {
                let (outer, extent, inner) = around(axis);
                let size = size.min(extent.max(1));
                let blocks = extent.div_ceil(size);
                let last = extent - blocks.saturating_sub(1) * size;
                (
                    [outer * blocks * inner, size.min(extent), last, 1],
                    [inner, 0],
                    [blocks, inner],
                    [extent * inner, size * inner, 1],
                )
            }
        };
        let [all, longest, last, run] = counts;
        let contiguous = match granularity {
            Granularity::Tensor => true,
            Granularity::Axis(axis) => around(axis).0 <= 1,
            Granularity::Blocks { axis, .. } => around(axis).2 == 1,
        };
        let word = |n: usize| n.max(1) as u32; // divisors must not be zero, even if there is nothing to divide
        Self {
            segments: all,
            longest,
            member_counts: [longest as u32, last as u32, word(run), 0],
            member_strides: [members[0] as u32, members[1] as u32, 0, 0],
            segment_counts: [word(segments[0]), word(segments[1]), 0, 0],
            segment_strides: [strides[0] as u32, strides[1] as u32, strides[2] as u32, 0],
            contiguous,
        }
    }
}
