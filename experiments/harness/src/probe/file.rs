//! The probe file: a fitted head, its thresholds, and the model and tensor that it belongs to.
//! A probe that was fitted on another model is refused by digest.

use std::path::{Path, PathBuf};

use aegis_core::Probe;
use aegis_core::probe::ProbeError;
use serde::{Deserialize, Serialize};

use super::calibration::Calibration;
use super::fit::{Candidate, FitSettings, Fitted};
use crate::files::{read_rows, same_digest, write_atomically};
use crate::origin::{Impossible, Origin, Statement, Use, spans};
use crate::rollouts::{Rollout, digest};

/// Version of the file's layout.
pub const SCHEMA: u32 = 3;
/// The layout before it, which does not say what starts a probe came from; it is read as before.
const SILENT: u32 = 2;

/// A probe on disk, as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeFile {
    /// Version of this layout.
    pub schema: u32,
    /// SHA-256 of the model whose activations it reads.
    pub model_sha256: String,
    /// The graph output that it reads, mean-pooled over tokens.
    pub tensor: String,
    /// What it was fitted on.
    pub discovery: Data,
    /// What its thresholds were set on.
    pub calibrated_on: Data,
    /// How it was fitted.
    pub settings: FitSettings,
    /// The penalty that was chosen.
    pub penalty: f64,
    /// The penalties that were tried, where there was a choice.
    pub candidates: Vec<Candidate>,
    /// What came of it.
    pub calibration: Calibration,
    /// The head.
    pub probe: Probe,
}

/// Names the rollouts that something was made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// Digest of the rollouts, see [`digest`].
    pub sha256: String,
    /// Episodes.
    pub episodes: usize,
    /// How many of them the weak policy lost.
    pub lost: usize,
    /// The starts that they are of; none in a file of a layout that does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

impl Data {
    /// Names these rollouts.
    pub fn of(rollouts: &[Rollout]) -> Self {
        let lost = rollouts.iter().filter(|rollout| !rollout.success).count();
        Self { sha256: digest(rollouts), episodes: rollouts.len(), lost, origin: None }
    }

    /// Names these rollouts and says where they came from.
    pub fn from(rollouts: &[Rollout], origin: Origin) -> Self {
        Self { origin: Some(origin), ..Self::of(rollouts) }
    }
}

/// Why a probe file is refused.
#[derive(Debug, thiserror::Error)]
pub enum ProbeFileError {
    /// The file cannot be read.
    #[error("{path}: cannot read: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file cannot be written.
    #[error("{path}: cannot write: {source}", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no probe.
    #[error("{path}: not a probe file: {near}{source}", path = path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// The last key before the place, where there is one.
        near: String,
        /// Line, column and what would be valid.
        source: serde_json::Error,
    },
    /// The head is none.
    #[error("{path}: {source}", path = path.display())]
    Probe {
        /// The file.
        path: PathBuf,
        /// Which field, and what would do.
        source: ProbeError,
    },
    /// The probe belongs elsewhere.
    #[error("{path}: {field}: found {found}; valid is {expected}", path = path.display())]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// Which field.
        field: String,
        /// What the file says.
        found: String,
        /// What the model needs.
        expected: String,
    },
    /// What it says of its rollouts cannot be right.
    #[error(transparent)]
    Origin(#[from] Impossible),
}

/// The last key of a text of JSON before a line and a column of it, both from 1.
fn key_before(text: &str, line: usize, column: usize) -> Option<&str> {
    let line = text.lines().nth(line.checked_sub(1)?)?;
    let (before, _) = line.get(..column.min(line.len()))?.rsplit_once("\":")?;
    before.rsplit_once('"').map(|(_, key)| key)
}

impl ProbeFile {
    /// A probe with its papers.
    pub fn new(
        (model_sha256, tensor): (String, String),
        (discovery, calibrated_on): (Data, Data),
        settings: FitSettings,
        fitted: Fitted,
        calibration: Calibration,
    ) -> Self {
        let Fitted { probe, penalty, candidates } = fitted;
        Self {
            schema: SCHEMA,
            model_sha256,
            tensor,
            discovery,
            calibrated_on,
            settings,
            penalty,
            candidates,
            calibration,
            probe,
        }
    }

