//! Evaluation of a probe on rollouts that neither its fit nor its thresholds have seen. All figures are computed from
//! stored rollouts; intervals resample whole starts, never single boundaries.

mod error;

use std::collections::BTreeMap;

use aegis_core::platt::PlattScaling;
use aegis_core::trigger::Rule;
use aegis_core::{GateLimits, Score, gate::GateError};
use aegis_statistics::{
    Bootstrap, Clusters, Estimate, Method, Proportion, Reliability, StatisticsError, auroc, auroc_interval,
    auroc_within_interval, reliability,
};
use serde::Serialize;

pub use error::EvaluationError;

use crate::baselines::{Baseline, UnknownBaseline, early_scores};
use crate::benefit::BenefitEvaluation;
use crate::calibration::{CalibrationError, Scored};
use crate::file::{Data, ProbeFile};
use crate::hold_out::HoldOut;
use crate::rollout::{Rollout, has_chunks};
use crate::rules::{RuleSettings, first_fire};

/// Result of an evaluation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// Kind of the head.
    pub head: &'static str,
    /// Rollouts of the evaluation.
    pub data: Data,
    /// AUROC of the probe's score over the early window.
    pub probe: Measure,
    /// The same for baselines that read no activation.
    pub baselines: Vec<Measure>,
    /// Baselines that the rollouts do not determine, each with the reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknown_baselines: Vec<UnknownBaseline>,
    /// Figures of each task.
    pub tasks: Vec<TaskMeasure>,
    /// Figures of each boundary, over the episodes that still run there.
    pub over_time: Vec<TimePoint>,
    /// Thresholds from strict to loose, with the detected failures and the lead time of each.
    pub lead_time: Vec<LeadTime>,
    /// Reliability of the calibrated early scores.
    pub reliability: Reliability,
    /// Coverage of the successful episodes by the conformal threshold and by the band.
    pub coverage: Vec<Coverage>,
    /// Figures of every rule of the gate on the same rollouts.
    pub rules: Vec<RuleMeasure>,
    /// Rules that cannot run with the thresholds of this calibration.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unusable: Vec<UnusableRule>,
    /// Figures on forks of the same episodes; `None` without forks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub benefit: Option<BenefitEvaluation>,
    /// Figures on tasks that a fit has not seen; `None` where they were not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_out: Option<HoldOut>,
}

/// A rule that cannot run with the thresholds of a calibration.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UnusableRule {
    /// Name of the rule.
    pub rule: &'static str,
    /// The setting, what was found and what is valid.
    pub reason: String,
}

/// Early-window AUROC of one score.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measure {
    /// Name of the scored quantity.
    pub name: String,
    /// AUROC over all pairs of a failed and a successful episode.
    pub overall: Estimate,
    /// AUROC over pairs of the same task only; `None` where no task has both outcomes.
    pub within_task: Option<Estimate>,
}

/// Figures of one task.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaskMeasure {
    /// Task.
    pub task: usize,
    /// Number of episodes.
    pub episodes: usize,
    /// Number of them that the weak policy failed.
    pub lost: usize,
    /// Early-window AUROC; `None` where all episodes had the same outcome.
    pub auroc: Option<f64>,
}

/// Figures of one boundary.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TimePoint {
    /// Control step.
    pub step: u32,
    /// Number of episodes that still run.
    pub running: usize,
    /// Number of them that fail in the end.
    pub lost: usize,
    /// AUROC of the score at this boundary; `None` where all these episodes have the same outcome.
    pub auroc: Option<f64>,
}

/// Figures of one threshold.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LeadTime {
    /// Fraction of the successful episodes for which the threshold was set to raise an alarm.
    pub asked_false_alarms: f64,
    /// Threshold on the score.
    pub threshold: f64,
    /// Fraction of the successful episodes whose score exceeded the threshold at a boundary at which the gate may fire.
    pub false_alarms: f64,
    /// Fraction of the failed episodes whose score exceeded the threshold at such a boundary.
    pub caught: f64,
    /// Median number of control steps from the first such boundary to the horizon, over the failed episodes that have
    /// one.
    pub median_lead_steps: Option<f64>,
}

