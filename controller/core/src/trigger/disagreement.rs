//! The rule `disagreement`: an alarm where both policies propose different actions.
//! The rule needs the strong policy in shadow, so it spends the inferences that other rules save.

use serde::{Deserialize, Serialize};

use super::{Evidence, Signal, Thresholds, Trigger};
use crate::limits::{GateError, RULE_KIND};
use crate::{Chunk, PolicyError};

/// Settings of the rule `disagreement`, which is its own state. Distances are those of [`chunk_disagreement`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DisagreementSettings {
    /// Alarm at a distance above this. Infinite: never fires. NaN: the probe has no threshold on the distance, and the rule is
    /// refused.
    pub fire: f64,
    /// Control may go back once distances stay below this.
    pub hand_back: f64,
}

impl Trigger for DisagreementSettings {
    /// A distance that is missing or NaN, and a flagged score, count as the largest distance.
    fn read(&mut self, evidence: &Evidence) -> Signal {
        let known =
            evidence.disagreement.filter(|distance| !distance.is_nan() && !evidence.score.is_flagged());
        let against = Thresholds { fire: self.fire, hand_back: self.hand_back };
        Signal::held_against(known.unwrap_or(f64::INFINITY), against)
    }

    fn validate(&self) -> Result<(), GateError> {
        GateError::unless(
            !self.fire.is_nan(),
            RULE_KIND,
            "disagreement, for which this probe has no threshold: its rollouts have no chunks of a strong policy",
            "conformal, functional_band, cost or trend, which read scores alone, or disagreement with a probe that was fitted on \
             rollouts of `aegis collect`",
        )?;
        Thresholds { fire: self.fire, hand_back: self.hand_back }.validate()
    }

    fn needs_disagreement(&self) -> bool {
        true
    }
}

/// Returns the root mean square, over horizon and width, of the difference between two chunks of the same shape.
///
/// All components have equal weight: for an OSC_POSE arm a gripper at −1 against +1 counts as much as two full position
/// deltas.
///
/// # Errors
/// [`PolicyError::Shape`] for chunks of different shapes.
pub fn chunk_disagreement(weak: &Chunk, strong: &Chunk) -> Result<f64, PolicyError> {
    let shape = |chunk: &Chunk| (chunk.horizon(), chunk.width());
    if shape(weak) != shape(strong) {
        let written = |(horizon, width)| format!("[{horizon}, {width}]");
        return Err(PolicyError::Shape {
            what: "strong action chunk beside the weak one".into(),
            expected: written(shape(weak)),
            found: written(shape(strong)),
        });
    }
    Ok(root_mean_square(weak.values(), strong.values()))
}

/// Returns the [`chunk_disagreement`] of two chunks of equal width, over the steps that both have; `None` without
/// common steps.
pub fn distance(weak: &[f32], strong: &[f32]) -> Option<f64> {
    let both = weak.len().min(strong.len());
    (both > 0).then(|| root_mean_square(&weak[..both], &strong[..both]))
}

fn root_mean_square(a: &[f32], b: &[f32]) -> f64 {
    let squares: f64 = a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
    (squares / a.len() as f64).sqrt()
}
