//! `aegis experiment verify`: checks a report against the registration, the store and every digest, and runs sets again.
//! Each line names what was checked and the sections of the report that the check covers.

mod rerun;
mod traces;

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use aegis_experiments::Arm;
use aegis_experiments::data::store::{Store, check_closed};
use aegis_experiments::plan::Plan;
use aegis_experiments::plan::registration::Lock;
use aegis_experiments::report::RECORDINGS;
use aegis_experiments::run::precondition;
use aegis_files::same_digest;
use clap::Args;
use serde_json::Value;

use self::traces::Kept;
use super::report::{JSON, Made, SEAL, make};
use super::{Registered, registration_id, store_path};
use crate::arms::arms_of;
use crate::exit::{Exit, Failure, failure, say};
use crate::files::digest;

/// Arguments of `aegis experiment verify`.
#[derive(Args)]
#[command(after_help = "Examples:\n  aegis experiment verify runs/study --plan experiments/study.toml\n  \
                        aegis experiment verify --without-traces --rerun 10 experiments/study\n\n\
                        The last line is `DIR: verified`; otherwise every fault is on standard error, with exit code 1.")]
pub struct VerifyArguments {
    /// Folder of store and report
    folder: PathBuf,
    #[command(flatten)]
    registered: Registered,
    /// Do not check the step traces, where only stores and report were kept
    #[arg(long)]
    without_traces: bool,
    #[command(flatten)]
    again: rerun::RerunArguments,
}

/// Runs `aegis experiment verify`.
pub fn run(arguments: &VerifyArguments) -> Result<(), Failure> {
    let folder = &arguments.folder;
    let (plan, lock) = arguments.registered.verify()?;
    say!(
        "plan, models, probe, scenes and versions equal the registered ones: covers \"Registration\" and \"Policies and \
         probe\" to \"Versions\""
    );
    let mut wrong: Vec<String> = Vec::new();
    let store_file = store_path(folder);
    // A store with a log beside it is complete only together with the log, and SQLite writes files beside a store to read a
    // log, so such a store is refused.
    for store in [&store_file, &store_path(&folder.join(precondition::FOLDER))] {
        check_closed(store).map_err(|error| failure(Exit::Failed, error))?;
    }
    let read = |name: &str| {
        let path = folder.join(name);
        // Read without the check for web pages, because one of these files is one. A byte-order mark of an editor is
        // ignored.
        let text = aegis_files::read_any(&path).and_then(|bytes| {
            let text = String::from_utf8(aegis_files::without_mark(&bytes).to_vec());
            text.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
        });
        text.map_err(|error| {
            let reason = match error.kind() {
                ErrorKind::NotFound => {
                    "found no file; valid is a file that `aegis experiment report` wrote".into()
                }
                _ => format!("cannot read: {error}"),
            };
            failure(Exit::Input, format!("{}: {reason}", path.display()))
        })
    };
    let (sealed, found) = (read(SEAL)?.trim().to_owned(), digest(&store_file)?);
    if !same_digest(&sealed, &found) {
        wrong.push(format!(
            "{}: SHA-256: found {found}; valid is {sealed}, the sealed one",
            store_file.display()
        ));
    }
    say!("the store's bytes were compared with their seal: covers every figure");
    let stores = stores(folder, &plan, &lock, &mut wrong)?;
    for kept in &stores {
        let ran = traces::check_locks(kept, &lock, &mut wrong);
        if kept.folder == *folder {
            let unreported = ran.unreported(&lock).into_iter();
            wrong.extend(unreported.map(|line| format!("{}: {line}", store_file.display())));
        }
    }
    for kept in &stores {
        wrong.extend(traces::check_seals(kept));
        if arguments.without_traces {
            traces::say_without(kept);
        } else {
            wrong.extend(traces::check_traces(kept, &plan));
        }
    }
    let compared =
        make(folder, &plan, &lock).and_then(|made| compare_report(folder, &made, &read, &mut wrong));
    match compared {
        Ok(()) => {}
        // A fault in `wrong` may be the cause of this error; the error is added unless it repeats one of them.
        Err(error) if wrong.is_empty() => return Err(error),
        Err(error) if wrong.iter().any(|line| error.to_string().contains(line.as_str())) => {}
        Err(error) => wrong.push(error.to_string()),
    }
    let recordings = folder.join(RECORDINGS);
    if recordings.is_dir() {
        say!(
            "{}: not checked: no figure depends on recordings, and `aegis experiment report --recordings` writes them again",
            recordings.display()
        );
    }
    wrong.extend(rerun::run(&arguments.again, &arguments.registered, &stores)?);
    if wrong.is_empty() {
        say!("{}: verified", folder.display());
        return Ok(());
    }
    Err(failure(Exit::Failed, wrong.join("\n")))
}

