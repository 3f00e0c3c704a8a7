//! A robot file: which plant, which policies, and every number that decides what the controller does with them.
//! Unknown keys and impossible values are refused with file, field, what was found and what would be valid.

mod checks;
mod reading;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aegis_core::control::{ChannelKind, ControlSettings, ControllerConfig};
use aegis_core::{GateLimits, Observation, Probe, Proprioception, Start};
use aegis_experiments::plan::Models;
use aegis_experiments::probe::file::ProbeFile;
use aegis_experiments::probe::rules::RuleSettings;
use aegis_link::{Endpoint, KeyExprs};
use aegis_policies::card::ModelCard;
use aegis_runtime::{Pace, RealTimeSettings};
use serde::Deserialize;

use super::metrics;
use super::plant_listener::Standing;
use crate::exit::{Exit, Failure, OrExit, failure};
use crate::files::digest;
use crate::study_loader::probe;

/// What `aegis run` reads.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RobotFile {
    /// Name of the plant.
    pub plant: String,
    /// Zenoh endpoint of whoever serves it.
    #[serde(deserialize_with = "reading::endpoint")]
    pub connect: Endpoint,
    /// Folder of the controller's keys, relative to the file; TLS needs them.
    pub keys: Option<PathBuf>,
    /// Folder for records, relative to the file; one folder for each run is made in it.
    pub record: PathBuf,
    /// Both policies and the probe, relative to the file.
    pub models: Models,
    /// Where the strong policy is another machine's, which `aegis serve-policy` serves.
    pub remote_strong: Option<RemoteStrong>,
    /// The controller.
    pub control: ControlSettings,
    /// The gate's limits.
    pub gate: GateLimits,
    /// The gate's rule; its thresholds are the probe file's.
    pub rule: RuleSettings,
    /// The command that the robot stands still at.
    pub rest: Vec<f32>,
    /// Whether the strong policy is asked at every boundary, so that a fire never waits.
    #[serde(default)]
    pub ask_strong: bool,
    /// What begins a control period.
    #[serde(default)]
    pub pace: Pace,
    /// Address of this machine that metrics are served at, for Prometheus.
    pub metrics: Option<SocketAddr>,
    /// What the control thread asks of the system.
    #[serde(default)]
    pub real_time: RealTimeSettings,
    /// The episodes, in order.
    #[serde(deserialize_with = "reading::starts")]
    pub starts: Vec<Start>,
    /// For each channel, which of the plant's readings says where it stands, as `joint_positions/0` or `gripper/1`; empty
    /// for a rate and a discrete channel, which start at `rest`. Every position channel needs one.
    #[serde(default)]
    pub pose: Vec<String>,
}

/// One of the plant's readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// Index of an arm joint.
    Joint(usize),
    /// Index of a finger joint.
    Finger(usize),
}

impl Reading {
    fn parse(text: &str) -> Option<Self> {
        let (feature, index) = text.split_once('/')?;
        let index = index.parse().ok()?;
        match feature {
            "joint_positions" => Some(Self::Joint(index)),
            "gripper" => Some(Self::Finger(index)),
            _ => None,
        }
    }
}

/// A strong policy on another machine.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoteStrong {
    /// Answers that take longer, milliseconds, are none.
    pub deadline_ms: f64,
}

impl RemoteStrong {
    /// The deadline.
    pub fn deadline(self) -> Duration {
        Duration::from_secs_f64(self.deadline_ms / 1e3)
    }
}

/// A robot file with everything that it names, checked.
pub struct Robot {
    /// Where it was read from.
    pub path: PathBuf,
    /// The file's own values.
    pub file: RobotFile,
    /// What the controller is made of.
    pub recipe: ControllerConfig,
    /// The probe that watches the weak policy.
    pub probe: Probe,
    /// SHA-256 of what decides, by its role.
    pub digests: BTreeMap<String, String>,
    /// Where each channel's position is read, `[channels]`.
    readings: Vec<Option<Reading>>,
}

