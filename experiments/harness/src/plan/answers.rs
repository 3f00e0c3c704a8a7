//! Plans that would run and could not answer: settings that settle what comes out before the first episode, or that no report
//! could hold against anything. Refused before a plan is frozen, not where one is only read, so that what is frozen stays so.
//! What a probe's thresholds, limits and schedules forbid is in `study/fires.rs`.

use aegis_statistics::mcnemar;

use super::Plan;
use crate::arm::AEGIS;
use crate::probe::rules::RuleSettings;
use crate::study::{Source, StudyError, StudySettings, refused};

/// Metres: objects that are seen further away than the table is long are seen anywhere.
const SENSOR_SD: f64 = 1.0;
/// Below it an interval leaves out the truth more often than not, and above it a claim is shown by more than a coin.
const EVEN: f64 = 0.5;
/// With more sets than this the best p of a contrast is no number above zero.
const MOST_SETS: u64 = 1_100;

impl Plan {
    /// Refuses a study that cannot answer what it asks. `sets` is how many sets of twins its confirmation range has.
    ///
    /// # Errors
    /// [`StudyError`] with the setting, what was found and what would be valid.
    pub fn check_answers(&self, sets: usize) -> Result<(), StudyError> {
        let Some(study) = &self.study else { return Ok(()) };
        self.check_reads(study)?;
        self.check_sides(study)?;
        self.check_reach(study, sets as u64)?;
        check_evidence(study, sets as u64)
    }

    /// The arm that is named for the gate obeys something that the gate reads.
    fn check_reads(&self, study: &StudySettings) -> Result<(), StudyError> {
        let kind = match self.rule {
            RuleSettings::Never {} => "never",
            RuleSettings::Blind { .. } => "blind",
            RuleSettings::TakeOver { .. } => "take_over",
            _ => return Ok(()),
        };
        if !study.arms.iter().any(|name| *name == *AEGIS) {
            return Ok(());
        }
        let valid = "conformal, functional_band, cost, trend or disagreement, for the arm aegis acts on what it reads; a rule \
                     that reads nothing belongs to another arm, in [study.rules]";
        Err(refused("rule.kind", kind.into(), valid))
    }

    /// The sides of a contrast drive in two ways.
    fn check_sides(&self, study: &StudySettings) -> Result<(), StudyError> {
        for (index, contrast) in study.contrasts.iter().enumerate() {
            let field = || format!("study.contrasts[{index}]");
            let [better, than] = [&contrast.better, &contrast.than];
            let [one, other] = [study.source(better, &self.rule)?, study.source(than, &self.rule)?];
            for (name, source) in [(better, &one), (than, &other)] {
                if matches!(source, Source::Rule(RuleSettings::Never {})) {
                    let found = format!("{name}, whose rule never fires, so that it drives as weak does");
                    return Err(refused(field(), found, "weak itself, or an arm that may hand over"));
                }
            }
            if one == other {
                let found = format!("{better} and {than}, which obey the same rule");
                return Err(refused(field(), found, "two arms that differ in what they do"));
            }
        }
        Ok(())
    }

    /// Limits lie within what they are limits of.
    fn check_reach(&self, study: &StudySettings, sets: u64) -> Result<(), StudyError> {
        let (tolerance, kill) = (study.budget_tolerance, study.kill);
        let floor = study.precondition.map_or(0.0, |precondition| precondition.auroc_floor);
        let (arms, budget) = (study.arms.len() as u64, f64::from(self.gate.budget()));
        let chunks = f64::from(self.gate.horizon_steps.div_ceil(self.gate.chunk_steps));
        let twins = sets.saturating_mul(arms.saturating_sub(1)) as f64;
        let episodes = sets.saturating_mul(arms) as f64;
        let area = "no AUROC lies above 1";
        let points = "two duties differ by no more";
        for (field, ok, found, valid) in [
            ("study.kill.auroc_floor", kill.auroc_floor < 1.0, kill.auroc_floor, below(1.0, area)),
            ("study.precondition.auroc_floor", floor < 1.0, floor, below(1.0, area)),
            (
                "study.kill.duty_mismatch_points",
                kill.duty_mismatch_points <= 100.0,
                kill.duty_mismatch_points,
                at_most(100.0, points),
            ),
            (
                "study.kill.crn_violations",
                kill.crn_violations as f64 <= twins,
                kill.crn_violations as f64,
                at_most(twins, "the study has so many twins of weak episodes"),
            ),
            (
                "study.kill.missing_episodes",
                kill.missing_episodes as f64 <= episodes,
                kill.missing_episodes as f64,
                at_most(episodes, "the study has so many episodes"),
            ),
            (
                "study.budget_tolerance.duty_points",
                tolerance.duty_points <= 100.0,
                tolerance.duty_points,
                at_most(100.0, points),
            ),
            (
                "study.budget_tolerance.fires",
                tolerance.fires <= budget,
                tolerance.fires,
                at_most(budget, "the gate's limits allow so many fires an episode"),
            ),
            (
                "study.bootstrap.level",
                study.bootstrap.level >= EVEN,
                study.bootstrap.level,
                format!(
                    "{EVEN} to below 1, for an interval of a lower level is hardly more than its estimate"
                ),
            ),
            (
                "study.alpha",
                study.alpha <= EVEN,
                study.alpha,
                format!(
                    "above 0, at most {EVEN}, for at a higher level a claim is shown more often than not without cause"
                ),
            ),
            (
                "gate.return_chunks",
                f64::from(self.gate.return_chunks) <= chunks,
                self.gate.return_chunks.into(),
                at_most(chunks, "an episode has so many chunk boundaries"),
            ),
            (
                "sensor.object_position_sd",
                self.sensor.object_position_sd <= SENSOR_SD,
                self.sensor.object_position_sd,
                at_most(SENSOR_SD, "in metres that is as far as the table is long"),
            ),
        ] {
            if !ok {
                return Err(refused(field, found.to_string(), &valid));
            }
        }
        Ok(())
    }
}

fn below(most: f64, reason: &str) -> String {
    format!("0 to below {most}, for {reason}")
}

fn at_most(most: f64, reason: &str) -> String {
    format!("0 to {most}, for {reason}")
}

/// A claim can be shown: by episodes of which the better arm alone wins every one, under Holm in a family of its size.
fn check_evidence(study: &StudySettings, sets: u64) -> Result<(), StudyError> {
    let (claims, alpha) = (study.contrasts.len() as f64, study.alpha);
    let best = |sets| mcnemar(sets, 0).one_sided * claims;
    if best(sets) <= alpha {
        return Ok(());
    }
    let least = (1..=MOST_SETS).find(|sets| best(*sets) <= alpha);
    let enough = least.map_or("more".into(), |least| format!("{least} or more"));
    let found = format!(
        "{sets} sets of twins in all, from which no contrast of {claims} gets an adjusted p below {:.2e}",
        best(sets).min(1.0)
    );
    let valid = format!(
        "{enough} sets, with which one can be at most study.alpha, {alpha}; `aegis plan power` says how many \
                         an effect needs"
    );
    Err(refused("ranges.confirmation", found, &valid))
}
