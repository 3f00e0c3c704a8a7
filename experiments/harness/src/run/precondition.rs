//! Precondition of a study: whether the probe discriminates well enough on weak episodes outside the confirmation
//! range, checked before the first confirmation episode is run. The precondition is an experiment with one arm, in a
//! folder of its own beside the study's store.

use aegis_statistics::Estimate;
use serde::Serialize;

use crate::episode::outcome::EpisodeResult;
use crate::plan::Plan;
use crate::plan::study::{Fresh, PreconditionSettings};
use crate::report::WeakPath;
use aegis_core::EpisodeKey;

/// Name of the precondition's folder in the experiment's folder.
pub const FOLDER: &str = "precondition";

/// Result of the precondition.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Precondition {
    /// Settings in the plan.
    #[serde(flatten)]
    pub settings: PreconditionSettings,
    /// Number of weak episodes that were run.
    pub episodes: u64,
    /// Early-window AUROC of the probe on these episodes, with intervals over clusters; `None` where all had the same
    /// outcome.
    pub auroc: Option<Estimate>,
    /// Whether the precondition is met, so that the study may begin.
    pub met: bool,
}

/// Returns the keys of a plan's precondition, for a suite with `tasks` tasks; `None` for a plan without one.
pub fn keys(plan: &Plan, tasks: usize) -> Option<Vec<EpisodeKey>> {
    let share = match plan.precondition()?.range {
        Fresh::Calibration => plan.ranges.calibration,
        Fresh::Tuning => plan.ranges.tuning,
    };
    Some(share.keys(plan.task_list(tasks)))
}

/// Evaluates the precondition of a plan on the weak arm's results; `None` for a plan without one.
pub fn judge(plan: &Plan, results: &[EpisodeResult]) -> Option<Precondition> {
    let study = plan.study.as_ref()?;
    let settings = plan.precondition()?;
    let auroc = WeakPath::new(results).auroc(plan, study);
    let met = auroc.is_some_and(|auroc| auroc.lower > settings.auroc_floor);
    Some(Precondition { settings, episodes: results.len() as u64, auroc, met })
}
