//! Disturbances of the episodes: how many of each kind, when they began, and how many of these episodes each arm won.

use aegis_core::disturbance::Effect;
use serde::Serialize;

use super::{Page, Report, Table};
use crate::episode::arm::ArmName;
use crate::episode::outcome::EpisodeResult;
use crate::plan::Plan;

/// Name of the row of episodes without a disturbance.
const NONE: &str = "none";
/// Equal parts of the horizon in which onsets are counted.
const PARTS: usize = 10;

/// Episodes by the disturbance that they have.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Disturbances {
    /// Episodes without a disturbance, then those of each kind; kinds without an episode are left out.
    pub kinds: Vec<OfKind>,
}

/// Episodes whose disturbance is of one kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OfKind {
    /// The kind, or `none`.
    pub kind: String,
    /// Number of episodes of each arm.
    pub episodes: u64,
    /// Of these, episodes of the first arm that lasted until their disturbance began; all of those without one.
    pub met: u64,
    /// Onsets in each tenth of the horizon.
    pub onsets: [u64; PARTS],
    /// Episodes won by each arm.
    pub won: Vec<Won>,
}

/// Episodes won by one arm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Won {
    /// The arm.
    pub arm: ArmName,
    /// Number of episodes.
    pub won: u64,
}

impl Disturbances {
    /// Counts the episodes of results of which each arm has the same keys; arms in the order of their first appearance.
    /// `None` where no episode has a disturbance.
    pub fn of<'a>(results: impl IntoIterator<Item = &'a EpisodeResult>, horizon_steps: u32) -> Option<Self> {
        let mut arms: Vec<(&ArmName, Vec<&EpisodeResult>)> = Vec::new();
        for result in results {
            match arms.iter_mut().find(|(arm, _)| **arm == result.arm) {
                Some((_, of_arm)) => of_arm.push(result),
                None => arms.push((&result.arm, vec![result])),
            }
        }
        let kind = |result: &EpisodeResult| result.disturbance.map_or(NONE, |one| one.effect.kind());
        let (_, first) = arms.first()?;
        first.iter().find(|result| result.disturbance.is_some())?;
        let kinds = std::iter::once(NONE).chain(Effect::KINDS).filter_map(|name| {
            let of: Vec<&EpisodeResult> = first.iter().copied().filter(|one| kind(one) == name).collect();
            let steps = || of.iter().filter_map(|result| Some((result.disturbance?.step, result.steps)));
            let mut onsets = [0; PARTS];
            for (step, _) in steps() {
                let part = (u64::from(step) * PARTS as u64 / u64::from(horizon_steps.max(1))) as usize;
                onsets[part.min(PARTS - 1)] += 1;
            }
            let late = steps().filter(|(step, taken)| step >= taken).count();
            let won = arms.iter().map(|(arm, results)| {
                let won = results.iter().filter(|one| kind(one) == name && one.success).count();
                Won { arm: (*arm).clone(), won: won as u64 }
            });
            let (episodes, met) = (of.len() as u64, (of.len() - late) as u64);
            let all = OfKind { kind: name.into(), episodes, met, onsets, won: won.collect() };
            (episodes > 0).then_some(all)
        });
        Some(Self { kinds: kinds.collect() })
    }

    /// Returns, for each kind, its episodes and how many of them each arm won.
    fn outcome_table(&self) -> Table {
        let mut table = Table::new(&["disturbance", "episodes", "began before weak ended"]);
        let arms = self.kinds.first().map(|kind| kind.won.as_slice()).unwrap_or_default();
        table.head.extend(arms.iter().map(|one| format!("{} won", one.arm)));
        for of in &self.kinds {
            let met = if of.kind == NONE { "–".into() } else { of.met.to_string() };
            let mut row = vec![of.kind.clone(), of.episodes.to_string(), met];
            row.extend(of.won.iter().map(|one| one.won.to_string()));
            table.rows.push(row);
        }
        table
    }

    /// Returns the histogram of the onsets, a row for each tenth of the horizon.
    fn onset_table(&self, horizon_steps: u32) -> Table {
        let kinds: Vec<&OfKind> = self.kinds.iter().filter(|of| of.kind != NONE).collect();
        let mut table = Table::new(&["control steps"]);
        table.head.extend(kinds.iter().map(|of| of.kind.clone()));
        table.head.push("all".into());
        // The first control step of a part is the first whose part, by the division above, is that part.
        let first = |part: usize| (u64::from(horizon_steps) * part as u64).div_ceil(PARTS as u64);
        for part in 0..PARTS {
            let counts: Vec<u64> = kinds.iter().map(|of| of.onsets[part]).collect();
            let mut row = vec![format!("{} to {}", first(part), first(part + 1).saturating_sub(1))];
            row.extend(counts.iter().chain([&counts.iter().sum()]).map(u64::to_string));
            table.rows.push(row);
        }
        table
    }
}

