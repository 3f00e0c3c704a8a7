//! `aegis forks control`: sets the threshold of the rule `risk_control`.

use aegis_experiments::forks::control::{Control, threshold};
use aegis_experiments::forks::price::spent;
use aegis_probe::rules::Controlled;
use clap::Args;
use serde_json::json;

use super::readings::{ForkedArguments, ForkedRange};
use crate::exit::{Exit, Failure, OrExit, failure, say};

/// Arguments of `aegis forks control`.
#[derive(Args)]
#[command(
    after_help = "Example: aegis forks control runs/calibration.forks.parquet --episodes runs/calibration.parquet --plan study.toml --breakage 0.02"
)]
pub struct ControlArguments {
    #[command(flatten)]
    forked: ForkedArguments,
    /// Largest share of the weak policy's wins that may be lost with the gate
    #[arg(long, value_name = "SHARE", value_parser = super::duty, required_unless_present = "duty", conflicts_with = "duty")]
    breakage: Option<f64>,
    /// Largest duty, as a share of all episodes' horizons
    #[arg(long, value_name = "DUTY", value_parser = super::duty)]
    duty: Option<f64>,
    /// Probability of a calibration with whose threshold the level is exceeded
    #[arg(long, value_name = "P", default_value = "0.1", value_parser = super::duty)]
    delta: f64,
    /// Print JSON instead of Markdown
    #[arg(long)]
    json: bool,
}

/// Runs `aegis forks control`.
pub fn run(arguments: &ControlArguments) -> Result<(), Failure> {
    let held_out = "calibration, or another range that the probe was not fitted on";
    let ForkedRange { study, range, forks, by_risk, .. } =
        arguments.forked.open(&["training", "discovery"], held_out)?;
    let (of, level) = match (arguments.breakage, arguments.duty) {
        (Some(level), _) => (Controlled::Breakage, level),
        (None, duty) => (Controlled::Duty, duty.unwrap_or_default()),
    };
    let (control, delta) = (Control { of, level, delta: arguments.delta }, arguments.delta);
    let horizon = study.plan.gate.horizon_steps;
    let Some(threshold) = threshold(&by_risk, &control, horizon) else {
        let won = forks.iter().filter(|episode| episode.success).count();
        let message = format!(
            "{range}: no threshold is shown to keep {} at {level} or below with probability {} on {} episodes, {won} of them won by the weak \
             policy; valid is a higher level, a larger --delta, or more episodes",
            of.words(),
            1.0 - delta,
            forks.len()
        );
        return Err(failure(Exit::Failed, message));
    };
    let found = spent(&by_risk, &[threshold]);
    let (lost, duty) = (
        forks.iter().filter(|episode| !episode.success).count(),
        found.strong_steps / (f64::from(horizon) * forks.len().max(1) as f64),
    );
    if arguments.json {
        let value = json!({ "threshold": threshold, "control": control, "range": range, "episodes": forks.len(), "lost": lost,
                            "duty": duty, "spent": found });
        say!("{}", serde_json::to_string_pretty(&value).or_exit(Exit::Failed)?);
        return Ok(());
    }
    let name = serde_json::to_value(of).or_exit(Exit::Failed)?;
    say!(
        "With probability {} over draws of {} episodes of {range}, {} is at most {level} at this threshold. For a plan:\n\n```toml\nkind = \
         \"risk_control\"\nthreshold = {threshold}\nof = {name}\nlevel = {level}\ndelta = {delta}\n```\n\nIn these episodes, with the first hold of \
         each alone: {} holds, {:.2} % duty, {} of {lost} lost ones recovered, {} of {} won ones broken.",
        1.0 - delta,
        forks.len(),
        of.words(),
        found.holds,
        100.0 * duty,
        found.recovered,
        found.broken,
        forks.len() - lost
    );
    Ok(())
}
