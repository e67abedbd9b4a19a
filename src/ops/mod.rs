//! Descriptors of computations. They are validated when they are made, so that an op that exists is sound. Their computation on a CPU
//! or a GPU lives in `reference` and `kernels`, which never see each other.

#[cfg(feature = "transformer")]
mod append;
#[cfg(feature = "transformer")]
mod append_quantized;
#[cfg(feature = "float")]
mod arg_max;
#[cfg(feature = "transformer")]
mod attention;
mod binary;
mod block;
mod cast;
#[cfg(feature = "convolution")]
mod channel_gate;
mod concat;
#[cfg(feature = "convolution")]
mod conv;
#[cfg(feature = "train")]
mod cross_entropy;
mod dynamic;
#[cfg(feature = "transformer")]
mod embedding;
#[cfg(feature = "train")]
mod fake_quantize;
#[cfg(feature = "train")]
mod fake_requantize;
mod float_binary;
#[cfg(feature = "train")]
mod float_conv;
#[cfg(feature = "float")]
mod float_matmul;
#[cfg(feature = "float")]
mod float_pool;
mod float_unary;
mod fused;
#[cfg(feature = "float")]
mod gather;
#[cfg(feature = "transformer")]
mod joint_linear;
#[cfg(feature = "float")]
mod layer_norm;
#[cfg(feature = "transformer")]
mod linear;
#[cfg(feature = "transformer")]
mod linear_conv;
mod matmul;
#[cfg(feature = "calibrate")]
mod observe;
#[cfg(feature = "train")]
mod optimizer_step;
mod output;
mod pad;
#[cfg(feature = "convolution")]
mod pool;
mod quantize;
#[cfg(feature = "transformer")]
mod quantize_weights;
mod quantized_arithmetic;
#[cfg(feature = "float")]
mod quantized_softmax;
#[cfg(feature = "float")]
mod reduce;
mod requantize;
mod reshape;
mod resize;
#[cfg(feature = "transformer")]
mod rotary;
#[cfg(feature = "transformer")]
mod rotary_append;
#[cfg(feature = "float")]
mod select;
mod slice;
#[cfg(feature = "float")]
mod softmax;
#[cfg(feature = "calibrate")]
mod step_from_range;
#[cfg(feature = "train")]
mod sum;
mod sums;
mod table;
#[cfg(feature = "float")]
mod top_k;
mod transpose;
#[cfg(feature = "convolution")]
mod unfold;
mod window;

