//! Extents: sizes of a graph that are known when tensors are bound to its plan. Each dimension of a value is a number, or in
//! proportion to extents; the shapes of ops at some sizes tell. `graph` has the values.

use std::sync::Arc;

use crate::error::{Result, refuse, require};
use crate::tensor::{TensorType, runs};

/// A named size of a [`Graph`](super::Graph) that is known at run time, such as the tokens of a text or the images of a batch; made
/// by [`Graph::extent`](super::Graph::extent).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Extent {
    pub(super) index: usize,
    /// The id of its graph.
    pub(super) graph: u64,
}

/// A dimension of a value: a factor, times the extents that it follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dimension {
    factor: usize,
    /// The indices of extents, each at most once.
    extents: Vec<usize>,
}

impl Dimension {
    pub(super) fn fixed(size: usize) -> Self {
        Self { factor: size, extents: vec![] }
    }

    /// True if it is one number whatever the extents are.
    pub(super) fn is_fixed(&self) -> bool {
        self.extents.is_empty()
    }

    /// The dimension where the extents have these sizes.
    pub(super) fn at(&self, sizes: &[usize]) -> usize {
        self.extents.iter().fold(self.factor, |product, &extent| product.saturating_mul(sizes[extent]))
    }

    /// The number that divides it at any sizes.
    pub(super) fn factor(&self) -> usize {
        self.factor
    }
}

/// The dimensions of a value.
pub(super) type Dims = Vec<Dimension>;

/// The dimensions that follow no extent.
pub(super) fn fixed(tensor_type: &TensorType) -> Dims {
    tensor_type.dims().iter().map(|&size| Dimension::fixed(size)).collect()
}

/// The dimensions where the extents have these sizes.
pub(super) fn dims_at(dims: &[Dimension], sizes: &[usize]) -> Vec<usize> {
    dims.iter().map(|dimension| dimension.at(sizes)).collect()
}

/// The indices of the extents that some dimensions follow, in order.
pub(super) fn followed<'a>(dims: impl IntoIterator<Item = &'a Dimension>) -> Vec<usize> {
    let mut followed: Vec<usize> = dims.into_iter().flat_map(|dimension| &dimension.extents).copied().collect();
    followed.sort_unstable();
    followed.dedup();
    followed
}

#[derive(Debug, Clone)]
struct Named {
    name: Arc<str>,
    largest: usize,
}

/// The extents of a graph.
#[derive(Debug, Clone, Default)]
pub(super) struct Extents(Vec<Named>);

impl Extents {
    /// Adds an extent and returns its index.
    pub(super) fn add(&mut self, name: Arc<str>, largest: usize) -> Result<usize> {
        require!(!name.is_empty(), "the extent has no name: give it one, for messages");
        require!(self.0.iter().all(|known| known.name != name), "the graph has an extent {name} already");
        require!(largest > 0, "{name} is at most 0: let there be 1 at least");
        self.0.push(Named { name, largest });
        Ok(self.0.len() - 1)
    }

