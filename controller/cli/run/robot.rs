//! A robot file: which plant, which policies, and every number that decides what the controller does with them.
//! Unknown keys and impossible values are refused with file, field, what was found and what would be valid.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aegis_core::control::{ControlSettings, Recipe};
use aegis_core::{GateLimits, Probe, Start};
use aegis_experiments::plan::Models;
use aegis_experiments::probe::file::ProbeFile;
use aegis_experiments::probe::rules::RuleSettings;
use aegis_link::{Endpoint, Keys};
use aegis_policies::card::ModelCard;
use aegis_runtime::{Pace, RealTimeSettings};
use serde::Deserialize;

use super::metrics;
use crate::exit::{Exit, Failure, OrExit, failure};
use crate::files::digest;
use crate::study::probe;

/// The highest priority that Linux has for a real-time thread.
const HIGHEST_PRIORITY: u8 = 99;

/// What `aegis run` reads.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RobotFile {
    /// Name of the plant.
    pub plant: String,
    /// Zenoh endpoint of whoever serves it.
    #[serde(deserialize_with = "endpoint")]
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
    pub starts: Vec<Start>,
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
    pub recipe: Recipe,
    /// The probe that watches the weak policy.
    pub probe: Probe,
    /// SHA-256 of what decides, by its role.
    pub digests: BTreeMap<String, String>,
}

fn endpoint<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Endpoint, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

impl Robot {
    /// Reads a file and the cards and the probe that it names.
    pub fn load(path: &Path) -> Result<Self, Failure> {
        let wrong = |reason: String| failure(Exit::Input, format!("{}: {reason}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| wrong(format!("cannot read: {error}")))?;
        let mut file: RobotFile = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let Models { weak, strong, probe: probe_path } = &mut file.models;
        for named in [weak, strong, probe_path, &mut file.record].into_iter().chain(&mut file.keys) {
            *named = folder.join(&*named);
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
        Keys::of(&file.plant).map_err(|error| wrong(error.to_string()))?;
        if let Some(listen) = file.metrics {
            metrics::check(listen).map_err(|reason| wrong(format!("metrics: {reason}")))?;
        }
        let priority = file.real_time.priority;
        if priority > HIGHEST_PRIORITY {
            let reason = format!("found {priority}; valid is 0 to {HIGHEST_PRIORITY}");
            return Err(wrong(format!("real_time.priority: {reason}")));
        }
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
            digests.insert(role.to_owned(), card.sha256);
            *horizon = card.chunk.horizon;
        }
        let ProbeFile { probe, calibration, settings, .. } = probe(&file.models)?;
        let recipe = Recipe {
            settings: file.control.clone(),
            limits: file.gate.clone(),
            rule: file.rule.rule(&calibration, settings.trend_window),
            horizons,
            rest: file.rest.clone(),
            ask_strong: file.ask_strong,
        };
        recipe.controller().map_err(|error| wrong(error.to_string()))?;
        digests.insert("probe".into(), digest(&file.models.probe)?);
        Ok(Self { path: path.to_owned(), digests, probe, recipe, file })
    }
}

/// Refuses a policy that reads pictures, which nothing here takes to it.
pub fn reads_no_camera(card: &ModelCard) -> Result<(), String> {
    let refused = |camera: &str| {
        format!("{} reads camera {camera}; valid are policies that read no camera", card.path.display())
    };
    card.frames.first().map_or(Ok(()), |frame| Err(refused(&frame.camera)))
}
