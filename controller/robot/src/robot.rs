//! Robot files: which plant and which policies to use, and every setting of the controller. An unknown key or an invalid
//! value is refused with the file, the field, the value found and the values that are valid.

mod checks;
mod models;
mod reading;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aegis_core::control::{ChannelKind, ControlSettings, ControllerConfig};
use aegis_core::trigger::{Reach, Rule};
use aegis_core::{GateLimits, Heads, Observation, Policy, Probe, Schema, Start};
use aegis_files::sha256;
use aegis_link::{Endpoint, KeyExprs};
use aegis_policies::card::ModelCard;
use aegis_policies::inputs::TASK;
use aegis_probe::file::ProbeFile;
use aegis_probe::rules::RuleSettings;
use aegis_runtime::{Pace, RealTimeSettings};
use serde::Deserialize;

pub use checks::REST;
pub use models::{RobotModels, Strong};

use crate::collect::{ActivationTap, Tapped};
use crate::metrics;
use crate::plant_listener::Standing;
use aegis_failure::{Exit, Failure, OrExit, failure};

/// Contents of a robot file, which `aegis run` reads.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RobotFile {
    /// Name of the plant.
    pub plant: String,
    /// Zenoh endpoint of the process that serves the plant.
    #[serde(deserialize_with = "reading::endpoint")]
    pub connect: Endpoint,
    /// Folder of the controller's keys, relative to the robot file; required for TLS.
    pub keys: Option<PathBuf>,
    /// Folder for records, relative to the robot file. Each run makes its own folder in it.
    pub record: PathBuf,
    /// Whether each run saves the values of its observations and every camera's frames beside its record, for data sets.
    #[serde(default)]
    pub record_observations: bool,
    /// Weak policy, its backup and the probe, by files relative to the robot file.
    pub models: RobotModels,
    /// Set where the strong policy runs on another machine, served by `aegis serve-policy`.
    pub remote_strong: Option<RemoteStrong>,
    /// Settings of the controller.
    pub control: ControlSettings,
    /// Limits of the gate.
    pub gate: GateLimits,
    /// Alarm rule of the gate; its thresholds come from the probe file.
    pub rule: RuleSettings,
    /// Command at which the robot stands still, `[channels]`.
    pub rest: Vec<f32>,
    /// Whether the strong policy is asked for a chunk at every boundary, so that a hand-over never waits for an inference.
    #[serde(default)]
    pub ask_strong: bool,
    /// What begins a control period: the clock or the plant's observation.
    #[serde(default)]
    pub pace: Pace,
    /// Loopback address at which metrics are served for Prometheus; none are served without it.
    pub metrics: Option<SocketAddr>,
    /// What the control thread requests from the operating system, such as a real-time priority.
    #[serde(default)]
    pub real_time: RealTimeSettings,
    /// Starts of the episodes, in the order in which the episodes run.
    #[serde(deserialize_with = "reading::starts")]
    pub starts: Vec<Start>,
    /// For each channel, which of the plant's readings measures its position, such as `joint_positions/0` or `gripper_positions/1`.
    /// Empty for rate and discrete channels, which start at `rest`. Every position channel needs a reading.
    #[serde(default)]
    pub pose: Vec<String>,
}

/// One value of an observation.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Reading {
    feature: String,
    index: usize,
}

impl Reading {
    /// Parses `FEATURE/INDEX`.
    fn parse(text: &str) -> Option<Self> {
        let (feature, index) = text.rsplit_once('/')?;
        (!feature.is_empty()).then_some(Self { feature: feature.to_owned(), index: index.parse().ok()? })
    }
}

/// Settings of a strong policy on another machine.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoteStrong {
    /// Deadline for an answer, milliseconds; a later answer counts as missing.
    pub deadline_ms: f64,
}

impl RemoteStrong {
    /// Returns the deadline for an answer.
    pub fn deadline(self) -> Duration {
        Duration::from_secs_f64(self.deadline_ms / 1e3)
    }
}

/// What a robot file is read for.
#[derive(Clone, Copy, Debug)]
enum Purpose<'a> {
    /// A run of all its starts, under its own rule.
    Run,
    /// A collection of rollouts of the weak policy.
    Collect,
    /// One episode of one arm of a trial: from the start with this index, under this rule.
    Arm(usize, &'a RuleSettings),
}

