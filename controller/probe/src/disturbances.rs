//! Settings from which each episode's disturbance is drawn: `[disturbances]` of a plan. Pure: numbers drawn uniformly from
//! `[0, 1)` go in, a disturbance comes out.

use std::f64::consts::TAU;

use aegis_core::disturbance::{Disturbance, Effect};
use serde::{Deserialize, Serialize};

/// Count of uniform numbers that decide an episode's disturbance: kind, onset, size, duration, direction.
pub const DRAWS: usize = 5;

/// Most control steps that a push or a slip lasts.
const STEPS: u32 = 10_000;
/// Strongest push, newtons: ten times what a Panda's joints withstand.
const NEWTONS: f64 = 1_000.0;
/// Largest displacement, metres: farther than any table of the suites reaches.
const METRES: f64 = 1.0;

/// Disturbances of a plan's episodes. Each kind is drawn in a share of the episodes; the remaining episodes have none.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DisturbanceSettings {
    /// Pushes of the arm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub push: Option<PushSettings>,
    /// Slips of the gripper.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slip: Option<SlipSettings>,
    /// Displacements of the target object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub displacement: Option<DisplacementSettings>,
}

/// A force on the arm's last link, in a horizontal direction drawn uniformly.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PushSettings {
    /// Share of the episodes.
    pub share: f64,
    /// Earliest and latest onset, shares of the horizon.
    pub onset: [f64; 2],
    /// Smallest and largest duration, control steps.
    pub steps: [u32; 2],
    /// Smallest and largest force.
    pub newtons: [f64; 2],
}

/// The gripper is commanded to open, whether it holds something or not.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlipSettings {
    /// Share of the episodes.
    pub share: f64,
    /// Earliest and latest onset, shares of the horizon.
    pub onset: [f64; 2],
    /// Smallest and largest duration, control steps.
    pub steps: [u32; 2],
}

/// The target object is moved on its support, in a direction drawn uniformly.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DisplacementSettings {
    /// Share of the episodes.
    pub share: f64,
    /// Earliest and latest onset, shares of the horizon.
    pub onset: [f64; 2],
    /// Smallest and largest distance.
    pub metres: [f64; 2],
}

impl DisturbanceSettings {
    /// Checks every setting.
    ///
    /// # Errors
    /// Key within the table, and a message with the value found and the valid values.
    pub fn validate(&self) -> Result<(), (String, String)> {
        for (kind, share, onset) in self.kinds() {
            let wrong = |key: &str, reason| Err((format!("{kind}.{key}"), reason));
            if !(0.0..=1.0).contains(&share) {
                return wrong("share", format!("found {share}; valid is 0 to 1, a share of the episodes"));
            }
            let [first, last] = onset;
            if !(0.0 <= first && first < last && last <= 1.0) {
                let valid = "two shares of the horizon, ascending, from 0 to 1";
                return wrong("onset", format!("found {onset:?}; valid is {valid}"));
            }
        }
        if self.kinds().next().is_none() {
            let valid =
                "one or more of the tables push, slip and displacement; leave the whole table out for none";
            return Err((String::new(), format!("found no kind; valid is {valid}")));
        }
        let steps = [("push", self.push.map(|push| push.steps)), ("slip", self.slip.map(|slip| slip.steps))];
        for (kind, [least, most]) in steps.into_iter().filter_map(|(kind, steps)| Some((kind, steps?))) {
            if !(1 <= least && least <= most && most <= STEPS) {
                let valid = format!("a smallest and a largest number of control steps, 1 to {STEPS}");
                return Err((format!("{kind}.steps"), format!("found [{least}, {most}]; valid is {valid}")));
            }
        }
        let sizes = [
            ("push.newtons", self.push.map(|push| push.newtons), NEWTONS),
            ("displacement.metres", self.displacement.map(|one| one.metres), METRES),
        ];
        for (key, size, bound) in sizes {
            let Some([least, most]) = size else { continue };
            if !(0.0 < least && least <= most && most <= bound) {
                let valid = format!("a smallest and a largest size, above 0 and at most {bound}");
                return Err((key.into(), format!("found [{least}, {most}]; valid is {valid}")));
            }
        }
        let sum: f64 = self.kinds().map(|(_, share, _)| share).sum();
        // Shares such as 0.1, 0.2 and 0.7 may sum to the next number above 1.
        if sum > 1.0 + 1e-9 {
            let found = format!("found shares that sum to {sum}");
            let valid = "valid is a sum of at most 1, because an episode has at most one disturbance";
            return Err((String::new(), format!("{found}; {valid}")));
        }
        Ok(())
    }

