//! Nodes whose inputs are known before the graph runs, as far as they are about shapes: integers, and moves of any elements.

use super::array::{Array, Data, Element, dims_of};
use super::proto::NodeProto;
use super::shape::{self, broadcast, checked_product};
use crate::error::{Error, Result, refuse, require};
use crate::network::axis_of;
use crate::tensor::Shape;

/// Elements beyond which nothing is computed on the host.
const MOST: usize = 1 << 24;

/// The outputs of a node for known inputs; `None` if the graph has to compute them.
pub(super) fn fold(node: &NodeProto, inputs: &[Option<Array>]) -> Result<Option<Vec<Array>>> {
    let input = |index: usize| -> Result<&Array> {
        let given = inputs.get(index).and_then(Option::as_ref);
        given.ok_or_else(|| Error::Request(format!("input {index} is missing")))
    };
    let one = |array: Array| Ok(Some(vec![array]));
    let integers = |index: usize| -> Result<Vec<i64>> { input(index)?.as_integers() };
    let optional = |index: usize| inputs.get(index).and_then(Option::as_ref);
    // An attribute of older opsets, an input of newer ones.
    let list = |index: usize, name: &str| -> Result<Option<Vec<i64>>> {
        match node.ints(name) {
            Some(list) => Ok(Some(list.to_vec())),
            None => optional(index).map(Array::as_integers).transpose(),
        }
    };
    match &*node.op_type {
        "Identity" => one(input(0)?.clone()),
        "Cast" => cast(input(0)?, Element::of(node.int("to", 0) as i32)?),
        "ConstantOfShape" => {
            let dims = dims_of(&integers(0)?)?;
            let count = checked_product(&dims)?;
            require!(count <= MOST, "{dims:?} has too many elements for a constant");
            let value = node.tensor("value").map(|tensor| Array::read(tensor, None)).transpose()?;
            let value = value.unwrap_or_else(|| Array::reals([1], vec![0.0]));
            require!(value.elements() == 1, "its value has {} elements", value.elements());
            one(value.gathered(std::iter::repeat_n(0, count), dims)?)
        }
        "Range" => {
            let (start, limit, delta) = (integers(0)?, integers(1)?, integers(2)?);
            let (&[start], &[limit], &[delta]) = (&start[..], &limit[..], &delta[..]) else {
                refuse!("it has no scalars")
            };
            require!(delta != 0, "its step is 0");
            let distance = if delta > 0 { limit.saturating_sub(start) } else { start.saturating_sub(limit) };
            let count = u64::try_from(distance).map_or(0, |d| d.div_ceil(delta.unsigned_abs())) as usize;
            require!(count <= MOST, "it has {count} elements, which are too many for a constant");
            let values = (0..count as i64).map(|i| start + i * delta).collect();
            one(Array::integers([count], values))
        }
        "Reshape" => {
            let x = input(0)?;
            let dims = shape::reshape(&x.dims, &integers(1)?, node.int("allowzero", 0) != 0)?;
            one(x.reshaped(dims)?)
        }
        "Squeeze" | "Unsqueeze" => {
            let x = input(0)?;
            let axes = list(1, "axes")?;
            let rank = x.dims.len();
            let dims = match (&*node.op_type, axes) {
                ("Squeeze", None) => x.dims.iter().copied().filter(|&d| d != 1).collect(),
                ("Squeeze", Some(axes)) => {
                    let axes = axes.into_iter().map(|axis| axis_of(axis, rank)).collect::<Result<Vec<_>>>()?;
                    (0..rank).filter(|axis| !axes.contains(axis)).map(|axis| x.dims[axis]).collect()
                }
                (_, None) => refuse!("the axes are left out"),
                (_, Some(axes)) => {
                    let rank = rank + axes.len();
                    let axes = axes.into_iter().map(|axis| axis_of(axis, rank)).collect::<Result<Vec<_>>>()?;
                    let mut rest = x.dims.iter();
                    let extent = |axis: usize| if axes.contains(&axis) { Some(1) } else { rest.next().copied() };
                    let dims: Vec<usize> = (0..rank).filter_map(extent).collect();
                    dims
                }
            };
            one(x.reshaped(dims)?)
        }
        "Transpose" => {
            let x = input(0)?;
            let order = node.permutation(x.dims.len())?;
            one(x.permuted(&order)?)
        }
        "Concat" => {
            let arrays: Vec<&Array> = inputs.iter().flatten().collect();
            let Some(first) = arrays.first() else { refuse!("it has no inputs") };
            let axis = axis_of(node.int("axis", 0), first.dims.len())?;
            concat(&arrays, axis).map(|array| Some(vec![array]))
        }
        "Gather" => {
            let (x, indices) = (input(0)?, input(1)?);
            let axis = axis_of(node.int("axis", 0), x.dims.len())?;
            let places = shape::indices(&indices.as_integers()?, x.dims[axis])?;
            let dims = [&x.dims[..axis], &indices.dims, &x.dims[axis + 1..]].concat();
            require!(checked_product(&dims)? <= MOST, "{dims:?} has too many elements for a constant");
            let inner: usize = x.dims[axis + 1..].iter().product();
            let outer: usize = x.dims[..axis].iter().product();
            let mut sources = Vec::new();
            for i in 0..outer {
                for &place in &places {
                    let begin = (i * x.dims[axis] + place) * inner;
                    sources.extend(begin..begin + inner);
                }
            }
            one(x.gathered(sources.into_iter(), dims)?)
        }
        "Slice" => {
            let x = input(0)?;
            let (starts, ends) = (list(1, "starts")?.unwrap_or_default(), list(2, "ends")?.unwrap_or_default());
            let (begin, sizes, steps) = shape::slice(&x.dims, &starts, &ends, list(3, "axes")?, list(4, "steps")?)?;
            let source = |mut rest: usize| {
                let mut stride = 1;
                let mut place = 0;
                for axis in (0..x.dims.len()).rev() {
                    let i = (rest % sizes[axis]) as isize;
                    place += (begin[axis] as isize + i * steps[axis]) as usize * stride;
                    rest /= sizes[axis];
                    stride *= x.dims[axis];
                }
                place
            };
            one(x.gathered((0..sizes.iter().product()).map(source), sizes.clone())?)
        }
        "Expand" => {
            let (x, wanted) = (input(0)?, dims_of(&integers(1)?)?);
            let dims = broadcast(&x.dims, &wanted)?;
            one(x.gathered(places(&x.dims, &dims)?.into_iter(), dims)?)
        }
        "Where" => {
            let (condition, a, b) = (input(0)?, input(1)?, input(2)?);
            let dims = broadcast(&broadcast(&condition.dims, &a.dims)?, &b.dims)?;
            let condition = spread(&condition.as_integers()?, &condition.dims, &dims)?;
            let choose = |a: &[i64], b: &[i64]| -> Vec<i64> {
                condition.iter().zip(a.iter().zip(b)).map(|(&c, (&a, &b))| if c != 0 { a } else { b }).collect()
            };
            match (&a.data, &b.data) {
                (Data::Integers(x), Data::Integers(y)) => {
                    let values = choose(&spread(x, &a.dims, &dims)?, &spread(y, &b.dims, &dims)?);
                    one(Array::integers(dims, values))
                }
                _ => Ok(None),
            }
        }
        "Not" => {
            one(Array::integers(input(0)?.dims.clone(), integers(0)?.iter().map(|&x| i64::from(x == 0)).collect()))
        }
        "Neg" if is_integer(input(0)?) => {
            one(Array::integers(input(0)?.dims.clone(), integers(0)?.iter().map(|&x| x.wrapping_neg()).collect()))
        }
        "Size" => one(Array::integers([], vec![input(0)?.elements() as i64])),
        "ReduceProd" if is_integer(input(0)?) && !node.has("axes") && optional(1).is_none() => {
            let product = integers(0)?.iter().fold(1i64, |product, &x| product.wrapping_mul(x));
            let keep = node.int("keepdims", 1) != 0;
            one(Array::integers(if keep { vec![1; input(0)?.dims.len()] } else { vec![] }, vec![product]))
        }
        "Mod" if node.int("fmod", 0) != 0 => Ok(None),
        _ => match (inputs, integer_function(&node.op_type)) {
            ([Some(a), Some(b)], Some(function)) if is_integer(a) && is_integer(b) => {
                let dims = broadcast(&a.dims, &b.dims)?;
                let (x, y) = (spread(&a.as_integers()?, &a.dims, &dims)?, spread(&b.as_integers()?, &b.dims, &dims)?);
                let values = x.into_iter().zip(y).map(|(x, y)| function(x, y)).collect::<Result<Vec<_>>>()?;
                one(Array::integers(dims, values))
            }
            _ => Ok(None),
        },
    }
}

