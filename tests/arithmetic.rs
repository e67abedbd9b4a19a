//! The shaders' integer and f32 arithmetic against Rust's, function by function, on random and boundary bit patterns.
//! tests/equivalence.rs compares whole ops.

mod common;

use common::{Random, context};
use half::f16;

const MAIN: &str = "
@group(0) @binding(0) var<storage, read> pairs: array<vec2<u32>>;
@group(0) @binding(1) var<storage, read_write> results: array<array<u32, 15>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let a = pairs[id.x].x;
    let b = pairs[id.x].y;
    let wide = multiply_wide(a, b);
    results[id.x][0] = wide.x;
    results[id.x][1] = wide.y;
    results[id.x][2] = f32_from_i32(bitcast<i32>(a));
    results[id.x][3] = f32_multiply(a, b);
    results[id.x][4] = f32_add(a, b);
    results[id.x][5] = f32_divide(a, b);
    results[id.x][6] = bitcast<u32>(f32_round_to_i32(a));
    results[id.x][7] = f32_order(a);
    results[id.x][8] = bitcast<u32>(f32_truncate_to_i32(a));
    results[id.x][9] = f16_from_f32(a);
    results[id.x][10] = f32_from_f16(a & 0xffffu);
    results[id.x][11] = bitcast<u32>(clamp(product_step(bitcast<i32>(a), b), -0x20000, 0x20000));
    results[id.x][12] = bitcast<u32>(clamp(quotient_step(a, b), -0x20000, 0x20000));
    results[id.x][13] = f32_multiple(bitcast<i32>(a << 23u) >> 23u, b);
    results[id.x][14] = f32_multiple_add(bitcast<i32>(a << 23u) >> 23u, b, addend(a, b));
}
";

/// Addend of `f32_multiple_add`: an f32 of any size, near the negative product, or about as large as the product.
const ADDEND: &str = "
fn addend(a: u32, b: u32) -> u32 {
    let product = f32_multiple(bitcast<i32>(a << 23u) >> 23u, b);
    let near = (product ^ 0x80000000u) + ((a >> 9u) & 7u) - 3u;
    let size = (a & 0x807fffffu) | ((product + (((a >> 9u) % 80u) << 23u) - (40u << 23u)) & 0x7f800000u);
    return select(select(a, size, (a & 0x200000u) == 0u), near, (a & 0x100000u) == 0u);
}
";

/// Rust twin of `ADDEND`.
fn addend(a: u32, b: u32) -> f32 {
    let product = (((a << 23) as i32 >> 23) as f32 * f32::from_bits(b)).to_bits();
    let near = (product ^ 0x8000_0000).wrapping_add((a >> 9) & 7).wrapping_sub(3);
    let size = product.wrapping_add(((a >> 9) % 80) << 23).wrapping_sub(40 << 23) & 0x7f80_0000;
    f32::from_bits(match (a & 0x10_0000, a & 0x20_0000) {
        (0, _) => near,
        (_, 0) => (a & 0x807f_ffff) | size,
        _ => a,
    })
}

/// Rust's results for a pair; `None` where the shader's function isn't defined (NaN, division by zero).
fn expected(a: u32, b: u32) -> [Option<u32>; 15] {
    let product = u64::from(a) * u64::from(b);
    let (x, y) = (f32::from_bits(a), f32::from_bits(b));
    let finite = x.is_finite() && y.is_finite();
    let (small, z) = ((a << 23) as i32 >> 23, addend(a, b));
    let sum = (small as f32).mul_add(y, z);
    [
        Some((product >> 32) as u32),
        Some(product as u32),
        Some((a as i32 as f32).to_bits()),
        finite.then(|| (x * y).to_bits()),
        finite.then(|| (x + y).to_bits()),
        (finite && y != 0.0).then(|| (x / y).to_bits()),
        (!x.is_nan()).then(|| lowbit::numeric::round_saturating(x, i32::MIN, i32::MAX) as u32),
        Some(if a >> 31 == 0 { a | 1 << 31 } else { !a }),
        (!x.is_nan()).then_some(x as i32 as u32),
        Some(f16::from_f32(x).to_bits().into()),
        Some(f16::from_bits(a as u16).to_f32().to_bits()),
        (y.is_finite() && y > 0.0).then(|| step(a as i32 as f32 * y)),
        (finite && y != 0.0).then(|| step(x / y)),
        y.is_finite().then_some(small as f32 * y).filter(|_| small != -256).map(f32::to_bits),
        // The sign of zero may differ for a zero product or sum.
        (y.is_finite() && z.is_finite() && small != 0 && small != -256 && sum != 0.0).then_some(sum.to_bits()),
    ]
}

/// Nearest integer, ties to even, clamped to ±2^17.
fn step(x: f32) -> u32 {
    lowbit::numeric::round_saturating(x, -0x2_0000, 0x2_0000) as u32
}

