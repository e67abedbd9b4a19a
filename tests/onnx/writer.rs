//! Writes ONNX models of a few nodes, as bytes of protocol buffers.

/// A model, or a part of one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Message(Vec<u8>);

impl Message {
    fn varint(mut self, mut value: u64) -> Self {
        while value >= 128 {
            self.0.push(value as u8 | 128);
            value >>= 7;
        }
        self.0.push(value as u8);
        self
    }

    fn number(self, tag: u64, value: i64) -> Self {
        self.varint(tag << 3).varint(value as u64)
    }

    fn bytes(self, tag: u64, bytes: &[u8]) -> Self {
        let mut message = self.varint(tag << 3 | 2).varint(bytes.len() as u64);
        message.0.extend(bytes);
        message
    }

    fn message(self, tag: u64, part: &Self) -> Self {
        self.bytes(tag, &part.0)
    }
}

/// Element types of ONNX.
pub(crate) const FLOAT: i64 = 1;
pub(crate) const UINT8: i64 = 2;
pub(crate) const INT8: i64 = 3;
pub(crate) const INT32: i64 = 6;
pub(crate) const INT64: i64 = 7;
pub(crate) const UINT4: i64 = 21;
pub(crate) const INT4: i64 = 22;

pub(crate) fn tensor(name: &str, element: i64, dims: &[i64], raw: &[u8]) -> Message {
    let tensor = dims.iter().fold(Message::default(), |tensor, &d| tensor.number(1, d));
    tensor.number(2, element).bytes(8, name.as_bytes()).bytes(9, raw)
}

pub(crate) fn floats(name: &str, dims: &[i64], values: &[f32]) -> Message {
    tensor(name, FLOAT, dims, &values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>())
}

pub(crate) fn longs(name: &str, dims: &[i64], values: &[i64]) -> Message {
    tensor(name, INT64, dims, &values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>())
}

/// An attribute of a node.
pub(crate) enum Attribute<'a> {
    Int(i64),
    Float(f32),
    Ints(&'a [i64]),
    Text(&'a str),
    Tensor(Message),
}

/// A node, with its domain before the op's name; the inputs and the outputs are separated by spaces.
pub(crate) fn node(op: &str, inputs: &str, outputs: &str, attributes: &[(&str, Attribute<'_>)]) -> Message {
    let mut node = Message::default();
    for input in inputs.split(' ') {
        node = node.bytes(1, if input == "-" { b"" } else { input.as_bytes() });
    }
    for output in outputs.split(' ') {
        node = node.bytes(2, output.as_bytes());
    }
    node = match op.rsplit_once('.') {
        Some((domain, op)) => node.bytes(4, op.as_bytes()).bytes(7, domain.as_bytes()),
        None => node.bytes(4, op.as_bytes()),
    };
    for (name, attribute) in attributes {
        let named = Message::default().bytes(1, name.as_bytes());
        node = node.message(
            5,
            &match attribute {
                Attribute::Float(x) => {
                    let mut named = named.varint(2 << 3 | 5);
                    named.0.extend(x.to_le_bytes());
                    named
                }
                Attribute::Int(x) => named.number(3, *x),
                Attribute::Ints(list) => list.iter().fold(named, |named, &x| named.number(8, x)),
                Attribute::Text(text) => named.bytes(4, text.as_bytes()),
                Attribute::Tensor(tensor) => named.message(5, tensor),
            },
        );
    }
    node
}

/// A dimension of an input.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Dim<'a> {
    Fixed(i64),
    Named(&'a str),
}

/// A model with one input, x, and one output.
pub(crate) fn model(
    opset: i64,
    input: (i64, &[i64]),
    nodes: &[Message],
    initializers: &[Message],
    output: &str,
) -> Vec<u8> {
    let dims: Vec<Dim<'_>> = input.1.iter().map(|&d| Dim::Fixed(d)).collect();
    model_of(opset, &[("x", input.0, &dims)], nodes, initializers, &[output])
}

/// A model with these inputs and outputs.
pub(crate) fn model_of(
    opset: i64,
    inputs: &[(&str, i64, &[Dim<'_>])],
    nodes: &[Message],
    initializers: &[Message],
    outputs: &[&str],
) -> Vec<u8> {
    let dim = |d: &Dim<'_>| match d {
        Dim::Fixed(d) => Message::default().number(1, *d),
        Dim::Named(name) => Message::default().bytes(2, name.as_bytes()),
    };
    let mut graph = Message::default();
    for (name, element, dims) in inputs {
        let shape = dims.iter().fold(Message::default(), |shape, d| shape.message(1, &dim(d)));
        let tensor = Message::default().number(1, *element).message(2, &shape);
        let input = Message::default().bytes(1, name.as_bytes()).message(2, &Message::default().message(1, &tensor));
        graph = graph.message(11, &input);
    }
    for output in outputs {
        graph = graph.message(12, &Message::default().bytes(1, output.as_bytes()));
    }
    for node in nodes {
        graph = graph.message(1, node);
    }
    for initializer in initializers {
        graph = graph.message(5, initializer);
    }
    Message::default().number(1, 10).message(7, &graph).message(8, &Message::default().number(2, opset)).0
}
