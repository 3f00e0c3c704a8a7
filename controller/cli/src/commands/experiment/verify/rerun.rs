//! Runs stored sets again for `aegis experiment verify --rerun`: draws the sets, runs them, and reports what differs.

use std::path::Path;
use std::str::FromStr;

use aegis_experiments::run::rerun::{Job, draw, rerun};
use clap::Args;

use super::traces::Kept;
use crate::commands::experiment::Registered;
use crate::exit::{Exit, Failure, OrExit, say, tell};
use crate::host::HostArguments;
use crate::progress;
use crate::remote::RemoteArguments;
use crate::study_loader::{Study, StudyArguments, default_workers};

/// Number of sets to run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// Every set that is stored.
    All,
    /// This many of the stored sets.
    Some(usize),
}

impl FromStr for Amount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse()) {
            ("all", _) => Ok(Self::All),
            (_, Ok(count)) if count > 0 => Ok(Self::Some(count)),
            _ => Err(format!("found {text}; valid is a number from 1 on, or all")),
        }
    }
}

/// Arguments of running sets again.
#[derive(Args)]
pub struct RerunArguments {
    /// Run this many stored sets of twins again, or all, and compare every bit with the store
    #[arg(long, value_name = "N|all")]
    rerun: Option<Amount>,
    /// Seed by which the sets to run again are drawn
    #[arg(long, value_name = "N", default_value_t = 1, requires = "rerun")]
    seed: u64,
    /// Worker threads for sets that are run again; results do not depend on it
    #[arg(long, value_name = "N", default_value_t = default_workers(), requires = "rerun")]
    workers: usize,
    #[command(flatten)]
    host: HostArguments,
    #[command(flatten)]
    remote: RemoteArguments,
}

/// Runs the requested sets again. Returns the differences, one line for each set.
pub fn run(
    arguments: &RerunArguments,
    registered: &Registered,
    stores: &[Kept],
) -> Result<Vec<String>, Failure> {
    let Some(amount) = arguments.rerun else { return Ok(Vec::new()) };
    let study = Study::open(&StudyArguments {
        plan: Some(registered.plan.clone()),
        workers: arguments.workers,
        host: arguments.host.clone(),
        remote: arguments.remote.clone(),
    })?;
    study.check_models()?;
    let probe = study.probe()?.heads();
    let all: Vec<Job<'_>> = stores.iter().flat_map(jobs).collect();
    let total = all.len();
    let count = match amount {
        Amount::All => total,
        Amount::Some(count) => count,
    };
    let drawn = draw(count, total, arguments.seed);
    let mut places = drawn.iter().copied().peekable();
    let jobs: Vec<Job<'_>> = all
        .into_iter()
        .enumerate()
        .filter_map(|(place, job)| places.next_if_eq(&place).map(|_| job))
        .collect();
    let bar = progress::bar("sets run again", jobs.len());
    let found = rerun(
        &jobs,
        study.workers(),
        &study.settings(),
        &|worker| study.context(worker, &probe),
        &progress::follow(&bar),
    );
    bar.finish_and_clear();
    let found: Vec<Option<String>> = found.or_exit(Exit::Failed)?;
    let differences: Vec<String> =
        jobs.iter().zip(found).filter_map(|(job, one)| one.map(|one| named(job.folder, &one))).collect();
    let by = match amount {
        Amount::All => "all".to_owned(),
        Amount::Some(_) => format!("drawn by seed {}", arguments.seed),
    };
    let (run, equal) = (jobs.len(), jobs.len() - differences.len());
    say!("{run} of {total} stored sets were run again, {by}: {equal} equal the stored ones, bit for bit");
    if !differences.is_empty() {
        tell!("bits may differ on another kind of processor, or with another provider or number of threads");
    }
    Ok(differences)
}

fn jobs(kept: &Kept) -> impl Iterator<Item = Job<'_>> {
    kept.sets.iter().map(|set| Job { folder: &kept.folder, set, arms: &kept.arms })
}

fn named(folder: &Path, difference: &str) -> String {
    format!("{}: {difference}", folder.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_a_number_or_all() {
        assert_eq!("all".parse(), Ok(Amount::All));
        assert_eq!("12".parse(), Ok(Amount::Some(12)));
        for text in ["0", "-1", "some", "", "1.5"] {
            let error = text.parse::<Amount>().expect_err(text);
            assert!(error.contains("valid is a number from 1 on, or all"), "{error}");
        }
    }
}
