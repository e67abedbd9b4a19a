//! The bit layout of a packed weight matrix. The shaders' side is `shaders/grouped/codes_*.wgsl` (codes) and
//! `shaders/grouped/scales*.wgsl` (scales).
//!
//! ```text
//! [expert][panel of 64 rows]     a panel is whole: a launch may own some of them
//!     codes     [step of 32 positions along k]   `bits` words of each row, in which codes are planes of 8, 4, 2 and 1 bits:
//!                   8 bits   8 words   word i = bytes 4i … 4i + 3
//!                   4 bits   4 words   byte b of word i = (4i + b, 4i + b + 16), low half first
//!                   2 bits   2 words   byte b of word i = (4i + b, … + 8, … + 16, … + 24)
//!                   1 bit    1 word    byte b          = (b, b + 4, … b + 28)
//!               3, 5 and 6 bits are 2 + 1, 4 + 1 and 4 + 2, the upper bits first.
//!               The words of four rows are a quad's vec4s, in the order [vec4 of a quad][quad of the panel]
//!     streams   [group along k][row]   those of super groups, then scales, then shifts, each as wide as its kind
//! ```
//!
//! Invocations own neighbouring quads: those that read the first vec4 of each read neighbours, and so on. One mask and one shift
//! make a word of four codes at the upper end of their bytes (the scale absorbs the rest of a byte). The last panel of an expert is
//! narrower: as few rows as a multiple of 4 permits. Each group begins at a multiple of 32 positions (16 for groups of 16), so a
//! step lies in one group. If this leaves gaps, or columns are reordered, activations are first arranged in the order of the positions.

use std::sync::Arc;

use super::format::{OffsetKind, Stream, WeightFormat};
use super::{GroupParams, Row};
use crate::error::{Result, require};

/// Number of rows of a panel.
pub(crate) const PANEL: usize = 64;

/// The sizes of a packed matrix.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub experts: usize,
    pub n: usize,
    pub k: usize,
    /// Number of codes of a group.
    pub group: usize,
    /// Number of positions of a group: 16, or a multiple of 32.
    pub padded_group: usize,
    /// Number of groups of a row.
    pub groups: usize,
    /// Number of steps of 32 positions along k.
    pub steps: usize,
    bits: usize,
    streams: Vec<Stream>,
    /// Number of stored groups and super groups: whole steps of them.
    stored: [usize; 2],
    /// For reordered columns, the column of each position.
    order: Option<Arc<[u32]>>,
}

/// A position that holds no column.
pub(crate) const NOWHERE: u32 = u32::MAX;

impl Layout {
    pub(crate) fn new(format: &WeightFormat, [experts, n, k]: [usize; 3], index: Option<&[u32]>) -> Result<Self> {
        require!(
            format.codes.are_plain() || format.scales.shift() == OffsetKind::None,
            "{format} has shifts, but floats and tables of fractions have a scale alone"
        );
        require!(format.group > 0, "groups of 0 codes: a group holds at least 1");
        require!(format.scales.nesting() != Some(0), "super groups of 0 groups: a super group holds at least 1");
        for (name, size) in [("experts", experts), ("n", n), ("k", k)] {
            require!(
                size <= i32::MAX as usize,
                "{name} is {size}, but at most {} are supported: split the matrix",
                i32::MAX
            );
        }
        let group = format.group.min(k.max(1));
        let groups = k.div_ceil(group);
        let mut largest = group;
        let mut order = None;
        if let Some(index) = index {
            require!(index.len() == k, "{} group indices were given, but k is {k}: give one per column", index.len());
            let mut members = vec![0usize; groups];
            for (l, &g) in index.iter().enumerate() {
                require!((g as usize) < groups, "column {l} is said to be of group {g}, but there are {groups} groups");
                members[g as usize] += 1;
            }
            largest = members.iter().copied().max().unwrap_or(0).max(1);
        }
        let padded_group = if largest <= 16 && groups > 1 { 16 } else { largest.next_multiple_of(32) };
        let positions = groups.checked_mul(padded_group).filter(|&p| p <= i32::MAX as usize);
        require!(
            positions.is_some(),
            "{groups} groups of up to {largest} codes take too many positions: make groups of equal size"
        );
        let steps = positions.unwrap_or(0).div_ceil(32);
        if let Some(index) = index {
            let mut sources = vec![NOWHERE; steps * 32];
            let mut filled = vec![0; groups];
            for (l, &g) in index.iter().enumerate() {
                sources[g as usize * padded_group + filled[g as usize]] = l as u32;
                filled[g as usize] += 1;
            }
            let sorted = index.iter().enumerate().all(|(l, &g)| g as usize == l / group);
            order = (!sorted).then(|| sources.into());
        }
        let stored_groups = if padded_group == 16 { steps * 2 } else { groups };
        let layout = Self {
            stored: [stored_groups, format.supers(stored_groups)],
            bits: format.codes.bits(),
            streams: format.scales.streams(),
            experts,
            n,
            k,
            group,
            padded_group,
            groups,
            steps,
            order,
        };
        let words = layout.checked_words();
        require!(
            words.is_some(),
            "{experts} matrices of {n} by {k} take more packed words than can be addressed: split them"
        );
        Ok(layout)
    }

