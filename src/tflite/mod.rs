//! Networks from TensorFlow Lite files, as graphs that compute the bits of TFLite's reference kernels.
//!
//! ```
//! use lowbit::{Tensor, tflite};
//! let model = tflite::Model::open("tests/data/tflite/mobilenet.tflite")?;
//! println!("{model}");
//! let network = model.graph()?;
//! assert_eq!(network.inputs[0].tensor_type.dims(), [1, 24, 24, 3]);
//! let image = Tensor::new([1, 24, 24, 3], vec![7i8; 24 * 24 * 3])?;
//! let classes = network.graph.run_reference(&[&image])?;
//! assert_eq!(classes[0].dims(), [1, 10]);
//! # Ok::<(), lowbit::Error>(())
//! ```
//!
//! # The ops
//!
//! Activations are int8 or uint8, and int16 where the table says so. Shapes are those of the file; none is dynamic. Results equal
//! those of the interpreter of LiteRT 2.3 with its reference kernels (`OpResolverType.BUILTIN_REF`), bit for bit, where the table
//! says nothing else. Its optimized kernels round some ops in another way.
//!
//! | op of the file | becomes |
//! |---|---|
//! | CONV_2D, DEPTHWISE_CONV_2D, TRANSPOSE_CONV (int16, too) | [`Conv`] with [`Rounding::FixedDouble`], for int16 with a bias of 64 bits [`Rounding::FixedWide`] |
//! | FULLY_CONNECTED (int16, too) | [`Matmul`] with [`Rounding::FixedSingle`]. int16 codes may be off by one where a product is within 2⁻³¹ of the middle between two; with sums beyond 32 bits it is [`Rounding::FixedWide`], and off by one more often |
//! | ADD, SUB, MUL | [`Add`], [`Multiply`] with [`QuantizedArithmetic::Integer`] |
//! | AVERAGE_POOL_2D | [`Pool`] with [`QuantizedArithmetic::Codes`] |
//! | MAX_POOL_2D, MAXIMUM, MINIMUM | [`Pool`]; the operands of the last two have equal shapes and scales |
//! | MEAN, over axes that are neighbours | [`Pool`] with [`QuantizedArithmetic::Integer`] |
//! | SOFTMAX | [`Softmax`] of float32, where TFLite's is computed in fixed point: a code may be off by one (the exact softmax had none of 132,000 compared codes otherwise) |
//! | LOGISTIC, TANH, RELU, RELU6, RELU_N1_TO_1, LEAKY_RELU, HARD_SWISH | [`Table`] |
//! | QUANTIZE | [`Quantize`] with [`ties_away`](crate::ops::QuantizeBuilder::ties_away); of codes (int16, too) [`Requantize`] |
//! | DEQUANTIZE (int16, too) | [`Dequantize`] |
//! | RESIZE_BILINEAR (int8) | [`Resize`] with [`ten_bits`](crate::ops::ResizeBuilder::ten_bits) |
//! | RESIZE_NEAREST_NEIGHBOR | [`Resize`] or [`Slice`] |
//! | CONCATENATION, PACK, SPLIT, SPLIT_V, UNPACK, SLICE, STRIDED_SLICE, GATHER by constants | [`Concat`], [`Slice`] |
//! | PAD, PADV2, MIRROR_PAD | [`Pad`], [`Slice`] |
//! | TRANSPOSE | [`Transpose`] |
//! | RESHAPE, SQUEEZE, EXPAND_DIMS | [`Graph::reshape`] if no element moves, or [`Reshape`] |
//!
//! Fused activations are NONE, RELU, RELU6 and RELU_N1_TO_1. Weights are int8, uint8 or int4, with one scale or one per output.
//! The shape that a RESHAPE, RESIZE or TRANSPOSE_CONV makes is the one that the file has for its output, so that ops which
//! compute shapes become nothing. Ops that move elements move those of any type.
//!
//! # Files
//!
//! Only the main subgraph is read. Files may be truncated, corrupt or hostile: every size is compared with the bytes that are
//! present, and memory is bounded by them.
//!
//! Sources: the schema and the reference kernels of TFLite (LiteRT).
//!
//! [`Conv`]: crate::ops::Conv
//! [`Matmul`]: crate::ops::Matmul
//! [`Add`]: crate::ops::Add
//! [`Multiply`]: crate::ops::Multiply
//! [`Pool`]: crate::ops::Pool
//! [`Softmax`]: crate::ops::Softmax
//! [`Table`]: crate::ops::Table
//! [`Quantize`]: crate::ops::Quantize
//! [`Requantize`]: crate::ops::Requantize
//! [`Dequantize`]: crate::ops::Dequantize
//! [`Resize`]: crate::ops::Resize
//! [`Slice`]: crate::ops::Slice
//! [`Concat`]: crate::ops::Concat
//! [`Pad`]: crate::ops::Pad
//! [`Transpose`]: crate::ops::Transpose
//! [`Reshape`]: crate::ops::Reshape
//! [`Graph::reshape`]: crate::Graph::reshape
//! [`QuantizedArithmetic::Integer`]: crate::ops::QuantizedArithmetic::Integer
//! [`QuantizedArithmetic::Codes`]: crate::ops::QuantizedArithmetic::Codes
//! [`Rounding::FixedDouble`]: crate::Rounding::FixedDouble
//! [`Rounding::FixedSingle`]: crate::Rounding::FixedSingle
//! [`Rounding::FixedWide`]: crate::Rounding::FixedWide

