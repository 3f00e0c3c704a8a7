//! One sentence for each arm of a study on what the arm does, with the thresholds of the registered probe.

use aegis_core::Rule;
use aegis_core::trigger::{BenefitSettings, Schedule, TrendSettings};

use super::{ArmReport, Background};
use crate::episode::arm::{AEGIS, ArmName, WEAK};
use crate::plan::study::{AA, RANDOM, SHADOW, STRONG};
use aegis_probe::rules::RuleSettings;

impl Background<'_> {
    /// Returns a sentence on what an arm does.
    pub(super) fn meaning(&self, name: &ArmName) -> String {
        let rule = || self.own_rule(name).map_or("has no rule in the plan".into(), |rule| self.words(rule));
        match name.as_str() {
            WEAK => "The weak policy drives alone; every other arm is compared with it, episode by episode.".into(),
            AA => "The weak policy again, run from the start: its results have to equal those of weak bit for bit.".into(),
            STRONG => "The strong policy drives alone, from the first step on.".into(),
            RANDOM => "As aegis, but at random times: in each episode as many hand-overs as aegis made, at boundaries drawn \
                       uniformly among those where the gate may hand over."
                .into(),
            SHADOW => {
                format!("The weak policy drives alone; the gate's decisions are recorded and not obeyed: it {}.", rule())
            }
            AEGIS => format!("The weak policy drives, the strong one is its backup, and the gate {}.", rule()),
            _ => match self.own_rule(name) {
                Some(RuleSettings::TakeOver { .. }) => format!("The weak policy begins; the strong one {}.", rule()),
                _ => format!("As aegis, but the gate {}.", rule()),
            },
        }
    }

    /// Checks whether an arm equals weak by design and in its results: no episode recovered and none broken. The report has no
    /// table by task for such an arm.
    pub(super) fn only_weak(&self, arm: &ArmReport) -> bool {
        let never = matches!(self.own_rule(&arm.arm), Some(RuleSettings::Never {}));
        let meant = [AA, SHADOW].contains(&arm.arm.as_str()) || never;
        let count = |rate: Option<aegis_statistics::Rate>| rate.map_or(0, |rate| rate.proportion.k);
        meant && arm.effects.is_some_and(|effects| count(effects.recovered) + count(effects.broken) == 0)
    }

    /// Returns the gate's rule in an arm, if the plan states one for that arm.
    fn own_rule(&self, name: &ArmName) -> Option<&RuleSettings> {
        let own = self.plan.study.as_ref().and_then(|study| study.rules.get(name));
        match name.as_str() {
            AEGIS => Some(&self.plan.rule),
            SHADOW => Some(own.unwrap_or(&self.plan.rule)),
            _ => own,
        }
    }

    /// Describes a rule, as the end of a sentence whose subject is the gate.
    pub(super) fn words(&self, rule: &RuleSettings) -> String {
        let calm = |level: f64| match self.plan.gate.return_chunks {
            0 => String::new(),
            _ => format!("; below {} a boundary is calm", number(level)),
        };
        let of = rule.share().map_or(String::new(), |share| {
            format!(", in a share of {share} of the episodes, drawn for each")
        });
        let set_for = match rule {
            RuleSettings::RiskControl { of, level, delta, .. } => {
                format!(", set so that {} is at most {level} with probability {}", of.words(), 1.0 - delta)
            }
            _ => String::new(),
        };
        match rule.rule(&self.probe.calibration, self.probe.settings.trend_window) {
            Rule::Conformal(thresholds) => format!(
                "hands over where the probe's risk of failure lies above {}{set_for}{}",
                number(thresholds.fire),
                calm(thresholds.hand_back)
            ),
            Rule::FunctionalBand(band) => {
                let levels = band.upper.iter().copied().filter(|level| level.is_finite());
                let (low, high) = levels.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), level| {
                    (low.min(level), high.max(level))
                });
                format!(
                    "hands over where the probe's risk lies above the threshold of its boundary, which is {} to {}{}",
                    number(low),
                    number(high),
                    calm(band.hand_back)
                )
            }
            Rule::Cost(costs) => format!(
                "hands over where the calibrated probability of failure lies above {}, because a missed failure costs {} and \
                 a false alarm {}{}",
                number(costs.threshold()),
                costs.cost_of_missed_failure,
                costs.cost_of_false_alarm,
                calm(costs.hand_back)
            ),
            Rule::Trend(TrendSettings { window, slope, floor, hand_back, switch_cap }) => format!(
                "hands over where the risk rises by more than {} a chunk over {window} boundaries and lies above {}, with \
                 at most {switch_cap} changes of driver{}",
                number(slope),
                number(floor),
                calm(hand_back)
            ),
            Rule::Benefit(BenefitSettings { prices }) => {
                let (low, high) =
                    prices.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), price| {
                        (low.min(*price), high.max(*price))
                    });
                let price = match low == high {
                    true => number(low),
                    false => {
                        format!("the price of its boundary, which is {} to {}", number(low), number(high))
                    }
                };
                format!(
                    "hands over where a hold is predicted to raise the probability of success by more than {price}"
                )
            }
            Rule::Disagreement(distances) => format!(
                "hands over where the actions that both policies propose lie further apart than {} (root mean square){}",
                number(distances.fire),
                calm(distances.hand_back)
            ),
            Rule::Blind { schedule: Schedule::At(boundaries) } => {
                let steps = boundaries.iter().map(|boundary| self.step(*boundary).to_string());
                let steps: Vec<String> = steps.collect();
                format!("hands over at control step {}, independently of the probe{of}", steps.join(", "))
            }
            Rule::Blind { schedule: Schedule::Every { first, period } } => {
                let [first, period] = [first, period].map(|chunks| self.step(chunks));
                format!(
                    "hands over at control step {first} and every {period} steps after it, independently of the probe{of}"
                )
            }
            Rule::TakeOver { step } => format!("drives from control step {step} to the end, without a gate"),
            Rule::Random { .. } => "hands over at boundaries that are drawn for each episode".into(),
            Rule::Never {} => "never hands over".into(),
        }
    }

    /// Returns the control step of a chunk boundary.
    fn step(&self, boundary: u32) -> u32 {
        boundary.saturating_mul(self.plan.gate.chunk_steps)
    }
}

