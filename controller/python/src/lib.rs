//! Python module `aegis_reflex._native`: the probe, the gate and the statistics, without a robot, a simulator or a study around
//! them. The package `aegis_reflex` beside it gives these functions their Python signatures.

mod errors;
mod guard;
mod interrupt;
mod probe;
mod statistics;

use pyo3::prelude::*;

#[pymodule(name = "_native")]
mod native {
    #[pymodule_export]
    use crate::guard::{Decision, Guard};
    #[pymodule_export]
    use crate::probe::{calibrate_probe, defaults, fit_probe, scores};
    #[pymodule_export]
    use crate::statistics::{
        McNemarProcess, auroc, bootstrap_mean, budget_match, clopper_pearson, holm, mcnemar, mcnemar_mid_p,
        mcnemar_power, mcnemar_sample_size, paired_effects,
    };
}
