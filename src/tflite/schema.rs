//! The parts of a .tflite file that a graph is made of: tables and fields of the schema, version 3, by their numbers. `flat` reads
//! them, `convert` makes ops of them.

use std::ops::Range;

use super::flat::{Flat, Table};
use crate::error::{Result, refuse, require};

/// The type of a tensor's elements, by its number in the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kind(pub i8);

impl Kind {
    pub(super) const FLOAT32: Self = Self(0);
    pub(super) const FLOAT16: Self = Self(1);
    pub(super) const INT32: Self = Self(2);
    pub(super) const UINT8: Self = Self(3);
    pub(super) const INT64: Self = Self(4);
    pub(super) const BOOL: Self = Self(6);
    pub(super) const INT16: Self = Self(7);
    pub(super) const INT8: Self = Self(9);
    pub(super) const INT4: Self = Self(17);

    pub(super) fn name(self) -> &'static str {
        const NAMES: [&str; 20] = [
            "float32",
            "float16",
            "int32",
            "uint8",
            "int64",
            "string",
            "bool",
            "int16",
            "complex64",
            "int8",
            "float64",
            "complex128",
            "uint64",
            "resource",
            "variant",
            "uint32",
            "uint16",
            "int4",
            "bfloat16",
            "int2",
        ];
        usize::try_from(self.0).ok().and_then(|index| NAMES.get(index)).copied().unwrap_or("unknown")
    }
}

/// A tensor of the main subgraph.
#[derive(Debug)]
pub(super) struct FileTensor {
    pub name: String,
    /// −1 is an unknown dimension.
    pub dims: Vec<i32>,
    pub kind: Kind,
    /// The place of its data in the file; empty if it is computed.
    pub data: Range<usize>,
    pub scales: Vec<f32>,
    pub zero_points: Vec<i64>,
    pub axis: i32,
    /// A reason why the tensor can't be read.
    pub odd: Option<&'static str>,
}

/// An op of the main subgraph.
#[derive(Debug)]
pub(super) struct Node {
    pub op: Builtin,
    /// The name of a custom op.
    pub custom: String,
    /// Tensors; −1 is an input that is left out.
    pub inputs: Vec<i32>,
    pub outputs: Vec<i32>,
    /// The position of the table of options.
    pub options: Option<usize>,
}

/// The main subgraph of a file.
#[derive(Debug)]
pub(super) struct Subgraph {
    pub tensors: Vec<FileTensor>,
    pub nodes: Vec<Node>,
    pub inputs: Vec<i32>,
    pub outputs: Vec<i32>,
    /// The number of subgraphs of the file.
    pub subgraphs: usize,
}

/// The version of the schema that is read.
const VERSION: u32 = 3;

impl Subgraph {
    pub(super) fn read(bytes: &[u8]) -> Result<Self> {
        require!(
            bytes.get(4..8) == Some(b"TFL3"),
            "the file is not a tflite file of version 3: bytes 4 to 7 must be TFL3"
        );
        let flat = Flat::new(bytes);
        let model = flat.root()?;
        let version = model.u32(0)?;
        require!(
            version == VERSION,
            "the tflite file has version {version}, but version {VERSION} is read: convert it again"
        );
        let codes = model.tables(1)?.iter().map(op_code).collect::<Result<Vec<_>>>()?;
        let subgraphs = model.tables(2)?;
        let buffers = model.tables(4)?;
        let Some(main) = subgraphs.first() else {
            refuse!("the tflite file has no subgraph: convert it again");
        };
        let tensors = main.tables(0)?.iter().map(|t| tensor(t, &buffers, bytes.len())).collect::<Result<Vec<_>>>()?;
        let nodes = main.tables(3)?.iter().map(|t| node(t, &codes)).collect::<Result<Vec<_>>>()?;
        let (inputs, outputs) = (main.numbers(1, i32::from_le_bytes)?, main.numbers(2, i32::from_le_bytes)?);
        let graph = Self { tensors, nodes, inputs, outputs, subgraphs: subgraphs.len() };
        graph.check()?;
        Ok(graph)
    }

