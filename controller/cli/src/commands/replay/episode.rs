//! `aegis replay` of a study's episode: chooses the episode and shows it.
//! Without --episode, the first episode is shown that the study's report links to and in which the gate fired.

use std::ops::RangeInclusive;
use std::path::Path;

use aegis_core::EpisodeKey;
use aegis_core::Start;
use aegis_experiments::episode::arm::AEGIS;
use aegis_experiments::run::runner;
use aegis_recorder::Target;
use clap::Args;

use super::shown;
use super::stored::{How, Stored};
use crate::commands::experiment::Registered;
use crate::exit::{Exit, Failure, failure, say};
use crate::host::HostArguments;
use crate::recording;

/// Arguments that choose an episode of a study.
#[derive(Args)]
pub struct EpisodeArguments {
    #[command(flatten)]
    registered: Registered,
    /// Task and initial state of a study's episode; without it, the recovery with the least help
    #[arg(long, value_name = "TASK/STATE[/REPLICATE]", value_parser = key)]
    episode: Option<EpisodeKey>,
    /// Arm of a study's episode
    #[arg(long, value_name = "NAME", default_value = AEGIS)]
    arm: String,
    /// Do not show the weak policy's twin
    #[arg(long)]
    no_twin: bool,
    /// Open on these control steps of a study's episode, and play them in a loop
    #[arg(long = "loop", value_name = "FIRST-LAST", value_parser = steps)]
    looped: Option<RangeInclusive<u32>>,
    #[command(flatten)]
    host: HostArguments,
}

/// Shows an episode of the study in `folder`.
pub fn show(folder: &Path, arguments: &EpisodeArguments, to: Target) -> Result<(), Failure> {
    let stored = Stored::open(folder, &arguments.registered, &arguments.host)?;
    stored.check_arm(&arguments.arm)?;
    let wrong = |reason: &str| failure(Exit::Input, format!("{}: --episode: {reason}", folder.display()));
    let key = match arguments.episode {
        Some(key) => key,
        None if arguments.arm == AEGIS => recording::most_instructive(&stored.results)
            .map(|one| one.key)
            .ok_or_else(|| wrong("missing; valid is TASK/STATE, because no episode of this arm has fired"))?,
        None => {
            let valid = "valid is TASK/STATE, such as 3/641; only for arm aegis may it be left out";
            return Err(wrong(&format!("missing; {valid}")));
        }
    };
    let result = stored.result(key, &arguments.arm)?;
    let how = How { twin: !arguments.no_twin, looped: arguments.looped.clone() };
    stored.draw(result, &how, to.clone())?;
    say!("{}{}", runner::describe(result.key, result.arm.as_str()), shown(&to));
    Ok(())
}

/// Parses the key of a study's episode, as `3/641`.
pub fn key(text: &str) -> Result<EpisodeKey, String> {
    let numbers: Result<Vec<usize>, _> = text.split('/').map(str::parse).collect();
    let (task, initial_state, replicate) = match numbers.as_deref() {
        Ok([task, initial_state]) => (*task, *initial_state, 0),
        Ok([task, initial_state, replicate]) => (*task, *initial_state, *replicate as u64),
        _ => return Err("valid is TASK/STATE, such as 3/641".into()),
    };
    Ok(EpisodeKey { start: Start { task, initial_state }, replicate })
}

fn steps(text: &str) -> Result<RangeInclusive<u32>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) if first <= last => Ok(first..=last),
        _ => Err("valid is FIRST-LAST, such as 60-120, or one control step".into()),
    }
}