/// A checked robot file with the cards and the probe that it names.
pub struct Robot {
    /// Path of the robot file.
    pub path: PathBuf,
    /// Contents of the robot file, its paths resolved against the file's folder.
    pub file: RobotFile,
    /// Configuration that the controller is made from.
    pub recipe: ControllerConfig,
    /// Probe that scores the weak policy's activations; a blank one in a collection of rollouts.
    pub probe: Heads,
    /// Graph output of the weak policy that the probe reads.
    pub tensor: String,
    /// SHA-256 of each model and of the probe file, by the role (`weak`, `strong`, `probe`).
    pub digests: BTreeMap<String, String>,
    /// What to warn of before the first episode, in words; empty for one arm of a trial, which they would tell from the others.
    pub warnings: Vec<String>,
    /// Cards of the weak policy and of the strong policy, if there is one.
    cards: Vec<ModelCard>,
    /// Reading that measures each channel's position, `[channels]`; `None` for rate and discrete channels.
    readings: Vec<Option<Reading>>,
    /// Set in a collection of rollouts: where the weak policy's activations go.
    tap: Option<ActivationTap>,
}

impl Robot {
    /// Reads a robot file, and the cards and the probe that the file names, and checks all of them.
    ///
    /// # Errors
    /// A file that cannot be read, or a setting that is not valid, with the file, the field and the values that are valid.
    pub fn load(path: &Path) -> Result<Self, Failure> {
        Self::read(path, Purpose::Run)
    }

    /// Reads a robot file for one episode of an arm of a trial: from the start with this index, under this rule in place of the file's.
    ///
    /// # Errors
    /// Those of [`load`](Self::load), and a start that the file does not have.
    pub fn load_arm(path: &Path, start: usize, rule: &RuleSettings) -> Result<Self, Failure> {
        Self::read(path, Purpose::Arm(start, rule))
    }

    /// Reads a robot file for a collection of rollouts of the weak policy: the gate never fires, and there need not be a probe.
    ///
    /// # Errors
    /// Those of [`load`](Self::load), but for the probe.
    pub fn load_to_collect(path: &Path) -> Result<Self, Failure> {
        Self::read(path, Purpose::Collect)
    }

    fn read(path: &Path, purpose: Purpose<'_>) -> Result<Self, Failure> {
        let collects = matches!(purpose, Purpose::Collect);
        let wrong = |reason: String| failure(Exit::Input, format!("{}: {reason}", path.display()));
        let text = aegis_files::read_text(path).map_err(|error| wrong(format!("cannot read: {error}")))?;
        let mut file = RobotFile::parse(&text).map_err(wrong)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let RobotModels { weak, strong, probe: probe_path } = &mut file.models;
        let card = match strong {
            Strong::Card(path) => Some(path),
            Strong::Operator(_) => None,
        };
        for named in [weak, probe_path, &mut file.record].into_iter().chain(card).chain(&mut file.keys) {
            *named = folder.join(&*named);
        }
        if let Some(keys) = file.keys.as_ref().filter(|keys| !keys.is_dir()) {
            let valid =
                "valid is the folder of this controller's keys, relative to the file; `aegis keys` makes one";
            return Err(wrong(format!("keys: found no folder {}; {valid}", keys.display())));
        }
        if file.starts.is_empty() {
            return Err(wrong("starts: found none; valid is 1 or more".into()));
        }
        if let Purpose::Arm(start, rule) = purpose {
            let Some(one) = file.starts.get(start).copied() else {
                let valid = format!("at least the {} that the trial needs", start + 1);
                return Err(wrong(format!("starts: found {}; valid is {valid}", file.starts.len())));
            };
            (file.starts, file.rule) = (vec![one], rule.clone());
        }
        if let Some(RemoteStrong { deadline_ms }) = file.remote_strong
            && !(deadline_ms > 0.0 && deadline_ms <= 60_000.0)
        {
            let valid = "valid is above 0, at most 60000";
            return Err(wrong(format!("remote_strong.deadline_ms: found {deadline_ms}; {valid}")));
        }
        let operator = file.models.strong.operator().cloned();
        if operator.is_some() && file.remote_strong.is_some() {
            let valid = "valid is none where models.strong is an operator";
            return Err(wrong(format!("remote_strong: found a deadline; {valid}")));
        }
        KeyExprs::of(&file.plant).map_err(|error| wrong(error.to_string()))?;
        if let Some(listen) = file.metrics {
            metrics::check(listen).map_err(|reason| wrong(format!("metrics: {reason}")))?;
        }
        file.real_time.validate().map_err(|(field, reason)| wrong(format!("real_time.{field}: {reason}")))?;
        file.rule.validate().map_err(|(field, reason)| wrong(format!("rule.{field}: {reason}")))?;
        let (mut horizons, mut digests, mut loaded) = (Vec::new(), BTreeMap::new(), Vec::new());
        let strong = file.models.strong.card().map(|path| ("strong", path));
        for (role, card_path) in [("weak", &file.models.weak)].into_iter().chain(strong) {
            let card = ModelCard::load(card_path).or_exit(Exit::Input)?;
            let found = card.chunk.width;
            let expected = file.control.channels.len();
            if found != expected {
                let field = format!("control.channels: found {expected}");
                return Err(wrong(format!("{field}; valid is the {found} of {}", card_path.display())));
            }
            digests.insert(role.to_owned(), card.model_sha256());
            horizons.push(card.chunk.steps());
            loaded.push(card);
        }
        // A person sends single commands, which bound no chunk.
        let horizons = [horizons[0], horizons[horizons.len() - 1]];
        let (tensor, width) = {
            let spec = loaded[0].probed().or_exit(Exit::Input)?;
            (spec.tensor.clone(), spec.width)
        };
        let mut warnings = Vec::new();
        let (probe, rule) = if collects {
            file.ask_strong = false;
            (Probe::blank(width).into(), Rule::Never {})
        } else {
            let digest = sha256(&file.models.probe).map_err(|error| {
                failure(
                    Exit::Input,
                    format!(
                        "{}: cannot read: {error}; valid is a probe file, which `aegis collect --robot` and `aegis probe fit` make",
                        file.models.probe.display()
                    ),
                )
            })?;
            let probe = probe(&file.models)?;
            digests.insert("probe".into(), digest);
            probe.check_rule(&file.models.probe, &file.rule, &file.gate).or_exit(Exit::Input)?;
            let rule = file.rule.rule(&probe.calibration, probe.settings.trend_window);
            let chunk_steps = probe.chunk_steps;
            let (set_at, used_at) =
                (chunk_steps.unwrap_or(loaded[0].chunk.steps() as u32), file.gate.chunk_steps);
            if set_at != used_at {
                warnings.push(format!(
                    "{}: its thresholds were set at boundaries {set_at} control steps apart, and gate.chunk_steps of {} is {used_at}: fires \
                     come more or less often than in calibration",
                    file.models.probe.display(),
                    path.display()
                ));
            }
            if rule.reach() != Reach::Reachable {
                warnings.push(format!(
                    "{}: rule: nothing exceeds the threshold that {} has for it, so the gate never fires",
                    path.display(),
                    file.models.probe.display()
                ));
            }
            (probe.heads(), rule)
        };
        if matches!(purpose, Purpose::Arm(..)) {
            warnings.clear();
        }
        let recipe = ControllerConfig {
            settings: file.control.clone(),
            limits: file.gate.clone(),
            rule,
            horizons,
            rest: file.rest.clone(),
            ask_strong: file.ask_strong,
            take_over: None,
            operator,
        };
        recipe.controller().map_err(|error| wrong(error.to_string()))?;
        checks::check(&file.control).map_err(wrong)?;
        checks::check_cameras(&file.control, &loaded).map_err(wrong)?;
        let readings = readings(&file).map_err(wrong)?;
        let tap = collects.then(ActivationTap::default);
        let path = path.to_owned();
        Ok(Self { path, digests, probe, tensor, recipe, file, warnings, cards: loaded, readings, tap })
    }

