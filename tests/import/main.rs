//! `lowbit::import` against model files: every layout against its definition in plain loops that share no code with the crate,
//! refused files with their messages, and corrupted files. Expected numbers are compared bit for bit.

mod bitsandbytes;
mod fixtures;
mod fuzz;
mod ggml;
mod layouts;
mod packages;
mod refused;
mod search;
mod writer;

use lowbit::weights::PackedWeights;

/// Pseudorandom numbers, equal on every platform (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// 0 … count − 1
    fn below(&mut self, count: usize) -> usize {
        (self.next() % count.max(1) as u64) as usize
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }

    /// −1 … 1
    fn real(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}

/// Compares weights with `[n, k]` real numbers, bit for bit.
fn assert_weights(what: &str, weights: &PackedWeights, expected: &[f32]) {
    let [experts, n, k] = weights.dims();
    let real = weights.dequantize().expect("small");
    let got = real.values::<f32>().expect("float32");
    assert_eq!(got.len(), expected.len(), "{what}: {weights}");
    assert_eq!(experts * n * k, expected.len(), "{what}: {weights}");
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        let (row, column) = (i / k, i % k);
        assert_eq!(
            got.to_bits(),
            expected.to_bits(),
            "{what}: {weights} row {row} column {column}: {got:e}, not {expected:e}"
        );
    }
}
