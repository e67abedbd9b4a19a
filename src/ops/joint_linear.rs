//! Linear layers of one lhs in one launch. The meaning is `reference/joint_linear.rs`, the GPU programs are those of `Linear`
//! (`kernels/grouped/linear.rs`) with other stores.

use super::{Function, Linear, OpDef};
use crate::error::{Result, require};
use crate::numeric::DType;
use crate::tensor::TensorType;

/// `outputs[i] = layers[i](lhs, …)`, or if it is [`gated`](JointLinear::gated) `out = function(layers[0](lhs, …)) · layers[1](lhs, …)`
///
/// The query, key and value of an attention layer, or the gate of a feed-forward layer (SwiGLU, GEGLU): one launch instead of two to
/// four. lhs is read once. [`Context::plan`](crate::Context::plan) makes it of separate [`Linear`] ops by itself.
///
/// * Inputs: those of each layer, [`Linear`]'s without experts. All layers have the same.
/// * Outputs: float32, as the layers have them. Gated: one, of the layers' common shape.
///
/// The error of each output is that of its [`Linear`]. A gated output has that of the product of two such numbers, the first of them
/// through the function: with errors e of the function's result f, which include those of its layer times the function's steepest
/// slope ([`Fused`](super::Fused)), and g of the other factor x,
///
/// ```text
/// |f| · g + e · |x| + e · g + 2⁻²² · |f · x|
/// ```
///
/// ```
/// use lowbit::weights::{Codes, GroupParams, PackedWeights, ScaleFormat, WeightFormat};
/// use lowbit::{Tensor, ops::{JointLinear, Linear}, reference};
/// let weights = |code| {
///     let format = WeightFormat::new(Codes::INT4, 32, ScaleFormat::F16);
///     PackedWeights::build(format, [1, 64, 2], move |_, codes, groups, _| {
///         codes.fill(code);
///         groups.fill(GroupParams::scale(0.5));
///         Ok(())
///     })
/// };
/// let x = Tensor::new([1, 2], vec![1.0f32, 2.0])?;
/// let layer = |code| Linear::new(x.tensor_type().clone(), weights(code)?).build();
/// let op = JointLinear::new(vec![layer(2)?, layer(4)?])?;
/// let out = reference::run(&op.into(), &[&x])?;
/// assert_eq!((out[0].values::<f32>()?[0], out[1].values::<f32>()?[63]), (3.0, 6.0));
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct JointLinear {
    layers: Vec<Linear>,
    /// A layer with the columns of all.
    whole: Linear,
    gate: Option<Function>,
}

impl JointLinear {
    /// The layers that one launch has outputs for.
    pub(crate) const MOST_LAYERS: usize = 3;

    /// The op that computes two or three layers.
    ///
    /// # Errors
    /// If their inputs, the formats or orders of columns of their weights or their bounds differ, only some have a bias, one has
    /// experts, bound weights or float16 outputs, or the weights of one but the last have a number of rows that is no multiple of
    /// 64, as they are stored.
    pub fn new(layers: Vec<Linear>) -> Result<Self> {
        require!(
            (2..=Self::MOST_LAYERS).contains(&layers.len()),
            "{} layers were given, but a launch has 2 to {}: divide them",
            layers.len(),
            Self::MOST_LAYERS
        );
        let float32 = layers.iter().all(|layer| layer.output_type().dtype() == DType::Float32);
        require!(
            float32,
            "a layer makes float16, but layers are joined that make float32: leave out LinearBuilder::output"
        );
        Ok(Self { whole: Linear::joined(&layers)?, layers, gate: None })
    }

    /// The product of the second layer and a function of the first.
    ///
    /// # Errors
    /// If there are more than two layers, their widths differ, or the function has no steepest slope ([`Fused`](super::Fused)).
    pub fn gated(self, function: Function) -> Result<Self> {
        let widths: Vec<usize> = self.layers.iter().map(|layer| layer.weights().dims()[1]).collect();
        require!(
            matches!(widths[..], [gate, other] if gate == other),
            "the layers have {widths:?} columns, but a gate and its factor are two of the same width"
        );
        require!(
            function.slope().is_some(),
            "{function:?} may make a large error of a small one: gate with a function that has a steepest slope"
        );
        Ok(Self { gate: Some(function), ..self })
    }

    pub(crate) fn layers(&self) -> &[Linear] {
        &self.layers
    }

    /// The layer with the columns of all layers.
    pub(crate) fn whole(&self) -> &Linear {
        &self.whole
    }

    pub(crate) fn gate(&self) -> Option<Function> {
        self.gate
    }
}

impl OpDef for JointLinear {
    fn name(&self) -> &'static str {
        "joint_linear"
    }

    fn inputs(&self) -> Vec<TensorType> {
        self.whole.inputs()
    }

    fn outputs(&self) -> Vec<TensorType> {
        let count = if self.gate.is_some() { 1 } else { self.layers.len() };
        self.layers[..count].iter().map(|layer| layer.output_type().clone()).collect()
    }

    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        let layers = self.layers.iter().map(|layer| layer.with_inputs(inputs)).collect::<Result<Vec<_>>>()?;
        // The weights stay those that they are: their owner tells constants apart.
        Ok(Self { whole: self.whole.with_inputs(inputs)?, layers, gate: self.gate })
    }

    fn inputs_by_row(&self) -> Option<Vec<bool>> {
        self.whole.inputs_by_row()
    }
}
