//! Verifies every layer against the reference. The reference is slow, so convolutions are compared on patches at corners and
//! inside, for some outputs. Other ops are compared in full. The reference reads the outputs of the device's own earlier layers.

use std::collections::HashMap;
use std::ops::Range;

use lowbit::ops::{Add, Op};
use lowbit::{Context, Error, Granularity, Quantization, Result, Tensor, Tuner, Value, reference};

use super::{ConvLayer, Layer, Network};

/// Pixels of a patch along each axis, and approximate number of products of a layer's patches.
const PATCH: usize = 3;
const PRODUCTS: usize = 6_000_000;

/// Number of elements of each layer that were compared with the reference.
pub(crate) struct Verified {
    pub(crate) elements: Vec<usize>,
    pub(crate) submissions: u64,
}

impl Network {
    /// Runs the network, and once more with every layer's output as an output of the graph. Both runs must use the same kernels and
    /// have equal results. Every layer must equal the reference for the same inputs.
    pub(crate) fn verify(&self, context: &Context, tuner: Tuner) -> Result<Verified> {
        let require = |is: bool, what: &str| if is { Ok(()) } else { Err(Error::Device(what.into())) };
        let plan = context.plan(&self.graph, tuner)?;
        let image = context.upload(&self.image)?;
        let before = context.counters().submissions;
        let output = plan.run_on_device(&[&image])?.swap_remove(0);
        let submissions = context.counters().submissions - before;
        let output = context.download_blocking(&output)?;

        let mut graph = self.graph.clone();
        let (last, inner) = self.layers.split_last().ok_or_else(|| Error::Request("no layers".into()))?;
        inner.iter().for_each(|layer| graph.output(layer.output));
        let watched = context.plan(&graph, tuner)?;
        require(watched.labels().eq(plan.labels()), "other kernels run when the outputs of layers are looked at")?;
        let mut tensors = HashMap::from([(self.input, self.image.clone())]);
        let values = std::iter::once(last).chain(inner).map(|layer| layer.output);
        for (value, tensor) in values.zip(watched.run_on_device(&[&image])?) {
            tensors.insert(value, context.download_blocking(&tensor)?);
        }
        require(tensors[&last.output] == output, "the network makes something else when its layers are looked at")?;

        let check = |layer: &Layer| -> Result<usize> {
            let types = layer.op()?.inputs();
            let input = |(value, t): (&Value, &lowbit::TensorType)| tensors[value].reshaped(t.dims());
            let inputs: Vec<Tensor> = layer.inputs.iter().zip(&types).map(input).collect::<Result<_>>()?;
            check(layer, &inputs.iter().collect::<Vec<_>>(), &tensors[&layer.output])
        };
        let elements = self.layers.iter().map(check).collect::<Result<_>>()?;
        Ok(Verified { elements, submissions })
    }
}

/// Compares a layer's output with the reference, and returns the number of compared elements.
fn check(layer: &Layer, inputs: &[&Tensor], output: &Tensor) -> Result<usize> {
    let Some(conv) = &layer.conv else {
        let expected = reference::run(&layer.op()?, inputs)?.swap_remove(0);
        same(&layer.name, output, &expected)?;
        return Ok(expected.tensor_type().shape().elements());
    };
    let [rows, columns] = [output.dims()[1], output.dims()[2]].map(patches);
    let terms: usize = conv.weights.dims()[1..].iter().product();
    let pixels = rows.len() * columns.len() * PATCH * PATCH;
    let outputs = some_of(output.dims()[3], (PRODUCTS / (pixels * terms)).max(8));
    let mut compared = 0;
    for patch in rows.iter().flat_map(|rows| columns.iter().map(move |columns| [rows.clone(), columns.clone()])) {
        let (part, at) = conv.crop(&patch, &outputs)?;
        let channels = if conv.groups > 1 { outputs.clone() } else { (0..inputs[0].dims()[3]).collect() };
        let image = window(inputs[0], &at, &channels)?;
        let mut expected = reference::run(&part.op()?.into(), &[&image])?.swap_remove(0);
        if let Some(sum) = &layer.sum {
            let other = window(inputs[1], &patch, &outputs)?;
            let types = [&expected, &other].map(|tensor| tensor.tensor_type().clone());
            let [a, b] = types;
            let sum: Op = Add::new(a, b, sum.clone()).build()?.into();
            expected = reference::run(&sum, &[&expected, &other])?.swap_remove(0);
        }
        let place = format!("{} in rows {:?}, columns {:?}", layer.name, patch[0], patch[1]);
        same(&place, &window(output, &patch, &outputs)?, &expected)?;
        compared += expected.tensor_type().shape().elements();
    }
    Ok(compared)
}

/// The first, the middle and the last patch of an axis with `size` pixels.
fn patches(size: usize) -> Vec<Range<usize>> {
    let last = size.saturating_sub(PATCH);
    let mut starts = vec![0, last.div_ceil(2), last];
    starts.dedup();
    starts.into_iter().map(|start| start..(start + PATCH).min(size)).collect()
}

