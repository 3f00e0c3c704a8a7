//! Paths of the three files that a study or a robot is set up from.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Paths of the models.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Models {
    /// Model card of the weak policy.
    pub weak: PathBuf,
    /// Model card of the strong policy.
    pub strong: PathBuf,
    /// Probe file for the weak policy.
    pub probe: PathBuf,
}
