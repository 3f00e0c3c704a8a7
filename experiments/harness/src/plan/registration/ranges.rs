//! Checks that no start of the confirmation range was in another range of the plan since its registration. Earlier
//! versions of the plan are reconstructed from the lock's amendments, each of which records what it changed.

use std::collections::BTreeMap;

use super::canonical::leaves;
use super::lock::Lock;
use crate::plan::Plan;
use aegis_probe::StateRange;

/// Settings of a plan that define its ranges, by dotted key.
type Settings = BTreeMap<String, String>;

/// Prefix of the keys of a plan's ranges.
const RANGES: &str = "ranges.";
/// Name of the range that a study is judged on.
const CONFIRMATION: &str = "confirmation";

impl Lock {
    /// Checks that the confirmation range of an amended plan has no start that another range had since the
    /// registration, because what was fitted, calibrated or chosen on that range has seen the start. Another name of
    /// the suite makes no difference: it may be of the same scenes.
    ///
    /// # Errors
    /// Key, and a message with the values found and the valid ones.
    pub fn check_confirmation(&self, amended: &Plan) -> Result<(), (String, String)> {
        let StateRange { first, end, .. } = amended.ranges.confirmation;
        for settings in self.history() {
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

    /// Returns the range settings of every version of the plan in the lock, the newest first.
    fn history(&self) -> Vec<Settings> {
        let wanted = |key: &str| key.starts_with(RANGES);
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
