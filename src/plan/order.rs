//! The order of steps, chosen so that few bytes are live at once. `memory` places these bytes. The computation of a step does not
//! matter here.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::memory::{Lifetime, aligned, live_peak};
use crate::numeric::sort_indices;

/// A step: the tensors that it reads and writes, by index.
#[derive(Debug, Clone, Default)]
pub(crate) struct Node {
    pub reads: Vec<usize>,
    pub writes: Vec<usize>,
    /// Bytes that live during this step only.
    pub scratch: u64,
}

impl Node {
    /// The tensors that it reads or writes, each once.
    fn tensors(&self) -> Vec<usize> {
        let mut tensors: Vec<usize> = self.reads.iter().chain(&self.writes).copied().collect();
        sort_indices(&mut tensors, |tensor| tensor);
        tensors.dedup();
        tensors
    }
}

/// The indices of the nodes in an order of low live peak, at most that of the caller's order. It is the best of the caller's order,
/// a greedy one from the front, a greedy one from the back and a depth-first one; at a tie the earliest of these.
///
/// The order of `nodes` is valid. `bytes[t]` are the bytes of tensor `t`: 0 for inputs and outputs of the graph, which live
/// outside. If a tensor is written more than once, its reads and writes keep their order.
pub(crate) fn order(nodes: &[Node], bytes: &[u64]) -> Vec<usize> {
    let graph = Dependencies::new(nodes, bytes);
    let candidates = [
        (0..nodes.len()).collect(),
        graph.greedy(),
        graph.reversed().greedy().into_iter().rev().map(|i| nodes.len() - 1 - i).collect(),
        graph.depth_first(),
    ];
    let peak = |order: &Vec<usize>| live_peak(&intervals(nodes, bytes, order));
    candidates.into_iter().min_by_key(peak).expect("there are four")
}

/// Lifetimes of the tensors if the nodes run in this order, then of the nodes' scratch, both by index. Tensors that no node reads
/// or writes have 0 bytes.
pub(crate) fn intervals(nodes: &[Node], bytes: &[u64], order: &[usize]) -> Vec<Lifetime> {
    let unused = Lifetime { first: 0, last: 0, bytes: 0 };
    let mut intervals = vec![unused; bytes.len() + nodes.len()];
    let mut seen = vec![false; bytes.len()];
    for (step, &node) in order.iter().enumerate() {
        for t in nodes[node].tensors() {
            let first = if seen[t] { intervals[t].first } else { step };
            intervals[t] = Lifetime { first, last: step, bytes: bytes[t] };
            seen[t] = true;
        }
        intervals[bytes.len() + node] = Lifetime { first: step, last: step, bytes: nodes[node].scratch };
    }
    intervals
}

/// The dependencies of nodes, and the tensors that they keep in memory.
struct Dependencies {
    /// By node: the nodes that it waits for.
    before: Vec<Vec<usize>>,
    /// By node: the nodes that wait for it.
    after: Vec<Vec<usize>>,
    /// By node: the tensors that it reads or writes.
    tensors: Vec<Vec<usize>>,
    /// By tensor: the nodes that read or write it.
    users: Vec<Vec<usize>>,
    /// By tensor: its bytes.
    bytes: Vec<i64>,
}

impl Dependencies {
    /// A read waits for the writes before it, a write for the reads and writes before it.
    fn new(nodes: &[Node], bytes: &[u64]) -> Self {
        let mut before = vec![vec![]; nodes.len()];
        let mut last_write: Vec<Option<usize>> = vec![None; bytes.len()];
        let mut reads_since: Vec<Vec<usize>> = vec![vec![]; bytes.len()];
        for (node, Node { reads, writes, .. }) in nodes.iter().enumerate() {
            before[node].extend(reads.iter().chain(writes).filter_map(|&t| last_write[t]));
            reads.iter().for_each(|&t| reads_since[t].push(node));
            for &t in writes {
                before[node].append(&mut reads_since[t]);
                last_write[t] = Some(node);
            }
            sort_indices(&mut before[node], |node| node);
            before[node].dedup();
            before[node].retain(|&b| b != node);
        }
        let tensors = nodes.iter().map(Node::tensors).collect();
        let bytes = bytes.iter().map(|&bytes| aligned(bytes) as i64).collect();
        Self::from_parts(before, tensors, bytes)
    }

