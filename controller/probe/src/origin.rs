//! Origins: the starts from which a rollout file, a probe or a model was made, and the check that a study is not judged on
//! any of them. Only the file's own statement counts, since a plan may claim anything about a file.

mod validity;

use std::collections::BTreeSet;
use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use validity::{Impossible, check_parts, check_suites};

use crate::StateRange;
use crate::disturbances::DisturbanceSettings;
use crate::sensor::SensorNoise;
use aegis_core::EpisodeKey;
use aegis_files::{hex, same_digest};

/// Starts of a list of episodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Starts {
    /// Tasks of the suite, ascending.
    pub tasks: Vec<usize>,
    /// Initial states of any of these tasks as ranges `[first, end)`, ascending, with a gap between any two.
    pub initial_states: Vec<[usize; 2]>,
    /// SHA-256 over task, initial state and replicate of each episode, ascending, each as 64 bits, little-endian.
    pub sha256: String,
    /// Number of episodes, given where the list is not every task with every initial state equally often: such a list
    /// cannot be checked against its digest. The field is only written by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub episodes: Option<usize>,
}

impl Starts {
    /// Returns the starts of these episodes, independent of their order.
    pub fn of(keys: impl IntoIterator<Item = EpisodeKey>) -> Self {
        let keys: BTreeSet<EpisodeKey> = keys.into_iter().collect();
        let mut hasher = Sha256::new();
        hasher.update(b"aegis-starts-v1");
        for EpisodeKey { start, replicate } in &keys {
            for part in [start.task as u64, start.initial_state as u64, *replicate] {
                hasher.update(part.to_le_bytes());
            }
        }
        let tasks: BTreeSet<usize> = keys.iter().map(|key| key.start.task).collect();
        let states: BTreeSet<usize> = keys.iter().map(|key| key.start.initial_state).collect();
        let initial_states = runs(states);
        let (tasks, sha256) = (tasks.into_iter().collect(), hex(&hasher.finalize()));
        Self { tasks, initial_states, sha256, episodes: None }
    }
}

impl Display for Starts {
    /// Formats the starts, for example as `200 to 279 of tasks 0 to 9`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tasks = spans(&runs(self.tasks.iter().copied()));
        write!(formatter, "{} of tasks {tasks}", spans(&self.initial_states))
    }
}

/// Groups ascending numbers into ranges `[first, end)`.
pub fn runs(ascending: impl IntoIterator<Item = usize>) -> Vec<[usize; 2]> {
    let mut found: Vec<[usize; 2]> = Vec::new();
    for number in ascending {
        match found.last_mut() {
            Some([_, end]) if *end == number => *end = number.saturating_add(1),
            _ => found.push([number, number.saturating_add(1)]),
        }
    }
    found
}

/// Formats ranges `[first, end)` as text, with both ends inclusive.
pub fn spans(ranges: &[[usize; 2]]) -> String {
    let span = |[first, end]: &[usize; 2]| match end.saturating_sub(1) {
        last if last > *first => format!("{first} to {last}"),
        _ => first.to_string(),
    };
    if ranges.is_empty() { "none".into() } else { ranges.iter().map(span).collect::<Vec<_>>().join(", ") }
}

/// Describes how a list of episodes differs from the valid one: how many are missing and how many are too many, with
/// the first of each.
pub fn difference(found: &BTreeSet<EpisodeKey>, valid: &BTreeSet<EpisodeKey>) -> String {
    let say = |one: &BTreeSet<EpisodeKey>, other: &BTreeSet<EpisodeKey>, what: &str| {
        let mut apart = one.difference(other);
        let EpisodeKey { start, replicate } = apart.next()?;
        let first =
            format!("task {}, initial state {}, replicate {replicate}", start.task, start.initial_state);
        Some(match apart.count() {
            0 => format!("{what}: {first}"),
            more => format!("{what}: {first}, and {more} more"),
        })
    };
    let both = [say(valid, found, "missing"), say(found, valid, "too many")];
    both.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// Origin of a file's content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// Benchmark suite.
    pub suite: String,
    /// Digest of the suite's scenes, independent of the suite's name; see
    /// `Scenes::content_sha256` of the experiment harness.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suite_sha256: Option<String>,
    /// Starts of the episodes.
    pub starts: Starts,
    /// Seed of every random stream.
    pub master_seed: u64,
    /// Seed of the initial states beyond the recorded ones, where there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample_seed: Option<u64>,
    /// Digest of the weak policy that was rolled out, where one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weak_sha256: Option<String>,
    /// Digest of the strong policy that was run in shadow, where one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strong_sha256: Option<String>,
    /// Sensor noise on the observations, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sensor: Option<SensorNoise>,
    /// Control steps of the null action before the first counted control step, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settle_steps: Option<u32>,
    /// Disturbances of the episodes; `None` for episodes without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disturbances: Option<DisturbanceSettings>,
}

