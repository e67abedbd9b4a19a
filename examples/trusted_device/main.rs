//! A Vulkan device without robust access to buffers, for lowbit's shaders alone. wgpu enables `robustBufferAccess` and, where it is
//! offered, `robustBufferAccess2` on every device, although lowbit's shaders are trusted not to need them. Some drivers then check
//! every load: Mesa's for NVIDIA makes 1.7 times as many instructions of the kernels. This example makes the device without them, and
//! compares a product on it with the reference. `docs/safety.md` has the argument for its safety.

mod device;

use std::process::ExitCode;

use device::Result;
use lowbit::ops::{Matmul, Requantization};
use lowbit::{DType, Graph, Quantization, Tensor, Tuner};

async fn run() -> Result<()> {
    let context = device::context().await?;
    let codes = |dims: [usize; 2]| (0..dims[0] * dims[1]).map(|i| (i * 89 % 255) as u8 as i8).collect::<Vec<_>>();
    let lhs = Tensor::new([17, 100], codes([17, 100]))?.quantized(Quantization::tensor(0.02, 3))?;
    let weights = Tensor::new([100, 70], codes([100, 70]))?.quantized(Quantization::tensor(0.01, 0))?;
    let layer = Matmul::new(lhs.tensor_type().clone(), weights).output(Requantization::new(DType::Int8, 0.5, -3)?);
    let graph = Graph::of(layer.build()?)?;
    let plan = context.plan(&graph, Tuner::FirstGuess)?;
    let outputs = plan.run_blocking(&[&lhs])?;
    if outputs[0].values::<i8>()? != graph.run_reference(&[&lhs])?[0].values::<i8>()? {
        return Err("the product differs from the reference".into());
    }
    println!("without robust access, and equal to the reference: {}", context.description());
    Ok(())
}

fn main() -> ExitCode {
    match pollster::block_on(run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
