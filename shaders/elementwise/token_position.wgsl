// The position of the first token.

@group(0) @binding(3) var<storage, read> position: array<i32>;
