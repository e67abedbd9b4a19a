//! Small float models with random weights. The digits network is in `digits`.

use super::common::Random;
use lowbit::model::{Architecture, Model};
use lowbit::{Result, Tensor};

/// A model with padding on one side, stride, dilation, groups, ReLU6 and a flattened image.
pub(crate) const AWKWARD: &str = r#"{ "name": "awkward", "input": { "shape": [3, 7, 6] }, "layers": [
    { "name": "a", "op": "conv2d", "in": 3, "out": 6, "kernel": [3, 2], "pads": [1, 0, 2, 1], "activation": "relu" },
    { "name": "b", "op": "conv2d", "in": 6, "out": 4, "kernel": [2, 2], "stride": [2, 1], "dilation": [1, 2], "groups": 2,
      "activation": "relu6" },
    { "name": "c", "op": "linear", "in": 64, "out": 5, "activation": "relu" },
    { "name": "d", "op": "linear", "in": 5, "out": 7, "bias": false } ] }"#;

pub(crate) fn random_model(json: &str, seed: u64) -> Result<Model> {
    let architecture: Architecture = serde_json::from_str(json).expect("sound JSON");
    let mut random = Random::new(seed);
    let mut model = Model::zeroed(architecture)?;
    for layer in model.clone().layers().iter().filter(|layer| layer.is_weighted()) {
        let mut values = |count: usize| -> Vec<f32> { (0..count).map(|_| 0.4 * random.real()).collect() };
        let (weights, bias) = (values(layer.weights().len()), values(layer.bias().len()));
        let bias = if layer.has_bias() { bias } else { vec![0.0; bias.len()] };
        model = model.with_parameters(layer.name(), weights, bias)?;
    }
    Ok(model)
}

pub(crate) fn random_input(model: &Model, rows: usize, seed: u64) -> Tensor {
    let mut random = Random::new(seed);
    let count = rows * model.input().elements();
    Tensor::new(model.input_shape(rows), (0..count).map(|_| random.real()).collect::<Vec<f32>>()).expect("they fit")
}
