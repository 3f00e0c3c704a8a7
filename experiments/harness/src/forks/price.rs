//! Price of a hold: chosen so that a gate that fires by predicted benefit spends a stated duty. One price for all boundaries, or one for
//! each by backward induction. Beside both stands what other rules recover at the same duty, from the same forks.
//!
//! Every figure is of gates that give an episode at most one hold, the first that their rule asks for: what follows a hold is known from
//! the fork, but not what a second hold would do.

use aegis_core::{EpisodeKey, GateLimits, Start};
use aegis_probe::forks::{Branch, Fork};
use aegis_statistics::{Bootstrap, Clusters, Estimate, StatisticsError};
use serde::Serialize;

/// Digits after the decimal point of a price.
const DIGITS: f64 = 1e4;
/// Halvings in the search for the price of a strong step.
const HALVINGS: usize = 60;

/// Boundary of a weak episode at which a gate may fire.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PricedBoundary {
    /// Index of the boundary within the episode.
    pub index: u32,
    /// Reading that is compared with the price; infinite where the activation was not finite.
    pub reading: f64,
    /// Outcome of a hold from here on.
    pub hold: Branch,
}

/// Weak episode with what a rule reads at each of its boundaries.
#[derive(Clone, Debug, PartialEq)]
pub struct PricedEpisode {
    /// Task, initial state and replicate.
    pub key: EpisodeKey,
    /// Whether the weak policy, left alone, won.
    pub success: bool,
    /// Boundaries, ascending.
    pub boundaries: Vec<PricedBoundary>,
}

impl PricedBoundary {
    /// Returns the boundary of a fork with what a rule reads there; NaN counts as the highest reading.
    pub fn of(fork: &Fork, reading: f64, gate: &GateLimits) -> Self {
        let reading = if reading.is_nan() { f64::INFINITY } else { reading };
        Self { index: fork.step / gate.chunk_steps, reading, hold: fork.hold }
    }
}

impl PricedEpisode {
    /// Returns the hold that a gate with these prices gives first, if it gives one.
    fn first_hold(&self, prices: &[f64]) -> Option<&Branch> {
        let price =
            |index: u32| prices.get(index as usize).or(prices.last()).copied().unwrap_or(f64::INFINITY);
        let fires = |boundary: &&PricedBoundary| boundary.reading > price(boundary.index);
        self.boundaries.iter().find(fires).map(|boundary| &boundary.hold)
    }
}

/// Expectation of what a rule spends and gains; fractions come from shares of episodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spent {
    /// Holds.
    pub holds: f64,
    /// Control steps that the strong policy drives.
    pub strong_steps: f64,
    /// Lost episodes that are recovered.
    pub recovered: f64,
    /// Won episodes that are broken.
    pub broken: f64,
}

impl Spent {
    fn add(&mut self, success: bool, hold: &Branch, weight: f64) {
        self.holds += weight;
        self.strong_steps += weight * f64::from(hold.strong_steps);
        self.recovered += weight * f64::from(u8::from(!success && hold.success));
        self.broken += weight * f64::from(u8::from(success && !hold.success));
    }
}

/// Returns what a gate with these prices spends and gains in these episodes.
pub fn spent<'a>(episodes: impl IntoIterator<Item = &'a PricedEpisode>, prices: &[f64]) -> Spent {
    let mut spent = Spent::default();
    for episode in episodes {
        if let Some(hold) = episode.first_hold(prices) {
            spent.add(episode.success, hold, 1.0);
        }
    }
    spent
}

/// Returns the duty of a gate with these prices, as a share of all horizons, with its bootstrap interval over starts.
///
/// # Errors
/// [`StatisticsError`] without episodes, and with a single start.
pub fn duty(
    episodes: &[PricedEpisode],
    prices: &[f64],
    horizon_steps: u32,
    bootstrap: &Bootstrap,
) -> Result<Estimate, StatisticsError> {
    let starts: Vec<Start> = episodes.iter().map(|episode| episode.key.start).collect();
    let clusters = Clusters::new(&starts)?;
    let strong = clusters.sums(
        episodes
            .iter()
            .map(|episode| episode.first_hold(prices).map_or(0.0, |hold| f64::from(hold.strong_steps))),
    );
    let whole = clusters.sums(episodes.iter().map(|_| f64::from(horizon_steps)));
    let weighted = |drawn: &[u32], values: &[f64]| {
        drawn.iter().zip(values).map(|(times, value)| f64::from(*times) * value).sum::<f64>()
    };
    bootstrap.interval(&clusters, |drawn| Some(weighted(drawn, &strong) / weighted(drawn, &whole)))
}

fn rounded_up(price: f64) -> f64 {
    (price * DIGITS).ceil() / DIGITS
}

