//! The arms of a plan's study, with the thresholds of its probe.

use aegis_experiments::Arm;
use aegis_experiments::plan::Plan;

use crate::exit::{Exit, Failure, OrExit, failure};
use crate::study_loader::Study;

/// Returns the heads of a loaded study's probe and the study's arms, in the order in which they run.
pub fn arms(study: &Study) -> Result<(aegis_core::Heads, Vec<Arm>), Failure> {
    Ok((study.probe()?.heads(), arms_of(&study.plan)?))
}

/// Returns the arms of a plan's study, in the order in which they run. Reads the plan's probe, for thresholds, and nothing
/// else.
pub fn arms_of(plan: &Plan) -> Result<Vec<Arm>, Failure> {
    let file = crate::study_loader::probe(&plan.models)?;
    crate::study_loader::rule(plan, &file)?;
    let Some(settings) = &plan.study else {
        return Err(failure(Exit::Input, "study: missing"));
    };
    let rule =
        |rule: &aegis_probe::rules::RuleSettings| rule.rule(&file.calibration, file.settings.trend_window);
    let arms = settings.arms(&plan.rule, rule).or_exit(Exit::Input)?;
    Ok(aegis_experiments::episode::arm::running_order(arms))
}
