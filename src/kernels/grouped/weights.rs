//! Common code of programs that read packed weights: the WGSL files for codes and scales, the panels of a launch, and the begins of
//! streams. The layout itself is defined in `weights::layout`.

use std::ops::Range;
use std::sync::Arc;

use crate::error::Result;
use crate::kernels::launch::dispatch::Words;
use crate::kernels::launch::program::{self, Program};
use crate::kernels::{Candidate, Constant, DeviceCaps, Resource, link_float16};
use crate::numeric::DType;
use crate::weights::{Codes, OffsetKind, PANEL, PackedWeights, ScaleFormat, planes};

/// Adds the WGSL file that expands the codes of a format.
pub(crate) fn link_codes(program: Program, codes: Codes) -> Program {
    let [upper, lower] = plane_bits(codes);
    let program = program.constant("UPPER", upper).constant("LOWER", lower);
    match (codes.table(), codes.layout(), codes.bits()) {
        (Some(_), ..) => match codes.table_integers() {
            Some((integers, shift)) => {
                let program = program.with(&program::CODES_TABLE).constant("CODE_SHIFT", shift);
                let words = integers.as_chunks::<4>().0.iter().map(|four| u32::from_le_bytes(four.map(|i| i as u8)));
                TABLE.into_iter().zip(words).fold(program, |program, (name, word)| program.constant(name, word))
            }
            None => link_table(program.with(&program::CODES_PLACES), codes),
        },
        (_, Some(layout), _) if codes.are_integers() => {
            program.with(&program::CODES_SMALL_FLOATS).constant("MANTISSA", layout.mantissa)
        }
        (.., 4) => program.with(&program::CODES_INT4),
        (.., 8) => program.with(&program::CODES_INT8),
        _ => program.with(&program::CODES_PLANES),
    }
}

/// Names of the words of a table.
const TABLE: [&str; 4] = ["TABLE_0", "TABLE_1", "TABLE_2", "TABLE_3"];

/// Names of the numbers of a table.
const NUMBERS: [&str; 16] = [
    "NUMBER_0",
    "NUMBER_1",
    "NUMBER_2",
    "NUMBER_3",
    "NUMBER_4",
    "NUMBER_5",
    "NUMBER_6",
    "NUMBER_7",
    "NUMBER_8",
    "NUMBER_9",
    "NUMBER_10",
    "NUMBER_11",
    "NUMBER_12",
    "NUMBER_13",
    "NUMBER_14",
    "NUMBER_15",
];

/// Adds the numbers of a table as f32 bits (`shaders/grouped/table_number.wgsl`).
pub(crate) fn link_table(program: Program, codes: Codes) -> Program {
    let numbers = codes.table().unwrap_or_default();
    NUMBERS.into_iter().zip(numbers).fold(program, |program, (name, number)| program.constant(name, number.to_bits()))
}

/// Bits of the upper and of the lower plane of a format's codes.
pub(crate) fn plane_bits(codes: Codes) -> [u32; 2] {
    match *planes(codes.bits()) {
        [upper, lower] => [upper as u32, lower as u32],
        [upper, ..] => [upper as u32, 0],
        [] => unreachable!("codes have bits"),
    }
}

/// Adds the WGSL file that converts expanded codes to float32 (`shaders/grouped/code_values.wgsl`, or
/// `shaders/grouped/place_values.wgsl` for places in a table).
pub(crate) fn link_code_values(program: Program, codes: Codes) -> Program {
    if codes.table().is_some() && !codes.are_integers() {
        return program.with(&program::PLACE_VALUES);
    }
    let program = program.with(&program::CODE_VALUES);
    let layout = codes.layout().filter(|_| !codes.are_integers());
    let e5m2fnuz = codes.float() == Some(DType::Float8E5M2Fnuz);
    // A float16 has five bits of exponent with a bias of 15.
    assert!(
        e5m2fnuz || layout.is_none_or(|layout| layout.bias <= 15),
        "nothing expands exponents below those of float16"
    );
    let (shift, gain) = layout.map_or((0, 0), |layout| (2 + layout.width - layout.mantissa, 15 - layout.bias.min(15)));
    program.constant("EXPAND_SHIFT", shift).constant("EXPAND_GAIN", gain).constant("E5M2FNUZ", e5m2fnuz)
}

/// Adds the WGSL file that reads the scales of a format, and the constants of its scales and codes. `exact`: products of scales are
/// rounded correctly.
pub(crate) fn link_scales(program: Program, weights: &PackedWeights, exact: bool, caps: &DeviceCaps) -> Program {
    let dtype = weights.format();
    let program = match dtype.scales {
        ScaleFormat::NestedE4M3 => program.with(&program::SCALES_FLOAT8).constant("EXACT_SCALES", exact),
        ScaleFormat::Nested(groups) | ScaleFormat::NestedOffset(groups) => {
            program.with(&program::SCALES_NESTED).constant("NESTING", groups.min(u32::MAX as usize) as u32)
        }
        scales => program.with(&program::SCALES).constant("SCALE_BYTES", scales.streams()[0].kind.bytes() as u32),
    };
    let shift = dtype.scales.shift();
    let integer = matches!(dtype.scales, ScaleFormat::F32Zero | ScaleFormat::F16Zero);
    link_float16(program, caps)
        .constant("SHIFT_ZERO", shift == OffsetKind::ZeroPoint)
        .constant("SHIFT_OFFSET", shift == OffsetKind::Offset)
        .constant("SHIFT_INTEGER", integer)
}

