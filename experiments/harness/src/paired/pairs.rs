//! Pairs of episodes: those of all arms from one task and start.

use std::collections::BTreeMap;

use super::Episode;

/// Outcomes of all arms from one start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// Place of the task among [`Sets::tasks`].
    pub task: usize,
    /// Cluster of the start: the initial state where the file names it, and otherwise the start itself.
    pub cluster: usize,
    /// Outcome of each arm, in the order of [`Sets::arms`].
    pub outcomes: Vec<bool>,
}

/// All starts that every arm ran from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sets {
    /// Arms, the control first, the others in the order in which they first appear.
    pub arms: Vec<String>,
    /// Tasks: numbers in order, and then names in alphabetical order.
    pub tasks: Vec<String>,
    /// Sets in order of task and start.
    pub sets: Vec<Set>,
    /// Starts that were left out, since not every arm has them.
    pub left_out: usize,
}

/// Error about episodes that cannot be paired.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PairingError {
    /// Fewer than two arms.
    #[error(
        "arm: found {found}; valid is two or more: name them in a column arm, or give several files, such as weak=a.csv mine=b.csv"
    )]
    FewArms {
        /// The arms.
        found: String,
    },
    /// The control is not one of the arms.
    #[error("--control: found {found}; valid is one of {arms}")]
    NoControl {
        /// The name given.
        found: String,
        /// The arms.
        arms: String,
    },
    /// One arm has a start twice.
    #[error(
        "{second}: found {start} of arm {arm} again, first in {first}; valid is one row for each task, start and arm: number the \
         repetitions in the column seed, and starts in initial_state"
    )]
    Twice {
        /// Task and start.
        start: String,
        /// The arm.
        arm: String,
        /// Place of the first row.
        first: String,
        /// Place of the second row.
        second: String,
    },
    /// An arm lacks a start that another has.
    #[error(
        "{place}: found {unpaired}; valid is the same starts in every arm: run it, or leave such \
         starts out with --leave-out-unpaired ({count} of {all})"
    )]
    Unpaired {
        /// Place of the row.
        place: String,
        /// Task and start, the arm that has it, and the first one that lacks it.
        unpaired: String,
        /// Number of such starts.
        count: usize,
        /// Number of all starts.
        all: usize,
    },
    /// No start has all arms.
    #[error(
        "starts: found none that every arm has; valid is one or more: name tasks and seeds alike in every arm"
    )]
    NoPairs {},
}

/// A name or number; numbers order by value, before names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Label {
    Number(i128),
    Name(String),
}

impl Label {
    fn of(text: &str) -> Self {
        // Only canonical decimals are numbers: 07 is a name.
        let number = text.parse().ok().filter(|number: &i128| number.to_string() == text);
        number.map_or_else(|| Self::Name(text.to_owned()), Self::Number)
    }
}

type Key = (Label, Option<Label>, Option<Label>);

/// Groups episodes by task and start. `control` is the arm that the others are compared with; the first one where it is `None`.
///
/// # Errors
/// Fewer than two arms; a start that an arm has twice; one that an arm lacks, unless such starts are to be left out.
pub fn sets(episodes: &[Episode], control: Option<&str>, leave_out: bool) -> Result<Sets, PairingError> {
    let mut arms: Vec<String> = Vec::new();
    for episode in episodes {
        if !arms.contains(&episode.arm) {
            arms.push(episode.arm.clone());
        }
    }
    if arms.len() < 2 {
        let found = if arms.is_empty() { "none".into() } else { arms.join(", ") };
        return Err(PairingError::FewArms { found });
    }
    if let Some(control) = control {
        let place = arms
            .iter()
            .position(|arm| arm == control)
            .ok_or_else(|| PairingError::NoControl { found: control.to_owned(), arms: arms.join(", ") })?;
        let first = arms.remove(place);
        arms.insert(0, first);
    }
    let mut by_start: BTreeMap<Key, Vec<Option<&Episode>>> = BTreeMap::new();
    for episode in episodes {
        let key = (
            Label::of(&episode.task),
            episode.initial_state.as_deref().map(Label::of),
            episode.seed.as_deref().map(Label::of),
        );
        let place = arms.iter().position(|arm| *arm == episode.arm).unwrap_or_default();
        let found = by_start.entry(key).or_insert_with(|| vec![None; arms.len()]);
        if let Some(first) = found[place].replace(episode) {
            return Err(PairingError::Twice {
                start: start(first),
                arm: first.arm.clone(),
                first: first.place.clone(),
                second: episode.place.clone(),
            });
        }
    }
    let all = by_start.len();
    let unpaired: Vec<&Vec<Option<&Episode>>> =
        by_start.values().filter(|found| found.contains(&None)).collect();
    let left_out = unpaired.len();
    if let Some(found) = unpaired.first().filter(|_| !leave_out) {
        let has = found.iter().flatten().next();
        let lacks = found.iter().position(Option::is_none).and_then(|place| arms.get(place));
        if let (Some(has), Some(missing)) = (has, lacks) {
            let unpaired = format!("{} of arm {}, which {missing} lacks", start(has), has.arm);
            return Err(PairingError::Unpaired { place: has.place.clone(), unpaired, count: left_out, all });
        }
    }
    by_start.retain(|_, found| !found.contains(&None));
    if by_start.is_empty() {
        return Err(PairingError::NoPairs {});
    }
    Ok(grouped(arms, &by_start, left_out))
}