/// Returns the lowest price, the same at every boundary, down to which a gate spends no more than `budget` strong steps.
pub fn fixed(episodes: &[PricedEpisode], budget: f64) -> f64 {
    let readings = episodes.iter().flat_map(|episode| &episode.boundaries).map(|one| rounded_up(one.reading));
    let mut candidates: Vec<f64> = readings.filter(|price| price.is_finite() && *price > 0.0).collect();
    candidates.push(0.0);
    candidates.sort_by(|a, b| b.total_cmp(a));
    candidates.dedup();
    let affordable =
        candidates.into_iter().take_while(|price| spent(episodes, &[*price]).strong_steps <= budget);
    affordable.last().unwrap_or(1.0)
}

/// Returns a price for each boundary, by backward induction: a hold costs `step_price` for each of its control steps, and firing gives up
/// what waiting is worth. The value of waiting at a boundary is the mean over the episodes that reach it; an episode that ends before the next
/// boundary has none.
///
/// This is optimal stopping of a Markov chain whose state is the boundary: Puterman, *Markov Decision Processes*, 1994, section 4.5.
pub fn induced(episodes: &[PricedEpisode], step_price: f64, gate: &GateLimits) -> Vec<f64> {
    let count = gate.horizon_steps.div_ceil(gate.chunk_steps);
    let cost = step_price * f64::from(gate.hold_steps());
    let at = |episode: &PricedEpisode, index: u32| {
        episode
            .boundaries
            .iter()
            .find(|boundary| boundary.index == index)
            .map(|boundary| boundary.reading.min(1.0))
    };
    let mut prices = vec![1.0; count as usize];
    let mut waiting = 0.0;
    for index in (0..count).rev() {
        let next = index + 1;
        let reached: Vec<&PricedEpisode> =
            episodes.iter().filter(|episode| at(episode, index).is_some()).collect();
        if !reached.is_empty() {
            let value = |episode: &&PricedEpisode| {
                at(episode, next).map_or(0.0, |benefit| (benefit - cost).max(waiting))
            };
            waiting = reached.iter().map(value).sum::<f64>() / reached.len() as f64;
        }
        prices[index as usize] = rounded_up((cost + waiting).clamp(0.0, 1.0));
    }
    prices
}

/// Returns the prices by backward induction with which a gate spends at most `budget` strong steps, and as much of it as a search by halving finds.
pub fn timed(episodes: &[PricedEpisode], budget: f64, gate: &GateLimits) -> Vec<f64> {
    let affords = |step_price: f64| {
        let prices = induced(episodes, step_price, gate);
        (spent(episodes, &prices).strong_steps <= budget).then_some(prices)
    };
    let (mut low, mut high) = (0.0, 1.0 / f64::from(gate.hold_steps().max(1)));
    if let Some(prices) = affords(low) {
        return prices;
    }
    let mut found = induced(episodes, high, gate);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        match affords(middle) {
            Some(prices) => (found, high) = (prices, middle),
            None => low = middle,
        }
    }
    found
}

/// Blind schedule: one hold at a boundary, in a share of the episodes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BlindSchedule {
    /// Index of the boundary.
    pub boundary: u32,
    /// Share of the episodes that spends the budget; 1 where all of them spend less.
    pub share: f64,
    /// Expectation of what it spends and gains.
    pub spent: Spent,
}

