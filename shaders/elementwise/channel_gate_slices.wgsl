// A term of a mean: the sum of a slice of pixels, from elementwise/pool_partial.wgsl.
//# params images, squeeze

@group(0) @binding(1) var<storage, read> sums: array<vec4<i32>>;      // [slice][image][quad of a padded pixel]

fn squeeze_term(image: u32, slice: u32, quad: u32) -> vec4<i32> {
    return sums[(slice * params.images + image) * params.squeeze.w + quad];
}
