//! Precondition of a study: whether the probe discriminates well enough on weak episodes outside the confirmation
//! range, checked before the first confirmation episode is run. The precondition is an experiment with one arm, in a
//! folder of its own beside the study's store.

use std::collections::BTreeSet;

use aegis_probe::origin::difference;
use aegis_statistics::Estimate;
use serde::Serialize;

use crate::episode::arm::WEAK;
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

/// Error of results on which the precondition may not be judged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "study.precondition: found {found}; valid is one episode of the weak arm on each start of ranges.{range}: `aegis experiment run` \
     runs the missing ones"
)]
pub struct OtherEpisodes {
    /// Difference of the results from those of the plan.
    pub found: String,
    /// Name of the plan's range.
    pub range: &'static str,
}

/// Evaluates the precondition of a plan on its results, for a suite with `tasks` tasks; `None` for a plan without one.
///
/// # Errors
/// Results that are not those of the weak arm on every key of the precondition, each once.
pub fn judge(
    plan: &Plan,
    tasks: usize,
    results: &[EpisodeResult],
) -> Result<Option<Precondition>, OtherEpisodes> {
    let (Some(study), Some(settings), Some(keys)) =
        (plan.study.as_ref(), plan.precondition(), keys(plan, tasks))
    else {
        return Ok(None);
    };
    let other = |found| OtherEpisodes { found, range: settings.range.name() };
    if let Some(result) = results.iter().find(|result| result.arm != *WEAK) {
        return Err(other(format!("an episode of arm {}", result.arm)));
    }
    let (valid, found): (BTreeSet<EpisodeKey>, BTreeSet<EpisodeKey>) =
        (keys.into_iter().collect(), results.iter().map(|result| result.key).collect());
    if found != valid || found.len() != results.len() {
        let differs = difference(&found, &valid);
        return Err(other(format!("{} episodes ({differs})", results.len())));
    }
    let auroc = WeakPath::new(results).auroc(plan, study);
    let met = auroc.is_some_and(|auroc| auroc.lower > settings.auroc_floor);
    Ok(Some(Precondition { settings, episodes: results.len() as u64, auroc, met }))
}

impl Precondition {
    /// Returns a message with the value found and the plan's floor, where the precondition is not met.
    pub fn unmet(&self) -> Option<String> {
        let lower = self
            .auroc
            .map_or("undefined, because all had one outcome".into(), |auroc| format!("{:.3}", auroc.lower));
        (!self.met).then(|| {
            format!(
                "study.precondition: lower end of the early-window AUROC over {} weak episodes: found {lower}; valid is above {}",
                self.episodes, self.settings.auroc_floor
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::study::Fresh;

    #[test]
    fn an_unmet_precondition_is_reported_with_the_value_found() {
        let settings = PreconditionSettings { range: Fresh::Tuning, auroc_floor: 0.7 };
        let auroc = |lower| {
            Some(Estimate {
                estimate: 0.9,
                lower,
                upper: 1.0,
                standard_error: 0.0,
                clusters: 4,
                undefined: 0,
            })
        };
        let found = |auroc, met| Precondition { settings, episodes: 16, auroc, met };
        assert_eq!(found(auroc(0.71), true).unmet(), None);
        let said = found(auroc(0.618), false).unmet().unwrap();
        assert!(said.contains("over 16 weak episodes: found 0.618; valid is above 0.7"), "{said}");
        assert!(found(None, false).unmet().unwrap().contains("found undefined"));
    }
}
