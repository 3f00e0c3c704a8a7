//! `aegis trial verify`: checks a trial from its records: the chain of the log, the order of arms by the plan's seed, each record by its
//! digest and by a replay of every decision, each entry by its record, and the report by the log.

use std::path::{Path, PathBuf};

use aegis_core::control::TickRecord;
use aegis_experiments::field::amendments::outcome_at;
use aegis_experiments::field::log::{Attempt, Entry, Outcome, Usage};
use aegis_experiments::field::plan::OutcomeSource;
use aegis_recorder::EpisodeEnd;
use aegis_recorder::run_log::RunReader;
use aegis_robot::EpisodeFigures;
use clap::Args;

use super::files::{PlanArguments, Planned, RECORDS, RUN_FILE, unknown_records};
use super::report::{JSON, PAGE, texts};
use crate::commands::replay::check::check;
use crate::exit::{Exit, Failure, OrExit, failure, say};
use crate::files::digest;

/// Arguments of `aegis trial verify`.
#[derive(Args)]
#[command(
    after_help = "Example: aegis trial verify trial.toml runs/trial\n\nExit code 1: something does not agree; each such thing is named."
)]
pub struct VerifyArguments {
    #[command(flatten)]
    plan: PlanArguments,
    /// Folder of the trial
    folder: PathBuf,
}

/// Runs `aegis trial verify`.
pub fn run(arguments: &VerifyArguments) -> Result<(), Failure> {
    let (planned, lock) = arguments.plan.registered()?;
    let folder = &arguments.folder;
    let (entries, attempts) = planned.log(folder, &lock)?;
    let report = planned.report(&lock, &entries, &attempts)?;
    let mut wrong = report.contradictions.clone();
    for unknown in unknown_records(folder, &entries.entries)? {
        wrong.push(format!(
            "{}: of no attempt of the log, which was cut or is another trial's",
            unknown.display()
        ));
    }
    let (mut checked, mut begun) = (0, None);
    for entry in &entries.entries {
        match entry {
            Entry::Begun { lock: seal, folder: name, .. } => {
                begun = Some((seal, folder.join(RECORDS).join(name).join(RUN_FILE)));
            }
            Entry::Ended { attempt, outcome, usage, record_sha256, .. } => {
                let Some((seal, record)) = begun.take() else { continue };
                let source = outcome_at(&planned.plan, &lock, seal);
                let one =
                    Ended { planned: &planned, attempt: *attempt, source, outcome, usage, record_sha256 };
                wrong.extend(one.differences(&record, seal == lock.head()));
                checked += 1;
            }
            Entry::Withdrawn { attempt, .. } => {
                let Some((_, record)) = begun.take() else { continue };
                let sent = sent(&record).map_err(|error| error.prefixed(place(*attempt)))?;
                if sent > 0 {
                    wrong.push(format!(
                        "{}: the log has withdrawn, and {} {sent} control periods in which a command was sent",
                        place(*attempt),
                        record.display()
                    ));
                }
            }
            Entry::Abandoned { .. } => begun = None,
            Entry::Inspected { .. } => {}
        }
    }
    let (json, page) = texts(&report)?;
    for (name, valid) in [(JSON, json), (PAGE, page)] {
        let path = folder.join(name);
        let stored = aegis_files::read_text(&path).map_err(|error| {
            let reason = format!("{}: cannot read: {error}; `aegis trial report` makes it", path.display());
            failure(Exit::Input, reason)
        })?;
        if stored != valid {
            wrong.push(format!(
                "{}: is not what the log gives with this program; `aegis trial report` makes it again",
                path.display()
            ));
        }
    }
    if !wrong.is_empty() {
        return Err(failure(
            Exit::Failed,
            format!("{} things do not agree:\n  {}", wrong.len(), wrong.join("\n  ")),
        ));
    }
    say!(
        "seal {}: {} entries follow from one another, from the plan and from its seed",
        entries.head,
        entries.entries.len()
    );
    say!(
        "{checked} attempts: each record has its digest, every decision and command comes out the same, and what the log says follows"
    );
    say!("{}: {JSON} and {PAGE}: every figure and every word come out the same", folder.display());
    Ok(())
}

