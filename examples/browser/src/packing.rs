//! Weights that a Worker imports and packs, and the page multiplies by: only their words pass between the two.

use lowbit::import::gguf::{self, GgufType};
use lowbit::ops::{Linear, Op};
use lowbit::weights::PackedWeights;
use lowbit::{Context, Tensor, reference};
use wasm_bindgen::prelude::{JsError, wasm_bindgen};

use crate::{Page, Result, told};

/// The type of the weights in the file.
const TYPE: GgufType = GgufType::Q4_0;

/// Blocks of a matrix, as a GGUF file holds them.
#[wasm_bindgen]
pub fn blocks(numbers: &[f32]) -> std::result::Result<Vec<u8>, JsError> {
    told(gguf::quantize(TYPE, numbers).map_err(Into::into))
}

/// Imports a matrix and packs it: its words. This takes the processor's time, so a Worker calls it.
#[wasm_bindgen]
pub fn import_words(rows: usize, columns: usize, blocks: &[u8]) -> std::result::Result<Vec<u32>, JsError> {
    told(words([1, rows, columns], blocks))
}

fn words(dims: [usize; 3], blocks: &[u8]) -> Result<Vec<u32>> {
    Ok(gguf::weights(TYPE, dims, blocks)?.words()?.to_vec())
}

#[wasm_bindgen]
impl Page {
    /// Multiplies a row by the weights of these words: true if the GPU's numbers are within the bound of the reference's.
    pub async fn multiply(&self, rows: usize, columns: usize, words: Vec<u32>) -> std::result::Result<bool, JsError> {
        told(multiply(&self.context(), [1, rows, columns], words).await)
    }
}

async fn multiply(context: &Context, dims: [usize; 3], words: Vec<u32>) -> Result<bool> {
    let weights = PackedWeights::from_words(TYPE.format(), dims, words)?;
    let row = Tensor::new([1, dims[2]], (0..dims[2]).map(|i| (i % 7) as f32 - 3.0).collect::<Vec<_>>())?;
    let op: Op = Linear::new(row.tensor_type().clone(), weights).build()?.into();
    let got = context.run(&op, &[&row]).await?.remove(0);
    let expected = reference::run(&op, &[&row])?.remove(0);
    let bound = reference::tolerance(&op, &[&row])?.unwrap_or_default();
    let pairs = got.values::<f32>()?.iter().zip(expected.values::<f32>()?);
    Ok(pairs.zip(&bound).all(|((got, expected), bound)| (got - expected).abs() <= *bound))
}
