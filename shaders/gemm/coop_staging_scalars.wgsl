// Codes in workgroup memory for cooperative matrices, one by one. Metal loads a matrix from an array of its own elements.
//# needs staged: gemm/coop_tile

alias Staged = f16;

// Elements that hold four codes.
const FOUR: u32 = 4u;

fn stage_four(at: u32, four: vec4<f16>) {
    for (var i = 0u; i < 4u; i += 1u) {
        staged[at + i] = four[i];
    }
}

fn staged_four(at: u32) -> vec4<f32> {
    return vec4<f32>(vec4<f16>(staged[at], staged[at + 1u], staged[at + 2u], staged[at + 3u]));
}
