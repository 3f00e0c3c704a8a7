//! State of a field trial, from the entries of its log: the attempts at each episode, and which attempt comes next.

use std::collections::BTreeSet;

use aegis_core::Start;

use super::log::{Attempt, Entry, Outcome, Usage};
use super::plan::FieldPlan;
use super::schedule::Episode;

/// Attempt that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// Result; `None` where the process ended before the attempt did.
    pub outcome: Option<Outcome>,
    /// Use of the policies.
    pub usage: Usage,
    /// SHA-256 of the record; `None` where the process ended before the attempt did.
    pub record_sha256: Option<String>,
}

impl Past {
    /// Returns whether the episode succeeded; `None` where the attempt has no outcome.
    pub fn success(&self) -> Option<bool> {
        match self.outcome {
            Some(Outcome::Done { success, .. }) => Some(success),
            _ => None,
        }
    }
}

/// Returns the name of the folder of an attempt's record, where so many attempts had begun before it.
pub fn record_folder(before: usize) -> String {
    format!("{:05}", before + 1)
}

/// Attempts of a trial so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    /// Attempts at each episode, in the order of the trial.
    pub of: Vec<Vec<Past>>,
    /// Attempt that has begun and is not over.
    pub open: Option<Attempt>,
    /// Times at which somebody looked at the results before the end, with the number of attempts that were over.
    pub inspections: Vec<(String, usize)>,
    /// Number of attempts that have begun, those included that do not count.
    begun: usize,
    /// SHA-256 of every record.
    records: BTreeSet<String>,
    /// Time of the newest entry.
    newest: String,
}

impl Attempts {
    /// Follows the entries of a log. `starts` are those of the robot file.
    ///
    /// # Errors
    /// The index of the first entry that does not follow from the plan and the entries before it, and why.
    pub fn of(
        plan: &FieldPlan,
        schedule: &[Episode],
        starts: &[Start],
        entries: &[Entry],
    ) -> Result<Self, (usize, String)> {
        let mut found = Self { of: vec![Vec::new(); schedule.len()], ..Self::default() };
        for (index, entry) in entries.iter().enumerate() {
            found.take(plan, schedule, starts, entry).map_err(|reason| (index, reason))?;
        }
        Ok(found)
    }

    /// Returns the attempt that comes next; `None` where every episode has an outcome or has had all its attempts.
    pub fn next(&self, plan: &FieldPlan) -> Option<Attempt> {
        self.of.iter().enumerate().find_map(|(episode, past)| {
            let number = u32::try_from(past.len()).ok()? + 1;
            let is_over = number > plan.attempts || past.iter().any(|past| past.success().is_some());
            (!is_over).then_some(Attempt { episode, number })
        })
    }

    /// Returns the number of attempts that are over.
    pub fn ended(&self) -> usize {
        self.of.iter().map(Vec::len).sum()
    }

    /// Returns whether an episode succeeded; `None` where it has no outcome.
    pub fn success(&self, episode: usize) -> Option<bool> {
        self.of.get(episode)?.iter().find_map(Past::success)
    }

