//! What is computed: descriptors that are validated when they are made, so that an op that exists is sound. How a CPU or
//! a GPU computes them lives in `reference` and `kernels`, which never see each other.

mod binary;
mod block;
mod cast;
mod concat;
mod conv;
mod cross_entropy;
mod dynamic;
mod embedding;
mod fake_quantize;
mod fake_requantize;
mod float_binary;
mod float_conv;
mod float_matmul;
mod float_unary;
mod fused;
mod layer_norm;
mod linear;
mod linear_conv;
mod matmul;
mod observe;
mod optimizer_step;
mod output;
mod pad;
mod pool;
mod quantize;
mod quantize_weights;
mod quantized_arithmetic;
mod requantize;
mod reshape;
mod resize;
mod slice;
mod softmax;
mod step_from_range;
mod sum;
mod sums;
mod table;
mod transpose;
mod unfold;
mod window;

pub(crate) use binary::Binary;
pub use binary::{Add, Multiply};
pub use block::{BlockDequantize, BlockQuantize};
pub use cast::Cast;
pub use concat::Concat;
pub use conv::{Conv, ConvBuilder};
pub use cross_entropy::CrossEntropyGradient;
pub(crate) use dynamic::Segments;
pub use dynamic::{DynamicGranularity, DynamicQuantize};
pub use embedding::Embedding;
pub use fake_quantize::{FakeQuantize, FakeQuantizeGradient, Grid, GridGradient};
pub use fake_requantize::{FakeRequantize, FakeRequantizeOutput, RequantParams};
pub use float_binary::{Arithmetic, FloatBinary};
pub(crate) use float_conv::four;
pub use float_conv::{ConvPass, FloatConv, Windows};
pub use float_matmul::{FloatMatmul, FloatMatmulBuilder};
pub use float_unary::{FloatUnary, Function};
pub use fused::Fused;
pub(crate) use fused::PostOp;
pub use layer_norm::LayerNorm;
pub(crate) use linear::LhsScales;
pub use linear::{Linear, LinearBuilder};
pub use linear_conv::{LinearConv, LinearConvBuilder};
pub(crate) use matmul::Sizes;
pub use matmul::{Matmul, MatmulBuilder, Operand};
pub use observe::{Bins, ObserveHistogram, ObserveRange, RangeUpdate};
pub use optimizer_step::{OptimizerRule, OptimizerStep};
pub use output::{Output, Requantization};
pub(crate) use output::{Stage, StageEntry};
pub use pad::{Pad, PadMode};
pub use pool::{Pool, PoolBuilder, PoolKind};
pub use quantize::{Dequantize, Quantize};
pub use quantize_weights::QuantizeWeights;
pub use quantized_arithmetic::QuantizedArithmetic;
pub use requantize::Requantize;
pub use reshape::Reshape;
pub(crate) use resize::Interpolation;
pub use resize::{Coordinates, Nearest, Resize, ResizeBuilder};
pub(crate) use slice::Indices;
pub use slice::Slice;
pub use softmax::Softmax;
pub use step_from_range::StepFromRange;
pub use sum::Sum;
pub use table::Table;
pub use transpose::Transpose;
pub use unfold::{Unfold, UnfoldBuilder};
pub use window::Padding;
pub(crate) use window::Window;

use std::any::Any;
use std::sync::Arc;

use crate::error::{Result, require};
use crate::numeric::DType;
use crate::tensor::{Quantization, Tensor, TensorType};
use crate::weights::PackedWeights;

