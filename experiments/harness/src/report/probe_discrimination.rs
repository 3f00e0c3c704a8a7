//! The probe's scores on the weak arm: discrimination of lost from won episodes (AUROC), calibration of the probabilities,
//! and quartiles at each boundary. Late boundaries include only the episodes that are still running.

use aegis_core::platt::PlattScaling;
use aegis_core::{Score, Start};
use aegis_statistics::{
    Clusters, Estimate, Reliability, RocPoint, auroc_interval, auroc_within_interval, roc,
};
use serde::Serialize;

use crate::episode::outcome::EpisodeResult;
use crate::plan::Plan;
use crate::plan::study::StudySettings;
use aegis_probe::calibration::Scored;
use aegis_probe::evaluation::{TimePoint, calibrated_reliability, over_time};

/// Discrimination and calibration of the probe on the weak arm's episodes. A field is `None` where the measure is
/// undefined, for example where all episodes ended alike.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Discrimination {
    /// AUROC of the early window's mean score over all episodes, with an interval over clusters of equal starts.
    pub auroc: Option<Estimate>,
    /// The same AUROC over pairs of episodes of the same task.
    pub auroc_within: Option<Estimate>,
    /// The ROC curve; `auroc` is the area under it.
    pub roc: Option<Vec<RocPoint>>,
    /// Calibrated probabilities of failure from the early window's scores, compared with the outcomes.
    pub reliability: Option<Reliability>,
}

/// Scores and starts of the weak arm's episodes.
pub struct WeakPath {
    scored: Vec<Scored>,
    starts: Vec<Start>,
}

impl WeakPath {
    /// Takes scores and starts from the weak arm's results.
    pub fn new<'a>(weak: impl IntoIterator<Item = &'a EpisodeResult>) -> Self {
        let (scored, starts) = weak.into_iter().map(|result| (scored(result), result.key.start)).unzip();
        Self { scored, starts }
    }

    /// Returns the AUROC of the early window's mean score over all episodes, or `None` where it is undefined.
    pub fn auroc(&self, plan: &Plan, study: &StudySettings) -> Option<Estimate> {
        let (failed, scores) = self.early(plan);
        self.overall(&failed, &scores, study)
    }

    /// Computes every measure of [`Discrimination`]; `calibrator` is the probe's.
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

    /// Returns the scores at every boundary.
    pub fn over_time(&self) -> Vec<ScoreMoment> {
        score_over_time(&self.scored)
    }

    /// Returns for each episode whether it was lost, and the mean score of its early window.
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

/// The scores at one boundary.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ScoreMoment {
    /// Number of episodes still running, how many of these are lost in the end, and how well the score ranks them (AUROC).
    #[serde(flatten)]
    pub moment: TimePoint,
    /// Lower quartile, median and upper quartile over lost episodes, by nearest rank. `None` without lost episodes.
    pub lost: Option<[f64; 3]>,
    /// The same quartiles over won episodes.
    pub won: Option<[f64; 3]>,
}

/// Computes the scores at every boundary of these episodes.
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
