//! Which starts have served what since a plan was registered, and that none of them becomes one that the study is judged on.
//! Earlier plans are had from the lock's log: each amendment says what it changed.

use std::collections::BTreeMap;

use super::canonical::leaves;
use super::lock::Lock;
use crate::plan::{Plan, StateRange};

/// The plan's settings that say which starts serve what, by their dotted keys.
type Settings = BTreeMap<String, String>;

/// What the ranges of a plan are called in its settings.
const RANGES: &str = "ranges.";
/// The setting that says of which scenes the starts are.
const SUITE: &str = "suite";
/// The range that a study is judged on.
const CONFIRMATION: &str = "confirmation";

impl Lock {
    /// Refuses a plan whose confirmation range has a start that another range had since the registration: what was fitted,
    /// calibrated or chosen there has seen it.
    ///
    /// # Errors
    /// The key, and what was found and would be valid.
    pub fn check_confirmation(&self, amended: &Plan) -> Result<(), (String, String)> {
        let StateRange { first, end, .. } = amended.ranges.confirmation;
        for settings in self.history() {
            if settings.get(SUITE) != Some(&serde_json::Value::from(amended.suite.as_str()).to_string()) {
                continue;
            }
            for (name, _) in amended.ranges.named().into_iter().filter(|(name, _)| *name != CONFIRMATION) {
                let bound =
                    |which: &str| settings.get(&format!("{RANGES}{name}.{which}"))?.parse::<usize>().ok();
                let (Some(begin), Some(stop)) = (bound("first"), bound("end")) else { continue };
                if first < stop && begin < end {
                    let shared = (first.max(begin), end.min(stop).saturating_sub(1));
                    let reason = format!(
                        "found first {first}, end {end}, of which {} to {} were starts of ranges.{name} of this plan as it was \
                         registered or amended; valid is starts that no other range has had since",
                        shared.0, shared.1
                    );
                    return Err((format!("{RANGES}{CONFIRMATION}"), reason));
                }
            }
        }
        Ok(())
    }

    /// The settings of every plan that the lock has stood for, the newest first.
    fn history(&self) -> Vec<Settings> {
        let wanted = |key: &str| key == SUITE || key.starts_with(RANGES);
        let mut settings = leaves(&self.frozen.plan);
        settings.retain(|key, _| wanted(key));
        let mut found = vec![settings.clone()];
        for amendment in self.amendments.iter().rev() {
            for change in
                amendment.changes.iter().filter(|change| change.file == "plan" && wanted(&change.field))
            {
                match &change.registered {
                    Some(before) => settings.insert(change.field.clone(), before.clone()),
                    None => settings.remove(&change.field),
                };
            }
            found.push(settings.clone());
        }
        found
    }
}
