//! A graph as launches for a device's caps: their order, their kernels, and the place of each tensor. All of it is plain data;
//! `gpu` makes buffers and pipelines from it.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use super::candidates::CandidateLists;
use super::fuse::fuse;
use super::graph::{Graph, Merged, Step, Value};
use super::memory::{self, Lifetime, MemoryRules, aligned, live_peak, pack};
use super::order::{Node, order};
use crate::error::{Error, Result, require};
use crate::kernels::{Candidate, Constant, DeviceCaps, Dispatch, Resource};
use crate::ops::Op;
use crate::tensor::{Tensor, TensorType, pack};

/// The buffer of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Storage {
    /// The caller's input.
    Input(usize),
    /// The caller's output.
    Output(usize),
    /// A buffer of the workspace: intermediates and scratch.
    Workspace(usize),
    /// A constant of the schedule.
    Constant(usize),
}

/// A range of bytes of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub storage: Storage,
    pub offset: u64,
    /// `None` for a constant, which is a buffer of its own.
    pub bytes: Option<u64>,
}

/// The begin of a range: a buffer and an offset in bytes.
type Spot = (Storage, u64);

/// The part of a schedule that all sizes of a graph's extents share: the steps, their order, and the places of their tensors.
#[derive(Debug)]
pub(crate) struct Frame {
    steps: Vec<Placed>,
    /// The constants of the graph that steps read. They come first among those of each schedule.
    constants: Vec<Constant>,
    /// The place of each stored value, by its index.
    places: HashMap<usize, Spot>,
    /// The sizes of the workspace's buffers.
    pub workspace: Vec<u64>,
    /// The largest sum of bytes of intermediates that are live at once.
    pub live_peak: u64,
}

#[derive(Debug)]
struct Placed {
    merged: Merged,
    /// The place and the bytes of each of its scratch buffers.
    scratch: Vec<(Spot, u64)>,
    /// The inputs that its first outputs overwrite, in their order.
    overwrites: Vec<usize>,
}

/// A launch with all its bindings.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    pub dispatch: Dispatch,
    /// The range of bytes of each of its bindings.
    pub spans: Vec<Span>,
    /// The names of the ops in it.
    pub parts: Vec<&'static str>,
    /// The bytes that it reads of the inputs that it overwrites, if it does.
    pub overwritten: Option<u64>,
}

/// The launches of a graph where its extents have some sizes.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    pub launches: Vec<Launch>,
    /// The constants to upload.
    pub constants: Vec<Constant>,
}

impl Frame {
    /// Fuses and orders the steps of a graph for a device, and places their tensors.
    pub(crate) fn new(graph: &Graph, lists: &CandidateLists<'_>, rules: &MemoryRules) -> Result<Self> {
        let mut places = external_places(graph)?;
        let merged = fuse(graph, lists);
        let constants = constants(graph, &merged, &mut places);
        let is_external = |value: Value| places.contains_key(&graph.storage(value).index());
        let needs: Vec<Needs> = merged.iter().map(|m| Needs::new(graph, &m.step, lists)).collect::<Result<_>>()?;
        let bytes: Vec<u64> = (0..graph.types().len())
            .map(|i| if places.contains_key(&i) { 0 } else { aligned(graph.types()[i].device_bytes()) })
            .collect();
        let storages = |values: &[Value]| values.iter().map(|&v| graph.storage(v).index()).collect::<Vec<_>>();
        let nodes: Vec<Node> = merged
            .iter()
            .zip(&needs)
            .map(|(merged, needs)| Node {
                reads: storages(&merged.step.inputs),
                writes: storages(&merged.step.outputs),
                scratch: needs.scratch.iter().map(|&bytes| aligned(bytes)).sum(),
            })
            .collect();
        let order = order(&nodes, &bytes);

        // The last time that each stored value is needed.
        let mut last: HashMap<usize, usize> = HashMap::new();
        for (time, &node) in order.iter().enumerate() {
            last.extend(nodes[node].reads.iter().chain(&nodes[node].writes).map(|&value| (value, time)));
        }
        // A slot is one value, or a chain of values, each of which overwrites the one before.
        let mut slots: Vec<Slot> = Vec::new();
        let mut slot_of: HashMap<usize, usize> = HashMap::new();
        let mut steps = Vec::new();
        for (time, &node) in order.iter().enumerate() {
            let step = &merged[node].step;
            let reads = &nodes[node].reads;
            let states: Vec<usize> =
                step.op.overwrites().iter().copied().filter(|&input| graph.is_state(step.inputs[input])).collect();
            let reused = step.outputs.first().filter(|&&output| !is_external(output)).and_then(|output| {
                needs[node].overwritable.iter().copied().find(|&input| {
                    let read = reads[input];
                    slot_of.contains_key(&read)
                        && last[&read] == time
                        && reads.iter().filter(|&&other| other == read).count() == 1
                        && bytes[read] == bytes[output.index()]
                })
            });
            for (i, &output) in step.outputs.iter().enumerate().filter(|(_, value)| !is_external(**value)) {
                let end = last[&output.index()];
                match reused.filter(|_| i == 0) {
                    Some(input) => {
                        let slot = slot_of[&reads[input]];
                        slots[slot].interval.last = end;
                        slot_of.insert(output.index(), slot);
                    }
                    None => {
                        slot_of.insert(output.index(), slots.len());
                        let interval = Lifetime { first: time, last: end, bytes: bytes[output.index()] };
                        slots.push(Slot { interval, apart: false });
                    }
                }
            }
            // A tensor that is bound twice can't lie in a buffer that the launch writes: both bindings would be writable.
            for (i, read) in reads.iter().enumerate() {
                if reads[..i].contains(read)
                    && let Some(&slot) = slot_of.get(read)
                {
                    slots[slot].apart = true;
                }
            }
            let first_scratch = slots.len();
            slots.extend(needs[node].scratch.iter().map(|&bytes| Slot {
                interval: Lifetime { first: time, last: time, bytes: aligned(bytes) },
                apart: false,
            }));
            let scratch: Vec<usize> = (first_scratch..slots.len()).collect();
            steps.push((node, scratch, reused.map_or(states, |input| vec![input])));
        }

        let live_peak = live_peak(&slots.iter().map(|slot| slot.interval).collect::<Vec<_>>());
        let (slot_places, workspace) = place(&slots, rules)?;
        let steps = steps
            .into_iter()
            .map(|(node, scratch, overwrites)| Placed {
                merged: merged[node].clone(),
                scratch: scratch.into_iter().map(|slot| slot_places[slot]).zip(needs[node].scratch.clone()).collect(),
                overwrites,
            })
            .collect();
        places.extend(slot_of.into_iter().map(|(value, slot)| (value, slot_places[slot])));
        Ok(Self { steps, constants, places, workspace, live_peak })
    }

