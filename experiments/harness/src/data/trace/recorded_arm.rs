//! One arm's whole episode, reconstructed from a trace, and the result that follows from its rows. Without side
//! effects.

use aegis_core::{GateLimits, Rule};

use super::row::{Boundary, Layout, Row};
use crate::episode::arm::{Arm, ArmName, Drive};
use crate::episode::outcome::EpisodeResult;
use aegis_core::{Disturbance, EpisodeKey};
use aegis_files::hex;

/// Control steps of one arm from the first to the last: the weak arm's rows before the fork, then its own.
pub(super) struct RecordedArm<'a> {
    /// One row for each control step, from 0; at least one.
    pub(super) rows: Vec<&'a Row>,
    /// Number of rows taken from the weak arm, which is the index of the first own row.
    pub(super) own: usize,
    /// Control steps at which the arm fired before its own rows.
    pub(super) fired_before: &'a [u32],
}

impl RecordedArm<'_> {
    /// Checks the rows for consistency, also with the weak arm that this arm was forked from; returns a message for
    /// each error found.
    pub(super) fn check(
        &self,
        conduct: Conduct,
        gate: &GateLimits,
        layout: Layout,
        weak: Option<&RecordedArm<'_>>,
    ) -> Vec<String> {
        let mut wrong = Vec::new();
        let last = self.rows.len().saturating_sub(1);
        let mut strong = conduct == Conduct::Strong;
        let mut path = None;
        for (row, index) in self.rows.iter().zip(0_usize..) {
            let step = row.step;
            let begins = step.is_multiple_of(gate.chunk_steps.max(1));
            let changes = row.strong != strong;
            let meant = match conduct {
                Conduct::Weak | Conduct::Shadow => Some(false),
                Conduct::Strong => Some(true),
                Conduct::Gated | Conduct::TakeOver => None,
            };
            if meant.is_some_and(|meant| meant != row.strong) {
                let found = row.strong;
                wrong
                    .push(format!("strong: found {found} at control step {step}; this arm never hands over"));
            }
            if changes && !begins {
                wrong.push(format!("strong: the driver changes at control step {step}, within a chunk"));
            }
            if row.success && index != last {
                wrong.push(format!(
                    "success: the goal held after control step {step}, and the episode went on"
                ));
            }
            if layout == Layout::Two {
                if row.boundary.is_some() != begins {
                    let found = if begins { "none" } else { "one" };
                    let valid = format!("one in every {}", gate.chunk_steps);
                    wrong.push(format!("boundary: found {found} at control step {step}; valid is {valid}"));
                }
                if let Some(boundary) = &row.boundary {
                    wrong.extend(self.check_boundary(row, boundary, changes, path, weak));
                }
            }
            (strong, path) = (row.strong, Some(row.path));
        }
        let ended = self.rows.last().is_some_and(|row| row.success || row.step + 1 == gate.horizon_steps);
        if !ended {
            let (found, horizon) = (self.rows.len(), gate.horizon_steps);
            let valid = format!("{horizon}, the horizon, or an end with success");
            wrong.push(format!("step: found {found} control steps without success; valid is {valid}"));
        }
        let ordered = self.fired_before.windows(2).all(|pair| pair[0] < pair[1]);
        let before = |step: &u32| (*step as usize) < self.own && step.is_multiple_of(gate.chunk_steps.max(1));
        if !ordered || !self.fired_before.iter().all(before) {
            let (found, own) = (self.fired_before, self.own);
            wrong.push(format!(
                "fired_before: found {found:?}; valid is boundaries before control step {own}"
            ));
        }
        let (fires, taken) = (self.fires(), self.hand_overs(conduct).filter(|(_, strong)| *strong).count());
        let expected = match conduct {
            Conduct::Gated => Some(taken as u32),
            Conduct::Weak | Conduct::Strong | Conduct::TakeOver => Some(0),
            Conduct::Shadow => None,
        };
        if layout == Layout::Two && expected.is_some_and(|expected| expected != fires) {
            let taken = expected.unwrap_or_default();
            wrong.push(format!("fired: found {fires} fires; the drivers show {taken}"));
        }
        wrong
    }

    /// Returns a message for each error at one boundary of layout 2; `path` is the digest after the previous control
    /// step.
    fn check_boundary(
        &self,
        row: &Row,
        boundary: &Boundary,
        changes: bool,
        path: Option<[u8; 16]>,
        weak: Option<&RecordedArm<'_>>,
    ) -> Vec<String> {
        let step = row.step;
        let mut wrong = Vec::new();
        if boundary.handed_over != changes {
            let found = boundary.handed_over;
            wrong.push(format!(
                "handed_over: found {found} at control step {step}; the drivers show {changes}"
            ));
        }
        let start = weak.and_then(|weak| weak.rows.first()?.boundary.as_ref()).map(|first| first.prefix);
        let (valid, from) = match path {
            Some(path) => (Some(path), "the path after the step before"),
            None => (start, "the weak arm's"),
        };
        if let Some(valid) = valid.filter(|valid| *valid != boundary.prefix) {
            let (found, valid) = (hex(&boundary.prefix), hex(&valid));
            wrong.push(format!("prefix: found {found} at control step {step}; valid is {valid}, {from}"));
        }
        wrong
    }

    /// Returns the control steps at which the driver changes, and whether it changes to the strong policy.
    fn hand_overs(&self, conduct: Conduct) -> impl Iterator<Item = (u32, bool)> {
        let before =
            std::iter::once(conduct == Conduct::Strong).chain(self.rows.iter().map(|row| row.strong));
        let changed = self.rows.iter().zip(before).filter(|(row, before)| row.strong != *before);
        changed.map(|(row, _)| (row.step, row.strong))
    }

    /// Returns the number of fires recorded at the boundaries of layout 2.
    fn fires(&self) -> u32 {
        let own = self.rows.iter().skip(self.own).filter_map(|row| row.boundary.as_ref());
        (self.fired_before.len() + own.filter(|boundary| boundary.fired).count()) as u32
    }

    /// Computes the episode's result from the rows, and from its disturbance, which the plan decides. For layout 1 the result has no scores, prefixes or path, since that
    /// layout lacks them, and its fires are counted from the hand-overs.
    pub(super) fn result(
        &self,
        arm: ArmName,
        key: EpisodeKey,
        disturbance: Option<Disturbance>,
        conduct: Conduct,
        chunk_steps: u32,
    ) -> EpisodeResult {
        let boundaries = || self.rows.iter().filter_map(|row| row.boundary.as_ref());
        let has_boundaries = boundaries().next().is_some();
        let fires = match conduct {
            _ if has_boundaries => self.fires(),
            Conduct::Gated => self.hand_overs(conduct).filter(|(_, strong)| *strong).count() as u32,
            _ => 0,
        };
        EpisodeResult {
            arm,
            key,
            disturbance,
            success: self.rows.last().is_some_and(|row| row.success),
            steps: self.rows.len() as u32,
            chunk_steps,
            fires,
            strong_steps: self.rows.iter().filter(|row| row.strong).count() as u32,
            hand_overs: self.hand_overs(conduct).map(|(step, _)| step).collect(),
            scores: boundaries().map(|one| (!one.score.is_nan()).then_some(one.score)).collect(),
            prefixes: boundaries().map(|one| hex(&one.prefix)).collect(),
            path: self.rows.last().filter(|_| has_boundaries).map_or(String::new(), |row| hex(&row.path)),
        }
    }
}

/// Kind of control of an arm, as far as it determines the arm's hand-overs and fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conduct {
    /// The weak policy drives throughout.
    Weak,
    /// The strong policy drives throughout, so there is no hand-over.
    Strong,
    /// A gate that is obeyed: each hand-over to the strong policy is a fire.
    Gated,
    /// A gate that is not obeyed: its fires cause no hand-over.
    Shadow,
    /// The strong policy takes over without a gate, so without a fire.
    TakeOver,
}

impl From<&Arm> for Conduct {
    fn from(arm: &Arm) -> Self {
        match &arm.drive {
            Drive::Weak => Self::Weak,
            Drive::Strong => Self::Strong,
            Drive::Rule(Rule::TakeOver { .. }) => Self::TakeOver,
            Drive::Rule(_) | Drive::Fraction { .. } | Drive::Yoked(_) => Self::Gated,
            Drive::Shadow(_) => Self::Shadow,
        }
    }
}
