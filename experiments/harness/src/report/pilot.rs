//! A report of the tuning range, read before anything is registered: whether budgets will match, what share of episodes a
//! blind schedule should fire in, and which criteria would void the study.

use aegis_statistics::Verdict;
use serde::Serialize;

use super::{Page, Report};
use crate::episode::arm::ArmName;
use crate::plan::study::StudySettings;
use aegis_probe::rules::RuleSettings;

/// The share of episodes in which a blind arm has to fire to spend as much as the arm that it is compared with.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ShareAdvice {
    /// The blind arm.
    pub arm: ArmName,
    /// The arm whose budget the blind arm should match.
    pub like: ArmName,
    /// The share of episodes that the blind arm fires in now.
    pub now: f64,
    /// The share at which both arms spend the same. Above 1 where the schedule spends too little even in every episode.
    pub wanted: f64,
}

impl ShareAdvice {
    fn words(&self) -> String {
        let Self { arm, like, now, wanted } = self;
        if *wanted > 1.0 {
            return format!(
                "{arm} spends less than {like} even where it fires in every episode ({wanted:.2} times its budget would be \
                 equal): give it another boundary in [study.rules.{arm}], or {like} a higher threshold."
            );
        }
        let share = wanted.max(0.01);
        format!(
            "{arm} fires in a share of {now} of the episodes; to spend what {like} spends here, write `share = {share:.2}` in \
             [study.rules.{arm}]."
        )
    }
}

impl Report {
    /// Returns for each blind arm the share of episodes at which it would spend as much as the arm it is compared with.
    pub fn share_advice(&self, study: &StudySettings) -> Vec<ShareAdvice> {
        let mut found: Vec<ShareAdvice> = Vec::new();
        for one in &self.contrasts {
            let Some(budget) = &one.budget else { continue };
            let sides = [
                (&one.claim.than, budget.duty.control, &one.claim.better, budget.duty.treatment),
                (&one.claim.better, budget.duty.treatment, &one.claim.than, budget.duty.control),
            ];
            for (arm, own, like, other) in sides {
                let Some(RuleSettings::Blind { share, .. }) = study.rules.get(arm) else { continue };
                if own > 0.0 && !found.iter().any(|one| one.arm == *arm) {
                    let now = share.unwrap_or(1.0);
                    found.push(ShareAdvice {
                        arm: arm.clone(),
                        like: like.clone(),
                        now,
                        wanted: now * other / own,
                    });
                }
            }
        }
        found
    }

    /// Renders the page of a pilot: what the tuning range predicts for a study that is not registered yet.
    pub fn pilot_page(&self, title: &str, study: &StudySettings) -> Page {
        let mut page = Page::new(title);
        page.section("Budgets").table(self.budget_table());
        let verdicts = self.contrasts.iter().filter_map(|one| one.budget.as_ref());
        let verdicts: Vec<Verdict> =
            verdicts.flat_map(|budget| [budget.duty.verdict, budget.fires.verdict]).collect();
        page.say(if verdicts.contains(&Verdict::Mismatched) {
            "Budgets will not match: the contrasts whose budgets differ would be void."
        } else if verdicts.contains(&Verdict::Unclear) {
            "No budgets are shown to differ; more sets would show whether they match."
        } else {
            "Budgets match within the tolerances of the plan."
        });
        for advice in self.share_advice(study) {
            page.say(advice.words());
        }
        page.section("Arms").table(self.arm_table());
        page.section("Kill criteria").table(self.kill_table());
        let changes = self.what_to_change();
        page.say(if self.killed {
            format!("With these settings the study would be void. {}", changes.join(" "))
        } else {
            "On these episodes no criterion would void the study.".to_owned()
        });
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_names_the_share_or_that_no_share_is_enough() {
        let advice =
            |wanted| ShareAdvice { arm: "blind".into(), like: "aegis".into(), now: 1.0, wanted }.words();
        assert!(advice(0.614).contains("`share = 0.61` in [study.rules.blind]"), "{}", advice(0.614));
        assert!(advice(0.001).contains("`share = 0.01`"), "{}", advice(0.001));
        assert!(
            advice(1.4).contains("another boundary") && !advice(1.4).contains("share ="),
            "{}",
            advice(1.4)
        );
    }
}
