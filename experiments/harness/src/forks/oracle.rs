//! Oracle: with hindsight, the forks that recover most lost episodes within a budget of strong steps, at most one in each episode.
//! It bounds what any gate could do with one intervention in an episode. Beside it stand choices that read nothing: one hold at a
//! boundary drawn uniformly, in a share of the episodes that spends the budget.

use aegis_core::{EpisodeKey, GateLimits};
use aegis_probe::forks::{Branch, EpisodeForks};
use serde::Serialize;

/// Slack for rounding of a budget that is a share.
const SLACK: f64 = 1e-9;

/// Kind of a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One hold.
    Hold,
    /// The strong policy to the end.
    TakeOver,
}

/// Branch that the oracle may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Choice {
    /// Episode.
    pub key: EpisodeKey,
    /// Control step of the boundary.
    pub step: u32,
    /// Kind of the branch.
    pub kind: Kind,
    /// Control steps that the strong policy drives.
    pub strong_steps: u32,
}

/// Point of a curve: the smallest number of strong steps with which so many episodes are recovered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Point {
    /// Recovered episodes.
    pub recovered: u64,
    /// Strong steps.
    pub strong_steps: u64,
}

/// Curve of recovered episodes against strong steps, which rises at each point.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Curve {
    /// Points within the budget, ascending.
    pub points: Vec<Point>,
    /// Mean over all budgets from 0 to this one of the share of lost episodes that are recovered; `None` where nothing was lost.
    pub area: Option<f64>,
}

impl Curve {
    /// Returns the episodes recovered with so many strong steps.
    pub fn recovered(&self, strong_steps: u64) -> u64 {
        let within = self.points.iter().rev().find(|point| point.strong_steps <= strong_steps);
        within.map_or(0, |point| point.recovered)
    }
}

/// Expectation of choices that read nothing. Up to one hold in every episode it grows in proportion to the strong steps; from there
/// on it stays.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Random {
    /// Strong steps of one hold in every episode in which a gate may fire.
    pub strong_steps: f64,
    /// Episodes recovered with them.
    pub recovered: f64,
    /// Episodes broken with them.
    pub broken: f64,
    /// As [`Curve::area`].
    pub area: Option<f64>,
}

impl Random {
    /// Returns the share of the episodes that get a hold for so many strong steps.
    pub fn share(&self, strong_steps: u64) -> f64 {
        if self.strong_steps > 0.0 { (strong_steps as f64 / self.strong_steps).min(1.0) } else { 0.0 }
    }
}

/// Oracle and random choices within one budget.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OracleReport {
    /// Budget as a share of all episodes' horizons.
    pub duty: f64,
    /// Budget in strong steps.
    pub strong_steps: u64,
    /// Most strong steps in an episode, by the gate's duty cap; branches with more are not chosen.
    pub most_in_episode: u32,
    /// Oracle over holds and take-overs.
    pub oracle: Curve,
    /// Oracle over holds alone.
    pub holds: Curve,
    /// Choices that read nothing.
    pub random: Random,
    /// Branches that the oracle chooses within the budget.
    pub choices: Vec<Choice>,
}

/// Returns the cheapest branch of each episode that recovers it within the duty cap, ascending by strong steps, with the episode's
/// index. Each recovers one episode, so the first of them that fit into a budget are an exact solution of the knapsack.
pub(crate) fn cheapest(episodes: &[EpisodeForks], most: u32, kinds: &[Kind]) -> Vec<(usize, Choice)> {
    let of = |(index, episode): (usize, &EpisodeForks)| {
        let branches = episode.forks.iter().flat_map(|fork| {
            kinds.iter().map(move |kind| match kind {
                Kind::Hold => (fork.step, *kind, fork.hold),
                Kind::TakeOver => (fork.step, *kind, fork.take_over),
            })
        });
        let useful = branches
            .filter(|(_, _, branch)| episode.benefit(branch) > 0 && branch.strong_steps <= most)
            .map(|(step, kind, Branch { strong_steps, .. })| Choice {
                key: episode.key,
                step,
                kind,
                strong_steps,
            });
        Some((index, useful.min_by_key(|choice| choice.strong_steps)?))
    };
    let mut found: Vec<(usize, Choice)> = episodes.iter().enumerate().filter_map(of).collect();
    found.sort_by_key(|(_, choice)| choice.strong_steps);
    found
}

/// Returns the points of the curve of these branches, ascending: how many are within which number of strong steps.
pub(crate) fn points(cheapest: &[(usize, Choice)]) -> Vec<Point> {
    let mut sum = Point { recovered: 0, strong_steps: 0 };
    let next = cheapest.iter().map(|(_, choice)| {
        sum.recovered += 1;
        sum.strong_steps += u64::from(choice.strong_steps);
        sum
    });
    std::iter::once(Point { recovered: 0, strong_steps: 0 }).chain(next).collect()
}