    /// This layout of matrices of `n` rows.
    ///
    /// # Errors
    /// If they take more words than can be addressed.
    pub(super) fn with_rows(&self, n: usize) -> Result<Self> {
        let layout = Self { n, ..self.clone() };
        let fits = n <= i32::MAX as usize && layout.checked_words().is_some();
        require!(fits, "{} matrices of {n} by {} take more packed words than can be addressed", self.experts, self.k);
        Ok(layout)
    }

    /// Number of bytes of one row.
    pub(crate) fn row_bytes(&self) -> usize {
        self.streams.iter().fold(self.steps * self.bits * 4, |bytes, stream| bytes + self.stream_bytes(stream))
    }

    fn stream_bytes(&self, stream: &Stream) -> usize {
        self.stored[usize::from(stream.of_supers)] * stream.kind.bytes()
    }

    /// The start of each stream, in bytes of one row.
    pub(crate) fn stream_starts(&self) -> Vec<usize> {
        let mut at = self.steps * self.bits * 4;
        let start = |stream: &Stream| {
            let start = at;
            at += self.stream_bytes(stream);
            start
        };
        self.streams.iter().map(start).collect()
    }

    /// Number of rows of one expert, including the padding of the last panel.
    pub(crate) fn padded_n(&self) -> usize {
        self.n.next_multiple_of(4)
    }

    fn checked_words(&self) -> Option<usize> {
        let words = (self.padded_n() / 4).checked_mul(self.row_bytes())?.next_multiple_of(4);
        words.checked_mul(self.experts).filter(|&words| words <= isize::MAX as usize / 4)
    }

    /// Number of words of one expert: whole vec4s.
    pub(crate) fn expert_words(&self) -> usize {
        (self.padded_n() / 4 * self.row_bytes()).next_multiple_of(4)
    }

    pub(crate) fn words(&self) -> usize {
        self.expert_words() * self.experts
    }

    /// Number of panels of one expert.
    pub(crate) fn panels(&self) -> usize {
        self.n.div_ceil(PANEL)
    }

    /// Number of words of a full panel.
    pub(crate) fn panel_words(&self) -> usize {
        PANEL / 4 * self.row_bytes()
    }

    /// Number of rows stored in a panel. The panel is counted within its expert.
    fn width(&self, panel: usize) -> usize {
        (self.padded_n() - panel * PANEL).min(PANEL)
    }

    /// The rows (of all experts) of a panel (of all experts).
    pub(super) fn panel_rows(&self, panel: usize) -> std::ops::Range<usize> {
        let (expert, panel) = (panel / self.panels(), panel % self.panels());
        let first = panel * PANEL;
        expert * self.n + first..expert * self.n + (first + PANEL).min(self.n)
    }