    /// Returns the share of the episodes that have no disturbance.
    pub fn undisturbed(&self) -> f64 {
        (1.0 - self.kinds().map(|(_, share, _)| share).sum::<f64>()).max(0.0)
    }

    /// Returns whether some episodes have their target object displaced.
    pub fn displaces(&self) -> bool {
        self.displacement.is_some_and(|displacement| displacement.share > 0.0)
    }

    /// Returns an episode's disturbance, given numbers drawn uniformly from `[0, 1)`; `None` for an episode without one.
    ///
    /// The step counts from the first counted control step. Forces are rounded to 1 mN and displacements to 1 µm, so that
    /// their decimals in a result read back as the same numbers.
    pub fn disturbance(&self, horizon_steps: u32, drawn: [f64; DRAWS]) -> Option<Disturbance> {
        let [kind, of_kind @ ..] = drawn;
        let mut before = 0.0;
        let (name, _, window) = self.kinds().find(|(_, share, _)| {
            before += share;
            kind < before
        })?;
        self.of_kind(name, window, horizon_steps, of_kind)
    }

    /// Returns one disturbance of each kind that is drawn, of middle size, in the order of [`Effect::KINDS`].
    pub fn examples(&self, horizon_steps: u32) -> Vec<Disturbance> {
        let drawn = self.kinds().filter(|(_, share, _)| *share > 0.0);
        drawn.filter_map(|(name, _, window)| self.of_kind(name, window, horizon_steps, [0.5; 4])).collect()
    }

    /// Returns the disturbance of a kind, with its window of onsets, for numbers drawn uniformly from `[0, 1)`: onset, size, duration and
    /// direction. `None` for a kind that the settings lack.
    fn of_kind(
        &self,
        name: &str,
        window: [f64; 2],
        horizon_steps: u32,
        [onset, size, duration, direction]: [f64; DRAWS - 1],
    ) -> Option<Disturbance> {
        let step = onset_step(window, horizon_steps, onset);
        let (sine, cosine) = (TAU * direction).sin_cos();
        let steps = |[least, most]: [u32; 2]| least + floor_of(duration, most - least + 1);
        let between = |[least, most]: [f64; 2]| least + size * (most - least);
        let effect = match (name, self.push, self.slip, self.displacement) {
            ("push", Some(push), ..) => {
                let newtons = between(push.newtons);
                let force = [newtons * cosine, newtons * sine].map(|part| rounded(part, 1e3));
                Effect::Push { force: [force[0], force[1], 0.0], steps: steps(push.steps) }
            }
            ("slip", _, Some(slip), _) => Effect::Slip { steps: steps(slip.steps) },
            (_, _, _, Some(displacement)) => {
                let metres = between(displacement.metres);
                Effect::Displacement {
                    shift: [metres * cosine, metres * sine].map(|part| rounded(part, 1e6)),
                }
            }
            _ => return None,
        };
        Some(Disturbance { step, effect })
    }

    /// Returns name, share and onset of each kind that there is, in the order of [`Effect::KINDS`].
    fn kinds(&self) -> impl Iterator<Item = (&'static str, f64, [f64; 2])> {
        let [push, slip, displacement] = Effect::KINDS;
        [
            self.push.map(|one| (push, one.share, one.onset)),
            self.slip.map(|one| (slip, one.share, one.onset)),
            self.displacement.map(|one| (displacement, one.share, one.onset)),
        ]
        .into_iter()
        .flatten()
    }
}