fn curve(mut points: Vec<Point>, budget: u64, lost: u64) -> Curve {
    points.retain(|point| point.strong_steps <= budget);
    // Each point recovers one episode more than the one before it.
    let rises = points.iter().skip(1).map(|point| (budget - point.strong_steps) as f64);
    let area = (lost > 0 && budget > 0).then(|| rises.sum::<f64>() / budget as f64 / lost as f64);
    Curve { points, area }
}

pub(crate) fn random(episodes: &[EpisodeForks], budget: u64, lost: u64) -> Random {
    let (mut strong_steps, mut recovered, mut broken) = (0.0, 0.0, 0.0);
    for episode in episodes.iter().filter(|episode| !episode.forks.is_empty()) {
        let each = 1.0 / episode.forks.len() as f64;
        for fork in &episode.forks {
            strong_steps += each * f64::from(fork.hold.strong_steps);
            recovered += each * f64::from(episode.benefit(&fork.hold).max(0));
            broken += each * f64::from((-episode.benefit(&fork.hold)).max(0));
        }
    }
    let mut found = Random { strong_steps, recovered, broken, area: None };
    if lost > 0 && budget > 0 && strong_steps > 0.0 {
        let budget = budget as f64;
        let rising = budget.min(strong_steps);
        let steps = rising * rising / strong_steps / 2.0 + (budget - rising);
        found.area = Some(recovered * steps / budget / lost as f64);
    }
    found
}

