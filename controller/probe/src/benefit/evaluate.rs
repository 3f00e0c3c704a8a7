//! Evaluation of a benefit head on forks of episodes that it has not seen, beside scores that were not fitted to benefit. Both outcomes
//! of every boundary are known, so figures are exact for these episodes; intervals resample whole starts.

use aegis_core::Start;
use aegis_core::probe::kernel;
use aegis_statistics::{
    Bootstrap, BudgetCurve, BudgetPoint, Clusters, Effect, Estimate, Method, Qini, Ratio, StatisticsError,
    Unit, UpliftPoint,
};
use serde::Serialize;

use super::{ForkData, Forked, ForkedBoundary};
use crate::baselines::{UnknownBaseline, seam};
use crate::calibration::{CalibrationError, Scored};
use crate::evaluation::EvaluationError;
use crate::file::ProbeFile;
use crate::rollout::{Rollout, has_chunks};

/// Shares at which curves are printed: tenths.
const PARTS: usize = 10;
/// Resamples of every interval.
const REPLICATES: u64 = 2000;

/// Evaluation on forks.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BenefitEvaluation {
    /// Forks of the evaluation.
    pub data: ForkData,
    /// Control steps of a hold.
    pub hold_steps: u32,
    /// Mean benefit of a hold over all boundaries at which a gate may fire; drawn boundaries count by the inverse of their
    /// probability, here and in the rankings.
    pub mean_benefit: f64,
    /// Scores as rankings of boundaries by benefit; the benefit head first, where the probe has one.
    pub rankings: Vec<RankingMeasure>,
    /// Scores that are not known, each with the reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<UnknownBaseline>,
    /// One hold in an episode; `None` where no lost episode has all of its boundaries forked.
    pub one_hold: Option<OneHold>,
    /// Reliability of the predicted benefit; `None` without a benefit head.
    pub reliability: Option<BenefitReliability>,
}

/// Score as a ranking of boundaries.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RankingMeasure {
    /// Name of the score.
    pub name: &'static str,
    /// Qini coefficient: 1 for the ranking by benefit itself, 0 for a random one; `None` where every boundary has the same benefit.
    pub qini: Option<Estimate>,
    /// Qini coefficient of the benefit head minus this one; `None` for the benefit head itself, without one, and as `qini`.
    pub behind: Option<Estimate>,
    /// Uplift curve: successes that holds gain for each boundary there is, against the share of boundaries with a hold.
    pub uplift: Vec<UpliftPoint>,
}

/// One hold in an episode, at its first boundary above a threshold that is lowered step by step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OneHold {
    /// Episodes of which every boundary has its fork; the others are left out.
    pub episodes: usize,
    /// Those of them that the weak policy lost.
    pub lost: usize,
    /// Budget: strong steps of all episodes, as a share of their horizons.
    pub budget: f64,
    /// Figures of each score.
    pub rankings: Vec<OneHoldMeasure>,
    /// One hold at a boundary drawn uniformly, in a share of the episodes: the expectation.
    pub random: OneHoldMeasure,
}

/// Figures of one score that decides on one hold in an episode.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OneHoldMeasure {
    /// Name of the score.
    pub name: &'static str,
    /// Mean, over all budgets from zero to this one, of the share of lost episodes that are recovered.
    pub area: Estimate,
    /// Area of the benefit head minus this one; `None` for the benefit head itself and without one.
    pub behind: Option<Estimate>,
    /// Recovered and broken shares at tenths of the budget.
    pub curve: Vec<BudgetPoint>,
}

/// Reliability of the predicted benefit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BenefitReliability {
    /// Tenths of the boundaries by predicted benefit, from the lowest on.
    pub tenths: Vec<BenefitTenth>,
    /// Mean distance between predicted and observed benefit of a tenth.
    pub expected_calibration_error: f64,
}

