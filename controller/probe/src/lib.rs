//! Making and evaluating probes: rollouts of the weak policy and their files, fit and calibration, evaluation beside rival
//! detectors, the probe file, and statements of origin. The probe that scores activations in the controller is
//! [`aegis_core::probe`].
//!
//! ```
//! use aegis_probe::conformal::split_conformal_threshold;
//!
//! // Highest scores of nine won episodes: at most one new won episode in five exceeds the eighth of them.
//! let highest = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];
//! assert_eq!(split_conformal_threshold(&highest, 0.2), 0.8);
//! ```

pub mod baselines;
pub mod benefit;
pub mod calibration;
mod columns;
pub mod conformal;
pub mod disturbances;
pub mod evaluation;
pub mod file;
pub mod fit;
pub mod foreign;
pub mod fork_file;
pub mod forks;
pub mod hold_out;
mod models;
pub mod origin;
pub mod origin_file;
pub mod parquet_file;
pub mod rollout;
pub mod rollout_file;
pub mod rules;
pub mod sensor;
mod state_range;
pub mod training;

pub use models::Models;
pub use state_range::StateRange;
