//! Reads the assembly that Mesa's compiler for AMD GPUs prints: the instructions of a program's hot loop, by kind.

use std::collections::HashMap;

/// Instructions of a loop.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Loop {
    /// Dot products of four bytes.
    pub dots: u32,
    /// Fused multiplications and additions of floats.
    pub fmas: u32,
    /// Products of cooperative matrices.
    pub matrices: u32,
    /// Other vector arithmetic.
    pub vector: u32,
    /// Those of `vector` that take four issue slots.
    pub slow: u32,
    /// Loads from and stores to memory, scalar loads included.
    pub memory: u32,
    /// Accesses to workgroup memory.
    pub workgroup: u32,
    pub bytes: u32,
}

impl Loop {
    /// Products in units of one instruction, to find the loop that does the work.
    pub(crate) fn products(self) -> u32 {
        if self.matrices > 0 {
            64 * self.matrices
        } else if self.dots > 0 {
            self.dots
        } else {
            self.fmas
        }
    }

    /// Issue slots of the vector unit.
    pub(crate) fn slots(self) -> u32 {
        self.dots + self.fmas + self.vector + 3 * self.slow + 16 * self.matrices
    }

    /// This loop with an equal part of what a loop around it does besides, which makes `turns` turns of this one.
    fn within(self, around: Self, turns: u32) -> Self {
        let part = |own: u32, all: u32| own + all.saturating_sub(own).div_ceil(turns);
        Self {
            dots: part(self.dots, around.dots),
            fmas: part(self.fmas, around.fmas),
            matrices: part(self.matrices, around.matrices),
            vector: part(self.vector, around.vector),
            slow: part(self.slow, around.slow),
            memory: part(self.memory, around.memory),
            workgroup: part(self.workgroup, around.workgroup),
            bytes: if turns == 1 { around.bytes } else { self.bytes },
        }
    }

    fn add(&mut self, instruction: &str) {
        let name = instruction.split_whitespace().next().unwrap_or_default();
        let starts = |prefixes: &[&str]| prefixes.iter().any(|&prefix| name.starts_with(prefix));
        // The encoding follows as a comment: words of eight hexadecimal digits.
        if starts(&["v_dot"]) {
            self.dots += 1;
        } else if starts(&["v_wmma", "v_mfma"]) {
            self.matrices += 1;
        } else if starts(&["v_fma", "v_mad_f", "v_mac_f", "v_madak", "v_madmk", "v_pk_fma", "v_dual_fma"]) {
            self.fmas += 1;
        } else if starts(&["v_"]) {
            self.vector += 1;
            let slow = ["v_mul_lo_u32", "v_mul_hi_", "v_mul_lo_i32", "v_rcp", "v_exp", "v_log", "v_sqrt", "v_rsq"];
            self.slow += u32::from(starts(&slow) || starts(&["v_mad_u64", "v_mad_i64"]));
        } else if starts(&["buffer_", "global_", "scratch_", "flat_", "s_load", "s_buffer_load"]) {
            self.memory += 1;
        } else if starts(&["ds_"]) {
            self.workgroup += 1;
        }
    }
}

/// The labels, instructions and sizes of basic blocks.
fn blocks(assembly: &str) -> Vec<(&str, Vec<(&str, u32)>)> {
    let mut blocks: Vec<(&str, Vec<(&str, u32)>)> = Vec::new();
    for line in assembly.lines() {
        let (code, encoding) = line.split_once(';').unwrap_or((line, ""));
        let code = code.trim();
        if let Some(label) = code.strip_suffix(':').filter(|label| label.starts_with("BB")) {
            blocks.push((label, Vec::new()));
        } else if let Some((_, instructions)) = blocks.last_mut().filter(|_| !code.is_empty()) {
            let words = encoding.split_whitespace().filter(|word| word.len() == 8).count() as u32;
            instructions.push((code, 4 * words));
        }
    }
    blocks
}

/// The innermost loop with the most products. `None` without a loop. The loop around it, if any, makes `turns` turns of it; 0 if
/// there are so many that the rest of that loop doesn't count.
pub(crate) fn hot_loop(assembly: &str, turns: u32) -> Option<Loop> {
    let blocks = blocks(assembly);
    let order: HashMap<&str, usize> = blocks.iter().enumerate().map(|(i, (label, _))| (*label, i)).collect();
    // A loop lasts to the last jump back to its head.
    let mut ends = HashMap::new();
    for (i, (_, instructions)) in blocks.iter().enumerate() {
        for (instruction, _) in instructions {
            let mut words = instruction.split_whitespace();
            let jumps = words.next().is_some_and(|name| name.starts_with("s_branch") || name.starts_with("s_cbranch"));
            if let Some(&head) = words.next().and_then(|label| order.get(label)).filter(|&&head| jumps && head <= i) {
                ends.insert(head, i);
            }
        }
    }
    let bodies = ends.into_iter().map(|(head, end)| {
        let mut body = Loop::default();
        for (instruction, bytes) in blocks[head..=end].iter().flat_map(|(_, instructions)| instructions) {
            body.add(instruction);
            body.bytes += bytes;
        }
        (head, end, body)
    });
    let bodies: Vec<_> = bodies.collect();
    let &(head, end, hot) = bodies.iter().max_by_key(|(.., body)| (body.products(), std::cmp::Reverse(body.bytes)))?;
    let around =
        bodies.iter().filter(|&&(first, last, _)| first <= head && end <= last && (first, last) != (head, end));
    match around.min_by_key(|(.., body)| body.bytes) {
        Some(&(.., around)) if turns > 0 => Some(hot.within(around, turns)),
        _ => Some(hot),
    }
}
