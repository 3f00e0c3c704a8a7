//! How good a probe is, on rollouts that neither its fit nor its thresholds have seen.
//! Every figure is made from stored rollouts; intervals resample whole starts, never boundaries.

use std::collections::BTreeMap;

use aegis_core::platt::PlattScaling;
use aegis_core::trigger::Rule;
use aegis_core::{GateLimits, Score, gate::GateError};
use aegis_statistics::{
    Bootstrap, Clusters, Estimate, Method, Proportion, Reliability, StatisticsError, auroc, auroc_interval,
    auroc_within_interval, reliability,
};
use serde::Serialize;

use super::baselines::{Baseline, early_scores};
use super::calibration::{CalibrationError, Scored};
use super::file::{Data, ProbeFile};
use super::rules::{RuleSettings, first_fire};
use crate::rollouts::Rollout;

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// The head's kind.
    pub head: &'static str,
    /// The rollouts.
    pub data: Data,
    /// Scores read over the early window.
    pub probe: Measure,
    /// The same for what needs no activation.
    pub baselines: Vec<Measure>,
    /// Task by task.
    pub tasks: Vec<TaskMeasure>,
    /// Boundary by boundary, over the episodes that still run there.
    pub over_time: Vec<TimePoint>,
    /// Thresholds from strict to loose: what each would catch, and how early.
    pub lead_time: Vec<LeadTime>,
    /// Calibrated early scores against outcomes.
    pub reliability: Reliability,
    /// Won episodes under the conformal threshold and inside the band.
    pub coverage: Vec<Coverage>,
    /// Every rule of the gate on the same rollouts.
    pub rules: Vec<RuleMeasure>,
}

/// Early-window AUROC of one score.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measure {
    /// What was scored.
    pub name: String,
    /// Over all pairs of a lost and a won episode.
    pub overall: Estimate,
    /// Over pairs of the same task alone; none where no task has both.
    pub within_task: Option<Estimate>,
}

/// One task.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaskMeasure {
    /// The task.
    pub task: usize,
    /// Its episodes.
    pub episodes: usize,
    /// How many of them the weak policy lost.
    pub lost: usize,
    /// Early-window AUROC; none where all ended alike.
    pub auroc: Option<f64>,
}

/// One boundary.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TimePoint {
    /// Its control step.
    pub step: u32,
    /// Episodes that still run.
    pub running: usize,
    /// How many of them are lost in the end.
    pub lost: usize,
    /// AUROC of the score here; none where all end alike.
    pub auroc: Option<f64>,
}

/// One threshold.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LeadTime {
    /// Share of won episodes that the threshold was set to alarm on.
    pub asked_false_alarms: f64,
    /// The threshold on the score.
    pub threshold: f64,
    /// Share of won episodes that crossed it where the gate may fire.
    pub false_alarms: f64,
    /// Share of lost episodes that crossed it.
    pub caught: f64,
    /// Median control steps from the first crossing to the end of the lost episodes that crossed it.
    pub median_lead_steps: Option<f64>,
}

/// Won episodes that raised no alarm.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Coverage {
    /// The rule.
    pub rule: &'static str,
    /// Its level.
    pub alpha: f64,
    /// Share of fresh won episodes without an alarm, with its 95 % interval.
    pub covered: Proportion,
    /// Whether the interval holds 1 − α or lies above it.
    pub holds: bool,
}

/// One rule of the gate, on the weak policy's own path.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RuleMeasure {
    /// The rule.
    pub rule: &'static str,
    /// Share of won episodes in which it would have fired.
    pub false_alarms: Proportion,
    /// Share of lost episodes in which it would have fired.
    pub caught: Proportion,
    /// Median control step of the first fire, in lost episodes.
    pub median_step: Option<f64>,
}

