//! Comparison of a plan with the reference, on the bound tensors: it shows if a device computes the right results, and if not, the
//! first wrong op. `plan::execute` computes the expected results.

use std::fmt;

use super::{Bindings, DeviceTensor, Plan};
use crate::error::Result;
use crate::numeric::QuantizationParams;
use crate::ops::Op;
use crate::plan::{Graph, Value, execute, read, read_as};
use crate::reference;
use crate::tensor::{Tensor, first_difference};

/// The comparison of a plan's outputs with the reference; made by [`Plan::verify`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// One comparison per output, in order, then one per state.
    pub outputs: Vec<Comparison>,
    /// If outputs differ: the first op that differs when it runs alone on the reference's inputs, by its number in the graph and
    /// its name. `None` if only the whole plan is wrong, which is a bug of the planner or the driver.
    pub first_wrong_op: Option<(usize, &'static str)>,
}

/// The bitwise comparison of a tensor with its expected value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Comparison {
    /// The name of the tensor.
    pub name: String,
    /// Number of elements.
    pub elements: usize,
    /// Number of elements that differ.
    pub different: usize,
    /// The location of the first element that differs, with both values.
    pub first: Option<String>,
}

impl Report {
    /// True if every output equals the reference, bit for bit.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.outputs.iter().all(|output| output.different == 0)
    }
}

impl fmt::Display for Report {
    /// Writes one line per output, and the first wrong op if an output differs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Comparison { name, elements, different, first } in &self.outputs {
            match first {
                None => writeln!(f, "{name}: all {elements} elements equal the reference")?,
                Some(first) => writeln!(f, "{name}: {different} of {elements} elements differ, {first}")?,
            }
        }
        match self.first_wrong_op {
            Some((number, name)) => writeln!(f, "the first op that is wrong by itself: {number}, {name}"),
            None if self.is_exact() => Ok(()),
            None => writeln!(
                f,
                "no op is wrong by itself with the kernels chosen like the plan's, only the plan as a whole"
            ),
        }
    }
}

impl Plan {
    /// Runs the plan on its bound tensors and compares every output and state with the reference for equal inputs. After an op that
    /// is exact only within a bound ([`Linear`](crate::ops::Linear)), outputs differ in their last bits; the op is wrong only
    /// beyond its bound. The reference uses all cores (in a browser one, and holds the page meanwhile), but is written for
    /// correctness, not speed.
    ///
    /// ```
    /// use lowbit::{Context, DeviceTensor, DType, Graph, Quantization, Tensor, Tuner, ops::Table, ops::Requantization};
    /// # if let Ok(context) = Context::new_blocking() {
    /// let codes = Tensor::new([3], vec![-80i8, 0, 80])?.quantized(Quantization::tensor(0.05, 0))?;
    /// let mut graph = Graph::new();
    /// let x = graph.input(codes.tensor_type().clone());
    /// let y = graph.add(Table::sigmoid(codes.tensor_type().clone(), Requantization::new(DType::Uint8, 0.004, 0)?)?, &[x])?;
    /// graph.output(y);
    /// let plan = context.plan(&graph, Tuner::FirstGuess)?;
    /// let input = context.upload(&codes)?;
    /// let output = DeviceTensor::allocate(&context, plan.output_types()[0].clone())?;
    /// let report = plan.verify_blocking(&plan.bind(&[&input], &[&output])?)?;
    /// assert!(report.is_exact(), "{report}");
    /// # }
    /// # Ok::<(), lowbit::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the bindings are another plan's, a bound buffer has no COPY_SRC usage for readback, dynamic parameters among the inputs
    /// are not a valid scale and code, or the device fails.
    pub async fn verify(&self, bindings: &Bindings) -> Result<Report> {
        let inputs = self.download_all(&bindings.inputs).await?;
        self.submit(bindings)?;
        let mut got = self.download_all(&bindings.outputs).await?;
        for input in self.graph().state_inputs() {
            got.push(self.context().download(&bindings.inputs[input]).await?);
        }

        let inputs: Vec<&Tensor> = inputs.iter().collect();
        let graph = self.graph().for_inputs(inputs.iter().map(|t| t.tensor_type()))?;
        let tensors = execute(&graph, &inputs)?;
        let named = |kind: &str, i: usize, value: Value| format!("{kind} {i}{}", graph.label(value));
        let outputs = graph.outputs().iter().enumerate().map(|(i, &value)| (named("output", i, value), value, value));
        let states = graph.states().iter().enumerate();
        let states = states.map(|(i, &(state, latest))| (named("state", i, state), state, latest));
        let compared = outputs
            .chain(states)
            .zip(&got)
            .map(|((name, value, latest), got)| Ok(compare(name, got, &read_as(&graph, &tensors, latest, value)?)));
        let outputs = compared.collect::<Result<Vec<_>>>()?;
        let mut report = Report { outputs, first_wrong_op: None };
        if !report.is_exact() {
            for (number, step) in graph.steps().iter().enumerate() {
                let inputs = step.inputs.iter().map(|&v| read(&graph, &tensors, v)).collect::<Result<Vec<_>>>()?;
                let inputs: Vec<&Tensor> = inputs.iter().collect();
                let got = self.run_alone(&step.op, &inputs).await?;
                let tolerance = reference::tolerance(&step.op, &inputs)?;
                let mut bounds = tolerance.as_deref();
                let mut is_wrong = |(value, got): (&Value, &Tensor)| -> Result<bool> {
                    let expected = read(&graph, &tensors, *value)?;
                    Ok(match &mut bounds {
                        Some(bounds) => {
                            let own = bounds.split_off(..expected.tensor_type().shape().elements());
                            !is_within(got, &expected, own.unwrap_or_default())
                        }
                        None => first_difference(got, &expected).is_some(),
                    })
                };
                let wrong = step.outputs.iter().zip(&got).map(&mut is_wrong).collect::<Result<Vec<_>>>()?;
                if wrong.contains(&true) {
                    report.first_wrong_op = Some((number, step.op.name()));
                    break;
                }
            }
        }
        Ok(report)
    }