/// Coverage of successful episodes by one rule.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Coverage {
    /// Name of the rule.
    pub rule: &'static str,
    /// Level of the rule.
    pub alpha: f64,
    /// Fraction of fresh successful episodes without an alarm, with its 95 % interval.
    pub covered: Proportion,
    /// Whether the interval contains 1 − α or lies above it.
    pub holds: bool,
}

/// Figures of one rule of the gate, on episodes of the weak policy.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RuleMeasure {
    /// Name of the rule.
    pub rule: &'static str,
    /// Fraction of the successful episodes in which the rule would have fired.
    pub false_alarms: Proportion,
    /// Fraction of the failed episodes in which the rule would have fired.
    pub caught: Proportion,
    /// Median control step of the first fire, over the failed episodes.
    pub median_step: Option<f64>,
}

/// Data on which baselines are fitted.
#[derive(Clone, Copy, Debug)]
pub struct Discovery<'a> {
    /// The rollouts that the probe was fitted on; with none, no baseline is fitted.
    pub rollouts: &'a [Rollout],
    /// For each channel of an action whether it is a motion; see [`Schema::motion`](aegis_core::feature::Schema::motion). Baselines
    /// that read actions leave out the other channels. Channels past the end of the list count as motions.
    pub motion: &'a [bool],
}

/// Evaluates a probe on `fresh` rollouts, beside baselines that are fitted on `discovery`.
pub fn evaluate(
    file: &ProbeFile,
    discovery: Discovery<'_>,
    fresh: &[Rollout],
    gate: &GateLimits,
    seed: u64,
) -> Result<Evaluation, EvaluationError> {
    let Discovery { rollouts: discovery, motion } = discovery;
    let score = |rollouts: &[Rollout]| -> Result<Vec<Scored>, CalibrationError> {
        rollouts.iter().map(|rollout| Scored::of(&file.probe, rollout)).collect()
    };
    let (discovery_scored, scored) = (score(discovery)?, score(fresh)?);
    let end = file.settings.early_fraction * f64::from(gate.horizon_steps);
    let bootstrap = Bootstrap { replicates: 2000, seed, confidence: 0.95, method: Method::Percentile };
    let early: Vec<f64> = scored.iter().map(|episode| episode.early(end)).collect();
    let probe = measure(&format!("probe, {}", file.probe.kind()), fresh, &early, &bootstrap)?;
    // Baselines use the probe's own head and penalty, so that they are not at a disadvantage for lack of capacity.
    let options = file.settings.options(file.penalty);
    let have_chunks = has_chunks(discovery) && has_chunks(fresh);
    let unknown = |baseline: &Baseline| match (discovery.is_empty(), baseline.reads_chunks() && !have_chunks)
    {
        (true, _) => Some("the rollouts that the probe was fitted on were not given"),
        (_, true) => Some("the rollouts have no chunks"),
        _ => None,
    };
    let unknown_baselines = Baseline::ALL
        .iter()
        .filter_map(|one| Some(UnknownBaseline { baseline: one.name(), reason: unknown(one)? }))
        .collect();
    let baselines = Baseline::ALL
        .iter()
        .filter(|baseline| unknown(baseline).is_none())
        .map(|baseline| {
            let rollouts = ((discovery, &discovery_scored[..]), (fresh, &scored[..]));
            let scores = early_scores(*baseline, rollouts.0, rollouts.1, (&options, end), motion)?;
            measure(baseline.name(), fresh, &scores, &bootstrap)
        })
        .collect::<Result<_, EvaluationError>>()?;
    let failed: Vec<bool> = scored.iter().map(|episode| episode.failed).collect();
    let (rules, unusable) = rules(file, gate, &scored)?;
    Ok(Evaluation {
        head: file.probe.kind().name(),
        data: Data::of(fresh),
        probe,
        baselines,
        unknown_baselines,
        tasks: by_task(fresh, &early),
        over_time: over_time(&scored),
        lead_time: lead_time(&scored, gate),
        reliability: calibrated_reliability(&file.calibration.calibrator, &failed, &early, 0.95)?,
        coverage: coverage(&rules, file.settings.alpha),
        rules,
        unusable,
        benefit: None,
        hold_out: None,
    })
}

