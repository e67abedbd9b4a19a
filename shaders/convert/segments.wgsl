// The numbers of segments, and their parameters.

@group(0) @binding(1) var<storage, read> input: array<u32>;                  // f32 bits, dense
@group(0) @binding(6) var<storage, read_write> parameters: array<vec2<u32>>; // scale (f32 bits), zero point