    /// The launches of a graph at some sizes of its extents, with the kernels that `choose` selects from each op's candidates.
    pub(crate) fn schedule(
        &self,
        graph: &Graph,
        lists: &CandidateLists<'_>,
        mut choose: impl FnMut(&Op, &[Candidate]) -> usize,
    ) -> Result<Schedule> {
        let mut schedule = Schedule { constants: self.constants.clone(), ..Schedule::default() };
        for placed in &self.steps {
            let step = &placed.merged.step;
            let types: Vec<TensorType> = step.inputs.iter().map(|v| graph.types()[v.index()].clone()).collect();
            let op = match step.op.has_input_shapes(&types) {
                true => step.op.clone(),
                false => Arc::new(step.op.with_inputs(&types)?),
            };
            for slab in slabs(&op, lists.caps)? {
                let list = if Arc::ptr_eq(&slab.op, &step.op) { lists.of(&slab.op) } else { lists.once(&slab.op) };
                let candidates = placed.legal(&list)?;
                let index = choose(&slab.op, &candidates).min(candidates.len() - 1);
                self.launch(&mut schedule, graph, placed, &slab, candidates[index].clone(), lists.caps)?;
            }
        }
        Ok(schedule)
    }

    fn launch(
        &self,
        schedule: &mut Schedule,
        graph: &Graph,
        placed: &Placed,
        slab: &Slab,
        candidate: Candidate,
        caps: &DeviceCaps,
    ) -> Result<()> {
        if candidate.dispatches.is_empty() {
            return Ok(());
        }
        let step = &placed.merged.step;
        let first_constant = schedule.constants.len();
        schedule.constants.extend(candidate.constants.iter().cloned());
        let (inputs, outputs) = (slab.op.inputs(), slab.op.outputs());
        let tensor = |value: Value, tensor_type: &TensorType, start: u64| {
            let (storage, offset) = self.places[&graph.storage(value).index()];
            Span { storage, offset: offset + start, bytes: Some(tensor_type.device_bytes()) }
        };
        let span = |resource: Resource| match resource {
            Resource::Input(i) => tensor(step.inputs[i], &inputs[i], slab.inputs[i]),
            Resource::Output(i) => tensor(step.outputs[i], &outputs[i], slab.outputs[i]),
            Resource::Constant(i) => Span { storage: Storage::Constant(first_constant + i), offset: 0, bytes: None },
            Resource::Scratch(i) => {
                let ((storage, offset), _) = placed.scratch[i];
                Span { storage, offset, bytes: Some(scratch_bytes(candidate.scratch[i])) }
            }
        };
        for mut dispatch in candidate.dispatches {
            dispatch.label.clone_from(&candidate.label);
            let overwriting = dispatch.overwriting(&placed.overwrites);
            // A launch that changes parts in place reads nothing of them.
            let read = |&input: &usize| {
                if dispatch.changes_parts(&placed.overwrites) { 0 } else { inputs[input].device_bytes() }
            };
            let overwritten = overwriting.as_ref().map(|_| placed.overwrites.iter().map(read).sum());
            let dispatch = overwriting.unwrap_or(dispatch);
            if dispatch.grid.contains(&0) {
                continue;
            }
            let spans: Vec<Span> = dispatch.bindings.iter().map(|binding| span(binding.resource)).collect();
            check_launch(&dispatch, &spans, caps)?;
            let bound = || dispatch.bindings.iter().zip(&spans);
            let written: HashSet<Storage> = bound().filter(|(b, _)| b.writes).map(|(_, s)| s.storage).collect();
            let writable: Vec<u32> =
                bound().filter(|(b, s)| !b.writes && written.contains(&s.storage)).map(|(b, _)| b.slot).collect();
            let dispatch = dispatch.sharing(&writable);
            schedule.launches.push(Launch { dispatch, spans, parts: placed.merged.parts.clone(), overwritten });
        }
        candidate.constants.iter().try_for_each(|constant| check_constant(slab.op.name(), constant, caps))
    }
}

impl Placed {
    /// The candidates of an op, at any extents, that stay within the frame's places for its step: the scratch, and an output that
    /// overwrites an input.
    fn legal<'a>(&self, candidates: &'a [Candidate]) -> Result<Cow<'a, [Candidate]>> {
        let needed = |candidate: &Candidate| candidate.scratch.iter().map(|&words| scratch_bytes(words)).sum();
        let least = candidates.iter().map(needed).min().unwrap_or(0);
        let fits = |candidate: &Candidate| {
            let has_room = candidate.scratch.len() <= self.scratch.len()
                && candidate.scratch.iter().zip(&self.scratch).all(|(&words, (_, room))| scratch_bytes(words) <= *room);
            has_room && (self.overwrites.is_empty() || overwrites(candidate, &self.overwrites))
        };
        if candidates.iter().all(fits) {
            return Ok(Cow::Borrowed(candidates));
        }
        let legal: Vec<Candidate> = candidates.iter().filter(|candidate| fits(candidate)).cloned().collect();
        if legal.is_empty() {
            return Err(Error::Limit {
                what: format!("{} at these extents", self.merged.parts.join(" + ")),
                needed: least,
                limit: self.scratch.iter().map(|(_, room)| room).sum(),
                unit: "bytes of scratch in the plan of larger extents",
                advice: "plan the graph for these extents: Graph::fixed",
            });
        }
        Ok(Cow::Owned(legal))
    }
}

