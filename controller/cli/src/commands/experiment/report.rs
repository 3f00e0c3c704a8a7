//! `aegis experiment report`: computes the figures from the store, and writes them as JSON, Markdown and one HTML file. The
//! files contain no measured times and nothing of the machine: the same results give the same bytes.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use aegis_experiments::data::store::{Store, has_log};
use aegis_experiments::episode::arm::AEGIS;
use aegis_experiments::plan::Plan;
use aegis_experiments::plan::registration::{Amendment, Lock};
use aegis_experiments::report::{Instructive, RECORDINGS, Report, plain, report};
use aegis_experiments::run::ran_under::RanUnder;
use aegis_files::write_atomically;
use aegis_probe::fork_file;
use aegis_probe::forks::{self, EpisodeForks};
use aegis_recorder::Target;
use clap::Args;
use serde_json::json;

use super::{Registered, background, judged, keys, of_store, read_store, registration_id, store_path};
use crate::commands::replay::stored::{How, Stored};
use crate::exit::{Exit, Failure, OrExit, failure, say, tell};
use crate::files::{digest, make_folder};
use crate::host::HostArguments;

/// File with the digest that the store's file had when the report was made.
pub const SEAL: &str = "episodes.sqlite.sha256";
/// Beginning of a report's title, before the suite.
const TITLE: &str = "A backup reflex on";
/// File in the folder of a store with the forks of its weak episodes; the report has a section on hindsight where it is there.
const FORKS: &str = "weak.forks.parquet";
/// File with the figures.
pub const JSON: &str = "report.json";

/// Arguments of `aegis experiment report`.
#[derive(Args)]
#[command(after_help = "Examples:\n  aegis experiment report runs/study --plan experiments/study.toml\n  \
                        aegis experiment report runs/study --recordings")]
pub struct ReportArguments {
    /// Folder of the store; the report goes there too
    folder: PathBuf,
    #[command(flatten)]
    registered: Registered,
    /// Print the figures as JSON instead of the page
    #[arg(long)]
    json: bool,
    /// Run the episodes that the report links to again, check them against their results, and write their recordings
    #[arg(long)]
    recordings: bool,
    #[command(flatten)]
    host: HostArguments,
}

/// Runs `aegis experiment report`.
pub fn run(arguments: &ReportArguments) -> Result<(), Failure> {
    let (plan, lock) = arguments.registered.take_over()?;
    let folder = &arguments.folder;
    checkpoint(folder, &lock)?;
    let made = make(folder, &plan, &lock)?;
    let seal = format!("{}\n", digest(&store_path(folder))?);
    let files = made.files.iter().map(|(name, text)| (*name, text.as_str())).chain([(SEAL, seal.as_str())]);
    let files: Vec<(&str, &str)> = files.collect();
    for (name, _) in &files {
        check_replaced(&folder.join(name), name)?;
    }
    for (name, text) in files {
        keep(&folder.join(name), text.as_bytes())?;
    }
    if arguments.recordings {
        let all = folder.join(RECORDINGS);
        make_folder(&all)?;
        let stored = Stored::open(folder, &arguments.registered, &arguments.host)?;
        let how = How { twin: true, looped: None };
        for one in &made.instructive {
            let path = all.join(one.file_name());
            stored.draw(stored.result(one.key, AEGIS)?, &how, Target::File(path.clone()))?;
            tell!("{}: {}", path.display(), one.why);
        }
    }
    if arguments.json {
        say!("{}", made.text(JSON));
    } else {
        say!("{}", made.text("report.md"));
    }
    Ok(())
}

