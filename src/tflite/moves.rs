//! The ops of nodes that move elements: padding, resizing, joining and taking parts.

use super::codes;
use super::convert::{Builder, codes_of};
use super::schema::{Builtin, Node};
use crate::error::{Result, refuse, require};
use crate::network::axis_of;
use crate::numeric::DType;
use crate::ops::{Concat, Coordinates, Nearest, Pad, PadMode, Resize, Slice, Table};
use crate::plan::Value;
use crate::tensor::{Quantization, TensorType};

/// The most indices that are listed for an axis: a file of few bytes may claim a dimension of 2³¹.
const MOST_INDICES: usize = 1 << 16;

impl Builder<'_> {
    pub(super) fn pad(&mut self, node: &Node, mode: i8) -> Result<Value> {
        let (value, input) = self.operand(node, 0)?;
        let pads = self.numbers(node, 1)?;
        let rank = input.shape().rank();
        require!(pads.len() == 2 * rank, "it has {} paddings, but its input {input} needs {}", pads.len(), 2 * rank);
        let pads = pads.into_iter().map(usize::try_from).collect::<Result<Vec<_>, _>>();
        let Ok(pads) = pads else { refuse!("a padding is negative") };
        let (begin, end): (Vec<_>, Vec<_>) = pads.chunks_exact(2).map(|pair| (pair[0], pair[1])).unzip();
        match node.op {
            Builtin::PAD => self.add(Pad::new(input, begin, end, PadMode::Zero)?, &[value]),
            Builtin::PADV2 => {
                let tensor = self.input(node, 2)?;
                let fill = self.constant(tensor)?;
                require!(fill.tensor_type().shape().elements() == 1, "it pads with {tensor}, but with one element");
                let mode = match fill.dtype() {
                    DType::Float32 | DType::Float16 => {
                        require!(fill.reals()[0] == 0.0, "it pads floats with {}, but only with 0", fill.reals()[0]);
                        PadMode::Zero
                    }
                    _ => PadMode::Code(fill.code(0)),
                };
                self.add(Pad::new(input, begin, end, mode)?, &[value])
            }
            _ if mode == 0 => self.add(Pad::new(input, begin, end, PadMode::Reflect)?, &[value]),
            _ => {
                let mut padded = value;
                for (axis, (&before, &after)) in begin.iter().zip(&end).enumerate() {
                    let extent = input.dims()[axis];
                    require!(before.max(after) <= extent, "axis {axis} of {input} is padded by more than it has");
                    if before + after > 0 {
                        self.spend(8 * (before + extent + after))?;
                        let indices = (0..before).rev().chain(0..extent).chain((extent - after..extent).rev());
                        padded = self.taken(padded, axis, indices.collect())?;
                    }
                }
                Ok(padded)
            }
        }
    }

    /// These indices of one axis of a value.
    fn taken(&mut self, value: Value, axis: usize, indices: Vec<usize>) -> Result<Value> {
        let tensor_type = self.graph.tensor_type(value)?.clone();
        self.add(Slice::take(tensor_type, axis, indices)?, &[value])
    }

    pub(super) fn resize_bilinear(&mut self, node: &Node, align: bool, half_pixel: bool) -> Result<Value> {
        let (value, input) = self.operand(node, 0)?;
        require!(
            input.dtype() == DType::Int8,
            "its input is {input}, but it must be int8: other types are interpolated in floats"
        );
        let output = self.output(node)?.dims()?;
        require!(output.len() == 4, "its output has {} dimensions, but it must have 4", output.len());
        let coordinates = match (align, half_pixel) {
            (true, true) => refuse!("it aligns corners and has half pixel centers, but only one is possible"),
            (true, false) => Coordinates::AlignCorners,
            (false, true) => Coordinates::HalfPixel,
            (false, false) => Coordinates::Asymmetric,
        };
        let resize = Resize::linear(input, &output[1..3]).ten_bits().coordinates(coordinates);
        self.add(resize.build()?, &[value])
    }

    pub(super) fn resize_nearest(&mut self, node: &Node, align: bool, half_pixel: bool) -> Result<Value> {
        let (value, input) = self.operand(node, 0)?;
        let output = self.output(node)?.dims()?;
        let ranks = [input.shape().rank(), output.len()];
        require!(ranks == [4; 2], "its input and output have {ranks:?} dimensions, but they must have 4");
        // Positions are f32.
        let source = |axis: usize, index: usize| {
            let (from, to) = (input.dims()[axis], output[axis]);
            let scale = if align && to > 1 { (from - 1) as f32 / (to - 1) as f32 } else { from as f32 / to as f32 };
            let offset = if half_pixel { 0.5 } else { 0.0 };
            let place = (index as f32 + offset) * scale;
            let place = if align { place.round() } else { place.floor() };
            (place.max(0.0) as usize).min(from.saturating_sub(1))
        };
        for (axis, &most) in output.iter().enumerate().take(3).skip(1) {
            require!(
                most <= MOST_INDICES,
                "its output has {most} elements along axis {axis}, but at most {MOST_INDICES} are read"
            );
            require!(input.dims()[axis] > 0 || most == 0, "its input {input} is empty");
        }
        let resize = Resize::nearest(input.clone(), &output[1..3]).coordinates(Coordinates::Asymmetric);
        let exact = resize.rounding(Nearest::Floor).build()?;
        let equal =
            |axis: usize| (0..output[axis]).all(|i| exact.nearest_index(Nearest::Floor, axis, i) == source(axis, i));
        if equal(1) && equal(2) {
            return self.add(exact, &[value]);
        }
        let [rows, columns] = [1, 2].map(|axis| (0..output[axis]).map(|i| source(axis, i)).collect::<Vec<_>>());
        let taken = self.taken(value, 1, rows)?;
        self.taken(taken, 2, columns)
    }

    pub(super) fn concatenation(&mut self, node: &Node, axis: i32, activation: i8) -> Result<Value> {
        require!(activation == 0, "it has a fused activation, but a concatenation is read without one");
        let output = self.output(node)?.tensor_type()?;
        let axis = axis_of(axis.into(), output.shape().rank())?;
        let (mut values, mut types) = (Vec::new(), Vec::new());
        for place in 0..node.inputs.len() {
            let (mut value, mut input) = self.operand(node, place)?;
            let scales = input.quantization() != output.quantization();
            if scales && input.dtype() == DType::Uint8 && output.dtype() == DType::Uint8 {
                let (from, to) = (codes_of(&input)?, codes_of(&output)?);
                let scale = from.scale * (1.0 / to.scale);
                let bias = -from.zero_point as f32 * scale;
                let function = |code: i32| {
                    let steps = (code as f32 * scale + bias).round() as i32;
                    steps.saturating_add(to.zero_point).clamp(to.low, to.high)
                };
                let entries = codes::table(DType::Uint8, function);
                let same = TensorType::new(DType::Uint8, input.dims())?;
                let same = same.quantized(Quantization::tensor(to.scale, to.zero_point))?;
                value = self.add(Table::from_bytes(input, same, entries)?, &[value])?;
                input = self.graph.tensor_type(value)?.clone();
            } else if scales {
                require!(
                    output.dtype().bits() > 16,
                    "input {place} has {} and the output {}, but only uint8 is rescaled: quantize them alike",
                    input.describe_scales(),
                    output.describe_scales()
                );
            }
            values.push(value);
            types.push(input);
        }
        self.add(Concat::new(types, axis).build()?, &values)
    }

    pub(super) fn pack(&mut self, node: &Node, axis: i32) -> Result<Value> {
        let output = self.output(node)?.dims()?;
        let axis = axis_of(axis.into(), output.len())?;
        let (mut values, mut types) = (Vec::new(), Vec::new());
        for place in 0..node.inputs.len() {
            let (value, input) = self.operand(node, place)?;
            let mut dims = input.dims().to_vec();
            require!(axis <= dims.len(), "it packs {input} along axis {axis}");
            dims.insert(axis, 1);
            let value = self.reshaped(value, &dims)?;
            types.push(self.graph.tensor_type(value)?.clone());
            values.push(value);
        }
        self.add(Concat::new(types, axis).build()?, &values)
    }

    /// `size` indices of one axis of a value from `begin` on.
    fn part(&mut self, value: Value, axis: usize, begin: usize, size: usize) -> Result<Value> {
        let input = self.graph.tensor_type(value)?.clone();
        self.add(Slice::along(input, axis, begin, size)?, &[value])
    }

    pub(super) fn unpack(&mut self, node: &Node, axis: i32) -> Result<Vec<Value>> {
        let (value, input) = self.operand(node, 0)?;
        let axis = axis_of(axis.into(), input.shape().rank())?;
        let mut dims = input.dims().to_vec();
        let count = dims.remove(axis);
        require!(count == node.outputs.len(), "it has {} outputs, but axis {axis} of {input}", node.outputs.len());
        (0..count).map(|i| self.part(value, axis, i, 1).and_then(|part| self.reshaped(part, &dims))).collect()
    }

    pub(super) fn split(&mut self, node: &Node) -> Result<Vec<Value>> {
        let (data, of_axis) = if node.op == Builtin::SPLIT { (1, 0) } else { (0, 2) };
        let (value, input) = self.operand(node, data)?;
        let axis = self.numbers(node, of_axis)?;
        let &[axis] = &axis[..] else { refuse!("it has {} axes, but it must have one", axis.len()) };
        let axis = axis_of(axis, input.shape().rank())?;
        let mut begin = 0;
        let mut parts = Vec::new();
        for &index in &node.outputs {
            let size = self.tensor(index)?.dims()?.get(axis).copied().unwrap_or(0);
            parts.push(self.part(value, axis, begin, size)?);
            begin = begin.saturating_add(size);
        }
        Ok(parts)
    }

    pub(super) fn slice(&mut self, node: &Node) -> Result<Value> {
        let (value, input) = self.operand(node, 0)?;
        let (begin, sizes) = (self.numbers(node, 1)?, self.numbers(node, 2)?);
        let rank = input.shape().rank();
        require!(begin.len() == rank && sizes.len() == rank, "it has {} begins for {input}", begin.len());
        let mut begins = Vec::new();
        let mut counts = Vec::new();
        for axis in 0..rank {
            let Ok(begin) = usize::try_from(begin[axis]) else { refuse!("a begin is negative") };
            begins.push(begin);
            counts.push(match usize::try_from(sizes[axis]) {
                Ok(size) => size,
                Err(_) => input.dims()[axis].saturating_sub(begin),
            });
        }
        self.add(Slice::new(input, begins, counts).build()?, &[value])
    }

    pub(super) fn strided_slice(&mut self, node: &Node, masks: &[i32]) -> Result<Value> {
        let &[begin_mask, end_mask, ellipsis, new_axis, shrink] = masks else { refuse!("it has no masks") };
        require!(ellipsis == 0 && new_axis == 0, "it has an ellipsis or a new axis, which are not read");
        let (value, input) = self.operand(node, 0)?;
        let (begin, end, steps) = (self.numbers(node, 1)?, self.numbers(node, 2)?, self.numbers(node, 3)?);
        let rank = input.shape().rank();
        let counts = [begin.len(), end.len(), steps.len()];
        require!(counts[0] <= rank && counts == [counts[0]; 3], "it has {counts:?} begins, ends and steps for {input}");
        let (mut begins, mut sizes, mut strides) = (vec![0; rank], input.dims().to_vec(), vec![1isize; rank]);
        for axis in 0..counts[0] {
            let has = |mask: i32| mask >> axis.min(31) & 1 == 1;
            let extent = input.dims()[axis] as i64;
            let step = steps[axis];
            require!(step != 0 && step.unsigned_abs() <= i32::MAX as u64, "its step along axis {axis} is {step}");
            let counted = |place: i64| if place < 0 { place.saturating_add(extent) } else { place };
            // Without bounds a slice goes from one end to the other.
            let (least, most) = if step > 0 { (0, extent) } else { (-1, extent - 1) };
            let first = match (has(begin_mask), step > 0) {
                (true, true) => 0,
                (true, false) => extent - 1,
                (false, _) => counted(begin[axis]).clamp(least, most),
            };
            let last = match (has(end_mask), step > 0) {
                (true, true) => extent,
                (true, false) => -1,
                (false, _) => counted(end[axis]).clamp(least, most),
            };
            let count = if has(shrink) { 1 } else { ((last - first + step - step.signum()) / step).max(0) };
            begins[axis] = usize::try_from(first).unwrap_or(0);
            (sizes[axis], strides[axis]) = (count as usize, if count > 1 { step as isize } else { 1 });
        }
        let slice = Slice::new(input, begins, sizes).steps(strides).build()?;
        let part = self.add(slice, &[value])?;
        let dims = self.output(node)?.dims()?;
        self.reshaped(part, &dims)
    }

    pub(super) fn gather(&mut self, node: &Node, axis: i32, batch: i32) -> Result<Value> {
        require!(batch == 0, "it gathers by batch, which is not read");
        let (value, input) = self.operand(node, 0)?;
        let axis = axis_of(axis.into(), input.shape().rank())?;
        let indices = self.numbers(node, 1)?;
        let indices = indices.into_iter().map(usize::try_from).collect::<Result<Vec<_>, _>>();
        let Ok(indices) = indices else { refuse!("an index is negative") };
        let taken = self.taken(value, axis, indices)?;
        let dims = self.output(node)?.dims()?;
        self.reshaped(taken, &dims)
    }
}
