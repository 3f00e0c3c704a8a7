//! Linear head: one weight per standardised feature.

use serde::{Deserialize, Serialize};

use super::kernel::dot;

/// Logistic regression on the standardised features.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Linear {
    /// Weights on the standardised features, `[width]`.
    pub weights: Vec<f64>,
    /// Log odds at the mean.
    pub bias: f64,
}

impl Linear {
    /// Returns the log odds of failure.
    pub fn logit(&self, features: &[f64]) -> f64 {
        dot(&self.weights, features) + self.bias
    }
}
