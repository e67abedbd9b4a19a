// Codes in workgroup memory for cooperative matrices, as vectors of four: Vulkan counts strides in elements of the
// array, whatever they are.
//# needs staged: gemm/coop_tile

alias Staged = vec4<f16>;

// Elements that hold four codes.
const FOUR: u32 = 1u;

fn stage_four(at: u32, four: vec4<f16>) {
    staged[at] = four;
}

fn staged_four(at: u32) -> vec4<f32> {
    return vec4<f32>(staged[at]);
}
