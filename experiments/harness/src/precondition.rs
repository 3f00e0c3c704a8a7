//! The precondition: whether the probe sees enough on weak episodes that are not the study's, before one of those is run.
//! An experiment of one arm, in a folder of its own beside the study's store.

use aegis_statistics::Estimate;
use serde::Serialize;

use crate::episode::EpisodeResult;
use crate::key::EpisodeKey;
use crate::plan::Plan;
use crate::report::WeakPath;
use crate::study::{Fresh, PreconditionSettings};

/// Name of its folder in the experiment's.
pub const FOLDER: &str = "precondition";

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Precondition {
    /// What the plan says.
    #[serde(flatten)]
    pub settings: PreconditionSettings,
    /// Weak episodes that were run for it.
    pub episodes: u64,
    /// Early-window AUROC of the probe on them, over clusters; none where all ended alike.
    pub auroc: Option<Estimate>,
    /// Whether the study may begin.
    pub met: bool,
}

/// The episodes that a plan's precondition asks for, of a suite of so many tasks; none where it has none.
pub fn keys(plan: &Plan, tasks: usize) -> Option<Vec<EpisodeKey>> {
    let share = match plan.precondition()?.range {
        Fresh::Calibration => plan.ranges.calibration,
        Fresh::Tuning => plan.ranges.tuning,
    };
    Some(share.keys(plan.task_list(tasks)))
}

/// Judges the precondition of a plan that has one by the weak arm's results.
pub fn judge(plan: &Plan, results: &[EpisodeResult]) -> Option<Precondition> {
    let study = plan.study.as_ref()?;
    let settings = plan.precondition()?;
    let auroc = WeakPath::new(results).auroc(plan, study);
    let met = auroc.is_some_and(|auroc| auroc.lower > settings.auroc_floor);
    Some(Precondition { settings, episodes: results.len() as u64, auroc, met })
}
