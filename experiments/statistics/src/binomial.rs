//! Binomial probabilities and tails in logarithms, to 1e-12 relative for counts up to a million and beyond.
//! Mass by Loader's saddle-point form; a tail is the mass at its edge times a sum of ratios.

use std::f64::consts::{LN_2, PI};

/// Terms of a tail below this share of the sum no longer change it.
const NEGLIGIBLE: f64 = 1e-18;

/// X ~ Binomial(n, p), 0 < p < 1. Counts above 2^53 are rounded to a double.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Binomial {
    n: u64,
    p: f64,
    q: f64,
}

/// Returns P(X ≤ k) for X ~ Binomial(n, p), with p within 0 and 1. 1 where `n` is 0.
pub fn binomial_lower_tail(k: u64, n: u64, p: f64) -> f64 {
    match (k >= n, p <= 0.0, p >= 1.0) {
        (true, ..) | (_, true, _) => 1.0,
        (_, _, true) => 0.0,
        _ => Binomial::new(n, p).ln_lower_tail(k).exp(),
    }
}

impl Binomial {
    pub(crate) fn new(n: u64, p: f64) -> Self {
        Self { n, p, q: 1.0 - p }
    }

    /// The distribution of the McNemar test.
    pub(crate) fn half(n: u64) -> Self {
        Self::new(n, 0.5)
    }

    /// ln P(X = k), for k ≤ n.
    ///
    /// Source: Loader, *Fast and Accurate Computation of Binomial Probabilities*, 2000. Differences of log-gammas
    /// would lose seven digits at a million: their values are 1e7 and their difference of order one.
    pub(crate) fn ln_mass(&self, k: u64) -> f64 {
        let n = self.n as f64;
        if k == 0 {
            return n * ln_share(self.q, self.p);
        }
        if k == self.n {
            return n * ln_share(self.p, self.q);
        }
        let (won, lost) = (k as f64, (self.n - k) as f64);
        stirling_error(n)
            - stirling_error(won)
            - stirling_error(lost)
            - deviance(won, n * self.p)
            - deviance(lost, n * self.q)
            + 0.5 * (n / (2.0 * PI * won * lost)).ln()
    }

    /// P(X = k).
    pub(crate) fn mass(&self, k: u64) -> f64 {
        self.ln_mass(k).exp()
    }

    /// ln P(X ≥ k); −∞ above n.
    pub(crate) fn ln_upper_tail(&self, k: u64) -> f64 {
        if k == 0 {
            0.0
        } else if k > self.n {
            f64::NEG_INFINITY
        } else if k as f64 > self.n as f64 * self.p {
            self.ln_mass(k) + self.sum_up(k).ln()
        } else {
            // The complement is the smaller side and loses nothing near a half.
            (-self.lower_tail(k - 1)).ln_1p()
        }
    }

    /// P(X ≥ k).
    pub(crate) fn upper_tail(&self, k: u64) -> f64 {
        self.ln_upper_tail(k).exp()
    }

    /// ln P(X ≤ k).
    pub(crate) fn ln_lower_tail(&self, k: u64) -> f64 {
        if k >= self.n {
            0.0
        } else if (k as f64) < self.n as f64 * self.p {
            self.ln_mass(k) + self.sum_down(k).ln()
        } else {
            (-self.upper_tail(k + 1)).ln_1p()
        }
    }

    /// P(X ≤ k).
    pub(crate) fn lower_tail(&self, k: u64) -> f64 {
        self.ln_lower_tail(k).exp()
    }

    /// P(X ≥ k) / P(X = k), for k above the mean.
    fn sum_up(&self, k: u64) -> f64 {
        let odds = self.p / self.q;
        ratio_sum((k..self.n).map(|i| (self.n - i) as f64 / (i + 1) as f64 * odds))
    }

    /// P(X ≤ k) / P(X = k), for k below the mean.
    fn sum_down(&self, k: u64) -> f64 {
        let odds = self.q / self.p;
        ratio_sum((1..=k).rev().map(|i| i as f64 / (self.n - i + 1) as f64 * odds))
    }
}

/// 1 + r₁ + r₁r₂ + …, until the terms no longer count.
fn ratio_sum(ratios: impl Iterator<Item = f64>) -> f64 {
    let mut term = 1.0;
    let mut sum = 1.0;
    for ratio in ratios {
        term *= ratio;
        sum += term;
        if term < sum * NEGLIGIBLE {
            break;
        }
    }
    sum
}

/// ln of a share, from whichever of it and its complement is small.
fn ln_share(share: f64, complement: f64) -> f64 {
    if complement < 0.5 {
        (-complement).ln_1p()
    } else if share == 0.5 {
        -LN_2
    } else {
        share.ln()
    }
}

/// ln n! minus Stirling's formula, for whole n ≥ 1.
fn stirling_error(n: f64) -> f64 {
    if n < 16.0 {
        let factorial: f64 = (2..=n as u64).map(|i| i as f64).product();
        return factorial.ln() - (n + 0.5) * n.ln() + n - 0.5 * (2.0 * PI).ln();
    }
    let square = n * n;
    (1.0 / 12.0
        - (1.0 / 360.0 - (1.0 / 1260.0 - (1.0 / 1680.0 - 1.0 / 1188.0 / square) / square) / square) / square)
        / n
}

/// x ln(x/m) + m − x without cancellation where x is near m.
fn deviance(x: f64, m: f64) -> f64 {
    if (x - m).abs() >= 0.1 * (x + m) {
        return x * (x / m).ln() + m - x;
    }
    let v = (x - m) / (x + m);
    let mut sum = (x - m) * v;
    let mut power = 2.0 * x * v;
    let mut odd = 3.0;
    loop {
        power *= v * v;
        let next = sum + power / odd;
        if next == sum {
            return sum;
        }
        sum = next;
        odd += 2.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masses_sum_to_one() {
        for (n, p) in [(1, 0.5), (17, 0.3), (40, 0.999), (2000, 0.07)] {
            let distribution = Binomial::new(n, p);
            let total: f64 = (0..=n).map(|k| distribution.mass(k)).sum();
            assert!((total - 1.0).abs() < 1e-12, "n = {n}, p = {p}: {total}");
        }
    }

    #[test]
    fn tails_are_the_sums_of_their_masses() {
        let distribution = Binomial::new(60, 0.35);
        for k in 0..=60 {
            let upper: f64 = (k..=60).rev().map(|i| distribution.mass(i)).sum();
            let lower: f64 = (0..=k).map(|i| distribution.mass(i)).sum();
            assert!((distribution.upper_tail(k) / upper - 1.0).abs() < 1e-12, "P(X ≥ {k})");
            assert!((distribution.lower_tail(k) / lower - 1.0).abs() < 1e-12, "P(X ≤ {k})");
        }
        assert_eq!(distribution.upper_tail(61), 0.0);
    }
}