/// Why a probe cannot be judged.
#[derive(Debug, thiserror::Error)]
pub enum EvaluationError {
    /// The probe or a rival cannot read the rollouts.
    #[error(transparent)]
    Calibration(#[from] CalibrationError),
    /// The rollouts give no such figure: none at all, or all ended alike.
    #[error("evaluation: {0}")]
    Statistics(#[from] StatisticsError),
    /// A rule's settings are none.
    #[error(transparent)]
    Gate(#[from] GateError),
}

/// Judges a probe on `fresh` rollouts; rivals are fitted on `discovery`, as the probe was.
pub fn evaluate(
    file: &ProbeFile,
    discovery: &[Rollout],
    fresh: &[Rollout],
    gate: &GateLimits,
    seed: u64,
) -> Result<Evaluation, EvaluationError> {
    let score = |rollouts: &[Rollout]| -> Result<Vec<Scored>, CalibrationError> {
        rollouts.iter().map(|rollout| Scored::of(&file.probe, rollout)).collect()
    };
    let (discovery_scored, scored) = (score(discovery)?, score(fresh)?);
    let end = file.settings.early_fraction * f64::from(gate.horizon_steps);
    let bootstrap = Bootstrap { replicates: 2000, seed, confidence: 0.95, method: Method::Percentile };
    let early: Vec<f64> = scored.iter().map(|episode| episode.early(end)).collect();
    let probe = measure(&format!("probe, {}", file.probe.kind()), fresh, &early, &bootstrap)?;
    // The probe's own head and penalty: a rival must not lose for want of hidden units.
    let options = file.settings.options(file.penalty);
    let baselines = Baseline::ALL
        .iter()
        .map(|baseline| {
            let rollouts = ((discovery, &discovery_scored[..]), (fresh, &scored[..]));
            let scores = early_scores(*baseline, rollouts.0, rollouts.1, (&options, end))?;
            measure(baseline.name(), fresh, &scores, &bootstrap)
        })
        .collect::<Result<_, EvaluationError>>()?;
    let failed: Vec<bool> = scored.iter().map(|episode| episode.failed).collect();
    let rules = rules(file, gate, &scored)?;
    Ok(Evaluation {
        head: file.probe.kind().name(),
        data: Data::of(fresh),
        probe,
        baselines,
        tasks: by_task(fresh, &early),
        over_time: over_time(&scored),
        lead_time: lead_time(&scored, gate),
        reliability: calibrated_reliability(&file.calibration.calibrator, &failed, &early, 0.95)?,
        coverage: coverage(&rules, file.settings.alpha),
        rules,
    })
}

/// Early scores, as the calibrated probabilities of failure that they stand for, against outcomes; intervals at `level`.
pub(crate) fn calibrated_reliability(
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

/// Every boundary, over the episodes that still run there.
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

/// Thresholds are quantiles of the won episodes' highest scores at which the gate may fire.
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

/// The rules that a plan can name, each with the thresholds of this calibration.
fn rules(
    file: &ProbeFile,
    gate: &GateLimits,
    scored: &[Scored],
) -> Result<Vec<RuleMeasure>, EvaluationError> {
    let (lost, won): (Vec<&Scored>, Vec<&Scored>) = scored.iter().partition(|episode| episode.failed);
    let named = [
        ("conformal", RuleSettings::Conformal {}),
        ("functional band", RuleSettings::FunctionalBand {}),
        ("cost, misses three times as dear", RuleSettings::Cost { missed_failure: 3.0, false_alarm: 1.0 }),
        ("cost, both alike", RuleSettings::Cost { missed_failure: 1.0, false_alarm: 1.0 }),
        ("trend", RuleSettings::Trend { switch_cap: 4 }),
        ("disagreement", RuleSettings::Disagreement {}),
    ];
    named
        .into_iter()
        .map(|(name, settings)| {
            let rule: Rule = settings.rule(&file.calibration, file.settings.trend_window);
            let trigger = rule.trigger()?;
            let fires = |episodes: &[&Scored]| -> Result<Vec<Option<u32>>, GateError> {
                episodes.iter().map(|episode| first_fire(&trigger, gate, episode)).collect()
            };
            let (on_won, on_lost) = (fires(&won)?, fires(&lost)?);
            let median_step = median(on_lost.iter().flatten().map(|step| f64::from(*step)).collect());
            Ok(RuleMeasure {
                rule: name,
                false_alarms: fired(&on_won)?,
                caught: fired(&on_lost)?,
                median_step,
            })
        })
        .collect()
}

fn fired(fires: &[Option<u32>]) -> Result<Proportion, StatisticsError> {
    let count = fires.iter().flatten().count() as u64;
    proportion(count, fires.len() as u64)
}

fn proportion(count: u64, total: u64) -> Result<Proportion, StatisticsError> {
    Proportion::new(count, total, 0.95)
}

/// Both conformal rules promise it for fresh won episodes.
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
