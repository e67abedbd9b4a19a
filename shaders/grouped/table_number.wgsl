// The numbers of a table, NUMBER_0 to NUMBER_15, as f32 bits.
//# constants NUMBER_0, NUMBER_1, NUMBER_10, NUMBER_11, NUMBER_12, NUMBER_13, NUMBER_14, NUMBER_15, NUMBER_2, NUMBER_3, NUMBER_4, NUMBER_5, NUMBER_6, NUMBER_7, NUMBER_8, NUMBER_9

// A tree of selections: drivers keep a table that is indexed in memory.
fn table_numbers(places: vec4<u32>) -> vec4<u32> {
    let one = vec4<u32>(0u) - (places & vec4<u32>(1u));
    let two = (places & vec4<u32>(2u)) != vec4<u32>(0u);
    let four = (places & vec4<u32>(4u)) != vec4<u32>(0u);
    let eight = (places & vec4<u32>(8u)) != vec4<u32>(0u);
    let a = select(pair(NUMBER_0, NUMBER_1, one), pair(NUMBER_2, NUMBER_3, one), two);
    let b = select(pair(NUMBER_4, NUMBER_5, one), pair(NUMBER_6, NUMBER_7, one), two);
    let c = select(pair(NUMBER_8, NUMBER_9, one), pair(NUMBER_10, NUMBER_11, one), two);
    let d = select(pair(NUMBER_12, NUMBER_13, one), pair(NUMBER_14, NUMBER_15, one), two);
    return select(select(a, b, four), select(c, d, four), eight);
}

// `odd` where `one` has all bits. Mesa makes -0 of 0 where constants 0 and -1 are selected.
fn pair(even: u32, odd: u32, one: vec4<u32>) -> vec4<u32> {
    return vec4<u32>(even) ^ (vec4<u32>(even ^ odd) & one);
}
