//! Refuses statements of origin that cannot be true, since a file with an impossible statement might share any start.
//! Structure and digest are checked when a statement is read; suite and seed are checked against the judged range.

use super::{Judged, Origin, Starts, Statement, Use, spans};
use crate::StateRange;
use aegis_core::EpisodeKey;
use aegis_files::same_digest;

/// Most episodes from the same start in a list without a stated number of episodes.
const REPLICATES: usize = 64;
/// Most episodes in a list, the same as in one range of a plan.
const EPISODES: usize = 100_000;

/// Error about a statement of origin that cannot be true.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {field}: found {found}; valid is {valid}")]
pub struct Impossible {
    /// File and part.
    pub file: String,
    /// Dotted key.
    pub field: String,
    /// Value found.
    pub found: String,
    /// Description of the valid values.
    pub valid: String,
}

/// Key, value found, and valid values.
type Complaint = (String, String, String);

fn complaint(field: &str, found: impl Into<String>, valid: impl Into<String>) -> Complaint {
    (field.to_owned(), found.into(), valid.into())
}

impl Origin {
    /// Checks that the origin can be true. `place` is the origin's key in its file, and `episodes` the number of
    /// episodes, where the file states that number separately.
    ///
    /// # Errors
    /// The first key whose value cannot be true.
    pub fn validate(&self, file: &str, place: &str, episodes: Option<usize>) -> Result<(), Impossible> {
        let is_digest = |text: &str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let scenes = self.suite_sha256.as_deref().filter(|sha256| !is_digest(sha256.trim()));
        let checked = if self.suite.trim() != self.suite || self.suite.is_empty() {
            Err(complaint("suite", format!("{:?}", self.suite), "the name of a suite"))
        } else if let Some(sha256) = scenes {
            Err(complaint(
                "suite_sha256",
                format!("{sha256:?}"),
                "a SHA-256, 64 hexadecimal digits, or no key",
            ))
        } else {
            self.starts.validate(episodes)
        };
        checked.map_err(|(field, found, valid)| {
            let field = format!("{place}.{field}");
            Impossible { file: file.to_owned(), field, found, valid }
        })
    }

    /// Returns the initial states that both origins share, as ranges, where both have the same suite. Where one has no sample
    /// seed, its initial states are recorded ones, which no seed changes; under two seeds, only recorded ones are the same,
    /// and how many are recorded is not known here, so none counts as shared.
    pub fn common(&self, other: &Self) -> Vec<[usize; 2]> {
        let tasks = self.starts.tasks.iter().any(|task| other.starts.tasks.contains(task));
        let two_seeds = self.sample_seed.zip(other.sample_seed).is_some_and(|(one, two)| one != two);
        if !tasks || two_seeds || !self.is_of(&other.suite, other.suite_sha256.as_deref()) {
            return Vec::new();
        }
        let pairs = self.starts.initial_states.iter().flat_map(|ours| {
            other
                .starts
                .initial_states
                .iter()
                .map(move |theirs| [ours[0].max(theirs[0]), ours[1].min(theirs[1])])
        });
        pairs.filter(|[first, end]| first < end).collect()
    }
}

impl Starts {
    /// Returns the episodes, where the digest shows that they are every task with every initial state equally often.
    pub fn listed(&self) -> Option<Vec<EpisodeKey>> {
        let most = (EPISODES / self.product()?).min(REPLICATES);
        let whole = (1..=most).find(|replicates| self.is_of_all(*replicates))?;
        Some(self.all(whole))
    }

    /// Returns the number of starts in every task with every initial state; `None` for zero and for more than any list
    /// has.
    fn product(&self) -> Option<usize> {
        self.tasks.len().checked_mul(self.states()?).filter(|starts| (1..=EPISODES).contains(starts))
    }

    fn states(&self) -> Option<usize> {
        self.initial_states
            .iter()
            .try_fold(0_usize, |sum, [first, end]| sum.checked_add(end.checked_sub(*first)?))
    }

    /// Returns the keys of every task with every initial state, each with `replicates` replicates.
    fn all(&self, replicates: usize) -> Vec<EpisodeKey> {
        let of = |[first, end]: &[usize; 2]| {
            let share = StateRange { first: *first, end: *end, replicates: replicates as u64 };
            share.keys(self.tasks.iter().copied())
        };
        self.initial_states.iter().flat_map(of).collect()
    }

    fn is_of_all(&self, replicates: usize) -> bool {
        same_digest(&Self::of(self.all(replicates)).sha256, &self.sha256)
    }