    /// The words of each panel.
    pub(super) fn panels_mut<'a>(&self, words: &'a mut [u32]) -> Vec<&'a mut [u32]> {
        if self.panels() == 0 || self.panel_words() == 0 {
            return Vec::new();
        }
        words.chunks_exact_mut(self.expert_words()).flat_map(|expert| expert.chunks_mut(self.panel_words())).collect()
    }

    /// The column of the matrix at a position along k; `None` for a gap.
    pub(crate) fn source(&self, position: usize) -> Option<usize> {
        if let Some(order) = &self.order {
            return Some(order[position]).filter(|&source| source != NOWHERE).map(|source| source as usize);
        }
        let (group, within) = (position / self.padded_group, position % self.padded_group);
        let column = group * self.group + within;
        (within < self.group && column < self.k).then_some(column)
    }

    /// True if columns are reordered.
    pub(crate) fn is_reordered(&self) -> bool {
        self.order.is_some()
    }

    /// The column of each position, or [`NOWHERE`]; `None` if the positions are exactly the columns of the matrix, in order.
    pub(crate) fn sources(&self) -> Option<Vec<u32>> {
        let direct = self.order.is_none() && self.steps * 32 == self.k;
        let column = |position| self.source(position).map_or(NOWHERE, |column| column as u32);
        (!direct).then(|| (0..self.steps * 32).map(column).collect())
    }

    /// The place of a word of a row's codes in a panel of `width` rows.
    fn code_word(&self, width: usize, step: usize, slot: usize, word: usize) -> usize {
        let in_quad = slot % 4 * self.bits + word;
        ((step * self.bits + in_quad / 4) * (width / 4) + slot / 4) * 4 + in_quad % 4
    }

    /// Writes a row of codes, given in the order of positions.
    #[expect(clippy::too_many_arguments, reason = "a row's place and a row's contents")]
    pub(super) fn write_row(
        &self,
        format: &WeightFormat,
        panel_words: &mut [u32],
        panel: usize,
        slot: usize,
        codes: &[i8],
        groups: &[GroupParams],
        supers: &[GroupParams],
    ) {
        let width = self.width(panel % self.panels());
        for (step, codes) in codes.chunks(32).enumerate() {
            let mut planes = [0; 8];
            write_planes(&mut planes[..self.bits], codes);
            for (word, plane) in planes[..self.bits].iter().enumerate() {
                panel_words[self.code_word(width, step, slot, word)] = *plane;
            }
        }
        for (stream, start) in format.scales.streams().iter().zip(self.stream_starts()) {
            let of = if stream.of_supers { supers } else { groups };
            let bits = stream.kind.bytes() * 8;
            for (g, group) in of.iter().enumerate() {
                let number = if stream.of_shifts { group.shift } else { group.scale };
                let element = g * width + slot;
                let word = start * width / 4 + element * bits / 32;
                panel_words[word] |=
                    stream.kind.encode(number).unwrap_or(stream.kind.infinite()) << (element * bits % 32);
            }
        }
    }

    /// The row with this index among the rows of all experts.
    pub(super) fn read_row(&self, format: &WeightFormat, words: &[u32], index: usize) -> Row {
        let (expert, row) = (index / self.n, index % self.n);
        let (panel, slot) = (row / PANEL, row % PANEL);
        let width = self.width(panel);
        let panel_words = &words[expert * self.expert_words() + panel * self.panel_words()..];
        let mut codes = vec![0i8; self.steps * 32];
        for (step, codes) in codes.chunks_exact_mut(32).enumerate() {
            let planes: [u32; 8] = std::array::from_fn(|word| {
                if word < self.bits { panel_words[self.code_word(width, step, slot, word)] } else { 0 }
            });
            read_planes(&planes[..self.bits], codes, format.codes.table().is_none());
        }
        let mut numbers = [vec![GroupParams::default(); self.stored[0]], vec![GroupParams::default(); self.stored[1]]];
        for (stream, start) in self.streams.iter().zip(self.stream_starts()) {
            let bits = stream.kind.bytes() * 8;
            for (g, group) in numbers[usize::from(stream.of_supers)].iter_mut().enumerate() {
                let element = g * width + slot;
                let word = panel_words[start * width / 4 + element * bits / 32] >> (element * bits % 32);
                let number = stream.kind.decode(if bits == 32 { word } else { word & ((1 << bits) - 1) });
                *(if stream.of_shifts { &mut group.shift } else { &mut group.scale }) = number;
            }
        }
        let [mut groups, supers] = numbers;
        if let Some(nesting) = format.scales.nesting() {
            // An integer of 8 bits times an f16 is exact in f32; an E4M3 times an f32 is rounded.
            for (g, group) in groups.iter_mut().enumerate() {
                let of = supers[g / nesting];
                *group = GroupParams::new(group.scale * of.scale, group.shift * of.shift);
            }
        }
        groups.truncate(self.steps * 32 / self.padded_group);
        Row { codes, groups }
    }
}

