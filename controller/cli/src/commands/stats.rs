//! `aegis stats`: computes the study's statistics from counts on the command line or from a file of scores. Parses
//! arguments and prints; every number comes from `aegis-statistics`.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use aegis_statistics::{
    Discordance, StatisticsError, auroc, auroc_within, clopper_pearson, holm, holm_rejects, mcnemar,
    mcnemar_ln_e_value, mcnemar_ln_one_sided, mcnemar_mid_p, mcnemar_power, mcnemar_sample_size,
};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::exit::{Exit, Failure, OrExit, failure, say};

/// Family-wise error level of `aegis stats holm`. The JSON key `reject_0_05` contains this value.
const HOLM_LEVEL: f64 = 0.05;

/// Largest number of pairs of a test. The computing time grows with the square root of the number of pairs.
const MOST_PAIRS: u64 = 1_000_000_000_000;

/// Verbs of `aegis stats`.
#[derive(Subcommand)]
pub enum StatsVerb {
    /// Exact McNemar test of "the treatment wins more", and its anytime-valid e-value
    Mcnemar(McnemarArguments),
    /// Holm-adjusted p-values of a family of tests
    Holm(HolmArguments),
    /// Exact interval of a proportion
    ClopperPearson(ClopperPearsonArguments),
    /// Area under the ROC curve of a file of scores
    Auroc(AurocArguments),
    /// Power of the exact one-sided McNemar test, or the episodes that a power needs
    Power(PowerArguments),
}

/// Parses a number of pairs, at most [`MOST_PAIRS`].
fn pairs(text: &str) -> Result<u64, String> {
    let found = text.parse().ok().filter(|pairs| *pairs <= MOST_PAIRS);
    found.ok_or_else(|| format!("valid is a whole number from 0 to {MOST_PAIRS}"))
}

/// Arguments of `aegis stats mcnemar`.
#[derive(Args)]
#[command(after_help = "Example: aegis stats mcnemar --b 49 --c 17 --json")]
pub struct McnemarArguments {
    /// Pairs won only by the treatment
    #[arg(long, value_name = "N", value_parser = pairs)]
    b: u64,
    /// Pairs won only by the control
    #[arg(long, value_name = "N", value_parser = pairs)]
    c: u64,
    /// Print JSON: b, c, one_sided, two_sided, mid_p_one_sided, ln_one_sided, ln_e
    #[arg(long)]
    json: bool,
}

/// Arguments of `aegis stats holm`.
#[derive(Args)]
#[command(after_help = "Example: aegis stats holm --p 0.01,0.04,0.03")]
pub struct HolmArguments {
    /// The family's p-values
    #[arg(long, value_name = "P,P,…", value_delimiter = ',', required = true)]
    p: Vec<f64>,
    /// Print JSON: p, adjusted, reject_0_05
    #[arg(long)]
    json: bool,
}

/// Arguments of `aegis stats clopper-pearson`.
#[derive(Args)]
#[command(after_help = "Example: aegis stats clopper-pearson --k 65 --n 646")]
pub struct ClopperPearsonArguments {
    /// Successes
    #[arg(long, value_name = "N")]
    k: u64,
    /// Trials
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=1_000_000_000))]
    n: u64,
    /// Two-sided confidence level
    #[arg(long, value_name = "SHARE", default_value_t = 0.95)]
    level: f64,
    /// Print JSON: k, n, confidence, lower, upper
    #[arg(long)]
    json: bool,
}

/// Arguments of `aegis stats auroc`.
#[derive(Args)]
#[command(after_help = "Example: aegis stats auroc --csv scores.csv\n\n\
                        The file begins with `label,score` or `label,score,group`; a label is 0 or 1.")]
pub struct AurocArguments {
    /// Labels and scores, a row per episode
    #[arg(long, value_name = "FILE")]
    csv: PathBuf,
    /// Print JSON: positives, negatives, auroc, and with groups auroc_within
    #[arg(long)]
    json: bool,
}

/// Arguments of `aegis stats power`.
#[derive(Args)]
#[command(after_help = "Example: aegis stats power --recovered 0.05 --broken 0.01 --power 0.8")]
pub struct PowerArguments {
    /// Share of episodes that only the treatment wins
    #[arg(long, value_name = "SHARE")]
    recovered: f64,
    /// Share of episodes that only the control wins
    #[arg(long, value_name = "SHARE")]
    broken: f64,
    /// Level of the one-sided test
    #[arg(long, value_name = "SHARE", default_value_t = 0.05)]
    alpha: f64,
    /// Number of episodes, to print their power
    #[arg(long, value_name = "N", required_unless_present = "power", conflicts_with = "power")]
    n: Option<u64>,
    /// Power, to print the episodes that it needs
    #[arg(long, value_name = "SHARE")]
    power: Option<f64>,
    /// Print JSON: recovered, broken, alpha, and power or first, stable and their powers
    #[arg(long)]
    json: bool,
}