    fn from_parts(before: Vec<Vec<usize>>, tensors: Vec<Vec<usize>>, bytes: Vec<i64>) -> Self {
        let after = inverted(&before, before.len());
        let users = inverted(&tensors, bytes.len());
        Self { before, after, tensors, users, bytes }
    }

    /// The nodes counted from the back, with all dependencies reversed.
    fn reversed(&self) -> Self {
        let flip = |nodes: &Vec<usize>| nodes.iter().map(|&i| self.before.len() - 1 - i).collect();
        let before = self.after.iter().rev().map(flip).collect();
        let tensors = self.tensors.iter().rev().cloned().collect();
        Self::from_parts(before, tensors, self.bytes.clone())
    }

    /// Runs next the node that adds least to the bytes in memory, among the nodes whose dependencies have run.
    fn greedy(&self) -> Vec<usize> {
        let mut waits: Vec<usize> = self.before.iter().map(Vec::len).collect();
        let mut unfinished: Vec<usize> = self.users.iter().map(Vec::len).collect();
        // A tensor with one user comes and goes with that user. Any other is added by its first user and freed by its last.
        let added = |&t: &usize| if self.users[t].len() > 1 { self.bytes[t] } else { 0 };
        let mut growth: Vec<i64> = self.tensors.iter().map(|tensors| tensors.iter().map(added).sum()).collect();
        let mut done = vec![false; self.before.len()];
        let mut order = vec![];

        let ready = |i: &usize| self.before[*i].is_empty();
        let mut queue: BinaryHeap<_> = (0..done.len()).filter(ready).map(|i| Reverse((growth[i], i))).collect();
        while let Some(Reverse((grows, node))) = queue.pop() {
            // A node whose growth has changed is queued once more.
            if done[node] || grows != growth[node] {
                continue;
            }
            done[node] = true;
            order.push(node);
            for &t in self.tensors[node].iter().filter(|&&t| self.users[t].len() > 1) {
                let is_first = unfinished[t] == self.users[t].len();
                unfinished[t] -= 1;
                let changes = i64::from(is_first) + i64::from(unfinished[t] == 1);
                if changes == 0 {
                    continue;
                }
                for &user in self.users[t].iter().filter(|&&user| !done[user]) {
                    growth[user] -= changes * self.bytes[t];
                    if waits[user] == 0 {
                        queue.push(Reverse((growth[user], user)));
                    }
                }
            }
            for &next in &self.after[node] {
                waits[next] -= 1;
                if waits[next] == 0 {
                    queue.push(Reverse((growth[next], next)));
                }
            }
        }
        order
    }

    /// Runs the dependencies of a node right before it. The dependency that needs most beyond the bytes that it leaves behind runs
    /// first (Sethi and Ullman's order, which is optimal for trees).
    fn depth_first(&self) -> Vec<usize> {
        let children = self.by_need();
        let mut order = vec![];
        let mut entered = vec![false; children.len()];
        let mut stack = vec![];
        for sink in (0..children.len()).filter(|&i| self.after[i].is_empty()) {
            entered[sink] = true;
            stack.push((sink, children[sink].iter()));
            while let Some((node, rest)) = stack.last_mut() {
                match rest.find(|&&child| !entered[child]) {
                    Some(&child) => {
                        entered[child] = true;
                        stack.push((child, children[child].iter()));
                    }
                    None => {
                        order.push(*node);
                        stack.pop();
                    }
                }
            }
        }
        order
    }

