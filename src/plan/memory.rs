//! Placement of intermediate tensors: lifetimes packed into few bytes. `order` decides when a tensor is needed; `gpu` allocates the
//! buffers.

use std::cmp::Reverse;

use crate::numeric::sort_indices;

/// Sizes and offsets are multiples of this many bytes: the coarsest alignment of a storage binding that WebGPU lets a device
/// require.
pub(crate) const ALIGNMENT: u64 = 256;

/// A tensor's lifetime in memory: from the step that writes it to the last step that reads it, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lifetime {
    pub first: usize,
    pub last: usize,
    pub bytes: u64,
}

impl Lifetime {
    /// True if both are in memory during some step.
    fn meets(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// The place of a tensor in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub buffer: usize,
    /// Offset in bytes, a multiple of [`ALIGNMENT`].
    pub offset: u64,
}

/// The places of all tensors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    /// By index of the lifetime. Tensors of 0 bytes are placed at the start of buffer 0, which need not exist.
    pub places: Vec<Place>,
    /// The sizes of the buffers in bytes.
    pub buffers: Vec<u64>,
}

impl Layout {
    /// The sum of the sizes of the buffers.
    pub(crate) fn bytes(&self) -> u64 {
        self.buffers.iter().sum()
    }
}

/// The rules for cutting memory into buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MemoryRules {
    /// The largest size of a buffer, in bytes.
    pub largest_buffer: u64,
    /// True if all tensors must lie in one buffer.
    pub single_buffer: bool,
}

/// The bytes that a tensor occupies: a multiple of [`ALIGNMENT`].
pub(crate) fn aligned(bytes: u64) -> u64 {
    bytes.next_multiple_of(ALIGNMENT)
}

/// The largest sum of bytes that are in memory during one step, each tensor rounded up to [`ALIGNMENT`]. No layout is smaller.
pub(crate) fn live_peak(intervals: &[Lifetime]) -> u64 {
    live(&rounded(intervals)).into_iter().map(|(_, bytes)| bytes).max().unwrap_or(0)
}

/// A layout in which tensors that are in memory at the same time don't overlap. `None` if a tensor does not fit a buffer (or, with
/// [`MemoryRules::single_buffer`], if all tensors together don't).
///
/// The tensors are packed into one range of bytes first. Where at most two are in memory at once, as in a chain, its size is the
/// [`live_peak`], and mostly so anywhere else. The range is then cut into buffers at every address that no tensor straddles,
/// because dispatches that share no buffer need not wait for each other.
///
/// The layout depends only on the lifetimes and the rules.
pub(crate) fn pack(intervals: &[Lifetime], rules: &MemoryRules) -> Option<Layout> {
    let intervals = &rounded(intervals)[..];
    let largest = rules.largest_buffer / ALIGNMENT * ALIGNMENT;
    if intervals.iter().any(|interval| interval.bytes > largest) {
        return None;
    }
    let offsets = two_stacks(intervals).unwrap_or_else(|| search(intervals));
    if rules.single_buffer {
        let layout = whole(intervals, &offsets);
        return (layout.bytes() <= largest).then_some(layout);
    }
    let layout = cut(intervals, &offsets);
    if layout.buffers.iter().all(|&bytes| bytes <= largest) {
        return Some(layout);
    }
    let bins = starting_orders(intervals).into_iter().map(|order| {
        let offsets = place(intervals, &order, u64::MAX, largest).expect("no limit");
        cut(intervals, &offsets)
    });
    bins.min_by_key(Layout::bytes)
}

fn rounded(intervals: &[Lifetime]) -> Vec<Lifetime> {
    intervals.iter().map(|interval| Lifetime { bytes: aligned(interval.bytes), ..*interval }).collect()
}

/// The indices of the tensors that are not empty.
fn occupying(intervals: &[Lifetime]) -> Vec<usize> {
    (0..intervals.len()).filter(|&i| intervals[i].bytes > 0).collect()
}