    /// Refuses indices of tensors that don't exist.
    fn check(&self) -> Result<()> {
        let exists = |index: i32| usize::try_from(index).is_ok_and(|index| index < self.tensors.len());
        let left_out = |index: i32| index == -1;
        let of_nodes = self.nodes.iter().all(|node| {
            node.inputs.iter().all(|&i| exists(i) || left_out(i)) && node.outputs.iter().all(|&i| exists(i))
        });
        require!(
            of_nodes && self.inputs.iter().chain(&self.outputs).all(|&i| exists(i)),
            "the tflite file is damaged (a node has a tensor beyond the {} that there are): download or convert it again",
            self.tensors.len()
        );
        Ok(())
    }
}

fn op_code(table: &Table) -> Result<(Builtin, String)> {
    let (old, custom, new) = (table.i8(0)?, table.string(1)?, table.i32(3, 0)?);
    // Codes below 127 are in the older field.
    Ok((Builtin(new.max(old.into())), custom))
}

fn tensor(table: &Table, buffers: &[Table], bytes: usize) -> Result<FileTensor> {
    let buffer = table.u32(2)? as usize;
    let Some(buffer) = buffers.get(buffer) else {
        refuse!(
            "the tflite file is damaged (a tensor has buffer {buffer} of {}): download or convert it again",
            buffers.len()
        );
    };
    let mut data = buffer.bytes(0)?;
    let (offset, size) = (buffer.u64(1)?, buffer.u64(2)?);
    if size > 0 && offset > 1 {
        // The data of large files lies behind the tables.
        let end = offset.checked_add(size).filter(|&end| end <= bytes as u64);
        let Some(end) = end else {
            refuse!("the tflite file is damaged (a buffer reaches beyond its end): download or convert it again");
        };
        data = offset as usize..end as usize;
    }
    let quantization = table.table(4)?;
    let (mut scales, mut zero_points, mut axis, mut details) = (vec![], vec![], 0, 0);
    if let Some(quantization) = quantization {
        scales = quantization.numbers(2, f32::from_le_bytes)?;
        zero_points = quantization.numbers(3, i64::from_le_bytes)?;
        (details, axis) = (quantization.i8(4)?, quantization.i32(6, 0)?);
    }
    let odd = match () {
        () if details != 0 => Some("its quantization has custom details"),
        () if table.table(6)?.is_some() => Some("it is sparse"),
        () if table.bool(5)? => Some("it is a variable"),
        () => None,
    };
    let dims = table.numbers(0, i32::from_le_bytes)?;
    Ok(FileTensor { name: table.string(3)?, dims, kind: Kind(table.i8(1)?), data, scales, zero_points, axis, odd })
}

fn node(table: &Table, codes: &[(Builtin, String)]) -> Result<Node> {
    let code = table.u32(0)? as usize;
    let Some((op, custom)) = codes.get(code) else {
        refuse!("the tflite file is damaged (a node has op {code} of {}): download or convert it again", codes.len());
    };
    let (inputs, outputs) = (table.numbers(1, i32::from_le_bytes)?, table.numbers(2, i32::from_le_bytes)?);
    let options = table.table(4)?.map(|options| options.position());
    Ok(Node { op: *op, custom: custom.clone(), inputs, outputs, options })
}

/// A builtin op, by its number in the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Builtin(pub i32);

