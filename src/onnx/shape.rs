//! The arithmetic of shapes: ranges, axes and dimensions that nodes give as integers.

use super::array::Array;
use super::proto::NodeProto;
use crate::error::{Error, Result, refuse, require};
use crate::network::axis_of;
use crate::tensor::Shape;

/// The begin, the size and the step of a slice along each axis.
pub(super) type Ranges = (Vec<usize>, Vec<usize>, Vec<isize>);

/// Dimensions that no node may exceed.
const MOST_ELEMENTS: usize = i32::MAX as usize;

/// The dimensions after a `Reshape`: 0 keeps that of the input, −1 is what is left.
pub(super) fn reshape(dims: &[usize], wanted: &[i64], allow_zero: bool) -> Result<Vec<usize>> {
    let elements = dims.iter().product::<usize>();
    let mut open = None;
    let mut new = Vec::new();
    for (i, &d) in wanted.iter().enumerate() {
        new.push(match d {
            -1 => {
                require!(open.replace(i).is_none(), "the shape {wanted:?} has two dimensions of -1");
                1
            }
            0 if !allow_zero => match dims.get(i) {
                Some(&kept) => kept,
                None => refuse!("the shape {wanted:?} keeps dimension {i}, which {dims:?} has not"),
            },
            d => usize::try_from(d).map_err(|_| Error::Request(format!("the shape is {wanted:?}")))?,
        });
    }
    let rest = checked_product(&new)?;
    if let Some(open) = open {
        require!(rest > 0 && elements.is_multiple_of(rest), "{dims:?} can't become {wanted:?}");
        new[open] = elements / rest;
    }
    require!(checked_product(&new)? == elements, "{dims:?} can't become {wanted:?}");
    Ok(new)
}

pub(super) fn checked_product(dims: &[usize]) -> Result<usize> {
    let product = dims.iter().try_fold(1usize, |product, &d| product.checked_mul(d));
    let product = product.filter(|&product| product <= MOST_ELEMENTS);
    product.ok_or_else(|| Error::Request(format!("{dims:?} has too many elements")))
}

/// The sizes of the parts of a `Split` along an axis of this extent.
pub(super) fn split(node: &NodeProto, sizes: Option<&Array>, extent: usize) -> Result<Vec<usize>> {
    let given = match (node.ints("split"), sizes) {
        (Some(sizes), _) => Some(sizes.to_vec()),
        (None, sizes) => sizes.map(Array::as_integers).transpose()?,
    };
    let sizes = match given {
        Some(sizes) => super::array::dims_of(&sizes)?,
        None => {
            let parts = node.output.len().max(1);
            let size = extent.div_ceil(parts);
            (0..parts).map(|part| size.min(extent.saturating_sub(part * size))).collect()
        }
    };
    require!(
        sizes.len() == node.output.len()
            && sizes.iter().try_fold(0usize, |sum, &size| sum.checked_add(size)) == Some(extent),
        "the sizes are {sizes:?} for {} outputs of an axis of {extent}",
        node.output.len()
    );
    Ok(sizes)
}

/// Indices that may count from the end.
pub(super) fn indices(indices: &[i64], extent: usize) -> Result<Vec<usize>> {
    let place = |&index: &i64| {
        let from_start = if index < 0 { index + extent as i64 } else { index };
        let place = usize::try_from(from_start).ok().filter(|&place| place < extent);
        place.ok_or_else(|| Error::Request(format!("an index is {index}, but the axis has {extent}")))
    };
    indices.iter().map(place).collect()
}

/// The rows that a `GatherND` selects, of all indices of the first dimensions in row-major order, and the dimensions of a row.
pub(super) fn nested_indices<'a>(array: &Array, dims: &'a [usize]) -> Result<(Vec<usize>, &'a [usize])> {
    let Some(&depth) = array.dims.last() else { refuse!("its indices have no dimension") };
    require!(depth > 0 && depth <= dims.len(), "its indices have {depth} parts for {} dimensions", dims.len());
    let (first, rest) = dims.split_at(depth);
    let row = |parts: &[i64]| -> Result<usize> {
        let parts = parts.iter().zip(first);
        parts.into_iter().try_fold(0, |row, (&part, &extent)| Ok(row * extent + indices(&[part], extent)?[0]))
    };
    Ok((array.as_integers()?.chunks(depth).map(row).collect::<Result<_>>()?, rest))
}

