//! `GgufQuantizer`: its errors beside those of other quantizers and of exhaustive searches, importance, and extreme numbers.

use half::f16;
use lowbit::import::gguf::{self, GgufQuantizer, GgufType};
use lowbit::weights::{Quantizer, Search};
use lowbit::{Error, Tensor};

use crate::Random;
use crate::refused::refused;

/// Numbers between −1 and 1 whose distribution has a peak, with a few that are larger.
fn numbers(count: usize, random: &mut Random) -> Vec<f32> {
    (0..count)
        .map(|_| {
            let x = (0..4).map(|_| random.real()).sum::<f32>() / 4.0;
            if random.below(50) == 0 { 3.0 * x } else { x }
        })
        .collect()
}

fn real(gguf_type: GgufType, blocks: &[u8]) -> Vec<f32> {
    let k = blocks.len() / gguf_type.block_bytes() * gguf_type.block();
    let weights = gguf::weights(gguf_type, [1, 1, k], blocks).expect("whole blocks");
    weights.dequantize().expect("small").values::<f32>().expect("float32").to_vec()
}

/// Σ w · (x − y)²; `w` is repeated.
fn error(x: &[f32], y: &[f32], w: &[f32]) -> f64 {
    let square = |x: f32, y: f32| (f64::from(x) - f64::from(y)).powi(2);
    x.iter().zip(y).zip(w.iter().cycle()).map(|((&x, &y), &w)| f64::from(w) * square(x, y)).sum()
}

fn searched(gguf_type: GgufType, x: &[f32]) -> f64 {
    error(x, &real(gguf_type, &GgufQuantizer::new(gguf_type).quantize(x).expect("finite")), &[1.0])
}

/// The search finds less error than ggml's references, and than `weights::Quantizer` for the same number of bits, whose search
/// doesn't know that scales are rounded to integers.
#[test]
fn less_error_than_other_quantizers() {
    let x = numbers(64 * 256, &mut Random(1));
    let tensor = Tensor::new([64, 256], x.clone()).expect("a matrix");
    for gguf_type in made() {
        let found = searched(gguf_type, &x);
        let other = match gguf_type {
            // Its scales have fewer bits than those of the format in memory, so the reference is a scale of max |x| / 6.
            GgufType::NVFP4 => {
                let rounded = x.chunks(16).map(|x| {
                    let d = f16::from_f32(x.iter().fold(0.0f32, |most, x| most.max(x.abs())) / 12.0).to_f32();
                    let values = [0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0];
                    let nearest = |x: f32| values.iter().map(|v| (x.abs() - v * d).powi(2)).fold(f32::MAX, f32::min);
                    x.iter().map(|&x| f64::from(nearest(x))).sum::<f64>()
                });
                rounded.sum()
            }
            GgufType::Q4_0 | GgufType::Q4_1 | GgufType::Q5_0 | GgufType::Q5_1 | GgufType::Q8_0 | GgufType::MXFP4 => {
                error(&x, &real(gguf_type, &gguf::quantize(gguf_type, &x).expect("finite")), &[1.0])
            }
            _ => {
                assert_eq!(
                    gguf::quantize(gguf_type, &x).expect("finite"),
                    GgufQuantizer::new(gguf_type).quantize(&x).expect("finite")
                );
                let quantizer =
                    Quantizer::new(gguf_type.format()).and_then(|q| q.search(Search::default())).expect("a format");
                let weights = quantizer.quantize(&tensor).expect("finite").dequantize().expect("small");
                error(&x, weights.values::<f32>().expect("float32"), &[1.0])
            }
        };
        println!("{gguf_type}: {found:.5}, {:.3} of the other's", found / other);
        assert!(found < other, "{gguf_type}: {found}, but {other} was found elsewhere");
    }
    // More bits, less error.
    let order = [GgufType::Q2_K, GgufType::Q3_K, GgufType::Q4_K, GgufType::Q5_K, GgufType::Q6_K, GgufType::Q8_0];
    assert!(order.map(|of| searched(of, &x)).is_sorted_by(|a, b| a > b));
    assert!(searched(GgufType::Q4_K, &x) < searched(GgufType::Q4_0, &x));
    assert!(searched(GgufType::Q5_K, &x) < searched(GgufType::Q5_0, &x));
}

/// The types that have a quantizer.
fn made() -> impl Iterator<Item = GgufType> {
    GgufType::ALL.into_iter().filter(|of| of.has_quantizer())
}

