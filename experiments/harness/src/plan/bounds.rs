//! Upper bounds on the numbers of a plan; each error message gives the reason of the bound. Arithmetic on plans relies
//! on the bounds: products of numbers within them fit their types.

use aegis_statistics::Bootstrap;
use serde::Serialize;
use serde_json::Value;

use super::Plan;

/// Most control steps of the null action: 500 s at LIBERO's 20 steps a second.
const SETTLE_STEPS: u32 = 10_000;
/// Most control steps of an episode, whose trace has a row for each.
const HORIZON_STEPS: u32 = 100_000;
impl Plan {
    /// Checks that all numbers are within their bounds. The error has the key, and a message with the number found, the
    /// bound and its reason.
    pub(super) fn check_bounds(&self) -> Result<(), (String, String)> {
        for (name, share) in self.ranges.named() {
            share.validate().map_err(|reason| (format!("ranges.{name}"), reason))?;
        }
        let resamples = self.study.as_ref().map_or(0, |study| study.bootstrap.replicates);
        for (field, found, most, reason) in [
            ("settle_steps", self.settle_steps.into(), SETTLE_STEPS.into(), "500 s at 20 steps a second"),
            (
                "gate.horizon_steps",
                self.gate.horizon_steps.into(),
                HORIZON_STEPS.into(),
                "a trace has a row for each",
            ),
            ("study.bootstrap.replicates", resamples, *Bootstrap::REPLICATES.end(), "each is kept in memory"),
        ] {
            if found > most {
                return Err((field.into(), format!("found {found}; valid is at most {most}: {reason}")));
            }
        }
        self.fit.check_bounds().map_err(|(field, reason)| (field.into(), reason))
    }

    /// Checks that a lock can store every value: TOML has signed 64-bit integers, and JSON has no non-finite numbers.
    pub(super) fn check_written(&self) -> Result<(), (String, String)> {
        check_written(self)
    }
}

/// Checks that a lock can store every value of a plan: TOML has signed 64-bit integers, and JSON has no non-finite numbers. The error has
/// the key and a message.
pub(crate) fn check_written(plan: &impl Serialize) -> Result<(), (String, String)> {
    let written = serde_json::to_value(plan).map_err(|error| ("plan".to_owned(), error.to_string()))?;
    match lost(&written, String::new()) {
        Some(refused) => Err(refused),
        None => Ok(()),
    }
}

