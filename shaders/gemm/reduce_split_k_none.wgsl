// Split-k: one slice. There is nothing to add, and no barrier that an invocation could miss.

fn reduce_split_k(slice: u32, x: u32) {
}