    /// The dependencies of each node, sorted for [`Self::depth_first`]. A part that several nodes wait for counts for each of them.
    fn by_need(&self) -> Vec<Vec<usize>> {
        let mut children = self.before.clone();
        let mut left = vec![0i64; children.len()];
        let mut need = vec![0i64; children.len()];
        for node in 0..children.len() {
            let own = self.tensors[node].iter().filter(|&&t| self.users[t][0] == node);
            left[node] = own.map(|&t| self.bytes[t]).sum();
            sort_indices(&mut children[node], |child| Reverse(need[child] - left[child]));
            let mut held = 0i64;
            for &child in &children[node] {
                need[node] = need[node].max(held.saturating_add(need[child]));
                held += left[child];
            }
            need[node] = need[node].max(held + left[node]);
        }
        children
    }
}

/// By index below `count`: the positions in `lists` of the lists that contain it, in order.
fn inverted(lists: &[Vec<usize>], count: usize) -> Vec<Vec<usize>> {
    let mut inverted = vec![vec![]; count];
    for (i, list) in lists.iter().enumerate() {
        list.iter().for_each(|&j| inverted[j].push(i));
    }
    inverted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::plan::memory::tests::check;
    use crate::plan::memory::{MemoryRules, pack};

    fn node(reads: &[usize], writes: &[usize]) -> Node {
        Node { reads: reads.to_vec(), writes: writes.to_vec(), scratch: 0 }
    }

    fn peak(nodes: &[Node], bytes: &[u64], order: &[usize]) -> u64 {
        live_peak(&intervals(nodes, bytes, order))
    }

    /// Checks that every node runs once, that each tensor sees its writes and reads as in the caller's order (reads between
    /// two writes may change places), and that the peak is no higher than the caller's.
    fn check_order(nodes: &[Node], bytes: &[u64], order: &[usize]) {
        let callers: Vec<usize> = (0..nodes.len()).collect();
        let mut sorted = order.to_vec();
        sorted.sort_unstable();
        assert_eq!(sorted, callers);
        assert_eq!(history(nodes, bytes.len(), order), history(nodes, bytes.len(), &callers));
        assert!(peak(nodes, bytes, order) <= peak(nodes, bytes, &callers));
    }

    /// The state of each tensor that a node reads or writes: its last writer, and the number of reads since.
    fn history(nodes: &[Node], tensors: usize, order: &[usize]) -> Vec<(usize, usize, Option<usize>, usize)> {
        let mut state = vec![(None, 0); tensors];
        let mut history = vec![];
        for &i in order {
            let node = &nodes[i];
            for &t in node.reads.iter().filter(|t| !node.writes.contains(t)) {
                history.push((i, t, state[t].0, 0));
                state[t].1 += 1;
            }
            for &t in &node.writes {
                history.push((i, t, state[t].0, state[t].1));
                state[t] = (Some(i), 0);
            }
        }
        history.sort_unstable();
        history
    }

    #[test]
    fn no_nodes() {
        assert!(order(&[], &[]).is_empty());
        assert!(order(&[], &[256]).is_empty());
    }

    #[test]
    fn a_chain_stays() {
        let chain = [node(&[0], &[1]), node(&[1], &[2]), node(&[2], &[3])];
        assert_eq!(order(&chain, &[0, 256, 512, 0]), [0, 1, 2]);
    }

    #[test]
    fn branches_run_one_after_another() {
        // Three branches of a large tensor and a small one, given large ones first.
        let nodes = [
            node(&[0], &[1]),
            node(&[0], &[2]),
            node(&[0], &[3]),
            node(&[1], &[4]),
            node(&[2], &[5]),
            node(&[3], &[6]),
            node(&[4, 5, 6], &[7]),
        ];
        let bytes = [0, 2560, 2560, 2560, 256, 256, 256, 0];
        let order = order(&nodes, &bytes);
        assert_eq!(order, [0, 3, 1, 4, 2, 5, 6]);
        assert_eq!(peak(&nodes, &bytes, &order), 2560 + 3 * 256);
    }

    #[test]
    fn the_branch_of_most_need_runs_first() {
        // A tree: [1] is small and stays; [2] is large and leads to the small [3].
        let nodes = [node(&[0], &[1]), node(&[0], &[2]), node(&[2], &[3]), node(&[1, 3], &[4])];
        let bytes = [0, 256, 2560, 256, 0];
        assert_eq!(order(&nodes, &bytes), [1, 2, 0, 3]);
    }

    #[test]
    fn rewriting_waits_for_readers() {
        // [1] is written, read, rewritten in place and read again.
        let nodes = [node(&[0], &[1]), node(&[1], &[2]), node(&[1], &[1]), node(&[1], &[3]), node(&[2, 3], &[4])];
        let bytes = [0, 256, 256_000, 256, 0];
        check_order(&nodes, &bytes, &order(&nodes, &bytes));
    }

    #[test]
    fn scratch_lives_for_one_step() {
        let mut nodes = [node(&[0], &[1]), node(&[1], &[2])];
        nodes[1].scratch = 100;
        let expected = [(0, 0, 0), (0, 1, 300), (1, 1, 0), (0, 0, 0), (1, 1, 100)];
        let found: Vec<_> =
            intervals(&nodes, &[0, 300, 0], &[0, 1]).iter().map(|i| (i.first, i.last, i.bytes)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn ten_thousand_nodes_at_once() {
        let (nodes, bytes) = Random(1).dag(10_000);
        check_order(&nodes, &bytes, &order(&nodes, &bytes));
    }

    proptest! {
        #[test]
        fn orders_are_sound(
            nodes in prop::collection::vec((prop::collection::vec(0..12usize, 0..4), prop::collection::vec(0..12usize, 0..3)), 0..20),
            bytes in prop::collection::vec(0..100_000u64, 12),
            scratch in 0..100_000u64,
        ) {
            // Any nodes are in a valid order: a tensor that is read before it is written lives outside until then.
            let nodes: Vec<Node> = nodes.into_iter().map(|(reads, writes)| Node { reads, writes, scratch }).collect();
            check_order(&nodes, &bytes, &order(&nodes, &bytes));
        }

        #[test]
        fn dags_are_ordered_soundly(seed: u64, count in 1..200usize) {
            let (nodes, bytes) = Random(seed).dag(count);
            check_order(&nodes, &bytes, &order(&nodes, &bytes));
        }
    }

    /// Orders and packs 10,000 graphs: every layout is sound, and none is more than 15% above the peak.
    #[test]
    fn ten_thousand_random_dags() {
        let mut random = Random(20_000);
        let mut ratios = vec![];
        for _ in 0..10_000 {
            let count = 1 + random.below(60);
            let (nodes, bytes) = random.dag(count);
            let order = order(&nodes, &bytes);
            check_order(&nodes, &bytes, &order);

            let intervals = intervals(&nodes, &bytes, &order);
            for single_buffer in [false, true] {
                let rules = MemoryRules { largest_buffer: u64::MAX, single_buffer };
                let layout = pack(&intervals, &rules).expect("no limit");
                check(&intervals, &rules, &layout);
                ratios.push(layout.bytes() as f64 / live_peak(&intervals).max(1) as f64);
            }
        }
        ratios.sort_by(f64::total_cmp);
        let (median, worst) = (ratios[ratios.len() / 2], ratios[ratios.len() - 1]);
        let above = ratios.iter().filter(|&&ratio| ratio > 1.0).count();
        println!("bytes / live peak: median {median:.4}, worst {worst:.4}, {above} of {} above 1", ratios.len());
        assert!(worst <= 1.15);
    }

    /// Five thousand tensors are ordered and packed in reasonable time.
    #[test]
    fn five_thousand_tensors() {
        let (nodes, bytes) = Random(3).dag(5_000);
        let intervals = intervals(&nodes, &bytes, &order(&nodes, &bytes));
        let rules = MemoryRules { largest_buffer: u64::MAX, single_buffer: true };
        let start = std::time::Instant::now();
        let layout = pack(&intervals, &rules).expect("no limit");
        println!("{} of {} bytes after {:?}", layout.bytes(), live_peak(&intervals), start.elapsed());
        check(&intervals, &rules, &layout);
    }

    /// SplitMix64 (Steele, Lea and Flood, 2014).
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }

        fn below(&mut self, count: usize) -> usize {
            (self.next() % count as u64) as usize
        }

        /// True once in `times` calls, on average.
        fn once_in(&mut self, times: usize) -> bool {
            self.below(times) == 0
        }

        /// From 256 bytes to 16 MiB, each power of two equally often.
        fn size(&mut self) -> u64 {
            let least = 256 << self.below(16);
            least + self.next() % least
        }

        /// Nodes, and the bytes of tensors: 0 is the input, `i + 1` is the first output of node `i`, and the rest are second
        /// outputs.
        fn dag(&mut self, count: usize) -> (Vec<Node>, Vec<u64>) {
            let mut nodes = self.nodes(count);
            let mut bytes = self.sizes(count);
            if !self.once_in(4) {
                let read: Vec<usize> = nodes.iter().flat_map(|node| node.reads.clone()).collect();
                let is_read = inverted(&[read], bytes.len());
                (1..=count).filter(|&t| is_read[t].is_empty()).for_each(|t| bytes[t] = 0);
            }
            if self.once_in(3) {
                self.add_second_results(&mut nodes, &mut bytes);
            }
            (nodes, bytes)
        }

        fn nodes(&mut self, count: usize) -> Vec<Node> {
            let shape = self.below(6);
            let width = 1 + self.below(8);
            // The tensor that branches start from.
            let mut stem = 0;
            let mut nodes = vec![];
            for i in 0..count {
                let reads = match shape {
                    // A chain.
                    0 => vec![i],
                    // A chain with residual connections.
                    1 if self.once_in(3) => vec![i, i.saturating_sub(1 + self.below(6))],
                    1 => vec![i],
                    // Anything.
                    2 => (0..1 + self.below(4)).map(|_| self.below(i + 1)).collect(),
                    // Recent tensors.
                    3 => (0..1 + self.below(4)).map(|_| i - self.below(i.min(width) + 1)).collect(),
                    // Wide fan-outs, then joins.
                    4 if i % (4 * width) < 3 * width => vec![stem],
                    4 => {
                        stem = i + 1;
                        (0..1 + self.below(4)).map(|_| i - self.below(i.min(3 * width) + 1)).collect()
                    }
                    // Blocks of branches of two nodes each, joined.
                    _ if i % (2 * width + 1) == 2 * width => {
                        stem = i + 1;
                        (0..width.min(4)).map(|branch| i - 2 * branch).collect()
                    }
                    _ if i % (2 * width + 1) % 2 == 1 => vec![i],
                    _ => vec![stem],
                };
                let scratch = if self.once_in(6) { self.size() } else { 0 };
                nodes.push(Node { reads, writes: vec![i + 1], scratch });
            }
            nodes
        }

        fn sizes(&mut self, count: usize) -> Vec<u64> {
            let kind = self.below(4);
            let few = [self.size(), self.size(), self.size()];
            let mut size = |t: usize| match kind {
                0 => few[0],
                1 => few[self.below(3)],
                2 => few[0] >> (4 * t / count),
                _ => self.size(),
            };
            (0..=count).map(|t| if t == 0 { 0 } else { size(t) }).collect()
        }

        fn add_second_results(&mut self, nodes: &mut [Node], bytes: &mut Vec<u64>) {
            for i in 0..nodes.len() - 1 {
                if self.once_in(5) {
                    let reader = i + 1 + self.below(nodes.len() - i - 1);
                    nodes[i].writes.push(bytes.len());
                    nodes[reader].reads.push(bytes.len());
                    bytes.push(self.size());
                }
            }
        }
    }
}
