//! A graph made ready for one device: kernels chosen and compiled, constants uploaded, intermediates allocated. What runs
//! is `plan::Graph`'s, how is `kernels`'.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use super::choose::Chooser;
use super::context::Counting;
use super::device_tensor::USAGE;
use super::pipeline::Pipeline;
use super::{Context, DeviceTensor};
use crate::error::{Error, Result, require};
use crate::kernels::{self, Dispatch, Resource};
use crate::numeric::Format;
#[cfg(not(target_arch = "wasm32"))]
use crate::ops::check_parameters;
use crate::plan::{Graph, check_tensors};
#[cfg(not(target_arch = "wasm32"))]
use crate::tensor::Tensor;
use crate::tensor::TensorType;
use crate::tune::Tuner;

/// A graph made ready for a device; made by [`Context::plan`].
///
/// Recording it puts all its launches into one compute pass of the caller's encoder. Recordings of one plan share its
/// intermediates: they may be submitted one after the other, also in one submission, from any thread. It is `Send` and
/// `Sync`.
pub struct Plan {
    context: Context,
    input_types: Vec<TensorType>,
    output_types: Vec<TensorType>,
    /// Inputs that are dynamic parameters, with the format of their codes.
    #[cfg_attr(target_arch = "wasm32", expect(dead_code, reason = "only the blocking run has host tensors to check"))]
    parameters: Vec<(usize, Format)>,
    launches: Vec<Launch>,
    /// Constants, scratch and intermediates.
    buffers: Vec<wgpu::Buffer>,
    uniforms: wgpu::Buffer,
}

#[derive(Debug)]
struct Launch {
    dispatch: Dispatch,
    pipeline: Arc<Pipeline>,
    /// The buffer of each of the dispatch's bindings.
    places: Vec<Place>,
    /// Where its parameters lie in the uniform buffer.
    uniform_offset: u64,
}

/// Where a tensor or constant lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Input(usize),
    Output(usize),
    Own(usize),
}

/// What wgpu asks of the offset of a uniform binding on any device.
const UNIFORM_ALIGNMENT: u64 = 256;

impl Plan {
    pub(super) fn new(context: &Context, graph: &Graph, tuner: Tuner) -> Result<Self> {
        graph.check_outputs()?;
        let limits = context.limits();
        if limits.invocations == 0 || limits.groups_per_dimension == 0 {
            return Err(Error::Limit {
                what: "every kernel".into(),
                needed: 1,
                limit: 0,
                unit: "compute invocations",
                advice: "request the device with at least wgpu::Limits::default()",
            });
        }
        let storage_limit = context.device().limits().max_storage_buffers_per_shader_stage;
        let mut buffers = Vec::new();
        let mut places = external_places(graph)?;
        let mut launches = Vec::new();
        let mut parameters: Vec<u32> = Vec::new();
        let mut chooser = Chooser::new(context, tuner);
        for step in graph.steps() {
            let mut candidates = kernels::candidates(&step.op, &limits);
            let candidate = candidates.swap_remove(chooser.choose(&step.op, &candidates));
            for value in &step.outputs {
                if let std::collections::hash_map::Entry::Vacant(entry) = places.entry(value.index()) {
                    let tensor_type = &graph.types()[value.index()];
                    let bytes = tensor_type.device_bytes();
                    buffers.push(context.buffer(&tensor_type.to_string(), bytes, USAGE, &[])?);
                    entry.insert(Place::Own(buffers.len() - 1));
                }
            }
            if candidate.dispatches.is_empty() {
                continue;
            }
            let first_constant = buffers.len();
            for &constant in &candidate.constants {
                let words = kernels::constant(&step.op, constant).expect("candidates ask for their own op's constants");
                let label = format!("{}: {constant:?}", candidate.label);
                buffers.push(context.buffer(&label, words.len() as u64 * 4, USAGE, &words)?);
            }
            let first_scratch = buffers.len();
            for &words in &candidate.scratch {
                buffers.push(context.buffer(&candidate.label, words as u64 * 4, USAGE, &[])?);
            }
            let place = |resource: Resource| match resource {
                Resource::Input(i) => places[&graph.storage(step.inputs[i]).index()],
                Resource::Output(i) => places[&step.outputs[i].index()],
                Resource::Constant(i) => Place::Own(first_constant + i),
                Resource::Scratch(i) => Place::Own(first_scratch + i),
            };
            for mut dispatch in candidate.dispatches {
                if dispatch.bindings.len() > storage_limit as usize {
                    return Err(Error::Limit {
                        what: candidate.label,
                        needed: dispatch.bindings.len() as u64,
                        limit: storage_limit.into(),
                        unit: "storage buffers per shader stage",
                        advice: "request the device with at least wgpu::Limits::default()",
                    });
                }
                dispatch.label = candidate.label.clone();
                parameters.resize(parameters.len().next_multiple_of(UNIFORM_ALIGNMENT as usize / 4), 0);
                let uniform_offset = parameters.len() as u64 * 4;
                parameters
                    .extend(dispatch.parameters.chunks_exact(4).map(|b| u32::from_ne_bytes([b[0], b[1], b[2], b[3]])));
                launches.push(Launch {
                    pipeline: context.pipeline(&dispatch)?,
                    places: dispatch.bindings.iter().map(|binding| place(binding.resource)).collect(),
                    uniform_offset,
                    dispatch,
                });
            }
        }
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let uniforms = context.buffer("parameters", parameters.len() as u64 * 4, usage, &parameters)?;
        let types = |values: &[crate::plan::Value]| values.iter().map(|v| graph.types()[v.index()].clone()).collect();
        Ok(Self {
            context: context.clone(),
            input_types: types(graph.inputs()),
            output_types: types(graph.outputs()),
            parameters: graph.parameter_inputs(),
            launches,
            buffers,
            uniforms,
        })
    }

