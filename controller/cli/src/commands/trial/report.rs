//! `aegis trial report`: computes the figures of a trial from its log, and writes them as JSON and Markdown. The same log gives the same
//! bytes.

use std::path::{Path, PathBuf};

use aegis_experiments::data::field_log::FieldLog;
use aegis_experiments::field::analysis::FieldReport;
use aegis_experiments::field::log::Entry;
use aegis_experiments::field::view::{TITLE, markdown};
use clap::Args;

use super::files::PlanArguments;
use crate::commands::plan::now;
use crate::exit::{Exit, Failure, OrExit, failure, say};
use crate::files::write;
use crate::occupied::Occupied;

/// File with the figures.
pub const JSON: &str = "report.json";
/// File with the page.
pub const PAGE: &str = "report.md";

/// Arguments of `aegis trial report`.
#[derive(Args)]
#[command(after_help = "Example: aegis trial report trial.toml runs/trial")]
pub struct ReportArguments {
    #[command(flatten)]
    plan: PlanArguments,
    /// Folder of the trial; the report goes there too
    folder: PathBuf,
    /// Make a report before every episode is over; the log and every later report say when somebody looked
    #[arg(long)]
    unfinished: bool,
    /// Print the figures as JSON instead of the page
    #[arg(long)]
    json: bool,
}

/// Runs `aegis trial report`.
pub fn run(arguments: &ReportArguments) -> Result<(), Failure> {
    let (planned, lock) = arguments.plan.registered()?;
    let folder = &arguments.folder;
    let (mut entries, mut attempts) = planned.log(folder, &lock)?;
    let _occupied = Occupied::claim(folder)?;
    if attempts.next(&planned.plan).is_some() || attempts.open.is_some() {
        if !arguments.unfinished {
            let left = planned.report(&lock, &entries, &attempts)?.open;
            let valid = "valid is a trial that is over, for who has seen results is no longer blind: run the rest, or give --unfinished";
            let message = format!("{}: found {left} episodes without an outcome; {valid}", folder.display());
            return Err(failure(Exit::Input, message));
        }
        if attempts.open.is_none() {
            let mut log = FieldLog::open(folder, &lock.seal).or_exit(Exit::Input)?;
            let entry = Entry::Inspected { when: log.time(now()), ended: attempts.ended() };
            log.append(entry).or_exit(Exit::Failed)?;
        }
        (entries, attempts) = planned.log(folder, &lock)?;
    }
    let report = planned.report(&lock, &entries, &attempts)?;
    let (json, page) = texts(&report)?;
    for (name, text) in [(JSON, &json), (PAGE, &page)] {
        check_replaced(&folder.join(name))?;
        write(&folder.join(name), text.as_bytes())?;
    }
    say!("{}", if arguments.json { json.trim_end() } else { page.trim_end() });
    Ok(())
}

/// Returns the text of both files of a report.
pub fn texts(report: &FieldReport) -> Result<(String, String), Failure> {
    let json = serde_json::to_string_pretty(report).or_exit(Exit::Failed)? + "\n";
    Ok((json, markdown(report)))
}

/// Refuses a file in the place of one of the report's files that no report made.
fn check_replaced(path: &Path) -> Result<(), Failure> {
    let Ok(there) = aegis_files::read_text(path) else {
        return Ok(());
    };
    let is_report = there.is_empty()
        || there.starts_with(TITLE)
        || (there.starts_with('{') && there.contains("\"registration\""));
    if is_report {
        return Ok(());
    }
    let valid = "valid is a report to replace, or no file: move what is there away";
    Err(failure(Exit::Input, format!("{}: found a file that no report made; {valid}", path.display())))
}