#[test]
fn shader_arithmetic_is_ieee() {
    let Some(context) = context() else { return };
    let mut random = Random::new(11);
    let special = [
        0u32,
        1,
        2,
        0x7f_ffff,
        0x80_0000,
        0x80_0001,
        0x3f80_0000,
        0x3f80_0001,
        0x3f00_0000,
        0x3eff_ffff,
        0x4b00_0000,
        0x4b80_0000,
        0x4eff_ffff,
        0x4f00_0000,
        0x7f7f_ffff,
        0x7f00_0000,
        0x3fff_ffff,
        0x0100_0000,
        0x477f_efff,
        0x477f_f000,
        0x3880_0000,
        0x387f_ffff,
        0x3300_0000,
        0x3300_0001,
        0x32ff_ffff,
    ];
    let signed: Vec<u32> = special.iter().flat_map(|&bits| [bits, bits | 1 << 31]).collect();
    let mut pairs: Vec<[u32; 2]> = signed.iter().flat_map(|&a| signed.iter().map(move |&b| [a, b])).collect();
    for i in 0..400_000 {
        let (a, b) = (random.next() as u32, random.next() as u32);
        // Neighbouring exponents: sums cancel and quotients round.
        let near = (b & 0x807f_ffff) | (a & 0x7f80_0000).wrapping_add(((random.next() % 5) as u32) << 23) & 0x7f80_0000;
        pairs.push(if i % 2 == 0 { [a, b] } else { [a, near] });
    }
    // Boundaries of float16: its ends, roundings and ties.
    pairs.extend((0..=u16::MAX).map(|bits| {
        let half = f16::from_bits(bits).to_f32().to_bits();
        [half.wrapping_add(0x1000).wrapping_add_signed(random.integer(-1, 1) as i32), bits.into()]
    }));
    // Products and quotients a few units in the last place from the middle between two integers.
    for i in 0..400_000 {
        let bits = random.integer(1, 17) as u32;
        let middle = (random.next() % (1 << bits)) as f32 + 0.5;
        let aside = random.integer(-3, 3) as u32;
        let scale = f32::from_bits((random.next() % 0x7f00_0000) as u32);
        if i % 2 == 0 {
            let integer = random.next() as i32 >> random.integer(0, 31);
            let multiplier = middle / integer.unsigned_abs().max(1) as f32;
            pairs.push([integer as u32, multiplier.to_bits().wrapping_add(aside)]);
        } else if scale > 0.0 {
            let sign = (random.next() % 2) as u32;
            pairs.push([(middle * scale).to_bits().wrapping_add(aside) | sign << 31, scale.to_bits()]);
        }
    }
    pairs.resize(pairs.len().next_multiple_of(64), [0, 0]);

    let source = [
        MAIN,
        ADDEND,
        include_str!("../shaders/math/multiply_wide.wgsl"),
        include_str!("../shaders/math/float_bits.wgsl"),
        include_str!("../shaders/math/float_multiple_add.wgsl"),
        include_str!("../shaders/math/nearest_step.wgsl"),
        include_str!("../shaders/math/float16_bits.wgsl"),
    ];
    let results = launch(&context, &source.concat(), &pairs);
    let names = [
        "wide.x",
        "wide.y",
        "from_i32",
        "multiply",
        "add",
        "divide",
        "round_to_i32",
        "order",
        "truncate_to_i32",
        "f16",
        "from_f16",
        "product_step",
        "quotient_step",
        "multiple",
        "multiple_add",
    ];
    for (pair, results) in pairs.iter().zip(results.chunks_exact(15)) {
        for ((expected, got), name) in expected(pair[0], pair[1]).iter().zip(results).zip(names) {
            if let Some(expected) = expected {
                assert_eq!(got, expected, "{name} of {:#010x} and {:#010x}: got {got:#010x}", pair[0], pair[1]);
            }
        }
    }
    println!("{} pairs on {}", pairs.len(), context.description());
}

/// Runs the program over all pairs and returns fifteen words for each.
fn launch(context: &lowbit::Context, source: &str, pairs: &[[u32; 2]]) -> Vec<u32> {
    let device = context.device();
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Wgsl(source.into()),
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: Some("main"),
        compilation_options: Default::default(),
        cache: None,
    });
    let buffer = |size: usize| {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: size as u64,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        })
    };
    let (input, output) = (buffer(pairs.len() * 8), buffer(pairs.len() * 60));
    context.queue().write_buffer(&input, 0, bytemuck::cast_slice(pairs));
    let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.get_bind_group_layout(0),
        entries: &[
            wgpu::BindGroupEntry { binding: 0, resource: input.as_entire_binding() },
            wgpu::BindGroupEntry { binding: 1, resource: output.as_entire_binding() },
        ],
    });
    let mut encoder = device.create_command_encoder(&Default::default());
    let mut pass = encoder.begin_compute_pass(&Default::default());
    pass.set_pipeline(&pipeline);
    pass.set_bind_group(0, &group, &[]);
    pass.dispatch_workgroups(pairs.len() as u32 / 64, 1, 1);
    drop(pass);
    context.queue().submit([encoder.finish()]);
    let results = lowbit::TensorType::new(lowbit::DType::Int32, [pairs.len(), 15]).expect("it fits");
    let results = lowbit::DeviceTensor::from_buffer(results, output, 0).expect("a sound buffer");
    let results = context.download_blocking(&results).expect("the device works");
    results.values::<i32>().expect("int32").iter().map(|&word| word as u32).collect()
}
