// output[r, i] = clamp(round_ties_even(p_i · factor / Σ_j p_j) + z)    p_i = powers[max_r − input[r, i]], a softmax in codes
//
// The sum is one of f32 from the first element to the last, each addition rounded; of the quotient only the nearest integer is
// rounded. LANES invocations share a row. They add in any order first, which gives a guess of each quotient. If one of the row is
// near the middle between two integers, an invocation sums the row in order, in integers.
//
// An f32 sum of n positive numbers is off by n / 2 units of 2^-23 of itself at most, the lanes' sum by a unit for each addition
// on the way of an element, and the quotient by a few. Factors of 1.25 are above the errors of second order for 2^17 elements.
//
// Meaning: reference/quantized_softmax.rs. Candidates: kernels/elementwise/quantized_softmax.rs.
//# import math/linear_index
//# import math/nearest_step
//# import math/float_bits
//# import math/multiply_wide
//# needs row_max, row_sum: elementwise/row_lanes
//# constants LANES, ROWS, INPUT_FLIP

struct Params {
    rows: u32,
    n: u32,                   // elements of a row
    row_words: u32,           // u32 words of a row, input and output
    factor: u32,              // f32 bits: steps of the output in 1
    zero_point: i32,
    low: i32,                 // least and greatest output code
    high: i32,
    unused_0: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<u32>;
@group(0) @binding(5) var<storage, read> powers: array<u32, 256>;              // f32 bits
@group(0) @binding(6) var<storage, read_write> output: array<u32>;

const DECIDED: f32 = 512.0;                                 // a quotient from here on saturates

var<workgroup> ordered_sums: array<u32, ROWS>;

fn is_inside(word: u32) -> vec4<bool> {
    return vec4<u32>(4u * word) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(params.n);
}

fn four_codes(first: u32, word: u32) -> vec4<u32> {
    return unpack4xU8(input[first + word] ^ INPUT_FLIP);
}

// The powers of four elements, 0 beyond the end of the row.
fn four_powers(first: u32, word: u32, most: u32) -> vec4<u32> {
    let distance = vec4<u32>(most) - min(four_codes(first, word), vec4<u32>(most));
    let found = vec4<u32>(powers[distance.x], powers[distance.y], powers[distance.z], powers[distance.w]);
    return select(vec4<u32>(0u), found, is_inside(word));
}

fn sum_in_order(first: u32, words: u32, most: u32) -> u32 {
    var sum = 0u;
    for (var word = 0u; word < words; word += 1u) {
        let four = four_powers(first, word, most);
        sum = f32_add(f32_add(f32_add(f32_add(sum, four.x), four.y), four.z), four.w);
    }
    return sum;
}

// round_ties_even(power · factor / sum), saturated; `ratio` is about factor / sum.
fn nearest_share(power: u32, sum: u32, ratio: f32) -> i32 {
    let guess = guess_step(min(bitcast<f32>(power) * ratio, 2.0 * DECIDED));
    if (!guess.near) {
        return i32(guess.k) + select(0, 1, guess.side > 0.0);
    }
    // 2 · power · factor is compared with (2k + 1) · sum, both as integers of up to 48 bits.
    let x = f32_magnitude(power);
    let y = f32_magnitude(params.factor);
    let z = f32_magnitude(sum);
    let product = multiply_wide(x.bits >> 8u, y.bits >> 8u);
    let middle = multiply_wide(2u * guess.k + 1u, z.bits >> 8u);
    let shift = u32(z.exponent - x.exponent - y.exponent + 22) & 31u;          // 11 to 25 near the middle
    let high = (middle.x << shift) | ((middle.y >> 1u) >> (31u - shift));
    let low = middle.y << shift;
    let above = product.x > high || (product.x == high && product.y > low);
    let tie = product.x == high && product.y == low;
    return i32(guess.k) + select(0, 1, above || (tie && (guess.k & 1u) == 1u));
}

@compute @workgroup_size(LANES, ROWS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let row = linear_group(group, groups) * ROWS + local.y;
    let first = row * params.row_words;
    // Lanes beyond the last row read nothing.
    let words = select(0u, params.row_words, row < params.rows);
    var greatest = vec4<u32>(0u);
    for (var word = local.x; word < words; word += LANES) {
        greatest = max(greatest, select(vec4<u32>(0u), four_codes(first, word), is_inside(word)));
    }
    let of_lane = max(max(greatest.x, greatest.y), max(greatest.z, greatest.w));
    let most = u32(row_max(f32(of_lane), local.x, local.y));

    var total = 0.0;
    for (var word = local.x; word < words; word += LANES) {
        let four = bitcast<vec4<f32>>(four_powers(first, word, most));
        total += (four.x + four.y) + (four.z + four.w);
    }
    total = row_sum(total, local.x, local.y);
    var sum = bitcast<u32>(total);

    let factor = bitcast<f32>(params.factor);
    let error = 1.25 * (f32(params.n) * (0.5 + 0.25 / f32(LANES)) + 32.0) * 0x1p-23;
    var near = 0.0;
    for (var word = local.x; word < words; word += LANES) {
        let guess = bitcast<vec4<f32>>(four_powers(first, word, most)) * (factor / total);
        let is_near = abs((guess - floor(guess)) - 0.5) <= guess * error;
        near = select(near, 1.0, any(is_near & (guess < vec4<f32>(DECIDED))));
    }
    let is_ordered = row_max(near, local.x, local.y) > 0.0;
    if (is_ordered && local.x == 0u) {
        ordered_sums[local.y] = sum_in_order(first, words, most);
    }
    workgroupBarrier();
    sum = select(sum, ordered_sums[local.y], is_ordered);

    let ratio = factor / bitcast<f32>(sum);
    for (var word = local.x; word < words; word += LANES) {
        let four = four_powers(first, word, most);
        var codes = vec4<i32>(0);
        for (var i = 0u; i < 4u; i += 1u) {
            codes[i] = nearest_share(four[i], sum, ratio);
        }
        codes = clamp(codes + params.zero_point, vec4<i32>(params.low), vec4<i32>(params.high));
        let bytes = select(vec4<u32>(0u), bitcast<vec4<u32>>(codes) & vec4<u32>(0xffu), is_inside(word));
        output[first + word] = bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | (bytes.w << 24u);
    }
}