/// The values of a type's codes.
fn values(gguf_type: GgufType) -> Vec<f64> {
    let range = |low: i32, high: i32| (low..=high).map(f64::from).collect();
    match gguf_type {
        GgufType::Q4_0 => range(-8, 7),
        GgufType::Q3_K => range(-4, 3),
        GgufType::Q6_K => range(-32, 31),
        GgufType::Q2_K => range(0, 3),
        GgufType::Q4_K => range(0, 15),
        GgufType::Q5_K => range(0, 31),
        _ => vec![-127., -104., -83., -65., -49., -35., -22., -10., 1., 13., 25., 38., 53., 69., 89., 113.],
    }
}

/// The error of numbers for a · value + b, with each number's best value.
fn error_of(x: &[f32], values: &[f64], a: f64, b: f64) -> f64 {
    let of = |x: f64| {
        // Values ascend, so the nearest is one of two neighbours.
        let wanted = if a == 0.0 { values[0] } else { (x - b) / a };
        let above = values.partition_point(|&v| v < wanted).min(values.len() - 1);
        let square = |v: f64| (x - a * v - b).powi(2);
        square(values[above]).min(square(values[above.saturating_sub(1)]))
    };
    x.iter().map(|&x| of(x.into())).sum()
}

/// All f16 scales are tried: none has less error.
#[test]
fn no_f16_scale_is_better() {
    let mut random = Random(2);
    for gguf_type in [GgufType::Q4_0, GgufType::IQ4_NL] {
        let values = values(gguf_type);
        for _ in 0..6 {
            let x = numbers(32, &mut random);
            let found = searched(gguf_type, &x);
            // Scales below 2⁻¹⁰ are far too small for these numbers, and those above 1 too large.
            let bits = f16::from_f32(2f32.powi(-10)).to_bits()..f16::ONE.to_bits();
            let scales = bits.map(|bits| f64::from(f16::from_bits(bits).to_f32())).flat_map(|d| [d, -d]);
            let best = scales.map(|d| error_of(&x, &values, d, 0.0)).fold(f64::MAX, f64::min);
            println!("{gguf_type}: {found:.6}, the best is {best:.6}");
            // The starts of the search may lead to a neighbouring minimum, which is this much above the least one at most.
            assert!(found <= 1.02 * best, "{gguf_type}: {found}, but {best} is possible");
        }
    }
}

/// Nested scales beside a fine grid of real scales (and offsets) for each group by itself, which have more freedom.
#[test]
fn nested_scales_cost_little() {
    let mut random = Random(3);
    // An integer scale of up to S is off by half of 1 / S of the greatest: on average 1/60 of it for S = 15, 1/250 for 63, 1/500 for
    // 127. The error that this adds is nearly the square of (offset · greatest code), in units of the step² / 12 that rounding costs
    // anyway: 12 · (3/60)² = 3 percent for Q2_K, 12 · (4/130)² = 1 percent for Q3_K, 12 · (15/250)² = 4 percent for Q4_K,
    // 12 · (31/250)² = 18 percent for Q5_K, 12 · (32/500)² = 5 percent for Q6_K and 12 · (8/130)² = 5 percent for IQ4_XS. Minima add as
    // much. The best of several integers compensates for more than half of it.
    for (gguf_type, factor) in [
        (GgufType::Q2_K, 1.06),
        (GgufType::Q3_K, 1.03),
        (GgufType::Q4_K, 1.08),
        (GgufType::Q5_K, 1.18),
        (GgufType::Q6_K, 1.08),
        (GgufType::IQ4_XS, 1.05),
    ] {
        let (values, group) = (values(gguf_type), gguf_type.format().group);
        let (mut found, mut bound) = (0.0, 0.0);
        for _ in 0..4 {
            let x = numbers(256, &mut random);
            found += searched(gguf_type, &x);
            for x in x.chunks(group) {
                let (low, high) =
                    x.iter().fold((0.0f64, 0.0f64), |(low, high), &x| (low.min(x.into()), high.max(x.into())));
                let most = high.max(-low);
                let grid = |steps: usize| (0..=steps).map(move |i| i as f64 / steps as f64);
                let best = if values[0] == 0.0 {
                    // Ends of the range, each cut by up to 40 percent.
                    let ends = |steps| {
                        grid(steps).flat_map(move |l| grid(steps).map(move |h| (1.05 - 0.45 * l, 1.05 - 0.45 * h)))
                    };
                    let fit = |(l, h): (f64, f64)| {
                        let (b, top) = (low * l, high * h);
                        error_of(x, &values, (top - b) / values[values.len() - 1], b)
                    };
                    ends(60).map(fit).fold(f64::MAX, f64::min)
                } else {
                    let extreme = values.iter().fold(0.0f64, |most, v| most.max(v.abs()));
                    let scales = grid(4000).map(|i| most / extreme * (0.4 + i)).flat_map(|a| [a, -a]);
                    scales.map(|a| error_of(x, &values, a, 0.0)).fold(f64::MAX, f64::min)
                };
                bound += best;
            }
        }
        println!("{gguf_type}: {:.4} times the bound", found / bound);
        assert!(found <= factor * bound, "{gguf_type}: {found}, and {bound} without rounded scales");
    }
}