/// Returns the key and a message for the first value that is not preserved when it is written.
fn lost(value: &Value, key: String) -> Option<(String, String)> {
    let within = |name: &str| if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") };
    match value {
        Value::Object(members) => members.iter().find_map(|(name, member)| lost(member, within(name))),
        Value::Array(values) => {
            let named = |(index, value)| lost(value, format!("{key}[{index}]"));
            values.iter().enumerate().find_map(named)
        }
        Value::Number(number) => {
            let beyond = number.as_u64().is_some_and(|number| i64::try_from(number).is_err());
            let most = i64::MAX;
            beyond.then(|| {
                (key, format!("found {number}; valid is at most {most}, the largest integer of TOML"))
            })
        }
        // Omitted settings are not serialised, so a null stands for a number that is not finite.
        Value::Null => Some((key, "found a number that is not finite; valid is a finite one".into())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::plan::registration::{Frozen, Lock, Scenes};

    fn shipped() -> String {
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../template.toml")).unwrap()
    }

    /// Returns the byte range of every number in the template.
    fn numbers(text: &str) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        let (mut comment, mut quoted, mut before) = (false, false, ' ');
        let mut at = 0;
        while at < text.len() {
            let rest = &text[at..];
            let next = rest.chars().next().unwrap();
            match next {
                '\n' => (comment, quoted) = (false, false),
                '#' if !quoted => comment = true,
                '"' if !comment => quoted = !quoted,
                _ => {}
            }
            let name = before.is_alphanumeric() || before == '_';
            if !comment && !quoted && !name && next.is_ascii_digit() {
                let length = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
                found.push((at, at + length));
                at += length;
                before = '0';
                continue;
            }
            before = next;
            at += next.len_utf8();
        }
        found
    }

    #[test]
    fn every_number_of_a_plan_is_refused_or_read_back() {
        let text = shipped();
        let place = std::env::temp_dir().join(format!("aegis-bounds-{}", std::process::id()));
        std::fs::create_dir_all(&place).unwrap();
        let (path, lock_path) = (place.join("plan.toml"), place.join("plan.lock.toml"));
        let all = numbers(&text);
        assert!(all.len() > 50, "{} numbers", all.len());
        let (mut refused, mut kept) = (0, 0);
        for (begin, end) in all {
            for other in [
                "10000000000000000000",
                "9223372036854775807",
                "4294967295",
                "1e300",
                "inf",
                "nan",
                "-1",
                "0",
            ] {
                let changed = format!("{}{other}{}", &text[..begin], &text[end..]);
                std::fs::write(&path, &changed).unwrap();
                let Ok(plan) = Plan::read(&path) else {
                    refused += 1;
                    continue;
                };
                let frozen =
                    Frozen::new(&plan, [].into(), [].into(), Scenes::new("s".into(), [].into())).unwrap();
                let lock = Lock::new(frozen, "now".into(), "unknown".into(), Vec::new()).unwrap();
                lock.replace(&lock_path).unwrap();
                assert_eq!(
                    Lock::load(&lock_path).unwrap(),
                    lock,
                    "{other} at {}",
                    &text[begin.saturating_sub(60)..begin]
                );
                kept += 1;
            }
        }
        std::fs::remove_dir_all(&place).unwrap();
        assert!(refused > 100 && kept > 50, "{refused} refused, {kept} kept");
    }

    #[test]
    fn numbers_past_their_bounds_are_refused_with_the_reason() {
        let place = std::env::temp_dir().join(format!("aegis-past-bounds-{}", std::process::id()));
        std::fs::create_dir_all(&place).unwrap();
        let path = place.join("plan.toml");
        for (from, to, words) in [
            (
                "master_seed = 20260606",
                "master_seed = 10000000000000000000",
                ["master_seed", "at most 9223372036854775807"],
            ),
            (
                "end = 540, replicates = 1 }",
                "end = 540, replicates = 1000000000000 }",
                ["ranges.confirmation", "in memory"],
            ),
            (
                "end = 540, replicates = 1 }",
                "end = 540, replicates = 9223372036854775807 }",
                ["ranges.confirmation", "100000"],
            ),
            (
                "end = 540, replicates",
                "end = 9223372036854775807, replicates",
                ["ranges.confirmation", "32 bits"],
            ),
            ("settle_steps = 10", "settle_steps = 4294967295", ["settle_steps: found 4294967295", "500 s"]),
            ("horizon_steps = 220", "horizon_steps = 4294967295", ["gate.horizon_steps", "a row for each"]),
            ("replicates = 10000", "replicates = 1000000000000", ["study.bootstrap.replicates", "in memory"]),
            ("folds = 5", "folds = 1000000000", ["fit.folds", "a thread of its own"]),
            ("hidden = 8", "hidden = 1000000000", ["fit.hidden", "1024"]),
            ("epochs = 60", "epochs = 9223372036854775807", ["fit.epochs", "100000"]),
            ("trend_window = 4", "trend_window = 9223372036854775807", ["fit.trend_window", "scores"]),
            ("harm_cap = 0.10", "harm_cap = nan", ["study.kill.harm_cap", "0 to 1"]),
        ] {
            let text = shipped();
            assert!(text.contains(from), "{from}");
            std::fs::write(&path, text.replace(from, to)).unwrap();
            let error = Plan::read(&path).expect_err(to).to_string();
            for word in words {
                assert!(error.contains(word), "{word:?} is missing from: {error}");
            }
        }
        std::fs::remove_dir_all(&place).unwrap();
    }
}
