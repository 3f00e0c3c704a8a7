//! Reads everything that a trial depends on: its plan, the robot file, the lock, and the log of attempts in its folder.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use aegis_core::Rule;
use aegis_experiments::data::field_log;
use aegis_experiments::data::lock_file::lock_path;
use aegis_experiments::episode::arm::ArmName;
use aegis_experiments::field::analysis::{FieldReport, Trial, analyse};
use aegis_experiments::field::attempts::Attempts;
use aegis_experiments::field::log::{Entries, Entry};
use aegis_experiments::field::plan::FieldPlan;
use aegis_experiments::field::schedule::{Episode, schedule};
use aegis_experiments::plan::registration::{Frozen, Lock, NamedFile, Scenes};
use aegis_files::toml_file;
use aegis_probe::rules::RuleSettings;
use aegis_robot::{Robot, RobotFile, RobotModels};
use clap::Args;
use serde_json::{Value, json};

use crate::commands::plan::discovery::{models, versions};
use crate::exit::{Exit, Failure, OrExit, failure};
use crate::files::{digest, text};

/// Name of the folder of records in a trial's folder.
pub const RECORDS: &str = "records";
/// Name of the record in an attempt's folder.
pub const RUN_FILE: &str = "run.aegis";

/// The plan of a trial and its lock.
#[derive(Args)]
pub struct PlanArguments {
    /// The plan of the trial
    pub plan: PathBuf,
    /// Its lock; PLAN with .lock.toml when left out
    #[arg(long, value_name = "FILE")]
    lock: Option<PathBuf>,
}

impl PlanArguments {
    /// Returns the path of the lock.
    pub fn lock(&self) -> PathBuf {
        self.lock.clone().unwrap_or_else(|| lock_path(&self.plan))
    }

    /// Reads the plan and the robot file that it names.
    ///
    /// # Errors
    /// A file that cannot be read or used, or that does not fit the others.
    pub fn open(&self) -> Result<Planned, Failure> {
        let path = &self.plan;
        let plan =
            FieldPlan::parse(&toml_file::text(path).or_exit(Exit::Input)?, path).or_exit(Exit::Input)?;
        let robot_file = plan.robot_file(path);
        let robot = Robot::load(&robot_file)?;
        let RobotFile { starts, rule, gate, .. } = &robot.file;
        plan.check_robot(path, starts.len(), rule, gate).or_exit(Exit::Input)?;
        // Every arm's controller, so that none is refused in the middle of the trial.
        let mut rules = BTreeMap::new();
        for arm in &plan.arms {
            let rule = plan.rule(arm, rule).unwrap_or(RuleSettings::Never {});
            let of_arm = Robot::load_arm(&robot_file, 0, &rule)
                .map_err(|error| error.prefixed(format_args!("{}: arm {arm}", path.display())))?;
            rules.insert(arm.clone(), of_arm.recipe.rule);
        }
        let schedule = schedule(&plan, starts.len());
        Ok(Planned { path: path.clone(), plan, robot_file, robot, rules, schedule })
    }

    /// Reads the plan, and its lock, and compares all files with the lock.
    ///
    /// # Errors
    /// As [`open`](Self::open), a missing lock, and every difference from the lock.
    pub fn registered(&self) -> Result<(Planned, Lock), Failure> {
        let (planned, place) = (self.open()?, self.lock());
        let (plan, lock_file) = (self.plan.display(), place.display());
        if !place.exists() {
            let valid =
                format!("valid is that of a registered plan, which `aegis trial register {plan}` makes");
            return Err(failure(Exit::Input, format!("{lock_file}: found no lock; {valid}")));
        }
        let lock = Lock::load(&place).or_exit(Exit::Input)?;
        let differences = lock.compare(&planned.frozen()?);
        if !differences.is_empty() {
            let lines: Vec<String> = differences.iter().map(|one| format!("\n  {one}")).collect();
            let advice = format!("restore it, or say why with `aegis trial amend {plan} --why TEXT`");
            let message = format!(
                "{plan}: not as registered in {lock_file} on {}; {advice}:{}",
                lock.created,
                lines.concat()
            );
            return Err(failure(Exit::Input, message));
        }
        Ok((planned, lock))
    }
}

/// A plan with its robot file.
pub struct Planned {
    /// Path of the plan.
    pub path: PathBuf,
    /// The plan.
    pub plan: FieldPlan,
    /// Path of the robot file.
    pub robot_file: PathBuf,
    /// The robot file with what it names.
    pub robot: Robot,
    /// Rule of each arm, with the thresholds of the robot file's probe.
    rules: BTreeMap<ArmName, Rule>,
    /// Order of the episodes.
    pub schedule: Vec<Episode>,
}

