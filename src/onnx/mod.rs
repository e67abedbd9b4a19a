//! Networks from ONNX files: `Model::open` reads a file, and [`Model::graph`] makes a [`Network`] of it.
//!
//! Weights and activations stay as the file has them. Quantized nodes are computed in integers: `QLinearConv`, `QLinearMatMul` and
//! the other QLinear ops; ops between `DequantizeLinear` and `QuantizeLinear` (QDQ); and `MatMulInteger` and `ConvInteger` after
//! `DynamicQuantizeLinear`. Float nodes between them are computed in float32. What only moves elements moves codes. Layouts are
//! handled inside: inputs and outputs have the axes of the file (NCHW), convolutions run with their channels last, and
//! transpositions are left out where the next op takes the other order. Constants are folded.
//!
//! Integers of 64 bits are int32 in the graph. Where the graph computes with integers (not with codes, and not with shapes, which are known
//! before) it does so in float32, which is exact to 2²⁴, and the result is float32. Truth values are the numbers 0 and 1.
//!
//! Indices of `GatherBlockQuantized` that the graph computes count from the start: a negative one selects zeros.
//!
//! A function of codes through floats, such as `DequantizeLinear`, `HardSigmoid`, `QuantizeLinear`, becomes one table.
//!
//! ```
//! use lowbit::{Tensor, onnx::{Model, Options}};
//! let model = Model::open(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/onnx/convnet-s8s8-qoperator.onnx"))?;
//! println!("{model}");
//! let network = model.graph(&Options::default())?;
//! let input = &network.inputs[0].tensor_type;
//! let x = Tensor::new(input.dims(), vec![0.5f32; input.shape().elements()])?;
//! let y = network.graph.run_reference(&[&x])?;
//! assert_eq!(y[0].tensor_type().dims(), network.outputs[0].tensor_type.dims());
//! # Ok::<(), lowbit::Error>(())
//! ```

mod array;
mod fold;
mod lower;
mod node;
mod proto;
mod shape;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use prost::Message;
use prost::bytes::Bytes;

use crate::error::{Error, Result, require};
use crate::network::Network;
use crate::tensor::Tensor;
use array::{Array, Element};
use lower::Lowering;
use proto::{GraphProto, ModelProto, TensorProto, ValueInfoProto};

/// An ONNX file.
#[derive(Clone)]
pub struct Model {
    proto: ModelProto,
    /// The folder of the file, in which the data of tensors may be.
    folder: Option<PathBuf>,
}

/// The arithmetic of quantized nodes where ONNX leaves a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Arithmetic {
    /// As ONNX Runtime computes them on a CPU by default: ops between dequantizations and a quantization become its QLinear ops, if
    /// its optimizer makes them so. Sums and averages of uint8 codes round once, with the zero point. `MatMulNBits` of `accuracy_level` 4
    /// quantizes blocks of its input to int8.
    #[default]
    OnnxRuntime,
    /// Node by node, as the standard says: dequantize, compute in float32, quantize. Sums and averages round before the zero point is
    /// added. Products and convolutions are integer sums either way, which float32 can only approximate.
    NodeByNode,
}

/// The options of [`Model::graph`].
///
/// ```
/// use lowbit::onnx::{Arithmetic, Options};
/// let options = Options::default().with_dimension("batch", 1).with_arithmetic(Arithmetic::NodeByNode);
/// assert_eq!(options.arithmetic, Arithmetic::NodeByNode);
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Options {
    /// The arithmetic of quantized nodes.
    pub arithmetic: Arithmetic,
    /// The dimensions that have a name in the file.
    pub dimensions: BTreeMap<String, usize>,
    /// The dimensions of these names are any up to so many when the graph runs: its extents ([`Graph::extent`]).
    ///
    /// [`Graph::extent`]: crate::Graph::extent
    pub extents: BTreeMap<String, usize>,
    /// The shapes of inputs, in place of those of the file.
    pub shapes: BTreeMap<String, Vec<usize>>,
    /// The values of inputs that are known now. They are inputs of the graph no longer; shapes and scales must be known.
    pub values: BTreeMap<String, Tensor>,
    /// True if all values that the graph computes are outputs, after those of the file. It keeps ops from being fused.
    pub inner_values: bool,
}

impl Options {
    /// These options with this arithmetic.
    #[must_use]
    pub fn with_arithmetic(mut self, arithmetic: Arithmetic) -> Self {
        self.arithmetic = arithmetic;
        self
    }

