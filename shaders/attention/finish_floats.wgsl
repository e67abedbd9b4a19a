// The end of attention: numbers, or sums of a slice.
//# import attention/params
//# import attention/store

fn finish_partial(partial: u32, quad: u32, most: f32, total: f32, sum: vec4<f32>) {
    output[partial] = most;
    output[partial + 1u] = total;
    store(partial + 2u + 4u * quad, sum, 4u);
}

fn finish_quad(place: u32, quad: u32, lane: u32, numbers: vec4<f32>) {
    store(place * params.value_d + 4u * quad, numbers, params.value_d - 4u * quad);
}

fn finish_row(place: u32, lane: u32, is_there: bool) {
}
