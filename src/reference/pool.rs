//! The meaning of `ops::Pool`. GPU twin: `shaders/pool.wgsl`.

use crate::ops::{Pool, PoolKind};
use crate::tensor::Tensor;

pub(super) fn pool(op: &Pool, input: &Tensor) -> Tensor {
    let window = op.window();
    let channels = op.input().shape().row_length();
    let (least, _) = op.input().format().range().expect("an integer format");
    let zero_point = op.input().parameters(0).1;
    let mut codes = Vec::new();
    for image in 0..op.input().dimensions()[0] {
        for pixel in 0..window.output_pixels() {
            for channel in 0..channels {
                let (mut sum, mut greatest, mut count) = (0, least, 0usize);
                for (_, source, in_padding) in window.taps_of(pixel) {
                    if let Some(source) = source {
                        let code = input.code((image * window.input_pixels() + source) * channels + channel);
                        sum += code - zero_point;
                        greatest = greatest.max(code);
                        count += 1;
                    } else if op.counts_padding() && in_padding {
                        count += 1;
                    }
                }
                codes.push(match op.kind() {
                    PoolKind::Max => greatest,
                    PoolKind::Average => {
                        let entry = op.stage().entries[count.max(1) - 1];
                        op.output().apply(sum, entry.multiplier.expect("an average has multipliers"))
                    }
                });
            }
        }
    }
    Tensor::from_codes(op.output_type().clone(), codes)
}