impl Planned {
    /// Checks that the trial can answer its question, before it is frozen.
    ///
    /// # Errors
    /// A setting that determines the result before the first episode.
    pub fn check_answers(&self) -> Result<(), Failure> {
        let RobotFile { rule, gate, .. } = &self.robot.file;
        let of_arm = |arm: &ArmName| self.rules.get(arm).cloned().unwrap_or(Rule::Never {});
        self.plan.check_answers(&self.path, rule, gate, of_arm).or_exit(Exit::Input)
    }

    /// Returns everything that a registration freezes, as it is now.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn frozen(&self) -> Result<Frozen, Failure> {
        let (written, there) = (self.written_models()?, &self.robot.file.models);
        let strong = written.strong.card().zip(there.strong.card());
        let mut files = models(
            (&written.weak, &there.weak),
            strong.map(|(written, there)| (&**written, &**there)),
            (&written.probe, &there.probe),
        )?;
        let robot =
            NamedFile { file: self.plan.robot.display().to_string(), sha256: digest(&self.robot_file)? };
        files.insert("robot file".into(), robot);
        let trial: Value = serde_json::to_value(&self.plan).or_exit(Exit::Input)?;
        let settings =
            json!({ "trial": trial, "plant": self.robot.file.plant, "starts": self.robot.file.starts });
        Ok(Frozen::of(settings, versions()?, files, Scenes::new(String::new(), Default::default())))
    }

    /// Returns the models' paths as the robot file has them.
    fn written_models(&self) -> Result<RobotModels, Failure> {
        let path = &self.robot_file;
        let table: toml::Table = toml_file::parse(&text(path)?, path).or_exit(Exit::Input)?;
        let models = table.get("models").cloned().unwrap_or(toml::Value::Table(toml::Table::new()));
        models
            .try_into()
            .map_err(|error| failure(Exit::Input, format!("{}: models: {error}", path.display())))
    }

    /// Returns the rule under which an episode runs.
    pub fn rule(&self, episode: &Episode) -> RuleSettings {
        let rule = if episode.obeys { self.plan.rule(&episode.arm, &self.robot.file.rule) } else { None };
        rule.unwrap_or(RuleSettings::Never {})
    }

    /// Reads the robot file for one episode.
    ///
    /// # Errors
    /// As [`Robot::load_arm`].
    pub fn robot(&self, episode: &Episode) -> Result<Robot, Failure> {
        Robot::load_arm(&self.robot_file, episode.start, &self.rule(episode))
    }

    /// Follows the entries of a log.
    ///
    /// # Errors
    /// The first entry that does not follow from the plan. `folder` is the trial's, for the message.
    pub fn attempts(&self, folder: &Path, entries: &[Entry]) -> Result<Attempts, Failure> {
        Attempts::of(&self.plan, &self.schedule, &self.robot.file.starts, entries).map_err(
            |(index, reason)| {
                let log = folder.join(field_log::LOG);
                failure(Exit::Input, format!("{}: line {}: {reason}", log.display(), index + 1))
            },
        )
    }

    /// Reads the log in a trial's folder.
    ///
    /// # Errors
    /// A folder that is missing, and a log that is not of this plan.
    pub fn log(&self, folder: &Path, lock: &Lock) -> Result<(Entries, Attempts), Failure> {
        if !folder.is_dir() {
            let valid = "valid is the folder that `aegis trial run --out` was given";
            return Err(failure(Exit::Input, format!("{}: found no folder; {valid}", folder.display())));
        }
        let entries = field_log::load(folder, &lock.seal).or_exit(Exit::Input)?;
        let attempts = self.attempts(folder, &entries.entries)?;
        Ok((entries, attempts))
    }

    /// Computes the figures of a trial.
    ///
    /// # Errors
    /// Those of the statistics.
    pub fn report(&self, lock: &Lock, log: &Entries, attempts: &Attempts) -> Result<FieldReport, Failure> {
        let trial = Trial {
            plan: &self.plan,
            lock,
            log: &log.head,
            plant: &self.robot.file.plant,
            starts: &self.robot.file.starts,
            schedule: &self.schedule,
            attempts,
            entries: &log.entries,
        };
        analyse(trial).or_exit(Exit::Failed)
    }
}

/// Returns what is in a trial's folder of records and belongs to no attempt of its log.
///
/// # Errors
/// A folder that cannot be read.
pub fn unknown_records(folder: &Path, entries: &[Entry]) -> Result<Vec<PathBuf>, Failure> {
    let known: BTreeSet<&str> = entries
        .iter()
        .filter_map(|entry| match entry {
            Entry::Begun { folder, .. } => Some(folder.as_str()),
            _ => None,
        })
        .collect();
    let place = folder.join(RECORDS);
    let failed = |error| failure(Exit::Failed, format!("{}: cannot read: {error}", place.display()));
    let found = match std::fs::read_dir(&place) {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut unknown = Vec::new();
    for entry in found {
        let entry = entry.map_err(failed)?;
        if !entry.file_name().to_str().is_some_and(|name| known.contains(name)) {
            unknown.push(entry.path());
        }
    }
    unknown.sort();
    Ok(unknown)
}