/// Computes the reliability of the early scores' calibrated probabilities of failure, with intervals at `level`.
pub fn calibrated_reliability(
    calibrator: &PlattScaling,
    failed: &[bool],
    early: &[f64],
    level: f64,
) -> Result<Reliability, StatisticsError> {
    const BINS: usize = 10;
    let probabilities: Vec<f64> =
        early.iter().map(|score| calibrator.probability(Score::new(*score))).collect();
    reliability(failed, &probabilities, BINS, level)
}

fn measure(
    name: &str,
    rollouts: &[Rollout],
    scores: &[f64],
    bootstrap: &Bootstrap,
) -> Result<Measure, EvaluationError> {
    let failed: Vec<bool> = rollouts.iter().map(|rollout| !rollout.success).collect();
    let starts: Vec<_> = rollouts.iter().map(|rollout| rollout.key.start).collect();
    let tasks: Vec<usize> = starts.iter().map(|start| start.task).collect();
    let overall = auroc_interval(&failed, scores, &Clusters::new(&starts)?, bootstrap)?;
    let within_task = match auroc_within_interval(&failed, scores, &tasks, &starts, bootstrap) {
        Ok(estimate) => Some(estimate),
        Err(StatisticsError::NoMixedGroup { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    Ok(Measure { name: name.to_owned(), overall, within_task })
}

fn by_task(rollouts: &[Rollout], early: &[f64]) -> Vec<TaskMeasure> {
    let mut tasks: BTreeMap<usize, (Vec<bool>, Vec<f64>)> = BTreeMap::new();
    for (rollout, score) in rollouts.iter().zip(early) {
        let (failed, scores) = tasks.entry(rollout.key.start.task).or_default();
        failed.push(!rollout.success);
        scores.push(*score);
    }
    let measure = |(task, (failed, scores)): (usize, (Vec<bool>, Vec<f64>))| TaskMeasure {
        task,
        episodes: failed.len(),
        lost: failed.iter().filter(|failed| **failed).count(),
        auroc: auroc(&failed, &scores).ok(),
    };
    tasks.into_iter().map(measure).collect()
}

/// Returns the figures of every boundary, over the episodes that still run there.
pub fn over_time(scored: &[Scored]) -> Vec<TimePoint> {
    let last = scored.iter().map(|episode| episode.steps.len()).max().unwrap_or(0);
    (0..last)
        .map(|boundary| {
            let running = || scored.iter().filter(move |episode| episode.steps.len() > boundary);
            let failed: Vec<bool> = running().map(|episode| episode.failed).collect();
            let scores: Vec<f64> = running().map(|episode| episode.scores[boundary].risk()).collect();
            TimePoint {
                step: running().map(|episode| episode.steps[boundary]).next().unwrap_or(0),
                running: failed.len(),
                lost: failed.iter().filter(|failed| **failed).count(),
                auroc: auroc(&failed, &scores).ok(),
            }
        })
        .collect()
}

/// Computes detections and lead times. Thresholds are quantiles of the successful episodes' highest scores at
/// boundaries at which the gate may fire.
fn lead_time(scored: &[Scored], gate: &GateLimits) -> Vec<LeadTime> {
    let guard = gate.guard_steps();
    let armed = |episode: &Scored| -> Vec<(u32, f64)> {
        let boundaries = episode.steps.iter().zip(&episode.scores);
        boundaries.filter(|(step, _)| **step >= guard).map(|(step, score)| (*step, score.risk())).collect()
    };
    let highest =
        |episode: &Scored| armed(episode).iter().fold(f64::NEG_INFINITY, |most, (_, risk)| most.max(*risk));
    let (lost, won): (Vec<&Scored>, Vec<&Scored>) = scored.iter().partition(|episode| episode.failed);
    let mut peaks: Vec<f64> = won.iter().map(|episode| highest(episode)).collect();
    peaks.sort_by(f64::total_cmp);
    let thresholds = [0.01, 0.05, 0.10, 0.20, 0.30, 0.50].map(|asked| {
        let rank = ((1.0 - asked) * peaks.len() as f64).ceil() as usize;
        (asked, peaks.get(rank.saturating_sub(1)).copied().unwrap_or(f64::INFINITY))
    });
    let share = |episodes: &[&Scored], threshold: f64| {
        let above = episodes.iter().filter(|episode| highest(episode) > threshold).count();
        above as f64 / episodes.len().max(1) as f64
    };
    thresholds
        .map(|(asked_false_alarms, threshold)| {
            let leads = lost.iter().filter_map(|episode| {
                let first = armed(episode).into_iter().find(|(_, risk)| *risk > threshold)?.0;
                Some(f64::from(gate.horizon_steps - first))
            });
            LeadTime {
                asked_false_alarms,
                threshold,
                false_alarms: share(&won, threshold),
                caught: share(&lost, threshold),
                median_lead_steps: median(leads.collect()),
            }
        })
        .to_vec()
}

/// Evaluates the rules that a plan can name, each with the thresholds of this calibration. A rule that is not valid with these
/// thresholds is returned with the reason.
fn rules(
    file: &ProbeFile,
    gate: &GateLimits,
    scored: &[Scored],
) -> Result<(Vec<RuleMeasure>, Vec<UnusableRule>), EvaluationError> {
    let (lost, won): (Vec<&Scored>, Vec<&Scored>) = scored.iter().partition(|episode| episode.failed);
    let named = [
        ("conformal", RuleSettings::Conformal {}),
        ("functional band", RuleSettings::FunctionalBand {}),
        ("cost, misses three times as dear", RuleSettings::Cost { missed_failure: 3.0, false_alarm: 1.0 }),
        ("cost, both alike", RuleSettings::Cost { missed_failure: 1.0, false_alarm: 1.0 }),
        ("trend", RuleSettings::Trend { switch_cap: 4 }),
        ("disagreement", RuleSettings::Disagreement {}),
    ];
    let (mut measures, mut unusable) = (Vec::new(), Vec::new());
    for (rule, settings) in named {
        let bound: Rule = settings.rule(&file.calibration, file.settings.trend_window);
        let trigger = match bound.trigger() {
            Ok(trigger) => trigger,
            Err(error) => {
                unusable.push(UnusableRule { rule, reason: error.to_string() });
                continue;
            }
        };
        let fires = |episodes: &[&Scored]| -> Result<Vec<Option<u32>>, GateError> {
            episodes.iter().map(|episode| first_fire(&trigger, gate, episode)).collect()
        };
        let (on_won, on_lost) = (fires(&won)?, fires(&lost)?);
        let median_step = median(on_lost.iter().flatten().map(|step| f64::from(*step)).collect());
        measures.push(RuleMeasure {
            rule,
            false_alarms: fired(&on_won)?,
            caught: fired(&on_lost)?,
            median_step,
        });
    }
    Ok((measures, unusable))
}

fn fired(fires: &[Option<u32>]) -> Result<Proportion, StatisticsError> {
    let count = fires.iter().flatten().count() as u64;
    proportion(count, fires.len() as u64)
}

fn proportion(count: u64, total: u64) -> Result<Proportion, StatisticsError> {
    Proportion::new(count, total, 0.95)
}

/// Returns the coverage of the two conformal rules, which guarantee coverage for fresh successful episodes.
fn coverage(rules: &[RuleMeasure], alpha: f64) -> Vec<Coverage> {
    let promised = rules.iter().filter(|rule| ["conformal", "functional band"].contains(&rule.rule));
    promised
        .filter_map(|rule| {
            let Proportion { k, n, .. } = rule.false_alarms;
            let covered = proportion(n - k, n).ok()?;
            Some(Coverage { rule: rule.rule, alpha, covered, holds: covered.exact.upper >= 1.0 - alpha })
        })
        .collect()
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}
