//! Exact power of the one-sided exact McNemar test, and the episodes that a power needs.
//! The number of discordant pairs is random, so power is a mean over it.

use serde::Serialize;

use crate::StatisticsError;
use crate::binomial::Binomial;
use crate::error::open_unit;

/// Most episodes that a plan may ask for.
const MOST_EPISODES: u64 = 1_000_000;

/// Probabilities that a pair of episodes is discordant, in favour of either arm.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Discordance {
    /// P(only the treatment wins): recovered, over all episodes.
    pub treatment_only: f64,
    /// P(only the control wins): broken, over all episodes.
    pub control_only: f64,
}

impl Discordance {
    /// From the rate of discordant pairs and the share of them that the treatment wins.
    pub fn from_share(discordant: f64, share: f64) -> Self {
        Self { treatment_only: discordant * share, control_only: discordant * (1.0 - share) }
    }

    fn rate(&self) -> f64 {
        self.treatment_only + self.control_only
    }

    fn validate(&self) -> Result<(), StatisticsError> {
        let valid = "0 to 1, both together above 0 and at most 1";
        let rate = self.rate();
        for (name, found) in [("treatment_only", self.treatment_only), ("control_only", self.control_only)] {
            // Shares that are meant to sum to one may miss it by a rounding.
            if !(found >= 0.0 && rate > 0.0 && rate <= 1.0 + 1e-12) {
                return Err(StatisticsError::Range { name, found, valid });
            }
        }
        Ok(())
    }
}

/// Episodes that a power needs. Power rises in saw teeth, so there are two answers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SampleSize {
    /// Smallest n found whose power reaches the target; a few episodes more may fall below it again.
    pub first: u64,
    /// Power at `first`.
    pub first_power: f64,
    /// Smallest n at and after `first` from which the power stays at the target for `looked_ahead` more. Plan with
    /// this one.
    pub stable: u64,
    /// Power at `stable`.
    pub stable_power: f64,
    /// Number of episodes that were examined after `stable`: four saw teeth, `ceil(8 / discordance)`.
    pub looked_ahead: u64,
}

/// Probability that the one-sided exact McNemar test rejects at level `alpha` over `n` pairs of episodes.
///
/// Σ over d of P(D = d) · P(B ≥ critical(d)), D ~ Binomial(n, discordance), B ~ Binomial(d, share). Pairs count as
/// independent: clusters of several episodes give less.
///
/// Errors: probabilities or `alpha` out of range, n = 0 or above a million.
///
/// Source: Duffy, *Asymptotic and exact power for the McNemar test and its analogue with R controls per case*,
/// Biometrics 1984.
pub fn mcnemar_power(effect: Discordance, alpha: f64, n: u64) -> Result<f64, StatisticsError> {
    if !(1..=MOST_EPISODES).contains(&n) {
        let found = n as f64;
        return Err(StatisticsError::Range { name: "n", found, valid: "1 to 1000000" });
    }
    Ok(Rejections::new(effect, alpha)?.power(n))
}

/// Episodes needed for `power` at level `alpha`, at most `limit` (itself at most a million).
///
/// Doubles n until the power is reached, halves the bracket, then walks tooth by tooth on either side.
///
/// Errors: probabilities, `alpha`, `power` or `limit` out of range; a treatment that does not win more than the control;
/// a power not reached within `limit`.
pub fn mcnemar_sample_size(
    effect: Discordance,
    alpha: f64,
    power: f64,
    limit: u64,
) -> Result<SampleSize, StatisticsError> {
    let mut rejections = Rejections::new(effect, alpha)?;
    open_unit("power", power)?;
    if effect.treatment_only <= effect.control_only {
        let (name, found) = ("treatment_only", effect.treatment_only);
        return Err(StatisticsError::Range { name, found, valid: "above control_only" });
    }
    if !(1..=MOST_EPISODES).contains(&limit) {
        let found = limit as f64;
        return Err(StatisticsError::Range { name: "limit", found, valid: "1 to 1000000" });
    }
    let unreached = StatisticsError::Range {
        name: "limit",
        found: limit as f64,
        valid: "more episodes than the power needs",
    };
    let (mut low, mut high) = (0, 1);
    while rejections.power(high) < power {
        if high == limit {
            return Err(unreached);
        }
        low = high;
        high = (2 * high).min(limit);
    }
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if rejections.power(middle) < power {
            low = middle;
        } else {
            high = middle;
        }
    }
    let looked_ahead = (8.0 / effect.rate()).ceil().min(MOST_EPISODES as f64) as u64;
    let from = high.saturating_sub(looked_ahead).max(1);
    let first = (from..=high).find(|n| rejections.power(*n) >= power).unwrap_or(high);
    let mut stable = first;
    let mut ahead = first;
    while ahead < stable + looked_ahead {
        ahead += 1;
        if ahead > limit {
            return Err(unreached);
        }
        if rejections.power(ahead) < power {
            stable = ahead + 1;
        }
    }
    Ok(SampleSize {
        first,
        first_power: rejections.power(first),
        stable,
        stable_power: rejections.power(stable),
        looked_ahead,
    })
}

/// P(reject | d discordant pairs) for d = 0, 1, …, up to the largest d that was needed.
struct Rejections {
    alpha: f64,
    rate: f64,
    share: f64,
    critical: u64,
    given: Vec<f64>,
}

impl Rejections {
    fn new(effect: Discordance, alpha: f64) -> Result<Self, StatisticsError> {
        effect.validate()?;
        open_unit("alpha", alpha)?;
        let rate = effect.rate().min(1.0);
        // No pair rejects nothing: the p-value is 1.
        Ok(Self { alpha, rate, share: effect.treatment_only / effect.rate(), critical: 1, given: vec![0.0] })
    }

    fn given(&mut self, discordant: u64) -> f64 {
        while self.given.len() as u64 <= discordant {
            let d = self.given.len() as u64;
            // One pair more moves the smallest rejecting b by one or not at all.
            if Binomial::half(d).upper_tail(self.critical) > self.alpha {
                self.critical += 1;
            }
            let rejected = if self.critical > d {
                0.0
            } else if self.share >= 1.0 {
                1.0
            } else if self.share <= 0.0 {
                0.0
            } else {
                Binomial::new(d, self.share).upper_tail(self.critical)
            };
            self.given.push(rejected);
        }
        self.given[discordant as usize]
    }

    fn power(&mut self, n: u64) -> f64 {
        if self.rate >= 1.0 {
            return self.given(n);
        }
        let discordant = Binomial::new(n, self.rate);
        let mode = (((n + 1) as f64 * self.rate) as u64).min(n);
        let odds = self.rate / (1.0 - self.rate);
        let peak = discordant.mass(mode);
        let mut sum = peak * self.given(mode);
        let mut mass = peak;
        for d in mode..n {
            mass *= (n - d) as f64 / (d + 1) as f64 * odds;
            if mass < peak * 1e-18 {
                break;
            }
            sum += mass * self.given(d + 1);
        }
        mass = peak;
        for d in (1..=mode).rev() {
            mass *= d as f64 / (n - d + 1) as f64 / odds;
            if mass < peak * 1e-18 {
                break;
            }
            sum += mass * self.given(d - 1);
        }
        sum.min(1.0)
    }
}
