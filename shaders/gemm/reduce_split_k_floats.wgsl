// Split-k of floats: the totals of slices of k are added in order through workgroup memory.
//# constants GROUP_X, SLICES

var<workgroup> partial: array<vec4<f32>, GROUP_X * SLICES>;      // [slice][column]

// The total of all slices, in the first slice of the same quad; others get back their own. All invocations of the workgroup must
// call it.
fn reduce_slices(own: vec4<f32>, slice: u32, x: u32) -> vec4<f32> {
    partial[slice * GROUP_X + x] = own;
    workgroupBarrier();
    var total = own;
    for (var other = 1u; other < SLICES; other += 1u) {
        total = select(total, total + partial[other * GROUP_X + x], slice == 0u);
    }
    workgroupBarrier();
    return total;
}