    /// As [`Plan::verify`], but blocking. Not available in browsers.
    ///
    /// # Errors
    /// As [`Plan::verify`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn verify_blocking(&self, bindings: &Bindings) -> Result<Report> {
        pollster::block_on(self.verify(bindings))
    }

    async fn download_all(&self, tensors: &[DeviceTensor]) -> Result<Vec<Tensor>> {
        let mut downloaded = Vec::new();
        for tensor in tensors {
            downloaded.push(self.context().download(tensor).await?);
        }
        Ok(downloaded)
    }

    /// Runs one op alone, with a kernel chosen by this plan's options.
    async fn run_alone(&self, op: &Op, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        let plan = self.context().plan_with(&Graph::of(op.clone())?, self.options())?;
        let outputs = plan.run(inputs).await;
        plan.destroy();
        outputs
    }
}

/// True if every element of an inexact op's output lies within the tolerance of the reference, or both are NaN. Such outputs are floats,
/// int8 codes, or scales without zero points.
fn is_within(got: &Tensor, expected: &Tensor, tolerance: &[f32]) -> bool {
    let reals = |tensor: &Tensor| -> Vec<f32> {
        let singles = || Some(tensor.values::<f32>().ok()?.to_vec());
        let halves = || Some(tensor.values::<half::f16>().ok()?.iter().map(|x| x.to_f32()).collect());
        let codes = || Some(tensor.values::<i8>().ok()?.iter().map(|&code| code.into()).collect());
        // A zero point that differs is an error of any size.
        let scale = |pair: &QuantizationParams| if pair.zero_point == 0 { pair.scale } else { f32::NAN };
        let scales = || Some(tensor.values::<QuantizationParams>().ok()?.iter().map(scale).collect());
        singles().or_else(halves).or_else(codes).or_else(scales).unwrap_or_default()
    };
    let near = |((got, expected), &bound): ((f32, f32), &f32)| {
        let same = got == expected || (got.is_nan() && expected.is_nan());
        same || bound == f32::INFINITY || (got - expected).abs() <= bound
    };
    reals(got).into_iter().zip(reals(expected)).zip(tolerance).all(near)
}

fn compare(name: String, got: &Tensor, expected: &Tensor) -> Comparison {
    let (different, first) = match first_difference(got, expected) {
        None => (0, None),
        Some(difference) => (difference.count, Some(difference.to_string())),
    };
    Comparison { name, elements: expected.tensor_type().shape().elements(), different, first }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_told() {
        let tensor = |values: [f32; 4]| Tensor::new([2, 2], values).expect("four elements");
        let right = tensor([0.0, 1.0, f32::NAN, -1.0]);
        assert_eq!(compare("output 0".into(), &right.clone(), &right).different, 0);
        let wrong = compare("output 0".into(), &tensor([-0.0, 1.0, f32::NAN, 2.0]), &right);
        let report = Report { outputs: vec![wrong], first_wrong_op: Some((3, "conv")) };
        assert!(!report.is_exact());
        let text = "output 0: 2 of 4 elements differ, at [0, 0] of [2, 2] got -0.0, expected 0.0\n\
                    the first op that is wrong by itself: 3, conv\n";
        assert_eq!(report.to_string(), text);
    }
}