/// The steps at which tensors come into memory, in order, and the bytes in memory then.
fn live(intervals: &[Lifetime]) -> Vec<(usize, u64)> {
    let mut firsts = occupying(intervals);
    let mut lasts = firsts.clone();
    sort_indices(&mut firsts, |i| intervals[i].first);
    sort_indices(&mut lasts, |i| intervals[i].last);

    let mut gone = lasts.iter().map(|&i| &intervals[i]).peekable();
    let mut bytes = 0;
    let mut live: Vec<(usize, u64)> = vec![];
    for come in firsts.iter().map(|&i| &intervals[i]) {
        bytes += come.bytes;
        while let Some(interval) = gone.next_if(|interval| interval.last < come.first) {
            bytes -= interval.bytes;
        }
        live.pop_if(|(step, _)| *step == come.first);
        live.push((come.first, bytes));
    }
    live
}

/// The best layout if at most two tensors are in memory at once: one at the bottom, the other below the [`live_peak`], taking
/// turns. `None` if three tensors are in memory at once.
///
/// ```text
///     peak  ┌───┐         ┌─┐
///           │ b ├───┐   ┌─┤f│
///           ├─┬─┴─┬─┴───┤ └─┘
///           │a│ c │  e  │        steps →
/// ```
fn two_stacks(intervals: &[Lifetime]) -> Option<Vec<u64>> {
    let peak = live_peak(intervals);
    let mut offsets = vec![0; intervals.len()];
    let mut order = occupying(intervals);
    sort_indices(&mut order, |i| intervals[i].first);
    let mut stacks = [vec![], vec![]];
    for i in order {
        let is_free = |stack: &Vec<usize>| stack.last().is_none_or(|&j| intervals[j].last < intervals[i].first);
        if stacks.iter().all(is_free) {
            hang(intervals, &stacks, peak, &mut offsets);
            stacks = [vec![], vec![]];
        }
        stacks.iter_mut().find(|stack| is_free(stack))?.push(i);
    }
    hang(intervals, &stacks, peak, &mut offsets);
    Some(offsets)
}

/// Moves one of two stacks up to the peak: the stack of smaller tensors, so that all large ones lie at the bottom and there may be
/// an address to cut at.
fn hang(intervals: &[Lifetime], stacks: &[Vec<usize>; 2], peak: u64, offsets: &mut [u64]) {
    let smaller = stacks.iter().min_by_key(|stack| stack.iter().map(|&i| intervals[i].bytes).max()).expect("two");
    for &i in smaller {
        offsets[i] = peak - intervals[i].bytes;
    }
}

/// The lowest layout of a bounded number of attempts. The search ends at the [`live_peak`]. An attempt places the tensors in some
/// order; the next one places the tensor that went too high earlier.
fn search(intervals: &[Lifetime]) -> Vec<u64> {
    /// The largest number of attempts.
    const ATTEMPTS: usize = 2000;
    /// The largest number of compared pairs of tensors, about: a fraction of a second.
    const PAIRS: u64 = 100_000_000;
    /// Number of attempts that start from one order.
    const PATIENCE: usize = 50;

    let peak = live_peak(intervals);
    let orders = starting_orders(intervals);
    let mut random = 1;
    let mut pairs = 0;
    let (mut top, mut best) = (u64::MAX, vec![]);
    let mut order = vec![];
    // First each order once, then each with patience.
    for attempt in 0..ATTEMPTS {
        match attempt.checked_sub(orders.len()) {
            None => order = orders[attempt].clone(),
            Some(n) if n % PATIENCE == 0 => order = orders[n / PATIENCE % orders.len()].clone(),
            _ => {}
        }
        let placed = match place(intervals, &order, top - ALIGNMENT, u64::MAX) {
            Ok(offsets) => {
                top = end(intervals, &offsets);
                best = offsets;
                order.len()
            }
            Err(stuck) => {
                order[xorshift(&mut random) % (stuck + 1)..=stuck].rotate_right(1);
                stuck
            }
        };
        pairs += (placed as u64).pow(2) / 2;
        if top == peak || pairs > PAIRS {
            break;
        }
    }
    best
}

/// The next number of a fixed sequence (Marsaglia, 2003).
fn xorshift(state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 32) as usize
}