#[test]
fn importance_moves_the_error() {
    let mut random = Random(4);
    let (rows, k) = (24, 512);
    let x = numbers(rows * k, &mut random);
    let importance: Vec<f32> = (0..k).map(|_| (4.0 * random.real()).exp()).collect();
    for gguf_type in made() {
        let plain = GgufQuantizer::new(gguf_type);
        let weighted = plain.clone().importance(&importance).expect("positive");
        let [without, with] = [&plain, &weighted].map(|q| real(gguf_type, &q.quantize(&x).expect("finite")));
        let [before, after] = [&without, &with].map(|y| error(&x, y, &importance));
        println!("{gguf_type}: {:.3} of the weighted error without", after / before);
        assert!(after < before, "{gguf_type}: {after} is not less than {before}");
        assert!(error(&x, &without, &[1.0]) < error(&x, &with, &[1.0]));
        // Rows by themselves, and importance in another unit.
        let halves: Vec<f32> = importance.iter().map(|w| w / 2.0).collect();
        let same = plain.importance(&halves).expect("positive");
        let rows: Vec<u8> = x.chunks(k).flat_map(|row| same.quantize(row).expect("finite")).collect();
        assert_eq!(rows, weighted.quantize(&x).expect("finite"));
    }
}

/// Columns without importance are rounded to the nearest codes too, and blocks without any are as without importance.
#[test]
fn columns_of_no_importance() {
    let x = numbers(1024, &mut Random(5));
    for gguf_type in made() {
        let (block, bytes) = (gguf_type.block(), gguf_type.block_bytes());
        let mut importance = vec![0.0; 1024];
        importance[..block].fill(1.0);
        let quantizer = GgufQuantizer::new(gguf_type).importance(&importance).expect("one is positive");
        assert_eq!(quantizer.gguf_type(), gguf_type);
        let blocks = quantizer.quantize(&x).expect("finite");
        let plain = GgufQuantizer::new(gguf_type).quantize(&x).expect("finite");
        // Weights are powers of two here, which change no decision.
        assert_eq!(blocks[..bytes], plain[..bytes], "{gguf_type}");
        assert_eq!(blocks[bytes..], plain[bytes..], "{gguf_type}");
    }
}

/// Blocks are never worse than zeros, and the numbers are finite.
#[test]
fn extreme_numbers() {
    let mut random = Random(6);
    let scales = [0.0, 1e-45, f32::MIN_POSITIVE, 1e-30, 6e-8, 1e-6, 1.0, 65504.0, 1e6, 1e8, 3e9, 1e30, f32::MAX];
    for gguf_type in made() {
        let size = gguf_type.block();
        for scale in scales {
            type Make = fn(usize, f32, &mut Random) -> f32;
            let shapes: [Make; 7] = [
                |_, scale, random| scale * random.real(),
                |_, scale, _| scale,
                |_, scale, _| -scale,
                |i, scale, _| if i == 5 { scale } else { 0.0 },
                |i, scale, _| if i == 7 { -scale } else { 1e-3 * scale },
                |i, scale, _| if i % 2 == 0 { scale } else { -scale },
                |i, scale, random| if i < 16 { scale } else { scale * 1e-6 * random.real() },
            ];
            for (shape, make) in shapes.into_iter().enumerate() {
                let x: Vec<f32> = (0..size).map(|i| make(i, scale, &mut random)).collect();
                match GgufQuantizer::new(gguf_type).quantize(&x) {
                    Ok(blocks) => {
                        let y = real(gguf_type, &blocks);
                        assert!(y.iter().all(|y| y.is_finite()), "{gguf_type} {scale:e} shape {shape}: {y:?}");
                        let (error, zeros) = (error(&x, &y, &[1.0]), error(&x, &vec![0.0; size], &[1.0]));
                        // The dequantized numbers are rounded to f32.
                        assert!(
                            error <= zeros * (1.0 + 1e-6),
                            "{gguf_type} {scale:e} shape {shape}: {error} above {zeros}"
                        );
                        if scale == 0.0 {
                            assert!(y.iter().all(|&y| y == 0.0), "{gguf_type}: {y:?}");
                        }
                    }
                    Err(Error::Request(message)) => {
                        assert!(message.contains("too large for the scales of"), "{message}");
                        // Every type reaches the greatest f16, but for NVFP4.
                        assert!(
                            scale > 65504.0 || gguf_type == GgufType::NVFP4 && scale > 2688.0,
                            "{gguf_type} {scale}"
                        );
                    }
                    Err(other) => panic!("{other}"),
                }
            }
        }
        // Full f16 range in a block.
        if gguf_type != GgufType::NVFP4 {
            let x: Vec<f32> = (0..size).map(|i| if i % 2 == 0 { 65504.0 } else { -65504.0 }).collect();
            let y = real(gguf_type, &GgufQuantizer::new(gguf_type).quantize(&x).expect("f16"));
            assert!(x.iter().zip(&y).all(|(x, y)| (x - y).abs() <= 0.2 * 65504.0), "{gguf_type}: {y:?}");
        }
    }
}

