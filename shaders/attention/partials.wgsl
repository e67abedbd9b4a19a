// The sums of slices of the cache, added in their order.
//# import attention/params
//# constants VALUE_QUADS

@group(0) @binding(1) var<storage, read> partials: array<f32>;

// The first word of a slice's sums of a query and head.
fn partial_start(slice: u32, place: u32) -> u32 {
    return (slice * u32(params.tokens) * params.heads + place) * (4u * VALUE_QUADS + 2u);
}

fn greatest_score(place: u32, slices: u32) -> f32 {
    var most = LEAST_SCORE;
    for (var slice = 0u; slice < slices; slice += 1u) {
        most = max(most, partials[partial_start(slice, place)]);
    }
    return most;
}

// The sum of powers, and that of powers times values of a column.
fn joined(place: u32, column: u32, most: f32, slices: u32) -> vec2<f32> {
    var sums = vec2<f32>();
    for (var slice = 0u; slice < slices; slice += 1u) {
        let partial = partial_start(slice, place);
        sums += exp(partials[partial] - most) * vec2<f32>(partials[partial + 1u], partials[partial + 2u + column]);
    }
    return sums;
}
