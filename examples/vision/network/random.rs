//! Random numbers of a fixed seed (SplitMix64), and a synthetic image. `mod.rs` makes weights of them.

pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Approximately normal number: the sum of four uniform numbers. Its magnitude is at most 3.5.
    pub(crate) fn normal(&mut self) -> f32 {
        let word = self.next();
        let sum: f32 = (0..4).map(|i| (word >> (16 * i) & 0xffff) as f32).sum();
        (sum / 65_535.0 - 2.0) * 3.0f32.sqrt()
    }

    /// Smooth shapes with some noise; red, green and blue of a pixel are adjacent.
    pub(crate) fn image(&mut self, size: usize) -> Vec<u8> {
        let waves: Vec<[f32; 4]> = (0..12).map(|_| std::array::from_fn(|_| self.normal())).collect();
        let mut pixels = Vec::with_capacity(size * size * 3);
        for y in 0..size {
            for x in 0..size {
                let (x, y) = (x as f32 / size as f32 * 9.0, y as f32 / size as f32 * 9.0);
                for channel in waves.chunks_exact(4) {
                    let value: f32 = channel.iter().map(|[a, b, c, d]| (a * x + b * y + c * 3.0).sin() * d).sum();
                    pixels.push((128.0 + 45.0 * value + 8.0 * self.normal()).clamp(0.0, 255.0) as u8);
                }
            }
        }
        pixels
    }
}
