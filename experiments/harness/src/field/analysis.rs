//! Figures of a field trial: tests of the registered contrasts over the blocks in which every arm has an outcome, and what was missing.

use aegis_core::Start;
use aegis_statistics::{Contrast, Over, Proportion, StatisticsError, Triplet, contrast, holm};
use serde::Serialize;

use super::amendments::contradictions;
use super::attempts::{Attempts, Past};
use super::log::{Entry, Outcome};
use super::plan::{FieldContrast, FieldPlan};
use super::schedule::Episode;
use crate::episode::arm::ArmName;
use crate::plan::registration::{Amendment, Lock};

/// Figures of a field trial.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FieldReport {
    /// Name of the plant.
    pub plant: String,
    /// Seal of the registration.
    pub registration: String,
    /// Time of the registration, RFC 3339, UTC.
    pub registered: String,
    /// Amendments since, the oldest first.
    pub amendments: Vec<Amendment>,
    /// Newest seal of the log of attempts.
    pub log: String,
    /// Source of the outcomes, as in the plan.
    pub outcome: super::plan::OutcomeSource,
    /// Family-wise level of the contrasts.
    pub alpha: f64,
    /// Number of blocks of the plan.
    pub blocks: usize,
    /// Number of blocks in which every arm has an outcome; rates and tests are over these.
    pub complete: usize,
    /// Number of episodes that have neither an outcome nor had all their attempts.
    pub open: usize,
    /// Number of starts, which are the clusters of the intervals.
    pub starts: usize,
    /// Times at which somebody looked at the results before the end, with the number of attempts that were over.
    pub inspections: Vec<(String, usize)>,
    /// Each arm, in the plan's order.
    pub arms: Vec<ArmRow>,
    /// Each contrast, in the plan's order.
    pub contrasts: Vec<ContrastRow>,
    /// Everything in which lock and log contradict each other, as sentences.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub contradictions: Vec<String>,
}

/// Figures of one arm.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ArmRow {
    /// The arm.
    pub arm: ArmName,
    /// Successes in complete blocks, with the exact interval; `None` without a complete block.
    pub success: Option<Proportion>,
    /// Share of the control steps that the strong policy drove, in complete blocks.
    pub duty: Option<f64>,
    /// Fires of the gate per episode, in complete blocks.
    pub fires: Option<f64>,
    /// Number of attempts.
    pub attempts: usize,
    /// Number of attempts that a stop ended.
    pub stopped: usize,
    /// Number of attempts that a person asked to repeat.
    pub repeated: usize,
    /// Number of attempts during which the process ended.
    pub abandoned: usize,
    /// Number of episodes without an outcome after all their attempts.
    pub missing: usize,
}

/// Test of one contrast.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ContrastRow {
    /// Arm that is claimed to win more.
    pub better: ArmName,
    /// Arm of the comparison.
    pub than: ArmName,
    /// Discordant blocks, exact test, and difference of the success rates with its interval over starts; `None` without a complete
    /// block.
    pub contrast: Option<Contrast>,
    /// One-sided p-value, adjusted by Holm over all contrasts; 1 without a complete block.
    pub adjusted: f64,
    /// Whether the adjusted p-value is at most `alpha`.
    pub holds: bool,
    /// The same over every first attempt, where one without an outcome counts as lost.
    pub first_attempts: Option<Contrast>,
    /// Reasons not to believe the result alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub doubts: Vec<Doubt>,
}

/// Reason not to believe the result of a contrast alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Doubt {
    /// The same test over first attempts alone, adjusted in the same way, gives the other answer.
    FirstAttempts,
    /// The claim would not hold if every episode during which the program had ended had gone against it.
    ProgramEnds,
}

/// Inputs of an analysis beside the attempts.
#[derive(Clone, Copy, Debug)]
pub struct Trial<'a> {
    /// The plan.
    pub plan: &'a FieldPlan,
    /// Its lock.
    pub lock: &'a Lock,
    /// Newest seal of the log.
    pub log: &'a str,
    /// Name of the plant.
    pub plant: &'a str,
    /// Starts of the robot file.
    pub starts: &'a [Start],
    /// Order of the episodes.
    pub schedule: &'a [Episode],
    /// Attempts so far.
    pub attempts: &'a Attempts,
    /// Entries of the log, of which the attempts are.
    pub entries: &'a [Entry],
}