/// Formats a threshold with three digits after the point, or as `every value` where it is not finite.
pub(super) fn number(level: f64) -> String {
    if level.is_finite() { format!("{level:.3}") } else { "every value".into() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::plan::Plan;
    use crate::plan::registration::Lock;
    use aegis_probe::file::ProbeFile;

    #[test]
    fn every_rule_and_every_arm_has_its_description() {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut plan = Plan::load(&repository.join("experiments/study.toml")).unwrap();
        let lock = Lock::load(&repository.join("experiments/study.lock.toml")).unwrap();
        let text = std::fs::read_to_string(repository.join("policies/models/probe.json")).unwrap();
        let probe: ProbeFile = serde_json::from_str(&text).unwrap();
        let (cards, packages, reads) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let said = |plan: &Plan, arm: &str| {
            let (tasks, statements, provenance) = (&[][..], &[][..], &[][..]);
            let (lock, probe, cards, packages, reads) = (&lock, &probe, &cards, &packages, &reads);
            Background { plan, lock, probe, cards, reads, tasks, packages, statements, provenance }
                .meaning(&arm.into())
        };
        for (arm, words) in [
            ("weak", "drives alone; every other arm"),
            ("aegis", "the gate hands over where the probe's risk of failure lies above 0.822."),
            ("blind", "As aegis, but the gate hands over at control step 50, independently of the probe."),
            ("blind_middle", "hands over at control step 100, independently"),
            ("random", "at random times"),
            ("strong", "drives alone, from the first step on"),
            ("aa", "bit for bit"),
            ("take_over", "the strong one drives from control step 50 to the end"),
            ("shadow", "recorded and not obeyed: it hands over where"),
        ] {
            let said = said(&plan, arm);
            assert!(said.contains(words), "{arm}: {words:?} is missing from: {said}");
        }
        plan.gate.return_chunks = 2;
        let cost = RuleSettings::Cost { missed_failure: 3.0, false_alarm: 1.0 };
        for (rule, words) in [
            (RuleSettings::Conformal {}, "above 0.822; below 0.263 a boundary is calm"),
            (RuleSettings::FunctionalBand {}, "the threshold of its boundary, which is 0.603 to 1.421"),
            (cost, "above 0.250, because a missed failure costs 3 and a false alarm 1"),
            (RuleSettings::Trend { switch_cap: 4 }, "more than 0.212 a chunk over 4 boundaries"),
            (RuleSettings::Disagreement {}, "further apart than 0.608"),
            (
                RuleSettings::Blind { schedule: Schedule::Every { first: 5, period: 4 }, share: None },
                "step 50 and every 40 steps",
            ),
            (
                RuleSettings::Blind { schedule: Schedule::At(vec![5]), share: Some(0.6) },
                "step 50, independently of the probe, in a share of 0.6 of the episodes, drawn for each.",
            ),
            (RuleSettings::Never {}, "never hands over"),
        ] {
            plan.rule = rule;
            let said = said(&plan, "aegis");
            assert!(said.contains(words), "{words:?} is missing from: {said}");
        }
        assert_eq!(number(f64::INFINITY), "every value");
    }
}
