// The end of attention that is quantized: the numbers of a query and head, of which a lane has a quad, become codes. A lane owns a group.
// There are no slices.
//# import attention/group_codes
//# import attention/params
//# needs sums: attention/attention
//# constants CODE_QUADS, VALUE_QUADS

fn finish_partial(partial: u32, quad: u32, most: f32, total: f32, sum: vec4<f32>) {
}

fn finish_quad(place: u32, quad: u32, lane: u32, numbers: vec4<f32>) {
    sums[lane] = numbers;
}

fn finish_row(place: u32, lane: u32, is_there: bool) {
    workgroupBarrier();
    if (lane < VALUE_QUADS / CODE_QUADS && is_there) {
        var numbers: array<vec4<f32>, CODE_QUADS>;
        for (var i = 0u; i < CODE_QUADS; i += 1u) {
            numbers[i] = sums[lane * CODE_QUADS + i];
        }
        store_group(place, lane, numbers);
    }
}
