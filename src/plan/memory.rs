//! Where intermediate tensors lie: stays in memory packed into few bytes. When a tensor is needed is `order`'s, allocating
//! the buffers is `gpu`'s.

use std::cmp::Reverse;

/// Sizes and offsets are multiples of this many bytes: the coarsest offset of a storage binding that WebGPU lets a device
/// ask for.
pub(crate) const ALIGNMENT: u64 = 256;

/// A tensor's stay in memory: from the step that writes it to the last step that reads it, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interval {
    pub first: usize,
    pub last: usize,
    pub bytes: u64,
}

impl Interval {
    /// Whether both are in memory during some step.
    fn meets(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// Where a tensor lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub buffer: usize,
    /// In bytes, a multiple of [`ALIGNMENT`].
    pub offset: u64,
}

/// Where all tensors lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    /// In the order of the intervals. Those of 0 bytes are said to be at the start of buffer 0, which need not exist.
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

/// How the storage is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    /// In bytes. No buffer is larger.
    pub largest_buffer: u64,
    /// Whether all tensors lie in one buffer.
    pub single_buffer: bool,
}

/// The bytes that a tensor occupies: a multiple of [`ALIGNMENT`].
pub(crate) fn aligned(bytes: u64) -> u64 {
    bytes.next_multiple_of(ALIGNMENT)
}

/// The largest sum of bytes that are in memory during one step, each tensor rounded up to [`ALIGNMENT`]. No layout is
/// smaller.
pub(crate) fn live_peak(intervals: &[Interval]) -> u64 {
    live(&rounded(intervals)).into_iter().map(|(_, bytes)| bytes).max().unwrap_or(0)
}

/// Where each tensor lies so that no two lie on each other while both are in memory, or nothing if a tensor does not fit in
/// a buffer (or, with [`Rules::single_buffer`], if all together don't).
///
/// The tensors are packed into one range of bytes first. Where at most two are in memory at once, as in a chain, it is as
/// large as the [`live_peak`], and mostly so anywhere else. The range is then cut into buffers wherever no tensor is in the
/// way, because dispatches that share no buffer need not wait for each other.
///
/// The same intervals and rules always give the same layout.
pub(crate) fn pack(intervals: &[Interval], rules: &Rules) -> Option<Layout> {
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

fn rounded(intervals: &[Interval]) -> Vec<Interval> {
    intervals.iter().map(|interval| Interval { bytes: aligned(interval.bytes), ..*interval }).collect()
}

/// The indices of the tensors that occupy anything.
fn occupying(intervals: &[Interval]) -> Vec<usize> {
    (0..intervals.len()).filter(|&i| intervals[i].bytes > 0).collect()
}

/// The steps at which tensors come into memory, in order, and the bytes in memory then.
fn live(intervals: &[Interval]) -> Vec<(usize, u64)> {
    let mut firsts: Vec<_> = occupying(intervals).into_iter().map(|i| intervals[i]).collect();
    let mut lasts = firsts.clone();
    firsts.sort_unstable_by_key(|interval| interval.first);
    lasts.sort_unstable_by_key(|interval| interval.last);

    let mut gone = lasts.iter().peekable();
    let mut bytes = 0;
    let mut live: Vec<(usize, u64)> = vec![];
    for come in &firsts {
        bytes += come.bytes;
        while let Some(interval) = gone.next_if(|interval| interval.last < come.first) {
            bytes -= interval.bytes;
        }
        live.pop_if(|(step, _)| *step == come.first);
        live.push((come.first, bytes));
    }
    live
}

/// The best layout where at most two tensors are in memory at once: one on the ground, the other hanging from the
/// [`live_peak`], taking turns. Nothing where three meet.
///
/// ```text
///     peak  ┌───┐         ┌─┐
///           │ b ├───┐   ┌─┤f│
///           ├─┬─┴─┬─┴───┤ └─┘
///           │a│ c │  e  │        steps →
/// ```
fn two_stacks(intervals: &[Interval]) -> Option<Vec<u64>> {
    let peak = live_peak(intervals);
    let mut offsets = vec![0; intervals.len()];
    let mut order = occupying(intervals);
    order.sort_by_key(|&i| intervals[i].first);
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

/// Hangs one of two stacks from the peak: the one of smaller tensors, so that large ones lie on the ground everywhere and
/// there may be a place to cut.
fn hang(intervals: &[Interval], stacks: &[Vec<usize>; 2], peak: u64, offsets: &mut [u64]) {
    let smaller = stacks.iter().min_by_key(|stack| stack.iter().map(|&i| intervals[i].bytes).max()).expect("two");
    for &i in smaller {
        offsets[i] = peak - intervals[i].bytes;
    }
}

/// The lowest layout that is found in a bounded number of attempts, which end at the [`live_peak`]. An attempt places the
/// tensors in some order; the next one places the tensor that went too high earlier.
fn search(intervals: &[Interval]) -> Vec<u64> {
    /// Attempts at most.
    const ATTEMPTS: usize = 2000;
    /// Pairs of tensors that are compared at most, about: a fraction of a second.
    const PAIRS: usize = 100_000_000;
    /// Attempts that start from one order.
    const PATIENCE: usize = 50;

    let peak = live_peak(intervals);
    let orders = starting_orders(intervals);
    let mut random = 1;
    let mut pairs = 0;
    let (mut top, mut best) = (u64::MAX, vec![]);
    let mut order = vec![];
    // Each order once, then each with patience.
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
        pairs += placed * placed / 2;
        if top == peak || pairs > PAIRS {
            break;
        }
    }
    best
}

/// The next of a fixed sequence of numbers (Marsaglia, 2003).
fn xorshift(state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 32) as usize
}

