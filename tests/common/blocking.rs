//! The blocking calls of native programs, for test bodies in a browser.

use lowbit::kernels::Candidate;
use lowbit::ops::Op;
use lowbit::{Bindings, Context, DeviceTensor, Plan, Report, Result, Tensor};

use super::wait;

/// A context's calls.
pub(crate) trait BlockingContext {
    fn run_blocking(&self, op: &Op, inputs: &[&Tensor]) -> Result<Vec<Tensor>>;
    fn download_blocking(&self, tensor: &DeviceTensor) -> Result<Tensor>;
}

impl BlockingContext for Context {
    fn run_blocking(&self, op: &Op, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        wait(self.run(op, inputs))
    }

    fn download_blocking(&self, tensor: &DeviceTensor) -> Result<Tensor> {
        wait(self.download(tensor))
    }
}

/// A plan's calls.
pub(crate) trait BlockingPlan {
    fn run_blocking(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>>;
    fn verify_blocking(&self, bindings: &Bindings) -> Result<Report>;
}

impl BlockingPlan for Plan {
    fn run_blocking(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        wait(self.run(inputs))
    }

    fn verify_blocking(&self, bindings: &Bindings) -> Result<Report> {
        wait(self.verify(bindings))
    }
}

/// No bounds are checked: that instruments shaders, and wgpu has no compiler of shaders in browsers.
pub(crate) fn run_checked(_: &Context, _: &str, _: &Op, _: &[&Tensor], _: &Candidate) -> Option<Vec<Tensor>> {
    None
}
