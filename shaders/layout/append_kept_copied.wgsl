// The part of a cache that gets no rows: copied.

@group(0) @binding(1) var<storage, read> cache: array<u32>;
@group(0) @binding(8) var<storage, read> cache_parameters: array<vec2<u32>>;

fn kept_word(index: u32) -> u32 {
    return cache[index];
}

fn kept_parameters(index: u32) -> vec2<u32> {
    return cache_parameters[index];
}