/// Orders in which placing tensors works well, the best mostly first: large ones, large and long ones, those of the busiest
/// steps (longest or largest first), those that come first.
fn starting_orders(intervals: &[Interval]) -> Vec<Vec<usize>> {
    let live = live(intervals);
    let busiest = |interval: &Interval| {
        let from = live.partition_point(|&(step, _)| step < interval.first);
        let during = live[from..].iter().take_while(|&&(step, _)| step <= interval.last);
        during.map(|&(_, bytes)| bytes).max()
    };
    let all: Vec<(usize, Option<u64>)> =
        occupying(intervals).into_iter().map(|i| (i, busiest(&intervals[i]))).collect();
    let steps = |interval: &Interval| (interval.last - interval.first) as u64 + 1;
    let sorted = |key: &dyn Fn(&Interval, Option<u64>) -> (Option<u64>, u64, u64)| {
        let mut all = all.clone();
        all.sort_by_cached_key(|&(i, busiest)| Reverse(key(&intervals[i], busiest)));
        all.into_iter().map(|(i, _)| i).collect()
    };
    vec![
        sorted(&|interval, _| (None, interval.bytes, steps(interval))),
        sorted(&|interval, _| (None, interval.bytes.saturating_mul(steps(interval)), 0)),
        sorted(&|interval, busiest| (busiest, steps(interval), interval.bytes)),
        sorted(&|interval, busiest| (busiest, interval.bytes, steps(interval))),
        sorted(&|interval, _| (None, u64::MAX - interval.first as u64, interval.bytes)),
    ]
}

/// A tensor that has been placed.
struct Spot {
    interval: Interval,
    offset: u64,
}

/// The offsets of tensors that are placed in this order, each at the lowest offset where it is in nobody's way and does not
/// straddle a multiple of `bin`. Where that would put one's end above `limit`: the place of that tensor in the order.
fn place(intervals: &[Interval], order: &[usize], limit: u64, bin: u64) -> Result<Vec<u64>, usize> {
    let mut offsets = vec![0; intervals.len()];
    // By offset.
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
fn lowest(spots: &[Spot], interval: &Interval, bin: u64) -> u64 {
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

/// The address after all tensors.
fn end(intervals: &[Interval], offsets: &[u64]) -> u64 {
    intervals.iter().zip(offsets).map(|(interval, offset)| offset + interval.bytes).max().unwrap_or(0)
}

/// All tensors in one buffer.
fn whole(intervals: &[Interval], offsets: &[u64]) -> Layout {
    let places = offsets.iter().map(|&offset| Place { buffer: 0, offset }).collect();
    let bytes = end(intervals, offsets);
    Layout { places, buffers: if bytes > 0 { vec![bytes] } else { vec![] } }
}

/// As many buffers as possible: whatever lies between addresses that no tensor straddles is one.
fn cut(intervals: &[Interval], offsets: &[u64]) -> Layout {
    let mut places = vec![Place { buffer: 0, offset: 0 }; intervals.len()];
    let mut buffers = vec![];
    let mut order = occupying(intervals);
    order.sort_by_key(|&i| offsets[i]);
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
