//! A node of an ONNX graph: its inputs, outputs and attributes.

use super::proto::{AttributeProto, NodeProto, TensorProto};
use crate::error::{Error, Result, refuse, require};
use crate::network::axis_of;
use crate::ops::Padding;

impl NodeProto {
    /// The op's name, with its domain if that is not ONNX's own.
    pub(super) fn op(&self) -> String {
        match &*self.domain {
            "" | "ai.onnx" => self.op_type.clone(),
            domain => format!("{domain}.{}", self.op_type),
        }
    }

    /// The name of an input; `None` if it is left out.
    pub(super) fn input_name(&self, index: usize) -> Option<&str> {
        self.input.get(index).map(|name| &**name).filter(|name| !name.is_empty())
    }

    /// The names of the outputs that are not left out.
    pub(super) fn output_names(&self) -> impl Iterator<Item = &str> {
        self.output.iter().map(|name| &**name).filter(|name| !name.is_empty())
    }

    fn attribute(&self, name: &str) -> Option<&AttributeProto> {
        self.attribute.iter().find(|attribute| attribute.name == name)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.attribute(name).is_some()
    }

    pub(super) fn int(&self, name: &str, default: i64) -> i64 {
        self.attribute(name).and_then(|attribute| attribute.i).unwrap_or(default)
    }

    pub(super) fn float(&self, name: &str, default: f32) -> f32 {
        self.attribute(name).and_then(|attribute| attribute.f).unwrap_or(default)
    }

    pub(super) fn ints(&self, name: &str) -> Option<&[i64]> {
        self.attribute(name).map(|attribute| &attribute.ints[..])
    }

    pub(super) fn floats(&self, name: &str) -> Option<&[f32]> {
        self.attribute(name).map(|attribute| &attribute.floats[..])
    }

    pub(super) fn text(&self, name: &str, default: &'static str) -> Result<&str> {
        let Some(bytes) = self.attribute(name).and_then(|attribute| attribute.s.as_ref()) else { return Ok(default) };
        std::str::from_utf8(bytes).map_err(|_| Error::Request(format!("the attribute {name} is no text")))
    }

    pub(super) fn tensor(&self, name: &str) -> Option<&TensorProto> {
        self.attribute(name).and_then(|attribute| attribute.t.as_ref())
    }

    /// An attribute of sizes, one for each spatial dimension; these by default.
    pub(super) fn sizes(&self, name: &str, default: &[usize]) -> Result<Vec<usize>> {
        let Some(given) = self.ints(name).filter(|given| !given.is_empty()) else { return Ok(default.to_vec()) };
        let size = |&x: &i64| usize::try_from(x).map_err(|_| Error::Request(format!("{name} has {x}")));
        let sizes = given.iter().map(size).collect::<Result<Vec<_>>>()?;
        require!(sizes.len() == default.len(), "{name} is {given:?}, but there are {} dimensions", default.len());
        Ok(sizes)
    }

    /// The order of axes of a `Transpose`: their reverse by default.
    pub(super) fn permutation(&self, rank: usize) -> Result<Vec<usize>> {
        let order: Vec<usize> = match self.ints("perm").filter(|perm| !perm.is_empty()) {
            Some(perm) => perm.iter().map(|&axis| axis_of(axis, rank)).collect::<Result<_>>()?,
            None => (0..rank).rev().collect(),
        };
        let mut sorted = order.clone();
        sorted.sort_unstable();
        require!(sorted.into_iter().eq(0..rank), "perm is {order:?}, which is no permutation of {rank} axes");
        Ok(order)
    }

    /// The padding of a window over so many spatial dimensions.
    pub(super) fn padding(&self, spatial: usize) -> Result<Padding> {
        match self.text("auto_pad", "NOTSET")? {
            "NOTSET" | "" => {
                let pads = self.sizes("pads", &vec![0; 2 * spatial])?;
                let (begin, end) = pads.split_at(spatial);
                Ok(Padding::Explicit { begin: begin.to_vec(), end: end.to_vec() })
            }
            "VALID" => Ok(Padding::None),
            "SAME_UPPER" => Ok(Padding::SameUpper),
            "SAME_LOWER" => Ok(Padding::SameLower),
            other => refuse!("auto_pad is {other}"),
        }
    }
}
