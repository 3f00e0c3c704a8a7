//! Counters of a controller: every fault that it tolerated without a stop, and every stop.
//! All are whole numbers, so that two records of a run can be compared exactly.

use serde::{Deserialize, Serialize};

use super::io::{Diagnostics, Output};
use crate::Driver;

/// Counts since the controller was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Control periods that were served.
    pub periods: u64,
    /// Control periods that passed without being served.
    pub skipped_periods: u64,
    /// Periods that the weak policy drove.
    pub weak_periods: u64,
    /// Periods that the strong policy drove.
    pub strong_periods: u64,
    /// Times that the gate fired.
    pub fires: u64,
    /// Changes of driver, in either direction.
    pub hand_overs: u64,
    /// Periods in which a command was limited.
    pub limited_periods: u64,
    /// Observations that never arrived.
    pub missing_observations: u64,
    /// Frames of cameras that never arrived.
    #[serde(default)]
    pub missing_frames: u64,
    /// Safe stops.
    pub stops: u64,
    /// Emergency stops.
    pub e_stops: u64,
    /// Periods with each diagnostic, in the order of [`Diagnostics::ALL`].
    pub notices: [u64; Diagnostics::ALL.len()],
}

impl Counters {
    pub(crate) fn count(&mut self, output: &Output) {
        self.periods += 1;
        self.weak_periods += u64::from(output.driver == Some(Driver::Weak));
        self.strong_periods += u64::from(output.driver == Some(Driver::Strong));
        self.fires += u64::from(output.decision.as_ref().is_some_and(|decision| decision.fired));
        self.limited_periods += u64::from(output.limited != 0);
        for (count, (notice, _)) in self.notices.iter_mut().zip(Diagnostics::ALL) {
            *count += u64::from(output.notices.has(notice));
        }
    }

    /// Returns the number of periods with a diagnostic.
    pub fn of(&self, notice: Diagnostics) -> u64 {
        let at = Diagnostics::ALL.iter().position(|(one, _)| *one == notice);
        at.map_or(0, |at| self.notices[at])
    }
}