    /// Returns where the weak policy's activations go in a collection of rollouts; nothing arrives there in other runs.
    pub fn tap(&self) -> ActivationTap {
        self.tap.clone().unwrap_or_default()
    }

    /// Returns the weak policy as the run uses it.
    pub(crate) fn tapped(&self) -> impl FnOnce(Box<dyn Policy>) -> Box<dyn Policy> + Send + 'static {
        let tap = self.tap.clone();
        move |policy| match tap {
            Some(tap) => Box::new(Tapped::new(policy, tap)),
            None => policy,
        }
    }

    /// Returns of the weak and of the strong policy whether it reads camera pictures.
    pub fn reads_pictures(&self) -> [bool; 2] {
        let reads = |card: usize| self.cards.get(card).is_some_and(|card| card.images().next().is_some());
        [reads(0), reads(1)]
    }

    /// Checks that both policies know every task that the robot file starts, on a plant with this schema.
    ///
    /// # Errors
    /// The field of a card that has too few classes.
    pub fn check_tasks(&self, schema: &Schema) -> Result<(), Failure> {
        // A plant with a feature of that name gives its own numbers.
        let Some(largest) = self.file.starts.iter().map(|start| start.task).max() else { return Ok(()) };
        if schema.range(TASK).is_some() {
            return Ok(());
        }
        let of = format!("{} starts task {largest}", self.path.display());
        self.cards.iter().try_for_each(|card| card.check_task(largest, &of)).or_exit(Exit::Input)
    }

    /// Returns the plant's measured pose from an observation, `[channels]`: measured positions for position channels, and
    /// the `rest` value for the others.
    ///
    /// # Errors
    /// A reading that the plant does not report.
    pub fn pose(&self, observation: &Observation) -> Result<Vec<f32>, Failure> {
        stands(&self.readings, &self.file.rest, observation).map_err(|(channel, found)| {
            let (name, plant) = (&self.file.pose_names()[channel], &self.file.plant);
            let reason = format!("pose: found {name:?}; plant {plant} reports {found} of these");
            failure(Exit::Input, format!("{}: {reason}", self.path.display()))
        })
    }

    /// Returns the function that measures positions while the robot moves. The function always returns `None` where the
    /// robot file does not bound the distance between positions and their commands, and `None` for an observation without a
    /// named reading.
    pub fn standing(&self) -> Standing {
        if self.file.control.follow_within.is_infinite() {
            return Box::new(|_| None);
        }
        let (readings, rest) = (self.readings.clone(), self.file.rest.clone());
        Box::new(move |observation| stands(&readings, &rest, observation).ok())
    }
}