/// Returns in how many control periods of a record a command was sent; 0 where there is no record. A record that is cut is read as far as
/// it goes.
fn sent(record: &Path) -> Result<u64, Failure> {
    if !record.exists() {
        return Ok(0);
    }
    let (mut reader, mut sent) = (RunReader::open(record).or_exit(Exit::Failed)?, 0);
    while let Ok(Some(bytes)) = reader.next_period() {
        let period: TickRecord<'_> = rmp_serde::from_slice(&bytes).or_exit(Exit::Failed)?;
        sent += u64::from(period.output.send);
    }
    Ok(sent)
}

fn place(attempt: Attempt) -> String {
    format!("episode {}, attempt {}", attempt.episode + 1, attempt.number)
}

/// Entry of an attempt that is over.
struct Ended<'a> {
    planned: &'a Planned,
    attempt: Attempt,
    /// Source of outcomes by the plan under which the attempt ran; `None` where the lock does not have its seal.
    source: Option<OutcomeSource>,
    outcome: &'a Outcome,
    usage: &'a Usage,
    record_sha256: &'a str,
}

impl Ended<'_> {
    /// Returns everything in which the entry and its record differ. What the controller was made from is compared where the attempt ran
    /// under the lock as it is now; an amendment may have changed the files since.
    fn differences(&self, record: &Path, is_newest: bool) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut differs = |field: &str, found: String, valid: String| {
            if found != valid {
                let (place, record) = (place(self.attempt), record.display());
                wrong.push(format!("{place}: {field}: the log has {found}, {record} {valid}"));
            }
        };
        if let Err(error) = self.compare(record, is_newest, &mut differs) {
            wrong.push(format!("{}: {error}", place(self.attempt)));
        }
        wrong
    }

    fn compare(
        &self,
        record: &Path,
        is_newest: bool,
        differs: &mut impl FnMut(&str, String, String),
    ) -> Result<(), Failure> {
        differs("record_sha256", self.record_sha256.to_owned(), digest(record)?);
        let replayed = check(record)?;
        if let Some(fault) = replayed.fault {
            differs("record", "a whole record".into(), fault);
        }
        let mut reader = RunReader::open(record).or_exit(Exit::Failed)?;
        if is_newest {
            let robot = self.planned.robot(&self.planned.schedule[self.attempt.episode])?;
            let json = |value: &_| serde_json::to_string(value).or_exit(Exit::Failed);
            differs("controller", json(&robot.recipe)?, json(&reader.header.recipe)?);
            differs("models", format!("{:?}", robot.digests), format!("{:?}", reader.header.digests));
        }
        let mut figures = EpisodeFigures::default();
        while let Some(bytes) = reader.next_period().or_exit(Exit::Failed)? {
            figures.take(&rmp_serde::from_slice(&bytes).or_exit(Exit::Failed)?);
        }
        let usage = Usage { steps: figures.steps, strong_steps: figures.strong_steps, fires: figures.fires };
        differs("usage", format!("{:?}", self.usage), format!("{usage:?}"));
        let end = |end: Option<EpisodeEnd>| end.map_or("no end".into(), |end| end.to_string());
        match self.outcome {
            Outcome::Done { success, by, .. } => {
                if !matches!(figures.end, Some(EpisodeEnd::Goal | EpisodeEnd::Horizon)) {
                    differs("outcome", "an episode that ran to its end".into(), end(figures.end));
                }
                if let Some(source) = self.source.filter(|source| source != by) {
                    differs("by", format!("{by:?}"), format!("ran under a plan with {source:?}"));
                }
                if *by == OutcomeSource::Plant {
                    differs("success", success.to_string(), figures.success().to_string());
                }
            }
            Outcome::Stopped { .. } => {
                if !matches!(figures.end, Some(EpisodeEnd::Stopped(..))) {
                    differs("outcome", "a stop".into(), end(figures.end));
                }
            }
            Outcome::Repeated { .. } => {}
        }
        Ok(())
    }
}
