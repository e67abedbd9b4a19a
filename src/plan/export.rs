//! A plan as data, for engines that run it without this crate: on another version of wgpu, on Dawn, in JavaScript.

use serde::{Deserialize, Serialize};

use super::{CandidateLists, DeviceLimits, Frame, Graph, Launch, MemoryRules, Schedule, Span, Storage, Value};
use crate::error::Result;
use crate::kernels::{DeviceCaps, WordsInTurn};
use crate::tensor::TensorType;

/// A plan as data, made by [`Graph::export`] or `Plan::export`: programs in WGSL, buffers, and launches in order. All that is
/// needed to run it is WebGPU. It serializes with serde; [`ExportedPlan::data`] is apart, because it is bytes and large.
///
/// To run it: create a buffer for each input, output, workspace and constant, with the usage `STORAGE` (and `COPY_DST` or `COPY_SRC`
/// to fill it or read it back), and one for the parameters of all launches with the usage `UNIFORM`. Make a compute pipeline of each
/// program, whose entry point is `main`. For each launch bind group 0: slot 0 is a uniform buffer binding of the launch's parameters,
/// the other slots are storage buffer bindings. Record the launches in order into one compute pass. Bytes of inputs and outputs are
/// laid out as [`pack::words`](crate::pack::words) has them; padding of inputs may hold anything.
///
/// The kernels are chosen for the device of the plan. A device with smaller [`ExportedPlan::requirements`] refuses them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ExportedPlan {
    /// The inputs, in the order of the graph.
    pub inputs: Vec<ExportedTensor>,
    /// The outputs, in the order of the graph.
    pub outputs: Vec<ExportedTensor>,
    /// The sizes of the workspace's buffers in bytes.
    pub workspace: Vec<u64>,
    /// The constants: parts of [`ExportedPlan::data`].
    pub constants: Vec<ExportedBytes>,
    /// WGSL, each once.
    pub programs: Vec<String>,
    /// The launches, in order.
    pub launches: Vec<ExportedLaunch>,
    /// The least that the device must allow.
    pub requirements: ExportedRequirements,
    /// The contents of constants and parameters. Not part of the serialized form: store it beside.
    #[serde(skip)]
    pub data: Vec<u8>,
}

/// An input or output of an [`ExportedPlan`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ExportedTensor {
    /// The data type, as it prints.
    pub dtype: String,
    /// The extents.
    pub dims: Vec<usize>,
    /// The bytes of its buffer.
    pub bytes: u64,
    /// True if launches write it: an output, or an input that is a state.
    pub written: bool,
}

/// A part of [`ExportedPlan::data`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ExportedBytes {
    /// The first byte, a multiple of 256.
    pub offset: usize,
    /// The number of bytes.
    pub bytes: usize,
}

/// A launch of an [`ExportedPlan`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ExportedLaunch {
    /// A label for people.
    pub label: String,
    /// The index of the program.
    pub program: usize,
    /// The contents of the uniform buffer binding in slot 0.
    pub parameters: ExportedBytes,
    /// The storage buffer bindings.
    pub bindings: Vec<ExportedBinding>,
    /// Workgroups along x, y and z.
    pub grid: [u32; 3],
}

/// A storage buffer binding of an [`ExportedLaunch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ExportedBinding {
    /// The `@binding` number in group 0.
    pub slot: u32,
    /// The buffer.
    pub buffer: ExportedBuffer,
    /// The first byte, a multiple of 256.
    pub offset: u64,
    /// The number of bytes.
    pub bytes: u64,
    /// False for the binding type `read-only-storage`, true for `storage`.
    pub writable: bool,
}

/// A buffer of an [`ExportedPlan`], by its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ExportedBuffer {
    /// An input.
    Input(usize),
    /// An output.
    Output(usize),
    /// A buffer of the workspace.
    Workspace(usize),
    /// A constant.
    Constant(usize),
}

/// The limits that a device of an [`ExportedPlan`] needs, by WebGPU's names. The first two are what the plan's device allows, so they
/// may be more than is needed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ExportedRequirements {
    /// The optional features: `subgroups`, `shader-f16`, `matrices` (wgpu's experimental cooperative matrices).
    pub features: Vec<String>,
    /// `maxComputeInvocationsPerWorkgroup`.
    pub max_compute_invocations_per_workgroup: u32,
    /// `maxComputeWorkgroupStorageSize`.
    pub max_compute_workgroup_storage_size: u32,
    /// `maxComputeWorkgroupsPerDimension`.
    pub max_compute_workgroups_per_dimension: u32,
    /// `maxStorageBuffersPerShaderStage`.
    pub max_storage_buffers_per_shader_stage: u32,
    /// `maxStorageBufferBindingSize`.
    pub max_storage_buffer_binding_size: u64,
}

impl Graph {
    /// The graph at its largest extents as launches for a device with these limits, by the first guess of each op's kernel, with its
    /// constants: to run it without this crate. It needs no device and no feature. [`Graph::fixed`] gives it other extents.
    ///
    /// With the default limits every device of WebGPU runs it.
    ///
    /// ```
    /// use lowbit::{DType, DeviceLimits, Graph, Tensor, TensorType, ops::Matmul};
    /// let weights = Tensor::new([16, 4], vec![1i8; 64])?;
    /// let graph = Graph::of(Matmul::new(TensorType::new(DType::Int8, [2, 16])?, weights).build()?)?;
    /// let exported = graph.export(&DeviceLimits::default())?;
    /// assert_eq!(exported.inputs[0].dims, [2, 16]);
    /// let (json, data) = (serde_json::to_string(&exported)?, exported.data); // two files
    /// # assert!(json.contains("fn main") && !data.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If the graph exceeds a limit, or one of its outputs is an input or another output.
    pub fn export(&self, limits: &DeviceLimits) -> Result<ExportedPlan> {
        let caps = limits.caps();
        let lists = CandidateLists::new(&caps);
        let rules = MemoryRules { largest_buffer: limits.max_buffer_size, single_buffer: false };
        let frame = Frame::new(self, &lists, &rules)?;
        let schedule = frame.schedule(self, &lists, |_, _| 0)?;
        ExportedPlan::new(self, &frame.workspace, &schedule, &caps)
    }
}

