//! Exact inference on binomial counts: McNemar's test and the Clopper–Pearson interval.
//! Tail sums run in logarithms, so that no count in reach underflows.

use serde::Serialize;
use statrs::function::beta::beta_reg;
use statrs::function::gamma::ln_gamma;

use crate::StatisticsError;

/// Exact McNemar test on discordant pairs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct McNemar {
    /// P(X ≥ b), X ~ Binomial(b + c, ½): the treatment wins more.
    pub one_sided: f64,
    /// Twice the smaller tail, at most 1.
    pub two_sided: f64,
    /// P(X > b) + ½ P(X = b).
    pub mid_p_one_sided: f64,
}

/// A confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// Lower end.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
}

/// Exact McNemar test. `b` pairs were won only by the treatment, `c` only by the control.
///
/// Source: McNemar, *Note on the sampling error of the difference between correlated proportions*, Psychometrika
/// 1947; mid-p after Fagerland et al., BMC Medical Research Methodology 2013.
pub fn mcnemar(b: u64, c: u64) -> McNemar {
    let n = b + c;
    if n == 0 {
        // No discordant pair is no evidence, by the mid-p as by the exact test.
        return McNemar { one_sided: 1.0, two_sided: 1.0, mid_p_one_sided: 1.0 };
    }
    let upper = upper_tail(b, n);
    let lower = upper_tail(c, n);
    McNemar {
        one_sided: upper,
        two_sided: (2.0 * upper.min(lower)).min(1.0),
        mid_p_one_sided: upper - 0.5 * ln_half_binomial(b, n).exp(),
    }
}

/// P(X ≥ k) for X ~ Binomial(n, ½).
fn upper_tail(k: u64, n: u64) -> f64 {
    if k == 0 {
        return 1.0;
    }
    // Sum the smaller side: terms fall off, and the complement loses nothing at a half.
    if 2 * k <= n {
        return 1.0 - upper_tail(n - k + 1, n);
    }
    let mut term = 1.0;
    let mut sum = 1.0;
    for i in k..n {
        term *= (n - i) as f64 / (i + 1) as f64;
        sum += term;
        if term < sum * 1e-18 {
            break;
        }
    }
    (ln_half_binomial(k, n) + f64::ln(sum)).exp()
}

/// Logarithm of P(X = k) for X ~ Binomial(n, ½).
fn ln_half_binomial(k: u64, n: u64) -> f64 {
    ln_choose(n, k) - n as f64 * std::f64::consts::LN_2
}

fn ln_choose(n: u64, k: u64) -> f64 {
    ln_gamma(n as f64 + 1.0) - ln_gamma(k as f64 + 1.0) - ln_gamma((n - k) as f64 + 1.0)
}

/// Clopper–Pearson interval for `k` successes of `n` at a two-sided `confidence` level.
///
/// Source: Clopper, Pearson, *The use of confidence or fiducial limits illustrated in the case of the binomial*,
/// Biometrika 1934, in the form of beta quantiles.
pub fn clopper_pearson(k: u64, n: u64, confidence: f64) -> Result<Interval, StatisticsError> {
    if n == 0 || k > n {
        return Err(StatisticsError::Counts { k, n });
    }
    if !(confidence > 0.0 && confidence < 1.0) {
        return Err(StatisticsError::Range {
            name: "confidence",
            found: confidence,
            valid: "above 0, below 1",
        });
    }
    let tail = (1.0 - confidence) / 2.0;
    let (successes, failures) = (k as f64, (n - k) as f64);
    Ok(Interval {
        lower: if k == 0 { 0.0 } else { beta_quantile(tail, successes, failures + 1.0) },
        upper: if k == n { 1.0 } else { beta_quantile(1.0 - tail, successes + 1.0, failures) },
    })
}

/// Quantile of Beta(a, b) by bisection of the regularised incomplete beta function, to the last bit it resolves.
fn beta_quantile(probability: f64, a: f64, b: f64) -> f64 {
    let (mut low, mut high) = (0.0_f64, 1.0_f64);
    loop {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            return middle;
        }
        if beta_reg(a, b, middle) < probability {
            low = middle;
        } else {
            high = middle;
        }
    }
}