/// Refuses to replace a file that has the name of one of the report's files and was not written by a report.
fn check_replaced(path: &Path, name: &str) -> Result<(), Failure> {
    let there = match aegis_files::read_any(path) {
        Ok(there) => there,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failure(Exit::Input, format!("{}: {error}", path.display()))),
    };
    let text = String::from_utf8_lossy(aegis_files::without_mark(&there));
    let is_report = match name {
        JSON => text.trim_start().starts_with('{') && text.contains("\"registration\""),
        SEAL => text.trim().len() == 64 && text.trim().bytes().all(|byte| byte.is_ascii_hexdigit()),
        // Both pages contain the title of a report near their beginning.
        _ => text.contains(TITLE),
    };
    if is_report || there.is_empty() {
        return Ok(());
    }
    let valid =
        "valid is a report, which is replaced, or no file: choose another folder, or move this file away";
    Err(failure(Exit::Input, format!("{}: found a file that no report wrote; {valid}", path.display())))
}

/// Writes one of the report's files, unless a file with these bytes exists. Where the folder cannot be written to, as on a
/// read-only medium, prints a message instead; the report itself is printed in any case.
fn keep(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    if aegis_files::read_any(path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    let Err(error) = write_atomically(path, bytes) else { return Ok(()) };
    if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) {
        tell!("{}: cannot write, so this file of the report is only printed: {error}", path.display());
        return Ok(());
    }
    Err(failure(Exit::Failed, format!("{}: cannot write: {error}", path.display())))
}

/// Moves the store's log into the store's one file, so that the digest of this file covers the whole store. Prints a
/// message for each edit of the store that its seals show.
fn checkpoint(folder: &Path, lock: &Lock) -> Result<(), Failure> {
    let path = store_path(folder);
    if !path.exists() {
        let message = format!("{}: found no store; run `aegis experiment run` first", path.display());
        return Err(failure(Exit::Input, message));
    }
    if has_log(&path) {
        Store::open(&path, registration_id(lock)).map_err(of_store)?.checkpoint().or_exit(Exit::Failed)?;
    }
    let chain =
        Store::read(&path, registration_id(lock)).and_then(|store| store.chain()).map_err(of_store)?;
    for wrong in chain.iter().flat_map(|chain| &chain.wrong) {
        tell!("{}: {wrong}", folder.display());
    }
    Ok(())
}

