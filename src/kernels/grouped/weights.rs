//! Common code of programs that read packed weights: the WGSL files for codes and scales, the panels of a launch, and the begins of
//! streams. The layout itself is defined in `weights::layout`.

use std::borrow::Cow;
use std::sync::Arc;

use crate::kernels::launch::program::{self, Part, Program};
use crate::kernels::{Constant, DeviceCaps};
use crate::numeric::DType;
use crate::weights::{Codes, PANEL, PackedWeights, ScaleFormat};

/// The WGSL file that reads the scales of a format.
fn scales_part(scales: ScaleFormat) -> &'static Part {
    match scales {
        ScaleFormat::F32 => &program::SCALES_F32,
        ScaleFormat::F16 => &program::SCALES_F16,
        ScaleFormat::E8M0 => &program::SCALES_E8M0,
        ScaleFormat::F32Zero => &program::SCALES_F32_ZERO,
        ScaleFormat::F16Zero => &program::SCALES_F16_ZERO,
        ScaleFormat::F32RealZero => &program::SCALES_F32_REAL_ZERO,
        ScaleFormat::F32Offset => &program::SCALES_F32_OFFSET,
        ScaleFormat::F16Offset => &program::SCALES_F16_OFFSET,
        ScaleFormat::Nested(_) => &program::SCALES_NESTED,
        ScaleFormat::NestedOffset(_) => &program::SCALES_NESTED_OFFSET,
        ScaleFormat::NestedE4M3 => &program::SCALES_FLOAT8,
    }
}

/// The WGSL file that expands the codes of a format.
pub(crate) fn codes_part(codes: Codes) -> &'static Part {
    match (codes.table(), codes.float()) {
        (Some(_), _) => return &program::CODES_TABLE,
        (_, Some(DType::Float4E2M1)) => return &program::CODES_FLOAT4E2M1,
        (_, Some(DType::Float6E2M3)) => return &program::CODES_FLOAT6E2M3,
        (_, Some(dtype)) => assert!(!codes.are_integers(), "no file makes int8 of {dtype}"),
        (None, None) => {}
    }
    match codes.bits() {
        2 => &program::CODES_INT2,
        3 => &program::CODES_INT3,
        4 => &program::CODES_INT4,
        5 => &program::CODES_INT5,
        6 => &program::CODES_INT6,
        8 => &program::CODES_INT8,
        bits => unreachable!("codes of {bits} bits"),
    }
}

/// Adds the conversion of expanded codes to float32.
pub(crate) fn link_expand(program: Program, codes: Codes) -> Program {
    let Some(layout) = codes.layout().filter(|_| !codes.are_integers()) else {
        return program.with(&program::EXPAND_INTEGER);
    };
    if layout.bias > 15 {
        assert_eq!(
            codes.float(),
            Some(DType::Float8E5M2Fnuz),
            "no file expands other exponents below those of float16"
        );
        return program.with(&program::EXPAND_FLOAT8E5M2FNUZ);
    }
    // A float16 has five bits of exponent with a bias of 15.
    let exponent = layout.width - 1 - layout.mantissa;
    let program = program.with(&program::EXPAND_MINIFLOAT).constant("EXPAND_SHIFT", 3 + exponent);
    program.constant("EXPAND_GAIN", 15 - layout.bias)
}

/// Adds the WGSL file that reads the scales of a format, and the constants of its scales and codes. `exact`: products of scales are
/// rounded correctly.
pub(crate) fn link_scales(program: Program, weights: &PackedWeights, exact: bool) -> Program {
    let dtype = weights.format();
    let mut program = program.with(scales_part(dtype.scales));
    if dtype.scales == ScaleFormat::NestedE4M3 {
        program = program.constant("EXACT_SCALES", exact);
    }
    if let Some(nesting) = dtype.scales.nesting() {
        program = program.constant("NESTING", nesting.min(u32::MAX as usize) as u32);
    }
    if let Some(values) = dtype.codes.table() {
        let names = ["TABLE_0", "TABLE_1", "TABLE_2", "TABLE_3"];
        for (name, bytes) in names.into_iter().zip(values.as_chunks::<4>().0) {
            program = program.constant(name, u32::from_le_bytes(bytes.map(|byte| byte as u8)));
        }
    }
    program
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

/// Number of words of these panels of all experts.
pub(crate) fn panels_words(weights: &PackedWeights, first: usize, count: usize) -> u64 {
    let layout = weights.layout();
    if first == 0 && count == layout.panels() {
        return weights.words().len() as u64;
    }
    let of_one = (count * layout.panel_words()).min(layout.expert_words() - first * layout.panel_words());
    (layout.experts * of_one) as u64
}

/// The words of panels of all experts, each expert padded to whole vec4s.
pub(crate) fn panels(weights: &PackedWeights, first: usize, count: usize) -> Cow<'_, [u32]> {
    let layout = weights.layout();
    if first == 0 && count == layout.panels() {
        return Cow::Borrowed(weights.words());
    }
    let range = |expert: usize| {
        let start = expert * layout.expert_words() + first * layout.panel_words();
        let end = (start + count * layout.panel_words()).min((expert + 1) * layout.expert_words());
        &weights.words()[start..end]
    };
    if layout.experts == 1 {
        return Cow::Borrowed(range(0));
    }
    Cow::Owned((0..layout.experts).flat_map(|expert| range(expert).iter().copied()).collect())
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

    pub(crate) fn constant(self, weights: &Arc<PackedWeights>) -> Constant {
        Constant::panels(weights, self.first, self.count)
    }
}