fn is_integer(array: &Array) -> bool {
    matches!(array.data, Data::Integers(_))
}

/// The function of two integers that an op is.
fn integer_function(op: &str) -> Option<fn(i64, i64) -> Result<i64>> {
    Some(match op {
        "Add" => |a, b| Ok(a.wrapping_add(b)),
        "Sub" => |a, b| Ok(a.wrapping_sub(b)),
        "Mul" => |a, b| Ok(a.wrapping_mul(b)),
        "Div" => |a, b| a.checked_div(b).ok_or_else(|| Error::Request(format!("{a} is divided by {b}"))),
        // The sign is that of the divisor.
        "Mod" => |a, b| {
            let rest = a.checked_rem(b).ok_or_else(|| Error::Request(format!("{a} is divided by {b}")))?;
            Ok(if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest })
        },
        "Min" => |a, b| Ok(a.min(b)),
        "Max" => |a, b| Ok(a.max(b)),
        "Equal" => |a, b| Ok((a == b).into()),
        "Less" => |a, b| Ok((a < b).into()),
        "LessOrEqual" => |a, b| Ok((a <= b).into()),
        "Greater" => |a, b| Ok((a > b).into()),
        "GreaterOrEqual" => |a, b| Ok((a >= b).into()),
        "And" => |a, b| Ok((a != 0 && b != 0).into()),
        "Or" => |a, b| Ok((a != 0 || b != 0).into()),
        _ => return None,
    })
}