/// Returns the onset, uniform over the control steps of the window.
fn onset_step([first, last]: [f64; 2], horizon_steps: u32, drawn: f64) -> u32 {
    let step = |share: f64| (share * f64::from(horizon_steps)).round() as u32;
    let count = step(last).saturating_sub(step(first)).max(1);
    (step(first) + floor_of(drawn, count)).min(horizon_steps.saturating_sub(1))
}

/// Returns a whole number from 0 to `count` − 1, uniform for a `drawn` that is uniform in `[0, 1)`.
fn floor_of(drawn: f64, count: u32) -> u32 {
    ((drawn * f64::from(count)) as u32).min(count.saturating_sub(1))
}

fn rounded(value: f64, per_unit: f64) -> f64 {
    (value * per_unit).round() / per_unit
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> DisturbanceSettings {
        DisturbanceSettings {
            push: Some(PushSettings { share: 0.3, onset: [0.1, 0.5], steps: [4, 8], newtons: [20.0, 60.0] }),
            slip: Some(SlipSettings { share: 0.2, onset: [0.3, 0.5], steps: [3, 3] }),
            displacement: Some(DisplacementSettings {
                share: 0.3,
                onset: [0.05, 0.25],
                metres: [0.03, 0.06],
            }),
        }
    }

    /// Returns the disturbance of every cell of a grid over the five numbers.
    fn grid(settings: &DisturbanceSettings, cells: u32) -> Vec<Option<Disturbance>> {
        let at = |index: u32| (f64::from(index) + 0.5) / f64::from(cells);
        let mut found = Vec::new();
        for index in 0..cells.pow(DRAWS as u32) {
            let digit = |place: u32| at(index / cells.pow(place) % cells);
            found.push(settings.disturbance(220, [0, 1, 2, 3, 4].map(digit)));
        }
        found
    }

    #[test]
    fn shares_steps_and_sizes_are_those_of_the_settings() {
        let all = grid(&settings(), 10);
        let of = |kind: &str| all.iter().flatten().filter(|one| one.effect.kind() == kind).count();
        let total = all.len();
        assert_eq!(["push", "slip", "displacement"].map(|kind| of(kind) * 10 / total), [3, 2, 3]);
        assert_eq!(all.iter().filter(|one| one.is_none()).count() * 10 / total, 2);
        assert!((settings().undisturbed() - 0.2).abs() < 1e-12);
        for one in all.iter().flatten() {
            match one.effect {
                Effect::Push { force: [x, y, z], steps } => {
                    assert!((22..110).contains(&one.step) && (4..=8).contains(&steps), "{one:?}");
                    assert!((20.0..=60.0).contains(&x.hypot(y)) && z == 0.0, "{one:?}");
                }
                Effect::Slip { steps } => assert!((66..110).contains(&one.step) && steps == 3, "{one:?}"),
                Effect::Displacement { shift: [x, y] } => {
                    assert!((11..55).contains(&one.step), "{one:?}");
                    assert!((0.03 - 1e-6..=0.06 + 1e-6).contains(&x.hypot(y)), "{one:?}");
                }
            }
        }
    }

    #[test]
    fn every_onset_of_the_window_is_drawn_equally_often() {
        let mut met = [0_u32; 220];
        for index in 0..8800 {
            let drawn = [0.0, f64::from(index) / 8800.0, 0.5, 0.5, 0.5];
            met[settings().disturbance(220, drawn).unwrap().step as usize] += 1;
        }
        // A grid of numbers may fall on either side of a step's edge by rounding.
        assert!(met[22..110].iter().all(|count| (99..=101).contains(count)), "{met:?}");
        assert_eq!(met.iter().sum::<u32>(), 8800);
        assert_eq!(onset_step([0.9, 1.0], 220, 0.999_999), 219, "the last control step of the horizon");
        assert_eq!(onset_step([0.0, 1e-9], 220, 0.999_999), 0, "a window of no step");
    }

    #[test]
    fn a_share_of_zero_draws_nothing() {
        let mut null = settings();
        null.push.as_mut().unwrap().share = 0.0;
        null.slip = None;
        null.displacement.as_mut().unwrap().share = 0.0;
        assert_eq!(null.validate(), Ok(()));
        assert!(grid(&null, 4).iter().all(Option::is_none) && !null.displaces());
        assert_eq!(null.undisturbed(), 1.0);
    }

    #[test]
    fn there_is_an_example_of_each_kind_that_is_drawn() {
        let kinds = |settings: &DisturbanceSettings| {
            let examples = settings.examples(220);
            examples.iter().map(|one| one.effect.kind()).collect::<Vec<_>>()
        };
        assert_eq!(kinds(&settings()), Effect::KINDS);
        let mut some = settings();
        some.slip.as_mut().unwrap().share = 0.0;
        assert_eq!(kinds(&some), ["push", "displacement"]);
        some.displacement.as_mut().unwrap().share = 0.0;
        assert_eq!(kinds(&some), ["push"]);
    }

    #[test]
    fn directions_go_all_round() {
        let mut quadrants = [0; 4];
        for one in grid(&settings(), 8).into_iter().flatten() {
            if let Effect::Push { force: [x, y, _], .. } = one.effect {
                quadrants[usize::from(x > 0.0) + 2 * usize::from(y > 0.0)] += 1;
            }
        }
        assert!(quadrants.iter().all(|count| *count == quadrants[0] && *count > 0), "{quadrants:?}");
    }

    #[test]
    fn decimals_of_a_result_read_back_as_the_same_numbers() {
        for one in grid(&settings(), 7).into_iter().flatten() {
            let text = serde_json::to_string(&one).unwrap();
            assert_eq!(serde_json::from_str::<Disturbance>(&text).unwrap(), one, "{text}");
        }
    }

    #[test]
    fn a_bad_setting_is_named_with_what_is_valid() {
        type Change = fn(&mut DisturbanceSettings);
        let none = DisturbanceSettings { push: None, slip: None, displacement: None };
        let changes: [(Change, &str, &str); 12] = [
            (|one| one.push.as_mut().unwrap().share = 1.5, "push.share", "found 1.5; valid is 0 to 1"),
            (|one| one.slip.as_mut().unwrap().share = f64::NAN, "slip.share", "found NaN"),
            (|one| one.push.as_mut().unwrap().onset = [0.5, 0.5], "push.onset", "found [0.5, 0.5]"),
            (|one| one.slip.as_mut().unwrap().onset = [0.5, 1.1], "slip.onset", "from 0 to 1"),
            (|one| one.push.as_mut().unwrap().steps = [0, 3], "push.steps", "found [0, 3]"),
            (|one| one.slip.as_mut().unwrap().steps = [4, 3], "slip.steps", "found [4, 3]"),
            (|one| one.slip.as_mut().unwrap().steps = [4, 10_001], "slip.steps", "1 to 10000"),
            (|one| one.push.as_mut().unwrap().newtons = [0.0, 3.0], "push.newtons", "above 0"),
            (|one| one.push.as_mut().unwrap().newtons = [1.0, 1e9], "push.newtons", "at most 1000"),
            (|one| one.displacement.as_mut().unwrap().metres = [0.1, 0.05], "displacement.metres", "found"),
            (|one| one.slip.as_mut().unwrap().share = 0.5, "", "sum to 1.1"),
            (|one| *one = DisturbanceSettings { push: None, slip: None, displacement: None }, "", "no kind"),
        ];
        for (change, key, words) in changes {
            let mut changed = settings();
            change(&mut changed);
            let (field, reason) = changed.validate().unwrap_err();
            assert!(field == key && reason.contains(words), "{field}: {reason}");
        }
        assert_eq!(settings().validate(), Ok(()));
        assert_eq!(none.undisturbed(), 1.0);
    }
}
