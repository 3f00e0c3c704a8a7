//! `aegis experiment verify`: a report held against the registration, the store, and every digest.
//! Each line says what was checked and what of the report it covers.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use aegis_experiments::experiment::read_trace;
use aegis_experiments::precondition;
use aegis_experiments::registration::Lock;
use aegis_experiments::store::Store;
use clap::Args;
use serde_json::Value;

use super::report::{JSON, SEAL, make};
use super::{Registered, belongs, store_path};
use crate::exit::{Exit, Failure, OrExit, failure, say};
use crate::files::digest;

/// Arguments of `aegis experiment verify`.
#[derive(Args)]
#[command(after_help = "Example: aegis experiment verify runs/study --plan experiments/study.toml")]
pub struct VerifyArguments {
    /// Folder of store and report
    folder: PathBuf,
    #[command(flatten)]
    registered: Registered,
    /// Leave the step traces out, where only stores and report were kept
    #[arg(long)]
    without_traces: bool,
}

/// Runs the verb.
pub fn run(arguments: &VerifyArguments) -> Result<(), Failure> {
    let folder = &arguments.folder;
    let (plan, lock) = arguments.registered.hold()?;
    say!(
        "plan, models, probe, scenes and versions are as registered: covers \"What this belongs to\" and \"Policies and \
         probe\" to \"Versions\""
    );
    let mut wrong: Vec<String> = Vec::new();
    let store_file = store_path(folder);
    let read = |name: &str| {
        let path = folder.join(name);
        std::fs::read_to_string(&path).map_err(|error| {
            let reason = match error.kind() {
                ErrorKind::NotFound => "found no file; valid is what `aegis experiment report` wrote".into(),
                _ => format!("cannot read: {error}"),
            };
            failure(Exit::Input, format!("{}: {reason}", path.display()))
        })
    };
    let (sealed, found) = (read(SEAL)?.trim().to_owned(), digest(&store_file)?);
    if sealed != found {
        wrong.push(format!("{}: SHA-256 is {found}, sealed {sealed}", store_file.display()));
    }
    say!("the store's bytes were compared with their seal: covers every figure");
    if !arguments.without_traces {
        wrong.extend(compare_traces(folder, &lock, "Audit")?);
        if plan.precondition().is_some() {
            wrong.extend(compare_traces(&folder.join(precondition::FOLDER), &lock, "What this belongs to")?);
        }
    }
    let made = make(folder, &plan, &lock)?;
    // Both out of text, so that equal texts are equal values.
    let parse = |text: &str| -> Result<Value, Failure> {
        let named = |error| failure(Exit::Input, format!("{}: {error}", folder.join(JSON).display()));
        serde_json::from_str(text).map_err(named)
    };
    let (written, again) = (parse(&read(JSON)?)?, parse(made.text(JSON))?);
    for (section, covers) in [
        ("/registration", "What this belongs to"),
        ("/results_sha256", "every figure"),
        ("/precondition", "What this belongs to"),
        ("/interruptions", "What this belongs to"),
        ("/report/audit", "Audit"),
        ("/report/arms", "Arms, When help began and By task"),
        ("/report/duty_of", "Budgets"),
        ("/report/contrasts", "Answer, Contrasts and Budgets"),
        ("/report/tolerance", "Budgets"),
        ("/report/auroc", "What the early score is worth"),
        ("/report/auroc_within", "What the early score is worth"),
        ("/report/roc", "What the early score is worth"),
        ("/report/reliability", "What the early score is worth"),
        ("/report/score_over_time", "The score along the weak path"),
        ("/report/instructive", "Episodes to look at"),
        ("/report/kill", "Kill criteria"),
        ("/report/killed", "Answer"),
    ] {
        if written.pointer(section) != again.pointer(section) {
            wrong.push(format!("{}: {section}: is not what the store gives", folder.join(JSON).display()));
        }
        say!("{section} was made again from the store: covers \"{covers}\"");
    }
    if written != again && wrong.is_empty() {
        wrong.push(format!("{}: holds something that the store does not give", folder.join(JSON).display()));
    }
    for (name, text) in &made.files {
        if read(name)? != *text {
            let path = folder.join(name);
            wrong.push(format!(
                "{}: is not what the figures give; where another version of aegis wrote it, `aegis experiment report` \
                 writes it again",
                path.display()
            ));
        }
        say!("{name} was made again");
    }
    if wrong.is_empty() {
        say!("{}: verified", folder.display());
        return Ok(());
    }
    Err(failure(Exit::Failed, wrong.join("\n")))
}

/// Holds every step trace of a folder against its store; returns what is wrong.
fn compare_traces(folder: &Path, lock: &Lock, covers: &str) -> Result<Vec<String>, Failure> {
    let store = Store::read(&store_path(folder), belongs(lock)).or_exit(Exit::Input)?;
    let traces = store.traces().or_exit(Exit::Input)?;
    say!("{} step traces were compared with the store: covers \"{covers}\"", traces.len());
    let errors = traces.iter().filter_map(|(key, sealed)| read_trace(folder, *key, sealed).err());
    Ok(errors.map(|error| error.to_string()).collect())
}
