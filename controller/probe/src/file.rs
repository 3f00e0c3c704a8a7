//! Probe file: a fitted head, its thresholds, and the model and tensor whose activations it reads. A probe that was
//! fitted on another model is refused by the model's digest.

use std::path::{Path, PathBuf};

use aegis_core::probe::ProbeError;
use aegis_core::{GateLimits, Heads, Probe};
use serde::{Deserialize, Serialize};

use crate::benefit::{Contradiction, FittedBenefit};
use crate::calibration::Calibration;
use crate::fit::{Candidate, FitSettings, Fitted};
use crate::foreign::ForeignRecord;
use crate::origin::{Impossible, Origin, Statement, Use, spans};
use crate::rollout::{Rollout, digest};
use crate::rules::RuleSettings;
use aegis_files::{read_rows, same_digest, write_atomically};

/// Version of the file's layout.
pub const SCHEMA: u32 = 3;
/// Previous version of the layout, which has no origins; it is still read.
const SCHEMA_WITHOUT_ORIGINS: u32 = 2;
/// Version of the layout of a probe with a benefit head. A file without one has version [`SCHEMA`], as before there were such heads.
const SCHEMA_WITH_BENEFIT: u32 = 5;
/// Version of the layout of a probe that was fitted on rollouts of another program. These have no origins and no chunks, so the
/// file has no thresholds on the distance between two policies.
const SCHEMA_OF_FOREIGN: u32 = 4;
/// Model and tensor of a probe that was fitted without naming them. No policy has them, so a robot or a study refuses the probe.
pub const UNKNOWN: &str = "unknown";

/// Probe with its metadata, stored as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeFile {
    /// Version of this layout.
    pub schema: u32,
    /// SHA-256 of the model whose activations the probe reads.
    pub model_sha256: String,
    /// Graph output that the probe reads, mean-pooled over tokens.
    pub tensor: String,
    /// Rollouts on which the probe was fitted.
    pub discovery: Data,
    /// Rollouts on which the thresholds were set.
    pub calibrated_on: Data,
    /// Settings of the fit.
    pub settings: FitSettings,
    /// Record of the rollouts of another program; `None` where both parts were made by `aegis collect`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub foreign: Option<ForeignRecord>,
    /// Control steps between the boundaries of the rollouts, where these are fewer than the actions of the weak model's chunk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunk_steps: Option<u32>,
    /// Chosen penalty.
    pub penalty: f64,
    /// Penalties that were compared; empty where there was only one.
    pub candidates: Vec<Candidate>,
    /// Result of the calibration.
    pub calibration: Calibration,
    /// Fitted head.
    pub probe: Probe,
    /// Benefit head; `None` where the probe was fitted without forks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub benefit: Option<FittedBenefit>,
}

/// Identity of a set of rollouts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// Digest of the rollouts, see [`digest`].
    pub sha256: String,
    /// Number of episodes.
    pub episodes: usize,
    /// Number of them that the weak policy failed.
    pub lost: usize,
    /// Origin of the rollouts; `None` in a file of a layout without origins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

impl Data {
    /// Describes rollouts without their origin.
    pub fn of(rollouts: &[Rollout]) -> Self {
        let lost = rollouts.iter().filter(|rollout| !rollout.success).count();
        Self { sha256: digest(rollouts), episodes: rollouts.len(), lost, origin: None }
    }

    /// Describes rollouts with their origin.
    pub fn from(rollouts: &[Rollout], origin: Origin) -> Self {
        Self { origin: Some(origin), ..Self::of(rollouts) }
    }
}

/// Error of reading or writing a probe file.
#[derive(Debug, thiserror::Error)]
pub enum ProbeFileError {
    /// The file cannot be read.
    #[error("{path}: cannot read: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// The file cannot be written.
    #[error("{path}: cannot write: {source}", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// The file is not a probe file.
    #[error("{path}: not a probe file: {near}{source}", path = path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Last JSON key before the error, where there is one.
        near: String,
        /// JSON error with line, column and valid values.
        source: serde_json::Error,
    },
    /// The head is invalid.
    #[error("{path}: {source}", path = path.display())]
    Probe {
        /// The file.
        path: PathBuf,
        /// Error with the field and its valid values.
        source: ProbeError,
    },
    /// The probe does not match the model, or contradicts itself.
    #[error("{path}: {field}: found {found}; valid is {expected}", path = path.display())]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// Dotted key of the field.
        field: String,
        /// Value in the file.
        found: String,
        /// Valid value.
        expected: String,
    },
    /// A statement of origin cannot be true.
    #[error(transparent)]
    Origin(#[from] Impossible),
}

/// Returns the last key in a JSON text before a line and column, both counted from 1.
fn key_before(text: &str, line: usize, column: usize) -> Option<&str> {
    let line = text.lines().nth(line.checked_sub(1)?)?;
    let (before, _) = line.get(..column.min(line.len()))?.rsplit_once("\":")?;
    before.rsplit_once('"').map(|(_, key)| key)
}