impl ExportedPlan {
    /// A schedule of a graph as data.
    pub(crate) fn new(
        graph: &Graph,
        workspace: &[u64],
        Schedule { launches, constants }: &Schedule,
        caps: &DeviceCaps,
    ) -> Result<Self> {
        let mut data = Data::default();
        let mut words = WordsInTurn::default();
        let constants = constants.iter().map(|constant| {
            let start = data.begin();
            words.next(constant, |part| {
                data.0.extend_from_slice(bytemuck::cast_slice(part));
                Ok(())
            })?;
            Ok(data.end(start))
        });
        let constants = constants.collect::<Result<Vec<_>>>()?;
        let mut programs: Vec<String> = Vec::new();
        let exported = |launch: &Launch| {
            let source = launch.dispatch.program.source();
            let program = programs.iter().position(|program| *program == source).unwrap_or_else(|| {
                programs.push(source);
                programs.len() - 1
            });
            ExportedLaunch {
                label: launch.dispatch.label.clone(),
                program,
                parameters: data.add(&launch.dispatch.parameters),
                bindings: bindings(launch, &constants),
                grid: launch.dispatch.grid,
            }
        };
        let exported = launches.iter().map(exported).collect();
        let tensor = |value: Value, written: bool| tensor(&graph.types()[value.index()], written);
        Ok(Self {
            inputs: graph.inputs().iter().map(|&value| tensor(value, graph.is_state(value))).collect(),
            outputs: graph.outputs().iter().map(|&value| tensor(value, true)).collect(),
            workspace: workspace.to_vec(),
            constants,
            launches: exported,
            requirements: requirements(launches, &programs, caps),
            programs,
            data: data.0,
        })
    }
}

/// Bytes of constants and parameters, each at the alignment of bindings.
#[derive(Default)]
struct Data(Vec<u8>);

impl Data {
    fn add(&mut self, bytes: &[u8]) -> ExportedBytes {
        let start = self.begin();
        self.0.extend_from_slice(bytes);
        self.end(start)
    }

    /// The offset of bytes that are about to be added.
    fn begin(&mut self) -> usize {
        self.0.resize(self.0.len().next_multiple_of(256), 0);
        self.0.len()
    }

    /// The bytes from `offset` on, as a buffer has them: in words, four at least.
    fn end(&mut self, offset: usize) -> ExportedBytes {
        let bytes = (self.0.len() - offset).next_multiple_of(4).max(16);
        self.0.resize(offset + bytes, 0);
        ExportedBytes { offset, bytes }
    }
}

fn tensor(tensor_type: &TensorType, written: bool) -> ExportedTensor {
    ExportedTensor {
        dtype: tensor_type.dtype().to_string(),
        dims: tensor_type.dims().to_vec(),
        bytes: tensor_type.device_bytes(),
        written,
    }
}

fn bindings(launch: &Launch, constants: &[ExportedBytes]) -> Vec<ExportedBinding> {
    let bound = launch.dispatch.bindings.iter().zip(&launch.spans);
    bound
        .map(|(binding, &Span { storage, offset, bytes })| {
            let (buffer, whole) = match storage {
                Storage::Input(i) => (ExportedBuffer::Input(i), 0),
                Storage::Output(i) => (ExportedBuffer::Output(i), 0),
                Storage::Workspace(i) => (ExportedBuffer::Workspace(i), 0),
                Storage::Constant(i) => (ExportedBuffer::Constant(i), constants[i].bytes as u64),
            };
            let bytes = bytes.unwrap_or(whole);
            ExportedBinding { slot: binding.slot, buffer, offset, bytes, writable: binding.writable }
        })
        .collect()
}

fn requirements(launches: &[Launch], programs: &[String], caps: &DeviceCaps) -> ExportedRequirements {
    let features =
        [("subgroups", "subgroup"), ("shader-f16", "enable f16;"), ("matrices", "enable wgpu_cooperative_matrix")];
    let used =
        features.iter().filter(|(_, word)| programs.iter().any(|program| code(program).any(|l| l.contains(word))));
    let spans = launches.iter().flat_map(|launch| &launch.spans);
    ExportedRequirements {
        features: used.map(|(name, _)| (*name).to_string()).collect(),
        max_compute_invocations_per_workgroup: caps.invocations,
        max_compute_workgroup_storage_size: caps.workgroup_bytes,
        max_compute_workgroups_per_dimension: launches.iter().flat_map(|l| l.dispatch.grid).max().unwrap_or(0),
        max_storage_buffers_per_shader_stage: launches.iter().map(|l| l.spans.len() as u32).max().unwrap_or(0),
        max_storage_buffer_binding_size: spans.filter_map(|span| span.bytes).max().unwrap_or(0),
    }
}

/// The lines of a program without comments.
fn code(program: &str) -> impl Iterator<Item = &str> {
    program.lines().map(|line| line.split("//").next().unwrap_or_default())
}
