//! What a file of rollouts, a probe or a model says of the starts that it came from, and whether one of them is judged on.
//! A plan may claim anything of a file; what the file itself records is what counts.

use std::collections::BTreeSet;
use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::files::hex;
use crate::key::EpisodeKey;
use crate::plan::Share;

/// The starts of a list of episodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Starts {
    /// Tasks of the suite, ascending.
    pub tasks: Vec<usize>,
    /// Initial states of any of these tasks as ranges `[first, end)`, ascending, with a gap between any two.
    pub initial_states: Vec<[usize; 2]>,
    /// SHA-256 over task, initial state and replicate of each episode, ascending, each as 64 bits, little-endian.
    pub sha256: String,
}

impl Starts {
    /// The starts of these episodes, in whatever order they come.
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
        Self { tasks: tasks.into_iter().collect(), initial_states, sha256: hex(&hasher.finalize()) }
    }
}

impl Display for Starts {
    /// `200 to 279 of tasks 0 to 9`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tasks = spans(&runs(self.tasks.iter().copied()));
        write!(formatter, "{} of tasks {tasks}", spans(&self.initial_states))
    }
}

/// Ascending numbers as ranges `[first, end)`.
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

/// Ranges `[first, end)` as text, both ends named.
pub fn spans(ranges: &[[usize; 2]]) -> String {
    let span = |[first, end]: &[usize; 2]| match end.saturating_sub(1) {
        last if last > *first => format!("{first} to {last}"),
        _ => first.to_string(),
    };
    if ranges.is_empty() { "none".into() } else { ranges.iter().map(span).collect::<Vec<_>>().join(", ") }
}

/// Where a file's content came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// Benchmark suite.
    pub suite: String,
    /// The starts.
    pub starts: Starts,
    /// Seed of every random stream.
    pub master_seed: u64,
    /// Seed of the initial states past the recorded ones, where there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample_seed: Option<u64>,
    /// Digest of the weak policy that was rolled out, where one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weak_sha256: Option<String>,
    /// Digest of the strong policy that was asked, where one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strong_sha256: Option<String>,
}

/// A range of starts that something is judged on, so that nothing may have come from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged<'a> {
    /// Its name in the plan.
    pub range: &'a str,
    /// Its suite.
    pub suite: &'a str,
    /// Its tasks.
    pub tasks: &'a [usize],
    /// Its initial states.
    pub share: Share,
    /// Seed of its initial states past the recorded ones.
    pub sample_seed: Option<u64>,
    /// How many initial states are recorded: below it a seed makes no difference.
    pub recorded: usize,
}

impl Origin {
    /// The initial states that are also judged on, as ranges; none where nothing is shared.
    ///
    /// A start is task and initial state: other noise from the same start is the same start. Past the recorded ones the
    /// same number under another seed is another start.
    pub fn shared(&self, judged: &Judged<'_>) -> Vec<[usize; 2]> {
        let meets = self.starts.tasks.iter().any(|task| judged.tasks.contains(task));
        if self.suite != judged.suite || !meets {
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

/// What one file says of one part of what it was made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The file.
    pub file: String,
    /// Which part: `discovery`, `calibration`, or the name of a data set.
    pub part: String,
    /// Where it came from; none where the file does not say.
    pub origin: Option<Origin>,
}

/// Something is judged on a start that it came from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{file}: says that it came from initial states {states} of {suite}, which are in ranges.{range} of the plan, \
     {judged}; valid is a {range} range of starts that neither probe nor policies came from"
)]
pub struct Leak {
    /// The file, and which part of it.
    pub file: String,
    /// The shared initial states.
    pub states: String,
    /// Of which suite.
    pub suite: String,
    /// The plan's range.
    pub range: String,
    /// What that range is.
    pub judged: String,
}

/// Refuses statements that name a start that is judged on.
///
/// # Errors
/// [`Leak`], the first there is.
pub fn check(statements: &[Statement], judged: &[Judged<'_>]) -> Result<(), Leak> {
    for range in judged {
        for Statement { file, part, origin } in statements {
            let shared = origin.as_ref().map_or(Vec::new(), |origin| origin.shared(range));
            if !shared.is_empty() {
                return Err(Leak {
                    file: format!("{file}: {part}"),
                    states: spans(&shared),
                    suite: range.suite.to_owned(),
                    range: range.range.to_owned(),
                    judged: spans(&[[range.share.first, range.share.end]]),
                });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASKS: [usize; 2] = [0, 3];

    fn share(first: usize, end: usize) -> Share {
        Share { first, end, replicates: 2 }
    }

    fn origin(first: usize, end: usize) -> Origin {
        Origin {
            suite: "line".into(),
            starts: Starts::of(share(first, end).keys(TASKS)),
            master_seed: 1,
            sample_seed: Some(7),
            weak_sha256: None,
            strong_sha256: None,
        }
    }

    fn judged(first: usize, end: usize) -> Judged<'static> {
        let (range, suite) = ("confirmation", "line");
        Judged { range, suite, tasks: &[3, 4], share: share(first, end), sample_seed: Some(7), recorded: 50 }
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
    fn a_start_is_suite_task_and_initial_state_whatever_the_noise() {
        let of = origin(200, 208);
        assert_eq!(of.shared(&judged(207, 240)), [[207, 208]]);
        assert!(of.shared(&judged(208, 240)).is_empty(), "ends are left out");
        assert!(of.shared(&Judged { tasks: &[1, 2], ..judged(200, 208) }).is_empty());
        assert!(of.shared(&Judged { suite: "circle", ..judged(200, 208) }).is_empty());
        // Past the recorded ones another seed draws other states; below they are the same.
        let other = Judged { sample_seed: None, ..judged(0, 300) };
        assert!(of.shared(&other).is_empty());
        assert_eq!(origin(40, 60).shared(&other), [[40, 50]]);
        assert_eq!(Origin { master_seed: 2, ..of }.shared(&judged(0, 300)), [[200, 208]]);
    }

    #[test]
    fn a_shared_start_is_named_with_file_part_and_range() {
        let say = |part: &str, origin| Statement { file: "probe.json".into(), part: part.into(), origin };
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
            "who says nothing shares nothing that is known"
        );
    }
}
