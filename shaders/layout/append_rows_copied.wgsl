// The words that are appended: the rows have the cache's data type.

@group(0) @binding(2) var<storage, read> rows: array<u32>;

fn appended_word(word: u32) -> u32 {
    return rows[word];
}