/// Runs a verb of `aegis stats`.
pub fn run(verb: &StatsVerb) -> Result<(), Failure> {
    let (outcome, text, as_json) = match verb {
        StatsVerb::Mcnemar(arguments) => (mcnemar_outcome(arguments), mcnemar_text as Text, arguments.json),
        StatsVerb::Holm(arguments) => (holm_outcome(arguments)?, holm_text as Text, arguments.json),
        StatsVerb::ClopperPearson(arguments) => (interval_outcome(arguments)?, plain as Text, arguments.json),
        StatsVerb::Auroc(arguments) => (auroc_outcome(arguments)?, plain as Text, arguments.json),
        StatsVerb::Power(arguments) => (power_outcome(arguments)?, plain as Text, arguments.json),
    };
    if as_json {
        say!("{outcome}");
    } else {
        say!("{}", text(&outcome).trim_end());
    }
    Ok(())
}

/// A function that formats an outcome as text for a terminal.
type Text = fn(&Value) -> String;

fn mcnemar_outcome(arguments: &McnemarArguments) -> Value {
    let (b, c) = (arguments.b, arguments.c);
    let test = mcnemar(b, c);
    json!({
        "b": b,
        "c": c,
        "one_sided": test.one_sided,
        "two_sided": test.two_sided,
        "mid_p_one_sided": mcnemar_mid_p(b, c),
        "ln_one_sided": mcnemar_ln_one_sided(b, c),
        "ln_e": mcnemar_ln_e_value(b, c),
    })
}

fn mcnemar_text(outcome: &Value) -> String {
    let number = |key: &str| outcome[key].as_f64().unwrap_or(f64::NAN);
    format!(
        "one-sided p      {:.6e}\ntwo-sided p      {:.6e}\nmid-p one-sided  {:.6e}\ne-value          {:.6e}\n",
        number("one_sided"),
        number("two_sided"),
        number("mid_p_one_sided"),
        number("ln_e").exp(),
    )
}

fn holm_outcome(arguments: &HolmArguments) -> Result<Value, Failure> {
    let adjusted = holm(&arguments.p).or_exit(Exit::Input)?;
    let rejected = holm_rejects(&arguments.p, HOLM_LEVEL).or_exit(Exit::Input)?;
    Ok(json!({ "p": arguments.p, "adjusted": adjusted, "reject_0_05": rejected }))
}

fn holm_text(outcome: &Value) -> String {
    let mut text = String::from("p             adjusted      rejected at 0.05\n");
    let column = |key: &str| outcome[key].as_array().cloned().unwrap_or_default();
    for ((p, adjusted), rejected) in column("p").iter().zip(column("adjusted")).zip(column("reject_0_05")) {
        let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
        let word = if rejected == Value::Bool(true) { "yes" } else { "no" };
        let _ = writeln!(text, "{:<12.6e}  {:<12.6e}  {word}", number(p), number(&adjusted));
    }
    text
}

fn interval_outcome(arguments: &ClopperPearsonArguments) -> Result<Value, Failure> {
    let (k, n, confidence) = (arguments.k, arguments.n, arguments.level);
    let interval = clopper_pearson(k, n, confidence).map_err(|error| by_flag(error, &LEVEL, f64::NAN))?;
    Ok(json!({ "k": k, "n": n, "confidence": confidence, "lower": interval.lower, "upper": interval.upper }))
}

fn power_outcome(arguments: &PowerArguments) -> Result<Value, Failure> {
    let (recovered, broken, alpha) = (arguments.recovered, arguments.broken, arguments.alpha);
    let effect = Discordance { treatment_only: recovered, control_only: broken };
    let mut outcome = json!({ "recovered": recovered, "broken": broken, "alpha": alpha });
    if let Some(n) = arguments.n {
        outcome["n"] = n.into();
        outcome["power"] =
            mcnemar_power(effect, alpha, n).map_err(|error| by_flag(error, &SHARES, f64::NAN))?.into();
    }
    if let Some(power) = arguments.power {
        let size = mcnemar_sample_size(effect, alpha, power, 1_000_000);
        let size = size.map_err(|error| by_flag(error, &SHARES, power))?;
        outcome["target"] = power.into();
        outcome["first"] = size.first.into();
        outcome["first_power"] = size.first_power.into();
        outcome["stable"] = size.stable.into();
        outcome["stable_power"] = size.stable_power.into();
        outcome["looked_ahead"] = size.looked_ahead.into();
    }
    Ok(outcome)
}