/// The bytes of a scratch buffer of `words` words.
fn scratch_bytes(words: usize) -> u64 {
    (words as u64 * 4).max(16)
}

/// True if the first outputs of a candidate can overwrite these inputs. Every launch must be able to, because each writes a part of an
/// output.
fn overwrites(candidate: &Candidate, inputs: &[usize]) -> bool {
    candidate.dispatches.iter().all(|dispatch| dispatch.in_place.iter().any(|in_place| in_place.inputs == inputs))
}

/// The needs of a step beside its tensors, for any of its candidates, at any sizes of the extents.
struct Needs {
    /// The bytes of its scratch buffers.
    scratch: Vec<u64>,
    /// The inputs that its first output alone may overwrite.
    overwritable: Vec<usize>,
}

impl Needs {
    /// The needs of a step at the largest extents of its graph and at smaller ones.
    fn new(graph: &Graph, step: &Step, lists: &CandidateLists<'_>) -> Result<Self> {
        let mut needs = Self::of(&step.op, lists.caps, |op| lists.of(op))?;
        let (followed, largest) = (graph.followed(&step.inputs), graph.largest());
        if followed.is_empty() {
            return Ok(needs);
        }
        // Sizes that the op can't have are skipped here; they are refused when they are asked for.
        let at = |sizes: &[usize]| -> Option<Self> {
            let types = graph.types_at(&step.inputs, sizes).ok()?;
            let op = Arc::new(step.op.with_inputs(&types).ok()?);
            Self::of(&op, lists.caps, |op| lists.once(op)).ok()
        };
        let with = |sizes: &[usize], extent: usize, size: usize| {
            let mut sizes = sizes.to_vec();
            sizes[extent] = size;
            sizes
        };
        // Sums over extents pack vectors that are not whole: their size depends on the extent modulo sixteen. Rows that are divided are
        // not summed.
        let by_row = step.op.inputs_by_row().unwrap_or_default();
        let packed = |(i, &value): (usize, &Value)| match by_row.get(i) {
            Some(true) => graph.followed_inside(value),
            _ => graph.followed(&[value]),
        };
        let packed: HashSet<usize> = step.inputs.iter().enumerate().flat_map(packed).collect();
        let mut corners = vec![largest.clone()];
        for &extent in &followed {
            let most = largest[extent];
            let mut some = vec![1, most / 2, most];
            if packed.contains(&extent) {
                some.extend([most - most % 16, most - most % 4, most - 1]);
            }
            some.sort_unstable();
            some.dedup();
            // Of more than three extents only some vary.
            let some = if corners.len() <= 36 { &some[..] } else { &[most] };
            corners = corners.iter().flat_map(|corner| some.iter().map(|&size| with(corner, extent, size))).collect();
        }
        let others: Vec<Self> =
            corners.iter().filter(|&corner| *corner != largest).filter_map(|corner| at(corner)).collect();
        let covers_all = others.iter().all(|other| needs.covers(other));
        others.iter().for_each(|other| needs.join(other));
        // Otherwise larger extents need more, unless a kernel becomes illegal at them: then all sizes are asked for.
        for &extent in &followed {
            let most = largest[extent];
            let sizes = match (covers_all, packed.contains(&extent)) {
                (true, false) => continue,
                (true, true) => most.saturating_sub(15)..most,
                (false, _) => 0..most,
            };
            for corner in corners
                .iter()
                .filter(|corner| (0..corner.len()).all(|i| i == extent || [1, largest[i]].contains(&corner[i])))
            {
                if corner[extent] == most {
                    let others = sizes.clone().filter_map(|size| at(&with(corner, extent, size)));
                    others.for_each(|other| needs.join(&other));
                }
            }
        }
        Ok(needs)
    }

    /// The needs of an op, which may have to be divided into slabs.
    fn of(op: &Arc<Op>, caps: &DeviceCaps, list: impl Fn(&Arc<Op>) -> Rc<[Candidate]>) -> Result<Self> {
        let mut needs = Self { scratch: Vec::new(), overwritable: (0..op.inputs().len()).collect() };
        let slabs = slabs(op, caps)?;
        // All slabs but the last are equal.
        let different = [slabs.first(), slabs.last().filter(|_| slabs.len() > 1)];
        let lists: Vec<_> = different.into_iter().flatten().map(|slab| list(&slab.op)).collect();
        for candidate in lists.iter().flat_map(|list| list.iter()) {
            let scratch = candidate.scratch.iter().map(|&words| scratch_bytes(words)).collect();
            let overwritable =
                needs.overwritable.iter().copied().filter(|&input| overwrites(candidate, &[input])).collect();
            needs.join(&Self { scratch, overwritable });
        }
        Ok(needs)
    }

    fn covers(&self, other: &Self) -> bool {
        let has_room = self.scratch.len() >= other.scratch.len()
            && self.scratch.iter().zip(&other.scratch).all(|(own, other)| own >= other);
        has_room && self.overwritable.iter().all(|input| other.overwritable.contains(input))
    }

    fn join(&mut self, other: &Self) {
        self.scratch.resize(self.scratch.len().max(other.scratch.len()), 0);
        self.scratch.iter_mut().zip(&other.scratch).for_each(|(most, &bytes)| *most = (*most).max(bytes));
        self.overwritable.retain(|input| other.overwritable.contains(input));
    }
}

/// A range of the workspace for some time.
struct Slot {
    interval: Lifetime,
    /// True if it must not share a buffer with another slot.
    apart: bool,
}

