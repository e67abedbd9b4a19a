// The words of lhs, in a binding of its own.

@group(0) @binding(1) var<storage, read> lhs: array<u32>;

fn lhs_word(at: u32) -> u32 {
    return lhs[at];
}