/// The place in an operand of each element of the shape that it broadcasts to.
fn places(from: &[usize], to: &[usize]) -> Result<Vec<usize>> {
    let (from, to) = (Shape::new(from)?, Shape::new(to)?);
    require!(to.elements() <= MOST, "{to} has too many elements for a constant");
    Ok((0..to.elements()).map(|i| from.source_index(&to, i)).collect())
}

fn spread(values: &[i64], from: &[usize], to: &[usize]) -> Result<Vec<i64>> {
    Ok(places(from, to)?.into_iter().map(|place| values[place]).collect())
}

fn cast(x: &Array, to: Element) -> Result<Option<Vec<Array>>> {
    let dims = x.dims.clone();
    let array = match (to, &x.data) {
        (Element::Float | Element::Double, Data::Reals(_) | Data::Integers(_)) => Array::reals(dims, x.as_reals()?),
        (Element::Int32, Data::Reals(values)) => {
            Array::integers(dims, values.iter().map(|&x| (x as i32).into()).collect())
        }
        (Element::Int64, Data::Reals(values)) => Array::integers(dims, values.iter().map(|&x| x as i64).collect()),
        // Integers keep their low bits.
        (Element::Int32, _) => Array::integers(dims, x.as_integers()?.into_iter().map(|x| (x as i32).into()).collect()),
        (Element::Int64, _) => Array::integers(dims, x.as_integers()?),
        (Element::Float | Element::Double, Data::Codes(tensor)) if tensor.dtype().range().is_some() => {
            Array::reals(dims, tensor.codes()?.into_iter().map(|code| code as f32).collect())
        }
        (Element::Bool, _) => Array::integers(dims, x.truths().into_iter().map(i64::from).collect()),
        _ => return Ok(None),
    };
    Ok(Some(vec![array]))
}

fn concat(arrays: &[&Array], axis: usize) -> Result<Array> {
    let first = arrays[0];
    let same = |array: &&&Array| {
        array.dims.len() == first.dims.len()
            && (0..first.dims.len()).all(|i| i == axis || array.dims[i] == first.dims[i])
            && std::mem::discriminant(&array.data) == std::mem::discriminant(&first.data)
    };
    require!(arrays.iter().all(|array| same(&array)), "its inputs differ in more than axis {axis}");
    let mut dims = first.dims.clone();
    dims[axis] = arrays.iter().map(|array| array.dims[axis]).sum();
    require!(checked_product(&dims)? <= MOST, "{dims:?} has too many elements for a constant");
    let outer: usize = dims[..axis].iter().product();
    let run = |array: &Array| array.dims[axis..].iter().product::<usize>();
    fn join<T: Copy>(lists: &[(&[T], usize)], outer: usize) -> Vec<T> {
        (0..outer)
            .flat_map(|i| lists.iter().flat_map(move |(list, run)| &list[i * run..(i + 1) * run]))
            .copied()
            .collect()
    }
    match &first.data {
        Data::Reals(_) => {
            let lists = arrays.iter().map(|array| match &array.data {
                Data::Reals(values) => (&values[..], run(array)),
                _ => unreachable!("all are of one kind"),
            });
            Ok(Array::reals(dims, join(&lists.collect::<Vec<_>>(), outer)))
        }
        Data::Integers(_) => {
            let lists = arrays.iter().map(|array| match &array.data {
                Data::Integers(values) => (&values[..], run(array)),
                _ => unreachable!("all are of one kind"),
            });
            Ok(Array::integers(dims, join(&lists.collect::<Vec<_>>(), outer)))
        }
        Data::Codes(_) => Err(Error::Request("constants of codes can't be joined".into())),
    }
}
