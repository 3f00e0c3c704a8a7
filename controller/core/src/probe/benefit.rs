//! Benefit head: predicts from a pooled activation by how much one hold of the strong policy would raise the chance of success.
//! Two outcomes are predicted, failure without a hold and failure with one, each by a head of its own with its own calibration.

use serde::{Deserialize, Serialize};

use super::{HeadKind, Memory, Probe, ProbeError};
use crate::PlattScaling;

/// Prediction of failure under one course of action.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutcomeHead {
    /// Fitted head; its score is an uncalibrated probability of failure.
    pub probe: Probe,
    /// Calibration from scores to probabilities.
    pub calibration: PlattScaling,
}

impl OutcomeHead {
    /// Returns the calibrated probability of failure; NaN for an activation with a value that is not finite.
    pub fn probability(&self, memory: &mut Memory, features: &[f64]) -> Result<f64, ProbeError> {
        let score = self.probe.score(memory, features)?;
        Ok(if score.is_flagged() { f64::NAN } else { self.calibration.probability(score) })
    }
}

/// Benefit head. Its heads have no memory, so a boundary's benefit depends on that boundary's activation alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BenefitHead {
    /// Failure where the weak policy drives on to the end.
    pub without_hold: OutcomeHead,
    /// Failure where the strong policy drives for one hold from here on, and then the weak policy.
    pub with_hold: OutcomeHead,
}

/// Scratch space for a benefit head.
#[derive(Clone, Debug, PartialEq)]
pub struct BenefitMemory {
    without_hold: Memory,
    with_hold: Memory,
}

impl BenefitHead {
    /// Returns both heads with their names in a probe file.
    pub fn outcomes(&self) -> [(&'static str, &OutcomeHead); 2] {
        [("without_hold", &self.without_hold), ("with_hold", &self.with_hold)]
    }

    /// Checks both heads, and that each reads `width` features without a memory of earlier boundaries.
    ///
    /// # Errors
    /// [`ProbeError`] as [`Probe::validate`], for another width, for a recurrent head, and for a calibration that is not finite.
    pub fn validate(&self, width: usize) -> Result<(), ProbeError> {
        let invalid = |field, found: String, valid: String| Err(ProbeError::Invalid { field, found, valid });
        for (_, OutcomeHead { probe, calibration }) in self.outcomes() {
            probe.validate()?;
            if probe.width() != width {
                return Err(ProbeError::Width { expected: width, found: probe.width() });
            }
            if probe.kind() == HeadKind::Recurrent {
                return invalid("head.kind", "recurrent".into(), "linear or mlp, in a benefit head".into());
            }
            let PlattScaling { slope, intercept } = *calibration;
            if !slope.is_finite() || !intercept.is_finite() {
                return invalid("calibration", format!("{slope} and {intercept}"), "finite numbers".into());
            }
        }
        Ok(())
    }

    /// Returns scratch space. Allocates all that a prediction needs.
    pub fn memory(&self) -> BenefitMemory {
        BenefitMemory {
            without_hold: self.without_hold.probe.memory(),
            with_hold: self.with_hold.probe.memory(),
        }
    }

    /// Returns the benefit of a hold at a boundary: the probability of failure without it minus that with it, −1 to 1. NaN for an
    /// activation with a value that is not finite. Does not allocate.
    ///
    /// # Errors
    /// [`ProbeError`] for features of another width, and for a memory of another head.
    pub fn benefit(&self, memory: &mut BenefitMemory, features: &[f64]) -> Result<f64, ProbeError> {
        let without = self.without_hold.probability(&mut memory.without_hold, features)?;
        let with = self.with_hold.probability(&mut memory.with_hold, features)?;
        Ok(without - with)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Head, Linear, Recurrent};
    use super::*;

    fn outcome(weight: f64, slope: f64) -> OutcomeHead {
        let head = Head::Linear(Linear { weights: vec![weight], bias: 0.0 });
        let probe = Probe { mean: vec![0.0], scale: vec![1.0], head };
        OutcomeHead { probe, calibration: PlattScaling { slope, intercept: 0.0 } }
    }

    #[test]
    fn the_benefit_is_the_failure_that_a_hold_spares() {
        let head = BenefitHead { without_hold: outcome(1.0, 1.0), with_hold: outcome(1.0, 0.5) };
        head.validate(1).unwrap();
        let mut memory = head.memory();
        let sigmoid = |logit: f64| 1.0 / (1.0 + (-logit).exp());
        for feature in [-2.0, 0.0, 3.0] {
            let found = head.benefit(&mut memory, &[feature]).unwrap();
            assert!(
                (found - (sigmoid(feature) - sigmoid(feature / 2.0))).abs() < 1e-12,
                "{feature}: {found}"
            );
        }
        assert!(head.benefit(&mut memory, &[f64::NAN]).unwrap().is_nan());
        assert!(head.benefit(&mut memory, &[0.0; 2]).is_err());
    }

    #[test]
    fn heads_with_a_memory_of_another_width_or_without_a_calibration_are_refused() {
        let good = BenefitHead { without_hold: outcome(1.0, 1.0), with_hold: outcome(1.0, 1.0) };
        assert!(good.validate(2).unwrap_err().to_string().contains('2'));
        let head = Head::Recurrent(Recurrent {
            input: vec![0.0; 3],
            recurrent: vec![0.0; 3],
            gate_bias: vec![0.0; 3],
            output: vec![0.0],
            bias: 0.0,
        });
        let recurrent = Probe { mean: vec![0.0], scale: vec![1.0], head };
        for (bad, named) in [
            (OutcomeHead { probe: recurrent, ..outcome(1.0, 1.0) }, "linear or mlp"),
            (outcome(1.0, f64::NAN), "calibration"),
            (outcome(f64::INFINITY, 1.0), "head.weights"),
        ] {
            let error = BenefitHead { with_hold: bad, ..good.clone() }.validate(1).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
