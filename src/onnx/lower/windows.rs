//! The windows of convolutions and pools.

use crate::error::{Result, refuse, require};
use crate::onnx::proto::NodeProto;
use crate::ops::Padding;
use crate::tensor::TensorType;

pub(super) struct Windows {
    pub strides: Vec<usize>,
    pub dilations: Vec<usize>,
    pub padding: Padding,
    /// More rows of the output of a transposed convolution.
    pub output_padding: Vec<usize>,
}

impl Windows {
    /// The windows of a node over an image with its channels last.
    pub(super) fn of(node: &NodeProto, image: &TensorType, kernel: &[usize]) -> Result<Self> {
        let spatial = kernel.len();
        require!(image.dims().len() == spatial + 2, "its image has {} dimensions", image.dims().len());
        let (ones, zeros) = (vec![1; spatial], vec![0; spatial]);
        let mut windows = Self {
            strides: node.sizes("strides", &ones)?,
            dilations: node.sizes("dilations", &ones)?,
            padding: node.padding(spatial)?,
            output_padding: node.sizes("output_padding", &zeros)?,
        };
        if node.ints("output_shape").is_some_and(|shape| !shape.is_empty()) {
            let wanted = node.sizes("output_shape", &zeros)?;
            windows.reach(node, image, kernel, &wanted)?;
        }
        Ok(windows)
    }

    /// Pads so that the output of a transposed convolution has these sizes.
    fn reach(&mut self, node: &NodeProto, image: &TensorType, kernel: &[usize], wanted: &[usize]) -> Result<()> {
        let first_is_less = node.text("auto_pad", "NOTSET")? == "SAME_UPPER";
        let (mut begin, mut end) = (Vec::new(), Vec::new());
        for (i, &wanted) in wanted.iter().enumerate() {
            let (size, taps) = (image.dims()[i + 1], kernel[i]);
            let reach = taps.saturating_sub(1).checked_mul(self.dilations[i]);
            let steps = size.saturating_sub(1).checked_mul(self.strides[i]);
            let Some(whole) = steps.zip(reach).and_then(|(a, b)| a.checked_add(b)?.checked_add(1)) else {
                refuse!("its output is too large");
            };
            let Some(whole) = whole.checked_add(self.output_padding[i]) else { refuse!("its output is too large") };
            let less = whole.saturating_sub(wanted);
            self.output_padding[i] += wanted.saturating_sub(whole);
            let half = less / 2;
            begin.push(if first_is_less { half } else { less - half });
            end.push(if first_is_less { less - half } else { half });
        }
        self.padding = Padding::Explicit { begin, end };
        Ok(())
    }
}