/// The widths of the planes of a code of `bits` bits, upper bits first.
pub(crate) fn planes(bits: usize) -> &'static [usize] {
    match bits {
        2 => &[2],
        3 => &[2, 1],
        4 => &[4],
        5 => &[4, 1],
        6 => &[4, 2],
        _ => &[8],
    }
}

/// The location of a code's bits in a plane: the word, and the shift in it.
fn place(plane: usize, position: usize) -> (usize, usize) {
    let (quad, byte) = (position / 4, position % 4);
    (quad % plane, 8 * byte + plane * (quad / plane))
}

fn write_planes(words: &mut [u32], codes: &[i8]) {
    let (mut rest, mut first) = (words.len(), 0);
    for &plane in planes(words.len()) {
        rest -= plane;
        for (position, &code) in codes.iter().enumerate() {
            let (word, shift) = place(plane, position);
            words[first + word] |= ((code as u8 as u32 >> rest) & ((1 << plane) - 1)) << shift;
        }
        first += plane;
    }
}

fn read_planes(words: &[u32], codes: &mut [i8], signed: bool) {
    let bits = words.len();
    for (position, code) in codes.iter_mut().enumerate() {
        let (mut value, mut first) = (0u32, 0);
        for &plane in planes(bits) {
            let (word, shift) = place(plane, position);
            value = value << plane | (words[first + word] >> shift) & ((1 << plane) - 1);
            first += plane;
        }
        let value = (value << (8 - bits)) as u8;
        *code = if signed { value as i8 >> (8 - bits) } else { (value >> (8 - bits)) as i8 };
    }
}

#[cfg(test)]
mod tests {
    use super::super::format::Kind;
    use super::super::{Codes, PackedWeights, ScaleFormat};
    use super::*;

    #[test]
    fn what_is_packed_is_read_again() -> Result<()> {
        let all = [Codes::INT2, Codes::INT3, Codes::INT4, Codes::INT5, Codes::INT6, Codes::INT8, Codes::IQ4_NL];
        let scales = [
            ScaleFormat::F32,
            ScaleFormat::F16,
            ScaleFormat::E8M0,
            ScaleFormat::F32Zero,
            ScaleFormat::F16Zero,
            ScaleFormat::F32RealZero,
            ScaleFormat::F32Offset,
            ScaleFormat::F16Offset,
            ScaleFormat::Nested(16),
            ScaleFormat::NestedOffset(3),
            ScaleFormat::NestedE4M3,
        ];
        for (i, (codes, scales)) in all.iter().flat_map(|&c| scales.map(|s| (c, s))).enumerate() {
            let group = [16, 32, 7, 100, 128, usize::MAX, 48][i % 7];
            let [experts, n, k] = [[1, 5, 100], [2, 70, 33], [1, 130, 256], [3, 1, 1]][i % 4];
            let format = WeightFormat::new(codes, group, scales);
            let (low, high) = codes.range();
            let code = |row: usize, l: usize| {
                let span = i32::from(high) - i32::from(low) + 1;
                (i32::from(low) + (row * 31 + l * 7 + row * l) as i32 % span) as i8
            };
            let number = |stream: &Stream, row: usize, g: usize| match stream.kind {
                Kind::F32 => -0.1 * (row + 1) as f32 + g as f32,
                Kind::F16 => 0.25 * (row % 64) as f32 - g as f32,
                Kind::E8M0 => (((row + g) % 254) as f32 - 127.0).exp2(),
                // Zero points are at most as large as codes.
                Kind::E4M3 => [0.25, 448.0, -3.5, 0.001953125][(row + g) % 4],
                Kind::Int8 => ((row * 3 + g * 5) % 5) as f32 - 2.0,
                Kind::Uint8 => ((row * 7 + g * 3) % 256) as f32,
            };
            let fill = |row: usize, of: &mut [GroupParams], of_supers: bool| {
                for (g, group) in of.iter_mut().enumerate() {
                    for stream in scales.streams().iter().filter(|s| s.of_supers == of_supers) {
                        let number = number(stream, row, g + usize::from(stream.of_shifts));
                        *(if stream.of_shifts { &mut group.shift } else { &mut group.scale }) = number;
                    }
                }
            };
            let weights = PackedWeights::build(format, [experts, n, k], |row, codes, groups, supers| {
                codes.iter_mut().enumerate().for_each(|(l, c)| *c = code(row, l));
                fill(row, groups, false);
                fill(row, supers, true);
                Ok(())
            })?;
            let (layout, rows) = (weights.layout(), weights.rows()?);
            for row in 0..experts * n {
                let read = rows.get(row);
                let mut seen = vec![false; k];
                for (position, &got) in read.codes.iter().enumerate() {
                    match layout.source(position) {
                        Some(column) => {
                            assert_eq!(got, code(row, column), "{weights} row {row} column {column}");
                            assert_eq!(position / layout.padded_group, column / group.min(k));
                            seen[column] = true;
                        }
                        None => assert_eq!(got, 0),
                    }
                }
                assert!(seen.iter().all(|&seen| seen));
                let mut groups = vec![GroupParams::default(); layout.groups];
                let mut supers = vec![GroupParams::default(); format.supers(layout.groups)];
                fill(row, &mut groups, false);
                fill(row, &mut supers, true);
                for (g, group) in groups.iter().enumerate() {
                    let of = scales.nesting().map_or(GroupParams::new(1.0, 1.0), |nesting| supers[g / nesting]);
                    assert_eq!(
                        read.groups[g],
                        GroupParams::new(group.scale * of.scale, group.shift * of.shift),
                        "{weights}"
                    );
                }
            }
        }
        Ok(())
    }