/// Any op. Each variant's struct says what it computes.
#[derive(Debug, Clone)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum Op {
    Matmul(Matmul),
    Conv(Conv),
    Requantize(Requantize),
    Quantize(Quantize),
    Dequantize(Dequantize),
    DynamicQuantize(DynamicQuantize),
    Add(Add),
    Multiply(Multiply),
    Pool(Pool),
    Table(Table),
    Cast(Cast),
    Concat(Concat),
    Fused(Fused),
    Linear(Linear),
    Embedding(Embedding),
    QuantizeWeights(QuantizeWeights),
    ObserveRange(ObserveRange),
    ObserveHistogram(ObserveHistogram),
    StepFromRange(StepFromRange),
    FakeQuantize(FakeQuantize),
    FakeQuantizeGradient(FakeQuantizeGradient),
    GridGradient(GridGradient),
    FloatConv(FloatConv),
    RequantParams(RequantParams),
    FakeRequantize(FakeRequantize),
    Sum(Sum),
    CrossEntropyGradient(CrossEntropyGradient),
    OptimizerStep(OptimizerStep),
    Unfold(Unfold),
    LinearConv(LinearConv),
    BlockQuantize(BlockQuantize),
    BlockDequantize(BlockDequantize),
    FloatMatmul(FloatMatmul),
    FloatUnary(FloatUnary),
    FloatBinary(FloatBinary),
    Softmax(Softmax),
    LayerNorm(LayerNorm),
    Transpose(Transpose),
    Slice(Slice),
    Pad(Pad),
    Reshape(Reshape),
    Resize(Resize),
}

macro_rules! each {
    ($self:expr, $op:ident => $value:expr) => {
        match $self {
            Op::Matmul($op) => $value,
            Op::Conv($op) => $value,
            Op::Requantize($op) => $value,
            Op::Quantize($op) => $value,
            Op::Dequantize($op) => $value,
            Op::DynamicQuantize($op) => $value,
            Op::Add($op) => $value,
            Op::Multiply($op) => $value,
            Op::Pool($op) => $value,
            Op::Table($op) => $value,
            Op::Cast($op) => $value,
            Op::Concat($op) => $value,
            Op::Fused($op) => $value,
            Op::Linear($op) => $value,
            Op::Embedding($op) => $value,
            Op::QuantizeWeights($op) => $value,
            Op::ObserveRange($op) => $value,
            Op::ObserveHistogram($op) => $value,
            Op::StepFromRange($op) => $value,
            Op::FakeQuantize($op) => $value,
            Op::FakeQuantizeGradient($op) => $value,
            Op::GridGradient($op) => $value,
            Op::FloatConv($op) => $value,
            Op::RequantParams($op) => $value,
            Op::FakeRequantize($op) => $value,
            Op::Sum($op) => $value,
            Op::CrossEntropyGradient($op) => $value,
            Op::OptimizerStep($op) => $value,
            Op::Unfold($op) => $value,
            Op::LinearConv($op) => $value,
            Op::BlockQuantize($op) => $value,
            Op::BlockDequantize($op) => $value,
            Op::FloatMatmul($op) => $value,
            Op::FloatUnary($op) => $value,
            Op::FloatBinary($op) => $value,
            Op::Softmax($op) => $value,
            Op::LayerNorm($op) => $value,
            Op::Transpose($op) => $value,
            Op::Slice($op) => $value,
            Op::Pad($op) => $value,
            Op::Reshape($op) => $value,
            Op::Resize($op) => $value,
        }
    };
}

impl Op {
    /// The types of the tensors that it reads, in order. Constants (weights, biases, tables) are part of the op.
    #[must_use]
    pub fn inputs(&self) -> Vec<TensorType> {
        each!(self, op => op.inputs())
    }

    /// The types of the tensors that it makes, in order.
    #[must_use]
    pub fn outputs(&self) -> Vec<TensorType> {
        each!(self, op => op.outputs())
    }

