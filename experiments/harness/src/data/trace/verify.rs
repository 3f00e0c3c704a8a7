//! Checks a stored set against its step trace: recomputes every figure that the trace determines and compares it with
//! the stored one, and checks the trace for consistency. Without side effects.

use aegis_core::{Disturbance, GateLimits};

use super::file::{Notes, TraceFile};
use super::recorded_arm::{Conduct, RecordedArm};
use super::row::{Layout, Row};
use crate::data::store::StoredSet;
use crate::episode::arm::Arm;
use crate::episode::figures::{Difference, differences, fields_that_differ};
use crate::episode::outcome::EpisodeResult;
use crate::run::runner::describe;

/// Result of checking a set against its trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceCheck {
    /// Messages, one for each error, each with set, arm and field.
    pub wrong: Vec<String>,
    /// Figures that the trace's layout does not determine.
    pub unchecked: Vec<&'static str>,
}

/// Checks a stored set against its trace. `arms` are those of the plan in the order in which they run, the weak one
/// first; `disturbance` is the one that the plan draws for the set.
pub fn verify(
    set: &StoredSet,
    trace: &TraceFile,
    arms: &[Arm],
    gate: &GateLimits,
    disturbance: Option<Disturbance>,
) -> TraceCheck {
    let verifier = Verifier { set, trace, gate, disturbance };
    let mut check = TraceCheck::default();
    verifier.check_arms(arms, &mut check.wrong);
    if let Some(notes) = &trace.notes {
        verifier.check_notes(notes, &mut check.wrong);
    }
    let weak_name = arms.first().map_or("", |arm| arm.name.as_str());
    let mut weak: Option<RecordedArm<'_>> = None;
    for arm in arms {
        let name = arm.name.as_str();
        let recorded = match verifier.recorded(name, weak.as_ref()) {
            Ok(recorded) => recorded,
            Err(reason) => {
                check.wrong.push(verifier.of_trace(name, &reason));
                // The other arms are forked from the first one, so they cannot be checked without it.
                if weak.is_none() {
                    return check;
                }
                continue;
            }
        };
        let found = recorded.check(Conduct::from(arm), gate, trace.layout(), weak.as_ref());
        check.wrong.extend(found.iter().map(|reason| verifier.of_trace(name, reason)));
        verifier.compare(arm, &recorded, weak_name, &mut check);
        weak.get_or_insert(recorded);
    }
    check.unchecked.sort_unstable();
    check.unchecked.dedup();
    check
}

struct Verifier<'a> {
    set: &'a StoredSet,
    trace: &'a TraceFile,
    gate: &'a GateLimits,
    disturbance: Option<Disturbance>,
}

