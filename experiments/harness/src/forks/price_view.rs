//! Formats prices, and the rules at equal duty, as Markdown.

use std::fmt::Write;

use aegis_statistics::Estimate;
use serde::Serialize;

use super::oracle::OracleReport;
use super::price::{BlindSchedule, Spent};

/// Rule at a duty.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RuleAtDuty {
    /// Name of the rule.
    pub rule: String,
    /// Its setting, as a plan has it where a plan can have it.
    pub setting: String,
    /// What it spends and gains.
    pub spent: Spent,
    /// Duty as a share of all horizons, with its interval over starts.
    pub duty: Option<Estimate>,
}

/// Prices for one duty, and what rules gain there.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PriceReport {
    /// Range of the plan.
    pub range: String,
    /// Weak episodes.
    pub episodes: u64,
    /// Weak episodes that were lost.
    pub lost: u64,
    /// Horizon, control steps.
    pub horizon_steps: u32,
    /// Strong steps that may be spent.
    pub budget: f64,
    /// Price that does not depend on time.
    pub price: f64,
    /// Price of each boundary, by backward induction.
    pub prices: Vec<f64>,
    /// Rules that read.
    pub rules: Vec<RuleAtDuty>,
    /// One hold at each boundary, in the share of the episodes that spends the duty.
    pub blind: Vec<BlindSchedule>,
    /// Oracle and random choices.
    pub oracle: OracleReport,
}

/// Returns the report as Markdown.
pub fn markdown(report: &PriceReport) -> String {
    let mut text = String::new();
    let whole = f64::from(report.horizon_steps) * report.episodes as f64;
    let duty = |steps: f64| 100.0 * steps / whole;
    // Writing into a String cannot fail.
    let _ = writeln!(
        text,
        "{} weak episodes of {}, {} lost; {:.2} % of all horizons may be spent. One hold at most in each episode, the first that a \
         rule asks for. Prices and shares were set on these episodes: judge them on others.\n\nFor a plan:\n\n```toml\nkind = \
         \"benefit\"\nprice = {}\n# or, by backward induction over the boundaries:\n# price = {:?}\n```\n",
        report.episodes,
        report.range,
        report.lost,
        duty(report.budget),
        report.price,
        report.prices
    );
    let _ = writeln!(
        text,
        "| rule | setting | holds | duty | 95 % interval | recovered | broken | net |\n|---|---|---|---|---|---|---|---|"
    );
    let mut row = |name: &str, setting: &str, spent: &Spent, interval: Option<Estimate>| {
        let interval = interval
            .map_or("–".to_owned(), |of| format!("{:.2} to {:.2} %", 100.0 * of.lower, 100.0 * of.upper));
        let _ = writeln!(
            text,
            "| {name} | {setting} | {:.1} | {:.2} % | {interval} | {:.1} of {} | {:.1} | {:+.1} |",
            spent.holds,
            duty(spent.strong_steps),
            spent.recovered,
            report.lost,
            spent.broken,
            spent.recovered - spent.broken
        );
    };
    for one in &report.rules {
        let setting = if one.setting.len() > 40 { "price by boundary, above" } else { &one.setting };
        row(&one.rule, setting, &one.spent, one.duty);
    }
    for one in &report.blind {
        let setting = format!("schedule = {{ at = [{}] }}, share = {:.3}", one.boundary, one.share);
        row("blind", &setting, &one.spent, None);
    }
    let oracle = &report.oracle;
    let share = oracle.random.share(report.budget as u64);
    let random = Spent {
        holds: 0.0,
        strong_steps: share * oracle.random.strong_steps,
        recovered: share * oracle.random.recovered,
        broken: share * oracle.random.broken,
    };
    let _ = writeln!(
        text,
        "\nRandom moments in a share of {share:.3} of the episodes: {:.1} recovered, {:.1} broken. With hindsight, holds alone recover {}, \
         holds and take-overs {}.",
        random.recovered,
        random.broken,
        oracle.holds.recovered(report.budget as u64),
        oracle.oracle.recovered(report.budget as u64)
    );
    text
}