/// The ranges of a `Slice`.
pub(super) fn slice(
    dims: &[usize],
    starts: &[i64],
    ends: &[i64],
    axes: Option<Vec<i64>>,
    steps: Option<Vec<i64>>,
) -> Result<Ranges> {
    let rank = dims.len();
    let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = steps.unwrap_or_else(|| vec![1; starts.len()]);
    require!(
        ends.len() == starts.len() && axes.len() == starts.len() && steps.len() == starts.len(),
        "{} starts, {} ends, {} axes and {} steps are given",
        starts.len(),
        ends.len(),
        axes.len(),
        steps.len()
    );
    let mut ranges = (vec![0; rank], dims.to_vec(), vec![1isize; rank]);
    for (i, &axis) in axes.iter().enumerate() {
        let axis = axis_of(axis, rank)?;
        let (extent, step) = (dims[axis] as i64, steps[i]);
        require!(step != 0, "a step is 0");
        let from_start = |x: i64| if x < 0 { x.saturating_add(extent) } else { x };
        let (begin, end) = match step > 0 {
            true => (from_start(starts[i]).clamp(0, extent), from_start(ends[i]).clamp(0, extent)),
            false => (from_start(starts[i]).clamp(-1, extent - 1), from_start(ends[i]).clamp(-1, extent - 1)),
        };
        let distance = if step > 0 { end - begin } else { begin - end };
        let size = u64::try_from(distance).map_or(0, |distance| distance.div_ceil(step.unsigned_abs()));
        ranges.0[axis] = begin.max(0) as usize;
        ranges.1[axis] = size as usize;
        ranges.2[axis] = isize::try_from(step).unwrap_or(isize::MAX).clamp(-(1 << 40), 1 << 40);
    }
    Ok(ranges)
}

/// The elements that a `Pad` puts before and behind each axis.
pub(super) fn pads(rank: usize, pads: &[i64], axes: Option<Vec<i64>>) -> Result<(Vec<usize>, Vec<usize>)> {
    let axes = axes.unwrap_or_else(|| (0..rank as i64).collect());
    require!(pads.len() == 2 * axes.len(), "{} pads are given for {} axes", pads.len(), axes.len());
    let (mut begin, mut end) = (vec![0; rank], vec![0; rank]);
    for (i, &axis) in axes.iter().enumerate() {
        let axis = axis_of(axis, rank)?;
        let sizes = super::array::dims_of(&[pads[i], pads[i + axes.len()]])?;
        (begin[axis], end[axis]) = (sizes[0], sizes[1]);
    }
    Ok((begin, end))
}

/// `DepthToSpace` or `SpaceToDepth` as a reshape, a permutation of axes and a reshape.
pub(super) fn depth_and_space(node: &NodeProto, dims: &[usize]) -> Result<(Vec<usize>, Vec<usize>, Vec<usize>)> {
    let &[n, c, h, w] = dims else { refuse!("its input has {} dimensions in place of 4", dims.len()) };
    let block = usize::try_from(node.int("blocksize", 0)).unwrap_or(0);
    require!((1..1 << 15).contains(&block), "blocksize is {}", node.int("blocksize", 0));
    if node.op_type == "SpaceToDepth" {
        require!(node.text("mode", "DCR")? == "DCR", "the mode is CRD");
        require!(h.is_multiple_of(block) && w.is_multiple_of(block), "{dims:?} is no multiple of blocks of {block}");
        let first = vec![n, c, h / block, block, w / block, block];
        return Ok((first, vec![0, 3, 5, 1, 2, 4], vec![n, c * block * block, h / block, w / block]));
    }
    require!(c.is_multiple_of(block * block), "{c} channels are no multiple of blocks of {block} by {block}");
    let (depth, last) = (c / block / block, vec![n, c / block / block, h * block, w * block]);
    Ok(match node.text("mode", "DCR")? {
        "DCR" => (vec![n, block, block, depth, h, w], vec![0, 3, 4, 1, 5, 2], last),
        "CRD" => (vec![n, depth, block, block, h, w], vec![0, 1, 4, 2, 5, 3], last),
        other => refuse!("the mode is {other}"),
    })
}

/// The dimensions of two operands that broadcast as in NumPy.
pub(super) fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>> {
    checked_product(a)?;
    checked_product(b)?;
    Ok(Shape::new(a)?.broadcast(&Shape::new(b)?)?.dims().to_vec())
}