/// Names the numbers of builtin ops.
macro_rules! builtins {
    ($($name:ident = $number:literal)*) => {
        impl Builtin {
            $(pub(super) const $name: Self = Self($number);)*

            fn known(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

builtins! {
    ADD = 0
    AVERAGE_POOL_2D = 1
    CONCATENATION = 2
    CONV_2D = 3
    DEPTHWISE_CONV_2D = 4
    DEQUANTIZE = 6
    FULLY_CONNECTED = 9
    LOGISTIC = 14
    MAX_POOL_2D = 17
    MUL = 18
    RELU = 19
    RELU_N1_TO_1 = 20
    RELU6 = 21
    RESHAPE = 22
    RESIZE_BILINEAR = 23
    SOFTMAX = 25
    TANH = 28
    CUSTOM = 32
    PAD = 34
    GATHER = 36
    TRANSPOSE = 39
    MEAN = 40
    SUB = 41
    SQUEEZE = 43
    STRIDED_SLICE = 45
    SPLIT = 49
    MAXIMUM = 55
    MINIMUM = 57
    PADV2 = 60
    SLICE = 65
    TRANSPOSE_CONV = 67
    EXPAND_DIMS = 70
    PACK = 83
    UNPACK = 88
    RESIZE_NEAREST_NEIGHBOR = 97
    LEAKY_RELU = 98
    MIRROR_PAD = 100
    SPLIT_V = 102
    QUANTIZE = 114
    HARD_SWISH = 117
}

/// Names of builtin ops that become no op, for messages.
const OTHERS: [(i32, &str); 76] = [
    (5, "DEPTH_TO_SPACE"),
    (7, "EMBEDDING_LOOKUP"),
    (8, "FLOOR"),
    (10, "HASHTABLE_LOOKUP"),
    (11, "L2_NORMALIZATION"),
    (12, "L2_POOL_2D"),
    (13, "LOCAL_RESPONSE_NORMALIZATION"),
    (16, "LSTM"),
    (24, "RNN"),
    (26, "SPACE_TO_DEPTH"),
    (27, "SVDF"),
    (35, "UNIDIRECTIONAL_SEQUENCE_RNN"),
    (37, "BATCH_TO_SPACE_ND"),
    (38, "SPACE_TO_BATCH_ND"),
    (42, "DIV"),
    (44, "UNIDIRECTIONAL_SEQUENCE_LSTM"),
    (46, "BIDIRECTIONAL_SEQUENCE_RNN"),
    (47, "EXP"),
    (48, "TOPK_V2"),
    (50, "LOG_SOFTMAX"),
    (52, "BIDIRECTIONAL_SEQUENCE_LSTM"),
    (53, "CAST"),
    (54, "PRELU"),
    (56, "ARG_MAX"),
    (58, "LESS"),
    (59, "NEG"),
    (61, "GREATER"),
    (62, "GREATER_EQUAL"),
    (63, "LESS_EQUAL"),
    (64, "SELECT"),
    (66, "SIN"),
    (68, "SPARSE_TO_DENSE"),
    (69, "TILE"),
    (71, "EQUAL"),
    (72, "NOT_EQUAL"),
    (73, "LOG"),
    (74, "SUM"),
    (75, "SQRT"),
    (76, "RSQRT"),
    (77, "SHAPE"),
    (78, "POW"),
    (79, "ARG_MIN"),
    (80, "FAKE_QUANT"),
    (81, "REDUCE_PROD"),
    (82, "REDUCE_MAX"),
    (84, "LOGICAL_OR"),
    (85, "ONE_HOT"),
    (86, "LOGICAL_AND"),
    (87, "LOGICAL_NOT"),
    (89, "REDUCE_MIN"),
    (90, "FLOOR_DIV"),
    (91, "REDUCE_ANY"),
    (92, "SQUARE"),
    (94, "FILL"),
    (96, "RANGE"),
    (99, "SQUARED_DIFFERENCE"),
    (101, "ABS"),
    (104, "CEIL"),
    (105, "REVERSE_V2"),
    (106, "ADD_N"),
    (107, "GATHER_ND"),
    (108, "COS"),
    (109, "WHERE"),
    (111, "ELU"),
    (116, "ROUND"),
    (118, "IF"),
    (119, "WHILE"),
    (123, "SELECT_V2"),
    (126, "BATCH_MATMUL"),
    (128, "CUMSUM"),
    (129, "CALL_ONCE"),
    (130, "BROADCAST_TO"),
    (132, "CONV_3D"),
    (142, "VAR_HANDLE"),
    (150, "GELU"),
    (152, "RELU_0_TO_1"),
];

impl Node {
    /// The name of the op: that of the schema, or that of the custom op.
    pub(super) fn op_name(&self) -> String {
        if self.op == Builtin::CUSTOM {
            return format!("CUSTOM {}", self.custom);
        }
        let other = || OTHERS.iter().find(|(number, _)| *number == self.op.0).map(|(_, name)| *name);
        self.op.known().or_else(other).map_or_else(|| format!("op {}", self.op.0), str::to_string)
    }
}
