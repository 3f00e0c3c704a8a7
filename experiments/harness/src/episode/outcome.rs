//! Result of one episode of one arm.

use serde::{Deserialize, Serialize};

use crate::episode::arm::ArmName;
use aegis_core::{Disturbance, EpisodeKey};

/// Result of an episode. It contains no wall-clock times, so equal seeds give equal bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpisodeResult {
    /// Arm.
    pub arm: ArmName,
    /// Key: start and replicate, which all twins share.
    pub key: EpisodeKey,
    /// Disturbance of the episode, its step counted from the first counted control step. Left out of JSON where there is
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disturbance: Option<Disturbance>,
    /// Whether the goal was reached within the horizon.
    pub success: bool,
    /// Control steps taken.
    pub steps: u32,
    /// Control steps per chunk.
    pub chunk_steps: u32,
    /// Number of times that the gate fired.
    pub fires: u32,
    /// Control steps that the strong policy drove.
    pub strong_steps: u32,
    /// Control steps at which the driver changed.
    pub hand_overs: Vec<u32>,
    /// Score at each boundary; `null` in JSON where the probe gave no number.
    pub scores: Vec<Option<f64>>,
    /// Digest of the state path up to each boundary, used to compare twins.
    pub prefixes: Vec<String>,
    /// Digest of the whole state path.
    pub path: String,
}