/// Computes the figures of a trial.
///
/// # Errors
/// Those of the statistics; none for a plan that was checked.
pub fn analyse(trial: Trial<'_>) -> Result<FieldReport, StatisticsError> {
    let Trial { plan, lock, schedule, attempts, starts, .. } = trial;
    let complete = blocks(trial, |episode| attempts.success(episode));
    let first = blocks(trial, |episode| {
        let past = attempts.of.get(episode)?.first()?;
        Some(past.success().unwrap_or_default())
    });
    let family = |blocks: &dyn Fn(&FieldContrast) -> Vec<Block>| {
        let found = plan.contrasts.iter().map(|one| tested(trial, one, &blocks(one)));
        let found: Vec<Option<Contrast>> = found.collect::<Result<_, _>>()?;
        let p: Vec<f64> =
            found.iter().map(|one| one.as_ref().map_or(1.0, |one| one.mcnemar.one_sided)).collect();
        Ok::<_, StatisticsError>(found.into_iter().zip(holm(&p)?).collect::<Vec<_>>())
    };
    let judged = family(&|_| complete.clone())?;
    let at_first = family(&|_| first.clone())?;
    let at_worst = family(&|one| against(trial, one))?;
    let rows = plan.contrasts.iter().zip(judged).zip(at_first).zip(at_worst);
    let contrasts = rows.map(|(((one, (contrast, adjusted)), (first_attempts, first)), (_, worst))| {
        let [holds, at_first, at_worst] = [adjusted, first, worst].map(|p| p <= plan.alpha);
        let doubts = [(Doubt::FirstAttempts, holds != at_first), (Doubt::ProgramEnds, holds && !at_worst)];
        ContrastRow {
            better: one.better.clone(),
            than: one.than.clone(),
            contrast,
            adjusted,
            holds,
            first_attempts,
            doubts: doubts.into_iter().filter_map(|(doubt, applies)| applies.then_some(doubt)).collect(),
        }
    });
    let contrasts = contrasts.collect();
    let is_open = |past: &Vec<Past>| {
        past.len() < plan.attempts as usize && past.iter().all(|past| past.success().is_none())
    };
    Ok(FieldReport {
        plant: trial.plant.to_owned(),
        registration: lock.seal.clone(),
        registered: lock.created.clone(),
        amendments: lock.amendments.clone(),
        log: trial.log.to_owned(),
        outcome: plan.outcome,
        alpha: plan.alpha,
        blocks: schedule.len() / plan.arms.len(),
        complete: complete.len(),
        open: attempts.of.iter().filter(|past| is_open(past)).count(),
        starts: starts.len(),
        inspections: attempts.inspections.clone(),
        arms: plan.arms.iter().map(|arm| row(trial, arm, &complete)).collect::<Result<_, _>>()?,
        contrasts,
        contradictions: contradictions(lock, trial.entries),
    })
}

/// Block in which every arm has an outcome.
#[derive(Clone)]
struct Block {
    start: usize,
    /// Index of each arm's episode, in the plan's order of arms.
    episodes: Vec<usize>,
    /// Whether it succeeded, in the plan's order of arms.
    outcomes: Vec<bool>,
}

impl Block {
    fn outcome(&self, plan: &FieldPlan, arm: &ArmName) -> bool {
        let place = plan.arms.iter().position(|one| one == arm);
        place.and_then(|place| self.outcomes.get(place)).copied().unwrap_or_default()
    }
}

/// Returns the blocks in which every arm has an outcome.
fn blocks(trial: Trial<'_>, outcome: impl Fn(usize) -> Option<bool>) -> Vec<Block> {
    let arms = &trial.plan.arms;
    let block = |(index, episodes): (usize, &[Episode])| {
        let first = index * arms.len();
        let places = arms.iter().map(|arm| {
            let place = episodes.iter().position(|one| one.arm == *arm)?;
            Some((first + place, outcome(first + place)?))
        });
        let (places, outcomes) = places.collect::<Option<Vec<_>>>()?.into_iter().unzip();
        Some(Block { start: episodes.first()?.start, episodes: places, outcomes })
    };
    trial.schedule.chunks(arms.len()).enumerate().filter_map(block).collect()
}

/// Returns the blocks of a contrast as they would be if each episode during which the program had ended had gone against the claim.
fn against(trial: Trial<'_>, one: &FieldContrast) -> Vec<Block> {
    blocks(trial, |episode| {
        let ended = trial.attempts.of.get(episode)?.iter().any(|past| past.outcome.is_none());
        let arm = &trial.schedule.get(episode)?.arm;
        let is_of_it = *arm == one.better || *arm == one.than;
        if ended && is_of_it { Some(*arm == one.than) } else { trial.attempts.success(episode) }
    })
}