impl Report {
    /// Adds the section on disturbances, for a plan that has them.
    pub(super) fn disturbance_section(&self, page: &mut Page, plan: &Plan) {
        let Some(settings) = &plan.disturbances else { return };
        let mut said: Vec<String> = Vec::new();
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        let window =
            |[first, last]: [f64; 2]| format!("from {} to {} of the horizon", percent(first), percent(last));
        if let Some(push) = settings.push {
            let ([least, most], [short, long]) = (push.newtons, push.steps);
            said.push(format!(
                "a push of the hand in {}, {least} to {most} N for {short} to {long} control steps, {}",
                percent(push.share),
                window(push.onset)
            ));
        }
        if let Some(slip) = settings.slip {
            let [short, long] = slip.steps;
            said.push(format!(
                "a slip in {}, for {short} to {long} control steps, {}",
                percent(slip.share),
                window(slip.onset)
            ));
        }
        if let Some(displacement) = settings.displacement {
            let [least, most] = displacement.metres;
            said.push(format!(
                "a displacement of the target object in {}, by {least} to {most} m, {}",
                percent(displacement.share),
                window(displacement.onset)
            ));
        }
        page.section("Disturbances").say(format!(
            "An episode has at most one disturbance, drawn from a random stream of its own, the same in every arm and at the \
             same control step: {}; none in {}.",
            said.join("; "),
            percent(settings.undisturbed())
        ));
        if let Some(found) = &self.disturbances {
            page.table(found.outcome_table())
                .say("Onsets of the disturbances by tenth of the horizon, in numbers of episodes.");
            page.table(found.onset_table(self.horizon_steps));
        }
    }
}

#[cfg(test)]
mod tests {
    use aegis_core::{Disturbance, EpisodeKey, Start};

    use super::*;

    fn result(state: usize, arm: &str, effect: Option<Effect>, steps: u32, success: bool) -> EpisodeResult {
        EpisodeResult {
            arm: arm.into(),
            key: EpisodeKey { start: Start { task: 0, initial_state: state }, replicate: 0 },
            disturbance: effect.map(|effect| Disturbance { step: 11, effect }),
            success,
            steps,
            chunk_steps: 10,
            fires: 0,
            strong_steps: 0,
            hand_overs: Vec::new(),
            scores: Vec::new(),
            prefixes: Vec::new(),
            path: String::new(),
        }
    }

    #[test]
    fn episodes_are_counted_by_kind_and_arm() {
        let (slip, push) = (Effect::Slip { steps: 2 }, Effect::Push { force: [1.0, 0.0, 0.0], steps: 2 });
        let all = [
            result(0, "weak", None, 50, true),
            result(1, "weak", Some(slip), 100, false),
            // Won before its disturbance began.
            result(2, "weak", Some(push), 11, true),
            result(0, "strong", None, 50, true),
            result(1, "strong", Some(slip), 70, true),
            result(2, "strong", Some(push), 12, true),
        ];
        let found = Disturbances::of(&all, 100).unwrap();
        let counts: Vec<_> = found.kinds.iter().map(|of| (of.kind.as_str(), of.episodes, of.met)).collect();
        assert_eq!(counts, [("none", 1, 1), ("push", 1, 0), ("slip", 1, 1)]);
        let won: Vec<Vec<u64>> =
            found.kinds.iter().map(|of| of.won.iter().map(|one| one.won).collect()).collect();
        assert_eq!(won, [[1, 1], [1, 1], [0, 1]]);
        assert_eq!(found.kinds[1].onsets, [0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(found.outcome_table().rows[2], ["slip", "1", "1", "0", "1"]);
        let onsets = found.onset_table(100);
        assert_eq!((&onsets.rows[1][0], &onsets.rows[1][3]), (&"10 to 19".to_owned(), &"2".to_owned()));
        assert_eq!(Disturbances::of(&all[..1], 100), None, "nothing to say of undisturbed episodes");
    }

    #[test]
    fn the_parts_of_a_horizon_that_ten_does_not_divide_are_those_counted() {
        let slip = Effect::Slip { steps: 1 };
        let mut one = result(0, "weak", Some(slip), 23, false);
        let mut met = Vec::new();
        for step in 0..23 {
            one.disturbance = Some(Disturbance { step, effect: slip });
            let found = Disturbances::of([&one], 23).unwrap();
            let rows = found.onset_table(23).rows;
            let row = rows.iter().find(|row| row[1] == "1").unwrap();
            let (first, last) = row[0].split_once(" to ").unwrap();
            assert!((first.parse().unwrap()..=last.parse().unwrap()).contains(&step), "{step}: {row:?}");
            met.push(row[0].clone());
        }
        met.dedup();
        assert_eq!(met.len(), 10);
    }
}