    /// The types of the outputs, in order.
    #[must_use]
    pub fn output_types(&self) -> &[TensorType] {
        &self.output_types
    }

    /// Records all launches into a compute pass of its own in the caller's encoder. Nothing is submitted.
    ///
    /// # Errors
    /// If the tensors are not as many or not of the types that the graph declares, or an output shares its buffer with
    /// another tensor. The encoder must be of the context's device.
    ///
    /// ```no_run
    /// use lowbit::{Context, DeviceTensor, Format, Graph, Quantization, TensorType, Tuner, ops::Dequantize};
    /// # fn engine(device: wgpu::Device, queue: wgpu::Queue, codes: wgpu::Buffer, reals: wgpu::Buffer) -> lowbit::Result<()> {
    /// let context = Context::from_device(device.clone(), queue.clone());
    /// let codes_type = TensorType::new(Format::Uint8, [8, 100])?.quantized(Quantization::tensor(0.1, 3))?;
    /// let mut graph = Graph::new();
    /// let x = graph.input(codes_type.clone());
    /// let y = graph.add(Dequantize::new(codes_type.clone())?, &[x])?;
    /// graph.output(y);
    /// let plan = context.plan(&graph, Tuner::FirstGuess)?;
    ///
    /// // Your buffers: 8 rows of 100 codes, each in 112 bytes, and 800 dense f32.
    /// let codes = DeviceTensor::from_buffer(codes_type, codes, 0)?;
    /// let reals = DeviceTensor::from_buffer(TensorType::new(Format::Float32, [8, 100])?, reals, 0)?;
    /// let mut encoder = device.create_command_encoder(&Default::default());
    /// plan.record(&mut encoder, &[&codes], &[&reals])?;
    /// queue.submit([encoder.finish()]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn record(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        inputs: &[&DeviceTensor],
        outputs: &[&DeviceTensor],
    ) -> Result<()> {
        let descriptor = wgpu::ComputePassDescriptor { label: Some("lowbit"), timestamp_writes: None };
        self.record_in(&mut encoder.begin_compute_pass(&descriptor), inputs, outputs)
    }

    /// Records all launches into the caller's compute pass. Nothing is submitted.
    ///
    /// # Errors
    /// As [`Plan::record`].
    pub fn record_in(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        inputs: &[&DeviceTensor],
        outputs: &[&DeviceTensor],
    ) -> Result<()> {
        check_tensors("input", self.input_types.iter(), inputs.iter().map(|t| t.tensor_type()))?;
        check_tensors("output", self.output_types.iter(), outputs.iter().map(|t| t.tensor_type()))?;
        inputs.iter().chain(outputs).try_for_each(|tensor| tensor.check_context(&self.context))?;
        for (i, output) in outputs.iter().enumerate() {
            let others = inputs.iter().chain(&outputs[..i]);
            require!(
                others.clone().all(|other| other.buffer() != output.buffer()),
                "output {i} shares its buffer with another input or output: WebGPU tracks whole buffers, so offsets don't help; give \
                 it a buffer of its own"
            );
        }
        // What can fail comes first, so that an error leaves the caller's pass as it was.
        let bind = |launch| self.bind_group(launch, inputs, outputs);
        let groups: Vec<_> = self.context.scoped(|| self.launches.iter().map(bind).collect())?;
        for (launch, group) in self.launches.iter().zip(&groups) {
            pass.set_pipeline(&launch.pipeline.pipeline);
            pass.set_bind_group(0, group, &[]);
            let [x, y, z] = launch.dispatch.grid;
            pass.dispatch_workgroups(x, y, z);
        }
        Ok(())
    }

    fn bind_group(&self, launch: &Launch, inputs: &[&DeviceTensor], outputs: &[&DeviceTensor]) -> wgpu::BindGroup {
        let uniform = wgpu::BindGroupEntry {
            binding: 0,
            resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer: &self.uniforms,
                offset: launch.uniform_offset,
                size: wgpu::BufferSize::new(launch.dispatch.parameters.len() as u64),
            }),
        };
        let storage =
            launch.dispatch.bindings.iter().zip(&launch.places).map(|(binding, place)| wgpu::BindGroupEntry {
                binding: binding.slot,
                resource: match *place {
                    Place::Input(i) => inputs[i].binding(),
                    Place::Output(i) => outputs[i].binding(),
                    Place::Own(i) => self.buffers[i].as_entire_binding(),
                },
            });
        let entries: Vec<_> = std::iter::once(uniform).chain(storage).collect();
        self.context.device().create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(&launch.dispatch.label),
            layout: &launch.pipeline.layout,
            entries: &entries,
        })
    }

    /// Runs on tensors of the device (dynamic parameters among them are taken on trust): allocates the outputs, records, and submits once.
    ///
    /// # Errors
    /// As [`Plan::record`], or if the device fails.
    pub fn run_on_device(&self, inputs: &[&DeviceTensor]) -> Result<Vec<DeviceTensor>> {
        let allocate = |t: &TensorType| DeviceTensor::allocate(&self.context, t.clone());
        let outputs: Vec<_> = self.output_types.iter().map(allocate).collect::<Result<_>>()?;
        let mut encoder = self.context.device().create_command_encoder(&Default::default());
        self.record(&mut encoder, inputs, &outputs.iter().collect::<Vec<_>>())?;
        self.context.scoped(|| self.context.queue().submit([encoder.finish()]))?;
        Counting::count(&self.context.counting.submissions);
        Ok(outputs)
    }

    /// Runs on tensors of the host and waits: uploads, one submission, downloads.
    ///
    /// # Errors
    /// As [`Plan::run_on_device`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        check_tensors("input", self.input_types.iter(), inputs.iter().map(|t| t.tensor_type()))?;
        self.parameters.iter().try_for_each(|&(input, codes)| check_parameters(codes, inputs[input]))?;
        let inputs: Vec<_> = inputs.iter().map(|t| self.context.upload(t)).collect::<Result<_>>()?;
        let outputs = self.run_on_device(&inputs.iter().collect::<Vec<_>>())?;
        outputs.iter().map(|t| self.context.download_blocking(t)).collect()
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Plan {{\n{self}}}")
    }
}

impl fmt::Display for Plan {
    /// One line per launch: label and grid.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for launch in &self.launches {
            let [x, y, z] = launch.dispatch.grid;
            writeln!(f, "{:<48} {x} x {y} x {z}", launch.dispatch.label)?;
        }
        Ok(())
    }
}

/// Where inputs and outputs lie. Each needs a place of its own.
fn external_places(graph: &Graph) -> Result<HashMap<usize, Place>> {
    let mut places: HashMap<usize, Place> =
        graph.inputs().iter().enumerate().map(|(i, v)| (v.index(), Place::Input(i))).collect();
    let mut seen = HashSet::new();
    for (i, &value) in graph.outputs().iter().enumerate() {
        let storage = graph.storage(value).index();
        require!(
            seen.insert(storage) && !places.contains_key(&storage),
            "output {i} of the graph is also an input or another output: it would have to be in two buffers"
        );
        places.insert(storage, Place::Output(i));
    }
    Ok(places)
}