fn tested(
    Trial { plan, starts, .. }: Trial<'_>,
    one: &FieldContrast,
    blocks: &[Block],
) -> Result<Option<Contrast>, StatisticsError> {
    if blocks.is_empty() {
        return Ok(None);
    }
    let triplets: Vec<Triplet> = blocks
        .iter()
        .map(|block| {
            let (treatment, control) = (block.outcome(plan, &one.better), block.outcome(plan, &one.than));
            let task = starts.get(block.start).map_or(0, |start| start.task);
            Triplet { task, initial_state: block.start, weak: control, treatment, control }
        })
        .collect();
    contrast(&triplets, Over::All, &plan.bootstrap.bootstrap()).map(Some)
}

fn row(trial: Trial<'_>, arm: &ArmName, complete: &[Block]) -> Result<ArmRow, StatisticsError> {
    let Trial { plan, schedule, attempts, .. } = trial;
    let n = complete.len() as u64;
    let won = complete.iter().filter(|block| block.outcome(plan, arm)).count() as u64;
    let place = plan.arms.iter().position(|one| one == arm).unwrap_or_default();
    let usage = || {
        let episodes = complete.iter().filter_map(|block| attempts.of.get(*block.episodes.get(place)?));
        episodes.filter_map(|past| past.iter().find(|past| past.success().is_some())).map(|past| past.usage)
    };
    let steps: u64 = usage().map(|one| u64::from(one.steps)).sum();
    let strong: u64 = usage().map(|one| u64::from(one.strong_steps)).sum();
    let fires: u64 = usage().map(|one| u64::from(one.fires)).sum();
    let mine = || {
        let episodes = schedule.iter().zip(&attempts.of).filter(|(one, _)| one.arm == *arm);
        episodes.map(|(_, past)| past)
    };
    let count = |counts: &dyn Fn(&Past) -> bool| mine().flatten().filter(|past| counts(past)).count();
    let is_missing = |past: &&Vec<Past>| {
        past.len() >= plan.attempts as usize && past.iter().all(|past| past.success().is_none())
    };
    Ok(ArmRow {
        arm: arm.clone(),
        success: (n > 0).then(|| Proportion::new(won, n, plan.bootstrap.level)).transpose()?,
        duty: (steps > 0).then(|| strong as f64 / steps as f64),
        fires: (n > 0).then(|| fires as f64 / n as f64),
        attempts: count(&|_| true),
        stopped: count(&|past| matches!(past.outcome, Some(Outcome::Stopped { .. }))),
        repeated: count(&|past| matches!(past.outcome, Some(Outcome::Repeated { .. }))),
        abandoned: count(&|past| past.outcome.is_none()),
        missing: mine().filter(is_missing).count(),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::field::attempts::tests::{STARTS, begun, done, ended, numbered};
    use crate::field::log::Attempt;
    use crate::field::plan::tests::plan;
    use crate::field::schedule::schedule;
    use crate::plan::registration::{Frozen, Scenes};
    use serde_json::json;

    /// A trial of 2 × 40 blocks: strong wins everything, aegis all but one in eight, blind half, weak a quarter, with one attempt of
    /// aegis stopped and repeated and one block without its weak episode.
    pub fn report() -> FieldReport {
        report_with(|_, _| false)
    }

    /// The same trial, in which the program ended during the first attempt at each episode of which `ends` says so by block and arm,
    /// and the next attempt went as that one would have.
    pub fn report_with(ends: impl Fn(usize, &str) -> bool) -> FieldReport {
        let mut plan = plan();
        plan.blocks_per_start = 40;
        let schedule = schedule(&plan, 2);
        let mut entries: Vec<Entry> = Vec::new();
        for (index, episode) in schedule.iter().enumerate() {
            let block = episode.block;
            let success = match episode.arm.as_str() {
                "strong" => true,
                "aegis" => block % 8 != 0,
                "blind" => block % 2 == 0,
                _ => block % 4 == 0,
            };
            let stopped = || Outcome::Stopped { reason: "plant_lost".into() };
            let mut number = 1;
            if ends(block, episode.arm.as_str()) {
                let attempt = Attempt { episode: index, number };
                entries.extend([begun(index, 1), Entry::Abandoned { when: String::new(), attempt }]);
                number = 2;
            }
            if (block, episode.arm.as_str()) == (5, "aegis") {
                entries.extend([begun(index, 1), ended(&schedule, index, 1, stopped())]);
                number = 2;
            }
            if (block, episode.arm.as_str()) == (7, "weak") {
                entries.extend([begun(index, 1), ended(&schedule, index, 1, stopped())]);
                entries.extend([begun(index, 2), ended(&schedule, index, 2, stopped())]);
                continue;
            }
            entries.extend([begun(index, number), ended(&schedule, index, number, done(success))]);
        }
        let entries = numbered(entries.to_vec());
        let attempts = Attempts::of(&plan, &schedule, &STARTS, &entries).unwrap();
        let frozen = Frozen::of(
            json!({ "trial": 1 }),
            BTreeMap::new(),
            BTreeMap::new(),
            Scenes::new(String::new(), BTreeMap::new()),
        );
        let lock = Lock::new(frozen, "2026-01-02T03:04:05Z".into(), "abc".into(), Vec::new()).unwrap();
        let trial = Trial {
            plan: &plan,
            lock: &lock,
            log: "head",
            plant: "cell",
            starts: &STARTS,
            schedule: &schedule,
            attempts: &attempts,
            entries: &entries,
        };
        analyse(trial).unwrap()
    }

    #[test]
    fn rates_and_tests_are_over_blocks_with_every_outcome() {
        let found = report();
        assert_eq!((found.blocks, found.complete, found.open), (80, 79, 0));
        let won = |arm: usize| found.arms[arm].success.unwrap().k;
        assert_eq!([won(0), won(1), won(2), won(3)], [20, 69, 40, 79]);
        let weak = &found.arms[0];
        assert_eq!((weak.attempts, weak.stopped, weak.missing), (81, 2, 1));
        assert_eq!((found.arms[1].attempts, found.arms[1].stopped, found.arms[1].missing), (81, 1, 0));
        assert_eq!((weak.duty, weak.fires), (Some(0.2), Some(1.0)));
        let first = found.contrasts[0].contrast.as_ref().unwrap();
        // Weak wins the blocks 0, 4, 8, …; aegis loses 0, 8, 16, …; block 7 is left out.
        assert_eq!((first.b, first.c), (59, 10));
        assert_eq!(first.mcnemar, aegis_statistics::mcnemar(59, 10));
        assert!(found.contrasts[0].holds && first.difference.unwrap().lower > 0.0);
        assert!(found.contrasts[0].adjusted >= first.mcnemar.one_sided);
    }

    #[test]
    fn a_first_attempt_without_an_outcome_counts_as_lost() {
        let found = report();
        let first = found.contrasts[0].first_attempts.as_ref().unwrap();
        // All 80 blocks: aegis loses block 5, which it won when repeated, and weak loses block 7, which aegis wins.
        assert_eq!((first.b, first.c), (59, 10));
        assert_eq!(first.treatment.unwrap().n, 80);
        assert_eq!((first.treatment.unwrap().k, first.control.unwrap().k), (69, 20));
    }

    #[test]
    fn a_claim_that_depends_on_what_was_repeated_is_doubted() {
        assert!(report().contrasts.iter().all(|one| one.doubts.is_empty()));
        // Of weak, each episode that it would have lost was broken off once: against the claim, weak wins these blocks.
        let found = report_with(|block, arm| arm == "weak" && block % 4 != 0 && block != 7);
        assert_eq!(found.arms[0].abandoned, 59);
        assert!(found.contrasts[0].holds);
        assert_eq!(found.contrasts[0].doubts, [Doubt::ProgramEnds]);
        // Of aegis, each won one was, which counts as lost at first.
        let found = report_with(|block, arm| arm == "aegis" && block % 8 != 0 && block != 5);
        assert!(found.contrasts[0].holds);
        assert_eq!(found.contrasts[0].doubts, [Doubt::FirstAttempts, Doubt::ProgramEnds]);
        // A single one changes nothing.
        let found = report_with(|block, arm| (block, arm) == (2, "weak"));
        assert!(found.arms[0].abandoned == 1 && found.contrasts[0].doubts.is_empty());
    }

    #[test]
    fn nothing_is_claimed_without_a_complete_block() {
        let plan = plan();
        let schedule = schedule(&plan, 2);
        let entries = [begun(0, 1), ended(&schedule, 0, 1, done(true))];
        let entries = numbered(entries.to_vec());
        let attempts = Attempts::of(&plan, &schedule, &STARTS, &entries).unwrap();
        let frozen = Frozen::of(
            json!({}),
            BTreeMap::new(),
            BTreeMap::new(),
            Scenes::new(String::new(), BTreeMap::new()),
        );
        let lock = Lock::new(frozen, String::new(), String::new(), Vec::new()).unwrap();
        let trial = Trial {
            plan: &plan,
            lock: &lock,
            log: "head",
            plant: "cell",
            starts: &STARTS,
            schedule: &schedule,
            attempts: &attempts,
            entries: &entries,
        };
        let found = analyse(trial).unwrap();
        assert_eq!((found.complete, found.open), (0, 23));
        assert!(
            found.contrasts.iter().all(|one| one.contrast.is_none() && !one.holds && one.adjusted == 1.0)
        );
        assert!(found.arms.iter().all(|arm| arm.success.is_none()));
    }
}
