//! The int8 digits network as a graph, and the files in `tests/data/digits` with its constants and golden logits. The example
//! beside it and `tests/digits.rs` include this file, run the network and check it.

use std::collections::HashMap;
use std::error::Error;

use lowbit::ops::{Conv, ConvBuilder, Dequantize, Matmul, Padding, Pool, Quantize, Requantization};
use lowbit::{DType, Granularity, Graph, Quantization, Rounding, Tensor, TensorType, Value};
use safetensors::SafeTensors;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Images, their labels, and the logits of two networks.
pub(crate) struct Digits {
    /// float32 `[1797, 8, 8, 1]`, 0 to 1.
    pub(crate) images: Tensor,
    /// The digit in each image.
    pub(crate) labels: Vec<u8>,
    /// The 360 images that were used to fit no weight and no scale.
    pub(crate) test_index: Vec<usize>,
    /// float32 `[1797, 10]`, of the network before quantization.
    pub(crate) float_logits: Tensor,
    /// float32 `[1797, 10]`, of the int8 network in ONNX Runtime.
    pub(crate) golden_logits: Tensor,
}

impl Digits {
    pub(crate) fn load() -> Result<Self> {
        let (data, int8) = (read("digits_data.safetensors")?, read("ort_int8.safetensors")?);
        let (data, int8) = (SafeTensors::deserialize(&data)?, SafeTensors::deserialize(&int8)?);
        let pixels = data.tensor("images")?;
        let shape = [pixels.shape(), &[1]].concat();
        let pixels: Vec<f32> = pixels.data().iter().map(|&p| f32::from(p) / 16.0).collect();
        let test_index = words(data.tensor("test_index")?.data(), i32::from_le_bytes);
        let logits = |file: &SafeTensors, name| -> Result<Tensor> {
            let logits = file.tensor(name)?;
            Ok(Tensor::new(logits.shape(), words(logits.data(), f32::from_le_bytes))?)
        };
        Ok(Self {
            images: Tensor::new(shape, pixels)?,
            labels: data.tensor("labels")?.data().to_vec(),
            test_index: test_index.into_iter().map(usize::try_from).collect::<std::result::Result<_, _>>()?,
            float_logits: logits(&data, "float_logits")?,
            golden_logits: logits(&int8, "ort_int8_logits")?,
        })
    }

    /// Number of test images whose largest logit is the right class.
    pub(crate) fn correct(&self, logits: &Tensor) -> Result<usize> {
        let classes = classes(logits)?;
        Ok(self.test_index.iter().filter(|&&i| classes[i] == usize::from(self.labels[i])).count())
    }
}

/// Class of each row of logits: the index of the largest logit, the first of equals.
pub(crate) fn classes(logits: &Tensor) -> Result<Vec<usize>> {
    let largest = |row: &[f32]| (0..row.len()).rev().max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap_or(0);
    Ok(logits.values::<f32>()?.chunks_exact(logits.dims()[1]).map(largest).collect())
}

/// The network for at most `batch` images: float32 `[batch, 8, 8, 1]` in, float32 logits `[batch, 10]` out, uint8 between. All
/// rounding is ONNX Runtime's, and every constant is from its files.
pub(crate) fn network(batch: usize) -> Result<Graph> {
    let file = read("ort_int8.safetensors")?;
    let parameters: Parameters = serde_json::from_slice(&read("ort_qdq_params.json")?)?;
    let model = Model { file: SafeTensors::deserialize(&file)?, parameters: parameters.tensors };
    let padding = Padding::Explicit { begin: vec![1, 1], end: vec![1, 1] };

    let mut graph = Graph::new();
    let extent = graph.extent("images", batch)?;
    let images = graph.dynamic_input(TensorType::new(DType::Float32, [batch, 8, 8, 1])?, [(0, extent)])?;
    let x = TensorType::new(DType::Uint8, [batch, 8, 8, 1])?.quantized(model.quantization("x")?)?;
    let x = graph.add(Quantize::new(graph.tensor_type(images)?.clone(), x).build()?, &[images])?;
    let r1 = model.conv(&mut graph, x, "conv1", "r1", |conv| conv.padding(padding.clone()))?;
    let r2 = model.conv(&mut graph, r1, "dw2", "r2", |conv| conv.padding(padding.clone()).groups(16))?;
    let r3 = model.conv(&mut graph, r2, "pw3", "r3", |conv| conv)?;
    let r4 = model.conv(&mut graph, r3, "conv4", "r4", |conv| conv.padding(padding.clone()).stride([2, 2]))?;
    let pool = Pool::global_average(graph.tensor_type(r4)?.clone()).output(model.requantization("g")?).build()?;
    let g = graph.add(pool, &[r4])?;
    let f = graph.reshape(g, [batch, 32])?;
    let fc = Matmul::new(graph.tensor_type(f)?.clone(), model.weights("fc")?)
        .transposed()
        .bias(model.bias("fc")?)
        .output(model.requantization("logits")?)
        .build()?;
    let logits = graph.add(fc, &[f])?;
    let logits = graph.add(Dequantize::new(graph.tensor_type(logits)?.clone()).build()?, &[logits])?;
    graph.output(logits);
    Ok(graph)
}