    /// These options with an extent of the dimensions of this name.
    #[must_use]
    pub fn with_dimension(mut self, name: impl Into<String>, extent: usize) -> Self {
        self.dimensions.insert(name.into(), extent);
        self
    }

    /// These options with the dimension of this name as an extent of the graph: any up to `most` when it runs. Nodes whose outputs
    /// would not stay in proportion are refused.
    #[must_use]
    pub fn with_extent(mut self, name: impl Into<String>, most: usize) -> Self {
        self.extents.insert(name.into(), most);
        self
    }

    /// These options with a shape of the input of this name.
    #[must_use]
    pub fn with_shape(mut self, input: impl Into<String>, dims: impl Into<Vec<usize>>) -> Self {
        self.shapes.insert(input.into(), dims.into());
        self
    }

    /// These options with a value of the input of this name.
    #[must_use]
    pub fn with_value(mut self, input: impl Into<String>, value: Tensor) -> Self {
        self.values.insert(input.into(), value);
        self
    }

    /// These options with or without inner values as outputs.
    #[must_use]
    pub fn with_inner_values(mut self, all: bool) -> Self {
        self.inner_values = all;
        self
    }
}

/// The ops whose nodes [`Model::graph`] takes, with their domain if that is not ONNX's own. Attributes and types that have no op are
/// refused one by one. `Range`, `ConstantOfShape` and `Size` are taken where their results are known before the graph runs, as are
/// integers of shapes everywhere.
#[rustfmt::skip]
pub const OPS: &[&str] = &[
    "Abs", "Add", "And", "ArgMax", "AveragePool", "BatchNormalization", "Cast", "CastLike", "Ceil", "Clip",
    "Concat", "Constant", "ConstantOfShape", "Conv", "ConvInteger", "ConvTranspose", "DepthToSpace",
    "DequantizeLinear", "Div", "Dropout", "DynamicQuantizeLinear", "Elu", "Equal", "Erf", "Exp", "Expand",
    "Flatten", "Floor", "Gather", "GatherND", "Gelu", "Gemm", "GlobalAveragePool", "GlobalMaxPool", "Greater",
    "GreaterOrEqual", "GroupNormalization", "HardSigmoid", "HardSwish", "Identity", "InstanceNormalization",
    "IsNaN", "LayerNormalization", "LeakyRelu", "Less", "LessOrEqual", "Log", "LogSoftmax", "LpNormalization",
    "MatMul", "MatMulInteger", "Max", "MaxPool", "Mean", "Min", "Mul", "Neg", "Not", "Or", "PRelu", "Pad", "Pow",
    "QLinearConv", "QLinearMatMul", "QuantizeLinear", "RMSNormalization", "Range", "Reciprocal", "ReduceL1",
    "ReduceL2", "ReduceLogSum", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "ReduceSumSquare", "Relu",
    "Reshape", "Resize", "Round", "Selu", "Shape", "Sigmoid", "SimplifiedLayerNormalization", "Size", "Slice",
    "Softmax", "Softplus", "Softsign", "SpaceToDepth", "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Swish", "Tanh",
    "ThresholdedRelu", "Tile", "TopK", "Transpose", "Trilu", "Unsqueeze", "Upsample", "Where", "Xor",
    "com.microsoft.DequantizeLinear", "com.microsoft.FastGelu",
    "com.microsoft.GatherBlockQuantized", "com.microsoft.Gelu", "com.microsoft.MatMulNBits",
    "com.microsoft.QGemm", "com.microsoft.QLinearAdd", "com.microsoft.QLinearAveragePool",
    "com.microsoft.QLinearConcat", "com.microsoft.QLinearGlobalAveragePool", "com.microsoft.QLinearLeakyRelu",
    "com.microsoft.QLinearMul", "com.microsoft.QLinearSigmoid", "com.microsoft.QLinearSoftmax",
    "com.microsoft.QuantizeLinear", "com.microsoft.SimplifiedLayerNormalization",
];