    fn validate(&self, episodes: Option<usize>) -> Result<(), Complaint> {
        if self.tasks.is_empty() || !self.tasks.is_sorted_by(|a, b| a < b) {
            let valid = "one or more tasks, ascending, each once";
            return Err(complaint("starts.tasks", format!("{:?}", self.tasks), valid));
        }
        let ranges = &self.initial_states;
        let apart = ranges.is_sorted_by(|[_, end], [first, _]| end < first);
        if ranges.is_empty() || !apart || ranges.iter().any(|[first, end]| first >= end) {
            let valid = "one or more ranges [first, end), each with first below end, ascending, with a gap between any two";
            return Err(complaint("starts.initial_states", format!("{ranges:?}"), valid));
        }
        let digits = self.sha256.trim();
        if digits.len() != 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let valid = "a SHA-256, 64 hexadecimal digits";
            return Err(complaint("starts.sha256", self.sha256.clone(), valid));
        }
        let states = self.states().unwrap_or(usize::MAX);
        let Some(starts) = self.product() else {
            let found = format!("{} tasks with {states} initial states", self.tasks.len());
            return Err(complaint("starts", found, format!("at most {EPISODES} starts")));
        };
        if let Some((said, count)) = self.episodes.zip(episodes).filter(|(said, count)| said != count) {
            let valid = format!("{count}, the file's own number of episodes");
            return Err(complaint("starts.episodes", said.to_string(), valid));
        }
        let count = episodes.or(self.episodes);
        let fewest = self.tasks.len().max(states);
        if let Some(count) = count.filter(|count| *count < fewest) {
            let valid =
                format!("{fewest} or more, because each of the tasks and initial states has at least one");
            return Err(complaint("starts.episodes", count.to_string(), valid));
        }
        // Where some starts are left out, it is unknown which, so the digest cannot be checked.
        let replicates = count.map(|count| if count.is_multiple_of(starts) { count / starts } else { 0 });
        let whole = match replicates {
            None => self.listed().is_some(),
            Some(0) => true,
            Some(replicates) => self.episodes.is_some() || self.is_of_all(replicates),
        };
        if whole {
            return Ok(());
        }
        let found = format!("{}, which is not the digest of initial states {self}", self.sha256);
        let digest = Self::of(self.all(replicates.unwrap_or(1))).sha256;
        let otherwise = match replicates {
            Some(_) => "or the starts that have the digest found",
            None => {
                "where each of these starts has one episode; where some are left out, starts.episodes states the number of \
                 episodes"
            }
        };
        Err(complaint("starts.sha256", found, format!("{digest}, {otherwise}")))
    }
}

impl Statement {
    /// Checks that tasks exist, and that initial states beyond the recorded ones of the judged suite have a seed that
    /// determines them.
    pub(super) fn check_recorded(&self, judged: &Judged<'_>) -> Result<(), Impossible> {
        let Some(origin) = &self.origin else { return Ok(()) };
        let beyond = origin.starts.initial_states.iter().find(|[_, end]| *end > judged.recorded);
        let of = origin.is_of(judged.suite, judged.suite_sha256);
        // Tasks that do not exist would overlap with no range. A suite that was cut down has fewer tasks than before.
        let first = origin.starts.tasks.first().filter(|task| of && **task >= judged.task_count);
        if let Some(task) = first {
            return Err(Impossible {
                file: format!("{}: {}", self.file, self.part),
                field: "origin.starts.tasks".into(),
                found: task.to_string(),
                valid: format!("0 to {}, the tasks of {}", judged.task_count.saturating_sub(1), judged.suite),
            });
        }
        let Some(range) = beyond.filter(|_| of && origin.sample_seed.is_none()) else { return Ok(()) };
        let recorded = judged.recorded;
        Err(Impossible {
            file: format!("{}: {}", self.file, self.part),
            field: "origin.starts.initial_states".into(),
            found: format!("{range:?} without a sample_seed"),
            valid: format!(
                "up to {recorded}, the recorded ones of {}, and beyond them only with the origin.sample_seed that they were \
                 drawn with",
                judged.suite
            ),
        })
    }
}

/// Checks that no file states that its thresholds were set on a start that it was fitted on.
///
/// # Errors
/// The first such statement.
pub fn check_parts(statements: &[Statement]) -> Result<(), Impossible> {
    let of = |used: Use| statements.iter().filter(move |statement| statement.used == used);
    for (fitted, set) in of(Use::Fit).flat_map(|fitted| of(Use::Thresholds).map(move |set| (fitted, set))) {
        let both = fitted.origin.as_ref().zip(set.origin.as_ref()).filter(|_| fitted.file == set.file);
        let shared = both.map_or(Vec::new(), |(fitted, set)| fitted.common(set));
        if !shared.is_empty() {
            return Err(Impossible {
                file: format!("{}: {}", set.file, set.part),
                field: "origin.starts.initial_states".into(),
                found: format!("{}, on which the probe was fitted too", spans(&shared)),
                valid: "starts that the fit has not used, because scores on fitted starts are too good"
                    .into(),
            });
        }
    }
    Ok(())
}