/// Returns the measured pose from an observation, `[channels]`: measured positions where a reading is named, and `rest` for
/// the other channels. Otherwise returns the first channel whose reading is missing, and how many readings of that kind the
/// plant reports.
fn stands(
    readings: &[Option<Reading>],
    rest: &[f32],
    observation: &Observation,
) -> Result<Vec<f32>, (usize, usize)> {
    let pose = readings.iter().zip(rest).enumerate().map(|(channel, (reading, rest))| {
        let Some(Reading { feature, index }) = reading else { return Ok(*rest) };
        let values = observation.feature(feature).unwrap_or_default();
        values.get(*index).map(|value| *value as f32).ok_or((channel, values.len()))
    });
    pose.collect()
}

impl RobotFile {
    /// Parses the text of a robot file.
    fn parse(text: &str) -> Result<Self, String> {
        let file = toml::from_str(text).map_err(|error| reading::plain(&error))?;
        reading::check_numbers(text)?;
        Ok(file)
    }

    /// Returns `pose`, or one empty name per channel where the file has no `pose`.
    fn pose_names(&self) -> Vec<String> {
        if self.pose.is_empty() {
            vec![String::new(); self.control.channels.len()]
        } else {
            self.pose.clone()
        }
    }
}

/// Returns the reading that measures each channel's position, `[channels]`.
///
/// # Errors
/// A wrong number of names, a name that does not fit the kind of its channel, a reading that is named twice, or a position
/// channel without `start_within` and `follow_within`.
fn readings(file: &RobotFile) -> Result<Vec<Option<Reading>>, String> {
    let (names, channels) = (file.pose_names(), &file.control.channels);
    if names.len() != channels.len() {
        let (found, valid) = (names.len(), channels.len());
        return Err(format!("pose: found {found} names; valid is one for each of {valid} channels"));
    }
    let positions = channels.iter().any(|channel| channel.kind == ChannelKind::Position);
    if positions && file.control.start_within.is_infinite() {
        return Err("control.start_within: found none, or inf; a robot with position channels needs how far from rest it \
                    may start, for example 0.1"
            .into());
    }
    if positions && file.control.follow_within.is_infinite() {
        return Err("control.follow_within: found none, or inf; a robot with position channels needs how far a position may be \
                    from its command before the robot counts as not following, for example 0.1"
            .into());
    }
    let each = names.iter().zip(channels).enumerate();
    let readings: Result<Vec<_>, String> = each
        .map(|(index, (name, channel))| match (Reading::parse(name), channel.kind) {
            (Some(reading), ChannelKind::Position) => Ok(Some(reading)),
            (None, ChannelKind::Rate | ChannelKind::Discrete) if name.is_empty() => Ok(None),
            (_, ChannelKind::Position) => {
                let valid = "FEATURE/N, a feature of the plant and the number of one of its values: where this position is read";
                Err(format!("pose[{index}]: found {name:?}; valid is {valid}"))
            }
            (_, ChannelKind::Rate | ChannelKind::Discrete) => {
                Err(format!("pose[{index}]: found {name:?}; valid is \"\": this channel is no position"))
            }
        })
        .collect();
    let readings = readings?;
    for (index, name) in names.iter().enumerate() {
        let earlier =
            readings[..index].iter().position(|earlier| earlier.is_some() && *earlier == readings[index]);
        if let Some(earlier) = earlier {
            return Err(format!(
                "pose[{index}]: found {name:?}, which is pose[{earlier}] too; valid is a reading of its own for each position"
            ));
        }
    }
    Ok(readings)
}

/// Loads the probe of these models, and checks that it was fitted on the weak model, its tensor and width.
fn probe(models: &RobotModels) -> Result<ProbeFile, Failure> {
    let card = ModelCard::load(&models.weak).or_exit(Exit::Input)?;
    let spec = card.probed().or_exit(Exit::Input)?;
    ProbeFile::load(&models.probe, &card.model_sha256(), &spec.tensor, spec.width).or_exit(Exit::Input)
}

#[cfg(test)]
mod tests;
