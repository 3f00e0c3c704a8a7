//! An episode of a study, run again beside its weak twin and drawn.
//! Without a name, the one that shows most: a recovery with the least help.

use std::path::Path;

use aegis_core::Start;
use aegis_experiments::arm::{AEGIS, WEAK};
use aegis_experiments::episode::EpisodeResult;
use aegis_experiments::store::Store;
use aegis_experiments::{EpisodeKey, fork, runner};
use aegis_recorder::{Film, Sink, Target};
use clap::Args;

use super::shown;
use crate::exit::{Exit, Failure, OrExit, failure, say};
use crate::experiment::{Registered, arms, belongs, store_path};
use crate::host::HostArguments;
use crate::recording;
use crate::study::{Study, StudyArguments};

/// Which episode of a study.
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
    /// Leave the weak policy's own episode out
    #[arg(long)]
    no_twin: bool,
    #[command(flatten)]
    host: HostArguments,
}

/// Shows an episode of the study in `folder`.
pub fn show(folder: &Path, arguments: &EpisodeArguments, to: Target) -> Result<(), Failure> {
    let (_, lock) = arguments.registered.hold()?;
    let store = Store::read(&store_path(folder), belongs(&lock)).or_exit(Exit::Input)?;
    let results = store.results().or_exit(Exit::Input)?;
    let study = Study::open(&StudyArguments {
        plan: Some(arguments.registered.plan.clone()),
        workers: 1,
        host: arguments.host.clone(),
    })?;
    let (probe, arms) = arms(&study)?;
    let settings = study.settings();
    let result = choose(folder, arguments, &results, settings.gate.hold_steps())?;
    let sink = Sink::open(to.clone()).or_exit(Exit::Failed)?;
    let film = |result: &EpisodeResult| -> Result<Film, Failure> {
        let arm = arms.iter().find(|arm| arm.name == result.arm);
        let arm =
            arm.ok_or_else(|| failure(Exit::Input, format!("{}: the plan has no such arm", result.arm)))?;
        let twins = results.iter().filter(|twin| twin.key == result.key);
        let drawn = fork::draw(arm, twins, result.key, &settings).or_exit(Exit::Failed)?;
        let is_stored = |found: &EpisodeResult| store.holds(found).or_exit(Exit::Input);
        recording::film(&study, &probe, &drawn, &settings, result.key, &is_stored)
    };
    let weak = recording::weak_twin(&results, result.key);
    let weak = weak.filter(|_| !arguments.no_twin && result.arm != *WEAK);
    let twin = weak.map(&film).transpose()?;
    film(result)?.draw(twin.as_ref(), sink).or_exit(Exit::Failed)?;
    say!("{}{}", runner::describe(result.key, result.arm.as_str()), shown(&to));
    Ok(())
}

fn choose<'a>(
    folder: &Path,
    arguments: &EpisodeArguments,
    results: &'a [EpisodeResult],
    hold_steps: u32,
) -> Result<&'a EpisodeResult, Failure> {
    let Some(key) = arguments.episode else {
        let chosen = recording::most_instructive(results, hold_steps);
        let chosen = chosen.filter(|_| arguments.arm == AEGIS).map(|chosen| chosen.result);
        let reason = "--episode: needed, for no episode of this arm has fired";
        return chosen.ok_or_else(|| failure(Exit::Input, format!("{}: {reason}", folder.display())));
    };
    let found = results.iter().find(|result| result.key == key && result.arm == *arguments.arm.as_str());
    found.ok_or_else(|| {
        let mut names: Vec<&str> = results.iter().map(|result| result.arm.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let what = runner::describe(key, &arguments.arm);
        let reason = format!("{what} is not in it; valid arms are {}", names.join(", "));
        failure(Exit::Input, format!("{}: {reason}", folder.display()))
    })
}

fn key(text: &str) -> Result<EpisodeKey, String> {
    let numbers: Result<Vec<usize>, _> = text.split('/').map(str::parse).collect();
    let (task, initial_state, replicate) = match numbers.as_deref() {
        Ok([task, initial_state]) => (*task, *initial_state, 0),
        Ok([task, initial_state, replicate]) => (*task, *initial_state, *replicate as u64),
        _ => return Err("valid is TASK/STATE, as 3/641".into()),
    };
    Ok(EpisodeKey { start: Start { task, initial_state }, replicate })
}