impl Verifier<'_> {
    /// Returns a message about an arm's trace.
    fn of_trace(&self, arm: &str, reason: &str) -> String {
        format!("{}: trace: {reason}", describe(self.set.key, arm))
    }

    /// Checks the arms of store and trace, and their order.
    fn check_arms(&self, arms: &[Arm], wrong: &mut Vec<String>) {
        let valid: Vec<&str> = arms.iter().map(|arm| arm.name.as_str()).collect();
        let what = describe(self.set.key, "twins");
        let stored: Vec<&str> = self.set.episodes.iter().map(|one| one.arm.as_str()).collect();
        let places: Vec<i64> = self.set.episodes.iter().map(|one| one.place).collect();
        if stored != valid || !places.iter().copied().eq(0..valid.len() as i64) {
            wrong.push(format!(
                "{what}: place: the store has {} at places {places:?}; valid is {} from 0 on",
                stored.join(", "),
                valid.join(", ")
            ));
        }
        let mut traced: Vec<&str> = Vec::new();
        for row in &self.trace.rows {
            if traced.last() != Some(&row.arm.as_str()) {
                traced.push(&row.arm);
            }
        }
        let mut left = valid.iter();
        if !traced.iter().all(|arm| left.any(|known| known == arm)) {
            wrong.push(format!(
                "{what}: trace: arm: found rows of {}; valid is each arm's rows together, in the order {}",
                traced.join(", "),
                valid.join(", ")
            ));
        }
        if let Some(notes) = &self.trace.notes {
            let noted: Vec<&str> = notes.arms.iter().map(|one| one.arm.as_str()).collect();
            if noted != valid {
                let found = noted.join(", ");
                wrong.push(format!(
                    "{what}: trace: metadata.aegis.arms: found {found}; valid is {}",
                    valid.join(", ")
                ));
            }
        }
    }

    /// Checks the file's metadata and the digest of each column.
    fn check_notes(&self, notes: &Notes, wrong: &mut Vec<String>) {
        let what = describe(self.set.key, "twins");
        if notes.key != self.set.key {
            let found = describe(notes.key, "twins");
            wrong.push(format!(
                "{what}: trace: metadata.aegis.key: found that of {found}; valid is that of the set"
            ));
        }
        if notes.chunk_steps != self.gate.chunk_steps {
            wrong.push(format!(
                "{what}: trace: metadata.aegis.chunk_steps: found {}; valid is the plan's {}",
                notes.chunk_steps, self.gate.chunk_steps
            ));
        }
        for one in &notes.arms {
            let made = self.trace.digests(&one.arm);
            let all = one.columns.keys().chain(made.keys().filter(|name| !one.columns.contains_key(*name)));
            for column in all.filter(|name| one.columns.get(*name) != made.get(*name)) {
                let text = |value: Option<&String>| value.cloned().unwrap_or_else(|| "nothing".into());
                let (noted, made) = (text(one.columns.get(column)), text(made.get(column)));
                let reason =
                    format!("{column}: its rows have SHA-256 {made}, the file's metadata has {noted}");
                wrong.push(self.of_trace(&one.arm, &reason));
            }
        }
    }

    /// Returns an arm's whole episode: the weak arm's rows up to the fork, then the arm's own.
    fn recorded<'b>(&'b self, name: &str, weak: Option<&RecordedArm<'b>>) -> Result<RecordedArm<'b>, String> {
        let own: Vec<&Row> = self.trace.rows.iter().filter(|row| row.arm == name).collect();
        let fired_before = self.trace.notes.as_ref().and_then(|notes| {
            let noted = notes.arms.iter().find(|one| one.arm == name);
            noted.map(|one| one.fired_before.as_slice())
        });
        let fired_before = fired_before.unwrap_or_default();
        let begin = match (own.first(), weak) {
            (Some(first), Some(weak)) => (first.step as usize).min(weak.rows.len()),
            (None, Some(weak)) => weak.rows.len(),
            (Some(_), None) => 0,
            (None, None) => return Err("found no rows of the arm from which the others are forked".into()),
        };
        let before = weak.map_or(&[][..], |weak| &weak.rows[..begin]);
        let rows: Vec<&Row> = before.iter().copied().chain(own.iter().copied()).collect();
        for (index, row) in rows.iter().enumerate() {
            if row.step as usize != index {
                return Err(format!("step: found control step {} in place of {index}", row.step));
            }
        }
        Ok(RecordedArm { rows, own: begin, fired_before })
    }

    /// Compares the stored figures of an arm with those of its trace; `weak` is the name of the first arm.
    fn compare(&self, arm: &Arm, recorded: &RecordedArm<'_>, weak: &str, check: &mut TraceCheck) {
        let name = arm.name.as_str();
        let what = describe(self.set.key, name);
        let stored = |name: &str| self.set.episodes.iter().find(|one| one.arm == name);
        let Some(text) = stored(name).map(|one| one.text.as_str()) else {
            check.wrong.push(format!("{what}: arm: is in the trace and not in the store"));
            return;
        };
        let conduct = Conduct::from(arm);
        let (key, chunk_steps) = (self.set.key, self.gate.chunk_steps);
        let mut made = recorded.result(arm.name.clone(), key, self.disturbance, conduct, chunk_steps);
        let found: Vec<Difference> = match self.trace.layout() {
            Layout::Two => differences(text, &made),
            Layout::One => {
                let read = |text: &str| serde_json::from_str::<EpisodeResult>(text);
                match read(text) {
                    Ok(result) => {
                        let twin = stored(weak).filter(|_| name != weak).and_then(|one| read(&one.text).ok());
                        check.unchecked.extend(fill(&mut made, &result, twin.as_ref(), conduct));
                        fields_that_differ(&result, &made)
                    }
                    // A stored text that cannot be parsed differs in every field.
                    Err(_) => differences(text, &made),
                }
            }
        };
        check.wrong.extend(found.into_iter().map(|one| {
            format!("{what}: {}: the store has {}, its trace gives {}", one.field, one.stored, one.found)
        }));
    }
}

/// Completes a result computed from layout 1: from the weak twin, which an arm equals up to its first hand-over, and
/// beyond that from the stored result itself. Returns the names of the figures that thereby remain unchecked.
fn fill(
    made: &mut EpisodeResult,
    stored: &EpisodeResult,
    twin: Option<&EpisodeResult>,
    conduct: Conduct,
) -> Vec<&'static str> {
    let boundaries = made.steps.div_ceil(made.chunk_steps.max(1)) as usize;
    made.scores.clone_from(&stored.scores);
    made.scores.resize(boundaries, None);
    made.prefixes.clone_from(&stored.prefixes);
    made.prefixes.resize(boundaries, String::new());
    made.path.clone_from(&stored.path);
    let from_start = (made.strong_steps > 0 && made.hand_overs.is_empty()).then_some(0);
    let parted = made.hand_overs.first().copied().or(from_start);
    let shared =
        parted.map_or(boundaries, |step| boundaries.min((step / made.chunk_steps.max(1)) as usize + 1));
    if let Some(twin) = twin {
        made.scores.iter_mut().zip(&twin.scores).take(shared).for_each(|(one, other)| *one = *other);
        let prefixes = made.prefixes.iter_mut().zip(&twin.prefixes).take(shared);
        prefixes.for_each(|(one, other)| one.clone_from(other));
        if parted.is_none() {
            made.path.clone_from(&twin.path);
        }
    }
    let mut unchecked = Vec::new();
    if twin.is_none() {
        unchecked.push("scores, prefixes and path of the weak arm");
    }
    if parted.is_some() {
        unchecked.push("scores, prefixes and path after the first hand-over");
    }
    if conduct == Conduct::Shadow {
        made.fires = stored.fires;
        unchecked.push("fires of a gate that is not obeyed");
    }
    unchecked
}