/// Numbers that are all on one side of 0 keep their differences in types with minima, since m may be negative.
#[test]
fn offsets_of_both_signs() {
    let mut random = Random(8);
    for (gguf_type, levels) in
        [(GgufType::Q2_K, 3.0), (GgufType::Q4_K, 15.0), (GgufType::Q5_K, 31.0), (GgufType::Q4_1, 15.0)]
    {
        for sign in [1.0, -1.0] {
            let x: Vec<f32> = (0..256).map(|_| sign * (5.5 + 0.5 * random.real())).collect();
            let y = real(gguf_type, &GgufQuantizer::new(gguf_type).quantize(&x).expect("small"));
            // A step of the range of 1, and the rounding of minima to 15 or 63 integers (the offset to f16): 5/15 at the coarsest.
            let coarse = if gguf_type == GgufType::Q2_K { 0.5 * 6.0 / 15.0 } else { 0.5 * 6.0 / 63.0 };
            let bound = 0.75 / levels + coarse;
            let worst = x.iter().zip(&y).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
            assert!(worst <= bound, "{gguf_type}: {worst} above {bound}");
        }
    }
}

#[test]
fn refused_numbers() {
    for gguf_type in GgufType::ALL.into_iter().filter(|of| !of.has_quantizer()) {
        let x = vec![1.0; gguf_type.block()];
        refused(GgufQuantizer::new(gguf_type).quantize(&x), &[gguf_type.name(), "not made", "Q2_K"]);
        refused(gguf::quantize(gguf_type, &x), &[gguf_type.name()]);
    }
    assert_eq!(made().count(), 14);
    for gguf_type in made() {
        let (size, quantizer) = (gguf_type.block(), GgufQuantizer::new(gguf_type));
        for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut x = vec![1.0; 3 * size];
            x[size + 3] = odd;
            refused(quantizer.quantize(&x), &[&format!("number {} is not finite", size + 3)]);
            refused(quantizer.clone().importance(&x), &[&format!("column {}", size + 3), "finite"]);
            refused(gguf::quantize(gguf_type, &x), &["not finite"]);
        }
        refused(quantizer.quantize(&vec![0.0; size + 1]), &[&format!("{} numbers", size + 1), "zeros"]);
        refused(quantizer.clone().importance(&vec![0.0; size]), &["is 0", "leave it out"]);
        refused(quantizer.clone().importance(&[]), &["is 0"]);
        refused(quantizer.clone().importance(&vec![-1.0; size]), &["column 0 is -1"]);
        refused(quantizer.clone().importance(&vec![1.0; size + 1]), &["whole blocks"]);
        let weighted = quantizer.clone().importance(&vec![1.0; 2 * size]).expect("positive");
        refused(weighted.quantize(&vec![0.0; 3 * size]), &["no whole rows", &format!("{}", 2 * size)]);
        assert!(weighted.quantize(&[]).expect("nothing").is_empty());
        if gguf_type != GgufType::MXFP4 {
            let mut x = vec![0.0; 4 * size];
            x[2 * size + 1] = f32::MAX;
            x[3 * size + 1] = -f32::MAX;
            refused(quantizer.quantize(&x), &["block 2 ", "too large", gguf_type.name()]);
        }
    }
}