impl Robot {
    /// Reads a file and the cards and the probe that it names.
    pub fn load(path: &Path) -> Result<Self, Failure> {
        let wrong = |reason: String| failure(Exit::Input, format!("{}: {reason}", path.display()));
        let text = aegis_files::read_text(path).map_err(|error| wrong(format!("cannot read: {error}")))?;
        let mut file = RobotFile::parse(&text).map_err(wrong)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let Models { weak, strong, probe: probe_path } = &mut file.models;
        for named in [weak, strong, probe_path, &mut file.record].into_iter().chain(&mut file.keys) {
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
        if let Some(RemoteStrong { deadline_ms }) = file.remote_strong
            && !(deadline_ms > 0.0 && deadline_ms <= 60_000.0)
        {
            let valid = "valid is above 0, at most 60000";
            return Err(wrong(format!("remote_strong.deadline_ms: found {deadline_ms}; {valid}")));
        }
        KeyExprs::of(&file.plant).map_err(|error| wrong(error.to_string()))?;
        if let Some(listen) = file.metrics {
            metrics::check(listen).map_err(|reason| wrong(format!("metrics: {reason}")))?;
        }
        file.real_time.validate().map_err(|(field, reason)| wrong(format!("real_time.{field}: {reason}")))?;
        file.rule.validate().map_err(|(field, reason)| wrong(format!("rule.{field}: {reason}")))?;
        let (mut horizons, mut digests) = ([0; 2], BTreeMap::new());
        let cards = [("weak", &file.models.weak), ("strong", &file.models.strong)];
        for (horizon, (role, card_path)) in horizons.iter_mut().zip(cards) {
            let card = ModelCard::load(card_path).or_exit(Exit::Input)?;
            let found = card.chunk.width;
            let expected = file.control.channels.len();
            if found != expected {
                let field = format!("control.channels: found {expected}");
                return Err(wrong(format!("{field}; valid is the {found} of {}", card_path.display())));
            }
            reads_no_camera(&card).map_err(|reason| wrong(format!("models: {reason}")))?;
            digests.insert(role.to_owned(), card.model_sha256());
            *horizon = card.chunk.horizon;
        }
        let ProbeFile { probe, calibration, settings, .. } = probe(&file.models)?;
        let recipe = ControllerConfig {
            settings: file.control.clone(),
            limits: file.gate.clone(),
            rule: file.rule.rule(&calibration, settings.trend_window),
            horizons,
            rest: file.rest.clone(),
            ask_strong: file.ask_strong,
        };
        recipe.controller().map_err(|error| wrong(error.to_string()))?;
        checks::check(&file.control).map_err(wrong)?;
        digests.insert("probe".into(), digest(&file.models.probe)?);
        let readings = readings(&file).map_err(wrong)?;
        Ok(Self { path: path.to_owned(), digests, probe, recipe, file, readings })
    }

    /// Where the plant stands by an observation, `[channels]`.
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

    /// Reads where positions are while the robot moves, where a setting bounds how far they may be from their commands.
    pub fn standing(&self) -> Standing {
        if self.file.control.follow_within.is_infinite() {
            return Box::new(|_| None);
        }
        let (readings, rest) = (self.readings.clone(), self.file.rest.clone());
        Box::new(move |observation| stands(&readings, &rest, observation).ok())
    }
}

/// Where a plant stands by an observation, `[channels]`: positions where they are read, the others at rest. Otherwise the first
/// channel without its reading, and how many of these there are.
fn stands(
    readings: &[Option<Reading>],
    rest: &[f32],
    observation: &Observation,
) -> Result<Vec<f32>, (usize, usize)> {
    let Proprioception { joint_positions, gripper, .. } = &observation.proprioception;
    let pose = readings.iter().zip(rest).enumerate().map(|(channel, (reading, rest))| {
        let (values, index) = match reading {
            None => return Ok(*rest),
            Some(Reading::Joint(index)) => (joint_positions, *index),
            Some(Reading::Finger(index)) => (gripper, *index),
        };
        values.get(index).map(|value| *value as f32).ok_or((channel, values.len()))
    });
    pose.collect()
}

impl RobotFile {
    /// Reads a robot file's text.
    fn parse(text: &str) -> Result<Self, String> {
        let file = toml::from_str(text).map_err(|error| reading::plain(&error))?;
        reading::check_numbers(text)?;
        Ok(file)
    }

    /// `pose` with an empty name for each channel where it is left out.
    fn pose_names(&self) -> Vec<String> {
        if self.pose.is_empty() {
            vec![String::new(); self.control.channels.len()]
        } else {
            self.pose.clone()
        }
    }
}

/// Where each channel's position is read.
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
                let valid = "joint_positions/N or gripper/N: where this position is read";
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

/// Refuses a policy that reads pictures, which nothing here takes to it.
pub fn reads_no_camera(card: &ModelCard) -> Result<(), String> {
    let refused = |camera: &str| {
        format!("{} reads camera {camera}; valid are policies that read no camera", card.path.display())
    };
    card.frames.first().map_or(Ok(()), |frame| Err(refused(&frame.camera)))
}

#[cfg(test)]
mod tests;
