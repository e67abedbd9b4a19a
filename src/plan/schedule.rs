//! A graph as launches for a device's limits: in which order, with which kernels, and where each tensor lies. All of it is
//! plain data; buffers and pipelines are made of it in `gpu`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::fuse::{Merged, fuse};
use super::graph::{Graph, Value};
use super::memory::{self, Interval, Rules, aligned, live_peak, pack};
use super::order::{Node, order};
use crate::error::{Error, Result, require};
use crate::kernels::{self, Candidate, Constant, Dispatch, Limits, Resource};
use crate::ops::Op;
use crate::tensor::TensorType;

/// Which buffer bytes lie in.
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

/// Bytes of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub storage: Storage,
    pub offset: u64,
    /// `None` for a constant, which is a buffer of its own.
    pub bytes: Option<u64>,
}

/// Where something begins: in which buffer, from which byte.
type Spot = (Storage, u64);

/// What stays the same for every extent of a graph: which steps run, in which order, and where their tensors lie.
#[derive(Debug)]
pub(crate) struct Frame {
    steps: Vec<Placed>,
    /// Where each stored value lies, by its index.
    places: HashMap<usize, Spot>,
    /// The sizes of the workspace's buffers.
    pub workspace: Vec<u64>,
    /// The largest sum of bytes of intermediates that are needed at once.
    pub live_peak: u64,
}

#[derive(Debug)]
struct Placed {
    merged: Merged,
    /// Where its scratch lies.
    scratch: Vec<Spot>,
    /// The input whose storage its output takes over.
    overwrites: Option<usize>,
}

/// A launch with everything it binds.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    pub dispatch: Dispatch,
    /// Where each of its bindings lies.
    pub spans: Vec<Span>,
    /// The ops it is made of.
    pub parts: Vec<&'static str>,
    /// The bytes of the input that it writes over, if it does.
    pub overwritten: Option<u64>,
}

/// The launches of a graph at one extent.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    pub launches: Vec<Launch>,
    /// What has to be uploaded.
    pub constants: Vec<(Arc<Op>, Constant)>,
}

