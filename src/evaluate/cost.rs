//! The cost of a model: bytes, multiplications, and an estimate of energy. Nothing here is measured.

use serde::{Deserialize, Serialize};

use crate::model::{Layer, Model};
use crate::ptq::QuantizedModel;

/// The cost of one row or image.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Cost {
    /// Bytes of the weights alone.
    pub weight_bytes: u64,
    /// Bytes of weights, scales, zero points and biases.
    pub parameter_bytes: u64,
    /// Multiplications by a weight.
    pub multiplications: u64,
    /// Bytes read and written for one row: all parameters once, and the inputs and outputs of each layer.
    pub bytes_moved: u64,
    /// An **estimate** of the energy in microjoules: [`Energy::HOROWITZ_2014`].
    pub estimated_microjoules: f64,
}

/// Energy of operations, in picojoules.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Energy {
    /// An f32 product and its addition to an f32.
    pub float_multiply_add: f64,
    /// A product of int8 (or fewer bits) and its addition to an int32.
    pub integer_multiply_add: f64,
    /// Reading or writing a byte of memory.
    pub byte: f64,
}

impl Energy {
    /// M. Horowitz, "Computing's energy problem (and what we can do about it)", ISSCC 2014, figure 1.1.9: 45 nm, 0.9 V. f32
    /// product 3.7 pJ and sum 0.9 pJ, int8 product 0.2, int32 sum 0.1, DRAM 1.3 nJ for 64 bits (the lower end). Today's numbers
    /// are lower; only the ratios are of use. Fewer bits than 8 count as 8.
    pub const HOROWITZ_2014: Self = Self { float_multiply_add: 4.6, integer_multiply_add: 0.3, byte: 1300.0 / 8.0 };

    fn microjoules(self, integer: u64, float: u64, bytes: u64) -> f64 {
        let operations = integer as f64 * self.integer_multiply_add + float as f64 * self.float_multiply_add;
        (operations + bytes as f64 * self.byte) * 1e-6
    }
}

impl Cost {
    /// The cost of a float model, with everything in float32.
    #[must_use]
    pub fn of_float(model: &Model) -> Self {
        let weights: u64 = model.layers().iter().map(|layer| layer.weights().len() as u64).sum();
        let biases: u64 = model.layers().iter().filter(|l| l.has_bias()).map(|l| l.bias().len() as u64).sum();
        let multiplications = model.layers().iter().map(Layer::multiplications).sum();
        let numbers = |layer: &Layer| (layer.input().elements() + layer.output().elements()) as u64;
        let bytes_moved = 4 * (weights + biases + model.layers().iter().map(numbers).sum::<u64>());
        Self {
            weight_bytes: 4 * weights,
            parameter_bytes: 4 * (weights + biases),
            multiplications,
            bytes_moved,
            estimated_microjoules: Energy::HOROWITZ_2014.microjoules(0, multiplications, bytes_moved),
        }
    }

    /// The cost of a quantized model. Numbers between layers take the bits of their codes; inputs and outputs of the model take
    /// 4 bytes. Products are integer in layers that read integers and hold integer weights.
    #[must_use]
    pub fn of_quantized(model: &QuantizedModel) -> Self {
        let layers = model.dequantized().layers();
        let multiplications = layers.iter().map(Layer::multiplications).sum();
        let own = |integer: bool| {
            let layers = layers.iter().enumerate().filter(|(i, _)| model.multiplies_integers(*i) == integer);
            layers.map(|(_, layer)| layer.multiplications()).sum::<u64>()
        };
        let bits = |elements: usize, index: usize| elements * model.activation_bits(index);
        let inputs = layers.iter().enumerate().map(|(i, layer)| bits(layer.input().elements(), i));
        // The last layer's results count as float32 in `ends`, whatever its codes are.
        let made =
            layers[..layers.len() - 1].iter().enumerate().map(|(i, layer)| bits(layer.output().elements(), i + 1));
        // A quantized input is read as float32 first.
        let input = if model.activation_bits(0) < 32 { model.dequantized().input().elements() } else { 0 };
        let ends = 32 * (input + model.dequantized().outputs());
        let bytes_moved = model.bytes() + (inputs.chain(made).sum::<usize>() + ends) as u64 / 8;
        Self {
            weight_bytes: model.weight_bytes(),
            parameter_bytes: model.bytes(),
            multiplications,
            bytes_moved,
            estimated_microjoules: Energy::HOROWITZ_2014.microjoules(own(true), own(false), bytes_moved),
        }
    }
}
