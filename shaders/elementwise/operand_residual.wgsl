// The words of the residual, in a binding of its own.

@group(0) @binding(4) var<storage, read> residual: array<u32>;

fn residual_word(at: u32) -> u32 {
    return residual[at];
}