fn grouped(arms: Vec<String>, by_start: &BTreeMap<Key, Vec<Option<&Episode>>>, left_out: usize) -> Sets {
    let mut tasks: Vec<String> = Vec::new();
    let mut clusters: Vec<(&Label, &Option<Label>)> = Vec::new();
    let mut sets = Vec::new();
    for ((task, initial_state, _), found) in by_start {
        let outcomes: Vec<bool> = found.iter().flatten().map(|episode| episode.success).collect();
        let name = found.iter().flatten().next().map_or(String::new(), |episode| episode.task.clone());
        // In order of tasks and initial states, so that equal ones are adjacent.
        if tasks.last() != Some(&name) {
            tasks.push(name);
        }
        if initial_state.is_none() || clusters.last() != Some(&(task, initial_state)) {
            clusters.push((task, initial_state));
        }
        sets.push(Set { task: tasks.len() - 1, cluster: clusters.len() - 1, outcomes });
    }
    Sets { arms, tasks, sets, left_out }
}

fn start(episode: &Episode) -> String {
    let mut text = format!("task {}", episode.task);
    for (name, value) in [("initial state", &episode.initial_state), ("seed", &episode.seed)] {
        if let Some(value) = value {
            text += &format!(", {name} {value}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn episode(task: &str, state: Option<&str>, seed: &str, arm: &str, success: bool) -> Episode {
        let (task, arm, place) = (task.to_owned(), arm.to_owned(), format!("{arm} {seed}"));
        Episode { task, initial_state: state.map(Into::into), seed: Some(seed.into()), arm, success, place }
    }

    fn four() -> Vec<Episode> {
        vec![
            episode("10", None, "1", "weak", false),
            episode("10", None, "1", "mine", true),
            episode("9", None, "1", "mine", true),
            episode("9", None, "1", "weak", true),
        ]
    }

    #[test]
    fn arms_are_paired_in_any_order_of_rows() {
        let found = sets(&four(), None, false).unwrap();
        assert_eq!(
            (&found.arms[..], &found.tasks[..]),
            (&["weak".into(), "mine".into()][..], &["9".into(), "10".into()][..])
        );
        assert_eq!(found.sets[1], Set { task: 1, cluster: 1, outcomes: vec![false, true] });
        let turned = sets(&four(), Some("mine"), false).unwrap();
        assert_eq!((&*turned.arms[0], &turned.sets[1].outcomes[..]), ("mine", &[true, false][..]));
    }

    #[test]
    fn seeds_of_one_initial_state_are_one_cluster() {
        let arms = ["a", "b"];
        let of = |state, seed| arms.map(|arm| episode("t", Some(state), seed, arm, true));
        let found = sets(&[of("0", "1"), of("0", "2"), of("1", "1")].concat(), None, false).unwrap();
        assert_eq!(found.sets.iter().map(|set| set.cluster).collect::<Vec<_>>(), [0, 0, 1]);
    }

    #[test]
    fn episodes_without_a_pair_are_named() {
        let said = |episodes: &[Episode], control, leave_out| match sets(episodes, control, leave_out) {
            Ok(found) => format!("{} sets, {} left out", found.sets.len(), found.left_out),
            Err(error) => error.to_string(),
        };
        let (mut twice, mut more, one) = (four(), four(), vec![four().remove(0)]);
        twice.push(episode("9", None, "1", "weak", false));
        more.push(episode("9", None, "2", "weak", false));
        let apart = [episode("9", None, "1", "a", true), episode("9", None, "2", "b", true)];
        for (found, expected) in [
            (said(&twice, None, false), "weak 1: found task 9, seed 1 of arm weak again, first in weak 1"),
            (
                said(&more, None, false),
                "weak 2: found task 9, seed 2 of arm weak, which mine lacks; valid is",
            ),
            (said(&more, None, false), "--leave-out-unpaired (1 of 3)"),
            (said(&more, None, true), "2 sets, 1 left out"),
            (said(&one, None, false), "arm: found weak; valid is two or more"),
            (said(&[], None, false), "arm: found none"),
            (said(&four(), Some("strong"), false), "--control: found strong; valid is one of weak, mine"),
            (said(&apart, None, true), "starts: found none that every arm has"),
        ] {
            assert!(found.contains(expected), "{expected:?} is missing from: {found}");
        }
    }
}
