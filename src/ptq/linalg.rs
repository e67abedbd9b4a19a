//! Linear algebra for second-order rounding: symmetric matrices in f64, Cholesky, solving, inverting.

/// A square matrix, row by row.
#[derive(Debug, Clone)]
pub(super) struct Square {
    pub n: usize,
    pub values: Vec<f64>,
}

impl Square {
    pub(super) fn zeros(n: usize) -> Self {
        Self { n, values: vec![0.0; n * n] }
    }

    pub(super) fn row(&self, i: usize) -> &[f64] {
        &self.values[i * self.n..(i + 1) * self.n]
    }

    pub(super) fn at(&self, i: usize, j: usize) -> f64 {
        self.values[i * self.n + j]
    }

    /// The matrix with `share` of the mean of its diagonal added to the diagonal; 1 is added if the mean isn't positive.
    pub(super) fn damped(&self, share: f64) -> Self {
        let mean = (0..self.n).map(|i| self.at(i, i)).sum::<f64>() / self.n.max(1) as f64;
        let mut damped = self.clone();
        for i in 0..self.n {
            damped.values[i * self.n + i] += if mean > 0.0 { share * mean } else { 1.0 };
        }
        damped
    }

    /// The matrix with rows and columns in another order.
    pub(super) fn permuted(&self, order: &[usize]) -> Self {
        Self { n: self.n, values: order.iter().flat_map(|&i| order.iter().map(move |&j| self.at(i, j))).collect() }
    }

    /// The lower triangle L with L·Lᵀ = self; `None` if it isn't positive definite.
    pub(super) fn cholesky(&self) -> Option<Self> {
        let n = self.n;
        let mut lower = Self::zeros(n);
        for i in 0..n {
            for j in 0..=i {
                let rest = self.at(i, j) - dot(&lower.row(i)[..j], &lower.row(j)[..j]);
                lower.values[i * n + j] = if i == j {
                    if rest.is_nan() || rest <= 0.0 {
                        return None;
                    }
                    rest.sqrt()
                } else {
                    rest / lower.at(j, j)
                };
            }
        }
        Some(lower)
    }

    /// x with L·Lᵀ·x = b, for L = self.
    pub(super) fn solve(&self, mut b: Vec<f64>) -> Vec<f64> {
        for i in 0..self.n {
            let dot: f64 = (0..i).map(|j| self.at(i, j) * b[j]).sum();
            b[i] = (b[i] - dot) / self.at(i, i);
        }
        for i in (0..self.n).rev() {
            let dot: f64 = (i + 1..self.n).map(|j| self.at(j, i) * b[j]).sum();
            b[i] = (b[i] - dot) / self.at(i, i);
        }
        b
    }

    /// The upper triangle U with Uᵀ·U = self⁻¹; `None` if self isn't positive definite.
    pub(super) fn upper_of_inverse(&self) -> Option<Self> {
        // With rows and columns reversed, self = R·Rᵀ for an upper triangle R, and U is its inverse.
        let n = self.n;
        let reversed = |matrix: &Self| Self { n, values: matrix.values.iter().rev().copied().collect() };
        let lower = reversed(self).cholesky()?;
        let mut inverse = Self::zeros(n);
        for i in 0..n {
            let (done, rest) = inverse.values.split_at_mut(i * n);
            let own = &mut rest[..=i];
            own[i] = 1.0;
            for (j, row) in done.chunks_exact(n).enumerate() {
                let factor = lower.at(i, j);
                own.iter_mut().zip(&row[..=j]).for_each(|(x, y)| *x -= factor * y);
            }
            own.iter_mut().for_each(|x| *x /= lower.at(i, i));
        }
        Some(reversed(&inverse))
    }

    /// vᵀ·self·v.
    pub(super) fn form(&self, v: &[f64]) -> f64 {
        v.iter().enumerate().map(|(i, x)| x * dot(self.row(i), v)).sum()
    }
}

pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cholesky_solves_and_inverts() {
        let a = Square { n: 3, values: vec![4.0, 2.0, 0.5, 2.0, 5.0, 1.0, 0.5, 1.0, 3.0] };
        let lower = a.cholesky().expect("positive definite");
        let x = lower.solve(vec![1.0, 2.0, 3.0]);
        for (i, b) in [1.0, 2.0, 3.0].into_iter().enumerate() {
            assert!((dot(a.row(i), &x) - b).abs() < 1e-12);
        }
        let unit = |i: usize| (0..3).map(|j| f64::from(u8::from(i == j))).collect();
        let inverse = Square { n: 3, values: (0..3).flat_map(|i| lower.solve(unit(i))).collect() };
        for i in 0..3 {
            for j in 0..3 {
                let column: Vec<f64> = (0..3).map(|l| inverse.at(l, j)).collect();
                assert!((dot(a.row(i), &column) - f64::from(u8::from(i == j))).abs() < 1e-12);
            }
        }
        let upper = a.upper_of_inverse().expect("positive definite");
        for i in 0..3 {
            for j in 0..3 {
                let product: f64 = (0..3).map(|l| upper.at(l, i) * upper.at(l, j)).sum();
                assert!((product - inverse.at(i, j)).abs() < 1e-12 && (i <= j || upper.at(i, j) == 0.0));
            }
        }
        assert!(Square { n: 2, values: vec![1.0, 2.0, 2.0, 1.0] }.cholesky().is_none());
    }
}