#[cfg(feature = "transformer")]
pub use attention::AttentionBuilder;
#[cfg(feature = "transformer")]
pub(crate) use attention::Cache;
#[cfg(feature = "onnx")]
pub(crate) use binary::lhs_is_repeated;
pub use binary::{AddBuilder, MultiplyBuilder};
pub(crate) use binary::{Addition, Binary, CommonScale};
pub use block::BlockDequantizeBuilder;
pub use cast::CastBuilder;
#[cfg(feature = "convolution")]
pub(crate) use channel_gate::layer_output;
pub use concat::ConcatBuilder;
pub(crate) use concat::Joined;
#[cfg(feature = "convolution")]
pub use conv::ConvBuilder;
pub(crate) use dynamic::Segments;
pub use dynamic::{DynamicGranularity, DynamicQuantizeBuilder};
#[cfg(feature = "transformer")]
pub use embedding::EmbeddingBuilder;
#[cfg(feature = "train")]
pub use fake_quantize::{FakeQuantizeBuilder, Grid};
#[cfg(feature = "train")]
pub use fake_requantize::{FakeRequantizeBuilder, FakeRequantizeOutput};
pub use float_binary::Arithmetic;
#[cfg(feature = "train")]
pub(crate) use float_conv::four;
#[cfg(feature = "train")]
pub use float_conv::{ConvPass, FloatConvBuilder, Windows};
#[cfg(feature = "float")]
pub use float_matmul::FloatMatmulBuilder;
#[cfg(feature = "float")]
pub use float_pool::FloatPoolBuilder;
pub use float_unary::Function;
pub(crate) use fused::PostOp;
#[cfg(feature = "float")]
pub use layer_norm::LayerNormBuilder;
#[cfg(feature = "transformer")]
pub(crate) use linear::LhsScales;
#[cfg(feature = "transformer")]
pub use linear::LinearBuilder;
#[cfg(feature = "transformer")]
pub use linear_conv::LinearConvBuilder;
pub(crate) use matmul::Sizes;
pub use matmul::{MatmulBuilder, Operand};
#[cfg(feature = "calibrate")]
pub use observe::{Bins, RangeUpdate};
#[cfg(feature = "train")]
pub use optimizer_step::{OptimizerRule, OptimizerStepBuilder};
pub use output::{Output, Requantization};
pub(crate) use output::{Stage, StageEntry};
pub use pad::PadMode;
#[cfg(feature = "convolution")]
pub use pool::{PoolBuilder, PoolKind};
pub use quantize::{DequantizeBuilder, QuantizeBuilder};
pub use quantized_arithmetic::QuantizedArithmetic;
#[cfg(feature = "float")]
pub use reduce::Reduction;
pub(crate) use resize::Interpolation;
pub use resize::{Coordinates, Nearest, ResizeBuilder};
#[cfg(feature = "transformer")]
pub use rotary::RotaryPairs;
pub(crate) use slice::Indices;
pub use slice::SliceBuilder;
#[cfg(feature = "float")]
pub use softmax::SoftmaxBuilder;
pub(crate) use table::code_of;
#[cfg(feature = "float")]
pub use top_k::TopKBuilder;
#[cfg(feature = "convolution")]
pub use unfold::UnfoldBuilder;
pub use window::Padding;
pub(crate) use window::Window;

use std::sync::Arc;

use crate::error::{Result, require};
use crate::numeric::{DType, QuantizationParams};
use crate::tensor::{Quantization, Tensor, TensorType};
use crate::weights::PackedWeights;

/// The description of an op. No method has a default, so that the compiler names what a new op leaves out.
pub(crate) trait OpDef: Clone + Into<Op> {
    /// `matmul`, `conv`, ….
    fn name(&self) -> &'static str;

    /// The types of the tensors that it reads, in order.
    fn inputs(&self) -> Vec<TensorType>;

    /// The types of the tensors that it makes, in order.
    fn outputs(&self) -> Vec<TensorType>;

    /// The op over inputs of these types, which differ from its own in their dimensions only, not in the number of them.
    ///
    /// # Errors
    /// If something of the op belongs to single indices of a dimension that changes (scales, a bias, a window), or shapes no longer
    /// fit.
    fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self>;

    /// For each input, true if indices of its first dimension go with those of the outputs. `None` if an index of the outputs needs
    /// more than its own of the inputs. It is not asked of an op whose first input is a scalar.
    fn inputs_by_row(&self) -> Option<Vec<bool>>;
}

