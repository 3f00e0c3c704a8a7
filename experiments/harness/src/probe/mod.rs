//! The probe's life off line: fitted on discovery rollouts, calibrated on others, judged on others still.
//! Everything here is made from stored rollouts; the running probe is `aegis_core::probe`.

pub mod baselines;
pub mod calibration;
pub mod evaluation;
pub mod file;
pub mod fit;
pub mod rules;
