//! Benefit of help by boundary and by task. Each row counts with the inverse of the probability with which its boundary was drawn, so
//! that means over drawn boundaries estimate those over all boundaries.

use std::collections::BTreeMap;

use aegis_probe::forks::{EpisodeForks, Fork};
use serde::Serialize;

use super::rows;

/// Figures of the rows of lost, or of won, weak episodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Group {
    /// Rows.
    pub rows: u64,
    /// Share that one hold wins; `None` without rows.
    pub hold_wins: Option<f64>,
    /// Share that the strong policy wins from here to the end; `None` without rows.
    pub take_over_wins: Option<f64>,
}

/// Figures of a group of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Benefit {
    /// Rows of episodes that the weak policy loses: the shares recovered.
    pub lost: Group,
    /// Rows of episodes that the weak policy wins: the shares kept.
    pub won: Group,
    /// Mean benefit of a hold: success with it minus success without, over lost and won episodes.
    pub hold: f64,
    /// Mean benefit of the strong policy to the end.
    pub take_over: f64,
    /// Benefit of holds for each control step that the strong policy drives in them.
    pub hold_per_strong_step: f64,
}

/// Figures of one boundary.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BoundaryBenefit {
    /// Control step.
    pub step: u32,
    /// Figures of all episodes that reach the boundary and have a fork there.
    #[serde(flatten)]
    pub benefit: Benefit,
}

/// Figures of one task.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TaskBenefit {
    /// Index of the task in its suite.
    pub task: usize,
    /// Weak episodes.
    pub episodes: u64,
    /// Weak episodes that were lost.
    pub lost_episodes: u64,
    /// Figures of all boundaries of the task.
    #[serde(flatten)]
    pub benefit: Benefit,
}

/// Weighted sums over rows.
#[derive(Clone, Copy, Default)]
struct Sums {
    rows: u64,
    weight: f64,
    hold: f64,
    take_over: f64,
}

impl Sums {
    fn add(&mut self, fork: &Fork) {
        let weight = fork.inclusion.recip();
        self.rows += 1;
        self.weight += weight;
        self.hold += weight * f64::from(u8::from(fork.hold.success));
        self.take_over += weight * f64::from(u8::from(fork.take_over.success));
    }

    fn group(&self) -> Group {
        let mean = |sum: f64| (self.rows > 0).then(|| sum / self.weight);
        Group { rows: self.rows, hold_wins: mean(self.hold), take_over_wins: mean(self.take_over) }
    }
}

/// Returns the figures of a group of rows, each with its episode.
fn benefit<'a>(rows: impl Iterator<Item = &'a (&'a EpisodeForks, &'a Fork)>) -> Benefit {
    let (mut lost, mut won) = (Sums::default(), Sums::default());
    let mut strong_steps = 0.0;
    for (episode, fork) in rows {
        if episode.success { &mut won } else { &mut lost }.add(fork);
        strong_steps += f64::from(fork.hold.strong_steps) / fork.inclusion;
    }
    let weight = lost.weight + won.weight;
    let mean = |sum: f64, of: f64| if of > 0.0 { sum / of } else { 0.0 };
    // A won episode that a branch loses counts −1.
    let held = lost.hold + won.hold - won.weight;
    let taken_over = lost.take_over + won.take_over - won.weight;
    Benefit {
        lost: lost.group(),
        won: won.group(),
        hold: mean(held, weight),
        take_over: mean(taken_over, weight),
        hold_per_strong_step: mean(held, strong_steps),
    }
}

/// Returns the figures of each boundary, ascending.
pub fn by_boundary(episodes: &[EpisodeForks]) -> Vec<BoundaryBenefit> {
    let mut groups: BTreeMap<u32, Vec<(&EpisodeForks, &Fork)>> = BTreeMap::new();
    rows(episodes).for_each(|row| groups.entry(row.1.step).or_default().push(row));
    groups.iter().map(|(step, rows)| BoundaryBenefit { step: *step, benefit: benefit(rows.iter()) }).collect()
}

/// Returns the figures of each task, ascending.
pub fn by_task(episodes: &[EpisodeForks]) -> Vec<TaskBenefit> {
    let mut tasks: BTreeMap<usize, Vec<&EpisodeForks>> = BTreeMap::new();
    episodes.iter().for_each(|episode| tasks.entry(episode.key.start.task).or_default().push(episode));
    let one = |(task, episodes): (usize, Vec<&EpisodeForks>)| {
        let rows: Vec<_> =
            episodes.iter().flat_map(|episode| episode.forks.iter().map(|fork| (*episode, fork))).collect();
        TaskBenefit {
            task,
            episodes: episodes.len() as u64,
            lost_episodes: episodes.iter().filter(|episode| !episode.success).count() as u64,
            benefit: benefit(rows.iter()),
        }
    };
    tasks.into_iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::episode;
    use super::*;

    #[test]
    fn a_lost_episode_that_help_wins_counts_one_and_a_won_one_that_help_loses_minus_one() {
        let episodes = [
            episode(0, false, &[(20, true, true), (30, false, true)]),
            episode(2, false, &[(20, false, true), (30, false, false)]),
            episode(1, true, &[(20, false, true), (30, true, true)]),
            episode(3, true, &[]),
        ];
        let [first, second] = &by_boundary(&episodes)[..] else { panic!("two boundaries") };
        assert_eq!((first.step, second.step), (20, 30));
        let lost = Group { rows: 2, hold_wins: Some(0.5), take_over_wins: Some(1.0) };
        assert_eq!(first.benefit.lost, lost);
        assert_eq!(first.benefit.won, Group { rows: 1, hold_wins: Some(0.0), take_over_wins: Some(1.0) });
        assert_eq!((first.benefit.hold, first.benefit.take_over), (0.0, 2.0 / 3.0));
        assert_eq!((second.benefit.hold, second.benefit.take_over), (0.0, 1.0 / 3.0));
        let [even, odd] = &by_task(&episodes)[..] else { panic!("two tasks") };
        assert_eq!((even.episodes, even.lost_episodes, odd.episodes, odd.lost_episodes), (2, 2, 2, 0));
        assert_eq!((even.benefit.hold, even.benefit.hold_per_strong_step), (0.25, 1.0 / 80.0));
        assert_eq!((odd.benefit.hold, odd.benefit.won.rows, odd.benefit.lost.rows), (-0.5, 2, 0));
    }

    #[test]
    fn drawn_boundaries_count_by_the_inverse_of_their_probability() {
        let mut episodes = [episode(0, false, &[(20, true, true)]), episode(2, false, &[(20, false, false)])];
        episodes[0].forks[0].inclusion = 0.25;
        let found = by_boundary(&episodes)[0].benefit;
        assert_eq!((found.lost.hold_wins, found.hold), (Some(0.8), 0.8));
        assert!((found.hold_per_strong_step - 4.0 / 100.0).abs() < 1e-15);
    }
}
