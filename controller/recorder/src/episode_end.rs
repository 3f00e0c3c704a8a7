//! How an episode of a run ends, as a run's summary and data sets of runs say it.

use std::fmt::{self, Display, Formatter};

use aegis_core::control::{Mode, StopReason, TickRecord};
use serde_json::json;

/// The ways in which an episode ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EpisodeEnd {
    /// The task's goal was reached.
    Goal,
    /// The episode used all of its control steps.
    Horizon,
    /// A stop ended the episode.
    Stopped(Mode, Option<StopReason>),
    /// The control thread, or the record, ended before the episode did.
    Unfinished,
}

impl EpisodeEnd {
    /// Returns how an episode ends in this control period; `None` where none does. `before` is the mode after the period before.
    pub fn of(period: &TickRecord<'_>, before: Mode) -> Option<Self> {
        // An episode may end in the period in which it begins.
        let was_on = before.is_on() || period.begins();
        let mode = period.output.mode;
        if !was_on || mode.is_on() {
            return None;
        }
        if mode.is_latched() {
            return Some(Self::Stopped(mode, period.output.cause));
        }
        let success = period.inputs.observation.is_some_and(|seen| seen.success);
        Some(if success || period.begins() { Self::Goal } else { Self::Horizon })
    }
}

impl Display for EpisodeEnd {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Goal => formatter.write_str("goal"),
            Self::Horizon => formatter.write_str("horizon"),
            Self::Stopped(mode, cause) => {
                let cause = cause.map_or_else(|| json!(mode), |cause| json!(cause));
                write!(formatter, "stopped: {}", cause.as_str().unwrap_or_default())
            }
            Self::Unfinished => formatter.write_str("unfinished"),
        }
    }
}
