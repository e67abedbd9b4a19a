//! Candidates of `ops::TopK`: `shaders/elementwise/top_k.wgsl` for rows, or for parts of rows and then for the best of all parts;
//! or for blocks that `top_k_merge.wgsl` merges by twos. The meaning is `reference/top_k.rs`.

use super::arg_max::ordered;
use crate::kernels::launch::program::{self, Part, Program};
use crate::kernels::{Binding, Candidate, DeviceCaps, Dispatch, Kernels, Resource, epilogue, line_group, parameters};
use crate::ops::{PostOp, TopK};

parameters! {
    /// `shaders/elementwise/top_k_params.wgsl`.
    struct Params {
        units: u32,
        words: u32,
        n: u32,
        input_words: u32,
        k: u32,
        flip: u32,
        parts: u32,
        part_length: u32,
        size: u32,
        row_pairs: u32,
        part_stride: u32,
        rank_stride: u32,
        runs: u32,
        length: u32,
        unused_0: u32,
        unused_1: u32,
    }
}

/// Invocations of a workgroup that sorts, at most.
const GROUP: u32 = 256;

/// Pairs of an invocation in workgroup memory.
const PAIRS: usize = 4;

/// Iterations of an invocation, at most: drivers end longer loops.
const TURNS: usize = 32_768;

/// Parts of a row in the second candidate of a device that is best with one.
const FEW_PARTS: usize = 16;

impl Kernels for TopK {
    fn candidates(&self, _: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        let launches = Launches::new(self, caps);
        let Launches { rows, n, k, block, .. } = launches;
        if rows == 0 {
            return vec![candidate("top k of nothing".into())];
        }
        let mut candidates = Vec::new();
        if n <= block || k <= block / 2 {
            candidates.extend(launches.parts().into_iter().map(|parts| launches.in_parts(parts)));
        }
        if n > block {
            candidates.push(launches.merged());
        }
        candidates
    }
}

fn candidate(label: String) -> Candidate {
    Candidate::new(label)
}

/// The place of the pairs or elements that a launch reads or makes.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// The input, or the outputs.
    Op,
    Scratch(Resource),
}

/// The launches of a candidate.
struct Launches<'a> {
    op: &'a TopK,
    caps: &'a DeviceCaps,
    rows: usize,
    n: usize,
    k: usize,
    /// Invocations of a workgroup that sorts, and the pairs that it holds.
    group: usize,
    block: usize,
}

impl<'a> Launches<'a> {
    fn new(op: &'a TopK, caps: &'a DeviceCaps) -> Self {
        let shape = op.input().shape();
        // The pairs, and two counters.
        let fitting = caps.workgroup_bytes.saturating_sub(16) / (8 * PAIRS as u32);
        let group = 1usize << GROUP.min(caps.invocations).min(fitting).max(1).ilog2();
        Self { op, caps, rows: shape.rows(), n: shape.row_length(), k: op.k(), group, block: PAIRS * group }
    }

    /// Numbers of parts of a row, best guess first. A part and the best of all parts take equally long if there are √(n / k).
    fn parts(&self) -> Vec<usize> {
        if self.n <= self.block {
            return vec![1];
        }
        let least = self.n.div_ceil(self.group * TURNS);
        let most = (4 * self.caps.target_invocations as usize / self.group.saturating_mul(self.rows)).max(1);
        let balanced = (self.n / self.k).isqrt();
        let guess = balanced.min(most).max(least);
        let other = if guess == 1 { balanced.min(FEW_PARTS) } else { least };
        let mut parts = vec![guess, other];
        parts.dedup();
        parts
    }

    /// The best elements of each part, then the best of these.
    fn in_parts(&self, parts: usize) -> Candidate {
        let &Self { rows, n, k, block, .. } = self;
        let part_length = n.div_ceil(parts);
        let parts = n.div_ceil(part_length);
        let mut candidate = candidate(match parts {
            1 => "top k of rows".into(),
            _ => format!("top k of {parts} parts of rows"),
        });
        let mut params = Params {
            units: (rows * parts) as u32,
            words: k as u32,
            n: n as u32,
            parts: parts as u32,
            part_length: part_length as u32,
            size: part_length.next_power_of_two().min(block) as u32,
            row_pairs: (k * parts) as u32,
            part_stride: 1,
            rank_stride: parts as u32,
            ..self.params()
        };
        let mut source = Place::Op;
        if parts > 1 {
            source = Place::Scratch(candidate.scratch(pair_words([rows, k, parts])));
            candidate.dispatches.push(self.sort(params, Place::Op, source).operations([rows, n]));
            let n = k * parts;
            let size = n.next_power_of_two().min(block) as u32;
            params = Params { n: n as u32, part_length: n as u32, size, ..params };
        }
        let params = Params { units: rows as u32, words: self.output_words(), parts: 1, ..params };
        candidate.dispatches.push(self.sort(params, source, Place::Op).operations([rows, params.n as usize]));
        candidate
    }