/// The places of slots, and the sizes of the buffers.
fn place(slots: &[Slot], rules: &MemoryRules) -> Result<(Vec<Spot>, Vec<u64>)> {
    let together: Vec<usize> = (0..slots.len()).filter(|&i| !slots[i].apart).collect();
    let intervals: Vec<Lifetime> = together.iter().map(|&i| slots[i].interval).collect();
    let Some(layout) = pack(&intervals, rules) else {
        if rules.single_buffer {
            let whole = pack(&intervals, &MemoryRules { largest_buffer: u64::MAX, ..*rules }).map_or(0, |l| l.bytes());
            return Err(too_large("a workspace in a single buffer", whole, rules.largest_buffer));
        }
        let needed = intervals.iter().map(|interval| interval.bytes).max().unwrap_or(0);
        return Err(too_large("an intermediate tensor", needed, rules.largest_buffer));
    };
    let mut buffers = layout.buffers;
    let mut places = vec![(Storage::Workspace(0), 0); slots.len()];
    for (&slot, place) in together.iter().zip(&layout.places) {
        places[slot] = (Storage::Workspace(place.buffer), place.offset);
    }
    // Each other slot has a buffer of its own, which slots share if their lifetimes don't overlap. Slots are sorted by time.
    let mut apart: Vec<(usize, usize)> = Vec::new();
    for (i, slot) in slots.iter().enumerate().filter(|(_, slot)| slot.apart) {
        let bytes = aligned(slot.interval.bytes);
        if bytes > rules.largest_buffer {
            return Err(too_large("an intermediate tensor", bytes, rules.largest_buffer));
        }
        let buffer = match apart.iter_mut().find(|(_, until)| *until < slot.interval.first) {
            Some((buffer, until)) => {
                *until = slot.interval.last;
                *buffer
            }
            None => {
                apart.push((buffers.len(), slot.interval.last));
                buffers.push(0);
                buffers.len() - 1
            }
        };
        buffers[buffer] = buffers[buffer].max(bytes);
        places[i] = (Storage::Workspace(buffer), 0);
    }
    Ok((places, buffers))
}

fn too_large(what: &str, needed: u64, limit: u64) -> Error {
    Error::Limit {
        what: what.into(),
        needed,
        limit,
        unit: "bytes",
        advice: "give the graph smaller batches, or ask the adapter for a device with higher caps",
    }
}

/// The places of inputs and outputs. Each must have a buffer of its own.
fn external_places(graph: &Graph) -> Result<HashMap<usize, Spot>> {
    graph.check_outputs()?;
    let mut places: HashMap<usize, Spot> =
        graph.inputs().iter().enumerate().map(|(i, v)| (v.index(), (Storage::Input(i), 0))).collect();
    let mut seen = HashSet::new();
    for (i, &value) in graph.outputs().iter().enumerate() {
        let storage = graph.storage(value).index();
        require!(
            seen.insert(storage) && !places.contains_key(&storage),
            "output {i}{} of the graph is also an input or another output: it would have to be in two buffers",
            graph.label(value)
        );
        places.insert(storage, (Storage::Output(i), 0));
    }
    Ok(places)
}

/// The constants of a graph that steps read, each in a buffer of its own.
fn constants(graph: &Graph, steps: &[Merged], places: &mut HashMap<usize, Spot>) -> Vec<Constant> {
    let read: HashSet<Value> = steps.iter().flat_map(|m| &m.step.inputs).map(|&value| graph.storage(value)).collect();
    let mut constants = Vec::new();
    for (value, tensor) in graph.constants().iter().filter(|(value, _)| read.contains(value)) {
        places.insert(value.index(), (Storage::Constant(constants.len()), 0));
        let (of, words) = (tensor.clone(), tensor.tensor_type().device_bytes() / 4);
        constants.push(Constant::packed(tensor, "constant".into(), words as usize, move || padded_words(&of)));
    }
    constants
}

/// The words of a tensor, at least as many as the smallest binding has.
fn padded_words(tensor: &Tensor) -> Vec<u32> {
    let mut words = pack::words(tensor);
    words.resize(words.len().max(LEAST_BINDING as usize / 4), 0);
    words
}

/// Refuses a launch that exceeds the device's limits.
fn check_launch(dispatch: &Dispatch, spans: &[Span], caps: &DeviceCaps) -> Result<()> {
    let limit = |what: &str, needed: u64, limit: u64, unit, advice| {
        let what = format!("{} ({what})", dispatch.label);
        if needed > limit { Err(Error::Limit { what, needed, limit, unit, advice }) } else { Ok(()) }
    };
    limit(
        "its tensors and constants",
        dispatch.bindings.len() as u64,
        caps.storage_buffers.into(),
        "storage buffers per shader stage",
        "request the device with at least wgpu::Limits::default()",
    )?;
    let largest = spans.iter().filter_map(|span| span.bytes).max().unwrap_or(0);
    limit(
        "a tensor that can't be divided",
        largest,
        caps.binding_bytes,
        "bytes in one binding",
        "split the tensor, or ask the adapter for a device with a higher max_storage_buffer_binding_size",
    )?;
    limit(
        "its grid",
        dispatch.grid.into_iter().max().unwrap_or(0).into(),
        caps.groups_per_dimension.into(),
        "workgroups along a dimension",
        "split the tensor, or ask the adapter for a device with higher caps",
    )
}

/// Refuses a constant that exceeds a binding, before it is made.
fn check_constant(name: &str, constant: &Constant, caps: &DeviceCaps) -> Result<()> {
    let (needed, limit) = (constant.count().saturating_mul(4), caps.binding_bytes);
    if needed <= limit {
        return Ok(());
    }
    Err(Error::Limit {
        what: format!("{name}: {}, which this kernel can't divide,", constant.label()),
        needed,
        limit,
        unit: "bytes in one binding",
        advice: "choose another kernel, or ask the adapter for a device with a higher max_storage_buffer_binding_size",
    })
}

/// A part of an op's rows (indices of the first dimension).
struct Slab {
    op: Arc<Op>,
    /// The begin of the part in each input and output, in bytes.
    inputs: Vec<u64>,
    outputs: Vec<u64>,
}