    /// The op's name: `matmul`, `conv`, ….
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Matmul(_) => "matmul",
            Self::Conv(op) if op.window().transposed => "conv_transpose",
            Self::Conv(_) => "conv",
            Self::Requantize(_) => "requantize",
            Self::Quantize(_) => "quantize",
            Self::Dequantize(_) => "dequantize",
            Self::DynamicQuantize(_) => "dynamic_quantize",
            Self::Add(_) => "add",
            Self::Multiply(_) => "multiply",
            Self::Pool(_) => "pool",
            Self::Table(_) => "table",
            Self::Cast(_) => "cast",
            Self::Concat(_) => "concat",
            Self::Fused(_) => "fused",
            Self::Linear(_) => "linear",
            Self::Embedding(_) => "embedding",
            Self::QuantizeWeights(_) => "quantize_weights",
            Self::ObserveRange(_) => "observe_range",
            Self::ObserveHistogram(_) => "observe_histogram",
            Self::StepFromRange(_) => "step_from_range",
            Self::FakeQuantize(_) => "fake_quantize",
            Self::FakeQuantizeGradient(_) => "fake_quantize_gradient",
            Self::GridGradient(_) => "grid_gradient",
            Self::FloatConv(_) => "float_conv",
            Self::RequantParams(_) => "requant_params",
            Self::FakeRequantize(_) => "fake_requantize",
            Self::Sum(_) => "sum",
            Self::CrossEntropyGradient(_) => "cross_entropy_gradient",
            Self::OptimizerStep(_) => "optimizer_step",
            Self::Unfold(_) => "unfold",
            Self::LinearConv(_) => "linear_conv",
            Self::BlockQuantize(_) => "block_quantize",
            Self::BlockDequantize(_) => "block_dequantize",
            Self::FloatMatmul(_) => "float_matmul",
            Self::FloatUnary(_) => "float_unary",
            Self::FloatBinary(_) => "float_binary",
            Self::Softmax(_) => "softmax",
            Self::LayerNorm(_) => "layer_norm",
            Self::Transpose(_) => "transpose",
            Self::Slice(_) => "slice",
            Self::Pad(_) => "pad",
            Self::Reshape(_) => "reshape",
            Self::Resize(_) => "resize",
        }
    }

    /// The same op over inputs of these types, which differ from its own in the extent of their first dimensions only.
    /// Constants are shared.
    ///
    /// # Errors
    /// If something of the op belongs to single indices of that dimension (scales, a bias), or shapes no longer fit.
    pub(crate) fn resized(&self, inputs: &[TensorType]) -> Result<Self> {
        let own = self.inputs();
        if own.iter().zip(inputs).all(|(own, given)| own.shape() == given.shape()) {
            return Ok(self.clone());
        }
        // The op's own types may know scales that the tensors say nothing of.
        let resize = |(own, given): (&TensorType, &TensorType)| match given.dims().first() {
            Some(&extent) => own.resized(extent),
            None => Ok(own.clone()),
        };
        let inputs = &own.iter().zip(inputs).map(resize).collect::<Result<Vec<_>>>()?[..];
        Ok(match self {
            Self::Matmul(op) => op.resized(inputs)?.into(),
            Self::Conv(op) => op.resized(inputs)?.into(),
            Self::Requantize(op) => op.resized(inputs)?.into(),
            Self::Quantize(op) => op.resized(inputs)?.into(),
            Self::Dequantize(op) => op.resized(inputs)?.into(),
            Self::DynamicQuantize(op) => op.resized(inputs)?.into(),
            Self::Add(op) => op.resized(inputs)?.into(),
            Self::Multiply(op) => op.resized(inputs)?.into(),
            Self::Pool(op) => op.resized(inputs)?.into(),
            Self::Table(op) => op.resized(inputs)?.into(),
            Self::Cast(op) => op.resized(inputs)?.into(),
            Self::Concat(op) => op.resized(inputs)?.into(),
            Self::Fused(op) => op.resized(inputs)?.into(),
            Self::Linear(op) => op.resized(inputs)?.into(),
            Self::Embedding(op) => op.resized(inputs)?.into(),
            Self::QuantizeWeights(op) => op.resized(inputs)?.into(),
            Self::ObserveRange(op) => op.resized(inputs)?.into(),
            Self::ObserveHistogram(op) => op.resized(inputs)?.into(),
            Self::StepFromRange(op) => op.resized(inputs)?.into(),
            Self::FakeQuantize(op) => op.resized(inputs)?.into(),
            Self::FakeQuantizeGradient(op) => op.resized(inputs)?.into(),
            Self::GridGradient(op) => op.resized(inputs)?.into(),
            Self::FloatConv(op) => op.resized(inputs)?.into(),
            Self::RequantParams(op) => op.resized(inputs)?.into(),
            Self::FakeRequantize(op) => op.resized(inputs)?.into(),
            Self::Sum(op) => op.resized(inputs)?.into(),
            Self::CrossEntropyGradient(op) => op.resized(inputs)?.into(),
            Self::OptimizerStep(op) => op.resized(inputs)?.into(),
            Self::Unfold(op) => op.resized(inputs)?.into(),
            Self::LinearConv(op) => op.resized(inputs)?.into(),
            Self::BlockQuantize(op) => op.resized(inputs)?.into(),
            Self::BlockDequantize(op) => op.resized(inputs)?.into(),
            Self::FloatMatmul(op) => op.resized(inputs)?.into(),
            Self::FloatUnary(op) => op.resized(inputs)?.into(),
            Self::FloatBinary(op) => op.resized(inputs)?.into(),
            Self::Softmax(op) => op.resized(inputs)?.into(),
            Self::LayerNorm(op) => op.resized(inputs)?.into(),
            Self::Transpose(op) => op.resized(inputs)?.into(),
            Self::Slice(op) => op.resized(inputs)?.into(),
            Self::Pad(op) => op.resized(inputs)?.into(),
            Self::Reshape(op) => op.resized(inputs)?.into(),
            Self::Resize(op) => op.resized(inputs)?.into(),
        })
    }

    /// Which inputs are divided with the outputs when only some indices of the first dimension are computed; `None` if those
    /// don't stand for themselves, or something of the op belongs to single ones.
    pub(crate) fn inputs_by_row(&self) -> Option<Vec<bool>> {
        self.by_row().filter(|by_row| self.with_rows(by_row, 1).is_ok())
    }

    /// The same op for so many indices of the first dimension, with the inputs divided that [`Op::inputs_by_row`] names.
    pub(crate) fn with_rows(&self, by_row: &[bool], rows: usize) -> Result<Self> {
        let part = |(t, &by_row): (TensorType, &bool)| if by_row { t.resized(rows) } else { Ok(t) };
        self.resized(&self.inputs().into_iter().zip(by_row).map(part).collect::<Result<Vec<_>>>()?)
    }

    fn by_row(&self) -> Option<Vec<bool>> {
        let inputs = self.inputs();
        let rank = inputs[0].shape().rank();
        if rank == 0 {
            return None;
        }
        match self {
            Self::Matmul(op) => op.inputs_by_row(),
            Self::Conv(_) | Self::Unfold(_) | Self::LinearConv(_) => Some((0..inputs.len()).map(|i| i == 0).collect()),
            Self::Requantize(_)
            | Self::Quantize(_)
            | Self::Dequantize(_)
            | Self::Table(_)
            | Self::Pool(_)
            | Self::FloatUnary(_)
            | Self::Cast(_) => Some(vec![true]),
            Self::DynamicQuantize(op) => {
                (op.granularity() != DynamicGranularity::Tensor && rank == 2).then(|| vec![true])
            }
            Self::Add(_) | Self::Multiply(_) | Self::FloatBinary(_) => {
                let output = &self.outputs()[0];
                let same =
                    |t: &TensorType| t.shape().rank() == output.shape().rank() && t.dims()[0] == output.dims()[0];
                Some(inputs.iter().map(same).collect())
            }
            Self::Concat(op) => (op.axis() > 0).then(|| vec![true; inputs.len()]),
            Self::Linear(op) => op.inputs_by_row(),
            Self::Embedding(_) => Some(vec![true]),
            Self::QuantizeWeights(_) => None,
            Self::ObserveRange(_)
            | Self::ObserveHistogram(_)
            | Self::StepFromRange(_)
            | Self::GridGradient(_)
            | Self::RequantParams(_)
            | Self::Sum(_)
            | Self::CrossEntropyGradient(_)
            | Self::OptimizerStep(_) => None,
            Self::FloatConv(op) => op.inputs_by_row(),
            Self::FakeRequantize(op) => op.inputs_by_row(),
            Self::FakeQuantize(op) => op.inputs_by_row(),
            Self::FakeQuantizeGradient(op) => op.inputs_by_row(),
            Self::Softmax(_) | Self::LayerNorm(_) => (rank > 1).then(|| vec![true]),
            // Blocks lie along the last dimension.
            Self::BlockQuantize(_) | Self::BlockDequantize(_) => (rank > 1).then(|| vec![true; inputs.len()]),
            Self::FloatMatmul(op) => op.inputs_by_row(),
            Self::Transpose(op) => op.keeps_rows().then(|| vec![true]),
            Self::Slice(op) => op.keeps_rows().then(|| vec![true]),
            Self::Pad(op) => op.keeps_rows().then(|| vec![true]),
            Self::Reshape(op) => op.keeps_rows().then(|| vec![true]),
            Self::Resize(_) => Some(vec![true]),
            Self::Fused(op) => {
                let mut by_row = op.first().by_row()?;
                by_row.resize(inputs.len(), true);
                Some(by_row)
            }
        }
    }

    /// The sums that a product with int16 codes keeps between launches, divided as its outputs are.
    pub(crate) fn kept_sums(&self) -> Option<TensorType> {
        let output = match self {
            Self::Fused(op) => return op.first().kept_sums(),
            Self::Matmul(op) if op.lhs().dtype() == DType::Int16 => op.output_type(),
            Self::Conv(op) if op.lhs().dtype() == DType::Int16 => op.output_type(),
            _ => return None,
        };
        Some(output.with_dtype(DType::Int32))
    }

    /// The same op with its codes clamped further; `None` if it has no clamp to narrow.
    pub(crate) fn clamped(&self, low: i32, high: i32) -> Option<Self> {
        Some(match self {
            Self::Matmul(op) => op.clamped(low, high)?.into(),
            Self::Conv(op) => op.clamped(low, high)?.into(),
            Self::Requantize(op) => op.clamped(low, high).into(),
            Self::Add(op) => op.clamped(low, high).into(),
            Self::Multiply(op) => op.clamped(low, high).into(),
            Self::Pool(op) => op.clamped(low, high)?.into(),
            Self::Fused(op) => op.clamped(low, high)?.into(),
            _ => return None,
        })
    }

    /// The constant that this op's weights are packed from.
    pub(crate) fn weight_identity(&self) -> Option<WeightIdentity> {
        let of_tensor = |(tensor, packing): (&Arc<Tensor>, Vec<usize>)| WeightIdentity {
            description: tensor.tensor_type().to_string(),
            owner: tensor.clone(),
            packing,
        };
        let of_weights = |weights: &Arc<PackedWeights>| WeightIdentity {
            description: weights.to_string(),
            owner: weights.clone(),
            packing: Vec::new(),
        };
        match self {
            Self::Matmul(op) => op.weight_identity().map(of_tensor),
            Self::Conv(op) => Some(of_tensor(op.weight_identity())),
            Self::Linear(op) => Some(of_weights(op.weights())),
            Self::LinearConv(op) => Some(of_weights(op.linear().weights())),
            Self::Embedding(op) => Some(of_weights(op.weights())),
            Self::FloatMatmul(op) => op.weight_identity().map(|(t, packing)| of_tensor((t, vec![packing]))),
            Self::Fused(op) => op.first().weight_identity(),
            _ => None,
        }
    }

    /// Checks that tensors of these types can be its inputs: as many, of the formats, shapes and scales of
    /// [`Op::inputs`]. A tensor or an op that says nothing of scales goes with any.
    pub(crate) fn check_inputs<'a>(&self, given: impl ExactSizeIterator<Item = &'a TensorType>) -> Result<()> {
        let expected = self.inputs();
        let list = || expected.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        require!(
            given.len() == expected.len(),
            "{} reads {} tensors ({}), but {} were given",
            self.name(),
            expected.len(),
            list(),
            given.len()
        );
        for (i, (given, expected)) in given.zip(&expected).enumerate() {
            require!(
                given.dtype() == expected.dtype() && given.shape() == expected.shape(),
                "input {i} of {} is {given}, but the op was made for {expected}",
                self.name()
            );
            require!(
                given.scales_agree(expected),
                "input {i} of {} is {given} with {}, but the op was made for {}: make the op from the tensor's own type",
                self.name(),
                given.describe_scales(),
                expected.describe_scales()
            );
        }
        Ok(())
    }

    /// Checks further that codes which were made with scales meet an op that knows them: between the ops of a graph
    /// nothing may be left unsaid.
    pub(crate) fn check_scales<'a>(&self, given: impl Iterator<Item = &'a TensorType>) -> Result<()> {
        for (i, (given, expected)) in given.zip(&self.inputs()).enumerate() {
            let said = |t: &TensorType| t.quantization().is_some() || t.has_dynamic_scales();
            let same = given.quantization().is_some() == expected.quantization().is_some()
                && given.has_dynamic_scales() == expected.has_dynamic_scales();
            require!(
                !said(given) || same,
                "input {i} of {} is {given} with {}, but the op was made for one with {}: make the op from the tensor's \
                 own type (Graph::tensor_type){}",
                self.name(),
                given.describe_scales(),
                expected.describe_scales(),
                if given.has_dynamic_scales() { ", with dynamic_lhs, and pass the parameters last" } else { "" }
            );
        }
        Ok(())
    }
}

