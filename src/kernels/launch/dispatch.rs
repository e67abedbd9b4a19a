//! Launches as data: a candidate is a complete, printable plan for one op on a GPU. `tune` chooses among candidates; `gpu` runs
//! them.

use std::any::Any;
use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use super::program::Program;
use crate::error::Result;
#[cfg(feature = "transformer")]
use crate::kernels::grouped::weights;
use crate::kernels::rebind;
use crate::tensor::Tensor;
use crate::weights::PackedWeights;

/// The properties of a device that decide which kernels are legal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeviceCaps {
    /// Invocations of a workgroup.
    pub invocations: u32,
    /// Bytes of workgroup memory.
    pub workgroup_bytes: u32,
    /// Workgroups along one dimension of a grid.
    pub groups_per_dimension: u32,
    /// Storage buffers of one launch.
    pub storage_buffers: u32,
    /// Bytes of one storage binding.
    pub binding_bytes: u64,
    /// Invocations of a subgroup, if all subgroups have the same size and programs may use them; otherwise 0.
    pub uniform_subgroup_size: u32,
    /// The most invocations of a subgroup; 0 if programs may not use subgroups.
    pub max_subgroup_size: u32,
    /// Invocations that run in lockstep. Those that a workgroup lacks to a multiple are idle. Where subgroups vary in size, the size
    /// nearest to 64 that a device offers: a driver may choose it, and divides such workgroups into smaller subgroups without loss.
    pub lanes: u32,
    /// Rows and columns of cooperative matrices of f16 with sums in f32: 8 or 16; 0 if programs can't use them.
    pub coop_matrix_size: u32,
    /// True if dot products of bytes are fastest written out as multiplications: on llvmpipe.
    pub emulate_dot4: bool,
    /// True if `unpack2x16float` gives the number of every f16, subnormals included: [`Context::new`](crate::Context::new) tests it.
    pub unpack_f16: bool,
    /// Invocations that the device needs in flight for its full speed; 1 on a CPU.
    pub target_invocations: u32,
}

impl DeviceCaps {
    /// True if the device needs many invocations at a time.
    pub(crate) fn is_gpu(&self) -> bool {
        self.target_invocations > 1
    }

    /// True if a workgroup of `invocations` is one subgroup, large enough that sharing reads pays.
    pub(crate) fn is_subgroup(&self, invocations: u32) -> bool {
        self.uniform_subgroup_size == invocations && invocations >= 8
    }
}

impl Default for DeviceCaps {
    /// The least caps that WebGPU guarantees.
    fn default() -> Self {
        Self {
            invocations: 256,
            workgroup_bytes: 16_384,
            groups_per_dimension: 65_535,
            storage_buffers: 8,
            binding_bytes: 128 << 20,
            uniform_subgroup_size: 0,
            max_subgroup_size: 0,
            lanes: 64,
            coop_matrix_size: 0,
            emulate_dot4: false,
            unpack_f16: false,
            target_invocations: 1 << 15,
        }
    }
}

/// The resource behind a binding of a dispatch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resource {
    /// An input of the op.
    Input(usize),
    /// An output of the op.
    Output(usize),
    /// A constant of the candidate: words that are computed and uploaded once.
    Constant(usize),
    /// A scratch buffer of the candidate.
    Scratch(usize),
}

/// A storage buffer of a dispatch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    /// The `@binding` number in group 0; 0 is the uniform block of parameters.
    pub slot: u32,
    /// The bound resource.
    pub resource: Resource,
    /// True if the shader writes it.
    pub writes: bool,
    /// True if the WGSL declares it `read_write`: outputs, and inputs that share a buffer with an output.
    pub writable: bool,
    /// Bytes that the launch reads or writes of the resource, if they are a part of it. A printed plan counts them.
    pub touched: Option<u64>,
}

impl Binding {
    pub(crate) const fn read(slot: u32, resource: Resource) -> Self {
        Self { slot, resource, writes: false, writable: false, touched: None }
    }

    pub(crate) const fn write(slot: u32, resource: Resource) -> Self {
        Self { slot, resource, writes: true, writable: true, touched: None }
    }

    /// This binding of a launch that reads or writes `bytes` bytes of it.
    pub(crate) const fn touching(mut self, bytes: u64) -> Self {
        self.touched = Some(bytes);
        self
    }
}

/// One launch, with everything that a device needs for it.
#[derive(Debug, Clone)]
pub struct Dispatch {
    /// A label for people and profilers.
    pub label: String,
    /// The program.
    pub program: Program,
    /// The bytes of the uniform block.
    pub parameters: Vec<u8>,
    /// Names, offsets and sizes of the uniform block's fields in Rust. A test compares them with the shader's.
    pub fields: &'static [Field],
    /// The storage buffers.
    pub bindings: Vec<Binding>,
    /// Workgroups along x, y and z.
    pub grid: [u32; 3],
    /// Number of arithmetic operations: a product and a sum are two. It is one per element if nothing is multiplied.
    pub operations: u64,
    /// The sets of inputs whose storage the outputs may overwrite, each with a program that has no bindings for them.
    pub in_place: Vec<InPlace>,
}

