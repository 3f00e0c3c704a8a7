//! An anytime-valid McNemar test: evidence that may be read after every pair, and stopped at any time.
//! The e-process is a mixture over the treatment's possible shares of discordant pairs.

use serde::Serialize;

use crate::StatisticsError;
use crate::binomial::Binomial;
use crate::error::open_unit;

/// Natural logarithm of [`mcnemar_e_value`], also where the e-value itself overflows.
pub fn mcnemar_ln_e_value(b: u64, c: u64) -> f64 {
    let n = b.saturating_add(c);
    // 2 ∫ over [½, 1] of θ^b (1−θ)^c dθ · 2ⁿ, through the incomplete beta function as a binomial tail.
    std::f64::consts::LN_2 - ((n + 1) as f64).ln() - Binomial::half(n).ln_mass(b)
        + Binomial::half(n + 1).ln_lower_tail(b)
}

/// Evidence against "the treatment wins at most half of the discordant pairs", after `b` pairs won only by the
/// treatment and `c` only by the control: the mixture of Binomial(b + c, θ) over θ uniform on [½, 1], against ½.
///
/// Under the hypothesis its expectation is at most 1 at every stopping time, for any order of pairs.
///
/// Sources: Robbins, *Statistical methods related to the law of the iterated logarithm*, Annals of Mathematical
/// Statistics 1970 (mixtures); Waudby-Smith, Ramdas, *Estimating means of bounded random variables by betting*,
/// JRSS B 2024 (each factor as a bet of 2θ − 1 on the treatment).
pub fn mcnemar_e_value(b: u64, c: u64) -> f64 {
    mcnemar_ln_e_value(b, c).exp()
}

/// The e-process over pairs as they come in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct McNemarProcess {
    /// Pairs won only by the treatment.
    pub b: u64,
    /// Pairs won only by the control.
    pub c: u64,
    /// ln of the e-value now.
    pub ln_e: f64,
    /// ln of the largest e-value so far, at least 0.
    pub ln_maximum: f64,
}

impl McNemarProcess {
    /// Takes one pair of outcomes. Concordant pairs change nothing.
    pub fn observe(&mut self, treatment: bool, control: bool) {
        match (treatment, control) {
            (true, false) => self.b += 1,
            (false, true) => self.c += 1,
            _ => return,
        }
        self.ln_e = mcnemar_ln_e_value(self.b, self.c);
        self.ln_maximum = self.ln_maximum.max(self.ln_e);
    }

    /// The e-value now. A study may stop and report it.
    pub fn e_value(&self) -> f64 {
        self.ln_e.exp()
    }

    /// The largest e-value so far.
    pub fn maximum(&self) -> f64 {
        self.ln_maximum.exp()
    }

    /// Anytime-valid p-value, 1 / maximum: below α with probability at most α over the whole course (Ville 1939).
    pub fn p_value(&self) -> f64 {
        (-self.ln_maximum).exp()
    }

    /// Whether the process has ever reached 1 / α. Errors: `alpha` outside (0, 1).
    pub fn rejects(&self, alpha: f64) -> Result<bool, StatisticsError> {
        Ok(self.p_value() <= open_unit("alpha", alpha)?)
    }
}