/// Parameters of the statistics and the flags that set them, where the names differ.
const LEVEL: [(&str, &str); 1] = [("confidence", "--level")];
const SHARES: [(&str, &str); 2] = [("treatment_only", "--recovered"), ("control_only", "--broken")];

/// Converts an error of the statistics to a failure that names the flag which caused it. `flags` pairs parameters with
/// flags of another name. `power` is the power that was asked for, where a number of episodes is searched for; else it is
/// NaN.
pub fn by_flag(error: StatisticsError, flags: &[(&str, &str)], power: f64) -> Failure {
    let StatisticsError::Range { name, found, valid } = error else { return failure(Exit::Input, error) };
    if name == "limit" {
        let valid = format!("valid is a power that at most {found} episodes reach");
        return failure(Exit::Input, format!("--power: found {power}; {valid}"));
    }
    let flag = flags.iter().find(|(known, _)| *known == name);
    let flag = flag.map_or_else(|| format!("--{name}"), |(_, flag)| (*flag).to_owned());
    let valid = flags.iter().fold(valid.to_owned(), |valid, (known, flag)| valid.replace(known, flag));
    failure(Exit::Input, format!("{flag}: found {found}; valid is {valid}"))
}

/// Formats an outcome as one line per key.
fn plain(outcome: &Value) -> String {
    let mut text = String::new();
    for (key, value) in outcome.as_object().into_iter().flatten() {
        let _ = writeln!(text, "{key:<13} {value}");
    }
    text
}

fn auroc_outcome(arguments: &AurocArguments) -> Result<Value, Failure> {
    let rows = ScoreRows::read(&arguments.csv)?;
    let named = |error| failure(Exit::Input, format!("{}: {error}", arguments.csv.display()));
    let positives = rows.labels.iter().filter(|label| **label).count();
    let mut outcome = json!({
        "positives": positives,
        "negatives": rows.labels.len() - positives,
        "auroc": auroc(&rows.labels, &rows.scores).map_err(named)?,
    });
    if let Some(groups) = &rows.groups {
        outcome["auroc_within"] = auroc_within(&rows.labels, &rows.scores, groups).map_err(named)?.into();
    }
    Ok(outcome)
}

/// A file of labels and scores, column by column.
struct ScoreRows {
    labels: Vec<bool>,
    scores: Vec<f64>,
    groups: Option<Vec<String>>,
}

impl ScoreRows {
    fn read(path: &Path) -> Result<Self, Failure> {
        let refused = |reason: String| failure(Exit::Input, format!("{}: {reason}", path.display()));
        let text = aegis_files::read_rows(path).map_err(|error| refused(format!("cannot read: {error}")))?;
        let mut lines = text.lines().enumerate();
        let header = lines.next().map_or("", |(_, line)| line.trim());
        let grouped = match header {
            "label,score" => false,
            "label,score,group" => true,
            other => {
                let begin: String = other.chars().take(60).collect();
                return Err(refused(format!(
                    "line 1: found `{begin}`; valid is `label,score` or `label,score,group`"
                )));
            }
        };
        let mut rows = Self { labels: Vec::new(), scores: Vec::new(), groups: grouped.then(Vec::new) };
        for (index, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
            let fields: Vec<&str> = line.split(',').map(str::trim).collect();
            let wrong = |column: &str, found: &str, valid: &str| {
                refused(format!("line {}: {column}: found `{found}`; valid is {valid}", index + 1))
            };
            let columns = if grouped { 3 } else { 2 };
            if fields.len() != columns {
                return Err(wrong("columns", line, &format!("{columns} columns")));
            }
            rows.labels.push(match fields[0] {
                "0" => false,
                "1" => true,
                other => return Err(wrong("label", other, "0 or 1")),
            });
            let score: f64 = fields[1].parse().map_err(|_| wrong("score", fields[1], "a number"))?;
            if score.is_nan() {
                return Err(wrong("score", fields[1], "a number"));
            }
            rows.scores.push(score);
            if let Some(groups) = &mut rows.groups {
                groups.push(fields[2].to_owned());
            }
        }
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_discordant_pair_p_is_one_and_mid_p_a_half() {
        let outcome = mcnemar_outcome(&McnemarArguments { b: 0, c: 0, json: true });
        let found = ["one_sided", "two_sided", "mid_p_one_sided"].map(|key| outcome[key].as_f64());
        assert_eq!(found, [Some(1.0), Some(1.0), Some(0.5)]);
    }
}