/// A launch that overwrites inputs, element by element.
#[derive(Debug, Clone)]
pub struct InPlace {
    /// The inputs whose storage the outputs take over, in the order of the outputs.
    pub inputs: Vec<usize>,
    /// The program for that case.
    pub program: Program,
    /// Its workgroups along x, y and z; zeros if there is nothing to do.
    pub grid: [u32; 3],
    /// Bytes that it writes of each output, if it leaves the others in place and reads none. If there are no such numbers it reads and
    /// writes all.
    pub writes: Vec<u64>,
}

/// A field of a uniform block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its name in Rust and WGSL.
    pub name: &'static str,
    /// Its offset in bytes.
    pub offset: usize,
    /// Its size in bytes.
    pub size: usize,
}

/// Words that a candidate binds beside its inputs. Their number is known when the candidate is made; they are listed when they are
/// uploaded.
#[derive(Clone)]
pub struct Constant {
    label: String,
    count: u64,
    owners: Vec<Owner>,
    source: Source,
}

/// An object that words are packed from.
pub(crate) type Owner = Arc<dyn Any + Send + Sync>;

/// The source of a constant's words.
#[derive(Clone)]
enum Source {
    Made(Arc<dyn Fn() -> Vec<u32> + Send + Sync>),
    #[cfg(feature = "transformer")]
    Panels {
        weights: Arc<PackedWeights>,
        first: usize,
        count: usize,
    },
}

/// Words of a constant. Those of packed weights are not copied.
#[derive(Debug, Clone)]
pub struct Words {
    all: Arc<Vec<u32>>,
    range: Range<usize>,
}

impl Words {
    pub(crate) fn all(words: Arc<Vec<u32>>) -> Self {
        Self { range: 0..words.len(), all: words }
    }

    pub(crate) fn part(words: Arc<Vec<u32>>, range: Range<usize>) -> Self {
        Self { all: words, range }
    }
}

impl Deref for Words {
    type Target = [u32];

    fn deref(&self) -> &[u32] {
        &self.all[self.range.clone()]
    }
}

/// The words of constants, part after part. Those of the last weights stay until others are asked for, so that deferred weights whose
/// constants follow one another are made once, and no two of them are in memory at a time.
#[derive(Default)]
pub(crate) struct WordsInTurn(Option<(Arc<PackedWeights>, Arc<Vec<u32>>)>);

impl WordsInTurn {
    /// Calls `each` with the words of the next constant, part after part.
    ///
    /// # Errors
    /// As [`Constant::words`], or if `each` fails.
    pub(crate) fn next(&mut self, constant: &Constant, mut each: impl FnMut(&[u32]) -> Result<()>) -> Result<()> {
        match &constant.source {
            Source::Made(_) => {
                self.0.take();
                each(&constant.words()?)
            }
            #[cfg(feature = "transformer")]
            Source::Panels { weights, first, count } => {
                weights::each_panel_words(weights, *first, *count, |part, range| each(&self.of(part)?[range]))
            }
        }
    }

    #[cfg(feature = "transformer")]
    fn of(&mut self, weights: &Arc<PackedWeights>) -> Result<Arc<Vec<u32>>> {
        self.0.take_if(|(last, _)| !Arc::ptr_eq(last, weights));
        if let Some((_, words)) = &self.0 {
            return Ok(words.clone());
        }
        let words = weights.words()?;
        self.0 = Some((weights.clone(), words.clone()));
        Ok(words)
    }
}

impl Constant {
    /// A constant of `count` words, which `make` lists.
    pub(crate) fn new(label: &str, count: usize, make: impl Fn() -> Vec<u32> + Send + Sync + 'static) -> Self {
        Self { label: label.to_string(), count: count as u64, owners: Vec::new(), source: Source::Made(Arc::new(make)) }
    }

    /// A constant that is packed from an object which ops share. The same owner and an equal label must mean equal words.
    pub(crate) fn packed<T: Any + Send + Sync>(
        owner: &Arc<T>,
        label: String,
        count: usize,
        make: impl Fn() -> Vec<u32> + Send + Sync + 'static,
    ) -> Self {
        Self { label, count: count as u64, owners: vec![owner.clone()], source: Source::Made(Arc::new(make)) }
    }