    fn take(
        &mut self,
        plan: &FieldPlan,
        schedule: &[Episode],
        starts: &[Start],
        entry: &Entry,
    ) -> Result<(), String> {
        let open = self.open;
        let closes = |attempt: &Attempt| {
            if open == Some(*attempt) {
                return Ok(());
            }
            let valid = open.map_or("none, for none has begun".into(), |open| format!("{open:?}"));
            Err(format!("attempt: found {attempt:?}; valid is {valid}"))
        };
        let when = entry.when();
        if when < self.newest.as_str() {
            return Err(format!(
                "when: found {when}; valid is no time before that of the line before, {}",
                self.newest
            ));
        }
        self.newest = when.to_owned();
        match entry {
            Entry::Begun { attempt, folder, .. } => {
                let valid = record_folder(self.begun);
                if *folder != valid {
                    return Err(format!(
                        "folder: found {folder:?}; valid is {valid:?}, the next number of a record"
                    ));
                }
                self.begun += 1;
                let next = self.next(plan);
                if open.is_some() || next != Some(*attempt) {
                    let valid = match (open, next) {
                        (Some(open), _) => format!("the end of {open:?}"),
                        (None, Some(next)) => format!("{next:?}"),
                        (None, None) => "none, for every episode is over".into(),
                    };
                    return Err(format!("attempt: found {attempt:?}; valid is {valid}"));
                }
                self.open = Some(*attempt);
            }
            Entry::Ended { attempt, arm, start, outcome, usage, record_sha256, .. } => {
                closes(attempt)?;
                let planned = schedule.get(attempt.episode).ok_or("attempt: of no episode of the plan")?;
                if planned.arm != *arm {
                    return Err(format!("arm: found {arm}; valid is {}, by the plan's seed", planned.arm));
                }
                if starts.get(planned.start) != Some(start) {
                    return Err(format!("start: found {start:?}; valid is {:?}", starts.get(planned.start)));
                }
                if !self.records.insert(record_sha256.clone()) {
                    let valid = "a record of its own for each attempt";
                    return Err(format!(
                        "record_sha256: found {record_sha256}, which an earlier line has; valid is {valid}"
                    ));
                }
                self.open = None;
                let record_sha256 = Some(record_sha256.clone());
                self.of[attempt.episode].push(Past {
                    outcome: Some(outcome.clone()),
                    usage: *usage,
                    record_sha256,
                });
            }
            Entry::Abandoned { attempt, .. } => {
                closes(attempt)?;
                self.open = None;
                self.of[attempt.episode].push(Past {
                    outcome: None,
                    usage: Usage::default(),
                    record_sha256: None,
                });
            }
            Entry::Withdrawn { attempt, .. } => {
                closes(attempt)?;
                self.open = None;
            }
            Entry::Inspected { when, ended } => {
                if *ended != self.ended() {
                    return Err(format!("ended: found {ended}; valid is {}", self.ended()));
                }
                self.inspections.push((when.clone(), *ended));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::field::plan::OutcomeSource;
    use crate::field::plan::tests::plan;
    use crate::field::schedule::schedule;

    pub const STARTS: [Start; 2] = [Start { task: 0, initial_state: 4 }, Start { task: 1, initial_state: 5 }];

    pub fn begun(episode: usize, number: u32) -> Entry {
        Entry::Begun {
            when: String::new(),
            attempt: Attempt { episode, number },
            lock: String::new(),
            folder: String::new(),
        }
    }

    pub fn ended(schedule: &[Episode], episode: usize, number: u32, outcome: Outcome) -> Entry {
        Entry::Ended {
            when: String::new(),
            attempt: Attempt { episode, number },
            arm: schedule[episode].arm.clone(),
            start: STARTS[schedule[episode].start],
            outcome,
            usage: Usage { steps: 10, strong_steps: 2, fires: 1 },
            record_sha256: format!("{episode}, {number}"),
        }
    }

    /// Gives each attempt's record the folder that `aegis trial run` gives it.
    pub fn numbered(mut entries: Vec<Entry>) -> Vec<Entry> {
        let mut before = 0;
        for entry in &mut entries {
            if let Entry::Begun { folder, .. } = entry {
                *folder = record_folder(before);
                before += 1;
            }
        }
        entries
    }

    pub fn done(success: bool) -> Outcome {
        Outcome::Done { success, by: OutcomeSource::Person, note: None }
    }

    #[test]
    fn an_episode_is_repeated_until_it_has_an_outcome_or_no_attempt_left() {
        let plan = plan();
        let schedule = schedule(&plan, 2);
        let of = |entries: &[Entry]| Attempts::of(&plan, &schedule, &STARTS, &numbered(entries.to_vec()));
        let next = |entries: &[Entry]| of(entries).unwrap().next(&plan);
        let at = |episode, number| Some(Attempt { episode, number });
        assert_eq!(next(&[]), at(0, 1));
        let stopped = || Outcome::Stopped { reason: "plant lost".into() };
        let mut entries = vec![begun(0, 1), ended(&schedule, 0, 1, stopped())];
        assert_eq!(next(&entries), at(0, 2));
        entries.extend([
            begun(0, 2),
            Entry::Abandoned { when: String::new(), attempt: Attempt { episode: 0, number: 2 } },
        ]);
        assert_eq!(next(&entries), at(1, 1));
        entries.extend([begun(1, 1), ended(&schedule, 1, 1, done(true))]);
        let found = of(&entries).unwrap();
        assert_eq!(
            (found.next(&plan), found.success(0), found.success(1), found.ended()),
            (at(2, 1), None, Some(true), 3)
        );
        entries.push(begun(2, 1));
        assert_eq!(of(&entries).unwrap().open, at(2, 1));
        let reason = "a signal".to_owned();
        entries.push(Entry::Withdrawn {
            when: String::new(),
            attempt: Attempt { episode: 2, number: 1 },
            reason,
        });
        assert_eq!(next(&entries), at(2, 1), "an attempt in which nothing moved does not count");
    }

    #[test]
    fn what_does_not_follow_from_the_plan_is_refused() {
        let plan = plan();
        let schedule = schedule(&plan, 2);
        let error = |entries: &[Entry]| {
            Attempts::of(&plan, &schedule, &STARTS, &numbered(entries.to_vec())).unwrap_err()
        };
        let (index, reason) = error(&[begun(1, 1)]);
        assert!(index == 0 && reason.contains("valid is Attempt { episode: 0, number: 1 }"), "{reason}");
        let (index, reason) = error(&[begun(0, 1), begun(0, 2)]);
        assert!(index == 1 && reason.contains("valid is the end of"), "{reason}");
        let (_, reason) = error(&[ended(&schedule, 0, 1, done(true))]);
        assert!(reason.contains("valid is none, for none has begun"), "{reason}");
        let mut other = schedule.clone();
        other[0].arm = if schedule[0].arm == *"weak" { "strong".into() } else { "weak".into() };
        let (index, reason) = error(&[begun(0, 1), ended(&other, 0, 1, done(true))]);
        assert!(index == 1 && reason.contains("by the plan's seed"), "{reason}");
        let (_, reason) = error(&[Entry::Inspected { when: String::new(), ended: 1 }]);
        assert_eq!(reason, "ended: found 1; valid is 0");
    }

    #[test]
    fn each_attempt_has_a_record_of_its_own_in_the_next_folder_and_no_time_runs_backwards() {
        let plan = plan();
        let schedule = schedule(&plan, 2);
        let whole = numbered(vec![
            begun(0, 1),
            ended(&schedule, 0, 1, done(true)),
            begun(1, 1),
            ended(&schedule, 1, 1, done(true)),
        ]);
        let of = |entries: &[Entry]| Attempts::of(&plan, &schedule, &STARTS, entries);
        assert!(of(&whole).is_ok());
        for wrong in ["../../elsewhere", "00001", "2", "00003", ""] {
            let mut edited = whole.clone();
            let Entry::Begun { folder, .. } = &mut edited[2] else { unreachable!() };
            *folder = wrong.into();
            let (index, reason) = of(&edited).unwrap_err();
            assert!(
                index == 2 && reason.contains("folder: found") && reason.contains("\"00002\""),
                "{reason}"
            );
        }
        let mut edited = whole.clone();
        let Entry::Ended { record_sha256, .. } = &mut edited[3] else { unreachable!() };
        *record_sha256 = "0, 1".into();
        let (index, reason) = of(&edited).unwrap_err();
        assert!(
            index == 3 && reason.contains("record_sha256: found 0, 1, which an earlier line has"),
            "{reason}"
        );
        let mut edited = whole;
        for (entry, time) in edited.iter_mut().zip([
            "2026-01-01T00:00:09Z",
            "2026-01-01T00:00:10Z",
            "2026-01-01T00:00:09Z",
            "z",
        ]) {
            let (Entry::Begun { when, .. } | Entry::Ended { when, .. }) = entry else { unreachable!() };
            *when = time.into();
        }
        let (index, reason) = of(&edited).unwrap_err();
        assert!(
            index == 2 && reason.starts_with("when: found 2026-01-01T00:00:09Z; valid is no time before"),
            "{reason}"
        );
    }
}
