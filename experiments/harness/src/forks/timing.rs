//! When failures begin, and until when they can be undone: onset and point of no return of each lost episode.

use std::collections::BTreeMap;

use aegis_probe::forks::EpisodeForks;
use serde::Serialize;

/// Number of parts of the horizon in the histogram of onsets.
const PARTS: u32 = 10;

/// Number of lost episodes at one boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct EpisodesAt {
    /// Control step.
    pub step: u32,
    /// Lost episodes.
    pub episodes: u64,
}

/// Onsets and points of no return of the lost episodes.
///
/// The onset is the first boundary at which a hold wins the episode, and the point of no return the last at which the strong policy,
/// driving to the end, wins it. Both need every boundary of an episode, so episodes with boundaries that were not drawn are left out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Timing {
    /// Lost episodes with a fork at every boundary.
    pub episodes: u64,
    /// Lost episodes that are left out, because not every boundary was drawn.
    pub left_out: u64,
    /// Onsets, by control step.
    pub onsets: Vec<EpisodesAt>,
    /// Episodes that no hold wins.
    pub without_onset: u64,
    /// Onsets in each tenth of the horizon.
    pub onset_deciles: [u64; PARTS as usize],
    /// Largest share of the onsets in one tenth of the horizon; `None` without onsets.
    pub largest_decile: Option<f64>,
    /// Points of no return, by control step.
    pub points_of_no_return: Vec<EpisodesAt>,
    /// Episodes that the strong policy wins from no boundary.
    pub never_recoverable: u64,
}

/// Returns the onset of a lost episode.
pub fn onset(episode: &EpisodeForks) -> Option<u32> {
    let mut forks = episode.forks.iter();
    forks.find(|fork| episode.benefit(&fork.hold) > 0).map(|fork| fork.step)
}

/// Returns the point of no return of a lost episode.
pub fn point_of_no_return(episode: &EpisodeForks) -> Option<u32> {
    let mut forks = episode.forks.iter().rev();
    forks.find(|fork| episode.benefit(&fork.take_over) > 0).map(|fork| fork.step)
}

/// Returns onsets and points of no return of all lost episodes.
pub fn timing(episodes: &[EpisodeForks], horizon_steps: u32) -> Timing {
    let lost = || episodes.iter().filter(|episode| !episode.success);
    let whole: Vec<&EpisodeForks> =
        lost().filter(|episode| !episode.forks.is_empty() && episode.is_complete()).collect();
    let count = |of: fn(&EpisodeForks) -> Option<u32>| {
        let mut counts: BTreeMap<u32, u64> = BTreeMap::new();
        whole.iter().filter_map(|episode| of(episode)).for_each(|step| *counts.entry(step).or_default() += 1);
        counts.into_iter().map(|(step, episodes)| EpisodesAt { step, episodes }).collect::<Vec<_>>()
    };
    let (onsets, returns) = (count(onset), count(point_of_no_return));
    let all = |counts: &[EpisodesAt]| counts.iter().map(|one| one.episodes).sum::<u64>();
    let mut deciles = [0; PARTS as usize];
    for EpisodesAt { step, episodes } in &onsets {
        let part = u64::from(*step) * u64::from(PARTS) / u64::from(horizon_steps.max(1));
        deciles[(part as usize).min(deciles.len() - 1)] += episodes;
    }
    let largest = deciles.iter().max().copied().unwrap_or_default();
    let begun = all(&onsets);
    Timing {
        episodes: whole.len() as u64,
        left_out: (lost().count() - whole.len()) as u64,
        without_onset: whole.len() as u64 - begun,
        onset_deciles: deciles,
        largest_decile: (begun > 0).then(|| largest as f64 / begun as f64),
        never_recoverable: whole.len() as u64 - all(&returns),
        onsets,
        points_of_no_return: returns,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::episode;
    use super::*;

    #[test]
    fn an_onset_is_the_first_hold_that_wins_and_a_return_the_last_take_over_that_does() {
        let mut drawn = episode(8, false, &[(20, true, true)]);
        drawn.forks[0].inclusion = 0.5;
        let episodes = [
            episode(0, false, &[(20, false, true), (30, true, true), (40, false, true), (50, true, false)]),
            episode(2, false, &[(20, true, true), (30, true, false)]),
            episode(4, false, &[(20, false, false)]),
            episode(6, true, &[(20, true, true)]),
            drawn,
        ];
        let found = timing(&episodes, 100);
        let at = |step, episodes| EpisodesAt { step, episodes };
        assert_eq!((found.episodes, found.left_out), (3, 1));
        assert_eq!(found.onsets, [at(20, 1), at(30, 1)]);
        assert_eq!(found.points_of_no_return, [at(20, 1), at(40, 1)]);
        assert_eq!((found.without_onset, found.never_recoverable), (1, 1));
        assert_eq!(found.onset_deciles, [0, 0, 1, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(found.largest_decile, Some(0.5));
        assert_eq!(
            timing(&episodes, 30).onset_deciles[9],
            1,
            "a boundary at the horizon is in the last part"
        );
        assert_eq!(timing(&[], 100).largest_decile, None);
    }
}