    /// Reads a probe and holds it against the model that it shall watch.
    pub fn load(path: &Path, model_sha256: &str, tensor: &str, width: usize) -> Result<Self, ProbeFileError> {
        let text =
            read_rows(path).map_err(|source| ProbeFileError::Read { path: path.to_owned(), source })?;
        let parse = |source: serde_json::Error| {
            let near = key_before(&text, source.line(), source.column());
            let near = near.map_or(String::new(), |key| format!("{key}: "));
            ProbeFileError::Parse { path: path.to_owned(), near, source }
        };
        // The version comes first: another layout would be blamed on whichever of its fields is met first.
        let value: serde_json::Value = serde_json::from_str(&text).map_err(parse)?;
        let check = |field: &str, found: String, expected: String| {
            if found == expected {
                return Ok(());
            }
            Err(ProbeFileError::Mismatch { path: path.to_owned(), field: field.to_owned(), found, expected })
        };
        let schema = value.get("schema").map_or("none".to_owned(), serde_json::Value::to_string);
        if ![SCHEMA, SILENT].iter().any(|known| value["schema"] == *known) {
            check("schema", schema, format!("{SCHEMA}, or {SILENT}, which an older version wrote"))?;
        }
        let file: Self = serde_json::from_str(&text).map_err(parse)?;
        if !same_digest(&file.model_sha256, model_sha256) {
            let advice =
                format!("{model_sha256}, the weak policy's: fit the probe again with `aegis probe fit`");
            check("model_sha256", file.model_sha256.clone(), advice)?;
        }
        check("tensor", file.tensor.clone(), tensor.to_owned())?;
        for (field, data) in
            [("discovery.origin", &file.discovery), ("calibrated_on.origin", &file.calibrated_on)]
        {
            let said = data.origin.as_ref().map(|origin| origin.weak_sha256.clone().unwrap_or_default());
            let found = said.map_or("none".to_owned(), |weak| format!("rollouts of model {weak}"));
            let valid = match file.schema {
                SILENT => "none".to_owned(),
                _ => format!("rollouts of model {model_sha256}"),
            };
            check(field, found, valid)?;
        }
        file.check_data(path)?;
        check("probe.mean", format!("{} values", file.probe.width()), format!("{width} values"))?;
        file.probe.validate().map_err(|source| ProbeFileError::Probe { path: path.to_owned(), source })?;
        Ok(file)
    }

    /// Refuses what the file says of its rollouts where it contradicts itself.
    fn check_data(&self, path: &Path) -> Result<(), ProbeFileError> {
        let wrong = |field: &str, found: String, expected: String| {
            Err(ProbeFileError::Mismatch { path: path.to_owned(), field: field.to_owned(), found, expected })
        };
        for (name, data) in [("discovery", &self.discovery), ("calibrated_on", &self.calibrated_on)] {
            let Data { episodes, lost, origin, .. } = data;
            if lost > episodes {
                let valid = format!("0 to {episodes}, {name}.episodes");
                return wrong(&format!("{name}.lost"), lost.to_string(), valid);
            }
            if let Some(origin) = origin {
                origin.validate(&path.display().to_string(), &format!("{name}.origin"), Some(*episodes))?;
            }
        }
        let (fitted, set) = (&self.discovery, &self.calibrated_on);
        let apart =
            "rollouts that the probe was not fitted on: thresholds on those that it knows promise nothing";
        if same_digest(&fitted.sha256, &set.sha256) {
            return wrong(
                "calibrated_on.sha256",
                format!("{}, discovery.sha256", set.sha256),
                apart.to_owned(),
            );
        }
        let both = fitted.origin.as_ref().zip(set.origin.as_ref());
        let common = both.map_or(Vec::new(), |(fitted, set)| fitted.common(set));
        if !common.is_empty() {
            let found = format!("initial states {}, which discovery is of too", spans(&common));
            return wrong("calibrated_on.origin.starts", found, apart.to_owned());
        }
        let counts = [set.episodes, set.lost];
        if self.calibration.episodes != counts {
            let valid = format!("{counts:?}, calibrated_on.episodes and calibrated_on.lost");
            return wrong("calibration.episodes", format!("{:?}", self.calibration.episodes), valid);
        }
        Ok(())
    }

    /// What the probe says of the starts that it came from; `file` is what it is called.
    pub fn statements(&self, file: &str) -> [Statement; 2] {
        [("discovery", &self.discovery), ("calibration", &self.calibrated_on)].map(|(part, data)| Statement {
            file: file.to_owned(),
            part: part.to_owned(),
            used: Use::in_probe(part),
            origin: data.origin.clone(),
        })
    }

    /// Writes the probe, whole or not at all.
    pub fn save(&self, path: &Path) -> Result<(), ProbeFileError> {
        let io = |source| ProbeFileError::Write { path: path.to_owned(), source };
        // One number a line would double the file.
        let mut text = serde_json::to_string(self).map_err(|error| io(error.into()))?;
        text.push('\n');
        write_atomically(path, text.as_bytes()).map_err(io)
    }
}
