//! Sensor model: noise between the plant's exact poses and the observation that policies receive.

use std::sync::Arc;

use aegis_core::Observation;
use aegis_core::feature::{OBJECT_PREFIX, POSITION_SUFFIX};
use rand::Rng;
use rand_distr::{Distribution, Normal};
use serde::{Deserialize, Serialize};

/// Independent Gaussian noise on object positions, drawn anew for every observation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SensorNoise {
    /// Standard deviation per axis, in metres.
    pub object_position_sd: f64,
}

impl SensorNoise {
    /// Checks that the standard deviation is finite and not negative.
    ///
    /// # Errors
    /// The value found and the valid range.
    pub fn validate(&self) -> Result<(), String> {
        if self.object_position_sd >= 0.0 && self.object_position_sd.is_finite() {
            return Ok(());
        }
        Err(format!("found {}; valid is 0 or more metres", self.object_position_sd))
    }

    /// Perturbs the position of every object in place, in the order of the schema.
    pub fn apply(&self, observation: &mut Observation, generator: &mut impl Rng) {
        // An invalid standard deviation gives no distribution, and then no noise is added.
        let Ok(noise) = Normal::new(0.0, self.object_position_sd) else { return };
        let schema = Arc::clone(&observation.schema);
        let positions = schema.ranges().filter(|(feature, _)| {
            feature.name.starts_with(OBJECT_PREFIX) && feature.name.ends_with(POSITION_SUFFIX)
        });
        for (_, range) in positions {
            for coordinate in observation.values.get_mut(range).into_iter().flatten() {
                *coordinate += noise.sample(generator);
            }
        }
    }
}
