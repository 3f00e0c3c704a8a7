//! Hindsight: what an oracle that knows the forks of every weak episode recovers with the strong steps that each arm spent, what random
//! moments would, and how much of the way from one to the other the arm goes.

use std::collections::BTreeMap;

use aegis_core::{EpisodeKey, Start};
use aegis_probe::forks::EpisodeForks;
use aegis_statistics::{Bootstrap, Clusters, Estimate};
use serde::Serialize;

use super::tables::plain;
use super::{ByArm, Page, Report, ReportError, Table, charts, failed};
use crate::episode::arm::{ArmName, WEAK};
use crate::episode::outcome::EpisodeResult;
use crate::forks::oracle::{Kind, Point, Random, cheapest, points, random};
use crate::plan::Plan;
use crate::plan::study::StudySettings;
use crate::run::runner::describe;

/// Arms beside an oracle.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Hindsight {
    /// Control steps of all episodes' horizons together, of which a duty is a share.
    pub horizons: u64,
    /// Episodes that weak lost.
    pub lost: u64,
    /// Whether the oracle may only give holds, because a gate of this plan fires once in an episode and hands back after the hold;
    /// else it may also let the strong policy drive to the end.
    pub holds_alone: bool,
    /// Curve of the oracle, ascending: the fewest strong steps for each number of recovered episodes.
    pub oracle: Vec<Point>,
    /// One hold at a random boundary in each episode.
    pub random: Random,
    /// Arms that fired.
    pub arms: Vec<ArmInHindsight>,
    /// Episodes of arms whose only hold was compared with the fork of its boundary, and equals it.
    pub checked: u64,
}

/// Arm beside an oracle with the same strong steps.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ArmInHindsight {
    /// The arm.
    pub arm: ArmName,
    /// Strong steps of all its episodes.
    pub strong_steps: u64,
    /// Episodes that it recovered.
    pub recovered: u64,
    /// Episodes that it broke.
    pub broken: u64,
    /// Episodes that the oracle recovers with as many strong steps.
    pub oracle: u64,
    /// Expectation for holds at random boundaries with as many strong steps.
    pub random: f64,
    /// Share of the oracle's gain: (recovered − random) / (oracle − random), with its interval over starts. `None` where the oracle gains
    /// nothing over random moments, in the data or in every resample.
    pub share: Option<Estimate>,
}

/// Sums over the episodes of each start, on which resamples are computed.
struct ByStart {
    clusters: Clusters,
    /// Cluster and strong steps of each branch that the oracle may choose, cheapest first.
    choices: Vec<(usize, f64)>,
    random_steps: Vec<f64>,
    random_recovered: Vec<f64>,
}

impl ByStart {
    /// Returns the numbers of episodes that oracle and random moments recover with so many strong steps in a resample.
    fn recovered(&self, drawn: &[u32], strong_steps: f64) -> (f64, f64) {
        let mut left = strong_steps;
        let mut oracle = 0.0;
        for (cluster, cost) in &self.choices {
            let affordable = (left / cost).floor().min(f64::from(drawn[*cluster]));
            oracle += affordable;
            left -= affordable * cost;
            if affordable < f64::from(drawn[*cluster]) {
                break;
            }
        }
        let (steps, recovered) =
            (weighted(drawn, &self.random_steps), weighted(drawn, &self.random_recovered));
        let share = if steps > 0.0 { (strong_steps / steps).min(1.0) } else { 0.0 };
        (oracle, share * recovered)
    }
}

fn weighted(drawn: &[u32], values: &[f64]) -> f64 {
    drawn.iter().zip(values).map(|(times, value)| f64::from(*times) * value).sum()
}

impl Hindsight {
    /// Compares the arms that fired with an oracle. `forks` are those of every weak episode, at every boundary.
    ///
    /// # Errors
    /// [`ReportError::Forks`] where the forks are not those of the weak arm's episodes, and where an arm's only hold ends otherwise than the
    /// fork of its boundary; [`ReportError::Statistics`].
    pub(super) fn of(
        plan: &Plan,
        study: &StudySettings,
        by_arm: &ByArm<'_>,
        forks: &[EpisodeForks],
    ) -> Result<Self, ReportError> {
        let weak = by_arm.of(&WEAK.into())?;
        let by_key: BTreeMap<EpisodeKey, &EpisodeForks> = forks.iter().map(|one| (one.key, one)).collect();
        let refused = |key: EpisodeKey, arm: &str, reason: &str| {
            ReportError::Forks(format!("{}: {reason}", describe(key, arm)))
        };
        let mut all: Vec<EpisodeForks> = Vec::with_capacity(weak.len());
        for episode in weak {
            let of =
                by_key.get(&episode.key).ok_or_else(|| refused(episode.key, WEAK, "found no forks of it"))?;
            if (of.success, of.steps) != (episode.success, episode.steps) {
                return Err(refused(episode.key, WEAK, "its forks are of an episode that ends otherwise"));
            }
            all.push((*of).clone());
        }
        let holds_alone = plan.gate.budget() == 1 && plan.gate.return_chunks == 0;
        let kinds: &[Kind] = if holds_alone { &[Kind::Hold] } else { &[Kind::Hold, Kind::TakeOver] };
        let choices = cheapest(&all, plan.gate.duty_steps(), kinds);
        let starts: Vec<Start> = all.iter().map(|one| one.key.start).collect();
        let what = "hindsight";
        let clusters = Clusters::new(&starts).map_err(failed(what))?;
        let of_episode = |value: fn(&Random) -> f64| -> Vec<f64> {
            clusters.sums(all.iter().map(|one| value(&random(std::slice::from_ref(one), 0, 0))))
        };
        let by_start = ByStart {
            choices: choices
                .iter()
                .map(|(index, choice)| (clusters.of_row()[*index] as usize, f64::from(choice.strong_steps)))
                .collect(),
            random_steps: of_episode(|one| one.strong_steps),
            random_recovered: of_episode(|one| one.recovered),
            clusters,
        };
        let lost = all.iter().filter(|one| !one.success).count() as u64;
        let mut found = Self {
            horizons: u64::from(plan.gate.horizon_steps) * all.len() as u64,
            lost,
            holds_alone,
            oracle: points(&choices),
            random: random(&all, 0, lost),
            arms: Vec::new(),
            checked: 0,
        };
        for name in &study.arms {
            let results = by_arm.of(name)?;
            if results.iter().all(|result| result.fires == 0 || result.strong_steps == 0) {
                continue;
            }
            for (result, forks) in results.iter().zip(&all) {
                found.checked += u64::from(
                    check(result, forks, plan)
                        .map_err(|reason| refused(result.key, name.as_str(), &reason))?,
                );
            }
            found.arms.push(by_start.arm(name, weak, results, &study.bootstrap(), holds_alone)?);
        }
        Ok(found)
    }
}

