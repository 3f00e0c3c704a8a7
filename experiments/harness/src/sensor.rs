//! The sensor model: what stands between the plant's exact poses and what policies see.
//! Both policies see the same noisy observation; the success predicate sees the exact state.

use aegis_core::Observation;
use rand::Rng;
use rand_distr::{Distribution, Normal};
use serde::{Deserialize, Serialize};

/// Independent Gaussian noise on object positions, fresh at every observation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SensorNoise {
    /// Standard deviation per axis, in metres.
    pub object_position_sd: f64,
}

impl SensorNoise {
    /// Refuses a standard deviation that is none.
    pub fn validate(&self) -> Result<(), String> {
        if self.object_position_sd >= 0.0 && self.object_position_sd.is_finite() {
            return Ok(());
        }
        Err(format!("found {}; valid is 0 or more metres", self.object_position_sd))
    }

    /// Perturbs an observation in place.
    pub fn apply(&self, observation: &mut Observation, generator: &mut impl Rng) {
        // A standard deviation that is no number gives no distribution and so no noise.
        let Ok(noise) = Normal::new(0.0, self.object_position_sd) else { return };
        for object in &mut observation.objects {
            for coordinate in &mut object.pose.position {
                *coordinate += noise.sample(generator);
            }
        }
    }
}