/// What tells the packed weights of one op from those of another.
pub(crate) struct WeightIdentity {
    /// What they are packed from: the same object makes the same words.
    pub owner: Arc<dyn Any + Send + Sync>,
    /// What else of the op decides how.
    pub packing: Vec<usize>,
    /// Format and dimensions.
    pub description: String,
}

macro_rules! into_op {
    ($($variant:ident),+) => {$(
        impl From<$variant> for Op {
            fn from(op: $variant) -> Self {
                Self::$variant(op)
            }
        }
    )+};
}
into_op!(
    Matmul,
    Conv,
    Requantize,
    Quantize,
    Dequantize,
    DynamicQuantize,
    Add,
    Multiply,
    Pool,
    Table,
    Cast,
    Concat,
    Fused,
    Linear,
    Embedding,
    QuantizeWeights,
    ObserveRange,
    ObserveHistogram,
    StepFromRange,
    FakeQuantize,
    FakeQuantizeGradient,
    GridGradient,
    FloatConv,
    RequantParams,
    FakeRequantize,
    Sum,
    CrossEntropyGradient,
    OptimizerStep,
    Unfold,
    LinearConv,
    FloatMatmul,
    FloatUnary,
    FloatBinary,
    Softmax,
    LayerNorm,
    BlockQuantize,
    BlockDequantize,
    Transpose,
    Slice,
    Pad,
    Reshape,
    Resize
);

