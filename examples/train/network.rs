//! The float digits network and its training images, from the files in `tests/data/digits`. Crates that include this file include
//! `examples/digits/network.rs` as `network` beside it.

use lowbit::Tensor;
use lowbit::ops::Windows;
use lowbit::train::{Layer, Network};
use safetensors::SafeTensors;

use crate::network::{Digits, Result, read};

/// Images of a set and their labels.
pub(crate) struct Split {
    pub(crate) images: Tensor,
    pub(crate) labels: Vec<usize>,
}

impl Split {
    /// The images at these indices, in order.
    pub(crate) fn of(digits: &Digits, index: &[usize]) -> Result<Self> {
        let pixels = digits.images.values::<f32>()?;
        let chosen: Vec<f32> = index.iter().flat_map(|&i| &pixels[i * 64..][..64]).copied().collect();
        let labels = index.iter().map(|&i| usize::from(digits.labels[i])).collect();
        Ok(Self { images: Tensor::new([index.len(), 8, 8, 1], chosen)?, labels })
    }

    /// Share of images whose largest logit is the right class.
    #[allow(dead_code, reason = "not every user judges")]
    pub(crate) fn accuracy(&self, logits: &Tensor) -> Result<f64> {
        let classes = crate::network::classes(logits)?;
        let right = classes.iter().zip(&self.labels).filter(|(a, b)| a == b).count();
        Ok(right as f64 / self.labels.len() as f64)
    }
}

/// Indices of the training images, in the set's order; calibration takes the first 256.
pub(crate) fn train_index() -> Result<Vec<usize>> {
    let data = read("digits_data.safetensors")?;
    let data = SafeTensors::deserialize(&data)?;
    let bytes = data.tensor("train_index")?;
    let places = bytes.data().chunks_exact(4).map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    Ok(places.map(usize::try_from).collect::<std::result::Result<_, _>>()?)
}

/// The network with its float weights.
pub(crate) fn float_network() -> Result<Network> {
    let file = read("digits_model.safetensors")?;
    let file = SafeTensors::deserialize(&file)?;
    let tensor = |name: &str| -> Result<Tensor> {
        let view = file.tensor(name)?;
        let values = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        Ok(Tensor::new(view.shape(), values.collect::<Vec<f32>>())?)
    };
    let conv = |name: &str, windows: Windows| -> Result<Layer> {
        let weights = tensor(&format!("{name}.weight"))?;
        let weights = match weights.dims() {
            &[outputs, inputs] => weights.reshaped([outputs, 1, 1, inputs])?,
            _ => weights.permuted(&[0, 2, 3, 1])?, // OIHW to OHWI
        };
        Ok(Layer::Conv { weights, bias: tensor(&format!("{name}.bias"))?, windows })
    };
    let padded = Windows::default().with_padding([1; 4]);
    let layers = vec![
        conv("conv1", padded)?,
        conv("dw2", padded.with_groups(16))?,
        conv("pw3", Windows::default())?,
        conv("conv4", padded.with_stride([2, 2]))?,
        Layer::GlobalAverage,
        conv("fc", Windows::default())?,
    ];
    Ok(Network::new([8, 8, 1], layers)?)
}