    /// The sorted runs of all blocks, merged by twos.
    fn merged(&self) -> Candidate {
        let &Self { rows, n, k, block, .. } = self;
        let mut candidate = candidate("top k by merging".into());
        // Runs of a row and their lengths, after each launch.
        let mut levels = vec![[n.div_ceil(block), k.min(block)]];
        while let Some(&[runs, length]) = levels.last()
            && runs > 2
        {
            levels.push([runs.div_ceil(2), k.min(2 * length)]);
        }
        let pairs = |first: usize| levels.iter().skip(first).step_by(2).map(|[runs, length]| runs * length).max();
        let scratch: Vec<Resource> = [pairs(0), pairs(1)]
            .into_iter()
            .flatten()
            .map(|pairs| candidate.scratch(pair_words([rows, pairs, 1])))
            .collect();
        let kept = |[runs, length]: [usize; 2]| Params {
            units: (rows * runs) as u32,
            words: length as u32,
            parts: runs as u32,
            row_pairs: (runs * length) as u32,
            part_stride: length as u32,
            rank_stride: 1,
            ..self.params()
        };
        let params = Params { part_length: block as u32, size: block as u32, ..kept(levels[0]) };
        candidate.dispatches.push(self.sort(params, Place::Op, Place::Scratch(scratch[0])).operations([rows, n]));
        for (level, &[runs, length]) in levels.iter().enumerate() {
            let (params, result) = match levels.get(level + 1) {
                Some(&next) => (kept(next), Place::Scratch(scratch[(level + 1) % 2])),
                None => {
                    (Params { units: rows as u32, words: self.output_words(), parts: 1, ..self.params() }, Place::Op)
                }
            };
            let params = Params { runs: runs as u32, length: length as u32, ..params };
            let launch = self.merge(params, scratch[level % 2], result);
            candidate.dispatches.push(launch.operations([params.units as usize, params.words as usize]));
        }
        candidate
    }

    /// The parameters that all launches share.
    fn params(&self) -> Params {
        Params {
            n: self.n as u32,
            input_words: epilogue::row_words(self.op.input()),
            k: self.k as u32,
            flip: if self.op.is_least() { u32::MAX } else { 0 },
            ..Params::default()
        }
    }

    fn output_words(&self) -> u32 {
        epilogue::row_words(self.op.values())
    }

    /// A launch of `top_k.wgsl`. If its source is pairs, its result is the outputs.
    fn sort(&self, params: Params, source: Place, result: Place) -> Dispatch {
        let dtype = self.op.input().dtype();
        let program = Program::new(&program::TOP_K);
        let (part, mut bindings) = self.result(result);
        bindings.push(Binding::read(1, Resource::Input(0)));
        let program = match source {
            Place::Op => ordered(program.with(&program::TOP_K_ELEMENTS), dtype),
            Place::Scratch(pairs) => {
                bindings.push(Binding::read(2, pairs));
                program.with(&program::TOP_K_PAIRS).constant("INPUT_BITS", dtype.bits() as u32)
            }
        };
        let program = program.with(part).constant("BLOCK", self.block as u32).constant("GROUP_X", self.group as u32);
        let groups = (params.units as usize).div_ceil(self.block / params.size as usize);
        Dispatch::new(program, &params, Params::FIELDS, bindings, groups, self.caps)
    }

    /// A launch of `top_k_merge.wgsl`.
    fn merge(&self, params: Params, source: Resource, result: Place) -> Dispatch {
        let group = line_group(self.caps);
        let (part, mut bindings) = self.result(result);
        let mut program = Program::new(&program::TOP_K_MERGE).with(part).constant("GROUP_X", group);
        bindings.push(Binding::read(2, source));
        if matches!(result, Place::Op) {
            bindings.push(Binding::read(1, Resource::Input(0)));
            program = program.constant("INPUT_BITS", self.op.input().dtype().bits() as u32);
        }
        let words = params.units as usize * params.words as usize;
        Dispatch::new(program, &params, Params::FIELDS, bindings, words.div_ceil(group as usize), self.caps)
    }

    /// The part that stores a result, and its bindings.
    fn result(&self, result: Place) -> (&'static Part, Vec<Binding>) {
        match result {
            Place::Scratch(pairs) => (&program::TOP_K_KEEP, vec![Binding::write(6, pairs)]),
            Place::Op => {
                let outputs = [Binding::write(6, Resource::Output(0)), Binding::write(7, Resource::Output(1))];
                (&program::TOP_K_STORE, outputs.to_vec())
            }
        }
    }
}

/// The words of so many pairs.
fn pair_words(factors: [usize; 3]) -> usize {
    factors.into_iter().fold(2, usize::saturating_mul)
}
