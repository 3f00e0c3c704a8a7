//! What the probe says along the weak path: how it ranks lost above won, what its probabilities are worth, how it spreads.
//! Boundaries late in an episode are those of the episodes that still run.

use aegis_core::platt::PlattScaling;
use aegis_core::{Score, Start};
use aegis_statistics::{
    Clusters, Estimate, Reliability, RocPoint, auroc_interval, auroc_within_interval, roc,
};
use serde::Serialize;

use crate::episode::EpisodeResult;
use crate::plan::Plan;
use crate::probe::calibration::Scored;
use crate::probe::evaluation::{TimePoint, calibrated_reliability, over_time};
use crate::study::StudySettings;

/// What the probe is worth on the weak arm's episodes; a part is none where it is undefined, as where all ended alike.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Discrimination {
    /// Early-window AUROC, over clusters.
    pub auroc: Option<Estimate>,
    /// The same within tasks.
    pub auroc_within: Option<Estimate>,
    /// The curve whose area `auroc` is.
    pub roc: Option<Vec<RocPoint>>,
    /// The early window's scores as the calibrated probabilities of failure that they stand for, against outcomes.
    pub reliability: Option<Reliability>,
}

/// The weak arm's episodes as rules and figures read them.
pub struct WeakPath {
    scored: Vec<Scored>,
    starts: Vec<Start>,
}

impl WeakPath {
    /// Of the weak arm's results.
    pub fn new<'a>(weak: impl IntoIterator<Item = &'a EpisodeResult>) -> Self {
        let (scored, starts) = weak.into_iter().map(|result| (scored(result), result.key.start)).unzip();
        Self { scored, starts }
    }

    /// The early window's AUROC over all episodes.
    pub fn auroc(&self, plan: &Plan, study: &StudySettings) -> Option<Estimate> {
        let (failed, scores) = self.early(plan);
        self.overall(&failed, &scores, study)
    }

    /// All of it; `calibrator` is the probe's.
    pub fn discrimination(
        &self,
        plan: &Plan,
        study: &StudySettings,
        calibrator: &PlattScaling,
    ) -> Discrimination {
        let (failed, scores) = self.early(plan);
        let tasks: Vec<usize> = self.starts.iter().map(|start| start.task).collect();
        let within = auroc_within_interval(&failed, &scores, &tasks, &self.starts, &study.bootstrap());
        Discrimination {
            auroc: self.overall(&failed, &scores, study),
            auroc_within: within.ok(),
            roc: roc(&failed, &scores).ok(),
            reliability: calibrated_reliability(calibrator, &failed, &scores, study.bootstrap.level).ok(),
        }
    }

    fn overall(&self, failed: &[bool], scores: &[f64], study: &StudySettings) -> Option<Estimate> {
        let clusters = Clusters::new(&self.starts).ok()?;
        auroc_interval(failed, scores, &clusters, &study.bootstrap()).ok()
    }

    /// Every boundary.
    pub fn over_time(&self) -> Vec<ScoreMoment> {
        score_over_time(&self.scored)
    }

    /// Whether each episode was lost, and the mean score of its early window.
    fn early(&self, plan: &Plan) -> (Vec<bool>, Vec<f64>) {
        let end = plan.fit.early_fraction * f64::from(plan.gate.horizon_steps);
        self.scored.iter().map(|episode| (episode.failed, episode.early(end))).unzip()
    }
}

fn scored(result: &EpisodeResult) -> Scored {
    let steps = (0..result.scores.len() as u32).map(|boundary| boundary * result.chunk_steps).collect();
    let scores = result.scores.iter().map(|score| Score::new(score.unwrap_or(f64::NAN))).collect();
    Scored { failed: !result.success, steps, scores, disagreement: Vec::new() }
}

/// The score at one boundary.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ScoreMoment {
    /// How many run, how many of them are lost, and how well the score ranks them.
    #[serde(flatten)]
    pub moment: TimePoint,
    /// Lower quartile, median and upper quartile over lost episodes, by nearest rank; none without any.
    pub lost: Option<[f64; 3]>,
    /// The same over won episodes.
    pub won: Option<[f64; 3]>,
}

/// Every boundary of these episodes.
fn score_over_time(scored: &[Scored]) -> Vec<ScoreMoment> {
    let moments = over_time(scored).into_iter().enumerate();
    let at = |boundary: usize, failed: bool| {
        let of = scored.iter().filter(|episode| episode.failed == failed);
        quartiles(of.filter_map(|episode| episode.scores.get(boundary)).map(|score| score.risk()).collect())
    };
    moments
        .map(|(boundary, moment)| ScoreMoment { moment, lost: at(boundary, true), won: at(boundary, false) })
        .collect()
}

pub(super) fn quartiles(mut values: Vec<f64>) -> Option<[f64; 3]> {
    values.sort_by(f64::total_cmp);
    let rank = |share: f64| ((values.len() as f64 * share).ceil() as usize).max(1) - 1;
    (!values.is_empty()).then(|| [0.25, 0.5, 0.75].map(|share| values[rank(share)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn episode(failed: bool, scores: &[f64]) -> Scored {
        Scored {
            failed,
            steps: (0..scores.len() as u32).map(|boundary| 10 * boundary).collect(),
            scores: scores.iter().map(|score| Score::new(*score)).collect(),
            disagreement: Vec::new(),
        }
    }

    #[test]
    fn quartiles_are_of_the_episodes_that_still_run() {
        let scored = [
            episode(true, &[0.1, 0.9]),
            episode(true, &[0.2, 0.8]),
            episode(true, &[0.3, 0.7]),
            episode(true, &[0.4, 0.6]),
            episode(false, &[0.5]),
        ];
        let moments = score_over_time(&scored);
        assert_eq!((moments[0].lost, moments[0].won), (Some([0.1, 0.2, 0.3]), Some([0.5; 3])));
        assert_eq!((moments[1].lost, moments[1].won), (Some([0.6, 0.7, 0.8]), None));
        assert_eq!((moments[1].moment.running, moments[1].moment.auroc), (4, None));
    }
}