/// Range of starts that a study is judged on, so that nothing may be made from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged<'a> {
    /// Name of the range in the plan.
    pub range: &'a str,
    /// Suite.
    pub suite: &'a str,
    /// Digest of the suite's scenes, where known.
    pub suite_sha256: Option<&'a str>,
    /// Tasks.
    pub tasks: &'a [usize],
    /// Number of tasks of the suite.
    pub task_count: usize,
    /// Initial states.
    pub share: StateRange,
    /// Seed of the initial states beyond the recorded ones.
    pub sample_seed: Option<u64>,
    /// Number of recorded initial states; for these the seed makes no difference.
    pub recorded: usize,
}

impl Origin {
    /// Returns whether the origin is of this suite: the same name, ignoring case, or the same scenes under another name.
    pub fn is_of(&self, suite: &str, suite_sha256: Option<&str>) -> bool {
        let same = |(ours, theirs): (&String, &str)| same_digest(ours, theirs);
        self.suite.eq_ignore_ascii_case(suite)
            || self.suite_sha256.as_ref().zip(suite_sha256).is_some_and(same)
    }

    /// Returns the initial states that are also in the judged range, as ranges; empty where none is shared.
    ///
    /// A start is a task and an initial state: episodes with other noise from the same task and initial state share the
    /// start. Beyond the recorded ones, the same initial state under another seed is another start.
    pub fn shared(&self, judged: &Judged<'_>) -> Vec<[usize; 2]> {
        let meets = self.starts.tasks.iter().any(|task| judged.tasks.contains(task));
        if !self.is_of(judged.suite, judged.suite_sha256) || !meets {
            return Vec::new();
        }
        let same = self.sample_seed == judged.sample_seed;
        let end = if same { judged.share.end } else { judged.share.end.min(judged.recorded) };
        let both = self
            .starts
            .initial_states
            .iter()
            .map(|[first, last]| [(*first).max(judged.share.first), (*last).min(end)]);
        both.filter(|[first, end]| first < end).collect()
    }
}

/// Use of a data set in making a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Training data of a policy.
    Training,
    /// Rollouts on which the head of a probe was fitted.
    Fit,
    /// Rollouts on which the thresholds of a probe were set, which do not change how scores rank episodes.
    Thresholds,
}

impl Use {
    /// Returns the use of a part of a probe, by the part's name.
    pub fn in_probe(part: &str) -> Self {
        if part == "calibration" { Self::Thresholds } else { Self::Fit }
    }
}

/// Statement of a file about the origin of one part that it was made from.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// The file.
    pub file: String,
    /// Name of the part: `discovery`, `calibration`, or the name of a data set.
    pub part: String,
    /// Use of the part.
    pub used: Use,
    /// Origin of the part; `None` where the file does not state one.
    pub origin: Option<Origin>,
}

/// Error about a start that a file was made from and that is also in a judged range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{file}: was made from initial states {states} of {suite}, which are in ranges.{range} of the plan, \
     {judged}; valid is a {range} range of starts from which neither probe nor policies were made"
)]
pub struct Leak {
    /// File and part.
    pub file: String,
    /// Shared initial states.
    pub states: String,
    /// Suite.
    pub suite: String,
    /// Name of the plan's range.
    pub range: String,
    /// Bounds of the range.
    pub judged: String,
}

