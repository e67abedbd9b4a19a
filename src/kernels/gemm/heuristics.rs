//! Estimated cost of a loop over tiles, which orders a convolution's candidates. The constants come from one driver
//! (benches/NOTES.md); `tune` measures a device's real times.

use crate::kernels::DeviceCaps;

/// Invocations that run in lockstep: a smaller workgroup leaves lanes idle. 32 on most devices that don't report it.
pub(crate) fn lanes(caps: &DeviceCaps) -> u32 {
    if caps.uniform_subgroup_size > 0 { caps.uniform_subgroup_size } else { 32 }
}

/// An output in tiles: its rows (pixels) and columns, the invocations of a workgroup along columns and rows, the rows and columns
/// of an invocation, the invocations that share reads of rows, and the lanes of a subgroup.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tiles {
    pub sizes: [usize; 2],
    pub group: [u32; 2],
    pub rows: u32,
    pub columns: u32,
    pub sharers: u32,
    pub lanes: u32,
}

impl Tiles {
    /// Number of outputs that are computed, including tiles that overlap the edges and idle lanes.
    pub(crate) fn computed(self) -> f64 {
        let ([rows, columns], [x, y]) = (self.sizes, self.group);
        let groups = rows.div_ceil((y * self.rows) as usize) * columns.div_ceil((x * self.columns) as usize);
        groups as f64 * f64::from((x * y).max(self.lanes) * self.rows * self.columns)
    }

    /// The cost of products along `k`, in units of a product whose operands are in registers. An operand is loaded once per tile,
    /// so small tiles pay more for each product.
    pub(crate) fn products(self, k: usize) -> f64 {
        let loads = 5.0 / f64::from(self.columns * self.sharers) + 5.5 / f64::from(self.rows);
        self.computed() * k as f64 * (1.0 + loads)
    }
}

/// Candidates ordered by estimated cost, the cheapest first. Equal ones keep their order.
pub(crate) fn cheapest_first<T>(mut candidates: Vec<(f64, T)>) -> Vec<T> {
    candidates.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    candidates.into_iter().map(|(_, candidate)| candidate).collect()
}