/// About `count` of the channels, including the first and the last.
fn some_of(channels: usize, count: usize) -> Vec<usize> {
    let mut chosen: Vec<usize> = (0..channels).step_by(channels.div_ceil(count).max(1)).collect();
    if chosen.last() != Some(&(channels - 1)) {
        chosen.push(channels - 1);
    }
    chosen
}

impl ConvLayer {
    /// The convolution that computes only these pixels of these outputs, and the region of the image that it reads.
    fn crop(&self, patch: &[Range<usize>; 2], outputs: &[usize]) -> Result<(Self, [Range<usize>; 2])> {
        let mut part = self.clone();
        let mut at = [0..0, 0..0];
        let kernel = [self.weights.dims()[1], self.weights.dims()[2]];
        let size = [self.lhs.dims()[1], self.lhs.dims()[2]];
        for axis in 0..2 {
            if self.spread.is_some() {
                // Input pixel i contributes to outputs i · stride − begin … + kernel − 1; these inputs reach the patch.
                let first =
                    (patch[axis].start + self.begin[axis] + 1).saturating_sub(kernel[axis]).div_ceil(self.stride);
                let past = (patch[axis].end - 1 + self.begin[axis]) / self.stride + 1;
                at[axis] = first..past.min(size[axis]);
                part.begin[axis] = patch[axis].start + self.begin[axis] - first * self.stride;
                continue;
            }
            // Counted from the start of the padding.
            let (first, past) = (patch[axis].start * self.stride, (patch[axis].end - 1) * self.stride + kernel[axis]);
            let image = self.begin[axis]..self.begin[axis] + size[axis];
            part.begin[axis] = image.start.saturating_sub(first);
            part.end[axis] = past.saturating_sub(image.end);
            at[axis] = first.max(image.start) - image.start..past.min(image.end) - image.start;
        }
        part.spread = self.spread.map(|_| [patch[0].len(), patch[1].len()]);
        let channels = if self.groups > 1 { outputs.len() } else { self.lhs.dims()[3] };
        if self.groups > 1 {
            part.groups = outputs.len();
        }
        let mut lhs = lowbit::TensorType::new(self.lhs.dtype(), [1, at[0].len(), at[1].len(), channels])?;
        if let Some(quantization) = self.lhs.quantization() {
            lhs = lhs.quantized(quantization.clone())?;
        }
        let terms: usize = self.weights.dims()[1..].iter().product();
        let (codes, biases) = (self.weights.values::<i8>()?, self.bias.values::<i32>()?);
        let rows: Vec<i8> = outputs.iter().flat_map(|&o| &codes[o * terms..(o + 1) * terms]).copied().collect();
        let scales = self.weights.tensor_type().quantization().ok_or_else(|| Error::Request("no scales".into()))?;
        let scales: Vec<f32> = outputs.iter().map(|&o| scales.scales()[o]).collect();
        let scales = Quantization::new(Granularity::Axis(0), scales, vec![0; outputs.len()]);
        let dims = [&[outputs.len()], &self.weights.dims()[1..]].concat();
        part.lhs = lhs;
        part.weights = Tensor::new(dims, rows)?.quantized(scales)?.into();
        part.bias = Tensor::new([outputs.len()], outputs.iter().map(|&o| biases[o]).collect::<Vec<_>>())?.into();
        Ok((part, at))
    }
}

/// These pixels and channels of an image of uint8 codes.
fn window(image: &Tensor, [rows, columns]: &[Range<usize>; 2], channels: &[usize]) -> Result<Tensor> {
    let (codes, width, depth) = (image.values::<u8>()?, image.dims()[2], image.dims()[3]);
    let pixels = rows.clone().flat_map(|y| columns.clone().map(move |x| y * width + x));
    let window: Vec<u8> = pixels.flat_map(|pixel| channels.iter().map(move |c| codes[pixel * depth + c])).collect();
    let tensor = Tensor::new([1, rows.len(), columns.len(), channels.len()], window)?;
    match image.tensor_type().quantization() {
        Some(quantization) => tensor.quantized(quantization.clone()),
        None => Ok(tensor),
    }
}

/// Fails if tensors differ in any bit.
fn same(place: &str, got: &Tensor, expected: &Tensor) -> Result<()> {
    let different = match (got.values::<u8>(), expected.values::<u8>()) {
        (Ok(got), Ok(expected)) => got.iter().zip(expected).filter(|(a, b)| a != b).count(),
        _ => {
            let pairs = got.values::<f32>()?.iter().zip(expected.values::<f32>()?);
            pairs.filter(|(a, b)| a.to_bits() != b.to_bits()).count()
        }
    };
    if different == 0 && got.dims() == expected.dims() {
        return Ok(());
    }
    let elements = expected.tensor_type().shape().elements();
    Err(Error::Device(format!("{place}: {different} of {elements} elements differ from the reference")))
}