/// Contents of a file in `tests/data/digits`. A browser has only the network's.
#[cfg(target_arch = "wasm32")]
pub(crate) fn read(name: &str) -> Result<Vec<u8>> {
    Ok(match name {
        "ort_int8.safetensors" => include_bytes!("../../tests/data/digits/ort_int8.safetensors").to_vec(),
        "ort_qdq_params.json" => include_bytes!("../../tests/data/digits/ort_qdq_params.json").to_vec(),
        _ => return Err(format!("the page has no {name}").into()),
    })
}

/// Contents of a file in `tests/data/digits`.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn read(name: &str) -> Result<Vec<u8>> {
    let path = format!("{}/tests/data/digits/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).map_err(|error| format!("{path}: {error}").into())
}

/// Constants of the int8 network.
struct Model<'a> {
    file: SafeTensors<'a>,
    parameters: HashMap<String, ScaleEntry>,
}

#[derive(serde::Deserialize)]
struct Parameters {
    tensors: HashMap<String, ScaleEntry>,
}

#[derive(serde::Deserialize)]
struct ScaleEntry {
    scale: Vec<f32>,
    zero_point: Vec<i32>,
}

impl Model<'_> {
    fn scales(&self, name: &str) -> Result<&ScaleEntry> {
        self.parameters.get(name).ok_or_else(|| format!("ort_qdq_params.json has no tensor {name}").into())
    }

    fn quantization(&self, name: &str) -> Result<Quantization> {
        let ScaleEntry { scale, zero_point } = self.scales(name)?;
        Ok(Quantization::new(Granularity::Tensor, &scale[..], &zero_point[..]))
    }

    fn requantization(&self, name: &str) -> Result<Requantization> {
        let quantization = self.quantization(name)?;
        let stage = Requantization::new(DType::Uint8, quantization.scales()[0], quantization.zero_points()[0])?;
        Ok(stage.rounding(Rounding::Onnx))
    }

    /// A layer's weights in the file's order, outputs first, with one scale per output.
    fn weights(&self, layer: &str) -> Result<Tensor> {
        let name = format!("{layer}.weight_quantized");
        let (weights, ScaleEntry { scale, zero_point }) = (self.file.tensor(&name)?, self.scales(&name)?);
        let codes = words(weights.data(), i8::from_le_bytes);
        let quantization = Quantization::new(Granularity::Axis(0), &scale[..], &zero_point[..]);
        Ok(Tensor::new(weights.shape(), codes)?.quantized(quantization)?)
    }

    fn bias(&self, layer: &str) -> Result<Tensor> {
        let bias = self.file.tensor(&format!("{layer}.bias_quantized"))?;
        Ok(Tensor::new(bias.shape(), words(bias.data(), i32::from_le_bytes))?)
    }

    /// Adds a convolution with ReLU; `options` sets the differences between layers.
    fn conv(
        &self,
        graph: &mut Graph,
        image: Value,
        layer: &str,
        output: &str,
        options: impl FnOnce(ConvBuilder) -> ConvBuilder,
    ) -> Result<Value> {
        let weights = self.weights(layer)?.permuted(&[0, 2, 3, 1])?; // OIHW to OHWI
        let conv = Conv::new(graph.tensor_type(image)?.clone(), weights)
            .bias(self.bias(layer)?)
            .output(self.requantization(output)?.relu());
        Ok(graph.add(options(conv).build()?, &[image])?)
    }
}

/// Little-endian values in a file's bytes.
fn words<const N: usize, T>(bytes: &[u8], value: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.chunks_exact(N).map(|chunk| value(chunk.try_into().expect("chunks of N bytes"))).collect()
}