    /// The names and the largest sizes.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (&str, usize)> {
        self.0.iter().map(|known| (&*known.name, known.largest))
    }

    /// The largest size of each.
    pub(super) fn largest(&self) -> Vec<usize> {
        self.0.iter().map(|known| known.largest).collect()
    }

    /// The dimensions of an input of this type, of which those listed follow extents.
    pub(super) fn declared(&self, tensor_type: &TensorType, following: &[(usize, usize)]) -> Result<Dims> {
        let mut dims = fixed(tensor_type);
        require!(
            !following.is_empty(),
            "no dimension of the dynamic input {tensor_type} follows an extent: declare it by Graph::input"
        );
        for &(axis, extent) in following {
            let Named { name, largest } = &self.0[extent];
            let Some(dimension) = dims.get_mut(axis) else {
                refuse!(
                    "dimension {axis} of the dynamic input {tensor_type} is to follow {name}, but it has {} dimensions",
                    dims.len()
                );
            };
            require!(
                dimension.is_fixed(),
                "dimension {axis} of the dynamic input {tensor_type} is to follow two extents: name one"
            );
            let size = dimension.factor;
            require!(
                size > 0 && size.is_multiple_of(*largest),
                "dimension {axis} of the dynamic input {tensor_type} is {size}, but {name} is at most {largest}: make it a multiple of that, \
                 and at least 1"
            );
            *dimension = Dimension { factor: size / largest, extents: vec![extent] };
        }
        Ok(dims)
    }

    /// The sizes that tensors of these types have, which are about to be inputs with these dimensions and labels. An extent that
    /// no input has is at its largest. Another number of dimensions is refused elsewhere.
    pub(super) fn sizes<'a>(
        &self,
        inputs: impl Iterator<Item = (&'a [Dimension], String)>,
        given: impl Iterator<Item = &'a TensorType>,
    ) -> Result<Vec<usize>> {
        let mut found: Vec<Option<(usize, String)>> = vec![None; self.0.len()];
        for (i, ((dims, label), given)) in inputs.zip(given).enumerate() {
            let one = |dimension: &'a Dimension| match dimension.extents[..] {
                [extent] => Some((extent, dimension.factor)),
                _ => None,
            };
            let following = dims.iter().enumerate().filter_map(|(axis, dimension)| Some((axis, one(dimension)?)));
            for (axis, (extent, factor)) in following.filter(|_| given.shape().rank() == dims.len()) {
                let Named { name, largest } = &self.0[extent];
                let size = given.dims()[axis];
                let times = if factor == 1 { String::new() } else { format!("{factor} times ") };
                require!(
                    size.is_multiple_of(factor) && size / factor <= *largest,
                    "input {i}{label} is {given}, but its dimension {axis} is {times}{name}, which is at most {largest}"
                );
                let size = size / factor;
                match &found[extent] {
                    None => found[extent] = Some((size, format!("input {i}{label}"))),
                    Some((known, before)) if *known != size => {
                        refuse!(
                            "{name} is {known} in {before} but {size} in input {i}{label}: give tensors of one size"
                        )
                    }
                    Some(_) => {}
                }
            }
        }
        let sizes = found.into_iter().zip(&self.0);
        Ok(sizes.map(|(found, known)| found.map_or(known.largest, |(size, _)| size)).collect())
    }

    /// The sizes that are asked for by name. Others are at their largest.
    pub(super) fn named(&self, asked: &[(&str, usize)]) -> Result<Vec<usize>> {
        let mut sizes = self.largest();
        for (i, &(name, size)) in asked.iter().enumerate() {
            let Some(extent) = self.0.iter().position(|known| &*known.name == name) else {
                let names: Vec<&str> = self.iter().map(|(name, _)| name).collect();
                refuse!("there is no extent {name}; there are {names:?}");
            };
            let largest = self.0[extent].largest;
            require!(size <= largest, "{name} is to be {size}, but it is at most {largest}");
            require!(asked[..i].iter().all(|(other, _)| *other != name), "{name} is asked for twice");
            sizes[extent] = size;
        }
        Ok(sizes)
    }

    /// The dimensions of the outputs of an op. `types_at` tells the types of its outputs at some sizes, or refuses the sizes.
    ///
    /// An op bears an extent if it takes none of it, or one more than the largest; and all sizes from the least that it takes.
    /// Each dimension of its outputs must stay or be in proportion.
    pub(super) fn follow(
        &self,
        op: &str,
        followed: &[usize],
        outputs: &[TensorType],
        types_at: impl Fn(&[usize]) -> Result<Vec<TensorType>>,
    ) -> Result<Vec<Dims>> {
        let mut dims: Vec<Dims> = outputs.iter().map(fixed).collect();
        for &extent in followed {
            let Named { name, largest } = &self.0[extent];
            let at = |size: usize| {
                let mut sizes = self.largest();
                sizes[extent] = size;
                types_at(&sizes)
            };
            let taken = self.taken(extent, at).map_err(|error| {
                let reason = error.to_string();
                crate::Error::Request(format!("{op} can't follow {name}: {reason}"))
            })?;
            for (output, axis) in places(outputs) {
                let most = outputs[output].dims()[axis];
                let sizes = || taken.iter().map(|(size, types)| (*size, types[output].dims()[axis]));
                if sizes().all(|(_, made)| made == most) {
                    continue;
                }
                if let Some((size, made)) = sizes().find(|(size, made)| made * largest != size * most) {
                    refuse!(
                        "{op} makes {} where {name} is {largest}, but {} in dimension {axis} where it is {size}: a dimension must stay, or be \
                         in proportion to {name}",
                        outputs[output],
                        made
                    );
                }
                dims[output][axis].extents.push(extent);
            }
        }
        let largest = self.largest();
        for (output, axis) in places(outputs) {
            let dimension = &mut dims[output][axis];
            let extents: usize = dimension.extents.iter().map(|&extent| largest[extent]).product();
            require!(
                dimension.factor.is_multiple_of(extents),
                "{op} makes {}, whose dimension {axis} is no multiple of {}: a dimension must be in proportion to its extents",
                outputs[output],
                self.listed(&dimension.extents)
            );
            dimension.factor /= extents;
        }
        self.check_jointly(op, followed, &dims, types_at)?;
        Ok(dims)
    }

    /// The types at those sizes of an extent that an op takes.
    fn taken(
        &self,
        extent: usize,
        types_at: impl Fn(usize) -> Result<Vec<TensorType>>,
    ) -> Result<Vec<(usize, Vec<TensorType>)>> {
        let largest = self.0[extent].largest;
        let mut fewer = vec![largest - 1, largest / 2, 1, 0];
        fewer.dedup();
        fewer.retain(|&size| size < largest);
        let more = types_at(largest + 1);
        let (mut taken, mut refused) = (Vec::new(), None);
        for size in fewer {
            match (types_at(size), &refused) {
                (Ok(types), None) => taken.push((size, types)),
                (Err(error), None) => refused = Some(error),
                // It takes fewer again, as the operands of a sum do that broadcast.
                (Ok(_), Some(_)) => return Err(refused.expect("some")),
                (Err(_), Some(_)) => {}
            }
        }
        match (refused, more) {
            (Some(error), Err(_)) => return Err(error),
            (_, Ok(types)) => taken.push((largest + 1, types)),
            (None, Err(_)) => {}
        }
        Ok(taken)
    }

    /// Refuses dimensions that are not as told where several extents change at once.
    fn check_jointly(
        &self,
        op: &str,
        followed: &[usize],
        dims: &[Dims],
        types_at: impl Fn(&[usize]) -> Result<Vec<TensorType>>,
    ) -> Result<()> {
        let rules: [fn(usize, usize) -> usize; 4] =
            [|_, _| 1, |_, most| most.div_ceil(2), |i, most| most.saturating_sub(i).max(1), |i, most| most / (i + 1)];
        for rule in rules.into_iter().filter(|_| followed.len() > 1) {
            let mut sizes = self.largest();
            followed.iter().enumerate().for_each(|(i, &extent)| sizes[extent] = rule(i, sizes[extent]));
            // Sizes that the op refuses are refused when they are asked for.
            let Ok(types) = types_at(&sizes) else { continue };
            for (made, dims) in types.iter().zip(dims) {
                require!(
                    made.dims() == dims_at(dims, &sizes),
                    "{op} makes {made} where {} are {:?}, but {:?} were in proportion",
                    self.listed(followed),
                    followed.iter().map(|&extent| sizes[extent]).collect::<Vec<_>>(),
                    dims_at(dims, &sizes)
                );
            }
        }
        Ok(())
    }

    /// The dimensions of elements that are reshaped to `to`. Each extent goes to the outermost dimension that it divides.
    pub(super) fn reshaped(&self, from: &[Dimension], to: &[usize]) -> Result<Dims> {
        let largest = self.largest();
        let mut left = to.to_vec();
        let mut extents: Vec<Vec<usize>> = vec![vec![]; to.len()];
        let sizes = dims_at(from, &largest);
        for (before, after) in runs(&sizes, to) {
            for extent in from[before].iter().flat_map(|dimension| &dimension.extents).copied() {
                let Some(axis) = after.clone().find(|&axis| left[axis].is_multiple_of(largest[extent])) else {
                    refuse!(
                        "{} can't become {to:?}: no dimension is a multiple of {}, which is at most {}",
                        self.described(from),
                        self.0[extent].name,
                        largest[extent]
                    );
                };
                require!(
                    !extents[axis].contains(&extent),
                    "{} can't become {to:?}: a dimension would follow {} twice",
                    self.described(from),
                    self.0[extent].name
                );
                left[axis] /= largest[extent];
                extents[axis].push(extent);
            }
        }
        Ok(left.into_iter().zip(extents).map(|(factor, extents)| Dimension { factor, extents }).collect())
    }

    /// Dimensions, for people: `[tokens, 3 heads]`.
    pub(super) fn described(&self, dims: &[Dimension]) -> String {
        let one = |dimension: &Dimension| match (dimension.factor, self.listed(&dimension.extents)) {
            (factor, names) if names.is_empty() => factor.to_string(),
            (1, names) => names,
            (factor, names) => format!("{factor} {names}"),
        };
        format!("[{}]", dims.iter().map(one).collect::<Vec<_>>().join(", "))
    }

    /// The names of extents.
    fn listed(&self, extents: &[usize]) -> String {
        extents.iter().map(|&extent| &*self.0[extent].name).collect::<Vec<_>>().join(" · ")
    }

    /// The sizes, for people: `tokens 3, images 1`.
    pub(super) fn with_sizes(&self, sizes: &[usize]) -> String {
        let one = |(known, size): (&Named, &usize)| format!("{} {size}", known.name);
        self.0.iter().zip(sizes).map(one).collect::<Vec<_>>().join(", ")
    }
}

/// The output and the axis of each dimension of some types.
fn places(types: &[TensorType]) -> impl Iterator<Item = (usize, usize)> {
    types.iter().enumerate().flat_map(|(output, made)| (0..made.shape().rank()).map(move |axis| (output, axis)))
}
