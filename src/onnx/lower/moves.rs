//! Nodes that only move elements, or choose among them: they do the same with codes as with the numbers that these stand for.

use super::layout::{Operand, Placed, channels_last, last};
use super::resize::Grid;
use super::windows::Windows;
use super::{Lowering, Value};
use crate::error::{Error, Result, refuse, require};
use crate::network::axis_of;
use crate::numeric::DType;
use crate::onnx::proto::NodeProto;
use crate::onnx::shape;
use crate::ops::{Concat, Coordinates, FloatMatmul, Nearest, Pad, PadMode, Pool, Requantization, Resize, Slice};
use crate::plan::Value as GraphValue;
use crate::tensor::{Quantization, Tensor};

impl Lowering<'_> {
    /// The outputs of such a node for its first input; `None` if it is another.
    /// Raw codes have no scales that count.
    pub(super) fn moves(&mut self, node: &NodeProto, x: &Placed, raw: bool) -> Result<Option<Vec<Placed>>> {
        let dims = self.dims(x);
        let rank = dims.len();
        let one = |placed: Placed| Ok(Some(vec![placed]));
        match &*node.op_type {
            "Identity" => one(x.clone()),
            "Dropout" => {
                let trains = self.optional(node, 2)?.map(|mode| mode.as_integers()).transpose()?;
                require!(trains.is_none_or(|mode| mode.iter().all(|&x| x == 0)), "it is in training mode");
                require!(node.output_names().count() == 1, "its mask is an output, too");
                one(x.clone())
            }
            "Reshape" => {
                let wanted = self.known(node, 1, "shape")?.as_integers()?;
                let dims = shape::reshape(&dims, &wanted, node.int("allowzero", 0) != 0)?;
                one(self.reshape(x, dims)?)
            }
            "Flatten" => {
                let axis = node.int("axis", 1);
                let axis = if axis == rank as i64 { rank } else { axis_of(axis, rank)? };
                let dims = vec![dims[..axis].iter().product(), dims[axis..].iter().product()];
                one(self.reshape(x, dims)?)
            }
            "Squeeze" => {
                let axes = self.axes(node, rank)?;
                let axes = axes.unwrap_or_else(|| (0..rank).filter(|&axis| dims[axis] == 1).collect());
                if let Some(axis) = axes.iter().find(|&&axis| dims[axis] != 1) {
                    refuse!("axis {axis} of {dims:?} is not 1");
                }
                one(self.squeezed(x, &axes)?)
            }
            "Unsqueeze" => {
                let count = self.list(node, 1, "axes")?.map_or(0, |axes| axes.len());
                let Some(axes) = self.axes(node, rank + count)? else { refuse!("the axes are left out") };
                one(self.unsqueezed(x, &axes)?)
            }
            "Transpose" => {
                let order = node.permutation(rank)?;
                one(x.transposed(&order))
            }
            "Slice" => {
                let (begin, sizes, steps) = self.slice_ranges(node, &dims)?;
                let own = |list: &[usize]| x.order.iter().map(|&axis| list[axis]).collect::<Vec<_>>();
                let steps: Vec<isize> = x.order.iter().map(|&axis| steps[axis]).collect();
                let op = Slice::new(self.type_of(x.value).clone(), own(&begin), own(&sizes)).steps(steps).build()?;
                let value = self.graph.add(op, &[x.value])?;
                one(Placed { value, ..x.clone() })
            }
            "Split" => {
                let axis = axis_of(node.int("axis", 0), rank)?;
                let sizes = shape::split(node, self.optional(node, 1)?.as_ref(), dims[axis])?;
                let (mut begin, mut parts) = (0, Vec::new());
                for size in sizes {
                    let op = Slice::along(self.type_of(x.value).clone(), x.place(axis), begin, size)?;
                    let value = self.graph.add(op, &[x.value])?;
                    parts.push(Placed { value, ..x.clone() });
                    begin += size;
                }
                Ok(Some(parts))
            }
            "Gather" => match self.value(node, 1)? {
                Value::Known(indices) => {
                    let axis = axis_of(node.int("axis", 0), rank)?;
                    let places = shape::indices(&indices.as_integers()?, dims[axis])?;
                    let op = Slice::take(self.type_of(x.value).clone(), x.place(axis), places)?;
                    let value = self.graph.add(op, &[x.value])?;
                    let taken = Placed { value, ..x.clone() };
                    if indices.dims.len() == 1 {
                        return one(taken);
                    }
                    let dims = [&dims[..axis], &indices.dims, &dims[axis + 1..]].concat();
                    one(self.reshape(&taken, dims)?)
                }
                _ => Ok(None),
            },
            "GatherND" => match self.value(node, 1)? {
                Value::Known(indices) if node.int("batch_dims", 0) == 0 => {
                    let (places, rest) = shape::nested_indices(&indices, &dims)?;
                    let first = dims.len() - rest.len();
                    let rows = self.reshape(x, [&[dims[..first].iter().product()], rest].concat())?;
                    let op = Slice::take(self.type_of(rows.value).clone(), rows.place(0), places)?;
                    let value = self.graph.add(op, &[rows.value])?;
                    let dims = [&indices.dims[..indices.dims.len() - 1], rest].concat();
                    one(self.reshape(&Placed { value, ..rows }, dims)?)
                }
                _ => Ok(None),
            },
            "DepthToSpace" | "SpaceToDepth" => {
                let (first, order, last) = shape::depth_and_space(node, &dims)?;
                let blocks = self.reshape(x, first)?;
                one(self.reshape(&blocks.transposed(&order), last)?)
            }
            "MaxPool" if node.output_names().count() == 1 && self.type_of(x.value).dtype().is_8_bit() => {
                let spatial = rank.saturating_sub(2);
                let kernel = node.sizes("kernel_shape", &vec![0; spatial])?;
                let image = self.arranged(x, &channels_last(rank))?;
                let image = match self.type_of(image).quantization() {
                    Some(_) => image,
                    None => self.graph.rescaled(image, Quantization::tensor(1.0, 0))?,
                };
                let windows = Windows::of(node, self.type_of(image), &kernel)?;
                let pool = Pool::max(self.type_of(image).clone(), kernel)
                    .stride(windows.strides)
                    .dilation(windows.dilations)
                    .padding(windows.padding);
                let pool = if node.int("ceil_mode", 0) != 0 { pool.round_up() } else { pool };
                let value = self.graph.add(pool.build()?, &[image])?;
                one(Placed { value, order: channels_last(rank) })
            }
            "GlobalMaxPool" if self.type_of(x.value).dtype().is_8_bit() => {
                let image = self.arranged(x, &channels_last(rank))?;
                let value = self.graph.add(Pool::global_max(self.type_of(image).clone()).build()?, &[image])?;
                one(Placed { value, order: channels_last(rank) })
            }
            "Resize" | "Upsample" => one(self.resized(node, x, &dims)?),
            "Pad" => {
                let raw = raw && self.type_of(x.value).dtype().range().is_some();
                let (begin, end, mode) = self.padding_of(node, &dims, raw)?;
                let own = |list: &[usize]| x.order.iter().map(|&axis| list[axis]).collect::<Vec<_>>();
                let op = Pad::new(self.type_of(x.value).clone(), own(&begin), own(&end), mode)?;
                let value = self.graph.add(op, &[x.value])?;
                one(Placed { value, ..x.clone() })
            }
            "Expand" => {
                let wanted = self.known(node, 1, "shape")?.as_integers()?;
                let target = shape::broadcast(&dims, &super::dims_of(&wanted)?)?;
                one(self.expanded(x, &target)?)
            }
            _ => Ok(None),
        }
    }

    fn axes(&mut self, node: &NodeProto, rank: usize) -> Result<Option<Vec<usize>>> {
        let given = self.list(node, 1, "axes")?;
        let axes = given
            .map(|axes| axes.into_iter().map(|axis| axis_of(axis, rank)).collect::<Result<Vec<_>>>())
            .transpose()?;
        Ok(axes.map(|mut axes| {
            axes.sort_unstable();
            axes.dedup();
            axes
        }))
    }

    /// The value without some axes of extent 1.
    pub(super) fn squeezed(&mut self, x: &Placed, axes: &[usize]) -> Result<Placed> {
        let own = self.type_of(x.value).dims();
        let kept: Vec<usize> = (0..own.len()).filter(|&place| !axes.contains(&x.order[place])).collect();
        let dims = kept.iter().map(|&place| own[place]).collect();
        let before = |axis: usize| axes.iter().filter(|&&other| other < axis).count();
        let order = kept.iter().map(|&place| x.order[place] - before(x.order[place])).collect();
        let value = self.reshaped(x.value, dims)?;
        Ok(Placed { value, order })
    }

    /// The value with axes of extent 1 at these places, which lie first in memory.
    pub(super) fn unsqueezed(&mut self, x: &Placed, axes: &[usize]) -> Result<Placed> {
        let own = self.type_of(x.value).dims();
        let dims = [vec![1; axes.len()], own.to_vec()].concat();
        let others: Vec<usize> = (0..dims.len()).filter(|axis| !axes.contains(axis)).collect();
        require!(others.len() == own.len(), "the axes {axes:?} are not all different");
        let order = axes.iter().copied().chain(x.order.iter().map(|&axis| others[axis])).collect();
        let value = self.reshaped(x.value, dims)?;
        Ok(Placed { value, order })
    }

    /// The value with axes of extent 1 repeated.
    pub(super) fn expanded(&mut self, x: &Placed, target: &[usize]) -> Result<Placed> {
        shape::checked_product(target)?;
        let more = target.len().saturating_sub(self.dims(x).len());
        let mut x = self.unsqueezed(x, &(0..more).collect::<Vec<_>>())?;
        for (axis, &extent) in target.iter().enumerate() {
            let place = x.place(axis);
            if self.type_of(x.value).dims()[place] != extent {
                let op = Slice::take(self.type_of(x.value).clone(), place, vec![0; extent])?;
                x.value = self.graph.add(op, &[x.value])?;
            }
        }
        Ok(x)
    }

    /// The begin, size and step of a slice along each axis.
    fn slice_ranges(&mut self, node: &NodeProto, dims: &[usize]) -> Result<shape::Ranges> {
        let (starts, ends) = (self.list(node, 1, "starts")?, self.list(node, 2, "ends")?);
        let (axes, steps) = (self.list(node, 3, "axes")?, self.list(node, 4, "steps")?);
        shape::slice(dims, &starts.unwrap_or_default(), &ends.unwrap_or_default(), axes, steps)
    }

    fn padding_of(&mut self, node: &NodeProto, dims: &[usize], raw: bool) -> Result<(Vec<usize>, Vec<usize>, PadMode)> {
        let Some(pads) = self.list(node, 1, "pads")? else { refuse!("the pads are left out") };
        let axes = self.list(node, 3, "axes")?;
        let (begin, end) = shape::pads(dims.len(), &pads, axes)?;
        let mode = match node.text("mode", "constant")? {
            "constant" if raw => {
                let value = self.optional(node, 2)?.map(|value| value.as_integers()).transpose()?;
                let value = value.and_then(|value| value.first().copied()).unwrap_or(0);
                PadMode::Code(i32::try_from(value).map_err(|_| Error::Request(format!("it pads with {value}")))?)
            }
            "constant" => {
                let value = self.optional(node, 2)?.map(|value| value.as_reals()).transpose()?;
                let value = value.and_then(|value| value.first().copied());
                require!(
                    value.unwrap_or(node.float("value", 0.0)) == 0.0,
                    "it pads with another number than 0, which has no op"
                );
                PadMode::Zero
            }
            "edge" => PadMode::Edge,
            "reflect" => PadMode::Reflect,
            other => refuse!("the mode is {other}"),
        };
        Ok((begin, end, mode))
    }

    fn resized(&mut self, node: &NodeProto, x: &Placed, dims: &[usize]) -> Result<Placed> {
        let rank = dims.len();
        let old = node.op_type == "Upsample" || node.input.len() == 2;
        let scales = self.optional(node, if old { 1 } else { 2 })?.filter(|array| array.elements() > 0);
        let sizes = if old { None } else { self.optional(node, 3)?.filter(|array| array.elements() > 0) };
        let scales = match (scales, node.floats("scales")) {
            (Some(array), _) => Some(array.as_reals()?),
            (None, scales) => scales.map(<[f32]>::to_vec),
        };
        let sizes = sizes.map(|sizes| super::dims_of(&sizes.as_integers()?)).transpose()?;
        let grid = Grid::of(node, dims, scales, sizes)?;
        let mode = node.text("mode", "nearest")?;
        let image = self.type_of(x.value).clone();
        let is_linear = mode == "linear" && image.dtype().is_8_bit();
        if mode == "nearest" || is_linear {
            let coordinates = match grid.coordinates {
                "asymmetric" => Coordinates::Asymmetric,
                "half_pixel" => Coordinates::HalfPixel,
                "pytorch_half_pixel" => Coordinates::PytorchHalfPixel,
                "align_corners" => Coordinates::AlignCorners,
                other => refuse!("coordinate_transformation_mode is {other}"),
            };
            require!(
                rank >= 3 && grid.sizes[..2] == dims[..2],
                "it resizes {dims:?} to {:?}, which is no image",
                grid.sizes
            );
            grid.require_whole(dims)?;
            let image = self.arranged(x, &channels_last(rank))?;
            let (input, spatial) = (self.type_of(image).clone(), grid.sizes[2..].to_vec());
            let op = if is_linear {
                Resize::linear(input, spatial)
            } else {
                // Before opset 11 ONNX says nothing of it; ONNX Runtime takes the next element of what it makes smaller.
                let shrinks = self.is_optimized() && node.op_type == "Resize" && grid.scales.iter().any(|&s| s < 1.0);
                let default = match old {
                    true if shrinks => "ceil",
                    true => "floor",
                    false => "round_prefer_floor",
                };
                let rounding = match node.text("nearest_mode", default)? {
                    "round_prefer_floor" => Nearest::PreferFloor,
                    "round_prefer_ceil" => Nearest::PreferCeil,
                    "floor" => Nearest::Floor,
                    "ceil" => Nearest::Ceil,
                    other => refuse!("nearest_mode is {other}"),
                };
                Resize::nearest(input, spatial).rounding(rounding)
            };
            let value = self.graph.add(op.coordinates(coordinates).build()?, &[image])?;
            return Ok(Placed { value, order: channels_last(rank) });
        }
        // Along each axis it is a product with the weights of its elements.
        require!(image.dtype() == DType::Float32, "the mode {mode} is not for {}", image.dtype());
        let mut x = x.clone();
        for axis in (0..rank).filter(|&axis| grid.sizes[axis] != dims[axis] || grid.scales[axis] != 1.0) {
            let weights = grid.weights(node, axis, dims[axis])?;
            let order = last(rank, axis);
            let rows = self.arranged(&x, &order)?;
            let weights = Tensor::new([grid.sizes[axis], dims[axis]], weights)?;
            let product = FloatMatmul::new(self.type_of(rows).clone(), weights).transposed_rhs().build()?;
            x = Placed { value: self.graph.add(product, &[rows])?, order };
        }
        Ok(x)
    }

    /// Tensors joined along an axis, in the order of axes of the largest; codes requantized to one scale, if one is given.
    pub(super) fn joined(
        &mut self,
        operands: &[Operand],
        axis: usize,
        output: Option<Requantization>,
    ) -> Result<Placed> {
        let order = self.order_of_largest(operands)?;
        let mut values = Vec::new();
        for operand in operands {
            values.push(self.arranged_operand(operand, &order)?);
        }
        let differ = |values: &[GraphValue], this: &Self| {
            values.windows(2).any(|pair| this.type_of(pair[0]).quantization() != this.type_of(pair[1]).quantization())
        };
        if output.is_none() && differ(&values, self) {
            // Raw codes have no scales that count.
            for value in &mut values {
                *value = self.graph.rescaled(*value, Quantization::tensor(1.0, 0))?;
            }
        }
        let types: Vec<_> = values.iter().map(|&value| self.type_of(value).clone()).collect();
        let Some(place) = order.iter().position(|&a| a == axis) else { refuse!("its inputs have no axis {axis}") };
        let concat = Concat::new(types, place);
        let concat = match output {
            Some(output) => concat.output(output),
            None => concat,
        };
        let value = self.graph.add(concat.build()?, &values)?;
        Ok(Placed { value, order })
    }
}