mod codes;
mod convert;
mod flat;
mod layers;
mod moves;
mod schema;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use crate::error::{Error, Result};
use crate::network::Network;
use schema::{FileTensor, Subgraph};

/// A TensorFlow Lite file.
///
/// `Display` lists its ops with their counts, the types of its tensors, its inputs and outputs.
#[derive(Debug)]
pub struct Model {
    bytes: Vec<u8>,
    subgraph: Subgraph,
}

impl Model {
    /// Reads a file.
    ///
    /// # Errors
    /// If the file can't be read, or as [`Model::from_bytes`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = std::fs::read(path)
            .map_err(|error| Error::Request(format!("the file {} can't be read: {error}", path.display())))?;
        Self::from_bytes(bytes)
    }

    /// Reads the bytes of a file. A vector is not copied.
    ///
    /// # Errors
    /// If they are no .tflite file of version 3, or are damaged.
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Result<Self> {
        let bytes = bytes.into();
        let subgraph = Subgraph::read(&bytes)?;
        Ok(Self { bytes, subgraph })
    }

    /// The main subgraph as a graph.
    ///
    /// Nodes that no output needs are left out.
    ///
    /// # Errors
    /// If nodes can't be ops. The message names each of them, with the types of its inputs and the reason.
    pub fn graph(&self) -> Result<Network> {
        convert::network(&self.bytes, &self.subgraph)
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Subgraph { tensors, nodes, inputs, outputs, subgraphs } = &self.subgraph;
        writeln!(f, "tflite file with {} nodes and {} tensors", nodes.len(), tensors.len())?;
        if *subgraphs > 1 {
            writeln!(f, "{} further subgraphs, which are not read", subgraphs - 1)?;
        }
        let mut ops: BTreeMap<String, usize> = BTreeMap::new();
        nodes.iter().for_each(|node| *ops.entry(node.op_name()).or_default() += 1);
        for (op, count) in &ops {
            writeln!(f, "  {count:5} {op}")?;
        }
        writeln!(f, "tensors")?;
        let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
        tensors.iter().for_each(|tensor| *kinds.entry(tensor.format()).or_default() += 1);
        for (kind, count) in &kinds {
            writeln!(f, "  {count:5} {kind}")?;
        }
        let ports = [("input", inputs), ("output", outputs)];
        for (what, index) in ports.into_iter().flat_map(|(what, list)| list.iter().map(move |&index| (what, index))) {
            let Some(tensor) = tensors.get(index as usize) else { continue };
            writeln!(f, "{what} {} {tensor}{}", tensor.name, tensor.scale())?;
        }
        Ok(())
    }
}

impl FileTensor {
    /// The type of the elements, whether they are data of the file, and the granularity of their scales.
    fn format(&self) -> String {
        let scales = match self.scales.len() {
            0 => "without scale",
            1 => "with one scale",
            _ => "with scales along an axis",
        };
        let role = if self.data.is_empty() { "computed" } else { "constant" };
        format!("{} {role}, {scales}", self.kind.name())
    }

    /// The scale and zero point, if there is one.
    fn scale(&self) -> String {
        match (&self.scales[..], &self.zero_points[..]) {
            ([scale], [zero_point]) => format!(", scale {scale}, zero point {zero_point}"),
            ([scale], []) => format!(", scale {scale}"),
            _ => String::new(),
        }
    }
}

impl fmt::Display for FileTensor {
    /// The type and the dimensions: `int8[1, 24, 24, 3]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}", self.kind.name(), self.dims)
    }
}