/// Compares the only hold of an episode with the fork of its boundary; returns whether there was one to compare.
fn check(result: &EpisodeResult, forks: &EpisodeForks, plan: &Plan) -> Result<bool, String> {
    let (1, Some(step)) = (result.fires, result.hand_overs.first()) else { return Ok(false) };
    if plan.gate.return_chunks > 0 {
        return Ok(false);
    }
    let Some(fork) = forks.forks.iter().find(|fork| fork.step == *step) else {
        return Err(format!("its hold begins at control step {step}, from which there is no fork"));
    };
    let found = (result.success, result.steps, result.strong_steps);
    let valid = (fork.hold.success, fork.hold.steps, fork.hold.strong_steps);
    if found == valid {
        return Ok(true);
    }
    Err(format!(
        "its hold from control step {step} ends otherwise than the fork there: success, control steps and strong steps are {found:?} and {valid:?}"
    ))
}

impl ByStart {
    fn arm(
        &self,
        name: &ArmName,
        weak: &[&EpisodeResult],
        results: &[&EpisodeResult],
        bootstrap: &Bootstrap,
        holds_alone: bool,
    ) -> Result<ArmInHindsight, ReportError> {
        let pairs = || weak.iter().zip(results);
        let recovers = |(weak, arm): (&&EpisodeResult, &&EpisodeResult)| !weak.success && arm.success;
        let steps = self.clusters.sums(results.iter().map(|result| f64::from(result.strong_steps)));
        let recovered = self.clusters.sums(pairs().map(|pair| f64::from(u8::from(recovers(pair)))));
        let ones = vec![1; self.clusters.count()];
        let (oracle, by_chance) = self.recovered(&ones, weighted(&ones, &steps));
        let share = |drawn: &[u32]| {
            let (oracle, by_chance) = self.recovered(drawn, weighted(drawn, &steps));
            let gain = oracle - by_chance;
            (gain > 0.0).then(|| (weighted(drawn, &recovered) - by_chance) / gain)
        };
        let defined = share(&ones).is_some();
        let share = defined.then(|| bootstrap.interval(&self.clusters, share)).transpose();
        let found = ArmInHindsight {
            arm: name.clone(),
            strong_steps: weighted(&ones, &steps) as u64,
            recovered: weighted(&ones, &recovered) as u64,
            broken: pairs().filter(|(weak, arm)| weak.success && !arm.success).count() as u64,
            oracle: oracle as u64,
            random: by_chance,
            share: share.map_err(failed(format!("hindsight of arm {name}")))?,
        };
        debug_assert!(
            !holds_alone || found.recovered <= found.oracle,
            "an oracle of holds is above every gate"
        );
        Ok(found)
    }
}

impl Report {
    /// Adds the section on hindsight, for a study whose forks are known.
    pub(super) fn hindsight_section(&self, page: &mut Page) -> Result<(), ReportError> {
        let Some(found) = &self.hindsight else { return Ok(()) };
        let may = match found.holds_alone {
            true => "gives holds as the gate does, one in an episode at most",
            false => {
                "intervenes once in an episode, for one hold or to the end; an arm with several holds may do more"
            }
        };
        page.section("Hindsight").say(format!(
            "Each weak episode was continued from every boundary at which a gate may fire. An oracle that knows how all of these ended, and {may}, \
             recovers the most episodes for the strong steps that an arm spent. Random moments are one hold at a boundary drawn uniformly, in a \
             share of the episodes that spends as much. The share of the oracle's gain is how far the arm goes from the one to the other."
        ));
        page.figure(charts::hindsight(found)?);
        let mut table = Table::new(&[
            "arm",
            "duty of the horizon",
            "recovered",
            "random moments",
            "oracle",
            "share of the oracle's gain",
            "broken",
        ]);
        for one in &found.arms {
            table.rows.push(vec![
                one.arm.to_string(),
                format!("{:.2} %", 100.0 * one.strong_steps as f64 / found.horizons.max(1) as f64),
                one.recovered.to_string(),
                format!("{:.1}", one.random),
                one.oracle.to_string(),
                one.share.as_ref().map_or("–".into(), plain),
                one.broken.to_string(),
            ]);
        }
        page.table(table).say(format!(
            "{} episodes of these arms have one hold; each ends as the fork of its boundary does, step for step.",
            found.checked
        ));
        Ok(())
    }
}
