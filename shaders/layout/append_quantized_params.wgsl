// The parameters of the loops that quantize rows and write them into a cache.

struct Params {
    capacity: i32,            // indices of the cache
    count: i32,               // indices of the rows
    token_rows: u32,          // rows of an index
    n: u32,                   // elements of a row
    length: u32,              // elements of a segment: a row, or a group of a row
    per_row: u32,             // segments of a row; the last may be shorter
    row_words: u32,           // words of a row of codes
    half: u32,                // pairs of a row that are rotated
    positions: i32,           // rows of the table of angles
    low: i32,                 // least and greatest code
    high: i32,
    unused_0: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
