//! The set's operators on MX and NVFP4 blocks, in terms of `lowbit::ops::BlockQuantize` and `BlockDequantize`. The set only has
//! blocks along the last axis.

use lowbit::numeric::{BlockFormat, BlockRounding};
use lowbit::ops::{BlockDequantize, BlockQuantize};
use lowbit::{DType, Tensor, TensorType};

use crate::Result;
use crate::array::Array;
use crate::case::Case;
use crate::device::Device;

/// Refuses an axis or a block size that is not the format's.
fn check(case: &Case, format: BlockFormat) -> Result<()> {
    let (axis, size) = (case.attribute::<usize>("axis")?, case.attribute::<usize>("block_size")?);
    let last = case.input(0)?.shape.len().wrapping_sub(1);
    if axis != Some(last) || size != Some(format.size()) {
        return Err(format!("blocks of {size:?} along axis {axis:?} are not {format:?} along axis {last}").into());
    }
    Ok(())
}

/// Scales, elements and dequantized values.
pub(crate) fn mx_quantize(case: &Case, device: &Device) -> Result<Vec<Array>> {
    let attribute =
        |name: &str| -> Result<String> { Ok(case.attribute(name)?.ok_or_else(|| format!("the case has no {name}"))?) };
    let element = match attribute("format")?.as_str() {
        "mxfp8_e4m3" => DType::Float8E4M3Fn,
        "mxfp8_e5m2" => DType::Float8E5M2,
        "mxfp6_e2m3" => DType::Float6E2M3,
        "mxfp6_e3m2" => DType::Float6E3M2,
        "mxfp4_e2m1" => DType::Float4E2M1,
        "mxint8" => DType::Int8,
        other => return Err(format!("the format {other} is not known").into()),
    };
    let rounding = match attribute("scale_mode")?.as_str() {
        "floor" => BlockRounding::Floor,
        "ceil" => BlockRounding::Ceil,
        other => return Err(format!("the scale mode {other} is not known").into()),
    };
    let format = BlockFormat::mx(element, rounding)?;
    check(case, format)?;
    let x = case.input(0)?.tensor()?;
    let blocks = device.run(BlockQuantize::new(x.tensor_type().clone(), format)?, &[&x])?;
    let [elements, scales] = &blocks[..] else { return Err("blocks are elements and scales".into()) };
    let y = device.run(
        BlockDequantize::new(TensorType::new(format.element(), x.dims())?, format).build()?,
        &[elements, scales],
    )?;
    Ok(vec![Array::of(scales)?, Array::of(elements)?, Array::of(&y[0])?])
}

/// Dequantized values of NVFP4 blocks.
pub(crate) fn nvfp4_dequantize(case: &Case, device: &Device) -> Result<Tensor> {
    let [global] = case.input(2)?.floats()?[..] else { return Err("there is one scale of all blocks".into()) };
    let format = BlockFormat::nvfp4(global)?;
    check(case, format)?;
    let (elements, scales) = (case.input(0)?.tensor()?, case.input(1)?.tensor()?);
    Ok(device
        .run(
            BlockDequantize::new(TensorType::new(format.element(), elements.dims())?, format).build()?,
            &[&elements, &scales],
        )?
        .remove(0))
}