impl Model {
    /// The model in a file. Data of tensors may be in other files of its folder.
    ///
    /// # Errors
    /// If the file can't be read, or is no ONNX model.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = std::fs::read(path)
            .map_err(|error| Error::Request(format!("{} can't be read: {error}", path.display())))?;
        let mut model = Self::from_bytes(bytes)?;
        model.folder = path.parent().map(Path::to_path_buf);
        Ok(model)
    }

    /// The model in these bytes.
    ///
    /// # Errors
    /// If they are no ONNX model.
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Result<Self> {
        let proto = ModelProto::decode(Bytes::from(bytes.into()))
            .map_err(|error| Error::Request(format!("this is no ONNX model: {error}")))?;
        require!(proto.graph.is_some(), "this is no ONNX model: it has no graph");
        Ok(Self { proto, folder: None })
    }

    fn proto(&self) -> &GraphProto {
        self.proto.graph.as_ref().expect("checked when read")
    }

    /// The version of ONNX's own ops.
    #[must_use]
    pub fn opset(&self) -> i64 {
        let own = self.proto.opset_import.iter().find(|set| matches!(&*set.domain, "" | "ai.onnx"));
        own.map_or(1, |set| set.version)
    }

    /// The names of the inputs, in order.
    #[must_use]
    pub fn input_names(&self) -> Vec<&str> {
        let graph = self.proto();
        let initializer = |value: &&ValueInfoProto| graph.initializer.iter().any(|tensor| tensor.name == value.name);
        graph.input.iter().filter(|value| !initializer(value)).map(|value| &*value.name).collect()
    }

    /// The network as a graph. Inputs and outputs have the axes of the file.
    ///
    /// # Errors
    /// If an input has an open dimension, an extent is not the first dimension of an input or a node needs it to be known, or nodes can't
    /// be ops: the message lists all of them.
    pub fn graph(&self, options: &Options) -> Result<Network> {
        let proto = self.proto();
        Lowering::new(proto, self.opset(), self.folder.as_deref(), options).run(proto)
    }
}

/// The tensor of a `TensorProto`, such as a `.pb` file of a test set holds. Integers of 64 bits become int32, truth values too, and floats
/// of more than 8 bits float32.
///
/// # Errors
/// If the bytes are no tensor, or its elements have no such type.
pub fn read_tensor(bytes: &[u8]) -> Result<Tensor> {
    let proto = TensorProto::decode(bytes).map_err(|error| Error::Request(format!("this is no tensor: {error}")))?;
    Ok((*Array::read(&proto, None)?.tensor()?).clone())
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Model({self})")
    }
}

impl fmt::Display for Model {
    /// The producer, the inputs and outputs, the ops by number, and the weights by element type.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let graph = self.proto();
        let producer = match &*self.proto.producer_name {
            "" => "an unnamed producer",
            name => name,
        };
        writeln!(f, "ONNX model of {producer} {}, opset {}", self.proto.producer_version, self.opset())?;
        for (kind, values) in [("input", &graph.input), ("output", &graph.output)] {
            let initializer =
                |value: &&ValueInfoProto| graph.initializer.iter().any(|tensor| tensor.name == value.name);
            for value in values.iter().filter(|value| !initializer(value)) {
                writeln!(f, "  {kind} {}", described(value))?;
            }
        }
        let mut ops: BTreeMap<String, usize> = BTreeMap::new();
        graph.node.iter().for_each(|node| *ops.entry(node.op()).or_default() += 1);
        let ops: Vec<String> = ops.into_iter().map(|(op, count)| format!("{count} {op}")).collect();
        writeln!(f, "  {} nodes: {}", graph.node.len(), ops.join(", "))?;
        let mut weights: BTreeMap<String, (usize, u128)> = BTreeMap::new();
        for tensor in &graph.initializer {
            let element = Element::of(tensor.data_type).map_or_else(|_| "other".into(), |element| element.to_string());
            let entry = weights.entry(element).or_default();
            entry.0 += 1;
            entry.1 += tensor.dims.iter().map(|&d| d.max(0) as u128).fold(1, u128::saturating_mul);
        }
        let weights =
            weights.into_iter().map(|(element, (count, elements))| format!("{elements} {element} in {count}"));
        write!(f, "  {} tensors of weights: {}", graph.initializer.len(), weights.collect::<Vec<_>>().join(", "))
    }
}

/// An input or output of the file: `image float[1, 3, height, width]`.
fn described(value: &ValueInfoProto) -> String {
    let Some(tensor) = value.r#type.as_ref().and_then(|t| t.tensor_type.as_ref()) else { return value.name.clone() };
    let element = Element::of(tensor.elem_type).map_or_else(|_| "other".into(), |element| element.to_string());
    let dims = tensor.shape.iter().flat_map(|shape| &shape.dim);
    let dim = |dim: &proto::DimensionProto| match (dim.dim_value, &dim.dim_param) {
        (Some(value), _) => value.to_string(),
        (None, Some(name)) => name.clone(),
        (None, None) => "?".into(),
    };
    format!("{} {element}[{}]", value.name, dims.map(dim).collect::<Vec<_>>().join(", "))
}
