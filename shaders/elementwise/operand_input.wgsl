// The words of the input, in a binding of its own.

@group(0) @binding(1) var<storage, read> input: array<u32>;

fn input_word(at: u32) -> u32 {
    return input[at];
}
