//! Candidates of `ops::RotaryAppend`: `shaders/layout/rotary_append.wgsl`, after copies of the caches unless they are states. Devices
//! that bind fewer buffers run its three ops one after the other. The meaning is `reference/rotary_append.rs`.

use crate::kernels::launch::program::{self, Program};
use crate::kernels::{
    Binding, Candidate, DeviceCaps, Dispatch, Kernels, Resource, epilogue, line_candidates, parameters, rebind,
};
use crate::ops::{PostOp, Reshape, RotaryAppend, RotaryPairs};
use crate::tensor::TensorType;

parameters! {
    /// `shaders/layout/rotary_append.wgsl`.
    struct Params {
        capacity: i32,
        count: i32,
        half: u32,
        positions: i32,
        n: u32,
        value_n: u32,
        query_rows: u32,
        key_rows: u32,
        value_rows: u32,
        key_row_words: u32,
        value_row_words: u32,
        unused_0: u32,
    }
}

/// The caches of keys and values among the inputs.
const CACHES: [usize; 2] = [0, 1];

impl Kernels for RotaryAppend {
    fn candidates(&self, _: Option<&PostOp>, caps: &DeviceCaps) -> Vec<Candidate> {
        // Queries, keys, values, position, table and three outputs.
        if caps.storage_buffers < 8 {
            return in_sequence(self, caps);
        }
        let (keys, values, queries) = (self.keys(), self.values(), self.queries());
        let count = queries.input().dims()[0];
        let [positions, width] = queries.table_dims();
        let params = Params {
            capacity: keys.cache().dims()[0] as i32,
            count: count as i32,
            half: width as u32 / 2,
            positions: positions as i32,
            n: queries.input().shape().row_length() as u32,
            value_n: values.rows().shape().row_length() as u32,
            query_rows: token_rows(queries.input()),
            key_rows: token_rows(keys.rows()),
            value_rows: token_rows(values.rows()),
            key_row_words: epilogue::row_words(keys.cache()),
            value_row_words: epilogue::row_words(values.cache()),
            ..Params::default()
        };
        let token_words = [params.key_rows * params.key_row_words, params.value_rows * params.value_row_words];
        let written = token_words.map(|words| 4 * count as u64 * u64::from(words));
        let words =
            count * token_words.map(|words| words as usize).iter().sum::<usize>() + queries.input().shape().elements();
        let mut candidates = line_candidates("rotary append", words, &[], caps, |group, groups| {
            let program = Program::new(&program::ROTARY_APPEND)
                .constant("GROUP_X", group)
                .constant("BITS", keys.cache().dtype().bits() as u32)
                .constant("INTERLEAVED", queries.pairs() == RotaryPairs::Interleaved);
            let bindings = [
                Binding::read(1, Resource::Input(2)),
                Binding::read(2, Resource::Input(3)),
                Binding::read(3, Resource::Input(5)),
                Binding::read(4, Resource::Input(6)).touching(4 * (count * width) as u64),
                Binding::read(5, Resource::Input(4)),
                Binding::write(6, Resource::Output(0)).touching(written[0]),
                Binding::write(7, Resource::Output(1)).touching(written[1]),
                Binding::write(8, Resource::Output(2)),
            ];
            Dispatch::new(program.clone(), &params, Params::FIELDS, bindings, groups, caps)
                .operations([3, queries.input().shape().elements()])
                .in_place_by(program, groups, &written, caps)
        });
        let copies: Vec<Dispatch> = CACHES.into_iter().flat_map(|cache| copy(self, cache, caps)).collect();
        for candidate in &mut candidates {
            candidate.dispatches.splice(0..0, copies.iter().cloned());
        }
        candidates
    }
}

/// The rows of a token.
fn token_rows(rows: &TensorType) -> u32 {
    rows.dims()[1..rows.shape().rank() - 1].iter().product::<usize>() as u32
}

/// The launches that copy a cache, which nobody needs in place.
fn copy(op: &RotaryAppend, cache: usize, caps: &DeviceCaps) -> Vec<Dispatch> {
    let cache_type = [op.keys(), op.values()][cache].cache();
    let copy = Reshape::new(cache_type.clone(), cache_type.dims()).expect("the same shape");
    let mut dispatches = copy.candidates(None, caps).swap_remove(0).dispatches;
    rebind(&mut dispatches, |resource| match resource {
        Resource::Input(_) => Resource::Input(cache),
        _ => Resource::Output(cache),
    });
    dispatches.into_iter().map(|launch| launch.absent_in_place(&CACHES)).collect()
}

/// Two appends and a rotation.
fn in_sequence(op: &RotaryAppend, caps: &DeviceCaps) -> Vec<Candidate> {
    // The inputs of each op, by its own numbers, and its output.
    let parts: [(Vec<Candidate>, &[usize], usize); 3] = [
        (op.keys().candidates(None, caps), &[0, 3, 5, 6], 0),
        (op.values().candidates(None, caps), &[1, 4, 5], 1),
        (op.queries().candidates(None, caps), &[2, 5, 6], 2),
    ];
    let count = parts.iter().map(|(candidates, ..)| candidates.len()).min().unwrap_or_default();
    let sequence = |index: usize| {
        let mut all = Candidate::new(format!("{}, one op after the other", parts[0].0[index].label));
        for (candidates, inputs, output) in &parts {
            let mut part = candidates[index].clone();
            part.dispatches = part.dispatches.into_iter().map(|launch| launch.in_place_among(&CACHES)).collect();
            all.append(part, |resource| match resource {
                Resource::Input(input) => Resource::Input(inputs[input]),
                _ => Resource::Output(*output),
            });
        }
        all
    };
    (0..count).map(sequence).collect()
}