/// Boundaries of similar predicted benefit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BenefitTenth {
    /// Boundaries with a fork.
    pub forks: usize,
    /// Mean predicted benefit.
    pub predicted: f64,
    /// Mean benefit.
    pub observed: f64,
    /// Interval of the mean benefit; `None` where all of these boundaries are of one start.
    pub interval: Option<Estimate>,
}

/// Score of every boundary of every rollout, `[rollouts][boundaries]`.
struct Scores {
    name: &'static str,
    values: Vec<Vec<f64>>,
}

/// Evaluates scores on the forks of fresh `rollouts`, which `forked` joins. `motion` has for each channel of an action whether it counts
/// as motion, `horizon_steps` are those of an episode, `hold_steps` those of a hold; `budget` is the largest share of all horizons that
/// holds may take, half a hold in every episode where it is `None`.
///
/// # Errors
/// A probe or a score that cannot read the rollouts, and fewer than two starts.
pub fn evaluate(
    file: &ProbeFile,
    (rollouts, forked): (&[Rollout], &Forked<'_>),
    motion: &[bool],
    (horizon_steps, hold_steps): (u32, u32),
    budget: Option<f64>,
    seed: u64,
) -> Result<BenefitEvaluation, EvaluationError> {
    let bootstrap = Bootstrap { replicates: REPLICATES, seed, confidence: 0.95, method: Method::Percentile };
    let (scores, unknown) = scores(file, rollouts, motion)?;
    let place = |one: &ForkedBoundary<'_>| (one.episode, one.index);
    let of_boundaries = |scores: &Scores| -> Vec<f64> {
        forked.boundaries.iter().map(place).map(|(episode, index)| scores.values[episode][index]).collect()
    };
    let starts: Vec<Start> = forked.boundaries.iter().map(ForkedBoundary::start).collect();
    let clusters = Clusters::new(&starts)?;
    let benefits: Vec<f64> = forked.boundaries.iter().map(ForkedBoundary::benefit).collect();
    let weights: Vec<f64> = forked.boundaries.iter().map(|one| 1.0 / one.fork.inclusion).collect();
    let ranked = scores.iter().map(|one| Qini::new(&benefits, &weights, &of_boundaries(one), &clusters));
    let ranked = ranked.collect::<Result<Vec<Qini>, StatisticsError>>()?;
    let of_head = file.benefit.is_some().then(|| ranked.first()).flatten();
    let rankings = scores.iter().zip(&ranked).enumerate().map(|(index, (one, qini))| {
        let rival = of_head.filter(|_| index > 0);
        Ok(RankingMeasure {
            name: one.name,
            qini: defined(qini.interval(&clusters, &bootstrap))?,
            behind: match rival {
                Some(head) => defined(head.difference(qini, &clusters, &bootstrap))?,
                None => None,
            },
            uplift: qini.curve(PARTS),
        })
    });
    let total: f64 = weights.iter().sum();
    let reliability = file
        .benefit
        .as_ref()
        .and_then(|_| scores.first())
        .map(|head| reliability((&of_boundaries(head), &benefits, &weights), &clusters, &bootstrap));
    Ok(BenefitEvaluation {
        data: forked.data.clone(),
        hold_steps,
        mean_benefit: benefits.iter().zip(&weights).map(|(benefit, weight)| benefit * weight).sum::<f64>()
            / total,
        rankings: rankings.collect::<Result<_, StatisticsError>>()?,
        unknown,
        one_hold: one_hold(
            (rollouts, forked),
            (&scores, file.benefit.is_some()),
            f64::from(horizon_steps),
            budget.unwrap_or(f64::from(hold_steps) / f64::from(2 * horizon_steps)),
            &bootstrap,
        )?,
        reliability: reliability.transpose()?,
    })
}

/// Returns an estimate, or `None` where the data do not determine it: every boundary has the same benefit.
pub(crate) fn defined(found: Result<Estimate, StatisticsError>) -> Result<Option<Estimate>, StatisticsError> {
    match found {
        Ok(estimate) => Ok(Some(estimate)),
        Err(StatisticsError::Undefined(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the scores of every boundary, and those that are not known.
fn scores(
    file: &ProbeFile,
    rollouts: &[Rollout],
    motion: &[bool],
) -> Result<(Vec<Scores>, Vec<UnknownBaseline>), EvaluationError> {
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    let mut add = |name, values: Vec<Vec<f64>>| known.push(Scores { name, values });
    let scored = rollouts.iter().map(|rollout| Scored::of(&file.probe, rollout));
    let scored = scored.collect::<Result<Vec<Scored>, _>>()?;
    match &file.benefit {
        Some(benefit) => {
            let mut memory = benefit.head.memory();
            let mut read = |rollout: &Rollout| {
                let boundaries = rollout.boundaries.iter();
                boundaries.map(|boundary| benefit.head.benefit(&mut memory, &boundary.features)).collect()
            };
            let values = rollouts.iter().map(&mut read).collect::<Result<_, _>>();
            add("benefit head", values.map_err(CalibrationError::Probe)?);
        }
        None => unknown.push(UnknownBaseline {
            baseline: "benefit head",
            reason: "the probe has none: fit it with --forks",
        }),
    }
    let of_scored = |value: &dyn Fn(&Scored) -> Vec<f64>| scored.iter().map(value).collect::<Vec<_>>();
    add("risk head", of_scored(&|episode| episode.scores.iter().map(|score| score.risk()).collect()));
    if has_chunks(rollouts) {
        add("weak against strong", of_scored(&|episode| episode.disagreement.clone()));
        add(
            "seam between chunks",
            each(rollouts, &|rollout, index| {
                let before = index.checked_sub(1).and_then(|last| rollout.boundaries.get(last));
                before.map_or(0.0, |before| seam(before, &rollout.boundaries[index], motion))
            }),
        );
    } else {
        for baseline in ["weak against strong", "seam between chunks"] {
            unknown.push(UnknownBaseline { baseline, reason: "the rollouts have no chunks" });
        }
    }
    add(
        "distance from the mean activation",
        each(rollouts, &|rollout, index| {
            let features = &rollout.boundaries[index].features;
            let mut standardised = vec![0.0; features.len()];
            if !kernel::standardise(features, &file.probe.mean, &file.probe.scale, &mut standardised) {
                return f64::INFINITY;
            }
            standardised.iter().map(|value| value * value).sum::<f64>() / features.len() as f64
        }),
    );
    let step = |rollout: &Rollout, index: usize| f64::from(rollout.boundaries[index].step);
    add("time, early first", each(rollouts, &|rollout, index| -step(rollout, index)));
    add("time, late first", each(rollouts, &step));
    Ok((known, unknown))
}

fn each(rollouts: &[Rollout], value: &dyn Fn(&Rollout, usize) -> f64) -> Vec<Vec<f64>> {
    let of = |rollout: &Rollout| (0..rollout.boundaries.len()).map(|index| value(rollout, index)).collect();
    rollouts.iter().map(of).collect()
}

/// Evaluates one hold in an episode, over the episodes of which every boundary has its fork.
fn one_hold(
    (rollouts, forked): (&[Rollout], &Forked<'_>),
    (scores, has_head): (&[Scores], bool),
    horizon_steps: f64,
    budget: f64,
    bootstrap: &Bootstrap,
) -> Result<Option<OneHold>, StatisticsError> {
    let whole: Vec<usize> = (0..rollouts.len()).filter(|episode| forked.complete[*episode]).collect();
    let lost = whole.iter().filter(|episode| !rollouts[**episode].success).count();
    let starts: Vec<Start> = whole.iter().map(|episode| rollouts[*episode].key.start).collect();
    let clusters = match Clusters::new(&starts) {
        Ok(clusters) if lost > 0 => clusters,
        _ => return Ok(None),
    };
    let effect = |one: &ForkedBoundary<'_>| Effect {
        recovered: one.benefit().max(0.0),
        broken: (-one.benefit()).max(0.0),
        spent: f64::from(one.fork.hold.strong_steps),
    };
    let units = |values: Option<&Scores>| -> Vec<Unit> {
        let mut moments: Vec<Vec<(f64, Effect)>> = vec![Vec::new(); rollouts.len()];
        for one in &forked.boundaries {
            let score = values.map_or(0.0, |scores| scores.values[one.episode][one.index]);
            moments[one.episode].push((score, effect(one)));
        }
        let unit = |episode: &usize| Unit {
            lost: !rollouts[*episode].success,
            moments: std::mem::take(&mut moments[*episode]),
        };
        whole.iter().map(unit).collect()
    };
    let swept = |scores: &Scores| BudgetCurve::new(&units(Some(scores)), &clusters, horizon_steps);
    let curves: Vec<BudgetCurve> = scores.iter().map(swept).collect();
    let head = has_head.then(|| curves.first()).flatten();
    let budgets: Vec<f64> = (0..=PARTS).map(|part| budget * part as f64 / PARTS as f64).collect();
    let measure = |name, curve: &BudgetCurve, rival: Option<&BudgetCurve>| {
        Ok::<_, StatisticsError>(OneHoldMeasure {
            name,
            area: curve.interval(budget, &clusters, bootstrap)?,
            behind: rival.map(|head| head.difference(curve, budget, &clusters, bootstrap)).transpose()?,
            curve: curve.at(&budgets),
        })
    };
    let rankings = scores.iter().zip(&curves).enumerate();
    let rankings = rankings.map(|(index, (one, curve))| measure(one.name, curve, head.filter(|_| index > 0)));
    Ok(Some(OneHold {
        episodes: whole.len(),
        lost,
        budget,
        rankings: rankings.collect::<Result<_, _>>()?,
        random: measure("random", &BudgetCurve::random(&units(None), &clusters, horizon_steps), head)?,
    }))
}

/// Computes the reliability of the predicted benefit in tenths of the boundaries.
fn reliability(
    (predicted, benefits, weights): (&[f64], &[f64], &[f64]),
    clusters: &Clusters,
    bootstrap: &Bootstrap,
) -> Result<BenefitReliability, StatisticsError> {
    let mut order: Vec<usize> = (0..predicted.len()).filter(|row| predicted[*row].is_finite()).collect();
    order.sort_by(|a, b| predicted[*a].total_cmp(&predicted[*b]).then(a.cmp(b)));
    let mut tenths = Vec::new();
    let (mut distance, mut total) = (0.0, 0.0);
    for part in 0..PARTS {
        let rows = &order[part * order.len() / PARTS..(part + 1) * order.len() / PARTS];
        if rows.is_empty() {
            continue;
        }
        let weight: f64 = rows.iter().map(|row| weights[*row]).sum();
        let mean = |values: &[f64]| rows.iter().map(|row| weights[*row] * values[*row]).sum::<f64>() / weight;
        let mut inside = vec![false; predicted.len()];
        rows.iter().for_each(|row| inside[*row] = true);
        let pairs = (0..predicted.len()).map(|row| {
            let weight = if inside[row] { weights[row] } else { 0.0 };
            (weight * benefits[row], weight)
        });
        let interval = match Ratio::new(clusters, pairs).interval(clusters, bootstrap) {
            Ok(interval) => Some(interval),
            Err(StatisticsError::FewClusters { .. }) => None,
            Err(error) => return Err(error),
        };
        let (said, seen) = (mean(predicted), mean(benefits));
        distance += weight * (said - seen).abs();
        total += weight;
        tenths.push(BenefitTenth { forks: rows.len(), predicted: said, observed: seen, interval });
    }
    let expected_calibration_error = if total > 0.0 { distance / total } else { 0.0 };
    Ok(BenefitReliability { tenths, expected_calibration_error })
}
