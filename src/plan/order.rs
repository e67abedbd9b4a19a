//! In which order steps run, so that few bytes are live at once. Where those bytes then lie is `memory`'s; what a step
//! computes is nobody's business here.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::memory::{Interval, aligned, live_peak};

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
        tensors.sort_unstable();
        tensors.dedup();
        tensors
    }
}

/// The indices of the nodes in an order of low live peak, never a higher one than the caller's order has: the best of the
/// caller's own, a greedy one from the front, a greedy one from the back and a depth-first one; the earliest of them at a
/// tie.
///
/// `nodes` come in an order that works already. `bytes[t]` is what tensor `t` occupies: 0 for those that live outside, which
/// are inputs and outputs of the graph. Where a tensor is written more than once, its reads and writes keep their order.
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

/// When each tensor is in memory if the nodes run in this order, followed by when the scratch of each node is, both by
/// index. Tensors that no node reads or writes have 0 bytes.
pub(crate) fn intervals(nodes: &[Node], bytes: &[u64], order: &[usize]) -> Vec<Interval> {
    let unused = Interval { first: 0, last: 0, bytes: 0 };
    let mut intervals = vec![unused; bytes.len() + nodes.len()];
    let mut seen = vec![false; bytes.len()];
    for (step, &node) in order.iter().enumerate() {
        for t in nodes[node].tensors() {
            let first = if seen[t] { intervals[t].first } else { step };
            intervals[t] = Interval { first, last: step, bytes: bytes[t] };
            seen[t] = true;
        }
        intervals[bytes.len() + node] = Interval { first: step, last: step, bytes: nodes[node].scratch };
    }
    intervals
}

/// Which nodes wait for which, and what they keep in memory.
struct Dependencies {
    /// By node: those that it waits for.
    before: Vec<Vec<usize>>,
    /// By node: those that wait for it.
    after: Vec<Vec<usize>>,
    /// By node: the tensors that it reads or writes.
    tensors: Vec<Vec<usize>>,
    /// By tensor: the nodes that read or write it.
    users: Vec<Vec<usize>>,
    /// By tensor.
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
            before[node].sort_unstable();
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

    /// The same nodes counted from the back, each waiting for those that waited for it.
    fn reversed(&self) -> Self {
        let flip = |nodes: &Vec<usize>| nodes.iter().map(|&i| self.before.len() - 1 - i).collect();
        let before = self.after.iter().rev().map(flip).collect();
        let tensors = self.tensors.iter().rev().cloned().collect();
        Self::from_parts(before, tensors, self.bytes.clone())
    }

    /// Runs next what adds least to the bytes in memory, among the nodes that wait for nothing more.
    fn greedy(&self) -> Vec<usize> {
        let mut waits: Vec<usize> = self.before.iter().map(Vec::len).collect();
        let mut unfinished: Vec<usize> = self.users.iter().map(Vec::len).collect();
        // A tensor with one user comes and goes with it; any other is added by its first user and freed by its last.
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

    /// Runs what a node waits for right before it, the part first that needs most beyond what it leaves behind (Sethi and
    /// Ullman's order, which is the best one for trees).
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

    /// What each node waits for, sorted for [`Self::depth_first`]. Parts that several nodes wait for count for each.
    fn by_need(&self) -> Vec<Vec<usize>> {
        let mut children = self.before.clone();
        let mut left = vec![0i64; children.len()];
        let mut need = vec![0i64; children.len()];
        for node in 0..children.len() {
            let own = self.tensors[node].iter().filter(|&&t| self.users[t][0] == node);
            left[node] = own.map(|&t| self.bytes[t]).sum();
            children[node].sort_by_key(|&child| Reverse(need[child] - left[child]));
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

/// By index below `count`: the places in `lists` that name it, in order.
fn inverted(lists: &[Vec<usize>], count: usize) -> Vec<Vec<usize>> {
    let mut inverted = vec![vec![]; count];
    for (i, list) in lists.iter().enumerate() {
        list.iter().for_each(|&j| inverted[j].push(i));
    }
    inverted
}