/// Orders in which placing tensors works well, mostly the best first: largest tensors, largest and longest, those of the busiest
/// steps (longest or largest first), and earliest.
fn starting_orders(intervals: &[Lifetime]) -> Vec<Vec<usize>> {
    let live = live(intervals);
    let busiest = |interval: &Lifetime| {
        let from = live.partition_point(|&(step, _)| step < interval.first);
        let during = live[from..].iter().take_while(|&&(step, _)| step <= interval.last);
        during.map(|&(_, bytes)| bytes).max().unwrap_or(0)
    };
    let steps = |interval: &Lifetime| (interval.last - interval.first) as u64 + 1;
    vec![
        descending(intervals, |interval| [interval.bytes, steps(interval), 0]),
        descending(intervals, |interval| [interval.bytes.saturating_mul(steps(interval)), 0, 0]),
        descending(intervals, |interval| [busiest(interval), steps(interval), interval.bytes]),
        descending(intervals, |interval| [busiest(interval), interval.bytes, steps(interval)]),
        descending(intervals, |interval| [u64::MAX - interval.first as u64, interval.bytes, 0]),
    ]
}

/// The tensors that are not empty, by decreasing key.
fn descending(intervals: &[Lifetime], key: impl Fn(&Lifetime) -> [u64; 3]) -> Vec<usize> {
    let keys: Vec<_> = intervals.iter().map(key).collect();
    let mut order = occupying(intervals);
    sort_indices(&mut order, |i| Reverse(keys[i]));
    order
}

/// A tensor that has been placed.
struct Spot {
    interval: Lifetime,
    offset: u64,
}

/// The offsets of tensors that are placed in this order, each at the lowest offset where it overlaps no other and does not straddle
/// a multiple of `bin`. `Err` holds the index in the order of the first tensor that would end above `limit`.
fn place(intervals: &[Lifetime], order: &[usize], limit: u64, bin: u64) -> Result<Vec<u64>, usize> {
    let mut offsets = vec![0; intervals.len()];
    // Sorted by offset.
    let mut spots: Vec<Spot> = Vec::with_capacity(order.len());
    for (i, &tensor) in order.iter().enumerate() {
        let interval = intervals[tensor];
        let offset = lowest(&spots, &interval, bin);
        if offset + interval.bytes > limit {
            return Err(i);
        }
        offsets[tensor] = offset;
        spots.insert(spots.partition_point(|spot| spot.offset < offset), Spot { interval, offset });
    }
    Ok(offsets)
}

/// The lowest offset for a tensor among placed ones.
fn lowest(spots: &[Spot], interval: &Lifetime, bin: u64) -> u64 {
    let within_bin = |offset: u64| {
        let straddles = offset % bin + interval.bytes > bin;
        if straddles { offset.next_multiple_of(bin) } else { offset }
    };
    let mut offset = 0;
    for spot in spots.iter().filter(|spot| spot.interval.meets(interval)) {
        if offset + interval.bytes <= spot.offset && within_bin(offset) + interval.bytes <= spot.offset {
            break;
        }
        offset = offset.max(spot.offset + spot.interval.bytes);
    }
    within_bin(offset)
}

/// The first address after all tensors.
fn end(intervals: &[Lifetime], offsets: &[u64]) -> u64 {
    intervals.iter().zip(offsets).map(|(interval, offset)| offset + interval.bytes).max().unwrap_or(0)
}

/// All tensors in one buffer.
fn whole(intervals: &[Lifetime], offsets: &[u64]) -> Layout {
    let places = offsets.iter().map(|&offset| Place { buffer: 0, offset }).collect();
    let bytes = end(intervals, offsets);
    Layout { places, buffers: if bytes > 0 { vec![bytes] } else { vec![] } }
}

