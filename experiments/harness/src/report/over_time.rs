//! The probe's score along the weak path: how it spreads in lost and in won episodes, and how well it ranks them.
//! Boundaries late in an episode are those of the episodes that still run.

use serde::Serialize;

use crate::probe::calibration::Scored;
use crate::probe::evaluation::{Moment, over_time};

/// The score at one boundary.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ScoreMoment {
    /// How many run, how many of them are lost, and how well the score ranks them.
    #[serde(flatten)]
    pub moment: Moment,
    /// Lower quartile, median and upper quartile over lost episodes, by nearest rank; none without any.
    pub lost: Option<[f64; 3]>,
    /// The same over won episodes.
    pub won: Option<[f64; 3]>,
}

/// Every boundary of the weak path.
pub fn score_over_time(scored: &[Scored]) -> Vec<ScoreMoment> {
    let moments = over_time(scored).into_iter().enumerate();
    let at = |boundary: usize, failed: bool| {
        let of = scored.iter().filter(|episode| episode.failed == failed);
        quartiles(of.filter_map(|episode| episode.scores.get(boundary)).map(|score| score.risk()).collect())
    };
    moments
        .map(|(boundary, moment)| ScoreMoment { moment, lost: at(boundary, true), won: at(boundary, false) })
        .collect()
}

fn quartiles(mut values: Vec<f64>) -> Option<[f64; 3]> {
    values.sort_by(f64::total_cmp);
    let rank = |share: f64| ((values.len() as f64 * share).ceil() as usize).max(1) - 1;
    (!values.is_empty()).then(|| [0.25, 0.5, 0.75].map(|share| values[rank(share)]))
}

#[cfg(test)]
mod tests {
    use aegis_core::Score;

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
