//! The network: it draws dark outlines where the brightness changes. Its weights are written by hand.

use lowbit::ops::{Conv, Pad, PadMode, Requantization};
use lowbit::{DType, Graph, Plan, Quantization, Tensor, TensorType};

/// Colours of a pixel that the network reads and writes; the fourth is opacity.
pub const COLOURS: usize = 3;

/// Shares of red, green and blue in brightness, in eighths.
const SHARES: [i8; COLOURS] = [2, 5, 1];

/// How much brighter it gets to the right.
const SLOPE: [[i8; 3]; 3] = [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]];

/// Right, left, down and up: codes have no sign, so each direction has a channel.
const DIRECTIONS: usize = 4;

/// Codes of a slope that are taken for none.
const FAINT: i32 = 12;

/// What a code of a slope takes from each colour.
const INK: i8 = 3;

/// Steps of the first layer's weights in 1: the steepest slope, from black to white, is 8 · 4 · 255 steps and becomes code 255.
const STEPS: i8 = 8 * 4;

/// The scale of colours and slopes: codes are what is computed with.
fn unit() -> Quantization {
    Quantization::tensor(1.0, 0)
}

/// uint8 `[1, height, width, 3]` -> uint8 `[1, height, width, 3]`
pub fn graph([width, height]: [usize; 2]) -> lowbit::Result<Graph> {
    let picture = TensorType::new(DType::Uint8, [1, height, width, COLOURS])?.quantized(unit())?;
    // What falls below 0 becomes 0.
    let stage = Requantization::new(DType::Uint8, 1.0, 0)?;

    let mut graph = Graph::new();
    let x = graph.input(picture);
    // The padding of `Conv` is black: outlines all around. What continues has none.
    let x = graph.add(Pad::new(graph.tensor_type(x)?.clone(), [0, 1, 1, 0], [0, 1, 1, 0], PadMode::Edge)?, &[x])?;
    let features = Conv::new(graph.tensor_type(x)?.clone(), feature_weights()?).bias(feature_bias()?);
    let x = graph.add(features.output(stage.clone()).build()?, &[x])?;
    let inked = Conv::new(graph.tensor_type(x)?.clone(), ink_weights()?);
    let x = graph.add(inked.output(stage).build()?, &[x])?;
    graph.output(x);
    Ok(graph)
}

/// Weights `[7, 3, 3, 3]` of the slopes in each direction and of the pixel itself.
fn feature_weights() -> lowbit::Result<Tensor> {
    let weight = |output: usize, y: usize, x: usize, colour: usize| match output {
        0 => SHARES[colour] * SLOPE[y][x],
        1 => SHARES[colour] * -SLOPE[y][x],
        2 => SHARES[colour] * SLOPE[x][y],
        3 => SHARES[colour] * -SLOPE[x][y],
        _ if (output - DIRECTIONS, y, x) == (colour, 1, 1) => STEPS,
        _ => 0,
    };
    let shape = [DIRECTIONS + COLOURS, 3, 3, COLOURS];
    let of = |i: usize| weight(i / (9 * COLOURS), i / (3 * COLOURS) % 3, i / COLOURS % 3, i % COLOURS);
    let weights = Tensor::new(shape, (0..shape.iter().product()).map(of).collect::<Vec<i8>>())?;
    weights.quantized(Quantization::tensor(1.0 / f32::from(STEPS), 0))
}

/// A threshold for slopes, nothing for the pixel itself.
fn feature_bias() -> lowbit::Result<Tensor> {
    let of = |output| if output < DIRECTIONS { -FAINT * i32::from(STEPS) } else { 0 };
    Tensor::new([DIRECTIONS + COLOURS], (0..DIRECTIONS + COLOURS).map(of).collect::<Vec<i32>>())
}

/// Weights `[3, 1, 1, 7]`: each colour of the pixel without the slopes.
fn ink_weights() -> lowbit::Result<Tensor> {
    let weight = |colour: usize, feature: usize| match feature {
        0..DIRECTIONS => -INK,
        _ => i8::from(feature - DIRECTIONS == colour),
    };
    let shape = [COLOURS, 1, 1, DIRECTIONS + COLOURS];
    let of = |i: usize| weight(i / shape[3], i % shape[3]);
    Tensor::new(shape, (0..shape.iter().product()).map(of).collect::<Vec<i8>>())?.quantized(unit())
}

/// The RGBA picture that has to come of this one, by the CPU reference.
pub fn reference(plan: &Plan, rgba: &[u8]) -> lowbit::Result<Vec<u8>> {
    let colours: Vec<u8> = rgba.chunks_exact(4).flat_map(|pixel| pixel[..COLOURS].to_vec()).collect();
    let x = Tensor::new(plan.input_types()[0].dims(), colours)?.quantized(unit())?;
    let y = plan.graph().run_reference(&[&x])?.remove(0);
    Ok(y.values::<u8>()?.chunks_exact(COLOURS).flat_map(|colours| [colours[0], colours[1], colours[2], 255]).collect())
}
