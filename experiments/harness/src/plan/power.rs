//! Power of a family of contrasts under Holm's procedure, by simulation: the arms share episodes, so formulas for
//! single tests do not apply. The treatment is the same arm in every contrast; given whether the treatment wins an
//! episode, the controls are independent.

use aegis_statistics::{Discordance, StatisticsError, holm_rejects, mcnemar};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Binomial, Distribution};
use serde::Serialize;

/// Family of contrasts with the same effect.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Family {
    /// Probabilities of the discordant pairs of each contrast.
    pub effect: Discordance,
    /// Number of contrasts.
    pub contrasts: usize,
    /// Family-wise level.
    pub alpha: f64,
    /// Fraction of the episodes that the treatment wins, which makes the contrasts dependent.
    pub success: f64,
}

/// Settings of a simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Simulation {
    /// Number of simulated studies, at least 100.
    pub studies: u64,
    /// Seed of the studies' random streams.
    pub seed: u64,
}

/// Simulated power at a number of episodes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct FamilyPower {
    /// Episodes per arm.
    pub episodes: u64,
    /// Fraction of the studies in which Holm's procedure rejects every null hypothesis.
    pub all: f64,
    /// Fraction of the studies in which it rejects at least one.
    pub any: f64,
    /// Standard error of `all`.
    pub all_standard_error: f64,
}

impl Family {
    /// Returns the treatment's success rate if concordant pairs are won and lost equally often.
    pub fn even_success(effect: Discordance) -> f64 {
        effect.treatment_only + (1.0 - effect.treatment_only - effect.control_only) / 2.0
    }

    /// Simulates the power at `episodes` per arm.
    ///
    /// Let A be the number of episodes that the treatment wins, A ~ Binomial(n, success). The counts of a contrast are
    /// b ~ Binomial(A, treatment_only / success) and c ~ Binomial(n − A, control_only / (1 − success)). Episodes are
    /// taken as independent; clusters of several episodes have less power. A study's random stream depends only on the
    /// seed and the study's number.
    ///
    /// # Errors
    /// Settings out of range.
    pub fn power(&self, episodes: u64, simulation: Simulation) -> Result<FamilyPower, StatisticsError> {
        let [won, recovered, broken] = self.shares(simulation)?;
        let (mut all, mut any) = (0_u64, 0_u64);
        for study in 0..simulation.studies {
            let mut stream = ChaCha8Rng::seed_from_u64(simulation.seed);
            stream.set_stream(study);
            let wins = draw(&mut stream, episodes, won);
            let p_values: Vec<f64> = (0..self.contrasts)
                .map(|_| {
                    let b = draw(&mut stream, wins, recovered);
                    let c = draw(&mut stream, episodes - wins, broken);
                    mcnemar(b, c).one_sided
                })
                .collect();
            let rejected = holm_rejects(&p_values, self.alpha)?;
            all += u64::from(rejected.iter().all(|one| *one));
            any += u64::from(rejected.contains(&true));
        }
        let count = simulation.studies as f64;
        let share = all as f64 / count;
        Ok(FamilyPower {
            episodes,
            all: share,
            any: any as f64 / count,
            all_standard_error: (share * (1.0 - share) / count).sqrt(),
        })
    }

    /// Returns the least number of episodes per arm, from `least` up to `limit`, at which all null hypotheses are
    /// rejected with this power.
    ///
    /// The search doubles and then bisects on the simulated power, so the result is accurate to a few standard errors
    /// of the simulated power.
    ///
    /// # Errors
    /// Settings out of range, or a power that `limit` episodes do not reach.
    pub fn episodes(
        &self,
        power: f64,
        least: u64,
        limit: u64,
        simulation: Simulation,
    ) -> Result<FamilyPower, StatisticsError> {
        let at = |episodes| self.power(episodes, simulation);
        let (mut low, mut high) = (0, at(least.clamp(1, limit))?);
        while high.all < power {
            if high.episodes == limit {
                let valid = "more episodes than the power needs";
                return Err(StatisticsError::Range { name: "limit", found: limit as f64, valid });
            }
            low = high.episodes;
            high = at((2 * high.episodes).min(limit))?;
        }
        while high.episodes - low > 1 {
            let middle = at(low + (high.episodes - low) / 2)?;
            if middle.all < power {
                low = middle.episodes;
            } else {
                high = middle;
            }
        }
        Ok(high)
    }

    /// Checks the settings and returns the probabilities of the binomial draws.
    fn shares(&self, simulation: Simulation) -> Result<[f64; 3], StatisticsError> {
        let Discordance { treatment_only, control_only } = self.effect;
        let refused = |name, found, valid| Err(StatisticsError::Range { name, found, valid });
        if self.contrasts == 0 {
            return refused("contrasts", 0.0, "1 or more");
        }
        if simulation.studies < 100 {
            return refused("studies", simulation.studies as f64, "100 or more");
        }
        let success = self.success;
        // Sums of probabilities may exceed their bound by a rounding error.
        if !(success >= treatment_only - 1e-12 && 1.0 - success >= control_only - 1e-12) {
            let valid = "at least treatment_only, and at most 1 less control_only";
            return refused("success", success, valid);
        }
        let given = |share: f64, of: f64| if of > 0.0 { (share / of).clamp(0.0, 1.0) } else { 0.0 };
        Ok([success.clamp(0.0, 1.0), given(treatment_only, success), given(control_only, 1.0 - success)])
    }
}

fn draw(stream: &mut ChaCha8Rng, trials: u64, chance: f64) -> u64 {
    // Probabilities from `shares` lie within 0 and 1, for which the distribution exists.
    Binomial::new(trials, chance).map_or(0, |binomial| binomial.sample(stream))
}