/// The layout with the most buffers: one between any two neighbouring addresses that no tensor straddles.
fn cut(intervals: &[Lifetime], offsets: &[u64]) -> Layout {
    let mut places = vec![Place { buffer: 0, offset: 0 }; intervals.len()];
    let mut buffers = vec![];
    let mut order = occupying(intervals);
    sort_indices(&mut order, |i| offsets[i]);
    let (mut start, mut end) = (0, 0);
    for i in order {
        if offsets[i] >= end {
            start = offsets[i];
            buffers.push(0);
        }
        end = end.max(offsets[i] + intervals[i].bytes);
        let buffer = buffers.len() - 1;
        buffers[buffer] = end - start;
        places[i] = Place { buffer, offset: offsets[i] - start };
    }
    Layout { places, buffers }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    const ANY: MemoryRules = MemoryRules { largest_buffer: u64::MAX, single_buffer: false };
    const SINGLE: MemoryRules = MemoryRules { largest_buffer: u64::MAX, single_buffer: true };

    /// Checks that tensors lie in their buffers and don't overlap, and that the buffers obey the rules.
    pub(in crate::plan) fn check(intervals: &[Lifetime], rules: &MemoryRules, layout: &Layout) {
        assert_eq!(layout.places.len(), intervals.len());
        assert!(layout.bytes() >= live_peak(intervals));
        assert!(layout.buffers.iter().all(|&bytes| 0 < bytes && bytes <= rules.largest_buffer));
        assert!(!rules.single_buffer || layout.buffers.len() <= 1);
        let placed: Vec<(&Lifetime, &Place)> =
            intervals.iter().zip(&layout.places).filter(|(interval, _)| interval.bytes > 0).collect();
        for (i, (a, at)) in placed.iter().enumerate() {
            assert!(at.offset % ALIGNMENT == 0 && at.offset + a.bytes <= layout.buffers[at.buffer]);
            for (b, bt) in &placed[..i] {
                let in_time = a.last < b.first || b.last < a.first;
                let in_bytes = at.offset + a.bytes <= bt.offset || bt.offset + b.bytes <= at.offset;
                assert!(in_time || in_bytes || at.buffer != bt.buffer, "{a:?} at {at:?} and {b:?} at {bt:?}");
            }
        }
        if !rules.single_buffer {
            check_cuts(&placed, &layout.buffers);
        }
    }

    /// Checks that no buffer could be cut further.
    fn check_cuts(placed: &[(&Lifetime, &Place)], buffers: &[u64]) {
        for (buffer, &bytes) in buffers.iter().enumerate() {
            let within = placed.iter().filter(|(_, place)| place.buffer == buffer);
            let mut ranges: Vec<_> = within.map(|(i, place)| (place.offset, place.offset + aligned(i.bytes))).collect();
            ranges.sort_unstable();
            let mut end = 0;
            for (offset, range_end) in ranges {
                assert!(end == 0 || offset < end, "buffer {buffer} could be cut at {end}");
                end = end.max(range_end);
            }
            assert_eq!(end, bytes);
        }
    }

    fn chain(bytes: &[u64]) -> Vec<Lifetime> {
        bytes.iter().enumerate().map(|(i, &bytes)| Lifetime { first: i, last: i + 1, bytes }).collect()
    }

    fn at(first: usize, last: usize, blocks: u64) -> Lifetime {
        Lifetime { first, last, bytes: blocks * ALIGNMENT }
    }

    #[test]
    fn nothing() {
        for rules in [ANY, SINGLE] {
            assert_eq!(pack(&[], &rules), Some(Layout { places: vec![], buffers: vec![] }));
            let layout = pack(&chain(&[0, 0]), &rules).unwrap();
            assert_eq!(layout.places.len(), 2);
            assert_eq!(layout.bytes(), 0);
        }
    }

    #[test]
    fn sizes_are_rounded_up() {
        let intervals = chain(&[1, 257]);
        assert_eq!(live_peak(&intervals), 3 * 256);
        assert_eq!(pack(&intervals, &ANY).unwrap().buffers.iter().sum::<u64>(), 3 * 256);
    }

    #[test]
    fn the_last_step_is_included() {
        assert_eq!(live_peak(&[at(0, 2, 1), at(2, 3, 1), at(3, 4, 1)]), 2 * 256);
        assert_eq!(live_peak(&[at(0, 1, 1), at(2, 3, 1)]), 256);
    }

    #[test]
    fn equal_tensors_alternate_between_two_buffers() {
        let layout = pack(&chain(&[512; 5]), &ANY).unwrap();
        assert_eq!(layout.buffers, [512, 512]);
        let buffers: Vec<usize> = layout.places.iter().map(|place| place.buffer).collect();
        assert!(buffers.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn one_buffer_where_asked() {
        assert_eq!(pack(&chain(&[512; 5]), &SINGLE).unwrap().buffers, [1024]);
    }

    #[test]
    fn stretches_that_do_not_meet_are_cut_alike() {
        // Large then small, a pause, small then large: the large ones share a buffer.
        let intervals = [at(0, 1, 4), at(1, 2, 1), at(5, 6, 1), at(6, 7, 4)];
        assert_eq!(pack(&intervals, &ANY).unwrap().buffers, [4 * 256, 256]);
    }

    #[test]
    fn three_at_once() {
        let intervals = [at(0, 2, 3), at(1, 3, 2), at(2, 4, 1), at(3, 5, 3), at(4, 6, 2)];
        assert_eq!(pack(&intervals, &ANY).unwrap().bytes(), live_peak(&intervals));
    }

    #[test]
    fn limits_of_a_buffer() {
        let rules = |blocks: u64, single_buffer| MemoryRules { largest_buffer: blocks * ALIGNMENT, single_buffer };
        // Every address is inside a tensor: all 5 blocks are one buffer.
        let intervals = [at(0, 1, 2), at(1, 2, 3), at(2, 3, 2)];
        let buffers = |rules: MemoryRules| pack(&intervals, &rules).map(|layout| layout.buffers.len());
        assert_eq!(buffers(rules(2, false)), None, "a tensor is larger than a buffer");
        assert_eq!(buffers(rules(3, false)), Some(2));
        assert_eq!(buffers(rules(4, true)), None, "all are larger than a buffer");
        assert_eq!(buffers(rules(5, true)), Some(1));
    }

    #[test]
    fn a_piece_that_is_too_large_is_packed_again() {
        let intervals = [at(0, 1, 1), at(1, 2, 4), at(2, 3, 3), at(3, 4, 4), at(0, 4, 1)];
        let rules = MemoryRules { largest_buffer: 5 * ALIGNMENT + 255, single_buffer: false };
        let layout = pack(&intervals, &rules).unwrap();
        check(&intervals, &rules, &layout);
        assert!(layout.bytes() <= 10 * ALIGNMENT);
    }

    #[test]
    fn five_thousand_at_once() {
        let intervals: Vec<Lifetime> = (0..5000).map(|i| at(i / 2, 5000 + i, 1 + i as u64 % 7)).collect();
        assert_eq!(pack(&intervals, &SINGLE).unwrap().bytes(), live_peak(&intervals));
    }

    fn intervals() -> impl Strategy<Value = Vec<Lifetime>> {
        let bytes = prop_oneof![Just(0), 1..5u64, (1..5u64).prop_map(|n| n * ALIGNMENT), 1..10_000u64];
        let interval = (0..40usize, 0..12usize, bytes);
        let interval = interval.prop_map(|(first, steps, bytes)| Lifetime { first, last: first + steps, bytes });
        prop::collection::vec(interval, 0..60)
    }

    proptest! {
        #[test]
        fn layouts_are_sound(intervals in intervals(), largest in 1..60_000u64) {
            for largest_buffer in [u64::MAX, largest] {
                for single_buffer in [false, true] {
                    let rules = MemoryRules { largest_buffer, single_buffer };
                    let layout = pack(&intervals, &rules);
                    let fits = intervals.iter().all(|interval| aligned(interval.bytes) <= largest_buffer);
                    prop_assert!(single_buffer || layout.is_some() == fits);
                    if let Some(layout) = layout {
                        check(&intervals, &rules, &layout);
                        prop_assert_eq!(pack(&intervals, &rules), Some(layout));
                    }
                }
            }
        }

        #[test]
        fn chains_take_no_more_than_the_peak(bytes in prop::collection::vec(0..100_000u64, 0..60)) {
            for rules in [ANY, SINGLE] {
                let intervals = chain(&bytes);
                let layout = pack(&intervals, &rules).unwrap();
                check(&intervals, &rules, &layout);
                prop_assert_eq!(layout.bytes(), live_peak(&intervals));
            }
        }

        #[test]
        fn the_peak_is_that_of_the_busiest_step(intervals in intervals()) {
            let live = |step| intervals.iter().filter(move |i| i.first <= step && step <= i.last);
            let sums = (0..60).map(|step| live(step).map(|i| aligned(i.bytes)).sum::<u64>());
            prop_assert_eq!(live_peak(&intervals), sums.max().unwrap());
        }
    }
}
