//! Linear layers in the order of the Marlin kernel (`checkpoint_format` `marlin`). The order of later kernels of that name, which vLLM
//! makes when it loads a model, is in no file.

use super::{Array, ElementType, Safetensors, build};
use crate::error::{Result, require};
use crate::weights::{Codes, GroupParams, PackedWeights, ScaleFormat, WeightFormat};

/// Rows and columns of a tile, and numbers of the four tiles that are permuted together.
const TILE: usize = 16;
const CHUNK: usize = 4 * TILE * TILE;

/// The arrays of a layer with `n` outputs and `k` inputs, in codes of 4 bits:
///
/// ```text
/// real[j, l] = s[l / group, j] · (code[l, j] − 8)
///
/// B   i32 [k / 16, 2 · n]   tiles of 16 rows along k and 16 columns; four tiles are 1,024 codes in the order of a warp's registers
/// s   f16 [k / group, n]    64 columns (one group for the whole row: 32) in the order of registers
/// ```
///
/// Source: `Layer.pack` in `marlin/__init__.py` in the repository `IST-DASLab/marlin`.
///
/// ```no_run
/// use lowbit::import::marlin::Marlin;
/// use lowbit::import::{self, Safetensors};
/// // SAFETY: nobody changes the file meanwhile.
/// let bytes = unsafe { import::map("model.safetensors")? };
/// let file = Safetensors::parse(&bytes)?;
/// let weights = Marlin::read(&file, "model.layers.0.mlp.down_proj")?.weights()?;
/// # Ok::<(), lowbit::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Marlin<'a> {
    /// The array `B`.
    pub codes: Array<'a>,
    /// The array `s`.
    pub scales: Array<'a>,
}

impl<'a> Marlin<'a> {
    /// A layer of these arrays.
    #[must_use]
    pub fn new(codes: Array<'a>, scales: Array<'a>) -> Self {
        Self { codes, scales }
    }

    /// The arrays of a layer in a file.
    ///
    /// # Errors
    /// If an array is missing.
    pub fn read(file: &Safetensors<'a>, layer: &str) -> Result<Self> {
        Ok(Self { codes: file.array(&format!("{layer}.B"))?, scales: file.array(&format!("{layer}.s"))? })
    }

    /// Outputs and inputs.
    ///
    /// # Errors
    /// If `B` is no matrix of i32, or has no whole chunks of 64 columns.
    pub fn shape(&self) -> Result<[usize; 2]> {
        self.codes.expect_type("B", &[ElementType::Int32])?;
        let [tiles, words] = self.codes.matrix("B")?;
        require!(words % 128 == 0, "B has {words} words in a row, but 64 columns take 128: it has another order");
        Ok([words / 2, tiles.saturating_mul(TILE)])
    }

    /// The packed matrix `[n, k]`, with the codes and scales of the layer.
    ///
    /// # Errors
    /// If the shapes or types of the arrays don't fit each other, a scale is not finite, or there is not enough memory.
    pub fn weights(&self) -> Result<PackedWeights> {
        let Self { codes, scales } = self;
        let [n, k] = self.shape()?;
        scales.expect_type("s", &[ElementType::Float16])?;
        let [groups, columns] = scales.matrix("s")?;
        require!(
            columns == n && groups > 0 && k % groups == 0 && k > 0,
            "s is {:?}, but the layer is [{n}, {k}]: give the arrays of one layer",
            scales.shape()
        );
        let places = places();
        let column = if groups > 1 { grouped_column } else { single_column };
        let format = WeightFormat::new(Codes::INT4, k / groups, ScaleFormat::F16);
        build(codes.bytes().len() + scales.bytes().len(), format, [1, n, k], |row, out, params, _| {
            for (l, code) in out.iter_mut().enumerate() {
                let in_chunk = row / TILE % 4 * TILE * TILE + l % TILE * TILE + row % TILE;
                let place = row / (4 * TILE) * CHUNK + usize::from(places[in_chunk]);
                let word = codes.word(l / TILE * 2 * n + place / 8);
                *code = (word >> (place % 8 * 4) & 15) as i8 - 8;
            }
            for (g, group) in params.iter_mut().enumerate() {
                *group = GroupParams::scale(scales.float(g * n + column(row)));
            }
            Ok(())
        })
    }
}

/// The place of each code of four tiles, which lie one after the other, row by row.
fn places() -> [u16; CHUNK] {
    let mut places = [0; CHUNK];
    for place in 0..CHUNK {
        // An invocation has eight codes of a tile, the even ones before the odd ones in a word.
        let (lane, tile, nibble) = (place / 32, place / 8 % 4, place % 8);
        let of_lane = [0, 2, 4, 6, 1, 3, 5, 7][nibble];
        let (block, within) = (of_lane / 4, of_lane % 4);
        let row = 2 * (lane % 4 + 4 * (within / 2)) + within % 2;
        places[tile * TILE * TILE + row * TILE + lane / 4 + 8 * block] = place as u16;
    }
    places
}

/// The place of a column's scales, of several groups.
fn grouped_column(column: usize) -> usize {
    column / 64 * 64 + column % 8 * 8 + column % 64 / 8
}

/// The place of a column's scale, of one group.
fn single_column(column: usize) -> usize {
    // The order is 0 1 8 9 16 17 24 25, 2 3 10 11 …
    let (eight, within) = (column % 32 / 8, column % 8);
    column / 32 * 32 + within / 2 * 8 + eight * 2 + within % 2
}
