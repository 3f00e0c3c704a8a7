//! The most instructive episodes of a study, in the order in which to read them.
//! One episode of each kind, so that failures are included. Of each kind, the episode with the least help is chosen.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::episode::arm::{AEGIS, WEAK};
use crate::episode::outcome::EpisodeResult;
use aegis_core::EpisodeKey;

/// Folder of the episodes' recordings, beside the report.
pub const RECORDINGS: &str = "recordings";
/// Largest number of episodes that a report names.
const MOST: usize = 5;
/// Name of the arm whose schedule fires independently of the probe.
const BLIND: &str = "blind";

/// An instructive episode of the arm `aegis`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Instructive {
    /// The episode's key.
    #[serde(flatten)]
    pub key: EpisodeKey,
    /// Kind of the episode, as a sentence.
    pub why: &'static str,
    /// Number of fires.
    pub fires: u32,
    /// Control steps that the strong policy drove.
    pub strong_steps: u32,
}

impl Instructive {
    /// Returns the file name of the episode's recording, without folder.
    pub fn file_name(&self) -> String {
        let EpisodeKey { start, replicate } = self.key;
        format!("task{}-state{}-replicate{replicate}.rrd", start.task, start.initial_state)
    }
}

/// Chooses at most five episodes of the arm `aegis`, each of another kind, from the results of all arms.
pub fn instructive<'a>(results: impl IntoIterator<Item = &'a EpisodeResult>) -> Vec<Instructive> {
    let mut won = BTreeMap::new();
    let mut gated = Vec::new();
    for result in results {
        won.insert((result.key, result.arm.as_str()), result.success);
        if result.arm == *AEGIS {
            gated.push(result);
        }
    }
    let won = |key, arm| won.get(&(key, arm)).copied();
    let lost_by = |key, arm| won(key, arm) == Some(false);
    type Kind<'k> = (&'static str, &'k dyn Fn(&EpisodeResult) -> bool);
    let kinds: [Kind<'_>; 6] = [
        ("weak alone lost it, aegis won it", &|of| of.fires > 0 && of.success && lost_by(of.key, WEAK)),
        ("weak and the blind schedule lost it, aegis won it", &|of| {
            of.fires > 0 && of.success && lost_by(of.key, WEAK) && lost_by(of.key, BLIND)
        }),
        ("weak alone won it, aegis lost it", &|of| {
            of.fires > 0 && !of.success && won(of.key, WEAK) == Some(true)
        }),
        ("the gate fired, and the episode was lost all the same", &|of| {
            of.fires > 0 && !of.success && lost_by(of.key, WEAK)
        }),
        ("the gate never fired, and the episode was lost", &|of| of.fires == 0 && !of.success),
        ("the gate fired in an episode that weak alone won too", &|of| {
            of.fires > 0 && of.success && won(of.key, WEAK) == Some(true)
        }),
    ];
    let mut chosen: Vec<Instructive> = Vec::new();
    for (why, keep) in kinds {
        let fresh = |of: &&&EpisodeResult| !chosen.iter().any(|one| one.key == of.key);
        // An episode in which control goes back to weak shows more than one that ends during the hand-over.
        let order = |of: &&&EpisodeResult| (of.fires, of.hand_overs.len() < 2, of.strong_steps, of.key);
        let kind = gated.iter().filter(|of| keep(of)).filter(fresh).min_by_key(order);
        chosen.extend(kind.map(|of| Instructive {
            key: of.key,
            why,
            fires: of.fires,
            strong_steps: of.strong_steps,
        }));
    }
    chosen.truncate(MOST);
    chosen
}

#[cfg(test)]
mod tests {
    use aegis_core::Start;

    use super::*;

    fn result(state: usize, arm: &str, success: bool, fires: u32, strong_steps: u32) -> EpisodeResult {
        EpisodeResult {
            disturbance: None,
            arm: arm.into(),
            key: EpisodeKey { start: Start { task: 0, initial_state: state }, replicate: 0 },
            success,
            steps: 100,
            chunk_steps: 10,
            fires,
            strong_steps,
            hand_overs: (0..2 * fires).map(|at| 10 * at).collect(),
            scores: Vec::new(),
            prefixes: Vec::new(),
            path: String::new(),
        }
    }

    #[test]
    fn one_of_each_kind_is_chosen_with_the_least_help_and_none_twice() {
        // By initial state: whether weak, blind and aegis won, and the fires and strong steps of aegis.
        let table = [
            (0, false, true, true, 1, 60),
            (1, false, false, true, 1, 50),
            (2, false, false, true, 1, 70),
            (3, true, true, false, 1, 60),
            (4, false, true, false, 2, 120),
            (5, false, false, false, 1, 60),
            (6, false, false, false, 0, 0),
            (7, true, true, true, 1, 10),
        ];
        let results: Vec<EpisodeResult> = table
            .iter()
            .flat_map(|&(state, weak, blind, aegis, fires, strong)| {
                [
                    result(state, WEAK, weak, 0, 0),
                    result(state, BLIND, blind, 1, 60),
                    result(state, AEGIS, aegis, fires, strong),
                ]
            })
            .collect();
        let states = |results: &[EpisodeResult]| -> Vec<usize> {
            instructive(results).iter().map(|one| one.key.start.initial_state).collect()
        };
        // Blind lost the first recovered episode (state 1) too, so the second kind takes the next one, state 2.
        assert_eq!(states(&results), [1, 2, 3, 5, 6]);
        let harmless: Vec<_> =
            results.iter().filter(|one| one.key.start.initial_state != 3).cloned().collect();
        assert_eq!(states(&harmless), [1, 2, 5, 6, 7], "what was needless comes last");
        assert_eq!(instructive(&results)[0].file_name(), "task0-state1-replicate0.rrd");
    }
}
