//! Refuses plans that would run but could not answer their question: settings that determine the result before the
//! first episode, or that no report could compare with anything. Plans are checked when they are frozen and not when
//! they are read, so that frozen plans stay valid. Settings of thresholds, limits and schedules that prevent every fire
//! are checked in `study/fires.rs`.

use aegis_statistics::mcnemar;

use super::Plan;
use crate::episode::arm::AEGIS;
use crate::plan::study::{Source, StudyError, StudySettings, refused};
use aegis_probe::rules::RuleSettings;

/// Largest standard deviation of the sensor noise, in metres: the length of the table, beyond which an observed
/// position carries no information.
const SENSOR_SD: f64 = 1.0;
/// Smallest level of an interval, below which the interval misses the true value more often than not; and largest level
/// of a test, above which a claim is shown more often than by a coin toss.
pub(crate) const EVEN: f64 = 0.5;
/// Number of sets above which the smallest p-value of a contrast underflows to zero.
const MOST_SETS: u64 = 1_100;

impl Plan {
    /// Checks that the study can answer its question. `sets` is the number of sets in the confirmation range.
    ///
    /// # Errors
    /// [`StudyError`] with the setting, the value found and the valid values.
    pub fn check_answers(&self, sets: usize) -> Result<(), StudyError> {
        let Some(study) = &self.study else { return Ok(()) };
        self.check_reads(study)?;
        self.check_sides(study)?;
        self.check_reach(study, sets as u64)?;
        check_evidence(study, sets as u64)
    }

    /// Checks that the rule of the arm `aegis` reads a score or a distance.
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
        let valid = "conformal, functional_band, cost, trend, disagreement or benefit, because the arm aegis acts on what it reads; \
                     give a rule that reads nothing to another arm, in [study.rules]";
        Err(refused("rule.kind", kind.into(), valid))
    }

    /// Checks that the two sides of each contrast are driven differently.
    fn check_sides(&self, study: &StudySettings) -> Result<(), StudyError> {
        for (index, contrast) in study.contrasts.iter().enumerate() {
            let field = || format!("study.contrasts[{index}]");
            let [better, than] = [&contrast.better, &contrast.than];
            let [one, other] = [study.source(better, &self.rule)?, study.source(than, &self.rule)?];
            for (name, source) in [(better, &one), (than, &other)] {
                if matches!(source, Source::Rule(RuleSettings::Never {})) {
                    let found = format!("{name}, whose rule never fires, so that it drives as weak does");
                    return Err(refused(field(), found, "weak, or an arm that may hand over"));
                }
            }
            if one == other {
                let found = format!("{better} and {than}, which obey the same rule");
                return Err(refused(field(), found, "two arms with different rules"));
            }
        }
        Ok(())
    }

    /// Checks that each limit is within the range of the quantity that it limits.
    fn check_reach(&self, study: &StudySettings, sets: u64) -> Result<(), StudyError> {
        let (tolerance, kill) = (study.budget_tolerance, study.kill);
        let floor = study.precondition.map_or(0.0, |precondition| precondition.auroc_floor);
        let (arms, budget) = (study.arms.len() as u64, f64::from(self.gate.budget()));
        let chunks = f64::from(self.gate.horizon_steps.div_ceil(self.gate.chunk_steps));
        let twins = sets.saturating_mul(arms.saturating_sub(1)) as f64;
        let episodes = sets.saturating_mul(arms) as f64;
        let area = "an AUROC is at most 1";
        let points = "two duties differ by at most 100 points";
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
                at_most(twins, "the study has this number of twins of weak episodes"),
            ),
            (
                "study.kill.missing_episodes",
                kill.missing_episodes as f64 <= episodes,
                kill.missing_episodes as f64,
                at_most(episodes, "the study has this number of episodes"),
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
                at_most(budget, "the gate's limits allow this number of fires per episode"),
            ),
            (
                "study.bootstrap.level",
                study.bootstrap.level >= EVEN,
                study.bootstrap.level,
                format!(
                    "{EVEN} to below 1, because an interval of a lower level misses the true value more often than not"
                ),
            ),
            (
                "study.alpha",
                study.alpha <= EVEN,
                study.alpha,
                format!(
                    "above 0, at most {EVEN}, because at a higher level a false claim is shown more often than not"
                ),
            ),
            (
                "gate.return_chunks",
                f64::from(self.gate.return_chunks) <= chunks,
                self.gate.return_chunks.into(),
                at_most(chunks, "an episode has this number of chunk boundaries"),
            ),
            (
                "sensor.object_position_sd",
                self.sensor.object_position_sd <= SENSOR_SD,
                self.sensor.object_position_sd,
                at_most(SENSOR_SD, "the table is that long, in metres"),
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
    format!("0 to below {most}, because {reason}")
}

fn at_most(most: f64, reason: &str) -> String {
    format!("0 to {most}, because {reason}")
}

/// Checks that a claim can be shown at all: by sets of which the better arm alone wins every one, with Holm's
/// correction for the number of contrasts.
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
        "{enough} sets, with which one can be at most study.alpha, {alpha}; `aegis plan power` computes how many \
         an effect needs"
    );
    Err(refused("ranges.confirmation", found, &valid))
}