/// Bytes of the smallest binding: [`TensorType::device_bytes`] of any tensor has as many.
const LEAST_BINDING: u64 = 16;

/// The op as one slab, or as slabs whose tensors fit a binding.
fn slabs(op: &Arc<Op>, caps: &DeviceCaps) -> Result<Vec<Slab>> {
    let (inputs, outputs, sums) = (op.inputs(), op.outputs(), op.kept_sums());
    let whole = || Slab { op: op.clone(), inputs: vec![0; inputs.len()], outputs: vec![0; outputs.len()] };
    let fits = |t: &TensorType| t.device_bytes() <= caps.binding_bytes;
    if inputs.iter().chain(&outputs).chain(&sums).all(fits) {
        return Ok(vec![whole()]);
    }
    // An op that reads more than one row at once stays whole. It is refused when its bindings are checked.
    let Some(by_row) = op.inputs_by_row() else { return Ok(vec![whole()]) };
    let divided =
        || inputs.iter().zip(&by_row).filter(|(_, by_row)| **by_row).map(|(t, _)| t).chain(&outputs).chain(&sums);
    let rows = outputs[0].dims().first().copied().unwrap_or(0);
    let bytes = |t: &TensorType, rows: usize| -> Result<u64> {
        let part = t.with_extent(rows)?;
        Ok(part.shape().rows() as u64 * part.dtype().row_words(part.shape().row_length()) as u64 * 4)
    };
    let suits = |rows: usize| -> Result<bool> {
        divided().try_fold(true, |suits, t| {
            let bytes = bytes(t, rows)?;
            Ok(suits && bytes <= caps.binding_bytes && bytes.is_multiple_of(memory::ALIGNMENT))
        })
    };
    // The most rows that fit, as a multiple of `unit` rows, which keep every slab aligned. 1,024 2-bit codes in a line are one
    // alignment.
    let mut unit = 1usize << rows.max(1).ilog2().min(10);
    while unit > 1 && !suits(unit)? {
        unit /= 2;
    }
    if unit >= rows || !suits(unit)? {
        return Ok(vec![whole()]);
    }
    let mut step = unit;
    while step * 2 < rows && suits(step * 2)? {
        step *= 2;
    }
    let mut starts: Vec<usize> = (0..rows).step_by(step).collect();
    let tail = rows - starts[starts.len() - 1];
    // A binding has the bytes of a vec4 at least: the last slab takes as few rows of the one before as keep it aligned.
    let is_short = divided().try_fold(false, |short, t| Ok::<_, Error>(short || bytes(t, tail)? < LEAST_BINDING))?;
    let mut least = 1;
    while is_short && least < step && !suits(least)? {
        least *= 2;
    }
    if let (true, Some(last)) = (is_short && least < step, starts.last_mut()) {
        *last -= least;
    }
    let ends = starts.iter().skip(1).copied().chain([rows]);
    let mut slabs = Vec::new();
    for (&start, end) in starts.iter().zip(ends) {
        let count = end - start;
        let begin = |(t, &by_row): (&TensorType, &bool)| if by_row { bytes(t, start) } else { Ok(0) };
        slabs.push(Slab {
            op: Arc::new(op.with_rows(&by_row, count)?),
            inputs: inputs.iter().zip(&by_row).map(begin).collect::<Result<_>>()?,
            outputs: outputs.iter().map(|t| bytes(t, start)).collect::<Result<_>>()?,
        });
    }
    Ok(slabs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels;
    use crate::numeric::{BlockFormat, BlockRounding, DType};
    use crate::ops::{
        Add, Append, AppendQuantized, ArgMax, Arithmetic, Attention, Bins, BlockDequantize, BlockQuantize, Cast,
        ChannelGate, Concat, Conv, ConvPass, CrossEntropyGradient, Dequantize, DynamicGranularity, DynamicQuantize,
        Embedding, FakeQuantize, FakeQuantizeGradient, FakeRequantize, FakeRequantizeOutput, FloatBinary, FloatConv,
        FloatMatmul, FloatPool, FloatUnary, Function, Fused, Gather, Grid, GridGradient, JointLinear, LayerNorm,
        Linear, LinearConv, Matmul, Multiply, ObserveHistogram, ObserveRange, Operand, OptimizerRule, OptimizerStep,
        Output, Pad, PadMode, Padding, Pool, Quantize, QuantizeWeights, QuantizedSoftmax, RangeUpdate, Reduce,
        Reduction, RequantParams, Requantization, Requantize, Reshape, Resize, Rotary, RotaryAppend, RotaryPairs,
        Select, Slice, Softmax, StepFromRange, Sum, Table, TopK, Transpose, Unfold, Windows,
    };
    use crate::tensor::{Granularity, Quantization, Tensor};
    use crate::weights::{Codes, PackedWeights, Quantizer, ScaleFormat, WeightFormat};

    /// The first dimension of every op below. It exceeds sixteen, so that smaller extents have every residue modulo sixteen.
    const EXTENT: usize = 40;

    fn real(dims: &[usize]) -> Result<TensorType> {
        TensorType::new(DType::Float32, dims)
    }

    fn codes(dtype: DType, dims: &[usize]) -> Result<TensorType> {
        TensorType::new(dtype, dims)?.quantized(Quantization::tensor(0.5, 0))
    }

    fn constant(dims: &[usize]) -> Result<Tensor> {
        Tensor::new(dims, vec![1i8; dims.iter().product()])?.quantized(Quantization::tensor(0.5, 0))
    }

    fn gate(dims: &[usize]) -> Result<ChannelGate> {
        let pool = Pool::global_average(codes(DType::Int8, dims)?).build()?;
        let pixel = Op::from(pool.clone()).outputs()[0].clone();
        let layer = Conv::new(pixel, constant(&[5, 1, 1, 4])?).output(Requantization::new(DType::Int8, 0.5, 0)?);
        ChannelGate::new(pool, vec![layer.build()?])
    }

    fn grouped(matrices: usize, n: usize, k: usize) -> Result<PackedWeights> {
        PackedWeights::build(
            WeightFormat::new(Codes::INT4, 16, ScaleFormat::F16),
            [matrices, n, k],
            |_, _, _, _| Ok(()),
        )
    }

    /// Every op, with a first dimension that can follow an extent if it can have one.
    fn ops() -> Result<Vec<Op>> {
        let e = EXTENT;
        let stage = || Requantization::new(DType::Int8, 0.5, 0);
        let int8 = |dims: &[usize]| codes(DType::Int8, dims);
        let image = || int8(&[e, 6, 5, 4]);
        let cached = TensorType::new(DType::Int8, [300, 2, 8])?.with_dynamic_scales();
        let block = BlockFormat::mx(DType::Float8E4M3Fn, BlockRounding::Floor)?;
        let step = FakeQuantize::new(TensorType::float32([e, 4])?, Grid::Step, Granularity::Tensor, (0, 15)).build()?;
        let quantizer = Quantizer::new(WeightFormat::new(Codes::INT4, 16, ScaleFormat::F16))?;
        let ones = |n: usize| Tensor::new([n], vec![1.0f32; n]);
        let layer = Linear::new(real(&[e, 40])?, grouped(1, 64, 40)?).build()?;
        let joint = JointLinear::new(vec![layer.clone(), layer])?;
        let (cache, rows, table) = (real(&[300, 2, 8])?, real(&[e, 2, 8])?, real(&[300, 4])?);
        let queries = Rotary::new(real(&[e, 4, 8])?, table.clone(), RotaryPairs::Halves)?;
        let values = Append::new(cache, rows)?;
        let keys = values.clone().rotated(table, RotaryPairs::Halves)?;
        let rotary_append = RotaryAppend::new(queries, keys, values)?;
        let by_group =
            DynamicQuantize::new(real(&[e, 5])?, DType::Int8, DynamicGranularity::Group(4)).symmetric().build()?;
        let mut ops: Vec<Op> = vec![
            Matmul::new(int8(&[e, 20])?, constant(&[20, 6])?).output(stage()?).build()?.into(),
            Matmul::new(int8(&[e, 20])?, int8(&[20, 6])?).build()?.into(),
            Matmul::new(int8(&[e, 3, 20])?, int8(&[e, 20, 6])?).build()?.into(),
            Matmul::new(int8(&[e, 3, 20])?, int8(&[6, 20])?).transposed().build()?.into(),
            Matmul::new(codes(DType::Int16, &[e, 20])?, constant(&[20, 6])?).output(Output::real()).build()?.into(),
            Matmul::new(TensorType::new(DType::Uint8, [e, 20])?, constant(&[20, 6])?)
                .dynamic_lhs(DynamicGranularity::Row)
                .output(Output::real())
                .build()?
                .into(),
            Conv::new(image()?, constant(&[5, 3, 3, 4])?).padding(Padding::SameUpper).output(stage()?).build()?.into(),
            Conv::new(image()?, constant(&[4, 3, 3, 1])?).groups(4).build()?.into(),
            Conv::new(image()?, constant(&[5, 3, 2, 4])?).transposed().stride([2, 3]).build()?.into(),
            Conv::new(codes(DType::Int16, &[e, 6, 5, 4])?, constant(&[5, 1, 1, 4])?).build()?.into(),
            Requantize::new(TensorType::new(DType::Int32, [e, 5])?.quantized(Quantization::tensor(0.5, 0))?, stage()?)?
                .into(),
            Requantize::new(int8(&[e, 5])?, stage()?)?.into(),
            Quantize::new(real(&[e, 5])?, int8(&[e, 5])?).build()?.into(),
            Dequantize::new(int8(&[e, 5])?).build()?.into(),
            Add::new(int8(&[e, 5])?, int8(&[e, 5])?, stage()?).build()?.into(),
            Add::new(int8(&[e, 5])?, int8(&[1, 5])?, stage()?).build()?.into(),
            Multiply::new(int8(&[e, 5])?, int8(&[e, 1])?, stage()?).build()?.into(),
            Pool::max(image()?, [2, 2]).build()?.into(),
            Pool::global_average(int8(&[e, 30, 30, 4])?).build()?.into(),
            gate(&[e, 6, 5, 4])?.into(),
            gate(&[e, 30, 30, 4])?.into(),
            Table::sigmoid(int8(&[e, 5])?, stage()?)?.into(),
            Cast::new(int8(&[e, 5])?, DType::Float16).build()?.into(),
            Concat::new([int8(&[e, 5])?, int8(&[e, 3])?], 1).output(stage()?).build()?.into(),
            Concat::new([int8(&[e, 5])?, int8(&[e, 5])?], 0).output(stage()?).build()?.into(),
            Concat::new([real(&[e, 5])?, real(&[e, 3])?], 1).build()?.into(),
            Linear::new(real(&[e, 40])?, grouped(1, 6, 40)?).build()?.into(),
            Linear::new(TensorType::new(DType::Int8, [e, 40])?, grouped(2, 6, 40)?)
                .experts(1)
                .dynamic_lhs(DynamicGranularity::Row)
                .bias(ones(6)?)
                .build()?
                .into(),
            joint.clone().into(),
            joint.gated(Function::Silu)?.into(),
            Embedding::new(TensorType::int32([e])?, grouped(1, 6, 40)?).build()?.into(),
            rotary_append.into(),
            QuantizeWeights::new(TensorType::float32([e, 40])?, quantizer)?.into(),
            StepFromRange::new(TensorType::int32([e, 6])?, (0, 15))?.into(),
            FakeQuantizeGradient::new(step.clone())?.into(),
            GridGradient::new(step.clone(), 1.0)?.into(),
            step.into(),
            RequantParams::new(TensorType::float32([e])?)?.into(),
            CrossEntropyGradient::new(TensorType::float32([e, 4])?)?.into(),
            OptimizerStep::new(TensorType::float32([e, 3])?, OptimizerRule::adam()).build()?.into(),
            Unfold::new(image()?, [3, 3]).build()?.into(),
            LinearConv::new(real(&[e, 6, 5, 4])?, grouped(2, 3, 18)?, [3, 3]).output(DType::Float16).build()?.into(),
            LinearConv::new(TensorType::new(DType::Uint8, [e, 6, 5, 4])?, grouped(1, 3, 36)?, [3, 3])
                .dynamic_image()
                .build()?
                .into(),
            BlockQuantize::new(real(&[e, 64])?, block)?.into(),
            BlockDequantize::new(TensorType::new(block.element(), [e, 64])?, block).build()?.into(),
            FloatMatmul::new(real(&[e, 6])?, real(&[6, 8])?).build()?.into(),
            FloatMatmul::new(real(&[e, 9])?, real(&[e, 36])?).transposed_lhs().build()?.into(),
            FloatMatmul::new(real(&[e, 9])?, TensorType::new(DType::Float16, [e, 7])?).transposed_lhs().build()?.into(),
            FloatMatmul::new(real(&[e, 9, 3])?, real(&[e, 5, 9])?).transposed_lhs().transposed_rhs().build()?.into(),
            FloatMatmul::new(real(&[e, 6])?, Operand::from(Tensor::new([8, 6], vec![1.0f32; 48])?))
                .transposed_rhs()
                .bias(ones(8)?)
                .build()?
                .into(),
            FloatUnary::new(TensorType::float32([e, 5])?, Function::Gelu)?.into(),
            FloatBinary::new(real(&[e, 5])?, real(&[e, 5])?, Arithmetic::Add)?.into(),
            FloatBinary::new(real(&[e, 5])?, real(&[5])?, Arithmetic::Multiply)?.into(),
            Reduce::new(real(&[e, 5, 6])?, [1], Reduction::Sum)?.into(),
            Reduce::new(real(&[e, 5, 6])?, [0, 2], Reduction::Max)?.into(),
            FloatPool::average(real(&[e, 6, 5, 4])?, [2, 2]).build()?.into(),
            Gather::new(int8(&[e, 5])?, 1, TensorType::int32([3])?)?.into(),
            Gather::new(int8(&[9, 5])?, 0, TensorType::int32([e, 3])?)?.into(),
            Select::new(int8(&[e, 1])?, real(&[e, 5])?, real(&[5])?)?.into(),
            Softmax::new(TensorType::float32([e, 700])?).build()?.into(),
            QuantizedSoftmax::new(int8(&[e, 70])?, stage()?)?.into(),
            ArgMax::new(int8(&[e, 70])?)?.into(),
            TopK::new(int8(&[e, 70])?, 3).build()?.into(),
            TopK::new(int8(&[e, 3000])?, 3).build()?.into(),
            Append::new(int8(&[800, 5])?, int8(&[e, 5])?)?.into(),
            Rotary::new(real(&[e, 4, 8])?, real(&[9, 8])?, RotaryPairs::Halves)?.into(),
            Attention::new(real(&[e, 4, 8])?, real(&[300, 2, 8])?, real(&[300, 2, 8])?).build()?.into(),
            Attention::new(real(&[e, 4, 8])?, cached.clone(), cached.clone()).build()?.into(),
            Attention::new(real(&[e, 4, 8])?, cached.clone(), cached.clone()).mask(real(&[e, 300])?).build()?.into(),
            AppendQuantized::new(cached.clone(), real(&[e, 2, 8])?, DynamicGranularity::Row)?.into(),
            AppendQuantized::new(cached, real(&[e, 2, 8])?, DynamicGranularity::Group(8))?
                .rotated(real(&[9, 8])?, RotaryPairs::Halves)?
                .into(),
            LayerNorm::new(TensorType::float32([e, 5])?, ones(5)?, 1e-5).build()?.into(),
            Fused::new(LayerNorm::new(real(&[e, 5])?, ones(5)?, 1e-5).build()?.into(), by_group.into(), 0)?.into(),
            Transpose::new(int8(&[e, 4, 5])?, [0, 2, 1])?.into(),
            Slice::new(int8(&[e, 5])?, [0, 4], [e, 3]).steps([1, -2]).build()?.into(),
            Pad::new(int8(&[e, 5])?, [0, 1], [0, 2], PadMode::Edge)?.into(),
            Reshape::new(int8(&[e, 4, 5])?, [e, 20])?.into(),
            Resize::nearest(image()?, [7, 9]).build()?.into(),
            Resize::linear(image()?, [7, 9]).build()?.into(),
        ];
        for granularity in [DynamicGranularity::Tensor, DynamicGranularity::Row, DynamicGranularity::Group(32)] {
            ops.push(DynamicQuantize::new(TensorType::float32([e, 40])?, DType::Int8, granularity).build()?.into());
        }
        for granularity in [Granularity::Tensor, Granularity::Axis(1)] {
            ops.push(ObserveRange::new(TensorType::float32([e, 300])?, granularity, RangeUpdate::MinMax)?.into());
            ops.push(ObserveHistogram::new(TensorType::float32([e, 300])?, granularity, Bins::new(16)?)?.into());
            ops.push(Sum::new(TensorType::float32([e, 300])?, granularity)?.into());
        }
        for pass in [ConvPass::Forward, ConvPass::ImageGradient, ConvPass::WeightGradient] {
            ops.push(
                FloatConv::new(
                    TensorType::float32([e, 6, 6, 3])?,
                    TensorType::float32([4, 3, 3, 3])?,
                    Windows::default(),
                )
                .pass(pass)
                .build()?
                .into(),
            );
        }
        for makes in [
            FakeRequantizeOutput::Levels,
            FakeRequantizeOutput::Real,
            FakeRequantizeOutput::Gradient,
            FakeRequantizeOutput::StepGradient,
        ] {
            ops.push(FakeRequantize::new(TensorType::float32([e, 4])?, makes, (0, 15)).build()?.into());
        }
        let transpose = Transpose::new(int8(&[e, 4, 5])?, [0, 2, 1])?;
        ops.push(Fused::new(transpose.into(), Dequantize::new(int8(&[e, 5, 4])?).build()?.into(), 0)?.into());
        let (product, sum) = (Matmul::new(int8(&[e, 20])?, constant(&[20, 6])?), int8(&[e, 6])?);
        let sum = Add::new(sum.clone(), sum, stage()?).build()?;
        ops.push(Fused::new(product.output(stage()?).build()?.into(), sum.into(), 0)?.into());
        Ok(ops)
    }

    /// The op over inputs of which some have a dynamic first dimension, if there can be such a graph. Another step reads its first output, so that it
    /// lies in the workspace and may overwrite an input that does.
    fn graph(op: &Op, dynamic: usize) -> Result<Graph> {
        let mut graph = Graph::new();
        let mut extent = None;
        let mut inputs = Vec::new();
        for (i, tensor_type) in op.inputs().into_iter().enumerate() {
            let is_real = tensor_type.dtype() == DType::Float32;
            let input = match dynamic >> i & 1 {
                1 => {
                    let most = tensor_type.dims().first().copied().unwrap_or(0);
                    let rows = extent.map_or_else(|| graph.extent("rows", most), Ok)?;
                    extent = Some(rows);
                    graph.dynamic_input(tensor_type.clone(), [(0, rows)])?
                }
                _ => graph.input(tensor_type.clone()),
            };
            inputs.push(match is_real && tensor_type.shape().rank() > 0 {
                true => graph.add(FloatUnary::new(tensor_type.clone(), Function::Relu)?, &[input])?,
                false => input,
            });
        }
        for output in graph.add_all(op.clone(), &inputs)? {
            let made = graph.tensor_type(output)?.clone();
            let output = match made.dtype() {
                DType::Float32 => graph.add(FloatUnary::new(made.clone(), Function::Relu)?, &[output])?,
                _ => output,
            };
            graph.output(output);
        }
        Ok(graph)
    }

    /// Schedules a graph at some extents, each with another of the kernels. All must stay within the places of its frame.
    fn check(name: &str, graph: &Graph, caps: &DeviceCaps, extents: impl Iterator<Item = usize>) -> Result<usize> {
        let lists = CandidateLists::new(caps);
        let frame = Frame::new(graph, &lists, &MemoryRules { largest_buffer: u64::MAX, single_buffer: false })?;
        let (mut schedules, mut taken) = (0, false);
        for extent in extents {
            let Ok(at) = graph.at(&vec![extent; graph.largest().len()]) else {
                assert!(!taken, "{name}: fewer than {extent} are taken");
                continue;
            };
            taken = true;
            let schedule = frame.schedule(&at, &lists, |op, candidates| {
                assert_eq!(
                    candidates.len(),
                    kernels::candidates(op, caps).len(),
                    "{name} at {extent}: kernels are left out"
                );
                extent % candidates.len()
            });
            let schedule = match schedule {
                Ok(schedule) => schedule,
                Err(Error::Limit { unit, .. }) if !unit.contains("scratch") => continue,
                Err(error) => panic!("{name} at {extent}: {error}"),
            };
            for span in schedule.launches.iter().flat_map(|launch| &launch.spans) {
                if let (Storage::Workspace(i), Some(bytes)) = (span.storage, span.bytes) {
                    let room = frame.workspace[i];
                    assert!(span.offset + bytes <= room, "{name} at {extent}: {span:?} of {room} bytes");
                }
            }
            schedules += 1;
        }
        Ok(schedules)
    }

    #[test]
    fn every_smaller_extent_keeps_within_the_frame() -> Result<()> {
        let four = DeviceCaps { storage_buffers: 4, invocations: 64, target_invocations: 1, ..DeviceCaps::default() };
        let small = DeviceCaps { binding_bytes: 4096, ..four };
        let (mut dynamic, mut seen) = (HashSet::new(), HashSet::new());
        for op in ops()? {
            seen.insert(op.variant());
            for mask in 0..1usize << op.inputs().len() {
                let Ok(graph) = graph(&op, mask) else { continue };
                let mut schedules = 0;
                for caps in [DeviceCaps::default(), four, small] {
                    let name = format!("{} with inputs {mask:b}, {} bytes a binding", op.name(), caps.binding_bytes);
                    let extents = 0..graph.largest().first().map_or(1, |most| most + 1);
                    schedules += match check(&name, &graph, &caps, extents) {
                        Err(Error::Limit { .. }) => 0,
                        other => other?,
                    };
                }
                if mask > 0 && schedules > EXTENT {
                    dynamic.insert(op.variant());
                }
            }
        }
        let fixed: Vec<_> = seen.difference(&dynamic).collect();
        assert!(fixed.len() <= 4, "ops that were at one extent only: {fixed:?}");
        let missing: Vec<_> = Op::VARIANTS.iter().filter(|&op| !seen.contains(op)).collect();
        assert!(missing.is_empty(), "ops that are not tried: {missing:?}");
        Ok(())
    }

    /// With six images there are so many results that windows are not divided. With one image they are divided, which takes
    /// scratch.
    #[test]
    fn fewer_rows_may_need_what_more_rows_do_not() -> Result<()> {
        let caps = DeviceCaps { binding_bytes: 16 << 20, ..DeviceCaps::default() };
        let pool: Op = Pool::max(codes(DType::Int8, &[6, 400, 400, 1])?, [200, 200]).build()?.into();
        let scratch = |op: &Op| kernels::candidates(op, &caps).iter().map(|c| c.scratch.len()).max();
        assert_eq!([scratch(&pool), scratch(&pool.with_rows(&[true], 1)?)], [Some(0), Some(1)]);
        check("pool", &graph(&pool, 1)?, &caps, 0..7).map(drop)
    }
}