macro_rules! ops {
    ($(cfg $when:tt { $($module:ident: $($op:ident),+;)+ })+) => {
        $($(#[cfg $when] pub use $module::{$($op),+};)+)+

        /// Any op. Each variant's struct says what it computes.
        #[derive(Debug, Clone)]
        #[non_exhaustive]
        #[allow(missing_docs)]
        pub enum Op {
            $($($(#[cfg $when] $op($op),)+)+)+
        }

        $($($(
            #[cfg $when]
            impl From<$op> for Op {
                fn from(op: $op) -> Self {
                    Self::$op(op)
                }
            }
        )+)+)+

        /// For tests that have to try every op.
        #[cfg(any(test, feature = "unstable-kernels"))]
        impl Op {
            /// The names of all variants, by the features at hand.
            pub const VARIANTS: &[&str] = &[$($($(#[cfg $when] stringify!($op),)+)+)+];

            /// The name of this variant.
            pub fn variant(&self) -> &'static str {
                match self {
                    $($($(#[cfg $when] Self::$op(_) => stringify!($op),)+)+)+
                }
            }
        }

        /// Evaluates an expression with the op that an [`Op`] holds: `each!(op, op => op.inputs())`.
        macro_rules! each {
            ($of:expr, $variable:ident => $value:expr) => {
                match $of {
                    $($($(#[cfg $when] $crate::ops::Op::$op($variable) => $value,)+)+)+
                }
            };
        }
        pub(crate) use each;
    };
}

// The list of ops: each module with the ops that it declares, by the features that they need. `Op`, the ways to run one and its
// meaning follow from it.
ops! {
    cfg(all()) {
        matmul: Matmul;
        requantize: Requantize;
        quantize: Quantize, Dequantize;
        dynamic: DynamicQuantize;
        binary: Add, Multiply;
        table: Table;
        cast: Cast;
        block: BlockQuantize, BlockDequantize;
        concat: Concat;
        fused: Fused;
        float_unary: FloatUnary;
        float_binary: FloatBinary;
        transpose: Transpose;
        slice: Slice;
        pad: Pad;
        reshape: Reshape;
        resize: Resize;
    }
    cfg(feature = "convolution") {
        conv: Conv;
        pool: Pool;
        channel_gate: ChannelGate;
        unfold: Unfold;
    }
    cfg(feature = "float") {
        quantized_softmax: QuantizedSoftmax;
        float_matmul: FloatMatmul;
        select: Select;
        reduce: Reduce;
        float_pool: FloatPool;
        gather: Gather;
        softmax: Softmax;
        layer_norm: LayerNorm;
        arg_max: ArgMax;
        top_k: TopK;
    }
    cfg(feature = "transformer") {
        linear: Linear;
        joint_linear: JointLinear;
        embedding: Embedding;
        quantize_weights: QuantizeWeights;
        linear_conv: LinearConv;
        append: Append;
        append_quantized: AppendQuantized;
        attention: Attention;
        rotary: Rotary;
        rotary_append: RotaryAppend;
    }
    cfg(feature = "calibrate") {
        observe: ObserveRange, ObserveHistogram;
        step_from_range: StepFromRange;
    }
    cfg(feature = "train") {
        fake_quantize: FakeQuantize, FakeQuantizeGradient, GridGradient;
        float_conv: FloatConv;
        fake_requantize: RequantParams, FakeRequantize;
        sum: Sum;
        cross_entropy: CrossEntropyGradient;
        optimizer_step: OptimizerStep;
    }
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
        each!(self, op => op.name())
    }

    /// The op over inputs of these types, which differ from its own in their dimensions only. Constants are shared.
    ///
    /// # Errors
    /// If something of the op belongs to single indices of a dimension that changes (scales, a bias, a window), or shapes no longer
    /// fit.
    pub(crate) fn with_inputs(&self, inputs: &[TensorType]) -> Result<Self> {
        if self.has_input_shapes(inputs) {
            return Ok(self.clone());
        }
        let own = self.inputs();
        // The op's own types may know scales that the tensors say nothing of.
        let follow = |(own, given): (&TensorType, &TensorType)| own.with_dims(given.dims());
        let inputs = &own.iter().zip(inputs).map(follow).collect::<Result<Vec<_>>>()?[..];
        let op: Self = each!(self, op => op.with_inputs(inputs)?.into());
        let given = || inputs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        require!(
            op.has_input_shapes(inputs),
            "the inputs of {} would become {}, which no longer fit each other: let dimensions that belong together follow one extent",
            op.name(),
            given()
        );
        Ok(op)
    }

    /// True if its inputs have the shapes of these types.
    pub(crate) fn has_input_shapes(&self, inputs: &[TensorType]) -> bool {
        self.inputs().iter().zip(inputs).all(|(own, given)| own.shape() == given.shape())
    }

    /// For each input, true if it is divided with the outputs when only some indices of the first dimension are computed. `None`
    /// if an index needs more than its own, or something of the op belongs to single indices.
    pub(crate) fn inputs_by_row(&self) -> Option<Vec<bool>> {
        self.by_row().filter(|by_row| self.with_rows(by_row, 1).is_ok())
    }

    /// This op for `rows` indices of the first dimension, with the inputs divided that [`Op::inputs_by_row`] names.
    pub(crate) fn with_rows(&self, by_row: &[bool], rows: usize) -> Result<Self> {
        let part = |(t, &by_row): (TensorType, &bool)| if by_row { t.with_extent(rows) } else { Ok(t) };
        self.with_inputs(&self.inputs().into_iter().zip(by_row).map(part).collect::<Result<Vec<_>>>()?)
    }

    fn by_row(&self) -> Option<Vec<bool>> {
        let has_rows = self.inputs()[0].shape().rank() > 0;
        if has_rows { each!(self, op => op.inputs_by_row()) } else { None }
    }

    /// The inputs that the outputs replace, in their order, if these inputs are states of a graph. Empty for an op that replaces none.
    pub(crate) fn overwrites(&self) -> &'static [usize] {
        match self {
            #[cfg(feature = "transformer")]
            Self::Append(_) => &[0],
            #[cfg(feature = "transformer")]
            Self::AppendQuantized(_) | Self::RotaryAppend(_) => &[0, 1],
            _ => &[],
        }
    }

    /// True if it uses each of its dynamic parameters. A cache may hold anything at positions that nobody reads.
    pub(crate) fn uses_all_parameters(&self) -> bool {
        match self {
            #[cfg(feature = "transformer")]
            Self::Append(_) | Self::AppendQuantized(_) | Self::Attention(_) => false,
            Self::Fused(op) => op.first().uses_all_parameters(),
            _ => true,
        }
    }

    /// Refuses dynamic parameters among the inputs that it uses and no range could have given. Others pass.
    pub(crate) fn check_parameters(&self, inputs: &[&Tensor]) -> Result<()> {
        match self {
            #[cfg(feature = "transformer")]
            Self::Append(_) | Self::AppendQuantized(_) => Ok(()),
            #[cfg(feature = "transformer")]
            Self::Attention(op) => op.check_parameters(inputs),
            Self::Fused(op) => op.first().check_parameters(&inputs[..op.first().inputs().len()]),
            // They describe the first input.
            _ => inputs.iter().try_for_each(|tensor| check_parameters(inputs[0].dtype(), tensor)),
        }
    }

    /// The sums that a product with int16 codes keeps between launches, divided as its outputs are.
    pub(crate) fn kept_sums(&self) -> Option<TensorType> {
        let output = match self {
            Self::Fused(op) => return op.first().kept_sums(),
            Self::Matmul(op) if op.lhs().dtype() == DType::Int16 => op.output_type(),
            #[cfg(feature = "convolution")]
            Self::Conv(op) if op.lhs().dtype() == DType::Int16 => op.output_type(),
            _ => return None,
        };
        Some(output.with_dtype(DType::Int32))
    }

    /// This op with its codes clamped further; `None` if it has no clamp to narrow.
    pub(crate) fn clamped(&self, low: i32, high: i32) -> Option<Self> {
        Some(match self {
            Self::Matmul(op) => op.clamped(low, high)?.into(),
            #[cfg(feature = "convolution")]
            Self::Conv(op) => op.clamped(low, high)?.into(),
            Self::Requantize(op) => op.clamped(low, high).into(),
            Self::Add(op) => op.clamped(low, high).into(),
            Self::Multiply(op) => op.clamped(low, high).into(),
            #[cfg(feature = "convolution")]
            Self::Pool(op) => op.clamped(low, high)?.into(),
            #[cfg(feature = "convolution")]
            Self::ChannelGate(op) => op.clamped(low, high)?.into(),
            #[cfg(feature = "float")]
            Self::QuantizedSoftmax(op) => op.clamped(low, high).into(),
            Self::Fused(op) => op.clamped(low, high)?.into(),
            _ => return None,
        })
    }

    /// The packed weights whose words are part of the op.
    pub(crate) fn packed_weights(&self) -> Vec<&Arc<PackedWeights>> {
        let mut weights = self.all_weights();
        weights.retain(|weights| weights.input_type().is_none());
        weights
    }

    /// The packed weights of the op.
    fn all_weights(&self) -> Vec<&Arc<PackedWeights>> {
        match self {
            #[cfg(feature = "transformer")]
            Self::Linear(op) => vec![op.weights()],
            #[cfg(feature = "transformer")]
            Self::JointLinear(op) => op.layers().iter().map(Linear::weights).collect(),
            #[cfg(feature = "transformer")]
            Self::LinearConv(op) => vec![op.linear().weights()],
            #[cfg(feature = "transformer")]
            Self::Embedding(op) => vec![op.weights()],
            Self::Fused(op) => op.first().all_weights(),
            _ => Vec::new(),
        }
    }

    /// The weights that are part of the op, described: their format and dimensions.
    pub(crate) fn weights_description(&self) -> Option<String> {
        let constant = |operand: &Operand| match operand {
            Operand::Constant(tensor) => Some(tensor.tensor_type().to_string()),
            Operand::Input(_) => None,
        };
        match self {
            Self::Matmul(op) => constant(op.rhs()),
            #[cfg(feature = "float")]
            Self::FloatMatmul(op) => constant(op.rhs()),
            #[cfg(feature = "convolution")]
            Self::Conv(op) => Some(op.weights().tensor_type().to_string()),
            Self::Fused(op) => op.first().weights_description(),
            #[cfg(feature = "transformer")]
            Self::JointLinear(op) => Some(op.whole().weights().to_string()),
            _ => self.all_weights().first().map(|weights| weights.to_string()),
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

/// For operands of an elementwise op, true for those that go with the output's indices of the first dimension.
fn rows_of_broadcast(inputs: &[TensorType], output: &TensorType) -> Vec<bool> {
    let own = |t: &TensorType| t.shape().rank() == output.shape().rank() && t.dims()[0] == output.dims()[0];
    inputs.iter().map(own).collect()
}

/// The type of the position of the first of some tokens.
fn position_type() -> TensorType {
    TensorType::new(DType::Int32, [1]).expect("it is small")
}

/// Refuses rows that can't be indices of a cache.
fn check_rows(cache: &TensorType, rows: &TensorType) -> Result<()> {
    require!(
        cache.shape().rank() > 0
            && rows.shape().rank() == cache.shape().rank()
            && cache.dims()[1..] == rows.dims()[1..],
        "the rows are {rows}, but the cache is {cache}: all dimensions but the first are equal"
    );
    require!(
        rows.dims()[0] <= cache.dims()[0],
        "{} rows don't fit into a cache of {}: append fewer at a time",
        rows.dims()[0],
        cache.dims()[0]
    );
    Ok(())
}

/// Refuses an input that is not float32.
fn require_float32(op: &str, name: &str, given: &TensorType) -> Result<()> {
    require!(
        given.dtype() == DType::Float32,
        "{name} is {given}, but {op} takes float32: put a Dequantize or Cast before it, or give TensorType::float32"
    );
    Ok(())
}

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

/// Refuses another size of an image: its windows and their number are part of the op. The first dimension, images, may change.
fn check_pixels(op: &str, own: &TensorType, given: &TensorType) -> Result<()> {
    require!(
        own.dims().get(1..) == given.dims().get(1..),
        "{op} of {own} would become one of {given}, but only the number of images can change, which is the first dimension"
    );
    Ok(())
}

/// Refuses dynamic parameters that no range could have given for codes of this format; other tensors pass. Sums fit i32
/// only if zero points are codes.
pub(crate) fn check_parameters(codes: DType, parameters: &Tensor) -> Result<()> {
    let Ok(pairs) = parameters.values::<QuantizationParams>() else { return Ok(()) };
    pairs.iter().try_for_each(|&pair| check_pair(codes, pair))
}

fn check_pair(codes: DType, QuantizationParams { scale, zero_point }: QuantizationParams) -> Result<()> {
    let (low, high) = codes.range().unwrap_or((i32::MIN, i32::MAX));
    require!(scale.is_finite() && scale > 0.0, "a dynamic scale is {scale:e}, but it must be finite and positive");
    require!(
        (low..=high).contains(&zero_point),
        "a dynamic zero point is {zero_point}, but {codes} codes lie in {low}..={high}"
    );
    Ok(())
}