/// Refuses tensors whose elements are more than a word, which ops that only move elements don't move.
fn check_moved(input: &TensorType) -> Result<()> {
    require!(
        input.dtype().bits() <= 32,
        "{input} holds pairs of a scale and a zero point, which stay where they were made"
    );
    Ok(())
}

/// Refuses int16 codes that are not symmetric about 0, or whose scales are only found on the device.
fn check_int16(name: &str, tensor_type: &TensorType, dynamic: bool) -> Result<()> {
    if tensor_type.dtype() != DType::Int16 {
        return Ok(());
    }
    let zero_points = tensor_type.quantization().map_or(&[][..], Quantization::zero_points);
    let odd = zero_points.iter().find(|&&z| z != 0);
    require!(
        odd.is_none(),
        "{name} is {tensor_type} with the zero point {}, but int16 activations are symmetric: make it 0",
        odd.unwrap_or(&0)
    );
    require!(!dynamic, "{name} is {tensor_type} with dynamic scales, but those are found for int8 and uint8 only");
    Ok(())
}

/// Refuses dynamic parameters that no range could have given for codes of this format; other tensors pass. Sums fit i32
/// only if zero points are codes.
pub(crate) fn check_parameters(codes: DType, parameters: &Tensor) -> Result<()> {
    let Ok(pairs) = parameters.values::<(f32, i32)>() else { return Ok(()) };
    let (low, high) = codes.range().unwrap_or((i32::MIN, i32::MAX));
    for &(scale, zero_point) in pairs {
        require!(scale.is_finite() && scale > 0.0, "a dynamic scale is {scale:e}, but it must be finite and positive");
        require!(
            (low..=high).contains(&zero_point),
            "a dynamic zero point is {zero_point}, but {codes} codes lie in {low}..={high}"
        );
    }
    Ok(())
}