/// Opens the stores of a study: its own, and that of its precondition. The error of a store that cannot be read is added to
/// `wrong`.
fn stores(folder: &Path, plan: &Plan, lock: &Lock, wrong: &mut Vec<String>) -> Result<Vec<Kept>, Failure> {
    let mut places = vec![(folder.to_owned(), arms_of(plan)?, "every figure")];
    if plan.precondition().is_some() {
        places.push((folder.join(precondition::FOLDER), vec![Arm::weak()], "Registration"));
    }
    let mut stores = Vec::new();
    for (folder, arms, covers) in places {
        let store = Store::read(&store_path(&folder), registration_id(lock));
        match store.and_then(|store| store.sets().map(|sets| (store, sets))) {
            Ok((store, sets)) => stores.push(Kept { folder, arms, covers, store, sets }),
            Err(error) => wrong.push(error.to_string()),
        }
    }
    Ok(stores)
}

/// Compares the report's files with the report that was made again, and adds each difference to `wrong`.
fn compare_report(
    folder: &Path,
    made: &Made,
    read: &dyn Fn(&str) -> Result<String, Failure>,
    wrong: &mut Vec<String>,
) -> Result<(), Failure> {
    let before = wrong.len();
    // Both values are parsed from text, so that equal texts give equal values.
    let parse = |text: &str| -> Result<Value, Failure> {
        let named = |error| failure(Exit::Input, format!("{}: {error}", folder.join(JSON).display()));
        serde_json::from_str(text).map_err(named)
    };
    let (written, again) = (parse(&read(JSON)?)?, parse(made.text(JSON))?);
    for (section, covers) in [
        ("/registration", "Registration"),
        ("/results_sha256", "every figure"),
        ("/precondition", "Registration"),
        ("/interruptions", "Registration"),
        ("/report/audit", "Audit"),
        ("/report/arms", "Arms, Times of hand-overs and By task"),
        ("/report/duty_of", "Budgets"),
        ("/report/contrasts", "Answer, Contrasts and Budgets"),
        ("/report/tolerance", "Budgets"),
        ("/report/auroc", "Discrimination and calibration"),
        ("/report/auroc_within", "Discrimination and calibration"),
        ("/report/roc", "Discrimination and calibration"),
        ("/report/reliability", "Discrimination and calibration"),
        ("/report/score_over_time", "Score over an episode of weak"),
        ("/report/instructive", "Instructive episodes"),
        ("/report/kill", "Kill criteria"),
        ("/report/killed", "Answer"),
        ("/report/disturbances", "Disturbances"),
        ("/forks_sha256", "Hindsight"),
        ("/report/hindsight", "Hindsight"),
    ] {
        // Only the report of a study with disturbances, or with forks, has a section on them.
        if [&written, &again].iter().all(|report| report.pointer(section).is_none()) {
            continue;
        }
        if written.pointer(section) != again.pointer(section) {
            wrong.push(format!(
                "{}: {section}: differs from the value computed from the store",
                folder.join(JSON).display()
            ));
        }
        say!("{section} was computed again from the store: covers \"{covers}\"");
    }
    if written != again && wrong.len() == before {
        wrong.push(format!("{}: has keys that the store does not give", folder.join(JSON).display()));
    }
    for (name, text) in &made.files {
        if read(name)? != *text {
            let path = folder.join(name);
            wrong.push(format!(
                "{}: differs from the page made of the figures; where another version of aegis wrote it, write it \
                 again with `aegis experiment report`",
                path.display()
            ));
        }
        say!("{name} was made again");
    }
    Ok(())
}