impl Frame {
    /// Fuses, orders and places the steps of a graph for a device.
    pub(crate) fn new(graph: &Graph, limits: &Limits, rules: &Rules) -> Result<Self> {
        let mut places = external_places(graph)?;
        let is_external = |value: Value| places.contains_key(&graph.storage(value).index());
        let merged = fuse(graph, limits);
        let needs: Vec<Needs> = merged.iter().map(|merged| Needs::new(&merged.step.op, limits)).collect();
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

        // When each stored value is needed last.
        let mut last: HashMap<usize, usize> = HashMap::new();
        for (time, &node) in order.iter().enumerate() {
            last.extend(nodes[node].reads.iter().chain(&nodes[node].writes).map(|&value| (value, time)));
        }
        // Slots are values, or chains of values of which each takes over the storage of the one before.
        let mut slots: Vec<Slot> = Vec::new();
        let mut slot_of: HashMap<usize, usize> = HashMap::new();
        let mut steps = Vec::new();
        for (time, &node) in order.iter().enumerate() {
            let step = &merged[node].step;
            let reads = &nodes[node].reads;
            let overwrites = step.outputs.first().filter(|&&output| !is_external(output)).and_then(|output| {
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
                match overwrites.filter(|_| i == 0) {
                    Some(input) => {
                        let slot = slot_of[&reads[input]];
                        slots[slot].interval.last = end;
                        slot_of.insert(output.index(), slot);
                    }
                    None => {
                        slot_of.insert(output.index(), slots.len());
                        let interval = Interval { first: time, last: end, bytes: bytes[output.index()] };
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
                interval: Interval { first: time, last: time, bytes: aligned(bytes) },
                apart: false,
            }));
            let scratch: Vec<usize> = (first_scratch..slots.len()).collect();
            steps.push((merged[node].clone(), scratch, overwrites));
        }

        let live_peak = live_peak(&slots.iter().map(|slot| slot.interval).collect::<Vec<_>>());
        let (slot_places, workspace) = place(&slots, rules)?;
        let steps = steps
            .into_iter()
            .map(|(merged, scratch, overwrites)| Placed {
                merged,
                scratch: scratch.into_iter().map(|slot| slot_places[slot]).collect(),
                overwrites,
            })
            .collect();
        places.extend(slot_of.into_iter().map(|(value, slot)| (value, slot_places[slot])));
        Ok(Self { steps, places, workspace, live_peak })
    }

    /// The launches for a graph at some extent, with the kernels that `choose` takes from each op's candidates.
    pub(crate) fn schedule(
        &self,
        graph: &Graph,
        limits: &Limits,
        mut choose: impl FnMut(&Op, &[Candidate]) -> usize,
    ) -> Result<Schedule> {
        let mut schedule = Schedule::default();
        for placed in &self.steps {
            let step = &placed.merged.step;
            let types: Vec<TensorType> = step.inputs.iter().map(|v| graph.types()[v.index()].clone()).collect();
            let op = step.op.resized(&types)?;
            for slab in slabs(&op, limits)? {
                let candidates = kernels::candidates(&slab.op, limits);
                let index = choose(&slab.op, &candidates).min(candidates.len() - 1);
                let candidate = candidates.into_iter().nth(index).expect("the index is in range");
                self.launch(&mut schedule, graph, placed, &slab, candidate, limits)?;
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
        limits: &Limits,
    ) -> Result<()> {
        if candidate.dispatches.is_empty() {
            return Ok(());
        }
        let step = &placed.merged.step;
        let op = Arc::new(slab.op.clone());
        let first_constant = schedule.constants.len();
        schedule.constants.extend(candidate.constants.iter().map(|&constant| (op.clone(), constant)));
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
                let (storage, offset) = placed.scratch[i];
                Span { storage, offset, bytes: Some((candidate.scratch[i] as u64 * 4).max(16)) }
            }
        };
        for mut dispatch in candidate.dispatches {
            dispatch.label.clone_from(&candidate.label);
            let overwriting = placed.overwrites.and_then(|input| dispatch.overwriting(input));
            let overwritten = overwriting.as_ref().and(placed.overwrites).map(|input| inputs[input].device_bytes());
            let dispatch = overwriting.unwrap_or(dispatch);
            let spans: Vec<Span> = dispatch.bindings.iter().map(|binding| span(binding.resource)).collect();
            check_launch(&dispatch, &spans, limits)?;
            let bound = || dispatch.bindings.iter().zip(&spans);
            let written: HashSet<Storage> = bound().filter(|(b, _)| b.writes).map(|(_, s)| s.storage).collect();
            let writable: Vec<u32> =
                bound().filter(|(b, s)| !b.writes && written.contains(&s.storage)).map(|(b, _)| b.slot).collect();
            let dispatch = dispatch.sharing(&writable);
            schedule.launches.push(Launch { dispatch, spans, parts: placed.merged.parts.clone(), overwritten });
        }
        Ok(())
    }
}

/// What a step needs beside its tensors, whichever of its candidates runs.
struct Needs {
    /// The bytes of its scratch buffers.
    scratch: Vec<u64>,
    /// The inputs that its output may overwrite.
    overwritable: Vec<usize>,
}

impl Needs {
    fn new(op: &Op, limits: &Limits) -> Self {
        let candidates = kernels::candidates(op, limits);
        let mut needs = Self { scratch: Vec::new(), overwritable: (0..op.inputs().len()).collect() };
        for candidate in &candidates {
            let count = candidate.scratch.len().max(needs.scratch.len());
            needs.scratch.resize(count, 0);
            for (most, &words) in needs.scratch.iter_mut().zip(&candidate.scratch) {
                *most = (*most).max((words as u64 * 4).max(16));
            }
            // Every launch of the candidate must be able to, as each writes a part of the output.
            let all = |input: &usize| {
                !candidate.dispatches.is_empty()
                    && candidate.dispatches.iter().all(|d| d.in_place.iter().any(|i| i.input == *input))
            };
            needs.overwritable.retain(all);
        }
        needs
    }
}

/// Something that lies in the workspace for a while.
struct Slot {
    interval: Interval,
    /// Whether it must not share a buffer with anything.
    apart: bool,
}

/// Where slots lie, and the sizes of the buffers.
fn place(slots: &[Slot], rules: &Rules) -> Result<(Vec<Spot>, Vec<u64>)> {
    let together: Vec<usize> = (0..slots.len()).filter(|&i| !slots[i].apart || rules.single_buffer).collect();
    let intervals: Vec<Interval> = together.iter().map(|&i| slots[i].interval).collect();
    let Some(layout) = pack(&intervals, rules) else {
        if rules.single_buffer {
            let whole = pack(&intervals, &Rules { largest_buffer: u64::MAX, ..*rules }).map_or(0, |l| l.bytes());
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
    // The others take a buffer each, one after the other where their times don't meet. Slots come in the order of time.
    let mut apart: Vec<(usize, usize)> = Vec::new();
    for (i, slot) in slots.iter().enumerate().filter(|(_, slot)| slot.apart && !rules.single_buffer) {
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
        advice: "give the graph smaller batches, or ask the adapter for a device with higher limits",
    }
}

/// Where inputs and outputs lie. Each needs a place of its own.
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

/// Refuses a launch that the device can't do.
fn check_launch(dispatch: &Dispatch, spans: &[Span], limits: &Limits) -> Result<()> {
    let limit = |what: &str, needed: u64, limit: u64, unit, advice| {
        let what = format!("{} ({what})", dispatch.label);
        if needed > limit { Err(Error::Limit { what, needed, limit, unit, advice }) } else { Ok(()) }
    };
    limit(
        "its tensors and constants",
        dispatch.bindings.len() as u64,
        limits.storage_buffers.into(),
        "storage buffers per shader stage",
        "request the device with at least wgpu::Limits::default()",
    )?;
    let largest = spans.iter().filter_map(|span| span.bytes).max().unwrap_or(0);
    limit(
        "a tensor that can't be divided",
        largest,
        limits.binding_bytes,
        "bytes in one binding",
        "split the tensor, or ask the adapter for a device with a higher max_storage_buffer_binding_size",
    )?;
    limit(
        "its grid",
        dispatch.grid.into_iter().max().unwrap_or(0).into(),
        limits.groups_per_dimension.into(),
        "workgroups along a dimension",
        "split the tensor, or ask the adapter for a device with higher limits",
    )
}

/// A part of an op's rows (indices of the first dimension).
struct Slab {
    op: Op,
    /// Where the part begins in each input and output, in bytes.
    inputs: Vec<u64>,
    outputs: Vec<u64>,
}

/// An op in one piece, or in pieces whose tensors fit a binding.
fn slabs(op: &Op, limits: &Limits) -> Result<Vec<Slab>> {
    let (inputs, outputs, sums) = (op.inputs(), op.outputs(), op.kept_sums());
    let whole = || Slab { op: op.clone(), inputs: vec![0; inputs.len()], outputs: vec![0; outputs.len()] };
    let fits = |t: &TensorType| t.device_bytes() <= limits.binding_bytes;
    if inputs.iter().chain(&outputs).chain(&sums).all(fits) {
        return Ok(vec![whole()]);
    }
    // Ops that see more than one row at once stay whole, and are refused when their bindings are checked.
    let Some(by_row) = op.inputs_by_row() else { return Ok(vec![whole()]) };
    let divided =
        || inputs.iter().zip(&by_row).filter(|(_, by_row)| **by_row).map(|(t, _)| t).chain(&outputs).chain(&sums);
    let rows = outputs[0].dimensions().first().copied().unwrap_or(0);
    let bytes = |t: &TensorType, rows: usize| -> Result<u64> {
        let part = t.resized(rows)?;
        Ok(part.shape().rows() as u64 * part.format().row_words(part.shape().row_length()) as u64 * 4)
    };
    let suits = |rows: usize| -> Result<bool> {
        divided().try_fold(true, |suits, t| {
            let bytes = bytes(t, rows)?;
            Ok(suits && bytes <= limits.binding_bytes && bytes.is_multiple_of(memory::ALIGNMENT))
        })
    };
    // The most rows that fit, as a multiple of what keeps every part aligned.
    // In a line of 2-bit codes 1,024 are one alignment.
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
    let mut slabs = Vec::new();
    for start in (0..rows).step_by(step) {
        let count = step.min(rows - start);
        let begin = |(t, &by_row): (&TensorType, &bool)| if by_row { bytes(t, start) } else { Ok(0) };
        slabs.push(Slab {
            op: op.with_rows(&by_row, count)?,
            inputs: inputs.iter().zip(&by_row).map(begin).collect::<Result<_>>()?,
            outputs: outputs.iter().map(|t| bytes(t, start)).collect::<Result<_>>()?,
        });
    }
    Ok(slabs)
}
