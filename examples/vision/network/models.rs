//! Architectures, as their papers give them. `mod.rs` builds their layers and weights.

use std::fmt;

use clap::ValueEnum;
use lowbit::ops::{Padding, Pool, Resize};
use lowbit::{Context, Result, Value};

use super::{Activation, Builder, Filter, Network};

/// A network that can be built at any size and width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Model {
    /// Inverted residuals and linear bottlenecks (Sandler and others, 2018).
    MobilenetV2,
    /// Fifty layers of bottlenecks (He and others, 2015); the 3x3 convolutions have the strides.
    #[value(name = "resnet-50")]
    Resnet50,
    /// A U of convolutions, pools and, on the way up, transposed convolutions and linear interpolation (Ronneberger and others,
    /// 2015), with padding and a quarter of the channels.
    #[value(name = "u-net")]
    Unet,
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MobilenetV2 => "MobileNetV2",
            Self::Resnet50 => "ResNet-50",
            Self::Unet => "U-Net",
        })
    }
}

impl Model {
    /// All models.
    pub(crate) const ALL: [Self; 3] = [Self::MobilenetV2, Self::Resnet50, Self::Unet];

    /// The network for images of `size` by `size`. `divisor` divides its channels, and `shallower` its numbers of blocks. With a
    /// device, scales are calibrated on it.
    pub(crate) fn build(
        self,
        device: Option<&Context>,
        size: usize,
        [divisor, shallower]: [usize; 2],
    ) -> Result<Network> {
        let (builder, image) = Builder::new(device, size)?;
        let widths = Widths { divisor, shallower };
        match self {
            Self::MobilenetV2 => mobilenet_v2(builder, image, widths),
            Self::Resnet50 => resnet_50(builder, image, widths),
            Self::Unet => unet(builder, image, widths),
        }
    }
}

#[derive(Clone, Copy)]
struct Widths {
    divisor: usize,
    shallower: usize,
}

impl Widths {
    fn channels(self, channels: usize) -> usize {
        channels.div_ceil(self.divisor)
    }

    fn blocks(self, blocks: usize) -> usize {
        blocks.div_ceil(self.shallower)
    }
}

const fn pointwise(outputs: usize, activation: Activation) -> Filter {
    Filter { outputs, kernel: 1, stride: 1, depthwise: false, spread: None, activation }
}

const fn full(outputs: usize, kernel: usize, stride: usize, activation: Activation) -> Filter {
    Filter { outputs, kernel, stride, depthwise: false, spread: None, activation }
}

fn mobilenet_v2(mut net: Builder, image: Value, widths: Widths) -> Result<Network> {
    let relu6 = Activation::Relu6;
    let mut x = net.conv("stem", image, full(widths.channels(32), 3, 2, relu6))?;
    // Expansion, outputs, blocks, stride of the first block.
    let stages =
        [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)];
    let mut number = 0;
    for (expansion, outputs, blocks, first_stride) in stages {
        let outputs = widths.channels(outputs);
        for block in 0..widths.blocks(blocks) {
            number += 1;
            let (entry, channels) = (x, net.dimensions(x)?[3]);
            let stride = if block == 0 { first_stride } else { 1 };
            let wide = channels * expansion;
            if expansion > 1 {
                x = net.conv(format!("{number} expand"), x, pointwise(wide, relu6))?;
            }
            let filter = Filter { outputs: wide, kernel: 3, stride, depthwise: true, spread: None, activation: relu6 };
            x = net.conv(format!("{number} depthwise"), x, filter)?;
            let (name, filter) = (format!("{number} project"), pointwise(outputs, Activation::None));
            x = if stride == 1 && channels == outputs {
                net.residual(name, (x, entry), filter, Activation::None)?
            } else {
                net.conv(name, x, filter)?
            };
        }
    }
    let x = net.conv("head", x, pointwise(widths.channels(1280), relu6))?;
    let logits = net.classifier(x, widths.channels(1000))?;
    Ok(net.finish(logits))
}

fn resnet_50(mut net: Builder, image: Value, widths: Widths) -> Result<Network> {
    let relu = Activation::Relu;
    let x = net.conv("stem", image, full(widths.channels(64), 7, 2, relu))?;
    let padding = Padding::Explicit { begin: vec![1; 2], end: vec![1; 2] };
    let pool = Pool::max(net.tensor_type(x)?, [3, 3]).stride([2, 2]).padding(padding).build()?;
    let mut x = net.op("stem pool", &[x], pool)?;
    for (stage, (width, blocks)) in [(64, 3), (128, 4), (256, 6), (512, 3)].into_iter().enumerate() {
        let width = widths.channels(width);
        for block in 0..widths.blocks(blocks) {
            let stride = if block == 0 && stage > 0 { 2 } else { 1 };
            let name = |what: &str| format!("{}.{} {what}", stage + 1, block + 1);
            let entry = match block {
                0 => net.conv(name("shortcut"), x, full(width * 4, 1, stride, Activation::None))?,
                _ => x,
            };
            x = net.conv(name("reduce"), x, pointwise(width, relu))?;
            x = net.conv(name("3x3"), x, full(width, 3, stride, relu))?;
            x = net.residual(name("expand"), (x, entry), pointwise(width * 4, Activation::None), relu)?;
        }
    }
    let logits = net.classifier(x, widths.channels(1000))?;
    Ok(net.finish(logits))
}

fn unet(mut net: Builder, image: Value, widths: Widths) -> Result<Network> {
    let relu = Activation::Relu;
    let mut x = image;
    let twice = |net: &mut Builder, name: String, x: Value, width: usize| -> Result<Value> {
        let x = net.conv(format!("{name} a"), x, full(width, 3, 1, relu))?;
        net.conv(format!("{name} b"), x, full(width, 3, 1, relu))
    };
    let levels = [16, 32, 64, 128].map(|width| widths.channels(width));
    let mut left = Vec::new();
    for (level, &width) in levels.iter().enumerate() {
        x = twice(&mut net, format!("down {level}"), x, width)?;
        left.push(x);
        let pool = Pool::max(net.tensor_type(x)?, [2, 2]).stride([2, 2]).build()?;
        x = net.op(format!("pool {level}"), &[x], pool)?;
    }
    x = twice(&mut net, "bottom".into(), x, widths.channels(256))?;
    for (level, (&width, &beside)) in levels.iter().zip(&left).enumerate().rev() {
        let size = net.dimensions(beside)?;
        // Levels alternate between the two usual upsampling methods.
        if level % 2 == 1 {
            let filter = Filter { spread: Some([size[1], size[2]]), ..full(width, 2, 2, relu) };
            x = net.conv(format!("grow {level}"), x, filter)?;
        } else {
            let resize = Resize::linear(net.tensor_type(x)?, &size[1..3]).build()?;
            x = net.op(format!("grow {level}"), &[x], resize)?;
            x = net.conv(format!("narrow {level}"), x, full(width, 3, 1, relu))?;
        }
        x = net.join(format!("join {level}"), &[beside, x])?;
        x = twice(&mut net, format!("up {level}"), x, width)?;
    }
    let classes = net.conv("classes", x, pointwise(widths.channels(8), Activation::None))?;
    Ok(net.finish(classes))
}