    #[test]
    fn columns_in_any_order_find_their_group() -> Result<()> {
        let index = [2u32, 0, 1, 1, 2, 0, 0];
        let format = WeightFormat::new(Codes::INT4, 3, ScaleFormat::F32);
        let weights = PackedWeights::build_indexed(format, [1, 1, 7], &index, |_, codes, groups, _| {
            codes.iter_mut().enumerate().for_each(|(l, code)| *code = l as i8 + 1);
            groups.iter_mut().enumerate().for_each(|(g, group)| *group = GroupParams::scale(10f32.powi(g as i32)));
            Ok(())
        })?;
        assert_eq!(weights.dequantize()?.values::<f32>()?, [100.0, 2.0, 30.0, 40.0, 500.0, 6.0, 7.0]);
        Ok(())
    }

    #[test]
    fn what_a_format_cannot_hold_is_refused() {
        let build = |codes, scales, code: i8, group: GroupParams| {
            let format = WeightFormat::new(codes, 32, scales);
            let built = PackedWeights::build(format, [1, 1, 1], |_, codes, groups, supers| {
                codes.fill(code);
                groups.fill(group);
                supers.fill(GroupParams::new(1.0, 1.0));
                Ok(())
            });
            built.map(drop).map_err(|error| error.to_string())
        };
        assert!(build(Codes::INT4, ScaleFormat::F32, 8, GroupParams::scale(1.0)).is_err_and(|e| e.contains("-8..=7")));
        assert!(build(Codes::INT4, ScaleFormat::F16, 7, GroupParams::scale(0.1)).is_err_and(|e| e.contains("exactly")));
        assert!(build(Codes::INT4, ScaleFormat::F32, 7, GroupParams::scale(f32::NAN)).is_err());
        assert!(build(Codes::INT4, ScaleFormat::F16, 7, GroupParams::scale(1e6)).is_err());
        assert!(build(Codes::INT4, ScaleFormat::F16Zero, 7, GroupParams::new(0.5, 128.0)).is_err());
        assert!(build(Codes::INT4, ScaleFormat::E8M0, 7, GroupParams::scale(3.0)).is_err());
        assert!(build(Codes::INT4, ScaleFormat::F16Zero, 7, GroupParams::new(-0.0, -8.0)).is_ok());
        assert!(
            build(Codes::INT4, ScaleFormat::F16Zero, 7, GroupParams::new(1.0, -9.0))
                .is_err_and(|e| e.contains("-8 to 8"))
        );
        let none = WeightFormat::new(Codes::INT4, 0, ScaleFormat::F32);
        assert!(PackedWeights::build(none, [1, 1, 1], |_, _, _, _| Ok(())).is_err());
    }
}
