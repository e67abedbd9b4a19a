//! com.microsoft MatMulNBits in terms of `lowbit::import::onnx` and `lowbit::ops::Linear`.

use lowbit::import::onnx::MatMulNBits;
use lowbit::import::{self, ElementType};
use lowbit::ops::{DynamicGranularity, DynamicQuantize, Linear};
use lowbit::{DType, Graph, Tensor};

use crate::Result;
use crate::array::{Array, Elements, packed};
use crate::case::Case;
use crate::device::Device;

/// Element type, bytes and shape of an optional input.
type Operand = Option<((ElementType, Vec<u8>), Vec<usize>)>;

/// Element type and bytes of an array, as a file would hold them.
fn bytes(array: &Array) -> Result<(ElementType, Vec<u8>)> {
    Ok(match &array.elements {
        Elements::Codes { dtype: dtype @ DType::Uint8, codes, .. } => (ElementType::Uint8, packed(*dtype, codes)),
        Elements::Codes { dtype: dtype @ DType::Int32, codes, .. } => (ElementType::Int32, packed(*dtype, codes)),
        Elements::F16(v) => (ElementType::Float16, v.iter().flat_map(|x| x.to_le_bytes()).collect()),
        Elements::F32(v) => (ElementType::Float32, v.iter().flat_map(|x| x.to_le_bytes()).collect()),
        other => return Err(format!("operands of {} are not known", other.dtype()).into()),
    })
}

/// `A · Bᵀ` with the case's accuracy level. Level 4 has int8 activations, quantized per block.
pub(crate) fn matmul_nbits(case: &Case, device: &Device) -> Result<Tensor> {
    let attribute = |name: &str| -> Result<usize> {
        let value: Option<usize> = case.attribute(name)?;
        Ok(value.ok_or_else(|| format!("the case has no {name}"))?)
    };
    let operand = |slot: usize| -> Result<Operand> {
        case.optional(slot).map(|array| Ok((bytes(array)?, array.shape.clone()))).transpose()
    };
    let [b, scales, zero_points, g_idx] = [operand(1)?, operand(2)?, operand(3)?, operand(4)?];
    fn view(operand: &Operand) -> Result<Option<import::Array<'_>>> {
        let Some(((element_type, bytes), shape)) = operand else { return Ok(None) };
        Ok(Some(import::Array::new(*element_type, shape.clone(), bytes)?))
    }
    let node = MatMulNBits::new(
        [attribute("N")?, attribute("K")?],
        attribute("bits")?,
        attribute("block_size")?,
        b.as_ref().map_or(&[], |((_, bytes), _)| &bytes[..]),
        view(&scales)?.ok_or("the case has no scales")?,
    )
    .with_zero_points(view(&zero_points)?)
    .with_g_idx(view(&g_idx)?);
    let (weights, block_size) = (node.weights()?, node.block_size);

    let x = case.input(0)?.tensor()?;
    let mut graph = Graph::new();
    let lhs = graph.input(x.tensor_type().clone());
    let in_codes = case.attribute::<i64>("accuracy_level")?.unwrap_or(0) == 4;
    let (mut inputs, mut lhs_type) = (vec![lhs], x.tensor_type().clone());
    let granularity = DynamicGranularity::Group(block_size);
    if in_codes {
        let quantize = DynamicQuantize::new(x.tensor_type().clone(), DType::Int8, granularity).symmetric().build()?;
        inputs = graph.add_all(quantize, &inputs)?;
        lhs_type = graph.tensor_type(inputs[0])?.clone();
    }
    let mut op = Linear::new(lhs_type, weights).output(x.dtype());
    if in_codes {
        op = op.dynamic_lhs(granularity);
    }
    if let Some(bias) = case.optional(5) {
        op = op.bias(Tensor::new(bias.shape.clone(), bias.floats()?)?);
    }
    let y = graph.add(op.build()?, &inputs)?;
    graph.output(y);
    Ok(device.run_graph(&graph, &[&x])?.remove(0))
}