/// Returns the oracle's and the random choices' figures. `duty` is the budget as a share of all episodes' horizons; without it the
/// budget is what the oracle needs to recover every episode that it can.
pub fn oracle(episodes: &[EpisodeForks], gate: &GateLimits, duty: Option<f64>) -> OracleReport {
    let lost = episodes.iter().filter(|episode| !episode.success).count() as u64;
    let whole = u64::from(gate.horizon_steps) * episodes.len() as u64;
    let most_in_episode = gate.duty_steps();
    let cheapest_of = |kinds: &[Kind]| cheapest(episodes, most_in_episode, kinds);
    let both = cheapest_of(&[Kind::Hold, Kind::TakeOver]);
    let all = points(&both);
    let needed = all.last().map_or(0, |point| point.strong_steps);
    let strong_steps = duty.map_or(needed, |duty| (duty * whole as f64 + SLACK) as u64);
    let curve_of_both = curve(all, strong_steps, lost);
    let mut chosen = both[..curve_of_both.points.len() - 1].to_vec();
    chosen.sort_by_key(|(index, _)| *index);
    OracleReport {
        duty: if whole > 0 { strong_steps as f64 / whole as f64 } else { 0.0 },
        strong_steps,
        most_in_episode,
        oracle: curve_of_both,
        holds: curve(points(&cheapest_of(&[Kind::Hold])), strong_steps, lost),
        random: random(episodes, strong_steps, lost),
        choices: chosen.into_iter().map(|(_, choice)| choice).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::episode;
    use super::*;
    use aegis_core::gate::BudgetUnit;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn gate(duty_cap: f64) -> GateLimits {
        GateLimits {
            return_chunks: 2,
            guard_fraction: 0.2,
            budget_fraction: 0.2,
            budget_unit: BudgetUnit::Chunks,
            duty_cap,
            hold_chunks: 2,
            whole_holds: false,
            horizon_steps: 100,
            chunk_steps: 10,
        }
    }

    fn episodes() -> Vec<EpisodeForks> {
        vec![
            episode(0, false, &[(20, true, true), (90, true, true)]),
            episode(2, false, &[(20, false, true), (60, false, true)]),
            episode(4, false, &[(20, false, false)]),
            episode(1, true, &[(20, false, false), (30, true, true)]),
        ]
    }

    #[test]
    fn the_cheapest_recoveries_come_first_and_no_won_episode_gets_help() {
        let found = oracle(&episodes(), &gate(1.0), Some(0.05));
        assert_eq!((found.strong_steps, found.most_in_episode), (20, 100));
        let points = |curve: &Curve| {
            curve.points.iter().map(|point| (point.recovered, point.strong_steps)).collect::<Vec<_>>()
        };
        assert_eq!(points(&found.oracle), [(0, 0), (1, 10)]);
        let choice = found.choices[0];
        assert_eq!(
            (choice.step, choice.kind, choice.strong_steps, found.choices.len()),
            (90, Kind::Hold, 10, 1)
        );
        // Half of the budgets have one of three episodes recovered.
        assert_eq!(found.oracle.area, Some(10.0 / 20.0 / 3.0));
        let all = oracle(&episodes(), &gate(1.0), None);
        assert_eq!(
            (points(&all.oracle), points(&all.holds)),
            (vec![(0, 0), (1, 10), (2, 50)], vec![(0, 0), (1, 10)])
        );
        assert_eq!((all.strong_steps, all.duty), (50, 0.125));
        assert_eq!((all.oracle.recovered(49), all.oracle.recovered(50), all.oracle.recovered(9)), (1, 2, 0));
        // A duty cap of 30 steps forbids both take-overs of the second episode.
        assert_eq!(points(&oracle(&episodes(), &gate(0.3), None).oracle), [(0, 0), (1, 10)]);
    }

    #[test]
    fn random_choices_are_means_over_the_boundaries_of_each_episode() {
        let found = oracle(&episodes(), &gate(1.0), Some(0.25)).random;
        assert_eq!((found.strong_steps, found.recovered, found.broken), (75.0, 1.0, 0.5));
        assert_eq!((found.share(30), found.share(100)), (0.4, 1.0));
        // A triangle up to 75 strong steps, then one episode of three up to 100.
        assert!((found.area.unwrap() - (37.5 + 25.0) / 100.0 / 3.0).abs() < 1e-15);
        assert_eq!(oracle(&[], &gate(1.0), None).random.area, None);
    }

    /// Every choice of at most one recovering branch in each episode, as the number of recovered episodes and the strong steps.
    fn choices(episodes: &[EpisodeForks]) -> Vec<(u64, u64)> {
        let Some((first, rest)) = episodes.split_first() else { return vec![(0, 0)] };
        let branches = first.forks.iter().flat_map(|fork| [fork.hold, fork.take_over]);
        let useful = branches.filter(|branch| first.benefit(branch) > 0);
        let of_first: Vec<(u64, u64)> =
            useful.map(|branch| (1, u64::from(branch.strong_steps))).chain([(0, 0)]).collect();
        let rest = choices(rest);
        let sum = |(gain, cost): (u64, u64)| rest.iter().map(move |(more, of)| (gain + more, cost + of));
        of_first.into_iter().flat_map(sum).collect()
    }

    /// Draws lost episodes with `most` boundaries at most, and the strong steps of every branch.
    fn drawn(generator: &mut ChaCha8Rng, count: usize, most: u32) -> Vec<EpisodeForks> {
        let mut one = |state: usize| {
            let forks: Vec<(u32, bool, bool)> = (0..generator.random_range(0..=most))
                .map(|place| (10 * place, generator.random_bool(0.5), generator.random_bool(0.5)))
                .collect();
            let mut episode = episode(state, false, &forks);
            for fork in &mut episode.forks {
                fork.hold.strong_steps = generator.random_range(1..12);
                fork.take_over.strong_steps = generator.random_range(1..12);
            }
            episode
        };
        (0..count).map(|state| one(2 * state)).collect()
    }

    #[test]
    fn it_equals_brute_force_at_every_budget() {
        let mut generator = ChaCha8Rng::seed_from_u64(23);
        for case in 0..400 {
            let count = generator.random_range(0..6);
            let episodes = drawn(&mut generator, count, 2);
            let all = choices(&episodes);
            for budget in 0..=60 {
                let duty = budget as f64 / (100 * count.max(1)) as f64;
                let found = oracle(&episodes, &gate(1.0), Some(duty));
                let budget = if count == 0 { 0 } else { budget };
                let feasible = all.iter().filter(|(_, cost)| *cost <= budget);
                let best = feasible.clone().map(|(gain, _)| *gain).max().unwrap();
                let least = feasible.filter(|(gain, _)| *gain == best).map(|(_, cost)| *cost).min().unwrap();
                let point = found.oracle.points[found.oracle.points.len() - 1];
                assert_eq!(
                    (point.recovered, point.strong_steps),
                    (best, least),
                    "case {case}, budget {budget}"
                );
                assert_eq!(found.oracle.recovered(budget), best, "case {case}, budget {budget}");
                let spent: u64 = found.choices.iter().map(|choice| u64::from(choice.strong_steps)).sum();
                assert_eq!(
                    (found.choices.len() as u64, spent),
                    (best, least),
                    "case {case}, budget {budget}"
                );
            }
        }
    }

    #[test]
    fn no_feasible_choice_in_many_episodes_is_better() {
        let mut generator = ChaCha8Rng::seed_from_u64(6);
        let episodes = drawn(&mut generator, 60, 8);
        let curve = oracle(&episodes, &gate(1.0), None).oracle;
        for _ in 0..2000 {
            let share = generator.random_range(0.0..1.0);
            let (mut recovered, mut strong_steps) = (0, 0);
            for episode in &episodes {
                let branches = episode.forks.iter().flat_map(|fork| [fork.hold, fork.take_over]);
                let useful: Vec<_> = branches.filter(|branch| episode.benefit(branch) > 0).collect();
                if !useful.is_empty() && generator.random_bool(share) {
                    recovered += 1;
                    strong_steps += u64::from(useful[generator.random_range(0..useful.len())].strong_steps);
                }
            }
            assert!(curve.recovered(strong_steps) >= recovered);
        }
    }
}
