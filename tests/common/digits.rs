//! The float digits network and its images. ONNX Runtime's quantized network is in `examples/digits`.

use lowbit::Tensor;
use lowbit::model::Model;
use safetensors::SafeTensors;

/// Images, labels, and the indices of the training and test images.
pub(crate) struct Digits {
    pixels: Vec<f32>,
    labels: Vec<usize>,
    pub(crate) train: Vec<usize>,
    pub(crate) test: Vec<usize>,
}

pub(crate) fn read(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/data/digits/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The float network.
pub(crate) fn model() -> Model {
    let architecture = serde_json::from_slice(&read("arch.json")).expect("a sound architecture");
    Model::new(architecture, &read("digits_model.safetensors")).expect("a sound model")
}

impl Digits {
    pub(crate) fn load() -> Self {
        let file = read("digits_data.safetensors");
        let file = SafeTensors::deserialize(&file).expect("a sound file");
        let bytes = |name: &str| file.tensor(name).expect("in the file").data().to_vec();
        let index = |name: &str| -> Vec<usize> {
            bytes(name).chunks_exact(4).map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize).collect()
        };
        Self {
            pixels: bytes("images").iter().map(|&p| f32::from(p) / 16.0).collect(),
            labels: bytes("labels").iter().map(|&l| l.into()).collect(),
            train: index("train_index"),
            test: index("test_index"),
        }
    }

    /// Images `[n, 8, 8, 1]` and their labels.
    pub(crate) fn take(&self, index: &[usize]) -> (Tensor, Vec<usize>) {
        let pixels: Vec<f32> = index.iter().flat_map(|&i| &self.pixels[i * 64..(i + 1) * 64]).copied().collect();
        let images = Tensor::new([index.len(), 8, 8, 1], pixels).expect("whole images");
        (images, index.iter().map(|&i| self.labels[i]).collect())
    }
}
