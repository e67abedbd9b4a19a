//! The gate of a squeeze-and-excitation block. The meaning is `reference/channel_gate.rs`, the GPU programs are
//! `kernels/elementwise/channel_gate.rs`.

use super::output::{Output, Requantization};
use super::{Conv, OpDef, Pool, PoolKind, QuantizedArithmetic};
use crate::error::{Result, require};
use crate::numeric::Rounding;
use crate::tensor::TensorType;

/// `out = layer_n( … layer_1( pool(x) ) )`: an average of each image, and one or two convolutions of its only pixel, in one launch
///
/// * Input: int8 or uint8 `[batch, spatial…, channels]` (NHWC), one scale. Output: `[batch, 1…, outputs]`, codes of the last layer.
/// * The pool is an average of the whole image, with any [`QuantizedArithmetic`] but `Codes`. Each layer is a [`Conv`] of one
///   group from 8-bit codes to 8-bit codes. No stage has more than 1,024 channels, and all round in one mode.
///
/// The result is that of the ops in sequence, bit for bit. A function of the gate, such as a sigmoid, is a
/// [`Table`](super::Table) after it ([`Fused`](super::Fused)); a [`Multiply`](super::Multiply) applies it. A graph's plan makes the op of
/// a pool and its convolutions. One workgroup computes an image, so weights of many products are faster in ops of their own. Source:
/// Squeeze-and-Excitation Networks (Hu et al. 2018).
///
/// ```
/// use lowbit::{DType, Quantization, Tensor, ops::{ChannelGate, Conv, Op, Pool, Requantization}, reference};
/// let image = Tensor::new([1, 2, 1, 2], vec![1u8, 4, 3, 8])?.quantized(Quantization::tensor(1.0, 0))?;
/// let pool = Pool::global_average(image.tensor_type().clone()).build()?; // 2, 6
/// let weights = Tensor::new([1, 1, 1, 2], vec![3i8, 1])?.quantized(Quantization::tensor(1.0, 0))?;
/// let pixel = Op::from(pool.clone()).outputs()[0].clone();
/// let layer = Conv::new(pixel, weights).output(Requantization::new(DType::Uint8, 0.5, 0)?).build()?;
/// let gate = ChannelGate::new(pool, vec![layer])?;
/// assert_eq!(reference::run(&gate.into(), &[&image])?[0].values::<u8>()?, [24]); // (2 · 3 + 6) / 0.5
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ChannelGate {
    pool: Pool,
    layers: Vec<Conv>,
}

impl ChannelGate {
    /// The most channels of a stage.
    const MOST_CHANNELS: usize = 1024;

    /// The most layers.
    pub(crate) const MOST_LAYERS: usize = 2;

    /// A pool, and the layers after it.
    ///
    /// # Errors
    /// If the pool is no such average of the whole image, there are no layers or more than two, a layer is no convolution of one
    /// pixel from 8-bit codes to 8-bit codes with the scales of those before it, roundings differ, or a stage has more than 1,024
    /// channels.
    pub fn new(pool: Pool, layers: Vec<Conv>) -> Result<Self> {
        require!(
            (1..=Self::MOST_LAYERS).contains(&layers.len()),
            "a gate has one or two layers, but {} were given",
            layers.len()
        );
        require!(
            pool.kind() == PoolKind::Average
                && pool.arithmetic() != QuantizedArithmetic::Codes
                && pool.window().is_whole(),
            "a gate begins with an average of the whole image that is no mean of codes: use Pool::global_average"
        );
        let (mut made, mode) = (pool.output_type(), pool.output().mode());
        check_channels(pool.input())?;
        for (index, layer) in layers.iter().enumerate() {
            let fits = made.dtype() == layer.lhs().dtype() && made.shape() == layer.lhs().shape();
            require!(
                fits && layer.lhs().scales_agree(made),
                "layer {index} reads {}, but {made} is made before it",
                layer.lhs()
            );
            check_layer(layer, index, mode)?;
            made = layer.output_type();
        }
        Ok(Self { pool, layers })
    }

    /// This gate with another layer.
    pub(crate) fn then(&self, layer: Conv) -> Result<Self> {
        Self::new(self.pool.clone(), [&self.layers[..], &[layer]].concat())
    }

    pub(super) fn clamped(&self, low: i32, high: i32) -> Option<Self> {
        let (last, first) = self.layers.split_last()?;
        let layers = [first, &[last.clamped(low, high)?]].concat();
        Some(Self { pool: self.pool.clone(), layers })
    }

    /// The average.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The layers, in order.
    #[must_use]
    pub fn layers(&self) -> &[Conv] {
        &self.layers
    }

    pub(crate) fn output_type(&self) -> &TensorType {
        self.layers[self.layers.len() - 1].output_type()
    }
}

/// The codes that a layer makes.
pub(crate) fn layer_output(layer: &Conv) -> &Requantization {
    let Output::Requantized(output) = layer.output() else { unreachable!("checked when it was built") };
    output
}

fn check_channels(stage: &TensorType) -> Result<()> {
    let channels = stage.shape().row_length();
    require!(
        (1..=ChannelGate::MOST_CHANNELS).contains(&channels),
        "a stage of a gate has 1 to {} channels, but {stage} has {channels}",
        ChannelGate::MOST_CHANNELS
    );
    Ok(())
}

fn check_layer(layer: &Conv, index: usize, mode: Rounding) -> Result<()> {
    let window = layer.window();
    require!(
        window.is_whole() && window.taps() == 1 && !window.transposed,
        "layer {index} of a gate is a convolution of one pixel, but its window {:?} is over {}",
        window.kernel,
        layer.lhs()
    );
    require!(
        layer.groups() == 1 && !layer.is_dynamic(),
        "layer {index} of a gate has one group and known scales, but it has {} groups{}",
        layer.groups(),
        if layer.is_dynamic() { " and a dynamic scale" } else { "" }
    );
    require!(
        layer.lhs().dtype().is_8_bit() && layer.output_type().dtype().is_8_bit(),
        "layer {index} of a gate is of 8-bit codes, but it makes {} of {}",
        layer.output_type(),
        layer.lhs()
    );
    require!(
        layer_output(layer).mode() == mode,
        "all stages of a gate round in one mode, but layer {index} rounds in {:?} and the pool in {mode:?}",
        layer_output(layer).mode()
    );
    check_channels(layer.output_type())
}

impl OpDef for ChannelGate {
    fn name(&self) -> &'static str {
        "channel_gate"
    }

    fn inputs(&self) -> Vec<TensorType> {
        self.pool.inputs()
    }

    fn outputs(&self) -> Vec<TensorType> {
        vec![self.output_type().clone()]
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        let pool = self.pool.with_inputs(inputs)?;
        let mut made = pool.output_type().clone();
        let mut layers = Vec::new();
        for layer in &self.layers {
            let layer = layer.with_inputs(&[made])?;
            made = layer.output_type().clone();
            layers.push(layer);
        }
        Ok(Self { pool, layers })
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        Some(vec![true])
    }
}
