//! Quantized matrices in the plainest form, and the packing of each layout by its definition, one code at a time.

use half::{bf16, f16};
use lowbit::import::ElementType;

use crate::Random;

/// Codes 0 … 2^bits − 1, `[n, k]`; zero points and scales, `[n, groups]`. f16 and bf16 hold the scales exactly.
pub(crate) struct Matrix {
    pub n: usize,
    pub k: usize,
    pub bits: usize,
    pub group: usize,
    pub groups: usize,
    pub codes: Vec<u32>,
    pub zeros: Vec<u32>,
    pub scales: Vec<f32>,
    /// Group of each column.
    pub index: Vec<usize>,
}

impl Matrix {
    pub(crate) fn new(n: usize, k: usize, bits: usize, group: usize, random: &mut Random) -> Self {
        let groups = k.div_ceil(group);
        let top = 1 << bits;
        Self {
            n,
            k,
            bits,
            group,
            groups,
            codes: (0..n * k).map(|_| random.below(top) as u32).collect(),
            zeros: (0..n * groups).map(|_| random.below(top) as u32).collect(),
            scales: (0..n * groups).map(|_| (random.below(255) as f32 - 127.0) / 1024.0).collect(),
            index: (0..k).map(|l| l / group).collect(),
        }
    }

    /// The matrix with shuffled columns.
    pub(crate) fn shuffled(mut self, random: &mut Random) -> Self {
        for l in (1..self.k).rev() {
            self.index.swap(l, random.below(l + 1));
        }
        self
    }

    /// `scale · (code − zero)` in f32, with these zero points.
    pub(crate) fn real(&self, zero: impl Fn(usize) -> f32) -> Vec<f32> {
        let element = |at: usize| {
            let (row, column) = (at / self.k, at % self.k);
            let g = row * self.groups + self.index[column];
            (self.codes[at] as f32 - zero(g)) * self.scales[g]
        };
        (0..self.n * self.k).map(element).collect()
    }

    /// Scales, `[n, groups]` or `[groups, n]`.
    pub(crate) fn scale_bytes(&self, of: ElementType, transposed: bool) -> Vec<u8> {
        floats(of, &transpose_if(transposed, &self.scales, self.n))
    }

    pub(crate) fn index_bytes(&self) -> Vec<u8> {
        self.index.iter().flat_map(|&g| (g as i32).to_le_bytes()).collect()
    }
}

pub(crate) fn floats(of: ElementType, values: &[f32]) -> Vec<u8> {
    let bytes = |&x: &f32| match of {
        ElementType::Float16 => f16::from_f32(x).to_le_bytes().to_vec(),
        ElementType::Bfloat16 => bf16::from_f32(x).to_le_bytes().to_vec(),
        _ => x.to_le_bytes().to_vec(),
    };
    values.iter().flat_map(bytes).collect()
}

pub(crate) fn transpose_if<T: Copy>(really: bool, values: &[T], rows: usize) -> Vec<T> {
    let columns = values.len() / rows.max(1);
    match really {
        true => (0..values.len()).map(|at| values[at % rows * columns + at / rows]).collect(),
        false => values.to_vec(),
    }
}

/// Consecutive numbers of `bits` bits, low bits first, padded to whole words of `word_bytes` bytes.
pub(crate) fn bit_stream(values: impl Iterator<Item = u32>, bits: usize, word_bytes: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for (i, value) in values.enumerate() {
        for bit in 0..bits {
            let at = i * bits + bit;
            if at / 8 >= out.len() {
                out.resize(at / 8 / word_bytes * word_bytes + word_bytes, 0);
            }
            out[at / 8] |= ((value >> bit & 1) as u8) << (at % 8);
        }
    }
    out
}

/// Transposes words: `[lines, words]` becomes `[words, lines]`.
pub(crate) fn transpose_words(lines: &[Vec<u8>]) -> Vec<u8> {
    let words = lines.first().map_or(0, |line| line.len() / 4);
    (0..words).flat_map(|w| lines.iter().flat_map(move |line| line[4 * w..4 * w + 4].iter().copied())).collect()
}

/// A safetensors file.
pub(crate) fn safetensors(arrays: &[(&str, &str, &[usize], &[u8])], metadata: &[(&str, &str)]) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    let texts: serde_json::Map<_, _> = metadata.iter().map(|&(key, text)| (key.to_string(), text.into())).collect();
    header.insert("__metadata__".to_string(), texts.into());
    let mut data = Vec::new();
    for &(name, dtype, shape, bytes) in arrays {
        let offsets = [data.len(), data.len() + bytes.len()];
        header.insert(name.to_string(), serde_json::json!({"dtype": dtype, "shape": shape, "data_offsets": offsets}));
        data.extend(bytes);
    }
    let header = serde_json::Value::from(header).to_string();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat()
}

pub(crate) fn dtype(of: ElementType) -> &'static str {
    match of {
        ElementType::Float16 => "F16",
        ElementType::Bfloat16 => "BF16",
        _ => "F32",
    }
}
