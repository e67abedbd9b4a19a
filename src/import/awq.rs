//! Linear layers of AWQ checkpoints in the `gemm` version, as AutoAWQ saves them. The quantization method doesn't matter here.

use super::{Array, ElementType, FLOATS, Safetensors, build, scales_with_zeros};
use crate::error::{Result, require};
use crate::weights::{Codes, GroupParams, PackedWeights, WeightFormat};

/// Position in a word of the code of each of 8 neighbouring columns: nibble 0 holds column 0, nibble 1 column 2, and so on.
const NIBBLE: [usize; 8] = [0, 4, 1, 5, 2, 6, 3, 7];

/// The arrays of a layer with `n` outputs and `k` inputs, in codes of 4 bits:
///
/// ```text
/// real[j, l] = scales[l / group, j] · (code[l, j] − zero[l / group, j])
///
/// qweight  i32 [k, n / 8]         codes along n; a word holds columns 0 2 4 6 1 3 5 7, low bits first
/// qzeros   i32 [groups, n / 8]    zero points, packed alike
/// scales   f16, bf16 or f32 [groups, n]
/// ```
///
/// Source: `awq/modules/linear/gemm.py` in the repository `casper-hansen/AutoAWQ`.
///
/// ```no_run
/// use lowbit::import::awq::Awq;
/// use lowbit::import::{self, Safetensors};
/// // SAFETY: nobody changes the file meanwhile.
/// let bytes = unsafe { import::map("model.safetensors")? };
/// let file = Safetensors::parse(&bytes)?;
/// let weights = Awq::read(&file, "model.layers.0.mlp.down_proj", 128)?.weights()?;
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Awq<'a> {
    /// The array `qweight`.
    pub qweight: Array<'a>,
    /// The array `qzeros`.
    pub qzeros: Array<'a>,
    /// The array `scales`.
    pub scales: Array<'a>,
    /// `q_group_size` of the configuration; `usize::MAX` for −1, one group for the whole row.
    pub group: usize,
}

impl<'a> Awq<'a> {
    /// These arrays.
    #[must_use]
    pub fn new(qweight: Array<'a>, qzeros: Array<'a>, scales: Array<'a>, group: usize) -> Self {
        Self { qweight, qzeros, scales, group }
    }

    /// The arrays of a layer in a file.
    ///
    /// # Errors
    /// If an array is missing.
    pub fn read(file: &Safetensors<'a>, layer: &str, group: usize) -> Result<Self> {
        Ok(Self {
            qweight: file.array(&format!("{layer}.qweight"))?,
            qzeros: file.array(&format!("{layer}.qzeros"))?,
            scales: file.array(&format!("{layer}.scales"))?,
            group,
        })
    }

    /// The packed matrix `[n, k]`, with the codes and scales of the layer. f16 scales stay f16, bf16 ones become f32. If all
    /// zero points are 8, they are left out.
    ///
    /// # Errors
    /// If the shapes or types of the arrays don't fit each other or `group`, a scale is not finite, or there is not enough
    /// memory.
    pub fn weights(&self) -> Result<PackedWeights> {
        let &Self { ref qweight, ref qzeros, ref scales, group } = self;
        require!(group > 0, "groups of 0 codes: give q_group_size of the configuration, and usize::MAX for -1");
        qweight.expect_type("qweight", &[ElementType::Int32])?;
        let [k, words] = qweight.matrix("qweight")?;
        let (n, groups) = (words.saturating_mul(8), k.div_ceil(group));
        scales.expect_type("scales", &FLOATS)?;
        scales.expect_shape("scales", &[groups, n])?;
        qzeros.expect_type("qzeros", &[ElementType::Int32])?;
        qzeros.expect_shape("qzeros", &[groups, words])?;

        let code = |array: &Array<'_>, line: usize, row: usize| {
            (array.word(line * words + row / 8) >> (4 * NIBBLE[row % 8]) & 15) as i8 - 8
        };
        let zeros = (0..groups * n).map(|at| i64::from(code(qzeros, at / n, at % n)));
        let format = WeightFormat::new(Codes::INT4, group, scales_with_zeros(scales.element_type(), zeros));
        let input = qweight.bytes().len() + scales.bytes().len() + qzeros.bytes().len();
        build(input, format, [1, n, k], |row, codes, groups, _| {
            for (l, at) in codes.iter_mut().enumerate() {
                *at = code(qweight, l, row);
            }
            for (g, group) in groups.iter_mut().enumerate() {
                *group = GroupParams::new(scales.float(g * n + row), code(qzeros, g, row).into());
            }
            Ok(())
        })
    }
}