    /// A constant of `count` panels of every expert of packed weights, from panel `first` on.
    #[cfg(feature = "transformer")]
    pub(crate) fn panels(weights: &Arc<PackedWeights>, first: usize, count: usize) -> Self {
        Self {
            label: format!("panels {first}..{}", first + count),
            count: weights::panels_words(weights, first, count),
            owners: weights.parts().into_iter().map(|part| part as Owner).collect(),
            source: Source::Panels { weights: weights.clone(), first, count },
        }
    }

    /// The bits of a float32 tensor.
    pub(crate) fn floats(label: &str, tensor: &Arc<Tensor>) -> Self {
        let of = tensor.clone();
        Self::new(label, tensor.tensor_type().shape().elements(), move || float_bits(&of))
    }

    /// A label of the contents, for people.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Number of words, known without listing them.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The words.
    ///
    /// # Errors
    /// If they are of deferred weights that can't be made.
    ///
    /// # Panics
    /// If they are not as many as [`count`](Self::count), which is a fault of the kernel: shaders read them unchecked.
    pub fn words(&self) -> Result<Words> {
        let words = match &self.source {
            Source::Made(make) => Words::all(Arc::new(make())),
            #[cfg(feature = "transformer")]
            Source::Panels { weights, first, count } => weights::panels(weights, *first, *count)?,
        };
        assert_eq!(words.len() as u64, self.count, "words of {}", self.label);
        Ok(words)
    }

    /// The objects that the words are packed from. Constants with the same owners and equal labels have equal words.
    pub(crate) fn owners(&self) -> &[Owner] {
        &self.owners
    }
}

/// The bits of a float32 tensor.
pub(crate) fn float_bits(tensor: &Tensor) -> Vec<u32> {
    tensor.values::<f32>().unwrap_or_default().iter().map(|value| value.to_bits()).collect()
}

impl fmt::Debug for Constant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Constant({}: {} words)", self.label, self.count)
    }
}

/// One way to run an op on a GPU.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The kernel and its sizes; unique among the candidates of an op.
    pub label: String,
    /// The launches, in order; empty if the output is empty.
    pub dispatches: Vec<Dispatch>,
    /// The constants that the launches bind.
    pub constants: Vec<Constant>,
    /// The sizes of the scratch buffers in u32 words.
    pub scratch: Vec<usize>,
}

/// Declares the Rust side of a shader's `struct Params`: u32 words and vec4s, with the field list that the reflection test
/// compares. Vec4s come first and the size is a multiple of 16, so that both languages agree on offsets.
macro_rules! parameters {
    ($(#[$attribute:meta])* $visible:vis struct $name:ident { $($field:ident: $kind:ty),+ $(,)? }) => {
        $(#[$attribute])*
        #[repr(C)]
        #[derive(Debug, Clone, Copy, Default, bytemuck::Pod, bytemuck::Zeroable)]
        $visible struct $name { $($visible $field: $kind),+ }

        impl $name {
            $visible const FIELDS: &'static [crate::kernels::Field] = &[$(crate::kernels::Field {
                name: stringify!($field),
                offset: std::mem::offset_of!($name, $field),
                size: size_of::<$kind>(),
            }),+];
        }
    };
}
pub(crate) use parameters;

impl Candidate {
    /// Adds a constant, which the result binds.
    pub(crate) fn constant(&mut self, constant: Constant) -> Resource {
        self.constants.push(constant);
        Resource::Constant(self.constants.len() - 1)
    }

    /// A candidate without launches yet.
    pub(crate) fn new(label: String) -> Self {
        Self { label, dispatches: Vec::new(), constants: Vec::new(), scratch: Vec::new() }
    }

    /// Adds a scratch buffer of so many words, which the result binds.
    pub(crate) fn scratch(&mut self, words: usize) -> Resource {
        self.scratch.push(words);
        Resource::Scratch(self.scratch.len() - 1)
    }

    /// Adds the launches of another, with its constants and scratch. `by` tells the resources of this one that its inputs and outputs
    /// are.
    pub(crate) fn append(&mut self, mut other: Self, by: impl Fn(Resource) -> Resource) {
        let (constants, scratch) = (self.constants.len(), self.scratch.len());
        rebind(&mut other.dispatches, |resource| match resource {
            Resource::Constant(i) => Resource::Constant(constants + i),
            Resource::Scratch(i) => Resource::Scratch(scratch + i),
            resource => by(resource),
        });
        self.dispatches.extend(other.dispatches);
        self.constants.extend(other.constants);
        self.scratch.extend(other.scratch);
    }

    /// This candidate, whose output becomes scratch of so many words, and then the launches of another that reads them. `by` tells the
    /// resources that the other's inputs and outputs are, `None` for those words.
    pub(crate) fn followed_by(mut self, words: usize, next: Self, by: impl Fn(Resource) -> Option<Resource>) -> Self {
        let made = self.scratch(words);
        rebind(&mut self.dispatches, |resource| match resource {
            Resource::Output(_) => made,
            resource => resource,
        });
        self.append(next, |resource| by(resource).unwrap_or(made));
        self
    }
}