/// Checks that each suite is one of the `known` ones or has a digest of its scenes for comparison.
///
/// # Errors
/// The first statement about an unknown suite without a digest.
pub fn check_suites(statements: &[Statement], known: &[&str]) -> Result<(), Impossible> {
    for Statement { file, part, origin, .. } in statements {
        let Some(origin) = origin else { continue };
        if !known.iter().any(|name| origin.suite.eq_ignore_ascii_case(name)) && origin.suite_sha256.is_none()
        {
            return Err(Impossible {
                file: format!("{file}: {part}"),
                field: "origin.suite".into(),
                found: origin.suite.clone(),
                valid: format!("{}, or another with the origin.suite_sha256 of its scenes", known.join(", ")),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    fn starts(first: usize, end: usize, replicates: u64) -> Starts {
        Starts::of(StateRange { first, end, replicates }.keys([0, 3]))
    }

    fn origin(starts: Starts) -> Origin {
        Origin {
            suite: "line".into(),
            suite_sha256: None,
            starts,
            master_seed: 1,
            sample_seed: None,
            weak_sha256: None,
            strong_sha256: None,
            sensor: None,
            settle_steps: None,
            disturbances: None,
        }
    }

    fn refused(starts: Starts, episodes: Option<usize>) -> String {
        origin(starts).validate("it.toml", "origin", episodes).unwrap_err().to_string()
    }

    #[test]
    fn an_impossible_statement_is_named_by_file_and_key() {
        let good = || starts(24, 30, 1);
        assert_eq!(origin(good()).validate("it.toml", "origin", None), Ok(()));
        let ranges = |ranges: &[[usize; 2]]| Starts { initial_states: ranges.to_vec(), ..good() };
        let tasks = |tasks: &[usize]| Starts { tasks: tasks.to_vec(), ..good() };
        for (wrong, words) in [
            (ranges(&[]), "origin.starts.initial_states: found []; valid is one or more ranges"),
            (ranges(&[[25, 24]]), "origin.starts.initial_states: found [[25, 24]]"),
            (ranges(&[[24, 24]]), "origin.starts.initial_states: found [[24, 24]]"),
            (ranges(&[[24, 27], [27, 30]]), "with a gap"),
            (ranges(&[[28, 30], [24, 26]]), "ascending"),
            (ranges(&[[0, usize::MAX]]), "valid is at most 100000 starts"),
            (tasks(&[]), "origin.starts.tasks: found []; valid is one or more tasks"),
            (tasks(&[3, 0]), "origin.starts.tasks: found [3, 0]"),
            (tasks(&[3, 3]), "each once"),
            (Starts { sha256: "00".into(), ..good() }, "origin.starts.sha256: found 00; valid is a SHA-256"),
            // The ranges were edited and the digest was not.
            (ranges(&[[30, 36]]), "which is not the digest of initial states 30 to 35 of tasks 0, 3"),
            (Starts { episodes: Some(3), ..good() }, "origin.starts.episodes: found 3; valid is 6 or more"),
        ] {
            let error = refused(wrong, None);
            assert!(error.starts_with("it.toml: ") && error.contains(words), "{words:?}: {error}");
        }
        let unnamed = Origin { suite: String::new(), ..origin(good()) };
        assert!(unnamed.validate("it.toml", "origin", None).is_err());
    }

    #[test]
    fn a_digest_is_checked_where_the_list_follows_from_its_ranges() {
        let twice = starts(24, 30, 2);
        assert_eq!(twice.listed().map(|keys| keys.len()), Some(24));
        assert_eq!(origin(twice.clone()).validate("it", "origin", Some(24)), Ok(()));
        assert!(refused(twice, Some(12)).contains("which is not the digest"), "so many are each there once");
        // A list that leaves starts out states its number of episodes, and its digest cannot be checked.
        let mut keys = StateRange { first: 24, end: 30, replicates: 1 }.keys([0, 3]);
        keys.remove(4);
        let some = Starts::of(keys);
        assert!(some.listed().is_none());
        assert!(refused(some.clone(), None).contains("starts.episodes states the number"));
        assert_eq!(origin(some.clone()).validate("it", "origin", Some(11)), Ok(()));
        let said = Starts { episodes: Some(11), ..some };
        assert_eq!(origin(said.clone()).validate("it", "origin", None), Ok(()));
        assert!(refused(said, Some(12)).contains("starts.episodes: found 11; valid is 12"));
    }

    #[test]
    fn unknown_suites_and_sampled_starts_without_a_seed_are_refused() {
        let say = |origin| Statement {
            file: "it.toml".into(),
            part: "demos".into(),
            used: Use::Training,
            origin: Some(origin),
        };
        let here = origin(starts(24, 30, 1));
        assert_eq!(check_suites(&[say(here.clone())], &["line", "circle"]), Ok(()));
        let other = Origin { suite: "lines".into(), ..here };
        let error = check_suites(&[say(other.clone())], &["line", "circle"]).unwrap_err().to_string();
        assert!(
            error.contains("it.toml: demos: origin.suite: found lines; valid is line, circle, or"),
            "{error}"
        );
        let scenes = Origin { suite_sha256: Some("aa".into()), ..other };
        assert_eq!(check_suites(&[say(scenes)], &["line"]), Ok(()));

        let past = origin(starts(45, 52, 1));
        let judged = Judged {
            range: "confirmation",
            suite: "line",
            suite_sha256: None,
            tasks: &[1],
            task_count: 10,
            share: StateRange { first: 500, end: 501, replicates: 1 },
            sample_seed: Some(7),
            recorded: 50,
        };
        let error = check(&[say(past.clone())], std::slice::from_ref(&judged)).unwrap_err().to_string();
        assert!(error.contains("found [45, 52] without a sample_seed; valid is up to 50"), "{error}");
        let seeded = Origin { sample_seed: Some(8), ..past };
        assert_eq!(check(&[say(seeded)], &[judged]), Ok(()));
    }

    #[test]
    fn starts_shared_by_two_parts_are_found_under_one_seed() {
        let (one, other) = (origin(starts(20, 30, 1)), origin(starts(28, 40, 1)));
        assert_eq!(one.common(&other), [[28, 30]]);
        let drawn = |one: &Origin, seed| Origin { sample_seed: Some(seed), ..one.clone() };
        assert_eq!(one.common(&drawn(&other, 2)), [[28, 30]], "the recorded ones are of no seed");
        assert!(drawn(&one, 1).common(&drawn(&other, 2)).is_empty());
        assert!(one.common(&Origin { suite: "circle".into(), ..other }).is_empty());
    }

    #[test]
    fn another_spelling_of_a_suite_or_missing_tasks_hide_no_start() {
        let of = origin(starts(24, 30, 1));
        assert!(of.is_of("LINE", None), "whatever the case");
        let digest = |sha256: &str| Origin { suite_sha256: Some(sha256.into()), ..of.clone() };
        for wrong in ["", "unknown", "00"] {
            let error = digest(wrong).validate("it.toml", "origin", None).unwrap_err().to_string();
            assert!(
                error.contains("origin.suite_sha256") && error.contains("64 hexadecimal digits"),
                "{error}"
            );
        }
        assert_eq!(digest(&"aB".repeat(32)).validate("it.toml", "origin", None), Ok(()));
        let beyond = Origin {
            starts: Starts::of(StateRange { first: 0, end: 2, replicates: 1 }.keys([10, 13])),
            ..of
        };
        let (file, part) = ("it.toml".to_owned(), "demos".to_owned());
        let statement = Statement { file, part, used: Use::Training, origin: Some(beyond) };
        let judged = Judged {
            range: "confirmation",
            suite: "line",
            suite_sha256: None,
            tasks: &[0, 1],
            task_count: 10,
            share: StateRange { first: 0, end: 2, replicates: 1 },
            sample_seed: None,
            recorded: 50,
        };
        let error = check(&[statement], &[judged]).unwrap_err().to_string();
        assert!(error.contains("origin.starts.tasks: found 10; valid is 0 to 9"), "{error}");
    }

    #[test]
    fn thresholds_set_on_fitted_starts_are_found_under_any_seed() {
        let (fitted, set) = (origin(starts(0, 10, 1)), origin(starts(8, 20, 1)));
        let sampled = Origin { sample_seed: Some(7), ..fitted.clone() };
        assert_eq!(sampled.common(&set), [[8, 10]], "those without a seed are recorded ones");
        assert_eq!(set.common(&sampled), [[8, 10]]);
        let other = Origin { sample_seed: Some(8), ..set.clone() };
        assert!(sampled.common(&other).is_empty(), "two seeds draw two states");
        let say = |part: &str, origin: &Origin| Statement {
            file: "probe.json, by origins.toml beside it".into(),
            part: part.into(),
            used: Use::in_probe(part),
            origin: Some(origin.clone()),
        };
        let error =
            check_parts(&[say("discovery", &fitted), say("calibration", &set)]).unwrap_err().to_string();
        assert!(
            error.contains("calibration") && error.contains("8 to 9, on which the probe was fitted"),
            "{error}"
        );
        assert_eq!(check_parts(&[say("discovery", &fitted)]), Ok(()));
    }
}
