//! Advice for a study that confirms nothing: what to change before the next study, one sentence for each reason.
//! Reasons are the kill criteria that fired and the budgets that are shown to differ.

use aegis_statistics::Verdict;

use super::tables::duty_name;
use super::{ContrastReport, Report};
use crate::plan::study::Judged;

/// Last sentence of the advice where the plan itself has to change.
const AGAIN: &str = "Change the plan, give it confirmation starts that nothing was run from, and register it anew: these \
                     results may choose settings and confirm none of them.";

impl Report {
    /// Returns the advice, one sentence for each reason. Empty where no criterion fired and no budgets differ.
    pub(super) fn what_to_change(&self) -> Vec<String> {
        let mut changes: Vec<String> = self.kill.iter().filter(|one| one.fired).map(criterion).collect();
        changes.extend(self.contrasts.iter().flat_map(|one| self.budgets_of(one)));
        // Missing episodes and a plant that is not deterministic are faults of the runs, not of the plan.
        let of_runs = ["missing_episodes", "crn_violations"];
        let runs = self.kill.iter().filter(|one| one.fired && of_runs.contains(&one.name)).count();
        if changes.len() > runs {
            changes.push(AGAIN.into());
        }
        changes
    }

    /// Returns the advice on the budgets of a contrast; empty unless they are shown to differ.
    fn budgets_of(&self, one: &ContrastReport) -> Vec<String> {
        let Some(budget) = &one.budget else { return Vec::new() };
        let (better, than) = (&one.claim.better, &one.claim.than);
        let quantities = [
            (duty_name(self.duty_of), 100.0, " %", self.tolerance.duty, &budget.duty),
            ("fires per episode", 1.0, "", self.tolerance.fires, &budget.fires),
        ];
        let differ = quantities.into_iter().filter(|(.., of)| of.verdict == Verdict::Mismatched);
        differ
            .map(|(quantity, scale, unit, tolerance, of)| {
                format!(
                    "{better} against {than}: budgets differ in {quantity} ({:.2}{unit} and {:.2}{unit}), by more than the \
                     tolerance of {:.2}, so this claim is void at any p-value: give both arms rules and holds with equal \
                     budgets.",
                    scale * of.treatment,
                    scale * of.control,
                    scale * tolerance
                )
            })
            .collect()
    }
}

/// Returns the advice on a criterion that fired.
fn criterion(Judged { name, limit, found, .. }: &Judged) -> String {
    let found =
        found.map(|found| format!("{found:.4}").trim_end_matches('0').trim_end_matches('.').to_owned());
    let Some(found) = found else {
        return match *name {
            "auroc_floor" => {
                "auroc_floor could not be determined, because weak won all episodes or none: give it starts, \
                              tasks or a horizon with which it wins some and loses some."
                    .into()
            }
            "harm_cap" => "harm_cap could not be determined: the study needs an arm aegis.".into(),
            "duty_mismatch_points" => {
                "duty_mismatch_points could not be determined, because all episodes have one start: give the study more starts."
                    .into()
            }
            name => format!("{name} could not be determined, which counts as fired."),
        };
    };
    match *name {
        "auroc_floor" => format!(
            "auroc_floor: the lower end of the probe's early-window AUROC is {found} and has to lie above {limit}: fit \
             the probe on more discovery episodes, with another head or on another tensor, and evaluate it with `aegis \
             probe eval --range tuning` first."
        ),
        "duty_mismatch_points" => format!(
            "duty_mismatch_points: two arms whose budgets should be equal differ by {found} points of duty; valid is at \
             most {limit}."
        ),
        "crn_violations" => format!(
            "crn_violations: {found} pairs of twins differ before their first hand-over and at most {limit} may, so the \
             arms did not run the same episodes: the section Audit names them; find what is not deterministic in plant \
             or policies, then run the study again."
        ),
        "missing_episodes" => format!(
            "missing_episodes: {found} without a result, and at most {limit} may be: run `aegis experiment run`, which \
             runs the missing episodes."
        ),
        "harm_cap" => format!(
            "harm_cap: aegis loses a share of {found} of the episodes that weak wins, and at most {limit} may be lost: \
             raise the threshold (a smaller fit.alpha), wait longer (gate.guard_fraction) or hold shorter \
             (gate.hold_chunks)."
        ),
        name => format!("{name}: found {found}, limit {limit}."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_on_every_criterion_names_value_limit_and_remedy() {
        let said = |name, limit, found| criterion(&Judged { name, limit, found, fired: true });
        for (name, limit, found, words) in [
            ("auroc_floor", 0.6, Some(0.55), ["0.55 ", "above 0.6", "`aegis probe eval"]),
            ("duty_mismatch_points", 10.0, Some(12.5), ["12.5 points", "at most 10.", "budgets"]),
            ("crn_violations", 0.0, Some(3.0), ["3 pairs", "at most 0 ", "Audit"]),
            ("missing_episodes", 0.0, Some(20.0), ["20 without", "at most 0 ", "`aegis experiment run`"]),
            ("harm_cap", 0.1, Some(0.25), ["0.25 ", "at most 0.1 ", "fit.alpha"]),
            ("auroc_floor", 0.6, None, ["could not be determined", "won all episodes or none", "horizon"]),
            ("harm_cap", 0.1, None, ["could not be determined", "an arm aegis", "harm_cap"]),
            ("another", 0.1, None, ["another", "could not be determined", "counts as fired"]),
        ] {
            let said = said(name, limit, found);
            for word in words {
                assert!(said.contains(word), "{word:?} is missing from: {said}");
            }
        }
    }
}