impl Dispatch {
    /// A launch of `groups` workgroups, folded over x, y and z.
    pub(crate) fn new(
        program: Program,
        parameters: &impl bytemuck::NoUninit,
        fields: &'static [Field],
        bindings: impl IntoIterator<Item = Binding>,
        groups: usize,
        caps: &DeviceCaps,
    ) -> Self {
        Self {
            label: program.to_string(),
            program,
            parameters: bytemuck::bytes_of(parameters).to_vec(),
            fields,
            bindings: bindings.into_iter().collect(),
            grid: folded(groups, caps),
            operations: 0,
            in_place: Vec::new(),
        }
    }

    /// The launch with its number of operations: the product of these factors, which may exceed a `usize`.
    pub(crate) fn operations(mut self, factors: impl IntoIterator<Item = usize>) -> Self {
        self.operations = factors.into_iter().map(|factor| factor as u64).product();
        self
    }

    /// The launch, able to overwrite an input with its output. Its program then reads that input's words from the output.
    pub(crate) fn in_place(mut self, input: usize) -> Self {
        let binding = self.bindings.iter().find(|binding| binding.resource == Resource::Input(input));
        let slot = binding.expect("the launch binds the input").slot;
        let program = self.program.clone().overwriting(slot);
        self.in_place.push(InPlace { inputs: vec![input], program, grid: self.grid, writes: vec![] });
        self
    }

    /// The launch, able to change parts of the first inputs in place, one for each output, of so many bytes: by another program of
    /// `groups` workgroups, which has no binding for these inputs.
    pub(crate) fn in_place_by(mut self, program: Program, groups: usize, writes: &[u64], caps: &DeviceCaps) -> Self {
        let (inputs, grid) = ((0..writes.len()).collect(), folded(groups, caps));
        self.in_place.push(InPlace { inputs, program, grid, writes: writes.to_vec() });
        self
    }

    /// The launch for tensors in these slots that share a buffer with an output. WebGPU requires that such bindings are declared
    /// `read_write`; nothing else changes.
    #[must_use]
    pub fn sharing(mut self, slots: &[u32]) -> Self {
        for binding in self.bindings.iter_mut().filter(|binding| slots.contains(&binding.slot)) {
            binding.writable = true;
        }
        self.program = self.program.with_writable(slots.to_vec());
        self
    }

    /// The launch as a part of an op whose outputs take over these inputs. In place it does what it does for its own first input, or as
    /// always if it changes none.
    pub(crate) fn in_place_among(mut self, inputs: &[usize]) -> Self {
        let (program, grid, bytes) = match self.in_place.pop() {
            Some(own) => (own.program, own.grid, own.writes.first().copied().unwrap_or(0)),
            None => (self.program.clone(), self.grid, 0),
        };
        self.in_place = vec![InPlace { inputs: inputs.to_vec(), program, grid, writes: vec![bytes; inputs.len()] }];
        self
    }

    /// The launch, without anything to do where the outputs take over these inputs.
    pub(crate) fn absent_in_place(mut self, inputs: &[usize]) -> Self {
        let (program, writes) = (self.program.clone(), vec![0; inputs.len()]);
        self.in_place.push(InPlace { inputs: inputs.to_vec(), program, grid: [0; 3], writes });
        self
    }

    /// True if the launch can change parts of these inputs in place, without reading them.
    pub(crate) fn changes_parts(&self, inputs: &[usize]) -> bool {
        self.in_place.iter().any(|in_place| in_place.inputs == inputs && !in_place.writes.is_empty())
    }

    /// The launch whose outputs overwrite these inputs, in their order, if there is one.
    #[must_use]
    pub fn overwriting(&self, inputs: &[usize]) -> Option<Self> {
        let InPlace { program, grid, writes, .. } = self.in_place.iter().find(|i| i.inputs == inputs)?.clone();
        let mut launch = Self { program, grid, in_place: Vec::new(), ..self.clone() };
        launch.bindings.retain(|binding| !inputs.iter().any(|&input| binding.resource == Resource::Input(input)));
        for binding in &mut launch.bindings {
            if let Resource::Output(output) = binding.resource {
                binding.touched = writes.get(output).copied().or(binding.touched);
            }
        }
        Some(launch)
    }
}

/// A grid of `groups` workgroups, folded over x, y and z.
fn folded(groups: usize, caps: &DeviceCaps) -> [u32; 3] {
    let most = (caps.groups_per_dimension as usize).max(1);
    let width = groups.clamp(1, most);
    let height = groups.div_ceil(width).clamp(1, most);
    [width, height, groups.div_ceil(width * height)].map(|size| size as u32)
}
