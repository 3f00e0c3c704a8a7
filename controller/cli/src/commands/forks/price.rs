//! `aegis forks price`: sets the price of the rule `benefit` on a tuning range, and compares the rules at equal duty.

use aegis_experiments::forks::oracle::oracle;
use aegis_experiments::forks::price::{PricedEpisode, blind, duty, fixed, spent, timed};
use aegis_experiments::forks::price_view::{PriceReport, RuleAtDuty, markdown};
use aegis_statistics::{Bootstrap, Method};
use clap::Args;

use super::readings::{ForkedArguments, ForkedRange};
use crate::exit::{Exit, Failure, OrExit, failure, say};

/// Arguments of `aegis forks price`.
#[derive(Args)]
#[command(
    after_help = "Example: aegis forks price runs/tuning.forks.parquet --episodes runs/tuning.parquet --plan study.toml --duty 0.06"
)]
pub struct PriceArguments {
    #[command(flatten)]
    forked: ForkedArguments,
    /// Duty to spend, as a share of all episodes' horizons; what the rule `conformal` spends when left out
    #[arg(long, value_name = "DUTY", value_parser = super::duty)]
    duty: Option<f64>,
    /// Print JSON instead of Markdown
    #[arg(long)]
    json: bool,
}

/// Runs `aegis forks price`.
pub fn run(arguments: &PriceArguments) -> Result<(), Failure> {
    let unseen = "tuning or another range that neither the probe nor its thresholds have seen";
    let ForkedRange { study, probe: file, range, forks, by_risk, by_benefit } =
        arguments.forked.open(&["training", "discovery", "calibration"], unseen)?;
    if file.benefit.is_none() {
        let message = format!(
            "{}: benefit: found none; valid is a probe with a benefit head, by `aegis probe fit --forks`",
            study.plan.models.probe.display()
        );
        return Err(failure(Exit::Input, message));
    }
    let gate = &study.plan.gate;
    let whole = f64::from(gate.horizon_steps) * forks.len() as f64;
    let threshold = file.calibration.threshold;
    let conformal = spent(&by_risk, &[threshold]);
    let budget = arguments.duty.map_or(conformal.strong_steps, |duty| duty * whole);
    let bootstrap = Bootstrap {
        replicates: 2000,
        seed: study.plan.master_seed,
        confidence: 0.95,
        method: Method::Percentile,
    };
    let rule = |name: &str, setting: String, episodes: &[PricedEpisode], prices: &[f64]| {
        Ok::<_, Failure>(RuleAtDuty {
            rule: name.into(),
            setting,
            spent: spent(episodes, prices),
            duty: Some(duty(episodes, prices, gate.horizon_steps, &bootstrap).or_exit(Exit::Failed)?),
        })
    };
    let price = fixed(&by_benefit, budget);
    let prices = timed(&by_benefit, budget, gate);
    let risk = fixed(&by_risk, budget);
    let schedules = blind(&by_benefit, budget, gate);
    let report = PriceReport {
        range: range.clone(),
        episodes: forks.len() as u64,
        lost: forks.iter().filter(|episode| !episode.success).count() as u64,
        horizon_steps: gate.horizon_steps,
        budget,
        rules: vec![
            rule("benefit", format!("price = {price}"), &by_benefit, &[price])?,
            rule("benefit", format!("price = {prices:?}"), &by_benefit, &prices)?,
            rule("risk", format!("threshold = {risk}"), &by_risk, &[risk])?,
            rule("conformal", format!("above {threshold}"), &by_risk, &[threshold])?,
        ],
        blind: schedules,
        oracle: oracle(&forks, gate, Some((budget / whole).min(1.0))),
        price,
        prices,
    };
    if arguments.json {
        say!("{}", serde_json::to_string_pretty(&report).or_exit(Exit::Failed)?);
    } else {
        say!("{}", markdown(&report).trim_end());
    }
    Ok(())
}