impl ProbeFile {
    /// Combines a fitted probe with its metadata.
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
            foreign: None,
            chunk_steps: None,
            penalty,
            candidates,
            calibration,
            probe,
            benefit: None,
        }
    }

    /// Combines a probe that was fitted on rollouts of another program with its metadata.
    pub fn of_foreign(self, record: ForeignRecord, chunk_steps: u32) -> Self {
        Self { schema: SCHEMA_OF_FOREIGN, foreign: Some(record), chunk_steps: Some(chunk_steps), ..self }
    }

    /// Adds a benefit head.
    pub fn with_benefit(self, benefit: FittedBenefit) -> Self {
        Self { schema: SCHEMA_WITH_BENEFIT, benefit: Some(benefit), ..self }
    }

    /// Returns the heads that read an activation at every boundary.
    pub fn heads(&self) -> Heads {
        Heads { risk: self.probe.clone(), benefit: self.benefit.as_ref().map(|benefit| benefit.head.clone()) }
    }

    /// Checks that the file has what a rule reads under these limits; `path` is the file's name for messages.
    ///
    /// # Errors
    /// The rule `benefit` for a file without a benefit head, and for holds of another length than those of its forks.
    pub fn check_rule(
        &self,
        path: &Path,
        rule: &RuleSettings,
        limits: &GateLimits,
    ) -> Result<(), ProbeFileError> {
        if !matches!(rule, RuleSettings::Benefit { .. }) {
            return Ok(());
        }
        let (found, expected) = match &self.benefit {
            None => (
                "none".to_owned(),
                "a benefit head, which the rule benefit reads: fit the probe again with `aegis probe fit --forks`".to_owned(),
            ),
            Some(benefit) if benefit.hold_steps != limits.hold_steps() => (
                format!("holds of {} control steps", benefit.hold_steps),
                format!(
                    "holds of {} control steps, gate.hold_chunks of gate.chunk_steps: collect forks under this gate and fit again",
                    limits.hold_steps()
                ),
            ),
            Some(_) => return Ok(()),
        };
        Err(ProbeFileError::Mismatch { path: path.to_owned(), field: "benefit".into(), found, expected })
    }

    /// Reads a probe file and checks it against the model whose activations the probe is to read.
    pub fn load(path: &Path, model_sha256: &str, tensor: &str, width: usize) -> Result<Self, ProbeFileError> {
        let file = Self::parse(path)?;
        let check = |field: &str, found: String, expected: String| {
            if found == expected {
                return Ok(());
            }
            Err(ProbeFileError::Mismatch { path: path.to_owned(), field: field.to_owned(), found, expected })
        };
        if !same_digest(&file.model_sha256, model_sha256) {
            let again = if file.foreign.is_some() { " --rollouts FILE --model CARD" } else { "" };
            let advice = format!(
                "{model_sha256}, the weak policy's: fit the probe again with `aegis probe fit{again}`"
            );
            check("model_sha256", file.model_sha256.clone(), advice)?;
        }
        check("tensor", file.tensor.clone(), tensor.to_owned())?;
        for (field, data) in
            [("discovery.origin", &file.discovery), ("calibrated_on.origin", &file.calibrated_on)]
        {
            let said = data.origin.as_ref().map(|origin| origin.weak_sha256.clone().unwrap_or_default());
            let found = said.map_or("none".to_owned(), |weak| format!("rollouts of model {weak}"));
            let valid = match file.schema {
                SCHEMA_WITHOUT_ORIGINS | SCHEMA_OF_FOREIGN => "none".to_owned(),
                _ => format!("rollouts of model {model_sha256}"),
            };
            check(field, found, valid)?;
        }
        file.check_data(path)?;
        check("probe.mean", format!("{} values", file.probe.width()), format!("{width} values"))?;
        file.check_heads(path)?;
        Ok(file)
    }

    /// Reads a probe file without checking it against a model; the caller has to know that the activations come from the right model.
    ///
    /// # Errors
    /// As [`load`](Self::load), except for another model, tensor or width.
    pub fn read(path: &Path) -> Result<Self, ProbeFileError> {
        let file = Self::parse(path)?;
        file.check_data(path)?;
        file.check_heads(path)?;
        Ok(file)
    }

    /// Reads a probe file for rollouts of another program.
    ///
    /// # Errors
    /// As [`read`](Self::read), and a probe that was not fitted on such rollouts.
    pub fn load_foreign(path: &Path) -> Result<(Self, ForeignRecord, u32), ProbeFileError> {
        let file = Self::read(path)?;
        match (file.foreign.clone(), file.chunk_steps) {
            (Some(record), Some(chunk_steps)) => Ok((file, record, chunk_steps)),
            _ => Err(ProbeFileError::Mismatch {
                path: path.to_owned(),
                field: "schema".into(),
                found: file.schema.to_string(),
                expected: format!(
                    "{SCHEMA_OF_FOREIGN}, of a probe that `aegis probe fit --rollouts` wrote; evaluate this probe on rollouts of \
                     `aegis collect`"
                ),
            }),
        }
    }

    /// Parses a probe file of a known layout.
    fn parse(path: &Path) -> Result<Self, ProbeFileError> {
        let text =
            read_rows(path).map_err(|source| ProbeFileError::Read { path: path.to_owned(), source })?;
        let parse = |source: serde_json::Error| {
            let near = key_before(&text, source.line(), source.column());
            let near = near.map_or(String::new(), |key| format!("{key}: "));
            ProbeFileError::Parse { path: path.to_owned(), near, source }
        };
        // The version is checked first, since a different layout would otherwise be reported as an error of the first
        // field that differs.
        let value: serde_json::Value = serde_json::from_str(&text).map_err(parse)?;
        let found = value.get("schema").map_or("none".to_owned(), serde_json::Value::to_string);
        let known = [SCHEMA, SCHEMA_WITHOUT_ORIGINS, SCHEMA_OF_FOREIGN, SCHEMA_WITH_BENEFIT];
        if !known.iter().any(|known| value["schema"] == *known) {
            let expected = format!(
                "{SCHEMA}, {SCHEMA_WITH_BENEFIT} with a benefit head, {SCHEMA_OF_FOREIGN} for rollouts of another program, or {SCHEMA_WITHOUT_ORIGINS}, which an older \
                 version wrote"
            );
            return Err(ProbeFileError::Mismatch {
                path: path.to_owned(),
                field: "schema".into(),
                found,
                expected,
            });
        }
        serde_json::from_str(&text).map_err(parse)
    }

    /// Checks the values of every head.
    fn check_heads(&self, path: &Path) -> Result<(), ProbeFileError> {
        let invalid = |source| ProbeFileError::Probe { path: path.to_owned(), source };
        self.probe.validate().map_err(invalid)?;
        let width = self.probe.width();
        self.benefit.as_ref().map_or(Ok(()), |benefit| benefit.head.validate(width)).map_err(invalid)
    }

    /// Checks that the file's statements about its rollouts do not contradict each other.
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
        let is_foreign = self.schema == SCHEMA_OF_FOREIGN;
        let said = |known: bool| if known { "given" } else { "none" };
        let has_distances =
            self.calibration.disagreement.is_some() && self.calibration.disagreement_return.is_some();
        for (field, known, valid) in [
            ("foreign", self.foreign.is_some(), is_foreign),
            ("chunk_steps", self.chunk_steps.is_some(), is_foreign || self.chunk_steps.is_some()),
            ("calibration.disagreement", has_distances, !is_foreign),
            ("benefit", self.benefit.is_some(), self.schema == SCHEMA_WITH_BENEFIT),
        ] {
            if known != valid {
                let of = format!("{} in a file of schema {}", said(valid), self.schema);
                return wrong(field, said(known).to_owned(), of);
            }
        }
        let (fitted, set) = (&self.discovery, &self.calibrated_on);
        let apart = "rollouts that the probe was not fitted on, because thresholds set on the fitted ones guarantee nothing";
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
            let found = format!("initial states {}, which are in discovery too", spans(&common));
            return wrong("calibrated_on.origin.starts", found, apart.to_owned());
        }
        let counts = [set.episodes, set.lost];
        if self.calibration.episodes != counts {
            let valid = format!("{counts:?}, calibrated_on.episodes and calibrated_on.lost");
            return wrong("calibration.episodes", format!("{:?}", self.calibration.episodes), valid);
        }
        let Some(benefit) = &self.benefit else { return Ok(()) };
        benefit
            .check([fitted.episodes, set.episodes])
            .or_else(|Contradiction { field, found, valid }| wrong(&field, found, valid))
    }

    /// Returns the probe's statements about its origins; `file` is the file's name for messages.
    pub fn statements(&self, file: &str) -> [Statement; 2] {
        [("discovery", &self.discovery), ("calibration", &self.calibrated_on)].map(|(part, data)| Statement {
            file: file.to_owned(),
            part: part.to_owned(),
            used: Use::in_probe(part),
            origin: data.origin.clone(),
        })
    }

    /// Writes the probe file atomically.
    pub fn save(&self, path: &Path) -> Result<(), ProbeFileError> {
        let io = |source| ProbeFileError::Write { path: path.to_owned(), source };
        // Pretty printing, with one number per line, would double the file's size.
        let mut text = serde_json::to_string(self).map_err(|error| io(error.into()))?;
        text.push('\n');
        write_atomically(path, text.as_bytes()).map_err(io)
    }
}
