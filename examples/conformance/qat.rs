//! The set's fake quantizers and their gradients, in terms of `lowbit::ops`.

use lowbit::numeric::QuantizationParams;
use lowbit::ops::{FakeQuantize, FakeQuantizeGradient, Grid, GridGradient};
use lowbit::{Granularity, Tensor};

use crate::Result;
use crate::array::Array;
use crate::case::Case;
use crate::device::Device;

/// Runs a case. Its inputs are the numbers, the grid's parameters in one or two slots, then the gradient of the output.
pub(crate) fn fake_quantize(case: &Case, device: &Device) -> Result<Vec<Array>> {
    let x = case.input(0)?.tensor()?;
    let granularity = match case.attribute::<Option<usize>>("axis")?.flatten() {
        Some(axis) => Granularity::Axis(axis),
        None => Granularity::Tensor,
    };
    let code = |name: &str| -> Result<i32> { Ok(case.attribute(name)?.ok_or_else(|| format!("{name} is missing"))?) };
    let (grid, parameters, codes) = match case.op.as_str() {
        "FakeQuantizeSte" => {
            let (scales, zero_points) = (case.input(1)?.floats()?, case.input(2)?.integers()?);
            let params: Vec<_> =
                scales.into_iter().zip(zero_points).map(|(scale, zero)| QuantizationParams::new(scale, zero)).collect();
            (Grid::Affine, Tensor::new([params.len()], params)?, (code("quant_min")?, code("quant_max")?))
        }
        "LsqFakeQuantize" => {
            let steps = case.input(1)?.floats()?;
            (Grid::Step, Tensor::new([steps.len()], steps)?, (code("quant_min")?, code("quant_max")?))
        }
        _ => {
            let (low, high) = (case.input(1)?.floats()?, case.input(2)?.floats()?);
            let pairs: Vec<f32> = low.iter().zip(&high).flat_map(|(&low, &high)| [low, high]).collect();
            let narrow = case.attribute::<bool>("narrow_range")?.unwrap_or(false);
            let codes = (i32::from(narrow), (1 << code("num_bits")?) - 1);
            (Grid::Range, Tensor::new([low.len(), 2], pairs)?, codes)
        }
    };
    let dy = case.input(if case.op == "LsqFakeQuantize" { 2 } else { 3 })?.tensor()?;
    let forward = FakeQuantize::new(x.tensor_type().clone(), grid, granularity, codes).build()?;
    let y = device.run(forward.clone(), &[&x, &parameters])?;
    let dx = device.run(FakeQuantizeGradient::new(forward.clone())?, &[&x, &parameters, &dy])?;
    let mut outputs = vec![Array::of(&y[0])?, Array::of(&dx[0])?];
    if grid != Grid::Affine {
        let scale = case.attribute("grad_scale")?.unwrap_or(1.0);
        let gradient = device.run(GridGradient::new(forward, scale)?, &[&x, &parameters, &dy])?;
        let values = gradient[0].values::<f32>()?;
        let width = if grid == Grid::Range { 2 } else { 1 };
        for column in 0..width {
            let column: Vec<f32> = values.iter().skip(column).step_by(width).copied().collect();
            let shape = if granularity == Granularity::Tensor { vec![] } else { vec![column.len()] };
            outputs.push(Array::of(&Tensor::new(shape, column)?)?);
        }
    }
    Ok(outputs)
}