/// A report's files, by name, and the episodes that the report links to.
pub struct Made {
    /// Episodes that the report links to.
    pub instructive: Vec<Instructive>,
    pub files: Vec<(&'static str, String)>,
}

impl Made {
    /// Returns the text of one file, without the newline at its end.
    pub fn text(&self, name: &str) -> &str {
        self.files.iter().find(|(known, _)| *known == name).map_or("", |(_, text)| text.trim_end())
    }
}

/// Reads the forks of the study's weak episodes, where `folder` has them, with the SHA-256 of their values.
fn forks(folder: &Path, lock: &Lock) -> Result<Option<(Vec<EpisodeForks>, String)>, Failure> {
    let path = folder.join(FORKS);
    if !path.exists() {
        return Ok(None);
    }
    let (provenance, forks) = fork_file::read(&path).or_exit(Exit::Input)?;
    let valid = "the forks at every boundary of this plan's confirmation range, which `aegis collect confirmation --forks` makes";
    for (field, found, is_valid) in [
        ("plan_sha256", &provenance.plan_sha256, provenance.plan_sha256 == lock.frozen.plan_sha256),
        ("range", &provenance.rollouts.range, provenance.rollouts.range == "confirmation"),
    ] {
        if !is_valid {
            let message = format!("{}: {field}: found {found}; valid is {valid}", path.display());
            return Err(failure(Exit::Input, message));
        }
    }
    if let Some(most) = provenance.boundaries_per_episode {
        let message = format!("{}: boundaries_per_episode: found {most}; valid is {valid}", path.display());
        return Err(failure(Exit::Input, message));
    }
    let sha256 = forks::digest(&forks);
    Ok(Some((forks, sha256)))
}

/// Makes a report from the store in `folder`; writes nothing.
pub fn make(folder: &Path, plan: &Plan, lock: &Lock) -> Result<Made, Failure> {
    let store = read_store(folder, lock)?;
    let results = store.results().or_exit(Exit::Input)?;
    let read = background::Read::of(plan, lock)?;
    let forks = forks(folder, lock)?;
    let known = forks.as_ref().map(|(forks, _)| forks.as_slice());
    let calibrator = &read.probe.calibration.calibrator;
    let found: Report = report(plan, &keys(plan)?, &results, calibrator, known)
        .map_err(|error| failure(Exit::Input, format!("{}: {error}", store_path(folder).display())))?;
    let interruptions = store.interruptions().or_exit(Exit::Input)?;
    let results_sha256 = store.sha256().or_exit(Exit::Input)?;
    let mut provenance = vec![
        format!("Registered {} by a binary of commit {}; seal {}.", lock.created, lock.commit, lock.head()),
        format!("Plan {}; scenes {}.", lock.frozen.plan_sha256, lock.frozen.scenes.sha256),
        format!("Results {results_sha256}."),
    ];
    provenance.extend(lock.notes.iter().cloned());
    if lock.amendments.iter().all(|amendment| amendment.changes.is_empty()) {
        provenance.push("The plan was not amended.".into());
    }
    let ran = RanUnder::of(lock, &store.sets().or_exit(Exit::Input)?);
    for (index, amendment) in lock.amendments.iter().enumerate() {
        let Amendment { when, why, episodes_seen, notes, changes, .. } = amendment;
        let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
        provenance.push(match changes.is_empty() {
            true => format!("Noted {when}: {why}."),
            false => {
                format!(
                    "Amended {when}, when {episodes_seen} episodes had been seen: {why} ({}).",
                    changes.join("; ")
                )
            }
        });
        provenance.extend(ran.sentence(index).filter(|_| !amendment.changes.is_empty()));
        provenance.extend(notes.iter().cloned());
    }
    provenance
        .push(format!("{} episodes were interrupted by their plant and run again.", interruptions.len()));
    if let Some((_, sha256)) = &forks {
        provenance.push(format!("Forks of the weak episodes {sha256}."));
    }
    let before = judged(folder, plan, lock)?;
    if let Some((found, sha256)) = &before {
        if let Some(unmet) = found.unmet() {
            let place = folder.display();
            let message = format!("{place}: {unmet}; the study did not start, so it has no report");
            return Err(failure(Exit::Failed, message));
        }
        let auroc = found.auroc.map_or("undefined".into(), |auroc| plain(&auroc));
        provenance.push(format!(
            "Precondition: the probe's early-window AUROC over {} weak episodes of another range is {auroc}; its lower \
             end had to lie above {}. Results {sha256}.",
            found.episodes, found.settings.auroc_floor
        ));
    }
    let mut value = json!({
        "registration": { "seal": lock.head(), "created": lock.created, "plan_sha256": lock.frozen.plan_sha256,
                          "amendments": lock.amendments },
        "results_sha256": results_sha256,
        "precondition": before.as_ref().map(|(found, sha256)| json!({ "found": found, "results_sha256": sha256 })),
        "interruptions": interruptions,
        "report": &found,
    });
    if let Some((_, sha256)) = &forks {
        value["forks_sha256"] = json!(sha256);
    }
    if ran.known > 0 && lock.amendments.iter().any(|amendment| !amendment.changes.is_empty()) {
        value["registration"]["ran_before"] = json!(ran.before);
    }
    let beside = read.background(plan, lock, &provenance);
    let page = found.page(&format!("{TITLE} {}", plan.suite), &beside).or_exit(Exit::Failed)?;
    let text = serde_json::to_string_pretty(&value).or_exit(Exit::Failed)? + "\n";
    let instructive = found.instructive;
    let files = vec![(JSON, text), ("report.md", page.markdown()), ("report.html", page.html())];
    Ok(Made { files, instructive })
}