/// Error of checking a plan against the origins of its files.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// A start that a file was made from is in a judged range.
    #[error(transparent)]
    Leak(#[from] Leak),
    /// A statement that cannot be true.
    #[error(transparent)]
    Impossible(#[from] Impossible),
}

/// Checks that no statement names a start in a judged range, or an initial state that does not exist.
///
/// # Errors
/// The first such statement.
pub fn check(statements: &[Statement], judged: &[Judged<'_>]) -> Result<(), OriginError> {
    for range in judged {
        for statement in statements {
            let Statement { file, part, origin, .. } = statement;
            statement.check_recorded(range)?;
            let shared = origin.as_ref().map_or(Vec::new(), |origin| origin.shared(range));
            if !shared.is_empty() {
                let leak = Leak {
                    file: format!("{file}: {part}"),
                    states: spans(&shared),
                    suite: range.suite.to_owned(),
                    range: range.range.to_owned(),
                    judged: spans(&[[range.share.first, range.share.end]]),
                };
                return Err(leak.into());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASKS: [usize; 2] = [0, 3];

    fn share(first: usize, end: usize) -> StateRange {
        StateRange { first, end, replicates: 2 }
    }

    fn origin(first: usize, end: usize) -> Origin {
        Origin {
            suite: "line".into(),
            suite_sha256: None,
            starts: Starts::of(share(first, end).keys(TASKS)),
            master_seed: 1,
            sample_seed: Some(7),
            weak_sha256: None,
            strong_sha256: None,
            sensor: None,
            settle_steps: None,
            disturbances: None,
        }
    }

    fn judged(first: usize, end: usize) -> Judged<'static> {
        let (range, suite) = ("confirmation", "line");
        let (suite_sha256, share) = (Some("AA"), share(first, end));
        Judged {
            range,
            suite,
            suite_sha256,
            tasks: &[3, 4],
            task_count: 10,
            share,
            sample_seed: Some(7),
            recorded: 50,
        }
    }

    #[test]
    fn starts_are_ranges_and_a_digest_of_the_list_in_any_order() {
        let mut keys = share(200, 208).keys(TASKS);
        let found = Starts::of(keys.clone());
        assert_eq!((&found.tasks[..], &found.initial_states[..]), (&TASKS[..], &[[200, 208]][..]));
        keys.reverse();
        assert_eq!(Starts::of(keys.clone()), found);
        keys.pop();
        assert_ne!(Starts::of(keys).sha256, found.sha256, "a replicate less is another list");
        let apart =
            Starts::of([share(4, 6).keys([1]), share(9, 10).keys([1]), share(6, 7).keys([2])].concat());
        assert_eq!(apart.to_string(), "4 to 6, 9 of tasks 1 to 2");
        assert_eq!(found.to_string(), "200 to 207 of tasks 0, 3");
    }

    #[test]
    fn a_start_is_suite_task_and_initial_state_with_any_noise() {
        let of = origin(200, 208);
        assert_eq!(of.shared(&judged(207, 240)), [[207, 208]]);
        assert!(of.shared(&judged(208, 240)).is_empty(), "ends are left out");
        assert!(of.shared(&Judged { tasks: &[1, 2], ..judged(200, 208) }).is_empty());
        assert!(of.shared(&Judged { suite: "circle", ..judged(200, 208) }).is_empty());
        // Beyond the recorded ones another seed draws other states; the recorded ones are the same.
        let other = Judged { sample_seed: None, ..judged(0, 300) };
        assert!(of.shared(&other).is_empty());
        assert_eq!(origin(40, 60).shared(&other), [[40, 50]]);
        assert_eq!(Origin { master_seed: 2, ..of }.shared(&judged(0, 300)), [[200, 208]]);
    }

    #[test]
    fn a_suite_is_known_by_its_scenes_under_any_name() {
        let copied = Origin { suite: "mine".into(), suite_sha256: Some("aa".into()), ..origin(200, 208) };
        assert_eq!(copied.shared(&judged(207, 240)), [[207, 208]]);
        let other = Origin { suite_sha256: Some("bb".into()), ..copied.clone() };
        assert!(other.shared(&judged(207, 240)).is_empty());
        assert!(copied.shared(&Judged { suite_sha256: None, ..judged(207, 240) }).is_empty());
        // The same name is enough: regenerated scenes have the same starts.
        let renewed = Origin { suite: "line".into(), ..other };
        assert_eq!(renewed.shared(&judged(207, 240)), [[207, 208]]);
    }

    #[test]
    fn a_shared_start_is_named_with_file_part_and_range() {
        let used = Use::Fit;
        let say =
            |part: &str, origin| Statement { file: "probe.json".into(), part: part.into(), used, origin };
        let silent = say("calibration", None);
        let all = [silent.clone(), say("discovery", Some(origin(200, 208)))];
        assert_eq!(check(&all, &[judged(300, 340)]), Ok(()));
        let error = check(&all, &[judged(300, 340), judged(205, 300)]).expect_err("shared").to_string();
        for words in ["probe.json: discovery", "205 to 207", "ranges.confirmation", "205 to 299", "valid is"]
        {
            assert!(error.contains(words), "{words:?} is missing from: {error}");
        }
        assert_eq!(
            check(&[silent], &[judged(0, 900)]),
            Ok(()),
            "without a statement no shared start is known"
        );
    }
}
