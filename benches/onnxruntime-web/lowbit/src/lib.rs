//! Conformance cases on the browser's device: is lowbit right, and how long does its plan take? The page (`www/page.js`) takes the
//! time.

#![allow(dead_code, reason = "parts of the conformance example")]

#[path = "../../../../examples/conformance/array.rs"]
mod array;
#[path = "../../../../examples/conformance/blocks.rs"]
mod blocks;
#[path = "../../../../examples/conformance/case.rs"]
mod case;
#[path = "../../../../examples/conformance/compare.rs"]
mod compare;
#[path = "../../../../examples/browser/src/device.rs"]
mod device;
#[path = "../../../../examples/conformance/gguf.rs"]
mod gguf;
#[path = "../../../../examples/conformance/matmul_nbits.rs"]
mod matmul_nbits;
#[path = "../../../../examples/conformance/observer.rs"]
mod observer;
#[path = "../../../../examples/conformance/ops.rs"]
mod ops;
#[path = "../../../../examples/conformance/qat.rs"]
mod qat;

use lowbit::{Bindings, Context, DeviceTensor, Plan, Tensor, Tuner};
use wasm_bindgen::prelude::{JsError, wasm_bindgen};

use case::Case;
use device::Device;

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

fn told<T>(result: Result<T>) -> std::result::Result<T, JsError> {
    result.map_err(|error| JsError::new(&error.to_string()))
}

/// A device of the browser.
#[wasm_bindgen]
pub struct Page {
    context: Context,
}

/// A case as a plan, with its tensors on the device.
#[wasm_bindgen]
pub struct Prepared {
    context: Context,
    case: Case,
    plan: Plan,
    bindings: Bindings,
    host: Vec<Tensor>,
    inputs: Vec<DeviceTensor>,
    outputs: Vec<DeviceTensor>,
}

#[wasm_bindgen]
impl Page {
    /// Asks the browser for a device.
    pub async fn open() -> std::result::Result<Page, JsError> {
        Ok(Page { context: told(Context::new().await.map_err(Into::into))? })
    }

    /// The name of the adapter.
    pub fn description(&self) -> String {
        self.context.description()
    }

    /// The plan of a case of one launch from the host.
    pub async fn prepare(&self, file: &[u8]) -> std::result::Result<Prepared, JsError> {
        told(prepare(&self.context, file).await)
    }
}

async fn prepare(context: &Context, file: &[u8]) -> Result<Prepared> {
    let case = Case::parse(file)?;
    let device = Device::asking();
    let outcome = ops::run(&case, &device);
    let Some((graph, inputs)) = device.asked() else {
        return Err(outcome.err().unwrap_or_else(|| "nothing to run".into()));
    };
    let plan = context.plan(&graph, Tuner::FirstGuess)?;
    plan.warm_up().await?;
    let host = inputs;
    let inputs = host.iter().map(|input| context.upload(input)).collect::<Result<Vec<_>, _>>()?;
    let outputs = plan
        .output_types()
        .iter()
        .map(|kind| DeviceTensor::allocate(context, kind.clone()))
        .collect::<Result<Vec<_>, _>>()?;
    let bindings = plan.bind(&inputs.iter().collect::<Vec<_>>(), &outputs.iter().collect::<Vec<_>>())?;
    Ok(Prepared { context: context.clone(), case, plan, bindings, host, inputs, outputs })
}

#[wasm_bindgen]
impl Prepared {
    /// The kernels.
    pub fn labels(&self) -> String {
        self.plan.labels().collect::<Vec<_>>().join("; ")
    }

    /// Records the plan and submits it.
    pub fn submit(&self) -> std::result::Result<(), JsError> {
        told(self.record())
    }

    /// Uploads the inputs, runs the plan and downloads the outputs.
    pub async fn run(&self) -> std::result::Result<usize, JsError> {
        let outputs = self.plan.run(&self.host.iter().collect::<Vec<_>>()).await;
        told(outputs.map(|outputs| outputs.len()).map_err(Into::into))
    }

    /// Runs the plan and compares its outputs strictly: an empty text if they are right.
    pub async fn check(&self) -> std::result::Result<String, JsError> {
        told(self.compared().await)
    }

    /// Gives the memory back.
    pub fn destroy(self) {
        drop(self.bindings);
        for tensor in self.inputs.into_iter().chain(self.outputs) {
            tensor.destroy();
        }
        self.plan.destroy();
    }
}

impl Prepared {
    fn record(&self) -> Result<()> {
        let mut encoder = self.context.device().create_command_encoder(&Default::default());
        self.plan.record(&mut encoder, &self.bindings)?;
        self.context.queue().submit([encoder.finish()]);
        Ok(())
    }

    async fn compared(&self) -> Result<String> {
        self.record()?;
        let mut answer = Vec::new();
        for output in &self.outputs {
            answer.push(self.context.download(output).await?);
        }
        let mut device = Device::asking();
        device.answer(answer);
        let got = ops::run(&self.case, &device)?;
        Ok(compare::compare(&self.case, &got, true).err().map_or_else(String::new, |failure| format!("{failure:?}")))
    }
}
