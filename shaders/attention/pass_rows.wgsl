// The numbers between passes for a query and head, as bits:
//
//     0  the first position that it sees     1  the first beyond     2  the factor of its sums     3 …  sums, then powers
//
// Sums of a key are KEY_GROUPS numbers for each position of the cache, powers one.
//# import attention/params
//# constants KEY_GROUPS

const PASS_HEADER: u32 = 3u;

fn pass_row(place: u32) -> u32 {
    return place * (u32(params.capacity) * KEY_GROUPS + PASS_HEADER);
}