/// The begins of the streams, in bytes of a row.
pub(crate) fn streams(weights: &PackedWeights) -> [u32; 4] {
    let starts = weights.layout().stream_starts();
    std::array::from_fn(|i| starts.get(i).map_or(0, |&start| start as u32))
}

/// Panels of each expert that one launch binds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Panels {
    pub first: usize,
    pub count: usize,
}

/// The panels of each expert, divided so that each part fits a binding. Without panels there is one empty part, for launches that
/// write anyway.
pub(crate) fn parts(weights: &PackedWeights, caps: &DeviceCaps) -> Vec<Panels> {
    let layout = weights.layout();
    let bytes = (layout.panel_words() * layout.experts).max(1) as u64 * 4;
    // Each expert ends with less than a vec4 of padding.
    let room = caps.binding_bytes.saturating_sub(layout.experts as u64 * 16);
    let most = usize::try_from(room / bytes).unwrap_or(usize::MAX).max(1);
    let part = |first| Panels { first, count: most.min(layout.panels() - first) };
    (0..layout.panels().max(1)).step_by(most.min(layout.panels()).max(1)).map(part).collect()
}

/// The panels of each launch, with the constant of the candidate that they are, or the input of the op.
pub(crate) fn bound_parts(
    weights: &Arc<PackedWeights>,
    input: Option<usize>,
    candidate: &mut Candidate,
    caps: &DeviceCaps,
) -> Vec<(Panels, Resource)> {
    match input {
        // An input is bound whole.
        Some(input) => vec![(Panels { first: 0, count: weights.layout().panels() }, Resource::Input(input))],
        None => {
            let constant = |panels: Panels| (panels, candidate.constant(panels.constant(weights)));
            parts(weights, caps).into_iter().map(constant).collect()
        }
    }
}

/// Number of words of these panels of all experts.
pub(crate) fn panels_words(weights: &PackedWeights, first: usize, count: usize) -> u64 {
    let layout = weights.layout();
    if first == 0 && count == layout.panels() {
        return layout.words() as u64;
    }
    let of_one = (count * layout.panel_words()).min(layout.expert_words() - first * layout.panel_words());
    (layout.experts * of_one) as u64
}

/// The words of panels of all experts, each expert padded to whole vec4s.
///
/// # Errors
/// If the weights are deferred and can't be made.
pub(crate) fn panels(weights: &PackedWeights, first: usize, count: usize) -> Result<Words> {
    let (layout, words) = (weights.layout(), weights.words()?);
    if first == 0 && count == layout.panels() {
        return Ok(Words::all(words));
    }
    if layout.experts == 1 {
        return Ok(Words::part(words, panels_range(weights, 0, first, count)));
    }
    let expert = |expert| words[panels_range(weights, expert, first, count)].iter().copied();
    Ok(Words::all(Arc::new((0..layout.experts).flat_map(expert).collect())))
}

/// Calls `each` with the weights and ranges of their words that are those of [`panels`], in order.
///
/// # Errors
/// If `each` fails.
pub(crate) fn each_panel_words(
    weights: &Arc<PackedWeights>,
    first: usize,
    count: usize,
    mut each: impl FnMut(&Arc<PackedWeights>, Range<usize>) -> Result<()>,
) -> Result<()> {
    let layout = weights.layout();
    // All panels are one range, with the padding of each expert.
    let all = first == 0 && count == layout.panels();
    let parts = weights.parts();
    for expert in 0..if all { 1 } else { layout.experts } {
        let range = if all { 0..layout.words() } else { panels_range(weights, expert, first, count) };
        let mut at = 0;
        for part in &parts {
            let end = at + part.layout().words();
            let (from, to) = (range.start.max(at), range.end.min(end));
            if from < to {
                each(part, from - at..to - at)?;
            }
            at = end;
        }
    }
    Ok(())
}

/// The words of panels of one expert among those of all weights.
fn panels_range(weights: &PackedWeights, expert: usize, first: usize, count: usize) -> Range<usize> {
    let layout = weights.layout();
    let start = expert * layout.expert_words() + first * layout.panel_words();
    start..(start + count * layout.panel_words()).min((expert + 1) * layout.expert_words())
}

impl Panels {
    /// The first row of each expert.
    pub(crate) fn first_row(self) -> usize {
        self.first * PANEL
    }

    /// Rows of each expert.
    pub(crate) fn rows(self, weights: &PackedWeights) -> usize {
        (weights.layout().n - self.first_row()).min(self.count * PANEL)
    }

    /// The vec4s of one expert.
    pub(crate) fn expert_vecs(self, weights: &PackedWeights) -> u32 {
        let layout = weights.layout();
        let words = (self.count * layout.panel_words()).min(layout.expert_words() - self.first * layout.panel_words());
        (words / 4) as u32
    }

    fn constant(self, weights: &Arc<PackedWeights>) -> Constant {
        Constant::panels(weights, self.first, self.count)
    }
}
