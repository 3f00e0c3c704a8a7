//! Offline work on probes: fit on discovery rollouts, calibration on other rollouts, evaluation on further ones. All
//! functions here work on stored rollouts; the probe that runs in the controller is `aegis_core::probe`.

pub mod baselines;
pub mod calibration;
pub mod evaluation;
pub mod file;
pub mod fit;
pub mod rules;
