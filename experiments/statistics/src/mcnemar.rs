//! McNemar's exact test on discordant pairs.
//! Every tail is computed in logarithms, so that a p-value too small for a double still has a logarithm.

use serde::Serialize;

use crate::binomial::Binomial;

/// Exact McNemar test on discordant pairs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct McNemar {
    /// P(X ≥ b), X ~ Binomial(b + c, ½): the treatment wins more.
    pub one_sided: f64,
    /// Twice the smaller tail, at most 1.
    pub two_sided: f64,
    /// As [`mcnemar_mid_p`], but 1 where no pair is discordant: reports that are stored, and the reference values, have it so.
    pub mid_p_one_sided: f64,
}

/// Exact McNemar test. `b` pairs were won only by the treatment, `c` only by the control.
///
/// No discordant pair is no evidence: all three are 1. Relative error below 1e-12 up to b + c = 1e6, time of order
/// √(b + c); p-values below 1e-308 come out as 0 ([`mcnemar_ln_one_sided`] goes on).
///
/// Source: McNemar, *Note on the sampling error of the difference between correlated proportions*, Psychometrika
/// 1947.
pub fn mcnemar(b: u64, c: u64) -> McNemar {
    let n = b.saturating_add(c);
    if n == 0 {
        return McNemar { one_sided: 1.0, two_sided: 1.0, mid_p_one_sided: 1.0 };
    }
    let pairs = Binomial::half(n);
    let upper = pairs.upper_tail(b);
    let lower = pairs.lower_tail(b);
    McNemar {
        one_sided: upper,
        two_sided: (2.0 * upper.min(lower)).min(1.0),
        mid_p_one_sided: mcnemar_mid_p(b, c),
    }
}

/// P(X > b) + ½ P(X = b), X ~ Binomial(b + c, ½): the one-sided mid-p value, ½ where no pair is discordant.
///
/// Source: Fagerland, Lydersen and Laake, *The McNemar test for binary matched-pairs data: mid-p and asymptotic are better
/// than exact conditional*, BMC Medical Research Methodology 2013.
pub fn mcnemar_mid_p(b: u64, c: u64) -> f64 {
    let pairs = Binomial::half(b.saturating_add(c));
    pairs.upper_tail(b) - 0.5 * pairs.mass(b)
}

/// Natural logarithm of the one-sided p-value of [`mcnemar`], also where the p-value itself underflows.
pub fn mcnemar_ln_one_sided(b: u64, c: u64) -> f64 {
    Binomial::half(b.saturating_add(c)).ln_upper_tail(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_go_on_where_doubles_end() {
        assert_eq!(mcnemar(1100, 0).one_sided, 0.0);
        let expected = -1100.0 * std::f64::consts::LN_2;
        assert!((mcnemar_ln_one_sided(1100, 0) / expected - 1.0).abs() < 1e-14);
        assert_eq!(mcnemar_ln_one_sided(0, 0), 0.0);
    }

    #[test]
    fn without_a_discordant_pair_the_mid_p_is_half_of_the_one_outcome() {
        assert_eq!(mcnemar_mid_p(0, 0), 0.5);
        assert_eq!(mcnemar_mid_p(3, 12), mcnemar(3, 12).mid_p_one_sided);
    }

    #[test]
    fn swapping_the_arms_keeps_the_two_sided_value() {
        for (b, c) in [(3, 12), (0, 5), (50_000, 49_000), (7, 7)] {
            let (one, other) = (mcnemar(b, c), mcnemar(c, b));
            assert!((one.two_sided / other.two_sided - 1.0).abs() < 1e-12);
            // P(X ≥ b) and P(X > b) of the swapped arms are complements, and the mid-p values with them.
            assert!((one.mid_p_one_sided + other.mid_p_one_sided - 1.0).abs() < 1e-12);
        }
    }
}
