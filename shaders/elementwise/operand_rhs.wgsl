// The words of rhs, in a binding of its own.

@group(0) @binding(2) var<storage, read> rhs: array<u32>;

fn rhs_word(at: u32) -> u32 {
    return rhs[at];
}