/// Returns the schedule of one hold at every boundary at which a gate may fire, each in the share of the episodes that spends `budget`
/// strong steps; ascending by boundary.
pub fn blind(episodes: &[PricedEpisode], budget: f64, gate: &GateLimits) -> Vec<BlindSchedule> {
    let count = gate.horizon_steps.div_ceil(gate.chunk_steps);
    let boundaries = (0..count).filter(|boundary| gate.may_fire_first_at(boundary * gate.chunk_steps));
    let schedule = |boundary: u32| {
        let holds = || {
            episodes.iter().filter_map(move |episode| {
                let here = episode.boundaries.iter().find(|one| one.index == boundary);
                here.map(|here| (episode.success, here.hold))
            })
        };
        let whole: f64 = holds().map(|(_, hold)| f64::from(hold.strong_steps)).sum();
        let share = if whole > budget { budget / whole } else { 1.0 };
        let mut spent = Spent::default();
        holds().for_each(|(success, hold)| spent.add(success, &hold, share));
        BlindSchedule { boundary, share, spent }
    };
    boundaries.map(schedule).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::episode;
    use super::*;
    use aegis_core::gate::BudgetUnit;
    use aegis_statistics::Method;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn gate() -> GateLimits {
        GateLimits {
            return_chunks: 0,
            guard_fraction: 0.1,
            budget_fraction: 0.1,
            budget_unit: BudgetUnit::Chunks,
            duty_cap: 1.0,
            hold_chunks: 2,
            whole_holds: false,
            horizon_steps: 100,
            chunk_steps: 10,
        }
    }

    /// Lost episodes that a hold wins at every boundary from 10 to 90, with these readings there.
    fn priced(state: usize, success: bool, readings: &[f64]) -> PricedEpisode {
        let forks: Vec<(u32, bool, bool)> =
            (1..=readings.len() as u32).map(|one| (10 * one, true, true)).collect();
        let of = episode(state, success, &forks);
        let boundaries =
            of.forks.iter().zip(readings).map(|(fork, reading)| PricedBoundary::of(fork, *reading, &gate()));
        PricedEpisode { key: of.key, success, boundaries: boundaries.collect() }
    }

    #[test]
    fn a_fixed_price_spends_the_budget_and_no_more() {
        let episodes =
            [priced(0, false, &[0.1, 0.5]), priced(2, false, &[0.3, 0.2]), priced(4, true, &[f64::NAN, 0.0])];
        // A reading that is not a number is above every finite price.
        assert_eq!(fixed(&episodes, 0.0), 1.0);
        assert_eq!((fixed(&episodes, 20.0), spent(&episodes, &[0.5]).holds), (0.5, 1.0));
        assert_eq!((fixed(&episodes, 45.0), spent(&episodes, &[0.3]).holds), (0.3, 2.0));
        assert_eq!(fixed(&episodes, 60.0), 0.0);
        let all = spent(&episodes, &[0.0]);
        assert_eq!((all.holds, all.strong_steps, all.recovered, all.broken), (3.0, 60.0, 2.0, 0.0));
    }

    #[test]
    fn backward_induction_waits_where_more_is_to_come_and_equals_the_best_stopping_by_hand() {
        // Half of the episodes promise 0.8 at their second boundary, all promise 0.5 at the first; a hold costs 0.2.
        let episodes = [priced(0, false, &[0.5, 0.8]), priced(2, false, &[0.5, 0.0])];
        let prices = induced(&episodes, 0.01, &gate());
        // Waiting at the first boundary is worth (0.8 − 0.2) / 2 = 0.3, so firing there needs 0.2 + 0.3; at the second it is worth 0.
        assert_eq!((prices[1], prices[2]), (0.5, 0.2));
        let cheap = induced(&episodes, 0.0, &gate());
        assert_eq!((cheap[1], cheap[2]), (0.4, 0.0));
        assert_eq!(timed(&episodes, 20.0, &gate())[2..4].len(), 2);
        assert!(spent(&episodes, &timed(&episodes, 20.0, &gate())).strong_steps <= 20.0);
        assert_eq!(spent(&episodes, &timed(&episodes, 20.0, &gate())).holds, 1.0);
    }

    #[test]
    fn a_blind_schedule_spends_the_budget_by_its_share() {
        let episodes = [priced(0, false, &[0.5, 0.8]), priced(2, false, &[0.5]), priced(4, true, &[])];
        let found = blind(&episodes, 20.0, &gate());
        assert_eq!((found[0].boundary, found[0].share, found[0].spent.strong_steps), (1, 0.5, 20.0));
        assert_eq!(found[0].spent.recovered, 1.0);
        assert_eq!((found[1].boundary, found[1].share, found[1].spent.recovered), (2, 1.0, 1.0));
        assert_eq!(found[2].spent, Spent::default());
    }

    /// Episodes whose benefit is known: a hold wins with probability `reading`.
    fn drawn(generator: &mut ChaCha8Rng, count: usize) -> Vec<PricedEpisode> {
        (0..count)
            .map(|state| {
                let readings: Vec<f64> = (0..8).map(|_| generator.random_range(0.0..1.0)).collect();
                priced(2 * state, false, &readings)
            })
            .collect()
    }

    #[test]
    fn a_price_that_was_tuned_meets_its_budget_on_fresh_episodes_within_the_interval() {
        let mut generator = ChaCha8Rng::seed_from_u64(23);
        let bootstrap = Bootstrap { replicates: 500, seed: 1, confidence: 0.99, method: Method::Percentile };
        for target in [0.02, 0.05, 0.1, 0.15] {
            let tuning = drawn(&mut generator, 400);
            let budget = target * 400.0 * 100.0;
            for prices in [vec![fixed(&tuning, budget)], timed(&tuning, budget, &gate())] {
                let fresh = drawn(&mut generator, 400);
                let found = duty(&fresh, &prices, 100, &bootstrap).unwrap();
                let margin = 0.01;
                assert!(
                    found.lower - margin <= target && target <= found.upper + margin,
                    "{target}: {found:?} at {prices:?}"
                );
            }
        }
    }
}
